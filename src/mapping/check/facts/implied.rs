//! Whether a test follows from what is known: `value >= 10` holds only where `value` is there.

use super::{Facts, Known, Leaf};
use crate::conversion::Kind;
use crate::mapping::predicate::{Absent, Test};
use crate::mapping::program::Node;
use crate::mapping::syntax::Comparison;
use crate::mapping::value::Val;

impl Known {
    /// Whether a test holds of each of these conversions, as far as can be followed.
    pub(in crate::mapping) fn proves(&self, test: &Test) -> bool {
        self.alternatives.iter().all(|facts| facts.prove(test))
    }
}

impl Facts {
    fn prove(&self, test: &Test) -> bool {
        match test {
            Test::And(parts) => parts.iter().all(|part| self.prove(part)),
            Test::Or(parts) => parts.iter().any(|part| self.prove(part)),
            Test::Truth(node) => self.is_true(node),
            Test::Compare(Comparison::Equal, sides, _) => {
                let [left, right] = &**sides;
                self.is_among(left, right) || self.is_among(right, left)
            }
            Test::Compare(Comparison::Unequal, sides, Absent::Differs) => {
                let [left, right] = &**sides;
                self.is_none_of(left, right) || self.is_none_of(right, left)
            }
            Test::In(sides) => {
                let [entry, list] = &**sides;
                self.is_among(entry, list)
            }
            Test::Compare(..) | Test::Not(_) | Test::Contains(_) | Test::Matches(..) => false,
        }
    }

    /// Present, and never false.
    fn is_true(&self, node: &Node) -> bool {
        if let Node::First(parts) = node {
            return parts.iter().any(|part| self.is_true(part)) && parts.iter().all(|part| self.never_false(part));
        }
        Leaf::of(node).is_some_and(|leaf| self.has(&leaf)) && self.never_false(node)
    }

    fn never_false(&self, node: &Node) -> bool {
        match Leaf::of(node) {
            Some(Leaf::Field(slot) | Leaf::ItemField(slot)) => slot.field().kind != Kind::Bool,
            Some(Leaf::ClickId(_) | Leaf::Meta(_)) => true,
            // What is one of some words is a text.
            Some(leaf @ (Leaf::Custom(_) | Leaf::ItemCustom(_))) => self.words(&leaf).is_some(),
            None => false,
        }
    }

    fn is_among(&self, field: &Node, literals: &Node) -> bool {
        let (Some(leaf), Some(literals)) = (Leaf::of(field), texts(literals)) else { return false };
        let among = |words: Vec<&str>| words.iter().all(|word| literals.contains(word));
        self.has(&leaf) && self.words(&leaf).is_some_and(among)
    }

    fn is_none_of(&self, field: &Node, literal: &Node) -> bool {
        let (Some(leaf), Some(literals)) = (Leaf::of(field), texts(literal)) else { return false };
        let is_said = |literal: &&str| {
            self.other_than.iter().any(|(known, other)| *known == leaf && **other == **literal)
                || self.words(&leaf).is_some_and(|words| !words.contains(literal))
        };
        literals.iter().all(is_said)
    }
}

/// The texts that a literal is, or a list of them holds.
fn texts(node: &Node) -> Option<Vec<&str>> {
    let Node::Const(value) = node else { return None };
    if let Val::Text(text) = value {
        return Some(vec![&**text]);
    }
    let Val::List(entries) = value else { return None };
    entries.iter().map(|entry| if let Some(Val::Text(text)) = entry { Some(&**text) } else { None }).collect()
}
