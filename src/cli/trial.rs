//! What the repository's own `routes.toml` needs, so that its destinations are the stand-ins: for the demo, and for whoever
//! tries it by hand.

use super::token;
use crate::sandbox::{Accounts, Platform, Sandbox};

/// The variables that the file names; `token` is the merchant's.
pub(super) fn variables(accounts: &Accounts, token: &str) -> [(&'static str, String); 14] {
    [
        ("ACME_TOKEN_SHA256", token::digest(token)),
        ("THRAD_API_KEY", accounts.thrad_api_key.clone()),
        ("IMPACT_ACCOUNT_SID", accounts.impact_account_sid.clone()),
        ("IMPACT_AUTH_TOKEN", accounts.impact_auth_token.clone()),
        ("IMPACT_CAMPAIGN_ID", "1000".to_owned()),
        ("IMPACT_EVENT_TYPE_ID", "12345".to_owned()),
        ("SCALEO_DOMAIN", "track.example.com".to_owned()),
        ("SCALEO_API_KEY", accounts.scaleo_api_key.clone()),
        ("TRACKDESK_TENANT", "acme".to_owned()),
        ("DSP_ENDPOINT", format!("https://px.dsp.example{DSP_PATH}")),
        ("DSP_ADVERTISER_ID", "12".to_owned()),
        ("DSP_DATA_SOURCE_KEY", "abc123def456".to_owned()),
        ("DSP_TOKEN", accounts.dsp_token.clone()),
        // Loaded with the rest of the file, and sent nothing: it has no stand-in.
        ("PARTNER_TOKEN", "token-of-partner".to_owned()),
    ]
}

/// What is laid over the file: the stand-ins in the platforms' places, and what the worked example leaves to whoever sends
/// refunds.
pub(super) fn sets(accounts: &Accounts, sandbox: &Sandbox) -> Vec<(String, String)> {
    let mut sets: Vec<(String, String)> = [
        ("destination.impact.vars.action_tracker_id", "12345".to_owned()),
        ("destination.scaleo.secrets.security_token", accounts.scaleo_security_token.clone()),
        ("destination.trackdesk.secrets.api_key", accounts.trackdesk_api_key.clone()),
        ("merchant.acme.destinations", format!("{:?}", Platform::ALL.map(Platform::name))),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec();
    for platform in Platform::ALL {
        let key = format!("destination.{}.origin", platform.name());
        sets.push((key, format!("http://{}", sandbox.address(platform))));
    }
    sets
}

/// The platform whose contract a preset speaks, where it has a stand-in.
pub(super) fn platform(preset: &str) -> Option<Platform> {
    match preset {
        "trackdesk-get" => Some(Platform::Trackdesk),
        other => Platform::ALL.into_iter().find(|platform| platform.name() == other),
    }
}

/// What a destination of that platform needs, so that its stand-in takes what it is sent: keys and values.
pub(super) fn values(accounts: &Accounts, platform: Platform) -> Vec<(&'static str, String)> {
    match platform {
        Platform::Thrad => vec![("secrets.api_key", accounts.thrad_api_key.clone())],
        Platform::Impact => vec![
            ("vars.account_sid", accounts.impact_account_sid.clone()),
            ("vars.action_tracker_id", "12345".to_owned()),
            ("secrets.auth_token", accounts.impact_auth_token.clone()),
        ],
        Platform::Scaleo => vec![
            ("vars.domain", "track.example.com".to_owned()),
            ("secrets.api_key", accounts.scaleo_api_key.clone()),
            ("secrets.security_token", accounts.scaleo_security_token.clone()),
        ],
        Platform::Trackdesk => {
            vec![("vars.tenant", "acme".to_owned()), ("secrets.api_key", accounts.trackdesk_api_key.clone())]
        }
        Platform::Dsp => vec![
            ("vars.endpoint", format!("https://px.dsp.example{DSP_PATH}")),
            ("vars.advertiser_id", "12".to_owned()),
            ("secrets.token", accounts.dsp_token.clone()),
        ],
    }
}

/// Where the DSP's contract has its endpoint; `origin` keeps it.
pub(super) const DSP_PATH: &str = "/signal/v1/conversion";
