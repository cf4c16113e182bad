//! What waits is there after a restart, and a folder that cannot be trusted is refused in words.

use std::fs;

use capi_relay::cli::Relay;
use capi_relay::queue::Clock;
use capi_relay::sandbox::{Behaviour, Platform};

use crate::support::{Bench, config, conversion, eventually, routes};

#[tokio::test(flavor = "multi_thread")]
async fn waiting_deliveries_their_attempts_and_their_status_survive_a_restart() {
    let bench = Bench::start("").await;
    let failing = Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None };
    bench.sandbox.script(Platform::Dsp, failing);
    let id = bench.post(&conversion("order-1")).await.id();
    let before = eventually("two attempts", async || {
        let status = bench.status(&id).await;
        (status["destinations"]["dsp"]["attempts"].as_u64()? >= 2).then_some(status)
    })
    .await;
    let Bench { relay, sandbox, folder, http } = bench;
    relay.stop().await.unwrap();

    sandbox.script(Platform::Dsp, Behaviour::Document);
    let routes = routes(&sandbox, &folder.path().join("queue"), "");
    let relay = Relay::start(config(&routes), Clock::system()).await.unwrap();
    let bench = Bench { relay, sandbox, folder, http };
    let after = bench.settled(&id, &["dsp"]).await;
    assert_eq!(after["destinations"]["dsp"]["state"], "delivered", "{after:#}");
    let (earlier, now) = (&before["destinations"]["dsp"]["attempts"], &after["destinations"]["dsp"]["attempts"]);
    assert!(now.as_u64() > earlier.as_u64(), "{before:#} {after:#}");
    assert_eq!(after["destinations"]["thrad"], before["destinations"]["thrad"]);
    assert_eq!(bench.sandbox.counts(Platform::Thrad).requests, 1);
    let repeat = bench.post(&conversion("order-1")).await;
    assert_eq!((repeat.body["status"].as_str(), repeat.id()), (Some("duplicate"), id));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_on_the_same_folder_is_refused_in_words() {
    let bench = Bench::start("").await;
    let routes = routes(&bench.sandbox, &bench.folder.path().join("queue"), "");
    let Err(refused) = Relay::start(config(&routes), Clock::system()).await else { panic!("two relays on one folder") };
    let text = format!("{refused:?} {}", std::error::Error::source(&refused).unwrap());
    assert!(text.contains("another process") || text.contains("in use"), "{text}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_database_is_refused_and_not_served() {
    let bench = Bench::start("").await;
    let failing = Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None };
    bench.sandbox.script(Platform::Dsp, failing);
    let id = bench.post(&conversion("order-1")).await.id();
    bench.settled(&id, &["thrad"]).await;
    let Bench { relay, sandbox, folder, http: _ } = bench;
    relay.stop().await.unwrap();

    let queue = folder.path().join("queue");
    for entry in fs::read_dir(&queue).unwrap() {
        let path = entry.unwrap().path();
        // sled's own folder: the only one that holds a file named `db`.
        if path.join("db").exists() {
            fs::remove_dir_all(&path).unwrap();
        }
    }
    let text = routes(&sandbox, &queue, "");
    let Err(refused) = Relay::start(config(&text), Clock::system()).await else { panic!("served an emptied database") };
    println!("{refused}: {}", std::error::Error::source(&refused).unwrap());
    sandbox.stop().await;
}
