//! The journal: what is accepted and not yet in the store, and what became of deliveries, in append-only segments.
//!
//! **Promises.** [`Journal::append`] returns after `fdatasync`. A commit is kept whole or not at all. Blocks are allocated
//! before they are needed, so a full disk is met when a segment is made and refuses work; it never breaks a commit.
//!
//! **Never.** A file is not appended to across a restart: each opening begins a new segment, so what a crash tore is never
//! written behind. It takes the place of the last one where that holds no record: starts that come to nothing leave one
//! segment, however many they are. A segment is not given up before the store has synced everything in it ([`Segments::release`]).

mod replay;

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::codec::Malformed;
use super::folder::{Folder, OpenError, State, is_full, sync_dir};
use super::log::frame::{self, Stamp};
use super::log::segment::{self, DATA_START, Segment};
use super::record;
use super::vault::PLAIN;

pub(super) use self::replay::{Replayed, replay};

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A conversion was accepted.
    Accepted,
    /// A delivery was settled or put off.
    Settled,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Accepted => 1,
            Kind::Settled => 2,
        }
    }

    pub(super) fn of(number: u8) -> Result<Kind, Malformed> {
        match number {
            1 => Ok(Kind::Accepted),
            2 => Ok(Kind::Settled),
            _ => Err(Malformed("kind of a record")),
        }
    }
}

/// The end of the journal that is written. Owned by the committer.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    folder: Arc<Folder>,
    segments: Arc<Segments>,
    segment_bytes: u64,
    active: Segment,
    /// Where the next commit goes.
    at: u64,
    next_seq: u64,
    /// Whether the next segment's blocks are allocated: a full disk is noticed while there is room left.
    prepared: bool,
    /// The next segment has its name already, with the sequence number that follows this one's last commit: nothing more may
    /// be written here.
    sealed: bool,
    buffer: Vec<u8>,
}

/// Why a commit was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendError {
    /// No room for another segment: nothing was written, and the journal goes on when there is room again.
    #[error("no space for the journal: {0}")]
    NoSpace(#[source] io::Error),
    /// Whether it was kept cannot be known: nothing may be acknowledged any more.
    #[error("{doing} failed: {source}")]
    Failed { doing: &'static str, source: io::Error },
}

impl Journal {
    /// Begins a new segment behind what was replayed: as large as there is room.
    pub(super) fn begin(
        folder: Arc<Folder>,
        segments: Arc<Segments>,
        replayed: &Replayed,
        segment_bytes: u64,
    ) -> Result<Journal, OpenError> {
        let dir = folder.journal_dir();
        let last = replayed.segments.last().map(|(number, _)| *number);
        let newest = folder.state().newest_segment.max(last.unwrap_or(0));
        let empty = last.filter(|_| replayed.is_last_empty);
        let number = empty.unwrap_or(newest.saturating_add(1));
        let least = SEGMENT_BYTES_MIN.min(segment_bytes);
        let active = empty
            .map_or(Ok(()), |empty| segment::cut_short(&dir, empty))
            .and_then(|()| segment::bytes_within(&dir, &folder, segment_bytes, least))
            .and_then(|bytes| make(&dir, &folder, &segments, number, replayed.next_seq, bytes))
            .map_err(|source| OpenError::write(&dir, source))?;
        if empty.is_none() {
            segments.begin(number);
        }
        Ok(Journal {
            dir,
            folder,
            segments,
            segment_bytes,
            active,
            at: DATA_START,
            next_seq: replayed.next_seq,
            prepared: false,
            sealed: false,
            buffer: Vec::new(),
        })
    }

    /// Sequence number that the next record gets.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Writes the records as one commit and returns once it is on stable storage. The first one gets
    /// [`Journal::next_seq`]. `through` is what the segment must wait for before it may be given up.
    pub(super) fn append<'a>(
        &mut self,
        records: impl Iterator<Item = (Kind, &'a [u8])> + Clone,
        through: Through,
    ) -> Result<(), AppendError> {
        let records = records.map(|(kind, payload)| (kind.number(), payload));
        let body = records.clone().fold(0_u64, |sum, (_, payload)| sum.saturating_add(frame::record_len(payload)));
        let count = u64::try_from(records.clone().count()).unwrap_or(u64::MAX);
        let len = frame::frame_len(body);
        if self.sealed || self.at.saturating_add(len) > self.active.bytes {
            self.roll(len)?;
        }
        self.buffer.clear();
        frame::encode(&mut self.buffer, self.active.stamp, self.next_seq, records.clone());
        self.active
            .file
            .write_all_at(&self.buffer, self.at)
            .map_err(|source| AppendError::of("writing the journal", source))?;
        self.active.file.sync_data().map_err(|source| AppendError::Failed { doing: "syncing the journal", source })?;
        self.at = self.at.saturating_add(len);
        self.next_seq = self.next_seq.saturating_add(count);
        let keys = records.filter_map(|(_, payload)| record::key_number(payload).ok());
        self.segments.wrote(self.active.stamp.segment, through, keys.filter(|number| *number != PLAIN).min());
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Allocates the next segment's blocks when this one is half full. Not having room for them yet is no error: it is
    /// tried again.
    pub(super) fn prepare(&mut self) -> Result<(), AppendError> {
        let half = self.active.bytes.checked_div(2).unwrap_or(0);
        if self.prepared || self.at < half {
            return Ok(());
        }
        let spare = self.segments.lock_spare();
        match segment::allocate_spare(&self.dir, self.segment_bytes) {
            Ok(_) => self.prepared = true,
            Err(source) if is_full(&source) => {
                tracing::warn!(error = %source, "no space to prepare the next journal segment");
            }
            Err(source) => return Err(AppendError::Failed { doing: "making a journal segment", source }),
        }
        drop(spare);
        Ok(())
    }

    /// Goes on in the next segment when what is in this one was sealed before data key `number` was made, or may be bytes of
    /// what was to be forgotten: what is here is given up in time, however little is accepted. Without room for another
    /// segment this one goes on.
    pub(super) fn leave_old(&mut self, number: u64) -> Result<(), AppendError> {
        let oldest = self.segments.oldest_key_of(self.active.stamp.segment);
        let is_old = oldest.is_some_and(|oldest| oldest < number);
        if !is_old && !self.segments.is_to_be_left(self.active.stamp.segment) {
            return Ok(());
        }
        match self.roll(0) {
            Ok(()) | Err(AppendError::NoSpace(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Goes on in the next segment, which has room for a commit of `len`.
    fn roll(&mut self, len: u64) -> Result<(), AppendError> {
        let bytes = self.segment_bytes.max(len.saturating_add(DATA_START));
        let number = self.active.stamp.segment.saturating_add(1);
        let made = make(&self.dir, &self.folder, &self.segments, number, self.next_seq, bytes);
        // Named, and then no room for the state file: a commit behind that name's back would be damage to the next start.
        self.sealed = made.is_err() && segment::path(&self.dir, number).exists();
        let next = made.map_err(|source| AppendError::of("making a journal segment", source))?;
        self.segments.begin(number);
        self.active = next;
        self.at = DATA_START;
        self.prepared = false;
        Ok(())
    }
}

impl AppendError {
    fn of(doing: &'static str, source: io::Error) -> AppendError {
        if is_full(&source) { AppendError::NoSpace(source) } else { AppendError::Failed { doing, source } }
    }
}

/// Makes segment `number`, in the place of one of that number if there is any, and notes in the state file that it must be
/// there from now on.
fn make(
    dir: &Path,
    folder: &Folder,
    segments: &Segments,
    number: u64,
    first_seq: u64,
    bytes: u64,
) -> io::Result<Segment> {
    let stamp = Stamp { segment: number, salt: rand::random() };
    // Whoever waits to remove the spare file finds none, and then that this one may have been it.
    let _spare = segments.lock_spare();
    let segment = Segment::make(dir, stamp, first_seq, bytes)?;
    folder.update(|state| state.newest_segment = number)?;
    Ok(segment)
}

/// What must have been synced by the store before a segment may be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Through {
    /// Every conversion up to this sequence number has been moved.
    pub(super) moved_seq: u64,
    /// So many of the changes to moved deliveries have been applied.
    pub(super) changes: u64,
}

impl Through {
    fn covers(self, needed: Through) -> bool {
        self.moved_seq >= needed.moved_seq && self.changes >= needed.changes
    }

    fn max(self, other: Through) -> Through {
        Through { moved_seq: self.moved_seq.max(other.moved_seq), changes: self.changes.max(other.changes) }
    }
}

/// What is known of a segment.
#[derive(Debug)]
struct Note {
    number: u64,
    needed: Through,
    /// Of the data keys with which its records are sealed.
    oldest_key: Option<u64>,
}

/// Which segments there are and what each waits for. Shared by the committer (writes) and the mover (gives up).
#[derive(Debug, Default)]
pub(super) struct Segments {
    notes: Mutex<VecDeque<Note>>,
    /// Held while the spare file is made, used or replaced.
    spare: Mutex<()>,
    /// Those up to this one are removed when they are given up, and not used again.
    unclean: AtomicU64,
}

impl Segments {
    pub(super) fn of(state: State) -> Segments {
        Segments { unclean: AtomicU64::new(state.unclean_segment), ..Segments::default() }
    }

    /// A segment that was read back or begun; it is the newest.
    pub(super) fn begin(&self, number: u64) {
        self.lock().push_back(Note { number, needed: Through::default(), oldest_key: None });
    }

    /// Something was written to (or read from) the segment, sealed with this data key or later ones.
    pub(super) fn wrote(&self, number: u64, through: Through, oldest_key: Option<u64>) {
        let mut notes = self.lock();
        if let Some(note) = notes.iter_mut().rev().find(|note| note.number == number) {
            note.needed = note.needed.max(through);
            note.oldest_key = note.oldest_key.into_iter().chain(oldest_key).min();
        }
    }

    /// The oldest of the data keys that are needed here.
    pub(super) fn oldest_key(&self) -> Option<u64> {
        self.lock().iter().filter_map(|note| note.oldest_key).min()
    }

    fn oldest_key_of(&self, number: u64) -> Option<u64> {
        self.lock().iter().rev().find(|note| note.number == number).and_then(|note| note.oldest_key)
    }

    /// Gives up the oldest segments that wait for nothing beyond `synced`; the newest always stays. The state file says so
    /// before a file goes, with what must be found elsewhere from then on.
    pub(super) fn release(&self, folder: &Folder, synced: Through, note: impl FnOnce(&mut State)) -> io::Result<usize> {
        let (released, oldest) = {
            let notes = self.lock();
            let last = notes.len().saturating_sub(1);
            let covered = notes.iter().take(last).take_while(|note| synced.covers(note.needed));
            let released: Vec<u64> = covered.map(|note| note.number).collect();
            let oldest = notes.get(released.len()).map(|note| note.number);
            (released, oldest)
        };
        let Some(oldest) = oldest.filter(|_| !released.is_empty()) else {
            return Ok(0);
        };
        folder.update(|state| {
            state.oldest_segment = oldest;
            note(state);
        })?;
        let dir = folder.journal_dir();
        let spare = self.lock_spare();
        for number in &released {
            let path = segment::path(&dir, *number);
            if self.is_unclean(*number) || segment::spare_path(&dir).exists() {
                std::fs::remove_file(path)?;
            } else {
                std::fs::rename(path, segment::spare_path(&dir))?;
            }
        }
        drop(spare);
        // Told when their bytes are gone.
        self.lock().drain(..released.len());
        Ok(released.len())
    }

    /// The file kept for the next segment goes, with what it held.
    pub(super) fn remove_spare(&self, dir: &Path) -> io::Result<()> {
        let _spare = self.lock_spare();
        match std::fs::remove_file(segment::spare_path(dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => sync_dir(dir),
        }
    }

    /// From now on nothing that is given up is used again …
    pub(super) fn use_none_again(&self) {
        self.unclean.store(u64::MAX, Ordering::Release);
    }

    /// … but what is newer than this.
    pub(super) fn are_unclean_to(&self, number: u64) {
        self.unclean.store(number, Ordering::Release);
    }

    fn is_unclean(&self, number: u64) -> bool {
        number <= self.unclean.load(Ordering::Acquire)
    }

    /// Not while none is used again: however long that stays so, one after the other would be left.
    fn is_to_be_left(&self, number: u64) -> bool {
        let unclean = self.unclean.load(Ordering::Acquire);
        unclean != u64::MAX && number <= unclean
    }

    /// The number of the oldest segment.
    pub(super) fn oldest(&self) -> u64 {
        self.lock().front().map_or(0, |note| note.number)
    }

    /// The number of the newest segment: the one that is written.
    pub(super) fn newest(&self) -> u64 {
        self.lock().back().map_or(0, |note| note.number)
    }

    /// Segments there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_spare(&self) -> std::sync::MutexGuard<'_, ()> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes files of segments that were given up when the process ended before it could remove them.
pub(super) fn remove_released(folder: &Folder) -> io::Result<()> {
    let dir = folder.journal_dir();
    let oldest = folder.state().oldest_segment;
    for number in segment::numbers(&dir)?.into_iter().filter(|number| *number < oldest) {
        std::fs::remove_file(segment::path(&dir, number))?;
    }
    sync_dir(&dir)
}

/// Removes the spare file when it may be one that is not to be used again.
pub(super) fn remove_unclean_spare(folder: &Folder) -> io::Result<()> {
    let state = folder.state();
    let is_clean = state.unclean_segment < state.oldest_segment;
    if is_clean { Ok(()) } else { Segments::default().remove_spare(&folder.journal_dir()) }
}

/// Whether the journal's folder holds any segment.
pub(super) fn is_empty(dir: &Path) -> io::Result<bool> {
    Ok(!dir.exists() || segment::numbers(dir)?.is_empty())
}

/// Of the first segment where there is little room: what is settled meanwhile finds a place.
const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
/// A larger buffer than this was needed for one large conversion, and is given back.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

#[cfg(test)]
mod tests;
