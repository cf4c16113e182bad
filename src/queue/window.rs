//! What is in memory: conversions that are only in the journal yet, deliveries read ahead, deliveries handed out, and
//! changes on their way to the store.
//!
//! **Promises.** Everything here is bounded by named constants, or by what workers hold. A conversion is in the window until
//! the store has synced it; a delivery of it is either on one shelf, or in one worker's hands, or on disk alone.
//!
//! One lock around the whole; nothing under it waits, reads or writes.
//!
//! | file | owns |
//! | --- | --- |
//! | `lane` | one destination's part: its shelves, and whose turn it is |
//! | `hand_out` | who is handed what, and what comes back |
//! | `changes` | settlements, and their way to the store |
//! | `moves` | conversions on their way to the store |
//! | `view` | what is shown of a conversion; holds |
//! | `counts` | how much waits |

mod changes;
mod counts;
mod hand_out;
mod lane;
mod moves;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::OwnedSemaphorePermit;

use self::lane::{Lane, Lanes, Ticket};
use super::record::{Change, Leg, Position, Record};
use super::store::Ledger;
use super::vault::KeyHash;
use crate::conversion::{ConversionId, DestinationName};

pub(super) use self::lane::{Refill, Step};
pub(super) use self::moves::{Move, MoveRoom, Ripe};

/// See the module's head.
pub(super) struct Window {
    entries: BTreeMap<u64, Entry>,
    /// Of the conversion accepted last.
    newest_seq: u64,
    by_id: HashMap<ConversionId, u64>,
    by_key: HashMap<KeyHash, u64>,
    lanes: Lanes,
    /// Settlements of moved deliveries that the store has not applied yet, oldest first. Shared with who looks at them.
    changes: VecDeque<Arc<Change>>,
    changes_taken: u64,
    /// Stored bytes of pending conversions in the window, and in the store.
    window_bytes: u64,
    stored_bytes: u64,
    changes_max: usize,
    dead_letters_max: u64,
}

/// A conversion that the store does not have yet.
pub(super) struct Entry {
    pub(super) record: Arc<Record>,
    pub(super) legs: Arc<Vec<Leg>>,
    /// When it came in, on the clock that never goes back.
    pub(super) since_ms: u64,
    /// Its place in the window, given back with it.
    _permit: Option<OwnedSemaphorePermit>,
    /// The mover has taken down its legs: what changes from now on is a change to a moved delivery.
    moving: bool,
}

impl Entry {
    pub(super) fn new(
        record: Arc<Record>,
        legs: Vec<Leg>,
        since_ms: u64,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Entry {
        Entry { record, legs: Arc::new(legs), since_ms, _permit: permit, moving: false }
    }
}

impl Window {
    pub(super) fn new(
        destinations: &[DestinationName],
        ledger: &Ledger,
        changes_max: usize,
        dead_letters_max: u64,
    ) -> Window {
        let mut window = Window {
            entries: BTreeMap::new(),
            newest_seq: ledger.moved_seq,
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            lanes: Lanes::default(),
            changes: VecDeque::new(),
            changes_taken: 0,
            window_bytes: 0,
            stored_bytes: ledger.pending_bytes,
            changes_max,
            dead_letters_max,
        };
        for destination in destinations.iter().chain(ledger.tallies.keys()) {
            let lane = window.lanes.of(destination);
            *lane = Lane::new(destination.clone(), true);
            lane.tally = ledger.tallies.get(destination).copied().unwrap_or_default();
        }
        window
    }

    /// The conversion that used a key and is still in the window.
    pub(super) fn by_key(&self, key: &KeyHash) -> Option<&Arc<Record>> {
        let entry = self.entries.get(self.by_key.get(key)?)?;
        Some(&entry.record)
    }

    /// Of the conversion accepted last, wherever it is.
    pub(super) fn newest_seq(&self) -> u64 {
        self.newest_seq
    }

    /// So many had been accepted before this was opened.
    pub(super) fn accepted_to(&mut self, seq: u64) {
        self.newest_seq = self.newest_seq.max(seq);
    }

    /// Takes in accepted conversions, in their order, and tells those who wait.
    pub(super) fn insert_all(&mut self, entries: impl IntoIterator<Item = Entry>) {
        entries.into_iter().for_each(|entry| self.insert(entry));
        for lane in self.lanes.iter_mut() {
            if std::mem::take(&mut lane.has_news) {
                lane.changed.notify_one();
            }
        }
    }

    fn insert(&mut self, entry: Entry) {
        let record = &entry.record;
        let seq = record.seq;
        self.newest_seq = self.newest_seq.max(seq);
        self.by_id.insert(record.meta.id, seq);
        self.by_key.insert(record.key, seq);
        for leg in entry.legs.iter() {
            let lane = self.lanes.of(&leg.destination);
            lane.events = lane.events.saturating_add(1);
            lane.tally.counts(leg);
            if leg.pending() {
                shelve(lane, record, leg);
                lane.has_news = true;
            }
        }
        if entry.legs.iter().any(Leg::pending) {
            self.window_bytes = self.window_bytes.saturating_add(record.stored_bytes());
        }
        self.entries.insert(seq, entry);
    }
}

/// Puts a delivery that only the window has on its shelf.
fn shelve(lane: &mut Lane, record: &Arc<Record>, leg: &Leg) {
    let (attempts, revision, replayed_ms) = (leg.attempts, leg.revision, leg.replayed_ms());
    let (record, acceptance, is_in_doubt) = (Arc::clone(record), leg.acceptance(), leg.is_in_doubt());
    let ticket = Ticket { record, attempts, revision, replayed_ms, acceptance, is_in_doubt, stored: false };
    match leg.position {
        Position::Fresh => lane.fresh.insert(0, ticket),
        Position::Waiting { due_ms, .. } | Position::Accepted { due_ms, .. } => lane.waiting.insert(due_ms, ticket),
        Position::Done { .. } => {}
    }
}
