//! Pools against a real queue in a temporary folder and platforms on 127.0.0.1.

mod campaign;
mod confirm;
mod cuts;
mod details;
mod operations;
mod parents;
pub(super) mod platform;
mod probes;
mod refusals;
mod reloads;
mod stops;
mod tokens;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::gate::FAILURES_MAX;
use super::*;
use crate::config::Source;
use crate::conversion::{Conversion, ConversionId, Meta, TraceParent};
use crate::queue::{
    Claim, DeadFilter, DeadKind, DeadLetter, DeliveryStatus, Initial, PageRequest, Settings, State, Submission,
    Treatment, Verdict,
};
use platform::{Platform, Reply, Seen};

const SECRET: &str = "s3cr3t/value+1";
/// How long a test waits for a state.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(2);

/// A relay without its listeners.
pub(super) struct Bench {
    pub(super) queue: Queue,
    clock: Clock,
    pub(super) pools: Pools,
    destinations: Vec<DestinationName>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    next_id: AtomicU64,
    folder: tempfile::TempDir,
}

/// One destination in TOML; `more` overrides.
pub(super) fn destination(name: &str, url: &str, more: &str) -> String {
    let mut toml = format!("[destination.{name}]\nmethod = \"POST\"\nurl = \"{url}\"\nbody = \"json\"\n");
    write!(toml, "secrets.token = \"{SECRET}\"\nauth = {{ bearer = \"{{secrets.token}}\" }}\n").unwrap();
    if !more.contains("retry") {
        toml.push_str("retry = { first = \"10ms\", max = \"20ms\", give_up_after = \"1h\" }\n");
    }
    write!(toml, "{more}\n[destination.{name}.map]\nid = \"event_id !\"\norder = \"order_id\"\n").unwrap();
    toml
}

fn load(folder: &Path, destinations: &[String]) -> Config {
    let mut text = "[server]\nlisten = \"127.0.0.1:0\"\nplaintext = true\ndrain_timeout = \"300ms\"\n".to_owned();
    write!(
        text,
        "[queue]\npath = \"{}\"\nallow_volatile = true\nmin_free_bytes = \"1MiB\"\n",
        folder.join("data").display()
    )
    .unwrap();
    write!(text, "[merchant.acme]\ntoken_sha256 = \"{}\"\n", "0".repeat(64)).unwrap();
    text.extend(destinations.iter().map(String::as_str));
    let source = Source { path: folder.join("routes.toml"), text, environment: &|_| None, sets: &[] };
    Config::load(source).unwrap_or_else(|report| panic!("{report}"))
}

impl Bench {
    /// A running relay.
    pub(super) fn start(destinations: &[String]) -> Bench {
        let mut bench = Bench::open(destinations);
        bench.run();
        bench
    }

    fn run(&mut self) {
        let (pools, token) = (self.pools.clone(), self.shutdown.clone());
        self.running = tokio::spawn(async move { pools.run(token).await });
    }

    /// The same, without its pools running.
    pub(super) fn open(destinations: &[String]) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let config = Arc::new(load(folder.path(), destinations));
        let clock = Clock::system();
        let names: Vec<DestinationName> =
            config.destinations.iter().map(|destination| destination.name.clone()).collect();
        let settings = Settings {
            path: config.queue.path.clone(),
            allow_volatile: config.queue.allow_volatile,
            pending_bytes_max: config.queue.pending_bytes_max,
            free_bytes_min: config.queue.free_bytes_min,
            dead_letters_max: config.queue.dead_letters_max,
            dedup_window: config.queue.dedup_window,
            history_keep: config.queue.history_keep,
            encryption: None,
            destinations: names.clone(),
        };
        let queue = Queue::open(settings, clock.clone()).unwrap();
        let pools = Pools::new(&config, queue.clone(), clock.clone(), Traces::default()).unwrap();
        let (shutdown, running) = (CancellationToken::new(), tokio::spawn(async {}));
        Bench { queue, clock, pools, destinations: names, shutdown, running, next_id: AtomicU64::new(1), folder }
    }

    /// Goes over to other destinations.
    fn reload(&self, destinations: &[String]) {
        self.pools.reload(&Arc::new(load(self.folder.path(), destinations))).unwrap();
    }

    /// A conversion that happened now.
    pub(super) async fn accept(&self) -> ConversionId {
        self.accept_of(self.clock.now()).await
    }

    async fn accept_of(&self, time: jiff::Timestamp) -> ConversionId {
        self.accept_received(self.clock.unix_ms(), time).await
    }

    /// One that was received at this point (Unix ms).
    async fn accept_received(&self, received_ms: u64, time: jiff::Timestamp) -> ConversionId {
        self.accept_within(None, received_ms, time).await
    }

    /// One that belongs to a trace.
    async fn accept_within(&self, trace: Option<TraceParent>, received_ms: u64, time: jiff::Timestamp) -> ConversionId {
        let number = self.next_id.fetch_add(1, Ordering::SeqCst);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let id = ConversionId::new(received_ms, random);
        let body = Bytes::from(format!(r#"{{"event_id":"e{number}","time":"{time}"}}"#));
        let conversion = Arc::new(Conversion::parse(&body, "generated").unwrap());
        let meta = Meta { trace, ..Meta::new(id, "acme".into(), None, &conversion) };
        let plan = self.destinations.iter().map(|name| (name.clone(), Initial::Owed)).collect();
        self.queue.accept(Submission { meta, conversion, body, plan, claim: Claim::default() }).await.unwrap();
        id
    }

    pub(super) async fn status(&self, id: ConversionId, destination: &str) -> DeliveryStatus {
        let status = self.queue.status(id).await.unwrap().unwrap();
        let found = status.destinations.into_iter().find(|(name, _)| name.as_str() == destination);
        found.unwrap().1
    }

    /// Waits for the delivery's state.
    async fn reaches(
        &self,
        id: ConversionId,
        destination: &str,
        wanted: impl Fn(&DeliveryStatus) -> bool,
    ) -> DeliveryStatus {
        let reached = timeout(PATIENCE, async {
            loop {
                let status = self.status(id, destination).await;
                if wanted(&status) {
                    return status;
                }
                sleep(POLL_EVERY).await;
            }
        });
        match reached.await {
            Ok(status) => status,
            Err(_) => panic!("still {:?}", self.status(id, destination).await),
        }
    }

    /// Waits for the pool's state.
    async fn becomes(&self, destination: &str, wanted: impl Fn(&PoolState) -> bool) -> PoolState {
        let reached = timeout(PATIENCE, async {
            loop {
                let state = self.state(destination);
                if wanted(&state) {
                    return state;
                }
                sleep(POLL_EVERY).await;
            }
        });
        reached.await.unwrap_or_else(|_| panic!("still {:?}", self.state(destination)))
    }

    fn state(&self, destination: &str) -> PoolState {
        self.pools.states().into_iter().find(|state| state.destination.as_str() == destination).unwrap()
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        self.queue.dead_letters(DeadFilter::default(), PageRequest { limit: 100, after: None }).await.unwrap().dead
    }

    fn metrics(&self) -> String {
        let mut registry = Registry::default();
        self.pools.register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
        self.queue.close().await.unwrap();
    }
}

fn delivered(status: &DeliveryStatus) -> bool {
    status.state == State::Delivered
}

fn bodies(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.body.as_str()).collect()
}

#[tokio::test]
async fn two_refusals_then_success_are_three_attempts() {
    let platform = Platform::answering([Reply::Status(503), Reply::Status(503)], Reply::Status(200)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "capture.nothing = \"body.id\"")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", delivered).await;
    let verdicts: Vec<_> = status.history.iter().map(|attempt| (attempt.status, attempt.verdict)).collect();
    assert_eq!(verdicts, [(Some(503), Verdict::Retry), (Some(503), Verdict::Retry), (Some(200), Verdict::Delivered)]);
    assert_eq!(status.attempts, 3);
    let seen = platform.seen();
    assert_eq!(bodies(&seen), [r#"{"id":"e1"}"#; 3], "the same each time");
    assert_eq!(seen[0].headers["authorization"], format!("Bearer {SECRET}"));
    bench.becomes("one", |state| state.in_flight == 0).await;
    let metrics = bench.metrics();
    for line in [
        "capi_relay_deliveries_total{destination=\"one\",verdict=\"retry\"} 2\n",
        "capi_relay_deliveries_total{destination=\"one\",verdict=\"delivered\"} 1\n",
        "capi_relay_attempt_seconds_count{destination=\"one\"} 3\n",
        "capi_relay_delivery_seconds_count{destination=\"one\"} 1\n",
        "capi_relay_destination_state{destination=\"one\",state=\"active\"} 1\n",
        "capi_relay_destination_state{destination=\"one\",state=\"open\"} 0\n",
        "capi_relay_in_flight{destination=\"one\"} 0\n",
        "capi_relay_limiter_wait_seconds_total{destination=\"one\"} 0.0\n",
        "capi_relay_delivery_panics_total{destination=\"one\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn one_hanging_destination_does_not_delay_another() {
    // One good answer, so that two may be in flight.
    let hanging = Platform::answering([Reply::Status(200)], Reply::Hang).await;
    let well = Platform::answering([], Reply::Status(200)).await;
    let limits = "limits = { concurrency = 2, timeout = \"1h\" }";
    let bench =
        Bench::start(&[destination("hanging", &hanging.url(), limits), destination("well", &well.url(), limits)]);
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(bench.accept().await);
    }
    for id in &ids {
        bench.reaches(*id, "well", delivered).await;
    }
    assert_eq!(hanging.received(3).await.len(), 3, "no more than its concurrency");
    assert_eq!(bench.state("hanging").in_flight, 2);
    timeout(PATIENCE, bench.stop()).await.expect("a stop waits for the drain timeout only");
}

#[tokio::test]
async fn retry_after_holds_back_the_whole_destination() {
    let wait = Reply::Header(429, "retry-after", "1".to_owned());
    let platform = Platform::answering([wait], Reply::Status(200)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "limits = { concurrency = 1 }")]);
    let first = bench.accept().await;
    platform.received(1).await;
    let second = bench.accept().await;
    bench.reaches(first, "one", delivered).await;
    bench.reaches(second, "one", delivered).await;
    let seen = platform.seen();
    assert_eq!(seen.len(), 3);
    let waited = seen[1].at.duration_since(seen[0].at);
    assert!(waited >= Duration::from_millis(990), "{waited:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_refused_credential_suspends_and_nothing_is_lost() {
    let platform = Platform::answering([], Reply::Body(401, format!("no such key {SECRET}"))).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "limits = { concurrency = 1 }")]);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bench.accept().await);
    }
    let state = bench.becomes("one", |state| state.state == Activity::Suspended).await;
    assert_eq!(state.reason.as_deref(), Some("status 401 Unauthorized"));
    assert_eq!(state.last_error.as_deref(), Some("status 401 Unauthorized"));
    for (id, attempts) in ids.iter().zip([1, 0, 0, 0, 0]) {
        let status = bench.reaches(*id, "one", |status| status.state == State::Held).await;
        assert_eq!(status.attempts, attempts, "only by the one that nothing was known against before");
    }
    let first = bench.status(ids[0], "one").await;
    assert_eq!(first.history[0].verdict, Verdict::Suspended);
    assert_eq!(first.history[0].excerpt.as_deref(), Some("no such key ***"));
    assert_eq!(platform.seen().len(), 1, "one request, and no more");

    platform.now(Reply::Status(200));
    bench.pools.resume("one").unwrap();
    for id in &ids {
        bench.reaches(*id, "one", delivered).await;
    }
    bench.becomes("one", |state| state.state == Activity::Active).await;
    bench.stop().await;
}

#[tokio::test]
async fn an_open_breaker_spends_no_attempt_and_closes_on_success() {
    let platform = Platform::answering([], Reply::Status(500)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "limits = { concurrency = 1 }")]);
    let id = bench.accept().await;
    let state = bench.becomes("one", |state| state.state == Activity::Open).await;
    assert_eq!(state.reason.as_deref(), Some("status 500 Internal Server Error"));
    let spent = usize::try_from(FAILURES_MAX).unwrap();
    assert_eq!(platform.seen().len(), spent);
    platform.now(Reply::Status(200));
    bench.reaches(id, "one", delivered).await;
    let seen = platform.seen();
    assert_eq!(seen.len(), spent + 1);
    assert!(seen[spent].at - seen[spent - 1].at >= gate::PAUSE_FIRST);
    bench.becomes("one", |state| state.state == Activity::Active).await;
    bench.stop().await;
}

#[tokio::test]
async fn what_throttles_in_its_body_opens_the_breaker() {
    let platform = Platform::answering([], Reply::Body(200, r#"{"code": 7}"#.to_owned())).await;
    let said = "delivered_when = \"body.code == 0\"\nthrottled_when = \"body.code == 7\"";
    let bench = Bench::start(&[destination("one", &platform.url(), said)]);
    let id = bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Open).await;
    assert_eq!(bench.status(id, "one").await.history[0].verdict, Verdict::Retry);
    platform.now(Reply::Body(200, r#"{"code": 0}"#.to_owned()));
    bench.reaches(id, "one", delivered).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_rejection_is_a_dead_letter_without_secrets() {
    let body = format!("{{\"error\":\"bad\\u0000\",\"you_sent\":\"Bearer {SECRET}\"}}\n");
    let platform = Platform::answering([], Reply::Body(400, body)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    let id = bench.accept().await;
    bench.reaches(id, "one", |status| status.state == State::Dead(DeadKind::Rejected)).await;
    let dead = bench.dead().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, "status 400 Bad Request");
    let excerpt = dead[0].last.clone().unwrap().excerpt.unwrap();
    assert_eq!(excerpt, r#"{"error":"bad\u0000","you_sent":"Bearer ***"}\n"#);
    bench.stop().await;
}

#[tokio::test]
async fn an_ambiguous_failure_is_handled_as_configured() {
    let platform = Platform::answering([Reply::Close, Reply::Close], Reply::Status(200)).await;
    let careful = destination("careful", &platform.url(), "on_ambiguous = \"dead_letter\"");
    let bench = Bench::start(&[careful]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "careful", |status| matches!(status.state, State::Dead(_))).await;
    assert_eq!(status.state, State::Dead(DeadKind::Unknown));
    assert!(bench.dead().await[0].reason.starts_with("sent, no answer: the connection broke"));
    bench.stop().await;

    let again = destination("again", &platform.url(), "on_ambiguous = \"retry\"");
    let bench = Bench::start(&[again]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "again", delivered).await;
    assert_eq!(status.history[0].verdict, Verdict::Unknown);
    assert_eq!(status.attempts, 2);
    bench.stop().await;
}

#[tokio::test]
async fn what_comes_late_and_is_not_taken_is_given_up() {
    let platform = Platform::answering([], Reply::Status(500)).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"1h\" }";
    let bench = Bench::start(&[destination("one", &platform.url(), retry)]);
    let two_hours_ago_ms = bench.clock.unix_ms().saturating_sub(7_200_000);
    let id = bench.accept_received(two_hours_ago_ms, bench.clock.now()).await;
    bench.reaches(id, "one", |status| status.state == State::Dead(DeadKind::Exhausted)).await;
    let reason = bench.dead().await.remove(0).reason;
    assert_eq!(reason, "status 500 Internal Server Error; given up at attempt 1, after 1h");
    assert_eq!(platform.seen().len(), 1, "what was never tried is tried, however late it is");
    assert!(bench.metrics().contains("verdict=\"exhausted\"} 1\n"));
    bench.stop().await;
}

#[tokio::test]
async fn an_attempt_behind_which_another_would_be_too_late_is_the_last() {
    let later = Reply::Header(503, "retry-after", "1800".to_owned());
    let platform = Platform::answering([Reply::Status(500)], later).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"20m\" }";
    let bench = Bench::start(&[destination("one", &platform.url(), retry)]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", |status| matches!(status.state, State::Dead(_))).await;
    assert_eq!((status.state, status.attempts), (State::Dead(DeadKind::Exhausted), 2));
    let reason = bench.dead().await.remove(0).reason;
    assert_eq!(reason, "status 503 Service Unavailable; given up at attempt 2, after 20m");
    assert_eq!(platform.seen().len(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn a_replayed_dead_letter_has_all_the_time_of_a_new_one() {
    let platform =
        Platform::answering([Reply::Status(400), Reply::Status(500), Reply::Status(500)], Reply::Status(200)).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"1h\" }";
    let bench = Bench::start(&[destination("one", &platform.url(), retry)]);
    let two_hours_ago_ms = bench.clock.unix_ms().saturating_sub(7_200_000);
    let id = bench.accept_received(two_hours_ago_ms, bench.clock.now()).await;
    bench.reaches(id, "one", |status| matches!(status.state, State::Dead(_))).await;
    bench.queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
    let status = bench.reaches(id, "one", delivered).await;
    assert_eq!(status.attempts, 3, "{status:?}");
    bench.stop().await;
}

#[tokio::test]
async fn an_open_breaker_does_not_pin_what_is_to_be_given_up() {
    let platform = Platform::answering([], Reply::Status(500)).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"1h\" }";
    let bench = Bench::start(&[destination("one", &platform.url(), retry)]);
    let id = bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Open).await;
    bench.clock.set_forward(Duration::from_secs(7200));
    bench.reaches(id, "one", |status| status.state == State::Dead(DeadKind::Exhausted)).await;
    assert_eq!(bench.dead().await.remove(0).reason, "not delivered within 1h");
    assert_eq!(platform.seen().len(), usize::try_from(FAILURES_MAX).unwrap(), "no probe is spent on it");
    assert_eq!(bench.state("one").state, Activity::Open);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_too_old_or_cannot_be_mapped_is_not_sent() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let fresh = destination("fresh", &platform.url(), "max_age = \"1h\"");
    let strict = destination("strict", &platform.url(), "").replace("\"order_id\"", "\"order_id !\"");
    let bench = Bench::start(&[fresh, strict]);
    let id = bench.accept_of(bench.clock.now() - jiff::SignedDuration::from_hours(2)).await;
    bench.reaches(id, "fresh", |status| status.state == State::Dead(DeadKind::Expired)).await;
    bench.reaches(id, "strict", |status| status.state == State::Dead(DeadKind::Unmappable)).await;
    let reasons: Vec<String> = bench.dead().await.into_iter().map(|dead| dead.reason).collect();
    assert!(reasons.contains(&"older than max_age (1h)".to_owned()), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("order")), "{reasons:?}");
    assert_eq!(platform.seen().len(), 0);
    bench.stop().await;
}

#[tokio::test]
async fn the_rate_is_kept() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let limits = "limits = { rate = \"10/s\", burst = 2, concurrency = 8 }";
    let mut bench = Bench::open(&[destination("one", &platform.url(), limits)]);
    // All of them wait before the first is sent: however slowly they are accepted, the rate is in the way.
    for _ in 0..8 {
        bench.accept().await;
    }
    let begun = Instant::now();
    bench.run();
    let seen = platform.received(8).await;
    let window = seen[7].at.duration_since(begun);
    assert!(window >= Duration::from_millis(100 * (8 - 2)), "eight within {window:?}");
    assert!(!bench.metrics().contains("capi_relay_limiter_wait_seconds_total{destination=\"one\"} 0.0\n"));
    bench.stop().await;
}
