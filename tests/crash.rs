//! `kill -9` under load: what was answered `202` arrives.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use capi_relay::sandbox::Platform;
use http::{Method, StatusCode};

use crate::support::process::{Process, started};
use crate::support::{Http, conversion, eventually, handle};

/// Rounds of start, load, SIGKILL.
const ROUNDS: usize = 20;
/// Connections of the load.
const CLIENTS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn every_conversion_answered_202_arrives_after_sigkill() {
    let (sandbox, _folder, file) = started().await;
    let acknowledged = Arc::new(Mutex::new(Vec::<String>::new()));

    for round in 0..ROUNDS {
        let relay = Process::serve(&file);
        let gone = Arc::new(AtomicBool::new(false));
        let mut load = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let (gone, acknowledged) = (Arc::clone(&gone), Arc::clone(&acknowledged));
            let url = format!("{}/v1/conversions", relay.origin);
            load.spawn(async move { post_until_gone(&url, round, client, &gone, &acknowledged).await });
        }
        // A different moment each round: in the first accepts, in steady state, in the mover's groups.
        let before = acknowledged.lock().unwrap().len();
        let enough = before + 1 + (round * 37) % 400;
        eventually("the load", async || (acknowledged.lock().unwrap().len() >= enough).then_some(())).await;
        relay.kill();
        gone.store(true, Ordering::Relaxed);
        load.join_all().await;
    }

    let acknowledged: HashSet<String> = acknowledged.lock().unwrap().drain(..).collect();
    let relay = Process::serve(&file);
    for platform in Platform::ALL {
        eventually(&format!("{} conversions at {}", acknowledged.len(), platform.name()), async || {
            let arrived = sandbox.arrivals(platform);
            acknowledged.iter().all(|order| arrived.contains_key(&handle(platform, order))).then_some(())
        })
        .await;
        let arrived = sandbox.arrivals(platform);
        let repeats: u32 = arrived.values().map(|count| count.saturating_sub(1)).sum();
        println!(
            "{}: {} acknowledged, {} arrived, {repeats} sent more than once, {} violations",
            platform.name(),
            acknowledged.len(),
            arrived.len(),
            sandbox.counts(platform).violations,
        );
        assert_eq!(sandbox.counts(platform).violations, 0);
    }
    assert!(acknowledged.len() > ROUNDS * 10, "too little load to mean anything: {}", acknowledged.len());
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

async fn post_until_gone(url: &str, round: usize, client: usize, gone: &AtomicBool, acknowledged: &Mutex<Vec<String>>) {
    let http = Http::new();
    for number in 0.. {
        let order = format!("r{round}c{client}n{number}");
        let body = conversion(&order).to_string();
        let answer = http.attempt(Method::POST, url, &[("content-type", "application/json")], &body).await;
        match answer {
            Ok(answer) if answer.status == StatusCode::ACCEPTED => acknowledged.lock().unwrap().push(order),
            Ok(answer) => panic!("{} {}", answer.status, answer.body),
            Err(_) => return,
        }
        if gone.load(Ordering::Relaxed) {
            return;
        }
    }
}
