//! A history begun anew with all that the old one's whole commits hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::clock::Clock;
use super::super::folder::{Folder, OpenError, State};
use super::super::history::{Batch, History, Mark};
use super::super::log::segment::{self, Segment};
use super::super::log::{frame, salvage};
use super::super::shared::Options;
use super::super::store::{Ledger, Store, StoreError};
use super::super::vault::Vault;
use super::aside::keep_aside;

/// Reads every commit, also those of full segments, which an opening leaves unread.
pub(super) fn verify(path: &Path, state: State) -> Result<(), OpenError> {
    let dir = path.join("history");
    let read = |source| OpenError::read(&dir, source);
    let numbers = segment::numbers(&dir).map_err(read)?;
    let mut expected = None;
    for number in numbers.into_iter().filter(|number| *number >= state.oldest_history) {
        let damaged = |why: &str| OpenError::damaged(&dir, format!("history segment {number:016x}: {why}"));
        let segment = Segment::open(&dir, number).map_err(read)?.map_err(damaged)?;
        let mut next_seq = expected.unwrap_or(segment.first_seq);
        let visited = salvage(&segment, |_, header, _| {
            if header.first_seq != next_seq {
                return Err(damaged("commits in it are damaged"));
            }
            next_seq = next_seq.saturating_add(u64::from(header.count));
            Ok(())
        });
        visited.map_err(read)??;
        expected = Some(next_seq);
    }
    if expected.is_some_and(|next_seq| next_seq < state.history_seq) {
        return Err(OpenError::damaged(&dir, "commits at its end are damaged"));
    }
    Ok(())
}

/// Writes the new segments behind the old ones; the old are not needed any more once the state says so. Returns it, and
/// where the old ones are kept.
pub(super) fn rebuild(
    path: &Path,
    quarantine: &Path,
    folder: &Folder,
    vault: &Arc<Vault>,
    store: &Store,
    ledger: &Ledger,
    options: &Options,
) -> Result<(History, Vec<PathBuf>), OpenError> {
    let dir = path.join("history");
    let read = |source| OpenError::read(&dir, source);
    let write = |source| OpenError::write(&dir, source);
    let failed = |error: StoreError| OpenError::store(&dir, &error);
    let state = folder.state();
    let numbers = segment::numbers(&dir).map_err(read)?;
    // Of one that was begun before, for which there was no room perhaps: what is in them is made again.
    let (begun, old): (Vec<u64>, Vec<u64>) = numbers.into_iter().partition(|number| *number > state.newest_history);
    for number in begun {
        std::fs::remove_file(segment::path(&dir, number)).map_err(write)?;
    }
    let newest = old.last().copied().unwrap_or(0).max(state.newest_history);
    let next_seq = state.history_seq.max(ledger.history_seq);
    let changed =
        folder.update(|state| (state.oldest_history, state.newest_history) = (newest.saturating_add(1), newest));
    changed.map_err(write)?;
    let mark = Mark { moved_seq: ledger.moved_seq, store_seq: ledger.moved_seq, written_ms: Clock::system().unix_ms() };
    let history = History::begin_anew(dir.clone(), Arc::clone(vault), (newest, next_seq, mark), options.history_bytes);
    let mut batch = Batch::new(vault);
    let mut aside = Vec::new();
    for number in old {
        // Whole or not: what is given up at the next opening is kept here.
        let from = segment::path(&dir, number);
        aside.extend(keep_aside(&from, quarantine, "history").map_err(write)?);
        let Ok(segment) = Segment::open(&dir, number).map_err(read)? else { continue };
        let visited = salvage(&segment, |_, header, body| {
            for record in frame::records(header, body).unwrap_or_default() {
                batch.again(record.kind, record.payload);
            }
            if batch.bytes() > COPIED_BYTES {
                history.append(folder, &batch.take(), mark)?;
            }
            Ok::<(), StoreError>(())
        });
        visited.map_err(read)?.map_err(failed)?;
    }
    // Keys of what waits, and of dead letters, may have been among what is lost.
    let mut after = 0;
    while let Some(some) = store.next_kept(after).map_err(failed)? {
        after = some.to;
        some.found.iter().for_each(|kept| batch.used(&kept.record));
        if batch.bytes() > COPIED_BYTES {
            history.append(folder, &batch.take(), mark).map_err(failed)?;
        }
    }
    if !batch.is_empty() {
        history.append(folder, &batch, mark).map_err(failed)?;
    }
    Ok((history, aside))
}

/// Appended at once.
const COPIED_BYTES: usize = 256 * 1024;
