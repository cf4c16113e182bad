//! The HTTP client of one destination: sends one request and says what became of it.
//!
//! HTTP/1.1 and HTTP/2 by ALPN over TLS 1.2 or 1.3, plain HTTP only to loopback, perhaps through a proxy's tunnel. Idle
//! connections are kept for seconds, busy ones for minutes, of each host as many as the concurrency. It never follows a redirect, never keeps more of a body than [`BODY_BYTES_MAX`], and
//! never says *not sent* unless it knows: no connection was handed the request, or hyper gave it back unwritten. A
//! connection that breaks in between counts as sent.

mod connector;
mod link;
mod route;
mod trust;

use std::error::Error;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
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
use tower_service::Service;

use super::judge::{Body, Failure, Transmission};
use super::online::Line;
use crate::config::{Connection, Limits};
use crate::mapping::{Answer, Request, Unmappable};
use crate::queue::Negotiated;
use connector::Connector;
use link::Wire;
use trust::Refused;

/// How much of an answer's body is read: predicates look at a few fields, and a platform that sends megabytes must not
/// fill our memory.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How large an answer's head may be.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long an idle connection is kept: shorter than the five seconds after which common servers (Node, Apache) close theirs,
/// so that the end of one does not cross a request, whose fate nobody would know then.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// How old connections may become: a busy one is never idle, and a name may lead elsewhere meanwhile.
const CONNECTIONS_AGE_MAX: Duration = Duration::from_secs(300);
/// How often a busy HTTP/2 connection is asked whether it lives; a dead one would swallow request after request.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a ping may stay unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Who we are.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("capi-relay/", env!("CARGO_PKG_VERSION")));

/// The client of one destination: its own connections, its own TLS sessions, shared with nobody. Not `Clone`: its pool
/// owns it.
pub(super) struct Client {
    connector: Connector,
    pooled: Mutex<Pooled>,
    background: Background,
    connections_max: usize,
    header_timeout: Duration,
    timeout: Duration,
    /// Whether there is a client certificate.
    shows_certificate: bool,
}

/// The connections that are kept, and since when.
struct Pooled {
    inner: legacy::Client<Connector, Full<Bytes>>,
    since: Instant,
}

/// What became of a request, and over what.
pub(super) struct Sent {
    pub(super) transmission: Transmission,
    /// Of the connection that it was handed to, if there was one.
    pub(super) negotiated: Option<Negotiated>,
}

impl Client {
    /// Connects to nobody.
    pub(super) fn new(limits: &Limits, connection: &Connection) -> Result<Client, rustls::Error> {
        let (connector, background) = (Connector::new(limits, connection)?, Background::default());
        let connections_max = limits.concurrency.get();
        let inner = pooled(&connector, &background, connections_max);
        Ok(Client {
            connector,
            pooled: Mutex::new(Pooled { inner, since: Instant::now() }),
            background,
            connections_max,
            header_timeout: limits.header_timeout,
            timeout: limits.timeout,
            shows_certificate: connection.client_certificate.is_some(),
        })
    }

    /// Sends a request and reads its answer within the destination's timeouts, or until `stop`. A kept connection that turns
    /// out to be closed before the first byte costs nothing: another one takes the request.
    pub(super) async fn send(&self, request: http::Request<Full<Bytes>>, stop: &CancellationToken) -> Sent {
        let begun = Instant::now();
        let later = |wait| begun.checked_add(wait).unwrap_or(begun);
        let deadlines = Deadlines { head: later(self.header_timeout), whole: later(self.timeout) };
        // As many as are kept can have closed.
        for _ in 0..self.connections_max {
            if let Ok(sent) = self.send_once(request.clone(), &deadlines, stop).await {
                return sent;
            }
        }
        self.send_once(request, &deadlines, stop).await.unwrap_or_else(|HungUp| Sent {
            transmission: Transmission::NotSent(Failure::of("given back: each connection had closed".to_owned())),
            negotiated: None,
        })
    }

    async fn send_once(
        &self,
        mut request: http::Request<Full<Bytes>>,
        deadlines: &Deadlines,
        stop: &CancellationToken,
    ) -> Result<Sent, HungUp> {
        let connection = capture_connection(&mut request);
        let answered = interruptible(deadlines.head, stop, self.inner().request(request)).await;
        let wire = connection.connection_metadata().as_ref().and_then(Wire::of);
        let transmission = match answered {
            Ok(Ok(response)) => {
                wire.iter().for_each(Wire::note_answer);
                read(response, deadlines.whole, stop).await
            }
            Ok(Err(error)) if error.is_connect() => {
                Transmission::NotSent(connector::failure(&error, self.shows_certificate))
            }
            Ok(Err(error)) => {
                let hung_up = wire.as_ref().is_some_and(Wire::was_hung_up) || is_canceled(&error);
                if hung_up && wire.as_ref().is_some_and(Wire::was_kept) {
                    return Err(HungUp);
                }
                if wire.is_none() || hung_up || is_unprocessed(&error) {
                    Transmission::NotSent(failure("given back", &error))
                } else if let Some(refused) = self.refused(&error) {
                    // TLS 1.3 tells of that only after the client has spoken; nobody has listened.
                    Transmission::NotSent(Failure::refused(describe(refused.words(), error.source())))
                } else {
                    Transmission::Unanswered(failure("the connection broke", &error))
                }
            }
            Err(interruption) if wire.is_some() => Transmission::Unanswered(interruption.failure(self.header_timeout)),
            Err(interruption) => Transmission::NotSent(interruption.failure(self.header_timeout)),
        };
        Ok(Sent { transmission, negotiated: wire.map(|wire| wire.negotiated) })
    }

    /// Connects to a host, sends nothing, and closes.
    pub(super) async fn reach(&self, uri: Uri) -> Result<Line, Failure> {
        let mut connector = self.connector.clone();
        let failed = |error: Box<dyn Error + Send + Sync>| connector::failure(&*error, self.shows_certificate);
        std::future::poll_fn(|context| connector.poll_ready(context)).await.map_err(failed)?;
        let link = connector.call(uri).await.map_err(failed)?;
        let peer = link.tcp().peer_addr().map_err(|error| Failure::of(format!("the connection is gone: {error}")))?;
        Ok(Line { peer, negotiated: link.negotiated(), valid_until: link.valid_until() })
    }

    /// Whether the peer refused what we showed of ourselves, for certain.
    fn refused(&self, error: &(dyn Error + 'static)) -> Option<Refused> {
        trust::refused(error, self.shows_certificate).filter(|refused| refused.is_certain())
    }

    /// The connections in use. Those that are too old are left to what goes over them, and end with that.
    fn inner(&self) -> legacy::Client<Connector, Full<Bytes>> {
        let now = Instant::now();
        let mut kept = self.pooled.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(kept.since) >= CONNECTIONS_AGE_MAX {
            *kept = Pooled { inner: pooled(&self.connector, &self.background, self.connections_max), since: now };
        }
        kept.inner.clone()
    }

    /// Ends all connections and waits until their tasks are gone.
    pub(super) async fn close(&self) {
        self.background.close().await;
    }
}

/// No connection yet, and room for so many.
fn pooled(
    connector: &Connector,
    background: &Background,
    connections_max: usize,
) -> legacy::Client<Connector, Full<Bytes>> {
    legacy::Client::builder(background.clone())
        .timer(TokioTimer::new())
        // Done here, where it is known of each request which connection it was handed to.
        .retry_canceled_requests(false)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(connections_max)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http2_max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .build(connector.clone())
}

/// Until when what must have come.
struct Deadlines {
    head: Instant,
    whole: Instant,
}

/// The peer had closed the connection before the first byte of the request.
struct HungUp;

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
            Interruption::Deadline => Failure::timed_out(format!("nothing within {} ms", timeout.as_millis())),
            Interruption::Stopped => Failure::of("the relay stopped".to_owned()),
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

/// Whether hyper gave the request back unwritten: a kept connection turned out to be closed.
fn is_canceled(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled))
}

/// Whether an HTTP/2 peer certainly did not process a request: it says so of a stream that it refuses, and of those beyond
/// its GOAWAY (RFC 9113, 8.7 and 6.8), which are the only ones to get that error.
fn is_unprocessed(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<h2::Error>().is_some_and(is_refused))
}

fn is_refused(error: &h2::Error) -> bool {
    let refused_stream = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || refused_stream)
}

fn failure(what: &str, error: &(dyn Error + 'static)) -> Failure {
    let timed_out =
        causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout));
    let text = describe(what, error.source());
    if timed_out { Failure::timed_out(text) } else { Failure::of(text) }
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
