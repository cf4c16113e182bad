//! Conditions: what may be compared with what.

use super::{Checked, Checker, Names};
use crate::conversion::{Date, Money, Slot, Timestamp};
use crate::mapping::lexer::{At, Scalar};
use crate::mapping::pattern::Pattern;
use crate::mapping::predicate::{Absent, Test};
use crate::mapping::program::Node;
use crate::mapping::syntax::{Ast, Comparison, Kind, Literal};
use crate::mapping::types::{Base, OutType, Ty};
use crate::mapping::value::{Held, Val};

impl Checker<'_, '_, '_> {
    /// Checks a part that must be a condition.
    pub(in crate::mapping) fn test(&mut self, ast: &Ast) -> Test {
        match &ast.kind {
            Kind::Not(inner) => Test::Not(Box::new(self.test(inner))),
            Kind::And(parts) => Test::And(parts.iter().map(|part| self.test(part)).collect()),
            Kind::Or(parts) => Test::Or(parts.iter().map(|part| self.test(part)).collect()),
            Kind::Compare(comparison, sides) => self.compare(*comparison, sides, ast.at),
            Kind::In(sides) => self.is_in(sides, ast.at),
            Kind::Contains(sides) => self.contains(sides),
            Kind::Matches(sides) => self.matches(sides),
            Kind::Required(inner) => self.test(inner),
            Kind::Path(_)
            | Kind::Literal(_)
            | Kind::Concat(_)
            | Kind::Arithmetic(..)
            | Kind::Each(_)
            | Kind::Pipe(..)
            | Kind::First(_)
            | Kind::Unreadable => {
                let checked = self.value(ast);
                if checked.literal && checked.ty != Some(Ty::of(Base::Bool)) {
                    self.faults.report(ast.at, "a literal is no condition: compare it with something");
                }
                Test::Truth(checked.node)
            }
        }
    }

    fn compare(&mut self, comparison: Comparison, sides: &[Ast; 2], at: At) -> Test {
        let [left, right] = sides;
        let mut left = self.value(left);
        let mut right = self.value(right);
        self.read_time(&left, &mut right);
        self.read_time(&right, &mut left);
        self.check_sides(comparison, &left, &right, at);
        self.check_sameness(&left, &right);
        self.check_sameness(&right, &left);
        Test::Compare(comparison, Box::new([left.node, right.node]), self.absent())
    }

    fn absent(&self) -> Absent {
        match self.names {
            Names::Answer => Absent::ProvesNothing,
            Names::Request(..) | Names::When(_) => Absent::Differs,
        }
    }

    /// A text literal beside a time is a time.
    fn read_time(&mut self, time: &Checked, literal: &mut Checked) {
        let (Some(ty), Node::Const(Val::Text(text))) = (time.ty, &literal.node) else { return };
        let read = match ty {
            Ty { base: Base::Timestamp, list: false } => {
                Timestamp::parse(text).map(|time| Val::Timestamp(Held::from(time)))
            }
            Ty { base: Base::Date, list: false } => Date::parse(text).map(|date| Val::Date(Held::from(date))),
            _ => return,
        };
        match read {
            Ok(value) => {
                literal.node = Node::Const(value);
                literal.ty = Some(ty);
            }
            Err(fault) => {
                self.faults.report(literal.at, format!("what {ty} is compared with {fault}"));
                literal.ty = None;
            }
        }
    }

    fn check_sides(&mut self, comparison: Comparison, left: &Checked, right: &Checked, at: At) {
        let (Some(one), Some(other)) = (left.ty, right.ty) else { return };
        let free = one.is_json() || other.is_json();
        if one.list || other.list {
            self.faults.report_with_help(at, "a list is compared as a whole with nothing", "write 'x' in items[].sku");
        } else if !free && !alike(one, other) {
            let message = format!("{one} is never equal to {other}");
            let quoted = unquoted(left, other).or_else(|| unquoted(right, one));
            let help = quoted.map_or_else(
                || "`| string` and `| number` make them alike".to_owned(),
                |literal| format!("take the quotes away: `{literal}`"),
            );
            self.faults.report_with_help(at, message, help);
        } else if comparison.is_order() && !(ordered(one) && ordered(other)) {
            self.faults.report(at, "only numbers, timestamps and dates have an order; texts are equal or not");
        }
    }

    /// A word that a field can never be is a mistake.
    fn check_sameness(&mut self, field: &Checked, literal: &Checked) {
        let Node::Const(value) = &literal.node else { return };
        let entries = if let Val::List(entries) = value { entries.as_slice() } else { &[Some(value.borrowed())] };
        for entry in entries.iter().flatten() {
            let Val::Text(word) = entry else { continue };
            match field.words {
                Some(words) => self.check_word(word, literal.at, words),
                None => self.check_form(&field.node, word, literal.at),
            }
        }
    }

    /// A text that a field can never be, for the form that its kind has. It is not repeated: it may come from a var.
    pub(super) fn check_form(&mut self, field: &Node, text: &str, at: At) {
        let Some(slot) = slot_of(field) else { return };
        if let Some(wrong) = slot.field().kind.refuses(text) {
            self.faults.report(at, format!("`{}` is never this: it {wrong}", slot.field().path));
        }
    }

    fn is_in(&mut self, sides: &[Ast; 2], at: At) -> Test {
        let [entry, list] = sides;
        let (entry, list) = (self.value(entry), self.value(list));
        if let (Some(one), Some(many)) = (entry.ty, list.ty) {
            if !many.list && !many.is_json() {
                let message = format!("after `in` comes a list, and this is {many}");
                let help = "as in ['a', 'b']; contains(text, 'part') looks into a text";
                self.faults.report_with_help(list.at, message, help);
            } else if one.list {
                self.faults.report(entry.at, "before `in` comes one value, and this is a list");
            } else if !one.is_json() && !many.is_json() && !alike(one, Ty::of(many.base)) {
                self.faults.report(at, format!("{one} is never among {many}"));
            }
        }
        self.check_sameness(&entry, &list);
        Test::In(Box::new([entry.node, list.node]))
    }

    fn contains(&mut self, sides: &[Ast; 2]) -> Test {
        let [whole, part] = sides;
        let (whole, part) = (self.value(whole), self.value(part));
        self.check_searched("contains", &whole);
        self.check_searched("contains", &part);
        Test::Contains(Box::new([whole.node, part.node]))
    }

    fn matches(&mut self, sides: &[Ast; 2]) -> Test {
        let [text, pattern] = sides;
        let text = self.value(text);
        self.check_searched("matches", &text);
        let Kind::Literal(Literal::Scalar(Scalar::Text(pattern_text))) = &pattern.kind else {
            let message = "the pattern of `matches` is a text, written out: it is compiled when the file is read";
            self.faults.report_with_help(pattern.at, message, "as in matches(body, '^OK')");
            return Test::Truth(text.node);
        };
        match Pattern::parse(pattern_text) {
            Ok(pattern) => Test::Matches(text.node, pattern),
            Err(message) => {
                self.faults.report(pattern.at, message);
                Test::Truth(text.node)
            }
        }
    }

    fn check_searched(&mut self, name: &str, side: &Checked) {
        let Some(ty) = side.ty else { return };
        if !ty.is_json() && ty.out() != OutType::Text {
            let message = format!("{name} takes texts, and this is {ty}");
            let help = "`| string` makes text of it; of a list write 'x' in list";
            self.faults.report_with_help(side.at, message, help);
        }
    }
}

/// The field that a value, or each entry of a list, is.
fn slot_of(node: &Node) -> Option<Slot> {
    if let Node::Items(entry) = node {
        return slot_of(entry);
    }
    if let Node::Field(slot) | Node::ItemField(slot) = node { Some(*slot) } else { None }
}

/// A text literal that without its quotes would be of the type that it is compared with.
fn unquoted(literal: &Checked, with: Ty) -> Option<&str> {
    let Node::Const(Val::Text(text)) = &literal.node else { return None };
    let is_of_type = if with.base == Base::Bool {
        matches!(&**text, "true" | "false")
    } else {
        with.is_number() && Money::parse(text).is_ok()
    };
    (literal.literal && is_of_type).then_some(&**text)
}

/// Whether two values can be equal at all.
fn alike(one: Ty, other: Ty) -> bool {
    let text = |ty: Ty| matches!(ty.base, Base::Text | Base::Digest);
    one.base == other.base || (one.is_number() && other.is_number()) || (text(one) && text(other))
}

fn ordered(ty: Ty) -> bool {
    ty.is_number() || matches!(ty.base, Base::Timestamp | Base::Date | Base::Json)
}
