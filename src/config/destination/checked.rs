//! What a destination means once it is checked: its calls, how their answers are read, how fast and how long it is asked.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use rustls::pki_types::TrustAnchor;

use super::certificates::ClientCertificate;
use super::confirm::Question;
use super::proxy::Proxy;
use crate::config::{Golden, Rate};
use crate::conversion::{DestinationName, EventKind};
use crate::mapping::{AnswerCondition, Capture, Condition, RequestTemplate, Secret};

/// `[destination.NAME]`, its preset included.
#[derive(Debug)]
pub struct Destination {
    /// As in the file.
    pub name: DestinationName,
    /// Tells whether two readings of the file, within one process, say the same of it.
    pub fingerprint: u64,
    /// The preset below it.
    pub preset: Option<String>,
    /// In the order in which they are asked.
    pub operations: Vec<Operation>,
    /// Whether the preset declares how it is asked what became of what it accepted: on or off.
    pub declares_confirm: bool,
    /// How fast and how long.
    pub limits: Limits,
    /// When a delivery is attempted again, and when given up.
    pub retry: Retry,
    /// What a refused consent means.
    pub consent: Consent,
    /// Whether a merchant's trace goes on to it.
    pub traceparent: bool,
    /// How much may wait for it, if that is limited.
    pub budget: Option<Budget>,
    /// The only currency that it takes.
    pub expect_currency: Option<String>,
    /// Older conversions become dead letters.
    pub max_age: Option<Duration>,
    /// For how long the platform recognises a repeat, where it is known.
    pub dedup_window: Option<Duration>,
    /// Every secret value, for masking answers' excerpts.
    pub secrets: Vec<Secret>,
    /// How it is connected to.
    pub connection: Connection,
    /// Cases kept beside the configuration.
    pub goldens: Vec<Golden>,
}

impl Destination {
    /// Whether both call the same host and port with at least one of their operations.
    pub fn shares_origin_with(&self, other: &Destination) -> bool {
        let origins = |destination: &'_ Destination| -> BTreeSet<String> {
            let origins = destination.operations.iter().filter_map(|operation| operation.request.origin());
            origins.map(str::to_owned).collect()
        };
        !origins(self).is_disjoint(&origins(other))
    }
}

/// How much may wait for a destination, and what becomes of what is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Deliveries, those of what is being accepted among them.
    pub pending_max: NonZeroU32,
    /// What becomes of the next.
    pub overflow: Overflow,
}

/// What becomes of a conversion when too much waits for a destination that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// It is refused, and the merchant may send it again later.
    Refuse,
    /// The other destinations get it; of this one it is a dead letter at once.
    DeadLetter,
    /// The other destinations get it; this one does not.
    Skip,
}

/// How a destination is connected to.
#[derive(Debug, Clone, Default, Hash)]
pub struct Connection {
    /// Trusted as well as Mozilla's: those of `ca_file`.
    pub roots: Vec<TrustAnchor<'static>>,
    /// What we show of ourselves where a certificate is asked for.
    pub client_certificate: Option<ClientCertificate>,
    /// What is between; `None`: nothing.
    pub proxy: Option<Proxy>,
    /// Whether it may be at a private address; a loopback address that is named as such always may.
    pub allow_private: bool,
}

/// One kind of call of a destination.
#[derive(Debug)]
pub struct Operation {
    /// `conversion`, `refund`, `adjustment`, or any other name.
    pub name: String,
    /// The kind that its name stands for; `None`: any.
    pub kind: Option<EventKind>,
    /// When it applies; `None`: always.
    pub when: Option<Condition>,
    /// What must hold besides; `None`: nothing.
    pub only_when: Option<Condition>,
    /// What is said, beside the part of `when` that fails, where that does not hold.
    pub otherwise: Option<String>,
    /// What is sent.
    pub request: RequestTemplate,
    /// Whether the request names the order, or the event that stands for one: it concerns that sale and no other.
    pub names_order: bool,
    /// What becomes of a conversion that no request can be made of.
    pub on_unmappable: OnUnmappable,
    /// What becomes of test conversions.
    pub test: TestConversions,
    /// The output that the platform deduplicates on: `header.Idempotency-Key`, `map.externalId`.
    pub idempotency: Option<String>,
    /// What a request without an answer means.
    pub on_ambiguous: OnAmbiguous,
    /// A rate of its own, beside the destination's; `None`: it shares that one.
    pub rate: Option<Rate>,
    /// What the answer means.
    pub judge: Judge,
    /// How it is asked what became of what was accepted; `None`: what is accepted is delivered.
    pub confirm: Option<Confirm>,
}

/// How the platform is asked what became of what it accepted.
#[derive(Debug)]
pub struct Confirm {
    /// What it is asked.
    pub question: Question,
    /// Before the first question.
    pub after: Duration,
    /// Between two questions.
    pub every: Duration,
    /// With so many answers that leave it open it is a person's to find out.
    pub tries: NonZeroU32,
    /// What the answer means: delivered, duplicate, rejected, or nothing yet. It captures the reason, if it says one.
    pub judge: Judge,
}

/// Predicates over the answer, in the order in which they are asked.
#[derive(Debug)]
pub struct Judge {
    /// The platform has it already.
    pub duplicate_when: Option<AnswerCondition>,
    /// Default: any 2xx.
    pub delivered_when: Option<AnswerCondition>,
    /// It will never be taken, whatever the status.
    pub rejected_when: Option<AnswerCondition>,
    /// Our credential is wrong, whatever the status.
    pub suspended_when: Option<AnswerCondition>,
    /// It leaves open whether the platform took it.
    pub ambiguous_when: Option<AnswerCondition>,
    /// We ask too much of the platform, whatever the status.
    pub throttled_when: Option<AnswerCondition>,
    /// Beside the built-in ones.
    pub retry_when: Option<AnswerCondition>,
    /// Beside `Retry-After`.
    pub wait_header: Option<WaitHeader>,
    /// What is kept of the answer, by name.
    pub capture: Vec<(String, Capture)>,
}

/// A header that says how long to wait.
#[derive(Debug, Clone)]
pub struct WaitHeader {
    /// Its name.
    pub name: http::HeaderName,
    /// What its number counts.
    pub unit: WaitUnit,
}

/// What the number of a [`WaitHeader`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitUnit {
    /// Seconds from now.
    Seconds,
    /// Seconds since 1970.
    Unix,
}

/// How fast and how long a destination is asked.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests.
    pub rate: Option<Rate>,
    /// Most requests at once.
    pub concurrency: NonZeroUsize,
    /// For the connection.
    pub connect_timeout: Duration,
    /// Until the answer's head, from the beginning; never longer than `timeout`.
    pub header_timeout: Duration,
    /// From the beginning to the whole answer.
    pub timeout: Duration,
}

/// When a delivery is attempted again, and when given up.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Before the second attempt, at most.
    pub first: Duration,
    /// Between attempts, at most.
    pub max: Duration,
    /// Since the conversion was accepted; never longer than `queue.dedup_window`.
    pub give_up_after: Duration,
}

/// What a request without an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAmbiguous {
    /// The platform deduplicates: again.
    Retry,
    /// Again might count twice: a person decides.
    DeadLetter,
}

impl OnAmbiguous {
    /// What becomes of the request, in a word.
    pub(in crate::config) fn fate(self) -> &'static str {
        match self {
            OnAmbiguous::Retry => "sent again",
            OnAmbiguous::DeadLetter => "parked",
        }
    }
}

/// What becomes of a conversion that no request can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnmappable {
    /// A person mends the map or the conversion.
    DeadLetter,
    /// It is skipped, with the reason: what the destination cannot take was not meant for it.
    Skip,
}

/// What `consent.tracking = false` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Nothing is sent.
    Require,
    /// It is sent, and the map passes the flag on.
    Carry,
    /// It is sent.
    Ignore,
}

/// What becomes of test conversions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestConversions {
    /// They are sent: the map has the platform's own switch.
    Carry,
    /// They are skipped.
    Skip,
}
