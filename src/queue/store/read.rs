//! Reading the store: statuses, work that is due, dead letters. Every scan is bounded by what it returns and skips.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashSet;

use super::super::codec::{Malformed, Reader};
use super::super::record::{Kept, Leg, Record};
use super::super::status::{Attempt, DeadFilter, DeadKind, DeadLetter, Verdict};
use super::super::vault::KeyHash;
use super::super::{Lease, ORDER_STATUSES_MAX};
use super::{Place, Store, StoreError, keys};
use crate::conversion::{ConversionId, DestinationName};

/// Deliveries read ahead for a destination.
#[derive(Default)]
pub(in super::super) struct Loaded {
    pub(in super::super) leases: Vec<Lease>,
    /// Whether there may be more fresh ones.
    pub(in super::super) more_fresh: bool,
    /// When the next waiting one that was not read is due.
    pub(in super::super) next_due_ms: Option<u64>,
    /// Queue entries whose conversion could not be found: to be looked at again, or damage.
    pub(in super::super) lost: Vec<u64>,
}

/// A dead letter and its place in the listing.
pub(in super::super) struct DeadEntry {
    pub(in super::super) place: Place,
    pub(in super::super) letter: DeadLetter,
}

/// Dead letters of one page.
#[derive(Default)]
pub(in super::super) struct DeadFound {
    pub(in super::super) entries: Vec<DeadEntry>,
    /// Where to go on, if there may be more.
    pub(in super::super) next: Option<Place>,
    /// Those whose conversion is not there: damage.
    pub(in super::super) lost: Vec<Place>,
}

/// How much may be read ahead at once.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Room {
    pub(in super::super) count: usize,
    pub(in super::super) bytes: usize,
}

impl Room {
    fn is_left(self, count: usize, bytes: usize) -> bool {
        count < self.count && (bytes < self.bytes || count == 0)
    }
}

impl Store {
    /// Due deliveries by due time, and fresh ones in order of acceptance, without those in `skip`.
    pub(in super::super) fn load(
        &self,
        destination: &DestinationName,
        now_ms: u64,
        skip: &HashSet<u64>,
        (due, fresh): (Room, Room),
    ) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        for (lane, room) in [(keys::due_lane(destination), due), (keys::fresh_lane(destination), fresh)] {
            let (mut count, mut bytes) = (0_usize, 0_usize);
            for entry in self.db.scan_prefix(lane) {
                let (key, id) = entry?;
                let (seq, due_ms) = keys::queued_parts(&key).ok_or(Malformed("queue key"))?;
                if skip.contains(&seq) {
                    continue;
                }
                if !room.is_left(count, bytes) || due_ms.is_some_and(|due_ms| due_ms > now_ms) {
                    loaded.more_fresh |= due_ms.is_none();
                    loaded.next_due_ms = loaded.next_due_ms.or(due_ms);
                    break;
                }
                let Some(lease) = self.lease(destination, &id, due_ms)? else {
                    loaded.lost.push(seq);
                    continue;
                };
                count = count.saturating_add(1);
                bytes = bytes.saturating_add(lease.record.body.len());
                loaded.leases.push(lease);
            }
        }
        Ok(loaded)
    }

    /// The delivery of a queue entry; `None` when it was settled in the meantime, or lost.
    fn lease(
        &self,
        destination: &DestinationName,
        id: &[u8],
        due_ms: Option<u64>,
    ) -> Result<Option<Lease>, StoreError> {
        let id = ConversionId::from_bytes(Reader::new(id).id()?);
        let Some(kept) = self.kept(id)? else {
            return Ok(None);
        };
        let Some(leg) = kept.legs.iter().find(|leg| leg.destination == *destination && leg.pending()) else {
            return Ok(None);
        };
        let (attempts, revision, replayed_ms) = (leg.attempts, leg.revision, leg.replayed_ms());
        let acceptance = leg.acceptance();
        let Some(body) = self.body(&kept)? else {
            return Ok(None);
        };
        let record = Arc::new(kept.record.with_body(body));
        let destination = destination.clone();
        Ok(Some(Lease { destination, record, attempts, revision, due_ms, replayed_ms, acceptance }))
    }

    /// The conversion whose id comes after this one's, with its body; the first one after none. For a store that nobody
    /// writes to: what is not whole is damaged.
    pub(in super::super) fn kept_after(&self, id: Option<ConversionId>) -> Result<Option<(Kept, Bytes)>, StoreError> {
        match self.next_kept(id)? {
            None => Ok(None),
            Some((_, Some(entry))) => Ok(Some(entry)),
            Some((_, None)) => Err(Malformed("a status without its body").into()),
        }
    }

    /// The same while it is written to: the id, and what is still there of it.
    pub(in super::super) fn next_kept(&self, id: Option<ConversionId>) -> Result<Option<Next>, StoreError> {
        let from = id.map_or(Bound::Included(vec![keys::STATUS]), |id| Bound::Excluded(keys::status(id)));
        let Some(entry) = self.db.range((from, Bound::Excluded(vec![keys::STATUS.saturating_add(1)]))).next() else {
            return Ok(None);
        };
        let id = entry?.0.split_last_chunk::<16>().map(|(_, id)| *id).ok_or(Malformed("status key"))?;
        let id = ConversionId::from_bytes(id);
        let Some(kept) = self.kept(id)? else { return Ok(Some((id, None))) };
        let body = self.body(&kept)?;
        Ok(Some((id, body.map(|body| (kept, body)))))
    }

    /// When the oldest conversion that is owed to the destination here was received.
    pub(in super::super) fn oldest_ms(&self, destination: &DestinationName) -> Result<Option<u64>, StoreError> {
        let mut oldest = None;
        for lane in [keys::fresh_lane(destination), keys::age_lane(destination)] {
            if let Some(entry) = self.db.scan_prefix(lane).next() {
                let received_ms = ConversionId::from_bytes(Reader::new(&entry?.1).id()?).unix_ms();
                oldest = Some(oldest.map_or(received_ms, |oldest: u64| oldest.min(received_ms)));
            }
        }
        Ok(oldest)
    }

    /// The ids of a merchant's conversions for an order, oldest first.
    pub(in super::super) fn order(&self, order: &KeyHash) -> Result<Vec<ConversionId>, StoreError> {
        let mut found = Vec::new();
        for key in self.db.scan_prefix(keys::orders(order)).keys().take(ORDER_STATUSES_MAX) {
            if let Some((_, id)) = key?.split_last_chunk::<16>() {
                found.push(ConversionId::from_bytes(*id));
            }
        }
        Ok(found)
    }

    /// Dead letters from `from` on that match, at most `limit`.
    pub(in super::super) fn dead(
        &self,
        filter: &DeadFilter,
        from: &Place,
        limit: usize,
    ) -> Result<DeadFound, StoreError> {
        let mut found = DeadFound::default();
        let lane = filter.destination.as_ref().map_or(vec![keys::DEAD], keys::dead_lane);
        for (looked_at, entry) in self.db.range(from.0.clone()..).enumerate() {
            let (key, id) = entry?;
            if !key.starts_with(&lane) {
                return Ok(found);
            }
            let place = Place(key.to_vec());
            if found.entries.len() >= limit || looked_at >= DEAD_LOOKED_AT_MAX {
                found.next = Some(place);
                return Ok(found);
            }
            let (destination, at_ms) = keys::dead_parts(&key).ok_or(Malformed("dead letter's key"))?;
            if filter.since_ms.is_some_and(|since_ms| at_ms < since_ms)
                || filter.until_ms.is_some_and(|until_ms| at_ms >= until_ms)
            {
                continue;
            }
            let kept = self.kept(ConversionId::from_bytes(Reader::new(&id).id()?))?;
            let letter = kept.and_then(|kept| {
                let leg = kept.legs.iter().find(|leg| leg.destination == destination)?;
                dead_letter(&kept.record, leg)
            });
            match letter {
                Some(letter) if filter.matches(&letter) => found.entries.push(DeadEntry { place, letter }),
                Some(_) => {}
                // Dealt with meanwhile, its entry would be gone in the same write.
                None if self.db.contains_key(&key)? => found.lost.push(place),
                None => {}
            }
        }
        Ok(found)
    }
}

/// An id, and the conversion with its body.
pub(in super::super) type Next = (ConversionId, Option<(Kept, Bytes)>);

/// How a dead leg is listed.
pub(in super::super) fn dead_letter(record: &Record, leg: &Leg) -> Option<DeadLetter> {
    let (kind, at_ms) = leg.dead()?;
    Some(DeadLetter {
        id: record.meta.id,
        destination: leg.destination.clone(),
        kind,
        at_ms,
        order_id: record.order_id.clone(),
        merchant: Arc::clone(&record.meta.merchant),
        attempts: leg.attempts,
        reason: leg.reason.clone().unwrap_or_default(),
        last: leg.history.last().cloned(),
        may_have_arrived: kind == DeadKind::Unknown || leg.history.iter().any(may_have_arrived),
    })
}

fn may_have_arrived(attempt: &Attempt) -> bool {
    match attempt.verdict {
        Verdict::Unknown | Verdict::Accepted | Verdict::Unconfirmed | Verdict::Delivered | Verdict::Duplicate => true,
        Verdict::Retry
        | Verdict::Suspended
        | Verdict::Rejected
        | Verdict::Unmappable
        | Verdict::Withheld
        | Verdict::Skipped
        | Verdict::Unsupported
        | Verdict::Expired => false,
    }
}

/// Dead letters looked at for one page, matching or not.
const DEAD_LOOKED_AT_MAX: usize = 5_000;
