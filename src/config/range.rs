//! Ranges: `"Text{1..50}" = "custom.impact.Text{1..50} | string"` is fifty lines.
//!
//! Written once, and read as if each line had been written: whatever overrides, takes away or breaks one of them does so
//! to that one alone. A line of its own goes before the range's line of the same name. Every copy stands where the range
//! was written, and what is wrong with several of them is said once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::files::Files;
use super::report::Faults;
use super::tree::{Entry, Node, Table, Value};
use crate::mapping::{Fault, Span, Text};

/// Writes out the ranges of an operation's request keys.
pub(super) fn expand(table: &mut Table, files: &mut Files, faults: &mut Faults) {
    for key in LINES {
        if let Some(lines) = table.table_mut(key) {
            expand_keys(lines, files, faults);
        }
    }
    for key in RULES {
        if let Some(rules) = table.table_mut(key) {
            expand_keys(rules, files, faults);
            rules.entries.iter_mut().for_each(|entry| expand_names(&mut entry.node, files, faults));
        }
    }
    for entry in table.entries.iter_mut().filter(|entry| GROUPS.contains(&entry.key.value.as_str())) {
        if let Value::List(groups) = &mut entry.node.value {
            groups.iter_mut().for_each(|group| expand_names(group, files, faults));
        }
    }
}

/// One entry for each number of a key's range.
fn expand_keys(table: &mut Table, files: &mut Files, faults: &mut Faults) {
    let has_range = |entry: &Entry| entry.key.value.contains("..");
    if !table.entries.iter().any(has_range) {
        return;
    }
    let mut taken: BTreeSet<String> =
        table.entries.iter().filter(|entry| !has_range(entry)).map(|entry| entry.key.value.clone()).collect();
    let own = taken.clone();
    let mut entries = Vec::with_capacity(table.entries.len());
    for entry in std::mem::take(&mut table.entries) {
        let range = match Range::of(&entry.key) {
            Ok(Some(range)) => range,
            Ok(None) => {
                entries.push(entry);
                continue;
            }
            Err(fault) => {
                faults.extend(vec![fault]);
                continue;
            }
        };
        files.say_once(&whole(&entry));
        for number in range.numbers.clone() {
            let key = range.text(&entry.key, number);
            if own.contains(&key.value) {
                continue;
            }
            if !taken.insert(key.value.clone()) {
                let message = format!("`{}` is in two ranges", key.value);
                faults.with_help(key.span, message, "let one of them end before it");
                break;
            }
            entries.push(Entry { key, node: range.node(&entry.node, number) });
        }
    }
    table.entries = entries;
}

/// One name for each number of a range, in a list of names.
fn expand_names(list: &mut Node, files: &mut Files, faults: &mut Faults) {
    let Value::List(names) = &mut list.value else { return };
    let mut expanded = Vec::with_capacity(names.len());
    for node in std::mem::take(names) {
        let range = if let Value::Text { text, .. } = &node.value { Range::of(text) } else { Ok(None) };
        match range {
            Ok(None) => expanded.push(node),
            Ok(Some(range)) => {
                files.say_once(&node.span);
                expanded.extend(range.numbers.clone().map(|number| range.node(&node, number)));
            }
            Err(fault) => faults.extend(vec![fault]),
        }
    }
    *names = expanded;
}

/// `{1..50}`, as it stands in a name.
struct Range {
    written: String,
    numbers: RangeInclusive<u32>,
}

impl Range {
    /// The range in a name, if there is one.
    fn of(name: &Text) -> Result<Option<Range>, Fault> {
        let mut found = braced(&name.value).filter(|(_, inner)| inner.contains(".."));
        let Some((start, inner)) = found.next() else { return Ok(None) };
        let written = format!("{{{inner}}}");
        let fault = |message: &str| name.fault(start..start.saturating_add(written.len()), message);
        if found.next().is_some() {
            return Err(fault("two ranges in one name").with_help("write one of them out"));
        }
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| number.to_string() == text);
        let Some((from, to)) = inner.split_once("..").and_then(|(from, to)| Some((number(from)?, number(to)?))) else {
            return Err(fault(&format!("`{written}` is no range")).with_help("two whole numbers: `{1..50}`"));
        };
        match to.checked_sub(from) {
            None => {
                Err(fault(&format!("`{written}` ends before it begins")).with_help("the smaller number comes first"))
            }
            Some(steps) if steps >= LINES_MAX => {
                Err(fault(&format!("`{written}` is too long: a range is at most {LINES_MAX} lines")))
            }
            Some(_) => Ok(Some(Range { written, numbers: from..=to })),
        }
    }

    /// A text with the number in the range's place, underlined as a whole where it is at fault.
    fn text(&self, text: &Text, number: u32) -> Text {
        if !text.value.contains(&self.written) {
            return text.clone();
        }
        let value = text.value.replace(&self.written, &number.to_string());
        Text { value, span: text.span.clone(), verbatim: false }
    }

    /// A value with the number in the range's place, wherever it names the same range.
    fn node(&self, node: &Node, number: u32) -> Node {
        let value = match &node.value {
            Value::Text { text, resolved } => Value::Text { text: self.text(text, number), resolved: *resolved },
            Value::List(list) => Value::List(list.iter().map(|node| self.node(node, number)).collect()),
            Value::Table(table) => {
                let entry = |entry: &Entry| Entry { key: entry.key.clone(), node: self.node(&entry.node, number) };
                Value::Table(Table { entries: table.entries.iter().map(entry).collect() })
            }
            other @ (Value::Unresolved | Value::Integer(_) | Value::Float | Value::Bool(_) | Value::Datetime) => {
                other.clone()
            }
        };
        Node { span: node.span.clone(), value }
    }
}

/// What stands in braces, and where the brace opens.
fn braced(name: &str) -> impl Iterator<Item = (usize, &str)> {
    name.match_indices('{').filter_map(|(start, _)| {
        let (inner, _) = name.get(start..)?.strip_prefix('{')?.split_once('}')?;
        Some((start, inner))
    })
}

/// From the key's first byte to the value's last.
fn whole(entry: &Entry) -> Span {
    let (key, value) = (&entry.key.span, &entry.node.span);
    Span { file: key.file, range: key.range.start..value.range.end.max(key.range.end) }
}

/// Four times the longest series of fields that a platform documents.
const LINES_MAX: u32 = 200;
/// Tables of output fields, whose values may be lists of expressions.
const LINES: [&str; 4] = ["query", "map", "outputs", "max_length"];
/// Tables of lists of output fields, by output field.
const RULES: [&str; 2] = ["required_with", "omit_with"];
/// Lists of lists of output fields.
const GROUPS: [&str; 2] = ["require_any", "exactly_one"];
