//! The server's TLS: certificate and key from PEM files or made for a trial, TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Transport;

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
    /// `self_signed = true` failed.
    #[error("cannot make a self-signed certificate")]
    SelfSigned(#[from] rcgen::Error),
    /// The TLS library refuses its own defaults.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// `None` for plain HTTP.
pub(crate) fn acceptor(transport: &Transport) -> Result<Option<TlsAcceptor>, TlsError> {
    let config = match transport {
        Transport::Plain => return Ok(None),
        Transport::Files { cert, key } => {
            let pair = |source| TlsError::Pair { cert: cert.clone(), key: key.clone(), source };
            server_config(chain(cert)?, private_key(key)?).map_err(pair)?
        }
        Transport::SelfSigned => {
            let pair = rcgen::generate_simple_self_signed(trial_names())?;
            let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der());
            server_config(vec![pair.cert.der().clone()], key.into()).map_err(TlsError::Setup)?
        }
    };
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
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
    use std::error::Error;

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
            let transport = Transport::Files { cert: cert.to_owned(), key: key.to_owned() };
            match acceptor(&transport) {
                Ok(acceptor) => assert!(acceptor.is_some() && expected.is_empty(), "{expected}"),
                Err(error) => {
                    let error: &dyn Error = &error;
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
        assert!(acceptor(&Transport::Plain).unwrap().is_none());
        assert!(acceptor(&Transport::SelfSigned).unwrap().is_some());
    }
}
