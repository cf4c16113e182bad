//! What a refused credential costs single deliveries.

use super::super::gate::{Health, PROBE_EVERY, Pass};
use super::super::refusal::OTHERS_WITHIN;
use super::super::run::Desk;
use super::*;
use crate::queue::{Attempt, Outcome};

const URL: &str = "http://127.0.0.1:9/";

/// The pool of the only destination, and its desk: the credential is refused.
fn refused(bench: &Bench) -> (Arc<Pool>, Desk) {
    let pool = bench.pools.all().remove(0);
    let mut desk = Desk::new(&pool);
    desk.gate.settle(Pass::Ordinary, Health::Refusing, Instant::now());
    (pool, desk)
}

#[tokio::test]
async fn what_was_refused_last_lets_another_be_the_next_probe_and_goes_where_there_is_none() {
    let bench = Bench::open(&[destination("one", URL, "")]);
    bench.accept().await;
    let (pool, mut desk) = refused(&bench);
    let delivery = bench.queue.next(&pool.destination.name).await;
    let now = Instant::now();
    assert_eq!(pool.passed_over(&mut desk, Pass::Probe, &delivery, now), None, "it was not refused");
    desk.refusals.met(delivery.meta().id);
    assert_eq!(pool.passed_over(&mut desk, Pass::Ordinary, &delivery, now), None);
    assert_eq!(pool.passed_over(&mut desk, Pass::Probe, &delivery, now), Some(now + OTHERS_WITHIN));
    assert_eq!(pool.passed_over(&mut desk, Pass::Probe, &delivery, now), None, "once");
    drop(delivery);
    bench.stop().await;
}

#[tokio::test]
async fn what_a_probe_meets_spends_no_attempt_and_comes_again_before_the_next() {
    let retry = "retry = { first = \"1h\", max = \"1h\", give_up_after = \"2h\" }";
    let bench = Bench::open(&[destination("one", URL, retry)]);
    bench.accept().await;
    let (pool, _desk) = refused(&bench);
    let delivery = bench.queue.next(&pool.destination.name).await;
    let latest_ms = |wait: Duration| bench.clock.unix_ms() + u64::try_from(wait.as_millis()).unwrap();
    for _ in 0..100 {
        let probe = pool.refused(&delivery, Pass::Probe);
        assert!(matches!(probe, Outcome::Retry { due_ms, spent: false } if due_ms <= latest_ms(PROBE_EVERY)));
        let ordinary = pool.refused(&delivery, Pass::Ordinary);
        assert!(matches!(ordinary, Outcome::Retry { spent: true, .. }));
    }
    drop(delivery);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_overdue_is_put_back_while_the_credential_is_refused_and_given_up_when_it_is_not() {
    let bench = Bench::open(&[destination("one", URL, "")]);
    // Received two hours ago, with one to be given up in.
    let id = bench.accept_received(bench.clock.unix_ms() - 7_200_000, bench.clock.now()).await;
    let (pool, mut desk) = refused(&bench);
    let name = &pool.destination.name;
    let first = bench.queue.next(name).await;
    assert!(pool.prepare(&first).is_ok(), "the first attempt is always made");
    bench.queue.settle(&first, Outcome::Retry { due_ms: 1, spent: true }, Some(unanswered()));
    let overdue = bench.queue.next(name).await;
    let unsent = pool.prepare(&overdue).unwrap_err();
    assert!(matches!(unsent.outcome, Outcome::Dead { kind: DeadKind::Exhausted, .. }), "{unsent:?}");
    let now = Instant::now();
    let earliest = pool.outlasts(&mut desk, false, &unsent, now).unwrap();
    assert_eq!(earliest, now + PROBE_EVERY, "no busy loop");
    assert!(pool.outlasts(&mut desk, false, &unsent, now).unwrap() > earliest, "nor all at once");
    pool.begin(&mut desk, Pass::Probe, overdue);
    let status = bench.status(id, "one").await;
    assert_eq!((status.state, status.attempts), (State::Retrying, 1));
    assert!(status.next_attempt_ms.is_some_and(|due_ms| due_ms > bench.clock.unix_ms()));

    desk.gate.settle(Pass::Probe, Health::Well, Instant::now());
    assert_eq!(pool.outlasts(&mut desk, false, &unsent, now), None);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_overdue_tries_the_credential_where_no_attempt_of_it_may_have_arrived() {
    let platform = Platform::answering([], Reply::Status(401)).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"1h\" }";
    let bench = Bench::start(&[destination("one", &platform.url(), retry)]);
    let id = bench.accept_received(bench.clock.unix_ms() - 7_200_000, bench.clock.now()).await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    platform.now(Reply::Status(200));
    bench.pools.resume("one").unwrap();
    bench.reaches(id, "one", delivered).await;
    assert_eq!(platform.seen().len(), 2);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_overdue_and_tries_the_credential_waits_on_where_the_platform_has_trouble_of_its_own() {
    let platform = Platform::answering([], Reply::Status(401)).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"1h\" }";
    let bench = Bench::start(&[destination("one", &platform.url(), retry)]);
    let id = bench.accept_received(bench.clock.unix_ms() - 7_200_000, bench.clock.now()).await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    platform.now(Reply::Status(503));
    bench.pools.resume("one").unwrap();
    let status = bench.reaches(id, "one", |status| status.history.len() == 2).await;
    assert!(matches!(status.state, State::Held | State::Retrying), "{status:?}");
    assert_eq!(status.attempts, 1, "what a probe meets spends none");
    assert_eq!(bench.state("one").state, Activity::Suspended);
    bench.stop().await;
}

/// An attempt that may have arrived.
fn unanswered() -> Attempt {
    Attempt { at_ms: 1, duration_ms: 1, status: None, verdict: Verdict::Unknown, negotiated: None, excerpt: None }
}

#[tokio::test]
async fn a_conversion_that_alone_is_refused_as_a_credential_is_spends_attempts_and_is_given_up_in_its_time() {
    let platform = Platform::answering([], Reply::Status(403)).await;
    let more = "limits = { concurrency = 1 }\nretry = { first = \"1ms\", max = \"1ms\", give_up_after = \"5ms\" }";
    let bench = Bench::start(&[destination("one", &platform.url(), more)]);
    let id = bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    let good = bench.accept().await;
    platform.now(Reply::Status(200));
    bench.pools.resume("one").unwrap();
    bench.reaches(good, "one", delivered).await;
    let status = bench.reaches(id, "one", |status| matches!(status.state, State::Dead(_))).await;
    assert_eq!((status.state, status.attempts), (State::Dead(DeadKind::Exhausted), 1));
    assert_eq!(bodies(&platform.seen()), [r#"{"id":"e1"}"#, r#"{"id":"e2"}"#], "another one was the probe");
    bench.stop().await;
}
