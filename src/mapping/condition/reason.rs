//! Why a conversion is not a destination's, in words for the person who asks where it went. They come from the condition's
//! own text and are made when it is compiled, so no value of a conversion can stand in them.

use crate::conversion::Kind as FieldKind;
use crate::mapping::predicate::Test;
use crate::mapping::program::Node;
use crate::mapping::syntax::{Ast, Kind};
use crate::mapping::value::Val;

/// What is said of a term that does not hold.
pub(super) fn unmet(term: &Ast, test: &Test) -> String {
    match (&term.kind, test) {
        (Kind::Path(_), Test::Truth(node)) => format!("{term} {}", failing(node)),
        (Kind::Not(inner), Test::Not(test)) => match (&inner.kind, &**test) {
            (Kind::Path(_), Test::Truth(node)) => match can_be(node) {
                CanBe::TrueOrFalse => format!("{inner} is true"),
                CanBe::Anything => format!("{inner} is present and not false"),
                CanBe::NeverFalse => format!("{inner} is present"),
            },
            _ => format!("{term} does not hold"),
        },
        (Kind::Or(parts), Test::Or(tests)) if parts.iter().zip(tests).all(is_path) => {
            let names: Vec<String> = parts.iter().map(Ast::to_string).collect();
            let lack = if tests.iter().all(never_false) { "is present" } else { "is present and not false" };
            format!("none of {} {lack}", names.join(", "))
        }
        (Kind::Or(_), _) => format!("({term}) does not hold"),
        _ => format!("{term} does not hold"),
    }
}

/// What a path that fails as a condition is.
fn failing(node: &Node) -> &'static str {
    match (node, can_be(node)) {
        (Node::Absent, _) => "is not set",
        (Node::Const(_), _) => "is false",
        (_, CanBe::TrueOrFalse | CanBe::Anything) => "is absent or false",
        (_, CanBe::NeverFalse) => "is absent",
    }
}

/// Whether a term asks for a value that is no `false`, and for nothing more.
fn is_path((part, test): (&Ast, &Test)) -> bool {
    matches!((&part.kind, test), (Kind::Path(_), Test::Truth(_)))
}

fn never_false(test: &Test) -> bool {
    matches!(test, Test::Truth(node) if can_be(node) == CanBe::NeverFalse)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CanBe {
    TrueOrFalse,
    NeverFalse,
    /// Free data, of which any may be false.
    Anything,
}

fn can_be(node: &Node) -> CanBe {
    match node {
        Node::Field(slot) | Node::ItemField(slot) if slot.field().kind == FieldKind::Bool => CanBe::TrueOrFalse,
        Node::Const(Val::Bool(_)) => CanBe::TrueOrFalse,
        Node::Custom(_) | Node::ItemCustom(_) => CanBe::Anything,
        Node::Const(_)
        | Node::Field(_)
        | Node::ItemField(_)
        | Node::Absent
        | Node::Secret(_)
        | Node::ClickId(_)
        | Node::Items(_)
        | Node::Each(_)
        | Node::Arithmetic(..)
        | Node::Meta(_)
        | Node::Status
        | Node::Header(_)
        | Node::Body
        | Node::BodyJson(_)
        | Node::Finished(_)
        | Node::Concat(_)
        | Node::First(_)
        | Node::Pipe(..) => CanBe::NeverFalse,
    }
}
