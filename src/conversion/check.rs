//! One value against its row of the schema: a pure function from what stands there to the value, or to what would be right.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::Value;
use super::country::is_country;
use super::money::Money;
use super::read::Found;
use super::schema::{EMAIL_CHARS_MAX, INT_MAX, Kind, URL_CHARS_MAX};
use super::time::{Date, Timestamp};

/// The value of a field of this kind, or what would be right. Never repeats the value.
pub(super) fn check(kind: Kind, found: Found<'_>) -> Result<Value, Cow<'static, str>> {
    let text = match found {
        Found::Text(text) if !matches!(kind, Kind::Int | Kind::Bool) => text,
        Found::Number(number) if kind == Kind::Money => return money(&number),
        Found::Number(number) if kind == Kind::Int => return int(&number).map(Value::Int),
        Found::Bool(value) if kind == Kind::Bool => return Ok(Value::Bool(value)),
        Found::Null => return Err(NULL.into()),
        Found::Bool(_) | Found::Number(_) | Found::Text(_) | Found::Array | Found::Object => {
            return Err(wanted(kind).into());
        }
    };
    match kind {
        Kind::Money => money(&text),
        Kind::Timestamp => {
            let time = Timestamp::parse(&text).map_err(|error| error.to_string())?;
            Ok(Value::Timestamp(Arc::new(time)))
        }
        Kind::Date => {
            let date = Date::parse(&text).map_err(|error| error.to_string())?;
            Ok(Value::Date(Box::new(date)))
        }
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
        | Kind::TextMap
        | Kind::Int
        | Kind::Bool
        | Kind::Json => {
            check_text(kind, &text)?;
            Ok(Value::Text(text.into()))
        }
    }
}

/// What is wrong with a `null`.
pub(super) const NULL: &str = "must not be null: leave the field out instead";

/// Plain text: 1 to `chars_max` characters, none of them a control character.
fn plain(text: &str, chars_max: usize) -> Result<(), Cow<'static, str>> {
    if text.is_empty() {
        return Err("must not be empty: leave the field out instead".into());
    }
    if text.len() > chars_max && text.chars().count() > chars_max {
        return Err(format!("must have at most {chars_max} characters").into());
    }
    if has_controls(text) {
        return Err("must have no control characters, line breaks among them".into());
    }
    Ok(())
}

/// Plain text, perhaps of several lines.
fn lines(text: &str, chars_max: usize) -> Result<(), Cow<'static, str>> {
    if !text.contains('\n') {
        return plain(text, chars_max);
    }
    // A break is one character, as the blank is that stands for it here.
    plain(&text.replace('\n', " "), chars_max)
}

fn has_controls(text: &str) -> bool {
    let control = text.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == 0x7f));
    control || (!text.is_ascii() && text.contains(char::is_control))
}

fn check_text(kind: Kind, text: &str) -> Result<(), Cow<'static, str>> {
    let right = match kind {
        Kind::Text { chars_max } => return plain(text, chars_max),
        Kind::Lines { chars_max } => return lines(text, chars_max),
        Kind::Enum(words) => words.contains(&text),
        Kind::Currency if NO_CURRENCIES.contains(&text) => return Err(NO_CURRENCY.into()),
        Kind::Currency => is_currency(text),
        Kind::Country => is_country(text),
        Kind::Email => is_email(text),
        Kind::Ip => text.parse::<IpAddr>().is_ok(),
        Kind::Url => {
            plain(text, URL_CHARS_MAX)?;
            is_url(text)
        }
        Kind::Uuid => text.len() == UUID_CHARS && uuid::Uuid::try_parse(text).is_ok(),
        Kind::Digest { chars } => {
            text.len() == chars && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        }
        Kind::Money | Kind::Int | Kind::Bool | Kind::Timestamp | Kind::Date | Kind::TextMap | Kind::Json => false,
    };
    if right { Ok(()) } else { Err(wanted(kind).into()) }
}

impl Kind {
    /// Why a field of this kind is never this text: its form, not its length.
    pub(crate) fn refuses(self, text: &str) -> Option<String> {
        let has_form = match self {
            Kind::Enum(_) | Kind::Currency | Kind::Country | Kind::Email => true,
            Kind::Ip | Kind::Url | Kind::Uuid | Kind::Digest { .. } => true,
            Kind::Text { .. } | Kind::Lines { .. } | Kind::Money | Kind::Int | Kind::Bool => false,
            Kind::Timestamp | Kind::Date | Kind::TextMap | Kind::Json => false,
        };
        let wrong = check_text(self, text).err().filter(|_| has_form)?;
        Some(wrong.into_owned())
    }
}

fn money(text: &str) -> Result<Value, Cow<'static, str>> {
    Ok(Value::Money(Money::parse(text).map_err(|error| error.to_string())?))
}

fn int(number: &str) -> Result<i64, Cow<'static, str>> {
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let value = number.parse::<i64>().ok().filter(|value| digits && *value <= INT_MAX);
    value.ok_or_else(|| wanted(Kind::Int).into())
}

/// What a field of this kind must be.
fn wanted(kind: Kind) -> String {
    match kind {
        Kind::Text { .. } | Kind::Lines { .. } => "must be a string".to_owned(),
        Kind::Money => "must be an amount such as 99.90, as a number or a string".to_owned(),
        Kind::Int => format!("must be a whole number from 0 to {INT_MAX}, written in digits, not as a string"),
        Kind::Bool => "must be true or false".to_owned(),
        Kind::Timestamp => "must be a string: an RFC 3339 time with an offset, such as 2026-05-26T12:34:56Z".to_owned(),
        Kind::Date => "must be a string: a date such as 1990-12-31".to_owned(),
        Kind::Enum(words) => format!("must be one of: {}", words.join(", ")),
        Kind::Currency => "must be an ISO 4217 code in upper case, such as EUR".to_owned(),
        Kind::Country => "must be an ISO 3166 code of two or three letters in upper case, such as DE or DEU".to_owned(),
        Kind::Email => "must be an e-mail address, such as jane@example.com".to_owned(),
        Kind::Ip => "must be an IPv4 or IPv6 address".to_owned(),
        Kind::Url => "must be an absolute http or https URL".to_owned(),
        Kind::Uuid => "must be a UUID, such as 85b04ded-09dd-4015-ad30-581e45452dd9".to_owned(),
        Kind::Digest { chars } => format!("must be a digest of {chars} lower-case hex digits"),
        Kind::TextMap => "must be an object".to_owned(),
        Kind::Json => "must be a JSON value".to_owned(),
    }
}

/// Whether amounts may be in it: an ISO 4217 code in upper case, and none of [`NO_CURRENCIES`].
pub(crate) fn is_currency(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_uppercase())
        && !NO_CURRENCIES.contains(&text)
        && iso_currency::Currency::from_code(text).is_some()
}

/// Codes of ISO 4217 that name no currency: "no currency is involved", and "reserved for testing".
const NO_CURRENCIES: [&str; 2] = ["XXX", "XTS"];
const NO_CURRENCY: &str = "must be a currency: XXX says that there is none, and XTS is for tests of other systems";

/// The addresses that mail is sent to in practice: a dot-atom (RFC 5322, and RFC 6531 beyond ASCII) before the `@`, a
/// domain of two labels or more after it. No quoted local parts, no address literals.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .chars()
                .all(|c| if c.is_ascii() { c.is_ascii_alphanumeric() || ATEXT.contains(c) } else { is_letter(c) })
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || (!c.is_ascii() && is_letter(c)))
    };
    text.len() <= EMAIL_CHARS_MAX
        && local.len() <= 64
        && local.split('.').all(atom)
        && domain.contains('.')
        && domain.split('.').all(label)
}

/// Digits and hyphens, without the braces and the `urn:` that some write around them.
const UUID_CHARS: usize = 36;
/// The printable characters of an atom beside letters and digits (RFC 5322, section 3.2.3).
const ATEXT: &str = "!#$%&'*+-/=?^_`{|}~";

fn is_letter(c: char) -> bool {
    !c.is_control() && !c.is_whitespace()
}

/// What the `url` crate takes as it stands: it would mend white space, back slashes and missing slashes, and nothing is
/// mended here.
fn is_url(text: &str) -> bool {
    let scheme =
        |scheme: &str| text.split_at_checked(scheme.len()).filter(|(head, _)| head.eq_ignore_ascii_case(scheme));
    let Some((_, rest)) = scheme("https://").or_else(|| scheme("http://")) else { return false };
    let mended = if text.is_ascii() {
        text.bytes().fold(false, |found, byte| found | (byte == b' ') | (byte == b'\\'))
    } else {
        text.contains(|c: char| c.is_whitespace() || c == '\\')
    };
    !mended
        && !rest.starts_with('/')
        && (begins_with_plain_host(rest) || url::Url::parse(text).is_ok_and(|url| url.has_host()))
}

/// Whether the host is of ASCII letters, digits, hyphens and dots, with neither port nor user, and its last label is no
/// number: almost all are, and the `url` crate takes every one of them (held by a property), only later.
fn begins_with_plain_host(rest: &str) -> bool {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphabetic())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
    };
    host.split('.').all(label)
}

#[cfg(test)]
mod tests;
