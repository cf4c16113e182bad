//! Taking up what an earlier process left, however it ended. Nothing is changed before all of it is found to be right.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::super::codec::Reader;
use super::super::folder::{OpenError, State, is_full, make_dir, sync};
use super::super::log::segment::{self, Segment};
use super::super::log::{frame, quarantined, walk, whole_commit_after};
use super::form::{Kept, kind};
use super::full::Full;
use super::table::Open;
use super::{End, FILTERS_MAX, Index, Mark, Written, remove_expired, seal};

/// A segment without an index: written when the process ended, or its end was cut short.
struct Unended {
    segment: Segment,
    written: Written,
    /// Where its commits end …
    at: u64,
    /// … and how far the history had come there.
    next_seq: u64,
    mark: Mark,
}

/// What is found of one segment.
enum Found {
    Full(Full),
    Unended(Box<Unended>),
}

/// Where the history goes on, and where things are found.
pub(super) fn open(dir: &Path, quarantine: &Path, state: State, segment_bytes: u64) -> Result<(End, Index), OpenError> {
    let write = |source| OpenError::write(dir, source);
    make_dir(dir).map_err(write)?;
    let numbers = segment::numbers(dir).map_err(|source| OpenError::read(dir, source))?;
    let numbers: Vec<u64> = numbers.into_iter().filter(|number| *number >= state.oldest_history).collect();
    if let Some(missing) = (state.oldest_history..=state.newest_history).find(|number| !numbers.contains(number)) {
        return Err(OpenError::damaged(dir, format!("history segment {missing:016x} is missing")));
    }
    let (mut found, mut next_seq, mut first_seq) = (Vec::new(), None, None);
    for number in &numbers {
        let (segment, begins) = look(dir, quarantine, *number, next_seq)?;
        first_seq.get_or_insert(begins);
        next_seq = Some(match &segment {
            Found::Full(full) => full.next_seq,
            Found::Unended(unended) => unended.next_seq,
        });
        found.push(segment);
        // Memory for the newest filters, however many segments there are.
        let beyond = found.len().checked_sub(FILTERS_MAX.saturating_add(1));
        if let Some(Found::Full(full)) = beyond.and_then(|beyond| found.get_mut(beyond)) {
            full.set_aside();
        }
    }
    let has = next_seq.unwrap_or(state.history_seq);
    if has < state.history_seq {
        let what = format!("the history has come to record {has} and must have come to {}", state.history_seq);
        return Err(OpenError::damaged(dir, what));
    }
    remove_expired(dir, state.oldest_history).map_err(write)?;
    segment::remove_aside(dir).map_err(write)?;
    let mut end = End {
        segment: None,
        number: numbers.last().copied().unwrap_or(state.newest_history),
        at: 0,
        next_seq: has,
        mark: Mark { moved_seq: state.moved_seq, store_seq: state.store_seq, written_ms: 0 },
        buffer: Vec::new(),
    };
    let index = RwLock::new(Index { first_seq: first_seq.unwrap_or(has), ..Index::default() });
    for segment in found {
        // One that is not the last was to be ended when the process was.
        seal(dir, &mut end, &index).map_err(write)?;
        let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
        match segment {
            Found::Full(full) => {
                end.mark = end.mark.max(full.mark);
                index.full.push_back(Arc::new(full));
            }
            Found::Unended(unended) => {
                let Unended { segment, written, at, next_seq, mark } = *unended;
                (end.at, end.next_seq, end.mark) = (at, next_seq, end.mark.max(mark));
                end.segment = Some(cut(segment, at, segment_bytes).map_err(write)?);
                index.written = Some(written);
            }
        }
    }
    end.next_seq = has;
    let mut index = index.into_inner().unwrap_or_else(PoisonError::into_inner);
    index.keep_newest_filters();
    Ok((end, index))
}

/// Reads what must be read of a segment, which must go on at record `next_seq`, if that is known; and says where it begins.
fn look(dir: &Path, quarantine: &Path, number: u64, next_seq: Option<u64>) -> Result<(Found, u64), OpenError> {
    let read = |source| OpenError::read(dir, source);
    let damaged = |why: &str| quarantined(dir, quarantine, "history", number, why);
    let segment = Segment::open(dir, number).map_err(read)?.map_err(damaged)?;
    if next_seq.is_some_and(|next_seq| segment.first_seq != next_seq) {
        return Err(damaged("commits before this one's are missing"));
    }
    let first_seq = segment.first_seq;
    if let Some(full) = Full::open(dir, &segment).map_err(read)? {
        return Ok((Found::Full(full), first_seq));
    }
    let unended = scan(segment).map_err(read)?.map_err(|why| damaged(&why))?;
    let at = unended.at;
    if let Some(behind) = whole_commit_after(&unended.segment, at).map_err(read)? {
        return Err(damaged(&format!("the commit at byte {at} is damaged, and one at byte {behind} came after it")));
    }
    Ok((Found::Unended(Box::new(unended)), first_seq))
}

/// Reads the commits of a segment without an index.
fn scan(segment: Segment) -> io::Result<Result<Unended, String>> {
    let mut written = Written::new(&segment)?;
    let (mut next_seq, mut mark) = (segment.first_seq, Mark::default());
    let walked = walk(&segment, |frame_at, header, body| {
        for record in frame::records(header, body).map_err(|error| error.to_string())? {
            if record.kind == kind::THROUGH {
                let through = Mark::decode(&mut Reader::new(record.payload)).map_err(|error| error.to_string())?;
                written.since_ms.get_or_insert(through.written_ms);
                mark = mark.max(through);
                continue;
            }
            let kept = Kept::decode(record.payload).map_err(|error| error.to_string())?;
            written.is_sealed_with(kept.key_number());
            written.insert(record.kind, &kept.names, frame_at.saturating_add(record.at));
        }
        next_seq = next_seq.saturating_add(u64::from(header.count));
        Ok::<(), String>(())
    })?;
    Ok(walked.map(|at| Unended { segment, written, at, next_seq, mark }))
}

/// What the commits of a full segment say its tables are; and where they end, with the next record's number.
pub(super) fn tables(segment: Segment) -> io::Result<(Open, (u64, u64))> {
    let scanned = scan(segment)?.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
    Ok((scanned.written.tables, (scanned.at, scanned.next_seq)))
}

/// Cuts off what was torn, so that it is never written before; what is left is on stable storage.
fn cut(mut segment: Segment, at: u64, segment_bytes: u64) -> io::Result<Segment> {
    segment.file.set_len(at)?;
    sync(&segment.file)?;
    segment.bytes = at.max(segment_bytes);
    match segment::preallocate(&segment.file, segment.bytes) {
        Ok(()) => {}
        // The next commit begins another segment, when there is room.
        Err(error) if is_full(&error) => {
            segment.file.set_len(at)?;
            segment.bytes = at;
        }
        Err(error) => return Err(error),
    }
    Ok(segment)
}
