//! Segment files: their header, their making, their names.
//!
//! A segment is made under a spare name (preallocated, header written, synced) and then renamed, so that a file with a
//! segment's name always has a whole header.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::super::codec::{Reader, Writer};
use super::super::folder::{Folder, free_bytes, sync, sync_dir};
use super::frame::Stamp;

/// A segment file that is open.
#[derive(Debug)]
pub(in super::super) struct Segment {
    pub(in super::super) file: File,
    pub(in super::super) stamp: Stamp,
    /// Sequence number of the first record that it may hold.
    pub(in super::super) first_seq: u64,
    pub(in super::super) bytes: u64,
}

impl Segment {
    /// Makes segment `number` out of a spare file or a new one; one that has the name is replaced. On an error nothing new has
    /// a segment's name.
    pub(in super::super) fn make(dir: &Path, stamp: Stamp, first_seq: u64, bytes: u64) -> io::Result<Segment> {
        let (file, bytes) = allocate_spare(dir, bytes)?;
        file.write_all_at(&encode_header(stamp, first_seq), 0)?;
        sync(&file)?;
        std::fs::rename(spare_path(dir), path(dir, stamp.segment))?;
        sync_dir(dir)?;
        Ok(Segment { file, stamp, first_seq, bytes })
    }

    /// Makes one that is to [take the place](take_place) of another of the same number.
    pub(in super::super) fn make_aside(dir: &Path, stamp: Stamp, first_seq: u64, bytes: u64) -> io::Result<Segment> {
        let path = aside_path(dir);
        if free_bytes(dir)? < bytes.saturating_add(LEFT_BYTES_MIN) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        preallocate(&file, bytes)?;
        file.write_all_at(&encode_header(stamp, first_seq), 0)?;
        Ok(Segment { file, stamp, first_seq, bytes })
    }

    /// `Ok(Err(why))`: the file is there and no segment of this version.
    pub(in super::super) fn open(dir: &Path, number: u64) -> io::Result<Result<Segment, &'static str>> {
        let file = OpenOptions::new().read(true).write(true).open(path(dir, number))?;
        let bytes = file.metadata()?.len();
        let mut header = [0_u8; HEADER_LEN];
        if let Err(error) = file.read_exact_at(&mut header, 0) {
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(Err("it is cut short")) } else { Err(error) };
        }
        Ok(match decode_header(&header) {
            Ok((stamp, first_seq)) if stamp.segment == number => Ok(Segment { file, stamp, first_seq, bytes }),
            Ok(_) => Err("its header names another segment"),
            Err(why) => Err(why),
        })
    }
}

/// Whether the disk says that it cannot read a part of a file: the rest of it is not concerned.
pub(in super::super) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// The spare file, with at least so many bytes allocated; it is made when there is none.
pub(in super::super) fn allocate_spare(dir: &Path, bytes: u64) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(spare_path(dir))?;
    let len = file.metadata()?.len();
    let bytes = bytes.max(len);
    let wanted = bytes.saturating_sub(len);
    if wanted > 0 && free_bytes(dir)? < wanted.saturating_add(LEFT_BYTES_MIN) {
        return Err(io::ErrorKind::StorageFull.into());
    }
    if let Err(error) = preallocate(&file, bytes) {
        // ext4 and XFS keep what they could allocate before they ran out: all that was left.
        file.set_len(len)?;
        return Err(error);
    }
    Ok((file, bytes))
}

/// The largest segment that there is room for.
pub(in super::super) fn room(dir: &Path) -> io::Result<u64> {
    let spare = std::fs::metadata(spare_path(dir)).map_or(0, |metadata| metadata.len());
    Ok(free_bytes(dir)?.saturating_sub(LEFT_BYTES_MIN).saturating_add(spare))
}

/// So much of `wanted` as there is room for, and `least` in any case. The ballast is given up before that is too little.
pub(in super::super) fn bytes_within(dir: &Path, folder: &Folder, wanted: u64, least: u64) -> io::Result<u64> {
    let mut left = room(dir)?;
    if left < least && folder.drop_ballast() {
        left = room(dir)?;
    }
    Ok(wanted.min(left.max(least)))
}

/// Blocks for the whole file, so that a full disk is met here and not by a commit.
pub(in super::super) fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0_u8; 1 << 20];
            let mut at = file.metadata()?.len();
            while at < bytes {
                let left = usize::try_from(bytes.saturating_sub(at)).unwrap_or(usize::MAX);
                let part = zeros.get(..left.min(zeros.len())).unwrap_or(&zeros);
                file.write_all_at(part, at)?;
                at = at.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Where segment `number` lies.
pub(in super::super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.{EXTENSION}"))
}

/// Leaves nothing of segment `number` but its header: where it holds no commit it is the same for whoever reads it, and its
/// room is free.
pub(in super::super) fn cut_short(dir: &Path, number: u64) -> io::Result<()> {
    OpenOptions::new().write(true).open(path(dir, number))?.set_len(DATA_START)
}

/// Puts what was made aside, and synced, into the place of segment `number`.
pub(in super::super) fn take_place(dir: &Path, number: u64) -> io::Result<()> {
    std::fs::rename(aside_path(dir), path(dir, number))?;
    sync_dir(dir)
}

/// Removes what was begun aside, if anything was.
pub(in super::super) fn remove_aside(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(aside_path(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn aside_path(dir: &Path) -> PathBuf {
    dir.join("anew")
}

/// The one file kept for the next segment.
pub(in super::super) fn spare_path(dir: &Path) -> PathBuf {
    dir.join("spare")
}

/// The numbers of the segments in the folder, in order.
pub(in super::super) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(EXTENSION)?.strip_suffix('.'))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

fn encode_header(stamp: Stamp, first_seq: u64) -> Vec<u8> {
    let mut w = Writer::with_capacity(HEADER_LEN);
    w.raw(&MAGIC);
    w.u32(VERSION);
    w.u64(stamp.segment);
    w.u64(stamp.salt);
    w.u64(first_seq);
    let mut bytes = w.finish();
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode_header(bytes: &[u8]) -> Result<(Stamp, u64), &'static str> {
    let read = || {
        let mut r = Reader::new(bytes);
        let magic = r.raw(MAGIC.len()).ok()?;
        let version = r.u32().ok()?;
        let stamp = Stamp { segment: r.u64().ok()?, salt: r.u64().ok()? };
        let first_seq = r.u64().ok()?;
        let covered = bytes.get(..HEADER_LEN.checked_sub(4)?)?;
        let whole = magic == MAGIC && r.u32().ok()? == crc32c::crc32c(covered);
        Some((whole, version, stamp, first_seq))
    };
    match read() {
        Some((true, VERSION, stamp, first_seq)) => Ok((stamp, first_seq)),
        Some((true, _, _, _)) => Err("it has the format of another version of capi-relay"),
        Some((false, _, _, _)) | None => Err("its header is damaged"),
    }
}

/// Commits begin here: the header has a block to itself.
pub(in super::super) const DATA_START: u64 = 4096;
const MAGIC: [u8; 8] = *b"capiLog\n";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 40;
/// What making a segment leaves free: twice what the store needs to be written to.
const LEFT_BYTES_MIN: u64 = 16 * 1024 * 1024;
const EXTENSION: &str = "seg";
