//! How much waits: counters kept as things happen, and counted anew when a folder is opened.

use std::collections::BTreeMap;

use super::super::status::{Backlog, Depth, Depths};
use super::super::store::{Ledger, Tally};
use super::Window;
use super::lane::Lane;
use crate::conversion::DestinationName;

impl Window {
    pub(in super::super) fn depths(&self) -> Depths {
        let unmoved = self.oldest_unmoved();
        let depth = |lane: &Lane| Depth {
            pending: lane.tally.pending,
            dead: lane.tally.dead,
            oldest_pending_ms: unmoved
                .get(&lane.name)
                .copied()
                .or(lane.stored_oldest_ms)
                .filter(|_| lane.tally.pending > 0),
            stopped: self.stopped(lane),
        };
        let destinations = self.lanes.iter().map(|lane| (lane.name.clone(), depth(lane))).collect();
        Depths { destinations, pending_bytes: self.pending_bytes() }
    }

    /// When the oldest delivery that is owed was received, by destination, of those of which the store has none: what it
    /// has is older. Looks through the window until it has found them.
    fn oldest_unmoved(&self) -> BTreeMap<&DestinationName, u64> {
        let mut oldest = BTreeMap::new();
        let sought = |lane: &&Lane| lane.tally.pending > 0 && lane.stored_oldest_ms.is_none();
        let mut sought: Vec<&DestinationName> = self.lanes.iter().filter(sought).map(|lane| &lane.name).collect();
        for entry in self.entries.values() {
            if sought.is_empty() {
                break;
            }
            for leg in entry.legs.iter().filter(|leg| leg.owed()) {
                if let Some(at) = sought.iter().position(|name| **name == leg.destination) {
                    oldest.insert(sought.swap_remove(at), entry.record.meta.id.unix_ms());
                }
            }
        }
        oldest
    }

    pub(in super::super) fn backlog(&mut self, destination: &DestinationName) -> Backlog {
        let Tally { pending, dead } = self.lanes.of(destination).tally;
        Backlog { pending, is_stopped: dead.total() >= self.dead_letters_max }
    }

    pub(in super::super) fn pending_bytes(&self) -> u64 {
        self.window_bytes.saturating_add(self.stored_bytes)
    }

    /// The destination with most pending deliveries.
    pub(in super::super) fn longest(&self) -> Option<(&DestinationName, u64)> {
        self.lanes.iter().map(|lane| (&lane.name, lane.tally.pending)).max_by_key(|(_, pending)| *pending)
    }

    /// Destinations with work in the store, or with some when that was looked up last.
    pub(in super::super) fn with_pending(&self) -> Vec<DestinationName> {
        let may_have = |lane: &&Lane| lane.tally.pending > 0 || lane.stored_oldest_ms.is_some();
        self.lanes.iter().filter(may_have).map(|lane| lane.name.clone()).collect()
    }

    /// Destinations that have work or dead letters.
    pub(in super::super) fn destinations(&self) -> Vec<DestinationName> {
        self.lanes.iter().map(|lane| lane.name.clone()).collect()
    }

    /// Conversions in the window.
    pub(in super::super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in super::super) fn set_oldest(&mut self, destination: &DestinationName, oldest_ms: Option<u64>) {
        self.lanes.of(destination).stored_oldest_ms = oldest_ms;
    }

    /// After recovery: counts anew from what the store says and what the window has.
    pub(in super::super) fn recount(&mut self, ledger: &Ledger) {
        for lane in self.lanes.iter_mut() {
            lane.tally = ledger.tallies.get(&lane.name).copied().unwrap_or_default();
        }
        for leg in self.entries.values().flat_map(|entry| &*entry.legs) {
            let lane = self.lanes.of(&leg.destination);
            lane.tally.counts(leg);
        }
    }
}
