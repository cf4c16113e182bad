//! `[server]` and `[queue]`: how the relay listens, and where it keeps what it has accepted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ipnet::IpNet;

use super::disk::Disk;
use super::interpolate::is_stand_in;
use super::keys::{At, Keys};
use super::report::Faults;
use super::tokens::{AdminToken, TOKEN_HELP, admin_tokens};
use super::units::written_duration;
use crate::mapping::Text;

mod tls;

use tls::transport;
pub use tls::{ClientAuth, Identity, Tls, Transport};

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address of the public listener.
    pub listen: SocketAddr,
    /// What it speaks.
    pub transport: Transport,
    /// A proxy in front ends TLS and names the client.
    pub behind_proxy: bool,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    /// The admin bearer tokens that are valid; never empty beyond loopback.
    pub admin_token_sha256: Vec<AdminToken>,
    /// Largest request body.
    pub body_bytes_max: usize,
    /// Most requests worked on at once, once their bodies are there; `None`: as many as the processors can.
    pub requests_at_once_max: Option<NonZeroU32>,
    /// Most connections at once.
    pub connections_max: usize,
    /// Most connections at once of one client address (of a trusted proxy that forwards requests: most requests).
    pub connections_per_address_max: usize,
    /// Whose word for the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether each connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// Where a trusted proxy that forwards requests names the client; `None`: in either.
    pub forwarded_header: Option<ForwardedHeader>,
    /// From the first byte of a request to its whole body.
    pub request_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// How long a stopping relay waits for what is in hand.
    pub drain_timeout: Duration,
    /// How it logs.
    pub log: LogFormat,
}

/// A header that names the client behind a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[queue]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// The data folder.
    pub path: PathBuf,
    /// Whether a file system that forgets at a restart will do.
    pub allow_volatile: bool,
    /// Stored bytes of undelivered conversions, beyond which nothing is accepted.
    pub pending_bytes_max: u64,
    /// Free bytes of the disk, below which nothing is accepted.
    pub free_bytes_min: u64,
    /// Dead letters of one destination, with which nothing more is sent to it.
    pub dead_letters_max: u64,
    /// How long a repeat is recognised.
    pub dedup_window: Duration,
    /// How long the status of a settled conversion is kept; never shorter than `dedup_window`.
    pub history_keep: Duration,
    /// Whether what is stored is encrypted.
    pub encryption: Option<Encryption>,
}

/// `queue.encryption`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// The key in force.
    pub key: Key,
    /// Those that were in force before.
    pub old_keys: Vec<Key>,
}

/// 256 random bits. Printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// Whether it stands for one that was not there: nothing may be sealed with it.
    pub(crate) fn is_stand_in(&self) -> bool {
        is_stand_in(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Server {
    /// Whether a running relay can go over to `after`: all but the TLS files and the admin tokens is read at start only.
    pub(crate) fn can_become(&self, after: &Server) -> bool {
        let renewable = match (&self.transport, &after.transport) {
            (Transport::Tls(before), Transport::Tls(after)) => before.can_become(after),
            (Transport::Plain | Transport::Tls(_), _) => self.transport == after.transport,
        };
        // Whether there is a token at all decides who may ask without one.
        let guarded = self.admin_token_sha256.is_empty() == after.admin_token_sha256.is_empty();
        let (transport, admin_token_sha256) = (after.transport.clone(), after.admin_token_sha256.clone());
        renewable && guarded && *after == Server { transport, admin_token_sha256, ..self.clone() }
    }
}

/// Reads `[server]` of the whole configuration's keys.
pub(super) fn server(root: &mut Keys<'_>, disk: &Disk<'_>, faults: &mut Faults) -> Option<Server> {
    let Some(entry) = root.entry("server") else {
        root.missing("server", "there is no `[server]`", SERVER_HELP);
        return None;
    };
    let mut keys = Keys::of(entry, faults)?;
    let listen = keys.address("listen", faults);
    if listen.is_none() && keys.entry("listen").is_none() {
        keys.missing("listen", "`[server]` needs `listen`", SERVER_HELP);
    }
    let behind_proxy = keys.flag("behind_proxy", faults).is_some_and(|flag| flag.value);
    let transport = transport(&mut keys, listen.as_ref(), behind_proxy, disk, faults);
    let admin = keys.address("admin", faults);
    let admin_tokens = admin_tokens(&mut keys, "admin_token_sha256", faults);
    if let Some(admin) = admin.as_ref().filter(|admin| !admin.value.ip().is_loopback() && admin_tokens.is_none()) {
        let message = "`admin` beyond loopback needs `admin_token_sha256`";
        faults.with_help(admin.span.clone(), message, TOKEN_HELP);
    }
    // A wrong one is a fault already, and no default stands in for it.
    if let Some(listen) = listen.as_ref().filter(|_| admin.is_some() || keys.entry("admin").is_none()) {
        apart(listen, admin.as_ref(), faults);
    }
    let (trusted_proxies, proxy_protocol) = proxies(&mut keys, faults);
    let forwarded_header = forwarded_header(&mut keys, !trusted_proxies.is_empty() && !proxy_protocol, faults);
    let connections_max = keys.size("connections_max", faults).map_or(CONNECTIONS_MAX, NonZeroUsize::get);
    // Behind a proxy that nobody named, all connections are its own.
    let is_anonymous = behind_proxy && trusted_proxies.is_empty();
    let per_address_default = if is_anonymous { connections_max } else { CONNECTIONS_PER_ADDRESS_MAX };
    let body_max = keys.bytes("body_max", faults);
    let server = Server {
        listen: listen.map_or(LISTEN_UNKNOWN, |listen| listen.value),
        transport: transport.unwrap_or(Transport::Plain),
        behind_proxy,
        admin: admin.map_or(ADMIN_DEFAULT, |admin| admin.value),
        admin_token_sha256: admin_tokens.unwrap_or_default(),
        body_bytes_max: body_bytes_max(body_max, faults),
        requests_at_once_max: keys.count("requests_at_once_max", faults).map(|at| at.value),
        connections_max,
        connections_per_address_max: keys
            .size("connections_per_address_max", faults)
            .map_or(per_address_default, NonZeroUsize::get),
        trusted_proxies,
        proxy_protocol,
        forwarded_header,
        request_timeout: keys.duration("request_timeout", faults).map_or(REQUEST_TIMEOUT, |at| at.value),
        idle_timeout: keys.duration("idle_timeout", faults).map_or(IDLE_TIMEOUT, |at| at.value),
        drain_timeout: keys.duration("drain_timeout", faults).map_or(DRAIN_TIMEOUT, |at| at.value),
        log: keys
            .choice("log", &[("text", LogFormat::Text), ("json", LogFormat::Json)], faults)
            .unwrap_or(LogFormat::Text),
    };
    keys.finish("`[server]`", faults);
    Some(server)
}

/// Both listeners must find their address free, the admin listener at its default too.
fn apart(listen: &At<SocketAddr>, admin: Option<&At<SocketAddr>>, faults: &mut Faults) {
    let (public, private) = (listen.value, admin.map_or(ADMIN_DEFAULT, |admin| admin.value));
    // The system gives each a port of its own.
    if public.port() != private.port() || public.port() == 0 {
        return;
    }
    let message = match (public.ip() == private.ip(), admin) {
        (true, Some(_)) => "`admin` and `listen` are the same address".to_owned(),
        (true, None) => format!("`listen` is the address of `admin`, which is {private} where nothing else is said"),
        (false, _) if !takes(public.ip(), private.ip()) && !takes(private.ip(), public.ip()) => return,
        (false, Some(_)) => {
            format!("`admin` and `listen` ({public}) are on one port, and one of them takes every address of it")
        }
        (false, None) => {
            format!("`listen` takes the address of `admin` too, which is {private} where nothing else is said")
        }
    };
    let place = admin.map_or(&listen.span, |admin| &admin.span);
    faults.with_help(place.clone(), message, "give one of them another port: `admin = \"127.0.0.1:9091\"`");
}

/// Whether who listens on the one address leaves the other one to nobody.
fn takes(one: IpAddr, other: IpAddr) -> bool {
    match one.to_canonical() {
        IpAddr::V4(ip) => ip.is_unspecified() && other.to_canonical().is_ipv4(),
        // With those of IPv4, unless the system is told otherwise.
        IpAddr::V6(ip) => ip.is_unspecified(),
    }
}

fn proxies(keys: &mut Keys<'_>, faults: &mut Faults) -> (Vec<IpNet>, bool) {
    let texts = keys.texts("trusted_proxies", faults);
    let network = |text: &Text| {
        let network = text.value.parse::<IpNet>().ok();
        let network = network.or_else(|| text.value.parse::<IpAddr>().ok().map(IpNet::from));
        if network.is_none() {
            let help = "as in `10.0.0.0/8`, `2001:db8::/32` or `192.0.2.7`";
            faults.with_help(text.span.clone(), format!("`{}` is no network", text.value), help);
        }
        network
    };
    let trusted: Vec<IpNet> = texts.as_deref().unwrap_or_default().iter().filter_map(network).collect();
    let protocol = keys.flag("proxy_protocol", faults).filter(|flag| flag.value);
    if let Some(flag) = protocol.as_ref().filter(|_| texts.is_none_or(|texts| texts.is_empty())) {
        let message = "`proxy_protocol` without `trusted_proxies`: nobody could connect";
        faults.with_help(flag.span.clone(), message, "`trusted_proxies = [\"10.0.0.0/8\"]`: where the proxies are");
    }
    (trusted, protocol.is_some())
}

/// `is_read`: whether there are proxies that forward requests.
fn forwarded_header(keys: &mut Keys<'_>, is_read: bool, faults: &mut Faults) -> Option<ForwardedHeader> {
    let words = [("forwarded", ForwardedHeader::Forwarded), ("x-forwarded-for", ForwardedHeader::XForwardedFor)];
    let header = keys.choice("forwarded_header", &words, faults)?;
    if let Some(entry) = keys.entry("forwarded_header").filter(|_| !is_read) {
        let message = "`forwarded_header` is read of `trusted_proxies` alone, and not beside `proxy_protocol`";
        faults.with_help(
            entry.key.span.clone(),
            message,
            "`trusted_proxies = [\"10.0.0.0/8\"]`: where the proxies are",
        );
    }
    Some(header)
}

fn body_bytes_max(written: Option<At<u64>>, faults: &mut Faults) -> usize {
    let Some(At { value, span }) = written else { return BODY_BYTES_MAX };
    match usize::try_from(value) {
        Ok(bytes) if value <= BODY_BYTES_LIMIT => bytes,
        Ok(_) | Err(_) => {
            faults.at(span, "`body_max` must be 64MiB or less: a body is held in memory");
            BODY_BYTES_MAX
        }
    }
}

/// Reads `[queue]` of the whole configuration's keys.
pub(super) fn queue(root: &mut Keys<'_>, folder: &Path, faults: &mut Faults) -> Option<QueueSettings> {
    let Some(entry) = root.entry("queue") else {
        root.missing("queue", "there is no `[queue]`", QUEUE_HELP);
        return None;
    };
    let mut keys = Keys::of(entry, faults)?;
    keys.choice("engine", &[("sled", ())], faults);
    let path = keys.path("path", folder, faults);
    if path.is_none() && keys.entry("path").is_none() {
        keys.missing("path", "`[queue]` needs `path`", QUEUE_HELP);
    }
    let dedup_window = keys.duration("dedup_window", faults);
    let window = dedup_window.as_ref().map_or(DEDUP_WINDOW, |at| at.value);
    let settings = QueueSettings {
        path: path.map(|path| path.value).unwrap_or_default(),
        allow_volatile: keys.flag("allow_volatile", faults).is_some_and(|flag| flag.value),
        pending_bytes_max: keys.bytes("max_pending_bytes", faults).map_or(PENDING_BYTES_MAX, |at| at.value),
        free_bytes_min: keys.bytes("min_free_bytes", faults).map_or(FREE_BYTES_MIN, |at| at.value),
        dead_letters_max: keys
            .count("max_dead_letters", faults)
            .map_or(DEAD_LETTERS_MAX, |at| u64::from(at.value.get())),
        dedup_window: window,
        history_keep: history_keep(&mut keys, window, faults),
        encryption: encryption(&mut keys, faults),
    };
    keys.finish("`[queue]`", faults);
    Some(settings)
}

fn history_keep(keys: &mut Keys<'_>, window: Duration, faults: &mut Faults) -> Duration {
    let default = HISTORY_KEEP.max(window);
    let Some(mut history) = keys.entry("history").and_then(|entry| Keys::of(entry, faults)) else { return default };
    let keep = history.duration("keep", faults);
    history.finish("`history`", faults);
    if let Some(keep) = keep.as_ref().filter(|keep| keep.value < window) {
        let message = format!("`history.keep` is shorter than `dedup_window` ({})", written_duration(window));
        faults.with_help(keep.span.clone(), message, "a duplicate is answered with the first one's status");
    }
    keep.map_or(default, |keep| keep.value)
}

fn encryption(keys: &mut Keys<'_>, faults: &mut Faults) -> Option<Encryption> {
    let mut table = keys.entry("encryption").and_then(|entry| Keys::of(entry, faults))?;
    let written = table.text("key", faults);
    if written.is_none() && table.entry("key").is_none() {
        table.missing("key", "`encryption` needs `key`", KEY_HELP);
    }
    let old = table.texts("old_keys", faults).unwrap_or_default();
    table.finish("`encryption`", faults);
    let key = written.and_then(|text| key_of("key", &text, faults));
    let old_keys: Vec<Key> = old.iter().filter_map(|text| key_of("old_keys", text, faults)).collect();
    Some(Encryption { key: key?, old_keys })
}

/// 32 bytes in hex or Base64.
fn key_of(name: &str, text: &Text, faults: &mut Faults) -> Option<Key> {
    let key = key_bytes(text.value.trim());
    if key.is_none() {
        faults.with_help(text.span.clone(), format!("`{name}` must be 32 bytes in hex or Base64"), KEY_HELP);
    }
    key.map(Key)
}

/// Hex, or Base64 of either alphabet, padded or not.
pub(crate) fn key_bytes(text: &str) -> Option<[u8; 32]> {
    let bytes = hex::decode(text).ok().filter(|bytes| bytes.len() == 32).or_else(|| {
        let text: String = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()
    })?;
    bytes.try_into().ok()
}

/// Stands where there is no right one, in a configuration that is refused for it.
const LISTEN_UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Where the admin listener is unless `server.admin` says otherwise.
pub const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
const KEY_HELP: &str = "`capi-relay key` makes one; give it as \"${file:…}\" or \"${env:…}\"";
/// A batch of 1,000 conversions of 4 KB.
const BODY_BYTES_MAX: usize = 4 << 20;
const BODY_BYTES_LIMIT: u64 = 64 << 20;
/// Each costs a descriptor and some 20 KB.
const CONNECTIONS_MAX: usize = 10_000;
/// Some hundred back ends behind one address, each with its pool; a fortieth of all places.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 256;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer than the 60 s that load balancers keep an idle connection, so that they close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Within the 30 s that container platforms leave between SIGTERM and SIGKILL.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
const PENDING_BYTES_MAX: u64 = 8 << 30;
/// A wrong token or campaign shows in the first hundred; so many are some hundred megabytes, and an alert before that.
const DEAD_LETTERS_MAX: u64 = 100_000;
const FREE_BYTES_MIN: u64 = 256 << 20;
const DEDUP_WINDOW: Duration = Duration::from_secs(72 * 3600);
const HISTORY_KEEP: Duration = Duration::from_secs(7 * 86_400);

const SERVER_HELP: &str = "for a trial: `listen = \"127.0.0.1:8443\"` and `tls = { self_signed = true }`";
const QUEUE_HELP: &str = "`path = \"/var/lib/capi-relay\"`: a folder on a disk that survives a restart";
