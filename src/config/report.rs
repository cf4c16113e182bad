//! Faults, collected and rendered in one place: file, line, column, the text underlined, what is wrong, what would be right.
//!
//! A report never shows a credential: neither its literal in the file nor what a `${…}` stood for.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::files::Files;
use crate::mapping::{Fault, FileId, Span};

/// Every fault of a configuration, and every warning, rendered as rustc does: file, line, column, underline, help. `Display`
/// is the whole text.
#[derive(Debug, Default)]
pub struct Report {
    /// How many faults there are; warnings are none.
    pub faults: usize,
    located: Vec<Located>,
    rendered: String,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, and probably not what was meant.
    Warning,
}

impl Severity {
    /// As answers spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One fault or warning in parts, for answers that are not text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Which of the two it is.
    pub severity: Severity,
    /// As it is named in the report: a path, `preset thrad`, `--set destination.thrad.origin`.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Line and column behind the last character that is wrong.
    pub end: (usize, usize),
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Report {
    /// Sorts the faults by place, drops repeats, and renders them; the warnings come after them.
    pub(super) fn new(faults: Faults, files: &Files) -> Report {
        let (errors, warnings) = (settled(faults.list, files), settled(faults.warnings, files));
        let mut located: Vec<Located> = errors.iter().map(|fault| locate(Severity::Error, fault, files)).collect();
        located.extend(warnings.iter().map(|fault| locate(Severity::Warning, fault, files)));
        let rendered = [render(Severity::Error, &errors, files), render(Severity::Warning, &warnings, files)].concat();
        let mut counts = Vec::new();
        match errors.len() {
            0 => {}
            1 => counts.push("1 fault in the configuration".to_owned()),
            count => counts.push(format!("{count} faults in the configuration")),
        }
        match warnings.len() {
            0 => {}
            1 => counts.push("1 warning".to_owned()),
            count => counts.push(format!("{count} warnings")),
        }
        Report { faults: errors.len(), located, rendered: rendered + &counts.join(", ") }
    }

    /// The faults in parts, sorted by place, and after them the warnings.
    pub fn located(&self) -> &[Located] {
        &self.located
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.located.is_empty()
    }
}

/// Sorted by place, without repeats, and without what must not be shown.
fn settled(mut faults: Vec<Fault>, files: &Files) -> Vec<Fault> {
    // Of what is said once, the shortest is of the range's first number.
    let chars = |fault: &Fault| if files.is_said_once(&fault.span) { fault.message.len() } else { 0 };
    faults.sort_by(|a, b| {
        let by_length = || chars(a).cmp(&chars(b));
        order(&a.span).cmp(&order(&b.span)).then_with(by_length).then_with(|| a.message.cmp(&b.message))
    });
    faults.dedup_by(|a, b| a.span == b.span && (a.message == b.message || files.is_said_once(&a.span)));
    for fault in &mut faults {
        fault.message = files.without_resolved(&fault.span, &fault.message);
        fault.help = fault.help.take().map(|help| files.without_resolved(&fault.span, &help));
    }
    faults
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rendered)
    }
}

impl std::error::Error for Report {}

/// Faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
    /// What is right, and probably not meant.
    warnings: Vec<Fault>,
    /// What only the serving machine has is no fault where it is missing: see [`Faults::elsewhere`].
    elsewhere: bool,
}

impl Faults {
    /// Of a configuration that is read where it does not serve: its secrets and its TLS files may be missing.
    pub(super) fn elsewhere() -> Faults {
        Faults { elsewhere: true, ..Faults::default() }
    }

    /// Whether what only the serving machine has may be missing.
    pub(super) fn are_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Something is wrong, and the message alone says what would be right.
    pub(super) fn at(&mut self, span: Span, message: impl Into<String>) {
        self.list.push(Fault { span, message: message.into(), help: None });
    }

    /// Something is wrong; `help` says what would be right.
    pub(super) fn with_help(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.list.push(Fault { span, message: message.into(), help: Some(help.into()) });
    }

    /// Something is probably not meant, and hinders nothing; `help` says what would be better.
    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.warnings.push(Fault { span, message: message.into(), help: Some(help.into()) });
    }

    /// Takes over faults found elsewhere.
    pub(super) fn extend(&mut self, faults: Vec<Fault>) {
        self.list.extend(faults);
    }

    /// Takes over what is not known already.
    pub(super) fn extend_new(&mut self, found: Faults) {
        let known =
            |fault: &Fault| self.list.iter().any(|known| known.span == fault.span && known.message == fault.message);
        let new: Vec<Fault> = found.list.into_iter().filter(|fault| !known(fault)).collect();
        self.list.extend(new);
        self.warnings.extend(found.warnings);
    }

    /// What a compiler made; its faults are taken over.
    pub(super) fn take<T>(&mut self, result: Result<T, Vec<Fault>>) -> Option<T> {
        result.map_err(|faults| self.extend(faults)).ok()
    }

    /// Whether something was found at exactly this place.
    pub(super) fn are_at(&self, span: &Span) -> bool {
        self.list.iter().any(|fault| fault.span == *span)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are; warnings are none.
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// Takes the faults out; the warnings stay.
    pub(super) fn take_list(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.list)
    }

    /// All that was found, warnings too.
    #[cfg(any(test, fuzzing))]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter().chain(&self.warnings)
    }

    /// Takes over the warnings found elsewhere.
    pub(super) fn extend_warnings(&mut self, other: Faults) {
        self.warnings.extend(other.warnings);
    }
}

fn order(span: &Span) -> (FileId, usize, usize) {
    (span.file, span.range.start, span.range.end)
}

fn locate(severity: Severity, fault: &Fault, files: &Files) -> Located {
    let text = files.text(fault.span.file);
    let (line, column) = position(text, fault.span.range.start);
    Located {
        severity,
        file: files.name(fault.span.file).to_owned(),
        line,
        column,
        end: position(text, fault.span.range.end.max(fault.span.range.start)),
        message: fault.message.clone(),
        help: fault.help.clone(),
    }
}

/// Line and column of a byte of a text, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let (before, _) = text.split_at(text.floor_char_boundary(at.min(text.len())));
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count().saturating_add(1), line.chars().count().saturating_add(1))
}

/// The line of a file that a span begins in, and the span within it.
struct Place {
    line: usize,
    bytes: std::ops::Range<usize>,
    within: std::ops::Range<usize>,
}

impl Place {
    fn of(span: &Span, text: &str) -> Place {
        let start = text.floor_char_boundary(span.range.start.min(text.len()));
        let (before, after) = text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let line_end = start.saturating_add(after.find('\n').unwrap_or(after.len()));
        let end = text.ceil_char_boundary(span.range.end.clamp(start, line_end));
        let in_line = |at: usize| at.saturating_sub(line_start);
        Place { line: position(text, start).0, bytes: line_start..line_end, within: in_line(start)..in_line(end) }
    }
}

fn render(severity: Severity, faults: &[Fault], files: &Files) -> String {
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let renderer = Renderer::plain();
    let mut text = String::new();
    let mut shown: Option<(FileId, String)> = None;
    for fault in faults.iter().take(RENDERED_MAX) {
        let file = fault.span.file;
        if shown.as_ref().is_none_or(|(last, _)| *last != file) {
            shown = Some((file, files.shown(file)));
        }
        let source = shown.as_ref().map_or("", |(_, source)| source.as_str());
        let place = Place::of(&fault.span, source);
        let snippet = Snippet::source(source.get(place.bytes.clone()).unwrap_or_default())
            .path(files.name(file))
            .line_start(place.line)
            .annotation(AnnotationKind::Primary.span(place.within.clone()));
        let mut group = Group::with_title(level.clone().primary_title(fault.message.as_str())).element(snippet);
        if let Some(help) = &fault.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    let rest = faults.len().saturating_sub(RENDERED_MAX);
    if rest > 0 {
        text.push_str(&format!("… and {rest} more\n\n"));
    }
    text
}

/// More would scroll the first ones, which are often the cause of the rest, out of sight.
const RENDERED_MAX: usize = 50;
