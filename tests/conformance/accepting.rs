//! What is accepted, what is known already, what is refused.

use super::*;

#[test]
fn what_is_accepted_is_shown_as_it_was_handed_in() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let mut handed_in = ground.submission(&["a"]);
        let others = [
            ("skipped", Initial::Skipped("no click id".to_owned())),
            ("b", Initial::Withheld("no consent".to_owned())),
            ("unsupported", Initial::Unsupported("no refunds".to_owned())),
        ];
        handed_in.plan.extend(others.map(|(text, initial)| (name(text), initial)));
        let Submission { meta, conversion, plan, .. } = handed_in.clone();
        let Accepted::New(shown) = queue.accept(handed_in).await.unwrap() else { panic!("it is new") };
        assert_eq!((shown.id, &shown.merchant), (meta.id, &meta.merchant));
        assert_eq!(
            (shown.event_id.as_str(), shown.order_id.as_deref()),
            (conversion.event_id(), conversion.order_id())
        );
        assert_eq!(shown.received_at, meta.received_at.as_str());
        let legs: Vec<_> =
            shown.destinations.iter().map(|(name, leg)| (name, leg.state, leg.reason.as_deref())).collect();
        let expected = [
            (&plan[0].0, State::Queued, None),
            (&plan[1].0, State::Skipped, Some("no click id")),
            (&plan[2].0, State::Withheld, Some("no consent")),
            (&plan[3].0, State::Unsupported, Some("no refunds")),
        ];
        assert_eq!(legs, expected, "in the order of the plan");
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            assert_eq!(status(&queue, shown.id).await, shown, "{meanwhile:?}");
            assert_eq!((depth(&queue, "a").pending, depth(&queue, "b").pending), (1, 0), "{meanwhile:?}");
        }
        let delivery = next(&queue, "a").await;
        assert_eq!((delivery.destination(), delivery.meta(), delivery.attempt()), (&name("a"), &meta, 1));
        assert_eq!(delivery.conversion().unwrap().content_digest(), conversion.content_digest());
        assert_eq!(delivery.owed_since_ms(), meta.id.unix_ms());
        assert!(nothing(&queue, "b").await, "nothing is owed there");
    });
}

#[test]
fn a_repeat_is_a_duplicate_and_shows_what_became_of_the_first() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let waiting = accept(&queue, ground.noted("waiting", "", &["b"])).await;
        let settled = accept(&queue, ground.noted("settled", "", &["a"])).await;
        queue.settle(&next(&queue, "a").await, delivered(), None);
        let last = ground.accepted(&queue, &["a"]).await;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            for (event_id, first) in [("waiting", waiting), ("settled", settled)] {
                let again = queue.accept(ground.noted(event_id, "", &["a", "b"])).await.unwrap();
                let shown = duplicate(again);
                assert_eq!((shown.id, &shown), (first, &status(&queue, first).await), "{meanwhile:?}");
            }
            assert_eq!(at(&queue, settled, "a").await.state, State::Delivered, "{meanwhile:?}");
            assert_eq!((depth(&queue, "a").pending, depth(&queue, "b").pending), (1, 1), "{meanwhile:?}");
        }
        assert_eq!(next(&queue, "a").await.meta().id, last, "a repeat is owed to nobody");
    });
}

#[test]
fn a_key_that_the_merchant_named_is_not_used_again_for_other_content() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let with_key = |note| {
            let mut submission = ground.submission(&["a"]);
            let body = json!({ "time": "2026-01-01T00:00:00Z", "event_id": "any", "custom": { "note": note } });
            submission = Submission { plan: submission.plan, ..ground.posted(&body, &[]) };
            submission.meta = Meta::new(ground.id(), Arc::from("acme"), Some("key".to_owned()), &submission.conversion);
            submission
        };
        let named = accept(&queue, ground.noted("named", "this", &["a"])).await;
        let in_header = accept(&queue, with_key("this")).await;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let reused = queue.accept(ground.noted("named", "that", &["a"])).await.unwrap();
            assert_eq!(reused, Accepted::KeyReused { first: named }, "{meanwhile:?}");
            let reused = queue.accept(with_key("that")).await.unwrap();
            assert_eq!(reused, Accepted::KeyReused { first: in_header }, "{meanwhile:?}");
            assert_eq!(duplicate(queue.accept(with_key("this")).await.unwrap()).id, in_header, "{meanwhile:?}");
        }
        assert_eq!(depth(&queue, "a").pending, 2);
    });
}

#[test]
fn a_key_made_of_the_order_makes_other_content_a_duplicate() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let of_order = |note| {
            let custom = json!({ "note": note });
            ground.posted(&json!({ "time": "2026-01-01T00:00:00Z", "order_id": "order", "custom": custom }), &["a"])
        };
        let first = accept(&queue, of_order("this")).await;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            assert_eq!(duplicate(queue.accept(of_order("that")).await.unwrap()).id, first, "{meanwhile:?}");
        }
    });
}

#[test]
fn merchants_share_no_keys() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let of = |merchant: &str| {
            let submission = ground.noted("same", merchant, &["a"]);
            let meta = Meta::new(ground.id(), Arc::from(merchant), None, &submission.conversion);
            Submission { meta, ..submission }
        };
        let (one, other) = (accept(&queue, of("one")).await, accept(&queue, of("other")).await);
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            assert_eq!(duplicate(queue.accept(of("one")).await.unwrap()).id, one, "{meanwhile:?}");
            assert_eq!(duplicate(queue.accept(of("other")).await.unwrap()).id, other, "{meanwhile:?}");
        }
    });
}

#[test]
fn of_concurrent_firsts_exactly_one_is_new() {
    every_engine(async |ground| {
        let queue = ground.open();
        for round in 0..20 {
            // In every other round each has its own content.
            let note = |number: usize| if round % 2 == 0 { String::new() } else { number.to_string() };
            let firsts: Vec<_> = (0..16)
                .map(|number| {
                    let (queue, one) = (queue.clone(), ground.noted(&format!("same-{round}"), &note(number), &["a"]));
                    tokio::spawn(async move { (one.meta.id, queue.accept(one).await.unwrap()) })
                })
                .collect();
            let (mut new, mut named) = (Vec::new(), Vec::new());
            for answer in firsts {
                match answer.await.unwrap() {
                    (id, Accepted::New(status)) => {
                        assert_eq!(id, status.id);
                        new.push(id);
                    }
                    (_, Accepted::Duplicate(first)) if round % 2 == 0 => named.push(first.id),
                    (_, Accepted::KeyReused { first }) if round % 2 == 1 => named.push(first),
                    (_, other @ (Accepted::Duplicate(_) | Accepted::KeyReused { .. })) => panic!("{other:?}"),
                }
            }
            assert_eq!((new.len(), named.len()), (1, 15));
            assert!(named.iter().all(|first| *first == new[0]), "round {round}: {new:?}, and {named:?} are named");
        }
        assert_eq!(depth(&queue, "a").pending, 20);
    });
}

#[test]
fn beyond_the_window_of_deduplication_a_repeat_is_new() {
    for meanwhile in Meanwhile::ALL {
        every_engine_on_paused_time(async |ground| {
            let mut queue = ground.open();
            let first = accept(&queue, ground.noted("again", "", &["a"])).await;
            queue = ground.after(meanwhile, queue).await;
            let since = Duration::from_millis(ground.clock.unix_ms() - first.unix_ms());
            tokio::time::advance(ground.settings.dedup_window - since).await;
            let known = queue.accept(ground.noted("again", "", &["a"])).await.unwrap();
            assert_eq!(duplicate(known).id, first, "{meanwhile:?}: to its last millisecond");
            tokio::time::advance(Duration::from_millis(1)).await;
            let second = accept(&queue, ground.noted("again", "", &["a"])).await;
            let known = queue.accept(ground.noted("again", "", &["a"])).await.unwrap();
            assert_eq!(duplicate(known).id, second, "{meanwhile:?}: the window begins again");
            assert_eq!(depth(&queue, "a").pending, 2, "{meanwhile:?}");
        });
    }
}

#[test]
fn a_repeat_is_known_after_the_clock_was_set_back() {
    every_engine(async |ground| {
        let mut queue = ground.open();
        let mut early = ground.noted("early", "", &[]);
        early.meta.id = id_at(ground.clock.unix_ms() + 1_200_000);
        let first = accept(&queue, early).await;
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let again = queue.accept(ground.noted("early", "", &[])).await.unwrap();
            assert_eq!(duplicate(again).id, first, "{meanwhile:?}");
        }
    });
}

#[test]
fn a_full_budget_refuses_and_names_the_destination_that_most_waits_for() {
    every_engine(async |mut ground| {
        ground.settings.pending_bytes_max = 20_000;
        let mut queue = ground.open();
        let mut kept = 0;
        let refusal = loop {
            match queue.accept(ground.submission(&["a", "b"])).await {
                Ok(_) => kept += 1,
                Err(error) => break error,
            }
            queue.settle(&next(&queue, "a").await, delivered(), None);
            assert!(kept < 100, "the budget was never full");
        };
        assert!(
            matches!(&refusal, AcceptError::Full { most: Some((name, _)), .. } if name.as_str() == "b"),
            "{refusal}"
        );
        for meanwhile in Meanwhile::ALL {
            queue = ground.after(meanwhile, queue).await;
            let refused = queue.accept(ground.submission(&["a"])).await;
            assert!(matches!(refused, Err(AcceptError::Full { .. })), "{meanwhile:?}: {refused:?}");
            assert_eq!(depth(&queue, "b").pending, kept, "{meanwhile:?}: nothing is kept of what is refused");
        }
        for _ in 0..kept {
            queue.settle(&next(&queue, "b").await, delivered(), None);
        }
        eventually("room again", async || queue.accept(ground.submission(&["a"])).await.is_ok()).await;
    });
}
