//! The commands that talk to a running relay.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use capi_relay::sandbox::{Behaviour, Platform};
use http::Method;

use crate::support::process::{Process, run, started};
use crate::support::{Http, TOKEN, conversion, eventually, eventually_of};

#[test]
fn hosts_are_connected_to_when_asked_and_what_was_seen_is_said() {
    let (folder, there) = (tempfile::tempdir().unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let there_address = there.local_addr().unwrap();
    let file = folder.path().join("routes.toml");
    let destination =
        |name, address| format!("[destination.{name}]\nurl = \"http://{address}/events\"\nmap.id = \"event_id\"\n");
    let head =
        "[server]\nlisten = \"127.0.0.1:0\"\nplaintext = true\n[queue]\npath = \"data\"\nallow_volatile = true\n";
    let merchant = format!("[merchant.acme]\ntoken_sha256 = \"{}\"\nrate = \"9/s\"\n", "ab".repeat(32));
    let all = [head.to_owned(), merchant, destination("there", there_address), destination("gone", gone)].concat();
    std::fs::write(&file, &all).unwrap();
    let path = file.to_str().unwrap();
    let (code, said, error) = run(&["check", "--online", "--config", path]);
    assert_eq!(code, Some(1), "{said}{error}");
    assert!(said.contains("merchant    acme: token, 9/s; all destinations\n"), "{said}");
    let line = format!("online      there: http://{there_address}: {there_address}, no TLS, HTTP/1.1 (");
    assert!(said.contains(&line), "{said}");
    let line = format!("online      gone: http://{gone}: no connection: tcp connect error: Connection refused");
    assert!(said.contains(&line), "{said}");
    let (code, said, _) = run(&["check", "--config", path]);
    assert!(code == Some(0) && !said.contains("online"), "{said}");
    let alone = all.replace(&destination("gone", gone), "");
    std::fs::write(&file, alone).unwrap();
    assert_eq!(run(&["check", "--online", "--config", path]).0, Some(0));
}

#[test]
fn a_file_to_begin_with_is_right_once_its_variables_are_set_and_replaces_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.toml");
    let path = file.to_str().unwrap();
    let (code, said, error) = run(&["init", "thrad", "scaleo", "--merchant", "acme", "-o", path]);
    assert_eq!(code, Some(0), "{error}");
    for variable in ["ACME_TOKEN_SHA256", "THRAD_API_KEY", "SCALEO_DOMAIN", "SCALEO_API_KEY", "SCALEO_CURRENCY"] {
        assert!(said.contains(&format!("  {variable}\n")), "{variable}: {said}");
    }
    let before = std::fs::read(&file).unwrap();
    let (code, _, error) = run(&["init", "impact", "-o", path]);
    assert!(code == Some(1) && error.contains("is there already: --force replaces it"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let (code, _, report) = run(&["check", "-c", path]);
    assert!(code == Some(1) && report.contains("THRAD_API_KEY"), "{report}");
    let link = folder.path().join("link.toml");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(run(&["init", "impact", "--force", "-o", link.to_str().unwrap()]).0, Some(0));
    assert!(link.is_symlink() && fs::read_to_string(&file).unwrap().contains("[destination.impact]"));
    let (code, printed, _) = run(&["init", "impact", "-o", "-"]);
    assert!(code == Some(0) && printed.contains("[destination.impact]"), "{printed}");
    let (code, _, error) = run(&["init", "thard", "-o", "-"]);
    assert!(code == Some(2) && error.contains("did you mean `thrad`?"), "{error}");
}

#[test]
fn certificates_that_cannot_be_used_are_faults_among_others_and_serve_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let text = concat!(
        "[server]\nlisten = \"127.0.0.1:0\"\ntls = { self_signed = true }\n[queue]\npath = \"data\"\n",
        "[merchant.acme]\ntoken_sha256 = \"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4\"\n",
        "[destination.one]\nurl = \"https://one.example/\"\nca_file = \"ca.pem\"\nmap.a = \"event_type\"\n",
    );
    fs::write(folder.path().join("ca.pem"), "no certificate").unwrap();
    for (text, count) in [(text.to_owned(), 1), (text.replace("event_type", "event_tipe"), 2)] {
        fs::write(&path, text).unwrap();
        for (command, expected) in [("check", 1), ("serve", 64)] {
            let (code, _, error) = run(&[command, "--config", path.to_str().unwrap()]);
            assert_eq!(code, Some(expected), "{command}: {error}");
            assert!(error.contains("error: `ca_file` holds no certificate\n"), "{error}");
            assert!(error.contains("routes.toml:10:12\n"), "{error}");
            assert!(error.contains(&format!("{count} fault")), "{error}");
        }
    }
    assert!(!folder.path().join("data").exists(), "the queue was not touched");
}

#[test]
fn what_cannot_be_printed_is_no_success() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_capi-relay"));
    let told = command.arg("key").stdout(full).output().unwrap();
    assert_eq!(told.status.code(), Some(1));
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(said.starts_with("cannot write to standard output: "), "{said}");
}

#[test]
fn check_prints_its_faults_as_one_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    fs::write(&path, "[server]\nlisten = \"127.0.0.1:0\"\ntls = { self_signed = true }\nlogg = \"text\"\n").unwrap();
    let path = path.to_str().unwrap();
    let (code, document, error) = run(&["check", "--json", "--config", path]);
    assert_eq!((code, error.as_str()), (Some(1), ""));
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["ok"], false);
    let faults = document["faults"].as_array().unwrap();
    let fault = faults.iter().find(|fault| fault["message"] == "unknown key `logg`").unwrap();
    let expected = serde_json::json!({
        "severity": "error", "file": path, "line": 4, "column": 1, "end": { "line": 4, "column": 5 },
        "message": "unknown key `logg`", "help": "did you mean `log`?",
    });
    assert_eq!(fault, &expected);
    assert!(faults.iter().any(|fault| fault["message"] == "there is no `[queue]`" && fault["line"] == 1));

    let (code, document, _) = run(&["check", "--json", "--config", "/nowhere/routes.toml"]);
    assert_eq!(code, Some(1));
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let [fault] = document["faults"].as_array().unwrap().as_slice() else { panic!("{document}") };
    assert_eq!(fault["file"], serde_json::Value::Null);
    assert!(fault["message"].as_str().unwrap().contains("/nowhere/routes.toml"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_probably_not_meant_is_said_and_hinders_nothing() {
    let (sandbox, _folder, routes) = started().await;
    let wide = ["--set", "destination.thrad.when=click_ids.thrad"];
    let dropped = "this takes the place of the preset's `when`, and drops `value`, `status != 'rejected'`";
    let path = routes.to_str().unwrap();
    let (code, summary, warning) = run(&[&["check", "--config", path][..], &wide].concat());
    assert_eq!(code, Some(0), "{warning}");
    assert!(summary.contains("destination thrad"), "{summary}");
    assert!(warning.contains(&format!("warning: {dropped}")), "{warning}");
    assert!(warning.contains("help: `only_when = \"…\"` narrows") && warning.ends_with("1 warning\n"), "{warning}");
    let (code, document, error) = run(&[&["check", "--json", "--config", path][..], &wide].concat());
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["ok"], true);
    let [warning] = document["faults"].as_array().unwrap().as_slice() else { panic!("{document}") };
    assert_eq!((&warning["severity"], &warning["message"]), (&"warning".into(), &dropped.into()));
    let log = Process::serve_with(&routes, &wide).terminate_with_log();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains(dropped)), "{log}");
    sandbox.stop().await;
}

#[test]
fn render_says_beside_the_request_that_a_conversion_is_too_old_to_be_sent() {
    let folder = tempfile::tempdir().unwrap();
    let conversion = |name: &str, time: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{{ \"time\": \"{time}\", \"order_id\": \"o-1\" }}")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let routes = folder.path().join("routes.toml");
    let partner = |name: &str, more: &str| {
        format!("[destination.{name}]\nurl = \"https://px.example.com/{name}\"\nmap.order = \"order_id\"\n{more}")
    };
    let (short, none) = (partner("short", "max_age = \"7d\"\n"), partner("none", ""));
    let skips = partner("skips", "max_age = \"7d\"\nwhen = \"value\"\n");
    let head = "[server]\nlisten = \"127.0.0.1:0\"\ntls = { self_signed = true }\n[queue]\npath = \"data\"\n\
                [merchant.acme]\ntoken_sha256 = \"${env:NOBODY}\"\n";
    fs::write(&routes, format!("{head}{short}{none}{skips}")).unwrap();
    let render = |file: &str| run(&["render", "--no-secrets", "--config", routes.to_str().unwrap(), file]);
    // A clock runs between the two: one was always too old, one never will be.
    let (code, old, note) = render(&conversion("old.json", "2001-01-01T00:00:00Z"));
    assert_eq!(code, Some(0), "{note}");
    let expected = "note: short: the conversion is older than max_age (7d): posted now, it would be a dead letter\n";
    assert_eq!(note, expected);
    let (code, new, note) = render(&conversion("new.json", "2999-01-01T00:00:00Z"));
    assert_eq!((code, note.as_str()), (Some(0), ""));
    assert_eq!(old, new, "what is rendered knows no clock");
    assert!(old.contains("### short: conversion\nPOST https://px.example.com/short"), "{old}");
}

#[test]
fn render_says_beside_the_request_that_no_merchant_sends_to_a_destination() {
    let folder = tempfile::tempdir().unwrap();
    let (routes, conversion) = (folder.path().join("routes.toml"), folder.path().join("conversion.json"));
    fs::write(&conversion, r#"{ "time": "2026-11-20T13:00:00Z", "order_id": "o-1" }"#).unwrap();
    let partner = |name: &str| {
        format!("[destination.{name}]\nurl = \"https://px.example.com/{name}\"\nmap.order = \"order_id\"\n")
    };
    let head = "[server]\nlisten = \"127.0.0.1:0\"\ntls = { self_signed = true }\n[queue]\npath = \"data\"\n\
                [merchant.acme]\ntoken_sha256 = \"${env:NOBODY}\"\ndestinations = [\"served\"]\n";
    fs::write(&routes, format!("{head}{}{}", partner("served"), partner("forgotten"))).unwrap();
    let (routes, conversion) = (routes.to_str().unwrap(), conversion.to_str().unwrap());
    let (code, shown, note) = run(&["render", "--no-secrets", "--config", routes, conversion]);
    assert_eq!(code, Some(0), "{note}");
    assert!(shown.contains("POST https://px.example.com/forgotten"), "{shown}");
    assert_eq!(note, "note: forgotten: no merchant sends to it: a relay would send it nothing\n");
    let (code, _, warned) = run(&["check", "--no-secrets", "--config", routes]);
    assert_eq!(code, Some(0), "{warned}");
    assert!(warned.contains("warning: no merchant sends to destination `forgotten`: it gets nothing"), "{warned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_status_and_dead_list_tell_a_conversions_whole_story() {
    let (sandbox, folder, routes) = started().await;
    let refuse = Behaviour::Answer { status: 404, headers: Vec::new(), body: "Click not found".into(), times: None };
    sandbox.script(Platform::Thrad, refuse);
    let relay = Process::serve(&routes);
    let file = folder.path().join("conversion.json");
    fs::write(&file, conversion("order-1").to_string()).unwrap();
    let file = file.to_str().unwrap();

    let token = format!("--token={TOKEN}");
    let (code, sent, error) = run(&["send", file, "--url", &relay.origin, &token]);
    assert_eq!(code, Some(0), "{error}");
    let receipt: serde_json::Value = serde_json::from_str(&sent).unwrap();
    let id = receipt["id"].as_str().unwrap();
    let page = eventually("the dead letter in the status", async || {
        let (code, page, error) = run(&["status", id, "--admin", &relay.admin]);
        assert_eq!(code, Some(0), "{error}");
        page.contains("dead").then_some(page)
    })
    .await;
    assert!(page.contains("Click not found") && page.contains("order-1"), "{page}");
    for wrong in
        [&["status", "nobody"][..], &["status", "--order", "o", "--merchant", "acme", &token], &["preset", "nobody"]]
    {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
    let (code, listed, _) = run(&["dead", "list", "--destination", "thrad", "--admin", &relay.admin]);
    assert_eq!(code, Some(0));
    assert!(listed.contains(id) && listed.contains("rejected") && listed.contains("Click not found"), "{listed}");
    let (_, none, _) = run(&["dead", "list", "--destination", "dsp", "--admin", &relay.admin]);
    assert_eq!(none.trim(), "no dead letters");

    sandbox.script(Platform::Thrad, Behaviour::Document);
    let (code, _, refused) = run(&["dead", "replay", "--admin", &relay.admin]);
    assert_eq!((code, refused.contains("say which ones: --destination, --id")), (Some(2), true), "{refused}");
    let (code, plan, error) = run(&["dead", "replay", "--plan", "--admin", &relay.admin]);
    assert_eq!((code, plan.starts_with("1 dead letter\n")), (Some(0), true), "of all of them: {plan}{error}");
    let (_, none, _) = run(&["dead", "replay", "--kind", "expired", "--admin", &relay.admin]);
    assert_eq!(none.trim(), "none is meant");
    let (code, done, error) = run(&["dead", "replay", "--order-id", "order-1", "--admin", &relay.admin]);
    assert_eq!((code, done.trim()), (Some(0), "1 replayed"), "{error}");
    eventually("the replayed delivery", async || {
        let (_, page, _) = run(&["status", id, "--json", "--admin", &relay.admin]);
        let status: serde_json::Value = serde_json::from_str(&page).ok()?;
        let thrad = &status["destinations"]["thrad"];
        (thrad["state"] == "delivered" && thrad["attempts"] == 1 && thrad["last"]["status"] != 404).then_some(())
    })
    .await;
    let (_, none, _) = run(&["dead", "list", "--admin", &relay.admin]);
    assert_eq!(none.trim(), "no dead letters");

    fs::write(file, "{}").unwrap();
    let (code, _, refused) = run(&["send", file, "--url", &relay.origin, &token]);
    assert_eq!(code, Some(1));
    assert!(refused.contains("/time"), "{refused}");
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_conversions_is_sent_whole_and_an_order_tells_of_all() {
    let (sandbox, folder, routes) = started().await;
    let relay = Process::serve(&routes);
    let file = folder.path().join("conversions.ndjson");
    let many: Vec<String> = (0..1500).map(|number| conversion(&format!("order-{number}")).to_string()).collect();
    let lines = format!("{}\n{{}}\n\n{}\n", many.join("\n"), conversion("order-7"));
    fs::write(&file, lines).unwrap();
    let file = file.to_str().unwrap();
    let token = format!("--token={TOKEN}");
    let (code, sent, error) = run(&["send", file, "--url", &relay.origin, &token]);
    assert_eq!((code, sent.trim()), (Some(1), "accepted 1500, known before 1, refused 1"), "{error}");
    assert!(error.contains("line 1501: 422") && error.contains("/time: is required"), "{error}");

    let (code, _, error) = run(&["send", file, "--idempotency-key", "k", "--url", &relay.origin, &token]);
    assert_eq!((code, error.contains("give each an `event_id`")), (Some(2), true), "{error}");

    // However long the many take, what is waited for below comes behind them.
    let (http, destinations) = (Http::new(), format!("{}/admin/destinations", relay.admin));
    eventually_of(15_000, "nothing is pending", async || {
        let left = http.call(Method::GET, &destinations, &[], "").await.body;
        left["destinations"].as_array().unwrap().iter().all(|left| left["pending"] == 0).then_some(())
    })
    .await;

    let mut second = conversion("order-7");
    second["event_id"] = "second-7".into();
    fs::write(folder.path().join("second.json"), format!("[{second}]")).unwrap();
    let second = folder.path().join("second.json");
    let (code, sent, error) = run(&["send", second.to_str().unwrap(), "--wait", "30", "--url", &relay.origin, &token]);
    assert_eq!(code, Some(0), "{error}");
    let receipt: serde_json::Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(receipt["results"][0]["destinations"]["thrad"], "delivered", "{receipt}");
    for place in [["--admin", &relay.admin, "--json"], ["--url", &relay.origin, &token]] {
        let (code, page, error) = run(&[&["status", "--order", "order-7"], &place[..]].concat());
        assert_eq!(code, Some(0), "{error}");
        let at = ["\"event_id\":\"order-7\"", "event       order-7"]
            .map(|text| page.find(text))
            .into_iter()
            .flatten()
            .next();
        let behind = page.find("second-7");
        assert!(at.is_some() && at < behind, "oldest first: {page}");
    }
    let array = folder.path().join("array.json");
    fs::write(&array, format!("[{},{{}}]", conversion("order-8"))).unwrap();
    let (code, sent, _) = run(&["send", array.to_str().unwrap(), "--url", &relay.origin, &token]);
    assert_eq!((code, sent.contains("\"refused\":1")), (Some(1), true), "{sent}");
    let (code, _, error) = run(&["status", "--order", "order-7/8", "--admin", &relay.admin]);
    assert_eq!((code, error.contains("404")), (Some(1), true), "{error}");
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_not_taken_are_named() {
    let (sandbox, folder, routes) = started().await;
    let relay = Process::serve(&routes);
    let file = folder.path().join("conversions.ndjson");
    let long = format!("{{\"event_id\":\"{}\"}}", "x".repeat(5 << 20));
    fs::write(&file, format!("{}\n{long}\n\n{{}}\n", conversion("order-1"))).unwrap();
    let send = |url: &str, token: &str| run(&["send", file.to_str().unwrap(), "--url", url, "--token", token]);
    let (code, sent, error) = send(&relay.origin, "not-the-token");
    assert_eq!((code, sent.trim()), (Some(1), "accepted 0, known before 0, refused 0"), "{error}");
    assert!(error.contains("401") && error.ends_with("\nlines from 1 on were not sent\n"), "{error}");

    let (code, sent, error) = send(&relay.origin, TOKEN);
    assert_eq!((code, sent.trim()), (Some(1), "accepted 1, known before 0, refused 2"), "{error}");
    assert!(error.starts_with("line 2: 413 Payload Too Large: "), "{error}");
    assert!(error.contains("\nline 4: 422: ") && error.contains("/time: is required"), "{error}");
    let origin = relay.origin.clone();
    assert_eq!(relay.terminate(), Some(0));

    fs::write(&file, format!("\n{}\n{}\n", conversion("order-2"), conversion("order-3"))).unwrap();
    let (code, sent, error) = send(&origin, TOKEN);
    assert_eq!((code, sent.trim()), (Some(1), "accepted 0, known before 0, refused 0"), "{error}");
    assert!(error.ends_with("\nlines 2 to 3 may have been accepted; those behind were not sent\n"), "{error}");
    sandbox.stop().await;
}

#[test]
fn forgetting_ends_with_one_while_something_is_left() {
    let relay = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", relay.local_addr().unwrap());
    let check = |(being_sent, unread): (u64, u64), arguments: &[&str], expected: Option<i32>, told: &str| {
        let body = format!(r#"{{"conversions":1,"withdrawn":2,"dead":0,"being_sent":{being_sent},"unread":{unread}}}"#);
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let forget = [&["forget", "--admin", &address, "--order", "o-1"], arguments].concat();
        let (code, said, error) = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = relay.accept().unwrap();
                let (mut asked, mut part) = (Vec::new(), [0; 1024]);
                while !asked.ends_with(b"}") {
                    let read = stream.read(&mut part).unwrap();
                    assert!(read > 0, "{}", String::from_utf8_lossy(&asked));
                    asked.extend_from_slice(&part[..read]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
            });
            run(&forget)
        });
        assert_eq!(code, expected, "{said}{error}");
        assert!(said.contains(told), "{said}");
    };
    let done = "1 conversion forgotten: 2 deliveries withdrawn, 0 dead letters";
    let (sent, damaged) = (
        "1 left, of which something was being sent: ask again",
        "2 left, that cannot be read: `capi-relay recover` ends that",
    );
    check((1, 0), &[], Some(1), &format!("{done}; {sent}\n"));
    check((0, 2), &[], Some(1), &format!("{done}; {damaged}\n"));
    check((1, 0), &["--json"], Some(1), "\"being_sent\":1");
    check((0, 0), &[], Some(0), &format!("{done}\n"));
}
