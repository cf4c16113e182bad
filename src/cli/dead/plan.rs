//! What a replay would send, for a person to read before it is sent.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::output;

/// The bodies of an answer's requests as they would go out: read as values they would be in another order.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Bodies {
    #[serde(default)]
    dead: Vec<Letter>,
    #[serde(default)]
    request: Option<Request>,
}

#[derive(Debug, Deserialize)]
struct Letter {
    request: Option<Request>,
}

#[derive(Debug, Deserialize)]
struct Request {
    body: Option<Box<RawValue>>,
}

impl Bodies {
    /// None where it is no such answer.
    pub(super) fn of(answer: &[u8]) -> Bodies {
        serde_json::from_slice(answer).unwrap_or_default()
    }
}

/// One page of a plan; the first one has the totals.
pub(super) fn page(plan: &Value, bodies: &Bodies) -> String {
    let dead = list(plan, "dead");
    let mut parts = Vec::new();
    if let Some(totals) = plan.get("totals").filter(|totals| !totals.is_null()) {
        parts.push(in_total(totals));
    }
    let rows: Vec<Vec<String>> = dead.iter().map(row).collect();
    if !rows.is_empty() {
        parts.push(output::table(&["destination", "conversion", "kind", "value", "replayed", "why"], &rows));
    }
    let requests = dead.iter().zip(&bodies.dead);
    parts.extend(requests.filter_map(|(letter, sent)| request(letter, sent.request.as_ref())));
    if let Some(next) = plan.get("next").and_then(Value::as_str) {
        parts.push(format!("more: --after {next}"));
    }
    // What is given up meanwhile was not looked at.
    if let Some(until) = plan.get("until").and_then(Value::as_str).filter(|_| !parts.is_empty()) {
        parts.push(format!("these very ones: --until {until}"));
    }
    if parts.is_empty() { "none is meant".to_owned() } else { parts.join("\n\n") }
}

/// One dead letter from near.
pub(super) fn letter(letter: &Value, bodies: &Bodies) -> String {
    let cell = |path: &str| output::cell(letter.pointer(path));
    let mut lines = vec![
        format!("conversion   {} ({})", cell("/id"), cell("/conversion/event_type")),
        format!("destination  {}", cell("/destination")),
        format!("merchant     {}", cell("/merchant")),
        format!("order        {}", cell("/order_id")),
        format!("value        {}", value(letter)),
        format!("happened     {}", cell("/conversion/time")),
        format!("given up     {} ({}): {}", cell("/at"), cell("/kind"), output::one_line(&cell("/reason"))),
        format!("replayed     {}", replayed(letter)),
    ];
    let attempts: Vec<Vec<String>> = list(letter, "history").iter().map(attempt).collect();
    if !attempts.is_empty() {
        lines.push(String::new());
        lines.push(output::table(&["at", "verdict", "status", "took", "answer"], &attempts));
    }
    if let Some(request) = request(letter, bodies.request.as_ref()) {
        lines.push(String::new());
        lines.push(request);
    }
    lines.join("\n")
}

fn in_total(totals: &Value) -> String {
    let groups = list(totals, "groups");
    let count = |name: &str| groups.iter().filter_map(|group| group.get(name)?.as_u64()).sum::<u64>();
    let (matched, more) = (output::cell(totals.get("matched")), totals.get("whole") != Some(&Value::Bool(true)));
    let letters = if matched == "1" { "dead letter" } else { "dead letters" };
    let mut text = format!("{matched} {letters}{}", if more { " counted, and more are meant" } else { "" });
    match count("second_sales") {
        0 => {}
        sales => text.push_str(&format!("; {sales} of them may be a second sale: look for them at the platform first")),
    }
    if groups.is_empty() {
        return text;
    }
    let rows: Vec<Vec<String>> = groups.iter().map(group).collect();
    let heading = ["destination", "kind", "of", "replayed", "count", "second sales", "worth"];
    format!("{text}\n\n{}", output::table(&heading, &rows))
}

fn group(group: &Value) -> Vec<String> {
    let names = ["destination", "kind", "conversion_kind", "outcome", "count", "second_sales"];
    let mut cells = names.map(|name| output::cell(group.get(name))).to_vec();
    let amounts = group.get("amounts").and_then(Value::as_object).into_iter().flatten();
    let worth: Vec<String> = amounts.map(|(currency, sum)| format!("{} {currency}", output::cell(Some(sum)))).collect();
    cells.push(if worth.is_empty() { "-".to_owned() } else { worth.join(", ") });
    cells
}

fn row(letter: &Value) -> Vec<String> {
    let cell = |path: &str| output::cell(letter.pointer(path));
    let why = match letter.pointer("/replay/second_sale") {
        Some(Value::Bool(true)) => format!("may be a second sale: {}", known_again(letter)),
        Some(_) | None => output::cut(&cell("/replay/reason"), WHY_CHARS_MAX),
    };
    vec![cell("/destination"), cell("/id"), cell("/kind"), value(letter), cell("/replay/outcome"), why]
}

fn value(letter: &Value) -> String {
    match letter.pointer("/conversion/value").and_then(Value::as_str) {
        Some(value) => format!("{value} {}", output::cell(letter.pointer("/conversion/currency"))),
        None => "-".to_owned(),
    }
}

/// Why the platform would not know it again.
fn known_again(letter: &Value) -> String {
    let window = output::cell(letter.pointer("/replay/dedup_window"));
    match letter.pointer("/replay/deduplication").and_then(Value::as_str) {
        Some("none") => "the destination deduplicates on nothing".to_owned(),
        Some("outside") => format!("older than the {window} for which the destination knows a repeat"),
        Some(_) | None => "for how long the destination knows a repeat is not configured".to_owned(),
    }
}

fn replayed(letter: &Value) -> String {
    let cell = |path: &str| output::cell(letter.pointer(path));
    let outcome = match letter.pointer("/replay/reason").and_then(Value::as_str) {
        Some(reason) => format!("{}: {}", cell("/replay/outcome"), output::one_line(reason)),
        None => cell("/replay/outcome"),
    };
    let differs = match letter.pointer("/replay/differs") {
        Some(Value::Bool(true)) => ", another request than was sent last",
        Some(Value::Bool(false)) => ", the request that was sent last",
        Some(_) | None => "",
    };
    let sale = match letter.pointer("/replay/second_sale") {
        Some(Value::Bool(true)) => format!("; it may be a second sale: {}", known_again(letter)),
        Some(_) | None => String::new(),
    };
    format!("{outcome}{differs}{sale}")
}

fn attempt(attempt: &Value) -> Vec<String> {
    let cell = |name: &str| output::cell(attempt.get(name));
    let excerpt = output::cut(&cell("excerpt"), WHY_CHARS_MAX);
    vec![cell("at"), cell("verdict"), cell("status"), format!("{} ms", cell("duration_ms")), excerpt]
}

/// The request as an HTTP message under a heading, as `render` shows it.
fn request(letter: &Value, sent: Option<&Request>) -> Option<String> {
    let request = letter.get("request").filter(|request| !request.is_null())?;
    let cell = |name: &str| output::cell(letter.get(name));
    let mut text = format!(
        "### {}: {}, {}\n{} {}\n",
        cell("destination"),
        output::cell(letter.pointer("/replay/operation")),
        cell("id"),
        output::cell(request.get("method")),
        output::cell(request.get("url"))
    );
    for (name, value) in request.get("headers").and_then(Value::as_object).into_iter().flatten() {
        text.push_str(&format!("{name}: {}\n", output::cell(Some(value))));
    }
    if let Some(body) = sent.and_then(|sent| sent.body.as_deref()) {
        // A form is a text; JSON stands as it is.
        let body = serde_json::from_str::<String>(body.get()).unwrap_or_else(|_json| body.get().to_owned());
        text.push_str(&format!("\n{body}"));
    }
    Some(text.trim_end().to_owned())
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A table stays readable; `--json` shows the whole.
const WHY_CHARS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_as_it_goes_out() {
        #[track_caller]
        fn check(body: &str, expected: &str) {
            let answer = format!(
                r#"{{"destination":"dsp","id":"1","replay":{{"operation":"conversion"}},"request":
                {{"method":"POST","url":"https://dsp.example/","headers":{{"a":"***"}}{body}}}}}"#
            );
            let (value, bodies) = (serde_json::from_str(&answer).unwrap(), Bodies::of(answer.as_bytes()));
            let shown = request(&value, bodies.request.as_ref());
            assert_eq!(shown, Some(format!("### dsp: conversion, 1\nPOST https://dsp.example/\na: ***{expected}")));
        }
        check("", "");
        check(r#","body":{"b": 1.50,"a":"x"}"#, "\n\n{\"b\": 1.50,\"a\":\"x\"}");
        check(r#","body":"b=1&a=%20""#, "\n\nb=1&a=%20");
    }
}
