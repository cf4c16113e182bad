//! Reading the journal back.
//!
//! Commits are synced one by one, so behind a torn commit there is never a whole one. A place that holds no commit is
//! therefore the end of what was acknowledged **unless** a whole commit follows, in this segment or a later one: that is
//! damage to what was acknowledged. It is never skipped; the segment is copied aside and opening refuses.

use std::path::Path;

use super::super::folder::OpenError;
use super::super::log::segment::{self, Segment};
use super::super::log::{frame, quarantined, walk, whole_commit_after};
use super::Kind;

/// What a replay found.
#[derive(Debug)]
pub(in super::super) struct Replayed {
    /// The segments read, oldest first, with the sequence number that comes after each one's last record.
    pub(in super::super) segments: Vec<(u64, u64)>,
    /// The next sequence number.
    pub(in super::super) next_seq: u64,
    /// Whether the last of the segments holds no record.
    pub(in super::super) is_last_empty: bool,
}

/// Hands every record to `visit`, in order, with the number of its segment. `expected` are the segments that must be
/// there; `first_seq` is the sequence number to begin with when there is none. Everything that was read is on stable
/// storage when this returns.
pub(in super::super) fn replay(
    dir: &Path,
    quarantine: &Path,
    expected: std::ops::RangeInclusive<u64>,
    first_seq: u64,
    mut visit: impl FnMut(u64, u64, Kind, &[u8]) -> Result<(), OpenError>,
) -> Result<Replayed, OpenError> {
    let read = |source| OpenError::read(dir, source);
    let numbers = segment::numbers(dir).map_err(read)?;
    if let Some(missing) = expected.clone().find(|number| !numbers.contains(number)) {
        return Err(OpenError::damaged(dir, format!("journal segment {missing:016x} is missing")));
    }
    let numbers: Vec<u64> = numbers.into_iter().filter(|number| number >= expected.start()).collect();
    let mut replayed = Replayed { segments: Vec::new(), next_seq: first_seq, is_last_empty: false };
    for number in numbers {
        let damaged = |why: &str| quarantined(dir, quarantine, "journal", number, why);
        let segment = match Segment::open(dir, number).map_err(read)? {
            Ok(segment) => segment,
            Err(why) => return Err(damaged(why)),
        };
        let follows = replayed
            .segments
            .last()
            .is_none_or(|(before, next_seq)| number == before.saturating_add(1) && segment.first_seq == *next_seq);
        if !follows {
            let why = "commits before this one's are missing";
            let before = replayed.segments.last().map_or(number, |(before, _)| *before);
            return Err(quarantined(dir, quarantine, "journal", before, why));
        }
        replayed.next_seq = segment.first_seq;
        let end = walk(&segment, |_, header, body| {
            let records = frame::records(header, body).map_err(|error| damaged(&error.to_string()))?;
            for record in records {
                let kind = Kind::of(record.kind).map_err(|error| damaged(&error.to_string()))?;
                visit(number, record.seq, kind, record.payload)?;
            }
            replayed.next_seq = replayed.next_seq.saturating_add(u64::from(header.count));
            Ok::<(), OpenError>(())
        })
        .map_err(read)??;
        if let Some(at) = whole_commit_after(&segment, end).map_err(read)? {
            return Err(damaged(&format!("the commit at byte {end} is damaged, and one at byte {at} came after it")));
        }
        segment.file.sync_data().map_err(read)?;
        replayed.is_last_empty = replayed.next_seq == segment.first_seq;
        replayed.segments.push((number, replayed.next_seq));
    }
    Ok(replayed)
}
