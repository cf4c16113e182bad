//! `destinations`, `pause`, `resume`, `probe`: the destinations of a running relay.

use clap::Args;
use serde_json::{Value, json};

use super::{AdminArgs, ConfigurationArgs, DONE, NO, client, output};

#[derive(Debug, Args)]
pub(super) struct DestinationsArgs {
    /// One of them, from near
    name: Option<String>,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// Which destination
    name: String,
    /// Why, for whoever asks: shown in statuses
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    /// Which destination
    name: String,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &DestinationsArgs) -> u8 {
    match &args.name {
        None => client::show(client::admin(configuration, &args.admin, "/admin/destinations"), args.json, all),
        Some(name) => client::show(client::admin(configuration, &args.admin, &path(name)), args.json, near),
    }
}

pub(super) fn pause(configuration: &ConfigurationArgs, args: &PauseArgs) -> u8 {
    let body = args.reason.as_ref().map_or_else(|| json!({}), |reason| json!({"reason": reason}));
    // What is said of it stands in the place of what was said before.
    let before =
        client::admin(configuration, &args.admin, &path(&args.name)).ok().and_then(|answer| answer.json().ok());
    let path = format!("{}/pause", path(&args.name));
    let answer = client::bid(configuration, &args.admin, &path, Some(&body));
    client::show(answer, args.json, |after| paused(before.as_ref(), after))
}

/// What it was before, too, where it was paused already.
fn paused(before: Option<&Value>, after: &Value) -> String {
    let reason = |of: &Value| output::one_line(&output::cell(of.get("reason")));
    let before = before.filter(|before| before.get("state").and_then(Value::as_str) == Some("paused"));
    match before.map(reason) {
        Some(before) if before == reason(after) => format!("{}\nit was paused already", in_a_line(after)),
        Some(before) => {
            format!("{}\nit was paused already, and its reason is another now: it was: {before}", in_a_line(after))
        }
        None => in_a_line(after),
    }
}

pub(super) fn resume(configuration: &ConfigurationArgs, args: &OrderArgs) -> u8 {
    let path = format!("{}/resume", path(&args.name));
    client::show(client::bid(configuration, &args.admin, &path, None), args.json, in_a_line)
}

pub(super) fn probe(configuration: &ConfigurationArgs, args: &OrderArgs) -> u8 {
    let path = format!("{}/probe", path(&args.name));
    let answer = client::bid(configuration, &args.admin, &path, None);
    let verdict = answer.as_ref().ok().and_then(|answer| answer.json().ok());
    let verdict = verdict.as_ref().and_then(|answer| answer.pointer("/attempt/verdict")?.as_str());
    let is_well = verdict.is_some_and(|verdict| WELL.contains(&verdict));
    let code = client::show(answer, args.json, probed);
    if code == DONE && !is_well { NO } else { code }
}

fn path(name: &str) -> String {
    format!("/admin/destinations/{}", client::encoded(name))
}

fn all(answer: &Value) -> String {
    let destinations = answer.get("destinations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = destinations.iter().map(row).collect();
    output::table(
        &["destination", "state", "pending", "oldest", "dead", "in flight", "delivered/s", "p99", "why"],
        &rows,
    )
}

fn row(destination: &Value) -> Vec<String> {
    let cell = |path: &str| output::cell(destination.pointer(path));
    let oldest =
        destination.get("oldest_pending_s").and_then(Value::as_u64).map_or("-".to_owned(), |s| format!("{s} s"));
    let p99 =
        destination.pointer("/attempts/p99_ms").and_then(Value::as_u64).map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let in_flight = format!("{} of {}", cell("/in_flight"), cell("/concurrency"));
    let why: Vec<&str> = list(destination, "concerns").iter().filter_map(Value::as_str).collect();
    let why = if why.is_empty() { "-".to_owned() } else { why.join("; ") };
    vec![
        cell("/name"),
        cell("/state"),
        cell("/pending"),
        oldest,
        dead(destination),
        in_flight,
        cell("/rates/delivered"),
        p99,
        output::cut(&why, WHY_CHARS_MAX),
    ]
}

/// `3 (2 rejected, 1 unmappable)`.
fn dead(destination: &Value) -> String {
    let dead = output::cell(destination.get("dead"));
    let kinds = destination.get("dead_kinds").and_then(Value::as_object).into_iter().flatten();
    let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { dead } else { format!("{dead} ({})", kinds.join(", ")) }
}

/// `dsp: paused since 2026-01-31T12:00:00Z (maintenance), 3 pending, 1 dead`.
fn in_a_line(destination: &Value) -> String {
    let cell = |name: &str| output::cell(destination.get(name));
    let reason = destination.get("reason").and_then(Value::as_str).map(|reason| format!(" ({reason})"));
    format!(
        "{}: {}{}{}, {} pending, {} dead",
        cell("name"),
        cell("state"),
        destination.get("since").and_then(Value::as_str).map(|since| format!(" since {since}")).unwrap_or_default(),
        reason.map(|reason| output::one_line(&reason)).map(|reason| format!(" {reason}")).unwrap_or_default(),
        cell("pending"),
        dead(destination),
    )
}

fn near(destination: &Value) -> String {
    let cell = |path: &str| output::cell(destination.pointer(path));
    let mut lines = vec![
        in_a_line(destination),
        String::new(),
        format!(
            "in flight    {} of {}, at most {}",
            cell("/in_flight"),
            cell("/concurrency"),
            cell("/concurrency_limit")
        ),
        match destination.get("quota").filter(|quota| !quota.is_null()) {
            Some(_) => format!("quota        {}, {} at once", cell("/quota/rate"), cell("/quota/burst")),
            None => "quota        none".to_owned(),
        },
        format!(
            "last minute  {} delivered/s, {} retried/s, {} rejected/s",
            cell("/rates/delivered"),
            cell("/rates/retried"),
            cell("/rates/rejected")
        ),
        match destination.get("attempts").filter(|attempts| !attempts.is_null()) {
            Some(_) => format!(
                "attempts     {} in five minutes, p50 {} ms, p99 {} ms",
                cell("/attempts/count"),
                cell("/attempts/p50_ms"),
                cell("/attempts/p99_ms")
            ),
            None => "attempts     none in five minutes".to_owned(),
        },
        breaker(destination),
    ];
    if let Some(oldest) = destination.get("oldest_pending_s").and_then(Value::as_u64) {
        lines.push(format!("oldest       {oldest} s old"));
    }
    lines.extend(list(destination, "refused_credentials").iter().map(refused));
    let errors: Vec<Vec<String>> = list(destination, "last_errors").iter().map(error).collect();
    if !errors.is_empty() {
        lines.push(String::new());
        lines.push(output::table(&["at", "verdict", "status", "conversion", "answer"], &errors));
    }
    lines.join("\n")
}

fn breaker(destination: &Value) -> String {
    let cell = |path: &str| output::cell(destination.pointer(path));
    let is_there = |path: &str| destination.pointer(path).is_some_and(|value| !value.is_null());
    let mut line = format!("breaker      {}", cell("/breaker/state"));
    if is_there("/breaker/cause") {
        line.push_str(&format!(" ({})", cell("/breaker/cause")));
    }
    if is_there("/breaker/next_probe_at") {
        line.push_str(&format!(", next probe {}", cell("/breaker/next_probe_at")));
    }
    if is_there("/breaker/held_back_until") {
        line.push_str(&format!(", held back until {}", cell("/breaker/held_back_until")));
    }
    line
}

fn refused(credential: &Value) -> String {
    let operations: Vec<&str> = list(credential, "operations").iter().filter_map(Value::as_str).collect();
    let next = output::cell(credential.get("next_probe_at"));
    format!("refused      {}: {}, next probe {next}", operations.join(", "), output::cell(credential.get("reason")))
}

fn error(error: &Value) -> Vec<String> {
    let cell = |name: &str| output::cell(error.get(name));
    vec![cell("at"), cell("verdict"), cell("status"), cell("id"), output::cut(&cell("excerpt"), WHY_CHARS_MAX)]
}

fn probed(answer: &Value) -> String {
    let cell = |path: &str| output::cell(answer.pointer(path));
    let excerpt =
        answer.pointer("/attempt/excerpt").and_then(Value::as_str).map(|text| output::cut(text, WHY_CHARS_MAX));
    let line = format!(
        "{}: {}, status {}, {} ms{}",
        cell("/id"),
        cell("/attempt/verdict"),
        cell("/attempt/status"),
        cell("/attempt/duration_ms"),
        excerpt.map(|excerpt| format!(": {excerpt}")).unwrap_or_default(),
    );
    match answer.get("destination") {
        Some(destination) => format!("{line}\n{}", in_a_line(destination)),
        None => line,
    }
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// What a probe that did not end well did not end with.
const WELL: [&str; 3] = ["delivered", "duplicate", "accepted"];
/// A table stays readable; `--json` shows the whole.
const WHY_CHARS_MAX: usize = 100;
