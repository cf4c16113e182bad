//! A relay in this process: queue, pools, ingress and admin, started in that order and drained in the other. `serve`, the
//! demo and the tests run the same one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::admin::{Admin, Pauses, PausesError, Reloaded, Reloads, Wish};
use crate::config::Config;
use crate::conversion::DestinationName;
use crate::delivery::{ClientError, Pools};
use crate::ingress::{Ingress, TlsError};
use crate::queue::{self, Clock, OpenError, Queue};
use crate::traces::Traces;

/// A running relay.
pub struct Relay {
    public: SocketAddr,
    admin: SocketAddr,
    queue: Queue,
    pools: Pools,
    ingress: Arc<Ingress>,
    traces: Traces,
    reloads: Reloads,
    /// Of the configuration in force, from 1.
    version: u64,
    /// Until somebody takes it.
    wishes: Option<mpsc::Receiver<Wish>>,
    /// Ends ingress and delivery; they drain.
    drain: CancellationToken,
    /// Ends the admin listener, last, so that the drain can be watched.
    end: CancellationToken,
    serving: JoinSet<()>,
    /// That of `serving` which takes conversions in.
    taking_in: AbortHandle,
    observing: JoinSet<()>,
}

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder was refused.
    #[error("cannot open the queue")]
    Queue(#[source] OpenError),
    /// The thread that opened the data folder ended early.
    #[error("opening the data folder was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
    /// A destination's client could not be built.
    #[error("cannot set up delivery")]
    Delivery(#[source] ClientError),
    /// Which destinations are paused could not be read.
    #[error("cannot tell which destinations are paused")]
    Pauses(#[source] PausesError),
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

/// Why a configuration did not come into force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It changes what is read at start only.
    #[error("`[{section}]` has changed, and is read at start only: restart to apply it, or take the change back")]
    Restart {
        /// Which section.
        section: &'static str,
    },
    /// Destinations with work are no longer in it, and nobody has said that they may go.
    #[error("{}", in_words(.0))]
    Work(Vec<Left>),
    /// One that is to go is still in it.
    #[error("destination {0} is to go, and is still in the file: take it out there, too")]
    StillThere(DestinationName),
    /// A destination's client could not be built.
    #[error("cannot set up delivery")]
    Delivery(#[source] ClientError),
    /// The certificate or its key was refused.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
}

/// A destination that would go, and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Which.
    pub destination: DestinationName,
    /// Deliveries that wait.
    pub pending: u64,
    /// Dead letters kept.
    pub dead: u64,
}

impl Relay {
    /// Opens the queue, binds both listeners and serves.
    ///
    /// # Errors
    ///
    /// When the data folder, the certificate or an address is refused; nothing runs then.
    pub async fn start(config: Config, clock: Clock) -> Result<Relay, StartError> {
        Relay::start_traced(config, clock, Traces::default()).await
    }

    /// The same, where traces may be exported.
    ///
    /// # Errors
    ///
    /// As [`Relay::start`].
    pub async fn start_traced(config: Config, clock: Clock, traces: Traces) -> Result<Relay, StartError> {
        Relay::start_with_front(config, clock, traces, &Handle::current()).await
    }

    /// The same, where another runtime serves the public API.
    pub(super) async fn start_with_front(
        config: Config,
        clock: Clock,
        traces: Traces,
        front: &Handle,
    ) -> Result<Relay, StartError> {
        let config = Arc::new(config);
        let opening = (queue_settings(&config), clock.clone());
        let queue = tokio::task::spawn_blocking(move || Queue::open(opening.0, opening.1))
            .await
            .map_err(StartError::Interrupted)?
            .map_err(StartError::Queue)?;
        let pools = Pools::new(&config, queue.clone(), clock.clone(), traces.clone()).map_err(StartError::Delivery)?;
        let ingress = Ingress::new(Arc::clone(&config), queue.clone(), clock.clone(), traces.clone());
        let ingress = Arc::new(ingress.map_err(StartError::Tls)?);
        let (reloads, wishes) = Reloads::new(clock.clone(), &config.queue.path);
        let restored = (config.queue.path.clone(), pools.clone());
        let pauses = tokio::task::spawn_blocking(move || Pauses::restore(&restored.0, &restored.1));
        let pauses = pauses.await.map_err(StartError::Interrupted)?.map_err(StartError::Pauses)?;
        let observer = Admin::new(queue.clone(), pools.clone(), Arc::clone(&ingress), reloads.clone(), pauses);
        let listening = front.spawn(listen(config.server.listen));
        let (public_listener, public) = listening.await.map_err(StartError::Interrupted)??;
        let (admin_listener, admin) = listen(config.server.admin).await?;

        let (drain, end) = (CancellationToken::new(), CancellationToken::new());
        let (mut serving, mut observing) = (JoinSet::new(), JoinSet::new());
        observing.spawn(Arc::new(observer).run(admin_listener, end.clone()));
        let (comparing, until) = (queue.clone(), end.clone());
        observing.spawn(async move { until.run_until_cancelled(comparing.compare()).await.unwrap_or_default() });
        let taking_in = serving.spawn_on(Arc::clone(&ingress).run(public_listener, drain.clone()), front);
        let running = (pools.clone(), drain.clone());
        serving.spawn(async move { running.0.run(running.1).await });
        let (version, wishes) = (1, Some(wishes));
        Ok(Relay {
            public,
            admin,
            queue,
            pools,
            ingress,
            traces,
            reloads,
            version,
            wishes,
            drain,
            end,
            serving,
            taking_in,
            observing,
        })
    }

    /// Goes over to another configuration, whole or not at all; says what came into force. Merchants, rates, destinations and
    /// TLS files change without a dropped request; the rest of `[server]`, and `[queue]`, only with a restart.
    ///
    /// # Errors
    ///
    /// When it would need a restart, when a destination for which work waits is no longer in it, or when a destination's client
    /// or the listener's TLS cannot be set up: the one before stays in force.
    pub fn reload(&mut self, config: Config) -> Result<Reloaded, ReloadError> {
        self.reload_without(config, &[])
    }

    /// The same, where these destinations may go although work waits for them: it is held until they are configured again.
    ///
    /// # Errors
    ///
    /// As [`Relay::reload`], and when one of them is still configured.
    pub fn reload_without(&mut self, config: Config, remove: &[DestinationName]) -> Result<Reloaded, ReloadError> {
        if let Some(still) = remove.iter().find(|name| config.destination(name.as_str()).is_some()) {
            return Err(ReloadError::StillThere(still.clone()));
        }
        let before = self.ingress.config();
        for (section, same) in
            [("server", before.server.can_become(&config.server)), ("queue", before.queue == config.queue)]
        {
            if !same {
                return Err(ReloadError::Restart { section });
            }
        }
        let tls = self.ingress.renewed(&config).map_err(ReloadError::Tls)?;
        let destinations = config.after(&before);
        self.none_is_forgotten(&destinations.removed, remove)?;
        let config = Arc::new(config);
        // Pools first: what is accepted for a destination has a pool already.
        self.pools.reload(&config).map_err(ReloadError::Delivery)?;
        self.ingress.reload(config, tls);
        self.version = self.version.saturating_add(1);
        Ok(Reloaded { version: self.version, destinations })
    }

    /// Whether nothing waits for those that go, or somebody has said that they may.
    fn none_is_forgotten(&self, gone: &[DestinationName], remove: &[DestinationName]) -> Result<(), ReloadError> {
        let depths = self.queue.depths().destinations;
        let left = gone.iter().filter(|name| !remove.contains(name)).filter_map(|name| {
            let depth = depths.get(name).filter(|depth| depth.pending > 0)?;
            Some(Left { destination: name.clone(), pending: depth.pending, dead: depth.dead.total() })
        });
        let left: Vec<Left> = left.collect();
        if left.is_empty() { Ok(()) } else { Err(ReloadError::Work(left)) }
    }

    /// The wishes of the admin API, for who can read files; once.
    pub(super) fn wishes(&mut self) -> Option<mpsc::Receiver<Wish>> {
        self.wishes.take()
    }

    /// The record of reloads.
    pub(super) fn reloads(&self) -> &Reloads {
        &self.reloads
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

    /// Drains: takes nothing new, finishes what is in hand within `server.drain_timeout`, or until the pools are told to
    /// [hurry](Pools::hurry), syncs and closes the queue.
    ///
    /// # Errors
    ///
    /// When the queue could not be closed cleanly; what was acknowledged is on disk all the same.
    pub async fn stop(mut self) -> Result<(), queue::ReadError> {
        self.drain.cancel();
        let served = async { while self.serving.join_next().await.is_some() {} };
        let hurried = async {
            self.pools.hurried().await;
            // Who still waits for an answer asks again, and is told of what was kept.
            self.taking_in.abort();
            std::future::pending().await
        };
        tokio::select! {
            () = served => {}
            () = hurried => {}
        }
        // No span comes after what has served.
        let (closed, ()) = tokio::join!(self.queue.close(), self.traces.close());
        self.end.cancel();
        while self.observing.join_next().await.is_some() {}
        closed
    }
}

/// What is left behind, and the two ways on.
fn in_words(left: &[Left]) -> String {
    let one = |Left { destination, pending, dead }: &Left| {
        let wait = match pending {
            1 => "1 delivery waits".to_owned(),
            many => format!("{many} deliveries wait"),
        };
        let kept = match dead {
            0 => String::new(),
            1 => ", and 1 dead letter is kept".to_owned(),
            many => format!(", and {many} dead letters are kept"),
        };
        format!("{destination} is no longer in the file, and {wait} for it{kept}")
    };
    let all: Vec<String> = left.iter().map(one).collect();
    let word: String = left.iter().map(|left| format!(" --remove {}", left.destination)).collect();
    let it = if left.len() == 1 { "it" } else { "them" };
    format!(
        "{}: put {it} back, or say that the work is to be held until it is configured again: `capi-relay reload{word}`",
        all.join("; ")
    )
}

pub(super) fn queue_settings(config: &Config) -> queue::Settings {
    let settings = config.queue.clone();
    queue::Settings {
        path: settings.path,
        allow_volatile: settings.allow_volatile,
        pending_bytes_max: settings.pending_bytes_max,
        free_bytes_min: settings.free_bytes_min,
        dead_letters_max: settings.dead_letters_max,
        dedup_window: settings.dedup_window,
        history_keep: settings.history_keep,
        encryption: settings.encryption.map(|encryption| queue::Encryption {
            key: queue::MasterKey::new(encryption.key.0),
            old_keys: encryption.old_keys.into_iter().map(|key| queue::MasterKey::new(key.0)).collect(),
        }),
        destinations: config.destinations.iter().map(|destination| destination.name.clone()).collect(),
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}
