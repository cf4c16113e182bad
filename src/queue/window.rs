//! What is in memory: conversions that are only in the journal yet, deliveries read ahead, deliveries handed out, and
//! changes on their way to the store.
//!
//! **Promises.** Everything here is bounded by named constants, or by what workers hold. A conversion is in the window until
//! the store has synced it; a delivery of it is either on one shelf, or in one worker's hands, or on disk alone.
//!
//! One lock around the whole; nothing under it waits, reads or writes.

mod lane;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use self::lane::{Lane, Ticket};
use super::record::{Change, Event, Leg, Position, Record};
use super::status::{Depth, Depths, Hold, Outcome, Status};
use super::store::{DeadEntry, Ledger, Loaded, Place, dead_letter, move_bytes};
use super::vault::KeyHash;
use super::{DeadFilter, Lease};
use crate::conversion::{ConversionId, DestinationName};

pub(super) use self::lane::{Refill, Step};

/// See the module's head.
pub(super) struct Window {
    entries: BTreeMap<u64, Entry>,
    by_id: HashMap<ConversionId, u64>,
    by_key: HashMap<KeyHash, u64>,
    lanes: BTreeMap<DestinationName, Lane>,
    /// Settlements of moved deliveries that the store has not applied yet, oldest first.
    changes: VecDeque<Change>,
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

/// A conversion as the mover took it down.
pub(super) struct Move {
    pub(super) record: Arc<Record>,
    pub(super) legs: Arc<Vec<Leg>>,
}

/// How much may be moved at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct MoveRoom {
    pub(super) store_bytes: usize,
    pub(super) history_bytes: usize,
    /// Whether one that is larger goes too, alone.
    pub(super) alone: bool,
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
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            lanes: BTreeMap::new(),
            changes: VecDeque::new(),
            changes_taken: 0,
            window_bytes: 0,
            stored_bytes: ledger.pending_bytes,
            changes_max,
            dead_letters_max,
        };
        for destination in destinations {
            window.lanes.insert(destination.clone(), Lane::new(destination.clone(), true));
        }
        for (destination, tally) in &ledger.tallies {
            let lane = Lane::new(destination.clone(), true);
            let lane = window.lanes.entry(destination.clone()).or_insert(lane);
            lane.pending = tally.pending;
            lane.dead = tally.dead;
        }
        window
    }

    /// The conversion that used a key and is still in the window.
    pub(super) fn by_key(&self, key: &KeyHash) -> Option<&Arc<Record>> {
        let entry = self.entries.get(self.by_key.get(key)?)?;
        Some(&entry.record)
    }

    /// Takes in accepted conversions, in their order.
    pub(super) fn insert_all(&mut self, entries: Vec<Entry>) {
        entries.into_iter().for_each(|entry| self.insert(entry));
    }

    /// Takes in an accepted conversion.
    pub(super) fn insert(&mut self, entry: Entry) {
        let record = &entry.record;
        let (seq, received_ms) = (record.seq, record.meta.id.unix_ms());
        self.by_id.insert(record.meta.id, seq);
        self.by_key.insert(record.key, seq);
        for leg in entry.legs.iter() {
            let lane = lane(&mut self.lanes, &leg.destination);
            if leg.pending() {
                lane.pending = lane.pending.saturating_add(1);
                lane.unmoved.insert(seq, received_ms);
                shelve(lane, record, leg);
                lane.changed.notify_one();
            }
            if leg.dead().is_some() {
                lane.dead = lane.dead.saturating_add(1);
            }
        }
        if entry.legs.iter().any(Leg::pending) {
            self.window_bytes = self.window_bytes.saturating_add(record.stored_bytes());
        }
        self.entries.insert(seq, entry);
    }

    /// What there is for someone who asks for this destination's next delivery.
    pub(super) fn step(&mut self, destination: &DestinationName, now_ms: u64) -> Step {
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
    pub(super) fn end_refill(&mut self, destination: &DestinationName, loaded: Option<Loaded>) -> Vec<u64> {
        let lane = lane(&mut self.lanes, destination);
        match loaded {
            Some(loaded) => lane.end_refill(loaded, |seq| self.entries.contains_key(&seq)),
            None => {
                lane.fail_refill();
                Vec::new()
            }
        }
    }

    /// Applies a settlement. A change to what the store has (or is being given) waits for the mover: then true.
    pub(super) fn settle(&mut self, change: &Change) -> bool {
        let seq = change.seq;
        let lane = lane(&mut self.lanes, &change.destination);
        lane.leased.remove(&seq);
        let entry = self.entries.get_mut(&seq);
        match &change.settlement.event {
            Event::Settled(Outcome::Retry { .. }) => {}
            Event::Settled(outcome) => {
                lane.pending = lane.pending.saturating_sub(1);
                lane.unmoved.remove(&seq);
                lane.dead = lane.dead.saturating_add(u64::from(matches!(outcome, Outcome::Dead { .. })));
            }
            Event::Replayed { .. } => {
                lane.one_dead_less(self.dead_letters_max);
                lane.pending = lane.pending.saturating_add(1);
                if entry.is_some() {
                    lane.unmoved.insert(seq, change.id.unix_ms());
                }
            }
            Event::Discarded { .. } => lane.one_dead_less(self.dead_letters_max),
            Event::Withdrawn { .. } => {
                lane.pending = lane.pending.saturating_sub(1);
                lane.unmoved.remove(&seq);
            }
        }
        let in_store = entry.as_ref().is_none_or(|entry| entry.moving);
        if let Some(entry) = entry {
            let was_pending = entry.legs.iter().any(Leg::pending);
            let leg = Arc::make_mut(&mut entry.legs).iter_mut().find(|leg| leg.destination == change.destination);
            if let Some(leg) = leg {
                leg.apply(&change.settlement);
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
        }
        if in_store {
            lane.loaded.insert(seq);
            self.changes.push_back(change.clone());
        }
        in_store
    }

    /// A settlement found in the journal again. Returns false when it is about nothing that the window has: then it is the
    /// store's.
    pub(super) fn settle_again(&mut self, change: &Change) -> bool {
        let Some(entry) = self.entries.get(&change.seq) else {
            return false;
        };
        let leg = entry.legs.iter().find(|leg| leg.destination == change.destination);
        let Some(leg) = leg.filter(|leg| leg.takes(&change.settlement)) else {
            return true;
        };
        let key = match leg.position {
            Position::Waiting { due_ms, .. } => (due_ms, change.seq),
            Position::Fresh | Position::Done { .. } => (0, change.seq),
        };
        let lane = lane(&mut self.lanes, &change.destination);
        lane.fresh.remove(key);
        lane.waiting.remove(key);
        self.settle(change);
        true
    }

    /// A change for the store that was found in the journal again.
    pub(super) fn change_again(&mut self, change: Change) {
        lane(&mut self.lanes, &change.destination).loaded.insert(change.seq);
        self.changes.push_back(change);
    }

    /// Takes back what was handed out and not settled.
    pub(super) fn give_back(&mut self, lease: &Lease) {
        let seq = lease.record.seq;
        let lane = lane(&mut self.lanes, &lease.destination);
        lane.leased.remove(&seq);
        let unmoved = self.entries.contains_key(&seq);
        lane.put(lease, !unmoved);
        lane.changed.notify_one();
    }

    /// Takes a delivery that is owed into the hands of one who will not attempt it; it is settled as one handed out is, or
    /// [put back](Window::leave). False when somebody has it.
    pub(super) fn take(&mut self, destination: &DestinationName, seq: u64) -> bool {
        let is_unmoved = self.entries.contains_key(&seq);
        lane(&mut self.lanes, destination).take(seq, is_unmoved)
    }

    /// Ends that, and what is owed is handed out again.
    pub(super) fn leave(&mut self, destination: &DestinationName, seq: u64) {
        let has_change = self.changes.iter().any(|change| change.seq == seq && change.destination == *destination);
        let lane = lane(&mut self.lanes, destination);
        lane.leased.remove(&seq);
        match self.entries.get(&seq) {
            Some(entry) => {
                let leg = entry.legs.iter().find(|leg| leg.destination == *destination && leg.pending());
                leg.into_iter().for_each(|leg| shelve(lane, &entry.record, leg));
            }
            None if has_change => {}
            None => lane.read_again(seq),
        }
        lane.changed.notify_one();
    }

    /// The conversions that the store does not have yet.
    pub(super) fn records(&self) -> Vec<Arc<Record>> {
        self.entries.values().map(|entry| Arc::clone(&entry.record)).collect()
    }

    /// The oldest changes, for the mover. They stay here until [`Window::applied`].
    pub(super) fn first_changes(&self, count: usize) -> Vec<Change> {
        self.changes.iter().take(count).cloned().collect()
    }

    /// The oldest conversions that may be moved, in order, as far as there is room. Until [`Window::finish_moves`] their deliveries
    /// are still handed out from here. `ripe`: whether one that came in at that time is moved although it is not settled.
    pub(super) fn begin_moves(&mut self, room: MoveRoom, ripe: impl Fn(u64) -> bool) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut bytes = (0_usize, 0_usize);
        for entry in self.entries.values_mut() {
            let (stored, appended) = move_bytes(&entry.record, &entry.legs);
            bytes = (bytes.0.saturating_add(stored), bytes.1.saturating_add(appended));
            let settled = !entry.legs.iter().any(Leg::pending);
            let fits = bytes.0 <= room.store_bytes && bytes.1 <= room.history_bytes;
            let fits = fits || (room.alone && moves.is_empty());
            if !(settled || ripe(entry.since_ms)) || !fits {
                break;
            }
            entry.moving = true;
            moves.push(Move { record: Arc::clone(&entry.record), legs: Arc::clone(&entry.legs) });
        }
        moves
    }

    /// Store and history have synced these. What is returned is to be dropped where it delays nobody.
    pub(super) fn finish_moves(&mut self, moves: &[Move]) -> Vec<Entry> {
        moves.iter().filter_map(|moved| self.finish_move(moved)).collect()
    }

    /// The store has synced the first `changes` of those that wait.
    pub(super) fn applied(&mut self, changes: usize, ledger: &Ledger) {
        self.stored_bytes = ledger.pending_bytes;
        let blocked = self.changes.len() >= self.changes_max;
        for change in self.changes.drain(..changes.min(self.changes.len())) {
            let lane = lane(&mut self.lanes, &change.destination);
            lane.applied(change.seq);
            if let Event::Settled(Outcome::Retry { due_ms, .. }) | Event::Replayed { due_ms } = change.settlement.event
            {
                lane.stored_until(due_ms);
                lane.changed.notify_one();
            }
            self.changes_taken = self.changes_taken.saturating_add(1);
        }
        // What was given up and then dealt with has a second change on its way: until then it is not read ahead.
        for change in &self.changes {
            match change.settlement.event {
                Event::Replayed { .. } | Event::Discarded { .. } | Event::Withdrawn { .. } => {
                    lane(&mut self.lanes, &change.destination).loaded.insert(change.seq);
                }
                Event::Settled(_) => {}
            }
        }
        if blocked {
            for lane in self.lanes.values() {
                lane.changed.notify_one();
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
            let lane = lane(&mut self.lanes, &leg.destination);
            lane.unmoved.remove(&seq);
            if !taken_down.pending() {
                continue;
            }
            let received_ms = entry.record.meta.id.unix_ms();
            lane.stored_oldest_ms = Some(lane.stored_oldest_ms.map_or(received_ms, |oldest| oldest.min(received_ms)));
            if lane.leased.contains(&seq) || leg.revision != taken_down.revision {
                lane.loaded.insert(seq);
                continue;
            }
            match leg.position {
                Position::Fresh => lane.moved_fresh(seq),
                Position::Waiting { due_ms, .. } => lane.moved_waiting(due_ms, seq),
                Position::Done { .. } => {}
            }
            lane.changed.notify_one();
        }
        Some(entry)
    }

    /// Numbers of changes: handed to the store so far, and made so far.
    pub(super) fn changes_applied(&self) -> u64 {
        self.changes_taken
    }

    pub(super) fn changes_made(&self) -> u64 {
        self.changes_taken.saturating_add(u64::try_from(self.changes.len()).unwrap_or(u64::MAX))
    }

    pub(super) fn hold(&mut self, destination: &DestinationName, hold: Option<Hold>) {
        lane(&mut self.lanes, destination).hold = hold;
    }

    /// Why a destination's work is held, in words.
    pub(super) fn held_because(&self, destination: &DestinationName) -> Option<String> {
        let lane = self.lanes.get(destination)?;
        lane.hold.as_ref().map(|hold| hold.reason.clone()).or_else(|| self.stopped(lane))
    }

    /// The status of a conversion in the window.
    pub(super) fn status(&self, id: ConversionId) -> Option<Status> {
        let entry = self.entries.get(self.by_id.get(&id)?)?;
        Some(entry.record.status(&entry.legs, |destination| self.held_because(destination)))
    }

    /// Ids of a merchant's conversions for an order that are in the window, oldest first.
    pub(super) fn order(&self, merchant: &str, order_id: &str) -> Vec<ConversionId> {
        let of_order = |entry: &&Entry| {
            entry.record.order_id.as_deref() == Some(order_id) && *entry.record.meta.merchant == *merchant
        };
        self.entries.values().filter(of_order).map(|entry| entry.record.meta.id).collect()
    }

    /// Changes of a conversion that the store has not applied yet.
    pub(super) fn changes_of(&self, id: ConversionId) -> Vec<Change> {
        self.changes.iter().filter(|change| change.id == id).cloned().collect()
    }

    /// Why nothing is handed out for a destination with as many dead letters as are kept.
    fn stopped(&self, lane: &Lane) -> Option<String> {
        let why = || format!("{} dead letters are kept, and no more: replay or discard them", lane.dead);
        (lane.dead >= self.dead_letters_max).then(why)
    }

    /// The same, when this very change has brought it about.
    pub(super) fn stopped_by(&self, change: &Change) -> Option<String> {
        let is_dead = matches!(change.settlement.event, Event::Settled(Outcome::Dead { .. }));
        let lane = self.lanes.get(&change.destination).filter(|lane| is_dead && lane.dead == self.dead_letters_max)?;
        self.stopped(lane)
    }

    /// A conversion that the store does not have yet, as it stands.
    pub(super) fn entry(&self, id: ConversionId) -> Option<(Arc<Record>, Arc<Vec<Leg>>)> {
        let entry = self.entries.get(self.by_id.get(&id)?)?;
        Some((Arc::clone(&entry.record), Arc::clone(&entry.legs)))
    }

    /// Dead letters of the window, and the changes on their way to the store that make one of a delivery, or none.
    pub(super) fn dead(&self, filter: &DeadFilter) -> (Vec<DeadEntry>, Vec<Change>) {
        let mut found = Vec::new();
        for entry in self.entries.values() {
            for leg in &*entry.legs {
                found.extend(dead_letter(&entry.record, leg).filter(|letter| filter.matches(letter)).map(|letter| {
                    let place = Place::of(&leg.destination, letter.at_ms, entry.record.seq);
                    DeadEntry { place, letter }
                }));
            }
        }
        let concerns = |change: &&Change| match change.settlement.event {
            Event::Settled(Outcome::Dead { .. }) | Event::Replayed { .. } | Event::Discarded { .. } => true,
            Event::Settled(_) | Event::Withdrawn { .. } => false,
        };
        (found, self.changes.iter().filter(concerns).cloned().collect())
    }

    pub(super) fn depths(&self) -> Depths {
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

    pub(super) fn pending_bytes(&self) -> u64 {
        self.window_bytes.saturating_add(self.stored_bytes)
    }

    /// The destination with most pending deliveries.
    pub(super) fn longest(&self) -> Option<(&DestinationName, u64)> {
        self.lanes.iter().map(|(name, lane)| (name, lane.pending)).max_by_key(|(_, pending)| *pending)
    }

    /// Destinations with work in the store.
    pub(super) fn with_pending(&self) -> Vec<DestinationName> {
        self.lanes.iter().filter(|(_, lane)| lane.pending > 0).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn set_oldest(&mut self, destination: &DestinationName, oldest_ms: Option<u64>) {
        lane(&mut self.lanes, destination).stored_oldest_ms = oldest_ms;
    }

    /// After recovery: counts anew from what the store says and what the window has.
    pub(super) fn recount(&mut self, ledger: &Ledger) {
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

    /// Destinations that have work or dead letters.
    pub(super) fn destinations(&self) -> Vec<DestinationName> {
        self.lanes.keys().cloned().collect()
    }

    /// Conversions in the window.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl DeadFilter {
    pub(super) fn matches(&self, letter: &super::DeadLetter) -> bool {
        self.destination.as_ref().is_none_or(|destination| *destination == letter.destination)
            && self.kind.is_none_or(|kind| kind == letter.kind)
            && self.since_ms.is_none_or(|since_ms| letter.at_ms >= since_ms)
            && self.until_ms.is_none_or(|until_ms| letter.at_ms < until_ms)
            && self.order_id.as_ref().is_none_or(|order_id| letter.order_id.as_ref() == Some(order_id))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&letter.id))
    }
}

/// The destination's lane; a destination not seen before (after a reload) gets one.
fn lane<'a>(lanes: &'a mut BTreeMap<DestinationName, Lane>, destination: &DestinationName) -> &'a mut Lane {
    lanes.entry(destination.clone()).or_insert_with(|| Lane::new(destination.clone(), false))
}

/// Puts a delivery that only the window has on its shelf.
fn shelve(lane: &mut Lane, record: &Arc<Record>, leg: &Leg) {
    let (attempts, revision, replayed_ms) = (leg.attempts, leg.revision, leg.replayed_ms());
    let ticket = Ticket { record: Arc::clone(record), attempts, revision, replayed_ms, stored: false };
    match leg.position {
        Position::Fresh => lane.fresh.insert(0, ticket),
        Position::Waiting { due_ms, .. } => lane.waiting.insert(due_ms, ticket),
        Position::Done { .. } => {}
    }
}
