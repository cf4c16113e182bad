//! A relay without its listeners: a queue, its pools, and what is handed in.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use capi_relay::config::{Config, Source};
use capi_relay::conversion::{Conversion, ConversionId, DestinationName, Meta};
use capi_relay::delivery::Pools;
use capi_relay::queue::{Accepted, Claim, Clock, Initial, Queue, Settings, Submission};
use capi_relay::traces::Traces;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::platforms::{Arrivals, Platforms};
use super::{Failed, Load, Round};

/// Who is there besides the three that take everything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody.
    Alone,
    /// Two sick ones with a backlog.
    Backlog,
    /// Likewise, and what is sent is owed to them too.
    AllFive,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Alone, Kind::Backlog, Kind::AllFive];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Alone => "alone",
            Kind::Backlog => "backlog",
            Kind::AllFive => "all five",
        }
    }
}

const WELL: [&str; 3] = ["one", "two", "three"];
const SICK: [&str; 2] = ["hole", "failing"];

/// A relay on a folder of its own.
pub(crate) struct Relay {
    queue: Queue,
    pools: Pools,
    arrivals: Arc<Arrivals>,
    owed: Vec<DestinationName>,
}

/// Its pools, delivering.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) -> Result<(), Failed> {
        self.shutdown.cancel();
        Ok(self.task.await?)
    }
}

impl Relay {
    pub(crate) fn open(folder: &Path, kind: Kind, platforms: &Platforms) -> Result<Relay, Failed> {
        std::fs::create_dir_all(folder)?;
        let text = routes(folder, kind, platforms);
        let source = Source { path: folder.join("routes.toml"), text, environment: &|_| None, sets: &[] };
        let config = Arc::new(Config::load(source).map_err(|report| report.to_string())?);
        let destinations: Vec<DestinationName> =
            config.destinations.iter().map(|destination| destination.name.clone()).collect();
        let settings = Settings {
            path: config.queue.path.clone(),
            allow_volatile: false,
            pending_bytes_max: u64::MAX,
            free_bytes_min: 1 << 30,
            dead_letters_max: u64::MAX,
            dedup_window: config.queue.dedup_window,
            history_keep: config.queue.history_keep,
            encryption: None,
            destinations: destinations.clone(),
        };
        let clock = Clock::system();
        let queue = Queue::open(settings, clock.clone())?;
        let pools = Pools::new(&config, queue.clone(), clock, Traces::default())?;
        let owed = match kind {
            Kind::Alone | Kind::Backlog => names(&WELL)?,
            Kind::AllFive => destinations,
        };
        Ok(Relay { queue, pools, arrivals: Arc::clone(&platforms.arrivals), owed })
    }

    pub(crate) fn run(&self) -> Running {
        let shutdown = CancellationToken::new();
        let (pools, stop) = (self.pools.clone(), shutdown.clone());
        Running { shutdown, task: tokio::spawn(async move { pools.run(stop).await }) }
    }

    /// Accepts so many conversions that are owed to the sick ones alone.
    pub(crate) async fn fill(&self, count: u32) -> Result<(), Failed> {
        let sick = names(&SICK)?;
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            if tasks.len() >= 256
                && let Some(ended) = tasks.join_next().await
            {
                ended??;
            }
            tasks.spawn(accept(self.queue.clone(), submission(&sick)?.1));
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Hands in conversions for so long, and says what became of them.
    pub(crate) async fn measure(&self, load: Load, time: Duration) -> Result<Round, Failed> {
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        let mut latencies = Vec::new();
        match load {
            Load::InFlight(count) => {
                for _ in 0..count {
                    let one = self.one(Instant::now())?;
                    tasks.spawn(one);
                }
                while let Some(ended) = tasks.join_next().await {
                    latencies.push(ended??);
                    if begun.elapsed() < time {
                        let one = self.one(Instant::now())?;
                        tasks.spawn(one);
                    }
                }
            }
            Load::Pace(rate) => {
                let mut ticks = interval(Duration::from_secs(1).checked_div(rate).ok_or("no pace")?);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while begun.elapsed() < time {
                    // Late is counted too.
                    let since = ticks.tick().await;
                    let one = self.one(since)?;
                    tasks.spawn(one);
                }
                while let Some(ended) = tasks.join_next().await {
                    latencies.push(ended??);
                }
            }
        }
        Ok(Round::of(latencies, begun.elapsed().as_secs_f64()))
    }

    /// One conversion, from when it was to be handed in to its arrival at the last of the three; in seconds.
    fn one(&self, since: Instant) -> Result<impl Future<Output = Result<f64, Failed>> + Send + use<>, Failed> {
        let (event_id, submission) = submission(&self.owed)?;
        let arrived = self.arrivals.wait(event_id);
        let queue = self.queue.clone();
        Ok(async move {
            accept(queue, submission).await?;
            arrived.await?;
            Ok(since.elapsed().as_secs_f64())
        })
    }

    /// What waits for each of the sick ones: what was measured was measured beside it.
    pub(crate) fn backlog(&self, least: u32) -> Result<String, Failed> {
        let depths = self.queue.depths();
        let mut said = Vec::new();
        for name in names(&SICK)? {
            let pending = depths.destinations.get(&name).map_or(0, |depth| depth.pending);
            if pending < u64::from(least) {
                return Err(format!("{name} has {pending} pending, fewer than {least}").into());
            }
            said.push(format!("{name} {pending}"));
        }
        Ok(said.join(", "))
    }

    pub(crate) async fn close(self) -> Result<(), Failed> {
        Ok(self.queue.close().await?)
    }
}

async fn accept(queue: Queue, submission: Submission) -> Result<(), Failed> {
    match queue.accept(submission).await? {
        Accepted::New(_) => Ok(()),
        other @ (Accepted::Duplicate(_) | Accepted::KeyReused { .. }) => Err(format!("not new: {other:?}").into()),
    }
}

/// A conversion that no other is like, and its event id.
fn submission(owed: &[DestinationName]) -> Result<(String, Submission), Failed> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let event_id = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let clock = Clock::system();
    let body = format!(
        r#"{{"event_id":"{event_id}","time":"{}","value":"99.90","currency":"EUR","order_id":"order-{event_id}"}}"#,
        clock.now()
    );
    let conversion = Conversion::parse(body.as_bytes(), "generated").map_err(|refusal| format!("{refusal:?}"))?;
    let conversion = Arc::new(conversion);
    let meta = Meta::new(ConversionId::new(clock.unix_ms(), rand::random()), "acme".into(), None, &conversion);
    let plan = owed.iter().map(|name| (name.clone(), Initial::Owed)).collect();
    Ok((event_id, Submission { meta, conversion, body: Bytes::from(body), plan, claim: Claim::default() }))
}

fn names(names: &[&str]) -> Result<Vec<DestinationName>, Failed> {
    names.iter().map(|name| DestinationName::parse(name).ok_or_else(|| format!("no name: {name}").into())).collect()
}

fn routes(folder: &Path, kind: Kind, platforms: &Platforms) -> String {
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nplaintext = true\ndrain_timeout = \"1s\"\n[queue]\npath = \"{}\"\n\
         [merchant.acme]\ntoken_sha256 = \"{}\"\n",
        folder.join("data").display(),
        "0".repeat(64)
    );
    let sick = [platforms.hole, platforms.failing];
    let well = WELL.into_iter().zip(platforms.well);
    for (name, address) in well.chain(SICK.into_iter().zip(sick).filter(|_| kind != Kind::Alone)) {
        // So that what it swallows runs out of time, and its breaker opens, within a round.
        let limits = if name == "hole" { "limits = { timeout = \"500ms\" }\n" } else { "" };
        text.push_str(&format!(
            "[destination.{name}]\nurl = \"http://{address}/\"\non_ambiguous = \"retry\"\n\
             map = {{ id = \"event_id !\", amount = \"value\" }}\n{limits}"
        ));
    }
    text
}
