//! Whether what names a conversion still tells it from every other behind its filters.
//!
//! Names are the order, the event and the keys in `meta.`; free data may be one. Of anything else nothing is said: that two
//! spellings of an address become one is what a filter is for, but two order numbers that do are a sale lost.

use super::content;
use super::facts::Leaf;
use crate::mapping::ops::{Coding, Edit, List, Op};
use crate::mapping::program::{MetaField, Node};

/// A filter that can make one name of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mapping) struct Merging {
    pub(in crate::mapping) filter: &'static str,
    /// It cuts to so many characters.
    pub(in crate::mapping) cut: Option<usize>,
}

/// The first one in these parts, which stand one behind the other; none where one of them is a whole name.
pub(in crate::mapping) fn merging<'n>(parts: impl IntoIterator<Item = &'n Node>) -> Option<Merging> {
    let mut first = None;
    for part in parts {
        let found = merging_in(part);
        if found.is_none() && name(part) == Some(Name::Sure) {
            return None;
        }
        first = first.or(found);
    }
    first
}

fn merging_in(node: &Node) -> Option<Merging> {
    if let Node::Concat(parts) = node {
        return merging(parts);
    }
    if let Node::First(parts) = node {
        return parts.iter().find_map(merging_in);
    }
    let Node::Pipe(input, calls) = node else { return None };
    if let Some(found) = merging_in(input) {
        return Some(found);
    }
    let name = name(input)?;
    let (mut most, mut digest) = (content::chars_max(input), None);
    for call in calls {
        let cut = cut(&call.op, most);
        let filter = match (digest, cut) {
            (Some(coding), Some((filter, kept))) => (kept < signs_enough(coding)).then_some(filter),
            // What replaces a few signs of a digest leaves enough of them.
            (Some(_), None) => None,
            (None, Some((filter, _))) => Some(filter),
            (None, None) => respells(&call.op).or_else(|| picks(&call.op).filter(|_| name == Name::Sure)),
        };
        if let Some(filter) = filter {
            return Some(Merging { filter, cut: cut.map(|(_, kept)| kept) });
        }
        if let Op::Hash(_, coding) | Op::Hmac(_, _, coding) = &call.op {
            digest = Some(*coding);
        }
        most = content::chars_max_after(most, &call.op);
    }
    None
}

/// What a value is a name of a conversion by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Sure,
    /// Free data: a name, or what has one in it.
    Maybe,
}

fn name(node: &Node) -> Option<Name> {
    if let Node::First(parts) | Node::Concat(parts) = node {
        return parts.iter().find_map(name);
    }
    if let Node::Pipe(input, _) = node {
        return name(input);
    }
    match Leaf::of(node)? {
        Leaf::Field(slot) => matches!(slot.field().path, "order_id" | "event_id").then_some(Name::Sure),
        Leaf::Meta(MetaField::Id | MetaField::DedupKey | MetaField::IdempotencyKey) => Some(Name::Sure),
        Leaf::Custom(_) => Some(Name::Maybe),
        Leaf::Meta(MetaField::Merchant | MetaField::ReceivedAt) => None,
        Leaf::ItemField(_) | Leaf::ItemCustom(_) | Leaf::ClickId(_) => None,
    }
}

/// A filter that cuts what may have more characters, and how many it leaves.
fn cut(op: &Op, most: Option<usize>) -> Option<(&'static str, usize)> {
    let (filter, from, kept) = if let Op::Truncate(chars) = op {
        ("truncate", 0, Some(*chars))
    } else if let Op::Edit(Edit::TruncateBytes(bytes)) = op {
        ("truncate_bytes", 0, Some(bytes / CHAR_BYTES_MAX))
    } else if let Op::Edit(Edit::Substring(from, kept)) = op {
        ("substring", *from, *kept)
    } else {
        return None;
    };
    let rest = most.map(|most| most.saturating_sub(from));
    let is_whole = from == 0 && kept.is_none_or(|kept| rest.is_some_and(|rest| rest <= kept));
    (!is_whole).then(|| (filter, kept.unwrap_or(usize::MAX).min(rest.unwrap_or(usize::MAX))))
}

/// UTF-8.
const CHAR_BYTES_MAX: usize = 4;

/// How much is to be left of a digest: 64 bits, so that of a million orders two are one with a chance of 1 in 37 million.
fn signs_enough(coding: Coding) -> usize {
    match coding {
        Coding::Hex => HEX_SIGNS_ENOUGH,
        Coding::Base64 => 11,
    }
}

/// Of a digest as `| sha256` gives it.
pub(in crate::mapping) const HEX_SIGNS_ENOUGH: usize = 16;

/// A filter that makes one of two spellings.
///
/// `trim` is none: white space at an end is a slip of the hand and no other order. Nor are `int`, `number` and `pad_left`:
/// nobody numbers one order `7` and another `007`, and a partner that takes numbers takes them so.
fn respells(op: &Op) -> Option<&'static str> {
    match op {
        Op::Lower => Some("lower"),
        Op::Upper => Some("upper"),
        Op::Digits => Some("digits"),
        Op::E164 => Some("e164"),
        Op::EmailCanonical => Some("email_canonical"),
        Op::Replace(..) => Some("replace"),
        Op::Lookup(_) => Some("lookup"),
        Op::Decimal(_) => Some("decimal"),
        Op::DecimalMax(_) => Some("decimal_max"),
        Op::Browser => Some("ua_browser"),
        Op::Os => Some("ua_os"),
        Op::Edit(Edit::Alphanumeric) => Some("alphanumeric"),
        Op::Edit(Edit::ReplaceAll(..)) => Some("replace_re"),
        Op::Trim | Op::Int | Op::Number | Op::StripZeros | Op::Edit(Edit::Pad(..)) => None,
        Op::Prefix(_) | Op::Suffix(_) | Op::Hash(..) | Op::Hmac(..) | Op::Hex | Op::Base64 | Op::Text | Op::Json => {
            None
        }
        Op::Edit(
            Edit::UrlEncode | Edit::TruncateBytes(_) | Edit::Substring(..) | Edit::Extract(_) | Edit::Cookie(_),
        ) => None,
        Op::Truncate(_) | Op::Default(_) | Op::UrlParam(_) | Op::List(_) | Op::Spell(_) | Op::Negate | Op::Mul(_) => {
            None
        }
        Op::Add(_) | Op::Micros | Op::MinorUnits | Op::Rfc3339(_) | Op::Unix(_) | Op::Strftime { .. } => None,
    }
}

/// A filter that takes a part out: of a name what two may have alike, of free data the name.
fn picks(op: &Op) -> Option<&'static str> {
    if let Op::UrlParam(_) = op {
        return Some("url_param");
    }
    if let Op::List(List::Nth(_)) = op {
        return Some("nth");
    }
    let Op::Edit(edit) = op else { return None };
    match edit {
        Edit::Extract(_) => Some("extract"),
        Edit::Cookie(_) => Some("cookie"),
        Edit::Alphanumeric | Edit::TruncateBytes(_) | Edit::Substring(..) | Edit::Pad(..) => None,
        Edit::ReplaceAll(..) | Edit::UrlEncode => None,
    }
}
