//! What is shown of a destination from near.

use super::*;

impl Bench {
    fn detail(&self, destination: &str) -> PoolDetail {
        self.pools.detail(destination).unwrap()
    }

    async fn shows(&self, destination: &str, wanted: impl Fn(&PoolDetail) -> bool) -> PoolDetail {
        let reached = timeout(PATIENCE, async {
            loop {
                let detail = self.detail(destination);
                if wanted(&detail) {
                    return detail;
                }
                sleep(POLL_EVERY).await;
            }
        });
        reached.await.unwrap_or_else(|_| panic!("still {:?}", self.detail(destination)))
    }
}

#[tokio::test]
async fn what_waits_is_measured_by_when_it_is_given_up() {
    let hours = |hours: u32| format!("retry = {{ first = \"1s\", give_up_after = \"{hours}h\" }}");
    let to = |name: &str, give_up_after: u32| destination(name, "http://127.0.0.1:9/", &hours(give_up_after));
    let bench = Bench::open(&[to("short", 2), to("long", 10)]);
    let shares = || {
        let metrics = bench.metrics();
        ["short", "long"].map(|name| {
            let line = format!("capi_relay_oldest_pending_give_up_ratio{{destination=\"{name}\"}} ");
            let share =
                metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap_or_else(|| panic!("{metrics}"));
            share.parse::<f64>().unwrap()
        })
    };
    assert_eq!(shares(), [0.0, 0.0], "nothing waits");
    bench.accept().await;
    bench.clock.set_forward(Duration::from_secs(3600));
    let [short, long] = shares();
    // An hour, and what the test takes.
    assert!((0.5..0.6).contains(&short) && (0.1..0.15).contains(&long), "{short} {long}");
    bench.stop().await;
}

#[tokio::test]
async fn limits_rates_latency_and_errors_are_shown_from_near() {
    let refusal = Reply::Body(400, "no such campaign".to_owned());
    let platform = Platform::answering([Reply::Status(200), refusal], Reply::Status(200)).await;
    let limits = "limits = { rate = \"1000/s\", burst = 7, concurrency = 5 }";
    let bench = Bench::start(&[destination("one", &platform.url(), limits)]);
    let fresh = bench.detail("one");
    assert_eq!((fresh.latency, fresh.rates, fresh.errors.len()), (None, Rates::default(), 0));
    assert_eq!(fresh.quota.map(|quota| (quota.written(), quota.burst.get())), Some(("1000/s".to_owned(), 7)));
    assert_eq!(fresh.concurrency_max, 5);
    let first = bench.accept().await;
    bench.reaches(first, "one", delivered).await;
    let refused = bench.accept().await;
    bench.reaches(refused, "one", |status| status.state == State::Dead(DeadKind::Rejected)).await;
    let detail = bench.detail("one");
    assert!(detail.rates.delivered > 0.0 && detail.rates.rejected > 0.0, "{detail:?}");
    assert_eq!(detail.latency.map(|latency| latency.attempts), Some(2));
    let [error] = detail.errors.as_slice() else { panic!("{detail:?}") };
    assert_eq!((error.id, error.status, error.verdict), (refused, Some(400), Verdict::Rejected));
    assert_eq!(error.excerpt.as_deref(), Some("no such campaign"));
    bench.pools.forget_errors();
    assert_eq!(bench.detail("one").errors, [], "an answer may repeat what was to be forgotten");
    bench.stop().await;
}

#[tokio::test]
async fn a_breaker_shows_why_it_is_open_and_when_it_probes() {
    let platform = Platform::answering([], Reply::Status(503)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    assert_eq!(bench.detail("one").breaker.state, BreakerState::Closed);
    bench.accept().await;
    let detail = bench.shows("one", |detail| detail.breaker.state == BreakerState::Open).await;
    assert_eq!(detail.breaker.cause, Some(BreakerCause::Failures));
    let wait = detail.breaker.next_probe_ms.unwrap().saturating_sub(bench.clock.unix_ms());
    assert!(wait <= 2_000, "{wait}");
    assert_eq!(detail.refused, []);
    bench.stop().await;
}

#[tokio::test]
async fn a_refused_credential_shows_whose_work_waits_also_under_a_pause() {
    let platform = Platform::answering([], Reply::Status(401)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    bench.accept().await;
    let detail = bench.shows("one", |detail| detail.breaker.cause == Some(BreakerCause::Credential)).await;
    bench.pools.pause("one", "a test".to_owned()).unwrap();
    for detail in [detail, bench.detail("one")] {
        let [refused] = detail.refused.as_slice() else { panic!("{detail:?}") };
        assert_eq!(
            (&*refused.operations, &*refused.reason),
            (&["conversion".to_owned()][..], "status 401 Unauthorized")
        );
        assert_eq!(refused.next_probe_ms.is_some(), detail.breaker.next_probe_ms.is_some());
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_wait_that_the_platform_asked_for_is_shown() {
    let busy = Reply::Header(429, "retry-after", "1000".to_owned());
    let platform = Platform::answering([busy], Reply::Status(200)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    bench.accept().await;
    let detail = bench.shows("one", |detail| detail.breaker.held_back_until_ms.is_some()).await;
    let wait = detail.breaker.held_back_until_ms.unwrap().saturating_sub(bench.clock.unix_ms());
    assert!((900_000..=1_000_000).contains(&wait), "{wait}");
    bench.stop().await;
}
