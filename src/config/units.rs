//! Quantities with a unit: durations, sizes, rates. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

/// So many per period; `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In how long.
    pub per: Duration,
    /// How many at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// How many in how long, as it would be written: `50/s`.
    pub fn written(self) -> String {
        written_rate(self.count, self.per)
    }
}

/// `500ms`, `30s`, `15m`, `72h`, `7d`, `1h30m`; never zero, at most ten years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    milliseconds(text).filter(|total| (1..=DURATION_MS_MAX).contains(total)).map(Duration::from_millis)
}

/// What is wrong with a text that is no [`duration`].
pub(super) fn no_duration(text: &str) -> &'static str {
    match milliseconds(text) {
        Some(0) if !text.is_empty() => "is zero, and must be longer",
        Some(0) | None => "is no duration",
        Some(_) => "is longer than ten years",
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, after) = split_number(rest)?;
        let unit_length = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, tail) = after.split_at(unit_length);
        let (_, ms) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(digits.checked_mul(*ms)?)?;
        rest = tail;
    }
    Some(total)
}

/// `8GiB`, `4MiB`, `512KiB`, `1GB`, `100B`; never zero.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor).filter(|bytes| *bytes > 0)
}

/// `200/s`, `60/m`, `1000/h`, `50000/d`.
pub(super) fn rate(text: &str) -> Option<(NonZeroU32, Duration)> {
    let (count, unit) = text.split_once('/')?;
    let (count, "") = split_number(count)? else { return None };
    let (_, seconds) = RATE_UNITS.iter().find(|(name, _)| *name == unit)?;
    Some((NonZeroU32::new(u32::try_from(count).ok()?)?, Duration::from_secs(*seconds)))
}

/// What a quota lets pass at once where nothing is said: one second's worth, at least one.
pub(super) fn burst_of(count: NonZeroU32, per: Duration) -> NonZeroU32 {
    let seconds = u32::try_from(per.as_secs()).unwrap_or(u32::MAX);
    count.get().checked_div(seconds).and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

/// A duration as it would be written.
pub fn written_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, factor) in DURATION_UNITS.iter().rev() {
        let factor = u128::from(*factor);
        if ms.checked_rem(factor) == Some(0) {
            return format!("{}{unit}", ms.checked_div(factor).unwrap_or_default());
        }
    }
    format!("{ms}ms")
}

/// Why a conversion is not sent any more.
pub fn older_than(max_age: Duration) -> String {
    format!("older than max_age ({})", written_duration(max_age))
}

/// A rate as it would be written.
pub(super) fn written_rate(count: NonZeroU32, per: Duration) -> String {
    let unit = RATE_UNITS.iter().find(|(_, seconds)| Duration::from_secs(*seconds) == per);
    format!("{count}/{}", unit.map_or("?", |(name, _)| name))
}

/// The digits at the start, and the rest.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(length);
    digits.parse().ok().map(|number| (number, rest))
}

pub(super) const DURATION_HELP: &str = "a duration is written `500ms`, `30s`, `15m`, `72h` or `7d`";
pub(super) const SIZE_HELP: &str = "a size is written `512KiB`, `4MiB` or `8GiB`";
pub(super) const RATE_HELP: &str = "a rate is written `200/s`, `60/m` or `1000/h`";

/// In ms, ascending.
const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const DURATION_MS_MAX: u64 = 3650 * 86_400_000;
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const RATE_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
