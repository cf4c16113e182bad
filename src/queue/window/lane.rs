//! One destination's part of the window: what can be handed out, to whom it is handed out, what is still on disk.
//!
//! Fresh deliveries leave in order of acceptance. While the store holds fresh ones that were not read ahead, newer ones that
//! are still in the window wait for them. Every [`DUE_SHARE`]th hand-out goes to a due retry or question, if there is one; without
//! fresh work they have it all.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::{HashSet, HashSetExt as _};
use tokio::sync::Notify;

use super::super::Lease;
use super::super::record::Record;
use super::super::status::{Acceptance, DeadKind, Hold};
use super::super::store::{Loaded, Room, Tally};
use crate::conversion::DestinationName;

/// A delivery in memory that is in nobody's hands.
#[derive(Clone)]
pub(super) struct Ticket {
    pub(super) record: Arc<Record>,
    pub(super) attempts: u32,
    pub(super) revision: u32,
    pub(super) replayed_ms: Option<u64>,
    pub(super) acceptance: Option<Arc<Acceptance>>,
    pub(super) is_in_doubt: bool,
    /// Whether the store has it too: then it may be forgotten here.
    pub(super) stored: bool,
}

/// Tickets in the order in which they are handed out: by due time (0 for fresh ones), then by acceptance.
#[derive(Default)]
pub(super) struct Shelf {
    tickets: BTreeMap<(u64, u64), Ticket>,
    stored: usize,
    stored_bytes: usize,
}

impl Shelf {
    pub(super) fn insert(&mut self, due_ms: u64, ticket: Ticket) {
        let key = (due_ms, ticket.record.seq);
        self.remove(key);
        if ticket.stored {
            self.stored = self.stored.saturating_add(1);
            self.stored_bytes = self.stored_bytes.saturating_add(ticket.record.body.len());
        }
        self.tickets.insert(key, ticket);
    }

    pub(super) fn remove(&mut self, key: (u64, u64)) -> Option<Ticket> {
        let ticket = self.tickets.remove(&key)?;
        if ticket.stored {
            self.stored = self.stored.saturating_sub(1);
            self.stored_bytes = self.stored_bytes.saturating_sub(ticket.record.body.len());
        }
        Some(ticket)
    }

    /// Whenever it is due: looks at all of them.
    fn remove_seq(&mut self, seq: u64) {
        let key = self.tickets.keys().find(|(_, ticket)| *ticket == seq).copied();
        key.map(|key| self.remove(key));
    }

    fn first(&self) -> Option<((u64, u64), &Ticket)> {
        self.tickets.first_key_value().map(|(key, ticket)| (*key, ticket))
    }

    fn room(&self) -> Room {
        Room { count: AHEAD_MAX.saturating_sub(self.stored), bytes: AHEAD_BYTES_MAX.saturating_sub(self.stored_bytes) }
    }

    fn has_room(&self) -> bool {
        self.stored < AHEAD_MAX && self.stored_bytes < AHEAD_BYTES_MAX
    }

    fn runs_low(&self) -> bool {
        self.stored <= AHEAD_MAX / 2 && self.stored_bytes <= AHEAD_BYTES_MAX / 2
    }
}

/// How much is handed out in a step of time.
#[derive(Default)]
struct Pace {
    /// The step in which something was handed out last, since 1970.
    step: u64,
    /// In it, and in the one before.
    counts: (usize, usize),
}

impl Pace {
    fn count(&mut self, now_ms: u64) {
        let step = now_ms / PACE_STEP_MS;
        if step != self.step {
            self.counts = (0, if step == self.step.saturating_add(1) { self.counts.0 } else { 0 });
            self.step = step;
        }
        self.counts.0 = self.counts.0.saturating_add(1);
    }

    /// In the step that goes on or in the one before, whichever had more. A clock that was set back tells nothing else.
    fn at(&self, now_ms: u64) -> usize {
        let (last, before) = self.counts;
        match (now_ms / PACE_STEP_MS).saturating_sub(self.step) {
            0 => last.max(before),
            1 => last,
            _ => 0,
        }
    }
}

pub(super) struct Lane {
    pub(super) name: DestinationName,
    pub(super) fresh: Shelf,
    pub(super) waiting: Shelf,
    pub(super) leased: HashSet<u64>,
    /// Deliveries that the store has and memory too: read ahead, handed out, or with a change on its way to the store.
    pub(super) loaded: HashSet<u64>,
    /// Left `loaded` while a refill was reading: what it has read of them is no longer so.
    gone: HashSet<u64>,
    refilling: bool,
    /// Whether the store may hold fresh deliveries that are not in memory.
    more_fresh: bool,
    /// When the store's next waiting delivery that is not in memory is due.
    next_due_ms: Option<u64>,
    hand_outs: u8,
    pace: Pace,
    /// When the oldest that the store has and that is owed was received, as the mover last saw it.
    pub(super) stored_oldest_ms: Option<u64>,
    pub(super) tally: Tally,
    /// How often it has changed, or may have.
    pub(super) events: u64,
    pub(super) hold: Option<Hold>,
    pub(super) changed: Arc<Notify>,
    /// Something came in of which nobody has been told.
    pub(super) has_news: bool,
}

/// All lanes, by name.
#[derive(Default)]
pub(super) struct Lanes(Vec<Lane>);

impl Lanes {
    /// The destination's; one not seen before (after a reload) gets one.
    #[expect(clippy::indexing_slicing, reason = "found there, or just put there")]
    pub(super) fn of(&mut self, destination: &DestinationName) -> &mut Lane {
        let at = self.place(destination).unwrap_or_else(|at| {
            self.0.insert(at, Lane::new(destination.clone(), false));
            at
        });
        &mut self.0[at]
    }

    pub(super) fn get(&self, destination: &DestinationName) -> Option<&Lane> {
        self.0.get(self.place(destination).ok()?)
    }

    fn place(&self, destination: &DestinationName) -> Result<usize, usize> {
        self.0.binary_search_by(|lane| lane.name.cmp(destination))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.0.iter_mut()
    }
}

/// What a lane has for someone who asks.
pub(in super::super) enum Step {
    Lease(Box<Lease>),
    /// Read ahead from the store, then ask again.
    Refill(Refill),
    /// Nothing before this time (Unix ms), unless the lane tells. What it tells before it is listened to is kept.
    Wait(Option<u64>, Arc<Notify>),
}

/// What is to be read ahead.
pub(in super::super) struct Refill {
    pub(in super::super) destination: DestinationName,
    pub(in super::super) now_ms: u64,
    pub(in super::super) skip: HashSet<u64>,
    pub(in super::super) rooms: (Room, Room),
}

impl Lane {
    /// `maybe_stored`: whether the store has to be asked first.
    pub(super) fn new(name: DestinationName, maybe_stored: bool) -> Lane {
        Lane {
            name,
            fresh: Shelf::default(),
            waiting: Shelf::default(),
            leased: HashSet::new(),
            loaded: HashSet::new(),
            gone: HashSet::new(),
            refilling: false,
            more_fresh: maybe_stored,
            next_due_ms: maybe_stored.then_some(0),
            hand_outs: 0,
            pace: Pace::default(),
            stored_oldest_ms: None,
            tally: Tally::default(),
            events: 0,
            hold: None,
            changed: Arc::new(Notify::new()),
            has_news: false,
        }
    }

    /// Hands out, or says what there is to wait for.
    pub(super) fn step(&mut self, now_ms: u64) -> Step {
        if let Some(refill) = self.begin_refill(now_ms) {
            return Step::Refill(refill);
        }
        let due = self.waiting.first().filter(|((due_ms, _), _)| *due_ms <= now_ms).map(|(key, _)| key);
        let fresh = self.first_fresh();
        self.hand_outs = self.hand_outs.wrapping_add(1);
        let turn_of_due = self.hand_outs.is_multiple_of(DUE_SHARE) || fresh.is_none();
        let taken = match (due, fresh) {
            (Some(key), _) if turn_of_due => self.waiting.remove(key).map(|ticket| (ticket, Some(key.0))),
            (_, Some(key)) => self.fresh.remove(key).map(|ticket| (ticket, None)),
            (_, None) => None,
        };
        let Some((ticket, due_ms)) = taken else {
            let next = self.waiting.first().map(|((due_ms, _), _)| due_ms);
            // What is due in the store is being read then: the end of that wakes.
            let stored = self.next_due_ms.filter(|due_ms| *due_ms > now_ms);
            return Step::Wait(next.into_iter().chain(stored).min(), Arc::clone(&self.changed));
        };
        self.leased.insert(ticket.record.seq);
        self.pace.count(now_ms);
        Step::Lease(Box::new(Lease {
            destination: self.name.clone(),
            record: ticket.record,
            attempts: ticket.attempts,
            revision: ticket.revision,
            due_ms,
            replayed_ms: ticket.replayed_ms,
            acceptance: ticket.acceptance,
            is_in_doubt: ticket.is_in_doubt,
        }))
    }

    /// Whether someone else who asks would get something.
    pub(super) fn is_ready(&self, now_ms: u64) -> bool {
        self.has_due(now_ms) || self.first_fresh().is_some() || self.wants_refill(now_ms)
    }

    /// Whether something on the shelf is due.
    fn has_due(&self, now_ms: u64) -> bool {
        self.waiting.first().is_some_and(|((due_ms, _), _)| due_ms <= now_ms)
    }

    /// Whether it is handing out what only the window has, fast enough to be done soon with that and with what it has handed
    /// out: one that is slower has its work written down, and keeps nobody waiting for room.
    pub(super) fn makes_headway(&self, now_ms: u64) -> bool {
        let waits_for_the_store = self.more_fresh || self.refilling;
        let soon = self.pace.at(now_ms).saturating_mul(HEADWAY_STEPS);
        let waiting = self.fresh.tickets.len().saturating_add(self.leased.len());
        self.hold.is_none() && !waits_for_the_store && waiting <= soon
    }

    /// The fresh delivery that may go out now: while the store may hold older ones, none that only the window has.
    fn first_fresh(&self) -> Option<(u64, u64)> {
        let first = self.fresh.first().filter(|(_, ticket)| ticket.stored || !(self.more_fresh || self.refilling));
        first.map(|(key, _)| key)
    }

    fn wants_refill(&self, now_ms: u64) -> bool {
        let fresh = self.more_fresh && self.fresh.runs_low();
        // Read ahead and not due any more: the clock was set back. That must not hide what is due.
        let runs_low = self.waiting.runs_low() || !self.has_due(now_ms);
        !self.refilling && (fresh || (self.next_due_ms.is_some_and(|due_ms| due_ms <= now_ms) && runs_low))
    }

    fn begin_refill(&mut self, now_ms: u64) -> Option<Refill> {
        if !self.wants_refill(now_ms) {
            return None;
        }
        self.refilling = true;
        self.more_fresh = false;
        self.next_due_ms = None;
        self.gone.clear();
        let mut due = self.waiting.room();
        if !self.has_due(now_ms) {
            // Nor must it leave no place for that: nothing would be read, again and again.
            due.count = due.count.max(1);
        }
        let (destination, skip) = (self.name.clone(), self.loaded.clone());
        Some(Refill { destination, now_ms, skip, rooms: (due, self.fresh.room()) })
    }

    /// Takes in what a refill has read, except what has come into memory or left it since. `is_unmoved` tells what the
    /// window still has. Returns deliveries that the store names and does not have.
    pub(super) fn end_refill(&mut self, loaded: Loaded, is_unmoved: impl Fn(u64) -> bool) -> Vec<u64> {
        self.refilling = false;
        self.more_fresh |= loaded.more_fresh;
        self.next_due_ms = self.next_due_ms.into_iter().chain(loaded.next_due_ms).min();
        for lease in loaded.leases {
            let seq = lease.record.seq;
            if is_unmoved(seq) || self.gone.contains(&seq) || !self.loaded.insert(seq) {
                continue;
            }
            self.put(&lease, true);
        }
        let known = |seq: &u64| is_unmoved(*seq) || self.gone.contains(seq) || self.loaded.contains(seq);
        let lost: Vec<u64> = loaded.lost.into_iter().filter(|seq| !known(seq)).collect();
        // Counted as pending and never read again: damage stays visible, and does not stop the others.
        self.loaded.extend(&lost);
        self.gone.clear();
        self.changed.notify_one();
        lost
    }

    /// Takes a delivery off its shelf, or where it is on disk alone sees to it that it is not read ahead. False when it is
    /// handed out.
    pub(super) fn take(&mut self, seq: u64, is_unmoved: bool) -> bool {
        if !self.leased.insert(seq) {
            return false;
        }
        self.fresh.remove((0, seq));
        self.waiting.remove_seq(seq);
        if !is_unmoved {
            self.loaded.insert(seq);
        }
        true
    }

    /// What the store has of it is read again.
    pub(super) fn read_again(&mut self, seq: u64) {
        self.applied(seq);
        self.more_fresh = true;
        self.next_due_ms = Some(0);
    }

    /// Ends a refill that could not read.
    pub(super) fn fail_refill(&mut self) {
        self.refilling = false;
        self.more_fresh = true;
    }

    /// A delivery is owed no more. Without any that is, none of them is the oldest.
    pub(super) fn one_pending_less(&mut self) {
        self.tally.pending = self.tally.pending.saturating_sub(1);
        if self.tally.pending == 0 {
            self.stored_oldest_ms = None;
        }
    }

    /// A dead letter is none any more: perhaps the one too many.
    pub(super) fn one_dead_less(&mut self, kind: DeadKind, dead_letters_max: u64) {
        if self.tally.dead.total() >= dead_letters_max {
            self.changed.notify_one();
        }
        self.tally.dead.one_less(kind);
    }

    /// Puts (back) on its shelf what is in nobody's hands.
    pub(super) fn put(&mut self, lease: &Lease, stored: bool) {
        let ticket = Ticket {
            record: Arc::clone(&lease.record),
            attempts: lease.attempts,
            revision: lease.revision,
            replayed_ms: lease.replayed_ms,
            acceptance: lease.acceptance.clone(),
            is_in_doubt: lease.is_in_doubt,
            stored,
        };
        match lease.due_ms {
            Some(due_ms) => self.waiting.insert(due_ms, ticket),
            None => self.fresh.insert(0, ticket),
        }
    }

    /// A fresh delivery that lay on the shelf has been moved: it stays as if read ahead while there is room and nothing
    /// older is on disk alone, and else is forgotten here.
    pub(super) fn moved_fresh(&mut self, seq: u64) {
        let Some(mut ticket) = self.fresh.remove((0, seq)) else {
            return;
        };
        if !self.more_fresh && !self.refilling && self.fresh.has_room() {
            ticket.stored = true;
            self.loaded.insert(seq);
            self.fresh.insert(0, ticket);
        } else {
            self.more_fresh = true;
        }
    }

    /// A waiting delivery that lay on the shelf has been moved: it is read again when it is due.
    pub(super) fn moved_waiting(&mut self, due_ms: u64, seq: u64) {
        self.waiting.remove((due_ms, seq));
        self.stored_until(due_ms);
    }

    /// The store has a waiting delivery that memory does not have.
    pub(super) fn stored_until(&mut self, due_ms: u64) {
        self.next_due_ms = Some(self.next_due_ms.map_or(due_ms, |next| next.min(due_ms)));
    }

    /// A change to a stored delivery has been applied in the store.
    pub(super) fn applied(&mut self, seq: u64) {
        // In somebody's hands it has another change to come.
        if !self.leased.contains(&seq) {
            self.loaded.remove(&seq);
        }
        if self.refilling {
            self.gone.insert(seq);
        }
    }
}

/// A lane that has handed out nothing for one to two of these stands.
const PACE_STEP_MS: u64 = 250;
/// It makes headway when it will be done with what waits for it in so many of them.
const HEADWAY_STEPS: usize = 8;
/// A due retry gets at least one in so many hand-outs.
const DUE_SHARE: u8 = 4;
/// Deliveries read ahead of each sort (fresh, due) for a destination: enough for tens of milliseconds at full speed.
const AHEAD_MAX: usize = 128;
/// Bytes of their bodies; a single larger one is still read.
const AHEAD_BYTES_MAX: usize = 512 * 1024;
