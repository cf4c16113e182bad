//! Expression text → tokens with their byte ranges.
//!
//! A text stands in single quotes, and a quote inside it is written twice (`'it''s'`); nothing else is special in it.
//! A path is one token: names joined by `.`, each of letters, digits, `_` and `-`, and after a name `[2]` (an entry),
//! `['any key']` (a member whose name is no word) or `[]` (all of them). The lexer always gets to the end of its text:
//! what it cannot read becomes a fault and is passed over.

use std::fmt;
use std::ops::Range;

use super::source::{Fault, Text};

/// A byte range of an expression's text. Where a thing stands is no part of what it is, so any two are equal.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl At {
    pub(super) fn to(self, other: At) -> At {
        At { start: self.start, end: other.end }
    }
}

impl PartialEq for At {
    fn eq(&self, _: &At) -> bool {
        true
    }
}

impl From<At> for Range<usize> {
    fn from(at: At) -> Range<usize> {
        at.start..at.end
    }
}

/// The faults of one text, in the order in which they were found.
#[derive(Debug)]
pub(super) struct Faults<'t> {
    text: &'t Text,
    /// With its start in the text.
    list: Vec<(usize, Fault)>,
}

/// One text with more faults than this is no attempt at an expression; further ones would only bury the first.
const FAULTS_MAX: usize = 20;

impl<'t> Faults<'t> {
    pub(super) fn new(text: &'t Text) -> Self {
        Faults { text, list: Vec::new() }
    }

    pub(super) fn report(&mut self, at: At, message: impl Into<String>) {
        self.add(at.start, self.text.fault(at.into(), message));
    }

    pub(super) fn report_with_help(&mut self, at: At, message: impl Into<String>, help: impl Into<String>) {
        self.add(at.start, self.text.fault(at.into(), message).with_help(help));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What stands there.
    pub(super) fn written(&self, at: At) -> &'t str {
        self.text.value.get(at.start..at.end).unwrap_or_default()
    }

    fn count(&self) -> usize {
        self.list.len()
    }

    pub(super) fn into_list(self) -> Vec<Fault> {
        self.list.into_iter().map(|(_, fault)| fault).collect()
    }

    /// A second fault at one place would only be a consequence of the first.
    fn add(&mut self, start: usize, fault: Fault) {
        if self.list.len() < FAULTS_MAX && self.list.iter().all(|(other, _)| *other != start) {
            self.list.push((start, fault));
        }
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// `.name` or `['name']`.
    Key(Box<str>),
    /// `[2]`, counted from 0.
    Index(usize),
    /// `[]`.
    All,
}

/// A literal that is neither list nor map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(String),
    /// As written, a JSON number.
    Number(String),
    Bool(bool),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Path(Vec<Segment>),
    Literal(Scalar),
    Null,
    In,
    /// `|`
    Pipe,
    /// `??`
    Else,
    Bang,
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Open,
    Close,
    OpenList,
    CloseList,
    OpenMap,
    CloseMap,
    Comma,
    Colon,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Path(_) => "a path",
            Kind::Literal(Scalar::Text(_)) => "a text",
            Kind::Literal(Scalar::Number(_)) => "a number",
            Kind::Literal(Scalar::Bool(_)) => "true or false",
            Kind::Null => "`null`",
            Kind::In => "`in`",
            Kind::Pipe => "`|`",
            Kind::Else => "`??`",
            Kind::Bang => "`!`",
            Kind::Or => "`||`",
            Kind::And => "`&&`",
            Kind::Equal => "`==`",
            Kind::Unequal => "`!=`",
            Kind::Less => "`<`",
            Kind::LessOrEqual => "`<=`",
            Kind::Greater => "`>`",
            Kind::GreaterOrEqual => "`>=`",
            Kind::Open => "`(`",
            Kind::Close => "`)`",
            Kind::OpenList => "`[`",
            Kind::CloseList => "`]`",
            Kind::OpenMap => "`{`",
            Kind::CloseMap => "`}`",
            Kind::Comma => "`,`",
            Kind::Colon => "`:`",
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: At,
}

/// The tokens of `text[range]`; their ranges count from the start of `text`. `None`: a sign or a text of it is none, which is
/// reported, and whatever were read of the rest would be blamed for it.
pub(super) fn tokens(text: &str, range: Range<usize>, faults: &mut Faults<'_>) -> Option<Vec<Token>> {
    let before = faults.count();
    let mut lexer = Lexer { text, position: range.start, end: range.end.min(text.len()), faults };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.token() {
        tokens.push(token);
    }
    (faults.count() == before).then_some(tokens)
}

/// Whether a name may stand in a path without quotes.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word_char) && !text.starts_with('-')
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

struct Lexer<'a, 'f, 't> {
    text: &'a str,
    position: usize,
    end: usize,
    faults: &'f mut Faults<'t>,
}

impl<'a> Lexer<'a, '_, '_> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..self.end).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position = self.position.saturating_add(c.len_utf8());
        Some(c)
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let there = self.rest().starts_with(wanted);
        if there {
            self.position = self.position.saturating_add(wanted.len());
        }
        there
    }

    /// Passes over what `is` accepts, and returns it.
    fn run(&mut self, is: fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !is(c)).unwrap_or(rest.len());
        self.position = self.position.saturating_add(length);
        rest.get(..length).unwrap_or("")
    }

    fn since(&self, start: usize) -> At {
        At { start, end: self.position }
    }

    fn token(&mut self) -> Option<Token> {
        loop {
            self.run(|c| c.is_ascii_whitespace());
            let start = self.position;
            let first = self.peek()?;
            let kind = match first {
                '\'' => self.quoted().map(|text| Kind::Literal(Scalar::Text(text))),
                '0'..='9' | '-' => self.number(),
                'a'..='z' | 'A'..='Z' | '_' => Some(self.word()),
                _ => self.sign(first),
            };
            if let Some(kind) = kind {
                return Some(Token { kind, at: self.since(start) });
            }
        }
    }

    fn sign(&mut self, first: char) -> Option<Kind> {
        for (text, kind) in SIGNS {
            if self.eat(text) {
                return Some(kind.clone());
            }
        }
        let start = self.position;
        self.bump();
        if first == '"' {
            // With its other end, which would be a second fault of the same.
            let text = self.rest().find('"').map_or(0, |length| length.saturating_add(1));
            self.position = self.position.saturating_add(text);
        }
        let message = match first {
            '"' => "a text stands in single quotes here: 'like this'".to_owned(),
            '&' => "`&` alone means nothing: \"and\" is `&&`".to_owned(),
            '=' => "`=` alone means nothing: equality is `==`".to_owned(),
            '?' => "`?` alone means nothing: `a ?? b` is the first that is present".to_owned(),
            '+' => "there is no `+`: texts are joined with concat(a, b)".to_owned(),
            '.' => "a path does not begin with `.`".to_owned(),
            other => format!("`{}` means nothing in an expression", other.escape_debug()),
        };
        self.faults.report(self.since(start), message);
        None
    }

    /// The opening quote is next.
    fn quoted(&mut self) -> Option<String> {
        let start = self.position;
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                Some('\'') if self.eat("'") => text.push('\''),
                Some('\'') => return Some(text),
                Some(c) => text.push(c),
                None => break,
            }
        }
        let message = "this text has no closing quote; a quote inside a text is written twice ('it''s')";
        self.faults.report(self.since(start), message);
        None
    }

    fn number(&mut self) -> Option<Kind> {
        let start = self.position;
        self.eat("-");
        let whole = self.run(|c| c.is_ascii_digit());
        let fraction = if self.eat(".") { Some(self.run(|c| c.is_ascii_digit())) } else { None };
        let tail = self.run(is_word_char);
        let at = self.since(start);
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || fraction == Some("") || !tail.is_empty() || leading_zero {
            let message = "this is no number: write 12, 3.5 or -1; a text stands in single quotes";
            self.faults.report(at, message);
            return None;
        }
        self.text.get(start..self.position).map(|text| Kind::Literal(Scalar::Number(text.to_owned())))
    }

    /// A path, or one of the words of the language.
    fn word(&mut self) -> Kind {
        let name = self.run(is_word_char);
        match name {
            "true" => return Kind::Literal(Scalar::Bool(true)),
            "false" => return Kind::Literal(Scalar::Bool(false)),
            "null" => return Kind::Null,
            "in" => return Kind::In,
            _ => {}
        }
        let mut segments = vec![Segment::Key(name.into())];
        loop {
            let start = self.position;
            if self.eat(".") {
                let name = self.run(is_word_char);
                if is_word(name) {
                    segments.push(Segment::Key(name.into()));
                } else {
                    self.faults
                        .report(self.since(start), "after `.` comes a name; one that is no word is written ['so']");
                }
            } else if self.eat("[") {
                segments.extend(self.subscript(start));
            } else {
                return Kind::Path(segments);
            }
        }
    }

    /// After a path's `[`, which stands at `start`.
    fn subscript(&mut self, start: usize) -> Option<Segment> {
        if self.eat("]") {
            return Some(Segment::All);
        }
        let segment = if self.peek() == Some('\'') {
            Some(Segment::Key(self.quoted()?.into()))
        } else {
            self.run(|c| c.is_ascii_digit()).parse().ok().map(Segment::Index)
        };
        if segment.is_some() && self.eat("]") {
            return segment;
        }
        self.faults.report(self.since(start), "after a path's `[` comes an entry's number or a quoted name, then `]`");
        self.run(|c| c != ']');
        self.eat("]");
        None
    }
}

/// Longer ones first.
const SIGNS: [(&str, Kind); 19] = [
    ("??", Kind::Else),
    ("||", Kind::Or),
    ("&&", Kind::And),
    ("==", Kind::Equal),
    ("!=", Kind::Unequal),
    ("<=", Kind::LessOrEqual),
    (">=", Kind::GreaterOrEqual),
    ("<", Kind::Less),
    (">", Kind::Greater),
    ("|", Kind::Pipe),
    ("!", Kind::Bang),
    ("(", Kind::Open),
    (")", Kind::Close),
    ("[", Kind::OpenList),
    ("]", Kind::CloseList),
    ("{", Kind::OpenMap),
    ("}", Kind::CloseMap),
    (",", Kind::Comma),
    (":", Kind::Colon),
];
