//! `send`: posts conversions to a running relay, and `render`'s and its own reading of a conversion file.

mod lines;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::client::{self, Call};
use super::merchant::RelayArgs;
use super::{ConfigurationArgs, DONE, NO, TrustArgs, WRONG_USE, output};

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
    #[command(flatten)]
    trust: TrustArgs,
    /// Sent as the header Idempotency-Key; for one conversion
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
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
    let url = args.relay.url(configuration, "/v1/conversions")?;
    let voice = args.relay.voice(&args.trust, &url)?;
    let body = Bytes::from(read(&args.file)?);
    let mut headers = Vec::new();
    if let Some(key) = &args.idempotency_key {
        let value = HeaderValue::from_str(key);
        headers.push((IDEMPOTENCY_KEY, value.map_err(|error| format!("the key cannot be a header: {error}"))?));
    }
    headers.extend(args.prefer());
    let call = Call { method: Method::POST, headers, body, wait: args.waits(), ..voice.call() };
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
