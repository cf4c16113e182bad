//! What is forgotten on request: nothing more of it is sent, shown or kept, and everything else stays as it is.

use super::*;

/// Of a merchant's order, as it is handed in.
fn of_order(ground: &Ground, merchant: &str, order_id: &str, number: usize, note: &str) -> Submission {
    let event_id = format!("{order_id}-{number}");
    let body = json!({
        "time": "2026-01-01T00:00:00Z", "event_id": event_id, "order_id": order_id, "custom": { "note": note },
    });
    let submission = ground.posted(&body, &["a"]);
    let meta = Meta::new(ground.id(), Arc::from(merchant), None, &submission.conversion);
    Submission { meta, ..submission }
}

/// One delivered, one given up, one put off, one that waits for its time again after a replay.
async fn lived(ground: &Ground, queue: &Queue, merchant: &str, order_id: &str) -> Vec<ConversionId> {
    let mut ids = Vec::new();
    for (number, outcome) in [delivered(), dead("no"), retry(u64::MAX), dead("again")].into_iter().enumerate() {
        let id = accept(queue, of_order(ground, merchant, order_id, number, "")).await;
        let delivery = next(queue, "a").await;
        assert_eq!(delivery.meta().id, id);
        queue.settle(&delivery, outcome, Some(attempt(400, Verdict::Unknown)));
        ids.push(id);
    }
    let again = DeadFilter { ids: Some(vec![ids[3]]), ..DeadFilter::default() };
    assert_eq!(queue.treat(again, Treatment::Replay).await.unwrap().done, 1);
    queue.settle(&next(queue, "a").await, retry(u64::MAX), None);
    ids
}

async fn statuses(queue: &Queue, ids: &[ConversionId]) -> Vec<Option<Status>> {
    let mut statuses = Vec::new();
    for id in ids {
        statuses.push(queue.status(*id).await.unwrap());
    }
    statuses
}

#[test]
fn an_order_is_forgotten_for_good_and_nothing_else() {
    let order = |order_id: &str| Forget::Order { merchant: "acme".to_owned(), order_id: order_id.to_owned() };
    for before in Meanwhile::SHORT_OF_A_CRASH {
        every_engine(async |ground| {
            let mut queue = ground.open();
            let mut kept = lived(&ground, &queue, "acme", "kept").await;
            kept.extend(lived(&ground, &queue, "other", "gone").await);
            let mut gone = lived(&ground, &queue, "acme", "gone").await;
            queue = ground.after(before, queue).await;
            gone.push(accept(&queue, of_order(&ground, "acme", "gone", 4, "")).await);
            let kept_as = statuses(&queue, &kept).await;
            let done = queue.forget(order("gone")).await.unwrap();
            assert_eq!(
                done,
                Forgotten { conversions: 5, withdrawn: 3, dead: 1, being_sent: 0, unread: 0 },
                "{before:?}"
            );
            for afterwards in [Meanwhile::Nothing, Meanwhile::Dropped, Meanwhile::Closed] {
                queue = ground.after(afterwards, queue).await;
                let when = format!("{before:?}, {afterwards:?}");
                assert_eq!(statuses(&queue, &gone).await, [const { None }; 5], "{when}");
                assert_eq!(queue.order("acme", "gone").await.unwrap(), [], "{when}");
                assert_eq!(statuses(&queue, &kept).await, kept_as, "{when}");
                assert_eq!(queue.order("other", "gone").await.unwrap().len(), 4, "{when}");
                let letters = dead_letters(&queue, DeadFilter::default()).await;
                assert_eq!(letters.iter().map(|letter| letter.id).collect::<Vec<_>>(), [kept[1], kept[5]], "{when}");
                assert_eq!((depth(&queue, "a").pending, depth(&queue, "a").dead.total()), (4, 2), "{when}");
                assert!(nothing(&queue, "a").await, "{when}: it is sent to nobody");
                let again = queue.accept(of_order(&ground, "acme", "gone", 2, "")).await.unwrap();
                let shown = duplicate(again);
                assert_eq!((shown.id, shown.destinations), (gone[2], Vec::new()), "{when}: a repeat is known");
                let other = queue.accept(of_order(&ground, "acme", "gone", 2, "other")).await.unwrap();
                let shown = duplicate(other);
                assert_eq!((shown.id, shown.destinations), (gone[2], Vec::new()), "{when}: whatever it says");
                for nothing_left in [order("gone"), order("unknown")] {
                    assert_eq!(queue.forget(nothing_left).await.unwrap(), Forgotten::default(), "{when}");
                }
            }
        });
    }
}

/// One conversion with each of these members.
async fn accepted_with(ground: &Ground, queue: &Queue, bodies: &[Value]) -> Vec<ConversionId> {
    let mut ids = Vec::new();
    for body in bodies {
        let mut body = body.clone();
        body["time"] = json!("2026-01-01T00:00:00Z");
        body["event_id"] = json!(format!("p{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        ids.push(accept(queue, ground.posted(&body, &["a"])).await);
    }
    ids
}

#[test]
fn a_person_is_known_by_any_identifier_and_by_its_hash() {
    let theirs = [
        json!({ "customer": { "email": "User@Example.com" } }),
        json!({ "customer": { "email_sha256": "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514" } }),
        json!({ "customer": { "email_sha1": "63a710569261a24b3766275b7000ce8d7b32e2f7" } }),
    ];
    let others = [
        json!({ "customer": { "email": "other@example.com" } }),
        json!({ "custom": { "email": "user@example.com" } }),
        json!({}),
    ];
    for identifier in ["user@example.com", "USER@example.com "] {
        every_engine(async |ground| {
            let mut queue = ground.open();
            let (mut forgotten, mut kept) = (Vec::new(), Vec::new());
            for meanwhile in [Meanwhile::Rest, Meanwhile::Nothing] {
                forgotten.extend(accepted_with(&ground, &queue, &theirs).await);
                kept.extend(accepted_with(&ground, &queue, &others).await);
                queue = ground.after(meanwhile, queue).await;
            }
            let done = queue
                .forget(Forget::Customer { merchant: "acme".to_owned(), identifier: identifier.to_owned() })
                .await
                .unwrap();
            assert_eq!(done, Forgotten { conversions: 6, withdrawn: 6, dead: 0, being_sent: 0, unread: 0 });
            assert_eq!(statuses(&queue, &forgotten).await, [const { None }; 6]);
            for id in &kept {
                let delivery = next(&queue, "a").await;
                assert_eq!(delivery.meta().id, *id, "nothing else is handed out");
                queue.settle(&delivery, delivered(), None);
            }
            assert!(nothing(&queue, "a").await);
        });
    }
}

#[test]
fn what_is_being_sent_is_waited_for() {
    for outcome in [Some(delivered()), Some(dead("no")), Some(retry(1)), None] {
        every_engine(async |ground| {
            let queue = ground.open();
            let id = ground.accepted(&queue, &["a"]).await;
            let delivery = next(&queue, "a").await;
            let forgetting = tokio::spawn({
                let queue = queue.clone();
                async move { queue.forget(Forget::Conversion(id)).await.unwrap() }
            });
            assert!(nothing(&queue, "a").await);
            assert!(!forgetting.is_finished(), "{outcome:?}");
            match &outcome {
                Some(outcome) => queue.settle(&delivery, outcome.clone(), None),
                None => drop(delivery),
            }
            let done = forgetting.await.unwrap();
            assert_eq!((done.conversions, done.being_sent), (1, 0), "{outcome:?}: {done:?}");
            assert_eq!(queue.status(id).await.unwrap(), None, "{outcome:?}");
            assert!(nothing(&queue, "a").await, "{outcome:?}");
            assert_eq!(depth(&queue, "a"), Depth::default(), "{outcome:?}");
        });
    }
}
