//! `demo`: no file, no account. Starts the five stand-ins and a relay with the repository's own `routes.toml` on a
//! temporary folder, posts the samples over TLS as a merchant would, and shows what each platform received.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use url::Url;

use super::client::{self, Call};
use super::relay::Relay;
use super::samples::{SAMPLES, Sample};
use super::{DONE, NO, output, signals, trial};
use crate::config::{Config, Source};
use crate::queue::Clock;
use crate::sandbox::{Accounts, Platform, Received, Sandbox};

/// The worked example at the top of the repository.
const ROUTES: &str = include_str!("../../routes.toml");
/// The demo's merchant token; the sandbox knows nothing of it.
const TOKEN: &str = "demo-token-of-acme";
/// All samples are settled far sooner; beyond it something is wrong.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at a conversion's status.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Wide enough for the longest path of a platform.
const RECEIVED_CHARS_MAX: usize = 64;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Stays up after the samples, for trying more by hand; Ctrl-C ends
    #[arg(long)]
    keep: bool,
    /// Prints {"violations":0,"results":[{"conversion","destination","verdict"}]}
    #[arg(long)]
    json: bool,
}

/// One cell of conversion × destination.
struct Cell {
    conversion: &'static str,
    destination: &'static str,
    expected: &'static str,
    verdict: String,
    received: String,
    answered: String,
    took: String,
}

pub(super) fn command(args: &DemoArgs) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("cannot start: {error}"));
            return NO;
        }
    };
    match runtime.block_on(run(args)) {
        Ok(true) => DONE,
        Ok(false) => NO,
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

/// Whether every sample ended as it must and no request breached a document.
async fn run(args: &DemoArgs) -> Result<bool, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let accounts = Accounts::default();
    let sandbox = Sandbox::start(accounts.clone(), 0).await.map_err(|error| format!("no sandbox: {error}"))?;
    let config = configuration(&accounts, &sandbox, folder.path())?;
    let relay = Relay::start(config, Clock::system()).await.map_err(|error| output::chain(&error))?;
    let origin = client::parse(&format!("https://{}", relay.public()))?;
    let outcome = present(args, &origin, &relay, &sandbox).await;
    relay.stop().await.map_err(|error| output::chain(&error))?;
    sandbox.stop().await;
    outcome
}

async fn present(args: &DemoArgs, origin: &Url, relay: &Relay, sandbox: &Sandbox) -> Result<bool, String> {
    let mut cells = Vec::new();
    for sample in &SAMPLES {
        cells.extend(deliver(origin, sample, sandbox).await?);
    }
    let violations: Vec<String> = Platform::ALL
        .iter()
        .flat_map(|platform| sandbox.received(*platform).into_iter().map(move |received| (*platform, received)))
        .flat_map(|(platform, received)| received.violations.into_iter().map(move |text| (platform, text)))
        .map(|(platform, text)| format!("{}: {text}", platform.name()))
        .collect();
    let right = violations.is_empty() && cells.iter().all(|cell| cell.verdict == cell.expected);
    output::line(&if args.json { machine(&cells, &violations) } else { page(&cells, &violations) });
    if args.keep {
        output::line(&format!("\nstaying up: {origin}v1/conversions   token {TOKEN}   admin http://{}", relay.admin()));
        signals::ended().await?;
    }
    Ok(right)
}

/// Posts one sample and follows it until every destination is settled. Samples go one after another, so what a platform
/// receives meanwhile is what this one became.
async fn deliver(origin: &Url, sample: &'static Sample, sandbox: &Sandbox) -> Result<Vec<Cell>, String> {
    let before = Platform::ALL.map(|platform| (platform, sandbox.received(platform).len()));
    let url = origin.join("v1/conversions").map_err(|error| error.to_string())?;
    let body = Bytes::from_static(sample.body.as_bytes());
    let call = Call { method: Method::POST, token: Some(TOKEN), body, ..Call::default() };
    let answer = client::exchange(&url, call).await?;
    if !answer.is_success() {
        return Err(format!("{}: {}", sample.name, answer.detail()));
    }
    let receipt = answer.json()?;
    if receipt.get("status").and_then(Value::as_str) != Some(sample.answer) {
        return Err(format!("{}: expected {}, the relay answered {receipt}", sample.name, sample.answer));
    }
    let id = receipt.get("id").and_then(Value::as_str).unwrap_or_default();
    let status = settled(&origin.join(&format!("v1/conversions/{id}")).map_err(|error| error.to_string())?).await?;
    let repeat = sample.answer == "duplicate";
    let cell = |(destination, expected): (&'static str, &'static str)| {
        let delivery = status.pointer(&format!("/destinations/{destination}")).unwrap_or(&Value::Null);
        let state = delivery.get("state").and_then(Value::as_str).unwrap_or("missing");
        let before = before.iter().find(|(platform, _)| platform.name() == destination);
        let received = before.and_then(|(platform, count)| sandbox.received(*platform).into_iter().nth(*count));
        Cell {
            conversion: sample.name,
            destination,
            expected: if repeat { "duplicate" } else { expected },
            verdict: if repeat && state == expected { "duplicate".to_owned() } else { state.to_owned() },
            received: match &received {
                _ if repeat => "nothing more".to_owned(),
                Some(received) => summary(received),
                None => match delivery.get("reason") {
                    None | Some(Value::Null) => "nothing".to_owned(),
                    reason => output::cut(&format!("nothing: {}", output::cell(reason)), RECEIVED_CHARS_MAX),
                },
            },
            answered: received
                .filter(|_| !repeat)
                .map_or_else(|| "-".to_owned(), |received| received.answered.to_string()),
            took: match delivery.pointer("/last/duration_ms") {
                Some(took) if !repeat => format!("{took} ms"),
                _ => "-".to_owned(),
            },
        }
    };
    Ok(sample.states.into_iter().map(cell).collect())
}

/// Looks at the status until no destination is under way.
async fn settled(url: &Url) -> Result<Value, String> {
    #[expect(clippy::disallowed_methods, reason = "how long a person has waited at the terminal, not the relay's time")]
    let started = Instant::now();
    loop {
        let status = client::exchange(url, Call { token: Some(TOKEN), ..Call::default() }).await?.json()?;
        let states = status.get("destinations").and_then(Value::as_object).into_iter().flatten();
        let waiting: Vec<&str> = states
            .filter(|(_, delivery)| {
                matches!(
                    delivery.get("state").and_then(Value::as_str),
                    Some("queued" | "retrying" | "held" | "accepted")
                )
            })
            .map(|(name, _)| name.as_str())
            .collect();
        if waiting.is_empty() {
            return Ok(status);
        }
        if started.elapsed() > SETTLE_DEADLINE {
            return Err(format!(
                "after {} s these are still under way: {}",
                SETTLE_DEADLINE.as_secs(),
                waiting.join(", ")
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn summary(received: &Received) -> String {
    let path = received.target.split('?').next().unwrap_or_default();
    let breaches = match received.violations.len() {
        0 => String::new(),
        count => format!(", {count} VIOLATIONS"),
    };
    format!("{} {path} ({} bytes{breaches})", received.method, received.body.len())
}

fn page(cells: &[Cell], violations: &[String]) -> String {
    let mut last = "";
    let rows: Vec<Vec<String>> = cells
        .iter()
        .map(|cell| {
            let name = if last == cell.conversion { "" } else { cell.conversion };
            last = cell.conversion;
            let verdict = if cell.verdict == cell.expected {
                cell.verdict.clone()
            } else {
                format!("{} (not {})", cell.verdict, cell.expected)
            };
            vec![
                name.to_owned(),
                cell.destination.to_owned(),
                verdict,
                cell.received.clone(),
                cell.answered.clone(),
                cell.took.clone(),
            ]
        })
        .collect();
    let heading = ["conversion", "destination", "verdict", "what the platform received", "answered", "took"];
    let mut text = output::table(&heading, &rows);
    text.push_str(&format!("\n\nsandbox violations: {}", violations.len()));
    for violation in violations {
        text.push_str(&format!("\n  {violation}"));
    }
    text
}

fn machine(cells: &[Cell], violations: &[String]) -> String {
    let results: Vec<Value> = cells
        .iter()
        .map(|cell| json!({"conversion": cell.conversion, "destination": cell.destination, "verdict": cell.verdict}))
        .collect();
    json!({"violations": violations.len(), "results": results}).to_string()
}

fn configuration(accounts: &Accounts, sandbox: &Sandbox, folder: &std::path::Path) -> Result<Config, String> {
    let variables = trial::variables(accounts, TOKEN);
    let environment =
        |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.clone());
    let mut sets: Vec<(String, String)> = [
        ("server.listen", "127.0.0.1:0".to_owned()),
        ("server.admin", "127.0.0.1:0".to_owned()),
        ("queue.path", folder.join("queue").display().to_string()),
        ("queue.allow_volatile", "true".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec();
    sets.extend(trial::sets(accounts, sandbox));
    let source = Source { path: "routes.toml".into(), text: ROUTES.to_owned(), environment: &environment, sets: &sets };
    Config::load(source).map_err(|report| report.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::SHORT;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_sandbox_prints_is_delivered_at_all_five() {
        let folder = tempfile::tempdir().unwrap();
        let accounts = Accounts::default();
        let sandbox = Sandbox::start(accounts.clone(), 0).await.unwrap();
        let config = configuration(&accounts, &sandbox, folder.path()).unwrap();
        let relay = Relay::start(config, Clock::system()).await.unwrap();
        let origin = client::parse(&format!("https://{}", relay.public())).unwrap();
        let cells = deliver(&origin, &SHORT, &sandbox).await.unwrap();
        let verdicts: Vec<_> = cells.iter().map(|cell| (cell.destination, cell.verdict.as_str())).collect();
        assert_eq!(verdicts, SHORT.states);
        relay.stop().await.unwrap();
        sandbox.stop().await;
    }
}
