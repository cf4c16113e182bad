//! What an answer means: one pure function, [`judge`], and what it says about the destination's health.
//!
//! The order is fixed: `duplicate_when`, `delivered_when` (default: any 2xx), `rejected_when`, `suspended_when`,
//! `ambiguous_when`, `throttled_when`, `retry_when`, a gateway's word that it had no good answer from behind (*unknown*: it may have been taken
//! there; a `503` whose words are that the connection behind it ended is one), the statuses that ask for a repeat, those that refuse our credential, and everything else is rejected. A predicate
//! over what is not there is false. Where a body broke off, or came compressed although nobody asked for that, a predicate that reads it is undecided: a 2xx is then *unknown*,
//! and so is a refusal that the missing part might have turned into a success or into one of our credential, and any answer
//! that it might have made ambiguous. Of a 2xx whose body is longer than our limit what its head says holds; what would hold
//! of an empty body as well is undecided.

use bytes::Bytes;
use http::{StatusCode, header};

use super::gate::Health;
use crate::config::Judge;
use crate::mapping::{Answer, AnswerCondition};
use crate::queue::{Verdict, broke_off_behind, comes_from_between};

/// What became of one request.
#[derive(Debug)]
pub(super) enum Transmission {
    /// Nothing of it left: no connection, or one that had closed before the first byte.
    NotSent(Failure),
    /// It was written, at least in part, and no status came back.
    Unanswered(Failure),
    /// A status came back.
    Answered {
        /// Status, headers, and as much of the body as was read.
        answer: Answer,
        /// How far the body was read.
        body: Body,
    },
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// For a person: `no connection: connection refused`.
    pub(super) text: String,
    /// What it says beside that.
    pub(super) kind: FailureKind,
}

/// What a failure says about whom it was met with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// Nothing more.
    Broken,
    /// Time ran out.
    TimedOut,
    /// A proxy refused our credential.
    Refused,
}

impl Failure {
    /// One that says nothing more.
    pub(super) fn of(text: String) -> Failure {
        Failure { text, kind: FailureKind::Broken }
    }

    /// Time ran out.
    pub(super) fn timed_out(text: String) -> Failure {
        Failure { text, kind: FailureKind::TimedOut }
    }

    /// A proxy refused our credential.
    pub(super) fn refused(text: String) -> Failure {
        Failure { text, kind: FailureKind::Refused }
    }
}

/// How far an answer's body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// To its end.
    Whole,
    /// To our limit; it is judged by this head.
    Head,
    /// It broke off.
    Broken,
}

/// What a transmission means for the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The destination took it.
    Delivered,
    /// The destination had it already.
    Duplicate,
    /// Not now.
    Retry,
    /// Not now, for we ask too much; said elsewhere than in the status.
    Throttled,
    /// It may have been taken or not.
    Unknown,
    /// Our credential was refused.
    Suspended,
    /// The destination will never take it.
    Rejected,
}

impl Judgement {
    /// The destination has it.
    pub(super) fn is_success(self) -> bool {
        matches!(self, Judgement::Delivered | Judgement::Duplicate)
    }
}

impl From<Judgement> for Verdict {
    fn from(judgement: Judgement) -> Verdict {
        match judgement {
            Judgement::Delivered => Verdict::Delivered,
            Judgement::Duplicate => Verdict::Duplicate,
            Judgement::Retry | Judgement::Throttled => Verdict::Retry,
            Judgement::Unknown => Verdict::Unknown,
            Judgement::Suspended => Verdict::Suspended,
            Judgement::Rejected => Verdict::Rejected,
        }
    }
}

/// What a transmission means.
pub(super) fn judge(judge: &Judge, transmission: &Transmission) -> Judgement {
    match transmission {
        Transmission::NotSent(Failure { kind: FailureKind::Refused, .. }) => Judgement::Suspended,
        Transmission::NotSent(_) => Judgement::Retry,
        Transmission::Unanswered(_) => Judgement::Unknown,
        Transmission::Answered { answer, body } => judge_answer(judge, answer, *body),
    }
}

fn judge_answer(judge: &Judge, answer: &Answer, body: Body) -> Judgement {
    let told = |condition: &AnswerCondition| {
        let unsaid = Answer::new(answer.status(), answer.headers().clone(), Bytes::new());
        !condition.holds(&unsaid)
    };
    let ask = |condition: &AnswerCondition| {
        let holds = condition.holds(answer);
        match body {
            Body::Whole | Body::Head if condition.reads_body() && is_coded(answer) => Reply::Undecided,
            Body::Broken if condition.reads_body() => Reply::Undecided,
            // Half a JSON is none: what a 2xx said may stand behind our limit, also what would have made it none. What the head
            // says by itself holds.
            Body::Head if condition.reads_body() && answer.status().is_success() && !(holds && told(condition)) => {
                Reply::Undecided
            }
            Body::Whole | Body::Head | Body::Broken => Reply::from(holds),
        }
    };
    let asked = |condition: &Option<AnswerCondition>| condition.as_ref().map_or(Reply::No, ask);
    let is_success = answer.status().is_success();
    let duplicate = asked(&judge.duplicate_when);
    let delivered = judge.delivered_when.as_ref().map_or(Reply::from(is_success), ask);
    let suspended = asked(&judge.suspended_when);
    let throttled = asked(&judge.throttled_when);
    let retry = asked(&judge.retry_when);
    if duplicate == Reply::Yes {
        return Judgement::Duplicate;
    }
    if delivered == Reply::Yes {
        return Judgement::Delivered;
    }
    // A repeat of what was taken may be a second sale, and what was taken is not to be called rejected.
    if is_success && delivered == Reply::Undecided {
        return Judgement::Unknown;
    }
    if asked(&judge.rejected_when) == Reply::Yes {
        return Judgement::Rejected;
    }
    if suspended == Reply::Yes {
        return Judgement::Suspended;
    }
    if asked(&judge.ambiguous_when) != Reply::No {
        return Judgement::Unknown;
    }
    if throttled == Reply::Yes {
        return Judgement::Throttled;
    }
    if retry == Reply::Yes {
        return Judgement::Retry;
    }
    let status = answer.status().as_u16();
    if comes_from_between(status) || broke_off_behind(status, &String::from_utf8_lossy(answer.body())) {
        return Judgement::Unknown;
    }
    if asks_for_repeat(answer.status()) {
        return Judgement::Retry;
    }
    if refuses_credential(answer.status()) {
        return Judgement::Suspended;
    }
    let undecided = [duplicate, delivered, suspended, throttled, retry].contains(&Reply::Undecided);
    if undecided { Judgement::Unknown } else { Judgement::Rejected }
}

/// A predicate's reply; undecided where it reads a body that broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Yes,
    No,
    Undecided,
}

impl From<bool> for Reply {
    fn from(holds: bool) -> Reply {
        if holds { Reply::Yes } else { Reply::No }
    }
}

/// Whether its body is not to be read as it came.
fn is_coded(answer: &Answer) -> bool {
    let mut codings = answer.headers().get_all(header::CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// Statuses that say *not now*.
pub(super) fn asks_for_repeat(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
        || status.is_server_error()
}

/// Statuses that refuse the credential, not the conversion.
fn refuses_credential(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
}

/// What a judged transmission says about the destination as a whole. What only `retry_when` or `ambiguous_when` asked for
/// is the conversion's, not the destination's: a click that is not there yet closes no door. What `rejected_when` refused
/// is the conversion's too, whatever the status. What `throttled_when` says is the destination's, as a `429`.
pub(super) fn health(judgement: Judgement, transmission: &Transmission) -> Health {
    match (judgement, transmission) {
        (Judgement::Delivered | Judgement::Duplicate, _) => Health::Well,
        (Judgement::Suspended, Transmission::NotSent(_)) => Health::Barring,
        (Judgement::Suspended, _) if transmission.status() == Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => {
            Health::Barring
        }
        (Judgement::Suspended, _) => Health::Refusing,
        (Judgement::Rejected, _) => Health::Answering,
        (Judgement::Throttled, _) => Health::Failing { overloaded: true },
        (Judgement::Retry | Judgement::Unknown, Transmission::NotSent(failure) | Transmission::Unanswered(failure)) => {
            Health::Failing { overloaded: failure.kind == FailureKind::TimedOut }
        }
        (Judgement::Unknown, Transmission::Answered { body: Body::Broken, .. }) => {
            Health::Failing { overloaded: false }
        }
        (Judgement::Retry | Judgement::Unknown, Transmission::Answered { answer, .. }) => match answer.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Health::Failing { overloaded: true },
            status if asks_for_repeat(status) => Health::Failing { overloaded: false },
            _ => Health::Answering,
        },
    }
}

impl Transmission {
    /// The status that came back.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Transmission::NotSent(_) | Transmission::Unanswered(_) => None,
            Transmission::Answered { answer, .. } => Some(answer.status()),
        }
    }

    /// What happened, for a person: the reason of a retry or a dead letter.
    pub(super) fn summary(&self) -> String {
        match self {
            Transmission::NotSent(failure) => format!("not sent: {}", failure.text),
            Transmission::Unanswered(failure) => format!("sent, no answer: {}", failure.text),
            Transmission::Answered { answer, body } => {
                let broken = match body {
                    Body::Broken => ", its body broke off",
                    Body::Whole | Body::Head if is_coded(answer) => ", its body came compressed",
                    Body::Whole | Body::Head => "",
                };
                match answer.status().canonical_reason() {
                    Some(reason) => format!("status {} {reason}{broken}", answer.status().as_u16()),
                    None => format!("status {}{broken}", answer.status().as_u16()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
