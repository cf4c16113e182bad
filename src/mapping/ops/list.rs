//! What is done with a list or an object as a whole, and what makes a list of a text.

use super::{Word, compute, scalar, text, within};
use crate::conversion::Json;
use crate::mapping::scope::Secrets;
use crate::mapping::syntax::Arithmetic;
use crate::mapping::value::{EvalError, Evaluated, Held, Val};

/// An operation on a list or an object.
#[derive(Debug, Clone)]
pub(in crate::mapping) enum List {
    Join(Word, Gaps),
    Split(Box<str>),
    /// Counted from 0.
    Nth(usize),
    Total,
    Pick(Box<[Box<str>]>),
    Without(Box<[Box<str>]>),
}

/// What becomes of the places of absent entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mapping) enum Gaps {
    Close,
    /// They stay, empty.
    Keep,
}

/// Entries that a text is split into at most: more are a mistake of the mapping, and would fill the memory.
pub(in crate::mapping) const ENTRIES_MAX: u32 = 1000;

impl List {
    pub(super) fn apply<'a>(&self, input: Val<'a>, secrets: Secrets) -> Evaluated<'a> {
        match self {
            List::Join(separator, gaps) => join(entries(input)?, separator.show(secrets), *gaps),
            List::Split(separator) => split(&text(input)?, separator),
            List::Nth(place) => Ok(entries(input)?.into_iter().nth(*place).flatten()),
            List::Total => total(entries(input)?),
            List::Pick(names) => members(&input, |name| names.iter().any(|kept| **kept == *name)),
            List::Without(names) => members(&input, |name| !names.iter().any(|left| **left == *name)),
        }
    }
}

/// The entries of a list. A list of one is often written without its brackets.
fn entries(input: Val<'_>) -> Result<Vec<Option<Val<'_>>>, EvalError> {
    match input {
        Val::List(entries) => Ok(entries),
        Val::Json(Held::Borrowed(Json::Array(entries))) => Ok(entries.iter().map(Val::of_json).collect()),
        Val::Json(json) => match &*json {
            Json::Array(entries) => Ok(entries.iter().map(|entry| Val::of_json(entry).map(Val::into_owned)).collect()),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Object(_) => {
                Err(EvalError::new("a list is needed here, and this is an object"))
            }
        },
        one @ (Val::Text(_)
        | Val::Money(_)
        | Val::Int(_)
        | Val::Number(_)
        | Val::Bool(_)
        | Val::Timestamp(_)
        | Val::Date(_)) => Ok(vec![Some(one)]),
    }
}

fn join<'a>(entries: Vec<Option<Val<'_>>>, separator: &str, gaps: Gaps) -> Evaluated<'a> {
    if entries.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut out = String::new();
    let kept = entries.into_iter().filter(|entry| gaps == Gaps::Keep || entry.is_some());
    for (i, entry) in kept.enumerate() {
        let entry = entry.map(scalar).transpose()?.unwrap_or_default();
        within(out.len().saturating_add(separator.len()).saturating_add(entry.len()))?;
        out.push_str(if i == 0 { "" } else { separator });
        out.push_str(&entry);
    }
    Ok(Val::owned_text(out))
}

fn split<'a>(text: &str, separator: &str) -> Evaluated<'a> {
    let most = usize::try_from(ENTRIES_MAX).unwrap_or(usize::MAX);
    if text.matches(separator).count() >= most {
        return Err(EvalError::new(format!("the text would be split into more than {ENTRIES_MAX} entries")));
    }
    let entries: Vec<Option<Val<'a>>> = text.split(separator).map(|part| Val::owned_text(part.to_owned())).collect();
    Ok(entries.iter().any(Option::is_some).then_some(Val::List(entries)))
}

/// Money if an entry is; absent if one is absent.
fn total<'a>(entries: Vec<Option<Val<'a>>>) -> Evaluated<'a> {
    let Some(entries) = entries.into_iter().collect::<Option<Vec<Val<'a>>>>() else { return Ok(None) };
    compute(Arithmetic::Sum, &entries)
}

fn members<'a>(input: &Val<'_>, is_kept: impl Fn(&str) -> bool) -> Evaluated<'a> {
    let Val::Json(json) = input else { return Err(no_object()) };
    let Json::Object(members) = &**json else { return Err(no_object()) };
    let kept: Vec<_> = members.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
    Ok((!kept.is_empty()).then_some(Val::Json(Json::Object(kept).into())))
}

fn no_object() -> EvalError {
    EvalError::new("an object is needed here")
}
