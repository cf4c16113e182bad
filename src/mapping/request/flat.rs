//! Names and values in order: the form body and the query.
//!
//! A target is the parameter's name, letter for letter (`amount.value`, `bd[0]`, `skus[]`). What names `item.` is
//! repeated for each item, under one name (`skus[]=A&skus[]=B`) or numbered (`ItemSku1=A&ItemSku2=B`); neighbouring lines
//! of that kind go through the items together: all of the first item, then all of the second.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::Out;
use super::Unmappable;
use super::field::{At, Field, Run, items};
use super::json::members;
use super::target::Name;
use crate::conversion::{Json, Rows};

/// How names and values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    /// `application/x-www-form-urlencoded`: a space is `+`.
    Form,
    /// A URL's query: a space is `%20`, which every server reads.
    Query,
}

/// All but the unreserved characters of RFC 3986, and `*`, which stands in a masked value.
const QUERY_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');

impl Escaping {
    pub(super) fn append(self, text: &str, out: &mut String) {
        match self {
            Escaping::Form => out.extend(form_urlencoded::byte_serialize(text.as_bytes())),
            Escaping::Query => out.extend(utf8_percent_encode(text, QUERY_ESCAPED)),
        }
    }

    pub(super) fn of(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        self.append(text, &mut out);
        out
    }
}

/// A compiled form body or query.
#[derive(Debug, Clone)]
pub(super) struct Flat {
    pub(super) escaping: Escaping,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Once(Pair),
    PerItem(Vec<Pair>),
}

/// One parameter, or with a spread: one for each member of an object.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// Escaped already.
    pub(super) name: Name,
    /// Those of the field, beside each other in a list of many pairs of which few stand.
    pub(super) needs: Rows,
    pub(super) field: Box<Field>,
    pub(super) spread: Option<Taken>,
}

/// What a spread leaves alone: the text before each member, and the names that the map gives.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) prefix: Name,
    pub(super) names: Vec<Name>,
}

impl Flat {
    /// Appends its parameters to those that `out` has.
    pub(super) fn write<'a>(&'a self, run: &mut Run<'a>, out: &mut Parameters) -> Result<(), Unmappable> {
        for step in &self.steps {
            match step {
                Step::Once(pair) => {
                    if pair.needs.meets(run.scope.conversion.rows()) {
                        pair.write(run, None, self.escaping, out)?;
                    }
                }
                Step::PerItem(pairs) => {
                    for at in items(run.scope) {
                        let mut may_stand = pairs.iter().filter(|pair| pair.needs.meets(at.rows));
                        may_stand.try_for_each(|pair| pair.write(run, Some(at), self.escaping, out))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Pair {
    fn write<'a>(
        &'a self,
        run: &mut Run<'a>,
        at: Option<At<'a>>,
        escaping: Escaping,
        out: &mut Parameters,
    ) -> Result<(), Unmappable> {
        let number = at.map_or(1, |at| at.number);
        if let Some(value) = self.field.stored(run, at) {
            self.push(number, &value, escaping, out);
            return Ok(());
        }
        let Some(value) = self.field.value(run, at)? else { return Ok(()) };
        let Some(taken) = &self.spread else {
            self.push(number, &value, escaping, out);
            return Ok(());
        };
        for (member, value) in members(&value, &self.field, at)? {
            let mut whole = String::new();
            taken.prefix.write(number, |text| whole.push_str(text));
            whole.push_str(member);
            if !taken.names.iter().any(|name| name.can_be(&whole)) {
                out.begin();
                escaping.append(&whole, &mut out.text);
                out.text.push('=');
                append_json(value, escaping, &mut out.text);
            }
        }
        Ok(())
    }
}

impl Pair {
    fn push(&self, number: usize, value: &Out<'_>, escaping: Escaping, out: &mut Parameters) {
        out.begin();
        self.name.write(number, |text| out.text.push_str(text));
        out.text.push('=');
        append_value(value, escaping, &mut out.text);
    }
}

/// Parameters being written: behind a `?`, or as a body.
pub(super) struct Parameters {
    pub(super) text: String,
    pub(super) next: Separator,
}

/// What comes before the next parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Nothing,
    QuestionMark,
    Ampersand,
}

impl Parameters {
    pub(super) fn push(&mut self, escaping: Escaping, name: &str, value: &str) {
        self.begin();
        escaping.append(name, &mut self.text);
        self.text.push('=');
        escaping.append(value, &mut self.text);
    }

    fn begin(&mut self) {
        match std::mem::replace(&mut self.next, Separator::Ampersand) {
            Separator::Nothing => {}
            Separator::QuestionMark => self.text.push('?'),
            Separator::Ampersand => self.text.push('&'),
        }
    }
}

fn append_value(value: &Out<'_>, escaping: Escaping, out: &mut String) {
    match value {
        Out::Text(text) | Out::Number(text) => escaping.append(text, out),
        // A sign, digits and a point stand for themselves.
        Out::Amount(amount) => out.push_str(amount.text().as_str()),
        Out::Int(int) => escaping.append(&int.to_string(), out),
        Out::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Out::Json(json) => append_json(json, escaping, out),
    }
}

/// Scalars as their text, arrays and objects as compact JSON.
fn append_json(json: &Json, escaping: Escaping, out: &mut String) {
    match json {
        Json::Text(text) => escaping.append(text, out),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            let mut compact = Vec::new();
            json.write(&mut compact);
            escaping.append(&String::from_utf8_lossy(&compact), out);
        }
    }
}
