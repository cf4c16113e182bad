//! What is shown of a conversion, and for how long.

use std::collections::BTreeMap;

use super::*;

/// What a worker says, and all that is shown of it then.
fn told(ground: &Ground) -> Vec<(Outcome, DeliveryStatus)> {
    let captured = BTreeMap::from([("reference".to_owned(), "r-1".to_owned())]);
    let nothing = DeliveryStatus {
        state: State::Queued,
        reason: None,
        attempts: 1,
        next_attempt_ms: None,
        history: Vec::new(),
        captured: BTreeMap::new(),
        asked: None,
    };
    // Since when, is looked at apart: some clocks go on meanwhile.
    let asked = Some(Asked { since_ms: 0, questions: 0 });
    let done = |state| DeliveryStatus { state, captured: captured.clone(), ..nothing.clone() };
    let because = |state| DeliveryStatus { state, reason: Some("so it is".to_owned()), ..nothing.clone() };
    let due_ms = ground.clock.unix_ms() + 3_600_000;
    let waits = |state, attempts| DeliveryStatus { state, attempts, next_attempt_ms: Some(due_ms), ..nothing.clone() };
    let reason = || "so it is".to_owned();
    let mut told = vec![
        (Outcome::Delivered { captured: captured.clone() }, done(State::Delivered)),
        (Outcome::Duplicate { captured: captured.clone() }, done(State::Duplicate)),
        (
            Outcome::Accepted { due_ms, captured: captured.clone() },
            DeliveryStatus { captured: captured.clone(), asked, ..waits(State::Accepted, 1) },
        ),
        (Outcome::Retry { due_ms, spent: true }, waits(State::Retrying, 1)),
        (Outcome::Retry { due_ms, spent: false }, waits(State::Queued, 0)),
        (Outcome::Skipped { reason: reason() }, because(State::Skipped)),
        (Outcome::Withheld { reason: reason() }, because(State::Withheld)),
        (Outcome::Unsupported { reason: reason() }, because(State::Unsupported)),
    ];
    let kinds = [DeadKind::Rejected, DeadKind::Unknown, DeadKind::Unmappable, DeadKind::Exhausted, DeadKind::Expired];
    told.extend(kinds.map(|kind| (Outcome::Dead { kind, reason: reason() }, because(State::Dead(kind)))));
    told
}

#[test]
fn every_outcome_is_shown_as_what_it_came_to() {
    every_engine(async |ground| {
        let (mut queue, begun_ms) = (ground.open(), ground.clock.unix_ms());
        let mut expected = Vec::new();
        for (number, (outcome, mut shown)) in told(&ground).into_iter().enumerate() {
            let id = ground.accepted(&queue, &["a", "b"]).await;
            let attempt = Attempt { at_ms: u64::try_from(number).unwrap(), ..attempt(200, Verdict::Unknown) };
            shown.history = vec![attempt.clone()];
            queue.settle(&next(&queue, "a").await, outcome, Some(attempt));
            expected.push((id, shown));
        }
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            for (id, shown) in &expected {
                let mut got = at(&queue, *id, "a").await;
                if let Some(asked) = &mut got.asked {
                    assert!((begun_ms..=ground.clock.unix_ms()).contains(&asked.since_ms), "{meanwhile:?}");
                    asked.since_ms = 0;
                }
                assert_eq!(got, *shown, "{meanwhile:?}");
                assert_eq!(at(&queue, *id, "b").await.state, State::Queued, "{meanwhile:?}");
            }
        }
    });
}

#[test]
fn all_attempts_are_counted_and_the_newest_ten_are_shown() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let id = ground.accepted(&queue, &["a"]).await;
        for number in 1..=13 {
            let delivery = next(&queue, "a").await;
            let attempt = Attempt { at_ms: number, ..attempt(503, Verdict::Retry) };
            queue.settle(&delivery, if number < 13 { retry(1) } else { delivered() }, Some(attempt));
        }
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let shown = at(&queue, id, "a").await;
            assert_eq!((shown.state, shown.attempts), (State::Delivered, 13), "{meanwhile:?}");
            let newest: Vec<u64> = shown.history.iter().map(|attempt| attempt.at_ms).collect();
            assert_eq!(newest, (4..=13).collect::<Vec<_>>(), "{meanwhile:?}: newest last");
        }
    });
}

#[test]
fn what_was_never_accepted_has_no_status() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let known = ground.accepted(&queue, &["a"]).await;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            for unknown in [ground.id(), id_at(known.unix_ms()), id_at(5)] {
                assert_eq!(queue.status(unknown).await.unwrap(), None, "{meanwhile:?}");
            }
            assert_eq!(queue.order("acme", "order-unknown").await.unwrap(), [], "{meanwhile:?}");
        }
    });
}

#[test]
fn an_order_shows_its_merchants_newest_conversions_up_to_the_limit_and_that_there_are_more() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let mut of_order = Vec::new();
        for number in 0..ORDER_STATUSES_MAX + 5 {
            let body = json!({ "time": "2026-01-01T00:00:00Z", "event_id": format!("n{number}"), "order_id": "order" });
            let handed_in = ground.posted(&body, &["a"]);
            let other = Meta::new(ground.id(), Arc::from("other"), None, &handed_in.conversion);
            let others = Submission { meta: other, ..handed_in.clone() };
            of_order.push(accept(&queue, handed_in).await);
            // Settled or not, the order's conversions are shown in one row.
            let delivery = next(&queue, "a").await;
            if number % 2 == 0 {
                queue.settle(&delivery, delivered(), None);
            } else {
                queue.settle(&delivery, retry(u64::MAX), None);
            }
            if number == 3 {
                let answer = queue.accept(Submission { plan: Vec::new(), ..others }).await.unwrap();
                assert!(matches!(answer, Accepted::New(_)), "{answer:?}");
            }
            if number == 40 {
                queue = ground
                    .after(Meanwhile::Rest, {
                        drop(delivery);
                        queue
                    })
                    .await;
                let shown = queue.order("acme", "order").await.unwrap();
                assert_eq!(shown.iter().map(|status| status.id).collect::<Vec<_>>(), of_order);
            }
        }
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let shown = queue.order("acme", "order").await.unwrap();
            let ids: Vec<_> = shown.iter().map(|status| status.id).collect();
            assert_eq!(ids, of_order[4..], "{meanwhile:?}: oldest first, and one that tells of more");
            assert_eq!(ids.len(), ORDER_STATUSES_MAX + 1);
            for one in shown {
                assert_eq!(one, status(&queue, one.id).await, "{meanwhile:?}");
            }
            assert_eq!(queue.order("other", "order").await.unwrap().len(), 1, "{meanwhile:?}");
            assert_eq!(queue.order("nobody", "order").await.unwrap(), [], "{meanwhile:?}");
        }
    });
}

#[test]
fn a_hold_is_shown_with_its_reason_stops_nothing_and_is_lifted_again() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let waiting = ground.accepted(&queue, &["a", "b"]).await;
        let settled = ground.accepted(&queue, &["b"]).await;
        queue.settle(&next(&queue, "b").await, retry(u64::MAX), None);
        queue.settle(&next(&queue, "b").await, delivered(), None);
        let hold = Hold { kind: HoldKind::Paused, reason: "maintenance".to_owned(), since_ms: 1 };
        for destination in ["a", "b"] {
            queue.hold(&name(destination), Some(hold.clone()));
        }
        for meanwhile in [Meanwhile::Nothing, Meanwhile::Rest] {
            queue = ground.after(meanwhile, queue).await;
            for destination in ["a", "b"] {
                let shown = at(&queue, waiting, destination).await;
                let held = (State::Held, Some("maintenance"));
                assert_eq!((shown.state, shown.reason.as_deref()), held, "{meanwhile:?}");
            }
            let shown = at(&queue, settled, "b").await;
            assert_eq!((shown.state, shown.reason), (State::Delivered, None), "{meanwhile:?}: nothing is owed");
            let Accepted::New(accepted) = queue.accept(ground.submission(&["a"])).await.unwrap() else { panic!() };
            assert_eq!(accepted.destinations[0].1.state, State::Held, "{meanwhile:?}");
            assert_eq!(next(&queue, "a").await.meta().id, waiting, "{meanwhile:?}");
        }
        queue.hold(&name("a"), None);
        queue.hold(&name("b"), None);
        let shown = at(&queue, waiting, "a").await;
        assert_eq!((shown.state, shown.reason), (State::Queued, None));
        assert_eq!(at(&queue, waiting, "b").await.state, State::Retrying);
    });
}

#[test]
fn work_for_a_destination_that_is_no_longer_configured_is_held_and_counted() {
    every_engine(async |mut ground| {
        let mut queue = ground.open();
        let id = ground.accepted(&queue, &["a"]).await;
        ground.settings.destinations = vec![name("b")];
        queue = ground.after(Meanwhile::Closed, queue).await;
        let shown = at(&queue, id, "a").await;
        assert_eq!((shown.state, shown.reason), (State::Held, Some(Hold::removed(0).reason)));
        assert_eq!(depth(&queue, "a").pending, 1);
        ground.settings.destinations.push(name("a"));
        queue = ground.after(Meanwhile::Closed, queue).await;
        assert_eq!(at(&queue, id, "a").await.state, State::Queued);
        assert_eq!(next(&queue, "a").await.meta().id, id);
    });
}

#[test]
fn what_is_settled_is_kept_for_its_time_then_forgotten_and_what_is_owed_is_not() {
    every_engine_on_paused_time(async |mut ground| {
        let keep = ground.settings.history_keep;
        ground.settings.destinations = vec![name("a"), name("b"), name("dead")];
        let mut queue = ground.open();
        let settled = accept(&queue, ground.noted("settled", "", &["a"])).await;
        let owed = accept(&queue, ground.noted("owed", "", &["b"])).await;
        let given_up = accept(&queue, ground.noted("given-up", "", &["dead"])).await;
        queue.settle(&next(&queue, "a").await, delivered(), None);
        queue.settle(&next(&queue, "dead").await, dead("no"), None);
        queue = ground.after(Meanwhile::Rest, queue).await;
        let past = Duration::from_millis(ground.clock.unix_ms() - settled.unix_ms());
        tokio::time::advance(keep - past - Duration::from_millis(1)).await;
        let known = async || {
            // Threads outside of the runtime know the time that was last seen inside.
            ground.clock.unix_ms();
            queue.status(settled).await.unwrap().is_some()
        };
        let looked_from = Instant::now();
        while looked_from.elapsed() < A_WHILE {
            assert!(known().await, "forgotten before its time");
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))).await.unwrap();
        }
        // An engine may be late: how much is its own affair.
        eventually("forgotten", async || {
            tokio::time::advance(keep / 32).await;
            !known().await
        })
        .await;
        assert_eq!(queue.order("acme", "order-settled").await.unwrap(), []);
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            assert_eq!(queue.status(settled).await.unwrap(), None, "{meanwhile:?}");
            assert_eq!(at(&queue, owed, "b").await.state, State::Queued, "{meanwhile:?}");
            assert_eq!(at(&queue, given_up, "dead").await.state, State::Dead(DeadKind::Rejected), "{meanwhile:?}");
            assert_eq!(queue.order("acme", "order-owed").await.unwrap().len(), 1, "{meanwhile:?}");
        }
        assert_eq!(next(&queue, "b").await.meta().id, owed);
    });
}

/// Long enough for an engine that looks every second for what is too old.
const A_WHILE: Duration = Duration::from_millis(1500);

#[test]
fn whoever_waits_is_told_once_nothing_is_owed_any_more() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let unknown = ConversionId::new(ground.clock.unix_ms(), [9; 10]);
        assert_eq!(queue.settled(unknown).await, Ok(None));
        for meanwhile in Meanwhile::ALL {
            let id = ground.accepted(&queue, &["a", "b"]).await;
            queue = ground.after(meanwhile, queue).await;
            let waiting = tokio::spawn({
                let queue = queue.clone();
                async move { queue.settled(id).await }
            });
            queue.settle(&next(&queue, "a").await, delivered(), None);
            queue.settle(&next(&queue, "b").await, retry(1), None);
            let again = next(&queue, "b").await;
            assert!(!waiting.is_finished(), "{meanwhile:?}: one is owed");
            queue.settle(&again, Outcome::Dead { kind: DeadKind::Rejected, reason: "no".to_owned() }, None);
            let settled = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap().unwrap();
            assert!(settled.is_settled(), "{meanwhile:?}: {settled:?}");
            assert_eq!(queue.settled(id).await, Ok(Some(settled)), "{meanwhile:?}: at once");
        }
    });
}
