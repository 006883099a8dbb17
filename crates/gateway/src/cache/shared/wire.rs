//! An answer as it stands in Redis: one line of JSON about it, then its bytes. What another version wrote and this one cannot read is
//! not there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_cache::{EntryId, Filter, Hash, Question, Text};
use gateway_core::dialect::ProviderDialect;
use gateway_core::usage::{Cost, NanoUsd, Usage};
use serde::{Deserialize, Serialize};

use super::super::kept::{Events, Form, Kept};

/// What one tenant, or the operator, may have noted of what is to go; when it is more, all of its answers go.
pub(super) const CLEARINGS_NOTED: usize = 1000;

/// Another number where the line or the bytes mean something else.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    version: u32,
    /// Of the user, where it may be asked in other words.
    text: Option<String>,
    /// Of the text, where it is not the built-in model's; empty where it was not to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<i8>>,
    wire: ProviderDialect,
    /// Of a stream: where its events end, and which one tells the usage alone.
    ends: Option<Vec<u32>>,
    usage_only: Option<u32>,
    provider: Arc<str>,
    model: Arc<str>,
    created: u64,
    /// As they stand in [`Usage`].
    usage: Option<[u64; 5]>,
    /// Input and output, in billionths of a dollar.
    cost: Option<[u64; 2]>,
    finish: &'a str,
    dropped: Vec<String>,
    added: Vec<String>,
}

/// Where the line ends.
const END: u8 = b'\n';

pub(super) fn write(question: &Question, kept: &Kept) -> Option<Vec<u8>> {
    let (bytes, ends, usage_only) = match &kept.form {
        Form::Whole(bytes) => (bytes, None, None),
        Form::Events(events) => (&events.bytes, Some(events.ends.to_vec()), events.usage_only),
    };
    let line = Line {
        version: VERSION,
        text: question.text.as_ref().map(|text| text.as_str().to_owned()),
        vector: question.text.as_ref().and_then(|text| text.vector_of_another()).map(<[i8]>::to_vec),
        wire: kept.wire,
        ends,
        usage_only,
        provider: kept.provider.clone(),
        model: kept.model.clone(),
        created: kept.created,
        usage: kept
            .usage
            .map(|usage| [usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning]),
        cost: kept.cost.map(|cost| [cost.input.0, cost.output.0]),
        finish: kept.finish,
        dropped: kept.dropped.to_vec(),
        added: kept.added.to_vec(),
    };
    let mut written = serde_json::to_vec(&line).ok()?;
    written.push(END);
    written.extend_from_slice(bytes);
    Some(written)
}

/// An answer with the moment when it was put there, in milliseconds of Redis' clock.
pub(super) struct Read {
    pub(super) at: u64,
    pub(super) question: Question,
    pub(super) kept: Kept,
}

/// Reads what `put.lua` has written of [`write`].
pub(super) fn read(tenant: Hash, partition: Hash, exact: Hash, value: &[u8]) -> Option<Read> {
    let (at, value) = split(value)?;
    let (line, bytes) = split(value)?;
    let line: Line<'_> = serde_json::from_slice(line).ok().filter(|line: &Line<'_>| line.version == VERSION)?;
    let bytes = Bytes::copy_from_slice(bytes);
    let form = match line.ends {
        None => Form::Whole(bytes),
        Some(ends) => {
            let in_order = ends.is_sorted() && ends.last().is_some_and(|end| *end as usize == bytes.len());
            in_order.then_some(())?;
            Form::Events(Events { bytes, ends: ends.into(), usage_only: line.usage_only })
        }
    };
    let kept = Kept {
        wire: line.wire,
        form,
        provider: line.provider,
        model: line.model,
        created: line.created,
        usage: line.usage.map(|[input, cache_read, cache_write, output, reasoning]| Usage {
            input,
            cache_read,
            cache_write,
            output,
            reasoning,
        }),
        cost: line.cost.map(|[input, output]| Cost { input: NanoUsd(input), output: NanoUsd(output) }),
        finish: if line.finish == "tool_calls" { "tool_calls" } else { "stop" },
        dropped: line.dropped.into(),
        added: line.added.into(),
    };
    let at = std::str::from_utf8(at).ok()?.parse().ok()?;
    let mut text = line.text.and_then(|text| Text::new(&text));
    if let (Some(text), Some(vector)) = (&mut text, line.vector) {
        text.set_vector(Some(vector.into_boxed_slice()).filter(|vector| !vector.is_empty()));
    }
    Some(Read { at, question: Question { tenant, partition, exact, text }, kept })
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(END, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Which answers are to go, as it is told to other gateways.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Clearing {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    older_than_ms: Option<u64>,
}

/// The same, and when it was told, in milliseconds of Redis' clock.
#[derive(Debug, Clone)]
pub(super) struct Cleared {
    pub(super) at: u64,
    filter: Filter,
}

impl Clearing {
    pub(super) fn of(filter: &Filter) -> Clearing {
        Clearing {
            id: filter.id.map(|id| id.to_string()),
            tenant: filter.tenant.map(|tenant| tenant.to_string()),
            model: filter.model.as_deref().map(str::to_owned),
            older_than_ms: filter.older_than.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// What is to go, and nobody has been told yet.
#[derive(Debug, Default)]
pub(super) struct Untold(Vec<Clearing>);

impl Untold {
    /// Too much of one tenant to be told one by one is all of its answers.
    pub(super) fn push(&mut self, clearing: Clearing) {
        if self.0.contains(&clearing) {
            return;
        }
        let is_own = |other: &Clearing| other.tenant == clearing.tenant;
        if self.0.iter().filter(|other| is_own(other)).count() < CLEARINGS_NOTED {
            self.0.push(clearing);
        } else {
            self.0.retain(|other| !is_own(other));
            self.0.push(Clearing { tenant: clearing.tenant, ..Clearing::default() });
        }
    }

    pub(super) fn pop(&mut self) -> Option<Clearing> {
        self.0.pop()
    }
}

impl Cleared {
    /// A note of `clear.lua`. One that cannot be read says that all answers are to go.
    pub(super) fn read(at: u64, which: &str) -> Cleared {
        let filter = serde_json::from_str(which).ok().and_then(filter).unwrap_or_default();
        Cleared { at, filter }
    }

    /// Whether it means whatever an earlier one did.
    pub(super) fn contains(&self, earlier: &Cleared) -> bool {
        fn fits<T: PartialEq>(of: Option<&T>, other: Option<&T>) -> bool {
            of.is_none() || of == other
        }
        fits(self.filter.id.as_ref(), earlier.filter.id.as_ref())
            && fits(self.filter.tenant.as_ref(), earlier.filter.tenant.as_ref())
            && fits(self.filter.model.as_ref(), earlier.filter.model.as_ref())
            && self.until() >= earlier.until()
    }

    /// What was put there later stays.
    fn until(&self) -> u64 {
        let age = u64::try_from(self.filter.older_than.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        self.at.saturating_sub(age)
    }

    /// For what is in memory, when it is so late by Redis' clock.
    pub(super) fn filter(&self, now: u64) -> Filter {
        let since = Duration::from_millis(now.saturating_sub(self.at));
        let older_than = self.filter.older_than.unwrap_or_default().saturating_add(since);
        Filter { older_than: Some(older_than).filter(|age| !age.is_zero()), ..self.filter.clone() }
    }

    /// Whether it means an answer that was put there at this moment.
    pub(super) fn means(&self, exact: Hash, read: &Read) -> bool {
        read.at <= self.until()
            && self.filter.id.is_none_or(|id| id == EntryId::of(exact))
            && self.filter.tenant.is_none_or(|tenant| tenant == read.question.tenant)
            && self.filter.model.as_ref().is_none_or(|model| *model == read.kept.model)
    }
}

fn filter(said: Clearing) -> Option<Filter> {
    Some(Filter {
        id: said.id.map(|id| id.parse()).transpose().ok()?,
        tenant: said.tenant.map(|tenant| tenant.parse()).transpose().ok()?,
        model: said.model.map(Into::into),
        older_than: said.older_than_ms.map(Duration::from_millis),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Hash {
        Hash::of("test", text.as_bytes())
    }

    fn question() -> Question {
        let text = Text::new("Why?\n\"so\"");
        Question { tenant: hash("tenant"), partition: hash("partition"), exact: hash("exact"), text }
    }

    fn kept(form: Form) -> Kept {
        Kept {
            wire: ProviderDialect::OpenAiChat,
            form,
            provider: "openai".into(),
            model: "m".into(),
            created: 7,
            usage: Some(Usage { input: 5, cache_read: 1, cache_write: 2, output: 4, reasoning: 3 }),
            cost: Some(Cost { input: NanoUsd(1), output: NanoUsd(2) }),
            finish: "stop",
            dropped: ["seed".to_owned()].into(),
            added: [].into(),
        }
    }

    fn again(value: &[u8]) -> Option<Read> {
        read(hash("tenant"), hash("partition"), hash("exact"), value)
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let bytes = Bytes::from_static(b"data: a\n\ndata: b\n\n");
        let events = Events { bytes: bytes.clone(), ends: [9, 18].into(), usage_only: Some(1) };
        for form in [Form::Whole(bytes), Form::Events(events)] {
            let written = [b"1234\n", &write(&question(), &kept(form)).unwrap()[..]].concat();
            let read = again(&written).unwrap();
            assert_eq!((read.at, read.question.text.as_ref().unwrap().as_str()), (1234, "Why?\n\"so\""));
            assert_eq!(write(&read.question, &read.kept), write(&question(), &read.kept));
            assert_eq!(
                (read.kept.usage, &*read.kept.dropped),
                (kept(read.kept.form.clone()).usage, &["seed".to_owned()][..])
            );
            for cut in 0..written.len() - 18 {
                assert!(again(&written[..cut]).is_none(), "cut at {cut}");
            }
            let other = String::from_utf8(written).unwrap().replace("\"version\":1", "\"version\":2");
            assert!(again(other.as_bytes()).is_none());
        }
    }

    #[test]
    fn a_clearing_means_what_was_there_before_it_and_fits() {
        let value = write(&question(), &kept(Form::Whole(Bytes::from_static(b"x")))).unwrap();
        let put = |at: u64| again(&[format!("{at}\n").as_bytes(), &value[..]].concat()).unwrap();
        let noted = |filter: &Filter| Cleared::read(1000, &serde_json::to_string(&Clearing::of(filter)).unwrap());
        let means = |filter: &Filter, at: u64| noted(filter).means(hash("exact"), &put(at));
        let all = Filter::default();
        assert!(means(&all, 1000) && !means(&all, 1001));
        let old = Filter { older_than: Some(Duration::from_millis(300)), ..Filter::default() };
        assert!(means(&old, 700) && !means(&old, 701));
        for (filter, fits) in [
            (Filter { tenant: Some(hash("tenant")), ..Filter::default() }, true),
            (Filter { tenant: Some(hash("other")), ..Filter::default() }, false),
            (Filter { id: Some(EntryId::of(hash("exact"))), ..Filter::default() }, true),
            (Filter { id: Some(EntryId::of(hash("other"))), ..Filter::default() }, false),
            (Filter { model: Some("m".into()), ..Filter::default() }, true),
            (Filter { model: Some("n".into()), ..Filter::default() }, false),
        ] {
            assert_eq!(means(&filter, 5), fits, "{filter:?}");
        }
        assert_eq!(noted(&all).filter(1500).older_than, Some(Duration::from_millis(500)));
        assert!(Cleared::read(6, "garbage").means(hash("exact"), &put(5)), "what cannot be read means all");
    }

    #[test]
    fn a_clearing_makes_earlier_ones_needless_that_mean_no_more() {
        let cleared = |at: u64, id: &str, tenant: &str, older_than: u64| {
            let id = Some(id).filter(|id| !id.is_empty()).map(|id| EntryId::of(hash(id)));
            let tenant = Some(tenant).filter(|tenant| !tenant.is_empty()).map(hash);
            let older_than = Some(older_than).filter(|age| *age > 0).map(Duration::from_millis);
            Cleared { at, filter: Filter { id, tenant, model: None, older_than } }
        };
        let one = cleared(1000, "answer", "tenant", 100);
        for (later, contains) in [
            (cleared(1000, "answer", "tenant", 100), true),
            (cleared(1001, "", "tenant", 0), true),
            (cleared(1001, "", "", 0), true),
            (cleared(1100, "answer", "tenant", 200), true),
            (cleared(1099, "answer", "tenant", 200), false),
            (cleared(2000, "", "other", 0), false),
            (cleared(2000, "other", "tenant", 0), false),
        ] {
            assert_eq!(later.contains(&one), contains, "{later:?}");
        }
    }

    #[test]
    fn too_much_that_is_untold_of_one_tenant_is_all_of_that_tenant() {
        let clearing = |tenant: &str, age: usize| {
            let older_than = Some(Duration::from_secs(age as u64));
            Clearing::of(&Filter { tenant: Some(hash(tenant)), older_than, ..Filter::default() })
        };
        let mut untold = Untold::default();
        untold.push(clearing("quiet", 1));
        (0..CLEARINGS_NOTED).for_each(|age| untold.push(clearing("loud", age)));
        untold.push(clearing("loud", 0));
        assert_eq!(untold.0.len(), 1 + CLEARINGS_NOTED, "the same once");
        untold.push(clearing("loud", CLEARINGS_NOTED));
        let all = Clearing::of(&Filter { tenant: Some(hash("loud")), ..Filter::default() });
        assert_eq!(untold.0, [clearing("quiet", 1), all]);
    }
}
