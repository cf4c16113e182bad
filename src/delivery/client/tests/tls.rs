//! TLS and HTTP/2: who is trusted, what is negotiated, and what an HTTP/2 peer says of a request it did not process.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::config::{Config, Source};

/// A client that trusts the root in this file as well.
fn trusting(ca_file: &Path) -> Client {
    connected_by(PATIENCE_MS, PATIENCE_MS, &trusts(ca_file))
}

pub(super) fn trusts(ca_file: &Path) -> Connection {
    connection(&format!("ca_file = \"{}\"", ca_file.display()))
}

fn connection(keys: &str) -> Connection {
    connection_in(keys, &[])
}

/// As the configuration makes it of these keys in this environment.
pub(super) fn connection_in(keys: &str, environment: &[(&str, &str)]) -> Connection {
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ntls = {{ self_signed = true }}\n[queue]\npath = \"data\"\n\
         [merchant.acme]\ntoken_sha256 = \"{}\"\n\
         [destination.one]\nurl = \"https://one.example/\"\nmap.a = \"event_type\"\n{keys}\n",
        "0".repeat(64)
    );
    let lookup =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let source = Source { path: "routes.toml".into(), text, environment: &lookup, sets: &[] };
    let config = Config::load(source).unwrap_or_else(|report| panic!("{report}"));
    config.destinations[0].connection.clone()
}

fn kept(pem: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, pem.as_bytes()).unwrap();
    file
}

/// A certificate for this name or address, and the PEM of its issuer.
fn certificate(name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    (vec![leaf.der().clone()], key, issuer.pem())
}

#[tokio::test]
async fn a_host_is_reached_and_nothing_is_sent_to_it() {
    for (version, tls_version) in [(&rustls::version::TLS12, Tls::V1_2), (&rustls::version::TLS13, Tls::V1_3)] {
        let (server, root) = tls(&["h2", "http/1.1"], &[version], |mut stream| async move {
            let mut sent = Vec::new();
            // An end without a close_notify is an error, and an end.
            tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut sent).await.ok();
            assert!(sent.is_empty(), "{sent:?}");
        })
        .await;
        let uri: Uri = format!("https://{}", server.address).parse().unwrap();
        let line = trusting(root.path()).reach(uri.clone()).await.unwrap();
        assert_eq!(line.peer, server.address);
        assert_eq!(line.negotiated, Negotiated { protocol: Protocol::Http2, tls: Some(tls_version) });
        assert!(line.valid_until.is_some_and(|until| until > 1_900_000_000), "{line:?}");
        let stranger = client().reach(uri).await.unwrap_err();
        assert!(stranger.text.starts_with("no connection: invalid peer certificate"), "{stranger:?}");
    }
}

/// A TLS server, its address and a file with the root that it can be trusted by.
pub(super) async fn tls<F>(
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
) -> (Server, tempfile::NamedTempFile)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (chain, key, issuer) = certificate("127.0.0.1");
    let mut config = server_config(versions).with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    serving(config, &issuer, serve).await
}

/// Likewise under this name, without ALPN.
pub(super) async fn tls_for<F>(
    name: &str,
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
) -> (Server, tempfile::NamedTempFile)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (chain, key, issuer) = certificate(name);
    let config = server_config(rustls::DEFAULT_VERSIONS).with_no_client_auth().with_single_cert(chain, key).unwrap();
    serving(config, &issuer, serve).await
}

fn server_config(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap()
}

async fn serving<F>(
    config: rustls::ServerConfig,
    issuer: &str,
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
) -> (Server, tempfile::NamedTempFile)
where
    F: Future<Output = ()> + Send + 'static,
{
    let ca_file = kept(issuer);
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
    // Without a body it may be one whose head was still to be written when that was heard, and was written then, whole.
    let (server, ca_file) = h2_replying(GOAWAY_BEFORE_IT).await;
    let mut bare = post(&format!("https://{}/", server.address));
    *bare.body_mut() = Full::default();
    let sent = trusting(ca_file.path()).send(&bare, &CancellationToken::new()).await;
    unanswered(&sent.transmission, false, "the connection broke: ");
    const INTERNAL_ERROR: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    let (server, ca_file) = h2_replying(INTERNAL_ERROR).await;
    let url = format!("https://{}/", server.address);
    unanswered(&send(&trusting(ca_file.path()), &url).await, false, "the connection broke: ");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let (chain, key, issuer) = certificate("127.0.0.1");
    let (client_chain, client_key, client_issuer) = certificate("relay.example");
    let mut trusted = rustls::RootCertStore::empty();
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(client_issuer.as_bytes()).collect();
    trusted.add_parsable_certificates(roots.unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider).build().unwrap();
    let asking = async |versions: &[&'static rustls::SupportedProtocolVersion]| {
        let config = server_config(versions).with_client_cert_verifier(Arc::clone(&verifier));
        let config = config.with_single_cert(chain.clone(), key.clone_key()).unwrap();
        serving(config, &issuer, |mut stream| async move {
            request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
        })
        .await
    };
    let (server, ca_file) = asking(rustls::DEFAULT_VERSIONS).await;
    let pem = |label: &str, der: &[u8]| {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        kept(&format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"))
    };
    let (cert, key) = (pem("CERTIFICATE", &client_chain[0]), pem("PRIVATE KEY", client_key.secret_der()));
    let shown = connection(&format!(
        "ca_file = \"{}\"\nclient_certificate = {{ cert = \"{}\", key = \"{}\" }}",
        ca_file.path().display(),
        cert.path().display(),
        key.path().display()
    ));
    let url = format!("https://{}/", server.address);
    answered(&send(&connected_by(PATIENCE_MS, PATIENCE_MS, &shown), &url).await, 200, Body::Whole);
    // TLS 1.3 refuses it only once the client has spoken: the alert is met, or the close behind it.
    let without = send(&trusting(ca_file.path()), &url).await;
    assert!(matches!(without, Transmission::NotSent(_)), "{without:?}");
    assert!(!without.summary().contains("our certificate"), "there is none: {without:?}");
    // In TLS 1.2 the handshake itself fails.
    let (server, ca_file) = asking(&[&rustls::version::TLS12]).await;
    let without = send(&trusting(ca_file.path()), &format!("https://{}/", server.address)).await;
    not_sent(&without, false, "a client certificate is required");
}

#[tokio::test]
async fn an_alert_about_our_certificate_behind_a_later_request_leaves_open_whether_that_was_taken() {
    let (chain, key, issuer) = certificate("127.0.0.1");
    let mut config =
        server_config(&[&rustls::version::TLS13]).with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.enable_secret_extraction = true;
    let (server, ca_file) = serving(config, &issuer, |mut stream| async move {
        request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        request(&mut stream).await;
        let (mut tcp, connection) = stream.into_inner();
        tcp.write_all(&certificate_required(connection)).await.unwrap();
    })
    .await;
    let (client, url) = (trusting(ca_file.path()), format!("https://{}/", server.address));
    answered(&send(&client, &url).await, 200, Body::Whole);
    unanswered(&send(&client, &url).await, false, "the connection broke: ");
    assert_eq!(server.connections(), 1);
}

/// The record of a fatal alert by the server of a connection in TLS 1.3 (RFC 8446, 5.2 and 6).
fn certificate_required(connection: rustls::ServerConnection) -> Vec<u8> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
    const ALERT: [u8; 3] = [2, 116, 21];
    // With the tag behind it.
    const LENGTH: u8 = 3 + 16;
    let (number, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
    let rustls::ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another cipher") };
    let mut nonce = [0; NONCE_LEN];
    let number = [[0; 4].as_slice(), &number.to_be_bytes()].concat();
    nonce.iter_mut().zip(iv.as_ref().iter().zip(number)).for_each(|(byte, (iv, number))| *byte = iv ^ number);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    let (head, mut sealed) = ([23, 3, 3, 0, LENGTH], ALERT.to_vec());
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(head), &mut sealed).unwrap();
    [head.as_slice(), &sealed].concat()
}

#[test]
fn an_alert_about_our_certificate_is_a_refused_credential_and_no_other_is() {
    use rustls::AlertDescription as Alert;
    use trust::Refused;
    let told = |alert, shown| {
        let alert = std::io::Error::new(std::io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        trust::refused(&alert, shown)
    };
    for about_us in [Alert::CertificateRequired, Alert::CertificateExpired] {
        assert_eq!(told(about_us, true), Some(Refused::Shown), "{about_us:?}");
        assert_eq!(told(about_us, false), Some(Refused::Wanting), "{about_us:?}");
    }
    assert_eq!(told(Alert::HandshakeFailure, true), None);
    assert_eq!(told(Alert::HandshakeFailure, false), Some(Refused::PerhapsWanting));
    assert!(!Refused::PerhapsWanting.is_certain(), "no cipher in common is no matter of credentials");
    assert_eq!((told(Alert::InternalError, true), told(Alert::InternalError, false)), (None, None));
}
