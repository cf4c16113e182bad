//! The bounded way out: spans wait for the SDK's batch processor, whose thread hands them to the collector.
//!
//! What finds no room, and what the collector does not take, is counted, and said in the log once a minute at most.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{self as sdk, BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::StartError;
use super::collector::{Collector, Connections, Trouble};
use super::settings::Wanted;
use crate::queue::Clock;

/// Takes spans; the only one that speaks to the collector.
pub(super) struct Outlet {
    processor: BatchSpanProcessor,
    connections: Connections,
    counts: Arc<Counts>,
    waiting_max: usize,
}

/// What is counted of spans.
#[derive(Debug)]
struct Counts {
    /// Handed in, and not yet on their way.
    waiting: AtomicUsize,
    /// On their way.
    in_flight: AtomicUsize,
    all: Family<ByResult, Counter>,
    exported: Counter,
    dropped: Counter,
    failed: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

impl Counts {
    fn new() -> Counts {
        let all = Family::<ByResult, Counter>::default();
        let of = |result| all.get_or_create_owned(&ByResult { result });
        let (exported, dropped, failed) = (of("exported"), of("dropped"), of("failed"));
        Counts { waiting: AtomicUsize::new(0), in_flight: AtomicUsize::new(0), all, exported, dropped, failed }
    }
}

impl Outlet {
    /// Connects to nobody; to be called within a runtime.
    pub(super) fn open(wanted: Wanted, clock: &Clock) -> Result<Outlet, StartError> {
        let counts = Arc::new(Counts::new());
        let waiting_max = wanted.queue_max;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(waiting_max)
            .with_max_export_batch_size(wanted.batch_max)
            .with_scheduled_delay(wanted.delay)
            .build();
        let resource = Resource::builder_empty()
            .with_detector(Box::new(TelemetryResourceDetector))
            .with_attributes(wanted.resource.clone())
            .build();
        let (endpoint, timeout) = (wanted.endpoint.clone(), wanted.timeout);
        let (collector, connections, trouble) = Collector::new(wanted).map_err(StartError::Tls)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(timeout)
            .build()
            .map_err(|_worded| StartError::Exporter)?;
        let (told, clock) = (Mutex::default(), clock.clone());
        let watched = Watched { exporter, counts: Arc::clone(&counts), trouble, clock, told };
        let mut processor = BatchSpanProcessor::builder(watched).with_batch_config(batches).build();
        processor.set_resource(&resource);
        Ok(Outlet { processor, connections, counts, waiting_max })
    }

    /// Takes a span, where there is room.
    pub(super) fn put(&self, span: SpanData) {
        // The processor's own queue never is fuller than this says, and so never drops: it would not say how much.
        let room = |waiting: usize| (waiting < self.waiting_max).then(|| waiting.saturating_add(1));
        match self.counts.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            Ok(_) => self.processor.on_end(span),
            Err(_) => {
                self.counts.dropped.inc();
            }
        }
    }

    /// Hands out what waits, blocking, for as long as a stop may wait for it.
    pub(super) fn close(&self) {
        // It says whether it was in time, and not whether the collector took them.
        self.processor.shutdown_with_timeout(FLUSH_TIMEOUT).ok();
        let [waiting, in_flight] =
            [&self.counts.waiting, &self.counts.in_flight].map(|count| count.load(Ordering::Acquire));
        let left = waiting.saturating_add(in_flight);
        if left > 0 {
            tracing::warn!(spans = left, "traces: the collector did not take the last spans before the end");
        }
    }

    /// Ends what is left of connections to the collector.
    pub(super) async fn hang_up(&self) {
        self.connections.close().await;
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Spans that were recorded, by whether the collector took them, did not, or there was no room to wait for it";
        registry.sub_registry_with_prefix("capi_relay").register("trace_spans", help, self.counts.all.clone());
    }
}

/// The exporter, under the eyes of who counts.
struct Watched {
    exporter: SpanExporter,
    counts: Arc<Counts>,
    trouble: Trouble,
    clock: Clock,
    told: Mutex<Told>,
}

/// What the log was told.
#[derive(Debug, Default)]
struct Told {
    at_ms: Option<u64>,
    failed: u64,
    dropped: u64,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl sdk::SpanExporter for Watched {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.counts.in_flight.fetch_add(count, Ordering::AcqRel);
        self.counts.waiting.fetch_sub(count, Ordering::AcqRel);
        let result = self.exporter.export(batch).await;
        self.counts.in_flight.fetch_sub(count, Ordering::AcqRel);
        let counter = if result.is_ok() { &self.counts.exported } else { &self.counts.failed };
        counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        self.tell(result.as_ref().err().map(ToString::to_string));
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl Watched {
    /// Says in the log what was lost since the log was told last, if that is long ago.
    fn tell(&self, error: Option<String>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (failed, dropped) = (self.counts.failed.get(), self.counts.dropped.get());
        let now_ms = self.clock.elapsed_ms();
        let is_due = told.at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= TELL_EVERY_MS);
        if !is_due || (failed, dropped) == (told.failed, told.dropped) {
            return;
        }
        // The exporter's own words are fewer than the client's.
        let error = self.trouble.take().or(error);
        let (more_failed, more_dropped) = (failed.saturating_sub(told.failed), dropped.saturating_sub(told.dropped));
        tracing::warn!(failed = more_failed, dropped = more_dropped, error, "traces: spans were lost");
        *told = Told { at_ms: Some(now_ms), failed, dropped };
    }
}

/// What a stop waits for the last spans at most: they matter less than that the relay is back soon.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// A collector that is down is down for everybody who exports to it: its operator knows.
const TELL_EVERY_MS: u64 = 60_000;
