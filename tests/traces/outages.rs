//! A collector that does not take what it is sent costs the relay nothing but what waits for it.

use super::{Traced, personal};
use crate::support::collector::{Collector, Mood, started};
use crate::support::{conversion, eventually};

/// What `/metrics` counts of spans.
fn counted(metrics: &str, result: &str) -> u64 {
    let name = format!("capi_relay_trace_spans_total{{result=\"{result}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap()
}

/// Everything is accepted and delivered; how many spans that made.
async fn goes_on(relay: &Traced) -> u64 {
    relay.first.relent();
    for number in 0..20 {
        let answer = relay.post(&conversion(&format!("o{number}")).to_string(), &[]).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    eventually("all are delivered", async || {
        let all = |recorder: &crate::support::recorder::Recorder| recorder.requests().len() >= 20;
        (all(&relay.first) && all(&relay.second)).then_some(())
    })
    .await;
    20 * 3
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_up_nothing_and_what_finds_no_room_is_counted() {
    let collector = Collector::start().await;
    collector.be(Mood::Hangs);
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
    let patient = [("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"), ("OTEL_BSP_EXPORT_TIMEOUT", "3600000")];
    let relay = Traced::start(collector.traces(&[small, patient].concat())).await;
    let spans = goes_on(&relay).await;
    // One to four are on their way for good, and eight wait.
    eventually("what finds no room", async || {
        let dropped = counted(&relay.metrics().await, "dropped");
        (spans - 12..spans - 8).contains(&dropped).then_some(())
    })
    .await;
    // A stop does not wait for it longer than it may: its limit is the exporter's, an hour.
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_holds_up_nothing_and_what_it_misses_is_counted() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let soon = ("OTEL_BSP_SCHEDULE_DELAY", "20");
    let relay =
        Traced::start(started(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &gone), ("OTEL_EXPORTER_OTLP_TIMEOUT", "50"), soon]))
            .await;
    let spans = goes_on(&relay).await;
    eventually("all are counted as failed", async || {
        (counted(&relay.metrics().await, "failed") == spans).then_some(())
    })
    .await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_is_exported_to_again() {
    let collector = Collector::start().await;
    collector.be(Mood::Answers(http::StatusCode::FORBIDDEN));
    let relay = Traced::start(collector.traces(&[])).await;
    relay.first.relent();
    relay.post(&conversion("missed").to_string(), &[]).await;
    eventually("all are counted as failed", async || (counted(&relay.metrics().await, "failed") == 3).then_some(()))
        .await;
    collector.be(Mood::Takes);
    let id = relay.post(&personal().to_string(), &[]).await.id();
    let spans = collector.spans_once(3).await;
    assert!(spans.iter().all(|span| span.get("capi_relay.conversion.id") == id), "{spans:#?}");
    relay.stop().await;
}
