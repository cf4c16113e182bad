//! Files of certificates and keys: PEM → roots to trust, or what we show of ourselves; or what is wrong with them.
//!
//! Promises: what comes out of here can be used, alone and together. Never: says anything of what stands in such a file.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys, RootCertStore};

/// `client_certificate`: what we show of ourselves, leaf first, and its private key. Two are the same that show the same.
#[derive(Clone)]
pub struct ClientCertificate(Arc<CertifiedKey>);

impl ClientCertificate {
    /// As the TLS library takes it.
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }
}

impl Hash for ClientCertificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The key belongs to the first of them.
        self.0.cert.hash(state);
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.0.cert.len()).finish_non_exhaustive()
    }
}

/// What is wrong with a file, said of its key, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct Unusable {
    pub(in crate::config) message: String,
    pub(in crate::config) help: String,
}

impl Unusable {
    fn of(key: &str, message: &str, help: impl Into<String>) -> Unusable {
        Unusable { message: format!("`{key}` {message}"), help: help.into() }
    }
}

/// Which of the two files of a client certificate does not go with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Part {
    Cert,
    Key,
}

/// The roots in a PEM file; at least one.
pub(in crate::config) fn roots(key: &str, pem: &[u8]) -> Result<Vec<TrustAnchor<'static>>, Unusable> {
    let mut store = RootCertStore::empty();
    for (at, certificate) in certificates(key, pem)?.into_iter().enumerate() {
        store.add(certificate).map_err(|_unspecific| unreadable(key, at.saturating_add(1)))?;
    }
    Ok(store.roots)
}

/// The certificates in a PEM file; at least one.
pub(in crate::config) fn certificates(key: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let read: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|_may_quote_it| broken(key, "CERTIFICATE"))?;
    if !read.is_empty() {
        return Ok(read);
    }
    Err(match Holds::of(pem) {
        Holds::Key | Holds::EncryptedKey => {
            let help = format!("`cert` is the certificate and `key` its private key: {SWAPPED}");
            Unusable::of(key, "holds a private key, and no certificate", help)
        }
        Holds::Binary => {
            let help = "the file is binary, and PEM is needed: `openssl x509 -inform der -in FILE -out FILE.pem`";
            Unusable::of(key, "holds no certificate in PEM", help)
        }
        Holds::Certificate | Holds::Nothing => {
            Unusable::of(key, "holds no certificate", "a certificate begins with `-----BEGIN CERTIFICATE-----`")
        }
    })
}

/// The first private key in a PEM file.
pub(in crate::config) fn private_key(key: &str, pem: &[u8]) -> Result<Arc<dyn SigningKey>, Unusable> {
    let holds = Holds::of(pem);
    if holds == Holds::EncryptedKey {
        let help = "nobody is there to type its passphrase: `openssl pkey -in FILE -out FILE.plain` decrypts it, \
                    for the relay's eyes alone (mode 0400)";
        return Err(Unusable::of(key, "holds an encrypted private key", help));
    }
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match (error, holds) {
        (PemError::NoItemsFound, Holds::Certificate) => {
            let help = format!("`key` is the private key of the certificate in `cert`: {SWAPPED}");
            Unusable::of(key, "holds a certificate, and no private key", help)
        }
        (PemError::NoItemsFound, Holds::Binary) => {
            let help = "the file is binary, and PEM is needed: `openssl pkey -inform der -in FILE -out FILE.pem`";
            Unusable::of(key, "holds no private key in PEM", help)
        }
        (PemError::NoItemsFound, _) => {
            Unusable::of(key, "holds no private key", "a private key begins with `-----BEGIN PRIVATE KEY-----`")
        }
        (_may_quote_it, _) => broken(key, "PRIVATE KEY"),
    })?;
    default_provider().key_provider.load_private_key(der).map_err(|_unspecific| {
        let help = "RSA of 2048 bits or more, ECDSA (P-256, P-384, P-521) and Ed25519 keys can be";
        Unusable::of(key, "holds a private key that cannot be used", help)
    })
}

/// Both together; else which of them it is, and why.
pub(in crate::config) fn client_certificate(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
) -> Result<ClientCertificate, (Part, Unusable)> {
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Of such a key nothing more can be known.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(ClientCertificate(Arc::new(certified))),
        Err(Error::InconsistentKeys(_)) => Err((Part::Key, foreign(certified))),
        Err(_unspecific) => Err((Part::Cert, unreadable("cert", 1))),
    }
}

/// The key is not that of the first certificate; it may be that of another one.
fn foreign(certified: CertifiedKey) -> Unusable {
    let CertifiedKey { cert, key, .. } = certified;
    let is_of = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key)).keys_match().is_ok()
    };
    match cert.iter().position(is_of) {
        Some(at) => Unusable::of(
            "key",
            &format!("belongs to certificate {} of `cert`, and not to the first", at.saturating_add(1)),
            "in `cert` the relay's own certificate comes first, and behind it those that issued it",
        ),
        None => Unusable::of(
            "key",
            "does not belong to the certificate in `cert`",
            "both have the same public key where they belong together: `openssl x509 -noout -pubkey -in CERT` and \
             `openssl pkey -pubout -in KEY` show it",
        ),
    }
}

fn broken(key: &str, label: &str) -> Unusable {
    let help = format!("whole, from `-----BEGIN {label}-----` to `-----END {label}-----`, with Base64 between");
    Unusable::of(key, "is broken PEM", help)
}

fn unreadable(key: &str, number: usize) -> Unusable {
    let message = format!("holds a certificate (number {number}) that is no X.509 certificate");
    Unusable::of(key, &message, "`openssl x509 -noout -text -in FILE` shows what a right one says")
}

/// What a file holds, as far as its beginnings of sections tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    EncryptedKey,
    Key,
    Certificate,
    /// DER, perhaps PKCS #12.
    Binary,
    Nothing,
}

impl Holds {
    /// A key before a certificate, and an encrypted one first.
    fn of(pem: &[u8]) -> Holds {
        const DER_SEQUENCE: u8 = 0x30;
        if pem.first() == Some(&DER_SEQUENCE) && std::str::from_utf8(pem).is_err() {
            return Holds::Binary;
        }
        let text = String::from_utf8_lossy(pem);
        let begins = |label: &str| {
            let labels = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
            labels.into_iter().any(|found| found.ends_with(label))
        };
        if begins("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            Holds::EncryptedKey
        } else if begins("PRIVATE KEY") {
            Holds::Key
        } else if begins("CERTIFICATE") {
            Holds::Certificate
        } else {
            Holds::Nothing
        }
    }
}

const SWAPPED: &str = "the two may have been exchanged";
