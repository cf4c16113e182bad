//! The spans: a request's, those of its conversions where it carries several, and each attempt's.
//!
//! A request's span is the server's; a conversion that came alone is told of by it, and each of a batch by a span of its own
//! below. That span's id is kept with the conversion as the parent, so that attempts find it after a restart. Whether a trace
//! is recorded is decided once, when its request comes, and kept with it as the flag `sampled`.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri, Version};
use opentelemetry::trace::{SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};
use prometheus_client::registry::Registry;

use super::outlet::Outlet;
use super::span::{Above, Begin, Told, context, say, scope};
use super::{Settings, StartError};
use crate::conversion::{Conversion, TraceParent};
use crate::queue::{Attempt, Clock, Delivery, Protocol, Status, Verdict};

/// Where spans are handed in; off unless it was started. Cheap to clone.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    clock: Clock,
    sampler: Sampler,
    scope: InstrumentationScope,
    outlet: Outlet,
}

impl Traces {
    /// Begins to export, where the environment asked for it; to be called within the runtime that is to speak to the
    /// collector. Connects to nobody yet.
    ///
    /// # Errors
    /// When the exporter or its TLS cannot be set up.
    pub fn start(settings: Settings, clock: &Clock) -> Result<Traces, StartError> {
        let Some(wanted) = settings.into_wanted() else { return Ok(Traces(None)) };
        let sampler = wanted.sampler.clone();
        let outlet = Outlet::open(wanted, clock)?;
        Ok(Traces(Some(Arc::new(Inner { clock: clock.clone(), sampler, scope: scope(), outlet }))))
    }

    /// A request of the public API has come, perhaps within a trace of its merchant's.
    pub fn receive<B>(&self, request: &Request<B>, is_tls: bool, parent: Option<TraceParent>) -> Receipt {
        let Some(inner) = &self.0 else { return Receipt { trace: parent, serving: None } };
        let begin = Begin::now(&inner.clock);
        // Zeros, which are no ids, are never drawn.
        let begun = parent.or_else(|| TraceParent::new(rand::random(), rand::random(), true));
        let Some(trace) = begun else { return Receipt { trace: None, serving: None } };
        let is_sampled = inner.samples(trace, parent);
        let trace = trace.with_sampled(is_sampled);
        if !is_sampled {
            return Receipt { trace: Some(trace), serving: None };
        }
        let own = if parent.is_some() { trace.with_parent(rand::random()) } else { trace };
        let above = parent.map(|parent| Above { id: parent.ids().1, is_remote: true });
        let attributes = vec![
            say("http.request.method", request.method().as_str().to_owned()),
            say("http.route", ROUTE),
            say("url.path", ROUTE),
            say("url.scheme", if is_tls { "https" } else { "http" }),
            say("network.protocol.version", if request.version() == Version::HTTP_2 { "2" } else { "1.1" }),
        ];
        Receipt { trace: Some(own), serving: Some(Serving { inner: Arc::clone(inner), own, above, begin, attributes }) }
    }

    /// An attempt at this delivery begins, in the context that its request names.
    pub fn attempt(&self, delivery: &Delivery, own: Option<TraceParent>, method: &Method, target: &Uri) -> Attempting {
        let kept = delivery.meta().trace.filter(TraceParent::is_sampled);
        let (Some(inner), Some(kept), Some(own)) = (&self.0, kept, own) else { return Attempting(None) };
        let usual = if target.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
        let host = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let mut attributes = vec![
            say("http.request.method", method.as_str().to_owned()),
            say("server.address", host.to_owned()),
            say("server.port", i64::from(target.port_u16().unwrap_or(usual))),
            say("capi_relay.conversion.id", delivery.meta().id.to_string()),
            say("capi_relay.destination", delivery.destination().as_str().to_owned()),
            say("capi_relay.attempt", i64::from(delivery.attempt())),
        ];
        let is_question = delivery.acceptance().is_some();
        if is_question {
            attributes.push(say("capi_relay.confirm", true));
        }
        Attempting(Some(Box::new(Trying {
            inner: Arc::clone(inner),
            own,
            above: Above { id: kept.ids().1, is_remote: false },
            begin: Begin::now(&inner.clock),
            name: method.as_str().to_owned(),
            // A question is another request than the conversion's own.
            resent: if is_question { 0 } else { i64::from(delivery.attempt().saturating_sub(1)) },
            attributes,
        })))
    }

    /// Registers what is counted of spans, where any are exported.
    pub fn register_metrics(&self, registry: &mut Registry) {
        if let Some(inner) = &self.0 {
            inner.outlet.register(registry);
        }
    }

    /// Hands out what waits for the collector, within two seconds; what comes later is dropped.
    pub async fn close(&self) {
        if let Some(inner) = &self.0 {
            let closing = Arc::clone(inner);
            // A panic in it is the exporter's own, and logged by the hook.
            tokio::task::spawn_blocking(move || closing.outlet.close()).await.unwrap_or_default();
            inner.outlet.hang_up().await;
        }
    }
}

impl Inner {
    fn samples(&self, trace: TraceParent, parent: Option<TraceParent>) -> bool {
        let above = parent.map(|parent| Context::new().with_remote_span_context(context(parent, true)));
        let id = TraceId::from_bytes(trace.ids().0);
        let result = self.sampler.should_sample(above.as_ref(), id, NAME, &SpanKind::Server, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }

    fn tell(&self, told: Told) {
        self.outlet.put(told.data(&self.scope));
    }
}

/// A request that is being answered.
pub struct Receipt {
    /// What its conversions belong to.
    trace: Option<TraceParent>,
    /// `None`: nothing of it is recorded.
    serving: Option<Serving>,
}

struct Serving {
    inner: Arc<Inner>,
    own: TraceParent,
    above: Option<Above>,
    begin: Begin,
    attributes: Vec<KeyValue>,
}

impl Receipt {
    /// The one conversion that it carries.
    pub fn whole(&self) -> Entry {
        let noted = self.serving.as_ref().map(|serving| Box::new(Noted::new(None, serving.begin)));
        Entry { trace: self.trace, noted }
    }

    /// One of several that it carries.
    pub fn part(&self) -> Entry {
        let Some(Serving { inner, own, .. }) = &self.serving else { return Entry { trace: self.trace, noted: None } };
        let part = own.with_parent(rand::random());
        Entry { trace: Some(part), noted: Some(Box::new(Noted::new(Some(part), Begin::now(&inner.clock)))) }
    }

    /// The answer to it, and what of it is on disk. Of a request of which nothing was kept there is no span.
    pub fn answered<'e>(self, status: StatusCode, entries: impl IntoIterator<Item = &'e mut Entry>) {
        let Some(Serving { inner, own, above, begin, mut attributes }) = self.serving else { return };
        let (mut kept, mut parts) = (0_i64, false);
        for noted in entries.into_iter().filter_map(|entry| entry.noted.take()) {
            kept = kept.saturating_add(1);
            let Noted { part, begin, took, attributes: of_it } = *noted;
            let Some(part) = part else {
                attributes.extend(of_it);
                continue;
            };
            parts = true;
            let above = Some(Above { id: own.ids().1, is_remote: false });
            let (kind, name, is_error) = (SpanKind::Internal, PART.into(), false);
            inner.tell(Told { kind, name, own: part, above, begin, took, attributes: of_it, is_error });
        }
        if kept == 0 {
            return;
        }
        if parts {
            attributes.push(say("capi_relay.conversions", kept));
        }
        attributes.push(say("http.response.status_code", i64::from(status.as_u16())));
        let (kind, name, took) = (SpanKind::Server, NAME.into(), begin.elapsed());
        inner.tell(Told { kind, name, own, above, begin, took, attributes, is_error: false });
    }
}

/// A conversion that a request carries.
pub struct Entry {
    trace: Option<TraceParent>,
    /// `None`: nothing of it is recorded.
    noted: Option<Box<Noted>>,
}

struct Noted {
    /// The context of a span of its own, if it has one.
    part: Option<TraceParent>,
    begin: Begin,
    took: Duration,
    attributes: Vec<KeyValue>,
}

impl Noted {
    fn new(part: Option<TraceParent>, begin: Begin) -> Noted {
        Noted { part, begin, took: Duration::ZERO, attributes: Vec::new() }
    }
}

impl Entry {
    /// The trace that is kept with it.
    pub fn trace(&self) -> Option<TraceParent> {
        self.trace
    }

    /// What it is.
    #[must_use]
    pub fn of(mut self, conversion: &Conversion) -> Entry {
        if let Some(noted) = &mut self.noted {
            noted.attributes.push(say("capi_relay.kind", conversion.kind().as_str()));
            noted.attributes.push(say("capi_relay.event_type", conversion.event_type().to_owned()));
        }
        self
    }

    /// It is on disk, now or since the first of its kind came.
    #[must_use]
    pub fn kept(mut self, status: &Status, is_new: bool) -> Entry {
        if let Some(noted) = &mut self.noted {
            noted.took = noted.begin.elapsed();
            noted.attributes.extend([
                say("capi_relay.conversion.id", status.id.to_string()),
                say("capi_relay.merchant", status.merchant.to_string()),
                say("capi_relay.status", if is_new { "accepted" } else { "duplicate" }),
            ]);
        }
        self
    }
}

/// An attempt that is being made.
pub struct Attempting(Option<Box<Trying>>);

struct Trying {
    inner: Arc<Inner>,
    own: TraceParent,
    above: Above,
    begin: Begin,
    name: String,
    resent: i64,
    attributes: Vec<KeyValue>,
}

impl Attempting {
    /// How it ended: by which operation, and whether two requests went out.
    pub fn ended(self, record: &Attempt, operation: Option<&str>, repeated: bool) {
        let Some(mut trying) = self.0 else { return };
        let mut attributes = take(&mut trying.attributes);
        let verdict = record.verdict.as_str();
        let is_error = is_error(record.verdict);
        let resent = trying.resent.saturating_add(i64::from(repeated));
        let protocol = record.negotiated.map(|negotiated| match negotiated.protocol {
            Protocol::Http1 => "1.1",
            Protocol::Http2 => "2",
        });
        attributes.push(say("capi_relay.verdict", verdict));
        attributes.extend(operation.map(|operation| say("capi_relay.operation", operation.to_owned())));
        attributes.extend(record.status.map(|status| say("http.response.status_code", i64::from(status))));
        attributes.extend(protocol.map(|version| say("network.protocol.version", version)));
        attributes.extend((resent > 0).then(|| say("http.request.resend_count", resent)));
        if is_error {
            let refused = record.status.filter(|status| *status >= 400);
            attributes.push(say("error.type", refused.map_or_else(|| verdict.to_owned(), |status| status.to_string())));
        }
        let Trying { inner, own, above, begin, name, .. } = *trying;
        let (kind, above, took) = (SpanKind::Client, Some(above), begin.elapsed());
        inner.tell(Told { kind, name: name.into(), own, above, begin, took, attributes, is_error });
    }
}

/// Whether somebody looks for it among what went wrong.
fn is_error(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Delivered | Verdict::Duplicate | Verdict::Accepted | Verdict::Unconfirmed => false,
        Verdict::Withheld | Verdict::Skipped | Verdict::Unsupported => false,
        Verdict::Retry | Verdict::Unknown | Verdict::Suspended | Verdict::Rejected => true,
        Verdict::Unmappable | Verdict::Expired => true,
    }
}

/// What takes conversions, and a request to it.
const ROUTE: &str = "/v1/conversions";
const NAME: &str = "POST /v1/conversions";
/// A conversion of a batch.
const PART: &str = "conversion";
