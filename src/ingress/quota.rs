//! A merchant's rate: a token bucket, and what the rate-limit headers say of it.
//!
//! `RateLimit-Policy` names the bucket (`q` its size, `w` the seconds in which it fills from empty), `RateLimit` its state
//! (`r` what is left, `t` the seconds until it is full again, or for a refusal until one more fits).

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

    /// Takes so many, or none; what is left afterwards, or a 429 that names the earliest next time.
    pub(crate) fn take(&self, count: NonZeroU32) -> Result<Left, Problem> {
        let Ok(checked) = self.limiter.check_n(count) else {
            let detail = format!("the merchant's `burst` lets at most {} conversions through at once", self.size);
            return Err(Problem::new(Kind::BatchTooLarge, detail));
        };
        match checked {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let missing = self.size.get().saturating_sub(left);
                Ok(self.state(left, self.period.saturating_mul(missing)))
            }
            Err(refusal) => {
                let wait = refusal.wait_time_from(self.clock.now());
                let mut problem = Problem::new(Kind::RateLimited, "more conversions than the merchant's rate allows");
                for (name, value) in self.state(0, wait.max(Duration::from_secs(1))).fields() {
                    problem = problem.with(name, value);
                }
                Err(problem.retry_after(wait))
            }
        }
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

    const ONE: NonZeroU32 = NonZeroU32::MIN;

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
        assert_eq!(headers(bucket.take(ONE).ok().unwrap()), r#""merchant";r=1;t=60"#);
        assert_eq!(headers(bucket.take(ONE).ok().unwrap()), r#""merchant";r=0;t=120"#);
        let refused = bucket.take(ONE).err().unwrap().into_reply();
        assert_eq!(refused.status(), 429);
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(refused.headers()["ratelimit"], format!(r#""merchant";r=0;t={wait}"#));
    }

    #[test]
    fn a_rate_beyond_the_clock_still_has_a_bucket() {
        let count = NonZeroU32::MAX;
        let bucket = Bucket::new(Rate { count, per: Duration::from_secs(1), burst: count });
        assert!(bucket.take(ONE).is_ok());
    }
}
