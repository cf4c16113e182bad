//! What is known of a value that should be a digest: whether it leaves as the hash made it, was changed afterwards, or
//! shows only when it is there.

use super::content;
use crate::conversion::Kind;
use crate::mapping::ops::{Coding, Edit, List, Op};
use crate::mapping::program::{Call, Node};
use crate::mapping::value::Val;

/// One of the things that a value can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mapping) enum Form {
    /// As a hash makes it, or the schema holds it to.
    Digest { chars: usize, coding: Coding },
    /// A digest once, of which some signs were replaced: by those of another alphabet, or by anything.
    Respelled { chars: usize, coding: Coding },
    /// A digest once, and something else now.
    Altered,
    /// This word, written out.
    Word(String),
    /// Whatever the conversion has.
    Unseen,
}

impl Form {
    /// Whether only a conversion shows if it is a digest.
    pub(in crate::mapping) fn shows_late(&self) -> bool {
        matches!(self, Form::Respelled { .. } | Form::Unseen)
    }
}

/// Everything that it can be.
pub(in crate::mapping) fn forms(node: &Node) -> Vec<Form> {
    match node {
        Node::Absent => Vec::new(),
        Node::Field(slot) | Node::ItemField(slot) => match slot.field().kind {
            Kind::Digest { chars } => vec![Form::Digest { chars, coding: Coding::Hex }],
            Kind::Text { .. }
            | Kind::Lines { .. }
            | Kind::Enum(_)
            | Kind::Currency
            | Kind::Country
            | Kind::Email
            | Kind::Ip
            | Kind::Url
            | Kind::Uuid
            | Kind::Int
            | Kind::Money
            | Kind::Bool
            | Kind::Timestamp
            | Kind::Date
            | Kind::TextMap
            | Kind::Json => vec![Form::Unseen],
        },
        Node::Const(value) => vec![word(value)],
        Node::First(parts) => parts.iter().flat_map(forms).collect(),
        Node::Items(entry) | Node::Each(entry) => forms(entry),
        Node::Concat(parts) => {
            let hashed = |form: Form| matches!(form, Form::Digest { .. } | Form::Respelled { .. } | Form::Altered);
            vec![if parts.iter().flat_map(forms).any(hashed) { Form::Altered } else { Form::Unseen }]
        }
        Node::Pipe(input, calls) => calls.iter().fold(forms(input), after),
        Node::Secret(_)
        | Node::ClickId(_)
        | Node::Custom(_)
        | Node::ItemCustom(_)
        | Node::Arithmetic(..)
        | Node::Meta(_)
        | Node::Status
        | Node::Header(_)
        | Node::Body
        | Node::BodyJson(_)
        | Node::Finished(_) => vec![Form::Unseen],
    }
}

/// How the hashes in it are written; hex where it has none.
pub(in crate::mapping) fn codings(forms: &[Form]) -> Vec<Coding> {
    let mut codings = Vec::new();
    for form in forms {
        if let Form::Digest { coding, .. } | Form::Respelled { coding, .. } = form
            && !codings.contains(coding)
        {
            codings.push(*coding);
        }
    }
    if codings.is_empty() { vec![Coding::Hex] } else { codings }
}

/// Only what is a text is known by its text: `1 | json` is no `"1"`.
fn word(value: &Val<'static>) -> Form {
    if let Val::Text(text) = value { Form::Word(text.clone().into_owned()) } else { Form::Unseen }
}

fn after(mut forms: Vec<Form>, call: &Call) -> Vec<Form> {
    let op = &call.op;
    if let Op::Hash(algorithm, coding) | Op::Hmac(algorithm, _, coding) = op {
        return vec![Form::Digest { chars: algorithm.chars(*coding), coding: *coding }];
    }
    if let Op::Lookup(members) = op {
        return members.iter().map(|(_, value)| word(value)).collect();
    }
    if let Op::Spell(both) = op {
        return both.iter().map(word).filter(|form| *form != Form::Word(String::new())).collect();
    }
    if let Op::Default(value) = op {
        forms.push(word(value));
        return forms;
    }
    forms.into_iter().map(|form| changed(form, call)).collect()
}

fn changed(form: Form, call: &Call) -> Form {
    let op = &call.op;
    match form {
        Form::Digest { chars, coding } | Form::Respelled { chars, coding } if alters(op, chars, coding) => {
            Form::Altered
        }
        Form::Digest { chars, coding } if matches!(op, Op::Replace(..) | Op::Edit(Edit::ReplaceAll(..))) => {
            Form::Respelled { chars, coding }
        }
        // A word with a secret in it is not known here.
        Form::Word(_) if call.secret => Form::Unseen,
        Form::Word(text) => {
            let made = content::applied(op, Val::Text(text.into()));
            if let Some(Val::Text(text)) = made { Form::Word(text.into_owned()) } else { Form::Unseen }
        }
        Form::Digest { .. } | Form::Respelled { .. } | Form::Altered | Form::Unseen => form,
    }
}

/// Whether a filter makes something else of a digest. In base64 signs and padding may be exchanged for those of another
/// alphabet, and each request is held to that; escaped they are no longer base64.
fn alters(op: &Op, chars: usize, coding: Coding) -> bool {
    let is_hex = coding == Coding::Hex;
    if let Op::Truncate(most) | Op::Edit(Edit::TruncateBytes(most)) = op {
        return *most < chars;
    }
    if let Op::Edit(Edit::Pad(_, least, _)) = op {
        return *least > chars;
    }
    if matches!(op, Op::Lower | Op::Edit(Edit::Alphanumeric | Edit::UrlEncode)) {
        return !is_hex;
    }
    if matches!(op, Op::Replace(..) | Op::Edit(Edit::ReplaceAll(..))) {
        return is_hex;
    }
    !matches!(op, Op::Text | Op::Trim | Op::List(List::Nth(_)))
}
