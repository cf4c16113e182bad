//! Refunds and adjustments, end to end: what each platform receives of them, and what is said where it has no call.

use capi_relay::sandbox::{Behaviour, Platform, Received};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Answer, Bench, conversion};

const ALL: [&str; 5] = ["thrad", "impact", "scaleo", "trackdesk", "dsp"];

/// Takes back or changes an order that [`conversion`] made, with further members.
fn later(kind: &str, order: &str, more: &Value) -> Value {
    let mut later = json!({
        "kind": kind, "order_id": order, "time": "2026-11-21T09:00:00Z", "currency": "EUR",
        "click_ids": { "scaleo": format!("scl{order}") },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        later[key] = value.clone();
    }
    later
}

impl Bench {
    /// Sends an order everywhere, and waits until it has arrived.
    async fn sold(&self, order: &str) {
        let id = self.post(&conversion(order)).await.id();
        let status = self.settled(&id, &ALL).await;
        for name in ALL {
            assert_eq!(status["destinations"][name]["state"], "delivered", "{status:#}");
        }
    }

    /// Posts a refund or adjustment and follows it until it is settled: the first answer, and the status at last.
    async fn changed(&self, later: &Value) -> (Answer, Value) {
        let answer = self.post(later).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        let status = self.settled(&answer.id(), &ALL).await;
        (answer, status)
    }

    /// What a platform received last: right, and with an effect.
    #[track_caller]
    fn last(&self, platform: Platform) -> Received {
        let last = self.sandbox.received(platform).pop().unwrap();
        assert_eq!(last.violations, Vec::<String>::new(), "{last:#?}");
        assert!(last.effect, "{last:#?}");
        last
    }
}

/// The answer and the status say so, with these words in the reason.
#[track_caller]
fn unsupported(answer: &Answer, status: &Value, destination: &str, words: &str) {
    assert_eq!(answer.body["destinations"][destination], "unsupported", "{}", answer.body);
    let delivery = &status["destinations"][destination];
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("unsupported"), &json!(0)), "{status:#}");
    let reason = delivery["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(words), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_takes_the_whole_order_back_wherever_there_is_a_call_for_it() {
    let bench = Bench::start("").await;
    bench.sold("order-1").await;
    let (answer, status) = bench.changed(&later("refund", "order-1", &json!({ "reason": "cons_fraud" }))).await;
    for name in ["impact", "scaleo", "trackdesk"] {
        assert_eq!(answer.body["destinations"][name], "queued", "{}", answer.body);
        assert_eq!(status["destinations"][name]["state"], "delivered", "{status:#}");
    }
    for name in ["thrad", "dsp"] {
        unsupported(&answer, &status, name, "no operation for a conversion of kind refund");
    }

    let impact = bench.last(Platform::Impact);
    assert_eq!((impact.method.as_str(), impact.operation), ("DELETE", "reversal"));
    assert_eq!(impact.body, "ActionTrackerId=12345&OrderId=order-1&DispositionCode=CONS_FRAUD");
    let scaleo = bench.last(Platform::Scaleo);
    assert_eq!((scaleo.method.as_str(), scaleo.operation), ("GET", "status"));
    assert_eq!(
        scaleo.target,
        "/track/conv-change?click_id=sclorder-1&conv_status=rejected&token=sandbox-scaleo-security-token"
    );
    let trackdesk = bench.last(Platform::Trackdesk);
    assert_eq!((trackdesk.method.as_str(), trackdesk.operation), ("POST", "status"));
    let body: Value = serde_json::from_str(&trackdesk.body).unwrap();
    let expected = json!({
        "external_id": "order-1", "conversion_type_code": "sale", "status": "CONVERSION_STATUS_REFUNDED",
    });
    assert_eq!(body, expected);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_names_its_sale_by_event_id_is_no_repeat_of_the_sale() {
    let bench = Bench::start("").await;
    let mut sale = conversion("evt-1");
    sale["event_id"] = json!("evt-1");
    sale.as_object_mut().unwrap().remove("order_id");
    assert_eq!(bench.post(&sale).await.status, StatusCode::ACCEPTED);
    let refund = json!({ "kind": "refund", "event_id": "evt-1", "time": "2026-11-21T09:00:00Z" });
    let taken = bench.post(&refund).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.body);
    assert_eq!(bench.post(&refund).await.status, StatusCode::OK, "posted again");
    assert_eq!(bench.post(&sale).await.status, StatusCode::OK, "posted again");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adjustment_sets_the_new_total_where_the_platform_has_one() {
    let bench = Bench::start("").await;
    bench.sold("order-1").await;
    let total = json!({ "value": "49.955", "currency": "EUR", "reason": "one came back broken" });
    let (answer, status) = bench.changed(&later("adjustment", "order-1", &total)).await;
    for name in ["impact", "scaleo"] {
        assert_eq!(status["destinations"][name]["state"], "delivered", "{status:#}");
    }
    for name in ["thrad", "trackdesk", "dsp"] {
        unsupported(&answer, &status, name, "no operation for a conversion of kind adjustment");
    }
    let impact = bench.last(Platform::Impact);
    assert_eq!((impact.method.as_str(), impact.operation), ("PUT", "modification"));
    assert_eq!(impact.body, "ActionTrackerId=12345&OrderId=order-1&Amount=49.96&Reason=ORDER_UPDATE");
    let scaleo = bench.last(Platform::Scaleo);
    assert_eq!(
        scaleo.target,
        "/track/conv-change?click_id=sclorder-1&amount=49.955&token=sandbox-scaleo-security-token"
    );
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_a_part_takes_nothing_back_and_says_what_would() {
    let bench = Bench::start("").await;
    bench.sold("order-1").await;
    for part in [
        json!({ "value": "10.00", "currency": "EUR" }),
        json!({ "value": "-10.00", "currency": "EUR" }),
        json!({ "items": [{ "sku": "A-1", "quantity": 1 }] }),
    ] {
        let (answer, status) = bench.changed(&later("refund", "order-1", &part)).await;
        unsupported(&answer, &status, "impact", "for a part of one send an adjustment with the new total");
        unsupported(&answer, &status, "scaleo", "for a part of one send an adjustment with the new total");
        unsupported(&answer, &status, "trackdesk", "of a part of one Trackdesk knows nothing");
    }
    for platform in Platform::ALL {
        assert_eq!(bench.sandbox.received(platform).len(), 1, "the order, and no refund");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_without_an_answer_is_sent_again_only_where_a_repeat_is_harmless() {
    let bench = Bench::start("").await;
    bench.sold("order-1").await;
    for platform in [Platform::Impact, Platform::Scaleo, Platform::Trackdesk] {
        bench.sandbox.script(platform, Behaviour::LoseAnswer { times: Some(1) });
    }
    let (_, status) = bench.changed(&later("refund", "order-1", &json!({}))).await;
    for (platform, state, requests) in
        [(Platform::Impact, "delivered", 3), (Platform::Trackdesk, "delivered", 3), (Platform::Scaleo, "dead", 2)]
    {
        assert_eq!(status["destinations"][platform.name()]["state"], state, "{status:#}");
        let counts = bench.sandbox.counts(platform);
        assert_eq!((counts.requests, counts.effects, counts.violations), (requests, 2, 0), "{platform:?}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_scaleos_is_found_by_its_id() {
    let bench = Bench::start("").await;
    let id = bench.post(&conversion("order-1")).await.id();
    let status = bench.settled(&id, &ALL).await;
    let transaction = &status["destinations"]["scaleo"]["captured"]["transaction_id"];
    let by_transaction = json!({ "custom": { "scaleo": { "transaction_id": transaction } } });
    let (_, status) = bench.changed(&later("refund", "order-1", &by_transaction)).await;
    assert_eq!(status["destinations"]["scaleo"]["state"], "delivered", "{status:#}");
    let target = bench.last(Platform::Scaleo).target;
    let id = transaction.as_str().unwrap();
    let expected =
        format!("/track/conv-change?transaction_id={id}&conv_status=rejected&token=sandbox-scaleo-security-token");
    assert_eq!(target, expected);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_orders_of_a_click_the_one_that_scaleo_never_got_takes_nothing_back() {
    let bench = Bench::start("").await;
    bench.sold("order-1").await;
    let same_click = json!({ "scaleo": "sclorder-1" });
    let mut dollars = conversion("order-2");
    dollars["currency"] = json!("USD");
    dollars["click_ids"] = same_click.clone();
    let answer = bench.post(&dollars).await;
    assert_eq!(answer.body["destinations"]["scaleo"], "skipped", "{}", answer.body);
    let said = |currency: Value| {
        let mut refund = later("refund", "order-2", &json!({ "click_ids": same_click, "currency": currency }));
        if currency.is_null() {
            drop(refund.as_object_mut().unwrap().remove("currency"));
        }
        refund
    };
    let (answer, status) = bench.changed(&said(json!("USD"))).await;
    unsupported(&answer, &status, "scaleo", "currency is USD, and expect_currency is EUR");
    let mut unsaid = said(Value::Null);
    unsaid["event_id"] = json!("order-2-again");
    let (answer, status) = bench.changed(&unsaid).await;
    unsupported(&answer, &status, "scaleo", "a refund here must name its currency: expect_currency is EUR");
    assert_eq!(bench.sandbox.received(Platform::Scaleo).len(), 1, "the first order, and no refund");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_conversion_of_the_destinations_is_unsupported() {
    let bench = Bench::start("").await;
    let (answer, status) =
        bench.changed(&json!({ "kind": "refund", "order_id": "o", "time": "2026-11-21T09:00:00Z" })).await;
    unsupported(&answer, &status, "scaleo", "with `click_ids.scaleo` or `custom.scaleo.transaction_id`");
    let other = later("refund", "o", &json!({ "event_type": "lead_created" }));
    let (answer, status) = bench.changed(&other).await;
    for name in ["impact", "scaleo", "trackdesk"] {
        unsupported(&answer, &status, name, "event_type == vars.event_type");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_refund_lacks_in_the_configuration_is_named() {
    let bare = r#"
[destination.impact-bare]
preset = "impact"
vars.account_sid = "IRsid"
vars.campaign_id = 1000
vars.event_type_id = 12345
secrets.auth_token = "t"
[destination.scaleo-bare]
preset = "scaleo"
expect_currency = "EUR"
vars.domain = "track.example"
secrets.api_key = "k"
[destination.trackdesk-bare]
preset = "trackdesk-get"
vars.tenant = "acme"
vars.conversion_type = "sale"
"#;
    let bench = Bench::start(bare).await;
    let (answer, status) = bench.changed(&later("refund", "order-1", &json!({}))).await;
    unsupported(&answer, &status, "impact-bare", "operation refund needs vars.action_tracker_id, which is not set");
    unsupported(&answer, &status, "scaleo-bare", "operation refund needs secrets.security_token, which is not set");
    unsupported(&answer, &status, "trackdesk-bare", "operation refund needs secrets.api_key, which is not set");
    let total = json!({ "value": "5.00", "currency": "EUR" });
    let (answer, status) = bench.changed(&later("adjustment", "order-1", &total)).await;
    unsupported(&answer, &status, "impact-bare", "operation adjustment needs vars.action_tracker_id, which is not set");
    unsupported(&answer, &status, "scaleo-bare", "operation adjustment needs secrets.security_token, which is not set");
    bench.stop().await;
}
