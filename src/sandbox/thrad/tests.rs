use serde_json::{Value, json};

use super::super::Platform;
use super::super::request::Request;
use super::super::tests::{Bench, changed};

const OK: &str = r#"{"status":"ok"}"#;
const DUPLICATE: &str = r#"{"status":"duplicate"}"#;

/// *Request*, the document's example.
fn example() -> Value {
    json!({
        "click_id": "clk_xyz",
        "conversion_time": "2026-05-26T12:34:56Z",
        "conversion_value": 99.99,
        "currency": "USD",
        "order_id": "order_123",
        "event_type": "purchase_completed",
    })
}

fn post(body: &str) -> Request {
    keyed(Some("order_123"), body)
}

fn keyed(idempotency_key: Option<&str>, body: &str) -> Request {
    let mut headers = vec![("authorization", "Bearer sandbox-thrad-key"), ("content-type", "application/json")];
    headers.extend(idempotency_key.map(|key| ("idempotency-key", key)));
    Request::of("POST", "/api/conversion", &headers, body)
}

#[track_caller]
fn wrong(changes: Value, violation: &str) {
    Bench::new(Platform::Thrad).refuse(&post(&changed(&example(), changes)), 422, &[violation]);
}

#[test]
fn the_documents_example_is_right() {
    Bench::new(Platform::Thrad).accept(&post(&example().to_string()), 200, OK);
}

#[test]
fn every_documented_field_and_any_extra_is_taken() {
    let all = changed(
        &example(),
        json!({
            "event_id": "e1", "tag_id": "t1", "page_url": "https://shop.example/", "referrer": "https://a.example/",
            "user_agent": "Mozilla/5.0", "session_id": "s", "client_id": "c", "conversion_value": 0,
            "conversion_time": "2026-05-26T12:34:56.789+02:00", "coupon": "X", "items": [{"sku": null}],
        }),
    );
    Bench::new(Platform::Thrad).accept(&post(&all), 200, OK);
}

#[test]
fn one_wrong_thing_is_one_violation() {
    let null = "is null: a field without a value is left out";
    wrong(json!({"click_id": null}), "click_id: is required");
    wrong(json!({"click_id": ""}), "click_id: is empty: a field without a value is left out");
    wrong(json!({"click_id": "None"}), "click_id: is the text \"None\": a field without a value is left out");
    wrong(json!({"conversion_time": null}), "conversion_time: is required");
    wrong(json!({"conversion_time": 1779798896}), "conversion_time: must be a JSON string");
    wrong(json!({"conversion_time": "2026-05-26"}), "conversion_time: must be an ISO 8601 date and time with its zone");
    wrong(json!({"conversion_value": null}), "conversion_value: is required");
    wrong(json!({"conversion_value": "99.99"}), "conversion_value: must be a JSON number");
    wrong(json!({"conversion_value": -1}), "conversion_value: must not be negative");
    wrong(json!({"currency": null}), "currency: is required");
    wrong(json!({"currency": "usd"}), "currency: must be an ISO 4217 code in capitals");
    wrong(json!({"order_id": 123}), "order_id: must be a JSON string");
    let with_null = example().to_string().replace("\"order_123\"", "null");
    Bench::new(Platform::Thrad).refuse(&post(&with_null), 422, &[&format!("order_id: {null}")]);
}

#[test]
fn bodies_that_are_no_object_are_refused() {
    let bench = Bench::new(Platform::Thrad);
    for body in ["[]", "", "{"] {
        let (answer, received) = bench.send(&post(body));
        assert_eq!(answer.status, 422);
        assert!(received.violations[0].starts_with("body: must be"), "{:?}", received.violations);
    }
}

#[test]
fn a_repeated_member_is_refused() {
    let twice = example().to_string().replace("{", r#"{"currency":"EUR","#);
    let (answer, received) = Bench::new(Platform::Thrad).send(&post(&twice));
    assert_eq!(answer.status, 422);
    assert!(received.violations[0].starts_with("body: must be JSON"), "{:?}", received.violations);
}

#[test]
fn headers_path_and_method_are_held_to_the_document() {
    let bench = Bench::new(Platform::Thrad);
    let body = example().to_string();
    let token = ("authorization", "Bearer sandbox-thrad-key");
    let json = ("content-type", "application/json");
    let key = ("idempotency-key", "k");
    let send = |method, target, headers: &[_]| Request::of(method, target, headers, &body);
    bench.refuse(&send("POST", "/v1/api/conversion", &[token, json, key]), 404, &["path: must be /api/conversion"]);
    bench.refuse(&send("PUT", "/api/conversion", &[token, json, key]), 405, &["method: must be POST"]);
    bench.refuse(&send("POST", "/api/conversion?a=b", &[token, json, key]), 422, &["query: must be empty"]);
    bench.refuse(&send("POST", "/api/conversion", &[json, key]), 401, &["Authorization: Missing bearer token"]);
    bench.refuse(
        &send("POST", "/api/conversion", &[("authorization", "Bearer other"), json, key]),
        401,
        &["Authorization: Invalid API key"],
    );
    bench.refuse(&send("POST", "/api/conversion", &[token, key]), 422, &["Content-Type: must be application/json"]);
    let quoted = ("idempotency-key", "\"k\"");
    bench.refuse(
        &send("POST", "/api/conversion", &[token, json, quoted]),
        422,
        &["Idempotency-Key: must be bare, without quotes"],
    );
    bench.refuse(
        &keyed(None, &changed(&example(), json!({"order_id": null}))),
        422,
        &["Idempotency-Key: always send it or order_id: a retry would create a second conversion"],
    );
}

#[test]
fn errors_have_the_documented_bodies() {
    let bench = Bench::new(Platform::Thrad);
    let answer = |changes| bench.send(&post(&changed(&example(), changes))).0;
    assert_eq!(answer(json!({"click_id": "missing_1"})).body, r#"{"detail":"Click not found"}"#);
    assert_eq!(answer(json!({"click_id": "missing_1"})).status, 404);
    assert_eq!(answer(json!({"click_id": "nobid_1"})).body, r#"{"detail":"Click missing bid id"}"#);
    assert_eq!(answer(json!({"click_id": "nobid_1"})).status, 400);
    assert_eq!(
        answer(json!({"currency": null})).body,
        r#"{"detail":[{"loc":["body","currency"],"msg":"is required","type":"value_error"}]}"#
    );
    assert_eq!(bench.counts().effects, 0);
}

#[test]
fn the_header_deduplicates_with_click_and_event_type() {
    let bench = Bench::new(Platform::Thrad);
    let send = |key, changes| bench.send(&keyed(key, &changed(&example(), changes))).0.body;
    assert_eq!(send(Some("k"), json!({})), OK);
    assert_eq!(send(Some("k"), json!({"conversion_value": 1})), DUPLICATE);
    assert_eq!(send(Some("k"), json!({"event_type": null})), DUPLICATE, "purchase_completed is the default");
    assert_eq!(send(Some("k"), json!({"event_type": "lead_created"})), OK);
    assert_eq!(send(Some("k"), json!({"click_id": "clk_2"})), OK);
    assert_eq!(send(Some("other"), json!({})), OK, "with a header the order id is no key");
}

#[test]
fn without_the_header_event_id_and_then_order_id_deduplicate() {
    let bench = Bench::new(Platform::Thrad);
    let send = |changes| bench.send(&keyed(None, &changed(&example(), changes))).0.body;
    assert_eq!(send(json!({})), OK);
    assert_eq!(send(json!({"click_id": "clk_2"})), DUPLICATE, "order_id is not scoped");
    assert_eq!(send(json!({"event_id": "e1"})), OK);
    assert_eq!(send(json!({"event_id": "e1", "order_id": "order_124"})), DUPLICATE);
}
