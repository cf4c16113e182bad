//! The rate of requests to one destination: a token bucket (governor) that never passes more than `rate · t + burst`.
//!
//! It is asked in two steps, because a delivery is taken from the queue only when it may be sent at once:
//! [`Limiter::ready`] says whether a request may go now and spends nothing, [`Limiter::take`] spends the token when
//! there is one to send. Both need `&mut self`: one pool owns its limiter, so nobody can come between the two. Time is
//! passed in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{NotUntil, Quota, RateLimiter};
use tokio::time::Instant;

use crate::config::Rate;

/// A destination's token bucket; without a configured rate it is always ready.
pub(super) struct Limiter {
    bucket: Option<Bucket>,
}

struct Bucket {
    governor: RateLimiter<NotKeyed, Panel, Panel, NoOpMiddleware<Duration>>,
    panel: Panel,
    begun: Instant,
}

impl Limiter {
    /// A full bucket.
    pub(super) fn new(rate: Option<Rate>, now: Instant) -> Limiter {
        let bucket = rate.and_then(quota).map(|quota| {
            let panel = Panel::default();
            Bucket { governor: RateLimiter::new(quota, panel.clone(), panel.clone()), panel, begun: now }
        });
        Limiter { bucket }
    }

    /// Whether a request may be sent now; otherwise when.
    pub(super) fn ready(&mut self, now: Instant) -> Result<(), Instant> {
        self.check(now, Purpose::Look)
    }

    /// Spends the token of a request that is sent now; otherwise says when there will be one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.check(now, Purpose::Spend)
    }

    fn check(&mut self, now: Instant, purpose: Purpose) -> Result<(), Instant> {
        let Some(Bucket { governor, panel, begun }) = &mut self.bucket else { return Ok(()) };
        panel.set(now.saturating_duration_since(*begun), purpose);
        governor.check().map_err(|refusal: NotUntil<Duration>| {
            begun.checked_add(refusal.earliest_possible()).unwrap_or(now).max(now)
        })
    }
}

/// The rate of one operation that has its own.
///
/// Which operation a delivery is of is known only once it is taken from the queue. One that finds no token goes back, due
/// at a place of its own in the line, so that a thousand of them return one by one and not all at the next token.
pub(super) struct OwnLimiter {
    limiter: Limiter,
    interval: Duration,
    /// When the last place in the line is.
    last: Instant,
}

impl OwnLimiter {
    /// A full bucket and nobody in line.
    pub(super) fn new(rate: Rate, now: Instant) -> OwnLimiter {
        OwnLimiter { limiter: Limiter::new(Some(rate), now), interval: interval(rate), last: now }
    }

    /// Spends the token of a request that is sent now; otherwise says when its turn is.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.limiter.take(now).map_err(|next| {
            let after = self.last.checked_add(self.interval).unwrap_or(next);
            self.last = after.max(next);
            self.last
        })
    }
}

/// The interval between tokens is rounded up to the nanosecond, so that rounding never lets more pass than was
/// configured.
fn interval(rate: Rate) -> Duration {
    let nanos = rate.per.as_nanos().div_ceil(u128::from(rate.count.get()));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn quota(rate: Rate) -> Option<Quota> {
    Quota::with_period(interval(rate)).map(|quota| quota.allow_burst(rate.burst))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Purpose {
    #[default]
    Look,
    Spend,
}

/// Governor's clock and governor's memory in one: the time that was passed in, and a state that looking does not
/// change.
#[derive(Debug, Clone, Default)]
struct Panel(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    now: Duration,
    purpose: Purpose,
    /// Governor's *theoretical arrival time* of the next token.
    arrival: Option<Nanos>,
}

impl Panel {
    fn set(&self, now: Duration, purpose: Purpose) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reading.now = now;
        reading.purpose = purpose;
    }
}

impl Clock for Panel {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now
    }
}

impl StateStore for Panel {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (outcome, next) = measure(reading.arrival)?;
        match reading.purpose {
            Purpose::Look => {}
            Purpose::Spend => reading.arrival = Some(next),
        }
        Ok(outcome)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, per: Duration, burst: u32) -> Rate {
        Rate { count: NonZeroU32::new(count).unwrap(), per, burst: NonZeroU32::new(burst).unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bucket_passes_its_burst_and_then_one_each_interval() {
        let begun = Instant::now();
        let mut limiter = Limiter::new(Some(rate(2, Duration::from_secs(1), 3)), begun);
        for _ in 0..3 {
            assert_eq!(limiter.take(begun), Ok(()));
        }
        let next = begun + Duration::from_millis(500);
        assert_eq!(limiter.take(begun), Err(next));
        assert_eq!(limiter.take(next), Ok(()));
        assert_eq!(limiter.take(next), Err(next + Duration::from_millis(500)));
    }

    #[tokio::test(start_paused = true)]
    async fn looking_spends_nothing() {
        let begun = Instant::now();
        let mut limiter = Limiter::new(Some(rate(1, Duration::from_secs(60), 1)), begun);
        for _ in 0..10 {
            assert_eq!(limiter.ready(begun), Ok(()));
        }
        assert_eq!(limiter.take(begun), Ok(()));
        assert_eq!(limiter.ready(begun), Err(begun + Duration::from_secs(60)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_token_of_an_operation_gets_a_place_in_its_line() {
        let begun = Instant::now();
        let mut own = OwnLimiter::new(rate(1, Duration::from_secs(60), 1), begun);
        let minute = |number: u64| begun + Duration::from_secs(60 * number);
        assert_eq!(own.take(begun), Ok(()));
        assert_eq!([own.take(begun), own.take(begun)], [Err(minute(1)), Err(minute(2))]);
        assert_eq!(own.take(minute(1)), Ok(()), "the first in line");
        assert_eq!(own.take(minute(1)), Err(minute(3)), "a new one goes to the end");
        assert_eq!([own.take(minute(2)), own.take(minute(3))], [Ok(()), Ok(())]);
        assert_eq!(own.take(minute(9)), Ok(()), "the line is over");
        assert_eq!(own.take(minute(9)), Err(minute(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_is_no_limit() {
        let now = Instant::now();
        let mut limiter = Limiter::new(None, now);
        assert!((0..10_000).all(|_| limiter.take(now).is_ok()));
    }

    #[test]
    fn an_interval_that_does_not_divide_evenly_is_rounded_up() {
        let quota = quota(rate(7, Duration::from_secs(1), 1)).unwrap();
        assert_eq!(quota.replenish_interval(), Duration::from_nanos(142_857_143));
    }

    proptest! {
        /// In every window between two requests, however they are spaced: at most `rate · window + burst`.
        #[test]
        fn never_more_than_the_rate_and_the_burst(
            count in 1u32..2_000, per_ms in 1u64..4_000_000, burst in 1u32..50,
            steps in proptest::collection::vec(0u64..2_000_000_000, 1..200),
        ) {
            let per = Duration::from_millis(per_ms);
            let begun = Instant::now();
            let mut limiter = Limiter::new(Some(rate(count, per, burst)), begun);
            let mut now = begun;
            let mut passed: Vec<Duration> = Vec::new();
            for step in steps {
                now += Duration::from_nanos(step);
                let ready = limiter.ready(now);
                let taken = limiter.take(now);
                prop_assert_eq!(ready, taken, "what looked ready is ready");
                match taken {
                    Ok(()) => passed.push(now - begun),
                    Err(at) => {
                        prop_assert!(at > now);
                        now = at;
                        prop_assert_eq!(limiter.take(now), Ok(()), "the promised time holds");
                        passed.push(now - begun);
                    }
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let requests = u128::try_from(last - first + 1).unwrap();
                    let window = (*to - *from).as_nanos();
                    let allowed = window * u128::from(count) / per.as_nanos() + u128::from(burst);
                    prop_assert!(requests <= allowed, "{} in {} ns, allowed {}", requests, window, allowed);
                }
            }
        }
    }
}
