//! The vocabulary in which the vendors' documents are written down: what a field may hold, in JSON and as text, and
//! the list of breaches found in one request. Pure; it knows no platform.

use std::net::IpAddr;

use crate::conversion::Json;

/// A breach of the document: which field, and what the document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) field: String,
    pub(super) rule: String,
}

/// Every breach found in one request, in the order found.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.0.push(Finding { field: field.into(), rule: rule.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    pub(super) fn sentences(&self) -> Vec<String> {
        self.iter().map(|finding| format!("{}: {}", finding.field, finding.rule)).collect()
    }

    /// Notes the outcome of one check.
    pub(super) fn expect(&mut self, field: &str, outcome: Result<(), String>) {
        if let Err(rule) = outcome {
            self.add(field, rule);
        }
    }
}

/// The rule of a field that the document does not name.
pub(super) const UNKNOWN: &str = "is not a field of the document";
/// The rule of a field that the document asks for.
pub(super) const REQUIRED: &str = "is required";
/// For texts whose length the document does not limit.
pub(super) const UNLIMITED: usize = usize::MAX;

/// What a field may hold. In JSON `Number`, `Integer` and `Boolean` must be of that type, `Object` and the lists too,
/// and everything else must be a string; in forms and queries all is text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// Any text of at most so many characters.
    Text(usize),
    /// Text of at most so many characters that is no plain e-mail address.
    NonIdentifying(usize),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// ISO 4217 code, upper case.
    Currency,
    /// ISO 3166-1 alpha-2 code, upper case.
    CountryAlpha2,
    /// ISO 8601 date and time with zone.
    Instant,
    /// ISO 8601 date and time in UTC, with `Z`.
    UtcInstant,
    /// `Y-m-d H:i:s`.
    CivilTime,
    /// `Y-m-d`.
    Date,
    /// A date, or a date and time with zone.
    DateOrInstant,
    /// UUID of 36 characters.
    Uuid,
    /// UUID of version 4.
    UuidV4,
    /// Lower-case hexadecimal digest of one of these lengths.
    Hex(&'static [usize]),
    /// IPv4 or IPv6 address.
    Ip,
    /// Absolute http(s) URL.
    Url,
    /// Digits only.
    Digits,
    /// Plain e-mail address in lower case.
    LowerEmail,
    /// A decimal; in JSON a number.
    Number(Decimals),
    /// A decimal; in JSON a string.
    DecimalText(Decimals),
    /// A whole number; in JSON a number.
    Integer {
        /// Smallest value.
        min: u64,
        /// Most digits.
        digits: usize,
    },
    /// `true` or `false`.
    Boolean,
    /// A JSON object of these fields and no others.
    Object(&'static [Field]),
    /// A JSON array of non-empty texts, at least one.
    Texts,
    /// A JSON value that the platform's own code checks.
    Own,
}

/// How a decimal may be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimals {
    /// Most digits before the point.
    pub(super) whole: usize,
    /// Most digits after the point.
    pub(super) fraction: usize,
    /// Whether it may be negative.
    pub(super) signed: bool,
}

impl Decimals {
    /// Any amount; the canonical conversion has at most 28 digits.
    pub(super) const ANY: Decimals = Decimals { whole: 28, fraction: 28, signed: false };
    /// Any amount or its negative.
    pub(super) const SIGNED: Decimals = Decimals { whole: 28, fraction: 28, signed: true };
}

/// One row of a vendor's field table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) rule: Rule,
}

pub(super) const fn required(name: &'static str, rule: Rule) -> Field {
    Field { name, required: true, rule }
}

pub(super) const fn optional(name: &'static str, rule: Rule) -> Field {
    Field { name, required: false, rule }
}

/// Whether a vendor takes fields that its document does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extras {
    Accepted,
    Refused,
}

/// Members of a JSON object, in order.
pub(super) type Members = [(Box<str>, Json)];

/// Holds a JSON object to a table. `at` stands before the field names, `""` or `"amount."`.
pub(super) fn check_object(at: &str, members: &Members, table: &[Field], extras: Extras, findings: &mut Findings) {
    for (name, value) in members {
        let path = format!("{at}{name}");
        match table.iter().find(|field| *field.name == **name) {
            Some(field) => check_json(&path, value, field.rule, findings),
            None if extras == Extras::Refused => findings.add(path, UNKNOWN),
            None => {}
        }
    }
    for field in table.iter().filter(|field| field.required) {
        if !members.iter().any(|(name, _)| **name == *field.name) {
            findings.add(format!("{at}{}", field.name), REQUIRED);
        }
    }
}

fn check_json(path: &str, value: &Json, rule: Rule, findings: &mut Findings) {
    match (rule, value) {
        (Rule::Own, _) => {}
        (_, Json::Null) => findings.add(path, "is null: a field without a value is left out"),
        (Rule::Object(_), Json::Object(members)) if members.is_empty() => {
            findings.add(path, "is empty: a field without a value is left out");
        }
        (Rule::Object(table), Json::Object(members)) => {
            check_object(&format!("{path}."), members, table, Extras::Refused, findings);
        }
        (Rule::Object(_), _) => findings.add(path, "must be a JSON object"),
        (Rule::Texts, Json::Array(entries)) => findings.expect(path, texts(entries)),
        (Rule::Texts, _) => findings.add(path, "must be a JSON array of strings"),
        (Rule::Number(_), Json::Number(text)) => findings.expect(path, check_text(rule, text)),
        (Rule::Number(_), _) => findings.add(path, "must be a JSON number"),
        (Rule::Integer { .. }, Json::Number(text)) => findings.expect(path, check_text(rule, text)),
        (Rule::Integer { .. }, _) => findings.add(path, "must be a JSON integer"),
        (Rule::Boolean, Json::Bool(_)) => {}
        (Rule::Boolean, _) => findings.add(path, "must be a JSON boolean"),
        (_, Json::Text(text)) => findings.expect(path, check_text(rule, text)),
        (_, _) => findings.add(path, "must be a JSON string"),
    }
}

fn texts(entries: &[Json]) -> Result<(), String> {
    if entries.is_empty() {
        return Err("is empty: a field without a value is left out".into());
    }
    for entry in entries {
        let Json::Text(text) = entry else { return Err("must be a JSON array of strings".into()) };
        check_text(Rule::Text(UNLIMITED), text)?;
    }
    Ok(())
}

/// Holds a text, from a JSON string, a form or a query, to a rule; the error says what would be right.
pub(super) fn check_text(rule: Rule, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty: a field without a value is left out".into());
    }
    if PLACEHOLDERS.contains(&text) {
        return Err(format!("is the text {text:?}: a field without a value is left out"));
    }
    match rule {
        Rule::Text(max) => at_most(text, max),
        Rule::NonIdentifying(max) => {
            must(!is_email(text), "must not identify: plain e-mail addresses are not permitted")?;
            at_most(text, max)
        }
        Rule::OneOf(words) => must(words.contains(&text), &format!("must be one of {}", words.join(", "))),
        Rule::Currency => {
            must(iso_currency::Currency::from_code(text).is_some(), "must be an ISO 4217 code in capitals")
        }
        Rule::CountryAlpha2 => must(
            text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
            "must be an ISO 3166-1 alpha-2 code in capitals",
        ),
        Rule::Instant => must(is_instant(text), "must be an ISO 8601 date and time with its zone"),
        Rule::UtcInstant => must(is_instant(text) && text.ends_with('Z'), "must be an ISO 8601 time in UTC, with Z"),
        Rule::CivilTime => must(is_civil_time(text), "must be in the format Y-m-d H:i:s"),
        Rule::Date => must(is_date(text), "must be in the format Y-m-d"),
        Rule::DateOrInstant => {
            must(is_date(text) || is_instant(text), "must be a date, or a date and time with its zone")
        }
        Rule::Uuid => must(is_uuid(text), "must be a UUID of 36 characters"),
        Rule::UuidV4 => must(is_uuid_v4(text), "must be a UUID of version 4"),
        Rule::Hex(lengths) => must(
            lengths.contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            &format!("must be a lower-case hexadecimal digest of {} characters", either(lengths)),
        ),
        Rule::Ip => must(text.parse::<IpAddr>().is_ok(), "must be an IP address"),
        Rule::Url => must(
            url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()),
            "must be an absolute http or https URL",
        ),
        Rule::Digits => must(text.bytes().all(|byte| byte.is_ascii_digit()), "must be digits only"),
        Rule::LowerEmail => {
            must(is_email(text) && !text.chars().any(char::is_uppercase), "must be an e-mail address in lower case")
        }
        Rule::Number(decimals) | Rule::DecimalText(decimals) => decimal(text, decimals),
        Rule::Integer { min, digits } => integer(text, min, digits),
        Rule::Boolean => must(matches!(text, "true" | "false"), "must be true or false"),
        Rule::Object(_) | Rule::Texts | Rule::Own => Err("has no form as text".into()),
    }
}

/// Texts that stand for "nothing" in some language and never for a value.
const PLACEHOLDERS: [&str; 6] = ["None", "null", "nil", "undefined", "NaN", "[object Object]"];

fn must(holds: bool, rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(rule.to_owned()) }
}

fn at_most(text: &str, max: usize) -> Result<(), String> {
    must(text.chars().count() <= max, &format!("must have at most {max} characters"))
}

fn either(lengths: &[usize]) -> String {
    lengths.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ")
}

fn decimal(text: &str, decimals: Decimals) -> Result<(), String> {
    let unsigned = text.strip_prefix('-');
    must(decimals.signed || unsigned.is_none(), "must not be negative")?;
    let unsigned = unsigned.unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    must(
        digits(whole) && digits(fraction) && (whole == "0" || !whole.starts_with('0')),
        "must be a plain decimal: digits, a dot, no exponent, no separators",
    )?;
    must(whole.len() <= decimals.whole, &format!("must have at most {} digits before the point", decimals.whole))?;
    must(fraction.len() <= decimals.fraction, &format!("must have at most {} decimals", decimals.fraction))
}

fn integer(text: &str, min: u64, digits: usize) -> Result<(), String> {
    let value = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    must(
        text.len() <= digits && value.is_some_and(|value| value >= min),
        &format!("must be a whole number from {min}, of at most {digits} digits"),
    )
}

/// Whether `text` has the shape: `d` stands for a digit, everything else for itself.
fn shaped(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn is_date(text: &str) -> bool {
    shaped(text, "dddd-dd-dd") && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_civil_time(text: &str) -> bool {
    shaped(text, "dddd-dd-dd dd:dd:dd") && text.parse::<jiff::civil::DateTime>().is_ok()
}

fn is_instant(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let clock = match time.strip_suffix('Z') {
        Some(clock) => clock,
        None => match time.rsplit_once(['+', '-']) {
            Some((clock, zone)) if shaped(zone, "dd:dd") => clock,
            _ => return false,
        },
    };
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    shaped(date, "dddd-dd-dd")
        && shaped(seconds, "dd:dd:dd")
        && (1..=9).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn is_uuid_v4(text: &str) -> bool {
    text.len() == 36
        && uuid::Uuid::try_parse(text)
            .is_ok_and(|uuid| uuid.get_version_num() == 4 && uuid.get_variant() == uuid::Variant::RFC4122)
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.contains('.')
            && !domain.starts_with('.')
            && !domain.ends_with('.')
            && !domain.contains('@')
            && !text.contains(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: Rule, right: &[&str], wrong: &[&str]) {
        for text in right {
            assert_eq!(check_text(rule, text), Ok(()), "{rule:?} should take {text:?}");
        }
        for text in wrong {
            assert!(check_text(rule, text).is_err(), "{rule:?} should refuse {text:?}");
        }
    }

    #[test]
    fn each_rule_takes_what_the_documents_show_and_refuses_its_neighbours() {
        check(Rule::Text(3), &["abc", "äöü"], &["", "abcd", "null", "None", "undefined"]);
        check(Rule::Currency, &["USD", "EUR", "JPY"], &["usd", "US", "ZZZ", "US Dollar"]);
        check(
            Rule::Instant,
            &["2026-05-26T12:34:56Z", "2023-12-01T23:55:24-08:00", "2026-05-26T12:34:56.123456Z"],
            &["2026-05-26T12:34:56", "2026-05-26 12:34:56Z", "2026-02-30T00:00:00Z", "NOW", "1779798896", "2026-05-26"],
        );
        check(Rule::UtcInstant, &["2026-04-13T14:30:00Z"], &["2026-04-13T14:30:00+00:00"]);
        check(Rule::CivilTime, &["2026-05-26 12:34:56"], &["2026-05-26T12:34:56", "2026-05-26", "2026-13-01 00:00:00"]);
        check(Rule::DateOrInstant, &["2022-03-28", "2022-05-21T07:25:00Z"], &["28.03.2022", "2022-02-29"]);
        check(
            Rule::UuidV4,
            &["85b04ded-09dd-4015-ad30-581e45452dd9"],
            &["85b04ded-09dd-7015-ad30-581e45452dd9", "85b04ded"],
        );
        check(Rule::Hex(&[4]), &["0a1f"], &["0A1F", "0a1", "0a1g"]);
        check(Rule::Digits, &["14155552671"], &["+14155552671", "1 415"]);
        check(Rule::LowerEmail, &["user@example.com"], &["User@example.com", "user@example", "user example@x.com"]);
        check(Rule::Number(Decimals::ANY), &["0", "99.90", "5"], &["-1", "1e2", "1,000", ".5", "5.", "007"]);
        check(Rule::Number(Decimals { whole: 6, fraction: 2, signed: true }), &["-999999.99"], &["1000000", "0.001"]);
        check(Rule::Integer { min: 1, digits: 3 }, &["1", "999"], &["0", "1000", "1.0", "-1"]);
        check(Rule::Boolean, &["true", "false"], &["1", "yes", "True"]);
        check(Rule::Url, &["https://shop.example/a?b=c"], &["shop.example", "ftp://shop.example/"]);
        check(Rule::Ip, &["203.0.113.7", "2001:db8::1"], &["203.0.113.256", "localhost"]);
        check(Rule::NonIdentifying(5), &["c-123"], &["a@b.co", "c-1234"]);
    }
}
