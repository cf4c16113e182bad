//! One value of a request: compiled once, evaluated per conversion.

use std::ops::Range;

use super::check::{Checker, Names, Reads};
use super::lexer::{At, Faults, Kind as TokenKind, Scalar, Segment, Token, tokens};
use super::parser::parse_value;
use super::program::{Context, Node, Source};
use super::scope::{Constants, Place, Scope, Secrets};
use super::source::{Fault, FileId, Span, Text};
use super::syntax::{Ast, Kind, Literal};
use super::types::{OutType, Ty};
use super::value::{Evaluated, Val};
use crate::conversion::{Item, Rows, Slot, Value};

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    node: Node,
    ty: Ty,
    required: bool,
    blank: Option<Blank>,
    reads: Reads,
    stored: Stored,
}

/// Where an expression computes nothing.
#[derive(Debug, Clone)]
enum Stored {
    /// It does.
    Not,
    /// The value of a field as it stands.
    Field(Slot),
    /// The first of these that is there.
    FirstOf(Box<[Slot]>),
}

/// What is sent for a field that has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blank {
    /// `?? null`
    Null,
    /// `?? ''`
    EmptyText,
}

impl Expression {
    /// Parses and type-checks; every fault at once.
    pub(crate) fn compile(text: &Text, constants: &Constants, place: Place) -> Result<Expression, Vec<Fault>> {
        let mut faults = Faults::new(text);
        let mut ast = parse_value(text, 0..text.value.len(), &mut faults);
        let blank = take_blank(&mut ast);
        let compiled = check(&ast, Names::Request(constants, place), &mut faults);
        compiled.map(|expression| Expression { blank, ..expression }).ok_or_else(|| faults.into_list())
    }

    /// Whether a text is an expression that is a path (`meta.dedup_key`) and nothing more.
    pub(crate) fn reads_path(text: &str, constants: &Constants) -> bool {
        let span = Span { file: FileId(0), range: 0..text.len() };
        let text = Text { value: text.to_owned(), span, verbatim: false };
        let mut faults = Faults::new(&text);
        let whole = At { start: 0, end: text.value.len() };
        let compiled = compile_part(&text, whole, Names::Request(constants, Place::Top), &mut faults);
        matches!(compiled, Some((_, Ast { kind: Kind::Path(_), .. })))
    }

    /// What it looks like on the wire.
    pub(crate) fn out_type(&self) -> OutType {
        self.ty.out()
    }

    /// The compiled tree, for what is proven of it at load.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Its static type.
    pub(super) fn ty(&self) -> Ty {
        self.ty
    }

    /// Whether it ends with `!`.
    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// What is sent where it has no value; without it, nothing is.
    pub(crate) fn blank(&self) -> Option<Blank> {
        self.blank
    }

    /// Whether it reads nothing of the conversion: constants, vars, secrets.
    pub(crate) fn is_literal(&self) -> bool {
        !self.reads.conversion
    }

    /// Whether it names `item.*`.
    pub(crate) fn reads_items(&self) -> bool {
        self.reads.item
    }

    /// The unset var or secret (`vars.goal_id`) for want of which it never has a value.
    pub(crate) fn lacks(&self) -> Option<&str> {
        if matches!(self.node, Node::Absent) { self.reads.unset.as_deref() } else { None }
    }

    /// The text that it makes of a secret, the same for every conversion.
    pub(crate) fn made_of_secret(&self) -> Option<String> {
        let text = |secrets| match self.value(&Context { source: Source::Nothing, secrets }) {
            Ok(Some(Val::Text(text))) => Some(text.into_owned()),
            Ok(_) | Err(_) => None,
        };
        let revealed = self.is_literal().then(|| text(Secrets::Revealed)).flatten()?;
        (text(Secrets::Masked).as_ref() != Some(&revealed)).then_some(revealed)
    }

    /// Rows of the conversion and the item of which one must have a value for this to have one.
    pub(crate) fn needs(&self) -> Rows {
        self.node.needs()
    }

    /// The value of the conversion or the item that stands as it is, and is there.
    pub(crate) fn stored<'a>(&self, scope: Scope<'a>, item: Option<&'a Item>) -> Option<&'a Value> {
        let value = |slot: Slot| scope.conversion.value(slot).or_else(|| item?.value(slot));
        match &self.stored {
            Stored::Not => None,
            Stored::Field(slot) => value(*slot),
            Stored::FirstOf(slots) => slots.iter().find_map(|slot| value(*slot)),
        }
    }

    /// Its value, which has a look on the wire; `None` when it is absent, required or not.
    #[inline(always)]
    pub(crate) fn eval<'a>(&'a self, scope: Scope<'a>, item: Option<&'a Item>, secrets: Secrets) -> Evaluated<'a> {
        let context = Context { source: Source::Conversion(scope, item), secrets };
        let value = self.value(&context);
        // Everything else stays where it was made: moving it costs as much as reading a field.
        if matches!(value, Ok(Some(Val::List(_)))) { value.map(|list| list.and_then(Val::settled)) } else { value }
    }

    pub(super) fn value<'a>(&'a self, context: &Context<'a>) -> Evaluated<'a> {
        self.node.eval(context)
    }
}

/// Compiles the part `at` of a text, and hands back its tree as well; none if a fault was reported.
pub(super) fn compile_part(
    text: &Text,
    at: At,
    names: Names<'_>,
    faults: &mut Faults<'_>,
) -> Option<(Expression, Ast)> {
    let ast = parse_value(text, at.into(), faults);
    check(&ast, names, faults).map(|expression| (expression, ast))
}

fn check(ast: &Ast, names: Names<'_>, faults: &mut Faults<'_>) -> Option<Expression> {
    let mut checker = Checker::new(names, faults);
    let checked = checker.value(ast);
    let reads = std::mem::take(&mut checker.reads);
    let ty = checked.ty.filter(|_| faults.is_empty())?;
    let required = matches!(ast.kind, Kind::Required(_));
    let stored = match checked.node.stored() {
        None => Stored::Not,
        Some(slots) => match slots.as_slice() {
            [slot] => Stored::Field(*slot),
            _ => Stored::FirstOf(slots.into()),
        },
    };
    Some(Expression { node: checked.node, ty, required, blank: None, reads, stored })
}

/// Whether an expression or a condition names the field that this one word is. Of what cannot be read, which is a fault already,
/// it is supposed.
pub fn names_field(text: &Text, field: &str) -> bool {
    names_field_within(text, 0..text.value.len(), field)
}

pub(super) fn names_field_within(text: &Text, range: Range<usize>, field: &str) -> bool {
    let is_name = |segments: &[Segment]| matches!(segments, [Segment::Key(word)] if **word == *field);
    let is_it = |token: &Token| matches!(&token.kind, TokenKind::Path(segments) if is_name(segments));
    tokens(&text.value, range, &mut Faults::new(text)).is_none_or(|tokens| tokens.iter().any(is_it))
}

/// Takes a `?? null` or `?? ''` off the end: it is no alternative of the value, but what stands for none.
fn take_blank(ast: &mut Ast) -> Option<Blank> {
    let Kind::First(parts) = &mut ast.kind else { return None };
    let Kind::Literal(literal) = &parts.last()?.kind else { return None };
    let blank = match literal {
        Literal::Null => Blank::Null,
        Literal::Scalar(Scalar::Text(text)) if text.is_empty() => Blank::EmptyText,
        Literal::Scalar(_) | Literal::List(_) | Literal::Map(_) => return None,
    };
    parts.pop();
    if parts.len() == 1 {
        *ast = parts.pop()?;
    }
    Some(blank)
}
