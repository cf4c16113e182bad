//! A destination with work goes only when somebody says so, and then its work is held, never dropped; every reload is
//! written down.

use std::fs;
use std::path::Path;

use capi_relay::sandbox::{Behaviour, Platform};
use http::Method;
use serde_json::{Value, json};

use crate::support::process::{Process, run, started};
use crate::support::{Http, conversion, eventually};

async fn get(relay: &Process, path: &str) -> Value {
    Http::new().call(Method::GET, &format!("{}{path}", relay.admin), &[], "").await.body
}

/// Waits until the audit log shows so many reloads that have ended; newest first.
async fn reloads(relay: &Process, count: usize) -> Vec<Value> {
    eventually(&format!("{count} reloads"), async || {
        let audit = get(relay, "/admin/audit").await["audit"].as_array()?.clone();
        let ended = audit.into_iter().filter(|entry| entry["action"] == "reload" && entry["outcome"] != "begun");
        let ended: Vec<Value> = ended.collect();
        (ended.len() >= count).then_some(ended)
    })
    .await
}

/// What `/metrics` says of a series, if it has it.
async fn metric(relay: &Process, series: &str) -> Option<String> {
    let metrics = get(relay, "/metrics").await;
    let mut lines = metrics.as_str().unwrap().lines();
    lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

fn reload(relay: &Process, arguments: &[&str]) -> (Option<i32>, String, String) {
    run(&[&["reload", "--admin", &relay.admin], arguments].concat())
}

/// The line of `destinations` for one of them.
fn listed(relay: &Process, name: &str) -> Option<String> {
    let (code, said, error) = run(&["destinations", "--admin", &relay.admin]);
    assert_eq!(code, Some(0), "{error}");
    said.lines().find(|line| line.starts_with(name)).map(str::to_owned)
}

/// The routes without their last destination.
fn without_dsp(file: &Path) -> String {
    fs::read_to_string(file).unwrap().split("[destination.dsp]").next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_with_work_goes_only_when_it_is_said_and_its_work_is_held() {
    let (sandbox, _folder, file) = started().await;
    sandbox.script(
        Platform::Dsp,
        Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None },
    );
    let relay = Process::serve(&file);
    let http = Http::new();
    let answer = http.post(&format!("{}/v1/conversions", relay.origin), conversion("o1").to_string()).await;
    let path = format!("/admin/conversions/{}", answer.id());
    let (with, without) = (fs::read_to_string(&file).unwrap(), without_dsp(&file));

    fs::write(&file, &without).unwrap();
    let first = &reloads(&relay, 1).await[0];
    assert_eq!((&first["who"], &first["outcome"]), (&json!("file"), &json!("refused")), "{first}");
    let (code, said, error) = reload(&relay, &[]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{error}");
    let words = "dsp is no longer in the file, and 1 delivery waits for it: put it back, or say that the work is to be held \
                 until it is configured again: `capi-relay reload --remove dsp`";
    assert!(error.contains(words), "{error}");
    assert!(!listed(&relay, "dsp").unwrap().contains("removed"));

    assert_eq!(metric(&relay, "capi_relay_concurrency{destination=\"dsp\"}").await.as_deref(), Some("1"));
    let (code, said, error) = reload(&relay, &["--remove", "dsp"]);
    assert_eq!((code, said.as_str()), (Some(0), "version 2 is in force: removed dsp\n"), "{error}");
    for gauge in ["capi_relay_concurrency", "capi_relay_in_flight"] {
        assert_eq!(metric(&relay, &format!("{gauge}{{destination=\"dsp\"}}")).await, None, "{gauge} stands as it was");
    }
    let line = listed(&relay, "dsp").unwrap();
    assert_eq!(line.split_whitespace().take(3).collect::<Vec<_>>(), ["dsp", "removed", "1"], "{line}");
    let near = get(&relay, "/admin/destinations/dsp").await;
    assert_eq!((&near["state"], &near["pending"]), (&json!("removed"), &json!(1)), "{near}");
    let audit = reloads(&relay, 3).await;
    assert_eq!((&audit[0]["filter"], &audit[0]["outcome"]), (&json!({ "remove": ["dsp"] }), &json!("done")));
    assert_eq!(get(&relay, &path).await["destinations"]["dsp"]["state"], "held");

    // A start asks nobody: it serves, and holds the work.
    assert_eq!(relay.terminate(), Some(0));
    let relay = Process::serve(&file);
    assert!(listed(&relay, "dsp").unwrap().contains("removed"));
    let held = &get(&relay, &path).await["destinations"]["dsp"];
    assert_eq!((&held["state"], &held["reason"]), (&json!("held"), &json!("the destination is no longer configured")));

    sandbox.script(Platform::Dsp, Behaviour::Document);
    fs::write(&file, with).unwrap();
    let (code, said, error) = reload(&relay, &[]);
    assert_eq!((code, said.as_str()), (Some(0), "version 2 is in force: added dsp\n"), "{error}");
    eventually("it is delivered", async || {
        (get(&relay, &path).await["destinations"]["dsp"]["state"] == "delivered").then_some(())
    })
    .await;
    assert_eq!(sandbox.counts(Platform::Dsp).effects, 1);
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_wish_is_not_wrong_with_the_file() {
    let (sandbox, _folder, file) = started().await;
    let relay = Process::serve(&file);
    let (code, _, error) = reload(&relay, &["--remove", "thrad"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("destination thrad is to go, and is still in the file"), "{error}");
    assert_eq!(metric(&relay, "capi_relay_config_refused").await.as_deref(), Some("0"));
    assert_eq!(get(&relay, "/admin/overview").await["relay"]["last_reload"], Value::Null);
    let counted = metric(&relay, "capi_relay_config_reloads_total{result=\"refused\"}").await;
    assert_eq!(counted.as_deref(), Some("1"));
    assert_eq!(reloads(&relay, 1).await[0]["outcome"], "refused");
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_without_work_goes_by_itself() {
    let (sandbox, _folder, file) = started().await;
    let relay = Process::serve(&file);
    fs::write(&file, without_dsp(&file)).unwrap();
    let (code, _, error) = reload(&relay, &[]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(listed(&relay, "dsp"), None, "nothing is kept of it");
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reload_is_written_down_whoever_caused_it_and_tells_every_fault() {
    let (sandbox, folder, file) = started().await;
    let text = fs::read_to_string(&file).unwrap();
    let relay = Process::serve(&file);
    relay.hangup();
    let first = &reloads(&relay, 1).await[0];
    assert_eq!((&first["who"], &first["outcome"], &first["reason"]), (&json!("SIGHUP"), &json!("done"), &Value::Null));

    fs::write(&file, format!("# a word\n{text}")).unwrap();
    let second = &reloads(&relay, 2).await[0];
    assert_eq!((&second["who"], &second["outcome"]), (&json!("file"), &json!("done")), "{second}");
    assert!(second["reason"].as_str().unwrap().ends_with("routes.toml changed"), "{second}");

    fs::write(&file, text.replace("preset = \"dsp\"", "preset = \"dps\"").replace("preset = \"thrad\"", "presett = 1"))
        .unwrap();
    let (code, _, error) = reload(&relay, &[]);
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no preset `dps`") && error.contains("presett"), "all of them: {error}");
    let third = &reloads(&relay, 3).await[0];
    assert_eq!((&third["outcome"], &third["problem"]), (&json!("refused"), &json!("configuration-refused")), "{third}");

    // What cannot be written down is made all the same, and said.
    let log = folder.path().join("queue/audit.ndjson");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    fs::write(&file, format!("# another\n{text}")).unwrap();
    let version = async || metric(&relay, "capi_relay_config_version").await?.parse::<u64>().ok();
    eventually("it is in force", async || (version().await? > 3).then_some(())).await;
    fs::remove_dir(&log).unwrap();
    let log = relay.terminate_with_log();
    assert!(log.contains("the audit log cannot be written: a reload is missing there"), "{log}");
    sandbox.stop().await;
}
