//! All that was settled, read segment by segment: for the books, and for an export.

use std::io;
use std::ops::RangeInclusive;
use std::sync::PoisonError;

use super::super::log::frame;
use super::super::log::salvage;
use super::super::log::segment::{Segment, is_unreadable};
use super::super::record::Settled;
use super::super::store::StoreError;
use super::form::{Kept, kind};
use super::{History, Received};
use crate::conversion::ConversionId;

/// What a scan met.
pub(in super::super) enum Met {
    /// A conversion that is settled. One that a crash had moved twice is met twice.
    Settled(Box<Settled>),
    /// One that was forgotten on request.
    Forgotten(ConversionId),
    /// Records that are damaged, so many.
    Unread(u64),
}

/// A segment that is to be read, from a record up to another.
struct Part {
    number: u64,
    first_seq: u64,
    next_seq: u64,
}

/// All of a part was met.
struct Enough;

impl History {
    /// Visits what was settled so far and was received within those times (Unix ms); others may come with it. What is given up
    /// meanwhile, for it is too old, is left out. Ends early when it `is_over`.
    pub(in super::super) fn scan(
        &self,
        received: &RangeInclusive<u64>,
        is_over: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(Met),
    ) -> Result<(), StoreError> {
        for part in self.parts(received) {
            if is_over() {
                return Err(StoreError::History(io::ErrorKind::Interrupted.into()));
            }
            self.scan_part(&part, visit)?;
        }
        Ok(())
    }

    fn parts(&self, received: &RangeInclusive<u64>) -> Vec<Part> {
        // Nothing is appended meanwhile.
        let end = self.lock_end();
        let meets = |times: &Received| times.first_ms <= *received.end() && times.last_ms >= *received.start();
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let (mut parts, mut first_seq) = (Vec::new(), index.first_seq);
        for full in &index.full {
            let (number, next_seq) = (full.number, full.next_seq);
            if meets(&full.received) {
                parts.push(Part { number, first_seq, next_seq });
            }
            first_seq = next_seq;
        }
        if end.segment.is_some() {
            parts.push(Part { number: end.number, first_seq, next_seq: end.next_seq });
        }
        parts
    }

    fn scan_part(&self, part: &Part, visit: &mut dyn FnMut(Met)) -> Result<(), StoreError> {
        let mut next_seq = part.first_seq;
        let scanned = self.scan_commits(part, &mut next_seq, visit);
        match scanned {
            Err(StoreError::History(error)) if is_damage(&error) => {
                let segment = part.number;
                tracing::warn!(segment, %error, "a segment of the history cannot be read as a whole");
            }
            scanned => scanned?,
        }
        let missing = part.next_seq.saturating_sub(next_seq);
        if missing > 0 {
            visit(Met::Unread(missing));
        }
        Ok(())
    }

    /// `next_seq`: what comes next, as far as it was read.
    fn scan_commits(&self, part: &Part, next_seq: &mut u64, visit: &mut dyn FnMut(Met)) -> Result<(), StoreError> {
        let segment = match Segment::open(&self.dir, part.number) {
            // It was given up meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *next_seq = part.next_seq;
                return Ok(());
            }
            opened => opened.map_err(StoreError::History)?,
        };
        let segment = segment.map_err(|why| StoreError::History(io::Error::new(io::ErrorKind::InvalidData, why)))?;
        let visited = salvage(&segment, |_, header, body| {
            let begins = header.first_seq.min(part.next_seq);
            let missing = begins.saturating_sub(*next_seq);
            if missing > 0 {
                visit(Met::Unread(missing));
            }
            *next_seq = header.first_seq.saturating_add(u64::from(header.count));
            self.scan_commit(header, body, visit);
            // Behind it there is nothing, or what is being written.
            if *next_seq < part.next_seq { Ok(()) } else { Err(Enough) }
        });
        visited.map(|_| ()).map_err(StoreError::History)
    }

    fn scan_commit(&self, header: &frame::Header, body: &[u8], visit: &mut dyn FnMut(Met)) {
        let Ok(records) = frame::records(header, body) else {
            return visit(Met::Unread(u64::from(header.count)));
        };
        for record in records {
            let met = match record.kind {
                kind::SETTLED => {
                    Kept::decode(record.payload).and_then(|kept| Ok(Met::Settled(Box::new(kept.settled(&self.vault)?))))
                }
                kind::ERASED => Kept::decode(record.payload).map(|kept| Met::Forgotten(kept.names.id)),
                _ => continue,
            };
            visit(met.unwrap_or(Met::Unread(1)));
        }
    }
}

/// Whether a part of a segment is not what was written, or the disk does not give it.
fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData || is_unreadable(error)
}
