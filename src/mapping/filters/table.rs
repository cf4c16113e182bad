//! The rows of the table, in the order of the documentation.

use jiff::tz::TimeZone;

use super::{Arg, Args, Argument, Filter, Mistake, Param, mistake};
use crate::mapping::ops::{Algorithm, Op, Unit};
use crate::mapping::types::{Gives, Takes};

const fn one(name: &'static str, takes: Argument) -> Param {
    Param { name, takes, optional: false }
}

const fn maybe(name: &'static str, takes: Argument) -> Param {
    Param { name, takes, optional: true }
}

const CODING: &[Param] = &[maybe("'hex' | 'base64'", Argument::Plain)];

fn strftime(args: &Args) -> Result<Op, Mistake> {
    let format = args.plain(0).unwrap_or_default();
    if format.len() > FORMAT_BYTES_MAX {
        return Err(mistake(0, "a format has at most 128 bytes"));
    }
    let sample = jiff::Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    if let Err(fault) = jiff::fmt::strtime::format(format, &sample) {
        return Err(mistake(0, &format!("no format for a time: {fault}")));
    }
    let civil = jiff::fmt::strtime::format(format, sample.date()).is_ok();
    Ok(Op::Strftime { format: format.into(), zone: args.zone(1)?, civil })
}

/// Longer than any format of a time that an API asks for.
const FORMAT_BYTES_MAX: usize = 128;
/// More decimals than any currency has, or any API takes.
const DECIMALS_MAX: u32 = 18;
/// Cutting off later than this is not cutting.
const TRUNCATE_CHARS_MAX: u32 = 1_000_000;

pub(super) static FILTERS: &[Filter] = &[
    Filter {
        name: "trim",
        takes: Takes::Text,
        params: &[],
        gives: Gives::SameText,
        doc: "without the white space at both ends",
        make: |_| Ok(Op::Trim),
    },
    Filter {
        name: "lower",
        takes: Takes::Text,
        params: &[],
        gives: Gives::SameText,
        doc: "in lower case (Unicode)",
        make: |_| Ok(Op::Lower),
    },
    Filter {
        name: "upper",
        takes: Takes::Text,
        params: &[],
        gives: Gives::SameText,
        doc: "in upper case (Unicode)",
        make: |_| Ok(Op::Upper),
    },
    Filter {
        name: "digits",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "only the digits 0 to 9: `+1 (415) 555-2671` becomes `14155552671`",
        make: |_| Ok(Op::Digits),
    },
    Filter {
        name: "e164",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "a phone number as `+14155552671`; it must begin with `+` and its country code, blanks, dots, dashes and \
              parentheses are left out, anything else is unmappable",
        make: |_| Ok(Op::E164),
    },
    Filter {
        name: "email_canonical",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "an address trimmed and in lower case; at gmail.com and googlemail.com without dots and `+tag`",
        make: |_| Ok(Op::EmailCanonical),
    },
    Filter {
        name: "truncate",
        takes: Takes::Text,
        params: &[one("n", Argument::Count(TRUNCATE_CHARS_MAX))],
        gives: Gives::Text,
        doc: "the first n characters",
        make: |args| Ok(Op::Truncate(args.count(0).and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX))),
    },
    Filter {
        name: "prefix",
        takes: Takes::Text,
        params: &[one("text", Argument::Text)],
        gives: Gives::Text,
        doc: "with this text before it",
        make: |args| Ok(Op::Prefix(args.word(0))),
    },
    Filter {
        name: "suffix",
        takes: Takes::Text,
        params: &[one("text", Argument::Text)],
        gives: Gives::Text,
        doc: "with this text after it",
        make: |args| Ok(Op::Suffix(args.word(0))),
    },
    Filter {
        name: "replace",
        takes: Takes::Text,
        params: &[one("part", Argument::Text), one("by", Argument::Text)],
        gives: Gives::Text,
        doc: "with every occurrence of a part replaced; by '' it is taken out",
        make: |args| match args.plain(0) {
            Some("") => Err(mistake(0, "an empty text occurs nowhere: name the part to replace")),
            _ => Ok(Op::Replace(args.word(0), args.word(1))),
        },
    },
    Filter {
        name: "default",
        takes: Takes::Any,
        params: &[one("value", Argument::Scalar)],
        gives: Gives::Either,
        doc: "this value where there is none; of a list, for each entry",
        make: |args| Ok(Op::Default(args.value(0))),
    },
    Filter {
        name: "lookup",
        takes: Takes::Case,
        params: &[one("{key: value}", Argument::Map)],
        gives: Gives::Entry,
        doc: "what the map has for it; nothing when the map has no such key",
        make: |args| match args.0.first() {
            Some(Arg::Map(members)) => {
                let mut members = members.clone();
                members.sort_by(|(a, _), (b, _)| a.cmp(b));
                Ok(Op::Lookup(members.into()))
            }
            _ => Err(mistake(0, "a map is missing")),
        },
    },
    Filter {
        name: "sha1",
        takes: Takes::Plain,
        params: CODING,
        gives: Gives::Digest,
        doc: "its SHA-1 digest, in lower-case hex unless 'base64' is asked for",
        make: |args| Ok(Op::Hash(Algorithm::Sha1, args.coding(0)?)),
    },
    Filter {
        name: "sha256",
        takes: Takes::Plain,
        params: CODING,
        gives: Gives::Digest,
        doc: "its SHA-256 digest, likewise",
        make: |args| Ok(Op::Hash(Algorithm::Sha256, args.coding(0)?)),
    },
    Filter {
        name: "sha512",
        takes: Takes::Plain,
        params: CODING,
        gives: Gives::Digest,
        doc: "its SHA-512 digest, likewise",
        make: |args| Ok(Op::Hash(Algorithm::Sha512, args.coding(0)?)),
    },
    Filter {
        name: "md5",
        takes: Takes::Plain,
        params: CODING,
        gives: Gives::Digest,
        doc: "its MD5 digest, likewise",
        make: |args| Ok(Op::Hash(Algorithm::Md5, args.coding(0)?)),
    },
    Filter {
        name: "hmac_sha256",
        takes: Takes::Plain,
        params: &[one("secrets.x", Argument::Secret), maybe("'hex' | 'base64'", Argument::Plain)],
        gives: Gives::Digest,
        doc: "its HMAC-SHA-256 with this key, likewise",
        make: |args| Ok(Op::Hmac(args.word(0), args.coding(1)?)),
    },
    Filter {
        name: "hex",
        takes: Takes::Plain,
        params: &[],
        gives: Gives::Text,
        doc: "its bytes (UTF-8) in lower-case hex",
        make: |_| Ok(Op::Hex),
    },
    Filter {
        name: "base64",
        takes: Takes::Plain,
        params: &[],
        gives: Gives::Text,
        doc: "its bytes (UTF-8) in base64 with padding",
        make: |_| Ok(Op::Base64),
    },
    Filter {
        name: "string",
        takes: Takes::Scalar,
        params: &[],
        gives: Gives::Text,
        doc: "as text: money and numbers as they were written, true and false, times as they were given",
        make: |_| Ok(Op::Text),
    },
    Filter {
        name: "int",
        takes: Takes::Numeral,
        params: &[],
        gives: Gives::Int,
        doc: "as a whole number; unmappable when it is none (`12.00` is 12)",
        make: |_| Ok(Op::Int),
    },
    Filter {
        name: "number",
        takes: Takes::Numeral,
        params: &[],
        gives: Gives::Number,
        doc: "as a number with the digits that were written; unmappable when it is none",
        make: |_| Ok(Op::Number),
    },
    Filter {
        name: "bool",
        takes: Takes::Bool,
        params: &[one("yes", Argument::Scalar), one("no", Argument::Scalar)],
        gives: Gives::Argument,
        doc: "the one for true, the other for false",
        make: |args| Ok(Op::Spell(Box::new([args.value(0), args.value(1)]))),
    },
    Filter {
        name: "decimal",
        takes: Takes::Number,
        params: &[one("n", Argument::Count(DECIMALS_MAX))],
        gives: Gives::SameNumber,
        doc: "with exactly n decimals, rounded half away from zero",
        make: |args| Ok(Op::Decimal(args.count(0).unwrap_or(0))),
    },
    Filter {
        name: "decimal_max",
        takes: Takes::Number,
        params: &[one("n", Argument::Count(DECIMALS_MAX))],
        gives: Gives::SameNumber,
        doc: "with at most n decimals: more are rounded half away from zero, fewer stay as they are",
        make: |args| Ok(Op::DecimalMax(args.count(0).unwrap_or(0))),
    },
    Filter {
        name: "minor_units",
        takes: Takes::Money,
        params: &[],
        gives: Gives::Int,
        doc: "in the smallest unit of the conversion's currency (EUR ×100, JPY ×1, KWD ×1000); unmappable when not exact",
        make: |_| Ok(Op::MinorUnits),
    },
    Filter {
        name: "micros",
        takes: Takes::Number,
        params: &[],
        gives: Gives::Int,
        doc: "in millionths; unmappable when not exact",
        make: |_| Ok(Op::Micros),
    },
    Filter {
        name: "negate",
        takes: Takes::Number,
        params: &[],
        gives: Gives::SameNumber,
        doc: "with the other sign",
        make: |_| Ok(Op::Negate),
    },
    Filter {
        name: "mul",
        takes: Takes::Number,
        params: &[one("x", Argument::Number)],
        gives: Gives::SameNumber,
        doc: "times x, exactly",
        make: |args| Ok(Op::Mul(args.amount(0)?)),
    },
    Filter {
        name: "rfc3339",
        takes: Takes::Timestamp,
        params: &[maybe("digits", Argument::Count(9))],
        gives: Gives::Text,
        doc: "in UTC as `2026-05-26T12:34:56Z`, with the sub-second digits that were given, or exactly so many",
        make: |args| Ok(Op::Rfc3339(args.count(0).and_then(|digits| usize::try_from(digits).ok()))),
    },
    Filter {
        name: "unix",
        takes: Takes::Timestamp,
        params: &[],
        gives: Gives::Int,
        doc: "in seconds since 1970, the rest left out",
        make: |_| Ok(Op::Unix(Unit::Seconds)),
    },
    Filter {
        name: "unix_ms",
        takes: Takes::Timestamp,
        params: &[],
        gives: Gives::Int,
        doc: "in milliseconds since 1970",
        make: |_| Ok(Op::Unix(Unit::Millis)),
    },
    Filter {
        name: "unix_us",
        takes: Takes::Timestamp,
        params: &[],
        gives: Gives::Int,
        doc: "in microseconds since 1970",
        make: |_| Ok(Op::Unix(Unit::Micros)),
    },
    Filter {
        name: "strftime",
        takes: Takes::Time,
        params: &[one("format", Argument::Plain), maybe("zone", Argument::Plain)],
        gives: Gives::Text,
        doc: "as `%Y-%m-%d %H:%M:%S` or another format says, in UTC unless an IANA zone is named",
        make: strftime,
    },
    Filter {
        name: "join",
        takes: Takes::List,
        params: &[one("separator", Argument::Text)],
        gives: Gives::Text,
        doc: "the entries of a list with this between them; an absent entry keeps its empty place, a list of none is absent",
        make: |args| Ok(Op::Join(args.word(0))),
    },
    Filter {
        name: "json",
        takes: Takes::Any,
        params: &[],
        gives: Gives::Text,
        doc: "as compact JSON text",
        make: |_| Ok(Op::Json),
    },
    Filter {
        name: "ua_browser",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "the browser of a user agent: `Chrome`, `Safari`, `Firefox`, `Edge`, …; nothing when unknown",
        make: |_| Ok(Op::Browser),
    },
    Filter {
        name: "ua_os",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "the operating system of a user agent: `Windows`, `Mac OS X`, `iOS`, `Android`, `Linux`, …; nothing when unknown",
        make: |_| Ok(Op::Os),
    },
    Filter {
        name: "url_param",
        takes: Takes::Text,
        params: &[one("name", Argument::Plain)],
        gives: Gives::Text,
        doc: "the first query parameter of that name in a URL, decoded",
        make: |args| Ok(Op::UrlParam(args.plain(0).unwrap_or_default().into())),
    },
];
