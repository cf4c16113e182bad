//! Whom a destination's connections trust, and what they show of us: TLS 1.2 and 1.3, Mozilla's roots and one's own, a client
//! certificate.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, RootCertStore};

use super::causes;
use crate::config::{ClientCertificate, Connection, PemFile};

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file of certificates is no PEM.
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
    /// A file of certificates holds none.
    #[error("there is no certificate in {}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The key of a client certificate is none.
    #[error("there is no private key in {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: pem::Error,
    },
    /// Certificate and key cannot be used, or not together.
    #[error("cannot use the client certificate {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: rustls::Error,
    },
    /// The TLS library offers no common version.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Whether the peer's TLS refused what we showed of ourselves, or that we showed nothing.
pub(super) fn is_refused(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        // An IO error hides its own cause behind that one's.
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some_and(is_about_us)
    })
}

fn is_about_us(error: &rustls::Error) -> bool {
    const ALERTS: [AlertDescription; 8] = [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
    ];
    ALERTS.iter().any(|alert| *error == rustls::Error::AlertReceived(*alert))
}

/// The TLS of one destination.
pub(super) fn tls(connection: &Connection) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots(connection.ca_file.as_ref())?);
    let Some(ClientCertificate { cert, key }) = &connection.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let unusable = |source| SetupError::Certificate { path: cert.path.clone(), source };
    builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(unusable)
}

/// Mozilla's roots, and those of `ca_file`.
fn roots(ca_file: Option<&PemFile>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(file) = ca_file else { return Ok(roots) };
    for certificate in certificates(file)? {
        let untrusted = |source| SetupError::Root { path: file.path.clone(), source };
        roots.add(certificate).map_err(untrusted)?;
    }
    Ok(roots)
}

/// At least one.
fn certificates(PemFile { path, pem }: &PemFile) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|source| SetupError::Read { path: path.clone(), source })?;
    if read.is_empty() { Err(SetupError::Empty { path: path.clone() }) } else { Ok(read) }
}

fn private_key(PemFile { path, pem }: &PemFile) -> Result<PrivateKeyDer<'static>, SetupError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| SetupError::Key { path: path.clone(), source })
}
