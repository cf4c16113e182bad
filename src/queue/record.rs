//! What is kept of a conversion, and its form as bytes.
//!
//! [`Record`] never changes once accepted; a [`Leg`] is what one destination is owed of it, and changes only through
//! [`Leg::apply`], so that the live path, recovery and the store agree on what a settlement does.

mod forms;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use self::forms::{
    decode_attempt, decode_captured, decode_destination, decode_event, decode_state, encode_attempt, encode_captured,
    encode_event, encode_state,
};
use super::codec::{Malformed, Reader, Writer};
use super::status::{Attempt, DeadKind, DeliveryStatus, Outcome, State, Status};
use super::{Initial, Submission};
use crate::conversion::{Conversion, ConversionId, DestinationName, Meta, Refusal, Timestamp};

/// A merchant's deduplication key, hashed: 128 bits of SHA-256, so that it has a fixed size and gives nothing away.
pub(super) type KeyHash = [u8; 16];

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
    pub(super) body: Bytes,
    conversion: OnceLock<Result<Arc<Conversion>, Refusal>>,
}

impl Record {
    /// From what is handed in; `seq` is given once its place in the journal is known.
    pub(super) fn of(submission: &Submission) -> Record {
        let conversion = &submission.conversion;
        Record {
            seq: 0,
            meta: submission.meta.clone(),
            event_id: conversion.event_id().to_owned(),
            order_id: conversion.order_id().map(str::to_owned),
            order_key: conversion.order_id().map(|order_id| key_hash(&submission.meta.merchant, order_id)),
            key: key_hash(&submission.meta.merchant, &submission.meta.dedup_key),
            digest: first_half(&conversion.content_digest()),
            body: submission.body.clone(),
            conversion: OnceLock::from(Ok(Arc::clone(conversion))),
        }
    }

    /// From what was kept elsewhere; `seq` is given once its place in the journal is known.
    pub(super) fn kept(meta: Meta, event_id: String, order_id: Option<String>, digest: KeyHash, body: Bytes) -> Record {
        let key = key_hash(&meta.merchant, &meta.dedup_key);
        let order_key = order_id.as_deref().map(|order_id| key_hash(&meta.merchant, order_id));
        Record { seq: 0, meta, event_id, order_id, order_key, key, digest, body, conversion: OnceLock::new() }
    }

    pub(super) fn conversion(&self) -> Result<Arc<Conversion>, Refusal> {
        self.conversion.get_or_init(|| Conversion::parse(&self.body, &self.event_id).map(Arc::new)).clone()
    }

    /// Bytes counted against `pending_bytes_max`: what it takes in the store, not what sled makes of it.
    pub(super) fn stored_bytes(&self) -> u64 {
        u64::try_from(self.body.len()).unwrap_or(u64::MAX).saturating_add(RECORD_OVERHEAD_BYTES)
    }

    /// Everything but `seq` and `body`.
    pub(super) fn encode_head(&self, w: &mut Writer) {
        w.raw(self.meta.id.as_bytes());
        w.raw(&self.key);
        w.raw(&self.digest);
        w.text(&self.meta.merchant);
        w.text(&self.event_id);
        w.option(self.order_id.as_deref(), Writer::text);
        w.option(self.meta.idempotency_key.as_deref(), Writer::text);
        w.text(&self.meta.dedup_key);
    }

    /// `body` is empty; see [`Record::with_body`].
    pub(super) fn decode_head(r: &mut Reader<'_>, seq: u64) -> Result<Record, Malformed> {
        let id = ConversionId::from_bytes(r.id()?);
        let (key, digest) = (r.id()?, r.id()?);
        let merchant: Arc<str> = Arc::from(r.text()?);
        let event_id = r.text()?.to_owned();
        let order_id = r.option(Reader::text)?.map(str::to_owned);
        let idempotency_key = r.option(Reader::text)?.map(str::to_owned);
        let dedup_key = r.text()?.to_owned();
        let received_at = Timestamp::from_instant(id.instant());
        let meta = Meta { id, merchant, idempotency_key, dedup_key, received_at };
        let order_key = order_id.as_deref().map(|order_id| key_hash(&meta.merchant, order_id));
        Ok(Record {
            seq,
            meta,
            event_id,
            order_id,
            order_key,
            key,
            digest,
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

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// Owed, and not yet put off.
    Fresh,
    /// Owed, not before `due_ms`; of a replayed dead letter, since when.
    Waiting { due_ms: u64, replayed_ms: Option<u64> },
    /// Settled in this state, at this time.
    Done { state: State, at_ms: u64 },
}

/// What one destination is owed of a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    pub(super) destination: DestinationName,
    pub(super) position: Position,
    pub(super) reason: Option<String>,
    /// Used up since it was accepted, or replayed.
    pub(super) attempts: u32,
    /// Settlements applied.
    pub(super) revision: u32,
    pub(super) history: Vec<Attempt>,
    pub(super) captured: BTreeMap<String, String>,
}

impl Leg {
    pub(super) fn new(destination: DestinationName, initial: Initial, at_ms: u64) -> Leg {
        let done = |state, reason| (Position::Done { state, at_ms }, Some(reason));
        let (position, reason) = match initial {
            Initial::Owed => (Position::Fresh, None),
            Initial::Skipped(reason) => done(State::Skipped, reason),
            Initial::Withheld(reason) => done(State::Withheld, reason),
            Initial::Unsupported(reason) => done(State::Unsupported, reason),
        };
        let reason = reason.map(|reason| cut(reason, REASON_BYTES_MAX));
        Leg { destination, position, reason, attempts: 0, revision: 0, history: Vec::new(), captured: BTreeMap::new() }
    }

    pub(super) fn pending(&self) -> bool {
        match self.position {
            Position::Fresh | Position::Waiting { .. } => true,
            Position::Done { .. } => false,
        }
    }

    pub(super) fn dead(&self) -> Option<(DeadKind, u64)> {
        match self.position {
            Position::Done { state: State::Dead(kind), at_ms } => Some((kind, at_ms)),
            Position::Done { .. } | Position::Fresh | Position::Waiting { .. } => None,
        }
    }

    /// When it was replayed, while it waits for that.
    pub(super) fn replayed_ms(&self) -> Option<u64> {
        match self.position {
            Position::Waiting { replayed_ms, .. } => replayed_ms,
            Position::Fresh | Position::Done { .. } => None,
        }
    }

    /// Whether a settlement would change it: neither it nor a later one has been applied, and the delivery is one that
    /// this can happen to.
    pub(super) fn takes(&self, settlement: &Settlement) -> bool {
        let fits = match settlement.event {
            Event::Settled(_) => self.pending(),
            Event::Replayed { .. } | Event::Discarded { .. } => self.dead().is_some(),
        };
        fits && settlement.revision > self.revision
    }

    /// Applies a settlement that it [takes](Leg::takes): replaying one twice changes nothing. Returns whether it did.
    pub(super) fn apply(&mut self, settlement: &Settlement) -> bool {
        if !self.takes(settlement) {
            return false;
        }
        self.revision = settlement.revision;
        let at_ms = settlement.at_ms;
        let mut spent = settlement.attempt.is_some();
        let done = |state| Position::Done { state, at_ms };
        let (position, reason, captured) = match &settlement.event {
            Event::Settled(Outcome::Delivered { captured }) => (done(State::Delivered), None, Some(captured)),
            Event::Settled(Outcome::Duplicate { captured }) => (done(State::Duplicate), None, Some(captured)),
            Event::Settled(Outcome::Retry { due_ms, spent: used }) => {
                spent = *used;
                (Position::Waiting { due_ms: *due_ms, replayed_ms: self.replayed_ms() }, None, None)
            }
            Event::Settled(Outcome::Dead { kind, reason }) => (done(State::Dead(*kind)), Some(reason), None),
            Event::Settled(Outcome::Skipped { reason }) => (done(State::Skipped), Some(reason), None),
            Event::Settled(Outcome::Withheld { reason }) => (done(State::Withheld), Some(reason), None),
            Event::Settled(Outcome::Unsupported { reason }) => (done(State::Unsupported), Some(reason), None),
            Event::Replayed { due_ms } => {
                self.attempts = 0;
                (Position::Waiting { due_ms: *due_ms, replayed_ms: Some(at_ms) }, None, None)
            }
            Event::Discarded { reason } => (done(State::Discarded), Some(reason), None),
        };
        self.position = position;
        self.reason = reason.cloned();
        self.attempts = self.attempts.saturating_add(u32::from(spent));
        if let Some(captured) = captured {
            self.captured.clone_from(captured);
        }
        if let Some(attempt) = &settlement.attempt {
            self.history.push(attempt.clone());
            let over = self.history.len().saturating_sub(ATTEMPTS_KEPT);
            self.history.drain(..over);
        }
        true
    }

    pub(super) fn status(&self, held: Option<String>) -> DeliveryStatus {
        let (state, next_attempt_ms) = match self.position {
            Position::Fresh => (State::Queued, None),
            Position::Waiting { due_ms, .. } if self.attempts == 0 => (State::Queued, Some(due_ms)),
            Position::Waiting { due_ms, .. } => (State::Retrying, Some(due_ms)),
            Position::Done { state, .. } => (state, None),
        };
        let (state, reason) = match held {
            Some(held) if self.pending() => (State::Held, Some(held)),
            Some(_) | None => (state, self.reason.clone()),
        };
        DeliveryStatus {
            state,
            reason,
            attempts: self.attempts,
            next_attempt_ms,
            history: self.history.clone(),
            captured: self.captured.clone(),
        }
    }

    fn encode(&self, w: &mut Writer, excerpts: usize) {
        w.text(self.destination.as_str());
        match self.position {
            Position::Fresh => w.u8(0),
            Position::Waiting { due_ms, replayed_ms: None } => {
                w.u8(1);
                w.number(due_ms);
            }
            Position::Waiting { due_ms, replayed_ms: Some(replayed_ms) } => {
                w.u8(3);
                w.number(due_ms);
                w.number(replayed_ms);
            }
            Position::Done { state, at_ms } => {
                w.u8(2);
                encode_state(w, state);
                w.number(at_ms);
            }
        }
        w.option(self.reason.as_deref(), Writer::text);
        w.number(self.attempts);
        w.number(self.revision);
        let without = self.history.len().saturating_sub(excerpts);
        w.list(self.history.iter().enumerate(), |w, (index, attempt)| encode_attempt(w, attempt, index >= without));
        encode_captured(w, &self.captured);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Leg, Malformed> {
        let destination = decode_destination(r)?;
        let position = match r.u8()? {
            0 => Position::Fresh,
            1 => Position::Waiting { due_ms: r.number()?, replayed_ms: None },
            2 => Position::Done { state: decode_state(r)?, at_ms: r.number()? },
            3 => Position::Waiting { due_ms: r.number()?, replayed_ms: Some(r.number()?) },
            _ => return Err(Malformed("position")),
        };
        let reason = r.option(Reader::text)?.map(str::to_owned);
        let (attempts, revision) = (r.number()?, r.number()?);
        let history = r.list(decode_attempt)?;
        let captured = decode_captured(r)?;
        Ok(Leg { destination, position, reason, attempts, revision, history, captured })
    }
}

/// What happens to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Handed out, it came to this.
    Settled(Outcome),
    /// Given up, it is owed again from this point on (Unix ms).
    Replayed { due_ms: u64 },
    /// Given up, it is dealt with: a person says why.
    Discarded { reason: String },
}

/// What happened to a delivery, with its number among that delivery's settlements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) revision: u32,
    pub(super) at_ms: u64,
    pub(super) event: Event,
    pub(super) attempt: Option<Attempt>,
}

impl Settlement {
    /// Cuts every text to what is kept of it.
    pub(super) fn new(revision: u32, at_ms: u64, event: Event, attempt: Option<Attempt>) -> Settlement {
        let keep = |captured: BTreeMap<String, String>| {
            let pairs = captured.into_iter().take(CAPTURED_MAX);
            pairs.map(|(name, value)| (cut(name, CAPTURED_BYTES_MAX), cut(value, CAPTURED_BYTES_MAX))).collect()
        };
        let worded = |reason: String| cut(reason, REASON_BYTES_MAX);
        let cut_outcome = |outcome: Outcome| match outcome {
            Outcome::Delivered { captured } => Outcome::Delivered { captured: keep(captured) },
            Outcome::Duplicate { captured } => Outcome::Duplicate { captured: keep(captured) },
            Outcome::Retry { due_ms, spent } => Outcome::Retry { due_ms, spent },
            Outcome::Dead { kind, reason } => Outcome::Dead { kind, reason: worded(reason) },
            Outcome::Skipped { reason } => Outcome::Skipped { reason: worded(reason) },
            Outcome::Withheld { reason } => Outcome::Withheld { reason: worded(reason) },
            Outcome::Unsupported { reason } => Outcome::Unsupported { reason: worded(reason) },
        };
        let event = match event {
            Event::Settled(outcome) => Event::Settled(cut_outcome(outcome)),
            Event::Replayed { due_ms } => Event::Replayed { due_ms },
            Event::Discarded { reason } => Event::Discarded { reason: worded(reason) },
        };
        let attempt = attempt.map(|attempt| Attempt {
            excerpt: attempt.excerpt.map(|excerpt| cut(excerpt, EXCERPT_BYTES_MAX)),
            ..attempt
        });
        Settlement { revision, at_ms, event, attempt }
    }
}

/// A settlement and the delivery that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// The conversion's place in the order of acceptance.
    pub(super) seq: u64,
    pub(super) id: ConversionId,
    pub(super) destination: DestinationName,
    pub(super) settlement: Settlement,
}

impl Change {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(128);
        w.u8(SETTLED_FORM);
        w.number(self.seq);
        w.raw(self.id.as_bytes());
        w.text(self.destination.as_str());
        w.number(self.settlement.revision);
        w.number(self.settlement.at_ms);
        encode_event(&mut w, &self.settlement.event);
        w.option(self.settlement.attempt.as_ref(), |w, attempt| encode_attempt(w, attempt, true));
        w.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Change, Malformed> {
        let mut r = Reader::new(bytes);
        if r.u8()? != SETTLED_FORM {
            return Err(Malformed("form of a settlement"));
        }
        let seq = r.number()?;
        let id = ConversionId::from_bytes(r.id()?);
        let destination = decode_destination(&mut r)?;
        let (revision, at_ms) = (r.number()?, r.number()?);
        let event = decode_event(&mut r)?;
        let attempt = r.option(decode_attempt)?;
        Ok(Change { seq, id, destination, settlement: Settlement { revision, at_ms, event, attempt } })
    }
}

/// The journal's form of an accepted conversion: head, plan, body.
pub(super) fn encode_accepted(record: &Record, legs: &[Leg]) -> Vec<u8> {
    let mut w = Writer::with_capacity(record.body.len().saturating_add(512));
    w.u8(ACCEPTED_FORM);
    record.encode_head(&mut w);
    w.list(legs.iter(), |w, leg| leg.encode(w, ATTEMPTS_KEPT));
    w.bytes(&record.body);
    w.finish()
}

pub(super) fn decode_accepted(bytes: &[u8], seq: u64) -> Result<(Record, Vec<Leg>), Malformed> {
    let mut r = Reader::new(bytes);
    if r.u8()? != ACCEPTED_FORM {
        return Err(Malformed("form of an accepted conversion"));
    }
    let record = Record::decode_head(&mut r, seq)?;
    let legs = r.list(Leg::decode)?;
    let body = Bytes::copy_from_slice(r.bytes()?);
    Ok((record.with_body(body), legs))
}

/// The store's form of a status: head, length of the body, legs.
pub(super) fn encode_status(record: &Record, body_len: u32, legs: &[Leg]) -> Vec<u8> {
    let mut w = Writer::with_capacity(512);
    w.u8(STATUS_FORM);
    w.u64(record.seq);
    record.encode_head(&mut w);
    w.u32(body_len);
    encode_legs(&mut w, legs);
    w.finish()
}

/// The history's form of a conversion that nothing is owed of: all that a status shows beside the id.
pub(super) fn encode_outcome(w: &mut Writer, record: &Record, legs: &[Leg]) {
    w.text(&record.meta.merchant);
    w.text(&record.event_id);
    w.option(record.order_id.as_deref(), Writer::text);
    encode_legs(w, legs);
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
        Leg { reason, history: Vec::new(), captured: BTreeMap::new(), ..leg.clone() }.encode(w, 0);
    });
}

pub(super) fn decode_outcome(r: &mut Reader<'_>, id: ConversionId) -> Result<Status, Malformed> {
    let merchant = Arc::from(r.text()?);
    let event_id = r.text()?.to_owned();
    let order_id = r.option(Reader::text)?.map(str::to_owned);
    let legs = r.list(Leg::decode)?;
    let received_at = Timestamp::from_instant(id.instant()).as_str().to_owned();
    let destinations = legs.into_iter().map(|leg| (leg.destination.clone(), leg.status(None))).collect();
    Ok(Status { id, event_id, order_id, merchant, received_at, destinations })
}

/// What a status says: the record without its body, the body's length, the legs; and in how many pieces it is kept.
pub(super) struct Kept {
    pub(super) record: Record,
    pub(super) body_len: u32,
    pub(super) legs: Vec<Leg>,
    pub(super) pieces: u32,
}

pub(super) fn decode_status(bytes: &[u8]) -> Result<Kept, Malformed> {
    let mut r = Reader::new(bytes);
    if r.u8()? != STATUS_FORM {
        return Err(Malformed("form of a status"));
    }
    let seq = r.u64()?;
    let record = Record::decode_head(&mut r, seq)?;
    let body_len = r.u32()?;
    let legs = r.list(Leg::decode)?;
    Ok(Kept { record, body_len, legs, pieces: 1 })
}

/// Of a merchant's key or order. The merchant's length goes in first, so that no two pairs read the same.
pub(super) fn key_hash(merchant: &str, key: &str) -> KeyHash {
    let len = u64::try_from(merchant.len()).unwrap_or(u64::MAX);
    let hash = Sha256::new().chain_update(len.to_le_bytes()).chain_update(merchant).chain_update(key).finalize();
    first_half(&hash.into())
}

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
/// Of an answer's beginning, as the HTTP API promises.
const EXCERPT_BYTES_MAX: usize = 2048;
/// A reason is a sentence or two.
const REASON_BYTES_MAX: usize = 2048;
/// What is left of a reason when a status with very many destinations would not fit otherwise.
const REASON_BYTES_MIN: usize = 128;
/// Values captured from one answer.
const CAPTURED_MAX: usize = 16;
/// Of one captured name or value.
const CAPTURED_BYTES_MAX: usize = 512;
/// A status is read and written as a whole.
const LEGS_BYTES_MAX: usize = 24 * 1024;

/// First byte of each stored form: a later version of it gets another number.
const ACCEPTED_FORM: u8 = 1;
const SETTLED_FORM: u8 = 1;
const STATUS_FORM: u8 = 1;

#[cfg(test)]
mod tests;
