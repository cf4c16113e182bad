//! The rows of the table, in the order of the documentation.

mod digest;
mod list;
mod number;
mod text;
mod time;
mod value;

use super::{Argument, Filter, Param};

/// Every filter.
pub(super) fn filters() -> impl Iterator<Item = &'static Filter> {
    [text::TEXT, digest::DIGEST, value::VALUE, number::NUMBER, time::TIME, list::LIST].into_iter().flatten()
}

const fn one(name: &'static str, takes: Argument) -> Param {
    Param { name, takes, optional: false }
}

const fn maybe(name: &'static str, takes: Argument) -> Param {
    Param { name, takes, optional: true }
}
