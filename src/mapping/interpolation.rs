//! Text with `{expr}` in it: URLs, header fields, credentials.
//!
//! `{{` and `}}` stand for a brace. A part that is absent makes the whole absent, and a value that could break out of its
//! place (a `/` in a path, a line break in a header) is encoded or refused.

use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::check::Names;
use super::expression::{Expression, compile_part, names_field_within};
use super::finished::Finished;
use super::lexer::{At, Faults, Segment};
use super::ops;
use super::program::{Context, Source};
use super::scope::{Constants, Place, Scope, Secrets};
use super::source::{Fault, Text};
use super::syntax::{Ast, Kind};
use super::value::EvalError;

/// What is done to each inserted value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// Inserted as it is.
    None,
    /// Percent-encoded as one path segment or query component; `.` and `..` alone are refused, as every URL parser takes
    /// them for steps. `{vars.x}` at the very start is inserted as it stands.
    UrlPath,
    /// A control character is refused.
    HeaderValue,
}

/// A compiled text.
#[derive(Debug, Clone)]
pub(crate) struct Interpolation {
    parts: Box<[Part]>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(Box<str>),
    /// As written, with its braces.
    Value(Box<Expression>, Escape, Box<str>),
}

impl Interpolation {
    /// Parses and type-checks; every fault at once.
    pub(crate) fn compile(text: &Text, constants: &Constants, escape: Escape) -> Result<Interpolation, Vec<Fault>> {
        Interpolation::compile_in(Place::Top, text, constants, escape)
    }

    /// The same of a text that is signed: it may name the parts of the finished request.
    pub(crate) fn compile_signed(text: &Text, constants: &Constants) -> Result<Interpolation, Vec<Fault>> {
        Interpolation::compile_in(Place::Signature, text, constants, Escape::None)
    }

    fn compile_in(
        place: Place,
        text: &Text,
        constants: &Constants,
        escape: Escape,
    ) -> Result<Interpolation, Vec<Fault>> {
        let mut faults = Faults::new(text);
        let mut parts = Vec::new();
        for piece in pieces(&text.value, &mut faults) {
            let range = match piece {
                Piece::Literal(literal) => {
                    parts.push(Part::Literal(literal.into()));
                    continue;
                }
                Piece::Expression(range) => range,
            };
            let at = At { start: range.start, end: range.end };
            let names = Names::Request(constants, place);
            if let Some((expression, ast)) = compile_part(text, at, names, &mut faults) {
                let whole = parts.is_empty() && escape == Escape::UrlPath && is_var(&ast);
                let escape = if whole { Escape::None } else { escape };
                let written = format!("{{{}}}", faults.written(at).trim());
                parts.push(Part::Value(Box::new(expression), escape, written.into()));
            }
        }
        if faults.is_empty() { Ok(Interpolation { parts: parts.into() }) } else { Err(faults.into_list()) }
    }

    /// The text; `None` when a part is absent.
    pub(crate) fn eval(&self, scope: Scope<'_>, secrets: Secrets) -> Result<Option<String>, EvalError> {
        self.text(&Context { source: Source::Conversion(scope, None), secrets })
    }

    /// The first part that is absent, as it is written.
    pub(crate) fn absent(&self, scope: Scope<'_>, secrets: Secrets) -> Option<&str> {
        let context = Context { source: Source::Conversion(scope, None), secrets };
        self.parts.iter().find_map(|part| match part {
            Part::Value(expression, _, written) => matches!(expression.value(&context), Ok(None)).then_some(&**written),
            Part::Literal(_) => None,
        })
    }

    /// The text that is signed; `None` when a part is absent.
    pub(crate) fn eval_signed(
        &self,
        scope: Scope<'_>,
        finished: Finished<'_>,
        secrets: Secrets,
    ) -> Result<Option<String>, EvalError> {
        self.text(&Context { source: Source::Finished(scope, finished), secrets })
    }

    /// The text when it reads nothing of the conversion, for checks at load (a URL's host, a header's value).
    pub(crate) fn constant(&self, secrets: Secrets) -> Option<Result<Option<String>, EvalError>> {
        self.is_constant().then(|| self.text(&Context { source: Source::Nothing, secrets }))
    }

    /// Whether it reads nothing of the conversion.
    pub(crate) fn is_constant(&self) -> bool {
        self.expressions().all(Expression::is_literal)
    }

    /// Whether a part ends with `!`.
    pub(crate) fn is_required(&self) -> bool {
        self.expressions().any(Expression::is_required)
    }

    /// The unset var or secret for want of which it never has a value.
    pub(crate) fn lacks(&self) -> Option<&str> {
        self.expressions().find_map(Expression::lacks)
    }

    /// The expressions in it.
    pub(super) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(expression, ..) => Some(&**expression),
            Part::Literal(_) => None,
        })
    }

    fn text(&self, context: &Context<'_>) -> Result<Option<String>, EvalError> {
        let mut text = String::with_capacity(TEXT_BYTES_USUAL);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value(expression, escape, _) => {
                    let Some(value) = expression.value(context)? else { return Ok(None) };
                    insert(&mut text, &ops::scalar(value)?, *escape)?;
                }
            }
        }
        Ok(Some(text))
    }
}

/// Most headers and paths fit, so that the text does not grow.
const TEXT_BYTES_USUAL: usize = 64;

enum Piece {
    Literal(String),
    /// The range of an expression, without its braces.
    Expression(Range<usize>),
}

fn pieces(text: &str, faults: &mut Faults<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut position = 0_usize;
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        let (taken, inner) = match (rest.starts_with("{{"), rest.starts_with("}}"), rest.chars().next()) {
            (true, ..) => (2, "{"),
            (_, true, _) => (2, "}"),
            (_, _, Some('{')) => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                let start = position.saturating_add(1);
                let Some(length) = expression_length(text.get(start..).unwrap_or_default()) else {
                    let message = "this `{` opens an expression that never ends; a brace itself is written `{{`";
                    faults.report(At { start: position, end: text.len() }, message);
                    return pieces;
                };
                let end = start.saturating_add(length);
                pieces.push(Piece::Expression(start..end));
                position = end.saturating_add(1);
                continue;
            }
            (_, _, Some('}')) => {
                let at = At { start: position, end: position.saturating_add(1) };
                faults.report(at, "this `}` closes nothing; a brace itself is written `}}`");
                (1, "")
            }
            _ => {
                let length = rest.find(['{', '}']).unwrap_or(rest.len());
                (length, rest.get(..length).unwrap_or_default())
            }
        };
        literal.push_str(inner);
        position = position.saturating_add(taken);
    }
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    pieces
}

/// The path that a template without a brace consists of: its braces were forgotten, most likely. A single word (`value`)
/// may well be meant as it stands.
pub fn bare_path<'t>(text: &'t Text, constants: &Constants) -> Option<&'t str> {
    let path = text.value.trim_matches(['{', '}', ' ']);
    let is_bare = !text.value.replace("{{", "").contains('{') && path.contains(['.', '_']);
    Some(path).filter(|path| is_bare && Expression::reads_path(path, constants))
}

/// Whether an expression of a template names the field that this one word is.
pub fn template_names_field(text: &Text, field: &str) -> bool {
    let mut faults = Faults::new(text);
    let expression = |piece| match piece {
        Piece::Expression(range) => Some(range),
        Piece::Literal(_) => None,
    };
    let mut expressions = pieces(&text.value, &mut faults).into_iter().filter_map(expression);
    expressions.any(|range| names_field_within(text, range, field))
}

/// The expression for what is written as a template where none is taken (`order-{order_id}`); `None`: it is no template, or
/// its braces are those of a filter's map or stand in a text, or no expression says the same.
pub(crate) fn concat_meant(text: &Text, constants: &Constants, place: Place) -> Option<String> {
    let is_open = |text: &str| text.matches('\'').count() % 2 == 1;
    if is_open(text.value.split('{').next()?) && !is_open(&text.value) {
        return None;
    }
    let template = Interpolation::compile_in(place, text, constants, Escape::None).ok()?;
    template.expressions().next()?;
    let compiles = |value: String| {
        let meant = Text { value, span: text.span.clone(), verbatim: false };
        Expression::compile(&meant, constants, place).is_ok()
    };
    // `!` ends the whole, wherever it was written.
    let (mut parts, mut required) = (Vec::new(), "");
    for part in &template.parts {
        let written = match part {
            Part::Literal(literal) => literal,
            Part::Value(_, _, written) => written.trim_matches(['{', '}', ' ']),
        };
        let bare = written.strip_suffix('!').filter(|rest| matches!(part, Part::Value(..)) || rest.ends_with(' '));
        required = if bare.is_some() { " !" } else { required };
        let bare = bare.map_or(written, str::trim_end);
        match part {
            Part::Literal(_) if bare.contains(['|', '(']) => return None,
            Part::Literal(_) if bare.is_empty() => {}
            Part::Literal(_) => parts.push(format!("'{}'", bare.replace('\'', "''"))),
            Part::Value(..) if compiles(format!("concat('-', {bare})")) => parts.push(bare.to_owned()),
            Part::Value(..) if bare.contains("??") => parts.push(format!("({bare}) | string")),
            Part::Value(..) => parts.push(format!("{bare} | string")),
        }
    }
    let meant = if let [one] = parts.as_slice() { one.clone() } else { format!("concat({})", parts.join(", ")) };
    let meant = format!("{meant}{required}");
    compiles(meant.clone()).then_some(meant)
}

/// Bytes up to the brace that closes the expression at the start of `text`: not one of a map, nor one in a text.
fn expression_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '{' if !quoted => depth = depth.saturating_add(1),
            '}' if !quoted && depth == 0 => return Some(at),
            '}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Whether an expression is `vars.x` and nothing else.
fn is_var(ast: &Ast) -> bool {
    matches!(&ast.kind, Kind::Path(segments) if matches!(segments.first(), Some(Segment::Key(root)) if &**root == "vars"))
}

fn insert(text: &mut String, value: &str, escape: Escape) -> Result<(), EvalError> {
    match escape {
        Escape::None => text.push_str(value),
        Escape::UrlPath if matches!(value, "." | "..") => {
            return Err(EvalError::new("`.` and `..` cannot be a part of a URL"));
        }
        Escape::UrlPath => text.extend(utf8_percent_encode(value, RESERVED)),
        Escape::HeaderValue if value.chars().any(char::is_control) => {
            return Err(EvalError::new("a control character cannot stand in a header"));
        }
        Escape::HeaderValue => text.push_str(value),
    }
    Ok(())
}

/// All but the unreserved characters of RFC 3986, and `*`: it means nothing in a path or a query, and so the mask of a
/// secret stays readable.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');
