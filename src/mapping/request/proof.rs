//! The proof at load: a map against what its destination's contract says of every field, for all conversions that the
//! operation's `when` lets pass.
//!
//! What is required is always there, or its lack is said with `!`; types, words, lengths, decimals and personal data fit; no
//! field is sent that the contract does not know. What cannot be known before a conversion is (how long a text is) is left
//! to the limits that hold each request.

mod content;
mod members;
mod parts;

use self::parts::Part;
use super::super::check::facts::Known;
use super::super::check::presence::{self, Gap};
use super::super::{Fault, Text};
use super::field::Field;
use super::json::Entries;
use super::lines::Output;
use super::outputs::{OutputKind, OutputSource};
use super::reach::Contract;
use super::rules::Nameable;
use super::{Applies, Encoding, Given, MapLine, MapSource, Over, RequestSource};
use crate::conversion::nearest;

/// Every fault of the map as a whole; what is wrong with a line by itself is said elsewhere.
pub(super) fn prove(source: &RequestSource, outputs: &[Nameable<'_>]) -> Vec<Fault> {
    let known = source.given.known();
    let contract = Contract::of(&source.rules.outputs);
    let mut proof = Proof { source, outputs, known, parts: parts::all(source, outputs), faults: Vec::new() };
    proof.every_target_is_known();
    for output in &source.rules.outputs {
        proof.output(output);
    }
    proof.every_part_fits(&contract);
    proof.groups_can_hold();
    proof.faults
}

impl Given {
    /// What holds of every conversion of the operation; `None` where its `when` is at fault.
    pub(super) fn known(&self) -> Option<Known> {
        match &self.applies {
            Applies::Always => Some(Known::of(self.kind, std::iter::empty())),
            Applies::When(_, condition) => Some(Known::of(self.kind, condition.tests())),
            Applies::Unknown => None,
        }
    }
}

struct Proof<'p> {
    source: &'p RequestSource,
    outputs: &'p [Nameable<'p>],
    /// `None` where the operation's `when` is at fault.
    known: Option<Known>,
    parts: Vec<Part<'p>>,
    faults: Vec<Fault>,
}

impl<'p> Proof<'p> {
    /// The contract names every field, so another one is a mistake.
    fn every_target_is_known(&mut self) {
        let declared = &self.source.rules.outputs;
        if declared.is_empty() || declared.iter().any(|output| output.target.value == "*") {
            return;
        }
        for line in &self.source.map {
            let target = &line.target.value;
            if declared.iter().any(|output| output.target.value == *target || is_within(target, output)) {
                continue;
            }
            let names = declared.iter().map(|output| output.target.value.as_str());
            let help = match nearest(target, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("where the destination takes it all the same: `outputs.\"{target}\" = {{}}`"),
            };
            self.fault(&line.target, format!("the contract knows no field `{target}`"), help);
        }
    }

    fn output(&mut self, output: &'p OutputSource) {
        if output.required && output.over == Over::Omit && output.can_be_broken() {
            let help = "write `over = \"reject\"` or `\"truncate\"`, or take `required` away";
            self.fault(&output.target, "a required field cannot be left out", help);
        }
        if let Some(line) = self.line(&output.target.value) {
            let target = &output.target.value;
            let compiled = self.outputs.iter().find(|nameable| nameable.target == target);
            match (compiled.map(|nameable| &*nameable.output), &line.source) {
                (Some(Output::Field(field)), MapSource::Expr(text)) => self.field(output, field, line, text),
                (Some(Output::Entries(entries, _)), _) => self.entries(output, entries, line),
                (Some(_) | None, _) => {}
            }
        } else if self.is_part_of_a_list(&output.target.value) {
            // An entry stands only if all its parts do.
        } else if output.required && output.unmapped.is_none() && self.sends_such(&output.target.value) {
            if self.is_set_below(output) {
                self.members(output);
            } else {
                self.missing(output);
            }
        }
    }

    fn field(&mut self, output: &OutputSource, field: &Field, line: &'p MapLine, text: &'p Text) {
        if !output.required {
            return;
        }
        if !field.unless.is_empty() {
            let message = format!("`{}` is required, and `omit_with` leaves it out", line.target.value);
            self.fault(&line.target, message, "take it out of `omit_with`");
        }
        if self.is_required_by_rule(&line.target.value) {
            return;
        }
        // Of its own output that is said already.
        let says_so = output.over == Over::Omit && output.can_be_broken();
        if !says_so && self.may_be_left_out(field) {
            let message =
                format!("`{}` is required by the contract, and left out where it is not taken", line.target.value);
            self.fault(text, message, "write `over = \"reject\"` where it says `omit`");
        }
        if field.expression.is_required() || field.expression.blank().is_some() {
            return;
        }
        let gap = self.known.as_ref().and_then(|known| presence::gap(field.expression.node(), known));
        if let Some(gap) = gap {
            self.may_be_absent(line, text, &gap);
        }
    }

    /// A list of entries, of which each stands as a whole or not at all.
    fn entries(&mut self, output: &OutputSource, entries: &'p Entries, line: &'p MapLine) {
        if !matches!(output.kind, OutputKind::Array | OutputKind::Any) {
            let message = format!("`{}` is {}, and this is an array", line.target.value, output.kind.wanted());
            self.fault(&line.target, message, "write one expression");
        }
        if output.required && !entries.unless.is_empty() {
            let message = format!("`{}` is required, and `omit_with` leaves it out", line.target.value);
            self.fault(&line.target, message, "take it out of `omit_with`");
        }
        let groups = self.standing(entries);
        let proven = self.known.as_ref().is_none_or(|known| presence::one_stands(&groups, known));
        if output.required && !proven && !self.is_required_by_rule(&line.target.value) {
            let target = &line.target.value;
            let message = format!("`{target}` is required by the contract, and none of its entries need stand");
            let help = format!("`require_any = [[\"{target}\"]]` makes a dead letter of a conversion without one");
            self.fault(&line.target, message, help);
        }
    }

    /// The fault stands where the map says it, or at the `when` that no longer asks for it.
    fn may_be_absent(&mut self, line: &MapLine, text: &Text, gap: &Gap) {
        let target = &line.target.value;
        let (why, help) = match gap {
            Gap::Field(path) if path.starts_with("item.") => (
                format!("`{path}` may be absent"),
                "end it with ` !` (an item without it makes the conversion a dead letter), or fall back with `?? …` or \
                 `| default(…)`"
                    .to_owned(),
            ),
            // In a list `default` stands for absent entries, and not for the list.
            Gap::Field(path) if path.starts_with("items") => (
                format!("`{path}` may be absent"),
                format!(
                    "end it with ` !` (without it a conversion is a dead letter), fall back with `?? …`, or ask for \
                     `{path}` in `when`"
                ),
            ),
            Gap::Field(path) => (
                format!("`{path}` may be absent"),
                format!(
                    "end it with ` !` (without it a conversion is a dead letter), fall back with `?? …` or \
                     `| default(…)`, or ask for `{path}` in `when`"
                ),
            ),
            Gap::Filter(name) => (
                format!("`{name}` gives nothing of some values"),
                "say what stands for them with `?? …` or `| default(…)`, or end it with ` !`".to_owned(),
            ),
            Gap::Unset => ("what it names is not set".to_owned(), "set it, or fall back with `?? …`".to_owned()),
        };
        match &self.source.given.applies {
            // A preset is read after what is laid over it.
            Applies::When(Some(when), _)
                if when.span.file < text.span.file && when.span.file < line.target.span.file =>
            {
                let message = format!("this `when` no longer asks for what `{target}` requires: {why}");
                let help = format!("ask for it here too, or give the field another source: `map.{target} = \"…\"`");
                self.fault(when, message, help);
            }
            Applies::Always | Applies::When(..) | Applies::Unknown => {
                self.fault(text, format!("`{target}` is required by the contract, and {why}"), help);
            }
        }
    }

    fn missing(&mut self, output: &OutputSource) {
        let target = &output.target.value;
        match self.source.given.removed.iter().find(|removed| removed.value == *target) {
            Some(removed) => {
                let message = format!("`{target}` is required by the contract: it cannot be taken away");
                self.fault(removed, message, "give it another source instead, or take this line out");
            }
            None => {
                let message = format!("`{target}` is required by the contract, and no line of the map sets it");
                self.fault(&output.target, message, format!("`map.{target} = \"…\"`"));
            }
        }
    }

    /// A group of which none can ever stand, or of which two always do.
    fn groups_can_hold(&mut self) {
        let rules = &self.source.rules;
        for group in rules.require_any.iter().chain(&rules.exactly_one) {
            let fields: Vec<&Field> = group.iter().filter_map(|name| self.named(name)).collect();
            let none = fields.iter().all(|field| presence::is_never(field.expression.node()));
            if let (true, true, Some(first)) = (none, fields.len() == group.len(), group.first()) {
                let message = "one of these is required, and none of them can ever have a value";
                self.fault(first, message, "set the vars that they name, or give one of them another source");
            }
        }
        for group in &rules.exactly_one {
            let always = |name: &'p Text| {
                let field = self.named(name)?;
                let known = self.known.as_ref()?;
                let gap = presence::gap(field.expression.node(), known);
                let stands = gap.is_none() || field.expression.is_required();
                (stands && field.unless.is_empty() && !self.may_be_left_out(field)).then_some(name)
            };
            let mut standing = group.iter().filter_map(always);
            if let (Some(one), Some(two)) = (standing.next(), standing.next()) {
                let message = format!("exactly one of them may stand, and `{}` always does too", one.value);
                self.fault(two, message, "let one make way: `omit_with`, or take one out of the map");
            }
        }
    }

    fn named(&self, name: &Text) -> Option<&'p Field> {
        let nameable = self.outputs.iter().find(|nameable| nameable.target == name.value)?;
        if let Output::Field(field) = &*nameable.output { Some(field) } else { None }
    }

    fn line(&self, target: &str) -> Option<&'p MapLine> {
        self.source.map.iter().chain(&self.source.query).find(|line| line.target.value == target)
    }

    /// `ids[].name`, where `ids` is a list of tables.
    fn is_part_of_a_list(&self, target: &str) -> bool {
        let list = target.rsplit_once("[].").and_then(|(list, _)| self.line(list));
        list.is_some_and(|line| matches!(line.source, MapSource::Entries(_)))
            || self.parts.iter().any(|part| part.is_of_a_table() && part.place == target)
    }

    /// Where a rule makes a dead letter of a request without it.
    fn is_required_by_rule(&self, target: &str) -> bool {
        let rules = &self.source.rules;
        let alone = |group: &Vec<Text>| matches!(group.as_slice(), [only] if only.value == target);
        let with_items = rules.required_with.iter().filter(|(key, _)| key.value == "items");
        rules.require_any.iter().chain(&rules.exactly_one).any(alone)
            || (self.is_per_item(target)
                && with_items.flat_map(|(_, fields)| fields).any(|field| field.value == target))
    }

    /// What is required of every item is so only where something of items is sent.
    fn sends_such(&self, target: &str) -> bool {
        let Some((array, _)) = target.split_once("[]") else {
            let numbered = |target: &str| target.contains("{i");
            return !numbered(target) || self.source.map.iter().any(|line| numbered(&line.target.value));
        };
        self.source
            .map
            .iter()
            .any(|line| line.target.value.strip_prefix(array).is_some_and(|rest| rest.starts_with("[]")))
    }

    /// Whether a line sets something within an object or an array.
    fn is_set_below(&self, output: &OutputSource) -> bool {
        self.source.map.iter().any(|line| is_within(&line.target.value, output))
    }

    /// Whether a target is made for each item.
    fn is_per_item(&self, target: &str) -> bool {
        self.outputs.iter().any(|nameable| nameable.is_per_item && nameable.target == target)
    }

    fn is_flat(&self) -> bool {
        matches!(self.source.encoding, Encoding::Form | Encoding::None)
    }

    fn fault(&mut self, text: &Text, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(text.fault(0..text.value.len(), message).with_help(help));
    }
}

/// Whether a target stands below an output that is an object or an array.
fn is_within(target: &str, output: &OutputSource) -> bool {
    let rest = target.strip_prefix(output.target.value.as_str());
    output.kind.is_open() && rest.is_some_and(|rest| rest.starts_with(['.', '[']))
}
