//! A refusal says whether anything was changed by finding out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::FileExt;

use super::*;

fn contents(store: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.path().is_file()).map(|e| (e.file_name(), std::fs::read(e.path()).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_was_changed_is_said_only_when_that_is_so() {
    let dir = tempfile::tempdir().unwrap();
    let used = dir.path().join("used");
    for _ in 0..2 {
        let queue = open(&used, &["a"]);
        for _ in 0..300 {
            accept(&queue, submission(&["a"])).await;
        }
        queue.close().await.unwrap();
    }
    let bytes = std::fs::metadata(used.join("store.1/db")).unwrap().len();
    let (mut untouched, mut written) = (0, 0);
    for part in 0..=48 {
        let folder = dir.path().join(format!("damaged-{part}"));
        copy_folder(&used, &folder);
        let store = folder.join("store.1");
        let file = std::fs::OpenOptions::new().write(true).open(store.join("db")).unwrap();
        // A stretch of it overwritten, or its end cut off; or a file is missing, which is seen before sled is asked.
        if part == 48 {
            std::fs::remove_file(store.join("conf")).unwrap();
        } else if part % 2 == 0 {
            file.write_all_at(&[0xa5; 64], bytes * part / 48).unwrap();
        } else {
            file.set_len(bytes * part / 48).unwrap();
        }
        // A file that was written to just now may be written to again at what the file system takes for the same time.
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let before = contents(&store);
        let refused = Queue::open_with(&settings(&folder, &["a"]), Clock::system(), small());
        let Err(error @ OpenError::Damaged { .. }) = refused else { continue };
        let said = error.to_string();
        let is_untouched = contents(&store) == before;
        assert_eq!(said.contains("Nothing was changed"), is_untouched, "{part}: {said}");
        assert_eq!(said.contains("sled wrote to its files"), !is_untouched, "{part}: {said}");
        *(if is_untouched { &mut untouched } else { &mut written }) += 1;
    }
    println!("{untouched} untouched, {written} written");
    assert!(untouched > 0 && written > 0, "{untouched} untouched, {written} written");
}
