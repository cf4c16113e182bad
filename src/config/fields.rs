//! What a preset sends, as a Markdown table: each of the vendor's fields, the expression that the preset writes for it, and
//! what the vendor's contract says of it. Made from the preset's own text, so that no second list of fields can fall behind.

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

/// One operation: what it calls, its fields in the order in which the preset writes them, and what holds between them.
fn section(operation: &mut Table, name: &str, files: &Files) -> String {
    let text =
        |operation: &Table, key: &str| operation.entry(key).map(|entry| written(entry, files)).unwrap_or_default();
    let (method, url) = (text(operation, "method"), text(operation, "url"));
    let rules = between(operation);
    if let Some(outputs) = operation.table_mut("outputs") {
        outputs.flatten_outputs(files);
    }
    let outputs: Vec<Entry> = operation.remove("outputs").into_iter().flat_map(members).collect();
    let mut rows = Vec::new();
    for (lines, place) in [("headers", " (header)"), ("query", " (query)"), ("map", "")] {
        let Some(table) = operation.table_mut(lines) else { continue };
        table.flatten(files);
        for entry in &table.entries {
            let field = entry.key.value.as_str();
            let said = outputs.iter().find(|output| lines != "headers" && output.key.value == field);
            let [contract, doc] = said.map(|said| contract(said, files)).unwrap_or_default();
            rows.push([format!("{}{place}", code(field)), code(&written(entry, files)), contract, doc]);
        }
    }
    let is_mapped = |field: &str| rows.iter().any(|[mapped, ..]| mapped.starts_with(&code(field)));
    let mut rest = Vec::new();
    for output in &outputs {
        let field = output.key.value.as_str();
        let why = output.node.value.as_table().and_then(|said| said.entry("unmapped"));
        let from = match (why, field.split_once("[].")) {
            (Some(why), _) => format!("not sent: {}", cell(&written(why, files))),
            (None, Some((list, _))) if !is_mapped(field) => format!("in {}", code(list)),
            (None, _) => continue,
        };
        let [contract, doc] = contract(output, files);
        rest.push([code(field), from, contract, doc]);
    }
    rows.append(&mut rest);
    let mut page = format!("### {name}: {}\n\n", code(format!("{method} {url}").trim()));
    page.push_str("| field | from | contract | what it is |\n| --- | --- | --- | --- |\n");
    page.extend(rows.iter().map(|row| format!("| {} |\n", row.join(" | "))));
    if !rules.is_empty() {
        page.push('\n');
        page.extend(rules.iter().map(|rule| format!("- {rule}\n")));
    }
    page
}

/// What the contract says of a field by itself, and what the field means.
fn contract(output: &Entry, files: &Files) -> [String; 2] {
    let Some(table) = output.node.value.as_table() else { return Default::default() };
    let said = |key: &str| table.entry(key).map(|entry| written(entry, files));
    let mut kind = said("type").unwrap_or_default();
    if let Some(chars_max) = said("max_length") {
        kind.push_str(&format!(" ≤ {chars_max}"));
    }
    let decimals = said("scale").map(|scale| format!("≤ {scale} decimals"));
    let words = table.entry("values").map(names).unwrap_or_default();
    let pii = table.entry("pii").map(|entry| {
        let kinds = text(&entry.node.value).map_or_else(|| names(entry), |kind| vec![kind]);
        match kinds.as_slice() {
            ["none"] => "names no person".to_owned(),
            ["plain"] => "never hashed".to_owned(),
            kinds => kinds.join(" or "),
        }
    });
    let over = match said("over").as_deref() {
        Some("omit") => Some("else left out".to_owned()),
        Some("truncate") => Some("else cut".to_owned()),
        Some(_) | None => None,
    };
    let required = said("required").filter(|flag| flag == "true").map(|_| "required".to_owned());
    let parts = [Some(kind), decimals, (!words.is_empty()).then(|| shortened(&words)), pii, over, required];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    [cell(&parts.join(", ")), cell(&said("doc").unwrap_or_default())]
}

/// What the contract says of fields beside each other, a sentence each.
fn between(operation: &Table) -> Vec<String> {
    let mut rules = Vec::new();
    for (key, rule) in [("require_any", "at least one is required"), ("exactly_one", "exactly one is required")] {
        let groups = operation.entry(key).map(|entry| &entry.node.value);
        let Some(Value::List(groups)) = groups else { continue };
        rules.extend(groups.iter().map(|group| format!("{rule}: {}", all(&texts(&group.value)))));
    }
    for entry in operation.table("required_with").map(|table| table.entries.as_slice()).unwrap_or_default() {
        let key = match entry.key.value.as_str() {
            "items" => "every item has".to_owned(),
            key => format!("{} stands only with", code(key)),
        };
        rules.push(format!("{key} {}", all(&names(entry))));
    }
    for entry in operation.table("omit_with").map(|table| table.entries.as_slice()).unwrap_or_default() {
        let rivals: Vec<String> = names(entry).into_iter().map(code).collect();
        rules.push(format!("{} is left out beside {}", code(&entry.key.value), rivals.join(" or ")));
    }
    rules
}

fn names(entry: &Entry) -> Vec<&str> {
    texts(&entry.node.value)
}

/// The texts of a list.
fn texts(value: &Value) -> Vec<&str> {
    let Value::List(entries) = value else { return Vec::new() };
    entries.iter().filter_map(|entry| text(&entry.value)).collect()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text { text, .. } => Some(&text.value),
        Value::Unresolved
        | Value::Integer(_)
        | Value::Float
        | Value::Bool(_)
        | Value::Datetime
        | Value::List(_)
        | Value::Table(_) => None,
    }
}

fn all(names: &[&str]) -> String {
    names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ")
}

/// The words that a field takes: all of a few, the first of many and their number.
fn shortened(words: &[&str]) -> String {
    match words.get(..WORDS_SHOWN) {
        Some(first) if words.len() > WORDS_SHOWN => {
            let first: Vec<String> = first.iter().map(|word| code(word)).collect();
            format!("{} … ({} words)", first.join(" "), words.len())
        }
        Some(_) | None => words.iter().map(|word| code(word)).collect::<Vec<_>>().join(" "),
    }
}

/// More of them would widen a table's column for one row.
const WORDS_SHOWN: usize = 6;

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

    #[test]
    fn a_field_stands_beside_what_the_contract_says_of_it() {
        for (preset, rows) in [
            (
                "impact",
                [
                    "| `OrderId` | `order_id ?? event_id` | text ≤ 64, required | the order; unique to the event type |",
                    "| text ≤ 255, names no person, else left out |",
                    "| text, sha1 or sha256 |",
                    "| number, ≤ 2 decimals |",
                    "- exactly one is required: `ItemPrice{i}`, `ItemSubTotal{i}`",
                    "- every item has `ItemSku{i}`, `ItemCategory{i}`, `ItemQuantity{i}`",
                    "- `MediaPartnerId` is left out beside `MediaId` or `ClickId`",
                ]
                .as_slice(),
            ),
            (
                "dsp",
                &[
                    "| array, required |",
                    "| `ids[].name` | in `ids` | text, `Guid` `Email` `HashedEmail` `Phone` `HashedPhone` `FirstPartyId` |",
                    "- at least one is required: `ids`",
                ],
            ),
        ] {
            let page = preset_fields(preset).unwrap();
            for row in rows {
                assert!(page.contains(row), "no {row} in\n{page}");
            }
        }
        assert_eq!(shortened(&["a", "b", "c", "d", "e", "f", "g"]), "`a` `b` `c` `d` `e` `f` … (7 words)");
    }
}
