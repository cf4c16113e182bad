//! What hostile and malformed input does to a relay, byte for byte: one relay process, tables of cases, and after each of
//! them the relay is as it was.
//!
//! A case is what a client sends on one connection before it closes its half. Held after every one: the statuses are among
//! those allowed, exactly as many conversions were accepted as should be (none that was smuggled behind a refusal), no
//! request panicked, no connection stays open, and a new connection is served.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::process::Process;
use crate::support::{Http, TOKEN, eventually};

mod bodies;
mod framing;
mod heads;
mod slow;

/// One client's bytes, and what may become of them.
struct Case {
    name: String,
    bytes: Vec<u8>,
    /// What the first answer may be; [`CLOSE`]: the connection may also be closed without one.
    allowed: &'static [u16],
    /// How many conversions are accepted.
    accepted: u64,
}

impl Case {
    /// Nothing of it is accepted.
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>, allowed: &'static [u16]) -> Case {
        Case { name: name.into(), bytes: bytes.into(), allowed, accepted: 0 }
    }

    fn accepting(self, accepted: u64) -> Case {
        Case { accepted, ..self }
    }
}

/// Stands for no answer at all.
const CLOSE: u16 = 0;

/// The head of a `POST` of the merchant, with these further fields, each ending in CRLF.
fn head(fields: &str) -> String {
    format!(
        "POST /v1/conversions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         {fields}\r\n"
    )
}

/// A whole request with this body.
fn post(fields: &str, body: &[u8]) -> Vec<u8> {
    [head(&format!("{fields}content-length: {}\r\n", body.len())).as_bytes(), body].concat()
}

/// A conversion that is accepted once.
fn conversion(id: &str) -> String {
    format!("{{\"event_id\":\"{id}\",\"time\":\"2026-11-20T14:03:27Z\",\"value\":\"1\",\"currency\":\"EUR\"}}")
}

/// A request that is accepted, wherever it is taken for one.
fn good(id: &str) -> Vec<u8> {
    post("", conversion(id).as_bytes())
}

/// One chunk, its size as it should be.
fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// What came back on a connection.
#[derive(Debug, Default)]
struct Heard {
    statuses: Vec<u16>,
    /// What stood behind the last whole answer.
    rest: Vec<u8>,
}

impl Heard {
    fn of(mut bytes: &[u8]) -> Heard {
        let mut heard = Heard::default();
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let Some(status) = head.strip_prefix("http/1.").and_then(|line| line.get(2..5)?.parse().ok()) else {
                break;
            };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let Some(after) = bytes.get(end + 4 + length.unwrap_or(0)..) else { break };
            // An interim answer is none.
            if status != 100 {
                heard.statuses.push(status);
            }
            bytes = after;
        }
        heard.rest = bytes.to_vec();
        heard
    }

    fn first(&self) -> u16 {
        self.statuses.first().copied().unwrap_or(CLOSE)
    }
}

/// The relay that is attacked.
struct Victim {
    relay: Process,
    address: String,
    http: Http,
    _folder: TempDir,
    served: u64,
}

impl Victim {
    /// `server`: further lines of `[server]`.
    fn start(server: &str) -> Victim {
        let folder = tempfile::tempdir().unwrap();
        let relay = Process::serve(&routes(folder.path(), server));
        let address = relay.origin.trim_start_matches("http://").to_owned();
        Victim { relay, address, http: Http::new(), _folder: folder, served: 0 }
    }

    async fn metric(&self, name: &str) -> u64 {
        let answer = self.http.call(Method::GET, &format!("{}/metrics", self.relay.admin), &[], "").await;
        let text = answer.body.as_str().unwrap().to_owned();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    async fn accepted(&self) -> u64 {
        self.metric("capi_relay_accepted_total{merchant=\"acme\"}").await
    }

    /// Sends it all, closes this half, and hears what comes until the relay closes.
    async fn send(&self, name: &str, bytes: &[u8]) -> Heard {
        let (mut from, mut into) = TcpStream::connect(&self.address).await.unwrap().into_split();
        let sending = async {
            // A relay that has refused need not read on.
            if into.write_all(bytes).await.is_ok() {
                drop(into.shutdown().await);
            }
        };
        let mut heard = Vec::new();
        let hearing = async { drop(from.read_to_end(&mut heard).await) };
        let both = timeout(PATIENCE, async { tokio::join!(sending, hearing) }).await;
        assert!(both.is_ok(), "{name}: the relay does not close; so far {:?}", Heard::of(&heard));
        Heard::of(&heard)
    }

    /// What was not as the case says.
    async fn holds(&mut self, Case { name, bytes, allowed, accepted }: &Case) -> Option<String> {
        let before = self.accepted().await;
        let heard = self.send(name, bytes).await;
        self.is_sound(name).await;
        let more = self.accepted().await - before - 1;
        let is_allowed = allowed.contains(&heard.first()) && !heard.statuses.contains(&500);
        let is_right = is_allowed && heard.rest.is_empty() && more == *accepted;
        (!is_right).then(|| format!("{name}: {heard:?}, {more} accepted; not {allowed:?}, {accepted}"))
    }

    /// No panic, no connection that stays, and one conversion more is accepted.
    async fn is_sound(&mut self, name: &str) {
        eventually(&format!("{name}: no connection is left"), async || {
            (self.metric("capi_relay_connections").await == 0).then_some(())
        })
        .await;
        self.served += 1;
        let id = format!("sound-{}", self.served);
        let heard = self.send(name, &good(&id)).await;
        assert_eq!(heard.statuses, [202], "{name}: what comes next");
        assert_eq!(self.metric("capi_relay_request_panics_total").await, 0, "{name}");
    }

    /// Of the relay's memory, what is resident.
    fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.relay.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn stops(self) {
        let ended = self.relay.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(!ended.log.contains("ERROR"), "{}", ended.log);
    }
}

/// One destination that takes no connection: what is accepted stays.
fn routes(folder: &Path, server: &str) -> PathBuf {
    let file = folder.join("routes.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nplaintext = true\n{server}\n\
         [queue]\npath = \"queue\"\nallow_volatile = true\nmin_free_bytes = \"1MiB\"\n\
         [merchant.acme]\ntoken_sha256 = \"{}\"\n\
         [destination.first]\nmethod = \"POST\"\nurl = \"http://127.0.0.1:9/events\"\nbody = \"json\"\n\
         map.event = \"event_id\"\n",
        hex::encode(Sha256::digest(TOKEN))
    );
    std::fs::write(&file, text).unwrap();
    file
}

async fn hold(cases: Vec<Case>, count_min: usize) {
    assert!(cases.len() >= count_min, "{} cases", cases.len());
    let mut victim = Victim::start("");
    // What a relay that has been used holds: room for bodies, threads, its own files.
    let mut faults = Vec::new();
    for case in bodies::usual() {
        faults.extend(victim.holds(&case).await);
    }
    let before = victim.resident_bytes();
    for case in &cases {
        faults.extend(victim.holds(case).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    eventually("the memory is given back", async || {
        (victim.resident_bytes() < before + MEMORY_KEPT_BYTES_MAX).then_some(())
    })
    .await;
    victim.stops();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_smuggled_behind_what_is_framed_amiss() {
    hold(framing::cases(), 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_none_or_too_large_end_one_connection_at_most() {
    hold(heads::cases(), 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_none_or_too_large_cost_nothing_that_stays() {
    hold(bodies::cases(), 40).await;
}

/// What `slow` gives a request.
const LIMIT: Duration = Duration::from_millis(900);
/// So many bytes come that silence does not end it.
const BETWEEN: Duration = Duration::from_millis(20);
/// Far longer than any case takes on a busy machine, shorter than the relay's own limits for silence.
const PATIENCE: Duration = Duration::from_secs(25);
/// What an allocator may keep for the next time.
const MEMORY_KEPT_BYTES_MAX: u64 = 16 << 20;
