//! What memory knows of the backlog: its blocks, who is owed something of which, and the files that they lie in.
//!
//! A few hundred bytes a block, and nothing for a conversion.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Bound;
use std::sync::Arc;

use super::block::{Block, Key, Lane};
use super::spans::Spans;
use crate::conversion::{ConversionId, DestinationName};

#[derive(Debug, Default)]
pub(super) struct Known {
    blocks: BTreeMap<Key, Arc<Block>>,
    lanes: BTreeMap<DestinationName, Blocks>,
    pub(super) files: BTreeMap<u64, Filed>,
    /// How often blocks have been written anew: who looks from one block to the next may have missed what went back.
    pub(super) rewrites: u64,
    /// The same blocks by their sequence numbers, and by when what is in them was received.
    by_seq: Spans,
    by_time: Spans,
    /// That are alive.
    conversions: usize,
}

/// Blocks of which a destination is owed something.
#[derive(Debug, Default)]
struct Blocks {
    fresh: BTreeSet<Key>,
    owed: BTreeSet<Key>,
}

/// A segment.
#[derive(Debug, Clone)]
pub(super) struct Filed {
    pub(super) file: Arc<File>,
    /// Written, as far as blocks tell.
    pub(super) bytes: u64,
    /// Of conversions that are alive.
    pub(super) live_bytes: u64,
    /// Blocks, by where they lie.
    frames: BTreeMap<u64, Key>,
    /// Whether something in it is gone that has not been overwritten, as far as is known.
    pub(super) is_unclean: bool,
    /// It could not be written anew: it is not tried again.
    pub(super) is_given_up: bool,
}

impl Filed {
    pub(super) fn new(file: File, bytes: u64) -> Filed {
        let frames = BTreeMap::new();
        Filed { file: Arc::new(file), bytes, live_bytes: 0, frames, is_unclean: true, is_given_up: false }
    }

    pub(super) fn has_blocks(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Where the next block lies behind that place.
    pub(super) fn next_frame(&self, at: u64) -> Option<u64> {
        self.frames.range((Bound::Excluded(at), Bound::Unbounded)).next().map(|(next, _)| *next)
    }
}

impl Known {
    /// Notes a block, or how it is now; one of which nothing is alive is none.
    pub(super) fn put(&mut self, mut block: Block) {
        let key = block.key();
        let has_lost = self.blocks.get(&key).is_some_and(|before| before.live != block.live);
        self.take(key, has_lost);
        if !block.is_alive() {
            return;
        }
        for Lane { destination, fresh, .. } in &mut block.lanes {
            // One copy of each name.
            if let Some((name, _)) = self.lanes.get_key_value(destination) {
                destination.clone_from(name);
            }
            let lane = self.lanes.entry(destination.clone()).or_default();
            lane.owed.insert(key);
            if !fresh.is_empty() {
                lane.fresh.insert(key);
            }
        }
        if let Some(filed) = self.files.get_mut(&block.segment) {
            filed.bytes = filed.bytes.max(block.at.saturating_add(block.frame_bytes));
            filed.live_bytes = filed.live_bytes.saturating_add(block.live_bytes);
            filed.frames.insert(block.at, key);
        }
        self.by_seq.insert((block.first_seq, block.last_seq), key);
        self.by_time.insert((block.first_ms, block.last_ms), key);
        self.conversions = self.conversions.saturating_add(block.live.count());
        block.lanes.shrink_to_fit();
        self.blocks.insert(key, Arc::new(block));
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.take(key, true);
    }

    /// `is_loss`: what lies there is gone, or some of it.
    fn take(&mut self, key: Key, is_loss: bool) {
        let Some(block) = self.blocks.remove(&key) else { return };
        self.by_seq.remove((block.first_seq, block.last_seq), key);
        self.by_time.remove((block.first_ms, block.last_ms), key);
        self.conversions = self.conversions.saturating_sub(block.live.count());
        for Lane { destination, .. } in &block.lanes {
            if let Some(lane) = self.lanes.get_mut(destination) {
                lane.owed.remove(&key);
                lane.fresh.remove(&key);
                if lane.owed.is_empty() {
                    self.lanes.remove(destination);
                }
            }
        }
        if let Some(filed) = self.files.get_mut(&block.segment) {
            filed.live_bytes = filed.live_bytes.saturating_sub(block.live_bytes);
            filed.frames.remove(&block.at);
            filed.is_unclean |= is_loss;
        }
    }

    /// Blocks, and conversions that are alive in them.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.blocks.len(), self.conversions)
    }

    /// With the file that it lies in.
    pub(super) fn found(&self, block: &Arc<Block>) -> Option<Found> {
        let file = Arc::clone(&self.files.get(&block.segment)?.file);
        Some(Found { block: Arc::clone(block), file })
    }

    /// By acceptance.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.values()
    }

    /// Those that may hold one of these sequence numbers.
    pub(super) fn spanning(&self, from: u64, to: u64) -> impl Iterator<Item = &Arc<Block>> {
        let near = self.by_seq.near(from, to).filter_map(|key| self.blocks.get(&key));
        near.filter(move |block| block.last_seq >= from)
    }

    /// Whether no other comes between these two, by acceptance.
    pub(super) fn are_neighbours(&self, key: Key, next: Key) -> bool {
        let behind = (Bound::Excluded(key), Bound::Unbounded);
        self.blocks.range(behind).next().is_some_and(|(found, _)| *found == next)
    }

    /// Those that may hold this conversion.
    pub(super) fn with_id(&self, id: ConversionId) -> impl Iterator<Item = &Arc<Block>> {
        let received_ms = id.unix_ms();
        let near = self.by_time.near(received_ms, received_ms).filter_map(|key| self.blocks.get(&key));
        near.filter(move |block| block.last_ms >= received_ms)
    }

    /// The last sequence number of what is looked at together behind this one: so far that no block ends before, of those
    /// that hold the next or begin behind it. So there are few that reach into it, however wide others are.
    pub(super) fn next_end(&self, after: u64) -> Option<u64> {
        let from = after.checked_add(1)?;
        let mut end = self.spanning(from, from).map(|block| block.last_seq).min();
        for (_, block) in self.blocks.range((from, 0)..) {
            if end.is_some_and(|end| block.first_seq > end) {
                break;
            }
            end = Some(end.map_or(block.last_seq, |end| end.min(block.last_seq)));
        }
        end
    }

    /// The block whose frame lies there.
    pub(super) fn lying_at(&self, segment: u64, at: u64) -> Option<&Arc<Block>> {
        let key = self.files.get(&segment)?.frames.get(&at)?;
        self.blocks.get(key)
    }

    /// Blocks of a segment, as they lie in it.
    pub(super) fn in_segment(&self, segment: u64) -> impl Iterator<Item = &Arc<Block>> {
        let keys = self.files.get(&segment).map(|filed| filed.frames.values());
        keys.into_iter().flatten().filter_map(|key| self.blocks.get(key))
    }

    /// Blocks with something fresh for the destination, by acceptance, from that one on.
    pub(super) fn fresh(&self, destination: &DestinationName, from: Key) -> impl Iterator<Item = &Arc<Block>> {
        let keys = self.lanes.get(destination).map(|lane| lane.fresh.range(from..));
        keys.into_iter().flatten().filter_map(|key| self.blocks.get(key))
    }

    /// The first block of which the destination is owed something.
    pub(super) fn first_owed(&self, destination: &DestinationName) -> Option<&Arc<Block>> {
        self.blocks.get(self.lanes.get(destination)?.owed.first()?)
    }
}

/// A block, and the file that it lies in: that stays readable, whatever is given up meanwhile.
#[derive(Debug, Clone)]
pub(in super::super) struct Found {
    pub(in super::super) block: Arc<Block>,
    pub(super) file: Arc<File>,
}
