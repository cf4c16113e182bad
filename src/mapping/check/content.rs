//! What is known of a value before there is one: the words that it can be, how short it can be at least, how many decimals
//! it has at most, and what of a person it tells.

use super::facts::{Facts, Known, Leaf};
use super::presence;
use crate::conversion::{Kind, Privacy, Slot};
use crate::mapping::ops::{Algorithm, Coding, Edit, List, Op, Word};
use crate::mapping::program::{Call, MetaField, Node};
use crate::mapping::scope::Secrets;
use crate::mapping::value::Val;

/// The only values that it can have, as they leave; `None`: any.
pub(in crate::mapping) fn words(node: &Node, known: &Known) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for facts in known.alternatives() {
        for value in words_in(node, facts)? {
            let shown = value.into_scalar_text()?.into_owned();
            if !all.contains(&shown) {
                all.push(shown);
            }
        }
    }
    Some(all)
}

/// Values that it can have for all that is known, whatever else it can be.
pub(in crate::mapping) fn some_words(node: &Node, known: &Known) -> Vec<String> {
    let mut all = Vec::new();
    for facts in known.alternatives() {
        let values = some_words_in(node, facts).into_iter();
        for shown in values.filter_map(Val::into_scalar_text).map(|text| text.into_owned()) {
            if !all.contains(&shown) {
                all.push(shown);
            }
        }
    }
    all
}

/// Why a value that is a field as it stands can be none of these texts; `None`: it can be one, or that is not known.
pub(in crate::mapping) fn never_one_of(node: &Node, texts: &[String]) -> Option<String> {
    let (Node::Field(slot) | Node::ItemField(slot)) = node else { return None };
    let refused: Option<Vec<String>> = texts.iter().map(|text| slot.field().kind.refuses(text)).collect();
    let wrong = refused?.pop()?;
    Some(format!("`{}` {wrong}", Leaf::of(node)?))
}

/// Its alternatives that are written out.
pub(in crate::mapping) fn literals(node: &Node) -> Vec<String> {
    let shown = |value: &Val<'static>| value.borrowed().into_scalar_text().map(|text| text.into_owned());
    if let Node::First(parts) = node {
        return parts.iter().flat_map(literals).collect();
    }
    let mut value = if let Node::Const(value) = node { Some(value) } else { None };
    if let Node::Pipe(_, calls) = node
        && let Some(Op::Default(default)) = calls.last().map(|call| &call.op)
    {
        value = Some(default);
    }
    value.and_then(shown).into_iter().collect()
}

fn some_words_in(node: &Node, facts: &Facts) -> Vec<Val<'static>> {
    let Node::First(parts) = node else {
        return words_in(node, facts).or_else(|| stand_in(node)).unwrap_or_default();
    };
    let mut all = Vec::new();
    for part in parts {
        all.extend(some_words_in(part, facts));
        if presence::gap_in(part, facts).is_none() {
            break;
        }
    }
    all
}

/// What `| default(…)` gives where nothing else is known, as the filters behind it leave it.
fn stand_in(node: &Node) -> Option<Vec<Val<'static>>> {
    let Node::Pipe(_, calls) = node else { return None };
    let at = calls.iter().rposition(|call| matches!(call.op, Op::Default(_)))?;
    let (default, behind) = calls.get(at..)?.split_first()?;
    let Op::Default(value) = &default.op else { return None };
    if behind.iter().any(|call| call.secret) {
        return None;
    }
    behind.iter().try_fold(vec![value.clone()], |words, call| filtered(Some(words), &call.op))
}

fn words_in(node: &Node, facts: &Facts) -> Option<Vec<Val<'static>>> {
    if let Some(leaf) = Leaf::of(node) {
        let words = facts.words(&leaf)?;
        return Some(words.into_iter().map(|word| Val::Text(word.to_owned().into())).collect());
    }
    if let Node::Const(value) = node {
        return (!matches!(value, Val::List(_) | Val::Json(_))).then(|| vec![value.borrowed().into_owned()]);
    }
    if let Node::First(parts) = node {
        let mut all = Vec::new();
        for part in parts {
            all.extend(words_in(part, facts)?);
            if presence::gap_in(part, facts).is_none() {
                break;
            }
        }
        return Some(all);
    }
    if let Node::Pipe(input, calls) = node { words_before(input, calls, facts) } else { None }
}

/// The words that come out of these filters.
pub(super) fn words_before(input: &Node, calls: &[Call], facts: &Facts) -> Option<Vec<Val<'static>>> {
    let first = words_in(input, facts);
    calls.iter().fold(first, |words, call| if call.secret { None } else { filtered(words, &call.op) })
}

fn filtered(words: Option<Vec<Val<'static>>>, op: &Op) -> Option<Vec<Val<'static>>> {
    match (op, words) {
        (Op::Lookup(members), None) => Some(members.iter().map(|(_, value)| value.borrowed().into_owned()).collect()),
        (Op::Spell(both), None) => Some(both.iter().filter(|value| !is_empty(value)).cloned().collect()),
        (_, None) => None,
        (Op::Default(value), Some(mut words)) => {
            words.push(value.clone());
            Some(words)
        }
        (op, Some(words)) => Some(words.into_iter().filter_map(|word| applied(op, word)).collect()),
    }
}

/// What a filter makes of a word; nothing where it gives nothing, or ends the request.
pub(super) fn applied(op: &Op, word: Val<'static>) -> Option<Val<'static>> {
    op.apply(word, Secrets::Masked, None).ok().flatten().map(Val::into_owned)
}

/// Whether a filter gives something of each of these words.
pub(super) fn keeps(op: &Op, words: &[Val<'static>]) -> bool {
    words.iter().all(|word| op.apply(word.borrowed(), Secrets::Masked, None) != Ok(None))
}

fn is_empty(value: &Val<'_>) -> bool {
    matches!(value, Val::Text(text) if text.is_empty())
}

/// The most characters that it can have; `None`: any.
pub(in crate::mapping) fn chars_max(node: &Node) -> Option<usize> {
    if let Node::Field(slot) | Node::ItemField(slot) = node {
        return match slot.field().kind {
            Kind::Text { chars_max } | Kind::Lines { chars_max } => Some(chars_max),
            Kind::Digest { chars } => Some(chars),
            Kind::Uuid => Some(UUID_CHARS),
            Kind::Enum(_) | Kind::Currency | Kind::Country | Kind::Email | Kind::Ip | Kind::Url => None,
            Kind::Money | Kind::Int | Kind::Bool | Kind::Timestamp | Kind::Date | Kind::TextMap | Kind::Json => None,
        };
    }
    if let Node::First(parts) = node {
        return parts.iter().map(chars_max).try_fold(0, |most, part| Some(most.max(part?)));
    }
    if let Node::Const(value) = node {
        return value.borrowed().into_scalar_text().map(|text| text.chars().count());
    }
    if let Node::Concat(parts) = node {
        return parts.iter().map(chars_max).try_fold(0_usize, |most, part| Some(most.saturating_add(part?)));
    }
    if let Node::Meta(MetaField::Id) = node {
        return Some(UUID_CHARS);
    }
    let Node::Pipe(input, calls) = node else { return None };
    calls.iter().fold(chars_max(input), |most, call| chars_max_after(most, &call.op))
}

pub(super) fn chars_max_after(most: Option<usize>, op: &Op) -> Option<usize> {
    if let Op::Hash(algorithm, coding) | Op::Hmac(algorithm, _, coding) = op {
        return Some(algorithm.chars(*coding));
    }
    // A character has a byte at least.
    if let Op::Truncate(cut) | Op::Edit(Edit::TruncateBytes(cut)) = op {
        return Some(most.map_or(*cut, |most| most.min(*cut)));
    }
    if let Op::Edit(Edit::Substring(from, kept)) = op {
        let rest = most.map(|most| most.saturating_sub(*from));
        return rest.map_or(*kept, |rest| Some(kept.map_or(rest, |kept| rest.min(kept))));
    }
    if let Op::Prefix(Word::Plain(text)) | Op::Suffix(Word::Plain(text)) = op {
        return most.map(|most| most.saturating_add(text.chars().count()));
    }
    if let Op::Edit(Edit::Pad(_, least, _)) = op {
        return most.map(|most| most.max(*least));
    }
    if let Op::Replace(Word::Plain(old), Word::Plain(new)) = op {
        return most.filter(|_| new.chars().count() <= old.chars().count());
    }
    most.filter(|_| matches!(op, Op::Text | Op::Trim | Op::Edit(Edit::Alphanumeric)))
}

/// `0190a6e2-5f4c-7c3e-9f1a-2b3c4d5e6f70`.
const UUID_CHARS: usize = 36;

/// The fewest characters that it has where it is there.
pub(in crate::mapping) fn chars_min(node: &Node) -> usize {
    match node {
        Node::Field(slot) | Node::ItemField(slot) => match slot.field().kind {
            Kind::Digest { chars } => chars,
            Kind::Uuid => UUID_CHARS,
            Kind::Currency => CURRENCY_CHARS,
            Kind::Country => COUNTRY_CHARS_MIN,
            Kind::Enum(words) => words.iter().map(|word| word.chars().count()).min().unwrap_or(1),
            Kind::Text { .. } | Kind::Lines { .. } | Kind::Money | Kind::Int | Kind::Bool | Kind::Timestamp => 1,
            Kind::Date | Kind::Email | Kind::Ip | Kind::Url | Kind::TextMap | Kind::Json => 1,
        },
        Node::Concat(parts) => parts.iter().map(chars_min).fold(0, usize::saturating_add),
        Node::First(parts) => parts.iter().map(chars_min).min().unwrap_or(0),
        Node::Pipe(input, calls) => calls.iter().fold(chars_min(input), |chars, call| after(chars, &call.op)),
        Node::Const(value) => value.borrowed().into_scalar_text().map_or(1, |text| text.chars().count()),
        Node::Absent
        | Node::Secret(_)
        | Node::ClickId(_)
        | Node::Custom(_)
        | Node::ItemCustom(_)
        | Node::Items(_)
        | Node::Each(_)
        | Node::Arithmetic(..)
        | Node::Meta(_)
        | Node::Status
        | Node::Header(_)
        | Node::Body
        | Node::BodyJson(_)
        | Node::Finished(_) => 1,
    }
}

/// The fewest characters after a filter that takes a text of so many.
fn after(chars: usize, op: &Op) -> usize {
    if let Op::Hash(algorithm, coding) = op {
        return algorithm.chars(*coding);
    }
    if let Op::Rfc3339(digits) = op {
        return RFC3339_CHARS.saturating_add(digits.map_or(0, |digits| digits.saturating_add(digits.min(1))));
    }
    if let Op::Truncate(most) = op {
        return chars.min(*most);
    }
    if matches!(op, Op::Lower | Op::Upper | Op::Text | Op::Default(_)) { chars } else { 1 }
}

/// ISO 4217.
const CURRENCY_CHARS: usize = 3;
/// ISO 3166-1 alpha-2.
const COUNTRY_CHARS_MIN: usize = 2;

/// `2026-05-26T12:34:56Z`.
const RFC3339_CHARS: usize = 20;

impl Algorithm {
    fn bytes(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// Of its digests.
    pub(in crate::mapping) fn chars(self, coding: Coding) -> usize {
        match coding {
            Coding::Hex => self.bytes().saturating_mul(2),
            Coding::Base64 => self.bytes().div_ceil(3).saturating_mul(4),
        }
    }

    /// Of its digests in base64, the padding left out.
    pub(in crate::mapping) fn base64_signs(self) -> usize {
        self.bytes().saturating_mul(4).div_ceil(3)
    }
}

/// The most decimals that a number has; `None`: any.
pub(in crate::mapping) fn decimals_max(node: &Node) -> Option<u32> {
    match node {
        Node::Absent => Some(0),
        Node::Field(slot) | Node::ItemField(slot) => (slot.field().kind == Kind::Int).then_some(0),
        Node::Const(value) => value.decimal().map(|decimal| decimal.scale()),
        Node::First(parts) => parts.iter().map(decimals_max).try_fold(0, |most, part| Some(most.max(part?))),
        Node::Pipe(input, calls) => calls.iter().fold(decimals_max(input), |most, call| decimals_after(most, &call.op)),
        Node::Secret(_)
        | Node::ClickId(_)
        | Node::Custom(_)
        | Node::ItemCustom(_)
        | Node::Items(_)
        | Node::Each(_)
        | Node::Arithmetic(..)
        | Node::Meta(_)
        | Node::Status
        | Node::Header(_)
        | Node::Body
        | Node::BodyJson(_)
        | Node::Finished(_)
        | Node::Concat(_) => None,
    }
}

fn decimals_after(most: Option<u32>, op: &Op) -> Option<u32> {
    if let Op::Decimal(scale) | Op::DecimalMax(scale) = op {
        return Some(*scale);
    }
    if matches!(op, Op::Int | Op::MinorUnits(_) | Op::Micros | Op::Unix(_)) {
        return Some(0);
    }
    if let Op::Default(value) = op {
        return Some(most?.max(value.decimal()?.scale()));
    }
    most.filter(|_| matches!(op, Op::Negate | Op::StripZeros | Op::Text | Op::Number))
}

/// Whether it is a time as a text that is no number: `2026-11-20`, and not `20261120`.
pub(in crate::mapping) fn is_written_time(node: &Node) -> bool {
    let Node::Pipe(_, calls) = node else { return false };
    let Some(Call { op: op @ (Op::Rfc3339(_) | Op::Strftime { .. }), .. }) = calls.last() else { return false };
    let sample = Val::text("2026-11-20T14:03:27Z").and_then(|time| applied(op, time));
    let written = sample.and_then(Val::into_scalar_text);
    written.is_some_and(|written| written.parse::<u64>().is_err())
}

/// Whether it is an amount of money, as a number or as its text, that may have decimals.
pub(super) fn is_fractional_amount(node: &Node) -> bool {
    is_amount(node) && decimals_max(node) != Some(0)
}

fn is_amount(node: &Node) -> bool {
    match node {
        Node::Field(slot) | Node::ItemField(slot) => slot.field().kind == Kind::Money,
        Node::Items(entry) | Node::Each(entry) => is_amount(entry),
        Node::First(parts) | Node::Arithmetic(_, parts) => parts.iter().any(is_amount),
        Node::Pipe(input, calls) => {
            calls.iter().fold(is_amount(input), |amount, call| amount && stays_amount(&call.op))
        }
        Node::Absent
        | Node::Const(_)
        | Node::Secret(_)
        | Node::ClickId(_)
        | Node::Custom(_)
        | Node::ItemCustom(_)
        | Node::Concat(_)
        | Node::Meta(_)
        | Node::Status
        | Node::Header(_)
        | Node::Body
        | Node::BodyJson(_)
        | Node::Finished(_) => false,
    }
}

fn stays_amount(op: &Op) -> bool {
    let is_number =
        matches!(op, Op::Decimal(_) | Op::DecimalMax(_) | Op::StripZeros | Op::Negate | Op::Mul(_) | Op::Add(_));
    let is_kept =
        matches!(op, Op::Text | Op::Trim | Op::Number | Op::Default(_) | Op::List(List::Nth(_) | List::Total));
    is_number || is_kept
}

/// A field of the conversion that stands in a value, or is hashed into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mapping) struct Origin {
    /// As an expression names it.
    pub(in crate::mapping) path: String,
    /// Names a person, or may.
    pub(in crate::mapping) personal: bool,
    /// Free data: the merchant's own business what it tells.
    pub(in crate::mapping) free: bool,
    /// A plain e-mail address, and whether it was brought to lower case.
    pub(in crate::mapping) email: bool,
    pub(in crate::mapping) lowered: bool,
    pub(in crate::mapping) hashed: Option<Hashed>,
}

/// How a value was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mapping) enum Hashed {
    By(Algorithm),
    /// With a key: nobody else can compute it.
    Keyed,
}

/// Every field that stands in it.
pub(in crate::mapping) fn origins(node: &Node) -> Vec<Origin> {
    match node {
        Node::Field(slot) | Node::ItemField(slot) => vec![origin(node, Some(*slot))],
        Node::ClickId(_) | Node::Custom(_) | Node::ItemCustom(_) | Node::Meta(_) => vec![origin(node, None)],
        Node::Items(entry) | Node::Each(entry) => origins(entry),
        Node::Concat(parts) | Node::First(parts) | Node::Arithmetic(_, parts) => {
            parts.iter().flat_map(origins).collect()
        }
        Node::Pipe(input, calls) => calls.iter().fold(origins(input), |origins, call| through(origins, &call.op)),
        Node::Absent
        | Node::Const(_)
        | Node::Secret(_)
        | Node::Status
        | Node::Header(_)
        | Node::Body
        | Node::BodyJson(_)
        | Node::Finished(_) => Vec::new(),
    }
}

fn origin(node: &Node, slot: Option<Slot>) -> Origin {
    let kind = slot.map(|slot| slot.field().kind);
    let digest = |chars| Hashed::By(if chars == SHA1_CHARS { Algorithm::Sha1 } else { Algorithm::Sha256 });
    let hashed = if let Some(Kind::Digest { chars }) = kind { Some(digest(chars)) } else { None };
    Origin {
        path: Leaf::of(node).map(|leaf| leaf.to_string()).unwrap_or_default(),
        personal: slot.is_some_and(|slot| slot.field().class == Privacy::Personal && hashed.is_none()),
        free: matches!(node, Node::Custom(_) | Node::ItemCustom(_)),
        email: kind == Some(Kind::Email),
        lowered: false,
        hashed,
    }
}

/// Hex digits of a SHA-1.
const SHA1_CHARS: usize = 40;

/// What is left of them after a filter.
fn through(mut origins: Vec<Origin>, op: &Op) -> Vec<Origin> {
    // Nothing of what came in stands in what comes out.
    if matches!(op, Op::Lookup(_) | Op::Spell(_) | Op::Browser | Op::Os | Op::UrlParam(_)) {
        return Vec::new();
    }
    let by = if let Op::Hash(algorithm, _) = op { Some(Hashed::By(*algorithm)) } else { None };
    let hashed = by.or(matches!(op, Op::Hmac(..)).then_some(Hashed::Keyed));
    for origin in &mut origins {
        origin.lowered |= matches!(op, Op::Lower | Op::EmailCanonical);
        origin.hashed = hashed.or(origin.hashed);
    }
    origins
}

impl Hashed {
    /// As filters and `pii` name it.
    pub(in crate::mapping) fn name(self) -> &'static str {
        match self {
            Hashed::By(Algorithm::Md5) => "md5",
            Hashed::By(Algorithm::Sha1) => "sha1",
            Hashed::By(Algorithm::Sha256) => "sha256",
            Hashed::By(Algorithm::Sha512) => "sha512",
            Hashed::Keyed => "hmac",
        }
    }
}
