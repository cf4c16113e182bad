//! What the queue measures. The registry gives the names their prefix (`capi_relay_`).

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::shared::Shared;

/// Updated by the committer and the mover.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) commit_records: Histogram,
    pub(super) commit_seconds: Histogram,
    pub(super) move_seconds: Histogram,
    pub(super) duplicates: Counter,
    pub(super) given_back: Counter,
    pub(super) lost: Counter,
    pub(super) unaccounted: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        Metrics {
            commit_records: Histogram::new(exponential_buckets(1.0, 4.0, 7)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.5, 12)),
            move_seconds: Histogram::new(exponential_buckets(0.000_1, 2.5, 12)),
            duplicates: Counter::default(),
            given_back: Counter::default(),
            lost: Counter::default(),
            unaccounted: Gauge::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, shared: Weak<Shared>) {
        registry.register(
            "commit_records",
            "Conversions and settlements made durable by one sync of the journal",
            self.commit_records.clone(),
        );
        registry.register("commit_seconds", "Time to write and sync one commit", self.commit_seconds.clone());
        registry.register("move_seconds", "Time to write and sync one group of the store", self.move_seconds.clone());
        registry.register("queue_duplicates", "Conversions recognised as known already", self.duplicates.clone());
        registry.register("queue_given_back", "Deliveries handed out and not settled", self.given_back.clone());
        registry.register(
            "queue_lost",
            "Deliveries and dead letters that the store names and whose conversion it does not have: it is damaged",
            self.lost.clone(),
        );
        registry.register(
            "unaccounted_deliveries",
            "Deliveries that are counted as pending or dead and are not kept, or the reverse, when it was compared last",
            self.unaccounted.clone(),
        );
        registry.register_collector(Box::new(Gauges(shared)));
    }
}

/// Read when they are asked for.
struct Gauges(Weak<Shared>);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(shared) = self.0.upgrade() else {
            return Ok(());
        };
        let depths = shared.window().depths();
        let now_ms = shared.clock.unix_ms();
        let oldest_seconds = |oldest_ms: u64| now_ms.saturating_sub(oldest_ms).checked_div(1000).unwrap_or(0);
        let destinations = || depths.destinations.iter().map(|(name, depth)| (("destination", name.as_str()), depth));
        let pending = destinations().map(|(name, depth)| ([name], depth.pending));
        family(&mut encoder, "pending", "Deliveries not settled", pending)?;
        let dead = destinations().flat_map(|(name, depth)| {
            depth.dead.by_kind().map(move |(kind, count)| ([name, ("kind", kind.as_str())], count))
        });
        family(&mut encoder, "dead", "Dead letters kept", dead)?;
        let ages = destinations().map(|(name, depth)| ([name], depth.oldest_pending_ms.map_or(0, oldest_seconds)));
        family(&mut encoder, "oldest_pending_seconds", "Age of the oldest conversion that is pending", ages)?;
        // Beyond the window a repeat of what waits is not recognised any more. When it is given up only the delivery knows.
        let share = |oldest_ms: u64| {
            let age = Duration::from_millis(now_ms.saturating_sub(oldest_ms));
            age.div_duration_f64(Duration::from_millis(shared.dedup_window_ms.max(1)))
        };
        let shares = destinations().map(|(name, depth)| ([name], depth.oldest_pending_ms.map_or(0.0, share)));
        let help = "Age of the oldest conversion that is pending, as a share of the deduplication window";
        family(&mut encoder, "oldest_pending_window_ratio", help, shares)?;
        gauge(&mut encoder, "queue_bytes", "Stored bytes of conversions still owed to someone", depths.pending_bytes)?;
        let help = "Stored bytes of conversions still owed to someone at which nothing more is accepted";
        gauge(&mut encoder, "queue_bytes_max", help, shared.pending_bytes_max)?;
        let store = shared.store();
        gauge(&mut encoder, "store_file_bytes", "Size of the store's file", store.file_bytes())?;
        gauge(&mut encoder, "store_live_bytes", "Bytes of what the store holds", store.live_bytes())?;
        let (backlog_bytes, backlog_live_bytes) = store.backlog().bytes();
        gauge(&mut encoder, "backlog_bytes", "Size of the files of what waits and of dead letters", backlog_bytes)?;
        gauge(&mut encoder, "backlog_live_bytes", "Bytes of what waits and of dead letters", backlog_live_bytes)?;
        gauge(&mut encoder, "history_bytes", "Bytes of what is settled and still kept", shared.history.bytes())?;
        let segments = u64::try_from(shared.segments.count()).unwrap_or(u64::MAX);
        gauge(&mut encoder, "journal_segments", "Segments of the journal in use", segments)?;
        let free = shared.space.free_bytes();
        gauge(&mut encoder, "disk_free_bytes", "Free bytes on the queue's file system", free)?;
        let min = shared.space.disk().free_bytes_min;
        gauge(&mut encoder, "disk_min_free_bytes", "Free bytes below which nothing more is accepted", min)?;
        let window = u64::try_from(shared.window().len()).unwrap_or(u64::MAX);
        gauge(&mut encoder, "window_conversions", "Conversions that only memory and the journal have", window)
    }
}

fn family<L: EncodeLabelSet, N: EncodeGaugeValue + Copy>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (L, N)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{accept, settings, small, submission_of};
    use super::super::{Clock, Queue};
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn metrics_say_what_waits() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let queue = Queue::open_with(&settings(dir.path(), &["a"]), clock.clone(), small()).unwrap();
        let mut registry = Registry::with_prefix("capi_relay");
        queue.register_metrics(&mut registry);
        accept(&queue, submission_of("waits", 200, &["a"])).await;
        clock.set_forward(Duration::from_secs(1800));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "capi_relay_pending{destination=\"a\"} 1",
            "capi_relay_commit_records_count 1",
            "capi_relay_dead{destination=\"a\",kind=\"rejected\"} 0",
            &format!("capi_relay_disk_min_free_bytes {}", queue.disk().free_bytes_min),
            &format!("capi_relay_queue_bytes_max {}", settings(dir.path(), &["a"]).pending_bytes_max),
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("capi_relay_queue_bytes 0\n"));
        // Half an hour of an hour's window, and what the test takes.
        let name = "capi_relay_oldest_pending_window_ratio{destination=\"a\"} ";
        let share = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert!((0.5..0.6).contains(&share.parse::<f64>().unwrap()), "{share}");
    }
}
