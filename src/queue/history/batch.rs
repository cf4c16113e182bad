//! What is appended to the history by one commit.

use std::sync::Arc;

use super::super::codec::Malformed;
use super::super::record::{Leg, Record};
use super::super::vault::{PLAIN, Sealing, Vault};
use super::form::{self, Kept, Names, kind};

/// What is appended together.
pub(in super::super) struct Batch {
    vault: Arc<Vault>,
    sealing: Sealing,
    /// Kind, names and payload of each.
    pub(super) records: Vec<(u8, Names, Vec<u8>)>,
    bytes: usize,
    /// Of the data keys with which its records are sealed.
    pub(super) oldest_key: Option<u64>,
}

impl Batch {
    /// What is taken up is sealed with the present data key.
    pub(in super::super) fn new(vault: &Arc<Vault>) -> Batch {
        Batch { vault: Arc::clone(vault), sealing: vault.sealing(), records: Vec::new(), bytes: 0, oldest_key: None }
    }

    /// Nothing is owed of this one any more.
    pub(in super::super) fn settled(&mut self, record: &Record, legs: &[Leg]) -> Result<(), Malformed> {
        let key = Some(self.sealing.number()).filter(|number| *number != PLAIN);
        self.push(kind::SETTLED, key, form::encode_settled(&self.vault, &self.sealing, record, legs)?);
        Ok(())
    }

    /// The store takes this one over: here its key is found.
    pub(in super::super) fn used(&mut self, record: &Record) {
        self.push(kind::USED, None, form::encode_used(&self.vault, record));
    }

    /// A record as it was read from a segment; one of another kind, or that is damaged, is left out.
    pub(in super::super) fn again(&mut self, kind: u8, payload: &[u8]) {
        if let Ok(kept) = Kept::decode(payload)
            && kind != kind::THROUGH
        {
            self.push(kind, kept.key_number(), (kept.names, payload.to_vec()));
        }
    }

    /// What is in it, which is not in it any more.
    pub(in super::super) fn take(&mut self) -> Batch {
        let next = Batch::new(&self.vault);
        std::mem::replace(self, next)
    }

    fn push(&mut self, kind: u8, key: Option<u64>, (names, payload): (Names, Vec<u8>)) {
        self.oldest_key = self.oldest_key.into_iter().chain(key).min();
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
