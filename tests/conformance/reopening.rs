//! What was before a close, or an end without one, is so afterwards.

use std::collections::{BTreeMap, BTreeSet};

use capi_relay::queue::Depths;

use super::*;

/// Everything that can be asked about these.
#[derive(Debug, PartialEq)]
struct Picture {
    statuses: Vec<Status>,
    orders: Vec<Vec<Status>>,
    depths: Depths,
    dead: Vec<DeadLetter>,
}

async fn picture(queue: &Queue, ids: &[ConversionId]) -> Picture {
    let (mut statuses, mut orders) = (Vec::new(), Vec::new());
    for id in ids {
        let status = status(queue, *id).await;
        orders.push(queue.order(&status.merchant, status.order_id.as_ref().unwrap()).await.unwrap());
        statuses.push(status);
    }
    Picture { statuses, orders, depths: queue.depths(), dead: dead_letters(queue, DeadFilter::default()).await }
}

/// The same, once it is known how old the oldest is: where there is too much to know that at any time it is looked up now
/// and then, and at the opening.
async fn rested(queue: &Queue, ids: &[ConversionId]) -> Picture {
    let Picture { statuses, .. } = picture(queue, ids).await;
    for destination in ["a", "b"] {
        let is_pending = |status: &&Status| {
            let mut legs = status.destinations.iter().filter(|(to, _)| *to == name(destination));
            legs.any(|(_, delivery)| matches!(delivery.state, State::Queued | State::Retrying))
        };
        let oldest = statuses.iter().filter(is_pending).map(|status| status.id.unix_ms()).min();
        eventually("the oldest that is pending", async || depth(queue, destination).oldest_pending_ms == oldest).await;
    }
    picture(queue, ids).await
}

/// Accepts for `a` and `b`, and lets everything happen that can: then ids, and what is still owed to `a`, by attempt.
async fn lived(ground: &Ground, queue: &Queue) -> (Vec<ConversionId>, BTreeMap<ConversionId, u32>) {
    let (mut ids, mut owed) = (Vec::new(), BTreeMap::new());
    for round in 0..24 {
        let id = ground.accepted(queue, &["a", "b"]).await;
        let mut delivery = next(queue, "a").await;
        // An older one may be due again.
        while delivery.meta().id != id {
            queue.settle(&delivery, retry(u64::MAX), None);
            owed.remove(&delivery.meta().id);
            delivery = next(queue, "a").await;
        }
        ids.push(id);
        match round % 6 {
            0 => queue.settle(&delivery, delivered(), Some(attempt(200, Verdict::Delivered))),
            1 | 2 => queue.settle(&delivery, dead("no"), Some(attempt(400, Verdict::Rejected))),
            3 => queue.settle(&delivery, retry(u64::MAX), Some(attempt(503, Verdict::Retry))),
            4 => {
                queue.settle(&delivery, retry(1), Some(attempt(503, Verdict::Retry)));
                owed.insert(id, 2);
            }
            _ => queue.settle(&delivery, Outcome::Skipped { reason: "nothing".to_owned() }, None),
        }
    }
    let of = |index: usize| DeadFilter { ids: Some(vec![ids[index]]), ..DeadFilter::default() };
    let treated = queue.treat(of(1), Treatment::Replay).await.unwrap();
    assert_eq!(treated.done, 1);
    owed.insert(ids[1], 1);
    let treated = queue.treat(of(2), Treatment::Discard { reason: "no".to_owned() }).await.unwrap();
    assert_eq!(treated.done, 1);
    for _ in 0..3 {
        let id = ground.accepted(queue, &["a", "b"]).await;
        ids.push(id);
        owed.insert(id, 1);
    }
    (ids, owed)
}

/// Takes so many, which is all that is handed out for a destination, and nothing twice.
async fn handed_out(queue: &Queue, destination: &str, count: usize) -> BTreeMap<ConversionId, u32> {
    let (mut found, mut held) = (BTreeMap::new(), Vec::new());
    for _ in 0..count {
        let delivery = next(queue, destination).await;
        let twice = found.insert(delivery.meta().id, delivery.attempt());
        assert_eq!(twice, None, "handed out twice");
        held.push(delivery);
    }
    assert!(nothing(queue, destination).await, "more than {count} are handed out");
    found
}

#[test]
fn closed_and_opened_again_everything_is_as_it_was() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let (ids, mut owed) = lived(&ground, &queue).await;
        // Settled at the last moment: a close writes what is lazy.
        let delivery = next(&queue, "a").await;
        queue.settle(&delivery, delivered(), Some(attempt(200, Verdict::Delivered)));
        owed.remove(&delivery.meta().id);
        drop(delivery);
        let before = rested(&queue, &ids).await;
        for _ in 0..2 {
            queue = ground.after(Meanwhile::Closed, queue).await;
            assert_eq!(picture(&queue, &ids).await, before);
        }
        assert_eq!(handed_out(&queue, "a", owed.len()).await, owed);
        assert_eq!(handed_out(&queue, "b", ids.len()).await.into_keys().collect::<Vec<_>>(), ids);
        assert_eq!(picture(&queue, &ids).await, before, "nothing was settled");
    });
}

#[test]
fn without_a_close_nothing_is_lost_and_at_most_what_was_just_settled_is_owed_again() {
    for meanwhile in [Meanwhile::Nothing, Meanwhile::Rest] {
        every_engine(async |ground| {
            let mut queue = ground.open();
            let (mut ids, _) = lived(&ground, &queue).await;
            queue = ground.after(Meanwhile::Closed, queue).await;
            for _ in 0..6 {
                ids.push(ground.accepted(&queue, &["a", "b"]).await);
            }
            let before = rested(&queue, &ids).await;
            let outcomes = [delivered(), dead("no"), retry(u64::MAX), Outcome::Skipped { reason: "no".to_owned() }];
            let mut just_settled = BTreeSet::new();
            for outcome in outcomes.into_iter().cycle().take(8) {
                let delivery = next(&queue, "a").await;
                queue.settle(&delivery, outcome, Some(attempt(500, Verdict::Unknown)));
                just_settled.insert(delivery.meta().id);
            }
            queue = ground.after(meanwhile, queue).await;
            let after = rested(&queue, &ids).await;
            let seen = before.dead[0].id;
            let filter = DeadFilter { ids: Some(vec![seen]), ..DeadFilter::default() };
            queue.treat(filter, Treatment::Discard { reason: "seen".to_owned() }).await.unwrap();
            queue = ground.after(Meanwhile::Dropped, queue).await;
            let now = rested(&queue, &ids).await;
            let mut owed = BTreeSet::new();
            for ((is, was), settled) in now.statuses.iter().zip(&before.statuses).zip(&after.statuses) {
                let leg = &is.destinations[0].1;
                if is.id == seen {
                    assert_eq!(leg.state, State::Discarded, "{meanwhile:?}: that was durable");
                    continue;
                }
                let forgotten = is == was && just_settled.contains(&is.id);
                assert!(forgotten || is == settled, "{meanwhile:?}: {is:#?} was {settled:#?} and {was:#?} before that");
                if matches!(leg.state, State::Queued | State::Retrying) && leg.next_attempt_ms != Some(u64::MAX) {
                    owed.insert(is.id);
                }
            }
            let again = handed_out(&queue, "a", owed.len()).await.into_keys().collect::<BTreeSet<_>>();
            assert_eq!(again, owed, "{meanwhile:?}: what is owed is handed out, and nothing else");
            assert_eq!(handed_out(&queue, "b", ids.len()).await.into_keys().collect::<Vec<_>>(), ids, "{meanwhile:?}");
        });
    }
}

#[test]
fn what_is_in_hand_when_it_ends_is_owed_again() {
    every_engine(async |ground| {
        for meanwhile in [Meanwhile::Closed, Meanwhile::Dropped] {
            let mut queue = ground.open();
            let id = ground.accepted(&queue, &["a"]).await;
            let delivery = next(&queue, "a").await;
            if meanwhile == Meanwhile::Closed {
                queue.close().await.unwrap();
            }
            drop(delivery);
            queue = ground.after(Meanwhile::Dropped, queue).await;
            let again = next(&queue, "a").await;
            assert_eq!((again.meta().id, again.attempt()), (id, 1), "{meanwhile:?}");
            queue.settle(&again, delivered(), None);
            queue.close().await.unwrap();
        }
    });
}

#[test]
fn once_closed_it_accepts_and_hands_out_nothing() {
    every_engine(async |ground| {
        let queue = ground.open();
        ground.accepted(&queue, &["a"]).await;
        let (id, destination) = (ground.accepted(&queue, &["b"]).await, name("a"));
        queue.close().await.unwrap();
        let refused = queue.accept(ground.submission(&["a"])).await;
        assert!(matches!(refused, Err(AcceptError::Closed)), "{refused:?}");
        assert!(nothing(&queue, "a").await && nothing(&queue, "b").await);
        assert!(tokio::time::timeout(Duration::from_millis(50), queue.next(&destination)).await.is_err());
        drop(queue);
        let queue = ground.open();
        assert_eq!((depth(&queue, "a").pending, depth(&queue, "b").pending), (1, 1), "what is refused is not kept");
        assert_eq!(next(&queue, "b").await.meta().id, id);
    });
}
