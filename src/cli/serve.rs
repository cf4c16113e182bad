//! `serve`, and the wiring that it shares with the demo and the tests: queue, pools, ingress and admin, started in that
//! order and drained in the other.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::admin::Admin;
use crate::config::{Config, LogFormat, Transport};
use crate::delivery::{ClientError, Pools};
use crate::ingress::{Ingress, TlsError};
use crate::queue::{self, Clock, OpenError, Queue};

use super::signals::Signals;
use super::{BAD_CONFIGURATION, ConfigurationArgs, DONE, NO, output, settings, test};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Starts without proving the goldens
    #[arg(long)]
    no_goldens: bool,
}

/// A running relay.
pub struct Relay {
    public: SocketAddr,
    admin: SocketAddr,
    queue: Queue,
    pools: Pools,
    /// Ends ingress and delivery; they drain.
    drain: CancellationToken,
    /// Ends the admin listener, last, so that the drain can be watched.
    end: CancellationToken,
    serving: JoinSet<()>,
    observing: JoinSet<()>,
}

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder was refused.
    #[error("cannot open the queue")]
    Queue(#[source] OpenError),
    /// The thread that opened the data folder ended early.
    #[error("opening the queue was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
    /// A destination's client could not be built.
    #[error("cannot set up delivery")]
    Delivery(#[source] ClientError),
    /// The certificate or its key was refused.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// That address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl Relay {
    /// Opens the queue, binds both listeners and serves.
    ///
    /// # Errors
    ///
    /// When the data folder, the certificate or an address is refused; nothing runs then.
    pub async fn start(config: Config, clock: Clock) -> Result<Relay, StartError> {
        let config = Arc::new(config);
        let opening = (queue_settings(&config), clock.clone());
        let queue = tokio::task::spawn_blocking(move || Queue::open(opening.0, opening.1))
            .await
            .map_err(StartError::Interrupted)?
            .map_err(StartError::Queue)?;
        let pools = Pools::new(&config, queue.clone(), clock.clone()).map_err(StartError::Delivery)?;
        let ingress =
            Arc::new(Ingress::new(Arc::clone(&config), queue.clone(), clock.clone()).map_err(StartError::Tls)?);
        let observer = Admin::new(Arc::clone(&config), queue.clone(), pools.clone(), Arc::clone(&ingress));
        let (public_listener, public) = listen(config.server.listen).await?;
        let (admin_listener, admin) = listen(config.server.admin).await?;

        let (drain, end) = (CancellationToken::new(), CancellationToken::new());
        let (mut serving, mut observing) = (JoinSet::new(), JoinSet::new());
        observing.spawn(Arc::new(observer).run(admin_listener, end.clone()));
        serving.spawn(ingress.run(public_listener, drain.clone()));
        let running = (pools.clone(), drain.clone());
        serving.spawn(async move { running.0.run(running.1).await });
        Ok(Relay { public, admin, queue, pools, drain, end, serving, observing })
    }

    /// Where the public API listens.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where the admin API listens.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The queue, for looking at.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The pools, for looking at.
    #[must_use]
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Waits for the moment from which storage can promise nothing any more; says why.
    pub async fn failed(&self) -> String {
        self.queue.failed().await
    }

    /// Returns when a part that serves until it is stopped has ended all the same: a panic.
    pub async fn broken(&mut self) {
        let ended = tokio::select! {
            Some(ended) = self.serving.join_next() => ended,
            Some(ended) = self.observing.join_next() => ended,
            else => return,
        };
        if let Err(error) = ended {
            error!(%error, "a part of the relay panicked");
        }
    }

    /// Drains: takes nothing new, finishes what is in hand within `server.drain_timeout`, syncs and closes the queue.
    ///
    /// # Errors
    ///
    /// When the queue could not be closed cleanly; what was acknowledged is on disk all the same.
    pub async fn stop(mut self) -> Result<(), queue::ReadError> {
        self.drain.cancel();
        while self.serving.join_next().await.is_some() {}
        let closed = self.queue.close().await;
        self.end.cancel();
        while self.observing.join_next().await.is_some() {}
        closed
    }
}

fn queue_settings(config: &Config) -> queue::Settings {
    let settings = config.queue.clone();
    queue::Settings {
        path: settings.path,
        allow_volatile: settings.allow_volatile,
        pending_bytes_max: settings.pending_bytes_max,
        free_bytes_min: settings.free_bytes_min,
        dedup_window: settings.dedup_window,
        history_keep: settings.history_keep,
        destinations: config.destinations.iter().map(|destination| destination.name.clone()).collect(),
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

/// `capi-relay serve`.
pub(super) fn command(configuration: &ConfigurationArgs, args: &ServeArgs) -> u8 {
    let (config, goldens) = match proven(configuration, args) {
        Ok(proven) => proven,
        Err(report) => {
            output::error(&report);
            return BAD_CONFIGURATION;
        }
    };
    log_to_stderr(config.server.log);
    match goldens {
        Some(goldens) => info!(goldens, "goldens proven"),
        None => warn!("goldens are not proven"),
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("cannot start: {error}"));
            return NO;
        }
    };
    let code = runtime.block_on(serve(config));
    // A look-up of a name cannot be called off; nothing waits for it any more.
    runtime.shutdown_background();
    code
}

/// The one way to a configuration that serves: read, checked, and its goldens proven (how many; `None`: not asked to be).
fn proven(configuration: &ConfigurationArgs, args: &ServeArgs) -> Result<(Config, Option<usize>), String> {
    let config = settings::load(configuration)?;
    let goldens = if args.no_goldens { None } else { Some(test::gate(&config).map_err(refused)?) };
    Ok((config, goldens))
}

fn refused(report: String) -> String {
    report + ": nothing is started (`--no-goldens` starts all the same)"
}

async fn serve(config: Config) -> u8 {
    let transport = match config.server.transport {
        Transport::Plain => "plain HTTP",
        Transport::Files { .. } | Transport::SelfSigned => "TLS",
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            output::error(&error);
            return NO;
        }
    };
    let destinations = config.destinations.len();
    let mut relay = match Relay::start(config, Clock::system()).await {
        Ok(relay) => relay,
        Err(error) => {
            output::error(&output::chain(&error));
            return NO;
        }
    };
    info!(public = %relay.public(), admin = %relay.admin(), transport, destinations, "serving");
    let queue = relay.queue().clone();
    let code = tokio::select! {
        signal = signals.ended() => {
            info!(signal, "draining");
            DONE
        }
        reason = queue.failed() => {
            error!(reason, "storage failed: nothing more is acknowledged; restart to recover from disk");
            NO
        }
        () = relay.broken() => {
            error!("a part of the relay ended by itself: stopping");
            NO
        }
    };
    let stopped = tokio::select! {
        stopped = relay.stop() => stopped,
        signal = signals.ended() => return cut_short(signal),
    };
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

/// What was acknowledged is on disk; attempts in hand may be repeated.
fn cut_short(signal: &str) -> u8 {
    error!(signal, "the drain is cut short");
    NO
}

/// Logs go to standard error; `RUST_LOG` chooses what (default `info`).
fn log_to_stderr(format: LogFormat) {
    let mut filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    for directive in QUIET.iter().filter_map(|directive| directive.parse().ok()) {
        filter = filter.add_directive(directive);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Libraries that would write headers and bodies into a log of level `trace`, whatever `RUST_LOG` asks.
const QUIET: [&str; 5] = ["h2=info", "hyper=info", "hyper_util=info", "rustls=info", "tokio_rustls=info"];
