//! Append-only files of commits: what the journal and the history have in common.
//!
//! A segment is a file with a header and commits behind it, each synced before the next is written. So behind a torn commit
//! there is never a whole one: a place that holds no commit is the end of what was promised, **unless** a whole commit
//! follows. That is damage.

pub(super) mod frame;
pub(super) mod segment;

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use self::frame::Header;
use self::segment::{DATA_START, Segment};
use super::folder::{OpenError, make_dir};

/// Visits the commits from the front, each with its place; returns where they end.
pub(super) fn walk<E>(
    segment: &Segment,
    mut visit: impl FnMut(u64, &Header, &[u8]) -> Result<(), E>,
) -> io::Result<Result<u64, E>> {
    let (mut at, mut expected) = (DATA_START, segment.first_seq);
    let mut body = Vec::new();
    while let Some(header) = commit_at(segment, at, &mut body)? {
        if header.first_seq != expected {
            break;
        }
        if let Err(error) = visit(at, &header, &body) {
            return Ok(Err(error));
        }
        expected = expected.saturating_add(u64::from(header.count));
        at = at.saturating_add(header.frame_len());
    }
    Ok(Ok(at))
}

/// Visits every commit that is whole, before and behind what is damaged; one behind damage with the place where that begins.
pub(super) fn salvage<E>(
    segment: &Segment,
    mut visit: impl FnMut(Option<u64>, &Header, &[u8]) -> Result<(), E>,
) -> io::Result<Result<(), E>> {
    let mut at = DATA_START;
    let mut body = Vec::new();
    loop {
        let mut damage = None;
        let mut header = commit_at(segment, at, &mut body)?;
        if header.is_none()
            && let Some(found) = whole_commit_after(segment, at)?
        {
            damage = Some(at);
            at = found;
            header = commit_at(segment, at, &mut body)?;
        }
        let Some(header) = header else { return Ok(Ok(())) };
        if let Err(error) = visit(damage, &header, &body) {
            return Ok(Err(error));
        }
        at = at.saturating_add(header.frame_len());
    }
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
pub(super) fn whole_commit_after(segment: &Segment, from: u64) -> io::Result<Option<u64>> {
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
pub(super) fn quarantined(dir: &Path, quarantine: &Path, what: &str, number: u64, why: &str) -> OpenError {
    let from = segment::path(dir, number);
    let copy = quarantine.join(format!("{what}-{number:016x}.seg"));
    let kept = make_dir(quarantine).and_then(|()| if copy.exists() { Ok(0) } else { std::fs::copy(&from, &copy) });
    let kept = match kept {
        Ok(_) => format!("a copy is kept as {}", copy.display()),
        Err(error) => format!("it could not be copied aside ({error})"),
    };
    OpenError::damaged(dir, format!("{what} segment {number:016x}: {why}; {kept}"))
}

/// Read at once when looking for a commit behind damage; a multiple of the alignment.
const SCAN_BYTES: usize = 256 * 1024;
