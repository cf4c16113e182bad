//! What holds of any text as a part of a map. The properties and the fuzz target `expression` call this one function.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lexer::Faults;
use super::parser::{parse_condition, parse_value};
use super::{
    Answer, AnswerCondition, Capture, Condition, Constants, Escape, EvalError, Expression, Fault, FileId,
    Interpolation, Out, OutType, Place, Scope, Secret, Secrets, Span, Text, Val, Var, VarType,
};
use crate::conversion::{Conversion, ConversionId, Json, Meta};

/// Compiles a text as whatever it may be: every fault lies in it; what compiles prints and parses to the same, and is the
/// same twice over a conversion with nothing in it and over a full one.
pub fn any_text(source: &str) {
    let text = text(source);
    let constants = constants();
    for place in [Place::Top, Place::Item] {
        let Some(expression) = compiled(source, Expression::compile(&text, &constants, place)) else { continue };
        with_conversions(|scope| value(&expression, scope));
    }
    if let Some(condition) = compiled(source, Condition::compile(&text, &constants)) {
        with_conversions(|scope| assert_eq!(condition.holds(scope), condition.holds(scope)));
    }
    for escape in [Escape::None, Escape::UrlPath, Escape::HeaderValue] {
        let Some(template) = compiled(source, Interpolation::compile(&text, &constants, escape)) else { continue };
        with_conversions(|scope| {
            let text = template.eval(scope, Secrets::Revealed);
            assert_eq!(text, template.eval(scope, Secrets::Revealed));
            let controls = matches!(&text, Ok(Some(text)) if text.chars().any(char::is_control));
            let own = source.chars().any(char::is_control);
            assert!(escape != Escape::HeaderValue || own || !controls, "a header was broken out of");
        });
    }
    let predicate = compiled(source, AnswerCondition::compile(&text));
    let capture = compiled(source, Capture::compile(&text));
    for body in ["", "no JSON", r#"{"status": "ok", "a": [{"b": 1.50}], "Message": "already exists"}"#] {
        let answer = Answer::new(http::StatusCode::OK, http::HeaderMap::new(), body.into());
        if let Some(predicate) = &predicate {
            assert_eq!(predicate.holds(&answer), predicate.holds(&answer));
        }
        if let Some(capture) = &capture {
            assert_eq!(capture.take(&answer), capture.take(&answer));
        }
    }
    printed(&text);
}

/// What leaves is of the promised type and never empty, and is the same twice; a masked one shows no credential.
fn value(expression: &Expression, scope: Scope<'_>) {
    let items = scope.conversion.items().iter().map(Some).chain([None]);
    for item in items {
        let found = expression.eval(scope, item, Secrets::Revealed);
        assert_eq!(found, expression.eval(scope, item, Secrets::Revealed));
        typed(expression.out_type(), &found);
        let masked = format!("{:?}", expression.eval(scope, item, Secrets::Masked));
        assert!(!masked.contains(TOKEN), "{masked} shows a credential");
    }
}

fn typed(known: OutType, found: &Result<Option<Val<'_>>, EvalError>) {
    let Ok(Some(value)) = found else { return };
    let Some(found) = value.out() else { unreachable!("a list is settled") };
    let right = match found {
        Out::Text(text) => !text.is_empty() && matches!(known, OutType::Text | OutType::Json),
        Out::Number(number) => {
            matches!(Json::parse(number.as_bytes()), Ok(Json::Number(_)))
                && matches!(known, OutType::Number | OutType::Json)
        }
        Out::Amount(_) | Out::Int(_) => matches!(known, OutType::Number | OutType::Json),
        Out::Bool(_) => matches!(known, OutType::Bool | OutType::Json),
        Out::Json(json) => match json {
            Json::Array(entries) => known == OutType::Json && !entries.is_empty(),
            Json::Object(members) => known == OutType::Json && !members.is_empty(),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => false,
        },
    };
    assert!(right, "{found:?} is no {known:?}");
}

/// Parse → print → parse, as a value and as a condition.
fn printed(source: &Text) {
    let mut faults = Faults::new(source);
    let value = parse_value(source, 0..source.value.len(), &mut faults);
    if faults.is_empty() {
        let again = text(&value.to_string());
        let mut faults = Faults::new(&again);
        assert_eq!(parse_value(&again, 0..again.value.len(), &mut faults), value, "{}", again.value);
        assert!(faults.is_empty(), "{}", again.value);
    }
    let mut faults = Faults::new(source);
    let condition = parse_condition(source, &mut faults);
    if faults.is_empty() {
        let again = text(&condition.to_string());
        let mut faults = Faults::new(&again);
        assert_eq!(parse_condition(&again, &mut faults), condition, "{}", again.value);
        assert!(faults.is_empty(), "{}", again.value);
    }
}

/// What was compiled; else its faults lie in the text, on the bounds of characters.
fn compiled<T>(source: &str, result: Result<T, Vec<Fault>>) -> Option<T> {
    let faults = match result {
        Ok(compiled) => return Some(compiled),
        Err(faults) => faults,
    };
    assert!(!faults.is_empty(), "refused without a word");
    for fault in faults {
        let range = fault.span.range;
        assert!(source.get(range.clone()).is_some(), "{range:?} is no part of {source:?}");
    }
    None
}

fn with_conversions(check: impl Fn(Scope<'_>)) {
    for json in [r#"{"time": "2026-05-26T12:34:56Z"}"#, FULL] {
        let Ok(conversion) = Conversion::parse(json.as_bytes(), "generated") else { continue };
        let id = ConversionId::new(1_780_000_000_000, [7; 10]);
        let meta = Meta::new(id, Arc::from("acme"), Some("key-1".to_owned()), &conversion);
        check(Scope { conversion: &conversion, meta: &meta });
    }
}

fn text(value: &str) -> Text {
    Text { value: value.to_owned(), span: Span { file: FileId(0), range: 0..value.len() }, verbatim: true }
}

fn constants() -> Constants {
    let vars = [
        ("account", VarType::Text, Some(Var::Text("a/12".to_owned()))),
        ("goal", VarType::Int, Some(Var::Int(7))),
        ("live", VarType::Bool, Some(Var::Bool(true))),
        ("unset", VarType::Text, None),
    ];
    let secrets = [("token", Some(Secret::new(TOKEN.to_owned()))), ("unset", None)];
    Constants {
        vars: vars.into_iter().map(|(name, kind, value)| (name.to_owned(), (kind, value))).collect(),
        secrets: secrets.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
    }
}

const TOKEN: &str = "s3cret-token";

/// A conversion in which most paths find something.
const FULL: &str = include_str!("../../tests/presets/full.json");
