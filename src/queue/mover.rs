//! The mover: one thread that takes over into the store what the window has, in order, and gives up the journal behind it.
//!
//! A conversion is moved when it is settled, or has lingered in the window, or when the window is pressed; so most are moved
//! when nothing is owed any more, and are appended to the history. Where each of its deliveries only waits for its turn it
//! lingers longer, however pressed the window is: whoever hands in waits for room then. Else a relay that is short of
//! processors would spend them on writing and reading what it is about to deliver, and fall behind for good. What is still owed goes to the backlog, some conversions to a block, and the store names
//! the block. Changes to moved deliveries follow in the order in which they were made. What is written to the store between two
//! syncs is bounded (`GROUP_BYTES_MAX` says why).

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use super::codec::Malformed;
use super::committer::Stop;
use super::folder::{State, is_full};
use super::generation::Generations;
use super::history::Mark;
use super::journal::Through;
use super::record::Change;
use super::shared::Shared;
use super::store::{Anew, Applier, GROUP_BYTES_MAX, Ledger, MoveBytes, StoreError};
use super::window::{Move, MoveRoom, Ripe};

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

/// What a group is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Changes, and conversions that are to be moved by now.
    Ripe,
    /// Changes, and conversions of whatever age.
    All,
    /// Changes alone.
    Changes,
}

/// How much there was for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Nothing,
    Some,
    /// There may be more.
    Much,
}

/// Changes that were applied.
#[derive(Default)]
struct Applied<'c> {
    count: usize,
    /// Those of them that changed nothing, for what they change cannot be read.
    lost: Vec<(&'c Change, Malformed)>,
}

/// The thread's own things.
pub(super) struct Mover {
    shared: Arc<Shared>,
    ledger: Ledger,
    /// How far the store has come, by its own ledger.
    store_seq: u64,
    pace: Clock,
    housekept_ms: u64,
    /// Whether blocks of the backlog were written anew the last time: there may be more.
    is_untidy: bool,
    /// Without room for that it is not tried again before.
    tidied_not_before_ms: u64,
    generations: Generations,
    turn: u8,
}

impl Mover {
    pub(super) fn new(shared: Arc<Shared>, ledger: Ledger) -> Mover {
        let store_seq = ledger.moved_seq;
        let moved_seq = moved_so_far(&shared, &ledger);
        Mover {
            shared,
            ledger: Ledger { moved_seq, ..ledger },
            store_seq,
            pace: Clock::system(),
            housekept_ms: 0,
            is_untidy: false,
            tidied_not_before_ms: 0,
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
            if stop == Stop::Abandon || self.shared.has_failed() {
                return;
            }
            let drain = stop == Stop::Drain;
            if !self.shared.space.has_room_for_store(&self.shared.folder) {
                self.generations.end(&self.shared, "the disk is full");
                if drain {
                    tracing::warn!("the disk is full: what was not moved stays in the journal");
                    return;
                }
                // What is too old to be kept may be all that can make room.
                if let Err(error) = self.forget() {
                    return self.shared.fail(&format!("giving up history: {error}"));
                }
                pause = IDLE;
                continue;
            }
            pause = match self.turn(drain) {
                Ok(pause) => {
                    self.shared.space.mover_was_refused(false);
                    pause
                }
                Err(StoreError::NoSpace(error)) if drain => {
                    return tracing::warn!(%error, "the disk is full: what was not moved stays in the journal");
                }
                Err(StoreError::NoSpace(error)) => {
                    tracing::debug!(%error, "what is to be moved waits in the journal");
                    self.generations.end(&self.shared, "there is no room");
                    self.shared.space.mover_was_refused(true);
                    IDLE
                }
                Err(error) => return self.shared.fail(&format!("moving to the store: {error}")),
            };
            if drain && self.is_drained() {
                return self.generations.end(&self.shared, "the queue is being closed");
            }
        }
    }

    /// One group and what is due beside it. Returns how long to wait before the next.
    fn turn(&mut self, drain: bool) -> Result<Duration, StoreError> {
        // First what gives room back: for want of it the rest may not come to pass.
        let now_ms = self.pace.elapsed_ms();
        if now_ms.saturating_sub(self.housekept_ms) >= HOUSEKEEPING_MS {
            self.housekept_ms = now_ms;
            self.housekeep()?;
        }
        let done = match self.step(if drain { Take::All } else { Take::Ripe }) {
            Err(StoreError::NoSpace(error)) => {
                // What is to be moved needs room; what became of what was moved before may give some back, and deliveries
                // wait for that.
                self.step(Take::Changes)?;
                return Err(StoreError::NoSpace(error));
            }
            done => done?,
        };
        let busy = drain || done == Done::Much || self.shared.is_pressed();
        let copying = self.generations.turn(&self.shared, now_ms, busy)?;
        // However much there is to do: what is gone must not fill the disk.
        let tidies = !busy || self.turn.is_multiple_of(TIDY_TURN) && self.shared.store().backlog().is_wasteful();
        self.is_untidy = tidies && self.tidy(now_ms)?;
        // Pressed by what is on its way into the window or to be delivered soon, there is nothing to do but wait.
        Ok(if busy && (drain || done != Done::Nothing) {
            Duration::ZERO
        } else if copying || self.is_untidy || !self.is_drained() {
            BETWEEN_GROUPS
        } else {
            IDLE
        })
    }

    /// Writes some blocks of the backlog anew, if there is room for that. Returns whether there may be more.
    fn tidy(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        if now_ms < self.tidied_not_before_ms {
            return Ok(false);
        }
        match self.shared.store().write_blocks_anew(&self.shared.folder, &mut self.ledger, false) {
            Err(StoreError::NoSpace(error)) => {
                tracing::debug!(%error, "writing the backlog anew is put off");
                self.tidied_not_before_ms = now_ms.saturating_add(TIDIED_AGAIN_MS);
                Ok(false)
            }
            Ok(Anew::Written) => {
                self.store_seq = self.ledger.moved_seq;
                Ok(true)
            }
            anew => anew.map(|anew| anew != Anew::Nothing),
        }
    }

    /// Moves and changes one group.
    pub(super) fn step(&mut self, take: Take) -> Result<Done, StoreError> {
        let shared = Arc::clone(&self.shared);
        let began_us = self.pace.elapsed_us();
        self.turn = self.turn.wrapping_add(1);
        let store = shared.store();
        let mut applier = Applier::new(&store, &self.ledger);
        // A large conversion needs a group of its own: now and then the others wait.
        let spare = self.turn.is_multiple_of(SPARE_TURN) && take != Take::Changes;
        let changes = if spare { Vec::new() } else { shared.window().first_changes(CHANGES_MAX) };
        let Applied { count: applied, lost } = self.apply(&changes, &mut applier)?;
        let room = MoveRoom {
            bytes: MoveBytes {
                store: MOVES_BYTES.saturating_sub(applier.bytes()),
                backlog: BACKLOG_BYTES,
                history: HISTORY_BYTES.saturating_sub(applier.history_bytes()),
            },
            alone: applied == 0,
        };
        let moves = if take == Take::Changes { Vec::new() } else { self.begin_moves(room, take == Take::All) };
        for moved in &moves {
            applier.move_in(&moved.record, &moved.legs)?;
        }
        let moved_bytes = moves.iter().fold(0, |sum: usize, moved| sum.saturating_add(moved.record.body.len()));
        let full = applier.bytes() > GROUP_BYTES_MAX / 2
            || moved_bytes > BACKLOG_BYTES / 2
            || applier.history_bytes() > HISTORY_BYTES / 2
            || applied < changes.len()
            || spare && !shared.window().first_changes(1).is_empty();
        let is_stored = applier.bytes() > 0;
        let wrote = is_stored || applier.history_bytes() > 0;
        let mark = Mark { moved_seq: 0, store_seq: self.store_seq, written_ms: shared.clock.unix_ms() };
        // Refused for want of room, they stay in the window and are handed out from there.
        let committed = applier.commit(&shared.history, &shared.folder, mark);
        self.ledger = committed.inspect_err(|_| shared.window().abort_moves(&moves))?;
        lost.iter().for_each(|(change, damage)| shared.note_lost_change(change, damage));
        if is_stored {
            self.store_seq = self.ledger.moved_seq;
        }
        for part in moves.chunks(MOVES_AT_ONCE) {
            let gone = shared.window().finish_moves(part);
            drop(gone);
        }
        let mut window = shared.window();
        window.applied(applied, &self.ledger);
        shared.note_budget(&window);
        let synced = Through { moved_seq: self.ledger.moved_seq, changes: window.changes_applied() };
        drop(window);
        shared.applied.send_replace(synced.changes);
        if wrote {
            shared.metrics.move_seconds.observe(self.pace.seconds_since(began_us));
        }
        self.release(synced)?;
        Ok(match full {
            true => Done::Much,
            false if applied > 0 || !moves.is_empty() => Done::Some,
            false => Done::Nothing,
        })
    }

    /// As far as there is room for changes.
    fn apply<'c>(&self, changes: &'c [Arc<Change>], applier: &mut Applier<'_>) -> Result<Applied<'c>, StoreError> {
        let mut applied = Applied::default();
        for change in changes {
            if applier.bytes() > CHANGES_BYTES {
                break;
            }
            if let Some(damage) = applier.change(change)?
                && self.shared.is_lost(change)?
            {
                applied.lost.push((change, damage));
            }
            applied.count = applied.count.saturating_add(1);
        }
        Ok(applied)
    }

    fn begin_moves(&self, room: MoveRoom, all: bool) -> Vec<Move> {
        let shared = &self.shared;
        let linger_ms = u64::try_from(shared.options.linger.as_millis()).unwrap_or(u64::MAX);
        let ripe = Ripe {
            all,
            linger_ms: if shared.is_pressed() { 0 } else { linger_ms },
            headway_ms: linger_ms.saturating_mul(HEADWAY_LINGERS),
            elapsed_ms: shared.clock.elapsed_ms(),
            now_ms: shared.clock.unix_ms(),
        };
        shared.window().begin_moves(room, &ripe)
    }

    /// Gives up segments of the journal that are not needed any more. Without space for the state file they stay.
    pub(super) fn release(&self, synced: Through) -> Result<(), StoreError> {
        let (store_seq, history_seq) = (self.store_seq, self.ledger.history_seq);
        let note = |state: &mut State| {
            state.moved_seq = state.moved_seq.max(synced.moved_seq);
            state.store_seq = state.store_seq.max(store_seq);
            state.history_seq = state.history_seq.max(history_seq);
        };
        match self.shared.segments.release(&self.shared.folder, synced, note) {
            Ok(_) => Ok(()),
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, "no space to give up journal segments");
                Ok(())
            }
            Err(error) => Err(StoreError::Sync(error)),
        }
    }

    fn housekeep(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        if let Err(error) = shared.folder.keep_ballast(shared.free_bytes_min) {
            tracing::debug!(%error, "the ballast could not be made");
        }
        self.forget()?;
        self.renew_keys()?;
        self.note_oldest();
        Ok(())
    }

    /// Removes data keys that nothing needs any more, and makes another when it is time.
    fn renew_keys(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let (now_ms, time) = (shared.clock.unix_ms(), shared.options.key_time);
        // What waits comes first: what goes from there to the journal meanwhile is seen in one of them.
        let needed = [
            shared.inbox.oldest_key(),
            shared.segments.oldest_key(),
            self.ledger.sealed.keys().next().copied(),
            shared.history.oldest_key(),
        ];
        // When nothing is sealed nothing is needed.
        let needed = needed.into_iter().flatten().min().unwrap_or(u64::MAX);
        match shared.vault.retire(&shared.folder, needed, now_ms, time) {
            Err(error) if !is_full(&error) => return Err(StoreError::Sync(error)),
            Ok(()) | Err(_) => {}
        }
        shared.vault.renew(&shared.folder, now_ms, time).map_err(StoreError::Sync)
    }

    /// Gives up history that is too old to be kept.
    fn forget(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let now_ms = shared.believed_ms();
        let before_ms = now_ms.saturating_sub(shared.history_keep_ms);
        let open_ms = shared.history_keep_ms / SEGMENTS_OF_HISTORY;
        shared.history.expire(&shared.folder, now_ms, before_ms, open_ms)
    }

    /// Looks up how old the store's oldest pending conversions are.
    pub(super) fn note_oldest(&self) {
        let shared = &self.shared;
        let destinations = shared.window().with_pending();
        for destination in destinations {
            let oldest_ms = shared.store().oldest_ms(&destination);
            shared.window().set_oldest(&destination, oldest_ms);
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        let window = self.shared.window();
        window.len() == 0 && window.changes_made() == window.changes_applied()
    }
}

/// Up to which conversion all have been moved. A store that has come less far than the history knows has lost its end: then
/// the journal has what was in it, and is read again from where both are known to be whole.
fn moved_so_far(shared: &Shared, ledger: &Ledger) -> u64 {
    let mark = shared.history.mark();
    if ledger.moved_seq < mark.store_seq {
        let (store, must) = (ledger.moved_seq, mark.store_seq);
        tracing::warn!(store, must, "the store has lost its end: what was in it is taken from the journal again");
        return ledger.moved_seq.max(shared.folder.state().moved_seq);
    }
    ledger.moved_seq.max(mark.moved_seq)
}

/// Between two groups when there is little to do: small groups cost a sync each, and the disk is the committer's too.
const BETWEEN_GROUPS: Duration = Duration::from_millis(25);
/// A conversion whose deliveries make headway lingers so many times as long: what waits two seconds for its turn is rather waited
/// for than written, read and written off. A lane that would take longer makes none.
const HEADWAY_LINGERS: u64 = 8;
/// Nothing to do: look again after this.
const IDLE: Duration = Duration::from_millis(500);
const HOUSEKEEPING_MS: u64 = 1000;
/// Changes looked at for one group.
const CHANGES_MAX: usize = 512;
/// Of one group: changes are taken until they have made so many bytes …
const CHANGES_BYTES: usize = 48 * 1024;
/// … and moves fill it up to this.
const MOVES_BYTES: usize = 104 * 1024;
/// Appended to the backlog in one group, a single larger conversion aside: some milliseconds of writing.
const BACKLOG_BYTES: usize = 2 * 1024 * 1024;
/// Appended to the history in one group: some thousand conversions, a few milliseconds of writing.
const HISTORY_BYTES: usize = 512 * 1024;
/// What was settled is forgotten this much later than it might be, at most: an eighth of the time that it is kept.
const SEGMENTS_OF_HISTORY: u64 = 8;
/// Taken out of the window under one lock: everybody else waits for it.
const MOVES_AT_ONCE: usize = 64;
/// Of a busy mover every so manyth turn is for writing blocks anew.
const TIDY_TURN: u8 = 8;
/// After there was no room for writing blocks anew.
const TIDIED_AGAIN_MS: u64 = 60_000;
/// Every so manyth group is without changes and has room left.
const SPARE_TURN: u8 = 4;
