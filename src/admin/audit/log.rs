//! The files of the audit log: lines appended, rotated, read back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Entry, Line, Outcome, Page};

/// The log of one data folder.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    /// The id of the next change; `None`: nobody has looked yet.
    next: Mutex<Option<u64>>,
    /// What makes a line durable.
    sync: fn(&File) -> io::Result<()>,
}

impl Log {
    /// Touches nothing yet.
    pub(super) fn of(folder: &Path) -> Log {
        Log { folder: folder.to_owned(), next: Mutex::new(None), sync: File::sync_data }
    }

    /// Appends a line under the next id, and returns that; durable.
    pub(super) fn append_next(&self, line: Line) -> io::Result<u64> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that could not be made durable may stand there all the same: then it is looked for anew.
        let id = match next.take() {
            Some(id) => id,
            None => self.lines()?.iter().map(|line| line.id).max().unwrap_or_default().saturating_add(1),
        };
        self.write(&Line { id, ..line })?;
        *next = Some(id.saturating_add(1));
        Ok(id)
    }

    /// Appends a line as it is; durable.
    pub(super) fn append(&self, line: &Line) -> io::Result<()> {
        let _alone = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(line)
    }

    /// For who holds the lock.
    fn write(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let path = self.file(0);
        let bytes = fs::metadata(&path).map_or(0, |file| file.len());
        if bytes > 0 && bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX)) > FILE_BYTES_MAX {
            self.rotate()?;
        }
        let is_new = !path.exists();
        let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path)?;
        // What a full disk or a crash cut short ends there: this one is a line of its own.
        if is_torn(&mut file)? {
            text.insert(0, b'\n');
        }
        file.write_all(&text)?;
        (self.sync)(&file)?;
        if is_new { self.sync_folder() } else { Ok(()) }
    }

    /// `audit.ndjson` becomes `audit.1.ndjson`, and so on; the oldest goes.
    fn rotate(&self) -> io::Result<()> {
        for number in (1..FILES_KEPT).rev() {
            let from = self.file(number.saturating_sub(1));
            if from.exists() {
                fs::rename(from, self.file(number))?;
            }
        }
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// The newest is 0.
    pub(super) fn file(&self, number: u32) -> PathBuf {
        self.folder.join(if number == 0 { FILE.to_owned() } else { format!("audit.{number}.ndjson") })
    }

    /// All that are kept, in the order in which they were written. What is no line is left out: it was cut short.
    fn lines(&self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for number in (0..FILES_KEPT).rev() {
            let mut text = Vec::new();
            match File::open(self.file(number)) {
                // One line beyond the limit at most.
                Ok(file) => drop(file.take(FILE_BYTES_MAX.saturating_mul(2)).read_to_end(&mut text)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            lines.extend(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
        }
        Ok(lines)
    }

    /// Newest first, those before the change `after`.
    pub(super) fn page(&self, limit: usize, after: Option<u64>) -> io::Result<Page> {
        let lines = {
            let _alone = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            self.lines()?
        };
        let mut entries: Vec<Entry> = Vec::new();
        for line in lines.into_iter().filter(|line| after.is_none_or(|after| line.id < after)) {
            match line.outcome {
                Outcome::Begun => entries.push(Entry::begun(line)),
                Outcome::Done | Outcome::Refused | Outcome::Failed => {
                    // Beginnings stand in the order of their ids.
                    if let Ok(at) = entries.binary_search_by_key(&line.id, |entry| entry.id)
                        && let Some(entry) = entries.get_mut(at)
                    {
                        entry.ended(line);
                    }
                }
            }
        }
        entries.reverse();
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().map(|entry| entry.id).filter(|_| more);
        Ok(Page { audit: entries, next })
    }
}

/// Whether the file ends within a line.
fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

pub(super) const FILE: &str = "audit.ndjson";
/// Some 4,000 changes.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A page reads them all: 4 MiB.
pub(super) const FILES_KEPT: u32 = 4;

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::*;

    #[test]
    fn an_id_is_given_once_also_where_a_line_was_not_made_durable() {
        let folder = tempfile::tempdir().unwrap();
        let line = || Line {
            id: 0,
            at: "1970-01-01T00:00:01Z".to_owned(),
            action: Action::Pause,
            outcome: Outcome::Begun,
            who: None,
            peer: None,
            user: None,
            filter: None,
            reason: None,
            matched: None,
            done: None,
            problem: None,
        };
        let mut log = Log::of(folder.path());
        assert_eq!(log.append_next(line()).unwrap(), 1);
        log.sync = |_| Err(io::Error::other("on purpose"));
        log.append_next(line()).unwrap_err();
        log.sync = File::sync_data;
        assert_eq!(log.append_next(line()).unwrap(), 3, "2 stands there");
        let ids: Vec<u64> = log.page(10, None).unwrap().audit.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [3, 2, 1]);
    }
}
