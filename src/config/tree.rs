//! A TOML text as a tree in which every key and value knows its place, and how one tree is laid over another.
//!
//! Nothing is interpreted here: which keys exist and what their values mean is for the readers.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::files::{Files, is_credential, plain_credentials, text_at};
use super::interpolate::Interpolation;
use super::report::Faults;
use crate::mapping::{FileId, Span, Text};

/// A table, in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// `key = value`.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Text,
    pub(super) node: Node,
}

/// A value and its place; of a table that has only a header, the header.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What TOML knows.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// `resolved`: it held a `${…}`, so it must not be repeated in a message.
    Text {
        text: Text,
        resolved: bool,
    },
    /// A string with a `${…}` that came to nothing, which is a fault already.
    Unresolved,
    /// `None`: beyond 64 bits.
    Integer(Option<i64>),
    Float,
    Bool(bool),
    Datetime,
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// With its article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text { .. } | Value::Unresolved => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float => "a decimal number",
            Value::Bool(_) => "a boolean",
            Value::Datetime => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    pub(super) fn as_table(&self) -> Option<&Table> {
        if let Value::Table(table) = self { Some(table) } else { None }
    }
}

impl Table {
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.value == key)
    }

    pub(super) fn table(&self, key: &str) -> Option<&Table> {
        self.entry(key).and_then(|entry| entry.node.value.as_table())
    }

    pub(super) fn table_mut(&mut self, key: &str) -> Option<&mut Table> {
        let entry = self.entries.iter_mut().find(|entry| entry.key.value == key)?;
        if let Value::Table(table) = &mut entry.node.value { Some(table) } else { None }
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key.value == key)?;
        Some(self.entries.remove(at))
    }

    /// Lays `over` on this table: tables are laid on tables key by key, anything else takes the old one's place, and
    /// what is new comes last.
    pub(super) fn lay(&mut self, over: Table) {
        for entry in over.entries {
            match self.entries.iter_mut().find(|old| old.key.value == entry.key.value) {
                Some(old) => old.lay(entry),
                None => self.entries.push(entry),
            }
        }
    }

    /// Whether a text in it names a constant (`secrets.token`), letter for letter.
    pub(super) fn names(&self, constant: &str) -> bool {
        self.entries.iter().any(|entry| entry.node.names(constant))
    }

    /// Feeds what the table says, and not where it stands: two tables that mean the same feed the same, also with their keys
    /// in another order, unless what is sent or chosen follows it.
    pub(super) fn feed(&self, hasher: &mut impl Hasher) {
        self.feed_in(Order::Free, hasher);
    }

    fn feed_in(&self, order: Order, hasher: &mut impl Hasher) {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        if order == Order::Free {
            entries.sort_by_key(|entry| &entry.key.value);
        }
        entries.len().hash(hasher);
        for Entry { key, node } in entries {
            key.value.hash(hasher);
            node.feed(order.below(&key.value), hasher);
        }
    }

    /// Keeps literal credentials out of excerpts: whatever stands under `secrets` or `auth`, or under a name that says so.
    /// What is only a reference (`${env:TOKEN}`, `{secrets.token}`) stays readable.
    pub(super) fn hide_credentials(&self, inside: bool, files: &mut Files) {
        for entry in &self.entries {
            let name = entry.key.value.as_str();
            if let (true, "hmac" | "oauth", Value::Table(scheme)) = (inside, name, &entry.node.value) {
                for part in &scheme.entries {
                    part.node.hide_credentials(!NO_CREDENTIALS.contains(&part.key.value.as_str()), files);
                }
                continue;
            }
            let here = match entry.node.value {
                Value::Table(_) => inside || matches!(name, "auth" | "secrets" | "encryption"),
                Value::Text { .. }
                | Value::Unresolved
                | Value::Integer(_)
                | Value::Float
                | Value::Bool(_)
                | Value::Datetime
                | Value::List(_) => (inside && name != "name") || name == "auth" || is_credential(name),
            };
            entry.node.hide_credentials(here, files);
        }
    }

    /// `a = { b = 1 }` becomes `"a.b" = 1`: how output fields may be written either way.
    pub(super) fn flatten(&mut self, files: &Files) {
        let mut flat = Vec::with_capacity(self.entries.len());
        for entry in std::mem::take(&mut self.entries) {
            let Entry { key, node: Node { span, value } } = entry;
            match value {
                Value::Table(mut table) => {
                    table.flatten(files);
                    flat.extend(
                        table
                            .entries
                            .into_iter()
                            .map(|inner| Entry { key: dotted(&key, &inner.key, files), node: inner.node }),
                    );
                }
                value @ (Value::Text { .. }
                | Value::Unresolved
                | Value::Integer(_)
                | Value::Float
                | Value::Bool(_)
                | Value::Datetime
                | Value::List(_)) => flat.push(Entry { key, node: Node { span, value } }),
            }
        }
        self.entries = flat;
    }

    /// `a = { type = "object", b = { type = "text" } }` becomes `a` and `"a.b"`: in what is said of an output field, a table
    /// is a field below it.
    pub(super) fn flatten_outputs(&mut self, files: &Files) {
        let mut flat = Vec::with_capacity(self.entries.len());
        for Entry { key, node: Node { span, value } } in std::mem::take(&mut self.entries) {
            let Value::Table(Table { entries }) = value else {
                flat.push(Entry { key, node: Node { span, value } });
                continue;
            };
            let is_bare = entries.is_empty();
            let (below, said): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|entry| entry.node.value.as_table().is_some());
            let mut below = Table { entries: below };
            below.flatten_outputs(files);
            if is_bare || !said.is_empty() {
                flat.push(Entry {
                    key: key.clone(),
                    node: Node { span, value: Value::Table(Table { entries: said }) },
                });
            }
            flat.extend(below.entries.into_iter().map(|inner| Entry { key: dotted(&key, &inner.key, files), ..inner }));
        }
        self.entries = flat;
    }
}

impl Node {
    fn names(&self, constant: &str) -> bool {
        match &self.value {
            Value::Text { text, .. } => text.value.match_indices(constant).any(|(at, _)| {
                let behind = text.value.get(at.saturating_add(constant.len())..).unwrap_or_default();
                !behind.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            }),
            Value::List(nodes) => nodes.iter().any(|node| node.names(constant)),
            Value::Table(table) => table.names(constant),
            Value::Unresolved | Value::Integer(_) | Value::Float | Value::Bool(_) | Value::Datetime => false,
        }
    }

    fn feed(&self, order: Order, hasher: &mut impl Hasher) {
        self.value.kind().hash(hasher);
        match &self.value {
            Value::Text { text, resolved: _ } => text.value.hash(hasher),
            Value::Integer(number) => number.hash(hasher),
            Value::Bool(value) => value.hash(hasher),
            Value::List(list) => {
                list.len().hash(hasher);
                list.iter().for_each(|node| node.feed(order, hasher));
            }
            Value::Table(table) => table.feed_in(order, hasher),
            // None of these passes the readers.
            Value::Unresolved | Value::Float | Value::Datetime => {}
        }
    }

    fn hide_credentials(&self, inside: bool, files: &mut Files) {
        match &self.value {
            Value::Text { text, .. } => {
                self.hide_written(&text.span, inside, files);
                files.hide_in_url(text);
            }
            Value::Unresolved => self.hide_written(&self.span, inside, files),
            Value::Integer(_) | Value::Float | Value::Datetime => {
                if inside {
                    files.hide(&self.span);
                }
            }
            Value::List(list) => list.iter().for_each(|node| node.hide_credentials(inside, files)),
            Value::Table(table) => table.hide_credentials(inside, files),
            Value::Bool(_) => {}
        }
    }

    /// Hides of a string what stands in plain sight, whatever else of it is `${…}`; `text` is where its own bytes are.
    fn hide_written(&self, text: &Span, inside: bool, files: &mut Files) {
        let written = files.text(self.span.file).get(self.span.range.clone()).unwrap_or_default();
        let plain = plain_credentials(written);
        if inside && !is_reference(written) {
            files.hide(text);
        }
        if let Some(plain) = plain {
            files.hide(&self.part(&plain));
        }
    }

    /// The place of a part of what is written.
    pub(super) fn part(&self, inner: &Range<usize>) -> Span {
        let at = |place: usize| self.span.range.start.saturating_add(place);
        Span { file: self.span.file, range: at(inner.start)..at(inner.end) }
    }
}

/// Whether the order of a table's keys says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Free,
    /// Of its own keys, and of those of no table below it.
    Here,
    /// Of its own keys, and of those of every table below it.
    Throughout,
}

impl Order {
    /// That of the table under a key.
    fn below(self, key: &str) -> Order {
        match (self, key) {
            (Order::Throughout, _) => Order::Throughout,
            (Order::Free, OPERATIONS) => Order::Here,
            (Order::Free, key) if ORDERED.contains(&key) => Order::Throughout,
            (Order::Free | Order::Here, _) => Order::Free,
        }
    }
}

/// Whether a string, with its quotes, is one `${…}` without a default of its own, or a template or expression that names a
/// secret.
fn is_reference(written: &str) -> bool {
    let inner = written.trim_matches(['"', '\'']);
    let whole = inner.starts_with("${") && inner.ends_with('}') && inner.matches('}').count() == 1;
    let whole = whole && (!inner.contains(":-") || inner.ends_with(":-}"));
    whole || inner.contains("secrets.")
}

impl Entry {
    /// Whether what is laid over it replaces it, also where both are tables.
    pub(super) fn is_replaced_whole(&self) -> bool {
        REPLACED_WHOLE.contains(&self.key.value.as_str())
    }

    /// Takes the place of an entry of the same key.
    fn lay(&mut self, over: Entry) {
        let whole = self.is_replaced_whole();
        match (&mut self.node.value, over.node.value) {
            (Value::Table(under), Value::Table(table)) if !whole => under.lay(table),
            (place, value) => {
                *place = value;
                self.node.span = over.node.span;
                self.key = over.key;
            }
        }
    }
}

/// The key `a.b`, underlined as one where the file has it as one.
fn dotted(outer: &Text, inner: &Text, files: &Files) -> Text {
    let value = format!("{}.{}", outer.value, inner.value);
    let range = outer.span.range.start..inner.span.range.end;
    let file = inner.span.file;
    if outer.span.file == file && files.text(file).get(range.clone()) == Some(value.as_str()) {
        return Text { value, span: Span { file, range }, verbatim: true };
    }
    Text { value, span: inner.span.clone(), verbatim: false }
}

/// Builds trees from texts.
pub(super) struct Builder<'a, 'e> {
    pub(super) files: &'a mut Files,
    pub(super) faults: &'a mut Faults,
    /// `None`: `${…}` is ordinary text (presets).
    pub(super) interpolation: Option<&'a Interpolation<'e>>,
}

impl Builder<'_, '_> {
    /// The tree of a text already kept; syntax errors are faults and end the reading of that text.
    pub(super) fn parse(&mut self, file: FileId) -> Option<Table> {
        let source = self.files.text(file).to_owned();
        let (tree, errors) = DeTable::parse_recoverable(&source);
        if errors.is_empty() {
            let table = self.table(file, &source, tree.get_ref(), false);
            table.hide_credentials(false, self.files);
            return Some(table);
        }
        self.files.hide_by_words(file);
        for error in errors {
            let end = source.len();
            let range = error.span().unwrap_or(end..end);
            self.faults.at(Span { file, range }, format!("TOML: {}", error.message()));
        }
        None
    }

    /// `credentials`: what stands in it are credentials.
    fn table(&mut self, file: FileId, source: &str, table: &DeTable<'_>, credentials: bool) -> Table {
        let mut sorted: Vec<_> = table.iter().collect();
        sorted.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let key = text_at(file, source, &key.span(), name);
            let range = value.span();
            let credentials = credentials || CREDENTIALS.contains(&&**name) || name.ends_with("token_sha256");
            Entry {
                key,
                node: Node { value: self.value(file, source, value, credentials), span: Span { file, range } },
            }
        };
        Table { entries: sorted.into_iter().map(entry).collect() }
    }

    fn value(&mut self, file: FileId, source: &str, value: &toml::Spanned<DeValue<'_>>, credentials: bool) -> Value {
        match value.get_ref() {
            DeValue::String(string) => {
                let text = text_at(file, source, &value.span(), string);
                let whole = Span { file, range: value.span() };
                let Some(interpolation) = self.interpolation.filter(|_| text.value.contains("${")) else {
                    return Value::Text { text, resolved: false };
                };
                match interpolation.resolve(&text, &whole, credentials, self.files, self.faults) {
                    Some(text) => Value::Text { text, resolved: true },
                    None => Value::Unresolved,
                }
            }
            DeValue::Integer(integer) => Value::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok()),
            DeValue::Float(_) => Value::Float,
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(array) => {
                let node = |item: &toml::Spanned<DeValue<'_>>| Node {
                    span: Span { file, range: item.span() },
                    value: self.value(file, source, item, credentials),
                };
                Value::List(array.iter().map(node).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(file, source, table, credentials)),
        }
    }
}

/// What of a signature or a grant is no credential, so that an excerpt shows what is wrong with it.
const NO_CREDENTIALS: [&str; 12] = [
    "algorithm",
    "key_encoding",
    "encoding",
    "header",
    "query",
    "sign",
    "grant",
    "token_url",
    "client_id",
    "scope",
    "audience",
    "client_auth",
];

/// The operations are asked in their order.
const OPERATIONS: &str = "operation";
/// What stands in these is sent, held or said in its order.
const ORDERED: [&str; 8] =
    ["map", "query", "headers", "outputs", "capture", "required_with", "omit_with", "max_length"];

/// Tables whose keys make sense only together: laying one over another replaces it.
const REPLACED_WHOLE: [&str; 3] = ["auth", "tls", "wait_header"];

/// Under these keys stand credentials, however they are named.
const CREDENTIALS: [&str; 3] = ["secrets", "encryption", "signing_secrets"];
