//! Where a segment's records are found: in memory while it is written, in pages of its file once it is full.
//!
//! There are three tables: by deduplication key, by order, by id. An entry is the beginning of a hash and the place of the
//! record, which names itself in full. Hashes are spread evenly, so that a page is found by its share of the way, and seldom
//! is more than one read for one question. Each page has a checksum of its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::super::codec::Reader;
use super::super::vault::KeyHash;
use super::filter::Filter;
use super::form::Names;
use crate::conversion::ConversionId;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Key(KeyHash),
    Order(KeyHash),
    Id(ConversionId),
}

impl By {
    /// The table, and what its entries begin with.
    fn entry(self) -> (usize, u64) {
        match self {
            By::Key(hash) => (0, prefix(&hash)),
            By::Order(hash) => (1, prefix(&hash)),
            // The end of an id is random but for its first two bits.
            By::Id(id) => (2, u64::from_be_bytes(last_half(id.as_bytes())).rotate_left(2)),
        }
    }

    /// What a segment's filter says. It knows keys alone.
    pub(super) fn may_be_in(self, filter: &Filter) -> bool {
        match self {
            By::Key(key) => filter.may_hold(&key),
            By::Order(_) | By::Id(_) => true,
        }
    }

    /// Whether a record is what is asked for, and not only begins like it.
    pub(super) fn is(self, names: &Names) -> bool {
        match self {
            By::Key(key) => names.key == key,
            By::Order(order) => names.order == Some(order),
            By::Id(id) => names.id == id,
        }
    }
}

fn prefix(hash: &KeyHash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn last_half(id: &[u8; 16]) -> [u8; 8] {
    let [.., a, b, c, d, e, f, g, h] = *id;
    [a, b, c, d, e, f, g, h]
}

/// The tables of the segment that is being written.
#[derive(Debug, Default)]
pub(super) struct Open([BTreeSet<(u64, u32)>; TABLES]);

impl Open {
    /// `is_settled`: whether it says what became of the conversion, beside that it used its key.
    pub(super) fn insert(&mut self, names: &Names, is_settled: bool, at: u32) {
        let asked = [Some(By::Key(names.key)), names.order.map(By::Order), is_settled.then_some(By::Id(names.id))];
        for by in asked.into_iter().flatten() {
            let (table, prefix) = by.entry();
            self.0.get_mut(table).map(|table| table.insert((prefix, at)));
        }
    }

    pub(super) fn find(&self, by: By) -> Vec<u32> {
        let (table, prefix) = by.entry();
        let entries = self.0.get(table).map(|table| table.range((prefix, 0)..=(prefix, u32::MAX)));
        entries.into_iter().flatten().map(|(_, at)| *at).collect()
    }

    /// The tables as pages, one table after the other; and how many entries each has.
    pub(super) fn encode(&self) -> (Vec<u8>, Counts) {
        let mut bytes = Vec::new();
        let mut counts = Counts::default();
        for (table, count) in self.0.iter().zip(&mut counts.0) {
            *count = u32::try_from(table.len()).unwrap_or(u32::MAX);
            let mut entries = table.iter().peekable();
            while entries.peek().is_some() {
                let mut page = Vec::with_capacity(PAGE_BYTES);
                for (prefix, at) in entries.by_ref().take(PAGE_ENTRIES) {
                    page.extend_from_slice(&prefix.to_be_bytes());
                    page.extend_from_slice(&at.to_le_bytes());
                }
                page.resize(PAGE_BYTES.saturating_sub(4), 0);
                page.extend_from_slice(&crc32c::crc32c(&page).to_le_bytes());
                bytes.append(&mut page);
            }
        }
        (bytes, counts)
    }
}

/// Entries of each table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts(pub(super) [u32; TABLES]);

impl Counts {
    fn pages_before(self, table: usize) -> u64 {
        self.0.iter().take(table).fold(0, |sum, count| sum.saturating_add(pages(*count)))
    }

    /// Bytes of all pages.
    pub(super) fn bytes(self) -> u64 {
        self.pages_before(TABLES).saturating_mul(page_bytes())
    }
}

/// Places in a full segment, whose tables begin at `tables_at`.
pub(super) fn find(file: &File, tables_at: u64, counts: Counts, by: By) -> io::Result<Vec<u32>> {
    let (table, wanted) = by.entry();
    let count = counts.0.get(table).copied().unwrap_or(0);
    let first_at = tables_at.saturating_add(counts.pages_before(table).saturating_mul(page_bytes()));
    let read = |page: u64| read_page(file, first_at, page, count);
    let Some(last_page) = pages(count).checked_sub(1) else { return Ok(Vec::new()) };
    let mut page = guess(wanted, count).min(last_page);
    let mut entries = read(page)?;
    // Back to the first page that may hold it, or on to it; then on while it may go on.
    while page > 0 && entries.first().is_none_or(|(first, _)| *first >= wanted) {
        page = page.saturating_sub(1);
        entries = read(page)?;
    }
    let mut found = Vec::new();
    loop {
        found.extend(entries.iter().filter(|(prefix, _)| *prefix == wanted).map(|(_, at)| *at));
        if page >= last_page || entries.last().is_some_and(|(last, _)| *last > wanted) {
            return Ok(found);
        }
        page = page.saturating_add(1);
        entries = read(page)?;
    }
}

/// Reads every page of a full segment.
pub(super) fn verify(file: &File, tables_at: u64, counts: Counts) -> io::Result<()> {
    // The checksum alone: how many entries a page has is not asked.
    (0..counts.pages_before(TABLES)).try_for_each(|page| read_page(file, tables_at, page, 0).map(|_| ()))
}

/// The page on which an entry lies if the hashes are spread evenly.
fn guess(wanted: u64, count: u32) -> u64 {
    let way = u128::from(wanted).saturating_mul(u128::from(count)) >> 64;
    u64::try_from(way).unwrap_or(0).checked_div(page_entries()).unwrap_or(0)
}

fn read_page(file: &File, first_at: u64, page: u64, count: u32) -> io::Result<Vec<(u64, u32)>> {
    let mut bytes = [0_u8; PAGE_BYTES];
    file.read_exact_at(&mut bytes, first_at.saturating_add(page.saturating_mul(page_bytes())))?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "checksum of an index page");
    let (covered, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
    if crc32c::crc32c(covered).to_le_bytes() != *crc {
        return Err(damaged());
    }
    let left = u64::from(count).saturating_sub(page.saturating_mul(page_entries()));
    let mut r = Reader::new(covered);
    let mut entries = Vec::with_capacity(PAGE_ENTRIES);
    for _ in 0..left.min(page_entries()) {
        let entry = r.raw(8).ok().and_then(|prefix| Some((u64::from_be_bytes(prefix.try_into().ok()?), r.u32().ok()?)));
        entries.push(entry.ok_or_else(damaged)?);
    }
    Ok(entries)
}

fn pages(count: u32) -> u64 {
    u64::from(count).div_ceil(page_entries())
}

fn page_entries() -> u64 {
    u64::try_from(PAGE_ENTRIES).unwrap_or(1)
}

fn page_bytes() -> u64 {
    u64::try_from(PAGE_BYTES).unwrap_or(1)
}

const TABLES: usize = 3;
const PAGE_BYTES: usize = 4096;
/// Of eight bytes of hash and four of place each, beside a checksum of four.
const PAGE_ENTRIES: usize = 341;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn a_full_segments_tables_say_what_they_said_in_memory(
            keys in proptest::collection::vec((any::<[u8; 16]>(), any::<u32>()), 0..1200),
            crowded in any::<bool>(),
            absent in any::<[u8; 16]>(),
        ) {
            let mut open = Open::default();
            let mut asked = vec![absent];
            for (key, at) in &keys {
                // Many in one place: what is spread evenly may not be.
                let key = if crowded { std::array::from_fn(|index| if index < 8 { 7 } else { key[index] }) } else { *key };
                let id = ConversionId::from_bytes(key);
                open.insert(&Names { id, key, digest: key, order: Some(key) }, true, *at);
                asked.push(key);
            }
            let (bytes, counts) = open.encode();
            prop_assert_eq!(u64::try_from(bytes.len()).unwrap(), counts.bytes());
            let mut file = tempfile::tempfile().unwrap();
            io::Write::write_all(&mut file, &[b"frames".as_slice(), &bytes].concat()).unwrap();
            for key in asked {
                for by in [By::Key(key), By::Order(key), By::Id(ConversionId::from_bytes(key))] {
                    let mut found = find(&file, 6, counts, by).unwrap();
                    found.sort_unstable();
                    prop_assert_eq!(found, open.find(by));
                }
            }
        }
    }
}
