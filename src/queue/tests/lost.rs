//! A store that lacks single entries opens, and so does one of which a single conversion is damaged: nothing reads all of it
//! then. What it lacks is said when it is come to.

use super::generation::logged;
use super::*;
use crate::queue::backlog::tests::damage;
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
    assert_eq!(queue.depths().destinations[&name("a")].dead, 1, "it stays visible");
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
