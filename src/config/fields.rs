//! What a preset sends, as a Markdown table: each of the vendor's fields, and the expression that the preset writes for it.
//! Made from the preset's own text, so that no second list of fields can fall behind.

use super::files::Files;
use super::preset::presets;
use super::report::Faults;
use super::tree::{Builder, Entry, Table, Value};

/// The fields of a preset, operation by operation; `None`: there is no such preset.
pub fn preset_fields(name: &str) -> Option<String> {
    let (_, text) = presets().iter().find(|(known, _)| *known == name)?;
    let (mut files, mut faults) = (Files::default(), Faults::default());
    let file = files.add(format!("preset {name}"), (*text).to_owned());
    let mut preset = Builder { files: &mut files, faults: &mut faults, interpolation: None }.parse(file)?;
    let operations = preset.remove("operation");
    let mut page = section(&mut preset, "conversion", &files);
    for Entry { key, node } in operations.into_iter().flat_map(members) {
        if let Value::Table(mut operation) = node.value {
            page.push('\n');
            page.push_str(&section(&mut operation, &key.value, &files));
        }
    }
    Some(page)
}

/// One operation: what it calls, and its fields in the order in which the preset writes them.
fn section(operation: &mut Table, name: &str, files: &Files) -> String {
    let text =
        |operation: &Table, key: &str| operation.entry(key).map(|entry| written(entry, files)).unwrap_or_default();
    let (method, url) = (text(operation, "method"), text(operation, "url"));
    if let Some(outputs) = operation.table_mut("outputs") {
        outputs.flatten_outputs(files);
    }
    let outputs: Vec<Entry> = operation.remove("outputs").into_iter().flat_map(members).collect();
    let about = |field: &str, key: &str| {
        let output = outputs.iter().find(|output| output.key.value == field)?.node.value.as_table()?;
        output.entry(key).map(|entry| written(entry, files))
    };
    let mut rows = Vec::new();
    for (lines, place) in [("headers", " (header)"), ("query", " (query)"), ("map", "")] {
        let Some(table) = operation.table_mut(lines) else { continue };
        table.flatten(files);
        for entry in &table.entries {
            let field = entry.key.value.as_str();
            let doc = about(field, "doc").unwrap_or_default();
            rows.push([format!("{}{place}", code(field)), code(&written(entry, files)), cell(&doc)]);
        }
    }
    for output in &outputs {
        let field = output.key.value.as_str();
        if let Some(why) = about(field, "unmapped") {
            let doc = about(field, "doc").unwrap_or_default();
            rows.push([code(field), format!("not sent: {}", cell(&why)), cell(&doc)]);
        }
    }
    let has_doc = rows.iter().any(|[_, _, doc]| !doc.is_empty());
    let mut page = format!("### {name}: {}\n\n", code(format!("{method} {url}").trim()));
    page.push_str(if has_doc {
        "| field | from | what it is |\n| --- | --- | --- |\n"
    } else {
        "| field | from |\n| --- | --- |\n"
    });
    for [field, from, doc] in rows {
        page.push_str(&if has_doc {
            format!("| {field} | {from} | {doc} |\n")
        } else {
            format!("| {field} | {from} |\n")
        });
    }
    page
}

fn members(entry: Entry) -> Vec<Entry> {
    if let Value::Table(table) = entry.node.value { table.entries } else { Vec::new() }
}

/// A value as the preset writes it, in one line; a string without its quotes.
fn written(entry: &Entry, files: &Files) -> String {
    let text = match &entry.node.value {
        Value::Text { text, .. } => text.value.as_str(),
        Value::Unresolved
        | Value::Integer(_)
        | Value::Float
        | Value::Bool(_)
        | Value::Datetime
        | Value::List(_)
        | Value::Table(_) => files.text(entry.node.span.file).get(entry.node.span.range.clone()).unwrap_or_default(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Code in a cell. A backslash before `|` keeps the cell whole, in code too.
fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_a_table_of_its_fields() {
        for (name, _) in presets() {
            let page = preset_fields(name).unwrap();
            assert!(page.starts_with("### conversion: `"), "{page}");
            assert!(page.lines().filter(|line| line.starts_with("| `")).count() > 5, "{page}");
        }
        assert_eq!(preset_fields("nobody"), None);
    }

    #[test]
    fn a_field_stands_beside_the_expression_that_the_preset_writes() {
        let page = preset_fields("trackdesk").unwrap();
        for row in [
            "| `x-api-key` (header) | `{secrets.api_key}` |",
            "| `amount.value` | `value \\| string` |",
            "| `couponCodes[]` | `custom.trackdesk.couponCodes ?? attribution.promo_code` |",
        ] {
            assert!(page.lines().any(|line| line.starts_with(row.trim_end_matches(" |"))), "no {row} in\n{page}");
        }
    }
}
