//! Every expression of the map, a list's one by one, against whatever of the contract reaches the place where its value
//! stands.

use super::Proof;
use super::content::{self, Wrong};
use crate::mapping::Text;
use crate::mapping::request::field::Field;
use crate::mapping::request::lines::Output;
use crate::mapping::request::outputs::{OutputSource, Pii};
use crate::mapping::request::reach::{Contract, Hold, place_within};
use crate::mapping::request::rules::Nameable;
use crate::mapping::request::{MapLine, MapSource, Over, RequestSource};

/// One expression of the map.
pub(super) struct Part<'p> {
    /// Where its value stands.
    pub(super) place: String,
    text: &'p Text,
    field: &'p Field,
    line: &'p MapLine,
}

/// Every expression that has no fault of its own.
pub(super) fn all<'p>(source: &'p RequestSource, outputs: &'p [Nameable<'p>]) -> Vec<Part<'p>> {
    let mut parts = Vec::new();
    for line in source.map.iter().chain(&source.query) {
        let target = line.target.value.as_str();
        // The same target may stand in the body and in the query.
        let compiled = outputs.iter().find(|nameable| std::ptr::eq(nameable.target, target));
        match (compiled.map(|nameable| &*nameable.output), &line.source) {
            (Some(Output::Field(field)), MapSource::Expr(text)) => {
                parts.push(Part { place: target.to_owned(), text, field, line });
            }
            (Some(Output::Entries(entries, _)), MapSource::List(texts)) => {
                for (field, text) in entries.fields().flatten().zip(texts) {
                    parts.push(Part { place: place_within(target, &field.target), text, field, line });
                }
            }
            (Some(Output::Entries(entries, _)), MapSource::Entries(tables)) => {
                for (fields, table) in entries.fields().zip(tables) {
                    parts.extend(table.iter().filter_map(|(key, text)| of_a_table(line, key, text, &fields)));
                }
            }
            (Some(_) | None, _) => {}
        }
    }
    parts
}

fn of_a_table<'p>(line: &'p MapLine, key: &Text, text: &'p Text, fields: &[&'p Field]) -> Option<Part<'p>> {
    let list = line.target.value.as_str();
    let name = format!("{list}.{}", key.value);
    let field = fields.iter().copied().find(|field| *field.target == *name)?;
    Some(Part { place: place_within(list, &name), text, field, line })
}

impl Part<'_> {
    pub(super) fn is_of_a_table(&self) -> bool {
        matches!(self.line.source, MapSource::Entries(_))
    }
}

impl<'p> Proof<'p> {
    /// Holds every value to what the contract says of the place where it stands.
    pub(super) fn every_part_fits(&mut self, contract: &Contract<'_>) {
        let parts = std::mem::take(&mut self.parts);
        let mut undivided: Vec<&str> = Vec::new();
        for part in &parts {
            let hold = contract.hold(&part.place);
            self.asks_and_leaves_out(part, &hold);
            let target = part.line.target.value.as_str();
            let of_list = contract.hold(target).pii.filter(|_| part.is_of_a_table());
            match hold.pii {
                // What is said of the list alone would be said of each of its tables' parts.
                Some(pii) if is_hashed(pii) && of_list.is_some_and(|list| std::ptr::eq(list, pii)) => {
                    if !undivided.contains(&target) {
                        undivided.push(target);
                        self.undivided(part, pii);
                    }
                    self.part(part, &Hold { pii: None, ..hold });
                }
                Some(_) | None => self.part(part, &hold),
            }
        }
        self.parts = parts;
    }

    fn part(&mut self, part: &Part<'_>, hold: &Hold<'_>) {
        let expression = &part.field.expression;
        let own = hold.own.and_then(|(extent, output)| Some((output, self.content(output, extent, expression)?)));
        let wrong: Option<(&OutputSource, Wrong)> =
            own.or_else(|| hold.pii.and_then(|output| Some((output, content::personal(output, expression)?))));
        if let Some((output, (message, help))) = wrong {
            self.fault(part.text, format!("`{}` {message}", output.target.value), help);
        }
    }

    /// A list of tables whose contract asks for digests of it as a whole.
    fn undivided(&mut self, part: &Part<'_>, pii: &OutputSource) {
        let target = &part.line.target.value;
        let message = format!("`{}` is hashed, and the entries of `{target}` are tables", pii.target.value);
        let help = format!("`pii` belongs to a part of them: `outputs.\"{}\" = {{ pii = \"sha256\" }}`", part.place);
        self.fault(&part.line.target, message, help);
    }

    /// `!` asks for a value that the contract lets be left out.
    fn asks_and_leaves_out(&mut self, part: &Part<'_>, hold: &Hold<'_>) {
        let by_contract = hold.own.is_some_and(|(_, output)| output.required && output.over == Over::Omit);
        let by_rule = self.source.rules.max_length.iter().any(|(name, ..)| name.value == part.place);
        let is_said = by_contract || by_rule;
        if part.field.expression.is_required() && !is_said && self.may_be_left_out(part.field) {
            let help = "write `over = \"reject\"`, or take the `!` away";
            self.fault(part.text, "a required field cannot be left out", help);
        }
    }
}

fn is_hashed(output: &OutputSource) -> bool {
    matches!(output.pii, Pii::Hashed(_))
}
