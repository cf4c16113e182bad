//! `sandbox`: the five stand-ins alone, for a merchant's own trials.

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
    output::line("\nPoint a destination at one: --set destination.thrad.origin=http://127.0.0.1:…   (Ctrl-C ends)");
    signals::ended().await?;
    let counted: Vec<_> = Platform::ALL.iter().map(|platform| (*platform, sandbox.counts(*platform))).collect();
    for (platform, counts) in &counted {
        let (requests, effects, violations) = (counts.requests, counts.effects, counts.violations);
        output::line(&format!(
            "{}: {requests} requests, {effects} conversions, {violations} violations",
            platform.name()
        ));
    }
    sandbox.stop().await;
    Ok(counted.iter().map(|(_, counts)| counts.violations).sum())
}

fn credential(accounts: &Accounts, platform: Platform) -> String {
    match platform {
        Platform::Thrad => format!("bearer {}", accounts.thrad_api_key),
        Platform::Impact => format!("basic {}:{}", accounts.impact_account_sid, accounts.impact_auth_token),
        Platform::Scaleo => format!("api-key={}", accounts.scaleo_api_key),
        Platform::Trackdesk => format!("x-api-key {} (optional)", accounts.trackdesk_api_key),
        Platform::Dsp => format!("bearer {}", accounts.dsp_token),
    }
}
