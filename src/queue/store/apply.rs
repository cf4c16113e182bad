//! What taking a conversion over from the journal, and changing a delivery, mean as writes.
//!
//! A conversion of which something is owed, or dead, is the store's; of which nothing is, the history's. Once the last of it
//! is settled it goes from the one to the other and does not come back.
//!
//! Everything goes through an [`Applier`], which keeps the ledger in step: a group and its ledger are one batch. What the
//! history gets is synced before: a crash in between repeats the group, and what was written twice says the same.

use std::collections::HashMap;

use super::super::folder::Folder;
use super::super::history::{Batch, History, Mark};
use super::super::record::{self, Change, Kept, Leg, Position, Record};
use super::super::vault::Sealing;
use super::long::is_inline;
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
    batch: Batch,
    /// Statuses changed in this group: sled does not show them before it is applied.
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
            batch: Batch::new(&store.vault),
            changed: HashMap::new(),
        }
    }

    /// Roughly what the group writes to the store.
    pub(in super::super) fn bytes(&self) -> usize {
        self.group.bytes()
    }

    /// What it appends to the history.
    pub(in super::super) fn history_bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// Takes a conversion over from the journal.
    pub(in super::super) fn move_in(&mut self, record: &Record, legs: &[Leg]) -> Result<(), StoreError> {
        let id = record.meta.id;
        self.ledger.moved_seq = self.ledger.moved_seq.max(record.seq);
        if !needs_body(legs) {
            return Ok(self.batch.settled(record, legs)?);
        }
        if !is_inline(record) {
            self.store.write_body(&self.sealing, record)?;
        }
        self.batch.used(record);
        self.ledger.seals(self.sealing.number());
        for leg in legs {
            for key in keys::queued(&leg.destination, record.seq, leg.position) {
                self.group.insert(&key, id.as_bytes().to_vec());
            }
            let tally = self.ledger.tally(&leg.destination);
            if leg.pending() {
                tally.pending = tally.pending.saturating_add(1);
            }
            if leg.dead().is_some() {
                tally.dead = tally.dead.saturating_add(1);
            }
            self.dead_entry(record, leg);
        }
        if legs.iter().any(Leg::pending) {
            self.ledger.pending_bytes = self.ledger.pending_bytes.saturating_add(record.stored_bytes());
        }
        if is_inline(record) {
            self.group.put_body(&self.sealing, record)?;
        }
        let body_len = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
        if let Some(order) = &record.order_key {
            self.group.insert(&keys::order(order, id), Vec::new());
        }
        self.group.put_status(id, &record::encode_status(&self.sealing, record, body_len, legs)?, 0);
        Ok(())
    }

    /// Applies a change to a delivery that was moved. One that was applied before, or whose conversion has been forgotten,
    /// changes nothing.
    pub(in super::super) fn change(&mut self, change: &Change) -> Result<(), StoreError> {
        let mut kept = match self.changed.remove(&change.id) {
            Some(kept) => kept,
            None => match self.store.kept(change.id)? {
                Some(kept) => kept,
                None => return Ok(()),
            },
        };
        self.change_kept(&mut kept, change)?;
        self.changed.insert(change.id, kept);
        Ok(())
    }

    fn change_kept(&mut self, kept: &mut Kept, change: &Change) -> Result<(), StoreError> {
        let Kept { record, body_len, legs, pieces, key } = kept;
        let was_owed = legs.iter().any(Leg::pending);
        let Some(leg) = legs.iter_mut().find(|leg| leg.destination == change.destination) else {
            return Ok(());
        };
        let (before, was_dead) = (leg.position, leg.dead());
        if !leg.apply(&change.settlement) {
            return Ok(());
        }
        if let Some((_, at_ms)) = was_dead {
            let place = keys::Place::of(&leg.destination, at_ms, record.seq);
            self.group.remove(&place.0);
        }
        for key in keys::queued(&leg.destination, record.seq, before) {
            self.group.remove(&key);
        }
        for key in keys::queued(&leg.destination, record.seq, leg.position) {
            self.group.insert(&key, record.meta.id.as_bytes().to_vec());
        }
        let leg = &*leg;
        let tally = self.ledger.tally(&leg.destination);
        tally.pending = moved_count(tally.pending, was_dead.is_none(), leg.pending());
        tally.dead = moved_count(tally.dead, was_dead.is_some(), leg.dead().is_some());
        self.dead_entry(record, leg);
        let bytes = stored_bytes(record, *body_len);
        match (was_owed, legs.iter().any(Leg::pending)) {
            (true, false) => self.ledger.pending_bytes = self.ledger.pending_bytes.saturating_sub(bytes),
            (false, true) => self.ledger.pending_bytes = self.ledger.pending_bytes.saturating_add(bytes),
            (true, true) | (false, false) => {}
        }
        if needs_body(legs) {
            let status = record::encode_status(&self.store.vault.sealing_with(*key)?, record, *body_len, legs)?;
            *pieces = self.group.put_status(record.meta.id, &status, *pieces);
            return Ok(());
        }
        self.batch.settled(record, legs)?;
        self.group.remove_status(record.meta.id, *pieces);
        if let Some(order) = &record.order_key {
            self.group.remove(&keys::order(order, record.meta.id));
        }
        self.ledger.unseals(*key);
        self.group.remove_body(kept);
        Ok(())
    }

    /// Removes some pieces of long bodies that are not needed any more. Returns whether there were any.
    pub(in super::super) fn sweep(&mut self) -> Result<bool, StoreError> {
        self.store.sweep(&mut self.group)
    }

    /// Makes the group durable and returns the ledger that it left. Without anything to write nothing is synced.
    /// `mark`: how far the store had come, and the time.
    pub(in super::super) fn commit(
        mut self,
        history: &History,
        folder: &Folder,
        mark: Mark,
    ) -> Result<Ledger, StoreError> {
        let is_stored = self.group.bytes() > 0;
        if !self.batch.is_empty() {
            // What goes to the store is moved once the store says so.
            let moved_seq = if is_stored { self.before.moved_seq } else { self.ledger.moved_seq };
            history.append(folder, &self.batch, Mark { moved_seq, ..mark })?;
            self.ledger.history_seq = history.next_seq();
        }
        if is_stored {
            self.group.insert(keys::LEDGER, self.ledger.encode());
            self.store.commit(self.group)?;
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

/// Roughly what moving a conversion writes to the store, the body included when it goes with it, and to the history.
pub(in super::super) fn move_bytes(record: &Record, legs: &[Leg]) -> (usize, usize) {
    let body = if is_inline(record) { cost(record.body.len()) } else { 0 };
    let texts = legs.iter().fold(HEAD_BYTES, |sum, leg| {
        let excerpts = leg.history.iter().filter_map(|attempt| attempt.excerpt.as_ref()).map(String::len);
        let captured = leg.captured.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let reason = leg.reason.as_ref().map_or(0, String::len);
        sum.saturating_add(excerpts.chain(captured).fold(reason.saturating_add(LEG_BYTES), usize::saturating_add))
    });
    let entries = legs.iter().filter(|leg| leg.pending() || leg.dead().is_some()).count().saturating_mul(2);
    let index = cost(INDEX_BYTES).saturating_mul(entries.saturating_add(2));
    if !needs_body(legs) {
        return (0, texts);
    }
    (body.saturating_add(cost(texts)).saturating_add(index), HEAD_BYTES)
}

fn needs_body(legs: &[Leg]) -> bool {
    legs.iter().any(|leg| leg.pending() || leg.dead().is_some())
}

/// A count of which one was part before, or is afterwards.
fn moved_count(count: u64, before: bool, after: bool) -> u64 {
    count.saturating_sub(u64::from(before)).saturating_add(u64::from(after))
}

fn stored_bytes(record: &Record, body_len: u32) -> u64 {
    record.stored_bytes().saturating_add(u64::from(body_len))
}

/// A status without its legs.
const HEAD_BYTES: usize = 300;
/// One leg's part of the status.
const LEG_BYTES: usize = 90;
/// An entry of an index.
const INDEX_BYTES: usize = 70;
