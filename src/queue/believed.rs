//! The time by which history is given up: the wall clock's, unless that has just leapt ahead.
//!
//! What is given up is gone, and with it what a repeat is known by. A clock that is days ahead for some seconds (a bad
//! hardware clock at boot, a machine restored from a copy) must not cost that: a leap is believed when it has stood for
//! a while. A clock that goes back is believed at once, for by it less is given up.

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
    /// `last_ms`: a time (Unix ms) at which history was written before, the newest there is.
    pub(super) fn since(last_ms: Option<u64>, (unix_ms, elapsed_ms): (u64, u64), stands_ms: u64) -> Believed {
        let offset_ms = last_ms.unwrap_or(unix_ms).min(unix_ms).saturating_sub(elapsed_ms);
        Believed { offset_ms, stands_ms, doubted: None }
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
    const STANDS_MS: u64 = 3_600_000;
    const START_MS: u64 = 20_000 * DAY_MS;

    #[test]
    fn a_leap_ahead_is_believed_when_it_has_stood() {
        let mut believed = Believed::since(Some(START_MS), (START_MS, 0), STANDS_MS);
        assert_eq!(believed.now_ms(START_MS + 1000, 1000), START_MS + 1000);
        assert_eq!(believed.now_ms(START_MS + 2000 + 9 * DAY_MS, 2000), START_MS + 2000, "it leaps");
        let almost = 2000 + STANDS_MS - 1;
        assert_eq!(believed.now_ms(START_MS + almost + 9 * DAY_MS, almost), START_MS + almost);
        assert_eq!(believed.now_ms(START_MS + almost + 1 + 9 * DAY_MS, almost + 1), START_MS + almost + 1 + 9 * DAY_MS);
    }

    #[test]
    fn a_leap_that_is_taken_back_counts_for_nothing_and_the_next_begins_anew() {
        let mut believed = Believed::since(Some(START_MS), (START_MS, 0), STANDS_MS);
        assert_eq!(believed.now_ms(START_MS + 9 * DAY_MS, 1000), START_MS + 1000);
        assert_eq!(believed.now_ms(START_MS + 2000, 2000), START_MS + 2000);
        let later = STANDS_MS + 1000;
        assert_eq!(believed.now_ms(START_MS + later + 9 * DAY_MS, later), START_MS + later);
        // Another leap on top of it is another one.
        let later = later + STANDS_MS - 1;
        assert_eq!(believed.now_ms(START_MS + later + 99 * DAY_MS, later), START_MS + later);
        assert_eq!(believed.now_ms(START_MS + later + 10 + 99 * DAY_MS, later + 10), START_MS + later + 10);
    }

    #[test]
    fn a_clock_that_goes_back_or_is_set_right_is_believed_at_once() {
        let mut believed = Believed::since(Some(START_MS), (START_MS, 0), STANDS_MS);
        assert_eq!(believed.now_ms(START_MS + LEAP_MS, 0), START_MS + LEAP_MS);
        assert_eq!(believed.now_ms(1000, 1000), 1000);
    }

    #[test]
    fn a_start_after_days_is_a_leap_too_and_a_new_folder_knows_no_better() {
        let mut believed = Believed::since(Some(START_MS), (START_MS + 5 * DAY_MS, 0), STANDS_MS);
        assert_eq!(believed.now_ms(START_MS + 5 * DAY_MS, 0), START_MS);
        assert_eq!(believed.now_ms(START_MS + 5 * DAY_MS + STANDS_MS, STANDS_MS), START_MS + 5 * DAY_MS + STANDS_MS);
        let mut believed = Believed::since(None, (START_MS, 7000), STANDS_MS);
        assert_eq!(believed.now_ms(START_MS + 1, 7001), START_MS + 1);
        let mut believed = Believed::since(Some(START_MS + DAY_MS), (START_MS, 0), STANDS_MS);
        assert_eq!(believed.now_ms(START_MS, 0), START_MS, "the clock was ahead before");
    }
}
