//! OpenTelemetry's own environment variables, as its specification has them: what they say, or what would be right.
//!
//! Promises: all that is wrong is said at once, and what comes out of here can be used. Never: repeats what stands in a header
//! or in an endpoint.

mod reader;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::Sampler;
use rustls::pki_types::TrustAnchor;
use url::{Host, Url};

use super::{ENDPOINTS, EXPORTER, Environment, Outlook, SDK_DISABLED, Wrong, asked, endpoint};
use reader::Reader;

/// What the environment asks for.
#[derive(Debug, Clone, Default)]
pub struct Settings(Option<Wanted>);

/// How spans are exported.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The whole URL that spans are posted to.
    pub(super) endpoint: String,
    /// Scheme, host and port of it.
    origin: String,
    /// Its headers go over plain HTTP to another machine.
    exposed: bool,
    /// Each is marked as sensitive.
    pub(super) headers: HeaderMap,
    /// Of one request, and of all repeats of one together.
    pub(super) timeout: Duration,
    pub(super) gzip: bool,
    /// Trusted beside Mozilla's.
    pub(super) roots: Vec<TrustAnchor<'static>>,
    pub(super) resource: Vec<KeyValue>,
    pub(super) sampler: Sampler,
    /// What is there is exported so often.
    pub(super) delay: Duration,
    /// Spans that may wait.
    pub(super) queue_max: usize,
    /// Spans of one request; no more than may wait.
    pub(super) batch_max: usize,
}

impl Settings {
    /// Reads all of it, where traces are asked for: without an endpoint they are off, and nothing else is looked at.
    ///
    /// # Errors
    /// When anything of it is wrong; the error says all of that.
    pub fn read(environment: Environment<'_>) -> Result<Settings, Wrong> {
        let mut reader = Reader::new(environment);
        // Others on the machine may have exporters of other kinds.
        if endpoint(environment).is_some() && reader.one_of(SDK_DISABLED, &["true", "false"]) != Some("true") {
            reader.one_of(EXPORTER, &["otlp", "none"]);
        }
        let wanted = asked(environment).and_then(|variable| wanted(variable, &mut reader));
        reader.end().map(|()| Settings(wanted))
    }

    /// What becomes of traces.
    pub fn outlook(&self) -> Outlook {
        self.0.as_ref().map_or(Outlook::Off, |wanted| Outlook::Exported {
            collector: wanted.origin.clone(),
            exposed: wanted.exposed,
        })
    }

    pub(super) fn into_wanted(self) -> Option<Wanted> {
        self.0
    }
}

fn wanted(variable: &'static str, reader: &mut Reader<'_>) -> Option<Wanted> {
    for protocol in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        reader.one_of(protocol, &["http/protobuf"]);
    }
    for certificate in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
        for name in ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"].map(|before| format!("{before}{certificate}"))
        {
            reader.absent(&name, "no client certificate is shown to a collector: use headers");
        }
    }
    let compressions = ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
    // Each is looked at, and the first that is set counts.
    let compressions = compressions.map(|name| reader.one_of(name, &["gzip", "none"]));
    let gzip = compressions.into_iter().flatten().next() == Some("gzip");
    let headers = reader.headers(["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]);
    let timeouts = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let timeout = reader.duration(&timeouts, TIMEOUT);
    let roots = reader.roots(["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]);
    let resource = reader.resource("OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME");
    let sampler = reader.sampler("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG");
    let delay = reader.duration(&["OTEL_BSP_SCHEDULE_DELAY"], DELAY);
    let export_timeout = reader.duration(&["OTEL_BSP_EXPORT_TIMEOUT"], EXPORT_TIMEOUT);
    let queue_max = reader.count("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SIZE, QUEUE_SIZE_MAX);
    let batch_max = reader.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_SIZE.min(queue_max), queue_max);
    let url = reader.endpoint(variable, variable == ENDPOINTS[1])?;
    let port = url.port_or_known_default().unwrap_or_default();
    Some(Wanted {
        origin: format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or_default()),
        exposed: !headers.is_empty() && url.scheme() == "http" && !is_loopback(&url),
        endpoint: url.into(),
        headers,
        timeout: timeout.min(export_timeout),
        gzip,
        roots,
        resource,
        sampler,
        delay,
        queue_max,
        batch_max,
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

// The specification's own defaults.
const TIMEOUT: Duration = Duration::from_secs(10);
const DELAY: Duration = Duration::from_secs(5);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);
const QUEUE_SIZE: usize = 2048;
const BATCH_SIZE: usize = 512;
/// A span takes about a kilobyte: 64 MiB of them.
const QUEUE_SIZE_MAX: usize = 65_536;
