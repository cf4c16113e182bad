//! Every single-token mutation of a preset's text.
//!
//! A token is a key, and in a value each name, operator, literal, number, unit, word of a list and segment of a template. It
//! is taken away (with what it cannot stand without, where the rest would be no TOML or no expression), altered, and put in
//! another's place. Comments, `doc` and the words of `unmapped` are for people who read the preset, and no behaviour.

use std::collections::BTreeSet;
use std::ops::Range;

use super::lex::{self, Token};
use super::scan::{Piece, Sort, pieces};
use super::siblings::{Names, key_siblings, words};

/// The preset with one token changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mutant {
    /// What is replaced.
    pub(super) at: Range<usize>,
    pub(super) with: String,
    /// The keys that lead there.
    pub(super) path: Vec<String>,
    token: Range<usize>,
}

impl Mutant {
    /// The preset's text with it.
    pub(super) fn of(&self, text: &str) -> String {
        format!("{}{}{}", &text[..self.at.start], self.with, &text[self.at.end..])
    }

    pub(super) fn key(&self) -> String {
        self.path.join(".")
    }

    /// `lower → upper`, or `without | lower`.
    pub(super) fn change(&self, text: &str) -> String {
        let Mutant { at, with, token, .. } = self;
        if token.start <= at.start && at.end <= token.end {
            return format!(
                "{} → {}{with}{}",
                &text[token.clone()],
                &text[token.start..at.start],
                &text[at.end..token.end]
            );
        }
        let first = text[at.clone()].trim().lines().next().unwrap_or_default();
        format!("without {}", first.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// Every mutant of a text, each once.
pub(super) fn mutants(text: &str) -> Vec<Mutant> {
    let pieces = pieces(text);
    let names = Names::of(text, &pieces);
    let mut made = Maker { text, names: &names, path: &[], token: 0..0, mutants: Vec::new() };
    for piece in &pieces {
        made.path = &piece.path;
        made.token = piece.at.clone();
        made.piece(piece);
    }
    let mut seen = BTreeSet::new();
    made.mutants.retain(|mutant| text[mutant.at.clone()] != mutant.with && seen.insert(mutant.of(text)));
    made.mutants
}

/// What a value means.
enum Meaning {
    /// Only people read it.
    None,
    Expression,
    /// A text with `{…}` in it.
    Template,
    /// A sentence that a person is shown as a reason.
    Prose,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `990/h`
    Rate,
    /// A name, or a word that the platform knows.
    Name,
}

/// What the value of a key means.
fn meaning(path: &[String]) -> Meaning {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    let own = match keys.as_slice() {
        ["operation", _, own @ ..] => own,
        own => own,
    };
    match own {
        ["outputs", _, "doc" | "unmapped"] | ["needs", .., "doc"] => Meaning::None,
        ["map" | "query" | "capture", ..] => Meaning::Expression,
        [key] if key.ends_with("when") => Meaning::Expression,
        ["url" | "body"] | ["headers" | "auth", ..] => Meaning::Template,
        ["otherwise"] => Meaning::Prose,
        ["limits", "rate"] => Meaning::Rate,
        [.., key] => words(own[0], key).map_or(Meaning::Name, Meaning::Word),
        [] => Meaning::Name,
    }
}

struct Maker<'t> {
    text: &'t str,
    names: &'t Names,
    path: &'t [String],
    token: Range<usize>,
    mutants: Vec<Mutant>,
}

impl Maker<'_> {
    fn push(&mut self, at: Range<usize>, with: impl Into<String>) {
        let (path, token) = (self.path.to_vec(), self.token.clone());
        self.mutants.push(Mutant { at, with: with.into(), path, token });
    }

    fn piece(&mut self, piece: &Piece) {
        let at = piece.at.clone();
        let meaning = meaning(&piece.path);
        let for_people = matches!(meaning, Meaning::None);
        if let Some(whole) = piece.whole.clone().filter(|_| !for_people || own_key_matters(piece)) {
            self.push(whole, "");
        }
        match piece.sort {
            Sort::Key if for_people && !own_key_matters(piece) => {}
            Sort::Key => {
                self.runs(at.clone());
                self.places(at.clone());
                for key in key_siblings(&piece.path) {
                    self.push(at.clone(), key);
                }
            }
            Sort::Number => self.number(at),
            Sort::Flag => self.push(at.clone(), if &self.text[at] == "true" { "false" } else { "true" }),
            Sort::Header | Sort::Nested => {}
            Sort::Text => self.value(at, &meaning),
        }
    }

    fn value(&mut self, at: Range<usize>, meaning: &Meaning) {
        match meaning {
            Meaning::None => {}
            Meaning::Expression => self.expression(at),
            Meaning::Template => self.template(at),
            Meaning::Prose => self.prose(at),
            Meaning::Word(words) => {
                self.push(at.end..at.end, "x");
                words.iter().for_each(|word| self.push(at.clone(), *word));
            }
            Meaning::Rate => {
                let slash = at.start + self.text[at.clone()].find('/').unwrap_or_default();
                self.number(at.start..slash);
                self.push(slash..slash + 1, "");
                ["s", "m", "h"].into_iter().for_each(|unit| self.push(slash + 1..at.end, unit));
                self.push(slash + 1..at.end, "");
            }
            Meaning::Name => {
                self.runs(at.clone());
                self.places(at.clone());
                self.push(at.clone(), "");
                if let Some(other) = self.names.other_output(&self.text[at.clone()]) {
                    self.push(at, other);
                }
            }
        }
    }

    /// Each run of letters and digits altered, and numbers by one.
    fn runs(&mut self, at: Range<usize>) {
        for run in runs(self.text, at) {
            if self.text[run.clone()].bytes().all(|byte| byte.is_ascii_digit()) {
                self.number(run.clone());
            }
            self.push(run.end..run.end, "x");
        }
    }

    /// What stands in brackets and braces of a name, taken away: `[]`, `{i}`, `{1..50}`.
    fn places(&mut self, at: Range<usize>) {
        for (open, close) in [('{', '}'), ('[', ']')] {
            let name = &self.text[at.clone()];
            let found = name.find(open).zip(name.find(close));
            if let Some((open, close)) = found {
                self.push(at.start + open..at.start + close + 1, "");
            }
        }
    }

    /// A number more, and one less.
    fn number(&mut self, at: Range<usize>) {
        let Ok(number) = self.text[at.clone()].parse::<u64>() else { return };
        self.push(at.clone(), (number + 1).to_string());
        self.push(at, number.checked_sub(1).map_or("-1".to_owned(), |less| less.to_string()));
    }

    /// Each word of a sentence taken away.
    fn prose(&mut self, at: Range<usize>) {
        let mut start = at.start;
        for word in self.text[at].split_inclusive(char::is_whitespace) {
            let own = start..start + word.trim_end().len();
            start += word.len();
            if !own.is_empty() && word.trim_end() != "\\" {
                self.token = own.clone();
                self.push(own, "");
            }
        }
    }

    /// What stands between the expressions of a template, and these.
    fn template(&mut self, at: Range<usize>) {
        let mut start = at.start;
        for part in self.text[at].split_inclusive(['{', '}']) {
            let own = start..start + part.len();
            start = own.end;
            if part.ends_with('}') {
                self.expression(own.start..own.end - 1);
                self.push(own.start - 1..own.end, "");
                continue;
            }
            let literal = own.start..own.end - usize::from(part.ends_with('{'));
            for run in runs(self.text, literal.clone()) {
                self.token = run.clone();
                self.push(run.clone(), "");
                self.push(run.end..run.end, "x");
                self.number(run);
            }
            for sign in literal.filter(|at| self.text.as_bytes()[*at].is_ascii_punctuation()) {
                self.token = sign..sign + 1;
                self.push(sign..sign + 1, "");
            }
        }
    }

    fn expression(&mut self, at: Range<usize>) {
        let tokens = lex::tokens(self.text, at);
        for (index, token) in tokens.iter().enumerate() {
            self.token = token.at.clone();
            self.push(token.at.clone(), "");
            self.token_of(&tokens, index, token);
        }
    }

    fn token_of(&mut self, tokens: &[Token], index: usize, token: &Token) {
        let at = token.at.clone();
        match token.sort {
            lex::Sort::Path => self.path_token(at),
            lex::Sort::Filter => {
                let end = self.call_end(tokens, index);
                self.push(tokens[index - 1].at.start..end, "");
                self.push(at.end..at.end, "x");
                self.names.filters_like(&self.text[at.clone()]).for_each(|other| self.push(at.clone(), other));
            }
            lex::Sort::Function => {
                self.push(at.end..at.end, "x");
                FUNCTIONS.iter().for_each(|other| self.push(at.clone(), *other));
            }
            lex::Sort::Key => self.push(at.end..at.end, "x"),
            lex::Sort::Text => self.text_token(at),
            lex::Sort::Number => {
                self.number(at.clone());
                self.push(at.end..at.end, ".5");
            }
            lex::Sort::Word => WORDS.iter().for_each(|word| self.push(at.clone(), *word)),
            lex::Sort::Sign => self.sign(tokens, index),
        }
    }

    fn path_token(&mut self, at: Range<usize>) {
        let path = self.text[at.clone()].to_owned();
        self.names.paths_beside(&path).into_iter().for_each(|other| self.push(at.clone(), other));
        self.runs(at.clone());
        self.places(at.clone());
        for (dot, _) in
            path.match_indices('.').filter(|(dot, _)| !path[..*dot].ends_with('.') && !path[*dot..].starts_with(".."))
        {
            let end = path[dot + 1..].find('.').map_or(at.end, |next| at.start + dot + 1 + next);
            self.push(at.start + dot..end, "");
        }
    }

    /// A text between quotes: longer, shorter, empty.
    fn text_token(&mut self, at: Range<usize>) {
        self.push(at.end - 1..at.end - 1, "x");
        if let Some(first) = self.text[at.start + 1..at.end - 1].chars().next() {
            self.push(at.start + 1..at.start + 1 + first.len_utf8(), "");
            self.push(at.start + 1..at.end - 1, "");
        }
    }

    fn sign(&mut self, tokens: &[Token], index: usize) {
        let at = tokens[index].at.clone();
        let sign = &self.text[at.clone()];
        for group in OPERATORS.iter().filter(|group| group.contains(&sign)) {
            group.iter().for_each(|other| self.push(at.clone(), *other));
        }
        match sign {
            "||" | "&&" | "??" => {
                let (left, right) = self.operands(tokens, index);
                self.push(left..at.end, "");
                self.push(at.start..right, "");
            }
            "," => {
                let end = tokens[index + 1..].iter().scan(0_i32, |depth, token| self.deepen(depth, token));
                let end = end.last().unwrap_or(at.end);
                self.push(at.start..end, "");
                let start = tokens[..index].iter().rev().scan(0_i32, |depth, token| self.rise(depth, token)).last();
                self.push(start.unwrap_or(at.start)..at.end, "");
            }
            "!" if index + 1 < tokens.len() => self.push(at, "!!"),
            _ => {}
        }
    }

    /// From a filter's name to the end of its arguments.
    fn call_end(&self, tokens: &[Token], index: usize) -> usize {
        let name = tokens[index].at.end;
        let Some(open) = tokens.get(index + 1).filter(|open| &self.text[open.at.clone()] == "(") else { return name };
        let inner = tokens[index + 2..].iter().scan(0_i32, |depth, token| self.all_until_close(depth, token)).last();
        let inner = inner.unwrap_or(open.at.end);
        inner + self.text[inner..].find(')').map_or(0, |close| close + 1)
    }

    /// The bytes where the left operand of an operator begins and its right one ends.
    fn operands(&self, tokens: &[Token], index: usize) -> (usize, usize) {
        let binding = binding(&self.text[tokens[index].at.clone()]);
        let left =
            tokens[..index].iter().rev().scan(0_i32, |depth, token| self.bound(depth, token, binding, [")", "]", "}"]));
        let right =
            tokens[index + 1..].iter().scan(0_i32, |depth, token| self.bound(depth, token, binding, ["(", "[", "{"]));
        let left = left.last().map_or(tokens[index].at.start, |at| at.start);
        (left, right.last().map_or(tokens[index].at.end, |at| at.end))
    }

    /// Goes on while what is passed belongs to an operand that binds more than its operator.
    fn bound(&self, depth: &mut i32, token: &Token, least: u8, opens: [&str; 3]) -> Option<Range<usize>> {
        let sign = &self.text[token.at.clone()];
        if token.sort == lex::Sort::Sign {
            if opens.contains(&sign) {
                *depth += 1;
            } else if ["(", "[", "{", ")", "]", "}"].contains(&sign) {
                *depth -= 1;
            } else if *depth == 0 && binding(sign) <= least {
                return None;
            }
        }
        (*depth >= 0).then(|| token.at.clone())
    }

    /// Goes on to the next comma or the close of the group.
    fn deepen(&self, depth: &mut i32, token: &Token) -> Option<usize> {
        self.bound(depth, token, binding(","), ["(", "[", "{"]).map(|at| at.end)
    }

    fn rise(&self, depth: &mut i32, token: &Token) -> Option<usize> {
        self.bound(depth, token, binding(","), [")", "]", "}"]).map(|at| at.start)
    }

    fn all_until_close(&self, depth: &mut i32, token: &Token) -> Option<usize> {
        self.bound(depth, token, 0, ["(", "[", "{"]).map(|at| at.end)
    }
}

/// How tightly a sign binds; what is none between operands binds most.
fn binding(sign: &str) -> u8 {
    match sign {
        "," => 1,
        "||" => 2,
        "&&" => 3,
        "==" | "!=" | "<" | "<=" | ">" | ">=" => 4,
        "??" => 5,
        _ => 9,
    }
}

/// Whether a key says something although its value is for people alone: that a field is not sent.
fn own_key_matters(piece: &Piece) -> bool {
    piece.sort == Sort::Key && piece.path.last().is_some_and(|key| key != "doc")
}

/// Runs of letters and digits.
fn runs(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut start = range.start;
    for part in text[range].split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let run = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if !run.is_empty() {
            runs.push(start..start + run.len());
        }
        start += part.len();
    }
    runs
}

const OPERATORS: [&[&str]; 3] = [&["==", "!=", "<", "<=", ">", ">="], &["&&", "||"], &["??", "|"]];
const WORDS: [&str; 3] = ["true", "false", "null"];
const FUNCTIONS: [&str; 6] = ["each", "concat", "contains", "matches", "sum", "product"];
