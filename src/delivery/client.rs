//! The HTTP client of one destination: sends one request and says what became of it.
//!
//! HTTP/1.1 and HTTP/2 by ALPN over TLS 1.2 or 1.3, plain HTTP only to loopback, perhaps through a proxy's tunnel. It never
//! follows a redirect, never keeps more of a body than [`BODY_BYTES_MAX`], and never says *not sent* unless it knows: no
//! connection was handed the request, or hyper gave it back unwritten. A connection that breaks in between counts as sent.
//!
//! | file | owns |
//! | --- | --- |
//! | `route` | the way to a host: its addresses, or a proxy's tunnel |
//! | `trust` | whom TLS trusts, and what is shown of us |
//! | `connector` | both, within the connect timeout |
//! | `link` | an established connection: what it negotiated, whether a request's first byte left |
//! | `connection` | HTTP over it |
//! | `kept` | connections that wait for their next request |

mod connection;
mod connector;
mod kept;
mod link;
mod route;
mod trust;

use std::error::Error;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Uri, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::rt::Executor;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::judge::{Body, Failure, Transmission};
use super::online::Line;
use crate::config::{self, Limits};
use crate::mapping::{Answer, Request, Unmappable};
use crate::queue::Negotiated;
use connection::Connection;
use connector::Connector;
use kept::{Kept, Origin};
use link::Link;
use trust::Refused;

/// How much of an answer's body is read: predicates look at a few fields, and a platform that sends megabytes must not
/// fill our memory.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How large an answer's head may be.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Who we are.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("capi-relay/", env!("CARGO_PKG_VERSION")));

/// Answers that are not compressed.
const NO_CODING: HeaderValue = HeaderValue::from_static("identity");
/// The length of a body that is none.
const NO_BODY: HeaderValue = HeaderValue::from_static("0");

/// The client of one destination: its own connections, its own TLS sessions, shared with nobody. Not `Clone`: its pool
/// owns it.
pub(super) struct Client {
    connector: Connector,
    kept: Arc<Kept>,
    background: Background,
    connections_max: usize,
    header_timeout: Duration,
    timeout: Duration,
    /// Whether there is a client certificate.
    shows_certificate: bool,
}

/// What became of a request, and over what.
pub(super) struct Sent {
    pub(super) transmission: Transmission,
    /// Of the connection that it was handed to, if there was one.
    pub(super) negotiated: Option<Negotiated>,
}

impl Client {
    /// Connects to nobody.
    pub(super) fn new(limits: &Limits, connection: &config::Connection) -> Result<Client, rustls::Error> {
        let connections_max = limits.concurrency.get();
        Ok(Client {
            connector: Connector::new(limits, connection)?,
            kept: Arc::new(Kept::new(connections_max)),
            background: Background::default(),
            connections_max,
            header_timeout: limits.header_timeout,
            timeout: limits.timeout,
            shows_certificate: connection.client_certificate.is_some(),
        })
    }

    /// Sends a request and reads its answer within the destination's timeouts, or until `stop`. A kept connection that turns
    /// out to be closed before the first byte costs nothing: another one takes the request.
    pub(super) async fn send(&self, request: &http::Request<Full<Bytes>>, stop: &CancellationToken) -> Sent {
        let begun = Instant::now();
        let later = |wait| begun.checked_add(wait).unwrap_or(begun);
        let (head, whole) = (later(self.header_timeout), later(self.timeout));
        let alarm = pin!(sleep_until(head));
        let stopped = pin!(stop.cancelled());
        let mut patience = Patience { until: head, alarm, stop, stopped };
        let not_sent = |failure| Sent { transmission: Transmission::NotSent(failure), negotiated: None };
        let Some(origin) = Origin::of(request.uri()) else {
            return not_sent(Failure::of("the URL names no host".to_owned()));
        };
        if let Some(interruption) = patience.is_over() {
            return not_sent(interruption.failure(self.header_timeout));
        }
        // As many as are kept can have closed.
        let mut kept_left = self.connections_max;
        loop {
            let kept = if kept_left > 0 { self.kept.take(&origin, begun) } else { None };
            kept_left = kept_left.saturating_sub(1);
            let is_new = kept.is_none();
            let connection = match kept {
                Some(connection) => Ok(Ok(connection)),
                // Apart, for it is large and rare.
                None => patience.wait(Box::pin(self.connect(request.uri(), &origin)).as_mut()).await,
            };
            let connection = match connection {
                Ok(Ok(connection)) => connection,
                Ok(Err(failure)) => return not_sent(failure),
                Err(interruption) => return not_sent(interruption.failure(self.header_timeout)),
            };
            match self.send_over(connection, &origin, request, &mut patience, whole).await {
                Ok(sent) => return sent,
                Err(GivenBack(failure)) if is_new => return not_sent(failure),
                Err(GivenBack(_)) => {}
            }
        }
    }

    async fn send_over(
        &self,
        mut connection: Connection,
        origin: &Origin,
        request: &http::Request<Full<Bytes>>,
        patience: &mut Patience<'_, '_>,
        whole: Instant,
    ) -> Result<Sent, GivenBack> {
        // Written at once, it could not be taken back.
        if let Some(interruption) = patience.is_over() {
            return Err(GivenBack(interruption.failure(self.header_timeout)));
        }
        let negotiated = Some(connection.wire().negotiated);
        let has_body = !request.body().is_end_stream();
        let answer = patience.wait(pin!(connection.send(request))).await;
        let transmission = match answer {
            Ok(Ok(response)) => {
                patience.until = whole;
                let read = read(&mut connection, response, patience).await;
                let is_whole = matches!(read, Transmission::Answered { body: Body::Whole, .. });
                if let Some(connection) = connection.into_kept(is_whole).await {
                    self.kept.put(origin, connection, &self.background);
                }
                read
            }
            Ok(Err(error)) => {
                let given_back = connection.wire().is_unfit() || error.is_canceled();
                // Where an answer has come over it before, the handshake is over: what comes now is not of that.
                let refused = self.refused(&error).filter(|_| !connection.is_kept());
                if let Some(refused) = refused {
                    // TLS 1.3 tells of that only after the client has spoken; nobody has listened.
                    Transmission::NotSent(Failure::refused(describe(refused.words(), Some(&error))))
                } else if given_back {
                    return Err(GivenBack(failure("given back", &error)));
                } else if is_unprocessed(&error, has_body) {
                    Transmission::NotSent(failure("given back", &error))
                } else {
                    Transmission::Unanswered(failure("the connection broke", &error))
                }
            }
            Err(interruption) => {
                if let (Interruption::Deadline, Connection::Http2(http2)) = (&interruption, &connection) {
                    self.kept.forget(origin, http2);
                }
                Transmission::Unanswered(interruption.failure(self.header_timeout))
            }
        };
        Ok(Sent { transmission, negotiated })
    }

    /// A connection over which nothing was sent yet; or over HTTP/2 the one that all use.
    async fn connect(&self, uri: &Uri, origin: &Origin) -> Result<Connection, Failure> {
        let link = self.link(uri.clone()).await?;
        let begun = Connection::begin(link, uri, &self.background).await;
        match begun.map_err(|error| failure("no connection", &error))? {
            Connection::Http2(http2) => Ok(Connection::Http2(self.kept.share(origin, http2, &self.background))),
            http1 @ Connection::Http1(_) => Ok(http1),
        }
    }

    /// Connects to a host, sends nothing, and closes.
    pub(super) async fn reach(&self, uri: Uri) -> Result<Line, Failure> {
        let link = self.link(uri).await?;
        let peer = link.tcp().peer_addr().map_err(|error| Failure::of(format!("the connection is gone: {error}")))?;
        Ok(Line { peer, negotiated: link.negotiated(), valid_until: link.valid_until() })
    }

    async fn link(&self, uri: Uri) -> Result<Link, Failure> {
        let mut connector = self.connector.clone();
        let failed = |error: Box<dyn Error + Send + Sync>| connector::failure(&*error, self.shows_certificate);
        poll_fn(|context| connector.poll_ready(context)).await.map_err(failed)?;
        connector.call(uri).await.map_err(failed)
    }

    /// Whether the peer refused what we showed of ourselves, for certain.
    fn refused(&self, error: &(dyn Error + 'static)) -> Option<Refused> {
        trust::refused(error, self.shows_certificate).filter(|refused| refused.is_certain())
    }

    /// Ends all connections and waits until their tasks are gone.
    pub(super) async fn close(&self) {
        self.background.close().await;
        self.kept.close().await;
    }
}

/// No byte of a request was written, for this reason: it may go over another connection.
struct GivenBack(Failure);

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
    // Without a word any coding is welcome (RFC 9110, 12.5.3), and predicates read the body as it comes.
    headers.entry(header::ACCEPT_ENCODING).or_insert(NO_CODING);
    // Of these methods a body is expected, so that none is to be said (RFC 9110, 8.6); some servers answer 411 else.
    let wants_body = matches!(*assembled.method(), Method::POST | Method::PUT | Method::PATCH);
    if wants_body && assembled.body().is_end_stream() {
        assembled.headers_mut().entry(header::CONTENT_LENGTH).or_insert(NO_BODY);
    }
    Ok(assembled)
}

/// Reads the body until its end, the limit, the deadline or a break.
async fn read(
    connection: &mut Connection,
    response: http::Response<Incoming>,
    patience: &mut Patience<'_, '_>,
) -> Transmission {
    let (head, mut body) = response.into_parts();
    let mut bytes = BytesMut::new();
    let extent = loop {
        let frame = patience.wait(pin!(connection.frame(&mut body))).await;
        let frame = match frame {
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

/// How long an exchange may take: until a deadline, and until the relay stops.
struct Patience<'a, 'stop> {
    until: Instant,
    alarm: Pin<&'a mut Sleep>,
    stop: &'stop CancellationToken,
    stopped: Pin<&'a mut WaitForCancellationFuture<'stop>>,
}

impl Patience<'_, '_> {
    /// Why nothing more is to begin, if so.
    fn is_over(&self) -> Option<Interruption> {
        if self.stop.is_cancelled() {
            return Some(Interruption::Stopped);
        }
        (Instant::now() >= self.until).then_some(Interruption::Deadline)
    }

    /// Waits for what `work` comes to, as long as may be.
    async fn wait<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, Interruption> {
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            if self.alarm.deadline() != self.until {
                self.alarm.as_mut().reset(self.until);
            }
            // Also behind work that uses up what a task may do in a turn.
            if Pin::new(&mut unconstrained(self.alarm.as_mut())).poll(context).is_ready() {
                return Poll::Ready(Err(Interruption::Deadline));
            }
            self.stopped.as_mut().poll(context).map(|()| Err(Interruption::Stopped))
        })
        .await
    }
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

/// Whether an HTTP/2 peer certainly did not process a request. It says so of a stream that it refuses, and of those beyond
/// its GOAWAY (RFC 9113, 8.7 and 6.8). That error is also told of one whose head waits to be written, and is written: with
/// a body to come nobody processes it, without one it is whole.
fn is_unprocessed(error: &(dyn Error + 'static), has_body: bool) -> bool {
    let is_refused = |error: &h2::Error| {
        let refused_stream = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused_stream || (error.is_go_away() && has_body))
    };
    causes(error).any(|cause| cause.downcast_ref().is_some_and(is_refused))
}

fn failure(what: &str, error: &(dyn Error + 'static)) -> Failure {
    let timed_out =
        causes(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout));
    let text = describe(what, Some(error));
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

/// Runs what HTTP/2 and idle connections need; none of it outlives [`Client::close`].
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
