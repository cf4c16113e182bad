//! The data folder: who may use it, what it says about itself, how much room is left.
//!
//! | name | is |
//! | --- | --- |
//! | `lock` | held by the one process that uses the folder |
//! | `state` | what must be found here: written whole or not at all, checked by a checksum |
//! | `journal/` | segments |
//! | `store.N/` | the store, generation N |
//! | `backlog/` | segments of what waits, and of dead letters |
//! | `history/` | segments of what is settled |
//! | `keys/` | data keys, sealed, when a key is configured |
//! | `forgetting` | what is being forgotten on request, while it is |
//! | `ballast` | space that a full disk can be freed of |
//! | `quarantine/` | copies of what was found damaged |
//!
//! The state file is what tells an emptied folder from a new one: it is written after the store has been made, and says how
//! far the store must have come before a segment of the journal is given up.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FallocateFlags;

use super::codec::{Reader, Writer};

/// Why a data folder is not opened; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{path}: another process uses this folder; stop it, or give this one a folder of its own")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file system forgets at power loss or with the container.
    #[error(
        "{path} is on {kind}, which loses everything with the machine or the container; put it on a disk (a mounted \
         volume), or set allow_volatile = true for a trial"
    )]
    Volatile {
        /// The folder.
        path: PathBuf,
        /// The file system.
        kind: &'static str,
    },
    /// A newer capi-relay wrote it.
    #[error(
        "{path} was written by a newer capi-relay (format {found}; this one reads {known}); run that version, or an \
         empty folder"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// An older capi-relay wrote it.
    #[error(
        "{path} was written by an older capi-relay (format {found}; this one reads {known}); let that version deliver \
         what is in it, or take it along: `capi-relay export` with that version, then `capi-relay import` with this one \
         into an empty folder"
    )]
    Older {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The one that this version reads.
        known: u32,
    },
    /// What is in it is encrypted with a key that is not configured.
    #[error(
        "{path}: what is stored here is encrypted with the key {key}, which is not configured; set it as \
         `encryption.key` of `[queue]`, or, after a change of keys, among `encryption.old_keys`"
    )]
    Sealed {
        /// Where the data keys are.
        path: PathBuf,
        /// The id of the key that they are sealed with.
        key: String,
    },
    /// It holds something else than what was acknowledged.
    #[error(
        "{path} is damaged: {what}. {} Restore the folder from the disk it was on; or, to go on \
         without what it holds, move it aside and start with an empty one",
        if *written { WRITTEN } else { UNTOUCHED }
    )]
    Damaged {
        /// The folder or the part of it.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// Whether the store's files were written to before it was seen.
        written: bool,
    },
    /// A key in it is missing or damaged, without which nobody reads what it sealed.
    #[error(
        "{path}: {what}. Restore `keys/` from a backup: `capi-relay recover` needs it, too; or, to go on without what the \
         folder holds, move the whole folder aside and start with an empty one"
    )]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It cannot be read.
    #[error("cannot read {path}; check its owner and mode")]
    Read {
        /// The folder or the part of it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write to {path}; check its owner and mode, and that the file system is mounted read-write")]
    Write {
        /// The folder or the part of it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full.
    #[error("{path}: no space is left to open it; free some and start again (nothing is lost)")]
    NoSpace {
        /// The folder or the part of it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store does not open.
    #[error("{path}: the store cannot be opened: {what}")]
    Store {
        /// The store's folder.
        path: PathBuf,
        /// What it said.
        what: String,
    },
    /// There is no room, or no way, to copy it.
    #[error("{path}: the store's file cannot be given back: {why} (nothing is lost)")]
    NotGivenBack {
        /// The folder.
        path: PathBuf,
        /// What is in the way.
        why: String,
    },
}

impl OpenError {
    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> OpenError {
        OpenError::Damaged { path: path.to_owned(), what: what.into(), written: false }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> OpenError {
        OpenError::Read { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> OpenError {
        let path = path.to_owned();
        if is_full(&source) { OpenError::NoSpace { path, source } } else { OpenError::Write { path, source } }
    }
}

const UNTOUCHED: &str = "Nothing was changed.";
/// sled takes what it cannot read for the end of its log, and goes on there.
const WRITTEN: &str = "Opening it, sled wrote to its files, and what lay behind the damage may be gone from them: a copy of \
                       before this start is worth more than they are.";

/// What must be found in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Random: the store carries the same one.
    pub(super) epoch: u64,
    /// Which `store.N` is in force.
    pub(super) generation: u64,
    /// The journal must hold every segment from this one …
    pub(super) oldest_segment: u64,
    /// … to this one (0: none yet).
    pub(super) newest_segment: u64,
    /// Store and history together must have come at least this far …
    pub(super) moved_seq: u64,
    /// … the store alone this far …
    pub(super) store_seq: u64,
    /// … and the history, counted in its own records, this far.
    pub(super) history_seq: u64,
    /// The history must hold every segment from this one …
    pub(super) oldest_history: u64,
    /// … to this one (0: none yet).
    pub(super) newest_history: u64,
    /// Every data key must be there from this one …
    pub(super) oldest_key: u64,
    /// … to this one (0: nothing is sealed).
    pub(super) newest_key: u64,
    /// Whether hashes of keys and orders are keyed.
    pub(super) is_keyed: bool,
    /// Generations of the store up to this one may hold bytes of what was to be forgotten: none may stay in force.
    pub(super) unclean_generation: u64,
    /// So may the journal's segments up to this one: none may be used again.
    pub(super) unclean_segment: u64,
    /// No segment of the backlog later than this one has been made (0: none yet). Which must be there the store says.
    pub(super) newest_backlog: u64,
}

impl State {
    /// Of a folder in which nothing has been kept yet.
    pub(super) fn first(epoch: u64, generation: u64) -> State {
        State {
            epoch,
            generation,
            oldest_segment: 1,
            newest_segment: 0,
            moved_seq: 0,
            store_seq: 0,
            history_seq: 1,
            oldest_history: 1,
            newest_history: 0,
            oldest_key: 1,
            newest_key: 0,
            is_keyed: false,
            unclean_generation: 0,
            unclean_segment: 0,
            newest_backlog: 0,
        }
    }
}

/// The folder, locked.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    state: Mutex<State>,
    ballast_bytes: u64,
    /// Keeps the folder ours.
    _lock: Lock,
}

/// A lock that is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Lock(pub(super) File);

impl Drop for Lock {
    /// In so many words: the file's end alone would not do while a child of this process, just forked, has a copy of it.
    fn drop(&mut self) {
        // Where that fails the file's end must do.
        self.0.unlock().ok();
    }
}

impl Folder {
    /// Makes the folder if it is missing, checks what it is on, and locks it. `None` for the state when it is new.
    pub(super) fn claim(path: &Path, allow_volatile: bool) -> Result<(Lock, Option<State>), OpenError> {
        make_dir(path).map_err(|source| OpenError::write(path, source))?;
        if !allow_volatile && let Some(kind) = volatile(path)? {
            return Err(OpenError::Volatile { path: path.to_owned(), kind });
        }
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|source| OpenError::write(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(OpenError::write(&lock_path, source)),
        }
        let lock = Lock(lock);
        let state = read_state(path)?;
        Ok((lock, state))
    }

    pub(super) fn new(path: &Path, lock: Lock, state: State, ballast_bytes: u64) -> Folder {
        Folder { path: path.to_owned(), state: Mutex::new(state), ballast_bytes, _lock: lock }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn journal_dir(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(super) fn quarantine_dir(&self) -> PathBuf {
        self.path.join("quarantine")
    }

    pub(super) fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state on disk, then in memory. On an error the one on disk is either of the two.
    pub(super) fn update(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = *held;
        change(&mut state);
        write_state(&self.path, state)?;
        *held = state;
        Ok(())
    }

    /// The state as it is found on disk, now.
    pub(super) fn state_on_disk(&self) -> Result<Option<State>, OpenError> {
        read_state(&self.path)
    }

    /// Free bytes for this process on the folder's file system.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.path)
    }

    /// Gives the ballast up; whether there was one.
    pub(super) fn drop_ballast(&self) -> bool {
        drop_ballast(&self.path).unwrap_or_else(|error| {
            tracing::warn!(%error, "the ballast cannot be given up");
            false
        })
    }

    /// Keeps the ballast there while there is room for it beside `free_bytes_min`.
    pub(super) fn keep_ballast(&self, free_bytes_min: u64) -> io::Result<()> {
        let path = self.path.join(BALLAST);
        let wanted = free_bytes_min.saturating_add(self.ballast_bytes.saturating_mul(2));
        // One that is shorter was being made when the process ended.
        let is_there = std::fs::metadata(&path).is_ok_and(|data| data.len() >= self.ballast_bytes);
        if self.ballast_bytes == 0 || is_there || self.free_bytes()? < wanted {
            return Ok(());
        }
        let file = File::create(&path)?;
        let made = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.ballast_bytes);
        if made.is_err() {
            std::fs::remove_file(&path)?;
        }
        Ok(())
    }
}

/// Gives the ballast up when there is hardly room to open the store.
pub(super) fn drop_ballast_if_full(path: &Path) -> Result<(), OpenError> {
    let free = free_bytes(path).map_err(|source| OpenError::read(path, source))?;
    if free < OPENING_BYTES {
        drop_ballast(path).map_err(|source| OpenError::write(&path.join(BALLAST), source))?;
    }
    Ok(())
}

/// Whether there was a ballast.
fn drop_ballast(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path.join(BALLAST)) {
        Ok(()) => {
            tracing::warn!("the disk is nearly full: the ballast is given up");
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder and what leads to it, for this user alone: conversions hold personal data. Each new one is synced with
/// its parent.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_dir(parent)?;
    }
    let made = DirBuilder::new().mode(OWNER_ONLY).create(path);
    made.or_else(|error| if path.is_dir() { Ok(()) } else { Err(error) })?;
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// Whether an error says that there is no space, now.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    sync(&File::open(path)?)
}

/// Makes a file durable. A failure is never a want of room that passes: what was written may be gone, and a second try
/// would say that it is there.
pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_all().map_err(|error| io::Error::other(format!("syncing failed: {error}")))
}

pub(super) fn write_state(folder: &Path, state: State) -> io::Result<()> {
    let mut w = Writer::with_capacity(STATE_LEN);
    w.raw(&STATE_MAGIC);
    w.u32(FORMAT);
    w.u64(state.epoch);
    w.u64(state.generation);
    w.u64(state.oldest_segment);
    w.u64(state.newest_segment);
    w.u64(state.moved_seq);
    w.u64(state.store_seq);
    w.u64(state.history_seq);
    w.u64(state.oldest_history);
    w.u64(state.newest_history);
    w.u64(state.oldest_key);
    w.u64(state.newest_key);
    w.u64(u64::from(state.is_keyed));
    w.u64(state.unclean_generation);
    w.u64(state.unclean_segment);
    w.u64(state.newest_backlog);
    let mut bytes = w.finish();
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    let (made, path) = (folder.join("state.new"), folder.join(STATE));
    let mut file = File::create(&made)?;
    file.write_all(&bytes)?;
    sync(&file)?;
    std::fs::rename(&made, &path)?;
    sync_dir(folder)
}

pub(super) fn read_state(folder: &Path) -> Result<Option<State>, OpenError> {
    let path = folder.join(STATE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Read { path, source }),
    };
    let whole = bytes.split_last_chunk::<4>().filter(|(covered, crc)| crc32c::crc32c(covered).to_le_bytes() == **crc);
    let read = |covered: &[u8]| {
        let mut r = Reader::new(covered);
        let magic = r.raw(STATE_MAGIC.len()).ok()?;
        let format = r.u32().ok().filter(|_| magic == STATE_MAGIC)?;
        let mut next = || r.u64().unwrap_or_default();
        let state = State {
            epoch: next(),
            generation: next(),
            oldest_segment: next(),
            newest_segment: next(),
            moved_seq: next(),
            store_seq: next(),
            history_seq: next(),
            oldest_history: next(),
            newest_history: next(),
            oldest_key: next(),
            newest_key: next(),
            is_keyed: next() == 1,
            unclean_generation: next(),
            unclean_segment: next(),
            newest_backlog: next(),
        };
        Some((format, state))
    };
    match whole.and_then(|(covered, _)| read(covered)) {
        Some((FORMAT, state)) => Ok(Some(state)),
        Some((found, _)) if found < FORMAT => Err(OpenError::Older { path: folder.to_owned(), found, known: FORMAT }),
        Some((found, _)) => Err(OpenError::Newer { path: folder.to_owned(), found, known: FORMAT }),
        None => Err(OpenError::damaged(&path, "its checksum does not match")),
    }
}

pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn volatile(path: &Path) -> Result<Option<&'static str>, OpenError> {
    let stat = rustix::fs::statfs(path).map_err(|error| OpenError::read(path, error.into()))?;
    let magic = u64::try_from(stat.f_type).unwrap_or_default() & 0xffff_ffff;
    Ok(VOLATILE.iter().find(|(known, _)| *known == magic).map(|(_, kind)| *kind))
}

/// File systems that keep nothing, by their `statfs` magic (linux/magic.h).
const VOLATILE: [(u64, &str); 3] =
    [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs"), (0x794c_7630, "overlayfs (a container's own layer)")];
const STATE: &str = "state";
const BALLAST: &str = "ballast";
const OWNER_ONLY: u32 = 0o700;
const STATE_MAGIC: [u8; 8] = *b"capiQue\n";
/// Version of the whole folder's format.
const FORMAT: u32 = 6;
const STATE_LEN: usize = 136;
/// sled cannot open without writing: with less than this the ballast is given up first.
const OPENING_BYTES: u64 = 16 * 1024 * 1024;
