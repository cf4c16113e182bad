//! The files that a configuration names, read while it is loaded.

use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::Tls;

/// Where relative paths begin, and who is told of what is read.
pub(super) struct Disk<'a> {
    /// The folder of routes.toml.
    pub(super) folder: PathBuf,
    /// Who is told, and what is tried out.
    pub(super) trial: Trial<'a>,
}

/// Of a configuration that is to serve here.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// Told of each file that the text names (`${file:…}`, `ca_file`, `client_certificate`, `tls`) before that is read, or found to be missing: who
    /// watches them misses no change.
    pub reading: &'a dyn Fn(&Path),
    /// Tries out the public listener's TLS files: the key of `server.tls` under which an unusable one stands, and what is wrong.
    pub tls: &'a dyn Fn(&Tls) -> Vec<(&'static str, String)>,
}

impl Trial<'_> {
    /// Nobody is told, and nothing is tried out.
    pub(super) const NONE: Trial<'static> = Trial { reading: &|_| (), tls: &|_| Vec::new() };
}

impl Disk<'_> {
    /// The whole of a small file; why not, in words that are the same on every system.
    pub(super) fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
        (self.trial.reading)(path);
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
