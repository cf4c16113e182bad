//! Conversions and changes as bytes: the journal's forms, which the backlog has too, the store's and the history's.
//!
//! The journal's forms begin with a version and the conversion's id; the rest of each is sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::codec::{Malformed, Reader, Writer};
use super::super::status::Status;
use super::super::vault::{self, Context, KeyHash, Part, Sealing, Vault};
use super::forms::{decode_attempt, decode_destination, decode_event, encode_attempt, encode_event};
use super::leg::{Leg, Settlement};
use super::{ATTEMPTS_KEPT, Record, Worth, cut};
use crate::conversion::{ConversionId, DestinationName, Timestamp};

/// A settlement and the delivery that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Change {
    /// The conversion's place in the order of acceptance.
    pub(in super::super) seq: u64,
    pub(in super::super) id: ConversionId,
    pub(in super::super) destination: DestinationName,
    pub(in super::super) settlement: Settlement,
}

impl Change {
    pub(in super::super) fn encode(&self, sealing: &Sealing) -> Result<Vec<u8>, Malformed> {
        let mut w = Writer::with_capacity(160);
        w.u8(SETTLED_FORM);
        w.raw(self.id.as_bytes());
        sealing.seal(Context(Part::Settlement, self.id), &mut w, |w| {
            w.number(self.seq);
            w.text(self.destination.as_str());
            w.number(self.settlement.revision);
            w.number(self.settlement.at_ms);
            encode_event(w, &self.settlement.event);
            w.option(self.settlement.attempt.as_ref(), encode_attempt);
        })?;
        Ok(w.finish())
    }

    pub(in super::super) fn decode(vault: &Vault, bytes: &[u8]) -> Result<Change, Malformed> {
        let (_, id, sealed) = opening(bytes, &[SETTLED_FORM])?;
        let opened = vault.open_sealed(Context(Part::Settlement, id), sealed)?;
        let mut r = Reader::new(&opened);
        let seq = r.number()?;
        let destination = decode_destination(&mut r)?;
        let (revision, at_ms) = (r.number()?, r.number()?);
        let event = decode_event(&mut r)?;
        let attempt = r.option(decode_attempt)?;
        Ok(Change { seq, id, destination, settlement: Settlement { revision, at_ms, event, attempt } })
    }
}

/// The journal's form of an accepted conversion: id; sealed: head, plan, body.
pub(in super::super) fn encode_accepted(
    sealing: &Sealing,
    record: &Record,
    legs: &[Leg],
) -> Result<Vec<u8>, Malformed> {
    let mut w = Writer::with_capacity(record.body.len().saturating_add(512));
    w.u8(if record.meta.trace.is_some() { TRACED_FORM } else { ACCEPTED_FORM });
    w.raw(record.meta.id.as_bytes());
    sealing.seal(Context(Part::Accepted, record.meta.id), &mut w, |w| {
        record.encode_head(w);
        w.list(legs.iter(), |w, leg| leg.encode(w, ATTEMPTS_KEPT));
        w.bytes(&record.body);
    })?;
    Ok(w.finish())
}

pub(in super::super) fn decode_accepted(
    vault: &Vault,
    bytes: &[u8],
    seq: u64,
) -> Result<(Record, Vec<Leg>), Malformed> {
    let (form, id, sealed) = opening(bytes, &[ACCEPTED_FORM, TRACED_FORM])?;
    let opened = vault.open_sealed(Context(Part::Accepted, id), sealed)?;
    let mut r = Reader::new(&opened);
    let record = Record::decode_head(vault, &mut r, (id, seq), form == TRACED_FORM)?;
    let legs = r.list(Leg::decode)?;
    let body = Bytes::copy_from_slice(r.bytes()?);
    Ok((record.with_body(body), legs))
}

/// What is in the clear of an accepted conversion.
pub(in super::super) fn accepted_id(bytes: &[u8]) -> Result<ConversionId, Malformed> {
    Ok(opening(bytes, &[ACCEPTED_FORM, TRACED_FORM])?.1)
}

/// With what a record of the journal was sealed.
pub(in super::super) fn key_number(payload: &[u8]) -> Result<u64, Malformed> {
    let mut r = Reader::new(payload);
    r.u8()?;
    r.id()?;
    vault::key_number(r.rest())
}

/// Form, id and sealed rest of a record of the journal, if it is of one of these forms.
fn opening<'a>(bytes: &'a [u8], forms: &[u8]) -> Result<(u8, ConversionId, &'a [u8]), Malformed> {
    let mut r = Reader::new(bytes);
    let form = r.u8()?;
    if !forms.contains(&form) {
        return Err(Malformed("form of a record"));
    }
    let id = ConversionId::from_bytes(r.id()?);
    Ok((form, id, r.rest()))
}

/// The store's form of the legs of a conversion, once they have changed; sealed: all of it.
pub(in super::super) fn encode_changed(
    sealing: &Sealing,
    id: ConversionId,
    legs: &[Leg],
) -> Result<Vec<u8>, Malformed> {
    let mut w = Writer::with_capacity(512);
    w.u8(LEGS_FORM);
    sealing.seal(Context(Part::Status, id), &mut w, |w| encode_legs(w, legs))?;
    Ok(w.finish())
}

pub(in super::super) fn decode_legs(vault: &Vault, id: ConversionId, bytes: &[u8]) -> Result<Vec<Leg>, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u8()? != LEGS_FORM {
        return Err(Malformed("form of a status"));
    }
    let opened = vault.open_sealed(Context(Part::Status, id), r.rest())?;
    Reader::new(&opened).list(Leg::decode)
}

/// The history's form of a conversion that nothing is owed of; sealed: all that a status shows beside the id, and what makes
/// sure of a repeat in another folder.
pub(in super::super) fn encode_outcome(
    w: &mut Writer,
    sealing: &Sealing,
    record: &Record,
    legs: &[Leg],
) -> Result<(), Malformed> {
    sealing.seal(Context(Part::Outcome, record.meta.id), w, |w| {
        w.text(&record.meta.merchant);
        w.text(&record.event_id);
        w.option(record.order_id.as_deref(), Writer::text);
        w.text(&record.meta.dedup_key);
        w.raw(&record.digest);
        w.number(record.seq);
        record.worth.encode(w);
        encode_legs(w, legs);
    })
}

/// A conversion as the history keeps it.
pub(in super::super) struct Settled {
    pub(in super::super) id: ConversionId,
    pub(in super::super) merchant: Arc<str>,
    pub(in super::super) event_id: String,
    pub(in super::super) order_id: Option<String>,
    pub(in super::super) dedup_key: String,
    pub(in super::super) digest: KeyHash,
    pub(in super::super) seq: u64,
    pub(in super::super) worth: Worth,
    pub(in super::super) legs: Vec<Leg>,
}

impl Settled {
    pub(in super::super) fn decode(vault: &Vault, id: ConversionId, bytes: &[u8]) -> Result<Settled, Malformed> {
        let opened = vault.open_sealed(Context(Part::Outcome, id), bytes)?;
        let mut r = Reader::new(&opened);
        Ok(Settled {
            id,
            merchant: Arc::from(r.text()?),
            event_id: r.text()?.to_owned(),
            order_id: r.option(Reader::text)?.map(str::to_owned),
            dedup_key: r.text()?.to_owned(),
            digest: r.id()?,
            seq: r.number()?,
            worth: Worth::decode(&mut r)?,
            legs: r.list(Leg::decode)?,
        })
    }

    pub(in super::super) fn into_status(self) -> Status {
        let Settled { id, event_id, order_id, merchant, legs, .. } = self;
        let received_at = Timestamp::from_instant(id.instant()).as_str().to_owned();
        let destinations = legs.into_iter().map(|leg| (leg.destination.clone(), leg.status(None))).collect();
        Status { id, event_id, order_id, merchant, received_at, destinations }
    }
}

/// Cut to [`LEGS_BYTES_MAX`] by leaving out the oldest excerpts first.
fn encode_legs(w: &mut Writer, legs: &[Leg]) {
    let start = w.len();
    for excerpts in [ATTEMPTS_KEPT, 3, 1, 0] {
        w.list(legs.iter(), |w, leg| leg.encode(w, excerpts));
        if w.len().saturating_sub(start) <= LEGS_BYTES_MAX {
            return;
        }
        w.truncate(start);
    }
    w.list(legs.iter(), |w, leg| {
        let reason = leg.reason.clone().map(|reason| cut(reason, REASON_BYTES_MIN));
        // What is to be asked about cannot be without what was captured.
        let captured = if leg.acceptance().is_some() { leg.captured.clone() } else { BTreeMap::new() };
        // Nor is a doubt forgotten: whether it may have arrived already is asked before it is sent again.
        let doubt = leg.history.iter().rfind(|attempt| attempt.may_have_arrived());
        Leg { reason, history: doubt.cloned().into_iter().collect(), captured, ..leg.clone() }.encode(w, 0);
    });
}

/// What is left of a reason when a status with very many destinations would not fit otherwise.
const REASON_BYTES_MIN: usize = 128;
/// A status is read and written as a whole.
pub(super) const LEGS_BYTES_MAX: usize = 24 * 1024;

/// First byte of each stored form: a later version of it gets another number.
const ACCEPTED_FORM: u8 = 1;
const SETTLED_FORM: u8 = 1;
const LEGS_FORM: u8 = 3;
/// With the trace that it belongs to, at the end of the head.
const TRACED_FORM: u8 = 2;
