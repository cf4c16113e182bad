//! What is to be written anew: blocks of a segment of which most is gone, and small ones.
//!
//! Only neighbours become one, by acceptance: blocks stay narrow, and what comes next is found by looking at few.
//!
//! Conversions are copied as they lie, with the key that they were sealed with.

use std::sync::Arc;

use super::super::store::StoreError;
use super::bits::Bits;
use super::block::{BLOCK_BYTES_MAX, Block, Draft, Item, Key, Owed};
use super::known::Found;
use super::{Backlog, DATA_START};

/// Blocks that are to become one.
pub(in super::super) struct Job {
    found: Vec<Found>,
}

impl Job {
    pub(in super::super) fn keys(&self) -> Vec<Key> {
        self.found.iter().map(|found| found.block.key()).collect()
    }

    pub(in super::super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.found.iter().map(|found| &*found.block)
    }

    /// The history knows of all of them from this record on, or earlier.
    pub(in super::super) fn history_seq(&self) -> u64 {
        self.blocks().map(|block| block.history_seq).min().unwrap_or(0)
    }

    /// What is alive in them, as one block.
    pub(in super::super) fn draft(&self) -> Result<Draft, StoreError> {
        let mut items = Vec::new();
        for found in &self.found {
            for place in found.places()?.into_iter().filter(|place| place.is_alive()) {
                let (slot, contents) = (place.slot, place.contents);
                let payload = contents.read_raw(&found.file).map_err(StoreError::Backlog)??;
                let lanes = found.block.lanes.iter().filter(|lane| lane.owed.contains(slot));
                let legs = lanes.map(|lane| {
                    let owed = Owed { is_fresh: lane.fresh.contains(slot), is_owed: true };
                    (lane.destination.clone(), owed)
                });
                let (seq, id, key, order) = (contents.seq, contents.id, contents.key, contents.order);
                let is_changed = found.block.changed.contains(slot);
                items.push(Item { seq, id, key, order, payload, is_changed, legs: legs.collect() });
            }
        }
        items.sort_by_key(|item| item.seq);
        Ok(Draft::of(items))
    }
}

impl Backlog {
    /// What is to be written anew next, if anything. `all`: however little it gives back.
    pub(in super::super) fn sparse(&self, all: bool) -> Option<Job> {
        self.of_sparse_segment(all).or_else(|| self.of_small_blocks())
    }

    /// Never again for these: one of them is damaged.
    pub(in super::super) fn give_up(&self, job: &Job) {
        let mut known = self.write();
        for block in job.blocks() {
            if let Some(filed) = known.files.get_mut(&block.segment) {
                filed.is_given_up = true;
            }
        }
    }

    fn of_sparse_segment(&self, all: bool) -> Option<Job> {
        let written = {
            let end = self.lock_end();
            end.segment.as_ref().map(|_| end.number)
        };
        let known = self.read();
        let least = if all { 0 } else { SPARSE_BYTES_MIN };
        let is_sparse = |bytes: u64, live: u64| {
            let data = bytes.saturating_sub(DATA_START);
            data > least && live.saturating_mul(2) < data
        };
        let sparse = known.files.iter().filter(|(number, filed)| {
            let is_open = Some(**number) == written || filed.is_given_up || !filed.has_blocks();
            !is_open && is_sparse(filed.bytes, filed.live_bytes)
        });
        // The one that costs least.
        let (number, _) = sparse.min_by_key(|(_, filed)| filed.live_bytes)?;
        let mut blocks: Vec<&Arc<Block>> = known.in_segment(*number).collect();
        blocks.sort_unstable_by_key(|block| block.key());
        let (mut size, mut last) = (Size::default(), None);
        let run = blocks.into_iter().take_while(|block| {
            let is_next = last.is_none_or(|last| known.are_neighbours(last, block.key()));
            last = Some(block.key());
            is_next && size.takes(block)
        });
        Some(Job { found: run.filter_map(|block| known.found(block)).collect() })
    }

    fn of_small_blocks(&self) -> Option<Job> {
        let known = self.read();
        let is_given_up = |block: &Block| known.files.get(&block.segment).is_none_or(|filed| filed.is_given_up);
        let (mut run, mut size) = (Vec::<&Arc<Block>>::new(), Size::default());
        for block in known.blocks() {
            if is_given_up(block) || !size.takes(block) {
                if run.len() >= size.merged_min() {
                    break;
                }
                (run, size) = (Vec::new(), Size::default());
                if is_given_up(block) || !size.takes(block) {
                    continue;
                }
            }
            run.push(block);
        }
        let is_worth_it = run.len() >= size.merged_min();
        is_worth_it.then(|| Job { found: run.into_iter().filter_map(|block| known.found(block)).collect() })
    }
}

/// What is to become one block.
#[derive(Default)]
struct Size {
    blocks: usize,
    conversions: usize,
    bytes: u64,
    /// Of the store's entries that go with them; the one that comes takes no more.
    entry_bytes: usize,
    /// There was no room for one more of these.
    is_full_of_entries: bool,
}

impl Size {
    /// Whether there is room for one more; then it is counted.
    fn takes(&mut self, block: &Block) -> bool {
        let conversions = self.conversions.saturating_add(block.live.count());
        let bytes = self.bytes.saturating_add(block.live_bytes);
        let entry_bytes = self.entry_bytes.saturating_add(block.entry_bytes());
        let is_full_of_entries = entry_bytes > MERGED_ENTRY_BYTES_MAX;
        let fits = self.blocks == 0 || conversions <= Bits::MAX && bytes <= BLOCK_BYTES_MAX && !is_full_of_entries;
        if fits {
            let blocks = self.blocks.saturating_add(1);
            *self = Size { blocks, conversions, bytes, entry_bytes, is_full_of_entries: false };
        } else {
            self.is_full_of_entries = is_full_of_entries;
        }
        fits
    }

    /// How many small ones make it worth while.
    fn merged_min(&self) -> usize {
        if self.is_full_of_entries { MERGED_FEW } else { MERGED_MIN }
    }
}

/// Below this a segment is not worth it.
const SPARSE_BYTES_MIN: u64 = 64 * 1024;
/// Small blocks are made one when there are so many: what waits is seldom copied more than twice.
const MERGED_MIN: usize = 8;
/// Or so many, of which no more would go together.
const MERGED_FEW: usize = 2;
/// Their entries, and the one that comes for them, go in one group of the store: it counts some four times as much.
const MERGED_ENTRY_BYTES_MAX: usize = 20 * 1024;
