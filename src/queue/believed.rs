//! The time by which history is given up and a repeat is too late to be one: the wall clock's, unless that has just leapt ahead.
//!
//! What is given up is gone, and with it what a repeat is known by; a repeat that is taken for new is a second sale. A clock
//! that is days ahead for some minutes (a bad hardware clock at boot, a machine restored from a copy) must not cost that: a leap
//! is believed when it has stood for a while, and before history is given up so is what the clock shows at a start. A clock that
//! goes back is believed at once, for by it less is given up and more is known.

/// See the module's head. Pure: both clocks are passed in.
#[derive(Debug)]
pub(super) struct Believed {
    /// What the wall clock shows beyond the one that never goes back.
    offset_ms: u64,
    /// For so long a leap is doubted.
    stands_ms: u64,
    /// Such an offset that is not believed yet, and when it was first seen, on the clock that never goes back.
    doubted: Option<(u64, u64)>,
}

impl Believed {
    /// Whatever the wall clock shows is a leap from here: nothing that is kept tells whether it is right, for that may have
    /// been written by the same wrong clock.
    pub(super) fn nothing(stands_ms: u64) -> Believed {
        Believed { offset_ms: 0, stands_ms, doubted: None }
    }

    /// What the wall clock shows now is believed, and a leap from here is not.
    pub(super) fn from_now(unix_ms: u64, elapsed_ms: u64, stands_ms: u64) -> Believed {
        Believed { offset_ms: unix_ms.saturating_sub(elapsed_ms), stands_ms, doubted: None }
    }

    /// What the time is (Unix ms), while the wall clock shows `unix_ms`.
    pub(super) fn now_ms(&mut self, unix_ms: u64, elapsed_ms: u64) -> u64 {
        let offset_ms = unix_ms.saturating_sub(elapsed_ms);
        let is_known = |other_ms: u64| offset_ms <= other_ms.saturating_add(LEAP_MS);
        let (doubted_ms, since_ms) =
            self.doubted.filter(|(other_ms, _)| is_known(*other_ms)).unwrap_or((offset_ms, elapsed_ms));
        let has_stood = elapsed_ms.saturating_sub(since_ms) >= self.stands_ms;
        if is_known(self.offset_ms) || has_stood {
            (self.offset_ms, self.doubted) = (offset_ms, None);
            return unix_ms;
        }
        self.doubted = Some((doubted_ms.min(offset_ms), since_ms));
        elapsed_ms.saturating_add(self.offset_ms)
    }
}

/// A clock that is set right by less is no leap: what is kept is kept for days.
const LEAP_MS: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;
    const STANDS_MS: u64 = 600_000;
    const START_MS: u64 = 20_000 * DAY_MS;

    /// One that has come to believe a clock that showed `START_MS` at nought.
    fn believing() -> Believed {
        let mut believed = Believed::nothing(STANDS_MS);
        assert_eq!(believed.now_ms(START_MS, 0), 0, "it has just begun");
        assert_eq!(believed.now_ms(START_MS + STANDS_MS - 1, STANDS_MS - 1), STANDS_MS - 1);
        assert_eq!(believed.now_ms(START_MS + STANDS_MS, STANDS_MS), START_MS + STANDS_MS);
        believed
    }

    #[test]
    fn a_leap_ahead_is_believed_when_it_has_stood() {
        let mut believed = believing();
        let at = 2 * STANDS_MS;
        assert_eq!(believed.now_ms(START_MS + at + 9 * DAY_MS, at), START_MS + at, "it leaps");
        let almost = at + STANDS_MS - 1;
        assert_eq!(believed.now_ms(START_MS + almost + 9 * DAY_MS, almost), START_MS + almost);
        assert_eq!(believed.now_ms(START_MS + almost + 1 + 9 * DAY_MS, almost + 1), START_MS + almost + 1 + 9 * DAY_MS);
    }

    #[test]
    fn a_leap_that_is_taken_back_counts_for_nothing_and_the_next_begins_anew() {
        let mut believed = believing();
        let at = 2 * STANDS_MS;
        assert_eq!(believed.now_ms(START_MS + at + 9 * DAY_MS, at), START_MS + at);
        assert_eq!(believed.now_ms(START_MS + at + 1, at + 1), START_MS + at + 1);
        let later = at + 2 * STANDS_MS;
        assert_eq!(believed.now_ms(START_MS + later + 9 * DAY_MS, later), START_MS + later);
        // Another leap on top of it is another one.
        let later = later + STANDS_MS - 1;
        assert_eq!(believed.now_ms(START_MS + later + 99 * DAY_MS, later), START_MS + later);
        assert_eq!(believed.now_ms(START_MS + later + 10 + 99 * DAY_MS, later + 10), START_MS + later + 10);
    }

    #[test]
    fn what_is_believed_from_the_start_doubts_a_leap_at_once() {
        let mut believed = Believed::from_now(START_MS, 5, STANDS_MS);
        assert_eq!(believed.now_ms(START_MS, 5), START_MS);
        assert_eq!(believed.now_ms(START_MS + 1 + 9 * DAY_MS, 6), START_MS + 1);
        assert_eq!(
            believed.now_ms(START_MS + STANDS_MS + 1 + 9 * DAY_MS, STANDS_MS + 6),
            START_MS + STANDS_MS + 1 + 9 * DAY_MS
        );
    }

    #[test]
    fn a_clock_that_goes_back_or_is_set_right_is_believed_at_once() {
        let mut believed = believing();
        let at = STANDS_MS;
        assert_eq!(believed.now_ms(START_MS + at + LEAP_MS, at), START_MS + at + LEAP_MS);
        assert_eq!(believed.now_ms(at + 1000, at), at + 1000);
    }
}
