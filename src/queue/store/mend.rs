//! All of a store read: whether it holds what it counts, and which conversions of its backlog are damaged.
//!
//! A damaged conversion costs itself alone: it is taken out, with all that is said of it. Where the store has lost what became
//! of a conversion that is whole, it stands again as it was taken over; where it has lost an entry by which a delivery is found,
//! that is made again. Every group that mends carries the same ledger, which counts what is whole and says that it is not over:
//! cut short, it is begun again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher as _;
use std::path::Path;

use super::super::backlog::{Block, Place as Lying};
use super::super::folder::OpenError;
use super::super::panics::caught;
use super::super::record::Leg;
use super::apply::owed;
use super::kept::Kept;
use super::ledger::Tally;
use super::{Group, Lacks, Ledger, Store, StoreError, keys};
use crate::conversion::ConversionId;

/// What is damaged.
pub(in super::super) struct Damage {
    /// Of what is whole.
    ledger: Ledger,
    /// Blocks without it.
    blocks: Vec<Block>,
    /// So many.
    conversions: usize,
    /// Blocks of which it cannot be told what is in them.
    unread: usize,
    /// Conversions that stand as they were taken over.
    set_back: usize,
    /// Entries of conversions that are not there, or not in this way.
    stale: Vec<sled::IVec>,
    /// Entries by which deliveries are found that are lacking, with what they hold.
    entries: BTreeMap<Vec<u8>, ConversionId>,
    /// What the store does not hold as it counts it, in words.
    miscounted: Option<String>,
    /// Of the backlog, in which it lies.
    pub(in super::super) segments: BTreeSet<u64>,
}

impl Damage {
    /// In words.
    pub(in super::super) fn what(&self) -> String {
        let all = [
            (self.conversions, "conversions of the backlog are damaged"),
            (self.unread, "blocks of the backlog are damaged"),
            (self.set_back, "conversions stand as they were taken over, for what became of them is lost"),
            (self.entries.len(), "entries by which deliveries are found are lost"),
            (self.stale.len(), "entries are of conversions that are not there"),
        ];
        let parts = all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        parts.chain(self.miscounted.clone()).collect::<Vec<_>>().join("; ")
    }

    fn is_there(&self) -> bool {
        !self.blocks.is_empty() || !self.entries.is_empty() || !self.stale.is_empty() || self.miscounted.is_some()
    }
}

/// What there is to be found of conversions that are whole.
#[derive(Default)]
struct There {
    /// Keys by which deliveries are found, as far as they say the same as the store.
    found: HashSet<u64>,
    /// Conversions with changed legs.
    changed: HashSet<ConversionId>,
}

impl There {
    /// Notes what is to be said of deliveries that are found by their time, and what of it is lacking.
    fn note(&mut self, store: &Store, kept: &Kept, damage: &mut Damage) -> Result<(), StoreError> {
        for (key, id) in entries(kept) {
            if store.db.get(&key)?.as_deref() == Some(id.as_bytes().as_slice()) {
                self.found.insert(hash(&key));
            } else {
                damage.entries.insert(key, id);
            }
        }
        Ok(())
    }

    /// Whether an entry of the store is one of these.
    fn has(&self, key: &[u8]) -> bool {
        match key.first() {
            Some(&keys::DUE | &keys::DEAD) => self.found.contains(&hash(key)),
            Some(_) | None => keys::status_id(key).is_some_and(|id| self.changed.contains(&id)),
        }
    }
}

fn hash(key: &[u8]) -> u64 {
    foldhash::fast::FixedState::default().hash_one(key)
}

impl Store {
    /// Reads every conversion with its body, and holds the deliveries to what the store says and counts. Returns what is
    /// damaged, if anything is.
    pub(in super::super) fn verify(
        &self,
        dir: &Path,
        ledger: &Ledger,
        lacks: Lacks,
    ) -> Result<Option<Damage>, OpenError> {
        // sled panics on some damage where it should return an error.
        let found = caught(|| self.read_all(ledger, lacks));
        let found = found.map_err(|said| OpenError::damaged(dir, format!("sled cannot read its file: {said}")))?;
        let found = found.map_err(|error| OpenError::store(dir, &error))?;
        Ok(found.is_there().then_some(found))
    }

    fn read_all(&self, ledger: &Ledger, lacks: Lacks) -> Result<Damage, StoreError> {
        let none = Ledger::new(ledger.epoch);
        let (moved_seq, history_seq) = (ledger.moved_seq, ledger.history_seq);
        let mut found = Damage {
            ledger: Ledger { moved_seq, history_seq, is_being_mended: true, ..none },
            blocks: Vec::new(),
            conversions: 0,
            unread: 0,
            set_back: 0,
            stale: Vec::new(),
            entries: BTreeMap::new(),
            miscounted: None,
            segments: BTreeSet::new(),
        };
        for mut lacking in lacks.blocks {
            found.unread = found.unread.saturating_add(1);
            found.segments.insert(lacking.block.segment());
            lacking.block.remove_all();
            found.blocks.push(lacking.block);
        }
        let mut there = There::default();
        for block in self.backlog.all() {
            let mut left = Block::clone(&block.block);
            match block.places() {
                Err(StoreError::Form(_)) => {
                    found.unread = found.unread.saturating_add(1);
                    left.remove_all();
                }
                Err(error) => return Err(error),
                Ok(places) => {
                    let mut alive = places.iter().filter(|place| place.is_alive());
                    alive.try_for_each(|place| self.read_one(place, &mut left, (&mut there, &mut found)))?;
                }
            }
            found.ledger.count_blocks(usize::from(left.is_alive()), 0);
            if left != *block.block {
                found.segments.insert(left.segment());
                found.blocks.push(left);
            }
        }
        for table in [keys::DUE, keys::DEAD, keys::STATUS, keys::STATUS_MORE] {
            for key in self.db.scan_prefix([table]).keys() {
                let key = key?;
                if !there.has(&key) {
                    found.stale.push(key);
                }
            }
        }
        found.miscounted = miscounted(&found, ledger, lacks.named);
        Ok(found)
    }

    /// `left`: its block, without it if it is damaged.
    fn read_one(
        &self,
        place: &Lying,
        left: &mut Block,
        (there, found): (&mut There, &mut Damage),
    ) -> Result<(), StoreError> {
        let id = place.contents.id;
        let changed = match self.changed_legs(id) {
            Err(StoreError::Form(_)) => None,
            changed => changed?.filter(|_| place.is_changed()),
        };
        let (is_changed, is_set_back) = (changed.is_some(), place.is_changed() && changed.is_none());
        match self.kept_in(place, changed) {
            Ok(kept) => {
                found.ledger.counts(&kept);
                there.note(self, &kept, found)?;
                if is_changed {
                    there.changed.insert(id);
                }
                if is_set_back {
                    kept.legs.iter().for_each(|leg| left.put_leg(&leg.destination, place.slot, owed(leg)));
                    left.put_changed(place.slot, false);
                    found.set_back = found.set_back.saturating_add(1);
                }
            }
            Err(StoreError::Form(_)) => {
                left.remove(place.slot, place.contents.bytes());
                found.conversions = found.conversions.saturating_add(1);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes out what is damaged, and makes again what is lacking; returns the ledger of what is left. Nobody opens the store
    /// until a ledger is written that says that this is over.
    pub(in super::super) fn mend(&self, damage: Damage) -> Result<Ledger, StoreError> {
        let mut group = Group::default();
        for key in &damage.stale {
            group.remove(key);
            self.commit_some(&mut group, &damage.ledger)?;
        }
        for (key, id) in &damage.entries {
            group.insert(key, id.as_bytes().to_vec());
            self.commit_some(&mut group, &damage.ledger)?;
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

/// The entries by which deliveries of a conversion are found that wait for their time, or are dead.
fn entries(kept: &Kept) -> impl Iterator<Item = (Vec<u8>, ConversionId)> {
    let (seq, id) = (kept.record.seq, kept.record.meta.id);
    let of_leg = move |leg: &Leg| {
        let dead = leg.dead().map(|(_, at_ms)| keys::Place::of(&leg.destination, at_ms, seq).0);
        [keys::queued(&leg.destination, seq, leg.position), dead]
    };
    kept.legs.iter().flat_map(of_leg).flatten().map(move |key| (key, id))
}

/// What is counted and not there, where nothing that is damaged explains it.
fn miscounted(found: &Damage, ledger: &Ledger, named: u64) -> Option<String> {
    if let Some(miscounted) = super::miscounted(named, ledger) {
        return Some(miscounted);
    }
    let tallies = |ledger: &Ledger| {
        let mut tallies = ledger.tallies.clone();
        tallies.retain(|_, tally| *tally != Tally::default());
        tallies
    };
    let is_right = (tallies(&found.ledger), &found.ledger.sealed) == (tallies(ledger), &ledger.sealed);
    let is_explained = !found.blocks.is_empty();
    (!is_right && !is_explained).then(|| "the store does not hold all the deliveries that it counts".to_owned())
}

/// Written at once, far below what a group may count.
const MENDED_BYTES: usize = 32 * 1024;
