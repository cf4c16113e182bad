//! What a relay exports to an OpenTelemetry collector: in a build with the feature `otlp`.

mod outages;
mod processes;

use std::collections::BTreeMap;

use capi_relay::cli::Relay;
use capi_relay::queue::Clock;
use capi_relay::traces::Traces;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::collector::{Collector, Seen};
use crate::support::recorder::Recorder;
use crate::support::{Answer, Http, TOKEN, config, conversion, eventually};

const ROUTES: &str = include_str!("support/routes.toml");
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// What stands in the conversions, in requests and in settings, and is nobody else's.
const CANARIES: [&str; 8] = [
    TOKEN,
    "credential-canary",
    "header-canary",
    "path-canary",
    "query-canary",
    "canary@example.com",
    "order-canary",
    "event-canary",
];

/// A relay with two destinations that keep what they are sent.
pub(crate) struct Traced {
    relay: Relay,
    folder: TempDir,
    first: Recorder,
    second: Recorder,
}

impl Traced {
    async fn start(traces: Traces) -> Traced {
        let (first, second) = (Recorder::unwilling().await, Recorder::unwilling().await);
        second.relent();
        let folder = tempfile::tempdir().unwrap();
        let relay = open(&folder, &first, &second, traces).await;
        Traced { relay, folder, first, second }
    }

    /// The same folder and destinations, another relay.
    async fn again(self, traces: Traces) -> Traced {
        let Traced { relay, folder, first, second } = self;
        relay.stop().await.unwrap();
        let relay = open(&folder, &first, &second, traces).await;
        Traced { relay, folder, first, second }
    }

    async fn post(&self, body: &str, headers: &[(&str, &str)]) -> Answer {
        let url = format!("http://{}/v1/conversions", self.relay.public());
        let headers = [&[("content-type", "application/json")], headers].concat();
        Http::new().call(Method::POST, &url, &headers, body).await
    }

    /// Once it was taken by both.
    async fn taken(&self) {
        let taken = async || (self.first.has_taken() && self.second.has_taken()).then_some(());
        eventually("taken by both", taken).await;
    }

    async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.relay.admin());
        Http::new().call(Method::GET, &url, &[], "").await.body.as_str().unwrap().to_owned()
    }

    async fn stop(self) {
        self.relay.stop().await.unwrap();
    }
}

async fn open(folder: &TempDir, first: &Recorder, second: &Recorder, traces: Traces) -> Relay {
    Relay::start_traced(config(&routes(folder, first, second)), Clock::system(), traces).await.unwrap()
}

fn routes(folder: &TempDir, first: &Recorder, second: &Recorder) -> String {
    let (server, _) = ROUTES.split_once("[destination.thrad]").unwrap();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(TOKEN));
    let queue = folder.path().join("queue").display().to_string();
    let server = server.replace("@folder@", &queue).replace("@token_sha256@", &digest);
    let destination = |name: &str, origin: &str| {
        format!(
            "[destination.{name}]\nurl = \"{origin}/path-canary?key=query-canary\"\n\
             auth = {{ bearer = \"{{secrets.key}}\" }}\nsecrets.key = \"credential-canary\"\n\
             map.id = \"event_id\"\nmap.mail = \"customer.email\"\n\
             retry = {{ first = \"20ms\", max = \"50ms\", give_up_after = \"1h\" }}\n"
        )
    };
    server + &destination("first", &first.origin) + &destination("second", &second.origin)
}

/// A conversion that says something of a person.
fn personal() -> Value {
    let mut body = conversion("event-canary");
    body["order_id"] = "order-canary".into();
    body["customer"]["email"] = "canary@example.com".into();
    body
}

/// What a request's head names as the parent: trace and id.
fn parents(recorder: &Recorder) -> Vec<(String, String)> {
    let named = |request: String| {
        let line = request.lines().find_map(|line| line.strip_prefix("traceparent: ").map(str::to_owned)).unwrap();
        (line[3..35].to_owned(), line[36..52].to_owned())
    };
    recorder.requests().into_iter().map(named).collect()
}

/// Spans of attempts at a destination, in the order in which they began.
fn attempts<'s>(spans: &'s [Seen], destination: &str) -> Vec<&'s Seen> {
    let mut attempts: Vec<&Seen> =
        spans.iter().filter(|span| span.kind == 3 && span.get("capi_relay.destination") == destination).collect();
    attempts.sort_by_key(|span| span.begin);
    attempts
}

/// The span of the one request that there was.
#[track_caller]
fn server(spans: &[Seen]) -> &Seen {
    let servers: Vec<&Seen> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(servers.len(), 1, "{spans:#?}");
    servers[0]
}

fn is(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// By the conventions for a server, and what it is of.
#[track_caller]
fn tells_of_the_request(server: &Seen, id: &str) {
    let told = is(&[
        ("http.request.method", "POST"),
        ("http.route", "/v1/conversions"),
        ("http.response.status_code", "202"),
        ("network.protocol.version", "1.1"),
        ("url.path", "/v1/conversions"),
        ("url.scheme", "http"),
        ("capi_relay.conversion.id", id),
        ("capi_relay.merchant", "acme"),
        ("capi_relay.kind", "conversion"),
        ("capi_relay.event_type", "purchase_completed"),
        ("capi_relay.status", "accepted"),
    ]);
    assert_eq!((server.name.as_str(), &server.is), ("POST /v1/conversions", &told));
    assert!(!server.is_error);
}

/// By the conventions for a client: refusals, and then it was taken.
#[track_caller]
fn tells_of_each_attempt(attempts: &[&Seen], id: &str, recorder: &Recorder) {
    let port = recorder.origin.rsplit(':').next().unwrap();
    let last = attempts.len().to_string();
    let mut told = is(&[
        ("http.request.method", "POST"),
        ("http.response.status_code", "503"),
        ("network.protocol.version", "1.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", port),
        ("error.type", "503"),
        ("capi_relay.conversion.id", id),
        ("capi_relay.destination", "first"),
        ("capi_relay.operation", "conversion"),
        ("capi_relay.attempt", "1"),
        ("capi_relay.verdict", "retry"),
    ]);
    assert_eq!((attempts[0].name.as_str(), attempts[0].is_error, &attempts[0].is), ("POST", true, &told));
    told.remove("error.type");
    told.extend(is(&[
        ("http.response.status_code", "200"),
        ("http.request.resend_count", &(attempts.len() - 1).to_string()),
        ("capi_relay.attempt", &last),
        ("capi_relay.verdict", "delivered"),
    ]));
    assert_eq!((attempts.last().unwrap().is_error, &attempts.last().unwrap().is), (false, &told));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_merchant_through_the_relay_to_each_attempt_and_names_nobody() {
    let collector = Collector::start().await;
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=header-canary");
    let relay = Traced::start(collector.traces(&[headers, ("OTEL_RESOURCE_ATTRIBUTES", "region=eu%2Dwest")])).await;
    let answer = relay.post(&personal().to_string(), &[("traceparent", TRACE)]).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.id();
    eventually("two refusals", async || (relay.first.requests().len() >= 2).then_some(())).await;
    relay.first.relent();
    relay.taken().await;
    let count = 1 + relay.first.requests().len() + relay.second.requests().len();
    let spans = collector.spans_once(count).await;
    assert_eq!(spans.len(), count, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace == TRACE[3..35] && span.begin <= span.end), "{spans:#?}");

    let server = server(&spans);
    assert_eq!(server.parent, TRACE[36..52]);
    tells_of_the_request(server, &id);
    for (name, recorder) in [("first", &relay.first), ("second", &relay.second)] {
        let attempts = attempts(&spans, name);
        let ids: Vec<_> = attempts.iter().map(|span| (span.trace.clone(), span.id.clone())).collect();
        assert_eq!(ids, parents(recorder), "each request named its own attempt");
        assert!(attempts.iter().all(|span| span.parent == server.id && span.begin >= server.begin), "{attempts:#?}");
    }
    tells_of_each_attempt(&attempts(&spans, "first"), &id, &relay.first);

    let resource = collector.resource();
    assert_eq!((resource["service.name"].as_str(), resource["region"].as_str()), ("capi-relay", "eu-west"));
    for export in collector.exports() {
        assert_eq!((export.path.as_str(), export.header("x-api-key")), ("/v1/traces", "header-canary"));
        let text = String::from_utf8_lossy(&export.body);
        let out: Vec<_> = CANARIES.into_iter().filter(|canary| text.contains(canary)).collect();
        assert!(out.is_empty(), "{out:?} in {text}");
    }
    let exported = format!("capi_relay_trace_spans_total{{result=\"exported\"}} {count}\n");
    let shown = async || relay.metrics().await.contains(&exported).then_some(());
    eventually(&exported, shown).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_without_a_trace_begins_one_that_its_attempts_join_and_a_duplicate_another() {
    let collector = Collector::start().await;
    let relay = Traced::start(collector.traces(&[("OTEL_SERVICE_NAME", "relay-eu")])).await;
    relay.first.relent();
    let id = relay.post(&personal().to_string(), &[]).await.id();
    relay.taken().await;
    let spans = collector.spans_once(3).await;
    let server = server(&spans);
    assert_eq!(server.parent, "", "{server:#?}");
    for (name, recorder) in [("first", &relay.first), ("second", &relay.second)] {
        let attempts = attempts(&spans, name);
        assert_eq!(parents(recorder), [(server.trace.clone(), attempts[0].id.clone())]);
        assert_eq!((attempts[0].trace.as_str(), &attempts[0].parent), (server.trace.as_str(), &server.id));
    }
    assert_eq!(collector.resource()["service.name"], "relay-eu");

    assert_eq!(relay.post(&personal().to_string(), &[]).await.status, 200);
    let spans = collector.spans_once(4).await;
    let repeat = spans.iter().find(|span| span.get("capi_relay.status") == "duplicate").unwrap();
    assert_eq!((repeat.get("capi_relay.conversion.id"), repeat.kind), (id.as_str(), 2));
    assert_ne!(repeat.trace, spans[0].trace);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_followed_conversion_by_conversion() {
    let collector = Collector::start().await;
    let relay = Traced::start(collector.traces(&[])).await;
    relay.first.relent();
    let batch = json!([conversion("one"), conversion("two"), {"kind": "nothing"}]).to_string();
    let answer = relay.post(&batch, &[("traceparent", TRACE)]).await;
    assert_eq!(answer.status, 207, "{}", answer.body);
    let spans = collector.spans_once(1 + 2 + 4).await;
    let server = server(&spans);
    assert_eq!((server.get("capi_relay.conversions"), server.get("http.response.status_code")), ("2", "207"));
    assert_eq!((server.get("capi_relay.conversion.id"), server.parent.as_str()), ("", &TRACE[36..52]));
    let parts: Vec<_> = spans.iter().filter(|span| span.kind == 1).collect();
    assert_eq!(parts.len(), 2, "{spans:#?}");
    for (part, result) in parts.iter().zip(answer.body["results"].as_array().unwrap()) {
        assert_eq!((part.name.as_str(), &part.parent), ("conversion", &server.id));
        assert_eq!(part.get("capi_relay.conversion.id"), result["id"].as_str().unwrap());
        let below: Vec<_> = spans.iter().filter(|span| span.parent == part.id).collect();
        assert_eq!(below.len(), 2, "{spans:#?}");
        assert!(below.iter().all(|span| span.get("capi_relay.conversion.id") == result["id"]), "{below:#?}");
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_after_a_restart() {
    let before = Collector::start().await;
    let relay = Traced::start(before.traces(&[])).await;
    relay.post(&personal().to_string(), &[("traceparent", TRACE)]).await;
    eventually("an attempt", async || (!relay.first.requests().is_empty()).then_some(())).await;
    let after = Collector::start().await;
    let relay = relay.again(after.traces(&[])).await;
    relay.first.relent();
    relay.taken().await;
    let delivered = eventually("the delivery's span", async || {
        after.spans().into_iter().find(|span| span.get("capi_relay.verdict") == "delivered")
    })
    .await;
    // Nothing was lost with the one that stopped.
    let spans = before.spans();
    assert_eq!((delivered.trace.as_str(), &delivered.parent), (&TRACE[3..35], &server(&spans).id));
    let all = [spans, after.spans()].concat();
    let ids: Vec<_> = attempts(&all, "first").iter().map(|span| (span.trace.clone(), span.id.clone())).collect();
    assert_eq!(ids, parents(&relay.first));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_passed_on_as_such_and_not_exported() {
    let collector = Collector::start().await;
    let relay = Traced::start(collector.traces(&[])).await;
    relay.first.relent();
    let unrecorded = TRACE.replace("-01", "-00");
    relay.post(&conversion("unrecorded").to_string(), &[("traceparent", &unrecorded)]).await;
    relay.taken().await;
    let named = relay.first.requests();
    let line = named[0].lines().find(|line| line.starts_with("traceparent: ")).unwrap();
    assert!(line.contains(&TRACE[3..35]) && line.ends_with("-00"), "{line}");
    relay.post(&conversion("recorded").to_string(), &[]).await;
    let spans = collector.spans_once(3).await;
    assert!(spans.iter().all(|span| span.trace != TRACE[3..35]), "{spans:#?}");

    let deaf = Collector::start().await;
    let relay = relay.again(deaf.traces(&[("OTEL_TRACES_SAMPLER", "always_off")])).await;
    relay.post(&conversion("sampler").to_string(), &[("traceparent", TRACE)]).await;
    let last = || relay.first.requests().into_iter().find(|request| request.contains("sampler"));
    let request = eventually("the last one", async || last()).await;
    let line = request.lines().find(|line| line.starts_with("traceparent: ")).unwrap();
    assert!(line.contains(&TRACE[3..35]) && line.ends_with("-00"), "{line}");
    relay.stop().await;
    assert!(deaf.exports().is_empty());
}
