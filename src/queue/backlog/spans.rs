//! Blocks by what they reach over, of sequence numbers or of time: those that hold one place are found without looking at all
//! that end before it.

use std::collections::{BTreeMap, BTreeSet};

use super::block::Key;

/// By the size of a block's reach, then by where it begins.
#[derive(Debug, Default)]
pub(super) struct Spans(BTreeMap<u32, BTreeSet<(u64, Key)>>);

impl Spans {
    /// Takes in a block that reaches from the first place to the last.
    pub(super) fn insert(&mut self, (first, last): (u64, u64), key: Key) {
        self.0.entry(width(first, last)).or_default().insert((first, key));
    }

    /// Takes it out again.
    pub(super) fn remove(&mut self, (first, last): (u64, u64), key: Key) {
        if let Some(keys) = self.0.get_mut(&width(first, last)) {
            keys.remove(&(first, key));
        }
    }

    /// All that reach into `from..=to`, and few that end shortly before.
    pub(super) fn near(&self, from: u64, to: u64) -> impl Iterator<Item = Key> {
        self.0.iter().flat_map(move |(width, keys)| {
            let widest = 1_u64.checked_shl(*width).unwrap_or(u64::MAX);
            let near = keys.range((from.saturating_sub(widest), (0, 0))..=(to, (u64::MAX, u64::MAX)));
            near.map(|(_, key)| *key)
        })
    }
}

/// The least power of two that reaches from the first to the last.
fn width(first: u64, last: u64) -> u32 {
    u64::BITS.saturating_sub(last.saturating_sub(first).leading_zeros())
}
