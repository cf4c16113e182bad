//! Storage that cannot promise: a full disk answers 503 and keeps what was accepted; a failed sync ends the process.

use std::fs;
use std::path::Path;
use std::process::Command;

use capi_relay::sandbox::{Accounts, Behaviour, Platform, Sandbox};
use http::StatusCode;

use crate::support::process::{Process, started};
use crate::support::{Http, conversion, eventually, handle, routes};

/// A small file system of its own, gone with the test.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, mebibytes: u32) -> SmallDisk<'a> {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).status().unwrap();
        assert!(mounted.success(), "the full-disk test mounts a tmpfs: run it as root");
        SmallDisk(path)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_answers_503_keeps_what_was_accepted_and_recovers() {
    let sandbox = Sandbox::start(Accounts::default(), 0).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let disk_path = folder.path().join("disk");
    let disk = SmallDisk::mount(&disk_path, 320);
    let file = folder.path().join("routes.toml");
    fs::write(&file, routes(&sandbox, &disk_path.join("queue"), "")).unwrap();
    // Everything waits, so that everything stays on the disk.
    for platform in Platform::ALL {
        sandbox
            .script(platform, Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None });
    }
    let relay = Process::serve(&file);
    let http = Http::new();
    let url = format!("{}/v1/conversions", relay.origin);

    // Somebody else fills the disk up to the last block.
    let filler = disk_path.join("filler");
    let filled =
        Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", filler.display())).output().unwrap();
    assert!(!filled.status.success(), "dd ends when the disk is full");

    let mut accepted = Vec::new();
    let refused = eventually("a refusal for want of space", async || {
        for number in 0..50 {
            let order = format!("full-{}-{number}", accepted.len());
            let mut body = conversion(&order);
            body["custom"] = serde_json::json!({ "filling": "x".repeat(48 * 1024) });
            let answer = http.post(&url, body.to_string()).await;
            match answer.status {
                StatusCode::ACCEPTED => accepted.push(order),
                _ => return Some(answer),
            }
        }
        None
    })
    .await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.headers["content-type"], "application/problem+json");

    // Space again: it serves again, by itself.
    fs::remove_file(&filler).unwrap();
    eventually("service after the space came back", async || {
        let order = format!("after-{}", accepted.len());
        let answer = http.post(&url, conversion(&order).to_string()).await;
        (answer.status == StatusCode::ACCEPTED).then(|| accepted.push(order))
    })
    .await;

    for platform in Platform::ALL {
        sandbox.script(platform, Behaviour::Document);
    }
    for platform in Platform::ALL {
        eventually(&format!("{} conversions at {}", accepted.len(), platform.name()), async || {
            let arrived = sandbox.arrivals(platform);
            accepted.iter().all(|order| arrived.contains_key(&handle(platform, order))).then_some(())
        })
        .await;
    }
    assert_eq!(relay.terminate(), Some(0));
    drop(disk);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_acknowledges_nothing_more_and_ends_the_process() {
    let (sandbox, _folder, file) = started().await;
    // Makes the folder whole first: the fault is to hit the serving path.
    assert_eq!(Process::serve(&file).terminate(), Some(0));

    let inject = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:error=EIO:when=12+",
    ];
    let relay = Process::wrapped(&inject, &file);
    let http = Http::new();
    let url = format!("{}/v1/conversions", relay.origin);
    let mut accepted = Vec::new();
    for number in 0..200 {
        let order = format!("sync-{number}");
        match http
            .attempt(http::Method::POST, &url, &[("content-type", "application/json")], &conversion(&order).to_string())
            .await
        {
            Ok(answer) if answer.status == StatusCode::ACCEPTED => accepted.push(order),
            Ok(answer) => {
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
                break;
            }
            Err(_) => break,
        }
    }
    assert!(accepted.len() < 200, "the fault never hit");
    assert_eq!(relay.ended(), Some(1));

    let relay = Process::serve(&file);
    for platform in Platform::ALL {
        eventually(&format!("{} conversions at {}", accepted.len(), platform.name()), async || {
            let arrived = sandbox.arrivals(platform);
            accepted.iter().all(|order| arrived.contains_key(&handle(platform, order))).then_some(())
        })
        .await;
    }
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}
