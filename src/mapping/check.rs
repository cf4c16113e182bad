//! Syntax tree → compiled value: resolves names, checks types, folds constants. Every fault is reported, and what hangs on
//! a faulty part is not blamed for it.

mod calls;
pub(super) mod content;
pub(super) mod digest;
pub(super) mod facts;
mod functions;
pub(super) mod identity;
mod names;
mod predicates;
pub(super) mod presence;

use super::lexer::{At, Faults, Scalar};
use super::program::{Context, Node, Source};
use super::scope::{Constants, Place, Secrets};
use super::syntax::{Ast, Key, Kind, Literal};
use super::types::{Base, Ty};
use super::value::Val;
use crate::conversion::{Json, Money};

/// What a text may name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Names<'c> {
    /// A value of a request.
    Request(&'c Constants, Place),
    /// A `when`: all but secrets.
    When(&'c Constants),
    /// A predicate over an answer, or what is captured of it.
    Answer,
}

/// What a checked text was found to read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    /// Anything of the conversion.
    pub(super) conversion: bool,
    /// `item.*`.
    pub(super) item: bool,
    /// An answer's body.
    pub(super) body: bool,
    /// The first var or secret without a value, as `vars.x`.
    pub(super) unset: Option<String>,
}

pub(super) struct Checker<'c, 'f, 't> {
    names: Names<'c>,
    /// Within `each(…)`, where there is an item.
    is_in_each: bool,
    faults: &'f mut Faults<'t>,
    pub(super) reads: Reads,
}

/// A checked part.
pub(super) struct Checked {
    pub(super) node: Node,
    /// None where a fault leaves it unknown.
    pub(super) ty: Option<Ty>,
    at: At,
    /// The only words that it can be.
    words: Option<&'static [&'static str]>,
    /// Reads nothing: can be computed now.
    constant: bool,
    /// Computed from a secret.
    secret: bool,
    /// Written out, so known to be present.
    literal: bool,
}

impl Checked {
    fn new(node: Node, ty: Ty, at: At) -> Checked {
        Checked { node, ty: Some(ty), at, words: None, constant: false, secret: false, literal: false }
    }

    fn constant(value: Option<Val<'static>>, ty: Ty, at: At) -> Checked {
        Checked { constant: true, ..Checked::new(value.map_or(Node::Absent, Node::Const), ty, at) }
    }

    fn faulty(at: At) -> Checked {
        Checked { ty: None, constant: true, ..Checked::new(Node::Absent, Ty::of(Base::Json), at) }
    }
}

impl<'c, 'f, 't> Checker<'c, 'f, 't> {
    pub(super) fn new(names: Names<'c>, faults: &'f mut Faults<'t>) -> Self {
        Checker { names, is_in_each: false, faults, reads: Reads::default() }
    }

    /// Checks a part that must be a value.
    pub(super) fn value(&mut self, ast: &Ast) -> Checked {
        match &ast.kind {
            Kind::Path(segments) => self.path(segments, ast.at),
            Kind::Literal(literal) => self.literal(literal, ast.at),
            Kind::Concat(parts) => self.concat(parts, ast.at),
            Kind::Arithmetic(operation, parts) => self.arithmetic(*operation, parts, ast.at),
            Kind::Each(entry) => self.each(entry, ast.at),
            Kind::First(parts) => self.first(parts, ast.at),
            Kind::Pipe(input, calls) => {
                let input = self.value(input);
                calls.iter().fold(input, |input, call| self.call(input, call))
            }
            Kind::Required(inner) => self.value(inner),
            Kind::Unreadable => Checked::faulty(ast.at),
            Kind::Contains(_)
            | Kind::Matches(_)
            | Kind::Compare(..)
            | Kind::In(_)
            | Kind::Not(_)
            | Kind::And(_)
            | Kind::Or(_) => {
                let help = either(ast).map_or_else(
                    || "conditions belong into `when`; to choose a value by another's, use `| lookup({…})`".to_owned(),
                    |first| format!("the first that has a value is `{first}`"),
                );
                self.faults.report_with_help(ast.at, "this is a condition, and a value belongs here", help);
                Checked::faulty(ast.at)
            }
        }
    }

    fn literal(&mut self, literal: &Literal, at: At) -> Checked {
        let mut checked = match literal {
            Literal::Scalar(Scalar::Text(text)) if text.is_empty() => {
                let message = "an empty text is no value: it is never equal to anything, and sent only by `?? ''`";
                self.faults.report_with_help(at, message, self.blank_help());
                return Checked::faulty(at);
            }
            Literal::Null => {
                let message = "null is no value: it is never equal to anything, and sent only by `?? null`";
                self.faults.report_with_help(at, message, self.blank_help());
                return Checked::faulty(at);
            }
            Literal::List(entries) => self.list(entries, at),
            Literal::Map(members) => self.map(members, at),
            Literal::Scalar(scalar) => match self.scalar(scalar, at) {
                Some((value, ty)) => Checked::constant(Some(value), ty, at),
                None => Checked::faulty(at),
            },
        };
        checked.literal = true;
        checked
    }

    /// What is meant by an empty text or null where it is nothing.
    fn blank_help(&self) -> &'static str {
        match self.names {
            Names::Request(..) => "it stands last in a field of `map` or `query`, as in `a ?? null`, and nowhere else",
            Names::When(_) | Names::Answer => "a bare path holds where it has a value: `a`; and `!a` where it has none",
        }
    }

    /// The value and type of a literal; it may be the empty text.
    fn scalar(&mut self, scalar: &Scalar, at: At) -> Option<(Val<'static>, Ty)> {
        match scalar {
            Scalar::Text(text) => Some((Val::Text(text.clone().into()), Ty::of(Base::Text))),
            Scalar::Bool(value) => Some((Val::Bool(*value), Ty::of(Base::Bool))),
            Scalar::Number(number) => {
                if let Ok(int) = number.parse::<i64>() {
                    return Some((Val::Int(int), Ty::of(Base::Int)));
                }
                if let Err(fault) = Money::parse(number) {
                    self.faults.report(at, format!("this number {fault}"));
                    return None;
                }
                Some((Val::Number(number.clone().into()), Ty::of(Base::Number)))
            }
        }
    }

    fn list(&mut self, entries: &[(Scalar, At)], at: At) -> Checked {
        let mut values = Vec::with_capacity(entries.len());
        let mut whole: Option<Ty> = None;
        for (entry, at) in entries {
            let Some((value, ty)) = self.scalar(entry, *at) else { return Checked::faulty(*at) };
            if value == Val::Text("".into()) {
                self.faults.report(*at, "an empty text is no value");
            }
            match whole.map_or(Some(ty), |whole| whole.or(ty)) {
                Some(ty) => whole = Some(ty),
                None => {
                    self.faults.report(*at, "the entries of a list are all texts, all numbers, or all true or false")
                }
            }
            values.push(Some(value));
        }
        let Some(ty) = whole else {
            self.faults.report(at, "an empty list is no value");
            return Checked::faulty(at);
        };
        Checked::constant(Some(Val::List(values)), Ty::list(ty.base), at)
    }

    /// A map as a value of its own: a JSON object.
    fn map(&mut self, members: &[(Key, Scalar)], at: At) -> Checked {
        let mut object = Vec::with_capacity(members.len());
        for (key, literal) in members {
            let Some((value, _)) = self.scalar(literal, key.at) else { return Checked::faulty(at) };
            if let Some(json) = value.into_json() {
                object.push((key.name.as_str().into(), json));
            }
        }
        if object.is_empty() {
            self.faults.report(at, "an empty map is no value");
            return Checked::faulty(at);
        }
        Checked::constant(Some(Val::Json(Json::Object(object).into())), Ty::of(Base::Json), at)
    }

    fn concat(&mut self, asts: &[Ast], at: At) -> Checked {
        let mut nodes = Vec::with_capacity(asts.len());
        let mut whole = Checked { constant: true, ..Checked::new(Node::Absent, Ty::of(Base::Text), at) };
        let mut lacking = false;
        for ast in asts {
            let part = self.value(ast);
            whole.constant &= part.constant;
            whole.secret |= part.secret;
            lacking |= matches!(part.node, Node::Absent);
            match part.ty {
                None => whole.ty = None,
                Some(ty) if ty.is_json() => {}
                Some(Ty { base: Base::Text | Base::Digest, list: false }) => {}
                Some(ty) => {
                    let help = if ty.list { "put `| join(',')` after it" } else { "put `| string` after it" };
                    self.faults.report_with_help(ast.at, format!("concat joins texts, and this is {ty}"), help);
                    whole.ty = None;
                }
            }
            nodes.push(part.node);
        }
        if !lacking {
            whole.node = Node::Concat(nodes.into());
            self.fold(&mut whole);
        } else {
            whole.constant = true;
        }
        whole
    }

    fn first(&mut self, asts: &[Ast], at: At) -> Checked {
        let mut nodes = Vec::with_capacity(asts.len());
        let mut whole = Checked { constant: true, ..Checked::new(Node::Absent, Ty::of(Base::Text), at) };
        let mut ty: Option<Ty> = None;
        let mut settled = false;
        for (i, ast) in asts.iter().enumerate() {
            let part = self.value(ast);
            let Some(next) = part.ty else {
                whole.ty = None;
                continue;
            };
            match ty.map_or(Some(next), |ty| ty.or(next)) {
                Some(joined) => ty = Some(joined),
                None => {
                    let before = ty.unwrap_or(next);
                    let message =
                        format!("the alternatives of `??` are of one kind; this is {next}, before it is {before}");
                    self.faults.report_with_help(ast.at, message, "`| string` and `| number` make them alike");
                    whole.ty = None;
                }
            }
            if part.literal && i.saturating_add(1) < asts.len() {
                self.faults.report(ast.at, "a literal is always there, so what follows it is never used");
            }
            if settled || matches!(part.node, Node::Absent) {
                continue;
            }
            // A constant is always there.
            settled = matches!(part.node, Node::Const(_) | Node::Secret(_));
            whole.constant &= part.constant;
            whole.secret |= part.secret;
            nodes.push(part.node);
        }
        if whole.ty.is_some() {
            whole.ty = ty;
        }
        whole.node = match nodes.len() {
            0 => Node::Absent,
            1 => nodes.pop().unwrap_or(Node::Absent),
            _ => Node::First(nodes.into()),
        };
        whole
    }

    /// Computes what reads nothing, now; a secret stays where it is, to be shown or masked.
    fn fold(&mut self, checked: &mut Checked) {
        if !checked.constant || checked.secret || checked.ty.is_none() {
            return;
        }
        let context = Context { source: Source::Nothing, secrets: Secrets::Revealed };
        let value = match checked.node.eval(&context) {
            Ok(value) => value.map(Val::into_owned),
            Err(fault) => {
                self.faults.report(checked.at, format!("this can never be computed: {fault}"));
                checked.ty = None;
                None
            }
        };
        checked.node = value.map_or(Node::Absent, Node::Const);
    }
}

/// What is meant by `a || b` of values: `a ?? b`.
fn either(ast: &Ast) -> Option<Ast> {
    let Kind::Or(parts) = &ast.kind else { return None };
    let is_value = |part: &Ast| {
        matches!(part.kind, Kind::Path(_) | Kind::Literal(_) | Kind::Concat(_) | Kind::Pipe(..) | Kind::First(_))
    };
    parts.iter().all(is_value).then(|| Ast { kind: Kind::First(parts.clone()), at: ast.at })
}
