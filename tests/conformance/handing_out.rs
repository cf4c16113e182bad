//! Who is handed what, when, and how often.

use std::sync::Mutex;

use super::*;

#[test]
fn fresh_work_goes_out_in_order_of_acceptance() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let mut accepted = Vec::new();
        for meanwhile in Meanwhile::ALL {
            for _ in 0..30 {
                accepted.push(ground.accepted(&queue, &["a", "b"]).await);
            }
            queue = ground.after(meanwhile, queue).await;
        }
        for _ in 0..30 {
            accepted.push(ground.accepted(&queue, &["a", "b"]).await);
        }
        for destination in ["a", "b"] {
            let mut handed_out = Vec::new();
            for _ in &accepted {
                let delivery = next(&queue, destination).await;
                handed_out.push(delivery.meta().id);
                queue.settle(&delivery, delivered(), None);
            }
            assert_eq!(handed_out, accepted, "{destination}");
            assert!(nothing(&queue, destination).await, "{destination}");
        }
    });
}

#[test]
fn a_due_retry_gets_its_share_however_much_fresh_work_there_is() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        for meanwhile in Meanwhile::SHORT_OF_A_CRASH {
            for _ in 0..20 {
                ground.accepted(&queue, &["a"]).await;
            }
            let retried = next(&queue, "a").await;
            let id = retried.meta().id;
            queue.settle(&retried, retry(1), None);
            drop(retried);
            queue = ground.after(meanwhile, queue).await;
            let mut before = 0;
            loop {
                let delivery = next(&queue, "a").await;
                queue.settle(&delivery, delivered(), None);
                if delivery.meta().id == id {
                    break;
                }
                before += 1;
                assert!(before < 2000, "{meanwhile:?}: fresh work goes out as if nothing else were due");
                ground.accepted(&queue, &["a"]).await;
            }
        }
    });
}

#[test]
fn a_retry_waits_for_its_time() {
    for meanwhile in Meanwhile::SHORT_OF_A_CRASH {
        every_engine_on_paused_time(async |ground| {
            let mut queue = ground.open();
            let begun_ms = ground.clock.unix_ms();
            let mut due = Vec::new();
            for hours in [5, 2, 9] {
                let due_ms = begun_ms + hours * 3_600_000;
                let id = ground.accepted(&queue, &["a"]).await;
                queue.settle(&next(&queue, "a").await, retry(due_ms), Some(attempt(503, Verdict::Retry)));
                due.push((due_ms, id));
            }
            queue = ground.after(meanwhile, queue).await;
            for (due_ms, id) in &due {
                assert_eq!(at(&queue, *id, "a").await.next_attempt_ms, Some(*due_ms), "{meanwhile:?}");
            }
            due.sort_unstable();
            for (due_ms, id) in due {
                let delivery = next_within(Duration::from_secs(24 * 3600), &queue, "a").await;
                let waited = ground.clock.unix_ms().checked_sub(due_ms).expect("handed out before its time");
                assert!(waited <= 1000, "{meanwhile:?}: handed out {waited} ms late");
                assert_eq!((delivery.meta().id, delivery.attempt()), (id, 2), "{meanwhile:?}");
                assert_eq!(delivery.owed_since_ms(), id.unix_ms(), "{meanwhile:?}: put off is not owed anew");
                queue.settle(&delivery, delivered(), None);
            }
        });
    }
}

#[test]
fn only_attempts_that_were_spent_are_counted() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let id = ground.accepted(&queue, &["a"]).await;
        let mut attempts = Vec::new();
        for round in 0..8 {
            let delivery = next(&queue, "a").await;
            attempts.push(delivery.attempt());
            let spent = round % 2 == 0;
            let outcome = Outcome::Retry { due_ms: 1, spent };
            queue.settle(&delivery, outcome, spent.then(|| attempt(503, Verdict::Retry)));
        }
        assert_eq!(attempts, [1, 2, 2, 3, 3, 4, 4, 5]);
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let shown = at(&queue, id, "a").await;
            assert_eq!((shown.state, shown.attempts, shown.history.len()), (State::Retrying, 4, 4), "{meanwhile:?}");
            assert_eq!(next(&queue, "a").await.attempt(), 5, "{meanwhile:?}");
        }
    });
}

#[test]
fn what_is_handed_out_is_nobody_elses_until_it_is_dropped() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let id = ground.accepted(&queue, &["a"]).await;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let delivery = next(&queue, "a").await;
            assert!(nothing(&queue, "a").await, "{meanwhile:?}: it was handed out twice");
            // It may come to rest while somebody has it.
            queue = ground.after(Meanwhile::Rest, queue).await;
            drop(delivery);
            let again = next(&queue, "a").await;
            assert_eq!((again.meta().id, again.attempt()), (id, 1), "{meanwhile:?}");
            drop(again);
            assert_eq!(depth(&queue, "a").pending, 1, "{meanwhile:?}");
        }
    });
}

#[test]
fn who_waits_is_handed_what_is_dropped() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let id = ground.accepted(&queue, &["a"]).await;
        let delivery = next(&queue, "a").await;
        // At rest nothing else wakes who waits.
        queue = ground.after(Meanwhile::Rest, queue).await;
        let destination = name("a");
        let mut waiting = Box::pin(queue.next(&destination));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        drop(delivery);
        assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.unwrap().meta().id, id);
    });
}

#[test]
fn a_delivery_is_settled_once() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        for _ in 0..5 {
            ground.accepted(&queue, &["a"]).await;
            queue.settle(&next(&queue, "a").await, retry(u64::MAX), None);
        }
        let first_say = [(delivered(), State::Delivered, 0), (dead("no"), State::Dead(DeadKind::Rejected), 1)];
        for (outcome, state, dead_by_then) in first_say {
            let id = ground.accepted(&queue, &["a"]).await;
            let delivery = next(&queue, "a").await;
            assert_eq!(delivery.meta().id, id);
            queue.settle(&delivery, outcome, Some(attempt(200, Verdict::Delivered)));
            for too_late in [dead("too late"), retry(1), delivered()] {
                queue.settle(&delivery, too_late, Some(attempt(500, Verdict::Retry)));
            }
            drop(delivery);
            for meanwhile in Meanwhile::ALL {
                queue = ground.after(meanwhile, queue).await;
                let shown = at(&queue, id, "a").await;
                assert_eq!((shown.state, shown.attempts, shown.history.len()), (state, 1, 1), "{meanwhile:?}");
                assert!(nothing(&queue, "a").await, "{meanwhile:?}: it was settled");
                let Depth { pending, dead, .. } = depth(&queue, "a");
                assert_eq!((pending, dead.total()), (5, dead_by_then), "{meanwhile:?}");
            }
        }
    });
}

/// Takes and settles until `many` are taken, by this one and others, and gives its waiting up all the time.
async fn work(queue: Queue, wait: Duration, taken: Arc<Mutex<Vec<ConversionId>>>, many: usize) {
    let (started, destination) = (Instant::now(), name("a"));
    while taken.lock().unwrap().len() < many && started.elapsed() < PATIENCE {
        if let Ok(delivery) = tokio::time::timeout(wait, queue.next(&destination)).await {
            queue.settle(&delivery, delivered(), None);
            taken.lock().unwrap().push(delivery.meta().id);
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_next_that_is_given_up_takes_nothing_with_it() {
    const MANY: usize = 300;
    every_engine(async |ground| {
        let queue = ground.open();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let mut workers = tokio::task::JoinSet::new();
        // One only looks; the others wait for too short a while, most of the time.
        for worker in 0..6_u64 {
            workers.spawn(work(queue.clone(), Duration::from_micros(300 * worker), Arc::clone(&taken), MANY));
        }
        let mut accepted = Vec::new();
        for _ in 0..MANY {
            accepted.push(ground.accepted(&queue, &["a"]).await);
        }
        workers.join_all().await;
        let mut taken = std::mem::take(&mut *taken.lock().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, accepted);
        assert!(nothing(&queue, "a").await);
        assert_eq!(depth(&queue, "a").pending, 0);
    });
}

#[test]
fn what_is_accepted_is_handed_out_to_be_asked_about_and_never_to_be_sent_again() {
    every_engine(async |ground| {
        for meanwhile in Meanwhile::ALL {
            let mut queue = ground.open();
            let id = ground.accepted(&queue, &["a"]).await;
            let delivery = next(&queue, "a").await;
            assert_eq!(delivery.acceptance(), None);
            queue.settle(&delivery, accepted(1), Some(attempt(200, Verdict::Accepted)));
            drop(delivery);
            // Without a sync it would be sent again after a crash, as one that was delivered.
            queue = ground.after(Meanwhile::Rest, queue).await;
            for asked in 0..3 {
                queue = ground.after(meanwhile, queue).await;
                let delivery = next(&queue, "a").await;
                let known = delivery.acceptance().expect("not to be sent");
                assert_eq!(known.captured["uri"], "/s/1", "{meanwhile:?}");
                // What a question came to is lazy: after a crash it may be asked once more.
                let is_kept = meanwhile != Meanwhile::Dropped;
                assert!(known.asked == asked || !is_kept && known.asked < asked, "{meanwhile:?}: {known:?}, {asked}");
                queue.settle(&delivery, retry(1), Some(attempt(200, Verdict::Unconfirmed)));
                drop(delivery);
                queue = ground.after(Meanwhile::Rest, queue).await;
            }
            drop(next(&queue, "a").await);
            assert!(next(&queue, "a").await.acceptance().is_some(), "given back");
            let delivery = next(&queue, "a").await;
            queue.settle(&delivery, dead("no"), Some(attempt(200, Verdict::Rejected)));
            let shown = at(&queue, id, "a").await;
            assert_eq!((shown.state, shown.attempts), (State::Dead(DeadKind::Rejected), 1));
            queue.treat(DeadFilter::default(), Treatment::Replay).await.unwrap();
            let delivery = next(&queue, "a").await;
            assert_eq!(delivery.acceptance(), None, "a person had it sent again");
            queue.settle(&delivery, delivered(), None);
            drop(delivery);
            queue.close().await.unwrap();
        }
    });
}
