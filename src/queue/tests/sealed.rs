//! Encryption at rest: nothing that a merchant sent can be read from the disk, and everything is as it is without.

use std::path::PathBuf;

use super::generation::folder_state;
use super::*;
use crate::queue::vault::Vault;

/// In every place that holds a merchant's words, or a platform's.
const CANARY: &str = "canary-Zx9";

fn sealed(path: &Path, key: u8) -> Settings {
    Settings { encryption: Some(encryption(key)), ..settings(path, &["a", "b"]) }
}

fn plain(path: &Path) -> Settings {
    Settings { encryption: None, ..settings(path, &["a", "b"]) }
}

fn opened(settings: &Settings) -> Queue {
    Queue::open_with(settings, Clock::system(), small()).unwrap()
}

fn telling(event_id: &str, padding: usize) -> Submission {
    let mut submission = submission_of(&format!("{CANARY}-{event_id}"), padding, &["a", "b"]);
    submission.meta.merchant = Arc::from(format!("{CANARY}-merchant"));
    submission.meta.idempotency_key = Some(format!("{CANARY}-key"));
    submission
}

/// Something of everything: delivered, given up, put off, untouched; moved, and (behind that) in the journal alone.
async fn fill(queue: &Queue) -> Vec<ConversionId> {
    let mut ids = Vec::new();
    for (number, padding) in [(0, 200), (1, 40_000), (2, 9000), (3, 200)] {
        ids.push(accept(queue, telling(&number.to_string(), padding)).await);
    }
    let said = Attempt { excerpt: Some(format!("{CANARY}-excerpt")), ..attempt(200, Verdict::Delivered) };
    let captured = [("ticket".to_owned(), format!("{CANARY}-captured"))].into();
    let outcomes = [
        Outcome::Delivered { captured },
        dead(&format!("{CANARY}-reason")),
        Outcome::Retry { due_ms: u64::MAX, spent: true },
    ];
    for destination in ["a", "b"] {
        for outcome in &outcomes {
            queue.settle(&next(queue, destination).await, outcome.clone(), Some(said.clone()));
        }
    }
    eventually("all is moved", async || metric(queue, "window_conversions") == 0).await;
    ids.push(accept(queue, telling("last", 200)).await);
    ids
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Files in which one of these can be found.
pub(super) fn holding(folder: &Path, wanted: &[&[u8]]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        // One that is given up meanwhile holds nothing.
        let bytes = std::fs::read(path).unwrap_or_default();
        wanted.iter().any(|wanted| contains(&bytes, wanted))
    };
    files(folder).into_iter().filter(holds).collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_merchants_can_be_read_from_an_encrypted_folder() {
    let merchant = format!("{CANARY}-merchant");
    let order_hash = Vault::plain().hash(&merchant, &format!("order-{CANARY}-0"));
    let wanted: [&[u8]; 2] = [CANARY.as_bytes(), &order_hash];
    for (encryption, found) in [(None, 2..), (Some(encryption(1)), 0..)] {
        let dir = tempfile::tempdir().unwrap();
        let is_sealed = encryption.is_some();
        let settings = Settings { encryption, ..settings(dir.path(), &["a", "b"]) };
        let queue = opened(&settings);
        let ids = fill(&queue).await;
        drop(queue);
        let holding = holding(dir.path(), &wanted);
        assert!(found.contains(&holding.len()), "{is_sealed}: {holding:?}");
        assert!(!is_sealed || holding.is_empty(), "{holding:?}");
        // All of it is there.
        let queue = opened(&settings);
        for id in &ids {
            let status = queue.status(*id).await.unwrap().unwrap();
            assert!(status.event_id.starts_with(CANARY));
        }
        let delivered = queue.status(ids[0]).await.unwrap().unwrap();
        assert_eq!(delivered.destinations[0].1.captured["ticket"], format!("{CANARY}-captured"));
        let order = queue.order(&merchant, &format!("order-{CANARY}-0")).await.unwrap();
        assert_eq!(order.iter().map(|status| status.id).collect::<Vec<_>>(), ids[..1]);
        match queue.accept(telling("0", 200)).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!(status.id, ids[0]),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
        }
        match queue.accept(telling("0", 201)).await.unwrap() {
            Accepted::KeyReused { first } => assert_eq!(first, ids[0]),
            other @ (Accepted::New(_) | Accepted::Duplicate(_)) => panic!("{other:?}"),
        }
        let third = next(&queue, "a").await;
        assert_eq!(third.conversion().unwrap().event_id(), format!("{CANARY}-3"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_opens_with_its_key_alone_and_keys_can_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let queue = opened(&sealed(dir.path(), 1));
    let ids = fill(&queue).await;
    drop(queue);
    let id = MasterKey::new([1; 32]).id();
    for wrong in [plain(dir.path()), sealed(dir.path(), 2)] {
        for refused in [
            Queue::open(wrong.clone(), Clock::system()).map(drop),
            Queue::survey(&wrong).map(drop),
            Queue::recover(&wrong, Clock::system()).map(drop),
        ] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(&id) && refused.contains("`encryption.key`"), "{refused}");
        }
    }
    let changed = Encryption { old_keys: vec![MasterKey::new([1; 32])], ..encryption(2) };
    let changed = Settings { encryption: Some(changed), ..plain(dir.path()) };
    for settings in [changed, sealed(dir.path(), 2)] {
        let queue = opened(&settings);
        for id in &ids {
            assert!(queue.status(*id).await.unwrap().is_some());
        }
        drop(queue);
    }
    // Bytes are copied as they are.
    Queue::compact(&plain(dir.path())).unwrap();
    assert!(Queue::survey(&sealed(dir.path(), 2)).unwrap().is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_one_of_its_keys_a_folder_promises_no_recovering_but_asks_for_the_backup_of_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let settings = sealed(dir.path(), 1);
    let queue = opened(&settings);
    let ids = fill(&queue).await;
    drop(queue);
    for name in ["index.key", "0000000000000001.key"] {
        let path = dir.path().join("keys").join(name);
        let whole = std::fs::read(&path).unwrap();
        let damages: [fn(&Path); 2] =
            [|path| std::fs::remove_file(path).unwrap(), |path| std::fs::write(path, [0; 8192]).unwrap()];
        for damage in damages {
            damage(&path);
            for refused in [
                Queue::open(settings.clone(), Clock::system()).map(drop),
                Queue::survey(&settings).map(drop),
                Queue::recover(&settings, Clock::system()).map(drop),
            ] {
                let refused = refused.unwrap_err().to_string();
                assert!(refused.contains(name) && refused.contains("Restore `keys/` from a backup"), "{refused}");
                let promises = ["rebuilds the queue", "lets the queue go on", "conversions"];
                assert!(!promises.iter().any(|promise| refused.contains(promise)), "{refused}");
            }
            std::fs::write(&path, &whole).unwrap();
        }
    }
    assert!(opened(&settings).status(ids[0]).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turned_on_later_it_seals_what_comes_from_then_on_and_knows_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let queue = opened(&plain(dir.path()));
    let before = accept(&queue, submission_of("before", 9000, &["a", "b"])).await;
    queue.close().await.unwrap();
    drop(queue);
    let queue = opened(&sealed(dir.path(), 1));
    let ids = fill(&queue).await;
    match queue.accept(submission_of("before", 9000, &["a", "b"])).await.unwrap() {
        Accepted::Duplicate(status) => assert_eq!(status.id, before),
        other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
    }
    drop(queue);
    // What is said of the one that was there before lies with it, in the clear.
    assert_eq!(holding(dir.path(), &[format!("{CANARY}-merchant").as_bytes()]), Vec::<PathBuf>::new());
    let queue = opened(&sealed(dir.path(), 1));
    assert_eq!(queue.order("acme", "order-before").await.unwrap()[0].id, before);
    let mut handed_out = Vec::new();
    for _ in 0..3 {
        let delivery = next(&queue, "a").await;
        handed_out.push(delivery.meta().id);
        queue.settle(&delivery, delivered(), None);
    }
    assert_eq!(handed_out, ids[2..], "the one before was delivered first");
    queue.close().await.unwrap();
    drop(queue);
    assert!(Queue::survey(&sealed(dir.path(), 1)).unwrap().is_whole(), "what is sealed is counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_keys_go_with_what_needs_them_also_when_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Duration::from_secs(3600);
    let settings = Settings { dedup_window: kept, history_keep: kept, ..sealed(dir.path(), 1) };
    let clock = Clock::system();
    let queue = Queue::open_with(&settings, clock.clone(), small()).unwrap();
    let waiting = accept(&queue, submission_of("waiting", 9000, &["b"])).await;
    let oldest = || folder_state(dir.path()).oldest_key;
    for number in 2..=3 {
        clock.set_forward(small().key_time);
        eventually("another data key is made", async || folder_state(dir.path()).newest_key == number).await;
    }
    assert_eq!(oldest(), 1, "what waits needs it");
    let delivery = next(&queue, "b").await;
    assert_eq!(delivery.meta().id, waiting);
    assert_eq!(delivery.conversion().unwrap().event_id(), "waiting");
    queue.settle(&delivery, delivered(), None);
    drop(delivery);
    let first = dir.path().join("keys/0000000000000001.key");
    eventually("the first data key is removed, and what it was for is forgotten", async || {
        clock.set_forward(kept);
        oldest() > 2 && !first.exists() && queue.status(waiting).await.unwrap().is_none()
    })
    .await;
    // What is left of it on the disk, and anything else, does no harm.
    let another = accept(&queue, submission_of("another", 10, &["b"])).await;
    drop(queue);
    let queue = Queue::open_with(&settings, clock, small()).unwrap();
    assert!(queue.status(another).await.unwrap().is_some());
    assert_eq!(queue.status(waiting).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_has_just_leapt_ahead_gives_up_no_history() {
    let dir = tempfile::tempdir().unwrap();
    let settings = sealed(dir.path(), 1);
    let (clock, leap_stands) = (Clock::system(), Duration::from_secs(3600));
    let queue = Queue::open_with(&settings, clock.clone(), Options { leap_stands, ..small() }).unwrap();
    let settled = accept(&queue, submission(&["a"])).await;
    queue.settle(&next(&queue, "a").await, delivered(), None);
    eventually("it is history", async || metric(&queue, "window_conversions") == 0).await;
    clock.set_forward((2 * settings.history_keep).max(small().key_time));
    // Made in the same turn, after what is too old was given up.
    eventually("another data key is made", async || folder_state(dir.path()).newest_key == 2).await;
    assert!(queue.status(settled).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_goes_into_a_folder_with_another_key_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let queue = opened(&sealed(dir.path(), 1));
    let ids = fill(&queue).await;
    queue.close().await.unwrap();
    drop(queue);
    let mut file = Vec::new();
    let exported = Queue::export(&sealed(dir.path(), 1), Clock::system(), &Selection::default(), &mut file).unwrap();
    for settings_of in [plain, |path: &Path| sealed(path, 2)] {
        let other = tempfile::tempdir().unwrap();
        let settings = settings_of(other.path());
        let mut none = |line: u64, why: &str| panic!("{line}: {why}");
        let imported = Queue::import(&settings, Clock::system(), &mut file.as_slice(), &mut none).unwrap();
        assert_eq!(imported.new, exported.conversions);
        let queue = opened(&settings);
        match queue.accept(telling("3", 200)).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!(status.id, ids[3]),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
        }
        match queue.accept(telling("3", 201)).await.unwrap() {
            Accepted::KeyReused { first } => assert_eq!(first, ids[3]),
            other @ (Accepted::New(_) | Accepted::Duplicate(_)) => panic!("{other:?}"),
        }
    }
}
