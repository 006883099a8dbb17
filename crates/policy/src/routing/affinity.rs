//! Where the prompt of a conversation is probably cached: the target that a hash of its beginning chooses.
//!
//! Rendezvous hashing: every target has a number for every conversation, and the highest one is the conversation's home. If
//! a target goes or comes, only the conversations move that it had or gets. No target is chosen that has more than its fair
//! share of what is outstanding, and a quarter: then the conversation goes to its next best, for as long as that lasts. The
//! others follow as the strategy has ordered them.

use super::{Entry, Scene, Why, to_front};

/// Over its fair share of what is outstanding, a target may have a quarter more.
const OVERLOAD: f64 = 1.25;
/// Little load is no load: as many tokens may be outstanding anywhere.
const FREE_TOKENS: f64 = 50_000.0;

pub(super) fn prefer(group: &mut [Entry], scene: &Scene<'_, '_>) {
    if group.len() < 2 {
        return;
    }
    let key = scene.affinity_key();
    let weight = |entry: &Entry| f64::from(entry.candidate.weight.max(1));
    let busy = |entry: &Entry| entry.candidate.signals.outstanding_tokens() as f64;
    let tokens_per_weight = group.iter().map(busy).sum::<f64>() / group.iter().map(weight).sum::<f64>();
    let home = group
        .iter()
        .enumerate()
        .filter(|(_, entry)| busy(entry) <= (tokens_per_weight * weight(entry) * OVERLOAD).max(FREE_TOKENS))
        .filter_map(|(index, entry)| {
            let hash = hash(key, entry);
            // One that comes back gets back some of its conversations, always the same, and then more.
            let warm = unit(mix(hash)) < entry.candidate.warmth;
            warm.then_some((index, -weight(entry) / unit(hash).ln()))
        })
        .max_by(|(_, a), (_, b)| a.total_cmp(b));
    if let Some((index, _)) = home {
        group[index].why = Why::Affinity;
        to_front(group, index);
    }
}

/// The number of a conversation at a target; it depends on nothing but their names.
fn hash(key: u64, entry: &Entry) -> u64 {
    let target = &entry.candidate.target;
    let names = target.provider.bytes().chain([b'/']).chain(target.model.bytes());
    mix(names.fold(key, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
}

/// Every bit of the answer depends on every bit of the question: the finish of SplitMix64.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Above 0 and below 1, evenly.
pub(super) fn unit(hash: u64) -> f64 {
    ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}
