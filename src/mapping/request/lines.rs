//! From the lines of a map to its plan: every target parsed, every expression compiled, every conflict found.

mod lists;

use std::collections::BTreeMap;

use self::lists::{entry_list, part_list};
use super::super::parser::NO_BRACES;
use super::super::{Blank, Constants, Expression, Fault, OutType, Place, Text, concat_meant};
use super::field::Field;
use super::flat::{Escaping, Flat, Pair, Taken};
use super::json::{Entries, Member, Node, Object, Spread, escaped};
use super::target::{FlatTarget, Name, Step, Target};
use super::{MapLine, MapSource};
use crate::conversion::Rows;

/// A line of a map, read and compiled.
pub(super) struct Line<'s, T> {
    pub(super) text: &'s Text,
    pub(super) target: T,
    pub(super) output: Output,
    /// It is made for each item.
    pub(super) is_per_item: bool,
}

pub(super) enum Output {
    Field(Box<Field>),
    Entries(Entries, EntryReads),
}

/// Whether a list of tables or expressions names `item.`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryReads {
    Items,
    NoItems,
}

impl Output {
    fn reads_items(&self) -> bool {
        match self {
            Output::Field(field) => field.expression.reads_items(),
            Output::Entries(_, reads) => *reads == EntryReads::Items,
        }
    }

    /// The unset var or secret without which every conversion is unmappable.
    pub(super) fn lacks(&self) -> Option<&str> {
        match self {
            Output::Field(field) if field.expression.is_required() => field.expression.lacks(),
            Output::Field(_) | Output::Entries(..) => None,
        }
    }

    /// The unset var or secret for want of which it is never sent.
    pub(super) fn unset(&self) -> Option<&str> {
        match self {
            Output::Field(field) => field.expression.lacks(),
            Output::Entries(..) => None,
        }
    }

    /// What it makes of a secret, the same for every conversion.
    pub(super) fn made_of_secret(&self) -> Option<String> {
        match self {
            Output::Field(field) => field.expression.made_of_secret(),
            Output::Entries(..) => None,
        }
    }

    pub(super) fn column_mut(&mut self) -> &mut Option<usize> {
        match self {
            Output::Field(field) => &mut field.column,
            Output::Entries(entries, _) => &mut entries.column,
        }
    }
}

/// Compiles the lines of a JSON body.
pub(super) fn json_lines<'s>(
    lines: &'s [MapLine],
    constants: &Constants,
    faults: &mut Vec<Fault>,
) -> Vec<Line<'s, Target>> {
    let mut compiled: Vec<Line<'s, Target>> = Vec::with_capacity(lines.len());
    for line in lines {
        match json_line(line, constants) {
            Ok(line) => compiled.push(line),
            Err(found) => faults.extend(found),
        }
    }
    settle_items(&mut compiled, faults);
    compiled
}

fn json_line<'s>(line: &'s MapLine, constants: &Constants) -> Result<Line<'s, Target>, Vec<Fault>> {
    let target = Target::parse(&line.target).map_err(|fault| vec![fault])?;
    let place = if target.item_prefix().is_some() { Place::Item } else { Place::Top };
    let output = match &line.source {
        MapSource::Expr(text) => {
            let field = field(&line.target.value, text, constants, place)?;
            if target.is_spread && (field.expression.out_type() != OutType::Json || field.expression.blank().is_some())
            {
                let fault = whole(text, "`*` spreads the members of a JSON object, and this is none");
                return Err(vec![fault.with_help("name one under `custom`, or give the field a name")]);
            }
            Output::Field(Box::new(field))
        }
        MapSource::Entries(_) | MapSource::List(_) if target.is_spread => {
            return Err(vec![whole(&line.target, "`*` spreads a JSON object, not a list")]);
        }
        MapSource::Entries(entries) => entry_list(&line.target, entries, constants, place)?,
        MapSource::List(parts) => part_list(&line.target, parts, constants, place)?,
    };
    Ok(Line { text: &line.target, target, output, is_per_item: false })
}

fn field(target: &str, text: &Text, constants: &Constants, place: Place) -> Result<Field, Vec<Fault>> {
    let expression =
        Expression::compile(text, constants, place).map_err(|found| match concat_meant(text, constants, place) {
            Some(concat) => vec![whole(text, NO_BRACES).with_help(format!("write `{concat}`"))],
            None => found,
        })?;
    let is_asked = expression.is_required() || expression.blank().is_some();
    let needs = if is_asked { Rows::ALL } else { expression.needs() };
    let target = target.into();
    Ok(Field { target, expression, needs, limit: None, among: None, unless: Vec::new(), column: None })
}

/// Tells what is made for each item: everything below a first `[]` or `{i}` under which a line names `item.`
fn settle_items(lines: &mut [Line<'_, Target>], faults: &mut Vec<Fault>) {
    let reading: Vec<Vec<Step>> = lines
        .iter()
        .filter(|line| line.output.reads_items())
        .filter_map(|line| line.target.item_prefix().map(<[Step]>::to_vec))
        .collect();
    for line in lines {
        line.is_per_item =
            line.target.item_prefix().is_some_and(|prefix| reading.iter().any(|reading| reading == prefix));
        if is_unnumbered(line) {
            faults.push(numberless(line.text));
        }
    }
}

/// It has a number in its target, and no item to take it from.
fn is_unnumbered(line: &Line<'_, Target>) -> bool {
    let is_numbered = |step: &Step| matches!(step, Step::Member(name) if name.is_numbered());
    !line.is_per_item && line.target.steps.iter().any(is_numbered)
}

fn numberless(target: &Text) -> Fault {
    whole(target, "numbered over the items, but its expression names no `item.` field")
        .with_help("name an `item.` field, or take the number out of the target")
}

fn whole(text: &Text, message: impl Into<String>) -> Fault {
    text.fault(0..text.value.len(), message)
}

/// Where a node of the body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Request,
    Item,
}

/// The tree of a JSON body, or of one entry of a list.
pub(super) fn json_node(lines: Vec<Line<'_, Target>>, within: Within, faults: &mut Vec<Fault>) -> Node {
    let mut root: Option<Draft<'_>> = None;
    for line in lines {
        let (steps, is_spread) = (line.target.steps.clone(), line.target.is_spread);
        let (text, is_per_item) = (line.text, line.is_per_item);
        let leaf = if is_spread { Shape::Object(vec![Part::Spread(line)]) } else { Shape::Leaf(line) };
        let grown = steps.into_iter().rev().fold(Draft { text, is_per_item, shape: leaf }, Draft::under);
        match &mut root {
            None => root = Some(grown),
            Some(root) => root.merge(grown, faults),
        }
    }
    match root {
        None => Node::Object(Object { members: Vec::new() }),
        Some(root) => root.settle(within, faults),
    }
}

/// A node while lines are being laid together.
struct Draft<'s> {
    /// The first line that mentions it.
    text: &'s Text,
    is_per_item: bool,
    shape: Shape<'s>,
}

enum Shape<'s> {
    Leaf(Line<'s, Target>),
    Object(Vec<Part<'s>>),
    Elements(BTreeMap<usize, Draft<'s>>),
    Each(Box<Draft<'s>>),
}

enum Part<'s> {
    Named(Name, Draft<'s>),
    Spread(Line<'s, Target>),
}

impl<'s> Draft<'s> {
    /// This node as the only thing one step up.
    fn under(self, step: Step) -> Draft<'s> {
        let (text, is_per_item) = (self.text, self.is_per_item);
        let shape = match step {
            Step::Member(name) => Shape::Object(vec![Part::Named(name, self)]),
            Step::Element(index) => Shape::Elements(BTreeMap::from([(index, self)])),
            Step::Each => Shape::Each(Box::new(self)),
        };
        Draft { text, is_per_item, shape }
    }

    /// Lays a later line's draft into this one.
    fn merge(&mut self, later: Draft<'s>, faults: &mut Vec<Fault>) {
        match (&mut self.shape, later.shape) {
            (Shape::Object(parts), Shape::Object(more)) => {
                for part in more {
                    merge_part(parts, part, faults);
                }
            }
            (Shape::Elements(elements), Shape::Elements(more)) => {
                for (index, draft) in more {
                    match elements.get_mut(&index) {
                        Some(element) => element.merge(draft, faults),
                        None => drop(elements.insert(index, draft)),
                    }
                }
            }
            (Shape::Each(inner), Shape::Each(more)) => inner.merge(*more, faults),
            (Shape::Leaf(_), Shape::Leaf(_)) => faults.push(set_twice(later.text, self.text)),
            (earlier, shape) => {
                let message = format!(
                    "`{}` needs {} where `{}` puts {}",
                    later.text.value,
                    shape.word(),
                    self.text.value,
                    earlier.word()
                );
                let help =
                    "one place of the body is either a value, an object, or an array written with `[]` or with indices";
                faults.push(whole(later.text, message).with_help(help));
            }
        }
    }

    /// The finished node.
    fn settle(self, within: Within, faults: &mut Vec<Fault>) -> Node {
        match self.shape {
            Shape::Leaf(line) => match line.output {
                Output::Field(field) => Node::Leaf(field.needs, field),
                Output::Entries(entries, _) => Node::Entries(entries),
            },
            Shape::Object(parts) => Node::Object(settle_object(parts, within, faults)),
            Shape::Elements(elements) => {
                let gap = elements.iter().enumerate().find(|(expected, (index, _))| expected != *index);
                if let Some((expected, (index, draft))) = gap {
                    let message = format!("`[{index}]`, but no line for `[{expected}]`");
                    faults.push(whole(draft.text, message).with_help("indices begin at 0 and leave none out"));
                }
                Node::Elements(elements.into_values().map(|draft| draft.settle(within, faults)).collect())
            }
            Shape::Each(inner) if within == Within::Request && self.is_per_item => {
                Node::Items(Box::new(inner.settle(Within::Item, faults)))
            }
            Shape::Each(inner) => match inner.settle(within, faults) {
                Node::Entries(entries) => Node::Entries(entries),
                node @ (Node::Leaf(..) | Node::Object(_) | Node::Elements(_) | Node::Items(_) | Node::Wrapped(_)) => {
                    Node::Wrapped(Box::new(node))
                }
            },
        }
    }
}

impl Shape<'_> {
    fn word(&self) -> &'static str {
        match self {
            Shape::Leaf(_) => "a value",
            Shape::Object(_) => "an object",
            Shape::Elements(_) => "an array by index",
            Shape::Each(_) => "an array by `[]`",
        }
    }
}

fn merge_part<'s>(parts: &mut Vec<Part<'s>>, later: Part<'s>, faults: &mut Vec<Fault>) {
    match later {
        Part::Spread(line) => {
            let earlier = parts.iter().find_map(|part| match part {
                Part::Spread(earlier) => Some(earlier.text),
                Part::Named(..) => None,
            });
            match earlier {
                Some(earlier) => faults.push(set_twice(line.text, earlier)),
                None => parts.push(Part::Spread(line)),
            }
        }
        Part::Named(name, draft) => {
            let earlier = parts.iter_mut().find_map(|part| match part {
                Part::Named(earlier, draft) if earlier.meets(&name) => Some((earlier, draft)),
                Part::Named(..) | Part::Spread(_) => None,
            });
            match earlier {
                Some((earlier, inner)) if *earlier == name => inner.merge(draft, faults),
                Some((_, inner)) => faults.push(can_meet(draft.text, inner.text)),
                None => parts.push(Part::Named(name, draft)),
            }
        }
    }
}

fn settle_object(parts: Vec<Part<'_>>, within: Within, faults: &mut Vec<Fault>) -> Object {
    let names: Vec<Name> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Named(name, _) => Some(name.clone()),
            Part::Spread(_) => None,
        })
        .collect();
    let mut members = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Named(name, draft) if !name.is_numbered() => {
                let mut text = String::new();
                name.write(1, |piece| text.push_str(piece));
                members.push(Member::Named(format!("\"{}\":", escaped(&text)).into(), draft.settle(within, faults)));
            }
            Part::Named(name, draft) => {
                let name = name.encoded(escaped);
                let node = draft.settle(Within::Item, faults);
                match (within, members.last_mut()) {
                    (Within::Item, _) => members.push(Member::Numbered(name, node)),
                    (Within::Request, Some(Member::PerItem(run))) => run.push((name, node)),
                    (Within::Request, _) => members.push(Member::PerItem(vec![(name, node)])),
                }
            }
            Part::Spread(line) => match line.output {
                Output::Field(field) => members.push(Member::Spread(Spread { field, taken: names.clone() })),
                Output::Entries(..) => {}
            },
        }
    }
    Object { members }
}

fn set_twice(later: &Text, earlier: &Text) -> Fault {
    let help = if later.value.ends_with("[]") {
        "several elements are `x[0]`, `x[1]` …, or one expression that is a list"
    } else {
        "one line for each field; `??` falls back from one expression to the next"
    };
    let message = if later.value == earlier.value {
        format!("`{}` is set twice", later.value)
    } else {
        format!("`{}` sets the same as `{}`", later.value, earlier.value)
    };
    whole(later, message).with_help(help)
}

fn can_meet(later: &Text, earlier: &Text) -> Fault {
    let message = format!("`{}` and `{}` can be the same name for one of the items", later.value, earlier.value);
    whole(later, message).with_help("one of the two needs another name")
}

/// Compiles the lines of a form or a query.
pub(super) fn flat_lines<'s>(
    lines: impl Iterator<Item = &'s MapLine>,
    constants: &Constants,
    faults: &mut Vec<Fault>,
) -> Vec<Line<'s, FlatTarget>> {
    let mut compiled: Vec<Line<'s, FlatTarget>> = Vec::new();
    for line in lines {
        match flat_line(line, constants) {
            Ok(line) => {
                let is_same = |earlier: &&Line<'s, FlatTarget>| {
                    earlier.target.is_spread == line.target.is_spread && earlier.target.name.meets(&line.target.name)
                };
                match compiled.iter().find(is_same) {
                    Some(earlier) if earlier.target == line.target => faults.push(set_twice(line.text, earlier.text)),
                    Some(earlier) => faults.push(can_meet(line.text, earlier.text)),
                    None => compiled.push(line),
                }
            }
            Err(found) => faults.extend(found),
        }
    }
    compiled
}

fn flat_line<'s>(line: &'s MapLine, constants: &Constants) -> Result<Line<'s, FlatTarget>, Vec<Fault>> {
    let target = FlatTarget::parse(&line.target).map_err(|fault| vec![fault])?;
    let text = match &line.source {
        MapSource::Expr(text) => text,
        MapSource::Entries(_) | MapSource::List(_) => {
            let fault = whole(&line.target, "a form or a query has no lists");
            return Err(vec![
                fault.with_help("write `body = \"json\"`, or one text: `items[].sku | join(',')`, `concat(a, b)`"),
            ]);
        }
    };
    let place = if target.is_for_items() { Place::Item } else { Place::Top };
    let field = field(&line.target.value, text, constants, place)?;
    let is_per_item = place == Place::Item && field.expression.reads_items();
    match (field.expression.out_type(), target.is_spread) {
        (OutType::Json, true) if field.expression.blank().is_some() => {
            return Err(vec![whole(text, "`*` spreads the members of a JSON object, and this is none")]);
        }
        (OutType::Json, true) | (OutType::Text | OutType::Number | OutType::Bool, false) => {}
        (OutType::Json, false) => {
            let fault = whole(text, "JSON of any shape cannot stand in a form or a query");
            return Err(vec![
                fault.with_help("`| string` for a plain value, `| join(',')` for a list, `| json` for JSON text"),
            ]);
        }
        (OutType::Text | OutType::Number | OutType::Bool, true) => {
            return Err(vec![whole(text, "`*` spreads the members of a JSON object, and this is none")]);
        }
    }
    if field.expression.blank() == Some(Blank::Null) {
        let fault = whole(text, "a form or a query has no null");
        return Err(vec![fault.with_help("`?? ''` sends the name with nothing behind it")]);
    }
    if target.name.is_numbered() && !is_per_item {
        return Err(vec![numberless(&line.target)]);
    }
    Ok(Line { text: &line.target, target, output: Output::Field(Box::new(field)), is_per_item })
}

/// The plan of a form or a query; `elsewhere` names parameters that stand there already.
pub(super) fn flat_plan(lines: Vec<Line<'_, FlatTarget>>, escaping: Escaping, elsewhere: &[String]) -> Flat {
    let named = lines.iter().filter(|line| !line.target.is_spread).map(|line| line.target.name.clone());
    let names: Vec<Name> = named.chain(elsewhere.iter().map(|name| Name::of(name))).collect();
    let mut plan = Flat { escaping, steps: Vec::new() };
    for line in lines {
        let Output::Field(field) = line.output else { continue };
        let spread = line.target.is_spread.then(|| Taken { prefix: line.target.name.clone(), names: names.clone() });
        let name = line.target.name.encoded(|text| escaping.of(text)).followed_by("=");
        plan.push(Pair { name, field, spread }, line.is_per_item);
    }
    plan
}
