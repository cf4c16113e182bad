//! What a value says of the order that it is made of: whether two orders can have the same one.
//!
//! Names are the order, the event and the keys in `meta.`; free data may be one. A value is looked at from the inside out:
//! each filter leaves a name whole or may make one of two. Nothing is said of what names a person, a click or a visit: that
//! two spellings of an address become one is what a filter is for, but two order numbers that do are a sale lost.

use super::facts::{Facts, Known, Leaf};
use super::{content, presence};
use crate::conversion::Privacy;
use crate::mapping::ops::{Algorithm, Coding, Edit, List, Op, Side, Word};
use crate::mapping::program::{Call, MetaField, Node};
use crate::mapping::value::Val;

/// What a value says of an order, from the best to the worst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mapping) enum Says {
    /// Which one it is.
    Name { chars_max: Option<usize>, form: Form },
    /// Which person, click or visit: that one of them is one conversion is for the merchant to say.
    Else,
    /// Which one it was, before a filter that can make one of two.
    Merged(Merging),
    /// Nothing: many orders share it. As it is written.
    Shared(String),
}

/// What a name is made of, as far as filters treat it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mapping) enum Form {
    /// Anything.
    Plain,
    /// Free data: the name may be a part of it.
    Free,
    /// Hex digits and dashes, of which one spelling exists.
    Uuid,
    /// So many signs of a digest, behind so many other ones; with so many, it still tells orders apart.
    Digest { before: usize, signs: usize, enough: usize },
}

/// A filter that can make one name of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mapping) struct Merging {
    pub(in crate::mapping) filter: &'static str,
    /// It cuts to so many characters or bytes.
    pub(in crate::mapping) cut: Option<usize>,
}

/// What these parts say together, which stand one behind the other, of a conversion of which this is known.
pub(in crate::mapping) fn says(parts: &[&Node], known: &Known) -> Says {
    let each = known.alternatives().iter().map(|facts| joined(parts.iter().copied(), facts));
    each.reduce(Says::or).unwrap_or(Says::Else)
}

fn says_in(node: &Node, facts: &Facts) -> Says {
    if let Some(leaf) = Leaf::of(node) {
        // It is one of a few words.
        return if facts.words(&leaf).is_some() { shared(&leaf) } else { of_leaf(&leaf, node) };
    }
    match node {
        Node::Items(entry) | Node::Each(entry) => says_in(entry, facts),
        Node::Const(value) => written(value),
        Node::Concat(parts) => joined(parts.iter(), facts),
        Node::First(parts) => first(parts, facts),
        Node::Pipe(input, calls) => piped(input, calls, facts),
        Node::Arithmetic(..) => Says::Shared("a computed number".to_owned()),
        Node::Absent
        | Node::Secret(_)
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
        | Node::Finished(_) => Says::Shared(CONSTANT.to_owned()),
    }
}

fn of_leaf(leaf: &Leaf, node: &Node) -> Says {
    let form = match leaf {
        Leaf::Field(slot) | Leaf::ItemField(slot) => match slot.field().path {
            "order_id" | "event_id" => Form::Plain,
            // What says nothing of a person says nothing of an order either: its type, its amounts, its time.
            _ if slot.field().class == Privacy::Public => return shared(leaf),
            _ => return Says::Else,
        },
        Leaf::Meta(MetaField::Id) => Form::Uuid,
        Leaf::Meta(MetaField::DedupKey | MetaField::IdempotencyKey) => Form::Plain,
        Leaf::Meta(MetaField::Merchant | MetaField::ReceivedAt | MetaField::TraceParent) => return shared(leaf),
        Leaf::Custom(_) | Leaf::ItemCustom(_) => Form::Free,
        Leaf::ClickId(_) => return Says::Else,
    };
    Says::Name { chars_max: content::chars_max(node), form }
}

fn shared(leaf: &Leaf) -> Says {
    Says::Shared(format!("`{leaf}`"))
}

fn written(value: &Val<'static>) -> Says {
    let quote = if let Val::Text(_) = value { "'" } else { "" };
    let text = value.borrowed().into_scalar_text();
    Says::Shared(text.map_or_else(|| CONSTANT.to_owned(), |text| format!("`{quote}{text}{quote}`")))
}

/// The worst of the alternatives that are ever reached.
fn first(parts: &[Node], facts: &Facts) -> Says {
    let last = parts.iter().position(|part| presence::gap_in(part, facts).is_none());
    let reached = parts.iter().take(last.map_or(parts.len(), |last| last.saturating_add(1)));
    reached.map(|part| says_in(part, facts)).reduce(Says::or).unwrap_or(Says::Else)
}

/// A name beside anything else is whole, and as it was beside what is written out.
fn joined<'n>(parts: impl Iterator<Item = &'n Node>, facts: &Facts) -> Says {
    let parts: Vec<(&Node, Says)> = parts.map(|part| (part, says_in(part, facts))).collect();
    let computed = || parts.iter().filter(|(node, _)| !matches!(node, Node::Const(_))).map(|(_, says)| says);
    let named = parts.iter().enumerate().find_map(|(at, (_, says))| Some((at, says.form()?)));
    let Some((at, form)) = named else {
        let is_merged = |says: &&Says| matches!(says, Says::Merged(_));
        let says = computed().find(is_merged).or_else(|| computed().find(|says| **says == Says::Else));
        return says.or_else(|| computed().next()).cloned().unwrap_or_else(|| Says::Shared(CONSTANT.to_owned()));
    };
    let most = |(node, says): &(&Node, Says)| match says {
        Says::Name { chars_max, .. } => *chars_max,
        Says::Else | Says::Merged(_) | Says::Shared(_) => content::chars_max(node),
    };
    let chars_max = parts.iter().map(most).try_fold(0_usize, |sum, most| Some(sum.saturating_add(most?)));
    let form = if computed().count() > 1 { Form::Plain } else { parts.iter().take(at).fold(form, behind) };
    Says::Name { chars_max, form }
}

/// Behind a text that is written out.
fn behind(form: Form, (before, _): &(&Node, Says)) -> Form {
    let Node::Const(value) = before else { return Form::Plain };
    value.borrowed().into_scalar_text().map_or(Form::Plain, |text| form.behind(&text))
}

fn piped(input: &Node, calls: &[Call], facts: &Facts) -> Says {
    let mut says = says_in(input, facts);
    for (i, call) in calls.iter().enumerate() {
        let before = calls.get(..i).unwrap_or_default();
        let Op::Default(value) = &call.op else {
            says = says.filtered(&call.op);
            continue;
        };
        let is_reached = presence::after(input, before, facts).is_some();
        says = if is_reached { says.or(written(value)) } else { says };
    }
    says
}

impl Says {
    fn form(&self) -> Option<Form> {
        if let Says::Name { form, .. } = self { Some(*form) } else { None }
    }

    /// The worse of two, for it can be either.
    fn or(self, other: Says) -> Says {
        match (self, other) {
            (shared @ Says::Shared(_), _) | (_, shared @ Says::Shared(_)) => shared,
            (merged @ Says::Merged(_), _) | (_, merged @ Says::Merged(_)) => merged,
            (Says::Else, _) | (_, Says::Else) => Says::Else,
            (Says::Name { chars_max: one, form }, Says::Name { chars_max: two, form: other }) => {
                Says::Name { chars_max: one.and_then(|one| Some(one.max(two?))), form: form.or(other) }
            }
        }
    }

    fn filtered(self, op: &Op) -> Says {
        let merged = |filter, cut| Says::Merged(Merging { filter, cut });
        match self {
            Says::Else => picks_words(op).map_or(Says::Else, |filter| merged(filter, None)),
            Says::Merged(_) | Says::Shared(_) => self,
            Says::Name { chars_max, form } => {
                let left = content::chars_max_after(chars_max, op);
                if let Op::Hash(algorithm, coding) | Op::Hmac(algorithm, _, coding) = op {
                    return Says::Name { chars_max: left, form: Form::digest(*algorithm, *coding) };
                }
                let Some(cut) = Cut::of(op, form) else {
                    let merging = form.merges(op).map(|filter| merged(filter, None));
                    return merging.unwrap_or(Says::Name { chars_max: left, form: form.after(op) });
                };
                let is_whole = cut.from == 0 && cut.kept.is_none_or(|kept| chars_max.is_some_and(|most| most <= kept));
                match form.cut(&cut) {
                    _ if is_whole => Says::Name { chars_max, form },
                    Some(form) => Says::Name { chars_max: left, form },
                    None => merged(cut.filter, cut.written),
                }
            }
        }
    }
}

/// A filter that takes a piece out.
struct Cut {
    filter: &'static str,
    from: usize,
    /// Characters.
    kept: Option<usize>,
    /// As the mapping writes it.
    written: Option<usize>,
}

impl Cut {
    fn of(op: &Op, form: Form) -> Option<Cut> {
        if let Op::Truncate(chars) = op {
            return Some(Cut { filter: "truncate", from: 0, kept: Some(*chars), written: Some(*chars) });
        }
        if let Op::Edit(Edit::TruncateBytes(bytes)) = op {
            let kept = if form.is_code() { *bytes } else { bytes / CHAR_BYTES_MAX };
            return Some(Cut { filter: "truncate_bytes", from: 0, kept: Some(kept), written: Some(*bytes) });
        }
        let Op::Edit(Edit::Substring(from, kept)) = op else { return None };
        Some(Cut { filter: "substring", from: *from, kept: *kept, written: *kept })
    }
}

impl Form {
    fn digest(algorithm: Algorithm, coding: Coding) -> Form {
        match coding {
            Coding::Hex => Form::Digest { before: 0, signs: algorithm.chars(coding), enough: HEX_SIGNS_ENOUGH },
            Coding::Base64 => Form::Digest { before: 0, signs: algorithm.base64_signs(), enough: BASE64_SIGNS_ENOUGH },
        }
    }

    /// Written by a machine, in one way and in ASCII.
    fn is_code(self) -> bool {
        matches!(self, Form::Uuid | Form::Digest { .. })
    }

    fn or(self, other: Form) -> Form {
        match (self, other) {
            (
                Form::Digest { before, signs, enough },
                Form::Digest { before: other_before, signs: other_signs, enough: other_enough },
            ) if before == other_before => {
                Form::Digest { before, signs: signs.min(other_signs), enough: enough.max(other_enough) }
            }
            _ if self == other => self,
            _ => Form::Plain,
        }
    }

    fn behind(self, text: &str) -> Form {
        match self {
            Form::Uuid | Form::Digest { .. } if !text.is_ascii() => Form::Plain,
            Form::Digest { before, signs, enough } => {
                Form::Digest { before: before.saturating_add(text.len()), signs, enough }
            }
            Form::Plain | Form::Free | Form::Uuid => self,
        }
    }

    /// What is left of a digest, if that is enough.
    fn cut(self, cut: &Cut) -> Option<Form> {
        let Form::Digest { before, signs, enough } = self else { return None };
        let end = cut.kept.map_or(usize::MAX, |kept| cut.from.saturating_add(kept));
        let signs = end.min(before.saturating_add(signs)).saturating_sub(cut.from.max(before));
        (signs >= enough).then(|| Form::Digest { before: before.saturating_sub(cut.from), signs, enough })
    }

    /// After a filter that neither merges nor cuts.
    fn after(self, op: &Op) -> Form {
        if let Op::Prefix(Word::Plain(text)) = op {
            return self.behind(text);
        }
        match self {
            Form::Free => Form::Free,
            // In small letters a digest has fewer different signs.
            Form::Digest { before, signs, .. } if matches!(op, Op::Lower | Op::Upper) => {
                Form::Digest { before, signs, enough: HEX_SIGNS_ENOUGH }
            }
            Form::Uuid | Form::Digest { .. } => {
                let is_kept = matches!(
                    op,
                    Op::Lower | Op::Upper | Op::Text | Op::Suffix(_) | Op::Replace(..) | Op::Edit(Edit::Alphanumeric)
                );
                // A blank at the beginning may be one of those before the digest.
                let is_first = !matches!(self, Form::Digest { before: 1.., .. });
                if is_kept || (is_first && matches!(op, Op::Trim)) { self } else { Form::Plain }
            }
            Form::Plain => Form::Plain,
        }
    }

    /// The filter, if it can make one of two.
    ///
    /// `trim` does not: white space at an end is a slip of the hand and no other order. Nor do `int`, `number` and
    /// `pad_left` with `0`: nobody numbers one order `7` and another `007`, and a partner that takes numbers takes them so.
    fn merges(self, op: &Op) -> Option<&'static str> {
        let part = |filter| (self != Form::Free).then_some(filter);
        match op {
            Op::Lower => (!self.is_code()).then_some("lower"),
            Op::Upper => (!self.is_code()).then_some("upper"),
            Op::Digits => Some("digits"),
            Op::E164 => Some("e164"),
            Op::EmailCanonical => Some("email_canonical"),
            Op::Replace(old, new) => (!self.takes(old, new)).then_some("replace"),
            Op::Decimal(_) => Some("decimal"),
            Op::DecimalMax(_) => Some("decimal_max"),
            Op::Rfc3339(_) => Some("rfc3339"),
            Op::Unix(_) => Some("unix"),
            Op::Strftime { .. } => Some("strftime"),
            Op::Lookup(_) | Op::Spell(_) | Op::Browser | Op::Os => picks_words(op),
            Op::UrlParam(_) => part("url_param"),
            Op::Edit(edit) => match edit {
                Edit::Alphanumeric => (self != Form::Uuid).then_some("alphanumeric"),
                Edit::ReplaceAll(..) => Some("replace_re"),
                Edit::Extract(_) => part("extract"),
                Edit::PhoneDigits => Some("phone_digits"),
                Edit::PhonePlus => Some("phone_plus"),
                Edit::Cookie(_) => part("cookie"),
                Edit::Pad(Side::Left, _, with) => (!self.is_code() && !matches!(with, '0' | ' ')).then_some("pad_left"),
                Edit::Pad(Side::Right, ..) => (!self.is_code()).then_some("pad_right"),
                Edit::TruncateBytes(_) | Edit::Substring(..) | Edit::UrlEncode => None,
            },
            Op::List(list) => match list {
                List::Split(_) => part("split"),
                List::Nth(_) => part("nth"),
                List::Join(..) => part("join"),
                List::Pick(_) => part("pick"),
                List::Without(_) => part("without"),
                List::Total => Some("total"),
            },
            Op::Trim | Op::Truncate(_) | Op::Prefix(_) | Op::Suffix(_) | Op::Default(_) | Op::Hash(..) => None,
            Op::Hmac(..) | Op::Hex | Op::Base64 | Op::Text | Op::Int | Op::Number | Op::MinorUnits(_) => None,
            Op::Micros | Op::Negate | Op::Mul(_) | Op::Add(_) | Op::StripZeros | Op::Json => None,
        }
    }

    /// Whether it stays what it is where one text is replaced by another: the dashes of a UUID, which stand in the same
    /// places in each, and what base64 has beside letters and digits.
    fn takes(self, old: &Word, new: &Word) -> bool {
        let (Word::Plain(old), Word::Plain(new)) = (old, new) else { return false };
        match self {
            Form::Uuid => **old == *"-",
            Form::Digest { before, .. } => match (&**old, new.chars().count()) {
                ("+" | "/" | "=", 1) => !new.contains(['+', '/', '=']),
                ("=", 0) => before == 0,
                _ => false,
            },
            Form::Plain | Form::Free => false,
        }
    }
}

/// A filter that makes one of a few words.
fn picks_words(op: &Op) -> Option<&'static str> {
    if let Op::Lookup(_) = op {
        return Some("lookup");
    }
    if let Op::Spell(_) = op {
        return Some("bool");
    }
    let agent = if let Op::Browser = op { Some("ua_browser") } else { None };
    if let Op::Os = op { Some("ua_os") } else { agent }
}

const CONSTANT: &str = "a constant";

/// UTF-8.
const CHAR_BYTES_MAX: usize = 4;

/// How much is to be left of a digest: 64 bits, so that of a million orders two are one with a chance of 1 in 37 million.
pub(in crate::mapping) const HEX_SIGNS_ENOUGH: usize = 16;
const BASE64_SIGNS_ENOUGH: usize = 11;
