//! Dead letters are listed without end, dealt with once and for good, and never silently lost.

use std::collections::BTreeSet;

use super::*;

fn discard(reason: &str) -> Treatment {
    Treatment::Discard { reason: reason.to_owned() }
}

fn of(ids: &[ConversionId]) -> DeadFilter {
    DeadFilter { ids: Some(ids.to_vec()), ..DeadFilter::default() }
}

fn all() -> DeadFilter {
    DeadFilter::default()
}

#[test]
fn a_dead_letter_says_what_it_was_and_why_it_was_given_up() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let id = ground.accepted(&queue, &["a", "b"]).await;
        queue.settle(&next(&queue, "a").await, retry(1), Some(attempt(503, Verdict::Retry)));
        let (from_ms, last) = (ground.clock.unix_ms(), attempt(400, Verdict::Rejected));
        queue.settle(&next(&queue, "a").await, dead("refused"), Some(last.clone()));
        let until_ms = ground.clock.unix_ms();
        let order_id = status(&queue, id).await.order_id;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            for filter in [all(), of(&[id])] {
                let letter = dead_letters(&queue, filter).await.pop().unwrap();
                assert!((from_ms..=until_ms).contains(&letter.at_ms), "{meanwhile:?}");
                let expected = DeadLetter {
                    id,
                    destination: name("a"),
                    kind: DeadKind::Rejected,
                    at_ms: letter.at_ms,
                    order_id: order_id.clone(),
                    attempts: 2,
                    reason: "refused".to_owned(),
                    last: Some(last.clone()),
                    merchant: "acme".into(),
                    may_have_arrived: false,
                };
                assert_eq!(letter, expected, "{meanwhile:?}");
            }
            assert_eq!((depth(&queue, "a").pending, depth(&queue, "a").dead.total()), (0, 1), "{meanwhile:?}");
            assert!(nothing(&queue, "a").await, "{meanwhile:?}");
        }
    });
}

#[test]
fn a_dead_letter_says_that_it_may_have_arrived_where_any_attempt_may_have() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        for (verdict, kind, expected) in [
            (Verdict::Unknown, DeadKind::Exhausted, true),
            (Verdict::Retry, DeadKind::Exhausted, false),
            (Verdict::Retry, DeadKind::Unknown, true),
        ] {
            let id = ground.accepted(&queue, &["a"]).await;
            queue.settle(&next(&queue, "a").await, retry(1), Some(attempt(503, verdict)));
            let outcome = Outcome::Dead { kind, reason: "given up".to_owned() };
            queue.settle(&next(&queue, "a").await, outcome, Some(attempt(503, Verdict::Retry)));
            for meanwhile in Meanwhile::ALL {
                queue = ground.after(meanwhile, queue).await;
                let letter = dead_letters(&queue, of(&[id])).await.pop().unwrap();
                assert_eq!(letter.may_have_arrived, expected, "{verdict:?}, {kind:?}, {meanwhile:?}");
            }
        }
    });
}

#[test]
fn the_conversion_of_a_dead_letter_is_there_to_be_read() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let id = ground.accepted(&queue, &["a"]).await;
        let order_id = status(&queue, id).await.order_id;
        queue.settle(&next(&queue, "a").await, dead("no"), None);
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let stored = queue.stored(id).await.unwrap().unwrap();
            assert_eq!((stored.meta.id, &*stored.meta.merchant), (id, "acme"), "{meanwhile:?}");
            assert_eq!(stored.conversion.unwrap().order_id(), order_id.as_deref(), "{meanwhile:?}");
            assert!(queue.stored(ground.id()).await.unwrap().is_none());
        }
    });
}

#[test]
fn they_are_listed_page_by_page_each_once() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let mut given_up = Vec::new();
        for round in 0..30 {
            given_up.push(ground.accepted(&queue, &["a", "b"]).await);
            for destination in ["a", "b"] {
                queue.settle(&next(&queue, destination).await, dead(&format!("round {round}")), None);
            }
            if round == 15 {
                queue = ground.after(Meanwhile::Rest, queue).await;
            }
            assert_eq!(dead_letters(&queue, all()).await.len(), given_up.len() * 2, "round {round}");
        }
        let pages = async |queue: &Queue, filter: DeadFilter, limit: usize| {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let page = queue.dead_letters(filter.clone(), PageRequest { limit, after }).await.unwrap();
                assert!(page.dead.len() <= limit.max(1));
                listed.extend(page.dead);
                let Some(next) = page.next else { return listed };
                after = Some(next);
            }
        };
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let listed = dead_letters(&queue, all()).await;
            let by_destination: Vec<_> = listed.iter().map(|letter| (letter.destination.clone(), letter.id)).collect();
            let of_each = |text| given_up.iter().map(move |id| (name(text), *id));
            assert_eq!(by_destination, of_each("a").chain(of_each("b")).collect::<Vec<_>>(), "{meanwhile:?}");
            for limit in [0, 7, 60] {
                assert_eq!(pages(&queue, all(), limit).await, listed, "{meanwhile:?}, {limit} at most");
            }
            let of_b = DeadFilter { destination: Some(name("b")), ..all() };
            assert_eq!(pages(&queue, of_b, 7).await, listed[30..], "{meanwhile:?}");
        }
        let odd = PageRequest { limit: 1, after: Some("zz".to_owned()) };
        assert_eq!(queue.dead_letters(all(), odd).await.unwrap_err(), ReadError::Mark);
    });
}

#[test]
fn a_filter_means_those_of_which_all_of_it_is_so() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let mut ids = Vec::new();
        for kind in [DeadKind::Rejected, DeadKind::Unmappable, DeadKind::Expired] {
            ids.push(ground.accepted(&queue, &["a", "b"]).await);
            for destination in ["a", "b"] {
                let outcome = Outcome::Dead { kind, reason: "no".to_owned() };
                queue.settle(&next(&queue, destination).await, outcome, None);
            }
        }
        let order_id = status(&queue, ids[0]).await.order_id;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let check = async |filter: DeadFilter, expected: usize| {
                assert_eq!(dead_letters(&queue, filter.clone()).await.len(), expected, "{meanwhile:?}, {filter:?}");
            };
            let times: Vec<u64> = dead_letters(&queue, all()).await.iter().map(|letter| letter.at_ms).collect();
            let since = times.iter().filter(|at_ms| **at_ms >= times[1]).count();
            check(all(), 6).await;
            check(DeadFilter { destination: Some(name("b")), ..all() }, 3).await;
            check(DeadFilter { destination: Some(name("other")), ..all() }, 0).await;
            check(DeadFilter { kind: Some(DeadKind::Unmappable), ..all() }, 2).await;
            check(DeadFilter { since_ms: Some(times[1]), ..all() }, since).await;
            check(DeadFilter { until_ms: Some(times[1]), ..all() }, 6 - since).await;
            check(DeadFilter { until_ms: Some(1), ..all() }, 0).await;
            check(DeadFilter { order_id: order_id.clone(), ..all() }, 2).await;
            check(DeadFilter { order_id: Some("other".to_owned()), ..all() }, 0).await;
            check(DeadFilter { merchant: Some("acme".to_owned()), ..all() }, 6).await;
            check(DeadFilter { merchant: Some("other".to_owned()), ..all() }, 0).await;
            check(DeadFilter { contains: Some("No".to_owned()), ..all() }, 6).await;
            check(DeadFilter { contains: Some("nothing of it".to_owned()), ..all() }, 0).await;
            check(of(&ids[1..]), 4).await;
            check(of(&[ground.id()]), 0).await;
            check(DeadFilter { destination: Some(name("b")), ..of(&ids[1..]) }, 2).await;
            check(DeadFilter { kind: Some(DeadKind::Unmappable), ..of(&ids[..1]) }, 0).await;
        }
        let unmappable = DeadFilter { kind: Some(DeadKind::Unmappable), ..all() };
        assert_eq!(queue.treat(unmappable, discard("mended")).await.unwrap(), Treated { matched: 2, done: 2 });
        assert_eq!(at(&queue, ids[1], "a").await.state, State::Discarded);
        assert_eq!(at(&queue, ids[0], "a").await.state, State::Dead(DeadKind::Rejected), "no others are meant");
        assert_eq!(dead_letters(&queue, all()).await.len(), 4);
    });
}

#[test]
fn a_replayed_one_is_owed_again_and_counts_anew() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        for meanwhile in Meanwhile::SHORT_OF_A_CRASH {
            let id = ground.given_up(&queue).await;
            queue = ground.after(meanwhile, queue).await;
            let before_ms = ground.clock.unix_ms();
            let treated = queue.treat(all(), Treatment::Replay).await.unwrap();
            assert_eq!(treated, Treated { matched: 1, done: 1 }, "{meanwhile:?}");
            assert_eq!(dead_letters(&queue, all()).await, []);
            assert_eq!((depth(&queue, "a").pending, depth(&queue, "a").dead.total()), (1, 0), "{meanwhile:?}");
            let shown = at(&queue, id, "a").await;
            assert_eq!((shown.state, shown.attempts, shown.reason), (State::Queued, 0, None), "{meanwhile:?}");
            for round in 1..=2 {
                queue = ground.after(meanwhile, queue).await;
                let delivery = next(&queue, "a").await;
                assert_eq!((delivery.meta().id, delivery.attempt()), (id, round), "{meanwhile:?}");
                assert!(delivery.owed_since_ms() >= before_ms, "{meanwhile:?}: it forgets that it was replayed");
                let outcome = if round == 1 { retry(1) } else { delivered() };
                queue.settle(&delivery, outcome, Some(attempt(if round == 1 { 503 } else { 200 }, Verdict::Retry)));
            }
            let shown = at(&queue, id, "a").await;
            assert_eq!((shown.state, shown.attempts), (State::Delivered, 2), "{meanwhile:?}");
            let answers: Vec<_> = shown.history.iter().map(|attempt| attempt.status).collect();
            assert_eq!(answers, [Some(400), Some(503), Some(200)], "{meanwhile:?}: what was before is kept");
        }
    });
}

#[test]
fn a_discarded_one_is_none_any_more_and_says_why() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let mut ids = Vec::new();
        for meanwhile in Meanwhile::SHORT_OF_A_CRASH {
            let id = ground.given_up(&queue).await;
            ids.push(id);
            queue = ground.after(meanwhile, queue).await;
            let treated = queue.treat(of(&[id]), discard("paid by hand")).await.unwrap();
            assert_eq!(treated, Treated { matched: 1, done: 1 }, "{meanwhile:?}");
        }
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            for id in &ids {
                let shown = at(&queue, *id, "a").await;
                let discarded = (State::Discarded, Some("paid by hand"), 1);
                assert_eq!((shown.state, shown.reason.as_deref(), shown.attempts), discarded, "{meanwhile:?}");
            }
            assert_eq!(depth(&queue, "a"), Depth::default(), "{meanwhile:?}");
            assert!(nothing(&queue, "a").await, "{meanwhile:?}");
        }
    });
}

#[test]
fn dealing_with_one_twice_does_it_once() {
    every_engine(async |ground| {
        let queue = ground.open();
        let ids = [ground.given_up(&queue).await, ground.given_up(&queue).await];
        let (one, other) =
            tokio::join!(queue.treat(of(&ids), Treatment::Replay), queue.treat(of(&ids), Treatment::Replay));
        assert_eq!(one.unwrap().done + other.unwrap().done, 2);
        let held = [next(&queue, "a").await, next(&queue, "a").await];
        assert!(nothing(&queue, "a").await, "one was handed out twice");
        assert_eq!(queue.treat(of(&ids), discard("late")).await.unwrap(), Treated { matched: 0, done: 0 });
        assert_eq!((depth(&queue, "a").pending, depth(&queue, "a").dead.total()), (2, 0));
        drop(held);
    });
}

#[test]
fn what_was_dealt_with_stays_so_whatever_happens_next() {
    for before in Meanwhile::SHORT_OF_A_CRASH {
        for afterwards in Meanwhile::ALL {
            every_engine(async |ground| {
                let mut queue = ground.open();
                let (replayed, discarded) = (ground.given_up(&queue).await, ground.given_up(&queue).await);
                queue = ground.after(before, queue).await;
                queue.treat(of(&[replayed]), Treatment::Replay).await.unwrap();
                queue.treat(of(&[discarded]), discard("no")).await.unwrap();
                queue = ground.after(afterwards, queue).await;
                assert_eq!(at(&queue, replayed, "a").await.state, State::Queued, "{before:?}, {afterwards:?}");
                assert_eq!(at(&queue, discarded, "a").await.state, State::Discarded, "{before:?}, {afterwards:?}");
                assert_eq!(next(&queue, "a").await.meta().id, replayed, "{before:?}, {afterwards:?}");
            });
        }
    }
}

#[test]
fn one_that_is_given_up_again_is_a_dead_letter_anew() {
    every_engine(async |ground| {
        let queue = ground.open();
        let id = ground.given_up(&queue).await;
        let letter = dead_letters(&queue, all()).await.remove(0);
        // Given up by then: none. Given up by now: this one.
        let by_then = DeadFilter { until_ms: Some(letter.at_ms), ..all() };
        assert_eq!(queue.treat(by_then, Treatment::Replay).await.unwrap(), Treated::default());
        assert_eq!(queue.treat(all(), Treatment::Replay).await.unwrap(), Treated { matched: 1, done: 1 });
        queue.settle(&next(&queue, "a").await, dead("again"), None);
        let again = dead_letters(&queue, all()).await;
        assert_eq!((again[0].id, again[0].reason.as_str(), again[0].attempts), (id, "again", 0));
        assert_eq!(queue.treat(all(), Treatment::Replay).await.unwrap(), Treated { matched: 1, done: 1 });
    });
}

#[test]
fn all_that_are_meant_are_replayed_each_handed_out_once() {
    every_engine(async |ground| {
        let queue = ground.open();
        let mut due = BTreeSet::new();
        for _ in 0..40 {
            due.insert(ground.given_up(&queue).await);
        }
        let treated = queue.treat(all(), Treatment::Replay).await.unwrap();
        assert_eq!(treated, Treated { matched: 40, done: 40 });
        while !due.is_empty() {
            let delivery = next(&queue, "a").await;
            assert!(due.remove(&delivery.meta().id), "handed out twice");
            queue.settle(&delivery, delivered(), None);
        }
        assert!(nothing(&queue, "a").await);
        assert_eq!(depth(&queue, "a"), Depth::default());
    });
}

#[test]
fn with_too_many_of_them_the_destination_stops_until_some_are_dealt_with() {
    every_engine(async |mut ground| {
        ground.settings.dead_letters_max = 3;
        let mut queue = ground.open();
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(ground.given_up(&queue).await);
        }
        let waiting = ground.accepted(&queue, &["a", "b"]).await;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let shown = at(&queue, waiting, "a").await;
            assert_eq!(shown.state, State::Held, "{meanwhile:?}");
            assert!(shown.reason.as_ref().is_some_and(|reason| reason.contains("3 dead letters")), "{shown:?}");
            assert_eq!(depth(&queue, "a").stopped, shown.reason, "{meanwhile:?}");
            assert!(nothing(&queue, "a").await, "{meanwhile:?}");
            assert_eq!((at(&queue, waiting, "b").await.state, depth(&queue, "b").stopped), (State::Queued, None));
            assert_eq!(next(&queue, "b").await.meta().id, waiting, "{meanwhile:?}: others go on");
        }
        let destination = name("a");
        let mut asked = Box::pin(queue.next(&destination));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut asked).await.is_err());
        queue.treat(of(&ids[..1]), discard("seen")).await.unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, asked).await.expect("it stays stopped").meta().id, waiting);
        assert_eq!(depth(&queue, "a").stopped, None);
    });
}
