//! Erasing: a full segment is written anew without what is to be forgotten, and takes the old one's place.
//!
//! Of a record that is erased the id and the key stay, so that a repeat is still known as one. All commits keep their
//! numbers, and how far things had come; the file is synced before it takes the name. A segment that is damaged stays as it
//! is.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::super::codec::Reader;
use super::super::log::frame::{self, Stamp};
use super::super::log::segment::{self, DATA_START, Segment};
use super::super::log::walk;
use super::super::store::StoreError;
use super::form::{Kept, encode_erased, kind};
use super::full::Full;
use super::table::By;
use super::{History, Mark, Written, seal};
use crate::conversion::ConversionId;

impl History {
    /// Erases all that is here of these conversions. What is not here yet must not be on its way.
    pub(in super::super) fn erase(&self, ids: &HashSet<ConversionId>) -> Result<(), StoreError> {
        let (_, is_being_written) = self.numbers_with(ids)?;
        if is_being_written {
            // Nothing is changed in what is being written: it is ended.
            seal(&self.dir, &mut self.lock_end(), &self.index).map_err(StoreError::of)?;
        }
        let (numbers, _) = self.numbers_with(ids)?;
        for number in numbers {
            // Nothing is given up meanwhile; in between the mover has its turn.
            let _end = self.lock_end();
            self.rewrite(number, ids)?;
        }
        Ok(())
    }

    /// Full segments with records of these conversions, and whether the one that is written has any.
    fn numbers_with(&self, ids: &HashSet<ConversionId>) -> Result<(BTreeSet<u64>, bool), StoreError> {
        let (mut numbers, mut is_being_written) = (BTreeSet::new(), false);
        for id in ids {
            let mut keys = HashSet::new();
            for place in self.places(By::Id(*id), |_| true) {
                keys.extend(place.records(By::Id(*id), |_, kept| Ok(Some(kept.names.key)))?);
            }
            let is_theirs = |kind, kept: Kept<'_>| Ok((kind != kind::ERASED && kept.names.id == *id).then_some(()));
            for by in keys.into_iter().map(By::Key) {
                for place in self.places(by, |_| true) {
                    let is_there = !place.records(by, is_theirs)?.is_empty();
                    is_being_written |= is_there && place.number().is_none();
                    numbers.extend(place.number().filter(|_| is_there));
                }
            }
        }
        Ok((numbers, is_being_written))
    }

    fn rewrite(&self, number: u64, ids: &HashSet<ConversionId>) -> Result<(), StoreError> {
        let full = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            index.full.iter().find(|full| full.number == number).map(Arc::clone)
        };
        // Too old, and given up.
        let Some(full) = full else { return Ok(()) };
        let anew = written_anew(&self.dir, &full, ids).inspect_err(|_| {
            segment::remove_aside(&self.dir)
                .unwrap_or_else(|error| tracing::warn!(%error, "a file that was begun stays"));
        })?;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        segment::take_place(&self.dir, number).map_err(StoreError::Sync)?;
        if let Some(place) = index.full.iter_mut().find(|full| full.number == number) {
            *place = Arc::new(anew);
        }
        index.keep_newest_filters();
        tracing::info!(number, "a segment of the history was written anew");
        Ok(())
    }
}

/// The segment without them, made aside.
fn written_anew(dir: &Path, full: &Full, ids: &HashSet<ConversionId>) -> Result<Full, StoreError> {
    let damaged = |why: &str| StoreError::History(io::Error::new(io::ErrorKind::InvalidData, why));
    let old = Segment::open(dir, full.number).map_err(StoreError::History)?.map_err(damaged)?;
    let stamp = Stamp { segment: full.number, salt: rand::random() };
    let anew = Segment::make_aside(dir, stamp, old.first_seq, full.bytes).map_err(StoreError::of)?;
    let mut written = Written::new(&anew).map_err(StoreError::Sync)?;
    let (mut at, mut next_seq, mut mark, mut buffer) = (DATA_START, old.first_seq, Mark::default(), Vec::new());
    let walked = walk(&old, |_, header, body| {
        let records = frame::records(header, body)?;
        let mut kept = Vec::with_capacity(records.len());
        let mut place = at.saturating_add(frame::HEADER_BYTES);
        for record in &records {
            let (mut kind, mut payload) = (record.kind, record.payload.to_vec());
            if kind == kind::THROUGH {
                mark = mark.max(Mark::decode(&mut Reader::new(&payload))?);
                written.since_ms.get_or_insert(mark.written_ms);
            } else {
                let found = Kept::decode(record.payload)?;
                let (mut names, key) = (found.names, found.key_number());
                if ids.contains(&names.id) {
                    kind = kind::ERASED;
                    (names, payload) = encode_erased(&names);
                } else {
                    written.is_sealed_with(key);
                }
                written.insert(kind, &names, place);
            }
            place = place.saturating_add(frame::record_len(&payload));
            kept.push((kind, payload));
        }
        buffer.clear();
        let records = kept.iter().map(|(kind, payload)| (*kind, payload.as_slice()));
        frame::encode(&mut buffer, stamp, header.first_seq, records);
        anew.file.write_all_at(&buffer, at).map_err(StoreError::Sync)?;
        at = at.saturating_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        next_seq = next_seq.saturating_add(u64::from(header.count));
        Ok::<(), StoreError>(())
    });
    let end = walked.map_err(StoreError::History)??;
    if (end, next_seq) != (full.commits_end(), full.next_seq) {
        let why = format!("history segment {:016x} is damaged: `capi-relay recover` keeps what is whole", full.number);
        return Err(damaged(&why));
    }
    Full::make(dir, &anew, (at, next_seq, mark), &written).map_err(StoreError::of)
}
