//! All keys in memory: what a request asks is answered without a lock, a wait or a question to anybody.
//!
//! Keys of the file lie beside those of the database. The latter are a mirror, which [`super::mirror`] keeps: the ring knows
//! when the two were last seen to agree, and what it may still say if that is long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use foldhash::{HashMap, HashMapExt};
use gateway_core::access::{KeyHash, VirtualKey};
use gateway_core::limits::KEYS_STALE_TIME;

use super::Second;
use super::text::{self, Malformed};

/// A change copies one part of the table, so that a change of one key among 100,000 costs a few hundred.
const PARTS: usize = 256;
/// Twice a second the mirror asks. Who has heard nothing for so long says of a key that he does not know only that.
const DOUBT_AFTER: Duration = Duration::from_secs(2);

/// Now, on the clock that only goes forward and on that of the wall.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub instant: Instant,
    pub second: Second,
}

impl Moment {
    pub fn now() -> Moment {
        Moment { instant: Instant::now(), second: Second::now() }
    }
}

/// Why a key that was shown is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Unknown,
    Revoked,
    Expired,
    /// There may be such a key: the database cannot be asked.
    Unavailable,
}

/// A key of the database.
#[derive(Debug, Clone)]
pub enum Entry {
    Live(Arc<VirtualKey>),
    Revoked,
    /// What the database has of it cannot be understood.
    Unreadable,
}

/// What may be said for the keys of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is no database, and no keys but those of the file.
    Alone,
    Current,
    /// The keys that are known are used; others may have been made meanwhile.
    Doubtful,
    /// Nothing has been heard for [`KEYS_STALE_TIME`], or ever: any key may have been revoked.
    Lost,
}

type Part = HashMap<KeyHash, Entry>;

#[derive(Debug)]
pub struct KeyRing {
    of_file: ArcSwap<HashMap<KeyHash, Arc<VirtualKey>>>,
    of_database: Box<[ArcSwap<Part>]>,
    /// Keys of the database, those that were revoked included.
    count: AtomicU64,
    has_database: AtomicBool,
    /// When the mirror was last seen to be exact, in milliseconds after `since`, plus one; 0: never.
    confirmed: AtomicU64,
    since: Instant,
}

impl KeyRing {
    /// Of a gateway without a database, until [`KeyRing::expect_database`].
    pub fn new() -> KeyRing {
        KeyRing {
            of_file: ArcSwap::default(),
            of_database: (0..PARTS).map(|_| ArcSwap::default()).collect(),
            count: AtomicU64::new(0),
            has_database: AtomicBool::new(false),
            confirmed: AtomicU64::new(0),
            since: Instant::now(),
        }
    }

    /// The key of which somebody shows the text, if it may be used now.
    pub fn shown(&self, text: &str) -> Result<Arc<VirtualKey>, Refused> {
        let hash = text::read(text).map_err(|Malformed| Refused::Unknown)?;
        self.find(&hash, Moment::now())
    }

    /// The key with this hash, if it may be used now.
    pub fn find(&self, hash: &KeyHash, now: Moment) -> Result<Arc<VirtualKey>, Refused> {
        if let Some(key) = self.of_file.load().get(hash) {
            return unexpired(key, now);
        }
        let known = self.part(hash).load().get(hash).cloned();
        match (known, self.standing(now.instant)) {
            (Some(Entry::Revoked), _) => Err(Refused::Revoked),
            (None, Standing::Alone | Standing::Current) => Err(Refused::Unknown),
            (None | Some(Entry::Unreadable), _) | (_, Standing::Lost) => Err(Refused::Unavailable),
            (Some(Entry::Live(key)), _) => unexpired(&key, now),
        }
    }

    /// Whether callers are to show a key: there is one, there was one, or nobody knows. Revoking the last key opens no door.
    pub fn has_keys(&self) -> bool {
        let unknown = self.has_database.load(Ordering::Relaxed) && self.confirmed.load(Ordering::Acquire) == 0;
        unknown || self.count() > 0 || !self.of_file.load().is_empty()
    }

    /// Keys of the database, those that were revoked included.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub fn standing(&self, now: Instant) -> Standing {
        if !self.has_database.load(Ordering::Relaxed) {
            return Standing::Alone;
        }
        match self.silent_for(now) {
            Some(silence) if silence <= DOUBT_AFTER => Standing::Current,
            Some(silence) if silence <= KEYS_STALE_TIME => Standing::Doubtful,
            _ => Standing::Lost,
        }
    }

    /// Since the mirror was last seen to be exact.
    pub fn silent_for(&self, now: Instant) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Acquire).checked_sub(1)?;
        Some(now.saturating_duration_since(self.since + Duration::from_millis(confirmed)))
    }

    /// The keys of the configuration in use, in place of those of the one before.
    pub fn set_file(&self, keys: impl IntoIterator<Item = Arc<VirtualKey>>) {
        self.of_file.store(Arc::new(keys.into_iter().map(|key| (key.hash, key)).collect()));
    }

    /// From now on keys are in a database too, and what it holds is not known yet.
    pub fn expect_database(&self) {
        self.has_database.store(true, Ordering::Relaxed);
    }

    /// All keys of the database, in place of all before.
    pub fn replace(&self, keys: Vec<(KeyHash, Entry)>) {
        let mut parts: Vec<Part> = (0..PARTS).map(|_| Part::with_capacity(keys.len() / PARTS * 5 / 4)).collect();
        for (hash, entry) in keys {
            parts[usize::from(hash.0[0])].insert(hash, entry);
        }
        // Told first: a gateway that is about to know keys is not open for a moment before it does.
        self.count.store(parts.iter().map(|part| part.len() as u64).sum(), Ordering::Relaxed);
        for (kept, part) in self.of_database.iter().zip(parts) {
            kept.store(Arc::new(part));
        }
    }

    /// Keys that are new or not as they were. One mirror calls this, no other.
    pub fn change(&self, keys: Vec<(KeyHash, Entry)>) {
        let mut changed: HashMap<u8, Part> = HashMap::new();
        for (hash, entry) in keys {
            let part =
                changed.entry(hash.0[0]).or_insert_with(|| (**self.of_database[usize::from(hash.0[0])].load()).clone());
            if part.insert(hash, entry).is_none() {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        for (index, part) in changed {
            self.of_database[usize::from(index)].store(Arc::new(part));
        }
    }

    /// The mirror was exact at `now`.
    pub fn confirm(&self, now: Instant) {
        let after = now.saturating_duration_since(self.since).as_millis();
        self.confirmed.store(u64::try_from(after).unwrap_or(u64::MAX).saturating_add(1), Ordering::Release);
    }

    fn part(&self, hash: &KeyHash) -> &ArcSwap<Part> {
        &self.of_database[usize::from(hash.0[0])]
    }
}

fn unexpired(key: &Arc<VirtualKey>, now: Moment) -> Result<Arc<VirtualKey>, Refused> {
    match key.expires {
        Some(expires) if expires <= now.second.0 => Err(Refused::Expired),
        _ => Ok(key.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeySettings;
    use super::*;

    fn key(name: &str, number: u8) -> Arc<VirtualKey> {
        Arc::new(KeySettings::named(name).key(name.into(), KeyHash([number; 32]), None))
    }

    fn live(name: &str, number: u8) -> (KeyHash, Entry) {
        (KeyHash([number; 32]), Entry::Live(key(name, number)))
    }

    fn at(ring: &KeyRing, seconds: u64) -> Moment {
        Moment { instant: ring.since + Duration::from_secs(seconds), second: Second(1_000_000 + seconds) }
    }

    fn found(ring: &KeyRing, number: u8, seconds: u64) -> Result<String, Refused> {
        ring.find(&KeyHash([number; 32]), at(ring, seconds)).map(|key| key.name.clone())
    }

    #[test]
    fn keys_of_the_file_lie_beside_those_of_the_database() {
        let ring = KeyRing::new();
        assert!(!ring.has_keys());
        assert_eq!(found(&ring, 1, 0), Err(Refused::Unknown));
        ring.set_file([key("file", 1)]);
        assert!(ring.has_keys());
        ring.expect_database();
        ring.replace(vec![live("two", 2), (KeyHash([3; 32]), Entry::Revoked)]);
        ring.confirm(ring.since);
        assert_eq!(found(&ring, 1, 0).unwrap(), "file");
        assert_eq!(found(&ring, 2, 0).unwrap(), "two");
        assert_eq!(found(&ring, 3, 0), Err(Refused::Revoked));
        assert_eq!(found(&ring, 4, 0), Err(Refused::Unknown));
        ring.set_file([]);
        assert_eq!(found(&ring, 1, 0), Err(Refused::Unknown));
        assert_eq!(ring.count(), 2);
    }

    #[test]
    fn revoking_the_last_key_opens_no_door() {
        let ring = KeyRing::new();
        ring.expect_database();
        assert!(ring.has_keys(), "nobody knows yet");
        ring.confirm(ring.since);
        assert!(!ring.has_keys());
        ring.change(vec![live("one", 1)]);
        ring.change(vec![(KeyHash([1; 32]), Entry::Revoked)]);
        assert_eq!(ring.count(), 1);
        assert!(ring.has_keys());
    }

    #[test]
    fn a_silent_database_is_believed_for_a_minute_and_keys_of_the_file_for_ever() {
        let ring = KeyRing::new();
        ring.set_file([key("file", 1)]);
        ring.expect_database();
        assert_eq!(found(&ring, 2, 0), Err(Refused::Unavailable), "it was never heard");
        ring.replace(vec![live("two", 2), (KeyHash([3; 32]), Entry::Revoked)]);
        ring.confirm(ring.since + Duration::from_secs(10));
        for (seconds, standing, unknown) in [
            (12, Standing::Current, Refused::Unknown),
            (13, Standing::Doubtful, Refused::Unavailable),
            (70, Standing::Doubtful, Refused::Unavailable),
        ] {
            assert_eq!(ring.standing(at(&ring, seconds).instant), standing);
            assert_eq!(found(&ring, 2, seconds).unwrap(), "two");
            assert_eq!(found(&ring, 3, seconds), Err(Refused::Revoked));
            assert_eq!(found(&ring, 4, seconds), Err(unknown));
        }
        assert_eq!(found(&ring, 1, 71).unwrap(), "file");
        assert_eq!(found(&ring, 2, 71), Err(Refused::Unavailable));
        assert_eq!(found(&ring, 3, 71), Err(Refused::Revoked));
        ring.confirm(at(&ring, 71).instant);
        assert_eq!(found(&ring, 2, 71).unwrap(), "two");
    }

    #[test]
    fn a_key_is_of_use_until_the_second_in_which_it_expires() {
        let ring = KeyRing::new();
        let settings = KeySettings { expires: Some(Second(1_000_010)), ..KeySettings::named("short") };
        ring.set_file([Arc::new(settings.key("short".into(), KeyHash([1; 32]), None))]);
        assert!(found(&ring, 1, 9).is_ok());
        assert_eq!(found(&ring, 1, 10), Err(Refused::Expired));
    }

    #[test]
    fn a_change_reaches_those_that_changed_and_no_others() {
        let ring = KeyRing::new();
        ring.expect_database();
        ring.confirm(ring.since);
        let mut keys: Vec<(KeyHash, Entry)> = (0..=255).map(|number| live(&format!("key {number}"), number)).collect();
        keys.push((KeyHash([7; 32]), Entry::Live(key("seven", 7))));
        ring.replace(keys);
        ring.change(vec![live("eight", 8), (KeyHash([9; 32]), Entry::Revoked)]);
        assert_eq!(found(&ring, 7, 0).unwrap(), "seven");
        assert_eq!(found(&ring, 8, 0).unwrap(), "eight");
        assert_eq!(found(&ring, 9, 0), Err(Refused::Revoked));
        assert_eq!(found(&ring, 10, 0).unwrap(), "key 10");
        assert_eq!(ring.count(), 256);
    }
}
