//! Answers that were held back, compared with the real ones: a request that almost had an answer from the cache has its own a
//! moment later, and whether both say the same shows how well the cache decides. Likewise for what the modes would have served in shadow
//! mode. Nobody waits for it: it is done when the worker has nothing else to do, and left out when too much of it waits.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gateway_cache::{Held, Looked};
use gateway_core::chat::PartBody;

use super::kept::Kept;
use crate::gateway::Process;

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// A near answer was held back.
    Refusal,
    /// Strict mode would have served it.
    Strict,
    /// Cosine mode would have.
    Cosine,
}

impl By {
    pub fn name(self) -> &'static str {
        match self {
            By::Refusal => "refusal",
            By::Strict => "strict",
            By::Cosine => "cosine",
        }
    }
}

/// Answers to be compared with the real one.
#[derive(Debug, Default)]
pub struct Labels(Vec<(By, Arc<Kept>)>);

/// Nearer than this, an answer that is held back is worth a look.
const NEAR: f32 = 0.85;

/// Comparisons that wait for a moment without other work.
const WAITING: usize = 64;
static COMPARING: AtomicUsize = AtomicUsize::new(0);

impl Labels {
    pub fn of(looked: &Looked<Kept>) -> Labels {
        let mut labels = Vec::new();
        if let Some(near) = &looked.nearest
            && (near.cosine >= NEAR || matches!(near.held, Held::Unsure(_)))
        {
            labels.push((By::Refusal, near.answer.clone()));
        }
        if let Some(shadow) = &looked.shadow {
            let hits = [(By::Strict, &shadow.strict), (By::Cosine, &shadow.cosine)];
            labels.extend(hits.into_iter().filter_map(|(by, hit)| Some((by, hit.as_ref()?.answer.clone()))));
        }
        Labels(labels)
    }

    /// `real`: what the provider said.
    pub fn compare(self, real: Arc<Kept>, process: Arc<Process>) {
        if self.0.is_empty() {
            return;
        }
        let Ok(worker) = tokio::runtime::Handle::try_current() else { return };
        let Some(place) = Place::take() else { return };
        worker.spawn(async move {
            let _place = place;
            // Behind everything that is ready.
            tokio::task::yield_now().await;
            for (by, held) in self.0 {
                if let Some(agreed) = agree(&real, &held) {
                    process.metrics.cache.compared(by, agreed);
                }
            }
        });
    }
}

/// A place among those that wait.
struct Place;

impl Place {
    fn take() -> Option<Place> {
        let before = COMPARING.fetch_add(1, Ordering::Relaxed);
        let place = Place;
        (before < WAITING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        COMPARING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether two answers say the same, as far as their words tell: the same numbers, and four fifths of the words of both.
fn agree(one: &Kept, other: &Kept) -> Option<bool> {
    Some(say_the_same(&text(one)?, &text(other)?))
}

fn say_the_same(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(words);
    let numbers = |words: &HashSet<String>| -> HashSet<String> {
        words.iter().filter(|word| word.bytes().any(|byte| byte.is_ascii_digit())).cloned().collect()
    };
    let shared = one.intersection(&other).count();
    numbers(&one) == numbers(&other) && 2 * shared * 5 >= 4 * (one.len() + other.len())
}

/// Of a longer text, the beginning.
const COMPARED_BYTES: usize = 16 * 1024;

fn words(text: &str) -> HashSet<String> {
    let text = &text[..text.floor_char_boundary(COMPARED_BYTES)];
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn text(kept: &Kept) -> Option<String> {
    let parts = kept.read()?.parts.into_iter();
    let texts = parts.filter_map(|part| match part.body {
        PartBody::Text(text) => Some(text),
        _ => None,
    });
    Some(texts.collect())
}

#[cfg(test)]
mod tests {
    use super::say_the_same;

    #[test]
    fn answers_agree_that_have_the_same_numbers_and_nearly_the_same_words() {
        let one = "The capital of Portugal is Lisbon, with about 545,000 people.";
        assert!(say_the_same(one, one));
        assert!(say_the_same(one, "Lisbon is the capital of Portugal, with about 545,000 people!"));
        assert!(!say_the_same(one, "The capital of Portugal is Lisbon, with about 2,900,000 people."));
        assert!(!say_the_same(one, "The capital of Spain is Madrid."));
        assert!(!say_the_same(one, ""));
    }
}
