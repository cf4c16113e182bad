//! Money: exact decimals that print as they were written.

use std::fmt;

use rust_decimal::Decimal;

use super::schema::MONEY_DIGITS_MAX;

/// Exact decimal of at most 28 significant digits; prints as it was written (`99.90`).
///
/// Never passes through a binary float, and no operation rounds unless its name says so.
/// Equality is by amount: `1.50` equals `1.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money(Decimal);

/// The text of an amount, on the stack.
#[derive(Debug)]
pub struct MoneyText {
    /// Filled from the end.
    bytes: [u8; CHARS_MAX],
    start: usize,
}

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// `1e3`.
    #[error("must be written out, without an exponent")]
    Exponent,
    /// `+5`.
    #[error("must not begin with a plus sign")]
    Plus,
    /// `007`.
    #[error("must not begin with a zero before other digits")]
    LeadingZero,
    /// `-0.00`.
    #[error("zero must have no sign")]
    NegativeZero,
    /// `.5` and `5.`.
    #[error("must have digits on both sides of the decimal point")]
    BarePoint,
    /// `1,000`, ` 5`, `NaN`, `1_0`, `€5`.
    #[error("must be digits with an optional decimal point, such as 99.90")]
    Character,
    /// More than 28 significant digits or decimals.
    #[error("must have at most 28 significant digits and 28 decimals")]
    TooLong,
}

impl Money {
    /// Reads `-?(0|[1-9][0-9]*)(\.[0-9]+)?`.
    ///
    /// # Errors
    /// For any other text, in words.
    pub fn parse(text: &str) -> Result<Money, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (digits, None),
        };
        check_shape(text, whole, fraction)?;
        let fraction = fraction.unwrap_or_default();
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = i128::from(digit.saturating_sub(b'0'));
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(digit))
                .filter(|amount| *amount < MANTISSA_END)
                .ok_or(MoneyError::TooLong)?;
        }
        if negative && mantissa == 0 {
            return Err(MoneyError::NegativeZero);
        }
        let mantissa = if negative { mantissa.saturating_neg() } else { mantissa };
        let scale = u32::try_from(fraction.len()).ok().ok_or(MoneyError::TooLong)?;
        exact(mantissa, scale).ok_or(MoneyError::TooLong)
    }

    /// The amount as a decimal, with its scale.
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// As it was written.
    pub fn text(self) -> MoneyText {
        let (mut rest, decimals) = (self.0.mantissa().unsigned_abs(), self.0.scale());
        let mut text = MoneyText { bytes: [0; CHARS_MAX], start: CHARS_MAX };
        for _ in 0..decimals {
            text.prepend(last_digit(&mut rest));
        }
        if decimals > 0 {
            text.prepend(b'.');
        }
        text.prepend(last_digit(&mut rest));
        while rest > 0 {
            text.prepend(last_digit(&mut rest));
        }
        if self.is_negative() {
            text.prepend(b'-');
        }
        text
    }

    /// Below zero.
    pub fn is_negative(self) -> bool {
        self.0.mantissa() < 0
    }

    /// The same amount with the other sign; zero has none.
    #[must_use]
    pub fn negate(self) -> Money {
        exact(self.0.mantissa().saturating_neg(), self.0.scale()).unwrap_or(self)
    }

    /// Without its sign: a refund's amount is what is given back, written with one or not.
    #[must_use]
    pub fn magnitude(self) -> Money {
        if self.is_negative() { self.negate() } else { self }
    }

    /// The exact product; `None` when it has more than 28 significant digits or decimals.
    pub fn times(self, factor: Money) -> Option<Money> {
        let mantissa = self.0.mantissa().checked_mul(factor.0.mantissa())?;
        fitted(mantissa, self.0.scale().checked_add(factor.0.scale())?)
    }

    /// The exact sum, with the decimals of the one that has more; `None` when it has more than 28 significant digits.
    pub fn plus(self, other: Money) -> Option<Money> {
        let sum = |one: Money, other: Money| {
            let scale = one.0.scale().max(other.0.scale());
            fitted(one.mantissa_at(scale)?.checked_add(other.mantissa_at(scale)?)?, scale)
        };
        sum(self, other).or_else(|| sum(self.without_zeros(), other.without_zeros()))
    }

    /// The same amount without zeros at the end of its decimals: `99.90` is `99.9`, and `100.00` is `100`.
    #[must_use]
    pub fn without_zeros(self) -> Money {
        Money(self.0.normalize())
    }

    /// Exactly `scale` decimals, half away from zero; `None` when that has more than 28 digits.
    pub fn with_scale(self, scale: u32) -> Option<Money> {
        let (mantissa, from) = (self.0.mantissa(), self.0.scale());
        if scale >= from {
            let shift = 10_i128.checked_pow(scale.checked_sub(from)?)?;
            return exact(mantissa.checked_mul(shift)?, scale);
        }
        let unit = 10_i128.checked_pow(from.checked_sub(scale)?)?;
        let (whole, rest) = (mantissa.checked_div(unit)?, mantissa.checked_rem(unit)?);
        let up = if rest.checked_abs()?.checked_mul(2)? >= unit { mantissa.signum() } else { 0 };
        exact(whole.checked_add(up)?, scale)
    }

    /// Integer text in minor units of `currency` (ISO 4217 exponent: JPY 0, EUR 2, KWD 3); `None` when the amount has a
    /// part below the minor unit, or the code is unknown or has no minor unit (gold).
    pub fn minor_units(self, currency: &str) -> Option<String> {
        let exponent = iso_currency::Currency::from_code(currency)?.exponent()?;
        self.shifted(u32::from(exponent))
    }

    /// Whether amounts of `currency` (ISO 4217) have a smallest unit at all: gold has none, and an unknown code neither.
    pub fn has_minor_unit(currency: &str) -> bool {
        iso_currency::Currency::from_code(currency).is_some_and(|currency| currency.exponent().is_some())
    }

    /// Integer text × 10⁶; `None` when the amount has a part below a millionth.
    pub fn micros(self) -> Option<String> {
        self.shifted(6)
    }

    /// The digits with `scale` decimals, at least as many as there are.
    fn mantissa_at(self, scale: u32) -> Option<i128> {
        let shift = 10_i128.checked_pow(scale.checked_sub(self.0.scale())?)?;
        self.0.mantissa().checked_mul(shift)
    }

    /// The amount × 10^`places` as integer text, `None` unless it is whole.
    fn shifted(self, places: u32) -> Option<String> {
        let (mantissa, scale) = (self.0.mantissa(), self.0.scale());
        if places >= scale {
            let shift = 10_i128.checked_pow(places.checked_sub(scale)?)?;
            return Some(mantissa.checked_mul(shift)?.to_string());
        }
        let unit = 10_i128.checked_pow(scale.checked_sub(places)?)?;
        (mantissa.checked_rem(unit)? == 0).then(|| mantissa.checked_div(unit).unwrap_or_default().to_string())
    }
}

impl MoneyText {
    /// The characters.
    pub fn as_str(&self) -> &str {
        self.bytes.get(self.start..).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }

    fn prepend(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }
}

impl From<i64> for Money {
    fn from(whole: i64) -> Money {
        Money(Decimal::from(whole))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// Takes the last digit off, and answers its character.
fn last_digit(rest: &mut u128) -> u8 {
    // Nearly every amount fits 64 bits, whose division is much the faster.
    let (left, digit) = match u64::try_from(*rest) {
        Ok(rest) => (u128::from(rest / 10), u8::try_from(rest % 10)),
        Err(_) => (*rest / 10, u8::try_from(*rest % 10)),
    };
    *rest = left;
    b'0'.saturating_add(digit.unwrap_or(0))
}

/// A sign, a zero and a point before 28 decimals.
const CHARS_MAX: usize = 31;

/// 10²⁸: the first mantissa with more than [`MONEY_DIGITS_MAX`] digits.
const MANTISSA_END: i128 = 10_i128.pow(28);
const _: () = assert!(MONEY_DIGITS_MAX == 28);
/// Decimals that [`Decimal`] can keep.
const SCALE_MAX: u32 = Decimal::MAX_SCALE;

/// The exact amount, its last decimals given up where they are zeros and too many.
fn fitted(mut mantissa: i128, mut scale: u32) -> Option<Money> {
    let is_long = |mantissa: i128| mantissa.unsigned_abs() >= MANTISSA_END.unsigned_abs();
    while (scale > SCALE_MAX || is_long(mantissa)) && scale > 0 && mantissa.checked_rem(10) == Some(0) {
        mantissa = mantissa.checked_div(10)?;
        scale = scale.checked_sub(1)?;
    }
    exact(mantissa, scale)
}

fn exact(mantissa: i128, scale: u32) -> Option<Money> {
    if mantissa.checked_abs()? >= MANTISSA_END {
        return None;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).ok().map(Money)
}

/// Says in words what is wrong, the most telling fault first.
fn check_shape(text: &str, whole: &str, fraction: Option<&str>) -> Result<(), MoneyError> {
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() {
        return Err(MoneyError::Empty);
    }
    if text.starts_with('+') {
        return Err(MoneyError::Plus);
    }
    if !all_digits(whole) || !fraction.is_none_or(all_digits) {
        let exponent = text.bytes().any(|byte| byte.is_ascii_digit())
            && text.bytes().any(|byte| matches!(byte, b'e' | b'E'))
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'e' | b'E' | b'.' | b'-' | b'+'));
        return Err(if exponent { MoneyError::Exponent } else { MoneyError::Character });
    }
    if whole.is_empty() && fraction.is_none() {
        return Err(MoneyError::Character);
    }
    if whole.is_empty() || fraction.is_some_and(str::is_empty) {
        return Err(MoneyError::BarePoint);
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Err(MoneyError::LeadingZero);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
