//! One output and its evaluation; what was seen of it, for the rules.

use std::sync::Arc;

use super::super::{Blank, Expression, MASK, Out, Scope, Secrets, Val};
use super::digest::Digests;
use super::omission::Rival;
use super::{Over, Refusal, Unmappable};
use crate::conversion::{Item, Json, Money, Rows, Value};

/// One output of a request: where it stands, and what it is made of.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// The target as written.
    pub(super) target: Box<str>,
    pub(super) expression: Expression,
    /// Where none of these rows has a value it is absent, and nobody need look why.
    pub(super) needs: Rows,
    pub(super) limit: Option<Limit>,
    /// The only values that the destination takes, and what becomes of another one.
    pub(super) among: Option<Box<(Among, Over)>>,
    /// It is left out where one of these stands.
    pub(super) unless: Vec<Arc<Rival>>,
    /// Its column in [`Seen`], when a rule names it.
    pub(super) column: Option<usize>,
}

/// The values that a destination takes.
#[derive(Debug, Clone)]
pub(super) enum Among {
    Words(Box<[Box<str>]>),
    Digests(Digests),
}

/// The longest text that the destination takes, in characters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) chars_max: usize,
    pub(super) over: Over,
    pub(super) measures: Measures,
}

/// What of an array is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measures {
    /// All of it, as it is written.
    Whole,
    /// Each of its entries.
    Entries,
}

impl Limit {
    fn is_passed_by(self, json: &Json) -> bool {
        match (json, self.measures) {
            (Json::Array(entries), Measures::Entries) => entries.iter().any(|entry| self.is_passed_by(entry)),
            (Json::Text(text), Measures::Entries) => text.chars().count() > self.chars_max,
            (Json::Null | Json::Bool(_) | Json::Number(_) | Json::Object(_), Measures::Entries)
            | (_, Measures::Whole) => {
                let mut written = Vec::new();
                json.write(&mut written);
                String::from_utf8_lossy(&written).chars().count() > self.chars_max
            }
        }
    }
}

/// The item that a value is made for, counted from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) item: &'a Item,
    pub(super) number: usize,
    /// What the conversion or the item has.
    pub(super) rows: Rows,
}

/// The conversion's items, numbered.
pub(super) fn items<'a>(scope: Scope<'a>) -> impl Iterator<Item = At<'a>> {
    let of_conversion = scope.conversion.rows();
    let at = move |(number, item): (usize, &'a Item)| At { item, number, rows: of_conversion.and(item.rows()) };
    (1..).zip(scope.conversion.items()).map(at)
}

/// One rendering in progress.
pub(super) struct Run<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) secrets: Secrets,
    pub(super) seen: Seen,
    /// Outputs that had no value so far.
    pub(super) absent: usize,
}

impl<'a> Run<'a> {
    /// Whether what needs one of these rows can have a value; counted as absent if not.
    #[inline]
    pub(super) fn has_one_of(&mut self, needs: Rows, at: Option<At<'a>>) -> bool {
        let is_there = needs.meets(rows(self.scope, at));
        if !is_there {
            self.absent = self.absent.saturating_add(1);
        }
        is_there
    }
}

/// What the conversion, or it and the item, has.
pub(super) fn rows(scope: Scope<'_>, at: Option<At<'_>>) -> Rows {
    at.map_or_else(|| scope.conversion.rows(), |at| at.rows)
}

impl Field {
    /// Hands the value to `write`, held to what the destination takes; answers whether there was one. Of what is absent
    /// that is what `?? null` or `?? ''` says, which is no value to a rule.
    #[inline(always)]
    pub(super) fn with<'a>(
        &'a self,
        run: &mut Run<'a>,
        at: Option<At<'a>>,
        mut write: impl FnMut(Out<'_>) -> Result<(), Refusal>,
    ) -> Result<bool, Refusal> {
        if let Some(value) = self.stored(run, at) {
            self.note(run, at);
            return write(value).map(|()| true);
        }
        if let Some(wrote) = self.found(run.scope, run.secrets, at, &mut write)? {
            self.note(run, at);
            return wrote.map(|()| true);
        }
        if let Some(blank) = self.expression.blank().filter(|_| !self.makes_way(run.scope, run.secrets, at)) {
            let blank = match blank {
                Blank::Null => Out::Json(&Json::Null),
                Blank::EmptyText => Out::Text(""),
            };
            return write(blank).map(|()| true);
        }
        run.absent = run.absent.saturating_add(1);
        Ok(false)
    }

    /// Whether there is a value for a rule; one that cannot be made ends the whole request where it is written.
    pub(super) fn stands<'a>(&'a self, scope: Scope<'a>, secrets: Secrets, at: Option<At<'a>>) -> bool {
        !matches!(self.found(scope, secrets, at, |_| ()), Ok(None))
    }

    /// The value where it is one of the conversion's own, within the limit: most are, and nothing is computed for them.
    /// `None` says nothing: [`Field::found`] knows.
    fn stored<'a>(&self, run: &Run<'a>, at: Option<At<'a>>) -> Option<Out<'a>> {
        let value = self.expression.stored(run.scope, at.map(|at| at.item))?;
        if self.among.is_some() {
            return None;
        }
        let is_within = |limit: Limit| matches!(value, Value::Text(text) if text.len() <= limit.chars_max);
        if !self.limit.is_none_or(is_within) || self.makes_way(run.scope, run.secrets, at) {
            return None;
        }
        Out::stored(value)
    }

    fn makes_way(&self, scope: Scope<'_>, secrets: Secrets, at: Option<At<'_>>) -> bool {
        self.unless.iter().any(|rival| rival.stands(scope, secrets, at))
    }

    fn note(&self, run: &mut Run<'_>, at: Option<At<'_>>) {
        if run.seen.cells.is_empty() {
            return;
        }
        let number = at.map_or(0, |at| at.number);
        run.seen.note(number, self.column);
        if self.expression.reads_items() {
            run.seen.note(number, Some(Seen::ANYTHING));
        }
    }

    /// What `then` makes of the value, which is looked at where it was computed and nowhere moved.
    #[inline(always)]
    fn found<'a, T>(
        &'a self,
        scope: Scope<'a>,
        secrets: Secrets,
        at: Option<At<'a>>,
        then: impl FnOnce(Out<'_>) -> T,
    ) -> Result<Option<T>, Refusal> {
        if !self.needs.meets(rows(scope, at)) || self.makes_way(scope, secrets, at) {
            return Ok(None);
        }
        match &self.expression.eval(scope, at.map(|at| at.item), secrets) {
            Err(error) => Err(self.refuse(&error.to_string(), at)),
            Ok(None) if self.expression.is_required() => Err(self.refuse("required, and absent", at)),
            Ok(None) => Ok(None),
            Ok(Some(value)) if self.among.is_none() && self.limit.is_none() => Ok(value.out().map(then)),
            Ok(Some(value)) => Ok(self.taken(value, secrets, at)?.map(then)),
        }
    }

    /// What the destination takes of a value.
    fn taken<'v>(&self, value: &'v Val<'_>, secrets: Secrets, at: Option<At<'_>>) -> Result<Option<Out<'v>>, Refusal> {
        let Some(value) = value.out() else { return Ok(None) };
        let is_known = match self.among.as_deref() {
            Some((among, _)) if among.has(value, secrets) => true,
            Some((among, over)) => self.left_out(among, *over, at)?,
            None => true,
        };
        match self.limit {
            _ if !is_known => Ok(None),
            Some(limit) => self.limited(value, limit, at),
            None => Ok(Some(value)),
        }
    }

    /// Why this output cannot be made.
    pub(super) fn refuse(&self, reason: &str, at: Option<At<'_>>) -> Refusal {
        let reason = match at {
            Some(At { number, .. }) => format!("{reason} (item {number})"),
            None => reason.to_owned(),
        };
        Box::new(Unmappable { field: self.target.to_string(), reason })
    }

    /// What is none of those that the destination takes does not stand, or ends the request.
    fn left_out(&self, among: &Among, over: Over, at: Option<At<'_>>) -> Result<bool, Refusal> {
        match (among, over) {
            (Among::Words(_) | Among::Digests(_), Over::Omit) => Ok(false),
            (Among::Words(_), Over::Truncate | Over::Reject) => {
                Err(self.refuse("none of the values that the contract names", at))
            }
            (Among::Digests(digests), Over::Truncate | Over::Reject) => {
                Err(self.refuse(&format!("not a digest, and the contract takes {}", digests.wanted()), at))
            }
        }
    }

    fn limited<'v>(&self, value: Out<'v>, limit: Limit, at: Option<At<'_>>) -> Result<Option<Out<'v>>, Refusal> {
        let is_too_long = match value {
            Out::Text(text) => match text.char_indices().nth(limit.chars_max) {
                Some((end, _)) if limit.over == Over::Truncate => return Ok(text.get(..end).map(Out::Text)),
                end => end.is_some(),
            },
            Out::Number(token) => token.len() > limit.chars_max,
            Out::Amount(amount) => amount.text().as_str().len() > limit.chars_max,
            Out::Int(int) => int.to_string().len() > limit.chars_max,
            Out::Bool(_) => false,
            Out::Json(json) => limit.is_passed_by(json),
        };
        match limit.over {
            _ if !is_too_long => Ok(Some(value)),
            Over::Omit => Ok(None),
            Over::Truncate | Over::Reject => {
                Err(self.refuse(&format!("longer than {} characters", limit.chars_max), at))
            }
        }
    }
}

impl Among {
    /// Whether a value is one of them, or a list of them. What masked secrets leave of one is not looked at: it was, when
    /// the same request was made with the secrets themselves.
    fn has(&self, value: Out<'_>, secrets: Secrets) -> bool {
        match (value, self) {
            (Out::Json(json), _) => self.has_all(json, secrets),
            (Out::Text(text), _) if secrets == Secrets::Masked && text == MASK => true,
            (Out::Text(text), Among::Digests(digests)) => digests.has(text),
            (Out::Number(_) | Out::Amount(_) | Out::Int(_) | Out::Bool(_), Among::Digests(_)) => false,
            (Out::Text(text), Among::Words(words)) => is_one_of(text, words),
            (Out::Number(token), Among::Words(words)) => match Money::parse(token) {
                Ok(amount) => is_an_amount_of(amount, words),
                Err(_too_long) => is_one_of(token, words),
            },
            (Out::Amount(amount), Among::Words(words)) => is_an_amount_of(amount, words),
            (Out::Int(int), Among::Words(words)) => is_an_amount_of(Money::from(int), words),
            (Out::Bool(holds), Among::Words(words)) => is_one_of(if holds { "true" } else { "false" }, words),
        }
    }

    /// Whether this text is one of them.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.has(Out::Text(word), Secrets::Revealed)
    }

    /// Of an object digests are asked of all its members; it is no word.
    fn has_all(&self, json: &Json, secrets: Secrets) -> bool {
        match json {
            Json::Null => false,
            Json::Bool(holds) => self.has(Out::Bool(*holds), secrets),
            Json::Number(number) => self.has(Out::Number(number), secrets),
            Json::Text(text) => self.has(Out::Text(text), secrets),
            Json::Array(entries) => entries.iter().all(|entry| self.has_all(entry, secrets)),
            Json::Object(members) => match self {
                Among::Words(_) => false,
                Among::Digests(_) => members.iter().all(|(_, value)| self.has_all(value, secrets)),
            },
        }
    }
}

fn is_one_of(shown: &str, words: &[Box<str>]) -> bool {
    words.iter().any(|known| **known == *shown)
}

/// A number is compared by its amount: `1.0` is `1`.
fn is_an_amount_of(amount: Money, words: &[Box<str>]) -> bool {
    words.iter().filter_map(|word| Money::parse(word).ok()).any(|word| word == amount)
}

/// Which of the outputs that rules name had a value: a row for the request, and one for each item.
///
/// Holds nothing, and allocates nothing, when there are no rules.
#[derive(Debug)]
pub(super) struct Seen {
    columns: usize,
    cells: Vec<bool>,
}

impl Seen {
    /// The column of "this item gave something".
    pub(super) const ANYTHING: usize = 0;

    /// `columns` includes [`Seen::ANYTHING`]; 0 when there are no rules.
    pub(super) fn new(columns: usize, items: usize) -> Seen {
        let count = columns.saturating_mul(items.saturating_add(1));
        // Zeroed memory (`vec![false; count]`) would come from the system's slow path.
        let mut cells = Vec::with_capacity(count);
        cells.resize(count, false);
        Seen { columns, cells }
    }

    /// Row 0 is the request; items count from 1.
    pub(super) fn note(&mut self, row: usize, column: Option<usize>) {
        if let Some(column) = column
            && let Some(cell) = self.cells.get_mut(row.saturating_mul(self.columns).saturating_add(column))
        {
            *cell = true;
        }
    }

    pub(super) fn has(&self, row: usize, column: usize) -> bool {
        self.cells.get(row.saturating_mul(self.columns).saturating_add(column)).copied().unwrap_or(false)
    }
}
