//! Canaries in every field that says something of a person, over very many conversions and every kind of failure: none comes
//! out, however much is logged.
//!
//! `CAPI_RELAY_TEST_CANARIES=50000` sends so many conversions instead of a thousand.

use std::collections::BTreeSet;
use std::path::Path;

use capi_relay::conversion::{Kind, Privacy, SCHEMA};
use capi_relay::sandbox::{Behaviour, Platform};
use http::Method;
use serde_json::{Value, json};

use crate::support::process::{Process, started};
use crate::support::{Http, TOKEN, conversion, eventually_of};

/// What its merchant is shown of its own conversion, and an operator of a dead letter.
const NAMED: [&str; 2] = ["event_id", "order_id"];
const BATCH: usize = 250;

/// A value for a field that is its own, if texts of its kind can be told from others.
fn planted(path: &str, kind: Kind) -> Option<String> {
    let name: String = path.chars().filter(char::is_ascii_alphanumeric).collect();
    Some(match kind {
        Kind::Text { chars_max } | Kind::Lines { chars_max } if chars_max >= 10 => {
            format!("cnry{name}").chars().take(chars_max).collect()
        }
        Kind::Email => format!("cnry.{name}@mail.example"),
        Kind::Url => format!("https://cnry.example/{name}"),
        Kind::Ip => "198.51.100.77".to_owned(),
        Kind::Digest { chars } => "c0ffee77".repeat(chars.div_ceil(8)).chars().take(chars).collect(),
        Kind::Uuid => "c0ffee77-0000-4000-8000-00000000cafe".to_owned(),
        Kind::Text { .. } | Kind::Lines { .. } | Kind::Enum(_) | Kind::Currency | Kind::Country => return None,
        Kind::Money | Kind::Int | Kind::Bool | Kind::Timestamp | Kind::Date | Kind::TextMap | Kind::Json => {
            return None;
        }
    })
}

/// Puts a value where a path of the schema says.
fn put(body: &mut Value, path: &str, value: &str) {
    let mut place = match path.strip_prefix("items[].") {
        Some(_) => &mut body["items"][0],
        None => body,
    };
    for part in path.trim_start_matches("items[].").split('.') {
        place = &mut place[part];
    }
    *place = value.into();
}

/// A conversion with a canary in each such field, and the canaries by path; what tells it from the others comes last.
fn full(number: usize) -> (Value, Vec<(&'static str, String)>) {
    let mut body = conversion(&format!("cnryorder{number}x"));
    body["items"] = json!([{}]);
    body["custom"] = json!({ "anything": { "deep": "cnrycustom" } });
    body["click_ids"]["other"] = "cnryclick".into();
    let mut canaries = vec![
        ("custom", "cnrycustom".to_owned()),
        ("click_ids.*", "cnryclick".to_owned()),
        ("order_id", "cnryorder".to_owned()),
    ];
    for field in SCHEMA.iter().filter(|field| field.class != Privacy::Public && !NAMED.contains(&field.path)) {
        if field.path.ends_with('*') || field.path == "custom" || field.path.ends_with(".custom") {
            continue;
        }
        if let Some(value) = planted(field.path, field.kind) {
            put(&mut body, field.path, &value);
            canaries.push((field.path, value));
        }
    }
    (body, canaries)
}

/// The log of a relay whose disk fails while it takes conversions: its last words are scanned like all the others.
async fn crashed(file: &Path, http: &Http, headers: &[(&str, &str)], from: usize) -> String {
    let inject = "inject=fdatasync:error=EIO:when=40+";
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject];
    let mut relay = Process::attempt(&strace, file, &[], "trace").unwrap_or_else(|ended| panic!("{ended:?}"));
    let url = format!("{}/v1/conversions", relay.origin);
    let mut number = from;
    while !relay.has_ended() {
        // Refused or broken off it may be: the relay is about to end.
        drop(http.attempt(Method::POST, &url, headers, &full(number).0.to_string()).await);
        number += 1;
    }
    let ended = relay.stop();
    assert!(ended.code == Some(1) && ended.log.contains("storage has failed"), "{:?}\n{}", ended.code, ended.log);
    ended.log
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_comes_out_however_much_is_logged() {
    let count = std::env::var("CAPI_RELAY_TEST_CANARIES").map_or(1000, |count| count.parse().unwrap());
    let (_, canaries) = full(0);
    assert!(canaries.len() > 30, "{} fields: {canaries:?}", canaries.len());
    let (sandbox, _folder, file) = started().await;
    let answer = |status, times| {
        let body = r#"{"status":"error","message":"no"}"#.to_owned();
        Behaviour::Answer { status, headers: Vec::new(), body, times }
    };
    sandbox.script(Platform::Thrad, answer(404, None));
    sandbox.script(Platform::Impact, answer(503, Some(8)));
    sandbox.script(Platform::Scaleo, Behaviour::LoseAnswer { times: Some(8) });
    sandbox.script(Platform::Trackdesk, answer(429, Some(4)));
    let relay = Process::traced(&file);
    let http = Http::new();
    let url = format!("{}/v1/conversions", relay.origin);
    let headers = [("content-type", "application/x-ndjson"), ("authorization", &*format!("Bearer {TOKEN}"))];
    let mut outputs = Vec::new();
    for first in (0..count).step_by(BATCH) {
        let lines = (first..count.min(first + BATCH)).map(|number| full(number).0.to_string() + "\n");
        // One is refused in each batch, with a canary in each wrong place.
        let mut wrong = full(first).0;
        (wrong["customer"]["emial"], wrong["currency"]) = ("cnrycustomer".into(), "cnry".into());
        let body = lines.chain([wrong.to_string()]).collect::<String>();
        let answer = http.call(Method::POST, &url, &headers, &body).await;
        assert_eq!(answer.status, 207, "{}", answer.body);
        outputs.push(answer.body.to_string());
    }
    let mut left = Value::Null;
    let destinations = format!("{}/admin/destinations", relay.admin);
    eventually_of(count * 10, "nothing is pending", async || {
        left = http.call(Method::GET, &destinations, &[], "").await.body;
        left["destinations"].as_array().unwrap().iter().all(|left| left["pending"] == 0).then_some(())
    })
    .await;
    outputs.push(left.to_string());
    outputs.push(http.call(Method::GET, &format!("{}/metrics", relay.admin), &[], "").await.body.to_string());
    let mut dead = 0;
    let mut page = format!("{}/admin/dead?limit=1000", relay.admin);
    loop {
        let letters = http.call(Method::GET, &page, &[], "").await.body;
        dead += letters["dead"].as_array().unwrap().len();
        outputs.push(letters.to_string());
        let Some(next) = letters["next"].as_str() else { break };
        page = format!("{}/admin/dead?limit=1000&after={next}", relay.admin);
    }
    assert!(dead >= count, "{dead} dead letters of {count}");
    outputs.push(http.call(Method::GET, &destinations, &[], "").await.body.to_string());
    let log = relay.terminate_with_log();
    assert!(log.matches("attempt ended").count() > count * 4, "the log is not that of trace level");
    let log = log + &crashed(&file, &http, &headers, count).await;
    let mut out = BTreeSet::new();
    for (path, canary) in &canaries {
        if log.contains(canary) {
            out.insert(format!("{path} in the log"));
        }
        if !NAMED.contains(path) && outputs.iter().any(|output| output.contains(canary)) {
            out.insert(format!("{path} in an answer"));
        }
    }
    assert!(out.is_empty(), "of {} bytes of log: {out:?}", log.len());
    sandbox.stop().await;
}
