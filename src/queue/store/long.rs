//! What is longer than one value may be: bodies, and statuses with much to say. Both are kept in pieces.
//!
//! A body is written once, before or with its conversion's status, and removed when nothing is owed and nothing is dead: a
//! short one at once, a long one a few pieces at a time. A status is rewritten; its first piece says how long it is and
//! carries a checksum, so that a reader who meets pieces of two versions reads again.

use bytes::Bytes;

use super::super::codec::{Malformed, Reader, Writer};
use super::super::record::{self, Kept, Record};
use super::super::vault::{self, Context, Part, Sealing};
use super::{Group, PIECE_BYTES, Store, StoreError, cost, keys};
use crate::conversion::ConversionId;

impl Store {
    pub(in super::super) fn kept(&self, id: ConversionId) -> Result<Option<Kept>, StoreError> {
        for _ in 0..READ_TRIES {
            let Some(first) = self.db.get(keys::status(id))? else {
                return Ok(None);
            };
            let mut r = Reader::new(&first);
            let (len, crc) = (r.u32()?, r.u32()?);
            let mut bytes = r.rest().to_vec();
            for piece in 1..pieces(len) {
                let more = self.db.get(keys::status_piece(id, piece))?;
                bytes.extend_from_slice(&more.unwrap_or_default());
            }
            if crc32c::crc32c(&bytes) == crc {
                let kept = record::decode_status(&self.vault, id, &bytes)?;
                return Ok(Some(Kept { pieces: pieces(len), ..kept }));
            }
            std::thread::yield_now();
        }
        Err(Malformed("checksum of a status").into())
    }

    pub(in super::super) fn body(&self, kept: &Kept) -> Result<Option<Bytes>, StoreError> {
        let sealed_len = vault::sealed_len(kept.key, kept.body_len);
        let len = usize::try_from(sealed_len).unwrap_or(usize::MAX);
        let mut sealed = Vec::with_capacity(len);
        for piece in 0..pieces(sealed_len) {
            let Some(bytes) = self.db.get(keys::body(kept.record.seq, piece))? else {
                return Ok(None);
            };
            sealed.extend_from_slice(&bytes);
        }
        if sealed.len() != len {
            return Ok(None);
        }
        let body = self.vault.open_sealed(Context(Part::Body, kept.record.meta.id), &sealed)?;
        Ok(Some(Bytes::from(body.into_owned())))
    }

    /// Writes a long body ahead of its conversion's move, in groups of its own. Left behind by a crash it is overwritten
    /// when the conversion is moved anew.
    pub(in super::super) fn write_body(&self, sealing: &Sealing, record: &Record) -> Result<(), StoreError> {
        let mut group = Group::default();
        for (piece, bytes) in (0..).zip(sealed(sealing, record)?.chunks(PIECE_BYTES)) {
            if group.bytes() >= cost(INLINE_BYTES_MAX) {
                self.commit(std::mem::take(&mut group))?;
            }
            group.insert(&keys::body(record.seq, piece), bytes.to_vec());
        }
        self.commit(group)
    }

    /// Removes bodies that were written ahead of a move that a crash prevented: of conversions behind `moved_seq`.
    pub(in super::super) fn remove_unmoved_bodies(&self, moved_seq: u64) -> Result<(), StoreError> {
        let from = keys::body(moved_seq.saturating_add(1), 0);
        loop {
            let mut group = Group::default();
            for entry in self.db.range(from.clone()..vec![keys::BODY.saturating_add(1)]).keys().take(REMOVED_PIECES) {
                group.remove_sized(&entry?, PIECE_BYTES);
            }
            if group.bytes() == 0 {
                return Ok(());
            }
            self.commit(group)?;
        }
    }

    /// Whether pieces of bodies are left that are to be removed; also when that cannot be told.
    pub(in super::super) fn has_garbage(&self) -> bool {
        self.db.scan_prefix([keys::GARBAGE]).next().is_some()
    }

    /// Puts the removal of some pieces of a long body into the group. Returns whether there was something to remove.
    pub(super) fn sweep(&self, group: &mut Group) -> Result<bool, StoreError> {
        let Some((key, value)) = self.db.scan_prefix([keys::GARBAGE]).next().transpose()? else {
            return Ok(false);
        };
        let seq = key.split_last_chunk::<8>().map(|(_, seq)| u64::from_be_bytes(*seq)).ok_or(Malformed("garbage"))?;
        let left = Reader::new(&value).u32()?;
        let keep = left.saturating_sub(SWEPT_PIECES);
        for piece in keep..left {
            group.remove_sized(&keys::body(seq, piece), PIECE_BYTES);
        }
        if keep == 0 {
            group.remove(&key);
        } else {
            group.insert(&key, keep.to_le_bytes().to_vec());
        }
        Ok(true)
    }
}

impl Group {
    /// Writes a status over one of `before` pieces (0: there was none); returns how many it has now.
    pub(super) fn put_status(&mut self, id: ConversionId, status: &[u8], before: u32) -> u32 {
        let len = u32::try_from(status.len()).unwrap_or(u32::MAX);
        let head_len = status.len().min(FIRST_BYTES);
        let (head, rest) = status.split_at_checked(head_len).unwrap_or((status, &[]));
        let mut first = Writer::with_capacity(head_len.saturating_add(8));
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
        for piece in 0..pieces.max(1) {
            self.remove_sized(&keys::status_piece(id, piece), STATUS_BYTES);
        }
    }

    /// Writes a body that goes with its conversion's move.
    pub(super) fn put_body(&mut self, sealing: &Sealing, record: &Record) -> Result<(), Malformed> {
        for (piece, bytes) in (0..).zip(sealed(sealing, record)?.chunks(PIECE_BYTES)) {
            self.insert(&keys::body(record.seq, piece), bytes.to_vec());
        }
        Ok(())
    }

    /// Removes a short body, and leaves a long one to [`Store::sweep`].
    pub(super) fn remove_body(&mut self, kept: &Kept) {
        let (seq, body_len) = (kept.record.seq, kept.body_len);
        let count = pieces(vault::sealed_len(kept.key, body_len));
        if count > SWEPT_PIECES {
            self.insert(&keys::garbage(seq), count.to_le_bytes().to_vec());
            return;
        }
        let size = usize::try_from(body_len).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        for piece in 0..count {
            self.remove_sized(&keys::body(seq, piece), size);
        }
    }
}

/// A body as it is kept.
fn sealed(sealing: &Sealing, record: &Record) -> Result<Vec<u8>, Malformed> {
    let mut w = Writer::with_capacity(record.body.len().saturating_add(SEAL_ROOM));
    sealing.seal(Context(Part::Body, record.meta.id), &mut w, |w| w.raw(&record.body))?;
    Ok(w.finish())
}

/// Whether a body goes with its conversion's move, in the same group.
pub(in super::super) fn is_inline(record: &Record) -> bool {
    record.body.len() <= INLINE_BYTES_MAX
}

/// Pieces that so many bytes are kept in. A status' first piece has room for its head beside [`FIRST_BYTES`].
fn pieces(len: u32) -> u32 {
    len.div_ceil(u32::try_from(PIECE_BYTES).unwrap_or(u32::MAX))
}

/// A status' first piece holds as much as any other, and its length and checksum.
const FIRST_BYTES: usize = PIECE_BYTES;
/// What sealing adds, and some.
const SEAL_ROOM: usize = 48;
/// A body up to this size is written with its conversion's move.
const INLINE_BYTES_MAX: usize = 4 * PIECE_BYTES;
/// Pieces of a body removed in one group.
const SWEPT_PIECES: u32 = 4;
/// The same, when nothing else is in the group.
const REMOVED_PIECES: usize = 12;
/// A status' usual size.
const STATUS_BYTES: usize = 600;
/// A status is being rewritten while it is read: seldom, and never so often in a row.
const READ_TRIES: u32 = 1000;
