//! What is to be written anew: blocks of a segment of which most is gone, and small ones that lie side by side.
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
                let payload = contents.read_raw(&found.file).map_err(StoreError::Backlog)?;
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
        let mut size = Size::default();
        let run = known.in_segment(*number).take_while(|block| size.takes(block));
        Some(Job { found: run.filter_map(|block| known.found(block)).collect() })
    }

    fn of_small_blocks(&self) -> Option<Job> {
        let known = self.read();
        let is_given_up = |block: &Block| known.files.get(&block.segment).is_none_or(|filed| filed.is_given_up);
        let (mut run, mut size) = (Vec::<&Arc<Block>>::new(), Size::default());
        for block in known.blocks() {
            if is_given_up(block) || !size.takes(block) {
                if run.len() >= MERGED_MIN {
                    break;
                }
                (run, size) = (Vec::new(), Size::default());
                if is_given_up(block) || !size.takes(block) {
                    continue;
                }
            }
            run.push(block);
        }
        let is_worth_it = run.len() >= MERGED_MIN;
        is_worth_it.then(|| Job { found: run.into_iter().filter_map(|block| known.found(block)).collect() })
    }
}

/// What is to become one block.
#[derive(Default)]
struct Size {
    blocks: usize,
    conversions: usize,
    bytes: u64,
}

impl Size {
    /// Whether there is room for one more; then it is counted.
    fn takes(&mut self, block: &Block) -> bool {
        let conversions = self.conversions.saturating_add(block.live.count());
        let bytes = self.bytes.saturating_add(block.live_bytes);
        let fits = self.blocks == 0 || self.blocks < MERGED_MAX && conversions <= Bits::MAX && bytes <= BLOCK_BYTES_MAX;
        if fits {
            *self = Size { blocks: self.blocks.saturating_add(1), conversions, bytes };
        }
        fits
    }
}

/// Below this a segment is not worth it.
const SPARSE_BYTES_MIN: u64 = 64 * 1024;
/// Small blocks are made one when there are so many: what waits is seldom copied more than twice.
const MERGED_MIN: usize = 8;
/// Their entries go in one group of the store.
const MERGED_MAX: usize = 64;
