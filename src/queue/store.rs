//! The store: sled, under the conditions on which it keeps what it is given.
//!
//! It says what is alive in the backlog: an entry for each of its blocks, and beside that the legs of those conversions whose
//! deliveries have been attempted, what waits by its time, and dead letters by theirs. Reads come from anywhere but a runtime
//! thread; writes from the mover alone, in groups.
//!
//! sled 0.34.7, measured: its own `flush` is not durable on Linux; a lost tail of more than one of its 512 KiB segments
//! makes it open **empty**; a leftover of a snapshot makes it not open at all; `flush_async` hangs, and after a
//! failed write `flush` may (`flush` says when); what it cannot read at its opening it overwrites (`probe`, `watch`). So:
//!
//! - [`Store::commit`] is one batch, `flush`, and `fdatasync` on a descriptor of our own; a group counts at most
//!   [`GROUP_BYTES_MAX`], and no timer of sled's writes in between.
//! - On creation `conf`, `db`, the folder and its parent are synced. Before opening, `*.generating` is removed.
//! - A sentinel with the folder's epoch, and how far the store has come, are compared with the state file: a store that
//!   opened with less is refused.
//! - No value is larger than [`PIECE_BYTES`]. sled keeps up to 16 entries in a node and writes nodes; one of more than
//!   128 KiB goes to a file of its own that no sync of ours covers. Long statuses are cut in pieces. Only the entry of a block
//!   that is owed to more than forty destinations is larger, and then by some bytes for each.
//! - What sled writes is more than it is given: a node is written anew every ten updates. [`Group`] counts that in.
//! - Its file never shrinks: `copy` makes another store that holds the same.

mod anew;
mod apply;
mod copy;
mod flush;
mod kept;
mod keys;
mod ledger;
mod mend;
mod probe;
mod read;
mod watch;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::copy::Copy;
use self::flush::Flusher;
use self::probe::Layout;
use self::watch::{Stopped, watched};
use super::backlog::{Backlog, Block, Lacking};
use super::codec::{Malformed, Reader};
use super::folder::{OpenError, State, is_full, make_dir, sync, sync_dir};
use super::panics::caught;
use super::vault::Vault;

pub(super) use self::anew::Anew;
pub(super) use self::apply::{Applier, MoveBytes};
pub(super) use self::copy::remove;
pub(super) use self::kept::Kept;
pub(super) use self::keys::Place;
pub(super) use self::ledger::{Ledger, Tally};
pub(super) use self::mend::Damage;
pub(super) use self::read::{DeadEntry, DeadFound, Loaded, Room, dead_letter};

/// An open store.
pub(super) struct Store {
    db: sled::Db,
    /// sled's file, through a descriptor of our own: what makes a flush durable.
    file: File,
    /// Of all keys and values: kept with them, so that it never has to be counted.
    live_bytes: AtomicU64,
    /// The store that is to take this one's place, while it is being made.
    copy: Mutex<Option<Copy>>,
    /// What its entries of blocks name; a copy's are the same.
    backlog: Arc<Backlog>,
    vault: Arc<Vault>,
    /// Groups of the mover that were begun and that were ended, added up: odd while one is being made durable. Until its end
    /// what is gone from the store has not come into sight at its other place.
    groups: AtomicU64,
    /// Behind the database: its handle is the last to go.
    flusher: Flusher,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("syncing sled's file: {0}")]
    Sync(#[source] io::Error),
    #[error("{0}")]
    Form(#[from] Malformed),
    /// Nothing was written.
    #[error("no space: {0}")]
    NoSpace(#[source] io::Error),
    #[error("reading the history: {0}")]
    History(#[source] io::Error),
    #[error("the backlog: {0}")]
    Backlog(#[source] io::Error),
}

/// What a store has not of its backlog.
pub(super) struct Lacks {
    /// Blocks that it names.
    named: u64,
    /// Those of them that are not there.
    blocks: Vec<Lacking>,
}

impl Lacks {
    /// In words, if it lacks anything.
    fn what(&self, ledger: &Ledger) -> Option<String> {
        let missing = || self.blocks.first().map(|lacking| lacking.why.clone());
        miscounted(self.named, ledger).or_else(missing)
    }
}

/// What does not agree with what the store counts, in words.
fn miscounted(named: u64, ledger: &Ledger) -> Option<String> {
    if ledger.is_being_mended {
        return Some("the store was being recovered, and that was not ended".to_owned());
    }
    let counted = ledger.blocks;
    (named != counted).then(|| format!("the store names {named} blocks of the backlog, and counts {counted}"))
}

/// Writes that become durable together.
#[derive(Default, Clone)]
pub(super) struct Group {
    /// What each key is to hold; nothing: it is removed.
    writes: HashMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Group {
    pub(super) fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(cost(key.len().saturating_add(value.len())));
        self.writes.insert(key.to_vec(), Some(value));
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.remove_sized(key, 0);
    }

    /// Removes an entry that is among others of that size: they are written anew with it gone.
    fn remove_sized(&mut self, key: &[u8], size: usize) {
        self.bytes = self.bytes.saturating_add(cost(key.len().saturating_add(size)));
        self.writes.insert(key.to_vec(), None);
    }

    /// Roughly what sled writes for it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Roughly what sled writes for an entry of that size: the update, and its share of nodes written anew. Measured against
/// the writes of real groups: on average half of this, and never twice.
pub(super) fn cost(bytes: usize) -> usize {
    bytes.saturating_mul(2).saturating_add(ENTRY_BYTES)
}

/// A group on its way, until this is dropped: however it ends.
struct UnderWay<'s>(&'s AtomicU64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Store {
    /// For as long as what is gone from the one place of what waits is not seen at the other.
    fn group_begins(&self) -> UnderWay<'_> {
        self.groups.fetch_add(1, Ordering::AcqRel);
        UnderWay(&self.groups)
    }

    /// Makes an empty store and syncs all of it. `newest_backlog`: the last segment that the folder's backlog has had;
    /// `backlog_bytes`: of one of its segments.
    pub(super) fn create(
        dir: &Path,
        epoch: u64,
        vault: Arc<Vault>,
        (newest_backlog, backlog_bytes): (u64, u64),
    ) -> Result<(Store, Ledger), OpenError> {
        let write = |source| OpenError::write(dir, source);
        make_dir(dir).map_err(write)?;
        let backlog = Backlog::begin_anew(folder_of(dir), newest_backlog, backlog_bytes).map_err(write)?;
        let store = Store::open_sled(dir, vault, Arc::new(backlog), &|| Ok(Layout::new()))?;
        let ledger = Ledger::new(epoch);
        let mut group = Group::default();
        group.insert(keys::LEDGER, ledger.encode());
        store.commit(group).map_err(|error| OpenError::store(dir, &error))?;
        sync_all(dir).map_err(write)?;
        Ok((store, ledger))
    }

    /// Opens a store with its backlog and holds it to the state file. `backlog_bytes`: of a segment of the backlog.
    pub(super) fn open(
        dir: &Path,
        state: State,
        vault: Arc<Vault>,
        backlog_bytes: u64,
    ) -> Result<(Store, Ledger), OpenError> {
        let (store, ledger, lacks) = Store::open_with_what_there_is(dir, state, vault, backlog_bytes)?;
        match lacks.what(&ledger) {
            Some(what) => Err(OpenError::damaged(dir.parent().unwrap_or(dir), what)),
            None => Ok((store, ledger)),
        }
    }

    /// The same, for recovering: whatever of the backlog is not there.
    pub(super) fn open_with_what_there_is(
        dir: &Path,
        state: State,
        vault: Arc<Vault>,
        backlog_bytes: u64,
    ) -> Result<(Store, Ledger, Lacks), OpenError> {
        if !dir.join("db").exists() || !dir.join("conf").exists() {
            return Err(OpenError::damaged(dir, "the store's files are missing"));
        }
        remove_snapshot_leftovers(dir).map_err(|source| OpenError::write(dir, source))?;
        let files = || probe::files(dir).map_err(|source| OpenError::read(dir, source));
        let before = files()?;
        match Store::open_held_to(dir, state, vault, backlog_bytes) {
            // Whatever sled does when it is put away, it has done: then it is seen whether it wrote.
            Err(OpenError::Damaged { path, what, .. }) => {
                Err(OpenError::Damaged { path, what, written: files()? != before })
            }
            opened => opened,
        }
    }

    fn open_held_to(
        dir: &Path,
        state: State,
        vault: Arc<Vault>,
        backlog_bytes: u64,
    ) -> Result<(Store, Ledger, Lacks), OpenError> {
        let folder = folder_of(dir);
        let none = Backlog::begin_anew(folder, state.newest_backlog, backlog_bytes);
        let none = none.map_err(|source| OpenError::read(folder, source))?;
        let store = Store::open_sled(dir, vault, Arc::new(none), &|| probe::read(dir))?;
        let ledger = store.ledger().map_err(|error| OpenError::store(dir, &error))?;
        let Some(ledger) = ledger else {
            return Err(OpenError::damaged(dir, "the store opened empty, and it should not be"));
        };
        if ledger.epoch != state.epoch {
            return Err(OpenError::damaged(dir, "the store belongs to another folder"));
        }
        if ledger.moved_seq < state.store_seq {
            let what = format!(
                "the store has come to record {} and must have come to {} at least",
                ledger.moved_seq, state.store_seq
            );
            return Err(OpenError::damaged(dir, what));
        }
        // Opening, sled writes a snapshot and clears segments that it makes up for: its name must last before they are gone.
        sync_dir(dir).map_err(|source| OpenError::write(dir, source))?;
        store.file.sync_data().map_err(|source| OpenError::write(dir, source))?;
        // sled panics on some damage where it should return an error.
        let blocks = caught(|| store.blocks());
        let blocks = blocks.map_err(|said| OpenError::damaged(dir, format!("sled cannot read its file: {said}")))?;
        let blocks = blocks.map_err(|error| OpenError::store(dir, &error))?;
        let named = u64::try_from(blocks.len()).unwrap_or(u64::MAX);
        let (backlog, blocks) = Backlog::open(folder, state.newest_backlog, blocks, backlog_bytes)?;
        Ok((Store { backlog: Arc::new(backlog), ..store }, ledger, Lacks { named, blocks }))
    }

    /// What it says of all blocks.
    fn blocks(&self) -> Result<Vec<Block>, StoreError> {
        let entries = self.db.scan_prefix([keys::BLOCK]).map(|entry| {
            let (key, block) = entry?;
            Ok(Block::decode(keys::block_number(&key).ok_or(Malformed("block key"))?, &block)?)
        });
        entries.collect()
    }

    /// What its entries of blocks name.
    pub(super) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// `see` reads what sled is to find, before each try.
    fn open_sled(
        dir: &Path,
        vault: Arc<Vault>,
        backlog: Arc<Backlog>,
        see: &dyn Fn() -> io::Result<Layout>,
    ) -> Result<Store, OpenError> {
        let read = |source| OpenError::read(dir, source);
        let open = || {
            let config = sled::Config::new()
                .path(dir)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(None)
                .mode(sled::Mode::LowSpace);
            Ok(watched(&see().map_err(read)?, || config.open()))
        };
        let mut opened = open()?;
        // The folder is ours: if sled's file is still locked, or changes, it is by what sled has not put away of an earlier
        // handle.
        for _ in 0..LOCK_TRIES {
            let is_locked = matches!(
                &opened, Ok(Err(error)) if error.to_string().contains("could not acquire lock")
            );
            if !is_locked && opened.as_ref().err() != Some(&Stopped::Differs) {
                break;
            }
            std::thread::sleep(LOCK_WAIT);
            opened = open()?;
        }
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => return Err(OpenError::store(dir, &error.into())),
            // sled panics on some damage where it should return an error.
            Err(Stopped::Panicked(said)) => {
                return Err(OpenError::damaged(dir, format!("sled cannot read its file: {said}")));
            }
            Err(Stopped::Unread(said)) => return Err(read(io::Error::other(format!("sled: {said}")))),
            Err(Stopped::Differs) => {
                return Err(OpenError::damaged(dir, "sled finds other segments than were read before"));
            }
        };
        let path = dir.join("db");
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|source| OpenError::Write { path, source })?;
        let live_bytes = db.get(keys::LIVE_BYTES).map_err(|error| OpenError::store(dir, &error.into()))?;
        // A store of before they were counted has none: the first copy counts them.
        let live_bytes = live_bytes.and_then(|bytes| Reader::new(&bytes).u64().ok()).unwrap_or_default();
        let flusher = Flusher::new(&db, dir)?;
        let (live_bytes, copy) = (AtomicU64::new(live_bytes), Mutex::default());
        Ok(Store { db, file, live_bytes, copy, backlog, vault, groups: AtomicU64::new(0), flusher })
    }

    /// Applies the group, also to a copy that is being made, and returns once it is on stable storage.
    pub(super) fn commit(&self, group: Group) -> Result<(), StoreError> {
        self.mirror(&group);
        self.write(group)
    }

    fn write(&self, group: Group) -> Result<(), StoreError> {
        let mut live_bytes = self.live_bytes();
        let mut batch = sled::Batch::default();
        let sized = |key: &[u8], value: &[u8]| entry_bytes(key.len(), value.len());
        for (key, value) in group.writes {
            let before = self.db.get(&key)?.map_or(0, |value| sized(&key, &value));
            let after = value.as_ref().map_or(0, |value| sized(&key, value));
            live_bytes = live_bytes.saturating_add(after).saturating_sub(before);
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch.insert(keys::LIVE_BYTES, &live_bytes.to_le_bytes());
        self.db.apply_batch(batch)?;
        self.flusher.flush(&self.db)?;
        self.file.sync_data().map_err(StoreError::Sync)?;
        self.live_bytes.store(live_bytes, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn ledger(&self) -> Result<Option<Ledger>, StoreError> {
        let bytes = self.db.get(keys::LEDGER)?;
        Ok(bytes.map(|bytes| Ledger::decode(&bytes)).transpose()?)
    }

    /// Writes the ledger alone.
    pub(super) fn write_ledger(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let mut group = Group::default();
        group.insert(keys::LEDGER, ledger.encode());
        self.commit(group)
    }

    /// Bytes of the store's file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Bytes of its keys and values: what a copy would hold.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }
}

/// The data folder in which a store lies.
fn folder_of(dir: &Path) -> &Path {
    dir.parent().unwrap_or(dir)
}

fn entry_bytes(key_len: usize, value_len: usize) -> u64 {
    u64::try_from(key_len.saturating_add(value_len)).unwrap_or(u64::MAX)
}

/// Makes all of a store's files durable, and their names.
fn sync_all(dir: &Path) -> io::Result<()> {
    sync(&File::open(dir.join("conf"))?)?;
    sync(&File::open(dir.join("db"))?)?;
    sync_dir(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}

impl OpenError {
    /// What the store or the history said while a folder was being opened: a want of space is no damage.
    pub(super) fn store(path: &Path, error: &StoreError) -> OpenError {
        let path = path.to_owned();
        match error {
            StoreError::NoSpace(source)
            | StoreError::Sync(source)
            | StoreError::History(source)
            | StoreError::Backlog(source)
            | StoreError::Sled(sled::Error::Io(source))
                if is_full(source) =>
            {
                OpenError::NoSpace { path, source: source.kind().into() }
            }
            StoreError::NoSpace(_)
            | StoreError::Sync(_)
            | StoreError::History(_)
            | StoreError::Backlog(_)
            | StoreError::Sled(_)
            | StoreError::Form(_) => OpenError::Store { path, what: error.to_string() },
        }
    }
}

/// A snapshot that sled had not finished writing makes its next opening fail.
fn remove_snapshot_leftovers(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Where generation `generation` of a folder's store lies.
pub(super) fn dir(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("store.{generation}"))
}

/// The generations of the store that a folder holds, whole or not, oldest first.
pub(super) fn generations(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_prefix("store.")?.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// A store left behind by a first start that did not get as far as the state file: it holds nothing, and is removed. One
/// that holds more than a new one, or is a later generation, is refused.
pub(super) fn remove_unborn(folder: &Path, first_generation: u64) -> Result<(), OpenError> {
    for generation in generations(folder).map_err(|source| OpenError::read(folder, source))? {
        let dir = dir(folder, generation);
        let bytes = std::fs::metadata(dir.join("db")).map_or(0, |metadata| metadata.len());
        if generation != first_generation || bytes > UNBORN_BYTES_MAX {
            return Err(OpenError::damaged(folder, "the file `state` is missing, and there is a store"));
        }
        std::fs::remove_dir_all(&dir).map_err(|source| OpenError::write(&dir, source))?;
    }
    Ok(())
}

/// The most that a group may count ([`Group::bytes`]) between two syncs. Beyond one of sled's segments (512 KiB) of lost
/// tail a crash can cost everything. In 7,267 groups of mixed work sled wrote 60 KB on average, and 202 KB at most.
pub(super) const GROUP_BYTES_MAX: usize = 128 * 1024;
/// The largest value: twenty in one node are well below what sled still writes to its own file.
pub(super) const PIECE_BYTES: usize = 4 * 1024;
/// sled's page cache, as sled counts it; in memory it takes two to three times that.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// The fixed part of [`cost`].
const ENTRY_BYTES: usize = 160;
/// An earlier handle in this process is put away within milliseconds; this allows seconds.
const LOCK_TRIES: usize = 100;
const LOCK_WAIT: Duration = Duration::from_millis(50);
/// A new store's file is one segment of sled's.
const UNBORN_BYTES_MAX: u64 = 1024 * 1024;
