//! `when`, predicates over answers, and captures.

use super::answer::Answer;
use super::check::{Checker, Names, Reads};
use super::expression::{Expression, compile_part};
use super::lexer::{At, Faults};
use super::parser::parse_condition;
use super::predicate::Test;
use super::program::{Context, Source};
use super::scope::{Constants, Scope, Secrets};
use super::source::{Fault, Text};

/// A compiled `when`.
#[derive(Debug, Clone)]
pub struct Condition {
    test: Test,
    source: Box<str>,
}

impl Condition {
    /// Parses and type-checks.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn compile(text: &Text, constants: &Constants) -> Result<Condition, Vec<Fault>> {
        let (test, _) = compile(text, Names::When(constants))?;
        Ok(Condition { test, source: text.value.split_whitespace().collect::<Vec<_>>().join(" ").into() })
    }

    /// Whether it holds of this conversion. What is absent or cannot be computed equals nothing.
    pub fn holds(&self, scope: Scope<'_>) -> bool {
        self.test.holds(&Context { source: Source::Conversion(scope, None), secrets: Secrets::Masked })
    }

    /// What is compiled of it, for what it says of the conversions that it lets pass.
    pub(super) fn test(&self) -> &Test {
        &self.test
    }

    /// The source text, in one line (shown as the reason of a skip).
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// A compiled predicate over an answer: `status`, `header.*`, `body.*` (keys without regard to case), `body` as text.
#[derive(Debug, Clone)]
pub struct AnswerCondition {
    test: Test,
    reads_body: bool,
}

impl AnswerCondition {
    /// Parses and type-checks.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn compile(text: &Text) -> Result<AnswerCondition, Vec<Fault>> {
        let (test, reads) = compile(text, Names::Answer)?;
        Ok(AnswerCondition { test, reads_body: reads.body })
    }

    /// Whether it holds of this answer. A comparison with what is not there is false, `!=` too.
    pub fn holds(&self, answer: &Answer) -> bool {
        self.test.holds(&context(answer))
    }

    /// Whether it reads the body (a body that breaks off makes its verdict *unknown*).
    pub fn reads_body(&self) -> bool {
        self.reads_body
    }
}

/// A compiled `capture.x = "body.id"`: what is kept of an answer.
#[derive(Debug, Clone)]
pub struct Capture {
    expression: Expression,
}

impl Capture {
    /// Parses and type-checks.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn compile(text: &Text) -> Result<Capture, Vec<Fault>> {
        let mut faults = Faults::new(text);
        let compiled = compile_part(text, At { start: 0, end: text.value.len() }, Names::Answer, &mut faults);
        match compiled {
            Some((expression, _)) => Ok(Capture { expression }),
            None => Err(faults.into_list()),
        }
    }

    /// What the answer has of it, a list or an object as JSON; its first [`CAPTURE_CHARS_MAX`] characters.
    pub fn take(&self, answer: &Answer) -> Option<String> {
        let value = self.expression.value(&context(answer)).ok().flatten()?;
        let text = value.into_shown()?;
        Some(match text.char_indices().nth(CAPTURE_CHARS_MAX) {
            Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
            None => text.into_owned(),
        })
    }
}

/// Characters of a captured value: longer than any id, short enough to stand in a status.
pub const CAPTURE_CHARS_MAX: usize = 1024;

fn context(answer: &Answer) -> Context<'_> {
    Context { source: Source::Answer(answer), secrets: Secrets::Masked }
}

fn compile(text: &Text, names: Names<'_>) -> Result<(Test, Reads), Vec<Fault>> {
    let mut faults = Faults::new(text);
    let ast = parse_condition(text, &mut faults);
    let mut checker = Checker::new(names, &mut faults);
    let test = checker.test(&ast);
    let reads = std::mem::take(&mut checker.reads);
    if faults.is_empty() { Ok((test, reads)) } else { Err(faults.into_list()) }
}
