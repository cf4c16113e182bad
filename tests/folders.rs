//! The commands on a folder that no relay uses: `compact`, `export`, `import`, `recover`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use capi_relay::sandbox::{Behaviour, Platform, Sandbox};

use crate::support::process::{self, Process, run, started};
use crate::support::{TOKEN, conversion, eventually, handle};

#[tokio::test(flavor = "multi_thread")]
async fn compact_waits_for_the_relay_to_stop_and_says_what_it_gave_back() {
    let (sandbox, folder, routes) = started().await;
    let path = routes.to_str().unwrap();
    let relay = Process::serve(&routes);
    let (code, _, refused) = run(&["compact", "--config", path]);
    assert_eq!(code, Some(1));
    assert!(refused.contains("another process uses this folder"), "{refused}");
    assert_eq!(relay.terminate(), Some(0));
    let (code, said, error) = run(&["compact", "--config", path]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains(" bytes before, ") && said.ends_with(" after\n"), "{said}");
    assert_eq!(Process::serve(&routes).terminate(), Some(0));
    drop(folder);
    sandbox.stop().await;
}

/// A relay with one conversion, which no platform takes.
fn with_one_waiting(sandbox: &Sandbox, folder: &Path, routes: &Path, order: &str) -> Process {
    for platform in Platform::ALL {
        sandbox
            .script(platform, Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None });
    }
    let relay = Process::serve(routes);
    let file = folder.join("conversion.json");
    fs::write(&file, conversion(order).to_string()).unwrap();
    let (code, _, error) = run(&["send", file.to_str().unwrap(), "--url", &relay.origin, "--token", TOKEN]);
    assert_eq!(code, Some(0), "{error}");
    relay
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_the_file_alone_and_another_folder_goes_on_with_it() {
    let (sandbox, folder, routes) = started().await;
    let path = routes.to_str().unwrap();
    let relay = with_one_waiting(&sandbox, folder.path(), &routes, "moved");
    let (code, said, refused) = run(&["export", "--config", path]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(refused.contains("another process uses this folder"), "{refused}");
    assert_eq!(relay.terminate(), Some(0));

    let (code, exported, said) = run(&["export", "--config", path]);
    assert_eq!(code, Some(0), "{said}");
    // On a busy machine lines of progress come before.
    assert!(said.lines().last().is_some_and(|line| line.starts_with("1 conversion exported: ")), "{said}");
    let lines: Vec<serde_json::Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["capi_relay_export"], &lines[2]["conversions"]), (3, &2.into(), &1.into()));
    let body: serde_json::Value = serde_json::from_str(lines[1]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, conversion("moved"));
    let kept = folder.path().join("kept.ndjson");
    let (code, nothing, said) = run(&["export", "--config", path, "-o", kept.to_str().unwrap()]);
    assert_eq!((code, nothing.as_str()), (Some(0), ""), "{said}");
    let mistyped = folder.path().join("mistyped.ndjson");
    let (code, _, refused) = run(&["export", "--config", path, "-d", "trad", "-o", mistyped.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{refused}");
    assert!(refused.contains("no destination `trad` is configured") && !mistyped.exists(), "{refused}");
    let written = fs::read_to_string(&kept).unwrap();
    assert_eq!(written.lines().skip(1).collect::<Vec<_>>(), exported.lines().skip(1).collect::<Vec<_>>());

    let other = folder.path().join("other");
    let elsewhere = format!("queue.path={}", other.display());
    let import = ["import", kept.to_str().unwrap(), "--config", path, "--set", &elsewhere];
    for said in [
        "1 conversion imported, 0 settled, 0 known already, 0 refused",
        "0 conversions imported, 0 settled, 1 known already, 0 refused",
    ] {
        let (code, counted, error) = run(&import);
        assert_eq!((code, counted.trim()), (Some(0), said), "{error}");
    }
    fs::write(&kept, written.lines().take(2).collect::<Vec<_>>().join("\n")).unwrap();
    let (code, _, refused) = run(&import);
    assert_eq!(code, Some(1));
    assert!(refused.contains("line 3: the file ends before its trailer"), "{refused}");

    for platform in Platform::ALL {
        sandbox.script(platform, Behaviour::Document);
    }
    let relay = Process::serve_with(&routes, &["--set", &elsewhere]);
    eventually("the moved delivery", async || {
        sandbox.arrivals(Platform::Thrad).contains_key(&handle(Platform::Thrad, "moved")).then_some(())
    })
    .await;
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_keeps_links_and_pipes_and_what_another_is_writing() {
    let (sandbox, folder, routes) = started().await;
    let path = routes.to_str().unwrap();
    assert_eq!(with_one_waiting(&sandbox, folder.path(), &routes, "kept").terminate(), Some(0));
    let kept = folder.path().join("kept.ndjson");
    // Another export is writing it: it is left alone, with what has been written of it.
    let part = fs::File::create(folder.path().join("kept.ndjson.part")).unwrap();
    part.lock().unwrap();
    part.write_all_at(b"begun", 0).unwrap();
    let (code, _, refused) = run(&["export", "--config", path, "-o", kept.to_str().unwrap()]);
    assert!(code == Some(1) && refused.contains("another export is writing it"), "{refused}");
    assert_eq!(fs::read_to_string(folder.path().join("kept.ndjson.part")).unwrap(), "begun");
    drop(part);
    assert_eq!(run(&["export", "--config", path, "-o", kept.to_str().unwrap()]).0, Some(0));
    // A link stays one, and a pipe is written into.
    let link = folder.path().join("link.ndjson");
    std::os::unix::fs::symlink(&kept, &link).unwrap();
    assert_eq!(run(&["export", "--config", path, "-o", link.to_str().unwrap()]).0, Some(0));
    assert!(link.is_symlink() && fs::read_to_string(&kept).unwrap().lines().count() == 3);
    let pipe = folder.path().join("pipe");
    process::pipe(&pipe);
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    assert_eq!(run(&["export", "--config", path, "-o", pipe.to_str().unwrap()]).0, Some(0));
    assert_eq!(reader.join().unwrap().lines().count(), 3);
    assert!(!fs::metadata(&pipe).unwrap().is_file());
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_folder_names_the_way_out_and_recover_says_first_what_it_would_do() {
    let (sandbox, folder, routes) = started().await;
    let path = routes.to_str().unwrap();
    let relay = with_one_waiting(&sandbox, folder.path(), &routes, "recovered");
    assert_eq!(relay.terminate(), Some(0));

    let store = folder.path().join("queue/store.1");
    fs::remove_dir_all(&store).unwrap();
    let (code, _, refused) = run(&["serve", "--config", path]);
    assert_eq!(code, Some(1));
    assert!(
        refused.contains("holds 1 conversions received from") && refused.contains("capi-relay recover"),
        "{refused}"
    );
    let (code, said, error) = run(&["recover", "--config", path]);
    assert_eq!(code, Some(1), "{error}");
    assert!(said.contains("store: the store's files are missing") && said.contains("nothing was changed"), "{said}");
    let (code, said, error) = run(&["recover", "--yes", "--config", path]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("history: whole") && said.contains("1 conversion taken up again"), "{said}");
    let (code, said, _) = run(&["recover", "--config", path]);
    assert_eq!(code, Some(0));
    assert!(said.contains("nothing is damaged"), "{said}");

    for platform in Platform::ALL {
        sandbox.script(platform, Behaviour::Document);
    }
    let relay = Process::serve(&routes);
    let arrived = async || sandbox.arrivals(Platform::Thrad).contains_key(&handle(Platform::Thrad, "recovered"));
    eventually("the recovered delivery", async || arrived().await.then_some(())).await;
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

/// What a folder owes, as `export` says it, without the header's time.
fn owed(routes: &str, folder: &Path) -> Vec<String> {
    let (code, exported, error) =
        run(&["export", "--config", routes, "--set", &format!("queue.path={}", folder.display())]);
    assert_eq!(code, Some(0), "{error}");
    exported.lines().skip(1).map(str::to_owned).collect()
}

fn copied(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn recovering_may_be_killed_anywhere_and_is_begun_again() {
    let (sandbox, folder, routes) = started().await;
    for platform in Platform::ALL {
        sandbox
            .script(platform, Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None });
    }
    let path = routes.to_str().unwrap();
    let relay = Process::serve(&routes);
    for number in 0..3 {
        let file = folder.path().join("conversion.json");
        fs::write(&file, conversion(&format!("killed-{number}")).to_string()).unwrap();
        let (code, _, error) = run(&["send", file.to_str().unwrap(), "--url", &relay.origin, "--token", TOKEN]);
        assert_eq!(code, Some(0), "{error}");
    }
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;

    // The store is gone, the history's only segment has no header any more, and the journal's first commit is damaged.
    let damaged = folder.path().join("queue");
    fs::remove_dir_all(damaged.join("store.1")).unwrap();
    let segment = fs::OpenOptions::new().write(true).open(damaged.join("history/0000000000000001.seg")).unwrap();
    segment.write_all_at(&[0; 64], 0).unwrap();
    let segment = fs::OpenOptions::new().write(true).open(damaged.join("journal/0000000000000001.seg")).unwrap();
    segment.write_all_at(b"damage", 4200).unwrap();
    let recover = |folder: &Path| {
        run(&["recover", "--yes", "--config", path, "--set", &format!("queue.path={}", folder.display())])
    };
    let whole = folder.path().join("whole");
    copied(&damaged, &whole);
    assert_eq!(recover(&whole).0, Some(0));
    let expected = owed(path, &whole);
    assert!(expected.last().unwrap().contains("\"conversions\":2,"), "{expected:?}");

    let mut killed = 0_u32;
    for (call, step) in [("rename", 1), ("fsync", 6), ("fdatasync", 4)] {
        for when in (1..).step_by(step) {
            let copy = folder.path().join(format!("{call}-{when}"));
            copied(&damaged, &copy);
            let inject = format!("inject={call}:signal=KILL:when={when}");
            let ended = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject])
                .arg(env!("CARGO_BIN_EXE_capi-relay"))
                .args(["recover", "--yes", "--config", path, "--set", &format!("queue.path={}", copy.display())])
                .output()
                .unwrap();
            if ended.status.success() {
                break;
            }
            killed += 1;
            let (code, said, error) = recover(&copy);
            assert_eq!(code, Some(0), "{call} {when}: {said}{error}");
            assert_eq!(owed(path, &copy), expected, "{call} {when}");
        }
    }
    assert!(killed >= 5, "killed only {killed} times");
}
