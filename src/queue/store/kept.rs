//! What is kept of a conversion: what lies in its block, and its legs where they have changed since.
//!
//! Changed legs are rewritten with every change. They may be longer than a value may be, and are kept in pieces then: the
//! first says how long they are and carries a checksum, so that a reader who meets pieces of two versions reads again.
//!
//! The store is asked first, then memory's word on the block: that follows a group once it is durable. So whoever finds no
//! changed legs where the block says that there are some has read too early, and reads again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::backlog::{Found, Place};
use super::super::codec::{Malformed, Reader, Writer};
use super::super::record::{self, Leg, Record};
use super::{Group, PIECE_BYTES, Store, StoreError, keys};
use crate::conversion::ConversionId;

/// A conversion of which something is owed or dead.
pub(in super::super) struct Kept {
    pub(in super::super) record: Record,
    pub(in super::super) legs: Vec<Leg>,
    /// Its changed legs are in so many pieces; 0: they have not changed.
    pub(super) pieces: u32,
    /// Number of the key with which it is sealed, and its changed legs.
    pub(super) key: u64,
    /// Its block, its place there, and the bytes that it takes.
    pub(super) found: Found,
    pub(super) slot: usize,
    pub(super) bytes: u64,
}

impl Store {
    pub(in super::super) fn kept(&self, id: ConversionId) -> Result<Option<Kept>, StoreError> {
        self.look_up(id, || self.backlog.with_id(id))
    }

    /// The same of a conversion of which it is known where it stands in the order of acceptance.
    pub(in super::super) fn kept_at(&self, seq: u64, id: ConversionId) -> Result<Option<Kept>, StoreError> {
        self.look_up(id, || self.backlog.at(seq, id))
    }

    fn look_up(
        &self,
        id: ConversionId,
        place: impl Fn() -> Result<Option<Place>, StoreError>,
    ) -> Result<Option<Kept>, StoreError> {
        let groups = || self.groups.load(Ordering::Acquire);
        let (mut was_damaged, mut tries, begun) = (false, 0_u32, groups());
        loop {
            let before = groups();
            let changed = self.changed_legs(id)?;
            let Some(place) = place()? else { return Ok(None) };
            if changed.is_some() || !place.is_changed() {
                match self.kept_in(&place, changed) {
                    // It may be gone and overwritten since it was found: then it is not found again.
                    Err(StoreError::Form(_)) if !was_damaged => was_damaged = true,
                    kept => return kept.map(Some),
                }
            }
            // What is gone from the one place comes into sight at the other when the mover's sync has ended.
            let after = groups();
            let is_between = before == after && after.is_multiple_of(2);
            if tries >= READ_TRIES && (is_between || after.saturating_sub(begun) >= GROUPS_WAITED) {
                return Err(Malformed("what became of a conversion that waits is missing").into());
            }
            if tries < YIELDS {
                std::thread::yield_now()
            } else {
                std::thread::sleep(SYNC_WAIT)
            }
            tries = tries.saturating_add(1);
        }
    }

    /// What was found there, with its legs as they are.
    pub(super) fn kept_there(&self, place: &Place) -> Result<Option<Kept>, StoreError> {
        if place.is_changed() {
            return self.kept_at(place.contents.seq, place.contents.id);
        }
        self.kept_as_it_stood(place)
    }

    /// The same with those of its legs that have not changed as they are.
    pub(super) fn kept_as_it_stood(&self, place: &Place) -> Result<Option<Kept>, StoreError> {
        match self.kept_in(place, None) {
            // It may have been settled since it was found, and overwritten.
            Err(StoreError::Form(_)) => self.kept_at(place.contents.seq, place.contents.id),
            kept => kept.map(Some),
        }
    }

    /// What lies there, with its legs as they are.
    pub(super) fn kept_in(&self, place: &Place, changed: Option<Changed>) -> Result<Kept, StoreError> {
        let contents = place.contents;
        let (record, legs) = record::decode_accepted(&self.vault, &place.read()?, contents.seq)?;
        if record.meta.id != contents.id {
            return Err(Malformed("id of a conversion that waits").into());
        }
        let (legs, pieces) = changed.map_or((legs, 0), |Changed { legs, pieces }| (legs, pieces));
        let (found, slot) = (place.found.clone(), place.slot);
        Ok(Kept { record, legs, pieces, key: contents.key, found, slot, bytes: contents.bytes() })
    }

    /// The legs of a conversion, if they have changed since it was moved.
    pub(super) fn changed_legs(&self, id: ConversionId) -> Result<Option<Changed>, StoreError> {
        for _ in 0..READ_TRIES {
            let Some(first) = self.db.get(keys::status(id))? else {
                return Ok(None);
            };
            let mut r = Reader::new(&first);
            let (len, crc) = (r.u32()?, r.u32()?);
            let mut bytes = r.rest().to_vec();
            for piece in 1..pieces(len) {
                let Some(more) = self.db.get(keys::status_piece(id, piece))? else { break };
                bytes.extend_from_slice(&more);
            }
            if crc32c::crc32c(&bytes) == crc {
                let legs = record::decode_legs(&self.vault, id, &bytes)?;
                return Ok(Some(Changed { legs, pieces: pieces(len) }));
            }
            std::thread::yield_now();
        }
        Err(Malformed("checksum of a status").into())
    }
}

/// Legs that have changed, in so many pieces.
pub(super) struct Changed {
    legs: Vec<Leg>,
    pieces: u32,
}

impl Group {
    /// Writes changed legs over those of `before` pieces (0: there were none); returns how many there are now.
    pub(super) fn put_status(&mut self, id: ConversionId, status: &[u8], before: u32) -> u32 {
        let len = u32::try_from(status.len()).unwrap_or(u32::MAX);
        let (head, rest) = status.split_at_checked(PIECE_BYTES).unwrap_or((status, &[]));
        let mut first = Writer::with_capacity(head.len().saturating_add(8));
        first.u32(len);
        first.u32(crc32c::crc32c(status));
        first.raw(head);
        self.insert(&keys::status(id), first.finish());
        for (piece, bytes) in (1..).zip(rest.chunks(PIECE_BYTES)) {
            self.insert(&keys::status_piece(id, piece), bytes.to_vec());
        }
        for piece in pieces(len)..before {
            self.remove_sized(&keys::status_piece(id, piece), PIECE_BYTES);
        }
        pieces(len)
    }

    pub(super) fn remove_status(&mut self, id: ConversionId, pieces: u32) {
        for piece in 0..pieces {
            self.remove_sized(&keys::status_piece(id, piece), STATUS_BYTES);
        }
    }
}

/// Pieces that so many bytes are kept in. The first has room for its head beside [`PIECE_BYTES`].
fn pieces(len: u32) -> u32 {
    len.div_ceil(u32::try_from(PIECE_BYTES).unwrap_or(u32::MAX)).max(1)
}

/// The usual size of changed legs.
const STATUS_BYTES: usize = 300;
/// They are being rewritten while they are read: seldom, and never so often in a row.
const READ_TRIES: u32 = 240;
/// Begins and ends of groups after which they have been: of the one that was on its way, and of the whole next one.
const GROUPS_WAITED: u64 = 4;
/// The first of them come without a pause …
const YIELDS: u32 = 200;
/// … and the others after this.
const SYNC_WAIT: Duration = Duration::from_millis(1);
