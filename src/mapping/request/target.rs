//! Targets: where an output stands. Read as a path for JSON, letter for letter for form and query.
//!
//! | target | JSON | form and query |
//! | --- | --- | --- |
//! | `a.b` | nests; `a\.b` is one name | the name `a.b` |
//! | `d[0].x` | the element with that index; indices leave none out | the name `d[0].x` |
//! | `x[]`, `x[].y` | an element for each item, if a line below `x[]` names `item.`; else an array of one | the name `x[]`, for each item |
//! | `X{i}` | a name for each item, numbered from 1 (`{i0}`: from 0; `{i2}`: `X`, `X2`, `X3`) | the same |
//! | `*`, `x.*` | the members of an object, except names that other lines give there | the same; nested values as JSON text |
//! | `[0].x`, `[].x` | the body itself is an array | names |
//!
//! Only the first `[]` or `{i}` of a target goes through the items: below it there is one item, which `{i}` numbers and
//! around whose value `[]` makes an array of one. What stands for an item stands only if something of that item is in
//! it, so constants alone make no element. A spread never gives a name that a line gives, even where that line has no
//! value.

use std::collections::BTreeSet;

use super::super::{Fault, FileId, Span, Text};
use crate::conversion::ITEMS_MAX;

/// How items are numbered in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Numbering {
    /// `{i}`: 1, 2, 3 …
    OneBased,
    /// `{i0}`: 0, 1, 2 …
    ZeroBased,
    /// `{i2}`: nothing for the first, then 2, 3 … (`Sku`, `Sku2`).
    BareFirst,
}

/// A piece of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Text(Box<str>),
    Number(Numbering),
}

/// A name, perhaps with the item's number in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) pieces: Vec<Piece>,
}

impl Name {
    /// A name without a number.
    pub(super) fn of(text: &str) -> Name {
        Name { pieces: vec![Piece::Text(text.into())] }
    }

    /// Whether the item's number stands in it.
    pub(super) fn is_numbered(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Number(_)))
    }

    /// The same name with its texts turned into what the encoding writes.
    pub(super) fn encoded(&self, encode: impl Fn(&str) -> String) -> Name {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => Piece::Text(encode(text).into()),
            Piece::Number(numbering) => Piece::Number(*numbering),
        });
        Name { pieces: pieces.collect() }
    }

    /// The same name with a text behind it.
    pub(super) fn followed_by(mut self, text: &str) -> Name {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => *last = format!("{last}{text}").into(),
            Some(Piece::Number(_)) | None => self.pieces.push(Piece::Text(text.into())),
        }
        self
    }

    /// Appends the name for an item, counted from 1.
    pub(super) fn write(&self, number: usize, mut push: impl FnMut(&str)) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => push(text),
                Piece::Number(numbering) => numbering.write(number, &mut push),
            }
        }
    }

    /// Whether the name, for some item, is `other`.
    pub(super) fn can_be(&self, other: &str) -> bool {
        pieces_match(&self.pieces, other)
    }

    /// Whether both names can be the same, each for some item.
    pub(super) fn meets(&self, other: &Name) -> bool {
        if self == other {
            return true;
        }
        let (Some((start, end)), Some((other_start, other_end))) = (self.ends(), other.ends()) else { return false };
        let is_apart = !(start.starts_with(other_start) || other_start.starts_with(start))
            || !(end.ends_with(other_end) || other_end.ends_with(end));
        if is_apart {
            return false;
        }
        let names: BTreeSet<String> = self.all().collect();
        other.all().any(|name| names.contains(&name))
    }

    /// The texts that it begins and ends with.
    fn ends(&self) -> Option<(&str, &str)> {
        Some((self.pieces.first()?.text(), self.pieces.last()?.text()))
    }

    /// The name for each item that there can be.
    fn all(&self) -> impl Iterator<Item = String> {
        let count = if self.is_numbered() { ITEMS_MAX } else { 1 };
        (1..=count).map(|number| {
            let mut whole = String::new();
            self.write(number, |text| whole.push_str(text));
            whole
        })
    }
}

impl Piece {
    /// Nothing of a number.
    fn text(&self) -> &str {
        match self {
            Piece::Text(text) => text,
            Piece::Number(_) => "",
        }
    }
}

impl Numbering {
    fn write(self, number: usize, push: &mut impl FnMut(&str)) {
        let shown = match self {
            Numbering::OneBased => number,
            Numbering::ZeroBased => number.saturating_sub(1),
            Numbering::BareFirst if number <= 1 => return,
            Numbering::BareFirst => number,
        };
        let mut digits = [0; DIGITS_MAX];
        push(decimal(shown, &mut digits));
    }
}

/// The digits of a number, without an allocation.
fn decimal(mut number: usize, digits: &mut [u8; DIGITS_MAX]) -> &str {
    let mut start = DIGITS_MAX;
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0'.saturating_add(u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        start = at;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).and_then(|shown| str::from_utf8(shown).ok()).unwrap_or_default()
}

/// Digits of the largest `usize`.
const DIGITS_MAX: usize = 20;

fn pieces_match(pieces: &[Piece], name: &str) -> bool {
    match pieces.split_first() {
        None => name.is_empty(),
        Some((Piece::Text(text), rest)) => name.strip_prefix(&**text).is_some_and(|name| pieces_match(rest, name)),
        Some((Piece::Number(numbering), rest)) => {
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            let least = usize::from(*numbering != Numbering::BareFirst);
            (least..=digits).any(|taken| name.get(taken..).is_some_and(|name| pieces_match(rest, name)))
        }
    }
}

/// One step of a JSON target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// `name`: a member.
    Member(Name),
    /// `[3]`: an element.
    Element(usize),
    /// `[]`: each item, or an array of one.
    Each,
}

impl Step {
    /// Whether what stands below is made for each item.
    pub(super) fn is_item_marker(&self) -> bool {
        match self {
            Step::Member(name) => name.is_numbered(),
            Step::Element(_) => false,
            Step::Each => true,
        }
    }
}

/// A target of the JSON encoding: `a.b[0].c`, `items[].sku`, `x.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) steps: Vec<Step>,
    /// It ends in `*`: the members of an object are spread there.
    pub(super) is_spread: bool,
}

impl Target {
    /// Reads a JSON target. A backslash takes its next character as it is: `a\.b` is one name.
    pub(super) fn parse(text: &Text) -> Result<Target, Fault> {
        Reader { text, rest: &text.value, at: 0 }.target()
    }

    /// Reads one that is no text of the configuration; `None` where it is no JSON target.
    pub(super) fn of(value: &str) -> Option<Target> {
        let span = Span { file: FileId(0), range: 0..0 };
        Target::parse(&Text { value: value.to_owned(), span, verbatim: false }).ok()
    }

    /// The steps up to the first that stands for items.
    pub(super) fn item_prefix(&self) -> Option<&[Step]> {
        let first = self.steps.iter().position(Step::is_item_marker)?;
        self.steps.get(..=first)
    }
}

/// A target of form and query: its text is the parameter's name, dots and brackets included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FlatTarget {
    /// Before a spread's `*`, the text that stands before each member.
    pub(super) name: Name,
    pub(super) is_spread: bool,
    /// `[]` stands in it.
    pub(super) has_each: bool,
}

impl FlatTarget {
    /// Reads a form or query target.
    pub(super) fn parse(text: &Text) -> Result<FlatTarget, Fault> {
        let value = text.value.as_str();
        let (prefix, is_spread) = match value.strip_suffix('*') {
            Some(prefix) if prefix.is_empty() || prefix.ends_with('.') => (prefix, true),
            Some(_) | None => (value, false),
        };
        let mut reader = Reader { text, rest: prefix, at: 0 };
        let name = reader.name(&[], false)?;
        if name.pieces.is_empty() && !is_spread {
            return Err(text.fault(0..value.len(), "an empty target").with_help("name the field that is sent"));
        }
        Ok(FlatTarget { name, is_spread, has_each: value.contains("[]") })
    }

    /// Whether what it names is made for each item, if the expression names `item.`
    pub(super) fn is_for_items(&self) -> bool {
        self.has_each || self.name.is_numbered()
    }
}

struct Reader<'t> {
    text: &'t Text,
    rest: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn target(mut self) -> Result<Target, Fault> {
        let mut steps = Vec::new();
        loop {
            if self.rest == "*" {
                return Ok(Target { steps, is_spread: true });
            }
            let start = self.at;
            let name = self.name(&['.', '['], true)?;
            // A bare array body begins with its brackets.
            let is_bare_array = steps.is_empty() && self.rest.starts_with('[');
            if name.pieces.is_empty() && !is_bare_array {
                return Err(self
                    .fault(start, "a name is missing in this target")
                    .with_help("write `a.b`, `a[0].b` or `a[].b`"));
            }
            if !name.pieces.is_empty() {
                steps.push(Step::Member(name));
            }
            while self.rest.starts_with('[') {
                steps.push(self.brackets()?);
            }
            if steps.len() > STEPS_MAX {
                return Err(self.fault(0, format!("a target of more than {STEPS_MAX} steps")));
            }
            let after = self.at;
            match self.take() {
                None => return Ok(Target { steps, is_spread: false }),
                Some('.') => {}
                Some(_) => return Err(self.fault(after, "after `]` comes `.`, `[` or the end")),
            }
        }
    }

    /// Up to one of `ends` or the end of the text.
    fn name(&mut self, ends: &[char], has_escapes: bool) -> Result<Name, Fault> {
        let mut pieces = Vec::new();
        let mut run = String::new();
        while let Some(next) = self.rest.chars().next().filter(|next| !ends.contains(next)) {
            let start = self.at;
            self.take();
            match next {
                '\\' if has_escapes => {
                    let Some(escaped) = self.take() else {
                        return Err(self.fault(start, "nothing follows the backslash"));
                    };
                    run.push(escaped);
                }
                '{' => {
                    let numbering = self.numbering(start)?;
                    if !run.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut run).into()));
                    }
                    pieces.push(Piece::Number(numbering));
                }
                '}' => return Err(self.fault(start, "`}` without `{`")),
                ']' if has_escapes => return Err(self.fault(start, "`]` without `[`")),
                control if control.is_control() => return Err(self.fault(start, "a control character in a target")),
                plain => run.push(plain),
            }
        }
        if !run.is_empty() {
            pieces.push(Piece::Text(run.into()));
        }
        Ok(Name { pieces })
    }

    fn numbering(&mut self, start: usize) -> Result<Numbering, Fault> {
        let inner = self.rest.split_once('}').map(|(inner, _)| inner);
        let numbering = match inner {
            Some("i") => Numbering::OneBased,
            Some("i0") => Numbering::ZeroBased,
            Some("i2") => Numbering::BareFirst,
            Some(_) | None => {
                let help = "`{i}` is the item's number from 1, `{i0}` from 0, `{i2}` from 2 with none for the first";
                return Err(self.fault(start, "in a target only the item's number stands in braces").with_help(help));
            }
        };
        self.skip(inner.map_or(0, str::len).saturating_add(1));
        Ok(numbering)
    }

    fn brackets(&mut self) -> Result<Step, Fault> {
        let start = self.at;
        let Some((inner, _)) = self.rest.split_once(']') else {
            return Err(self.fault(start, "`[` is not closed"));
        };
        let inner = inner.strip_prefix('[').unwrap_or(inner);
        let step = match inner {
            "" => Step::Each,
            digits => match digits.parse::<usize>() {
                Ok(index) if index < ELEMENTS_MAX && (digits == "0" || !digits.starts_with(['0', '+'])) => {
                    Step::Element(index)
                }
                Ok(_) | Err(_) => {
                    let help = "write `[]` for each item, or an index from `[0]`";
                    return Err(self.fault(start, "no index of an array").with_help(help));
                }
            },
        };
        self.skip(inner.len().saturating_add(2));
        Ok(step)
    }

    fn take(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.skip(next.len_utf8());
        Some(next)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
        self.at = self.at.saturating_add(bytes);
    }

    fn fault(&self, start: usize, message: impl Into<String>) -> Fault {
        self.text.fault(start..self.text.value.len(), message)
    }
}

/// Members inside members: as deep as a conversion's own JSON may nest.
const STEPS_MAX: usize = 32;

/// Elements of one array that are written out by index.
const ELEMENTS_MAX: usize = 1000;
