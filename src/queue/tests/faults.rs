//! What faults of the surroundings must not do: a disk that fills at the wrong moment, restarts in a loop, a store
//! that has lost its end.

use std::collections::BTreeMap;

use super::*;
use crate::queue::record::{Change, Event, Leg, Record, Settlement};
use crate::queue::store::{Ledger, Loaded, MoveBytes};
use crate::queue::vault::Vault;
use crate::queue::window::{Entry, Move, MoveRoom, Ripe, Step, Window};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_segment_refused_for_space_leaves_a_folder_that_opens() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    accept(&queue, submission_of("first", 40_000, &["a"])).await;
    // The next state file meets a full disk; the spare segment has its blocks already.
    std::os::unix::fs::symlink("/dev/full", dir.path().join("state.new")).unwrap();
    let refused = queue.accept(submission_of("large", 30_000, &["a"])).await;
    assert!(matches!(refused, Err(AcceptError::DiskFull(_))), "{refused:?}");
    // A small one would still fit into the old segment: behind the new one's back.
    let small_one = queue.accept(submission_of("small", 10, &["a"])).await.is_ok();
    drop(queue);
    std::fs::remove_file(dir.path().join("state.new")).unwrap();
    let queue = Queue::open_with(&settings(dir.path(), &["a"]), Clock::system(), small());
    let queue = queue.unwrap_or_else(|error| panic!("acknowledged, and the folder is refused: {error}"));
    let known = queue.accept(submission_of("small", 10, &["a"])).await.unwrap();
    assert_eq!(matches!(known, Accepted::Duplicate(_)), small_one, "what was acknowledged is known, and only that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_without_work_leave_no_segments_behind() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..12 {
        let queue = open(dir.path(), &["a"]);
        queue.close().await.unwrap();
    }
    let files = std::fs::read_dir(dir.path().join("journal")).unwrap();
    let segments = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "seg"));
    let count = segments.count();
    assert!(count <= 2, "{count} segments after twelve starts");
}

/// It dies before anything is moved, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_that_come_to_nothing_leave_no_segments_behind() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Options { linger: Duration::from_secs(3600), ..small() };
    let open_slow = || Queue::open_with(&settings(dir.path(), &["a"]), Clock::system(), slow.clone()).unwrap();
    let id = accept(&open_slow(), submission(&["a"])).await;
    for _ in 0..8 {
        drop(open_slow());
    }
    let files = std::fs::read_dir(dir.path().join("journal")).unwrap();
    let segments = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "seg"));
    assert_eq!(segments.count(), 2);
    assert_eq!(next(&open(dir.path(), &["a"]), "a").await.meta().id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_has_just_leapt_ahead_makes_no_repeat_new() {
    for (leap_stands, is_new) in [(Duration::from_secs(3600), false), (Duration::ZERO, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (clock, settings) = (Clock::system(), settings(dir.path(), &["a"]));
        let queue = Queue::open_with(&settings, clock.clone(), Options { leap_stands, ..small() }).unwrap();
        let first = accept(&queue, submission_of("again", 10, &["a"])).await;
        queue.settle(&next(&queue, "a").await, delivered(), None);
        eventually("it is history", async || metric(&queue, "window_conversions") == 0).await;
        // Beyond the window of deduplication, and not so far that history is given up.
        clock.set_forward(settings.dedup_window.saturating_add(Duration::from_secs(60)));
        let mut repeat = submission_of("again", 10, &["a"]);
        repeat.meta.id = id_at(clock.unix_ms());
        match queue.accept(repeat).await.unwrap() {
            Accepted::New(_) => assert!(is_new, "a second sale"),
            Accepted::Duplicate(status) => assert_eq!((status.id, is_new), (first, false)),
            other @ Accepted::KeyReused { .. } => panic!("{other:?}"),
        }
    }
}

/// As many are read ahead as may be, and then the clock is set back.
#[test]
fn what_is_due_is_read_though_what_was_read_ahead_is_due_no_more() {
    let (a, ledger) = (name("a"), Ledger { moved_seq: 999, history_seq: 1, ..Ledger::new(1) });
    let mut window = Window::new(std::slice::from_ref(&a), &ledger, 64, 1000);
    let lease = |seq, due_ms| Lease {
        destination: a.clone(),
        record: Arc::new(Record::of(&Vault::plain(), &submission(&["a"])).with_seq(seq)),
        attempts: 1,
        revision: 1,
        due_ms: Some(due_ms),
        replayed_ms: None,
        acceptance: None,
        is_in_doubt: false,
    };
    let Step::Refill(refill) = window.step(&a, 10_000) else { panic!("nothing is read ahead") };
    let leases = (1..).take(refill.rooms.0.count).map(|seq| lease(seq, 9_000)).collect();
    window.end_refill(&a, Some(Loaded { leases, ..Loaded::default() }));
    let settlement = Settlement::new(2, 1, Event::Settled(Outcome::Retry { due_ms: 4_000, spent: true }), None);
    window.settle(Change { seq: 500, id: id_at(1), destination: a.clone(), settlement });
    window.applied(1, &ledger);
    let Step::Refill(refill) = window.step(&a, 5_000) else { panic!("what is due is not read") };
    assert!(refill.rooms.0.count > 0, "nothing would be read, again and again");
    window.end_refill(&a, Some(Loaded { leases: vec![lease(500, 4_000)], ..Loaded::default() }));
    let Step::Lease(lease) = window.step(&a, 5_000) else { panic!("what is due is not handed out") };
    assert_eq!(lease.record.seq, 500);
}

/// One whose move was refused while it was put off, and that is in somebody's hands for the second time.
fn put_off_while_its_move_was_refused(a: &DestinationName, ledger: &Ledger) -> (Window, ConversionId) {
    let mut window = Window::new(std::slice::from_ref(a), ledger, 64, 1000);
    assert!(matches!(window.step(a, 1000), Step::Refill(_)));
    window.end_refill(a, Some(Loaded::default()));
    let record = Arc::new(Record::of(&Vault::plain(), &submission(&["a"])).with_seq(7));
    let id = record.meta.id;
    window.insert_all([Entry::new(record, vec![Leg::new(a.clone(), Initial::Owed, 1)], 0, None)]);
    assert!(matches!(window.step(a, 1000), Step::Lease(_)));
    let moves = moves_of_all(&mut window);
    assert!(window.settle(seventh(id, a, 1, PUT_OFF)), "it is left to the store");
    window.abort_moves(&moves);
    assert!(matches!(window.step(a, 3000), Step::Lease(_)), "it is handed out to nobody");
    (window, id)
}

fn moves_of_all(window: &mut Window) -> Vec<Move> {
    let bytes = MoveBytes { store: 1 << 20, backlog: 1 << 20, history: 1 << 20 };
    let ripe = Ripe { all: true, linger_ms: 0, headway_ms: 0, elapsed_ms: 0, now_ms: 0 };
    window.begin_moves(MoveRoom { bytes, alone: true }, &ripe)
}

fn seventh(id: ConversionId, a: &DestinationName, revision: u32, outcome: Outcome) -> Change {
    let settlement = Settlement::new(revision, 1, Event::Settled(outcome), None);
    Change { seq: 7, id, destination: a.clone(), settlement }
}

const PUT_OFF: Outcome = Outcome::Retry { due_ms: 2000, spent: true };

#[test]
fn what_is_put_off_while_its_move_is_refused_is_handed_out_and_then_read_again() {
    let (a, ledger) = (name("a"), Ledger { history_seq: 1, ..Ledger::new(1) });
    let (mut window, id) = put_off_while_its_move_was_refused(&a, &ledger);
    // The change comes to nothing while somebody has it.
    window.applied(1, &ledger);
    assert!(!window.settle(seventh(id, &a, 2, PUT_OFF)), "the store does not have it");
    let moves = moves_of_all(&mut window);
    assert_eq!(window.finish_moves(&moves).len(), 1);
    let Step::Refill(refill) = window.step(&a, 3000) else { panic!("what is due is not read") };
    assert!(!refill.skip.contains(&7), "the store has it, and it is never read");
}

#[test]
fn what_was_handed_out_once_its_move_was_refused_is_not_read_before_its_end_is_written_down() {
    let (a, ledger) = (name("a"), Ledger { history_seq: 1, ..Ledger::new(1) });
    let (mut window, id) = put_off_while_its_move_was_refused(&a, &ledger);
    let moves = moves_of_all(&mut window);
    assert!(window.settle(seventh(id, &a, 2, Outcome::Delivered { captured: BTreeMap::new() })));
    window.finish_moves(&moves);
    // Of the two changes the first alone.
    window.applied(1, &ledger);
    let Step::Refill(refill) = window.step(&a, 3000) else { panic!("what is due is not read") };
    assert!(refill.skip.contains(&7), "the store shows it as put off: it would be sent again");
}

#[tokio::test]
async fn who_waits_while_the_store_is_read_sleeps() {
    let a = name("a");
    let ledger = Ledger { history_seq: 1, ..Ledger::new(1) };
    let mut window = Window::new(std::slice::from_ref(&a), &ledger, 10, 10);
    assert!(matches!(window.step(&a, 1000), Step::Refill(_)));
    let legs = vec![Leg::new(a.clone(), Initial::Owed, 1)];
    window.insert_all([Entry::new(
        Arc::new(Record::of(&Vault::plain(), &submission(&["a"])).with_seq(7)),
        legs,
        0,
        None,
    )]);
    let mut woken = 0_u32;
    for _ in 0..1000 {
        let Step::Wait(_, changed) = window.step(&a, 1000) else { panic!("nothing is being read") };
        let notified = changed.notified();
        woken = woken.saturating_add(u32::from(tokio::time::timeout(Duration::ZERO, notified).await.is_ok()));
    }
    assert!(woken <= 1, "woken {woken} times of 1000 by its own asking");
}

#[test]
fn what_is_replayed_is_not_read_ahead_before_the_store_knows_of_it() {
    let a = name("a");
    let ledger = Ledger { moved_seq: 9, history_seq: 1, ..Ledger::new(1) };
    let mut window = Window::new(std::slice::from_ref(&a), &ledger, 10, 10);
    let change = |revision, event| {
        let settlement = Settlement::new(revision, 1, event, None);
        Change { seq: 7, id: id_at(1), destination: a.clone(), settlement }
    };
    assert!(window.settle(change(1, Event::Settled(dead("no")))));
    assert!(window.settle(change(2, Event::Replayed { due_ms: 2, was: DeadKind::Rejected })));
    let mut skipped = |applied| {
        window.applied(applied, &ledger);
        let Step::Refill(refill) = window.step(&a, 1000) else { panic!("nothing is read ahead") };
        assert!(window.end_refill(&a, None).is_empty());
        refill.skip.contains(&7)
    };
    assert!(skipped(0));
    assert!(skipped(1), "the store may know of it at any time: it would be handed out twice");
    assert!(!skipped(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_has_lost_its_end_is_made_whole_from_the_journal() {
    let (dir, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let queue = open(dir.path(), &["a"]);
    let is_moved = async || metric(&queue, "window_conversions") == 0;
    accept(&queue, submission(&["a"])).await;
    eventually("the first is in the store", is_moved).await;
    copy_folder(&dir.path().join("store.1"), &aside.path().join("store.1"));
    let waiting = accept(&queue, submission(&["a"])).await;
    eventually("one more waits in the store", is_moved).await;
    // The history notes that all have been moved.
    let settled = accept(&queue, submission(&[])).await;
    eventually("and one is settled", is_moved).await;
    drop(queue);
    std::fs::remove_dir_all(dir.path().join("store.1")).unwrap();
    copy_folder(&aside.path().join("store.1"), &dir.path().join("store.1"));
    let queue = open(dir.path(), &["a"]);
    assert_eq!(pending(&queue, "a"), 2);
    assert_eq!(state(&queue, waiting, "a").await, State::Queued);
    assert!(queue.status(settled).await.unwrap().is_some());
}

/// What was replayed a moment ago is taken to be withdrawn: the store learns of the replay meanwhile, and a refill must not
/// bring it back.
#[test]
fn what_is_taken_is_not_read_ahead_when_an_older_change_to_it_is_applied() {
    let ledger = Ledger { moved_seq: 9, history_seq: 1, ..Ledger::new(1) };
    let mut window = Window::new(&[name("a")], &ledger, 64, 1000);
    let change = |revision, event| {
        let settlement = Settlement::new(revision, 1, event, None);
        Change { seq: 7, id: id_at(1), destination: name("a"), settlement }
    };
    window.settle(change(2, Event::Replayed { due_ms: 0, was: DeadKind::Rejected }));
    assert!(window.take(&name("a"), 7));
    assert!(!window.take(&name("a"), 7), "it is in somebody's hands");
    window.applied(1, &ledger);
    let Step::Refill(refill) = window.step(&name("a"), 5) else { panic!("nothing is read ahead") };
    assert!(refill.skip.contains(&7), "it is handed out while it is withdrawn");
    window.end_refill(&name("a"), Some(Loaded::default()));
    window.settle(change(3, Event::Withdrawn { reason: String::new() }));
    window.applied(1, &ledger);
    assert_eq!(window.depths().destinations[&name("a")].pending, 0);
}
