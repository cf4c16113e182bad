//! `[merchant.NAME]`: who may send, how fast, and to which destinations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Rate;
use super::certificates::{CertificateName, certificates};
use super::keys::{At, Keys, did_you_mean, listed};
use super::report::Faults;
use super::tokens::{TOKEN_HELP, digests, one_or_several};
use super::tree::Entry;
use crate::conversion::DestinationName;
use crate::mapping::{Text, WebhookKey};

/// `[merchant.NAME]`.
#[derive(Debug)]
pub struct Merchant {
    /// As in the file.
    pub name: Arc<str>,
    /// SHA-256 of each token that is valid: several while one is being changed.
    pub token_sha256: Vec<[u8; 32]>,
    /// Names by which its client certificates are known; empty: it shows none, or any.
    pub client_certificates: Vec<CertificateName>,
    /// Keys of which one signs each of its requests; empty: they are not signed.
    pub signing_secrets: Vec<WebhookKey>,
    /// Conversions, batch items counted one by one.
    pub rate: Option<Rate>,
    /// `None`: all.
    pub destinations: Option<BTreeSet<DestinationName>>,
}

impl Merchant {
    /// Whether what it sends goes there.
    pub fn sends_to(&self, destination: &DestinationName) -> bool {
        self.destinations.as_ref().is_none_or(|chosen| chosen.contains(destination))
    }
}

/// Reads every merchant. `destinations` are the names written in the file, right or wrong, so that one fault is not two.
/// `asks_for_certificates`: whether the listener asks clients for one.
pub(super) fn merchants(
    entries: &[Entry],
    destinations: &[&str],
    asks_for_certificates: bool,
    faults: &mut Faults,
) -> Vec<Arc<Merchant>> {
    let mut holders = Holders { asks_for_certificates, ..Holders::default() };
    let mut merchants = Vec::new();
    for entry in entries {
        name(&entry.key, "a merchant", faults);
        if let Some(merchant) = merchant(entry, destinations, &mut holders, faults) {
            merchants.push(Arc::new(merchant));
        }
    }
    merchants
}

/// Warns of destinations that no merchant sends to: they look as if they were served.
pub(super) fn unserved(destinations: &[Entry], merchants: &[Arc<Merchant>], faults: &mut Faults) {
    for Entry { key, .. } in destinations {
        let Some(name) = DestinationName::parse(&key.value) else { continue };
        if merchants.iter().any(|merchant| merchant.sends_to(&name)) {
            continue;
        }
        let message = format!("no merchant sends to destination `{name}`: it gets nothing");
        let help =
            "name it in `destinations` of a merchant, or take it out; a merchant without `destinations` sends to all";
        faults.warn(key.span.clone(), message, help);
    }
}

/// Which merchant has what no other may have.
#[derive(Default)]
struct Holders {
    tokens: BTreeMap<[u8; 32], String>,
    certificates: BTreeMap<CertificateName, String>,
    asks_for_certificates: bool,
}

fn merchant(entry: &Entry, destinations: &[&str], holders: &mut Holders, faults: &mut Faults) -> Option<Merchant> {
    let mut keys = Keys::of(entry, faults)?;
    let Holders { tokens: token_holders, certificates: certificate_holders, asks_for_certificates } = holders;
    let name = &entry.key.value;
    let client_certificates = certificates(&mut keys, name, *asks_for_certificates, certificate_holders, faults);
    let token_sha256 = tokens(&mut keys, name, token_holders, faults);
    let signing_secrets = signing_secrets(&mut keys, faults);
    let rate = keys.rate(faults);
    let names = keys.texts("destinations", faults);
    if let Some([]) = names.as_deref()
        && let Some(list) = keys.entry("destinations")
    {
        faults.with_help(list.node.span.clone(), "`destinations` is empty", "leave it out to mean all of them");
    }
    let destinations = names.map(|names| chosen(&names, destinations, faults));
    keys.finish("a merchant", faults);
    Some(Merchant {
        name: name.as_str().into(),
        token_sha256,
        client_certificates,
        signing_secrets,
        rate,
        destinations,
    })
}

/// No two merchants share one.
fn tokens(
    keys: &mut Keys<'_>,
    merchant: &str,
    holders: &mut BTreeMap<[u8; 32], String>,
    faults: &mut Faults,
) -> Vec<[u8; 32]> {
    let Some(digests) = digests(keys, "token_sha256", faults) else {
        if keys.entry("client_certificates").is_some() {
            return Vec::new();
        }
        keys.missing("token_sha256", format!("merchant `{merchant}` needs `token_sha256`"), TOKEN_HELP);
        return Vec::new();
    };
    for At { value, span } in &digests {
        if let Some(holder) = holders.insert(*value, merchant.to_owned()) {
            let message = format!("this token is already merchant `{holder}`'s");
            faults.with_help(span.clone(), message, "a token tells merchants apart: make one for each");
        }
    }
    digests.into_iter().map(|digest| digest.value).collect()
}

/// Old and new while one is changed.
fn signing_secrets(keys: &mut Keys<'_>, faults: &mut Faults) -> Vec<WebhookKey> {
    let help = "two at once are for changing one: old and new";
    let texts = one_or_several(keys, "signing_secrets", SIGNING_SECRETS_MAX, help, faults).unwrap_or_default();
    let key = |text: &Text| {
        let refused = |message| {
            let help = "`whsec_` and 24 to 64 bytes in Base64; give it as \"${env:…}\" or \"${file:…}\"";
            faults.with_help(text.span.clone(), message, help);
        };
        WebhookKey::parse(&text.value).map_err(refused).ok()
    };
    texts.iter().filter_map(key).collect()
}

fn chosen(names: &[Text], destinations: &[&str], faults: &mut Faults) -> BTreeSet<DestinationName> {
    let mut chosen = BTreeSet::new();
    for text in names {
        let known = destinations.contains(&text.value.as_str());
        match DestinationName::parse(&text.value).filter(|_| known) {
            Some(name) => {
                chosen.insert(name);
            }
            None => {
                let known = || destinations.iter().copied();
                let help = did_you_mean(&text.value, known())
                    .unwrap_or_else(|| format!("the destinations are {}", listed(known())));
                faults.with_help(text.span.clone(), format!("there is no destination `{}`", text.value), help);
            }
        }
    }
    chosen
}

/// Names stand in metrics, logs and URLs, so they are plain.
pub(super) fn name(key: &Text, what: &str, faults: &mut Faults) -> Option<DestinationName> {
    let name = DestinationName::parse(&key.value);
    if name.is_none() {
        let help = "lower-case letters, digits, `-` and `_`, at most 64, beginning with a letter";
        faults.with_help(key.span.clone(), format!("`{}` is no name for {what}", key.value), help);
    }
    name
}

/// Each is tried at every request.
const SIGNING_SECRETS_MAX: usize = 4;
