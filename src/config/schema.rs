//! The JSON Schema (2020-12) of routes.toml, for editors that complete and check while one writes.
//!
//! It knows keys, types, words, and of every preset the vars, secrets and fields; what expressions mean, and what goes
//! together, only loading knows. A test holds its keys to those that the readers ask for.

mod keys;

use serde_json::{Map, Value, json};

use self::keys::{Key, Shape};
use super::preset::{Needs, Preset, presets};
use super::tree::Table;
use crate::mapping::{Var, VarType, filters};

/// JSON Schema 2020-12 of routes.toml. For taplo: `#:schema ./routes.schema.json` on the first line of the file.
pub fn routes_schema() -> Value {
    let mut schema = object(keys::ROOT);
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("$id".to_owned(), "urn:capi-relay:routes".into());
        schema.insert("title".to_owned(), "routes.toml of capi-relay".into());
        schema.insert("required".to_owned(), json!(["server", "queue", "merchant", "destination"]));
        schema.insert("$defs".to_owned(), definitions());
    }
    schema
}

fn definitions() -> Value {
    let mut destination = object(keys::DESTINATION);
    if let Value::Object(destination) = &mut destination {
        let rules: Vec<Value> = presets().iter().filter_map(|(name, _)| of_preset(name)).collect();
        destination.insert("allOf".to_owned(), rules.into());
    }
    let filters: Vec<String> = filters().map(|filter| format!("`{}`: {}", filter.signature, filter.doc)).collect();
    let expression = format!("{EXPRESSION}\n\nFilters:\n\n{}", filters.join("\n\n"));
    json!({
        "destination": destination,
        "operation": object(keys::OPERATION),
        "output": output(),
        "expression": { "type": "string", "description": expression },
        "condition": { "type": "string", "minLength": 1, "description": CONDITION },
        "lines": {
            "type": "object",
            "additionalProperties": { "anyOf": [
                { "$ref": "#/$defs/expression" },
                { "type": "array", "items": {
                    "type": ["string", "object"], "additionalProperties": { "$ref": "#/$defs/expression" },
                } },
                { "$ref": "#/$defs/lines" },
            ] },
        },
        "texts": {
            "type": "object",
            "additionalProperties": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/texts" }] },
        },
        "reference": { "type": "string", "pattern": "\\$\\{" },
        "duration": { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$|\\$\\{", "examples": ["30s", "15m", "72h"] },
        "size": { "type": "string", "pattern": "^[0-9]+([KMGT]i?B|B)$|\\$\\{", "examples": ["4MiB", "8GiB"] },
        "rate": { "type": "string", "pattern": "^[0-9]+/[smhd]$|\\$\\{", "examples": ["200/s", "1000/h"] },
    })
}

/// What a destination with this preset knows beyond the keys: its vars, its secrets, its fields; and what it cannot do
/// without.
fn of_preset(name: &'static str) -> Option<Value> {
    let preset = Preset::built_in(name)?;
    let fields: Map<String, Value> = fields(&preset.table).into_iter().collect();
    let (vars, secrets) = (vars(&preset.needs), secrets(&preset.needs));
    let is_needed = |table: &Value| table.get("required").is_some() || table.get("allOf").is_some();
    let mut needed: Vec<&str> = Vec::new();
    needed.extend(is_needed(&vars).then_some("vars"));
    needed.extend(is_needed(&secrets).then_some("secrets"));
    needed.extend(preset.needs.expect_currency.as_ref().map(|_| "expect_currency"));
    Some(json!({
        "if": { "required": ["preset"], "properties": { "preset": { "const": name } } },
        "then": {
            "required": needed,
            "properties": { "vars": vars, "secrets": secrets, "map": { "properties": fields } },
        },
    }))
}

/// The vars that a preset declares; it takes no others.
fn vars(needs: &Needs) -> Value {
    let mut known = Map::new();
    for need in &needs.vars {
        let written = match need.kind {
            VarType::Text if need.values.is_empty() => json!({ "type": "string" }),
            VarType::Text => words(&need.values.iter().map(String::as_str).collect::<Vec<_>>()),
            VarType::Int => json!({ "anyOf": [{ "type": "integer" }, { "$ref": "#/$defs/reference" }] }),
            VarType::Bool => json!({ "anyOf": [{ "type": "boolean" }, { "$ref": "#/$defs/reference" }] }),
        };
        let written = with_default(written, need.default.as_ref());
        known.insert(need.name.clone(), described(written, &need.doc));
    }
    let required = needs.vars.iter().filter(|need| need.required).map(|need| need.name.as_str()).collect();
    let one_of = |group: &Vec<String>| {
        let choices: Vec<Value> = group.iter().map(|name| json!({ "required": [name] })).collect();
        json!({ "anyOf": choices })
    };
    let mut vars = declared(&known, required);
    if let (Value::Object(vars), false) = (&mut vars, needs.one_of.is_empty()) {
        vars.insert("allOf".to_owned(), needs.one_of.iter().map(one_of).collect());
    }
    vars
}

/// Likewise its secrets.
fn secrets(needs: &Needs) -> Value {
    let secret = |doc: &str| described(json!({ "type": "string" }), doc);
    let known: Map<String, Value> = needs.secrets.iter().map(|need| (need.name.clone(), secret(&need.doc))).collect();
    let required = needs.secrets.iter().filter(|need| need.required).map(|need| need.name.as_str()).collect();
    declared(&known, required)
}

fn declared(known: &Map<String, Value>, required: Vec<&str>) -> Value {
    let mut table = json!({ "properties": known, "additionalProperties": false });
    if let (Value::Object(table), false) = (&mut table, required.is_empty()) {
        table.insert("required".to_owned(), required.into());
    }
    table
}

fn with_default(mut written: Value, default: Option<&Var>) -> Value {
    let default = default.map(|default| match default {
        Var::Text(text) => json!(text),
        Var::Int(number) => json!(number),
        Var::Bool(value) => json!(value),
    });
    if let (Value::Object(members), Some(default)) = (&mut written, default) {
        members.insert("default".to_owned(), default);
    }
    written
}

/// The fields of a preset, with what its `outputs` say of them.
fn fields(preset: &Table) -> Vec<(String, Value)> {
    let doc = |output: &Table| match output.entry("doc").map(|entry| &entry.node.value) {
        Some(super::tree::Value::Text { text, .. }) => text.value.clone(),
        Some(_) | None => String::new(),
    };
    let declared = preset.table("outputs").map(|table| table.entries.as_slice()).unwrap_or_default();
    let mapped = preset.table("map").map(|table| table.entries.as_slice()).unwrap_or_default();
    let docs =
        declared.iter().map(|entry| (&entry.key.value, entry.node.value.as_table().map(doc).unwrap_or_default()));
    let bare = mapped.iter().filter(|entry| declared.iter().all(|known| known.key.value != entry.key.value));
    let bare = bare.map(|entry| (&entry.key.value, String::new()));
    let field = |(name, doc): (&String, String)| (name.clone(), described(json!({}), &doc));
    docs.chain(bare).map(field).collect()
}

/// A table of these keys and no others.
fn object(keys: &[Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), described(shape(key.shape), key.doc))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// What is said of a field, and of the fields below it: those are tables, and may have the name of a key.
fn output() -> Value {
    let below = json!({ "$ref": "#/$defs/output" });
    let either = |key: &Key| described(json!({ "anyOf": [shape(key.shape), below.clone()] }), key.doc);
    let properties: Map<String, Value> = keys::OUTPUT.iter().map(|key| (key.name.to_owned(), either(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": below })
}

fn shape(shape: Shape) -> Value {
    let reference = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let list = |items: Value| json!({ "type": "array", "items": items });
    let named = |items: Value| json!({ "type": "object", "additionalProperties": items });
    let text = || json!({ "type": "string" });
    match shape {
        Shape::Text => text(),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Ref(name) => reference(name),
        Shape::Words(choices) => words(choices),
        Shape::Preset => words(&presets().iter().map(|(name, _)| *name).collect::<Vec<_>>()),
        Shape::List => list(text()),
        Shape::TextOrList => json!({ "anyOf": [text(), list(text())] }),
        Shape::TextOrListByName => {
            let one = json!({ "anyOf": [text(), list(text())] });
            json!({ "anyOf": [text(), list(text()), named(one)] })
        }
        Shape::Groups => list(list(text())),
        Shape::Constants => named(json!({ "type": ["string", "integer", "boolean"] })),
        Shape::Lists => named(list(text())),
        Shape::Table(keys) => object(keys),
        Shape::FlagOrTable(keys) => json!({ "anyOf": [{ "type": "boolean" }, object(keys)] }),
        Shape::OneTable(keys) => json!({ "allOf": [object(keys), { "minProperties": 1, "maxProperties": 1 }] }),
        Shape::Named(keys) => named(object(keys)),
        Shape::NamedRef(name) => named(reference(name)),
        Shape::Tables(keys) => list(object(keys)),
    }
}

/// One of a few words, or a `${…}` that stands for one.
fn words(choices: &[&str]) -> Value {
    json!({ "anyOf": [{ "enum": choices }, { "$ref": "#/$defs/reference" }] })
}

fn described(schema: Value, doc: &str) -> Value {
    let Value::Object(mut members) = schema else { return schema };
    if !doc.is_empty() {
        members.insert("description".to_owned(), doc.into());
    }
    members.into()
}

const EXPRESSION: &str = "An expression: `value | decimal(2)`, `order_id ?? event_id !`, `concat(order_id, '-', kind)`, \
    `custom.any.path`, `item.sku` below `x[]` or `X{i}`, `vars.x`, `'text'`. `??`: the first that is there; `!` at the end: \
    required. `\"\"` takes a field of the preset away.";
const CONDITION: &str = "A condition: `value > 0 && event_type in ['a', 'b']`, `!(status == 'rejected')`; a bare path: present and not false.";

#[cfg(test)]
mod tests;
