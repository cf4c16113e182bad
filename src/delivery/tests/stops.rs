//! A person pauses a destination, and the relay stops.

use super::*;

#[tokio::test]
async fn a_pause_keeps_the_work_and_a_resume_sends_it() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    assert!(bench.pools.pause("other", "x".to_owned()).is_none());
    let state = bench.pools.pause("one", "the partner asked us to".to_owned()).unwrap();
    assert_eq!((state.state, state.reason.as_deref()), (Activity::Paused, Some("the partner asked us to")));
    let id = bench.accept().await;
    bench.reaches(id, "one", |status| status.state == State::Held).await;
    assert_eq!(platform.seen().len(), 0);
    assert_eq!(bench.pools.resume("one").unwrap().state, Activity::Active);
    bench.reaches(id, "one", delivered).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_stop_closes_kept_connections() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    let id = bench.accept().await;
    bench.reaches(id, "one", delivered).await;
    let still_there = bench.pools.clone();
    bench.stop().await;
    timeout(PATIENCE, platform.left()).await.unwrap();
    drop(still_there);
}

#[tokio::test]
async fn a_stop_in_haste_waits_for_nothing_and_records_what_was_sent() {
    let platform = Platform::answering([], Reply::Hang).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "on_ambiguous = \"dead_letter\"")]);
    let id = bench.accept().await;
    platform.received(1).await;
    let begun = Instant::now();
    bench.pools.hurry();
    bench.shutdown.cancel();
    let Bench { running, queue, .. } = bench;
    running.await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(300), "sooner than the drain timeout");
    let status = queue.status(id).await.unwrap().unwrap().destinations.remove(0).1;
    assert_eq!((status.attempts, status.state), (1, State::Dead(DeadKind::Unknown)));
    queue.close().await.unwrap();
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_hand_and_hands_back_the_rest() {
    let platform = Platform::answering([], Reply::Hang).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "on_ambiguous = \"retry\"")]);
    let id = bench.accept().await;
    platform.received(1).await;
    let begun = Instant::now();
    bench.shutdown.cancel();
    let late = bench.accept().await;
    let Bench { running, queue, .. } = bench;
    running.await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300), "the drain timeout");
    let status = queue.status(id).await.unwrap().unwrap().destinations.remove(0).1;
    assert_eq!(
        (status.attempts, status.history[0].verdict),
        (1, Verdict::Unknown),
        "it was made, and may have arrived"
    );
    assert_ne!(status.state, State::Dead(DeadKind::Unknown));
    let name = DestinationName::parse("one").unwrap();
    let mut back = [queue.next(&name).await.meta().id, queue.next(&name).await.meta().id];
    back.sort();
    assert_eq!(back, [id, late]);
    queue.close().await.unwrap();
}
