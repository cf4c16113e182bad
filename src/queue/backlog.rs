//! The backlog: conversions of which something is owed or dead, in append-only segments of blocks.
//!
//! A block is some conversions that the mover took over together, as they stood then: what they say, and what each
//! destination was owed. That never changes. The store has one small entry a block: where it lies, which of its conversions
//! are alive, which of them are fresh for whom. What memory holds grows with the blocks; so does what the store holds, but for
//! those conversions whose deliveries have been attempted.
//!
//! **Promises.** A block is on stable storage before the store names it; it is named before the journal gives up what is in
//! it. A segment is removed when neither the store nor a copy of it that is being made names a block in it, and the sync of
//! that is behind it. A conversion is read whole or not at all: each has a checksum.
//!
//! | a crash | finds | and then |
//! | --- | --- | --- |
//! | while a block is written, or before it is named | bytes that nothing names | they are cut off once the opening has come through; the conversions are moved again, from the journal |
//! | behind that | the block, named | the journal's copy is passed over |
//! | while a block is written anew elsewhere | the old one, named | the new bytes are cut off |
//! | behind that | the new one, named | a segment without a named block is removed at the opening |
//! | while a segment is removed | it, or not | nothing names it |
//! | while what is gone is overwritten | its bytes, or some, or none | it is not alive; it is overwritten again |
//!
//! A segment is not appended to across a restart: each opening begins a new one with the first block.
//!
//! | file | owns |
//! | --- | --- |
//! | `bits` | a set of conversions of a block |
//! | `block` | what the store says of a block; one that is to be written |
//! | `contents` | what lies in a block's frame, and where |
//! | `known` | what memory knows |
//! | `spans` | blocks by what they reach over |
//! | `sparse` | what is to be written anew, for most of it is gone |
//! | `erase` | what is gone, overwritten |
//! | `salvage` | what lies there, named or not |

mod bits;
mod block;
mod contents;
mod erase;
mod known;
mod salvage;
mod sparse;
mod spans;
#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::contents::{Slot, kind};
use self::known::{Filed, Known};
use super::folder::{Folder, OpenError, is_full, make_dir, sync_dir};
use super::log::frame::{self, Stamp};
use super::log::segment::{self, DATA_START, Segment};
use super::store::StoreError;
use super::vault::KeyHash;
use crate::conversion::{ConversionId, DestinationName};

pub(super) use self::bits::Bits;
use self::block::BLOCK_BYTES_MAX;
pub(super) use self::block::{Block, Draft, Item, Key, Owed, entry_bytes};
pub(super) use self::known::Found;
pub(super) use self::salvage::{Salvaged, salvage};

/// The open backlog of a folder, whichever generation of the store is in force. Written by the mover alone; read from anywhere
/// but a runtime thread.
#[derive(Debug)]
pub(super) struct Backlog {
    dir: PathBuf,
    segment_bytes: u64,
    end: Mutex<End>,
    known: RwLock<Known>,
    /// Held by the one who overwrites what is gone.
    erasing: Mutex<()>,
}

/// Where it is written.
#[derive(Debug)]
struct End {
    /// `None`: the next append begins one.
    segment: Option<Segment>,
    at: u64,
    /// Of the newest segment.
    number: u64,
    /// Of the next block.
    next_block: u64,
}

/// A block that the store names and that is not there.
#[derive(Debug)]
pub(super) struct Lacking {
    pub(super) block: Block,
    /// In words.
    pub(super) why: String,
}

/// A conversion of a block.
pub(super) struct Place {
    pub(super) found: Found,
    pub(super) slot: usize,
    pub(super) contents: Slot,
}

impl Place {
    pub(super) fn is_alive(&self) -> bool {
        self.found.block.live.contains(self.slot)
    }

    /// Whether its legs are not those that lie with it.
    pub(super) fn is_changed(&self) -> bool {
        self.found.block.changed.contains(self.slot)
    }

    /// As the journal has it, with the legs as they stood.
    pub(super) fn read(&self) -> Result<Vec<u8>, StoreError> {
        Ok(self.contents.read(&self.found.file).map_err(StoreError::Backlog)??)
    }
}

impl Found {
    /// All of its conversions, alive or not.
    pub(super) fn places(&self) -> Result<Vec<Place>, StoreError> {
        let slots = contents::read(&self.file, &self.block).map_err(StoreError::Backlog)??;
        let place = |(slot, contents)| Place { found: self.clone(), slot, contents };
        Ok(slots.into_iter().enumerate().map(place).collect())
    }

    /// Those of them that are fresh for the destination.
    pub(super) fn fresh(&self, destination: &DestinationName) -> Bits {
        self.block.lane(destination).map(|lane| lane.fresh).unwrap_or_default()
    }
}

/// Some that come one behind the other, by acceptance.
pub(super) struct Stretch<T> {
    pub(super) found: Vec<T>,
    /// So many more cannot be read.
    pub(super) unread: usize,
    /// All up to this sequence number.
    pub(super) to: u64,
}

impl Backlog {
    /// Of a folder in which no block is named. `newest`: the last segment that there has been.
    pub(super) fn begin_anew(folder: &Path, newest: u64, segment_bytes: u64) -> io::Result<Backlog> {
        let dir = folder.join(DIR);
        let there = if dir.exists() { segment::numbers(&dir)?.last().copied().unwrap_or(0) } else { 0 };
        let end = End { segment: None, at: 0, number: newest.max(there), next_block: 1 };
        Ok(Backlog { dir, segment_bytes, end: Mutex::new(end), known: RwLock::default(), erasing: Mutex::default() })
    }

    /// Opens what the store names. What else is there stays until it [is removed](Backlog::remove_unnamed). Returns the
    /// blocks that are not there, too.
    pub(super) fn open(
        folder: &Path,
        newest: u64,
        blocks: Vec<Block>,
        segment_bytes: u64,
    ) -> Result<(Backlog, Vec<Lacking>), OpenError> {
        let backlog = Backlog::begin_anew(folder, newest, segment_bytes);
        let backlog = backlog.map_err(|source| OpenError::read(&folder.join(DIR), source))?;
        let (mut known, mut end) = (backlog.write(), backlog.lock_end());
        let mut segments: BTreeMap<u64, Result<u64, String>> = BTreeMap::new();
        let mut lacking = Vec::new();
        for block in blocks {
            let number = block.segment;
            end.next_block = end.next_block.max(block.number.saturating_add(1));
            let len = match segments.entry(number) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(open_segment(&backlog.dir, number, &mut known.files)?),
            };
            let ends_at = block.at.saturating_add(block.frame_bytes);
            let why = match len {
                Ok(len) if *len < ends_at => format!("is cut short: {len} of {ends_at}"),
                Ok(_) => {
                    known.put(block);
                    continue;
                }
                Err(why) => why.clone(),
            };
            lacking.push(Lacking { block, why: format!("backlog segment {number:016x} {why}") });
        }
        drop((known, end));
        Ok((backlog, lacking))
    }

    /// Removes what is behind the last named block of each segment, and segments without any: a crash has left it. Only where
    /// all is known to be named that should be.
    pub(super) fn remove_unnamed(&self) -> Result<(), OpenError> {
        let dir = &self.dir;
        if !dir.exists() {
            return Ok(());
        }
        let (read, write) = (|source| OpenError::read(dir, source), |source| OpenError::write(dir, source));
        let known = self.read();
        for number in segment::numbers(dir).map_err(read)? {
            match known.files.get(&number) {
                None => std::fs::remove_file(segment::path(dir, number)).map_err(write)?,
                Some(filed) if filed.file.metadata().map_err(read)?.len() > filed.bytes => {
                    filed.file.set_len(filed.bytes).map_err(write)?;
                }
                Some(_) => {}
            }
        }
        sync_dir(dir).map_err(write)
    }

    /// Writes blocks and returns once they are on stable storage. Until they are [published](Backlog::publish) they are not
    /// there, and may be [given up](Backlog::withdraw). Without room nothing is written ([`StoreError::NoSpace`]).
    pub(super) fn append(&self, folder: &Folder, drafts: &[Draft], history_seq: u64) -> Result<Vec<Block>, StoreError> {
        let mut end = self.lock_end();
        let is_full = end.segment.is_none() || end.at >= self.segment_bytes;
        if is_full {
            self.roll(folder, &mut end).map_err(failed)?;
        }
        let End { segment: Some(segment), at, next_block, .. } = &*end else {
            return Err(failed(io::ErrorKind::NotFound.into()));
        };
        let (mut buffer, mut blocks) = (Vec::new(), Vec::new());
        for (number, draft) in (*next_block..).zip(drafts) {
            let begins = buffer.len();
            let contents = contents::encode(draft, number);
            let conversions = draft.items.iter().map(|item| (kind::CONVERSION, item.payload.as_slice()));
            let records = std::iter::once((kind::CONTENTS, contents.as_slice())).chain(conversions);
            frame::encode(&mut buffer, segment.stamp, number, records);
            let place = at.saturating_add(bytes(begins));
            let frame_bytes = bytes(buffer.len().saturating_sub(begins));
            blocks.push(draft.block(number, (segment.stamp.segment, place, frame_bytes), history_seq));
        }
        if let Err(error) = segment.file.write_all_at(&buffer, *at) {
            segment.file.set_len(*at).map_err(StoreError::Backlog)?;
            return Err(failed(error));
        }
        segment.file.sync_data().map_err(StoreError::Backlog)?;
        Ok(blocks)
    }

    /// Ends the segment that is written: the next block begins another.
    pub(super) fn end_segment(&self) {
        self.lock_end().segment = None;
    }

    /// Begins the next segment.
    fn roll(&self, folder: &Folder, end: &mut End) -> io::Result<()> {
        make_dir(&self.dir)?;
        if segment::room(&self.dir)? < DATA_START {
            folder.drop_ballast();
        }
        let number = end.number.saturating_add(1);
        let stamp = Stamp { segment: number, salt: rand::random() };
        let segment = Segment::make(&self.dir, stamp, end.next_block, DATA_START)?;
        folder.update(|state| state.newest_backlog = state.newest_backlog.max(number))?;
        // Of its own: an error of a sync is told once to each that has the file open, and the mover must hear of its own.
        let file = File::options().read(true).write(true).open(segment::path(&self.dir, number))?;
        let filed = Filed::new(file, DATA_START);
        self.write().files.insert(number, filed);
        (end.segment, end.at, end.number) = (Some(segment), DATA_START, number);
        Ok(())
    }

    /// Gives up what was appended and not published.
    pub(super) fn withdraw(&self) -> Result<(), StoreError> {
        let end = self.lock_end();
        let cut = end.segment.as_ref().map_or(Ok(()), |segment| segment.file.set_len(end.at));
        cut.map_err(StoreError::Backlog)
    }

    /// From here on these are there, as they are said to be; one of which nothing is alive is gone.
    pub(super) fn publish(&self, blocks: impl IntoIterator<Item = Block>, gone: &[Key]) {
        let mut end = self.lock_end();
        let mut known = self.write();
        gone.iter().for_each(|key| known.remove(*key));
        known.rewrites = known.rewrites.saturating_add(u64::from(!gone.is_empty()));
        for block in blocks {
            if block.segment == end.number && end.segment.is_some() {
                end.at = end.at.max(block.at.saturating_add(block.frame_bytes));
            }
            end.next_block = end.next_block.max(block.number.saturating_add(1));
            known.put(block);
        }
    }

    /// Removes segments in which no block is. What names them must have been given up durably. What cannot be removed goes at
    /// the next opening.
    pub(super) fn remove_unneeded(&self) {
        let mut end = self.lock_end();
        let mut known = self.write();
        let is_long = end.at > KEPT_BYTES;
        let is_needed = |number: u64| number == end.number && end.segment.is_some() && !is_long;
        let unneeded: Vec<u64> = known
            .files
            .iter()
            .filter(|(number, filed)| !filed.has_blocks() && !is_needed(**number))
            .map(|(number, _)| *number)
            .collect();
        for number in &unneeded {
            known.files.remove(number);
            if *number == end.number {
                end.segment = None;
            }
        }
        drop((known, end));
        for number in unneeded {
            if let Err(error) = std::fs::remove_file(segment::path(&self.dir, number)) {
                tracing::warn!(number, %error, "a segment of the backlog that is not needed any more could not be removed");
            }
        }
    }

    /// A conversion by its place in the order of acceptance.
    pub(super) fn at(&self, seq: u64, id: ConversionId) -> Result<Option<Place>, StoreError> {
        let found: Vec<Found> = {
            let known = self.read();
            known.spanning(seq, seq).filter_map(|block| known.found(block)).collect()
        };
        find(found, |slot| slot.id == id && slot.seq == seq)
    }

    /// A conversion by its id.
    pub(super) fn with_id(&self, id: ConversionId) -> Result<Option<Place>, StoreError> {
        let found: Vec<Found> = {
            let known = self.read();
            known.with_id(id).filter_map(|block| known.found(block)).collect()
        };
        find(found, |slot| slot.id == id)
    }

    /// What is alive of some that come after that one in the order of acceptance; `None` when none do.
    pub(super) fn next_after(&self, after: u64) -> Result<Option<Stretch<Place>>, StoreError> {
        let (found, to) = {
            let known = self.read();
            let Some(to) = known.next_end(after) else { return Ok(None) };
            let found = known.spanning(after.saturating_add(1), to).filter_map(|block| known.found(block));
            (found.collect::<Vec<Found>>(), to)
        };
        let mut stretch = Stretch { found: Vec::new(), unread: 0, to };
        for found in found {
            let is_meant = |place: &Place| place.is_alive() && place.contents.seq > after && place.contents.seq <= to;
            match found.places() {
                Ok(places) => stretch.found.extend(places.into_iter().filter(is_meant)),
                Err(StoreError::Form(damage)) if found.block.first_seq > after => {
                    tracing::error!(block = found.block.number, %damage, "a block of the backlog cannot be read");
                    stretch.unread = stretch.unread.saturating_add(found.block.live.count());
                }
                // That was said when it began.
                Err(StoreError::Form(_)) => {}
                Err(error) => return Err(error),
            }
        }
        stretch.found.sort_by_key(|place| place.contents.seq);
        Ok(Some(stretch))
    }

    /// How often blocks have been written anew. While it stays the same, what is read from one block to the next is all of it.
    pub(super) fn rewrites(&self) -> u64 {
        self.read().rewrites
    }

    /// Blocks with something fresh for the destination, by acceptance, from that one on; at most so many.
    pub(super) fn fresh(&self, destination: &DestinationName, from: Key, count: usize) -> Vec<Found> {
        let known = self.read();
        known.fresh(destination, from).filter_map(|block| known.found(block)).take(count).collect()
    }

    /// All blocks, by acceptance.
    pub(super) fn all(&self) -> Vec<Found> {
        let known = self.read();
        known.blocks().filter_map(|block| known.found(block)).collect()
    }

    /// When the first was received that the destination is owed.
    pub(super) fn oldest_ms(&self, destination: &DestinationName) -> Option<u64> {
        let found = {
            let known = self.read();
            known.found(known.first_owed(destination)?)?
        };
        let owed = found.block.lane(destination)?.owed;
        let first = found.places().ok().and_then(|places| {
            let first = places.into_iter().find(|place| owed.contains(place.slot))?;
            Some(first.contents.id.unix_ms())
        });
        // Of one that is damaged its own word must do.
        first.or(Some(found.block.first_ms))
    }

    /// Conversions that may be of the order, by acceptance, of which the history may not tell any more: its first record is
    /// `history_seq`.
    pub(super) fn of_order(&self, order: &KeyHash, history_seq: u64) -> Result<Vec<Place>, StoreError> {
        let found: Vec<Found> = {
            let known = self.read();
            let old = known.blocks().filter(|block| block.history_seq < history_seq);
            old.filter_map(|block| known.found(block)).collect()
        };
        let mut places = Vec::new();
        for found in found {
            let may_be = |place: &Place| place.is_alive() && place.contents.may_be_of(order);
            match found.places() {
                Ok(all) => places.extend(all.into_iter().filter(may_be)),
                // It hides no other.
                Err(StoreError::Form(damage)) => {
                    tracing::error!(block = found.block.number, %damage, "a block of the backlog cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(places)
    }

    /// Bytes of all segments, and of what is alive in them.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let known = self.read();
        known.files.values().fold((0, 0), |(bytes, live), filed| {
            (bytes.saturating_add(filed.bytes), live.saturating_add(filed.live_bytes))
        })
    }

    /// Whether it takes much more room than what is alive in it, or many more blocks.
    pub(super) fn is_wasteful(&self) -> bool {
        let (bytes, live_bytes) = self.bytes();
        let (blocks, conversions) = self.read().counts();
        let by_count = conversions.checked_div(Bits::MAX).unwrap_or(0);
        let by_bytes = usize::try_from(live_bytes / BLOCK_BYTES_MAX).unwrap_or(usize::MAX);
        let needed = by_count.saturating_add(by_bytes);
        bytes > live_bytes.saturating_mul(3).saturating_add(WASTED_BYTES)
            || blocks > needed.saturating_mul(4).saturating_add(WASTED_BLOCKS)
    }

    /// The newest segment that there is.
    pub(super) fn newest(&self) -> u64 {
        self.lock_end().number
    }

    fn lock_end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(among: Vec<Found>, is_meant: impl Fn(&Slot) -> bool) -> Result<Option<Place>, StoreError> {
    let mut damage: Option<StoreError> = None;
    for found in among {
        match found.places() {
            Ok(places) => {
                let place = places.into_iter().find(|place| place.is_alive() && is_meant(&place.contents));
                if place.is_some() {
                    return Ok(place);
                }
            }
            Err(error) => damage = Some(error),
        }
    }
    // It may be in the one that is damaged.
    damage.map_or(Ok(None), Err)
}

/// How long a segment is, or why there is none.
fn open_segment(dir: &Path, number: u64, files: &mut BTreeMap<u64, Filed>) -> Result<Result<u64, String>, OpenError> {
    let opened = match Segment::open(dir, number) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err("is missing".to_owned())),
        Err(error) if segment::is_unreadable(&error) => Err("the disk cannot read it"),
        opened => opened.map_err(|source| OpenError::read(dir, source))?,
    };
    Ok(match opened {
        Ok(segment) => {
            files.insert(number, Filed::new(segment.file, DATA_START));
            Ok(segment.bytes)
        }
        Err(what) => Err(format!("is damaged: {what}")),
    })
}

/// Of making room, or of writing what nothing names yet.
fn failed(source: io::Error) -> StoreError {
    if is_full(&source) { StoreError::NoSpace(source) } else { StoreError::Backlog(source) }
}

fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// In the data folder.
pub(super) const DIR: &str = "backlog";
/// A segment that is written and has nothing alive in it is removed when it is longer.
const KEPT_BYTES: u64 = 1024 * 1024;
/// Whatever is alive, so much more is no waste: some segments.
const WASTED_BYTES: u64 = 256 * 1024 * 1024;
/// Nor are so many small blocks: a megabyte or two of memory.
const WASTED_BLOCKS: usize = 4096;
