//! The store's file, given back: at once, while serving, and cut short at every point.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::queue::folder::{Folder, Lock, State as FolderState, read_state};
use crate::queue::history::{History, Mark};
use crate::queue::record::{Change, Event, Leg, Record, Settlement};
use crate::queue::store::{self, Applier, Ledger, Store};
use crate::queue::vault::Vault;

/// Gives the file back whenever there is nothing else to do.
pub(super) fn always() -> Options {
    Options { sparse: Sparse { file_bytes: 0, times: 0, again_after: Duration::ZERO }, ..small() }
}

/// What the state file says.
pub(super) fn folder_state(path: &Path) -> FolderState {
    read_state(path).unwrap().unwrap()
}

/// Every key and value of the store in force, beside its count of them; the count is right.
fn content(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let dir = store::dir(path, folder_state(path).generation);
    let db = open_sled(&dir);
    let mut found: BTreeMap<Vec<u8>, Vec<u8>> =
        db.iter().map(|entry| entry.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    let counted = found.remove(b"l".as_slice()).unwrap();
    let bytes: usize = found.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum();
    assert_eq!(counted, u64::try_from(bytes).unwrap().to_le_bytes(), "the live bytes are not what is there");
    found
}

/// What is beside the entries of blocks and their count: they may have been written anew.
fn beside_blocks(mut content: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    content.retain(|key, _| key.first() != Some(&b'b'));
    let ledger = content.get_mut(b"m".as_slice()).unwrap();
    *ledger = Ledger { blocks: 0, ..Ledger::decode(ledger).unwrap() }.encode();
    content
}

fn generations(path: &Path) -> Vec<u64> {
    store::generations(path).unwrap()
}

struct Known {
    statuses: Vec<Status>,
    dead: Vec<DeadLetter>,
    depths: Depths,
}

async fn dead_letters(queue: &Queue) -> Vec<DeadLetter> {
    super::dead_letters(queue, DeadFilter::default()).await
}

/// A folder with something of everything, most of it gone: delivered, dead, due in a year, fresh; bodies in one piece and
/// in many. And what its queue says of it.
async fn used(path: &Path) -> Known {
    let queue = open(path, &["a", "b"]);
    let year_ms = Clock::system().unix_ms().saturating_add(365 * 86_400_000);
    let mut ids = Vec::new();
    for number in 0..150 {
        let owed = if number % 10 == 0 { &["a", "b"][..] } else { &["a"] };
        let padding = [300, 30_000, 9000][number % 3];
        ids.push(accept(&queue, submission_of(&format!("used-{number}"), padding, owed)).await);
    }
    for number in 0..150 {
        let delivery = next(&queue, "a").await;
        let (outcome, verdict) = match number % 25 {
            3 => (dead("no"), Verdict::Rejected),
            4 => (Outcome::Retry { due_ms: year_ms, spent: true }, Verdict::Retry),
            _ => (delivered(), Verdict::Delivered),
        };
        // Many pieces of it are kept with those that are not done with.
        let excerpt = Some("x".repeat(2000));
        queue.settle(&delivery, outcome, Some(Attempt { excerpt, ..attempt(200, verdict) }));
    }
    // What is still owed or dead has 360 kB of bodies; those of the others are given back.
    eventually("bodies are gone", async || metric(&queue, "backlog_live_bytes") < 500_000).await;
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(path, &["a", "b"]);
    let known =
        Known { statuses: statuses(&queue, &ids).await, dead: dead_letters(&queue).await, depths: queue.depths() };
    assert_eq!((known.dead.len(), pending(&queue, "a"), pending(&queue, "b")), (6, 6, 15));
    queue.close().await.unwrap();
    known
}

async fn statuses(queue: &Queue, ids: &[ConversionId]) -> Vec<Status> {
    let mut found = Vec::new();
    for id in ids {
        found.push(queue.status(*id).await.unwrap().unwrap_or_else(|| panic!("{id} is lost")));
    }
    found
}

/// Opens the folder and finds all of it, and nothing of any other generation.
async fn check(path: &Path, known: &Known) {
    let queue = open(path, &["a", "b"]);
    assert_eq!(generations(path), [folder_state(path).generation]);
    let ids: Vec<ConversionId> = known.statuses.iter().map(|status| status.id).collect();
    assert_eq!(statuses(&queue, &ids).await, known.statuses);
    assert_eq!(dead_letters(&queue).await, known.dead);
    assert_eq!(queue.depths(), known.depths);
    let order = queue.order("acme", "order-used-7").await.unwrap();
    assert_eq!(order, [known.statuses[7].clone()]);
    let again = queue.accept(submission_of("used-7", 30_000, &["a"])).await.unwrap();
    assert!(matches!(again, Accepted::Duplicate(_)), "{again:?}");
    let mut held = Vec::new();
    for number in (0..150).step_by(10) {
        let delivery = next(&queue, "b").await;
        assert_eq!(delivery.meta().id, ids[number]);
        assert_eq!(delivery.conversion().unwrap().event_id(), format!("used-{number}"));
        held.push(delivery);
    }
    assert!(nothing(&queue, "a").await, "what is due in a year is handed out");
    drop(held);
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_is_given_back_and_all_else_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let known = used(dir.path()).await;
    let all = content(dir.path());
    let (before, after) = Queue::compact(&settings(dir.path(), &["a", "b"])).unwrap();
    assert_eq!(generations(dir.path()), [2]);
    let queue = open(dir.path(), &["a", "b"]);
    let live = metric(&queue, "backlog_live_bytes").saturating_add(metric(&queue, "store_live_bytes"));
    drop(queue);
    // Beside it one of sled's segments.
    println!("{before} bytes before, {after} after, {live} live");
    assert!(after < before && after <= live.saturating_mul(2).saturating_add(512 * 1024), "{before}, {after}, {live}");
    assert!(beside_blocks(content(dir.path())) == beside_blocks(all), "something has changed");
    check(dir.path(), &known).await;
}

#[test]
fn a_copys_file_is_at_most_twice_what_it_holds() {
    let (dir, vault) = (tempfile::tempdir().unwrap(), Arc::new(Vault::plain()));
    let (store, ledger) = Store::create(&dir.path().join("store.1"), 1, Arc::clone(&vault), (0, 1 << 26)).unwrap();
    let mut ledger = ledger;
    let (lock, state) = (Lock(std::fs::File::open(dir.path()).unwrap()), FolderState::first(1, 1));
    let folder = Folder::new(dir.path(), lock, state, 0);
    let history = History::open(dir.path(), dir.path(), state, 1 << 20, Arc::clone(&vault)).unwrap();
    let mut commit = |act: &dyn Fn(&mut Applier<'_>)| {
        let mut applier = Applier::new(&store, &ledger);
        act(&mut applier);
        ledger = applier.commit(&history, &folder, Mark::default()).unwrap();
    };
    for number in 1..=3000_u64 {
        let handed_in = submission_of(&format!("ratio-{number}"), 0, &["a"]);
        let leg = Leg::new(name("a"), Initial::Owed, 1);
        let record = Record::of(&vault, &handed_in).with_seq(number);
        commit(&|applier| applier.move_in(&record, std::slice::from_ref(&leg)).unwrap());
        let outcome =
            if number.is_multiple_of(2) { dead("no") } else { Outcome::Retry { due_ms: number, spent: true } };
        let excerpt = Some("x".repeat(if number.is_multiple_of(3) { 2000 } else { 600 }));
        let attempt = Attempt { excerpt, ..attempt(400, Verdict::Rejected) };
        let settlement = Settlement::new(1, 1, Event::Settled(outcome), Some(attempt));
        let change = Change { seq: number, id: record.meta.id, destination: name("a"), settlement };
        commit(&|applier| assert_eq!(applier.change(&change).unwrap(), None));
    }
    store.begin_copy(&dir.path().join("store.2")).unwrap();
    while !store.copy_more().unwrap() {}
    let copy = store.take_copy().unwrap();
    let (before, after, live) = (store.file_bytes(), copy.file_bytes(), copy.live_bytes());
    println!("{before} bytes before, {after} after, {live} live");
    assert_eq!(live, store.live_bytes());
    // Beside it the segments that sled writes to and keeps in hand, of 512 KiB each.
    assert!(after <= 2 * live + 2 * 1024 * 1024, "{before} bytes before, {after} after, {live} live");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_gives_back_what_is_worth_it() {
    let dir = tempfile::tempdir().unwrap();
    let known = used(dir.path()).await;
    let all = content(dir.path());
    let settings = settings(dir.path(), &["a", "b"]);
    for (file_bytes, times, generation) in [(u64::MAX, 0, 1), (0, u64::MAX, 1), (0, 3, 2)] {
        let sparse = Sparse { file_bytes, times, again_after: Duration::from_secs(3600) };
        drop(Queue::open_with(&settings, Clock::system(), Options { sparse, ..small() }).unwrap());
        assert_eq!(folder_state(dir.path()).generation, generation);
    }
    assert!(content(dir.path()) == all, "something has changed");
    check(dir.path(), &known).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_short_at_any_point_it_opens_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let known = used(dir.path()).await;
    let all = content(dir.path());
    let (mut groups, mut whole) = (0_u32, false);
    while !whole {
        let state = folder_state(dir.path());
        let (store, _) =
            Store::open(&store::dir(dir.path(), state.generation), state, Arc::new(Vault::plain()), 1 << 16).unwrap();
        store.begin_copy(&store::dir(dir.path(), state.generation + 1)).unwrap();
        whole = (0..groups).any(|_| store.copy_more().unwrap());
        // As it is on disk at this moment.
        let left = tempfile::tempdir().unwrap();
        copy_folder(dir.path(), left.path());
        assert_eq!(generations(left.path()), [1, 2]);
        drop(store);
        check(left.path(), &known).await;
        groups = groups.saturating_add(1);
    }
    assert!(groups > 4, "{groups} groups are too few to be cut short");
    // Behind the switch, with the generation before still there.
    let aside = tempfile::tempdir().unwrap();
    copy_folder(&dir.path().join("store.1"), aside.path());
    Queue::compact(&settings(dir.path(), &["a", "b"])).unwrap();
    copy_folder(aside.path(), &dir.path().join("store.1"));
    assert_eq!(folder_state(dir.path()).generation, 2);
    assert!(beside_blocks(content(dir.path())) == beside_blocks(all), "something has changed");
    check(dir.path(), &known).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_it_is_put_off_in_words_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let known = used(dir.path()).await;
    let full = Settings { free_bytes_min: u64::MAX / 2, ..settings(dir.path(), &["a", "b"]) };
    let refused = Queue::compact(&full).unwrap_err().to_string();
    assert!(refused.contains("free bytes") && refused.contains("nothing is lost"), "{refused}");
    let (queue, log) = logged(|| Queue::open_with(&full, Clock::system(), always()).unwrap());
    assert!(log.contains("giving the store's file back is put off") && log.contains("free bytes"), "{log}");
    queue.close().await.unwrap();
    drop(queue);

    // There is room for the copy, and none any more for the state that names it.
    let in_the_way = dir.path().join("state.new");
    std::os::unix::fs::symlink("/dev/full", &in_the_way).unwrap();
    let refused = Queue::compact(&settings(dir.path(), &["a", "b"])).unwrap_err().to_string();
    assert!(refused.contains("cannot be given back"), "{refused}");
    std::fs::remove_file(in_the_way).unwrap();
    assert_eq!(generations(dir.path()), [1]);
    check(dir.path(), &known).await;
}

/// What it does, and logs.
pub(super) fn logged<T>(act: impl FnOnce() -> T) -> (T, String) {
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    never_the_only_listener();
    let done = tracing::subscriber::with_default(subscriber, act);
    let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    (done, log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leftovers_are_named_in_the_log_and_a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let known = used(dir.path()).await;
    copy_folder(&dir.path().join("store.1"), &dir.path().join("store.2"));
    let (queue, log) = logged(|| open(dir.path(), &["a", "b"]));
    assert!(log.contains("store.2") && log.contains("unfinished"), "{log}");
    let refused = Queue::compact(&settings(dir.path(), &["a", "b"])).unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    queue.close().await.unwrap();
    drop(queue);
    let nowhere = dir.path().join("nowhere");
    assert!(matches!(Queue::compact(&settings(&nowhere, &["a"])), Err(OpenError::Read { .. })));
    assert!(!nowhere.exists(), "a folder is made where there was none");
    check(dir.path(), &known).await;

    // A later generation without a state file is no first start that was cut short.
    let other = tempfile::tempdir().unwrap();
    copy_folder(&dir.path().join("store.1"), &other.path().join("store.2"));
    let refused = Queue::open_with(&settings(other.path(), &["a"]), Clock::system(), small()).unwrap_err();
    assert!(refused.to_string().contains("`state` is missing, and there is a store"), "{refused}");
    assert_eq!(generations(other.path()), [2]);
}

/// Delivers or retries each once that it is handed, and notes which were delivered.
async fn deliver(queue: Queue, delivered_ids: Arc<Mutex<Vec<ConversionId>>>) {
    loop {
        let delivery = queue.next(&name("a")).await;
        if delivery.attempt() == 1 && delivery.meta().id.as_bytes()[15].is_multiple_of(3) {
            queue.settle(&delivery, Outcome::Retry { due_ms: 1, spent: true }, Some(attempt(503, Verdict::Retry)));
        } else {
            queue.settle(&delivery, delivered(), Some(attempt(200, Verdict::Delivered)));
            delivered_ids.lock().unwrap().push(delivery.meta().id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_serving_generations_pass_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), &["a", "b"]);
    // Large enough that nothing presses: that would put it off.
    let queue = Queue::open_with(&settings, Clock::system(), Options { window_bytes: 1 << 20, ..always() }).unwrap();
    let delivered_ids = Arc::default();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        workers.spawn(deliver(queue.clone(), Arc::clone(&delivered_ids)));
    }
    let mut accepted: Vec<ConversionId> = Vec::new();
    while folder_state(dir.path()).generation < 6 {
        let number = accepted.len();
        let handed_in = submission_of(&format!("served-{number}"), [300, 30_000][number % 2], &["a", "b"]);
        accepted.push(accept(&queue, handed_in.clone()).await);
        // Ever older ones, back to the first.
        let asked = accepted[number - number % 7 * number / 7];
        let status = queue.status(asked).await.unwrap().unwrap_or_else(|| panic!("{asked} is lost"));
        let order_id = format!("order-{}", status.event_id);
        assert_eq!(queue.order("acme", &order_id).await.unwrap().len(), 1, "{order_id} is lost");
        let again = queue.accept(handed_in).await.unwrap();
        assert!(matches!(again, Accepted::Duplicate(_)), "{again:?}");
        // An idle moment, for the mover to copy in.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let count = u64::try_from(accepted.len()).unwrap();
    eventually("all is delivered", async || pending(&queue, "a") == 0).await;
    assert_eq!(pending(&queue, "b"), count);
    workers.shutdown().await;
    queue.close().await.unwrap();
    drop(queue);
    let mut handed_out = std::mem::take(&mut *delivered_ids.lock().unwrap());
    handed_out.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(handed_out, accepted, "lost or doubled");
    assert_eq!(generations(dir.path()), [folder_state(dir.path()).generation]);
    content(dir.path());
    let queue = open(dir.path(), &["a", "b"]);
    let mut held = Vec::new();
    for id in &accepted {
        assert_eq!(state(&queue, *id, "a").await, State::Delivered);
        held.push(next(&queue, "b").await);
        assert_eq!(held.last().unwrap().meta().id, *id);
    }
}
