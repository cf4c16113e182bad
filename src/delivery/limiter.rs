//! The rate of requests to one destination: a token bucket (governor) that never passes more than `rate · t + burst`.
//!
//! It is asked in two steps, because a delivery is taken from the queue only when it may be sent at once:
//! [`Limiter::ready`] says whether a request may go now and spends nothing, [`Limiter::take`] spends the token when
//! there is one to send. One loop asks a limiter; after a reload, or a fault of the loop, its successor asks the same one, so
//! that neither gives a second burst. Time is passed in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{NotUntil, Quota, RateLimiter};
use tokio::time::Instant;

use crate::config::Rate;

/// A destination's token bucket, its clones the same one; without a configured rate it is always ready.
#[derive(Clone)]
pub(super) struct Limiter {
    rate: Option<Rate>,
    bucket: Option<Arc<Mutex<Bucket>>>,
}

struct Bucket {
    governor: RateLimiter<NotKeyed, Panel, Panel, NoOpMiddleware<Duration>>,
    panel: Panel,
    begun: Instant,
    /// Requests that went out without a token, to be paid for before the next one.
    owed: u32,
}

impl Limiter {
    /// A full bucket.
    pub(super) fn new(rate: Option<Rate>, now: Instant) -> Limiter {
        Limiter::of(rate, rate.and_then(|rate| Bucket::new(rate, now)))
    }

    fn of(rate: Option<Rate>, bucket: Option<Bucket>) -> Limiter {
        Limiter { rate, bucket: bucket.map(Mutex::new).map(Arc::new) }
    }

    /// The limiter of a destination that was configured anew: the same bucket where the rate is the same, and where only its
    /// burst is another, one of which as much is spent.
    pub(super) fn succeeded_by(&self, rate: Option<Rate>, now: Instant) -> Limiter {
        match (&self.bucket, self.rate, rate) {
            (_, before, after) if before == after => self.clone(),
            (Some(bucket), Some(before), Some(after)) if interval(before) == interval(after) => {
                let bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
                Limiter::of(rate, bucket.succeeded_by(after, now))
            }
            (Some(_) | None, _, _) => Limiter::new(rate, now),
        }
    }

    /// Whether a request may be sent now; otherwise when.
    pub(super) fn ready(&self, now: Instant) -> Result<(), Instant> {
        self.check(now, Purpose::Look)
    }

    /// Spends the token of a request that is sent now; otherwise says when there will be one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        self.check(now, Purpose::Spend)
    }

    /// A request went out without a token: nothing is ready before it is paid for.
    pub(super) fn owe(&self) {
        let Some(bucket) = &self.bucket else { return };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.owed = bucket.owed.saturating_add(1);
    }

    fn check(&self, now: Instant, purpose: Purpose) -> Result<(), Instant> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        while bucket.owed > 0 {
            bucket.check(now, Purpose::Spend)?;
            bucket.owed = bucket.owed.saturating_sub(1);
        }
        bucket.check(now, purpose)
    }
}

impl Bucket {
    /// A full one.
    fn new(rate: Rate, begun: Instant) -> Option<Bucket> {
        let panel = Panel::default();
        let governor = RateLimiter::new(quota(rate)?, panel.clone(), panel.clone());
        Some(Bucket { governor, panel, begun, owed: 0 })
    }

    /// One of another burst, of which as much is spent and owed; at most all of it is spent.
    fn succeeded_by(&self, rate: Rate, now: Instant) -> Option<Bucket> {
        let successor = Bucket { owed: self.owed, ..Bucket::new(rate, self.begun)? };
        let refill = interval(rate).saturating_mul(rate.burst.get());
        let spent = now.saturating_duration_since(self.begun).saturating_add(refill);
        successor.panel.succeed(&self.panel, u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX));
        Some(successor)
    }

    fn check(&self, now: Instant, purpose: Purpose) -> Result<(), Instant> {
        let Bucket { governor, panel, begun, owed: _ } = self;
        panel.set(now.saturating_duration_since(*begun), purpose);
        governor.check().map_err(|refusal: NotUntil<Duration>| {
            begun.checked_add(refusal.earliest_possible()).unwrap_or(now).max(now)
        })
    }
}

/// The rate of one operation that has its own.
///
/// Which operation a delivery is of is known only once it is taken from the queue. One that finds no token goes back, due
/// at a place of its own in the line, so that a thousand of them return one by one and not all at the next token. Not all do
/// return: where nobody comes for a while the line is over, and no place is farther off than [`LINE_PLACES_MAX`]; who comes and
/// finds no token there is given another. Its clones are the same one.
#[derive(Clone)]
pub(super) struct OwnLimiter {
    limiter: Limiter,
    interval: Duration,
    line: Arc<Mutex<Line>>,
}

/// Those who found no token.
struct Line {
    /// When the last place is.
    last: Instant,
    /// When somebody last came for a token.
    came: Instant,
}

impl OwnLimiter {
    /// A full bucket and nobody in line.
    pub(super) fn new(rate: Rate, now: Instant) -> OwnLimiter {
        let line = Arc::new(Mutex::new(Line { last: now, came: now }));
        OwnLimiter { limiter: Limiter::new(Some(rate), now), interval: interval(rate), line }
    }

    /// The limiter of an operation that was configured anew: the same bucket and line where the rate is the same, and the same
    /// line where only its burst is another.
    pub(super) fn succeeded_by(&self, rate: Rate, now: Instant) -> OwnLimiter {
        if interval(rate) != self.interval {
            return OwnLimiter::new(rate, now);
        }
        OwnLimiter { limiter: self.limiter.succeeded_by(Some(rate), now), ..self.clone() }
    }

    /// Spends the token of a request that is sent now; otherwise says when its turn is.
    pub(super) fn take(&self, now: Instant) -> Result<(), Instant> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(line.came) > self.empty_after() {
            line.last = now;
        }
        line.came = now;
        self.limiter.take(now).map_err(|next| {
            let farthest = now.checked_add(self.interval.saturating_mul(LINE_PLACES_MAX)).unwrap_or(next).max(next);
            line.last = line.last.checked_add(self.interval).unwrap_or(next).clamp(next, farthest);
            line.last
        })
    }

    /// A request of this operation went out without a token: it is paid for before the next one.
    pub(super) fn owe(&self) {
        self.limiter.owe();
    }

    /// Those in line come one each interval: when two have not come, and a slow disk does not explain it, nobody stands there.
    fn empty_after(&self) -> Duration {
        self.interval.saturating_mul(2).saturating_add(LATE_MAX)
    }
}

/// Farthest place in an operation's line, in tokens: a backlog beyond it comes again, each so many tokens, which costs little
/// beside sending them.
const LINE_PLACES_MAX: u32 = 10_000;
/// How late what is due may be read back from a disk that hesitates.
const LATE_MAX: Duration = Duration::from_secs(10);

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

impl Panel {
    /// The next token arrives when it did in the one before, and not behind this time.
    fn succeed(&self, before: &Panel, latest_ns: u64) {
        let before = before.0.lock().unwrap_or_else(PoisonError::into_inner).arrival;
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reading.arrival = before.map(|arrival| arrival.min(Nanos::new(latest_ns)));
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
        let limiter = Limiter::new(Some(rate(2, Duration::from_secs(1), 3)), begun);
        for _ in 0..3 {
            assert_eq!(limiter.take(begun), Ok(()));
        }
        let next = begun + Duration::from_millis(500);
        assert_eq!(limiter.take(begun), Err(next));
        assert_eq!(limiter.take(next), Ok(()));
        assert_eq!(limiter.take(next), Err(next + Duration::from_millis(500)));
    }

    /// As its pool asks it: at once while there is work, and again when it is told to.
    #[tokio::test(start_paused = true)]
    async fn a_minute_of_work_gets_nearly_all_that_is_allowed_and_never_more() {
        for (count, burst) in [(50, 50), (50, 1), (7, 3), (1_000, 1_000)] {
            let begun = Instant::now();
            let limiter = Limiter::new(Some(rate(count, Duration::from_secs(1), burst)), begun);
            let mut passed = 0;
            while begun.elapsed() < Duration::from_secs(60) {
                match limiter.take(Instant::now()) {
                    Ok(()) => passed += 1,
                    Err(at) => tokio::time::sleep_until(at).await,
                }
                let elapsed_ms = u32::try_from(begun.elapsed().as_millis()).unwrap();
                assert!(passed <= count * elapsed_ms / 1_000 + burst, "{passed} after {elapsed_ms} ms");
            }
            let allowed = count * 60 + burst;
            assert!(passed * 100 >= allowed * 98, "{passed} of {allowed} at {count} a second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn looking_spends_nothing() {
        let begun = Instant::now();
        let limiter = Limiter::new(Some(rate(1, Duration::from_secs(60), 1)), begun);
        for _ in 0..10 {
            assert_eq!(limiter.ready(begun), Ok(()));
        }
        assert_eq!(limiter.take(begun), Ok(()));
        assert_eq!(limiter.ready(begun), Err(begun + Duration::from_secs(60)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_token_of_an_operation_gets_a_place_in_its_line() {
        let begun = Instant::now();
        let own = OwnLimiter::new(rate(1, Duration::from_secs(60), 1), begun);
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
    async fn nobody_waits_behind_those_who_left_the_line() {
        let begun = Instant::now();
        let own = OwnLimiter::new(rate(1, Duration::from_secs(60), 1), begun);
        let minute = |number: u64| begun + Duration::from_secs(60 * number);
        assert_eq!(own.take(begun), Ok(()));
        let line: Vec<_> = (0..1_000).map(|_| own.take(begun)).collect();
        assert_eq!(line.last(), Some(&Err(minute(1_000))));
        assert_eq!(own.take(minute(10)), Ok(()), "none of them has come");
        assert_eq!(own.take(minute(10)), Err(minute(11)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_place_in_line_is_farther_off_than_so_many_tokens() {
        let begun = Instant::now();
        let own = OwnLimiter::new(rate(1, Duration::from_secs(1), 1), begun);
        assert_eq!(own.take(begun), Ok(()));
        let farthest = begun + Duration::from_secs(LINE_PLACES_MAX.into());
        for _ in 1..=LINE_PLACES_MAX {
            assert!(own.take(begun).unwrap_err() <= farthest);
        }
        assert_eq!(own.take(begun), Err(farthest));
        let next = begun + Duration::from_secs(1);
        assert_eq!(own.take(next), Ok(()));
        assert_eq!(own.take(next), Err(farthest + Duration::from_secs(1)), "who comes there is given another");
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_is_no_limit() {
        let now = Instant::now();
        let limiter = Limiter::new(None, now);
        assert!((0..10_000).all(|_| limiter.take(now).is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_successor_of_the_same_rate_has_the_same_bucket() {
        let (begun, slow) = (Instant::now(), Some(rate(1, Duration::from_secs(60), 1)));
        let limiter = Limiter::new(slow, begun);
        assert_eq!(limiter.take(begun), Ok(()));
        assert!(limiter.succeeded_by(slow, begun).take(begun).is_err());
        assert!(limiter.succeeded_by(Some(rate(2, Duration::from_secs(60), 1)), begun).take(begun).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_successor_of_another_burst_has_spent_what_was_spent() {
        let begun = Instant::now();
        let a_minute = |burst| rate(1, Duration::from_secs(60), burst);
        let passed = |limiter: &Limiter, now| (0..100).take_while(|_| limiter.take(now).is_ok()).count();
        let limiter = Limiter::new(Some(a_minute(5)), begun);
        assert_eq!([limiter.take(begun), limiter.take(begun)], [Ok(()), Ok(())]);
        assert_eq!(passed(&limiter.succeeded_by(Some(a_minute(9)), begun), begun), 7, "two of nine");
        let smaller = limiter.succeeded_by(Some(a_minute(2)), begun);
        assert_eq!(smaller.take(begun), Err(begun + Duration::from_secs(60)), "two of two");
        assert_eq!(passed(&limiter, begun), 3);
        let one = limiter.succeeded_by(Some(a_minute(1)), begun);
        assert_eq!(one.take(begun), Err(begun + Duration::from_secs(60)), "no more than all of it");
        limiter.owe();
        let owing = limiter.succeeded_by(Some(a_minute(6)), begun);
        assert_eq!(passed(&owing, begun), 0, "the last one is owed");
        let own = OwnLimiter::new(a_minute(1), begun);
        assert_eq!(own.take(begun), Ok(()));
        assert!(own.succeeded_by(a_minute(2), begun).take(begun).is_ok(), "one of two");
        assert!(own.succeeded_by(a_minute(1), begun).take(begun).is_err());
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
            let limiter = Limiter::new(Some(rate(count, per, burst)), begun);
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
