//! The tokens of an expression, a condition or a template, with their bytes. A lexer of its own: the relay's is what is
//! tested.

use std::ops::Range;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) sort: Sort,
    pub(super) at: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// `customer.email`
    Path,
    /// `trim`, behind `|`
    Filter,
    /// `each`, before `(`
    Function,
    /// A key of a map.
    Key,
    /// `'text'`
    Text,
    /// `12`
    Number,
    /// `true`, `false`, `null`, `in`
    Word,
    /// Everything else.
    Sign,
}

/// The tokens of an expression that stands at `range`.
pub(super) fn tokens(text: &str, range: Range<usize>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let rest = &text[at..range.end];
        let first = rest.chars().next().unwrap();
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (sort, length) = if first == '\'' {
            (Sort::Text, quoted(rest))
        } else if first.is_ascii_digit() {
            (Sort::Number, rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()))
        } else if first.is_ascii_alphabetic() {
            let length = path(rest);
            (named(&tokens, text, &rest[..length], &rest[length..]), length)
        } else {
            (Sort::Sign, SIGNS.iter().find(|sign| rest.starts_with(*sign)).map_or(first.len_utf8(), |sign| sign.len()))
        };
        tokens.push(Token { sort, at: at..at + length });
        at += length;
    }
    tokens
}

/// What a name is: by what stands before and behind it.
fn named(before: &[Token], text: &str, name: &str, behind: &str) -> Sort {
    if matches!(name, "true" | "false" | "null" | "in") {
        return Sort::Word;
    }
    if before.last().is_some_and(|last| &text[last.at.clone()] == "|") {
        return Sort::Filter;
    }
    match behind.trim_start().chars().next() {
        Some('(') => Sort::Function,
        Some(':') => Sort::Key,
        Some(_) | None => Sort::Path,
    }
}

/// The length of a text with its quotes.
fn quoted(text: &str) -> usize {
    let mut end = 1;
    loop {
        end += text[end..].find('\'').unwrap_or(text.len() - end) + 1;
        if !text[end.min(text.len())..].starts_with('\'') {
            return end.min(text.len());
        }
        end += 1;
    }
}

/// The length of a path, a range in it too: `custom.impact.Text{1..50}`.
fn path(text: &str) -> usize {
    let mut end = 0;
    loop {
        let rest = &text[end..];
        let step = match rest.chars().next() {
            Some('{') => {
                rest.split_once('}').filter(|(inner, _)| inner.contains("..")).map_or(0, |(inner, _)| inner.len() + 2)
            }
            Some('[') => rest.find(']').map_or(0, |close| close + 1),
            Some(c) if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') => 1,
            Some(_) | None => 0,
        };
        if step == 0 {
            return end;
        }
        end += step;
    }
}

/// Longer ones first.
const SIGNS: [&str; 7] = ["??", "||", "&&", "==", "!=", "<=", ">="];
