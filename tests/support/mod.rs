//! What the tests share: a relay in a temporary folder, the five stand-ins, a client, conversions, and waiting for a state.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use capi_relay::cli::Relay;
use capi_relay::config::{Config, Source};
use capi_relay::queue::Clock;
use capi_relay::sandbox::{Accounts, Platform, Sandbox};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) mod accounts;
#[cfg(feature = "otlp")]
pub(crate) mod collector;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod tls;

/// The merchant's token in every test.
pub(crate) const TOKEN: &str = "test-token";
/// Nothing that is right takes longer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of very many: asked for one by one on a busy machine.
pub(crate) const PATIENCE_FOR_EACH: Duration = Duration::from_millis(3);

/// Waits until `look` finds something; says what it waited for when it never does.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_of(0, what, look).await
}

/// The same, of so many things that are looked at one by one.
pub(crate) async fn eventually_of<T>(count: usize, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    let patience = PATIENCE + PATIENCE_FOR_EACH * u32::try_from(count).unwrap();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < patience, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An error with all that led to it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", source.unwrap_or_default())
}

/// `routes.toml` of the tests: the five presets pointed at a sandbox, and what a test adds.
pub(crate) fn routes(sandbox: &Sandbox, folder: &Path, extra: &str) -> String {
    let accounts = Accounts::default();
    let mut text = include_str!("routes.toml").to_owned();
    for (name, value) in [
        ("folder", folder.display().to_string()),
        ("token_sha256", hex::encode(Sha256::digest(TOKEN))),
        ("thrad_api_key", accounts.thrad_api_key),
        ("impact_account_sid", accounts.impact_account_sid),
        ("impact_auth_token", accounts.impact_auth_token),
        ("scaleo_api_key", accounts.scaleo_api_key),
        ("scaleo_security_token", accounts.scaleo_security_token),
        ("trackdesk_api_key", accounts.trackdesk_api_key),
        ("dsp_token", accounts.dsp_token),
    ] {
        text = text.replace(&format!("@{name}@"), &value);
    }
    for platform in Platform::ALL {
        text = text.replace(&format!("@{}@", platform.name()), &format!("http://{}", sandbox.address(platform)));
    }
    text + extra
}

/// The same routes, but the answers of this destination, which never come, are waited for five seconds only.
pub(crate) fn impatient(routes: &str, destination: &str) -> String {
    let name = format!("[destination.{destination}]");
    let (before, of_it) = routes.split_once(&name).unwrap();
    format!("{before}{name}{}", of_it.replacen("timeout = \"60s\"", "timeout = \"5s\"", 1))
}

/// The configuration of a text without environment.
#[track_caller]
pub(crate) fn config(text: &str) -> Config {
    let source =
        Source { path: PathBuf::from("routes.toml"), text: text.to_owned(), environment: &|_| None, sets: &[] };
    Config::load(source).unwrap_or_else(|report| panic!("{report}"))
}

/// A relay in this process, its folder, and the sandbox behind it.
pub(crate) struct Bench {
    pub(crate) relay: Relay,
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) http: Http,
}

impl Bench {
    pub(crate) async fn start(extra: &str) -> Bench {
        Bench::start_as(|routes| routes + extra).await
    }

    /// With other routes than these.
    pub(crate) async fn start_as(other: impl FnOnce(String) -> String) -> Bench {
        let sandbox = Sandbox::start(Accounts::default(), 0).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let routes = other(routes(&sandbox, &folder.path().join("queue"), ""));
        let relay = Relay::start(config(&routes), Clock::system()).await.unwrap();
        Bench { relay, sandbox, folder, http: Http::new() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.relay.public())
    }

    pub(crate) async fn post(&self, conversion: &Value) -> Answer {
        self.http.post(&self.url("/v1/conversions"), conversion.to_string()).await
    }

    pub(crate) async fn status(&self, id: &str) -> Value {
        let answer = self.http.call(Method::GET, &self.url(&format!("/v1/conversions/{id}")), &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    }

    /// The status once no destination of `names` is under way.
    pub(crate) async fn settled(&self, id: &str, names: &[&str]) -> Value {
        eventually(&format!("{id} settled at {names:?}"), async || {
            let status = self.status(id).await;
            let under_way = names.iter().any(|name| {
                matches!(
                    status["destinations"][name]["state"].as_str(),
                    Some("queued" | "retrying" | "held" | "accepted") | None
                )
            });
            (!under_way).then_some(status)
        })
        .await
    }

    pub(crate) async fn stop(self) {
        self.relay.stop().await.unwrap();
        self.sandbox.stop().await;
    }
}

/// An HTTP/1.1 client with kept connections.
#[derive(Clone)]
pub(crate) struct Http(Client<HttpConnector, Full<Bytes>>);

/// An answer, its body as JSON where it is JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {} {}", self.status, self.body)).to_owned()
    }
}

impl Http {
    pub(crate) fn new() -> Http {
        Http(Client::builder(TokioExecutor::new()).build(HttpConnector::new()))
    }

    pub(crate) async fn post(&self, url: &str, body: String) -> Answer {
        self.call(Method::POST, url, &[("content-type", "application/json")], &body).await
    }

    /// A call as the merchant of the tests, unless the headers say otherwise.
    pub(crate) async fn call(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.attempt(method, url, headers, body).await.unwrap()
    }

    /// The same, where the relay may be gone.
    pub(crate) async fn attempt(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url);
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {TOKEN}"));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let answer = self.0.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| text());
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// What a platform's stand-in counts [`conversion`] of an order under: Thrad sees the relay's key, the others the order.
pub(crate) fn handle(platform: Platform, order: &str) -> String {
    if platform == Platform::Thrad { format!("acme/event/{order}") } else { order.to_owned() }
}

/// A conversion that all five destinations take; `order` makes it its own.
pub(crate) fn conversion(order: &str) -> Value {
    json!({
        "event_id": order,
        "order_id": order,
        "time": "2026-11-20T14:03:27Z",
        "value": "99.90",
        "currency": "EUR",
        "click_ids": {
            "thrad": format!("clk_{order}"),
            "impact": format!("imp{order}"),
            "scaleo": format!("scl{order}"),
            "trackdesk": "85b04ded-09dd-4015-ad30-581e45452dd9",
        },
        "customer": { "id": "customer-1", "email_sha256": "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514" },
    })
}
