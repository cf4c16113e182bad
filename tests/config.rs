//! Broken configurations and what is said of them: people read the snapshots in review.

use capi_relay::config::{Config, Source};

const BROKEN: [&str; 12] = [
    "01-misspelt-keys",
    "02-wrong-types",
    "03-unknown-paths",
    "04-unknown-filters",
    "05-missing-secrets",
    "06-bad-urls",
    "07-conflicting-targets",
    "08-many",
    "09-syntax",
    "10-preset-needs",
    "11-literal-credentials",
    "12-auth",
];

/// What `${env:…}` finds in these tests. The value of a credential, which must be in no report.
const API_KEY: &str = "live-0123456789-from-the-environment";

fn environment(name: &str) -> Option<String> {
    match name {
        "API_KEY" => Some(API_KEY.to_owned()),
        "EMPTY" => Some(String::new()),
        "NOT_A_NUMBER" => Some("twelve-and-a-half".to_owned()),
        _ => None,
    }
}

/// What is said of it; nothing if it is right.
fn report(name: &str) -> std::io::Result<String> {
    let path = format!("{}/tests/config/broken/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path)?;
    let source = Source { path: "routes.toml".into(), text, environment: &environment, sets: &[] };
    Ok(Config::load(source).err().map(|report| report.to_string()).unwrap_or_default())
}

#[test]
fn every_fault_of_a_broken_configuration_is_shown_with_its_place_and_what_would_be_right() {
    for name in BROKEN {
        insta::with_settings!({snapshot_path => "config/broken", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, report(name).unwrap());
        });
    }
}

#[test]
fn no_report_shows_a_credential() {
    for name in BROKEN {
        let report = report(name).unwrap();
        for credential in [API_KEY, "-live-", "0123456789abcdef", "twelve-and-a-half", "user:secret"] {
            assert!(!report.contains(credential), "{name} shows {credential}:\n{report}");
        }
    }
}

#[test]
fn the_worked_example_loads_with_environment_variables_alone() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/routes.toml")).unwrap();
    let environment = |name: &str| {
        let value = match name {
            "ACME_TOKEN_SHA256" => "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
            "IMPACT_CAMPAIGN_ID" | "IMPACT_EVENT_TYPE_ID" | "DSP_ADVERTISER_ID" => "12",
            "SCALEO_DOMAIN" => "example.scaletrk.com",
            "TRACKDESK_TENANT" => "example",
            "DSP_ENDPOINT" => "https://px.dsp.com/signal/v1/conversion",
            "THRAD_API_KEY"
            | "IMPACT_ACCOUNT_SID"
            | "IMPACT_AUTH_TOKEN"
            | "SCALEO_API_KEY"
            | "DSP_DATA_SOURCE_KEY"
            | "DSP_TOKEN"
            | "PARTNER_TOKEN" => "x-1",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let source = Source { path: "routes.toml".into(), text, environment: &environment, sets: &[] };
    let config = Config::load(source).unwrap_or_else(|report| panic!("{report}"));
    insta::with_settings!({snapshot_path => "config", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("summary", config.summary().to_string());
    });
}
