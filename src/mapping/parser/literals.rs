//! Lists, maps and what may stand in them.

use super::Parser;
use crate::mapping::lexer::{Kind as Sign, Scalar, Segment};
use crate::mapping::syntax::{Ast, Key, Kind, Literal};

impl Parser<'_, '_> {
    /// The opening bracket is next.
    pub(super) fn list(&mut self) -> Ast {
        let open = self.here();
        self.advance();
        let mut entries = Vec::new();
        let mut end = self.eat(&Sign::CloseList);
        while end.is_none() {
            let at = self.here();
            if let Some(entry) = self.scalar() {
                entries.push((entry, at));
            }
            if self.eat(&Sign::Comma).is_none() {
                end = Some(self.expect(&Sign::CloseList));
            }
        }
        Ast { kind: Kind::Literal(Literal::List(entries)), at: open.to(end.unwrap_or(open)) }
    }

    /// The opening brace is next.
    pub(super) fn map(&mut self) -> Ast {
        let open = self.here();
        self.advance();
        let mut members: Vec<(Key, Scalar)> = Vec::new();
        let mut end = self.eat(&Sign::CloseMap);
        while end.is_none() {
            if let Some((key, value)) = self.member() {
                if members.iter().any(|(other, _)| other.name == key.name) {
                    self.faults.report(key.at, "this key stands here twice");
                }
                members.push((key, value));
            }
            if self.eat(&Sign::Comma).is_none() {
                end = Some(self.expect(&Sign::CloseMap));
            }
        }
        Ast { kind: Kind::Literal(Literal::Map(members)), at: open.to(end.unwrap_or(open)) }
    }

    fn member(&mut self) -> Option<(Key, Scalar)> {
        let at = self.here();
        let name = match self.peek().map(|token| &token.kind) {
            Some(Sign::Literal(Scalar::Text(name) | Scalar::Number(name))) => Some(name.clone()),
            Some(Sign::Literal(Scalar::Bool(value))) => Some(value.to_string()),
            Some(Sign::In) => Some("in".to_owned()),
            Some(Sign::Null) => Some("null".to_owned()),
            Some(Sign::Path(segments)) => match segments.as_slice() {
                [Segment::Key(name)] => Some(name.to_string()),
                _ => None,
            },
            _ => None,
        };
        let Some(name) = name else {
            self.faults.report(at, "a key is missing here: a name, a number or a quoted text");
            self.skip();
            return None;
        };
        self.advance();
        if self.eat(&Sign::Colon).is_none() {
            let here = self.here();
            self.faults.report(here, "`:` and a value are missing after this key");
            self.skip();
            return None;
        }
        self.scalar().map(|value| (Key { name, at }, value))
    }

    /// A literal that is neither list nor map.
    fn scalar(&mut self) -> Option<Scalar> {
        let at = self.here();
        let scalar = self.eat_scalar();
        if scalar.is_none() {
            self.faults.report(at, "a literal is missing here: 'text', 12, 3.5, true or false");
            self.skip();
        }
        scalar
    }

    pub(super) fn eat_scalar(&mut self) -> Option<Scalar> {
        let Sign::Literal(scalar) = &self.peek()?.kind else { return None };
        let scalar = scalar.clone();
        self.advance();
        Some(scalar)
    }
}
