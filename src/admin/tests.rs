//! The admin API over real sockets.

mod letters;
mod orders;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Admin, Pauses, Reloaded, Reloads, StatusCode, Wish, problem};
use crate::config::Succession;
use crate::conversion::DestinationName;
use crate::delivery::Pools;
use crate::ingress::answers::{BYTES_MAX, SHARE_BYTES_MAX};
use crate::ingress::tests::Running;
use crate::ingress::tests::client::{Call, Reply, call, soon};
use crate::queue::{Attempt, Clock, DeadKind, Negotiated, Outcome, Protocol, Tls, Verdict};
use crate::traces::Traces;

/// A relay without delivery and its admin listener.
pub(super) struct Watched {
    pub(super) relay: Running,
    admin: Arc<Admin>,
    pub(super) pools: Pools,
    pub(super) address: SocketAddr,
    wishes: mpsc::Receiver<Wish>,
    pub(super) shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Watched {
    pub(super) async fn start(server: &str) -> Watched {
        Watched::with(server, "").await
    }

    async fn with(server: &str, queue: &str) -> Watched {
        let relay = Running::start(server, queue).await;
        let pools = Pools::new(&relay.config, relay.queue.clone(), Clock::system(), Traces::default()).unwrap();
        let (reloads, wishes) = Reloads::new(Clock::system(), &relay.config.queue.path);
        let pauses = Pauses::restore(&relay.config.queue.path, &pools).unwrap();
        let admin = Admin::new(relay.queue.clone(), pools.clone(), Arc::clone(&relay.ingress), reloads, pauses);
        let admin = Arc::new(admin);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&admin).run(listener, shutdown.clone()));
        Watched { relay, admin, pools, address, wishes, shutdown, task }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        call(self.address, Call::get(path)).await
    }

    /// Posts a conversion; the id it got.
    pub(super) async fn post(&self, event_id: &str) -> String {
        let body = json!({"event_id": event_id, "time": "2026-01-31T12:00:00Z"}).to_string();
        let reply = call(self.relay.address, Call { body: &body, ..Call::post() }).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.json["id"].as_str().unwrap().to_owned()
    }

    /// Ends the next delivery as a dead letter.
    pub(super) async fn kill(&self, kind: DeadKind, reason: &str) {
        let delivery = soon(self.relay.queue.next(&DestinationName::parse("first").unwrap())).await;
        let attempt = Attempt {
            at_ms: 1_769_860_800_123,
            duration_ms: 41,
            status: Some(400),
            verdict: Verdict::Rejected,
            negotiated: Some(Negotiated { protocol: Protocol::Http2, tls: Some(Tls::V1_3) }),
            excerpt: Some("no such campaign".to_owned()),
        };
        let outcome = Outcome::Dead { kind, reason: reason.to_owned() };
        self.relay.queue.settle(&delivery, outcome, Some(attempt));
    }

    /// Waits until `path` answers what `expected` accepts.
    async fn eventually(&self, path: &str, expected: impl Fn(&Value) -> bool) -> Value {
        soon(async {
            loop {
                let reply = self.get(path).await;
                if expected(&reply.json) {
                    return reply.json;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    pub(super) async fn end(self) {
        self.shutdown.cancel();
        soon(self.task).await.unwrap();
        self.relay.end().await;
    }
}

#[tokio::test]
async fn health_is_the_process_and_readiness_is_the_service() {
    let watched = Watched::start("").await;
    assert_eq!(watched.get("/healthz").await.status, 200);
    watched.eventually("/readyz", |json| json["status"] == "ready").await;
    watched.relay.drain();
    let draining = watched.eventually("/readyz", |json| json["status"] == 503).await;
    assert_eq!(draining["detail"], "the relay is draining");
    assert_eq!(watched.get("/healthz").await.status, 200);
    watched.end().await;
}

#[tokio::test]
async fn only_what_is_there_is_answered_and_only_to_get() {
    let watched = Watched::start("").await;
    let missing = (404, "urn:capi-relay:problem:not-found");
    for path in [
        "/index.html",
        "/admin",
        "/admin/",
        "/admin/dead/",
        "/admin/conversions/",
        "/admin/conversions/1",
        "/v1/conversions",
    ] {
        assert_eq!(watched.get(path).await.refusal(), missing, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/admin/destinations", "/admin/dead", "/admin/conversions/1"] {
        let reply = call(watched.address, Call { method: "POST", ..Call::get(path) }).await;
        assert_eq!(reply.refusal(), (405, "urn:capi-relay:problem:method-not-allowed"), "{path}");
        assert_eq!(reply.headers["allow"], "GET, HEAD");
    }
    watched.end().await;
}

#[tokio::test]
async fn a_reload_is_answered_with_what_came_of_it() {
    let mut watched = Watched::start("").await;
    let reload = async |address| call(address, Call { method: "POST", path: "/admin/reload", ..Call::get("") }).await;
    let address = watched.address;
    let names = |names: &[&str]| names.iter().map(|name| DestinationName::parse(name).unwrap()).collect();
    let (changed, added) = (names(&["thrad", "dsp"]), names(&["ga4"]));
    let destinations = Succession { added, removed: Vec::new(), changed, unchanged: 3 };
    let reloaded = Reloaded { version: 7, destinations };
    let asked = tokio::spawn(async move { reload(address).await });
    soon(watched.wishes.recv()).await.unwrap().answer.send(Ok(reloaded)).unwrap();
    let reply = asked.await.unwrap();
    let expected = json!({
        "status": "reloaded", "version": 7, "changed": ["thrad", "dsp"], "added": ["ga4"], "removed": [],
    });
    assert_eq!((reply.status, &reply.json), (200, &expected));

    let asked = tokio::spawn(async move { reload(address).await });
    soon(watched.wishes.recv()).await.unwrap().answer.send(Err("routes.toml: no".to_owned())).unwrap();
    let reply = asked.await.unwrap();
    assert_eq!((reply.status, &reply.json["detail"]), (422, &json!("routes.toml: no")));

    watched.wishes.close();
    assert_eq!(reload(address).await.status, 503);
    assert_eq!(watched.get("/admin/reload").await.status, 405);
    watched.end().await;
}

#[tokio::test]
async fn one_address_does_not_hold_all_connections() {
    let watched = Watched::start("").await;
    let front = watched.admin.front();
    let enter = |address: &str| front.addresses.enter(address.parse().unwrap());
    let held: Vec<_> = std::iter::from_fn(|| enter("192.0.2.1")).take(front.connections_max).collect();
    assert_eq!((held.len(), front.connections_max), (16, 64));
    assert!(enter("192.0.2.2").is_some());
    watched.end().await;
}

#[tokio::test]
async fn a_panic_here_is_counted_with_those_of_the_public_listener() {
    let watched = Watched::start("").await;
    watched.admin.front().metrics.panics.inc();
    watched.relay.ingress.other_connections().panics.inc();
    let metrics = watched.get("/metrics").await.text;
    assert!(metrics.contains("capi_relay_request_panics_total 2\n"), "{metrics}");
    watched.end().await;
}

#[tokio::test]
async fn answers_that_nobody_reads_take_no_more_than_their_room() {
    let watched = Watched::start("").await;
    let much = || problem::body(StatusCode::OK, "text/plain", vec![b'x'; SHARE_BYTES_MAX]);
    let unread = watched.admin.answers.hold(&watched.admin.unread, much()).unwrap();
    let refused = watched.get("/openapi.json").await;
    assert_eq!(refused.refusal(), (503, "urn:capi-relay:problem:unavailable"));
    assert_eq!(refused.headers["retry-after"], "1");
    // What is small is shown, and what was changed is answered.
    assert_eq!(watched.get("/healthz").await.status, 200);
    let pause = Call { path: "/admin/destinations/first/pause", token: None, ..Call::post() };
    assert_eq!(call(watched.address, pause).await.status, 200);
    drop(unread);
    assert_eq!(watched.get("/openapi.json").await.status, 200);
    let free = async {
        while watched.admin.answers.free() != BYTES_MAX {
            tokio::task::yield_now().await;
        }
    };
    soon(free).await;
    watched.end().await;
}

#[tokio::test]
async fn a_configured_token_is_asked_for_except_by_probes() {
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("admin-token"));
    let watched = Watched::start(&format!("admin_token_sha256 = \"{digest}\"")).await;
    let id = watched.post("e-1").await;
    let own = format!("/admin/conversions/{id}");
    for path in ["/metrics", "/admin/destinations", "/admin/dead", &own] {
        for token in [None, Some("acme-token")] {
            let reply = call(watched.address, Call { token, ..Call::get(path) }).await;
            assert_eq!(reply.refusal(), (401, "urn:capi-relay:problem:unauthorized"), "{path}");
            assert!(reply.headers.contains_key("www-authenticate"));
        }
        let reply = call(watched.address, Call { token: Some("admin-token"), ..Call::get(path) }).await;
        assert_eq!(reply.status, 200, "{path}");
    }
    assert_eq!(watched.get("/healthz").await.status, 200);
    watched.eventually("/readyz", |json| json["status"] == "ready").await;
    watched.end().await;
}

#[tokio::test]
async fn each_of_a_list_of_tokens_is_valid() {
    let digest = |token: &str| format!("{:?}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(token)));
    let watched = Watched::start(&format!("admin_token_sha256 = [{}, {}]", digest("old"), digest("new"))).await;
    for (token, expected) in [("old", 200), ("new", 200), ("other", 401)] {
        let reply = call(watched.address, Call { token: Some(token), ..Call::get("/metrics") }).await;
        assert_eq!(reply.status, expected, "{token}");
    }
    watched.end().await;
}

#[tokio::test]
async fn metrics_are_openmetrics_of_every_part() {
    let watched = Watched::start("").await;
    watched.post("e-1").await;
    let reply = watched.get("/metrics").await;
    assert_eq!(reply.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(reply.text.ends_with("# EOF\n"), "{}", reply.text);
    for line in [
        r#"capi_relay_accepted_total{merchant="acme"} 1"#,
        "capi_relay_connections 0",
        r#"capi_relay_pending{destination="first"} 1"#,
        r#"capi_relay_destination_state{destination="first",state="active"} 1"#,
        &format!(r#"capi_relay_build_info{{version="{}"}} 1"#, env!("CARGO_PKG_VERSION")),
    ] {
        assert!(reply.text.lines().any(|found| found == line), "{line} is missing of\n{}", reply.text);
    }
    watched.end().await;
}

#[tokio::test]
async fn a_destination_that_stopped_for_its_dead_letters_is_stopped_in_the_list_and_in_the_metrics() {
    let watched = Watched::with("", "max_dead_letters = 1").await;
    let shown = async |state: &str, why: Option<&str>| {
        let listed = |json: &Value| {
            let first = &json["destinations"][0];
            first["state"] == state
                && first["reason"].as_str().zip(why).is_none_or(|(reason, why)| reason.contains(why))
                && first["since"].is_null() == (state == "stopped")
        };
        watched.eventually("/admin/destinations", listed).await;
        let metrics = watched.get("/metrics").await.text;
        for known in ["active", "paused", "suspended", "open", "stopped"] {
            let one = u8::from(known == state);
            let line = format!(r#"capi_relay_destination_state{{destination="first",state="{known}"}} {one}"#);
            assert!(metrics.lines().any(|found| found == line), "{line} is missing of\n{metrics}");
        }
    };
    watched.post("e-1").await;
    shown("active", None).await;
    watched.kill(DeadKind::Rejected, "status 400").await;
    shown("stopped", Some("1 dead letters are kept")).await;
    // What a person ordered stands before it.
    watched.pools.pause("first", "the partner asked us to".to_owned()).unwrap();
    shown("paused", Some("the partner asked us to")).await;
    watched.pools.resume("first").unwrap();
    shown("stopped", Some("1 dead letters are kept")).await;
    let body = r#"{"destination":"first","reason":"a test"}"#;
    let reply = call(watched.address, Call { path: "/admin/dead/discard", token: None, body, ..Call::post() }).await;
    assert_eq!((reply.status, &reply.json["discarded"]), (200, &json!(1)), "{reply:?}");
    shown("active", None).await;
    watched.end().await;
}

#[tokio::test]
async fn destinations_are_shown_with_what_they_owe() {
    let watched = Watched::start("").await;
    watched.post("e-1").await;
    watched.post("e-2").await;
    watched.kill(DeadKind::Rejected, "status 400").await;
    let shown = watched.eventually("/admin/destinations", |json| json["destinations"][0]["dead"] == 1).await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let expected: BTreeMap<_, _> = [
        "name",
        "state",
        "since",
        "reason",
        "pending",
        "oldest_pending_s",
        "dead",
        "dead_kinds",
        "concerns",
        "concurrency",
        "in_flight",
        "concurrency_limit",
        "quota",
        "rates",
        "attempts",
        "breaker",
        "refused_credentials",
        "last_errors",
        "last_error",
    ]
    .map(|key| (key.to_owned(), ()))
    .into();
    let first = &shown["destinations"][0];
    assert_eq!(keys(first), expected.keys().cloned().collect::<Vec<_>>());
    assert_eq!((&first["name"], &first["state"], &first["pending"]), (&json!("first"), &json!("active"), &json!(1)));
    let expected = (&json!({"rejected": 1}), &json!(["has 1 dead letter: rejected"]));
    assert_eq!((&first["dead_kinds"], &first["concerns"]), expected);
    assert!(first["oldest_pending_s"].as_u64().unwrap() < 60, "{first}");
    let mut one = watched.get("/admin/destinations/first").await.json;
    one["oldest_pending_s"] = first["oldest_pending_s"].clone();
    assert_eq!(one, *first, "one of them is shown as in the list");
    let missing = (404, "urn:capi-relay:problem:not-found");
    assert_eq!(watched.get("/admin/destinations/nobody").await.refusal(), missing);
    let second = &shown["destinations"][1];
    assert_eq!(
        (&second["name"], &second["pending"], &second["oldest_pending_s"]),
        (&json!("refunds"), &json!(0), &Value::Null)
    );
    assert_eq!((&second["dead_kinds"], &second["concerns"]), (&json!({}), &json!([])));
    watched.end().await;
}

#[tokio::test]
async fn dead_letters_are_listed_filtered_and_paged() {
    let watched = Watched::start("").await;
    let first = watched.post("e-1").await;
    watched.kill(DeadKind::Rejected, "status 400").await;
    watched.eventually("/admin/dead", |json| json["dead"].as_array().is_some_and(|dead| dead.len() == 1)).await;
    let second = watched.post("e-2").await;
    watched.kill(DeadKind::Expired, "older than 7d").await;
    let all =
        watched.eventually("/admin/dead", |json| json["dead"].as_array().is_some_and(|dead| dead.len() == 2)).await;
    let letter = all["dead"].as_array().unwrap().iter().find(|letter| letter["id"] == first.as_str()).unwrap();
    let last = json!({"at": "2026-01-31T12:00:00.123Z", "status": 400, "verdict": "rejected", "duration_ms": 41,
        "protocol": "HTTP/2", "tls": "TLS 1.3", "excerpt": "no such campaign"});
    assert_eq!(
        *letter,
        json!({"id": first, "destination": "first", "kind": "rejected", "at": letter["at"], "attempts": 1,
            "order_id": null, "merchant": "acme", "reason": "status 400", "last": last})
    );
    assert_eq!(all["next"], Value::Null);

    let ids = async |query: &str| {
        let reply = watched.get(&format!("/admin/dead?{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {reply:?}");
        let dead =
            reply.json["dead"].as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap().to_owned());
        (dead.collect::<Vec<_>>(), reply.json["next"].as_str().map(str::to_owned))
    };
    assert_eq!(ids("kind=expired").await.0, [second.as_str()]);
    assert_eq!(ids("destination=refunds").await.0, [""; 0]);
    assert_eq!(ids("since=2999-01-01T00:00:00Z").await.0, [""; 0]);
    assert_eq!(ids("destination=first&since=2026-01-01T00%3A00%3A00Z").await.0.len(), 2);
    let (page, next) = ids("limit=1").await;
    let (rest, end) = ids(&format!("limit=1&after={}", next.unwrap())).await;
    let mut both = [page, rest].concat();
    both.sort_unstable();
    assert_eq!(both, [first.as_str(), second.as_str()]);
    assert_eq!(end, None);
    for wrong in ["destination=nobody", "after=nothing", "limit=0"] {
        let reply = watched.get(&format!("/admin/dead?{wrong}")).await;
        assert_eq!(reply.refusal(), (400, "urn:capi-relay:problem:invalid-query"), "{wrong}");
    }
    watched.end().await;
}

#[tokio::test]
async fn any_merchants_conversion_is_shown_with_its_attempts() {
    let watched = Watched::start("").await;
    let id = watched.post("e-1").await;
    watched.kill(DeadKind::Rejected, "status 400").await;
    let path = format!("/admin/conversions/{id}");
    let dead = |json: &Value| json["destinations"]["first"]["state"] == "dead";
    let status = watched.eventually(&path, dead).await;
    let first = &status["destinations"]["first"];
    assert_eq!((&status["id"], &first["kind"], &first["attempts"]), (&json!(id), &json!("rejected"), &json!(1)));
    assert_eq!(first["last"]["at"], "2026-01-31T12:00:00.123Z");
    assert_eq!(first["history"], json!([first["last"]]));
    assert_eq!(status["merchant"], "acme");
    watched.end().await;
}
