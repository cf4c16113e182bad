//! Export and import: pending work, dead letters and what is known of settled conversions as a file, for a backup and for
//! another machine.
//!
//! **Promises.** An export is whole or says that it is not (its last line counts). An import is durable when it returns,
//! takes a conversion that is known by its id once, and counts nothing anew: attempts, due times and reasons are what they
//! were. Both take a folder that no process serves, and memory for a few conversions.
//!
//! An import goes through the journal, as what is accepted does: the conversion with its deliveries as they stand. So
//! wherever it ends, an ordinary start takes it up.

mod line;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::io::{self, BufRead, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use self::line::{Fault, Lines, Reading, Said, Trailer};
use super::Settings;
use super::clock::Clock;
use super::folder::OpenError;
use super::history::Met;
use super::journal::{Journal, Kind, Through};
use super::mover::{Mover, Take};
use super::record::{self, Leg, Record};
use super::recovery;
use super::shared::{Options, Shared};
use super::store::Kept;
use super::vault::KeyHash;
use super::window::Entry;
use crate::conversion::{ConversionId, DestinationName};

/// Which conversions are exported: those with a delivery that is owed or dead, of which all that is said here is so; and of
/// those of which nothing is, the newer.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// It is for this destination.
    pub destination: Option<DestinationName>,
    /// It stands so; `None`: either.
    pub standing: Option<Standing>,
    /// What is known of those of which nothing is owed or dead and that were received so long ago at most: so a repeat of one is
    /// no second sale where the file goes. `None`: of none.
    pub settled_within: Option<Duration>,
}

/// How a delivery stands that is not done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is owed.
    Pending,
    /// It was given up.
    Dead,
}

/// What an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Conversions.
    pub conversions: u64,
    /// Deliveries of them that are owed.
    pub pending: u64,
    /// Deliveries of them that were given up.
    pub dead: u64,
    /// Conversions beside those, of which nothing is owed or dead.
    pub settled: u64,
    /// Conversions that are kept, and cannot be read: they are damaged, and not in the file.
    pub unread: u64,
    /// Records of the history that are damaged, whatever they say: what is settled is not in the file as a whole.
    pub unread_history: u64,
}

/// What became of the conversions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Taken in with what they owe.
    pub new: u64,
    /// Taken in, of which nothing is owed or dead.
    pub settled: u64,
    /// Known by their id already, and left alone.
    pub known: u64,
    /// Not taken in: another conversion uses their key.
    pub refused: u64,
}

/// Why an export or an import ended early.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The data folder was refused.
    #[error("cannot open the queue")]
    Open(#[source] OpenError),
    /// The file could not be written.
    #[error("cannot write the export")]
    Write(#[source] io::Error),
    /// The file could not be read.
    #[error("cannot read the export{}", stay(imported))]
    Read {
        /// What was taken in before.
        imported: Imported,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what was exported.
    #[error("line {line}: {why}{}", stay(imported))]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong, and what would be right.
        why: String,
        /// What was taken in before.
        imported: Imported,
    },
    /// The folder could not be read or written.
    #[error("{why}{}", stay(imported))]
    Storage {
        /// What it said.
        why: String,
        /// What was taken in before.
        imported: Imported,
    },
}

fn stay(imported: &Imported) -> String {
    match imported.new.saturating_add(imported.settled) {
        0 => String::new(),
        new => format!(" ({new} conversions were imported before and stay; importing them again does no harm)"),
    }
}

/// What an opened folder is worked on with.
struct Work {
    shared: Arc<Shared>,
    journal: Journal,
    mover: Mover,
    last_accepted: u64,
    imported: Imported,
    group: Group,
}

/// What is appended together.
#[derive(Default)]
struct Group {
    taken: Vec<(Record, Vec<Leg>, Vec<u8>)>,
    bytes: usize,
    ids: HashSet<ConversionId>,
    keys: HashSet<KeyHash>,
}

pub(super) fn export(
    settings: &Settings,
    clock: Clock,
    options: Options,
    selection: &Selection,
    out: &mut dyn Write,
) -> Result<Exported, TransferError> {
    let state = settings.path.join("state");
    std::fs::metadata(&state).map_err(|source| TransferError::Open(OpenError::read(&state, source)))?;
    let (at, now_ms) = (clock.now().to_string(), clock.unix_ms());
    let mut work = Work::open(settings, clock, options)?;
    work.drain()?;
    let (mut lines, mut trailer) = (Lines::default(), Trailer::default());
    let mut write = |line: io::Result<String>| {
        let written = line.and_then(|line| out.write_all(line.as_bytes()));
        written.map_err(TransferError::Write)
    };
    write(lines.header(&at))?;
    let store = work.shared.store();
    let forgotten = work.shared.still_to_forget().map_err(|error| work.failed(&error))?;
    let (mut after, mut unread, mut unread_history) = (0, 0_u64, 0_u64);
    while let Some(some) = store.next_kept(after).map_err(|error| work.failed(&error))? {
        after = some.to;
        unread = unread.saturating_add(u64::try_from(some.unread).unwrap_or(u64::MAX));
        let is_meant = |kept: &&Kept| selection.takes(&kept.legs) && !forgotten.contains(&kept.record.meta.id);
        for kept in some.found.iter().filter(is_meant) {
            trailer.count(&kept.legs);
            write(lines.conversion(&kept.record, &kept.legs))?;
        }
    }
    if let Some(time) = selection.settled_within {
        let since_ms = now_ms.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let failed = OnceCell::new();
        let has_failed = || failed.get().is_some();
        let is_meant = |id: ConversionId| id.unix_ms() >= since_ms && !forgotten.contains(&id) && !has_failed();
        let mut visit = |met| match met {
            Met::Settled(settled) if is_meant(settled.id) => {
                trailer.count_settled();
                // It is the first: behind it nothing is written.
                write(lines.settled(*settled)).unwrap_or_else(|error| drop(failed.set(error)));
            }
            Met::Settled(_) | Met::Forgotten(_) => {}
            Met::Unread(records) => unread_history = unread_history.saturating_add(records),
        };
        let read = work.shared.history.scan(&(since_ms..=u64::MAX), &has_failed, &mut visit);
        failed.into_inner().map_or(Ok(()), Err)?;
        read.map_err(|error| work.failed(&error))?;
    }
    write(lines.trailer(&trailer))?;
    out.flush().map_err(TransferError::Write)?;
    let Trailer { conversions, pending, dead, settled } = trailer;
    Ok(Exported { conversions, pending, dead, settled, unread, unread_history })
}

/// `refused` is told the line of each conversion that is not taken in, and why.
pub(super) fn import(
    settings: &Settings,
    clock: Clock,
    options: Options,
    input: &mut dyn BufRead,
    refused: &mut dyn FnMut(u64, &str),
) -> Result<Imported, TransferError> {
    let mut reading = Reading::new(input);
    // A file that is no export makes no folder.
    reading.header().map_err(|fault| at_line(fault, reading.number, Imported::default()))?;
    let mut work = Work::open(settings, clock, options)?;
    work.drain()?;
    let read = work.take_all(&mut reading, refused)?;
    work.flush()?;
    read.map_err(|fault| at_line(fault, reading.number, work.imported))?;
    Ok(work.imported)
}

fn at_line(fault: Fault, line: u64, imported: Imported) -> TransferError {
    match fault {
        Fault::Read(source) => TransferError::Read { imported, source },
        Fault::Line(why) => TransferError::Line { line, why, imported },
    }
}

impl Selection {
    fn takes(&self, legs: &[Leg]) -> bool {
        legs.iter().any(|leg| {
            self.destination.as_ref().is_none_or(|destination| *destination == leg.destination)
                && match self.standing {
                    None => leg.pending() || leg.dead().is_some(),
                    Some(Standing::Pending) => leg.pending(),
                    Some(Standing::Dead) => leg.dead().is_some(),
                }
        })
    }
}

impl Work {
    fn open(settings: &Settings, clock: Clock, options: Options) -> Result<Work, TransferError> {
        let opened = recovery::open(settings, clock, options).map_err(TransferError::Open)?;
        let recovery::Opened { shared, journal, mover, last_accepted } = opened;
        Ok(Work { shared, journal, mover, last_accepted, imported: Imported::default(), group: Group::default() })
    }

    /// Moves all that is in memory.
    fn drain(&mut self) -> Result<(), TransferError> {
        while !self.mover.is_drained() {
            if !self.shared.space.has_room_for_store(&self.shared.folder) {
                let path = self.shared.folder.path().to_owned();
                return Err(self.failed(&OpenError::NoSpace { path, source: ErrorKind::StorageFull.into() }));
            }
            self.mover.step(Take::All).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// The inner error: the file is not what was exported.
    fn take_all(
        &mut self,
        reading: &mut Reading<'_>,
        refused: &mut dyn FnMut(u64, &str),
    ) -> Result<Result<(), Fault>, TransferError> {
        let mut read = Trailer::default();
        loop {
            let said = match reading.next(&self.shared.vault) {
                Ok(said) => said,
                Err(fault) => return Ok(Err(fault)),
            };
            let (record, legs) = match said {
                Said::Conversion(conversion) => {
                    read.count(&conversion.1);
                    *conversion
                }
                Said::Settled(conversion) => {
                    read.count_settled();
                    *conversion
                }
                Said::End(trailer) if trailer == read => return Ok(reading.end()),
                Said::End(trailer) => {
                    let all = |trailer: &Trailer| trailer.conversions.saturating_add(trailer.settled);
                    let (said, found) = (all(&trailer), all(&read));
                    let why = format!("the trailer counts {said} conversions, and {found} stand before it");
                    return Ok(Err(Fault::Line(why)));
                }
            };
            if let Some(why) = self.take(record, legs)? {
                self.imported.refused = self.imported.refused.saturating_add(1);
                refused(reading.number, &why);
            }
        }
    }

    /// Takes one in, unless it is known; says why it is refused.
    fn take(&mut self, record: Record, legs: Vec<Leg>) -> Result<Option<String>, TransferError> {
        let (id, key) = (record.meta.id, record.key);
        if self.group.ids.contains(&id) || self.group.keys.contains(&key) || self.group.bytes > GROUP_BYTES_MAX {
            self.flush()?;
        }
        let shared = Arc::clone(&self.shared);
        let users = shared.history.users(&key).map_err(|error| self.failed(&error))?;
        let is_known = |id| {
            let is_erased = users.contains(&(id, true));
            Ok(is_erased || shared.is_known(id).map_err(|error| self.failed(&error))?)
        };
        // A history from the first day on knows each key.
        let may_be_known = !users.is_empty() || shared.history.complete_since_ms() > 0;
        if may_be_known && is_known(id)? {
            self.imported.known = self.imported.known.saturating_add(1);
            return Ok(None);
        }
        // Further apart, one relay takes both: the key is used anew.
        let meets = |user: &ConversionId| user.unix_ms().abs_diff(id.unix_ms()) < shared.dedup_window_ms;
        // Of what owes nothing there is no second sale.
        let owes = legs.iter().any(Leg::kept);
        for user in users.iter().map(|(user, _)| *user).filter(|user| owes && meets(user)) {
            // The key may have outlived what used it.
            if is_known(user)? {
                let key = &record.meta.dedup_key;
                return Ok(Some(format!(
                    "{id} is not imported: its key `{key}` is used by {user}, which is kept here"
                )));
            }
        }
        let encoded = record::encode_accepted(&shared.vault.sealing(), &record, &legs);
        let encoded = encoded.map_err(|error| self.failed(&error))?;
        self.group.bytes = self.group.bytes.saturating_add(encoded.len()).saturating_add(ENTRY_BYTES);
        self.group.ids.insert(id);
        self.group.keys.insert(key);
        self.group.taken.push((record, legs, encoded));
        Ok(None)
    }

    /// Makes the group durable, and moves it.
    fn flush(&mut self) -> Result<(), TransferError> {
        self.append()?;
        self.drain()
    }

    fn append(&mut self) -> Result<(), TransferError> {
        let Group { taken, .. } = std::mem::take(&mut self.group);
        if taken.is_empty() {
            return Ok(());
        }
        let owes = |(_, legs, _): &(Record, Vec<Leg>, Vec<u8>)| legs.iter().any(Leg::kept);
        let mut admitted = self.shared.has_room();
        if taken.iter().any(owes) {
            admitted = admitted.and_then(|()| self.shared.within_budget(&self.shared.window()));
        }
        admitted.map_err(|error| self.failed(&error))?;
        let first_seq = self.journal.next_seq();
        let count = u64::try_from(taken.len()).unwrap_or(u64::MAX);
        let last_seq = first_seq.saturating_add(count).saturating_sub(1);
        let through = Through { moved_seq: last_seq, changes: self.shared.window().changes_made() };
        let records = taken.iter().map(|(_, _, encoded)| (Kind::Accepted, encoded.as_slice()));
        self.journal.append(records, through).map_err(|error| self.failed(&error))?;
        self.last_accepted = last_seq;
        let settled = u64::try_from(taken.iter().filter(|taken| !owes(taken)).count()).unwrap_or(u64::MAX);
        self.imported.settled = self.imported.settled.saturating_add(settled);
        self.imported.new = self.imported.new.saturating_add(count.saturating_sub(settled));
        let since_ms = self.shared.clock.elapsed_ms();
        for (seq, (record, legs, _)) in (first_seq..).zip(taken) {
            let record = Arc::new(record.with_seq(seq));
            self.shared.window().insert_all([Entry::new(record, legs, since_ms, None)]);
        }
        self.shared.space.check(&self.shared.folder);
        Ok(())
    }

    fn failed(&self, error: &dyn std::error::Error) -> TransferError {
        TransferError::Storage { why: error.to_string(), imported: self.imported }
    }
}

/// Appended at once: a sync for each hundred conversions or so.
const GROUP_BYTES_MAX: usize = 256 * 1024;
/// Counted beside the encoded conversion.
const ENTRY_BYTES: usize = 512;

#[cfg(test)]
mod tests;
