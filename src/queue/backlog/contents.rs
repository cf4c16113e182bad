//! What lies in a block's frame, and where.
//!
//! The frame's first record says of each conversion what it is found by; the others are the conversions, in the same order,
//! each with a checksum of its own: they are read alone.
//!
//! | bytes | first record |
//! | --- | --- |
//! | 3 | nothing: what follows lies at multiples of eight |
//! | 8 each | the beginning of the order's hash, with a check: it can be erased in one write that is whole or not there |
//! | 4 | checksum of the rest and of the block's number |
//! | 36 each | sequence number, id, length of the conversion's record, number of its data key |

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::super::codec::{Malformed, Reader, Writer};
use super::super::log::frame::{self, Header};
use super::super::log::segment;
use super::super::vault::KeyHash;
use super::block::{Block, Draft};
use crate::conversion::ConversionId;

/// The records' kinds. Their numbers are on disk.
pub(super) mod kind {
    pub(in super::super) const CONTENTS: u8 = 1;
    pub(in super::super) const CONVERSION: u8 = 2;
}

/// A conversion in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Slot {
    pub(in super::super) seq: u64,
    pub(in super::super) id: ConversionId,
    pub(in super::super) key: u64,
    /// Of what the order's hash is found by; 0: there is none.
    pub(super) order: u64,
    /// Where in the file that lies …
    pub(super) order_at: u64,
    /// … and its record, which has so many bytes.
    pub(super) at: u64,
    pub(super) len: u32,
}

impl Slot {
    pub(in super::super) fn bytes(&self) -> u64 {
        slot_bytes(usize::try_from(self.len).unwrap_or(usize::MAX))
    }

    /// Whether it may be of this order.
    pub(super) fn may_be_of(&self, order: &KeyHash) -> bool {
        self.order != 0 && (!is_whole(self.order) || self.order == cell(order))
    }

    /// The record without its checksum, as it was handed in.
    pub(super) fn read(&self, file: &File) -> io::Result<Result<Vec<u8>, Malformed>> {
        Ok(self.read_raw(file)?.and_then(|mut bytes| {
            let accepted = bytes.split_off(bytes.len().min(CHECKSUM_BYTES));
            if bytes == checksum(self.seq, &accepted).to_le_bytes() { Ok(accepted) } else { Err(DAMAGED) }
        }))
    }

    /// The record as it lies there.
    pub(super) fn read_raw(&self, file: &File) -> io::Result<Result<Vec<u8>, Malformed>> {
        read_exact_at(file, self.at, u64::from(self.len))
    }
}

/// The conversions of a block, by their places in it.
pub(super) fn read(file: &File, block: &Block) -> io::Result<Result<Vec<Slot>, Malformed>> {
    let slots = read_at(file, block.at, block.count, block.number)?;
    // What was made of damaged numbers would be read elsewhere.
    let ends_at = |slot: &Slot| slot.at.saturating_add(u64::from(slot.len));
    let frame_end = block.at.saturating_add(block.frame_bytes);
    Ok(slots.and_then(|slots| {
        if slots.last().is_none_or(|last| ends_at(last) <= frame_end) { Ok(slots) } else { Err(DAMAGED) }
    }))
}

/// The same of any frame in a segment.
pub(super) fn read_frame(file: &File, at: u64, header: &Header) -> io::Result<Result<Vec<Slot>, Malformed>> {
    let count = usize::try_from(header.count).unwrap_or(usize::MAX).saturating_sub(1);
    if contents_len(count) > u64::from(header.body_len) {
        return Ok(Err(DAMAGED));
    }
    read_at(file, at, count, header.first_seq)
}

fn read_at(file: &File, at: u64, count: usize, number: u64) -> io::Result<Result<Vec<Slot>, Malformed>> {
    let len = contents_len(count);
    let begins_at = at.saturating_add(frame::HEADER_BYTES).saturating_add(frame::RECORD_HEAD_BYTES);
    let bytes = read_exact_at(file, begins_at, len)?;
    Ok(bytes.and_then(|bytes| decode(&bytes, (begins_at, len), count, number)))
}

/// Bytes that should be there. Those that are not, or that the disk cannot read, are damage: they cost what lies in them.
pub(super) fn read_exact_at(file: &File, at: u64, len: u64) -> io::Result<Result<Vec<u8>, Malformed>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    for _ in 1..READ_TRIES {
        if file.read_exact_at(&mut bytes, at).is_ok() {
            return Ok(Ok(bytes));
        }
    }
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(Ok(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(DAMAGED)),
        Err(error) if segment::is_unreadable(&error) => Ok(Err(Malformed("the disk cannot read what waits"))),
        Err(error) => Err(error),
    }
}

fn decode(bytes: &[u8], (begins_at, len): (u64, u64), count: usize, number: u64) -> Result<Vec<Slot>, Malformed> {
    let mut r = Reader::new(bytes);
    r.raw(PADDING)?;
    let orders = (0..count).map(|_| r.u64()).collect::<Result<Vec<_>, _>>()?;
    let crc = r.u32()?;
    if crc != covered(number, r.rest()) {
        return Err(DAMAGED);
    }
    let mut order_at = begins_at.saturating_add(u64::try_from(PADDING).unwrap_or(0));
    let mut at = begins_at.saturating_add(len).saturating_add(frame::RECORD_HEAD_BYTES);
    let mut slots = Vec::with_capacity(count);
    for order in orders {
        let (seq, id) = (r.u64()?, ConversionId::from_bytes(r.id()?));
        let (len, key) = (r.u32()?, r.u64()?);
        slots.push(Slot { seq, id, key, order, order_at, at, len });
        order_at = order_at.saturating_add(8);
        at = at.saturating_add(u64::from(len)).saturating_add(frame::RECORD_HEAD_BYTES);
    }
    Ok(slots)
}

/// The first record of a frame.
pub(super) fn encode(draft: &Draft, number: u64) -> Vec<u8> {
    let mut entries = Writer::with_capacity(draft.items.len().saturating_mul(36));
    for item in &draft.items {
        entries.u64(item.seq);
        entries.raw(item.id.as_bytes());
        entries.u32(u32::try_from(item.payload.len()).unwrap_or(u32::MAX));
        entries.u64(item.key);
    }
    let entries = entries.finish();
    let mut w = Writer::with_capacity(entries.len().saturating_add(draft.items.len().saturating_mul(8)));
    w.raw(&[0; PADDING]);
    draft.items.iter().for_each(|item| w.u64(item.order));
    w.u32(covered(number, &entries));
    w.raw(&entries);
    w.finish()
}

/// A conversion with its checksum before it.
pub(super) fn checked(seq: u64, accepted: &[u8]) -> Vec<u8> {
    [checksum(seq, accepted).to_le_bytes().as_slice(), accepted].concat()
}

fn checksum(seq: u64, accepted: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&seq.to_le_bytes()), accepted)
}

fn covered(number: u64, entries: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), entries)
}

/// What an order is found by: six bytes of its hash, and a check of them.
pub(super) fn cell(order: &KeyHash) -> u64 {
    let [a, b, c, d, e, f, ..] = *order;
    let [x, y, ..] = crc32c::crc32c(&[a, b, c, d, e, f]).to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, x, y])
}

fn is_whole(found: u64) -> bool {
    let [a, b, c, d, e, f, x, y] = found.to_le_bytes();
    let [p, q, ..] = crc32c::crc32c(&[a, b, c, d, e, f]).to_le_bytes();
    (p, q) == (x, y)
}

/// Bytes of a conversion in a frame, with what is said of it.
pub(super) fn slot_bytes(payload_len: usize) -> u64 {
    let len = u64::try_from(payload_len).unwrap_or(u64::MAX);
    len.saturating_add(frame::RECORD_HEAD_BYTES).saturating_add(SLOT_BYTES)
}

fn contents_len(count: usize) -> u64 {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    count.saturating_mul(SLOT_BYTES).saturating_add(u64::try_from(PADDING.saturating_add(4)).unwrap_or(7))
}

const DAMAGED: Malformed = Malformed("checksum of a conversion that waits");
/// Behind a frame's header and a record's head (29 bytes).
const PADDING: usize = 3;
/// Of a conversion in the first record.
const SLOT_BYTES: u64 = 44;
const CHECKSUM_BYTES: usize = 4;
/// A disk may read at the second try what it could not at the first.
const READ_TRIES: u32 = 3;
