//! Whom the commands trust, and what they show of themselves. Without a CA of the caller's: on loopback the peer is this
//! machine, so a relay with a self-signed certificate can be tried at once; everywhere else the certificate must be one that
//! the public roots vouch for.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{self, ClientCertificate};

/// Whom a call trusts, and what it shows of itself.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Trust {
    /// Those that the relay's certificate must chain to; `None`: as this module says.
    roots: Option<Arc<RootCertStore>>,
    own: Option<ClientCertificate>,
}

impl Trust {
    /// From the PEM files of `--ca`, and of `--client-certificate` and `--client-key`.
    pub(in crate::cli) fn read(ca: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<Trust, String> {
        let (cert_option, key_option) = ("--client-certificate", "--client-key");
        let roots = ca.map(|ca| config::option_roots("--ca", &file("--ca", ca)?)).transpose()?;
        let own = own.map(|(cert, key)| {
            let (cert, key) = (file(cert_option, cert)?, file(key_option, key)?);
            config::option_certificate((cert_option, key_option), &cert, &key)
        });
        Ok(Trust { roots: roots.map(|roots| Arc::new(RootCertStore { roots })), own: own.transpose()? })
    }

    /// Whether there is a certificate to show.
    pub(super) fn is_shown(&self) -> bool {
        self.own.is_some()
    }

    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
        loopback: bool,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| format!("`{host}` is no host name: {error}"))?;
        let connector = TlsConnector::from(Arc::new(self.configuration(loopback)?));
        connector.connect(name, stream).await.map_err(|error| format!("no TLS connection to {host}: {error}"))
    }

    fn configuration(&self, loopback: bool) -> Result<ClientConfig, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| format!("no TLS: {error}"))?;
        let builder = match &self.roots {
            Some(roots) => builder.with_root_certificates(Arc::clone(roots)),
            None if loopback => builder.dangerous().with_custom_certificate_verifier(Arc::new(ThisMachine(provider))),
            None => builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
        };
        Ok(match &self.own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified()))),
            None => builder.with_no_client_auth(),
        })
    }
}

fn file(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("`{option}`: cannot read {}: {error}", path.display()))
}

/// Accepts any certificate whose key signs the handshake. For loopback alone.
#[derive(Debug)]
struct ThisMachine(Arc<CryptoProvider>);

impl ServerCertVerifier for ThisMachine {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
