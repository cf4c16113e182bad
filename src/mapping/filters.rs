//! The table of filters: name, what each takes, its arguments, what it gives, a line of doc, and how it is made.
//!
//! The type checker and the listing for people are both made from it, so neither can know a filter that the other does not.

mod table;

use std::fmt::Write as _;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::ops::{Coding, Op, Word};
use super::pattern::Pattern;
use super::types::{Gives, Takes};
use super::value::Val;
use crate::conversion::{Money, nearest};

/// One filter, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterDoc {
    /// Its name.
    pub name: &'static str,
    /// `text | truncate(n) → text`
    pub signature: String,
    /// What it does, in one line.
    pub doc: &'static str,
}

/// Every filter of the language, in the order of the documentation.
pub fn filters() -> impl Iterator<Item = FilterDoc> {
    table::filters().map(|filter| FilterDoc { name: filter.name, signature: filter.signature(), doc: filter.doc })
}

/// A row of the table.
pub(super) struct Filter {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) params: &'static [Param],
    pub(super) gives: Gives,
    doc: &'static str,
    make: fn(&Args) -> Result<Op, Mistake>,
}

/// A parameter of a filter.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) takes: Argument,
    pub(super) optional: bool,
}

/// What may stand as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// Text, also from a secret.
    Text,
    /// Text that is no secret.
    Plain,
    /// A whole number from 0 to this.
    Count(u32),
    Number,
    /// A literal or a var of any type.
    Scalar,
    Secret,
    Map,
    /// A list of texts, none of them empty.
    Words,
}

impl Argument {
    /// For a fault: what belongs there.
    pub(super) fn wanted(self) -> String {
        match self {
            Argument::Text => "a text".to_owned(),
            Argument::Plain => "a text that is no secret".to_owned(),
            Argument::Count(max) => format!("a whole number from 0 to {max}"),
            Argument::Number => "a number".to_owned(),
            Argument::Scalar => "a literal or vars.x".to_owned(),
            Argument::Secret => "a secret, as secrets.x: a key does not stand in a mapping".to_owned(),
            Argument::Map => "a map such as {purchase: 'Purchase'}".to_owned(),
            Argument::Words => "a list of texts such as ['a', 'b']".to_owned(),
        }
    }
}

/// An argument as it was checked.
pub(super) enum Arg {
    Value(Val<'static>),
    Word(Word),
    Map(Vec<(Box<str>, Val<'static>)>),
    /// Optional and not given, or a var without a value.
    Unset,
}

/// Checked arguments: one per parameter, each of the kind that its parameter asks for.
pub(super) struct Args(pub(super) Vec<Arg>);

/// An argument of the right type that still makes no sense.
pub(super) struct Mistake {
    pub(super) arg: usize,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Filter {
    pub(super) fn named(name: &str) -> Option<&'static Filter> {
        table::filters().find(|filter| filter.name == name)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        table::filters().map(|filter| filter.name)
    }

    pub(super) fn make(&self, args: &Args) -> Result<Op, Mistake> {
        (self.make)(args)
    }

    /// `truncate(n)`
    pub(super) fn call(&self) -> String {
        let mut text = self.name.to_owned();
        for (i, param) in self.params.iter().enumerate() {
            text.push_str(match (i, param.optional) {
                (0, false) => "(",
                (0, true) => "([",
                (_, false) => ", ",
                (_, true) => "[, ",
            });
            text.push_str(param.name);
            text.push_str(if param.optional { "]" } else { "" });
        }
        text.push_str(if self.params.is_empty() { "" } else { ")" });
        text
    }

    fn signature(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _written = write!(text, "{} | {} → {}", self.takes, self.call(), self.gives);
        text
    }
}

impl Args {
    fn word(&self, index: usize) -> Word {
        match self.0.get(index) {
            Some(Arg::Word(word)) => word.clone(),
            _ => Word::default(),
        }
    }

    fn plain(&self, index: usize) -> Option<&str> {
        match self.0.get(index) {
            Some(Arg::Word(Word::Plain(text))) => Some(text),
            _ => None,
        }
    }

    fn value(&self, index: usize) -> Val<'static> {
        match self.0.get(index) {
            Some(Arg::Value(value)) => value.clone(),
            _ => Val::Bool(false),
        }
    }

    fn count(&self, index: usize) -> Option<u32> {
        match self.0.get(index) {
            Some(Arg::Value(Val::Int(count))) => u32::try_from(*count).ok(),
            _ => None,
        }
    }

    fn size(&self, index: usize) -> usize {
        self.count(index).and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
    }

    fn character(&self, index: usize) -> Result<char, Mistake> {
        let mut chars = self.plain(index).unwrap_or_default().chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(mistake(index, "exactly one character stands here, such as '0'")),
        }
    }

    fn pattern(&self, index: usize) -> Result<Pattern, Mistake> {
        Pattern::parse(self.plain(index).unwrap_or_default()).map_err(|message| mistake(index, &message))
    }

    fn words(&self, index: usize) -> Box<[Box<str>]> {
        let Some(Arg::Value(Val::List(entries))) = self.0.get(index) else { return Box::default() };
        let words = entries.iter().flatten().cloned().filter_map(Val::into_scalar_text);
        words.map(|word| word.into()).collect()
    }

    fn amount(&self, index: usize) -> Result<Money, Mistake> {
        let amount = match self.0.get(index) {
            Some(Arg::Value(value)) => value.amount(),
            _ => None,
        };
        amount.ok_or_else(|| mistake(index, "a number has at most 28 digits"))
    }

    fn coding(&self, index: usize) -> Result<Coding, Mistake> {
        match self.plain(index) {
            None | Some("hex") => Ok(Coding::Hex),
            Some("base64") => Ok(Coding::Base64),
            Some(_) => Err(mistake(index, "a digest is written as 'hex' or 'base64'")),
        }
    }

    fn zone(&self, index: usize) -> Result<TimeZone, Mistake> {
        let Some(name) = self.plain(index) else { return Ok(TimeZone::UTC) };
        let zones = TimeZoneDatabase::bundled();
        zones.get(name).ok().ok_or_else(|| Mistake {
            arg: index,
            message: "there is no such time zone: name one of the IANA database, such as 'Europe/Berlin'".to_owned(),
            help: nearest(name, zones.available().map(|zone| zone.to_string())).map(did_you_mean),
        })
    }
}

fn mistake(arg: usize, message: &str) -> Mistake {
    Mistake { arg, message: message.to_owned(), help: None }
}

pub(super) fn did_you_mean(name: impl AsRef<str>) -> String {
    format!("did you mean `{}`?", name.as_ref())
}
