//! Every preset loads.

use super::*;
use crate::config::preset::Preset;
use crate::config::tree::Table;

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

/// The five that the relay was made for; the others may say of their fields what they like.
const FIVE: [&str; 5] = ["thrad", "impact", "scaleo", "trackdesk", "dsp"];

#[test]
fn a_preset_says_of_every_field_of_the_document_where_it_comes_from_or_why_not() {
    fn check(name: &str, operation: &Table) {
        let entries = |key| operation.table(key).map(|table| table.entries.as_slice()).unwrap_or_default();
        let set: Vec<&str> = entries("map").iter().map(|line| line.key.value.as_str()).collect();
        let five = FIVE.iter().any(|five| name.starts_with(five));
        assert!(!(five && entries("outputs").is_empty()), "{name} says nothing of its fields");
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

#[test]
fn a_var_of_a_preset_says_its_type_and_has_no_default_where_it_is_required() {
    #[track_caller]
    fn check(need: &str, expected: &str) {
        let preset = format!("url = \"https://px.example.com/{{vars.account}}\"\nmap.event = \"event_type\"\n{need}\n");
        let text = with("[destination.partner]\npreset = \"own\"\nvars.account = \"a-1\"\n");
        let source = Source { path: "routes.toml".into(), text, environment: &|_| None, sets: &[] };
        let found = Config::load_with_presets(source, &[("own", &preset)]);
        let said = found.map(|_| String::new()).unwrap_or_else(|report| report.located()[0].message.clone());
        assert_eq!(said, expected);
    }
    check("needs.vars.account = { type = \"text\", required = true }", "");
    check("needs.vars.account = { required = true }", "`type` is missing");
    check(
        "needs.vars.account = { type = \"text\", required = true, default = \"a\" }",
        "`account` is required, so its default would never be",
    );
}
