//! What the committer, the mover and the callers share, and what is asked of it from outside the runtime's threads.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::believed::Believed;
use super::clock::Clock;
use super::committer::{Inbox, Stop};
use super::folder::Folder;
use super::generation::Sparse;
use super::history::History;
use super::journal::Segments;
use super::metrics::Metrics;
use super::mover::Level;
use super::mover::Signal;
use super::panics;
use super::record::{Change, Event, Leg, Record};
use super::status::{Disk, Outcome, Status};
use super::store::{Ledger, Place, Store, StoreError};
use super::vault::Vault;
use super::waiters::Waiters;
use super::window::{Refill, Window};
use super::{AcceptError, Settings};
use crate::conversion::DestinationName;

/// Sizes that tests make small.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Of a journal segment.
    pub(super) segment_bytes: u64,
    /// Of the window, as charged for conversions that the store does not have yet.
    pub(super) window_bytes: u32,
    /// Of a segment of the history.
    pub(super) history_bytes: u64,
    /// Of a segment of the backlog.
    pub(super) backlog_bytes: u64,
    /// How long a conversion that is not settled stays in the window.
    pub(super) linger: Duration,
    /// Changes that wait for the store before nothing more is handed out.
    pub(super) changes_max: usize,
    /// Space set aside for opening on a full disk.
    pub(super) ballast_bytes: u64,
    /// When the store's file is given back.
    pub(super) sparse: Sparse,
    /// For how long a data key serves.
    pub(super) key_time: Duration,
    /// For how long a leap of the wall clock is doubted before history is given up, and a repeat is new, by it.
    pub(super) leap_stands: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: SEGMENT_BYTES,
            window_bytes: WINDOW_BYTES,
            history_bytes: HISTORY_BYTES,
            backlog_bytes: BACKLOG_BYTES,
            linger: LINGER,
            changes_max: CHANGES_MAX,
            ballast_bytes: BALLAST_BYTES,
            sparse: Sparse::default(),
            key_time: KEY_TIME,
            leap_stands: LEAP_STANDS,
        }
    }
}

/// What the threads and the callers share.
pub(super) struct Shared {
    pub(super) folder: Arc<Folder>,
    pub(super) vault: Arc<Vault>,
    /// The one in force. It is [asked](Shared::ask).
    store: RwLock<Arc<Store>>,
    pub(super) segments: Arc<Segments>,
    pub(super) history: History,
    pub(super) inbox: Inbox,
    pub(super) signal: Signal,
    pub(super) space: Space,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    /// By which history is given up.
    believed: Mutex<Believed>,
    /// By which a repeat is too late to be one. The clock counts at a start: who uses a key anew on purpose is no repeat after each.
    believed_of_repeats: Mutex<Believed>,
    pub(super) options: Options,
    pub(super) destinations: Vec<DestinationName>,
    pub(super) dedup_window_ms: u64,
    pub(super) history_keep_ms: u64,
    pub(super) free_bytes_min: u64,
    pub(super) pending_bytes_max: u64,
    /// Whether there was more pending than that when it was last looked at.
    is_over_budget: AtomicBool,
    window: Mutex<Window>,
    pub(super) room: Arc<Semaphore>,
    pub(super) waiters: Waiters,
    /// Of the window's changes, how many the store has.
    pub(super) applied: watch::Sender<u64>,
    /// Dead letters whose conversion was not found in the store, and which have been counted.
    pub(super) lost_dead: Mutex<HashSet<Place>>,
    /// Held by the one who deals with dead letters.
    pub(super) treating: Arc<Semaphore>,
    /// Held by the one who adds up.
    pub(super) adding_up: Arc<Semaphore>,
    pub(super) failure: watch::Sender<Option<String>>,
    pub(super) closed: AtomicBool,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "all that an open folder consists of")]
    pub(super) fn new(
        settings: &Settings,
        clock: Clock,
        options: Options,
        folder: Arc<Folder>,
        vault: Arc<Vault>,
        store: Store,
        history: History,
        ledger: &Ledger,
    ) -> Shared {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let room = usize::try_from(options.window_bytes.div_ceil(CHARGE_UNIT)).unwrap_or(usize::MAX);
        let (unix_ms, elapsed_ms, stands_ms) = (clock.unix_ms(), clock.elapsed_ms(), millis(options.leap_stands));
        let mut believed = Believed::nothing(stands_ms);
        // What the clock shows at the start is doubted from here on.
        believed.now_ms(unix_ms, elapsed_ms);
        let believed_of_repeats = Believed::from_now(unix_ms, elapsed_ms, stands_ms);
        Shared {
            window: Mutex::new(Window::new(
                &settings.destinations,
                ledger,
                options.changes_max,
                settings.dead_letters_max,
            )),
            segments: Arc::new(Segments::of(folder.state())),
            history,
            inbox: Inbox::default(),
            signal: Signal::default(),
            space: Space::new(settings.free_bytes_min),
            metrics: Metrics::new(),
            destinations: settings.destinations.clone(),
            dedup_window_ms: millis(settings.dedup_window),
            history_keep_ms: millis(settings.history_keep.max(settings.dedup_window)),
            free_bytes_min: settings.free_bytes_min,
            pending_bytes_max: settings.pending_bytes_max,
            is_over_budget: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(room)),
            waiters: Waiters::default(),
            applied: watch::Sender::new(0),
            lost_dead: Mutex::new(HashSet::new()),
            treating: Arc::new(Semaphore::new(1)),
            adding_up: Arc::new(Semaphore::new(1)),
            failure: watch::Sender::new(None),
            closed: AtomicBool::new(false),
            folder,
            vault,
            store: RwLock::new(Arc::new(store)),
            clock,
            believed: Mutex::new(believed),
            believed_of_repeats: Mutex::new(believed_of_repeats),
            options,
        }
    }

    pub(super) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By what time a repeat is too late to be one (Unix ms).
    pub(super) fn dedup_ms(&self) -> u64 {
        let mut believed = self.believed_of_repeats.lock().unwrap_or_else(PoisonError::into_inner);
        believed.now_ms(self.clock.unix_ms(), self.clock.elapsed_ms())
    }

    /// What the time is as far as the wall clock is believed (Unix ms); hardly more than nought while it is not at all.
    pub(super) fn believed_ms(&self) -> u64 {
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        believed.now_ms(self.clock.unix_ms(), self.clock.elapsed_ms())
    }

    /// The store in force now.
    pub(super) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the store in force; and again, when another has taken its place meanwhile: what the one that was left says goes
    /// with the backlog no longer.
    pub(super) fn ask<T>(&self, question: impl Fn(&Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        loop {
            let store = self.store();
            let answer = question(&store);
            if Arc::ptr_eq(&store, &self.store()) {
                return answer;
            }
        }
    }

    /// Puts another in its place, which holds the same.
    pub(super) fn go_over_to(&self, store: Store) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(store);
    }

    /// Why nothing can be promised any more, if that is so.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Storage has failed: nothing is acknowledged or handed out any more, and everyone who waits is told.
    pub(super) fn fail(&self, reason: &str) {
        let first = self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(reason.to_owned());
            }
            first
        });
        if first {
            tracing::error!(reason, "the queue's storage has failed; nothing is accepted any more");
        }
        self.room.close();
        self.inbox.stop(Stop::Abandon);
        self.signal.stop(Stop::Abandon);
    }

    /// Whether the window is more than half full: then nothing lingers in it but what makes headway.
    pub(super) fn is_pressed(&self) -> bool {
        self.room.available_permits() < self.places() / 2
    }

    fn places(&self) -> usize {
        usize::try_from(self.options.window_bytes.div_ceil(CHARGE_UNIT)).unwrap_or(usize::MAX)
    }

    /// Room in the window for a conversion found in the journal, if there is any.
    pub(super) fn try_permit(&self, record: &Record) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(self.charge(record)).ok()
    }

    /// Units of the window that a conversion takes: its body, its parsed form and its deliveries, roughly.
    pub(super) fn charge(&self, record: &Record) -> u32 {
        let bytes = record.body.len().saturating_mul(3).saturating_add(CHARGE_BYTES);
        let units = u32::try_from(bytes).unwrap_or(u32::MAX).div_ceil(CHARGE_UNIT);
        units.clamp(1, self.options.window_bytes.div_ceil(CHARGE_UNIT).max(1))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.has_failed()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// A place in the window, in the order of asking; refused while waiting when the disk runs full.
    pub(super) async fn room_for(&self, record: &Record) -> Result<OwnedSemaphorePermit, AcceptError> {
        let room = Arc::clone(&self.room).acquire_many_owned(self.charge(record));
        tokio::select! {
            biased;
            permit = room => permit.map_err(|_closed| AcceptError::Closed),
            () = self.space.low() => Err(self.space.refusal()),
        }
    }

    /// Whether there is room on disk for one more, as far as is known without waiting for anybody.
    pub(super) fn admit(&self) -> Result<(), AcceptError> {
        self.has_room()?;
        if self.is_over_budget.load(Ordering::Relaxed) { self.within_budget(&self.window()) } else { Ok(()) }
    }

    /// Whether there is room for what owes nothing.
    pub(super) fn has_room(&self) -> Result<(), AcceptError> {
        if self.is_stopped() {
            return Err(AcceptError::Closed);
        }
        if self.space.is_low() { Err(self.space.refusal()) } else { Ok(()) }
    }

    /// Notes whether more is pending than may be: after what may have changed that, so that whoever comes next is refused
    /// without waiting for a place in the window.
    pub(super) fn note_budget(&self, window: &Window) -> bool {
        let is_over = window.pending_bytes() >= self.pending_bytes_max;
        self.is_over_budget.store(is_over, Ordering::Relaxed);
        is_over
    }

    /// Whether what is pending leaves room for one more.
    pub(super) fn within_budget(&self, window: &Window) -> Result<(), AcceptError> {
        if self.note_budget(window) {
            let most = window.longest().map(|(name, pending)| (name.clone(), pending));
            return Err(AcceptError::Full { pending_bytes: window.pending_bytes(), most });
        }
        Ok(())
    }

    /// The status with which it is accepted: while it waited for room, that of the disk may have run out.
    pub(super) fn admitted(&self, record: &Record, legs: &[Leg]) -> Result<Status, AcceptError> {
        self.admit()?;
        let window = self.window();
        self.within_budget(&window)?;
        let held = window.held(legs);
        drop(window);
        Ok(record.status(legs, |destination| held.get(destination).cloned()))
    }

    /// Applies a change and leaves it to the journal and the store.
    pub(super) fn change(&self, change: Change) {
        let encoded = match change.encode(&self.vault.sealing()) {
            Ok(encoded) => encoded,
            Err(error) => return self.fail(&format!("a settlement: {error}")),
        };
        let is_dead = matches!(change.settlement.event, Event::Settled(Outcome::Dead { .. }));
        let buried = is_dead.then(|| change.destination.clone());
        let id = change.id;
        // The window first: what the committer finds in its inbox has been applied.
        let mut window = self.window();
        let in_store = window.settle(change);
        let stopped = buried.and_then(|destination| Some((window.just_stopped(&destination)?, destination)));
        // Before anybody sees it and makes the next one: the journal has them in their order.
        self.inbox.settled(encoded);
        drop(window);
        self.waiters.tell(id);
        if in_store {
            self.signal.raise(Level::Work);
        }
        if let Some((reason, destination)) = stopped {
            tracing::error!(%destination, reason, "nothing more is sent to this destination");
        }
    }

    /// Reads ahead for a destination. Blocks.
    pub(super) fn refill(&self, refill: &Refill) {
        let Refill { destination, now_ms, skip, rooms } = refill;
        // Nobody may be left to hear of a panic, and the destination would stand still for ever.
        let loaded = panics::caught(|| self.ask(|store| store.load(destination, *now_ms, skip, *rooms)));
        let (loaded, error) = match loaded {
            Ok(Ok(loaded)) => (Some(loaded), None),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(panic) => (None, Some(format!("it panicked: {panic}"))),
        };
        let lost = self.window().end_refill(destination, loaded);
        if let Some(error) = error {
            self.fail(&format!("reading the store: {error}"));
        }
        for seq in lost {
            self.metrics.lost.inc();
            tracing::error!(%destination, seq, "the store names a delivery whose conversion it does not have");
        }
    }
}

/// How much room the file system has, as last looked at.
pub(super) struct Space {
    room: watch::Sender<Room>,
    free_bytes_min: u64,
    /// The journal was refused what it needed for the last that was handed in.
    journal_was_refused: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Room {
    free_bytes: u64,
    /// The mover was refused what it needed, whatever is said to be free.
    refused: bool,
}

impl Room {
    fn is_low(self, free_bytes_min: u64) -> bool {
        self.refused || self.free_bytes < free_bytes_min
    }
}

impl Space {
    fn new(free_bytes_min: u64) -> Space {
        let room = Room { free_bytes: u64::MAX, refused: false };
        let free_bytes_min = free_bytes_min.max(STORE_FREE_BYTES_MIN);
        Space { room: watch::Sender::new(room), free_bytes_min, journal_was_refused: AtomicBool::new(false) }
    }

    pub(super) fn check(&self, folder: &Folder) {
        match folder.free_bytes() {
            Ok(free_bytes) => self.note(|room| room.free_bytes = free_bytes),
            Err(error) => tracing::warn!(%error, "cannot tell how much space is free"),
        }
    }

    /// What came of the mover's last try.
    pub(super) fn mover_was_refused(&self, refused: bool) {
        if self.room.borrow().refused != refused {
            self.note(|room| room.refused = refused);
        }
    }

    /// What came of the committer's last try: it goes on trying, since nothing else would tell when there is room again.
    pub(super) fn journal_was_refused(&self, refused: bool) {
        self.journal_was_refused.store(refused, Ordering::Relaxed);
    }

    fn note(&self, change: impl FnOnce(&mut Room)) {
        let was_low = self.is_low();
        self.room.send_modify(change);
        let free_bytes = self.free_bytes();
        match (was_low, self.is_low()) {
            (false, true) => {
                tracing::error!(free_bytes, "the disk is nearly full: nothing is accepted until there is space");
            }
            (true, false) => tracing::info!(free_bytes, "the disk has space again"),
            (true, true) | (false, false) => {}
        }
    }

    /// Looks again: whether the store may be written to. sled does not outlive a write for which there is no room, so
    /// with hardly any left what waits stays in the journal. The ballast is given up before that.
    pub(super) fn has_room_for_store(&self, folder: &Folder) -> bool {
        self.check(folder);
        if self.free_bytes() < STORE_FREE_BYTES_MIN && folder.drop_ballast() {
            self.check(folder);
        }
        self.free_bytes() >= STORE_FREE_BYTES_MIN
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.room.borrow().free_bytes
    }

    pub(super) fn disk(&self) -> Disk {
        let room = *self.room.borrow();
        let free_bytes = (room.free_bytes < u64::MAX).then_some(room.free_bytes);
        let is_full = room.is_low(self.free_bytes_min) || self.journal_was_refused.load(Ordering::Relaxed);
        Disk { free_bytes, free_bytes_min: self.free_bytes_min, is_full }
    }

    /// Waits until there is too little for another conversion.
    pub(super) async fn low(&self) {
        let mut room = self.room.subscribe();
        // The sender lives in `self`: this ends when space is low, or never.
        drop(room.wait_for(|room| room.is_low(self.free_bytes_min)).await);
    }

    fn is_low(&self) -> bool {
        self.room.borrow().is_low(self.free_bytes_min)
    }

    fn refusal(&self) -> AcceptError {
        AcceptError::DiskFull(format!("{} bytes free, {} are kept", self.free_bytes(), self.free_bytes_min))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

/// A segment is given up as a whole: large enough that this is rare, small enough that a start reads seconds of work.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// About 10,000 conversions of 700 bytes: a third of a second of work at 30,000 a second, and well within the memory budget.
const WINDOW_BYTES: u32 = 32 * 1024 * 1024;
/// Some 50,000 conversions: what its index takes in memory while it is written, and a start reads when it was not ended.
const HISTORY_BYTES: u64 = 16 * 1024 * 1024;
/// Some 40,000 conversions. One of which most is gone is written anew, and a descriptor is kept open for each.
const BACKLOG_BYTES: u64 = 64 * 1024 * 1024;
/// Longer than a quick destination takes to answer, so that what it answers at once is never written as waiting.
const LINGER: Duration = Duration::from_millis(250);
/// Of up to a few kilobytes each (an excerpt); they take the mover less than a second.
const CHANGES_MAX: usize = 4096;
/// What is given up goes with so much of what came before and after.
const KEY_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than it takes to set a clock right after a start.
const LEAP_STANDS: Duration = Duration::from_secs(600);
const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// Many groups fit in it, each with what sled adds, and a few of sled's segments of 512 KiB.
pub(super) const STORE_FREE_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// The window is shared out in units of this.
const CHARGE_UNIT: u32 = 1024;
/// Charged beside three times the body: deliveries, index entries.
const CHARGE_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_full_below_what_the_store_needs_and_when_a_write_was_refused() {
        let space = Space::new(0);
        assert_eq!(space.disk(), Disk { free_bytes: None, free_bytes_min: STORE_FREE_BYTES_MIN, is_full: false });
        for (free_bytes, is_full) in [(STORE_FREE_BYTES_MIN, false), (STORE_FREE_BYTES_MIN - 1, true)] {
            space.note(|room| room.free_bytes = free_bytes);
            let free_bytes = Some(free_bytes);
            assert_eq!(space.disk(), Disk { free_bytes, free_bytes_min: STORE_FREE_BYTES_MIN, is_full });
        }
        let space = Space::new(1 << 40);
        space.note(|room| room.free_bytes = 1 << 41);
        space.mover_was_refused(true);
        assert!(space.disk().is_full, "whatever is said to be free");
        space.mover_was_refused(false);
        assert!(!space.disk().is_full);
        space.journal_was_refused(true);
        assert!(space.disk().is_full && !space.is_low(), "the next may find room");
        space.journal_was_refused(false);
        assert!(!space.disk().is_full);
    }
}
