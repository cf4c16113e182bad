//! Strict reading of a table: each value by its key and type; what is left over is unknown. Every fault is collected, so
//! one reading finds them all.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Rate;
use super::report::Faults;
use super::tree::{Entry, Node, Table, Value};
use super::units;
use crate::conversion::nearest;
use crate::mapping::{Span, Text, Var};

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// The keys of one table, read one by one. What was asked for is what is known.
pub(super) struct Keys<'t> {
    table: &'t Table,
    /// Where the table begins: faults about what is missing point here.
    span: Span,
    known: Vec<&'static str>,
    /// What is needed and not there: keys, and what to say.
    missing: Vec<(&'static str, String, String)>,
    /// What is unknown here and known elsewhere: keys, and what to say.
    elsewhere: Vec<(&'static str, String)>,
}

impl<'t> Keys<'t> {
    pub(super) fn new(table: &'t Table, span: Span) -> Self {
        Keys { table, span, known: Vec::new(), missing: Vec::new(), elsewhere: Vec::new() }
    }

    /// The keys of a value that must be a table.
    pub(super) fn of(entry: &'t Entry, faults: &mut Faults) -> Option<Self> {
        let table = table(&entry.key.value, &entry.node, faults)?;
        Some(Keys::new(table, entry.key.span.clone()))
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn entry(&mut self, key: &'static str) -> Option<&'t Entry> {
        self.known.push(key);
        self.table.entry(key)
    }

    /// Notes that a needed key is not there. [`Keys::finish`] says so, unless it finds a misspelt one that was meant to be it.
    pub(super) fn missing(&mut self, key: &'static str, message: impl Into<String>, help: impl Into<String>) {
        self.missing.push((key, message.into(), help.into()));
    }

    /// Notes where a key belongs that is unknown here.
    pub(super) fn belongs(&mut self, key: &'static str, help: impl Into<String>) {
        self.elsewhere.push((key, help.into()));
    }

    /// Whether a table stands under a key that was not asked for: what is in it is nowhere read.
    pub(super) fn strays(&self) -> bool {
        let is_table = |entry: &Entry| entry.node.value.as_table().is_some();
        self.table.entries.iter().any(|entry| is_table(entry) && !self.known.contains(&entry.key.value.as_str()))
    }

    /// The entries of a table of free names (`vars`, `headers`, `merchant`).
    pub(super) fn entries(&mut self, key: &'static str, faults: &mut Faults) -> &'t [Entry] {
        let Some(entry) = self.entry(key) else { return &[] };
        table(key, &entry.node, faults).map_or(&[], |table| table.entries.as_slice())
    }

    pub(super) fn text(&mut self, key: &'static str, faults: &mut Faults) -> Option<Text> {
        let entry = self.entry(key)?;
        text(key, &entry.node, faults).cloned()
    }

    /// A text where other types are often written; `help` says what is meant.
    pub(super) fn text_as(&mut self, key: &'static str, help: &str, faults: &mut Faults) -> Option<Text> {
        let entry = self.entry(key)?;
        if let Value::Text { text, .. } = &entry.node.value {
            return Some(text.clone());
        }
        wrong_with_help(key, A_STRING, &entry.node, help, faults);
        None
    }

    pub(super) fn flag(&mut self, key: &'static str, faults: &mut Faults) -> Option<At<bool>> {
        let node = &self.entry(key)?.node;
        if let Value::Bool(value) = node.value {
            return Some(At { value, span: node.span.clone() });
        }
        wrong(key, A_FLAG, node, faults);
        None
    }

    pub(super) fn duration(&mut self, key: &'static str, faults: &mut Faults) -> Option<At<Duration>> {
        self.parsed(key, faults, units::duration, units::no_duration, units::DURATION_HELP)
    }

    pub(super) fn bytes(&mut self, key: &'static str, faults: &mut Faults) -> Option<At<u64>> {
        self.parsed(key, faults, units::bytes, |_| "is no size", units::SIZE_HELP)
    }

    pub(super) fn address(&mut self, key: &'static str, faults: &mut Faults) -> Option<At<SocketAddr>> {
        self.parsed(key, faults, |text| text.parse().ok(), |_| "is no address", ADDRESS_HELP)
    }

    /// `rate` with its `burst`.
    pub(super) fn rate(&mut self, faults: &mut Faults) -> Option<Rate> {
        let rate = self.parsed("rate", faults, units::rate, |_| "is no rate", units::RATE_HELP);
        let burst = self.count("burst", faults);
        match (rate, burst) {
            (Some(rate), burst) => {
                let (count, per) = rate.value;
                Some(Rate { count, per, burst: burst.map_or_else(|| units::burst_of(count, per), |burst| burst.value) })
            }
            (None, Some(burst)) => {
                if self.table.entry("rate").is_none() {
                    faults.with_help(burst.span, "`burst` without `rate`", units::RATE_HELP);
                }
                None
            }
            (None, None) => None,
        }
    }

    /// A whole number from 1.
    pub(super) fn count(&mut self, key: &'static str, faults: &mut Faults) -> Option<At<NonZeroU32>> {
        let node = &self.entry(key)?.node;
        let Value::Integer(number) = node.value else {
            wrong(key, A_NUMBER, node, faults);
            return None;
        };
        let value = number.and_then(|number| u32::try_from(number).ok()).and_then(NonZeroU32::new);
        if value.is_none() {
            faults.at(node.span.clone(), format!("`{key}` must be from 1 to {}", u32::MAX));
        }
        value.map(|value| At { value, span: node.span.clone() })
    }

    pub(super) fn size(&mut self, key: &'static str, faults: &mut Faults) -> Option<NonZeroUsize> {
        self.count(key, faults).and_then(|count| NonZeroUsize::try_from(count.value).ok())
    }

    /// A number of digits: from 0 to 18.
    pub(super) fn digits(&mut self, key: &'static str, faults: &mut Faults) -> Option<u32> {
        let node = &self.entry(key)?.node;
        let Value::Integer(number) = node.value else {
            wrong(key, A_NUMBER, node, faults);
            return None;
        };
        let value = number.and_then(|number| u32::try_from(number).ok()).filter(|digits| *digits <= DIGITS_MAX);
        if value.is_none() {
            faults.at(node.span.clone(), format!("`{key}` must be from 0 to {DIGITS_MAX}"));
        }
        value
    }

    /// A path, relative ones from the folder of the configuration.
    pub(super) fn path(&mut self, key: &'static str, folder: &Path, faults: &mut Faults) -> Option<At<PathBuf>> {
        let text = self.text(key, faults)?;
        if text.value.is_empty() {
            faults.at(text.span, format!("`{key}` is empty"));
            return None;
        }
        Some(At { value: folder.join(&text.value), span: text.span })
    }

    /// The path of a file that must exist where the relay serves.
    pub(super) fn file(&mut self, key: &'static str, folder: &Path, faults: &mut Faults) -> Option<PathBuf> {
        let path = self.path(key, folder, faults)?;
        if !path.value.is_file() && !faults.are_elsewhere() {
            let message = format!("`{key}`: there is no such file");
            faults.with_help(path.span, message, format!("looked for {}", path.value.display()));
            return None;
        }
        Some(path.value)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        faults: &mut Faults,
    ) -> Option<T> {
        let text = self.text(key, faults)?;
        choice(key, &text, choices, faults)
    }

    /// A list of strings.
    pub(super) fn texts(&mut self, key: &'static str, faults: &mut Faults) -> Option<Vec<Text>> {
        let entry = self.entry(key)?;
        texts(key, &entry.node, faults)
    }

    /// Whatever was not asked for is unknown.
    pub(super) fn finish(mut self, what: &str, faults: &mut Faults) {
        // A key may have been asked for more than once.
        let mut seen = BTreeSet::new();
        self.known.retain(|key| seen.insert(*key));
        let mut meant = Vec::new();
        for entry in &self.table.entries {
            let key = entry.key.value.as_str();
            if !self.known.contains(&key) {
                let known_elsewhere = self.elsewhere.iter().find(|(known, _)| *known == key);
                let near = nearest(key, self.known.iter().copied()).filter(|_| known_elsewhere.is_none());
                meant.extend(near);
                let help = near.map(|near| format!("did you mean `{near}`?"));
                let help = known_elsewhere.map(|(_, help)| help.clone()).or(help);
                let help = help.unwrap_or_else(|| format!("{what} knows {}", listed(self.known.iter().copied())));
                faults.with_help(entry.key.span.clone(), format!("unknown key `{key}`"), help);
            }
        }
        for (_, message, help) in self.missing.into_iter().filter(|(key, _, _)| !meant.contains(key)) {
            faults.with_help(self.span.clone(), message, help);
        }
    }

    fn parsed<T>(
        &mut self,
        key: &'static str,
        faults: &mut Faults,
        parse: impl Fn(&str) -> Option<T>,
        complaint: impl Fn(&str) -> &'static str,
        help: &str,
    ) -> Option<At<T>> {
        let node = &self.entry(key)?.node;
        let Value::Text { text, .. } = &node.value else {
            wrong_with_help(key, A_STRING, node, help, faults);
            return None;
        };
        let value = parse(&text.value);
        if value.is_none() {
            faults.with_help(text.span.clone(), format!("`{key}`: `{}` {}", text.value, complaint(&text.value)), help);
        }
        value.map(|value| At { value, span: text.span.clone() })
    }
}

/// One of a few words, already read.
pub(super) fn choice<T: Copy>(key: &str, text: &Text, choices: &[(&str, T)], faults: &mut Faults) -> Option<T> {
    let found = choices.iter().find(|(word, _)| *word == text.value);
    if found.is_none() {
        let words = || choices.iter().map(|(word, _)| *word);
        let help = did_you_mean(&text.value, words()).unwrap_or_else(|| format!("it is one of {}", listed(words())));
        faults.with_help(text.span.clone(), format!("`{key}` cannot be `{}`", text.value), help);
    }
    found.map(|(_, value)| *value)
}

pub(super) fn table<'t>(key: &str, node: &'t Node, faults: &mut Faults) -> Option<&'t Table> {
    let table = node.value.as_table();
    if table.is_none() {
        wrong(key, A_TABLE, node, faults);
    }
    table
}

pub(super) fn text<'t>(key: &str, node: &'t Node, faults: &mut Faults) -> Option<&'t Text> {
    if let Value::Text { text, .. } = &node.value {
        return Some(text);
    }
    wrong(key, A_STRING, node, faults);
    None
}

pub(super) fn list<'t>(key: &str, node: &'t Node, faults: &mut Faults) -> Option<&'t [Node]> {
    if let Value::List(list) = &node.value {
        return Some(list);
    }
    wrong(key, A_LIST, node, faults);
    None
}

pub(super) fn texts(key: &str, node: &Node, faults: &mut Faults) -> Option<Vec<Text>> {
    Some(list(key, node, faults)?.iter().filter_map(|item| text(key, item, faults).cloned()).collect())
}

/// A constant: a text, a whole number, or true or false.
pub(super) fn constant(entry: &Entry, faults: &mut Faults) -> Option<Var> {
    match &entry.node.value {
        Value::Text { text, .. } => Some(Var::Text(text.value.clone())),
        Value::Integer(Some(number)) => Some(Var::Int(*number)),
        Value::Bool(value) => Some(Var::Bool(*value)),
        Value::Integer(None)
        | Value::Unresolved
        | Value::Float
        | Value::Datetime
        | Value::List(_)
        | Value::Table(_) => {
            wrong(&entry.key.value, "a string, a whole number, or true or false", &entry.node, faults);
            None
        }
    }
}

/// Says that a value is of another type than `expected`, which comes with its article.
pub(super) fn wrong(key: &str, expected: &str, node: &Node, faults: &mut Faults) {
    let help = match &node.value {
        Value::Text { text, .. } if expected == A_NUMBER && text.value.parse::<i64>().is_ok() => "without quotes",
        Value::Text { text, .. } if expected == A_FLAG && matches!(&*text.value, "true" | "false") => "without quotes",
        Value::Text { .. } if expected == A_FLAG => "`true` or `false`, without quotes",
        Value::Integer(_) | Value::Float | Value::Bool(_) | Value::Datetime if expected == A_STRING => "in quotes",
        Value::Text { .. } | Value::Integer(_) if expected == A_LIST => "in brackets: `[ … ]`",
        Value::Text { .. }
        | Value::Unresolved
        | Value::Integer(_)
        | Value::Float
        | Value::Bool(_)
        | Value::Datetime
        | Value::List(_)
        | Value::Table(_) => "",
    };
    wrong_with_help(key, expected, node, help, faults);
}

/// Likewise, with what would be right.
pub(super) fn wrong_with_help(key: &str, expected: &str, node: &Node, help: &str, faults: &mut Faults) {
    let message = format!("`{key}` must be {expected}, and this is {}", node.value.kind());
    match (&node.value, help) {
        (Value::Unresolved, _) => {}
        (_, "") => faults.at(node.span.clone(), message),
        (_, help) => faults.with_help(node.span.clone(), message, help),
    }
}

/// The known word that was probably meant, worded as help: the nearest one if it is near, or the one that begins likewise.
pub(super) fn did_you_mean<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let meant = nearest(word, known)?;
    Some(format!("did you mean `{meant}`?"))
}

/// `a`, `b`, `c`.
pub(super) fn listed<'k>(words: impl Iterator<Item = &'k str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

const ADDRESS_HELP: &str = "an address is written `127.0.0.1:8443`, `0.0.0.0:8443` or `[::]:8443`";

/// More decimals than any currency has, or any API takes.
const DIGITS_MAX: u32 = 18;

const A_STRING: &str = "a string";
const A_NUMBER: &str = "a whole number";
const A_FLAG: &str = "true or false";
const A_LIST: &str = "a list";
const A_TABLE: &str = "a table";
