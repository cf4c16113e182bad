//! What paths name.

use super::{Checked, Checker, Names};
use crate::conversion::nearest;
use crate::conversion::{Kind, Resolved, resolve};
use crate::mapping::filters::did_you_mean;
use crate::mapping::finished::Part;
use crate::mapping::lexer::{At, Segment};
use crate::mapping::program::{MetaField, Node, Step};
use crate::mapping::scope::{Constants, Place, Var, VarType};
use crate::mapping::syntax::write_path;
use crate::mapping::types::{Base, Ty};
use crate::mapping::value::Val;

impl Checker<'_, '_, '_> {
    pub(super) fn path(&mut self, segments: &[Segment], at: At) -> Checked {
        let Some((Segment::Key(root), rest)) = segments.split_first() else { return Checked::faulty(at) };
        if let (Names::Request(_, Place::Signature), []) = (self.names, rest)
            && let Some((_, part)) = Part::ALL.into_iter().find(|(name, _)| *name == &**root)
        {
            self.reads.conversion = true;
            return Checked::new(Node::Finished(part), Ty::of(Base::Text), at);
        }
        match self.names {
            Names::Answer => self.answer(root, rest, at),
            Names::Request(constants, _) | Names::When(constants) => match &**root {
                "vars" => self.var(constants, rest, at),
                "secrets" => self.secret(constants, rest, at),
                "meta" => self.meta(rest, at),
                _ => self.field(segments, at),
            },
        }
    }

    /// The one name that a path of this root has after it.
    fn name<'s>(&mut self, root: &str, rest: &'s [Segment], at: At) -> Option<&'s str> {
        match rest {
            [Segment::Key(name)] => Some(name),
            _ => {
                self.faults.report(at, format!("after `{root}.` comes one name"));
                None
            }
        }
    }

    fn var(&mut self, constants: &Constants, rest: &[Segment], at: At) -> Checked {
        let Some(name) = self.name("vars", rest, at) else { return Checked::faulty(at) };
        let Some((ty, value)) = constants.vars.get(name) else {
            let help = nearest(name, constants.vars.keys().cloned()).map(|near| did_you_mean(format!("vars.{near}")));
            let help = help.unwrap_or_else(|| format!("declare it beside the mapping: vars.{name} = …"));
            self.faults.report_with_help(at, format!("there is no var `{name}`"), help);
            return Checked::faulty(at);
        };
        let ty = Ty::of(match ty {
            VarType::Text => Base::Text,
            VarType::Int => Base::Int,
            VarType::Bool => Base::Bool,
        });
        let value = match value {
            Some(Var::Text(text)) => Val::owned_text(text.clone()),
            Some(Var::Int(int)) => Some(Val::Int(*int)),
            Some(Var::Bool(value)) => Some(Val::Bool(*value)),
            None => None,
        };
        if value.is_none() {
            self.reads.unset.get_or_insert_with(|| format!("vars.{name}"));
        }
        Checked::constant(value, ty, at)
    }

    fn secret(&mut self, constants: &Constants, rest: &[Segment], at: At) -> Checked {
        if matches!(self.names, Names::When(_)) {
            self.faults.report(at, "a condition does not read secrets: it is shown as the reason of a skip");
            return Checked::faulty(at);
        }
        let Some(name) = self.name("secrets", rest, at) else { return Checked::faulty(at) };
        let Some(value) = constants.secrets.get(name) else {
            let near = nearest(name, constants.secrets.keys().cloned());
            let help = near.map(|near| did_you_mean(format!("secrets.{near}")));
            let help =
                help.unwrap_or_else(|| format!("declare it beside the mapping: secrets.{name} = \"${{env:…}}\""));
            self.faults.report_with_help(at, format!("there is no secret `{name}`"), help);
            return Checked::faulty(at);
        };
        let node = match value {
            Some(secret) if !secret.reveal().is_empty() => Node::Secret(secret.clone()),
            _ => {
                self.reads.unset.get_or_insert_with(|| format!("secrets.{name}"));
                Node::Absent
            }
        };
        Checked { secret: true, constant: true, ..Checked::new(node, Ty::of(Base::Text), at) }
    }

    fn meta(&mut self, rest: &[Segment], at: At) -> Checked {
        let Some(name) = self.name("meta", rest, at) else { return Checked::faulty(at) };
        let Some((_, field)) = MetaField::ALL.into_iter().find(|(known, _)| *known == name) else {
            let known = MetaField::ALL.into_iter().map(|(known, _)| known);
            let help = nearest(name, known.clone().map(str::to_owned)).map(|near| did_you_mean(format!("meta.{near}")));
            let help = help.unwrap_or_else(|| format!("there are {}", known.collect::<Vec<_>>().join(", ")));
            self.faults.report_with_help(at, format!("there is no `meta.{name}`"), help);
            return Checked::faulty(at);
        };
        self.reads.conversion = true;
        let base = if field == MetaField::ReceivedAt { Base::Timestamp } else { Base::Text };
        Checked::new(Node::Meta(field), Ty::of(base), at)
    }

    /// A canonical path.
    fn field(&mut self, segments: &[Segment], at: At) -> Checked {
        let (segments, each) = match segments {
            [Segment::Key(root), Segment::All, rest @ ..] if &**root == "items" => {
                let mut path = vec![Segment::Key("item".into())];
                path.extend_from_slice(rest);
                (path, true)
            }
            other => (other.to_vec(), false),
        };
        // Free JSON is entered by names that the schema does not know, and by numbers.
        let free = match segments.as_slice() {
            [Segment::Key(root), rest @ ..] if &**root == "custom" => Some((false, rest)),
            [Segment::Key(root), Segment::Key(name), rest @ ..] if &**root == "item" && &**name == "custom" => {
                Some((true, rest))
            }
            _ => None,
        };
        let (node, ty, kind) = match free {
            Some((of_item, rest)) => match self.steps(rest, at) {
                Some(steps) if of_item => (Node::ItemCustom(steps), Ty::of(Base::Json), None),
                Some(steps) => (Node::Custom(steps), Ty::of(Base::Json), None),
                None => return Checked::faulty(at),
            },
            None => match self.resolved(&segments, at) {
                Some(resolved) => resolved,
                None => return Checked::faulty(at),
            },
        };
        if node.is_of_item() && !each && !self.item_is_at_hand() {
            let help = "`item.` stands in a field that loops over the items, as \"x[].y\" or \"X{i}\", or in each(…); \
                        `items[].sku` is the list of all";
            self.faults.report_with_help(at, "there is no one item here", help);
            return Checked::faulty(at);
        }
        self.reads.conversion = true;
        self.reads.item |= node.is_of_item() && !each;
        let words = match kind {
            Some(Kind::Enum(words)) => Some(words),
            _ => None,
        };
        if each {
            let ty = Ty::list(ty.base);
            return Checked { words, ..Checked::new(Node::Items(Box::new(node)), ty, at) };
        }
        Checked { words, ..Checked::new(node, ty, at) }
    }

    pub(super) fn item_is_at_hand(&self) -> bool {
        match self.names {
            Names::Request(_, place) => place.has_item() || self.is_in_each,
            Names::When(_) | Names::Answer => self.is_in_each,
        }
    }

    fn resolved(&mut self, segments: &[Segment], at: At) -> Option<(Node, Ty, Option<Kind>)> {
        let mut path = String::new();
        // Writing to a String cannot fail.
        let _written = write_path(&mut path, segments);
        let text = Ty::of(Base::Text);
        match resolve(&path) {
            Ok(Resolved::Field(slot)) => {
                Some((Node::Field(slot), Ty::of_field(slot.field().kind), Some(slot.field().kind)))
            }
            Ok(Resolved::ItemField(slot)) => {
                Some((Node::ItemField(slot), Ty::of_field(slot.field().kind), Some(slot.field().kind)))
            }
            Ok(Resolved::ClickId(network)) => Some((Node::ClickId(network.into()), text, None)),
            Ok(Resolved::Custom(names)) => Some((Node::Custom(keys(names)), Ty::of(Base::Json), None)),
            Ok(Resolved::ItemCustom(names)) => Some((Node::ItemCustom(keys(names)), Ty::of(Base::Json), None)),
            Err(near) => {
                let mut help = meant(segments).or(near.map(did_you_mean));
                if help.is_none() {
                    let roots = ["vars", "secrets", "meta"].map(str::to_owned);
                    help = nearest(path.split('.').next().unwrap_or(&path), roots.into_iter()).map(did_you_mean);
                }
                if let (None, Names::Request(_, Place::Signature)) = (&help, self.names) {
                    help = nearest(&path, Part::ALL.map(|(name, _)| name.to_owned()).into_iter()).map(did_you_mean);
                }
                let help = help.unwrap_or_else(|| match segments {
                    [_] => format!("a text is written '{path}' in quotes; free data of the merchant's is custom.a.b"),
                    _ => "free data of the merchant's is reached as custom.a.b".to_owned(),
                });
                self.faults.report_with_help(at, format!("there is no field `{path}`"), help);
                None
            }
        }
    }

    fn answer(&mut self, root: &str, rest: &[Segment], at: At) -> Checked {
        match root {
            "status" if rest.is_empty() => Checked::new(Node::Status, Ty::of(Base::Int), at),
            "header" => {
                let Some(name) = self.name("header", rest, at) else { return Checked::faulty(at) };
                match http::HeaderName::from_bytes(name.as_bytes()) {
                    Ok(name) => Checked::new(Node::Header(name), Ty::of(Base::Text), at),
                    Err(_) => {
                        self.faults.report(at, "no header field can have this name");
                        Checked::faulty(at)
                    }
                }
            }
            "body" if rest.is_empty() => {
                self.reads.body = true;
                Checked::new(Node::Body, Ty::of(Base::Text), at)
            }
            "body" => {
                self.reads.body = true;
                match self.steps(rest, at) {
                    Some(steps) => Checked::new(Node::BodyJson(steps), Ty::of(Base::Json), at),
                    None => Checked::faulty(at),
                }
            }
            _ => {
                let known = ["status", "header", "body"].map(str::to_owned);
                let help = nearest(root, known.into_iter()).map(did_you_mean);
                let help =
                    help.unwrap_or_else(|| "as status == 200, header.x-request-id, body.status, body".to_owned());
                self.faults.report_with_help(at, "an answer has `status`, `header.<name>` and `body`", help);
                Checked::faulty(at)
            }
        }
    }

    fn steps(&mut self, segments: &[Segment], at: At) -> Option<Box<[Step]>> {
        let steps = segments.iter().map(|segment| match segment {
            Segment::Key(key) => Some(Step::Key(key.clone())),
            Segment::Index(index) => Some(Step::Index(*index)),
            Segment::All => None,
        });
        let steps: Option<Box<[Step]>> = steps.collect();
        if steps.is_none() {
            self.faults.report(at, "only `items[]` stands for all of a list; an entry of free JSON is [0], [1], …");
        }
        steps
    }
}

/// What is meant by a path where its name alone would lead astray.
fn meant(segments: &[Segment]) -> Option<String> {
    match segments {
        [Segment::Key(word)] => {
            let word = ["true", "false", "null"].into_iter().find(|known| word.eq_ignore_ascii_case(known));
            word.map(did_you_mean)
        }
        [Segment::Key(items), Segment::Index(index), rest @ ..] if &**items == "items" && !rest.is_empty() => {
            let list = written(&[&[Segment::Key("items".into()), Segment::All], rest].concat());
            Some(format!("one entry of a list is taken by a filter: `{list} | nth({index})`"))
        }
        [Segment::Key(root), rest @ ..] if !rest.is_empty() => {
            let free = nearest(root, ROOTS.into_iter()) == Some("custom") && &**root != "custom";
            free.then(|| did_you_mean(written(&[&[Segment::Key("custom".into())], rest].concat())))
        }
        _ => None,
    }
}

fn written(path: &[Segment]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _written = write_path(&mut text, path);
    text
}

/// Free data, and what is spelt like it.
const ROOTS: [&str; 2] = ["custom", "customer"];

fn keys(names: Vec<String>) -> Box<[Step]> {
    names.into_iter().map(|name| Step::Key(name.into())).collect()
}
