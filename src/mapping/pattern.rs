//! Regular expressions of a mapping: compiled at load, bounded in length and size, and linear in the text they search.

use regex::{Captures, Regex, RegexBuilder};

/// A compiled regular expression.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
}

/// What stands for a match: texts and groups of its pattern.
#[derive(Debug, Clone)]
pub(super) struct Replacement {
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Box<str>),
    /// By its number; 0 is the whole match.
    Group(usize),
}

impl Pattern {
    /// Compiles; a refusal says in words what would be right.
    pub(super) fn parse(pattern: &str) -> Result<Pattern, String> {
        if pattern.is_empty() {
            return Err("an empty pattern is found everywhere: name what to look for".to_owned());
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        let built = RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build();
        built.map(|regex| Pattern { regex }).map_err(|error| {
            if matches!(error, regex::Error::CompiledTooBig(_)) {
                return "this pattern is too large once compiled: repeat less in it".to_owned();
            }
            // The last line says what is wrong; those before it draw the pattern.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            format!("no regular expression: {}", reason.strip_prefix("error: ").unwrap_or(reason))
        })
    }

    /// What stands for each match; a refusal says which group there is not.
    pub(super) fn replacement(&self, text: &str) -> Result<Replacement, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            if let Some(after) = after.strip_prefix('$') {
                pieces.push(Piece::Text("$".into()));
                rest = after;
                continue;
            }
            let (name, after) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or("`${` is not closed: a group is `$1` or `${name}`")?,
                None => after.split_at(after.find(|c| !is_name_char(c)).unwrap_or(after.len())),
            };
            pieces.push(Piece::Group(self.group(name)?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Replacement { pieces: pieces.into() })
    }

    fn group(&self, name: &str) -> Result<usize, String> {
        if name.is_empty() {
            return Err("after `$` comes a group, as `$1` or `${name}`; a dollar sign itself is `$$`".to_owned());
        }
        let number = name.parse().ok().filter(|number| *number < self.regex.captures_len());
        let group = number.or_else(|| self.regex.capture_names().position(|known| known == Some(name)));
        group.ok_or_else(|| match self.regex.captures_len().saturating_sub(1) {
            0 => format!("the pattern has no group `{name}`: a group stands in parentheses"),
            count => format!("the pattern has no group `{name}`, it has {count}; before a letter write `${{1}}`"),
        })
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The first group that took part in the first match; the whole match of a pattern without groups.
    pub(super) fn first<'t>(&self, text: &'t str) -> Option<&'t str> {
        if self.regex.captures_len() == 1 {
            return self.regex.find(text).map(|found| found.as_str());
        }
        self.regex.captures(text)?.iter().skip(1).flatten().next().map(|group| group.as_str())
    }

    /// The text with every match replaced, handed on piece by piece; whether there was a match.
    pub(super) fn replace<E>(
        &self,
        text: &str,
        by: &Replacement,
        mut push: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut end = 0;
        let mut is_found = false;
        for captures in self.regex.captures_iter(text) {
            let whole = captures.get_match();
            push(text.get(end..whole.start()).unwrap_or_default())?;
            by.pieces.iter().try_for_each(|piece| push(piece.of(&captures)))?;
            end = whole.end();
            is_found = true;
        }
        push(text.get(end..).unwrap_or_default())?;
        Ok(is_found)
    }
}

impl Piece {
    fn of<'p>(&'p self, captures: &'p Captures<'_>) -> &'p str {
        match self {
            Piece::Text(text) => text,
            Piece::Group(number) => captures.get(*number).map_or("", |group| group.as_str()),
        }
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Longer than any pattern that a person can still read.
const PATTERN_BYTES_MAX: usize = 512;
/// A few Unicode classes, repeated a few dozen times, stay below.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;
