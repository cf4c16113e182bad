//! The whole relay against the floor, and against more than it can do.
//!
//! **floor**: a bare hyper server that reads a conversion, parses it with serde_json and sends it to five sinks with
//! hyper-util's client: no disk, no mapping, no promise. **relay**: the binary that `CAPI_RELAY_BINARY` names (`benches/run`: as
//! it ships), durable, with five presets mapped to the same sinks. Both are processes of their own, taken in turn; load generator and sinks are this process, on the same
//! processors.
//!
//! Of each: conversions a second at saturation (so many connections, each sending the next as soon as it is answered), what
//! arrives at the sinks meanwhile, the time to the answer and to the fifth arrival, processor seconds for a thousand conversions from the
//! kernel's account of the process, memory; and times at a steady pace. Latencies at a pace count from when a request was to
//! be sent, not from when a connection was free for it. Beside them: what an append and its `fdatasync` take at the lowest pace.
//! **tls**: the relay against itself with TLS on every connection, in and out. **overload**: of the relay alone, three times its own saturation.
//! **size**: the disk that a conversion takes, and file descriptors.
//!
//! `cargo bench --bench relay` takes about twenty minutes; `-- --quick` one, and its figures say little; `-- --compare`,
//! `-- --tls`, `-- --overload` and `-- --size` do one part, `-- --compare --saturation` of the first that alone.

mod disk;
mod floor;
mod http;
mod load;
mod overload;
mod process;
mod sinks;
mod size;
mod tls;

use std::time::Duration;

use disk::Disk;
use load::{Load, Measured};
use process::{Kind, Server};
use sinks::Sinks;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("floor", ports)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return floor::serve(ports);
    }
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // `cargo test --benches` runs what it builds, and nothing is timed there.
    if !asked("--bench") && !asked("--quick") {
        return Ok(());
    }
    let plan = if asked("--quick") {
        Plan { rounds: 1, seconds: 2, overload_seconds: 5 }
    } else {
        Plan { rounds: 5, seconds: 10, overload_seconds: 60 }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let sinks = Sinks::start().await?;
        let part = |flag: &str| asked(flag) || !["--compare", "--tls", "--overload", "--size"].into_iter().any(asked);
        if part("--compare") {
            let loads = if asked("--saturation") { &[SATURATION] } else { LOADS.as_slice() };
            compare(&sinks, [Kind::Floor, Kind::Relay], loads, &plan).await?;
        }
        if part("--tls") {
            compare(&sinks, [Kind::Relay, Kind::Secure], &TLS_LOADS, &plan).await?;
        }
        if part("--size") {
            size::measure(&sinks, &plan).await?;
        }
        if part("--overload") {
            overload::measure(&sinks, &plan).await?;
        }
        Ok(())
    })
}

/// How much is done.
struct Plan {
    rounds: u32,
    /// Of each load in a round.
    seconds: u64,
    overload_seconds: u64,
}

/// Enough to keep two processors busy.
const CONNECTIONS: usize = 64;
const SATURATION: Load = Load::Saturation { connections: CONNECTIONS };
const LOADS: [Load; 5] = [DISK_LOAD, pace(1000), pace(2000), pace(4000), SATURATION];
/// At which the disk is asked, too.
const DISK_LOAD: Load = pace(DISK_RATE);
const DISK_RATE: u32 = 500;
const TLS_LOADS: [Load; 2] = [pace(500), SATURATION];

const fn pace(rate: u32) -> Load {
    Load::Pace { rate, connections: CONNECTIONS }
}

/// What one load of one round came to.
struct Round {
    kind: Kind,
    load: Load,
    measured: Measured,
    /// Arrivals at the sinks a second, while it was sent.
    arrived: f64,
    /// Seconds of processor for a thousand conversions, until all had arrived.
    processor: f64,
    /// Deliveries that had not arrived when sending ended, and the seconds that they took.
    behind: f64,
    drained: f64,
    memory: f64,
}

/// The one and the other, in turn.
async fn compare(sinks: &Sinks, kinds: [Kind; 2], loads: &[Load], plan: &Plan) -> Result<(), Failed> {
    let mut rounds = Vec::new();
    let mut starts = Vec::new();
    let mut disk = Vec::new();
    for _ in 0..plan.rounds {
        for kind in kinds {
            let mut server = Server::start(kind, sinks).await?;
            starts.push((kind, server.start_seconds, process::mebibytes(server.memory("VmRSS")?)));
            for load in loads {
                rounds.push(round(&server, sinks, *load, Duration::from_secs(plan.seconds)).await?);
            }
            if kind == Kind::Floor && loads.contains(&DISK_LOAD) {
                let asked = Disk::ask(DISK_RATE)?;
                round(&server, sinks, DISK_LOAD, Duration::from_secs(plan.seconds)).await?;
                disk.push(asked.end()?);
            }
            server.stop().await?;
        }
    }
    report(&rounds, &starts, kinds, loads, plan);
    if !disk.is_empty() {
        report_disk(&rounds, &disk);
    }
    Ok(())
}

async fn round(server: &Server, sinks: &Sinks, load: Load, time: Duration) -> Result<Round, Failed> {
    sinks.forget();
    let processor = server.processor_seconds()?;
    let mut measured = load::run(server, sinks, load, time).await?;
    let during = f64::from(sinks.arrived());
    let accepted = f64::from(u32::try_from(measured.answered.len())?);
    let since = process::now();
    sinks.wait_for(u32::try_from(measured.answered.len())?).await?;
    let drained = since.elapsed().as_secs_f64();
    let processor = (server.processor_seconds()? - processor) / accepted * 1000.0;
    measured.arrived = sinks.times();
    let memory = process::mebibytes(server.memory("VmHWM")?);
    let arrived = during / measured.seconds;
    Ok(Round {
        kind: server.kind,
        load,
        measured,
        arrived,
        processor,
        behind: accepted * 5.0 - during,
        drained,
        memory,
    })
}

/// One figure of a round.
type Figure = &'static dyn Fn(&Round) -> f64;

fn report(rounds: &[Round], starts: &[(Kind, f64, f64)], kinds: [Kind; 2], loads: &[Load], plan: &Plan) {
    let [one, other] = kinds.map(Kind::name);
    let Plan { rounds: count, seconds, .. } = plan;
    say(&format!(
        "{count} rounds of {seconds} s, medians; {CONNECTIONS} connections; conversions of {} bytes, five destinations\n",
        load::BODY_BYTES
    ));
    for load in loads {
        let of = |kind: Kind, value: Figure| -> Vec<f64> {
            rounds.iter().filter(|round| (round.kind, round.load) == (kind, *load)).map(value).collect()
        };
        say(&format!(
            "| {} | {one} | {other} | {other} / {one} | least … most |\n| --- | --- | --- | --- | --- |",
            load.name()
        ));
        let figures: [(&str, Figure); 12] = [
            ("answered, a second", &|round| round.measured.rate()),
            ("delivered requests, a second", &|round| round.arrived),
            ("processor seconds for 1,000", &|round| round.processor),
            ("answer p50, ms", &|round| at(&round.measured.answered, 50.0)),
            ("answer p99, ms", &|round| at(&round.measured.answered, 99.0)),
            ("answer p99.9, ms", &|round| at(&round.measured.answered, 99.9)),
            ("fifth arrival p50, ms", &|round| at(&round.measured.arrived, 50.0)),
            ("fifth arrival p99, ms", &|round| at(&round.measured.arrived, 99.0)),
            ("fifth arrival p99.9, ms", &|round| at(&round.measured.arrived, 99.9)),
            ("deliveries behind at the end", &|round| round.behind),
            ("seconds until none was", &|round| round.drained),
            ("memory at most, MiB", &|round| round.memory),
        ];
        for (name, value) in figures {
            let [one, other] = kinds.map(|kind| of(kind, value));
            // Each round of the one with that of the other that came after it.
            let mut ratios: Vec<f64> = one.iter().zip(&other).map(|(one, other)| other / one).collect();
            ratios.sort_by(f64::total_cmp);
            let (least, most) = (ratios.first().copied(), ratios.last().copied());
            let (least, most) = (least.unwrap_or(f64::NAN), most.unwrap_or(f64::NAN));
            let ratio = median(ratios);
            say(&format!(
                "| {name} | {:.3} | {:.3} | {ratio:.2} | {least:.2} … {most:.2} |",
                median(one),
                median(other)
            ));
        }
        say("");
    }
    for kind in kinds {
        let of = |value: fn(&(Kind, f64, f64)) -> f64| {
            median(starts.iter().filter(|start| start.0 == kind).map(value).collect())
        };
        let (start, idle) = (of(|start| start.1 * 1e3), of(|start| start.2));
        say(&format!("{}: {start:.0} ms from start to the first answer, {idle:.1} MiB idle", kind.name()));
    }
}

/// What the disk takes by itself, and how much of that the relay's answer takes.
fn report_disk(rounds: &[Round], disk: &[Vec<f64>]) {
    let relay = rounds.iter().filter(|round| (round.kind, round.load) == (Kind::Relay, DISK_LOAD));
    let answered: Vec<f64> = relay.map(|round| at(&round.measured.answered, 99.0)).collect();
    let of_disk = |percent| -> Vec<f64> { disk.iter().map(|seconds| at(seconds, percent)).collect() };
    let mut ratios: Vec<f64> = answered.iter().zip(of_disk(99.0)).map(|(answer, disk)| answer / disk).collect();
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios.first().copied(), ratios.last().copied());
    say(&format!(
        "\nappend and `fdatasync` {}, beside the floor: p50 {:.3} ms, p99 {:.3} ms; the relay's answer p99 is {:.2} of that \
         [{:.2} … {:.2}]",
        DISK_LOAD.name(),
        median(of_disk(50.0)),
        median(of_disk(99.0)),
        median(ratios),
        least.unwrap_or(f64::NAN),
        most.unwrap_or(f64::NAN),
    ));
}

/// The so manyth percent, in milliseconds, of seconds in their order.
fn at(seconds: &[f64], percent: f64) -> f64 {
    let count = f64::from(u32::try_from(seconds.len()).unwrap_or(u32::MAX));
    let mut values = seconds.iter().skip(floor_of(count * percent / 100.0));
    values.next().map_or(f64::NAN, |seconds| seconds * 1e3)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
fn floor_of(value: f64) -> usize {
    value as usize
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::print_stdout, reason = "the figures are what a bench is for")]
fn say(line: &str) {
    println!("{line}");
}
