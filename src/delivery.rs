//! Delivery: takes what is due from the queue and brings it to the destinations.
//!
//! One bounded worker pool per destination (`pool`); nothing is shared between two destinations but the queue, so one that
//! hangs, refuses or is slow costs the others nothing. A delivery is rendered anew for every attempt, from the stored
//! conversion and the configuration (`attempt`), sent by the destination's own HTTP client (`client`), and what came back
//! is judged by one pure function (`judge`). Where it takes an access token, that is kept and renewed here (`token`), and a
//! request whose token is refused goes once again (`exchange`). What a platform accepts and decides later is asked about (`confirm`). Whether anything may be sent is decided by `gate` (breaker, suspension,
//! requested waits), `credentials` (those of single operations; `refusal`: what becomes of what met a refused one), `limiter` (rate) and `concurrency`, all without a clock of
//! their own.
//!
//! Promises: no more than `limits.rate` and `limits.concurrency` (a request that goes again with a new access token is paid
//! for out of the rate before the next one; a probe goes beside attempts that hang); no attempt while a destination asked to
//! wait, is suspended, or its breaker is open, but single probes, and what a person orders; every end of an attempt is recorded in the queue; a panic ends one delivery, which
//! returns to the queue; every task has ended when [`Pools::run`] returns.
//!
//! Never: calls a request *not sent* whose answer may only be lost; follows a redirect; keeps, shows or logs a credential
//! or a control character of an answer.

mod attempt;
mod backoff;
mod board;
mod client;
mod concurrency;
mod confirm;
mod credentials;
mod detail;
mod exchange;
mod excerpt;
mod gate;
mod judge;
mod limiter;
mod metrics;
mod online;
mod pool;
mod probe;
mod pulse;
mod recent;
mod refusal;
mod run;
mod token;
mod wait;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Destination, Judge};
use crate::conversion::DestinationName;
use crate::mapping::Answer;
use crate::queue::{Clock, Depths, Hold, Queue, Verdict};
use crate::traces::Traces;
pub use detail::{Breaker, BreakerCause, BreakerState, PoolDetail, RefusedCredential};
use judge::{Body, Transmission};
use metrics::Metrics;
pub use online::{Line, Reached, online};
use pool::{Pool, Shared};
pub use probe::{NoProbe, PROBE_TIMEOUT, Probed};
pub use pulse::{BEAT, Beat, Pulsed};
pub use recent::{Latency, Rates, Trouble};

/// Handle to the pools: runs them, shows them, pauses and resumes them. Cheap to clone.
#[derive(Clone)]
pub struct Pools(Arc<Inner>);

struct Inner {
    /// In configuration order.
    pools: RwLock<Vec<Arc<Pool>>>,
    /// A reload left other pools than are running.
    changed: Notify,
    queue: Queue,
    clock: Clock,
    traces: Traces,
    metrics: Metrics,
    drain: Duration,
    /// What is in hand after the shutdown is not waited for any more.
    haste: CancellationToken,
    /// What a person paused, also while it is not configured.
    paused: Mutex<BTreeMap<DestinationName, Pause>>,
    /// Configurations that were in force, newest first.
    former: Mutex<VecDeque<Former>>,
}

/// A destination that a person stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Why, in words.
    pub reason: String,
    /// Since when (Unix ms).
    pub since_ms: u64,
}

/// A destination as it was configured.
struct Former {
    destination: Arc<Destination>,
    /// When it came into force (Unix ms).
    since_ms: u64,
}

/// What is shown of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolState {
    /// Which.
    pub destination: DestinationName,
    /// Whether it is sent to.
    pub state: Activity,
    /// Since when, Unix time; `None`: nobody knows.
    pub since_ms: Option<u64>,
    /// Why it is not active.
    pub reason: Option<String>,
    /// Attempts that may be in flight now.
    pub concurrency: usize,
    /// Attempts in flight.
    pub in_flight: usize,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// Whether a destination is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activity {
    /// Yes.
    Active,
    /// A person stopped it.
    Paused,
    /// It refused our credential, or one that single operations have of their own: their work waits, or all of it; one probe
    /// each minute.
    Suspended,
    /// It failed too often in a row; one probe after each pause.
    Open,
    /// It has too many dead letters: the queue hands out nothing more, until a person has treated them.
    Stopped,
}

impl Activity {
    /// Every state.
    pub const ALL: [Activity; 5] =
        [Activity::Active, Activity::Paused, Activity::Suspended, Activity::Open, Activity::Stopped];

    /// As the admin API and the metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Activity::Active => "active",
            Activity::Paused => "paused",
            Activity::Suspended => "suspended",
            Activity::Open => "open",
            Activity::Stopped => "stopped",
        }
    }
}

/// A destination's HTTP client cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("destination {destination}: no HTTP client")]
pub struct ClientError {
    /// Whose.
    pub destination: DestinationName,
    /// Why.
    pub source: rustls::Error,
}

/// What an answer that came back whole means to an operation. Pure.
pub fn verdict(judge: &Judge, answer: Answer) -> Verdict {
    judge::judge(judge, &Transmission::Answered { answer, body: Body::Whole }).into()
}

impl Pools {
    /// Builds a pool per destination; connects to nobody.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(config: &Arc<Config>, queue: Queue, clock: Clock, traces: Traces) -> Result<Pools, ClientError> {
        let inner = Inner {
            pools: RwLock::default(),
            changed: Notify::new(),
            queue,
            clock,
            traces,
            metrics: Metrics::default(),
            drain: config.server.drain_timeout,
            haste: CancellationToken::new(),
            paused: Mutex::default(),
            former: Mutex::default(),
        };
        let pools =
            config.destinations.iter().map(|destination| inner.build(destination, None)).collect::<Result<_, _>>()?;
        inner.replace(pools);
        let pools = Pools(Arc::new(inner));
        pools.all().iter().for_each(|pool| pool.show());
        Ok(pools)
    }

    /// Goes over to another configuration. A destination that is the same in both goes on as it was, with its limiter and
    /// its breaker. One that changed begins anew at once, its attempts in hand end as they began, and what a person paused
    /// stays paused; a rate that is the same goes on (an operation's own too), and so does a wait that the platform asked
    /// for, while it is the same platform. The work of one that is gone is held.
    ///
    /// # Errors
    /// When the TLS library cannot be set up; nothing has changed then.
    pub fn reload(&self, config: &Arc<Config>) -> Result<(), ClientError> {
        // Held to the end, so that what a person orders meanwhile is ordered of the new pools.
        let mut pools = self.0.pools.write().unwrap_or_else(PoisonError::into_inner);
        let mut after = Vec::with_capacity(config.destinations.len());
        for destination in &config.destinations {
            let old = pools.iter().find(|pool| pool.destination.name == destination.name);
            let same = old.filter(|pool| pool.destination.fingerprint == destination.fingerprint);
            after.push(match same {
                Some(pool) => Arc::clone(pool),
                None => self.0.build(destination, old)?,
            });
        }
        for old in pools.iter() {
            if after.iter().any(|pool| Arc::ptr_eq(pool, old)) {
                continue;
            }
            old.retire();
            self.0.remember(old);
            let name = &old.destination.name;
            if !after.iter().any(|pool| pool.destination.name == *name) {
                self.0.queue.hold(name, Some(Hold::removed(self.0.clock.unix_ms())));
                self.0.metrics.forget(name);
            }
        }
        after.iter().for_each(|pool| pool.show());
        *pools = after;
        drop(pools);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Delivers until `shutdown`, then finishes attempts in hand (up to `server.drain_timeout`, or until there is
    /// [haste](Pools::hurry)), ends the others and returns.
    pub async fn run(&self, shutdown: CancellationToken) {
        let end = run::End { shutdown: shutdown.clone(), haste: self.0.haste.clone(), drain: self.0.drain };
        let mut loops = JoinSet::new();
        let mut running: HashMap<task::Id, Arc<Pool>> = HashMap::new();
        loop {
            let idle = |pool: &Arc<Pool>| !running.values().any(|known| Arc::ptr_eq(known, pool));
            let due: Vec<_> = self.all().into_iter().filter(|pool| !shutdown.is_cancelled() && idle(pool)).collect();
            for pool in due {
                let id = loops.spawn(Arc::clone(&pool).run(end.clone())).id();
                running.insert(id, pool);
            }
            let ended = tokio::select! {
                Some(ended) = loops.join_next_with_id() => ended,
                () = self.0.changed.notified() => continue,
                () = shutdown.cancelled(), if loops.is_empty() => break,
            };
            let id = ended.as_ref().map_or_else(task::JoinError::id, |(id, ())| *id);
            // A fault of the loop itself must not stop a destination for good: it begins anew.
            if let (Some(pool), Err(_)) = (running.remove(&id), &ended) {
                tracing::error!(destination = %pool.destination.name, "delivery pool panicked and is started again");
                pool.instruments.panics.inc();
            }
        }
    }

    /// After a shutdown: attempts in hand are cut off now, and recorded as those are that outlast the drain.
    pub fn hurry(&self) {
        self.0.haste.cancel();
    }

    /// Waits until there is [haste](Pools::hurry).
    pub(crate) async fn hurried(&self) {
        self.0.haste.cancelled().await;
    }

    /// What is shown of every destination, in configuration order.
    pub fn states(&self) -> Vec<PoolState> {
        self.0.states()
    }

    /// Every destination from near, in configuration order; what waits is as the caller has seen it.
    pub fn details(&self, depths: &Depths) -> Vec<PoolDetail> {
        self.all().iter().map(|pool| pool.detail(depths)).collect()
    }

    /// One of them. `None`: there is no such destination.
    pub fn detail(&self, destination: &str) -> Option<PoolDetail> {
        Some(self.pool(destination)?.detail(&self.0.queue.depths()))
    }

    /// Stops sending to a destination: its work stays queued, attempts in flight end. That stands until it is resumed, also
    /// while the destination is not configured; of one that is paused already the reason is another then, and since when is not. `None`: there is no
    /// such destination.
    pub fn pause(&self, destination: &str, reason: String) -> Option<PoolState> {
        self.pause_as(destination, Pause { reason, since_ms: self.0.clock.unix_ms() })
    }

    /// The same, since a point that the caller knows.
    pub fn pause_as(&self, destination: &str, pause: Pause) -> Option<PoolState> {
        let name = self.pool(destination)?.destination.name.clone();
        let pause = {
            let mut paused = self.0.paused();
            let since_ms = paused.get(&name).map_or(pause.since_ms, |before| before.since_ms);
            let pause = Pause { since_ms, ..pause };
            paused.insert(name, pause.clone());
            pause
        };
        // Looked up behind that: a reload under way has read what is paused before, or is waited for here.
        let pool = self.pool(destination)?;
        pool.pause(&pause);
        Some(state(&pool, &self.0.queue.depths()))
    }

    /// What a person paused, configured or not.
    pub fn paused(&self) -> BTreeMap<DestinationName, Pause> {
        self.0.paused().clone()
    }

    /// What was paused before the process began is paused again.
    pub fn restore(&self, paused: BTreeMap<DestinationName, Pause>) {
        for pool in self.all() {
            if let Some(pause) = paused.get(&pool.destination.name) {
                pool.pause(pause);
            }
        }
        self.0.paused().extend(paused);
    }

    /// How a destination was configured at this point (Unix ms), as far as this process knows.
    pub fn configured_at(&self, destination: &DestinationName, at_ms: u64) -> Option<Arc<Destination>> {
        let is_it = |known: &Destination, since_ms: u64| known.name == *destination && since_ms <= at_ms;
        let pool = self.all().into_iter().find(|pool| is_it(&pool.destination, pool.since_ms));
        let former = self.0.former.lock().unwrap_or_else(PoisonError::into_inner);
        let former = former.iter().find(|former| is_it(&former.destination, former.since_ms));
        match pool {
            Some(pool) => Some(Arc::clone(&pool.destination)),
            None => former.map(|former| Arc::clone(&former.destination)),
        }
    }

    /// Sends again; a suspended or open destination is probed at once. `None`: there is no such destination.
    pub fn resume(&self, destination: &str) -> Option<PoolState> {
        let name = self.pool(destination)?.destination.name.clone();
        self.0.paused().remove(&name);
        // As with a pause.
        let pool = self.pool(destination)?;
        pool.board.resume();
        pool.show();
        Some(state(&pool, &self.0.queue.depths()))
    }

    /// Drops the last errors of every destination: what a platform answered may repeat what was to be forgotten.
    pub fn forget_errors(&self) {
        self.all().iter().for_each(|pool| pool.board.forget_errors());
    }

    /// Registers `capi_relay_deliveries_total`, `…_attempt_seconds`, `…_delivery_seconds`, `…_destination_state`, `…_oldest_pending_give_up_ratio`,
    /// `…_concurrency`, `…_in_flight`, `…_limiter_wait_seconds_total` and `…_delivery_panics_total`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.metrics.register(registry, Arc::downgrade(&self.0));
    }

    /// In configuration order.
    fn all(&self) -> Vec<Arc<Pool>> {
        self.0.all()
    }

    fn pool(&self, destination: &str) -> Option<Arc<Pool>> {
        self.all().into_iter().find(|pool| pool.destination.name.as_str() == destination)
    }
}

impl Inner {
    fn all(&self) -> Vec<Arc<Pool>> {
        self.pools.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn states(&self) -> Vec<PoolState> {
        let depths = self.queue.depths();
        self.all().iter().map(|pool| state(pool, &depths)).collect()
    }

    /// How much of the time after which it is given up the oldest that waits for each destination has used up, as far as is known
    /// without looking: what was replayed counts from its receipt here, and not from its replay.
    fn given_up_shares(&self) -> Vec<(DestinationName, f64)> {
        let (depths, now_ms) = (self.queue.depths(), self.clock.unix_ms());
        let share = |pool: &Arc<Pool>| {
            let Destination { name, retry, .. } = &*pool.destination;
            let oldest_ms = depths.destinations.get(name).and_then(|depth| depth.oldest_pending_ms);
            let age = Duration::from_millis(oldest_ms.map_or(0, |oldest_ms| now_ms.saturating_sub(oldest_ms)));
            (name.clone(), age.div_duration_f64(retry.give_up_after.max(Duration::from_millis(1))))
        };
        self.all().iter().map(share).collect()
    }

    fn build(&self, destination: &Arc<Destination>, before: Option<&Arc<Pool>>) -> Result<Arc<Pool>, ClientError> {
        let name = &destination.name;
        let shared = Shared { queue: self.queue.clone(), clock: self.clock.clone(), traces: self.traces.clone() };
        let pool = Pool::new(destination, before.map(Arc::as_ref), shared, self.metrics.of(name));
        let pool = pool.map_err(|source| ClientError { destination: name.clone(), source })?;
        if let Some(Pause { reason, since_ms }) = self.paused().get(name) {
            pool.board.pause(reason.clone(), *since_ms);
        }
        Ok(Arc::new(pool))
    }

    /// How it was configured, for whoever asks what was sent then.
    fn remember(&self, pool: &Pool) {
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        former.push_front(Former { destination: Arc::clone(&pool.destination), since_ms: pool.since_ms });
        former.truncate(FORMER_MAX);
    }

    fn paused(&self) -> MutexGuard<'_, BTreeMap<DestinationName, Pause>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, pools: Vec<Arc<Pool>>) {
        *self.pools.write().unwrap_or_else(PoisonError::into_inner) = pools;
    }
}

/// What the pool says of itself; or the queue, which hands out nothing any more for one with too many dead letters. What a
/// person ordered is shown before that.
fn state(pool: &Pool, depths: &Depths) -> PoolState {
    let mark = pool.board.mark();
    let name = &pool.destination.name;
    let stopped = depths.destinations.get(name).and_then(|depth| depth.stopped.clone());
    let (activity, since_ms, reason) = match (mark.activity, stopped) {
        (Activity::Active | Activity::Open, Some(why)) => (Activity::Stopped, None, Some(why)),
        (own, _) => (own, Some(mark.since_ms), mark.reason),
    };
    PoolState {
        destination: name.clone(),
        state: activity,
        since_ms,
        reason,
        concurrency: usize::try_from(pool.instruments.concurrency.get()).unwrap_or_default(),
        in_flight: usize::try_from(pool.instruments.in_flight.get()).unwrap_or_default(),
        last_error: pool.board.last_error(),
    }
}

/// Former configurations of destinations: a day's work on a mapping. One is some 100 KiB.
const FORMER_MAX: usize = 32;
