//! The one clock of the relay: wall time for what is stored, monotonic time for what is waited for.
//!
//! Tests take [`Clock::tokio`], whose time follows tokio's pausable clock, so that an hour of backoff takes no time; where there
//! are sockets, they set the machine's forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall time in Unix milliseconds, and sleeping until a point of it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System {
        started: std::time::Instant,
        #[cfg(test)]
        ahead_ms: Arc<AtomicU64>,
    },
    Tokio {
        start_unix_ms: u64,
        started: tokio::time::Instant,
        seen_ms: Arc<AtomicU64>,
    },
}

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is told to ask")]
    pub fn system() -> Clock {
        Clock(Source::System {
            started: std::time::Instant::now(),
            #[cfg(test)]
            ahead_ms: Arc::default(),
        })
    }

    /// Follows tokio's clock from `start_unix_ms` on; made and asked inside a runtime. A thread outside of it sees the
    /// time that was last seen inside.
    pub fn tokio(start_unix_ms: u64) -> Clock {
        Clock(Source::Tokio {
            start_unix_ms,
            started: tokio::time::Instant::now(),
            seen_ms: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.unix().as_millis()).unwrap_or(u64::MAX)
    }

    /// Since 1970, as exactly as the machine knows.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is told to ask")]
    pub fn unix(&self) -> Duration {
        match &self.0 {
            Source::System {
                started: _,
                #[cfg(test)]
                ahead_ms,
            } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                #[cfg(test)]
                let since =
                    since.map(|since| since.saturating_add(Duration::from_millis(ahead_ms.load(Ordering::Acquire))));
                since.unwrap_or_default()
            }
            Source::Tokio { start_unix_ms, .. } => {
                Duration::from_millis(start_unix_ms.saturating_add(self.elapsed_ms()))
            }
        }
    }

    /// Sets the machine's wall time forward for all who have this clock: hours pass and nothing is waited for.
    #[cfg(test)]
    pub(crate) fn set_forward(&self, by: Duration) {
        let Source::System { ahead_ms, .. } = &self.0 else { panic!("tokio's clock is moved by tokio") };
        ahead_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::AcqRel);
    }

    /// The same back: it had been ahead.
    #[cfg(test)]
    pub(crate) fn set_back(&self, by: Duration) {
        let Source::System { ahead_ms, .. } = &self.0 else { panic!("tokio's clock is moved by tokio") };
        ahead_ms.fetch_sub(u64::try_from(by.as_millis()).unwrap(), Ordering::AcqRel);
    }

    /// The same as a timestamp.
    pub fn now(&self) -> jiff::Timestamp {
        i64::try_from(self.unix_ms())
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Milliseconds since the clock was made: never goes back, whatever happens to wall time.
    pub fn elapsed_ms(&self) -> u64 {
        match &self.0 {
            Source::System { started, .. } => u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            Source::Tokio { started, seen_ms, .. } => {
                if tokio::runtime::Handle::try_current().is_err() {
                    return seen_ms.load(Ordering::Acquire);
                }
                let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                seen_ms.fetch_max(elapsed, Ordering::AcqRel).max(elapsed)
            }
        }
    }

    /// Microseconds since the clock was made; a duration begins with this …
    pub(crate) fn elapsed_us(&self) -> u64 {
        match &self.0 {
            Source::System { started, .. } => u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            Source::Tokio { .. } => self.elapsed_ms().saturating_mul(1000),
        }
    }

    /// … and ends with this.
    pub(crate) fn seconds_since(&self, began_us: u64) -> f64 {
        Duration::from_micros(self.elapsed_us().saturating_sub(began_us)).as_secs_f64()
    }

    /// Sleeps until wall time has reached `due_ms`. Looks again every half minute, so a clock that is set forward
    /// delays nothing for long.
    pub async fn sleep_until(&self, due_ms: u64) {
        loop {
            let left = due_ms.saturating_sub(self.unix_ms());
            if left == 0 {
                return;
            }
            let nap = match &self.0 {
                Source::System { .. } => Duration::from_millis(left).min(LOOK_AGAIN),
                Source::Tokio { .. } => Duration::from_millis(left),
            };
            tokio::time::sleep(nap).await;
        }
    }

    /// Whether this is the tests' clock: then nothing may wait outside of the runtime's sight.
    pub(crate) fn is_tokio(&self) -> bool {
        matches!(self.0, Source::Tokio { .. })
    }
}

/// The longest sleep between two looks at wall time: an adjusted clock is noticed within this.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tokio_clock_moves_with_paused_time_and_sleeps_to_the_point() {
        let clock = Clock::tokio(1_700_000_000_000);
        clock.sleep_until(1_700_000_000_000 + 3_600_000).await;
        assert_eq!(clock.unix_ms(), 1_700_003_600_000);
        assert_eq!(clock.elapsed_ms(), 3_600_000);
        let outside = std::thread::spawn({
            let clock = clock.clone();
            move || clock.unix_ms()
        });
        assert_eq!(outside.join().unwrap(), 1_700_003_600_000);
    }
}
