//! The work: conversions of 1.3 KB, five destinations, callers in flight, workers that settle.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use capi_relay::conversion::{Conversion, ConversionId, DestinationName, Meta};
use capi_relay::queue::{Accepted, Attempt, Claim, Clock, Initial, Outcome, Queue, Settings, Submission, Verdict};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;

use super::Failed;
use super::machine::now;

/// The destinations, one of each preset.
pub(crate) const FIVE: [&str; 5] = ["thrad", "impact", "scaleo", "trackdesk", "dsp"];

/// As `routes.toml` has it where it says nothing, but for the budgets: here the disk is the limit.
pub(crate) fn settings(folder: &Path) -> Result<Settings, Failed> {
    Ok(Settings {
        path: folder.to_owned(),
        allow_volatile: false,
        pending_bytes_max: u64::MAX,
        free_bytes_min: 1 << 30,
        dead_letters_max: u64::MAX,
        dedup_window: Duration::from_secs(72 * 3600),
        history_keep: Duration::from_secs(72 * 3600),
        encryption: None,
        destinations: names(&FIVE)?,
    })
}

pub(crate) fn names(names: &[&str]) -> Result<Vec<DestinationName>, Failed> {
    names.iter().map(|name| DestinationName::parse(name).ok_or_else(|| format!("no name: {name}").into())).collect()
}

/// An order that no other is like, owed to all of these.
pub(crate) fn submission(owed: &[DestinationName]) -> Result<Submission, Failed> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let body = ORDER.replace("01JZ8Q4M9T", &format!("{number:010}")).replace("2026-104417", &format!("{number:011}"));
    let conversion = Conversion::parse(body.as_bytes(), "generated").map_err(|refusal| format!("{refusal:?}"))?;
    let conversion = Arc::new(conversion);
    let id = ConversionId::new(Clock::system().unix_ms(), rand::random());
    let meta = Meta::new(id, "acme".into(), None, &conversion);
    let plan = owed.iter().map(|name| (name.clone(), Initial::Owed)).collect();
    Ok(Submission { meta, conversion, body: Bytes::from(body), plan, claim: Claim::default() })
}

/// Has it accepted.
pub(crate) async fn accept(queue: Queue, submission: Submission) -> Result<(), Failed> {
    match queue.accept(submission).await? {
        Accepted::New(_) => Ok(()),
        other @ (Accepted::Duplicate(_) | Accepted::KeyReused { .. }) => Err(format!("not new: {other:?}").into()),
    }
}

/// What one round took.
pub(crate) struct Round {
    pub(crate) seconds: f64,
    /// Of each, in seconds, shortest first.
    pub(crate) latencies: Vec<f64>,
}

/// So many callers, each with one item after the other, until there are none left.
pub(crate) async fn in_flight<T, F>(
    callers: u32,
    items: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
    act: impl Fn(T) -> F + Clone + Send + 'static,
) -> Result<Round, Failed>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Failed>> + Send,
{
    let items = Arc::new(Mutex::new(items.into_iter()));
    let mut tasks = JoinSet::new();
    let begun = now();
    for _ in 0..callers {
        let (items, act) = (Arc::clone(&items), act.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let Some(item) = items.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                    return Ok::<_, Failed>(latencies);
                };
                let asked = now();
                act(item).await?;
                latencies.push(asked.elapsed().as_secs_f64());
            }
        });
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.append(&mut ended??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    Ok(Round { seconds, latencies })
}

/// A queue and the workers that settle as delivered whatever is owed to their destinations.
pub(crate) struct Served {
    pub(crate) queue: Queue,
    registry: Registry,
    workers: JoinSet<()>,
    served: Vec<DestinationName>,
}

impl Served {
    pub(crate) fn start(queue: Queue, served: &[DestinationName]) -> Served {
        let mut registry = Registry::default();
        queue.register_metrics(&mut registry);
        let mut served = Served { queue, registry, workers: JoinSet::new(), served: served.to_vec() };
        served.work();
        served
    }

    /// Has the workers begin (again).
    pub(crate) fn work(&mut self) {
        for name in self.served.clone() {
            let queue = self.queue.clone();
            self.workers.spawn(async move {
                loop {
                    let delivery = queue.next(&name).await;
                    queue.settle(&delivery, Outcome::Delivered { captured: BTreeMap::new() }, Some(attempt()));
                }
            });
        }
    }

    /// Has the workers pause: nothing is handed out.
    pub(crate) async fn pause(&mut self) {
        self.workers.shutdown().await;
    }

    /// Waits until nothing is owed to those who are served, and then, if `moved`, until the store has everything.
    pub(crate) async fn idle(&self, moved: bool) -> Result<(), Failed> {
        loop {
            let depths = self.queue.depths();
            let pending = |name| depths.destinations.get(name).map_or(0, |depth| depth.pending);
            if self.served.iter().all(|name| pending(name) == 0) && (!moved || self.in_window()? == 0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Conversions that the store does not have yet.
    fn in_window(&self) -> Result<u64, Failed> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        let value = text.lines().find_map(|line| line.strip_prefix("window_conversions "));
        Ok(value.ok_or("the queue does not say what is in its window")?.parse()?)
    }

    /// Ends the workers; the queue is dropped, as in a crash.
    pub(crate) async fn end(mut self) {
        self.workers.shutdown().await;
    }
}

pub(crate) fn attempt() -> Attempt {
    Attempt {
        at_ms: Clock::system().unix_ms(),
        duration_ms: 80,
        status: Some(200),
        verdict: Verdict::Delivered,
        negotiated: None,
        excerpt: Some(r#"{"status":"ok","id":"01JZ8Q4M9T"}"#.to_owned()),
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// About 1.3 KB: five click ids, customer, device, order, three items.
const ORDER: &str = include_str!("../mapping/order.json");
