//! What a destination's contract says of the fields that it takes: written once, proven against the map when it is loaded,
//! and where that cannot be proven (how long a text is, which word it is) held for each request.

use super::super::Text;
use super::Over;
use super::field::Limit;
use super::lines::Output;
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
    /// What becomes of a value that is too long, or none of `values`.
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

/// Gives every field that the map sets the limits of its output.
pub(super) fn limit(outputs: &[OutputSource], compiler: &mut Compiler<'_, '_>) {
    for output in outputs {
        let at = compiler.outputs.iter().position(|nameable| nameable.target == output.target.value);
        let Some(nameable) = at.and_then(|at| compiler.outputs.get_mut(at)) else { continue };
        if let Output::Field(field) = &mut *nameable.output {
            field.limit = output.chars_max.map(|chars_max| Limit { chars_max, over: output.over });
            if !output.values.is_empty() {
                field.among = Some((output.values.iter().map(|value| value.as_str().into()).collect(), output.over));
            }
        }
    }
}
