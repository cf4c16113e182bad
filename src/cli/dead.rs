//! `dead`: the dead letters of a running relay.

mod plan;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{AdminArgs, ConfigurationArgs, WRONG_USE, client, output};

/// What is done with dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DeadCommand {
    /// Lists them, oldest first
    List(ListArgs),
    /// Shows one with all attempts that are kept, and what a replay would send
    Show(ShowArgs),
    /// Sends them again: they are owed from now on, mapped by the configuration in force
    Replay(ReplayArgs),
    /// Puts them away: nothing more is sent, and their statuses say why
    Discard(DiscardArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: WhichArgs,
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

/// Which ones; all that is said must be so.
#[derive(Debug, Args)]
struct WhichArgs {
    /// Those of one destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Those of one kind: rejected, unknown, unmappable, exhausted or expired
    #[arg(long)]
    kind: Option<String>,
    /// Those given up at or after this RFC 3339 time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Those given up before this RFC 3339 time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Those of one order
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// Those of one merchant
    #[arg(long, value_name = "NAME")]
    merchant: Option<String>,
    /// Those with these words in their reason or in the last answer, in either case
    #[arg(long, value_name = "TEXT")]
    contains: Option<String>,
}

impl WhichArgs {
    fn named(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let WhichArgs { destination, kind, since, until, order_id, merchant, contains } = self;
        let all = [("destination", destination), ("kind", kind), ("since", since), ("until", until)];
        let all = all.into_iter().chain([("order_id", order_id), ("merchant", merchant), ("contains", contains)]);
        all.filter_map(|(name, value)| Some((name, value.as_ref()?)))
    }
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Where it was to go
    destination: String,
    /// The conversion's
    id: String,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// That of this conversion; again for each
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// Does nothing, and says what a replay would send, what that is worth, and what may be a second sale
    #[arg(long)]
    plan: bool,
    /// Of a plan, at most so many on a page
    #[arg(long, requires = "plan")]
    limit: Option<usize>,
    /// Continues a plan where the page before it ended
    #[arg(long, value_name = "CURSOR", requires = "plan")]
    after: Option<String>,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    replay: ReplayArgs,
    /// Why, for whoever asks later
    #[arg(long, value_name = "TEXT", required_unless_present = "plan")]
    reason: Option<String>,
}

pub(super) fn command(configuration: &ConfigurationArgs, command: &DeadCommand) -> u8 {
    match command {
        DeadCommand::List(args) => {
            client::show(client::admin(configuration, &args.admin, &path(args)), args.json, listing)
        }
        DeadCommand::Show(args) => {
            let path = format!("/admin/dead/{}/{}", client::encoded(&args.destination), client::encoded(&args.id));
            let answer = client::admin(configuration, &args.admin, &path);
            let bodies = bodies(&answer);
            client::show(answer, args.json, |letter| plan::letter(letter, &bodies))
        }
        DeadCommand::Replay(args) => treat(configuration, args, None, "/admin/dead/replay", "replayed"),
        DeadCommand::Discard(DiscardArgs { replay: args, reason }) => {
            treat(configuration, args, reason.as_deref(), "/admin/dead/discard", "discarded")
        }
    }
}

fn treat(configuration: &ConfigurationArgs, args: &ReplayArgs, reason: Option<&str>, path: &str, done: &str) -> u8 {
    if !args.plan && args.ids.is_empty() && args.which.named().next().is_none() {
        output::error(WHICH);
        return WRONG_USE;
    }
    let answer = client::bid(configuration, &args.admin, path, Some(&meant(args, reason)));
    let bodies = bodies(&answer);
    client::show(
        answer,
        args.json,
        |answer| if args.plan { plan::page(answer, &bodies) } else { counted(answer, done) },
    )
}

fn bodies(answer: &Result<client::Answer, String>) -> plan::Bodies {
    answer.as_ref().map(|answer| plan::Bodies::of(&answer.body)).unwrap_or_default()
}

fn meant(args: &ReplayArgs, reason: Option<&str>) -> Value {
    let named = args.which.named().map(|(name, value)| (name.to_owned(), Value::from(value.as_str())));
    let ids = (!args.ids.is_empty()).then(|| ("ids".to_owned(), Value::from(args.ids.clone())));
    let reason = reason.filter(|_| !args.plan).map(|reason| ("reason".to_owned(), Value::from(reason)));
    let plan = args.plan.then(|| ("plan".to_owned(), Value::from(true)));
    let limit = args.limit.map(|limit| ("limit".to_owned(), Value::from(limit)));
    let after = args.after.as_ref().map(|after| ("after".to_owned(), Value::from(after.as_str())));
    Value::Object(named.chain(ids).chain(reason).chain(plan).chain(limit).chain(after).collect())
}

fn counted(answer: &Value, done: &str) -> String {
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    match (count("matched"), count(done)) {
        (0, _) => "none is meant".to_owned(),
        (matched, all) if matched == all => format!("{all} {done}"),
        (matched, some) => format!("{some} of {matched} {done}; somebody else was faster with the others"),
    }
}

fn path(args: &ListArgs) -> String {
    let mut query = form_urlencoded::Serializer::new(String::from("/admin/dead?"));
    query.append_pair("limit", &args.limit.to_string());
    for (name, value) in args.which.named().chain(args.after.iter().map(|after| ("after", after))) {
        query.append_pair(name, value);
    }
    query.finish()
}

fn listing(page: &Value) -> String {
    let dead = page.get("dead").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = dead.iter().map(row).collect();
    let table = match (dead.is_empty(), page.get("next").is_some_and(Value::is_string)) {
        (true, false) => return "no dead letters".to_owned(),
        (true, true) => "none among those looked at so far".to_owned(),
        (false, _) => output::table(&["destination", "conversion", "kind", "at", "attempts", "why"], &rows),
    };
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

/// A slip of the pen must not deal with everything.
const WHICH: &str = "say which ones: --destination, --id, --kind, --since, --until, --order-id, --merchant, --contains; all of one \
                     destination: --destination NAME. --plan alone looks at all of them, and does nothing";
