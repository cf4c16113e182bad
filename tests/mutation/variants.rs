//! How destinations use the presets: the first way says the most, the others leave out what may be left out.

pub(super) const THRAD: &[&str] = &[
    r#"
vars.tag_id = "tag-7"
secrets.api_key = "k-1"
"#,
    r#"
secrets.api_key = "k-2"
"#,
];

pub(super) const IMPACT: &[&str] = &[
    r#"
vars.account_sid = "IRsid"
vars.campaign_id = 1000
vars.event_type_id = 12345
vars.action_tracker_id = 54321
vars.adjust_by = "items"
secrets.auth_token = "k-1"
confirm = true
"#,
    r#"
vars.account_sid = "IRsid"
vars.campaign_id = 1000
vars.event_type_id = 12345
vars.event_type_code = "SALE"
vars.action_tracker_id = 54321
vars.encoding = "json"
secrets.auth_token = "k-1"
map."ItemSubTotal{i}" = ""
map."ItemTotalDiscount{i}" = ""
"#,
    r#"
vars.account_sid = "IRsid"
vars.campaign_id = 1000
vars.event_type_code = "SALE"
vars.event_type = "lead_created"
secrets.auth_token = "k-1"
"#,
];

pub(super) const SCALEO: &[&str] = &[
    r#"
expect_currency = "any"
vars.domain = "example.scaletrk.com"
vars.goal_id = 3
vars.goal_alias = "sale"
vars.timezone = "Europe/Berlin"
secrets.api_key = "k-1"
secrets.security_token = "k-2"
"#,
    r#"
expect_currency = "EUR"
vars.domain = "example.scaletrk.com"
vars.goal_alias = "sale"
secrets.api_key = "k-1"
secrets.security_token = "k-2"
"#,
    r#"
expect_currency = "EUR"
vars.domain = "example.scaletrk.com"
vars.event_type = "lead_created"
secrets.api_key = "k-1"
"#,
];

pub(super) const TRACKDESK: &[&str] = &[
    r#"
vars.tenant = "acme"
vars.conversion_type = "sale"
vars.revenue_origin_id = "ro-1"
secrets.api_key = "k-1"
"#,
    r#"
vars.tenant = "acme"
vars.conversion_type = "sale"
vars.event_type = "lead_created"
secrets.api_key = "k-1"
"#,
    r#"
vars.tenant = "acme"
vars.conversion_type = "sale"
"#,
];

pub(super) const DSP: &[&str] = &[r#"
vars.endpoint = "https://px.dsp.example/signal"
vars.advertiser_id = 12
vars.data_source_key = "abc"
secrets.token = "k-1"
"#];
