//! What is written with records: how far things had come, and when what is in a segment was received.

use super::super::codec::{Malformed, Reader};

/// What a commit says of itself, and a full segment of its last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Mark {
    /// Every conversion up to this sequence number had been moved, here or to the store …
    pub(in super::super) moved_seq: u64,
    /// … which had come this far, by its own ledger.
    pub(in super::super) store_seq: u64,
    /// When it was written (Unix ms).
    pub(in super::super) written_ms: u64,
}

impl Mark {
    const BYTES: usize = 24;

    pub(super) fn encode(self) -> [u8; Mark::BYTES] {
        let mut bytes = [0; Mark::BYTES];
        let fields = [self.moved_seq, self.store_seq, self.written_ms];
        bytes.iter_mut().zip(fields.into_iter().flat_map(u64::to_le_bytes)).for_each(|(to, from)| *to = from);
        bytes
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Mark, Malformed> {
        Ok(Mark { moved_seq: r.u64()?, store_seq: r.u64()?, written_ms: r.u64()? })
    }

    /// How far both have come, by the one that has come further.
    pub(super) fn max(self, other: Mark) -> Mark {
        Mark {
            moved_seq: self.moved_seq.max(other.moved_seq),
            store_seq: self.store_seq.max(other.store_seq),
            written_ms: other.written_ms,
        }
    }
}

/// When the conversions of a segment were received: from the first to the last (Unix ms).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
}

impl Received {
    pub(super) const NONE: Received = Received { first_ms: u64::MAX, last_ms: 0 };

    pub(super) fn add(&mut self, at_ms: u64) {
        self.first_ms = self.first_ms.min(at_ms);
        self.last_ms = self.last_ms.max(at_ms);
    }
}
