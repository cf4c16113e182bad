//! The mover: one thread that takes over into the store what the window has, in order, and gives up the journal behind it.
//!
//! A conversion is moved when it is settled, or has lingered in the window, or when the window is pressed; so most are moved
//! when nothing is owed any more, and cost the store a status, a deduplication and an order entry. What is still owed goes
//! with its body and its place in the queue. Changes to moved deliveries follow in the order in which they were made. What
//! is written between two syncs is bounded (`GROUP_BYTES_MAX` says why).

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::committer::Stop;
use super::folder::is_full;
use super::generation::Generations;
use super::journal::Through;
use super::shared::Shared;
use super::store::{Applier, GROUP_BYTES_MAX, Ledger, StoreError, bucket, moves_ahead};
use crate::conversion::ConversionId;

/// Wakes the mover before its time.
#[derive(Default)]
pub(super) struct Signal {
    raised: Mutex<(Level, Stop)>,
    changed: Condvar,
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Level {
    #[default]
    Nothing,
    /// There is something to do: an idle mover takes it up.
    Work,
    /// The window is pressed, or the end has come: also between two groups.
    Urgent,
}

impl Signal {
    pub(super) fn raise(&self, level: Level) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if raised.0 < level {
            raised.0 = level;
            self.changed.notify_one();
        }
    }

    pub(super) fn stop(&self, stop: Stop) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = (Level::Urgent, stop);
        self.changed.notify_one();
    }

    /// Waits for the time, or until this level is raised.
    fn wait(&self, time: Duration, level: Level) -> Stop {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut raised, _) = self
            .changed
            .wait_timeout_while(raised, time, |(raised, _)| *raised < level)
            .unwrap_or_else(PoisonError::into_inner);
        raised.0 = Level::Nothing;
        raised.1
    }
}

/// The thread's own things.
pub(super) struct Mover {
    shared: Arc<Shared>,
    ledger: Ledger,
    pace: Clock,
    housekept_ms: u64,
    /// Where forgetting history goes on.
    forgotten: Option<ConversionId>,
    forget_next: bool,
    /// Whether parts of long bodies are still to be removed.
    unswept: bool,
    generations: Generations,
    turn: u8,
}

impl Mover {
    pub(super) fn new(shared: Arc<Shared>, ledger: Ledger) -> Mover {
        Mover {
            shared,
            ledger,
            pace: Clock::system(),
            housekept_ms: 0,
            forgotten: None,
            forget_next: true,
            unswept: false,
            generations: Generations::default(),
            turn: 0,
        }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Runs until it is told to stop, or storage fails.
    pub(super) fn run(mut self) {
        let mut pause = BETWEEN_GROUPS;
        loop {
            let level = if pause > BETWEEN_GROUPS { Level::Work } else { Level::Urgent };
            let stop = self.shared.signal.wait(pause, level);
            if stop == Stop::Abandon || self.shared.failure().is_some() {
                return;
            }
            let drain = stop == Stop::Drain;
            if !self.shared.space.has_room_for_store(&self.shared.folder) {
                self.generations.end(&self.shared, "the disk is full");
                if drain {
                    tracing::warn!("the disk is full: what was not moved stays in the journal");
                    return;
                }
                pause = IDLE;
                continue;
            }
            pause = match self.turn(drain) {
                Ok(pause) => pause,
                Err(error) => return self.shared.fail(&format!("moving to the store: {error}")),
            };
            if drain && self.is_drained() {
                return self.generations.end(&self.shared, "the queue is being closed");
            }
        }
    }

    /// One group and what is due beside it. Returns how long to wait before the next.
    fn turn(&mut self, drain: bool) -> Result<Duration, StoreError> {
        let more = self.step(drain)?;
        let unfilled = self.shared.filters.fill(&self.shared.store(), FILTER_KEYS)?;
        let now_ms = self.pace.elapsed_ms();
        if now_ms.saturating_sub(self.housekept_ms) >= HOUSEKEEPING_MS {
            self.housekept_ms = now_ms;
            self.housekeep()?;
        }
        let busy = drain || more || self.shared.is_pressed();
        let copying = self.generations.turn(&self.shared, now_ms, busy)?;
        Ok(if busy {
            Duration::ZERO
        } else if copying || unfilled || self.unswept || self.forget_next || !self.is_drained() {
            BETWEEN_GROUPS
        } else {
            IDLE
        })
    }

    /// Moves and changes one group; all that is there, whatever its age, if `all`. Returns whether there was much to do.
    pub(super) fn step(&mut self, all: bool) -> Result<bool, StoreError> {
        let shared = Arc::clone(&self.shared);
        let began_us = self.pace.elapsed_us();
        self.turn = self.turn.wrapping_add(1);
        let store = shared.store();
        let mut applier = Applier::new(&store, &self.ledger);
        // A large conversion needs a group of its own, and forgetting needs room: now and then the others wait.
        let spare = self.turn.is_multiple_of(SPARE_TURN);
        let changes = if spare { Vec::new() } else { shared.window().first_changes(CHANGES_MAX) };
        let mut applied = 0_usize;
        for change in &changes {
            if applier.bytes() > CHANGES_BYTES {
                break;
            }
            applier.change(change)?;
            applied = applied.saturating_add(1);
        }
        let moves_bytes = if spare { MOVES_BYTES / 2 } else { MOVES_BYTES.saturating_sub(applier.bytes()) };
        let moves = self.begin_moves(moves_bytes, applied == 0, all);
        for moved in &moves {
            if moves_ahead(&moved.record, &moved.legs) {
                store.write_body(&moved.record)?;
            }
            applier.move_in(&moved.record, &moved.legs);
        }
        self.forget(&mut applier)?;
        self.unswept = applier.bytes() < GROUP_BYTES_MAX / 2 && applier.sweep()?;
        let full = applier.bytes() > GROUP_BYTES_MAX / 2
            || applied < changes.len()
            || spare && !shared.window().first_changes(1).is_empty();
        let wrote = applier.bytes() > 0;
        self.ledger = applier.commit()?;
        for moved in &moves {
            let bucket = bucket(moved.record.meta.id.unix_ms(), self.ledger.bucket_ms);
            shared.filters.insert(bucket, &moved.record.key);
        }
        let mut window = shared.window();
        window.moved(&moves, applied, &self.ledger);
        let synced = Through { moved_seq: self.ledger.moved_seq, changes: window.changes_applied() };
        drop(window);
        shared.applied.send_replace(synced.changes);
        if wrote {
            shared.metrics.move_seconds.observe(self.pace.seconds_since(began_us));
        }
        self.release(synced)?;
        Ok(full)
    }

    fn begin_moves(&self, bytes_max: usize, alone: bool, all: bool) -> Vec<super::window::Move> {
        let shared = &self.shared;
        let now_ms = shared.clock.elapsed_ms();
        let linger_ms = u64::try_from(shared.options.linger.as_millis()).unwrap_or(u64::MAX);
        let all = all || shared.is_pressed();
        shared.window().begin_moves(bytes_max, alone, |since_ms| all || now_ms.saturating_sub(since_ms) >= linger_ms)
    }

    /// Gives up segments of the journal that are not needed any more. Without space for the state file they stay.
    pub(super) fn release(&self, synced: Through) -> Result<(), StoreError> {
        match self.shared.segments.release(&self.shared.folder, synced) {
            Ok(_) => Ok(()),
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, "no space to give up journal segments");
                Ok(())
            }
            Err(error) => Err(StoreError::Sync(error)),
        }
    }

    /// Forgets some history, when it is time.
    fn forget(&mut self, applier: &mut Applier<'_>) -> Result<(), StoreError> {
        let room = FORGET_BYTES.saturating_sub(applier.bytes()) / FORGOTTEN_BYTES;
        if !self.forget_next || room == 0 {
            return Ok(());
        }
        let shared = &self.shared;
        let now_ms = shared.clock.unix_ms();
        let first_bucket = bucket(now_ms.saturating_sub(shared.dedup_window_ms), self.ledger.bucket_ms);
        shared.filters.expire(first_bucket);
        let before_ms = now_ms.saturating_sub(shared.history_keep_ms);
        let (forgotten, more) = applier.forget(self.forgotten, before_ms, first_bucket, room)?;
        self.forgotten = forgotten;
        self.forget_next = more || self.forgotten.is_some();
        Ok(())
    }

    fn housekeep(&mut self) -> Result<(), StoreError> {
        let shared = &self.shared;
        self.forget_next = true;
        if let Err(error) = shared.folder.keep_ballast(shared.free_bytes_min) {
            tracing::debug!(%error, "the ballast could not be made");
        }
        self.note_oldest()
    }

    /// Looks up how old the store's oldest pending conversions are.
    pub(super) fn note_oldest(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let destinations = shared.window().with_pending();
        for destination in destinations {
            let oldest_ms = shared.store().oldest_ms(&destination)?;
            shared.window().set_oldest(&destination, oldest_ms);
        }
        Ok(())
    }

    fn is_drained(&self) -> bool {
        let window = self.shared.window();
        window.len() == 0 && window.changes_made() == window.changes_applied()
    }
}

/// Between two groups when there is little to do: small groups cost a sync each, and the disk is the committer's too.
const BETWEEN_GROUPS: Duration = Duration::from_millis(25);
/// Nothing to do: look again after this.
const IDLE: Duration = Duration::from_millis(500);
const HOUSEKEEPING_MS: u64 = 1000;
/// Changes looked at for one group.
const CHANGES_MAX: usize = 512;
/// Of one group: changes are taken until they have made so many bytes …
const CHANGES_BYTES: usize = 48 * 1024;
/// … and moves fill it up to this.
const MOVES_BYTES: usize = 104 * 1024;
/// History is forgotten while a group is smaller than this …
const FORGET_BYTES: usize = 80 * 1024;
/// … counted with so much for a conversion: status, order and deduplication entries.
const FORGOTTEN_BYTES: usize = 2 * 1024;
/// Every so manyth group is without changes and has room left.
const SPARE_TURN: u8 = 4;
/// Keys read into the deduplication filters at a time.
const FILTER_KEYS: usize = 4096;
