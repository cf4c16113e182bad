//! A record of the history as bytes: a checksum, what it is found by, and what is to be said of it.
//!
//! A record is read alone, far from the commit that it was written with: hence a checksum of its own.

use super::super::codec::{Malformed, Reader, Writer};
use super::super::record::{self, KeyHash, Leg, Record};
use super::super::status::Status;
use crate::conversion::ConversionId;

/// The records' kinds. Their numbers are on disk.
pub(super) mod kind {
    /// First in each commit: how far the conversions have been moved with it.
    pub(in super::super) const THROUGH: u8 = 1;
    /// A key is used by a conversion that the store has.
    pub(in super::super) const USED: u8 = 2;
    /// A conversion that nothing is owed of any more.
    pub(in super::super) const SETTLED: u8 = 3;
}

/// What a record is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) id: ConversionId,
    pub(super) key: KeyHash,
    /// Tells whether a repeat has the same content.
    pub(super) digest: KeyHash,
    /// Of a settled conversion with an order id.
    pub(super) order: Option<KeyHash>,
}

impl Names {
    fn of(record: &Record) -> Names {
        Names { id: record.meta.id, key: record.key, digest: record.digest, order: record.order_key }
    }

    fn encode(&self, w: &mut Writer) {
        w.raw(self.id.as_bytes());
        w.raw(&self.key);
        w.raw(&self.digest);
        w.option(self.order.as_ref(), |w, order| w.raw(order));
    }

    fn decode(r: &mut Reader<'_>) -> Result<Names, Malformed> {
        let id = ConversionId::from_bytes(r.id()?);
        Ok(Names { id, key: r.id()?, digest: r.id()?, order: r.option(Reader::id)? })
    }
}

/// That a conversion uses its key, and nothing else of it.
pub(super) fn encode_used(record: &Record) -> (Names, Vec<u8>) {
    let names = Names { order: None, ..Names::of(record) };
    (names, checked(&names, |_| {}))
}

pub(super) fn encode_settled(record: &Record, legs: &[Leg]) -> (Names, Vec<u8>) {
    let names = Names::of(record);
    (names, checked(&names, |w| record::encode_outcome(w, record, legs)))
}

fn checked(names: &Names, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::with_capacity(512);
    w.u32(0);
    names.encode(&mut w);
    write(&mut w);
    let mut bytes = w.finish();
    if let Some((crc, covered)) = bytes.split_first_chunk_mut::<4>() {
        *crc = crc32c::crc32c(covered).to_le_bytes();
    }
    bytes
}

/// A record whose checksum holds.
pub(super) struct Kept<'a> {
    pub(super) names: Names,
    rest: Reader<'a>,
}

impl<'a> Kept<'a> {
    pub(super) fn decode(payload: &'a [u8]) -> Result<Kept<'a>, Malformed> {
        let mut r = Reader::new(payload);
        let crc = r.u32()?;
        if crc32c::crc32c(r.rest()) != crc {
            return Err(Malformed("checksum of a record of the history"));
        }
        Ok(Kept { names: Names::decode(&mut r)?, rest: r })
    }

    /// Of a settled one.
    pub(super) fn status(mut self) -> Result<Status, Malformed> {
        record::decode_outcome(&mut self.rest, self.names.id)
    }
}
