//! Reads what sled reads at its opening, before sled does.
//!
//! sled takes a segment that it cannot read for the end of its log, and overwrites what it finds behind it: one read that
//! fails, and everything that waits is gone. Here a read that fails is an error, and nothing has been changed; what was found
//! is what sled must find (`watch`). Bytes that are read and are not what was written are found by sled alone: then [`files`]
//! tells whether it has overwritten any.
//!
//! sled reads the head of every segment, and those whole that are as new as its last snapshot or newer.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Where in the file each segment lies, by its position in the log.
pub(super) type Layout = BTreeMap<i64, u64>;

/// The segments as new as sled's last snapshot or newer, as it must find them. Fails when sled could not read its file.
pub(super) fn read(dir: &Path) -> io::Result<Layout> {
    let newest_snapshot = snapshots(dir)?.into_iter().max().unwrap_or_default();
    let from = newest_snapshot.checked_div(SEGMENT_BYTES).unwrap_or(0).saturating_mul(SEGMENT_BYTES);
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let file = File::open(dir.join("db"))?;
    let len = file.metadata()?.len();
    let mut whole = vec![0; usize::try_from(SEGMENT_BYTES).unwrap_or_default()];
    let mut found = Layout::new();
    let mut at = 0_u64;
    while at < len {
        let mut head = [0; HEAD_BYTES];
        if read_up_to(&file, &mut head, at)? == HEAD_BYTES {
            let position = log_position(&head);
            if position >= from {
                read_up_to(&file, &mut whole, at)?;
                if is_whole(&head) {
                    found.insert(position, at);
                }
            }
        }
        at = at.saturating_add(SEGMENT_BYTES);
    }
    Ok(found)
}

/// The store's files as they are told apart without reading them: name, length, and when each was written to.
pub(super) fn files(dir: &Path) -> io::Result<BTreeSet<(OsString, u64, i64, i64)>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            found.insert((entry.file_name(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
        }
    }
    Ok(found)
}

/// How far into the log each snapshot goes, by its name.
fn snapshots(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| u64::from_str_radix(name.strip_prefix("snap.")?, 16).ok()));
    }
    Ok(found)
}

/// Where in the log a segment belongs, whether its head is whole or not.
fn log_position(head: &[u8; HEAD_BYTES]) -> i64 {
    let position = head.get(4..12).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    position.map_or(0, |bytes| i64::from_le_bytes(bytes) ^ i64::MAX)
}

/// Whether a head is what was written. sled turns the bits of checksums round, and those of positions, but not their sign.
fn is_whole(head: &[u8; HEAD_BYTES]) -> bool {
    head.split_first_chunk::<4>().is_some_and(|(crc, covered)| u32::from_le_bytes(*crc) == !crc32fast::hash(covered))
}

/// As many bytes as there are before the file's end.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0_usize;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let offset = at.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        match file.read_at(rest, offset) {
            Ok(0) => break,
            Ok(count) => done = done.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// sled's segments, of the size that it has by itself.
const SEGMENT_BYTES: u64 = 512 * 1024;
/// Of a segment's head: checksum, position in the log, how much of the log was stable.
const HEAD_BYTES: usize = 20;
