//! A connection that requests are sent over.
//!
//! One of HTTP/1.1 is driven by whoever sends over it, in the same task: while it waits for its next request it costs nothing.
//! One of HTTP/2 is shared, and has a task of its own.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioTimer;
use tokio::time::{Instant, timeout};

use super::link::{Link, Wire};
use super::{Background, HEAD_BYTES_MAX};
use crate::queue::Protocol;

/// A connection, in the hands of one who sends over it.
pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2),
}

type Driver = http1::Connection<Link, Full<Bytes>>;

/// One that takes a request at a time.
pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Until it has ended.
    driver: Option<Box<Driver>>,
    wire: Wire,
    /// As the `host` field names the origin.
    host: HeaderValue,
    is_kept: bool,
    pub(super) since: Instant,
}

/// One that takes as many as its peer likes; its clones are the same one.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    wire: Wire,
    is_kept: bool,
    pub(super) since: Instant,
}

impl Connection {
    /// Begins to speak HTTP over a link, as was agreed on.
    pub(super) async fn begin(link: Link, uri: &Uri, background: &Background) -> hyper::Result<Connection> {
        let (wire, since) = (link.wire(), Instant::now());
        match wire.negotiated.protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::Builder::new()
                    .max_buf_size(HEAD_BYTES_MAX)
                    // What old platforms write, and everybody reads (RFC 9112, 5.1 and 5.2): nothing else comes over it meanwhile.
                    .allow_spaces_after_header_name_in_responses(true)
                    .allow_obsolete_multiline_headers_in_responses(true)
                    .handshake(link)
                    .await?;
                let driver = Some(Box::new(driver));
                Ok(Connection::Http1(Http1 { sender, driver, wire, host: host(uri), is_kept: false, since }))
            }
            Protocol::Http2 => {
                let (sender, driver) = http2::Builder::new(background.clone())
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_TIMEOUT)
                    .handshake(link)
                    .await?;
                // Whoever waits for an answer is told how it ended.
                background.execute(async { driver.await.unwrap_or_default() });
                Ok(Connection::Http2(Http2 { sender, wire, is_kept: false, since }))
            }
        }
    }

    pub(super) fn wire(&self) -> &Wire {
        match self {
            Connection::Http1(http1) => &http1.wire,
            Connection::Http2(http2) => &http2.wire,
        }
    }

    /// Whether a request was answered over it before.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Connection::Http1(http1) => http1.is_kept,
            Connection::Http2(http2) => http2.is_kept,
        }
    }

    /// Sends a request to an absolute URL; its answer's head.
    pub(super) async fn send(&mut self, request: &Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Connection::Http1(http1) => http1.send(request).await,
            Connection::Http2(http2) => http2.sender.send_request(request.clone()).await,
        }
    }

    /// The next piece of an answer's body; `None` at its end.
    pub(super) async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        match self {
            Connection::Http1(http1) => http1.drive(pin!(body.frame())).await,
            Connection::Http2(_) => body.frame().await,
        }
    }

    /// Once it was answered: the connection, if it takes another request. `is_whole`: the answer was read to its end.
    pub(super) async fn into_kept(self, is_whole: bool) -> Option<Connection> {
        match self {
            Connection::Http1(mut http1) if is_whole => {
                http1.is_kept = true;
                http1.is_ready().await.then_some(Connection::Http1(http1))
            }
            Connection::Http1(_) => None,
            Connection::Http2(http2) => Some(Connection::Http2(Http2 { is_kept: true, ..http2 })),
        }
    }
}

impl Http1 {
    async fn send(&mut self, request: &Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.wire.note_beginning(self.is_kept);
        let answer = pin!(self.sender.send_request(to_origin(request, &self.host)));
        self.drive(answer).await
    }

    /// Lets the connection work while it is waited for what that brings.
    async fn drive<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|context| {
            // It may tell the connection what there is to do.
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            self.poll_driver(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Whoever waits for what it was to bring is told how it ended.
    fn poll_driver(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(context).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether it takes another request, now that an answer was read to its end. What the peer says beyond that end is
    /// met here.
    async fn is_ready(&mut self) -> bool {
        poll_fn(|context| {
            self.poll_driver(context);
            Poll::Ready(())
        })
        .await;
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Takes leave of the peer.
    pub(super) async fn close(self) {
        drop(self.sender);
        if let Some(driver) = self.driver {
            // It ends as one that is dropped.
            timeout(CLOSE_TIMEOUT, driver).await.ok();
        }
    }
}

impl Http2 {
    /// Whether it takes another request, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Http2) -> bool {
        self.wire.is(&other.wire)
    }
}

/// The request as HTTP/1.1 has it: the path alone, and the host in a field.
fn to_origin(request: &Request<Full<Bytes>>, host: &HeaderValue) -> Request<Full<Bytes>> {
    let mut request = request.clone();
    request.headers_mut().entry(header::HOST).or_insert_with(|| host.clone());
    let path = request.uri().path_and_query().cloned().map(Uri::from);
    *request.uri_mut() = path.unwrap_or_default();
    request
}

/// RFC 9110, 7.2: host and port, but not the port that the scheme stands for.
pub(super) fn host(uri: &Uri) -> HeaderValue {
    let host = uri.host().unwrap_or_default();
    let usual = if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
    let value = match uri.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")),
        None => HeaderValue::from_str(host),
    };
    // What stands in a URL as a host is always a valid value.
    value.unwrap_or_else(|_invalid| HeaderValue::from_static(""))
}

/// How often a busy HTTP/2 connection is asked whether it lives; a dead one would swallow request after request.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a ping may stay unanswered.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long taking leave may take: a few bytes that fit in the kernel's buffer.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);
