use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

use super::super::status::{DeadFilter, DeadLetter, Depths, Outcome, State, Status, Treatment, Verdict};
use super::super::tests::{
    accept, attempt, copy_folder, dead, dead_letters, delivered, encryption, eventually, metric, name, next, open_sled,
    settings, small, state, submission_of,
};
use super::super::{Accepted, Forget, Queue};
use super::*;

mod backlog;

const NAMES: [&str; 2] = ["a", "b"];

/// The journal keeps all of it; the history has many segments.
fn roomy() -> Options {
    Options { segment_bytes: 4 << 20, window_bytes: 1 << 24, history_bytes: 24 * 1024, ..small() }
}

fn opened(path: &Path, options: Options) -> Result<Queue, OpenError> {
    Queue::open_with(&settings(path, &NAMES), Clock::system(), options)
}

/// Many that are delivered, one given up, one put off, some untouched; closed, so that all of it was moved.
async fn filled(path: &Path, options: Options) -> Vec<ConversionId> {
    let queue = opened(path, options).unwrap();
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(accept(&queue, submission_of(&format!("kept {number}"), 200, &["a"])).await);
        let delivery = next(&queue, "a").await;
        queue.settle(&delivery, delivered(), Some(attempt(200, Verdict::Delivered)));
    }
    for (number, padding) in [(200, 50_000), (201, 100), (202, 100), (203, 100)] {
        ids.push(accept(&queue, submission_of(&format!("kept {number}"), padding, &["a", "b"])).await);
    }
    queue.settle(&next(&queue, "a").await, dead("refused"), Some(attempt(400, Verdict::Rejected)));
    let again = Outcome::Retry { due_ms: u64::MAX, spent: true };
    queue.settle(&next(&queue, "a").await, again, Some(attempt(503, Verdict::Retry)));
    queue.close().await.unwrap();
    ids
}

type Seen = (Vec<Option<Status>>, Depths, Vec<DeadLetter>);

async fn seen(path: &Path, ids: &[ConversionId]) -> Seen {
    let queue = opened(path, roomy()).unwrap();
    let mut statuses = Vec::new();
    for id in ids {
        statuses.push(queue.status(*id).await.unwrap());
    }
    let letters = dead_letters(&queue, DeadFilter::default()).await;
    let depths = queue.depths();
    queue.close().await.unwrap();
    (statuses, depths, letters)
}

/// The same, and the folder's journal stays as it is: a start gives up what was moved.
async fn seen_in_copy(path: &Path, ids: &[ConversionId]) -> Seen {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(path, copy.path());
    seen(copy.path(), ids).await
}

/// Half of a file, from that part of it on.
fn zero(path: &Path, quarter: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let bytes = file.metadata().unwrap().len();
    let zeros = vec![0; usize::try_from(bytes / 2).unwrap()];
    file.write_all_at(&zeros, (bytes / 4).saturating_mul(quarter)).unwrap();
}

/// What opening says; it names the way out.
#[track_caller]
fn refused(path: &Path, conversions: usize) {
    let text = opened(path, roomy()).expect_err("it was opened").to_string();
    let held = format!("the journal holds {conversions} conversions received from 20");
    for word in ["`capi-relay recover`", held.as_str()] {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

fn recovered(path: &Path) -> Recovered {
    let recovered = recover(&settings(path, &NAMES), Clock::system(), roomy()).unwrap();
    assert!(survey(&settings(path, &NAMES)).unwrap().is_whole());
    recovered
}

/// New work is taken, a repeat of each is one, and a further start finds it all.
async fn goes_on(path: &Path, before: &Seen, ids: &[ConversionId]) {
    assert_eq!(&seen(path, ids).await, before);
    let queue = opened(path, roomy()).unwrap();
    for (number, id) in ids.iter().enumerate().take(200) {
        match queue.accept(submission_of(&format!("kept {number}"), 200, &["a"])).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!(status.id, *id),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{number}: {other:?}"),
        }
    }
    let new = accept(&queue, submission_of("after", 10, &["b"])).await;
    drop(queue);
    let queue = opened(path, roomy()).unwrap();
    assert!(queue.status(new).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_lost_or_damaged_is_rebuilt_from_the_journal() {
    let damages: [fn(&Path); 4] = [
        |store| std::fs::remove_dir_all(store).unwrap(),
        |store| {
            std::fs::remove_dir_all(store).unwrap();
            drop(sled::Config::new().path(store).open().unwrap());
        },
        |store| zero(&store.join("db"), 0),
        |store| {
            zero(&store.join("db"), 0);
            std::fs::remove_dir_all(store.with_file_name("backlog")).unwrap();
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let ids = filled(dir.path(), roomy()).await;
        let before = seen_in_copy(dir.path(), &ids).await;
        damage(&dir.path().join("store.1"));
        refused(dir.path(), 204);
        let Recovered { survey, rebuilt, taken_up, gone, aside, .. } = recovered(dir.path());
        assert!(survey.store.is_some() && survey.history.is_none() && survey.journal.is_empty(), "{survey:?}");
        // Where there is a backlog it has them first; its one segment is kept beside the store.
        let (taken, from_journal) = if number < 3 { (4, 0) } else { (0, 4) };
        assert_eq!((taken_up, rebuilt, gone), (taken, from_journal, 0));
        let stores = aside.iter().filter(|path| path.join("db").exists()).count();
        assert_eq!((stores, aside.len()), (usize::from(number > 0), stores + usize::from(number < 3)));
        assert!(aside.iter().all(|path| path.starts_with(dir.path().join("quarantine")) && path.exists()));
        goes_on(dir.path(), &before, &ids).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_is_lost_or_damaged_keeps_the_store_and_what_else_is_whole() {
    let segment = |dir: &Path| super::super::log::segment::path(&dir.join("history"), 1);
    let damages: [fn(&Path); 2] = [
        |segment| std::fs::remove_file(segment).unwrap(),
        |segment| {
            let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
            file.write_all_at(&[0; 64], 0).unwrap();
        },
    ];
    for damage in damages {
        let dir = tempfile::tempdir().unwrap();
        let ids = filled(dir.path(), roomy()).await;
        let before = seen_in_copy(dir.path(), &ids).await;
        assert!(segment(dir.path()).with_file_name("0000000000000002.seg").exists());
        damage(&segment(dir.path()));
        refused(dir.path(), 204);
        let Recovered { survey, rebuilt, .. } = recovered(dir.path());
        assert!(survey.store.is_none() && survey.history.is_some() && survey.journal.is_empty(), "{survey:?}");
        assert!((1..200).contains(&rebuilt), "{rebuilt}");
        assert!(dir.path().join("store.1").exists());
        goes_on(dir.path(), &before, &ids).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_commit_of_the_journal_costs_what_is_in_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Options { linger: Duration::from_secs(3600), window_bytes: 1 << 24, ..small() };
    let queue = opened(dir.path(), slow).unwrap();
    let mut ids = Vec::new();
    for number in 0..250 {
        ids.push(accept(&queue, submission_of(&format!("commit {number}"), 200, &["a"])).await);
    }
    let first_ones = [next(&queue, "a").await, next(&queue, "a").await];
    queue.settle(&first_ones[1], Outcome::Retry { due_ms: u64::MAX, spent: true }, None);
    // Durable with what was settled before; there is no dead letter to deal with.
    queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
    drop(first_ones);
    drop(queue);
    let first = super::super::log::segment::path(&dir.path().join("journal"), 1);
    let file = std::fs::OpenOptions::new().write(true).open(&first).unwrap();
    file.write_all_at(b"damage", 20_000).unwrap();
    refused(dir.path(), 249);
    let plan = survey(&settings(dir.path(), &NAMES)).unwrap();
    assert!(plan.store.is_none() && plan.history.is_none());
    let [missing] = plan.missing.as_slice() else { panic!("{:?}", plan.missing) };
    assert_eq!(missing.start(), missing.end(), "a commit of one");
    let Recovered { survey, rebuilt, aside, .. } = recovered(dir.path());
    assert_eq!((survey, rebuilt), (plan.clone(), 249));
    assert_eq!(plan.settlements, 1);
    assert!(aside.len() == 1 && std::fs::read(&aside[0]).unwrap().windows(6).any(|bytes| bytes == b"damage"));
    let queue = opened(dir.path(), roomy()).unwrap();
    let lost = usize::try_from(*missing.start()).unwrap() - 1;
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(queue.status(*id).await.unwrap().is_some(), number != lost, "{number}");
    }
    assert_eq!(queue.depths().destinations[&name("a")].pending, 249);
    assert_eq!(state(&queue, ids[1], "a").await, State::Retrying, "what its settlement says");
    for (number, id) in ids.iter().enumerate().filter(|(number, _)| *number != lost && *number != 1) {
        let delivery = next(&queue, "a").await;
        assert_eq!(delivery.meta().id, *id, "{number}");
        queue.settle(&delivery, delivered(), None);
    }
    let new = accept(&queue, submission_of("after", 10, &["b"])).await;
    drop(queue);
    assert!(opened(dir.path(), roomy()).unwrap().status(new).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settlements_of_what_was_lost_with_the_store_are_counted_and_named() {
    let damages: [fn(&Path); 2] = [|store| std::fs::remove_dir_all(store).unwrap(), |store| zero(&store.join("db"), 1)];
    let and_its_backlog = |dir: &Path| std::fs::remove_dir_all(dir.join("backlog")).unwrap();
    for damage in damages {
        let dir = tempfile::tempdir().unwrap();
        let queue = opened(dir.path(), small()).unwrap();
        let first = accept(&queue, submission_of("first", 200, &["a"])).await;
        for number in 0..300 {
            accept(&queue, submission_of(&format!("more {number}"), 200, &["b"])).await;
        }
        let journal = dir.path().join("journal");
        let released = || !super::super::log::segment::path(&journal, 1).exists();
        eventually("the first segment is given up", async || released()).await;
        let again = Outcome::Retry { due_ms: u64::MAX, spent: true };
        queue.settle(&next(&queue, "a").await, again, Some(attempt(503, Verdict::Retry)));
        queue.close().await.unwrap();
        drop(queue);
        damage(&dir.path().join("store.1"));
        and_its_backlog(dir.path());
        let text = opened(dir.path(), small()).expect_err("it was opened").to_string();
        assert!(text.contains("`capi-relay recover`"), "{text}");
        let Recovered { gone, gone_first, rebuilt, survey, .. } = recovered(dir.path());
        assert_eq!((gone, gone_first), (1, vec![(first, name("a"))]));
        assert_eq!(rebuilt, survey.conversions);
        let queue = opened(dir.path(), small()).unwrap();
        assert_eq!(queue.depths().destinations[&name("b")].pending, rebuilt);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_commit_of_a_full_segment_of_the_history_is_found_and_the_others_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let ids = filled(dir.path(), roomy()).await;
    let before = seen_in_copy(dir.path(), &ids).await;
    let segment = super::super::log::segment::path(&dir.path().join("history"), 1);
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    // In the first commit, behind its header.
    file.write_all_at(b"damage", 4096 + 60).unwrap();
    let Recovered { survey, rebuilt, .. } = recovered(dir.path());
    assert!(survey.store.is_none() && survey.history.is_some() && survey.journal.is_empty(), "{survey:?}");
    assert!(rebuilt < 200, "{rebuilt}");
    goes_on(dir.path(), &before, &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_of_the_history_is_found_and_made_anew_from_its_commits() {
    let dir = tempfile::tempdir().unwrap();
    let ids = filled(dir.path(), roomy()).await;
    let before = seen_in_copy(dir.path(), &ids).await;
    let segment = super::super::log::segment::path(&dir.path().join("history"), 1);
    let whole = std::fs::read(&segment).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    // In the page before the footer.
    file.write_all_at(b"damage", u64::try_from(whole.len() - 92 - 100).unwrap()).unwrap();
    let plan = survey(&settings(dir.path(), &NAMES)).unwrap();
    assert_eq!(plan.history.as_deref(), Some("the index of history segment 0000000000000001 is damaged"));
    // A relay goes on with it as it is; recovering does not wait for a question that meets it.
    assert_eq!(seen_in_copy(dir.path(), &ids).await, before);
    let Recovered { survey, rebuilt, aside, .. } = recovered(dir.path());
    assert_eq!((survey, rebuilt, aside.len()), (plan, 0, 0));
    assert!(std::fs::read(&segment).unwrap() == whole, "nothing is lost or moved");
    goes_on(dir.path(), &before, &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_lacks_what_it_counts_is_found_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let ids = filled(dir.path(), roomy()).await;
    let before = seen_in_copy(dir.path(), &ids).await;
    let store = open_sled(&dir.path().join("store.1"));
    let (block, _) = store.scan_prefix("b").next().unwrap().unwrap();
    store.remove(block).unwrap();
    store.flush().unwrap();
    drop(store);
    refused(dir.path(), 204);
    let Recovered { survey, taken_up, .. } = recovered(dir.path());
    assert!(survey.store.unwrap().ends_with("the store names 0 blocks of the backlog, and counts 1"));
    assert_eq!(taken_up, 4);
    goes_on(dir.path(), &before, &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_forgotten_on_request_stays_so_although_the_journal_still_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let ids = filled(dir.path(), roomy()).await;
    let forgotten: HashSet<ConversionId> = [ids[5], ids[150]].into();
    // As forgetting does before it waits for the journal to give it up; and then a crash.
    let state = super::super::folder::read_state(dir.path()).unwrap().unwrap();
    let encryption = settings(dir.path(), &NAMES).encryption;
    let vault = Arc::new(Vault::open(dir.path(), encryption.as_ref(), state).unwrap());
    let quarantine = dir.path().join("quarantine");
    let history = History::open(dir.path(), &quarantine, state, roomy().history_bytes, vault).unwrap();
    history.erase(&forgotten).unwrap();
    drop(history);
    let before = seen_in_copy(dir.path(), &ids).await;
    for (number, (id, status)) in ids.iter().zip(&before.0).enumerate() {
        assert_eq!(status.is_none(), forgotten.contains(id), "{number}");
    }
    std::fs::remove_dir_all(dir.path().join("store.1")).unwrap();
    let Recovered { rebuilt, taken_up, gone, gone_first, .. } = recovered(dir.path());
    assert_eq!((rebuilt, taken_up, gone, gone_first), (0, 4, 0, Vec::new()));
    assert_eq!(seen(dir.path(), &ids).await, before);
}

/// Every file of a folder.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), std::fs::read(&path).unwrap())).collect()
}

/// What removing a key does to its file.
fn overwrite(dir: &Path) {
    for name in contents(dir).keys() {
        let file = std::fs::OpenOptions::new().write(true).open(dir.join(name)).unwrap();
        file.write_all_at(&[0; 8192], 0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_aside_keeps_the_keys_that_it_is_sealed_with() {
    fn write_into(path: &Path, place: u64) {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"damage", place).unwrap();
    }
    let damages: [fn(&Path); 3] = [
        |dir| zero(&dir.join("store.1/db"), 0),
        |dir| write_into(&super::super::log::segment::path(&dir.join("history"), 1), 4096 + 60),
        |dir| write_into(&super::super::log::segment::path(&dir.join("journal"), 1), 20_000),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { encryption: Some(encryption(1)), ..settings(dir.path(), &NAMES) };
        let queue = Queue::open_with(&settings, Clock::system(), roomy()).unwrap();
        for number in 0..200 {
            accept(&queue, submission_of(&format!("kept {number}"), 200, &["a"])).await;
            queue.settle(&next(&queue, "a").await, delivered(), Some(attempt(200, Verdict::Delivered)));
        }
        accept(&queue, submission_of("waits", 200, &["b"])).await;
        queue.close().await.unwrap();
        drop(queue);
        let keys = dir.path().join("keys");
        let before = contents(&keys);
        assert_eq!(before.len(), 2);
        damage(dir.path());
        let copy = dir.path().join("quarantine/keys");
        // One that was put aside before stays, whether it is the same or another one of that name.
        std::fs::create_dir_all(&copy).unwrap();
        let earlier = if number == 0 { before[Path::new("index.key")].clone() } else { b"another".to_vec() };
        std::fs::write(copy.join("index.key"), &earlier).unwrap();
        let recovered = recover(&settings, Clock::system(), roomy()).unwrap();
        assert!(!recovered.aside.is_empty(), "{:?}", recovered.survey);
        assert_eq!(recovered.keys.as_deref(), Some(&*copy));
        overwrite(&keys);
        let mut copies = contents(&copy);
        let again = copies.remove(Path::new("index.key.1"));
        assert_eq!(copies.insert("index.key".into(), again.clone().unwrap_or(earlier.clone())), Some(earlier));
        assert_eq!(again.is_some(), number > 0, "{number}");
        assert!(copies == before, "{number}: the copies are gone with the keys");
        let mode = std::fs::metadata(copy.join("0000000000000001.key")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "others can read it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_folder_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let ids = filled(dir.path(), roomy()).await;
    let before = seen_in_copy(dir.path(), &ids).await;
    let state = std::fs::read(dir.path().join("state")).unwrap();
    let Recovered { rebuilt, keys, .. } = recovered(dir.path());
    assert_eq!((rebuilt, keys), (0, None));
    assert_eq!(std::fs::read(dir.path().join("state")).unwrap(), state);
    assert_eq!(seen(dir.path(), &ids).await, before);
}
