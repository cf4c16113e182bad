//! The history: what became of conversions that nothing is owed of any more, and which keys were used.
//!
//! Most of what is accepted is delivered at once. Of that the store would hold three entries in random places each, to be
//! removed again after some days; here it is one record appended, found through an index, and given up with its whole
//! segment. Measured, this is what lets the mover keep up with the journal.
//!
//! **Promises.** [`History::append`] returns after `fdatasync`; only then a record is found. Each segment is an append-only
//! log; when it is full, its index is written behind its commits, and it never changes again. Memory holds the index of the
//! segment that is written and a filter of fixed size for each of the newest others.
//!
//! **Never.** Nothing here is owed to anybody: what waits, and dead letters, are the backlog's.
//!
//! | file | owns |
//! | --- | --- |
//! | `form` | a record as bytes |
//! | `batch` | what is appended together |
//! | `table` | where records are found |
//! | `filter` | which keys are not in a segment |
//! | `mark` | how far things had come, and when they were received |
//! | `full` | a segment that is full, and its index |
//! | `place` | a segment that may hold what is asked for, read |
//! | `expiry` | what is too old, given up |
//! | `erase` | what is to be forgotten, taken out of full segments |
//! | `scan` | all that was settled, from the first on |
//! | `opening` | taking up what an earlier process left |

mod batch;
mod erase;
mod expiry;
mod filter;
mod form;
mod full;
mod mark;
mod opening;
mod place;
mod scan;
mod table;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use self::filter::Filter;
use self::form::{Kept, Names, kind};
use self::full::{Full, REPLACED};
use self::mark::Received;
use self::place::Place;
use self::table::{By, Open};
use super::OF_ORDER_MAX;
use super::folder::{Folder, OpenError, State, is_full, sync_dir};
use super::log::frame::{self, Stamp};
use super::log::segment::{self, DATA_START, Segment};
use super::record::Settled;
use super::status::Status;
use super::store::StoreError;
use super::vault::{KeyHash, Vault};
use crate::conversion::ConversionId;

pub(super) use self::batch::Batch;
pub(super) use self::mark::Mark;
pub(super) use self::scan::Met;

/// The open history of a folder. Written by the mover alone; read from anywhere but a runtime thread.
#[derive(Debug)]
pub(super) struct History {
    dir: PathBuf,
    vault: Arc<Vault>,
    segment_bytes: u64,
    end: Mutex<End>,
    index: RwLock<Index>,
}

/// Where it is written.
#[derive(Debug)]
struct End {
    /// `None`: the next append begins one.
    segment: Option<Segment>,
    /// Of the newest segment.
    number: u64,
    at: u64,
    next_seq: u64,
    mark: Mark,
    buffer: Vec<u8>,
}

/// Where things are found.
#[derive(Debug, Default)]
struct Index {
    /// Oldest first.
    full: VecDeque<Arc<Full>>,
    written: Option<Written>,
    /// Of the first record that is kept.
    first_seq: u64,
}

/// What is known of the segment that is being written.
#[derive(Debug)]
struct Written {
    file: Arc<File>,
    tables: Open,
    filter: Filter,
    received: Received,
    /// When its first commit was written (Unix ms).
    since_ms: Option<u64>,
    keys: usize,
    /// Of the data keys with which its records are sealed.
    oldest_key: Option<u64>,
}

/// Who used a key first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct First {
    pub(super) id: ConversionId,
    /// Of its content ([`Vault::digest`]).
    pub(super) digest: KeyHash,
    /// It was erased: nothing else is known of it.
    pub(super) is_erased: bool,
}

impl History {
    /// Opens what the state says must be there; what was torn by a crash is cut off.
    pub(super) fn open(
        folder: &Path,
        quarantine: &Path,
        state: State,
        segment_bytes: u64,
        vault: Arc<Vault>,
    ) -> Result<History, OpenError> {
        let dir = folder.join("history");
        let (end, index) = opening::open(&dir, quarantine, state, segment_bytes)?;
        Ok(History { dir, vault, segment_bytes, end: Mutex::new(end), index: RwLock::new(index) })
    }

    /// Begins one behind segment `number`, of which nothing is known.
    pub(super) fn begin_anew(
        dir: PathBuf,
        vault: Arc<Vault>,
        (number, next_seq, mark): (u64, u64, Mark),
        segment_bytes: u64,
    ) -> History {
        let end = End { segment: None, number, at: 0, next_seq, mark, buffer: Vec::new() };
        let index = RwLock::new(Index { first_seq: next_seq, ..Index::default() });
        History { dir, vault, segment_bytes, end: Mutex::new(end), index }
    }

    /// Sequence number of the first record that is kept: what was learned before is known no more.
    pub(super) fn first_seq(&self) -> u64 {
        self.index.read().unwrap_or_else(PoisonError::into_inner).first_seq
    }

    /// Whatever was settled since then is known here (Unix ms): what was before may have been given up, or lost.
    pub(super) fn complete_since_ms(&self) -> u64 {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        if index.first_seq <= FIRST_SEQ {
            return 0;
        }
        // Of a full segment it is said when its last record was written.
        let oldest = index.full.front().map(|full| full.mark.written_ms);
        oldest.or(index.written.as_ref().and_then(|written| written.since_ms)).unwrap_or(u64::MAX)
    }

    /// Sequence number of the next record: how far the history has come.
    pub(super) fn next_seq(&self) -> u64 {
        self.lock_end().next_seq
    }

    /// How far conversions had been moved, by what was appended last.
    pub(super) fn mark(&self) -> Mark {
        self.lock_end().mark
    }

    /// Appends the batch and returns once it is on stable storage. Without room for another segment nothing is written ([`StoreError::NoSpace`]).
    pub(super) fn append(&self, folder: &Folder, batch: &Batch, mark: Mark) -> Result<(), StoreError> {
        let mut held = self.lock_end();
        let end = &mut *held;
        let mark = end.mark.max(mark);
        let through = mark.encode();
        let records = batch.records.iter().map(|(kind, _, payload)| (*kind, payload.as_slice()));
        let records = std::iter::once((kind::THROUGH, through.as_slice())).chain(records);
        let body = records.clone().fold(0_u64, |sum, (_, payload)| sum.saturating_add(frame::record_len(payload)));
        let len = frame::frame_len(body);
        let is_full = |segment: &Segment| end.at.saturating_add(len) > segment.bytes || self.has_many_keys();
        if end.segment.as_ref().is_none_or(is_full) {
            self.roll(folder, end, len).map_err(StoreError::of)?;
        }
        let Some(segment) = &end.segment else { return Err(StoreError::of(io::ErrorKind::NotFound.into())) };
        end.buffer.clear();
        frame::encode(&mut end.buffer, segment.stamp, end.next_seq, records);
        segment.file.write_all_at(&end.buffer, end.at).map_err(StoreError::Sync)?;
        segment.file.sync_data().map_err(StoreError::Sync)?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = &mut index.written {
            written.since_ms.get_or_insert(mark.written_ms);
            written.is_sealed_with(batch.oldest_key);
            let mut at = end.at.saturating_add(frame::HEADER_BYTES).saturating_add(frame::record_len(&through));
            for (kind, names, payload) in &batch.records {
                written.insert(*kind, names, at);
                at = at.saturating_add(frame::record_len(payload));
            }
        }
        drop(index);
        end.at = end.at.saturating_add(len);
        let count = u64::try_from(batch.records.len()).unwrap_or(u64::MAX);
        end.next_seq = end.next_seq.saturating_add(count).saturating_add(1);
        end.mark = mark;
        Ok(())
    }

    /// With more, the filter of the segment that is written would say "perhaps" to most.
    fn has_many_keys(&self) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.written.as_ref().is_some_and(|written| written.keys >= KEYS_MAX)
    }

    /// Ends the segment that is written and begins the next, with room for a commit of `len`.
    fn roll(&self, folder: &Folder, end: &mut End, len: u64) -> io::Result<()> {
        seal(&self.dir, end, &self.index)?;
        let number = end.number.saturating_add(1);
        let stamp = Stamp { segment: number, salt: rand::random() };
        let bytes = self.bytes_of_next(folder, len.saturating_add(DATA_START))?;
        let segment = Segment::make(&self.dir, stamp, end.next_seq, bytes)?;
        folder.update(|state| state.newest_history = number)?;
        let written = Written::new(&segment)?;
        self.index.write().unwrap_or_else(PoisonError::into_inner).written = Some(written);
        (end.number, end.at, end.segment) = (number, DATA_START, Some(segment));
        Ok(())
    }

    /// As large as there is room, so that what is settled need not wait while there is some; what is left then is the store's.
    fn bytes_of_next(&self, folder: &Folder, least: u64) -> io::Result<u64> {
        let wanted = self.segment_bytes.max(least);
        let least = SEGMENT_BYTES_MIN.min(self.segment_bytes).max(least);
        segment::bytes_within(&self.dir, folder, wanted, least)
    }

    /// The conversion that used a key and was received at `from_ms` or later: the first that is known or was erased, for a key
    /// may have outlived what used it and have been used anew since.
    pub(super) fn first_with(
        &self,
        key: &KeyHash,
        from_ms: u64,
        is_known: impl Fn(ConversionId) -> Result<bool, StoreError>,
    ) -> Result<Option<First>, StoreError> {
        let by = By::Key(*key);
        let recent = |kind, kept: Kept<'_>| {
            let Names { id, digest, .. } = kept.names;
            let is_erased = kind == kind::ERASED;
            Ok((id.unix_ms() >= from_ms).then_some(First { id, digest, is_erased }))
        };
        let known = |first: First| Ok::<_, StoreError>((first.is_erased || is_known(first.id)?).then_some(first));
        self.looked(|| {
            for place in self.places(by, |received| received.last_ms >= from_ms) {
                let first = place.records(by, recent)?.into_iter().find_map(|first| known(first).transpose());
                if let Some(first) = first.transpose()? {
                    return Ok(Some(first));
                }
            }
            Ok(None)
        })
    }

    /// The conversions known here that used a key, and whether each was erased.
    pub(super) fn users(&self, key: &KeyHash) -> Result<Vec<(ConversionId, bool)>, StoreError> {
        self.looked(|| {
            let by = By::Key(*key);
            let mut users = Vec::new();
            for place in self.places(by, |_| true) {
                users.append(&mut place.records(by, |kind, kept| Ok(Some((kept.names.id, kind == kind::ERASED))))?);
            }
            Ok(users)
        })
    }

    /// What became of a conversion of which nothing is owed any more.
    pub(super) fn status(&self, id: ConversionId) -> Result<Option<Status>, StoreError> {
        Ok(self.settled(id)?.map(Settled::into_status))
    }

    /// A conversion of which nothing is owed any more; what was written last counts.
    pub(super) fn settled(&self, id: ConversionId) -> Result<Option<Settled>, StoreError> {
        self.looked(|| {
            let by = By::Id(id);
            let received = |received: &Received| (received.first_ms..=received.last_ms).contains(&id.unix_ms());
            for place in self.places(by, received) {
                let settled =
                    |kind, kept: Kept<'_>| (kind == kind::SETTLED).then(|| kept.settled(&self.vault)).transpose();
                if let Some(settled) = place.records(by, settled)?.pop() {
                    return Ok(Some(settled));
                }
            }
            Ok(None)
        })
    }

    /// Ids of conversions for an order, those that came here last, at most [`OF_ORDER_MAX`].
    pub(super) fn order(&self, order: &KeyHash) -> Result<Vec<ConversionId>, StoreError> {
        self.looked(|| {
            let by = By::Order(*order);
            let mut ids = Vec::new();
            for place in self.places(by, |_| true) {
                let left = OF_ORDER_MAX.saturating_sub(ids.len());
                // One that waited is here twice.
                let mut found = place.last_records(by, left.saturating_mul(2), |_, kept| Ok(Some(kept.names.id)))?;
                found.retain(|id| !ids.contains(id));
                found.sort_unstable();
                found.dedup();
                ids.extend(found.into_iter().rev().take(left));
            }
            Ok(ids)
        })
    }

    /// The oldest of the data keys that are needed here.
    pub(super) fn oldest_key(&self) -> Option<u64> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let full = index.full.iter().filter_map(|full| full.oldest_key);
        full.chain(index.written.as_ref().and_then(|written| written.oldest_key)).min()
    }

    /// Full segments whose tables are damaged: reads all of them.
    pub(super) fn with_damaged_tables(&self) -> Vec<u64> {
        let full = self.full();
        full.iter().filter(|full| full.verify_tables().is_err()).map(|full| full.number).collect()
    }

    /// Makes the tables anew that are damaged, without waiting for who asks.
    pub(super) fn mend_tables(&self) -> Result<(), StoreError> {
        self.full().iter().try_for_each(|full| full.mend_tables()).map_err(StoreError::History)
    }

    fn full(&self) -> Vec<Arc<Full>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.full.iter().map(Arc::clone).collect()
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let full = index.full.iter().fold(0_u64, |sum, full| sum.saturating_add(full.bytes));
        let written = index.written.as_ref().and_then(|written| written.file.metadata().ok());
        full.saturating_add(written.map_or(0, |metadata| metadata.len()))
    }

    /// Looks again when a segment was written anew while it was looked into.
    fn looked<T>(&self, look: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
        for _ in 0..LOOKS_MAX {
            match look() {
                Err(StoreError::History(error)) if error.kind() == REPLACED => {}
                looked => return looked,
            }
        }
        look()
    }

    /// Where to look, the newest first. Nothing is read under the lock.
    fn places(&self, by: By, concerns: impl Fn(&Received) -> bool) -> Vec<Place> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut places = Vec::new();
        if let Some(written) = index.written.as_ref().filter(|written| by.may_be_in(&written.filter)) {
            let found = written.tables.find(by);
            if !found.is_empty() {
                places.push(Place::Written(Arc::clone(&written.file), found));
            }
        }
        let full = index.full.iter().rev().filter(|full| concerns(&full.received) && full.may_hold(by));
        places.extend(full.map(|full| Place::Full(Arc::clone(full))));
        places
    }

    fn lock_end(&self) -> std::sync::MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Of those that are too old to be asked often none is kept.
    fn keep_newest_filters(&mut self) {
        let beyond = self.full.len().saturating_sub(FILTERS_MAX);
        for full in self.full.iter_mut().take(beyond).filter(|full| full.is_asked_often()) {
            Arc::make_mut(full).set_aside();
        }
    }
}

impl Written {
    fn new(segment: &Segment) -> io::Result<Written> {
        Ok(Written {
            file: Arc::new(segment.file.try_clone()?),
            tables: Open::default(),
            filter: Filter::new(),
            received: Received::NONE,
            since_ms: None,
            keys: 0,
            oldest_key: None,
        })
    }

    fn is_sealed_with(&mut self, key: Option<u64>) {
        self.oldest_key = self.oldest_key.into_iter().chain(key).min();
    }

    fn insert(&mut self, kind: u8, names: &Names, at: u64) {
        self.filter.insert(&names.key);
        self.keys = self.keys.saturating_add(1);
        self.received.add(names.id.unix_ms());
        // A segment is never larger than what this counts.
        self.tables.insert(names, kind == kind::SETTLED, u32::try_from(at).unwrap_or(u32::MAX));
    }
}

impl StoreError {
    /// Of making room: nothing was written yet of what was to be kept.
    fn of(source: io::Error) -> StoreError {
        if is_full(&source) { StoreError::NoSpace(source) } else { StoreError::Sync(source) }
    }
}

/// Ends the segment that is written, if there is one: its index goes behind its commits.
fn seal(dir: &Path, end: &mut End, index: &RwLock<Index>) -> io::Result<()> {
    let full = {
        let index = index.read().unwrap_or_else(PoisonError::into_inner);
        match (&end.segment, &index.written) {
            (Some(segment), Some(written)) => {
                Some(Full::make(dir, segment, (end.at, end.next_seq, end.mark), written)?)
            }
            _ => None,
        }
    };
    let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
    (end.segment, index.written) = (None, None);
    index.full.extend(full.map(Arc::new));
    index.keep_newest_filters();
    Ok(())
}

/// Removes files of segments that were given up.
fn remove_expired(dir: &Path, oldest: u64) -> io::Result<()> {
    let expired: Vec<u64> = segment::numbers(dir)?.into_iter().filter(|number| *number < oldest).collect();
    for number in &expired {
        std::fs::remove_file(segment::path(dir, *number))?;
    }
    if expired.is_empty() { Ok(()) } else { sync_dir(dir) }
}

/// Of a segment for which there is little room: it holds some thousand conversions, and its index with its filter comes to
/// a fifth of it.
const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
/// Segments are seldom written anew, and one is not again at once.
const LOOKS_MAX: usize = 16;
/// Filters in memory, of 64 KiB each: some seventeen million conversions within the window of deduplication. Segments
/// beyond are asked with a read each.
const FILTERS_MAX: usize = 384;
/// Keys in a segment: a filter has ten bits for each of so many. Only what waits, and has no more here than its key, comes
/// to more in the segment's bytes.
const KEYS_MAX: usize = 50_000;
/// Of the first record that there is of a folder.
const FIRST_SEQ: u64 = 1;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests;
