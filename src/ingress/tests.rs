//! The public API over real sockets, with a real queue and configuration.

mod batches;
pub(crate) mod client;
mod outcomes;
mod signing;
mod slow;
mod unread;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{BODIES_BYTES_MAX, Ingress, Phase};
use crate::config::{Config, Source};
use crate::queue::{Clock, Queue, Settings};
use crate::traces::Traces;
use client::{Call, Reply, answer, call, connect_tls, http2, rest, soon};

/// A relay without delivery, in a folder of its own.
pub(crate) struct Running {
    pub(crate) config: Arc<Config>,
    pub(crate) queue: Queue,
    pub(crate) ingress: Arc<Ingress>,
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    routes: String,
    _folder: tempfile::TempDir,
}

impl Running {
    /// `server` and `queue` are further lines of these sections.
    pub(crate) async fn start(server: &str, queue: &str) -> Running {
        Running::start_with(server, queue, "").await
    }

    /// `more` comes behind all.
    async fn start_with(server: &str, queue: &str, more: &str) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let text = routes(&folder.path().join("queue").display().to_string(), server, queue) + more;
        let config = loaded(text.clone());
        let settings = Settings {
            path: config.queue.path.clone(),
            allow_volatile: config.queue.allow_volatile,
            pending_bytes_max: config.queue.pending_bytes_max,
            free_bytes_min: config.queue.free_bytes_min,
            dead_letters_max: config.queue.dead_letters_max,
            dedup_window: config.queue.dedup_window,
            history_keep: config.queue.history_keep,
            encryption: None,
            destinations: config.destinations.iter().map(|destination| destination.name.clone()).collect(),
        };
        let clock = Clock::system();
        let opening = clock.clone();
        let queue = tokio::task::spawn_blocking(move || Queue::open(settings, opening)).await.unwrap().unwrap();
        let ingress = Arc::new(Ingress::new(Arc::clone(&config), queue.clone(), clock, Traces::default()).unwrap());
        let listener = TcpListener::bind(config.server.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&ingress).run(listener, shutdown.clone()));
        Running { config, queue, ingress, address, shutdown, task, routes: text, _folder: folder }
    }

    async fn post(&self, body: &str) -> Reply {
        call(self.address, Call { body, ..Call::post() }).await
    }

    async fn get(&self, path: &str, token: &str) -> Reply {
        call(self.address, Call { method: "GET", path, token: Some(token), ..Call::post() }).await
    }

    /// Waits until there is so much room for bodies, exactly.
    async fn has_free(&self, bytes: usize) {
        let looking = async {
            while self.ingress.bodies.free() != bytes {
                tokio::task::yield_now().await;
            }
        };
        soon(looking).await;
    }

    /// The configuration with other words in their places.
    pub(crate) fn changed(&self, from: &str, to: &str) -> Arc<Config> {
        loaded(self.routes.replace(from, to))
    }

    /// Goes over to a configuration in which this merchant has another name.
    pub(crate) fn rename(&self, merchant: &str, to: &str) {
        let config = self.changed(&format!("[merchant.{merchant}]"), &format!("[merchant.{to}]"));
        let renewed = self.ingress.renewed(&config).unwrap();
        self.ingress.reload(config, renewed);
    }

    pub(crate) fn drain(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn end(self) {
        self.drain();
        soon(self.task).await.unwrap();
        soon(self.queue.close()).await.unwrap();
    }
}

fn loaded(text: String) -> Arc<Config> {
    let source = Source { path: PathBuf::from("routes.toml"), text, environment: &|_name: &str| None, sets: &[] };
    Arc::new(Config::load(source).unwrap_or_else(|report| panic!("{report}")))
}

/// Two merchants, and a destination for everything beside one for refunds.
fn routes(path: &str, server: &str, queue: &str) -> String {
    let transport = if server.contains("tls") { "" } else { "plaintext = true" };
    let digest = |token: &str| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(token));
    format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        admin = "127.0.0.1:0"
        {transport}
        {server}
        [queue]
        path = "{path}"
        allow_volatile = true
        {queue}
        [merchant.acme]
        token_sha256 = "{acme}"
        [merchant.beta]
        token_sha256 = "{beta}"
        rate = "1/h"
        burst = 2
        [destination.first]
        method = "POST"
        url = "https://first.example/events"
        body = "json"
        [destination.first.map]
        event = "event_id"
        [destination.refunds]
        method = "POST"
        url = "https://refunds.example/events"
        body = "json"
        when = "kind == 'refund'"
        [destination.refunds.map]
        event = "event_id"
        "#,
        acme = digest("acme-token"),
        beta = digest("beta-token"),
    )
}

/// A further merchant, whose token is `NAME-token`.
fn merchant(name: &str, more: &str) -> String {
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(format!("{name}-token")));
    format!("[merchant.{name}]\ntoken_sha256 = \"{digest}\"\n{more}\n")
}

fn conversion(event_id: &str, value: &str) -> String {
    json!({"event_id": event_id, "time": "2026-01-31T12:00:00+01:00", "value": value, "currency": "EUR"}).to_string()
}

#[tokio::test]
async fn a_conversion_is_acknowledged_once_and_its_repetition_is_a_duplicate() {
    let relay = Running::start("", "").await;
    let first = relay.post(&conversion("e-1", "99.90")).await;
    assert_eq!(first.status, 202, "{first:?}");
    let id = first.json["id"].as_str().unwrap();
    let states = json!({"first": "queued", "refunds": "skipped"});
    assert_eq!(first.json, json!({"status": "accepted", "id": id, "event_id": "e-1", "destinations": states}));
    assert_eq!(first.headers["location"], format!("/v1/conversions/{id}"));
    assert_eq!(first.headers["content-type"], "application/json");

    let again = relay.post(&conversion("e-1", "99.90")).await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json, json!({"status": "duplicate", "id": id, "event_id": "e-1", "destinations": states}));
    let other = relay.post(&conversion("e-1", "100")).await;
    assert_eq!(other.refusal(), (422, "urn:capi-relay:problem:idempotency-key-reused"));
    relay.end().await;
}

#[tokio::test]
async fn an_idempotency_key_is_the_same_bare_and_quoted() {
    let relay = Running::start("", "").await;
    let body = json!({"time": "2026-01-31T12:00:00Z"}).to_string();
    let keyed = async |key: &str| {
        let headers = [("idempotency-key", key)];
        call(relay.address, Call { body: &body, headers: &headers, ..Call::post() }).await
    };
    let first = keyed("k-1").await;
    assert_eq!((first.status, first.json["event_id"] == first.json["id"]), (202, true), "{first:?}");
    let again = keyed("\"k-1\"").await;
    assert_eq!((again.status, &again.json["id"]), (200, &first.json["id"]));
    let other = keyed("k-2").await;
    assert_eq!(other.status, 202);
    assert_eq!(keyed("k 3").await.refusal(), (400, "urn:capi-relay:problem:invalid-idempotency-key"));
    relay.end().await;
}

#[tokio::test]
async fn a_status_shows_every_destination_and_only_to_its_merchant() {
    let relay = Running::start("", "").await;
    let accepted = relay.post(&conversion("e-1", "99.90")).await;
    let path = accepted.headers["location"].to_str().unwrap();
    let status = relay.get(path, "acme-token").await;
    assert_eq!(status.status, 200, "{status:?}");
    let received_at: jiff::Timestamp = status.json["received_at"].as_str().unwrap().parse().unwrap();
    assert!(received_at.as_second() > 0);
    let expected = json!({
        "id": accepted.json["id"], "event_id": "e-1", "order_id": null, "merchant": "acme",
        "received_at": status.json["received_at"],
        "destinations": {
            "first": {"state": "queued", "reason": null, "attempts": 0, "next_attempt_at": null, "last": null,
                "captured": {}, "history": []},
            "refunds": {"state": "skipped", "reason": status.json["destinations"]["refunds"]["reason"], "attempts": 0,
                "next_attempt_at": null, "last": null, "captured": {}, "history": []},
        }
    });
    assert_eq!(status.json, expected);
    assert!(status.json["destinations"]["refunds"]["reason"].is_string());

    let missing = (404, "urn:capi-relay:problem:not-found");
    assert_eq!(relay.get(path, "beta-token").await.refusal(), missing);
    assert_eq!(
        relay.get("/v1/conversions/01890a5d-ac96-774b-bcce-b302099a8057", "acme-token").await.refusal(),
        missing
    );
    assert_eq!(relay.get("/v1/conversions/1", "acme-token").await.refusal(), missing);
    relay.end().await;
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_its_headers() {
    let relay = Running::start("body_max = \"1KiB\"", "").await;
    let check = async |case: Call<'_>, status: u16, name: &str, header: (&str, &str)| {
        let shown = format!("{case:?}");
        let reply = call(relay.address, case).await;
        assert_eq!(reply.refusal(), (status, &*format!("urn:capi-relay:problem:{name}")), "{shown}");
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{shown}");
        assert_eq!(reply.headers[header.0], header.1, "{shown}");
    };
    let post = Call::post;
    let nothing = ("cache-control", "no-store");
    let bare = ("www-authenticate", r#"Bearer realm="capi-relay""#);
    let invalid = ("www-authenticate", r#"Bearer realm="capi-relay", error="invalid_token""#);
    check(Call { token: None, ..post() }, 401, "unauthorized", bare).await;
    check(Call { token: Some("acme"), ..post() }, 401, "unauthorized", invalid).await;
    check(Call { token: None, method: "GET", path: "/v1/conversions/1", ..post() }, 401, "unauthorized", bare).await;
    check(Call { path: "/", ..post() }, 404, "not-found", nothing).await;
    check(Call { path: "/v1/conversions/", ..post() }, 404, "not-found", nothing).await;
    check(Call { path: "/v1/conversions/1/2", method: "GET", ..post() }, 404, "not-found", nothing).await;
    check(Call { method: "PUT", ..post() }, 405, "method-not-allowed", ("allow", "POST")).await;
    check(Call { path: "/v1/conversions/1", ..post() }, 405, "method-not-allowed", ("allow", "GET, HEAD")).await;
    check(Call { path: "/v1/orders/1", ..post() }, 405, "method-not-allowed", ("allow", "GET, HEAD")).await;
    check(Call { path: "/v1/orders/1/2", method: "GET", ..post() }, 404, "not-found", nothing).await;
    let long = conversion(&"e".repeat(1024), "1");
    check(Call { body: &long, ..post() }, 413, "body-too-large", nothing).await;
    check(Call { body: &long, chunked: true, ..post() }, 413, "body-too-large", nothing).await;
    let typed = [("content-type", "text/plain")];
    let types = ("accept", "application/json, application/x-ndjson");
    check(Call { headers: &typed, ..post() }, 415, "unsupported-media-type", types).await;
    let coded = [("content-encoding", "br")];
    let codings = ("accept-encoding", "gzip, zstd, identity");
    check(Call { headers: &coded, ..post() }, 415, "unsupported-media-type", codings).await;
    for malformed in ["", "{", "{\"time\": }", "{} {}", "nul"] {
        check(Call { body: malformed, ..post() }, 400, "malformed-json", nothing).await;
    }
    check(Call { body: "[]", ..post() }, 422, "invalid-batch", nothing).await;
    check(Call { body: "[7", ..post() }, 400, "malformed-json", nothing).await;
    check(Call { body: "[7]]", ..post() }, 400, "malformed-json", nothing).await;
    check(Call { body: "7", ..post() }, 422, "invalid-conversion", nothing).await;
    let mut registry = Registry::default();
    relay.ingress.register_metrics(&mut registry);
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    assert!(metrics.contains(r#"capi_relay_refused_total{reason="unauthorized"} 3"#), "{metrics}");
    assert!(metrics.contains(r#"capi_relay_accepted_total{merchant="acme"} 0"#), "{metrics}");
    relay.end().await;
}

#[tokio::test]
async fn an_invalid_conversion_is_told_all_its_problems_and_none_of_its_values() {
    let relay = Running::start("", "").await;
    let body = json!({
        "tmie": "planted-1", "value": "planted-2", "currency": "planted-3",
        "customer": {"email": "planted-4"}, "items": [{"quantity": "planted-5"}],
    });
    let reply = relay.post(&body.to_string()).await;
    assert_eq!(reply.refusal(), (422, "urn:capi-relay:problem:invalid-conversion"));
    let mut pointers: Vec<_> =
        reply.json["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    pointers.dedup();
    for pointer in ["/currency", "/customer/email", "/items/0/quantity", "/time", "/tmie", "/value"] {
        assert!(pointers.contains(&pointer), "{pointer} is missing of {pointers:?}");
    }
    assert!(!reply.json.to_string().contains("planted"), "{}", reply.json);
    relay.end().await;
}

#[tokio::test]
async fn deep_nesting_is_refused_and_costs_nothing_else() {
    let relay = Running::start("", "").await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let custom = format!(r#"{{"time": "2026-01-31T12:00:00Z", "custom": {deep}}}"#);
        for body in [&deep, &custom] {
            let reply = relay.post(body).await;
            assert!(matches!(reply.status, 400 | 422), "{reply:?}");
        }
    }
    assert_eq!(relay.post(&conversion("e-1", "1")).await.status, 202);
    relay.end().await;
}

const HEAD: &str = "POST /v1/conversions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn a_token_is_asked_for_before_the_body_is_read() {
    let relay = Running::start("", "").await;
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    stream.write_all(format!("{HEAD}content-length: 100\r\n\r\n").as_bytes()).await.unwrap();
    assert!(answer(&mut stream, "}").await.starts_with("HTTP/1.1 401"));
    drop(stream);
    relay.end().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let relay = Running::start("request_timeout = \"200ms\"", "").await;
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let head = format!("{HEAD}authorization: Bearer acme-token\r\ncontent-length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let late = answer(&mut stream, "}").await;
    assert!(late.starts_with("HTTP/1.1 408") && late.contains("problem:request-timeout"), "{late}");
    drop(stream);
    relay.end().await;
}

#[tokio::test]
async fn a_merchant_beyond_its_rate_is_told_when_to_come_back_and_others_are_not_slowed() {
    let relay = Running::start("", "").await;
    let send = async |token: &str, event_id: &str| {
        let body = conversion(event_id, "1");
        call(relay.address, Call { token: Some(token), body: &body, ..Call::post() }).await
    };
    let first = send("beta-token", "e-1").await;
    assert_eq!(first.status, 202);
    assert_eq!(first.headers["ratelimit-policy"], r#""merchant";q=2;w=7200"#);
    assert_eq!(first.headers["ratelimit"], r#""merchant";r=1;t=3600"#);
    assert_eq!(send("beta-token", "e-2").await.status, 202);
    let limited = send("beta-token", "e-3").await;
    assert_eq!(limited.refusal(), (429, "urn:capi-relay:problem:rate-limited"));
    let wait: u64 = limited.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    assert_eq!(limited.headers["ratelimit"], format!(r#""merchant";r=0;t={wait}"#));
    let unlimited = send("acme-token", "e-1").await;
    assert_eq!(unlimited.status, 202, "another merchant, its own keys: {unlimited:?}");
    assert!(!unlimited.headers.contains_key("ratelimit"));
    relay.end().await;
}

#[tokio::test]
async fn what_is_refused_counts_for_the_rate_and_beyond_it_no_body_is_read() {
    let relay = Running::start("", "").await;
    for body in ["{", "[]"] {
        let refused = call(relay.address, Call { token: Some("beta-token"), body, ..Call::post() }).await;
        assert!(matches!(refused.status, 400 | 422), "{refused:?}");
    }
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let head = format!("{HEAD}authorization: Bearer beta-token\r\ncontent-length: 1000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // Nothing of it has come, nor comes.
    let limited = answer(&mut stream, "}").await;
    assert!(limited.starts_with("HTTP/1.1 429") && limited.contains("r=0;"), "{limited}");
    relay.end().await;
}

#[tokio::test]
async fn a_request_in_hand_is_finished_while_the_relay_drains() {
    let relay = Running::start("", "").await;
    let body = conversion("e-1", "1");
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let length = body.len();
    let head =
        format!("{HEAD}authorization: Bearer acme-token\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(answer(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    assert_eq!(relay.ingress.phase(), Phase::Serving);

    relay.drain();
    stream.write_all(body.as_bytes()).await.unwrap();
    let last = rest(stream).await;
    assert!(last.starts_with("HTTP/1.1 202") && last.contains("connection: close"), "{last}");
    assert_eq!(relay.ingress.phase(), Phase::Draining);
    let address = relay.address;
    relay.end().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_stored_is_a_503_that_says_when_to_come_back() {
    let relay = Running::start("", "").await;
    soon(relay.queue.close()).await.unwrap();
    let refused = relay.post(&conversion("e-1", "1")).await;
    assert_eq!(refused.refusal(), (503, "urn:capi-relay:problem:unavailable"));
    assert_eq!(refused.headers["retry-after"], "2");
    relay.drain();
    soon(relay.task).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_is_a_503_that_says_when_to_come_back() {
    let others = merchant("gamma", "destinations = [\"refunds\"]");
    let relay = Running::start_with("", "max_pending_bytes = \"1KiB\"", &others).await;
    let mut replies = Vec::new();
    for number in 0..64 {
        replies.push(relay.post(&conversion(&format!("e-{number}"), "1")).await);
    }
    let refused = replies.iter().find(|reply| reply.status != 202).unwrap();
    assert_eq!(refused.refusal(), (503, "urn:capi-relay:problem:queue-full"));
    assert_eq!(refused.headers["retry-after"], "10");
    assert!(refused.text.contains("waits for first"), "{refused:?}");
    // What waits at others' destinations is not for everyone to know.
    let body = json!({"event_id": "r-1", "kind": "refund", "time": "2026-01-31T12:00:00Z"}).to_string();
    let other = call(relay.address, Call { token: Some("gamma-token"), body: &body, ..Call::post() }).await;
    assert_eq!(other.refusal(), (503, "urn:capi-relay:problem:queue-full"));
    assert!(!other.text.contains("first") && !other.text.contains("deliveries"), "{other:?}");
    relay.end().await;
}

#[tokio::test]
async fn a_conversion_is_taken_over_http_2_and_tls() {
    let relay = Running::start("tls = { self_signed = true }", "").await;
    let stream = connect_tls(relay.address, &rustls::version::TLS13, &["h2"]).await.unwrap();
    let (mut sender, connection) = http2(stream).await;
    let request = Request::post("https://localhost/v1/conversions")
        .header("authorization", "Bearer acme-token")
        .header("content-type", "application/json")
        .body(Full::new(conversion("e-1", "1").into()))
        .unwrap();
    assert_eq!(soon(sender.send_request(request)).await.unwrap().status(), StatusCode::ACCEPTED);
    drop(sender);
    soon(connection).await.unwrap().unwrap();
    relay.end().await;
}

#[tokio::test]
async fn the_time_to_a_202_is_measured_for_202s_only() {
    let relay = Running::start("", "").await;
    for _ in 0..2 {
        relay.post(&conversion("e-1", "1")).await;
    }
    relay.post("{").await;
    let mut registry = Registry::default();
    relay.ingress.register_metrics(&mut registry);
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    for line in [
        r#"capi_relay_accepted_total{merchant="acme"} 1"#,
        r#"capi_relay_duplicates_total{merchant="acme"} 1"#,
        r#"capi_relay_refused_total{reason="malformed-json"} 1"#,
        "capi_relay_ack_seconds_count 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing of\n{metrics}");
    }
    relay.end().await;
}
