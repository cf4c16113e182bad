//! A merchant's rate: a token bucket, and what the rate-limit headers say of it.
//!
//! `RateLimit-Policy` names the bucket (`q` its size, `w` the seconds in which it fills from empty), `RateLimit` its state
//! (`r` what is left, `t` the seconds until it is full again, or for a refusal until what was refused fits).
//!
//! One is taken for a request on its head, whatever becomes of it: what is refused has its price, too. A batch takes the rest of
//! what it holds once that is counted: all or none.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::problem::{Kind, Problem, whole_seconds};
use crate::config::Rate;

/// The limiter of one merchant.
pub(crate) struct Bucket {
    clock: DefaultClock,
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    size: NonZeroU32,
    /// The time in which one more fits.
    period: Duration,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Bucket {
        let period = rate.per.checked_div(rate.count.get()).unwrap_or(rate.per).max(Duration::from_nanos(1));
        // `with_period` refuses only a period of zero.
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(rate.count)).allow_burst(rate.burst);
        let clock = DefaultClock::default();
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone()).with_middleware();
        Bucket { clock, limiter, size: rate.burst, period }
    }

    /// Takes one, for a request; what is left afterwards, or a 429 that names the earliest next time.
    pub(crate) fn take(&self) -> Result<Left, Problem> {
        match self.limiter.check() {
            Ok(state) => Ok(self.left(state.remaining_burst_capacity())),
            Err(refusal) => Err(self.refused(0, refusal.wait_time_from(self.clock.now()))),
        }
    }

    /// Takes so many more, or none, for a request that has taken one already: its batch holds one more than that. Nothing is
    /// given back where they are refused.
    pub(crate) fn take_more(&self, count: NonZeroU32) -> Result<Left, Problem> {
        // The first is one of them.
        let checked = Some(count).filter(|count| *count < self.size).map(|count| self.limiter.check_n(count));
        match checked {
            Some(Ok(Ok(state))) => Ok(self.left(state.remaining_burst_capacity())),
            Some(Ok(Err(refusal))) => {
                let wait = refusal.wait_time_from(self.clock.now());
                let missing = wait.as_nanos().div_ceil(self.period.as_nanos().max(1));
                let left = u32::try_from(missing).map_or(0, |missing| count.get().saturating_sub(missing));
                // Sent again, it takes the first again.
                Err(self.refused(left, wait.saturating_add(self.period)))
            }
            Some(Err(_)) | None => {
                let detail = format!("the merchant's `burst` lets at most {} conversions through at once", self.size);
                Err(Problem::new(Kind::BatchTooLarge, detail))
            }
        }
    }

    fn left(&self, left: u32) -> Left {
        let missing = self.size.get().saturating_sub(left);
        self.state(left, self.period.saturating_mul(missing))
    }

    fn refused(&self, left: u32, wait: Duration) -> Problem {
        let mut problem = Problem::new(Kind::RateLimited, "more conversions than the merchant's rate allows");
        for (name, value) in self.state(left, wait.max(Duration::from_secs(1))).fields() {
            problem = problem.with(name, value);
        }
        problem.retry_after(wait)
    }

    fn state(&self, left: u32, wait: Duration) -> Left {
        let window = self.period.saturating_mul(self.size.get());
        Left { size: self.size, window: whole_seconds(window).max(1), left, wait: whole_seconds(wait) }
    }
}

/// The state of a bucket after one was taken.
pub(crate) struct Left {
    size: NonZeroU32,
    window: u64,
    left: u32,
    wait: u64,
}

impl Left {
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.extend(self.fields());
    }

    fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let policy = format!(r#""merchant";q={};w={}"#, self.size, self.window);
        let state = format!(r#""merchant";r={};t={}"#, self.left, self.wait);
        let fields = [("ratelimit-policy", policy), ("ratelimit", state)];
        // Digits and quotes only: always a valid field.
        let field = |(name, text): (&'static str, String)| {
            HeaderValue::try_from(text).ok().map(|value| (HeaderName::from_static(name), value))
        };
        fields.into_iter().filter_map(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_names_the_next_time() {
        let count = NonZeroU32::new(60).unwrap();
        let burst = NonZeroU32::new(2).unwrap();
        let bucket = Bucket::new(Rate { count, per: Duration::from_secs(3600), burst });
        let headers = |left: Left| {
            let mut headers = HeaderMap::new();
            left.write(&mut headers);
            assert_eq!(headers["ratelimit-policy"], r#""merchant";q=2;w=120"#);
            headers["ratelimit"].to_str().unwrap().to_owned()
        };
        assert_eq!(headers(bucket.take().ok().unwrap()), r#""merchant";r=1;t=60"#);
        assert_eq!(headers(bucket.take().ok().unwrap()), r#""merchant";r=0;t=120"#);
        let refused = bucket.take().err().unwrap().into_reply();
        assert_eq!(refused.status(), 429);
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(refused.headers()["ratelimit"], format!(r#""merchant";r=0;t={wait}"#));
    }

    #[test]
    fn a_rate_beyond_the_clock_still_has_a_bucket() {
        let count = NonZeroU32::MAX;
        let bucket = Bucket::new(Rate { count, per: Duration::from_secs(1), burst: count });
        assert!(bucket.take().is_ok());
    }

    #[test]
    fn a_batch_takes_all_or_nothing_more_and_is_told_what_is_left() {
        let some = |count| NonZeroU32::new(count).unwrap();
        let bucket = Bucket::new(Rate { count: some(60), per: Duration::from_secs(3600), burst: some(10) });
        let refusal = |count| {
            let refused = bucket.take_more(some(count)).err().unwrap().into_reply();
            let header = |name: &str| refused.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            (refused.status().as_u16(), header("ratelimit"), header("retry-after"))
        };
        bucket.take().ok().unwrap();
        assert_eq!(refusal(10), (413, None, None), "with the first they are more than the bucket holds");
        assert_eq!(bucket.take_more(some(3)).ok().unwrap().left, 6);
        bucket.take().ok().unwrap();
        // Of nine, four are missing; and the one that is taken anew.
        let state = r#""merchant";r=5;t=300"#;
        assert_eq!(refusal(9), (429, Some(state.to_owned()), Some("300".to_owned())));
        assert_eq!(refusal(9).1.as_deref(), Some(state), "nothing was taken");
        assert_eq!(bucket.take_more(some(5)).ok().unwrap().left, 0);
    }
}
