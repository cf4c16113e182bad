//! The JSON Schema of routes.toml against what is really written: it refuses what the reader refuses for its keys and
//! types, and nothing that is right.

use capi_relay::config::{presets, routes_schema};
use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

/// The document of a TOML text; a syntax error is `None`.
fn document(text: &str) -> Option<Value> {
    let table = DeTable::parse(text).ok()?;
    Some(of_table(table.get_ref()))
}

fn of_table(table: &DeTable<'_>) -> Value {
    let members = table.iter().map(|(key, value)| (key.get_ref().to_string(), of_value(value.get_ref())));
    Value::Object(members.collect::<Map<String, Value>>())
}

fn of_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => json!(i64::from_str_radix(number.as_str(), number.radix()).unwrap()),
        DeValue::Float(number) => json!(number.as_str().parse::<f64>().unwrap()),
        DeValue::Boolean(value) => json!(value),
        DeValue::Datetime(time) => json!({ "datetime": time.to_string() }),
        DeValue::Array(entries) => entries.iter().map(|entry| of_value(entry.get_ref())).collect(),
        DeValue::Table(table) => of_table(table),
    }
}

/// The places where a value breaks a schema: as much of JSON Schema 2020-12 as the schema of routes.toml uses. A word that is not known here fails the test, so that none is passed over.
fn faults(root: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let Value::Object(schema) = schema else {
        assert_eq!(schema, &json!(true), "{place}");
        return;
    };
    let holds = |schema: &Value| {
        let mut inner = Vec::new();
        faults(root, schema, value, place, &mut inner);
        inner.is_empty()
    };
    for (word, said) in schema {
        let right = match word.as_str() {
            "$ref" => {
                let target = root.pointer(said.as_str().unwrap().trim_start_matches('#')).unwrap();
                faults(root, target, value, place, found);
                true
            }
            "type" => types(said).iter().any(|word| is_of(value, word)),
            "enum" => said.as_array().unwrap().contains(value),
            "const" => said == value,
            "anyOf" => said.as_array().unwrap().iter().any(holds),
            "allOf" => {
                said.as_array().unwrap().iter().for_each(|part| faults(root, part, value, place, found));
                true
            }
            "if" => {
                if holds(said) {
                    faults(root, &schema["then"], value, place, found);
                }
                true
            }
            "required" => value.as_object().is_none_or(|value| {
                said.as_array().unwrap().iter().all(|name| value.contains_key(name.as_str().unwrap()))
            }),
            "minimum" => value.as_f64().is_none_or(|number| number >= said.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= said.as_f64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() >= 1),
            "minProperties" | "maxProperties" => value.as_object().is_none_or(|value| value.len() == 1),
            "properties" | "additionalProperties" => {
                members(root, schema, value, place, word, found);
                true
            }
            "items" => {
                for (at, entry) in value.as_array().into_iter().flatten().enumerate() {
                    faults(root, said, entry, &format!("{place}[{at}]"), found);
                }
                true
            }
            // Of the patterns only that of a `${…}`, which tells a reference from a word.
            "pattern" if said == "\\$\\{" => value.as_str().is_some_and(|text| text.contains("${")),
            "then" | "description" | "default" | "pattern" | "examples" | "$schema" | "$id" | "title" | "$defs" => true,
            other => panic!("{other} at {place}"),
        };
        if !right {
            found.push(format!("{place}: {word}"));
        }
    }
}

fn members(root: &Value, schema: &Map<String, Value>, value: &Value, place: &str, word: &str, found: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, member) in value.as_object().into_iter().flatten() {
        let here = format!("{place}.{name}");
        match (properties.and_then(|known| known.get(name)), word) {
            (Some(known), "properties") => faults(root, known, member, &here, found),
            (None, "additionalProperties") if schema[word] == json!(false) => found.push(format!("{here}: unknown")),
            (None, "additionalProperties") => faults(root, &schema[word], member, &here, found),
            _ => {}
        }
    }
}

fn types(said: &Value) -> Vec<&str> {
    said.as_array().map_or_else(|| vec![said.as_str().unwrap()], |all| all.iter().filter_map(Value::as_str).collect())
}

fn is_of(value: &Value, word: &str) -> bool {
    match word {
        "object" => value.is_object() && value.get("datetime").is_none(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("{other}"),
    }
}

/// The places where a routes.toml breaks the schema.
pub(crate) fn check(text: &str) -> Vec<String> {
    let schema = routes_schema();
    let mut found = Vec::new();
    faults(&schema, &schema, &document(text).unwrap(), "", &mut found);
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn what_is_right_is_right_by_the_schema() {
    for path in ["routes.toml", "tests/presets/routes.toml", "tests/support/routes.toml"] {
        assert_eq!(check(&read(path)), [""; 0], "{path}");
    }
}

#[test]
fn every_preset_is_a_destination_by_the_schema() {
    let schema = routes_schema();
    for (name, text) in presets() {
        let mut preset = document(text).unwrap();
        preset.as_object_mut().unwrap().remove("needs");
        let mut found = Vec::new();
        faults(&schema, &schema["$defs"]["destination"], &preset, name, &mut found);
        assert_eq!(found, [""; 0]);
    }
}

#[test]
fn the_schema_refuses_what_is_wrong_with_keys_and_types_and_leaves_the_rest_to_the_reader() {
    let wrong = |name: &str| !check(&read(&format!("tests/config/broken/{name}.toml"))).is_empty();
    for name in [
        "01-misspelt-keys",
        "02-wrong-types",
        "12-misspelt-sections",
        "13-vars-of-another-type",
        "24-outputs-themselves",
        "26-rules-about-nothing",
        "36-auth",
        "40-operations",
    ] {
        assert!(wrong(name), "{name}");
    }
    for name in ["03-unknown-paths", "04-unknown-filters", "07-conflicting-targets", "20-personal-data", "33-money"] {
        assert_eq!(check(&read(&format!("tests/config/broken/{name}.toml"))), [""; 0], "{name}");
    }
    let found = check(&read("tests/config/broken/13-vars-of-another-type.toml")).join("\n");
    assert!(found.contains(".destination.impact.vars.campaign_id: anyOf"), "{found}");
}

#[test]
fn a_presets_needs_hang_on_its_name() {
    let destination = |lines: &str| {
        let text = read("tests/presets/routes.toml");
        let (head, _) = text.split_once("[destination.").unwrap();
        check(&format!("{head}[destination.x]\n{lines}"))
    };
    let at = ".destination.x";
    assert_eq!(destination("preset = \"thrad\"\nsecrets.api_key = \"k\"\n"), [""; 0]);
    assert_eq!(destination("preset = \"thard\"\nsecrets.api_key = \"k\"\n"), [format!("{at}.preset: anyOf")]);
    assert_eq!(destination("preset = \"${env:PRESET}\"\n"), [""; 0]);
    assert_eq!(destination("preset = \"thrad\"\n"), [format!("{at}: required")]);
    assert_eq!(destination("preset = \"thrad\"\nsecrets = {}\n"), [format!("{at}.secrets: required")]);
    let further = "preset = \"thrad\"\nsecrets.api_key = \"k\"\nvars.tagid = \"t\"\n";
    assert_eq!(destination(further), [format!("{at}.vars.tagid: unknown")], "as the reader has it");
    assert_eq!(destination("url = \"https://px.example.com\"\nvars.mine = 1\nsecrets.mine = \"s\"\n"), [""; 0]);
    let impact = "preset = \"impact\"\nvars.account_sid = \"IR\"\nvars.campaign_id = 1\nsecrets.auth_token = \"t\"\n";
    assert_eq!(destination(impact), [format!("{at}.vars: anyOf")], "one of event type id and code");
    assert_eq!(destination(&format!("{impact}vars.event_type_code = \"SALE\"\n")), [""; 0]);
    let scaleo = "preset = \"scaleo\"\nvars.domain = \"a.example\"\nsecrets.api_key = \"k\"\n";
    assert_eq!(destination(scaleo), [format!("{at}: required")], "its call has no currency");
    assert_eq!(destination(&format!("{scaleo}expect_currency = \"EUR\"\n")), [""; 0]);
}

/// What a preset lacks is said by the schema where the reader says it.
#[test]
fn the_schema_lets_no_preset_pass_that_lacks_what_it_needs() {
    let text = read("tests/presets/routes.toml");
    let (head, _) = text.split_once("[destination.").unwrap();
    for (name, preset) in presets() {
        let needs = document(preset).unwrap()["needs"].take();
        let required = ["vars", "secrets"].iter().any(|kind| {
            let members = needs[kind].as_object();
            members.into_iter().flatten().any(|(_, need)| need["required"] == true)
        });
        let found = check(&format!("{head}[destination.x]\npreset = \"{name}\"\n"));
        assert_eq!(!found.is_empty(), required, "{name}: {found:?}");
    }
}

#[test]
fn the_schema_is_small_enough_for_an_editor() {
    let bytes = serde_json::to_vec_pretty(&routes_schema()).unwrap().len();
    assert!(bytes < 512 * 1024, "{bytes} bytes");
}
