//! The queue encrypted, and what is forgotten on request: as an operator does both.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use capi_relay::sandbox::{Behaviour, Platform};

use crate::support::process::{Process, run, started};
use crate::support::{TOKEN, conversion, eventually, handle};

/// Posts an order whose customer is known by that id.
fn send(relay: &Process, folder: &Path, order: &str, customer: &str) -> String {
    let file = folder.join("conversion.json");
    let mut conversion = conversion(order);
    conversion["customer"]["id"] = customer.into();
    fs::write(&file, conversion.to_string()).unwrap();
    let (code, sent, error) = run(&["send", file.to_str().unwrap(), "--url", &relay.origin, "--token", TOKEN]);
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str::<serde_json::Value>(&sent).unwrap()["id"].as_str().unwrap().to_owned()
}

/// Files of the data folder in which the text can be found.
fn holding(folder: &Path, text: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())) {
                found.push(path);
            }
        }
    }
    found
}

fn id_of(key: &str) -> String {
    let mut told = Command::new(env!("CARGO_BIN_EXE_capi-relay"));
    let mut told = told.args(["key", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    told.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    String::from_utf8(told.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_encrypts_what_is_stored_and_keys_are_changed_by_one_start() {
    let (sandbox, folder, routes) = started().await;
    for platform in Platform::ALL {
        sandbox
            .script(platform, Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None });
    }
    let key_file = folder.path().join("queue.key");
    let (code, key, _) = run(&["key"]);
    assert_eq!(code, Some(0));
    fs::write(&key_file, &key).unwrap();
    let text = fs::read_to_string(&routes).unwrap();
    let with = |encryption: &str| {
        let line = format!("[queue]\nencryption = {encryption}\n");
        fs::write(&routes, text.replacen("[queue]\n", &line, 1)).unwrap();
    };
    let queue = folder.path().join("queue");

    with("{ key = \"${file:queue.key}\" }");
    let relay = Process::serve(&routes);
    send(&relay, folder.path(), "sealed-order", "sealed-customer");
    assert_eq!(relay.terminate(), Some(0));
    for text in ["sealed-order", "sealed-customer"] {
        assert_eq!(holding(&queue, text), Vec::<PathBuf>::new(), "{text}");
    }

    fs::write(&routes, &text).unwrap();
    let path = routes.to_str().unwrap();
    let (code, _, refused) = run(&["serve", "--config", path]);
    assert_eq!(code, Some(1));
    let id = id_of(&key);
    assert!(id.len() == 16 && refused.contains(&id) && refused.contains("`encryption.key`"), "{refused}");
    assert!(!refused.contains(key.trim()), "{refused}");

    fs::write(folder.path().join("new.key"), run(&["key"]).1).unwrap();
    with("{ key = \"${file:new.key}\", old_keys = [\"${file:queue.key}\"] }");
    assert_eq!(Process::serve(&routes).terminate(), Some(0));
    with("{ key = \"${file:new.key}\" }");
    let (code, exported, error) = run(&["export", "--config", path]);
    assert_eq!(code, Some(0), "{error}");
    assert!(exported.contains("sealed-order"), "an export can be read");
    // With a key that is not there nothing is opened, and nothing is sealed with what stands for it.
    with("{ key = \"${file:gone.key}\", old_keys = [\"${file:new.key}\"] }");
    for command in [&["export"][..], &["import", "-"], &["recover"]] {
        let (code, said, refused) = run(&[command, &["--config", path]].concat());
        assert_eq!((code, said.as_str()), (Some(1), ""), "{command:?}");
        assert!(refused.contains("`encryption.key` of `[queue]` cannot be read here"), "{command:?}: {refused}");
    }
    with("{ key = \"${file:new.key}\" }");
    for platform in Platform::ALL {
        sandbox.script(platform, Behaviour::Document);
    }
    let relay = Process::serve(&routes);
    eventually("what was sealed with the old key", async || {
        sandbox.arrivals(Platform::Thrad).contains_key(&handle(Platform::Thrad, "sealed-order")).then_some(())
    })
    .await;
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_is_sent_to_nobody_and_its_bytes_are_gone() {
    let (sandbox, folder, routes) = started().await;
    for platform in Platform::ALL {
        sandbox
            .script(platform, Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None });
    }
    let relay = Process::serve(&routes);
    let by_order = send(&relay, folder.path(), "erased-order", "someone");
    let by_person = send(&relay, folder.path(), "other-order", "erased-person");
    let kept = send(&relay, folder.path(), "kept-order", "someone-else");
    let queue = folder.path().join("queue");
    assert!(!holding(&queue, "erased-order").is_empty());

    let forget = |what: [&str; 2]| run(&[&["forget", "--admin", &relay.admin][..], &what].concat());
    let (code, said, error) = forget(["--order", "erased-order"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.starts_with("1 conversion forgotten: "), "{said}");
    let (code, said, _) = forget(["--customer", "erased-person"]);
    assert_eq!(code, Some(0));
    assert!(said.starts_with("1 conversion forgotten: "), "{said}");
    let (code, said, _) = forget(["--order", "erased-order"]);
    assert_eq!((code, said.trim()), (Some(0), "nothing is kept of that"));
    let (code, said, _) = forget(["--customer", "erased-person"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("what is settled is not searched"), "{said}");
    let (code, _, refused) = run(&["forget", "--admin", &relay.admin, "--order", "kept-order", "--merchant", "Acme"]);
    assert_eq!(code, Some(1), "{refused}");
    assert!(refused.contains("none of the name Acme is configured"), "{refused}");
    let (code, _, refused) = run(&["forget", "--admin", &relay.admin]);
    assert_eq!(code, Some(2), "{refused}");

    for id in [&by_order, &by_person] {
        let (code, _, refused) = run(&["status", id, "--admin", &relay.admin]);
        assert_eq!(code, Some(1), "{refused}");
    }
    assert_eq!(run(&["status", &kept, "--admin", &relay.admin]).0, Some(0));
    for text in ["erased-order", "erased-person"] {
        eventually("its bytes are gone", async || holding(&queue, text).is_empty().then_some(())).await;
    }
    assert!(!holding(&queue, "kept-order").is_empty());
    for platform in Platform::ALL {
        sandbox.script(platform, Behaviour::Document);
    }
    eventually("the other one's delivery", async || {
        sandbox.arrivals(Platform::Thrad).contains_key(&handle(Platform::Thrad, "kept-order")).then_some(())
    })
    .await;
    for order in ["erased-order", "other-order"] {
        let effects = sandbox.effects(Platform::Thrad);
        assert!(!effects.contains_key(&handle(Platform::Thrad, order)), "{order} was delivered: {effects:?}");
    }
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}
