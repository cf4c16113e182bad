//! Presets: the built-in destinations. The same TOML as routes.toml, compiled in; a destination lays its own keys over them.

use super::destination::confirm;
use super::files::Files;
use super::keys::{Keys, constant, did_you_mean, list, listed, texts};
use super::range;
use super::report::Faults;
use super::tree::{Builder, Entry, Node, Table, Value};
use crate::mapping::{FileId, Span, Text, Var, VarType};

/// Names of the presets compiled in, and their TOML.
pub fn presets() -> &'static [(&'static str, &'static str)] {
    &PRESETS
}

/// What a preset needs from a destination that uses it.
#[derive(Debug)]
pub(super) struct Needs {
    /// The preset's own text: what cannot be made of it for want of a var is no fault of it.
    pub(super) file: FileId,
    pub(super) text: String,
    pub(super) vars: Vec<NeededVar>,
    pub(super) secrets: Vec<NeededSecret>,
    /// Of each group of vars at least one must be given.
    pub(super) one_of: Vec<Vec<String>>,
    /// What the destination takes away of the preset: operation and output.
    pub(super) removed: Vec<(String, Text)>,
    /// Where the destination puts a condition of its own in the place of the preset's.
    pub(super) replaced: Vec<Replaced>,
    /// It declares how it is asked what became of what it accepted.
    pub(super) declares_confirm: bool,
    /// Only the merchant can know the currency, which must be said: with what.
    pub(super) expect_currency: Option<String>,
}

/// A `when` of a preset, and what the destination wrote over it.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) operation: String,
    pub(super) own: Text,
    /// Empty: it was taken away.
    pub(super) by: Text,
}

#[derive(Debug)]
pub(super) struct NeededVar {
    pub(super) name: String,
    pub(super) kind: VarType,
    pub(super) required: bool,
    pub(super) default: Option<Var>,
    /// The only values that are right; empty: any.
    pub(super) values: Vec<String>,
    pub(super) doc: String,
}

#[derive(Debug)]
pub(super) struct NeededSecret {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) doc: String,
}

/// A preset as its file has it.
pub(super) struct Preset {
    pub(super) table: Table,
    pub(super) needs: Needs,
}

impl Preset {
    /// A preset by itself.
    pub(super) fn built_in(name: &str) -> Option<Preset> {
        let (mut files, mut faults) = (Files::default(), Faults::default());
        let place = Span { file: FileId(0), range: 0..0 };
        let name = Text { value: name.to_owned(), span: place, verbatim: false };
        Preset::named(&name, presets(), &mut files, &mut faults)
    }

    /// Finds and parses the preset that a destination names.
    pub(super) fn named(
        name: &Text,
        presets: &[(&str, &str)],
        files: &mut Files,
        faults: &mut Faults,
    ) -> Option<Preset> {
        let Some((found, text)) = presets.iter().find(|(preset, _)| *preset == name.value) else {
            let names = || presets.iter().map(|(preset, _)| *preset);
            let help =
                did_you_mean(&name.value, names()).unwrap_or_else(|| format!("the presets are {}", listed(names())));
            faults.with_help(name.span.clone(), format!("there is no preset `{}`", name.value), help);
            return None;
        };
        let file = files.add(format!("preset {found}"), (*text).to_owned());
        let mut table = Builder { files, faults, interpolation: None }.parse(file)?;
        prepare(&mut table, files, faults);
        let needs = needs(file, text, table.remove("needs").as_ref(), faults);
        Some(Preset { table, needs })
    }

    /// The preset's keys with the destination's laid over them, key by key; `X = ""` takes a key away.
    pub(super) fn under(mut self, mut over: Table, preset: &str, faults: &mut Faults) -> (Table, Needs) {
        self.needs.declares_confirm = confirm::turn_on(&mut self.table, &mut over);
        set_twice(&over, faults);
        self.needs.replaced.extend(replaced("conversion", &self.table, &over));
        let gone = take_away(&mut self.table, &mut over, preset, faults);
        self.needs.removed.extend(gone.into_iter().map(|target| ("conversion".to_owned(), target)));
        if let Some(operations) = over.table_mut("operation") {
            for operation in &mut operations.entries {
                let base = self.table.table_mut("operation").and_then(|table| table.table_mut(&operation.key.value));
                if let Value::Table(over) = &operation.node.value {
                    set_twice(over, faults);
                }
                if let (Some(base), Value::Table(over)) = (base, &mut operation.node.value) {
                    let name = &operation.key.value;
                    self.needs.replaced.extend(replaced(name, base, over));
                    let gone = take_away(base, over, preset, faults);
                    self.needs.removed.extend(gone.into_iter().map(|target| (name.clone(), target)));
                }
            }
        }
        self.table.lay(over);
        (self.table, self.needs)
    }
}

/// Says what the destination itself sets twice: laid over a preset, the second would take the first one's place unseen.
fn set_twice(over: &Table, faults: &mut Faults) {
    for key in LINES.into_iter().chain(["outputs"]) {
        let lines = over.table(key).map(|lines| lines.entries.as_slice()).unwrap_or_default();
        for (at, Entry { key: name, .. }) in lines.iter().enumerate() {
            let is_same = |earlier: &Entry| match key {
                "headers" => earlier.key.value.eq_ignore_ascii_case(&name.value),
                _ => earlier.key.value == name.value,
            };
            if lines.iter().take(at).any(is_same) {
                let message = match key {
                    "headers" => format!("the header `{}` is set twice", name.value),
                    "outputs" => format!("`{}` is declared twice", name.value),
                    _ => format!("`{}` is set twice", name.value),
                };
                let help = "it stands in one place: `a.b = …` and `\"a.b\" = …` are the same";
                faults.with_help(name.span.clone(), message, help);
            }
        }
    }
}

/// What an operation of a destination puts in the place of the preset's `when`.
fn replaced(operation: &str, base: &Table, over: &Table) -> Option<Replaced> {
    let when = |table: &Table| match &table.entry("when")?.node.value {
        Value::Text { text, .. } => Some(text.clone()),
        Value::Unresolved
        | Value::Integer(_)
        | Value::Float
        | Value::Bool(_)
        | Value::Datetime
        | Value::List(_)
        | Value::Table(_) => None,
    };
    Some(Replaced { operation: operation.to_owned(), own: when(base)?, by: when(over)? })
}

/// Brings a destination into one shape: `operation.conversion` is its own level, output fields are flat, and ranges are
/// written out.
pub(super) fn prepare(table: &mut Table, files: &mut Files, faults: &mut Faults) {
    if let Some(conversion) = table.table_mut("operation").and_then(|operations| operations.remove("conversion")) {
        hoist(table, conversion, faults);
    }
    flatten(table, files);
    range::expand(table, files, faults);
    for operation in table.table_mut("operation").map(|table| table.entries.as_mut_slice()).unwrap_or_default() {
        if let Value::Table(table) = &mut operation.node.value {
            flatten(table, files);
            range::expand(table, files, faults);
        }
    }
}

fn hoist(table: &mut Table, conversion: Entry, faults: &mut Faults) {
    let Value::Table(inner) = conversion.node.value else {
        faults.at(conversion.node.span, "`operation.conversion` must be a table");
        return;
    };
    let mut own = Table { entries: inner.entries };
    part(table, &mut own, "", faults);
    table.lay(own);
}

/// Takes out of `own` what `table` gives as well, at any depth.
fn part(table: &Table, own: &mut Table, path: &str, faults: &mut Faults) {
    own.entries.retain_mut(|entry| {
        let Some(old) = table.entry(&entry.key.value) else { return true };
        let path = format!("{path}{}", entry.key.value);
        if let (Value::Table(old_table), Value::Table(own)) = (&old.node.value, &mut entry.node.value)
            && !old.is_replaced_whole()
        {
            part(old_table, own, &format!("{path}."), faults);
            return true;
        }
        let help = "`operation.conversion` is the destination's own level: give it in one of the two";
        faults.with_help(entry.key.span.clone(), format!("`{path}` is given twice"), help);
        false
    });
}

fn flatten(table: &mut Table, files: &Files) {
    for key in LINES {
        if let Some(lines) = table.table_mut(key) {
            lines.flatten(files);
        }
    }
    if let Some(outputs) = table.table_mut("outputs") {
        outputs.flatten_outputs(files);
    }
}

/// Takes away what the destination sets to `""`, and brings its header names to the preset's spelling. Hands back the
/// outputs that are gone.
fn take_away(base: &mut Table, over: &mut Table, preset: &str, faults: &mut Faults) -> Vec<Text> {
    over.entries.retain(|entry| {
        let removable = base.entry(&entry.key.value).is_some_and(|old| old.node.value.as_table().is_none());
        let removed = removable && entry.node.is_empty_text();
        if removed {
            base.remove(&entry.key.value);
        }
        !removed
    });
    let mut gone = Vec::new();
    for key in LINES {
        let Some(over) = over.table_mut(key) else { continue };
        let mut none = Table { entries: Vec::new() };
        let base = base.table_mut(key).unwrap_or(&mut none);
        if key == "headers" {
            respell(base, over);
        }
        over.entries.retain(|entry| {
            if !entry.node.is_empty_text() {
                return true;
            }
            if base.remove(&entry.key.value).is_none() {
                let message = format!("preset `{preset}` has no `{key}.{}` to take away", entry.key.value);
                let names = || base.entries.iter().map(|entry| entry.key.value.as_str());
                let help =
                    did_you_mean(&entry.key.value, names()).unwrap_or_else(|| format!("it has {}", listed(names())));
                faults.with_help(entry.key.span.clone(), message, help);
            }
            if matches!(key, "map" | "query") {
                gone.push(entry.key.clone());
            }
            false
        });
    }
    for target in &gone {
        if base.forget(&target.value) && !base.requires(&target.value) {
            let message =
                format!("one of several fields is required, and without `{}` none of them is left", target.value);
            faults.with_help(target.span.clone(), message, "keep one of them, or give one another source");
        }
    }
    gone
}

impl Table {
    /// Takes an output field out of the preset's rules: what is not sent can neither be required nor be in the way.
    /// Whether it was the last of a group of which one is required.
    fn forget(&mut self, target: &str) -> bool {
        let mut was_last = false;
        for key in ["require_any", "exactly_one"] {
            let rule = self.entries.iter_mut().find(|entry| entry.key.value == key);
            if let Some(Value::List(groups)) = rule.map(|entry| &mut entry.node.value) {
                let before = groups.len();
                groups.retain_mut(|group| !group.loses_its_last(target));
                was_last |= key == "require_any" && groups.len() < before;
            }
        }
        for key in ["required_with", "omit_with", "max_length"] {
            if let Some(rules) = self.table_mut(key) {
                rules.remove(target);
                rules.entries.retain_mut(|entry| !entry.node.loses_its_last(target));
            }
        }
        was_last
    }
}

impl Table {
    /// Whether the contract requires an output by itself.
    fn requires(&self, target: &str) -> bool {
        let required = self.table("outputs").and_then(|outputs| outputs.table(target)?.entry("required"));
        required.is_some_and(|entry| matches!(entry.node.value, Value::Bool(true)))
    }
}

fn respell(base: &Table, over: &mut Table) {
    for entry in &mut over.entries {
        let same = base.entries.iter().find(|old| old.key.value.eq_ignore_ascii_case(&entry.key.value));
        if let Some(old) = same.filter(|old| old.key.value != entry.key.value) {
            entry.key.value.clone_from(&old.key.value);
            entry.key.verbatim = false;
        }
    }
}

impl Node {
    /// Takes a name out of a list of names; whether none is left of it.
    fn loses_its_last(&mut self, name: &str) -> bool {
        let Value::List(names) = &mut self.value else { return false };
        let named = |node: &Node| matches!(&node.value, Value::Text { text, .. } if text.value == name);
        let before = names.len();
        names.retain(|node| !named(node));
        names.is_empty() && before > 0
    }

    fn is_empty_text(&self) -> bool {
        matches!(&self.value, Value::Text { text, .. } if text.value.is_empty())
    }
}

fn needs(file: FileId, text: &str, entry: Option<&Entry>, faults: &mut Faults) -> Needs {
    let mut needs = Needs {
        file,
        text: text.to_owned(),
        vars: Vec::new(),
        secrets: Vec::new(),
        one_of: Vec::new(),
        removed: Vec::new(),
        replaced: Vec::new(),
        declares_confirm: false,
        expect_currency: None,
    };
    let Some(mut keys) = entry.and_then(|entry| Keys::of(entry, faults)) else { return needs };
    needs.vars.extend(keys.entries("vars", faults).iter().filter_map(|entry| needed_var(entry, faults)));
    needs.secrets.extend(keys.entries("secrets", faults).iter().filter_map(|entry| needed_secret(entry, faults)));
    let groups = keys.entry("one_of").and_then(|entry| list("one_of", &entry.node, faults)).unwrap_or_default();
    for group in groups.iter().filter_map(|group| texts("one_of", group, faults)) {
        needs.one_of.push(group.into_iter().map(|text| text.value).collect());
    }
    if let Some(mut currency) = keys.entry("expect_currency").and_then(|entry| Keys::of(entry, faults)) {
        needs.expect_currency = currency.text("doc", faults).map(|text| text.value);
        currency.finish("`expect_currency`", faults);
    }
    keys.finish("`needs`", faults);
    needs
}

fn needed_var(entry: &Entry, faults: &mut Faults) -> Option<NeededVar> {
    let mut keys = Keys::of(entry, faults)?;
    let kind = keys.choice("type", &VAR_TYPES, faults);
    if keys.entry("type").is_none() {
        keys.missing(
            "type",
            "`type` is missing",
            format!("it is one of {}", listed(VAR_TYPES.iter().map(|(word, _)| *word))),
        );
    }
    let default = keys.entry("default").and_then(|entry| constant(entry, faults));
    let need = NeededVar {
        name: entry.key.value.clone(),
        kind: kind.unwrap_or(VarType::Text),
        required: keys.flag("required", faults).is_some_and(|flag| flag.value),
        default,
        values: keys.texts("values", faults).unwrap_or_default().into_iter().map(|text| text.value).collect(),
        doc: keys.text("doc", faults).map(|text| text.value).unwrap_or_default(),
    };
    if let (true, Some(default)) = (need.required, keys.entry("default")) {
        let message = format!("`{}` is required, so its default would never be", need.name);
        faults.with_help(default.key.span.clone(), message, "take one of the two away");
    }
    keys.finish("a var", faults);
    Some(need)
}

fn needed_secret(entry: &Entry, faults: &mut Faults) -> Option<NeededSecret> {
    let mut keys = Keys::of(entry, faults)?;
    let need = NeededSecret {
        name: entry.key.value.clone(),
        required: keys.flag("required", faults).is_some_and(|flag| flag.value),
        doc: keys.text("doc", faults).map(|text| text.value).unwrap_or_default(),
    };
    keys.finish("a secret", faults);
    Some(need)
}

/// Tables of output fields: written flat or nested, overridden and taken away one by one.
const LINES: [&str; 4] = ["headers", "query", "map", "capture"];

const VAR_TYPES: [(&str, VarType); 3] = [("text", VarType::Text), ("int", VarType::Int), ("bool", VarType::Bool)];

const PRESETS: [(&str, &str); 16] = [
    ("thrad", include_str!("../presets/thrad.toml")),
    ("impact", include_str!("../presets/impact.toml")),
    ("scaleo", include_str!("../presets/scaleo.toml")),
    ("trackdesk", include_str!("../presets/trackdesk.toml")),
    ("trackdesk-get", include_str!("../presets/trackdesk-get.toml")),
    ("dsp", include_str!("../presets/dsp.toml")),
    ("meta", include_str!("../presets/meta.toml")),
    ("tiktok", include_str!("../presets/tiktok.toml")),
    ("ga4", include_str!("../presets/ga4.toml")),
    ("google-ads", include_str!("../presets/google-ads.toml")),
    ("pinterest", include_str!("../presets/pinterest.toml")),
    ("snap", include_str!("../presets/snap.toml")),
    ("reddit", include_str!("../presets/reddit.toml")),
    ("linkedin", include_str!("../presets/linkedin.toml")),
    ("openai-ads", include_str!("../presets/openai-ads.toml")),
    ("awin", include_str!("../presets/awin.toml")),
];
