//! Keys outlive what used them when a store is lost: they hold nobody back who brings it again.

use std::path::PathBuf;

use super::super::transfer::Imported;
use super::*;

/// A folder whose store was lost with all that had been moved into it, recovered; and its export from before that.
struct Lost {
    _dir: tempfile::TempDir,
    path: PathBuf,
    backup: Vec<u8>,
    ids: Vec<ConversionId>,
}

const LOST: [&str; 2] = ["lost 0", "lost 1"];

fn settings_here(path: &Path) -> Settings {
    settings(path, &["a", "b"])
}

fn exported(path: &Path) -> Vec<u8> {
    let mut file = Vec::new();
    Queue::export(&settings_here(path), Clock::system(), &Selection::default(), &mut file).unwrap();
    file
}

fn imported(path: &Path, file: &[u8]) -> Imported {
    let mut refused = |line: u64, why: &str| println!("line {line}: {why}");
    Queue::import(&settings_here(path), Clock::system(), &mut &file[..], &mut refused).unwrap()
}

async fn lost() -> Lost {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue");
    let queue = open(&path, &["a", "b"]);
    let mut ids = Vec::new();
    for event_id in LOST {
        ids.push(accept(&queue, submission_of(event_id, 200, &["a"])).await);
    }
    let first_segment = path.join("journal/0000000000000001.seg");
    while first_segment.exists() {
        accept(&queue, submission(&["b"])).await;
        queue.settle(&next(&queue, "b").await, delivered(), None);
    }
    queue.close().await.unwrap();
    drop(queue);
    let copy = dir.path().join("copy");
    copy_folder(&path, &copy);
    let backup = exported(&copy);
    std::fs::remove_dir_all(path.join("store.1")).unwrap();
    std::fs::remove_dir_all(path.join("backlog")).unwrap();
    let Recovered { rebuilt, .. } = Queue::recover(&settings_here(&path), Clock::system()).unwrap();
    println!("{rebuilt} rebuilt");
    let queue = open(&path, &["a", "b"]);
    for id in &ids {
        assert_eq!(queue.status(*id).await.unwrap(), None, "it was to be lost");
    }
    drop(queue);
    Lost { _dir: dir, path, backup, ids }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_with_a_store_is_accepted_anew() {
    let Lost { path, ids, .. } = &lost().await;
    let queue = open(path, &["a", "b"]);
    // As it was, and with other content under the same key.
    let posts = [(LOST[0], 200, ids[0]), (LOST[1], 300, ids[1])];
    let mut anew = Vec::new();
    for (event_id, padding, lost) in posts {
        let again = accept(&queue, submission_of(event_id, padding, &["a"])).await;
        assert_ne!(again, lost);
        match queue.accept(submission_of(event_id, padding, &["a"])).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!(status.id, again),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
        }
        let delivery = next(&queue, "a").await;
        assert_eq!(delivery.meta().id, again);
        queue.settle(&delivery, delivered(), None);
        anew.push(again);
    }
    // Also when it has followed the lost one into the history: it is found behind that.
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(path, &["a", "b"]);
    for ((event_id, padding, _), again) in posts.into_iter().zip(anew) {
        match queue.accept(submission_of(event_id, padding, &["a"])).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!(status.id, again),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_with_a_store_is_taken_in_again_by_its_id_from_a_backup() {
    let Lost { path, backup, ids, .. } = &lost().await;
    let taken = imported(path, backup);
    assert_eq!((taken.new, taken.refused), (2, 0), "{taken:?}");
    let queue = open(path, &["a", "b"]);
    for (event_id, id) in LOST.into_iter().zip(ids) {
        assert_eq!(state(&queue, *id, "a").await, State::Queued);
        match queue.accept(submission_of(event_id, 200, &["a"])).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!(status.id, *id),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_with_a_store_does_not_hold_back_what_another_relay_had_under_its_key() {
    let Lost { path, .. } = &lost().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let queue = open(elsewhere.path(), &["a", "b"]);
    let mut ids = Vec::new();
    for event_id in LOST {
        ids.push(accept(&queue, submission_of(event_id, 200, &["a"])).await);
    }
    queue.close().await.unwrap();
    drop(queue);
    let file = exported(elsewhere.path());
    let taken = imported(path, &file);
    assert_eq!((taken.new, taken.known, taken.refused), (2, 0, 0), "{taken:?}");
    let taken = imported(path, &file);
    assert_eq!((taken.new, taken.known, taken.refused), (0, 2, 0), "{taken:?}");
    let queue = open(path, &["a", "b"]);
    for id in ids {
        assert_eq!(state(&queue, id, "a").await, State::Queued);
    }
}
