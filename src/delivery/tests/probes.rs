//! Probes that a person asks for.

use super::*;

async fn probe(bench: &Bench) -> Result<Probed, NoProbe> {
    let probed = timeout(PATIENCE, bench.pools.probe("one")).await.expect("a probe ends").expect("there is one");
    probed.map(|(probed, _)| probed)
}

#[tokio::test]
async fn a_probe_goes_in_spite_of_a_suspension_and_tells_how_it_ended() {
    let platform = Platform::answering([], Reply::Status(401)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    let id = bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    let refused = probe(&bench).await.unwrap();
    assert_eq!((refused.id, refused.attempt.status, refused.attempt.verdict), (id, Some(401), Verdict::Suspended));
    assert_eq!(platform.seen().len(), 2);
    assert_eq!(bench.state("one").state, Activity::Suspended);
    platform.now(Reply::Status(200));
    let (taken, detail) = bench.pools.probe("one").await.unwrap().unwrap();
    assert_eq!((taken.id, taken.attempt.verdict), (id, Verdict::Delivered));
    assert_eq!((detail.state.state, detail.breaker.state), (Activity::Active, BreakerState::Closed), "at once");
    bench.reaches(id, "one", delivered).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_probe_goes_beside_a_requested_wait_and_lifts_it_for_nobody_else() {
    let busy = Reply::Header(429, "retry-after", "1000".to_owned());
    let platform = Platform::answering([busy], Reply::Status(200)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    bench.accept().await;
    bench.becomes("one", |state| state.last_error.is_some()).await;
    let (second, third) = (bench.accept().await, bench.accept().await);
    let probed = probe(&bench).await.unwrap();
    assert_eq!((probed.id, probed.attempt.verdict), (second, Verdict::Delivered));
    assert_eq!(platform.seen().len(), 2, "one more");
    assert!(bench.pools.detail("one").unwrap().breaker.held_back_until_ms.is_some());
    assert_eq!(bench.status(third, "one").await.state, State::Queued);
    bench.stop().await;
}

#[tokio::test]
async fn one_probe_at_a_time() {
    let platform = Platform::answering([], Reply::Status(401)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    platform.now(Reply::Hang);
    let pools = bench.pools.clone();
    let hanging = tokio::spawn(async move { pools.probe("one").await });
    platform.received(2).await;
    assert_eq!(probe(&bench).await, Err(NoProbe::UnderWay));
    hanging.abort();
    bench.stop().await;
}

#[tokio::test]
async fn there_is_no_probe_without_a_delivery_or_a_token_and_none_of_what_is_paused_or_unknown() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let limits = "limits = { rate = \"1/h\", burst = 1 }";
    let bench = Bench::start(&[destination("one", &platform.url(), limits)]);
    assert!(bench.pools.probe("other").await.is_none());
    assert_eq!(probe(&bench).await, Err(NoProbe::NothingDue));
    let first = bench.accept().await;
    bench.reaches(first, "one", delivered).await;
    bench.accept().await;
    assert_eq!(probe(&bench).await, Err(NoProbe::Limited));
    bench.pools.pause("one", "maintenance".to_owned()).unwrap();
    assert_eq!(probe(&bench).await, Err(NoProbe::Paused("maintenance".to_owned())));
    bench.stop().await;
}

#[tokio::test]
async fn a_probe_that_a_stop_overtakes_says_so() {
    let platform = Platform::answering([], Reply::Status(401)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    platform.now(Reply::Hang);
    let pools = bench.pools.clone();
    let overtaken = tokio::spawn(async move { pools.probe("one").await });
    platform.received(2).await;
    bench.stop().await;
    let (probed, _) = timeout(PATIENCE, overtaken).await.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(probed.attempt.status, None, "cut off");
}
