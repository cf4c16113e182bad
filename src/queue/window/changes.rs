//! Settlements: applied to what memory has, and on their way to the store for what it has.

use std::sync::Arc;

use super::super::record::{Change, Event, Leg, Position};
use super::super::status::Outcome;
use super::super::store::Ledger;
use super::{Window, shelve};
use crate::conversion::ConversionId;

impl Window {
    /// Applies a settlement. A change to what the store has (or is being given) waits for the mover: then true.
    pub(in super::super) fn settle(&mut self, change: Change) -> bool {
        let seq = change.seq;
        let lane = self.lanes.of(&change.destination);
        lane.leased.remove(&seq);
        let entry = self.entries.get_mut(&seq);
        let is_counted =
            !matches!(&change.settlement.event, Event::Settled(Outcome::Retry { .. } | Outcome::Accepted { .. }));
        lane.events = lane.events.saturating_add(u64::from(is_counted));
        match &change.settlement.event {
            Event::Settled(Outcome::Retry { .. } | Outcome::Accepted { .. }) => {}
            Event::Settled(outcome) => {
                lane.one_pending_less();
                if let Outcome::Dead { kind, .. } = outcome {
                    lane.tally.dead.one_more(*kind);
                }
            }
            Event::Replayed { was, .. } => {
                lane.one_dead_less(*was, self.dead_letters_max);
                lane.tally.pending = lane.tally.pending.saturating_add(1);
            }
            Event::Discarded { was, .. } => lane.one_dead_less(*was, self.dead_letters_max),
            Event::Withdrawn { .. } => lane.one_pending_less(),
        }
        let Some(entry) = entry else {
            lane.loaded.insert(seq);
            self.changes.push_back(Arc::new(change));
            return true;
        };
        let in_store = entry.moving;
        if in_store {
            lane.loaded.insert(seq);
            self.changes.push_back(Arc::new(change.clone()));
        }
        let was_pending = entry.legs.iter().any(Leg::pending);
        let leg = Arc::make_mut(&mut entry.legs).iter_mut().find(|leg| leg.destination == change.destination);
        if let Some(leg) = leg {
            leg.apply_whole(change.settlement);
            if !in_store && leg.pending() {
                shelve(lane, &entry.record, leg);
                lane.changed.notify_one();
            }
        }
        let bytes = entry.record.stored_bytes();
        match (was_pending, entry.legs.iter().any(Leg::pending)) {
            (true, false) => self.window_bytes = self.window_bytes.saturating_sub(bytes),
            (false, true) => self.window_bytes = self.window_bytes.saturating_add(bytes),
            (true, true) | (false, false) => {}
        }
        in_store
    }

    /// A settlement found in the journal again. Returns false when it is about nothing that the window has: then it is the
    /// store's.
    pub(in super::super) fn settle_again(&mut self, change: &Change) -> bool {
        let Some(entry) = self.entries.get(&change.seq) else {
            return false;
        };
        let leg = entry.legs.iter().find(|leg| leg.destination == change.destination);
        let Some(leg) = leg.filter(|leg| leg.takes(&change.settlement)) else {
            return true;
        };
        let key = match leg.position {
            Position::Waiting { due_ms, .. } | Position::Accepted { due_ms, .. } => (due_ms, change.seq),
            Position::Fresh | Position::Done { .. } => (0, change.seq),
        };
        let lane = self.lanes.of(&change.destination);
        lane.fresh.remove(key);
        lane.waiting.remove(key);
        self.settle(change.clone());
        true
    }

    /// A change for the store that was found in the journal again.
    pub(in super::super) fn change_again(&mut self, change: Arc<Change>) {
        self.lanes.of(&change.destination).loaded.insert(change.seq);
        self.changes.push_back(change);
    }

    /// The oldest changes, for the mover. They stay here until [`Window::applied`].
    pub(in super::super) fn first_changes(&self, count: usize) -> Vec<Arc<Change>> {
        self.changes.iter().take(count).cloned().collect()
    }

    /// The store has synced the first `changes` of those that wait.
    pub(in super::super) fn applied(&mut self, changes: usize, ledger: &Ledger) {
        self.stored_bytes = ledger.pending_bytes;
        let blocked = self.changes.len() >= self.changes_max;
        let mut are_some_unmoved = false;
        for change in self.changes.drain(..changes.min(self.changes.len())) {
            let lane = self.lanes.of(&change.destination);
            lane.applied(change.seq);
            if self.entries.contains_key(&change.seq) {
                // Its move came to nothing, and so did this: in somebody's hands it has no other change to come.
                lane.loaded.remove(&change.seq);
                are_some_unmoved = true;
            }
            if let Event::Settled(Outcome::Retry { due_ms, .. } | Outcome::Accepted { due_ms, .. })
            | Event::Replayed { due_ms, .. } = change.settlement.event
            {
                lane.stored_until(due_ms);
                lane.changed.notify_one();
            }
            self.changes_taken = self.changes_taken.saturating_add(1);
        }
        // What was put off or given up, and then dealt with, has a second change on its way: until then it is not read ahead. So
        // has what was handed out from here once its move had come to nothing, also when it has been moved since.
        for change in &self.changes {
            let is_second = match change.settlement.event {
                Event::Replayed { .. } | Event::Discarded { .. } | Event::Withdrawn { .. } => true,
                Event::Settled(_) => are_some_unmoved || !self.entries.contains_key(&change.seq),
            };
            if is_second {
                self.lanes.of(&change.destination).loaded.insert(change.seq);
            }
        }
        if blocked {
            for lane in self.lanes.iter() {
                lane.changed.notify_one();
            }
        }
    }

    /// Numbers of changes: handed to the store so far, and made so far.
    pub(in super::super) fn changes_applied(&self) -> u64 {
        self.changes_taken
    }

    pub(in super::super) fn changes_made(&self) -> u64 {
        self.changes_taken.saturating_add(u64::try_from(self.changes.len()).unwrap_or(u64::MAX))
    }

    /// Changes of a conversion that the store has not applied yet.
    pub(in super::super) fn changes_of(&self, id: ConversionId) -> Vec<Arc<Change>> {
        self.changes.iter().filter(|change| change.id == id).cloned().collect()
    }
}
