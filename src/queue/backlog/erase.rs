//! Erasing: what is gone is overwritten where it lies, for some of it was to be forgotten.
//!
//! Every frame is looked at, named or not: one that was written anew elsewhere holds the same bytes. All that is not alive goes:
//! of a person's conversions some were settled before anybody asked, and nothing tells which. What is not alive nobody reads;
//! what is cut short is done again. Ids stay in the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, PoisonError};

use super::super::codec::Malformed;
use super::super::log::frame::{self, Header};
use super::super::store::StoreError;
use super::contents::Slot;
use super::{Backlog, Bits, DATA_START, contents};

impl Backlog {
    /// Overwrites all that is not alive and was not overwritten before. Durable when it returns.
    pub(in super::super) fn erase(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.erasing.lock().unwrap_or_else(PoisonError::into_inner);
        let unclean: Vec<(u64, Arc<File>)> = {
            let known = self.read();
            let files = known.files.iter().filter(|(_, filed)| filed.is_unclean);
            files.map(|(number, filed)| (*number, Arc::clone(&filed.file))).collect()
        };
        let mut left = None;
        for (number, file) in unclean {
            // What goes from here on makes it unclean again.
            self.note_unclean(number, false);
            if let Err(error) = self.erase_in(number, &file) {
                self.note_unclean(number, true);
                let StoreError::Form(damage) = error else { return Err(error) };
                // The others are overwritten all the same.
                left = Some(damage);
            }
        }
        left.map_or(Ok(()), |damage| Err(damage.into()))
    }

    fn note_unclean(&self, number: u64, is_unclean: bool) {
        if let Some(filed) = self.write().files.get_mut(&number) {
            filed.is_unclean = is_unclean;
        }
    }

    fn erase_in(&self, number: u64, file: &Arc<File>) -> Result<(), StoreError> {
        let mut erasing = Erasing::default();
        let mut at = DATA_START;
        while let Some(next) = self.erase_some(number, file, at, &mut erasing).map_err(StoreError::Backlog)? {
            at = next;
        }
        if erasing.is_changed {
            file.sync_data().map_err(StoreError::Sync)?;
        }
        if erasing.is_left { Err(LEFT.into()) } else { Ok(()) }
    }

    /// Some frames from that place on, while nothing is appended or published. Returns where to go on, unless that was the last.
    fn erase_some(&self, number: u64, file: &File, mut at: u64, erasing: &mut Erasing) -> io::Result<Option<u64>> {
        let end = self.lock_end();
        let known = self.read();
        // It may have been removed.
        let Some(filed) = known.files.get(&number) else { return Ok(None) };
        // Behind that lies what is about to be published.
        let until = if number == end.number && end.segment.is_some() { end.at } else { filed.bytes };
        let from = at;
        while at.saturating_add(frame::HEADER_BYTES) <= until {
            if at.saturating_sub(from) > ERASED_AT_ONCE {
                return Ok(Some(at));
            }
            let mut head = [0_u8; 24];
            file.read_exact_at(&mut head, at)?;
            let Some(header) = Header::parse(&head) else {
                tracing::error!(
                    number,
                    at,
                    "what lies behind the damage in a segment of the backlog is not overwritten"
                );
                erasing.is_left = true;
                return Ok(None);
            };
            let alive = known.lying_at(number, at).map(|block| block.live).unwrap_or_default();
            // Whatever a damaged length says: what is named behind it stays.
            let end = filed.next_frame(at).unwrap_or(until).min(until).min(at.saturating_add(header.frame_len()));
            erase_frame(file, (at, end, &header), alive, erasing)?;
            at = end;
        }
        Ok(None)
    }
}

/// What came of it so far.
#[derive(Default)]
struct Erasing {
    is_changed: bool,
    /// Something is damaged, and cannot be told apart.
    is_left: bool,
}

fn erase_frame(
    file: &File,
    (at, end, header): (u64, u64, &Header),
    alive: Bits,
    erasing: &mut Erasing,
) -> io::Result<()> {
    match contents::read_frame(file, at, header)? {
        Ok(slots) => {
            for (_, slot) in slots.iter().enumerate().filter(|(slot, _)| !alive.contains(*slot)) {
                overwrite(file, slot)?;
                erasing.is_changed = true;
            }
        }
        Err(Malformed(_)) if alive.is_empty() => {
            let begins = at.saturating_add(frame::HEADER_BYTES);
            zero(file, begins, end.saturating_sub(begins))?;
            erasing.is_changed = true;
        }
        Err(damage) => {
            tracing::error!(at, %damage, "what is gone of a damaged block is not overwritten");
            erasing.is_left = true;
        }
    }
    Ok(())
}

fn overwrite(file: &File, slot: &Slot) -> io::Result<()> {
    file.write_all_at(&[0; 8], slot.order_at)?;
    zero(file, slot.at, u64::from(slot.len))
}

fn zero(file: &File, at: u64, len: u64) -> io::Result<()> {
    let end = at.saturating_add(len);
    let mut at = at;
    while at < end {
        let part = end.saturating_sub(at).min(ZEROED_AT_ONCE);
        file.write_all_at(&vec![0; usize::try_from(part).unwrap_or(0)], at)?;
        at = at.saturating_add(part);
    }
    Ok(())
}

const LEFT: Malformed = Malformed("what is gone of a damaged block; `capi-relay recover` takes it out");
const ZEROED_AT_ONCE: u64 = 64 * 1024;

/// Of a segment, while the mover waits: some milliseconds.
const ERASED_AT_ONCE: u64 = 1024 * 1024;
