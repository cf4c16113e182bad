//! What the commands print. A closed pipe (`capi-relay schema | head`) ends the output, not the command.

use std::fmt::Display;
use std::io::Write;

use serde_json::{Value, json};

use crate::config::Difference;

/// One line (or several) on standard output.
pub(super) fn line(text: &(impl Display + ?Sized)) {
    // A reader that went away wants no more output; there is nobody to tell.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

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
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["purchase".to_owned(), "x".to_owned()], vec!["é".to_owned(), "yy".to_owned()]];
        assert_eq!(table(&["a", "what"], &rows), "a         what\n────────  ────\npurchase  x\né         yy");
    }
}
