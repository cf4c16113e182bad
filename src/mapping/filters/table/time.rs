//! Times and dates.

use jiff::tz::TimeZone;

use super::{maybe, one};
use crate::mapping::filters::{Args, Argument, Filter, Mistake, mistake};
use crate::mapping::ops::{Op, Unit};
use crate::mapping::types::{Gives, Takes};

pub(super) static TIME: &[Filter] = &[
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
];

fn strftime(args: &Args) -> Result<Op, Mistake> {
    let format = args.plain(0).unwrap_or_default();
    if format.len() > FORMAT_BYTES_MAX {
        return Err(mistake(0, "a format has at most 128 bytes"));
    }
    if !format.contains('%') {
        return Err(mistake(0, "this would be the same of every time: a format is written with `%`: `%Y-%m-%d`"));
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
