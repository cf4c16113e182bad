//! The schema for people and tools: JSON Schema 2020-12, and the README's table of fields. Both are made from the table.

use serde_json::{Map, Value, json};

use super::EventKind;
use super::schema::{
    EMAIL_CHARS_MAX, Field, INT_MAX, ITEM_PREFIX, ITEMS_MAX, Kind, MAP_KEY_CHARS_MAX, MAP_KEYS_MAX, MAP_TEXT_CHARS_MAX,
    SCHEMA, URL_CHARS_MAX,
};

/// JSON Schema 2020-12 of the canonical conversion.
///
/// What it cannot say, the relay checks beyond it: members that stand twice, exponents in numbers, codes and dates that
/// do not exist, the size and depth of free data.
pub fn json_schema() -> Value {
    let (items, top): (Vec<_>, Vec<_>) = SCHEMA.iter().partition(|field| field.path.starts_with(ITEM_PREFIX));
    let top: Vec<Row> = top.iter().map(|field| (field.path, *field)).collect();
    let items: Vec<Row> =
        items.iter().filter_map(|field| Some((field.path.strip_prefix(ITEM_PREFIX)?, *field))).collect();

    let mut schema = tree(&top, &schema_of, &closed);
    let lines = json!({
        "description": "The lines of the order.",
        "type": "array",
        "maxItems": ITEMS_MAX,
        "items": tree(&items, &schema_of, &closed),
    });
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("items".to_owned(), lines);
    }
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("$id".to_owned(), "urn:capi-relay:conversion".into());
        schema.insert("title".to_owned(), "Canonical conversion".into());
        schema.insert("$defs".to_owned(), definitions());
        schema.insert("allOf".to_owned(), rules(&top, &items));
    }
    schema
}

/// The table of fields for the README, in Markdown.
pub fn markdown_table() -> String {
    let mut table = "| field | type | what it is |\n| --- | --- | --- |\n".to_owned();
    for field in SCHEMA {
        let required = if field.required { ", required" } else { "" };
        table.push_str(&format!("| `{}` | {}{required} | {} |\n", field.path, words(field.kind), field.doc));
    }
    table
}

/// A row and what is left of its path at this level.
type Row = (&'static str, &'static Field);

/// Makes an object's schema of its properties and its rows.
type Object<'a> = &'a dyn Fn(Map<String, Value>, &[Row]) -> Value;

/// The rows of one level and below as nested objects: `leaf` makes a field's schema, `object` an object's.
fn tree(rows: &[Row], leaf: &dyn Fn(&Field) -> Value, object: Object<'_>) -> Value {
    let mut properties = Map::new();
    let mut groups: Vec<(&str, Vec<Row>)> = Vec::new();
    for (path, field) in rows {
        match path.split_once('.') {
            None => drop(properties.insert((*path).to_owned(), leaf(field))),
            Some((map, "*")) => drop(properties.insert(map.to_owned(), leaf(field))),
            Some((group, rest)) => match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, rows)) => rows.push((rest, field)),
                None => groups.push((group, vec![(rest, field)])),
            },
        }
    }
    for (group, rows) in groups {
        properties.insert(group.to_owned(), tree(&rows, leaf, object));
    }
    object(properties, rows)
}

/// An object of exactly these members.
fn closed(properties: Map<String, Value>, rows: &[Row]) -> Value {
    let required: Vec<&str> =
        rows.iter().filter(|(path, field)| field.required && !path.contains('.')).map(|(path, _)| *path).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), "object".into());
    object.insert("additionalProperties".to_owned(), false.into());
    object.insert("properties".to_owned(), properties.into());
    if !required.is_empty() {
        object.insert("required".to_owned(), required.into());
    }
    object.into()
}

fn schema_of(field: &Field) -> Value {
    let mut schema = match field.kind {
        Kind::Text { chars_max } => json!({ "$ref": "#/$defs/text", "maxLength": chars_max }),
        Kind::Lines { chars_max } => json!({ "$ref": "#/$defs/lines", "maxLength": chars_max }),
        Kind::Money => json!({ "$ref": "#/$defs/money" }),
        Kind::Int => json!({ "type": "integer", "minimum": 0, "maximum": INT_MAX }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Timestamp => json!({ "$ref": "#/$defs/timestamp" }),
        Kind::Date => json!({ "type": "string", "format": "date", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" }),
        Kind::Enum(words) => json!({ "type": "string", "enum": words }),
        Kind::Currency => json!({ "type": "string", "pattern": "^[A-Z]{3}$" }),
        Kind::Country => json!({ "type": "string", "pattern": "^[A-Z]{2,3}$" }),
        Kind::Email => json!({ "type": "string", "format": "idn-email", "minLength": 3, "maxLength": EMAIL_CHARS_MAX }),
        Kind::Ip => json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] }),
        Kind::Url => json!({ "$ref": "#/$defs/url" }),
        Kind::Uuid => json!({ "type": "string", "format": "uuid", "pattern": UUID_PATTERN }),
        Kind::Digest { chars } => json!({ "type": "string", "pattern": format!("^[0-9a-f]{{{chars}}}$") }),
        Kind::TextMap => json!({ "$ref": "#/$defs/map" }),
        Kind::Json => json!({ "type": ["object", "array", "string", "number", "boolean"] }),
    };
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), field.doc.into());
    }
    schema
}

fn definitions() -> Value {
    json!({
        "text": {
            "type": "string",
            "minLength": 1,
            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        },
        "lines": {
            "type": "string",
            "minLength": 1,
            "pattern": "^[^\\u0000-\\u0009\\u000b-\\u001f\\u007f-\\u009f]*$",
        },
        "money": {
            "description": "Exact decimal of at most 28 significant digits, without exponent, kept as it is written.",
            "anyOf": [
                { "type": "number" },
                { "type": "string", "maxLength": 31, "pattern": "^(?!-0(\\.0+)?$)-?(0|[1-9][0-9]*)(\\.[0-9]+)?$" },
            ],
        },
        "not_negative": { "minimum": 0, "pattern": "^[^-]" },
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9](\\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$",
        },
        "url": {
            "type": "string",
            "format": "iri",
            "maxLength": URL_CHARS_MAX,
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/\\\\\\s][^\\\\\\s]*$",
        },
        "map": {
            "type": "object",
            "maxProperties": MAP_KEYS_MAX,
            "propertyNames": { "pattern": format!("^[A-Za-z0-9_-]{{1,{MAP_KEY_CHARS_MAX}}}$") },
            "additionalProperties": { "$ref": "#/$defs/text", "maxLength": MAP_TEXT_CHARS_MAX },
        },
    })
}

/// The rules across fields, as `rules.rs` checks them.
fn rules(top: &[Row], items: &[Row]) -> Value {
    let kind_is = |kinds: &[EventKind]| {
        let words: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        json!({ "properties": { "kind": { "enum": words } }, "required": ["kind"] })
    };
    let amounts =
        |rows: &[Row]| -> Vec<Row> { rows.iter().copied().filter(|(_, field)| field.kind == Kind::Money).collect() };
    let (top, items) = (amounts(top), amounts(items));

    let open = |properties: Map<String, Value>, _: &[Row]| json!({ "properties": properties });
    let not_negative = |_: &Field| json!({ "$ref": "#/$defs/not_negative" });
    let unsigned =
        |rows: &[Row]| -> Vec<Row> { rows.iter().copied().filter(|(_, field)| !field.may_be_negative()).collect() };
    let not_negative_items = json!({ "items": { "items": tree(&unsigned(&items), &not_negative, &open) } });

    let any = |properties: Map<String, Value>, _: &[Row]| {
        let one = |(name, inner): (String, Value)| json!({ "required": [name], "properties": { name: inner } });
        json!({ "anyOf": properties.into_iter().map(one).collect::<Vec<_>>() })
    };
    let given = |_: &Field| Value::Bool(true);
    let says_part = |field: &Field| matches!(field.path, "value" | "order.subtotal");
    let of_no_part: Vec<Row> = top.iter().copied().filter(|(_, field)| !says_part(field)).collect();
    let item_amount =
        json!({ "required": ["items"], "properties": { "items": { "contains": tree(&items, &given, &any) } } });

    json!([
        {
            "$comment": "An amount needs a currency.",
            "if": { "anyOf": [tree(&top, &given, &any), item_amount] },
            "then": { "required": ["currency"] },
        },
        {
            "$comment": "A refund or adjustment names the earlier conversion.",
            "if": kind_is(&[EventKind::Refund, EventKind::Adjustment]),
            "then": { "anyOf": [{ "required": ["order_id"] }, { "required": ["event_id"] }] },
        },
        {
            "$comment": "A refund with an amount says of which part, and one of the whole order names none.",
            "if": { "allOf": [kind_is(&[EventKind::Refund]), tree(&of_no_part, &given, &any)] },
            "then": { "anyOf": [
                { "required": ["value"] },
                { "required": ["order"], "properties": { "order": { "required": ["subtotal"] } } },
                { "required": ["items"], "properties": { "items": { "minItems": 1 } } },
            ] },
        },
        {
            "$comment": "An adjustment carries the new absolute total.",
            "if": kind_is(&[EventKind::Adjustment]),
            "then": { "required": ["value"] },
        },
        {
            "$comment": "Only a refund may hold negative amounts, but for margins.",
            "if": { "not": kind_is(&[EventKind::Refund]) },
            "then": { "allOf": [tree(&unsigned(&top), &not_negative, &open), { "properties": not_negative_items }] },
        },
    ])
}

const UUID_PATTERN: &str = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$";

/// What a kind is called in the README.
fn words(kind: Kind) -> String {
    match kind {
        Kind::Text { chars_max } => format!("text ≤ {chars_max}"),
        Kind::Lines { chars_max } => format!("text ≤ {chars_max}, in lines"),
        Kind::Money => "money".to_owned(),
        Kind::Int => "whole number".to_owned(),
        Kind::Bool => "bool".to_owned(),
        Kind::Timestamp => "timestamp".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::Enum(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" "),
        Kind::Currency => "ISO 4217 code".to_owned(),
        Kind::Country => "ISO 3166 code".to_owned(),
        Kind::Email => "e-mail address".to_owned(),
        Kind::Ip => "IP address".to_owned(),
        Kind::Url => "http(s) URL".to_owned(),
        Kind::Uuid => "UUID".to_owned(),
        Kind::Digest { chars } => format!("{chars} hex digits"),
        Kind::TextMap => format!("text ≤ {MAP_TEXT_CHARS_MAX} each"),
        Kind::Json => "any JSON".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema of the field at this path.
    fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
        path.trim_end_matches(".*").split('.').fold(schema, |schema, name| match name.strip_suffix("[]") {
            Some(array) => &schema["properties"][array]["items"],
            None => &schema["properties"][name],
        })
    }

    fn each_object(schema: &Value, see: &mut dyn FnMut(&Value)) {
        match schema {
            Value::Object(members) => {
                see(schema);
                members.values().for_each(|member| each_object(member, see));
            }
            Value::Array(elements) => elements.iter().for_each(|element| each_object(element, see)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_row_stands_in_the_json_schema_with_its_line_of_doc() {
        let schema = json_schema();
        for field in SCHEMA {
            assert_eq!(at(&schema, field.path)["description"], field.doc, "{}", field.path);
        }
    }

    #[test]
    fn every_row_stands_in_the_markdown_table() {
        let table = markdown_table();
        assert_eq!(table.lines().count(), SCHEMA.len() + 2);
        for field in SCHEMA {
            let line = table.lines().find(|line| line.starts_with(&format!("| `{}` |", field.path))).unwrap();
            assert!(line.ends_with(&format!("| {} |", field.doc)), "{line}");
            assert_eq!(line.matches('|').count(), 4, "{line}");
        }
        assert!(table.contains("| `time` | timestamp, required |"));
    }

    #[test]
    fn objects_of_the_json_schema_are_closed() {
        let mut closed = 0;
        for schema in [&json_schema()["properties"], &json_schema()] {
            each_object(schema, &mut |object| {
                if object.get("type") == Some(&json!("object")) && object.get("properties").is_some() {
                    assert_eq!(object["additionalProperties"], false);
                    closed += 1;
                }
            });
        }
        assert!(closed > 10);
    }

    #[test]
    fn every_reference_in_the_json_schema_leads_somewhere() {
        let schema = json_schema();
        let mut references = 0;
        each_object(&schema, &mut |object| {
            if let Some(Value::String(reference)) = object.get("$ref") {
                assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                references += 1;
            }
        });
        assert!(references > 50);
    }

    #[test]
    fn limits_and_enums_of_the_table_are_those_of_the_json_schema() {
        let schema = json_schema();
        assert_eq!(schema["required"], json!(["time"]));
        assert_eq!(at(&schema, "order_id")["maxLength"], 256);
        assert_eq!(at(&schema, "customer.status")["enum"], json!(["new", "existing"]));
        assert_eq!(at(&schema, "customer.email_sha1")["pattern"], "^[0-9a-f]{40}$");
        assert_eq!(schema["properties"]["items"]["maxItems"], 500);
        assert_eq!(at(&schema, "items[].price")["$ref"], "#/$defs/money");
    }

    #[test]
    fn every_amount_is_held_by_the_rules_of_the_json_schema() {
        let rules = json_schema()["allOf"].to_string();
        for field in SCHEMA.iter().filter(|field| field.kind == Kind::Money) {
            let name = field.path.rsplit('.').next().unwrap();
            assert!(rules.contains(&format!("\"required\":[\"{name}\"]")), "{}", field.path);
            let is_held = rules.contains(&format!("\"{name}\":{{\"$ref\":\"#/$defs/not_negative\"}}"));
            assert_eq!(is_held, !field.may_be_negative(), "{}", field.path);
        }
    }
}
