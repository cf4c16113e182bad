//! A certificate for 127.0.0.1, shown by whoever listens there over TLS, and trust in it alone.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::Failed;

pub(crate) struct Tls {
    pub(crate) certificate: String,
    pub(crate) key: String,
    acceptor: TlsAcceptor,
    connector: Trust,
}

/// For who connects.
#[derive(Clone)]
pub(crate) struct Trust(TlsConnector);

impl Tls {
    pub(crate) fn new() -> Result<Tls, Failed> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let chain: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let server = server.with_no_client_auth().with_single_cert(vec![chain.clone()], key)?;
        let mut roots = RootCertStore::empty();
        roots.add(chain)?;
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let client = client.with_root_certificates(roots).with_no_client_auth();
        Ok(Tls {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: Trust(TlsConnector::from(Arc::new(client))),
        })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    pub(crate) fn trust(&self) -> Trust {
        self.connector.clone()
    }
}

impl Trust {
    pub(crate) async fn connect(&self, stream: TcpStream) -> Result<client::TlsStream<TcpStream>, Failed> {
        Ok(self.0.connect(ServerName::try_from("127.0.0.1")?, stream).await?)
    }
}

/// Plain, or over TLS where there is who accepts that.
pub(crate) async fn accepted(
    stream: TcpStream,
    acceptor: Option<&TlsAcceptor>,
) -> std::io::Result<tokio_util::either::Either<TcpStream, server::TlsStream<TcpStream>>> {
    Ok(match acceptor {
        Some(acceptor) => tokio_util::either::Either::Right(acceptor.accept(stream).await?),
        None => tokio_util::either::Either::Left(stream),
    })
}
