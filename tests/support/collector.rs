//! An OpenTelemetry collector that keeps what it is sent, byte for byte.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use capi_relay::queue::Clock;
use capi_relay::traces::{Settings, Traces};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::eventually;

/// Listens on a port of its own until it is dropped.
pub(crate) struct Collector {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    kept: Arc<Kept>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    exports: Mutex<Vec<Export>>,
    mood: Mutex<Mood>,
}

/// What a collector does with a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Mood {
    #[default]
    Takes,
    Answers(StatusCode),
    Hangs,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    pub(crate) path: String,
    headers: HeaderMap,
    /// Decompressed.
    pub(crate) body: Vec<u8>,
}

impl Export {
    /// A header; empty: it has none of that name.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// A span as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: none.
    pub(crate) parent: String,
    pub(crate) name: String,
    /// 1 internal, 2 server, 3 client.
    pub(crate) kind: i32,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) is_error: bool,
    pub(crate) is: BTreeMap<String, String>,
}

impl Seen {
    /// An attribute; empty: it has none of that name.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.is.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl Collector {
    pub(crate) async fn start() -> Collector {
        Collector::behind(None).await
    }

    /// Over TLS, where there is an acceptor.
    pub(crate) async fn behind(tls: Option<TlsAcceptor>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let kept = Arc::new(Kept::default());
        let all = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accept(stream, Arc::clone(&all), tls.clone()));
            }
        });
        Collector { address, kept, task }
    }

    /// From now on.
    pub(crate) fn be(&self, mood: Mood) {
        *self.kept.mood.lock().unwrap() = mood;
    }

    /// Every request that was taken.
    pub(crate) fn exports(&self) -> Vec<Export> {
        self.kept.exports.lock().unwrap().clone()
    }

    /// What is exported by a relay that is set up so, beside where to and that it be soon.
    pub(crate) fn traces(&self, more: &[(&str, &str)]) -> Traces {
        let endpoint = format!("http://{}", self.address);
        let own = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
        started(&[&own[..], more].concat())
    }

    /// All spans that were taken, and what they are of.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        self.exports().iter().flat_map(|export| read(&export.body).1).collect()
    }

    /// The resource of what was taken first.
    pub(crate) fn resource(&self) -> BTreeMap<String, String> {
        read(&self.exports()[0].body).0
    }

    /// All spans, once there are so many.
    pub(crate) async fn spans_once(&self, count: usize) -> Vec<Seen> {
        eventually(&format!("{count} spans"), async || {
            let spans = self.spans();
            (spans.len() >= count).then_some(spans)
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Traces as these variables say.
#[track_caller]
pub(crate) fn started(variables: &[(&str, &str)]) -> Traces {
    let set =
        |name: &str| variables.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Traces::start(Settings::read(&set).unwrap_or_else(|wrong| panic!("{wrong}")), &Clock::system()).unwrap()
}

async fn accept(stream: TcpStream, kept: Arc<Kept>, tls: Option<TlsAcceptor>) {
    match tls {
        None => serve(stream, kept).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, kept).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, kept: Arc<Kept>) {
    let service = service_fn(|request| answer(request, &kept));
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, kept: &Kept) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut body = body.collect().await?.to_bytes().to_vec();
    let mut answer = Response::new(Full::default());
    let mood = *kept.mood.lock().unwrap();
    match mood {
        Mood::Takes => {
            if head.headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
                body = plain;
            }
            let (path, headers) = (head.uri.to_string(), head.headers);
            kept.exports.lock().unwrap().push(Export { path, headers, body });
        }
        Mood::Answers(status) => *answer.status_mut() = status,
        Mood::Hangs => match std::future::pending::<Infallible>().await {},
    }
    Ok(answer)
}

fn read(body: &[u8]) -> (BTreeMap<String, String>, Vec<Seen>) {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut spans = Vec::new();
    let mut resource = BTreeMap::new();
    for of_resource in request.resource_spans {
        resource.extend(of_resource.resource.into_iter().flat_map(|resource| attributes(resource.attributes)));
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Seen {
                trace: hex::encode(&span.trace_id),
                id: hex::encode(&span.span_id),
                parent: hex::encode(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                begin: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                is_error: span.status.is_some_and(|status| status.code == 2),
                is: attributes(span.attributes).collect(),
            });
        }
    }
    (resource, spans)
}

fn attributes(all: Vec<KeyValue>) -> impl Iterator<Item = (String, String)> {
    all.into_iter().map(|KeyValue { key, value, .. }| {
        let value = match value.and_then(|value| value.value) {
            Some(any_value::Value::StringValue(text)) => text,
            Some(any_value::Value::IntValue(number)) => number.to_string(),
            Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
            other => panic!("{key}: {other:?}"),
        };
        (key, value)
    })
}
