//! Erasing: a full segment is written anew without what is to be forgotten, and takes the old one's place.
//!
//! Of a record that is erased its key stays, so that a repeat is still known as one. All commits keep their numbers, and
//! how far things had come; the file is synced before it takes the name.

use std::collections::{BTreeSet, HashSet};
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
        let mut held = self.lock_end();
        let end = &mut *held;
        // Of what is being written nothing is changed.
        seal(&self.dir, end, &self.index).map_err(StoreError::of)?;
        for number in self.numbers_with(ids)? {
            let anew = rewrite(&self.dir, number, ids)?;
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = index.full.iter_mut().find(|full| full.number == number) {
                *place = Arc::new(anew);
            }
            index.keep_newest_filters();
        }
        Ok(())
    }

    /// Segments with records of these conversions.
    fn numbers_with(&self, ids: &HashSet<ConversionId>) -> Result<BTreeSet<u64>, StoreError> {
        let mut numbers = BTreeSet::new();
        for id in ids {
            let mut keys = HashSet::new();
            for place in self.places(By::Id(*id), |_| true) {
                keys.extend(place.records(By::Id(*id), |_, kept| Ok(Some(kept.names.key)))?);
            }
            for key in keys {
                let by = By::Key(key);
                for place in self.places(by, |_| true) {
                    let theirs = place
                        .records(by, |kind, kept| Ok((kind != kind::ERASED && kept.names.id == *id).then_some(())))?;
                    numbers.extend(place.number().filter(|_| !theirs.is_empty()));
                }
            }
        }
        Ok(numbers)
    }
}

fn rewrite(dir: &Path, number: u64, ids: &HashSet<ConversionId>) -> Result<Full, StoreError> {
    let old = Segment::open(dir, number).map_err(StoreError::History)?;
    let old = old.map_err(|why| StoreError::History(std::io::Error::new(std::io::ErrorKind::InvalidData, why)))?;
    let bytes = old.file.metadata().map_err(StoreError::History)?.len();
    let stamp = Stamp { segment: number, salt: rand::random() };
    let anew = Segment::make_aside(dir, stamp, old.first_seq, bytes).map_err(StoreError::of)?;
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
    walked.map_err(StoreError::History)??;
    let full = Full::make(dir, &anew, (at, next_seq, mark), &written).map_err(StoreError::of)?;
    segment::take_place(dir, number).map_err(StoreError::Sync)?;
    tracing::info!(number, "a segment of the history was written anew");
    Ok(full)
}
