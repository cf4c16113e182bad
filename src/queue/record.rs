//! What is kept of a conversion, and its form as bytes.
//!
//! [`Record`] never changes once accepted; a [`Leg`] is what one destination is owed of it, and changes only through
//! [`Leg::apply`], so that the live path, recovery and the store agree on what a settlement does.
//!
//! | file | owns |
//! | --- | --- |
//! | `forms` | states, attempts and events as bytes |
//! | `leg` | what one destination is owed, and what a settlement does to it |
//! | `stored` | conversions and changes as bytes, sealed |
//! | `worth` | what the books need of a conversion |

mod forms;
mod leg;
mod stored;
mod worth;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Submission;
use super::codec::{Malformed, Reader, Writer};
use super::status::Status;
use super::vault::{KeyHash, Vault};
use crate::conversion::{Conversion, ConversionId, DestinationName, Meta, Refusal, Timestamp, TraceParent};

pub(super) use self::leg::{Event, Leg, Position, Settlement};
pub(super) use self::stored::{
    Change, Settled, accepted_id, decode_accepted, decode_legs, encode_accepted, encode_changed, encode_outcome,
    key_number,
};
pub(super) use self::worth::{Amount, Worth};

/// An accepted conversion. Its place in the order of acceptance is its `seq`.
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) meta: Meta,
    pub(super) event_id: String,
    pub(super) order_id: Option<String>,
    /// Of the order and whose it is.
    pub(super) order_key: Option<KeyHash>,
    pub(super) key: KeyHash,
    /// Tells whether a repeat has the same content.
    pub(super) digest: KeyHash,
    pub(super) worth: Worth,
    pub(super) body: Bytes,
    conversion: OnceLock<Result<Arc<Conversion>, Refusal>>,
}

/// What a conversion is known by beside its [`Meta`].
pub(super) struct Names {
    pub(super) event_id: String,
    pub(super) order_id: Option<String>,
    /// Tells whether a repeat has the same content.
    pub(super) digest: KeyHash,
}

impl Record {
    /// From what is handed in; `seq` is given once its place in the journal is known.
    pub(super) fn of(vault: &Vault, submission: &Submission) -> Record {
        let conversion = &submission.conversion;
        Record {
            seq: 0,
            meta: submission.meta.clone(),
            event_id: conversion.event_id().to_owned(),
            order_id: conversion.order_id().map(str::to_owned),
            order_key: conversion.order_id().map(|order_id| vault.hash(&submission.meta.merchant, order_id)),
            key: vault.hash(&submission.meta.merchant, &submission.meta.dedup_key),
            digest: first_half(&conversion.content_digest()),
            worth: Worth::of(conversion),
            body: submission.body.clone(),
            conversion: OnceLock::from(Ok(Arc::clone(conversion))),
        }
    }

    /// From what was kept elsewhere; `seq` is given once its place in the journal is known.
    pub(super) fn kept(vault: &Vault, meta: Meta, names: Names, body: Bytes) -> Record {
        let conversion = Conversion::parse(&body, &names.event_id).map(Arc::new);
        let worth = conversion.as_ref().map_or_else(|_| Worth::unknown(), |conversion| Worth::of(conversion));
        Record { body, conversion: OnceLock::from(conversion), ..Record::settled(vault, meta, names, worth) }
    }

    /// From what was kept elsewhere of one that nothing is owed of: without its body.
    pub(super) fn settled(vault: &Vault, meta: Meta, names: Names, worth: Worth) -> Record {
        let Names { event_id, order_id, digest } = names;
        let key = vault.hash(&meta.merchant, &meta.dedup_key);
        let order_key = order_id.as_deref().map(|order_id| vault.hash(&meta.merchant, order_id));
        let (body, conversion) = (Bytes::new(), OnceLock::new());
        Record { seq: 0, meta, event_id, order_id, order_key, key, digest, worth, body, conversion }
    }

    pub(super) fn conversion(&self) -> Result<Arc<Conversion>, Refusal> {
        self.conversion.get_or_init(|| Conversion::parse(&self.body, &self.event_id).map(Arc::new)).clone()
    }

    /// Bytes counted against `pending_bytes_max`: what it takes in the store, not what sled makes of it.
    pub(super) fn stored_bytes(&self) -> u64 {
        u64::try_from(self.body.len()).unwrap_or(u64::MAX).saturating_add(RECORD_OVERHEAD_BYTES)
    }

    /// Everything but the id, `seq` and `body`. Whether there is a trace at its end is for the form to say.
    fn encode_head(&self, w: &mut Writer) {
        w.raw(&self.key);
        w.raw(&self.digest);
        w.text(&self.meta.merchant);
        w.text(&self.event_id);
        w.option(self.order_id.as_deref(), Writer::text);
        w.option(self.meta.idempotency_key.as_deref(), Writer::text);
        w.text(&self.meta.dedup_key);
        self.worth.encode(w);
        if let Some(trace) = self.meta.trace {
            w.raw(&trace.to_bytes());
        }
    }

    /// `body` is empty; see [`Record::with_body`].
    fn decode_head(
        vault: &Vault,
        r: &mut Reader<'_>,
        (id, seq): (ConversionId, u64),
        is_traced: bool,
    ) -> Result<Record, Malformed> {
        let (key, digest) = (r.id()?, r.id()?);
        let merchant: Arc<str> = Arc::from(r.text()?);
        let event_id = r.text()?.to_owned();
        let order_id = r.option(Reader::text)?.map(str::to_owned);
        let idempotency_key = r.option(Reader::text)?.map(str::to_owned);
        let dedup_key = r.text()?.to_owned();
        let worth = Worth::decode(r)?;
        let trace = if is_traced { Some(TraceParent::from_bytes(r.array()?)) } else { None };
        let received_at = Timestamp::from_instant(id.instant());
        let meta = Meta { id, merchant, idempotency_key, dedup_key, received_at, trace };
        let order_key = order_id.as_deref().map(|order_id| vault.hash(&meta.merchant, order_id));
        Ok(Record {
            seq,
            meta,
            event_id,
            order_id,
            order_key,
            key,
            digest,
            worth,
            body: Bytes::new(),
            conversion: OnceLock::new(),
        })
    }

    pub(super) fn with_seq(mut self, seq: u64) -> Record {
        self.seq = seq;
        self
    }

    pub(super) fn with_body(mut self, body: Bytes) -> Record {
        self.body = body;
        self
    }

    pub(super) fn status(&self, legs: &[Leg], held: impl Fn(&DestinationName) -> Option<String>) -> Status {
        Status {
            id: self.meta.id,
            event_id: self.event_id.clone(),
            order_id: self.order_id.clone(),
            merchant: Arc::clone(&self.meta.merchant),
            received_at: self.meta.received_at.as_str().to_owned(),
            destinations: legs
                .iter()
                .map(|leg| (leg.destination.clone(), leg.status(held(&leg.destination))))
                .collect(),
        }
    }
}

/// Counted beside the body for the status, the deduplication entry and the queue entries.
const RECORD_OVERHEAD_BYTES: u64 = 512;

fn first_half(hash: &[u8; 32]) -> KeyHash {
    let mut half = KeyHash::default();
    half.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    half
}

/// Shortens to at most `max` bytes at a character's end.
fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
    text
}

/// Attempts kept and shown of a delivery.
const ATTEMPTS_KEPT: usize = 10;

#[cfg(test)]
mod tests;
