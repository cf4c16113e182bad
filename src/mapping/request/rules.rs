//! Rules over outputs: which must stand, which exclude each other or make way, how long they may be.
//!
//! A rule names targets as the map writes them. One that names targets of items is held for each item that gives
//! something, and `required_with.items` for each item there is.

use super::super::{Fault, OutType, Text};
use super::field::{Limit, Measures, Seen};
use super::lines::{Line, Output};
use super::{MapLine, Over, RulesSource, Unmappable, omission, outputs};
use crate::conversion::nearest;

/// The compiled rules.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// Of [`Seen`]; 0 when nothing is to be noted.
    pub(super) columns: usize,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
enum Rule {
    Group { need: Need, names: Box<str>, columns: Vec<usize>, rows: Rows },
    With { key: Key, fields: Vec<Named> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Any,
    ExactlyOne,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Request,
    Items,
}

#[derive(Debug, Clone)]
enum Key {
    /// The conversion has items.
    Items,
    Output(Named),
}

#[derive(Debug, Clone)]
struct Named {
    name: Box<str>,
    column: usize,
    rows: Rows,
}

/// An output that rules can name.
pub(super) struct Nameable<'l> {
    pub(super) target: &'l str,
    pub(super) is_per_item: bool,
    pub(super) output: &'l mut Output,
}

impl<'l> Nameable<'l> {
    pub(super) fn of<T>(line: &'l mut Line<'_, T>) -> Nameable<'l> {
        Nameable { target: &line.text.value, is_per_item: line.is_per_item, output: &mut line.output }
    }

    /// Whether it was read from this line: one of the map and one of the query may have the same target.
    pub(super) fn is_of(&self, line: &MapLine) -> bool {
        std::ptr::eq(self.target, line.target.value.as_str())
    }
}

impl Rules {
    /// `written` are all targets, also those whose lines have faults of their own.
    pub(super) fn compile(
        source: &RulesSource,
        written: &[&str],
        outputs: &mut [Nameable<'_>],
        faults: &mut Vec<Fault>,
    ) -> Rules {
        let mut compiler = Compiler { written, outputs, faults, columns: Seen::ANYTHING.saturating_add(1) };
        let mut rules = Vec::new();
        for group in &source.require_any {
            rules.extend(compiler.group(Need::Any, group));
        }
        for group in &source.exactly_one {
            rules.extend(compiler.group(Need::ExactlyOne, group));
        }
        for (key, fields) in &source.required_with {
            rules.extend(compiler.with(key, fields));
        }
        outputs::limit(&source.outputs, &mut compiler);
        for (name, chars_max, over) in &source.max_length {
            compiler.limit(name, Limit { chars_max: *chars_max, over: *over, measures: Measures::Whole });
        }
        omission::compile(&source.omit_with, &mut compiler);
        let columns = if rules.is_empty() { 0 } else { compiler.columns };
        Rules { columns, rules }
    }

    /// Holds what was seen to the rules; the first that is broken says so.
    pub(super) fn check(&self, seen: &Seen, items: usize) -> Result<(), Unmappable> {
        self.rules.iter().try_for_each(|rule| match rule {
            Rule::Group { need, names, columns, rows: Rows::Request } => check_group(*need, names, columns, seen, 0),
            Rule::Group { need, names, columns, rows: Rows::Items } => (1..=items)
                .filter(|row| seen.has(*row, Seen::ANYTHING))
                .try_for_each(|row| check_group(*need, names, columns, seen, row)),
            Rule::With { key, fields } => check_with(key, fields, seen, items),
        })
    }
}

fn check_group(need: Need, names: &str, columns: &[usize], seen: &Seen, row: usize) -> Result<(), Unmappable> {
    let present = columns.iter().filter(|column| seen.has(row, **column)).count();
    let reason = match (need, present) {
        (Need::Any, 0) => "one of them is required, none is present",
        (Need::ExactlyOne, 0) => "exactly one of them is required, none is present",
        (Need::ExactlyOne, 2..) => "exactly one of them may stand, more are present",
        (Need::Any | Need::ExactlyOne, _) => return Ok(()),
    };
    Err(broken(names, reason.to_owned(), row))
}

fn check_with(key: &Key, fields: &[Named], seen: &Seen, items: usize) -> Result<(), Unmappable> {
    let is_missing = |field: &Named, row: usize| !seen.has(row, field.column);
    for field in fields {
        let (name, missing) = match (key, field.rows) {
            (Key::Items, Rows::Items) => ("items", (1..=items).find(|row| is_missing(field, *row))),
            (Key::Items, Rows::Request) => ("items", (items > 0 && is_missing(field, 0)).then_some(0)),
            (Key::Output(key), Rows::Items) => {
                (&*key.name, (1..=items).find(|row| seen.has(*row, key.column) && is_missing(field, *row)))
            }
            (Key::Output(key), Rows::Request) => {
                let mut rows = if key.rows == Rows::Items { 1..=items } else { 0..=0 };
                let is_present = rows.any(|row| seen.has(row, key.column));
                (&*key.name, (is_present && is_missing(field, 0)).then_some(0))
            }
        };
        if let Some(row) = missing {
            return Err(broken(&field.name, format!("required with `{name}`, and absent"), row));
        }
    }
    Ok(())
}

/// `row` 0 is the request itself.
fn broken(field: &str, mut reason: String, row: usize) -> Unmappable {
    if row > 0 {
        reason.push_str(&format!(" (item {row})"));
    }
    Unmappable { field: field.to_owned(), reason }
}

pub(super) struct Compiler<'c, 'l> {
    written: &'c [&'c str],
    pub(super) outputs: &'c mut [Nameable<'l>],
    faults: &'c mut Vec<Fault>,
    columns: usize,
}

impl<'l> Compiler<'_, 'l> {
    fn group(&mut self, need: Need, names: &[Text]) -> Option<Rule> {
        let fields: Vec<Named> = names.iter().filter_map(|name| self.named(name)).collect();
        let rows = fields.first()?.rows;
        if fields.len() < names.len() {
            return None;
        }
        if let Some((_, name)) = fields.iter().zip(names).find(|(field, _)| field.rows != rows) {
            self.fault(name, "a group of fields of items and fields of the request", "give each its own group");
            return None;
        }
        let shown: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
        let columns = fields.iter().map(|field| field.column).collect();
        Some(Rule::Group { need, names: shown.join(", ").into(), columns, rows })
    }

    fn with(&mut self, key: &Text, names: &[Text]) -> Option<Rule> {
        let key = if key.value == "items" { Key::Items } else { Key::Output(self.named(key)?) };
        let fields: Vec<Named> = names.iter().filter_map(|name| self.named(name)).collect();
        if let Key::Output(Named { rows: Rows::Request, .. }) = &key
            && let Some((_, name)) = fields.iter().zip(names).find(|(field, _)| field.rows == Rows::Items)
        {
            let help = "`required_with.items` requires it of every item";
            self.fault(name, "a field of items cannot be required by a field of the request", help);
            return None;
        }
        Some(Rule::With { key, fields })
    }

    fn limit(&mut self, name: &Text, limit: Limit) {
        let Some(output) = self.find(name) else { return };
        let Output::Field(field) = &mut *output.output else {
            return self.fault(name, "a list has no length in characters", "limit its parts by `truncate`");
        };
        // Whatever the contract says of it stands already: a rule is stricter, or says what becomes of what is too long.
        let contract = field.limit;
        field.limit = Some(Limit { measures: contract.map_or(limit.measures, |contract| contract.measures), ..limit });
        let (ty, is_required) = (field.expression.out_type(), field.expression.is_required());
        if let Some(contract) = contract.filter(|contract| contract.chars_max < limit.chars_max) {
            let most = contract.chars_max;
            let help = format!("the destination would not take it: write `limit = {most}`, or leave the rule out");
            return self.fault(name, format!("the contract takes at most {most} characters"), help);
        }
        match (ty, limit.over) {
            (OutType::Number | OutType::Bool, Over::Truncate) => {
                self.fault(name, "a number that is cut is another number", "write `over = \"reject\"`");
            }
            (_, Over::Omit) if is_required => {
                self.fault(
                    name,
                    "a required field cannot be left out",
                    "write `over = \"reject\"`, or take the `!` away",
                );
            }
            _ if limit.chars_max == 0 => self.fault(name, "a limit of 0 characters", "leave the field out of the map"),
            (OutType::Text | OutType::Json, _) | (OutType::Number | OutType::Bool, Over::Omit | Over::Reject) => {}
        }
    }

    fn named(&mut self, name: &Text) -> Option<Named> {
        let next = self.columns;
        let output = self.find(name)?;
        let rows = if output.is_per_item { Rows::Items } else { Rows::Request };
        let column = *output.output.column_mut().get_or_insert(next);
        self.columns = self.columns.max(column.saturating_add(1));
        Some(Named { name: name.value.as_str().into(), column, rows })
    }

    fn find(&mut self, name: &Text) -> Option<&mut Nameable<'l>> {
        let at = self.position(name)?;
        self.outputs.get_mut(at)
    }

    /// The number of the output of that target; one that is nowhere written is a fault.
    pub(super) fn position(&mut self, name: &Text) -> Option<usize> {
        if !self.written.contains(&name.value.as_str()) {
            let help = match nearest(&name.value, self.written.iter()) {
                Some(target) => format!("did you mean `{target}`?"),
                None => "a rule names a target as the map writes it".to_owned(),
            };
            self.fault(name, format!("no line of the map sets `{}`", name.value), help);
            return None;
        }
        self.outputs.iter().position(|output| output.target == name.value)
    }

    pub(super) fn fault(&mut self, name: &Text, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(name.fault(0..name.value.len(), message).with_help(help));
    }
}
