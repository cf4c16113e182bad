//! The store's keys: one byte that names the table, then parts that sort as they should be read (big-endian).

use crate::conversion::{ConversionId, DestinationName};

use super::super::record::Position;

/// The ledger's only key.
pub(super) const LEDGER: &[u8] = b"m";
/// The only key that the store writes of itself: bytes of all the others and their values.
pub(super) const LIVE_BYTES: &[u8] = b"l";

/// Legs that have changed since their conversion was moved, by id.
pub(super) const STATUS: u8 = b's';
/// Further pieces of long ones.
pub(super) const STATUS_MORE: u8 = b't';
/// Blocks of the backlog, by number.
pub(super) const BLOCK: u8 = b'b';
/// What waits, by destination and due time.
pub(super) const DUE: u8 = b'q';
/// Dead letters by destination, oldest first.
pub(super) const DEAD: u8 = b'x';

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

/// Whose legs are in an entry of either table.
pub(super) fn status_id(key: &[u8]) -> Option<ConversionId> {
    key.get(1..17).and_then(|id| id.try_into().ok()).map(ConversionId::from_bytes)
}

pub(super) fn block(number: u64) -> Vec<u8> {
    [&[BLOCK], number.to_be_bytes().as_slice()].concat()
}

/// The number of a block's key.
pub(super) fn block_number(key: &[u8]) -> Option<u64> {
    key.split_last_chunk::<8>().map(|(_, number)| u64::from_be_bytes(*number))
}

/// A destination's part of a table. A name never holds a zero byte, so no name is the beginning of another's part.
fn lane(table: u8, destination: &DestinationName) -> Vec<u8> {
    [&[table], destination.as_str().as_bytes(), &[0]].concat()
}

pub(super) fn due_lane(destination: &DestinationName) -> Vec<u8> {
    lane(DUE, destination)
}

pub(super) fn dead_lane(destination: &DestinationName) -> Vec<u8> {
    lane(DEAD, destination)
}

/// The entry under which a delivery in this position is found, if it waits for its time. Fresh ones are found through their
/// blocks.
pub(super) fn queued(destination: &DestinationName, seq: u64, position: Position) -> Option<Vec<u8>> {
    match position {
        Position::Waiting { due_ms, .. } | Position::Accepted { due_ms, .. } => {
            let (due_ms, seq) = (due_ms.to_be_bytes(), seq.to_be_bytes());
            Some([due_lane(destination).as_slice(), &due_ms, &seq].concat())
        }
        Position::Fresh | Position::Done { .. } => None,
    }
}

/// Due time and sequence number of such an entry.
pub(super) fn queued_parts(key: &[u8]) -> Option<(u64, u64)> {
    let (rest, seq) = key.split_last_chunk::<8>()?;
    let (_, due_ms) = rest.split_last_chunk::<8>()?;
    Some((u64::from_be_bytes(*due_ms), u64::from_be_bytes(*seq)))
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

/// Destination, time and sequence number of a dead letter's key.
pub(super) fn dead_parts(key: &[u8]) -> Option<(DestinationName, u64, u64)> {
    let (rest, seq) = key.split_last_chunk::<8>()?;
    let (rest, at_ms) = rest.split_last_chunk::<8>()?;
    let name = rest.get(1..)?.split_last()?.1;
    let destination = DestinationName::parse(std::str::from_utf8(name).ok()?)?;
    Some((destination, u64::from_be_bytes(*at_ms), u64::from_be_bytes(*seq)))
}
