//! Pause, resume, probe, and the audit log over all changes.

use std::fs;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::ingress::tests::client::answer;

impl Watched {
    async fn order(&self, path: &str, body: &str) -> Reply {
        call(self.address, Call { path, token: None, body, ..Call::post() }).await
    }

    fn folder(&self) -> &std::path::Path {
        &self.relay.config.queue.path
    }

    /// The last changes, as outcome and action.
    async fn audited(&self) -> Vec<String> {
        let page = self.get("/admin/audit").await.json;
        let line =
            |entry: &Value| format!("{} {}", entry["action"].as_str().unwrap(), entry["outcome"].as_str().unwrap());
        page["audit"].as_array().unwrap().iter().map(line).collect()
    }
}

#[tokio::test]
async fn a_pause_and_a_resume_answer_with_the_destination_and_are_kept() {
    let watched = Watched::start("").await;
    let paused = watched.order("/admin/destinations/first/pause", r#"{"reason":"maintenance"}"#).await;
    assert_eq!(
        (paused.status, &paused.json["state"], &paused.json["reason"]),
        (200, &json!("paused"), &json!("maintenance"))
    );
    let kept = fs::read_to_string(watched.folder().join("paused.json")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!((&kept["first"]["reason"], &kept["first"]["since"]), (&json!("maintenance"), &paused.json["since"]));
    let again = watched.order("/admin/destinations/first/pause", r#"{"reason":"still at it"}"#).await;
    let expected = (200, &json!("still at it"), &paused.json["since"]);
    assert_eq!((again.status, &again.json["reason"], &again.json["since"]), expected, "since when stays");
    let again = watched.order("/admin/destinations/first/pause", "").await;
    assert_eq!((again.status, &again.json["reason"]), (200, &json!("still at it")), "no word takes none away");

    // Another process over the same folder.
    let pools = Pools::new(
        &watched.relay.config,
        watched.relay.queue.clone(),
        Clock::system(),
        crate::traces::Traces::default(),
    )
    .unwrap();
    Pauses::restore(watched.folder(), &pools).unwrap();
    let restored = pools.detail("first").unwrap().state;
    assert_eq!((restored.state.as_str(), restored.reason.as_deref()), ("paused", Some("still at it")));

    let resumed = watched.order("/admin/destinations/first/resume", "").await;
    assert_eq!((resumed.status, &resumed.json["state"]), (200, &json!("active")));
    assert_eq!(fs::read_to_string(watched.folder().join("paused.json")).unwrap(), "{}");
    for path in ["/admin/destinations/nobody/pause", "/admin/destinations/nobody/probe"] {
        assert_eq!(watched.order(path, "").await.status, 404);
    }
    assert_eq!(watched.get("/admin/destinations/first/pause").await.status, 405);
    assert_eq!(watched.audited().await, ["resume done", "pause done", "pause done", "pause done"]);
    watched.end().await;
}

#[tokio::test]
async fn a_pause_that_cannot_be_read_refuses_the_start() {
    let watched = Watched::start("").await;
    fs::write(watched.folder().join("paused.json"), "{").unwrap();
    let Err(error) = Pauses::restore(watched.folder(), &watched.pools) else { panic!("it is no JSON") };
    assert!(error.to_string().contains("paused.json says which destinations are paused"), "{error}");
    watched.end().await;
}

#[tokio::test]
async fn a_probe_is_refused_in_words_where_there_is_none() {
    let watched = Watched::start("").await;
    watched.order("/admin/destinations/first/pause", r#"{"reason":"maintenance"}"#).await;
    let refused = watched.order("/admin/destinations/first/probe", "").await;
    assert_eq!(refused.refusal(), (409, "urn:capi-relay:problem:conflict"));
    assert_eq!(refused.json["detail"], "the destination is paused (maintenance): resume it first");
    assert_eq!(watched.audited().await, ["probe refused", "pause done"]);
    assert_eq!(watched.get("/admin/audit").await.json["audit"][0]["problem"], "conflict");
    watched.end().await;
}

#[tokio::test]
async fn no_change_is_made_that_cannot_be_written_down() {
    let watched = Watched::start("").await;
    watched.post("e-1").await;
    watched.kill(DeadKind::Rejected, "status 400").await;
    let one_dead = |json: &Value| json["dead"].as_array().is_some_and(|dead| dead.len() == 1);
    watched.eventually("/admin/dead", one_dead).await;
    let log = watched.folder().join("audit.ndjson");
    fs::create_dir(&log).unwrap();
    let all = r#"{"destination":"first"}"#;
    let discard = r#"{"destination":"first","reason":"a test"}"#;
    for (path, body) in [
        ("/admin/destinations/first/pause", ""),
        ("/admin/destinations/first/resume", ""),
        ("/admin/destinations/first/probe", ""),
        ("/admin/dead/replay", all),
        ("/admin/dead/discard", discard),
        ("/admin/forget", r#"{"order_id":"o-1","merchant":"acme"}"#),
        ("/admin/reload", ""),
    ] {
        let refused = watched.order(path, body).await;
        assert_eq!(refused.refusal(), (503, "urn:capi-relay:problem:unavailable"), "{path}: {refused:?}");
        assert!(refused.json["detail"].as_str().unwrap().starts_with("the audit log cannot be written"), "{path}");
    }
    assert!(one_dead(&watched.get("/admin/dead").await.json));
    assert_eq!(watched.get("/admin/destinations/first").await.json["state"], "active");
    fs::remove_dir(&log).unwrap();
    assert_eq!(watched.order("/admin/dead/discard", discard).await.json, json!({"matched": 1, "discarded": 1}));
    assert_eq!(watched.audited().await, ["discard done"]);
    watched.end().await;
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_to_how_many_and_names_nobody_else() {
    let watched = Watched::start("").await;
    watched.post("e-1").await;
    watched.kill(DeadKind::Rejected, "no such person: ana@example.com").await;
    watched.eventually("/admin/dead", |json| json["dead"].as_array().is_some_and(|dead| dead.len() == 1)).await;
    let headers = &[("content-type", "application/json"), ("capi-relay-user", "ops")];
    let body = r#"{"contains":"ana@example.com","merchant":"acme","reason":"paid by hand"}"#;
    let call = |path, body| Call { path, token: None, body, headers, ..Call::post() };
    let reply = super::call(watched.address, call("/admin/dead/discard", body)).await;
    assert_eq!(reply.json, json!({"matched": 1, "discarded": 1}), "{reply:?}");
    for forgotten in [
        r#"{"order_id":"ana-1","merchant":"acme"}"#,
        r#"{"customer":"ana@example.com","merchant":"acme"}"#,
        r#"{"order_id":"o","merchant":"ana@example.com"}"#,
    ] {
        super::call(watched.address, call("/admin/forget", forgotten)).await;
    }
    let text = fs::read_to_string(watched.folder().join("audit.ndjson")).unwrap();
    assert!(!text.contains("ana"), "{text}");
    let page = watched.get("/admin/audit").await.json;
    let entry = page["audit"].as_array().unwrap().last().unwrap();
    let expected = json!({
        "id": 1, "at": entry["at"], "ended_at": entry["ended_at"], "who": "loopback", "peer": null, "user": "ops",
        "action": "discard", "filter": {"merchant": "acme", "contains": "***"}, "reason": "paid by hand",
        "outcome": "done", "matched": 1, "done": 1, "problem": null,
    });
    assert_eq!(entry, &expected);
    let filters: Vec<&Value> = page["audit"].as_array().unwrap().iter().map(|entry| &entry["filter"]).collect();
    assert_eq!(filters[0], &json!({"merchant": "***", "order_id": "***"}));
    assert_eq!(filters[1], &json!({"merchant": "acme", "customer": "***"}));
    assert_eq!(filters[2], &json!({"merchant": "acme", "order_id": "***"}));

    let first = watched.get("/admin/audit?limit=1").await.json;
    assert_eq!((&first["audit"][0]["id"], &first["next"]), (&json!(4), &json!(4)));
    let rest = watched.get("/admin/audit?limit=1000&after=4").await.json;
    assert_eq!((rest["audit"].as_array().unwrap().len(), &rest["next"]), (3, &Value::Null));
    for wrong in ["limit=0", "limit=1001", "limit=", "after=x", "after=", "limit=1&limit=2", "id=1"] {
        assert_eq!(watched.get(&format!("/admin/audit?{wrong}")).await.status, 400, "{wrong}");
    }
    watched.end().await;
}

#[tokio::test]
async fn a_token_is_named_by_its_name_or_the_beginning_of_its_digest() {
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("admin-token"));
    check_who(&format!("\"{digest}\""), &format!("token {}", digest.get(..8).unwrap())).await;
    check_who(&format!("{{ ana = \"{digest}\" }}"), "token ana").await;
}

async fn check_who(tokens: &str, expected: &str) {
    let watched = Watched::start(&format!("admin_token_sha256 = {tokens}")).await;
    let path = "/admin/destinations/first/pause";
    let refused = call(watched.address, Call { path, token: Some("other"), body: "", ..Call::post() }).await;
    assert_eq!(refused.status, 401);
    let token = Some("admin-token");
    assert_eq!(call(watched.address, Call { path, token, body: "", ..Call::post() }).await.status, 200);
    let page = call(watched.address, Call { token, ..Call::get("/admin/audit") }).await.json;
    assert_eq!(page["audit"].as_array().unwrap().len(), 1, "who may not is not audited");
    assert_eq!((&page["audit"][0]["who"], &page["audit"][0]["peer"]), (&json!(expected), &json!("127.0.0.1")));
    watched.end().await;
}

#[tokio::test]
async fn an_order_of_a_merchant_that_is_taken_out_is_found_by_its_name() {
    let watched = Watched::start("").await;
    let body = r#"{"event_id":"e-1","order_id":"o-1","time":"2026-01-31T12:00:00Z"}"#;
    assert_eq!(call(watched.relay.address, Call { body, ..Call::post() }).await.status, 202);
    assert_eq!(watched.get("/admin/orders/o-1").await.json["conversions"][0]["merchant"], "acme");
    watched.relay.rename("acme", "successor");
    let missing = watched.get("/admin/orders/o-1").await;
    assert_eq!(missing.refusal(), (404, "urn:capi-relay:problem:not-found"));
    assert!(missing.json["detail"].as_str().unwrap().contains("that is configured no more, name it"), "{missing:?}");
    assert_eq!(watched.get("/admin/orders/o-1?merchant=acme").await.json["conversions"][0]["merchant"], "acme");
    assert_eq!(watched.get("/admin/orders/o-1?merchant=successor").await.status, 404);
    for wrong in ["shop=acme", "merchant=a&merchant=b"] {
        assert_eq!(watched.get(&format!("/admin/orders/o-1?{wrong}")).await.status, 400, "{wrong}");
    }
    watched.end().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_as_such() {
    let watched = Watched::start("").await;
    let body = format!("{{\"reason\":\"{}\"}}", "x".repeat(64 * 1024));
    let refused = watched.order("/admin/destinations/first/pause", &body).await;
    assert_eq!(refused.refusal(), (413, "urn:capi-relay:problem:body-too-large"));
    watched.end().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408() {
    let watched = Watched::start("").await;
    let mut stream = TcpStream::connect(watched.address).await.unwrap();
    let head = "POST /admin/forget HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    // What is there is read; then nothing is left to do but to wait for the rest.
    tokio::time::pause();
    let late = answer(&mut stream, "}").await;
    tokio::time::resume();
    assert!(late.starts_with("HTTP/1.1 408") && late.contains("problem:request-timeout"), "{late}");
    assert!(late.contains("the body did not come within 10 s"), "{late}");
    drop(stream);
    watched.end().await;
}
