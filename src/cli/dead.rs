//! `dead`: the dead letters of a running relay.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{AdminArgs, ConfigurationArgs, client, output};

/// What is done with dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DeadCommand {
    /// Lists them, oldest first
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Those of one destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Those of one kind: rejected, unknown, unmappable, exhausted or expired
    #[arg(long)]
    kind: Option<String>,
    /// Those given up at or after this RFC 3339 time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Continues a list where the one before it ended
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn command(configuration: &ConfigurationArgs, command: &DeadCommand) -> u8 {
    let DeadCommand::List(args) = command;
    client::show(client::admin(configuration, &args.admin, &path(args)), args.json, listing)
}

fn path(args: &ListArgs) -> String {
    let mut query = form_urlencoded::Serializer::new(String::from("/admin/dead?"));
    query.append_pair("limit", &args.limit.to_string());
    let filters =
        [("destination", &args.destination), ("kind", &args.kind), ("since", &args.since), ("after", &args.after)];
    for (name, value) in filters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

fn listing(page: &Value) -> String {
    let dead = page.get("dead").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if dead.is_empty() {
        return "no dead letters".to_owned();
    }
    let rows: Vec<Vec<String>> = dead.iter().map(row).collect();
    let table = output::table(&["destination", "conversion", "kind", "at", "attempts", "why"], &rows);
    match page.get("next").and_then(Value::as_str) {
        Some(next) => format!("{table}\n\nmore: --after {next}"),
        None => table,
    }
}

fn row(letter: &Value) -> Vec<String> {
    let mut cells = ["destination", "id", "kind", "at", "attempts"].map(|name| output::cell(letter.get(name))).to_vec();
    cells.push(output::why(letter.get("reason"), letter.get("last")));
    cells
}
