//! Erasing: what is gone is overwritten where it lies, for some of it was to be forgotten.
//!
//! Every frame is looked at, named or not: one that was written anew elsewhere holds the same bytes. All that is not alive goes:
//! of a person's conversions some were settled before anybody asked, and nothing tells which. What is not alive nobody reads;
//! what is cut short is done again. Ids stay in the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::codec::Malformed;
use super::super::log::frame::{self, Header};
use super::super::store::StoreError;
use super::contents::Slot;
use super::known::Known;
use super::{Backlog, DATA_START, contents};

impl Backlog {
    /// Overwrites all that is not alive. Durable when it returns.
    pub(in super::super) fn erase(&self) -> Result<(), StoreError> {
        let numbers: Vec<u64> = self.read().files.keys().copied().collect();
        for number in numbers {
            // Nothing is appended or published meanwhile; in between the mover has its turn.
            let end = self.lock_end();
            let known = self.read();
            let Some(filed) = known.files.get(&number) else { continue };
            // Behind that lies what is about to be published.
            let until = if number == end.number && end.segment.is_some() { end.at } else { filed.bytes };
            erase_in(number, &filed.file, until, &known).map_err(StoreError::Backlog)?;
        }
        Ok(())
    }
}

fn erase_in(number: u64, file: &Arc<File>, until: u64, known: &Known) -> io::Result<()> {
    let (mut at, mut is_changed) = (DATA_START, false);
    let mut head = [0_u8; 24];
    while at.saturating_add(frame::HEADER_BYTES) <= until {
        file.read_exact_at(&mut head, at)?;
        let Some(header) = Header::parse(&head) else {
            tracing::error!(number, at, "what lies behind the damage in a segment of the backlog is not overwritten");
            break;
        };
        let alive = known.lying_at(number, at).map(|block| block.live).unwrap_or_default();
        match contents::read_frame(file, at, &header)? {
            Ok(slots) => {
                for (_, slot) in slots.iter().enumerate().filter(|(slot, _)| !alive.contains(*slot)) {
                    overwrite(file, slot)?;
                    is_changed = true;
                }
            }
            Err(Malformed(_)) if alive.is_empty() => {
                zero(file, at.saturating_add(frame::HEADER_BYTES), u64::from(header.body_len))?;
                is_changed = true;
            }
            Err(damage) => tracing::error!(number, at, %damage, "what is gone of a damaged block is not overwritten"),
        }
        at = at.saturating_add(header.frame_len());
    }
    if is_changed { file.sync_data() } else { Ok(()) }
}

fn overwrite(file: &File, slot: &Slot) -> io::Result<()> {
    file.write_all_at(&[0; 8], slot.order_at)?;
    zero(file, slot.at, u64::from(slot.len))
}

fn zero(file: &File, at: u64, len: u64) -> io::Result<()> {
    file.write_all_at(&vec![0; usize::try_from(len).unwrap_or(usize::MAX)], at)
}
