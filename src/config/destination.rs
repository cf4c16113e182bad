//! `[destination.NAME]`: what was written, preset and overrides together, and what it means.

mod auth;
mod build;
pub(super) mod certificates;
pub(super) mod checked;
mod conditions;
pub(super) mod confirm;
pub(super) mod connection;
mod deduplication;
mod judgement;
mod operation;
mod outputs;
pub(super) mod proxy;
mod test_switch;
mod vars;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;
use std::time::Duration;

use self::operation::Written as WrittenOperation;
use super::disk::Disk;
use super::files::Files;
use super::golden::goldens;
use super::keys::{At, Keys, did_you_mean, text};
use super::preset::{Needs, Preset, prepare};
use super::report::Faults;
use super::tree::{Entry, Node, Table, Value};
use super::units::written_duration;
use super::{Budget, Connection, Consent, Environment, Golden, Limits, Overflow, Rate, Retry};
use crate::conversion::EventKind;
use crate::mapping::Text;

pub(super) use build::build;

/// A destination with its preset below it, still as text.
pub(super) struct Source {
    key: Text,
    table: Table,
    preset: Option<(String, Needs)>,
}

/// What was written of one destination.
pub(super) struct Written<'t> {
    pub(super) key: &'t Text,
    pub(super) fingerprint: u64,
    pub(super) preset: Option<&'t str>,
    pub(super) needs: Option<&'t Needs>,
    pub(super) vars: &'t [Entry],
    pub(super) secrets: &'t [Entry],
    pub(super) origin: Option<Text>,
    conversion: WrittenOperation<'t>,
    operations: Vec<Named<'t>>,
    pub(super) expect_currency: Option<Text>,
    pub(super) max_age: Option<At<Duration>>,
    pub(super) consent: Option<Consent>,
    pub(super) traceparent: Option<bool>,
    pub(super) budget: Option<Budget>,
    pub(super) dedup_window: Option<At<Duration>>,
    pub(super) limits: Limits,
    pub(super) retry: WrittenRetry,
    pub(super) connection: Connection,
    pub(super) goldens: Vec<Golden>,
    /// A table in it has an unknown name: what is missing may stand there, and the name is a fault already.
    pub(super) strays: bool,
}

/// `operation.NAME`.
struct Named<'t> {
    key: &'t Text,
    kind: Option<EventKind>,
    rate: Option<Rate>,
    written: WrittenOperation<'t>,
    /// Which is a fault already: nothing else is said of it.
    is_misspelt: bool,
}

impl<'t> Named<'t> {
    fn with_name(&self) -> (&'t str, &WrittenOperation<'t>) {
        (self.key.value.as_str(), &self.written)
    }
}

/// `retry`, each with its place where it was given.
#[derive(Default)]
pub(super) struct WrittenRetry {
    pub(super) first: Option<At<Duration>>,
    pub(super) max: Option<At<Duration>>,
    pub(super) give_up_after: Option<At<Duration>>,
}

impl Source {
    /// Lays a destination over the preset that it names.
    pub(super) fn new(
        entry: Entry,
        presets: &[(&str, &str)],
        files: &mut Files,
        faults: &mut Faults,
    ) -> Option<Source> {
        let Entry { key, node: Node { span: _, value } } = entry;
        let Value::Table(mut table) = value else {
            faults.at(key.span, format!("destination `{}` must be a table", key.value));
            return None;
        };
        if let Some(needs) = table.remove("needs") {
            let message = "`needs` is for presets";
            faults.with_help(needs.key.span, message, "a destination declares its vars and secrets by giving them");
        }
        connection::in_plain_sight(&table, files, faults);
        prepare(&mut table, files, faults);
        let preset = match table.remove("preset") {
            None => None,
            Some(entry) => {
                let name = text("preset", &entry.node, faults)?.clone();
                let preset = Preset::named(&name, presets, files, faults)?;
                let (laid, needs) = preset.under(table, &name.value, faults);
                table = laid;
                Some((name.value, needs))
            }
        };
        Some(Source { key, table, preset })
    }

    /// Reads every key of it; `merchants` are those of the file.
    pub(super) fn read(
        &self,
        disk: &Disk<'_>,
        environment: Environment<'_>,
        merchants: &[&str],
        faults: &mut Faults,
    ) -> Written<'_> {
        let mut keys = Keys::new(&self.table, self.key.span.clone());
        let mut written = Written {
            key: &self.key,
            fingerprint: 0,
            strays: false,
            preset: self.preset.as_ref().map(|(name, _)| name.as_str()),
            needs: self.preset.as_ref().map(|(_, needs)| needs),
            vars: keys.entries("vars", faults),
            secrets: keys.entries("secrets", faults),
            origin: keys.text("origin", faults),
            conversion: WrittenOperation::read(&mut keys, faults),
            operations: operations(&mut keys, faults),
            expect_currency: keys.text("expect_currency", faults),
            max_age: keys.duration("max_age", faults),
            consent: keys.choice("consent", &CONSENTS, faults),
            traceparent: keys.flag("traceparent", faults).map(|flag| flag.value),
            budget: budget(&mut keys, faults),
            dedup_window: keys.duration("dedup_window", faults),
            limits: limits(&mut keys, faults),
            retry: retry(&mut keys, faults),
            connection: connection::connection(&mut keys, disk, environment, faults),
            goldens: goldens(&mut keys, &disk.folder, merchants, faults),
        };
        keys.entry("preset");
        for (kind, _) in KINDS {
            keys.belongs(kind, format!("an operation stands under `operation`: `operation.{kind}`"));
        }
        written.strays = keys.strays();
        keys.finish("a destination", faults);
        self.unused_secrets(written.secrets, faults);
        written.fingerprint = self.fingerprint(&written.connection);
        written
    }

    /// A secret that nothing names is a credential that is not sent. Those of a preset are the preset's business.
    fn unused_secrets(&self, secrets: &[Entry], faults: &mut Faults) {
        for Entry { key, .. } in secrets.iter().filter(|_| self.preset.is_none()) {
            let name = format!("secrets.{}", key.value);
            if !self.table.names(&name) {
                let help = format!("name it as `{{{name}}}` in `auth` or a header, or leave it out");
                faults.warn(key.span.clone(), format!("nothing uses `{name}`"), help);
            }
        }
    }

    fn fingerprint(&self, connection: &Connection) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.table.feed(&mut hasher);
        // What stands behind the same path may be another root.
        connection.hash(&mut hasher);
        hasher.finish()
    }
}

fn operations<'t>(keys: &mut Keys<'t>, faults: &mut Faults) -> Vec<Named<'t>> {
    let mut operations = Vec::new();
    for entry in keys.entries("operation", faults) {
        let Some(mut keys) = Keys::of(entry, faults) else { continue };
        let kind = keys.choice("kind", &KINDS, faults);
        let rate = own_rate(&mut keys, faults);
        let written = WrittenOperation::read(&mut keys, faults);
        for key in OF_THE_DESTINATION {
            keys.belongs(key, format!("`{key}` belongs to the destination, and holds for all its operations"));
        }
        let says_kind = keys.entry("kind").is_some();
        keys.finish("an operation", faults);
        let named = KINDS.iter().find(|(word, _)| *word == entry.key.value).map(|(_, kind)| *kind);
        let is_misspelt = kind.or(named).is_none() && misspelt(&entry.key, faults);
        if kind.or(named).is_none() && !is_misspelt && !says_kind {
            takes_every_kind(&entry.key, &written, faults);
        }
        operations.push(Named { key: &entry.key, kind: kind.or(named), rate, written, is_misspelt });
    }
    operations
}

/// An operation of another name takes every kind; whether this one is nearly called after a kind, and was meant for that.
fn misspelt(name: &Text, faults: &mut Faults) -> bool {
    let Some(help) = did_you_mean(&name.value, KINDS.iter().map(|(word, _)| *word)) else { return false };
    let message = format!("`{}` is no kind of conversion, and would take them all", name.value);
    faults.with_help(name.span.clone(), message, format!("{help} For another name write `kind` as well"));
    true
}

/// Warns of an operation that says of no kind that it is for that one: it would send a refund as if it were a sale.
fn takes_every_kind(name: &Text, written: &WrittenOperation<'_>, faults: &mut Faults) {
    if written.asks_for_kind() {
        return;
    }
    let message = format!("operation `{}` takes every kind of conversion, refunds and adjustments too", name.value);
    let help = "`kind = \"conversion\"` (or `\"refund\"`, `\"adjustment\"`) says which it is for; where it is for several, let \
                its `when` ask: `kind in ['conversion', 'refund']`";
    faults.warn(name.span.clone(), message, help);
}

/// Connections and their timeouts are the destination's: an operation can only have a rate of its own.
fn own_rate(keys: &mut Keys<'_>, faults: &mut Faults) -> Option<Rate> {
    let mut keys = keys.entry("limits").and_then(|entry| Keys::of(entry, faults))?;
    let rate = keys.rate(faults);
    keys.finish("`limits` of an operation", faults);
    rate
}

/// Reads `max_pending` and `on_overflow`.
fn budget(keys: &mut Keys<'_>, faults: &mut Faults) -> Option<Budget> {
    let pending_max = keys.count("max_pending", faults);
    let overflow = keys.choice("on_overflow", &OVERFLOWS, faults);
    if let (None, Some(entry)) =
        (&pending_max, keys.entry("on_overflow").filter(|_| keys.entry("max_pending").is_none()))
    {
        let help = "`max_pending = 100000`: as many deliveries may wait for it";
        faults.with_help(entry.key.span.clone(), "`on_overflow` says nothing without `max_pending`", help);
    }
    Some(Budget { pending_max: pending_max?.value, overflow: overflow.unwrap_or(Overflow::Refuse) })
}

fn limits(keys: &mut Keys<'_>, faults: &mut Faults) -> Limits {
    let mut limits = Limits {
        rate: None,
        concurrency: CONCURRENCY,
        connect_timeout: CONNECT_TIMEOUT,
        header_timeout: TIMEOUT,
        timeout: TIMEOUT,
    };
    let Some(mut keys) = keys.entry("limits").and_then(|entry| Keys::of(entry, faults)) else { return limits };
    limits.rate = keys.rate(faults);
    limits.concurrency = keys.size("concurrency", faults).unwrap_or(limits.concurrency);
    let (connect, timeout) = (keys.duration("connect_timeout", faults), keys.duration("timeout", faults));
    limits.connect_timeout = connect.as_ref().map_or(limits.connect_timeout, |at| at.value);
    limits.timeout = timeout.as_ref().map_or(limits.timeout, |at| at.value);
    let header = keys.duration("header_timeout", faults);
    limits.header_timeout = header.as_ref().map_or(limits.timeout, |at| at.value);
    if let Some(header) = header.filter(|header| header.value > limits.timeout) {
        let message = format!("`header_timeout` is longer than `timeout` ({})", written_duration(limits.timeout));
        faults.with_help(header.span, message, "the head comes before the whole answer");
    }
    keys.finish("`limits`", faults);
    limits
}

fn retry(keys: &mut Keys<'_>, faults: &mut Faults) -> WrittenRetry {
    let Some(mut keys) = keys.entry("retry").and_then(|entry| Keys::of(entry, faults)) else {
        return WrittenRetry::default();
    };
    let retry = WrittenRetry {
        first: keys.duration("first", faults),
        max: keys.duration("max", faults),
        give_up_after: keys.duration("give_up_after", faults),
    };
    keys.finish("`retry`", faults);
    retry
}

impl WrittenRetry {
    /// What it means beside the windows within which a repeat is recognised: the relay's own, and the platform's where it is
    /// known. A retry beyond one of them would be a second sale.
    fn meaning(&self, dedup_window: Duration, platforms: Option<&At<Duration>>, faults: &mut Faults) -> Retry {
        let shortest = platforms.map_or(dedup_window, |window| window.value.min(dedup_window));
        let given = |at: &Option<At<Duration>>| at.as_ref().map(|at| at.value);
        let retry = Retry {
            first: given(&self.first).unwrap_or(RETRY_FIRST),
            max: given(&self.max).unwrap_or_else(|| RETRY_MAX.max(given(&self.first).unwrap_or(RETRY_FIRST))),
            give_up_after: given(&self.give_up_after).unwrap_or_else(|| GIVE_UP_AFTER.min(shortest)),
        };
        if let Some(max) = self.max.as_ref().filter(|max| max.value < retry.first) {
            faults.at(max.span.clone(), "`retry.max` is shorter than `retry.first`");
        }
        if let Some(after) = self.give_up_after.as_ref().filter(|after| after.value > dedup_window) {
            let window = written_duration(dedup_window);
            let message = format!("`retry.give_up_after` is longer than `queue.dedup_window` ({window})");
            let help = "a conversion posted again while this retry still waits would not be recognised: \
                        lengthen `queue.dedup_window` or give up earlier";
            faults.with_help(after.span.clone(), message, help);
        }
        if let (Some(after), Some(window)) = (&self.give_up_after, platforms)
            && after.value > window.value
        {
            let window = written_duration(window.value);
            let message = format!("`retry.give_up_after` is longer than the platform recognises a repeat ({window})");
            let help = format!(
                "a later retry would be a second sale: `retry.give_up_after = \"{window}\"` or less, or a longer `dedup_window` if the platform has one"
            );
            faults.with_help(after.span.clone(), message, help);
        }
        retry
    }
}

/// Keys that an operation does not have.
const OF_THE_DESTINATION: [&str; 16] = [
    "preset",
    "origin",
    "vars",
    "secrets",
    "expect_currency",
    "max_age",
    "consent",
    "dedup_window",
    "retry",
    "ca_file",
    "client_certificate",
    "proxy",
    "allow_private",
    "traceparent",
    "max_pending",
    "on_overflow",
];

const CONSENTS: [(&str, Consent); 3] =
    [("require", Consent::Require), ("carry", Consent::Carry), ("ignore", Consent::Ignore)];
const OVERFLOWS: [(&str, Overflow); 3] =
    [("refuse", Overflow::Refuse), ("dead_letter", Overflow::DeadLetter), ("skip", Overflow::Skip)];
const KINDS: [(&str, EventKind); 3] =
    [("conversion", EventKind::Conversion), ("refund", EventKind::Refund), ("adjustment", EventKind::Adjustment)];

/// Enough for 160 requests a second at 100 ms each; adaptive concurrency stays below where a destination is slower.
const CONCURRENCY: NonZeroUsize = match NonZeroUsize::new(16) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15 * 60);
const GIVE_UP_AFTER: Duration = Duration::from_secs(72 * 3600);
