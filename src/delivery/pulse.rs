//! The pulse of a destination: what happened in each quarter of a minute of the last fifteen, for a person to see at a glance.
//!
//! Fixed in size, whatever the traffic, and forgotten with the process: what must be kept is in the queue, what must be
//! alarmed of in the metrics. It goes on over a reload.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Pools;
use crate::conversion::DestinationName;
use crate::queue::{Attempt, Outcome};

/// How long a beat is: short enough to see a platform falter, long enough to be told four times a minute.
pub const BEAT: Duration = Duration::from_secs(15);

/// What happened at a destination within one [`BEAT`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beat {
    /// When it began: a whole number of beats since 1970 (Unix ms).
    pub at_ms: u64,
    /// Deliveries that the platform took, or had already.
    pub delivered: u32,
    /// Attempts after which another one follows.
    pub retried: u32,
    /// Deliveries given up.
    pub dead: u32,
    /// Requests that were judged, questions to the platform among them.
    pub attempts: u32,
    /// How long all of them took together (ms).
    pub total_ms: u64,
    /// How long the longest took (ms).
    pub longest_ms: u64,
}

/// What is shown of one destination's pulse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulsed {
    /// Whose.
    pub destination: DestinationName,
    /// Delivered since the start of the process.
    pub delivered: u64,
    /// Of the last fifteen minutes, oldest first, those in which nothing happened left out; the last one is not over yet.
    pub beats: Vec<Beat>,
}

/// The last beats of one destination.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Felt>);

#[derive(Debug)]
struct Felt {
    delivered: u64,
    /// Each beat at its place; one of an earlier round is taken over by the next that falls there.
    beats: [Beat; BEATS],
}

impl Default for Felt {
    fn default() -> Felt {
        Felt { delivered: 0, beats: [Beat::default(); BEATS] }
    }
}

impl Pulse {
    /// Something has come of a delivery; `was_taken`: the platform had it already, and was asked about it.
    pub(super) fn feel(&self, now_ms: u64, outcome: &Outcome, attempt: Option<&Attempt>, was_taken: bool) {
        let mut felt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_delivered = match outcome {
            Outcome::Delivered { .. } | Outcome::Duplicate { .. } | Outcome::Accepted { .. } => !was_taken,
            Outcome::Retry { .. }
            | Outcome::Dead { .. }
            | Outcome::Skipped { .. }
            | Outcome::Withheld { .. }
            | Outcome::Unsupported { .. } => false,
        };
        felt.delivered = felt.delivered.saturating_add(u64::from(is_delivered));
        let Some(beat) = felt.beat(now_ms) else { return };
        beat.delivered = beat.delivered.saturating_add(u32::from(is_delivered));
        let is_retried = matches!(outcome, Outcome::Retry { .. }) && attempt.is_some();
        beat.retried = beat.retried.saturating_add(u32::from(is_retried));
        beat.dead = beat.dead.saturating_add(u32::from(matches!(outcome, Outcome::Dead { .. })));
        if let Some(attempt) = attempt {
            beat.attempts = beat.attempts.saturating_add(1);
            beat.total_ms = beat.total_ms.saturating_add(attempt.duration_ms);
            beat.longest_ms = beat.longest_ms.max(attempt.duration_ms);
        }
    }

    /// Deliveries since the start, and the beats that are not over for longer than fifteen minutes.
    fn felt(&self, now_ms: u64) -> (u64, Vec<Beat>) {
        let felt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first_ms = begin_of(now_ms).saturating_sub(BEAT_MS.saturating_mul(u64::try_from(BEATS - 1).unwrap_or(0)));
        let mut beats: Vec<Beat> = felt.beats.iter().filter(|beat| beat.at_ms >= first_ms.max(1)).copied().collect();
        beats.sort_unstable_by_key(|beat| beat.at_ms);
        (felt.delivered, beats)
    }
}

impl Felt {
    /// The beat of this moment.
    fn beat(&mut self, now_ms: u64) -> Option<&mut Beat> {
        let at_ms = begin_of(now_ms);
        let place = usize::try_from(at_ms.checked_div(BEAT_MS)?.checked_rem(u64::try_from(BEATS).ok()?)?).ok()?;
        let beat = self.beats.get_mut(place)?;
        if beat.at_ms != at_ms {
            *beat = Beat { at_ms, ..Beat::default() };
        }
        Some(beat)
    }
}

impl Pools {
    /// What happened lately at each destination, in configuration order.
    pub fn pulses(&self) -> Vec<Pulsed> {
        let shown = |pool: &std::sync::Arc<super::pool::Pool>| {
            let (delivered, beats) = pool.pulse.felt(pool.clock.unix_ms());
            Pulsed { destination: pool.destination.name.clone(), delivered, beats }
        };
        self.all().iter().map(shown).collect()
    }
}

fn begin_of(now_ms: u64) -> u64 {
    now_ms.saturating_sub(now_ms.checked_rem(BEAT_MS).unwrap_or(0))
}

/// [`BEAT`] in milliseconds.
const BEAT_MS: u64 = 15_000;
/// Fifteen minutes.
const BEATS: usize = 60;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::queue::{DeadKind, Verdict};

    fn attempt(duration_ms: u64) -> Attempt {
        let (verdict, negotiated, excerpt) = (Verdict::Delivered, None, None);
        Attempt { at_ms: 0, duration_ms, status: Some(200), verdict, negotiated, excerpt }
    }

    fn delivered() -> Outcome {
        Outcome::Delivered { captured: BTreeMap::new() }
    }

    #[test]
    fn a_beat_counts_what_became_of_attempts_and_how_long_they_took() {
        let pulse = Pulse::default();
        let at_ms = 1_000 * BEAT_MS;
        pulse.feel(at_ms, &delivered(), Some(&attempt(10)), false);
        pulse.feel(at_ms + 1, &Outcome::Retry { due_ms: 0, spent: true }, Some(&attempt(30)), false);
        pulse.feel(at_ms + 14_999, &Outcome::Dead { kind: DeadKind::Rejected, reason: String::new() }, None, false);
        // Put off without a request, and left out: nothing happened at the platform.
        pulse.feel(at_ms, &Outcome::Retry { due_ms: 0, spent: false }, None, false);
        pulse.feel(at_ms, &Outcome::Skipped { reason: String::new() }, None, false);
        let beat = Beat { at_ms, delivered: 1, retried: 1, dead: 1, attempts: 2, total_ms: 40, longest_ms: 30 };
        assert_eq!(pulse.felt(at_ms + 14_999), (1, vec![beat]));
    }

    #[test]
    fn what_was_taken_is_not_delivered_again_when_the_platform_confirms_it() {
        let pulse = Pulse::default();
        let accepted = Outcome::Accepted { due_ms: 0, captured: BTreeMap::new() };
        pulse.feel(BEAT_MS, &accepted, Some(&attempt(1)), false);
        pulse.feel(BEAT_MS, &accepted, Some(&attempt(1)), true);
        pulse.feel(BEAT_MS, &delivered(), Some(&attempt(1)), true);
        let (total, beats) = pulse.felt(BEAT_MS);
        assert_eq!((total, beats[0].delivered, beats[0].attempts), (1, 1, 3));
    }

    #[test]
    fn fifteen_minutes_are_kept_oldest_first_and_no_more() {
        let pulse = Pulse::default();
        for number in 1..=200 {
            pulse.feel(number * BEAT_MS, &delivered(), Some(&attempt(1)), false);
        }
        let starts = |now_ms: u64| pulse.felt(now_ms).1.iter().map(|beat| beat.at_ms / BEAT_MS).collect::<Vec<_>>();
        assert_eq!(starts(200 * BEAT_MS), (141..=200).collect::<Vec<_>>());
        assert_eq!(starts(210 * BEAT_MS + 7), (151..=200).collect::<Vec<_>>(), "what is over is left out");
        assert_eq!(starts(1_000 * BEAT_MS), [0; 0]);
        assert_eq!(pulse.felt(1_000 * BEAT_MS).0, 200);
    }
}
