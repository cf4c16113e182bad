//! Objects and arrays that the map sets member by member: what turns out empty is not sent, so of one that is required
//! something must always be there.

use super::{Proof, is_within};
use crate::mapping::check::presence;
use crate::mapping::program::Node;
use crate::mapping::request::lines::Output;
use crate::mapping::request::outputs::OutputSource;
use crate::mapping::request::rules::Nameable;
use crate::mapping::request::{MapLine, MapSource};
use crate::mapping::{Expression, Text};

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
        if lines.iter().any(|line| is_required(line) && !line.target.value.contains("[]"))
            || self.is_required_by_group(output)
        {
            return;
        }
        let entries: Vec<Vec<Vec<Expression>>> = lines.iter().map(|line| self.compiled_entries(line)).collect();
        let mut members = Members::default();
        for (line, entries) in lines.iter().zip(&entries) {
            let nameable = self.outputs.iter().find(|nameable| nameable.target == line.target.value);
            let Some(nameable) = nameable else { return };
            members.add(nameable, entries);
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
        let is_per_item = |line: &&&MapLine| {
            self.outputs.iter().any(|nameable| nameable.is_per_item && nameable.target == line.target.value)
        };
        if lines.iter().find(is_per_item).is_some() {
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
            group.iter().all(|name| is_within(&name.value, output) && !super::is_of_items(&name.value))
        };
        rules.require_any.iter().chain(&rules.exactly_one).any(inside)
    }

    fn compiled_entries(&self, line: &'p MapLine) -> Vec<Vec<Expression>> {
        match &line.source {
            MapSource::Expr(_) => Vec::new(),
            MapSource::Entries(entries) => {
                let parts = |parts: &Vec<(_, _)>| parts.iter().filter_map(|(_, text)| self.compiled(text)).collect();
                entries.iter().map(parts).collect()
            }
            MapSource::List(parts) => parts.iter().map(|text| self.compiled(text).into_iter().collect()).collect(),
        }
    }
}

impl<'m> Members<'m> {
    fn add(&mut self, nameable: &'m Nameable<'_>, entries: &'m [Vec<Expression>]) {
        match &*nameable.output {
            Output::Field(field) if nameable.target.ends_with('*') || !field.unless.is_empty() => {}
            Output::Field(field) => {
                let stands = field.expression.is_required() || field.expression.blank().is_some();
                let node = field.expression.node();
                match (nameable.is_per_item, stands) {
                    (false, true) => self.groups.push(Vec::new()),
                    (false, false) => self.groups.push(vec![node]),
                    (true, _) if !field.expression.reads_items() => {}
                    (true, stands) => self.of_items.push((!stands).then_some(node)),
                }
            }
            Output::Entries(..) if nameable.is_per_item => {}
            Output::Entries(..) => {
                self.groups.extend(entries.iter().map(|parts| parts.iter().map(Expression::node).collect()));
            }
        }
    }
}
