//! Dead letters: found, shown from near, planned.

use super::*;

impl Watched {
    /// Posts a conversion of this JSON.
    async fn send(&self, body: &Value) -> String {
        let body = body.to_string();
        let reply = call(self.relay.address, Call { body: &body, ..Call::post() }).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.json["id"].as_str().unwrap().to_owned()
    }

    async fn dead(&self, count: usize) -> Value {
        self.eventually("/admin/dead", |json| json["dead"].as_array().is_some_and(|dead| dead.len() == count)).await
    }

    async fn plan(&self, body: &Value) -> Value {
        let body = body.to_string();
        let reply =
            call(self.address, Call { path: "/admin/dead/replay", token: None, body: &body, ..Call::post() }).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json
    }
}

fn sale(event_id: &str, value: &str, currency: &str) -> Value {
    let time = Clock::system().now().to_string();
    json!({"event_id": event_id, "order_id": event_id, "time": time, "value": value, "currency": currency})
}

#[tokio::test]
async fn letters_are_found_by_merchant_and_by_words_of_the_reason_or_of_the_answer() {
    let watched = Watched::start("").await;
    watched.post("e-1").await;
    watched.kill(DeadKind::Rejected, "Status 400 Bad Request").await;
    watched.dead(1).await;
    let count = async |query: &str| {
        let reply = watched.get(&format!("/admin/dead?{query}")).await;
        reply.json["dead"].as_array().unwrap_or_else(|| panic!("{query}: {reply:?}")).len()
    };
    for (query, expected) in [
        ("merchant=acme", 1),
        ("merchant=other", 0),
        ("contains=bad+request", 1),
        ("contains=NO+SUCH+CAMPAIGN", 1),
        ("contains=nothing+of+that", 0),
        ("contains=bad&merchant=other", 0),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    watched.end().await;
}

#[tokio::test]
async fn one_letter_is_shown_with_its_attempts_and_the_request_of_a_replay() {
    let watched = Watched::start("").await;
    let id = watched.send(&sale("o-1", "99.90", "EUR")).await;
    watched.kill(DeadKind::Rejected, "status 400").await;
    watched.dead(1).await;
    let shown = watched.get(&format!("/admin/dead/first/{id}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let shown = shown.json;
    assert_eq!((&shown["id"], &shown["merchant"], &shown["history"][0]), (&json!(id), &json!("acme"), &shown["last"]));
    let conversion = &shown["conversion"];
    assert_eq!(
        (&conversion["kind"], &conversion["value"], &conversion["currency"]),
        (&json!("conversion"), &json!("99.90"), &json!("EUR"))
    );
    assert_eq!((&shown["replay"]["outcome"], &shown["replay"]["operation"]), (&json!("sent"), &json!("conversion")));
    assert_eq!(shown["replay"]["differs"], Value::Null, "its attempt is from before this process");
    assert_eq!(shown["request"]["method"], "POST");
    let missing = (404, "urn:capi-relay:problem:not-found");
    for path in [format!("/admin/dead/refunds/{id}"), "/admin/dead/first/1".to_owned(), format!("/admin/dead/x!/{id}")]
    {
        assert_eq!(watched.get(&path).await.refusal(), missing, "{path}");
    }
    watched.end().await;
}

#[tokio::test]
async fn a_plan_sums_exactly_says_what_may_be_a_second_sale_and_changes_nothing() {
    let watched = Watched::start("").await;
    for (number, (value, currency, kind)) in [
        ("0.10", "EUR", DeadKind::Rejected),
        ("0.20", "EUR", DeadKind::Rejected),
        ("5", "USD", DeadKind::Rejected),
        ("99999999999999999999.99", "EUR", DeadKind::Unknown),
    ]
    .into_iter()
    .enumerate()
    {
        watched.send(&sale(&format!("o-{number}"), value, currency)).await;
        watched.kill(kind, "a reason").await;
        watched.dead(number + 1).await;
    }
    let plan = watched.plan(&json!({"destination": "first", "plan": true, "limit": 3})).await;
    let group = |kind: &str, count: u64, second_sales: u64, amounts: Value| {
        json!({"destination": "first", "kind": kind, "conversion_kind": "conversion", "outcome": "sent",
            "count": count, "second_sales": second_sales, "amounts": amounts})
    };
    let groups = [
        group("rejected", 3, 0, json!({"EUR": "0.30", "USD": "5"})),
        group("unknown", 1, 1, json!({"EUR": "99999999999999999999.99"})),
    ];
    assert_eq!(plan["totals"], json!({"matched": 4, "whole": true, "groups": groups}));
    let dead = plan["dead"].as_array().unwrap();
    assert_eq!(dead.len(), 3);
    assert!(dead.iter().all(|letter| letter["request"]["url"].is_string()), "{plan:#}");
    let rest = watched.plan(&json!({"destination": "first", "plan": true, "limit": 3, "after": plan["next"]})).await;
    assert_eq!((&rest["totals"], &rest["next"]), (&Value::Null, &Value::Null));
    let last = &rest["dead"][0];
    assert_eq!((&last["kind"], &last["replay"]["second_sale"]), (&json!("unknown"), &json!(true)));
    assert_eq!(last["replay"]["deduplication"], "none");

    let ids: Vec<&Value> = dead.iter().map(|letter| &letter["id"]).collect();
    let by_ids = watched.plan(&json!({"ids": ids, "plan": true, "limit": 2})).await;
    assert_eq!((&by_ids["totals"]["matched"], by_ids["dead"].as_array().unwrap().len()), (&json!(3), 2));
    let rest = watched.plan(&json!({"ids": ids, "plan": true, "limit": 2, "after": by_ids["next"]})).await;
    assert_eq!((rest["dead"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(watched.get("/admin/dead").await.json["dead"].as_array().unwrap().len(), 4, "nothing was changed");
    assert_eq!(watched.get("/admin/audit").await.json["audit"], json!([]));
    watched.end().await;
}

#[tokio::test]
async fn a_plan_means_what_a_replay_does_also_where_a_clock_was_ahead() {
    let watched = Watched::start("").await;
    let two_hours = std::time::Duration::from_secs(2 * 3600);
    watched.relay.ingress.clock().set_forward(two_hours);
    watched.send(&sale("o-1", "1", "EUR")).await;
    watched.kill(DeadKind::Rejected, "a reason").await;
    watched.dead(1).await;
    watched.relay.ingress.clock().set_back(two_hours);
    watched.send(&sale("o-2", "2", "EUR")).await;
    watched.kill(DeadKind::Rejected, "a reason").await;
    watched.dead(2).await;

    let plan = watched.plan(&json!({"destination": "first", "plan": true, "limit": 1})).await;
    assert_eq!((&plan["totals"]["matched"], plan["dead"].as_array().unwrap().len()), (&json!(2), 1), "{plan:#}");
    let replayed = watched.plan(&json!({"destination": "first", "until": plan["until"]})).await;
    assert_eq!(replayed, json!({"matched": 2, "replayed": 2}));
    watched.end().await;
}

#[tokio::test]
async fn a_letter_that_is_named_twice_is_one() {
    let watched = Watched::start("").await;
    let id = watched.send(&sale("o-1", "1", "EUR")).await;
    watched.kill(DeadKind::Rejected, "a reason").await;
    watched.dead(1).await;
    let plan = watched.plan(&json!({"ids": [id, id], "plan": true})).await;
    assert_eq!((&plan["totals"]["matched"], plan["dead"].as_array().unwrap().len()), (&json!(1), 1), "{plan:#}");
    assert_eq!(watched.plan(&json!({"ids": [id, id]})).await, json!({"matched": 1, "replayed": 1}));
    watched.end().await;
}
