//! A compiled condition, and whether it holds.
//!
//! It always has an answer: what is absent, and what cannot be computed, equals nothing and has no order.

use std::cmp::Ordering;

use super::pattern::Pattern;
use super::program::{Context, Node};
use super::syntax::Comparison;
use super::value::Val;
use crate::conversion::Json;

#[derive(Debug, Clone)]
pub(super) enum Test {
    /// Present, and not false.
    Truth(Node),
    Compare(Comparison, Box<[Node; 2]>, Absent),
    /// The first is among the second's.
    In(Box<[Node; 2]>),
    /// The first, a text or a list, has the second in it.
    Contains(Box<[Node; 2]>),
    /// A text that the pattern is found in.
    Matches(Node, Pattern),
    Not(Box<Test>),
    And(Box<[Test]>),
    Or(Box<[Test]>),
}

/// What `!=` says of something that is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// In a `when`: `consent.tracking != false` holds for a conversion that says nothing of consent.
    Differs,
    /// In a predicate over an answer: what is not there proves nothing.
    ProvesNothing,
}

impl Test {
    pub(super) fn holds(&self, context: &Context<'_>) -> bool {
        match self {
            Test::Truth(node) => value(node, context).is_some_and(|value| value != Val::Bool(false)),
            Test::Compare(comparison, sides, absent) => {
                let [left, right] = &**sides;
                match (value(left, context), value(right, context)) {
                    (Some(left), Some(right)) => compare(*comparison, &left, &right),
                    _ => *comparison == Comparison::Unequal && *absent == Absent::Differs,
                }
            }
            Test::In(sides) => {
                let [entry, list] = &**sides;
                both(entry, list, context).is_some_and(|(entry, list)| has(&list, &entry))
            }
            Test::Contains(sides) => {
                let [whole, part] = &**sides;
                both(whole, part, context).is_some_and(|(whole, part)| match (&whole, &part) {
                    (Val::Text(whole), Val::Text(part)) => whole.contains(&**part),
                    _ => has(&whole, &part),
                })
            }
            Test::Matches(node, pattern) => {
                matches!(value(node, context), Some(Val::Text(text)) if pattern.is_in(&text))
            }
            Test::Not(test) => !test.holds(context),
            Test::And(tests) => tests.iter().all(|test| test.holds(context)),
            Test::Or(tests) => tests.iter().any(|test| test.holds(context)),
        }
    }
}

fn value<'a>(node: &'a Node, context: &Context<'a>) -> Option<Val<'a>> {
    node.eval(context).ok().flatten()
}

fn both<'a>(one: &'a Node, other: &'a Node, context: &Context<'a>) -> Option<(Val<'a>, Val<'a>)> {
    Some((value(one, context)?, value(other, context)?))
}

/// Whether a list has such an entry.
fn has(list: &Val<'_>, entry: &Val<'_>) -> bool {
    if let Val::List(entries) = list {
        return entries.iter().flatten().any(|other| equal(other, entry));
    }
    let Val::Json(json) = list else { return false };
    let Json::Array(entries) = &**json else { return false };
    entries.iter().filter_map(Val::of_json).any(|other| equal(&other, entry))
}

fn compare(comparison: Comparison, left: &Val<'_>, right: &Val<'_>) -> bool {
    match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::Unequal => !equal(left, right),
        Comparison::Less => order(left, right) == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order(left, right), Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order(left, right) == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order(left, right), Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// Numbers by their amount (`1.50` is `1.5`), times by their instant, everything else as it stands; never across kinds.
fn equal(left: &Val<'_>, right: &Val<'_>) -> bool {
    match (left, right) {
        (Val::Text(left), Val::Text(right)) => left == right,
        (Val::Bool(left), Val::Bool(right)) => left == right,
        (Val::Json(left), Val::Json(right)) => left == right,
        (Val::Number(left), Val::Number(right)) if left == right => true,
        _ => order(left, right) == Some(Ordering::Equal),
    }
}

/// The order of two numbers, times or dates.
fn order(left: &Val<'_>, right: &Val<'_>) -> Option<Ordering> {
    match (left, right) {
        (Val::Timestamp(left), Val::Timestamp(right)) => Some(left.instant().cmp(&right.instant())),
        (Val::Date(left), Val::Date(right)) => Some(left.civil().cmp(&right.civil())),
        _ => Some(left.decimal()?.cmp(&right.decimal()?)),
    }
}
