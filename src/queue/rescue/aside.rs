//! The quarantine: what is damaged is moved or kept there under a name of its own.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::folder::{OpenError, State, sync_dir};
use super::super::log::segment;
use super::super::{backlog, generation, store};

/// Moves the store in force, and keeps its backlog's segments.
pub(super) fn put_store_aside(path: &Path, state: State, quarantine: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let write = |source| OpenError::write(path, source);
    let moved = move_aside(&store::dir(path, state.generation), quarantine).map_err(write)?;
    generation::remove_others(path, state.generation, true)?;
    let mut aside = put_backlog_aside(path, state.newest_backlog, quarantine).map_err(write)?;
    aside.extend(moved);
    Ok(aside)
}

/// Keeps segments whose store is damaged: those in their place go at the next opening, for nothing names them. Those of a
/// recovery that was begun before are made again.
fn put_backlog_aside(path: &Path, newest: u64, quarantine: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = path.join(backlog::DIR);
    let mut aside = Vec::new();
    if dir.exists() {
        for number in segment::numbers(&dir)? {
            let segment = segment::path(&dir, number);
            if number > newest {
                std::fs::remove_file(segment)?;
            } else {
                aside.extend(keep_aside(&segment, quarantine, "backlog")?);
            }
        }
    }
    Ok(aside)
}

/// Moves a folder into the quarantine under a name of its own; nothing when it is not there.
fn move_aside(from: &Path, quarantine: &Path) -> io::Result<Option<PathBuf>> {
    if !from.exists() {
        return Ok(None);
    }
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = free_name(quarantine, &name);
    std::fs::rename(from, &to)?;
    sync_dir(quarantine)?;
    from.parent().map_or(Ok(()), sync_dir)?;
    Ok(Some(to))
}

/// Keeps a segment in the quarantine under a name of its own, unless it is there. The one in its place goes when nothing
/// needs it.
pub(super) fn keep_aside(from: &Path, quarantine: &Path, what: &str) -> io::Result<Option<PathBuf>> {
    let file = match std::fs::metadata(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("recovered-{what}-{name}");
    let is_it =
        |path: &PathBuf| std::fs::metadata(path).is_ok_and(|kept| (kept.dev(), kept.ino()) == (file.dev(), file.ino()));
    // Of one that was begun before.
    if let Some(kept) = names(quarantine, &name).take_while(|path| path.exists()).find(is_it) {
        return Ok(Some(kept));
    }
    let to = free_name(quarantine, &name);
    if std::fs::hard_link(from, &to).is_err() {
        std::fs::copy(from, &to)?;
        File::open(&to)?.sync_all()?;
    }
    sync_dir(quarantine)?;
    Ok(Some(to))
}

/// Keeps a copy of a segment that is written to in its place.
pub(super) fn copy_aside(from: &Path, quarantine: &Path, what: &str) -> io::Result<Option<PathBuf>> {
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = free_name(quarantine, &format!("recovered-{what}-{name}"));
    let from = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let copy = File::create(&to)?;
    let bytes = from.metadata()?.len();
    let mut at = 0;
    while at < bytes {
        let len = PAGE_BYTES.min(bytes.saturating_sub(at));
        let mut page = vec![0; usize::try_from(len).unwrap_or(0)];
        match from.read_exact_at(&mut page, at) {
            // What the disk cannot read of it nobody will: there are zeros.
            Err(error) if segment::is_unreadable(&error) => {
                tracing::warn!(at, %error, "a part of a segment is not kept")
            }
            read => {
                read?;
                copy.write_all_at(&page, at)?;
            }
        }
        at = at.saturating_add(len);
    }
    copy.set_len(bytes)?;
    copy.sync_all()?;
    sync_dir(quarantine)?;
    Ok(Some(to))
}

/// What a disk reads, or does not.
const PAGE_BYTES: u64 = 4096;

pub(super) fn free_name(dir: &Path, name: &str) -> PathBuf {
    names(dir, name).find(|path| !path.exists()).unwrap_or_else(|| dir.join(name))
}

fn names(dir: &Path, name: &str) -> impl Iterator<Item = PathBuf> {
    let numbered = (1_u32..).map(move |number| dir.join(format!("{name}.{number}")));
    std::iter::once(dir.join(name)).chain(numbered)
}
