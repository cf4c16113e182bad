//! Amounts are exact: a hundred thousand of them through every filter that touches money, held to arithmetic by hand.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Conversions with [`AMOUNTS`] each: a hundred thousand in all.
const CASES: u32 = 200;
const AMOUNTS: usize = 500;

/// Exponents of ISO 4217, from the standard's own list.
const EXPONENTS: &[(&str, Option<usize>)] =
    &[("EUR", Some(2)), ("JPY", Some(0)), ("KWD", Some(3)), ("BHD", Some(3)), ("CLF", Some(4)), ("XAU", None)];

fn filter(call: &str) -> Expression {
    let source = format!("item.price | {call}");
    Expression::compile(&text(&source), &constants(), Place::Item).expect("it is right")
}

/// The amount as it leaves; nothing where the filter says that there is none.
fn left(found: Result<Option<Val<'_>>, EvalError>) -> Option<String> {
    match found.ok()?.as_ref().and_then(Val::out) {
        Some(Out::Text(text) | Out::Number(text)) => Some(text.to_owned()),
        Some(Out::Amount(amount)) => Some(amount.text().as_str().to_owned()),
        Some(Out::Int(int)) => Some(int.to_string()),
        Some(Out::Bool(_) | Out::Json(_)) | None => panic!("this is no amount"),
    }
}

/// A refund, which alone may have negative amounts, with a line for each; as numbers and as strings.
fn refund(currency: &str, amounts: &[String]) -> String {
    let line = |(at, amount): (usize, &String)| match at % 2 {
        0 => format!(r#"{{"price":{amount}}}"#),
        _ => format!(r#"{{"price":"{amount}"}}"#),
    };
    let lines: Vec<String> = amounts.iter().enumerate().map(line).collect();
    let lines = lines.join(",");
    format!(
        r#"{{"time":"2026-01-01T00:00:00Z","kind":"refund","order_id":"o","currency":"{currency}","items":[{lines}]}}"#
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn amounts_go_through_the_filters_exactly(
        amounts in vec(generate::amount(), AMOUNTS),
        negative: bool,
        places in 0_usize..=18,
        (currency, exponent) in select(EXPONENTS),
    ) {
        let zero = |amount: &str| amount.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let signed = |amount: &String| if negative && !zero(amount) { format!("-{amount}") } else { amount.clone() };
        let amounts: Vec<String> = amounts.iter().map(signed).collect();
        let exact = filter(&format!("decimal({places})"));
        let most = filter(&format!("decimal_max({places})"));
        let [plain, minor, twice] = ["string", "minor_units", "negate | negate"].map(filter);
        with_scope(&refund(currency, &amounts), |scope| {
            for (item, amount) in scope.conversion.items().iter().zip(&amounts) {
                let check = |filter: &Expression, expected: Option<String>| {
                    let found = left(filter.eval(scope, Some(item), Secrets::Revealed));
                    prop_assert_eq!(found, expected, "{} {} with {} places: {:?}", amount, currency, places, filter);
                    Ok(())
                };
                check(&plain, Some(amount.clone()))?;
                check(&twice, Some(amount.clone()))?;
                check(&exact, decimal::rounded(amount, places))?;
                check(&most, decimal::rounded_max(amount, places))?;
                let units = exponent.and_then(|exponent| decimal::minor_units(amount, exponent));
                check(&minor, units.or_else(|| zero(amount).then(|| "0".to_owned())))?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}

#[test]
fn the_arithmetic_by_hand_is_right_itself() {
    let check = |found: Option<String>, expected: &str| assert_eq!(found.as_deref().unwrap_or("none"), expected);
    check(decimal::rounded("9.995", 2), "10.00");
    check(decimal::rounded("-0.005", 2), "-0.01");
    check(decimal::rounded("-0.004", 2), "0.00");
    check(decimal::rounded("7", 3), "7.000");
    check(decimal::rounded("99.5", 0), "100");
    check(decimal::rounded("9999999999999999999999999999", 1), "none");
    check(decimal::rounded("9999999999999999999999999999.5", 0), "none");
    check(decimal::rounded_max("1.005", 3), "1.005");
    check(decimal::minor_units("9007199254740993.01", 2), "900719925474099301");
    check(decimal::minor_units("0.010", 2), "1");
    check(decimal::minor_units("0.001", 2), "none");
}
