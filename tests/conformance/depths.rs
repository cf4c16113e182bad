//! Counters in step with what statuses say.

use super::*;

/// Holds the depths to the statuses of all that was ever accepted.
async fn in_step(queue: &Queue, ids: &[ConversionId], when: &str) {
    for destination in ["a", "b"] {
        let (mut owed, mut accepted, mut dead) = (Vec::new(), 0, 0);
        for id in ids {
            let shown = status(queue, *id).await.destinations.into_iter().find(|(to, _)| *to == name(destination));
            match shown.map(|(_, delivery)| delivery.state) {
                Some(State::Queued | State::Retrying | State::Held) => owed.push(id.unix_ms()),
                Some(State::Accepted) => accepted += 1,
                Some(State::Dead(_)) => dead += 1,
                Some(State::Delivered | State::Duplicate | State::Skipped | State::Withheld) | None => {}
                Some(State::Unsupported | State::Discarded) => {}
            }
        }
        let depth = depth(queue, destination);
        let pending = u64::try_from(owed.len()).unwrap() + accepted;
        assert_eq!((depth.pending, depth.dead.total()), (pending, dead), "{destination}, {when}");
        let listed = DeadFilter { destination: Some(name(destination)), ..DeadFilter::default() };
        assert_eq!(u64::try_from(dead_letters(queue, listed).await.len()).unwrap(), dead, "{destination}, {when}");
        // Looked up now and then where there is too much to know it at any time.
        let oldest = async || self::depth(queue, destination).oldest_pending_ms == owed.iter().min().copied();
        eventually(&format!("the oldest that is pending, {destination}, {when}"), oldest).await;
    }
}

#[test]
fn at_every_step_they_count_what_statuses_show() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let mut ids = Vec::new();
        in_step(&queue, &ids, "empty").await;
        for step in 0..48 {
            match step % 8 {
                0 => ids.push(ground.accepted(&queue, &["a"]).await),
                1 | 3 | 5 => ids.push(ground.accepted(&queue, &["a", "b"]).await),
                2 => queue.settle(&next(&queue, "a").await, delivered(), None),
                4 => queue.settle(&next(&queue, "a").await, dead("no"), None),
                6 => queue.settle(&next(&queue, "b").await, retry(1), None),
                _ => {
                    let delivery = next(&queue, "b").await;
                    // What is accepted is no longer owed, and still pending.
                    if step % 16 == 15 {
                        queue.settle(&delivery, accepted(u64::MAX), None);
                    }
                }
            }
            in_step(&queue, &ids, &format!("step {step}")).await;
            match step {
                10 | 41 => queue = ground.after(Meanwhile::Rest, queue).await,
                20 => queue = ground.after(Meanwhile::Closed, queue).await,
                30 => queue = ground.after(Meanwhile::Dropped, queue).await,
                _ => {
                    if step % 13 != 12 {
                        continue;
                    }
                    let held = next(&queue, "b").await;
                    in_step(&queue, &ids, &format!("step {step}, one in a worker's hands")).await;
                    queue.settle(&held, delivered(), None);
                    let letter = dead_letters(&queue, DeadFilter::default()).await.pop().map(|letter| letter.id);
                    let treatment =
                        if step % 2 == 0 { Treatment::Replay } else { Treatment::Discard { reason: "no".to_owned() } };
                    let filter = DeadFilter { ids: letter.map(|id| vec![id]), ..DeadFilter::default() };
                    queue.treat(filter, treatment).await.unwrap();
                }
            }
            in_step(&queue, &ids, &format!("behind step {step}")).await;
        }
    });
}

#[test]
fn every_destination_that_is_configured_or_has_work_is_shown() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        assert_eq!(queue.depths().destinations.into_keys().collect::<Vec<_>>(), [name("a"), name("b")]);
        // As after a reload.
        ground.accepted(&queue, &["later"]).await;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            assert_eq!(depth(&queue, "later").pending, 1, "{meanwhile:?}");
            assert_eq!(depth(&queue, "a"), Depth::default(), "{meanwhile:?}");
        }
    });
}

#[test]
fn pending_bytes_are_those_of_what_is_owed_to_anybody() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        assert_eq!(queue.depths().pending_bytes, 0);
        for meanwhile in Meanwhile::SHORT_OF_A_CRASH {
            let handed_in = ground.noted(&format!("{meanwhile:?}"), &"x".repeat(5000), &["a", "b"]);
            let body = u64::try_from(handed_in.body.len()).unwrap();
            accept(&queue, handed_in).await;
            let bytes = queue.depths().pending_bytes;
            assert!(bytes >= body, "{meanwhile:?}: {bytes} of {body}");
            queue.settle(&next(&queue, "a").await, delivered(), None);
            queue = ground.after(meanwhile, queue).await;
            assert_eq!(queue.depths().pending_bytes, bytes, "{meanwhile:?}: it is still owed to one");
            queue.settle(&next(&queue, "b").await, dead("no"), None);
            eventually("nothing is owed", async || queue.depths().pending_bytes == 0).await;
        }
    });
}
