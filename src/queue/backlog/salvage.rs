//! What lies in a folder's segments, whatever names it: for a store that is lost.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::log::frame::{self, Header};
use super::super::log::segment::{self, Segment};
use super::super::log::whole_commit_after;
use super::{DATA_START, DIR, contents};
use crate::conversion::ConversionId;

/// A conversion as it was taken over: its place in the order of acceptance, its id, and what the journal had of it.
pub(in super::super) type Salvaged = (u64, ConversionId, Vec<u8>);

/// Hands on what is whole in the segments up to that one, block by block, settled or not; some of it more than once.
pub(in super::super) fn salvage<E>(
    folder: &Path,
    newest: u64,
    mut visit: impl FnMut(Vec<Salvaged>) -> Result<(), E>,
) -> io::Result<Result<(), E>> {
    let dir = folder.join(DIR);
    if !dir.exists() {
        return Ok(Ok(()));
    }
    for number in segment::numbers(&dir)?.into_iter().filter(|number| *number <= newest) {
        let Ok(Ok(segment)) = Segment::open(&dir, number) else { continue };
        let mut at = DATA_START;
        while at.saturating_add(frame::HEADER_BYTES) <= segment.bytes {
            let mut head = [0_u8; 24];
            let is_read = segment.file.read_exact_at(&mut head, at).is_ok();
            let Some(header) = Header::parse(&head).filter(|_| is_read) else {
                match whole_commit_after(&segment, at).ok().flatten() {
                    Some(next) => at = next,
                    None => break,
                }
                continue;
            };
            if let Err(error) = visit(whole(&segment, at, &header)?) {
                return Ok(Err(error));
            }
            at = at.saturating_add(header.frame_len());
        }
    }
    Ok(Ok(()))
}

fn whole(segment: &Segment, at: u64, header: &Header) -> io::Result<Vec<Salvaged>> {
    let Ok(slots) = contents::read_frame(&segment.file, at, header)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for slot in slots {
        // One that was overwritten is damaged, too.
        if let Ok(accepted) = slot.read(&segment.file)? {
            found.push((slot.seq, slot.id, accepted));
        }
    }
    Ok(found)
}
