//! Names in client certificates, as a merchant lists them.

use std::collections::BTreeMap;

use super::keys::Keys;
use super::report::Faults;

/// One name that a certificate bears.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateName {
    kind: Kind,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Common,
    Dns,
    Uri,
    Email,
}

impl CertificateName {
    /// The subject's common name: as it is written.
    pub fn common(name: &str) -> CertificateName {
        CertificateName { kind: Kind::Common, name: name.to_owned() }
    }

    /// A DNS name, in either case; `*` stands for itself.
    pub fn dns(name: &str) -> CertificateName {
        CertificateName { kind: Kind::Dns, name: name.trim_end_matches('.').to_ascii_lowercase() }
    }

    /// A URI, such as a SPIFFE id: as it is written.
    pub fn uri(name: &str) -> CertificateName {
        CertificateName { kind: Kind::Uri, name: name.to_owned() }
    }

    /// A mailbox; its domain in either case.
    pub fn email(name: &str) -> CertificateName {
        let (mailbox, domain) = name.rsplit_once('@').unwrap_or((name, ""));
        CertificateName { kind: Kind::Email, name: format!("{mailbox}@{}", domain.to_ascii_lowercase()) }
    }

    /// `CN=…`, `dns:…`, `uri:…` or `email:…`.
    fn parse(text: &str) -> Option<CertificateName> {
        let is_name = |name: &str| !name.is_empty() && name.trim() == name;
        match (text.split_once('='), text.split_once(':')) {
            (Some(("CN", name)), _) if is_name(name) => Some(CertificateName::common(name)),
            (_, Some(("dns", name))) if is_name(name) => Some(CertificateName::dns(name)),
            (_, Some(("uri", name))) if is_name(name) => Some(CertificateName::uri(name)),
            (_, Some(("email", name))) if is_name(name) => Some(CertificateName::email(name)),
            _ => None,
        }
    }
}

/// Reads `client_certificates`; no two merchants share one, and without a CA nobody is asked for any.
pub(super) fn certificates(
    keys: &mut Keys<'_>,
    merchant: &str,
    asked_for: bool,
    holders: &mut BTreeMap<CertificateName, String>,
    faults: &mut Faults,
) -> Vec<CertificateName> {
    let Some(texts) = keys.texts("client_certificates", faults) else { return Vec::new() };
    let mut names = Vec::new();
    if let Some(entry) = keys.entry("client_certificates") {
        let span = entry.node.span.clone();
        if texts.is_empty() {
            faults.with_help(span, "`client_certificates` is empty", "leave it out to know the merchant by its token");
        } else if !asked_for {
            let message = "`client_certificates` without `server.tls.client_ca`: nobody is asked for one";
            faults.with_help(span, message, "`tls = { cert = …, key = …, client_ca = \"ca.pem\" }`");
        }
    }
    for text in texts {
        let Some(name) = CertificateName::parse(&text.value) else {
            let help = "`CN=shop`, `dns:shop.internal`, `uri:spiffe://internal/shop` or `email:shop@example.com`";
            faults.with_help(text.span, format!("`{}` is no name in a certificate", text.value), help);
            continue;
        };
        if let Some(holder) = holders.insert(name.clone(), merchant.to_owned()) {
            let help = "a certificate tells merchants apart: one name for each";
            faults.with_help(text.span, format!("this name is already merchant `{holder}`'s"), help);
        }
        names.push(name);
    }
    names
}
