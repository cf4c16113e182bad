//! The byte forms of states, attempts and outcomes. Their numbers are on disk: none is ever given another meaning.

use std::collections::BTreeMap;

use super::super::codec::{Malformed, Reader, Writer};
use super::super::status::{Attempt, DeadKind, Negotiated, Outcome, Protocol, State, Tls, Verdict};
use super::Event;
use crate::conversion::DestinationName;

pub(super) fn encode_state(w: &mut Writer, state: State) {
    w.u8(match state {
        State::Queued => 0,
        State::Retrying => 1,
        State::Held => 2,
        State::Accepted => 3,
        State::Delivered => 4,
        State::Duplicate => 5,
        State::Skipped => 6,
        State::Withheld => 7,
        State::Unsupported => 8,
        State::Discarded => 9,
        State::Dead(kind) => DEAD_BASE.saturating_add(dead_kind_number(kind)),
    });
}

pub(super) fn decode_state(r: &mut Reader<'_>) -> Result<State, Malformed> {
    Ok(match r.u8()? {
        0 => State::Queued,
        1 => State::Retrying,
        2 => State::Held,
        3 => State::Accepted,
        4 => State::Delivered,
        5 => State::Duplicate,
        6 => State::Skipped,
        7 => State::Withheld,
        8 => State::Unsupported,
        9 => State::Discarded,
        number => State::Dead(dead_kind(number.wrapping_sub(DEAD_BASE))?),
    })
}

fn dead_kind_number(kind: DeadKind) -> u8 {
    match kind {
        DeadKind::Rejected => 0,
        DeadKind::Unknown => 1,
        DeadKind::Unmappable => 2,
        DeadKind::Exhausted => 3,
        DeadKind::Expired => 4,
    }
}

fn dead_kind(number: u8) -> Result<DeadKind, Malformed> {
    let found = DeadKind::ALL.into_iter().find(|kind| dead_kind_number(*kind) == number);
    found.ok_or(Malformed("kind of a dead letter"))
}

fn verdict_number(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Delivered => 0,
        Verdict::Duplicate => 1,
        Verdict::Retry => 2,
        Verdict::Unknown => 3,
        Verdict::Suspended => 4,
        Verdict::Rejected => 5,
        Verdict::Unmappable => 6,
        Verdict::Withheld => 7,
        Verdict::Skipped => 8,
        Verdict::Unsupported => 9,
        Verdict::Expired => 10,
        Verdict::Accepted => 11,
        Verdict::Unconfirmed => 12,
    }
}

pub(super) fn encode_attempt(w: &mut Writer, attempt: &Attempt) {
    w.number(attempt.at_ms);
    w.number(attempt.duration_ms);
    w.option(attempt.status, Writer::number);
    let verdict = verdict_number(attempt.verdict);
    match attempt.negotiated {
        None => w.u8(verdict),
        Some(negotiated) => {
            w.u8(verdict | HAS_NEGOTIATED);
            w.u8(negotiated_number(negotiated));
        }
    }
    w.option(attempt.excerpt.as_deref(), Writer::text);
}

pub(super) fn decode_attempt(r: &mut Reader<'_>) -> Result<Attempt, Malformed> {
    let (at_ms, duration_ms) = (r.number()?, r.number()?);
    let status = r.option(Reader::number)?;
    let number = r.u8()?;
    let verdict = Verdict::ALL.into_iter().find(|verdict| verdict_number(*verdict) == number & !HAS_NEGOTIATED);
    let negotiated = if number & HAS_NEGOTIATED == 0 { None } else { Some(decode_negotiated(r)?) };
    let excerpt = r.option(Reader::text)?.map(str::to_owned);
    Ok(Attempt { at_ms, duration_ms, status, verdict: verdict.ok_or(Malformed("verdict"))?, negotiated, excerpt })
}

fn negotiated_number(Negotiated { protocol, tls }: Negotiated) -> u8 {
    let protocol = match protocol {
        Protocol::Http1 => 0,
        Protocol::Http2 => 1,
    };
    let tls = match tls {
        None => 0,
        Some(Tls::V1_2) => 2,
        Some(Tls::V1_3) => 4,
    };
    protocol | tls
}

fn decode_negotiated(r: &mut Reader<'_>) -> Result<Negotiated, Malformed> {
    let number = r.u8()?;
    let protocols = Protocol::ALL.into_iter();
    let mut all = protocols.flat_map(|protocol| {
        std::iter::once(None).chain(Tls::ALL.map(Some)).map(move |tls| Negotiated { protocol, tls })
    });
    all.find(|negotiated| negotiated_number(*negotiated) == number).ok_or(Malformed("protocol"))
}

pub(super) fn encode_event(w: &mut Writer, event: &Event) {
    let worded = |w: &mut Writer, number: u8, reason: &str| {
        w.u8(number);
        w.text(reason);
    };
    match event {
        Event::Settled(Outcome::Delivered { captured }) => {
            w.u8(0);
            encode_captured(w, captured);
        }
        Event::Settled(Outcome::Duplicate { captured }) => {
            w.u8(1);
            encode_captured(w, captured);
        }
        Event::Settled(Outcome::Retry { due_ms, spent }) => {
            w.u8(2);
            w.number(*due_ms);
            w.u8(u8::from(*spent));
        }
        Event::Settled(Outcome::Accepted { due_ms, captured }) => {
            w.u8(10);
            w.number(*due_ms);
            encode_captured(w, captured);
        }
        Event::Settled(Outcome::Dead { kind, reason }) => {
            w.u8(3);
            w.u8(dead_kind_number(*kind));
            w.text(reason);
        }
        Event::Settled(Outcome::Skipped { reason }) => worded(w, 4, reason),
        Event::Settled(Outcome::Withheld { reason }) => worded(w, 5, reason),
        Event::Settled(Outcome::Unsupported { reason }) => worded(w, 6, reason),
        Event::Replayed { due_ms, was } => {
            w.u8(7);
            w.number(*due_ms);
            w.u8(dead_kind_number(*was));
        }
        Event::Discarded { reason, was } => {
            worded(w, 8, reason);
            w.u8(dead_kind_number(*was));
        }
        Event::Withdrawn { reason } => worded(w, 9, reason),
    }
}

pub(super) fn decode_event(r: &mut Reader<'_>) -> Result<Event, Malformed> {
    let outcome = match r.u8()? {
        0 => Outcome::Delivered { captured: decode_captured(r)? },
        1 => Outcome::Duplicate { captured: decode_captured(r)? },
        2 => Outcome::Retry { due_ms: r.number()?, spent: r.u8()? == 1 },
        3 => Outcome::Dead { kind: dead_kind(r.u8()?)?, reason: r.text()?.to_owned() },
        4 => Outcome::Skipped { reason: r.text()?.to_owned() },
        5 => Outcome::Withheld { reason: r.text()?.to_owned() },
        6 => Outcome::Unsupported { reason: r.text()?.to_owned() },
        7 => return Ok(Event::Replayed { due_ms: r.number()?, was: dead_kind(r.u8()?)? }),
        8 => return Ok(Event::Discarded { reason: r.text()?.to_owned(), was: dead_kind(r.u8()?)? }),
        9 => return Ok(Event::Withdrawn { reason: r.text()?.to_owned() }),
        10 => Outcome::Accepted { due_ms: r.number()?, captured: decode_captured(r)? },
        _ => return Err(Malformed("event")),
    };
    Ok(Event::Settled(outcome))
}

pub(super) fn encode_captured(w: &mut Writer, captured: &BTreeMap<String, String>) {
    w.list(captured.iter(), |w, (name, value)| {
        w.text(name);
        w.text(value);
    });
}

pub(super) fn decode_captured(r: &mut Reader<'_>) -> Result<BTreeMap<String, String>, Malformed> {
    let pairs = r.list(|r| Ok((r.text()?.to_owned(), r.text()?.to_owned())))?;
    Ok(pairs.into_iter().collect())
}

pub(super) fn decode_destination(r: &mut Reader<'_>) -> Result<DestinationName, Malformed> {
    DestinationName::parse(r.text()?).ok_or(Malformed("destination"))
}

/// Beside a verdict's number: what was negotiated stands behind it.
const HAS_NEGOTIATED: u8 = 0x80;
/// Dead letters' states are this plus their kind's number.
const DEAD_BASE: u8 = 16;
