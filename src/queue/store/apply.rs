//! What moving a conversion here, changing a delivery, and forgetting history mean as writes.
//!
//! Everything goes through an [`Applier`], which keeps the ledger in step: a group and its ledger are one batch.

use std::collections::HashMap;

use super::super::record::{self, Change, Kept, Leg, Position, Record};
use super::long::is_inline;
use super::{Group, Ledger, Store, StoreError, cost, keys};
use crate::conversion::ConversionId;

/// Collects one group.
pub(in super::super) struct Applier<'a> {
    store: &'a Store,
    ledger: Ledger,
    group: Group,
    /// Statuses changed in this group: sled does not show them before it is applied.
    changed: HashMap<ConversionId, Kept>,
}

impl<'a> Applier<'a> {
    pub(in super::super) fn new(store: &'a Store, ledger: &Ledger) -> Applier<'a> {
        Applier { store, ledger: ledger.clone(), group: Group::default(), changed: HashMap::new() }
    }

    /// Roughly what the group writes.
    pub(in super::super) fn bytes(&self) -> usize {
        self.group.bytes()
    }

    /// Takes a conversion over from the journal. A body that [`moves_ahead`] must have been written by
    /// [`Store::write_body`].
    pub(in super::super) fn move_in(&mut self, record: &Record, legs: &[Leg]) {
        let id = record.meta.id;
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
        if needs_body(legs) && is_inline(record) {
            self.group.put_body(record);
        }
        let body_len = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
        if !needs_body(legs) && !is_inline(record) {
            self.group.remove_body(record.seq, body_len);
        }
        let bucket = keys::bucket(id.unix_ms(), self.ledger.bucket_ms);
        self.group.insert(&keys::dedup(bucket, &record.key), [id.as_bytes().as_slice(), &record.digest].concat());
        if let Some(order_id) = &record.order_id {
            let order = record::key_hash(&record.meta.merchant, order_id);
            self.group.insert(&keys::order(&order, id), Vec::new());
        }
        self.group.put_status(id, &record::encode_status(record, body_len, legs), 0);
        self.ledger.moved_seq = self.ledger.moved_seq.max(record.seq);
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
        self.change_kept(&mut kept, change);
        self.changed.insert(change.id, kept);
        Ok(())
    }

    fn change_kept(&mut self, kept: &mut Kept, change: &Change) {
        let Kept { record, body_len, legs, pieces } = kept;
        let was_owed = legs.iter().any(Leg::pending);
        let Some(leg) = legs.iter_mut().find(|leg| leg.destination == change.destination) else {
            return;
        };
        let (before, was_dead) = (leg.position, leg.dead());
        if !leg.apply(&change.settlement) {
            return;
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
        if !needs_body(legs) {
            self.group.remove_body(record.seq, *body_len);
        }
        *pieces = self.group.put_status(record.meta.id, &record::encode_status(record, *body_len, legs), *pieces);
    }

    /// Forgets settled conversions received before `before_ms`, beginning behind `after`, and deduplication entries of
    /// buckets before `bucket`; looks at so many entries at most. Returns where to go on, `None` at the end,
    /// and whether there may be more deduplication entries to remove.
    pub(in super::super) fn forget(
        &mut self,
        after: Option<ConversionId>,
        before_ms: u64,
        bucket: u32,
        entries_max: usize,
    ) -> Result<(Option<ConversionId>, bool), StoreError> {
        let expired = self.store.dedup_before(bucket, entries_max)?;
        let more = expired.len() >= entries_max;
        for key in expired {
            self.group.remove(&key);
        }
        let (old, next) = self.store.kept_before(after, before_ms, entries_max)?;
        for kept in old {
            let Kept { record, legs, pieces, .. } = &kept;
            if needs_body(legs) || self.changed.contains_key(&record.meta.id) {
                continue;
            }
            self.group.remove_status(record.meta.id, *pieces);
            if let Some(order_id) = &record.order_id {
                let order = record::key_hash(&record.meta.merchant, order_id);
                self.group.remove(&keys::order(&order, record.meta.id));
            }
        }
        Ok((next, more))
    }

    /// Removes some pieces of long bodies that are not needed any more. Returns whether there were any.
    pub(in super::super) fn sweep(&mut self) -> Result<bool, StoreError> {
        self.store.sweep(&mut self.group)
    }

    /// Makes the group durable and returns the ledger that it left. Without anything to write nothing is synced.
    pub(in super::super) fn commit(mut self) -> Result<Ledger, StoreError> {
        if self.group.bytes() > 0 {
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

/// Roughly what moving a conversion writes, the body included when it goes with it.
pub(in super::super) fn move_bytes(record: &Record, legs: &[Leg]) -> usize {
    let body = if needs_body(legs) && is_inline(record) { cost(record.body.len()) } else { 0 };
    let texts = legs.iter().fold(HEAD_BYTES, |sum, leg| {
        let excerpts = leg.history.iter().filter_map(|attempt| attempt.excerpt.as_ref()).map(String::len);
        let captured = leg.captured.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let reason = leg.reason.as_ref().map_or(0, String::len);
        sum.saturating_add(excerpts.chain(captured).fold(reason.saturating_add(LEG_BYTES), usize::saturating_add))
    });
    let entries = legs.iter().filter(|leg| leg.pending() || leg.dead().is_some()).count().saturating_mul(2);
    let index = cost(INDEX_BYTES).saturating_mul(entries.saturating_add(2));
    body.saturating_add(cost(texts)).saturating_add(index)
}

/// Whether a conversion's body is written ahead of its move.
pub(in super::super) fn moves_ahead(record: &Record, legs: &[Leg]) -> bool {
    needs_body(legs) && !is_inline(record)
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
