//! Whether a value is there for every conversion that is sent, and if not, why not.

use super::content;
use super::facts::{Facts, Known, Leaf};
use crate::conversion::Kind;
use crate::mapping::ops::{Edit, Inexact, List, Op};
use crate::mapping::program::{Call, Node};
use crate::mapping::value::Val;

/// Why a value may be absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mapping) enum Gap {
    /// This field may be.
    Field(String),
    /// This filter gives nothing of some values.
    Filter(&'static str),
    /// It names a var or a secret that is not set.
    Unset,
}

/// The first reason why it may be absent of a conversion of which this is known.
pub(in crate::mapping) fn gap(node: &Node, known: &Known) -> Option<Gap> {
    known.alternatives().iter().find_map(|facts| gap_in(node, facts))
}

/// Whether it never has a value.
pub(in crate::mapping) fn is_never(node: &Node) -> bool {
    matches!(node, Node::Absent)
}

/// Whether of some groups of values one is always there as a whole.
pub(in crate::mapping) fn one_stands(groups: &[Vec<&Node>], known: &Known) -> bool {
    let stands = |facts: &Facts| groups.iter().any(|parts| parts.iter().all(|part| gap_in(part, facts).is_none()));
    known.alternatives().iter().all(stands)
}

/// Whether in each alternative one of some groups stands as a whole, or one of some values of an item does for some item;
/// `None`: of every item it does.
pub(in crate::mapping) fn something_stands(groups: &[Vec<&Node>], of_items: &[Option<&Node>], known: &Known) -> bool {
    let of_item = |facts: &Facts| of_items.iter().any(|node| node.is_none_or(|node| gap_in(node, facts).is_none()));
    let stands = |facts: &Facts| {
        groups.iter().any(|parts| parts.iter().all(|part| gap_in(part, facts).is_none()))
            || facts.of_some_item().any(|facts| of_item(&facts))
    };
    known.alternatives().iter().all(stands)
}

pub(super) fn gap_in(node: &Node, facts: &Facts) -> Option<Gap> {
    if let Some(leaf) = Leaf::of(node) {
        return (!facts.has(&leaf)).then(|| Gap::Field(leaf.to_string()));
    }
    match node {
        Node::Const(_) | Node::Secret(_) => None,
        Node::Concat(parts) | Node::Arithmetic(_, parts) => parts.iter().find_map(|part| gap_in(part, facts)),
        // The last alternative is what is left where the others are absent.
        Node::First(parts) => {
            let gaps: Option<Vec<Gap>> = parts.iter().map(|part| gap_in(part, facts)).collect();
            gaps.and_then(|mut gaps| gaps.pop())
        }
        Node::Pipe(input, calls) => after(input, calls, facts),
        Node::Each(_) => Some(Gap::Field("items".to_owned())),
        Node::Items(entry) => Leaf::of(entry).map(|leaf| Gap::Field(leaf.to_string().replace("item.", "items[]."))),
        Node::Absent
        | Node::Field(_)
        | Node::ItemField(_)
        | Node::ClickId(_)
        | Node::Custom(_)
        | Node::ItemCustom(_)
        | Node::Meta(_)
        | Node::Status
        | Node::Header(_)
        | Node::Body
        | Node::BodyJson(_)
        | Node::Finished(_) => Some(Gap::Unset),
    }
}

/// What is left after the filters, one after the other.
pub(super) fn after(input: &Node, calls: &[Call], facts: &Facts) -> Option<Gap> {
    let mut gap = gap_in(input, facts);
    for (i, call) in calls.iter().enumerate() {
        gap = match (&call.op, gap) {
            (Op::Default(value), _)
                if call.stands_for_nothing() && !matches!(value, Val::Text(text) if text.is_empty()) =>
            {
                None
            }
            (_, Some(gap)) => Some(gap),
            (op, None) => {
                let before = || content::words_before(input, calls.get(..i).unwrap_or_default(), facts);
                let loses = lossy(op).filter(|_| !before().is_some_and(|words| content::keeps(op, &words)));
                loses.filter(|_| !is_kept(input, calls.get(..i).unwrap_or_default(), op)).map(Gap::Filter)
            }
        };
    }
    gap
}

/// Trimming what has no blanks, or digits of what is all digits, loses nothing.
fn is_kept(input: &Node, before: &[Call], op: &Op) -> bool {
    let (Node::Field(slot) | Node::ItemField(slot)) = input else { return false };
    let only_case = before.iter().all(|call| matches!(call.op, Op::Lower | Op::Upper | Op::Trim | Op::EmailCanonical));
    let blankless = match slot.field().kind {
        Kind::Email | Kind::Enum(_) | Kind::Currency | Kind::Country | Kind::Ip | Kind::Url | Kind::Uuid => true,
        Kind::Digest { .. } | Kind::Int | Kind::Money | Kind::Bool | Kind::Timestamp | Kind::Date => true,
        Kind::Text { .. } | Kind::Lines { .. } | Kind::TextMap | Kind::Json => false,
    };
    matches!(op, Op::Trim | Op::EmailCanonical) && only_case && blankless
}

/// The name of a filter that gives nothing of some values.
fn lossy(op: &Op) -> Option<&'static str> {
    match op {
        Op::Trim => Some("trim"),
        Op::EmailCanonical => Some("email_canonical"),
        Op::Digits => Some("digits"),
        Op::Truncate(0) => Some("truncate"),
        Op::Replace(..) => Some("replace"),
        Op::Lookup(_) => Some("lookup"),
        Op::Spell(words) if words.iter().any(|word| matches!(word, Val::Text(text) if text.is_empty())) => Some("bool"),
        Op::Edit(edit) => lossy_edit(edit),
        Op::List(list) => lossy_list(list),
        Op::Browser => Some("ua_browser"),
        Op::Os => Some("ua_os"),
        Op::UrlParam(_) => Some("url_param"),
        Op::MinorUnits(Inexact::Omit) => Some("minor_units"),
        Op::Default(_)
        | Op::Lower
        | Op::Upper
        | Op::E164
        | Op::Truncate(_)
        | Op::Prefix(_)
        | Op::Suffix(_)
        | Op::Hash(..)
        | Op::Hmac(..)
        | Op::Hex
        | Op::Base64
        | Op::Text
        | Op::Int
        | Op::Number
        | Op::Spell(_)
        | Op::Decimal(_)
        | Op::DecimalMax(_)
        | Op::MinorUnits(Inexact::Refuse)
        | Op::Micros
        | Op::Negate
        | Op::Mul(_)
        | Op::Add(_)
        | Op::StripZeros
        | Op::Rfc3339(_)
        | Op::Unix(_)
        | Op::Strftime { .. }
        | Op::Json => None,
    }
}

fn lossy_edit(edit: &Edit) -> Option<&'static str> {
    match edit {
        Edit::Alphanumeric => Some("alphanumeric"),
        Edit::TruncateBytes(_) => Some("truncate_bytes"),
        Edit::Substring(..) => Some("substring"),
        Edit::ReplaceAll(..) => Some("replace_re"),
        Edit::Extract(_) => Some("extract"),
        Edit::PhoneDigits => Some("phone_digits"),
        Edit::PhonePlus => Some("phone_plus"),
        Edit::Cookie(_) => Some("cookie"),
        Edit::Pad(..) | Edit::UrlEncode => None,
    }
}

fn lossy_list(list: &List) -> Option<&'static str> {
    match list {
        List::Join(..) => Some("join"),
        List::Split(_) => Some("split"),
        List::Nth(_) => Some("nth"),
        List::Total => Some("total"),
        List::Pick(_) => Some("pick"),
        List::Without(_) => Some("without"),
    }
}
