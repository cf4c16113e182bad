//! What becomes of a delivery, and how it is shown: outcomes, states, statuses, dead letters, depths.

mod dead_counts;
mod doubt;
mod letters;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::conversion::{ConversionId, DestinationName, Timestamp};

pub use self::dead_counts::DeadCounts;
pub(crate) use self::doubt::{broke_off_behind, comes_from_between};
pub use self::letters::{DeadFilter, DeadLetter, DeadPage, PageRequest, Treated, Treatment};

/// What an answer means (DESIGN §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The destination took it.
    Delivered,
    /// The destination had it already.
    Duplicate,
    /// To be attempted again.
    Retry,
    /// Sent, and no telling whether it arrived.
    Unknown,
    /// The credential was refused: the destination stops.
    Suspended,
    /// Refused for good.
    Rejected,
    /// The mapping found no value for a required field.
    Unmappable,
    /// Consent is refused.
    Withheld,
    /// Nothing to send here.
    Skipped,
    /// The destination has no call for it.
    Unsupported,
    /// Too old for the destination.
    Expired,
    /// The destination took it, and will say later what became of it.
    Accepted,
    /// Asked what became of it, the destination has not said yet.
    Unconfirmed,
}

impl Verdict {
    /// The word used in statuses, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Delivered => "delivered",
            Verdict::Duplicate => "duplicate",
            Verdict::Retry => "retry",
            Verdict::Unknown => "unknown",
            Verdict::Suspended => "suspended",
            Verdict::Rejected => "rejected",
            Verdict::Unmappable => "unmappable",
            Verdict::Withheld => "withheld",
            Verdict::Skipped => "skipped",
            Verdict::Unsupported => "unsupported",
            Verdict::Expired => "expired",
            Verdict::Accepted => "accepted",
            Verdict::Unconfirmed => "unconfirmed",
        }
    }

    /// All of them.
    pub const ALL: [Verdict; 13] = [
        Verdict::Delivered,
        Verdict::Duplicate,
        Verdict::Retry,
        Verdict::Unknown,
        Verdict::Suspended,
        Verdict::Rejected,
        Verdict::Unmappable,
        Verdict::Withheld,
        Verdict::Skipped,
        Verdict::Unsupported,
        Verdict::Expired,
        Verdict::Accepted,
        Verdict::Unconfirmed,
    ];
}

/// What a worker reports about a delivery that it was handed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Delivered {
        /// What the destination's `capture` found in the answer.
        captured: BTreeMap<String, String>,
    },
    /// The destination had it already: done, counted apart.
    Duplicate {
        /// What the destination's `capture` found in the answer.
        captured: BTreeMap<String, String>,
    },
    /// Taken, and the destination is to be asked what became of it: it is handed out for that, and never to be sent again.
    Accepted {
        /// When it is asked first (Unix ms).
        due_ms: u64,
        /// What the destination's `capture` found in the answer.
        captured: BTreeMap<String, String>,
    },
    /// Again, later: what is accepted is asked about again, anything else is attempted again.
    Retry {
        /// Not before this point (Unix ms).
        due_ms: u64,
        /// Whether an attempt was used up, or a question.
        spent: bool,
    },
    /// Given up: kept as a dead letter.
    Dead {
        /// Why, as a class.
        kind: DeadKind,
        /// Why, in words.
        reason: String,
    },
    /// Nothing to send to this destination.
    Skipped {
        /// Why, in words.
        reason: String,
    },
    /// Consent is refused.
    Withheld {
        /// Why, in words.
        reason: String,
    },
    /// The destination has no call for it.
    Unsupported {
        /// Why, in words.
        reason: String,
    },
}

/// What is known of a delivery that the destination has accepted and not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// When it was accepted (Unix ms).
    pub since_ms: u64,
    /// Questions used up.
    pub asked: u32,
    /// What was captured from the answer.
    pub captured: BTreeMap<String, String>,
}

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadKind {
    /// The destination refused it.
    Rejected,
    /// Sent, and no telling whether it arrived.
    Unknown,
    /// A required field has no value.
    Unmappable,
    /// Retried until `give_up_after`.
    Exhausted,
    /// Older than `max_age`.
    Expired,
}

impl DeadKind {
    /// The word used in the admin API and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            DeadKind::Rejected => "rejected",
            DeadKind::Unknown => "unknown",
            DeadKind::Unmappable => "unmappable",
            DeadKind::Exhausted => "exhausted",
            DeadKind::Expired => "expired",
        }
    }

    /// All of them.
    pub const ALL: [DeadKind; 5] =
        [DeadKind::Rejected, DeadKind::Unknown, DeadKind::Unmappable, DeadKind::Exhausted, DeadKind::Expired];
}

/// One attempt, as kept and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began (Unix ms).
    pub at_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// What it meant.
    pub verdict: Verdict,
    /// What its connection had negotiated, once there was one.
    pub negotiated: Option<Negotiated>,
    /// The answer's beginning, masked, at most 2 KiB.
    pub excerpt: Option<String>,
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    /// Which HTTP.
    pub protocol: Protocol,
    /// Over which TLS; `None`: over none.
    pub tls: Option<Tls>,
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
}

impl Protocol {
    /// As statuses write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        }
    }

    pub(super) const ALL: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl Tls {
    /// As statuses write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Tls::V1_2 => "TLS 1.2",
            Tls::V1_3 => "TLS 1.3",
        }
    }

    pub(super) const ALL: [Tls; 2] = [Tls::V1_2, Tls::V1_3];
}

/// Why a destination's work is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// By whom or what.
    pub kind: HoldKind,
    /// In words.
    pub reason: String,
    /// Since when (Unix ms).
    pub since_ms: u64,
}

impl Hold {
    /// Of a destination that the configuration no longer has.
    pub fn removed(since_ms: u64) -> Hold {
        Hold { kind: HoldKind::Removed, reason: "the destination is no longer configured".to_owned(), since_ms }
    }
}

/// By whom or what a destination is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldKind {
    /// By a person.
    Paused,
    /// The credential was refused.
    Suspended,
    /// The destination is no longer configured.
    Removed,
}

/// State of one delivery (DESIGN §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No attempt yet.
    Queued,
    /// Attempted, to be attempted again.
    Retrying,
    /// Waiting for its destination to be taken off hold.
    Held,
    /// Taken, and the platform has yet to confirm.
    Accepted,
    /// Done.
    Delivered,
    /// The destination had it already.
    Duplicate,
    /// Nothing to send to this destination.
    Skipped,
    /// Consent is refused.
    Withheld,
    /// The destination has no call for it.
    Unsupported,
    /// Given up.
    Dead(DeadKind),
    /// Given up, and dealt with by a person: nothing more is sent.
    Discarded,
}

impl State {
    /// Every word that [`State::as_str`] gives.
    pub const WORDS: [&str; 11] = [
        "queued",
        "retrying",
        "held",
        "accepted",
        "delivered",
        "duplicate",
        "skipped",
        "withheld",
        "unsupported",
        "dead",
        "discarded",
    ];

    /// The word used in statuses; a dead letter's kind is shown beside it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Retrying => "retrying",
            State::Held => "held",
            State::Accepted => "accepted",
            State::Delivered => "delivered",
            State::Duplicate => "duplicate",
            State::Skipped => "skipped",
            State::Withheld => "withheld",
            State::Unsupported => "unsupported",
            State::Dead(_) => "dead",
            State::Discarded => "discarded",
        }
    }
}

/// A conversion and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The relay's own id.
    pub id: ConversionId,
    /// The merchant's id, or the generated one.
    pub event_id: String,
    /// The merchant's order, if it named one.
    pub order_id: Option<String>,
    /// Whose it is.
    pub merchant: Arc<str>,
    /// RFC 3339.
    pub received_at: String,
    /// In the order of the plan.
    pub destinations: Vec<(DestinationName, DeliveryStatus)>,
}

impl Status {
    /// Whether nothing more happens by itself: no destination is owed it, or has yet to confirm it.
    pub fn is_settled(&self) -> bool {
        self.destinations.iter().all(|(_, delivery)| match delivery.state {
            State::Queued | State::Retrying | State::Held | State::Accepted => false,
            State::Delivered
            | State::Duplicate
            | State::Skipped
            | State::Withheld
            | State::Unsupported
            | State::Dead(_)
            | State::Discarded => true,
        })
    }

    /// Of one that was forgotten on request, by what a repeat of it says.
    pub(super) fn of_forgotten(self, first: ConversionId) -> Status {
        let received_at = Timestamp::from_instant(first.instant()).as_str().to_owned();
        Status { id: first, received_at, destinations: Vec::new(), ..self }
    }
}

/// What has become of a conversion at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// Where it stands.
    pub state: State,
    /// Why, in words: of a hold (also one under which an accepted delivery is not asked about), a skip, a dead letter.
    pub reason: Option<String>,
    /// Attempts used up, since it was last replayed; questions after an accepted one are none.
    pub attempts: u32,
    /// When it may be attempted next, or asked about (Unix ms), while it waits.
    pub next_attempt_ms: Option<u64>,
    /// Newest last, at most ten: of more than that the newest, and of those before them rather what may have arrived; of
    /// questions in a row that were not answered yet, the last.
    pub history: Vec<Attempt>,
    /// What was captured from the answer.
    pub captured: BTreeMap<String, String>,
    /// While it is accepted, what has come of asking about it.
    pub asked: Option<Asked>,
}

/// What has come of asking about one that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// When it was accepted (Unix ms).
    pub since_ms: u64,
    /// Questions used up: those that were answered and left it open.
    pub questions: u32,
}

/// How much waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depths {
    /// Every destination that is configured or still has work.
    pub destinations: BTreeMap<DestinationName, Depth>,
    /// Stored bytes of conversions that are still owed to someone.
    pub pending_bytes: u64,
}

/// What the disk has left for the queue, as it was last looked at: within a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Free for others than root. `None`: it could not be told.
    pub free_bytes: Option<u64>,
    /// With less nothing is accepted: `queue.min_free_bytes`, or what the store needs to work at all.
    pub free_bytes_min: u64,
    /// Nothing is accepted: there is less than that, or a write was refused, whatever is said to be free.
    pub is_full: bool,
}

/// How much waits for a destination, as far as the next conversion is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries not settled.
    pub pending: u64,
    /// So many dead letters are kept that nothing more is handed out.
    pub is_stopped: bool,
}

/// How much waits for one destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depth {
    /// Deliveries not settled, those in a worker's hands and those awaiting confirmation included.
    pub pending: u64,
    /// Dead letters kept.
    pub dead: DeadCounts,
    /// When the oldest that is pending and not accepted was received (Unix ms).
    pub oldest_pending_ms: Option<u64>,
    /// So many dead letters are kept that nothing more is handed out: why, in words.
    pub stopped: Option<String>,
}
