//! Who has the processors first where they are short.

use std::fs;

use http::StatusCode;

use crate::support::process::{Process, started};
use crate::support::{Http, conversion, eventually};

/// The name of each of a process's threads, and how nice it is (proc_pid_stat(5)).
fn threads(process: u32) -> Vec<(String, i32)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let threads = tasks.filter_map(|task| {
        // It may have ended meanwhile.
        let stat = fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        let (name, fields) = stat.split_once(" (")?.1.rsplit_once(") ")?;
        Some((name.to_owned(), fields.split(' ').nth(16)?.parse().ok()?))
    });
    threads.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn accepting_gives_way_to_delivering_and_to_what_comes_of_it() {
    let (sandbox, _folder, file) = started().await;
    let relay = Process::serve(&file);
    let url = format!("{}/v1/conversions", relay.origin);
    assert_eq!(Http::new().post(&url, conversion("o1").to_string()).await.status, StatusCode::ACCEPTED);
    // Each of them says so itself, when it comes to run.
    eventually("what accepts gives way", async || {
        let accepts = |name: &str| ["front", "queue-committer"].contains(&name);
        let (accepting, others): (Vec<_>, Vec<_>) =
            threads(relay.id()).into_iter().partition(|(name, _)| accepts(name));
        let usual = others.iter().find(|(name, _)| name == "queue-mover")?.1;
        assert!(others.iter().all(|(_, nice)| *nice == usual), "{others:?}");
        let is_whole = ["front", "queue-committer"].iter().all(|name| accepting.iter().any(|(named, _)| named == name));
        (is_whole && accepting.iter().all(|(_, nice)| *nice == (usual + 10).min(19))).then_some(())
    })
    .await;
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}
