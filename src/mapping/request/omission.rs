//! `omit_with`: an output that is left out where another one stands.
//!
//! Each output carries what it makes way for, so it is decided where it is written, in any encoding and any order of
//! lines. Whether the other stands is asked of its own expression, its length, and what it makes way for in turn.

use std::sync::Arc;

use super::super::{Scope, Secrets, Text};
use super::field::{At, Field, items};
use super::lines::Output;
use super::rules::Compiler;

/// An output that others make way for.
#[derive(Debug, Clone)]
pub(super) struct Rival {
    field: Field,
    is_per_item: bool,
}

impl Rival {
    /// Whether it stands beside an output of `at`: in the same item; beside one of the request, in any item.
    pub(super) fn stands(&self, scope: Scope<'_>, secrets: Secrets, at: Option<At<'_>>) -> bool {
        let stands = |at: Option<At<'_>>| self.field.stands(scope, secrets, at);
        match (self.is_per_item, at) {
            (false, _) => stands(None),
            (true, Some(at)) => stands(Some(at)),
            (true, None) => items(scope).any(|at| stands(Some(at))),
        }
    }
}

/// Gives every output what it makes way for; rules that go in a circle, or can never hold, are faults.
pub(super) fn compile(rules: &[(Text, Vec<Text>)], compiler: &mut Compiler<'_, '_>) {
    if rules.is_empty() {
        return;
    }
    let outputs = compiler.outputs.len();
    let mut plan = Plan { edges: vec![Vec::new(); outputs], made: vec![Made::Not; outputs] };
    for (name, others) in rules {
        let Some(output) = named(name, Side::LeftOut, compiler) else { continue };
        for other in others {
            if let Some(rival) = named(other, Side::Rival, compiler)
                && let Some(edges) = plan.edges.get_mut(output)
            {
                edges.push((rival, other));
            }
        }
    }
    for output in 0..outputs {
        if plan.edges.get(output).is_none_or(Vec::is_empty) {
            continue;
        }
        plan.refuse_pointless(output, compiler);
        let unless = match plan.rival(output, compiler) {
            Some(made) => made.field.unless.clone(),
            // A list: nothing makes way for it, so none has come here before.
            None => plan.rivals(output, compiler),
        };
        match compiler.outputs.get_mut(output).map(|nameable| &mut *nameable.output) {
            Some(Output::Field(field)) => field.unless = unless,
            Some(Output::Entries(entries, _)) => entries.unless = unless,
            None => {}
        }
    }
}

/// Which side of a rule an output stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    LeftOut,
    Rival,
}

/// The number of an output that can be left out, or that others can make way for.
fn named(name: &Text, side: Side, compiler: &mut Compiler<'_, '_>) -> Option<usize> {
    let at = compiler.position(name)?;
    let output = compiler.outputs.get(at)?;
    let is_spread = output.target == "*" || output.target.ends_with(".*");
    match (&*output.output, side) {
        (Output::Field(_), _) if !is_spread => Some(at),
        (Output::Entries(..), Side::LeftOut) => Some(at),
        (Output::Field(_), _) | (Output::Entries(..), Side::Rival) => {
            compiler.fault(name, "a list or a spread is many outputs", "name a single field");
            None
        }
    }
}

struct Plan<'r> {
    /// Of each output: the outputs that it makes way for, as the rule names them.
    edges: Vec<Vec<(usize, &'r Text)>>,
    made: Vec<Made>,
}

#[derive(Debug, Clone)]
enum Made {
    Not,
    /// Begun: who comes back here goes in a circle.
    Begun,
    Done(Arc<Rival>),
}

impl Plan<'_> {
    /// The output with all that it makes way for; made once.
    fn rival(&mut self, output: usize, compiler: &mut Compiler<'_, '_>) -> Option<Arc<Rival>> {
        if let Some(Made::Done(rival)) = self.made.get(output) {
            return Some(Arc::clone(rival));
        }
        if let Output::Entries(..) = &*compiler.outputs.get(output)?.output {
            return None;
        }
        let unless = self.rivals(output, compiler);
        let nameable = compiler.outputs.get(output)?;
        let Output::Field(field) = &*nameable.output else { return None };
        let rival = Arc::new(Rival { field: Field { unless, ..(**field).clone() }, is_per_item: nameable.is_per_item });
        self.set(output, Made::Done(Arc::clone(&rival)));
        Some(rival)
    }

    /// All that an output makes way for.
    fn rivals(&mut self, output: usize, compiler: &mut Compiler<'_, '_>) -> Vec<Arc<Rival>> {
        self.set(output, Made::Begun);
        let mut rivals = Vec::new();
        for (other, name) in self.edges.get(output).cloned().unwrap_or_default() {
            if matches!(self.made.get(other), Some(Made::Begun)) {
                let help = "of two outputs one makes way for the other: take one of the rules out";
                compiler.fault(name, "`omit_with` goes in a circle: each would make way for the other", help);
            } else {
                rivals.extend(self.rival(other, compiler));
            }
        }
        rivals
    }

    fn set(&mut self, output: usize, made: Made) {
        if let Some(place) = self.made.get_mut(output) {
            *place = made;
        }
    }

    /// An output that makes way for what is always there is never sent.
    fn refuse_pointless(&self, output: usize, compiler: &mut Compiler<'_, '_>) {
        let is_per_item = compiler.outputs.get(output).is_some_and(|output| output.is_per_item);
        for (rival, name) in self.edges.get(output).into_iter().flatten() {
            let Some(nameable) = compiler.outputs.get(*rival) else { continue };
            let Output::Field(field) = &*nameable.output else { continue };
            let makes_way = self.edges.get(*rival).is_some_and(|edges| !edges.is_empty());
            let always = field.expression.is_required() && !makes_way && (is_per_item || !nameable.is_per_item);
            let constant = nameable.is_per_item && !field.expression.reads_items();
            if always {
                let help = "take the `!` from its line, or leave this field out of the map";
                compiler.fault(
                    name,
                    format!("`{}` is required: what makes way for it is never sent", name.value),
                    help,
                );
            } else if constant {
                let help = "name a line whose expression names an `item.` field";
                compiler.fault(name, format!("`{}` says nothing of an item", name.value), help);
            }
        }
    }
}
