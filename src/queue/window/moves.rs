//! Conversions on their way to the store and the history.

use std::sync::Arc;

use super::super::record::{Leg, Position, Record};
use super::super::store::MoveBytes;
use super::lane::Lanes;
use super::{Entry, Window, shelve};

/// A conversion as the mover took it down.
pub(in super::super) struct Move {
    pub(in super::super) record: Arc<Record>,
    pub(in super::super) legs: Arc<Vec<Leg>>,
}

/// How much may be moved at once.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct MoveRoom {
    pub(in super::super) bytes: MoveBytes,
    /// Whether one that is larger goes too, alone.
    pub(in super::super) alone: bool,
}

/// Which conversions are moved although they are not settled.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Ripe {
    /// Every one.
    pub(in super::super) all: bool,
    /// What lingers for so long …
    pub(in super::super) linger_ms: u64,
    /// … or for so long, while all of its deliveries make headway.
    pub(in super::super) headway_ms: u64,
    /// The time, on the clock that never goes back.
    pub(in super::super) elapsed_ms: u64,
    /// The time, on the other.
    pub(in super::super) now_ms: u64,
}

impl Window {
    /// The oldest conversions that may be moved, in order, as far as there is room. Until [`Window::finish_moves`] their
    /// deliveries are still handed out from here.
    pub(in super::super) fn begin_moves(&mut self, room: MoveRoom, ripe: &Ripe) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut bytes = MoveBytes::default();
        for entry in self.entries.values_mut() {
            bytes = bytes.and(MoveBytes::of(&entry.record, &entry.legs));
            let settled = !entry.legs.iter().any(Leg::pending);
            let fits = bytes.fits(room.bytes) || (room.alone && moves.is_empty());
            if !(settled || ripe.has(entry, &self.lanes)) || !fits {
                break;
            }
            entry.moving = true;
            moves.push(Move { record: Arc::clone(&entry.record), legs: Arc::clone(&entry.legs) });
        }
        moves
    }

    /// Store and history have synced these. What is returned is to be dropped where it delays nobody.
    pub(in super::super) fn finish_moves(&mut self, moves: &[Move]) -> Vec<Entry> {
        moves.iter().filter_map(|moved| self.finish_move(moved)).collect()
    }

    /// There was no room for these. What was put off meanwhile was left to the store, which does not have it: it is handed out
    /// from here.
    pub(in super::super) fn abort_moves(&mut self, moves: &[Move]) {
        for moved in moves {
            let seq = moved.record.seq;
            let Some(entry) = self.entries.get_mut(&seq) else { continue };
            entry.moving = false;
            for (leg, taken_down) in entry.legs.iter().zip(&*moved.legs) {
                let lane = self.lanes.of(&leg.destination);
                if leg.pending() && leg.revision != taken_down.revision && !lane.leased.contains(&seq) {
                    shelve(lane, &entry.record, leg);
                    lane.changed.notify_one();
                }
            }
        }
    }

    fn finish_move(&mut self, moved: &Move) -> Option<Entry> {
        let seq = moved.record.seq;
        let entry = self.entries.remove(&seq)?;
        self.by_id.remove(&entry.record.meta.id);
        if self.by_key.get(&entry.record.key) == Some(&seq) {
            self.by_key.remove(&entry.record.key);
        }
        if entry.legs.iter().any(Leg::pending) {
            self.window_bytes = self.window_bytes.saturating_sub(entry.record.stored_bytes());
        }
        for (leg, taken_down) in entry.legs.iter().zip(&*moved.legs) {
            let lane = self.lanes.of(&leg.destination);
            if !taken_down.pending() {
                continue;
            }
            if taken_down.owed() {
                let received_ms = entry.record.meta.id.unix_ms();
                lane.stored_oldest_ms =
                    Some(lane.stored_oldest_ms.map_or(received_ms, |oldest| oldest.min(received_ms)));
            }
            if lane.leased.contains(&seq) || leg.revision != taken_down.revision {
                lane.loaded.insert(seq);
                continue;
            }
            match leg.position {
                Position::Fresh => lane.moved_fresh(seq),
                Position::Waiting { due_ms, .. } | Position::Accepted { due_ms, .. } => lane.moved_waiting(due_ms, seq),
                Position::Done { .. } => {}
            }
            lane.changed.notify_one();
        }
        Some(entry)
    }
}

impl Ripe {
    fn has(&self, entry: &Entry, lanes: &Lanes) -> bool {
        let age_ms = self.elapsed_ms.saturating_sub(entry.since_ms);
        self.all || (age_ms >= self.linger_ms && (age_ms >= self.headway_ms || !self.makes_headway(entry, lanes)))
    }

    /// Whether all that a conversion still owes is a first attempt, at destinations that are getting on with theirs.
    fn makes_headway(&self, entry: &Entry, lanes: &Lanes) -> bool {
        entry.legs.iter().filter(|leg| leg.pending()).all(|leg| {
            matches!(leg.position, Position::Fresh)
                && lanes.get(&leg.destination).is_some_and(|lane| lane.makes_headway(self.now_ms))
        })
    }
}
