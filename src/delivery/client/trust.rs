//! Whom a destination's connections trust, and what they show of us: TLS 1.2 and 1.3, Mozilla's roots and one's own, a client
//! certificate.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, RootCertStore};

use super::causes;
use crate::config::Connection;

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
///
/// # Errors
/// When the TLS library offers no version: never, as it is built here.
pub(super) fn tls(connection: &Connection) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.extend(connection.roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots);
    Ok(match &connection.client_certificate {
        Some(shown) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown.certified()))),
        None => builder.with_no_client_auth(),
    })
}
