//! Reading the store: statuses, work that is due, dead letters. Every scan is bounded by what it returns and skips.

use std::sync::Arc;

use foldhash::HashSet;

use super::super::backlog::{Found, Key, Stretch};
use super::super::codec::{Malformed, Reader};
use super::super::record::{Leg, Record};
use super::super::status::{DeadFilter, DeadKind, DeadLetter};
use super::super::vault::KeyHash;
use super::super::{Lease, OF_ORDER_MAX};
use super::kept::Kept;
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
        self.load_due(destination, now_ms, skip, due, &mut loaded)?;
        self.load_fresh(destination, skip, fresh, &mut loaded)?;
        Ok(loaded)
    }

    fn load_due(
        &self,
        destination: &DestinationName,
        now_ms: u64,
        skip: &HashSet<u64>,
        room: Room,
        loaded: &mut Loaded,
    ) -> Result<(), StoreError> {
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for entry in self.db.scan_prefix(keys::due_lane(destination)) {
            let (key, id) = entry?;
            let (due_ms, seq) = keys::queued_parts(&key).ok_or(Malformed("queue key"))?;
            if skip.contains(&seq) {
                continue;
            }
            if !room.is_left(count, bytes) || due_ms > now_ms {
                loaded.next_due_ms = Some(due_ms);
                break;
            }
            let id = ConversionId::from_bytes(Reader::new(&id).id()?);
            let kept = told(self.kept_at(seq, id))?;
            let Some(lease) = kept.and_then(|kept| lease(destination, kept, Some(due_ms))) else {
                loaded.lost.push(seq);
                continue;
            };
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(lease.record.body.len());
            loaded.leases.push(lease);
        }
        Ok(())
    }

    fn load_fresh(
        &self,
        destination: &DestinationName,
        skip: &HashSet<u64>,
        room: Room,
        loaded: &mut Loaded,
    ) -> Result<(), StoreError> {
        let mut fresh = Fresh { destination, skip, room, count: 0, bytes: 0, loaded };
        let (mut from, rewrites) = (Key::default(), self.backlog.rewrites());
        loop {
            let blocks = self.backlog.fresh(destination, from, BLOCKS_AT_ONCE);
            let Some(last) = blocks.last() else {
                // What was written anew may lie before where this has come to.
                fresh.loaded.more_fresh |= self.backlog.rewrites() != rewrites;
                return Ok(());
            };
            let (first_seq, number) = last.block.key();
            from = (first_seq, number.saturating_add(1));
            for found in &blocks {
                if !self.load_block(found, &mut fresh)? {
                    return Ok(());
                }
            }
        }
    }

    /// Takes what is fresh in a block. False when there was no room for all of it.
    fn load_block(&self, found: &Found, fresh: &mut Fresh<'_>) -> Result<bool, StoreError> {
        let Some(places) = told(found.places().map(Some))? else {
            // One for all of them: what they are cannot be told.
            let (first_seq, _) = found.block.key();
            fresh.loaded.lost.extend((!fresh.skip.contains(&first_seq)).then_some(first_seq));
            return Ok(true);
        };
        let bits = found.fresh(fresh.destination);
        for place in places.iter().filter(|place| bits.contains(place.slot)) {
            let seq = place.contents.seq;
            if fresh.skip.contains(&seq) {
                continue;
            }
            if !fresh.room.is_left(fresh.count, fresh.bytes) {
                fresh.loaded.more_fresh = true;
                return Ok(false);
            }
            // What is fresh stands as it stood.
            let kept = told(self.kept_as_it_stood(place))?;
            fresh.take(seq, kept);
        }
        Ok(true)
    }

    /// What is alive of some conversions that come after that one in the order of acceptance; `None` when none do.
    pub(in super::super) fn next_kept(&self, after: u64) -> Result<Option<Stretch<Kept>>, StoreError> {
        let Some(Stretch { found, mut unread, to }) = self.backlog.next_after(after)? else { return Ok(None) };
        let mut kept = Vec::with_capacity(found.len());
        for place in found {
            match self.kept_there(&place) {
                Ok(Some(one)) => kept.push(one),
                // Settled since it was found.
                Ok(None) => {}
                Err(StoreError::Form(damage)) => {
                    tracing::error!(%damage, "what waits cannot be read");
                    unread = unread.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Stretch { found: kept, unread, to }))
    }

    /// When the oldest conversion that is owed to the destination here was received.
    pub(in super::super) fn oldest_ms(&self, destination: &DestinationName) -> Option<u64> {
        self.backlog.oldest_ms(destination)
    }

    /// The ids of a merchant's newest conversions for an order, newest first, of which the history may know no more: its first record
    /// is `history_seq`.
    pub(in super::super) fn order(&self, order: &KeyHash, history_seq: u64) -> Result<Vec<ConversionId>, StoreError> {
        let mut found = Vec::new();
        for place in self.backlog.of_order(order, history_seq)?.into_iter().rev() {
            if found.len() == OF_ORDER_MAX {
                break;
            }
            let Some(kept) = told(self.kept_as_it_stood(&place))? else { continue };
            if kept.record.order_key == Some(*order) {
                found.push(kept.record.meta.id);
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
            let (destination, at_ms, seq) = keys::dead_parts(&key).ok_or(Malformed("dead letter's key"))?;
            if filter.since_ms.is_some_and(|since_ms| at_ms < since_ms)
                || filter.until_ms.is_some_and(|until_ms| at_ms >= until_ms)
            {
                continue;
            }
            // What is damaged is lost, and is told with the others.
            let kept = match self.kept_at(seq, ConversionId::from_bytes(Reader::new(&id).id()?)) {
                Err(StoreError::Form(_)) => None,
                kept => kept?,
            };
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

/// Fresh deliveries of a destination, read ahead.
struct Fresh<'l> {
    destination: &'l DestinationName,
    skip: &'l HashSet<u64>,
    room: Room,
    count: usize,
    bytes: usize,
    loaded: &'l mut Loaded,
}

impl Fresh<'_> {
    fn take(&mut self, seq: u64, kept: Option<Kept>) {
        let Some(lease) = kept.and_then(|kept| lease(self.destination, kept, None)) else {
            self.loaded.lost.push(seq);
            return;
        };
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(lease.record.body.len());
        self.loaded.leases.push(lease);
    }
}

/// A delivery that is owed; `None` when it was settled in the meantime, or lost.
fn lease(destination: &DestinationName, kept: Kept, due_ms: Option<u64>) -> Option<Lease> {
    let leg = kept.legs.iter().find(|leg| leg.destination == *destination && leg.pending())?;
    let (attempts, revision, replayed_ms) = (leg.attempts, leg.revision, leg.replayed_ms());
    let (acceptance, is_in_doubt) = (leg.acceptance(), leg.is_in_doubt());
    let (record, destination) = (Arc::new(kept.record), destination.clone());
    Some(Lease { destination, record, attempts, revision, due_ms, replayed_ms, acceptance, is_in_doubt })
}

/// What is damaged is lost: whoever comes to it says so, and the others go on.
fn told<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Form(damage)) => {
            tracing::error!(%damage, "what waits cannot be read");
            Ok(None)
        }
        read => read,
    }
}

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
        may_have_arrived: kind == DeadKind::Unknown || leg.is_in_doubt(),
    })
}

/// Dead letters looked at for one page, matching or not.
const DEAD_LOOKED_AT_MAX: usize = 5_000;
/// Blocks looked at together for what is fresh: more than are read ahead.
const BLOCKS_AT_ONCE: usize = 4;
