//! What Impact queues is asked about, through the binary and over a `kill -9`, and never sent again.

use capi_relay::sandbox::Platform;
use serde_json::{Value, json};

use crate::support::process::{Process, run, started};
use crate::support::{Http, conversion, eventually};

/// Of this destination, once it says so.
async fn reaches(http: &Http, origin: &str, id: &str, state: &str) -> Value {
    shows(http, origin, id, &format!("{id} is {state} at Impact"), |delivery| delivery["state"] == *state).await
}

/// Of this destination, once it is as is wanted.
async fn shows(http: &Http, origin: &str, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let url = format!("{origin}/v1/conversions/{id}");
    eventually(what, async || {
        let answer = http.call(http::Method::GET, &url, &[], "").await;
        let delivery = answer.body["destinations"]["impact"].clone();
        wanted(&delivery).then_some(delivery)
    })
    .await
}

async fn post(http: &Http, origin: &str, conversion: &Value) -> String {
    http.post(&format!("{origin}/v1/conversions"), conversion.to_string()).await.id()
}

#[tokio::test]
async fn what_impact_queues_is_delivered_or_dead_once_it_says_so_and_never_sent_again() {
    let (sandbox, _folder, routes) = started().await;
    let plain = std::fs::read_to_string(&routes).unwrap();
    let with = |more: &str| {
        let step = format!("preset = \"impact\"\nconfirm = {{ after = \"20ms\", every = \"20ms\"{more} }}");
        std::fs::write(&routes, plain.replace("preset = \"impact\"", &step)).unwrap();
    };
    // Asked again and again, for nothing that it says is taken for an answer.
    let never = "body.Status == 'Never'";
    let deaf = ["confirmed_when", "duplicate_when", "rejected_when"].map(|key| format!(", {key} = \"{never}\""));
    with(&format!(", tries = 1000000{}", deaf.concat()));
    let http = Http::new();
    let relay = Process::serve(&routes);
    let sale = post(&http, &relay.origin, &conversion("o-1")).await;
    let refund = json!({ "kind": "refund", "order_id": "o-none", "time": "2026-11-21T09:00:00Z" });
    let refund = post(&http, &relay.origin, &refund).await;
    for id in [&sale, &refund] {
        // Not while it is being asked, or is due.
        let is_to_be_asked =
            |delivery: &Value| delivery["state"] == "accepted" && delivery["next_attempt_at"].is_string();
        let accepted = shows(&http, &relay.origin, id, "it says when it is asked next", is_to_be_asked).await;
        assert!(accepted["captured"]["queued_uri"].as_str().unwrap().contains("/APISubmissions/"), "{accepted}");
    }
    // What is acknowledged is on disk, and all that came before it.
    post(&http, &relay.origin, &conversion("o-2")).await;
    relay.kill();

    with("");
    let (code, said, complaint) = run(&["check", "-c", routes.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{complaint}");
    assert!(said.contains("; asks until it is confirmed"), "{said}");
    let relay = Process::serve(&routes);
    let delivered = reaches(&http, &relay.origin, &sale, "delivered").await;
    assert_eq!(delivered["attempts"], 1, "{delivered}");
    let dead = reaches(&http, &relay.origin, &refund, "dead").await;
    assert_eq!((&dead["kind"], &dead["attempts"]), (&json!("rejected"), &json!(1)), "{dead}");
    assert_eq!(dead["reason"], "accepted, then rejected: ACTION_REF_NOT_FOUND", "{dead}");
    for (operation, handle) in [("conversion", "o-1"), ("reversal", "o-none")] {
        let received = sandbox.received(Platform::Impact);
        let count = received.iter().filter(|one| one.operation == operation && one.handle == handle).count();
        assert_eq!(count, 1, "{operation}");
        assert!(received.iter().all(|one| one.violations.is_empty()), "{received:?}");
    }
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}
