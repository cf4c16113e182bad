//! The journal as far as it can be read: every commit that is whole, before and behind what is damaged.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::super::folder::{OpenError, State};
use super::super::journal::Kind;
use super::super::log::segment::{self, Segment};
use super::super::log::{frame, salvage};
use super::super::record;
use super::at;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) wrong: Vec<String>,
    pub(super) missing: Vec<RangeInclusive<u64>>,
    pub(super) conversions: u64,
    pub(super) settlements: u64,
    pub(super) last_seq: u64,
    pub(super) segments: Vec<PathBuf>,
    received_ms: Option<(u64, u64)>,
}

impl Found {
    pub(super) fn received(&self) -> Option<(String, String)> {
        self.received_ms.map(|(first, last)| (at(first), at(last)))
    }

    fn damaged(&mut self, dir: &Path, number: u64, why: &str) {
        self.wrong.push(format!("journal segment {number:016x}: {why}"));
        let path = segment::path(dir, number);
        if !self.segments.contains(&path) {
            self.segments.push(path);
        }
    }

    /// Notes what should have come between two commits.
    fn gap(&mut self, expected: u64, first_seq: u64) {
        if let Some(last) = first_seq.checked_sub(1).filter(|last| expected <= *last) {
            self.missing.push(expected..=last);
        }
    }

    fn record(&mut self, seq: u64, kind: Kind, payload: &[u8]) {
        self.last_seq = self.last_seq.max(seq);
        match kind {
            Kind::Settled => self.settlements = self.settlements.saturating_add(1),
            Kind::Accepted => {
                self.conversions = self.conversions.saturating_add(1);
                if let Ok(id) = record::accepted_id(payload) {
                    let ms = id.unix_ms();
                    let (first, last) = self.received_ms.unwrap_or((ms, ms));
                    self.received_ms = Some((first.min(ms), last.max(ms)));
                }
            }
        }
    }
}

/// Told of each record: its sequence number, its kind, what it holds.
pub(super) type Visit<'v> = dyn FnMut(u64, Kind, &[u8]) -> Result<(), OpenError> + 'v;

/// The newest segment that there is or should be.
pub(super) fn newest(folder: &Path, state: State) -> io::Result<u64> {
    let dir = folder.join("journal");
    // One that is missing is damaged as a whole: segment by segment.
    let there = if dir.exists() { segment::numbers(&dir)?.last().copied().unwrap_or(0) } else { 0 };
    Ok(there.max(state.newest_segment))
}

/// Hands on every record that is whole, in order.
pub(super) fn look(folder: &Path, state: State, found: &mut Found, visit: &mut Visit<'_>) -> Result<(), OpenError> {
    let dir = folder.join("journal");
    let read = |source| OpenError::read(&dir, source);
    let newest = newest(folder, state).map_err(read)?;
    // Of the segment that was read last: its number, and what must come next.
    let mut read_last: Option<(u64, u64)> = None;
    for number in state.oldest_segment..=newest {
        let segment = match Segment::open(&dir, number) {
            Ok(Ok(segment)) => segment,
            Ok(Err(why)) => {
                found.damaged(&dir, number, why);
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.damaged(&dir, number, "it is missing");
                continue;
            }
            Err(error) => return Err(read(error)),
        };
        if let Some((before, next)) = read_last.filter(|(_, next)| *next < segment.first_seq) {
            found.gap(next, segment.first_seq);
            if before.saturating_add(1) == number {
                found.damaged(&dir, before, "commits at its end are missing");
            }
        }
        let mut next = segment.first_seq;
        let visited = salvage(&segment, |after_damage, header, body| {
            if let Some(at) = after_damage {
                found.damaged(&dir, number, &format!("the commit at byte {at} is damaged, and others came after it"));
            }
            found.gap(next, header.first_seq);
            next = header.first_seq.saturating_add(u64::from(header.count));
            let Ok(records) = frame::records(header, body) else {
                found.damaged(&dir, number, "a commit that cannot be read");
                return Ok(());
            };
            for record in records {
                match Kind::of(record.kind) {
                    Ok(kind) => {
                        found.record(record.seq, kind, record.payload);
                        visit(record.seq, kind, record.payload)?;
                    }
                    Err(error) => found.damaged(&dir, number, &error.to_string()),
                }
            }
            Ok::<(), OpenError>(())
        });
        visited.map_err(read)??;
        read_last = Some((number, next));
    }
    Ok(())
}
