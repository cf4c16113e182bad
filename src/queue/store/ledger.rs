//! The store's ledger: how far it has come, and how much it holds.

use std::collections::BTreeMap;

use super::super::codec::{Malformed, Reader, Writer};
use super::super::record::Leg;
use super::super::status::{DeadCounts, DeadKind};
use super::super::vault::PLAIN;
use super::kept::Kept;
use crate::conversion::DestinationName;

/// What the store says about itself, written with every group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Ledger {
    pub(in super::super) epoch: u64,
    /// Every conversion up to this sequence number has been moved, here or to the history.
    pub(in super::super) moved_seq: u64,
    /// The history had come this far when this was written.
    pub(in super::super) history_seq: u64,
    /// Blocks of the backlog that the store names.
    pub(in super::super) blocks: u64,
    /// What is damaged is being taken out; until all is had back that can be, nobody opens it.
    pub(in super::super) is_being_mended: bool,
    /// Stored bytes of conversions still owed to someone.
    pub(in super::super) pending_bytes: u64,
    pub(in super::super) tallies: BTreeMap<DestinationName, Tally>,
    /// How many conversions are sealed with each data key.
    pub(in super::super) sealed: BTreeMap<u64, u64>,
}

/// How much the store holds for a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Tally {
    pub(in super::super) pending: u64,
    pub(in super::super) dead: DeadCounts,
}

impl Tally {
    /// One more delivery, as it stands.
    pub(in super::super) fn counts(&mut self, leg: &Leg) {
        self.pending = self.pending.saturating_add(u64::from(leg.pending()));
        if let Some((kind, _at_ms)) = leg.dead() {
            self.dead.one_more(kind);
        }
    }

    /// One less.
    pub(super) fn uncounts(&mut self, leg: &Leg) {
        self.pending = self.pending.saturating_sub(u64::from(leg.pending()));
        if let Some((kind, _at_ms)) = leg.dead() {
            self.dead.one_less(kind);
        }
    }
}

impl Ledger {
    /// Of an empty store.
    pub(in super::super) fn new(epoch: u64) -> Ledger {
        let (tallies, sealed) = (BTreeMap::new(), BTreeMap::new());
        let (blocks, pending_bytes, is_being_mended) = (0, 0, false);
        Ledger { epoch, moved_seq: 0, history_seq: 0, blocks, is_being_mended, pending_bytes, tallies, sealed }
    }

    /// Notes how many blocks more and less the store names.
    pub(super) fn count_blocks(&mut self, more: usize, less: usize) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.blocks = self.blocks.saturating_add(number(more)).saturating_sub(number(less));
    }

    /// One more conversion is kept.
    pub(super) fn counts(&mut self, kept: &Kept) {
        self.seals(kept.key);
        if kept.legs.iter().any(Leg::pending) {
            self.pending_bytes = self.pending_bytes.saturating_add(kept.record.stored_bytes());
        }
        for leg in &kept.legs {
            self.tally(&leg.destination).counts(leg);
        }
    }

    /// One more conversion is sealed with that data key.
    pub(super) fn seals(&mut self, key: u64) {
        if key != PLAIN {
            let count = self.sealed.entry(key).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// One less.
    pub(super) fn unseals(&mut self, key: u64) {
        if let Some(count) = self.sealed.get_mut(&key) {
            *count = count.saturating_sub(1);
        }
        self.sealed.retain(|_, count| *count > 0);
    }

    pub(in super::super) fn tally(&mut self, destination: &DestinationName) -> &mut Tally {
        self.tallies.entry(destination.clone()).or_default()
    }

    pub(in super::super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(256);
        w.u8(LEDGER_FORM);
        w.u64(self.epoch);
        w.u64(self.moved_seq);
        w.u64(self.history_seq);
        w.u64(self.blocks);
        w.u8(u8::from(self.is_being_mended));
        w.u64(self.pending_bytes);
        w.list(self.tallies.iter(), |w, (destination, tally)| {
            w.text(destination.as_str());
            w.u64(tally.pending);
            tally.dead.by_kind().for_each(|(_kind, count)| w.u64(count));
        });
        w.list(self.sealed.iter(), |w, (key, count)| {
            w.u64(*key);
            w.u64(*count);
        });
        w.finish()
    }

    pub(in super::super) fn decode(bytes: &[u8]) -> Result<Ledger, Malformed> {
        let mut r = Reader::new(bytes);
        if r.u8()? != LEDGER_FORM {
            return Err(Malformed("form of the ledger"));
        }
        let (epoch, moved_seq, history_seq) = (r.u64()?, r.u64()?, r.u64()?);
        let (blocks, is_being_mended, pending_bytes) = (r.u64()?, r.u8()? != 0, r.u64()?);
        let tallies = r.list(|r| {
            let destination = DestinationName::parse(r.text()?).ok_or(Malformed("destination"))?;
            let pending = r.u64()?;
            let dead = DeadKind::ALL.into_iter().map(|kind| Ok((kind, r.u64()?))).collect::<Result<_, _>>()?;
            Ok((destination, Tally { pending, dead }))
        })?;
        let tallies = tallies.into_iter().collect();
        let sealed = r.list(|r| Ok((r.u64()?, r.u64()?)))?.into_iter().collect();
        Ok(Ledger { epoch, moved_seq, history_seq, blocks, is_being_mended, pending_bytes, tallies, sealed })
    }
}

const LEDGER_FORM: u8 = 2;
