//! Who is handed what: the next delivery of a destination, what is read ahead for it, and what comes back.

use std::sync::Arc;

use tokio::sync::Notify;

use super::super::Lease;
use super::super::store::Loaded;
use super::lane::Step;
use super::{Window, shelve};
use crate::conversion::DestinationName;

impl Window {
    /// What there is for someone who asks for this destination's next delivery.
    pub(in super::super) fn step(&mut self, destination: &DestinationName, now_ms: u64) -> Step {
        if self.changes.len() >= self.changes_max {
            return Step::Wait(None, self.changed(destination));
        }
        let lane = self.lanes.of(destination);
        if lane.tally.dead.total() >= self.dead_letters_max {
            return Step::Wait(None, Arc::clone(&lane.changed));
        }
        let step = lane.step(now_ms);
        if lane.is_ready(now_ms) {
            lane.changed.notify_one();
        }
        step
    }

    fn changed(&mut self, destination: &DestinationName) -> Arc<Notify> {
        Arc::clone(&self.lanes.of(destination).changed)
    }

    /// Takes in what a refill has read; `None` when it could not.
    pub(in super::super) fn end_refill(&mut self, destination: &DestinationName, loaded: Option<Loaded>) -> Vec<u64> {
        let lane = self.lanes.of(destination);
        match loaded {
            Some(loaded) => lane.end_refill(loaded, |seq| self.entries.contains_key(&seq)),
            None => {
                lane.fail_refill();
                Vec::new()
            }
        }
    }

    /// Takes back what was handed out and not settled.
    pub(in super::super) fn give_back(&mut self, lease: &Lease) {
        let seq = lease.record.seq;
        let lane = self.lanes.of(&lease.destination);
        lane.leased.remove(&seq);
        let unmoved = self.entries.contains_key(&seq);
        lane.put(lease, !unmoved);
        lane.changed.notify_one();
    }
    /// Takes a delivery that is owed into the hands of one who will not attempt it; it is settled as one handed out is, or
    /// [put back](Window::leave). False when somebody has it.
    pub(in super::super) fn take(&mut self, destination: &DestinationName, seq: u64) -> bool {
        let is_unmoved = self.entries.contains_key(&seq);
        self.lanes.of(destination).take(seq, is_unmoved)
    }

    /// Ends that, and what is owed is handed out again.
    pub(in super::super) fn leave(&mut self, destination: &DestinationName, seq: u64) {
        let has_change = self.changes.iter().any(|change| change.seq == seq && change.destination == *destination);
        let lane = self.lanes.of(destination);
        lane.leased.remove(&seq);
        match self.entries.get(&seq) {
            // The store is being given it, and the change behind that: from there it is handed out.
            Some(entry) if entry.moving && has_change => {}
            Some(entry) => {
                let leg = entry.legs.iter().find(|leg| leg.destination == *destination && leg.pending());
                leg.into_iter().for_each(|leg| shelve(lane, &entry.record, leg));
            }
            None if has_change => {}
            None => lane.read_again(seq),
        }
        lane.changed.notify_one();
    }
}
