//! Numbers: exact decimals.

use super::{maybe, one};
use crate::mapping::filters::{Argument, Filter, mistake};
use crate::mapping::ops::{Inexact, Op};
use crate::mapping::types::{Gives, Takes};

pub(super) static NUMBER: &[Filter] = &[
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
        name: "strip_zeros",
        takes: Takes::Number,
        params: &[],
        gives: Gives::SameNumber,
        doc: "without zeros at the end of its decimals: `99.90` becomes `99.9`, and `100.00` becomes `100`",
        make: |_| Ok(Op::StripZeros),
    },
    Filter {
        name: "minor_units",
        takes: Takes::Money,
        params: &[maybe("'omit'", Argument::Plain)],
        gives: Gives::Int,
        doc: "in the smallest unit of the conversion's currency (EUR ×100, JPY ×1, KWD ×1000); unmappable when not exact, \
              with 'omit' absent",
        make: |args| match args.plain(0) {
            None => Ok(Op::MinorUnits(Inexact::Refuse)),
            Some("omit") => Ok(Op::MinorUnits(Inexact::Omit)),
            Some(_) => Err(mistake(0, "'omit' leaves out an amount that is not exact; nothing else can stand here")),
        },
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
        name: "add",
        takes: Takes::Number,
        params: &[one("x", Argument::Number)],
        gives: Gives::SameNumber,
        doc: "plus x, exactly",
        make: |args| Ok(Op::Add(args.amount(0)?)),
    },
    Filter {
        name: "sub",
        takes: Takes::Number,
        params: &[one("x", Argument::Number)],
        gives: Gives::SameNumber,
        doc: "minus x, exactly",
        make: |args| Ok(Op::Add(args.amount(0)?.negate())),
    },
];

/// More decimals than any currency has, or any API takes.
const DECIMALS_MAX: u32 = 18;
