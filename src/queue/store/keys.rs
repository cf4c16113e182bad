//! The store's keys: one byte that names the table, then parts that sort as they should be read (big-endian).

use crate::conversion::{ConversionId, DestinationName};

use super::super::record::Position;
use super::super::vault::KeyHash;

/// The ledger's only key.
pub(super) const LEDGER: &[u8] = b"m";
/// The only key that the store writes of itself: bytes of all the others and their values.
pub(super) const LIVE_BYTES: &[u8] = b"l";

/// Statuses by id, oldest first.
pub(super) const STATUS: u8 = b's';
/// Further pieces of long statuses.
const STATUS_MORE: u8 = b't';
pub(super) const BODY: u8 = b'p';
/// Bodies to be removed, piece by piece.
pub(super) const GARBAGE: u8 = b'g';
const FRESH: u8 = b'f';
const DUE: u8 = b'q';
const AGE: u8 = b'a';
/// Dead letters by destination, oldest first.
pub(super) const DEAD: u8 = b'x';
const ORDER: u8 = b'o';

pub(super) fn status(id: ConversionId) -> Vec<u8> {
    [&[STATUS], id.as_bytes().as_slice()].concat()
}

/// Piece 0 of a status is under [`status`].
pub(super) fn status_piece(id: ConversionId, piece: u32) -> Vec<u8> {
    if piece == 0 {
        return status(id);
    }
    [&[STATUS_MORE], id.as_bytes().as_slice(), &piece.to_be_bytes()].concat()
}

pub(super) fn body(seq: u64, piece: u32) -> Vec<u8> {
    [&[BODY], seq.to_be_bytes().as_slice(), &piece.to_be_bytes()].concat()
}

pub(super) fn garbage(seq: u64) -> Vec<u8> {
    [&[GARBAGE], seq.to_be_bytes().as_slice()].concat()
}

/// A destination's part of a table. A name never holds a zero byte, so no name is the beginning of another's part.
fn lane(table: u8, destination: &DestinationName) -> Vec<u8> {
    [&[table], destination.as_str().as_bytes(), &[0]].concat()
}

pub(super) fn fresh_lane(destination: &DestinationName) -> Vec<u8> {
    lane(FRESH, destination)
}

pub(super) fn due_lane(destination: &DestinationName) -> Vec<u8> {
    lane(DUE, destination)
}

pub(super) fn age_lane(destination: &DestinationName) -> Vec<u8> {
    lane(AGE, destination)
}

pub(super) fn dead_lane(destination: &DestinationName) -> Vec<u8> {
    lane(DEAD, destination)
}

/// The entries under which a delivery in this position is found: fresh ones in order of acceptance; waiting ones by due
/// time, and by age; accepted ones by due time alone, for nobody counts how old they are.
pub(super) fn queued(destination: &DestinationName, seq: u64, position: Position) -> Vec<Vec<u8>> {
    let seq = seq.to_be_bytes();
    match position {
        Position::Fresh => vec![[fresh_lane(destination).as_slice(), &seq].concat()],
        Position::Waiting { due_ms, .. } => vec![
            [due_lane(destination).as_slice(), &due_ms.to_be_bytes(), &seq].concat(),
            [age_lane(destination).as_slice(), &seq].concat(),
        ],
        Position::Accepted { due_ms, .. } => {
            vec![[due_lane(destination).as_slice(), &due_ms.to_be_bytes(), &seq].concat()]
        }
        Position::Done { .. } => Vec::new(),
    }
}

/// The sequence number at a queue entry's end, and before it the due time of a waiting one.
pub(super) fn queued_parts(key: &[u8]) -> Option<(u64, Option<u64>)> {
    let (rest, seq) = key.split_last_chunk::<8>()?;
    let due_ms = match rest.first() {
        Some(&DUE) => rest.split_last_chunk::<8>().map(|(_, due_ms)| u64::from_be_bytes(*due_ms)),
        Some(_) | None => None,
    };
    Some((u64::from_be_bytes(*seq), due_ms))
}

/// Where a dead letter stands in the listing: by destination, then time, then acceptance. Also a page's mark.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct Place(pub(super) Vec<u8>);

impl Place {
    pub(in super::super) fn of(destination: &DestinationName, at_ms: u64, seq: u64) -> Place {
        Place([dead_lane(destination).as_slice(), &at_ms.to_be_bytes(), &seq.to_be_bytes()].concat())
    }

    /// The place from which a listing begins.
    pub(in super::super) fn first(destination: Option<&DestinationName>, since_ms: u64) -> Place {
        match destination {
            Some(destination) => Place::of(destination, since_ms, 0),
            None => Place(vec![DEAD]),
        }
    }

    pub(in super::super) fn parse(mark: &str) -> Option<Place> {
        hex::decode(mark).ok().filter(|key| key.first() == Some(&DEAD)).map(Place)
    }

    pub(in super::super) fn mark(&self) -> String {
        hex::encode(&self.0)
    }
}

/// Destination and time of a dead letter's key.
pub(super) fn dead_parts(key: &[u8]) -> Option<(DestinationName, u64)> {
    let (rest, _) = key.split_last_chunk::<8>()?;
    let (rest, at_ms) = rest.split_last_chunk::<8>()?;
    let name = rest.get(1..)?.split_last()?.1;
    Some((DestinationName::parse(std::str::from_utf8(name).ok()?)?, u64::from_be_bytes(*at_ms)))
}

pub(super) fn orders(order: &KeyHash) -> Vec<u8> {
    [&[ORDER], order.as_slice()].concat()
}

pub(super) fn order(order: &KeyHash, id: ConversionId) -> Vec<u8> {
    [orders(order).as_slice(), id.as_bytes()].concat()
}
