//! Durable accepts a second, alone and with all deliveries, against raw append + `fdatasync`.

use std::path::Path;
use std::sync::Arc;

use capi_relay::conversion::DestinationName;
use capi_relay::queue::{Clock, Queue};

use super::load::{FIVE, Served, accept, in_flight, median, names, settings, submission};
use super::raw::Raw;
use super::{Failed, machine, say};

/// In flight, conversions of a sustained round, and the least that accepting may come to of raw.
const LOADS: [(u32, u32, f64); 4] = [(1, 2_000, 0.8), (16, 10_000, 0.8), (64, 20_000, 0.7), (256, 20_000, 0.6)];
/// Conversions of a burst: fewer than half of the window, so that nothing waits for the store.
const BURST: u32 = 3_000;
/// Rounds of each, in turn.
pub(crate) const ROUNDS: u32 = 5;
/// Before the first round: two segments' worth, so that the journal writes to a file that was written before, as it does
/// from its third segment on.
pub(crate) const WARM: u32 = 70_000;

/// What happens meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing is handed out: what accepting takes by itself, and moving what lingers.
    Alone,
    /// Everything is handed out and settled, and fits the window.
    Burst,
    /// And more than that: what was settled has to leave the window.
    Sustained,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Alone => "alone",
            Kind::Burst => "burst",
            Kind::Sustained => "sustained",
        }
    }
}

/// What one round came to.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    p99_ms: f64,
    pub(crate) processor_us: f64,
}

pub(crate) async fn compare(folder: &Path, quick: bool) -> Result<(), Failed> {
    let destinations: Arc<[DestinationName]> = names(&FIVE)?.into();
    let record: Arc<[u8]> = vec![b'r'; record_bytes(&folder.join("sizes"), &destinations).await?].into();
    let raw = Raw::start(&folder.join("raw"))?;
    let mut served = Served::start(Queue::open(settings(&folder.join("accept"))?, Clock::system())?, &destinations);
    let less = |count: u32| if quick { count.div_ceil(20) } else { count };
    queue_round(&served, 256, less(WARM), &destinations).await?;
    say(&format!("\naccepting: {} bytes a record, medians of {ROUNDS} rounds, [worst … best]", record.len()));
    say(HEAD);
    for kind in [Kind::Alone, Kind::Burst, Kind::Sustained] {
        for (callers, count, budget) in LOADS {
            let count = less(if kind == Kind::Sustained { count } else { BURST });
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let floor = raw_round(&raw, callers, count, &record).await?;
                if kind == Kind::Alone {
                    served.pause().await;
                }
                let figures = accept_round(&served, callers, count, &destinations).await?;
                if kind == Kind::Alone {
                    served.work();
                }
                served.idle(true).await?;
                rounds.push((floor, figures));
            }
            say(&format!("{:9} {callers:3} {}", kind.name(), line(budget, &rounds)));
        }
    }
    served.end().await;
    raw.end()
}

async fn raw_round(raw: &Raw, callers: u32, count: u32, record: &Arc<[u8]>) -> Result<Figures, Failed> {
    let inbox = raw.inbox();
    let records: Vec<Arc<[u8]>> = (0..count).map(|_| Arc::clone(record)).collect();
    figures(
        count,
        in_flight(callers, records, move |record| {
            let inbox = Arc::clone(&inbox);
            async move { inbox.accept(record).await }
        }),
    )
    .await
}

/// Begins and ends with nothing in the window.
pub(crate) async fn queue_round(
    served: &Served,
    callers: u32,
    count: u32,
    owed: &[DestinationName],
) -> Result<Figures, Failed> {
    let figures = accept_round(served, callers, count, owed).await?;
    served.idle(true).await?;
    Ok(figures)
}

/// Until everything is accepted.
async fn accept_round(served: &Served, callers: u32, count: u32, owed: &[DestinationName]) -> Result<Figures, Failed> {
    let submissions = (0..count).map(|_| submission(owed)).collect::<Result<Vec<_>, Failed>>()?;
    let queue = served.queue.clone();
    figures(count, in_flight(callers, submissions, move |submission| accept(queue.clone(), submission))).await
}

async fn figures(
    count: u32,
    round: impl Future<Output = Result<super::load::Round, Failed>>,
) -> Result<Figures, Failed> {
    let before = machine::processor_time()?;
    let round = round.await?;
    let processor = machine::processor_time()?.saturating_sub(before).as_secs_f64();
    let at = |hundredths: usize| {
        let place = round.latencies.len().saturating_mul(hundredths) / 100;
        round.latencies.get(place).map_or(f64::NAN, |seconds| seconds * 1e3)
    };
    let count = f64::from(count);
    Ok(Figures {
        per_second: count / round.seconds,
        p50_ms: at(50),
        p99_ms: at(99),
        processor_us: processor * 1e6 / count,
    })
}

const HEAD: &str = "in flight         raw/s   queue/s   ratio             least   raw p50,  p99 ms, queue p50, p99  CPU µs: raw, queue";

fn line(budget: f64, rounds: &[(Figures, Figures)]) -> String {
    let raw = |of: fn(&Figures) -> f64| median(rounds.iter().map(|(raw, _)| of(raw)));
    let queue = |of: fn(&Figures) -> f64| median(rounds.iter().map(|(_, queue)| of(queue)));
    let ratios = || rounds.iter().map(|(raw, queue)| queue.per_second / raw.per_second);
    format!(
        "{:9.0} {:9.0}   {:.2} [{:.2} … {:.2}] {budget:4.1}   {:7.2} {:6.2} {:8.2} {:6.2}   {:6.0} {:6.0}",
        raw(|figures| figures.per_second),
        queue(|figures| figures.per_second),
        median(ratios()),
        ratios().fold(f64::INFINITY, f64::min),
        ratios().fold(0.0, f64::max),
        raw(|figures| figures.p50_ms),
        raw(|figures| figures.p99_ms),
        queue(|figures| figures.p50_ms),
        queue(|figures| figures.p99_ms),
        raw(|figures| figures.processor_us),
        queue(|figures| figures.processor_us),
    )
}

/// Bytes that the journal writes to accept one conversion: a fresh journal is zero behind what was written.
async fn record_bytes(folder: &Path, owed: &[DestinationName]) -> Result<usize, Failed> {
    const COUNT: usize = 64;
    /// Where a segment's first commit begins.
    const DATA_START: usize = 4096;
    let queue = Queue::open(settings(folder)?, Clock::system())?;
    for _ in 0..COUNT {
        accept(queue.clone(), submission(owed)?).await?;
    }
    let segment = std::fs::read_dir(folder.join("journal"))?.next().ok_or("no segment in the journal")??;
    let bytes = std::fs::read(segment.path())?;
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    end.saturating_sub(DATA_START).checked_div(COUNT).filter(|bytes| *bytes > 0).ok_or("nothing in the journal".into())
}
