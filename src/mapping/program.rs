//! A compiled value: a compact tree over the slots of the schema, and its evaluation.
//!
//! Names are resolved, filters are made and constants are folded before it exists, so evaluating looks nothing up by name
//! but free JSON, borrows what it can, and recurses no deeper than the parser lets expressions nest.

use std::borrow::Cow;

use super::answer::Answer;
use super::finished::{Finished, Part};
use super::ops::{self, Op};
use super::scope::{MASK, Scope, Secret, Secrets};
use super::syntax::Arithmetic;
use super::value::{Evaluated, Held, Val};
use crate::conversion::{Item, Json, Rows, Slot};

#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Never a value: an unset var.
    Absent,
    Const(Val<'static>),
    Secret(Secret),
    Field(Slot),
    ItemField(Slot),
    ClickId(Box<str>),
    Custom(Box<[Step]>),
    ItemCustom(Box<[Step]>),
    /// `items[].…`: one of the two above, of each item.
    Items(Box<Node>),
    Meta(MetaField),
    /// An answer's status.
    Status,
    Header(http::HeaderName),
    /// An answer's body as text.
    Body,
    BodyJson(Box<[Step]>),
    /// A part of the finished request.
    Finished(Part),
    Concat(Box<[Node]>),
    Arithmetic(Arithmetic, Box<[Node]>),
    /// Its value of every item.
    Each(Box<Node>),
    First(Box<[Node]>),
    Pipe(Box<Node>, Box<[Call]>),
}

/// One step into free JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(Box<str>),
    /// Counted from 0.
    Index(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetaField {
    Id,
    Merchant,
    IdempotencyKey,
    DedupKey,
    ReceivedAt,
    TraceParent,
}

/// One filter of a pipe.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) op: Op,
    /// Takes a list as a whole; otherwise each of its entries.
    pub(super) whole_lists: bool,
    /// Its input is a list where it is anything.
    pub(super) of_list: bool,
    /// Its input or an argument is a secret: the result is shown as `***`.
    pub(super) secret: bool,
}

/// What one evaluation reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Conversion(Scope<'a>, Option<&'a Item>),
    Answer(&'a Answer),
    /// For what is signed.
    Finished(Scope<'a>, Finished<'a>),
    /// For constants.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) source: Source<'a>,
    pub(super) secrets: Secrets,
}

impl<'a> Context<'a> {
    fn scope(&self) -> Option<Scope<'a>> {
        match self.source {
            Source::Conversion(scope, _) | Source::Finished(scope, _) => Some(scope),
            Source::Answer(_) | Source::Nothing => None,
        }
    }

    fn item(&self) -> Option<&'a Item> {
        match self.source {
            Source::Conversion(_, item) => item,
            Source::Answer(_) | Source::Finished(..) | Source::Nothing => None,
        }
    }

    fn answer(&self) -> Option<&'a Answer> {
        match self.source {
            Source::Answer(answer) => Some(answer),
            Source::Conversion(..) | Source::Finished(..) | Source::Nothing => None,
        }
    }

    fn finished(&self) -> Option<Finished<'a>> {
        match self.source {
            Source::Finished(_, finished) => Some(finished),
            Source::Conversion(..) | Source::Answer(_) | Source::Nothing => None,
        }
    }
}

impl Node {
    pub(super) fn eval<'a>(&'a self, context: &Context<'a>) -> Evaluated<'a> {
        if let Node::Pipe(input, calls) = self {
            return piped(input, calls, context);
        }
        if let Node::Concat(parts) = self {
            return concat(parts, context);
        }
        if let Node::Arithmetic(operation, parts) = self {
            let parts = parts.iter().map(|part| part.eval(context)).collect::<Result<Option<Vec<Val<'a>>>, _>>()?;
            return parts.map_or(Ok(None), |parts| ops::compute(*operation, &parts));
        }
        if let Node::Each(entry) = self {
            return each(entry, context);
        }
        if let Node::First(parts) = self {
            return first(parts, context);
        }
        Ok(self.read(context))
    }

    /// The value of a leaf.
    fn read<'a>(&'a self, context: &Context<'a>) -> Option<Val<'a>> {
        match self {
            Node::Const(value) => Some(value.borrowed()),
            Node::Secret(secret) => match context.secrets {
                Secrets::Revealed => Val::text(secret.reveal()),
                Secrets::Masked => Val::text(MASK),
            },
            Node::Field(slot) => context.scope()?.conversion.value(*slot).and_then(Val::of),
            Node::ItemField(slot) => context.item()?.value(*slot).and_then(Val::of),
            Node::ClickId(network) => context.scope()?.conversion.click_id(network).and_then(Val::text),
            Node::Custom(steps) => {
                walk(context.scope()?.conversion.custom()?, steps, Json::member).and_then(Val::of_json)
            }
            Node::ItemCustom(steps) => walk(context.item()?.custom()?, steps, Json::member).and_then(Val::of_json),
            Node::Items(entry) => of_items(entry, context),
            Node::Meta(field) => field.read(context.scope()?),
            Node::Status => Some(Val::Int(i64::from(context.answer()?.status().as_u16()))),
            Node::Header(name) => {
                let value = context.answer()?.headers().get(name)?;
                std::str::from_utf8(value.as_bytes()).ok().and_then(Val::text)
            }
            Node::Body => Val::of_text(String::from_utf8_lossy(context.answer()?.body())),
            Node::BodyJson(steps) => walk(context.answer()?.json()?, steps, member_of_any_case).and_then(Val::of_json),
            // The one text that may be empty: a request without a body is signed as such.
            Node::Finished(part) => Some(Val::Text(Cow::Borrowed(context.finished()?.part(*part)))),
            Node::Absent | Node::Concat(_) | Node::Arithmetic(..) | Node::Each(_) | Node::First(_) | Node::Pipe(..) => {
                None
            }
        }
    }

    /// With one more filter after it. What is absent stays so, unless the filter is for that.
    pub(super) fn piped(self, call: Call) -> Node {
        if let Node::Pipe(head, calls) = self {
            let mut calls = calls.into_vec();
            calls.push(call);
            return Node::Pipe(head, calls.into());
        }
        if matches!(self, Node::Absent) && !call.stands_for_nothing() {
            return Node::Absent;
        }
        Node::Pipe(Box::new(self), Box::new([call]))
    }

    /// Rows of which one must have a value for this to have one; every row where that is not known.
    pub(super) fn needs(&self) -> Rows {
        if let Node::Field(slot) | Node::ItemField(slot) = self {
            Rows::of(*slot)
        } else if let Node::ClickId(_) = self {
            Rows::at("click_ids.*")
        } else if let Node::Custom(_) = self {
            Rows::at("custom")
        } else if let Node::ItemCustom(_) = self {
            Rows::at("items[].custom")
        } else if let Node::First(parts) = self {
            parts.iter().map(Node::needs).fold(Rows::NONE, Rows::and)
        } else if let Node::Pipe(input, calls) = self
            && !calls.iter().any(Call::stands_for_nothing)
        {
            input.needs()
        } else {
            Rows::ALL
        }
    }

    /// The field that it is, or the fields of which it is the first that is there; none where something is computed.
    pub(super) fn stored(&self) -> Option<Vec<Slot>> {
        if let Node::Field(slot) | Node::ItemField(slot) = self {
            Some(vec![*slot])
        } else if let Node::First(parts) = self {
            parts.iter().map(Node::stored).collect::<Option<Vec<_>>>().map(|slots| slots.concat())
        } else {
            None
        }
    }

    /// A field of one item.
    pub(super) fn is_of_item(&self) -> bool {
        matches!(self, Node::ItemField(_) | Node::ItemCustom(_))
    }
}

impl Call {
    /// Whether it gives something where nothing comes in. In a list it stands for absent entries, and a list of none stays
    /// absent: there is nothing of which a sum could be made.
    pub(super) fn stands_for_nothing(&self) -> bool {
        matches!(self.op, Op::Default(_)) && !self.of_list
    }

    fn run<'a>(&'a self, value: Option<Val<'a>>, context: &Context<'a>) -> Evaluated<'a> {
        match value {
            Some(Val::List(entries)) if !self.whole_lists => {
                let entries = entries.into_iter().map(|entry| self.run_one(entry, context));
                let entries: Vec<Option<Val<'a>>> = entries.collect::<Result<_, _>>()?;
                Ok(entries.iter().any(Option::is_some).then_some(Val::List(entries)))
            }
            None if self.of_list => Ok(None),
            value => self.run_one(value, context),
        }
    }

    fn run_one<'a>(&'a self, value: Option<Val<'a>>, context: &Context<'a>) -> Evaluated<'a> {
        let Some(value) = value else {
            return Ok(if let Op::Default(value) = &self.op { Some(value.borrowed()) } else { None });
        };
        // A prefix or suffix shows what stands beside the mask; what anything else made of the mask would mislead.
        if self.secret && context.secrets == Secrets::Masked && !matches!(self.op, Op::Prefix(_) | Op::Suffix(_)) {
            return Ok(Val::text(MASK));
        }
        let currency = context.scope().and_then(|scope| scope.conversion.currency());
        self.op.apply(value, context.secrets, currency)
    }
}

impl MetaField {
    pub(super) const ALL: [(&'static str, MetaField); 6] = [
        ("id", MetaField::Id),
        ("merchant", MetaField::Merchant),
        ("idempotency_key", MetaField::IdempotencyKey),
        ("dedup_key", MetaField::DedupKey),
        ("received_at", MetaField::ReceivedAt),
        ("traceparent", MetaField::TraceParent),
    ];

    fn read<'a>(self, scope: Scope<'a>) -> Option<Val<'a>> {
        match self {
            MetaField::Id => Val::owned_text(scope.meta.id.to_string()),
            MetaField::Merchant => Val::text(&scope.meta.merchant),
            MetaField::IdempotencyKey => scope.meta.idempotency_key.as_deref().and_then(Val::text),
            MetaField::DedupKey => Val::text(&scope.meta.dedup_key),
            MetaField::TraceParent => scope.meta.trace.map(|trace| trace.to_string()).and_then(Val::owned_text),
            MetaField::ReceivedAt => Some(Val::Timestamp(Held::Borrowed(&scope.meta.received_at))),
        }
    }
}

fn each<'a>(entry: &'a Node, context: &Context<'a>) -> Evaluated<'a> {
    let Some(scope) = context.scope() else { return Ok(None) };
    let of_item = |item| entry.eval(&Context { source: Source::Conversion(scope, Some(item)), ..*context });
    let entries = scope.conversion.items().iter().map(of_item).collect::<Result<Vec<_>, _>>()?;
    Ok(entries.iter().any(Option::is_some).then_some(Val::List(entries)))
}

/// What the filters make of the input. Under the mask a secret of which they make nothing is absent too: all that depends on
/// that comes out as it would.
fn piped<'a>(input: &'a Node, calls: &'a [Call], context: &Context<'a>) -> Evaluated<'a> {
    if context.secrets == Secrets::Masked && calls.iter().any(|call| call.secret) {
        let revealed = Context { secrets: Secrets::Revealed, ..*context };
        if let Ok(None) = filtered(input, calls, &revealed) {
            return Ok(None);
        }
    }
    filtered(input, calls, context)
}

fn filtered<'a>(input: &'a Node, calls: &'a [Call], context: &Context<'a>) -> Evaluated<'a> {
    let Some((last, calls)) = calls.split_last() else { return input.eval(context) };
    let mut value = input.eval(context)?;
    for call in calls {
        value = call.run(value, context)?;
    }
    last.run(value, context)
}

/// A leaf's value of every item.
fn of_items<'a>(entry: &'a Node, context: &Context<'a>) -> Option<Val<'a>> {
    let scope = context.scope()?;
    let of_item = |item| entry.read(&Context { source: Source::Conversion(scope, Some(item)), ..*context });
    let entries: Vec<Option<Val<'a>>> = scope.conversion.items().iter().map(of_item).collect();
    entries.iter().any(Option::is_some).then_some(Val::List(entries))
}

/// The first that is present.
fn first<'a>(parts: &'a [Node], context: &Context<'a>) -> Evaluated<'a> {
    for part in parts {
        if let Some(value) = part.eval(context)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn concat<'a>(parts: &'a [Node], context: &Context<'a>) -> Evaluated<'a> {
    let mut whole = String::new();
    for part in parts {
        match part.eval(context)? {
            Some(value) => {
                let text = ops::text(value)?;
                ops::within(whole.len().saturating_add(text.len()))?;
                whole.push_str(&text);
            }
            None => return Ok(None),
        }
    }
    Ok(Val::owned_text(whole))
}

/// Follows `steps` into `json`.
fn walk<'a>(
    json: &'a Json,
    steps: &[Step],
    member: for<'j> fn(&'j Json, &str) -> Option<&'j Json>,
) -> Option<&'a Json> {
    steps.iter().try_fold(json, |json, step| match (step, json) {
        (Step::Key(name), json) => member(json, name),
        (Step::Index(index), Json::Array(entries)) => entries.get(*index),
        (Step::Index(_), _) => None,
    })
}

/// The member of that very name, or else the first of that name in other case.
fn member_of_any_case<'j>(json: &'j Json, name: &str) -> Option<&'j Json> {
    json.member(name).or_else(|| {
        let Json::Object(members) = json else { return None };
        members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}
