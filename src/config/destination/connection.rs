//! How a destination is connected to: by whom it is trusted, who we are there, through what, and where that may lead.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use http::Uri;
use rustls::pki_types::TrustAnchor;

use super::certificates::{self, ClientCertificate, Part, Unusable, certificates, private_key, roots};
use super::checked::{Connection, Operation};
use super::proxy::Proxy;
use crate::config::address::{Reach, reach};
use crate::config::disk::Disk;
use crate::config::files::{Files, plain_credentials_of_origin};
use crate::config::keys::{At, Keys};
use crate::config::report::Faults;
use crate::config::tree::{Entry, Table, Value};
use crate::config::{Destination, Environment};
use crate::mapping::{Span, Text};

/// Reads `ca_file`, `client_certificate`, `proxy` and `allow_private`; the proxy of the environment where none is named.
pub(super) fn connection(
    keys: &mut Keys<'_>,
    disk: &Disk<'_>,
    environment: Environment<'_>,
    faults: &mut Faults,
) -> Connection {
    let roots = ca_file(keys, disk, faults);
    let client_certificate = client_certificate(keys, disk, faults);
    let proxy = match keys.text("proxy", faults) {
        Some(text) if text.value == DIRECT => None,
        Some(text) => configured(&text, faults),
        None => inherited(keys.span(), environment, faults),
    };
    let allow_private = keys.flag("allow_private", faults).is_some_and(|flag| flag.value);
    Connection { roots, client_certificate, proxy, allow_private }
}

/// The extra roots of a destination.
fn ca_file(keys: &mut Keys<'_>, disk: &Disk<'_>, faults: &mut Faults) -> Vec<TrustAnchor<'static>> {
    let key = "ca_file";
    let roots = pem(keys, key, disk, faults).and_then(|At { value, span }| usable(roots(key, &value), &span, faults));
    roots.unwrap_or_default()
}

/// Reads a file of certificates or of a key. Where the relay does not serve it may be missing.
fn pem(keys: &mut Keys<'_>, key: &'static str, disk: &Disk<'_>, faults: &mut Faults) -> Option<At<Vec<u8>>> {
    let At { value: path, span } = keys.path(key, &disk.folder, faults)?;
    match disk.read(&path, PEM_BYTES_MAX) {
        Ok(value) => return Some(At { value, span }),
        Err(_) if faults.are_elsewhere() => {}
        Err(reason) => {
            let help = format!("looked for {}", Path::display(&path));
            faults.with_help(span, format!("`{key}` cannot be read: {reason}"), help);
        }
    }
    None
}

fn usable<T>(made: Result<T, Unusable>, span: &Span, faults: &mut Faults) -> Option<T> {
    made.map_err(|Unusable { message, help }| faults.with_help(span.clone(), message, help)).ok()
}

/// `{ cert, key }`.
fn client_certificate(keys: &mut Keys<'_>, disk: &Disk<'_>, faults: &mut Faults) -> Option<ClientCertificate> {
    let mut keys = keys.entry("client_certificate").and_then(|entry| Keys::of(entry, faults))?;
    let (cert, key) = (pem(&mut keys, "cert", disk, faults), pem(&mut keys, "key", disk, faults));
    for needed in ["cert", "key"] {
        if keys.entry(needed).is_none() {
            let help = "`{ cert = \"client.crt\", key = \"client.key\" }`, both PEM";
            keys.missing(needed, format!("`client_certificate` needs `{needed}`"), help);
        }
    }
    keys.finish("`client_certificate`", faults);
    let chain = cert.as_ref().and_then(|at| usable(certificates("cert", &at.value), &at.span, faults));
    let signing = key.as_ref().and_then(|at| usable(private_key("key", &at.value), &at.span, faults));
    let (cert, key) = (cert?, key?);
    let made = certificates::client_certificate(chain?, signing?);
    made.map_err(|(part, Unusable { message, help })| {
        let at = match part {
            Part::Cert => cert,
            Part::Key => key,
        };
        faults.with_help(at.span, message, help);
    })
    .ok()
}

/// The proxy that a destination names.
fn configured(text: &Text, faults: &mut Faults) -> Option<Proxy> {
    Proxy::new(&text.value)
        .map_err(|reason| {
            let whole = format!("http://{}", text.value);
            let lacks_scheme = !text.value.contains("://") && Proxy::new(&whole).is_ok();
            let (reason, help) = match lacks_scheme {
                true if !text.value.contains('@') => ("has no scheme", format!("`proxy = \"{whole}\"`")),
                true => ("has no scheme", "`http://` and then what is there".to_owned()),
                false => (reason, PROXY_HELP.to_owned()),
            };
            faults.with_help(text.span.clone(), format!("`proxy` {reason}"), help);
        })
        .ok()
}

/// Says where the user and password of `proxy` stand in plain sight, whatever else of it comes from the environment, and hides
/// them there; those of a URL without its scheme, too.
pub(super) fn in_plain_sight(table: &Table, files: &mut Files, faults: &mut Faults) {
    for Entry { key, node } in &table.entries {
        let key = key.value.as_str();
        match &node.value {
            Value::Table(inner) if !NAMED.contains(&key) => in_plain_sight(inner, files, faults),
            Value::Text { .. } | Value::Unresolved if URLS.contains(&key) => {
                let written = files.text(node.span.file).get(node.span.range.clone()).unwrap_or_default();
                let is_origin = ORIGINS.contains(&key) || !written.contains("://");
                let Some(plain) = plain_credentials_of_origin(written).filter(|_| is_origin) else { continue };
                let span = node.part(&plain);
                files.hide(&span);
                if key == PROXY {
                    let message = "the credentials of `proxy` stand in plain sight";
                    faults.with_help(span, message, "`proxy = \"${env:PROXY}\"`, with the whole URL there");
                }
            }
            Value::Table(_)
            | Value::Text { .. }
            | Value::Unresolved
            | Value::Integer(_)
            | Value::Float
            | Value::Bool(_)
            | Value::Datetime
            | Value::List(_) => {}
        }
    }
}

/// The proxy of the environment, where it has one: `HTTPS_PROXY`, else `ALL_PROXY`; not for those of `NO_PROXY`. Each of them
/// may be written in small letters, which count before capital ones.
fn inherited(destination: &Span, environment: Environment<'_>, faults: &mut Faults) -> Option<Proxy> {
    let given = |names: [&'static str; 2]| {
        let found = names.into_iter().map(|name| (name, environment(name).unwrap_or_default()));
        found.into_iter().find(|(_, value)| !value.is_empty())
    };
    let (name, url) = given(["https_proxy", "HTTPS_PROXY"]).or_else(|| given(["all_proxy", "ALL_PROXY"]))?;
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    let except = given(["no_proxy", "NO_PROXY"]).map(|(_, except)| except).unwrap_or_default();
    match Proxy::new(&url) {
        Ok(proxy) => Some(proxy.inherited(name, &except)),
        Err(reason) => {
            let message = format!("the environment variable `{name}` {reason}");
            let help = format!("{PROXY_HELP}; `proxy = \"{DIRECT}\"` goes without one");
            faults.with_help(destination.clone(), message, help);
            None
        }
    }
}

/// Says where a destination names a private address that it is not allowed to reach; and of one that is whole, with every
/// operation that it was written with, what is of no use to it.
pub(super) fn check(destination: &Destination, is_whole: bool, key: &Text, faults: &mut Faults) {
    if is_whole {
        without_tls(destination, key, faults);
    }
    if destination.connection.allow_private {
        return;
    }
    for operation in &destination.operations {
        let private = |urls: Vec<String>| {
            let mut addresses = urls.iter().filter_map(|url| literal(url));
            addresses.find(|address| reach(*address) == Reach::Private)
        };
        let (name, key_name) = (&operation.name, &key.value);
        let message = if let Some(address) = private(sent_to(operation)) {
            format!("operation `{name}` of `{key_name}` goes to {address}, a private address")
        } else if let Some(address) = private(asked_at(operation)) {
            format!("`confirm` of operation `{name}` of `{key_name}` asks at {address}, a private address")
        } else {
            continue;
        };
        faults.with_help(key.span.clone(), message, "`allow_private = true` allows that to this destination");
        return;
    }
}

/// Warns of certificates of a destination whose URLs are all plain HTTP; a stand-in that is reached so does not count.
fn without_tls(destination: &Destination, key: &Text, faults: &mut Faults) {
    let Connection { roots, client_certificate, .. } = &destination.connection;
    let what = match (roots.is_empty(), client_certificate.is_none()) {
        (true, true) => return,
        (false, true) => "`ca_file` is",
        (true, false) => "`client_certificate` is",
        (false, false) => "`ca_file` and `client_certificate` are",
    };
    let is_tls = |operation: &Operation| {
        let own = operation.request.unmoved().origin().map(str::to_owned);
        [own.into_iter().collect(), sent_to(operation), asked_at(operation)]
            .concat()
            .iter()
            .any(|url| url.starts_with("https://"))
    };
    let is_known = destination.operations.iter().all(|operation| operation.request.origin().is_some());
    if is_known && !destination.operations.iter().any(is_tls) {
        let message = format!("{what} of no use to `{}`: no URL of it is `https://`", key.value);
        faults.warn(key.span.clone(), message, "over plain HTTP nobody shows a certificate");
    }
}

/// Where an operation's requests go, as far as the host: what it sends and how it comes by a token.
fn sent_to(operation: &Operation) -> Vec<String> {
    let sent = operation.request.origin().map(str::to_owned);
    let token = operation.request.oauth().map(|oauth| oauth.token_request(None).url);
    sent.into_iter().chain(token).collect()
}

/// Where it asks what became of them.
fn asked_at(operation: &Operation) -> Vec<String> {
    let origin = operation.confirm.as_ref().and_then(|confirm| confirm.question.origin());
    origin.map(str::to_owned).into_iter().collect()
}

/// The proxy, and the hosts that are reached through it where others are not; `None`: nobody is.
pub(in crate::config) fn proxied(connection: &Connection, operations: &[&Operation]) -> Option<String> {
    let proxy = connection.proxy.as_ref()?;
    let uris: Vec<Uri> = operations
        .iter()
        .flat_map(|operation| [sent_to(operation), asked_at(operation)].concat())
        .filter_map(|url| url.parse().ok())
        .collect();
    let (through, past): (Vec<_>, Vec<_>) = uris.iter().partition(|uri| proxy.is_between(uri));
    let hosts: BTreeSet<&str> = through.iter().filter_map(|uri| uri.host()).collect();
    if hosts.is_empty() {
        return None;
    }
    let hosts: Vec<&str> = hosts.into_iter().filter(|_| !past.is_empty()).collect();
    let to = if hosts.is_empty() { String::new() } else { format!(" to {}", hosts.join(", ")) };
    Some(format!("{}{to}", proxy.shown()))
}

/// The address that a URL names without a name.
fn literal(url: &str) -> Option<IpAddr> {
    match url::Url::parse(url).ok()?.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

const PROXY: &str = "proxy";
/// Scheme, host and port alone.
const ORIGINS: [&str; 2] = [PROXY, "origin"];
const URLS: [&str; 4] = [PROXY, "origin", "url", "token_url"];
/// Names of its own stand in these.
const NAMED: [&str; 6] = ["map", "query", "headers", "outputs", "vars", "secrets"];
/// Said of a destination that goes past the environment's proxy.
const DIRECT: &str = "none";
const PROXY_HELP: &str = "as in `http://proxy.example.com:3128`";
/// Ten times a whole system's bundle of roots.
const PEM_BYTES_MAX: u64 = 4 << 20;
