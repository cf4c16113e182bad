//! Connections: DNS, TCP and TLS within the connect timeout.
//!
//! Plain HTTP is refused unless the peer's address is loopback: not by name, but by the address that was connected to.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::super::judge::Failure;
use super::{causes, describe};
use crate::config::{CaFile, Limits};

/// TCP keep-alive: half of a usual NAT's patience.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `ca_file` is no PEM.
    #[error("cannot read the certificates of {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: pem::Error,
    },
    /// A certificate of `ca_file` cannot be a root.
    #[error("cannot trust a certificate of {}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: rustls::Error,
    },
    /// `ca_file` holds no certificate.
    #[error("there is no certificate in {}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The TLS library offers no common version.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Makes connections for one destination.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

impl Connector {
    /// Trusts Mozilla's roots, and those of `ca_file`.
    pub(super) fn new(limits: &Limits, ca_file: Option<&CaFile>) -> Result<Connector, SetupError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared out among a name's addresses: one that swallows packets must not use up the time of the others.
        tcp.set_connect_timeout(Some(limits.connect_timeout.min(limits.timeout)));
        tcp.set_keepalive(Some(KEEP_ALIVE));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(SetupError::Tls)?
            .with_root_certificates(roots(ca_file)?)
            .with_no_client_auth();
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().wrap_connector(tcp);
        // Never longer than the whole attempt: running out of time while connecting is then known to be *not sent*.
        Ok(Connector { https, timeout: limits.connect_timeout.min(limits.timeout) })
    }
}

/// Mozilla's roots, and those of `ca_file`.
fn roots(ca_file: Option<&CaFile>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(CaFile { path, pem }) = ca_file else { return Ok(roots) };
    let unreadable = |source| SetupError::Read { path: path.to_owned(), source };
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let untrusted = |source| SetupError::Root { path: path.to_owned(), source };
        roots.add(certificate.map_err(unreadable)?).map_err(untrusted)?;
    }
    if roots.len() == before { Err(SetupError::Empty { path: path.to_owned() }) } else { Ok(roots) }
}

/// Why there is no connection. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("plain HTTP is sent to loopback addresses only")]
    PlainHttp,
    #[error("no connection within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("no connection")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// A connection's failure as a value.
pub(super) fn failure(error: &hyper_util::client::legacy::Error) -> Failure {
    let known = causes(error).find_map(|cause| cause.downcast_ref::<ConnectError>());
    match known {
        Some(error @ (ConnectError::PlainHttp | ConnectError::TimedOut(_))) => {
            Failure { text: error.to_string(), timed_out: matches!(error, ConnectError::TimedOut(_)) }
        }
        Some(ConnectError::Failed(source)) => {
            let timed_out = causes(&**source).any(|cause| {
                cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
            });
            Failure { text: describe("no connection", Some(&**source)), timed_out }
        }
        None => Failure { text: describe("no connection", error.source()), timed_out: false },
    }
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let plain = uri.scheme() != Some(&Scheme::HTTPS);
        let connecting = self.https.call(uri);
        let limit = self.timeout;
        Box::pin(async move {
            let stream = match timeout(limit, connecting).await {
                Ok(connected) => connected.map_err(ConnectError::Failed)?,
                Err(_elapsed) => return Err(ConnectError::TimedOut(limit).into()),
            };
            if plain && !is_loopback(&stream) {
                return Err(ConnectError::PlainHttp.into());
            }
            Ok(stream)
        })
    }
}

fn is_loopback(stream: &Stream) -> bool {
    match stream {
        MaybeHttpsStream::Http(tcp) => tcp.inner().peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
        MaybeHttpsStream::Https(_) => false,
    }
}
