//! Adaptive concurrency: how many attempts a destination takes at once.
//!
//! Additive increase, multiplicative decrease: one more after each full round of good answers, half as many when the
//! destination shows that it has too much to do (timeout, `429`, `503`). At the start and after an outage it begins with one
//! and doubles each round, as TCP's slow start does (RFC 5681, 3.1): a backlog does not fall upon a platform that has just
//! come back. Never below one, never above `limits.concurrency`. Pure: time is passed in.

use std::num::NonZeroUsize;

use tokio::time::Instant;

/// The present limit of one destination.
#[derive(Debug)]
pub(super) struct Concurrency {
    limit: usize,
    max: usize,
    /// Up to here it doubles; from here on it goes step by step.
    doubles_to: usize,
    /// Good answers since the limit last moved.
    good: usize,
    halved_at: Option<Instant>,
}

impl Concurrency {
    /// Begins with one, and doubles up to `max` while the answers are good.
    pub(super) fn new(max: NonZeroUsize) -> Concurrency {
        Concurrency { limit: 1, max: max.get(), doubles_to: max.get(), good: 0, halved_at: None }
    }

    /// Attempts that may be in flight.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// An answer came that speaks of no trouble.
    pub(super) fn raise(&mut self) {
        self.good = self.good.saturating_add(1);
        if self.limit < self.doubles_to || self.good >= self.limit {
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
            self.doubles_to = self.limit;
            self.halved_at = Some(now);
        }
    }

    /// Nothing more goes out for now: what comes after that begins with one again, and doubles up to half of the most.
    pub(super) fn begin_anew(&mut self) {
        self.doubles_to = self.max.div_euclid(2).max(1);
        self.limit = 1;
        self.good = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One that has come up to `max`.
    fn concurrency(max: usize) -> Concurrency {
        let mut concurrency = Concurrency::new(NonZeroUsize::new(max).unwrap());
        (1..max).for_each(|_| concurrency.raise());
        assert_eq!(concurrency.limit(), max);
        concurrency
    }

    /// The limit after each full round of good answers.
    fn rounds(concurrency: &mut Concurrency, count: usize) -> Vec<usize> {
        let mut round = || {
            (0..concurrency.limit()).for_each(|_| concurrency.raise());
            concurrency.limit()
        };
        (0..count).map(|_| round()).collect()
    }

    #[test]
    fn doubles_each_round_at_the_start() {
        let mut concurrency = Concurrency::new(NonZeroUsize::new(20).unwrap());
        assert_eq!(concurrency.limit(), 1);
        assert_eq!(rounds(&mut concurrency, 6), [2, 4, 8, 16, 20, 20]);
    }

    #[test]
    fn doubles_to_half_of_the_most_after_an_outage_and_then_goes_step_by_step() {
        let mut concurrency = concurrency(16);
        let mut now = Instant::now();
        for _ in 0..10 {
            let begun = now;
            now += Duration::from_millis(1);
            concurrency.halve(begun, now);
        }
        concurrency.begin_anew();
        concurrency.begin_anew();
        assert_eq!(concurrency.limit(), 1);
        assert_eq!(rounds(&mut concurrency, 6), [2, 4, 8, 9, 10, 11]);
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
