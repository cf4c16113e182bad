//! Little room on the disk: what can go on goes on, and a want of space is never taken for damage.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::*;

/// A small file system of its own, gone with the test.
pub(in crate::queue) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub(in crate::queue) fn mount(mebibytes: u32) -> SmallDisk {
        let dir = tempfile::tempdir().unwrap();
        let size = std::ffi::CString::new(format!("size={mebibytes}m")).unwrap();
        let mounted = mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), size.as_c_str());
        mounted.expect("tests of a full disk mount a tmpfs: run them as root");
        SmallDisk(dir)
    }

    /// Where a queue is made.
    pub(in crate::queue) fn queue(&self) -> PathBuf {
        self.0.path().join("queue")
    }

    /// Somebody else takes what is free, but so many bytes.
    pub(in crate::queue) fn fill(&self, left: u64) {
        let filler = File::create(self.0.path().join("filler")).unwrap();
        let stat = rustix::fs::statvfs(self.0.path()).unwrap();
        let bytes = (stat.f_bavail * stat.f_frsize).checked_sub(left).unwrap();
        rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap();
    }

    /// And gives it back.
    pub(in crate::queue) fn free(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while a store's last thread still has a file of it open.
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

/// Names and lengths of all files.
fn listed(path: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            found.extend(listed(&entry.path()));
        } else {
            found.push((entry.path(), entry.metadata().unwrap().len()));
        }
    }
    found.sort();
    found
}

/// Some delivered, some put off, all of it moved; the journal still holds it.
async fn used(path: &Path) -> Vec<ConversionId> {
    let queue = Queue::open_with(&settings(path, &["a"]), Clock::system(), roomy()).unwrap();
    let mut ids = Vec::new();
    for number in 0..600 {
        ids.push(accept(&queue, submission_of(&format!("room {number}"), 200, &["a"])).await);
        let again = Outcome::Retry { due_ms: u64::MAX, spent: true };
        queue.settle(&next(&queue, "a").await, if number % 3 == 0 { again } else { delivered() }, None);
    }
    queue.close().await.unwrap();
    ids
}

fn roomy() -> Options {
    Options { segment_bytes: 4 << 20, history_bytes: 24 * 1024, ..small() }
}

fn recover(path: &Path) -> Result<Recovered, OpenError> {
    crate::queue::rescue::recover(&settings(path, &["a"]), Clock::system(), roomy())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_on_a_full_disk_wants_space_and_is_not_damaged() {
    let mut refused = 0;
    for left in [0, 4096, 64 << 10, 256 << 10, 1 << 20] {
        let disk = SmallDisk::mount(64);
        let path = disk.queue();
        used(&path).await;
        disk.fill(left);
        for ended in [Queue::survey(&settings(&path, &["a"])), recover(&path).map(|recovered| recovered.survey)] {
            match ended {
                Ok(survey) => assert!(survey.is_whole(), "{left}: {survey:?}"),
                Err(OpenError::NoSpace { .. }) => refused += 1,
                Err(error) => panic!("{left}: {error:?}"),
            }
        }
        assert!(!path.join("quarantine").exists());
        disk.free();
        assert!(Queue::survey(&settings(&path, &["a"])).unwrap().is_whole());
    }
    assert!(refused > 0, "the disk was never too full");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovering_without_room_wants_space_takes_none_of_it_and_is_begun_again() {
    let store = |path: &Path| fs::remove_file(path.join("store.1/conf")).unwrap();
    let history = |path: &Path| {
        let segment = fs::OpenOptions::new().write(true).open(path.join("history/0000000000000001.seg")).unwrap();
        segment.write_all_at(b"damage", 0).unwrap();
    };
    // Less than the store must be left; less than a segment of the history must leave, from the first or from the second on.
    type Damage = fn(&Path);
    let cases: [(Damage, u64); 4] =
        [(store, 7 << 20), (history, 7 << 20), (history, 9 << 20), (history, (16 << 20) + (250 << 10))];
    for (number, (damage, left)) in cases.into_iter().enumerate() {
        let disk = SmallDisk::mount(64);
        let path = disk.queue();
        let ids = used(&path).await;
        let segments = listed(&path.join("history")).into_iter().filter(|(name, _)| name.extension().is_some()).count();
        damage(&path);
        disk.fill(left);
        let mut seen = None;
        for _ in 0..3 {
            let ended = recover(&path);
            assert!(matches!(ended, Err(OpenError::NoSpace { .. })), "{number}: {ended:?}");
            // sled writes a snapshot at each opening.
            let others = listed(&path).into_iter().filter(|(name, _)| !name.starts_with(path.join("store.1")));
            let bytes: u64 = others.map(|(_, bytes)| bytes).sum();
            assert!(bytes <= *seen.get_or_insert(bytes), "{number}: {bytes} bytes of {seen:?} before");
        }
        disk.free();
        let recovered = recover(&path).unwrap();
        assert!(recovered.aside.iter().all(|aside| aside.exists()), "{number}: {:?}", recovered.aside);
        let aside = recovered.aside.iter().filter(|aside| !aside.ends_with("keys")).count();
        assert!(aside <= segments, "{number}: what was begun is no part of it: {:?}", recovered.aside);
        let queue = Queue::open_with(&settings(&path, &["a"]), Clock::system(), roomy()).unwrap();
        for id in ids {
            assert!(queue.status(id).await.unwrap().is_some(), "{number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_what_is_settled_nothing_is_accepted_until_there_is_some() {
    let disk = SmallDisk::mount(96);
    let options = Options { history_bytes: 24 * 1024, segment_bytes: 1 << 20, ..small() };
    let queue = Queue::open_with(&settings(&disk.queue(), &["a"]), Clock::system(), options).unwrap();
    let mut ids = vec![accept(&queue, submission_of("first", 200, &["a"])).await];
    queue.settle(&next(&queue, "a").await, delivered(), None);
    // Enough for the store, and too little for a segment beside it.
    disk.fill(12 << 20);
    let refused = loop {
        assert!(ids.len() < 20_000, "there is room for ever");
        match queue.accept(submission_of(&format!("more {}", ids.len()), 200, &["a"])).await {
            Ok(Accepted::New(status)) => ids.push(status.id),
            ended => break ended,
        }
        queue.settle(&next(&queue, "a").await, delivered(), None);
    };
    assert!(matches!(refused, Err(AcceptError::DiskFull(_))), "{refused:?}");
    disk.free();
    eventually("it goes on by itself", async || queue.accept(submission_of("later", 200, &["a"])).await.is_ok()).await;
    for id in ids {
        assert_eq!(state(&queue, id, "a").await, State::Delivered);
    }
    queue.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_little_room_the_journal_goes_on_in_a_smaller_segment() {
    let disk = SmallDisk::mount(64);
    let slow = Options { segment_bytes: 8 << 20, linger: Duration::from_secs(3600), ..small() };
    let open = || Queue::open_with(&settings(&disk.queue(), &["a"]), Clock::system(), slow.clone()).unwrap();
    let id = accept(&open(), submission(&["a"])).await;
    // Less than a whole one beside what making one leaves free.
    disk.fill(20 << 20);
    for _ in 0..3 {
        drop(open());
    }
    let queue = open();
    assert_eq!(next(&queue, "a").await.meta().id, id);
    accept(&queue, submission(&["a"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_what_is_put_off_is_handed_out_again() {
    let disk = SmallDisk::mount(96);
    let queue = Queue::open_with(&settings(&disk.queue(), &["a"]), Clock::system(), small()).unwrap();
    // Enough for the store, and too little for a segment beside it.
    disk.fill(12 << 20);
    let id = accept(&queue, submission(&["a"])).await;
    let mut delivery = next(&queue, "a").await;
    eventually("it cannot be moved", async || queue.disk().is_full).await;
    for _ in 0..3 {
        queue.settle(&delivery, Outcome::Retry { due_ms: 1, spent: true }, None);
        delivery = next(&queue, "a").await;
        assert_eq!(delivery.meta().id, id);
    }
}

#[test]
fn what_the_store_says_of_a_full_disk_is_no_damage() {
    use std::io::ErrorKind;

    use crate::queue::store::StoreError;
    let of: [fn(std::io::Error) -> StoreError; 4] =
        [|error| StoreError::Sled(sled::Error::Io(error)), StoreError::NoSpace, StoreError::Sync, StoreError::History];
    for of in of {
        for full in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert!(matches!(OpenError::store(Path::new("x"), &of(full.into())), OpenError::NoSpace { .. }));
        }
        let broken = of(ErrorKind::PermissionDenied.into());
        assert!(matches!(OpenError::store(Path::new("x"), &broken), OpenError::Store { .. }));
    }
}
