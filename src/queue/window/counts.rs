//! How much waits: counters kept as things happen, and counted anew when a folder is opened.

use super::super::status::{Depth, Depths};
use super::super::store::Ledger;
use super::lane::Lane;
use super::{Window, lane};
use crate::conversion::DestinationName;

impl Window {
    pub(in super::super) fn depths(&self) -> Depths {
        let depth = |lane: &Lane| Depth {
            pending: lane.pending,
            dead: lane.dead,
            oldest_pending_ms: lane.oldest_pending_ms(),
            stopped: self.stopped(lane),
        };
        Depths {
            destinations: self.lanes.iter().map(|(name, lane)| (name.clone(), depth(lane))).collect(),
            pending_bytes: self.pending_bytes(),
        }
    }

    pub(in super::super) fn pending_bytes(&self) -> u64 {
        self.window_bytes.saturating_add(self.stored_bytes)
    }

    /// The destination with most pending deliveries.
    pub(in super::super) fn longest(&self) -> Option<(&DestinationName, u64)> {
        self.lanes.iter().map(|(name, lane)| (name, lane.pending)).max_by_key(|(_, pending)| *pending)
    }

    /// Destinations with work in the store.
    pub(in super::super) fn with_pending(&self) -> Vec<DestinationName> {
        self.lanes.iter().filter(|(_, lane)| lane.pending > 0).map(|(name, _)| name.clone()).collect()
    }

    /// Destinations that have work or dead letters.
    pub(in super::super) fn destinations(&self) -> Vec<DestinationName> {
        self.lanes.keys().cloned().collect()
    }

    /// Conversions in the window.
    pub(in super::super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(in super::super) fn set_oldest(&mut self, destination: &DestinationName, oldest_ms: Option<u64>) {
        lane(&mut self.lanes, destination).stored_oldest_ms = oldest_ms;
    }

    /// After recovery: counts anew from what the store says and what the window has.
    pub(in super::super) fn recount(&mut self, ledger: &Ledger) {
        for (name, lane) in &mut self.lanes {
            let tally = ledger.tallies.get(name).copied().unwrap_or_default();
            lane.pending = tally.pending.saturating_add(u64::try_from(lane.unmoved.len()).unwrap_or(u64::MAX));
            lane.dead = tally.dead;
        }
        for leg in self.entries.values().flat_map(|entry| &*entry.legs).filter(|leg| leg.dead().is_some()) {
            let lane = lane(&mut self.lanes, &leg.destination);
            lane.dead = lane.dead.saturating_add(1);
        }
    }
}
