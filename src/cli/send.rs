//! `send`: posts conversions to a running relay, and `render`'s and its own reading of a conversion file.

mod lines;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::client::{self, Call};
use super::{ConfigurationArgs, DONE, NO, WRONG_USE, output, settings};
use crate::config::Transport;

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The header under which a repeat is recognised.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// A conversion read from a file: the relay's own limit on a body is the one that answers.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The conversion as JSON, or an array of them; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// FILE is a conversion a line, however many [default: for a name that ends in .ndjson or .jsonl]
    #[arg(long, conflicts_with = "idempotency_key")]
    lines: bool,
    /// Waits so many seconds, at most 30, for what the destinations answer
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=30))]
    wait: Option<u64>,
    #[command(flatten)]
    relay: RelayArgs,
    /// Sent as the header Idempotency-Key; for one conversion
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Where the public API of a running relay is, and as whom.
#[derive(Debug, Args)]
pub(super) struct RelayArgs {
    /// Its URL [default: the configuration's own listener, on this machine]
    #[arg(long, env = "CAPI_RELAY_URL", value_name = "URL")]
    pub(super) url: Option<String>,
    /// The merchant's bearer token
    #[arg(long, env = "CAPI_RELAY_TOKEN", value_name = "TOKEN", hide_env_values = true, allow_hyphen_values = true)]
    pub(super) token: Option<String>,
}

impl RelayArgs {
    /// The URL of one path of the public API.
    pub(super) fn url(&self, configuration: &ConfigurationArgs, path: &str) -> Result<url::Url, String> {
        let origin = match &self.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let server = settings::load(configuration)?.server;
                let scheme = if matches!(server.transport, Transport::Plain) { "http" } else { "https" };
                format!("{scheme}://{}", client::reachable(server.listen))
            }
        };
        client::parse(&format!("{origin}{path}"))
    }
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &SendArgs) -> u8 {
    let is_named_lines = [".ndjson", ".jsonl"].iter().any(|ending| args.file.ends_with(ending));
    if args.lines || is_named_lines {
        if args.idempotency_key.is_some() {
            output::error("a key stands for one conversion: a file of lines takes none; give each an `event_id`");
            return WRONG_USE;
        }
        return lines::command(configuration, args);
    }
    match send(configuration, args) {
        Ok(answer) if answer.is_success() => {
            output::line(String::from_utf8_lossy(&answer.body).trim_end());
            // Of a batch some were refused.
            if answer.status == StatusCode::MULTI_STATUS { NO } else { DONE }
        }
        Ok(answer) => {
            output::error(&answer.detail());
            NO
        }
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

fn send(configuration: &ConfigurationArgs, args: &SendArgs) -> Result<client::Answer, String> {
    let body = Bytes::from(read(&args.file)?);
    let url = args.relay.url(configuration, "/v1/conversions")?;
    let mut headers = Vec::new();
    if let Some(key) = &args.idempotency_key {
        let value = HeaderValue::from_str(key);
        headers.push((IDEMPOTENCY_KEY, value.map_err(|error| format!("the key cannot be a header: {error}"))?));
    }
    headers.extend(args.prefer());
    let token = args.relay.token.as_deref();
    let call = Call { method: Method::POST, token, headers, body, wait: args.waits(), ..Call::default() };
    client::block_on(client::exchange(&url, call))
}

impl SendArgs {
    fn waits(&self) -> Duration {
        Duration::from_secs(self.wait.unwrap_or_default())
    }

    fn prefer(&self) -> Option<(HeaderName, HeaderValue)> {
        let value = HeaderValue::try_from(format!("wait={}", self.wait?)).ok()?;
        Some((PREFER, value))
    }
}

/// A file, or standard input for `-`.
pub(super) fn read(file: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = if file == "-" {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        let open = std::fs::File::open(Path::new(file));
        open.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.map_err(|error| format!("cannot read {file}: {error}"))?;
    Ok(bytes)
}
