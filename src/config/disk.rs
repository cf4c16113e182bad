//! The files that a configuration names, read while it is loaded.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Where relative paths begin, and who is told of what is read.
pub(super) struct Disk<'a> {
    /// The folder of routes.toml.
    pub(super) folder: PathBuf,
    /// Told of each file before it is read, or found to be missing.
    pub(super) reading: &'a dyn Fn(&Path),
}

impl Disk<'_> {
    /// The whole of a small file; why not, in words that are the same on every system.
    pub(super) fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
        (self.reading)(path);
        let file = File::open(path).map_err(|error| reason(&error))?;
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > bytes_max) {
            return Err(format!("it is larger than {bytes_max} bytes"));
        }
        Ok(bytes)
    }
}

fn reason(error: &Error) -> String {
    let kind = error.kind();
    if kind == ErrorKind::NotFound { "it does not exist".to_owned() } else { kind.to_string() }
}
