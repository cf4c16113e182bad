//! The client's side of the listeners' tests.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// No wait in these tests is longer than this, unless something hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

/// Everything that comes until the connection ends.
pub(crate) async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    soon(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer whose body ends with `end`.
pub(crate) async fn answer(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut part = [0; 1024];
        let read = soon(stream.read(&mut part)).await.unwrap();
        assert!(read > 0, "ended after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&part[..read]);
    }
    String::from_utf8(bytes).unwrap()
}

/// A TLS client of one version that offers `protocols`.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    version: &'static rustls::SupportedProtocolVersion,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?)).await
}

/// Speaks HTTP/2 over `stream`.
pub(crate) async fn http2(
    stream: TlsStream<TcpStream>,
) -> (hyper::client::conn::http2::SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = soon(handshake).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// Trusts the certificate that comes, which is what a self-signed trial asks of its clients.
#[derive(Debug)]
pub(crate) struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls::pki_types::CertificateDer<'_>,
        _intermediates: &[rustls::pki_types::CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A request of the tests, over HTTP/1.1 without TLS.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a str>,
    /// Beside or instead of `content-type: application/json`.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
    /// Without a `Content-Length`.
    pub(crate) chunked: bool,
}

impl Call<'_> {
    pub(crate) fn post() -> Call<'static> {
        let (path, token) = ("/v1/conversions", Some("acme-token"));
        Call { method: "POST", path, token, headers: &[], body: "{}", chunked: false }
    }

    pub(crate) fn get(path: &str) -> Call<'_> {
        Call { method: "GET", path, token: None, headers: &[], body: "", chunked: false }
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// `null` if it is none.
    pub(crate) json: serde_json::Value,
}

impl Reply {
    /// The status, in both its places, and the type of a problem.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        assert_eq!(self.json["status"], self.status, "{self:?}");
        (self.status, self.json["type"].as_str().unwrap())
    }
}

/// One request on a connection of its own.
pub(crate) async fn call(address: SocketAddr, call: Call<'_>) -> Reply {
    call_with(address, &call, call.body.to_owned()).await
}

/// The same with another body, which need not be text.
pub(crate) async fn call_with(address: SocketAddr, call: &Call<'_>, body: impl Into<Bytes>) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(call.method).uri(call.path).header("host", "localhost");
    if let Some(token) = call.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if call.headers.iter().all(|(name, _)| *name != "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in call.headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(body.into());
    let body = if call.chunked { body.map_frame(|frame| frame).boxed() } else { body.boxed() };
    let answer = soon(sender.send_request(request.body(body).unwrap())).await.unwrap();
    let (head, body) = answer.into_parts();
    #[expect(clippy::disallowed_methods, reason = "read through a limit, as the ban asks")]
    let bytes = Limited::new(body, 4 << 20).collect().await.unwrap().to_bytes();
    drop(sender);
    drop(soon(connection).await);
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let json = serde_json::from_str(&text).unwrap_or_default();
    Reply { status: head.status.as_u16(), headers: head.headers, text, json }
}
