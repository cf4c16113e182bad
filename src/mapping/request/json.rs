//! The JSON body: a tree of nodes with expressions at its leaves, written straight to bytes.
//!
//! What turns out to be empty is taken back by shortening the buffer, so nothing is built but the body itself.

use std::io::Write as _;
use std::sync::Arc;

use super::super::Out;
use super::Refusal;
use super::field::{At, Field, Run, items};
use super::omission::Rival;
use super::target::Name;
use crate::conversion::{Json, Rows, needs_no_escape};

/// A place in the body.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// What the field needs, and the field.
    Leaf(Rows, Box<Field>),
    Object(Object),
    /// Elements by index; what is absent is left out.
    Elements(Vec<Node>),
    /// `[]` over the items; an item that gives nothing has no element.
    Items(Box<Node>),
    /// `[]` around one value; a value that is an array already stands as it is.
    Wrapped(Box<Node>),
    Entries(Entries),
}

/// An object: members in the order of the map's lines.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) members: Vec<Member>,
}

#[derive(Debug, Clone)]
pub(super) enum Member {
    /// The name as it is written: quoted, escaped, with its colon.
    Named(Box<str>, Node),
    /// Names with the number of the item that the object itself is made for.
    Numbered(Name, Node),
    /// Neighbouring names with numbers: all of the first item, then all of the second …
    PerItem(Vec<(Name, Node)>),
    Spread(Spread),
}

/// `"*"`: the members of an object, except those that the map names.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    pub(super) field: Box<Field>,
    pub(super) taken: Vec<Name>,
}

/// A list of inline tables, of which an entry stands only if all its parts are present; or of single values.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    pub(super) column: Option<usize>,
    /// It is left out where one of these stands.
    pub(super) unless: Vec<Arc<Rival>>,
    pub(super) entries: Vec<Node>,
}

/// What came of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrote {
    Nothing,
    /// Only what every item would have.
    Common,
    /// Something of the item.
    OfItem,
}

impl Wrote {
    fn by(field: &Field) -> Wrote {
        if field.expression.reads_items() { Wrote::OfItem } else { Wrote::Common }
    }
}

impl Node {
    /// Appends the whole body: an empty object or array stands only here.
    pub(super) fn write_body<'a>(&'a self, run: &mut Run<'a>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.write(run, None, out)? == Wrote::Nothing {
            let is_array = matches!(self, Node::Elements(_) | Node::Items(_) | Node::Wrapped(_) | Node::Entries(_));
            out.extend_from_slice(if is_array { b"[]" } else { b"{}" });
        }
        Ok(())
    }

    /// Appends the node's value; of [`Wrote::Nothing`] nothing is left in `out`.
    fn write<'a>(&'a self, run: &mut Run<'a>, at: Option<At<'a>>, out: &mut Vec<u8>) -> Result<Wrote, Refusal> {
        match self {
            Node::Leaf(_, field) => write_field(field, run, at, out),
            Node::Object(object) => object.write(run, at, out),
            Node::Elements(nodes) => {
                let mut list = List::open(b"[", out);
                for node in nodes {
                    list.add(|out| node.write(run, at, out))?;
                }
                Ok(list.close(b"]"))
            }
            Node::Items(node) => {
                let mut list = List::open(b"[", out);
                for at in items(run.scope) {
                    list.add(|out| node.write(run, Some(at), out).map(only_of_item))?;
                }
                Ok(list.close(b"]"))
            }
            Node::Wrapped(node) => write_wrapped(node, run, at, out),
            Node::Entries(entries) => entries.write(run, at, out),
        }
    }
}

impl Node {
    /// Every field in it.
    fn gather<'n>(&'n self, fields: &mut Vec<&'n Field>) {
        match self {
            Node::Leaf(_, field) => fields.push(field),
            Node::Object(object) => object.members.iter().for_each(|member| member.gather(fields)),
            Node::Elements(nodes) => nodes.iter().for_each(|node| node.gather(fields)),
            Node::Items(node) | Node::Wrapped(node) => node.gather(fields),
            Node::Entries(entries) => entries.entries.iter().for_each(|node| node.gather(fields)),
        }
    }

    fn each_field(&mut self, visit: &mut impl FnMut(&mut Field)) {
        match self {
            Node::Leaf(_, field) => visit(field),
            Node::Object(object) => object.members.iter_mut().for_each(|member| member.each_field(visit)),
            Node::Elements(nodes) => nodes.iter_mut().for_each(|node| node.each_field(visit)),
            Node::Items(node) | Node::Wrapped(node) => node.each_field(visit),
            Node::Entries(entries) => entries.each_field(visit),
        }
    }
}

impl Member {
    fn gather<'n>(&'n self, fields: &mut Vec<&'n Field>) {
        match self {
            Member::Named(_, node) | Member::Numbered(_, node) => node.gather(fields),
            Member::PerItem(members) => members.iter().for_each(|(_, node)| node.gather(fields)),
            Member::Spread(spread) => fields.push(&spread.field),
        }
    }

    fn each_field(&mut self, visit: &mut impl FnMut(&mut Field)) {
        match self {
            Member::Named(_, node) | Member::Numbered(_, node) => node.each_field(visit),
            Member::PerItem(members) => members.iter_mut().for_each(|(_, node)| node.each_field(visit)),
            Member::Spread(spread) => visit(&mut spread.field),
        }
    }
}

impl Object {
    fn write<'a>(&'a self, run: &mut Run<'a>, at: Option<At<'a>>, out: &mut Vec<u8>) -> Result<Wrote, Refusal> {
        let mut list = List::open(b"{", out);
        for member in &self.members {
            match member {
                Member::Named(_, Node::Leaf(needs, _)) if !run.has_one_of(*needs, at) => {}
                Member::Named(name, node) => list.add(|out| {
                    out.extend_from_slice(name.as_bytes());
                    node.write(run, at, out)
                })?,
                Member::Numbered(name, node) => list.add(|out| write_numbered(name, node, run, at, out))?,
                Member::PerItem(members) => {
                    for at in items(run.scope) {
                        write_of_item(members, run, at, &mut list)?;
                    }
                }
                Member::Spread(spread) => spread.write(run, at, &mut list)?,
            }
        }
        Ok(list.close(b"}"))
    }
}

impl Spread {
    fn write<'a>(&'a self, run: &mut Run<'a>, at: Option<At<'a>>, list: &mut List<'_>) -> Result<(), Refusal> {
        let wrote = Wrote::by(&self.field);
        let spread = self.field.with(run, at, |value| {
            let mut free = members(value, &self.field, at)?.filter(|(name, _)| !self.is_taken(name));
            free.try_for_each(|(name, value)| {
                list.add(|out| {
                    write_text(name, &self.field, out)?;
                    out.push(b':');
                    value.write(out);
                    Ok(wrote)
                })
            })
        });
        spread.map(drop)
    }

    /// Whether the map gives that name.
    fn is_taken(&self, name: &str) -> bool {
        self.taken.iter().any(|taken| taken.can_be(name))
    }
}

impl Entries {
    /// The fields of each entry.
    pub(super) fn fields(&self) -> impl Iterator<Item = Vec<&Field>> {
        self.entries.iter().map(|entry| {
            let mut fields = Vec::new();
            entry.gather(&mut fields);
            fields
        })
    }

    /// Every field of it.
    pub(super) fn each_field(&mut self, visit: &mut impl FnMut(&mut Field)) {
        self.entries.iter_mut().for_each(|entry| entry.each_field(visit));
    }

    fn write<'a>(&'a self, run: &mut Run<'a>, at: Option<At<'a>>, out: &mut Vec<u8>) -> Result<Wrote, Refusal> {
        if self.unless.iter().any(|rival| rival.stands(run.scope, run.secrets, at)) {
            return Ok(Wrote::Nothing);
        }
        let mut list = List::open(b"[", out);
        for entry in &self.entries {
            list.add(|out| {
                let absent_before = run.absent;
                let wrote = entry.write(run, at, out)?;
                Ok(if run.absent == absent_before { wrote } else { Wrote::Nothing })
            })?;
        }
        let wrote = list.close(b"]");
        if wrote != Wrote::Nothing {
            run.seen.note(at.map_or(0, |at| at.number), self.column);
        }
        Ok(wrote)
    }
}

/// The members that a spread writes: those with a value, as everywhere (no `null`, no empty text, array or object).
pub(super) fn members<'j>(
    value: Out<'j>,
    field: &Field,
    at: Option<At<'_>>,
) -> Result<impl Iterator<Item = (&'j str, &'j Json)> + use<'j>, Refusal> {
    let Out::Json(json) = value else { return Err(field.refuse(NO_OBJECT, at)) };
    let Json::Object(members) = json else { return Err(field.refuse(NO_OBJECT, at)) };
    Ok(members.iter().filter(|(_, value)| !is_empty(value)).map(|(name, value)| (&**name, value)))
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(_) | Json::Number(_) => false,
        Json::Text(text) => text.is_empty(),
        Json::Array(elements) => elements.is_empty(),
        Json::Object(members) => members.is_empty(),
    }
}

const NO_OBJECT: &str = "`*` spreads an object's members, and this is no object";

/// A container being written.
struct List<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    wrote: Wrote,
}

impl<'o> List<'o> {
    fn open(bracket: &[u8; 1], out: &'o mut Vec<u8>) -> List<'o> {
        let start = out.len();
        out.extend_from_slice(bracket);
        List { out, start, wrote: Wrote::Nothing }
    }

    /// One more element, unless nothing comes of it.
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<Wrote, Refusal>) -> Result<(), Refusal> {
        let before = self.out.len();
        if self.wrote != Wrote::Nothing {
            self.out.push(b',');
        }
        let wrote = write(self.out)?;
        if wrote == Wrote::Nothing {
            self.out.truncate(before);
        }
        self.wrote = self.wrote.max(wrote);
        Ok(())
    }

    fn close(self, bracket: &[u8; 1]) -> Wrote {
        match self.wrote {
            Wrote::Nothing => self.out.truncate(self.start),
            Wrote::Common | Wrote::OfItem => self.out.extend_from_slice(bracket),
        }
        self.wrote
    }
}

/// What stands for an item, stands only if something of the item is in it.
fn only_of_item(wrote: Wrote) -> Wrote {
    match wrote {
        Wrote::Nothing | Wrote::Common => Wrote::Nothing,
        Wrote::OfItem => Wrote::OfItem,
    }
}

fn write_of_item<'a>(
    members: &'a [(Name, Node)],
    run: &mut Run<'a>,
    at: At<'a>,
    list: &mut List<'_>,
) -> Result<(), Refusal> {
    members
        .iter()
        .try_for_each(|(name, node)| list.add(|out| write_numbered(name, node, run, Some(at), out).map(only_of_item)))
}

fn write_numbered<'a>(
    name: &Name,
    node: &'a Node,
    run: &mut Run<'a>,
    at: Option<At<'a>>,
    out: &mut Vec<u8>,
) -> Result<Wrote, Refusal> {
    out.push(b'"');
    name.write(at.map_or(1, |at| at.number), |text| out.extend_from_slice(text.as_bytes()));
    out.extend_from_slice(b"\":");
    node.write(run, at, out)
}

fn write_wrapped<'a>(
    node: &'a Node,
    run: &mut Run<'a>,
    at: Option<At<'a>>,
    out: &mut Vec<u8>,
) -> Result<Wrote, Refusal> {
    let mut list = List::open(b"[", out);
    let Node::Leaf(_, field) = node else {
        list.add(|out| node.write(run, at, out))?;
        return Ok(list.close(b"]"));
    };
    let wrote = Wrote::by(field);
    field.with(run, at, |value| match elements(value) {
        Some(elements) => elements.iter().try_for_each(|element| {
            list.add(|out| {
                element.write(out);
                Ok(wrote)
            })
        }),
        None => list.add(|out| write_value(value, field, out).map(|()| wrote)),
    })?;
    Ok(list.close(b"]"))
}

fn elements(value: Out<'_>) -> Option<&[Json]> {
    match value {
        Out::Json(json) => match json {
            Json::Array(elements) => Some(elements),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Object(_) => None,
        },
        Out::Text(_) | Out::Number(_) | Out::Amount(_) | Out::Int(_) | Out::Bool(_) => None,
    }
}

fn write_field<'a>(
    field: &'a Field,
    run: &mut Run<'a>,
    at: Option<At<'a>>,
    out: &mut Vec<u8>,
) -> Result<Wrote, Refusal> {
    let is_there = field.with(run, at, |value| write_value(value, field, out))?;
    Ok(if is_there { Wrote::by(field) } else { Wrote::Nothing })
}

fn write_value(value: Out<'_>, field: &Field, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match value {
        Out::Text(text) => write_text(text, field, out)?,
        Out::Number(token) => out.extend_from_slice(token.as_bytes()),
        Out::Amount(amount) => out.extend_from_slice(amount.text().as_str().as_bytes()),
        Out::Int(int) => return write!(out, "{int}").map_err(|error| field.refuse(&error.to_string(), None)),
        Out::Bool(true) => out.extend_from_slice(b"true"),
        Out::Bool(false) => out.extend_from_slice(b"false"),
        Out::Json(json) => json.write(out),
    }
    Ok(())
}

fn write_text(text: &str, field: &Field, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if needs_no_escape(text) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return Ok(());
    }
    serde_json::to_writer(out, text).map_err(|error| field.refuse(&error.to_string(), None))
}

/// `text` as it stands inside a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}
