//! `when`, predicates over answers, and captures.

mod reason;

use super::answer::Answer;
use super::check::facts::Known;
use super::check::{Checker, Names, Reads};
use super::expression::{Expression, compile_part};
use super::lexer::{At, Faults};
use super::parser::parse_condition;
use super::predicate::Test;
use super::program::{Context, Source};
use super::scope::{Constants, Scope, Secrets};
use super::source::{Fault, Text};
use super::syntax::{Ast, Kind};

/// A compiled `when`: all of its terms hold.
#[derive(Debug, Clone)]
pub struct Condition {
    terms: Vec<Term>,
}

/// A part of a condition that is joined to the others by `&&`.
#[derive(Debug, Clone)]
struct Term {
    test: Test,
    text: Box<str>,
    /// What is said where it does not hold.
    unmet: Box<str>,
}

impl Condition {
    /// Parses and type-checks.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn compile(text: &Text, constants: &Constants) -> Result<Condition, Vec<Fault>> {
        let mut faults = Faults::new(text);
        let ast = parse_condition(text, &mut faults);
        let mut checker = Checker::new(Names::When(constants), &mut faults);
        let mut term = |ast: &Ast| {
            let test = checker.test(ast);
            let unmet = reason::unmet(ast, &test).into();
            Term { test, text: ast.to_string().into(), unmet }
        };
        let terms = if let Kind::And(parts) = &ast.kind { parts.iter().map(term).collect() } else { vec![term(&ast)] };
        if faults.is_empty() { Ok(Condition { terms }) } else { Err(faults.into_list()) }
    }

    /// Both hold.
    #[must_use]
    pub fn and(mut self, other: Condition) -> Condition {
        self.terms.extend(other.terms);
        self
    }

    /// Why it does not hold of this conversion: the first term that fails, in words that name no value of the conversion;
    /// `None`: it holds. What is absent or cannot be computed equals nothing.
    pub fn unmet(&self, scope: Scope<'_>) -> Option<&str> {
        let context = Context { source: Source::Conversion(scope, None), secrets: Secrets::Masked };
        self.terms.iter().find(|term| !term.test.holds(&context)).map(|term| &*term.unmet)
    }

    /// Whether it holds of this conversion.
    pub fn holds(&self, scope: Scope<'_>) -> bool {
        self.unmet(scope).is_none()
    }

    /// What is compiled of it, for what it says of the conversions that it lets pass.
    pub(super) fn tests(&self) -> impl Iterator<Item = &Test> {
        self.terms.iter().map(|term| &term.test)
    }

    /// Its terms that another condition does not ask for as well, each as it is spelt.
    pub fn beyond(&self, other: Option<&Condition>) -> Vec<&str> {
        let known = Known::of(None, other.into_iter().flat_map(Condition::tests));
        let is_said = |text: &str| other.is_some_and(|other| other.terms.iter().any(|term| *term.text == *text));
        let is_new = |term: &&Term| !is_said(&term.text) && !known.proves(&term.test);
        self.terms.iter().filter(is_new).map(|term| &*term.text).collect()
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
