//! One HTTP/1.1 exchange with a running relay: what `send`, `status`, `dead` and `health` talk through. One connection a
//! call, a deadline over all of it, the answer read through a limit.

mod trust;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

pub(super) use trust::Trust;

use super::progress::{Counted, Progress};
use super::{AdminArgs, ConfigurationArgs, DONE, NO, output, settings};
use crate::admin::USER;
use crate::conversion::ConversionId;
use crate::mapping::{MASK, WebhookKey};
use crate::queue::Clock;

/// Connect, handshake, request and answer together: a relay on the same machine answers in milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);
/// What goes through many dead letters, or waits for attempts in hand and rewrites files: minutes at worst.
const PATIENT_DEADLINE: Duration = Duration::from_secs(300);
/// What stands in a path as it is: the characters of names and ids.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// The longest answer: a page of dead letters stays far below it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is asked.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) token: Option<&'a str>,
    /// What it is signed with.
    pub(super) key: Option<&'a WebhookKey>,
    pub(super) trust: Trust,
    pub(super) headers: Vec<(header::HeaderName, HeaderValue)>,
    /// JSON unless its headers say otherwise, or nothing.
    pub(super) body: Bytes,
    /// Whether it is something that takes its time.
    pub(super) patient: bool,
    /// For how long it asks to be kept waiting.
    pub(super) wait: Duration,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// After which time the same may be sent again.
    pub(super) retry_after: Option<Duration>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The body as JSON, or why it is none.
    pub(super) fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the answer ({}) is no JSON: {error}", self.status))
    }

    /// What a person reads of a refusal.
    pub(super) fn detail(&self) -> String {
        match self.json() {
            Ok(document) => problem(&self.status.to_string(), &document),
            Err(_) => format!("{} {}", self.status, String::from_utf8_lossy(&self.body).trim()),
        }
    }
}

/// What a person reads of a problem: status, title and detail, with every pointer.
pub(super) fn problem(status: &str, problem: &serde_json::Value) -> String {
    let text = |name: &str| problem.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let mut lines = vec![format!("{status}: {}", text("title"))];
    if !text("detail").is_empty() {
        lines.push(text("detail"));
    }
    for error in problem.get("errors").and_then(serde_json::Value::as_array).into_iter().flatten() {
        let part = |name: &str| error.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        lines.push(format!("  {}: {}", part("pointer"), part("detail")));
    }
    lines.join("\n")
}

/// Asks the admin listener: its address from the flags, else from the configuration.
pub(super) fn admin(configuration: &ConfigurationArgs, args: &AdminArgs, path: &str) -> Result<Answer, String> {
    admin_call(configuration, args, path, Call::default())
}

/// The same for what takes its time.
pub(super) fn patient(configuration: &ConfigurationArgs, args: &AdminArgs, path: &str) -> Result<Answer, String> {
    admin_call(configuration, args, path, Call { patient: true, ..Call::default() })
}

/// Bids the admin listener do what the path and the JSON say, which may take its time.
pub(super) fn bid(
    configuration: &ConfigurationArgs,
    args: &AdminArgs,
    path: &str,
    body: Option<&serde_json::Value>,
) -> Result<Answer, String> {
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let _progress = Progress::start("waiting for the relay", Counted::Nothing);
    let headers = user().map(|user| (header::HeaderName::from_static(USER), user)).into_iter().collect();
    admin_call(
        configuration,
        args,
        path,
        Call { method: Method::POST, headers, body, patient: true, ..Call::default() },
    )
}

/// Who uses the command line, for the audit log.
fn user() -> Option<HeaderValue> {
    let name = ["USER", "LOGNAME"].into_iter().find_map(settings::environment).filter(|name| !name.is_empty())?;
    HeaderValue::from_str(&name).ok()
}

/// As one part of a path.
pub(super) fn encoded(part: &str) -> String {
    utf8_percent_encode(part, PART).to_string()
}

fn admin_call(
    configuration: &ConfigurationArgs,
    args: &AdminArgs,
    path: &str,
    call: Call<'_>,
) -> Result<Answer, String> {
    const OR_SAY: &str = "or say where the relay is: --admin HOST:PORT";
    let (origin, faults) = match &args.admin {
        Some(address) if address.contains("://") => (address.trim_end_matches('/').to_owned(), None),
        Some(address) => (format!("http://{address}"), None),
        None => {
            let found = settings::admin_address(configuration);
            let (address, faults) = found.map_err(|report| format!("{report}\n{OR_SAY}"))?;
            (format!("http://{}", reachable(address)), faults)
        }
    };
    let url = parse(&format!("{origin}{path}"))?;
    let trust = Trust::read(args.trust.ca_for(&url), None)?;
    let answer = block_on(exchange(&url, Call { token: args.admin_token.as_deref(), trust, ..call }));
    match faults {
        None => answer,
        Some(report) => answer.map_err(|error| format!("{report}\nso {origin} was asked: {error}\n{OR_SAY}")),
    }
}

/// Shows an answer: a good one as it is or as a page, a refusal as its problem. The exit code.
pub(super) fn show(
    answer: Result<Answer, String>,
    as_json: bool,
    page: impl FnOnce(&serde_json::Value) -> String,
) -> u8 {
    let shown = answer.and_then(|answer| match (answer.is_success(), as_json) {
        (true, true) => Ok(String::from_utf8_lossy(&answer.body).trim_end().to_owned()),
        (true, false) => answer.json().map(|body| page(&body)),
        (false, _) => Err(answer.detail()),
    });
    match shown {
        Ok(text) => {
            output::line(&text);
            DONE
        }
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

/// An address that listens everywhere is reached at loopback.
pub(super) fn reachable(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// An absolute URL, or what would be one.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("`{}` is no URL ({error}); give it as https://host:port", without_user(text)))?;
    if matches!(url.scheme(), "http" | "https") && url.host().is_some() {
        Ok(url)
    } else {
        Err(format!("`{}` is no HTTP URL; give it as https://host:port", without_user(text)))
    }
}

/// A URL, or what would be one, as it may be shown: what stands before its last `@` may be a user and a password.
fn without_user(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    match rest.rsplit_once('@') {
        None => text.to_owned(),
        Some((_, host)) if scheme.is_empty() => format!("{MASK}@{host}"),
        Some((_, host)) => format!("{scheme}://{MASK}@{host}"),
    }
}

/// Runs one future to its end on a runtime of its own.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start: {error}"))?.block_on(future)
}

/// One request and its answer. Plain HTTP only to loopback. Without a CA to [trust](Trust) any certificate will do there, and
/// elsewhere one that the public roots vouch for.
pub(super) async fn exchange(url: &Url, call: Call<'_>) -> Result<Answer, String> {
    let deadline = if call.patient { PATIENT_DEADLINE } else { DEADLINE }.saturating_add(call.wait);
    let attempt = async {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        let stream =
            TcpStream::connect((host, port)).await.map_err(|error| format!("cannot reach {host}:{port}: {error}"))?;
        let loopback = stream.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
        match url.scheme() {
            "https" => converse(call.trust.handshake(stream, host, loopback).await?, url, call).await,
            _ if call.trust.is_shown() => {
                Err(format!("a certificate is shown over TLS alone: use https://{host}:{port}"))
            }
            _ if loopback => converse(stream, url, call).await,
            _ => Err(format!("plain HTTP is for this machine alone: use https://{host}:{port}")),
        }
    };
    let late = |_| format!("no answer from {} within {} s", url.host_str().unwrap_or_default(), deadline.as_secs());
    tokio::time::timeout(deadline, attempt).await.map_err(late)?
}

async fn converse<S>(stream: S, url: &Url, call: Call<'_>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let broken = |error: hyper::Error| output::chain(&error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = request(url, call)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        #[expect(clippy::disallowed_methods, reason = "the body is wrapped in Limited on the line above")]
        let body = body.collect().await.map_err(|error| format!("the answer broke off: {error}"))?;
        Ok(Answer { status, body: body.to_bytes(), retry_after })
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(broken)?;
            // Everything was read into hyper's buffers: what is left needs no connection.
            answer.await
        }
    }
}

fn request(url: &Url, call: Call<'_>) -> Result<Request<Full<Bytes>>, String> {
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let authority = url.port().map_or_else(
        || url.host_str().unwrap_or_default().to_owned(),
        |port| format!("{}:{port}", url.host_str().unwrap_or_default()),
    );
    let signature = signature(&call)?;
    let mut builder = Request::builder().method(call.method).uri(target).header(header::HOST, authority);
    let is_typed = call.headers.iter().any(|(name, _)| *name == header::CONTENT_TYPE);
    if builder.method_ref() == Some(&Method::POST) && !is_typed {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    if let Some(token) = call.token {
        builder = builder.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    for (name, value) in signature.into_iter().chain(call.headers) {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(call.body)).map_err(|error| format!("cannot ask that: {error}"))
}

/// What signs the body as it is sent, now.
fn signature(call: &Call<'_>) -> Result<Vec<(header::HeaderName, HeaderValue)>, String> {
    let Some(key) = call.key else { return Ok(Vec::new()) };
    let now_ms = Clock::system().unix_ms();
    let id = format!("msg_{}", ConversionId::new(now_ms, rand::random()));
    let signed = key.signed(&id, now_ms / 1000, &call.body);
    signed.map(Vec::from).ok_or_else(|| "the request cannot be signed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_is_shown_without_user_and_password() {
        let check = |text: &str, shown: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("`{shown}` is no ")), "{error}");
        };
        check("relay:8443:x", "relay:8443:x");
        check("https://relay:port", "https://relay:port");
        check("https://u:pass-word@relay:port/v1", "https://***@relay:port/v1");
        check("https://u:pass/word@relay:8443", "https://***@relay:8443");
        check("u:pass-word@relay", "***@relay");
        check("ftp://u:pass-word@relay/", "ftp://***@relay/");
        assert!(parse("https://u:pass-word@relay:8443").is_ok());
    }
}
