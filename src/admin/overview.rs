//! `GET /admin/overview`: the relay at one glance, as the status page shows it.

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::Admin;
use super::concerns::{self, ConcernView, Facts, Known};
use super::destinations::{BreakerView, LatencyView, QuotaView, states, unconfigured};
use super::picture::{Picture, Tile, json};
use super::reload::LastReload;
use crate::conversion::DestinationName;
use crate::delivery::{Beat, PoolState, Pulsed};
use crate::ingress::Phase;
use crate::ingress::problem::{Reply, body};
use crate::ingress::view::{Shown, instant};
use crate::queue::Depth;

impl Admin {
    pub(super) async fn overview(&self) -> Reply {
        body(StatusCode::OK, "application/json", self.picture().await.whole().into_bytes())
    }

    /// How things are now.
    pub(super) async fn picture(&self) -> Picture {
        let config = self.ingress.config();
        let depths = self.queue.depths();
        let (details, pulses) = (self.pools.details(&depths), self.pools.pulses());
        let now_ms = self.ingress.clock().unix_ms();
        let last_reload = self.reloads.last();
        let facts = Facts {
            now_ms,
            phase: self.ingress.phase(),
            failed: self.failed().await,
            queue_bytes: depths.pending_bytes,
            queue_bytes_max: config.queue.pending_bytes_max,
            disk: self.queue.disk(),
            refused: last_reload.as_ref().filter(|last| last.refusal.is_some()),
        };
        let known = Known::all(&details, &depths, &config, now_ms);
        let left = unconfigured(&depths, &details);
        let concerns = concerns::of(&facts, &known, &left);
        let relay = RelayView {
            version: env!("CARGO_PKG_VERSION"),
            started_at: instant(self.started_ms),
            phase: phase_word(facts.phase),
            queue_bytes: facts.queue_bytes,
            queue_bytes_max: facts.queue_bytes_max,
            disk_free_bytes: facts.disk.free_bytes.map(whole_mebibytes),
            disk_free_bytes_min: facts.disk.free_bytes_min,
            config_version: self.reloads.version(),
            last_reload: last_reload.as_ref().map(ReloadView::new),
        };
        let tiles = known.iter().map(|known| {
            let name = &known.detail.state.destination;
            let pulse = pulses.iter().find(|pulse| pulse.destination == *name);
            let view = |beats| json(&TileView::new(known, pulse, beats));
            Tile { name: name.clone(), news: view(NEWS_BEATS), whole: view(usize::MAX) }
        });
        let concerns: Vec<_> = concerns.iter().map(ConcernView::new).collect();
        let removed: Vec<_> = left.iter().map(|(name, depth)| RemovedView::new(name, depth)).collect();
        let (relay, concerns, removed) = (json(&relay), json(&concerns), json(&removed));
        Picture { now_ms, relay, concerns, removed, tiles: tiles.collect() }
    }
}

/// The relay at one glance.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Overview")]
pub(super) struct OverviewView<'a> {
    #[schemars(with = "Option<jiff::Timestamp>")]
    now: Option<Shown<jiff::Timestamp>>,
    relay: RelayView<'a>,
    /// What a person should know of, worst first; nothing when all is well.
    concerns: Vec<ConcernView<'a>>,
    destinations: Vec<TileView<'a>>,
    removed: Vec<RemovedView<'a>>,
}

/// A destination that is configured no more, and for which something is kept.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RemovedTile")]
struct RemovedView<'a> {
    name: &'a str,
    pending: u64,
    dead: u64,
}

impl<'a> RemovedView<'a> {
    fn new(name: &'a DestinationName, depth: &Depth) -> RemovedView<'a> {
        RemovedView { name: name.as_str(), pending: depth.pending, dead: depth.dead.total() }
    }
}

/// The relay as a whole.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RelayState")]
struct RelayView<'a> {
    version: &'a str,
    #[schemars(with = "Option<jiff::Timestamp>")]
    started_at: Option<Shown<jiff::Timestamp>>,
    #[schemars(schema_with = "phases")]
    phase: &'static str,
    /// Stored bytes of conversions still owed to someone.
    queue_bytes: u64,
    queue_bytes_max: u64,
    /// On the queue's file system, in whole MiB; nothing where the system does not say.
    disk_free_bytes: Option<u64>,
    disk_free_bytes_min: u64,
    /// Counted from 1, that of the start.
    config_version: u64,
    /// The last reload since the start, whoever wished it.
    last_reload: Option<ReloadView<'a>>,
}

/// What came of a reload.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LastReload")]
struct ReloadView<'a> {
    #[schemars(with = "Option<jiff::Timestamp>")]
    at: Option<Shown<jiff::Timestamp>>,
    #[schemars(schema_with = "reload_results")]
    result: &'static str,
    /// Why it was refused.
    report: Option<&'a str>,
}

impl<'a> ReloadView<'a> {
    fn new(last: &'a LastReload) -> ReloadView<'a> {
        let result = if last.refusal.is_some() { "refused" } else { "reloaded" };
        ReloadView { at: instant(last.at_ms), result, report: last.refusal.as_deref() }
    }
}

/// A destination at one glance; `GET /admin/destinations/{name}` tells more.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Tile")]
struct TileView<'a> {
    name: &'a str,
    #[schemars(schema_with = "states")]
    state: &'static str,
    #[schemars(with = "Option<jiff::Timestamp>")]
    since: Option<Shown<jiff::Timestamp>>,
    reason: Option<&'a str>,
    pending: u64,
    /// When the oldest that is pending was received.
    #[schemars(with = "Option<jiff::Timestamp>")]
    oldest_pending_at: Option<Shown<jiff::Timestamp>>,
    /// When the time of the oldest that is pending is over (`retry.give_up_after`): it becomes a dead letter about then, where
    /// nothing holds it.
    #[schemars(with = "Option<jiff::Timestamp>")]
    gives_up_at: Option<Shown<jiff::Timestamp>>,
    dead: u64,
    /// Since the start of the process.
    delivered: u64,
    concurrency: usize,
    concurrency_limit: usize,
    in_flight: usize,
    quota: Option<QuotaView>,
    attempts: Option<LatencyView>,
    breaker: BreakerView,
    last_error: Option<&'a str>,
    /// Of the last fifteen minutes, oldest first, those in which nothing happened left out; the last two alone in an event.
    beats: Vec<BeatView>,
}

/// What happened within fifteen seconds.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Beat")]
struct BeatView {
    /// When they began.
    #[schemars(with = "Option<jiff::Timestamp>")]
    at: Option<Shown<jiff::Timestamp>>,
    /// Deliveries that the platform took, or had already.
    delivered: u32,
    /// Attempts after which another one follows.
    retried: u32,
    /// Deliveries given up.
    dead: u32,
    /// How long an attempt took; nothing where there was none.
    mean_ms: Option<u64>,
    longest_ms: u64,
}

impl<'a> TileView<'a> {
    /// With so many beats at most, the last ones.
    fn new(known: &Known<'a>, pulse: Option<&Pulsed>, beats_max: usize) -> TileView<'a> {
        let Known { detail, depth, gives_up_ms, .. } = known;
        let PoolState { destination, state, since_ms, reason, concurrency, in_flight, last_error } = &detail.state;
        let beats = pulse.map_or(&[][..], |pulse| pulse.beats.as_slice());
        let old = beats.len().saturating_sub(beats_max);
        TileView {
            name: destination.as_str(),
            state: state.as_str(),
            since: since_ms.and_then(instant),
            reason: reason.as_deref(),
            pending: depth.pending,
            oldest_pending_at: depth.oldest_pending_ms.and_then(instant),
            gives_up_at: gives_up_ms.and_then(instant),
            dead: depth.dead.total(),
            delivered: pulse.map_or(0, |pulse| pulse.delivered),
            concurrency: *concurrency,
            concurrency_limit: detail.concurrency_max,
            in_flight: *in_flight,
            quota: detail.quota.map(QuotaView::from),
            attempts: detail.latency.map(LatencyView::from),
            breaker: detail.breaker.into(),
            last_error: last_error.as_deref(),
            beats: beats.iter().skip(old).map(BeatView::new).collect(),
        }
    }
}

impl BeatView {
    fn new(beat: &Beat) -> BeatView {
        let Beat { at_ms, delivered, retried, dead, attempts, total_ms, longest_ms } = *beat;
        let mean_ms = total_ms.checked_div(u64::from(attempts));
        BeatView { at: instant(at_ms), delivered, retried, dead, mean_ms, longest_ms }
    }
}

/// What others write on the same disk is no news.
fn whole_mebibytes(bytes: u64) -> u64 {
    bytes & !0xF_FFFF
}

const fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Starting => "starting",
        Phase::Serving => "serving",
        Phase::Draining => "draining",
    }
}

fn phases(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["starting", "serving", "draining"] })
}

fn reload_results(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": ["reloaded", "refused"] })
}

/// The beat that is under way, and the one before: it may have ended since it was told.
const NEWS_BEATS: usize = 2;
