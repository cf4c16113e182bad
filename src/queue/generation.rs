//! Giving the store's file back: generations. What is alive is copied into `store.N+1`, the state file goes over to it in
//! one step, and `store.N` is removed. At every point exactly one of the two is in force, and holds everything:
//!
//! | a crash | finds in force | and removes at the next opening |
//! | --- | --- | --- |
//! | while copying | N | the unfinished N+1 |
//! | before the switch | N | N+1, whole |
//! | behind it | N+1, synced before with its names | N |
//!
//! While serving, the mover copies a group now and then (`store/copy.rs` says why the copy is the same); at a start, and
//! for `capi-relay compact`, it is done at once. Without room for it the file stays as it is.
//!
//! Who reads takes the store in force with each question and finishes on it. One that was left in the meantime holds what
//! was there at the switch: a reader of it sees what it would have seen by having read a little faster. It is removed
//! when nobody has it any more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::folder::{Folder, OpenError};
use super::shared::Shared;
use super::store::{self, Ledger, Store, StoreError};

/// When a store's file is worth giving back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sparse {
    /// Never below so many bytes …
    pub(super) file_bytes: u64,
    /// … and while the live bytes, so many times, are no less than the file.
    pub(super) times: u64,
    /// After it was begun and put off.
    pub(super) again_after: Duration,
}

impl Default for Sparse {
    fn default() -> Sparse {
        Sparse { file_bytes: FILE_BYTES_MIN, times: LIVE_TIMES, again_after: AGAIN_AFTER }
    }
}

impl Sparse {
    fn is(self, store: &Store) -> bool {
        let file_bytes = store.file_bytes();
        file_bytes > self.file_bytes && store.live_bytes().saturating_mul(self.times) < file_bytes
    }
}

/// Whether the store's file may hold bytes of what was to be forgotten.
fn is_unclean(folder: &Folder) -> bool {
    let state = folder.state();
    state.generation <= state.unclean_generation
}

/// Whether a copy is worth while, or the store is to be rid of what was to be forgotten.
fn is_due(folder: &Folder, sparse: Sparse, store: &Store) -> bool {
    is_unclean(folder) || sparse.is(store)
}

/// The mover's part.
#[derive(Default)]
pub(super) struct Generations {
    not_before_ms: u64,
    /// The store before, until its last reader is done.
    left: Option<(Arc<Store>, PathBuf)>,
}

impl Generations {
    /// One turn: begins a copy, brings one group over, or goes over to it. Returns whether one is under way. A busy mover
    /// brings nothing over; one that is pressed gives the copy up, for every write goes to both.
    pub(super) fn turn(&mut self, shared: &Shared, now_ms: u64, busy: bool) -> Result<bool, StoreError> {
        self.remove_left();
        let (folder, sparse, store) = (&shared.folder, shared.options.sparse, shared.store());
        let done = if store.has_copy() {
            match room_for(0, folder, shared.free_bytes_min) {
                Ok(()) if shared.is_pressed() => Err(Failure::PutOff("there is much to do".to_owned())),
                Ok(()) if busy => return Ok(true),
                Ok(()) => advance(folder, &store),
                Err(failure) => Err(failure),
            }
        } else if busy || self.left.is_some() || now_ms < self.not_before_ms || !is_due(folder, sparse, &store) {
            return Ok(false);
        } else {
            let again_after =
                if is_unclean(folder) { sparse.again_after.min(UNCLEAN_AGAIN_AFTER) } else { sparse.again_after };
            let again_after_ms = u64::try_from(again_after.as_millis()).unwrap_or(u64::MAX);
            self.not_before_ms = now_ms.saturating_add(again_after_ms);
            begin(folder, &store, shared.free_bytes_min).map(|()| None)
        };
        match done {
            Ok(None) => {}
            Ok(Some(next)) => {
                self.not_before_ms = 0;
                shared.go_over_to(next);
                self.left = Some((store, before(folder)));
            }
            Err(Failure::PutOff(why)) => put_off(&store, &why),
            Err(Failure::Unsure(error)) => return Err(StoreError::Sync(error)),
        }
        Ok(shared.store().has_copy())
    }

    /// Leaves nothing that takes room.
    pub(super) fn end(&mut self, shared: &Shared, why: &str) {
        let store = shared.store();
        if store.has_copy() {
            put_off(&store, why);
        }
        self.remove_left();
    }

    fn remove_left(&mut self) {
        if let Some((store, dir)) = self.left.take() {
            match Arc::try_unwrap(store) {
                Ok(store) => remove(store, &dir),
                Err(store) => self.left = Some((store, dir)),
            }
        }
    }
}

/// Before serving: when there is so little alive that it takes no time. What there is more of, or was never counted, waits
/// for the mover.
pub(super) fn at_start(folder: &Folder, store: Store, sparse: Sparse, free_bytes_min: u64) -> Result<Store, OpenError> {
    let is_little = (1..=START_LIVE_BYTES_MAX).contains(&store.live_bytes());
    if !is_due(folder, sparse, &store) || !is_little {
        return Ok(store);
    }
    match renew(folder, &store, free_bytes_min) {
        Ok(next) => {
            remove(store, &before(folder));
            Ok(next)
        }
        Err(Failure::PutOff(why)) => {
            put_off(&store, &why);
            Ok(store)
        }
        Err(Failure::Unsure(source)) => Err(OpenError::write(folder.path(), source)),
    }
}

/// Whatever it gives back, of the backlog too. Returns the bytes of both before and now.
pub(super) fn compact(
    folder: &Folder,
    store: Store,
    mut ledger: Ledger,
    free_bytes_min: u64,
) -> Result<(u64, u64), OpenError> {
    let path = folder.path();
    let bytes = |store: &Store| store.file_bytes().saturating_add(store.backlog().bytes().0);
    let bytes_before = bytes(&store);
    let compacted = compact_backlog(folder, &store, &mut ledger, free_bytes_min);
    let renewed = compacted.and_then(|()| renew(folder, &store, free_bytes_min));
    match renewed {
        Ok(next) => {
            let bytes = (bytes_before, bytes(&next));
            remove(store, &before(folder));
            Ok(bytes)
        }
        Err(Failure::PutOff(why)) => {
            put_off(&store, &why);
            Err(OpenError::NotGivenBack { path: path.to_owned(), why })
        }
        Err(Failure::Unsure(source)) => Err(OpenError::write(path, source)),
    }
}

/// Removes generations that an earlier process has left, by whether they are later than the one in force.
pub(super) fn remove_others(path: &Path, in_force: u64, later: bool) -> Result<(), OpenError> {
    let generations = store::generations(path).map_err(|source| OpenError::read(path, source))?;
    for generation in generations {
        if (later && generation > in_force) || (!later && generation < in_force) {
            let dir = store::dir(path, generation);
            let what = if later { "unfinished" } else { "left behind" };
            tracing::info!(store = %dir.display(), what, "a generation that is not in force is removed");
            std::fs::remove_dir_all(&dir).map_err(|source| OpenError::write(&dir, source))?;
        }
    }
    Ok(())
}

/// Why the file was not given back.
enum Failure {
    /// The store in force is the one it was.
    PutOff(String),
    /// A crash may find either in force: none may be written to any more.
    Unsure(io::Error),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::PutOff(error.to_string())
    }
}

/// Segments of the backlog are given up one by one: there must be room for one of them.
fn compact_backlog(folder: &Folder, store: &Store, ledger: &mut Ledger, free_bytes_min: u64) -> Result<(), Failure> {
    room_for(0, folder, free_bytes_min)?;
    Ok(store.compact_blocks(folder, ledger)?)
}

/// All of it, with nobody else at work.
fn renew(folder: &Folder, store: &Store, free_bytes_min: u64) -> Result<Store, Failure> {
    begin(folder, store, free_bytes_min)?;
    loop {
        if let Some(next) = advance(folder, store)? {
            return Ok(next);
        }
        room_for(0, folder, free_bytes_min)?;
    }
}

fn begin(folder: &Folder, store: &Store, free_bytes_min: u64) -> Result<(), Failure> {
    room_for(store.live_bytes(), folder, free_bytes_min)?;
    let (file_bytes, live_bytes) = (store.file_bytes(), store.live_bytes());
    tracing::info!(file_bytes, live_bytes, "giving the store's file back: copying what is alive");
    let next = folder.state().generation.saturating_add(1);
    Ok(store.begin_copy(&store::dir(folder.path(), next))?)
}

/// Brings one group over. With the last one the copy is made durable and comes into force.
fn advance(folder: &Folder, store: &Store) -> Result<Option<Store>, Failure> {
    if !store.copy_more()? {
        return Ok(None);
    }
    store.sync_copy()?;
    let before = folder.state().generation;
    if let Err(error) = folder.update(|state| state.generation = before.saturating_add(1)) {
        let unchanged = matches!(folder.state_on_disk(), Ok(Some(state)) if state.generation == before);
        return Err(if unchanged { error.into() } else { Failure::Unsure(error) });
    }
    let next = store.take_copy();
    if let Some(next) = &next {
        let (file_bytes, live_bytes) = (next.file_bytes(), next.live_bytes());
        tracing::info!(before_bytes = store.file_bytes(), file_bytes, live_bytes, "the store's file was given back");
    }
    Ok(next)
}

/// Whether a copy of so many live bytes leaves the room that is kept free.
fn room_for(live_bytes: u64, folder: &Folder, free_bytes_min: u64) -> Result<(), Failure> {
    let free_bytes = folder.free_bytes()?;
    let needed = live_bytes.saturating_mul(COPY_TIMES).saturating_add(MARGIN_BYTES).saturating_add(free_bytes_min);
    if free_bytes < needed {
        return Err(Failure::PutOff(format!("it needs {needed} free bytes, and there are {free_bytes}")));
    }
    Ok(())
}

fn put_off(store: &Store, why: &str) {
    tracing::warn!(why, "giving the store's file back is put off");
    store.give_up_copy();
}

/// The folder of the generation before the one in force.
fn before(folder: &Folder) -> PathBuf {
    store::dir(folder.path(), folder.state().generation.saturating_sub(1))
}

/// What cannot be removed goes at the next opening.
fn remove(store: Store, dir: &Path) {
    drop(store);
    store::remove(dir);
}

/// Below this there is nothing worth the trouble: an idle relay's store, and some history.
const FILE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// A fresh copy's file is up to twice what is alive in it: beyond this, giving it back shrinks it for certain.
const LIVE_TIMES: u64 = 3;
/// Of what is alive, counted into the room that a copy needs.
const COPY_TIMES: u64 = 2;
/// Beside a copy and what is kept free: what is accepted in the meantime.
const MARGIN_BYTES: u64 = 32 * 1024 * 1024;
/// A try costs what it has copied; a disk or a load that hindered it does not change by the second.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// The same, when somebody waits for what was forgotten to be gone.
const UNCLEAN_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Copied in half a second: a start takes no longer than that.
const START_LIVE_BYTES_MAX: u64 = 4 * 1024 * 1024;
