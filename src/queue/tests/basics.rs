use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_is_handed_out_settled_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a", "b"]);
    let mut handed_in = submission(&["a"]);
    handed_in.plan.push((name("b"), Initial::Skipped("no click id".to_owned())));
    let event_id = handed_in.conversion.event_id().to_owned();
    let id = accept(&queue, handed_in).await;
    assert_eq!(pending(&queue, "a"), 1);

    let delivery = next(&queue, "a").await;
    assert_eq!((delivery.meta().id, delivery.attempt()), (id, 1));
    assert_eq!(delivery.conversion().unwrap().event_id(), event_id);
    queue.settle(&delivery, delivered(), Some(attempt(200, Verdict::Delivered)));
    queue.settle(&delivery, dead("too late"), None);
    drop(delivery);

    let status = queue.status(id).await.unwrap().unwrap();
    assert_eq!(status.event_id, event_id);
    assert_eq!(status.destinations[0].1.state, State::Delivered);
    assert_eq!(status.destinations[0].1.attempts, 1);
    assert_eq!(status.destinations[0].1.history.len(), 1);
    assert_eq!(status.destinations[1].1.state, State::Skipped);
    assert_eq!(status.destinations[1].1.reason.as_deref(), Some("no click id"));
    assert!(nothing(&queue, "a").await);
    assert!(nothing(&queue, "b").await);
    assert_eq!(queue.depths().pending_bytes, 0);

    // The same from the store, and after a restart.
    eventually("moved", async || queue.depths().pending_bytes == 0).await;
    queue.close().await.unwrap();
    assert!(matches!(queue.accept(submission(&["a"])).await, Err(AcceptError::Closed)));
    drop(queue);
    let queue = open(dir.path(), &["a", "b"]);
    assert_eq!(queue.status(id).await.unwrap().unwrap(), status);
    assert_eq!(queue.order("acme", &format!("order-{event_id}")).await.unwrap(), vec![status]);
    assert_eq!(queue.order("other", &format!("order-{event_id}")).await.unwrap(), vec![]);
    assert_eq!(queue.status(id_at(5)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_dropped_without_settlement_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let id = accept(&queue, submission(&["a"])).await;
    drop(next(&queue, "a").await);
    let again = next(&queue, "a").await;
    assert_eq!((again.meta().id, again.attempt()), (id, 1));
    // Also once the store has it.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    drop(again);
    let again = next(&queue, "a").await;
    assert_eq!(again.meta().id, id);
    assert!(nothing(&queue, "a").await);
    queue.settle(&again, delivered(), None);
    assert_eq!(pending(&queue, "a"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_waits_for_its_time_and_counts_only_spent_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let id = accept(&queue, submission(&["a"])).await;
    let clock = Clock::system();
    let mut attempts = Vec::new();
    for round in 0..8 {
        let delivery = next(&queue, "a").await;
        attempts.push(delivery.attempt());
        let due_ms = clock.unix_ms() + 60 * (round % 3);
        let spent = round % 2 == 0;
        queue.settle(&delivery, Outcome::Retry { due_ms, spent }, spent.then(|| attempt(503, Verdict::Retry)));
        drop(delivery);
        let delivery = next(&queue, "a").await;
        assert!(clock.unix_ms() >= due_ms, "too early");
        drop(delivery);
    }
    assert_eq!(attempts, [1, 2, 2, 3, 3, 4, 4, 5]);
    let status = queue.status(id).await.unwrap().unwrap();
    let delivery = &status.destinations[0].1;
    assert_eq!((delivery.state, delivery.attempts, delivery.history.len()), (State::Retrying, 4, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_shown_with_its_reason_and_lifted_again() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let id = accept(&queue, submission(&["a"])).await;
    let hold = Hold { kind: HoldKind::Paused, reason: "maintenance".to_owned(), since_ms: 1 };
    queue.hold(&name("a"), Some(hold));
    let status = queue.status(id).await.unwrap().unwrap();
    assert_eq!(status.destinations[0].1.state, State::Held);
    assert_eq!(status.destinations[0].1.reason.as_deref(), Some("maintenance"));
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(state(&queue, id, "a").await, State::Held);
    queue.hold(&name("a"), None);
    assert_eq!(state(&queue, id, "a").await, State::Queued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_for_a_destination_that_is_no_longer_configured_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let id = accept(&queue, submission(&["a"])).await;
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(dir.path(), &["b"]);
    assert_eq!(state(&queue, id, "a").await, State::Held);
    assert_eq!(pending(&queue, "a"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_concurrent_repeats_exactly_one_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    for round in 0..20 {
        let repeats = (0..16).map(|_| {
            let (queue, submission) = (queue.clone(), submission_of(&format!("same-{round}"), 10, &["a"]));
            tokio::spawn(async move { (submission.meta.id, queue.accept(submission).await.unwrap()) })
        });
        let (mut new, mut firsts) = (Vec::new(), Vec::new());
        for answer in repeats.collect::<Vec<_>>() {
            match answer.await.unwrap() {
                (id, Accepted::New(status)) => {
                    assert_eq!(id, status.id);
                    new.push(id);
                }
                (_, Accepted::Duplicate(status)) => firsts.push(status.id),
                (_, Accepted::KeyReused { .. }) => panic!("same content"),
            }
        }
        assert_eq!(new.len(), 1);
        assert!(firsts.iter().all(|first| *first == new[0]) && firsts.len() == 15);
    }
    assert_eq!(pending(&queue, "a"), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_are_known_in_memory_in_the_store_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path(), &["a"]);
    let first = accept(&queue, submission_of("once", 10, &["a"])).await;
    for round in 0..3 {
        match queue.accept(submission_of("once", 10, &["a"])).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!(status.id, first, "round {round}"),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("round {round}: {other:?}"),
        }
        let reused = queue.accept(submission_of("once", 11, &["a"])).await.unwrap();
        assert_eq!(reused, Accepted::KeyReused { first }, "round {round}");
        if round == 0 {
            tokio::time::sleep(Duration::from_millis(1200)).await;
        } else {
            queue.close().await.unwrap();
            drop(queue);
            queue = open(dir.path(), &["a"]);
        }
    }
    assert_eq!(pending(&queue, "a"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_window_a_repeat_is_new_again_and_history_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let mut old = submission_of("again", 10, &["a"]);
    let long_ago = Clock::system().unix_ms() - 3 * 3600 * 1000;
    old.meta = Meta::new(id_at(long_ago), Arc::from("acme"), None, &old.conversion);
    let first = accept(&queue, old).await;
    let second = accept(&queue, submission_of("again", 10, &["a"])).await;
    assert_ne!(first, second);
    let again = queue.accept(submission_of("again", 10, &["a"])).await.unwrap();
    assert!(matches!(again, Accepted::Duplicate(status) if status.id == second));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_is_forgotten_after_its_time_and_what_is_owed_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (dedup_window, history_keep) = (Duration::from_millis(500), Duration::from_millis(1000));
    let short = Settings { dedup_window, history_keep, ..settings(dir.path(), &["a", "b"]) };
    let queue = Queue::open_with(&short, Clock::system(), small()).unwrap();
    let (settled, owed) = (submission_of("settled", 10, &["a"]), submission_of("owed", 10, &["b"]));
    let (settled, owed) = (accept(&queue, settled).await, accept(&queue, owed).await);
    queue.settle(&next(&queue, "a").await, delivered(), None);
    assert_eq!(state(&queue, settled, "a").await, State::Delivered);
    eventually("forgotten", async || queue.status(settled).await.unwrap().is_none()).await;
    let segments = || std::fs::read_dir(dir.path().join("history")).unwrap().count();
    eventually("its file is gone", async || segments() == 0).await;
    assert_eq!(state(&queue, owed, "b").await, State::Queued);
    assert_eq!(queue.order("acme", "order-owed").await.unwrap().len(), 1);
    // With no file left the history goes on where it was.
    let third = accept(&queue, submission_of("third", 10, &[])).await;
    drop(queue);
    let queue = Queue::open_with(&short, Clock::system(), small()).unwrap();
    assert!(queue.status(third).await.unwrap().is_some());
    assert_eq!(state(&queue, owed, "b").await, State::Queued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_page_by_page_from_memory_and_store() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a", "b"]);
    let mut given_up = Vec::new();
    for round in 0..30 {
        let id = accept(&queue, submission(&["a", "b"])).await;
        for destination in ["a", "b"] {
            let delivery = next(&queue, destination).await;
            let kind = if round % 3 == 0 { DeadKind::Expired } else { DeadKind::Rejected };
            let reason = format!("round {round}");
            queue.settle(&delivery, Outcome::Dead { kind, reason }, Some(attempt(400, Verdict::Rejected)));
        }
        given_up.push(id);
        if round == 15 {
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
        assert_eq!(dead_letters(&queue, DeadFilter::default()).await.len(), 2 * (round + 1), "round {round}");
    }
    let filter = DeadFilter { destination: Some(name("b")), ..DeadFilter::default() };
    let mut wanted = PageRequest { limit: 7, after: None };
    let mut listed = Vec::new();
    loop {
        let page = queue.dead_letters(filter.clone(), wanted.clone()).await.unwrap();
        assert!(page.dead.len() <= 7);
        listed.extend(page.dead);
        match page.next {
            Some(next) => wanted.after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed.iter().map(|letter| letter.id).collect::<Vec<_>>(), given_up);
    assert_eq!(listed[4].reason, "round 4");
    assert_eq!(listed[4].last.as_ref().unwrap().status, Some(400));
    let expired = DeadFilter { kind: Some(DeadKind::Expired), ..DeadFilter::default() };
    assert_eq!(dead_letters(&queue, expired).await.len(), 20);
    let odd = PageRequest { limit: 1, after: Some("zz".to_owned()) };
    assert_eq!(queue.dead_letters(DeadFilter::default(), odd).await.unwrap_err(), ReadError::Mark);
    assert_eq!(
        queue.depths().destinations[&name("a")],
        Depth { pending: 0, dead: 30, oldest_pending_ms: None, stopped: None }
    );
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(dir.path(), &["a", "b"]);
    assert_eq!(queue.depths().destinations[&name("b")].dead, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_say_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    let mut registry = Registry::with_prefix("capi_relay");
    queue.register_metrics(&mut registry);
    accept(&queue, submission(&["a"])).await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "capi_relay_pending{destination=\"a\"} 1",
        "capi_relay_commit_records_count 1",
        "capi_relay_dead{destination=\"a\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("capi_relay_queue_bytes 0\n"));
}

#[tokio::test(start_paused = true)]
async fn on_paused_time_an_hour_of_backoff_takes_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::tokio(1_700_000_000_000);
    let queue = Queue::open_with(&settings(dir.path(), &["a"]), clock.clone(), small()).unwrap();
    let mut handed_in = submission(&["a"]);
    handed_in.meta = Meta::new(id_at(clock.unix_ms()), Arc::from("acme"), None, &handed_in.conversion);
    accept(&queue, handed_in).await;
    let delivery = queue.next(&name("a")).await;
    queue.settle(&delivery, Outcome::Retry { due_ms: clock.unix_ms() + 3_600_000, spent: true }, None);
    let again = queue.next(&name("a")).await;
    assert_eq!(again.attempt(), 2);
    assert_eq!(clock.unix_ms(), 1_700_003_600_000);
}
