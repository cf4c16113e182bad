//! `send` of a file with a conversion a line: in batches, until each line is accepted or refused for good.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::super::client::{self, Answer, Call};
use super::super::merchant::Voice;
use super::super::{ConfigurationArgs, DONE, NO, output};
use super::SendArgs;

/// A line of the file, and its number from 1.
type Line = (usize, Vec<u8>);

/// The file, read no further than is needed.
struct Lines {
    reader: Box<dyn BufRead>,
    number: usize,
}

impl Lines {
    fn open(file: &str) -> Result<Lines, String> {
        let reader: Box<dyn BufRead> = if file == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let file = File::open(file).map_err(|error| format!("cannot read {file}: {error}"))?;
            Box::new(BufReader::new(file))
        };
        Ok(Lines { reader, number: 0 })
    }

    /// The next that is not empty. One that no relay takes ends the reading: what it is part of is no file of lines.
    fn next(&mut self) -> Result<Option<Line>, String> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            self.number = self.number.saturating_add(1);
            let number = self.number;
            match read.map_err(|error| format!("cannot read line {number}: {error}"))? {
                0 => return Ok(None),
                _ if line.len() >= LINE_LEN_MAX => return Err(format!("line {number} is longer than any relay takes")),
                _ if line.trim_ascii().is_empty() => {}
                _ => return Ok(Some((number, line.trim_ascii().to_vec()))),
            }
        }
    }

    /// As many as one batch may have.
    fn fill(&mut self, left: &mut Vec<Line>) -> Result<(), String> {
        while left.len() < LINES_AT_ONCE {
            match self.next()? {
                Some(line) => left.push(line),
                None => break,
            }
        }
        Ok(())
    }
}

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
    let url = args.relay.url(configuration, "/v1/conversions")?;
    let voice = args.relay.voice(&args.trust, &url)?;
    let mut lines = Lines::open(&args.file)?;
    let mut left: Vec<Line> = Vec::new();
    let (mut at_once, mut patience) = (LINES_AT_ONCE, TRIES);
    loop {
        if let Err(error) = lines.fill(&mut left) {
            return Err(match left.first() {
                None => error,
                Some((first, _)) => format!("{error}\nlines from {first} on were not sent"),
            });
        }
        if left.is_empty() {
            return Ok(());
        }
        let batch = first(&left, at_once);
        let answer = client::block_on(client::exchange(&url, call(args, &voice, &left, batch)));
        let answer = answer.map_err(|error| unanswered(&error, &left, batch))?;
        let results = results(&answer, batch);
        let is_too_large = results.is_none() && answer.status == StatusCode::PAYLOAD_TOO_LARGE;
        if is_too_large && batch > 1 {
            at_once = batch / 2;
            continue;
        }
        let again = match results {
            Some(results) => take(&left, &results, sum),
            None if is_too_large => {
                output::error(&format!("line {}: {}", number(&left), answer.detail()));
                sum.refused = sum.refused.saturating_add(1);
                Vec::new()
            }
            // Of the whole batch.
            None if answer.retry_after.is_some() => left.iter().take(batch).cloned().collect(),
            None => return Err(format!("{}\nlines from {} on were not sent", answer.detail(), number(&left))),
        };
        patience = if again.len() < batch { TRIES } else { patience.saturating_sub(1) };
        left.splice(..batch, again);
        if patience == 0 {
            return Err(format!("{}\nlines from {} on were not all taken", answer.detail(), number(&left)));
        }
        if let Some(wait) = answer.retry_after.filter(|_| !left.is_empty()) {
            output::error(&format!("waiting {} s from line {} on: {}", wait.as_secs(), number(&left), answer.status));
            std::thread::sleep(wait.min(WAIT_MAX));
        }
    }
}

fn call<'v>(args: &SendArgs, voice: &'v Voice, left: &[Line], batch: usize) -> Call<'v> {
    let headers = std::iter::once((header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")));
    Call {
        method: Method::POST,
        headers: headers.chain(args.prefer()).collect(),
        body: left.iter().take(batch).flat_map(|(_, line)| [line.as_slice(), b"\n"]).flatten().copied().collect(),
        wait: args.waits(),
        ..voice.call()
    }
}

/// Nobody knows what became of these: sent again, those with an `event_id` are known.
fn unanswered(error: &str, left: &[Line], batch: usize) -> String {
    let (from, to) = (number(left), left.iter().take(batch).next_back().map_or(0, |(number, _)| *number));
    format!("{error}\nlines {from} to {to} may have been accepted; those behind were not sent")
}

/// How many lines go in one batch.
fn first(left: &[Line], at_once: usize) -> usize {
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
fn take(left: &[Line], results: &[Value], sum: &mut Sum) -> Vec<Line> {
    let mut again = Vec::new();
    for (line, result) in left.iter().zip(results) {
        let count = match result.get("status") {
            Some(Value::String(status)) if status == "duplicate" => &mut sum.duplicates,
            Some(Value::String(_)) => &mut sum.accepted,
            Some(Value::Number(status)) if matches!(status.as_u64(), Some(429 | 503)) => {
                again.push(line.clone());
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

fn number(left: &[Line]) -> usize {
    left.first().map_or(0, |(number, _)| *number)
}

/// What the relay takes in one request.
const LINES_AT_ONCE: usize = 1000;
/// The most that a relay can be configured to take, and some.
const LINE_BYTES_MAX: u64 = 65 << 20;
const LINE_LEN_MAX: usize = 65 << 20;
/// A quarter of what it takes unless it is configured otherwise.
const BYTES_AT_ONCE: usize = 1 << 20;
/// So often nothing of a batch is taken before it is given up.
const TRIES: u32 = 30;
/// Looks again after this, whatever the relay says.
const WAIT_MAX: Duration = Duration::from_secs(60);
