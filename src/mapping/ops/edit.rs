//! What is done to a text: cut, padded, searched, encoded.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{TRUNK_ZERO, digits, within};
use crate::mapping::pattern::{Pattern, Replacement};
use crate::mapping::value::{Evaluated, Val};

/// A change of one text.
#[derive(Debug, Clone)]
pub(in crate::mapping) enum Edit {
    Alphanumeric,
    TruncateBytes(usize),
    /// From this character on, counted from 0, and so many or all.
    Substring(usize, Option<usize>),
    /// To so many characters.
    Pad(Side, usize, char),
    ReplaceAll(Pattern, Replacement),
    Extract(Pattern),
    Cookie(Box<str>),
    UrlEncode,
    /// The digits of a telephone number with its country code.
    PhoneDigits,
    /// Likewise, of one that says so by a `+` or `00`, behind a `+`.
    PhonePlus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mapping) enum Side {
    Left,
    Right,
}

impl Edit {
    pub(super) fn apply<'a>(&self, text: Cow<'a, str>) -> Evaluated<'a> {
        Ok(match self {
            Edit::Alphanumeric => Val::owned_text(text.chars().filter(|c| c.is_alphanumeric()).collect()),
            Edit::TruncateBytes(bytes) => {
                let end = text.floor_char_boundary(*bytes);
                part(text, |text| text.get(..end))
            }
            Edit::Substring(start, length) => part(text, |text| {
                let from = text.get(offset(text, *start)..)?;
                from.get(..length.map_or(from.len(), |length| offset(from, length)))
            }),
            Edit::Pad(side, width, with) => padded(text, *side, *width, *with),
            Edit::ReplaceAll(pattern, by) => return replaced(text, pattern, by),
            Edit::Extract(pattern) => part(text, |text| pattern.first(text)),
            Edit::Cookie(name) => part(text, |text| cookie(text, name)),
            Edit::PhoneDigits => phone_digits(&text).and_then(Val::owned_text),
            Edit::PhonePlus => phone_plus(&text).and_then(Val::owned_text),
            Edit::UrlEncode => {
                // Each byte becomes three at most.
                within(text.len().saturating_mul(3))?;
                Val::owned_text(utf8_percent_encode(&text, RESERVED).to_string())
            }
        })
    }
}

/// A part of a text, borrowed where the text is.
fn part<'a>(text: Cow<'a, str>, find: impl for<'t> Fn(&'t str) -> Option<&'t str>) -> Option<Val<'a>> {
    match text {
        Cow::Borrowed(text) => find(text).and_then(Val::text),
        Cow::Owned(text) => find(&text).and_then(|found| Val::owned_text(found.to_owned())),
    }
}

/// Where a character begins; past the last one, the end.
fn offset(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

fn padded(text: Cow<'_, str>, side: Side, width: usize, with: char) -> Option<Val<'_>> {
    let missing = width.saturating_sub(text.chars().count());
    if missing == 0 {
        return Some(Val::Text(text));
    }
    let padding = std::iter::repeat_n(with, missing);
    Val::owned_text(match side {
        Side::Left => padding.chain(text.chars()).collect(),
        Side::Right => text.chars().chain(padding).collect(),
    })
}

fn replaced<'a>(text: Cow<'a, str>, pattern: &Pattern, by: &Replacement) -> Evaluated<'a> {
    let mut out = String::new();
    let is_found = pattern.replace(&text, by, |piece| {
        within(out.len().saturating_add(piece.len()))?;
        out.push_str(piece);
        Ok(())
    })?;
    Ok(if is_found { Val::owned_text(out) } else { Some(Val::Text(text)) })
}

/// RFC 6265, 4.2.1: `name=value` pairs between semicolons; quotes around a value are not part of it.
fn cookie<'t>(header: &'t str, name: &str) -> Option<&'t str> {
    let mut pairs = header.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| known.trim() == name)?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// What begins with a 0 has no country code, and with one before it would be somebody else's number: it is none.
fn phone_digits(phone: &str) -> Option<String> {
    let digits = digits(&phone.replace(TRUNK_ZERO, ""));
    let number = digits.strip_prefix(ABROAD).unwrap_or(&digits);
    number.starts_with(|c: char| matches!(c, '1'..='9')).then(|| number.to_owned())
}

/// What begins with neither `+` nor `00` does not say whether its first digits are a country code: it is none.
fn phone_plus(phone: &str) -> Option<String> {
    let phone = phone.trim().replace(TRUNK_ZERO, "");
    let rest = phone.strip_prefix('+').or_else(|| phone.strip_prefix(ABROAD))?;
    let number = digits(rest);
    number.starts_with(|c: char| matches!(c, '1'..='9')).then(|| format!("+{number}"))
}

/// What is dialled before a country code where there is no `+`, in most of the world.
const ABROAD: &str = "00";

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
