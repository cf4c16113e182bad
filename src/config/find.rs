//! Which file is the configuration, and the reading of it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// There is no configuration where one is looked for.
#[derive(Debug, thiserror::Error)]
#[error("there is no configuration: give --config PATH, set {VARIABLE}, or put routes.toml here or in /etc/capi-relay")]
pub struct NotFound;

/// The configuration cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// Where the configuration is: `--config`, `CAPI_RELAY_CONFIG`, `./routes.toml`, `/etc/capi-relay/routes.toml`. A path
/// that was given is taken as it is, so that a wrong one is a fault and not another file.
pub fn find(flag: Option<&Path>, environment: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, NotFound> {
    let given =
        flag.map(Path::to_owned).or_else(|| environment(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    given.or_else(|| PLACES.iter().map(PathBuf::from).find(|path| path.is_file())).ok_or(NotFound)
}

/// The text of the configuration.
pub fn read(path: &Path) -> Result<String, ReadError> {
    let error = |source| ReadError { path: path.to_owned(), source };
    let file = File::open(path).map_err(error)?;
    let mut text = String::new();
    file.take(BYTES_MAX.saturating_add(1)).read_to_string(&mut text).map_err(error)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err(error(std::io::Error::other("it is larger than 4 MiB")));
    }
    Ok(text)
}

const VARIABLE: &str = "CAPI_RELAY_CONFIG";
const PLACES: [&str; 2] = ["routes.toml", "/etc/capi-relay/routes.toml"];

/// A thousand destinations fit; a device or a log given by mistake does not.
const BYTES_MAX: u64 = 4 << 20;
