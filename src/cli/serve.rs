//! `serve`: a relay with its file, until a signal ends it.

use std::pin::pin;

use clap::Args;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::admin::Wish;
use crate::config::{Config, LogFormat, Transport};
use crate::queue::{Clock, ReadError};
use crate::traces::{self, Outlook, Traces};

use super::refusal::log_warnings;
use super::relay::Relay;
use super::reloader::{Asked, Reloader};
use super::runtimes::Runtimes;
use super::signals::{Hangups, Signal, Signals};
use super::watch::Watch;
use super::{BAD_CONFIGURATION, ConfigurationArgs, DONE, NO, output, settings};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Starts, and reloads, without proving the goldens
    #[arg(long)]
    pub(super) no_goldens: bool,
}

/// `capi-relay serve`.
pub(super) fn command(configuration: &ConfigurationArgs, args: &ServeArgs) -> u8 {
    let runtimes = match Runtimes::start() {
        Ok(runtimes) => runtimes,
        Err(error) => {
            output::error(&format!("cannot start: {error}"));
            return NO;
        }
    };
    // Before the file is read: who changes it then, and says so, means this relay, too.
    let hangups = match runtimes.within(Hangups::listen) {
        Ok(hangups) => hangups,
        Err(error) => {
            output::error(&error);
            return NO;
        }
    };
    let read = Reloader::new(configuration, args).and_then(|reloader| {
        let (proven, watch) = reloader.proven();
        let proven = proven.map_err(|refusal| refusal.to_string())?;
        Ok((reloader, proven, watch, settings::traces()?))
    });
    let (reloader, (config, goldens), watch, traces) = match read {
        Ok(read) => read,
        Err(report) => {
            output::error(&format!("{report}: nothing is started"));
            return BAD_CONFIGURATION;
        }
    };
    log_to_stderr(config.server.log);
    log_warnings(&config);
    match goldens {
        Some(goldens) => info!(goldens, "goldens proven"),
        None => warn!("goldens are not proven"),
    }
    log_outlook(&traces.outlook());
    let front = runtimes.front();
    runtimes.block_on(serve(config, traces, &reloader, watch, hangups, &front))
}

async fn serve(
    config: Config,
    traces: traces::Settings,
    reloader: &Reloader<'_>,
    watch: Watch,
    hangups: Hangups,
    front: &Handle,
) -> u8 {
    let transport = match config.server.transport {
        Transport::Plain => "plain HTTP",
        Transport::Tls(_) => "TLS",
    };
    let mut signals = match Signals::listen(hangups) {
        Ok(signals) => signals,
        Err(error) => {
            output::error(&error);
            return NO;
        }
    };
    let destinations = config.destinations.len();
    let clock = Clock::system();
    let traces = match Traces::start(traces, &clock) {
        Ok(traces) => traces,
        Err(error) => {
            output::error(&output::chain(&error));
            return NO;
        }
    };
    let started = tokio::select! {
        started = Relay::start_with_front(config, clock, traces, front) => started,
        signal = signals.ended() => {
            info!(signal, "ended before it served");
            return DONE;
        }
    };
    let mut relay = match started {
        Ok(relay) => relay,
        Err(error) => {
            output::error(&output::chain(&error));
            return NO;
        }
    };
    info!(public = %relay.public(), admin = %relay.admin(), transport, destinations, "serving");
    let code = run(&mut relay, &mut signals, reloader, watch).await;
    let Some(stopped) = stopped(relay, &mut signals).await else { return NO };
    match stopped {
        Ok(()) => {
            info!("stopped");
            code
        }
        Err(error) => {
            error!(error = output::chain(&error), "the queue did not close cleanly");
            NO
        }
    }
}

/// Serves, and reloads when asked to, until something ends it; the exit code.
async fn run(relay: &mut Relay, signals: &mut Signals, reloader: &Reloader<'_>, mut watch: Watch) -> u8 {
    let queue = relay.queue().clone();
    let mut wishes = relay.wishes();
    loop {
        let asked = tokio::select! {
            signal = signals.next() => match signal {
                Signal::End(signal) => {
                    info!(signal, "draining");
                    return DONE;
                }
                Signal::Hangup => Asked::Signal("SIGHUP"),
            },
            wish = wished(&mut wishes) => Asked::Wish(wish),
            cause = watch.changed() => Asked::File(cause),
            reason = queue.failed() => {
                error!(reason, "storage failed: nothing more is acknowledged; restart to recover from disk");
                return NO;
            }
            () = relay.broken() => {
                error!("a part of the relay ended by itself: stopping");
                return NO;
            }
        };
        reloader.reload(relay, &mut watch, asked).await;
    }
}

/// The next wish of the admin API.
async fn wished(wishes: &mut Option<mpsc::Receiver<Wish>>) -> Wish {
    let next = match wishes {
        Some(wishes) => wishes.recv().await,
        None => None,
    };
    match next {
        Some(wish) => wish,
        None => std::future::pending().await,
    }
}

/// Drains. A second signal cuts off what is in hand, which is recorded as it is when the drain takes too long; a third ends it
/// all: what was acknowledged is on disk, and attempts in hand may be repeated. `None`: so it was.
async fn stopped(relay: Relay, signals: &mut Signals) -> Option<Result<(), ReadError>> {
    let pools = relay.pools().clone();
    let mut stop = pin!(relay.stop());
    tokio::select! {
        stopped = &mut stop => return Some(stopped),
        signal = signals.ended() => warn!(signal, "the drain is cut short"),
    }
    pools.hurry();
    tokio::select! {
        stopped = &mut stop => Some(stopped),
        signal = signals.ended() => {
            error!(signal, "ended at once: attempts in hand are not recorded, and may be repeated");
            None
        }
    }
}

/// Whether traces go out, once.
fn log_outlook(outlook: &Outlook) {
    match outlook {
        Outlook::Off => {}
        Outlook::Exported { collector, exposed } => {
            info!(collector, "traces are exported");
            if *exposed {
                warn!(
                    collector,
                    "the headers for the collector of traces go over plain HTTP: anybody on the way reads them"
                );
            }
        }
        Outlook::NotBuilt { variable } => {
            warn!(variable, "traces are not exported: this build is without the feature `otlp`");
        }
    }
}

/// Logs go to standard error; `RUST_LOG` chooses what (default `info`).
fn log_to_stderr(format: LogFormat) {
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    for directive in QUIET.iter().filter_map(|directive| directive.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    // A log that cannot be written is nobody's to hear of; said on standard error, that would be a panic.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Libraries that would write headers and bodies into a log of level `trace`, whatever `RUST_LOG` asks.
const QUIET: [&str; 5] = ["h2=info", "hyper=info", "hyper_util=info", "rustls=info", "tokio_rustls=info"];
