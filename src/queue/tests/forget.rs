//! What is forgotten on request: nothing more of it is sent, shown or kept, and everything else stays as it is.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;

use super::generation::folder_state;
use super::sealed::holding;
use super::*;

/// In everything that is received for the order that is forgotten.
const CANARY: &str = "canary-Qv7";

fn of_order(event_id: &str, order_id: &str, padding: usize, owed: &[&str]) -> Submission {
    let body = format!(
        r#"{{"time":"2026-01-01T00:00:00Z","event_id":"{event_id}","order_id":"{order_id}",
            "customer":{{"id":"person-{order_id}"}},"custom":{{"x":"{}"}}}}"#,
        order_id.repeat(padding / order_id.len() + 1)
    );
    with_body(&body, owed)
}

fn with_body(body: &str, owed: &[&str]) -> Submission {
    let conversion = Arc::new(Conversion::parse(body.as_bytes(), "generated").unwrap());
    let meta = Meta::new(id_at(Clock::system().unix_ms()), Arc::from("acme"), None, &conversion);
    let plan = owed.iter().map(|text| (name(text), Initial::Owed)).collect();
    Submission { meta, conversion, body: Bytes::from(body.to_owned()), plan, claim: Claim::default() }
}

fn order(order_id: &str) -> Forget {
    Forget::Order { merchant: "acme".to_owned(), order_id: order_id.to_owned() }
}

/// Of an order one delivered, one given up, one put off, one long; moved; then one that is in memory alone.
async fn fill(queue: &Queue, order_id: &str) -> Vec<ConversionId> {
    let mut ids = Vec::new();
    for (number, padding) in [(0, 100), (1, 100), (2, 100), (3, 40_000)] {
        ids.push(accept(queue, of_order(&format!("{order_id}-{number}"), order_id, padding, &["a", "b"])).await);
    }
    let said = Attempt { excerpt: Some(order_id.to_owned()), ..attempt(200, Verdict::Delivered) };
    let put_off = Outcome::Retry { due_ms: u64::MAX, spent: true };
    for destination in ["a", "b"] {
        for outcome in [delivered(), dead(order_id), put_off.clone()] {
            queue.settle(&next(queue, destination).await, outcome, Some(said.clone()));
        }
        // The long one.
        queue.settle(&next(queue, destination).await, put_off.clone(), Some(said.clone()));
    }
    eventually("all is moved", async || metric(queue, "window_conversions") == 0).await;
    ids.push(accept(queue, of_order(&format!("{order_id}-4"), order_id, 100, &["a"])).await);
    ids
}

async fn statuses(queue: &Queue, ids: &[ConversionId]) -> Vec<Option<Status>> {
    let mut statuses = Vec::new();
    for id in ids {
        statuses.push(queue.status(*id).await.unwrap());
    }
    statuses
}

/// Nothing is known of the one order, and all of the other.
async fn check(queue: &Queue, forgotten: &[ConversionId], kept: &[ConversionId], before: &[Option<Status>]) {
    assert_eq!(statuses(queue, forgotten).await, vec![None; forgotten.len()]);
    assert_eq!(queue.order("acme", CANARY).await.unwrap(), []);
    assert_eq!(statuses(queue, kept).await, before);
    assert_eq!(queue.order("acme", "kept").await.unwrap().len(), kept.len());
    let dead: Vec<ConversionId> =
        dead_letters(queue, DeadFilter::default()).await.into_iter().map(|letter| letter.id).collect();
    assert_eq!(dead, [kept[1], kept[1]]);
    let depths = queue.depths();
    let depth = |text| &depths.destinations[&name(text)];
    let counts = ["a", "b"].map(|text| (depth(text).pending, depth(text).dead.total()));
    assert_eq!(counts, [(3, 1), (2, 1)]);
    // A repeat is one, of which nothing is told, whatever it says.
    for padding in [100, 500] {
        match queue.accept(of_order(&format!("{CANARY}-0"), CANARY, padding, &["a", "b"])).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!((status.id, status.destinations), (forgotten[0], Vec::new())),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_forgotten_wherever_it_is_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a", "b"]);
    let kept = fill(&queue, "kept").await;
    // Else it would be handed out in between.
    let last = next(&queue, "a").await;
    let forgotten = fill(&queue, CANARY).await;
    drop(last);
    let before = statuses(&queue, &kept).await;
    let done = queue.forget(order(CANARY)).await.unwrap();
    assert_eq!(done, Forgotten { conversions: 5, withdrawn: 5, dead: 2, being_sent: 0, unread: 0 });
    check(&queue, &forgotten, &kept, &before).await;
    assert_eq!(queue.forget(order(CANARY)).await.unwrap(), Forgotten::default());
    assert_eq!(queue.forget(order("none")).await.unwrap(), Forgotten::default());
    assert_eq!(next(&queue, "a").await.meta().id, kept[4], "nothing else is handed out");
    // Its bytes are in none of the files, and the other's are: where nothing is sealed.
    if settings(dir.path(), &[]).encryption.is_none() {
        let wanted = |text: &str| holding(dir.path(), &[text.as_bytes()]);
        eventually("its bytes are gone", async || wanted(CANARY) == Vec::<PathBuf>::new()).await;
        assert!(wanted("kept").len() >= 2);
    }
    drop(queue);
    let queue = open(dir.path(), &["a", "b"]);
    check(&queue, &forgotten, &kept, &before).await;
    assert_eq!(next(&queue, "a").await.meta().id, kept[4]);
}

/// Dropped after every so manyth step, and then a crash: from the moment that it was written down the next start does the
/// rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_short_at_any_point_it_is_done_by_the_next_start_or_by_asking_again() {
    let person = Forget::Customer { merchant: "acme".to_owned(), identifier: format!("person-{CANARY}") };
    for (what, from, every, trace) in
        [(order(CANARY), 0, 1, CANARY.to_owned()), (person, 1, 3, format!("person-{CANARY}"))]
    {
        let mut polls = 0;
        loop {
            let dir = tempfile::tempdir().unwrap();
            let queue = open(dir.path(), &["a", "b"]);
            let kept = fill(&queue, "kept").await;
            let last = next(&queue, "a").await;
            let forgotten = fill(&queue, CANARY).await.split_off(from);
            drop(last);
            let before = statuses(&queue, &kept).await;
            let whole = polled(queue.forget(what.clone()), polls).await;
            let is_intended = dir.path().join("forgetting").exists();
            drop(queue);
            let queue = open(dir.path(), &["a", "b"]);
            let found = statuses(&queue, &forgotten).await.into_iter().flatten().count();
            assert!(found == 0 || found == forgotten.len() && !is_intended, "{polls}: {found} are left");
            assert!(!dir.path().join("forgetting").exists());
            let again = queue.forget(what.clone()).await.unwrap();
            assert!(found > 0 || again == Forgotten::default(), "{again:?}");
            assert_eq!(statuses(&queue, &forgotten).await, vec![None; forgotten.len()]);
            assert_eq!(statuses(&queue, &kept).await, before);
            eventually("its bytes are gone", async || holding(dir.path(), &[trace.as_bytes()]).is_empty()).await;
            if from == 0 {
                check(&queue, &forgotten, &kept, &before).await;
            }
            if whole {
                assert!(polls > 3, "it was never cut short");
                break;
            }
            polls += every;
        }
    }
}

/// Whether it came to its end within so many times of being asked.
async fn polled<T>(future: impl Future<Output = Result<T, ReadError>>, times: usize) -> bool {
    let (mut future, mut asked) = (pin!(future), 0);
    std::future::poll_fn(|context| {
        asked += 1;
        if asked > times {
            return Poll::Ready(false);
        }
        future.as_mut().poll(context).map(|done| done.is_ok())
    })
    .await
}

/// Where it is not known what is durable a second try would say that it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_down_ends_the_queue_unless_the_disk_is_full() {
    for is_full in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let queue = open(dir.path(), &["a"]);
        accept(&queue, of_order("first", CANARY, 100, &["a"])).await;
        let made = dir.path().join("forgetting.new");
        if is_full {
            std::os::unix::fs::symlink("/dev/full", made).unwrap();
        } else {
            std::fs::create_dir(made).unwrap();
        }
        let refused = queue.forget(order(CANARY)).await.unwrap_err();
        assert!(matches!(refused, ReadError::Closed(_)), "{refused}");
        let failed = futures_util::FutureExt::now_or_never(queue.failed());
        assert_eq!(failed.is_none(), is_full, "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_does_not_bring_back_what_was_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a", "b"]);
    let ids = fill(&queue, CANARY).await;
    queue.close().await.unwrap();
    drop(queue);
    let mut file = Vec::new();
    let settings = settings(dir.path(), &["a", "b"]);
    let exported = Queue::export(&settings, Clock::system(), &Selection::default(), &mut file).unwrap();
    let queue = open(dir.path(), &["a", "b"]);
    queue.forget(order(CANARY)).await.unwrap();
    queue.close().await.unwrap();
    drop(queue);
    let mut none = |line: u64, why: &str| panic!("{line}: {why}");
    let imported = Queue::import(&settings, Clock::system(), &mut file.as_slice(), &mut none).unwrap();
    assert_eq!((imported.new, imported.known), (0, exported.conversions));
    let queue = open(dir.path(), &["a", "b"]);
    assert_eq!(statuses(&queue, &ids).await, vec![None; ids.len()]);
    assert_eq!(folder_state(dir.path()).unclean_generation, 1);
}
