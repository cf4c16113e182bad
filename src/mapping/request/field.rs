//! One output and its evaluation; what was seen of it, for the rules.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::{Blank, EvalError, Expression, MASK, Out, Scope, Secrets};
use super::digest::Digests;
use super::omission::Rival;
use super::{Over, Unmappable};
use crate::conversion::{Item, Json, Rows, Value};

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
    /// The value, its length held to the limit; absent is `None`, or what `?? null` or `?? ''` says. That is no value to
    /// a rule.
    #[inline(always)]
    pub(super) fn value<'a>(&'a self, run: &mut Run<'a>, at: Option<At<'a>>) -> Result<Option<Out<'a>>, Unmappable> {
        let Some(value) = self.found(run.scope, run.secrets, at)? else {
            if let Some(blank) = self.expression.blank().filter(|_| !self.makes_way(run.scope, run.secrets, at)) {
                return Ok(Some(written(blank)));
            }
            run.absent = run.absent.saturating_add(1);
            return Ok(None);
        };
        self.note(run, at);
        Ok(Some(value))
    }

    /// The value where it is one of the conversion's own, within the limit: most are, and nothing is computed or moved for
    /// them. `None` says nothing: [`Field::value`] knows.
    pub(super) fn stored<'a>(&self, run: &mut Run<'a>, at: Option<At<'a>>) -> Option<Out<'a>> {
        let value = self.expression.stored(run.scope, at.map(|at| at.item))?;
        if self.among.is_some() {
            return None;
        }
        let is_within = |limit: Limit| matches!(value, Value::Text(text) if text.len() <= limit.chars_max);
        if !self.limit.is_none_or(is_within) || self.makes_way(run.scope, run.secrets, at) {
            return None;
        }
        let value = Out::stored(value)?;
        self.note(run, at);
        Some(value)
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

    /// The same, and nothing is noted of it.
    #[inline(always)]
    pub(super) fn found<'a>(
        &'a self,
        scope: Scope<'a>,
        secrets: Secrets,
        at: Option<At<'a>>,
    ) -> Result<Option<Out<'a>>, Unmappable> {
        if !self.needs.meets(rows(scope, at)) || self.makes_way(scope, secrets, at) {
            return Ok(None);
        }
        let value = self.expression.eval(scope, at.map(|at| at.item), secrets);
        let value = value.map_err(|error| self.unmappable(&error, at))?;
        let value = match (value, self.among.as_deref()) {
            (Some(value), Some((among, over))) => self.known(value, among, *over, at)?,
            (value, _) => value,
        };
        match (value, self.limit) {
            (Some(value), Some(limit)) => self.limited(value, limit, at),
            (Some(value), None) => Ok(Some(value)),
            (None, _) if self.expression.is_required() => Err(self.refuse("required, and absent", at)),
            (None, _) => Ok(None),
        }
    }

    /// Why this output cannot be made.
    pub(super) fn refuse(&self, reason: &str, at: Option<At<'_>>) -> Unmappable {
        let reason = match at {
            Some(At { number, .. }) => format!("{reason} (item {number})"),
            None => reason.to_owned(),
        };
        Unmappable { field: self.target.to_string(), reason }
    }

    fn unmappable(&self, error: &EvalError, at: Option<At<'_>>) -> Unmappable {
        self.refuse(&error.to_string(), at)
    }

    /// A value that is one of those that the destination takes.
    fn known<'a>(
        &self,
        value: Out<'a>,
        among: &Among,
        over: Over,
        at: Option<At<'_>>,
    ) -> Result<Option<Out<'a>>, Unmappable> {
        match (among, over) {
            (Among::Words(words), _) if is_one_of(&value, words) => Ok(Some(value)),
            (Among::Digests(digests), _) if digests.are(&value) => Ok(Some(value)),
            (Among::Words(_) | Among::Digests(_), Over::Omit) => Ok(None),
            (Among::Words(_), Over::Truncate | Over::Reject) => {
                Err(self.refuse("none of the values that the contract names", at))
            }
            (Among::Digests(digests), Over::Truncate | Over::Reject) => {
                Err(self.refuse(&format!("not a digest, and the contract takes {}", digests.wanted()), at))
            }
        }
    }

    fn limited<'a>(&self, value: Out<'a>, limit: Limit, at: Option<At<'_>>) -> Result<Option<Out<'a>>, Unmappable> {
        let too_long = || match limit.over {
            Over::Omit => Ok(None),
            Over::Truncate | Over::Reject => {
                Err(self.refuse(&format!("longer than {} characters", limit.chars_max), at))
            }
        };
        match value {
            Out::Text(text) => match (text.char_indices().nth(limit.chars_max), limit.over) {
                (None, _) => Ok(Some(Out::Text(text))),
                (Some((end, _)), Over::Truncate) => Ok(Some(Out::Text(cut(text, end)))),
                (Some(_), Over::Omit | Over::Reject) => too_long(),
            },
            Out::Number(token) if token.len() > limit.chars_max => too_long(),
            Out::Amount(amount) if amount.text().as_str().len() > limit.chars_max => too_long(),
            Out::Int(int) if int.to_string().len() > limit.chars_max => too_long(),
            Out::Bool(_) | Out::Number(_) | Out::Amount(_) | Out::Int(_) => Ok(Some(value)),
            Out::Json(json) => {
                let mut written = Vec::new();
                json.write(&mut written);
                if String::from_utf8_lossy(&written).chars().count() > limit.chars_max {
                    too_long()
                } else {
                    Ok(Some(Out::Json(json)))
                }
            }
        }
    }
}

fn is_one_of(value: &Out<'_>, words: &[Box<str>]) -> bool {
    let shown = match value {
        Out::Text(text) | Out::Number(text) => Cow::Borrowed(&**text),
        Out::Amount(amount) => Cow::Owned(amount.text().as_str().to_owned()),
        Out::Int(int) => Cow::Owned(int.to_string()),
        Out::Bool(holds) => Cow::Borrowed(if *holds { "true" } else { "false" }),
        Out::Json(_) => Cow::Borrowed(""),
    };
    // What was never written out is not looked at.
    shown == MASK || words.iter().any(|known| **known == *shown)
}

fn written(blank: Blank) -> Out<'static> {
    match blank {
        Blank::Null => Out::Json(Cow::Owned(Json::Null)),
        Blank::EmptyText => Out::Text(Cow::Borrowed("")),
    }
}

fn cut(text: Cow<'_, str>, end: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or(text)),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
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
