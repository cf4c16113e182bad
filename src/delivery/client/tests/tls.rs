//! TLS and HTTP/2: who is trusted, what is negotiated, and what an HTTP/2 peer says of a request it did not process.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;

use super::*;

/// A client that trusts the root in this file as well.
fn trusting(ca_file: &Path) -> Client {
    client_with(PATIENCE_MS, PATIENCE_MS, Some(ca_file))
}

/// A certificate for 127.0.0.1 and the PEM of its issuer.
fn certificate() -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    (vec![leaf.der().clone()], key, issuer.pem())
}

/// A TLS server, its address and a file with the root that it can be trusted by.
async fn tls<F>(
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
) -> (Server, tempfile::NamedTempFile)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (chain, key, issuer) = certificate();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let mut ca_file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut ca_file, issuer.as_bytes()).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |_, stream| accept(acceptor.clone(), stream, serve.clone())).await;
    (server, ca_file)
}

async fn accept<F: Future<Output = ()>>(
    acceptor: tokio_rustls::TlsAcceptor,
    stream: TcpStream,
    serve: impl Fn(TlsStream<TcpStream>) -> F,
) {
    if let Ok(stream) = acceptor.accept(stream).await {
        serve(stream).await;
    }
}

#[tokio::test]
async fn an_own_root_is_trusted_and_others_are_not() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (server, ca_file) = tls(&[], &[version], |mut stream| async move {
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            stream.flush().await.unwrap();
        })
        .await;
        let url = format!("https://{}/", server.address);
        answered(&send(&trusting(ca_file.path()), &url).await, 200, Body::Whole);
        not_sent(&send(&client(), &url).await, false, "invalid peer certificate");
    }
}

#[tokio::test]
async fn http2_is_spoken_where_the_destination_offers_it() {
    let (server, ca_file) = tls(&["h2", "http/1.1"], rustls::DEFAULT_VERSIONS, |stream| async move {
        let service = hyper::service::service_fn(|request: http::Request<Incoming>| async move {
            let body = format!("{:?} {}", request.version(), request.uri());
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(body))))
        });
        let connection = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let _ended = connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
    })
    .await;
    let client = trusting(ca_file.path());
    let url = format!("https://{}/conversions", server.address);
    for _ in 0..3 {
        let answer = answered(&send(&client, &url).await, 200, Body::Whole);
        assert_eq!(answer.body().as_ref(), format!("HTTP/2.0 {url}").as_bytes());
    }
    assert_eq!(server.connections(), 1);
}

/// An HTTP/2 peer that answers each request's HEADERS with one raw frame and then says nothing more.
async fn h2_replying(frame: &'static [u8]) -> (Server, tempfile::NamedTempFile) {
    tls(&["h2"], rustls::DEFAULT_VERSIONS, move |mut stream| async move {
        const HEADERS: u8 = 1;
        const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        stream.write_all(SETTINGS).await.unwrap();
        let mut kind = 0;
        while kind != HEADERS {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            kind = head[3];
        }
        stream.write_all(frame).await.unwrap();
        stream.flush().await.unwrap();
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn what_an_http2_peer_says_it_did_not_process_was_not_sent() {
    const GOAWAY_BEFORE_IT: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const REFUSED_STREAM: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    for frame in [GOAWAY_BEFORE_IT, REFUSED_STREAM] {
        let (server, ca_file) = h2_replying(frame).await;
        let url = format!("https://{}/", server.address);
        not_sent(&send(&trusting(ca_file.path()), &url).await, false, "given back: ");
    }
    const INTERNAL_ERROR: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    let (server, ca_file) = h2_replying(INTERNAL_ERROR).await;
    let url = format!("https://{}/", server.address);
    unanswered(&send(&trusting(ca_file.path()), &url).await, false, "the connection broke: ");
}
