//! What taking a conversion over from the journal, and changing a delivery, mean as writes.
//!
//! A conversion of which something is owed, or dead, is the backlog's; of which nothing is, the history's. Once the last of it
//! is settled it goes from the one to the other and does not come back.
//!
//! Everything goes through an [`Applier`], which keeps the ledger in step: a group and its ledger are one batch. What the
//! backlog and the history get is synced before: a crash in between repeats the group. What the backlog got then nothing names,
//! and what the history was told twice says the same.

use std::collections::{BTreeMap, HashMap};

use super::super::backlog::{Block, Draft, Item, Key, Owed, entry_bytes};
use super::super::codec::Malformed;
use super::super::folder::Folder;
use super::super::history::{Batch, History, Mark};
use super::super::record::{self, Change, Leg, Position, Record};
use super::super::vault::Sealing;
use super::kept::Kept;
use super::{Group, Ledger, Store, StoreError, cost, keys};
use crate::conversion::ConversionId;

/// Collects one group.
pub(in super::super) struct Applier<'a> {
    store: &'a Store,
    /// What is taken over is sealed with it.
    sealing: Sealing,
    /// As it was written last, and as it will be.
    before: Ledger,
    ledger: Ledger,
    group: Group,
    /// Of the entries of blocks that come to the group with its end.
    block_bytes: usize,
    batch: Batch,
    /// What the backlog takes over.
    drafts: Vec<Draft>,
    /// Blocks changed in this group.
    blocks: BTreeMap<Key, Block>,
    /// Conversions changed in this group: sled does not show them before it is applied.
    changed: HashMap<ConversionId, Kept>,
}

impl<'a> Applier<'a> {
    pub(in super::super) fn new(store: &'a Store, ledger: &Ledger) -> Applier<'a> {
        Applier {
            store,
            sealing: store.vault.sealing(),
            before: ledger.clone(),
            ledger: ledger.clone(),
            group: Group::default(),
            block_bytes: 0,
            batch: Batch::new(&store.vault),
            drafts: Vec::new(),
            blocks: BTreeMap::new(),
            changed: HashMap::new(),
        }
    }

    /// Roughly what the group writes to the store.
    pub(in super::super) fn bytes(&self) -> usize {
        self.group.bytes().saturating_add(self.block_bytes)
    }

    /// What it appends to the history.
    pub(in super::super) fn history_bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// Takes a conversion over from the journal.
    pub(in super::super) fn move_in(&mut self, record: &Record, legs: &[Leg]) -> Result<(), StoreError> {
        let id = record.meta.id;
        self.ledger.moved_seq = self.ledger.moved_seq.max(record.seq);
        if !is_kept(legs) {
            return Ok(self.batch.settled(record, legs)?);
        }
        self.batch.used(record);
        self.ledger.seals(self.sealing.number());
        for leg in legs {
            if let Some(key) = keys::queued(&leg.destination, record.seq, leg.position) {
                self.group.insert(&key, id.as_bytes().to_vec());
            }
            self.ledger.tally(&leg.destination).counts(leg);
            self.dead_entry(record, leg);
        }
        if legs.iter().any(Leg::pending) {
            self.ledger.pending_bytes = self.ledger.pending_bytes.saturating_add(record.stored_bytes());
        }
        let accepted = record::encode_accepted(&self.sealing, record, legs)?;
        let owed = legs.iter().map(|leg| (leg.destination.clone(), owed(leg))).collect();
        let item = Item::new((record.seq, id, self.sealing.number()), record.order_key.as_ref(), &accepted, owed);
        match self.drafts.last_mut().filter(|draft| draft.has_room_for(&item)) {
            Some(draft) => draft.push(item),
            None => {
                self.drafts.push(Draft::of(vec![item]));
                self.block_bytes = self.block_bytes.saturating_add(block_cost(legs));
            }
        }
        Ok(())
    }

    /// Applies a change to a delivery that was moved. One that was applied before, or whose conversion has been forgotten,
    /// changes nothing; so does one of a conversion that may be here and cannot be read: then it returns what is damaged.
    pub(in super::super) fn change(&mut self, change: &Change) -> Result<Option<Malformed>, StoreError> {
        let mut kept = match self.changed.remove(&change.id) {
            Some(kept) => kept,
            None => match self.store.kept_at(change.seq, change.id) {
                Ok(Some(kept)) => kept,
                Ok(None) => return Ok(None),
                Err(StoreError::Form(damage)) => return Ok(Some(damage)),
                Err(error) => return Err(error),
            },
        };
        self.change_kept(&mut kept, change)?;
        self.changed.insert(change.id, kept);
        Ok(None)
    }

    fn change_kept(&mut self, kept: &mut Kept, change: &Change) -> Result<(), StoreError> {
        let Kept { record, legs, pieces, key, .. } = kept;
        let was_owed = legs.iter().any(Leg::pending);
        let Some(leg) = legs.iter_mut().find(|leg| leg.destination == change.destination) else {
            return Ok(());
        };
        let before = leg.clone();
        if !leg.apply(&change.settlement) {
            return Ok(());
        }
        if let Some((_, at_ms)) = before.dead() {
            let place = keys::Place::of(&leg.destination, at_ms, record.seq);
            self.group.remove(&place.0);
        }
        if let Some(key) = keys::queued(&leg.destination, record.seq, before.position) {
            self.group.remove(&key);
        }
        if let Some(key) = keys::queued(&leg.destination, record.seq, leg.position) {
            self.group.insert(&key, record.meta.id.as_bytes().to_vec());
        }
        let leg = leg.clone();
        let tally = self.ledger.tally(&leg.destination);
        tally.uncounts(&before);
        tally.counts(&leg);
        self.dead_entry(record, &leg);
        let bytes = record.stored_bytes();
        match (was_owed, legs.iter().any(Leg::pending)) {
            (true, false) => self.ledger.pending_bytes = self.ledger.pending_bytes.saturating_sub(bytes),
            (false, true) => self.ledger.pending_bytes = self.ledger.pending_bytes.saturating_add(bytes),
            (true, true) | (false, false) => {}
        }
        if is_kept(legs) {
            let sealing = self.store.vault.sealing_with(*key)?;
            let status = record::encode_changed(&sealing, record.meta.id, legs)?;
            *pieces = self.group.put_status(record.meta.id, &status, *pieces);
            let slot = kept.slot;
            let block = self.block_of(kept);
            block.put_leg(&leg.destination, slot, owed(&leg));
            block.put_changed(slot, true);
            return Ok(());
        }
        self.batch.settled(record, legs)?;
        self.group.remove_status(record.meta.id, *pieces);
        self.ledger.unseals(*key);
        let (slot, bytes) = (kept.slot, kept.bytes);
        self.block_of(kept).remove(slot, bytes);
        Ok(())
    }

    /// The block of a conversion, to be changed.
    fn block_of(&mut self, kept: &Kept) -> &mut Block {
        let block = &kept.found.block;
        let block_bytes = &mut self.block_bytes;
        self.blocks.entry(block.key()).or_insert_with(|| {
            *block_bytes = block_bytes.saturating_add(cost(block.entry_bytes()));
            Block::clone(block)
        })
    }

    /// Makes the group durable and returns the ledger that it left. Without anything to write nothing is synced.
    /// `mark`: how far the store had come, and the time.
    pub(in super::super) fn commit(
        mut self,
        history: &History,
        folder: &Folder,
        mark: Mark,
    ) -> Result<Ledger, StoreError> {
        let (is_stored, backlog) = (self.bytes() > 0, &self.store.backlog);
        let mut added = Vec::new();
        if !self.drafts.is_empty() {
            added = backlog.append(folder, &self.drafts, history.next_seq())?;
        }
        if !self.batch.is_empty() {
            // What goes to the store is moved once the store says so.
            let moved_seq = if is_stored { self.before.moved_seq } else { self.ledger.moved_seq };
            if let Err(error) = history.append(folder, &self.batch, Mark { moved_seq, ..mark }) {
                backlog.withdraw()?;
                return Err(error);
            }
            self.ledger.history_seq = history.next_seq();
        }
        if is_stored {
            for block in added.iter().chain(self.blocks.values()) {
                self.group.put_block(block);
            }
            let gone = self.blocks.values().filter(|block| !block.is_alive()).count();
            self.ledger.count_blocks(added.len(), gone);
            self.group.insert(keys::LEDGER, self.ledger.encode());
            // Who comes to what waits by an entry of the store finds it.
            backlog.publish(added, &[]);
            let under_way = self.store.group_begins();
            self.store.commit(self.group)?;
            backlog.publish(self.blocks.into_values(), &[]);
            drop(under_way);
            // What is being had back of it may lie there.
            if !self.ledger.is_being_mended {
                backlog.remove_unneeded();
            }
        }
        Ok(self.ledger)
    }

    fn dead_entry(&mut self, record: &Record, leg: &Leg) {
        if let Position::Done { at_ms, .. } = leg.position
            && leg.dead().is_some()
        {
            let place = keys::Place::of(&leg.destination, at_ms, record.seq);
            self.group.insert(&place.0, record.meta.id.as_bytes().to_vec());
        }
    }
}

impl Group {
    /// Writes what is said of a block; of one in which nothing is alive nothing is.
    pub(super) fn put_block(&mut self, block: &Block) {
        let key = keys::block(block.number);
        if block.is_alive() {
            self.insert(&key, block.encode());
        } else {
            self.remove_sized(&key, block.entry_bytes());
        }
    }
}

/// Roughly what moving a conversion writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct MoveBytes {
    /// To the store.
    pub(in super::super) store: usize,
    /// To the backlog.
    pub(in super::super) backlog: usize,
    /// To the history.
    pub(in super::super) history: usize,
}

impl MoveBytes {
    pub(in super::super) fn of(record: &Record, legs: &[Leg]) -> MoveBytes {
        let texts = legs.iter().fold(HEAD_BYTES, |sum, leg| {
            let excerpts = leg.history.iter().filter_map(|attempt| attempt.excerpt.as_ref()).map(String::len);
            let captured = leg.captured.iter().map(|(name, value)| name.len().saturating_add(value.len()));
            let reason = leg.reason.as_ref().map_or(0, String::len);
            sum.saturating_add(excerpts.chain(captured).fold(reason.saturating_add(LEG_BYTES), usize::saturating_add))
        });
        if !is_kept(legs) {
            return MoveBytes { history: texts, ..MoveBytes::default() };
        }
        let has_place = |leg: &&Leg| leg.dead().is_some() || leg.pending() && leg.position != Position::Fresh;
        let places = legs.iter().filter(has_place).count().saturating_mul(cost(INDEX_BYTES));
        // A block is begun for so many conversions, or for so many bytes.
        let blocks = record.body.len().saturating_add(texts).checked_div(BLOCK_SHARE_BYTES).unwrap_or(0);
        let shares = block_cost(legs).checked_div(BLOCK_SHARE).unwrap_or(0).saturating_mul(blocks.saturating_add(1));
        MoveBytes {
            store: places.saturating_add(shares),
            backlog: record.body.len().saturating_add(texts),
            history: USED_BYTES,
        }
    }

    pub(in super::super) fn and(self, other: MoveBytes) -> MoveBytes {
        MoveBytes {
            store: self.store.saturating_add(other.store),
            backlog: self.backlog.saturating_add(other.backlog),
            history: self.history.saturating_add(other.history),
        }
    }

    pub(in super::super) fn fits(self, room: MoveBytes) -> bool {
        self.store <= room.store && self.backlog <= room.backlog && self.history <= room.history
    }
}

fn block_cost(legs: &[Leg]) -> usize {
    cost(entry_bytes(legs.iter().filter(|leg| leg.owed()).map(|leg| &leg.destination)))
}

pub(super) fn owed(leg: &Leg) -> Owed {
    Owed { is_fresh: leg.position == Position::Fresh, is_owed: leg.owed() }
}

/// Whether something of it is owed or dead.
fn is_kept(legs: &[Leg]) -> bool {
    legs.iter().any(Leg::kept)
}

/// A conversion without its body and its legs.
const HEAD_BYTES: usize = 300;
/// One leg's part.
const LEG_BYTES: usize = 90;
/// What the history is told of a conversion that waits.
const USED_BYTES: usize = 80;
/// An entry of an index.
const INDEX_BYTES: usize = 70;
/// Conversions that a block's entry is counted for: a quarter of those that it has room for …
const BLOCK_SHARE: usize = 32;
/// … or so many bytes for each of them.
const BLOCK_SHARE_BYTES: usize = 32 * 1024;
