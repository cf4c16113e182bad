//! What the queue promises, held against every engine that can stand behind its handle.
//!
//! A claim speaks the public words of [`capi_relay::queue`] alone, and meets its engine as a [`Subject`]: another engine is
//! held to all of it by one more line in [`SUBJECTS`]. What an engine does behind its callers' backs must not show, so most
//! claims hold at once, once it has come to rest, opened again after a close, and after an end without one ([`Meanwhile`]).
//! What only one engine can do (sizes, damage, files) is tested where that engine is.
//!
//! | file | claims about |
//! | --- | --- |
//! | `accepting` | new, repeated, used again; the window of deduplication; the budget |
//! | `handing_out` | order, retries, what goes back, what is settled once |
//! | `statuses` | every state, by id and by order; holds; what is forgotten |
//! | `dead_letters` | listed, replayed, discarded; too many of them |
//! | `forgetting` | what is forgotten on request |
//! | `depths` | counters in step with statuses |
//! | `reopening` | closed or dropped, and opened again |

mod accepting;
mod dead_letters;
mod depths;
mod forgetting;
mod handing_out;
mod reopening;
mod statuses;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use capi_relay::conversion::{Conversion, ConversionId, DestinationName, Meta};
use capi_relay::queue::{
    AcceptError, Accepted, Asked, Attempt, Claim, Clock, DeadFilter, DeadKind, DeadLetter, Delivery, DeliveryStatus,
    Depth, Encryption, Forget, Forgotten, Hold, HoldKind, Initial, MasterKey, ORDER_STATUSES_MAX, OpenError, Outcome,
    PageRequest, Queue, ReadError, Settings, State, Status, Submission, Treated, Treatment, Verdict,
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

/// An engine as the claims meet it.
struct Subject {
    name: &'static str,
    /// Opens what the settings say, and what was there before.
    open: fn(Settings, Clock) -> Result<Queue, OpenError>,
    /// Whether nothing is under way any more of what the engine does by itself with what it has accepted.
    rests: fn(&Queue) -> bool,
}

/// The engines. Encrypted or not, what is promised is the same.
static SUBJECTS: [Subject; 2] = [
    Subject { name: "embedded", open: Queue::open, rests: embedded_rests },
    Subject {
        name: "embedded-sealed",
        open: |settings, clock| {
            let encryption = Encryption { key: MasterKey::new([1; 32]), old_keys: Vec::new() };
            Queue::open(Settings { encryption: Some(encryption), ..settings }, clock)
        },
        rests: embedded_rests,
    },
];

fn embedded_rests(queue: &Queue) -> bool {
    let mut registry = Registry::default();
    queue.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text.lines().any(|line| line == "window_conversions 0")
}

/// Holds every engine to a claim.
fn every_engine(claim: impl AsyncFn(Ground) + Sync) {
    each(|subject| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { claim(Ground::new(subject, Clock::system(), false)).await });
    });
}

/// The same on a clock that stands, and jumps to the next point of time that is waited for.
fn every_engine_on_paused_time(claim: impl AsyncFn(Ground) + Sync) {
    each(|subject| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async { claim(Ground::new(subject, Clock::tokio(1_700_000_000_000), true)).await });
    });
}

/// All at the same time, for most of it is waiting; each on a thread of its name, which is what a failure tells.
fn each(holds: impl Fn(&'static Subject) + Sync) {
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let threads = SUBJECTS.iter().map(|subject| {
            let thread = std::thread::Builder::new().name(subject.name.to_owned());
            (subject.name, thread.spawn_scoped(scope, || holds(subject)).unwrap())
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect()
    });
    assert!(failed.is_empty(), "not held by {failed:?}");
}

/// What may pass between two looks, and must not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// The engine comes to rest.
    Rest,
    /// It is closed, and opened again.
    Closed,
    /// It is dropped as a crash would leave it, and opened again.
    Dropped,
}

impl Meanwhile {
    /// In an order that counts: what was settled before them all is lazy no more when the last comes.
    const ALL: [Meanwhile; 4] = [Meanwhile::Nothing, Meanwhile::Rest, Meanwhile::Closed, Meanwhile::Dropped];
    /// Without the one in which what has just been settled may be forgotten.
    const SHORT_OF_A_CRASH: [Meanwhile; 3] = [Meanwhile::Nothing, Meanwhile::Rest, Meanwhile::Closed];
}

/// A folder for one claim, how an engine is opened on it, and the clock of both.
struct Ground {
    subject: &'static Subject,
    /// For the destinations `a` and `b`, unless a claim says otherwise.
    settings: Settings,
    clock: Clock,
    is_paused: bool,
    _folder: tempfile::TempDir,
}

impl Ground {
    fn new(subject: &'static Subject, clock: Clock, is_paused: bool) -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            path: folder.path().join("queue"),
            allow_volatile: true,
            pending_bytes_max: 1 << 30,
            free_bytes_min: 0,
            dead_letters_max: 1000,
            dedup_window: Duration::from_secs(3600),
            history_keep: Duration::from_secs(7200),
            encryption: None,
            destinations: vec![name("a"), name("b")],
        };
        Ground { subject, settings, clock, is_paused, _folder: folder }
    }

    fn open(&self) -> Queue {
        (self.subject.open)(self.settings.clone(), self.clock.clone()).unwrap()
    }

    /// The queue after that. Nobody else may have it, or a delivery of it.
    async fn after(&self, meanwhile: Meanwhile, queue: Queue) -> Queue {
        match meanwhile {
            Meanwhile::Nothing => return queue,
            Meanwhile::Rest => {
                if self.is_paused {
                    tokio::time::advance(Duration::from_secs(1)).await;
                }
                eventually("rest", async || (self.subject.rests)(&queue)).await;
                return queue;
            }
            Meanwhile::Closed => queue.close().await.unwrap(),
            Meanwhile::Dropped => {}
        }
        drop(queue);
        self.open()
    }

    /// A new id, of now.
    fn id(&self) -> ConversionId {
        id_at(self.clock.unix_ms())
    }

    /// What a merchant posts, as it is handed in: owed to all of these.
    fn posted(&self, body: &Value, owed: &[&str]) -> Submission {
        let body = body.to_string();
        let conversion = Arc::new(Conversion::parse(body.as_bytes(), "generated").unwrap());
        let meta = Meta::new(self.id(), Arc::from("acme"), None, &conversion);
        let plan = owed.iter().map(|text| (name(text), Initial::Owed)).collect();
        Submission { meta, conversion, body: Bytes::from(body), plan, claim: Claim::default() }
    }

    /// A conversion with this event id, of an order of its own. Another note is another content.
    fn noted(&self, event_id: &str, note: &str, owed: &[&str]) -> Submission {
        let order_id = format!("order-{event_id}");
        let body = json!({
            "time": "2026-01-01T00:00:00Z", "event_id": event_id, "order_id": order_id, "custom": { "note": note },
        });
        self.posted(&body, owed)
    }

    /// One that nobody has handed in before.
    fn submission(&self, owed: &[&str]) -> Submission {
        self.noted(&format!("e{}", NUMBER.fetch_add(1, Ordering::Relaxed)), "", owed)
    }

    /// Such a one, accepted.
    async fn accepted(&self, queue: &Queue, owed: &[&str]) -> ConversionId {
        accept(queue, self.submission(owed)).await
    }

    /// Accepted for `a`, and given up.
    async fn given_up(&self, queue: &Queue) -> ConversionId {
        let id = self.accepted(queue, &["a"]).await;
        let delivery = next(queue, "a").await;
        assert_eq!(delivery.meta().id, id);
        queue.settle(&delivery, dead("refused"), Some(attempt(400, Verdict::Rejected)));
        id
    }
}

/// A running number: no two ids or keys of these tests meet.
static NUMBER: AtomicU64 = AtomicU64::new(1);

fn id_at(unix_ms: u64) -> ConversionId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    ConversionId::new(unix_ms, random)
}

fn name(text: &str) -> DestinationName {
    DestinationName::parse(text).unwrap()
}

fn delivered() -> Outcome {
    Outcome::Delivered { captured: Default::default() }
}

fn dead(reason: &str) -> Outcome {
    Outcome::Dead { kind: DeadKind::Rejected, reason: reason.to_owned() }
}

fn retry(due_ms: u64) -> Outcome {
    Outcome::Retry { due_ms, spent: true }
}

fn accepted(due_ms: u64) -> Outcome {
    Outcome::Accepted { due_ms, captured: [("uri".to_owned(), "/s/1".to_owned())].into() }
}

fn attempt(status: u16, verdict: Verdict) -> Attempt {
    Attempt {
        at_ms: 1,
        duration_ms: 2,
        status: Some(status),
        verdict,
        negotiated: None,
        excerpt: Some("said so".to_owned()),
    }
}

async fn accept(queue: &Queue, submission: Submission) -> ConversionId {
    match queue.accept(submission).await.unwrap() {
        Accepted::New(status) => status.id,
        other @ (Accepted::Duplicate(_) | Accepted::KeyReused { .. }) => panic!("not new: {other:?}"),
    }
}

/// The first one's status, by the answer to a repeat.
#[track_caller]
fn duplicate(answer: Accepted) -> Status {
    match answer {
        Accepted::Duplicate(status) => status,
        other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("no duplicate: {other:?}"),
    }
}

/// The next delivery, which must come.
async fn next(queue: &Queue, destination: &str) -> Delivery {
    next_within(PATIENCE, queue, destination).await
}

async fn next_within(patience: Duration, queue: &Queue, destination: &str) -> Delivery {
    let destination = name(destination);
    let handed_out = tokio::time::timeout(patience, queue.next(&destination)).await;
    handed_out.unwrap_or_else(|_| panic!("no delivery for {destination}"))
}

/// Whether nothing is handed out although it is waited for a while.
async fn nothing(queue: &Queue, destination: &str) -> bool {
    let destination = name(destination);
    tokio::time::timeout(Duration::from_millis(150), queue.next(&destination)).await.is_err()
}

async fn status(queue: &Queue, id: ConversionId) -> Status {
    queue.status(id).await.unwrap().unwrap_or_else(|| panic!("{id} is lost"))
}

/// How a conversion stands at one destination.
async fn at(queue: &Queue, id: ConversionId, destination: &str) -> DeliveryStatus {
    let destination = name(destination);
    status(queue, id).await.destinations.into_iter().find(|(name, _)| *name == destination).unwrap().1
}

fn depth(queue: &Queue, destination: &str) -> Depth {
    queue.depths().destinations[&name(destination)].clone()
}

/// All that are meant, which are few enough for one page.
async fn dead_letters(queue: &Queue, filter: DeadFilter) -> Vec<DeadLetter> {
    let page = queue.dead_letters(filter, PageRequest { limit: 1000, after: None }).await.unwrap();
    assert_eq!(page.next, None);
    page.dead
}

/// Looks again and again. In between time passes in the world, and none on a paused clock: what is waited for is done by
/// threads that no runtime sees.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(5))).await.unwrap();
    }
}

/// Nothing that is right takes longer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
