//! What the commands print. A closed pipe (`capi-relay schema | head`) ends the output, not the command.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::config::Difference;

/// One line (or several) on standard output.
pub(super) fn line(text: &(impl Display + ?Sized)) {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // A reader that went away wants no more output; there is nobody to tell.
        Err(cut) if cut.kind() != ErrorKind::BrokenPipe => {
            if !IS_CUT.swap(true, Ordering::Relaxed) {
                error(&format!("cannot write to standard output: {cut}"));
            }
        }
        Ok(()) | Err(_) => {}
    }
}

/// Whether something is lacking on standard output that somebody waits for.
pub(super) fn is_cut() -> bool {
    IS_CUT.load(Ordering::Relaxed)
}

static IS_CUT: AtomicBool = AtomicBool::new(false);

/// A report on standard error.
pub(super) fn error(text: &(impl Display + ?Sized)) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// An error with the chain of what caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A value of an answer as a cell: text as it stands, nothing as `-`.
pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// One difference between two requests: `null` is nothing.
pub(super) fn difference(difference: &Difference) -> Value {
    let Difference { place, expected, got } = difference;
    json!({"part": place.part(), "path": place.path(), "expected": expected, "got": got})
}

/// Why something is as it is: the reason, and the beginning of what the platform answered last.
pub(super) fn why(reason: Option<&Value>, last: Option<&Value>) -> String {
    let excerpt = last.and_then(|last| last.get("excerpt")).filter(|excerpt| !excerpt.is_null());
    let text = match (reason.filter(|reason| !reason.is_null()), excerpt) {
        (Some(reason), Some(excerpt)) => format!("{}: {}", cell(Some(reason)), cell(Some(excerpt))),
        (reason, excerpt) => cell(reason.or(excerpt)),
    };
    cut(&text, WHY_CHARS_MAX)
}

/// `1 conversion`, `2 conversions`.
pub(super) fn counted(count: impl Into<u64>, one: &str) -> String {
    match (count.into(), one.strip_suffix("ry")) {
        (1, _) => format!("1 {one}"),
        (count, Some(stem)) => format!("{count} {stem}ries"),
        (count, None) => format!("{count} {one}s"),
    }
}

/// JSON with a line for each member, the members in the order in which they stand and every number as it is written.
pub(super) fn laid_out(json: &str) -> String {
    let (mut out, mut depth) = (String::with_capacity(json.len()), 0_usize);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    let mut chars = json.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                out.push('"');
                let mut escaped = false;
                for char in chars.by_ref() {
                    out.push(char);
                    if char == '"' && !escaped {
                        break;
                    }
                    escaped = char == '\\' && !escaped;
                }
            }
            '{' | '[' => {
                out.push(char);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth = depth.saturating_add(1);
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(',');
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            blank if blank.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

/// A text in one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text in one line of at most so many characters.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    let line = one_line(text);
    let mut shown: String = line.chars().take(chars_max).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

/// A table stays readable; `--json` shows the whole.
const WHY_CHARS_MAX: usize = 120;

/// A table with left-aligned columns, two spaces between them, and a rule under the heading.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let title = heading.get(column).map_or(0, |title| title.chars().count());
        cells.max().unwrap_or(0).max(title)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut heading.iter().copied())];
    lines.push(widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  "));
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{counted, laid_out, table};

    #[test]
    fn one_is_one_and_others_are_several() {
        let told =
            [0_u64, 1, 2].map(|count| format!("{}, {}", counted(count, "conversion"), counted(count, "delivery")));
        assert_eq!(told, ["0 conversions, 0 deliveries", "1 conversion, 1 delivery", "2 conversions, 2 deliveries"]);
    }

    #[test]
    fn json_is_laid_out_as_it_stands() {
        let text = r#"{"z":{"b":99.90,"a":[1,{}, [ ]]},"a":"{,:\\\"\\\\","n":null}"#;
        let shown = laid_out(text);
        let again: String = shown.lines().map(str::trim_start).collect();
        assert_eq!(again, text.replace(", [ ]", ",[]").replace("\":", "\": ").replace("{,: ", "{,:"));
        assert_eq!(shown.lines().nth(2), Some("    \"b\": 99.90,"));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["purchase".to_owned(), "x".to_owned()], vec!["é".to_owned(), "yy".to_owned()]];
        assert_eq!(table(&["a", "what"], &rows), "a         what\n────────  ────\npurchase  x\né         yy");
    }
}
