//! The public listener: TLS, authentication, limits, `POST /v1/conversions` and `GET /v1/conversions/{id}`.
//!
//! Promises: a `202` is sent only for what the queue has on stable storage; a request is authenticated before its body is
//! read; every refusal is an RFC 9457 problem with a stable `type` (`ingress/problem.rs` lists them); every wait, body and
//! count has a limit; `run` returns only when every connection has ended. It never logs a body, a token or personal data,
//! and never speaks to a destination. Plain HTTP is HTTP/1 only; over TLS, ALPN chooses between HTTP/2 and HTTP/1.1.
//!
//! A request passes `connection` (limits, drain), `strict` (hosts, framing), the routing below, `bearer`, `quota`, and
//! then `conversions`.

use std::sync::{Arc, PoisonError, RwLock};

use http::{Method, Request};
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Merchant};
use crate::conversion::ConversionId;
use crate::queue::{Clock, Queue, Status};

pub(crate) mod bearer;
pub(crate) mod connection;
mod conversions;
mod lingering;
pub(crate) mod metrics;
pub(crate) mod problem;
mod quota;
pub(crate) mod strict;
mod tls;
pub(crate) mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use tls::TlsError;

use bearer::Tokens;
use connection::{Api, Front, serve};
use problem::{Kind, Problem, Reply};
use quota::Bucket;

/// The public HTTP API of one relay.
pub struct Ingress {
    current: RwLock<Arc<Current>>,
    queue: Queue,
    clock: Clock,
    tls: Option<TlsAcceptor>,
    /// Room for bodies that are being received, in bytes.
    bodies: Arc<Semaphore>,
    requests: metrics::Requests,
    connections: metrics::Connections,
    phase: watch::Sender<Phase>,
}

/// Whether the public listener takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `run` has not begun.
    Starting,
    /// New connections are taken.
    Serving,
    /// Only requests in hand are finished.
    Draining,
}

/// What a reload replaces; a request keeps the one that it began with.
struct Current {
    config: Arc<Config>,
    clients: Tokens<Arc<Client>>,
}

/// A merchant as the listener knows it.
struct Client {
    merchant: Arc<Merchant>,
    bucket: Option<Arc<Bucket>>,
    counters: metrics::Merchant,
}

impl Ingress {
    /// Reads certificate and key (or makes a self-signed pair); binds nothing.
    pub fn new(config: Arc<Config>, queue: Queue, clock: Clock) -> Result<Ingress, TlsError> {
        let tls = tls::acceptor(&config.server.transport)?;
        let requests = metrics::Requests::new();
        let phase = watch::Sender::new(Phase::Starting);
        let connections = metrics::Connections::default();
        let bodies = Arc::new(Semaphore::new(BODIES_BYTES_MAX.max(config.server.body_bytes_max)));
        let current = RwLock::new(Arc::new(Current::new(config, None, &requests)));
        Ok(Ingress { current, queue, clock, tls, bodies, requests, connections, phase })
    }

    /// Goes over to another configuration: merchants, their rates and destinations. Requests in hand end under the one that
    /// they began with; a merchant whose rate is the same keeps its bucket. `[server]` is read at start only.
    pub fn reload(&self, config: Arc<Config>) {
        let before = self.current();
        let after = Current::new(config, Some(&before), &self.requests);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
    }

    /// The configuration that is in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.current().config)
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves the public API until `shutdown`, then drains: no new connection, requests in hand finish, up to
    /// `server.drain_timeout`. Returns when every connection has ended.
    pub async fn run(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let config = self.config();
        let server = &config.server;
        let front = Front {
            tls: self.tls.clone(),
            connections_max: server.connections_max,
            first_request_timeout: server.request_timeout,
            idle_timeout: server.idle_timeout,
            drain_timeout: server.drain_timeout,
            metrics: self.connections.clone(),
        };
        self.phase.send_replace(Phase::Serving);
        let draining = async {
            shutdown.cancelled().await;
            self.phase.send_replace(Phase::Draining);
        };
        tokio::join!(serve(Arc::clone(&self), listener, front, shutdown.clone()), draining);
    }

    /// Registers the listener's metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.requests.register(registry);
        self.connections.register(registry);
    }

    /// What the listener is at.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The clock that the queue's times are read by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Any merchant's conversion, by the text of its id.
    pub(crate) async fn status(&self, id: &str) -> Result<Status, Problem> {
        let id = ConversionId::parse(id).ok_or_else(Problem::not_found)?;
        match self.queue.status(id).await {
            Ok(status) => status.ok_or_else(Problem::not_found),
            Err(error) => Err(problem::unreadable(&error)),
        }
    }
}

impl Current {
    fn new(config: Arc<Config>, before: Option<&Current>, requests: &metrics::Requests) -> Current {
        let clients = config.merchants.iter().flat_map(|merchant| {
            let kept = before.and_then(|before| before.bucket(merchant));
            let client = Arc::new(Client {
                merchant: Arc::clone(merchant),
                bucket: kept.or_else(|| merchant.rate.map(Bucket::new).map(Arc::new)),
                counters: requests.merchant(&merchant.name),
            });
            merchant.token_sha256.iter().map(move |digest| (*digest, Arc::clone(&client)))
        });
        let clients = Tokens::new(clients);
        Current { config, clients }
    }

    /// The bucket of a merchant whose rate is the same.
    fn bucket(&self, merchant: &Merchant) -> Option<Arc<Bucket>> {
        let same =
            |client: &&Arc<Client>| client.merchant.name == merchant.name && client.merchant.rate == merchant.rate;
        self.clients.holders().find(same).and_then(|client| client.bucket.clone())
    }
}

impl Api for Ingress {
    async fn answer(&self, request: Request<Incoming>) -> Result<Reply, Problem> {
        let path = request.uri().path();
        let id = path.strip_prefix("/v1/conversions/").filter(|id| !id.is_empty() && !id.contains('/'));
        match (path, id, request.method()) {
            ("/v1/conversions", _, &Method::POST) => {
                let current = self.current();
                let client = current.clients.holder(request.headers())?;
                self.post(&current.config, client, request).await
            }
            (_, Some(id), &Method::GET | &Method::HEAD) => {
                let current = self.current();
                self.get(current.clients.holder(request.headers())?, id).await
            }
            ("/v1/conversions", ..) => Err(Problem::method_not_allowed("POST")),
            (_, Some(_), _) => Err(Problem::method_not_allowed("GET, HEAD")),
            _ => Err(Problem::not_found()),
        }
    }

    fn refused(&self, kind: Kind) {
        self.requests.refused(kind);
    }
}

/// Bodies in memory at once, all connections together: forty thousand usual ones.
const BODIES_BYTES_MAX: usize = 32 << 20;
