//! Copies of the keys, for what is in the quarantine.

use std::io;
use std::path::{Path, PathBuf};

use super::super::folder::{make_dir, sync, sync_dir};
use super::super::vault::DIR;
use super::aside::free_name;

/// Copies the keys into the quarantine, each once; nothing when there are none. Copies, not other names of the files: a key
/// that is removed is overwritten in its file.
pub(super) fn copy(folder: &Path, quarantine: &Path) -> io::Result<Option<PathBuf>> {
    let from = folder.join(DIR);
    let entries = match std::fs::read_dir(&from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let to = quarantine.join(DIR);
    make_dir(&to)?;
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if std::fs::read(to.join(&name)).ok() == Some(std::fs::read(entry.path())?) {
            continue;
        }
        // Sealed anew since, perhaps; or cut short the last time.
        let copy = free_name(&to, &name);
        // With its mode: they are their owner's alone.
        std::fs::copy(entry.path(), &copy)?;
        sync(&std::fs::File::open(&copy)?)?;
    }
    sync_dir(&to)?;
    sync_dir(quarantine)?;
    Ok(Some(to))
}
