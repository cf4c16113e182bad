//! Recovering a folder that opening refuses: what is whole is kept, what is damaged is moved aside, and what the journal
//! still holds is rebuilt.
//!
//! A folder has three parts: journal, store (with its backlog), history. Whichever is whole stays as it is. A store that
//! cannot be read is begun anew; of one that can, what is damaged is mended, or taken out; of a
//! damaged history and a damaged journal all commits that are whole are taken over, for each says so itself (an index alone
//! that is damaged is made anew in its place).
//!
//! Then what neither store nor history knows is taken up: of a damaged store what lies in the backlog's segments, as it stood
//! when it was moved, if the history is whole and goes back so far that it says what was settled since; and of the journal every conversion, with what
//! its settlements say. What was forgotten on request, as the history knows by its key,
//! stays forgotten. One whose last settlement was lost with the damage is delivered
//! again, with the same idempotency value.
//!
//! **Never.** It does not run by itself. Nothing is deleted that holds what is not elsewhere: damaged files go to
//! `quarantine/`. Until the state file is written, the last step, the folder is refused as it was before, and recovering may
//! be begun again.
//!
//! What is put aside may be sealed with data keys that nothing in force needs any more, and those are overwritten within a day.
//! So the quarantine is given copies of all keys with it.

mod aside;
mod history;
mod journal;
mod keys;
mod rebuild;

use std::collections::BTreeSet;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::aside::{copy_aside, keep_aside, put_store_aside};
use self::journal::Found;
use self::rebuild::Rebuilding;
use super::Settings;
use super::backlog;
use super::clock::Clock;
use super::folder::{Folder, Lock, OpenError, State, drop_ballast_if_full, free_bytes, make_dir, write_state};
use super::history::History;
use super::log::segment;
use super::mover::Mover;
use super::shared::{Options, STORE_FREE_BYTES_MIN, Shared};
use super::store::{self, Damage, Ledger, Store, StoreError};
use super::vault::Vault;
use crate::conversion::{ConversionId, DestinationName, Timestamp};

/// What is damaged in a folder, and what the journal holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// What is wrong with the store.
    pub store: Option<String>,
    /// What is wrong with it can be taken out, or made again; all else of it stays.
    pub store_stays: bool,
    /// What is wrong with the history.
    pub history: Option<String>,
    /// What is wrong with the journal, in the order of its segments.
    pub journal: Vec<String>,
    /// Sequence numbers that the journal should have and has not: each is a conversion, or what became of a delivery.
    pub missing: Vec<RangeInclusive<u64>>,
    /// Conversions that the journal holds …
    pub conversions: u64,
    /// … received from then to then (RFC 3339).
    pub received: Option<(String, String)>,
    /// Settlements that it holds.
    pub settlements: u64,
}

impl Survey {
    /// Whether there is nothing to recover.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.store.is_none() && self.history.is_none() && self.journal.is_empty()
    }
}

/// What recovering did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// What was found.
    pub survey: Survey,
    /// Conversions of the journal that were rebuilt: nothing else knew them.
    pub rebuilt: u64,
    /// Conversions that a damaged store knew no more, taken up as they stood when they were moved out of the journal.
    pub taken_up: u64,
    /// Conversions that lie in the same files and are not taken up: received so long ago that the history would not know any
    /// more whether they were settled.
    pub too_old: u64,
    /// Settlements of conversions that are no longer there.
    pub gone: u64,
    /// The first of those conversions, and whose delivery was settled.
    pub gone_first: Vec<(ConversionId, DestinationName)>,
    /// Where damaged files were moved.
    pub aside: Vec<PathBuf>,
    /// Where the keys were copied that they are sealed with.
    pub keys: Option<PathBuf>,
}

/// The parts of a folder, as far as they are whole.
struct Parts {
    state: State,
    lock: Lock,
    vault: Arc<Vault>,
    survey: Survey,
    store: Option<(Store, Ledger)>,
    /// Of its backlog.
    damage: Option<Damage>,
    history: Option<History>,
    /// Segments of the journal that are damaged.
    segments: Vec<PathBuf>,
    /// The last sequence number that the journal shows.
    last_seq: u64,
}

/// Looks without changing anything that an opening would not change.
pub(super) fn survey(settings: &Settings) -> Result<Survey, OpenError> {
    Ok(look(settings, &Options::default())?.survey)
}

/// What a refusal says beside what is wrong: what can be had back.
pub(super) fn advise(error: OpenError, path: &Path, state: State) -> OpenError {
    let advice = || {
        let mut found = Found::default();
        journal::look(path, state, &mut found, &mut |_, _, _| Ok(())).ok()?;
        let (from, to) = found.received()?;
        Some(format!(
            "the journal holds {} conversions received from {from} to {to}: `capi-relay recover` rebuilds the queue from it, \
             from the backlog's files and from what else is whole; of what had been moved out of the journal, conversions \
             received before {to} and most of them before {from}, what only a damaged part holds is lost",
            found.conversions
        ))
    };
    let none =
        "the journal holds no conversions: `capi-relay recover` keeps what else is whole and lets the queue go on";
    let with = |what: String| format!("{what}. {}", advice().unwrap_or_else(|| none.to_owned()));
    match error {
        OpenError::Damaged { path, what, written } => OpenError::Damaged { path, what: with(what), written },
        OpenError::Store { path, what } => OpenError::Store { path, what: with(what) },
        other @ (OpenError::InUse { .. }
        | OpenError::Volatile { .. }
        | OpenError::Newer { .. }
        | OpenError::Older { .. }
        | OpenError::Read { .. }
        | OpenError::Write { .. }
        | OpenError::NoSpace { .. }
        | OpenError::Sealed { .. }
        // Recovering needs the keys as well.
        | OpenError::Key { .. }
        | OpenError::NotGivenBack { .. }) => other,
    }
}

fn look(settings: &Settings, options: &Options) -> Result<Parts, OpenError> {
    let path = &settings.path;
    let state_path = path.join("state");
    std::fs::metadata(&state_path).map_err(|source| OpenError::read(&state_path, source))?;
    let (lock, state) = Folder::claim(path, settings.allow_volatile)?;
    let state = state.ok_or_else(|| OpenError::read(&state_path, io::ErrorKind::NotFound.into()))?;
    drop_ballast_if_full(path)?;
    let mut survey = Survey::default();
    let vault = Arc::new(Vault::open(path, settings.encryption.as_ref(), state)?);
    let store = damaged(whole_store(path, state, &vault, options.backlog_bytes), &mut survey.store)?;
    let (store, damage) = store.map_or((None, None), |(store, ledger, damage)| (Some((store, ledger)), damage));
    if let Some(damage) = &damage {
        (survey.store, survey.store_stays) = (Some(damage.what()), true);
    }
    let mut expected = state;
    if let Some((_, ledger)) = &store {
        expected.history_seq = expected.history_seq.max(ledger.history_seq);
    }
    let history = History::open(path, &path.join("quarantine"), expected, options.history_bytes, Arc::clone(&vault));
    let history = history.and_then(|history| history::verify(path, expected).map(|()| history));
    let history = damaged(history, &mut survey.history)?;
    let damaged_tables = history.as_ref().map(History::with_damaged_tables).unwrap_or_default();
    if !damaged_tables.is_empty() {
        let segments: Vec<String> = damaged_tables.iter().map(|number| format!("{number:016x}")).collect();
        survey.history = Some(format!("the index of history segment {} is damaged", segments.join(", ")));
    }
    let mut found = Found::default();
    journal::look(path, state, &mut found, &mut |_, _, _| Ok(()))?;
    survey.received = found.received();
    let Found { wrong, missing, conversions, settlements, segments, last_seq, .. } = found;
    survey = Survey { journal: wrong, missing, conversions, settlements, ..survey };
    Ok(Parts { state, lock, vault, survey, store, damage, history, segments, last_seq })
}

/// A part that is damaged is none, and it is said what is wrong with it. Other refusals are not for recovering.
fn damaged<T>(part: Result<T, OpenError>, wrong: &mut Option<String>) -> Result<Option<T>, OpenError> {
    match part {
        Ok(part) => Ok(Some(part)),
        Err(OpenError::Damaged { what, .. } | OpenError::Store { what, .. }) => {
            *wrong = Some(what);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Opens the store, and reads all of it; what is damaged of its backlog does not make it a damaged one.
fn whole_store(
    path: &Path,
    state: State,
    vault: &Arc<Vault>,
    backlog_bytes: u64,
) -> Result<(Store, Ledger, Option<Damage>), OpenError> {
    let dir = store::dir(path, state.generation);
    let (store, ledger, lacks) = Store::open_with_what_there_is(&dir, state, Arc::clone(vault), backlog_bytes)?;
    let damage = store.verify(&dir, &ledger, lacks)?;
    Ok((store, ledger, damage))
}

pub(super) fn recover(settings: &Settings, clock: Clock, options: Options) -> Result<Recovered, OpenError> {
    let Parts { state, lock, vault, survey, store, damage, history, segments, last_seq } = look(settings, &options)?;
    let path = &settings.path;
    let mut recovered = Recovered { survey, ..Recovered::default() };
    if recovered.survey.is_whole() {
        return Ok(recovered);
    }
    let write = |source| OpenError::write(path, source);
    let (quarantine, scratch) = begin(path)?;
    if store.is_none() || damage.is_some() || history.is_none() || !segments.is_empty() {
        recovered.keys = keys::copy(path, &quarantine).map_err(write)?;
    }
    let mut next = State { epoch: rand::random(), ..state };
    let (store, ledger) = match store {
        Some(whole) => {
            next.epoch = state.epoch;
            without(damage, path, whole, &quarantine, &mut recovered.aside)?
        }
        None => {
            next.generation = state.generation.saturating_add(1);
            recovered.aside.extend(put_store_aside(path, state, &quarantine)?);
            let dir = store::dir(path, next.generation);
            Store::create(&dir, next.epoch, Arc::clone(&vault), (state.newest_backlog, options.backlog_bytes))?
        }
    };
    for segment in &segments {
        recovered.aside.extend(keep_aside(segment, &quarantine, "journal").map_err(write)?);
    }
    let folder = Arc::new(Folder::new(&scratch, lock, next, 0));
    let failed = |error: &StoreError| OpenError::store(path, error);
    let (history, settled_before_ms) = match history {
        Some(whole) => {
            whole.mend_tables().map_err(|error| failed(&error))?;
            let known_since_ms = whole.complete_since_ms();
            (whole, known_since_ms)
        }
        None => {
            let (begun, copies) = history::rebuild(path, &quarantine, &folder, &vault, &store, &ledger, &options)?;
            recovered.aside.extend(copies);
            // Of what was damaged nothing says whether it was settled.
            (begun, u64::MAX)
        }
    };
    let shared = Arc::new(Shared::new(settings, clock, options, Arc::clone(&folder), vault, store, history, &ledger));
    let mover = Mover::new(Arc::clone(&shared), ledger);
    let rebuilt = Rebuilding::new(path, shared, mover, recovered).run(state, settled_before_ms)?;
    let Rebuilding { shared, mover, mut recovered, left, .. } = rebuilt;
    copy_segments(path, &left, &quarantine, &mut recovered.aside)?;
    let ledger = noted(&shared, &mover, next.epoch, last_seq).map_err(|error| failed(&error))?;
    let made = folder.state();
    next.newest_history = made.newest_history.max(next.newest_history);
    (next.oldest_history, next.newest_backlog) = (made.oldest_history, made.newest_backlog);
    (next.moved_seq, next.store_seq, next.history_seq) = (ledger.moved_seq, ledger.moved_seq, ledger.history_seq);
    if !recovered.survey.journal.is_empty() {
        // All that it held is in the store and the history.
        next.newest_segment = journal::newest(path, state).map_err(write)?;
        next.oldest_segment = next.newest_segment.saturating_add(1);
    }
    write_state(path, next).map_err(write)?;
    std::fs::remove_dir_all(&scratch).map_err(write)?;
    Ok(recovered)
}

/// Takes out what is damaged of the backlog of a whole store, if anything is, and keeps the segments in which it lies.
fn without(
    damage: Option<Damage>,
    path: &Path,
    (store, ledger): (Store, Ledger),
    quarantine: &Path,
    aside: &mut Vec<PathBuf>,
) -> Result<(Store, Ledger), OpenError> {
    let Some(damage) = damage else { return Ok((store, ledger)) };
    copy_segments(path, &damage.segments, quarantine, aside)?;
    let ledger = store.mend(damage).map_err(|error| OpenError::store(path, &error))?;
    Ok((store, ledger))
}

/// Keeps copies of segments of the backlog: those in their place are written to, or go.
fn copy_segments(
    path: &Path,
    numbers: &BTreeSet<u64>,
    quarantine: &Path,
    aside: &mut Vec<PathBuf>,
) -> Result<(), OpenError> {
    for number in numbers {
        let segment = segment::path(&path.join(backlog::DIR), *number);
        let kept = copy_aside(&segment, quarantine, "backlog");
        aside.extend(kept.map_err(|source| OpenError::write(path, source))?);
    }
    Ok(())
}

/// Where the queue has come with all that could be had back.
fn noted(shared: &Shared, mover: &Mover, epoch: u64, last_seq: u64) -> Result<Ledger, StoreError> {
    let mut ledger = mover.ledger().clone();
    // Nothing new may have a number that one had which is lost.
    let known = [last_seq, shared.history.mark().moved_seq, shared.folder.state().moved_seq];
    ledger.moved_seq = known.into_iter().fold(ledger.moved_seq, u64::max);
    ledger.history_seq = shared.history.next_seq();
    (ledger.epoch, ledger.is_being_mended) = (epoch, false);
    shared.store().write_ledger(&ledger)?;
    Ok(ledger)
}

/// The folders that recovering needs, if there is room for it at all: nothing is begun that cannot be ended.
fn begin(path: &Path) -> Result<(PathBuf, PathBuf), OpenError> {
    let write = |source| OpenError::write(path, source);
    if free_bytes(path).map_err(|source| OpenError::read(path, source))? < STORE_FREE_BYTES_MIN {
        return Err(write(io::ErrorKind::StorageFull.into()));
    }
    let quarantine = path.join("quarantine");
    make_dir(&quarantine).map_err(write)?;
    // What says what must be here stays as it is until all of it is: the parts note their steps elsewhere.
    let scratch = path.join("recovering");
    make_dir(&scratch).map_err(write)?;
    Ok((quarantine, scratch))
}

fn at(id_ms: u64) -> String {
    let ms = i64::try_from(id_ms).unwrap_or(i64::MAX);
    let instant = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    Timestamp::from_instant(instant).as_str().to_owned()
}

#[cfg(test)]
mod tests;
