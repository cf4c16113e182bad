//! Sums, products and differences: exact decimals, money where a part is money.

use super::{amount, same_kind};
use crate::conversion::Money;
use crate::mapping::syntax::Arithmetic;
use crate::mapping::value::{Evaluated, Val};

/// The result of all parts, from the first to the last; absent without any.
pub(in crate::mapping) fn compute<'a>(operation: Arithmetic, parts: &[Val<'_>]) -> Evaluated<'a> {
    let Some((first, rest)) = parts.split_first() else { return Ok(None) };
    let mut result = Some(amount(first)?);
    for part in rest {
        let operand = amount(part)?;
        result = result.and_then(|so_far| step(operation, so_far, operand));
    }
    let kind = parts.iter().find(|part| matches!(part, Val::Money(_))).unwrap_or(first);
    same_kind(kind, result)
}

fn step(operation: Arithmetic, one: Money, other: Money) -> Option<Money> {
    match operation {
        Arithmetic::Sum => one.plus(other),
        Arithmetic::Product => one.times(other),
        Arithmetic::Difference => one.plus(other.negate()),
    }
}
