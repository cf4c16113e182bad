//! Each operation of each preset, a line for every answer that its document or the world between knows.

use super::*;
use crate::config::presets;

/// Destination, operation, status, body, how far it was read; what it means.
type Row = (&'static str, &'static str, u16, &'static str, Body, Judgement);

/// Keys go without regard to case, and so do the words of a document. A 2xx whose body is of no kind that the platform
/// sends is no success: it is sent again where a repeat is harmless (Impact, Trackdesk), and left to a person elsewhere. Of
/// a vendor who promises no body at all (a DSP) any 2xx is a success.
#[rustfmt::skip]
const OPERATIONS: &[Row] = {
    use Body::{Broken, Head, Whole};
    use Judgement::{Delivered, Duplicate, Rejected, Retry, Suspended, Unknown};
    &[
        ("thrad", "conversion", 200, r#"{"Status": "ok"}"#, Whole, Delivered),
        ("thrad", "conversion", 202, r#" {"STATUS" :"duplicate", "id": 1} "#, Whole, Duplicate),
        ("thrad", "conversion", 200, r#"{"status": "OK"}"#, Whole, Delivered),
        ("thrad", "conversion", 200, r#"{"status": "Duplicate"}"#, Whole, Duplicate),
        ("thrad", "conversion", 204, "", Whole, Rejected),
        ("thrad", "conversion", 200, "\u{feff}{\"status\": \"ok\"}", Whole, Delivered),
        ("thrad", "conversion", 200, r#"{"id": 1, "status": "pending", "status": "ok", "id": 2}"#, Whole, Delivered),
        ("thrad", "conversion", 200, r#"{"status": "ok", "status": "pending"}"#, Whole, Rejected),
        ("thrad", "conversion", 200, r#"{"status": ["ok"]}"#, Whole, Rejected),
        ("thrad", "conversion", 200, r#"[{"status": "ok"}]"#, Whole, Rejected),
        ("thrad", "conversion", 200, "<status>ok</status>", Whole, Rejected),
        ("thrad", "conversion", 200, HTML, Whole, Rejected),
        ("thrad", "conversion", 502, HTML, Whole, Unknown),
        ("thrad", "conversion", 400, r#"{"status": "ok"}"#, Whole, Rejected),
        ("thrad", "conversion", 409, r#"{"status": "duplicate"}"#, Whole, Rejected),
        ("thrad", "conversion", 422, r#"{"detail": "Pydantic validation error"}"#, Whole, Rejected),
        ("thrad", "conversion", 404, r#"{"det"#, Broken, Unknown),
        ("thrad", "conversion", 200, r#"{"detail": ""#, Head, Unknown),
        ("thrad", "conversion", 503, r#"{"detail": ""#, Head, Retry),

        ("impact", "conversion", 200, r#"{"status": "QUEUED", "queuedUri": "/A"}"#, Whole, Delivered),
        ("impact", "conversion", 200, r#"{"Status": "Queued"}"#, Whole, Delivered),
        ("impact", "conversion", 200, r#"{"actionId": "1.2.3"}"#, Whole, Delivered),
        ("impact", "conversion", 200, r#"{"STATUS": "ERROR"}"#, Whole, Rejected),
        ("impact", "conversion", 200, r#"{"Status": "error"}"#, Whole, Rejected),
        ("impact", "conversion", 200, r#"{"Status": "Error", "ActionId": "1.2.3"}"#, Whole, Rejected),
        ("impact", "conversion", 200, r#"{"Status": "FAILED"}"#, Whole, Rejected),
        ("impact", "conversion", 200, r#"{"Message": "bad", "Errors": [{"Field": "OrderId"}]}"#, Whole, Rejected),
        ("impact", "conversion", 200, HTML, Whole, Unknown),
        ("impact", "conversion", 200, XML, Whole, Unknown),
        ("impact", "conversion", 200, "{}", Whole, Unknown),
        ("impact", "conversion", 200, r#"{"message": "Forbidden"}"#, Whole, Unknown),
        ("impact", "conversion", 202, r#"{"Status": "ERROR", "Errors": []}"#, Whole, Rejected),
        ("impact", "conversion", 503, r#"{"Status": "ERROR"}"#, Whole, Retry),
        ("impact", "conversion", 400, XML, Whole, Rejected),
        ("impact", "conversion", 502, HTML, Whole, Unknown),
        ("impact", "conversion", 403, HTML, Whole, Suspended),
        ("impact", "conversion", 200, "", Whole, Unknown),
        ("impact", "conversion", 204, "", Whole, Unknown),
        ("impact", "conversion", 400, r#"{"Status": "ERR"#, Broken, Unknown),
        ("impact", "conversion", 200, r#"{"errors": [{"#, Head, Unknown),
        ("impact", "conversion", 400, r#"{"errors": [{"#, Head, Rejected),
        ("impact", "refund", 200, r#"{"Status": "QUEUED", "QueuedUri": "/A"}"#, Whole, Delivered),
        ("impact", "refund", 200, r#"{"status": "queued"}"#, Whole, Delivered),
        ("impact", "refund", 200, r#"{"status": "ERROR"}"#, Whole, Rejected),
        ("impact", "refund", 200, r#"{"status": "error"}"#, Whole, Rejected),
        ("impact", "refund", 200, HTML, Whole, Unknown),
        ("impact", "refund", 200, "", Whole, Unknown),
        ("impact", "refund", 400, r#"{"Status": "ERROR"}"#, Whole, Rejected),
        ("impact", "refund", 403, r#"{"Message": "scope"}"#, Whole, Suspended),
        ("impact", "refund", 429, "", Whole, Retry),
        ("impact", "refund", 200, r#"{"Sta"#, Broken, Unknown),
        ("impact", "adjustment", 200, r#"{"Status": "QUEUED", "QueuedUri": "/A"}"#, Whole, Delivered),
        ("impact", "adjustment", 200, r#"{"status": "queued"}"#, Whole, Delivered),
        ("impact", "adjustment", 200, r#"{"status": "ERROR"}"#, Whole, Rejected),
        ("impact", "adjustment", 200, r#"{"status": "error"}"#, Whole, Rejected),
        ("impact", "adjustment", 200, HTML, Whole, Unknown),
        ("impact", "adjustment", 200, "", Whole, Unknown),
        ("impact", "adjustment", 404, r#"{"Message": "no such action"}"#, Whole, Rejected),
        ("impact", "adjustment", 401, "", Whole, Suspended),
        ("impact", "adjustment", 500, HTML, Whole, Retry),
        ("impact", "adjustment", 200, r#"{"errors": [{"#, Head, Unknown),
        ("impact", "adjustment_by_items", 200, r#"{"Status": "QUEUED", "QueuedUri": "/A"}"#, Whole, Delivered),
        ("impact", "adjustment_by_items", 200, r#"{"status": "queued"}"#, Whole, Delivered),
        ("impact", "adjustment_by_items", 200, r#"{"status": "ERROR"}"#, Whole, Rejected),
        ("impact", "adjustment_by_items", 200, r#"{"status": "error"}"#, Whole, Rejected),
        ("impact", "adjustment_by_items", 200, HTML, Whole, Unknown),
        ("impact", "adjustment_by_items", 200, "", Whole, Unknown),
        ("impact", "adjustment_by_items", 400, r#"{"Errors": [{"Field": "Sku"}]}"#, Whole, Rejected),
        ("impact", "adjustment_by_items", 429, "", Whole, Retry),
        ("impact", "adjustment_by_items", 200, "", Broken, Unknown),

        ("scaleo", "conversion", 201, r#"{"Status": "success", "Code": 201, "Info": {"Conv_Status": "pending"}}"#, Whole, Delivered),
        ("scaleo", "conversion", 200, r#"{"status": "SUCCESS"}"#, Whole, Delivered),
        ("scaleo", "conversion", 200, r#"{"STATUS": "error"}"#, Whole, Rejected),
        ("scaleo", "conversion", 200, r#"{"status": "ERROR"}"#, Whole, Rejected),
        ("scaleo", "conversion", 200, r#"{"status": "success", "info": {"conv_status": "Trash"}}"#, Whole, Rejected),
        ("scaleo", "conversion", 200, r#"{"status": "failed"}"#, Whole, Unknown),
        ("scaleo", "conversion", 200, r#"{"message": "success"}"#, Whole, Unknown),
        ("scaleo", "conversion", 200, HTML, Whole, Unknown),
        ("scaleo", "conversion", 200, "<status>success</status>", Whole, Unknown),
        ("scaleo", "conversion", 200, "", Whole, Unknown),
        ("scaleo", "conversion", 204, "", Whole, Unknown),
        ("scaleo", "conversion", 200, r#"{"status": "success", "INFO": {"CONV_STATUS": "trash"}}"#, Whole, Rejected),
        ("scaleo", "conversion", 200, r#"{"status": "success", "info": null}"#, Whole, Delivered),
        ("scaleo", "conversion", 200, r#"{"status": "success", "info": []}"#, Whole, Delivered),
        ("scaleo", "conversion", 400, r#"{"status": "error", "message": "Multiple Conversions are not Allowed"}"#, Whole, Rejected),
        ("scaleo", "conversion", 429, r#"{"status": "error", "code": 429}"#, Whole, Retry),
        ("scaleo", "conversion", 503, HTML, Whole, Retry),
        ("scaleo", "conversion", 504, HTML, Whole, Unknown),
        ("scaleo", "conversion", 422, r#"{"status": "err"#, Broken, Unknown),
        ("scaleo", "conversion", 200, r#"{"status": "success", "info": {"message": ""#, Head, Unknown),
        ("scaleo", "refund", 200, r#"{"status": "success", "code": 200}"#, Whole, Delivered),
        ("scaleo", "refund", 200, "OK", Whole, Delivered),
        ("scaleo", "refund", 200, "", Whole, Delivered),
        ("scaleo", "refund", 200, r#"{"status": "success", "message": "1 < 2"}"#, Whole, Delivered),
        ("scaleo", "refund", 200, HTML, Whole, Unknown),
        ("scaleo", "refund", 200, "\u{feff}<?xml version=\"1.0\"?><a/>", Whole, Unknown),
        ("scaleo", "refund", 200, r#"{"status": "error", "message": "no such transaction"}"#, Whole, Rejected),
        ("scaleo", "refund", 200, r#"{"status": "Error", "message": "no such transaction"}"#, Whole, Rejected),
        ("scaleo", "refund", 403, r#"{"status": "error", "code": 403}"#, Whole, Suspended),
        ("scaleo", "refund", 404, r#"{"status": "error", "code": 404}"#, Whole, Rejected),
        ("scaleo", "refund", 500, r#"{"status": "error", "code": 500}"#, Whole, Retry),
        ("scaleo", "refund", 502, HTML, Whole, Unknown),
        ("scaleo", "refund", 200, "", Broken, Unknown),
        ("scaleo", "adjustment", 200, r#"{"status": "success", "code": 200}"#, Whole, Delivered),
        ("scaleo", "adjustment", 200, r#"{"Status": "error"}"#, Whole, Rejected),
        ("scaleo", "adjustment", 200, r#"{"Status": "ERROR"}"#, Whole, Rejected),
        ("scaleo", "adjustment", 200, HTML, Whole, Unknown),
        ("scaleo", "adjustment", 401, "", Whole, Suspended),
        ("scaleo", "adjustment", 422, r#"{"status": "error", "info": {"errors": {"amount": ["x"]}}}"#, Whole, Rejected),
        ("scaleo", "adjustment", 504, "", Whole, Unknown),
        ("scaleo", "adjustment", 503, "", Whole, Retry),

        ("trackdesk", "conversion", 204, "", Whole, Delivered),
        ("trackdesk", "conversion", 200, HTML, Whole, Unknown),
        ("trackdesk", "conversion", 409, "Conversion Already Exists", Whole, Duplicate),
        ("trackdesk", "conversion", 400, r#"{"message": "system error"}"#, Whole, Retry),
        ("trackdesk", "conversion", 502, HTML, Whole, Unknown),
        ("trackdesk", "conversion", 400, "<error>conversion already exists</error>", Whole, Duplicate),
        ("trackdesk", "conversion", 401, r#"{"message": "conversion already exists"}"#, Whole, Duplicate),
        ("trackdesk", "conversion", 422, r#"{"code": 13, "message": "System error"}"#, Whole, Retry),
        ("trackdesk", "conversion", 400, r#"{"message": "pricing for conversion type not configured"}"#, Whole, Rejected),
        ("trackdesk", "conversion", 409, "conversion alre", Broken, Unknown),
        ("trackdesk", "conversion", 200, "{", Head, Unknown),
        ("trackdesk", "conversion", 200, "{", Broken, Unknown),
        ("trackdesk_get", "conversion", 200, "", Whole, Delivered),
        ("trackdesk_get", "conversion", 200, "GIF89a", Whole, Delivered),
        ("trackdesk_get", "conversion", 200, HTML, Whole, Unknown),
        ("trackdesk_get", "conversion", 400, "ALREADY EXISTS", Whole, Duplicate),
        ("trackdesk_get", "conversion", 400, "SYSTEM ERROR", Whole, Retry),
        ("trackdesk_get", "conversion", 400, r#"{"code": 6, "message": "conversion already exists"}"#, Whole, Duplicate),
        ("trackdesk_get", "conversion", 400, r#"{"message": "System error"}"#, Whole, Retry),
        ("trackdesk_get", "conversion", 400, r#"{"message": "conversion source not found"}"#, Whole, Rejected),
        ("trackdesk_get", "conversion", 502, HTML, Whole, Unknown),
        ("trackdesk_get", "conversion", 400, "{", Broken, Unknown),
        ("trackdesk", "refund", 200, "", Whole, Delivered),
        ("trackdesk", "refund", 200, HTML, Whole, Unknown),
        ("trackdesk", "refund", 400, r#"{"message": "System error"}"#, Whole, Retry),
        ("trackdesk", "refund", 400, r#"{"message": "system error"}"#, Whole, Retry),
        ("trackdesk", "refund", 401, "", Whole, Suspended),
        ("trackdesk", "refund", 404, r#"{"code": 5, "message": "conversion not found"}"#, Whole, Rejected),
        ("trackdesk", "refund", 200, "{", Broken, Unknown),
        ("trackdesk_get", "refund", 200, "{}", Whole, Delivered),
        ("trackdesk_get", "refund", 200, HTML, Whole, Unknown),
        ("trackdesk_get", "refund", 400, r#"{"message": "system error"}"#, Whole, Retry),
        ("trackdesk_get", "refund", 500, "", Whole, Retry),
        ("trackdesk_get", "refund", 400, "", Whole, Rejected),

        ("dsp", "conversion", 204, "", Whole, Delivered),
        ("dsp", "conversion", 200, HTML, Whole, Delivered),
        ("dsp", "conversion", 200, r#"{"status": "error"}"#, Whole, Delivered),
        ("dsp", "conversion", 200, "{", Head, Delivered),
        ("dsp", "conversion", 400, r#"{"status": "ok"}"#, Whole, Rejected),
        ("dsp", "conversion", 401, "{", Broken, Suspended),
        ("dsp", "conversion", 502, HTML, Whole, Unknown),
        ("dsp", "conversion", 511, HTML, Whole, Retry),
    ]
};

/// What a proxy says in a platform's place.
const HTML: &str = "<!DOCTYPE html><html><body>{\"status\": \"ok\"} is not here</body></html>";

/// What Impact says without the header that asks it for JSON.
const XML: &str = "<ImpactRadiusResponse><Status>QUEUED</Status></ImpactRadiusResponse>";

#[test]
fn every_operation_reads_the_answers_of_its_platform() {
    let table = Table::new();
    for &(destination, operation, status, body, extent, expected) in OPERATIONS {
        let judged = judge(table.judge_of_operation(destination, operation), &answered(status, body, extent));
        assert_eq!(judged, expected, "{destination}, {operation}: {status} {body} ({extent:?})");
    }
    for vendor in VENDORS.into_iter().chain(["trackdesk_get"]) {
        for operation in &table.0.destination(vendor).unwrap().operations {
            let known = OPERATIONS.iter().any(|row| (row.0, row.1) == (vendor, operation.name.as_str()));
            assert!(known, "nothing is said of {vendor}, {}", operation.name);
        }
    }
}

#[test]
fn a_page_and_a_refusal_in_other_letters_are_no_success_elsewhere_either() {
    use Judgement::{Delivered, Duplicate, Rejected, Retry, Unknown};
    let table = Table::of(OTHERS);
    let rows = [
        ("meta", r#"{"events_received": 1}"#, Delivered),
        ("meta", HTML, Rejected),
        ("tiktok", r#"{"code": 0, "message": "<7>"}"#, Delivered),
        ("tiktok", HTML, Rejected),
        ("ga4", "", Delivered),
        ("ga4", HTML, Unknown),
        ("pinterest", r#"{"num_events_processed": 1}"#, Delivered),
        ("pinterest", HTML, Rejected),
        ("reddit", r#"{"data": {"message": "Successfully processed 1 conversion events."}}"#, Delivered),
        ("reddit", HTML, Unknown),
        ("linkedin", "", Delivered),
        ("linkedin", HTML, Unknown),
        ("openai-ads", r#"{"accepted_events": 1}"#, Delivered),
        ("openai-ads", HTML, Unknown),
        ("awin", "{}", Delivered),
        ("awin", r#"{"batchId": 7, "failedOrders": [], "note": "<7>"}"#, Delivered),
        ("awin", r#"{"failedOrders": [{"orderReference": "o"}]}"#, Rejected),
        ("awin", HTML, Unknown),
        ("snap", r#"{"status": "VALID"}"#, Delivered),
        ("snap", r#"{"status": "invalid"}"#, Rejected),
        ("snap", r#"{"status": "Failed"}"#, Rejected),
        ("snap", HTML, Unknown),
        ("google-ads", r#"{"results": [{"gclid": "<7>"}]}"#, Delivered),
        ("google-ads", HTML, Rejected),
        ("google-ads", r#"{"partialFailureError": {"message": "click_conversion_already_exists"}}"#, Duplicate),
        ("google-ads", r#"{"partialFailureError": {"message": "too_recent_conversion_action"}}"#, Retry),
        ("google-ads", r#"{"partialFailureError": {"message": "x"}}"#, Rejected),
    ];
    for (destination, body, expected) in rows {
        table.answer(destination, 200, body, expected);
    }
    for (preset, _) in presets() {
        let is_known = VENDORS.into_iter().chain(["trackdesk-get"]).any(|vendor| vendor == *preset);
        assert!(
            is_known || rows.contains(&(*preset, HTML, Unknown)) || rows.contains(&(*preset, HTML, Rejected)),
            "{preset}"
        );
    }
}

#[test]
fn what_throttles_in_its_body_is_overloaded_as_by_a_429() {
    let table = Table::of(OTHERS);
    let check = |destination: &str, status: u16, body: &str, expected: Judgement, well: Health| {
        let answer = answered(status, body, Body::Whole);
        let judged = judge(table.judge_of(destination), &answer);
        assert_eq!((judged, health(judged, &answer)), (expected, well), "{destination}: {status} {body}");
    };
    let overloaded = Health::Failing { overloaded: true };
    check("tiktok", 200, r#"{"code": 40100}"#, Judgement::Throttled, overloaded);
    check("tiktok", 200, r#"{"code": 40700}"#, Judgement::Retry, Health::Answering);
    for code in [4, 17, 32, 613, 80003] {
        let body = format!(r#"{{"error": {{"code": {code}, "is_transient": true}}}}"#);
        check("meta", 400, &body, Judgement::Throttled, overloaded);
    }
    check("meta", 400, r#"{"error": {"code": 341}}"#, Judgement::Retry, Health::Answering);
    for (destination, body) in [("awin", ""), ("pinterest", r#"{"code": 8, "message": "rate limit"}"#)] {
        check(destination, 429, body, Judgement::Retry, overloaded);
    }
    assert_eq!(Verdict::from(Judgement::Throttled), Verdict::Retry);
}

/// Whichever of its calls it is.
#[test]
fn a_page_is_no_success_of_any_operation_of_another_preset() {
    let table = Table::of(OTHERS);
    for destination in &table.0.destinations {
        for operation in &destination.operations {
            let judged = judge(&operation.judge, &answered(200, HTML, Body::Whole));
            assert!(!judged.is_success(), "{}, {}: {judged:?}", destination.name, operation.name);
        }
    }
}

const OTHERS: &str = r#"
[destination.meta]
preset = "meta"
vars.pixel_id = "p"
secrets.access_token = "k"

[destination.tiktok]
preset = "tiktok"
vars.pixel_code = "p"
secrets.access_token = "k"

[destination.ga4]
preset = "ga4"
vars.measurement_id = "G-1"
secrets.api_secret = "k"

[destination.pinterest]
preset = "pinterest"
vars.ad_account_id = "1"
secrets.conversion_token = "k"

[destination.reddit]
preset = "reddit"
vars.pixel_id = "p"
secrets.conversion_token = "k"

[destination.linkedin]
preset = "linkedin"
vars.conversion_id = "1"
secrets.client_id = "i"
secrets.client_secret = "s"
secrets.refresh_token = "t"

[destination.openai-ads]
preset = "openai-ads"
vars.pixel_id = "p"
secrets.api_key = "k"

[destination.awin]
preset = "awin"
vars.advertiser_id = "1"
secrets.api_key = "k"

[destination.snap]
preset = "snap"
vars.pixel_id = "p"
secrets.access_token = "k"

[destination.google-ads]
preset = "google-ads"
vars.customer_id = "1"
vars.conversion_action_id = "2"
secrets.client_id = "i"
secrets.client_secret = "s"
secrets.refresh_token = "t"
"#;
