//! `sandbox`: the five stand-ins alone, for a merchant's own trials.

use super::samples::SHORT;
use super::trial::{self, DSP_PATH};
use super::{DONE, NO, client, output, signals};
use crate::sandbox::{Accounts, Platform, Sandbox};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// The first of five ports on 127.0.0.1
    #[arg(long, default_value_t = 9101)]
    port: u16,
}

pub(super) fn command(args: &SandboxArgs) -> u8 {
    match client::block_on(run(args.port)) {
        Ok(0) => DONE,
        Ok(_) => NO,
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

/// Runs until a signal; the number of breaches of the vendors' documents.
async fn run(port: u16) -> Result<u64, String> {
    let accounts = Accounts::default();
    let sandbox = Sandbox::start(accounts.clone(), port)
        .await
        .map_err(|error| format!("cannot listen on 127.0.0.1:{port} and the four ports after it: {error}"))?;
    let rows: Vec<Vec<String>> = Platform::ALL
        .iter()
        .map(|platform| {
            let origin = format!("http://{}", sandbox.address(*platform));
            vec![platform.name().to_owned(), origin, credential(&accounts, *platform)]
        })
        .collect();
    output::line(&output::table(&["platform", "origin", "credential"], &rows));
    output::line(&pasteable(&accounts, &sandbox));
    signals::ended().await?;
    let counted: Vec<_> = Platform::ALL.iter().map(|platform| (*platform, sandbox.counts(*platform))).collect();
    for (platform, counts) in &counted {
        let requests = output::counted(counts.requests, "request");
        let effects = output::counted(counts.effects, "conversion");
        let violations = output::counted(counts.violations, "violation");
        output::line(&format!("{}: {requests}, {effects}, {violations}", platform.name()));
    }
    sandbox.stop().await;
    Ok(counted.iter().map(|(_, counts)| counts.violations).sum())
}

/// All that a trial needs, to be pasted into a shell beside the repository's `routes.toml`.
fn pasteable(accounts: &Accounts, sandbox: &Sandbox) -> String {
    let variables = trial::variables(accounts, TOKEN);
    let mut text =
        "\n# Paste into another terminal, where routes.toml is: its destinations are then the stand-ins.\n".to_owned();
    text.extend(variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")));
    text.push_str("capi-relay serve --set queue.path=\"$(mktemp -d)\"");
    text.extend(trial::sets(accounts, sandbox).iter().map(|(key, value)| format!(" \\\n  --set '{key}={value}'")));
    text.push_str("\n\n# Into a third: what all five take. Trackdesk's click is a UUID; customer and click ids are your own to change.\n");
    text.push_str(&format!("cat > conversion.json <<'END'\n{}END\n", SHORT.body));
    text.push_str(&format!(
        "capi-relay send conversion.json --url https://127.0.0.1:8443 --token {TOKEN}\n\n# Ctrl-C ends."
    ));
    text
}

/// The merchant's, for trials.
const TOKEN: &str = "sandbox-token-of-acme";

fn credential(accounts: &Accounts, platform: Platform) -> String {
    match platform {
        Platform::Thrad => format!("bearer {}", accounts.thrad_api_key),
        Platform::Impact => format!("basic {}:{}", accounts.impact_account_sid, accounts.impact_auth_token),
        Platform::Scaleo => {
            format!("api-key={}; refunds security_token={}", accounts.scaleo_api_key, accounts.scaleo_security_token)
        }
        Platform::Trackdesk => format!("x-api-key {}, for refunds alone", accounts.trackdesk_api_key),
        Platform::Dsp => format!("bearer {}, at {DSP_PATH}", accounts.dsp_token),
    }
}
