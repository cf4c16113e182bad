//! What only this engine does, tested on real folders: sizes, files, damage, ends. What any engine promises is held in
//! `tests/conformance.rs`. With `CAPI_RELAY_TEST_SEALED` set all of the folders are encrypted.

mod anew;
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod books;
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod broken;
mod crash;
mod faults;
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod flips;
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod forget;
mod freed;
mod generation;
mod lost;
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod model;
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod power;
mod pressure;
mod refusals;
mod sealed;
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
pub(super) mod room;
mod told;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::generation::Sparse;
use super::shared::Options;
use super::*;

/// Nothing that is right takes longer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running number: no two tests' ids or keys meet.
static NUMBER: AtomicU64 = AtomicU64::new(1);

pub(super) fn name(text: &str) -> DestinationName {
    DestinationName::parse(text).unwrap()
}

pub(super) fn settings(path: &Path, destinations: &[&str]) -> Settings {
    Settings {
        path: path.to_owned(),
        allow_volatile: true,
        pending_bytes_max: 1 << 30,
        free_bytes_min: 0,
        dead_letters_max: 1000,
        dedup_window: Duration::from_secs(3600),
        history_keep: Duration::from_secs(7200),
        encryption: std::env::var_os("CAPI_RELAY_TEST_SEALED").map(|_| encryption(1)),
        destinations: destinations.iter().map(|text| name(text)).collect(),
    }
}

pub(super) fn encryption(key: u8) -> Encryption {
    Encryption { key: MasterKey::new([key; 32]), old_keys: Vec::new() }
}

/// Small enough that a few hundred conversions reach every boundary.
pub(super) fn small() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        window_bytes: 64 * 1024,
        history_bytes: 48 * 1024,
        backlog_bytes: 64 * 1024,
        linger: Duration::from_millis(30),
        changes_max: 64,
        ballast_bytes: 0,
        sparse: Sparse::default(),
        key_time: Duration::from_secs(86_400),
        leap_stands: Duration::ZERO,
    }
}

pub(super) fn open(path: &Path, destinations: &[&str]) -> Queue {
    Queue::open_with(&settings(path, destinations), Clock::system(), small()).unwrap()
}

pub(super) fn id_at(unix_ms: u64) -> ConversionId {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    ConversionId::new(unix_ms, random)
}

/// A conversion with that event id, `padding` bytes larger than need be, owed to all of these.
pub(super) fn submission_of(event_id: &str, padding: usize, owed: &[&str]) -> Submission {
    let body = format!(
        r#"{{"time":"2026-01-01T00:00:00Z","event_id":"{event_id}","order_id":"order-{event_id}","custom":{{"x":"{}"}}}}"#,
        "x".repeat(padding)
    );
    let conversion = Arc::new(Conversion::parse(body.as_bytes(), "generated").unwrap());
    let meta = Meta::new(id_at(Clock::system().unix_ms()), Arc::from("acme"), None, &conversion);
    let plan = owed.iter().map(|text| (name(text), Initial::Owed)).collect();
    Submission { meta, conversion, body: Bytes::from(body), plan, claim: Claim::default() }
}

fn submission(owed: &[&str]) -> Submission {
    submission_of(&format!("e{}", NUMBER.fetch_add(1, Ordering::Relaxed)), 200, owed)
}

pub(super) async fn accept(queue: &Queue, submission: Submission) -> ConversionId {
    match queue.accept(submission).await.unwrap() {
        Accepted::New(status) => status.id,
        other @ (Accepted::Duplicate(_) | Accepted::KeyReused { .. }) => panic!("not new: {other:?}"),
    }
}

pub(super) fn delivered() -> Outcome {
    Outcome::Delivered { captured: Default::default() }
}

pub(super) fn dead(reason: &str) -> Outcome {
    Outcome::Dead { kind: DeadKind::Rejected, reason: reason.to_owned() }
}

pub(super) fn attempt(status: u16, verdict: Verdict) -> Attempt {
    Attempt {
        at_ms: 1,
        duration_ms: 2,
        status: Some(status),
        verdict,
        negotiated: None,
        excerpt: Some("said so".to_owned()),
    }
}

/// Nothing, or what a connection may have negotiated.
pub(super) fn any_negotiated() -> impl Strategy<Value = Option<Negotiated>> {
    let tls = proptest::option::of(proptest::sample::select(Tls::ALL.to_vec()));
    let protocol = proptest::sample::select(Protocol::ALL.to_vec());
    proptest::option::of((protocol, tls).prop_map(|(protocol, tls)| Negotiated { protocol, tls }))
}

/// The next delivery, within a time that is far more than enough.
pub(super) async fn next(queue: &Queue, destination: &str) -> Delivery {
    let destination = name(destination);
    tokio::time::timeout(PATIENCE, queue.next(&destination)).await.expect("no delivery")
}

pub(super) async fn dead_letters(queue: &Queue, filter: DeadFilter) -> Vec<DeadLetter> {
    let page = queue.dead_letters(filter, PageRequest { limit: 1000, after: None }).await.unwrap();
    assert_eq!(page.next, None);
    page.dead
}

/// Whether nothing is handed out although it is waited for a while.
async fn nothing(queue: &Queue, destination: &str) -> bool {
    let destination = name(destination);
    tokio::time::timeout(Duration::from_millis(150), queue.next(&destination)).await.is_err()
}

pub(super) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let held = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub(super) async fn state(queue: &Queue, id: ConversionId, destination: &str) -> State {
    let status = queue.status(id).await.unwrap().expect("status");
    let destination = name(destination);
    status.destinations.into_iter().find(|(name, _)| *name == destination).unwrap().1.state
}

/// What the metrics tell of that name.
pub(super) fn metric(queue: &Queue, name: &str) -> u64 {
    let mut registry = Registry::default();
    queue.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap()
}

fn pending(queue: &Queue, destination: &str) -> u64 {
    queue.depths().destinations.get(&name(destination)).map_or(0, |depth| depth.pending)
}

/// sled on a folder that no queue has. Its lock may be held a moment longer: a child of this process, just forked, has a copy
/// of every file until it is another program.
pub(super) fn open_sled(store: &Path) -> sled::Db {
    let clock = Clock::system();
    loop {
        match sled::Config::new().path(store).flush_every_ms(None).open() {
            Err(error) if error.to_string().contains("could not acquire lock") => {
                assert!(u128::from(clock.elapsed_ms()) < PATIENCE.as_millis(), "{error}");
                std::thread::sleep(Duration::from_millis(2));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Before a test listens to what is logged on its own thread: another listener, who is never gone. While there is but one,
/// what another thread comes to log first is taken to interest nobody, and that is kept for all.
pub(crate) fn never_the_only_listener() {
    static OTHER: LazyLock<tracing::Dispatch> = LazyLock::new(|| {
        let listens = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::sink);
        tracing::Dispatch::new(listens.finish())
    });
    LazyLock::force(&OTHER);
}

/// Copies a folder as it is: what a killed process leaves behind.
pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => copy_folder(&entry.path(), &target),
            // A file may be renamed or removed while the folder is copied.
            _ => drop(std::fs::copy(entry.path(), target)),
        }
    }
}
