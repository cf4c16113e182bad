//! What is known of every conversion that a `when` lets pass: which values are there, and which words they can be.
//!
//! A condition is taken apart into alternatives; something is known if it holds in all of them. What cannot be followed is
//! left out, so that too little is known at worst, and never something wrong.

mod implied;

use std::fmt::{self, Display, Formatter};

use crate::conversion::{EventKind, Kind, Slot};
use crate::mapping::predicate::Test;
use crate::mapping::program::{Call, MetaField, Node, Step};
use crate::mapping::syntax::Comparison;
use crate::mapping::value::Val;

/// A value of the conversion that a condition can speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mapping) enum Leaf {
    Field(Slot),
    ItemField(Slot),
    ClickId(Box<str>),
    Custom(Box<[Step]>),
    ItemCustom(Box<[Step]>),
    Meta(MetaField),
}

/// What holds together in one alternative.
#[derive(Debug, Clone, Default)]
pub(in crate::mapping) struct Facts {
    present: Vec<Leaf>,
    /// What some item has together, for each time that it is asked of the items.
    of_items: Vec<Vec<Leaf>>,
    /// The only words that a value can be, where it is there.
    words: Vec<(Leaf, Vec<Box<str>>)>,
    /// Words that a value is not.
    other_than: Vec<(Leaf, Box<str>)>,
}

/// The alternatives: of each conversion at least one of them holds.
#[derive(Debug, Clone)]
pub(in crate::mapping) struct Known {
    alternatives: Vec<Facts>,
}

impl Leaf {
    pub(super) fn of(node: &Node) -> Option<Leaf> {
        match node {
            Node::Field(slot) => Some(Leaf::Field(*slot)),
            Node::ItemField(slot) => Some(Leaf::ItemField(*slot)),
            Node::ClickId(network) => Some(Leaf::ClickId(network.clone())),
            Node::Custom(steps) => Some(Leaf::Custom(steps.clone())),
            Node::ItemCustom(steps) => Some(Leaf::ItemCustom(steps.clone())),
            Node::Meta(field) => Some(Leaf::Meta(*field)),
            Node::Absent
            | Node::Const(_)
            | Node::Secret(_)
            | Node::Items(_)
            | Node::Each(_)
            | Node::Arithmetic(..)
            | Node::Status
            | Node::Header(_)
            | Node::Body
            | Node::BodyJson(_)
            | Node::Finished(_)
            | Node::Concat(_)
            | Node::First(_)
            | Node::Pipe(..) => None,
        }
    }

    /// Whether every conversion has it.
    fn is_always_present(&self) -> bool {
        match self {
            Leaf::Field(slot) | Leaf::ItemField(slot) => slot.is_always_present(),
            Leaf::Meta(field) => !matches!(field, MetaField::IdempotencyKey | MetaField::TraceParent),
            Leaf::ClickId(_) | Leaf::Custom(_) | Leaf::ItemCustom(_) => false,
        }
    }

    /// The only words that it can be.
    fn words(&self) -> Option<&'static [&'static str]> {
        match self {
            Leaf::Field(slot) | Leaf::ItemField(slot) => {
                if let Kind::Enum(words) = slot.field().kind {
                    Some(words)
                } else {
                    None
                }
            }
            Leaf::ClickId(_) | Leaf::Custom(_) | Leaf::ItemCustom(_) | Leaf::Meta(_) => None,
        }
    }

    fn is_money(&self) -> bool {
        matches!(self, Leaf::Field(slot) | Leaf::ItemField(slot) if slot.field().kind == Kind::Money)
    }
}

impl Facts {
    /// Whether it is there.
    pub(super) fn has(&self, leaf: &Leaf) -> bool {
        // Amounts are refused without their currency.
        let currency = || {
            matches!(leaf, Leaf::Field(slot) if slot.field().kind == Kind::Currency)
                && self.present.iter().any(Leaf::is_money)
        };
        leaf.is_always_present() || self.present.contains(leaf) || currency()
    }

    /// The only words that it can be where it is there; `None`: any.
    pub(super) fn words(&self, leaf: &Leaf) -> Option<Vec<&str>> {
        let said = self.words.iter().rev().find(|(known, _)| known == leaf);
        let mut words: Vec<&str> = match (said, leaf.words()) {
            (Some((_, words)), _) => words.iter().map(|word| &**word).collect(),
            (None, Some(words)) => words.to_vec(),
            (None, None) => return None,
        };
        words.retain(|word| !self.other_than.iter().any(|(known, other)| known == leaf && **other == **word));
        Some(words)
    }

    /// What is known of the item that is known to be there, for each one that is.
    pub(super) fn of_some_item(&self) -> impl Iterator<Item = Facts> {
        self.of_items.iter().map(|leaves| {
            let mut facts = self.clone();
            facts.present.extend(leaves.iter().cloned());
            facts
        })
    }

    fn and(&self, other: &Facts) -> Facts {
        let mut both = self.clone();
        both.present.extend(other.present.iter().cloned());
        both.of_items.extend(other.of_items.iter().cloned());
        both.words.extend(other.words.iter().cloned());
        both.other_than.extend(other.other_than.iter().cloned());
        both
    }
}

impl Known {
    /// Nothing but what the schema says.
    pub(in crate::mapping) fn nothing() -> Known {
        Known { alternatives: vec![Facts::default()] }
    }

    /// What holds of conversions of a kind of which all these tests hold.
    pub(in crate::mapping) fn of<'t>(kind: Option<EventKind>, tests: impl Iterator<Item = &'t Test>) -> Known {
        let when = Known::all(tests.map(|test| follows(test, true)));
        when.and(&kind.map_or_else(Known::nothing, of_kind))
    }

    pub(super) fn alternatives(&self) -> &[Facts] {
        &self.alternatives
    }

    fn one(facts: Facts) -> Known {
        Known { alternatives: vec![facts] }
    }

    fn present(leaf: Leaf) -> Known {
        Known::one(Facts { present: vec![leaf], ..Facts::default() })
    }

    fn and(self, other: &Known) -> Known {
        if self.alternatives.len().saturating_mul(other.alternatives.len()) > ALTERNATIVES_MAX {
            return self;
        }
        let pairs = self.alternatives.iter().flat_map(|one| other.alternatives.iter().map(|two| one.and(two)));
        Known { alternatives: pairs.collect() }
    }

    fn or(mut self, other: Known) -> Known {
        self.alternatives.extend(other.alternatives);
        if self.alternatives.len() > ALTERNATIVES_MAX { Known::nothing() } else { self }
    }

    fn all(parts: impl Iterator<Item = Known>) -> Known {
        parts.fold(Known::nothing(), |all, part| all.and(&part))
    }

    fn any(parts: impl Iterator<Item = Known>) -> Known {
        parts.reduce(Known::or).unwrap_or_else(Known::nothing)
    }
}

/// More alternatives than any condition that a person writes has; beyond it less is known, and nothing wrong.
const ALTERNATIVES_MAX: usize = 256;

fn of_kind(kind: EventKind) -> Known {
    let Some(slot) = Slot::of("kind") else { return Known::nothing() };
    let words = vec![(Leaf::Field(slot), vec![kind.as_str().into()])];
    // An adjustment is refused without its new total.
    let total = Slot::of("value").filter(|_| kind == EventKind::Adjustment).map(Leaf::Field);
    Known::one(Facts { present: total.into_iter().collect(), words, ..Facts::default() })
}

/// What follows from a test that holds, or that does not.
fn follows(test: &Test, holds: bool) -> Known {
    match (test, holds) {
        (Test::Not(inner), _) => follows(inner, !holds),
        (Test::And(parts), true) | (Test::Or(parts), false) => {
            Known::all(parts.iter().map(|part| follows(part, holds)))
        }
        (Test::Or(parts), true) | (Test::And(parts), false) => {
            Known::any(parts.iter().map(|part| follows(part, holds)))
        }
        (Test::Truth(node) | Test::Matches(node, _), true) => present(node),
        (Test::Compare(Comparison::Equal, sides, _), true) | (Test::Compare(Comparison::Unequal, sides, _), false) => {
            let [left, right] = &**sides;
            present(left).and(&present(right)).and(&equal(left, right)).and(&equal(right, left))
        }
        (Test::Compare(Comparison::Unequal, sides, _), true) | (Test::Compare(Comparison::Equal, sides, _), false) => {
            let [left, right] = &**sides;
            unequal(left, right).and(&unequal(right, left))
        }
        (Test::Compare(..) | Test::Contains(_), true) => {
            let (Test::Compare(_, sides, _) | Test::Contains(sides)) = test else { return Known::nothing() };
            let [left, right] = &**sides;
            present(left).and(&present(right))
        }
        (Test::In(sides), true) => {
            let [entry, list] = &**sides;
            present(entry).and(&present(list)).and(&equal(entry, list))
        }
        (Test::Truth(_) | Test::Compare(..) | Test::In(_) | Test::Contains(_) | Test::Matches(..), false) => {
            Known::nothing()
        }
    }
}

/// What follows from a value being there.
fn present(node: &Node) -> Known {
    if let Some(leaf) = Leaf::of(node) {
        return Known::present(leaf);
    }
    if let Node::Pipe(input, calls) = node {
        return if calls.iter().any(Call::stands_for_nothing) { Known::nothing() } else { present(input) };
    }
    if let Node::Concat(parts) = node {
        return Known::all(parts.iter().map(present));
    }
    if let Node::Items(entry) | Node::Each(entry) = node {
        let of_item = |facts: Facts| Facts { of_items: vec![facts.present], ..Facts::default() };
        return Known { alternatives: present(entry).alternatives.into_iter().map(of_item).collect() };
    }
    if let Node::First(parts) = node { Known::any(parts.iter().map(present)) } else { Known::nothing() }
}

/// What follows from a value being a literal, or among a list of them.
fn equal(field: &Node, literal: &Node) -> Known {
    let (Some(leaf), Node::Const(value)) = (Leaf::of(field), literal) else { return Known::nothing() };
    let one = [Some(value.borrowed())];
    let entries = if let Val::List(entries) = value { entries.as_slice() } else { &one };
    let words: Option<Vec<Box<str>>> = entries
        .iter()
        .map(|entry| match entry {
            Some(Val::Text(word)) => Some((**word).into()),
            _ => None,
        })
        .collect();
    match words {
        Some(words) => Known::one(Facts { words: vec![(leaf, words)], ..Facts::default() }),
        None => Known::nothing(),
    }
}

fn unequal(field: &Node, literal: &Node) -> Known {
    match (Leaf::of(field), literal) {
        (Some(leaf), Node::Const(Val::Text(word))) => {
            Known::one(Facts { other_than: vec![(leaf, (**word).into())], ..Facts::default() })
        }
        _ => Known::nothing(),
    }
}

impl Display for Leaf {
    /// As an expression names it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Field(slot) => f.write_str(slot.field().path),
            Leaf::ItemField(slot) => f.write_str(&slot.field().path.replace("items[].", "item.")),
            Leaf::ClickId(network) => write!(f, "click_ids.{network}"),
            Leaf::Custom(steps) => write_steps(f, "custom", steps),
            Leaf::ItemCustom(steps) => write_steps(f, "item.custom", steps),
            Leaf::Meta(field) => {
                let name = MetaField::ALL.into_iter().find(|(_, known)| known == field).map_or("", |(name, _)| name);
                write!(f, "meta.{name}")
            }
        }
    }
}

fn write_steps(f: &mut Formatter<'_>, root: &str, steps: &[Step]) -> fmt::Result {
    f.write_str(root)?;
    steps.iter().try_for_each(|step| match step {
        Step::Key(key) => write!(f, ".{key}"),
        Step::Index(index) => write!(f, "[{index}]"),
    })
}
