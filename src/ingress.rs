//! The public listener: TLS, authentication, limits, and the public API: conversions in, singly or in batches; their states
//! out, by id and by order.
//!
//! Promises: a `202` is sent only for what the queue has on stable storage; a request is authenticated before its body is
//! read; every refusal is an RFC 9457 problem with a stable `type` (`ingress/problem.rs` lists them); every wait, body and
//! count has a limit; `run` returns only when every connection has ended. It never logs a body, a token or personal data,
//! and never speaks to a destination. Plain HTTP is HTTP/1 only; over TLS, ALPN chooses between HTTP/2 and HTTP/1.1.
//!
//! A request passes `connection` (limits, drain), `strict` (hosts, framing), the routing below, `bearer`, `quota` (for a batch
//! once more, when it is counted), and then `fields`, `body`, `room`, `admission`, `batch`, `conversions` and `answers`.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};

use http::{Method, Request};
use hyper::body::Incoming;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Merchant};
use crate::conversion::ConversionId;
use crate::queue::{Clock, Queue, Status};
use crate::traces::Traces;

pub(crate) mod addresses;
mod admission;
pub(crate) mod answers;
pub(crate) mod batch;
pub(crate) mod bearer;
mod body;
mod clients;
pub(crate) mod connection;
mod conversions;
pub(crate) mod descriptors;
pub(crate) mod fields;
mod lingering;
pub(crate) mod metrics;
pub(crate) mod problem;
mod promises;
pub(crate) mod proxy;
mod quota;
pub(crate) mod reply;
mod room;
mod signed;
pub(crate) mod strict;
mod tls;
pub(crate) mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use tls::{Renewed, TlsError, unusable};

use addresses::Addresses;
use admission::Admission;
use answers::{Answers, Unread};
use body::DECOMPRESSED_AT_ONCE;
use clients::Clients;
use connection::{Api, Front, serve};
use conversions::WAITED_FOR_MAX;
use problem::{Kind, Problem, Reply};
use promises::Promises;
use proxy::Proxies;
use quota::{Bucket, Left};
use room::{Bodies, Share};
use tls::{Shown, Tls};

/// The public HTTP API of one relay.
pub struct Ingress {
    current: RwLock<Arc<Current>>,
    queue: Queue,
    clock: Clock,
    traces: Traces,
    tls: Option<Arc<Tls>>,
    admission: Admission,
    /// Of deliveries to destinations with a `max_pending`.
    promises: Promises,
    bodies: Bodies,
    answers: Answers,
    /// Turns at decompressing.
    decompressing: Arc<Semaphore>,
    /// Places for conversions whose outcomes are waited for.
    waited_for: Semaphore,
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
    clients: Clients,
}

/// A merchant as the listener knows it.
struct Client {
    merchant: Arc<Merchant>,
    bucket: Option<Arc<Bucket>>,
    /// Of the room for bodies.
    share: Share,
    /// Of the room for answers.
    unread: Unread,
    counters: metrics::Merchant,
}

impl Client {
    /// Takes one of the merchant's rate, if it has one: for a request, before anything of its body is read.
    fn take(&self) -> Result<Option<Left>, Problem> {
        self.bucket.as_ref().map(|bucket| bucket.take()).transpose()
    }

    /// Takes what a batch of so many needs beside the one that was taken for the request: `left` after that.
    fn take_rest(&self, count: usize, left: Option<Left>) -> Result<Option<Left>, Problem> {
        let more = u32::try_from(count.saturating_sub(1)).map_or(Some(NonZeroU32::MAX), NonZeroU32::new);
        match (&self.bucket, more) {
            (Some(bucket), Some(more)) => bucket.take_more(more).map(Some),
            (Some(_) | None, None) | (None, Some(_)) => Ok(left),
        }
    }
}

impl Ingress {
    /// Reads certificate and key (or makes a self-signed pair); binds nothing.
    pub fn new(config: Arc<Config>, queue: Queue, clock: Clock, traces: Traces) -> Result<Ingress, TlsError> {
        let tls = Tls::of(&config.server.transport)?;
        let requests = metrics::Requests::new();
        let phase = watch::Sender::new(Phase::Starting);
        let connections = metrics::Connections::default();
        let bodies = Bodies::new(BODIES_BYTES_MAX, config.server.body_bytes_max);
        let admission = Admission::new(config.server.requests_at_once_max, clock.clone());
        let current = RwLock::new(Arc::new(Current::new(config, None, &bodies, &requests)));
        let decompressing = Arc::new(Semaphore::new(DECOMPRESSED_AT_ONCE));
        let promises = Promises::default();
        Ok(Ingress {
            current,
            queue,
            clock,
            traces,
            tls,
            admission,
            promises,
            bodies,
            answers: Answers::new(),
            decompressing,
            waited_for: Semaphore::new(WAITED_FOR_MAX),
            requests,
            connections,
            phase,
        })
    }

    /// Goes over to another configuration: merchants, their rates and destinations. Requests in hand end under the one that
    /// they began with; a merchant whose rate is the same keeps its bucket. Of `[server]` the TLS alone is renewed: for
    /// connections that begin later.
    pub fn reload(&self, config: Arc<Config>, tls: Renewed) {
        if let Some(tls_in_force) = &self.tls {
            tls_in_force.go_over(tls);
        }
        let before = self.current();
        let after = Current::new(config, Some(&before), &self.bodies, &self.requests);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
    }

    /// The listener's TLS files, read anew; for [`Ingress::reload`].
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn renewed(&self, config: &Config) -> Result<Renewed, TlsError> {
        Renewed::read(&config.server.transport)
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
            connections_max: descriptors::connections_within(server.connections_max),
            addresses: Addresses::new(server.connections_per_address_max),
            proxies: Proxies {
                trusted: server.trusted_proxies.clone(),
                protocol: server.proxy_protocol,
                header: server.forwarded_header,
            },
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
        self.traces.register_metrics(registry);
        if let Some(tls) = &self.tls {
            tls.register(registry);
        }
    }

    /// The connections of another listener of this relay, of which panics alone are counted.
    pub(crate) fn other_connections(&self) -> metrics::Connections {
        self.connections.of_panics_alone()
    }

    /// What the listener is at.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whose request it is.
    fn sender<'c>(&self, current: &'c Current, request: &Request<&mut Incoming>) -> Result<&'c Arc<Client>, Problem> {
        let shown = request.extensions().get::<Arc<Shown>>();
        if let Some(tls) = &self.tls {
            tls.check(shown.map(Arc::as_ref))?;
        }
        let client = current.clients.sender(request.headers(), shown.map(|shown| shown.names()))?;
        // The signature of a POST is over its body, and is checked when that is there.
        if *request.method() != Method::POST {
            signed::check(&client.merchant.signing_secrets, request.headers(), b"", self.clock.unix_ms())?;
        }
        Ok(client)
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
    fn new(config: Arc<Config>, before: Option<&Current>, bodies: &Bodies, requests: &metrics::Requests) -> Current {
        let clients = config.merchants.iter().map(|merchant| {
            let before = before.and_then(|before| before.client(merchant));
            let kept = before.filter(|before| before.merchant.rate == merchant.rate);
            Arc::new(Client {
                merchant: Arc::clone(merchant),
                bucket: match kept {
                    Some(kept) => kept.bucket.clone(),
                    None => merchant.rate.map(Bucket::new).map(Arc::new),
                },
                share: before.map_or_else(|| bodies.share(), |before| before.share.clone()),
                unread: before.map_or_else(Answers::share, |before| before.unread.clone()),
                counters: requests.merchant(&merchant.name),
            })
        });
        let clients = Clients::new(clients.collect());
        for destination in &config.destinations {
            if let Some(budget) = destination.budget {
                requests.may_overflow(&destination.name, budget.overflow);
            }
        }
        Current { config, clients }
    }

    /// The merchant of the same name.
    fn client(&self, merchant: &Merchant) -> Option<&Arc<Client>> {
        self.clients.all().iter().find(|client| client.merchant.name == merchant.name)
    }
}

impl Api for Ingress {
    async fn answer(&self, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let unknown = || Problem::new(Kind::NotFound, format!("no such path: there are {PATHS}"));
        let resource = Resource::of(request.uri().path()).ok_or_else(unknown)?;
        let current = self.current();
        match (resource, request.method()) {
            (Resource::Conversions, &Method::POST) => {
                self.post(&current.config, self.sender(&current, &request)?, request).await
            }
            (Resource::Conversion(id), &Method::GET | &Method::HEAD) => {
                self.get(self.sender(&current, &request)?, id).await
            }
            (Resource::Order(id), &Method::GET | &Method::HEAD) => {
                self.order(self.sender(&current, &request)?, id).await
            }
            (Resource::Conversions, _) => Err(Problem::method_not_allowed("POST")),
            (Resource::Conversion(_) | Resource::Order(_), _) => Err(Problem::method_not_allowed("GET, HEAD")),
        }
    }

    fn refused(&self, kind: Kind) {
        self.requests.refused(kind);
    }
}

/// What a path names.
enum Resource<'a> {
    Conversions,
    Conversion(&'a str),
    /// Percent-encoded.
    Order(&'a str),
}

impl<'a> Resource<'a> {
    fn of(path: &'a str) -> Option<Resource<'a>> {
        let one = |prefix| path.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty() && !rest.contains('/'));
        match path {
            "/v1/conversions" => Some(Resource::Conversions),
            _ => one("/v1/conversions/").map(Resource::Conversion).or_else(|| one("/v1/orders/").map(Resource::Order)),
        }
    }
}

/// All that there is.
const PATHS: &str = "/v1/conversions, /v1/conversions/{id} and /v1/orders/{order_id}";
/// Bodies in memory at once, all connections together: forty thousand usual ones.
const BODIES_BYTES_MAX: usize = 32 << 20;
