//! `POST /admin/reload`, and what is shown of reloads.
//!
//! The admin API does not read files: it passes the wish on to who does, and answers with what came of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Admin;
use super::audit::{Action, Change};
use super::orders::Made;
use crate::config::Succession;
use crate::conversion::DestinationName;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::queue::Clock;

/// Where the answer to a wish for a reload goes: what came into force, or the report of why nothing did.
pub type Wish = oneshot::Sender<Result<Reloaded, String>>;

/// A configuration that came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Counted from 1, that of the start.
    pub version: u64,
    /// What it changed.
    pub destinations: Succession,
}

/// Wishes for reloads on their way, and a record of what came of all of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reloads {
    wishes: mpsc::Sender<Wish>,
    version: Gauge,
    total: Family<[(&'static str, &'static str); 1], Counter>,
    last: Arc<Mutex<Option<LastReload>>>,
    clock: Clock,
}

/// What came of the last reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastReload {
    /// When it ended (Unix ms).
    pub(super) at_ms: u64,
    /// The report of why it was refused, if it was.
    pub(super) refusal: Option<String>,
}

impl Reloads {
    /// Version 1 is in force; the other end receives what is wished.
    pub fn new(clock: Clock) -> (Reloads, mpsc::Receiver<Wish>) {
        let (wishes, received) = mpsc::channel(WISHES_MAX);
        let total = Family::<[(&'static str, &'static str); 1], Counter>::default();
        // From zero on: what first appears as one has not grown, for who watches it.
        for result in ["reloaded", "refused"] {
            drop(total.get_or_create(&[("result", result)]));
        }
        let reloads = Reloads { wishes, version: Gauge::default(), total, last: Arc::default(), clock };
        reloads.version.set(1);
        (reloads, received)
    }

    /// Records what came of a reload, whoever wished it.
    pub fn record(&self, outcome: &Result<Reloaded, String>) {
        let result = match outcome {
            Ok(reloaded) => {
                self.version.set(i64::try_from(reloaded.version).unwrap_or(i64::MAX));
                "reloaded"
            }
            Err(_) => "refused",
        };
        self.total.get_or_create(&[("result", result)]).inc();
        let last = LastReload { at_ms: self.clock.unix_ms(), refusal: outcome.as_ref().err().cloned() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// What came of the last one since the start.
    pub(super) fn last(&self) -> Option<LastReload> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of the configuration in force.
    pub(super) fn version(&self) -> u64 {
        u64::try_from(self.version.get()).unwrap_or_default()
    }

    /// `capi_relay_config_version` and `capi_relay_config_reloads_total`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("capi_relay");
        let help = "Counts up with each configuration that came into force";
        registry.register("config_version", help, self.version.clone());
        registry.register("config_reloads", "Reloads by what came of them", self.total.clone());
    }

    /// Wishes for a reload and waits for what comes of it.
    async fn wish(&self) -> Result<Reply, Problem> {
        let nobody = || Problem::new(Kind::Unavailable, "nobody reloads here just now").retry_after(RETRY_AFTER);
        let (wish, outcome) = oneshot::channel();
        self.wishes.try_send(wish).map_err(|_full_or_closed| nobody())?;
        match timeout(RELOAD_TIMEOUT, outcome).await {
            Ok(Ok(Ok(reloaded))) => Ok(problem::json(StatusCode::OK, &ReloadedView::new(&reloaded))),
            Ok(Ok(Err(report))) => Err(Problem::new(Kind::ConfigurationRefused, report)),
            Ok(Err(_)) | Err(_) => Err(nobody()),
        }
    }
}

impl Admin {
    pub(super) async fn reload(&self, request: &Request<Incoming>) -> Result<Reply, Problem> {
        let change = Change { by: self.by(request), action: Action::Reload, which: None, reason: None };
        self.audited(change, async { self.reloads.wish().await.map(Made::from) }).await
    }
}

/// A configuration that came into force, and the destinations that it changed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Reloaded")]
pub(super) struct ReloadedView<'a> {
    status: &'static str,
    /// Counted from 1, that of the start.
    version: u64,
    changed: Vec<&'a str>,
    added: Vec<&'a str>,
    removed: Vec<&'a str>,
}

impl<'a> ReloadedView<'a> {
    fn new(reloaded: &'a Reloaded) -> ReloadedView<'a> {
        fn names(names: &[DestinationName]) -> Vec<&str> {
            names.iter().map(DestinationName::as_str).collect()
        }
        let Succession { added, removed, changed, unchanged: _ } = &reloaded.destinations;
        let (changed, added, removed) = (names(changed), names(added), names(removed));
        ReloadedView { status: "reloaded", version: reloaded.version, changed, added, removed }
    }
}

/// More at once is a mistake: one reload reads what all of them mean.
const WISHES_MAX: usize = 8;
/// Reading and checking takes milliseconds; a hundred goldens no second.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(1);
