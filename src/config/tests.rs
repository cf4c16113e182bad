//! Tests of reading, faults and decisions.

mod certificates;
mod connections;
mod decisions;
mod any;
mod operations;
mod overlays;
mod quantities;
mod range;
mod reading;
mod references;
mod settings;
mod templates;
mod warnings;
mod presets;

use super::*;
use crate::mapping::{Scope, Secret};

/// A configuration with one merchant and these destinations.
pub(super) fn with(destinations: &str) -> String {
    format!("{HEAD}{destinations}")
}

/// The environment of these tests.
fn environment(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("token-from-the-environment".to_owned()),
        "NUMBER" => Some("12".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn load(text: &str) -> Result<Config, Report> {
    load_set(text, &[])
}

fn load_set(text: &str, sets: &[(&str, &str)]) -> Result<Config, Report> {
    let sets: Vec<_> = sets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Config::load(Source { path: "routes.toml".into(), text: text.to_owned(), environment: &environment, sets: &sets })
}

#[track_caller]
pub(super) fn right(text: &str) -> Config {
    load(text).unwrap_or_else(|report| panic!("{report}"))
}

/// The faults as `line:column message`.
#[track_caller]
pub(super) fn faults(text: &str) -> Vec<String> {
    let report = load(text).map(|_| ()).unwrap_err();
    let faults = report.located().iter().filter(|fault| fault.severity == Severity::Error);
    faults.map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.message)).collect()
}

/// Nine lines.
const HEAD: &str = r#"[server]
listen = "127.0.0.1:8443"
tls = { self_signed = true }
[queue]
path = "/var/lib/capi-relay"
[merchant.acme]
token_sha256 = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"


"#;

pub(super) const PARTNER: &str = r#"[destination.partner]
url = "https://px.example.com/events"
map.event = "event_type"
"#;
