//! Reload: a corrected file comes into force without a restart; a wrong one, or a golden that fails, does not.

use std::io::Write;
use std::path::Path;

use capi_relay::cli::Relay;
use capi_relay::config::Succession;
use capi_relay::conversion::DestinationName;
use capi_relay::queue::Clock;
use capi_relay::sandbox::{Behaviour, Platform};
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::process::{Opening, Process, pipe, run, started};
use crate::support::{Answer, Bench, Http, config, conversion, eventually, impatient, routes};

const BACKLOG: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_url_drains_the_backlog_without_loss_or_duplicate() {
    let mut bench = Bench::start("").await;
    let right = routes(&bench.sandbox, &bench.folder.path().join("queue"), "");
    let dsp = format!("http://{}", bench.sandbox.address(Platform::Dsp));
    let wrong = right.replace(&format!("origin = \"{dsp}\""), "origin = \"http://127.0.0.1:9\"");
    assert_ne!(right, wrong);
    assert_eq!(bench.relay.reload(config(&wrong)).unwrap().version, 2);

    for number in 0..BACKLOG {
        assert_eq!(bench.post(&conversion(&format!("o{number}"))).await.status, StatusCode::ACCEPTED);
    }
    eventually("the others have all of them", async || {
        (bench.sandbox.counts(Platform::Scaleo).effects == BACKLOG).then_some(())
    })
    .await;
    assert_eq!(bench.sandbox.counts(Platform::Dsp).effects, 0);

    assert_eq!(bench.relay.reload(config(&right)).unwrap().version, 3);
    eventually("dsp has caught up", async || (bench.sandbox.counts(Platform::Dsp).effects == BACKLOG).then_some(()))
        .await;
    for platform in Platform::ALL {
        let counts = bench.sandbox.counts(platform);
        assert_eq!((counts.effects, counts.requests), (BACKLOG, BACKLOG), "{}", platform.name());
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_in_hand_end_as_they_began() {
    let mut bench = Bench::start_as(|routes| impatient(&routes, "scaleo")).await;
    bench.sandbox.script(Platform::Scaleo, Behaviour::Hang);
    let id = bench.post(&conversion("o1")).await.id();
    eventually("it hangs", async || (bench.sandbox.counts(Platform::Scaleo).requests == 1).then_some(())).await;
    let text = routes(&bench.sandbox, &bench.folder.path().join("queue"), "");
    let changed = text.replace("vars.domain = \"track.example\"", "vars.domain = \"other.example\"");
    bench.sandbox.script(Platform::Scaleo, Behaviour::Document);
    bench.relay.reload(config(&changed)).unwrap();
    // What hangs is judged by what it was sent with: nothing deduplicates at Scaleo, so it is not repeated.
    let status = bench.settled(&id, &["scaleo"]).await;
    assert_eq!(status["destinations"]["scaleo"]["state"], "dead", "{status}");
    let next = bench.post(&conversion("o2")).await.id();
    assert_eq!(bench.settled(&next, &["scaleo"]).await["destinations"]["scaleo"]["state"], "delivered");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_destination_that_is_gone_is_held_and_goes_on_when_it_is_back() {
    let mut bench = Bench::start("").await;
    bench.sandbox.script(
        Platform::Dsp,
        Behaviour::Answer { status: 503, headers: Vec::new(), body: String::new(), times: None },
    );
    let id = bench.post(&conversion("o1")).await.id();
    let with = routes(&bench.sandbox, &bench.folder.path().join("queue"), "");
    let without = with.split("[destination.dsp]").next().unwrap().to_owned();
    let dsp = DestinationName::parse("dsp").unwrap();
    bench.relay.reload_without(config(&without), &[dsp]).unwrap();
    let held = eventually("held", async || {
        let status = bench.status(&id).await;
        (status["destinations"]["dsp"]["state"] == "held").then_some(status)
    })
    .await;
    assert_eq!(held["destinations"]["dsp"]["reason"], "the destination is no longer configured");
    let later = bench.post(&conversion("o2")).await;
    assert_eq!(later.body["destinations"]["dsp"], Value::Null, "{}", later.body);

    bench.sandbox.script(Platform::Dsp, Behaviour::Document);
    bench.relay.reload(config(&with)).unwrap();
    assert_eq!(bench.settled(&id, &["dsp"]).await["destinations"]["dsp"]["state"], "delivered");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_paused_stays_paused_and_what_did_not_change_goes_on_as_it_was() {
    let mut bench = Bench::start("").await;
    bench.relay.pools().pause("dsp", "for the test".to_owned()).unwrap();
    bench.relay.pools().pause("thrad", "for the test".to_owned()).unwrap();
    let text = routes(&bench.sandbox, &bench.folder.path().join("queue"), "");
    bench.relay.reload(config(&text.replace("advertiser_id = 12", "advertiser_id = 13"))).unwrap();
    let id = bench.post(&conversion("o1")).await.id();
    let status = bench.settled(&id, &["impact", "scaleo", "trackdesk"]).await;
    for name in ["dsp", "thrad"] {
        assert_eq!(status["destinations"][name]["state"], "held", "{name}");
        assert!(bench.relay.pools().resume(name).is_some());
    }
    bench.settled(&id, &["dsp", "thrad"]).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merchants_come_and_go_and_keep_their_rate() {
    let sandbox = capi_relay::sandbox::Sandbox::start(Default::default(), 0).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let text = routes(&sandbox, &folder.path().join("queue"), "")
        .replace("[merchant.acme]", "[merchant.acme]\nrate = \"3/h\"\nburst = 3");
    let mut relay = Relay::start(config(&text), Clock::system()).await.unwrap();
    let (http, url) = (Http::new(), format!("http://{}/v1/conversions", relay.public()));
    let post = async |order: &str| http.post(&url, conversion(order).to_string()).await.status;
    assert_eq!(post("o1").await, StatusCode::ACCEPTED);
    relay.reload(config(&text.replace("[merchant.acme]", "[merchant.other]\ntoken_sha256 = \"00000000000000000000000000000000000000000000000000000000000000ff\"\n[merchant.acme]"))).unwrap();
    assert_eq!([post("o2").await, post("o3").await, post("o4").await], [202, 202, 429]);
    relay
        .reload(config(
            &text.replace("[merchant.acme]", "[merchant.renamed]").replace("rate = \"3/h\"", "rate = \"9/h\""),
        ))
        .unwrap();
    assert_eq!(post("o5").await, StatusCode::ACCEPTED);
    relay.stop().await.unwrap();
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_at_start_only_is_refused_in_words() {
    let mut bench = Bench::start("").await;
    let text = routes(&bench.sandbox, &bench.folder.path().join("queue"), "");
    let refused = |text: String| config(&text);
    for (section, changed) in [
        ("[server]", text.replace("drain_timeout = \"10s\"", "drain_timeout = \"11s\"")),
        ("[queue]", text.replace("min_free_bytes = \"1MiB\"", "min_free_bytes = \"2MiB\"")),
    ] {
        let error = bench.relay.reload(refused(changed)).unwrap_err().to_string();
        assert!(error.contains(section) && error.contains("restart"), "{error}");
    }
    let unknown = DestinationName::parse("nowhere").unwrap();
    assert!(bench.relay.pools().resume(unknown.as_str()).is_none());
    bench.stop().await;
}

/// `POST /admin/reload` of a running process.
async fn reload(http: &Http, relay: &Process) -> Answer {
    http.call(Method::POST, &format!("{}/admin/reload", relay.admin), &[], "").await
}

/// Waits until the metrics of a running process hold this line.
async fn shows(http: &Http, relay: &Process, line: &str) {
    eventually(line, async || {
        let metrics = http.call(Method::GET, &format!("{}/metrics", relay.admin), &[], "").await;
        metrics.body.as_str()?.lines().any(|shown| shown == line).then_some(())
    })
    .await;
}

/// The currency that Scaleo is given: what differs between the files below.
fn write(file: &Path, text: &str, currency: &str, golden: &str) {
    let text = text.replace("expect_currency = \"EUR\"", &format!("expect_currency = \"{currency}\""));
    std::fs::write(file, text + golden).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_or_a_failing_golden_keeps_the_old_configuration_in_force() {
    let (sandbox, folder, file) = started().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let relay = Process::serve(&file);
    let http = Http::new();
    let scaleo = async |order: &str| {
        let url = format!("{}/v1/conversions", relay.origin);
        http.post(&url, conversion(order).to_string()).await.body["destinations"]["scaleo"].clone()
    };
    assert_eq!(scaleo("o1").await, "queued");

    // At once: with the other currency alone it would be right, and the relay looks at it by itself.
    write(&file, &text.replace("preset = \"dsp\"", "preset = \"dps\""), "USD", "");
    let answer = reload(&http, &relay).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.body["type"], "urn:capi-relay:problem:configuration-refused");
    let report = answer.body["detail"].as_str().unwrap();
    assert!(report.contains("there is no preset `dps`") && report.contains("did you mean `dsp`"), "{report}");
    assert_eq!(scaleo("o2").await, "queued");
    // Whoever asks finds it by the file that it goes on without, too.
    let own = format!("admin = \"{}\"", relay.admin.trim_start_matches("http://"));
    let wrong = text.replace("admin = \"127.0.0.1:0\"", &own).replace("preset = \"dsp\"", "preset = \"dps\"");
    assert_ne!(wrong, text);
    let beside = folder.path().join("beside.toml");
    for text in [&wrong, &format!("{wrong}\n[")] {
        std::fs::write(&beside, text).unwrap();
        for command in ["health", "destinations"] {
            let (code, _, error) = run(&[command, "-c", beside.to_str().unwrap()]);
            assert_eq!(code, Some(0), "{command}: {error}");
        }
    }

    std::fs::write(folder.path().join("case.json"), conversion("golden").to_string()).unwrap();
    let case = "\n[[destination.scaleo.golden]]\nconversion = \"case.json\"\noutcome = \"OUTCOME\"\n";
    write(&file, &text, "USD", &case.replace("OUTCOME", "unsupported"));
    let answer = reload(&http, &relay).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.body);
    let report = answer.body["detail"].as_str().unwrap();
    assert!(report.contains("1 of 1 goldens failed") && report.contains("skipped"), "{report}");
    assert_eq!(scaleo("o3").await, "queued");

    write(&file, &text, "USD", &case.replace("OUTCOME", "skipped"));
    let answer = reload(&http, &relay).await;
    assert_eq!((answer.status, &answer.body["status"]), (StatusCode::OK, &Value::from("reloaded")));
    assert_eq!(scaleo("o4").await, "skipped");
    let metrics = http.call(Method::GET, &format!("{}/metrics", relay.admin), &[], "").await;
    let metrics = metrics.body.as_str().unwrap();
    assert!(metrics.contains("capi_relay_config_reloads_total{result=\"refused\"}"), "{metrics}");

    // Another site's page may not.
    let foreign = [("origin", "https://evil.example")];
    let answer = http.call(Method::POST, &format!("{}/admin/reload", relay.admin), &foreign, "").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let log = relay.terminate_with_log();
    let line = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        line(&["fault in the configuration", "fault=\"there is no preset `dps`\"", "help=\"did you mean `dsp`?\""]),
        "{log}"
    );
    assert!(line(&["reason=\"1 fault\"", "the one before stays in force"]), "{log}");
    assert!(line(&["golden fails", "destination=\"scaleo\"", "reason=\"expected unsupported, got skipped: "]), "{log}");
    assert!(line(&["reason=\"1 of 1 goldens failed\"", "the one before stays in force"]), "{log}");
    assert!(!log.contains("\\n"), "{log}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_names_the_destinations_that_it_changes() {
    let mut bench = Bench::start("").await;
    let text = routes(&bench.sandbox, &bench.folder.path().join("queue"), "");
    let other =
        text.replace("advertiser_id = 12", "advertiser_id = 13").replace("destination.thrad", "destination.own");
    let mut changes = |text: &str| {
        let Succession { added, removed, changed, unchanged } = bench.relay.reload(config(text)).unwrap().destinations;
        let names =
            |names: Vec<DestinationName>| names.iter().map(DestinationName::as_str).collect::<Vec<_>>().join(", ");
        (names(added), names(removed), names(changed), unchanged)
    };
    let named = |added: &str, removed: &str, changed: &str, unchanged| {
        (added.to_owned(), removed.to_owned(), changed.to_owned(), unchanged)
    };
    assert_eq!(changes(&other), named("own", "thrad", "dsp", 3));
    assert_eq!(changes(&text), named("thrad", "own", "dsp", 3));
    assert_eq!(changes(&format!("# a word\n{text}")), named("", "", "", 5));
    bench.stop().await;

    let (sandbox, _folder, file) = started().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let relay = Process::serve(&file);
    write(&file, &text.replace("destination.thrad", "destination.own"), "USD", "");
    shows(&Http::new(), &relay, "capi_relay_config_version 2").await;
    let log = relay.terminate_with_log();
    let line = log.lines().find(|line| line.contains("configuration reloaded")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.ends_with(r#"added="own" removed="thrad" changed="scaleo" unchanged=3"#), "{line}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_the_routes_name_are_watched_as_they_are() {
    let (sandbox, folder, file) = started().await;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let root = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert.pem();
    write("currency", "EUR\n");
    write("ca.pem", &root());
    let text = std::fs::read_to_string(&file).unwrap();
    let ours = "expect_currency = \"${file:currency}\"\nca_file = \"ca.pem\"";
    std::fs::write(&file, text.replace("expect_currency = \"EUR\"", ours)).unwrap();
    let relay = Process::serve(&file);
    let http = Http::new();
    let scaleo = async |order: &str| {
        let url = format!("{}/v1/conversions", relay.origin);
        http.post(&url, conversion(order).to_string()).await.body["destinations"]["scaleo"].clone()
    };
    assert_eq!(scaleo("o1").await, "queued");
    write("currency", "USD\n");
    shows(&http, &relay, "capi_relay_config_version 2").await;
    assert_eq!(scaleo("o2").await, "skipped");
    write("ca.pem", "no certificate");
    shows(&http, &relay, "capi_relay_config_reloads_total{result=\"refused\"} 1").await;
    write("ca.pem", &root());
    shows(&http, &relay, "capi_relay_config_version 3").await;

    // A golden that fails is watched too: mended in its own file, it lets the routes file through.
    write("case.json", &conversion("golden").to_string());
    let golden = "\n[[destination.scaleo.golden]]\nconversion = \"case.json\"\noutcome = \"withheld\"\n";
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + golden).unwrap();
    shows(&http, &relay, "capi_relay_config_reloads_total{result=\"refused\"} 2").await;
    let mut refused = conversion("golden");
    refused["consent"] = serde_json::json!({"tracking": false});
    write("case.json", &refused.to_string());
    shows(&http, &relay, "capi_relay_config_version 4").await;
    let log = relay.terminate_with_log();
    for told in ["currency changed", "ca.pem changed", "`ca_file` holds no certificate", "case.json changed"] {
        assert!(log.contains(told), "{told}: {log}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_refused_once_and_read_when_it_is_back() {
    let (sandbox, folder, file) = started().await;
    let relay = Process::serve(&file);
    let http = Http::new();
    let aside = folder.path().join("aside.toml");
    std::fs::rename(&file, &aside).unwrap();
    shows(&http, &relay, "capi_relay_config_reloads_total{result=\"refused\"} 1").await;
    let answer = reload(&http, &relay).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let report = answer.body["detail"].as_str().unwrap();
    assert!(report.contains("routes.toml cannot be read"), "{report}");
    let url = format!("{}/v1/conversions", relay.origin);
    assert_eq!(http.post(&url, conversion("o1").to_string()).await.status, StatusCode::ACCEPTED);

    std::fs::rename(&aside, &file).unwrap();
    shows(&http, &relay, "capi_relay_config_version 2").await;
    shows(&http, &relay, "capi_relay_config_reloads_total{result=\"refused\"} 2").await;
    let log = relay.terminate_with_log();
    assert_eq!(log.matches("routes.toml is gone").count(), 1, "{log}");
    assert!(log.contains("routes.toml changed"), "{log}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_and_sighup_reload_and_a_flag_turns_the_gate_off() {
    let (sandbox, folder, file) = started().await;
    let text = std::fs::read_to_string(&file).unwrap();
    let relay = Process::serve_with(&file, &["--no-goldens"]);
    let http = Http::new();
    let version = async |expected: u64| {
        eventually(&format!("version {expected}"), async || {
            let metrics = http.call(Method::GET, &format!("{}/metrics", relay.admin), &[], "").await;
            metrics.body.as_str()?.contains(&format!("capi_relay_config_version {expected}\n")).then_some(())
        })
        .await;
    };
    version(1).await;
    std::fs::write(folder.path().join("case.json"), conversion("golden").to_string()).unwrap();
    let case = "\n[[destination.scaleo.golden]]\nconversion = \"case.json\"\noutcome = \"unsupported\"\n";
    write(&file, &text, "USD", case);
    version(2).await;
    relay.hangup();
    version(3).await;
    assert_eq!(relay.terminate(), Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sighup_while_the_relay_starts_is_one_reload_once_it_serves() {
    let (sandbox, folder, file) = started().await;
    assert_eq!(Process::serve(&file).terminate(), Some(0));
    // Each is held back once: the relay waits for it, and the test knows that it does.
    for (held, named) in [(folder.path().join("queue/state"), "the folder's state"), (file.clone(), "the routes file")]
    {
        let aside = held.with_extension("aside");
        std::fs::rename(&held, &aside).unwrap();
        pipe(&held);
        let opening = Opening::begin(&[], &file, &[], "info");
        let mut waited_for = std::fs::OpenOptions::new().write(true).open(&held).unwrap();
        opening.hangup();
        waited_for.write_all(&std::fs::read(&aside).unwrap()).unwrap();
        std::fs::rename(&aside, &held).unwrap();
        drop(waited_for);
        let relay = opening.come().unwrap_or_else(|ended| panic!("{named}: {ended:?}"));
        shows(&Http::new(), &relay, "capi_relay_config_version 2").await;
        let log = relay.terminate_with_log();
        assert_eq!(log.matches("configuration reloaded cause=\"SIGHUP\"").count(), 1, "{named}: {log}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_changed_with_both_valid_meanwhile() {
    let digest = |token: &str| format!("{:?}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(token)));
    let mut bench = Bench::start_as(|routes| admin_tokens(&routes, &digest("admin-old"))).await;
    let text = routes(&bench.sandbox, &bench.folder.path().join("queue"), "");
    let with = |merchant: &str, admin: &str| {
        config(&admin_tokens(&text, admin).replace(&digest(crate::support::TOKEN), merchant))
    };
    let posted = async |bench: &Bench, token: &str, order: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let body = conversion(order).to_string();
        bench.http.call(Method::POST, &bench.url("/v1/conversions"), &headers, &body).await.status.as_u16()
    };
    let asked = async |bench: &Bench, token: &str| {
        let url = format!("http://{}/admin/destinations", bench.relay.admin());
        bench.http.call(Method::GET, &url, &[("authorization", &format!("Bearer {token}"))], "").await.status.as_u16()
    };
    let old = crate::support::TOKEN;
    assert_eq!([posted(&bench, old, "o1").await, posted(&bench, "new", "o2").await], [202, 401]);
    let both = |one: &str, other: &str| format!("[{}, {}]", digest(one), digest(other));
    bench.relay.reload(with(&both(old, "new"), &both("admin-old", "admin-new"))).unwrap();
    assert_eq!([posted(&bench, old, "o3").await, posted(&bench, "new", "o4").await], [202, 202]);
    assert_eq!([asked(&bench, "admin-old").await, asked(&bench, "admin-new").await], [200, 200]);
    let mut ear = tokio::net::TcpStream::connect(bench.relay.admin()).await.unwrap();
    let listen =
        "GET /admin/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer admin-old\r\n\r\n";
    ear.write_all(listen.as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    ear.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    bench.relay.reload(with(&digest("new"), &digest("admin-new"))).unwrap();
    let mut rest = Vec::new();
    let end = tokio::time::timeout(std::time::Duration::from_secs(60), ear.read_to_end(&mut rest)).await;
    end.unwrap_or_else(|_| panic!("who listens by a token that is taken out is let go")).unwrap();
    assert_eq!([posted(&bench, old, "o5").await, posted(&bench, "new", "o6").await], [401, 202]);
    assert_eq!([asked(&bench, "admin-old").await, asked(&bench, "admin-new").await], [401, 200]);
    // Without any, whoever is on this machine may ask: that is another listener than the one that was started.
    assert!(bench.relay.reload(config(&text)).is_err());
    bench.stop().await;
}

fn admin_tokens(routes: &str, digests: &str) -> String {
    routes.replace("admin = ", &format!("admin_token_sha256 = {digests}\nadmin = "))
}
