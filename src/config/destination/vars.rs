//! What a destination gives for a var: a constant that is not empty, of the type that the preset declares.

use crate::config::keys::{constant, listed};
use crate::config::preset::NeededVar;
use crate::config::report::Faults;
use crate::config::tree::{Entry, Value};
use crate::mapping::{Var, VarType};

/// A constant that is not empty.
pub(super) fn given(entry: &Entry, section: &str, faults: &mut Faults) -> Option<Var> {
    if is_empty(entry) {
        faults.at(entry.node.span.clone(), format!("`{section}.{}` is empty", entry.key.value));
        return None;
    }
    constant(entry, faults)
}

/// A var of the type that the preset declares. What comes out of `${…}` is text, and is read as that type.
pub(super) fn typed(entry: &Entry, need: &NeededVar, faults: &mut Faults) -> Option<Var> {
    if matches!(entry.node.value, Value::Float | Value::Datetime | Value::List(_) | Value::Table(_)) {
        mistyped(entry, need, false, faults);
        return None;
    }
    let value = given(entry, "vars", faults)?;
    let resolved = matches!(entry.node.value, Value::Text { resolved: true, .. });
    let value = match (need.kind, value) {
        (VarType::Text, Var::Text(text)) => {
            let allowed = need.values.is_empty() || need.values.contains(&text);
            if !allowed {
                let message = format!("`vars.{}` cannot be `{text}`", need.name);
                let help = format!("it is one of {}", listed(need.values.iter().map(String::as_str)));
                faults.with_help(entry.node.span.clone(), message, help);
            }
            Some(Var::Text(text))
        }
        (VarType::Int, Var::Int(number)) => Some(Var::Int(number)),
        (VarType::Bool, Var::Bool(value)) => Some(Var::Bool(value)),
        (VarType::Int, Var::Text(text)) if resolved => text.parse().ok().map(Var::Int),
        (VarType::Bool, Var::Text(text)) if resolved => text.parse().ok().map(Var::Bool),
        (VarType::Text | VarType::Int | VarType::Bool, Var::Text(_) | Var::Int(_) | Var::Bool(_)) => None,
    };
    if value.is_none() {
        mistyped(entry, need, resolved, faults);
    }
    value
}

/// What was given is of another type than the preset declares. Quotes are the only fault of what reads right without.
fn mistyped(entry: &Entry, need: &NeededVar, resolved: bool, faults: &mut Faults) {
    let written = if let Value::Text { text, .. } = &entry.node.value { Some(text.value.as_str()) } else { None };
    let (expected, reads_right) = match need.kind {
        VarType::Text => ("a text", true),
        VarType::Int => ("a whole number", written.is_some_and(|text| text.parse::<i64>().is_ok())),
        VarType::Bool => ("true or false", written.is_some_and(|text| matches!(text, "true" | "false"))),
    };
    let message = match written {
        Some(text) if !reads_right => format!("`vars.{}` must be {expected}, and `{text}` is none", need.name),
        Some(_) | None => format!("`vars.{}` must be {expected}", need.name),
    };
    let help = match (need.kind, reads_right) {
        (VarType::Text, _) => "write it in quotes",
        (VarType::Int | VarType::Bool, true) => "write it without quotes",
        (VarType::Int | VarType::Bool, false) if resolved => "look at what is set there",
        (VarType::Int | VarType::Bool, false) => need.doc.as_str(),
    };
    faults.with_help(entry.node.span.clone(), message, help);
}

/// Whether an empty text was given.
pub(super) fn is_empty(entry: &Entry) -> bool {
    matches!(&entry.node.value, Value::Text { text, .. } if text.value.is_empty())
}
