//! Text: changed, cut, searched.

use super::{maybe, one};
use crate::mapping::filters::{Args, Argument, Filter, Mistake, mistake};
use crate::mapping::ops::{Edit, Op, Side};
use crate::mapping::types::{Gives, Takes};

pub(super) static TEXT: &[Filter] = &[
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
        name: "alphanumeric",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "only the letters and digits, of any script: `St. Gallen` becomes `StGallen`",
        make: |_| Ok(Op::Edit(Edit::Alphanumeric)),
    },
    Filter {
        name: "e164",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "a phone number as `+14155552671`; it must begin with `+` and its country code, blanks, dots, dashes, \
              parentheses and a trunk zero `(0)` are left out, anything else is unmappable",
        make: |_| Ok(Op::E164),
    },
    Filter {
        name: "phone_digits",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "the digits of a phone number with its country code, without `+`, `00` and a trunk zero `(0)`: \
              `+49 (0)30 1234` becomes `49301234`; absent where it begins with a 0, and so without a country code",
        make: |_| Ok(Op::Edit(Edit::PhoneDigits)),
    },
    Filter {
        name: "phone_plus",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "likewise, with its `+`: `0049 30 1234` becomes `+49301234`; absent where it does not begin with `+` or `00` \
              and a country code",
        make: |_| Ok(Op::Edit(Edit::PhonePlus)),
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
        params: &[one("n", Argument::Count(CHARS_MAX))],
        gives: Gives::Text,
        doc: "the first n characters",
        make: |args| Ok(Op::Truncate(args.size(0))),
    },
    Filter {
        name: "truncate_bytes",
        takes: Takes::Text,
        params: &[one("n", Argument::Count(CHARS_MAX))],
        gives: Gives::Text,
        doc: "as many whole characters from its start as fit into n bytes (UTF-8)",
        make: |args| Ok(Op::Edit(Edit::TruncateBytes(args.size(0)))),
    },
    Filter {
        name: "substring",
        takes: Takes::Text,
        params: &[one("start", Argument::Count(CHARS_MAX)), maybe("length", Argument::Count(CHARS_MAX))],
        gives: Gives::Text,
        doc: "the characters from `start`, counted from 0, to the end or as many as `length` says",
        make: |args| Ok(Op::Edit(Edit::Substring(args.size(0), args.count(1).map(|_| args.size(1))))),
    },
    Filter {
        name: "pad_left",
        takes: Takes::Text,
        params: &[one("n", Argument::Count(PAD_CHARS_MAX)), one("c", Argument::Plain)],
        gives: Gives::Text,
        doc: "with this character before it, repeated until there are n characters",
        make: |args| Ok(Op::Edit(Edit::Pad(Side::Left, args.size(0), args.character(1)?))),
    },
    Filter {
        name: "pad_right",
        takes: Takes::Text,
        params: &[one("n", Argument::Count(PAD_CHARS_MAX)), one("c", Argument::Plain)],
        gives: Gives::Text,
        doc: "with this character after it, likewise",
        make: |args| Ok(Op::Edit(Edit::Pad(Side::Right, args.size(0), args.character(1)?))),
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
        name: "replace_re",
        takes: Takes::Text,
        params: &[one("pattern", Argument::Plain), one("by", Argument::Plain)],
        gives: Gives::Text,
        doc: "with every match of a regular expression replaced; in `by` `$1` is a group, `${name}` a named one, `$$` a dollar sign",
        make: replace_re,
    },
    Filter {
        name: "extract",
        takes: Takes::Text,
        params: &[one("pattern", Argument::Plain)],
        gives: Gives::Text,
        doc: "what a regular expression finds first: its first group that matched, or the whole match where it has none",
        make: |args| Ok(Op::Edit(Edit::Extract(args.pattern(0)?))),
    },
    Filter {
        name: "url_param",
        takes: Takes::Text,
        params: &[one("name", Argument::Plain)],
        gives: Gives::Text,
        doc: "the first query parameter of that name in a URL, decoded",
        make: |args| Ok(Op::UrlParam(args.plain(0).unwrap_or_default().into())),
    },
    Filter {
        name: "cookie",
        takes: Takes::Text,
        params: &[one("name", Argument::Plain)],
        gives: Gives::Text,
        doc: "the value of that cookie in the text of a `Cookie` header, as it stands there",
        make: |args| Ok(Op::Edit(Edit::Cookie(args.plain(0).unwrap_or_default().into()))),
    },
    Filter {
        name: "url_encode",
        takes: Takes::Text,
        params: &[],
        gives: Gives::Text,
        doc: "percent-encoded but for letters, digits and `-._~`",
        make: |_| Ok(Op::Edit(Edit::UrlEncode)),
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
];

fn replace_re(args: &Args) -> Result<Op, Mistake> {
    let pattern = args.pattern(0)?;
    match pattern.replacement(args.plain(1).unwrap_or_default()) {
        Ok(by) => Ok(Op::Edit(Edit::ReplaceAll(pattern, by))),
        Err(message) => Err(mistake(1, &message)),
    }
}

/// Cutting off later than this is not cutting.
const CHARS_MAX: u32 = 1_000_000;
/// Longer than any field of fixed width.
const PAD_CHARS_MAX: u32 = 1000;
