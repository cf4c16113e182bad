//! Reload: the configuration read anew at SIGHUP, when its file changes and when the admin API asks, and taken into force
//! whole or not at all. A fault in it, or a golden that fails, keeps the one before in force and is said at once.

use std::path::PathBuf;

use tracing::info;

use crate::admin::{Reloaded, Wish};
use crate::config::{Config, Succession};
use crate::conversion::DestinationName;

use super::refusal::{Refusal, log_warnings};
use super::relay::{Relay, ReloadError};
use super::serve::ServeArgs;
use super::watch::{Looked, Watch};
use super::{ConfigurationArgs, settings, test};

/// Reads what `serve` was started with, again: the file that was found then, also when another would be found now.
pub(super) struct Reloader<'a> {
    path: PathBuf,
    configuration: &'a ConfigurationArgs,
    args: &'a ServeArgs,
}

/// A configuration that serves, and how many goldens were proven of it; `None`: not asked to be.
pub(super) type Proven = (Config, Option<usize>);

/// Who wants a reload.
pub(super) enum Asked {
    /// A signal.
    Signal(&'static str),
    /// A file that changed, in words.
    File(String),
    /// The admin API.
    Wish(Wish),
}

impl<'a> Reloader<'a> {
    /// Finds the file.
    pub(super) fn new(configuration: &'a ConfigurationArgs, args: &'a ServeArgs) -> Result<Reloader<'a>, String> {
        Ok(Reloader { path: settings::find(configuration)?, configuration, args })
    }

    /// The one way to a configuration that serves: read, checked, and its goldens proven; and a watch over what was read.
    pub(super) fn proven(&self) -> (Result<Proven, Refusal>, Watch) {
        let looked = Looked::default();
        let config = settings::read_to_serve(&self.path, self.configuration, &|path| looked.at(path));
        let mut goldens = Looked::default();
        let proven = config.map_err(Refusal::Read).and_then(|config| {
            if self.args.no_goldens {
                return Ok((config, None));
            }
            // Before they are read: one that is mended meanwhile is another than the one that failed.
            test::files(&config).for_each(|path| goldens.at(path));
            let count = test::gate(&config).map_err(Refusal::Goldens)?;
            goldens = Looked::default();
            Ok((config, Some(count)))
        });
        // Mended in its own file, a golden that failed lets the routes file through.
        (proven, Watch::over(looked.and(goldens)))
    }

    /// Reads, proves, goes over; says what came of it to the log, the metrics, the audit log and who asked.
    pub(super) async fn reload(&self, relay: &mut Relay, watch: &mut Watch, asked: Asked) {
        let reloads = relay.reloads().clone();
        let (outcome, answer) = match asked {
            Asked::Signal(signal) => {
                (reloads.unasked(signal, signal, async { self.made(relay, watch, signal, &[]) }).await, None)
            }
            Asked::File(words) => {
                (reloads.unasked("file", &words, async { self.made(relay, watch, &words, &[]) }).await, None)
            }
            // The admin API writes it down itself.
            Asked::Wish(wish) if !wish.begin() => {
                info!("who wished a reload no longer waits for it: it is not made");
                return;
            }
            Asked::Wish(Wish { remove, answer, .. }) => {
                (self.made(relay, watch, "POST /admin/reload", &remove), Some(answer))
            }
        };
        if let Some(answer) = answer {
            // Who asked may have gone away meanwhile; the log has it.
            drop(answer.send(outcome));
        }
    }

    fn made(
        &self,
        relay: &mut Relay,
        watch: &mut Watch,
        cause: &str,
        remove: &[DestinationName],
    ) -> Result<Reloaded, String> {
        let (proven, now) = tokio::task::block_in_place(|| self.proven());
        *watch = now;
        let outcome = proven.and_then(|(config, _goldens)| {
            log_warnings(&config);
            relay.reload_without(config, remove).map_err(Refusal::Relay)
        });
        let is_mistaken = matches!(outcome, Err(Refusal::Relay(ReloadError::StillThere(_))));
        match &outcome {
            Ok(Reloaded { version, destinations }) => {
                let Succession { added, removed, changed, unchanged } = destinations;
                let (added, removed, changed) = (named(added), named(removed), named(changed));
                info!(cause, version, added, removed, changed, unchanged, "configuration reloaded");
            }
            Err(refusal) => refusal.log(cause),
        }
        let outcome = outcome.map_err(|refusal| refusal.to_string());
        if is_mistaken {
            relay.reloads().record_mistaken()
        } else {
            relay.reloads().record(&outcome)
        }
        outcome
    }
}

/// Names in a line of the log; where there are none, nothing is said.
fn named(names: &[DestinationName]) -> Option<String> {
    (!names.is_empty()).then(|| names.iter().map(DestinationName::as_str).collect::<Vec<_>>().join(", "))
}
