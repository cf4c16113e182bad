//! What may stand in a token's place: others of its class.

use capi_relay::conversion::{Kind, SCHEMA};
use capi_relay::mapping::filters;

use super::scan::{Piece, Sort};

/// The names that a preset, the schema and the language know.
pub(super) struct Names {
    /// Targets of `outputs`, in the order of the file.
    outputs: Vec<String>,
    /// With their types.
    vars: Vec<(String, String)>,
    secrets: Vec<String>,
    /// With their signatures.
    filters: Vec<(&'static str, String)>,
}

impl Names {
    pub(super) fn of(text: &str, pieces: &[Piece]) -> Names {
        let mut names = Names { outputs: Vec::new(), vars: Vec::new(), secrets: Vec::new(), filters: Vec::new() };
        for piece in pieces {
            let path: Vec<&str> = piece.path.iter().map(String::as_str).collect();
            match path.as_slice() {
                [.., "outputs", target]
                    if piece.sort == Sort::Key && !names.outputs.iter().any(|known| known == target) =>
                {
                    names.outputs.push((*target).to_owned());
                }
                ["needs", "vars", var, "type"] if piece.sort == Sort::Text => {
                    names.vars.push(((*var).to_owned(), text[piece.at.clone()].to_owned()));
                }
                ["needs", "secrets", secret] if piece.sort == Sort::Key => names.secrets.push((*secret).to_owned()),
                _ => {}
            }
        }
        let signature = |filter: &capi_relay::mapping::FilterDoc| filter.signature.replacen(filter.name, "…", 1);
        names.filters = filters().map(|filter| (filter.name, signature(&filter))).collect();
        names
    }

    /// Another output, in the place of one.
    pub(super) fn other_output(&self, name: &str) -> Option<String> {
        let own = self.outputs.iter().position(|known| known == name)?;
        self.outputs.iter().cycle().nth(own + 1).cloned()
    }

    /// The filters that take and give the same.
    pub(super) fn filters_like(&self, name: &str) -> impl Iterator<Item = &'static str> + use<'_> {
        let own = self.filters.iter().find(|(known, _)| *known == name).map(|(_, signature)| signature.as_str());
        let own = own.unwrap_or_default();
        let name = name.to_owned();
        self.filters
            .iter()
            .filter(move |(known, signature)| *known != name && signature == own)
            .map(|(known, _)| *known)
    }

    /// A path of the same type, and one of another.
    pub(super) fn paths_beside(&self, path: &str) -> Vec<String> {
        if let Some(var) = path.strip_prefix("vars.") {
            let own = self.vars.iter().find(|(name, _)| name == var).map(|(_, kind)| kind.as_str()).unwrap_or_default();
            let (same, other): (Vec<_>, Vec<_>) =
                self.vars.iter().filter(|(name, _)| name != var).partition(|(_, kind)| kind == own);
            let named = |var: Option<&(String, String)>| var.map(|(name, _)| format!("vars.{name}"));
            return [named(same.first().copied()), named(same.last().copied()), named(other.first().copied())]
                .into_iter()
                .flatten()
                .collect();
        }
        if let Some(secret) = path.strip_prefix("secrets.") {
            let other = self.secrets.iter().find(|known| *known != secret);
            return other.map(|other| format!("secrets.{other}")).into_iter().chain(["order_id".to_owned()]).collect();
        }
        let fixed: &[&str] = match path {
            "status" => &["body", "value"],
            "body" => &["status"],
            "meta.dedup_key" => &["meta.id", "meta.idempotency_key", "event_id", "order_id"],
            _ => &[],
        };
        fixed.iter().map(|other| (*other).to_owned()).chain(rows_beside(path)).collect()
    }
}

/// The next rows of the schema: of the same kind, of the same type, of another type.
fn rows_beside(path: &str) -> Vec<String> {
    let (path, of_item) = match path.strip_prefix("item.") {
        Some(field) => (format!("items[].{field}"), true),
        None => (path.to_owned(), false),
    };
    let rows: Vec<_> = SCHEMA.iter().filter(|row| row.path.starts_with("items[].") == of_item).collect();
    let Some(own) = rows.iter().position(|row| row.path == path) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    let kind = rows[own].kind;
    let alike: [&dyn Fn(Kind) -> bool; 3] = [
        &|other| std::mem::discriminant(&other) == std::mem::discriminant(&kind),
        &|other| letter(other) == letter(kind),
        &|other| letter(other) != letter(kind),
    ];
    for is_alike in alike {
        let next = rows.iter().cycle().skip(own + 1).take(rows.len() - 1).find(|row| is_alike(row.kind));
        found.extend(next.map(|row| row.path.replacen("items[].", "item.", 1).replace(".*", ".gclid")));
    }
    found
}

/// Stands for the type of a kind.
fn letter(kind: Kind) -> char {
    match kind {
        Kind::Text { .. }
        | Kind::Lines { .. }
        | Kind::Enum(_)
        | Kind::Currency
        | Kind::Country
        | Kind::Email
        | Kind::Ip
        | Kind::Url
        | Kind::Uuid
        | Kind::Digest { .. }
        | Kind::TextMap => 't',
        Kind::Money => 'm',
        Kind::Int => 'i',
        Kind::Bool => 'b',
        Kind::Timestamp => 's',
        Kind::Date => 'd',
        Kind::Json => 'j',
    }
}

/// The words that a key of a section takes.
pub(super) fn words(section: &str, key: &str) -> Option<&'static [&'static str]> {
    Some(match (section, key) {
        ("needs", "type") => &["text", "int", "bool"],
        (_, "type") => &["text", "number", "int", "bool", "object", "array", "any"],
        (_, "over") => &["truncate", "omit", "reject"],
        (_, "pii") => &["none", "plain", "hashed", "md5", "sha1", "sha256", "sha512"],
        (_, "method") => &["GET", "POST", "PUT", "DELETE"],
        (_, "on_ambiguous") => &["retry", "dead_letter"],
        (_, "test") => &["carry", "skip"],
        (_, "kind") => &["conversion", "refund", "adjustment"],
        (_, "unit") => &["seconds", "unix"],
        _ => return None,
    })
}

/// The next two keys that the same table knows.
pub(super) fn key_siblings(path: &[String]) -> Vec<String> {
    let keys: Vec<&str> = path.iter().map(String::as_str).collect();
    let own = match keys.as_slice() {
        ["operation", _, own @ ..] => own,
        own => own,
    };
    let (key, known): (&str, &[&str]) = match own {
        ["outputs", _, key] => (key, &OUTPUT),
        ["needs", "vars", _, key] => (key, &VAR),
        ["needs" | "outputs" | "map" | "capture" | "headers" | "omit_with" | "required_with", ..] => return Vec::new(),
        ["limits", key] => (key, &["rate", "burst", "concurrency"]),
        ["auth", key] => (key, &["bearer", "basic", "header", "query"]),
        [key] => (key, &OPERATION),
        _ => return Vec::new(),
    };
    let own = known.iter().position(|other| *other == key).map_or(0, |own| own + 1);
    known.iter().cycle().skip(own).take(2).map(|other| (*other).to_owned()).collect()
}

const OUTPUT: [&str; 8] = ["type", "required", "max_length", "over", "pii", "scale", "values", "unmapped"];
const VAR: [&str; 4] = ["type", "required", "default", "values"];
const OPERATION: [&str; 12] = [
    "when",
    "otherwise",
    "method",
    "body",
    "duplicate_when",
    "delivered_when",
    "rejected_when",
    "suspended_when",
    "ambiguous_when",
    "retry_when",
    "on_ambiguous",
    "on_unmappable",
];
