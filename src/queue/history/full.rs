//! A segment that is full: its commits, its filter, its tables, and a footer that says where they are.
//!
//! Of all this only the commits are promised. A filter that is damaged is none, a footer is made anew at the next opening,
//! and a page of the tables when it is met, in its place: a lookup waits for that once, for as long as the segment is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::codec::{Reader, Writer};
use super::super::folder::sync;
use super::super::log::segment::Segment;
use super::super::vault::PLAIN;
use super::filter::{FILTER_BYTES, Filter};
use super::opening;
use super::table::{self, By, Counts, Open};
use super::{Mark, Received, Written};

/// What is known of it without reading.
#[derive(Debug, Clone)]
pub(super) struct Full {
    pub(super) number: u64,
    /// Tells it from one that was written anew in its place.
    salt: u64,
    dir: PathBuf,
    pub(super) bytes: u64,
    /// The next segment's first record.
    pub(super) next_seq: u64,
    pub(super) mark: Mark,
    pub(super) received: Received,
    /// Of the data keys with which its records are sealed.
    pub(super) oldest_key: Option<u64>,
    counts: Counts,
    tables_at: u64,
    filter: Option<Filter>,
    /// Open while it is asked often: as long as it has a filter.
    file: Option<Arc<File>>,
    /// Held by the one who mends its tables.
    mending: Arc<Mutex<()>>,
}

impl Full {
    /// Writes the index of what was written up to `at`, and syncs all of it. The footer comes last: where it is found, the
    /// rest is whole, whatever a power cut has left of a write.
    pub(super) fn make(
        dir: &Path,
        segment: &Segment,
        (at, next_seq, mark): (u64, u64, Mark),
        written: &Written,
    ) -> io::Result<Full> {
        let (pages, counts) = written.tables.encode();
        let mut bytes = written.filter.encode();
        let filter_crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&pages);
        let mut w = Writer::with_capacity(FOOTER_BYTES);
        w.raw(&MAGIC);
        w.u64(segment.stamp.salt);
        w.u64(at);
        w.u64(next_seq);
        w.raw(&mark.encode());
        w.u64(written.received.first_ms);
        w.u64(written.received.last_ms);
        w.u64(written.oldest_key.unwrap_or(PLAIN));
        counts.0.into_iter().for_each(|count| w.u32(count));
        w.u32(filter_crc);
        let mut footer = w.finish();
        footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        let footer_at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        // Its place is taken up with the rest: a full disk is met before.
        bytes.resize(bytes.len().saturating_add(footer.len()), 0);
        segment.file.write_all_at(&bytes, at)?;
        segment.file.set_len(at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX)))?;
        sync(&segment.file)?;
        segment.file.write_all_at(&footer, footer_at)?;
        sync(&segment.file)?;
        let full = Full::open(dir, segment)?;
        full.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a segment's index is not what was written"))
    }

    /// `None` when it has no whole index: it is being written, or its making was cut short.
    pub(super) fn open(dir: &Path, segment: &Segment) -> io::Result<Option<Full>> {
        let bytes = segment.file.metadata()?.len();
        let mut footer = [0_u8; FOOTER_BYTES];
        let footer_bytes = u64::try_from(FOOTER_BYTES).unwrap_or(u64::MAX);
        let Some(footer_at) = bytes.checked_sub(footer_bytes) else { return Ok(None) };
        segment.file.read_exact_at(&mut footer, footer_at)?;
        let Some(found) = decode(&footer, segment.stamp.salt) else { return Ok(None) };
        let Found { at, next_seq, mark, received, oldest_key, counts, filter_crc } = found;
        let filter_bytes = u64::try_from(FILTER_BYTES).unwrap_or(u64::MAX);
        let tables_at = at.saturating_add(filter_bytes);
        if tables_at.saturating_add(counts.bytes()) != footer_at {
            return Ok(None);
        }
        let mut filter = vec![0_u8; FILTER_BYTES];
        segment.file.read_exact_at(&mut filter, at)?;
        // A damaged one is none: every key may be there.
        let filter = if crc32c::crc32c(&filter) == filter_crc { Filter::decode(&filter) } else { None };
        let number = segment.stamp.segment;
        let dir = dir.to_owned();
        let file = Some(Arc::new(segment.file.try_clone()?));
        let mending = Arc::default();
        Ok(Some(Full {
            number,
            salt: segment.stamp.salt,
            dir,
            bytes,
            next_seq,
            mark,
            received,
            oldest_key,
            counts,
            tables_at,
            filter,
            file,
            mending,
        }))
    }

    pub(super) fn may_hold(&self, by: By) -> bool {
        self.filter.as_ref().is_none_or(|filter| by.may_be_in(filter))
    }

    /// Places that may be what is asked for, and the file; `None` when it has been given up meanwhile.
    pub(super) fn find(&self, by: By) -> io::Result<Option<(Arc<File>, Vec<u32>)>> {
        let Some(file) = self.file()? else { return Ok(None) };
        let find = || table::find(&file, self.tables_at, self.counts, by);
        let found = match find() {
            Ok(found) => found,
            Err(_) => {
                let _alone = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
                // Another may have mended it meanwhile.
                match find() {
                    Ok(found) => found,
                    Err(error) => match self.mend(&error)? {
                        Some(tables) => tables.find(by),
                        None => return Ok(None),
                    },
                }
            }
        };
        Ok(Some((file, found)))
    }

    /// Fails when a page of its tables is not as it was written.
    pub(super) fn verify_tables(&self) -> io::Result<()> {
        self.file()?.map_or(Ok(()), |file| table::verify(&file, self.tables_at, self.counts))
    }

    /// Makes its tables anew when they are damaged; fails when they stay so.
    pub(super) fn mend_tables(&self) -> io::Result<()> {
        let Err(damage) = self.verify_tables() else { return Ok(()) };
        let _alone = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
        self.mend(&damage)?;
        self.verify_tables()
    }

    /// Writes the tables anew that its commits make, which say the same. `None` when it has been given up meanwhile; fails
    /// when they are not whole either.
    fn mend(&self, damage: &io::Error) -> io::Result<Option<Open>> {
        let Some(segment) = self.opened()? else { return Ok(None) };
        let file = segment.file.try_clone()?;
        let (tables, end) = opening::tables(segment)?;
        let (pages, counts) = tables.encode();
        if end != (self.commits_end(), self.next_seq) || counts != self.counts {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{damage}, and the commits are damaged too"),
            ));
        }
        let number = self.number;
        match file.write_all_at(&pages, self.tables_at).and_then(|()| file.sync_data()) {
            Ok(()) => tracing::warn!(number, %damage, "the index of a history segment was damaged: it is made anew"),
            Err(error) => tracing::warn!(number, %damage, %error, "the index of a history segment is damaged"),
        }
        Ok(Some(tables))
    }

    /// Where its commits end.
    pub(super) fn commits_end(&self) -> u64 {
        self.tables_at.saturating_sub(u64::try_from(FILTER_BYTES).unwrap_or(u64::MAX))
    }

    /// `None` when it has been given up.
    fn file(&self) -> io::Result<Option<Arc<File>>> {
        match &self.file {
            Some(file) => Ok(Some(Arc::clone(file))),
            None => Ok(self.opened()?.map(|segment| Arc::new(segment.file))),
        }
    }

    /// `None` when it has been given up. Fails as [`REPLACED`] when another was written in its place: it is to be looked for
    /// again then.
    fn opened(&self) -> io::Result<Option<Segment>> {
        let segment = match Segment::open(&self.dir, self.number) {
            Ok(segment) => segment.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if segment.stamp.salt == self.salt { Ok(Some(segment)) } else { Err(REPLACED.into()) }
    }

    pub(super) fn is_asked_often(&self) -> bool {
        self.file.is_some()
    }

    /// Gives up its filter and its descriptor.
    pub(super) fn set_aside(&mut self) {
        (self.filter, self.file) = (None, None);
    }
}

struct Found {
    at: u64,
    next_seq: u64,
    mark: Mark,
    received: Received,
    oldest_key: Option<u64>,
    counts: Counts,
    filter_crc: u32,
}

fn decode(footer: &[u8; FOOTER_BYTES], salt: u64) -> Option<Found> {
    let (covered, crc) = footer.split_last_chunk::<4>()?;
    if crc32c::crc32c(covered).to_le_bytes() != *crc {
        return None;
    }
    let mut r = Reader::new(covered);
    let is_own = r.raw(MAGIC.len()).ok()? == MAGIC && r.u64().ok()? == salt;
    let (at, next_seq, mark) = (r.u64().ok()?, r.u64().ok()?, Mark::decode(&mut r).ok()?);
    let received = Received { first_ms: r.u64().ok()?, last_ms: r.u64().ok()? };
    let oldest_key = Some(r.u64().ok()?).filter(|number| *number != PLAIN);
    let counts = Counts([r.u32().ok()?, r.u32().ok()?, r.u32().ok()?]);
    let filter_crc = r.u32().ok()?;
    is_own.then_some(Found { at, next_seq, mark, received, oldest_key, counts, filter_crc })
}

/// What looking into a segment fails with that was written anew meanwhile.
pub(super) const REPLACED: io::ErrorKind = io::ErrorKind::StaleNetworkFileHandle;
const MAGIC: [u8; 8] = *b"capiIdx\n";
const FOOTER_BYTES: usize = 100;
