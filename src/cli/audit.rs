//! `audit`: what was changed at a running relay, and by whom.

use clap::Args;
use serde_json::Value;

use super::{AdminArgs, ConfigurationArgs, client, output};

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// At most so many, newest first
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Continues where the list before it ended
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &AuditArgs) -> u8 {
    let after = args.after.map(|after| format!("&after={after}")).unwrap_or_default();
    let path = format!("/admin/audit?limit={}{after}", args.limit);
    client::show(client::admin(configuration, &args.admin, &path), args.json, listing)
}

fn listing(page: &Value) -> String {
    let changes = page.get("audit").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        return "nothing was changed".to_owned();
    }
    let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
    let table = output::table(&["id", "at", "who", "user", "what", "which", "outcome", "done", "reason"], &rows);
    match page.get("next").and_then(Value::as_u64) {
        Some(next) => format!("{table}\n\nmore: --after {next}"),
        None => table,
    }
}

fn row(change: &Value) -> Vec<String> {
    let cell = |name: &str| output::cell(change.get(name));
    let is_there = |name: &str| change.get(name).is_some_and(|value| !value.is_null());
    let which = change.get("filter").and_then(Value::as_object).into_iter().flatten();
    let which: Vec<String> = which.map(|(name, value)| format!("{name}={}", named(value))).collect();
    let done = if is_there("matched") { format!("{} of {}", cell("done"), cell("matched")) } else { "-".to_owned() };
    let outcome =
        if is_there("problem") { format!("{} ({})", cell("outcome"), cell("problem")) } else { cell("outcome") };
    let which = if which.is_empty() { "-".to_owned() } else { which.join(" ") };
    let reason = output::cut(&cell("reason"), REASON_CHARS_MAX);
    vec![cell("id"), cell("at"), cell("who"), cell("user"), cell("action"), which, outcome, done, reason]
}

/// A value, or several.
fn named(value: &Value) -> String {
    match value.as_array() {
        Some(several) => several.iter().map(|one| output::cell(Some(one))).collect::<Vec<_>>().join(","),
        None => output::cell(Some(value)),
    }
}

/// A table stays readable; `--json` shows the whole.
const REASON_CHARS_MAX: usize = 80;
