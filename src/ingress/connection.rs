//! Serving connections: accept within limits, speak TLS and HTTP, bound every wait, drain.
//!
//! Promises: never more than `connections_max` connections, nor more of one address than it may have; a connection that sends no whole request in time, or nothing
//! more, is closed; after `shutdown` nothing new is taken, requests in hand are finished up to the drain timeout, and
//! [`serve`] returns when every task has ended. A panic ends one request, is counted, and nothing else.
//! It knows no path and no conversion: what to answer is the [`Api`]'s.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, Request, Version};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

pub(super) use activity::InHand;
use activity::{Activity, Rest};
use streams::Streams;

use super::addresses::{Addresses, Held};
use super::lingering::{self, Lingering};
use super::metrics::{Connections, Ending};
use super::problem::{Kind, Problem, Reply};
use super::proxy::{self, Proxies};
use super::reply::Content;
use super::strict;
use super::tls::{Shown, Tls};

mod activity;
mod streams;

/// What a listener answers.
pub(crate) trait Api: Send + Sync + 'static {
    /// The answer to a request whose head is sound.
    fn answer(&self, request: Request<&mut Incoming>) -> impl Future<Output = Result<Reply, Problem>> + Send;
    /// Told of every refusal, the ones that never reached `answer` among them.
    fn refused(&self, kind: Kind);
}

/// Who is on the other side of a request's connection: a client, or a proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The limits and the transport of a listener.
pub(crate) struct Front {
    /// `None`: plain HTTP/1.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) connections_max: usize,
    /// What one address holds at once.
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) proxies: Proxies,
    /// From accept to the first whole request head, handshake included.
    pub(crate) first_request_timeout: Duration,
    /// Without a request in hand.
    pub(crate) idle_timeout: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) metrics: Connections,
}

/// Serves until `shutdown`, then drains; returns when every connection has ended.
pub(crate) async fn serve<A: Api>(api: Arc<A>, listener: TcpListener, front: Front, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(front.connections_max.min(Semaphore::MAX_PERMITS)));
    let front = Arc::new(front);
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer, place) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = connections.join_next() => {
                front.ended(ended);
                continue;
            }
            arrived = next_connection(&listener, &places) => arrived,
        };
        let connection = Arc::new(Connection {
            api: Arc::clone(&api),
            front: Arc::clone(&front),
            activity: Activity::new(),
            shutdown: shutdown.child_token(),
            peer,
            shown: OnceLock::new(),
        });
        front.metrics.open.inc();
        connections.spawn(async move {
            let ending = connection.admit(stream).await;
            drop(place);
            ending
        });
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        front.ended(ended);
    }
}

/// Waits for a place first: what finds none stays in the kernel's backlog.
async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a place.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip(), place),
            Err(error) if is_of_one_connection(&error) => tracing::debug!(%error, "a connection ended before it began"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

impl Front {
    fn ended(&self, ended: Result<Ending, JoinError>) {
        self.metrics.open.dec();
        match ended {
            Ok(ending) => self.metrics.count(ending),
            Err(error) => {
                self.metrics.panics.inc();
                tracing::error!(%error, "a connection's task panicked");
            }
        }
    }
}

struct Connection<A> {
    api: Arc<A>,
    front: Arc<Front>,
    activity: Activity,
    /// The listener's, or of this connection alone.
    shutdown: CancellationToken,
    /// Who is on the other side: a client, or a proxy.
    peer: IpAddr,
    /// The client's certificate, if it showed one.
    shown: OnceLock<Arc<Shown>>,
}

impl<A: Api> Connection<A> {
    /// Lets the connection run, unless its client's address holds as many as it may.
    async fn admit(self: &Arc<Self>, mut stream: TcpStream) -> Ending {
        let client = match self.client(&mut stream).await {
            Ok(client) => client,
            Err(ending) => return ending,
        };
        let _held = match client.map(|client| self.front.addresses.enter(client)) {
            Some(None) => return Ending::AddressLimit,
            Some(Some(held)) => Some(held),
            None => None,
        };
        self.run(stream).await
    }

    /// The one client that the connection is from; `None`: it is a proxy's own, or carries the requests of many.
    async fn client(&self, stream: &mut TcpStream) -> Result<Option<IpAddr>, Ending> {
        let Proxies { protocol, .. } = self.front.proxies;
        match (protocol, self.front.proxies.trusts(self.peer)) {
            (false, false) => Ok(Some(self.peer)),
            (false, true) => Ok(None),
            (true, false) => {
                tracing::debug!("a connection did not come from a trusted proxy");
                Err(Ending::UntrustedProxy)
            }
            (true, true) => {
                let header = timeout(PROXY_HEADER_TIMEOUT.min(self.front.first_request_timeout), proxy::header(stream));
                match self.shutdown.run_until_cancelled(header).await {
                    None => Err(Ending::Closed),
                    Some(Ok(Ok(client))) => Ok(client),
                    Some(Ok(Err(_)) | Err(_)) => {
                        tracing::debug!("a trusted proxy's connection did not begin with a PROXY header");
                        Err(Ending::BadProxyHeader)
                    }
                }
            }
        }
    }

    /// Counts a request for each client that a trusted proxy names.
    fn enter(&self, request: &Request<&mut Incoming>) -> Result<Vec<Held>, Problem> {
        let Front { proxies, addresses, .. } = &*self.front;
        if proxies.protocol || !proxies.trusts(self.peer) {
            return Ok(Vec::new());
        }
        let clients = proxies.forwarded(request.headers()).map_err(|proxy::Malformed| {
            Problem::new(Kind::BadRequest, "a quoted string of Forwarded does not end on its line")
        })?;
        let held = clients.into_iter().map(|client| addresses.enter(client));
        let full = || Problem::new(Kind::AddressLimit, "this address has as many requests in hand as it may");
        held.collect::<Option<_>>().ok_or_else(|| full().retry_after(ADDRESS_RETRY_AFTER))
    }

    async fn run(self: &Arc<Self>, stream: TcpStream) -> Ending {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let Some(tls) = &self.front.tls else { return self.http1(stream).await };
        let handshake = timeout(HANDSHAKE_TIMEOUT.min(self.front.first_request_timeout), self.handshake(tls, stream));
        let stream = match self.shutdown.run_until_cancelled(handshake).await {
            None => return Ending::Closed,
            Some(Err(_elapsed)) => return Ending::HandshakeTimeout,
            Some(Ok(Err(ending))) => return ending,
            Some(Ok(Ok(stream))) => stream,
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if is_http2 { self.http2(stream).await } else { self.http1(stream).await }
    }

    /// Agrees on TLS; who speaks plain HTTP is told so.
    async fn handshake(&self, tls: &Tls, stream: TcpStream) -> Result<TlsStream<TcpStream>, Ending> {
        let mut first = [0];
        if stream.peek(&mut first).await.is_ok() && first.iter().all(u8::is_ascii_uppercase) {
            say_tls_is_spoken(stream).await;
            return Err(Ending::PlainHttp);
        }
        let (stream, shown) = tls.accept(stream).await.map_err(|error| {
            tracing::debug!(%error, "TLS handshake failed");
            Ending::HandshakeFailed
        })?;
        if let Some(shown) = shown {
            self.shown.get_or_init(|| Arc::new(shown));
        }
        Ok(stream)
    }

    async fn http1(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Ending {
        let stream = Lingering::new(stream, Arc::clone(&self.activity.unread));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper counts it from the end of the previous answer, so it cannot be shorter than the idle time.
            .header_read_timeout(self.front.idle_timeout.max(self.front.first_request_timeout))
            // Who has sent its request may close its half; the answer still comes.
            .half_close(true)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service_fn(|request| self.exchange(request)));
        self.drive(connection).await
    }

    async fn http2(self: &Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Ending {
        let streams = Streams::new();
        let _ends_with_this = streams.ends();
        let this = Arc::clone(self);
        let service = service_fn(move |request| {
            let this = Arc::clone(&this);
            async move { this.exchange(request).await }
        });
        let connection = http2::Builder::new(streams.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .max_local_error_reset_streams(ERROR_RESETS_MAX)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let ending = self.drive(connection).await;
        streams.end().await;
        ending
    }

    /// Lets the connection run, and ends it when it is idle or the relay drains.
    async fn drive<C>(&self, connection: C) -> Ending
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let mut connection = pin!(connection);
        let limit = || self.activity.rest(self.front.first_request_timeout, self.front.idle_timeout);
        // Set by the first look, which knows how much of the time the handshake has taken.
        let mut timer = pin!(sleep(Duration::ZERO));
        let mut closing = None;
        // Of one that is let go: not to be put off by what it still asks for.
        let mut last = pin!(sleep(Duration::ZERO));
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    return closing.filter(|closing| *closing != Ending::DrainTimeout).unwrap_or_else(|| ending(result));
                }
                () = self.activity.taken_back_too_many(), if matches!(closing, None | Some(Ending::Idle)) => {
                    tracing::debug!("a peer takes back too many of its requests");
                    closing = Some(Ending::TakenBack);
                    connection.as_mut().graceful_shutdown();
                    timer.set(sleep(CLOSE_TIMEOUT));
                    last.set(sleep(self.front.drain_timeout));
                }
                () = last.as_mut(), if closing == Some(Ending::TakenBack) => return Ending::TakenBack,
                () = self.shutdown.cancelled(), if closing != Some(Ending::DrainTimeout) => {
                    closing = Some(Ending::DrainTimeout);
                    connection.as_mut().graceful_shutdown();
                    timer.set(sleep(self.front.drain_timeout));
                }
                () = timer.as_mut() => match (closing, limit()) {
                    // It came before the peer knew of the end: it has its own deadlines.
                    (Some(Ending::Idle | Ending::TakenBack), Rest::For(_)) if self.activity.in_hand() => {
                        timer.set(sleep(CLOSE_TIMEOUT));
                    }
                    (Some(ending), _) => return ending,
                    // Looked at often enough that the shorter limit holds while the longer one is waited for.
                    (None, Rest::For(time)) => timer.set(sleep(time.min(self.front.idle_timeout))),
                    (None, Rest::Over(Ending::Idle)) => {
                        closing = Some(Ending::Idle);
                        connection.as_mut().graceful_shutdown();
                        timer.set(sleep(CLOSE_TIMEOUT));
                    }
                    (None, Rest::Over(ending)) => return ending,
                },
            }
        }
    }

    /// One request and its answer.
    async fn exchange(&self, request: Request<Incoming>) -> Result<Reply, Infallible> {
        let mut in_hand = self.activity.begin();
        let (head, mut body) = request.into_parts();
        let (is_head, is_http2) = (head.method == Method::HEAD, head.version == Version::HTTP_2);
        let (has_body, is_awaited) = (!body.is_end_stream(), head.headers.contains_key(header::EXPECT));
        let mut request = Request::from_parts(head, &mut body);
        if let Some(shown) = self.shown.get() {
            request.extensions_mut().insert(Arc::clone(shown));
        }
        request.extensions_mut().insert(Peer(self.peer));
        let sound = strict::check(&request);
        // Where a head is not as it should be, somebody in front may see the next request begin elsewhere than we do.
        let ends = sound.is_err() && !is_http2;
        let mut held = Vec::new();
        let outcome = {
            let answer = pin!(async {
                sound?;
                held = self.enter(&request)?;
                self.api.answer(request).await
            });
            self.caught(answer).await
        };
        let is_broken_off = is_http2 && outcome.as_ref().is_err_and(Problem::is_of_a_broken_off_body);
        let refusal = outcome.as_ref().err().map(Problem::kind).filter(|_| has_body);
        self.activity.unread.store(refusal.is_some(), Ordering::Relaxed);
        let mut reply = outcome.unwrap_or_else(|problem| {
            tracing::debug!(reason = problem.kind().name(), "request refused");
            self.api.refused(problem.kind());
            if problem.ends_connection() {
                self.shutdown.cancel();
            }
            problem.into_reply()
        });
        // Who waits for a word to begin has not begun.
        if is_http2 && !is_awaited && refusal.is_some_and(waits_for_the_body) {
            self.shutdown.run_until_cancelled(lingering::discard(&mut body)).await;
        }
        drop(held);
        // Who waits for a word to begin is not told to.
        let is_read = body.is_end_stream();
        let goes_on = is_http2 || refusal.is_none() || is_read || !is_awaited && lingering::is_there(&mut body).await;
        if ends || !goes_on {
            reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if is_head {
            strip(&mut reply);
        }
        // To whom is gone in the middle of its body nothing was answered.
        if !is_broken_off {
            in_hand.answered();
        }
        reply.body_mut().keep(in_hand);
        Ok(reply)
    }

    /// Nothing in here panics; if something does all the same, the process and the other requests live on.
    async fn caught(
        &self,
        mut answer: Pin<&mut impl Future<Output = Result<Reply, Problem>>>,
    ) -> Result<Reply, Problem> {
        let poll = |context: &mut std::task::Context<'_>| {
            let poll = AssertUnwindSafe(|| answer.as_mut().poll(context));
            catch_unwind(poll).unwrap_or_else(|_panic| {
                self.front.metrics.panics.inc();
                tracing::error!("a request panicked");
                Poll::Ready(Err(Problem::new(Kind::Internal, "the request could not be handled")))
            })
        };
        std::future::poll_fn(poll).await
    }
}

/// Whether it arrives is the client's affair; what it sends meanwhile is read, or its end would be a reset.
async fn say_tls_is_spoken(mut stream: TcpStream) {
    if stream.write_all(SPEAKS_TLS).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut sent = stream.take(PLAIN_BYTES_MAX);
        timeout(CLOSE_TIMEOUT, tokio::io::copy(&mut sent, &mut tokio::io::sink())).await.ok();
    }
}

/// Of one that came too late, or of which there are too many, no more is waited for.
fn waits_for_the_body(refusal: Kind) -> bool {
    !matches!(refusal, Kind::RequestTimeout | Kind::AddressLimit | Kind::Internal)
}

/// HEAD: the head of the answer to GET, its length included.
fn strip(reply: &mut Reply) {
    if let Some(bytes) = reply.body().size_hint().exact() {
        reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    *reply.body_mut() = Content::default();
}

fn ending(result: Result<(), hyper::Error>) -> Ending {
    match result {
        Ok(()) => Ending::Closed,
        Err(error) if error.is_timeout() => Ending::Idle,
        Err(error) if error.is_parse() => {
            tracing::debug!(%error, "a connection spoke no HTTP");
            Ending::BadProtocol
        }
        Err(error) => {
            tracing::debug!(%error, "a connection broke off");
            Ending::BrokenOff
        }
    }
}

/// A handshake begins with the byte 0x16, and a request with its method. Nothing of the request is read.
const SPEAKS_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 134\r\n\
connection: close\r\n\r\n\
{\"type\":\"urn:capi-relay:problem:bad-request\",\"title\":\"The request is malformed\",\"status\":400,\"detail\":\"TLS is spoken here: use https\"}";
/// Of what came in plain where TLS is spoken: a request that was meant for somebody else is read no further.
const PLAIN_BYTES_MAX: u64 = 64 * 1024;
/// Long enough for a slow line, short enough that silent peers hold few places.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A proxy sends it with the first packet.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// What is in hand is answered within moments.
const ADDRESS_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Out of descriptors: none comes back sooner for being asked for.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a peer may take to read the last bytes of a connection that is closed for idleness.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Clients send about fifteen.
const HEADERS_MAX: usize = 64;
/// Request line and headers together.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The same for HTTP/2, where names and values are counted with 32 bytes each (RFC 9113 §6.5.2).
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// What RFC 9113 begins with. Whole heads fit into one: a head may take as many CONTINUATION frames as its list fills, but
/// five (h2's floor), and a sixth ends the connection.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Asked for and taken back before we looked: such streams count for none of `STREAMS_MAX`, and an attack is made of them
/// (CVE-2023-44487). A client that gives up a burst of requests has fewer in one read.
const PENDING_RESETS_MAX: usize = 20;
/// Streams that we reset for a peer's faults, over the life of a connection: a client that is right has none.
const ERROR_RESETS_MAX: usize = 64;
/// A conversion is 1 to 2 KiB: one window holds it whole, and a connection's unread bodies stay within 1 MiB.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Requests at once on one connection: as many as share a group commit.
const STREAMS_MAX: u32 = 128;
/// Answers are short.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// A dead peer is found within the half minute in which load balancers give up.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
