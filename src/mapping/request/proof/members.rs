//! Objects and arrays that the map sets member by member: what turns out empty is not sent, so of one that is required
//! something must always be there.

use super::{Proof, is_within};
use crate::mapping::Text;
use crate::mapping::check::presence;
use crate::mapping::program::Node;
use crate::mapping::request::MapLine;
use crate::mapping::request::field::Field;
use crate::mapping::request::json::Entries;
use crate::mapping::request::lines::Output;
use crate::mapping::request::outputs::OutputSource;
use crate::mapping::request::rules::Nameable;

/// What may be sent of an object.
#[derive(Default)]
struct Members<'m> {
    /// Nodes that stand together, as one entry of a list does.
    groups: Vec<Vec<&'m Node>>,
    /// Of each item; `None`: an item without it is a dead letter.
    of_items: Vec<Option<&'m Node>>,
}

impl<'p> Proof<'p> {
    /// Holds a required object to having a member.
    pub(super) fn members(&mut self, output: &OutputSource) {
        let Some(known) = &self.known else { return };
        let lines: Vec<&MapLine> =
            self.source.map.iter().filter(|line| is_within(&line.target.value, output)).collect();
        let is_required = |line: &&MapLine| {
            let target = &line.target.value;
            let declared = self.source.rules.outputs.iter().find(|output| output.target.value == *target);
            declared.is_some_and(|output| output.required)
        };
        // That is proven by itself.
        if lines.iter().any(|line| is_required(line) && !self.is_per_item(&line.target.value))
            || self.is_required_by_group(output)
        {
            return;
        }
        let mut members = Members::default();
        for line in &lines {
            let nameable = self.outputs.iter().find(|nameable| nameable.target == line.target.value);
            let Some(nameable) = nameable else { return };
            self.member(nameable, &mut members);
        }
        if presence::something_stands(&members.groups, &members.of_items, known) {
            return;
        }
        let target = &output.target.value;
        let message = format!("`{target}` is required by the contract, and each of its fields may be absent");
        let help = self.advice(&lines);
        if let Some(line) = lines.first() {
            self.fault(&line.target, message, help);
        }
    }

    fn advice(&self, lines: &[&MapLine]) -> String {
        if lines.iter().any(|line| self.is_per_item(&line.target.value)) {
            return "a conversion may have no items: ask for what every line has in `when`, as in `items[].sku`"
                .to_owned();
        }
        let names: Vec<String> = lines.iter().map(|line| format!("\"{}\"", line.target.value)).collect();
        format!(
            "end one of them with ` !`, ask for its source in `when`, or write `require_any = [[{}]]`, which makes a dead \
             letter of a conversion without any",
            names.join(", ")
        )
    }

    /// Where a rule makes a dead letter of a request without any of them.
    fn is_required_by_group(&self, output: &OutputSource) -> bool {
        let rules = &self.source.rules;
        let inside = |group: &Vec<Text>| {
            group.iter().all(|name| is_within(&name.value, output) && !self.is_per_item(&name.value))
        };
        rules.require_any.iter().chain(&rules.exactly_one).any(inside)
    }

    /// Adds what a line gives to its object; nothing that may be left out.
    fn member(&self, nameable: &'p Nameable<'_>, members: &mut Members<'p>) {
        match &*nameable.output {
            Output::Field(field) if nameable.target.ends_with('*') || !field.unless.is_empty() => {}
            Output::Field(field) if self.may_be_left_out(field) => {}
            Output::Field(field) => {
                let node = (!stands(field)).then(|| field.expression.node());
                match nameable.is_per_item {
                    false => members.groups.push(node.into_iter().collect()),
                    true if !field.expression.reads_items() => {}
                    true => members.of_items.push(node),
                }
            }
            Output::Entries(entries, _) if nameable.is_per_item || !entries.unless.is_empty() => {}
            Output::Entries(entries, _) => members.groups.extend(self.standing(entries)),
        }
    }

    /// Of each entry of a list what must be there for it to stand; without those of which a part may be left out.
    pub(super) fn standing<'e>(&self, entries: &'e Entries) -> Vec<Vec<&'e Node>> {
        let whole = entries.fields().filter(|fields| !fields.iter().any(|field| self.may_be_left_out(field)));
        let nodes = |fields: Vec<&'e Field>| {
            fields.into_iter().filter(|field| !stands(field)).map(|field| field.expression.node()).collect()
        };
        whole.map(nodes).collect()
    }
}

/// A conversion without it is a dead letter, or something is written in its place.
fn stands(field: &Field) -> bool {
    field.expression.is_required() || field.expression.blank().is_some()
}
