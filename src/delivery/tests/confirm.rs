//! What is accepted is asked about until the platform says, and never sent again.

use super::tokens::Written;
use super::*;

/// What the platform answers to a conversion.
pub(super) fn queued() -> Reply {
    Reply::Body(200, r#"{"Status":"QUEUED","QueuedUri":"/s/1?v=2"}"#.to_owned())
}

/// What it answers to a question.
pub(super) fn said(status: &str, reason: &str) -> Reply {
    Reply::Body(200, format!(r#"{{"Status":"{status}","Reason":"{reason}"}}"#))
}

/// A destination that asks, with these further keys of the step and of its own.
pub(super) fn asking(platform: &Platform, step: &str, more: &str) -> String {
    let url = platform.url();
    let origin = url.trim_end_matches("/events");
    let step = format!(
        "capture.uri = \"body.QueuedUri\"\n\
         confirm = {{ url = \"{origin}{{captured.uri}}\", after = \"10ms\", every = \"10ms\", \
         confirmed_when = \"body.Status == 'Complete'\", rejected_when = \"body.Status == 'Failed'\", \
         duplicate_when = \"body.Status == 'Known'\", reason = \"body.Reason\"{step} }}\n{more}"
    );
    destination("one", &url, &step)
}

fn lines(platform: &Platform) -> Vec<String> {
    platform.seen().into_iter().map(|seen| seen.line).collect()
}

fn sent(platform: &Platform) -> usize {
    lines(platform).iter().filter(|line| line.starts_with("POST")).count()
}

pub(super) fn is_dead(status: &DeliveryStatus) -> bool {
    matches!(status.state, State::Dead(_))
}

#[tokio::test]
async fn what_is_accepted_is_delivered_once_the_platform_says_so() {
    let platform = Platform::answering([queued(), said("Queued", ""), said("Queued", "")], said("Complete", "")).await;
    let bench = Bench::start(&[asking(&platform, "", "")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", delivered).await;
    assert_eq!(lines(&platform), ["POST /events", "GET /s/1?v=2", "GET /s/1?v=2", "GET /s/1?v=2"]);
    let seen = platform.seen();
    assert_eq!(seen[1].headers["authorization"], format!("Bearer {SECRET}"), "as the operation's own");
    assert_eq!(seen[1].body, "");
    assert_eq!((status.attempts, status.captured["uri"].as_str()), (1, "/s/1?v=2"));
    let verdicts: Vec<_> = status.history.iter().map(|attempt| attempt.verdict).collect();
    assert_eq!(verdicts, [Verdict::Accepted, Verdict::Unconfirmed, Verdict::Delivered]);
    bench.becomes("one", |state| state.in_flight == 0).await;
    let metrics = bench.metrics();
    for (verdict, count) in [("accepted", 1), ("unconfirmed", 2), ("delivered", 1)] {
        let line = format!("capi_relay_deliveries_total{{destination=\"one\",verdict=\"{verdict}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(metrics.contains("capi_relay_delivery_seconds_count{destination=\"one\"} 1\n"), "{metrics}");
    bench.stop().await;
}

#[tokio::test]
async fn a_rejection_is_a_dead_letter_with_the_platforms_reason_and_a_duplicate_is_none() {
    let reason = format!("NO_CLICK {SECRET}");
    let platform = Platform::answering([queued(), said("Failed", &reason), queued()], said("Known", "")).await;
    let bench = Bench::start(&[asking(&platform, "", "limits = { concurrency = 1 }")]);
    let first = bench.accept().await;
    let status = bench.reaches(first, "one", is_dead).await;
    assert_eq!(status.state, State::Dead(DeadKind::Rejected));
    assert_eq!(status.reason.as_deref(), Some("accepted, then rejected: NO_CLICK ***"));
    let second = bench.accept().await;
    bench.reaches(second, "one", |status| status.state == State::Duplicate).await;
    // A person may have it sent again, and it is asked about again.
    platform.now(said("Complete", ""));
    bench.queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
    bench.reaches(first, "one", delivered).await;
    assert_eq!(sent(&platform), 3);
    bench.stop().await;
}

#[tokio::test]
async fn why_a_platform_rejects_what_it_had_accepted_is_in_the_dead_letter_and_in_no_log() {
    let (written, _logging) = Written::listening();
    let platform = Platform::answering([queued()], said("Failed", "unknown customer ada@example.com")).await;
    let bench = Bench::start(&[asking(&platform, "", "")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", is_dead).await;
    assert_eq!(status.reason.as_deref(), Some("accepted, then rejected: unknown customer ada@example.com"));
    bench.stop().await;
    let log = written.text();
    assert!(log.contains("dead letter") && log.contains("reason=\"accepted, then rejected\""), "{log}");
    assert!(!log.contains("ada@example.com"), "{log}");
}

#[tokio::test]
async fn a_question_that_fails_is_asked_again_and_nothing_is_sent_again() {
    let failing = [queued(), Reply::Status(503), Reply::Close, Reply::Status(429), Reply::Status(404)];
    let platform = Platform::answering(failing, said("Complete", "")).await;
    // One try: what was not answered spends none, and the 404 would.
    let bench = Bench::start(&[asking(&platform, ", tries = 2", "")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", delivered).await;
    assert_eq!((sent(&platform), platform.seen().len(), status.attempts), (1, 6, 1));
    let verdicts: Vec<_> = status.history.iter().map(|attempt| (attempt.status, attempt.verdict)).collect();
    let expected = [
        (Some(200), Verdict::Accepted),
        (Some(503), Verdict::Retry),
        (None, Verdict::Retry),
        (Some(429), Verdict::Retry),
        (Some(404), Verdict::Unconfirmed),
        (Some(200), Verdict::Delivered),
    ];
    assert_eq!(verdicts, expected);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_never_confirmed_is_given_up_as_unknown_and_not_sent_again() {
    let platform = Platform::answering([queued()], said("Queued", "")).await;
    let bench = Bench::start(&[asking(&platform, ", tries = 3", "")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", is_dead).await;
    assert_eq!(status.state, State::Dead(DeadKind::Unknown));
    assert_eq!(status.reason.as_deref(), Some("accepted, not confirmed within 3 questions"));
    assert_eq!((sent(&platform), platform.seen().len(), status.attempts), (1, 4, 1));
    bench.stop().await;

    let platform = Platform::answering([queued()], Reply::Status(500)).await;
    let retry = "retry = { first = \"1ms\", max = \"1ms\", give_up_after = \"30ms\" }";
    let bench = Bench::start(&[asking(&platform, "", retry)]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", is_dead).await;
    assert_eq!((status.state, sent(&platform)), (State::Dead(DeadKind::Unknown), 1));
    let reason = status.reason.unwrap();
    assert!(reason.starts_with("accepted, not confirmed within 30ms: status 500"), "{reason}");
    bench.stop().await;
}

#[tokio::test]
async fn a_question_that_is_refused_waits_and_what_can_be_sent_is_sent() {
    let platform = Platform::answering([queued(), Reply::Status(403)], queued()).await;
    let bench = Bench::start(&[asking(&platform, "", "")]);
    let first = bench.accept().await;
    let state = bench.becomes("one", |state| state.state == Activity::Suspended).await;
    let reason = "conversion (confirmation): status 403 Forbidden; other operations go on";
    assert_eq!(state.reason.as_deref(), Some(reason));
    let mut ids = vec![first];
    for _ in 0..9 {
        ids.push(bench.accept().await);
    }
    for id in ids {
        bench.reaches(id, "one", |status| status.state == State::Accepted).await;
    }
    let asked = lines(&platform).iter().filter(|line| line.starts_with("GET")).count();
    assert_eq!((sent(&platform), asked), (10, 1), "one question, and no more until it is tried again");
    assert_eq!(bench.state("one").state, Activity::Suspended, "a conversion that is taken says nothing of it");
    bench.stop().await;
}

#[tokio::test]
async fn a_question_that_was_refused_is_asked_again() {
    let platform = Platform::answering([queued()], Reply::Status(401)).await;
    let bench = Bench::start(&[asking(&platform, "", "")]);
    let id = bench.accept().await;
    bench.becomes("one", |state| state.state == Activity::Suspended).await;
    let status = bench.reaches(id, "one", |status| status.history.len() == 2).await;
    assert_eq!((status.state, status.attempts), (State::Accepted, 1), "it is not owed");
    assert_eq!(status.asked.map(|asked| asked.questions), Some(1), "the credential was good before");
    platform.now(said("Complete", ""));
    bench.pools.resume("one").unwrap();
    bench.reaches(id, "one", delivered).await;
    assert_eq!(sent(&platform), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_credential_in_the_query_goes_on_behind_a_captured_one() {
    let platform = Platform::answering([queued()], said("Complete", "")).await;
    let in_query = "auth = { query = { name = \"key\", value = \"{secrets.token}\" } }";
    let one = asking(&platform, "", "").replace("auth = { bearer = \"{secrets.token}\" }", in_query);
    let bench = Bench::start(&[one]);
    let id = bench.accept().await;
    bench.reaches(id, "one", delivered).await;
    assert_eq!(lines(&platform), ["POST /events?key=s3cr3t%2Fvalue%2B1", "GET /s/1?v=2&key=s3cr3t%2Fvalue%2B1"]);
    bench.stop().await;
}

#[tokio::test]
async fn an_answer_without_what_is_asked_by_is_delivered() {
    let platform = Platform::answering([], Reply::Body(200, r#"{"ActionId":"1"}"#.to_owned())).await;
    let bench = Bench::start(&[asking(&platform, "", "")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", delivered).await;
    assert_eq!((status.history.len(), platform.seen().len()), (1, 1));
    bench.stop().await;
}

#[tokio::test]
async fn a_captured_value_never_chooses_the_host() {
    for uri in ["@127.0.0.2/s", "//evil.example/s", "http://evil.example/", ":1/s", "/s#x", ""] {
        let accepted = Reply::Body(200, format!(r#"{{"QueuedUri":"{uri}"}}"#));
        let platform = Platform::answering([accepted], said("Complete", "")).await;
        let bench = Bench::start(&[asking(&platform, "", "")]);
        let id = bench.accept().await;
        let status = bench.reaches(id, "one", delivered).await;
        let is_path = uri.starts_with("//");
        // Here, or nowhere: and then it is said that nobody was asked.
        assert_eq!(platform.seen().len(), if is_path { 2 } else { 1 }, "{uri}");
        assert_eq!(status.captured.contains_key("unconfirmed"), !is_path && !uri.is_empty(), "{uri}: {status:?}");
        bench.stop().await;
    }
}

#[tokio::test]
async fn turned_off_by_a_reload_what_is_accepted_is_delivered_and_says_so() {
    let platform = Platform::answering([queued()], said("Queued", "")).await;
    let bench = Bench::start(&[asking(&platform, ", tries = 100000", "")]);
    let id = bench.accept().await;
    let status = bench.reaches(id, "one", |status| status.asked.is_some_and(|asked| asked.questions > 1)).await;
    assert_eq!((status.state, status.history.len()), (State::Accepted, 2), "of which the history keeps the last");
    bench.reload(&[destination("one", &platform.url(), "")]);
    let status = bench.reaches(id, "one", delivered).await;
    assert_eq!(status.asked, None);
    let why = "taken by the platform, and not confirmed: `confirm` was turned off";
    assert_eq!(status.captured["unconfirmed"], why);
    assert_eq!(sent(&platform), 1);
    let metrics = bench.metrics();
    for verdict in ["delivered", "delivered_unconfirmed"] {
        let line = format!("capi_relay_deliveries_total{{destination=\"one\",verdict=\"{verdict}\"}} 1\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_reload_goes_on_asking_and_a_stop_leaves_it_accepted() {
    let platform = Platform::answering([queued()], said("Queued", "")).await;
    let bench = Bench::start(&[asking(&platform, ", tries = 100000", "")]);
    let id = bench.accept().await;
    bench.reaches(id, "one", |status| status.history.len() == 2).await;
    bench.reload(&[asking(&platform, ", tries = 200000", "limits = { concurrency = 2 }")]);
    let before = platform.seen().len();
    platform.received(before + 3).await;
    let depth = bench.queue.depths().destinations.into_values().next().unwrap();
    assert_eq!((depth.pending, depth.oldest_pending_ms), (1, None), "it waits, and pages nobody");
    let queue = bench.queue.clone();
    bench.shutdown.cancel();
    bench.running.await.unwrap();
    let name = &bench.destinations[0];
    let delivery = queue.next(name).await;
    assert!(delivery.acceptance().unwrap().asked > 0);
    assert_eq!(sent(&platform), 1);
}
