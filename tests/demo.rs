//! The README's first command, as a user runs it, and the small commands beside it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use capi_relay::config::{Config, Source};
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_capi-relay")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_demo_delivers_every_sample_without_a_violation() {
    let output = run(&["demo"]);
    let page = text(&output);
    assert_eq!(output.status.code(), Some(0), "{page}{}", String::from_utf8_lossy(&output.stderr));
    assert!(page.contains("sandbox violations: 0"), "{page}");
    assert!(!page.contains("(not "), "{page}");
}

#[test]
fn the_demo_speaks_json_to_a_script() {
    let output = run(&["demo", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["violations"], 0);
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 30);
    for name in ["conversion", "destination", "verdict"] {
        assert!(results.iter().all(|result| result[name].is_string()), "{report:#}");
    }
    let verdicts = |verdict: &str| results.iter().filter(|result| result["verdict"] == verdict).count();
    assert_eq!(
        (verdicts("delivered"), verdicts("skipped"), verdicts("withheld"), verdicts("duplicate")),
        (12, 6, 5, 5),
        "{report:#}"
    );
    assert_eq!(verdicts("unsupported"), 2, "{report:#}");
}

#[test]
fn the_worked_example_loads_with_its_environment_alone() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let digest = "0".repeat(64);
    let environment = |name: &str| match name {
        "ACME_TOKEN_SHA256" => Some(digest.clone()),
        "IMPACT_CAMPAIGN_ID" | "IMPACT_EVENT_TYPE_ID" | "DSP_ADVERTISER_ID" => Some("1000".to_owned()),
        "SCALEO_DOMAIN" => Some("track.example.com".to_owned()),
        "DSP_ENDPOINT" => Some("https://px.dsp.example/signal/v1/conversion".to_owned()),
        other => Some(format!("value-of-{}", other.to_lowercase().replace('_', "-"))),
    };
    let config = Config::load(Source { path, text, environment: &environment, sets: &[] });
    let config = config.unwrap_or_else(|report| panic!("{report}"));
    for name in ["thrad", "impact", "scaleo", "trackdesk", "dsp"] {
        assert!(config.destination(name).is_some(), "no {name}");
    }
}

#[test]
fn render_prints_every_request_and_no_secret() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_capi-relay"));
    for name in ["THRAD_API_KEY", "IMPACT_AUTH_TOKEN", "SCALEO_API_KEY", "DSP_TOKEN", "PARTNER_TOKEN"] {
        command.env(name, format!("canary-{name}"));
    }
    for (name, value) in [
        ("IMPACT_ACCOUNT_SID", "IRsid"),
        ("IMPACT_CAMPAIGN_ID", "1000"),
        ("IMPACT_EVENT_TYPE_ID", "12345"),
        ("SCALEO_DOMAIN", "track.example.com"),
        ("TRACKDESK_TENANT", "acme"),
        ("DSP_ENDPOINT", "https://px.dsp.example/signal/v1/conversion"),
        ("DSP_ADVERTISER_ID", "12"),
        ("DSP_DATA_SOURCE_KEY", "abc123def456"),
    ] {
        command.env(name, value);
    }
    command.env("ACME_TOKEN_SHA256", "0".repeat(64));
    let routes = root.join("routes.toml");
    let mut child = command
        .args(["render", "-c", routes.to_str().unwrap(), "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let purchase = std::fs::read(root.join("src/cli/samples/purchase.json")).unwrap();
    child.stdin.take().unwrap().write_all(&purchase).unwrap();
    let output = child.wait_with_output().unwrap();
    let page = text(&output);
    assert_eq!(output.status.code(), Some(0), "{page}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "POST https://events.thrad.ai/api/conversion",
        "POST https://api.impact.com/Advertisers/IRsid/Conversions",
        "/api/v2/network/tracking/conv-click-id?api-key=***",
        ".trackdesk.com/tracking/conversion/v1",
        "Authorization: Bearer ***",
    ] {
        assert!(page.to_lowercase().contains(&line.to_lowercase()), "no `{line}` in\n{page}");
    }
    assert!(!page.contains("canary"), "{page}");
}

#[test]
fn exit_codes_say_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("routes.toml");
    std::fs::write(&broken, "[server]\nlisten = 1\n").unwrap();
    let broken = broken.to_str().unwrap();
    for (arguments, code) in [
        (vec!["check", "-c", broken], 1),
        (vec!["serve", "-c", broken], 64),
        (vec!["check", "-c", "/nowhere/routes.toml"], 1),
        (vec!["nonsense"], 2),
        (vec!["preset", "nonsense"], 2),
        (vec!["preset", "thrad"], 0),
        (vec!["preset"], 0),
        (vec!["schema"], 0),
        (vec!["schema", "--markdown"], 0),
        (vec!["token"], 0),
        (vec!["--version"], 0),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_readme_field_list_is_that_of_the_schema() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let table = text(&run(&["schema", "--markdown"]));
    assert!(readme.contains(table.trim()), "the README's field list is stale: paste `capi-relay schema --markdown`");
}

#[test]
fn the_readmes_whole_file_is_one_that_check_takes() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, behind) = readme.split_once("A whole `routes.toml`:\n\n```toml\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.toml");
    std::fs::write(&file, behind.split_once("```").unwrap().0).unwrap();
    let checked = run(&["check", "--no-secrets", "--config", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(checked.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_readme_tables_of_the_platforms_fields_are_those_of_the_presets() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for name in ["thrad", "impact", "scaleo", "trackdesk", "dsp"] {
        let table = text(&run(&["preset", name, "--fields"]));
        assert!(
            readme.contains(table.trim()),
            "the README's table is stale: paste `capi-relay preset {name} --fields`"
        );
    }
}
