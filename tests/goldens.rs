//! Proving a mapping before it is deployed: goldens, the gate at start, `render`, and `diff`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::process::{Process, started};

/// The goldens of these tests, as they stand in the repository.
const ROUTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/routes.toml");
const PURCHASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/purchase.json");

/// What a command printed, on both, and how it ended.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_capi-relay")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// A copy of the goldens that a test may change, and the path of its routes.
fn copied() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(ROUTES).parent().unwrap();
    fs::create_dir(folder.path().join("requests")).unwrap();
    for (inside, files) in [("", from.to_owned()), ("requests", from.join("requests"))] {
        for entry in fs::read_dir(files).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), folder.path().join(inside).join(entry.file_name())).unwrap();
        }
    }
    let routes = folder.path().join("routes.toml").display().to_string();
    (folder, routes)
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "no {from} in {}", path.display());
    fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn the_goldens_hold_without_any_secret() {
    let (code, page, error) = run(&["test", "-c", ROUTES, "--no-secrets"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{page}");
    assert!(page.ends_with("6 passed\n"), "{page}");
    let (code, _, error) = run(&["test", "-c", ROUTES]);
    assert_eq!(code, Some(1));
    assert!(error.contains("`GOLDENS_THRAD_API_KEY` is not set"), "{error}");
}

#[test]
fn a_changed_mapping_fails_its_golden_place_by_place() {
    let (folder, routes) = copied();
    let thrad = "secrets.api_key = \"${env:GOLDENS_THRAD_API_KEY}\"";
    replace(
        &folder.path().join("routes.toml"),
        thrad,
        &format!("{thrad}\nmap.conversion_value = \"value | decimal(1)\"\nmap.session_id = \"\""),
    );
    replace(&folder.path().join("routes.toml"), "campaign_id = 1000", "campaign_id = 1001");
    replace(&folder.path().join("no-consent.json"), "\"tracking\": false", "\"tracking\": true");
    let (code, page, _) = run(&["test", "-c", &routes, "--no-secrets"]);
    assert_eq!(code, Some(1));
    insta::with_settings!({snapshot_path => "goldens", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("changed", page.replace(&format!("{}/", folder.path().display()), ""));
    });
    let (code, json, _) = run(&["test", "-c", &routes, "--no-secrets", "--json", "-d", "impact"]);
    assert_eq!(code, Some(1));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["failed"], 1);
    let difference = serde_json::json!(
        {"part": "body", "path": "CampaignId", "expected": "\"1000\"", "got": "\"1001\""});
    assert_eq!(json["goldens"][0]["differences"], serde_json::json!([difference]));
}

#[test]
fn update_writes_what_does_not_agree_and_leaves_the_rest_alone() {
    let (folder, routes) = copied();
    let requests = folder.path().join("requests");
    let read = |name: &str| fs::read_to_string(requests.join(name)).unwrap();
    let thrad = read("thrad-purchase.http");
    // Agrees, and looks otherwise: stays as it is.
    let (head, body) = thrad.split_once("\n\n").unwrap();
    let compact = format!("{head}\n\n{}", body.replace("\n  ", " "));
    fs::write(requests.join("thrad-purchase.http"), &compact).unwrap();
    // Does not agree, has a comment, and names one header.
    let scaleo = read("scaleo-purchase.http");
    let named = format!("# one header\n{}", scaleo.replace("accept: application/json\n", "").replace("99.90", "1"));
    fs::write(requests.join("scaleo-purchase.http"), named).unwrap();
    let impact = read("impact-purchase.http");
    fs::remove_file(requests.join("impact-purchase.http")).unwrap();

    let update = ["test", "-c", &routes, "--no-secrets", "--update"];
    let (code, page, _) = run(&update);
    assert_eq!(code, Some(0), "{page}");
    assert!(
        page.contains("amount: expected 1, got 99.90") && page.ends_with("4 passed, 1 updated, 1 created\n"),
        "{page}"
    );
    assert_eq!(read("thrad-purchase.http"), compact);
    assert_eq!(read("impact-purchase.http"), impact);
    assert_eq!(
        read("scaleo-purchase.http"),
        format!("# one header\n{}", scaleo.replace("accept: application/json\n", ""))
    );
    let (code, page, _) = run(&update);
    assert_eq!((code, page.ends_with("6 passed\n")), (Some(0), true), "{page}");
}

#[test]
fn check_warns_of_files_that_are_not_there_and_test_may_write_them() {
    let (folder, routes) = copied();
    fs::remove_file(folder.path().join("requests/impact-purchase.http")).unwrap();
    fs::remove_file(folder.path().join("lead.json")).unwrap();
    let (code, summary, told) = run(&["check", "-c", &routes, "--no-secrets"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(summary.contains("destination impact"), "{summary}");
    assert!(told.contains("warning: `request` of a golden is not there: "), "{told}");
    assert!(told.contains("`capi-relay test --update` writes it") && told.contains("2 warnings"), "{told}");
    let (code, page, _) = run(&["check", "-c", &routes, "--no-secrets", "--json"]);
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((code, &page["ok"]), (Some(0), &Value::from(true)));
    let line = |text: &str| fs::read_to_string(&routes).unwrap().lines().position(|line| line == text).unwrap() + 1;
    for (at, written) in [(0, "request = \"requests/impact-purchase.http\""), (1, "conversion = \"lead.json\"")] {
        let finding = &page["faults"][at];
        assert_eq!(finding["severity"], "warning", "{page:#}");
        assert_eq!(finding["line"], line(written), "{page:#}");
    }
    assert!(page["faults"][1]["help"].as_str().unwrap().contains("by hand"), "{page:#}");

    let (_, page, _) = run(&["test", "-c", &routes, "--no-secrets", "--update"]);
    assert!(page.contains("1 created"), "{page}");
    let (_, page, _) = run(&["check", "-c", &routes, "--no-secrets", "--json"]);
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["faults"].as_array().unwrap().len(), 1, "{page:#}");
}

#[test]
fn a_stand_in_breaks_no_golden_and_stands_in_no_file() {
    let (folder, routes) = copied();
    let request = folder.path().join("requests/thrad-purchase.http");
    let before = fs::read_to_string(&request).unwrap();
    let moved = ["-c", &routes, "--no-secrets", "--set", "destination.thrad.origin=http://127.0.0.1:9101"];
    let (code, page, _) = run(&[&["test"], moved.as_slice()].concat());
    assert_eq!((code, page.ends_with("6 passed\n")), (Some(0), true), "{page}");
    fs::remove_file(&request).unwrap();
    let (code, page, _) = run(&[&["test", "--update"], moved.as_slice()].concat());
    assert_eq!(code, Some(0), "{page}");
    assert_eq!(fs::read_to_string(&request).unwrap(), before);
    let (_, page, _) = run(&[&["render", PURCHASE, "-d", "thrad"], moved.as_slice()].concat());
    assert!(page.contains("POST http://127.0.0.1:9101/api/conversion"), "{page}");
}

#[test]
fn update_makes_folders_and_one_file_is_never_made_to_please_two_goldens() {
    let (folder, routes) = copied();
    let mut text = fs::read_to_string(&routes).unwrap();
    for (destination, conversion) in [("thrad", "purchase"), ("thrad", "lead"), ("dsp", "purchase")] {
        text.push_str(&format!(
            "[[destination.{destination}.golden]]\nconversion = \"{conversion}.json\"\nrequest = \"new/{destination}.http\"\n"
        ));
    }
    text = text.replace(
        "[[destination.dsp.golden]]",
        "[destination.dsp]\npreset = \"dsp\"\nvars.endpoint = \"https://px.dsp.example/c\"\nvars.advertiser_id = 1\n\
         vars.data_source_key = \"k\"\nsecrets.token = \"${env:GOLDENS_DSP_TOKEN}\"\n[[destination.dsp.golden]]",
    );
    fs::write(&routes, text).unwrap();
    let (code, page, _) = run(&["test", "-c", &routes, "--no-secrets", "--update"]);
    assert_eq!(code, Some(1), "{page}");
    assert!(page.ends_with("6 passed, 1 failed, 2 created\n"), "{page}");
    assert!(page.contains("order_id: expected \"order-1001\", got \"lead-2001\""), "{page}");
    assert!(folder.path().join("new/dsp.http").is_file());
}

#[test]
fn no_golden_and_no_report_holds_a_secret() {
    let (folder, routes) = copied();
    let secret = "live-5f3a9c7712";
    let leaked = |text: &str| text.contains(secret);
    replace(&folder.path().join("requests/thrad-purchase.http"), "Bearer ***", &format!("Bearer {secret}"));
    replace(&folder.path().join("requests/scaleo-purchase.http"), "api-key=***", &format!("api-key={secret}"));
    let with_secrets = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capi-relay"));
        for name in ["GOLDENS_THRAD_API_KEY", "GOLDENS_SCALEO_API_KEY"] {
            command.env(name, secret);
        }
        let output = command.args(arguments).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let page = with_secrets(&["test", "-c", &routes, "--no-secrets"]);
    assert!(page.contains("header authorization: expected what is not shown") && !leaked(&page), "{page}");
    assert!(page.contains("query api-key: expected what is not shown"), "{page}");
    let page = with_secrets(&["test", "-c", &routes, "--no-secrets", "--update"]);
    assert!(page.contains("2 updated") && !leaked(&page), "{page}");
    for entry in fs::read_dir(folder.path().join("requests")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!leaked(&text), "{text}");
    }
    let shown = with_secrets(&["render", "-c", &routes, "--no-secrets", PURCHASE]);
    assert!(!leaked(&shown), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_starts_only_when_every_golden_holds() {
    let (sandbox, folder, routes) = started().await;
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("purchase.json", &fs::read_to_string(PURCHASE).unwrap());
    let golden = "[[destination.thrad.golden]]\nconversion = \"purchase.json\"\nrequest = \"thrad.http\"\n";
    fs::write(&routes, fs::read_to_string(&routes).unwrap() + golden).unwrap();
    let path = routes.to_str().unwrap();
    let (code, page, _) = run(&["test", "-c", path, "--update"]);
    assert_eq!(code, Some(0), "{page}");
    let relay = Process::serve(&routes);
    let log = relay.terminate_with_log();
    assert!(log.contains("goldens proven goldens=1"), "{log}");

    replace(&folder.path().join("thrad.http"), "99.90", "99.9");
    let (code, _, error) = run(&["serve", "-c", path]);
    assert_eq!(code, Some(64));
    assert!(error.contains("conversion_value: expected 99.9, got 99.90"), "{error}");
    assert!(
        error.contains("1 of 1 goldens failed (`--no-goldens` serves all the same): nothing is started"),
        "{error}"
    );
    fs::remove_file(folder.path().join("purchase.json")).unwrap();
    let relay = Process::serve_with(&routes, &["--no-goldens"]);
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[test]
fn render_shows_what_is_sent_and_why_something_is_not() {
    let lead = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/lead.json");
    let page = |arguments: &[&str]| {
        let (code, page, error) = run(&[&["render", "-c", ROUTES, "--no-secrets", lead], arguments].concat());
        assert_eq!((code, error.as_str()), (Some(0), ""), "{page}");
        page
    };
    let snapshot = page(&["-d", "scaleo", "-d", "thrad"]);
    insta::with_settings!({snapshot_path => "goldens", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("rendered", snapshot);
    });
    let text = page(&["--json", "--merchant", "acme"]);
    // As it goes out: the names in the order of the mapping, an amount to its last nought.
    let sent = page(&["-d", "thrad"]).lines().last().unwrap().to_owned();
    let place = |name: &str| (sent.find(name).unwrap(), text.find(name).unwrap());
    let names: Vec<String> = serde_json::from_str::<serde_json::Map<String, Value>>(&sent)
        .unwrap()
        .into_iter()
        .map(|(name, _)| format!("\"{name}\":"))
        .collect();
    let (mut as_sent, mut as_shown) = (names.clone(), names);
    as_sent.sort_by_key(|name| place(name).0);
    as_shown.sort_by_key(|name| place(name).1);
    assert!(as_sent.len() > 2 && as_sent == as_shown, "{sent}\n{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["thrad"]["request"]["body"]["order_id"], "lead-2001");
    assert_eq!(json["scaleo"]["state"], "skipped");
    for (arguments, told) in [
        (["-d", "thrda"], "there is no destination `thrda`; there are: thrad, impact, scaleo, trackdesk-get"),
        (["--merchant", "acm"], "there is no merchant `acm`; there are: acme"),
    ] {
        let (code, _, error) = run(&[&["render", "-c", ROUTES, "--no-secrets", lead], arguments.as_slice()].concat());
        assert_eq!((code, error.trim()), (Some(1), told));
    }
}

#[test]
fn what_render_prints_is_a_golden_as_it_is() {
    let (folder, routes) = copied();
    let (_, page, _) = run(&["render", "-c", &routes, "--no-secrets", PURCHASE, "-d", "impact"]);
    fs::write(folder.path().join("requests/impact-purchase.http"), page).unwrap();
    let (code, page, _) = run(&["test", "-c", &routes, "--no-secrets", "-d", "impact"]);
    assert_eq!(code, Some(0), "{page}");
}

#[test]
fn render_shows_the_question_behind_what_is_asked_about() {
    let (folder, routes) = copied();
    let text = fs::read_to_string(&routes).unwrap();
    fs::write(&routes, text.replace("[destination.impact]\n", "[destination.impact]\nconfirm = true\n")).unwrap();
    let render = |more: &[&str]| {
        let (code, page, error) =
            run(&[&["render", "-c", &routes, "--no-secrets", PURCHASE, "-d", "impact"], more].concat());
        assert_eq!((code, error.as_str()), (Some(0), ""), "{page}");
        page
    };
    let page = render(&[]);
    let (_, question) = page.split_once("\n\n### impact: conversion, confirm\n").unwrap_or_else(|| panic!("{page}"));
    assert!(question.starts_with("GET https://api.impact.com{captured.queued_uri}\n"), "{question}");
    assert!(question.contains("authorization: Basic ***\n"), "masked as what is sent: {question}");
    let curl = render(&["--curl"]);
    assert!(curl.contains("\n# curl --globoff -X GET 'https://api.impact.com{captured.queued_uri}'"), "{curl}");
    let json: Value = serde_json::from_str(&render(&["--json"])).unwrap();
    assert_eq!(json["impact"]["confirm"]["request"]["url"], "https://api.impact.com{captured.queued_uri}");
    assert_eq!(json["impact"]["request"]["method"], "POST");
    // It is no part of the golden that the page can be.
    fs::write(folder.path().join("requests/impact-purchase.http"), page).unwrap();
    let (code, page, _) = run(&["test", "-c", &routes, "--no-secrets", "-d", "impact"]);
    assert_eq!(code, Some(0), "{page}");
}

#[test]
fn a_shell_hands_curl_exactly_what_is_sent() {
    let hostile = r#"it's "$(id)" `id` \ ; & | > # ! é"#;
    let body = serde_json::json!({"time": "2026-11-21T10:00:00Z", "order_id": "o-1", "value": "9.90",
        "currency": "USD", "click_ids": {"thrad": hostile}, "event_id": hostile, "custom": {"thrad": {"note": "a\nb"}}});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.json");
    fs::write(&file, body.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_capi-relay"));
    command.env("GOLDENS_THRAD_API_KEY", "key'; id").args(["render", "-c", ROUTES, "-d", "thrad"]).arg(&file);
    let mut shell = Command::new("sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .arg("-e")
        .spawn()
        .unwrap();
    let rendered = command.args(["--curl", "--no-secrets"]).output().unwrap();
    let script = String::from_utf8(rendered.stdout).unwrap();
    let whole = format!("curl() {{ for argument in \"$@\"; do printf '%s\\0' \"$argument\"; done; }}\n{script}\n");
    shell.stdin.take().unwrap().write_all(whole.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}{}", String::from_utf8_lossy(&output.stderr));
    let arguments = String::from_utf8(output.stdout).unwrap();
    let arguments: Vec<&str> = arguments.split_terminator('\0').collect();
    assert_eq!(arguments[..3], ["-X", "POST", "https://events.thrad.ai/api/conversion"]);
    let data = arguments.iter().position(|argument| *argument == "--data-raw").unwrap();
    let sent: Value = serde_json::from_str(arguments[data + 1]).unwrap();
    assert_eq!((&sent["click_id"], &sent["note"]), (&Value::from(hostile), &Value::from("a\nb")));
    assert_eq!(data + 2, arguments.len());
}

/// OLD is the goldens' routes; NEW has these texts replaced, and more at its end.
fn diff(replaced: &[(&str, &str)], more: &str, conversions: &str, flags: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = fs::read_to_string(ROUTES).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let (new, file) = (folder.path().join("new.toml"), folder.path().join("conversions.ndjson"));
    fs::write(&new, text + more).unwrap();
    fs::write(&file, conversions).unwrap();
    let (new, file) = (new.to_str().unwrap(), file.to_str().unwrap());
    let (code, page, error) = run(&[&["diff", ROUTES, new, "--conversions", file, "--no-secrets"], flags].concat());
    assert_eq!(error, "", "{page}");
    (code, page)
}

/// The samples, a line each: purchase, lead, nothing to say, no conversion, no JSON, no consent, the purchase again.
fn conversions() -> String {
    let read = |name: &str| {
        let text = fs::read_to_string(Path::new(ROUTES).with_file_name(name)).unwrap();
        text.replace('\n', " ")
    };
    let (purchase, lead, refused) = (read("purchase.json"), read("lead.json"), read("no-consent.json"));
    format!("{purchase}\n{lead}\n\n{{}}\nnope\n{refused}\n{purchase}\n")
}

#[test]
fn diff_tells_what_changes_on_the_wire_one_example_for_each_kind() {
    let thrad = "secrets.api_key = \"${env:GOLDENS_THRAD_API_KEY}\"";
    let (code, page) = diff(
        &[
            (thrad, "secrets.api_key = \"live-5f3a9c7712\"\nmap.conversion_value = \"value | decimal(1)\""),
            ("preset = \"impact\"", "preset = \"impact\"\nmap.\"ItemSku{i}\" = \"item.sku | lower\""),
            ("destination.impact", "destination.impact-eu"),
            ("expect_currency = \"USD\"", "expect_currency = \"EUR\""),
            ("[destination.trackdesk-get]\n", "[destination.trackdesk-get]\nconsent = \"ignore\"\n"),
        ],
        "[destination.dsp]\npreset = \"dsp\"\nvars.endpoint = \"https://px.dsp.example/c\"\nvars.advertiser_id = 1\n\
         vars.data_source_key = \"k\"\nsecrets.token = \"${env:GOLDENS_DSP_TOKEN}\"\n",
        &conversions(),
        &[],
    );
    assert_eq!(code, Some(1));
    assert!(!page.contains("live-"), "{page}");
    insta::with_settings!({snapshot_path => "goldens", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("diff", page);
    });
}

#[test]
fn diff_of_what_means_the_same_is_no_change() {
    let purchase = conversions().lines().next().unwrap().to_owned();
    let (code, page) = diff(
        &[
            ("[destination.impact]", "[destination.impact]\nlimits.concurrency = 3"),
            ("campaign_id = 1000", "campaign_id = 1_000"),
        ],
        "",
        &purchase,
        &[],
    );
    assert_eq!(code, Some(0), "{page}");
    assert!(page.contains("impact: 1 same\n") && page.ends_with("1 conversion compared\n"), "{page}");
    let (code, page) = diff(&[], "", "", &[]);
    assert_eq!((code, page.ends_with("0 conversions compared\n")), (Some(1), true), "nothing was shown to be the same");
}

#[test]
fn diff_as_json_counts_for_the_chosen_destinations_and_merchant() {
    let (code, page) = diff(
        &[("token_sha256", "destinations = [\"thrad\", \"scaleo\"]\ntoken_sha256")],
        "",
        &conversions(),
        &["--json", "--merchant", "acme", "-d", "thrad", "-d", "impact"],
    );
    assert_eq!(code, Some(1));
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((&page["conversions"], &page["bad"]), (&Value::from(4), &Value::from(2)));
    assert_eq!(page["bad_lines"][1]["line"], 5);
    let [thrad, impact] = page["destinations"].as_array().unwrap().as_slice() else { panic!("{page:#}") };
    assert_eq!((&thrad["same"], &thrad["changed"]), (&Value::from(4), &Value::from(0)));
    assert_eq!((&impact["old"], &impact["new"]), (&Value::from("impact"), &Value::Null));
    assert_eq!((&impact["no_longer_sent"], &impact["same"]), (&Value::from(2), &Value::from(2)));
}
