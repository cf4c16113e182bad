//! The admin listener: health, readiness, metrics, destinations, dead letters, any conversion's status.
//!
//! Plain HTTP/1, on loopback by default; beyond it the configuration demands a bearer token. `/healthz` and `/readyz` need
//! none, since probes have none and they tell nothing but yes or no and why. What changes something is a POST, which a web
//! page's script cannot make.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::delivery::Pools;
use crate::ingress::addresses::Addresses;
use crate::ingress::bearer::Tokens;
use crate::ingress::connection::{Api, Front, serve};
use crate::ingress::metrics::Connections;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::ingress::proxy::Proxies;
use crate::ingress::strict;
use crate::ingress::view::StatusView;
use crate::ingress::{Ingress, Phase};
use crate::queue::Queue;

mod body;
mod dead;
mod destinations;
mod forget;
mod openapi;
mod process;
mod reload;
mod treatment;

#[cfg(test)]
mod tests;

pub(crate) use openapi::document;
pub use reload::{Reloaded, Reloads, Wish};

use self::treatment::Remedy;

/// The admin API of one relay.
pub struct Admin {
    queue: Queue,
    pools: Pools,
    ingress: Arc<Ingress>,
    reloads: Reloads,
    registry: Registry,
}

impl Admin {
    /// Gathers the metrics of all parts; binds nothing.
    pub fn new(queue: Queue, pools: Pools, ingress: Arc<Ingress>, reloads: Reloads) -> Admin {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("capi_relay_build", "The version that runs", build);
        // The queue names its metrics without the prefix.
        queue.register_metrics(registry.sub_registry_with_prefix("capi_relay"));
        pools.register_metrics(&mut registry);
        ingress.register_metrics(&mut registry);
        reloads.register(&mut registry);
        registry.register_collector(Box::new(process::Process));
        Admin { queue, pools, ingress, reloads, registry }
    }

    /// Serves until `shutdown`; returns when every connection has ended.
    pub async fn run(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let front = Front {
            tls: None,
            connections_max: CONNECTIONS_MAX,
            addresses: Addresses::new(CONNECTIONS_MAX),
            proxies: Proxies::default(),
            first_request_timeout: FIRST_REQUEST_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            metrics: Connections::default(),
        };
        serve(self, listener, front, shutdown).await;
    }

    /// Without a token, the name that the request came by tells a person on this machine from a web page's script whose
    /// own name was pointed at loopback.
    fn authorize(&self, request: &Request<Incoming>) -> Result<(), Problem> {
        // Those of the configuration in force: a reload changes them.
        let config = self.ingress.config();
        match config.server.admin_token_sha256.as_slice() {
            [] if strict::names_loopback(request) => Ok(()),
            [] => {
                let detail = "without a token the admin listener answers to localhost or a loopback address only";
                Err(Problem::new(Kind::BadRequest, detail))
            }
            digests => {
                let tokens = Tokens::new(digests.iter().map(|digest| (*digest, ())));
                tokens.holder(request.headers()).copied()
            }
        }
    }

    /// Ready is: the public listener takes connections and the queue can keep its promise.
    async fn readyz(&self) -> Result<Reply, Problem> {
        let failed = tokio::select! {
            biased;
            reason = self.queue.failed() => Some(reason),
            () = std::future::ready(()) => None,
        };
        let unready = match (failed, self.ingress.phase()) {
            (Some(reason), _) => format!("the queue failed: {reason}"),
            (None, Phase::Starting) => "the relay is starting".to_owned(),
            (None, Phase::Draining) => "the relay is draining".to_owned(),
            (None, Phase::Serving) => return Ok(problem::json(StatusCode::OK, &Report { status: "ready" })),
        };
        Err(Problem::new(Kind::Unavailable, unready))
    }

    fn metrics(&self) -> Result<Reply, Problem> {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => Ok(problem::body(StatusCode::OK, OPENMETRICS, text.into_bytes())),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                Err(Problem::new(Kind::Internal, "the metrics cannot be written"))
            }
        }
    }
}

impl Api for Admin {
    async fn answer(&self, request: Request<Incoming>) -> Result<Reply, Problem> {
        let path = request.uri().path();
        let is_forget = path == FORGET;
        let one = |prefix| path.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty() && !rest.contains('/'));
        let (id, order, named) = (one("/admin/conversions/"), one("/admin/orders/"), one("/admin/destinations/"));
        let known = ["/healthz", "/readyz", "/metrics", OPENAPI, "/admin/destinations", "/admin/dead", RELOAD, FORGET];
        let remedy = Remedy::ALL.into_iter().find(|(known, _)| *known == path).map(|(_, remedy)| remedy);
        if id.or(order).or(named).is_none() && remedy.is_none() && !known.contains(&path) {
            return Err(Problem::not_found());
        }
        if path == RELOAD || is_forget || remedy.is_some() {
            if request.method() != Method::POST {
                return Err(Problem::method_not_allowed("POST"));
            }
            self.authorize(&request)?;
            strict::check_origin(&request)?;
            return match remedy {
                Some(remedy) => self.treat(remedy, request).await,
                None if is_forget => self.forget(request).await,
                None => self.reloads.wish().await,
            };
        }
        if !matches!(request.method(), &Method::GET | &Method::HEAD) {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        match path {
            "/healthz" => return Ok(problem::json(StatusCode::OK, &Report { status: "alive" })),
            "/readyz" => return self.readyz().await,
            _ => self.authorize(&request)?,
        }
        if let Some(order) = order {
            return self.ingress.orders(order).await;
        }
        if let Some(name) = named {
            return self.destination(name);
        }
        match (path, id) {
            (_, Some(id)) => Ok(problem::json(StatusCode::OK, &StatusView::new(&self.ingress.status(id).await?))),
            ("/metrics", _) => self.metrics(),
            (OPENAPI, _) => Ok(problem::json(StatusCode::OK, &document())),
            ("/admin/destinations", _) => Ok(self.destinations()),
            ("/admin/dead", _) => self.dead_letters(request.uri().query().unwrap_or_default()).await,
            _ => Err(Problem::not_found()),
        }
    }

    /// Not counted: the metric of refusals is of what merchants send.
    fn refused(&self, _kind: Kind) {}
}

/// What a probe is told.
#[derive(Serialize, JsonSchema)]
struct Report {
    status: &'static str,
}

const RELOAD: &str = "/admin/reload";
const OPENAPI: &str = "/openapi.json";
const FORGET: &str = "/admin/forget";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Probes, a scraper or two, a person: more is a mistake somewhere.
const CONNECTIONS_MAX: usize = 64;
/// Everyone who asks here is near.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a scraper's usual interval of a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Answers here take milliseconds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
