//! SIGTERM and SIGINT drain: requests in hand are answered, attempts in hand finish, the queue closes, the code is 0. A second
//! one cuts off what is in hand. While the folder is being opened they end at once.

use std::time::Duration;

use capi_relay::sandbox::{Behaviour, Platform};
use http::{Method, StatusCode};

use crate::support::process::{Opening, Process, pipe, started};
use crate::support::{Http, conversion, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_with_zero_and_what_waits_is_delivered_by_the_next_start() {
    let (sandbox, _folder, file) = started().await;
    let failing = Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None };
    sandbox.script(Platform::Scaleo, failing);
    let http = Http::new();

    let relay = Process::serve(&file);
    for number in 0..50 {
        let url = format!("{}/v1/conversions", relay.origin);
        assert_eq!(http.post(&url, conversion(&format!("o{number}")).to_string()).await.status, StatusCode::ACCEPTED);
    }
    assert_eq!(relay.terminate(), Some(0));

    sandbox.script(Platform::Scaleo, Behaviour::Document);
    let relay = Process::serve(&file);
    eventually("fifty at scaleo", async || {
        let arrived = sandbox.counts(Platform::Scaleo).effects;
        (arrived == 50).then_some(())
    })
    .await;
    for platform in [Platform::Thrad, Platform::Impact, Platform::Trackdesk, Platform::Dsp] {
        eventually(platform.name(), async || (sandbox.counts(platform).effects == 50).then_some(())).await;
    }
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

/// The platform has the sale, and answers when nobody listens any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_off_what_is_in_hand_and_makes_no_second_sale() {
    let (sandbox, _folder, file) = started().await;
    sandbox.script(Platform::Scaleo, Behaviour::Slow { delay: Duration::from_secs(3600), times: None });
    let http = Http::new();
    let relay = Process::serve(&file);
    let url = format!("{}/v1/conversions", relay.origin);
    assert_eq!(http.post(&url, conversion("cut").to_string()).await.status, StatusCode::ACCEPTED);
    eventually("the sale", async || (sandbox.counts(Platform::Scaleo).effects == 1).then_some(())).await;
    relay.signal_term();
    eventually("the drain", async || {
        let answer = http.call(Method::GET, &format!("{}/readyz", relay.admin), &[], "").await;
        (answer.status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    let ended = relay.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("the drain is cut short signal=\"SIGTERM\""), "{}", ended.log);

    sandbox.script(Platform::Scaleo, Behaviour::Document);
    let relay = Process::serve(&file);
    let url = format!("{}/admin/dead?destination=scaleo", relay.admin);
    let dead = http.call(Method::GET, &url, &[], "").await.body;
    assert_eq!(
        (dead["dead"][0]["kind"].as_str(), dead["dead"].as_array().unwrap().len()),
        (Some("unknown"), 1),
        "{dead}"
    );
    assert_eq!(relay.terminate(), Some(0));
    assert_eq!(sandbox.counts(Platform::Scaleo).effects, 1);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_ends_at_once_while_it_opens_its_folder() {
    let (sandbox, folder, file) = started().await;
    assert_eq!(Process::serve(&file).terminate(), Some(0));
    // What tells of the folder does not come: it is being opened for as long as this test wants.
    let state = folder.path().join("queue/state");
    std::fs::remove_file(&state).unwrap();
    pipe(&state);
    let opening = Opening::begin(&[], &file, &[], "info");
    let held = std::fs::OpenOptions::new().write(true).open(&state).unwrap();
    let ended = opening.terminate();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("ended before it served signal=\"SIGTERM\""), "{}", ended.log);
    drop(held);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_a_running_relay() {
    let (sandbox, _folder, file) = started().await;
    let relay = Process::serve(&file);
    let http = Http::new();
    assert_eq!(http.post(&format!("{}/v1/conversions", relay.origin), conversion("o1").to_string()).await.status, 202);
    eventually("a delivery", async || (sandbox.counts(Platform::Dsp).effects == 1).then_some(())).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http.call(Method::GET, &format!("{}{path}", relay.admin), &[], "").await.status, StatusCode::OK);
    }
    let metrics = eventually("the metric of the delivery", async || {
        let answer = http.call(Method::GET, &format!("{}/metrics", relay.admin), &[], "").await;
        let text = answer.body.as_str()?.to_owned();
        text.contains("capi_relay_deliveries_total{destination=\"dsp\",verdict=\"delivered\"} 1").then_some(text)
    })
    .await;
    for name in [
        "accepted_total",
        "pending",
        "oldest_pending_seconds",
        "dead",
        "destination_state",
        "attempt_seconds",
        "ack_seconds",
        "delivery_seconds",
        "queue_bytes",
    ] {
        assert!(metrics.contains(&format!("capi_relay_{name}")), "no {name} in\n{metrics}");
    }
    let own = env!("CARGO_BIN_EXE_capi-relay");
    let health = |admin: &str| {
        std::process::Command::new(own).args(["health", "--admin", admin]).output().unwrap().status.code()
    };
    assert_eq!(health(&relay.admin), Some(0));
    let admin = relay.admin.clone();
    relay.kill();
    assert_eq!(health(&admin), Some(1));
    sandbox.stop().await;
}
