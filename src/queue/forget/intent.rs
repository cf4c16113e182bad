//! What is being forgotten, in a file of its own: written before anything is done, removed when all of it is.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::codec::{Reader, Writer};
use super::super::folder::{sync, sync_dir};
use crate::conversion::ConversionId;

/// The ids; none when nothing was left. Of one that is damaged nothing is known: whoever asked has had no answer.
pub(super) fn read(folder: &Path) -> io::Result<Vec<ConversionId>> {
    let bytes = match std::fs::read(path(folder)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(decode(&bytes).unwrap_or_else(|| {
        tracing::error!("what was to be forgotten cannot be read any more: ask for it again");
        Vec::new()
    }))
}

/// Replaces the file; of no ids there is none.
pub(super) fn write(folder: &Path, ids: &[ConversionId]) -> io::Result<()> {
    let path = path(folder);
    if ids.is_empty() {
        return match std::fs::remove_file(&path) {
            Ok(()) => sync_dir(folder),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
    }
    let made = folder.join("forgetting.new");
    let mut file = File::create(&made)?;
    file.write_all(&encode(ids))?;
    sync(&file)?;
    std::fs::rename(&made, &path)?;
    sync_dir(folder)
}

fn encode(ids: &[ConversionId]) -> Vec<u8> {
    let mut w = Writer::default();
    w.raw(&MAGIC);
    w.number(u64::try_from(ids.len()).unwrap_or(u64::MAX));
    ids.iter().for_each(|id| w.raw(id.as_bytes()));
    let mut bytes = w.finish();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<ConversionId>> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let mut r = Reader::new(covered);
    let is_own = crc32c::crc32c(covered).to_le_bytes() == *crc && r.raw(MAGIC.len()).ok()? == MAGIC;
    let count: u64 = r.number().ok()?;
    let ids = (0..count).map(|_| r.id().ok().map(ConversionId::from_bytes)).collect::<Option<Vec<_>>>()?;
    is_own.then_some(ids)
}

fn path(folder: &Path) -> PathBuf {
    folder.join("forgetting")
}

const MAGIC: [u8; 8] = *b"capiFgt\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_until_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let ids = [ConversionId::new(1, [1; 10]), ConversionId::new(2, [2; 10])];
        assert_eq!(read(folder.path()).unwrap(), []);
        write(folder.path(), &ids).unwrap();
        assert_eq!(read(folder.path()).unwrap(), ids);
        let whole = std::fs::read(path(folder.path())).unwrap();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            std::fs::write(path(folder.path()), changed).unwrap();
            assert_eq!(read(folder.path()).unwrap(), [], "byte {place}");
        }
        for _ in 0..2 {
            write(folder.path(), &[]).unwrap();
            assert_eq!(read(folder.path()).unwrap(), []);
        }
    }
}
