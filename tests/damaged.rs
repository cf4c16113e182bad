//! A damaged data folder, as the commands tell it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::process::{Process, started};

/// sled's segments.
const SEGMENT_BYTES: usize = 512 * 1024;
const PANIC: &str = "sled cannot read its file: index out of bounds";

/// sled's files of several segments, with a snapshot that speaks of all of them. What is in them is not come to.
fn filled(path: &Path) {
    let config = sled::Config::new().path(path).flush_every_ms(None).mode(sled::Mode::LowSpace);
    let db = config.open().unwrap();
    for number in 0..6000_u32 {
        db.insert(number.to_be_bytes(), vec![7; 700]).unwrap();
        if number % 50 == 0 {
            db.flush().unwrap();
        }
    }
    drop(db);
    drop(config.open().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_sled_panic_is_told_in_words_alone() {
    let (sandbox, folder, routes) = started().await;
    let queue = folder.path().join("queue");
    assert_eq!(Process::serve(&routes).terminate(), Some(0));
    let store = queue.join("store.1");
    fs::remove_dir_all(&store).unwrap();
    filled(&store);
    let paths = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let whole: Vec<_> = paths.filter(|path| path.is_file()).map(|path| (fs::read(&path).unwrap(), path)).collect();
    let bytes = whole.iter().find(|(_, path)| path.ends_with("db")).unwrap().0.len();
    // The end of its file is gone, and the snapshot speaks of all: sled returns an error or panics.
    let refused = |command: &str, bytes: usize| {
        fs::remove_dir_all(&store).unwrap();
        fs::create_dir(&store).unwrap();
        for (content, path) in &whole {
            fs::write(path, &content[..content.len().min(if path.ends_with("db") { bytes } else { usize::MAX })])
                .unwrap();
        }
        let ended = Command::new(env!("CARGO_BIN_EXE_capi-relay"))
            .args([command, "--config", routes.to_str().unwrap()])
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{command}, {bytes} bytes: {said}");
        for noise in ["panicked", "backtrace:"] {
            assert!(!said.contains(noise), "{command}, {bytes} bytes: {said}");
        }
        said
    };
    let cuts = (1..bytes / SEGMENT_BYTES).map(|segments| segments * SEGMENT_BYTES + SEGMENT_BYTES / 2);
    let panics: Vec<usize> = cuts.filter(|cut| refused("recover", *cut).contains(PANIC)).collect();
    assert!(!panics.is_empty(), "sled did not panic at all");
    assert!(refused("serve", panics[0]).contains(PANIC));
    sandbox.stop().await;
}
