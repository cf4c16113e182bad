//! What of a destination outlives a reload that changes it.

use super::super::attempt::Report;
use super::super::gate::{Health, Pass};
use super::super::run::{Desk, Step};
use super::*;

/// Another destination in everything but what it is sent to.
const CHANGED: &str = "limits = { concurrency = 3 }";

/// The pool of the only destination.
fn pool(bench: &Bench) -> Arc<Pool> {
    bench.pools.all().remove(0)
}

fn asked_to_wait() -> Report {
    let hold = Some(Duration::from_secs(60));
    Report { health: Health::Answering, hold, begun: Instant::now(), error: None, repeated: false, lacks_token: false }
}

#[tokio::test]
async fn a_requested_wait_outlives_a_reload() {
    let wait = Reply::Header(429, "retry-after", "1".to_owned());
    let platform = Platform::answering([wait], Reply::Status(200)).await;
    let bench = Bench::start(&[destination("one", &platform.url(), "")]);
    let first = bench.accept().await;
    // Its pool knows of the wait: the queue is told of the attempt a moment before.
    bench.becomes("one", |state| state.last_error.is_some()).await;
    bench.reload(&[destination("one", &platform.url(), CHANGED)]);
    let second = bench.accept().await;
    bench.reaches(first, "one", delivered).await;
    bench.reaches(second, "one", delivered).await;
    let seen = platform.seen();
    let waited = seen[1].at.duration_since(seen[0].at);
    assert!(seen.len() == 3 && waited >= Duration::from_millis(990), "{waited:?}");
    bench.stop().await;
}

#[tokio::test]
async fn what_an_attempt_in_hand_is_told_after_the_reload_holds_for_its_successor() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/a", "")]);
    let before = pool(&bench);
    bench.reload(&[destination("one", "http://127.0.0.1:9/b", CHANGED)]);
    let after = pool(&bench);
    let (mut old, mut new) = (Desk::new(&before), Desk::new(&after));
    assert!(matches!(new.step(), Step::Take(_)));
    before.learn(&mut old, (Pass::Ordinary, None, 0), asked_to_wait(), Instant::now());
    timeout(PATIENCE, new.told.changed()).await.unwrap();
    assert!(matches!(new.step(), Step::NotBefore(_)));
    // A person who resumes it knows better.
    new.gate.probe_now(Instant::now());
    assert!(matches!(new.step(), Step::Take(_)));
    bench.stop().await;
}

#[tokio::test]
async fn a_wait_is_of_the_platform_that_asked_for_it() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", "")]);
    let before = pool(&bench);
    before.learn(&mut Desk::new(&before), (Pass::Ordinary, None, 0), asked_to_wait(), Instant::now());
    bench.reload(&[destination("one", "http://127.0.0.1:10/", "")]);
    assert!(matches!(Desk::new(&pool(&bench)).step(), Step::Take(_)), "another port is another platform");
    bench.stop().await;
}

#[tokio::test]
async fn an_operation_keeps_its_own_bucket_while_its_rate_is_the_same() {
    let early = |rate: &str, more: &str| {
        let own = "[destination.one.operation.early]\nurl = \"http://127.0.0.1:9/\"\nmap.early = \"event_id\"\n\
                   kind = \"conversion\"\nlimits = ";
        [destination("one", "http://127.0.0.1:9/", &format!("{more}\n{own}{{ rate = \"{rate}\", burst = 1 }}\n"))]
    };
    let bench = Bench::open(&early("1/h", ""));
    let before = pool(&bench);
    let early_at = before.destination.operations.iter().position(|operation| operation.name == "early").unwrap();
    let take = |pool: &Pool| Desk::new(pool).take_token(early_at, Instant::now());
    assert!(take(&before).is_ok());
    let place = take(&before).unwrap_err();
    bench.reload(&early("1/h", CHANGED));
    let next = take(&pool(&bench)).unwrap_err();
    assert!(next >= place + Duration::from_secs(3599), "it stands behind who waited before");
    bench.reload(&early("2/h", CHANGED));
    assert!(take(&pool(&bench)).is_ok(), "another rate is another bucket");
    bench.stop().await;
}

#[tokio::test]
async fn what_is_owed_to_the_rate_is_owed_after_a_reload() {
    let rate = |more: &str| {
        [destination("one", "http://127.0.0.1:9/", &format!("limits = {{ rate = \"1/h\", burst = 1, {more} }}"))]
    };
    let bench = Bench::open(&rate("concurrency = 2"));
    let before = pool(&bench);
    bench.reload(&rate("concurrency = 3"));
    let repeated = Report { hold: None, repeated: true, ..asked_to_wait() };
    before.learn(&mut Desk::new(&before), (Pass::Ordinary, None, 0), repeated, Instant::now());
    assert!(matches!(Desk::new(&pool(&bench)).step(), Step::Limited(_)));
    bench.stop().await;
}

#[tokio::test]
async fn another_root_behind_the_same_path_is_another_client() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let root = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert.pem();
    std::fs::write(&ca_file, root()).unwrap();
    let routes = [destination("one", "https://127.0.0.1:9/", &format!("ca_file = \"{}\"", ca_file.display()))];
    let bench = Bench::open(&routes);
    let before = pool(&bench);
    bench.reload(&routes);
    assert!(Arc::ptr_eq(&before, &pool(&bench)), "nothing has changed");
    std::fs::write(&ca_file, root()).unwrap();
    bench.reload(&routes);
    assert!(!Arc::ptr_eq(&before, &pool(&bench)));
    bench.stop().await;
}

#[tokio::test]
async fn a_pause_stands_while_the_destination_is_not_configured() {
    let (one, other) = (destination("one", "http://127.0.0.1:9/", ""), destination("other", "http://127.0.0.1:9/", ""));
    let bench = Bench::open(&[one.clone(), other.clone()]);
    bench.pools.pause("one", "maintenance".to_owned()).unwrap();
    bench.reload(std::slice::from_ref(&other));
    bench.reload(&[one.clone(), other.clone()]);
    let paused = bench.state("one");
    assert_eq!((paused.state, paused.reason.as_deref()), (Activity::Paused, Some("maintenance")));
    assert_eq!(bench.state("other").state, Activity::Active);
    assert_eq!(bench.pools.resume("one").unwrap().state, Activity::Active);
    bench.reload(std::slice::from_ref(&other));
    bench.reload(&[one, other]);
    assert_eq!(bench.state("one").state, Activity::Active);
    bench.stop().await;
}

#[tokio::test]
async fn how_a_destination_was_configured_is_known_as_long_as_the_process_lives() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", "")]);
    let name = DestinationName::parse("one").unwrap();
    let (first, now_ms) = (pool(&bench), bench.clock.unix_ms());
    let at = |ms| bench.pools.configured_at(&name, ms).map(|known| known.fingerprint);
    assert_eq!(at(first.since_ms.saturating_sub(1)), None, "before the process");
    assert_eq!(at(now_ms), Some(first.destination.fingerprint));
    timeout(PATIENCE, async {
        while bench.clock.unix_ms() <= now_ms {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    bench.reload(&[destination("one", "http://127.0.0.1:9/", CHANGED)]);
    let second = pool(&bench).destination.fingerprint;
    assert_ne!(second, first.destination.fingerprint);
    assert_eq!(at(bench.clock.unix_ms()), Some(second));
    assert_eq!(at(now_ms), Some(first.destination.fingerprint), "as it was then");
    bench.stop().await;
}

#[tokio::test]
async fn a_pool_is_not_retired_between_its_look_whether_it_is_and_what_it_tells_the_queue() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", "")]);
    let (before, pools) = (pool(&bench), bench.pools.clone());
    let config = Arc::new(load(bench.folder.path(), &[destination("one", "http://127.0.0.1:9/", CHANGED)]));
    let showing = before.showing.lock().unwrap();
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    let reloading = std::thread::spawn(move || done.send(pools.reload(&config).is_ok()));
    assert!(ended.recv_timeout(Duration::from_millis(200)).is_err() && !before.retired.is_cancelled(), "it waits");
    drop(showing);
    assert_eq!(ended.recv_timeout(PATIENCE), Ok(true));
    reloading.join().unwrap().unwrap();
    assert!(before.retired.is_cancelled());
    bench.stop().await;
}
