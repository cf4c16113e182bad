//! A block: conversions that were written together, and what is still to be done with each.
//!
//! Where they lie never changes, and is said with them (`contents`). What changes with every settlement is small and is the
//! store's: one entry a block.

use super::super::codec::{Malformed, Reader, Writer};
use super::super::vault::KeyHash;
use super::bits::Bits;
use crate::conversion::{ConversionId, DestinationName};

/// What the store says of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Block {
    /// No other block has it while this one is there.
    pub(in super::super) number: u64,
    /// Where its frame lies.
    pub(super) segment: u64,
    pub(super) at: u64,
    pub(super) frame_bytes: u64,
    /// Conversions that were written.
    pub(super) count: usize,
    /// Sequence numbers that there are in it, from … to.
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// When they were received, from … to (Unix ms).
    pub(super) first_ms: u64,
    pub(super) last_ms: u64,
    /// What the history knows of them it learned at this record or later.
    pub(super) history_seq: u64,
    /// Of the conversions that are alive.
    pub(super) live_bytes: u64,
    /// Of which something is owed or dead.
    pub(super) live: Bits,
    /// Whose legs have changed since: the store has them as they are.
    pub(super) changed: Bits,
    pub(super) lanes: Vec<Lane>,
}

/// What a destination is owed of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) destination: DestinationName,
    /// Owed, and never attempted.
    pub(super) fresh: Bits,
    /// Owed: those, and those that wait for their time.
    pub(super) owed: Bits,
}

/// How a leg stands, as far as a block tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Owed {
    pub(in super::super) is_fresh: bool,
    pub(in super::super) is_owed: bool,
}

/// A block's place among the others: by acceptance.
pub(in super::super) type Key = (u64, u64);

impl Block {
    pub(in super::super) fn key(&self) -> Key {
        (self.first_seq, self.number)
    }

    pub(in super::super) fn is_alive(&self) -> bool {
        !self.live.is_empty()
    }

    /// Notes how a leg stands now.
    pub(in super::super) fn put_leg(&mut self, destination: &DestinationName, slot: usize, leg: Owed) {
        put_leg(&mut self.lanes, destination, slot, leg);
    }

    /// Where its frame lies.
    pub(in super::super) fn segment(&self) -> u64 {
        self.segment
    }

    /// It cannot be read.
    pub(in super::super) fn remove_all(&mut self) {
        (self.live, self.changed, self.live_bytes) = (Bits::default(), Bits::default(), 0);
        self.lanes.clear();
    }

    /// Whether the store has its legs.
    pub(in super::super) fn put_changed(&mut self, slot: usize, is_changed: bool) {
        self.changed.set(slot, is_changed);
    }

    /// Nothing is owed of it any more. `bytes`: what it takes in its frame.
    pub(in super::super) fn remove(&mut self, slot: usize, bytes: u64) {
        self.live.set(slot, false);
        self.changed.set(slot, false);
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
        for lane in &mut self.lanes {
            lane.fresh.set(slot, false);
            lane.owed.set(slot, false);
        }
        self.lanes.retain(|lane| !lane.owed.is_empty());
    }

    pub(super) fn lane(&self, destination: &DestinationName) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.destination == *destination)
    }

    pub(in super::super) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.entry_bytes());
        w.u8(FORM);
        let count = u64::try_from(self.count).unwrap_or(u64::MAX);
        let seqs = self.last_seq.saturating_sub(self.first_seq);
        let ms = self.last_ms.saturating_sub(self.first_ms);
        for number in [self.segment, self.at, self.frame_bytes, count, self.first_seq, seqs, self.first_ms, ms] {
            w.number(number);
        }
        w.number(self.history_seq);
        w.number(self.live_bytes);
        self.live.encode(&mut w, Bits::default(), self.count);
        self.changed.encode(&mut w, self.live, self.count);
        w.list(self.lanes.iter(), |w, lane| {
            w.text(lane.destination.as_str());
            lane.fresh.encode(w, self.live, self.count);
            lane.owed.encode(w, self.live, self.count);
        });
        w.finish()
    }

    pub(in super::super) fn decode(number: u64, bytes: &[u8]) -> Result<Block, Malformed> {
        let mut r = Reader::new(bytes);
        if r.u8()? != FORM {
            return Err(Malformed("form of a block"));
        }
        let (segment, at, frame_bytes) = (r.number()?, r.number()?, r.number()?);
        let count: usize = r.number()?;
        if count > Bits::MAX {
            return Err(Malformed("size of a block"));
        }
        let (first_seq, seqs): (u64, u64) = (r.number()?, r.number()?);
        let (first_ms, ms): (u64, u64) = (r.number()?, r.number()?);
        let (history_seq, live_bytes) = (r.number()?, r.number()?);
        let live = Bits::decode(&mut r, Bits::default(), count)?;
        let changed = Bits::decode(&mut r, live, count)?;
        let lanes = r.list(|r| {
            let destination = DestinationName::parse(r.text()?).ok_or(Malformed("destination"))?;
            Ok(Lane { destination, fresh: Bits::decode(r, live, count)?, owed: Bits::decode(r, live, count)? })
        })?;
        let (last_seq, last_ms) = (first_seq.saturating_add(seqs), first_ms.saturating_add(ms));
        Ok(Block {
            number,
            segment,
            at,
            frame_bytes,
            count,
            first_seq,
            last_seq,
            first_ms,
            last_ms,
            history_seq,
            live_bytes,
            live,
            changed,
            lanes,
        })
    }

    /// At most what its entry takes.
    pub(in super::super) fn entry_bytes(&self) -> usize {
        entry_bytes(self.lanes.iter().map(|lane| &lane.destination))
    }
}

/// At most what the entry of a block takes of which these are owed something.
pub(in super::super) fn entry_bytes<'d>(destinations: impl Iterator<Item = &'d DestinationName>) -> usize {
    destinations.fold(ENTRY_BYTES, |sum, name| sum.saturating_add(name.as_str().len()).saturating_add(LANE_BYTES))
}

/// A conversion that is to be written.
#[derive(Debug)]
pub(in super::super) struct Item {
    pub(in super::super) seq: u64,
    pub(in super::super) id: ConversionId,
    /// Number of the data key with which it is sealed.
    pub(in super::super) key: u64,
    /// Of its order, if it has one, as far as a search needs it.
    pub(super) order: u64,
    /// With its checksum.
    pub(super) payload: Vec<u8>,
    pub(super) is_changed: bool,
    pub(super) legs: Vec<(DestinationName, Owed)>,
}

impl Item {
    /// `accepted`: as the journal has it, with the legs as they stand.
    pub(in super::super) fn new(
        (seq, id, key): (u64, ConversionId, u64),
        order: Option<&KeyHash>,
        accepted: &[u8],
        legs: Vec<(DestinationName, Owed)>,
    ) -> Item {
        let payload = super::contents::checked(seq, accepted);
        Item { seq, id, key, order: order.map_or(0, super::contents::cell), payload, is_changed: false, legs }
    }

    pub(in super::super) fn bytes(&self) -> u64 {
        super::contents::slot_bytes(self.payload.len())
    }
}

/// A block that is to be written.
#[derive(Debug, Default)]
pub(in super::super) struct Draft {
    pub(super) items: Vec<Item>,
    bytes: u64,
}

impl Draft {
    pub(in super::super) fn of(items: Vec<Item>) -> Draft {
        let bytes = items.iter().fold(0_u64, |sum, item| sum.saturating_add(item.bytes()));
        Draft { items, bytes }
    }

    /// Whether there is room for it in a block; for the first there always is.
    pub(in super::super) fn has_room_for(&self, item: &Item) -> bool {
        self.items.is_empty()
            || self.items.len() < Bits::MAX && self.bytes.saturating_add(item.bytes()) <= BLOCK_BYTES_MAX
    }

    pub(in super::super) fn push(&mut self, item: Item) {
        self.bytes = self.bytes.saturating_add(item.bytes());
        self.items.push(item);
    }

    /// What the store is to say of it, once it lies there.
    pub(super) fn block(&self, number: u64, (segment, at, frame_bytes): (u64, u64, u64), history_seq: u64) -> Block {
        let mut block = Block {
            number,
            segment,
            at,
            frame_bytes,
            count: self.items.len(),
            first_seq: u64::MAX,
            last_seq: 0,
            first_ms: u64::MAX,
            last_ms: 0,
            history_seq,
            live_bytes: self.bytes,
            live: Bits::default(),
            changed: Bits::default(),
            lanes: Vec::new(),
        };
        for (slot, item) in self.items.iter().enumerate() {
            let received_ms = item.id.unix_ms();
            (block.first_seq, block.last_seq) = (block.first_seq.min(item.seq), block.last_seq.max(item.seq));
            (block.first_ms, block.last_ms) = (block.first_ms.min(received_ms), block.last_ms.max(received_ms));
            block.live.set(slot, true);
            block.changed.set(slot, item.is_changed);
            for (destination, owed) in &item.legs {
                put_leg(&mut block.lanes, destination, slot, *owed);
            }
        }
        block
    }
}

fn put_leg(lanes: &mut Vec<Lane>, destination: &DestinationName, slot: usize, leg: Owed) {
    let at = lanes.iter().position(|lane| lane.destination == *destination);
    let lane = match at.and_then(|at| lanes.get_mut(at)) {
        Some(lane) => lane,
        None if leg.is_owed => {
            let (fresh, owed) = (Bits::default(), Bits::default());
            lanes.push_mut(Lane { destination: destination.clone(), fresh, owed })
        }
        None => return,
    };
    lane.fresh.set(slot, leg.is_fresh);
    lane.owed.set(slot, leg.is_owed);
    lanes.retain(|lane| !lane.owed.is_empty());
}

const FORM: u8 = 1;
/// Of an entry without its lanes, its key included.
const ENTRY_BYTES: usize = 160;
/// Of a lane beside its name.
const LANE_BYTES: usize = 36;
/// A block is read in part, and written anew as a whole: a tenth of a second of a disk's time for several of them.
pub(in super::super) const BLOCK_BYTES_MAX: u64 = 1024 * 1024;
