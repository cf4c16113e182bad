//! `reload`: has a running relay read its configuration anew.

use clap::Args;
use serde_json::{Value, json};

use super::{AdminArgs, ConfigurationArgs, client, output};

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Lets a destination go that is no longer in the file, although work waits for it: it is held until the destination is
    /// configured again; once for each
    #[arg(long, value_name = "NAME")]
    remove: Vec<String>,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `capi-relay reload`.
pub(super) fn command(configuration: &ConfigurationArgs, args: &ReloadArgs) -> u8 {
    let body = (!args.remove.is_empty()).then(|| json!({ "remove": args.remove }));
    client::show(client::bid(configuration, &args.admin, "/admin/reload", body.as_ref()), args.json, told)
}

/// `version 2 is in force: changed scaleo; removed dsp`.
fn told(reloaded: &Value) -> String {
    let changes = ["changed", "added", "removed"].into_iter().filter_map(|what| {
        let names: Vec<&str> = reloaded.get(what)?.as_array()?.iter().filter_map(Value::as_str).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    });
    let changes: Vec<String> = changes.collect();
    let changes = if changes.is_empty() { "no destination is another".to_owned() } else { changes.join("; ") };
    format!("version {} is in force: {changes}", output::cell(reloaded.get("version")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_in_a_line() {
        #[track_caller]
        fn check(reloaded: &Value, expected: &str) {
            assert_eq!(told(reloaded), expected);
        }
        let none: [&str; 0] = [];
        check(
            &json!({ "version": 2, "changed": ["a", "b"], "added": none, "removed": ["c"] }),
            "version 2 is in force: changed a, b; removed c",
        );
        check(
            &json!({ "version": 3, "changed": none, "added": none, "removed": none }),
            "version 3 is in force: no destination is another",
        );
    }
}
