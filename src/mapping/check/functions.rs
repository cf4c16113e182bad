//! Functions over numbers and items.

use super::{Checked, Checker, Names};
use crate::mapping::lexer::At;
use crate::mapping::program::Node;
use crate::mapping::syntax::{Arithmetic, Ast};
use crate::mapping::types::{Base, Ty};

impl Checker<'_, '_, '_> {
    /// Money if a part is money; absent if a part is absent.
    pub(super) fn arithmetic(&mut self, operation: Arithmetic, asts: &[Ast], at: At) -> Checked {
        let mut nodes = Vec::with_capacity(asts.len());
        let mut whole = Checked { constant: true, ..Checked::new(Node::Absent, Ty::of(Base::Number), at) };
        for ast in asts {
            let part = self.value(ast);
            whole.constant &= part.constant;
            match part.ty {
                Some(ty) if self.is_operand(operation, ty, &part) => {
                    if ty.base == Base::Money {
                        whole.ty = whole.ty.map(|_| ty);
                    }
                }
                Some(_) | None => whole.ty = None,
            }
            nodes.push(part.node);
        }
        if nodes.iter().any(|node| matches!(node, Node::Absent)) {
            whole.constant = true;
            return whole;
        }
        whole.node = Node::Arithmetic(operation, nodes.into());
        self.fold(&mut whole);
        whole
    }

    fn is_operand(&mut self, operation: Arithmetic, ty: Ty, part: &Checked) -> bool {
        let name = operation.name();
        let (message, help) = if part.secret {
            (format!("{name} computes with amounts, and a secret is none"), "take it out")
        } else if ty.list {
            let help = "`| total` adds up a list; each(product(item.price, item.quantity)) computes for every item";
            (format!("{name} takes single numbers, and this is {ty}"), help)
        } else if !ty.is_json() && !ty.is_number() {
            (format!("{name} takes numbers, and this is {ty}"), "put `| number` after it")
        } else {
            return true;
        };
        self.faults.report_with_help(part.at, message, help);
        false
    }

    /// A list: the value of every item, the absent ones in their places.
    pub(super) fn each(&mut self, ast: &Ast, at: At) -> Checked {
        let (message, help) = match (self.names, self.item_is_at_hand()) {
            (Names::Answer, _) => ("an answer has no items", "each(…) goes through the items of a conversion"),
            (Names::Request(..) | Names::When(_), true) => (
                "there is one item here, and each(…) goes through all of them",
                "name the item itself, as item.price; or let the target be one field, as `x`, not `x[]` or `X{i}`",
            ),
            (Names::Request(..) | Names::When(_), false) => return self.each_item(ast, at),
        };
        self.faults.report_with_help(at, message, help);
        Checked::faulty(at)
    }

    fn each_item(&mut self, ast: &Ast, at: At) -> Checked {
        let outside = std::mem::take(&mut self.reads.item);
        self.is_in_each = true;
        let entry = self.value(ast);
        self.is_in_each = false;
        let reads_item = std::mem::replace(&mut self.reads.item, outside);
        let Some(ty) = entry.ty else { return Checked::faulty(at) };
        if ty.list {
            let help = "`| join(',')` makes one text of it, `| nth(0)` takes one entry";
            self.faults.report_with_help(ast.at, "this is a list for each item, and a list has no lists in it", help);
            return Checked::faulty(at);
        }
        if !reads_item {
            let help = "as in each(product(item.price, item.quantity))";
            self.faults.report_with_help(ast.at, "this is the same for each item: it names no `item.` field", help);
            return Checked::faulty(at);
        }
        let node = if matches!(entry.node, Node::Absent) { Node::Absent } else { Node::Each(Box::new(entry.node)) };
        Checked { words: entry.words, secret: entry.secret, ..Checked::new(node, Ty::list(ty.base), at) }
    }
}
