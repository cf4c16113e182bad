//! Destinations written in TOML alone: the presets of ad platforms and networks, and the examples of the repository.
//!
//! Read by hand, golden by golden, against the documents named in the heads of the files as far as they are public (no live
//! account was asked): method, URL and headers; envelope and the names of its fields; which amounts are numbers, texts or the
//! smallest unit; seconds, milli- or microseconds; which fields are arrays; what is hashed and what must not be. The digests
//! are proven below from the texts that are hashed; four of them are the vendors' own examples. `capi-relay test --update`,
//! over the destinations of the examples and `routes.toml` in one file beside it, writes the files of goldens, and what it writes is read before
//! it is committed.

mod answers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use capi_relay::config::{Config, Decision, Expected, Rendering, Sample, Source, presets};
use capi_relay::conversion::{Conversion, ConversionId, Meta};
use capi_relay::delivery::verdict;
use capi_relay::mapping::{Answer, Scope, Secrets};
use capi_relay::queue::Verdict;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use self::answers::{ANSWERS, Row};
use crate::schema;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/destinations");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/destinations");

/// All sixteen.
const DESTINATIONS: [&str; 16] = [
    "awin",
    "cj",
    "everflow",
    "ga4",
    "google-ads",
    "linkedin",
    "meta",
    "microsoft-uet",
    "openai-ads",
    "partnerstack",
    "pinterest",
    "rakuten",
    "reddit",
    "snap",
    "tiktok",
    "tune",
];

/// Files of a folder, by name.
fn files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn config() -> Config {
    let mut text = String::new();
    for file in files(EXAMPLES) {
        let example = std::fs::read_to_string(file).unwrap();
        text.push_str(example.split("[server]").next().unwrap_or_default());
    }
    text.push_str(&std::fs::read_to_string(Path::new(FOLDER).join("routes.toml")).unwrap());
    let path = Path::new(FOLDER).join("routes.toml");
    let environment = &|name: &str| Some(format!("{name}-live"));
    Config::load(Source { path, text, environment, sets: &[] }).unwrap_or_else(|report| panic!("{report}"))
}

/// The request that becomes of a conversion of the folder, masked: its URL and its body.
fn sent(config: &Config, destination: &str, conversion: &str) -> (String, String) {
    let bytes = std::fs::read(format!("{FOLDER}/{conversion}.json")).unwrap();
    let sample = Sample::parse(&bytes).unwrap_or_else(|error| panic!("{conversion}: {error}"));
    match sample.at(config.destination(destination).unwrap(), "acme", Secrets::Masked) {
        Rendering::Sent { request, .. } => (request.url.clone(), String::from_utf8(request.body.to_vec()).unwrap()),
        Rendering::Nothing { outcome, reason } => panic!("{destination}: {conversion} is {outcome}: {reason}"),
    }
}

#[test]
fn every_golden_of_the_sixteen_holds() {
    let config = config();
    let mut failures = String::new();
    for destination in &config.destinations {
        for golden in &destination.goldens {
            let proof = golden.prove(destination, config.merchant_of(destination));
            if let Some(failure) = proof.failure {
                failures.push_str(&format!("{}: {}\n{failure}\n", destination.name, golden.conversion.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn each_destination_has_a_golden_purchase_and_no_golden_file_is_left_over() {
    let config = config();
    let mut names: Vec<&str> = config.destinations.iter().map(|destination| destination.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, DESTINATIONS);
    for name in names {
        let goldens = &config.destination(name).unwrap().goldens;
        let request = |expected: &Expected| match expected {
            Expected::Request(file) => Some(file.clone()),
            Expected::Nothing { .. } => None,
        };
        let named: BTreeSet<PathBuf> = goldens.iter().filter_map(|golden| request(&golden.expected)).collect();
        let there: BTreeSet<PathBuf> = files(format!("{FOLDER}/{name}")).into_iter().collect();
        assert_eq!(named, there, "{name}");
        assert!(there.contains(&PathBuf::from(format!("{FOLDER}/{name}/purchase.http"))), "{name}");
    }
}

#[test]
fn an_example_says_in_its_head_what_is_unsure() {
    for file in files(EXAMPLES) {
        let text = std::fs::read_to_string(&file).unwrap();
        let head = text.split("\n\n").next().unwrap_or_default();
        let says = |words: &str| head.contains(words);
        assert!(says("https://") && says("An example: not verified against an account"), "{}", file.display());
        assert!(says("nsure"), "{}", file.display());
        let fits = |line: &str| line.chars().count() <= 120;
        assert!(text.lines().all(fits), "{} fits a screen", file.display());
    }
}

#[test]
fn an_example_is_a_whole_file_that_check_and_the_schema_take_as_it_is() {
    for path in files(EXAMPLES) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(schema::check(&text), [""; 0], "{}", path.display());
        let arguments = ["check", "--no-secrets", "--config", path.to_str().unwrap()];
        let checked = Command::new(env!("CARGO_BIN_EXE_capi-relay")).args(arguments).env_clear().output().unwrap();
        let (told, faults) = (String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
        assert_eq!((checked.status.code(), &*faults), (Some(0), ""), "{}", path.display());
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(told.contains(&format!("destination {name}: ")), "{told}");
    }
}

#[test]
fn what_is_a_preset_is_no_example_and_each_names_where_repeats_are_recognised() {
    let config = config();
    for destination in &config.destinations {
        let name = destination.name.as_str();
        let is_preset = presets().iter().any(|(preset, _)| *preset == name);
        assert_eq!(is_preset, !Path::new(&format!("{EXAMPLES}/{name}.toml")).exists(), "{name}");
        let slots = destination.operations[0].idempotency.is_some();
        assert_eq!(slots, !["everflow", "rakuten", "tune"].contains(&name), "{name}");
    }
}

/// Sixty-four hex digits each, in their order.
fn digests(body: &str) -> Vec<&str> {
    let is_digest = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    body.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(is_digest).collect()
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn digests_are_those_of_the_texts_that_the_vendors_document() {
    // Meta's own examples: an address, a telephone number, two given names.
    for (text, digest) in [
        ("john_smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
        ("16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
        ("mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
        ("valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ] {
        assert_eq!(sha256(text), digest, "{text}");
    }
    let config = config();
    let check = |name: &str, conversion: &str, texts: &[&str]| {
        let (_, body) = sent(&config, name, conversion);
        let expected: Vec<String> = texts.iter().map(|text| sha256(text)).collect();
        assert_eq!(digests(&body), expected, "{name} {conversion}");
    };
    let (email, digits, e164) = ("john_smith@gmail.com", "16505551212", "+16505551212");
    let person = [email, digits, "mary", "obrien", "f", "19970216", "newyork", "ca", "94035", "us", "customer-77"];
    check("meta", "purchase", &person);
    check("pinterest", "purchase", &person);
    check("snap", "purchase", &[email, digits, "mary", "o'brien", "f", "new york", "ca", "94035", "us", "customer-77"]);
    check("tiktok", "purchase", &[email, e164, "customer-77", "mary", "obrien", "94035"]);
    check("reddit", "purchase", &[email, e164, "customer-77", "203.0.113.7"]);
    check("google-ads", "purchase", &[email, e164]);
    check("linkedin", "purchase", &[email]);
    check("openai-ads", "purchase", &[email, digits, "customer-77", "mary", "obrien"]);
    check("microsoft-uet", "purchase", &[email, digits]);
    for hashes_nothing in ["ga4", "awin", "cj", "everflow", "partnerstack", "rakuten", "tune"] {
        check(hashes_nothing, "purchase", &[]);
    }
    // Dots and a tag stay where the vendor does not drop them; `0049 (0)30` has one country code and no trunk zero.
    let tagged = "ada.lovelace+news@googlemail.com";
    check("meta", "lead", &[tagged, "4930123456", "valéry"]);
    check("pinterest", "lead", &[tagged, "4930123456", "valéry"]);
    check("tiktok", "lead", &[tagged, "+4930123456", "valéry"]);
    check("openai-ads", "lead", &[tagged, "4930123456", "valéry"]);
    check("reddit", "lead", &["adalovelace@googlemail.com", "+4930123456"]);
    // A hash of the merchant's own goes as it is.
    check("meta", "custom", &[email, digits, "us"]);
    // Google takes no hashes beside the click of an iPhone.
    check("google-ads", "order-level", &[]);
    check("google-ads", "no-value", &[email]);
}

/// What becomes of a conversion of the folder with this member of its customer, as one text.
fn rendered(config: &Config, destination: &str, conversion: &str, member: (&str, &str)) -> String {
    let text = std::fs::read_to_string(format!("{FOLDER}/{conversion}.json")).unwrap();
    let mut conversion: serde_json::Value = serde_json::from_str(&text).unwrap();
    conversion["customer"][member.0] = member.1.into();
    let sample = Sample::parse(conversion.to_string().as_bytes()).unwrap();
    match sample.at(config.destination(destination).unwrap(), "acme", Secrets::Masked) {
        Rendering::Sent { request, .. } => request.to_http(),
        Rendering::Nothing { reason, .. } => reason,
    }
}

/// The body that becomes of a purchase of these items.
fn of_items(config: &Config, destination: &str, items: serde_json::Value) -> serde_json::Value {
    let text = std::fs::read_to_string(format!("{FOLDER}/purchase.json")).unwrap();
    let mut purchase: serde_json::Value = serde_json::from_str(&text).unwrap();
    purchase["items"] = items;
    let sample = Sample::parse(purchase.to_string().as_bytes()).unwrap();
    match sample.at(config.destination(destination).unwrap(), "acme", Secrets::Masked) {
        Rendering::Sent { request, .. } => serde_json::from_slice(&request.body).unwrap(),
        Rendering::Nothing { outcome, reason } => panic!("{destination}: {outcome}: {reason}"),
    }
}

#[test]
fn what_contents_are_is_said_wherever_there_are_any() {
    let config = config();
    for (name, within) in [("meta", "/data/0/custom_data"), ("tiktok", "/data/0/properties")] {
        let check = |items: serde_json::Value, contents: usize| {
            let body = of_items(&config, name, items.clone());
            let data = body.pointer(within).unwrap();
            let found = data["contents"].as_array().map_or(0, Vec::len);
            assert_eq!(found, contents, "{name}: {items}: {data:#}");
            let kind = (contents > 0).then_some("product");
            assert_eq!(data["content_type"].as_str(), kind, "{name}: {items}: {data:#}");
        };
        check(json!([{"sku": "A"}, {"sku": "B"}]), 2);
        check(json!([{"name": "Wrapping", "price": "1.00"}, {"sku": "B", "quantity": 1}]), 2);
        check(json!([{"mpn": "M"}, {"quantity": 2}]), 1);
        check(json!([{"mpn": "M"}, {"price": "2.50"}]), 1);
        check(json!([{"mpn": "M"}]), 0);
        check(json!([]), 0);
    }
}

#[test]
fn a_price_below_the_smallest_unit_is_left_out_and_the_conversion_goes() {
    let body = of_items(
        &config(),
        "openai-ads",
        json!([{"sku": "A", "quantity": 1000, "price": "0.125"}, {"sku": "B", "price": "2.50"}, {"sku": "C", "price": 0}]),
    );
    let contents = body.pointer("/events/0/data/contents").unwrap();
    let amounts = contents.as_array().unwrap().iter().map(|content| content["amount"].clone());
    assert_eq!(amounts.collect::<Vec<_>>(), [json!(null), json!(250), json!(0)], "{contents:#}");
}

#[test]
fn two_refunds_of_an_order_are_two_transactions_of_partnerstacks_and_one_of_nothing_is_none() {
    let config = config();
    let partnerstack = config.destination("partnerstack").unwrap();
    let refund = |value: &str, key: &str| {
        let text = format!(
            r#"{{"kind": "refund", "event_id": "evt-1", "time": "2026-11-20T13:00:00Z", "value": "{value}",
               "currency": "EUR", "customer": {{"id": "c"}}}}"#
        );
        let conversion = Conversion::parse(text.as_bytes(), "generated").unwrap();
        let meta = Meta::new(ConversionId::new(0, [0; 10]), "acme".into(), Some(key.to_owned()), &conversion);
        let scope = Scope { conversion: &conversion, meta: &meta };
        let decision = partnerstack.decide(scope);
        let Decision::Send(operation) = decision else { return Err(format!("{decision:?}")) };
        let request = operation.request.render(scope, Secrets::Revealed).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        Ok((body["key"].as_str().unwrap().to_owned(), body["amount"].clone()))
    };
    let ((one, amount), (other, _)) = (refund("5.00", "k1").unwrap(), refund("5.00", "k2").unwrap());
    assert_eq!((&amount, refund("-5.00", "k1").unwrap()), (&json!(-500), (one.clone(), json!(-500))));
    assert_ne!(one, other);
    for nothing in ["0", "0.00"] {
        let why = refund(nothing, "k1").unwrap_err();
        assert!(why.contains("Unsupported") && why.contains("value != 0"), "{why}");
    }
}

#[test]
fn a_telephone_number_without_its_country_code_is_hashed_nowhere_for_it_is_somebody_elses() {
    let config = config();
    for name in ["meta", "pinterest", "snap", "openai-ads", "microsoft-uet", "tiktok", "reddit", "google-ads"] {
        let with_phone = |phone: &str| rendered(&config, name, "purchase", ("phone", phone));
        let national = with_phone("030 1234567");
        for wrong in ["301234567", "+301234567", "0301234567"] {
            assert!(!national.contains(&sha256(wrong)), "{name}: {wrong}");
        }
        assert!(national.contains(&sha256("john_smith@gmail.com")), "{name}: the address goes all the same");
        let whole = ["49301234567", "+49301234567"].map(sha256);
        for phone in ["+49 (0)30 1234567", "0049 30 1234567"] {
            let sent = with_phone(phone);
            assert!(whole.iter().any(|digest| sent.contains(digest)), "{name}: {phone}");
        }
    }
}

#[test]
fn an_event_by_a_name_that_google_throws_away_is_skipped() {
    let config = config();
    let outcome = |event_type: &str| {
        let text = format!(
            r#"{{"event_id": "e", "time": "2026-11-20T13:00:00Z", "event_type": "{event_type}", "session": {{"client_id": "1.2"}}}}"#
        );
        let sample = Sample::parse(text.as_bytes()).unwrap();
        match sample.at(config.destination("ga4").unwrap(), "acme", Secrets::Masked) {
            Rendering::Sent { .. } => "sent",
            Rendering::Nothing { outcome, .. } => outcome.as_str(),
        }
    };
    let thrown_away = [
        "_private",
        "2nd_step",
        "ärger",
        "firebase_x",
        "ga-x",
        "google_x",
        "error",
        "session start",
        "app_update",
        "session_start_with_rollout",
        "notification_open",
        "first_visit",
        "ad_click",
    ];
    for event_type in thrown_away {
        assert_eq!(outcome(event_type), "skipped", "{event_type}");
    }
    for event_type in ["errors", "app_opened", "gallery", "ad_seen", "page_view", "lead_created"] {
        assert_eq!(outcome(event_type), "sent", "{event_type}");
    }
}

#[test]
fn nothing_of_a_person_leaves_in_plain_text_that_the_vendor_wants_hashed_or_not_at_all() {
    let config = config();
    for name in DESTINATIONS {
        let (url, body) = sent(&config, name, "purchase");
        for plain in ["John_Smith", "john_smith", "555-1212", "5551212", "Mary", "O'Brien", "1997", "94035"] {
            assert!(!body.contains(plain) && !url.contains(plain), "{name}: {plain}");
        }
        assert!(!url.contains("live") && !body.contains("live"), "{name} shows a credential");
    }
}

#[test]
fn answers_mean_what_the_sixteen_document() {
    let config = config();
    for (name, operation, status, body, expected) in ANSWERS {
        let operations = &config.destination(name).unwrap().operations;
        let judge = &operations.iter().find(|it| it.name == *operation).unwrap().judge;
        let status = http::StatusCode::from_u16(*status).unwrap();
        let answer = Answer::new(status, http::HeaderMap::new(), body.as_bytes().to_vec().into());
        assert_eq!(verdict(judge, answer), *expected, "{name} {operation} {status} {body}");
    }
    for name in DESTINATIONS {
        let taken = |row: &Row| row.0 == name && row.4 == Verdict::Delivered;
        let refused = |row: &Row| row.0 == name && row.4 != Verdict::Delivered;
        assert!(ANSWERS.iter().any(taken) && ANSWERS.iter().any(refused), "{name}");
    }
}
