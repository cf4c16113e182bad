//! Any conversion that the schema allows, made from the table itself, so that a new row is covered on the day it is added.
//!
//! Read by the integration tests and, through `#[path]`, by the unit tests of the mapping: whoever includes it brings
//! `Kind` and `SCHEMA` into the module above.
#![expect(clippy::arithmetic_side_effects, reason = "lengths of texts made here")]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Kind, SCHEMA};

/// A conversion as a merchant might post it: every row of the schema with its own chance, the rules across fields kept.
pub(crate) fn conversion() -> impl Strategy<Value = String> {
    let rows = |of_items: bool| -> Vec<_> {
        SCHEMA
            .iter()
            .filter(|field| field.path.starts_with("items[].") == of_items && field.path != "kind")
            .map(|field| (Just(field.path), row(field.path, field.kind)).boxed())
            .collect()
    };
    let items = prop_oneof![1 => Just(Vec::new()), 2 => vec(rows(true), 0..4)];
    (select(KINDS), any::<bool>(), 0_u8..=10, rows(false), items).prop_map(|(kind, sparse, share, top, items)| {
        let signed = if kind == "refund" { "-" } else { "" };
        let share = if sparse { share / 4 } else { share };
        let is_chosen = |path: &str, chance: u8| chance < share || needed(kind, path);
        let says_part =
            !items.is_empty() || top.iter().any(|(path, (chance, _))| PARTS.contains(path) && is_chosen(path, *chance));
        let kept = |(path, (chance, value)): &(&'static str, (u8, String))| {
            let is_allowed = kind != "refund" || says_part || !is_amount(path);
            (is_allowed && is_chosen(path, *chance)).then(|| (*path, value.replace(SIGN, signed)))
        };
        let mut members: Vec<String> = object(top.iter().filter_map(kept));
        members.push(format!(r#""kind":"{kind}""#));
        let lines = items.iter().map(|item| {
            let named = item.iter().filter_map(kept).map(|(path, value)| (path.trim_start_matches("items[]."), value));
            format!("{{{}}}", object(named).join(","))
        });
        let lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            members.push(format!(r#""items":[{}]"#, lines.join(",")));
        }
        format!("{{{}}}", members.join(","))
    })
}

/// An amount of up to 28 digits, as it is written: small ones, those on the edge of a rounding, those beyond 2⁵³.
pub(crate) fn amount() -> impl Strategy<Value = String> {
    let written = |digits: String, scale: usize| {
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
        if scale == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") }
    };
    let any = ("[0-9]{1,28}", 0_usize..=28).prop_map(move |(digits, scale)| written(digits, scale));
    let usual = ("[0-9]{1,9}", 0_usize..=4).prop_map(move |(digits, scale)| written(digits, scale));
    let halves = ("[0-9]{1,8}", 1_usize..=6, "[49]{0,3}5|50{1,4}1?").prop_map(move |(digits, scale, end)| {
        let scale = scale + end.len();
        written(digits + &end, scale)
    });
    let beyond = (9_007_199_254_740_990_u64..9_007_199_254_741_000, 0_usize..=6)
        .prop_map(move |(number, scale)| written(number.to_string(), scale));
    prop_oneof![3 => any, 3 => usual, 3 => halves, 1 => beyond]
}

/// Codes of every exponent: none, two, three, four decimals, and gold, which has no minor unit.
pub(crate) const CURRENCIES: &[&str] = &["EUR", "JPY", "KWD", "BHD", "CLF", "XAU"];

const KINDS: &[&str] = &["conversion", "conversion", "refund", "adjustment"];

/// Stands before an amount until the kind is known: only a refund may be negative.
const SIGN: char = '\u{1}';

/// What says, beside items, which part of an order is refunded: without it a refund names no amount.
const PARTS: [&str; 2] = ["value", "order.subtotal"];

fn is_amount(path: &str) -> bool {
    SCHEMA.iter().any(|field| field.path == path && field.kind == Kind::Money)
}

fn needed(kind: &str, path: &str) -> bool {
    let later = kind != "conversion";
    matches!(path, "time" | "currency") || (path == "order_id" && later) || (path == "value" && kind == "adjustment")
}

/// A chance of ten, and a value as JSON.
fn row(path: &'static str, kind: Kind) -> impl Strategy<Value = (u8, String)> {
    (0_u8..10, value(path, kind))
}

fn value(path: &'static str, kind: Kind) -> BoxedStrategy<String> {
    let quoted = |text: String| serde_json::Value::from(text).to_string();
    match kind {
        Kind::Text { chars_max } => text(chars_max).prop_map(quoted).boxed(),
        Kind::Lines { chars_max } => {
            text(chars_max).prop_map(|text| text.replacen(' ', "\n", 2)).prop_map(quoted).boxed()
        }
        Kind::Money => {
            let signed = (any::<bool>(), any::<bool>(), amount());
            let written = |(negative, string, amount): (bool, bool, String)| {
                let zero = amount.bytes().all(|byte| matches!(byte, b'0' | b'.'));
                let sign = if negative && !zero { SIGN.to_string() } else { String::new() };
                if string { format!("\"{sign}{amount}\"") } else { format!("{sign}{amount}") }
            };
            signed.prop_map(written).boxed()
        }
        Kind::Int => (0_u64..=9_007_199_254_740_991).prop_map(|number| number.to_string()).boxed(),
        Kind::Bool => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        Kind::Timestamp => (86_400_i64..253_000_000_000, "(\\.[0-9]{1,9})?", select(OFFSETS))
            .prop_map(|(second, fraction, offset)| {
                let time = jiff::Timestamp::from_second(second).map(|time| time.to_string()).unwrap_or_default();
                format!("\"{}{fraction}{offset}\"", time.trim_end_matches('Z'))
            })
            .boxed(),
        Kind::Date => "(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])".prop_map(quoted).boxed(),
        Kind::Enum(words) => select(words).prop_map(|word| format!("\"{word}\"")).boxed(),
        Kind::Currency => select(CURRENCIES).prop_map(|word| format!("\"{word}\"")).boxed(),
        Kind::Country => select(&["DE", "USA", "GB"][..]).prop_map(|word| format!("\"{word}\"")).boxed(),
        Kind::Email => "[A-Za-z0-9._+]{0,8}[a-z]@(gmail|[a-z]{1,9})\\.com"
            .prop_map(|text| text.replace("..", "x").trim_start_matches('.').to_owned())
            .prop_map(quoted)
            .boxed(),
        Kind::Ip => {
            select(&["203.0.113.7", "2001:db8::1", "::ffff:192.0.2.1"][..]).prop_map(|ip| format!("\"{ip}\"")).boxed()
        }
        Kind::Url => "https?://[a-z]{1,9}\\.example(/[a-zäß%&=?#']{0,12})?".prop_map(quoted).boxed(),
        Kind::Uuid => "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".prop_map(quoted).boxed(),
        Kind::Digest { chars } => vec(select(b"0123456789abcdef".as_slice()), chars)
            .prop_map(move |digits| quoted(digits.into_iter().map(char::from).collect()))
            .boxed(),
        Kind::TextMap => btree_map("thrad|impact|scaleo|trackdesk|[a-zA-Z0-9_-]{1,6}", text(64), 0..5)
            .prop_map(|ids| serde_json::json!(ids).to_string())
            .boxed(),
        Kind::Json if path == "custom" => free(2).boxed(),
        Kind::Json => free(1).boxed(),
    }
}

/// Text that is right anywhere: no control character, and never an address.
fn text(chars_max: usize) -> BoxedStrategy<String> {
    let usual = "[!-?A-~äß€😀一]([ -?A-~äß€😀一]{0,10}[!-?A-~äß€😀一])?";
    let usual = usual.prop_map(move |text: String| text.chars().take(chars_max).collect::<String>());
    let full = select(vec!['x', 'é', '😀', '&', '"']).prop_map(move |letter| letter.to_string().repeat(chars_max));
    prop_oneof![12 => usual, 1 => full].boxed()
}

/// An object as people keep under `custom`: the vendors' own names among any others.
fn free(depth: u32) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        amount(),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        "[ -~äß😀]{0,12}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    let any = leaf.prop_recursive(depth, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|entries| format!("[{}]", entries.join(","))),
            members("[a-zA-Z0-9_ .ä]{0,6}", inner),
        ]
    });
    let vendors = "(f[0-9]|Text[1-9]|Numeric[12]|Money[123]|Date1|SubId1|sub_id1|custom1|advS[1-5])";
    let vendor = members(vendors, any.clone().boxed());
    let named = btree_map("impact|thrad|scaleo|trackdesk", vendor, 0..3);
    let named = named.prop_map(|vendors| {
        vendors.into_iter().map(|(name, members)| format!("\"{name}\":{members}")).collect::<Vec<_>>()
    });
    (named, btree_map("f[0-9]|[a-z]{1,4}_", any, 0..4)).prop_map(|(mut all, others)| {
        all.extend(others.into_iter().map(|(name, value)| format!("\"{name}\":{value}")));
        format!("{{{}}}", all.join(","))
    })
}

fn members(names: &'static str, values: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    btree_map(names, values, 0..4).prop_map(|members| {
        let quoted = |name| serde_json::Value::from(name).to_string();
        let members = members.into_iter().map(|(name, value): (String, String)| format!("{}:{value}", quoted(name)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

/// Members of an object from paths and values: `customer.id` stands in `customer`.
fn object<'a>(fields: impl Iterator<Item = (&'a str, String)>) -> Vec<String> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut members = Vec::new();
    for (path, value) in fields {
        match path.split_once('.') {
            Some((group, "*")) => members.push(format!("\"{group}\":{value}")),
            Some((group, name)) => groups.entry(group).or_default().push(format!("\"{name}\":{value}")),
            None => members.push(format!("\"{path}\":{value}")),
        }
    }
    members.extend(groups.iter().map(|(group, inner)| format!("\"{group}\":{{{}}}", inner.join(","))));
    members
}

const OFFSETS: &[&str] = &["Z", "+02:00", "-11:30"];
