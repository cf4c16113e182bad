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
//! A record is its length (4), its kind (1) and its payload.

use super::super::codec::{Malformed, Reader};

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// A conversion was accepted.
    Accepted,
    /// A delivery was settled or put off.
    Settled,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Accepted => 1,
            Kind::Settled => 2,
        }
    }

    fn of(number: u8) -> Result<Kind, Malformed> {
        match number {
            1 => Ok(Kind::Accepted),
            2 => Ok(Kind::Settled),
            _ => Err(Malformed("kind of a record")),
        }
    }
}

/// What ties a frame to the one life of one segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) segment: u64,
    pub(super) salt: u64,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) body_len: u32,
    pub(super) first_seq: u64,
    pub(super) count: u32,
    crc: u32,
}

impl Header {
    /// `None` when this is no frame's beginning.
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
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
    pub(super) fn frame_len(&self) -> u64 {
        frame_len(u64::from(self.body_len))
    }

    pub(super) fn holds(&self, stamp: Stamp, body: &[u8]) -> bool {
        self.crc == checksum(stamp, self.body_len, self.first_seq, self.count, body)
    }
}

/// Bytes that records of `body_len` take as a frame.
pub(super) fn frame_len(body_len: u64) -> u64 {
    let len = body_len.saturating_add(HEADER_BYTES);
    len.checked_next_multiple_of(ALIGN).unwrap_or(u64::MAX)
}

/// Bytes of one record inside a frame.
pub(super) fn record_len(payload: &[u8]) -> u64 {
    u64::try_from(payload.len()).unwrap_or(u64::MAX).saturating_add(RECORD_HEAD_BYTES)
}

/// Appends one frame to `out`.
pub(super) fn encode<'a>(
    out: &mut Vec<u8>,
    stamp: Stamp,
    first_seq: u64,
    records: impl Iterator<Item = (Kind, &'a [u8])> + Clone,
) {
    let mut count = 0_u32;
    let body_len = records.clone().fold(0_u64, |sum, (_, payload)| sum.saturating_add(record_len(payload)));
    let body_len = u32::try_from(body_len).unwrap_or(u32::MAX);
    let start = out.len();
    out.extend_from_slice(&[0; 24]);
    for (kind, payload) in records {
        count = count.saturating_add(1);
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.push(kind.number());
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

/// The records of a frame whose checksum holds.
pub(super) fn records(header: &Header, body: &[u8]) -> Result<Vec<(u64, Kind, Vec<u8>)>, Malformed> {
    let mut r = Reader::new(body);
    let mut found = Vec::new();
    for index in 0..u64::from(header.count) {
        let len = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        let kind = Kind::of(r.u8()?)?;
        found.push((header.first_seq.saturating_add(index), kind, r.raw(len)?.to_vec()));
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

pub(super) const HEADER_BYTES: u64 = 24;
/// Frames begin at multiples of this: finding one behind damage looks at an eighth of the places.
pub(super) const ALIGN: u64 = 8;
pub(super) const MAGIC: [u8; 4] = *b"cmt1";
const RECORD_HEAD_BYTES: u64 = 5;
