//! Canaries in every credential and in personal fields: none comes out in a log, a metric, a problem or a listing.

use capi_relay::sandbox::{Accounts, Behaviour, Platform};
use http::Method;
use serde_json::{Value, json};

use crate::support::process::{Process, started};
use crate::support::{Http, TOKEN, conversion, eventually};

/// What no output may hold.
fn canaries() -> Vec<String> {
    let accounts = Accounts::default();
    let credentials = [
        TOKEN.to_owned(),
        accounts.thrad_api_key,
        accounts.impact_auth_token,
        accounts.scaleo_api_key,
        accounts.dsp_token,
        "wrong-token-canary".to_owned(),
    ];
    let personal = ["canary@example.com", "CanaryName", "+4930555000111", "198.51.100.77", "canary-street"];
    credentials.into_iter().chain(personal.map(str::to_owned)).collect()
}

/// A conversion full of them.
fn personal() -> Value {
    let mut personal = conversion("order-1");
    personal["customer"] = json!({
        "id": "c1", "email": "canary@example.com", "first_name": "CanaryName", "phone": "+4930555000111",
        "address": "canary-street"
    });
    personal["device"] = json!({ "ip": "198.51.100.77" });
    personal
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_repeats_a_persons_data_is_heard_in_the_dead_letter_and_not_in_the_log() {
    let (sandbox, _folder, file) = started().await;
    let echo = "no click of canary@example.com, CanaryName, 198.51.100.77";
    let refuse = Behaviour::Answer { status: 404, headers: Vec::new(), body: echo.to_owned(), times: None };
    sandbox.script(Platform::Thrad, refuse);
    let relay = Process::traced(&file);
    let http = Http::new();
    let id = http.post(&format!("{}/v1/conversions", relay.origin), personal().to_string()).await.id();
    let page = format!("{}/admin/dead", relay.admin);
    let dead = eventually("a dead letter", async || {
        let dead = http.call(Method::GET, &page, &[], "").await.body;
        dead["dead"].get(0).cloned()
    })
    .await;
    assert_eq!((&dead["destination"], &dead["last"]["excerpt"]), (&json!("thrad"), &json!(echo)));
    let log = relay.terminate_with_log();
    let line = log.lines().find(|line| line.contains("dead letter")).unwrap_or_else(|| panic!("{log}"));
    for told in ["destination=thrad", "operation=\"conversion\"", &id, "Rejected", "404", "status 404 Not Found"] {
        assert!(line.contains(told), "{told}: {line}");
    }
    for canary in canaries() {
        assert!(!log.contains(&canary), "`{canary}` came out:\n{log}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_and_no_personal_datum_comes_out_anywhere() {
    let (sandbox, _folder, file) = started().await;
    // Platforms that echo what they were sent, in every kind of answer.
    let accounts = Accounts::default();
    let echo = |status, secret: &str| Behaviour::Answer {
        status,
        headers: vec![("x-echo".to_owned(), secret.to_owned())],
        body: format!("{{\"status\":\"error\",\"message\":\"your key {secret} is known\"}}"),
        times: None,
    };
    sandbox.script(Platform::Thrad, echo(404, &accounts.thrad_api_key));
    sandbox.script(Platform::Impact, echo(401, &accounts.impact_auth_token));
    sandbox.script(Platform::Scaleo, echo(503, &accounts.scaleo_api_key));
    sandbox.script(Platform::Dsp, Behaviour::Reset);

    let relay = Process::traced(&file);
    let http = Http::new();
    let url = format!("{}/v1/conversions", relay.origin);
    let json_type = ("content-type", "application/json");
    let mut outputs = Vec::new();
    let personal = personal();
    let accepted = http.post(&url, personal.to_string()).await;
    let id = accepted.id();
    outputs.push(accepted.body.to_string());
    outputs.push(http.post(&url, personal.to_string()).await.body.to_string());
    // Refused in every way: the problem never repeats the value.
    let mut wrong = personal.clone();
    wrong["customer"]["email"] = json!("canary@example.com canary@example.com");
    wrong["customer"]["frist_name"] = json!("CanaryName");
    wrong["device"]["ip"] = json!("198.51.100.77.1");
    outputs.push(http.post(&url, wrong.to_string()).await.body.to_string());
    let broken = "{\"customer\":{\"first_name\":\"CanaryName".to_owned();
    outputs.push(http.post(&url, broken).await.body.to_string());
    let stranger = [json_type, ("authorization", "Bearer wrong-token-canary")];
    outputs.push(http.call(Method::POST, &url, &stranger, "{}").await.body.to_string());

    let status = eventually("every destination has answered", async || {
        let status = http.call(Method::GET, &format!("{url}/{id}"), &[], "").await.body;
        let tried = |name: &str| !status["destinations"][name]["last"].is_null();
        ["thrad", "impact", "scaleo", "trackdesk", "dsp"].into_iter().all(tried).then_some(status)
    })
    .await;
    assert!(status.to_string().contains("***"), "nothing was echoed, so nothing was shown: {status:#}");
    outputs.push(status.to_string());
    for path in ["/metrics", "/admin/dead", "/admin/destinations", &format!("/admin/conversions/{id}")] {
        let answer = http.call(Method::GET, &format!("{}{path}", relay.admin), &[], "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        outputs.push(answer.body.to_string());
    }
    let log = relay.terminate_with_log();
    assert!(log.contains("attempt ended"), "the log is not that of debug level:\n{log}");
    outputs.push(log);
    for canary in canaries() {
        for output in &outputs {
            let at = output.find(&canary);
            let around = at.map(|at| output.chars().skip(at.saturating_sub(200)).take(400).collect::<String>());
            assert_eq!(around, None, "`{canary}` came out");
        }
    }
    sandbox.stop().await;
}
