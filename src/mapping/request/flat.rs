//! Names and values in order: the form body and the query.
//!
//! A target is the parameter's name, letter for letter (`amount.value`, `bd[0]`, `skus[]`). What names `item.` is
//! repeated for each item, under one name (`skus[]=A&skus[]=B`) or numbered (`ItemSku1=A&ItemSku2=B`); neighbouring lines
//! of that kind go through the items together: all of the first item, then all of the second.

use compact_str::ToCompactString as _;
use percent_encoding::percent_encode_byte;

use super::super::Out;
use super::Refusal;
use super::field::{At, Field, Run, items, rows};
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

/// Bytes that stand for themselves in a form and in a query.
#[expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated by the compiler"
)]
const STANDS: [bool; 256] = {
    let mut stands = [false; 256];
    let mut byte: u8 = 0;
    loop {
        stands[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*');
        if byte == u8::MAX {
            break stands;
        }
        byte += 1;
    }
};

fn stands(byte: u8) -> bool {
    STANDS.get(usize::from(byte)).copied().unwrap_or(false)
}

impl Escaping {
    pub(super) fn append(self, text: &str, out: &mut String) {
        let mut rest = text;
        loop {
            let plain = rest.bytes().take_while(|byte| stands(*byte)).count();
            let Some((plain, special)) = rest.split_at_checked(plain) else { return };
            out.push_str(plain);
            let mut characters = special.chars();
            let Some(character) = characters.next() else { return };
            rest = characters.as_str();
            self.escape(character, out);
        }
    }

    fn escape(self, character: char, out: &mut String) {
        match (self, character) {
            (Escaping::Form, ' ') => out.push('+'),
            (Escaping::Query, '~') => out.push('~'),
            (Escaping::Form | Escaping::Query, _) => {
                let mut bytes = [0; 4];
                let bytes = character.encode_utf8(&mut bytes).as_bytes();
                out.extend(bytes.iter().map(|byte| percent_encode_byte(*byte)));
            }
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
    Once(Group),
    PerItem(Vec<Group>),
}

/// Neighbours that need the same: a map of some hundred lines, most of them from the free data, is passed over in a few
/// steps where there is none.
#[derive(Debug, Clone)]
pub(super) struct Group {
    needs: Rows,
    pairs: Vec<Pair>,
}

/// One parameter, or with a spread: one for each member of an object.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// Escaped already, with its `=`.
    pub(super) name: Name,
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
    pub(super) fn write<'a>(&'a self, run: &mut Run<'a>, out: &mut Parameters) -> Result<(), Refusal> {
        for step in &self.steps {
            match step {
                Step::Once(group) => group.write(run, None, self.escaping, out)?,
                Step::PerItem(groups) => {
                    for at in items(run.scope) {
                        groups.iter().try_for_each(|group| group.write(run, Some(at), self.escaping, out))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a parameter behind the others.
    pub(super) fn push(&mut self, pair: Pair, is_per_item: bool) {
        match (is_per_item, self.steps.last_mut()) {
            (true, Some(Step::PerItem(groups))) => match groups.last_mut() {
                Some(last) if last.needs == pair.field.needs => last.pairs.push(pair),
                Some(_) | None => groups.push(Group::of(pair)),
            },
            (true, _) => self.steps.push(Step::PerItem(vec![Group::of(pair)])),
            (false, Some(Step::Once(last))) if last.needs == pair.field.needs => last.pairs.push(pair),
            (false, _) => self.steps.push(Step::Once(Group::of(pair))),
        }
    }
}

impl Group {
    fn of(pair: Pair) -> Group {
        Group { needs: pair.field.needs, pairs: vec![pair] }
    }

    fn write<'a>(
        &'a self,
        run: &mut Run<'a>,
        at: Option<At<'a>>,
        escaping: Escaping,
        out: &mut Parameters,
    ) -> Result<(), Refusal> {
        if !self.needs.meets(rows(run.scope, at)) {
            return Ok(());
        }
        self.pairs.iter().try_for_each(|pair| pair.write(run, at, escaping, out))
    }
}

impl Pair {
    fn write<'a>(
        &'a self,
        run: &mut Run<'a>,
        at: Option<At<'a>>,
        escaping: Escaping,
        out: &mut Parameters,
    ) -> Result<(), Refusal> {
        let number = at.map_or(1, |at| at.number);
        let written = self.field.with(run, at, |value| {
            let Some(taken) = &self.spread else {
                out.begin();
                self.name.write(number, |text| out.text.push_str(text));
                append_value(value, escaping, &mut out.text);
                return Ok(());
            };
            for (member, value) in members(value, &self.field, at)? {
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
        });
        written.map(drop)
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

fn append_value(value: Out<'_>, escaping: Escaping, out: &mut String) {
    match value {
        Out::Text(text) | Out::Number(text) => escaping.append(text, out),
        // A sign, digits and a point stand for themselves.
        Out::Amount(amount) => out.push_str(amount.text().as_str()),
        Out::Int(int) => out.push_str(&int.to_compact_string()),
        Out::Bool(value) => out.push_str(if value { "true" } else { "false" }),
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
