//! `server.tls` and its like: what the public listener speaks, and who it shows itself as.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::disk::Disk;
use crate::config::keys::{At, Keys, wrong_with_help};
use crate::config::report::Faults;
use crate::config::tree::{Entry, Value};

/// What the public listener speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// HTTP in the clear: on loopback, or behind a proxy that ends TLS.
    Plain,
    /// TLS.
    Tls(Tls),
}

/// `server.tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who the listener shows itself as.
    pub identity: Identity,
    /// Whom it asks for a certificate; `None`: nobody.
    pub clients: Option<ClientAuth>,
}

/// Which client certificates are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM: those who sign them.
    pub ca: PathBuf,
    /// PEM: those of them that are revoked.
    pub crl: Option<PathBuf>,
    /// Whether nobody is spoken with who shows none.
    pub required: bool,
}

/// Who the listener shows itself as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A certificate of the operator's.
    Files {
        /// PEM, leaf first.
        cert: PathBuf,
        /// PEM.
        key: PathBuf,
    },
    /// A certificate made at start: for a trial.
    SelfSigned,
}

impl Tls {
    /// Whether a running relay can go over to `after`: a trial's certificate is made at start only.
    pub(super) fn can_become(&self, after: &Tls) -> bool {
        (self.identity == Identity::SelfSigned) == (after.identity == Identity::SelfSigned)
    }
}

/// Reads `tls` and `plaintext`.
pub(super) fn transport(
    keys: &mut Keys<'_>,
    listen: Option<&At<SocketAddr>>,
    behind_proxy: bool,
    disk: &Disk<'_>,
    faults: &mut Faults,
) -> Option<Transport> {
    let tls = keys.entry("tls").map(|entry| tls(entry, disk, faults));
    let plaintext = keys.flag("plaintext", faults).filter(|flag| flag.value);
    match (tls, plaintext) {
        (Some(_), Some(plaintext)) => {
            faults.at(plaintext.span, "`plaintext = true` beside `tls`: one of them");
            None
        }
        (Some(tls), None) => tls.map(Transport::Tls),
        (None, Some(plaintext)) => {
            if !behind_proxy && listen.is_some_and(|listen| !listen.value.ip().is_loopback()) {
                let message = "`plaintext` would send tokens and personal data in the clear beyond this machine";
                faults.with_help(plaintext.span, message, PLAINTEXT_HELP);
            }
            Some(Transport::Plain)
        }
        (None, None) => {
            keys.missing("tls", "`[server]` needs `tls`", TLS_HELP);
            None
        }
    }
}

fn tls(entry: &Entry, disk: &Disk<'_>, faults: &mut Faults) -> Option<Tls> {
    let Value::Table(table) = &entry.node.value else {
        wrong_with_help("tls", "a table", &entry.node, TLS_HELP, faults);
        return None;
    };
    let mut keys = Keys::new(table, entry.key.span.clone());
    let identity = identity(&mut keys, disk, faults);
    let clients = client_auth(&mut keys, disk, faults);
    let tls = identity.map(|identity| Tls { identity, clients });
    for (key, message) in tls.as_ref().map(disk.trial.tls).unwrap_or_default() {
        let span = keys.entry(key).map_or_else(|| keys.span().clone(), |entry| entry.node.span.clone());
        faults.at(span, message);
    }
    keys.finish("`tls`", faults);
    tls
}

fn identity(keys: &mut Keys<'_>, disk: &Disk<'_>, faults: &mut Faults) -> Option<Identity> {
    let self_signed = keys.flag("self_signed", faults).filter(|flag| flag.value);
    let written = (keys.entry("cert").is_some(), keys.entry("key").is_some());
    let (cert, key) = (file(keys, "cert", disk, faults), file(keys, "key", disk, faults));
    match (self_signed, written) {
        (Some(_), (false, false)) => Some(Identity::SelfSigned),
        (Some(flag), _) => {
            faults.at(flag.span, "`self_signed = true` beside `cert` or `key`: one of them");
            None
        }
        (None, (has_cert, has_key)) => {
            for (name, _) in [("cert", has_cert), ("key", has_key)].into_iter().filter(|(_, has)| !has) {
                keys.missing(name, "`tls` needs `cert` and `key`", TLS_HELP);
            }
            cert.zip(key).map(|(cert, key)| Identity::Files { cert, key })
        }
    }
}

fn client_auth(keys: &mut Keys<'_>, disk: &Disk<'_>, faults: &mut Faults) -> Option<ClientAuth> {
    let (ca, crl) = (file(keys, "client_ca", disk, faults), file(keys, "client_crl", disk, faults));
    let required = keys.choice("client_auth", &[("required", true), ("optional", false)], faults).unwrap_or(true);
    let Some(written) = keys.entry("client_ca") else {
        for name in ["client_crl", "client_auth"] {
            if let Some(entry) = keys.entry(name) {
                faults.with_help(entry.key.span.clone(), format!("`{name}` without `client_ca`"), CLIENT_CA_HELP);
            }
        }
        return None;
    };
    if keys.flag("self_signed", faults).is_some_and(|flag| flag.value) {
        let help = "who knows their own certificates knows the listener's: `cert` and `key`";
        faults.with_help(written.key.span.clone(), "`client_ca` beside `self_signed = true`", help);
    }
    Some(ClientAuth { ca: ca?, crl, required })
}

/// A file that the listener reads; whoever serves watches it, also while it is missing.
fn file(keys: &mut Keys<'_>, key: &'static str, disk: &Disk<'_>, faults: &mut Faults) -> Option<PathBuf> {
    let path = keys.path(key, &disk.folder, faults)?;
    (disk.trial.reading)(&path.value);
    keys.file(key, &disk.folder, faults)
}

const CLIENT_CA_HELP: &str = "`client_ca = \"ca.pem\"`: who signs the certificates of clients";
const TLS_HELP: &str = "`tls = { cert = \"tls.crt\", key = \"tls.key\" }`, or `{ self_signed = true }` for a trial; \
                        without TLS, on loopback or behind a proxy: `plaintext = true`";
const PLAINTEXT_HELP: &str =
    "use `tls`, listen on 127.0.0.1, or set `behind_proxy = true` where a proxy in front ends TLS";
