//! Lists and objects.

use super::{maybe, one};
use crate::mapping::filters::{Argument, Filter, mistake};
use crate::mapping::ops::{ENTRIES_MAX, Gaps, List, Op};
use crate::mapping::types::{Gives, Takes};

pub(super) static LIST: &[Filter] = &[
    Filter {
        name: "join",
        takes: Takes::List,
        params: &[one("separator", Argument::Text), maybe("'keep'", Argument::Plain)],
        gives: Gives::Text,
        doc: "the entries of a list with this between them; absent ones are left out, with 'keep' their places stay and are \
              empty; a list of none is absent",
        make: |args| match args.plain(1) {
            None => Ok(Op::List(List::Join(args.word(0), Gaps::Close))),
            Some("keep") => Ok(Op::List(List::Join(args.word(0), Gaps::Keep))),
            Some(_) => Err(mistake(1, "'keep' keeps the places of absent entries; nothing else can stand here")),
        },
    },
    Filter {
        name: "split",
        takes: Takes::Text,
        params: &[one("separator", Argument::Plain)],
        gives: Gives::Texts,
        doc: "the texts between these separators, as a list; an empty one is absent and keeps its place",
        make: |args| match args.plain(0) {
            Some(separator) if !separator.is_empty() => Ok(Op::List(List::Split(separator.into()))),
            _ => Err(mistake(0, "an empty text separates nothing")),
        },
    },
    Filter {
        name: "nth",
        takes: Takes::List,
        params: &[one("n", Argument::Count(ENTRIES_MAX))],
        gives: Gives::Part,
        doc: "the entry of a list with that number, counted from 0",
        make: |args| Ok(Op::List(List::Nth(args.size(0)))),
    },
    Filter {
        name: "total",
        takes: Takes::Numbers,
        params: &[],
        gives: Gives::SameNumber,
        doc: "the exact sum of a list of numbers; absent if an entry is: `| default(0)` before it passes over those, and \
              leaves a list of none absent",
        make: |_| Ok(Op::List(List::Total)),
    },
    Filter {
        name: "pick",
        takes: Takes::Object,
        params: &[one("[name, …]", Argument::Words)],
        gives: Gives::Json,
        doc: "of an object only these members",
        make: |args| Ok(Op::List(List::Pick(args.words(0)))),
    },
    Filter {
        name: "without",
        takes: Takes::Object,
        params: &[one("[name, …]", Argument::Words)],
        gives: Gives::Json,
        doc: "of an object all but these members",
        make: |args| Ok(Op::List(List::Without(args.words(0)))),
    },
];
