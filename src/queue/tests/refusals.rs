//! Folders that must not be served, and what is said about them.

use std::os::unix::fs::FileExt;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::queue::folder::Folder;

#[track_caller]
fn refused(path: &Path, words: &[&str]) {
    let error = Queue::open_with(&settings(path, &["a"]), Clock::system(), small()).expect_err("it was opened");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

/// A folder with some conversions in the store and in the journal, closed like a crash.
async fn used() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    for _ in 0..300 {
        accept(&queue, submission(&["a"])).await;
    }
    eventually("segments are given up", async || !dir.path().join("journal/0000000000000001.seg").exists()).await;
    dir
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    refused(dir.path(), &["another process", "folder of its own"]);
    drop(queue);
    open(dir.path(), &["a"]);
}

#[test]
fn a_folder_that_is_given_up_is_free_whoever_has_a_copy_of_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let (lock, _) = Folder::claim(dir.path(), true).unwrap();
    // As a child has that was just forked, until it is another program.
    let _copy = lock.0.try_clone().unwrap();
    assert!(matches!(Folder::claim(dir.path(), true), Err(OpenError::InUse { .. })));
    drop(lock);
    Folder::claim(dir.path(), true).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volatile_file_system_is_refused_unless_allowed() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return;
    }
    let dir = tempfile::tempdir_in(shm).unwrap();
    let strict = Settings { allow_volatile: false, ..settings(dir.path(), &["a"]) };
    let error = Queue::open_with(&strict, Clock::system(), small()).unwrap_err();
    assert!(matches!(error, OpenError::Volatile { kind: "tmpfs", .. }), "{error}");
    open(dir.path(), &["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_or_foreign_store_is_refused() {
    let dir = used().await;
    let store = dir.path().join("store.1");
    let aside = dir.path().join("aside");
    std::fs::rename(&store, &aside).unwrap();
    refused(dir.path(), &["store's files are missing", "move it aside"]);

    let other = tempfile::tempdir().unwrap();
    drop(open(other.path(), &["a"]));
    copy_folder(&other.path().join("store.1"), &store);
    refused(dir.path(), &["belongs to another folder"]);

    std::fs::remove_dir_all(&store).unwrap();
    drop(sled::Config::new().path(&store).open().unwrap());
    refused(dir.path(), &["opened empty"]);

    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&aside, &store).unwrap();
    assert_eq!(pending(&open(dir.path(), &["a"]), "a"), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_older_than_the_journal_goes_on_from_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), &["a"]));
    let old = tempfile::tempdir().unwrap();
    copy_folder(&dir.path().join("store.1"), old.path());
    let queue = open(dir.path(), &["a"]);
    for _ in 0..300 {
        accept(&queue, submission(&["a"])).await;
    }
    eventually("a segment is given up", async || !dir.path().join("journal/0000000000000002.seg").exists()).await;
    drop(queue);
    std::fs::remove_dir_all(dir.path().join("store.1")).unwrap();
    copy_folder(old.path(), &dir.path().join("store.1"));
    refused(dir.path(), &["must have come to"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_damaged_state_file_is_refused() {
    let dir = used().await;
    let state = dir.path().join("state");
    let bytes = std::fs::read(&state).unwrap();
    std::fs::remove_file(&state).unwrap();
    refused(dir.path(), &["`state` is missing"]);
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        std::fs::write(&state, &damaged).unwrap();
        refused(dir.path(), &["state", "checksum"]);
    }
    let mut newer = bytes[..bytes.len() - 4].to_vec();
    newer[8] = 9;
    let crc = crc32c::crc32c(&newer);
    newer.extend_from_slice(&crc.to_le_bytes());
    std::fs::write(&state, &newer).unwrap();
    refused(dir.path(), &["newer capi-relay", "format 9"]);
    std::fs::write(&state, &bytes).unwrap();
    assert_eq!(pending(&open(dir.path(), &["a"]), "a"), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_before_the_journals_tail_is_quarantined_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open_with(
        &settings(dir.path(), &["a"]),
        Clock::system(),
        Options { linger: Duration::from_secs(3600), window_bytes: 1 << 24, ..small() },
    )
    .unwrap();
    for _ in 0..250 {
        accept(&queue, submission(&["a"])).await;
    }
    drop(queue);
    let first = dir.path().join("journal/0000000000000001.seg");
    assert!(first.exists() && dir.path().join("journal/0000000000000002.seg").exists());
    let whole = std::fs::read(&first).unwrap();
    for place in [4096 + 30, 20_000, 40_000] {
        let file = std::fs::OpenOptions::new().write(true).open(&first).unwrap();
        file.write_all_at(&[whole[place] ^ 0x40], u64::try_from(place).unwrap()).unwrap();
        refused(dir.path(), &["journal segment 0000000000000001", "damaged", "a copy is kept"]);
        assert!(dir.path().join("quarantine/journal-0000000000000001.seg").exists());
        file.write_all_at(&whole[place..=place], u64::try_from(place).unwrap()).unwrap();
    }
    let aside = dir.path().join("aside");
    std::fs::rename(&first, &aside).unwrap();
    refused(dir.path(), &["journal segment 0000000000000001 is missing"]);
    std::fs::rename(&aside, &first).unwrap();
    assert_eq!(pending(&open(dir.path(), &["a"]), "a"), 250);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "no folder").unwrap();
    refused(&path, &["cannot write to", "owner and mode"]);
    let locked = dir.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    // root writes anywhere.
    if std::fs::write(locked.join("probe"), "").is_err() {
        refused(&locked, &["cannot write to", "mounted read-write"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_leftover_of_the_store_does_no_harm() {
    let dir = used().await;
    std::fs::write(dir.path().join("store.1/snap.0000000000000ABC.generating"), "torn").unwrap();
    assert_eq!(pending(&open(dir.path(), &["a"]), "a"), 300);
}
