//! What is stored, whose it is and how much: all that a writer must know. Readers never come here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::lanes::{Chain, Ghosts, Lane, Links, NONE, Which};
use crate::cache::Settings;
use crate::entry::{Entry, is_fresh};
use crate::key::Hash;

/// What was asked for again is passed over, but not so often that a writer keeps the others waiting.
const PASSED_OVER_MOST: usize = 64;
/// A share of nothing would make everybody one who has too much, and there is a list of those.
const SHARE_LEAST: f32 = 0.01;

#[derive(Debug)]
pub(super) struct Ledger<A> {
    slots: Slots<A>,
    all: Lane,
    accounts: Vec<Account>,
    tenants: HashMap<Hash, u32>,
    vacant: Vec<u32>,
    /// Accounts that have more than their share: no more than one in [`SHARE_LEAST`].
    over: Vec<u32>,
    ghosts: Ghosts,
    room: Room,
    /// Where the search for what is too old goes on.
    hand: u32,
}

#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    entries: u64,
    share: f32,
}

impl Room {
    fn of(settings: &Settings) -> Room {
        Room {
            bytes: settings.max_bytes,
            entries: settings.max_entries as u64,
            share: settings.tenant_share.max(SHARE_LEAST),
        }
    }

    /// In 0..=1, of what is scarcer for it: bytes or entries.
    fn part(&self, lane: &Lane) -> f32 {
        (lane.bytes() as f32 / self.bytes.max(1) as f32).max(lane.entries() as f32 / self.entries.max(1) as f32)
    }
}

#[derive(Debug)]
struct Account {
    tenant: Hash,
    lane: Lane,
}

#[derive(Debug)]
struct Slot<A> {
    /// `None`: vacant.
    entry: Option<Arc<Entry<A>>>,
    account: u32,
    in_main: bool,
    links: [Links; 2],
    /// As in the entry, which is elsewhere in memory.
    stored: Instant,
}

/// A slab that grows by pieces, so that nothing is moved when it grows.
#[derive(Debug)]
struct Slots<A> {
    pieces: Vec<Vec<Slot<A>>>,
    vacant: Vec<u32>,
}

/// A slab's piece.
const PIECE: usize = 4096;

impl<A> Slots<A> {
    fn get(&self, slot: u32) -> &Slot<A> {
        &self.pieces[slot as usize / PIECE][slot as usize % PIECE]
    }

    fn get_mut(&mut self, slot: u32) -> &mut Slot<A> {
        &mut self.pieces[slot as usize / PIECE][slot as usize % PIECE]
    }

    fn put(&mut self, content: Slot<A>) -> u32 {
        if let Some(slot) = self.vacant.pop() {
            *self.get_mut(slot) = content;
            return slot;
        }
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(if self.pieces.is_empty() { 16 } else { PIECE }));
        }
        let last = self.pieces.len() - 1;
        self.pieces[last].push(content);
        (last * PIECE + self.pieces[last].len() - 1) as u32
    }

    fn len(&self) -> u32 {
        self.pieces.last().map_or(0, |last| ((self.pieces.len() - 1) * PIECE + last.len()) as u32)
    }
}

impl<A> Chain for Slots<A> {
    fn links(&mut self, slot: u32, which: Which) -> &mut Links {
        &mut self.get_mut(slot).links[which as usize]
    }
}

/// Who makes room.
#[derive(Debug)]
pub(super) struct Victim<A> {
    pub(super) entry: Arc<Entry<A>>,
    /// It was chosen since its tenant has more than its share.
    pub(super) over_share: bool,
}

impl<A> Ledger<A> {
    pub(super) fn new(settings: &Settings) -> Ledger<A> {
        Ledger {
            slots: Slots { pieces: Vec::new(), vacant: Vec::new() },
            all: Lane::EMPTY,
            accounts: Vec::new(),
            tenants: HashMap::new(),
            vacant: Vec::new(),
            over: Vec::new(),
            ghosts: Ghosts::default(),
            room: Room::of(settings),
            hand: 0,
        }
    }

    pub(super) fn configure(&mut self, settings: &Settings) {
        self.room = Room::of(settings);
        self.over = self.tenants.values().copied().filter(|account| self.is_over(*account)).collect();
    }

    pub(super) fn bytes(&self) -> u64 {
        self.all.bytes()
    }

    pub(super) fn entries(&self) -> u64 {
        self.all.entries()
    }

    pub(super) fn tenants(&self) -> u64 {
        self.tenants.len() as u64
    }

    /// With so many bytes more.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.bytes() + bytes <= self.room.bytes && self.entries() < self.room.entries
    }

    pub(super) fn add(&mut self, entry: Arc<Entry<A>>) {
        let account = self.account(entry.tenant);
        let in_main = self.ghosts.recall(&entry.exact, self.all.entries() as usize);
        let (bytes, links) = (entry.bytes, [Links::ALONE; 2]);
        let slot = self.slots.put(Slot { entry: Some(entry.clone()), account, in_main, links, stored: entry.stored });
        entry.slot.store(slot, Ordering::Relaxed);
        self.all.queue(in_main).push(&mut self.slots, Which::All, slot, bytes);
        self.accounts[account as usize].lane.queue(in_main).push(&mut self.slots, Which::Tenant, slot, bytes);
        self.weigh(account);
    }

    /// `false`: it was not there (any more).
    pub(super) fn remove(&mut self, entry: &Arc<Entry<A>>) -> bool {
        let slot = entry.slot.load(Ordering::Relaxed);
        if slot == NONE {
            return false;
        }
        entry.slot.store(NONE, Ordering::Relaxed);
        let Slot { account, in_main, .. } = *self.slots.get(slot);
        self.all.queue(in_main).take(&mut self.slots, Which::All, slot, entry.bytes);
        let lane = &mut self.accounts[account as usize].lane;
        lane.queue(in_main).take(&mut self.slots, Which::Tenant, slot, entry.bytes);
        let is_empty = lane.entries() == 0;
        self.slots.get_mut(slot).entry = None;
        self.slots.vacant.push(slot);
        self.weigh(account);
        if is_empty {
            self.tenants.remove(&self.accounts[account as usize].tenant);
            self.vacant.push(account);
        }
        true
    }

    /// Who has more than its share makes room before anybody else; of several, who has most.
    pub(super) fn victim(&mut self) -> Option<Victim<A>> {
        let over = self.over.iter().copied().max_by(|a, b| self.part(*a).total_cmp(&self.part(*b)));
        let which = if over.is_some() { Which::Tenant } else { Which::All };
        for _ in 0..PASSED_OVER_MOST {
            let (slot, in_main) = self.lane(over).next()?;
            let entry = self.slots.get(slot).entry.clone()?;
            if !entry.uses.forgive(in_main) {
                break;
            }
            if in_main {
                let lane = match over {
                    Some(account) => &mut self.accounts[account as usize].lane,
                    None => &mut self.all,
                };
                lane.main.take(&mut self.slots, which, slot, entry.bytes);
                lane.main.push(&mut self.slots, which, slot, entry.bytes);
            } else {
                self.promote(slot, entry.bytes);
            }
        }
        let (slot, in_main) = self.lane(over).next()?;
        let entry = self.slots.get(slot).entry.clone()?;
        if !in_main {
            self.ghosts.remember(&entry.exact, self.all.entries() as usize);
        }
        Some(Victim { entry, over_share: over.is_some() })
    }

    /// Those that are too old among the next so many, around and around.
    pub(super) fn aged(&mut self, most: u32, ttl: Duration, now: Instant) -> Vec<Arc<Entry<A>>> {
        let (from, all) = (self.hand, self.slots.len());
        let to = from.saturating_add(most).min(all);
        self.hand = if to < all { to } else { 0 };
        let slots = (from..to).map(|slot| self.slots.get(slot));
        slots.filter(|slot| !is_fresh(slot.stored, ttl, now)).filter_map(|slot| slot.entry.clone()).collect()
    }

    /// Entries from this slot on, in no order that matters, and where to go on; `None`: that was all.
    pub(super) fn page(&self, from: u32, most: u32) -> (Vec<Arc<Entry<A>>>, Option<u32>) {
        let to = from.saturating_add(most).min(self.slots.len());
        let entries = (from..to).filter_map(|slot| self.slots.get(slot).entry.clone()).collect();
        (entries, (to < self.slots.len()).then_some(to))
    }

    fn promote(&mut self, slot: u32, bytes: u64) {
        let account = self.slots.get(slot).account;
        self.slots.get_mut(slot).in_main = true;
        let lanes = [(Which::All, &mut self.all), (Which::Tenant, &mut self.accounts[account as usize].lane)];
        for (which, lane) in lanes {
            lane.small.take(&mut self.slots, which, slot, bytes);
            lane.main.push(&mut self.slots, which, slot, bytes);
        }
    }

    fn lane(&self, account: Option<u32>) -> &Lane {
        account.map_or(&self.all, |account| &self.accounts[account as usize].lane)
    }

    fn account(&mut self, tenant: Hash) -> u32 {
        if let Some(account) = self.tenants.get(&tenant) {
            return *account;
        }
        let content = Account { tenant, lane: Lane::EMPTY };
        let account = match self.vacant.pop() {
            Some(account) => {
                self.accounts[account as usize] = content;
                account
            }
            None => {
                self.accounts.push(content);
                (self.accounts.len() - 1) as u32
            }
        };
        self.tenants.insert(tenant, account);
        account
    }

    fn part(&self, account: u32) -> f32 {
        self.room.part(&self.accounts[account as usize].lane)
    }

    fn is_over(&self, account: u32) -> bool {
        self.part(account) > self.room.share
    }

    /// After an account has changed.
    fn weigh(&mut self, account: u32) {
        let there = self.over.iter().position(|over| *over == account);
        match (self.is_over(account), there) {
            (true, None) => self.over.push(account),
            (false, Some(place)) => {
                self.over.swap_remove(place);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
impl<A> Ledger<A> {
    /// That every entry is in both of its lanes once and counted there, and who has too much is known. Tells all entries.
    pub(super) fn check(&self) -> Vec<Arc<Entry<A>>> {
        use std::collections::BTreeSet;
        let (entries, _) = self.page(0, u32::MAX);
        let members = |lane: &Lane, which: Which| -> BTreeSet<u32> {
            let mut members = BTreeSet::new();
            for (queue, main) in [(&lane.small, false), (&lane.main, true)] {
                let (mut slot, mut bytes, mut count) = (queue.oldest, 0, 0);
                while slot != NONE {
                    let there = self.slots.get(slot);
                    assert_eq!(there.in_main, main);
                    assert!(members.insert(slot));
                    bytes += there.entry.as_ref().expect("an entry").bytes;
                    count += 1;
                    slot = there.links[which as usize].newer();
                }
                assert_eq!((bytes, count), (queue.bytes, queue.entries));
            }
            members
        };
        let all = members(&self.all, Which::All);
        assert_eq!(all.len(), entries.len());
        let mut of_tenants = BTreeSet::new();
        for (tenant, account) in &self.tenants {
            let own = members(&self.accounts[*account as usize].lane, Which::Tenant);
            assert!(!own.is_empty());
            for slot in &own {
                assert_eq!(self.slots.get(*slot).entry.as_ref().map(|entry| entry.tenant), Some(*tenant));
            }
            assert_eq!(self.over.contains(account), self.is_over(*account));
            of_tenants.extend(own);
        }
        assert_eq!(all, of_tenants);
        assert!(self.over.len() <= self.tenants.len());
        entries
    }
}
