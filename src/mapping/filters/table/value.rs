//! Values of any kind: another in their place, another type.

use super::one;
use crate::mapping::filters::{Arg, Argument, Filter, mistake};
use crate::mapping::ops::Op;
use crate::mapping::types::{Gives, Takes};

pub(super) static VALUE: &[Filter] = &[
    Filter {
        name: "default",
        takes: Takes::Any,
        params: &[one("value", Argument::Scalar)],
        gives: Gives::Either,
        doc: "this value where there is none; in a list for each absent entry, and a list of none stays absent",
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
        doc: "as a whole number; unmappable when it is none (`12.00` is 12), so an amount goes through `decimal(0)` first",
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
        name: "json",
        takes: Takes::Any,
        params: &[],
        gives: Gives::Text,
        doc: "as compact JSON text",
        make: |_| Ok(Op::Json),
    },
];
