//! Time: RFC 3339 timestamps and calendar dates that keep their text.

use compact_str::{CompactString, ToCompactString as _};
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// RFC 3339 instant with its offset and text kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    text: CompactString,
    instant: jiff::Timestamp,
}

/// Day of the calendar with its text kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Date {
    text: Box<str>,
    date: jiff::civil::Date,
}

/// Why a text is no timestamp or date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not of the form of RFC 3339.
    #[error("must be an RFC 3339 time with an offset, such as 2026-05-26T12:34:56Z")]
    Shape,
    /// RFC 3339 but for the offset.
    #[error("must end in an offset from UTC: Z, or one such as +02:00")]
    NoOffset,
    /// More than nine sub-second digits.
    #[error("must have at most nine sub-second digits")]
    SubSecond,
    /// `…:60`, which has no instant of its own.
    #[error("must not be a leap second: no clock that counts Unix time can keep it")]
    LeapSecond,
    /// The 30th of February, 25 o'clock.
    #[error("must be a day and a time that exist")]
    NoSuchTime,
    /// Before 1970 (an unset clock) or after what can be computed with.
    #[error("must lie between 1970 and 9999")]
    OutOfRange,
    /// Not `YYYY-MM-DD`, or no day of the calendar.
    #[error("must be a date that exists, such as 1990-12-31")]
    Date,
}

impl Timestamp {
    /// Reads RFC 3339 as the RFC has it: `T` and `Z` in either case, offset required, up to nine sub-second digits.
    ///
    /// # Errors
    /// For any other text, in words.
    pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
        let bytes = text.as_bytes();
        let (head, tail) = bytes.split_at_checked(SECONDS_END).ok_or(TimeError::Shape)?;
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't', h1, h2, b':', n1, n2, b':', s1, s2] = head
        else {
            return Err(TimeError::Shape);
        };
        let (nanos, offset) = split_tail(tail)?;
        let year = number(&[y1, y2, y3, y4]).ok_or(TimeError::Shape)?;
        let two = |a, b| number(&[a, b]).and_then(|n| i8::try_from(n).ok()).ok_or(TimeError::Shape);
        let (month, day, hour, minute, second) = (two(m1, m2)?, two(d1, d2)?, two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
        if second == 60 {
            return Err(TimeError::LeapSecond);
        }
        let civil = DateTime::new(year, month, day, hour, minute, second, nanos).ok().ok_or(TimeError::NoSuchTime)?;
        let instant = offset.to_timestamp(civil).ok().ok_or(TimeError::OutOfRange)?;
        if instant < jiff::Timestamp::UNIX_EPOCH {
            return Err(TimeError::OutOfRange);
        }
        Ok(Timestamp { text: text.into(), instant })
    }

    /// An instant of the relay's own, written in UTC.
    pub fn from_instant(instant: jiff::Timestamp) -> Timestamp {
        Timestamp { text: instant.to_compact_string(), instant }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The instant.
    pub fn instant(&self) -> jiff::Timestamp {
        self.instant
    }

    /// UTC with `Z`, with the sub-second digits as given.
    pub fn to_utc(&self) -> String {
        let mut text = self.utc_seconds();
        let tail = self.text.get(SECONDS_END..).unwrap_or_default();
        text.push_str(tail.split(['Z', 'z', '+', '-']).next().unwrap_or_default());
        text.push('Z');
        text
    }

    /// UTC with `Z` and so many sub-second digits, at most nine; those beyond are cut.
    pub fn to_utc_with(&self, digits: usize) -> String {
        let mut text = self.utc_seconds();
        let nanos = self.instant.subsec_nanosecond().unsigned_abs();
        text.push_str(if digits == 0 { "" } else { "." });
        for unit in NANOS_OF_DIGIT.into_iter().take(digits) {
            push_digit(&mut text, nanos.checked_div(unit).unwrap_or(0));
        }
        text.push('Z');
        text
    }

    /// `2026-05-26T12:34:56`, in UTC.
    fn utc_seconds(&self) -> String {
        let civil = Offset::UTC.to_datetime(self.instant);
        let year = u32::from(civil.year().unsigned_abs());
        let [month, day] = [civil.month(), civil.day()].map(|number| u32::from(number.unsigned_abs()));
        let [hour, minute, second] =
            [civil.hour(), civil.minute(), civil.second()].map(|number| u32::from(number.unsigned_abs()));
        let mut text = String::with_capacity(UTC_BYTES_MAX);
        let pairs = [(year / 100, ""), (year, "-"), (month, "-"), (day, "T"), (hour, ":"), (minute, ":"), (second, "")];
        for (number, after) in pairs {
            push_digit(&mut text, number / 10);
            push_digit(&mut text, number);
            text.push_str(after);
        }
        text
    }
}

impl Date {
    /// Reads `YYYY-MM-DD`.
    ///
    /// # Errors
    /// For any other text, in words.
    pub fn parse(text: &str) -> Result<Date, TimeError> {
        let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
            return Err(TimeError::Date);
        };
        let two = |a, b| number(&[a, b]).and_then(|n| i8::try_from(n).ok()).ok_or(TimeError::Date);
        let year = number(&[y1, y2, y3, y4]).ok_or(TimeError::Date)?;
        let date = jiff::civil::Date::new(year, two(m1, m2)?, two(d1, d2)?).ok().ok_or(TimeError::Date)?;
        Ok(Date { text: text.into(), date })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The day.
    pub fn civil(&self) -> jiff::civil::Date {
        self.date
    }
}

/// Length of `2026-05-26T12:34:56`.
const SECONDS_END: usize = 19;
/// Length of `2026-05-26T12:34:56.123456789Z`.
const UTC_BYTES_MAX: usize = 30;
/// What each sub-second digit counts.
const NANOS_OF_DIGIT: [u32; 9] = [100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];

/// Appends the last digit.
fn push_digit(text: &mut String, number: u32) {
    text.push(char::from_digit(number % 10, 10).unwrap_or('0'));
}

/// Sub-seconds in nanoseconds and the offset, of what follows the seconds.
fn split_tail(tail: &[u8]) -> Result<(i32, Offset), TimeError> {
    let (digits, zone) = match tail.strip_prefix(b".") {
        Some(rest) => rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count()),
        None => (tail.get(..0).unwrap_or_default(), tail),
    };
    let fraction = tail.first() == Some(&b'.');
    if fraction && digits.is_empty() {
        return Err(TimeError::Shape);
    }
    if digits.len() > 9 {
        return Err(TimeError::SubSecond);
    }
    let mut nanos: i32 = 0;
    for place in 0..9 {
        let digit = digits.get(place).map_or(0, |byte| i32::from(byte.saturating_sub(b'0')));
        nanos = nanos.saturating_mul(10).saturating_add(digit);
    }
    let offset = match zone {
        b"Z" | b"z" => Offset::UTC,
        &[sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = number(&[h1, h2]).filter(|hours| *hours < 24).ok_or(TimeError::NoOffset)?;
            let minutes = number(&[m1, m2]).filter(|minutes| *minutes < 60).ok_or(TimeError::NoOffset)?;
            let seconds = i32::from(hours).saturating_mul(3600).saturating_add(i32::from(minutes).saturating_mul(60));
            let seconds = if sign == b'-' { seconds.saturating_neg() } else { seconds };
            Offset::from_seconds(seconds).ok().ok_or(TimeError::NoOffset)?
        }
        _ => return Err(TimeError::NoOffset),
    };
    Ok((nanos, offset))
}

fn number(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0_i16, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| i16::from(byte.saturating_sub(b'0')))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timestamp_keeps_its_text_and_converts_to_utc() {
        #[track_caller]
        fn check(text: &str, utc: &str) {
            let time = Timestamp::parse(text).unwrap();
            assert_eq!((time.as_str(), time.to_utc().as_str()), (text, utc));
        }
        check("2026-05-26T12:34:56Z", "2026-05-26T12:34:56Z");
        check("2026-05-26t12:34:56z", "2026-05-26T12:34:56Z");
        check("2023-12-01T23:55:24-08:00", "2023-12-02T07:55:24Z");
        check("2026-05-26T12:34:56.000Z", "2026-05-26T12:34:56.000Z");
        check("2026-05-26T12:34:56.250+02:00", "2026-05-26T10:34:56.250Z");
        check("2026-05-26T12:34:56.123456789-00:30", "2026-05-26T13:04:56.123456789Z");
        check("2026-05-26T12:34:56+00:00", "2026-05-26T12:34:56Z");
        check("2026-05-26T12:34:56-00:00", "2026-05-26T12:34:56Z");
        check("2024-02-29T00:00:00+14:00", "2024-02-28T10:00:00Z");
        check("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z");
        check("1969-12-31T23:00:00-01:00", "1970-01-01T00:00:00Z");
        check("9999-12-30T00:00:00Z", "9999-12-30T00:00:00Z");
    }

    #[test]
    fn sub_second_digits_are_as_many_as_asked_for() {
        #[track_caller]
        fn check(text: &str, digits: usize, expected: &str) {
            assert_eq!(Timestamp::parse(text).unwrap().to_utc_with(digits), expected);
        }
        check("2026-05-26T12:34:56.250+02:00", 3, "2026-05-26T10:34:56.250Z");
        check("2026-05-26T12:34:56.2509Z", 3, "2026-05-26T12:34:56.250Z");
        check("2026-05-26T12:34:56Z", 3, "2026-05-26T12:34:56.000Z");
        check("2026-05-26T12:34:56.9Z", 0, "2026-05-26T12:34:56Z");
        check("2026-05-26T12:34:56.123456789Z", 9, "2026-05-26T12:34:56.123456789Z");
    }

    #[test]
    fn what_is_no_timestamp_is_refused_in_words() {
        #[track_caller]
        fn check(text: &str, expected: TimeError) {
            assert_eq!(Timestamp::parse(text), Err(expected));
        }
        check("", TimeError::Shape);
        check("NOW", TimeError::Shape);
        check("1716726896", TimeError::Shape);
        check("2026-05-26", TimeError::Shape);
        check("2026-05-26 12:34:56Z", TimeError::Shape);
        check("2026-5-26T12:34:56Z", TimeError::Shape);
        check("20260526T123456Z", TimeError::Shape);
        check("+2026-05-26T12:34:56Z", TimeError::Shape);
        check("2026-05-26T12:34:56.Z", TimeError::Shape);
        check("२०२६-05-26T12:34:56Z", TimeError::Shape);
        check("2026-05-26T12:34:56", TimeError::NoOffset);
        check("2026-05-26T12:34:56.5", TimeError::NoOffset);
        check("2026-05-26T12:34:56,5Z", TimeError::NoOffset);
        check("2026-05-26T12:34:56+0200", TimeError::NoOffset);
        check("2026-05-26T12:34:56+02", TimeError::NoOffset);
        check("2026-05-26T12:34:56+24:00", TimeError::NoOffset);
        check("2026-05-26T12:34:56+02:60", TimeError::NoOffset);
        check("2026-05-26T12:34:56Z ", TimeError::NoOffset);
        check("2026-05-26T12:34:56+02:00[Europe/Berlin]", TimeError::NoOffset);
        check("2026-05-26T12:34:56.1234567890Z", TimeError::SubSecond);
        check("2016-12-31T23:59:60Z", TimeError::LeapSecond);
        check("2026-02-29T12:00:00Z", TimeError::NoSuchTime);
        check("2026-13-01T12:00:00Z", TimeError::NoSuchTime);
        check("2026-01-01T24:00:00Z", TimeError::NoSuchTime);
        check("2026-01-01T00:00:61Z", TimeError::NoSuchTime);
        check("0001-01-01T00:00:00Z", TimeError::OutOfRange);
        check("1969-12-31T23:59:59Z", TimeError::OutOfRange);
        check("9999-12-31T23:59:59-12:00", TimeError::OutOfRange);
    }

    #[test]
    fn dates_are_days_of_the_calendar() {
        #[track_caller]
        fn check(text: &str, right: bool) {
            assert_eq!(Date::parse(text).is_ok_and(|date| date.as_str() == text), right, "{text}");
        }
        check("1990-12-31", true);
        check("2024-02-29", true);
        check("1899-01-01", true);
        check("2023-02-29", false);
        check("1990-13-01", false);
        check("1990-1-1", false);
        check("31.12.1990", false);
        check("1990-12-31T00:00:00Z", false);
        check("", false);
    }

    #[test]
    fn an_instant_of_our_own_reads_back() {
        let instant = jiff::Timestamp::from_millisecond(1_779_798_896_250).unwrap();
        let time = Timestamp::from_instant(instant);
        assert_eq!(time.as_str(), "2026-05-26T12:34:56.25Z");
        assert_eq!(Timestamp::parse(time.as_str()), Ok(time));
    }

    proptest! {
        #[test]
        fn parsing_agrees_with_jiff(seconds in 0_i64..253_402_200_000, nanos in 0_i32..1_000_000_000, minutes in -1439_i32..=1439) {
            let instant = jiff::Timestamp::new(seconds, nanos).unwrap();
            let civil = Offset::from_seconds(minutes.saturating_mul(60)).unwrap().to_datetime(instant);
            let sign = if minutes < 0 { '-' } else { '+' };
            let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
            let text = format!("{}.{nanos:09}{sign}{hours:02}:{minutes:02}", civil.strftime("%Y-%m-%dT%H:%M:%S"));
            let time = Timestamp::parse(&text).unwrap();
            prop_assert_eq!(time.instant(), instant);
            prop_assert_eq!(time.to_utc().parse::<jiff::Timestamp>().unwrap(), instant);
        }

        #[test]
        fn parsing_never_panics(text in r"[-+0-9TtZz:.]{15,40}|\PC{0,40}") {
            drop((Timestamp::parse(&text), Date::parse(&text)));
        }
    }
}
