//! Load is shed before work is done: so many requests are worked on at once, others wait a moment, and then are refused.
//!
//! Parsing, mapping and storing take processors, and what is begun beyond what they can do makes everything begun before
//! later. So a request whose body is there waits here for its place. How long it may wait depends on whether the gate has
//! been free of late: a burst passes, however sharp; where there always is somebody waiting, waiting only makes answers
//! late, and who cannot have a place at once is told to come again. (The rule is that of *controlled delay*: Nichols and
//! Jacobson, ACM Queue 10(5); for servers Maurer, "Fail at Scale", ACM Queue 13(8).)
//!
//! A place is held from when the whole body is there, decompressed, until storage has spoken: never while a body comes or a
//! destination is waited for, so a slow client holds none.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::problem::{Kind, Problem};
use crate::queue::Clock;

/// The gate of one listener.
pub(super) struct Admission {
    places: Arc<Semaphore>,
    places_max: u32,
    clock: Clock,
    /// When somebody last found a place without waiting ([`Clock::elapsed_ms`]).
    free_ms: AtomicU64,
}

/// A place, until it is dropped.
pub(super) struct Admitted {
    _place: OwnedSemaphorePermit,
}

impl Admission {
    /// `places_max`: requests that are worked on at once; `None`: as many as the processors can.
    pub(super) fn new(places_max: Option<NonZeroU32>, clock: Clock) -> Admission {
        let places_max = places_max.map_or_else(default_places, NonZeroU32::get);
        let places = Arc::new(Semaphore::new(usize::try_from(places_max).unwrap_or(Semaphore::MAX_PERMITS)));
        Admission { places, places_max, free_ms: AtomicU64::new(clock.elapsed_ms()), clock }
    }

    /// Waits for a place, or is refused (503). A body of many conversions takes as many places as its size comes to, but no
    /// more than leave room for others: who waits for many keeps those behind it waiting.
    pub(super) async fn enter(&self, body_bytes: usize) -> Result<Admitted, Problem> {
        let weight = u32::try_from(body_bytes.div_ceil(BYTES_OF_A_PLACE)).unwrap_or(u32::MAX);
        let weight = weight.clamp(1, self.places_max.div_ceil(SHARE_OF_ONE));
        if let Ok(place) = Arc::clone(&self.places).try_acquire_many_owned(weight) {
            self.free_ms.store(self.clock.elapsed_ms(), Ordering::Relaxed);
            return Ok(Admitted { _place: place });
        }
        match timeout(self.patience(), Arc::clone(&self.places).acquire_many_owned(weight)).await {
            Ok(Ok(place)) => Ok(Admitted { _place: place }),
            // It is never closed.
            Ok(Err(_)) | Err(_) => {
                let detail = "more requests than can be worked on: nothing of this one was kept";
                Err(Problem::new(Kind::Overloaded, detail).retry_after(RETRY_AFTER))
            }
        }
    }

    /// How long one may wait that comes now.
    fn patience(&self) -> Duration {
        let occupied_ms = self.clock.elapsed_ms().saturating_sub(self.free_ms.load(Ordering::Relaxed));
        if Duration::from_millis(occupied_ms) < BURST { BURST_PATIENCE } else { PATIENCE }
    }
}

fn default_places() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    u32::try_from(processors).unwrap_or(u32::MAX).saturating_mul(PLACES_OF_A_PROCESSOR)
}

/// Enough to keep a processor busy while a disk takes milliseconds; with more, each waits for more of the others.
const PLACES_OF_A_PROCESSOR: u32 = 64;
/// A usual conversion is 1 to 2 KiB; a body of that size is one request's work.
const BYTES_OF_A_PLACE: usize = 4 * 1024;
/// Of all places one request takes a quarter at most.
const SHARE_OF_ONE: u32 = 4;
/// While nobody has found the gate free for so long, there is no burst but too much: several rounds of all places.
const BURST: Duration = Duration::from_millis(100);
/// In a burst: a disk that hesitates must not refuse what it will have kept a moment later.
const BURST_PATIENCE: Duration = Duration::from_millis(500);
/// Where there is too much: some rounds of all places, so that none stands empty.
const PATIENCE: Duration = Duration::from_millis(25);
/// Load that lasts is not gone sooner; other relays behind a load balancer take it at once.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(places: u32) -> Admission {
        Admission::new(NonZeroU32::new(places), Clock::tokio(0))
    }

    async fn refused(gate: &Admission, body_bytes: usize) -> Duration {
        let begun = tokio::time::Instant::now();
        let problem = gate.enter(body_bytes).await.err().expect("no place");
        assert_eq!(problem.kind(), Kind::Overloaded);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_waits_and_a_load_that_lasts_is_refused_soon() {
        let gate = gate(2);
        let held = (gate.enter(0).await.unwrap(), gate.enter(0).await.unwrap());
        assert_eq!(refused(&gate, 0).await, BURST_PATIENCE, "nobody had waited before");
        assert_eq!(refused(&gate, 0).await, PATIENCE, "there has been no place for long");
        drop(held);
        assert!(gate.enter(0).await.is_ok());
        let _held = (gate.enter(0).await.unwrap(), gate.enter(0).await.unwrap());
        assert_eq!(refused(&gate, 0).await, BURST_PATIENCE, "there was a place a moment ago");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_has_the_place_that_is_given_up() {
        let gate = gate(1);
        let held = gate.enter(0).await.unwrap();
        let release = async {
            tokio::time::sleep(BURST_PATIENCE / 2).await;
            drop(held);
        };
        let (entered, ()) = tokio::join!(gate.enter(0), release);
        assert!(entered.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_takes_the_places_that_its_work_is_and_the_largest_a_quarter() {
        let gate = gate(16);
        let three = gate.enter(3 * BYTES_OF_A_PLACE).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(gate.enter(usize::MAX).await.unwrap());
        }
        let one = gate.enter(1).await.unwrap();
        refused(&gate, 1).await;
        drop(one);
        refused(&gate, usize::MAX).await;
        drop(three);
        assert!(gate.enter(usize::MAX).await.is_ok());
    }
}
