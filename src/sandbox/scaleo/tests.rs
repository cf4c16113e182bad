use serde_json::{Value, json};

use super::super::request::Request;
use super::super::tests::{Bench, changed};
use super::super::{Accounts, Platform};

const TARGET: &str = "/api/v2/network/tracking/conv-click-id?api-key=sandbox-scaleo-key";
const TOKEN: &str = "sandbox-scaleo-security-token";

/// The document's request, with values of the listed kinds.
fn example() -> Value {
    json!({"click_id": "974efaa86716e372442ab44c8a3f563b", "revenue": 1, "payout": 1, "amount": 1, "conv_status": "pending", "goal_id": 1})
}

fn to(target: &str, body: &str) -> Request {
    Request::of("POST", target, &[("content-type", "application/json")], body)
}

fn post(body: &str) -> Request {
    to(TARGET, body)
}

fn change(query: &str) -> Request {
    Request::of("GET", &format!("/track/conv-change?{query}"), &[], "")
}

#[track_caller]
fn wrong(status: u16, changes: Value, violation: &str) {
    Bench::new(Platform::Scaleo).refuse(&post(&changed(&example(), changes)), status, &[violation]);
}

#[test]
fn the_documents_request_is_right() {
    Bench::new(Platform::Scaleo).accept(
        &post(&example().to_string()),
        200,
        r#"{"code":200,"info":{"additional":{},"affiliate_id":1,"conv_status":"pending","goal_id":1,"lead_id":"00000000-0000-4000-8000-000000000001","message":"Conversion created","offer_id":1,"status":"success","transaction_id":"t000000000001"},"message":"","name":"OK","status":"success"}"#,
    );
}

#[test]
fn every_documented_field_is_taken() {
    let mut all = json!({
        "click_id": "c1", "amount": 99.9999, "goal_alias": "sale", "aff_click_id": "a", "adv_order_id": "o1",
        "adv_user_id": "u", "adv_track_id": "t", "track_id": "t", "idfa": "i", "gaid": "g", "promo_code": "p",
        "email": "user@example.com", "firstname": "A", "lastname": "B", "address": "C", "city": "D", "region": "E",
        "country": "US", "postcode": "93101", "phone": "1", "gender": "f", "birthday": "1990-01-31", "vertical": "v",
        "ip": "203.0.113.7", "public_notes": "n", "private_notes": "n", "click_referer_url": "https://a.example/",
        "conversion_referer_url": "https://b.example/", "timestamp": "2026-05-26 12:34:56",
        "click_timestamp": "2026-05-26 12:00:00", "deliver_lead": "yes",
    });
    for (stem, last) in [("aff_param", 5), ("sub_id", 5), ("adv_param", 5), ("custom", 10)] {
        for number in 1..=last {
            all[format!("{stem}{number}")] = "x".into();
        }
    }
    let (answer, received) = Bench::new(Platform::Scaleo).send(&post(&all.to_string()));
    assert_eq!((answer.status, received.violations, received.handle.as_str()), (200, vec![], "o1"));
}

#[test]
fn one_wrong_thing_is_one_violation() {
    wrong(422, json!({"click_id": null}), "click_id: is required");
    wrong(422, json!({"amount": "1"}), "amount: must be a JSON number");
    wrong(422, json!({"amount": 1.00001}), "amount: must have at most 4 decimals");
    wrong(422, json!({"revenue": -1}), "revenue: must not be negative");
    wrong(422, json!({"payout": true}), "payout: must be a JSON number");
    wrong(422, json!({"conv_status": "completed"}), "conv_status: must be one of pending, approved, rejected, hold");
    wrong(422, json!({"goal_id": "1"}), "goal_id: must be a JSON integer");
    wrong(422, json!({"goal_alias": "sale"}), "goal_alias: is an alternative to goal_id: send one of the two");
    wrong(422, json!({"timestamp": "2026-05-26T12:34:56Z"}), "timestamp: must be in the format Y-m-d H:i:s");
    wrong(422, json!({"click_timestamp": "2026-05-26"}), "click_timestamp: must be in the format Y-m-d H:i:s");
    wrong(422, json!({"deliver_lead": true}), "deliver_lead: must be a JSON string");
    wrong(422, json!({"deliver_lead": "true"}), "deliver_lead: must be one of yes, no");
    wrong(422, json!({"gender": "female"}), "gender: must be one of m, f");
    wrong(422, json!({"birthday": "31.01.1990"}), "birthday: must be in the format Y-m-d");
    wrong(422, json!({"ip": "localhost"}), "ip: must be an IP address");
    wrong(422, json!({"click_referer_url": "a.example"}), "click_referer_url: must be an absolute http or https URL");
    wrong(400, json!({"currency": "USD"}), "currency: is not a field of the document");
    wrong(400, json!({"custom11": "x"}), "custom11: is not a field of the document");
    let null = example().to_string().replace("\"pending\"", "null");
    Bench::new(Platform::Scaleo).refuse(
        &post(&null),
        422,
        &["conv_status: is null: a field without a value is left out"],
    );
}

#[test]
fn the_key_the_path_and_the_method_are_held_to_the_document() {
    let bench = Bench::new(Platform::Scaleo);
    let body = example().to_string();
    let path = "/api/v2/network/tracking/conv-click-id";
    let key = "query api-key: must be the account's key";
    bench.refuse(&to(path, &body), 401, &[key]);
    bench.refuse(&to(&format!("{path}?api-key=other"), &body), 401, &[key]);
    bench.refuse(
        &to(&format!("{path}?api-key=sandbox-scaleo-affiliate-key"), &body),
        403,
        &["query api-key: must be of a manager's role"],
    );
    bench.refuse(&to(&format!("{TARGET}&lang=en"), &body), 400, &["query lang: is not a field of the document"]);
    bench.refuse(&to(&format!("{TARGET}&api-key=x"), &body), 422, &["api-key: is sent more than once"]);
    bench.refuse(&Request::of("POST", TARGET, &[], &body), 400, &["Content-Type: must be application/json"]);
    bench.refuse(
        &to("/api/v2/conv", &body),
        404,
        &["path: must be /api/v2/network/tracking/conv-click-id or /track/conv-change"],
    );
    bench.refuse(
        &Request::of("GET", TARGET, &[], ""),
        405,
        &["method: must be POST for /api/v2/network/tracking/conv-click-id and GET for /track/conv-change"],
    );
}

#[test]
fn errors_come_in_the_documented_envelope() {
    let bench = Bench::new(Platform::Scaleo);
    let answer = |changes| bench.send(&post(&changed(&example(), changes))).0;
    let unknown = answer(json!({"click_id": "missing_1"}));
    assert_eq!(
        (unknown.status, unknown.body.as_str()),
        (404, r#"{"code":404,"info":{},"message":"Click not found","name":"Not Found","status":"error"}"#)
    );
    let invalid: Value = serde_json::from_str(&answer(json!({"amount": "1"})).body).unwrap();
    assert_eq!((&invalid["status"], &invalid["code"]), (&json!("error"), &json!(422)));
    assert_eq!(invalid["info"]["errors"], json!({"amount": ["must be a JSON number"]}));
}

#[test]
fn a_trash_lead_is_a_success_without_effect() {
    let bench = Bench::new(Platform::Scaleo);
    let (answer, received) = bench.send(&post(&changed(&example(), json!({"click_id": "trash_1"}))));
    assert_eq!((answer.status, received.violations.len(), received.effect), (200, 0, false));
    assert!(answer.body.contains(r#""conv_status":"trash""#) && answer.body.contains(r#""status":"success""#));
}

#[test]
fn with_multiple_conversions_each_request_of_a_click_is_a_conversion() {
    let bench = Bench::new(Platform::Scaleo);
    for order in ["o1", "o2", "o1"] {
        let (answer, received) = bench.send(&post(&changed(&example(), json!({"adv_order_id": order}))));
        assert_eq!((answer.status, received.effect), (200, true), "Scaleo has no key that recognises a repeat");
    }
}

#[test]
fn without_multiple_conversions_the_second_of_a_click_and_goal_is_an_error() {
    let accounts = Accounts { scaleo_multiple_conversions: false, ..Accounts::default() };
    let bench = Bench::with(Platform::Scaleo, accounts);
    let send = |changes| bench.send(&post(&changed(&example(), changes)));
    assert!(send(json!({})).1.effect);
    let (answer, received) = send(json!({"adv_order_id": "o2"}));
    assert_eq!((answer.status, received.effect, received.violations.len()), (422, false, 0));
    assert!(answer.body.contains("Multiple Conversions are not Allowed"), "{}", answer.body);
    assert!(send(json!({"goal_id": 2})).1.effect, "another goal is another conversion");
    assert!(send(json!({"click_id": "c2"})).1.effect);
    assert_eq!(bench.counts().duplicates, 1);
}

#[test]
fn a_change_finds_the_conversion_by_click_and_goal_or_by_transaction() {
    let bench = Bench::new(Platform::Scaleo);
    bench.send(&post(r#"{"click_id":"c1","amount":10}"#));
    let send = |query: String| {
        let (answer, received) = bench.send(&change(&query));
        assert_eq!(received.violations, Vec::<String>::new());
        assert_eq!(received.operation, "status");
        (answer.status, received.effect)
    };
    let rejected = format!("click_id=c1&token={TOKEN}&conv_status=rejected");
    assert_eq!(send(rejected.clone()), (200, true));
    assert_eq!(send(rejected), (200, false), "an equal change changes nothing");
    assert_eq!(send(format!("click_id=c1&token={TOKEN}&goal_id=9&conv_status=rejected")), (404, false));
    assert_eq!(send(format!("transaction_id=t000000000001&token={TOKEN}&conv_status=trash")), (200, true));
}

#[test]
fn a_wrong_change_is_refused() {
    let bench = Bench::new(Platform::Scaleo);
    let token = "query token: must be the advertiser's security token";
    bench.refuse(&change("click_id=c1&conv_status=rejected"), 401, &[token]);
    bench.refuse(&change("click_id=c1&conv_status=rejected&token=x"), 401, &[token]);
    let change = |query: &str| change(&format!("{query}&token={TOKEN}"));
    bench.refuse(&change("conv_status=rejected"), 422, &["click_id: is required unless transaction_id is sent"]);
    bench.refuse(
        &change("click_id=c1&conv_status=refunded"),
        422,
        &["conv_status: must be one of pending, approved, rejected, hold, trash"],
    );
    bench.refuse(&change("click_id=c1&api-key=k"), 400, &["api-key: is not a field of the document"]);
    bench.refuse(&change("click_id=c1&amount="), 422, &["amount: is empty: a field without a value is left out"]);
    bench.refuse(&change("click_id=c%zz"), 400, &["query: must be percent-encoded"]);
}
