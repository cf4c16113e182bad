//! Load is shed before work is done: so many requests are worked on at once, others wait for a place, and who waits in vain is
//! refused.
//!
//! Parsing, mapping and storing take processors, and what is begun beyond what they can do makes everything begun before
//! later. So a request whose body is there waits here for its place. As long as all can be answered in good time, who came
//! first goes first: a burst passes. Where they cannot, who came last goes first, and who is late has what is left; where that
//! lasts, and more and more are late, they have only what is hardly used. So most are answered soon, instead of all of them
//! late, and whose client has given up meanwhile is worked on last. (Maurer, "Fail at Scale", ACM Queue 13(8).) What a good time
//! is follows from how long places have been held of late.
//!
//! Nobody is refused at once. Who is refused comes again, and is refused again: what that takes of the processor is missing
//! for those who could be served. Waiting takes none, and a client that waits sends nothing more meanwhile.
//!
//! A place is held from when the whole body is there, decompressed, until storage has spoken: never while a body comes or a
//! destination is waited for, so a slow client holds none.

use std::collections::VecDeque;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::problem::{Kind, Problem};
use crate::queue::Clock;

/// The gate of one listener.
pub(super) struct Admission {
    gate: Arc<Gate>,
}

struct Gate {
    places_max: u32,
    clock: Clock,
    hall: Mutex<Hall>,
}

/// What is free, and who waits for it.
struct Hall {
    free: u32,
    /// Whose turn it is: places are gathered for it, and nobody overtakes it.
    next: Option<Waiter>,
    /// In the order in which they came.
    waiting: VecDeque<Waiter>,
    /// How long a place has been held of late, in sixteenths of a millisecond.
    held: u64,
    /// Since when there has been somebody late, whenever it was somebody's turn, and more became late.
    late_since_ms: Option<u64>,
}

struct Waiter {
    weight: u32,
    /// When it came ([`Clock::elapsed_ms`]).
    since_ms: u64,
    call: oneshot::Sender<()>,
}

/// A place, until it is dropped.
pub(super) struct Admitted {
    gate: Arc<Gate>,
    weight: u32,
    since_ms: u64,
}

impl Admission {
    /// `places_max`: requests that are worked on at once; `None`: as many as the processors can.
    pub(super) fn new(places_max: Option<NonZeroU32>, clock: Clock) -> Admission {
        let places_max = places_max.map_or_else(default_places, NonZeroU32::get);
        let hall =
            Mutex::new(Hall { free: places_max, next: None, waiting: VecDeque::new(), held: 0, late_since_ms: None });
        Admission { gate: Arc::new(Gate { places_max, clock, hall }) }
    }

    /// Waits for a place, or is refused (503). A body of many conversions takes as many places as its size comes to, but no
    /// more than leave room for others: who waits for many keeps those behind it waiting.
    pub(super) async fn enter(&self, body_bytes: usize) -> Result<Admitted, Problem> {
        let weight = u32::try_from(body_bytes.div_ceil(BYTES_OF_A_PLACE)).unwrap_or(u32::MAX);
        let weight = weight.clamp(1, self.gate.places_max.div_ceil(SHARE_OF_ONE));
        let gate = &self.gate;
        let admitted = || Admitted { gate: Arc::clone(gate), weight, since_ms: gate.clock.elapsed_ms() };
        let Some((called, patience)) = gate.ask(weight) else { return Ok(admitted()) };
        let mut waiting = Waiting { gate, weight, called };
        // Where all others are late, it is its own turn.
        gate.give_back(0);
        match timeout(patience, &mut waiting.called).await {
            Ok(Ok(())) => Ok(admitted()),
            // Who waits is not forgotten: it is the time that is over.
            Ok(Err(_)) | Err(_) => {
                let detail = "more requests than can be worked on: nothing of this one was kept";
                Err(Problem::new(Kind::Overloaded, detail).retry_after(RETRY_AFTER))
            }
        }
    }
}

impl Gate {
    /// Takes the places; or, if they are not free, what tells when they are its own, and how long that is worth waiting for.
    fn ask(&self, weight: u32) -> Option<(oneshot::Receiver<()>, Duration)> {
        let mut hall = self.hall();
        if hall.next.is_none()
            && hall.waiting.is_empty()
            && let Some(free) = hall.free.checked_sub(weight)
        {
            hall.free = free;
            return None;
        }
        let (call, called) = oneshot::channel();
        hall.waiting.push_back(Waiter { weight, since_ms: self.clock.elapsed_ms(), call });
        Some((called, patience(hall.waiting.len())))
    }

    /// Gives places back, and calls those whose turn it is.
    fn give_back(&self, mut weight: u32) {
        while let Some(waiter) = self.turn(weight) {
            // It may be gone since.
            weight = if waiter.call.send(()).is_ok() { 0 } else { waiter.weight };
        }
    }

    /// Takes the places of whose turn it is, once there are enough.
    fn turn(&self, given_back: u32) -> Option<Waiter> {
        let mut hall = self.hall();
        hall.free = hall.free.saturating_add(given_back);
        if hall.next.as_ref().is_none_or(Waiter::is_gone) {
            hall.next = hall.choose(self.clock.elapsed_ms(), self.places_max);
        }
        hall.free = hall.free.checked_sub(hall.next.as_ref()?.weight)?;
        hall.next.take()
    }

    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hall {
    /// Whose turn it is, if anybody's.
    fn choose(&mut self, now_ms: u64, places_max: u32) -> Option<Waiter> {
        while self.waiting.pop_front_if(|oldest| oldest.is_gone()).is_some() {}
        let good_time = self.good_time();
        let is_late = |waiter: &Waiter| Duration::from_millis(now_ms.saturating_sub(waiter.since_ms)) > good_time;
        if !self.waiting.front().is_some_and(is_late) {
            self.late_since_ms = None;
            return self.waiting.pop_front();
        }
        while self.waiting.pop_back_if(|newest| newest.is_gone()).is_some() {}
        // For so long the newest has been waiting: nobody has become late since. What is left is the rest of a burst.
        let waited_ms = now_ms.saturating_sub(self.waiting.back()?.since_ms);
        if Duration::from_millis(waited_ms) > good_time.saturating_add(BURST) {
            self.late_since_ms = None;
        }
        let late_ms = now_ms.saturating_sub(*self.late_since_ms.get_or_insert(now_ms));
        let share = if Duration::from_millis(late_ms) < BURST { SHARE_OF_LATE } else { SHARE_OF_LATE_THEN };
        let has_room_for_late = places_max.saturating_sub(self.free).saturating_mul(share) <= places_max;
        self.waiting.pop_back_if(|newest| has_room_for_late || !is_late(newest))
    }

    /// Within which everyone who waits is served, in the order of coming.
    fn good_time(&self) -> Duration {
        Duration::from_millis(self.held / 16).saturating_mul(ROUNDS_IN_GOOD_TIME).clamp(GOOD_TIME_MIN, GOOD_TIME_MAX)
    }

    /// Learns how long a place was held.
    fn learn(&mut self, ms: u64) {
        self.held = self.held.saturating_sub(self.held / 16).saturating_add(ms);
    }
}

impl Waiter {
    /// Whether it waits no more.
    fn is_gone(&self) -> bool {
        self.call.is_closed()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let ms = self.gate.clock.elapsed_ms().saturating_sub(self.since_ms);
        self.gate.hall().learn(ms);
        self.gate.give_back(self.weight);
    }
}

/// One that waits, until it is called, refused, or its client is gone.
struct Waiting<'a> {
    gate: &'a Gate,
    weight: u32,
    called: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.called.close();
        let is_called_in_vain = self.called.try_recv().is_ok();
        self.gate.give_back(if is_called_in_vain { self.weight } else { 0 });
    }
}

/// How long one waits where so many do.
fn patience(waiting: usize) -> Duration {
    let spread = REFUSAL_EVERY.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX));
    spread.clamp(PATIENCE, PATIENCE_MAX)
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
/// With those who wait no longer than two others are worked on, an answer takes three times what it takes at best.
const ROUNDS_IN_GOOD_TIME: u32 = 2;
/// What is shorter is no wait for a client on a network.
const GOOD_TIME_MIN: Duration = Duration::from_millis(20);
/// A disk that hesitates makes nobody late.
const GOOD_TIME_MAX: Duration = Duration::from_millis(500);
/// Who is late is worked on while no more than half of the places is taken: the others are for who comes now …
const SHARE_OF_LATE: u32 = 2;
/// … and where that lasts, while hardly any is: of what comes more often than it can be worked on, what is answered is answered soon.
const SHARE_OF_LATE_THEN: u32 = 8;
/// So long it is a burst: all of it is to be answered.
const BURST: Duration = Duration::from_millis(500);
/// Shorter than any client's own patience, and as long as a disk may hesitate.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where very many wait, refusals are spread so far: a thousand a second.
const REFUSAL_EVERY: Duration = Duration::from_millis(1);
/// About the shortest time after which clients give up by themselves.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// Load that lasts is not gone sooner; other relays behind a load balancer take it at once.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
