//! A damaged data folder, as the commands tell it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::process::{Process, started};

const PANIC: &str = "sled cannot read its file: ";
const PARTS: usize = 20;

/// sled's files, used twice. What is in them is not come to.
fn filled(path: &Path) {
    let config = sled::Config::new().path(path).flush_every_ms(None).mode(sled::Mode::LowSpace);
    for life in 0..2_u8 {
        let db = config.open().unwrap();
        for number in 0..600_u32 {
            db.insert([&[life][..], &number.to_be_bytes()].concat(), vec![7; 700]).unwrap();
            if number % 50 == 0 {
                db.flush().unwrap();
            }
        }
    }
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
    // A stretch of its file overwritten: sled returns an error, or panics, or opens it with less.
    let refused = |command: &str, part: usize| {
        fs::remove_dir_all(&store).unwrap();
        fs::create_dir(&store).unwrap();
        for (content, path) in &whole {
            let mut content = content.clone();
            let at = bytes * part / PARTS;
            if path.ends_with("db") {
                content[at..at + 64].fill(0xa5);
            }
            fs::write(path, content).unwrap();
        }
        let ended = Command::new(env!("CARGO_BIN_EXE_capi-relay"))
            .args([command, "--config", routes.to_str().unwrap()])
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{command}, part {part}: {said}");
        for noise in ["panicked", "backtrace:"] {
            assert!(!said.contains(noise), "{command}, part {part}: {said}");
        }
        said
    };
    let panics: Vec<usize> = (0..PARTS).filter(|part| refused("recover", *part).contains(PANIC)).collect();
    println!("sled panics at {panics:?}");
    assert!(!panics.is_empty(), "sled did not panic at all");
    assert!(refused("serve", panics[0]).contains(PANIC));
    sandbox.stop().await;
}
