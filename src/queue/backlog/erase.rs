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
        for (number, file) in unclean {
            // What goes from here on makes it unclean again.
            self.note_unclean(number, false);
            let erased = self.erase_in(number, &file);
            if let Err(error) = erased {
                self.note_unclean(number, true);
                return Err(StoreError::Backlog(error));
            }
        }
        Ok(())
    }

    fn note_unclean(&self, number: u64, is_unclean: bool) {
        if let Some(filed) = self.write().files.get_mut(&number) {
            filed.is_unclean = is_unclean;
        }
    }

    fn erase_in(&self, number: u64, file: &Arc<File>) -> io::Result<()> {
        let (mut at, mut is_changed) = (DATA_START, false);
        while let Some(next) = self.erase_some(number, file, at, &mut is_changed)? {
            at = next;
        }
        if is_changed { file.sync_data() } else { Ok(()) }
    }

    /// Some frames from that place on, while nothing is appended or published. Returns where to go on, unless that was the last.
    fn erase_some(&self, number: u64, file: &File, mut at: u64, is_changed: &mut bool) -> io::Result<Option<u64>> {
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
                return Ok(None);
            };
            let alive = known.lying_at(number, at).map(|block| block.live).unwrap_or_default();
            *is_changed |= erase_frame(number, file, (at, &header), alive)?;
            at = at.saturating_add(header.frame_len());
        }
        Ok(None)
    }
}

/// Returns whether something was overwritten.
fn erase_frame(number: u64, file: &File, (at, header): (u64, &Header), alive: Bits) -> io::Result<bool> {
    match contents::read_frame(file, at, header)? {
        Ok(slots) => {
            let gone = slots.iter().enumerate().filter(|(slot, _)| !alive.contains(*slot));
            let mut is_changed = false;
            for (_, slot) in gone {
                overwrite(file, slot)?;
                is_changed = true;
            }
            Ok(is_changed)
        }
        Err(Malformed(_)) if alive.is_empty() => {
            zero(file, at.saturating_add(frame::HEADER_BYTES), u64::from(header.body_len))?;
            Ok(true)
        }
        Err(damage) => {
            tracing::error!(number, at, %damage, "what is gone of a damaged block is not overwritten");
            Ok(false)
        }
    }
}

fn overwrite(file: &File, slot: &Slot) -> io::Result<()> {
    file.write_all_at(&[0; 8], slot.order_at)?;
    zero(file, slot.at, u64::from(slot.len))
}

fn zero(file: &File, at: u64, len: u64) -> io::Result<()> {
    file.write_all_at(&vec![0; usize::try_from(len).unwrap_or(usize::MAX)], at)
}

/// Of a segment, while the mover waits: some milliseconds.
const ERASED_AT_ONCE: u64 = 1024 * 1024;
