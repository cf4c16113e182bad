//! Tokens → syntax tree. A fault does not end the reading: what cannot be read is passed over up to the next `|`, `??`, `,`
//! or closing sign, so that one text's faults come all at once.
//!
//! ```text
//! value      := first [ "!" ]                        in a condition: or
//! or         := and { "||" and }
//! and        := not { "&&" not }
//! not        := "!" { "!" } first | comparison
//! comparison := first [ ("==" "!=" "<" "<=" ">" ">=" "in") first ]
//! first      := pipe { "??" pipe }
//! pipe       := primary { "|" name [ "(" [ first { "," first } ] ")" ] }
//! primary    := path | literal | "null" | function "(" or { "," or } ")" | "(" or ")"
//! ```
//!
//! Values and conditions share one grammar, so that a condition where a value should be is a fault that says so.

mod functions;
mod literals;

use std::ops::Range;

use super::lexer::{At, Faults, Kind as Sign, Segment, Token, tokens};
use super::source::Text;
use super::syntax::{Ast, Call, Comparison, Kind, Literal};

/// A lookup over every country of ISO 3166 takes about 4 KiB.
const EXPRESSION_BYTES_MAX: usize = 16 * 1024;
/// Parentheses within parentheses. Evaluation recurses as deep as the tree, so this bounds its stack.
const DEPTH_MAX: usize = 32;
pub(super) const NO_BRACES: &str = "no braces here: this is an expression, and braces are for templates such as `url`";
const BANG_ENDS: &str = "`!` stands at the end of the whole value: it makes the field required";

/// Reads `text[range]` as a value, which may end with `!`.
pub(super) fn parse_value(text: &Text, range: Range<usize>, faults: &mut Faults<'_>) -> Ast {
    parse(text, range, faults, |parser| parser.value())
}

/// Reads `text` as a condition.
pub(super) fn parse_condition(text: &Text, faults: &mut Faults<'_>) -> Ast {
    parse(text, 0..text.value.len(), faults, |parser| parser.or())
}

fn parse(text: &Text, range: Range<usize>, faults: &mut Faults<'_>, read: fn(&mut Parser<'_, '_>) -> Ast) -> Ast {
    let whole = At { start: range.start, end: range.end };
    if range.len() > EXPRESSION_BYTES_MAX {
        faults.report(whole, format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes"));
        return Ast { kind: Kind::Unreadable, at: whole };
    }
    let unreadable = Ast { kind: Kind::Unreadable, at: whole };
    let Some(tokens) = tokens(&text.value, range, faults) else { return unreadable };
    if tokens.is_empty() {
        faults.report(whole, "an expression is missing here");
        return unreadable;
    }
    if let Some(inner) = in_braces(&tokens, faults) {
        faults.report_with_help(whole, NO_BRACES, format!("write `{inner}`"));
        return unreadable;
    }
    let mut parser = Parser { tokens: &tokens, position: 0, depth: 0, end: whole.end, faults };
    let ast = read(&mut parser);
    parser.expect_end();
    ast
}

/// What stands in `{…}` or `{{…}}`, as in a template, where that is all there is: a map has a `:` after its first key.
fn in_braces<'t>(tokens: &[Token], faults: &Faults<'t>) -> Option<&'t str> {
    let signs = || tokens.iter().map(|token| &token.kind);
    let opening = signs().take_while(|sign| **sign == Sign::OpenMap).count();
    let closing = signs().rev().take_while(|sign| **sign == Sign::CloseMap).count();
    let is_map = opening == 1 && signs().any(|sign| *sign == Sign::Colon);
    if opening == 0 || opening != closing || is_map {
        return None;
    }
    let inner = tokens.get(opening..tokens.len().checked_sub(closing)?)?;
    Some(faults.written(inner.first()?.at.to(inner.last()?.at)))
}

struct Parser<'a, 'f> {
    tokens: &'a [Token],
    position: usize,
    depth: usize,
    /// Where the text ends.
    end: usize,
    faults: &'a mut Faults<'f>,
}

impl Parser<'_, '_> {
    fn value(&mut self) -> Ast {
        let inner = self.or();
        let Some(bang) = self.eat(&Sign::Bang) else { return inner };
        if self.peek().is_some() {
            self.faults.report(bang, BANG_ENDS);
            self.position = self.tokens.len();
        }
        Ast { at: inner.at.to(bang), kind: Kind::Required(Box::new(inner)) }
    }

    fn or(&mut self) -> Ast {
        self.chain(&Sign::Or, Parser::and, Kind::Or)
    }

    fn and(&mut self) -> Ast {
        self.chain(&Sign::And, Parser::not, Kind::And)
    }

    fn not(&mut self) -> Ast {
        if self.peek().is_none_or(|token| token.kind != Sign::Bang) {
            return self.comparison();
        }
        let negation = self.nested(Parser::negation);
        if self.peek().is_some_and(|token| token.kind == Sign::In || comparison_of(&token.kind).is_some()) {
            let at = negation.at.to(self.here());
            self.faults.report(at, "what does `!` negate here? write a != b, or !(a == b)");
            self.advance();
            self.first();
        }
        negation
    }

    /// `!` is next.
    fn negation(&mut self) -> Ast {
        let bang = self.here();
        self.advance();
        let again = self.peek().is_some_and(|token| token.kind == Sign::Bang);
        let inner = if again { self.nested(Parser::negation) } else { self.first() };
        Ast { at: bang.to(inner.at), kind: Kind::Not(Box::new(inner)) }
    }

    fn comparison(&mut self) -> Ast {
        let left = self.first();
        let Some(sign) = self.peek().map(|token| token.kind.clone()) else { return left };
        let comparison = comparison_of(&sign);
        if comparison.is_none() && sign != Sign::In {
            return left;
        }
        self.advance();
        let right = self.first();
        let at = left.at.to(right.at);
        if let Some(token) = self.peek().filter(|t| t.kind == Sign::In || comparison_of(&t.kind).is_some()) {
            let at = token.at;
            self.faults.report(at, "comparisons do not chain: join them with && or ||");
            self.skip();
        }
        let sides = Box::new([left, right]);
        let kind = match comparison {
            Some(comparison) => Kind::Compare(comparison, sides),
            None => Kind::In(sides),
        };
        Ast { kind, at }
    }

    fn first(&mut self) -> Ast {
        self.chain(&Sign::Else, Parser::pipe, Kind::First)
    }

    /// `part { sign part }`; one part alone is itself, and a chain within a chain of the same sign is one.
    fn chain(&mut self, sign: &Sign, part: fn(&mut Self) -> Ast, make: fn(Vec<Ast>) -> Kind) -> Ast {
        let head = part(self);
        if self.peek().is_none_or(|token| token.kind != *sign) {
            return head;
        }
        let mut at = head.at;
        let mut parts = Vec::new();
        append(&mut parts, head, sign);
        while self.eat(sign).is_some() {
            let next = part(self);
            at = at.to(next.at);
            append(&mut parts, next, sign);
        }
        Ast { kind: make(parts), at }
    }

    fn pipe(&mut self) -> Ast {
        let mut input = self.primary();
        while self.eat(&Sign::Pipe).is_some() {
            let Some((call, end)) = self.call() else { continue };
            let at = input.at.to(end);
            if let Kind::Pipe(_, calls) = &mut input.kind {
                calls.push(call);
                input.at = at;
            } else {
                input = Ast { kind: Kind::Pipe(Box::new(input), vec![call]), at };
            }
        }
        input
    }

    /// A filter's name and arguments, and where they end.
    fn call(&mut self) -> Option<(Call, At)> {
        let at = self.here();
        let name = match self.peek().map(|token| &token.kind) {
            Some(Sign::Path(segments)) => match segments.as_slice() {
                [Segment::Key(name)] => Some(name.to_string()),
                _ => None,
            },
            _ => None,
        };
        let Some(name) = name else {
            self.faults.report(at, "after `|` comes a filter's name");
            self.skip();
            return None;
        };
        self.advance();
        let (args, end) =
            if self.peek().is_some_and(|token| token.kind == Sign::Open) { self.arguments() } else { (Vec::new(), at) };
        Some((Call { name, args, at }, end))
    }

    /// `( … , … )`; the opening sign is next.
    fn arguments(&mut self) -> (Vec<Ast>, At) {
        self.advance();
        let mut args = Vec::new();
        if let Some(end) = self.eat(&Sign::Close) {
            return (args, end);
        }
        loop {
            args.push(self.nested(Parser::or));
            self.refuse_bang();
            if self.eat(&Sign::Comma).is_none() {
                return (args, self.expect(&Sign::Close));
            }
        }
    }

    fn primary(&mut self) -> Ast {
        let at = self.here();
        let Some(token) = self.peek().cloned() else {
            self.faults.report(at, "an expression is missing here");
            return Ast { kind: Kind::Unreadable, at };
        };
        if let Sign::Path(segments) = token.kind {
            return self.path(segments, at);
        }
        if let Some(scalar) = self.eat_scalar() {
            return Ast { kind: Kind::Literal(Literal::Scalar(scalar)), at };
        }
        if token.kind == Sign::Null {
            self.advance();
            return Ast { kind: Kind::Literal(Literal::Null), at };
        }
        if token.kind == Sign::Open {
            return self.parenthesis();
        }
        if token.kind == Sign::OpenList {
            return self.list();
        }
        if token.kind == Sign::OpenMap {
            return self.map();
        }
        self.faults.report(at, format!("a path or a literal is missing before {}", token.kind));
        self.skip();
        Ast { kind: Kind::Unreadable, at }
    }

    /// The opening parenthesis is next.
    fn parenthesis(&mut self) -> Ast {
        let open = self.here();
        self.advance();
        let inner = self.nested(Parser::or);
        self.refuse_bang();
        let close = self.expect(&Sign::Close);
        Ast { kind: inner.kind, at: open.to(close) }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Ast) -> Ast {
        if self.depth == DEPTH_MAX {
            let at = self.here();
            self.faults.report(at, format!("nested more than {DEPTH_MAX} deep"));
            self.position = self.tokens.len();
            return Ast { kind: Kind::Unreadable, at };
        }
        self.depth = self.depth.saturating_add(1);
        let ast = read(self);
        self.depth = self.depth.saturating_sub(1);
        ast
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position)
    }

    /// Where the next token stands, or the end.
    fn here(&self) -> At {
        self.peek().map_or(At { start: self.end, end: self.end }, |token| token.at)
    }

    fn advance(&mut self) {
        self.position = self.position.saturating_add(1);
    }

    fn eat(&mut self, kind: &Sign) -> Option<At> {
        let at = self.peek().filter(|token| token.kind == *kind)?.at;
        self.advance();
        Some(at)
    }

    fn expect(&mut self, kind: &Sign) -> At {
        self.eat(kind).unwrap_or_else(|| {
            let at = self.here();
            if !self.refuse_word_for_sign() {
                self.faults.report(at, format!("{kind} is missing here"));
            }
            self.position = self.tokens.len();
            at
        })
    }

    fn expect_end(&mut self) {
        let Some(token) = self.peek().cloned() else { return };
        if self.refuse_word_for_sign() || self.refuse_word_for_function() {
            return;
        }
        let kind = token.kind;
        if kind == Sign::OpenMap {
            self.faults.report_with_help(token.at, NO_BRACES, "texts are joined by `concat('a-', order_id)`");
            return;
        }
        let message = if kind == Sign::Bang {
            "`!` stands before what it negates".to_owned()
        } else if matches!(kind, Sign::Close | Sign::CloseList | Sign::CloseMap) {
            format!("{kind} closes nothing")
        } else {
            format!("{kind} is not expected here: an operator (`|`, `??`) is missing, or it is one too many")
        };
        self.faults.report(token.at, message);
    }

    /// Whether a word stands here that other languages have for one of the signs; reports it.
    fn refuse_word_for_sign(&mut self) -> bool {
        let before = self.position.checked_sub(1).and_then(|before| self.tokens.get(before));
        let next = self.peek().and_then(word_for_sign).filter(|(_, sign)| *sign != NOT);
        let Some((at, sign)) = next.or_else(|| before.and_then(word_for_sign).filter(|(_, sign)| *sign == NOT)) else {
            return false;
        };
        self.faults.report_with_help(
            at,
            "a word means nothing here: the signs are `&&`, `||`, `!`, `==`",
            format!("write `{sign}`"),
        );
        true
    }

    /// Whether a function's name stands here between its arguments, as `a contains b`; reports it.
    fn refuse_word_for_function(&mut self) -> bool {
        let token = |position: Option<usize>| self.tokens.get(position?);
        let (before, after) = (token(self.position.checked_sub(1)), token(self.position.checked_add(1)));
        let (Some(before), Some(word), Some(after)) = (before, self.peek(), after) else { return false };
        let name = self.faults.written(word.at);
        if !matches!(name, "contains" | "matches") || !matches!(before.kind, Sign::Path(_)) {
            return false;
        }
        let help = format!("write `{name}({}, {})`", self.faults.written(before.at), self.faults.written(after.at));
        let message = format!("`{name}` stands before its arguments, in parentheses");
        self.faults.report_with_help(word.at, message, help);
        true
    }

    fn refuse_bang(&mut self) {
        if let Some(at) = self.eat(&Sign::Bang) {
            self.faults.report(at, BANG_ENDS);
        }
    }

    /// Passes over what could not be read.
    fn skip(&mut self) {
        const ENDS: [Sign; 8] =
            [Sign::Pipe, Sign::Else, Sign::Comma, Sign::And, Sign::Or, Sign::Close, Sign::CloseList, Sign::CloseMap];
        while self.peek().is_some_and(|token| !ENDS.contains(&token.kind)) {
            self.advance();
        }
    }
}

const NOT: &str = "!";

/// The sign that is meant by a word.
fn word_for_sign(token: &Token) -> Option<(At, &'static str)> {
    let Sign::Path(segments) = &token.kind else { return None };
    let [Segment::Key(word)] = segments.as_slice() else { return None };
    let signs = [("and", "&&"), ("or", "||"), ("not", NOT), ("is", "=="), ("equals", "=="), ("else", "??")];
    signs.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, sign)| (token.at, sign))
}

fn comparison_of(sign: &Sign) -> Option<Comparison> {
    [
        (Sign::Equal, Comparison::Equal),
        (Sign::Unequal, Comparison::Unequal),
        (Sign::Less, Comparison::Less),
        (Sign::LessOrEqual, Comparison::LessOrEqual),
        (Sign::Greater, Comparison::Greater),
        (Sign::GreaterOrEqual, Comparison::GreaterOrEqual),
    ]
    .into_iter()
    .find_map(|(kind, comparison)| (kind == *sign).then_some(comparison))
}

/// Adds `part` to a chain, or its parts if it is such a chain itself.
fn append(parts: &mut Vec<Ast>, part: Ast, sign: &Sign) {
    match (part.kind, sign) {
        (Kind::First(inner), Sign::Else) | (Kind::And(inner), Sign::And) | (Kind::Or(inner), Sign::Or) => {
            parts.extend(inner);
        }
        (kind, _) => parts.push(Ast { kind, at: part.at }),
    }
}
