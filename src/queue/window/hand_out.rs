//! Who is handed what: the next delivery of a destination, what is read ahead for it, and what comes back.

use std::sync::Arc;

use tokio::sync::Notify;

use super::super::Lease;
use super::super::store::Loaded;
use super::lane::Step;
use super::{Window, lane};
use crate::conversion::DestinationName;

impl Window {
    /// What there is for someone who asks for this destination's next delivery.
    pub(in super::super) fn step(&mut self, destination: &DestinationName, now_ms: u64) -> Step {
        if self.changes.len() >= self.changes_max {
            return Step::Wait(None, self.changed(destination));
        }
        let lane = lane(&mut self.lanes, destination);
        if lane.dead >= self.dead_letters_max {
            return Step::Wait(None, Arc::clone(&lane.changed));
        }
        let step = lane.step(now_ms);
        if lane.is_ready(now_ms) {
            lane.changed.notify_one();
        }
        step
    }

    fn changed(&mut self, destination: &DestinationName) -> Arc<Notify> {
        Arc::clone(&lane(&mut self.lanes, destination).changed)
    }

    /// Takes in what a refill has read; `None` when it could not.
    pub(in super::super) fn end_refill(&mut self, destination: &DestinationName, loaded: Option<Loaded>) -> Vec<u64> {
        let lane = lane(&mut self.lanes, destination);
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
        let lane = lane(&mut self.lanes, &lease.destination);
        lane.leased.remove(&seq);
        let unmoved = self.entries.contains_key(&seq);
        lane.put(lease, !unmoved);
        lane.changed.notify_one();
    }
}
