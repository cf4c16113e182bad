//! `GET /admin/destinations`: each destination from near, so that one page tells what is stuck and why.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::Admin;
use super::concerns::{self, Known};
use crate::config::Rate;
use crate::conversion::{ConversionId, DestinationName};
use crate::delivery::{
    Activity, Breaker, BreakerCause, BreakerState, Latency, PoolDetail, PoolState, Rates, RefusedCredential, Trouble,
};
use crate::ingress::problem::{self, Problem, Reply};
use crate::ingress::view::{Shown, instant, verdicts};
use crate::queue::{DeadCounts, Depth, Depths};

impl Admin {
    pub(super) fn destinations(&self) -> Reply {
        let (depths, config, now_ms) = (self.queue.depths(), self.ingress.config(), self.now_ms());
        let details = self.pools.details(&depths);
        let known = Known::all(&details, &depths, &config, now_ms);
        let mut views = Vec::new();
        views.extend(known.iter().map(|known| DestinationView::new(known, now_ms)));
        let removed = unconfigured(&depths, &details);
        views.extend(removed.into_iter().map(|(name, depth)| DestinationView::removed(name, depth, now_ms)));
        problem::json(StatusCode::OK, &DestinationsView { destinations: views })
    }

    pub(super) fn destination(&self, name: &str) -> Result<Reply, Problem> {
        let (depths, now_ms) = (self.queue.depths(), self.now_ms());
        let details = self.pools.details(&depths);
        let Some(detail) = details.iter().find(|detail| detail.state.destination.as_str() == name) else {
            let removed = unconfigured(&depths, &details).into_iter().find(|(removed, _)| removed.as_str() == name);
            let (removed, depth) = removed.ok_or_else(|| self.no_destination())?;
            return Ok(problem::json(StatusCode::OK, &DestinationView::removed(removed, depth, now_ms)));
        };
        Ok(problem::json(StatusCode::OK, &self.seen(detail, &depths)))
    }

    /// One that is configured.
    pub(super) fn seen<'a>(&self, detail: &'a PoolDetail, depths: &Depths) -> DestinationView<'a> {
        let now_ms = self.now_ms();
        let known = Known::of(detail, depths, &self.ingress.config(), now_ms);
        DestinationView::new(&known, now_ms)
    }
}

/// All destinations, in configuration order; then those that are no longer configured and for which something is kept.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Destinations")]
pub(super) struct DestinationsView<'a> {
    destinations: Vec<DestinationView<'a>>,
}

/// One destination as it is now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Destination")]
pub(super) struct DestinationView<'a> {
    name: &'a str,
    /// `removed`: it is no longer configured, and its work is held.
    #[schemars(schema_with = "states_and_removed")]
    state: &'static str,
    #[schemars(with = "Option<jiff::Timestamp>")]
    since: Option<Shown<jiff::Timestamp>>,
    reason: Option<&'a str>,
    pending: u64,
    oldest_pending_s: Option<u64>,
    dead: u64,
    /// The same by kind, of those kinds that there are.
    dead_kinds: BTreeMap<&'static str, u64>,
    /// Why it is as it is now, in the words of the page, the worst first; nothing when all is well.
    concerns: Vec<String>,
    /// Attempts that may be in flight now.
    concurrency: usize,
    /// The most that may ever be: `limits.concurrency`.
    concurrency_limit: usize,
    in_flight: usize,
    /// The most requests; nothing where that is not limited.
    quota: Option<QuotaView>,
    rates: RatesView,
    attempts: Option<LatencyView>,
    breaker: BreakerView,
    refused_credentials: Vec<RefusedView<'a>>,
    last_error: Option<&'a str>,
    /// Newest first, at most ten, since the start or since the destination's configuration changed.
    last_errors: Vec<ErrorView<'a>>,
}

/// `limits.rate` and `limits.burst`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Quota")]
pub(super) struct QuotaView {
    /// As in `50/s`.
    rate: String,
    burst: u32,
}

/// Attempts that ended per second, over the last minute.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rates")]
struct RatesView {
    /// Duplicates among them.
    delivered: f64,
    /// To be attempted again.
    retried: f64,
    /// Refused for good.
    rejected: f64,
}

/// How long the attempts of the last five minutes took, at most a sixteenth too much; nothing where there was none.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Latency")]
pub(super) struct LatencyView {
    count: u64,
    p50_ms: u64,
    p99_ms: u64,
}

/// `closed`: everything goes; `open`: nothing before the next probe; `half_open`: a probe is under way.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Breaker")]
pub(super) struct BreakerView {
    #[schemars(schema_with = "breaker_states")]
    state: &'static str,
    /// Why it is not closed.
    #[schemars(schema_with = "breaker_causes")]
    cause: Option<&'static str>,
    /// In a row; ten open it, and each probe of an open one that fails is another.
    failures: u32,
    #[schemars(with = "Option<jiff::Timestamp>")]
    next_probe_at: Option<Shown<jiff::Timestamp>>,
    /// The platform asked that nothing is sent before (`Retry-After`).
    #[schemars(with = "Option<jiff::Timestamp>")]
    held_back_until: Option<Shown<jiff::Timestamp>>,
}

/// A credential that the platform refuses: what these operations have to do waits.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RefusedCredential")]
struct RefusedView<'a> {
    operations: &'a [String],
    reason: &'a str,
    /// Nothing: it is being tried.
    #[schemars(with = "Option<jiff::Timestamp>")]
    next_probe_at: Option<Shown<jiff::Timestamp>>,
}

/// An attempt that did not end well, or a delivery that no request could be made of.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DestinationError")]
struct ErrorView<'a> {
    #[schemars(with = "Option<jiff::Timestamp>")]
    at: Option<Shown<jiff::Timestamp>>,
    #[schemars(schema_with = "verdicts")]
    verdict: &'static str,
    status: Option<u16>,
    excerpt: Option<&'a str>,
    /// The conversion's.
    #[schemars(with = "uuid::Uuid")]
    id: Shown<&'a ConversionId>,
}

impl<'a> DestinationView<'a> {
    fn new(known: &Known<'a>, now_ms: u64) -> DestinationView<'a> {
        let Known { detail, depth, .. } = known;
        let PoolDetail { state: pool, concurrency_max, quota, breaker, refused, rates, latency, errors } = detail;
        let PoolState { destination, state, since_ms, reason, concurrency, in_flight, last_error } = pool;
        DestinationView {
            name: destination.as_str(),
            state: state.as_str(),
            since: since_ms.and_then(instant),
            reason: reason.as_deref(),
            pending: depth.pending,
            oldest_pending_s: depth.oldest_pending_ms.map(|oldest_ms| seconds_between(oldest_ms, now_ms)),
            dead: depth.dead.total(),
            dead_kinds: kinds(&depth.dead),
            concerns: concerns::of_destination(known, now_ms),
            concurrency: *concurrency,
            concurrency_limit: *concurrency_max,
            in_flight: *in_flight,
            quota: quota.map(QuotaView::from),
            rates: (*rates).into(),
            attempts: latency.map(LatencyView::from),
            breaker: (*breaker).into(),
            refused_credentials: refused.iter().map(RefusedView::new).collect(),
            last_error: last_error.as_deref(),
            last_errors: errors.iter().map(ErrorView::new).collect(),
        }
    }
}

impl<'a> DestinationView<'a> {
    /// Of one that is no longer configured: what is kept of it.
    fn removed(name: &'a DestinationName, depth: &Depth, now_ms: u64) -> DestinationView<'a> {
        let closed = BreakerView {
            state: BreakerState::Closed.as_str(),
            cause: None,
            failures: 0,
            next_probe_at: None,
            held_back_until: None,
        };
        DestinationView {
            name: name.as_str(),
            state: REMOVED,
            // Nobody knows.
            since: None,
            reason: Some(NOT_CONFIGURED),
            pending: depth.pending,
            oldest_pending_s: depth.oldest_pending_ms.map(|oldest_ms| seconds_between(oldest_ms, now_ms)),
            dead: depth.dead.total(),
            dead_kinds: kinds(&depth.dead),
            concerns: vec![concerns::GONE.to_owned()],
            concurrency: 0,
            concurrency_limit: 0,
            in_flight: 0,
            quota: None,
            rates: Rates::default().into(),
            attempts: None,
            breaker: closed,
            refused_credentials: Vec::new(),
            last_error: None,
            last_errors: Vec::new(),
        }
    }
}

/// Destinations that are no longer configured and for which something is kept.
pub(super) fn unconfigured<'d>(depths: &'d Depths, known: &[PoolDetail]) -> Vec<(&'d DestinationName, &'d Depth)> {
    let is_known = |name: &DestinationName| known.iter().any(|known| known.state.destination == *name);
    let left = depths
        .destinations
        .iter()
        .filter(|(name, depth)| !is_known(name) && (depth.pending > 0 || depth.dead.total() > 0));
    left.collect()
}

impl From<Rate> for QuotaView {
    fn from(rate: Rate) -> QuotaView {
        QuotaView { rate: rate.written(), burst: rate.burst.get() }
    }
}

impl From<Rates> for RatesView {
    fn from(Rates { delivered, retried, rejected }: Rates) -> RatesView {
        RatesView { delivered, retried, rejected }
    }
}

impl From<Latency> for LatencyView {
    fn from(Latency { attempts, p50_ms, p99_ms }: Latency) -> LatencyView {
        LatencyView { count: attempts, p50_ms, p99_ms }
    }
}

impl From<Breaker> for BreakerView {
    fn from(breaker: Breaker) -> BreakerView {
        BreakerView {
            state: breaker.state.as_str(),
            cause: breaker.cause.map(BreakerCause::as_str),
            failures: breaker.failures,
            next_probe_at: breaker.next_probe_ms.and_then(instant),
            held_back_until: breaker.held_back_until_ms.and_then(instant),
        }
    }
}

impl<'a> RefusedView<'a> {
    fn new(refused: &'a RefusedCredential) -> RefusedView<'a> {
        let RefusedCredential { operations, reason, next_probe_ms } = refused;
        RefusedView { operations, reason, next_probe_at: next_probe_ms.and_then(instant) }
    }
}

impl<'a> ErrorView<'a> {
    fn new(trouble: &'a Trouble) -> ErrorView<'a> {
        let Trouble { at_ms, verdict, status, excerpt, id } = trouble;
        ErrorView {
            at: instant(*at_ms),
            verdict: verdict.as_str(),
            status: *status,
            excerpt: excerpt.as_deref(),
            id: Shown(id),
        }
    }
}

pub(super) fn states(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Activity::ALL.map(Activity::as_str) })
}

/// As [`states`], and of one that is no longer configured.
fn states_and_removed(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<&str> = Activity::ALL.map(Activity::as_str).into_iter().chain([REMOVED]).collect();
    json_schema!({ "type": "string", "enum": words })
}

fn breaker_states(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": BreakerState::ALL.map(BreakerState::as_str) })
}

fn breaker_causes(_: &mut SchemaGenerator) -> Schema {
    let words = BreakerCause::ALL.map(BreakerCause::as_str).map(Some).into_iter().chain([None]).collect::<Vec<_>>();
    json_schema!({ "enum": words })
}

fn kinds(dead: &DeadCounts) -> BTreeMap<&'static str, u64> {
    dead.by_kind().filter(|(_kind, count)| *count > 0).map(|(kind, count)| (kind.as_str(), count)).collect()
}

fn seconds_between(earlier_ms: u64, later_ms: u64) -> u64 {
    Duration::from_millis(later_ms.saturating_sub(earlier_ms)).as_secs()
}

const REMOVED: &str = "removed";
const NOT_CONFIGURED: &str = "it is no longer configured";
