//! Decimal arithmetic on the digits of a text, as it is done by hand: what the relay's is compared with. It shares nothing
//! with it, and knows no number type.
#![expect(clippy::arithmetic_side_effects, reason = "lengths of texts made here")]

/// With exactly `places` decimals, rounded half away from zero; nothing where that has more than 28 digits.
pub(crate) fn rounded(amount: &str, places: usize) -> Option<String> {
    let (sign, whole, fraction) = parts(amount);
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes().take(places)).collect();
    digits.extend(std::iter::repeat_n(b'0', places.saturating_sub(fraction.len())));
    if fraction.as_bytes().get(places).is_some_and(|next| *next >= b'5') {
        increment(&mut digits);
    }
    let significant = digits.iter().skip_while(|digit| **digit == b'0').count();
    if significant > 28 {
        return None;
    }
    let text = String::from_utf8(digits).ok()?;
    let (whole, fraction) = text.split_at(text.len() - places);
    let point = if places == 0 { "" } else { "." };
    let sign = if significant == 0 { "" } else { sign };
    Some(format!("{sign}{}{point}{fraction}", trimmed(whole)))
}

/// With at most `places` decimals.
pub(crate) fn rounded_max(amount: &str, places: usize) -> Option<String> {
    if decimals(amount) <= places { Some(amount.to_owned()) } else { rounded(amount, places) }
}

/// Times 10 to the power of `exponent`, where that is whole.
pub(crate) fn minor_units(amount: &str, exponent: usize) -> Option<String> {
    let (sign, whole, fraction) = parts(amount);
    let (kept, rest) = fraction.split_at(exponent.min(fraction.len()));
    if rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let digits = format!("{whole}{kept}{}", "0".repeat(exponent - kept.len()));
    let digits = trimmed(&digits);
    Some(if digits == "0" { digits.to_owned() } else { format!("{sign}{digits}") })
}

/// Digits after the point.
pub(crate) fn decimals(amount: &str) -> usize {
    parts(amount).2.len()
}

fn parts(amount: &str) -> (&str, &str, &str) {
    let (sign, digits) = amount.strip_prefix('-').map_or(("", amount), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    (sign, whole, fraction)
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

fn trimmed(whole: &str) -> &str {
    let trimmed = whole.trim_start_matches('0');
    if trimmed.is_empty() { "0" } else { trimmed }
}
