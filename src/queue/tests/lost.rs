//! A store that lacks single entries opens, and so does one of which a single conversion is damaged: nothing reads all of it
//! then. What it lacks is said when it is come to.

use std::os::unix::fs::FileExt as _;

use super::generation::logged;
use super::*;
use crate::queue::backlog::tests::{damage, damage_block, damage_blocks};
use crate::queue::log::segment::DATA_START;
use crate::queue::recovery;

/// Dead letters of conversions that were moved before: what has changed since lies in the store, in the order of ids.
async fn buried(queue: &Queue, count: usize) -> Vec<ConversionId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(accept(queue, submission(&["a"])).await);
    }
    eventually("all is moved", async || metric(queue, "window_conversions") == 0).await;
    for _ in 0..count {
        queue.settle(&next(queue, "a").await, dead("refused"), None);
    }
    ids
}

fn remove_first_status(folder: &Path) {
    let store = open_sled(&folder.join("store.1"));
    let (status, _) = store.scan_prefix("s").next().unwrap().unwrap();
    store.remove(status).unwrap();
    store.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_whose_conversion_is_missing_is_counted_and_stops_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(accept(&queue, submission(&["a"])).await);
    }
    queue.close().await.unwrap();
    drop(queue);
    damage(dir.path(), 0);
    let queue = open(dir.path(), &["a"]);
    assert_eq!(metric(&queue, "queue_lost_total"), 0, "nobody has come to it");
    let handed_out = [next(&queue, "a").await, next(&queue, "a").await];
    assert_eq!(handed_out.each_ref().map(|delivery| delivery.meta().id), [ids[1], ids[2]]);
    assert!(nothing(&queue, "a").await);
    assert_eq!(metric(&queue, "queue_lost_total"), 1, "once, however often it is come to");
    assert_eq!(pending(&queue, "a"), 3, "it stays visible");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_is_not_said_to_be_forgotten_before_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    accept(&queue, submission_of("damaged", 200, &["a"])).await;
    accept(&queue, submission(&["a"])).await;
    queue.close().await.unwrap();
    drop(queue);
    damage(dir.path(), 0);
    let queue = open(dir.path(), &["a"]);
    let order = Forget::Order { merchant: "acme".to_owned(), order_id: "order-damaged".to_owned() };
    for _ in 0..2 {
        let done = queue.forget(order.clone()).await.unwrap();
        assert_eq!(done, Forgotten { unread: 1, ..Forgotten::default() });
    }
    let note = dir.path().join("forgetting");
    assert!(note.exists(), "what is left to do");
    queue.close().await.unwrap();
    drop(queue);
    Queue::recover(&settings(dir.path(), &["a"]), Clock::system()).unwrap();
    let queue = open(dir.path(), &["a"]);
    assert!(!note.exists() && pending(&queue, "a") == 1);
    assert_eq!(queue.forget(order).await.unwrap().unread, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_whose_conversion_is_missing_is_counted_and_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let ids = buried(&queue, 3).await;
    queue.close().await.unwrap();
    drop(queue);
    remove_first_status(dir.path());
    let queue = open(dir.path(), &["a"]);
    assert_eq!(metric(&queue, "queue_lost_total"), 0, "nobody has come to it");
    for _ in 0..2 {
        let listed: Vec<_> =
            dead_letters(&queue, DeadFilter::default()).await.into_iter().map(|dead| dead.id).collect();
        assert_eq!(listed, ids[1..]);
        assert_eq!(metric(&queue, "queue_lost_total"), 1, "once, however often it is come to");
    }
    let replayed = queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
    assert_eq!((replayed.matched, replayed.done), (2, 2));
    assert_eq!(metric(&queue, "queue_lost_total"), 1);
    assert_eq!(queue.depths().destinations[&name("a")].dead.total(), 1, "it stays visible");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_says_once_how_many_dead_letters_have_no_conversion() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    buried(&queue, 3).await;
    queue.close().await.unwrap();
    drop(queue);
    remove_first_status(dir.path());
    remove_first_status(dir.path());
    let opened = recovery::open(&settings(dir.path(), &["a"]), Clock::system(), small()).unwrap();
    let page = PageRequest { limit: 1000, after: None };
    for _ in 0..2 {
        let (listed, log) = logged(|| opened.shared.dead_letters(&DeadFilter::default(), &page));
        assert_eq!(listed.unwrap().dead.len(), 1);
        assert!(log.matches("ERROR").count() == 1 && log.contains("count=2"), "{log}");
    }
    assert_eq!(opened.shared.metrics.lost.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_is_dealt_with_while_it_is_listed_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    for _ in 0..400 {
        accept(&queue, submission(&["a"])).await;
        queue.settle(&next(&queue, "a").await, dead("refused"), None);
    }
    eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
    let discard = Treatment::Discard { reason: "dealt with".to_owned() };
    let discarding = queue.treat(DeadFilter::default(), discard);
    let listing = async {
        // Until the store has all of it.
        while metric(&queue, "store_live_bytes") > 1000 {
            dead_letters(&queue, DeadFilter::default()).await;
        }
    };
    let listing = tokio::time::timeout(PATIENCE, listing);
    let (discarded, listed) = tokio::join!(discarding, listing);
    assert_eq!(discarded.unwrap().done, 400);
    listed.unwrap();
    assert_eq!(metric(&queue, "queue_lost_total"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_cannot_be_read_costs_itself_alone_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(accept(&queue, submission_of(&format!("block-{number}"), 50, &["a"])).await);
    }
    eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
    for _ in 0..2 {
        queue.settle(&next(&queue, "a").await, delivered(), None);
    }
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(dir.path(), &["a"]);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(next(&queue, "a").await);
    }
    damage_blocks(dir.path());
    // Its answer comes when it can be read no more.
    queue.settle(&held[0], delivered(), None);
    let goes_on = async |queue: &Queue, word: &str| {
        let new = accept(queue, submission_of(&format!("block-new-{word}"), 50, &["a"])).await;
        let delivery = next(queue, "a").await;
        assert_eq!(delivery.meta().id, new);
        queue.settle(&delivery, delivered(), None);
        eventually("it is moved", async || metric(queue, "window_conversions") == 0).await;
        for (number, id) in ids[..2].iter().enumerate() {
            let status = queue.status(*id).await.unwrap().unwrap();
            assert_eq!(status.destinations[0].1.state, State::Delivered);
            let again = queue.accept(submission_of(&format!("block-{number}"), 50, &["a"])).await.unwrap();
            assert!(matches!(again, Accepted::Duplicate(status) if status.id == *id));
            let of_order = queue.order("acme", &format!("order-block-{number}")).await.unwrap();
            assert_eq!(of_order.iter().map(|status| status.id).collect::<Vec<_>>(), [*id]);
        }
        assert!(queue.status(ids[4]).await.is_err(), "what is damaged is said to be");
        // Nor is a repeat of it a second sale.
        queue.accept(submission_of("block-4", 50, &["a"])).await.expect_err("it cannot be read");
        let erased = queue.forget(Forget::Order { merchant: "acme".to_owned(), order_id: "order-block-5".to_owned() });
        drop(erased.await);
        eventually("it is counted", async || metric(queue, "queue_lost_total") > 0).await;
    };
    goes_on(&queue, "before").await;
    queue.close().await.unwrap();
    drop((queue, held));
    let queue = open(dir.path(), &["a"]);
    goes_on(&queue, "behind").await;
    let mut exported = Vec::new();
    queue.close().await.unwrap();
    drop(queue);
    let selection = Selection::default();
    let told = Queue::export(&settings(dir.path(), &["a"]), Clock::system(), &selection, &mut exported).unwrap();
    assert_eq!((told.conversions, told.unread), (0, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_what_is_lost_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    for _ in 0..LOST {
        accept(&queue, submission(&["a"])).await;
    }
    eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(dir.path(), &["a"]);
    let mut held = Vec::new();
    for _ in 0..LOST {
        held.push(next(&queue, "a").await);
    }
    damage_blocks(dir.path());
    // Another segment of the backlog finds no room: what is to be moved stays, and what became of the rest does not.
    let in_the_way = dir.path().join("state.new");
    std::os::unix::fs::symlink("/dev/full", &in_the_way).unwrap();
    accept(&queue, submission(&["a"])).await;
    eventually("it cannot be moved", async || queue.disk().is_full).await;
    for (number, delivery) in (1..).zip(&held) {
        queue.settle(delivery, delivered(), None);
        eventually("it is lost", async || metric(&queue, "queue_lost_total") >= number).await;
    }
    std::fs::remove_file(in_the_way).unwrap();
    eventually("the other is moved", async || metric(&queue, "window_conversions") == 0).await;
    assert_eq!(metric(&queue, "queue_lost_total"), LOST);
}

/// Now and then a group is without changes: of so many one was in a group that was made twice.
const LOST: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_a_store_that_is_left_meanwhile_asks_again() {
    let dir = tempfile::tempdir().unwrap();
    let opened = recovery::open(&settings(dir.path(), &["a"]), Clock::system(), small()).unwrap();
    let shared = &opened.shared;
    let mut asked = Vec::new();
    let seen = std::sync::Mutex::new(&mut asked);
    let answer = shared.ask(|store| {
        let mut seen = seen.lock().unwrap();
        seen.push(std::ptr::from_ref(store).addr());
        if seen.len() == 1 {
            store.begin_copy(&dir.path().join("store.2")).unwrap();
            while !store.copy_more()? {}
            shared.go_over_to(store.take_copy().unwrap());
        }
        Ok(seen.len())
    });
    assert_eq!(answer.unwrap(), 2);
    assert_ne!(asked[0], asked[1]);
    assert_eq!(asked[1], std::ptr::from_ref(&*shared.store()).addr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_block_that_is_not_written_anew_says_nothing_of_how_far_the_store_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { backlog_bytes: 128 * 1024, ..small() };
    let start = || Queue::open_with(&settings(dir.path(), &["a"]), Clock::system(), options()).unwrap();
    let queue = start();
    for number in 0..400 {
        accept(&queue, submission_of(&format!("sparse-{number}"), 600, &["a"])).await;
    }
    eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
    let first = next(&queue, "a").await;
    damage_block(dir.path());
    for _ in 0..399 {
        let Ok(delivery) = tokio::time::timeout(Duration::from_millis(500), queue.next(&name("a"))).await else {
            break;
        };
        queue.settle(&delivery, delivered(), None);
    }
    // Delivered at the first try: the history's alone.
    for number in 0..100 {
        accept(&queue, submission_of(&format!("new-{number}"), 50, &["a"])).await;
        queue.settle(&next(&queue, "a").await, delivered(), None);
    }
    eventually("it is moved", async || metric(&queue, "window_conversions") == 0).await;
    let segments = || crate::queue::log::segment::numbers(&dir.path().join("backlog")).unwrap();
    eventually("what is whole is given back", async || segments().len() <= 2).await;
    drop(first);
    queue.close().await.unwrap();
    drop(queue);
    start().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_whose_first_cannot_be_read_is_refused_and_stops_nothing() {
    const MANY: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let handed_in = |number: usize| submission_of(&format!("e-{number}"), 200, &["a"]);
    for number in 0..MANY {
        accept(&queue, handed_in(number)).await;
        let delivery = next(&queue, "a").await;
        queue.settle(&delivery, delivered(), None);
    }
    eventually("all is in the history", async || metric(&queue, "window_conversions") == 0).await;
    let names = std::fs::read_dir(dir.path().join("history")).unwrap();
    let first = names.map(|entry| entry.unwrap().path()).min().unwrap();
    let segment = std::fs::OpenOptions::new().write(true).open(first).unwrap();
    segment.write_all_at(&[0xa5; 4096], DATA_START).unwrap();
    let mut refused = 0;
    for number in 0..MANY {
        match queue.accept(handed_in(number)).await {
            Ok(Accepted::Duplicate(_)) => {}
            Err(AcceptError::Unreadable(_)) => refused += 1,
            other => panic!("neither known nor refused: {other:?}"),
        }
    }
    assert!((1..MANY).contains(&refused), "{refused} refused");
    accept(&queue, submission(&["a"])).await;
}
