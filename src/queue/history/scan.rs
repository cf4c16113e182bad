//! All that was settled, read segment by segment: for the books.

use std::io;
use std::ops::RangeInclusive;
use std::sync::PoisonError;

use super::super::log::frame;
use super::super::log::segment::Segment;
use super::super::log::{salvage, walk};
use super::super::record::Settled;
use super::super::store::StoreError;
use super::form::{Kept, kind};
use super::{History, Received};
use crate::conversion::ConversionId;

/// What a scan met.
pub(in super::super) enum Met {
    /// A conversion that is settled. One that a crash had moved twice is met twice.
    Settled(ConversionId, Settled),
    /// One that was forgotten on request.
    Forgotten(ConversionId),
    /// Records that are damaged, so many.
    Unread(u64),
}

/// A segment that is to be read.
struct Part {
    number: u64,
    /// Of a full one: the next segment's first record.
    next_seq: Option<u64>,
}

impl History {
    /// Visits what was settled from that record on and was received within those times (Unix ms); others may come with it.
    /// Returns the record from which a later scan goes on. What is given up meanwhile, for it is too old, is left out.
    pub(in super::super) fn scan(
        &self,
        from_seq: u64,
        received: &RangeInclusive<u64>,
        visit: &mut dyn FnMut(Met),
    ) -> Result<u64, StoreError> {
        let next_seq = self.next_seq();
        for part in self.parts(from_seq, received) {
            self.scan_part(&part, from_seq, visit)?;
        }
        Ok(next_seq)
    }

    fn parts(&self, from_seq: u64, received: &RangeInclusive<u64>) -> Vec<Part> {
        let written = {
            let end = self.lock_end();
            end.segment.as_ref().map(|_| Part { number: end.number, next_seq: None })
        };
        let meets = |times: &Received| times.first_ms <= *received.end() && times.last_ms >= *received.start();
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let full = index.full.iter().filter(|full| full.next_seq > from_seq && meets(&full.received));
        let mut parts: Vec<Part> =
            full.map(|full| Part { number: full.number, next_seq: Some(full.next_seq) }).collect();
        // It may have become full since it was looked at.
        parts.extend(written.filter(|written| index.full.iter().all(|full| full.number != written.number)));
        parts
    }

    fn scan_part(&self, part: &Part, from_seq: u64, visit: &mut dyn FnMut(Met)) -> Result<(), StoreError> {
        let segment = match Segment::open(&self.dir, part.number) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(StoreError::History)?,
        };
        let segment = segment.map_err(|why| StoreError::History(io::Error::new(io::ErrorKind::InvalidData, why)))?;
        let mut next_seq = segment.first_seq;
        let mut commit = |header: &frame::Header, body: &[u8]| {
            let end = header.first_seq.saturating_add(u64::from(header.count));
            let missing = header.first_seq.saturating_sub(next_seq.max(from_seq));
            if missing > 0 {
                visit(Met::Unread(missing));
            }
            next_seq = end;
            if end > from_seq {
                self.scan_commit(header, body, visit);
            }
            Ok::<(), StoreError>(())
        };
        if part.next_seq.is_some() {
            salvage(&segment, |_, header, body| commit(header, body)).map_err(StoreError::History)??;
        } else {
            walk(&segment, |_, header, body| commit(header, body)).map_err(StoreError::History)??;
        }
        let missing = part.next_seq.unwrap_or(0).saturating_sub(next_seq.max(from_seq));
        if missing > 0 {
            visit(Met::Unread(missing));
        }
        Ok(())
    }

    fn scan_commit(&self, header: &frame::Header, body: &[u8], visit: &mut dyn FnMut(Met)) {
        let Ok(records) = frame::records(header, body) else {
            return visit(Met::Unread(u64::from(header.count)));
        };
        for record in records {
            let met = match record.kind {
                kind::SETTLED => Kept::decode(record.payload)
                    .and_then(|kept| Ok(Met::Settled(kept.names.id, kept.settled(&self.vault)?))),
                kind::ERASED => Kept::decode(record.payload).map(|kept| Met::Forgotten(kept.names.id)),
                _ => continue,
            };
            visit(met.unwrap_or(Met::Unread(1)));
        }
    }
}
