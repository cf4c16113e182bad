//! Dead letters are dealt with once, for good, and never silently lost.

use super::*;

/// Accepts a conversion for `a` and gives it up.
async fn given_up(queue: &Queue) -> ConversionId {
    let id = accept(queue, submission(&["a"])).await;
    let delivery = next(queue, "a").await;
    assert_eq!(delivery.meta().id, id);
    queue.settle(&delivery, dead("refused"), Some(attempt(400, Verdict::Rejected)));
    id
}

/// The same queue, with everything in its store and nothing in memory.
async fn stored(queue: Queue, path: &Path) -> Queue {
    queue.close().await.unwrap();
    drop(queue);
    open(path, &["a", "b"])
}

/// A queue with one dead letter, in memory or in the store.
async fn one_given_up(path: &Path, in_store: bool) -> (Queue, ConversionId) {
    let queue = open(path, &["a", "b"]);
    let id = given_up(&queue).await;
    (if in_store { stored(queue, path).await } else { queue }, id)
}

fn discard(reason: &str) -> Treatment {
    Treatment::Discard { reason: reason.to_owned() }
}

fn of(ids: &[ConversionId]) -> DeadFilter {
    DeadFilter { ids: Some(ids.to_vec()), ..DeadFilter::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_dead_letter_is_owed_again_and_counts_anew() {
    for in_store in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (queue, id) = one_given_up(dir.path(), in_store).await;
        let before_ms = Clock::system().unix_ms();
        let treated = queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
        assert_eq!(treated, Treated { matched: 1, done: 1 });
        assert_eq!(dead_letters(&queue, DeadFilter::default()).await, []);
        let depth = queue.depths().destinations[&name("a")].clone();
        assert_eq!((depth.pending, depth.dead), (1, 0));
        let delivery = next(&queue, "a").await;
        assert_eq!((delivery.meta().id, delivery.attempt()), (id, 1));
        assert!(delivery.owed_since_ms() >= before_ms);
        let again = Outcome::Retry { due_ms: 1, spent: true };
        queue.settle(&delivery, again, Some(attempt(503, Verdict::Retry)));
        let delivery = next(&queue, "a").await;
        assert_eq!(delivery.attempt(), 2);
        assert!(delivery.owed_since_ms() >= before_ms, "a retry forgets that it was replayed");
        queue.settle(&delivery, delivered(), Some(attempt(200, Verdict::Delivered)));
        let status = queue.status(id).await.unwrap().unwrap();
        let statuses: Vec<_> = status.destinations[0].1.history.iter().map(|attempt| attempt.status).collect();
        assert_eq!(statuses, [Some(400), Some(503), Some(200)], "what was before is kept");
        assert_eq!(status.destinations[0].1.state, State::Delivered);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discarded_dead_letter_is_none_any_more_and_says_why() {
    for in_store in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (queue, id) = one_given_up(dir.path(), in_store).await;
        queue.treat(of(&[id]), discard("paid by hand")).await.unwrap();
        let status = queue.status(id).await.unwrap().unwrap().destinations.remove(0).1;
        assert_eq!((status.state, status.reason.as_deref()), (State::Discarded, Some("paid by hand")));
        assert_eq!(queue.depths().destinations[&name("a")].dead, 0);
        assert!(nothing(&queue, "a").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dealing_with_one_twice_does_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let ids = [given_up(&queue).await, given_up(&queue).await];
    let (one, other) = tokio::join!(queue.treat(of(&ids), Treatment::Replay), queue.treat(of(&ids), Treatment::Replay));
    let done = [one.unwrap().done, other.unwrap().done];
    assert_eq!(done.iter().sum::<u64>(), 2);
    let held = [next(&queue, "a").await, next(&queue, "a").await];
    assert!(nothing(&queue, "a").await, "one was handed out twice");
    assert_eq!(queue.treat(of(&ids), discard("late")).await.unwrap(), Treated { matched: 0, done: 0 });
    assert_eq!(pending(&queue, "a"), 2);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dealt_with_stays_so_when_the_process_is_killed_at_once() {
    for in_store in [false, true] {
        let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut queue = open(dir.path(), &["a", "b"]);
        let (replayed, discarded) = (given_up(&queue).await, given_up(&queue).await);
        if in_store {
            queue = stored(queue, dir.path()).await;
        }
        queue.treat(of(&[replayed]), Treatment::Replay).await.unwrap();
        queue.treat(of(&[discarded]), discard("no")).await.unwrap();
        let killed = copy.path().join("killed");
        copy_folder(dir.path(), &killed);
        let queue = open(&killed, &["a"]);
        assert_eq!(state(&queue, replayed, "a").await, State::Queued);
        assert_eq!(state(&queue, discarded, "a").await, State::Discarded);
        assert_eq!(next(&queue, "a").await.meta().id, replayed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_are_meant_are_dealt_with_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path(), &["a", "b"]);
    let mut ids = Vec::new();
    for kind in [DeadKind::Rejected, DeadKind::Unmappable] {
        let id = accept(&queue, submission(&["a", "b"])).await;
        for destination in ["a", "b"] {
            let delivery = next(&queue, destination).await;
            queue.settle(&delivery, Outcome::Dead { kind, reason: "no".to_owned() }, None);
        }
        ids.push(id);
    }
    let order_id = queue.status(ids[0]).await.unwrap().unwrap().order_id;
    for _ in 0..2 {
        let check = async |filter: DeadFilter, expected: usize| {
            assert_eq!(dead_letters(&queue, filter.clone()).await.len(), expected, "{filter:?}");
        };
        check(DeadFilter { order_id: order_id.clone(), ..DeadFilter::default() }, 2).await;
        check(DeadFilter { order_id: Some("other".to_owned()), ..DeadFilter::default() }, 0).await;
        check(DeadFilter { until_ms: Some(1), ..DeadFilter::default() }, 0).await;
        check(DeadFilter { destination: Some(name("b")), ids: Some(vec![ids[1]]), ..DeadFilter::default() }, 1).await;
        check(DeadFilter { kind: Some(DeadKind::Unmappable), ids: Some(vec![ids[0]]), ..DeadFilter::default() }, 0)
            .await;
        queue = stored(queue, dir.path()).await;
    }
    let unmappable = DeadFilter { kind: Some(DeadKind::Unmappable), ..DeadFilter::default() };
    assert_eq!(queue.treat(unmappable, discard("map mended")).await.unwrap(), Treated { matched: 2, done: 2 });
    assert_eq!(state(&queue, ids[1], "a").await, State::Discarded);
    assert_eq!(state(&queue, ids[0], "a").await, State::Dead(DeadKind::Rejected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_are_replayed_at_once_each_handed_out_once() {
    const MANY: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let mut due = std::collections::BTreeSet::new();
    for _ in 0..MANY {
        due.insert(given_up(&queue).await);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_too_many_dead_letters_the_destination_stops_until_some_are_dealt_with() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { dead_letters_max: 3, ..settings(dir.path(), &["a"]) };
    let queue = Queue::open_with(&settings, Clock::system(), small()).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(given_up(&queue).await);
    }
    let waiting = accept(&queue, submission(&["a"])).await;
    assert!(nothing(&queue, "a").await);
    let status = queue.status(waiting).await.unwrap().unwrap().destinations.remove(0).1;
    let reason = "3 dead letters are kept, and no more: replay or discard them";
    assert_eq!((status.state, status.reason.as_deref()), (State::Held, Some(reason)));
    assert_eq!(queue.depths().destinations[&name("a")].stopped.as_deref(), Some(reason));
    queue.close().await.unwrap();
    drop(queue);
    let queue = Queue::open_with(&settings, Clock::system(), small()).unwrap();
    let destination = name("a");
    let asked = queue.next(&destination);
    tokio::pin!(asked);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut asked).await.is_err(), "stopped after a restart too");
    queue.treat(of(&ids[..1]), discard("seen")).await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap().meta().id, waiting);
}
