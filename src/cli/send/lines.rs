//! `send` of a file with a conversion a line: in batches, until each line is accepted or refused for good.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::super::client::{self, Answer, Call};
use super::super::{ConfigurationArgs, DONE, NO, output};
use super::{SendArgs, read};

/// A line of the file, and its number from 1.
type Line<'a> = (usize, &'a [u8]);

/// How far it has come.
#[derive(Debug, Default)]
struct Sum {
    accepted: u64,
    duplicates: u64,
    refused: u64,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &SendArgs) -> u8 {
    let mut sum = Sum::default();
    let sent = send(configuration, args, &mut sum);
    let Sum { accepted, duplicates, refused } = sum;
    output::line(&format!("accepted {accepted}, known before {duplicates}, refused {refused}"));
    match sent {
        Ok(()) if refused == 0 => DONE,
        Ok(()) => NO,
        Err(error) => {
            output::error(&error);
            NO
        }
    }
}

fn send(configuration: &ConfigurationArgs, args: &SendArgs, sum: &mut Sum) -> Result<(), String> {
    let file = read(&args.file)?;
    let lines = (1..).zip(file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii));
    let mut left: Vec<Line<'_>> = lines.filter(|(_, line)| !line.is_empty()).collect();
    let url = args.relay.url(configuration, "/v1/conversions")?;
    let (mut at_once, mut patience) = (LINES_AT_ONCE, TRIES);
    while !left.is_empty() {
        let batch = first(&left, at_once);
        let headers = std::iter::once((header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")));
        let call = Call {
            method: Method::POST,
            token: args.relay.token.as_deref(),
            headers: headers.chain(args.prefer()).collect(),
            body: left.iter().take(batch).flat_map(|(_, line)| [*line, b"\n"]).flatten().copied().collect::<Bytes>(),
            patient: false,
        };
        let answer = client::block_on(client::exchange(&url, call))?;
        let results = results(&answer, batch);
        if results.is_none() && answer.status == StatusCode::PAYLOAD_TOO_LARGE && batch > 1 {
            at_once = batch / 2;
            continue;
        }
        let again = match results {
            Some(results) => take(&left, &results, sum),
            // Of the whole batch.
            None if answer.retry_after.is_some() => left.iter().take(batch).copied().collect(),
            None => return Err(answer.detail()),
        };
        patience = if again.len() < batch { TRIES } else { patience.saturating_sub(1) };
        if patience == 0 {
            return Err(format!("{}\nline {} and what follows was not sent", answer.detail(), number(&left)));
        }
        left.splice(..batch, again);
        if let Some(wait) = answer.retry_after.filter(|_| !left.is_empty()) {
            output::error(&format!("waiting {} s from line {} on: {}", wait.as_secs(), number(&left), answer.status));
            std::thread::sleep(wait.min(WAIT_MAX));
        }
    }
    Ok(())
}

/// How many lines go in one batch.
fn first(left: &[Line<'_>], at_once: usize) -> usize {
    let sizes = left.iter().take(at_once).scan(0_usize, |bytes, (_, line)| {
        *bytes = bytes.saturating_add(line.len());
        Some(*bytes)
    });
    sizes.take_while(|bytes| *bytes <= BYTES_AT_ONCE).count().max(1)
}

/// A result for each line, where the relay got as far as that.
fn results(answer: &Answer, batch: usize) -> Option<Vec<Value>> {
    let results = answer.json().ok()?.get_mut("results")?.take();
    serde_json::from_value::<Vec<Value>>(results).ok().filter(|results| results.len() == batch)
}

/// Counts what is done with, and returns what there was no room for.
fn take<'a>(left: &[Line<'a>], results: &[Value], sum: &mut Sum) -> Vec<Line<'a>> {
    let mut again = Vec::new();
    for (line, result) in left.iter().zip(results) {
        let count = match result.get("status") {
            Some(Value::String(status)) if status == "duplicate" => &mut sum.duplicates,
            Some(Value::String(_)) => &mut sum.accepted,
            Some(Value::Number(status)) if matches!(status.as_u64(), Some(429 | 503)) => {
                again.push(*line);
                continue;
            }
            status => {
                let status = status.map(Value::to_string).unwrap_or_default();
                output::error(&format!("line {}: {}", line.0, client::problem(&status, result)));
                &mut sum.refused
            }
        };
        *count = count.saturating_add(1);
    }
    again
}

fn number(left: &[Line<'_>]) -> usize {
    left.first().map_or(0, |(number, _)| *number)
}

/// What the relay takes in one request.
const LINES_AT_ONCE: usize = 1000;
/// A quarter of what it takes unless it is configured otherwise.
const BYTES_AT_ONCE: usize = 1 << 20;
/// So often nothing of a batch is taken before it is given up.
const TRIES: u32 = 30;
/// Looks again after this, whatever the relay says.
const WAIT_MAX: Duration = Duration::from_secs(60);
