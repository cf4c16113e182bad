//! Reload: the configuration read anew at SIGHUP, when its file changes and when the admin API asks, and taken into force
//! whole or not at all. A fault in it, or a golden that fails, keeps the one before in force and is said at once.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use crate::admin::Wish;

use super::relay::Relay;
use super::serve::{ServeArgs, log_warnings, proven};
use super::{ConfigurationArgs, output, settings};

/// Reads what `serve` was started with, again.
pub(super) struct Reloader<'a> {
    configuration: &'a ConfigurationArgs,
    args: &'a ServeArgs,
}

/// Who wants a reload.
pub(super) struct Asked {
    cause: &'static str,
    wish: Option<Wish>,
}

impl Asked {
    pub(super) fn by(cause: &'static str) -> Asked {
        Asked { cause, wish: None }
    }

    pub(super) fn by_wish(wish: Wish) -> Asked {
        Asked { cause: "POST /admin/reload", wish: Some(wish) }
    }
}

impl<'a> Reloader<'a> {
    pub(super) fn new(configuration: &'a ConfigurationArgs, args: &'a ServeArgs) -> Reloader<'a> {
        Reloader { configuration, args }
    }

    /// Reads, proves, goes over; says what came of it to the log, the metrics and who asked.
    pub(super) fn reload(&self, relay: &mut Relay, asked: Asked) {
        let Asked { cause, wish } = asked;
        let proven = tokio::task::block_in_place(|| proven(self.configuration, self.args));
        let outcome = proven.and_then(|(config, _goldens)| {
            log_warnings(&config);
            relay.reload(config).map_err(|error| output::chain(&error))
        });
        relay.reloads().record(&outcome);
        match &outcome {
            Ok(version) => info!(cause, version, "configuration reloaded"),
            Err(report) => error!(cause, report, "the new configuration is refused, the one before stays in force"),
        }
        if let Some(wish) = wish {
            // Who asked may have gone away meanwhile; the log has it.
            drop(wish.send(outcome));
        }
    }

    /// Watches the file that is read now.
    pub(super) fn watch(&self) -> Watch {
        let path = settings::find(self.configuration).ok();
        let seen = path.as_ref().and_then(stamp);
        Watch { path, seen }
    }
}

/// The file as it was last seen.
pub(super) struct Watch {
    path: Option<PathBuf>,
    seen: Option<Stamp>,
}

/// Time of change, length, device and inode: a mounted ConfigMap changes by another file taking the name.
type Stamp = (i64, i64, u64, u64, u64);

impl Watch {
    /// Waits until the file is another one than before and has come to rest: who writes it in two steps is not read between
    /// them. A file that is gone is no change, since it will come back as another.
    pub(super) async fn changed(&mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            let now = self.path.as_ref().and_then(stamp);
            if now.is_none() || now == self.seen {
                continue;
            }
            sleep(REST).await;
            if self.path.as_ref().and_then(stamp) == now {
                self.seen = now;
                return;
            }
        }
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let data: Metadata = std::fs::metadata(path).ok()?;
    Some((data.mtime(), data.mtime_nsec(), data.len(), data.dev(), data.ino()))
}

/// A look costs one `stat`; a person who saved a file waits this long at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longer than an editor takes between truncating and writing.
const REST: Duration = Duration::from_millis(200);
