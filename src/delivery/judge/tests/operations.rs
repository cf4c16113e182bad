//! Each operation of each preset, a line for every answer that its document or the world between knows.

use super::*;

/// Destination, operation, status, body, how far it was read; what it means.
type Row = (&'static str, &'static str, u16, &'static str, Body, Judgement);

/// Keys go without regard to case, values are as the documents write them. Where a document is silent the built-in order
/// decides: of a vendor who promises no body (Trackdesk, a DSP) or names only what is none (Impact, Scaleo), any other 2xx
/// is a success.
#[rustfmt::skip]
const OPERATIONS: &[Row] = {
    use Body::{Broken, Head, Whole};
    use Judgement::{Delivered, Duplicate, Rejected, Retry, Suspended, Unknown};
    &[
        ("thrad", "conversion", 200, r#"{"Status": "ok"}"#, Whole, Delivered),
        ("thrad", "conversion", 202, r#" {"STATUS" :"duplicate", "id": 1} "#, Whole, Duplicate),
        ("thrad", "conversion", 204, "", Whole, Rejected),
        ("thrad", "conversion", 200, r#"{"status": ["ok"]}"#, Whole, Rejected),
        ("thrad", "conversion", 200, r#"[{"status": "ok"}]"#, Whole, Rejected),
        ("thrad", "conversion", 200, "<status>ok</status>", Whole, Rejected),
        ("thrad", "conversion", 200, HTML, Whole, Rejected),
        ("thrad", "conversion", 502, HTML, Whole, Retry),
        ("thrad", "conversion", 400, r#"{"status": "ok"}"#, Whole, Rejected),
        ("thrad", "conversion", 409, r#"{"status": "duplicate"}"#, Whole, Rejected),
        ("thrad", "conversion", 422, r#"{"detail": "Pydantic validation error"}"#, Whole, Rejected),
        ("thrad", "conversion", 404, r#"{"det"#, Broken, Unknown),
        ("thrad", "conversion", 200, r#"{"detail": ""#, Head, Unknown),
        ("thrad", "conversion", 503, r#"{"detail": ""#, Head, Retry),

        ("impact", "conversion", 200, r#"{"status": "QUEUED", "queuedUri": "/A"}"#, Whole, Delivered),
        ("impact", "conversion", 200, r#"{"STATUS": "ERROR"}"#, Whole, Rejected),
        ("impact", "conversion", 202, r#"{"Status": "ERROR", "Errors": []}"#, Whole, Rejected),
        ("impact", "conversion", 503, r#"{"Status": "ERROR"}"#, Whole, Retry),
        ("impact", "conversion", 400, "<ImpactRadiusResponse><Status>ERROR</Status></ImpactRadiusResponse>", Whole, Rejected),
        ("impact", "conversion", 502, HTML, Whole, Retry),
        ("impact", "conversion", 403, HTML, Whole, Suspended),
        ("impact", "conversion", 200, "", Whole, Delivered),
        ("impact", "conversion", 400, r#"{"Status": "ERR"#, Broken, Unknown),
        ("impact", "conversion", 200, r#"{"errors": [{"#, Head, Unknown),
        ("impact", "conversion", 400, r#"{"errors": [{"#, Head, Rejected),
        ("impact", "refund", 200, r#"{"Status": "QUEUED", "QueuedUri": "/A"}"#, Whole, Delivered),
        ("impact", "refund", 200, r#"{"status": "ERROR"}"#, Whole, Rejected),
        ("impact", "refund", 400, r#"{"Status": "ERROR"}"#, Whole, Rejected),
        ("impact", "refund", 403, r#"{"Message": "scope"}"#, Whole, Suspended),
        ("impact", "refund", 429, "", Whole, Retry),
        ("impact", "refund", 200, r#"{"Sta"#, Broken, Unknown),
        ("impact", "adjustment", 200, r#"{"Status": "QUEUED", "QueuedUri": "/A"}"#, Whole, Delivered),
        ("impact", "adjustment", 200, r#"{"status": "ERROR"}"#, Whole, Rejected),
        ("impact", "adjustment", 404, r#"{"Message": "no such action"}"#, Whole, Rejected),
        ("impact", "adjustment", 401, "", Whole, Suspended),
        ("impact", "adjustment", 500, HTML, Whole, Retry),
        ("impact", "adjustment", 200, r#"{"errors": [{"#, Head, Unknown),
        ("impact", "adjustment_by_items", 200, r#"{"Status": "QUEUED", "QueuedUri": "/A"}"#, Whole, Delivered),
        ("impact", "adjustment_by_items", 200, r#"{"status": "ERROR"}"#, Whole, Rejected),
        ("impact", "adjustment_by_items", 400, r#"{"Errors": [{"Field": "Sku"}]}"#, Whole, Rejected),
        ("impact", "adjustment_by_items", 429, "", Whole, Retry),
        ("impact", "adjustment_by_items", 200, "", Broken, Unknown),

        ("scaleo", "conversion", 201, r#"{"Status": "success", "Code": 201, "Info": {"Conv_Status": "pending"}}"#, Whole, Delivered),
        ("scaleo", "conversion", 200, r#"{"STATUS": "error"}"#, Whole, Rejected),
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
        ("scaleo", "refund", 200, r#"{"status": "error", "message": "no such transaction"}"#, Whole, Rejected),
        ("scaleo", "refund", 403, r#"{"status": "error", "code": 403}"#, Whole, Suspended),
        ("scaleo", "refund", 404, r#"{"status": "error", "code": 404}"#, Whole, Rejected),
        ("scaleo", "refund", 500, r#"{"status": "error", "code": 500}"#, Whole, Retry),
        ("scaleo", "refund", 502, HTML, Whole, Unknown),
        ("scaleo", "refund", 200, "", Broken, Unknown),
        ("scaleo", "adjustment", 200, r#"{"status": "success", "code": 200}"#, Whole, Delivered),
        ("scaleo", "adjustment", 200, r#"{"Status": "error"}"#, Whole, Rejected),
        ("scaleo", "adjustment", 401, "", Whole, Suspended),
        ("scaleo", "adjustment", 422, r#"{"status": "error", "info": {"errors": {"amount": ["x"]}}}"#, Whole, Rejected),
        ("scaleo", "adjustment", 504, "", Whole, Unknown),
        ("scaleo", "adjustment", 503, "", Whole, Retry),

        ("trackdesk", "conversion", 204, "", Whole, Delivered),
        ("trackdesk", "conversion", 200, HTML, Whole, Delivered),
        ("trackdesk", "conversion", 502, HTML, Whole, Retry),
        ("trackdesk", "conversion", 400, "<error>conversion already exists</error>", Whole, Duplicate),
        ("trackdesk", "conversion", 401, r#"{"message": "conversion already exists"}"#, Whole, Duplicate),
        ("trackdesk", "conversion", 422, r#"{"code": 13, "message": "System error"}"#, Whole, Retry),
        ("trackdesk", "conversion", 400, r#"{"message": "pricing for conversion type not configured"}"#, Whole, Rejected),
        ("trackdesk", "conversion", 409, "conversion alre", Broken, Unknown),
        ("trackdesk", "conversion", 200, "{", Head, Delivered),
        ("trackdesk_get", "conversion", 200, "", Whole, Delivered),
        ("trackdesk_get", "conversion", 200, "GIF89a", Whole, Delivered),
        ("trackdesk_get", "conversion", 400, r#"{"code": 6, "message": "conversion already exists"}"#, Whole, Duplicate),
        ("trackdesk_get", "conversion", 400, r#"{"message": "System error"}"#, Whole, Retry),
        ("trackdesk_get", "conversion", 400, r#"{"message": "conversion source not found"}"#, Whole, Rejected),
        ("trackdesk_get", "conversion", 502, HTML, Whole, Retry),
        ("trackdesk_get", "conversion", 400, "{", Broken, Unknown),
        ("trackdesk", "refund", 200, "", Whole, Delivered),
        ("trackdesk", "refund", 400, r#"{"message": "System error"}"#, Whole, Retry),
        ("trackdesk", "refund", 401, "", Whole, Suspended),
        ("trackdesk", "refund", 404, r#"{"code": 5, "message": "conversion not found"}"#, Whole, Rejected),
        ("trackdesk", "refund", 200, "{", Broken, Delivered),
        ("trackdesk_get", "refund", 200, "{}", Whole, Delivered),
        ("trackdesk_get", "refund", 500, "", Whole, Retry),
        ("trackdesk_get", "refund", 400, "", Whole, Rejected),

        ("dsp", "conversion", 204, "", Whole, Delivered),
        ("dsp", "conversion", 200, HTML, Whole, Delivered),
        ("dsp", "conversion", 200, r#"{"status": "error"}"#, Whole, Delivered),
        ("dsp", "conversion", 200, "{", Head, Delivered),
        ("dsp", "conversion", 400, r#"{"status": "ok"}"#, Whole, Rejected),
        ("dsp", "conversion", 401, "{", Broken, Suspended),
        ("dsp", "conversion", 502, HTML, Whole, Retry),
        ("dsp", "conversion", 511, HTML, Whole, Retry),
    ]
};

/// What a proxy says in a platform's place.
const HTML: &str = "<!DOCTYPE html><html><body>{\"status\": \"ok\"} is not here</body></html>";

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
