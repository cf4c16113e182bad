//! Conversions on their way to the store and the history.

use std::sync::Arc;

use super::super::record::{Leg, Position, Record};
use super::super::store::MoveBytes;
use super::lane::Lanes;
use super::{Entry, Window};

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

impl Window {
    /// The oldest conversions that may be moved, in order, as far as there is room. Until [`Window::finish_moves`] their
    /// deliveries are still handed out from here. `ripe`: whether one that came in at that time is moved although it is not
    /// settled; and whether its deliveries make headway, now that it is `now_ms` (Unix).
    pub(in super::super) fn begin_moves(
        &mut self,
        room: MoveRoom,
        now_ms: u64,
        ripe: impl Fn(u64, bool) -> bool,
    ) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut bytes = MoveBytes::default();
        for entry in self.entries.values_mut() {
            bytes = bytes.and(MoveBytes::of(&entry.record, &entry.legs));
            let settled = !entry.legs.iter().any(Leg::pending);
            let fits = bytes.fits(room.bytes) || (room.alone && moves.is_empty());
            if !(settled || ripe(entry.since_ms, makes_headway(&self.lanes, entry, now_ms))) || !fits {
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

/// Whether all that a conversion still owes is a first attempt, each at a destination that takes one after the other.
fn makes_headway(lanes: &Lanes, entry: &Entry, now_ms: u64) -> bool {
    entry.legs.iter().filter(|leg| leg.pending()).all(|leg| {
        matches!(leg.position, Position::Fresh)
            && lanes.get(&leg.destination).is_some_and(|lane| lane.makes_headway(now_ms))
    })
}
