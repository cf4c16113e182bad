//! `render`: the exact requests that a conversion becomes, without a network. Secrets stand as `***`.

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::{ConfigurationArgs, DONE, NO, output, send, settings};
use crate::config::{Config, Decision, Destination};
use crate::conversion::{Conversion, ConversionId, Meta, Refusal, Timestamp};
use crate::mapping::{Request, Scope, Secrets};

#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    /// The conversion as JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// One destination [default: all]
    #[arg(short, long, value_name = "NAME")]
    destination: Option<String>,
    /// As curl commands
    #[arg(long, conflicts_with = "json")]
    curl: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What one destination would be sent, or why nothing.
enum Rendering {
    Request { operation: String, request: Request },
    Nothing { state: &'static str, reason: String },
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
    let config = settings::load(configuration)?;
    let (meta, conversion) = read(&send::read(&args.file)?)?;
    let scope = Scope { conversion: &conversion, meta: &meta };
    let renderings: Vec<(&str, Rendering)> = chosen(&config, args.destination.as_deref())?
        .into_iter()
        .map(|destination| (destination.name.as_str(), rendering(destination, scope)))
        .collect();
    let complete =
        !renderings.iter().any(|(_, rendering)| matches!(rendering, Rendering::Nothing { state: "unmappable", .. }));
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

fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a Arc<Destination>>, String> {
    let Some(name) = name else { return Ok(config.destinations.iter().collect()) };
    config.destination(name).map(|destination| vec![destination]).ok_or_else(|| {
        let known: Vec<&str> = config.destinations.iter().map(|destination| destination.name.as_str()).collect();
        format!("there is no destination `{name}`; there are: {}", known.join(", "))
    })
}

/// A conversion as the relay would accept it, with an id and a time of receipt that are plainly made up.
fn read(body: &[u8]) -> Result<(Meta, Conversion), String> {
    let id = ConversionId::new(0, [0; 10]);
    let conversion = Conversion::parse(body, &id.to_string()).map_err(|refusal| match refusal {
        Refusal::Malformed(error) => format!("the conversion is no JSON: {error}"),
        Refusal::Invalid(problems) => {
            let lines: Vec<String> =
                problems.iter().map(|problem| format!("  {}: {}", problem.pointer, problem.detail)).collect();
            format!("the conversion is refused:\n{}", lines.join("\n"))
        }
    })?;
    let mut meta = Meta::new(id, "render".into(), None, &conversion);
    meta.received_at = Timestamp::from_instant(conversion.time().instant());
    Ok((meta, conversion))
}

fn rendering(destination: &Destination, scope: Scope<'_>) -> Rendering {
    match destination.decide(scope) {
        Decision::Send(operation) => match operation.request.render(scope, Secrets::Masked) {
            Ok(request) => Rendering::Request { operation: operation.name.clone(), request },
            Err(unmappable) => Rendering::Nothing { state: "unmappable", reason: unmappable.to_string() },
        },
        Decision::Skipped(reason) => Rendering::Nothing { state: "skipped", reason },
        Decision::Withheld(reason) => Rendering::Nothing { state: "withheld", reason },
        Decision::Unsupported(reason) => Rendering::Nothing { state: "unsupported", reason },
    }
}

fn as_text(name: &str, rendering: &Rendering, curl: bool) -> String {
    match rendering {
        Rendering::Request { operation, request } => {
            let body = if curl { request.to_curl() } else { request.to_http() };
            format!("### {name}: {operation}\n{}", body.trim_end())
        }
        Rendering::Nothing { state, reason } => format!("### {name}: {state}: {reason}"),
    }
}

fn as_json(rendering: &Rendering) -> Value {
    match rendering {
        Rendering::Request { operation, request } => {
            let request = request.to_json();
            json!({"operation": operation, "request": serde_json::from_str::<Value>(&request).unwrap_or(Value::String(request))})
        }
        Rendering::Nothing { state, reason } => json!({"state": state, "reason": reason}),
    }
}
