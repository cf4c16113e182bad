//! Functions: their names and how many arguments they take.

use super::Parser;
use crate::conversion::nearest;
use crate::mapping::lexer::{At, Kind as Sign, Segment};
use crate::mapping::syntax::{Arithmetic, Ast, Kind};

/// Each with a call of it, as a fault shows it.
const FUNCTIONS: [(&str, &str); 7] = [
    ("concat", "concat(a, b)"),
    ("sum", "sum(a, b)"),
    ("product", "product(a, b)"),
    ("difference", "difference(a, b)"),
    ("each", "each(product(item.price, item.quantity))"),
    ("contains", "contains(body, 'already exists')"),
    ("matches", "matches(body, '^OK')"),
];

impl Parser<'_, '_> {
    /// A path, or a function with its arguments; it is next.
    pub(super) fn path(&mut self, segments: Vec<Segment>, at: At) -> Ast {
        self.advance();
        if self.peek().is_none_or(|token| token.kind != Sign::Open) {
            return Ast { kind: Kind::Path(segments), at };
        }
        let name = match segments.as_slice() {
            [Segment::Key(name)] => name.clone(),
            _ => "".into(),
        };
        let (args, end) = self.arguments();
        let whole = at.to(end);
        let Some((_, example)) = FUNCTIONS.into_iter().find(|(known, _)| *known == &*name) else {
            let known = FUNCTIONS.map(|(known, _)| known);
            let help = match nearest(&name, known.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a filter follows its input: `x | name(…)`".to_owned(),
            };
            self.faults.report_with_help(
                at,
                format!("there is no such function: there are {}", known.join(", ")),
                help,
            );
            return Ast { kind: Kind::Unreadable, at: whole };
        };
        let kind = function(&name, args).unwrap_or_else(|wanted| {
            self.faults.report(whole, format!("{name} takes {wanted}: {example}"));
            Kind::Unreadable
        });
        Ast { kind, at: whole }
    }
}

/// A call, or how many arguments it takes.
fn function(name: &str, args: Vec<Ast>) -> Result<Kind, &'static str> {
    if let Some(operation) = Arithmetic::ALL.into_iter().find(|operation| operation.name() == name) {
        return match (operation, args.len()) {
            (Arithmetic::Difference, 2) | (Arithmetic::Sum | Arithmetic::Product, 2..) => {
                Ok(Kind::Arithmetic(operation, args))
            }
            (Arithmetic::Difference, _) => Err("two numbers"),
            (Arithmetic::Sum | Arithmetic::Product, _) => Err("at least two numbers"),
        };
    }
    match name {
        "concat" if args.is_empty() => Err("at least one part"),
        "concat" => Ok(Kind::Concat(args)),
        "each" => <[Ast; 1]>::try_from(args).map(|[entry]| Kind::Each(Box::new(entry))).or(Err("one expression")),
        "contains" => <[Ast; 2]>::try_from(args).map(|sides| Kind::Contains(Box::new(sides))).or(Err("two texts")),
        _ => <[Ast; 2]>::try_from(args).map(|sides| Kind::Matches(Box::new(sides))).or(Err("a text and a pattern")),
    }
}
