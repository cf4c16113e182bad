//! Every documented answer of the five vendors, read by their own presets, and every way in which none comes.

mod operations;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::config::{Config, Source};

const HEAD: &str = r#"
[server]
listen = "127.0.0.1:0"
plaintext = true

[queue]
path = "data"

[merchant.acme]
token_sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
"#;

const DESTINATIONS: &str = r#"
[destination.thrad]
preset = "thrad"
secrets.api_key = "k"

[destination.impact]
preset = "impact"
vars.account_sid = "IRsid"
vars.campaign_id = 1
vars.event_type_id = 2
vars.action_tracker_id = 2
vars.adjust_by = "items"
secrets.auth_token = "t"

[destination.scaleo]
preset = "scaleo"
expect_currency = "EUR"
vars.domain = "track.example.com"
secrets.api_key = "k"
secrets.security_token = "s"

[destination.trackdesk]
preset = "trackdesk"
vars.tenant = "acme"
vars.conversion_type = "sale"
secrets.api_key = "k"

[destination.trackdesk_get]
preset = "trackdesk-get"
vars.tenant = "acme"
vars.conversion_type = "sale"
secrets.api_key = "k"

[destination.dsp]
preset = "dsp"
vars.endpoint = "https://px.dsp.example/signal/v1/conversion"
vars.advertiser_id = 12
vars.data_source_key = "d"
secrets.token = "t"

[destination.click_lag]
preset = "thrad"
secrets.api_key = "k"
retry_when = "status == 404"

[destination.doubtful]
method = "POST"
url = "https://px.example.com/"
body = "none"
map.id = "event_id"
duplicate_when = "status == 409"
delivered_when = "status == 200"
ambiguous_when = "status == 202 || status == 418 || status == 401 || body.state == 'maybe'"
retry_when = "status == 418"

[destination.strict]
method = "POST"
url = "https://px.example.com/"
body = "none"
map.id = "event_id"
duplicate_when = "body.code == 1"
delivered_when = "status == 200 && body.ok == true"
rejected_when = "body.code == 2"
suspended_when = "body.code in [2, 3]"
ambiguous_when = "body.code in [2, 3, 4]"
retry_when = "body.code in [2, 3, 4, 5]"

[destination.worded]
method = "POST"
url = "https://px.example.com/"
body = "none"
map.id = "event_id"
delivered_when = "contains(body, 'success=true')"

[destination.plain]
method = "POST"
url = "https://px.example.com/"
body = "none"
map.id = "event_id"
"#;

struct Table(Config);

impl Table {
    fn new() -> Table {
        Table::of(DESTINATIONS)
    }

    fn of(destinations: &str) -> Table {
        let text = format!("{HEAD}{destinations}");
        let source = Source { path: PathBuf::from("routes.toml"), text, environment: &|_| None, sets: &[] };
        Table(Config::load(source).unwrap_or_else(|report| panic!("{report}")))
    }

    #[track_caller]
    fn judge_of(&self, destination: &str) -> &Judge {
        self.judge_of_operation(destination, "conversion")
    }

    #[track_caller]
    fn judge_of_operation(&self, destination: &str, operation: &str) -> &Judge {
        let destination: &Arc<crate::config::Destination> = self.0.destination(destination).unwrap();
        &destination.operations.iter().find(|known| known.name == operation).unwrap().judge
    }

    #[track_caller]
    fn answer(&self, destination: &str, status: u16, body: &str, expected: Judgement) {
        self.check(destination, &answered(status, body, Body::Whole), expected);
    }

    #[track_caller]
    fn torn(&self, destination: &str, status: u16, body: &str, expected: Judgement) {
        self.check(destination, &answered(status, body, Body::Broken), expected);
    }

    #[track_caller]
    fn check(&self, destination: &str, transmission: &Transmission, expected: Judgement) {
        assert_eq!(judge(self.judge_of(destination), transmission), expected, "{destination}: {transmission:?}");
    }
}

fn answered(status: u16, body: &str, extent: Body) -> Transmission {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let answer = Answer::new(StatusCode::from_u16(status).unwrap(), headers, Bytes::copy_from_slice(body.as_bytes()));
    Transmission::Answered { answer, body: extent }
}

fn failure(timed_out: bool) -> Failure {
    let text = "x".to_owned();
    if timed_out { Failure::timed_out(text) } else { Failure::of(text) }
}

const VENDORS: [&str; 5] = ["thrad", "impact", "scaleo", "trackdesk", "dsp"];

#[test]
#[expect(clippy::too_many_lines, reason = "one table, to be read beside the vendors' documents")]
fn every_documented_answer_has_its_meaning() {
    use Judgement::{Delivered, Duplicate, Rejected, Retry, Suspended, Unknown};
    let table = Table::new();

    // Thrad: "Response", "Errors".
    table.answer("thrad", 200, r#"{"status": "ok"}"#, Delivered);
    table.answer("thrad", 201, r#"{"status": "ok"}"#, Delivered);
    table.answer("thrad", 200, r#"{"status": "duplicate"}"#, Duplicate);
    table.answer("thrad", 200, r#"{"status": "odd"}"#, Rejected);
    table.answer("thrad", 401, r#"{"detail": "Missing bearer token"}"#, Suspended);
    table.answer("thrad", 401, r#"{"detail": "Invalid API key"}"#, Suspended);
    table.answer("thrad", 404, r#"{"detail": "Click not found"}"#, Rejected);
    table.answer("click_lag", 404, r#"{"detail": "Click not found"}"#, Retry);
    table.answer("thrad", 400, r#"{"detail": "Click missing bid id"}"#, Rejected);
    table.answer(
        "thrad",
        422,
        r#"{"detail": [{"loc": ["body", "currency"], "msg": "field required", "type": "missing"}]}"#,
        Rejected,
    );

    // Impact: "Example response", general errors, and the same with other letters.
    table.answer(
        "impact",
        200,
        r#"{"Status": "QUEUED", "QueuedUri": "/Advertisers/IRsid/APISubmissions/A-1"}"#,
        Delivered,
    );
    table.answer("impact", 200, r#"{"ActionId": "1.2.3", "ActionUri": "/Advertisers/IRsid/Actions/1.2.3"}"#, Delivered);
    let error = r#"{"Status": "ERROR", "errors": [{"field": "Margin", "level": "ERROR", "message": "(fifty)"}]}"#;
    table.answer("impact", 400, error, Rejected);
    table.answer("impact", 200, error, Rejected);
    table.answer("impact", 200, r#"{"status": "ERROR"}"#, Rejected);
    table.answer(
        "impact",
        400,
        r#"{"Message": "bad", "Errors": [{"Field": "OrderId", "Message": "required"}]}"#,
        Rejected,
    );
    table.answer("impact", 401, "", Suspended);
    table.answer("impact", 402, r#"{"Message": "request failed"}"#, Rejected);
    table.answer("impact", 403, r#"{"Message": "scope"}"#, Suspended);
    table.answer("impact", 404, "", Rejected);
    table.answer("impact", 405, "", Rejected);
    table.answer("impact", 429, "", Retry);

    // Scaleo: "Conversion created.", errors, a lead without its required fields.
    table.answer(
        "scaleo",
        200,
        r#"{"status":"success","code":200,"name":"OK","info":{"transaction_id":"t","conv_status":"approved"}}"#,
        Delivered,
    );
    table.answer("scaleo", 200, r#"{"status":1,"code":200,"info":{}}"#, Delivered);
    table.answer("scaleo", 200, r#"{"status":"success","code":200,"info":{"conv_status":"trash"}}"#, Rejected);
    table.answer(
        "scaleo",
        200,
        r#"{"status":"error","code":400,"message":"Multiple Conversions are not Allowed"}"#,
        Rejected,
    );
    table.answer("scaleo", 400, r#"{"status":"error","code":400,"message":"unknown parameter"}"#, Rejected);
    table.answer("scaleo", 401, r#"{"status":"error","code":401}"#, Suspended);
    table.answer("scaleo", 403, r#"{"status":"error","code":403}"#, Suspended);
    table.answer("scaleo", 404, r#"{"status":"error","code":404}"#, Rejected);
    table.answer(
        "scaleo",
        422,
        r#"{"status":"error","code":422,"info":{"errors":{"click_id":["required"]}}}"#,
        Rejected,
    );
    table.answer("scaleo", 500, r#"{"status":"error","code":500}"#, Retry);

    // Trackdesk: any 2xx; its conversion error log's wording.
    table.answer("trackdesk", 200, "", Delivered);
    table.answer("trackdesk", 200, "{}", Delivered);
    table.answer("trackdesk", 400, r#"{"code":6,"message":"conversion already exists"}"#, Duplicate);
    table.answer("trackdesk", 409, "conversion already exists", Duplicate);
    table.answer("trackdesk", 500, "conversion already exists", Duplicate);
    table.answer("trackdesk", 400, r#"{"message":"System error"}"#, Retry);
    for refusal in
        ["conversion source not found", "conversion type not found", "missing conversion amount", "offer not active"]
    {
        table.answer("trackdesk", 400, &format!(r#"{{"code":3,"message":"{refusal}"}}"#), Rejected);
    }

    // DSP: "200, 201, 400, 401, 429, 5xx are handled"; no body is promised.
    table.answer("dsp", 200, "", Delivered);
    table.answer("dsp", 201, "<ok/>", Delivered);
    table.answer("dsp", 400, "", Rejected);
    table.answer("dsp", 401, "", Suspended);
    table.answer("dsp", 429, "", Retry);

    // Of all alike.
    for vendor in VENDORS.into_iter().chain(["plain"]) {
        for status in [408, 425, 429, 500, 503, 507, 521, 599] {
            table.answer(vendor, status, "", Retry);
            table.torn(vendor, status, "", Retry);
        }
        // A gateway's word for "no good answer from behind": it may have been taken.
        for status in [502, 504, 520, 522, 524] {
            table.answer(vendor, status, "<html>Bad Gateway</html>", Unknown);
            table.torn(vendor, status, "<ht", Unknown);
        }
        for status in [401, 403, 407] {
            table.answer(vendor, status, "", Suspended);
            table.torn(vendor, status, "", Suspended);
        }
        for status in [301, 302, 303, 307, 308, 400, 402, 404, 405, 406, 410, 411, 413, 414, 415, 418, 451] {
            table.answer(vendor, status, "", Rejected);
        }
        table.answer(vendor, 101, "", Rejected);
        for timed_out in [true, false] {
            table.check(vendor, &Transmission::NotSent(failure(timed_out)), Retry);
            table.check(vendor, &Transmission::Unanswered(failure(timed_out)), Unknown);
        }
    }

    // Bodies that break off: what a predicate needed is unknown, what none needed is known.
    for vendor in ["plain", "dsp"] {
        table.torn(vendor, 200, "{\"sta", Delivered);
    }
    for vendor in ["thrad", "impact", "scaleo", "trackdesk"] {
        table.torn(vendor, 200, "{\"sta", Unknown);
    }
    table.torn("trackdesk", 400, "{\"mess", Unknown);
    table.torn("plain", 400, "{\"mess", Rejected);

    // Bodies past our limit are judged by their head; bodies of any kind are no error.
    table.check("trackdesk", &answered(400, "conversion already exists, and much more", Body::Head), Duplicate);
    let long = format!(r#"{{"status":"ok","padding":"{}"#, "x".repeat(64 << 10));
    table.check("thrad", &answered(200, &long, Body::Head), Unknown);
    table.check("impact", &answered(200, &long, Body::Head), Unknown);
    table.check("trackdesk", &answered(404, "<html>long", Body::Head), Rejected);
    for body in ["", "null", "[]", "{", "<a>b</a>", "ok=1;", "\u{0}\u{1}", "\"ok\""] {
        table.answer("plain", 200, body, Delivered);
        table.answer("thrad", 200, body, Rejected);
    }
}

#[test]
fn what_an_answer_says_behind_our_limit_is_not_taken_for_unsaid() {
    let table = Table::new();
    let error = format!(r#"{{"padding": "{}", "Status": "ERROR"}}"#, "x".repeat(2 << 20));
    table.answer("impact", 200, &error, Judgement::Rejected);
    for vendor in ["thrad", "impact", "scaleo"] {
        let judged = judge(table.judge_of(vendor), &answered(200, error.get(..64 << 10).unwrap(), Body::Head));
        assert_eq!(judged, Judgement::Unknown, "{vendor}");
    }
    table.check("worded", &answered(200, "success=true; and much more", Body::Head), Judgement::Delivered);
    table.check("worded", &answered(200, "and much more", Body::Head), Judgement::Unknown);
}

#[test]
fn an_ambiguous_answer_is_unknown_after_success_and_before_a_repeat() {
    use Judgement::{Delivered, Duplicate, Rejected, Retry, Unknown};
    let table = Table::new();
    table.answer("doubtful", 409, r#"{"state": "maybe"}"#, Duplicate);
    table.answer("doubtful", 200, r#"{"state": "maybe"}"#, Delivered);
    table.answer("doubtful", 202, "", Unknown);
    table.answer("doubtful", 418, "", Unknown);
    table.answer("doubtful", 401, "", Unknown);
    table.answer("doubtful", 503, r#"{"state": "maybe"}"#, Unknown);
    table.answer("doubtful", 503, r#"{"state": "no"}"#, Retry);
    table.answer("doubtful", 404, "", Rejected);
    // What broke off may have said so: a repeat could be a second sale.
    table.torn("doubtful", 503, r#"{"sta"#, Unknown);
}

#[test]
fn predicates_are_asked_in_their_order_whatever_the_status() {
    use Judgement::{Delivered, Duplicate, Rejected, Retry, Suspended, Unknown};
    let table = Table::new();
    for status in [200, 400, 401, 429, 503] {
        for (code, expected) in [(1, Duplicate), (2, Rejected), (3, Suspended), (4, Unknown), (5, Retry)] {
            table.answer("strict", status, &format!(r#"{{"code": {code}}}"#), expected);
        }
    }
    table.answer("strict", 200, r#"{"ok": true, "code": 2}"#, Delivered);
    table.answer("strict", 200, "{}", Rejected);
    table.answer("strict", 400, "{}", Rejected);
    table.answer("strict", 403, "{}", Suspended);
    table.answer("strict", 500, "{}", Retry);
    // What broke off may have refused our credential, and then nothing is to be buried.
    table.torn("strict", 400, r#"{"co"#, Unknown);
    table.torn("strict", 200, r#"{"co"#, Unknown);
}

#[test]
fn what_an_answer_says_about_the_destination() {
    let table = Table::new();
    #[track_caller]
    fn check(table: &Table, destination: &str, transmission: &Transmission, expected: Health) {
        let judgement = judge(table.judge_of(destination), transmission);
        assert_eq!(health(judgement, transmission), expected, "{destination}: {transmission:?}");
    }
    let failing = |overloaded| Health::Failing { overloaded };
    check(&table, "thrad", &answered(200, r#"{"status": "ok"}"#, Body::Whole), Health::Well);
    check(&table, "thrad", &answered(200, r#"{"status": "duplicate"}"#, Body::Whole), Health::Well);
    check(&table, "thrad", &answered(404, "", Body::Whole), Health::Answering);
    check(&table, "click_lag", &answered(404, "", Body::Whole), Health::Answering);
    check(&table, "thrad", &answered(401, "", Body::Whole), Health::Refusing);
    check(&table, "thrad", &answered(407, "", Body::Whole), Health::Barring);
    check(&table, "thrad", &Transmission::NotSent(Failure::refused("x".to_owned())), Health::Barring);
    check(&table, "thrad", &answered(429, "", Body::Whole), failing(true));
    check(&table, "thrad", &answered(503, "", Body::Whole), failing(true));
    check(&table, "thrad", &answered(500, "", Body::Whole), failing(false));
    check(&table, "thrad", &answered(408, "", Body::Whole), failing(false));
    check(&table, "thrad", &answered(200, "", Body::Broken), failing(false));
    check(&table, "scaleo", &answered(504, "", Body::Whole), failing(false));
    check(&table, "strict", &answered(503, r#"{"code": 2}"#, Body::Whole), Health::Answering);
    check(&table, "strict", &answered(200, r#"{"code": 3}"#, Body::Whole), Health::Refusing);
    check(&table, "doubtful", &answered(418, "", Body::Whole), Health::Answering);
    check(&table, "doubtful", &answered(404, r#"{"state": "maybe"}"#, Body::Whole), Health::Answering);
    check(&table, "thrad", &Transmission::NotSent(failure(false)), failing(false));
    check(&table, "thrad", &Transmission::NotSent(failure(true)), failing(true));
    check(&table, "thrad", &Transmission::Unanswered(failure(true)), failing(true));
}

#[test]
fn a_summary_names_the_status_and_never_the_body() {
    assert_eq!(answered(404, "secret", Body::Whole).summary(), "status 404 Not Found");
    assert_eq!(answered(599, "secret", Body::Head).summary(), "status 599");
    assert_eq!(answered(200, "secret", Body::Broken).summary(), "status 200 OK, its body broke off");
    assert_eq!(Transmission::NotSent(failure(true)).summary(), "not sent: x");
    assert_eq!(Transmission::Unanswered(failure(true)).summary(), "sent, no answer: x");
}

#[test]
fn a_503_of_a_gateway_whose_connection_behind_it_ended_is_open_and_any_other_is_a_retry() {
    let destinations = "[destination.again]\nmethod = \"POST\"\nurl = \"https://px.example.com/\"\nbody = \"none\"\n\
                        map.id = \"event_id\"\nretry_when = \"status == 503\"\n";
    let table = Table::of(&format!("{DESTINATIONS}\n{destinations}"));
    let envoy = "upstream connect error or disconnect/reset before headers. reset reason: ";
    for (body, expected) in [
        (format!("{envoy}connection termination"), Judgement::Unknown),
        (format!("{envoy}remote connection failure"), Judgement::Retry),
        ("<title>503 first byte timeout</title>".to_owned(), Judgement::Unknown),
        ("busy".to_owned(), Judgement::Retry),
    ] {
        table.answer("plain", 503, &body, expected);
        table.answer("again", 503, &body, Judgement::Retry);
        table.torn("plain", 503, &body, expected);
    }
}

#[test]
fn at_scaleo_a_repeat_of_a_sale_that_was_taken_is_a_duplicate_where_that_is_said() {
    let again = "[destination.again]\npreset = \"scaleo\"\nexpect_currency = \"EUR\"\nvars.domain = \"track.example.com\"\n\
                 secrets = { api_key = \"k\", security_token = \"s\" }\non_ambiguous = \"retry\"\n\
                 duplicate_when = \"(body.message | lower) == 'multiple conversions are not allowed'\"\n";
    let table = Table::of(&format!("{DESTINATIONS}\n{again}"));
    let refused = r#"{"status":"error","code":400,"message":"Multiple Conversions are not Allowed"}"#;
    table.answer("again", 200, refused, Judgement::Duplicate);
    table.answer("scaleo", 200, refused, Judgement::Rejected);
}
