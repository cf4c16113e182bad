//! What sick destinations cost the others: a real queue on a real disk, real pools, platforms on 127.0.0.1.
//!
//! Three destinations take everything. **alone**: there are no others. **backlog**: beside them one swallows requests and one
//! answers 503, so many deliveries waiting behind each. **all five**: and what is sent is owed to those two as well, which is
//! work that the queue would not have otherwise. Of each: conversions a second that have arrived at all three, with so many
//! in flight; and from handing in a conversion to its arrival at the last of the three, at a steady pace and in flight.
//!
//! The three are taken in turn in one process, so that whatever else the machine does falls on all alike.
//!
//! `cargo bench --bench delivery` takes a few minutes; `-- --quick` half a minute, and its figures say little.

/// As the relay itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod platforms;
mod relay;

use std::path::Path;
use std::time::Duration;

use platforms::Platforms;
use relay::{Kind, Relay};

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // `cargo test --benches` runs what it builds, and nothing is timed there.
    if !asked("--bench") && !asked("--quick") {
        return Ok(());
    }
    let plan = if asked("--quick") {
        Plan { backlog: 5_000, rounds: 1, seconds: 2 }
    } else {
        Plan { backlog: 100_000, rounds: 5, seconds: 8 }
    };
    let folder = tempfile::Builder::new().prefix("delivery").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(compare(folder.path(), &plan))
}

/// How much is done.
struct Plan {
    /// Deliveries behind each sick destination.
    backlog: u32,
    /// Of each kind, in turn.
    rounds: u32,
    /// Of each load in a round.
    seconds: u64,
}

/// How conversions are handed in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// So many at a time, each followed by the next as soon as it has arrived.
    InFlight(u32),
    /// So many a second, whatever becomes of them.
    Pace(u32),
}

const LOADS: [Load; 3] = [Load::Pace(200), Load::Pace(500), Load::InFlight(64)];

async fn compare(folder: &Path, plan: &Plan) -> Result<(), Failed> {
    let platforms = Platforms::start().await?;
    for kind in [Kind::Backlog, Kind::AllFive] {
        let relay = Relay::open(&folder.join(kind.name()), kind, &platforms)?;
        relay.fill(plan.backlog).await?;
        relay.close().await?;
    }
    // Of each load and kind, what each round came to.
    let mut rounds: Vec<(Load, Kind, Round)> = Vec::new();
    let mut backlogs = Vec::new();
    for _ in 0..plan.rounds {
        for kind in Kind::ALL {
            let relay = Relay::open(&folder.join(kind.name()), kind, &platforms)?;
            let running = relay.run();
            // What the sick ones do at first (ten failures, one after the other, then the breaker) is part of it.
            for load in LOADS {
                let seconds = Duration::from_secs(plan.seconds);
                rounds.push((load, kind, relay.measure(load, seconds).await?));
            }
            if kind != Kind::Alone {
                backlogs.push(format!("{}: {}", kind.name(), relay.backlog(plan.backlog)?));
            }
            running.stop().await?;
            relay.close().await?;
        }
    }
    report(&rounds, plan);
    say(&format!("pending at the end of each round: {}", backlogs.join("; ")));
    Ok(())
}

/// What one load came to.
struct Round {
    /// Arrived at all three, a second.
    rate: f64,
    /// Seconds from handing in to the last arrival.
    median: f64,
    p99: f64,
}

impl Round {
    fn of(mut latencies: Vec<f64>, seconds: f64) -> Round {
        latencies.sort_by(f64::total_cmp);
        let count = u32::try_from(latencies.len()).map_or(f64::NAN, f64::from);
        let at = |percent: usize| {
            let place = latencies.len().saturating_mul(percent).div_euclid(100);
            latencies.get(place).copied().unwrap_or(f64::NAN)
        };
        Round { rate: count / seconds, median: at(50), p99: at(99) }
    }
}

fn report(rounds: &[(Load, Kind, Round)], plan: &Plan) {
    say(&format!("{} behind each of two sick destinations; {} rounds, medians", plan.backlog, plan.rounds));
    say("load            kind        arrived/s   of alone   median ms   p99 ms   of alone");
    for load in LOADS {
        let of = |kind: Kind, value: fn(&Round) -> f64| {
            let own = rounds.iter().filter(|(its_load, its_kind, _)| (*its_load, *its_kind) == (load, kind));
            let mut values: Vec<f64> = own.map(|(.., round)| value(round)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let name = match load {
            Load::Pace(rate) => format!("{rate} a second"),
            Load::InFlight(count) => format!("{count} in flight"),
        };
        for kind in Kind::ALL {
            let (rate, p99) = (of(kind, |round| round.rate), of(kind, |round| round.p99));
            let (rate_alone, p99_alone) = (of(Kind::Alone, |round| round.rate), of(Kind::Alone, |round| round.p99));
            say(&format!(
                "{name:<15} {:<10} {rate:>10.0} {:>10.2} {:>11.2} {:>8.2} {:>10.2}",
                kind.name(),
                rate / rate_alone,
                of(kind, |round| round.median) * 1e3,
                p99 * 1e3,
                p99 / p99_alone,
            ));
        }
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what a bench is for")]
fn say(line: &str) {
    println!("{line}");
}
