//! Within a conversion's trace each attempt has an id of its own, and its request names it.

use std::collections::BTreeSet;

use super::super::attempt::context;
use super::confirm::{asking, is_dead, queued, said};
use super::*;
use crate::conversion::TraceParent;
use crate::queue::Outcome;

/// The trace alone.
const ITS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn accept(bench: &Bench) -> ConversionId {
    let now = bench.clock.now();
    bench.accept_within(TraceParent::parse(TRACE), bench.clock.unix_ms(), now).await
}

/// What each request named, in the order in which they came; all are of the trace.
#[track_caller]
fn named(seen: &[Seen]) -> Vec<String> {
    let named = seen.iter().map(|seen| seen.headers["traceparent"].to_str().unwrap().to_owned());
    let named: Vec<String> = named.collect();
    assert!(named.iter().all(|trace| trace.starts_with(ITS) && trace.ends_with("-01")), "{named:?}");
    assert!(!named.iter().any(|trace| trace == TRACE), "{named:?}");
    named
}

#[track_caller]
fn are_different(named: &[String]) {
    assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), named.len(), "{named:?}");
}

#[tokio::test]
async fn each_attempt_names_an_id_of_its_own_at_each_destination() {
    let one = Platform::answering([Reply::Status(503), Reply::Status(503)], Reply::Status(200)).await;
    let two = Platform::answering([], Reply::Status(200)).await;
    let own = format!("headers.traceparent = \"{}\"", TRACE.replace("-01", "-00"));
    let three = Platform::answering([], Reply::Status(200)).await;
    let four = Platform::answering([], Reply::Status(200)).await;
    let bench = Bench::start(&[
        destination("one", &one.url(), ""),
        destination("two", &two.url(), ""),
        destination("three", &three.url(), &own),
        destination("four", &four.url(), "traceparent = false"),
    ]);
    let id = accept(&bench).await;
    for name in ["one", "two", "three", "four"] {
        bench.reaches(id, name, delivered).await;
    }
    let requests = [one.seen(), two.seen()].concat();
    assert_eq!(requests.len(), 4);
    are_different(&named(&requests));
    assert_eq!(three.seen()[0].headers["traceparent"], TRACE.replace("-01", "-00"), "what the configuration says");
    assert!(!four.seen()[0].headers.contains_key("traceparent"), "what the configuration says");
    bench.stop().await;
}

#[tokio::test]
async fn a_question_and_a_replay_are_other_attempts() {
    let answers = [queued(), said("Queued", ""), said("Failed", "no"), queued()];
    let platform = Platform::answering(answers, said("Complete", "")).await;
    let bench = Bench::start(&[asking(&platform, "", "")]);
    let id = accept(&bench).await;
    bench.reaches(id, "one", is_dead).await;
    bench.queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
    bench.reaches(id, "one", delivered).await;
    let seen = platform.seen();
    assert_eq!(seen.len(), 5, "two conversions and three questions");
    are_different(&named(&seen));
    bench.stop().await;
}

#[tokio::test]
async fn an_attempt_that_left_no_mark_has_the_id_again_and_one_that_did_has_not() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/events", "")]);
    accept(&bench).await;
    let name = &bench.destinations[0];
    let first = bench.queue.next(name).await;
    let id = context(&first);
    assert!(id.is_some());
    // As when the process is killed: nobody recorded its end.
    drop(first);
    let again = bench.queue.next(name).await;
    assert_eq!(context(&again), id);
    // It counts for nothing, as when the credential was refused.
    bench.queue.settle(&again, Outcome::Retry { due_ms: 1, spent: false }, None);
    let next = bench.queue.next(name).await;
    assert_eq!(next.attempt(), 1);
    assert_ne!(context(&next), id);
    drop(next);
    bench.stop().await;
}
