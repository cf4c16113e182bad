//! What neither store nor history knows, taken up: from the backlog's segments, from the journal.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::backlog::{self, Salvaged};
use super::super::folder::{OpenError, State};
use super::super::journal::Kind;
use super::super::mover::{Mover, Take};
use super::super::record::{self, Change, Leg, Record};
use super::super::shared::Shared;
use super::super::store::StoreError;
use super::super::window::Entry;
use super::Recovered;
use super::journal::{self, Found};
use crate::conversion::ConversionId;

/// Rebuilds into a store and a history that are whole.
pub(super) struct Rebuilding<'a> {
    path: &'a Path,
    pub(super) shared: Arc<Shared>,
    pub(super) mover: Mover,
    pub(super) recovered: Recovered,
    /// Segments of the backlog in which something lies that is not taken up.
    pub(super) left: BTreeSet<u64>,
    /// Conversions of the journal that were forgotten on request.
    forgotten: HashSet<ConversionId>,
}

impl<'a> Rebuilding<'a> {
    pub(super) fn new(path: &'a Path, shared: Arc<Shared>, mover: Mover, recovered: Recovered) -> Rebuilding<'a> {
        Rebuilding { path, shared, mover, recovered, left: BTreeSet::new(), forgotten: HashSet::new() }
    }

    /// `settled_before_ms`: what was received before then may have been settled, and nothing says so any more.
    pub(super) fn run(mut self, state: State, settled_before_ms: u64) -> Result<Rebuilding<'a>, OpenError> {
        if self.recovered.survey.store.is_some() {
            self.take_up_backlog(state.newest_backlog, settled_before_ms)?;
        }
        let path = self.path;
        journal::look(path, state, &mut Found::default(), &mut |seq, kind, payload| self.visit(seq, kind, payload))?;
        self.drain()?;
        Ok(self)
    }

    /// What lies in the backlog's segments up to that one and nothing knows.
    fn take_up_backlog(&mut self, newest: u64, settled_before_ms: u64) -> Result<(), OpenError> {
        let path = self.path;
        let visited = backlog::salvage(path, newest, |segment, block| {
            let too_old = self.recovered.too_old;
            self.take_up(block, settled_before_ms)?;
            if self.recovered.too_old > too_old {
                self.left.insert(segment);
            }
            Ok(())
        });
        visited.map_err(|source| OpenError::read(&path.join(backlog::DIR), source))?
    }

    /// A block of it.
    fn take_up(&mut self, block: Vec<Salvaged>, settled_before_ms: u64) -> Result<(), OpenError> {
        for (seq, id, accepted) in block {
            // Sealed with a key that nothing needed any more, it was settled.
            let Ok((record, legs)) = record::decode_accepted(&self.shared.vault, &accepted, seq) else { continue };
            if self.is_settled_or_kept(&record)? {
                continue;
            }
            if id.unix_ms() < settled_before_ms {
                self.recovered.too_old = self.recovered.too_old.saturating_add(1);
                continue;
            }
            self.recovered.taken_up = self.recovered.taken_up.saturating_add(1);
            self.insert(record, legs)?;
        }
        // Whatever lies there twice is known then.
        self.drain()
    }

    fn visit(&mut self, seq: u64, kind: Kind, payload: &[u8]) -> Result<(), OpenError> {
        let unread = |error: super::super::codec::Malformed| OpenError::damaged(self.path, error.to_string());
        match kind {
            Kind::Accepted => {
                let (record, legs) = record::decode_accepted(&self.shared.vault, payload, seq).map_err(unread)?;
                if self.is_settled_or_kept(&record)? {
                    return Ok(());
                }
                self.recovered.rebuilt = self.recovered.rebuilt.saturating_add(1);
                self.insert(record, legs)
            }
            Kind::Settled => {
                let change = Change::decode(&self.shared.vault, payload).map_err(unread)?;
                self.settled(Arc::new(change))
            }
        }
    }

    fn settled(&mut self, change: Arc<Change>) -> Result<(), OpenError> {
        if self.shared.window().settle_again(&change) {
            return Ok(());
        }
        let kept = match self.shared.store().kept_at(change.seq, change.id) {
            // What was damaged has been taken out: this has come to be since.
            Err(StoreError::Form(_)) => return Ok(()),
            kept => kept.map_err(|error| self.failed(&error))?,
        };
        if let Some(kept) = kept {
            let leg = kept.legs.iter().find(|leg| leg.destination == change.destination);
            if leg.is_some_and(|leg| leg.revision < change.settlement.revision) {
                self.shared.window().change_again(change);
                // One by one: what comes next may be about the same delivery.
                self.drain()?;
            }
        } else if !self.forgotten.contains(&change.id) && !self.is_known(change.id)? {
            self.recovered.gone = self.recovered.gone.saturating_add(1);
            if self.recovered.gone_first.len() < GONE_LISTED_MAX {
                self.recovered.gone_first.push((change.id, change.destination.clone()));
            }
        }
        Ok(())
    }

    /// Whether there is nothing to rebuild: it is known, or was forgotten on request.
    fn is_settled_or_kept(&mut self, record: &Record) -> Result<bool, OpenError> {
        let users = self.shared.history.users(&record.key).map_err(|error| self.failed(&error))?;
        if users.contains(&(record.meta.id, true)) {
            self.forgotten.insert(record.meta.id);
            return Ok(true);
        }
        self.is_known(record.meta.id)
    }

    /// Takes a conversion up, as at a start.
    fn insert(&mut self, record: Record, legs: Vec<Leg>) -> Result<(), OpenError> {
        let permit = self.shared.try_permit(&record);
        let is_full = permit.is_none();
        let since_ms = self.shared.clock.elapsed_ms();
        self.shared.window().insert_all([Entry::new(Arc::new(record), legs, since_ms, permit)]);
        if is_full { self.drain() } else { Ok(()) }
    }

    /// Whether the store or the history has it.
    fn is_known(&self, id: ConversionId) -> Result<bool, OpenError> {
        self.shared.is_known(id).map_err(|error| self.failed(&error))
    }

    fn drain(&mut self) -> Result<(), OpenError> {
        while !self.mover.is_drained() {
            if !self.shared.space.has_room_for_store(&self.shared.folder) {
                let (path, source) = (self.path.to_owned(), io::ErrorKind::StorageFull.into());
                return Err(OpenError::NoSpace { path, source });
            }
            self.mover.step(Take::All).map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    fn failed(&self, error: &StoreError) -> OpenError {
        OpenError::store(self.path, error)
    }
}

/// Settlements without their conversion that are named.
const GONE_LISTED_MAX: usize = 100;
