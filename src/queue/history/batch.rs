//! What is appended to the history by one commit.

use super::super::record::{Leg, Record};
use super::form::{self, Kept, Names, kind};

/// What is appended together.
#[derive(Debug, Default)]
pub(in super::super) struct Batch {
    /// Kind, names and payload of each.
    pub(super) records: Vec<(u8, Names, Vec<u8>)>,
    bytes: usize,
}

impl Batch {
    /// Nothing is owed of this one any more.
    pub(in super::super) fn settled(&mut self, record: &Record, legs: &[Leg]) {
        self.push(kind::SETTLED, form::encode_settled(record, legs));
    }

    /// The store takes this one over: here its key is found.
    pub(in super::super) fn used(&mut self, record: &Record) {
        self.push(kind::USED, form::encode_used(record));
    }

    /// A record as it was read from a segment; one of another kind, or that is damaged, is left out.
    pub(in super::super) fn again(&mut self, kind: u8, payload: &[u8]) {
        if let Ok(kept) = Kept::decode(payload)
            && kind != kind::THROUGH
        {
            self.push(kind, (kept.names, payload.to_vec()));
        }
    }

    fn push(&mut self, kind: u8, (names, payload): (Names, Vec<u8>)) {
        self.bytes = self.bytes.saturating_add(payload.len());
        self.records.push((kind, names, payload));
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(in super::super) fn bytes(&self) -> usize {
        self.bytes
    }
}
