//! What an expression says, before anything is known about its names: the syntax tree.
//!
//! Printing a tree (`Display`) gives a text that parses to the same tree. A pipe within a pipe, a `??` within a `??` and the
//! like are flat in the tree, as they mean the same.

use std::fmt::{self, Display, Formatter};

use super::lexer::{At, Scalar, Segment, is_word};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ast {
    pub(super) kind: Kind,
    pub(super) at: At,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Path(Vec<Segment>),
    Literal(Literal),
    Concat(Vec<Ast>),
    /// `sum(a, b)` and the like.
    Arithmetic(Arithmetic, Vec<Ast>),
    /// `each(a)`: a list, `a` of every item.
    Each(Box<Ast>),
    /// `contains(text, part)`, a condition.
    Contains(Box<[Ast; 2]>),
    /// `matches(text, 'pattern')`, a condition.
    Matches(Box<[Ast; 2]>),
    Pipe(Box<Ast>, Vec<Call>),
    /// `a ?? b`: the first that is present.
    First(Vec<Ast>),
    /// `a !`: only around the whole.
    Required(Box<Ast>),
    Compare(Comparison, Box<[Ast; 2]>),
    /// `a in b`.
    In(Box<[Ast; 2]>),
    Not(Box<Ast>),
    And(Vec<Ast>),
    Or(Vec<Ast>),
    /// Could not be read; the fault is reported.
    Unreadable,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Scalar(Scalar),
    Null,
    List(Vec<(Scalar, At)>),
    Map(Vec<(Key, Scalar)>),
}

/// A key of a map literal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) at: At,
}

/// One filter of a pipe.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) args: Vec<Ast>,
    /// Of the name.
    pub(super) at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A function of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Sum,
    Product,
    Difference,
}

impl Arithmetic {
    pub(super) const ALL: [Arithmetic; 3] = [Arithmetic::Sum, Arithmetic::Product, Arithmetic::Difference];

    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        match self {
            Arithmetic::Sum => "sum",
            Arithmetic::Product => "product",
            Arithmetic::Difference => "difference",
        }
    }
}

impl Comparison {
    /// Whether it asks for an order, not for sameness.
    pub(super) fn is_order(self) -> bool {
        !matches!(self, Comparison::Equal | Comparison::Unequal)
    }
}

impl Kind {
    /// How tightly it binds; a part that binds less than its place asks for stands in parentheses.
    fn binding(&self) -> u8 {
        match self {
            Kind::Required(_) => 0,
            Kind::Or(_) => 1,
            Kind::And(_) => 2,
            Kind::Not(_) => 3,
            Kind::Compare(..) | Kind::In(_) => 4,
            Kind::First(_) => 5,
            Kind::Pipe(..) => 6,
            Kind::Path(_)
            | Kind::Literal(_)
            | Kind::Concat(_)
            | Kind::Arithmetic(..)
            | Kind::Each(_)
            | Kind::Contains(_)
            | Kind::Matches(_)
            | Kind::Unreadable => 7,
        }
    }
}

impl Display for Ast {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Path(segments) => write_path(f, segments),
            Kind::Literal(literal) => literal.fmt(f),
            Kind::Concat(parts) => write_call(f, "concat", parts),
            Kind::Arithmetic(operation, parts) => write_call(f, operation.name(), parts),
            Kind::Each(entry) => write!(f, "each({entry})"),
            Kind::Contains(parts) => write_call(f, "contains", parts.as_slice()),
            Kind::Matches(parts) => write_call(f, "matches", parts.as_slice()),
            Kind::Pipe(input, calls) => {
                write_part(f, input, 7)?;
                calls.iter().try_for_each(|call| write!(f, " | {call}"))
            }
            Kind::First(parts) => write_joined(f, parts, " ?? ", 6),
            Kind::Required(inner) => {
                write_part(f, inner, 1)?;
                f.write_str(" !")
            }
            Kind::Compare(comparison, sides) => write_joined(f, sides.as_slice(), &format!(" {comparison} "), 5),
            Kind::In(sides) => write_joined(f, sides.as_slice(), " in ", 5),
            // What is negated is a name or stands in parentheses, so that `!a == b` is never in doubt.
            Kind::Not(inner) => {
                f.write_str("!")?;
                write_part(f, inner, if matches!(inner.kind, Kind::Not(_)) { 3 } else { 7 })
            }
            Kind::And(parts) => write_joined(f, parts, " && ", 3),
            Kind::Or(parts) => write_joined(f, parts, " || ", 2),
            Kind::Unreadable => f.write_str("?"),
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.args.is_empty() { f.write_str(&self.name) } else { write_call(f, &self.name, &self.args) }
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Comparison::Equal => "==",
            Comparison::Unequal => "!=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        })
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Literal::Scalar(scalar) => scalar.fmt(f),
            Literal::Null => f.write_str("null"),
            Literal::List(entries) => {
                f.write_str("[")?;
                for (i, (entry, _)) in entries.iter().enumerate() {
                    write!(f, "{}{entry}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Literal::Map(members) => {
                f.write_str("{")?;
                for (i, (key, value)) in members.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    write_quoted(f, &key.name)?;
                    write!(f, ": {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(text) => write_quoted(f, text),
            Scalar::Number(number) => f.write_str(number),
            Scalar::Bool(value) => value.fmt(f),
        }
    }
}

fn write_part(f: &mut Formatter<'_>, part: &Ast, binding: u8) -> fmt::Result {
    if part.kind.binding() >= binding { part.fmt(f) } else { write!(f, "({part})") }
}

fn write_joined(f: &mut Formatter<'_>, parts: &[Ast], sign: &str, binding: u8) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { sign })?;
        write_part(f, part, binding)?;
    }
    Ok(())
}

fn write_call(f: &mut Formatter<'_>, name: &str, args: &[Ast]) -> fmt::Result {
    write!(f, "{name}(")?;
    write_joined(f, args, ", ", 0)?;
    f.write_str(")")
}

fn write_quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "'{}'", text.replace('\'', "''"))
}

/// A path as it is written.
pub(super) fn write_path(f: &mut impl fmt::Write, segments: &[Segment]) -> fmt::Result {
    for (i, segment) in segments.iter().enumerate() {
        match segment {
            Segment::Key(key) if is_word(key) => write!(f, "{}{key}", if i == 0 { "" } else { "." })?,
            Segment::Key(key) => write!(f, "['{}']", key.replace('\'', "''"))?,
            Segment::Index(index) => write!(f, "[{index}]")?,
            Segment::All => f.write_str("[]")?,
        }
    }
    Ok(())
}
