//! `reconcile`: what was accepted and what became of it, in numbers and exact sums.

use clap::Args;
use percent_encoding::NON_ALPHANUMERIC;
use serde_json::Value;

use super::{AdminArgs, ConfigurationArgs, NO, client, output};

#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// The first day on which conversions were received (UTC) [default: the last one]
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<String>,
    /// The last day [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Option<String>,
    /// Only what this destination was owed
    #[arg(short, long, value_name = "NAME")]
    destination: Option<String>,
    /// Only of this merchant
    #[arg(long, value_name = "NAME")]
    merchant: Option<String>,
    /// As a table for a spreadsheet
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &ReconcileArgs) -> u8 {
    let given =
        [("from", &args.from), ("to", &args.to), ("destination", &args.destination), ("merchant", &args.merchant)];
    let encoded = |text: &str| percent_encoding::utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let query = given.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
    let path = format!("/admin/reconcile?{}", query.collect::<Vec<_>>().join("&"));
    let answer = client::patient(configuration, &args.admin, &path);
    let books = answer.as_ref().ok().filter(|answer| answer.is_success()).and_then(|answer| answer.json().ok());
    let is_right = books.as_ref().is_none_or(holds);
    if args.csv {
        // Beside the table, which is for a program.
        books.iter().flat_map(notes).for_each(|note| output::error(&note));
    }
    let shown = client::show(answer, args.json, |books| if args.csv { csv(books) } else { page(books) });
    if is_right { shown } else { NO.max(shown) }
}

/// Whether nothing is damaged, and what is kept is what is counted.
fn holds(books: &Value) -> bool {
    rows(books, "differences").is_empty() && books.get("unread").and_then(Value::as_u64) == Some(0)
}

fn rows<'b>(books: &'b Value, name: &str) -> &'b [Value] {
    books.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

const ACCOUNT: [&str; 4] = ["day", "kind", "test", "currency"];

/// What was accepted has the state `accepted by the relay`: it is no delivery.
fn table(books: &Value) -> Vec<Vec<String>> {
    let cell = |row: &Value, name: &str| match row.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(value) => output::cell(Some(value)),
    };
    let account = |row: &Value| ACCOUNT.iter().map(|name| cell(row, name)).collect::<Vec<_>>();
    let sums = |row: &Value| ["count", "sum"].iter().map(|name| cell(row, name)).collect::<Vec<_>>();
    let accepted = rows(books, "accepted").iter().map(|row| {
        let none = vec![String::new(), "received".to_owned(), String::new()];
        [account(row), none, sums(row)].concat()
    });
    let deliveries = rows(books, "deliveries").iter().map(|row| {
        let stands = ["destination", "state", "dead_kind"].iter().map(|name| cell(row, name)).collect();
        [account(row), stands, sums(row)].concat()
    });
    let mut all: Vec<Vec<String>> = accepted.chain(deliveries).collect();
    all.sort_by_cached_key(|row| row.iter().take(5).cloned().collect::<Vec<_>>());
    all
}

const HEADING: [&str; 9] = ["day", "kind", "test", "currency", "destination", "state", "dead_kind", "count", "sum"];

fn csv(books: &Value) -> String {
    let line = |cells: &[String]| cells.iter().map(|cell| field(cell)).collect::<Vec<_>>().join(",");
    let (heading, rows) = (HEADING.map(str::to_owned), table(books));
    let lines = std::iter::once(line(&heading)).chain(rows.iter().map(|row| line(row)));
    lines.collect::<Vec<_>>().join("\r\n")
}

/// By RFC 4180.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

fn page(books: &Value) -> String {
    let cell = |name: &str| output::cell(books.get(name));
    let shown = |text: &String| if text.is_empty() { "-".to_owned() } else { text.clone() };
    let rows_shown: Vec<Vec<String>> = table(books).iter().map(|row| row.iter().map(shown).collect()).collect();
    let mut lines = vec![format!("received from {} to {} (UTC), as of {}", cell("from"), cell("to"), cell("as_of"))];
    lines.push(if rows_shown.is_empty() { "nothing".to_owned() } else { output::table(&HEADING, &rows_shown) });
    lines.extend(notes(books));
    if holds(books) {
        lines.push("what is kept is what is counted".to_owned());
    }
    lines.join("\n")
}

/// What the sums do not say.
fn notes(books: &Value) -> Vec<String> {
    let cell = |name: &str| output::cell(books.get(name));
    let mut lines = Vec::new();
    if books.get("kept_since").is_some_and(Value::is_string) && cell("from") < cell("kept_since") {
        lines.push(format!("what was settled before {} may be kept no more (history.keep)", cell("kept_since")));
    }
    for (name, what) in
        [("forgotten", "forgotten on request"), ("unread", "damaged, whosever they are: see `capi-relay recover`")]
    {
        if books.get(name).and_then(Value::as_u64) != Some(0) {
            lines.push(format!("{} more are {what}, and in no sum", cell(name)));
        }
    }
    for row in rows(books, "differences") {
        let of = |name: &str| output::cell(row.get(name));
        let (pending, pending_counted, dead) = (of("pending"), of("pending_counted"), of("dead"));
        lines.push(format!(
            "{}: {pending} pending deliveries are kept and {pending_counted} counted, {dead} dead letters and {}",
            of("destination"),
            of("dead_counted")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_for_a_spreadsheet_quotes_what_it_must() {
        assert_eq!(field("a"), "a");
        assert_eq!(field("a,b\"c"), "\"a,b\"\"c\"");
        let books = json!({
            "from": "2026-01-01", "to": "2026-01-01", "as_of": "2026-01-02T00:00:00Z", "kept_since": "2025-12-01T00:00:00Z",
            "accepted": [{"day": "2026-01-01", "kind": "conversion", "test": false, "currency": "EUR", "count": 2, "sum": "3.50"}],
            "deliveries": [{"destination": "a", "day": "2026-01-01", "kind": "conversion", "test": false, "currency": "EUR",
                "state": "dead", "dead_kind": "rejected", "count": 2, "sum": "3.50"}],
            "forgotten": 0, "unread": 0, "differences": [],
        });
        let expected = "day,kind,test,currency,destination,state,dead_kind,count,sum\r\n\
            2026-01-01,conversion,false,EUR,,received,,2,3.50\r\n\
            2026-01-01,conversion,false,EUR,a,dead,rejected,2,3.50";
        assert_eq!(csv(&books), expected);
        assert!(page(&books).ends_with("what is kept is what is counted"), "{}", page(&books));
    }

    #[test]
    fn what_the_sums_do_not_say_is_said_beside_a_table_for_a_spreadsheet() {
        let books = json!({
            "from": "2026-01-01", "kept_since": "2026-01-05T00:00:00Z", "forgotten": 2, "unread": 0, "differences": [],
        });
        let said = [
            "what was settled before 2026-01-05T00:00:00Z may be kept no more (history.keep)",
            "2 more are forgotten on request, and in no sum",
        ];
        assert_eq!(notes(&books), said);
    }

    #[test]
    fn what_does_not_hold_is_said_and_is_no_success() {
        let books = json!({
            "from": "2026-01-01", "to": "2026-01-01", "as_of": "2026-01-02T00:00:00Z", "kept_since": "2026-01-01T12:00:00Z",
            "accepted": [], "deliveries": [], "forgotten": 3, "unread": 1,
            "differences": [{"destination": "a", "pending": 1, "pending_counted": 2, "dead": 0, "dead_counted": 0}],
        });
        assert!(!holds(&books));
        let page = page(&books);
        for words in ["nothing", "may be kept no more", "3 more are forgotten", "1 more are damaged", "a: 1 pending"] {
            assert!(page.contains(words), "{words:?} is not in {page}");
        }
    }
}
