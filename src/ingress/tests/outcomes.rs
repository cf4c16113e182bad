//! What became of conversions: waited for, and by order.

use serde_json::Value;

use super::*;
use crate::conversion::DestinationName;
use crate::ingress::conversions::WAITED_FOR_MAX;
use crate::queue::{DeadKind, ORDER_STATUSES_MAX, Outcome};

fn waiting<'a>(body: &'a str, headers: &'a [(&'a str, &'a str)]) -> Call<'a> {
    Call { body, headers, ..Call::post() }
}

/// Settles the next delivery to `first`.
async fn settle(relay: &Running, outcome: Outcome) {
    let first = DestinationName::parse("first").unwrap();
    let delivery = soon(relay.queue.next(&first)).await;
    relay.queue.settle(&delivery, outcome, None);
}

#[tokio::test]
async fn whoever_prefers_to_wait_is_answered_with_the_outcomes() {
    let relay = Running::start("", "").await;
    let body = conversion("e-1", "1");
    let headers = [("prefer", "respond-async, wait=30")];
    let call = call(relay.address, waiting(&body, &headers));
    let dead = Outcome::Dead { kind: DeadKind::Rejected, reason: "no".to_owned() };
    let (reply, ()) = tokio::join!(call, settle(&relay, dead));
    assert_eq!((reply.status, &reply.json["status"]), (200, &json!("accepted")), "{reply:?}");
    assert_eq!(reply.json["destinations"], json!({"first": "dead", "refunds": "skipped"}));
    assert_eq!(reply.headers["preference-applied"], "wait=30");
    assert!(reply.headers.contains_key("location"));

    let again = super::call(relay.address, waiting(&body, &headers)).await;
    assert_eq!((again.status, &again.json["destinations"]["first"]), (200, &json!("dead")), "{again:?}");
    relay.end().await;
}

#[tokio::test]
async fn whoever_has_waited_long_enough_gets_the_usual_answer() {
    let relay = Running::start("", "").await;
    let late = call(relay.address, waiting(&conversion("e-1", "1"), &[("prefer", "wait=1")])).await;
    assert_eq!((late.status, &late.json["destinations"]["first"]), (202, &json!("queued")), "{late:?}");
    assert_eq!(late.headers["preference-applied"], "wait=1");
    let plain = relay.post(&conversion("e-2", "1")).await;
    assert!(!plain.headers.contains_key("preference-applied"));
    relay.end().await;
}

#[tokio::test]
async fn a_batch_is_waited_for_as_a_whole() {
    let relay = Running::start("", "").await;
    let body = format!("[{}, {{}}, {}]", conversion("e-1", "1"), conversion("e-2", "1"));
    let headers = [("prefer", "wait=30")];
    let delivered = || Outcome::Delivered { captured: Default::default() };
    let settle_both = async {
        settle(&relay, delivered()).await;
        settle(&relay, delivered()).await;
    };
    let (reply, ()) = tokio::join!(call(relay.address, waiting(&body, &headers)), settle_both);
    assert_eq!(reply.status, 207, "{reply:?}");
    let states: Vec<_> = [0, 2].map(|at| &reply.json["results"][at]["destinations"]["first"]).into();
    assert_eq!(states, ["delivered", "delivered"], "{reply:?}");
    let body = format!("[{}, {}]", conversion("e-1", "1"), conversion("e-2", "1"));
    assert_eq!(call(relay.address, waiting(&body, &headers)).await.status, 200, "all settled");
    relay.end().await;
}

#[tokio::test]
async fn a_relay_that_drains_lets_nobody_wait() {
    let relay = Running::start("", "").await;
    let body = conversion("e-1", "1");
    let first = DestinationName::parse("first").unwrap();
    let drain = async {
        // On disk and handed out: from here on the answer only waits.
        let _held = soon(relay.queue.next(&first)).await;
        // Who waits holds none of the room for bodies.
        relay.has_free(BODIES_BYTES_MAX).await;
        relay.drain();
    };
    let (reply, ()) = tokio::join!(call(relay.address, waiting(&body, &[("prefer", "wait=30")])), drain);
    assert_eq!((reply.status, &reply.json["destinations"]["first"]), (202, &json!("queued")), "{reply:?}");
    relay.end().await;
}

#[tokio::test]
async fn an_order_shows_all_its_conversions_to_its_merchant_alone() {
    let relay = Running::start("", "").await;
    let of_order = |event_id: &str, order_id: &str, kind: &str| {
        let value = if kind == "refund" { "-5" } else { "50" };
        json!({"event_id": event_id, "order_id": order_id, "kind": kind, "time": "2026-01-31T12:00:00Z", "value": value,
            "currency": "EUR"})
        .to_string()
    };
    let order = "10/01 ä%";
    let (sold, back) = (of_order("e-1", order, "conversion"), of_order("e-2", order, "refund"));
    let sold = relay.post(&sold).await;
    let back = relay.post(&back).await;
    relay.post(&of_order("e-3", "other", "conversion")).await;
    let path = "/v1/orders/10%2F01%20%C3%A4%25";
    let shown = relay.get(path, "acme-token").await;
    assert_eq!((shown.status, &shown.json["order_id"]), (200, &json!(order)), "{shown:?}");
    assert_eq!(shown.json["whole"], true);
    let conversions = shown.json["conversions"].as_array().unwrap();
    let ids: Vec<_> = conversions.iter().map(|conversion| &conversion["id"]).collect();
    assert_eq!(ids, [&sold.json["id"], &back.json["id"]], "oldest first");
    assert_eq!(conversions[0]["destinations"]["first"]["state"], "queued");
    assert_eq!(conversions[1]["destinations"]["first"]["state"], "unsupported");
    assert_eq!(relay.get(path, "beta-token").await.refusal(), (404, "urn:capi-relay:problem:not-found"));
    assert_eq!(relay.get("/v1/orders/%FF", "acme-token").await.refusal(), (400, "urn:capi-relay:problem:bad-request"));
    assert_eq!(relay.get("/v1/orders/unknown", "acme-token").await.status, 404);
    assert_eq!(call(relay.address, Call::get(path)).await.status, 401);
    relay.end().await;
}

#[tokio::test]
async fn more_than_may_wait_for_a_destination_is_refused_given_up_or_left_out() {
    for (action, status, state, pending) in
        [("refuse", 503, Value::Null, 2), ("dead_letter", 202, json!("dead"), 2), ("skip", 202, json!("skipped"), 2)]
    {
        let extra = format!(
            "[destination.small]\nurl = \"https://small.example/\"\nmax_pending = 2\non_overflow = \"{action}\"\nmap.event = \"event_id\"\n"
        );
        let relay = Running::start_with("", "", &extra).await;
        let counted = |count: u8| {
            let mut registry = Registry::default();
            relay.ingress.register_metrics(&mut registry);
            let mut metrics = String::new();
            prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
            let line = format!("capi_relay_overflowed_total{{destination=\"small\",action=\"{action}\"}} {count}\n");
            assert!(metrics.contains(&line), "{metrics}");
        };
        counted(0);
        for number in 0..2 {
            let reply = relay.post(&conversion(&format!("e-{number}"), "1")).await;
            assert_eq!(reply.json["destinations"]["small"], "queued", "{action}: {reply:?}");
        }
        let over = relay.post(&conversion("e-2", "1")).await;
        assert_eq!((over.status, &over.json["destinations"]["small"]), (status, &state), "{action}: {over:?}");
        if status == 503 {
            assert_eq!(over.refusal(), (503, "urn:capi-relay:problem:queue-full"));
            let detail = "2 deliveries wait for small, and its `max_pending` is 2";
            assert_eq!((&over.json["detail"], &over.headers["retry-after"]), (&json!(detail), &"10".parse().unwrap()));
        } else {
            assert_eq!(over.json["destinations"]["first"], "queued", "{action}: the others get it");
            // A repeat brings nothing that could be too much.
            assert_eq!(relay.post(&conversion("e-2", "1")).await.status, 200, "{action}");
        }
        let small = DestinationName::parse("small").unwrap();
        assert_eq!(relay.queue.backlog(&small).pending, pending, "{action}");
        let listed = relay.queue.dead_letters(Default::default(), Default::default()).await.unwrap().dead;
        let listed: Vec<_> = listed.into_iter().map(|letter| (letter.kind, letter.reason)).collect();
        let reason = "never attempted: 2 deliveries wait for small, and its `max_pending` is 2".to_owned();
        let expected = if action == "dead_letter" { vec![(DeadKind::Exhausted, reason)] } else { Vec::new() };
        assert_eq!(listed, expected, "{action}");
        counted(1);

        // Once there is room, everything is as ever.
        let delivery = soon(relay.queue.next(&small)).await;
        relay.queue.settle(&delivery, Outcome::Delivered { captured: Default::default() }, None);
        assert_eq!(relay.post(&conversion("e-3", "1")).await.json["destinations"]["small"], "queued", "{action}");
        relay.end().await;
    }
}

#[tokio::test]
async fn dead_letters_of_an_overflow_are_bounded_and_what_is_left_out_is_not() {
    let extra = "[destination.small]\nurl = \"https://small.example/\"\nmax_pending = 1\non_overflow = \"dead_letter\"\nmap.event = \"event_id\"\n";
    let relay = Running::start_with("", "max_dead_letters = 2", extra).await;
    let mut came = Vec::new();
    for number in 0..4 {
        let reply = relay.post(&conversion(&format!("e-{number}"), "1")).await;
        came.push((reply.status, reply.json["destinations"]["small"].clone()));
    }
    let dead = || (202, json!("dead"));
    assert_eq!(came, [(202, json!("queued")), dead(), dead(), (503, Value::Null)]);
    relay.end().await;

    // A destination that is stopped for its dead letters is left out all the same where that is what was asked for.
    let relay = Running::start_with("", "max_dead_letters = 1", &extra.replace("dead_letter", "skip")).await;
    relay.post(&conversion("e-0", "1")).await;
    let delivery = soon(relay.queue.next(&DestinationName::parse("small").unwrap())).await;
    relay.queue.settle(&delivery, Outcome::Dead { kind: DeadKind::Rejected, reason: "no".to_owned() }, None);
    for (event, state) in [("e-1", "held"), ("e-2", "skipped")] {
        let reply = relay.post(&conversion(event, "1")).await;
        assert_eq!((reply.status, &reply.json["destinations"]["small"]), (202, &json!(state)), "{reply:?}");
    }
    relay.end().await;
}

#[tokio::test]
async fn of_an_order_of_many_conversions_the_newest_are_shown_and_that_there_are_older_ones() {
    let relay = Running::start("", "").await;
    // As long as an id may be.
    let order = "\u{10000}".repeat(256);
    let path = format!("/v1/orders/{}", "%F0%90%80%80".repeat(256));
    let lines = |numbers: std::ops::RangeInclusive<usize>| {
        let line =
            |number| json!({"event_id": format!("e-{number}"), "order_id": order, "time": "2026-01-31T12:00:00Z"});
        numbers.map(|number| line(number).to_string() + "\n").collect::<String>()
    };
    let headers = [("content-type", "application/x-ndjson")];
    let shown = async |numbers, whole: bool| {
        let kept = call(relay.address, Call { body: &lines(numbers), headers: &headers, ..Call::post() }).await;
        assert_eq!(kept.status, 202, "{kept:?}");
        let shown = relay.get(&path, "acme-token").await;
        let conversions = shown.json["conversions"].as_array().unwrap_or_else(|| panic!("{shown:?}"));
        assert_eq!((conversions.len(), &shown.json["whole"]), (ORDER_STATUSES_MAX, &json!(whole)));
        conversions.iter().map(|conversion| conversion["event_id"].clone()).collect::<Vec<_>>()
    };
    shown(1..=100, true).await;
    // Those of one millisecond are in no order.
    let clock = relay.ingress.clock();
    let before = clock.unix_ms();
    while clock.unix_ms() == before {
        tokio::task::yield_now().await;
    }
    let mut newest = shown(101..=103, false).await.split_off(97);
    newest.sort_by_key(ToString::to_string);
    assert_eq!(newest, ["e-101", "e-102", "e-103"]);
    relay.end().await;
}

#[tokio::test]
async fn so_many_conversions_are_waited_for_and_beyond_them_the_answer_comes_at_once() {
    let relay = Running::start("", "").await;
    let batch = |name: &str, count: usize| {
        (0..count).map(|number| conversion(&format!("{name}-{number}"), "1") + "\n").collect::<String>()
    };
    async fn post(address: SocketAddr, body: String) -> Reply {
        let headers = [("content-type", "application/x-ndjson"), ("prefer", "wait=30")];
        call(address, Call { body: &body, headers: &headers, ..Call::post() }).await
    }
    let (mut waiting, mut left) = (Vec::new(), WAITED_FOR_MAX);
    while left > 0 {
        let count = left.min(1000);
        let body = batch(&left.to_string(), count);
        waiting.push(tokio::spawn(post(relay.address, body)));
        left = left.saturating_sub(count);
    }
    soon(async {
        while relay.ingress.waited_for.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let beyond = post(relay.address, batch("beyond", 1)).await;
    assert_eq!((beyond.status, beyond.headers.get("preference-applied")), (202, None), "{beyond:?}");
    relay.drain();
    for waited in waiting {
        assert_eq!(soon(waited).await.unwrap().headers["preference-applied"], "wait=30");
    }
    assert_eq!(relay.ingress.waited_for.available_permits(), WAITED_FOR_MAX);
    relay.end().await;
}
