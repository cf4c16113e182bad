//! Opening a data folder: making a new one, or taking up one that an earlier process left, however it ended.
//!
//! Order of a first start: data keys and the store, whole and synced; then the state file; then the journal. So a folder without a state
//! file holds nothing that was acknowledged. Order of any other: lock, state, store (held to the state), journal (held to
//! the state). The journal is applied with bounded memory: what does not fit the window is moved at once.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::clock::Clock;
use super::folder::{Folder, Lock, OpenError, State, drop_ballast_if_full, make_dir, write_state};
use super::generation;
use super::history::History;
use super::journal::{self, Journal, Kind, Through, replay};
use super::mover::{Mover, Take};
use super::record::{self, Change, Leg, Record};
use super::rescue;
use super::shared::{Options, Shared};
use super::status::Hold;
use super::store::{self, Ledger, Store, StoreError};
use super::vault::{PLAIN, Vault};
use super::window::Entry;
use super::{ReadError, Settings};

/// An open folder, ready for the threads.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    pub(super) mover: Mover,
    pub(super) last_accepted: u64,
}

pub(super) fn open(settings: &Settings, clock: Clock, options: Options) -> Result<Opened, OpenError> {
    let path = &settings.path;
    let (lock, state) = Folder::claim(path, settings.allow_volatile)?;
    drop_ballast_if_full(path)?;
    let opened = open_claimed(settings, clock, options, lock, state);
    opened.map_err(|error| match state {
        Some(state) => rescue::advise(error, path, state),
        None => error,
    })
}

fn open_claimed(
    settings: &Settings,
    clock: Clock,
    options: Options,
    lock: Lock,
    state: Option<State>,
) -> Result<Opened, OpenError> {
    let path = &settings.path;
    let (state, vault, store, ledger) = match state {
        Some(state) => {
            let vault = Arc::new(Vault::open(path, settings.encryption.as_ref(), state)?);
            let (store, ledger) = open_store(path, state, &vault, options.backlog_bytes)?;
            (state, vault, store, ledger)
        }
        None => create(settings, &clock, options.backlog_bytes, &lock)?,
    };
    let folder = Arc::new(Folder::new(path, lock, state, options.ballast_bytes));
    vault.renew(&folder, clock.unix_ms(), options.key_time).map_err(|source| OpenError::write(path, source))?;
    let store = generation::at_start(&folder, store, options.sparse, settings.free_bytes_min)?;
    make_dir(&folder.journal_dir()).map_err(|source| OpenError::write(path, source))?;
    journal::remove_released(&folder).map_err(|source| OpenError::write(path, source))?;
    journal::remove_unclean_spare(&folder).map_err(|source| OpenError::write(path, source))?;
    let history = open_history(&folder, &vault, &ledger, options.history_bytes)?;
    let shared = Arc::new(Shared::new(settings, clock, options, Arc::clone(&folder), vault, store, history, &ledger));
    let mut recovery =
        Recovery { mover: Mover::new(Arc::clone(&shared), ledger), shared, last_accepted: 0, needed: BTreeMap::new() };
    let replayed = recovery.replay(state)?;
    // All that should be named is: what the store has lost with its end, if anything, has come from the journal again.
    recovery.remove_unnamed()?;
    recovery.finish_forgetting()?;
    let Recovery { shared, mover, last_accepted, .. } = recovery;
    let segment_bytes = shared.options.segment_bytes;
    // All but the newest that wait for nothing: the new segment takes the place of one of them.
    let changes = shared.window().changes_applied();
    let synced = Through { moved_seq: mover.ledger().moved_seq, changes };
    mover.release(synced).map_err(|error| OpenError::store(path, &error))?;
    let journal = Journal::begin(folder, Arc::clone(&shared.segments), &replayed, segment_bytes)?;
    shared.space.check(&shared.folder);
    Ok(Opened { shared, journal, mover, last_accepted })
}

/// Gives back what store and backlog hold of what is gone, of a folder that nobody serves. The journal stays as it is. Returns
/// the bytes of both before and now.
pub(super) fn compact(settings: &Settings) -> Result<(u64, u64), OpenError> {
    let path = &settings.path;
    let missing = |source| OpenError::read(path, source);
    std::fs::metadata(path).map_err(missing)?;
    let (lock, state) = Folder::claim(path, settings.allow_volatile)?;
    let state = state.ok_or_else(|| OpenError::read(&path.join("state"), ErrorKind::NotFound.into()))?;
    // Bytes are copied as they are: no key is needed.
    let (store, ledger) = open_store(path, state, &Arc::new(Vault::plain()), Options::default().backlog_bytes)?;
    store.backlog().remove_unnamed()?;
    generation::compact(&Folder::new(path, lock, state, 0), store, ledger, settings.free_bytes_min)
}

/// The generation in force. Others are none's: an unfinished one is removed before, for the room that it takes; one that
/// was left behind after, for until then it may be the last that opens.
fn open_store(path: &Path, state: State, vault: &Arc<Vault>, backlog_bytes: u64) -> Result<(Store, Ledger), OpenError> {
    generation::remove_others(path, state.generation, true)?;
    let opened = Store::open(&store::dir(path, state.generation), state, Arc::clone(vault), backlog_bytes)?;
    generation::remove_others(path, state.generation, false)?;
    Ok(opened)
}

/// The history, held to the state and to the store's ledger.
fn open_history(
    folder: &Folder,
    vault: &Arc<Vault>,
    ledger: &Ledger,
    segment_bytes: u64,
) -> Result<History, OpenError> {
    let mut state = folder.state();
    state.history_seq = state.history_seq.max(ledger.history_seq);
    History::open(folder.path(), &folder.quarantine_dir(), state, segment_bytes, Arc::clone(vault))
}

/// A new folder. The lock's holder is the only one here.
fn create(
    settings: &Settings,
    clock: &Clock,
    backlog_bytes: u64,
    _lock: &Lock,
) -> Result<(State, Arc<Vault>, Store, Ledger), OpenError> {
    let path = &settings.path;
    let journal_dir = path.join("journal");
    if !journal::is_empty(&journal_dir).map_err(|source| OpenError::read(&journal_dir, source))? {
        return Err(OpenError::damaged(path, "the file `state` is missing, and there is a journal"));
    }
    store::remove_unborn(path, FIRST_GENERATION)?;
    let epoch = rand::random();
    let mut state = State::first(epoch, FIRST_GENERATION);
    let vault = Arc::new(Vault::create(path, settings.encryption.as_ref(), clock.unix_ms(), &mut state)?);
    let dir = store::dir(path, FIRST_GENERATION);
    let (store, ledger) = Store::create(&dir, epoch, Arc::clone(&vault), (state.newest_backlog, backlog_bytes))?;
    write_state(path, state).map_err(|source| OpenError::write(path, source))?;
    Ok((state, vault, store, ledger))
}

struct Recovery {
    shared: Arc<Shared>,
    mover: Mover,
    last_accepted: u64,
    /// What each segment read waits for, and the oldest data key with which something in it is sealed.
    needed: BTreeMap<u64, (Through, Option<u64>)>,
}

impl Recovery {
    fn replay(&mut self, state: State) -> Result<journal::Replayed, OpenError> {
        self.last_accepted = self.mover.ledger().moved_seq;
        let folder = Arc::clone(&self.shared.folder);
        let next_seq = self.last_accepted.saturating_add(1);
        let expected = state.oldest_segment..=state.newest_segment;
        let replayed = replay(
            &folder.journal_dir(),
            &folder.quarantine_dir(),
            expected,
            next_seq,
            |segment, seq, kind, payload| self.visit(segment, seq, kind, payload),
        )?;
        // Changes first: a delivery is not handed out while one that was journalled is not applied.
        while self.unapplied() > 0 {
            self.step()?;
        }
        for (segment, _) in &replayed.segments {
            self.shared.segments.begin(*segment);
            let (needed, oldest_key) = self.needed.get(segment).copied().unwrap_or_default();
            self.shared.segments.wrote(*segment, needed, oldest_key);
        }
        let mut window = self.shared.window();
        window.recount(self.mover.ledger());
        window.accepted_to(self.last_accepted);
        let now_ms = self.shared.clock.unix_ms();
        for destination in window.destinations() {
            if !self.shared.destinations.contains(&destination) {
                window.hold(&destination, Some(Hold::removed(now_ms)));
            }
        }
        let depths = window.depths();
        let pending: u64 = depths.destinations.values().map(|depth| depth.pending).sum();
        drop(window);
        self.mover.note_oldest();
        let is_encrypted = self.shared.vault.sealing().number() != PLAIN;
        tracing::info!(pending, pending_bytes = depths.pending_bytes, is_encrypted, "queue opened");
        let strangers = depths.destinations.iter().filter(|(name, _)| !self.shared.destinations.contains(name));
        for (destination, depth) in strangers.filter(|(_, depth)| depth.pending > 0) {
            tracing::warn!(%destination, pending = depth.pending, "held: no destination of this name is configured");
        }
        Ok(replayed)
    }

    /// Does what a request to forget had left to do.
    fn finish_forgetting(&mut self) -> Result<(), OpenError> {
        let put_off = |error: ReadError| tracing::warn!(%error, "what was to be forgotten is still kept");
        let withdrawn = match self.shared.begin_to_finish() {
            Ok(Some(withdrawn)) => withdrawn,
            Ok(None) => return Ok(()),
            Err(error) => {
                put_off(error);
                return Ok(());
            }
        };
        while !self.mover.is_drained() {
            self.step_with(Take::All)?;
        }
        self.shared.finish_forgetting(&withdrawn).unwrap_or_else(put_off);
        Ok(())
    }

    /// What a crash has left of the backlog. Whatever comes later, the state knows of all that there is.
    fn remove_unnamed(&self) -> Result<(), OpenError> {
        let (folder, store) = (&self.shared.folder, self.shared.store());
        let newest = store.backlog().newest();
        if newest > folder.state().newest_backlog {
            let noted = folder.update(|state| state.newest_backlog = state.newest_backlog.max(newest));
            noted.map_err(|source| OpenError::write(folder.path(), source))?;
        }
        store.backlog().remove_unnamed()
    }

    fn visit(&mut self, segment: u64, seq: u64, kind: Kind, payload: &[u8]) -> Result<(), OpenError> {
        let dir = self.shared.folder.journal_dir();
        let unreadable = |error: super::codec::Malformed| OpenError::damaged(&dir, error.to_string());
        match kind {
            Kind::Accepted => {
                if seq > self.mover.ledger().moved_seq {
                    let (record, legs) =
                        record::decode_accepted(&self.shared.vault, payload, seq).map_err(unreadable)?;
                    let legs = self.settled_before(&record).unwrap_or(legs);
                    let permit = self.shared.try_permit(&record);
                    let is_full = permit.is_none();
                    let since_ms = self.shared.clock.elapsed_ms();
                    self.shared.window().insert_all([Entry::new(Arc::new(record), legs, since_ms, permit)]);
                    if is_full {
                        self.step()?;
                    }
                }
                self.last_accepted = self.last_accepted.max(seq);
            }
            Kind::Settled => {
                let change = Change::decode(&self.shared.vault, payload).map_err(unreadable)?;
                self.settled(Arc::new(change))?;
            }
        }
        let changes = self.shared.window().changes_made();
        let (needed, oldest_key) = self.needed.entry(segment).or_default();
        *needed = Through { moved_seq: self.last_accepted, changes };
        let key = record::key_number(payload).map_err(unreadable)?;
        *oldest_key = oldest_key.iter().copied().chain(Some(key).filter(|key| *key != PLAIN)).min();
        Ok(())
    }

    /// What became of one that went to the history with a group whose part for the store a crash has cut off. The journal may
    /// not tell: settlements ride in a later commit.
    fn settled_before(&self, record: &Record) -> Option<Vec<Leg>> {
        let id = record.meta.id;
        match self.shared.history.settled(id) {
            Ok(settled) => settled.filter(|settled| settled.seq == record.seq).map(|settled| settled.legs),
            Err(error) => {
                tracing::warn!(%id, %error, "the history cannot tell whether it was settled: what the journal says holds");
                None
            }
        }
    }

    fn settled(&mut self, change: Arc<Change>) -> Result<(), OpenError> {
        let mut window = self.shared.window();
        if window.settle_again(&change) {
            return Ok(());
        }
        drop(window);
        let failed = |error| self.failed(&error);
        let kept = match self.shared.store().kept_at(change.seq, change.id) {
            // It may have been applied before what it is about was damaged; who comes to that says so.
            Err(StoreError::Form(_)) => return Ok(()),
            kept => kept.map_err(failed)?,
        };
        let is_new = kept.is_some_and(|kept| {
            // What comes of it is told when it is applied: changes before it may be on their way.
            let leg = kept.legs.iter().find(|leg| leg.destination == change.destination);
            leg.is_some_and(|leg| leg.revision < change.settlement.revision)
        });
        if is_new {
            self.shared.window().change_again(change);
        }
        while self.unapplied() >= UNAPPLIED_MAX {
            self.step()?;
        }
        Ok(())
    }

    fn unapplied(&self) -> u64 {
        let window = self.shared.window();
        window.changes_made().saturating_sub(window.changes_applied())
    }

    fn step(&mut self) -> Result<(), OpenError> {
        self.step_with(Take::Ripe)
    }

    fn step_with(&mut self, take: Take) -> Result<(), OpenError> {
        if !self.shared.space.has_room_for_store(&self.shared.folder) {
            let path = self.shared.folder.path().to_owned();
            return Err(OpenError::NoSpace { path, source: ErrorKind::StorageFull.into() });
        }
        let stepped = self.mover.step(take);
        stepped.map(|_| ()).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &StoreError) -> OpenError {
        OpenError::store(self.shared.folder.path(), error)
    }
}

const FIRST_GENERATION: u64 = 1;
/// Changes kept in memory while the journal is read.
const UNAPPLIED_MAX: u64 = 1024;
