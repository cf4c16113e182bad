//! `check`: whether the configuration is right; with `--json` as one document, for editors and CI.

mod online;

use clap::Args;
use serde_json::{Value, json};

use super::settings::Failure;
use super::{ConfigurationArgs, DONE, NO, ReadingArgs, output, settings};
use crate::config::{Config, Located};
use crate::traces::{self, Outlook};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Prints one JSON document: `ok`, and every fault and warning with file, line, column, end, message, help and severity
    #[arg(long)]
    json: bool,
    /// Connects to each destination's hosts, too, and says what it saw; sends nothing
    #[arg(long, conflicts_with = "json")]
    online: bool,
    #[command(flatten)]
    reading: ReadingArgs,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &CheckArgs) -> u8 {
    let checked = settings::check(configuration, &args.reading)
        .and_then(|config| settings::traces().map(|traces| (config, traces)).map_err(Failure::Unread));
    let mut code = if checked.is_ok() { DONE } else { NO };
    match checked {
        checked if args.json => output::line(&format!("{:#}", document(&checked))),
        Ok((config, traces)) => {
            if !config.warnings.is_empty() {
                output::error(&config.warnings);
            }
            output::line(config.summary().to_string().trim_end());
            if let Some(outlook) = in_words(&traces.outlook()) {
                output::line(&outlook);
            }
            if args.online && !online::reach(&config) {
                code = NO;
            }
        }
        Err(Failure::Unread(message)) => output::error(&message),
        Err(Failure::Wrong(report)) => output::error(&report),
    }
    code
}

/// What becomes of traces; nothing, where nobody asked for them.
fn in_words(outlook: &Outlook) -> Option<String> {
    match outlook {
        Outlook::Off => None,
        Outlook::Exported { collector, exposed } => {
            let exposed = if *exposed { "; its headers go over plain HTTP" } else { "" };
            Some(format!("traces      to {collector}{exposed}"))
        }
        Outlook::NotBuilt { variable } => {
            Some(format!("traces      none: {variable} is set, and this build is without the feature `otlp`"))
        }
    }
}

/// The members and their order of meaning are kept; new ones may come.
fn document(checked: &Result<(Config, traces::Settings), Failure>) -> Value {
    let faults: Vec<Value> = match checked {
        Ok((config, _)) => config.warnings.located().iter().map(fault).collect(),
        Err(Failure::Unread(message)) => {
            let nowhere = Value::Null;
            vec![json!({
                "severity": "error", "file": nowhere, "line": nowhere, "column": nowhere, "end": nowhere,
                "message": message, "help": nowhere,
            })]
        }
        Err(Failure::Wrong(report)) => report.located().iter().map(fault).collect(),
    };
    json!({ "ok": checked.is_ok(), "faults": faults })
}

fn fault(fault: &Located) -> Value {
    let (end_line, end_column) = fault.end;
    json!({
        "severity": fault.severity.as_str(), "file": fault.file, "line": fault.line, "column": fault.column,
        "end": { "line": end_line, "column": end_column }, "message": fault.message, "help": fault.help,
    })
}
