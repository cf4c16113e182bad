//! Answers as the platforms document them, and what each means.

use capi_relay::queue::Verdict::{self, Delivered, Duplicate, Rejected, Retry, Suspended, Unknown};

/// Destination, operation, status, body; what it means.
pub(super) type Row = (&'static str, &'static str, u16, &'static str, Verdict);

/// By destination.
#[rustfmt::skip]
pub(super) const ANSWERS: &[Row] = &[
    ("meta", "conversion", 200, r#"{"events_received": 1, "messages": [], "fbtrace_id": "A"}"#, Delivered),
    ("meta", "conversion", 200, r#"{"events_received": 0}"#, Rejected),
    ("meta", "conversion", 400, r#"{"error": {"code": 100, "error_subcode": 2804003, "is_transient": false}}"#, Rejected),
    ("meta", "conversion", 400, r#"{"error": {"code": 2, "is_transient": true}}"#, Retry),
    ("meta", "conversion", 400, r#"{"error": {"code": 17}}"#, Retry),
    ("meta", "conversion", 400, r#"{"error": {"code": 190, "error_subcode": 463}}"#, Suspended),
    ("meta", "conversion", 403, r#"{"error": {"code": 200}}"#, Suspended),
    ("meta", "conversion", 500, r#"{"error": {"code": 1}}"#, Retry),

    ("tiktok", "conversion", 200, r#"{"code": 0, "message": "OK", "request_id": "r", "data": {}}"#, Delivered),
    ("tiktok", "conversion", 200, r#"{"code": 20001, "message": "Partial success"}"#, Delivered),
    ("tiktok", "conversion", 200, r#"{"code": 40002, "message": "Invalid parameter"}"#, Rejected),
    ("tiktok", "conversion", 200, r#"{"code": 40100, "message": "Too many requests"}"#, Retry),
    ("tiktok", "conversion", 200, r#"{"code": 40105, "message": "Access token is incorrect or has been revoked"}"#, Suspended),
    ("tiktok", "conversion", 200, r#"{"code": 50000, "message": "System error"}"#, Retry),
    ("tiktok", "conversion", 502, "Bad Gateway", Unknown),

    ("ga4", "conversion", 204, "", Delivered),
    ("ga4", "conversion", 503, "", Retry),
    ("ga4", "event", 204, "", Delivered),
    ("ga4", "event", 503, "", Retry),
    ("ga4", "refund", 204, "", Delivered),

    ("google-ads", "conversion", 200, r#"{"results": [{"gclid": "g"}], "jobId": "123"}"#, Delivered),
    ("google-ads", "conversion", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionUploadError": "EXPIRED_EVENT"}}]}]}}"#, Rejected),
    ("google-ads", "conversion", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionUploadError": "CLICK_CONVERSION_ALREADY_EXISTS"}}]}]}}"#, Duplicate),
    ("google-ads", "conversion", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionUploadError": "TOO_RECENT_CONVERSION_ACTION"}}]}]}}"#, Retry),
    ("google-ads", "conversion", 400, r#"{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}"#, Rejected),
    ("google-ads", "conversion", 401, r#"{"error": {"code": 401, "status": "UNAUTHENTICATED"}}"#, Suspended),
    ("google-ads", "conversion", 429, r#"{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}"#, Retry),
    ("google-ads", "refund", 200, r#"{"results": [{"orderId": "o"}]}"#, Delivered),
    ("google-ads", "adjustment", 200, r#"{"results": [{"orderId": "o"}]}"#, Delivered),
    ("google-ads", "refund", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionUploadError": "CONVERSION_NOT_FOUND"}}]}]}}"#, Retry),
    ("google-ads", "adjustment", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionUploadError": "CONVERSION_NOT_FOUND"}}]}]}}"#, Retry),
    ("google-ads", "refund", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionUploadError": "CONVERSION_EXPIRED"}}]}]}}"#, Rejected),
    ("google-ads", "adjustment", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionUploadError": "CONVERSION_EXPIRED"}}]}]}}"#, Rejected),
    ("google-ads", "refund", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionUploadError": "CONVERSION_ALREADY_RETRACTED"}}]}]}}"#, Duplicate),
    ("google-ads", "adjustment", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionAdjustmentUploadError": "RESTATEMENT_ALREADY_EXISTS"}}]}]}}"#, Duplicate),
    ("google-ads", "adjustment", 200, r#"{"partialFailureError": {"code": 3, "details": [{"errors": [{"errorCode": {"conversionAdjustmentUploadError": "MORE_RECENT_RESTATEMENT_FOUND"}}]}]}}"#, Rejected),

    ("pinterest", "conversion", 200, r#"{"num_events_received": 1, "num_events_processed": 1, "events": [{"status": "processed"}]}"#, Delivered),
    ("pinterest", "conversion", 200, r#"{"num_events_received": 1, "num_events_processed": 0, "events": [{"status": "failed"}]}"#, Rejected),
    ("pinterest", "conversion", 422, r#"{"code": 1, "message": "Not all events", "details": {}}"#, Rejected),
    ("pinterest", "conversion", 401, r#"{"code": 2, "message": "Authentication failed."}"#, Suspended),
    ("pinterest", "conversion", 429, r#"{"code": 8}"#, Retry),
    ("pinterest", "conversion", 503, r#"{"code": 4197}"#, Retry),

    ("snap", "conversion", 200, r#"{"status": "VALID", "reason": "All events were processed"}"#, Delivered),
    ("snap", "conversion", 200, r#"{"status": "INVALID"}"#, Rejected),
    ("snap", "conversion", 400, r#"{"status": "INVALID"}"#, Rejected),
    ("snap", "conversion", 401, "", Suspended),

    ("reddit", "conversion", 200, r#"{"data": {"message": "Successfully processed 1 conversion events."}}"#, Delivered),
    ("reddit", "conversion", 400, r#"{"error": {"code": 400}}"#, Rejected),
    ("reddit", "conversion", 403, "", Suspended),

    ("linkedin", "conversion", 201, "", Delivered),
    ("linkedin", "conversion", 400, r#"{"message": "field [conversionHappenedAt] is older than 90 days"}"#, Rejected),
    ("linkedin", "conversion", 401, r#"{"code": "EXPIRED_ACCESS_TOKEN"}"#, Suspended),
    ("linkedin", "conversion", 426, r#"{"code": "NONEXISTENT_VERSION"}"#, Suspended),
    ("linkedin", "conversion", 429, "", Retry),

    ("openai-ads", "conversion", 200, r#"{"accepted_events": 1}"#, Delivered),
    ("openai-ads", "conversion", 400, r#"{"error": {"message": "timestamp_ms is older than 7 days"}}"#, Rejected),
    ("openai-ads", "conversion", 401, "", Suspended),

    ("awin", "conversion", 200, r#"{"batchId": "b", "successfulOrders": [{"orderReference": "o"}], "failedOrders": []}"#, Delivered),
    ("awin", "conversion", 202, r#"{"batchId": "b"}"#, Delivered),
    ("awin", "conversion", 206, r#"{"batchId": "b", "successfulOrders": [], "failedOrders": [{"order": {}}]}"#, Rejected),
    ("awin", "conversion", 400, "", Rejected),
    ("awin", "conversion", 429, "", Retry),

    ("microsoft-uet", "conversion", 200, r#"{"eventsReceived": 1, "traceId": "t"}"#, Delivered),
    ("microsoft-uet", "conversion", 200, r#"{"eventsReceived": 1, "error": {"details": [{"index": 0, "errorMessage": "…"}]}}"#, Rejected),
    ("microsoft-uet", "conversion", 401, r#"{"error": {"code": "Unauthorized"}}"#, Suspended),

    ("rakuten", "conversion", 200, "<response><unique_id>1</unique_id><good> 2 </good><bad> 0 </bad></response>", Delivered),
    ("rakuten", "conversion", 200, "<response><good> 1 </good><bad> 1 </bad></response>", Rejected),
    ("rakuten", "conversion", 200, "<response> <error> Access denied </error> </response>", Suspended),
    ("rakuten", "conversion", 400, "<html>", Rejected),

    ("tune", "conversion", 200, "success=true;", Delivered),
    ("tune", "conversion", 200, "success=false;err_code=2;err_msg=Invalid transaction", Rejected),

    ("everflow", "conversion", 200, "", Delivered),

    ("everflow", "conversion", 503, "", Retry),

    ("cj", "conversion", 200, "GIF89a", Delivered),
    ("cj", "conversion", 500, "", Retry),

    ("partnerstack", "conversion", 200, r#"{"data": {"key": "order-1001"}, "status": 200}"#, Delivered),
    ("partnerstack", "conversion", 400, r#"{"message": "…", "status": 400}"#, Rejected),
    ("partnerstack", "refund", 200, r#"{"data": {"key": "refund-1"}}"#, Delivered),
];
