//! `render`: the exact requests that a conversion becomes, without a network. Secrets stand as `***` unless they are asked for.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{ConfigurationArgs, DONE, NO, ReadingArgs, output, send, settings};
use crate::config::{Config, Outcome, Rendering, Sample, older_than};
use crate::conversion::DestinationName;
use crate::mapping::Secrets;
use crate::queue::Clock;

#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    /// The conversion as JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// One destination; may be repeated [default: all]
    #[arg(short, long = "destination", value_name = "NAME")]
    destinations: Vec<String>,
    /// Who sends it: only that merchant's destinations [default: the first merchant that sends to the destination]
    #[arg(long, value_name = "NAME")]
    merchant: Option<String>,
    /// As curl commands
    #[arg(long, conflicts_with = "json")]
    curl: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// With the secrets in clear text: what it prints could be sent
    #[arg(long, conflicts_with = "no_secrets")]
    reveal: bool,
    #[command(flatten)]
    reading: ReadingArgs,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &RenderArgs) -> u8 {
    match render(configuration, args) {
        Ok((text, complete)) => {
            output::line(&text);
            if complete { DONE } else { NO }
        }
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

/// The text, and whether every destination that applies could be mapped.
fn render(configuration: &ConfigurationArgs, args: &RenderArgs) -> Result<(String, bool), String> {
    let config = settings::load_to_read(configuration, &args.reading)?;
    let sample =
        Sample::parse(&send::read(&args.file)?).map_err(|error| format!("the conversion is refused: {error}"))?;
    let secrets = if args.reveal { Secrets::Revealed } else { Secrets::Masked };
    let merchant = args.merchant.as_deref().map(|name| settings::merchant(&config, name)).transpose()?;
    let renderings: Vec<(&str, Rendering)> = settings::chosen(&config, &args.destinations)?
        .into_iter()
        .filter(|destination| merchant.is_none_or(|merchant| merchant.sends_to(&destination.name)))
        .map(|destination| {
            let merchant = merchant.map_or_else(|| config.merchant_of(destination), |merchant| &merchant.name);
            (destination.name.as_str(), sample.at(destination, merchant, secrets))
        })
        .collect();
    let unmappable =
        |rendering: &Rendering| matches!(rendering, Rendering::Nothing { outcome: Outcome::Unmappable, .. });
    too_old(&config, &sample, &renderings);
    let complete = !renderings.iter().any(|(_, rendering)| unmappable(rendering));
    let text = if args.json {
        let all: serde_json::Map<String, Value> =
            renderings.iter().map(|(name, rendering)| ((*name).to_owned(), as_json(rendering))).collect();
        format!("{:#}", Value::Object(all))
    } else {
        let parts: Vec<String> =
            renderings.iter().map(|(name, rendering)| as_text(name, rendering, args.curl)).collect();
        parts.join("\n\n")
    };
    Ok((text, complete))
}

/// Says which of the requests a relay would not send any more. What is rendered knows no clock, so that it is the same
/// tomorrow; this is beside it.
fn too_old(config: &Config, sample: &Sample, renderings: &[(&str, Rendering)]) {
    let age = Duration::try_from(Clock::system().now().duration_since(sample.happened())).unwrap_or_default();
    let is_sent = |name: &DestinationName| {
        let sent = |(other, rendering): &(&str, Rendering)| {
            *other == name.as_str() && matches!(rendering, Rendering::Sent { .. })
        };
        renderings.iter().any(sent)
    };
    for destination in config.destinations.iter().filter(|destination| is_sent(&destination.name)) {
        if let Some(max_age) = destination.max_age.filter(|max_age| age > *max_age) {
            let name = &destination.name;
            let why = older_than(max_age);
            output::error(&format!("note: {name}: the conversion is {why}: posted now, it would be a dead letter"));
        }
    }
}

/// Headings are comments, to a shell and in a golden's request file alike.
fn as_text(name: &str, rendering: &Rendering, curl: bool) -> String {
    match rendering {
        Rendering::Sent { operation, request } => {
            let body = if curl { request.to_curl() } else { request.to_http() };
            format!("### {name}: {operation}\n{}", body.trim_end())
        }
        // A condition may be written over several lines; a heading is one.
        Rendering::Nothing { outcome, reason } => format!("### {name}: {outcome}: {}", output::one_line(reason)),
    }
}

fn as_json(rendering: &Rendering) -> Value {
    match rendering {
        Rendering::Sent { operation, request } => {
            let request = request.to_json();
            json!({"operation": operation, "request": serde_json::from_str::<Value>(&request).unwrap_or(Value::String(request))})
        }
        Rendering::Nothing { outcome, reason } => json!({"state": outcome.as_str(), "reason": reason}),
    }
}
