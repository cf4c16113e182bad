//! One operation as it was written: the request keys, and how its answers are read.

use http::HeaderName;

use super::deduplication::Slot;
use super::outputs::{self, OVERS};
use crate::config::keys::{Keys, list, text, texts, wrong_with_help};
use crate::config::report::Faults;
use crate::config::tree::{Entry, Node, Value};
use crate::config::{OnAmbiguous, OnUnmappable, TestConversions, WaitHeader, WaitUnit};
use crate::mapping::{MapLine, MapSource, Over, RulesSource, Span, Text, names_field, template_names_field};

/// The request keys of one operation.
pub(super) struct Written<'t> {
    /// Where it begins: faults about what it lacks point here.
    pub(super) span: Span,
    pub(super) when: Option<Text>,
    pub(super) only_when: Option<Text>,
    pub(super) otherwise: Option<Text>,
    pub(super) method: Option<Text>,
    pub(super) url: Option<Text>,
    pub(super) headers: Vec<(Text, Text)>,
    pub(super) query: Vec<MapLine>,
    pub(super) body: Option<Text>,
    pub(super) map: Vec<MapLine>,
    /// `map` or `query` has a line, right or wrong.
    has_lines: bool,
    /// `url` stands there, right or wrong.
    pub(super) has_url: bool,
    /// `url` or `method` does.
    has_call: bool,
    /// `when` or `only_when` does.
    has_condition: bool,
    pub(super) auth: Option<&'t Entry>,
    pub(super) rules: RulesSource,
    pub(super) idempotency: Slot,
    pub(super) on_ambiguous: Option<OnAmbiguous>,
    pub(super) on_unmappable: Option<OnUnmappable>,
    pub(super) test: Option<TestConversions>,
    pub(super) judge: WrittenJudge,
    pub(super) confirm: Option<&'t Entry>,
    /// Keys, beside those of a call, that hold for this operation alone.
    pub(super) own: Vec<&'t Text>,
}

/// How its answers are read.
pub(super) struct WrittenJudge {
    pub(super) duplicate_when: Option<Text>,
    pub(super) delivered_when: Option<Text>,
    pub(super) rejected_when: Option<Text>,
    pub(super) suspended_when: Option<Text>,
    pub(super) ambiguous_when: Option<Text>,
    pub(super) throttled_when: Option<Text>,
    pub(super) retry_when: Option<Text>,
    pub(super) wait_header: Option<WaitHeader>,
    pub(super) capture: Vec<(Text, Text)>,
}

impl<'t> Written<'t> {
    /// Reads the request keys from a table that may hold others.
    pub(super) fn read(keys: &mut Keys<'t>, faults: &mut Faults) -> Self {
        Written {
            span: keys.span().clone(),
            when: condition("when", keys, faults),
            only_when: condition("only_when", keys, faults),
            otherwise: keys.text("otherwise", faults),
            method: keys.text("method", faults),
            url: keys.text("url", faults),
            headers: pairs(keys, "headers", faults),
            query: lines(keys, "query", faults),
            body: keys.text("body", faults),
            map: lines(keys, "map", faults),
            has_lines: keys.entry("map").is_some_and(has_lines) || keys.entry("query").is_some_and(has_lines),
            has_url: keys.entry("url").is_some(),
            has_call: ["url", "method"].into_iter().any(|key| keys.entry(key).is_some()),
            has_condition: ["when", "only_when"].into_iter().any(|key| keys.entry(key).is_some()),
            auth: keys.entry("auth"),
            rules: RulesSource {
                require_any: groups(keys, "require_any", faults),
                exactly_one: groups(keys, "exactly_one", faults),
                required_with: named_with(keys, "required_with", faults),
                omit_with: named_with(keys, "omit_with", faults),
                max_length: max_length(keys, faults),
                outputs: outputs::read(keys, faults),
            },
            idempotency: Slot::of(keys.text_as("idempotency", SLOT, faults)),
            on_ambiguous: keys.choice("on_ambiguous", &AMBIGUOUS, faults),
            on_unmappable: keys.choice("on_unmappable", &UNMAPPABLE, faults),
            test: keys.choice("test", &TESTS, faults),
            judge: WrittenJudge {
                duplicate_when: keys.text("duplicate_when", faults),
                delivered_when: keys.text("delivered_when", faults),
                rejected_when: keys.text("rejected_when", faults),
                suspended_when: keys.text("suspended_when", faults),
                ambiguous_when: keys.text("ambiguous_when", faults),
                throttled_when: keys.text("throttled_when", faults),
                retry_when: keys.text("retry_when", faults),
                wait_header: keys.entry("wait_header").and_then(|entry| wait_header(entry, faults)),
                capture: pairs(keys, "capture", faults),
            },
            confirm: keys.entry("confirm"),
            own: OWN.into_iter().filter_map(|key| keys.entry(key)).map(|entry| &entry.key).collect(),
        }
    }

    /// Whether anything of a conversion is in the request: a line of `map` or `query`, also one that is at fault, or a
    /// name in the URL or a header.
    pub(super) fn says_something(&self) -> bool {
        let is_constant = |part: &str| part.starts_with("vars.") || part.starts_with("secrets.");
        let names = |text: &Text| text.value.split('{').skip(1).any(|part| !is_constant(part.trim_start()));
        self.has_lines || self.url.iter().chain(self.headers.iter().map(|(_, value)| value)).any(names)
    }

    /// Whether its conditions or its request look at `test`.
    pub(super) fn reads_test(&self) -> bool {
        self.when.iter().chain(&self.only_when).any(|text| names_field(text, TEST)) || self.request_names(TEST)
    }

    /// Whether its request tells which order it is, or which event where that stands for an order.
    pub(super) fn names_order(&self) -> bool {
        ORDER.into_iter().any(|field| self.request_names(field))
    }

    /// Whether the field is in its map, its query, its URL or a header.
    fn request_names(&self, field: &str) -> bool {
        let names = |text: &Text| names_field(text, field);
        let is_read = |line: &MapLine| match &line.source {
            MapSource::Expr(text) => names(text),
            MapSource::Entries(entries) => entries.iter().flatten().any(|(_, text)| names(text)),
            MapSource::List(parts) => parts.iter().any(names),
        };
        let mut templates = self.url.iter().chain(self.headers.iter().map(|(_, value)| value));
        self.map.iter().chain(&self.query).any(is_read) || templates.any(|text| template_names_field(text, field))
    }

    /// Whether it takes every conversion of its kind. A condition that is at fault is one.
    pub(super) fn takes_all(&self) -> bool {
        !self.has_condition
    }

    /// Whether its conditions look at `kind`, or may: what one that is at fault looks at is not known.
    pub(super) fn asks_for_kind(&self) -> bool {
        let conditions = || self.when.iter().chain(&self.only_when);
        (self.has_condition && conditions().next().is_none()) || conditions().any(|text| names_field(text, KIND))
    }

    /// Whether it sends fields.
    pub(super) fn has_lines(&self) -> bool {
        self.has_lines
    }

    /// Whether any of it was given, right or wrong: a destination may consist of named operations only.
    pub(super) fn is_given(&self) -> bool {
        self.has_call || self.has_lines
    }
}

/// `when` and `only_when` are quoted where it is told why a conversion was skipped, so they hold nothing from elsewhere.
fn condition(key: &'static str, keys: &mut Keys<'_>, faults: &mut Faults) -> Option<Text> {
    let text = keys.text_as(key, ONE_CONDITION, faults)?;
    if let Some(Entry { node: Node { value: Value::Text { resolved: true, .. }, .. }, .. }) = keys.entry(key) {
        let message = format!("`{key}` holds a `${{…}}`, and is quoted in the reason why a conversion is skipped");
        let help = "put it into a var and compare with that: `vars.x = \"${env:NAME}\"`, `custom.k == vars.x`";
        faults.with_help(text.span.clone(), message, help);
    }
    Some(text)
}

fn has_lines(entry: &Entry) -> bool {
    entry.node.value.as_table().is_none_or(|table| !table.entries.is_empty())
}

pub(super) fn pairs(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Vec<(Text, Text)> {
    let entries = keys.entries(key, faults);
    let pair = |entry: &Entry| {
        let value = text(&entry.key.value, &entry.node, faults)?.clone();
        Some((entry.key.clone(), value))
    };
    entries.iter().filter_map(pair).collect()
}

/// Output fields: `target = "expression"`, a list of expressions, or a list of inline tables of expressions.
fn lines(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Vec<MapLine> {
    let entries = keys.entries(key, faults);
    let line = |entry: &Entry| {
        let source = match &entry.node.value {
            Value::List(list) if list.iter().any(|item| matches!(item.value, Value::Text { .. })) => {
                MapSource::List(list.iter().filter_map(|item| part(&entry.key.value, item, faults)).collect())
            }
            Value::List(list) => {
                MapSource::Entries(list.iter().filter_map(|item| parts(&entry.key.value, item, faults)).collect())
            }
            Value::Text { .. }
            | Value::Unresolved
            | Value::Integer(_)
            | Value::Float
            | Value::Bool(_)
            | Value::Datetime
            | Value::Table(_) => MapSource::Expr(expression(&entry.key.value, &entry.node, faults)?),
        };
        Some(MapLine { target: entry.key.clone(), source })
    };
    entries.iter().filter_map(line).collect()
}

fn parts(key: &str, node: &Node, faults: &mut Faults) -> Option<Vec<(Text, Text)>> {
    let Value::Table(table) = &node.value else {
        wrong_with_help(key, "a list of expressions, or of inline tables", node, LISTS, faults);
        return None;
    };
    let part = |entry: &Entry| Some((entry.key.clone(), expression(&entry.key.value, &entry.node, faults)?));
    Some(table.entries.iter().filter_map(part).collect())
}

/// An entry of a list of expressions.
fn part(key: &str, node: &Node, faults: &mut Faults) -> Option<Text> {
    if let Value::Text { text, .. } = &node.value {
        return Some(text.clone());
    }
    wrong_with_help(key, "a list of expressions alone, or of inline tables alone", node, LISTS, faults);
    None
}

const LISTS: &str = "`[\"customer.id\", \"order_id\"]`, or `[{ id = \"customer.id\", name = \"'Guid'\" }]`";

fn expression(key: &str, node: &Node, faults: &mut Faults) -> Option<Text> {
    if let Value::Text { text, .. } = &node.value {
        return Some(text.clone());
    }
    let help = "a number is written \"12\", a text \"'web'\", a path \"order_id\"";
    wrong_with_help(key, "an expression in a string", node, help, faults);
    None
}

/// `[["a", "b"]]`: a list of groups.
fn groups(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Vec<Vec<Text>> {
    let Some(Entry { key: _, node }) = keys.entry(key) else { return Vec::new() };
    let groups = list(key, node, faults).unwrap_or_default();
    if !groups.iter().all(|group| matches!(group.value, Value::List(_))) {
        faults.with_help(node.span.clone(), format!("`{key}` must be a list of lists"), "`[[\"a\", \"b\"]]`");
        return Vec::new();
    }
    groups.iter().filter_map(|group| texts(key, group, faults)).collect()
}

/// `{ a = ["b", "c"] }`: fields by a field.
fn named_with(keys: &mut Keys<'_>, key: &'static str, faults: &mut Faults) -> Vec<(Text, Vec<Text>)> {
    let entries = keys.entries(key, faults);
    let rule = |entry: &Entry| Some((entry.key.clone(), texts(&entry.key.value, &entry.node, faults)?));
    entries.iter().filter_map(rule).collect()
}

fn max_length(keys: &mut Keys<'_>, faults: &mut Faults) -> Vec<(Text, usize, Over)> {
    let mut rules = Vec::new();
    for entry in keys.entries("max_length", faults) {
        let Some(mut rule) = Keys::of(entry, faults) else { continue };
        let limit = rule.size("limit", faults);
        if limit.is_none() && rule.entry("limit").is_none() {
            faults.with_help(rule.span().clone(), "`limit` is missing", "`{ limit = 255, over = \"truncate\" }`");
        }
        let over = rule.choice("over", &OVERS, faults);
        rule.finish("`max_length`", faults);
        if let Some(limit) = limit {
            rules.push((entry.key.clone(), limit.get(), over.unwrap_or(Over::Reject)));
        }
    }
    rules
}

const ONE_CONDITION: &str = "one text, its parts joined by `&&`: `\"value && order_id\"`";
const SLOT: &str =
    "the output that the platform deduplicates on: `\"header.Idempotency-Key\"`, `\"map.order_id\"`, or `\"none\"`";

/// What no operation takes from its destination, beside `method`, `url`, `map` and `query`.
const OWN: [&str; 19] = [
    "when",
    "only_when",
    "otherwise",
    "headers",
    "body",
    "require_any",
    "exactly_one",
    "required_with",
    "omit_with",
    "max_length",
    "outputs",
    "duplicate_when",
    "delivered_when",
    "rejected_when",
    "suspended_when",
    "ambiguous_when",
    "throttled_when",
    "retry_when",
    "capture",
];

/// The field of a conversion that says it is one.
const TEST: &str = "test";
/// The fields that platforms know a sale by.
const ORDER: [&str; 2] = ["order_id", "event_id"];
/// The field that says whether it is a conversion, a refund or an adjustment.
const KIND: &str = "kind";

const AMBIGUOUS: [(&str, OnAmbiguous); 2] = [("retry", OnAmbiguous::Retry), ("dead_letter", OnAmbiguous::DeadLetter)];
const UNMAPPABLE: [(&str, OnUnmappable); 2] = [("dead_letter", OnUnmappable::DeadLetter), ("skip", OnUnmappable::Skip)];
const TESTS: [(&str, TestConversions); 2] = [("carry", TestConversions::Carry), ("skip", TestConversions::Skip)];

fn wait_header(entry: &Entry, faults: &mut Faults) -> Option<WaitHeader> {
    let mut keys = Keys::of(entry, faults)?;
    let name = keys.text("name", faults);
    let unit = keys.choice("unit", &[("seconds", WaitUnit::Seconds), ("unix", WaitUnit::Unix)], faults);
    if keys.entry("name").is_none() || keys.entry("unit").is_none() {
        let help = "`{ name = \"X-RateLimit-Reset\", unit = \"seconds\" }`, or `unit = \"unix\"`";
        faults.with_help(keys.span().clone(), "`wait_header` needs `name` and `unit`", help);
    }
    keys.finish("`wait_header`", faults);
    let name = name?;
    let Ok(header) = HeaderName::from_bytes(name.value.as_bytes()) else {
        faults.at(name.span, format!("`{}` is no name of a header", name.value));
        return None;
    };
    Some(WaitHeader { name: header, unit: unit? })
}
