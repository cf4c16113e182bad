//! Every preset loads.

use super::*;
use crate::config::preset::Preset;
use crate::config::tree::Table;

/// The five built-in platforms, all set.
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
"#;

#[test]
fn every_preset_loads() {
    let config = right(&with(ALL));
    let names: Vec<&str> = config.destinations.iter().filter_map(|destination| destination.preset.as_deref()).collect();
    assert_eq!(names, presets().iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn a_preset_says_of_every_field_of_the_document_where_it_comes_from_or_why_not() {
    fn check(name: &str, operation: &Table) {
        let entries = |key| operation.table(key).map(|table| table.entries.as_slice()).unwrap_or_default();
        let set: Vec<&str> = entries("map").iter().map(|line| line.key.value.as_str()).collect();
        assert!(!entries("outputs").is_empty(), "{name} says nothing of its fields");
        for output in entries("outputs") {
            let (target, said) = (output.key.value.as_str(), output.node.value.as_table().unwrap());
            let below = |line: &&str| line.strip_prefix(target).is_some_and(|rest| rest.starts_with('.'));
            let part = target.split_once("[].").is_some_and(|(list, _)| set.contains(&list));
            let is_set = set.contains(&target) || set.iter().any(below) || part;
            assert_ne!(is_set, said.entry("unmapped").is_some(), "{name}: {target}");
            assert!(said.entry("doc").is_some(), "{name}: {target}");
        }
    }
    for (name, _) in presets() {
        let preset = Preset::built_in(name).unwrap();
        check(name, &preset.table);
        for operation in preset.table.table("operation").map(|table| table.entries.as_slice()).unwrap_or_default() {
            check(&format!("{name}: {}", operation.key.value), operation.node.value.as_table().unwrap());
        }
    }
}
