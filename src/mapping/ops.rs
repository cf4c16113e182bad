//! What filters do: compiled operations on one value.
//!
//! Each is pure and total: a value that does not fit (free JSON of another type, an amount that is not exact) is an
//! [`EvalError`] that names the reason and never the value.

mod arithmetic;
mod edit;
mod list;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::tz::TimeZone;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

pub(super) use self::arithmetic::compute;
pub(super) use self::edit::{Edit, Side};
pub(super) use self::list::{ENTRIES_MAX, Gaps, List};
use super::agent;
use super::scope::{MASK, Secret, Secrets};
use super::value::{EvalError, Evaluated, Held, Val};
use crate::conversion::{Date, Money, Timestamp};

/// A compiled filter.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Trim,
    Lower,
    Upper,
    Digits,
    E164,
    EmailCanonical,
    /// To so many characters.
    Truncate(usize),
    Prefix(Word),
    Suffix(Word),
    Replace(Word, Word),
    Default(Val<'static>),
    /// Sorted by key.
    Lookup(Box<[(Box<str>, Val<'static>)]>),
    Hash(Algorithm, Coding),
    Hmac(Algorithm, Word, Coding),
    Hex,
    Base64,
    Text,
    Int,
    Number,
    /// For true and for false.
    Spell(Box<[Val<'static>; 2]>),
    Decimal(u32),
    /// At most so many decimals.
    DecimalMax(u32),
    MinorUnits(Inexact),
    Micros,
    Negate,
    Mul(Money),
    Add(Money),
    StripZeros,
    /// With so many sub-second digits, or those that were given.
    Rfc3339(Option<usize>),
    Unix(Unit),
    Strftime {
        format: Box<str>,
        zone: TimeZone,
        /// Whether the format asks for nothing that a date alone has not.
        civil: bool,
    },
    Json,
    Browser,
    Os,
    UrlParam(Box<str>),
    Edit(Edit),
    List(List),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Hex,
    Base64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    Micros,
}

/// What becomes of an amount that is no whole number of the currency's smallest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inexact {
    /// The conversion is unmappable.
    Refuse,
    /// It is absent.
    Omit,
}

/// A text argument.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Plain(Box<str>),
    Secret(Secret),
}

impl Default for Word {
    fn default() -> Word {
        Word::Plain("".into())
    }
}

impl Word {
    fn show(&self, secrets: Secrets) -> &str {
        match (self, secrets) {
            (Word::Plain(text), _) => text,
            (Word::Secret(secret), Secrets::Revealed) => secret.reveal(),
            (Word::Secret(_), Secrets::Masked) => MASK,
        }
    }
}

/// A value longer than this is a mistake of the mapping; without a bound a chain of `replace` could fill the memory.
pub(super) const TEXT_BYTES_MAX: usize = 1024 * 1024;

impl Op {
    /// The operation on one value; `Default` concerns values that are absent and passes this one through.
    pub(super) fn apply<'a>(&'a self, input: Val<'a>, secrets: Secrets, currency: Option<&str>) -> Evaluated<'a> {
        match self {
            Op::Trim => Ok(trimmed(text(input)?)),
            Op::Lower => Ok(recased(text(input)?, |c| c.is_ascii_lowercase(), str::to_lowercase)),
            Op::Upper => Ok(recased(text(input)?, |c| c.is_ascii_uppercase(), str::to_uppercase)),
            Op::Digits => Ok(Val::owned_text(digits(&text(input)?))),
            Op::E164 => e164(&text(input)?).map(Val::owned_text),
            Op::EmailCanonical => Ok(Val::owned_text(email_canonical(&text(input)?))),
            Op::Truncate(chars) => Ok(truncated(text(input)?, *chars)),
            Op::Prefix(word) => joined(&[word.show(secrets), &text(input)?]),
            Op::Suffix(word) => joined(&[&text(input)?, word.show(secrets)]),
            Op::Replace(part, by) => replaced(text(input)?, part.show(secrets), by.show(secrets)),
            Op::Default(_) => Ok(Some(input)),
            Op::Lookup(members) => lookup(input, members),
            Op::Hash(algorithm, coding) => Ok(Val::owned_text(hash(*algorithm, *coding, text(input)?.as_bytes()))),
            Op::Hmac(algorithm, key, coding) => keyed(*algorithm, key.show(secrets), *coding, &text(input)?),
            Op::Hex => Ok(Val::owned_text(hex::encode(text(input)?.as_bytes()))),
            Op::Base64 => Ok(Val::owned_text(STANDARD.encode(text(input)?.as_bytes()))),
            Op::Text => scalar(input).map(|text| Some(Val::Text(text))),
            Op::Int => int(&input),
            Op::Number => number(input),
            Op::Spell(words) => spell(&input, words),
            Op::Decimal(scale) => same_kind(&input, amount(&input)?.with_scale(*scale)),
            Op::DecimalMax(scale) => decimal_max(input, *scale),
            Op::MinorUnits(inexact) => minor_units(&input, currency, *inexact),
            Op::Micros => match amount(&input)?.micros() {
                Some(micros) => Ok(Some(Val::Number(Cow::Owned(micros)))),
                None => Err(EvalError::new("the amount has a part below a millionth")),
            },
            Op::Negate => same_kind(&input, Some(amount(&input)?.negate())),
            Op::Mul(factor) => same_kind(&input, amount(&input)?.times(*factor)),
            Op::Add(amount_added) => same_kind(&input, amount(&input)?.plus(*amount_added)),
            Op::StripZeros => same_kind(&input, Some(amount(&input)?.without_zeros())),
            Op::Rfc3339(digits) => timestamp(input).map(|time| {
                Val::owned_text(match digits {
                    None => time.to_utc(),
                    Some(digits) => time.to_utc_with(*digits),
                })
            }),
            Op::Unix(unit) => timestamp(input).map(|time| Some(Val::Int(unix(&time, *unit)))),
            Op::Strftime { format, zone, .. } => strftime(input, format, zone),
            Op::Json => Ok(json(input)),
            Op::Browser => Ok(Val::text(agent::browser(&text(input)?))),
            Op::Os => Ok(Val::text(agent::operating_system(&text(input)?))),
            Op::UrlParam(name) => Ok(Val::owned_text(url_param(&text(input)?, name).unwrap_or_default())),
            Op::Edit(edit) => edit.apply(text(input)?),
            Op::List(list) => list.apply(input, secrets),
        }
    }
}

/// Joins texts, within the bound.
fn joined<'a>(parts: &[&str]) -> Evaluated<'a> {
    within(parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len())))?;
    Ok(Val::owned_text(parts.concat()))
}

/// The text of a value that must be text.
pub(super) fn text(value: Val<'_>) -> Result<Cow<'_, str>, EvalError> {
    match value {
        Val::Text(text) => Ok(text),
        // `a ?? b` of a time and a text is text, as both are on the wire.
        time @ (Val::Timestamp(_) | Val::Date(_)) => scalar(time),
        Val::Money(_) | Val::Int(_) | Val::Number(_) => {
            Err(EvalError::new("a text is needed here, and this is a number"))
        }
        Val::Bool(_) => Err(EvalError::new("a text is needed here, and this is true or false")),
        Val::Json(_) | Val::List(_) => Err(EvalError::new("a text is needed here, and this is a list or an object")),
    }
}

/// The text of one value of any kind.
pub(super) fn scalar(value: Val<'_>) -> Result<Cow<'_, str>, EvalError> {
    value.into_scalar_text().ok_or_else(|| EvalError::new("one value is needed here, and this is a list or an object"))
}

/// A text of so many bytes is within the bound.
pub(super) fn within(bytes: usize) -> Result<(), EvalError> {
    if bytes > TEXT_BYTES_MAX { Err(EvalError::new("the text would be longer than 1 MiB")) } else { Ok(()) }
}

fn trimmed(text: Cow<'_, str>) -> Option<Val<'_>> {
    match text {
        Cow::Borrowed(text) => Val::text(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Val::owned_text(text),
        Cow::Owned(text) => Val::owned_text(text.trim().to_owned()),
    }
}

/// As it is where `is` says so of every character, for ASCII that needs no change allocates nothing.
fn recased(text: Cow<'_, str>, is: fn(char) -> bool, change: fn(&str) -> String) -> Option<Val<'_>> {
    if text.chars().all(|c| c.is_ascii() && (is(c) || !c.is_ascii_alphabetic())) {
        return Some(Val::Text(text));
    }
    Val::owned_text(change(&text))
}

fn truncated(text: Cow<'_, str>, chars: usize) -> Option<Val<'_>> {
    let Some((end, _)) = text.char_indices().nth(chars) else { return Some(Val::Text(text)) };
    match text {
        Cow::Borrowed(text) => Val::text(text.get(..end).unwrap_or(text)),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Val::owned_text(text)
        }
    }
}

fn replaced<'a>(text: Cow<'a, str>, part: &str, by: &str) -> Evaluated<'a> {
    let count = if part.is_empty() { 0 } else { text.matches(part).count() };
    if count == 0 {
        return Ok(Some(Val::Text(text)));
    }
    within(text.len().saturating_add(count.saturating_mul(by.len())))?;
    Ok(Val::owned_text(text.replace(part, by)))
}

fn digits(text: &str) -> String {
    let mut digits = String::with_capacity(text.len());
    digits.extend(text.bytes().filter(u8::is_ascii_digit).map(char::from));
    digits
}

/// ITU-T E.164: at most 15 digits, the first of a country code is not 0. The trunk zero of `+49 (0)30` is not dialled from
/// abroad, and is no part of the number.
fn e164(phone: &str) -> Result<String, EvalError> {
    let refused = || EvalError::new("no international phone number: `+`, a country code, 7 to 15 digits in all");
    let digits = phone.trim().strip_prefix('+').ok_or_else(refused)?.replacen(TRUNK_ZERO, "", 1);
    let mut number = String::from("+");
    for c in digits.chars() {
        match c {
            '0'..='9' => number.push(c),
            ' ' | '\u{a0}' | '-' | '.' | '(' | ')' => {}
            _ => return Err(refused()),
        }
    }
    let known = (8..=16).contains(&number.len()) && !number.starts_with("+0");
    if known { Ok(number) } else { Err(refused()) }
}

/// As it is written behind a country code.
const TRUNK_ZERO: &str = "(0)";

fn email_canonical(address: &str) -> String {
    let address = address.trim().to_lowercase();
    match address.rsplit_once('@') {
        Some((local, domain @ ("gmail.com" | "googlemail.com"))) => {
            let local = local.split('+').next().unwrap_or(local).replace('.', "");
            format!("{local}@{domain}")
        }
        _ => address,
    }
}

fn lookup<'a>(input: Val<'a>, members: &'a [(Box<str>, Val<'static>)]) -> Evaluated<'a> {
    let key = scalar(input)?;
    let found = members.binary_search_by(|(name, _)| (**name).cmp(&*key)).ok();
    Ok(found.and_then(|at| members.get(at)).map(|(_, value)| value.borrowed()))
}

fn hash(algorithm: Algorithm, coding: Coding, bytes: &[u8]) -> String {
    match algorithm {
        Algorithm::Md5 => coding.encode(&Md5::digest(bytes)),
        Algorithm::Sha1 => coding.encode(&Sha1::digest(bytes)),
        Algorithm::Sha256 => coding.encode(&Sha256::digest(bytes)),
        Algorithm::Sha512 => coding.encode(&Sha512::digest(bytes)),
    }
}

fn keyed<'a>(algorithm: Algorithm, key: &str, coding: Coding, text: &str) -> Evaluated<'a> {
    let (key, text) = (key.as_bytes(), text.as_bytes());
    let code = match algorithm {
        Algorithm::Md5 => mac(Hmac::<Md5>::new_from_slice(key), text),
        Algorithm::Sha1 => mac(Hmac::<Sha1>::new_from_slice(key), text),
        Algorithm::Sha256 => mac(Hmac::<Sha256>::new_from_slice(key), text),
        Algorithm::Sha512 => mac(Hmac::<Sha512>::new_from_slice(key), text),
    };
    code.map(|code| Val::owned_text(coding.encode(&code))).ok_or_else(|| EvalError::new("the key is of no use"))
}

fn mac<M: Mac, E>(keyed: Result<M, E>, text: &[u8]) -> Option<Vec<u8>> {
    let mut mac = keyed.ok()?;
    mac.update(text);
    Some(mac.finalize().into_bytes().to_vec())
}

impl Coding {
    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Coding::Hex => {
                // `hex::encode` goes through characters one by one.
                let mut digits = [0; HEX_DIGITS_MAX];
                let digits = digits.get_mut(..bytes.len().saturating_mul(2)).unwrap_or_default();
                let encoded = hex::encode_to_slice(bytes, digits).ok();
                encoded.and_then(|()| str::from_utf8(digits).ok()).unwrap_or_default().to_owned()
            }
            Coding::Base64 => STANDARD.encode(bytes),
        }
    }
}

/// Of SHA-512, the longest digest.
const HEX_DIGITS_MAX: usize = 128;

fn int<'a>(input: &Val<'a>) -> Evaluated<'a> {
    let refused = || EvalError::new("no whole number of at most 18 digits");
    let amount = if let Val::Text(text) = input { Money::parse(text).ok() } else { input.amount() };
    let amount = amount.ok_or_else(refused)?;
    // Rounding that changes nothing: the decimals are all zero.
    let whole = amount.with_scale(0).filter(|whole| whole.decimal() == amount.decimal()).ok_or_else(refused)?;
    i64::try_from(whole.decimal()).ok().map(|int| Some(Val::Int(int))).ok_or_else(refused)
}

fn number(input: Val<'_>) -> Evaluated<'_> {
    match input {
        Val::Text(text) if Money::parse(&text).is_ok() => Ok(Some(Val::Number(text))),
        Val::Text(_) => Err(EvalError::new("no number: digits, at most one decimal point, at most 28 digits")),
        Val::Money(money) => Ok(Some(Val::Number(Cow::Owned(money.to_string())))),
        other @ (Val::Int(_) | Val::Number(_)) => Ok(Some(other)),
        Val::Bool(_) | Val::Timestamp(_) | Val::Date(_) | Val::Json(_) | Val::List(_) => Err(no_number()),
    }
}

fn no_number() -> EvalError {
    EvalError::new("a number of at most 28 digits is needed here")
}

fn amount(value: &Val<'_>) -> Result<Money, EvalError> {
    value.amount().ok_or_else(no_number)
}

/// Money stays money; other numbers are numbers.
fn same_kind<'a>(input: &Val<'_>, result: Option<Money>) -> Evaluated<'a> {
    let Some(result) = result else { return Err(EvalError::new("the result has more than 28 digits")) };
    let money = matches!(input, Val::Money(_));
    Ok(Some(if money { Val::Money(result) } else { Val::Number(Cow::Owned(result.to_string())) }))
}

/// As it is where it has no more decimals than that.
fn decimal_max(input: Val<'_>, scale: u32) -> Evaluated<'_> {
    let amount = amount(&input)?;
    if amount.decimal().scale() <= scale { Ok(Some(input)) } else { same_kind(&input, amount.with_scale(scale)) }
}

fn minor_units<'a>(input: &Val<'a>, currency: Option<&str>, inexact: Inexact) -> Evaluated<'a> {
    let amount = amount(input)?;
    // Nothing is nothing in any currency, and no conversion without an amount needs one.
    if amount.decimal().is_zero() {
        return Ok(Some(Val::Number(Cow::Borrowed("0"))));
    }
    let units = currency.and_then(|currency| amount.minor_units(currency));
    match (units, inexact, currency) {
        (Some(units), _, _) => Ok(Some(Val::Number(Cow::Owned(units)))),
        (None, Inexact::Omit, _) => Ok(None),
        (None, Inexact::Refuse, None) => Err(EvalError::new("the conversion has no currency")),
        (None, Inexact::Refuse, Some(currency)) if !Money::has_minor_unit(currency) => {
            Err(EvalError::new("the conversion's currency has no smallest unit"))
        }
        (None, Inexact::Refuse, Some(_)) => {
            Err(EvalError::new("the amount has a part below the currency's smallest unit"))
        }
    }
}

fn spell<'a>(input: &Val<'a>, words: &'a [Val<'static>; 2]) -> Evaluated<'a> {
    let [yes, no] = words;
    let Val::Bool(input) = input else { return Err(EvalError::new("true or false is needed here")) };
    Ok(present(if *input { yes } else { no }))
}

/// A constant, unless it is the empty text.
fn present<'a>(value: &'a Val<'static>) -> Option<Val<'a>> {
    if matches!(value, Val::Text(text) if text.is_empty()) { None } else { Some(value.borrowed()) }
}

fn timestamp(value: Val<'_>) -> Result<Held<'_, Timestamp>, EvalError> {
    if let Val::Timestamp(timestamp) = value {
        return Ok(timestamp);
    }
    let parsed = if let Val::Text(text) = value { Timestamp::parse(&text).ok() } else { None };
    parsed.map(Held::from).ok_or_else(|| EvalError::new("a time of RFC 3339 with an offset is needed here"))
}

fn unix(timestamp: &Timestamp, unit: Unit) -> i64 {
    match unit {
        Unit::Seconds => timestamp.instant().as_second(),
        Unit::Millis => timestamp.instant().as_millisecond(),
        Unit::Micros => timestamp.instant().as_microsecond(),
    }
}

fn strftime<'a>(input: Val<'a>, format: &str, zone: &TimeZone) -> Evaluated<'a> {
    let date = if let Val::Date(date) = &input {
        Some(date.civil())
    } else if let Val::Text(text) = &input {
        // Free JSON may hold a date as well as a timestamp.
        Date::parse(text).ok().map(|date| date.civil())
    } else {
        None
    };
    let written = match date {
        Some(date) => jiff::fmt::strtime::format(format, date),
        None => jiff::fmt::strtime::format(format, &timestamp(input)?.instant().to_zoned(zone.clone())),
    };
    written.map(Val::owned_text).ok().ok_or_else(|| EvalError::new("the time cannot be written in this format"))
}

fn json(input: Val<'_>) -> Option<Val<'_>> {
    let mut bytes = Vec::new();
    input.into_json()?.write(&mut bytes);
    String::from_utf8(bytes).ok().and_then(Val::owned_text)
}

fn url_param(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split('#').next()?.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
