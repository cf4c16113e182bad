//! Commits as bytes: the unit that is written, synced and believed.
//!
//! A commit is one frame: a header of 24 bytes and its records, padded to 8 bytes. Its CRC32C also covers the segment's
//! number and random salt, so that neither what a recycled file held before nor anything inside a merchant's body can be
//! taken for a commit of this segment.
//!
//! | bytes | header |
//! | --- | --- |
//! | 4 | magic |
//! | 4 | length of the records |
//! | 8 | sequence number of the first record |
//! | 4 | number of records |
//! | 4 | CRC32C |
//!
//! A record is its length (4), its kind (1) and its payload; what the kinds mean is for whoever keeps the log to say.

use super::super::codec::{Malformed, Reader};

/// A record as it lies in a frame.
pub(in super::super) struct Record<'a> {
    pub(in super::super) seq: u64,
    pub(in super::super) kind: u8,
    pub(in super::super) payload: &'a [u8],
    /// Where the record begins, counted from the frame's beginning.
    pub(in super::super) at: u64,
}

/// What ties a frame to the one life of one segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Stamp {
    pub(in super::super) segment: u64,
    pub(in super::super) salt: u64,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Header {
    pub(in super::super) body_len: u32,
    pub(in super::super) first_seq: u64,
    pub(in super::super) count: u32,
    crc: u32,
}

impl Header {
    /// `None` when this is no frame's beginning.
    pub(in super::super) fn parse(bytes: &[u8]) -> Option<Header> {
        let mut r = Reader::new(bytes);
        if r.raw(MAGIC.len()).ok()? != MAGIC {
            return None;
        }
        let body_len = r.u32().ok()?;
        let first_seq = r.u64().ok()?;
        let count = r.u32().ok()?;
        let crc = r.u32().ok()?;
        (count > 0).then_some(Header { body_len, first_seq, count, crc })
    }

    /// Bytes from this header to the next one.
    pub(in super::super) fn frame_len(&self) -> u64 {
        frame_len(u64::from(self.body_len))
    }

    pub(in super::super) fn holds(&self, stamp: Stamp, body: &[u8]) -> bool {
        self.crc == checksum(stamp, self.body_len, self.first_seq, self.count, body)
    }
}

/// Bytes that records of `body_len` take as a frame.
pub(in super::super) fn frame_len(body_len: u64) -> u64 {
    let len = body_len.saturating_add(HEADER_BYTES);
    len.checked_next_multiple_of(ALIGN).unwrap_or(u64::MAX)
}

/// Bytes of one record inside a frame.
pub(in super::super) fn record_len(payload: &[u8]) -> u64 {
    u64::try_from(payload.len()).unwrap_or(u64::MAX).saturating_add(RECORD_HEAD_BYTES)
}

/// Appends one frame to `out`.
pub(in super::super) fn encode<'a>(
    out: &mut Vec<u8>,
    stamp: Stamp,
    first_seq: u64,
    records: impl Iterator<Item = (u8, &'a [u8])> + Clone,
) {
    let mut count = 0_u32;
    let body_len = records.clone().fold(0_u64, |sum, (_, payload)| sum.saturating_add(record_len(payload)));
    let body_len = u32::try_from(body_len).unwrap_or(u32::MAX);
    let start = out.len();
    out.extend_from_slice(&[0; 24]);
    for (kind, payload) in records {
        count = count.saturating_add(1);
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.push(kind);
        out.extend_from_slice(payload);
    }
    let Some((header, body)) = out.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(24)) else {
        return;
    };
    let crc = checksum(stamp, body_len, first_seq, count, body);
    let fields = MAGIC
        .into_iter()
        .chain(body_len.to_le_bytes())
        .chain(first_seq.to_le_bytes())
        .chain(count.to_le_bytes())
        .chain(crc.to_le_bytes());
    header.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    let padded = usize::try_from(frame_len(u64::from(body_len))).unwrap_or(usize::MAX);
    out.resize(start.saturating_add(padded), 0);
}

/// Hands on the records of a frame whose checksum holds.
pub(in super::super) fn records<'a>(header: &Header, body: &'a [u8]) -> Result<Vec<Record<'a>>, Malformed> {
    let mut r = Reader::new(body);
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    for index in 0..u64::from(header.count) {
        let len = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        let kind = r.u8()?;
        let payload = r.raw(len)?;
        found.push(Record { seq: header.first_seq.saturating_add(index), kind, payload, at });
        at = at.saturating_add(record_len(payload));
    }
    if r.is_empty() { Ok(found) } else { Err(Malformed("length of a commit")) }
}

fn checksum(stamp: Stamp, body_len: u32, first_seq: u64, count: u32, body: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(&stamp.salt.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &stamp.segment.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &body_len.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &first_seq.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &count.to_le_bytes());
    crc32c::crc32c_append(crc, body)
}

pub(in super::super) const HEADER_BYTES: u64 = 24;
/// Frames begin at multiples of this: finding one behind damage looks at an eighth of the places.
pub(in super::super) const ALIGN: u64 = 8;
pub(in super::super) const MAGIC: [u8; 4] = *b"cmt1";
/// Of a record, before its payload: length and kind.
pub(in super::super) const RECORD_HEAD_BYTES: u64 = 5;
