//! More than memory holds, more than is done at once, destinations that do not answer, a disk that is nearly full.

use super::*;
use crate::queue::embedded::Embedded;
use crate::queue::store::MoveBytes;
use crate::queue::window::{MoveRoom, Ripe};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn far_beyond_the_window_order_is_kept_and_memory_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a", "dead"]);
    let mut accepted = Vec::new();
    for _ in 0..1500 {
        accepted.push(accept(&queue, submission(&["a", "dead"])).await);
    }
    assert_eq!(pending(&queue, "a"), 1500);
    let mut handed_out = Vec::new();
    for _ in 0..1500 {
        let delivery = next(&queue, "a").await;
        handed_out.push(delivery.meta().id);
        queue.settle(&delivery, delivered(), None);
    }
    assert_eq!(handed_out, accepted);
    assert_eq!((pending(&queue, "a"), pending(&queue, "dead")), (0, 1500));
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(dir.path(), &["a", "dead"]);
    assert_eq!((pending(&queue, "a"), pending(&queue, "dead")), (0, 1500));
    let oldest_ms = queue.depths().destinations[&name("dead")].oldest_pending_ms;
    assert_eq!(oldest_ms, Some(accepted[0].unix_ms()));
    for id in &accepted {
        let delivery = next(&queue, "dead").await;
        assert_eq!(delivery.meta().id, *id);
        queue.settle(&delivery, delivered(), None);
    }
    assert!(nothing(&queue, "dead").await);
    eventually("nothing pending", async || queue.depths().pending_bytes == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_delivered_before_is_not_the_oldest_that_waits() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let first = accept(&queue, submission(&["a"])).await;
    eventually("it is moved", async || metric(&queue, "window_conversions") == 0).await;
    let oldest_ms = || queue.depths().destinations[&name("a")].oldest_pending_ms;
    assert_eq!(oldest_ms(), Some(first.unix_ms()));
    queue.settle(&next(&queue, "a").await, delivered(), None);
    let second = accept(&queue, submission(&["a"])).await;
    assert!(second.unix_ms() > first.unix_ms());
    assert_eq!(oldest_ms(), Some(second.unix_ms()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_lets_nobody_deal_with_letters_beside_what_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Embedded::open(&settings(dir.path(), &["a"]), Clock::system(), small()).unwrap();
    engine.accept(submission(&["a"])).await.unwrap();
    engine.settle(&engine.next(&name("a")).await, dead("no"), None);
    // What is done comes no further while somebody else looks at the window.
    let (shared, (holds, held)) = (Arc::clone(&engine.shared), std::sync::mpsc::sync_channel(1));
    let (go, goes) = std::sync::mpsc::sync_channel::<()>(1);
    let holder = std::thread::spawn(move || {
        let window = shared.window();
        holds.send(()).unwrap();
        goes.recv().unwrap();
        drop(window);
    });
    held.recv().unwrap();
    let discard = Treatment::Discard { reason: "enough".to_owned() };
    let asked = tokio::time::timeout(Duration::from_millis(50), engine.treat(DeadFilter::default(), discard)).await;
    assert!(asked.is_err(), "it went away");
    let free = || engine.shared.treating.available_permits();
    assert_eq!(free(), 0, "what it asked for is still being done");
    go.send(()).unwrap();
    holder.join().unwrap();
    eventually("it is done", async || free() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_budget_it_refuses_without_waiting_for_a_place_in_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { pending_bytes_max: 1, ..settings(dir.path(), &["a"]) };
    let options = Options { linger: Duration::from_secs(3600), ..small() };
    let engine = Embedded::open(&settings, Clock::system(), options).unwrap();
    engine.accept(submission(&["a"])).await.unwrap();
    let places = u32::try_from(engine.shared.room.available_permits()).unwrap();
    let taken = Arc::clone(&engine.shared.room).acquire_many_owned(places).await.unwrap();
    // Larger than what the first gives back when it is moved.
    let larger = submission_of("larger", 4096, &["a"]);
    let answer = tokio::time::timeout(PATIENCE, engine.accept(larger)).await;
    let refusal = answer.expect("it waits for a place").unwrap_err();
    assert!(matches!(refusal, AcceptError::Full { .. }), "{refusal}");
    drop(taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_nobody_asks_for_pins_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a", "dead"]);
    for _ in 0..1000 {
        accept(&queue, submission(&["a", "dead"])).await;
        let delivery = next(&queue, "a").await;
        queue.settle(&delivery, delivered(), None);
    }
    let segments = || {
        let names = std::fs::read_dir(dir.path().join("journal")).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "seg")).count()
    };
    eventually("segments are given up", async || segments() <= 3).await;
    assert_eq!(pending(&queue, "dead"), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_nearly_full_refuses_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { free_bytes_min: u64::MAX / 2, ..settings(dir.path(), &["a"]) };
    let queue = Queue::open_with(&settings, Clock::system(), small()).unwrap();
    let refusal = queue.accept(submission(&["a"])).await.unwrap_err();
    assert!(matches!(refusal, AcceptError::DiskFull(_)), "{refusal}");
    assert_eq!(pending(&queue, "a"), 0);
    let disk = queue.disk();
    assert!(disk.is_full && disk.free_bytes.is_some_and(|free| free < disk.free_bytes_min), "{disk:?}");
}

/// What a claim says of the queue when it is given up.
struct Watching(Queue, std::sync::mpsc::SyncSender<u64>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.1.send(pending(&self.0, "a")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_lasts_until_the_delivery_is_pending_whoever_still_waits() {
    let dir = tempfile::tempdir().unwrap();
    // With room in the window for all of them, however slow the disk is: who waits for room is not on its way yet.
    let options = Options { window_bytes: 1024 * 1024, ..small() };
    let queue = Queue::open_with(&settings(dir.path(), &["a"]), Clock::system(), options).unwrap();
    for is_awaited in [true, false] {
        for before in 0..20 {
            let (given_up, when) = std::sync::mpsc::sync_channel(1);
            let claim = Claim::of(Watching(queue.clone(), given_up));
            let accepting = queue.accept(Submission { claim, ..submission(&["a"]) });
            if is_awaited {
                accepting.await.unwrap();
            } else {
                // Polled once, it is on its way.
                drop(futures_util::FutureExt::now_or_never(accepting));
            }
            let pending = tokio::task::spawn_blocking(move || when.recv().unwrap()).await.unwrap();
            assert_eq!(pending, before + 1 + if is_awaited { 0 } else { 20 });
        }
    }
    // Of a repeat nothing will be pending.
    let (given_up, when) = std::sync::mpsc::sync_channel(1);
    let repeat = submission_of("again", 0, &["a"]);
    queue.accept(repeat.clone()).await.unwrap();
    let claim = Claim::of(Watching(queue.clone(), given_up));
    queue.accept(Submission { claim, ..repeat }).await.unwrap();
    assert_eq!(when.recv().unwrap(), 41);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_larger_than_a_group_of_the_store_or_a_segment_are_kept_whole() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let mut expected = Vec::new();
    for (padding, spaces) in [(40_000, 0), (70_000, 0), (130_000, 0), (1000, 1_500_000), (10, 0)] {
        let mut handed_in = submission_of(&format!("large-{padding}"), padding, &["a"]);
        handed_in.body = [handed_in.body.as_ref(), " ".repeat(spaces).as_bytes()].concat().into();
        let length = handed_in.body.len();
        expected.push((accept(&queue, handed_in).await, length));
    }
    eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(dir.path(), &["a"]);
    for (id, length) in expected {
        let delivery = next(&queue, "a").await;
        assert_eq!((delivery.meta().id, delivery.lease.record.body.len()), (id, length));
        assert!(delivery.conversion().is_ok());
        let attempt = Attempt { excerpt: Some("x".repeat(2048)), ..attempt(200, Verdict::Delivered) };
        queue.settle(&delivery, delivered(), Some(attempt));
    }
    eventually("nothing pending", async || queue.depths().pending_bytes == 0).await;
    // What sled writes to files of their own no sync of ours covers: there must not be any.
    let blobs = std::fs::read_dir(dir.path().join("store.1/blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0);
}

/// Takes and settles until all of them together have taken so many. Cancels its waiting all the time: nothing may be lost by
/// that.
async fn work(queue: Queue, wait: Duration, taken: Arc<AtomicU64>, many: u64) -> Vec<ConversionId> {
    let mut mine = Vec::new();
    while taken.load(Ordering::Relaxed) < many {
        if let Ok(delivery) = tokio::time::timeout(wait, queue.next(&name("a"))).await {
            queue.settle(&delivery, delivered(), None);
            mine.push(delivery.meta().id);
            taken.fetch_add(1, Ordering::Relaxed);
        }
    }
    mine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_workers_get_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    const MANY: u64 = 1200;
    let (mut workers, taken) = (tokio::task::JoinSet::new(), Arc::default());
    for worker in 0..8_u64 {
        workers.spawn(work(queue.clone(), Duration::from_millis(1 + worker % 3), Arc::clone(&taken), MANY));
    }
    let mut accepted = Vec::new();
    for _ in 0..MANY {
        accepted.push(accept(&queue, submission(&["a"])).await);
    }
    let handed_out = tokio::time::timeout(PATIENCE, workers.join_all()).await.expect("some are handed to nobody");
    let mut handed_out: Vec<_> = handed_out.into_iter().flatten().collect();
    handed_out.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(handed_out.len(), accepted.len());
    assert_eq!(handed_out, accepted);
    assert!(nothing(&queue, "a").await, "something is handed out twice");
    assert_eq!(pending(&queue, "a"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_dead_letters_are_replayed_group_by_group_each_handed_out_once() {
    const MANY: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let mut due = std::collections::BTreeSet::new();
    for _ in 0..MANY {
        due.insert(accept(&queue, submission(&["a"])).await);
        queue.settle(&next(&queue, "a").await, dead("refused"), Some(attempt(400, Verdict::Rejected)));
    }
    let many = u64::try_from(MANY).unwrap();
    let treated = queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
    assert_eq!(treated, Treated { matched: many, done: many });
    for _ in 0..MANY {
        let delivery = next(&queue, "a").await;
        assert!(due.remove(&delivery.meta().id), "handed out twice");
        queue.settle(&delivery, delivered(), None);
    }
    assert_eq!(queue.depths().destinations[&name("a")], Depth::default());
}

/// Half of them were given up while the clock was a day ahead; all are given up again while they are replayed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_of_a_clock_that_was_ahead_are_replayed_too_and_none_twice() {
    const MANY: u64 = 40;
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { dead_letters_max: 2 * MANY, ..settings(dir.path(), &["a"]) };
    for ahead in [Duration::from_secs(86_400), Duration::ZERO] {
        let clock = Clock::system();
        clock.set_forward(ahead);
        let queue = Queue::open_with(&settings, clock, small()).unwrap();
        for _ in 0..MANY {
            accept(&queue, submission(&["a"])).await;
            queue.settle(&next(&queue, "a").await, dead("refused"), None);
        }
        queue.close().await.unwrap();
    }
    let queue = Queue::open_with(&settings, Clock::system(), small()).unwrap();
    assert!(queue.depths().destinations[&name("a")].stopped.is_some());
    let mut giving_up: tokio::task::JoinSet<()> = tokio::task::JoinSet::new();
    let worker = queue.clone();
    giving_up.spawn(async move {
        loop {
            worker.settle(&next(&worker, "a").await, dead("again"), None);
        }
    });
    let treated = queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
    assert_eq!(treated, Treated { matched: 2 * MANY, done: 2 * MANY });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_waits_for_its_turn_lingers_longer() {
    const HOUR_MS: u64 = 3_600_000;
    for (owed, many, put_off, age_ms, pause_ms, is_moved) in [
        (&["a"][..], 2, false, 0, 0, false),
        (&["a"], 2, false, 60_000, 0, false),
        (&["a"], 2, false, HOUR_MS, 0, true),
        // At a pace of one a step its destination is done with eight soon, and not with more.
        (&["a"], 8, false, 60_000, 0, false),
        (&["a"], 9, false, 0, 0, false),
        (&["a"], 9, false, 60_000, 0, true),
        // All is handed out, and that for an hour.
        (&["a"], 1, false, 60_000, HOUR_MS, true),
        // Its destination has taken nothing for an hour.
        (&["a"], 2, false, 60_000, HOUR_MS, true),
        (&["a", "stands"], 2, false, 0, 0, false),
        (&["a", "stands"], 2, false, 60_000, 0, true),
        // It waits for another attempt.
        (&["a"], 2, true, 60_000, 0, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { linger: Duration::from_secs(3600), window_bytes: 1 << 24, ..small() };
        let engine = Embedded::open(&settings(dir.path(), &["a", "stands"]), Clock::system(), options).unwrap();
        let now_ms = engine.shared.clock.unix_ms();
        for _ in 0..many {
            engine.accept(submission(owed)).await.unwrap();
        }
        let first = engine.next(&name("a")).await;
        if put_off {
            engine.settle(&first, Outcome::Retry { due_ms: now_ms + HOUR_MS, spent: true }, None);
        }
        let elapsed_ms = engine.shared.clock.elapsed_ms() + age_ms;
        let now_ms = now_ms + pause_ms;
        let ripe = Ripe { all: false, linger_ms: 60_000, headway_ms: HOUR_MS, elapsed_ms, now_ms };
        let bytes = MoveBytes { store: 1 << 20, backlog: 1 << 20, history: 1 << 20 };
        let moves = engine.shared.window().begin_moves(MoveRoom { bytes, alone: true }, &ripe);
        assert_eq!(!moves.is_empty(), is_moved, "{owed:?} {many} {put_off} {age_ms} {pause_ms}");
    }
}
