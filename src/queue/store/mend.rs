//! All of a store read: whether it holds what it counts, and which conversions of its backlog are damaged.
//!
//! A damaged conversion costs itself alone: it is taken out, with all that is said of it. Every group that does so carries the
//! same ledger, which counts what is whole: cut short, it is begun again.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::super::backlog::{Block, Place as Lying};
use super::super::codec::Reader;
use super::super::folder::OpenError;
use super::super::panics::caught;
use super::ledger::Tally;
use super::{Group, Ledger, Store, StoreError, keys};
use crate::conversion::ConversionId;

/// What is damaged.
pub(in super::super) struct Damage {
    /// Of what is whole.
    ledger: Ledger,
    /// Blocks without it.
    blocks: Vec<Block>,
    /// By sequence number.
    conversions: HashSet<u64>,
    ids: Vec<ConversionId>,
    /// From … to, of blocks of which it cannot be told what is in them.
    unread: Vec<(u64, u64)>,
    /// Of the backlog, in which it lies.
    pub(in super::super) segments: BTreeSet<u64>,
}

impl Damage {
    /// In words.
    pub(in super::super) fn what(&self) -> String {
        let (conversions, blocks) = (self.conversions.len(), self.unread.len());
        format!("{conversions} conversions and {blocks} blocks of the backlog are damaged")
    }

    fn is_about(&self, seq: u64) -> bool {
        self.conversions.contains(&seq) || self.unread.iter().any(|(from, to)| (*from..=*to).contains(&seq))
    }
}

impl Store {
    /// Reads every conversion with its body, and holds the deliveries to the ledger's counts. Says what is damaged of the
    /// backlog, if anything is: then nothing is counted.
    pub(in super::super) fn verify(&self, dir: &Path, ledger: &Ledger) -> Result<Option<Damage>, OpenError> {
        // sled panics on some damage where it should return an error.
        let found = caught(|| self.read_all(ledger));
        let found = found.map_err(|said| OpenError::damaged(dir, format!("sled cannot read its file: {said}")))?;
        let mut found = found.map_err(|error| OpenError::store(dir, &error))?;
        if !found.blocks.is_empty() {
            return Ok(Some(found));
        }
        let mut known = ledger.tallies.clone();
        known.retain(|_, tally| *tally != Tally::default());
        found.ledger.tallies.retain(|_, tally| *tally != Tally::default());
        if (&found.ledger.tallies, &found.ledger.sealed) == (&known, &ledger.sealed) {
            Ok(None)
        } else {
            Err(OpenError::damaged(dir, "the store does not hold all the deliveries that it counts"))
        }
    }

    fn read_all(&self, ledger: &Ledger) -> Result<Damage, StoreError> {
        let none = Ledger::new(ledger.epoch);
        let (moved_seq, history_seq) = (ledger.moved_seq, ledger.history_seq);
        let mut found = Damage {
            ledger: Ledger { moved_seq, history_seq, ..none },
            blocks: Vec::new(),
            conversions: HashSet::new(),
            ids: Vec::new(),
            unread: Vec::new(),
            segments: BTreeSet::new(),
        };
        for block in self.backlog.all() {
            let mut left = Block::clone(&block.block);
            match block.places() {
                Err(StoreError::Form(_)) => {
                    found.unread.push(left.seqs());
                    left.remove_all();
                }
                Err(error) => return Err(error),
                Ok(places) => {
                    let mut alive = places.iter().filter(|place| place.is_alive());
                    alive.try_for_each(|place| self.read_one(place, &mut left, &mut found))?;
                }
            }
            if left != *block.block {
                found.segments.insert(left.segment());
                found.blocks.push(left);
            }
        }
        Ok(found)
    }

    /// `left`: its block, without it if it is damaged.
    fn read_one(&self, place: &Lying, left: &mut Block, found: &mut Damage) -> Result<(), StoreError> {
        let (seq, id) = (place.contents.seq, place.contents.id);
        let changed = if place.is_changed() { self.changed_legs(id)? } else { None };
        // The store itself lacks something.
        let is_lacking = place.is_changed() && changed.is_none();
        match self.kept_in(place, changed) {
            Ok(_) if is_lacking => {}
            Ok(kept) => found.ledger.counts(&kept),
            Err(StoreError::Form(_)) => {
                left.remove(place.slot, place.contents.bytes());
                found.conversions.insert(seq);
                found.ids.push(id);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes out what is damaged; returns the ledger of what is left.
    pub(in super::super) fn mend(&self, damage: Damage) -> Result<Ledger, StoreError> {
        let mut gone = Vec::new();
        for table in [keys::DUE, keys::DEAD] {
            for entry in self.db.scan_prefix([table]) {
                let (key, id) = entry?;
                let seq = key.split_last_chunk::<8>().map_or(0, |(_, seq)| u64::from_be_bytes(*seq));
                let id = ConversionId::from_bytes(Reader::new(&id).id()?);
                // In the range of a block that cannot be read another one may hold it.
                if damage.is_about(seq)
                    && (damage.conversions.contains(&seq) || !matches!(self.backlog.at(seq, id), Ok(Some(_))))
                {
                    gone.push(key);
                }
            }
        }
        let mut group = Group::default();
        for key in gone {
            group.remove(&key);
            self.commit_some(&mut group, &damage.ledger)?;
        }
        for id in &damage.ids {
            if let Some(pieces) = self.changed_pieces(*id)? {
                group.remove_status(*id, pieces);
                self.commit_some(&mut group, &damage.ledger)?;
            }
        }
        for block in &damage.blocks {
            group.put_block(block);
            self.commit_some(&mut group, &damage.ledger)?;
        }
        group.insert(keys::LEDGER, damage.ledger.encode());
        self.commit(group)?;
        self.backlog.publish(damage.blocks, &[]);
        Ok(damage.ledger)
    }

    fn commit_some(&self, group: &mut Group, ledger: &Ledger) -> Result<(), StoreError> {
        if group.bytes() < MENDED_BYTES {
            return Ok(());
        }
        group.insert(keys::LEDGER, ledger.encode());
        self.commit(std::mem::take(group))
    }
}

/// Written at once, far below what a group may count.
const MENDED_BYTES: usize = 32 * 1024;
