use proptest::prelude::*;

use super::*;

fn money(text: &str) -> Money {
    Money::parse(text).unwrap()
}

#[test]
fn an_amount_prints_as_it_was_written() {
    #[track_caller]
    fn check(text: &str) {
        assert_eq!(money(text).to_string(), text);
    }
    check("99.90");
    check("0");
    check("0.00");
    check("0.010");
    check("-5.50");
    check("100");
    check("12345678901234.56");
    check("9007199254740993");
    check("1234567890123456789012345678");
    check("0.1234567890123456789012345678");
    check("-9999999999999999999999999.999");
    check("0.0000000000000000000000000001");
}

#[test]
fn what_is_no_amount_is_refused_in_words() {
    #[track_caller]
    fn check(text: &str, expected: MoneyError) {
        assert_eq!(Money::parse(text), Err(expected));
    }
    check("", MoneyError::Empty);
    check("1e3", MoneyError::Exponent);
    check("1.5E-2", MoneyError::Exponent);
    check("+5", MoneyError::Plus);
    check("007", MoneyError::LeadingZero);
    check("00.5", MoneyError::LeadingZero);
    check("-01", MoneyError::LeadingZero);
    check("-0", MoneyError::NegativeZero);
    check("-0.00", MoneyError::NegativeZero);
    check(".5", MoneyError::BarePoint);
    check("5.", MoneyError::BarePoint);
    check(".", MoneyError::BarePoint);
    check("-", MoneyError::Character);
    check("--5", MoneyError::Character);
    check("1,000.00", MoneyError::Character);
    check("1_000", MoneyError::Character);
    check("1.2.3", MoneyError::Character);
    check(" 5", MoneyError::Character);
    check("5 ", MoneyError::Character);
    check("NaN", MoneyError::Character);
    check("Infinity", MoneyError::Character);
    check("0x10", MoneyError::Character);
    check("e", MoneyError::Character);
    check("٣", MoneyError::Character);
    check("12345678901234567890123456789", MoneyError::TooLong);
    check("123456789012345.12345678901234", MoneyError::TooLong);
    check("0.00000000000000000000000000001", MoneyError::TooLong);
    check(&"9".repeat(100_000), MoneyError::TooLong);
}

#[test]
fn minor_units_follow_the_exponent_of_the_currency() {
    #[track_caller]
    fn check(text: &str, currency: &str, expected: Option<&str>) {
        assert_eq!(money(text).minor_units(currency).as_deref(), expected);
    }
    check("99.90", "EUR", Some("9990"));
    check("99.9", "EUR", Some("9990"));
    check("99", "EUR", Some("9900"));
    check("99.900", "EUR", Some("9990"));
    check("99.905", "EUR", None);
    check("1500", "JPY", Some("1500"));
    check("1500.00", "JPY", Some("1500"));
    check("1500.5", "JPY", None);
    check("1.234", "KWD", Some("1234"));
    check("1.2345", "KWD", None);
    check("-0.05", "USD", Some("-5"));
    check("0.00", "USD", Some("0"));
    check("1234567890123456789012345678", "KWD", Some("1234567890123456789012345678000"));
    check("1", "XAU", None);
    check("1", "ZZZ", None);
    check("1", "eur", None);
}

#[test]
fn micros_are_exact_or_nothing() {
    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(money(text).micros().as_deref(), expected);
    }
    check("99.90", Some("99900000"));
    check("0.000001", Some("1"));
    check("0.0000010", Some("1"));
    check("0.0000001", None);
    check("-1", Some("-1000000"));
}

#[test]
fn a_scale_is_reached_half_away_from_zero() {
    #[track_caller]
    fn check(text: &str, scale: u32, expected: Option<&str>) {
        assert_eq!(money(text).with_scale(scale).map(|money| money.to_string()).as_deref(), expected);
    }
    check("2.5", 0, Some("3"));
    check("-2.5", 0, Some("-3"));
    check("2.4999", 0, Some("2"));
    check("0.005", 2, Some("0.01"));
    check("-0.005", 2, Some("-0.01"));
    check("-0.004", 2, Some("0.00"));
    check("1.005", 2, Some("1.01"));
    check("99.9", 2, Some("99.90"));
    check("99.90", 2, Some("99.90"));
    check("7", 3, Some("7.000"));
    check("9.99", 1, Some("10.0"));
    check("0", 28, Some("0.0000000000000000000000000000"));
    check("1234567890123456789012345678", 1, None);
    check("1", 28, None);
    check("0", 29, None);
    check("1", u32::MAX, None);
    check("0.9999999999999999999999999999", 0, Some("1"));
}

#[test]
fn a_product_is_exact_or_nothing() {
    #[track_caller]
    fn check(a: &str, b: &str, expected: Option<&str>) {
        assert_eq!(money(a).times(money(b)).map(|money| money.to_string()).as_deref(), expected);
    }
    check("99.90", "2", Some("199.80"));
    check("99.90", "0.175", Some("17.48250"));
    check("-1.5", "1.5", Some("-2.25"));
    check("0.00", "5", Some("0.00"));
    check("1234567890123456789012345678", "1", Some("1234567890123456789012345678"));
    check("1234567890123456789012345678", "0.5", Some("617283945061728394506172839.0"));
    check("1234567890123456789012345678", "10", None);
    check("1234567890123456789012345678", "1234567890123456789012345678", None);
    check("0.00000000000001", "0.000000000000001", None);
    check("0.00000000000000000000", "0.00000000000000000000", Some("0.0000000000000000000000000000"));
}

#[test]
fn negating_changes_the_sign_and_nothing_else() {
    assert_eq!(money("99.90").negate().to_string(), "-99.90");
    assert_eq!(money("-99.90").negate().to_string(), "99.90");
    assert_eq!(money("0.00").negate().to_string(), "0.00");
    for (text, without_sign) in [("-99.90", "99.90"), ("99.90", "99.90"), ("0.00", "0.00")] {
        assert_eq!(money(text).magnitude().to_string(), without_sign);
    }
    assert!(money("-0.01").is_negative());
    assert!(!money("0.00").negate().is_negative());
}

#[test]
fn sums_are_exact_and_keep_the_decimals() {
    #[track_caller]
    fn check(a: &str, b: &str, expected: Option<&str>) {
        assert_eq!(money(a).plus(money(b)).map(|money| money.to_string()).as_deref(), expected);
        assert_eq!(money(b).plus(money(a)).map(|money| money.to_string()).as_deref(), expected);
    }
    check("10.00", "5", Some("15.00"));
    check("0.1", "0.2", Some("0.3"));
    check("99.90", "-99.90", Some("0.00"));
    check("0", "0.0000000000000000000000000001", Some("0.0000000000000000000000000001"));
    check("9999999999999999999999999999", "1", None);
    check("999999999999999999999999999.9", "0.1", Some("1000000000000000000000000000"));
    check("1000000000000000000000000000", "1.0000000000000000000000000", Some("1000000000000000000000000001"));
    check("100000000000000000000000000", "0.1", Some("100000000000000000000000000.1"));
    check("100000000000000000000000000", "0.01", None);
}

#[test]
fn zeros_at_the_end_of_the_decimals_go() {
    for (text, expected) in [("99.90", "99.9"), ("100.00", "100"), ("100", "100"), ("0.00", "0"), ("-0.50", "-0.5")] {
        assert_eq!(money(text).without_zeros().to_string(), expected);
    }
}

#[test]
fn a_product_at_the_end_of_the_range_is_refused() {
    assert_eq!(money("-9223372036854775808").times(money("18446744073709551616")), None);
}

proptest! {
    /// Any amount of up to 28 digits, far beyond 2⁵³ and at any scale.
    #[test]
    fn text_survives_any_amount(negative: bool, mantissa in 1_i128..MANTISSA_END, scale in 0_u32..=28) {
        let mantissa = if negative { mantissa.saturating_neg() } else { mantissa };
        let text = Decimal::from_i128_with_scale(mantissa, scale).to_string();
        prop_assert_eq!(Money::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn parsing_never_panics_and_takes_only_what_it_prints(text in r"[-+0-9.eE, ]{0,34}|\PC{0,12}") {
        if let Ok(money) = Money::parse(&text) {
            prop_assert_eq!(money.to_string(), text);
        }
    }

    #[test]
    fn minor_units_and_back_is_the_same_amount(units in 0_i64.., currency in prop::sample::select(vec![("JPY", 0), ("EUR", 2), ("KWD", 3)])) {
        let (code, exponent) = currency;
        let amount = Money(Decimal::from_i128_with_scale(i128::from(units), exponent));
        prop_assert_eq!(amount.minor_units(code), Some(units.to_string()));
    }

    #[test]
    fn rounding_moves_by_at_most_half_a_unit(mantissa in -1_000_000_000_i64..1_000_000_000, from in 0_u32..6, to in 0_u32..6) {
        let amount = Money(Decimal::from_i128_with_scale(i128::from(mantissa), from));
        let rounded = amount.with_scale(to).unwrap();
        prop_assert_eq!(rounded.decimal().scale(), to);
        let moved = rounded.decimal().saturating_sub(amount.decimal()).abs();
        prop_assert!(moved.saturating_add(moved) <= Decimal::new(1, to));
    }
}
