//! What a client showed of itself when its connection was made, and whether that is still good.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::{InForce, Problem, outlived};
use crate::config::CertificateName;

/// A client's certificate, found good when the connection was made.
pub(crate) struct Shown {
    names: Vec<CertificateName>,
    chain: Vec<CertificateDer<'static>>,
    judged: Mutex<Judged>,
}

/// What was in force when the certificate was judged last, and the verdict.
struct Judged {
    under: Arc<InForce>,
    verdict: Verdict,
}

#[derive(Clone, Copy)]
enum Verdict {
    Good,
    NotTaken,
    NotTrusted,
}

impl Shown {
    pub(super) fn new(chain: Vec<CertificateDer<'static>>, under: Arc<InForce>) -> Shown {
        let names = chain.first().map(names).unwrap_or_default();
        Shown { names, chain, judged: Mutex::new(Judged { under, verdict: Verdict::Good }) }
    }

    /// What the certificate names.
    pub(crate) fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// Whether it is good under what is in force now. The chain is verified once for each that the connection lives to see,
    /// however many requests it carries.
    pub(super) fn check(&self, in_force: &Arc<InForce>) -> Result<(), Problem> {
        // Requests of the same connection wait for the one that verifies.
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(in_force, &judged.under) {
            *judged = Judged { under: Arc::clone(in_force), verdict: self.judge(in_force) };
        }
        match judged.verdict {
            Verdict::Good => Ok(()),
            Verdict::NotTaken => Err(outlived("client certificates are no longer taken: connect anew, without one")),
            Verdict::NotTrusted => Err(outlived("the client certificate is no longer trusted")),
        }
    }

    fn judge(&self, in_force: &InForce) -> Verdict {
        match in_force.verify(&self.chain) {
            Ok(()) => Verdict::Good,
            Err(rustls::Error::NoCertificatesPresented) => Verdict::NotTaken,
            Err(error) => {
                tracing::debug!(%error, "a client certificate is no longer trusted");
                Verdict::NotTrusted
            }
        }
    }
}

/// The names of a certificate that merchants are known by; none of one that cannot be read.
fn names(certificate: &CertificateDer<'_>) -> Vec<CertificateName> {
    let Ok((_rest, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<_> = common.map(CertificateName::common).collect();
    let alternative = certificate.subject_alternative_name().ok().flatten();
    for name in alternative.iter().flat_map(|names| &names.value.general_names) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "of ten kinds of names, those that a merchant is known by")]
        names.extend(match name {
            GeneralName::DNSName(name) => Some(CertificateName::dns(name)),
            GeneralName::URI(name) => Some(CertificateName::uri(name)),
            GeneralName::RFC822Name(name) => Some(CertificateName::email(name)),
            _ => None,
        });
    }
    names
}

#[cfg(test)]
mod tests {
    use std::sync::RwLock;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use prometheus_client::metrics::gauge::Gauge;
    use rustls::client::danger::HandshakeSignatureValid;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
    use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
    use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, HandshakeKind, SignatureScheme};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::Tls;
    use super::*;
    use crate::ingress::tests::client::{AnyCertificate, soon};

    /// Counts how often it is asked, and says whether it trusts.
    #[derive(Debug)]
    struct Counting {
        trusts: AtomicBool,
        asked: AtomicUsize,
    }

    impl ClientCertVerifier for Counting {
        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: UnixTime,
        ) -> Result<ClientCertVerified, rustls::Error> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let revoked = || rustls::Error::InvalidCertificate(CertificateError::Revoked);
            self.trusts.load(Ordering::Relaxed).then(ClientCertVerified::assertion).ok_or_else(revoked)
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    #[test]
    fn a_chain_is_verified_once_for_each_tls_that_its_connection_lives_to_see() {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let in_force = |trusts: bool| {
            let verifier = Arc::new(Counting { trusts: trusts.into(), asked: AtomicUsize::new(0) });
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
            let shared: Arc<dyn ClientCertVerifier> = Arc::<Counting>::clone(&verifier);
            let in_force = InForce::new(vec![pair.cert.der().clone()], key, [0; 32], Some(shared)).unwrap();
            (Arc::new(in_force), verifier)
        };
        let (first, second, third) = (in_force(true), in_force(true), in_force(false));
        let shown = Shown::new(vec![pair.cert.der().clone()], Arc::clone(&first.0));
        let check = |(in_force, verifier): &(Arc<InForce>, Arc<Counting>), is_good: bool, asked: usize| {
            for request in 0..3 {
                assert_eq!(shown.check(in_force).is_ok(), is_good, "{request}");
                assert_eq!(verifier.asked.load(Ordering::Relaxed), asked, "{request}");
            }
        };
        check(&first, true, 0);
        check(&second, true, 1);
        check(&third, false, 1);
        check(&second, true, 2);
    }

    #[tokio::test]
    async fn a_certificate_that_is_no_longer_good_is_refused_in_a_session_that_is_taken_up_again() {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            taken_up_again(version).await;
        }
    }

    async fn taken_up_again(version: &'static rustls::SupportedProtocolVersion) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = || PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
        let chain = || vec![pair.cert.der().clone()];
        let verifier = Arc::new(Counting { trusts: true.into(), asked: AtomicUsize::new(0) });
        let shared: Arc<dyn ClientCertVerifier> = Arc::<Counting>::clone(&verifier);
        let in_force = RwLock::new(Arc::new(InForce::new(chain(), key(), [0; 32], Some(shared)).unwrap()));
        let tls = Tls { in_force, expires: Gauge::default() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // It keeps its sessions from one connection to the next.
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_client_auth_cert(chain(), key())
            .unwrap();
        let client = tokio_rustls::TlsConnector::from(Arc::new(client));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Whether the client is let in, and how often its certificate was verified by then.
        let connect = async || {
            let address = listener.local_addr().unwrap();
            let asking = async {
                let stream = TcpStream::connect(address).await.unwrap();
                let mut stream = client.connect(ServerName::try_from("localhost").unwrap(), stream).await.ok()?;
                // The tickets come before it.
                stream.read_u8().await.ok()?;
                stream.get_ref().1.handshake_kind()
            };
            let answering = async {
                let (stream, _) = listener.accept().await.unwrap();
                let (mut stream, shown) = tls.accept(stream).await.ok()?;
                stream.write_u8(1).await.unwrap();
                stream.flush().await.unwrap();
                shown
            };
            let (kind, shown) = soon(async { tokio::join!(asking, answering) }).await;
            assert_eq!(kind.is_some(), shown.is_some());
            (kind, verifier.asked.load(Ordering::Relaxed))
        };
        assert_eq!(connect().await, (Some(HandshakeKind::Full), 1));
        assert_eq!(connect().await, (Some(HandshakeKind::Resumed), 2));
        verifier.trusts.store(false, Ordering::Relaxed);
        assert_eq!(connect().await, (None, 3), "{version:?}");
    }
}
