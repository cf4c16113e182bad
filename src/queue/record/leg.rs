//! What one destination is owed of a conversion, and what happens to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Initial;
use super::super::codec::{Malformed, Reader, Writer};
use super::super::status::{Acceptance, Asked, Attempt, DeadKind, DeliveryStatus, Outcome, State, Verdict};
use super::forms::{
    decode_attempt, decode_captured, decode_destination, decode_state, encode_attempt, encode_captured, encode_state,
};
use super::{ATTEMPTS_KEPT, cut};
use crate::conversion::DestinationName;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Position {
    /// Owed, and not yet put off.
    Fresh,
    /// Owed, not before `due_ms`; of a replayed dead letter, since when.
    Waiting { due_ms: u64, replayed_ms: Option<u64> },
    /// Taken by the destination at `since_ms` and to be asked about, not before `due_ms`: never sent again.
    Accepted { due_ms: u64, since_ms: u64, asked: u32 },
    /// Settled in this state, at this time.
    Done { state: State, at_ms: u64 },
}

/// What one destination is owed of a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Leg {
    pub(in super::super) destination: DestinationName,
    pub(in super::super) position: Position,
    pub(in super::super) reason: Option<String>,
    /// Used up since it was accepted, or replayed.
    pub(in super::super) attempts: u32,
    /// Settlements applied.
    pub(in super::super) revision: u32,
    pub(in super::super) history: Vec<Attempt>,
    pub(in super::super) captured: BTreeMap<String, String>,
}

impl Leg {
    pub(in super::super) fn new(destination: DestinationName, initial: Initial, at_ms: u64) -> Leg {
        let done = |state, reason| (Position::Done { state, at_ms }, Some(reason));
        let (position, reason) = match initial {
            Initial::Owed => (Position::Fresh, None),
            Initial::Skipped(reason) => done(State::Skipped, reason),
            Initial::Withheld(reason) => done(State::Withheld, reason),
            Initial::Unsupported(reason) => done(State::Unsupported, reason),
            Initial::Overflow(reason) => done(State::Dead(DeadKind::Exhausted), reason),
        };
        let reason = reason.map(|reason| cut(reason, REASON_BYTES_MAX));
        Leg { destination, position, reason, attempts: 0, revision: 0, history: Vec::new(), captured: BTreeMap::new() }
    }

    /// Whether there is still something to do.
    pub(in super::super) fn pending(&self) -> bool {
        self.owed() || self.is_accepted()
    }

    /// Whether its conversion is kept for it: something is to be done, or it was given up.
    pub(in super::super) fn kept(&self) -> bool {
        self.pending() || self.dead().is_some()
    }

    /// Whether it is still to be sent.
    pub(in super::super) fn owed(&self) -> bool {
        match self.position {
            Position::Fresh | Position::Waiting { .. } => true,
            Position::Accepted { .. } | Position::Done { .. } => false,
        }
    }

    fn is_accepted(&self) -> bool {
        matches!(self.position, Position::Accepted { .. })
    }

    /// What whoever asks about it has to know, once it is accepted.
    pub(in super::super) fn acceptance(&self) -> Option<Arc<Acceptance>> {
        match self.position {
            Position::Accepted { since_ms, asked, .. } => {
                Some(Arc::new(Acceptance { since_ms, asked, captured: self.captured.clone() }))
            }
            Position::Fresh | Position::Waiting { .. } | Position::Done { .. } => None,
        }
    }

    /// Whether an attempt may have arrived that is not known to have.
    pub(in super::super) fn is_in_doubt(&self) -> bool {
        self.history.iter().any(Attempt::may_have_arrived)
    }

    pub(in super::super) fn dead(&self) -> Option<(DeadKind, u64)> {
        match self.position {
            Position::Done { state: State::Dead(kind), at_ms } => Some((kind, at_ms)),
            Position::Done { .. } | Position::Fresh | Position::Waiting { .. } | Position::Accepted { .. } => None,
        }
    }

    /// When it was replayed, while it waits for that.
    pub(in super::super) fn replayed_ms(&self) -> Option<u64> {
        match self.position {
            Position::Waiting { replayed_ms, .. } => replayed_ms,
            Position::Fresh | Position::Accepted { .. } | Position::Done { .. } => None,
        }
    }

    /// Whether a settlement would change it: neither it nor a later one has been applied, and the delivery is one that
    /// this can happen to.
    pub(in super::super) fn takes(&self, settlement: &Settlement) -> bool {
        let fits = match settlement.event {
            Event::Settled(_) | Event::Withdrawn { .. } => self.pending(),
            Event::Replayed { .. } | Event::Discarded { .. } => self.dead().is_some(),
        };
        fits && settlement.revision > self.revision
    }

    /// Applies a settlement that it [takes](Leg::takes): replaying one twice changes nothing. Returns whether it did.
    pub(in super::super) fn apply(&mut self, settlement: &Settlement) -> bool {
        let takes = self.takes(settlement);
        if takes {
            self.put(settlement.clone());
        }
        takes
    }

    /// Applies a settlement that it takes, if it does, and keeps its texts.
    pub(in super::super) fn apply_whole(&mut self, settlement: Settlement) {
        if self.takes(&settlement) {
            self.put(settlement);
        }
    }

    fn put(&mut self, settlement: Settlement) {
        let Settlement { revision, at_ms, event, attempt } = settlement;
        self.revision = revision;
        let is_answer = self.is_accepted();
        let mut spent = attempt.is_some() && !is_answer;
        let done = |state| Position::Done { state, at_ms };
        let (position, reason, captured) = match event {
            Event::Settled(Outcome::Delivered { captured }) => (done(State::Delivered), None, Some(captured)),
            Event::Settled(Outcome::Duplicate { captured }) => (done(State::Duplicate), None, Some(captured)),
            Event::Settled(Outcome::Accepted { due_ms, captured }) => {
                let acceptance = self.acceptance();
                let (since_ms, asked) = acceptance.map_or((at_ms, 0), |known| (known.since_ms, known.asked));
                (Position::Accepted { due_ms, since_ms, asked }, None, Some(captured))
            }
            Event::Settled(Outcome::Retry { due_ms, spent: used }) => match self.position {
                Position::Accepted { since_ms, asked, .. } => {
                    let asked = asked.saturating_add(u32::from(used));
                    (Position::Accepted { due_ms, since_ms, asked }, None, None)
                }
                Position::Fresh | Position::Waiting { .. } | Position::Done { .. } => {
                    spent = used;
                    (Position::Waiting { due_ms, replayed_ms: self.replayed_ms() }, None, None)
                }
            },
            Event::Settled(Outcome::Dead { kind, reason }) => (done(State::Dead(kind)), Some(reason), None),
            Event::Settled(Outcome::Skipped { reason }) => (done(State::Skipped), Some(reason), None),
            Event::Settled(Outcome::Withheld { reason }) => (done(State::Withheld), Some(reason), None),
            Event::Settled(Outcome::Unsupported { reason }) => (done(State::Unsupported), Some(reason), None),
            Event::Replayed { due_ms, .. } => {
                self.attempts = 0;
                (Position::Waiting { due_ms, replayed_ms: Some(at_ms) }, None, None)
            }
            Event::Discarded { reason, .. } | Event::Withdrawn { reason } => {
                (done(State::Discarded), Some(reason), None)
            }
        };
        self.position = position;
        self.reason = reason;
        self.attempts = self.attempts.saturating_add(u32::from(spent));
        if let Some(captured) = captured {
            self.captured = captured;
        }
        if let Some(attempt) = attempt {
            // However often it was asked, what was answered to the conversion itself stays among them.
            if is_answer && attempt.verdict == Verdict::Unconfirmed {
                self.history.pop_if(|last| last.verdict == Verdict::Unconfirmed);
            }
            self.history.push(attempt);
            self.shorten_history();
        }
    }

    /// Down to [`ATTEMPTS_KEPT`]: the newest stay, and of those before them what may have arrived stays longest. So a doubt is
    /// never forgotten, however often it was tried since.
    fn shorten_history(&mut self) {
        while self.history.len() > ATTEMPTS_KEPT {
            let older = self.history.len().saturating_sub(NEWEST_KEPT);
            let certain = self.history.iter().take(older).position(|attempt| !attempt.may_have_arrived());
            self.history.remove(certain.unwrap_or_default());
        }
    }

    /// Whether its destination is on hold or not.
    pub(in super::super) fn state(&self) -> State {
        match self.position {
            Position::Fresh => State::Queued,
            Position::Waiting { .. } if self.attempts == 0 => State::Queued,
            Position::Waiting { .. } => State::Retrying,
            Position::Accepted { .. } => State::Accepted,
            Position::Done { state, .. } => state,
        }
    }

    pub(in super::super) fn status(&self, held: Option<String>) -> DeliveryStatus {
        let next_attempt_ms = match self.position {
            Position::Waiting { due_ms, .. } | Position::Accepted { due_ms, .. } => Some(due_ms),
            Position::Fresh | Position::Done { .. } => None,
        };
        let (state, reason) = match held {
            Some(held) if self.owed() => (State::Held, Some(held)),
            Some(held) if self.is_accepted() => (self.state(), Some(held)),
            Some(_) | None => (self.state(), self.reason.clone()),
        };
        DeliveryStatus {
            state,
            reason,
            attempts: self.attempts,
            next_attempt_ms,
            history: self.history.clone(),
            captured: self.captured.clone(),
            asked: self.asked(),
        }
    }

    fn asked(&self) -> Option<Asked> {
        match self.position {
            Position::Accepted { since_ms, asked, .. } => Some(Asked { since_ms, questions: asked }),
            Position::Fresh | Position::Waiting { .. } | Position::Done { .. } => None,
        }
    }

    pub(super) fn encode(&self, w: &mut Writer, excerpts: usize) {
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
            Position::Accepted { due_ms, since_ms, asked } => {
                w.u8(4);
                w.number(due_ms);
                w.number(since_ms);
                w.number(asked);
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
        w.list(self.history.iter().enumerate(), |w, (index, attempt)| match attempt {
            attempt if index >= without => encode_attempt(w, attempt),
            attempt => encode_attempt(w, &attempt.without_excerpt()),
        });
        encode_captured(w, &self.captured);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Leg, Malformed> {
        let destination = decode_destination(r)?;
        let position = match r.u8()? {
            0 => Position::Fresh,
            1 => Position::Waiting { due_ms: r.number()?, replayed_ms: None },
            2 => Position::Done { state: decode_state(r)?, at_ms: r.number()? },
            3 => Position::Waiting { due_ms: r.number()?, replayed_ms: Some(r.number()?) },
            4 => Position::Accepted { due_ms: r.number()?, since_ms: r.number()?, asked: r.number()? },
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
pub(in super::super) enum Event {
    /// Handed out, it came to this.
    Settled(Outcome),
    /// Given up, it is owed again from this point on (Unix ms).
    Replayed { due_ms: u64, was: DeadKind },
    /// Given up, it is dealt with: a person says why.
    Discarded { reason: String, was: DeadKind },
    /// Owed, it is owed no more: a person says why.
    Withdrawn { reason: String },
}

/// What happened to a delivery, with its number among that delivery's settlements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Settlement {
    pub(in super::super) revision: u32,
    pub(in super::super) at_ms: u64,
    pub(in super::super) event: Event,
    pub(in super::super) attempt: Option<Attempt>,
}

impl Settlement {
    /// Cuts every text to what is kept of it.
    pub(in super::super) fn new(revision: u32, at_ms: u64, event: Event, attempt: Option<Attempt>) -> Settlement {
        let keep = |captured: BTreeMap<String, String>| {
            let pairs = captured.into_iter().take(CAPTURED_MAX);
            pairs.map(|(name, value)| (cut(name, CAPTURED_BYTES_MAX), cut(value, CAPTURED_BYTES_MAX))).collect()
        };
        let worded = |reason: String| cut(reason, REASON_BYTES_MAX);
        let cut_outcome = |outcome: Outcome| match outcome {
            Outcome::Delivered { captured } => Outcome::Delivered { captured: keep(captured) },
            Outcome::Duplicate { captured } => Outcome::Duplicate { captured: keep(captured) },
            Outcome::Accepted { due_ms, captured } => Outcome::Accepted { due_ms, captured: keep(captured) },
            Outcome::Retry { due_ms, spent } => Outcome::Retry { due_ms, spent },
            Outcome::Dead { kind, reason } => Outcome::Dead { kind, reason: worded(reason) },
            Outcome::Skipped { reason } => Outcome::Skipped { reason: worded(reason) },
            Outcome::Withheld { reason } => Outcome::Withheld { reason: worded(reason) },
            Outcome::Unsupported { reason } => Outcome::Unsupported { reason: worded(reason) },
        };
        let event = match event {
            Event::Settled(outcome) => Event::Settled(cut_outcome(outcome)),
            Event::Replayed { due_ms, was } => Event::Replayed { due_ms, was },
            Event::Discarded { reason, was } => Event::Discarded { reason: worded(reason), was },
            Event::Withdrawn { reason } => Event::Withdrawn { reason: worded(reason) },
        };
        let attempt = attempt.map(|attempt| Attempt {
            excerpt: attempt.excerpt.map(|excerpt| cut(excerpt, EXCERPT_BYTES_MAX)),
            ..attempt
        });
        Settlement { revision, at_ms, event, attempt }
    }
}

/// Of an answer's beginning, as the HTTP API promises.
pub(super) const EXCERPT_BYTES_MAX: usize = 2048;
/// Of the attempts that are kept, so many are the newest, whatever became of them.
const NEWEST_KEPT: usize = 5;
/// A reason is a sentence or two.
const REASON_BYTES_MAX: usize = 2048;
/// Values captured from one answer.
const CAPTURED_MAX: usize = 16;
/// Of one captured name or value.
const CAPTURED_BYTES_MAX: usize = 512;
