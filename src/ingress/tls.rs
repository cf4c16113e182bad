//! The server's TLS: certificate and key from PEM files or made for a trial, TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.
//! What is in force is swapped whole by a reload; a connection keeps what it began with.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use shown::Shown;

use super::problem::{Kind, Problem};
use crate::config::{self, ClientAuth, Identity, Transport};

mod shown;

/// Why the public listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file as the configuration names it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is no PEM.
    #[error("{path} is not valid PEM", path = path.display())]
    Pem {
        /// The file as the configuration names it.
        path: PathBuf,
        /// Where the PEM ends to be one.
        source: pem::Error,
    },
    /// A certificate file without one.
    #[error("{path} holds no certificate (a section BEGIN CERTIFICATE)", path = path.display())]
    NoCertificate {
        /// The file as the configuration names it.
        path: PathBuf,
    },
    /// A key file without one.
    #[error("{path} holds no private key without a passphrase (PKCS#8, PKCS#1 or SEC1)", path = path.display())]
    NoKey {
        /// The file as the configuration names it.
        path: PathBuf,
    },
    /// A pair that does not belong together, or of a kind that cannot serve.
    #[error("the certificate {cert} and the key {key} cannot be used together", cert = cert.display(), key = key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// A CA that cannot be one.
    #[error("a certificate of {path} is none of a CA", path = path.display())]
    Ca {
        /// The file as the configuration names it.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
    /// A file of revoked certificates without one.
    #[error("{path} holds no revocation list (a section BEGIN X509 CRL)", path = path.display())]
    NoCrl {
        /// The file as the configuration names it.
        path: PathBuf,
    },
    /// Client certificates that cannot be judged.
    #[error("client certificates cannot be judged by {path}", path = path.display())]
    Clients {
        /// The CA's file.
        path: PathBuf,
        /// What the TLS library said.
        source: VerifierBuilderError,
    },
    /// `self_signed = true` failed.
    #[error("cannot make a self-signed certificate")]
    SelfSigned(#[from] rcgen::Error),
    /// The TLS library refuses its own defaults.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// The TLS of the public listener as it is in force. A reload swaps all of it: a connection is made under one, whole.
pub(crate) struct Tls {
    in_force: RwLock<Arc<InForce>>,
    expires: Gauge,
}

struct InForce {
    acceptor: TlsAcceptor,
    /// The listener's own.
    leaf: CertificateDer<'static>,
    /// Of all the files: what is the same is not swapped, so that sessions can be resumed.
    fingerprint: [u8; 32],
    /// `None`: clients are not asked who they are.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// What a reload brings; nothing for plain HTTP and for a trial, whose certificate is made at start.
pub struct Renewed(Option<InForce>);

impl Tls {
    /// `None` for plain HTTP.
    pub(crate) fn of(transport: &Transport) -> Result<Option<Arc<Tls>>, TlsError> {
        let tls = match transport {
            Transport::Plain => return Ok(None),
            Transport::Tls(tls) => tls,
        };
        let in_force = match &tls.identity {
            Identity::Files { cert, key } => InForce::read(cert, key, tls.clients.as_ref())?,
            Identity::SelfSigned => InForce::for_a_trial()?,
        };
        let tls = Tls { in_force: RwLock::new(Arc::new(in_force)), expires: Gauge::default() };
        tls.tell();
        Ok(Some(Arc::new(tls)))
    }

    /// The handshake, and what the client showed of itself. Where it takes up an earlier session, it shows what it did then:
    /// that is verified anew, for it may have run out since.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, Option<Shown>)> {
        let under = self.in_force();
        let stream = under.acceptor.accept(stream).await?;
        let session = stream.get_ref().1;
        let chain = session.peer_certificates().map(<[_]>::to_vec);
        if session.handshake_kind() == Some(HandshakeKind::Resumed)
            && let Some(chain) = &chain
        {
            under.verify(chain).map_err(io::Error::other)?;
        }
        Ok((stream, chain.map(|chain| Shown::new(chain, under))))
    }

    /// A connection outlives what it was made under: whether its client would be let in now.
    pub(crate) fn check(&self, shown: Option<&Shown>) -> Result<(), Problem> {
        let in_force = self.in_force();
        let Some(shown) = shown else {
            let is_asked_for = in_force.verifier.as_ref().is_some_and(|verifier| verifier.client_auth_mandatory());
            return if is_asked_for {
                Err(outlived("a client certificate is required now: connect anew"))
            } else {
                Ok(())
            };
        };
        shown.check(&in_force)
    }

    /// For all connections that begin from now on; those that there are go on as they began.
    pub(crate) fn go_over(&self, renewed: Renewed) {
        let Some(after) = renewed.0 else { return };
        let before = self.in_force();
        if before.fingerprint == after.fingerprint {
            return;
        }
        let is_another = before.leaf != after.leaf;
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        if is_another {
            self.tell();
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "capi_relay_tls_certificate_expires_seconds",
            "When the public listener's certificate ends to be valid, in Unix time",
            self.expires.clone(),
        );
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self) {
        let expires = not_after(&self.in_force().leaf);
        self.expires.set(expires.unwrap_or_default());
        let expires = expires.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        tracing::info!(expires = expires.map(tracing::field::display), "certificate in force");
    }
}

impl Renewed {
    pub(crate) fn read(transport: &Transport) -> Result<Renewed, TlsError> {
        let in_force = match transport {
            Transport::Tls(config::Tls { identity: Identity::Files { cert, key }, clients }) => {
                Some(InForce::read(cert, key, clients.as_ref())?)
            }
            Transport::Tls(config::Tls { identity: Identity::SelfSigned, .. }) | Transport::Plain => None,
        };
        Ok(Renewed(in_force))
    }
}

/// The connection was made under other rules than those in force, and its client is to make another.
fn outlived(detail: &'static str) -> Problem {
    Problem::new(Kind::Forbidden, detail).ending_connection()
}

impl InForce {
    /// Whether a client's certificate is good now.
    fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let (Some(verifier), Some((leaf, rest))) = (&self.verifier, chain.split_first()) else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        verifier.verify_client_cert(leaf, rest, UnixTime::now()).map(|_verified| ())
    }

    fn read(cert: &Path, key: &Path, clients: Option<&ClientAuth>) -> Result<InForce, TlsError> {
        let pair = |source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source };
        let (mut hash, chain, key) = (Sha256::new(), chain(cert)?, private_key(key)?);
        // Whether each must show one is part of it: in what follows, only files.
        hash.update(format!("{clients:?}"));
        chain.iter().for_each(|certificate| hash.update(Sha256::digest(certificate)));
        hash.update(Sha256::digest(key.secret_der()));
        for path in clients.into_iter().flat_map(|clients| [Some(&clients.ca), clients.crl.as_ref()]).flatten() {
            hash.update(Sha256::digest(read(path)?));
        }
        let verifier = clients.map(verifier).transpose()?;
        InForce::new(chain, key, hash.finalize().into(), verifier).map_err(pair)
    }

    fn for_a_trial() -> Result<InForce, TlsError> {
        let pair = rcgen::generate_simple_self_signed(trial_names())?;
        let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der());
        InForce::new(vec![pair.cert.der().clone()], key.into(), [0; 32], None).map_err(TlsError::Setup)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        fingerprint: [u8; 32],
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<InForce, rustls::Error> {
        let leaf = chain.first().cloned().ok_or(rustls::Error::NoCertificatesPresented)?;
        let config = server_config(chain, key, verifier.clone())?;
        Ok(InForce { acceptor: TlsAcceptor::from(Arc::new(config)), leaf, fingerprint, verifier })
    }
}

/// The keys of `server.tls` whose files cannot be used, and why: all of them.
pub fn unusable(tls: &config::Tls) -> Vec<(&'static str, String)> {
    let Identity::Files { cert, key } = &tls.identity else { return Vec::new() };
    let (ca, crl) = (
        tls.clients.as_ref().map(|clients| &clients.ca),
        tls.clients.as_ref().and_then(|clients| clients.crl.as_ref()),
    );
    let refused = |key: &'static str, error: &TlsError| Some((key, chained(error)));
    let parts = [
        ("cert", chain(cert).err()),
        ("key", private_key(key).err()),
        ("client_ca", ca.and_then(|ca| roots(ca).err())),
        ("client_crl", crl.and_then(|crl| revoked(crl).err())),
    ];
    let mut found: Vec<_> = parts.iter().filter_map(|(key, error)| refused(key, error.as_ref()?)).collect();
    if found.is_empty() {
        found.extend(InForce::read(cert, key, None).err().and_then(|error| refused("key", &error)));
        let clients = tls.clients.as_ref().and_then(|clients| verifier(clients).err());
        found.extend(clients.and_then(|error| refused("client_ca", &error)));
    }
    found
}

/// Who decides whether a client certificate is good: signed by the CA, within its time, and, where there is a CRL, found in
/// it to be in order. Of a CRL that has become old the entries still hold.
fn verifier(clients: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&clients.ca)?), provider);
    if let Some(crl) = &clients.crl {
        builder = builder.with_crls(revoked(crl)?);
    }
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|source| TlsError::Clients { path: clients.ca.clone(), source })
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).map_err(|source| TlsError::Ca { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&read(path)?).collect();
    let lists = lists.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if lists.is_empty() {
        return Err(TlsError::NoCrl { path: path.to_owned() });
    }
    Ok(lists)
}

/// An error and what led to it, in one line.
fn chained(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chained(source)),
        None => error.to_string(),
    }
}

/// In Unix time.
fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_rest, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    // A conversion in early data could be replayed by anyone who saw it.
    config.max_early_data_size = 0;
    Ok(config)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(&read(path)?) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey { path: path.to_owned() }),
        Err(source) => Err(TlsError::Pem { path: path.to_owned(), source }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// The names under which a trial is reached from this machine.
fn trial_names() -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    // Linux keeps it here; elsewhere the trial does without.
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names.extend(Some(hostname.trim()).filter(is_name).map(str::to_owned));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    fn files_of(cert: &Path, key: &Path) -> config::Tls {
        config::Tls { identity: Identity::Files { cert: cert.to_owned(), key: key.to_owned() }, clients: None }
    }

    #[test]
    fn the_time_until_which_a_certificate_is_valid_is_shown() {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 5, 17);
        let key = rcgen::KeyPair::generate().unwrap();
        let files = Files { folder: tempfile::tempdir().unwrap() };
        let cert = files.write("tls.crt", &params.self_signed(&key).unwrap().pem());
        let key = files.write("tls.key", &key.serialize_pem());
        let tls = Tls::of(&Transport::Tls(files_of(&cert, &key))).unwrap().unwrap();
        let mut registry = Registry::default();
        tls.register(&mut registry);
        let mut metrics = String::new();
        prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
        assert!(metrics.contains("capi_relay_tls_certificate_expires_seconds 1936742400\n"), "{metrics}");
    }

    #[test]
    fn every_fault_of_the_files_names_the_file() {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let cert = files.write("tls.crt", &pair.cert.pem());
        let key = files.write("tls.key", &pair.signing_key.serialize_pem());
        let foreign = files.write("foreign.key", &other.signing_key.serialize_pem());
        let broken = files.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        let empty = files.write("empty.pem", "");
        let absent = files.folder.path().join("absent.pem");

        let check = |cert: &Path, key: &Path, expected: &str| {
            let tls = files_of(cert, key);
            assert_eq!(unusable(&tls).is_empty(), expected.is_empty(), "{expected}");
            match Tls::of(&Transport::Tls(tls)) {
                Ok(tls) => assert!(tls.is_some() && expected.is_empty(), "{expected}"),
                Err(error) => {
                    let folder = files.folder.path().display().to_string();
                    assert_eq!(error.to_string().replace(&folder, ""), expected);
                }
            }
        };
        check(&cert, &key, "");
        check(&absent, &key, "cannot read /absent.pem");
        check(&cert, &absent, "cannot read /absent.pem");
        check(&broken, &key, "/broken.pem is not valid PEM");
        check(&cert, &broken, "/broken.pem is not valid PEM");
        check(&empty, &key, "/empty.pem holds no certificate (a section BEGIN CERTIFICATE)");
        check(&key, &key, "/tls.key holds no certificate (a section BEGIN CERTIFICATE)");
        check(&cert, &cert, "/tls.crt holds no private key without a passphrase (PKCS#8, PKCS#1 or SEC1)");
        check(&cert, &foreign, "the certificate /tls.crt and the key /foreign.key cannot be used together");
    }

    #[test]
    fn plain_has_no_acceptor_and_a_trial_has_one() {
        assert!(Tls::of(&Transport::Plain).unwrap().is_none());
        assert!(
            Tls::of(&Transport::Tls(config::Tls { identity: Identity::SelfSigned, clients: None })).unwrap().is_some()
        );
    }
}
