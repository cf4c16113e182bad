//! What a person paused, kept over a restart: `paused.json` in the data folder, written whole or not at all before a pause or a
//! resume is in effect.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::conversion::DestinationName;
use crate::delivery::{Pause, Pools};

/// The pauses of one data folder; cheap to clone.
#[derive(Clone)]
pub struct Pauses(Arc<Kept>);

struct Kept {
    folder: PathBuf,
    pools: Pools,
    /// One change at a time.
    alone: Mutex<()>,
}

/// What was paused cannot be read: nobody may be sent to that a person stopped.
#[derive(Debug, thiserror::Error)]
#[error("{path} says which destinations are paused, and cannot be read; mend it, or remove it to send to all of them")]
pub struct PausesError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub source: io::Error,
}

#[derive(Serialize, Deserialize)]
struct Written {
    reason: String,
    /// RFC 3339.
    since: String,
}

impl Pauses {
    /// Pauses again what was paused when the process before this one ended. Blocks.
    ///
    /// # Errors
    /// When the file is there and cannot be read: starting would send to who was stopped.
    pub fn restore(folder: &Path, pools: &Pools) -> Result<Pauses, PausesError> {
        let path = folder.join(FILE);
        let paused = read(&path).map_err(|source| PausesError { path, source })?;
        for (destination, Pause { since_ms, .. }) in &paused {
            tracing::warn!(%destination, since_ms, "destination stays paused");
        }
        pools.restore(paused);
        Ok(Pauses(Arc::new(Kept { folder: folder.to_owned(), pools: pools.clone(), alone: Mutex::new(()) })))
    }

    /// Pauses a destination; of one that is paused already another reason, where there is one, takes the place of the first.
    /// `None`: there is none of this name. Durable when it returns.
    pub(super) async fn pause(
        &self,
        destination: DestinationName,
        reason: Option<String>,
        now_ms: u64,
    ) -> io::Result<Option<()>> {
        self.run(move |kept| {
            let mut paused = kept.pools.paused();
            if kept.pools.detail(destination.as_str()).is_none() {
                return Ok(None);
            }
            let before = paused.remove(&destination);
            let since_ms = before.as_ref().map_or(now_ms, |before| before.since_ms);
            let reason = reason.or(before.map(|before| before.reason)).unwrap_or_else(|| NO_REASON.to_owned());
            let pause = Pause { reason, since_ms };
            paused.insert(destination.clone(), pause.clone());
            write(&kept.folder, &paused)?;
            Ok(kept.pools.pause_as(destination.as_str(), pause).map(drop))
        })
        .await
    }

    /// Sends to it again; `None`: there is none of this name. Durable when it returns.
    pub(super) async fn resume(&self, destination: DestinationName) -> io::Result<Option<()>> {
        self.run(move |kept| {
            let mut paused = kept.pools.paused();
            if kept.pools.detail(destination.as_str()).is_none() {
                return Ok(None);
            }
            if paused.remove(&destination).is_some() {
                write(&kept.folder, &paused)?;
            }
            Ok(kept.pools.resume(destination.as_str()).map(drop))
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Kept) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let kept = Arc::clone(&self.0);
        let work = move || {
            let _alone = kept.alone.lock().unwrap_or_else(PoisonError::into_inner);
            work(&kept)
        };
        spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<DestinationName, Pause>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let written: BTreeMap<String, Written> = serde_json::from_slice(&text)?;
    let named = |(name, Written { reason, since }): (String, Written)| {
        let name = DestinationName::parse(&name).ok_or_else(|| io::Error::other("a name is no destination's"))?;
        let since: jiff::Timestamp = since.parse().map_err(io::Error::other)?;
        Ok((name, Pause { reason, since_ms: u64::try_from(since.as_millisecond()).unwrap_or_default() }))
    };
    written.into_iter().map(named).collect()
}

fn write(folder: &Path, paused: &BTreeMap<DestinationName, Pause>) -> io::Result<()> {
    let written: BTreeMap<&str, Written> = paused.iter().map(|(name, pause)| (name.as_str(), pause.into())).collect();
    let beside = folder.join(BESIDE);
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(&written)?)?;
    file.sync_data()?;
    fs::rename(&beside, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

impl From<&Pause> for Written {
    fn from(Pause { reason, since_ms }: &Pause) -> Written {
        let since = i64::try_from(*since_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        Written { reason: reason.clone(), since: since.unwrap_or_default().to_string() }
    }
}

const NO_REASON: &str = "no reason was given";
const FILE: &str = "paused.json";
const BESIDE: &str = "paused.json.new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(&path).unwrap(), BTreeMap::new(), "nothing was ever paused");
        let pause = Pause { reason: "the partner asked \"us\"".to_owned(), since_ms: 1_769_860_800_123 };
        let paused = BTreeMap::from([(DestinationName::parse("dsp").unwrap(), pause)]);
        write(folder.path(), &paused).unwrap();
        assert_eq!(read(&path).unwrap(), paused);
        for wrong in ["", "{", r#"{"DSP!":{"reason":"x","since":"2026-01-31T12:00:00Z"}}"#, r#"{"dsp":{}}"#] {
            fs::write(&path, wrong).unwrap();
            assert!(read(&path).is_err(), "{wrong}");
        }
    }
}
