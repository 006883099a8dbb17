use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::key::{Hasher, Text};

impl Answer for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

fn question(tenant: &str, text: &str) -> Question {
    let mut hasher = Hasher::new("1", Hash::of("key", tenant.as_bytes()));
    hasher.field("model", b"m");
    hasher.question(text.as_bytes(), Text::new(text))
}

fn facts() -> Facts {
    Facts { model: "m".into() }
}

#[test]
fn the_same_question_of_the_same_tenant_is_answered_until_its_time_is_over() {
    let (now, cache) = (Instant::now(), Cache::new(Settings::default()));
    let id = cache.store(&question("a", "why?"), Arc::new("because".to_owned()), facts(), now);
    let hit = cache.look_up(&question("a", "why?"), now + Duration::from_secs(3599)).hit.expect("a hit");
    assert_eq!((hit.answer.as_str(), hit.tier, Some(hit.id)), ("because", Tier::Exact, id));
    assert_eq!(hit.age, Duration::from_secs(3599));
    assert!(cache.look_up(&question("a", "why?"), now + Duration::from_secs(3600)).hit.is_none());
    assert!(cache.look_up(&question("b", "why?"), now).hit.is_none());
    assert!(cache.look_up(&question("a", "why not?"), now).hit.is_none());
}
