//! A relay goes to another machine by export and import: what is owed arrives from there, and a repeat of what was delivered
//! here is no second sale.

use std::fs;

use capi_relay::sandbox::Platform;
use serde_json::Value;

use crate::support::process::{Process, run, started};
use crate::support::{Http, conversion, eventually, handle};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Each line with its checksum: the header's own, and from then on of all lines so far.
fn sealed(lines: &[Value]) -> String {
    let mut crc = 0;
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let mut line = line.clone();
        line.as_object_mut().unwrap().remove("crc32c");
        let line = line.to_string();
        let made = crc32c::crc32c_append(crc, line.as_bytes());
        crc = if number == 0 { 0 } else { made };
        text.push_str(&format!("{},\"crc32c\":\"{made:08x}\"}}\n", line.strip_suffix('}').unwrap()));
    }
    text
}

/// The export, as if its one conversion had been received a month before.
fn a_month_earlier(mut exported: Vec<Value>) -> Vec<Value> {
    let id = exported[1]["id"].as_str().unwrap().to_owned();
    let received_ms = u64::from_str_radix(&id.replace('-', "")[..12], 16).unwrap();
    let stamp = format!("{:012x}", received_ms - 30 * 86_400_000);
    exported[1]["id"] = Value::String(format!("{}-{}{}", &stamp[..8], &stamp[8..], &id[13..]));
    exported
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_what_was_delivered_before_the_move_is_no_second_sale() {
    let (sandbox, folder, routes) = started().await;
    let relay = Process::serve(&routes);
    let http = Http::new();
    let url = |relay: &Process| format!("{}/v1/conversions", relay.origin);
    let first = http.post(&url(&relay), conversion("moved").to_string()).await;
    assert_eq!(first.status, 202);
    let arrived = async || {
        let all = Platform::ALL.iter().all(|platform| {
            sandbox.effects(*platform).get(&handle(*platform, "moved")).is_some_and(|effects| *effects == 1)
        });
        all.then_some(())
    };
    eventually("it is delivered to all", arrived).await;
    assert_eq!(relay.terminate(), Some(0));

    let path = routes.to_str().unwrap();
    let export = |queue: &str, more: &[&str]| {
        let set = format!("queue.path={queue}");
        let (code, text, said) = run(&[&["export", "--config", path, "--set", &set], more].concat());
        assert_eq!(code, Some(0), "{said}");
        (lines(&text), text, said)
    };
    let here = folder.path().join("queue").display().to_string();
    for none in [&["--no-settled"][..], &["--pending"], &["--dead"], &["-d", "thrad"]] {
        let (lines, _, said) = export(&here, none);
        assert!(lines.len() == 2 && !said.contains("settled"), "{none:?}: {said}");
    }
    let (exported, text, said) = export(&here, &[]);
    assert_eq!(
        (exported.len(), said.trim()),
        (3, "0 conversions exported: 0 deliveries pending, 0 dead; beside them 1 settled")
    );
    let moved = folder.path().join("moved.ndjson");
    fs::write(&moved, text).unwrap();

    let there = folder.path().join("there").display().to_string();
    let import = |queue: &str| {
        let set = format!("queue.path={queue}");
        run(&["import", moved.to_str().unwrap(), "--config", path, "--set", &set])
    };
    let (code, said, error) = import(&there);
    assert_eq!(
        (code, said.trim()),
        (Some(0), "0 conversions imported, 1 settled, 0 known already, 0 refused"),
        "{error}"
    );
    let relay = Process::serve_with(&routes, &["--set", &format!("queue.path={there}")]);
    let again = http.post(&url(&relay), conversion("moved").to_string()).await;
    assert_eq!((again.status.as_u16(), again.id()), (200, first.id()));
    assert_eq!(relay.terminate(), Some(0));
    assert!(arrived().await.is_some(), "once");

    // One that was received before the window of deduplication, and is still known.
    fs::write(&moved, sealed(&a_month_earlier(exported))).unwrap();
    let elsewhere = folder.path().join("elsewhere").display().to_string();
    let (code, said, error) = import(&elsewhere);
    assert_eq!(code, Some(0), "{said}{error}");
    assert_eq!(export(&elsewhere, &[]).0.len(), 2);
    assert_eq!(export(&elsewhere, &["--history"]).0.len(), 3);
    sandbox.stop().await;
}
