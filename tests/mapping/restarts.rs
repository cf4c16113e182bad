//! Across restarts: what the queue gives back makes the bytes that the merchant's own would have made.

use std::sync::Arc;

use capi_relay::config::{Config, Destination};
use capi_relay::conversion::{Conversion, ConversionId, DestinationName};
use capi_relay::mapping::{Request, Scope};
use capi_relay::queue::{Accepted, Claim, Clock, Initial, Outcome, Queue, Settings, Submission};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{generate, meta, routes, sent};
use crate::support::config;

/// Each opens a queue twice.
const CASES: u32 = 10;

fn open(folder: &std::path::Path) -> Queue {
    let settings = Settings {
        path: folder.to_owned(),
        allow_volatile: true,
        pending_bytes_max: 1 << 30,
        dead_letters_max: 100,
        free_bytes_min: 1 << 20,
        dedup_window: std::time::Duration::from_secs(3600),
        history_keep: std::time::Duration::from_secs(3600),
        encryption: None,
        destinations: vec![destination()],
    };
    Queue::open(settings, Clock::system()).unwrap()
}

fn destination() -> DestinationName {
    DestinationName::parse("everything").unwrap()
}

/// Hands them in; gives back the id of each that was kept and what it would have been sent as.
async fn accept(queue: &Queue, jsons: &[String]) -> Vec<(ConversionId, Vec<String>)> {
    let config = config(&routes());
    let mut accepted = Vec::new();
    for (number, json) in (0..).zip(jsons) {
        let conversion = Arc::new(Conversion::parse(json.as_bytes(), &format!("generated-{number}")).unwrap());
        let key = (number % 2 == 0).then(|| format!("key {number} ü"));
        let meta = meta(number, key, &conversion);
        let (id, first) = (meta.id, wire(&config, Scope { conversion: &conversion, meta: &meta }));
        let plan = vec![(destination(), Initial::Owed)];
        let submission = Submission { meta, conversion, body: json.clone().into(), plan, claim: Claim::default() };
        // Two of the same key by chance: the second is none.
        if let Accepted::New(_) = queue.accept(submission).await.unwrap() {
            accepted.push((id, first));
        }
    }
    accepted
}

/// All that goes over the wire to each destination, or why nothing does.
fn wire(config: &Config, scope: Scope<'_>) -> Vec<String> {
    let one = |destination: &Arc<Destination>| match sent(destination, scope) {
        Ok(Request { method, url, headers, body }) => {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name, value.as_bytes())).collect();
            format!("{}: {method} {url} {headers:?} {body:?}", destination.name)
        }
        Err(why) => format!("{}: {why}", destination.name),
    };
    config.destinations.iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn a_request_is_the_same_after_a_restart_and_a_reload(jsons in vec(generate::conversion(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let queue = open(folder.path());
            let accepted = accept(&queue, &jsons).await;
            // Half of them wait in the store, the others in the journal.
            for _ in 0..accepted.len() / 2 {
                let delivery = queue.next(&destination()).await;
                queue.settle(&delivery, Outcome::Retry { due_ms: 1, spent: true }, None);
            }
            queue.close().await.unwrap();
            drop(queue);

            let (queue, config) = (open(folder.path()), config(&routes()));
            let mut seen = Vec::new();
            for _ in 0..accepted.len() {
                let delivery = queue.next(&destination()).await;
                let (conversion, meta) = (delivery.conversion().unwrap(), delivery.meta());
                let again = wire(&config, Scope { conversion: &conversion, meta });
                let (_, first) = accepted.iter().find(|(id, _)| *id == meta.id).unwrap();
                assert_eq!(*first, again);
                seen.push(meta.id);
                queue.settle(&delivery, Outcome::Skipped { reason: String::new() }, None);
            }
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), accepted.len());
            queue.close().await.unwrap();
        });
    }
}
