//! The built-in destinations: what each sends of a conversion. People read the snapshots beside the vendors' documents.

mod odd;

use capi_relay::config::{Config, Decision, Source, presets};
use capi_relay::conversion::{Conversion, ConversionId, Meta};
use capi_relay::mapping::{Answer, Request, Scope, Secrets};
use capi_relay::sandbox::{Accounts, Platform, Sandbox};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const FULL: &str = include_str!("presets/full.json");
const ORDER_LEVEL: &str = include_str!("presets/order-level.json");
const NOBODY: &str = include_str!("presets/nobody.json");
const ROUTES: &str = include_str!("presets/routes.toml");

fn config(sets: &[(String, String)]) -> Result<Config, capi_relay::config::Report> {
    Config::load(Source { path: "routes.toml".into(), text: ROUTES.to_owned(), environment: &|_| None, sets })
}

/// What a destination does with a conversion: the request, masked, or why there is none.
fn sent(config: &Config, destination: &str, conversion: &str) -> Option<String> {
    let conversion = Conversion::parse(conversion.as_bytes(), "generated").ok()?;
    let meta = Meta::new(ConversionId::new(0, [0; 10]), "acme".into(), None, &conversion);
    let scope = Scope { conversion: &conversion, meta: &meta };
    Some(match config.destination(destination)?.decide(scope) {
        Decision::Send(operation) => match operation.request.render(scope, Secrets::Masked) {
            Ok(request) => legible(&request),
            Err(unmappable) => format!("unmappable: {unmappable}"),
        },
        Decision::Skipped(reason) => format!("skipped: {reason}"),
        Decision::Withheld(reason) => format!("withheld: {reason}"),
        Decision::Unsupported(reason) => format!("unsupported: {reason}"),
    })
}

/// As an HTTP message, one parameter or member a line.
fn legible(request: &Request) -> String {
    let mut text = format!("{} {}\n", request.method, request.url.replace(['?', '&'], "\n  &"));
    for (name, value) in request.headers.iter() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let body = String::from_utf8_lossy(&request.body);
    format!("{text}\n{}", body.replace('&', "\n&").replace(",\"", ",\n\""))
}

#[test]
fn every_preset_sends_what_its_vendor_documents() {
    let config = config(&[]).unwrap_or_else(|report| panic!("{report}"));
    for destination in &config.destinations {
        let name = destination.name.as_str();
        let sent = |conversion| sent(&config, name, conversion).unwrap();
        insta::with_settings!({snapshot_path => "presets", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(format!("{name}-full"), sent(FULL));
            insta::assert_snapshot!(format!("{name}-order-level"), sent(ORDER_LEVEL));
        });
    }
}

#[test]
fn what_carries_no_id_of_a_destination_is_skipped_there() {
    let config = config(&[]).unwrap_or_else(|report| panic!("{report}"));
    for destination in &config.destinations {
        let sent = sent(&config, destination.name.as_str(), NOBODY).unwrap();
        assert!(sent.starts_with("skipped: does not apply: "), "{}: {sent}", destination.name);
    }
}

#[test]
fn a_masked_request_shows_no_credential() {
    let config = config(&[]).unwrap_or_else(|report| panic!("{report}"));
    for destination in &config.destinations {
        let sent = sent(&config, destination.name.as_str(), FULL).unwrap();
        assert!(!sent.contains("-live-"), "{sent}");
    }
}

#[test]
fn origin_points_a_destination_at_the_sandbox_and_leaves_path_and_query() {
    let sets: Vec<(String, String)> = ["thrad", "impact", "impact-json", "scaleo", "trackdesk", "trackdesk-get", "dsp"]
        .map(|name| (format!("destination.{name}.origin"), "http://127.0.0.1:9001".to_owned()))
        .into();
    let (here, there) = (config(&sets), config(&[]));
    let (here, there) =
        (here.unwrap_or_else(|report| panic!("{report}")), there.unwrap_or_else(|report| panic!("{report}")));
    for destination in &here.destinations {
        let name = destination.name.as_str();
        let (here, there) = (sent(&here, name, FULL).unwrap(), sent(&there, name, FULL).unwrap());
        let (method, rest) = there.split_once(" https://").unwrap();
        let path = rest.find('/').unwrap();
        assert_eq!(here, format!("{method} http://127.0.0.1:9001{}", rest.split_at(path).1));
    }
}

/// Sends it to a stand-in, and waits for the answer's end.
async fn post(request: &Request) -> std::io::Result<()> {
    let (_, rest) = request.url.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n", request.method);
    for (name, value) in request.headers.iter() {
        head.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
    let mut connection = tokio::net::TcpStream::connect(authority).await?;
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(&request.body).await?;
    connection.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// The sandbox, and every preset pointed at it; `more` beside that.
async fn at_sandbox(more: &[(&str, &str, &str)]) -> (Sandbox, Config) {
    let accounts = Accounts::default();
    let sandbox = Sandbox::start(accounts.clone(), 0).await.unwrap();
    let set = |name: &str, key: &str, value: &str| (format!("destination.{name}.{key}"), value.to_owned());
    let mut sets: Vec<(String, String)> =
        ["thrad", "impact", "impact-json", "scaleo", "trackdesk", "trackdesk-get", "dsp"]
            .map(|name| set(name, "origin", &format!("http://{}", sandbox.address(platform(name)))))
            .into();
    sets.push(set("thrad", "secrets.api_key", &accounts.thrad_api_key));
    for impact in ["impact", "impact-json"] {
        sets.push(set(impact, "vars.account_sid", &accounts.impact_account_sid));
        sets.push(set(impact, "secrets.auth_token", &accounts.impact_auth_token));
    }
    sets.push(set("scaleo", "secrets.api_key", &accounts.scaleo_api_key));
    sets.push(set("trackdesk-get", "secrets.api_key", &accounts.trackdesk_api_key));
    sets.push(set("dsp", "secrets.token", &accounts.dsp_token));
    sets.extend(more.iter().map(|(name, key, value)| set(name, key, value)));
    let config = config(&sets).unwrap_or_else(|report| panic!("{report}"));
    (sandbox, config)
}

/// The stand-in that a destination of the tests talks to.
fn platform(destination: &str) -> Platform {
    Platform::ALL.into_iter().find(|platform| destination.starts_with(platform.name())).unwrap()
}

#[tokio::test]
async fn what_presets_send_breaks_no_rule_of_the_vendors_documents() {
    let (sandbox, config) = at_sandbox(&[]).await;
    for conversion in [FULL, ORDER_LEVEL] {
        let conversion = Conversion::parse(conversion.as_bytes(), "generated").unwrap();
        let meta = Meta::new(ConversionId::new(0, [0; 10]), "acme".into(), None, &conversion);
        let scope = Scope { conversion: &conversion, meta: &meta };
        for destination in &config.destinations {
            let Decision::Send(operation) = destination.decide(scope) else { panic!("{} is sent", destination.name) };
            post(&operation.request.render(scope, Secrets::Revealed).unwrap()).await.unwrap();
        }
    }
    for platform in Platform::ALL {
        let sent = config.destinations.iter().filter(|it| it.name.as_str().starts_with(platform.name())).count() * 2;
        let received = sandbox.received(platform);
        assert_eq!(received.len(), sent, "{platform:?}");
        for request in received {
            assert_eq!((request.answered, request.violations), (200, Vec::new()), "{platform:?} {}", request.target);
        }
    }
}

#[test]
fn an_item_that_impact_would_refuse_is_unmappable_with_the_fields_name() {
    let config = config(&[]).unwrap_or_else(|report| panic!("{report}"));
    let check = |item: &str, expected: &str| {
        let conversion = format!(
            r#"{{"event_id": "e", "time": "2026-11-21T10:15:30Z", "currency": "EUR", "click_ids": {{"impact": "c"}},
               "items": [{item}]}}"#
        );
        assert_eq!(sent(&config, "impact", &conversion).unwrap(), expected);
    };
    check(
        r#"{"sku": "A", "category": "C", "quantity": 1}"#,
        "unmappable: ItemPrice{i}, ItemSubTotal{i}: exactly one of them is required, none is present (item 1)",
    );
    check(
        r#"{"sku": "A", "quantity": 1, "price": "1.00"}"#,
        "unmappable: ItemCategory{i}: required with `items`, and absent (item 1)",
    );
}

#[test]
fn an_adjustment_that_is_rejected_sets_no_amount_where_the_platform_has_no_status() {
    let items = ("destination.impact.vars.adjust_by".to_owned(), "items".to_owned());
    let tracker = ("destination.impact.vars.action_tracker_id".to_owned(), "7".to_owned());
    for sets in [vec![tracker.clone()], vec![tracker.clone(), items]] {
        let config = config(&sets).unwrap_or_else(|report| panic!("{report}"));
        let adjusted = |status: &str| {
            let conversion = format!(
                r#"{{"kind": "adjustment", "time": "2026-11-21T10:15:30Z", "order_id": "o", "value": 5, "currency": "EUR",
                    "status": "{status}", "items": [{{"sku": "A", "quantity": 0}}]}}"#
            );
            sent(&config, "impact", &conversion).unwrap()
        };
        let rejected = adjusted("rejected");
        assert!(rejected.starts_with("unsupported: ") && rejected.contains("send a refund"), "{rejected}");
        assert!(adjusted("approved").starts_with("PUT "), "{}", adjusted("approved"));
    }
}

#[test]
fn the_dsp_learns_nothing_of_a_customer_who_refused_and_hashes_no_number_of_somebody_else() {
    let config = config(&[]).unwrap_or_else(|report| panic!("{report}"));
    let dsp = |members: &str| {
        let conversion = format!(r#"{{"event_id": "e", "time": "2026-11-21T10:15:30Z", {members}}}"#);
        sent(&config, "dsp", &conversion).unwrap()
    };
    let refused = dsp(r#""customer": {"id": "c"}, "consent": {"ad_user_data": false}"#);
    assert!(refused.starts_with("skipped: does not apply: consent.ad_user_data"), "{refused}");
    assert!(dsp(r#""customer": {"id": "c"}, "consent": {"ad_user_data": true}"#).contains("FirstPartyId"));
    let phone = |phone: &str| dsp(&format!(r#""customer": {{"id": "c", "phone": "{phone}"}}"#));
    // SHA-256 of 49301234567.
    let digest = "2f9fbc550b12cbc0e6242384cc472bd1e4f058a8b773f189f7acb86d202655ce";
    for same in ["+49 (0)30 1234567", "0049 30 1234567", "49301234567"] {
        assert!(phone(same).contains(digest), "{same}");
    }
    assert!(!phone("030 1234567").contains("HashedPhone"));
}

#[test]
fn a_test_conversion_goes_to_trackdesk_alone_with_its_status_test() {
    let config = config(&[]).unwrap_or_else(|report| panic!("{report}"));
    let test = FULL.replacen('{', r#"{"test": true, "#, 1);
    for destination in &config.destinations {
        let sent = sent(&config, destination.name.as_str(), &test).unwrap();
        if destination.name.as_str().starts_with("trackdesk") {
            assert!(sent.contains("CONVERSION_STATUS_TEST") && !sent.contains("STATUS_APPROVED"), "{sent}");
        } else {
            assert!(sent.starts_with("skipped: a test conversion"), "{sent}");
        }
    }
}

#[test]
fn answers_mean_what_the_vendors_document() {
    let config = config(&[]).unwrap_or_else(|report| panic!("{report}"));
    let check = |name: &str, status: u16, body: &str, expected: &str| {
        let judge = &config.destination(name).unwrap().operations[0].judge;
        let status = http::StatusCode::from_u16(status).unwrap();
        let answer = Answer::new(status, http::HeaderMap::new(), body.as_bytes().to_vec().into());
        let holds = |condition: &Option<capi_relay::mapping::AnswerCondition>, default: bool| {
            condition.as_ref().map_or(default, |condition| condition.holds(&answer))
        };
        let found = if holds(&judge.duplicate_when, false) {
            "duplicate"
        } else if holds(&judge.delivered_when, status.is_success()) {
            "delivered"
        } else if holds(&judge.retry_when, false) {
            "retry"
        } else {
            "no"
        };
        assert_eq!(found, expected, "{name} {status} {body}");
    };
    check("thrad", 200, r#"{"status": "ok"}"#, "delivered");
    check("thrad", 201, r#"{"status": "ok"}"#, "delivered");
    check("thrad", 200, r#"{"status": "duplicate"}"#, "duplicate");
    check("thrad", 200, r#"{"status": "queued?"}"#, "no");
    check("thrad", 200, "", "no");
    check("thrad", 404, r#"{"detail": "Click not found"}"#, "no");
    check("impact", 200, r#"{"Status": "QUEUED", "QueuedUri": "/Advertisers/x/APISubmissions/A-1"}"#, "delivered");
    check("impact", 200, r#"{"Status": "ERROR", "errors": [{"field": "Margin"}]}"#, "no");
    check("impact", 200, r#"{"status": "ERROR"}"#, "no");
    check("impact", 200, r#"{"ActionId": "1000.1.1", "ActionUri": "/x"}"#, "delivered");
    check("impact", 400, r#"{"Status": "ERROR"}"#, "no");
    check("scaleo", 200, r#"{"status": "success", "code": 200, "info": {"conv_status": "approved"}}"#, "delivered");
    check("scaleo", 200, r#"{"status": 1, "code": 200}"#, "delivered");
    check("scaleo", 200, r#"{"status": "success", "info": {"conv_status": "trash"}}"#, "no");
    check("scaleo", 200, r#"{"status": "error", "code": 200}"#, "no");
    check("scaleo", 422, r#"{"status": "error"}"#, "no");
    for trackdesk in ["trackdesk", "trackdesk-get"] {
        check(trackdesk, 200, "", "delivered");
        check(trackdesk, 400, r#"{"message": "Conversion already exists"}"#, "duplicate");
        check(trackdesk, 400, r#"{"message": "System error"}"#, "retry");
        check(trackdesk, 400, r#"{"message": "Conversion type not found"}"#, "no");
    }
    check("dsp", 201, "", "delivered");
    check("dsp", 400, "", "no");
}

/// What a destination's platform received of a refund or adjustment, by whose document it is right.
async fn changed(sandbox: &Sandbox, config: &Config, destination: &str, conversion: &str) -> String {
    let conversion = Conversion::parse(conversion.as_bytes(), "generated").unwrap();
    let meta = Meta::new(ConversionId::new(0, [0; 10]), "acme".into(), None, &conversion);
    let scope = Scope { conversion: &conversion, meta: &meta };
    let decision = config.destination(destination).unwrap().decide(scope);
    let Decision::Send(operation) = decision else { panic!("{decision:?}") };
    post(&operation.request.render(scope, Secrets::Revealed).unwrap()).await.unwrap();
    let received = sandbox.received(platform(destination)).pop().unwrap();
    assert_eq!(received.violations, Vec::<String>::new(), "{received:?}");
    format!("{} {}", received.method, received.body)
}

#[tokio::test]
async fn what_changes_a_conversion_has_one_form_whatever_the_conversions_is() {
    let (sandbox, config) = at_sandbox(&[
        ("impact", "vars.action_tracker_id", "12345"),
        ("impact", "vars.adjust_by", "items"),
        ("impact-json", "vars.action_tracker_id", "12345"),
    ])
    .await;
    let changed = async |destination: &str, conversion: &str| changed(&sandbox, &config, destination, conversion).await;
    let refund = r#"{"kind": "refund", "order_id": "o-1", "time": "2026-11-21T10:15:30Z",
        "order": {"disposition_code": "TEST_ACTION"}, "reason": "OTHER"}"#;
    let adjustment = r#"{"kind": "adjustment", "event_id": "e-1", "time": "2026-11-21T10:15:30Z", "value": 0, "currency": "EUR",
        "reason": "ITEM_RETURNED", "items": [{"sku": "A", "quantity": 0}, {"sku": "B", "quantity": 3, "category": "Tools"}]}"#;
    assert_eq!(
        changed("impact-json", refund).await,
        "DELETE ActionTrackerId=12345&OrderId=o-1&DispositionCode=TEST_ACTION"
    );
    // The order's total would be the first item's beside its SKU.
    assert_eq!(
        changed("impact", adjustment).await,
        "PUT ActionTrackerId=12345&OrderId=e-1&Reason=ORDER_UPDATE&Sku=A&Quantity=0&Sku2=B&Category2=Tools&Quantity2=3"
    );
    assert_eq!(
        changed("impact-json", adjustment).await,
        "PUT ActionTrackerId=12345&OrderId=e-1&Amount=0&Reason=ITEM_RETURNED"
    );
    let expected = concat!(
        r#"POST {"external_id":"o-1","conversion_type_code":"sale","#,
        r#""revenue_origin_id":"6d1c3c5e-0000-4000-8000-000000000001","status":"CONVERSION_STATUS_REFUNDED"}"#
    );
    assert_eq!(changed("trackdesk-get", refund).await, expected);
}

#[test]
fn a_telephone_number_is_hashed_without_the_zero_that_is_not_dialled_from_abroad() {
    let config = config(&[]).unwrap_or_else(|report| panic!("{report}"));
    let hashed = |phone: &str| {
        let conversion = format!(r#"{{"time": "2026-11-21T10:15:30Z", "customer": {{"phone": "{phone}"}}}}"#);
        let sent = sent(&config, "dsp", &conversion).unwrap();
        sent.split_once("\"ids\":").map(|(_, ids)| ids.to_owned())
    };
    assert_eq!(hashed("+49 (0)30 901820"), hashed("+4930901820"));
    assert_ne!(hashed("+1 (010) 555-2671"), hashed("+1 555-2671"));
}

#[test]
fn presets_are_read_by_people_too() {
    for (name, text) in presets() {
        assert!(text.starts_with("# ") && text.contains("https://"), "{name} says where it comes from");
        let fits = |line: &str| line.chars().count() <= 120 || line.starts_with("# https:");
        assert!(text.lines().all(fits), "{name} fits a screen");
    }
}
