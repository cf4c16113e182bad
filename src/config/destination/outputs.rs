//! `outputs`: what the vendor's contract says of each field that an operation sends.

use super::Named;
use super::operation::Written;
use crate::config::keys::{Keys, choice, did_you_mean, listed, texts, wrong, wrong_with_help};
use crate::config::report::Faults;
use crate::config::tree::{Entry, Value};
use crate::conversion::Money;
use crate::mapping::{OutputKind, OutputSource, Over, Pii, Text};

/// Reads `outputs` from the request keys of an operation.
pub(super) fn read(keys: &mut Keys<'_>, faults: &mut Faults) -> Vec<OutputSource> {
    let entries = keys.entries("outputs", faults);
    for (at, entry) in entries.iter().enumerate() {
        if entries.iter().take(at).any(|earlier| earlier.key.value == entry.key.value) {
            let help = "a field stands in one place: `\"a.b\" = { … }`, or `b = { … }` in the table of `a`";
            faults.with_help(entry.key.span.clone(), format!("`{}` is declared twice", entry.key.value), help);
        }
    }
    entries.iter().filter_map(|entry| output(entry, faults)).collect()
}

/// Warns of an operation without outputs beside one that has them: its map is not proven, and looks as if it were.
pub(super) fn hold_all(conversion: &Written<'_>, named: &[Named<'_>], faults: &mut Faults) {
    let all = || [("conversion", conversion)].into_iter().chain(named.iter().map(Named::with_name));
    let Some((proven, _)) = all().find(|(_, written)| !written.rules.outputs.is_empty()) else { return };
    for (name, written) in all().filter(|(_, written)| written.rules.outputs.is_empty() && written.has_lines()) {
        let message = format!("operation `{name}` has no `outputs`, so its map is not proven as that of `{proven}` is");
        let help = "an operation's `outputs` are its own: say there too what the contract says of each field";
        faults.warn(written.span.clone(), message, help);
    }
}

fn output(entry: &Entry, faults: &mut Faults) -> Option<OutputSource> {
    let Some(table) = entry.node.value.as_table() else {
        let help = "what is said of a field stands in a table: `{ type = \"text\", required = true }`";
        wrong_with_help(&entry.key.value, "a table", &entry.node, help, faults);
        return None;
    };
    let mut keys = Keys::new(table, entry.key.span.clone());
    let chars_max = keys.size("max_length", faults).map(std::num::NonZeroUsize::get);
    let values = keys.texts("values", faults).unwrap_or_default();
    let pii = keys.entry("pii").map_or(Pii::Unsaid, |entry| pii(entry, faults));
    let over = keys.entry("over").map(|entry| &entry.key.span);
    let holds = chars_max.is_some() || !values.is_empty() || matches!(pii, Pii::Hashed(_));
    if let (Some(over), false) = (over, holds) {
        let message = "`over` without `max_length`, `values` or a `pii` that is hashed";
        faults.with_help(over.clone(), message, "`{ max_length = 64, over = \"omit\" }`");
    }
    let required = keys.flag("required", faults);
    let unmapped = keys.text("unmapped", faults);
    let required = required.is_some_and(|flag| flag.value);
    if let (true, Some(unmapped)) = (required, &unmapped) {
        let message = format!("`{}` is required, so it cannot be `unmapped`", entry.key.value);
        faults.with_help(unmapped.span.clone(), message, "a line of the map must set it");
    }
    let kind = keys.choice("type", &KINDS, faults).unwrap_or(OutputKind::Any);
    values_are(kind, &values, faults);
    let output = OutputSource {
        target: entry.key.clone(),
        kind,
        required,
        chars_max,
        values: values.into_iter().map(|text| text.value).collect(),
        over: keys.choice("over", &OVERS, faults).unwrap_or(Over::Reject),
        decimals_max: keys.digits("scale", faults),
        pii,
        unmapped: unmapped.map(|text| text.value),
        doc: keys.text("doc", faults).map(|text| text.value),
    };
    keys.finish("an output", faults);
    Some(output)
}

/// A value that no field of this type can have is a mistake.
fn values_are(kind: OutputKind, values: &[Text], faults: &mut Faults) {
    let (fits, wanted): (fn(&str) -> bool, _) = match kind {
        OutputKind::Int => (|text| text.parse::<i64>().is_ok(), "a whole number"),
        OutputKind::Number => (|text| Money::parse(text).is_ok(), "a number"),
        OutputKind::Bool => (|text| matches!(text, "true" | "false"), "true or false"),
        OutputKind::Text | OutputKind::Object | OutputKind::Array | OutputKind::Any => return,
    };
    for text in values.iter().filter(|text| !fits(&text.value)) {
        let message = format!("the field is {wanted}, and `{}` is none", text.value);
        let help = format!("write {wanted} in quotes, or another `type`");
        faults.with_help(text.span.clone(), message, help);
    }
}

/// `"none"`, `"plain"`, `"hashed"`, an algorithm, or a list of algorithms.
fn pii(entry: &Entry, faults: &mut Faults) -> Pii {
    match &entry.node.value {
        Value::Text { text, .. } => choice("pii", text, &PII, faults).map_or(Pii::Unsaid, Word::meaning),
        Value::List(_) => {
            let algorithms = texts("pii", &entry.node, faults).unwrap_or_default();
            Pii::Hashed(algorithms.iter().filter_map(|text| algorithm(text, faults)).collect())
        }
        Value::Unresolved | Value::Integer(_) | Value::Float | Value::Bool(_) | Value::Datetime | Value::Table(_) => {
            wrong("pii", "a string", &entry.node, faults);
            Pii::Unsaid
        }
    }
}

fn algorithm(text: &Text, faults: &mut Faults) -> Option<String> {
    if ALGORITHMS.contains(&text.value.as_str()) {
        return Some(text.value.clone());
    }
    let help = did_you_mean(&text.value, ALGORITHMS.into_iter())
        .unwrap_or_else(|| format!("it is one of {}", listed(ALGORITHMS.into_iter())));
    faults.with_help(text.span.clone(), format!("`pii`: there is no algorithm `{}`", text.value), help);
    None
}

/// A word of `pii`.
#[derive(Debug, Clone, Copy)]
enum Word {
    None,
    Plain,
    Hashed,
    By(&'static str),
}

impl Word {
    fn meaning(self) -> Pii {
        match self {
            Word::None => Pii::Forbidden,
            Word::Plain => Pii::Plain,
            Word::Hashed => Pii::Hashed(Vec::new()),
            Word::By(algorithm) => Pii::Hashed(vec![algorithm.to_owned()]),
        }
    }
}

pub(super) const KINDS: [(&str, OutputKind); 7] = [
    ("text", OutputKind::Text),
    ("number", OutputKind::Number),
    ("int", OutputKind::Int),
    ("bool", OutputKind::Bool),
    ("object", OutputKind::Object),
    ("array", OutputKind::Array),
    ("any", OutputKind::Any),
];
pub(super) const OVERS: [(&str, Over); 3] =
    [("truncate", Over::Truncate), ("omit", Over::Omit), ("reject", Over::Reject)];
const PII: [(&str, Word); 7] = [
    ("none", Word::None),
    ("plain", Word::Plain),
    ("hashed", Word::Hashed),
    ("md5", Word::By("md5")),
    ("sha1", Word::By("sha1")),
    ("sha256", Word::By("sha256")),
    ("sha512", Word::By("sha512")),
];
const ALGORITHMS: [&str; 4] = ["md5", "sha1", "sha256", "sha512"];
