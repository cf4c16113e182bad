//! What an expression computes with, and what leaves it.
//!
//! An empty text, JSON `null`, `[]` and `{}` are no values: they are absent, everywhere and at every step.

use std::borrow::Cow;

use rust_decimal::Decimal;

use crate::conversion::{Date, Json, Money, Timestamp, Value};

/// What a value looks like on the wire. Never an empty text, never JSON `null`, `""`, `[]` or `{}`: those are absent. (Only
/// where a field ends with `?? null` or `?? ''` is that what stands for its absence.)
///
/// Of [`OutType::Json`](super::types::OutType::Json) a scalar comes as `Text`, `Number` or `Bool`, so that `Json` is
/// always a filled array or object. Under `Secrets::Masked` what is computed from a secret is the text `***`, whatever its
/// type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Out<'v> {
    /// A text.
    Text(&'v str),
    /// A JSON number token.
    Number(&'v str),
    /// An exact decimal.
    Amount(Money),
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A filled array or object.
    Json(&'v Json),
}

impl<'v> Out<'v> {
    /// A value of the conversion as it stands; free JSON stands nowhere as it is, for it may be empty.
    pub(crate) fn stored(value: &'v Value) -> Option<Out<'v>> {
        match value {
            Value::Text(text) => Some(Out::Text(text)),
            Value::Money(amount) => Some(Out::Amount(*amount)),
            Value::Int(int) => Some(Out::Int(*int)),
            Value::Bool(value) => Some(Out::Bool(*value)),
            Value::Timestamp(time) => Some(Out::Text(time.as_str())),
            Value::Date(date) => Some(Out::Text(date.as_str())),
            Value::Json(_) => None,
        }
    }

    fn to_json(self) -> Json {
        match self {
            Out::Text(text) => Json::Text(text.into()),
            Out::Number(number) => Json::Number(number.into()),
            Out::Amount(amount) => Json::Number(amount.text().as_str().into()),
            Out::Int(int) => Json::Number(int.to_string().into()),
            Out::Bool(value) => Json::Bool(value),
            Out::Json(json) => json.clone(),
        }
    }
}

/// A value that is there and cannot be converted: the reason, without the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct EvalError {
    reason: Cow<'static, str>,
}

impl EvalError {
    pub(super) fn new(reason: impl Into<Cow<'static, str>>) -> EvalError {
        EvalError { reason: reason.into() }
    }
}

/// A value of the conversion, or one of our own: two words, where a [`Cow`] would have room for the whole of it and make
/// every [`Val`] as large.
#[derive(Debug, Clone)]
pub(crate) enum Held<'a, T> {
    Borrowed(&'a T),
    Owned(Box<T>),
}

impl<T> From<T> for Held<'_, T> {
    fn from(value: T) -> Self {
        Held::Owned(Box::new(value))
    }
}

impl<T: Clone> Held<'_, T> {
    /// The value itself.
    pub(super) fn into_value(self) -> T {
        match self {
            Held::Borrowed(value) => value.clone(),
            Held::Owned(value) => *value,
        }
    }

    /// The same with nothing borrowed.
    fn into_owned(self) -> Held<'static, T> {
        Held::from(self.into_value())
    }
}

impl<T> std::ops::Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Held::Borrowed(value) => value,
            Held::Owned(value) => value,
        }
    }
}

impl<T: PartialEq> PartialEq for Held<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// A value, absent, or why it cannot be computed.
pub(crate) type Evaluated<'a> = Result<Option<Val<'a>>, EvalError>;

/// A value while it is computed. Its tag takes a whole word, so that moving one is moving words: halves of words are read
/// back only after they have been stored, and every filter would wait for that.
#[derive(Debug, Clone, PartialEq)]
#[repr(u64)]
pub(crate) enum Val<'a> {
    Text(Cow<'a, str>),
    Money(Money),
    Int(i64),
    /// A JSON number token.
    Number(Cow<'a, str>),
    Bool(bool),
    Timestamp(Held<'a, Timestamp>),
    Date(Held<'a, Date>),
    /// An array or object; JSON scalars are the variants above.
    Json(Held<'a, Json>),
    /// The absent entries in their places.
    List(Vec<Option<Val<'a>>>),
}

/// It goes through every filter, and is moved each time.
const _: () = assert!(size_of::<Val<'_>>() == 32, "the tag, and what an owned text takes");

impl<'a> Val<'a> {
    pub(super) fn text(text: &'a str) -> Option<Val<'a>> {
        (!text.is_empty()).then_some(Val::Text(Cow::Borrowed(text)))
    }

    pub(super) fn owned_text(text: String) -> Option<Val<'a>> {
        (!text.is_empty()).then_some(Val::Text(Cow::Owned(text)))
    }

    pub(super) fn of_text(text: Cow<'a, str>) -> Option<Val<'a>> {
        (!text.is_empty()).then_some(Val::Text(text))
    }

    pub(super) fn of(value: &'a Value) -> Option<Val<'a>> {
        match value {
            Value::Text(text) => Val::text(text),
            Value::Money(money) => Some(Val::Money(*money)),
            Value::Int(int) => Some(Val::Int(*int)),
            Value::Bool(value) => Some(Val::Bool(*value)),
            Value::Timestamp(timestamp) => Some(Val::Timestamp(Held::Borrowed(timestamp))),
            Value::Date(date) => Some(Val::Date(Held::Borrowed(date))),
            Value::Json(json) => Val::of_json(json),
        }
    }

    pub(super) fn of_json(json: &'a Json) -> Option<Val<'a>> {
        match json {
            Json::Null => None,
            Json::Bool(value) => Some(Val::Bool(*value)),
            Json::Number(number) => Some(Val::Number(Cow::Borrowed(number))),
            Json::Text(text) => Val::text(text),
            Json::Array(entries) => (!entries.is_empty()).then_some(Val::Json(Held::Borrowed(json))),
            Json::Object(members) => (!members.is_empty()).then_some(Val::Json(Held::Borrowed(json))),
        }
    }

    /// The same value, borrowed from `self`.
    pub(super) fn borrowed(&'a self) -> Val<'a> {
        match self {
            Val::Text(text) => Val::Text(Cow::Borrowed(text)),
            Val::Money(money) => Val::Money(*money),
            Val::Int(int) => Val::Int(*int),
            Val::Number(number) => Val::Number(Cow::Borrowed(number)),
            Val::Bool(value) => Val::Bool(*value),
            Val::Timestamp(timestamp) => Val::Timestamp(Held::Borrowed(timestamp)),
            Val::Date(date) => Val::Date(Held::Borrowed(date)),
            Val::Json(json) => Val::Json(Held::Borrowed(json)),
            Val::List(entries) => Val::List(entries.iter().map(|entry| entry.as_ref().map(Val::borrowed)).collect()),
        }
    }

    /// The same value with nothing borrowed.
    pub(super) fn into_owned(self) -> Val<'static> {
        match self {
            Val::Text(text) => Val::Text(Cow::Owned(text.into_owned())),
            Val::Money(money) => Val::Money(money),
            Val::Int(int) => Val::Int(int),
            Val::Number(number) => Val::Number(Cow::Owned(number.into_owned())),
            Val::Bool(value) => Val::Bool(value),
            Val::Timestamp(timestamp) => Val::Timestamp(timestamp.into_owned()),
            Val::Date(date) => Val::Date(date.into_owned()),
            Val::Json(json) => Val::Json(json.into_owned()),
            Val::List(entries) => Val::List(entries.into_iter().map(|entry| entry.map(Val::into_owned)).collect()),
        }
    }

    /// What it looks like on the wire; a list has to be [settled](Val::settled) before.
    #[inline(always)]
    pub(crate) fn out(&self) -> Option<Out<'_>> {
        Some(match self {
            Val::Text(text) => Out::Text(text),
            Val::Money(money) => Out::Amount(*money),
            Val::Int(int) => Out::Int(*int),
            Val::Number(number) => Out::Number(number),
            Val::Bool(value) => Out::Bool(*value),
            Val::Timestamp(timestamp) => Out::Text(timestamp.as_str()),
            Val::Date(date) => Out::Text(date.as_str()),
            Val::Json(json) => Out::Json(json),
            Val::List(_) => return None,
        })
    }

    /// The same value, a list as an array; none where nothing is in it.
    pub(super) fn settled(self) -> Option<Val<'a>> {
        let Val::List(entries) = self else { return Some(self) };
        let entries: Vec<Json> = entries.into_iter().flatten().filter_map(Val::into_json).collect();
        (!entries.is_empty()).then(|| Val::Json(Held::from(Json::Array(entries))))
    }

    pub(super) fn into_json(self) -> Option<Json> {
        let settled = self.settled()?;
        if let Val::Json(json) = settled {
            return Some(json.into_value());
        }
        settled.out().map(Out::to_json)
    }

    /// Its text, if it is a scalar.
    pub(super) fn into_scalar_text(self) -> Option<Cow<'a, str>> {
        match self {
            Val::Text(text) | Val::Number(text) => Some(text),
            Val::Money(money) => Some(Cow::Owned(money.to_string())),
            Val::Int(int) => Some(Cow::Owned(int.to_string())),
            Val::Bool(value) => Some(Cow::Borrowed(if value { "true" } else { "false" })),
            Val::Timestamp(timestamp) => Some(timestamp_text(timestamp)),
            Val::Date(date) => Some(date_text(date)),
            Val::Json(_) | Val::List(_) => None,
        }
    }

    /// As people see it: a list or an object as JSON.
    pub(super) fn into_shown(self) -> Option<Cow<'a, str>> {
        if !matches!(self, Val::Json(_) | Val::List(_)) {
            return self.into_scalar_text();
        }
        let mut bytes = Vec::new();
        self.into_json()?.write(&mut bytes);
        String::from_utf8(bytes).ok().map(Cow::Owned)
    }

    /// Its amount, if it is a number of at most 28 digits.
    pub(super) fn amount(&self) -> Option<Money> {
        match self {
            Val::Money(money) => Some(*money),
            Val::Int(int) => Some(Money::from(*int)),
            Val::Number(number) => Money::parse(number).ok(),
            Val::Text(_) | Val::Bool(_) | Val::Timestamp(_) | Val::Date(_) | Val::Json(_) | Val::List(_) => None,
        }
    }

    pub(super) fn decimal(&self) -> Option<Decimal> {
        match self {
            Val::Int(int) => Some(Decimal::from(*int)),
            Val::Money(_) | Val::Number(_) => self.amount().map(Money::decimal),
            Val::Text(_) | Val::Bool(_) | Val::Timestamp(_) | Val::Date(_) | Val::Json(_) | Val::List(_) => None,
        }
    }
}

fn timestamp_text(timestamp: Held<'_, Timestamp>) -> Cow<'_, str> {
    match timestamp {
        Held::Borrowed(timestamp) => Cow::Borrowed(timestamp.as_str()),
        Held::Owned(timestamp) => Cow::Owned(timestamp.as_str().to_owned()),
    }
}

fn date_text(date: Held<'_, Date>) -> Cow<'_, str> {
    match date {
        Held::Borrowed(date) => Cow::Borrowed(date.as_str()),
        Held::Owned(date) => Cow::Owned(date.as_str().to_owned()),
    }
}
