//! What lies in a folder's segments, whatever names it: for a store that is lost.
//!
//! Nothing is taken for granted but the checksums of what is said of a block and of each conversion. Behind what is damaged it is
//! looked for the next block, over what the disk cannot read.

use std::fs::File;
use std::io;
use std::path::Path;

use super::super::log::frame::{self, Header};
use super::super::log::segment;
use super::contents::Slot;
use super::{DATA_START, DIR, contents};
use crate::conversion::ConversionId;

/// A conversion as it was taken over: its place in the order of acceptance, its id, and what the journal had of it.
pub(in super::super) type Salvaged = (u64, ConversionId, Vec<u8>);

/// Hands on what is whole in the segments up to that one, block by block, each with its segment's number; settled or not, and
/// some of it more than once.
pub(in super::super) fn salvage<E>(
    folder: &Path,
    newest: u64,
    mut visit: impl FnMut(u64, Vec<Salvaged>) -> Result<(), E>,
) -> io::Result<Result<(), E>> {
    let dir = folder.join(DIR);
    if !dir.exists() {
        return Ok(Ok(()));
    }
    for number in segment::numbers(&dir)?.into_iter().filter(|number| *number <= newest) {
        // Its header may be damaged: nothing there is needed.
        let file = File::open(segment::path(&dir, number))?;
        let bytes = file.metadata()?.len();
        let mut at = DATA_START;
        while let Some(found) = next_magic(&file, at, bytes)? {
            let Some((slots, end)) = block_at(&file, found, bytes)? else {
                at = found.saturating_add(frame::ALIGN);
                continue;
            };
            at = end;
            let mut block = Vec::with_capacity(slots.len());
            for slot in slots {
                // One that was overwritten is damaged, too.
                if let Ok(accepted) = slot.read(&file)? {
                    block.push((slot.seq, slot.id, accepted));
                }
            }
            if let Err(error) = visit(number, block) {
                return Ok(Err(error));
            }
        }
    }
    Ok(Ok(()))
}

/// The block that lies there, if what is said of it is whole, and where it ends.
fn block_at(file: &File, at: u64, bytes: u64) -> io::Result<Option<(Vec<Slot>, u64)>> {
    let Ok(head) = contents::read_exact_at(file, at, frame::HEADER_BYTES)? else { return Ok(None) };
    let Some(header) = Header::parse(&head).filter(|header| header.count <= COUNT_MAX) else { return Ok(None) };
    let Ok(slots) = contents::read_frame(file, at, &header)? else { return Ok(None) };
    let end = slots.last().map_or(at, |last| last.at.saturating_add(u64::from(last.len)));
    let end = end.checked_next_multiple_of(frame::ALIGN).unwrap_or(u64::MAX);
    // What is cut short of it is read as damaged.
    Ok((end > at).then_some((slots, end.min(bytes))))
}

/// Where a frame may begin, there or behind.
fn next_magic(file: &File, from: u64, bytes: u64) -> io::Result<Option<u64>> {
    let align = usize::try_from(frame::ALIGN).unwrap_or(8);
    let mut at = from;
    while at < bytes {
        // To the end of the page: what cannot be read is a page, and the next may be.
        let len = PAGE_BYTES.saturating_sub(at % PAGE_BYTES).min(bytes.saturating_sub(at));
        if let Ok(part) = contents::read_exact_at(file, at, len)? {
            let found = part.chunks(align).position(|place| place.starts_with(&frame::MAGIC));
            if let Some(found) = found {
                let offset = u64::try_from(found.saturating_mul(align)).unwrap_or(u64::MAX);
                return Ok(Some(at.saturating_add(offset)));
            }
        }
        at = at.saturating_add(len);
    }
    Ok(None)
}

const PAGE_BYTES: u64 = 4096;
/// Of the records of a block: what lies in it, and each of its conversions.
const COUNT_MAX: u32 = 129;
