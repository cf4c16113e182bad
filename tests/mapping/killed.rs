//! A relay that is killed between two attempts repeats itself to the byte, within the trace of the merchant's request.

use std::collections::BTreeSet;
use std::fs;

use http::Method;

use crate::support::process::Process;
use crate::support::recorder::Recorder;
use crate::support::{Http, TOKEN, eventually};

/// All that a conversion may carry.
const FULL: &str = include_str!("../presets/full.json");
const ROUTES: &str = include_str!("../support/routes.toml");
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const DESTINATIONS: [&str; 5] = ["thrad", "impact", "scaleo", "trackdesk", "dsp"];

/// What a line of a request's head names as the parent.
fn parent(line: &str) -> Option<&str> {
    line.strip_prefix("traceparent: ")
}

/// A request but for that line.
fn untraced_text(request: &str) -> String {
    request.lines().filter(|line| parent(line).is_none()).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_carries_the_same_bytes_also_after_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mut routes = ROUTES
        .replace("@folder@", &folder.path().join("queue").display().to_string())
        .replace("@token_sha256@", &hex::encode(<sha2::Sha256 as sha2::Digest>::digest(TOKEN)));
    for credential in ["thrad_api_key", "impact_account_sid", "impact_auth_token", "scaleo_api_key", "dsp_token"] {
        routes = routes.replace(&format!("@{credential}@"), "credential-1");
    }
    let mut recorders = Vec::new();
    for name in DESTINATIONS {
        let recorder = Recorder::unwilling().await;
        routes = routes.replace(&format!("@{name}@"), &recorder.origin);
        recorders.push((name, recorder));
    }
    let file = folder.path().join("routes.toml");
    fs::write(&file, routes).unwrap();

    let untraced = ["--set", "destination.dsp.traceparent=false"];
    let relay = Process::serve_with(&file, &untraced);
    let url = format!("{}/v1/conversions", relay.origin);
    let headers = [("content-type", "application/json"), ("idempotency-key", "key/1%2F"), ("traceparent", TRACE)];
    let answer = Http::new().call(Method::POST, &url, &headers, FULL).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let attempted = async || recorders.iter().all(|(_, recorder)| !recorder.requests().is_empty()).then_some(());
    eventually("an attempt at each", attempted).await;
    relay.kill();

    recorders.iter().for_each(|(_, recorder)| recorder.relent());
    let relay = Process::serve_with(&file, &untraced);
    let taken = async || recorders.iter().all(|(_, recorder)| recorder.has_taken()).then_some(());
    eventually("taken by each", taken).await;
    let mut parents = BTreeSet::new();
    for (name, recorder) in &recorders {
        let requests = recorder.requests();
        assert!(requests.len() > 1, "{name} saw no repeat");
        for request in &requests {
            assert_eq!(untraced_text(request), untraced_text(&requests[0]), "{name}");
        }
        let passed_on: Vec<_> = requests.iter().flat_map(|request| request.lines()).filter_map(parent).collect();
        assert_eq!(passed_on.len(), if *name == "dsp" { 0 } else { requests.len() }, "{name}: {passed_on:?}");
        for trace in &passed_on {
            assert!(trace.starts_with(&TRACE[..36]) && trace.ends_with("-01"), "{name}: {trace}");
            assert_ne!(*trace, TRACE, "{name} has parents of its own");
        }
        let own: BTreeSet<_> = passed_on.iter().map(|trace| (*trace).to_owned()).collect();
        // The attempt that the kill cut off may have been made again, as the same.
        assert!(own.len() + 1 >= passed_on.len(), "{name}: {passed_on:?}");
        assert!(parents.is_disjoint(&own), "{name}: {passed_on:?}");
        parents.extend(own);
    }
    assert_eq!(relay.terminate(), Some(0));
}
