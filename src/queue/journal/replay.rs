//! Reading the journal back.
//!
//! Commits are synced one by one, so behind a torn commit there is never a whole one. A place that holds no commit is
//! therefore the end of what was acknowledged **unless** a whole commit follows, in this segment or a later one: that is
//! damage to what was acknowledged. It is never skipped; the segment is copied aside and opening refuses.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::folder::{OpenError, make_dir};
use super::frame::{self, Header, Kind};
use super::segment::{self, DATA_START, Segment};

/// What a replay found.
#[derive(Debug)]
pub(in super::super) struct Replayed {
    /// The segments read, oldest first, with the sequence number that comes after each one's last record.
    pub(in super::super) segments: Vec<(u64, u64)>,
    /// The next sequence number.
    pub(in super::super) next_seq: u64,
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
    let mut replayed = Replayed { segments: Vec::new(), next_seq: first_seq };
    for number in numbers {
        let damaged = |why: &str| quarantined(dir, quarantine, number, why);
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
            return Err(quarantined(dir, quarantine, before, why));
        }
        replayed.next_seq = segment.first_seq;
        let end = walk(&segment, |header, body| {
            let records = frame::records(header, body).map_err(|error| damaged(&error.to_string()))?;
            for (seq, kind, payload) in records {
                visit(number, seq, kind, &payload)?;
            }
            replayed.next_seq = replayed.next_seq.saturating_add(u64::from(header.count));
            Ok::<(), OpenError>(())
        })
        .map_err(read)??;
        if let Some(at) = whole_commit_after(&segment, end).map_err(read)? {
            return Err(damaged(&format!("the commit at byte {end} is damaged, and one at byte {at} came after it")));
        }
        segment.file.sync_data().map_err(read)?;
        replayed.segments.push((number, replayed.next_seq));
    }
    Ok(replayed)
}

/// Visits the commits from the front; returns where they end.
fn walk<E>(segment: &Segment, mut visit: impl FnMut(&Header, &[u8]) -> Result<(), E>) -> io::Result<Result<u64, E>> {
    let (mut at, mut expected) = (DATA_START, segment.first_seq);
    let mut body = Vec::new();
    while let Some(header) = commit_at(segment, at, &mut body)? {
        if header.first_seq != expected {
            break;
        }
        if let Err(error) = visit(&header, &body) {
            return Ok(Err(error));
        }
        expected = expected.saturating_add(u64::from(header.count));
        at = at.saturating_add(header.frame_len());
    }
    Ok(Ok(at))
}

/// The whole commit that begins at `at`, if there is one; its records are left in `body`.
fn commit_at(segment: &Segment, at: u64, body: &mut Vec<u8>) -> io::Result<Option<Header>> {
    let mut head = [0_u8; 24];
    let body_at = at.saturating_add(frame::HEADER_BYTES);
    if body_at > segment.bytes {
        return Ok(None);
    }
    segment.file.read_exact_at(&mut head, at)?;
    let Some(header) = Header::parse(&head) else {
        return Ok(None);
    };
    if body_at.saturating_add(u64::from(header.body_len)) > segment.bytes {
        return Ok(None);
    }
    body.resize(usize::try_from(header.body_len).unwrap_or(usize::MAX), 0);
    segment.file.read_exact_at(body, body_at)?;
    Ok(header.holds(segment.stamp, body).then_some(header))
}

/// Where a whole commit of this segment begins at or behind `from`, if anywhere.
fn whole_commit_after(segment: &Segment, from: u64) -> io::Result<Option<u64>> {
    let align = usize::try_from(frame::ALIGN).unwrap_or(8);
    let mut buffer = vec![0_u8; SCAN_BYTES];
    let mut body = Vec::new();
    let mut at = from;
    while at < segment.bytes {
        let left = usize::try_from(segment.bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = left.min(SCAN_BYTES);
        let Some(part) = buffer.get_mut(..len) else { break };
        segment.file.read_exact_at(part, at)?;
        for (index, place) in part.chunks(align).enumerate() {
            if !place.starts_with(&frame::MAGIC) {
                continue;
            }
            let offset = u64::try_from(index.saturating_mul(align)).unwrap_or(u64::MAX);
            let found = at.saturating_add(offset);
            if commit_at(segment, found, &mut body)?.is_some() {
                return Ok(Some(found));
            }
        }
        at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
    }
    Ok(None)
}

/// Copies the damaged segment aside (once) and words the refusal.
fn quarantined(dir: &Path, quarantine: &Path, number: u64, why: &str) -> OpenError {
    let from = segment::path(dir, number);
    let copy = quarantine.join(format!("{number:016x}.seg"));
    let kept = make_dir(quarantine).and_then(|()| if copy.exists() { Ok(0) } else { std::fs::copy(&from, &copy) });
    let kept = match kept {
        Ok(_) => format!("a copy is kept as {}", copy.display()),
        Err(error) => format!("it could not be copied aside ({error})"),
    };
    OpenError::damaged(dir, format!("journal segment {number:016x}: {why}; {kept}"))
}

/// Read at once when looking for a commit behind damage; a multiple of the alignment.
const SCAN_BYTES: usize = 256 * 1024;
