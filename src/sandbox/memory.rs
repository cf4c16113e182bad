//! What a stand-in remembers: requests for people and tests ([`Ledger`]), and what its platform would know
//! ([`Memory`]). Both are bounded.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::{Counts, Received};

/// Most requests kept whole per platform: enough to read a test's story; the counters go on beyond it.
pub const RECEIVED_MAX: usize = 4_096;
/// Most text of kept requests per platform, so that large bodies cannot make [`RECEIVED_MAX`] costly.
pub const RECEIVED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most handles tracked per platform: ten times the conversions of a long crash test, about 100 MiB at worst.
pub const HANDLES_MAX: usize = 1_000_000;
/// Most submissions of Impact that can be asked for; older ones are unknown.
const SUBMISSIONS_MAX: usize = 65_536;

/// The requests of one platform.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    received: VecDeque<Received>,
    bytes: usize,
    counts: Counts,
    handles: HashMap<Box<str>, Tally>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    arrivals: u32,
    effects: u32,
}

impl Ledger {
    pub(super) fn record(&mut self, received: Received, duplicate: bool) {
        let one = |holds: bool| u64::from(holds);
        self.counts.requests = self.counts.requests.saturating_add(1);
        self.counts.violations = self.counts.violations.saturating_add(one(!received.violations.is_empty()));
        self.counts.effects = self.counts.effects.saturating_add(one(received.effect));
        self.counts.duplicates = self.counts.duplicates.saturating_add(one(duplicate));
        if received.operation == CONVERSION && !received.handle.is_empty() {
            self.tally(&received.handle, received.effect);
        }
        self.bytes = self.bytes.saturating_add(weight(&received));
        self.received.push_back(received);
        while self.received.len() > RECEIVED_MAX || self.bytes > RECEIVED_BYTES_MAX {
            let Some(oldest) = self.received.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(weight(&oldest));
        }
    }

    pub(super) fn broke_off(&mut self) {
        self.counts.incomplete = self.counts.incomplete.saturating_add(1);
    }

    fn tally(&mut self, handle: &str, effect: bool) {
        if self.handles.len() >= HANDLES_MAX && !self.handles.contains_key(handle) {
            self.counts.untracked = self.counts.untracked.saturating_add(1);
            return;
        }
        let tally = self.handles.entry(handle.into()).or_default();
        tally.arrivals = tally.arrivals.saturating_add(1);
        tally.effects = tally.effects.saturating_add(u32::from(effect));
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received.iter().cloned().collect()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn arrivals(&self) -> HashMap<String, u32> {
        self.handles.iter().map(|(handle, tally)| (handle.to_string(), tally.arrivals)).collect()
    }

    pub(super) fn effects(&self) -> HashMap<String, u32> {
        self.handles
            .iter()
            .filter(|(_, tally)| tally.effects > 0)
            .map(|(handle, tally)| (handle.to_string(), tally.effects))
            .collect()
    }
}

/// The operation that creates a conversion.
pub(super) const CONVERSION: &str = "conversion";

fn weight(received: &Received) -> usize {
    let violations: usize = received.violations.iter().map(String::len).sum();
    received
        .body
        .len()
        .saturating_add(received.target.len())
        .saturating_add(received.handle.len())
        .saturating_add(violations)
}

/// What the platform itself would know.
///
/// Keys live in two generations: when the younger is full the older is forgotten, as platforms forget what lies before
/// their dedup window.
#[derive(Debug)]
pub(super) struct Memory {
    generation_max: usize,
    younger: HashSet<Box<str>>,
    older: HashSet<Box<str>>,
    submissions: BTreeMap<u64, Submission>,
    serial: u64,
}

/// How Impact's asynchronous processing ended.
#[derive(Debug, Clone)]
pub(super) struct Submission {
    pub(super) kind: &'static str,
    pub(super) order_id: String,
    /// Error type and reason; `None` when it was processed.
    pub(super) error: Option<(&'static str, &'static str)>,
    /// Whether somebody has asked: only whoever asks again is told.
    pub(super) is_processed: bool,
}

impl Memory {
    /// Remembers at least the newest `generation_max` keys, and never more than twice as many.
    pub(super) fn new(generation_max: usize) -> Memory {
        let (younger, older) = (HashSet::new(), HashSet::new());
        Memory { generation_max, younger, older, submissions: BTreeMap::new(), serial: 0 }
    }

    pub(super) fn knows(&self, key: &str) -> bool {
        self.younger.contains(key) || self.older.contains(key)
    }

    /// Remembers a key; whether it was new.
    pub(super) fn first(&mut self, key: &str) -> bool {
        if self.knows(key) {
            return false;
        }
        if self.younger.len() >= self.generation_max {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key.into())
    }

    /// The next serial number, from 1: what ids in answers are made of.
    pub(super) fn next(&mut self) -> u64 {
        self.serial = self.serial.saturating_add(1);
        self.serial
    }

    /// Keeps a submission; its number.
    pub(super) fn submit(&mut self, submission: Submission) -> u64 {
        let number = self.next();
        self.submissions.insert(number, submission);
        if self.submissions.len() > SUBMISSIONS_MAX {
            self.submissions.pop_first();
        }
        number
    }

    pub(super) fn submission(&mut self, number: u64) -> Option<&mut Submission> {
        self.submissions.get_mut(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(handle: &str, body: String) -> Received {
        Received {
            method: "POST".into(),
            target: "/".into(),
            body,
            operation: CONVERSION,
            handle: handle.into(),
            violations: Vec::new(),
            effect: true,
            answered: 200,
        }
    }

    #[test]
    fn old_requests_go_and_counters_stay() {
        let mut ledger = Ledger::default();
        for number in 0..=RECEIVED_MAX {
            ledger.record(received(&number.to_string(), String::new()), false);
        }
        assert_eq!(ledger.received().len(), RECEIVED_MAX);
        assert_eq!(ledger.received()[0].handle, "1", "the oldest went first");
        assert_eq!(ledger.counts().requests, u64::try_from(RECEIVED_MAX).unwrap() + 1);
        assert_eq!(ledger.arrivals()["0"], 1, "handles outlive the requests");
    }

    #[test]
    fn large_bodies_are_held_to_the_byte_limit() {
        let mut ledger = Ledger::default();
        for _ in 0..20 {
            ledger.record(received("a", "x".repeat(1024 * 1024)), false);
        }
        assert!(ledger.received().len() < 16 && ledger.bytes <= RECEIVED_BYTES_MAX);
        assert_eq!(ledger.arrivals()["a"], 20);
        assert_eq!(ledger.effects()["a"], 20);
    }

    #[test]
    fn keys_are_remembered_for_a_generation_and_then_forgotten() {
        let mut memory = Memory::new(2);
        assert!(["a", "b", "c"].iter().all(|key| memory.first(key)));
        assert!(!memory.first("a") && !memory.first("c"), "the older generation still counts");
        assert!(["d", "e"].iter().all(|key| memory.first(key)));
        assert!(!memory.knows("a") && memory.knows("c") && memory.knows("e"));
    }

    #[test]
    fn submissions_are_bounded() {
        let mut memory = Memory::new(1);
        for _ in 0..=SUBMISSIONS_MAX {
            memory.submit(Submission { kind: "Conversion", order_id: String::new(), error: None, is_processed: false });
        }
        assert!(memory.submission(1).is_none() && memory.submission(2).is_some());
    }
}
