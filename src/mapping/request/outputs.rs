//! What a destination's contract says of the fields that it takes: written once, proven against the map when it is loaded,
//! and where that cannot be proven (how long a text is, which word it is) held for each request.

use super::super::Text;
use super::super::check::digest::{Form, forms};
use super::Over;
use super::digest::Digests;
use super::field::{Among, Field, Limit, Measures};
use super::lines::Output;
use super::reach::{Contract, Extent, Hold, place_within};
use super::rules::Compiler;

/// What the contract says of one field.
pub struct OutputSource {
    /// The field as the map writes it; `*`: further fields are taken too.
    pub target: Text,
    /// What it is on the wire.
    pub kind: OutputKind,
    /// It stands in every request; of an item: for every item.
    pub required: bool,
    /// The most characters.
    pub chars_max: Option<usize>,
    /// The only values that are taken; empty: any.
    pub values: Vec<String>,
    /// What becomes of a value that is too long, none of `values`, or not the digest that `pii` asks for.
    pub over: Over,
    /// The most decimals of a number.
    pub decimals_max: Option<u32>,
    /// What of a person it takes.
    pub pii: Pii,
    /// Why no line of the map sets it.
    pub unmapped: Option<String>,
    /// What it means.
    pub doc: Option<String>,
}

/// What a field is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// A text.
    Text,
    /// A number.
    Number,
    /// A number without decimals.
    Int,
    /// True or false.
    Bool,
    /// An object.
    Object,
    /// An array.
    Array,
    /// Whatever it is.
    Any,
}

/// What of a person a field takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pii {
    /// The contract does not say.
    Unsaid,
    /// Nothing that names a person.
    Forbidden,
    /// As it is, never a digest.
    Plain,
    /// A digest by one of these algorithms; by any if there are none.
    Hashed(Vec<String>),
}

impl OutputKind {
    /// With its article, for messages.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            OutputKind::Text => "a text",
            OutputKind::Number => "a number",
            OutputKind::Int => "a whole number",
            OutputKind::Bool => "true or false",
            OutputKind::Object => "an object",
            OutputKind::Array => "an array",
            OutputKind::Any => "anything",
        }
    }

    /// Whether fields can stand below it.
    pub(super) fn is_open(self) -> bool {
        matches!(self, OutputKind::Object | OutputKind::Array | OutputKind::Any)
    }
}

/// Gives every value that the map sets the limits of its output.
pub(super) fn limit(outputs: &[OutputSource], compiler: &mut Compiler<'_, '_>) {
    let contract = Contract::of(outputs);
    for nameable in compiler.outputs.iter_mut() {
        let list = nameable.target;
        match &mut *nameable.output {
            Output::Field(field) => contract.hold(list).limit(field),
            Output::Entries(entries, _) => entries.each_field(&mut |field| {
                contract.hold(&place_within(list, &field.target)).limit(field);
            }),
        }
    }
}

impl OutputSource {
    /// Whether a conversion can have a value that it does not take.
    pub(super) fn can_be_broken(&self) -> bool {
        self.chars_max.is_some() || !self.values.is_empty() || matches!(self.pii, Pii::Hashed(_))
    }

    /// The only words that it takes, if it names any.
    fn words(&self) -> Option<Box<(Among, Over)>> {
        let words = || Among::Words(self.values.iter().map(|value| value.as_str().into()).collect());
        (!self.values.is_empty()).then(|| Box::new((words(), self.over)))
    }

    /// What it takes where a digest is asked for and only a conversion shows whether it gets one.
    fn digests(&self, field: &Field) -> Option<Box<(Among, Over)>> {
        let Pii::Hashed(algorithms) = &self.pii else { return None };
        let forms = forms(field.expression.node());
        let digests = || Among::Digests(Digests::new(algorithms, &forms));
        forms.iter().any(Form::shows_late).then(|| Box::new((digests(), self.over)))
    }
}

impl Hold<'_> {
    /// Gives a field what is held for each request.
    fn limit(self, field: &mut Field) {
        let chars_max = self.own.and_then(|(extent, output)| Some((extent, output, output.chars_max?)));
        field.limit = chars_max.map(|(extent, output, chars_max)| {
            let is_array = extent == Extent::Entry || output.kind == OutputKind::Array;
            let measures = if is_array { Measures::Entries } else { Measures::Whole };
            Limit { chars_max, over: output.over, measures }
        });
        let words = self.own.and_then(|(_, output)| output.words());
        field.among = words.or_else(|| self.pii.and_then(|output| output.digests(field)));
    }
}
