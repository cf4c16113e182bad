//! The files in `keys/`: a data key each, sealed with the configured key.
//!
//! | bytes | is |
//! | --- | --- |
//! | 8 | magic |
//! | 4 | version |
//! | 8 | the data key's number; 0: the key of the folder's hashes |
//! | 8 | when it was made (Unix ms) |
//! | 8 | id of the key that it is sealed with |
//! | 12 | nonce |
//! | 48 | the data key, sealed, with all before the nonce as its context |
//! | 4 | CRC32C |
//!
//! It stands there twice, at byte 0 and at byte 4096, with zeros in between: what damages one page of a disk leaves the other.
//! The first that is whole counts; when the other is not, the file is written anew. A file is written under another name,
//! synced and renamed: it is whole or not there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::super::codec::{Reader, Writer};
use super::super::folder::{OpenError, State, sync, sync_dir};
use super::{Encryption, MasterKey};

/// The number of the key of the folder's hashes.
pub(super) const INDEX: u64 = 0;

/// Makes a key and writes it down, durably.
pub(super) fn make(dir: &Path, master: &MasterKey, number: u64, now_ms: u64) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(io::Error::other)?;
    write(dir, master, number, now_ms, &key)?;
    Ok(key)
}

/// Reads a key, and when it was made. One that an old key sealed is sealed with the present one.
pub(super) fn open(dir: &Path, encryption: &Encryption, number: u64) -> Result<([u8; 32], u64), OpenError> {
    let Found { sealed, record, path, is_whole } = read(dir, number)?;
    let masters = std::iter::once(&encryption.key).chain(&encryption.old_keys);
    let Some(master) = masters.into_iter().find(|master| master.id_bytes() == sealed.master) else {
        return Err(OpenError::Sealed { path: dir.to_owned(), key: hex::encode(sealed.master) });
    };
    let Some(key) = sealed.open(master) else {
        return Err(OpenError::Key { path, what: "this key does not open: it is damaged" });
    };
    if sealed.master != encryption.key.id_bytes() {
        let written = write(dir, &encryption.key, number, sealed.made_ms, &key);
        written.map_err(|source| OpenError::write(&path, source))?;
    } else if !is_whole {
        let file = path.display();
        match put(dir, number, &record) {
            Ok(()) => tracing::warn!(%file, "one of the two copies in a key's file was damaged: it was written anew"),
            Err(error) => {
                tracing::warn!(%file, %error, "one of the two copies in a key's file is damaged, and stays so")
            }
        }
    }
    Ok((key, sealed.made_ms))
}

/// Of a folder whose key is not configured.
pub(super) fn refusal(dir: &Path, state: State) -> OpenError {
    match read(dir, state.newest_key) {
        Ok(found) => OpenError::Sealed { path: dir.to_owned(), key: hex::encode(found.sealed.master) },
        Err(error) => error,
    }
}

/// Removes the files of data keys that are not needed any more; what was in them is overwritten before.
pub(super) fn remove_before(dir: &Path, oldest: u64) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
        if number.is_some_and(|number| number < oldest) {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            file.write_all(&[0; FILE_BYTES])?;
            sync(&file)?;
            std::fs::remove_file(&path)?;
        }
    }
    sync_dir(dir)
}

/// What a file says.
struct Sealed {
    context: [u8; CONTEXT_BYTES],
    made_ms: u64,
    master: [u8; 8],
    nonce: [u8; NONCE_LEN],
    key: [u8; 48],
}

impl Sealed {
    fn decode(bytes: &[u8], number: u64) -> Option<Sealed> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        let mut r = Reader::new(covered);
        let is_own = crc32c::crc32c(covered).to_le_bytes() == *crc
            && r.raw(MAGIC.len()).ok()? == MAGIC
            && r.u32().ok()? == VERSION
            && r.u64().ok()? == number;
        let made_ms = r.u64().ok()?;
        let master = r.raw(8).ok()?.try_into().ok()?;
        let nonce = r.raw(NONCE_LEN).ok()?.try_into().ok()?;
        let key = r.rest().try_into().ok()?;
        let context = *covered.first_chunk()?;
        is_own.then_some(Sealed { context, made_ms, master, nonce, key })
    }

    fn open(&self, master: &MasterKey) -> Option<[u8; 32]> {
        let mut key = self.key;
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let opened = cipher(master).ok()?.open_in_place(nonce, Aad::from(self.context), &mut key);
        (&*opened.ok()?).try_into().ok()
    }
}

/// What was read of a file.
struct Found {
    sealed: Sealed,
    record: [u8; RECORD_BYTES],
    path: PathBuf,
    /// Whether both copies are.
    is_whole: bool,
}

fn read(dir: &Path, number: u64) -> Result<Found, OpenError> {
    let path = path(dir, number);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::Key { path, what: "this key is missing, and what was sealed with it is needed" });
        }
        Err(source) => return Err(OpenError::Read { path, source }),
    };
    // Each by itself: a page that cannot be read is no reason not to read the other.
    let copies = COPIES_AT.map(|at| read_copy(&file, at, number));
    let is_whole = copies.iter().all(|copy| matches!(copy, Ok(Some(_))));
    let mut unread = None;
    for copy in copies {
        match copy {
            Ok(Some((sealed, record))) => return Ok(Found { sealed, record, path, is_whole }),
            Ok(None) => {}
            Err(error) => unread = Some(error),
        }
    }
    Err(match unread {
        Some(source) => OpenError::Read { path, source },
        None => OpenError::Key { path, what: "neither of this key's two copies is whole" },
    })
}

/// `None` when it is damaged, or not there.
fn read_copy(file: &File, at: u64, number: u64) -> io::Result<Option<(Sealed, [u8; RECORD_BYTES])>> {
    let mut record = [0; RECORD_BYTES];
    match file.read_exact_at(&mut record, at) {
        Ok(()) => Ok(Sealed::decode(&record, number).map(|sealed| (sealed, record))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(dir: &Path, master: &MasterKey, number: u64, made_ms: u64, key: &[u8; 32]) -> io::Result<()> {
    let mut w = Writer::with_capacity(RECORD_BYTES);
    w.raw(&MAGIC);
    w.u32(VERSION);
    w.u64(number);
    w.u64(made_ms);
    w.raw(&master.id_bytes());
    let context = w.written_since(0).to_vec();
    let nonce: [u8; NONCE_LEN] = rand::random();
    w.raw(&nonce);
    let mut sealed = key.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher(master)?.seal_in_place_append_tag(nonce, Aad::from(context), &mut sealed).map_err(io::Error::other)?;
    w.raw(&sealed);
    let mut bytes = w.finish();
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    put(dir, number, &bytes)
}

/// Puts a file with both copies in the place of the one that is there.
fn put(dir: &Path, number: u64, record: &[u8]) -> io::Result<()> {
    let mut bytes = record.to_vec();
    bytes.resize(SECOND_AT, 0);
    bytes.extend_from_slice(record);
    let made = dir.join("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&made)?;
    file.write_all(&bytes)?;
    sync(&file)?;
    std::fs::rename(&made, path(dir, number))?;
    sync_dir(dir)
}

fn cipher(master: &MasterKey) -> io::Result<LessSafeKey> {
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &master.0).map_err(io::Error::other)?))
}

fn path(dir: &Path, number: u64) -> PathBuf {
    if number == INDEX { dir.join("index.key") } else { dir.join(format!("{number:016x}.key")) }
}

const MAGIC: [u8; 8] = *b"capiKey\n";
const VERSION: u32 = 1;
const CONTEXT_BYTES: usize = 36;
const RECORD_BYTES: usize = 100;
/// Another page, and another sector of any disk.
const SECOND_AT: usize = 4096;
const COPIES_AT: [u64; 2] = [0, 4096];
const FILE_BYTES: usize = SECOND_AT + RECORD_BYTES;
const OWNER_ONLY: u32 = 0o600;
