//! `routes.toml` → checked configuration.
//!
//! Text → what was written (a tree in which each key and value knows its place) → what it means ([`Config`]). Reading is
//! strict, and collects every fault at once; each is reported with file, line, column, the text underlined and what would be
//! right. Presets are the same TOML, compiled in; a destination lays its own keys over one, key by key.
//!
//! Promises: after [`Config::load`] nothing about the configuration can fail; a decision about a conversion is pure; no
//! credential stands in a report, nor what a `${env:…}` or `${file:…}` stood for. Reads files and the environment it is
//! given while loading, and afterwards nothing but the files of a golden that is proven; speaks to no network.

mod files;
mod units;
mod disk;
mod interpolate;
mod tree;
mod report;
mod keys;
mod server;
mod merchant;
mod range;
mod preset;
mod fields;
mod rendering;
mod message;
mod difference;
mod golden;
mod destination;
mod load;
mod find;
mod succession;
mod schema;
mod summary;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod laws;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::conversion::{DestinationName, EventKind};
use crate::mapping::{AnswerCondition, Capture, Condition, RequestTemplate, Scope, Secret};

pub use difference::{Difference, Place, changes};
pub use fields::preset_fields;
pub use find::{NotFound, ReadError, find, read};
pub use golden::{Expected, Failure, Golden, Proof};
pub use load::Source;
pub use message::MessageError;
pub use preset::presets;
pub use rendering::{Outcome, Rendering, Sample, SampleError};
use report::Faults;
pub use report::{Located, Report, Severity};
pub use schema::routes_schema;
pub use succession::Succession;
pub use units::older_than;

/// The checked configuration: after loading nothing about it can fail.
#[derive(Debug)]
pub struct Config {
    /// How the relay listens.
    pub server: Server,
    /// Where it keeps what it has accepted.
    pub queue: QueueSettings,
    /// In the order of the file.
    pub merchants: Vec<Arc<Merchant>>,
    /// In the order of the file.
    pub destinations: Vec<Arc<Destination>>,
    /// What is taken as it is, and probably not meant; no faults.
    pub warnings: Report,
}

/// `[server]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Server {
    /// Address of the public listener.
    pub listen: SocketAddr,
    /// What it speaks.
    pub transport: Transport,
    /// A proxy in front ends TLS and names the client.
    pub behind_proxy: bool,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    /// SHA-256 of the admin bearer token; always present beyond loopback.
    pub admin_token_sha256: Option<[u8; 32]>,
    /// Largest request body.
    pub body_bytes_max: usize,
    /// Most connections at once.
    pub connections_max: usize,
    /// From the first byte of a request to its whole body.
    pub request_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// How long a stopping relay waits for what is in hand.
    pub drain_timeout: Duration,
    /// How it logs.
    pub log: LogFormat,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the public listener speaks.
#[derive(Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP in the clear: on loopback, or behind a proxy that ends TLS.
    Plain,
    /// TLS with a certificate of the operator's.
    Files {
        /// PEM, leaf first.
        cert: PathBuf,
        /// PEM.
        key: PathBuf,
    },
    /// TLS with a certificate made at start: for a trial.
    SelfSigned,
}

/// `[queue]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// The data folder.
    pub path: PathBuf,
    /// Whether a file system that forgets at a restart will do.
    pub allow_volatile: bool,
    /// Stored bytes of undelivered conversions, beyond which nothing is accepted.
    pub pending_bytes_max: u64,
    /// Free bytes of the disk, below which nothing is accepted.
    pub free_bytes_min: u64,
    /// How long a repeat is recognised.
    pub dedup_window: Duration,
    /// How long the status of a settled conversion is kept; never shorter than `dedup_window`.
    pub history_keep: Duration,
}

/// So many per period; `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long.
    pub per: Duration,
    /// How many at once.
    pub burst: NonZeroU32,
}

/// `[merchant.NAME]`.
#[derive(Debug)]
pub struct Merchant {
    /// As in the file.
    pub name: Arc<str>,
    /// SHA-256 of each valid token (two at once while one is being changed).
    pub token_sha256: Vec<[u8; 32]>,
    /// Conversions, batch items counted one by one.
    pub rate: Option<Rate>,
    /// `None`: all.
    pub destinations: Option<BTreeSet<DestinationName>>,
}

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
    /// How fast and how long.
    pub limits: Limits,
    /// When a delivery is attempted again, and when given up.
    pub retry: Retry,
    /// What a refused consent means.
    pub consent: Consent,
    /// What becomes of test conversions.
    pub test: TestConversions,
    /// The only currency that it takes.
    pub expect_currency: Option<String>,
    /// Older conversions become dead letters.
    pub max_age: Option<Duration>,
    /// Every secret value, for masking answers' excerpts.
    pub secrets: Vec<Secret>,
    /// An extra root for this destination.
    pub ca_file: Option<CaFile>,
    /// Cases kept beside the configuration.
    pub goldens: Vec<Golden>,
}

/// A file of certificates, as it was when the configuration was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaFile {
    /// Where it was read.
    pub path: PathBuf,
    /// What was in it; not yet known to be PEM.
    pub pem: Vec<u8>,
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
    /// What becomes of a conversion that no request can be made of.
    pub on_unmappable: OnUnmappable,
    /// The output that the platform deduplicates on: `header.Idempotency-Key`, `map.externalId`.
    pub idempotency: Option<String>,
    /// What a request without an answer means.
    pub on_ambiguous: OnAmbiguous,
    /// A rate of its own, beside the destination's; `None`: it shares that one.
    pub rate: Option<Rate>,
    /// What the answer means.
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
    /// From sending to the whole answer.
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
    fn fate(self) -> &'static str {
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

/// What becomes of a conversion at one destination.
#[derive(Debug)]
pub enum Decision<'a> {
    /// It is sent so.
    Send(&'a Operation),
    /// No operation applies, another currency is expected, a test conversion without a test switch.
    Skipped(String),
    /// Consent is refused.
    Withheld(String),
    /// A refund or adjustment that the destination has no call for.
    Unsupported(String),
}

impl Config {
    /// Reads and checks a configuration; every fault at once.
    pub fn load(source: Source<'_>) -> Result<Config, Report> {
        load::load(source, presets(), Faults::default(), &|_| ())
    }

    /// Likewise, telling `reading` of each file that the text names (`${file:…}`, `ca_file`) before that is read, or found to
    /// be missing: who watches them misses no change.
    pub fn load_telling(source: Source<'_>, reading: &dyn Fn(&Path)) -> Result<Config, Report> {
        load::load(source, presets(), Faults::default(), reading)
    }

    /// Likewise, where the relay does not serve: a `${…}` of a secret or of a token's digest that comes to nothing is stood
    /// in for, and TLS files may be missing. Good for everything that shows requests masked; never for sending.
    pub fn load_without_secrets(source: Source<'_>) -> Result<Config, Report> {
        load::load(source, presets(), Faults::elsewhere(), &|_| ())
    }

    /// Likewise with these presets, by name and TOML, in the place of those that are compiled in: how a preset is tried
    /// before it is one.
    pub fn load_with_presets(source: Source<'_>, presets: &[(&str, &str)]) -> Result<Config, Report> {
        load::load(source, presets, Faults::default(), &|_| ())
    }

    /// The destination of that name.
    pub fn destination(&self, name: &str) -> Option<&Arc<Destination>> {
        self.destinations.iter().find(|destination| destination.name.as_str() == name)
    }

    /// What each of the merchant's destinations is owed of this conversion, in configuration order.
    pub fn plan<'a>(&'a self, merchant: &Merchant, scope: Scope<'_>) -> Vec<(DestinationName, Decision<'a>)> {
        let chosen = |destination: &&Arc<Destination>| merchant.sends_to(&destination.name);
        let decided = |destination: &'a Arc<Destination>| (destination.name.clone(), destination.decide(scope));
        self.destinations.iter().filter(chosen).map(decided).collect()
    }

    /// What `capi-relay check` prints when all is right.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

impl Merchant {
    /// Whether what it sends goes there.
    pub fn sends_to(&self, destination: &DestinationName) -> bool {
        self.destinations.as_ref().is_none_or(|chosen| chosen.contains(destination))
    }
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

    /// Pure: the same conversion gets the same decision until the configuration changes.
    pub fn decide(&self, scope: Scope<'_>) -> Decision<'_> {
        let conversion = scope.conversion;
        let kind = conversion.kind();
        let mut supporting = self.operations.iter().filter(|operation| operation.serves(kind)).peekable();
        if supporting.peek().is_none() {
            return none_applies(kind, format!("no operation for a conversion of kind {}", word(kind)));
        }
        if self.consent == Consent::Require && conversion.tracking_consent() == Some(false) {
            return Decision::Withheld("consent.tracking is false".to_owned());
        }
        if self.test == TestConversions::Skip && conversion.is_test() {
            return Decision::Skipped("a test conversion, and this destination has no test switch".to_owned());
        }
        if let (Some(expected), Some(currency)) = (self.expect_currency.as_deref(), conversion.currency())
            && expected != currency
        {
            return none_applies(kind, format!("currency is {currency}, and expect_currency is {expected}"));
        }
        let mut unmet = Vec::new();
        for operation in supporting {
            match operation.unmet(scope) {
                Some(reason) if unmet.contains(&reason) => {}
                Some(reason) => unmet.push(reason),
                None => return operation.chosen(),
            }
        }
        none_applies(kind, format!("does not apply: {}", unmet.join("; ")))
    }
}

/// A conversion that is not the destination's is left out; a refund or adjustment that it has no call for must be seen.
fn none_applies(kind: EventKind, reason: String) -> Decision<'static> {
    match kind {
        EventKind::Conversion => Decision::Skipped(reason),
        EventKind::Refund | EventKind::Adjustment => Decision::Unsupported(reason),
    }
}

impl Operation {
    fn serves(&self, kind: EventKind) -> bool {
        self.kind.is_none_or(|own| own == kind)
    }

    /// Why it does not apply; `None`: it does.
    fn unmet<'a>(&'a self, scope: Scope<'_>) -> Option<Cow<'a, str>> {
        let unmet = |condition: &'a Option<Condition>| condition.as_ref().and_then(|condition| condition.unmet(scope));
        match (unmet(&self.when), &self.otherwise) {
            (Some(reason), None) => Some(Cow::Borrowed(reason)),
            (Some(reason), Some(words)) => Some(Cow::Owned(format!("{words} ({reason})"))),
            (None, _) => unmet(&self.only_when).map(Cow::Borrowed),
        }
    }

    fn chosen(&self) -> Decision<'_> {
        match self.request.lacks() {
            None => Decision::Send(self),
            Some(lacks) => Decision::Unsupported(format!("operation {} needs {lacks}, which is not set", self.name)),
        }
    }
}

fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Conversion => "conversion",
        EventKind::Refund => "refund",
        EventKind::Adjustment => "adjustment",
    }
}

/// A right configuration in a few lines.
#[derive(Debug)]
pub struct Summary<'a>(&'a Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { server, queue, merchants, destinations, warnings: _ } = self.0;
        let transport = match server.transport {
            Transport::Plain => "plain HTTP",
            Transport::Files { .. } => "TLS",
            Transport::SelfSigned => "TLS, self-signed",
        };
        writeln!(f, "listen      {} ({transport}), admin {}", server.listen, server.admin)?;
        writeln!(f, "queue       {}", queue.path.display())?;
        for merchant in merchants {
            let destinations = match &merchant.destinations {
                None => "all destinations".to_owned(),
                Some(chosen) => chosen.iter().map(DestinationName::as_str).collect::<Vec<_>>().join(", "),
            };
            writeln!(f, "merchant    {}: {destinations}", merchant.name)?;
        }
        for destination in destinations {
            writeln!(f, "destination {destination}")?;
        }
        Ok(())
    }
}
