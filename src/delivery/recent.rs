//! What the last minutes brought: rates, latencies, errors. Fixed in size, whatever the traffic; for a person to look at, and
//! forgotten with the process. The metrics are for what must be kept.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::conversion::ConversionId;
use crate::queue::{Attempt, Verdict};

/// What happened lately at one destination. Time is passed in.
#[derive(Debug)]
pub(super) struct Recent {
    begun: Instant,
    seconds: [Second; RATE_SECONDS],
    minutes: [Latencies; LATENCY_MINUTES],
    errors: VecDeque<Trouble>,
}

/// Attempts that ended within one second, counted from the beginning.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: u64,
    delivered: u32,
    retried: u32,
    rejected: u32,
}

/// How long the attempts that ended within one minute took.
#[derive(Debug, Clone)]
struct Latencies {
    number: u64,
    counts: [u32; BUCKETS],
}

/// Ends of attempts per second, over the last minute; over less where it began less than a minute ago.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Delivered, or the destination had it already.
    pub delivered: f64,
    /// To be attempted again.
    pub retried: f64,
    /// Refused for good.
    pub rejected: f64,
}

/// How long attempts took in the last five minutes, answers and failures alike: at most a sixteenth too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Attempts counted.
    pub attempts: u64,
    /// Half of them took no longer (ms).
    pub p50_ms: u64,
    /// Ninety-nine of a hundred took no longer (ms).
    pub p99_ms: u64,
}

/// An attempt that did not end well, or a delivery that no request could be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// When it began (Unix ms).
    pub at_ms: u64,
    /// What it meant.
    pub verdict: Verdict,
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// The answer's beginning, masked, or what happened instead of one; what a request could not be made of.
    pub excerpt: Option<String>,
    /// Whose it is.
    pub id: ConversionId,
}

impl Recent {
    /// Nothing has happened.
    pub(super) fn new(now: Instant) -> Recent {
        Recent {
            begun: now,
            seconds: [Second::default(); RATE_SECONDS],
            minutes: std::array::from_fn(|_| Latencies { number: 0, counts: [0; BUCKETS] }),
            errors: VecDeque::with_capacity(ERRORS_MAX),
        }
    }

    /// An attempt for this conversion has ended.
    pub(super) fn attempted(&mut self, id: ConversionId, attempt: &Attempt, now: Instant) {
        let number = now.saturating_duration_since(self.begun).as_secs();
        if let Some(second) = slot(&mut self.seconds, number) {
            if second.number != number {
                *second = Second { number, ..Second::default() };
            }
            second.count(attempt.verdict);
        }
        let number = number.div_euclid(60);
        if let Some(minute) = slot(&mut self.minutes, number) {
            if minute.number != number {
                *minute = Latencies { number, counts: [0; BUCKETS] };
            }
            if let Some(count) = minute.counts.get_mut(bucket(attempt.duration_ms)) {
                *count = count.saturating_add(1);
            }
        }
        if is_trouble(attempt.verdict) {
            let Attempt { at_ms, status, verdict, ref excerpt, duration_ms: _, negotiated: _ } = *attempt;
            self.failed(Trouble { at_ms, verdict, status, excerpt: excerpt.clone(), id });
        }
    }

    /// Something went wrong; of many the last are kept.
    pub(super) fn failed(&mut self, trouble: Trouble) {
        if self.errors.len() >= ERRORS_MAX {
            self.errors.pop_front();
        }
        self.errors.push_back(trouble);
    }

    /// What was counted of the one before goes on; what its answers said does not: they were to another request.
    pub(super) fn succeed(&mut self, before: &Recent) {
        (self.begun, self.seconds, self.minutes) = (before.begun, before.seconds, before.minutes.clone());
    }

    pub(super) fn rates(&self, now: Instant) -> Rates {
        let passed = now.saturating_duration_since(self.begun).as_secs();
        let counted = self.seconds.iter().filter(|second| is_within(second.number, passed, RATE_SECONDS));
        let mut sum = Second::default();
        for second in counted {
            sum.delivered = sum.delivered.saturating_add(second.delivered);
            sum.retried = sum.retried.saturating_add(second.retried);
            sum.rejected = sum.rejected.saturating_add(second.rejected);
        }
        // The second that is not over counts as one.
        let seconds = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1).min(RATE_WINDOW);
        let rate = |count| (f64::from(count) / f64::from(seconds) * 1_000.0).round() / 1_000.0;
        Rates { delivered: rate(sum.delivered), retried: rate(sum.retried), rejected: rate(sum.rejected) }
    }

    /// `None`: there was no attempt.
    pub(super) fn latency(&self, now: Instant) -> Option<Latency> {
        let minute = now.saturating_duration_since(self.begun).as_secs().div_euclid(60);
        let mut counts = [0_u64; BUCKETS];
        for counted in self.minutes.iter().filter(|counted| is_within(counted.number, minute, LATENCY_MINUTES)) {
            for (sum, count) in counts.iter_mut().zip(&counted.counts) {
                *sum = sum.saturating_add(u64::from(*count));
            }
        }
        let attempts = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
        let quantile = |per_cent: u64| {
            let wanted = attempts.saturating_mul(per_cent).div_ceil(100);
            let mut passed = 0_u64;
            counts.iter().position(|count| {
                passed = passed.saturating_add(*count);
                passed >= wanted
            })
        };
        let (p50, p99) = if attempts == 0 { return None } else { (quantile(50)?, quantile(99)?) };
        Some(Latency { attempts, p50_ms: longest_ms(p50), p99_ms: longest_ms(p99) })
    }

    /// Newest first, at most ten.
    pub(super) fn forget_errors(&mut self) {
        self.errors.clear();
    }

    pub(super) fn errors(&self) -> Vec<Trouble> {
        self.errors.iter().rev().cloned().collect()
    }
}

impl Second {
    fn count(&mut self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Delivered | Verdict::Duplicate | Verdict::Accepted => &mut self.delivered,
            Verdict::Retry | Verdict::Unknown | Verdict::Suspended => &mut self.retried,
            Verdict::Rejected => &mut self.rejected,
            Verdict::Unmappable
            | Verdict::Withheld
            | Verdict::Skipped
            | Verdict::Unsupported
            | Verdict::Expired
            | Verdict::Unconfirmed => return,
        };
        *count = count.saturating_add(1);
    }
}

/// Whether a person looks for it when a destination does not work.
fn is_trouble(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Retry
        | Verdict::Unknown
        | Verdict::Suspended
        | Verdict::Rejected
        | Verdict::Unmappable
        | Verdict::Expired => true,
        Verdict::Delivered
        | Verdict::Duplicate
        | Verdict::Accepted
        | Verdict::Unconfirmed
        | Verdict::Withheld
        | Verdict::Skipped
        | Verdict::Unsupported => false,
    }
}

/// Where the second, or the minute, of that number is counted: each takes the place of the oldest.
fn slot<T>(slots: &mut [T], number: u64) -> Option<&mut T> {
    let place = number.checked_rem(u64::try_from(slots.len()).ok()?)?;
    slots.get_mut(usize::try_from(place).ok()?)
}

fn is_within(number: u64, now: u64, length: usize) -> bool {
    now.checked_sub(number).is_some_and(|age| usize::try_from(age).is_ok_and(|age| age < length))
}

/// Exact up to 31 ms; beyond, sixteen buckets for each doubling.
fn bucket(ms: u64) -> usize {
    let shift = u64::BITS.saturating_sub(ms.leading_zeros()).saturating_sub(MANTISSA_BITS);
    let mantissa = ms.checked_shr(shift).unwrap_or_default();
    let place = u64::from(shift).saturating_mul(HALF).saturating_add(mantissa);
    usize::try_from(place).unwrap_or(usize::MAX).min(BUCKETS.saturating_sub(1))
}

/// The longest that is counted in this bucket.
fn longest_ms(bucket: usize) -> u64 {
    let place = u64::try_from(bucket).unwrap_or(u64::MAX);
    let shift = place.div_euclid(HALF).saturating_sub(1);
    let mantissa = place.saturating_sub(shift.saturating_mul(HALF));
    let shift = u32::try_from(shift).unwrap_or_default();
    mantissa.saturating_add(1).checked_shl(shift).unwrap_or(u64::MAX).saturating_sub(1)
}

/// A minute: what an operator calls *now*.
const RATE_SECONDS: usize = 60;
const RATE_WINDOW: u32 = 60;
/// Long enough that a destination with one attempt a minute shows something.
const LATENCY_MINUTES: usize = 5;
/// A screenful; the dead letters and the statuses keep the others.
const ERRORS_MAX: usize = 10;
/// Leading bits of a duration that count.
const MANTISSA_BITS: u32 = 5;
const HALF: u64 = 16;
/// Up to more than an hour: no attempt lasts so long.
const BUCKETS: usize = 304;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn attempt(verdict: Verdict, duration_ms: u64) -> Attempt {
        Attempt { at_ms: 7, duration_ms, status: Some(200), verdict, negotiated: None, excerpt: None }
    }

    fn id() -> ConversionId {
        ConversionId::new(1, [0; 10])
    }

    #[test]
    fn a_duration_is_never_shown_shorter_and_at_most_a_sixteenth_longer() {
        for ms in (0..5_000).chain([30_000, 65_535, 65_536, 3_600_000]) {
            let shown = longest_ms(bucket(ms));
            assert!(shown >= ms && shown - ms <= ms / 16, "{ms} is shown as {shown}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn rates_are_of_the_last_minute_alone() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut recent = Recent::new(begun);
        for (second, verdict) in [(0, Verdict::Delivered), (1, Verdict::Duplicate), (1, Verdict::Retry)] {
            recent.attempted(id(), &attempt(verdict, 1), at(second));
        }
        assert_eq!(recent.rates(at(1)), Rates { delivered: 1.0, retried: 0.5, rejected: 0.0 }, "two seconds so far");
        assert_eq!(recent.rates(at(59)), Rates { delivered: 0.033, retried: 0.017, rejected: 0.0 });
        assert_eq!(recent.rates(at(60)), Rates { delivered: 0.017, retried: 0.017, rejected: 0.0 });
        assert_eq!(recent.rates(at(61)), Rates::default());
        recent.attempted(id(), &attempt(Verdict::Rejected, 1), at(61));
        assert_eq!(
            recent.rates(at(61)),
            Rates { delivered: 0.0, retried: 0.0, rejected: 0.017 },
            "in an old one's place"
        );
    }

    #[test]
    fn quantiles_are_of_the_last_five_minutes() {
        let begun = Instant::now();
        let at = |minutes: u64| begun + Duration::from_secs(minutes * 60);
        let mut recent = Recent::new(begun);
        assert_eq!(recent.latency(begun), None);
        for ms in 1..=100 {
            recent.attempted(id(), &attempt(Verdict::Delivered, if ms == 100 { 30_000 } else { 10 }), at(ms % 2));
        }
        assert_eq!(recent.latency(at(1)), Some(Latency { attempts: 100, p50_ms: 10, p99_ms: 10 }));
        recent.attempted(id(), &attempt(Verdict::Retry, 30_000), at(1));
        assert_eq!(recent.latency(at(4)), Some(Latency { attempts: 101, p50_ms: 10, p99_ms: 30_719 }));
        assert_eq!(recent.latency(at(5)).unwrap().attempts, 51);
        assert_eq!(recent.latency(at(6)), None);
    }

    #[test]
    fn ten_errors_are_kept_and_the_newest_is_first() {
        let now = Instant::now();
        let mut recent = Recent::new(now);
        for at_ms in 0..12 {
            recent.attempted(id(), &Attempt { at_ms, ..attempt(Verdict::Retry, 1) }, now);
        }
        recent.attempted(id(), &attempt(Verdict::Delivered, 1), now);
        let times: Vec<u64> = recent.errors().iter().map(|trouble| trouble.at_ms).collect();
        assert_eq!(times, [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    }

    #[test]
    fn counts_go_on_with_another_configuration_and_errors_do_not() {
        let now = Instant::now();
        let mut before = Recent::new(now);
        before.attempted(id(), &attempt(Verdict::Rejected, 1), now);
        let mut after = Recent::new(now + Duration::from_secs(5));
        after.succeed(&before);
        assert_eq!((after.rates(now), after.errors().len()), (before.rates(now), 0));
        assert_eq!(after.rates(now).rejected, 1.0);
    }
}
