//! `sandbox`: the five stand-ins alone, for a merchant's own trials.

use std::path::{Path, PathBuf};

use super::samples::SHORT;
use super::trial::{self, DSP_PATH};
use super::{ConfigurationArgs, DONE, NO, client, output, settings, signals, token};
use crate::config::{self, Outline};
use crate::sandbox::{Accounts, Platform, Sandbox};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    /// The first of five ports on 127.0.0.1
    #[arg(long, default_value_t = 9101)]
    port: u16,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &SandboxArgs) -> u8 {
    let ran = routes(configuration).and_then(|routes| client::block_on(run(args.port, routes.as_ref())));
    match ran {
        Ok(0) => DONE,
        Ok(_) => NO,
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

/// The routes file that a relay would serve here, and what it names; `None`: there is none.
fn routes(configuration: &ConfigurationArgs) -> Result<Option<(PathBuf, Outline)>, String> {
    let Ok(path) = settings::find(configuration) else { return Ok(None) };
    let text = config::read(&path).map_err(|error| output::chain(&error))?;
    let outline = config::outline(&text);
    let outline = outline.ok_or_else(|| format!("{} is no TOML: `capi-relay check` says why", path.display()))?;
    Ok(Some((path, outline)))
}

/// Runs until a signal; the number of breaches of the vendors' documents.
async fn run(port: u16, routes: Option<&(PathBuf, Outline)>) -> Result<u64, String> {
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
    let origin = |platform| format!("http://{}", sandbox.address(platform));
    match routes {
        Some((path, outline)) => output::line(&pasteable(path, outline, &accounts, origin)),
        None => output::line(NO_ROUTES),
    }
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

/// All that a trial of this file needs, to be pasted into a shell: its destinations are the stand-ins then, and what has none
/// is sent nothing.
fn pasteable(path: &Path, outline: &Outline, accounts: &Accounts, origin: impl Fn(Platform) -> String) -> String {
    let (mut sets, mut played, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (name, preset) in &outline.destinations {
        match preset.as_deref().and_then(trial::platform) {
            Some(platform) => {
                played.push(name.as_str());
                sets.push((format!("destination.{name}.origin"), origin(platform)));
                let values = trial::values(accounts, platform).into_iter();
                sets.extend(values.map(|(key, value)| (format!("destination.{name}.{key}"), value)));
            }
            None => others.push(name.as_str()),
        }
    }
    if played.is_empty() {
        return format!("\n# No destination of {} has a stand-in.\n\n# Ctrl-C ends.", path.display());
    }
    for merchant in &outline.merchants {
        sets.push((format!("merchant.{merchant}.token_sha256"), token::digest(&token_of(merchant))));
        sets.push((format!("merchant.{merchant}.destinations"), format!("{played:?}")));
    }
    let mut text =
        format!("\n# Paste into another terminal: the destinations of {} are then the stand-ins.\n", path.display());
    if !others.is_empty() {
        text.push_str(&format!("# No stand-in, and sent nothing here: {}.\n", others.join(", ")));
    }
    // What is laid over the file takes their places; they must be set all the same.
    text.extend(outline.variables.iter().map(|name| format!("export {name}=\"${{{name}:-1}}\"\n")));
    text.push_str(&format!("capi-relay serve -c '{}' --set queue.path=\"$(mktemp -d)\"", path.display()));
    text.extend(sets.iter().map(|(key, value)| format!(" \\\n  --set '{key}={value}'")));
    text.push_str("\n\n# Into a third: what all five take. Trackdesk's click is a UUID; customer and click ids are your own to change.\n");
    text.push_str(&format!("cat > conversion.json <<'END'\n{}END\n", SHORT.body));
    let token = outline.merchants.first().map(|merchant| token_of(merchant)).unwrap_or_default();
    text.push_str(&format!("capi-relay send conversion.json --url {} --token {token}\n\n# Ctrl-C ends.", url(outline)));
    text
}

/// Where the relay is reached from this machine.
fn url(outline: &Outline) -> String {
    let scheme = if outline.is_plain { "http" } else { "https" };
    let listen = outline.listen.as_deref().unwrap_or_default();
    let address = listen.parse().map_or_else(|_no_address| listen.to_owned(), |at| client::reachable(at).to_string());
    format!("{scheme}://{address}")
}

/// A merchant's, for trials.
fn token_of(merchant: &str) -> String {
    format!("sandbox-token-of-{merchant}")
}

const NO_ROUTES: &str = "
# There is no routes file here, nor was one named with -c. This writes one for all five:
#
#   capi-relay init thrad impact scaleo trackdesk dsp
#
# Ctrl-C ends; begun again beside it, this prints what to paste for `serve` and `send`.";

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
