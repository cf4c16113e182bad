//! One span, as the exporter takes it: names and values by OpenTelemetry's conventions for HTTP.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use crate::conversion::TraceParent;
use crate::queue::Clock;

/// When something began: by the wall, and by what never goes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    wall: Duration,
    since: Instant,
}

impl Begin {
    pub(super) fn now(clock: &Clock) -> Begin {
        Begin { wall: clock.unix(), since: Instant::now() }
    }

    /// How long it has taken so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

/// What is told of something that has ended.
pub(super) struct Told {
    pub(super) kind: SpanKind,
    pub(super) name: Cow<'static, str>,
    /// Its own ids.
    pub(super) own: TraceParent,
    /// The span above it.
    pub(super) above: Option<Above>,
    pub(super) begin: Begin,
    pub(super) took: Duration,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) is_error: bool,
}

/// A span above another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Above {
    pub(super) id: [u8; 8],
    /// It is somebody else's.
    pub(super) is_remote: bool,
}

impl Told {
    pub(super) fn data(self, scope: &InstrumentationScope) -> SpanData {
        let at = |since: Duration| UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
        let start = self.begin.wall;
        SpanData {
            span_context: context(self.own, false),
            parent_span_id: self.above.map_or(SpanId::INVALID, |above| SpanId::from_bytes(above.id)),
            parent_span_is_remote: self.above.is_some_and(|above| above.is_remote),
            span_kind: self.kind,
            name: self.name,
            start_time: at(start),
            end_time: at(start.saturating_add(self.took)),
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if self.is_error { Status::error("") } else { Status::Unset },
            instrumentation_scope: scope.clone(),
        }
    }
}

/// As OpenTelemetry names a span.
pub(super) fn context(trace: TraceParent, is_remote: bool) -> SpanContext {
    let (trace_id, span_id) = trace.ids();
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace_id, span_id) = (TraceId::from_bytes(trace_id), SpanId::from_bytes(span_id));
    SpanContext::new(trace_id, span_id, flags, is_remote, TraceState::NONE)
}

/// An attribute.
pub(super) fn say(key: &'static str, value: impl Into<Value>) -> KeyValue {
    KeyValue::new(key, value)
}

/// Every span's instrument: the relay itself.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
}
