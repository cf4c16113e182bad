//! What one operation of a destination has of its own: its rate, its credential, and what doubt means.

use super::*;
use crate::queue::Outcome;

/// An operation of `one` for the first conversions, by their ids, with these further keys.
fn operation_of(url: &str, ids: &str, more: &str) -> String {
    format!(
        "when = \"!(event_id in [{ids}])\"\n[destination.one.operation.early]\nurl = \"{url}\"\nmap.early = \"event_id\"\n\
         when = \"event_id in [{ids}]\"\n{more}\n"
    )
}

#[tokio::test]
async fn an_operation_keeps_a_rate_of_its_own_and_holds_up_no_other() {
    let platform = Platform::answering([], Reply::Status(200)).await;
    let at_a_rate = |rate: &str| {
        let limits = format!("limits = {{ rate = \"{rate}\", burst = 1 }}");
        [destination("one", &platform.url(), &operation_of(&platform.url(), "'e1', 'e2', 'e3'", &limits))]
    };
    let bench = Bench::start(&at_a_rate("1/h"));
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(bench.accept().await);
    }
    for id in [ids[0], ids[3], ids[4], ids[5]] {
        bench.reaches(id, "one", delivered).await;
    }
    let mut turns_ms = Vec::new();
    for id in [ids[1], ids[2]] {
        let status = bench.reaches(id, "one", |status| status.next_attempt_ms.is_some()).await;
        assert_eq!((status.state, status.attempts), (State::Queued, 0), "waiting for a turn is no attempt");
        turns_ms.extend(status.next_attempt_ms);
    }
    assert!(turns_ms[1].abs_diff(turns_ms[0]) >= 3_599_000, "one behind the other: {turns_ms:?}");
    let seen = platform.seen();
    let is_early = seen.iter().filter(|seen| seen.body.contains("early")).count();
    assert_eq!((seen.len(), is_early), (4, 1), "{:?}", bodies(&seen));
    bench.stop().await;

    let mut bench = Bench::open(&at_a_rate("4/s"));
    for _ in 0..3 {
        ids.push(bench.accept().await);
    }
    let begun = Instant::now();
    bench.run();
    let window = platform.received(4 + 3).await[6].at.duration_since(begun);
    assert!(window >= Duration::from_millis(250 * 2), "three within {window:?}");
    for id in &ids[6..] {
        assert_eq!(bench.reaches(*id, "one", delivered).await.attempts, 1, "waiting for a turn is no attempt");
    }
    bench.stop().await;
}

#[tokio::test]
async fn an_operation_says_by_itself_what_ambiguity_and_unmappable_mean() {
    let platform = Platform::answering([Reply::Close], Reply::Status(200)).await;
    let early = operation_of(&platform.url(), "'e1'", "on_ambiguous = \"retry\"");
    let bench =
        Bench::start(&[destination("one", &platform.url(), &format!("on_ambiguous = \"dead_letter\"\n{early}"))]);
    let id = bench.accept().await;
    assert_eq!(bench.reaches(id, "one", delivered).await.attempts, 2);
    bench.stop().await;

    let early = operation_of(&platform.url(), "'e1'", "map.order = \"order_id !\"\non_unmappable = \"skip\"");
    let one = destination("one", &platform.url(), &early).replace("order = \"order_id\"", "order = \"order_id !\"");
    let bench = Bench::start(&[one]);
    let (skipped, dead) = (bench.accept().await, bench.accept().await);
    let status = bench.reaches(skipped, "one", |status| status.state == State::Skipped).await;
    assert_eq!(status.reason.as_deref(), Some("unmappable: order: required, and absent"));
    bench.reaches(dead, "one", |status| status.state == State::Dead(DeadKind::Unmappable)).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_delivery_that_cannot_be_mapped_tells_of_which_operation_it_is() {
    let early = operation_of("http://127.0.0.1:9/", "'e1'", "map.order = \"order_id !\"");
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", &early)]);
    let pool = bench.pools.all().remove(0);
    bench.accept().await;
    let delivery = bench.queue.next(&pool.destination.name).await;
    let unsent = pool.prepare(&delivery).unwrap_err();
    assert_eq!(unsent.operation, Some("early"));
    assert!(matches!(unsent.outcome, Outcome::Dead { kind: DeadKind::Unmappable, .. }), "{unsent:?}");
    drop(delivery);
    bench.stop().await;
}

/// `one` with an operation for these ids that has a credential of its own, or the destination's in other words.
fn with_credentials(platform: &Platform, early: &Platform, auth: &str) -> String {
    let more = format!("secrets.own = \"0wn\"\nlimits = {{ concurrency = 1 }}\n{}", {
        operation_of(&early.url(), "'e1', 'e3', 'e5'", &format!("auth = {auth}"))
    });
    destination("one", &platform.url(), &more)
}

const OWN: &str = "{ header = { name = \"x-key\", value = \"{secrets.own}\" } }";

#[tokio::test]
async fn a_refused_credential_of_one_operation_stops_its_work_and_nobody_elses() {
    let (platform, early) =
        (Platform::answering([], Reply::Status(200)).await, Platform::answering([], Reply::Status(401)).await);
    let bench = Bench::start(&[with_credentials(&platform, &early, OWN)]);
    let refused = bench.accept().await;
    let state = bench.becomes("one", |state| state.state == Activity::Suspended).await;
    assert_eq!(state.reason.as_deref(), Some("early: status 401 Unauthorized; other operations go on"));
    let (other, held) = (bench.accept().await, bench.accept().await);
    let last = bench.accept().await;
    for id in [other, last] {
        bench.reaches(id, "one", delivered).await;
    }
    let status = bench.reaches(refused, "one", |status| status.next_attempt_ms.is_some()).await;
    assert_eq!((status.state, status.attempts), (State::Retrying, 1), "the credential was good before");
    let status = bench.reaches(held, "one", |status| status.next_attempt_ms.is_some()).await;
    assert_eq!((status.state, status.attempts), (State::Queued, 0), "no attempt is spent");
    assert_eq!((platform.seen().len(), early.seen().len()), (2, 1), "one request, and no more");
    assert_eq!(bench.state("one").state, Activity::Suspended, "a success with another credential mends nothing");

    early.now(Reply::Status(200));
    bench.pools.resume("one").unwrap();
    let probe = bench.accept().await;
    bench.reaches(probe, "one", delivered).await;
    bench.becomes("one", |state| state.state == Activity::Active && state.reason.is_none()).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_token_endpoint_of_one_operation_that_asks_for_a_wait_stops_its_work_and_nobody_elses() {
    let (platform, early) =
        (Platform::answering([], Reply::Status(200)).await, Platform::answering([], Reply::Status(200)).await);
    let endpoint = Platform::answering([], Reply::Header(503, "retry-after", "600".to_owned())).await;
    let oauth = format!(
        "{{ oauth = {{ grant = \"refresh_token\", token_url = \"{}\", client_id = \"me\", \
         client_secret = \"{{secrets.own}}\", refresh_token = \"{{secrets.own}}\" }} }}",
        endpoint.url()
    );
    let bench = Bench::start(&[with_credentials(&platform, &early, &oauth)]);
    let waits = bench.accept().await;
    let state = bench.becomes("one", |state| state.state == Activity::Suspended).await;
    assert!(state.reason.as_deref().is_some_and(|reason| reason.starts_with("early: ")), "{state:?}");
    let other = bench.accept().await;
    bench.reaches(other, "one", delivered).await;
    let status = bench.status(waits, "one").await;
    assert_eq!(status.attempts, 0, "none was made: {status:?}");
    assert_eq!((platform.seen().len(), early.seen().len(), endpoint.seen().len()), (1, 0, 1));
    bench.stop().await;
}

#[tokio::test]
async fn a_refused_credential_of_the_destination_stops_all_also_where_an_operation_writes_it_again() {
    let (platform, early) =
        (Platform::answering([], Reply::Status(200)).await, Platform::answering([], Reply::Status(403)).await);
    let bench = Bench::start(&[with_credentials(&platform, &early, "{ bearer = \"{secrets.token}\" }")]);
    let mut ids = vec![bench.accept().await];
    let state = bench.becomes("one", |state| state.state == Activity::Suspended).await;
    assert_eq!(state.reason.as_deref(), Some("status 403 Forbidden"));
    ids.push(bench.accept().await);
    for id in ids {
        bench.reaches(id, "one", |status| status.state == State::Held).await;
    }
    assert_eq!((platform.seen().len(), early.seen().len()), (0, 1));
    bench.stop().await;
}

#[tokio::test]
async fn where_the_destinations_credential_is_refused_one_of_an_operation_lifts_nothing() {
    let (platform, early) =
        (Platform::answering([], Reply::Status(401)).await, Platform::answering([], Reply::Status(200)).await);
    let bench = Bench::start(&[with_credentials(&platform, &early, OWN)]);
    let first = bench.accept().await;
    bench.reaches(first, "one", delivered).await;
    bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    platform.now(Reply::Hang);
    let (beside, _next) = (bench.accept().await, bench.accept().await);
    bench.pools.resume("one").unwrap();
    // What has the other credential takes no probe: the next conversion does.
    bench.reaches(beside, "one", delivered).await;
    platform.received(2).await;
    let state = bench.state("one");
    assert_eq!((state.state, state.reason.as_deref()), (Activity::Suspended, Some("status 401 Unauthorized")));
    bench.stop().await;
}

#[tokio::test]
async fn a_wish_tries_a_refused_credential_of_an_operation_with_what_was_put_off() {
    let (platform, early) =
        (Platform::answering([], Reply::Status(200)).await, Platform::answering([], Reply::Status(401)).await);
    let bench = Bench::start(&[with_credentials(&platform, &early, OWN)]);
    let refused = bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    let (_other, held) = (bench.accept().await, bench.accept().await);
    for id in [refused, held] {
        bench.reaches(id, "one", |status| status.next_attempt_ms.is_some()).await;
    }
    early.now(Reply::Status(200));
    // On a disk that hesitates the first wish may be over before one of them comes, which is due in a minute else.
    let mut wishes = 0_u32;
    let probed = loop {
        match bench.pools.probe("one").await.unwrap() {
            Ok((probed, _)) => break probed,
            Err(nothing) => assert!(wishes < 20, "none of them is near: {nothing:?}"),
        }
        wishes += 1;
    };
    assert_eq!(probed.attempt.verdict, Verdict::Delivered);
    bench.becomes("one", |state| state.state == Activity::Active).await;
    bench.stop().await;
}
