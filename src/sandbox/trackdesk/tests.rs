use serde_json::{Value, json};

use super::super::Platform;
use super::super::request::Request;
use super::super::tests::{Bench, changed};

const CREATE: &str = "/tracking/conversion/v1";
const CID: &str = "85b04ded-09dd-4015-ad30-581e45452dd9";
const ORIGIN: &str = "11111111-2222-4333-8444-555555555555";

/// *Sending a POST Postback*, B and C: a revenue share offer with all nine extras.
fn example() -> Value {
    json!({
        "conversionTypeCode": "sale",
        "cid": CID,
        "amount": {"value": "100.50"},
        "currency": {"code": "USD"},
        "customParams": {"advS1": "a", "advS2": "b", "advS3": "c", "advS4": "d", "advS5": "e"},
        "customerId": "c-1",
        "externalId": "order-1",
        "status": "CONVERSION_STATUS_APPROVED",
    })
}

fn post(body: &str) -> Request {
    Request::of("POST", CREATE, &[("content-type", "application/json")], body)
}

fn get(query: &str) -> Request {
    Request::of("GET", &format!("{CREATE}?{query}"), &[], "")
}

fn update(key: Option<&str>, body: &Value) -> Request {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|key| ("x-api-key", key)));
    Request::of("POST", "/api/node/conversions/v1/update-status-by-external-id", &headers, &body.to_string())
}

#[track_caller]
fn wrong(changes: Value, violation: &str) {
    Bench::new(Platform::Trackdesk).refuse(&post(&changed(&example(), changes)), 400, &[violation]);
}

#[track_caller]
fn wrong_get(query: &str, violation: &str) {
    Bench::new(Platform::Trackdesk).refuse(&get(query), 400, &[violation]);
}

#[test]
fn the_documents_postbacks_are_right() {
    let bench = Bench::new(Platform::Trackdesk);
    bench.accept(&post(&json!({"conversionTypeCode": "sale", "cid": CID}).to_string()), 200, "{}");
    bench.accept(&post(&example().to_string()), 200, "{}");
    bench.accept(&get(&format!("conversionTypeCode=sale&cid={CID}")), 200, "{}");
    bench.accept(
        &get(&format!(
            "conversionTypeCode=sale&cid={CID}&amount.value=100.50&customParams.advS1=a&customParams.advS5=e\
             &customerId=c-1&externalId=order-2&currency.code=USD&status=CONVERSION_STATUS_PENDING"
        )),
        200,
        "{}",
    );
}

#[test]
fn the_other_ways_to_attribute_need_their_origin() {
    let bench = Bench::new(Platform::Trackdesk);
    let with = |changes| post(&changed(&json!({"conversionTypeCode": "sale"}), changes));
    bench.accept(&with(json!({"externalCid": "x", "revenueOriginId": ORIGIN})), 200, "{}");
    bench.accept(&with(json!({"couponCodes": ["TEN"], "revenueOriginId": ORIGIN})), 200, "{}");
    let origin = "revenueOriginId: is required with externalCid and couponCodes";
    bench.refuse(&with(json!({"externalCid": "x"})), 400, &[origin]);
    bench.refuse(&with(json!({"couponCodes": ["TEN"]})), 400, &[origin]);
    bench.refuse(&with(json!({})), 400, &["cid: one of cid, externalCid and couponCodes is required"]);
}

#[test]
fn one_wrong_thing_is_one_violation() {
    wrong(json!({"conversionTypeCode": null}), "conversionTypeCode: is required");
    wrong(json!({"cid": "td_1"}), "cid: must be a UUID of 36 characters");
    wrong(json!({"amount": {"value": 100.5}}), "amount.value: must be a JSON string");
    wrong(json!({"amount": "100.50"}), "amount: must be a JSON object");
    wrong(json!({"amount": {}}), "amount: is empty: a field without a value is left out");
    wrong(json!({"amount": {"value": "-1"}}), "amount.value: must not be negative");
    let plain = "amount.value: must be a plain decimal: digits, a dot, no exponent, no separators";
    wrong(json!({"amount": {"value": "1,000.00"}}), plain);
    wrong(json!({"currency": "USD"}), "currency: must be a JSON object");
    wrong(json!({"currency": {"code": "US"}}), "currency.code: must be an ISO 4217 code in capitals");
    wrong(json!({"customParams": {"advS6": "x"}}), "customParams.advS6: is not a field of the document");
    wrong(json!({"customerId": 1}), "customerId: must be a JSON string");
    wrong(json!({"externalId": ""}), "externalId: is empty: a field without a value is left out");
    wrong(json!({"revenueOriginId": "1"}), "revenueOriginId: must be a UUID of 36 characters");
    wrong(json!({"couponCodes": []}), "couponCodes: is empty: a field without a value is left out");
    wrong(json!({"couponCodes": "TEN"}), "couponCodes: must be a JSON array of strings");
    wrong(json!({"timestamp": "2026-05-26T12:34:56Z"}), "timestamp: is not a field of the document");
    let (_, received) =
        Bench::new(Platform::Trackdesk).send(&post(&changed(&example(), json!({"status": "APPROVED"}))));
    assert!(received.violations[0].starts_with("status: must be one of CONVERSION_STATUS_APPROVED"));
}

#[test]
fn a_get_is_held_to_the_same_fields() {
    let cid = format!("cid={CID}");
    wrong_get(&cid, "conversionTypeCode: is required");
    wrong_get("conversionTypeCode=sale", "cid: one of cid, externalCid and couponCodes is required");
    let sale = format!("conversionTypeCode=sale&{cid}");
    wrong_get(&format!("{sale}&amount=1"), "amount: is not a field of the document");
    wrong_get(&format!("{sale}&amount.code=1"), "amount.code: is not a field of the document");
    wrong_get(&format!("{sale}&externalId=a&externalId=b"), "externalId: is sent more than once");
    wrong_get(&format!("{sale}&externalId="), "externalId: is empty: a field without a value is left out");
    wrong_get(&format!("{sale}&currency.code=usd"), "currency.code: must be an ISO 4217 code in capitals");
    wrong_get(&format!("{sale}&customerId=a{{b"), "query: must be percent-encoded");
}

#[test]
fn the_key_the_path_and_the_method_are_held_to_the_document() {
    let bench = Bench::new(Platform::Trackdesk);
    let body = example().to_string();
    let json = ("content-type", "application/json");
    let send = |method, target, headers: &[_]| Request::of(method, target, headers, &body);
    bench.refuse(&send("POST", CREATE, &[json, ("x-api-key", "other")]), 401, &["x-api-key: must be the tenant's key"]);
    bench.refuse(&send("POST", CREATE, &[]), 400, &["Content-Type: must be application/json"]);
    bench.refuse(&send("POST", "/tracking/conversion/v1?a=b", &[json]), 400, &["query: must be empty"]);
    bench.refuse(&send("PUT", CREATE, &[json]), 405, &["method: must be POST, or GET for a conversion"]);
    bench.refuse(
        &send("POST", "/tracking/v1", &[json]),
        404,
        &["path: must be /tracking/conversion/v1 or /api/node/conversions/v1/update-status-by-external-id"],
    );
    let target = format!("{CREATE}?conversionTypeCode=sale&cid={CID}");
    bench.refuse(&send("GET", &target, &[]), 400, &["body: must be empty"]);
    bench.accept(&send("POST", CREATE, &[json, ("x-api-key", "sandbox-trackdesk-key")]), 200, "{}");
}

#[test]
fn unknown_sources_and_types_fail_as_in_the_error_log() {
    let bench = Bench::new(Platform::Trackdesk);
    let message = |changes| {
        let (answer, received) = bench.send(&post(&changed(&example(), changes)));
        assert_eq!((answer.status, received.violations.len(), received.effect), (404, 0, false));
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        body["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(message(json!({"cid": "00000000-09dd-4015-ad30-581e45452dd9"})), "Conversion source not found");
    assert_eq!(
        message(json!({"cid": null, "externalCid": "missing_1", "revenueOriginId": ORIGIN})),
        "Conversion source with the external cid not found"
    );
    assert_eq!(message(json!({"conversionTypeCode": "missing_type"})), "Conversion type not found");
}

#[test]
fn type_and_external_id_deduplicate_whatever_the_method() {
    let bench = Bench::new(Platform::Trackdesk);
    let send = |request| {
        let (answer, received) = bench.send(&request);
        (answer.status, received.effect)
    };
    assert_eq!(send(post(&example().to_string())), (200, true));
    let (repeat, _) = bench.send(&post(&example().to_string()));
    assert_eq!(repeat.status, 409);
    assert!(repeat.body.contains("already exists"), "{}", repeat.body);
    assert_eq!(send(get(&format!("conversionTypeCode=sale&cid={CID}&externalId=order-1"))), (409, false));
    assert_eq!(send(post(&changed(&example(), json!({"conversionTypeCode": "lead"})))), (200, true));
    assert_eq!(send(post(&changed(&example(), json!({"revenueOriginId": ORIGIN})))), (200, true));
    let without = changed(&example(), json!({"externalId": null}));
    assert_eq!(send(post(&without)), (200, true));
    assert_eq!(send(post(&without)), (200, true), "without externalId there is no deduplication");
}

#[test]
fn a_status_update_needs_the_key_and_an_earlier_conversion() {
    let bench = Bench::new(Platform::Trackdesk);
    let body =
        json!({"external_id": "order-1", "conversion_type_code": "sale", "status": "CONVERSION_STATUS_REFUNDED"});
    let key = Some("sandbox-trackdesk-key");
    let send = |body: &Value| {
        let (answer, received) = bench.send(&update(key, body));
        assert_eq!(received.violations, Vec::<String>::new());
        (answer.status, received.effect)
    };
    assert_eq!(send(&body), (404, false));
    bench.send(&post(&example().to_string()));
    assert_eq!(send(&body), (200, true));
    assert_eq!(send(&body), (200, false), "an equal update changes nothing");
    bench.refuse(&update(None, &body), 401, &["x-api-key: must be the tenant's key"]);
    bench.refuse(
        &update(key, &json!({"external_id": "o", "conversion_type_code": "sale"})),
        400,
        &["status: is required"],
    );
    let mut camel = body.clone();
    camel["externalId"] = "x".into();
    bench.refuse(&update(key, &camel), 400, &["externalId: is not a field of the document"]);
}
