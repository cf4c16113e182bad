//! Every preset loads.

use super::*;
use crate::config::preset::Preset;
use crate::config::tree::{Entry, Table, Value};

/// Every preset, set.
pub(super) const ALL: &str = r#"
[destination.thrad]
preset = "thrad"
vars.tag_id = "tag-7"
secrets.api_key = "thrad-key"
[destination.impact]
preset = "impact"
vars.account_sid = "IRsid"
vars.campaign_id = 1000
vars.event_type_id = 12345
secrets.auth_token = "impact-token"
[destination.scaleo]
preset = "scaleo"
expect_currency = "EUR"
vars.domain = "example.scaletrk.com"
vars.goal_id = 3
secrets.api_key = "scaleo-key"
[destination.trackdesk]
preset = "trackdesk"
vars.tenant = "example"
vars.conversion_type = "sale"
[destination.trackdesk-get]
preset = "trackdesk-get"
vars.tenant = "example"
vars.conversion_type = "sale"
[destination.dsp]
preset = "dsp"
vars.endpoint = "https://px.dsp.com/signal/v1/conversion"
vars.advertiser_id = 12
vars.data_source_key = "abc123def456"
secrets.token = "dsp-token"
[destination.meta]
preset = "meta"
vars.pixel_id = "123456789012345"
secrets.access_token = "meta-token"
[destination.tiktok]
preset = "tiktok"
vars.pixel_code = "CABCDEFGHIJKLMNOPQRS"
secrets.access_token = "tiktok-token"
[destination.ga4]
preset = "ga4"
vars.measurement_id = "G-ABCDEF1234"
secrets.api_secret = "ga4-secret"
[destination.google-ads]
preset = "google-ads"
vars.customer_id = "1234567890"
vars.conversion_action_id = "555000111"
secrets.client_id = "google-client"
secrets.client_secret = "google-secret"
secrets.refresh_token = "google-token"
[destination.pinterest]
preset = "pinterest"
vars.ad_account_id = "549755885175"
secrets.conversion_token = "pinterest-token"
[destination.snap]
preset = "snap"
vars.pixel_id = "fcde1234-0000-4000-8000-000000000001"
secrets.access_token = "snap-token"
[destination.reddit]
preset = "reddit"
vars.pixel_id = "a2_abcdefghijkl"
secrets.conversion_token = "reddit-token"
[destination.linkedin]
preset = "linkedin"
vars.conversion_id = "104012"
secrets.client_id = "linkedin-client"
secrets.client_secret = "linkedin-secret"
secrets.refresh_token = "linkedin-token"
[destination.openai-ads]
preset = "openai-ads"
vars.pixel_id = "2atj5meVpvtJ5kCtqhG3yX"
secrets.api_key = "openai-key"
[destination.awin]
preset = "awin"
vars.advertiser_id = "12345"
secrets.api_key = "awin-key"
"#;

#[test]
fn every_preset_loads() {
    let config = right(&with(ALL));
    let names: Vec<&str> = config.destinations.iter().filter_map(|destination| destination.preset.as_deref()).collect();
    assert_eq!(names, presets().iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn a_preset_says_of_every_field_of_the_document_where_it_comes_from_or_why_not() {
    for (name, _) in presets() {
        let preset = Preset::built_in(name).unwrap();
        declares_every_field(name, &preset.table);
        for operation in preset.table.table("operation").map(|table| table.entries.as_slice()).unwrap_or_default() {
            let place = format!("{name}: {}", operation.key.value);
            declares_every_field(&place, operation.node.value.as_table().unwrap());
        }
    }
}

/// Of one operation: each field that it sends is declared with its type and its meaning, and each one that is declared is
/// sent, or says why not.
#[track_caller]
fn declares_every_field(place: &str, operation: &Table) {
    let entries = |key| operation.table(key).map(|table| table.entries.as_slice()).unwrap_or_default();
    let lines: Vec<&Entry> = entries("map").iter().chain(entries("query")).collect();
    let mut set: Vec<String> = lines.iter().map(|line| line.key.value.clone()).collect();
    for line in &lines {
        let Value::List(entries) = &line.node.value else { continue };
        let parts = entries.iter().filter_map(|entry| entry.value.as_table()).flat_map(|parts| &parts.entries);
        set.extend(parts.map(|part| format!("{}[].{}", line.key.value, part.key.value)));
    }
    let declared: Vec<&str> = entries("outputs").iter().map(|output| output.key.value.as_str()).collect();
    assert!(!declared.is_empty(), "{place} says nothing of its fields");
    for field in &set {
        assert!(declared.contains(&field.as_str()), "{place} sends {field} and says nothing of it");
    }
    for output in entries("outputs") {
        let (target, said) = (output.key.value.as_str(), output.node.value.as_table().unwrap());
        let below = |line: &String| line.strip_prefix(target).is_some_and(|rest| rest.starts_with(['.', '[']));
        let is_set = set.iter().any(|line| line == target || below(line));
        assert_ne!(is_set, said.entry("unmapped").is_some(), "{place}: {target}");
        assert!(said.entry("doc").is_some(), "{place}: {target}");
        assert!(said.entry("type").is_some() || target == "*", "{place}: {target}");
    }
}
