//! A store that lacks single entries opens: nothing counts all of it then. What it lacks is said when it is come to.

use super::*;

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
    let store = sled::Config::new().path(dir.path().join("store.1")).open().unwrap();
    // Statuses lie in the order of ids.
    let (status, _) = store.scan_prefix("s").next().unwrap().unwrap();
    store.remove(status).unwrap();
    store.flush().unwrap();
    drop(store);
    let queue = open(dir.path(), &["a"]);
    assert_eq!(metric(&queue, "queue_lost_total"), 0, "nobody has come to it");
    let handed_out = [next(&queue, "a").await, next(&queue, "a").await];
    assert_eq!(handed_out.each_ref().map(|delivery| delivery.meta().id), [ids[1], ids[2]]);
    assert!(nothing(&queue, "a").await);
    assert_eq!(metric(&queue, "queue_lost_total"), 1, "once, however often it is come to");
    assert_eq!(pending(&queue, "a"), 3, "it stays visible");
}
