//! Every preset loads.

use super::*;

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
