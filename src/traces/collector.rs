//! HTTP to the collector: hyper over rustls, HTTP/1.1, a connection that is kept from one batch to the next.
//!
//! Where it is is the operator's own set-up, by the environment: plain HTTP goes anywhere, and so may a private address be
//! its. No redirect is followed, and of an answer no more than [`ANSWER_BYTES_MAX`] is read.

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::rt::Executor;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::Wanted;

/// Sends what the exporter has written. The exporter waits on a thread of its own, and the request is driven here.
#[derive(Clone)]
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Marked as sensitive: they may be credentials.
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
    runtime: Handle,
    connections: Connections,
    trouble: Trouble,
}

/// What went wrong with the last request, until somebody has said it.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, what: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Collector {
    /// Connects to nobody; to be called within the runtime that is to drive it.
    ///
    /// # Errors
    /// When the TLS library offers no version: never, as it is built here.
    pub(super) fn new(wanted: Wanted) -> Result<(Collector, Connections, Trouble), rustls::Error> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.extend(wanted.roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(wanted.timeout));
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let connections = Connections::default();
        let (trouble, runtime) = (Trouble::default(), Handle::current());
        let collector = Collector {
            client: Client::builder(connections.clone()).build(https),
            headers: wanted.headers,
            timeout: wanted.timeout,
            gzip: wanted.gzip,
            runtime,
            connections: connections.clone(),
            trouble: trouble.clone(),
        };
        Ok((collector, connections, trouble))
    }

    async fn exchange(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut head, mut body) = request.into_parts();
        head.headers.extend(self.headers);
        if self.gzip {
            body = gzip(&body)?;
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let answer = self.client.request(Request::from_parts(head, Full::new(body))).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX);
        #[expect(clippy::disallowed_methods, reason = "the body is wrapped in Limited on the line above")]
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

/// As the trait's macro would write it.
type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'own, 'answer>(&'own self, request: Request<Bytes>) -> Answering<'answer>
    where
        'own: 'answer,
        Self: 'answer,
    {
        let (own, limit) = (self.clone(), self.timeout);
        let stop = self.connections.stop.clone();
        // The exporter's own thread has neither sockets nor timers.
        let exchange = async move { stop.run_until_cancelled(timeout(limit, own.exchange(request))).await };
        let exchange = self.connections.tasks.spawn_on(exchange, &self.runtime);
        Box::pin(async move {
            let answered = match exchange.await {
                Ok(Some(Ok(answered))) => answered,
                Ok(Some(Err(_elapsed))) => Err(format!("no answer within {} ms", limit.as_millis()).into()),
                Ok(None) => Err("the relay stopped".into()),
                Err(ended) => Err(ended.into()),
            };
            self.trouble.put(answered.as_ref().err().map(|error| chain(&**error)));
            answered
        })
    }
}

/// An error with what led to it. hyper names hosts and addresses in it, and neither paths nor headers.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Runs requests and what their connections need; none of it outlives [`Connections::close`].
#[derive(Clone, Default)]
pub(super) struct Connections {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Connections {
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Connections {
    fn execute(&self, work: F) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(work).await.unwrap_or_default() });
    }
}

/// An answer of OTLP is some bytes, or a message.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
