//! Text of the configuration with its place, and faults that point into it.

use std::ops::Range;

/// Which file a text came from (index into the list that `config` keeps: routes.toml, presets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u16);

/// A byte range of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Bytes of that file.
    pub range: Range<usize>,
}

/// A string of the configuration with its place.
#[derive(Debug, Clone)]
pub struct Text {
    /// The string itself, escapes resolved.
    pub value: String,
    /// Where it stands.
    pub span: Span,
    /// The span covers exactly the text's own bytes (no quotes, no escapes), so an inner range maps to the file by
    /// addition; otherwise a fault underlines the whole span.
    pub verbatim: bool,
}

impl Text {
    /// A fault of the bytes `inner` of this text.
    pub fn fault(&self, inner: Range<usize>, message: impl Into<String>) -> Fault {
        let range = if self.verbatim {
            let at = |offset: usize| self.span.range.start.saturating_add(offset).min(self.span.range.end);
            at(inner.start)..at(inner.end.max(inner.start))
        } else {
            self.span.range.clone()
        };
        Fault { span: Span { file: self.span.file, range }, message: message.into(), help: None }
    }
}

/// One fault of the configuration: what is wrong, where, what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The bytes that are wrong.
    pub span: Span,
    /// What is wrong, and what would be right; no secret stands in it.
    pub message: String,
    /// A suggestion ("did you mean …").
    pub help: Option<String>,
}

impl Fault {
    /// The same fault with a suggestion.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }
}
