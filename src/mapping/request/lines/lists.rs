//! Lines whose value is a list: of expressions, or of inline tables.

use super::super::json::{Entries, Node};
use super::super::target::Target;
use super::{EntryReads, Line, Output, Within, field, is_unnumbered, json_node, whole};
use crate::mapping::{Constants, Fault, Place, Text};

/// An array whose entries are single values.
pub(super) fn part_list(
    target: &Text,
    parts: &[Text],
    constants: &Constants,
    place: Place,
) -> Result<Output, Vec<Fault>> {
    let (mut faults, mut nodes, mut reads) = (Vec::new(), Vec::new(), EntryReads::NoItems);
    for (index, text) in parts.iter().enumerate() {
        match field(&format!("{}[{index}]", target.value), text, constants, place) {
            Ok(field) => {
                if field.expression.reads_items() {
                    reads = EntryReads::Items;
                }
                nodes.push(Node::Leaf(field.needs, Box::new(field)));
            }
            Err(found) => faults.extend(found),
        }
    }
    if parts.is_empty() {
        faults.push(whole(target, "a list with nothing in it").with_help("leave the line out"));
    }
    if faults.is_empty() {
        Ok(Output::Entries(Entries { column: None, unless: Vec::new(), entries: nodes }, reads))
    } else {
        Err(faults)
    }
}

/// An array of objects, an entry only if all its parts are present.
pub(super) fn entry_list(
    target: &Text,
    entries: &[Vec<(Text, Text)>],
    constants: &Constants,
    place: Place,
) -> Result<Output, Vec<Fault>> {
    if entries.is_empty() || entries.iter().any(Vec::is_empty) {
        return Err(vec![whole(target, "a list with nothing in it")]);
    }
    let (mut faults, mut nodes, mut reads) = (Vec::new(), Vec::new(), EntryReads::NoItems);
    for entry in entries {
        let mut lines = Vec::new();
        for (key, text) in entry {
            let name = format!("{}.{}", target.value, key.value);
            let parsed = Target::parse(key).map_err(|fault| vec![fault]);
            match parsed.and_then(|parsed| Ok((parsed, field(&name, text, constants, place)?))) {
                Ok((target, field)) => {
                    let is_per_item = place == Place::Item;
                    lines.push(Line { text: key, target, output: Output::Field(Box::new(field)), is_per_item });
                }
                Err(found) => faults.extend(found),
            }
        }
        if lines.iter().any(|line| line.output.reads_items()) {
            reads = EntryReads::Items;
        }
        faults.extend(lines.iter().filter(|line| line.target.is_spread || is_unnumbered(line)).map(|line| {
            whole(line.text, "a key of a list's table is a plain name").with_help("write `id`, `user.id` or `em[]`")
        }));
        nodes.push(json_node(lines, Within::Item, &mut faults));
    }
    if faults.is_empty() {
        Ok(Output::Entries(Entries { column: None, unless: Vec::new(), entries: nodes }, reads))
    } else {
        Err(faults)
    }
}
