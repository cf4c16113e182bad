//! Conversions taken apart and put together.

use capi_relay::conversion::{Kind, SCHEMA};
use serde_json::{Map, Value, json};

/// Where each value stands, but in the items.
pub(super) fn leaves(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
        match value.as_object() {
            Some(members) => members
                .iter()
                .filter(|(name, _)| *name != "items")
                .for_each(|(name, value)| walk(value, &format!("{at}/{name}"), found)),
            None => found.push(at.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

/// The same, with one of each series: what is told of `Text1` is told of all.
pub(super) fn kinds(value: &Value) -> Vec<String> {
    let is_further = |leaf: &String| leaf.starts_with("/custom/") && leaf.ends_with(|c: char| c.is_ascii_digit());
    let is_first =
        |leaf: &String| leaf.strip_suffix('1').is_some_and(|name| name.ends_with(|c: char| c.is_ascii_alphabetic()));
    leaves(value).into_iter().filter(|leaf| !is_further(leaf) || is_first(leaf)).collect()
}

pub(super) fn without(value: &Value, pointers: &[&str]) -> Value {
    let mut value = value.clone();
    for pointer in pointers {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        if let Some(Value::Object(members)) = value.pointer_mut(parent) {
            members.remove(name);
        }
    }
    value
}

pub(super) fn set(value: &mut Value, pointer: &str, to: Value) {
    let mut place = value;
    for name in pointer.split('/').skip(1) {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        place = match place {
            Value::Array(list) => &mut list[name.parse::<usize>().unwrap()],
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                &mut other[name]
            }
        };
    }
    *place = to;
}

/// Laid over, object by object.
pub(super) fn merged(under: &Value, over: &Value) -> Value {
    let mut merged = under.clone();
    for leaf in leaves(over) {
        set(&mut merged, &leaf, over.pointer(&leaf).cloned().unwrap_or_default());
    }
    if let Some(items) = over.get("items") {
        merged["items"] = items.clone();
    }
    merged
}

/// Makes a free text as long as this; whether the schema lets it be.
pub(super) fn stretch(conversion: &mut Value, pointer: &str, chars: usize) -> bool {
    if !takes(pointer, chars) || !conversion.pointer(pointer).is_some_and(Value::is_string) {
        return false;
    }
    let text: String = ('a'..='z').cycle().take(chars).collect();
    set(conversion, pointer, json!(text));
    true
}

/// Whether there may be so long a text.
fn takes(pointer: &str, chars: usize) -> bool {
    let path = pointer[1..].replace('/', ".").replace("items.0.", "items[].");
    let is_open = ["custom.", "items[].custom.", "click_ids."].iter().any(|open| path.starts_with(open));
    let row = SCHEMA.iter().find(|row| row.path == path).map(|row| row.kind);
    is_open || matches!(row, Some(Kind::Text { chars_max } | Kind::Lines { chars_max }) if chars <= chars_max)
}

/// Every choice of some of these, with a name.
pub(super) fn subsets<'a>(of: &[&'a str]) -> Vec<(String, Vec<&'a str>)> {
    let choices = 1..1_usize << of.len();
    let chosen =
        |choice: usize| of.iter().enumerate().filter(move |(at, _)| choice >> at & 1 == 1).map(|(_, name)| *name);
    choices.map(|choice| (chosen(choice).collect::<Vec<_>>().join(" "), chosen(choice).collect())).collect()
}
