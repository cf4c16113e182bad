//! The admin listener: health, readiness, metrics, destinations, dead letters, any conversion's status; and the status page,
//! with what it listens to.
//!
//! Plain HTTP/1, on loopback by default; beyond it the configuration demands a bearer token. `/healthz` and `/readyz` need
//! none, since probes have none and they tell nothing but yes or no and why; nor do the files of the page, which hold no data.
//! What changes something is a POST, which no web page's script but our own can make: not one of another site, and not one
//! whose own name was pointed at loopback.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::delivery::Pools;
use crate::ingress::addresses::Addresses;
use crate::ingress::answers::{Answers, Unread};
use crate::ingress::bearer::Tokens;
use crate::ingress::connection::{Api, Front, serve};
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::ingress::proxy::Proxies;
use crate::ingress::strict;
use crate::ingress::view::StatusView;
use crate::ingress::{Ingress, Phase};
use crate::queue::Queue;

mod audit;
mod body;
mod concerns;
mod dead;
mod destinations;
mod events;
mod forget;
mod of_order;
mod openapi;
mod orders;
mod overview;
mod page;
mod pauses;
mod picture;
mod plan;
mod process;
mod reconcile;
mod reload;
mod route;
mod treatment;

#[cfg(test)]
mod tests;

pub(crate) use openapi::document;
pub(crate) use orders::USER;
pub use pauses::{Pauses, PausesError};
pub use reload::{Reloaded, Reloads, Wish};

use self::audit::Audit;
use self::events::Events;
use self::route::{Bid, Look, Route};
use self::treatment::Remedy;

/// The admin API of one relay.
pub struct Admin {
    queue: Queue,
    pools: Pools,
    ingress: Arc<Ingress>,
    reloads: Reloads,
    pauses: Pauses,
    audit: Audit,
    registry: Arc<Registry>,
    /// One at a time: each may go through 20,000 letters.
    plans: Mutex<()>,
    events: Events,
    answers: Answers,
    /// Of all who ask here.
    unread: Unread,
    started_ms: u64,
}

impl Admin {
    /// Gathers the metrics of all parts; binds nothing.
    pub fn new(queue: Queue, pools: Pools, ingress: Arc<Ingress>, reloads: Reloads, pauses: Pauses) -> Admin {
        let audit = reloads.audit().clone();
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("capi_relay_build", "The version that runs", build);
        // The queue names its metrics without the prefix.
        queue.register_metrics(registry.sub_registry_with_prefix("capi_relay"));
        pools.register_metrics(&mut registry);
        ingress.register_metrics(&mut registry);
        reloads.register(&mut registry);
        registry.register_collector(Box::new(process::Process));
        let (events, started_ms) = (Events::default(), ingress.clock().unix_ms());
        Admin {
            queue,
            pools,
            ingress,
            reloads,
            pauses,
            audit,
            registry: Arc::new(registry),
            plans: Mutex::new(()),
            events,
            answers: Answers::new(),
            unread: Answers::share(),
            started_ms,
        }
    }

    /// Serves until `shutdown`; returns when every connection has ended.
    pub async fn run(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        tokio::join!(serve(Arc::clone(&self), listener, self.front(), shutdown.clone()), self.tell(shutdown));
    }

    /// The limits of the admin listener.
    fn front(&self) -> Front {
        Front {
            tls: None,
            connections_max: CONNECTIONS_MAX,
            addresses: Addresses::new(CONNECTIONS_PER_ADDRESS_MAX),
            proxies: Proxies::default(),
            first_request_timeout: FIRST_REQUEST_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            metrics: self.ingress.other_connections(),
        }
    }

    /// By which token, if tokens are asked for. Without one, the name that the request came by tells a person on this machine from a web page's script whose
    /// own name was pointed at loopback.
    fn authorize(&self, request: &Request<&mut Incoming>) -> Result<Holder, Problem> {
        // Those of the configuration in force: a reload changes them.
        let config = self.ingress.config();
        match config.server.admin_token_sha256.as_slice() {
            [] if strict::names_loopback(request) => Ok(None),
            [] => {
                let detail = "without a token the admin listener answers to localhost or a loopback address only";
                Err(Problem::new(Kind::BadRequest, detail))
            }
            digests => {
                let tokens = Tokens::new(digests.iter().map(|token| (token.digest, token.digest)));
                tokens.holder(request.headers()).copied().map(Some)
            }
        }
    }

    /// Why nothing is stored any more.
    async fn failed(&self) -> Option<String> {
        tokio::select! {
            biased;
            reason = self.queue.failed() => Some(reason),
            () = std::future::ready(()) => None,
        }
    }

    /// Ready is: the public listener takes connections and the queue can keep its promise.
    async fn readyz(&self) -> Result<Reply, Problem> {
        let unready = match (self.failed().await, self.ingress.phase()) {
            (Some(reason), _) => format!("the queue failed: {reason}"),
            (None, Phase::Starting) => "the relay is starting".to_owned(),
            (None, Phase::Draining) => "the relay is draining".to_owned(),
            (None, Phase::Serving) => return Ok(problem::json(StatusCode::OK, &Report { status: "ready" })),
        };
        Err(Problem::new(Kind::Unavailable, unready))
    }

    /// Reads files of the kernel's, and goes through every destination: not on a thread that serves.
    async fn metrics(&self) -> Result<Reply, Problem> {
        let registry = Arc::clone(&self.registry);
        let encoded = spawn_blocking(move || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).map(|()| text)
        });
        match encoded.await.unwrap_or(Err(std::fmt::Error)) {
            Ok(text) => Ok(problem::body(StatusCode::OK, OPENMETRICS, text.into_bytes())),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                Err(Problem::new(Kind::Internal, "the metrics cannot be written"))
            }
        }
    }
}

impl Admin {
    async fn look(&self, look: Look<'_>, query: &str) -> Result<Reply, Problem> {
        match look {
            Look::Health => Ok(problem::json(StatusCode::OK, &Report { status: "alive" })),
            Look::Ready => self.readyz().await,
            Look::Metrics => self.metrics().await,
            Look::Document => Ok(problem::json(StatusCode::OK, &document())),
            Look::Destinations => Ok(self.destinations()),
            Look::Destination(name) => self.destination(name),
            Look::DeadLetters => self.dead_letters(query).await,
            Look::DeadLetter { destination, id } => self.dead_letter(destination, id).await,
            Look::Conversion(id) => {
                Ok(problem::json(StatusCode::OK, &StatusView::new(&self.ingress.status(id).await?, self.now_ms())))
            }
            Look::Order(order) => self.order(order, query).await,
            Look::Audit => self.audit_page(query).await,
            Look::Reconcile => self.reconcile(query).await,
        }
    }

    async fn bid(&self, bid: Bid<'_>, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        match bid {
            Bid::Pause(name) => self.pause(name, request).await,
            Bid::Resume(name) => self.resume(name, request).await,
            Bid::Probe(name) => self.probe(name, request).await,
            Bid::Replay => self.treat(Remedy::Replay, request).await,
            Bid::Discard => self.treat(Remedy::Discard, request).await,
            Bid::Forget => self.forget(request).await,
            Bid::Reload => self.reload(request).await,
        }
    }
}

impl Admin {
    async fn answered(&self, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        if let Some(answer) = self.shown(&request).await {
            return answer;
        }
        // Its own: the request goes on to who reads its body.
        let path = request.uri().path().to_owned();
        let route = Route::of(&path).ok_or_else(Problem::not_found)?;
        route.check(request.method()).map_err(Problem::method_not_allowed)?;
        match route {
            // Asked by what holds no token.
            Route::Look(look @ (Look::Health | Look::Ready)) => self.look(look, "").await,
            Route::Look(look) => {
                self.authorize(&request)?;
                self.look(look, request.uri().query().unwrap_or_default()).await
            }
            Route::Bid(bid) => {
                self.authorize(&request)?;
                strict::check_origin(&request)?;
                self.bid(bid, request).await
            }
        }
    }
}

impl Api for Admin {
    async fn answer(&self, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let changes = *request.method() == Method::POST;
        let reply = self.answered(request).await?;
        if changes {
            return Ok(self.answers.hold_what_is_left(&self.unread, reply));
        }
        self.answers.hold(&self.unread, reply)
    }

    /// Not counted: the metric of refusals is of what merchants send.
    fn refused(&self, _kind: Kind) {}
}

/// The digest of the token that somebody showed; `None`: none is asked for.
type Holder = Option<[u8; 32]>;

/// What a probe is told.
#[derive(Serialize, JsonSchema)]
struct Report {
    status: &'static str,
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Probes, a scraper or two, a person: more is a mistake somewhere.
const CONNECTIONS_MAX: usize = 64;
/// Of one address, a quarter: no other machine keeps all others out. What asks from this machine is not limited.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 16;
/// Everyone who asks here is near.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a scraper's usual interval of a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Answers here take milliseconds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
