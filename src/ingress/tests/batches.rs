//! Batches, and bodies that are compressed.

use serde_json::Value;

use super::client::{call_with, gzip, zstd};
use super::*;
use crate::conversion::DestinationName;

const LINES: (&str, &str) = ("content-type", "application/x-ndjson");

fn states(reply: &Reply) -> Vec<Value> {
    let results = reply.json["results"].as_array().unwrap_or_else(|| panic!("{reply:?}"));
    results.iter().map(|result| result["status"].clone()).collect()
}

fn counts(reply: &Reply) -> [u64; 3] {
    ["accepted", "duplicates", "refused"].map(|name| reply.json[name].as_u64().unwrap_or_else(|| panic!("{reply:?}")))
}

impl Running {
    async fn lines(&self, body: &str) -> Reply {
        call(self.address, Call { body, headers: &[LINES], ..Call::post() }).await
    }
}

#[tokio::test]
async fn each_of_an_array_is_kept_for_itself_and_found_again() {
    let relay = Running::start("", "").await;
    let events: Vec<String> = (0..5).map(|number| conversion(&format!("e-{number}"), "1.50")).collect();
    let reply = relay.post(&format!(" [{}]\n", events.join(", "))).await;
    assert_eq!((reply.status, counts(&reply)), (202, [5, 0, 0]), "{reply:?}");
    for (number, result) in reply.json["results"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&result["status"], &result["event_id"]), (&json!("accepted"), &json!(format!("e-{number}"))));
        assert_eq!(result["destinations"], json!({"first": "queued", "refunds": "skipped"}));
        let path = format!("/v1/conversions/{}", result["id"].as_str().unwrap());
        assert_eq!(relay.get(&path, "acme-token").await.json["event_id"], result["event_id"]);
    }
    let again = relay.post(&format!("[{}]", events.join(","))).await;
    assert_eq!((again.status, counts(&again)), (202, [0, 5, 0]), "{again:?}");
    assert_eq!(again.json["results"][4]["id"], reply.json["results"][4]["id"]);
    relay.end().await;
}

#[tokio::test]
async fn each_line_is_judged_in_its_place() {
    let relay = Running::start("", "").await;
    let body = format!(
        "{}\r\n\n{}\n{{\"time\": \n{}\n{}\n7\n",
        conversion("e-1", "1"),
        r#"{"event_id": "e-2"}"#,
        conversion("e-1", "1"),
        conversion("e-1", "2"),
    );
    let reply = relay.lines(&body).await;
    assert_eq!((reply.status, counts(&reply)), (207, [1, 1, 4]), "{reply:?}");
    assert_eq!(states(&reply), [json!("accepted"), json!(422), json!(400), json!("duplicate"), json!(422), json!(422)]);
    let results = reply.json["results"].as_array().unwrap();
    assert_eq!(results[0]["id"], results[3]["id"], "the first of the same key in one batch is the first");
    assert_eq!(results[1]["type"], "urn:capi-relay:problem:invalid-conversion");
    assert_eq!(results[1]["errors"], json!([{"pointer": "/time", "detail": "is required"}]));
    assert_eq!(results[2]["type"], "urn:capi-relay:problem:malformed-json");
    assert_eq!(results[4]["type"], "urn:capi-relay:problem:idempotency-key-reused");
    assert!(!reply.headers.contains_key("retry-after"), "none of them can be sent again as it is");
    let mut registry = Registry::default();
    relay.ingress.register_metrics(&mut registry);
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    assert!(metrics.contains(r#"capi_relay_refused_total{reason="invalid-conversion"} 2"#), "{metrics}");
    relay.end().await;
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_accepted_is_a_problem_with_its_results() {
    let relay = Running::start("", "").await;
    let refused = relay.lines("{}\n{\n").await;
    assert_eq!(refused.refusal(), (422, "urn:capi-relay:problem:invalid-batch"));
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    assert_eq!((counts(&refused), states(&refused)), ([0, 0, 2], vec![json!(422), json!(400)]));
    assert_eq!(relay.lines("\n \r\n").await.refusal(), (422, "urn:capi-relay:problem:invalid-batch"));

    soon(relay.queue.close()).await.unwrap();
    let closed = relay.lines(&format!("{}\n{}\n", conversion("e-1", "1"), conversion("e-2", "1"))).await;
    assert_eq!(closed.refusal(), (503, "urn:capi-relay:problem:unavailable"), "it may be sent again as it is");
    assert_eq!(
        (states(&closed), &closed.headers["retry-after"]),
        (vec![json!(503), json!(503)], &"2".parse().unwrap())
    );
    relay.drain();
    soon(relay.task).await.unwrap();
}

#[tokio::test]
async fn what_there_is_no_room_for_is_told_from_what_is_wrong() {
    let relay = Running::start("", "max_pending_bytes = \"1KiB\"").await;
    let events: Vec<String> = (0..200).map(|number| conversion(&format!("e-{number}"), "1")).collect();
    let mut reply = relay.lines(&events.join("\n")).await;
    if reply.status == 202 {
        reply = relay
            .lines(&(200..400).map(|number| conversion(&format!("e-{number}"), "1") + "\n").collect::<String>())
            .await;
    }
    assert!(matches!(reply.status, 207 | 503), "{reply:?}");
    assert!(states(&reply).contains(&json!(503)), "{reply:?}");
    assert_eq!(reply.headers["retry-after"], "10");
    relay.end().await;
}

/// A destination where two may wait.
fn small(action: &str) -> String {
    format!(
        "[destination.small]\nurl = \"https://small.example/\"\nmax_pending = 2\non_overflow = \"{action}\"\nmap.event = \"event_id\"\n"
    )
}

#[tokio::test]
async fn a_batch_fills_what_room_a_destination_has_and_no_more() {
    let small_name = DestinationName::parse("small").unwrap();
    for (action, status, state) in
        [("refuse", 207, Value::Null), ("dead_letter", 202, json!("dead")), ("skip", 202, json!("skipped"))]
    {
        let relay = Running::start_with("", "", &small(action)).await;
        let body: String = (0..5).map(|number| conversion(&format!("e-{number}"), "1") + "\n").collect();
        let reply = relay.lines(&body).await;
        let states: Vec<_> = (0..5).map(|at| reply.json["results"][at]["destinations"]["small"].clone()).collect();
        let queued = || json!("queued");
        assert_eq!(states, [queued(), queued(), state.clone(), state.clone(), state], "{action}: {reply:?}");
        assert_eq!((reply.status, relay.queue.backlog(&small_name).pending), (status, 2), "{action}");
        relay.end().await;
    }
}

#[tokio::test]
async fn a_batch_sent_again_goes_on_behind_its_repeats_where_there_is_room_again() {
    let small_name = DestinationName::parse("small").unwrap();
    let relay = Running::start_with("", "", &small("refuse")).await;
    let body: String = (0..5).map(|number| conversion(&format!("e-{number}"), "1") + "\n").collect();
    for expected in [[2, 0, 3], [2, 2, 1], [1, 4, 0]] {
        let reply = relay.lines(&body).await;
        assert_eq!(counts(&reply), expected, "{reply:?}");
        while relay.queue.backlog(&small_name).pending > 0 {
            let delivery = soon(relay.queue.next(&small_name)).await;
            relay.queue.settle(&delivery, crate::queue::Outcome::Delivered { captured: Default::default() }, None);
        }
    }
    relay.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_moment_do_not_go_beyond_what_may_wait() {
    let relay = Running::start_with("", "", &small("refuse")).await;
    let bodies: Vec<String> = (0..40).map(|number| conversion(&format!("e-{number}"), "1")).collect();
    let replies = futures_util::future::join_all(bodies.iter().map(|body| relay.post(body))).await;
    let accepted = replies.iter().filter(|reply| reply.status == 202).count();
    assert_eq!((accepted, replies.iter().filter(|reply| reply.status == 503).count()), (2, 38));
    relay.end().await;
}

#[tokio::test]
async fn a_batch_has_limits_and_no_key_of_its_own() {
    let relay = Running::start("", "").await;
    let many = |count: usize| format!("[{}]", vec![r#"{"time":"2026-01-31T12:00:00Z"}"#; count].join(","));
    let full = relay.post(&many(1000)).await;
    assert_eq!((full.status, counts(&full)), (202, [1000, 0, 0]));
    assert_eq!(relay.post(&many(1001)).await.refusal(), (413, "urn:capi-relay:problem:batch-too-large"));
    let keyed = async |body: &str| {
        call(relay.address, Call { body, headers: &[("idempotency-key", "k")], ..Call::post() }).await
    };
    assert_eq!(keyed(&many(2)).await.refusal(), (400, "urn:capi-relay:problem:invalid-idempotency-key"));
    let (one, again) = (keyed(&many(1)).await, keyed(&many(1)).await);
    assert_eq!((counts(&one), counts(&again)), ([1, 0, 0], [0, 1, 0]), "of one it is that one's");
    relay.end().await;
}

#[tokio::test]
async fn each_of_a_batch_counts_for_the_rate_and_all_or_none_is_let_through() {
    let relay = Running::start_with("", "", &merchant("gamma", "rate = \"1/h\"\nburst = 6")).await;
    let send = async |count: usize| {
        let body = (0..count).map(|number| conversion(&format!("{count}-{number}"), "1") + "\n").collect::<String>();
        call(relay.address, Call { token: Some("gamma-token"), body: &body, headers: &[LINES], ..Call::post() }).await
    };
    for more_than_the_burst in [8, 7] {
        let over = send(more_than_the_burst).await;
        assert_eq!(over.refusal(), (413, "urn:capi-relay:problem:batch-too-large"), "they never fit: {over:?}");
    }
    let all = send(2).await;
    assert_eq!((all.status, counts(&all)), (202, [2, 0, 0]), "what was refused cost one each: {all:?}");
    assert_eq!(all.headers["ratelimit"], r#""merchant";r=2;t=14400"#);
    let late = send(3).await;
    assert_eq!(late.refusal(), (429, "urn:capi-relay:problem:rate-limited"));
    // Of one an hour, until all three fit: one is left, and none was for nothing.
    let wait: u64 = late.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((7100..=7200).contains(&wait), "{wait}");
    assert_eq!(late.headers["ratelimit"], format!(r#""merchant";r=1;t={wait}"#));
    assert_eq!(send(1).await.status, 202);
    relay.end().await;
}

#[tokio::test]
async fn compressed_bodies_are_read_within_the_limit() {
    let relay = Running::start("body_max = \"64KiB\"", "").await;
    let send = async |coding: &str, body: Vec<u8>| {
        call_with(relay.address, &Call { headers: &[("content-encoding", coding)], ..Call::post() }, body).await
    };
    assert_eq!(send("gzip", gzip(conversion("e-1", "1").as_bytes())).await.status, 202);
    assert_eq!(send("zstd", zstd(conversion("e-1", "1").as_bytes())).await.status, 200, "the same content");
    let bomb = " ".repeat(10 << 20);
    for (coding, body) in [("gzip", gzip(bomb.as_bytes())), ("zstd", zstd(bomb.as_bytes()))] {
        assert!(body.len() < 64 << 10, "{coding}: {}", body.len());
        assert_eq!(send(coding, body).await.refusal(), (413, "urn:capi-relay:problem:body-too-large"), "{coding}");
        let broken = send(coding, conversion("e-2", "1").into_bytes()).await;
        assert_eq!(broken.refusal(), (400, "urn:capi-relay:problem:bad-request"), "{coding}");
    }
    relay.end().await;
}

#[tokio::test]
async fn a_body_that_is_compressed_may_fill_all_the_room_by_itself() {
    let relay = Running::start("body_max = \"32MiB\"", "").await;
    let conversion = conversion("e-1", "1");
    let body = gzip((" ".repeat(BODIES_BYTES_MAX.saturating_sub(conversion.len())) + &conversion).as_bytes());
    let reply =
        call_with(relay.address, &Call { headers: &[("content-encoding", "gzip")], ..Call::post() }, body).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    relay.has_free(BODIES_BYTES_MAX).await;
    relay.end().await;
}

#[tokio::test]
async fn a_batch_is_taken_in_its_order_however_long() {
    let relay = Running::start("", "").await;
    let first = crate::conversion::DestinationName::parse("first").unwrap();
    let mut events: Vec<String> = (0..1000).map(|number| conversion(&format!("e-{number}"), "1")).collect();
    (events[700], events[701]) = (conversion("same", "1"), conversion("same", "2"));
    let reply = relay.lines(&events.join("\n")).await;
    assert_eq!((reply.status, counts(&reply)), (207, [999, 0, 1]));
    assert_eq!(
        (&states(&reply)[700], &states(&reply)[701]),
        (&json!("accepted"), &json!(422)),
        "the first is the first"
    );
    for (number, result) in reply.json["results"].as_array().unwrap().iter().enumerate().filter(|(at, _)| *at != 701) {
        let delivery = soon(relay.queue.next(&first)).await;
        assert_eq!(json!(delivery.meta().id.to_string()), result["id"], "{number}");
        relay.queue.settle(&delivery, crate::queue::Outcome::Delivered { captured: Default::default() }, None);
    }
    relay.end().await;
}

#[tokio::test]
async fn a_batch_of_nothing_is_refused_with_results_of_nothing() {
    let relay = Running::start("", "").await;
    for reply in [relay.post("[]").await, relay.lines("\n\n").await] {
        assert_eq!(reply.refusal(), (422, "urn:capi-relay:problem:invalid-batch"));
        assert_eq!((counts(&reply), &reply.json["results"]), ([0, 0, 0], &json!([])));
    }
    relay.end().await;
}
