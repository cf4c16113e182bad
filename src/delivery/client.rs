//! The HTTP client of one destination: sends one request and says what became of it.
//!
//! HTTP/1.1 and HTTP/2 by ALPN over TLS 1.2 or 1.3, plain HTTP only to loopback. Connections are kept and bounded by
//! the destination's concurrency. It never follows a redirect, never keeps more of a body than [`BODY_BYTES_MAX`], and
//! never says *not sent* unless it knows: no connection was handed the request, or hyper gave it back unwritten. A
//! connection that breaks in between counts as sent.

mod connector;

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::judge::{Body, Failure, Transmission};
use crate::config::{CaFile, Limits};
use crate::mapping::{Answer, Request, Unmappable};
use connector::Connector;
pub use connector::SetupError;

/// How much of an answer's body is read: predicates look at a few fields, and a platform that sends megabytes must not
/// fill our memory.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How large an answer's head may be.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long an idle connection is kept: shorter than the minute after which most load balancers drop theirs without a
/// word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a busy HTTP/2 connection is asked whether it lives; a dead one would swallow request after request.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a ping may stay unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Who we are.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("capi-relay/", env!("CARGO_PKG_VERSION")));

/// The client of one destination: its own connections, its own TLS sessions, shared with nobody. Not `Clone`: its pool
/// owns it.
pub(super) struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
    background: Background,
    timeout: Duration,
}

impl Client {
    /// Trusts `ca_file` as well; connects to nobody.
    pub(super) fn new(limits: &Limits, ca_file: Option<&CaFile>) -> Result<Client, SetupError> {
        let connector = Connector::new(limits, ca_file)?;
        let background = Background::default();
        let inner = legacy::Client::builder(background.clone())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(limits.concurrency.get())
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(connector);
        Ok(Client { inner, background, timeout: limits.timeout })
    }

    /// Sends a request and reads its answer within the destination's total timeout, or until `stop`.
    pub(super) async fn send(&self, mut request: http::Request<Full<Bytes>>, stop: &CancellationToken) -> Transmission {
        let deadline = Instant::now().checked_add(self.timeout).unwrap_or_else(Instant::now);
        let connection = capture_connection(&mut request);
        let answered = interruptible(deadline, stop, self.inner.request(request)).await;
        let handed_over = connection.connection_metadata().is_some();
        match answered {
            Ok(Ok(response)) => read(response, deadline, stop).await,
            Ok(Err(error)) if error.is_connect() => Transmission::NotSent(connector::failure(&error)),
            Ok(Err(error)) if !handed_over || is_unprocessed(&error) => {
                Transmission::NotSent(failure("given back", &error))
            }
            Ok(Err(error)) => Transmission::Unanswered(failure("the connection broke", &error)),
            Err(interruption) if handed_over => Transmission::Unanswered(interruption.failure(self.timeout)),
            Err(interruption) => Transmission::NotSent(interruption.failure(self.timeout)),
        }
    }

    /// Ends all connections and waits until their tasks are gone.
    pub(super) async fn close(&self) {
        self.background.close().await;
    }
}

/// The rendered request as hyper sends it.
pub(super) fn assemble(request: Request) -> Result<http::Request<Full<Bytes>>, Unmappable> {
    let unmappable = |reason: &str| Unmappable { field: "url".to_owned(), reason: reason.to_owned() };
    let uri = Uri::try_from(request.url).map_err(|_invalid| unmappable("is not a valid URL"))?;
    if uri.scheme().is_none() || uri.host().is_none_or(str::is_empty) {
        return Err(unmappable("is not an absolute URL"));
    }
    let mut assembled = http::Request::new(Full::new(Bytes::from(request.body)));
    *assembled.method_mut() = request.method;
    *assembled.uri_mut() = uri;
    let headers = assembled.headers_mut();
    for (name, value) in request.headers.iter() {
        let mut value = value.clone();
        // Kept out of HTTP/2's header compression tables and of every `Debug` output.
        if name == header::AUTHORIZATION {
            value.set_sensitive(true);
        }
        headers.append(name, value);
    }
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    Ok(assembled)
}

/// Reads the body until its end, the limit, the deadline or a break.
async fn read(response: http::Response<Incoming>, deadline: Instant, stop: &CancellationToken) -> Transmission {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    let extent = loop {
        let frame = match interruptible(deadline, stop, body.frame()).await {
            Ok(None) => break Body::Whole,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) | Err(_) => break Body::Broken,
        };
        let Ok(data) = frame.into_data() else { continue };
        let room = BODY_BYTES_MAX.saturating_sub(bytes.len());
        bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
        if data.len() > room {
            break Body::Head;
        }
    };
    Transmission::Answered { answer: Answer::new(head.status, head.headers, bytes.freeze()), body: extent }
}

/// Why waiting ended early.
enum Interruption {
    Deadline,
    Stopped,
}

impl Interruption {
    fn failure(&self, timeout: Duration) -> Failure {
        match self {
            Interruption::Deadline => {
                Failure { text: format!("nothing within {} ms", timeout.as_millis()), timed_out: true }
            }
            Interruption::Stopped => Failure { text: "the relay stopped".to_owned(), timed_out: false },
        }
    }
}

async fn interruptible<T>(
    deadline: Instant,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, Interruption> {
    tokio::select! {
        biased;
        done = timeout_at(deadline, work) => done.map_err(|_elapsed| Interruption::Deadline),
        () = stop.cancelled() => Err(Interruption::Stopped),
    }
}

/// Whether the destination certainly did not process a request that was handed to a connection. Hyper calls it *canceled*
/// only when it gives it back unwritten (a kept connection turned out to be closed); an HTTP/2 peer says so of a stream
/// that it refuses, and of those beyond its GOAWAY (RFC 9113, 8.7 and 6.8), which are the only ones to get that error.
fn is_unprocessed(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let canceled = cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        canceled || cause.downcast_ref::<h2::Error>().is_some_and(is_refused)
    })
}

fn is_refused(error: &h2::Error) -> bool {
    let refused_stream = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || refused_stream)
}

fn failure(what: &str, error: &(dyn Error + 'static)) -> Failure {
    let timed_out =
        causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout));
    Failure { text: describe(what, error.source()), timed_out }
}

/// `what: cause: cause`, each said once.
fn describe(what: &str, error: Option<&(dyn Error + 'static)>) -> String {
    let mut text = what.to_owned();
    for cause in error.into_iter().flat_map(causes) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            // Writing to a String cannot fail.
            write!(text, ": {cause}").ok();
        }
    }
    text
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Runs the tasks of kept connections; none of them outlives [`Client::close`].
#[derive(Clone, Default)]
struct Background {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Background {
    async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Background {
    fn execute(&self, task: F) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        });
    }
}

#[cfg(test)]
mod tests;
