//! A record of the history as bytes: a checksum, what it is found by, and what is to be said of it.
//!
//! A record is read alone, far from the commit that it was written with: hence a checksum of its own.

use super::super::codec::{Malformed, Reader, Writer};
use super::super::record::{self, Leg, Record, Settled};
use super::super::vault::{self, KeyHash, PLAIN, Sealing, Vault};
use crate::conversion::ConversionId;

/// The records' kinds. Their numbers are on disk.
pub(super) mod kind {
    /// First in each commit: how far the conversions have been moved with it.
    pub(in super::super) const THROUGH: u8 = 1;
    /// A key is used by a conversion that the backlog has.
    pub(in super::super) const USED: u8 = 2;
    /// A conversion that nothing is owed of any more.
    pub(in super::super) const SETTLED: u8 = 3;
    /// A key was used by a conversion that was forgotten on request.
    pub(in super::super) const ERASED: u8 = 4;
}

/// What a record is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) id: ConversionId,
    pub(super) key: KeyHash,
    /// Tells whether a repeat has the same content.
    pub(super) digest: KeyHash,
    /// Of a conversion with an order id.
    pub(super) order: Option<KeyHash>,
}

impl Names {
    fn of(vault: &Vault, record: &Record) -> Names {
        let digest = vault.digest(&record.digest);
        Names { id: record.meta.id, key: record.key, digest, order: record.order_key }
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

/// That a conversion uses its key and is of its order, and whether a repeat is the same.
pub(super) fn encode_used(vault: &Vault, record: &Record) -> (Names, Vec<u8>) {
    encode_names(Names::of(vault, record))
}

/// What stays of a record that is erased: nothing by which its content could be guessed.
pub(super) fn encode_erased(names: &Names) -> (Names, Vec<u8>) {
    encode_names(Names { digest: KeyHash::default(), order: None, ..*names })
}

fn encode_names(names: Names) -> (Names, Vec<u8>) {
    let mut w = Writer::with_capacity(64);
    begin(&mut w, &names);
    (names, checked(w))
}

pub(super) fn encode_settled(
    vault: &Vault,
    sealing: &Sealing,
    record: &Record,
    legs: &[Leg],
) -> Result<(Names, Vec<u8>), Malformed> {
    let names = Names::of(vault, record);
    let mut w = Writer::with_capacity(512);
    begin(&mut w, &names);
    record::encode_outcome(&mut w, sealing, record, legs)?;
    Ok((names, checked(w)))
}

fn begin(w: &mut Writer, names: &Names) {
    w.u32(0);
    names.encode(w);
}

fn checked(w: Writer) -> Vec<u8> {
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

    /// Of a settled one: all that is kept.
    pub(super) fn settled(&self, vault: &Vault) -> Result<Settled, Malformed> {
        Settled::decode(vault, self.names.id, self.rest.rest())
    }

    /// Number of the key with which it is sealed, if it is.
    pub(super) fn key_number(&self) -> Option<u64> {
        vault::key_number(self.rest.rest()).ok().filter(|number| *number != PLAIN)
    }
}
