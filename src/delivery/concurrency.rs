//! Adaptive concurrency: how many attempts a destination takes at once.
//!
//! Additive increase, multiplicative decrease: one more after each full round of good answers, half as many when the
//! destination shows that it has too much to do (timeout, `429`, `503`). Never below one, never above
//! `limits.concurrency`. Pure: time is passed in.

use std::num::NonZeroUsize;

use tokio::time::Instant;

/// The present limit of one destination. It begins at the configured one: a platform that copes pays nothing for the
/// adaptation.
#[derive(Debug)]
pub(super) struct Concurrency {
    limit: usize,
    max: usize,
    /// Good answers since the limit last moved.
    good: usize,
    halved_at: Option<Instant>,
}

impl Concurrency {
    /// Begins at `max`.
    pub(super) fn new(max: NonZeroUsize) -> Concurrency {
        Concurrency { limit: max.get(), max: max.get(), good: 0, halved_at: None }
    }

    /// Attempts that may be in flight.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// A good answer came.
    pub(super) fn raise(&mut self) {
        self.good = self.good.saturating_add(1);
        if self.good >= self.limit {
            self.good = 0;
            self.limit = self.limit.saturating_add(1).min(self.max);
        }
    }

    /// An attempt begun at `begun` met an overloaded destination. Attempts that were already under way when the limit
    /// was last halved say nothing new: sixteen timeouts of one moment halve it once.
    pub(super) fn halve(&mut self, begun: Instant, now: Instant) {
        self.good = 0;
        if self.halved_at.is_none_or(|at| begun >= at) {
            self.limit = self.limit.div_euclid(2).max(1);
            self.halved_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn concurrency(max: usize) -> Concurrency {
        Concurrency::new(NonZeroUsize::new(max).unwrap())
    }

    #[test]
    fn halves_down_to_one_and_climbs_back_by_one_each_round() {
        let mut now = Instant::now();
        let mut limits = Vec::new();
        let mut concurrency = concurrency(16);
        for _ in 0..6 {
            let begun = now;
            now += Duration::from_millis(1);
            concurrency.halve(begun, now);
            limits.push(concurrency.limit());
        }
        assert_eq!(limits, [8, 4, 2, 1, 1, 1]);
        let mut rounds = Vec::new();
        for _ in 0..(1..=16).sum::<usize>() {
            concurrency.raise();
            rounds.push(concurrency.limit());
        }
        assert_eq!(&rounds[..6], [2, 2, 3, 3, 3, 4]);
        assert_eq!(concurrency.limit(), 16);
        concurrency.raise();
        assert_eq!(concurrency.limit(), 16, "never above the configured limit");
    }

    #[test]
    fn attempts_of_one_moment_halve_once() {
        let begun = Instant::now();
        let mut concurrency = concurrency(16);
        for late in 1..=16 {
            concurrency.halve(begun, begun + Duration::from_secs(late));
        }
        assert_eq!(concurrency.limit(), 8);
    }

    #[test]
    fn a_bad_answer_begins_the_round_anew() {
        let now = Instant::now();
        let mut concurrency = concurrency(4);
        concurrency.halve(now, now + Duration::from_millis(1));
        concurrency.raise();
        concurrency.halve(now, now + Duration::from_millis(2));
        concurrency.raise();
        assert_eq!(concurrency.limit(), 2);
        concurrency.raise();
        assert_eq!(concurrency.limit(), 3);
    }
}
