//! An exported conversion as a line of JSON that a person can read, and what makes sure of it.
//!
//! The header says what the file is; each line ends with a CRC32C of itself and of all lines between the header and it, and
//! the trailer counts. So a file that was cut or changed is known at the first line that is not what was written.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::record::{Amount, Leg, Names, Position, Record, Settled, Worth};
use super::super::status::{Attempt, DeadKind, Negotiated, Protocol, State, Tls, Verdict};
use super::super::vault::Vault;
use crate::conversion::{ConversionId, DestinationName, EventKind, Meta, Money, Timestamp, TraceParent};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    capi_relay_export: u32,
    at: String,
}

/// What a file holds in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trailer {
    pub(super) conversions: u64,
    pub(super) pending: u64,
    pub(super) dead: u64,
    /// Conversions that nothing is owed of. In the first form there were none.
    #[serde(default)]
    pub(super) settled: u64,
}

impl Trailer {
    pub(super) fn count(&mut self, legs: &[Leg]) {
        let count = |is: fn(&Leg) -> bool| u64::try_from(legs.iter().filter(|leg| is(leg)).count()).unwrap_or(u64::MAX);
        self.conversions = self.conversions.saturating_add(1);
        self.pending = self.pending.saturating_add(count(Leg::pending));
        self.dead = self.dead.saturating_add(count(|leg| leg.dead().is_some()));
    }

    pub(super) fn count_settled(&mut self) {
        self.settled = self.settled.saturating_add(1);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    merchant: String,
    event_id: String,
    order_id: Option<String>,
    idempotency_key: Option<String>,
    dedup_key: String,
    received_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    /// Of the content: tells a repeat from another conversion under the same key.
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Instead of `body`, when that is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// Instead of both, when nothing of it is owed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worth: Option<WorthLine>,
    deliveries: Vec<DeliveryLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorthLine {
    kind: String,
    test: bool,
    /// An exact decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveryLine {
    destination: String,
    state: String,
    /// Of a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// Of one that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_ms: Option<u64>,
    /// Of one that waits because it was replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replayed_ms: Option<u64>,
    /// Of one that is settled or given up; of one that is accepted and waits, since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    /// Of one that is accepted and waits: questions used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<u32>,
    reason: Option<String>,
    attempts: u32,
    history: Vec<AttemptLine>,
    captured: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptLine {
    at_ms: u64,
    duration_ms: u64,
    status: Option<u16>,
    verdict: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<String>,
    excerpt: Option<String>,
}

/// Writes lines, each with the checksum of what was written behind the header.
#[derive(Default)]
pub(super) struct Lines {
    crc: u32,
}

impl Lines {
    pub(super) fn header(&self, at: &str) -> io::Result<String> {
        let header = Header { capi_relay_export: FORM, at: at.to_owned() };
        let text = serde_json::to_string(&header)?;
        Ok(sealed(&text, crc32c::crc32c(text.as_bytes())))
    }

    pub(super) fn conversion(&mut self, record: &Record, legs: &[Leg]) -> io::Result<String> {
        let (body, body_base64) = match std::str::from_utf8(&record.body) {
            Ok(body) => (Some(body.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(&record.body))),
        };
        let Meta { id, merchant, idempotency_key, dedup_key, received_at, trace } = &record.meta;
        let line = Line {
            id: id.to_string(),
            merchant: merchant.as_ref().to_owned(),
            event_id: record.event_id.clone(),
            order_id: record.order_id.clone(),
            idempotency_key: idempotency_key.clone(),
            dedup_key: dedup_key.clone(),
            received_at: received_at.as_str().to_owned(),
            traceparent: trace.map(|trace| trace.to_string()),
            digest: hex::encode(record.digest),
            body,
            body_base64,
            worth: None,
            deliveries: legs.iter().map(DeliveryLine::of).collect(),
        };
        self.seal(&line)
    }

    pub(super) fn settled(&mut self, settled: Settled) -> io::Result<String> {
        let Settled { id, merchant, event_id, order_id, dedup_key, digest, worth, legs, .. } = settled;
        let line = Line {
            id: id.to_string(),
            merchant: merchant.as_ref().to_owned(),
            event_id,
            order_id,
            idempotency_key: None,
            dedup_key,
            received_at: Timestamp::from_instant(id.instant()).as_str().to_owned(),
            traceparent: None,
            digest: hex::encode(digest),
            body: None,
            body_base64: None,
            worth: Some(WorthLine::of(&worth)),
            deliveries: legs.iter().map(DeliveryLine::of).collect(),
        };
        self.seal(&line)
    }

    pub(super) fn trailer(&mut self, trailer: &Trailer) -> io::Result<String> {
        self.seal(trailer)
    }

    fn seal(&mut self, line: &impl Serialize) -> io::Result<String> {
        let text = serde_json::to_string(line)?;
        self.crc = crc32c::crc32c_append(self.crc, text.as_bytes());
        Ok(sealed(&text, self.crc))
    }
}

/// The object with its checksum as the last member.
fn sealed(text: &str, crc: u32) -> String {
    let open = text.strip_suffix('}').unwrap_or(text);
    format!("{open}{SEAL}{crc:08x}\"}}\n")
}

/// What is wrong with a file.
pub(super) enum Fault {
    Read(io::Error),
    /// With the line that was read last, in words.
    Line(String),
}

/// What a line says.
pub(super) enum Said {
    Conversion(Box<(Record, Vec<Leg>)>),
    /// Nothing of it is owed.
    Settled(Box<(Record, Vec<Leg>)>),
    End(Trailer),
}

/// Reads lines, and holds each to its checksum.
pub(super) struct Reading<'i> {
    input: &'i mut dyn BufRead,
    /// The line that was read last, from 1.
    pub(super) number: u64,
    crc: u32,
    buffer: Vec<u8>,
}

impl<'i> Reading<'i> {
    pub(super) fn new(input: &'i mut dyn BufRead) -> Reading<'i> {
        Reading { input, number: 0, crc: 0, buffer: Vec::new() }
    }

    pub(super) fn header(&mut self) -> Result<(), Fault> {
        let other = |what: &str| Fault::Line(format!("{what}: this is no file of `capi-relay export`"));
        let line = self.line()?.ok_or_else(|| other("it is empty"))?;
        let (text, said) = unsealed(&line)?;
        let made = crc32c::crc32c(text.as_bytes());
        if said != made {
            return Err(changed(said, made));
        }
        let header: Header = serde_json::from_str(&text).map_err(|error| other(&error.to_string()))?;
        match header.capi_relay_export {
            OLDEST_FORM..=FORM => Ok(()),
            found => Err(Fault::Line(format!(
                "the export has form {found}, and this version reads {OLDEST_FORM} to {FORM}: import it with the version \
                 that wrote it"
            ))),
        }
    }

    pub(super) fn next(&mut self, vault: &Vault) -> Result<Said, Fault> {
        let cut =
            || Fault::Line("the file ends before its trailer: it is cut short; export or copy it again".to_owned());
        let line = self.line()?.ok_or_else(cut)?;
        let (text, said) = unsealed(&line)?;
        self.crc = crc32c::crc32c_append(self.crc, text.as_bytes());
        if said != self.crc {
            return Err(changed(said, self.crc));
        }
        let unread = |error: serde_json::Error| Fault::Line(format!("it is not of the form of an export: {error}"));
        if text.starts_with("{\"conversions\":") {
            return Ok(Said::End(serde_json::from_str(&text).map_err(unread)?));
        }
        let line: Line = serde_json::from_str(&text).map_err(unread)?;
        let is_settled = line.worth.is_some();
        let read = line.read(vault).map_err(|what| Fault::Line(format!("`{what}` is not of the form of an export")))?;
        Ok(if is_settled { Said::Settled(Box::new(read)) } else { Said::Conversion(Box::new(read)) })
    }

    /// Behind the trailer there is nothing.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.line()? {
            None => Ok(()),
            Some(_) => Err(Fault::Line("it comes after the trailer, which is the last line of an export".to_owned())),
        }
    }

    fn line(&mut self) -> Result<Option<String>, Fault> {
        self.buffer.clear();
        let mut limited = Read::take(&mut *self.input, LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut self.buffer).map_err(Fault::Read)?;
        self.number = self.number.saturating_add(1);
        if read == 0 {
            return Ok(None);
        }
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        match std::str::from_utf8(line) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Fault::Line("it is no UTF-8: the line was cut or changed".to_owned())),
        }
    }
}

fn changed(said: u32, made: u32) -> Fault {
    Fault::Line(format!(
        "its checksum is {said:08x}, and what stands here makes {made:08x}: this line was changed, or one before it was \
         removed, added or moved; export or copy it again"
    ))
}

/// The object without its checksum, and that.
fn unsealed(line: &str) -> Result<(String, u32), Fault> {
    let parts = || {
        let (open, seal) = line.split_at_checked(line.len().checked_sub(SEAL_BYTES)?)?;
        let digits = seal.strip_prefix(SEAL)?.strip_suffix("\"}")?;
        Some((format!("{open}}}"), u32::from_str_radix(digits, 16).ok()?))
    };
    let what = "it does not end with `,\"crc32c\":\"…\"}`, as every line of an export does: it was cut or changed; export \
                or copy the file again";
    parts().ok_or_else(|| Fault::Line(what.to_owned()))
}

impl Line {
    /// Names the member that cannot be read.
    fn read(self, vault: &Vault) -> Result<(Record, Vec<Leg>), &'static str> {
        let id = ConversionId::parse(&self.id).ok_or("id")?;
        let mut digest = [0; 16];
        hex::decode_to_slice(&self.digest, &mut digest).map_err(|_odd| "digest")?;
        let meta = Meta {
            id,
            merchant: Arc::from(self.merchant),
            idempotency_key: self.idempotency_key,
            dedup_key: self.dedup_key,
            received_at: Timestamp::from_instant(id.instant()),
            trace: self.traceparent.as_deref().and_then(TraceParent::parse),
        };
        let legs = self.deliveries.into_iter().map(DeliveryLine::read).collect::<Option<Vec<_>>>();
        let legs = legs.ok_or("deliveries")?;
        let names = Names { event_id: self.event_id, order_id: self.order_id, digest };
        let record = match (self.body, self.body_base64, self.worth) {
            (Some(body), None, None) => Record::kept(vault, meta, names, Bytes::from(body)),
            (None, Some(body), None) => {
                let body = BASE64.decode(body).map_err(|_odd| "body_base64")?;
                Record::kept(vault, meta, names, Bytes::from(body))
            }
            // What is owed cannot be sent without a body.
            (None, None, Some(worth)) if !legs.iter().any(Leg::kept) => {
                Record::settled(vault, meta, names, worth.read().ok_or("worth")?)
            }
            _ => return Err("body"),
        };
        Ok((record, legs))
    }
}

impl WorthLine {
    fn of(worth: &Worth) -> WorthLine {
        let (value, currency) = match &worth.amount {
            None => (None, None),
            Some(Amount { money, currency }) => {
                (Some(money.text().as_str().to_owned()), Some(currency.as_ref().to_owned()))
            }
        };
        WorthLine { kind: worth.kind.as_str().to_owned(), test: worth.is_test, value, currency }
    }

    fn read(self) -> Option<Worth> {
        let kind = EventKind::parse(&self.kind)?;
        let amount = match (self.value, self.currency) {
            (None, None) => None,
            (value, currency) => Some(Amount { money: Money::parse(&value?).ok()?, currency: currency?.into() }),
        };
        Some(Worth { kind, is_test: self.test, amount })
    }
}

impl DeliveryLine {
    fn of(leg: &Leg) -> DeliveryLine {
        let state = leg.status(None).state;
        let (due_ms, replayed_ms, at_ms) = match leg.position {
            Position::Fresh => (None, None, None),
            Position::Waiting { due_ms, replayed_ms } => (Some(due_ms), replayed_ms, None),
            Position::Accepted { due_ms, since_ms, .. } => (Some(due_ms), None, Some(since_ms)),
            Position::Done { at_ms, .. } => (None, None, Some(at_ms)),
        };
        DeliveryLine {
            destination: leg.destination.as_str().to_owned(),
            state: state.as_str().to_owned(),
            kind: leg.dead().map(|(kind, _)| kind.as_str().to_owned()),
            due_ms,
            replayed_ms,
            at_ms,
            asked: leg.acceptance().map(|acceptance| acceptance.asked),
            reason: leg.reason.clone(),
            attempts: leg.attempts,
            history: leg.history.iter().map(AttemptLine::of).collect(),
            captured: leg.captured.clone(),
        }
    }

    fn read(self) -> Option<Leg> {
        let position = match (self.at_ms, self.due_ms) {
            (None, None) => Position::Fresh,
            (None, Some(due_ms)) => Position::Waiting { due_ms, replayed_ms: self.replayed_ms },
            (Some(since_ms), Some(due_ms)) => Position::Accepted { due_ms, since_ms, asked: self.asked? },
            (Some(at_ms), None) => Position::Done { state: state(&self.state, self.kind.as_deref())?, at_ms },
        };
        let leg = Leg {
            destination: DestinationName::parse(&self.destination)?,
            position,
            reason: self.reason,
            attempts: self.attempts,
            // Counted from here on: in another folder there is no settlement that could come again.
            revision: 0,
            history: self.history.into_iter().map(AttemptLine::read).collect::<Option<Vec<_>>>()?,
            captured: self.captured,
        };
        // What is read says the same when it is written.
        (leg.status(None).state.as_str() == self.state).then_some(leg)
    }
}

impl AttemptLine {
    fn of(attempt: &Attempt) -> AttemptLine {
        let Attempt { at_ms, duration_ms, status, verdict, negotiated, excerpt } = attempt.clone();
        let protocol = negotiated.map(|negotiated| negotiated.protocol.as_str().to_owned());
        let tls = negotiated.and_then(|negotiated| negotiated.tls).map(|tls| tls.as_str().to_owned());
        AttemptLine { at_ms, duration_ms, status, verdict: verdict.as_str().to_owned(), protocol, tls, excerpt }
    }

    fn read(self) -> Option<Attempt> {
        let AttemptLine { at_ms, duration_ms, status, verdict, protocol, tls, excerpt } = self;
        let verdict = Verdict::ALL.into_iter().find(|known| known.as_str() == verdict)?;
        let negotiated = match (protocol, tls) {
            (None, None) => None,
            (protocol, tls) => Some(negotiated(&protocol?, tls.as_deref())?),
        };
        Some(Attempt { at_ms, duration_ms, status, verdict, negotiated, excerpt })
    }
}

fn negotiated(protocol: &str, tls: Option<&str>) -> Option<Negotiated> {
    let protocol = Protocol::ALL.into_iter().find(|known| known.as_str() == protocol)?;
    let tls = match tls {
        None => None,
        Some(word) => Some(Tls::ALL.into_iter().find(|known| known.as_str() == word)?),
    };
    Some(Negotiated { protocol, tls })
}

/// The state of a settled delivery.
fn state(word: &str, kind: Option<&str>) -> Option<State> {
    let kind = match kind {
        None => return SETTLED.into_iter().find(|state| state.as_str() == word),
        Some(kind) => DeadKind::ALL.into_iter().find(|known| known.as_str() == kind)?,
    };
    Some(State::Dead(kind)).filter(|state| state.as_str() == word)
}

const SETTLED: [State; 7] = [
    State::Accepted,
    State::Delivered,
    State::Duplicate,
    State::Skipped,
    State::Withheld,
    State::Unsupported,
    State::Discarded,
];
/// Of the whole file: a later one gets another number.
const FORM: u32 = 2;
/// It had nothing that is settled.
const OLDEST_FORM: u32 = 1;
const SEAL: &str = ",\"crc32c\":\"";
/// With eight digits and what closes the object.
const SEAL_BYTES: usize = SEAL.len() + 10;
/// A body of 4 MiB takes at most six times that as a JSON string; this is far beyond, and only damage claims it.
const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;
