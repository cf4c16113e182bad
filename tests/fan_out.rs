//! One conversion in, five destinations out; a sick destination costs the others nothing.

use capi_relay::sandbox::{Behaviour, Platform};
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Bench, conversion, eventually, impatient};

const ALL: [&str; 5] = ["thrad", "impact", "scaleo", "trackdesk", "dsp"];

#[tokio::test(flavor = "multi_thread")]
async fn one_conversion_reaches_all_five_and_breaks_no_document() {
    let bench = Bench::start("").await;
    let answer = bench.post(&conversion("order-1")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    let id = answer.id();
    assert_eq!(answer.headers["location"], format!("/v1/conversions/{id}"));
    let status = bench.settled(&id, &ALL).await;
    for platform in Platform::ALL {
        assert_eq!(status["destinations"][platform.name()]["state"], "delivered", "{status:#}");
        let received = bench.sandbox.received(platform);
        assert_eq!(received.len(), 1, "{received:#?}");
        assert_eq!(received[0].violations, Vec::<String>::new(), "{received:#?}");
        assert!(received[0].effect);
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_amount_arrives_as_it_was_written() {
    let bench = Bench::start("").await;
    let mut large = conversion("order-large");
    large["value"] = json!("12345678901234.56");
    let mut small = conversion("order-small");
    small["value"] = serde_json::from_str("99.90").unwrap();
    for (conversion, text) in [(large, "12345678901234.56"), (small, "99.90")] {
        let id = bench.post(&conversion).await.id();
        bench.settled(&id, &["thrad", "trackdesk", "dsp"]).await;
        let order = conversion["order_id"].as_str().unwrap();
        for (platform, expected) in [
            (Platform::Thrad, format!("\"conversion_value\":{text}")),
            (Platform::Trackdesk, format!("\"value\":\"{text}\"")),
            (Platform::Dsp, format!("\"value\":{text}")),
        ] {
            let received = bench.sandbox.received(platform);
            let request = received.iter().find(|received| received.body.contains(order)).unwrap();
            assert!(request.body.contains(&expected), "{}", request.body);
        }
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_with_the_first_and_sent_to_nobody() {
    let bench = Bench::start("").await;
    let first = bench.post(&conversion("order-1")).await.id();
    bench.settled(&first, &ALL).await;
    let repeat = bench.post(&conversion("order-1")).await;
    assert_eq!(repeat.status, StatusCode::OK);
    assert_eq!(repeat.body["status"], "duplicate");
    assert_eq!(repeat.id(), first);
    assert_eq!(repeat.body["destinations"]["thrad"], "delivered");
    let mut other = conversion("order-1");
    other["value"] = json!("1.00");
    let reused = bench.post(&other).await;
    assert_eq!(reused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(reused.body["type"].as_str().unwrap().ends_with("idempotency-key-reused"), "{}", reused.body);
    for platform in Platform::ALL {
        assert_eq!(bench.sandbox.received(platform).len(), 1);
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_concurrent_firsts_settle_to_one() {
    let bench = Bench::start("").await;
    let (url, body) = (bench.url("/v1/conversions"), conversion("order-1").to_string());
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (http, url, body) = (bench.http.clone(), url.clone(), body.clone());
        posts.spawn(async move { http.post(&url, body).await });
    }
    let answers = posts.join_all().await;
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).collect();
    assert_eq!(accepted.len(), 1);
    let id = accepted[0].id();
    assert!(answers.iter().all(|answer| answer.id() == id));
    bench.settled(&id, &ALL).await;
    for platform in Platform::ALL {
        assert_eq!(bench.sandbox.received(platform).len(), 1);
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_and_a_failing_destination_do_not_touch_the_others() {
    let bench = Bench::start_as(|routes| impatient(&routes, "impact")).await;
    bench.sandbox.script(Platform::Impact, Behaviour::Hang);
    let failing = Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None };
    bench.sandbox.script(Platform::Scaleo, failing);
    let healthy = ["thrad", "trackdesk", "dsp"];
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(bench.post(&conversion(&format!("order-{number}"))).await.id());
    }
    for id in &ids {
        let status = bench.settled(id, &healthy).await;
        for name in healthy {
            let delivery = &status["destinations"][name];
            assert_eq!(delivery["state"], "delivered", "{status:#}");
            assert_eq!(delivery["attempts"], 1, "{status:#}");
        }
    }
    let sick = bench.status(&ids[0]).await;
    assert!(matches!(sick["destinations"]["impact"]["state"].as_str(), Some("queued" | "retrying")), "{sick:#}");
    assert!(matches!(sick["destinations"]["scaleo"]["state"].as_str(), Some("queued" | "retrying")), "{sick:#}");

    // Well again: what waited arrives.
    bench.sandbox.script(Platform::Impact, Behaviour::Document);
    bench.sandbox.script(Platform::Scaleo, Behaviour::Document);
    for id in &ids {
        let status = bench.settled(id, &["impact", "scaleo"]).await;
        assert_eq!(status["destinations"]["impact"]["state"], "delivered", "{status:#}");
        assert_eq!(status["destinations"]["scaleo"]["state"], "delivered", "{status:#}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_delivery_is_a_dead_letter_that_can_be_read() {
    let bench = Bench::start("").await;
    let refuse = Behaviour::Answer {
        status: 404,
        headers: Vec::new(),
        body: "{\"detail\":\"Click not found\"}".into(),
        times: None,
    };
    bench.sandbox.script(Platform::Thrad, refuse);
    let id = bench.post(&conversion("order-1")).await.id();
    let status = bench.settled(&id, &ALL).await;
    assert_eq!(status["destinations"]["thrad"]["state"], "dead");
    assert_eq!(status["destinations"]["thrad"]["attempts"], 1);
    let url = format!("http://{}/admin/dead?destination=thrad", bench.relay.admin());
    let page = eventually("the dead letter", async || {
        let page = bench.http.call(Method::GET, &url, &[], "").await.body;
        (!page["dead"].as_array()?.is_empty()).then_some(page)
    })
    .await;
    let letter = &page["dead"][0];
    assert_eq!((letter["id"].as_str(), letter["kind"].as_str()), (Some(id.as_str()), Some("rejected")), "{page:#}");
    assert!(letter["last"]["excerpt"].as_str().unwrap().contains("Click not found"), "{page:#}");
    let discard = format!("http://{}/admin/dead/discard", bench.relay.admin());
    let wish = serde_json::json!({"ids": [id], "reason": "paid by hand"}).to_string();
    let answer = bench.http.call(Method::POST, &discard, &[("content-type", "application/json")], &wish).await;
    assert_eq!(
        (answer.status, &answer.body),
        (http::StatusCode::OK, &serde_json::json!({"matched": 1, "discarded": 1}))
    );
    let thrad = bench.status(&id).await["destinations"]["thrad"].clone();
    assert_eq!((&thrad["state"], &thrad["reason"]), (&"discarded".into(), &"paid by hand".into()), "{thrad:#}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_credential_suspends_the_destination_and_buries_nothing() {
    let bench = Bench::start("").await;
    let refuse = Behaviour::Answer { status: 401, headers: Vec::new(), body: "Invalid API key".into(), times: None };
    bench.sandbox.script(Platform::Thrad, refuse);
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for number in 0..20 {
            ids.push(bench.post(&conversion(&format!("order-{number}"))).await.id());
        }
        ids
    };
    for id in &ids {
        bench.settled(id, &["impact", "scaleo", "trackdesk", "dsp"]).await;
        let status = eventually("held", async || {
            let status = bench.status(id).await;
            (status["destinations"]["thrad"]["state"] == "held").then_some(status)
        })
        .await;
        assert!(status["destinations"]["thrad"]["reason"].is_string(), "{status:#}");
    }
    bench.stop().await;
}
