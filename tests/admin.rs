//! What an operator does at a running relay: destinations, dead letters, the audit log; over HTTP and on the command line.

use std::fs;
use std::path::PathBuf;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{Process, run};
use crate::support::recorder::Recorder;
use crate::support::{Answer, Http, TOKEN, conversion, eventually};

/// One partner whose mapping is the test's, and a folder.
struct Ground {
    partner: Recorder,
    folder: TempDir,
    file: PathBuf,
    http: Http,
}

impl Ground {
    async fn new(destination: &str) -> Ground {
        let (partner, folder) = (Recorder::unwilling().await, tempfile::tempdir().unwrap());
        let file = folder.path().join("routes.toml");
        let ground = Ground { partner, folder, file, http: Http::new() };
        ground.write(destination);
        ground
    }

    /// The routes file, with this at the destination.
    fn write(&self, destination: &str) {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(TOKEN));
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nplaintext = true\n\
             [queue]\npath = \"{}\"\nallow_volatile = true\nmin_free_bytes = \"1MiB\"\n\
             [merchant.acme]\ntoken_sha256 = \"{digest}\"\n\
             [destination.partner]\nmethod = \"POST\"\nurl = \"{}/events\"\nbody = \"json\"\n\
             secrets.key = \"k3y-of-the-partner\"\nauth = {{ bearer = \"{{secrets.key}}\" }}\n{destination}\n",
            self.folder.path().join("queue").display(),
            self.partner.origin,
        );
        fs::write(&self.file, text).unwrap();
    }

    fn serve(&self) -> Process {
        Process::serve(&self.file)
    }

    async fn post(&self, relay: &Process, order: &str) -> String {
        let answer = self.http.post(&format!("{}/v1/conversions", relay.origin), conversion(order).to_string()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        answer.id()
    }

    async fn get(&self, relay: &Process, path: &str) -> Value {
        self.http.call(Method::GET, &format!("{}{path}", relay.admin), &[], "").await.body
    }

    async fn bid(&self, relay: &Process, path: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.http.call(Method::POST, &format!("{}{path}", relay.admin), &json, &body.to_string()).await
    }

    async fn dead(&self, relay: &Process, count: usize) -> Value {
        eventually(&format!("{count} dead letters"), async || {
            let page = self.get(relay, "/admin/dead").await;
            (page["dead"].as_array()?.len() == count).then_some(page)
        })
        .await
    }

    async fn reload(&self, relay: &Process) {
        let answer = self.http.call(Method::POST, &format!("{}/admin/reload", relay.admin), &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
}

/// What the command says; it must succeed.
#[track_caller]
fn said(relay: &Process, arguments: &[&str]) -> String {
    let (code, said, error) = run(&[arguments, &["--admin", &relay.admin]].concat());
    assert_eq!(code, Some(0), "{arguments:?}: {error}");
    said
}

/// The mapping that a merchant gets wrong: the order's id is not where it is looked for.
const WRONG: &str = "map.order = \"custom.order !\"\nmap.value = \"value\"";
const RIGHT: &str = "map.order = \"order_id !\"\nmap.value = \"value\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_is_mended_and_reloaded_is_what_a_replay_sends() {
    let ground = Ground::new(WRONG).await;
    ground.partner.relent();
    let relay = ground.serve();
    let id = ground.post(&relay, "order-7").await;
    let letter = ground.dead(&relay, 1).await["dead"][0].clone();
    assert_eq!((&letter["kind"], &letter["attempts"]), (&json!("unmappable"), &json!(0)));
    let body = json!({"destination": "partner", "plan": true});
    let plan = ground.bid(&relay, "/admin/dead/replay", &body).await.body;
    let replay = &plan["dead"][0]["replay"];
    assert_eq!((&replay["outcome"], &plan["dead"][0]["request"]), (&json!("unmappable"), &Value::Null));
    assert!(replay["reason"].as_str().unwrap().contains("order"), "the field is named: {replay}");
    assert_eq!(ground.partner.requests().len(), 0);

    ground.write(RIGHT);
    ground.reload(&relay).await;
    let plan = said(&relay, &["dead", "replay", "--destination", "partner", "--plan"]);
    assert!(plan.starts_with("1 dead letter\n") && plan.contains("sent") && plan.contains("EUR"), "{plan}");
    assert!(plan.contains(r#""order":"order-7""#) && plan.contains("authorization: Bearer ***"), "{plan}");
    assert!(!plan.contains("k3y-of-the-partner"), "{plan}");
    assert_eq!(ground.partner.requests().len(), 0, "a plan sends nothing");

    assert_eq!(said(&relay, &["dead", "replay", "--id", &id]).trim(), "1 replayed");
    let request = eventually("the request", async || ground.partner.requests().pop()).await;
    assert!(request.contains(r#""order":"order-7""#), "{request}");
    ground.dead(&relay, 0).await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_shows_whether_the_request_would_be_another_and_may_be_a_second_sale() {
    let refused = format!("{RIGHT}\ndelivered_when = \"body.status == 'fine'\"");
    let ground = Ground::new(&refused).await;
    ground.partner.relent();
    let relay = ground.serve();
    let id = ground.post(&relay, "order-7").await;
    ground.dead(&relay, 1).await;
    let path = format!("/admin/dead/partner/{id}");
    let before = ground.get(&relay, &path).await;
    assert_eq!((&before["replay"]["differs"], &before["replay"]["second_sale"]), (&json!(false), &json!(false)));
    assert_eq!(before["request"]["headers"]["authorization"], "Bearer ***", "{before}");
    assert_eq!(before["history"].as_array().unwrap().len(), 1);

    ground.write(&format!("{refused}\nmap.currency = \"currency\""));
    ground.reload(&relay).await;
    let after = ground.get(&relay, &path).await;
    assert_eq!((&after["replay"]["differs"], &after["request"]["body"]["currency"]), (&json!(true), &json!("EUR")));
    let shown = said(&relay, &["dead", "show", "partner", &id]);
    assert!(shown.contains("another request than was sent last") && shown.contains("rejected"), "{shown}");

    // Replayed at once, with the file as it is now.
    ground.write(RIGHT);
    ground.reload(&relay).await;
    assert_eq!(said(&relay, &["dead", "replay", "--contains", "STATUS 200"]).trim(), "1 replayed");
    ground.dead(&relay, 0).await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stands_over_a_crash_and_a_resume_ends_it() {
    let ground = Ground::new(RIGHT).await;
    let relay = ground.serve();
    let paused = said(&relay, &["pause", "partner", "--reason", "their maintenance"]);
    assert!(paused.starts_with("partner: paused since ") && paused.contains("(their maintenance)"), "{paused}");
    relay.kill();
    let relay = ground.serve();
    ground.partner.relent();
    let id = ground.post(&relay, "order-1").await;
    let held = eventually("held", async || {
        let status = ground.get(&relay, &format!("/admin/conversions/{id}")).await;
        (status["destinations"]["partner"]["state"] == "held").then_some(status)
    })
    .await;
    assert_eq!(held["destinations"]["partner"]["reason"], "their maintenance");
    let listed = said(&relay, &["destinations"]);
    assert!(listed.contains("paused") && listed.contains("their maintenance"), "{listed}");
    let (code, _, error) = run(&["probe", "partner", "--admin", &relay.admin]);
    assert_eq!(code, Some(1));
    assert!(error.contains("409") && error.contains("the destination is paused"), "{error}");
    assert_eq!(ground.partner.requests().len(), 0);

    assert!(said(&relay, &["resume", "partner"]).starts_with("partner: active since "));
    eventually("it is sent", async || ground.partner.has_taken().then_some(())).await;
    relay.kill();
    let relay = ground.serve();
    assert!(said(&relay, &["destinations", "partner"]).starts_with("partner: active since "));
    let changes = ground.get(&relay, "/admin/audit").await;
    let actions: Vec<_> =
        changes["audit"].as_array().unwrap().iter().map(|entry| (&entry["id"], &entry["action"])).collect();
    let expected = [(3, "resume"), (2, "probe"), (1, "pause")].map(|(id, action)| (json!(id), json!(action)));
    assert_eq!(actions, expected.iter().map(|(id, action)| (id, action)).collect::<Vec<_>>());
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_what_the_destination_answers_and_closes_its_breaker() {
    let ground = Ground::new(&format!("{RIGHT}\nretry = {{ first = \"10ms\", max = \"20ms\" }}")).await;
    let relay = ground.serve();
    ground.post(&relay, "order-1").await;
    eventually("the breaker opens", async || {
        let shown = ground.get(&relay, "/admin/destinations/partner").await;
        (shown["breaker"]["state"] == "open").then_some(())
    })
    .await;
    let near = said(&relay, &["destinations", "partner"]);
    assert!(near.contains("breaker      ") && near.contains("503"), "{near}");
    let (code, _, _) = run(&["probe", "partner", "--admin", &relay.admin]);
    assert_eq!(code, Some(1), "it does not work, or there was none to send");
    ground.partner.relent();
    // Which of the breaker's own probes and this one comes first is not for the test to say.
    let (code, said, error) = run(&["probe", "partner", "--admin", &relay.admin]);
    let taken = said.contains("delivered, status 200") && said.contains("partner: active");
    assert!(taken && code == Some(0) || error.contains("409"), "{said}{error}");
    eventually("it is closed", async || {
        let shown = ground.get(&relay, "/admin/destinations/partner").await;
        (shown["breaker"]["state"] == "closed").then_some(())
    })
    .await;
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_needs_a_reason_and_the_audit_log_keeps_it() {
    let ground = Ground::new(WRONG).await;
    let relay = ground.serve();
    let id = ground.post(&relay, "order-1").await;
    ground.dead(&relay, 1).await;
    let (code, _, error) = run(&["dead", "discard", "--id", &id, "--admin", &relay.admin]);
    assert_eq!(code, Some(2));
    assert!(error.contains("--reason"), "{error}");
    let plan = said(&relay, &["dead", "discard", "--id", &id, "--plan"]);
    assert!(plan.contains("unmappable"), "{plan}");
    assert_eq!(
        said(&relay, &["dead", "discard", "--order-id", "order-1", "--reason", "paid by hand"]).trim(),
        "1 discarded"
    );
    let listed = said(&relay, &["audit"]);
    assert!(listed.contains("discard") && listed.contains("1 of 1") && listed.contains("paid by hand"), "{listed}");
    assert!(listed.contains("loopback") && listed.contains("order_id=***"), "{listed}");
    let log = fs::read_to_string(ground.folder.path().join("queue/audit.ndjson")).unwrap();
    assert!(!log.contains("order-1") && log.lines().count() == 2, "{log}");
    assert_eq!(relay.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_written_down_on_stable_storage_before_it_is_made() {
    let ground = Ground::new(RIGHT).await;
    let trace = ground.folder.path().join("trace");
    let strace = ["strace", "-D", "-f", "-qq", "-y", "-o", trace.to_str().unwrap(), "-e", "trace=fdatasync,/^rename"];
    let relay = Process::wrapped(&strace, &ground.file);
    let answer = ground.bid(&relay, "/admin/destinations/partner/pause", &json!({})).await;
    assert_eq!((answer.status, &answer.body["state"]), (StatusCode::OK, &json!("paused")), "{}", answer.body);
    assert_eq!(relay.terminate(), Some(0));
    let trace = fs::read_to_string(trace).unwrap();
    let place = |call: &str, file: &str| {
        let found = trace.lines().position(|line| line.contains(call) && line.contains(file));
        found.unwrap_or_else(|| panic!("no {call} of {file}:\n{trace}"))
    };
    let (written_down, whole) = (place("fdatasync(", "audit.ndjson"), place("fdatasync(", "paused.json"));
    assert!(written_down < whole && whole < place("rename", "paused.json"), "{trace}");
}
