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

/// What the peer's TLS says of what we showed of ourselves, or did not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It wants a certificate, and there is none to show.
    Wanting,
    /// As well as that it may mean something else.
    PerhapsWanting,
    /// What was shown is not taken.
    Shown,
}

impl Refused {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Refused::Wanting => "a client certificate is required, and there is no `client_certificate`",
            Refused::PerhapsWanting => "perhaps a client certificate is required: there is no `client_certificate`",
            Refused::Shown => "our certificate was refused",
        }
    }

    /// Whether it certainly is our credential that is wrong.
    pub(super) fn is_certain(self) -> bool {
        self != Refused::PerhapsWanting
    }
}

/// Whether an error is such a refusal. `shown`: whether there is a certificate to show.
pub(super) fn refused(error: &(dyn Error + 'static), shown: bool) -> Option<Refused> {
    let alert = causes(error).flat_map(inner).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        Some(_) | None => None,
    });
    refusal(alert?, shown)
}

/// An error and those in it: an IO error hides its own cause behind that one's, and may stand in another.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let held = error.downcast_ref::<io::Error>()?.get_ref()?;
        let held: &(dyn Error + 'static) = held;
        Some(held)
    })
}

fn refusal(alert: AlertDescription, shown: bool) -> Option<Refused> {
    const ABOUT_US: [AlertDescription; 8] = [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
    ];
    match (ABOUT_US.contains(&alert), shown) {
        (true, true) => Some(Refused::Shown),
        (true, false) => Some(Refused::Wanting),
        // In TLS 1.2 the common word for a certificate that did not come; but also where no cipher is shared.
        (false, false) if alert == AlertDescription::HandshakeFailure => Some(Refused::PerhapsWanting),
        (false, _) => None,
    }
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
