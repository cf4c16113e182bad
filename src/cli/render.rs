//! `render`: the exact requests that a conversion becomes, without a network. Secrets stand as `***` unless they are asked for.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{ConfigurationArgs, DONE, NO, ReadingArgs, output, send, settings};
use crate::config::{Config, Outcome, Rendering, Sample, older_than};
use crate::conversion::DestinationName;
use crate::mapping::{Request, Secrets, Unmappable};
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
    let chosen = settings::chosen(&config, &args.destinations)?;
    settings::unserved(&config, chosen.iter().copied());
    let renderings: Vec<Rendered<'_>> = chosen
        .into_iter()
        .filter(|destination| merchant.is_none_or(|merchant| merchant.sends_to(&destination.name)))
        .map(|destination| {
            let merchant = merchant.map_or_else(|| config.merchant_of(destination), |merchant| &merchant.name);
            let confirm = sample.question_at(destination, merchant, secrets);
            (destination.name.as_str(), sample.at(destination, merchant, secrets), confirm)
        })
        .collect();
    let unmappable =
        |rendering: &Rendering| matches!(rendering, Rendering::Nothing { outcome: Outcome::Unmappable, .. });
    too_old(&config, &sample, &renderings);
    let complete = !renderings.iter().any(|(_, rendering, _)| unmappable(rendering));
    let text = if args.json {
        let all: Vec<String> =
            renderings.iter().map(|rendered| format!("{}:{}", json!(rendered.0), as_json(rendered))).collect();
        output::laid_out(&format!("{{{}}}", all.join(",")))
    } else {
        let parts: Vec<String> = renderings.iter().map(|rendered| as_text(rendered, args.curl)).collect();
        parts.join("\n\n")
    };
    Ok((text, complete))
}

/// Says which of the requests a relay would not send any more. What is rendered knows no clock, so that it is the same
/// tomorrow; this is beside it.
fn too_old(config: &Config, sample: &Sample, renderings: &[Rendered<'_>]) {
    let age = Duration::try_from(Clock::system().now().duration_since(sample.happened())).unwrap_or_default();
    let is_sent = |name: &DestinationName| {
        let sent = |(other, rendering, _): &Rendered<'_>| {
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

/// A destination, what it is sent, and how it is asked what became of that.
type Rendered<'a> = (&'a str, Rendering, Option<Result<Request, Unmappable>>);

/// Headings are comments, to a shell and in a golden's request file alike; what follows a second one is no part of that.
fn as_text((name, rendering, confirm): &Rendered<'_>, curl: bool) -> String {
    match rendering {
        Rendering::Sent { operation, request } => {
            let body = if curl { request.to_curl() } else { request.to_http() };
            let question = confirm.as_ref().map(|confirm| question(name, operation, confirm, curl)).unwrap_or_default();
            format!("### {name}: {operation}\n{}{question}", body.trim_end())
        }
        // A condition may be written over several lines; a heading is one.
        Rendering::Nothing { outcome, reason } => format!("### {name}: {outcome}: {}", output::one_line(reason)),
    }
}

/// To a shell it is a comment: nobody knows yet what is captured.
fn question(name: &str, operation: &str, confirm: &Result<Request, Unmappable>, curl: bool) -> String {
    let heading = format!("\n\n### {name}: {operation}, confirm");
    match confirm {
        Ok(request) if curl => {
            let lines: Vec<String> = request.to_curl().lines().map(|line| format!("# {line}")).collect();
            format!("{heading}\n{}", lines.join("\n"))
        }
        Ok(request) => format!("{heading}\n{}", request.to_http().trim_end()),
        Err(unmappable) => format!("{heading}: not asked: {}", output::one_line(&unmappable.to_string())),
    }
}

/// As it is sent, in that order: a JSON value that is read is sorted.
fn as_json((_, rendering, confirm): &Rendered<'_>) -> String {
    let (operation, request) = match rendering {
        Rendering::Sent { operation, request } => (operation, request),
        Rendering::Nothing { outcome, reason } => {
            return format!(r#"{{"state":{},"reason":{}}}"#, json!(outcome.as_str()), json!(reason));
        }
    };
    let confirm = confirm.as_ref().map(|confirm| match confirm {
        Ok(asked) => format!(r#","confirm":{{"request":{}}}"#, asked.to_json()),
        Err(unmappable) => format!(r#","confirm":{{"reason":{}}}"#, json!(unmappable.to_string())),
    });
    let (operation, request) = (json!(operation), request.to_json());
    format!(r#"{{"operation":{operation},"request":{request}{}}}"#, confirm.unwrap_or_default())
}
