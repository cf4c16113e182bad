//! What a backlog costs: the others' throughput, memory, disk, start-up.
//!
//! A backlog is fresh: nobody has asked for any of it; or all of it has been attempted once, and waits for its time. It is
//! owed to one destination, or by fifths to five.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use capi_relay::conversion::DestinationName;
use capi_relay::queue::{Clock, Outcome, Queue, Settings};
use serde::{Deserialize, Serialize};

use super::load::{Served, accept, attempt, in_flight, median, names, settings, submission};
use super::{Failed, machine, say, say_aside};

/// First argument of the process that fills a folder and serves the others …
pub(crate) const FILL: &str = "--fill";
/// … and of the one that opens it again.
pub(crate) const OPEN: &str = "--open";

/// What the first says.
#[derive(Serialize, Deserialize)]
struct Filled {
    fill_seconds: f64,
    /// While the others are served, in the middle, and at most so far.
    memory_bytes: u64,
    memory_bytes_max: u64,
    /// Conversions a second, accepted and delivered to four: with an empty queue and with this one.
    rounds: Vec<(f64, f64)>,
}

/// What the second says.
#[derive(Serialize, Deserialize)]
struct Opened {
    seconds: f64,
    memory_bytes: u64,
    pending: u64,
    /// What is owed.
    live_bytes: u64,
    /// Of store and backlog, as they were found and after they were compacted.
    disk_bytes: (u64, u64),
}

pub(crate) fn compare(folder: &Path, sizes: &[u32], sort: &str, quick: bool) -> Result<(), Failed> {
    let round = if quick { ROUND / 20 } else { ROUND };
    say(&format!("\nbacklog, {sort}: medians of {ROUNDS} rounds of {round}, {CALLERS} in flight, [worst … best]"));
    say(
        "    queued   fill/s    empty/s backlogged/s  ratio (≥ 0.8)        RSS, of first, most MiB (≤ 150)   B/queued disk/live, compacted (≤ 2)   open s (≤ 1 at 10^6)  RSS MiB",
    );
    let mut first = None;
    let most = sizes.iter().copied().max().unwrap_or(0);
    for size in sizes {
        let folder = folder.join(size.to_string());
        std::fs::create_dir_all(&folder)?;
        let delivered = most.saturating_sub(*size);
        let numbers = [*size, delivered, round].map(|number| number.to_string());
        let mut filling = child(FILL, &folder, &[numbers.as_slice(), &[sort.to_owned()]].concat())?;
        let filled: Filled = serde_json::from_str(&line_of(&mut filling)?)?;
        // It goes on accepting and delivering until this.
        std::thread::sleep(Duration::from_secs(1));
        filling.kill()?;
        filling.wait()?;
        let mut opening = child(OPEN, &folder, &[])?;
        let opened: Opened = serde_json::from_str(&line_of(&mut opening)?)?;
        opening.wait()?;
        if opened.pending < u64::from(*size) {
            return Err(format!("{} of {size} are left", opened.pending).into());
        }
        let first = *first.get_or_insert(filled.memory_bytes);
        say(&line(*size, first, &filled, &opened));
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

/// Fills a folder, measures, says so, and serves on until it is killed.
pub(crate) async fn fill(folder: &Path, arguments: &[String]) -> Result<(), Failed> {
    let [size, delivered, round, sort] = arguments else {
        return Err("how many, how many delivered before, how many a round, and how do they stand?".into());
    };
    let (size, delivered, round): (u32, u32, u32) = (size.parse()?, delivered.parse()?, round.parse()?);
    let (dead, four) = (names(owed(sort))?, names(&ALIVE)?);
    let path = folder.join("backlogged");
    let backlogged = Served::start(Queue::open(destined(&path)?, Clock::system())?, &four);
    let each = u32::try_from(dead.len())?;
    // What was accepted within the deduplication window takes memory whether it waits or not: so many in every process.
    accept_all(&backlogged, 256, delivered.div_ceil(each), &four).await?;
    backlogged.idle(true).await?;
    let fill_seconds = accept_all(&backlogged, 256, size.div_ceil(each), &dead).await?;
    if sort == WAITING {
        put_off(&backlogged.queue, size, &dead).await?;
    }
    backlogged.idle(true).await?;
    // Before there is a second queue in this process.
    let memory_bytes = steady_memory(&backlogged, round, &four).await?;
    let memory_bytes_max = machine::memory("VmHWM")?;
    let empty = Served::start(Queue::open(destined(&folder.join("empty"))?, Clock::system())?, &four);
    served(&empty, round, &four).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push((served(&empty, round, &four).await?, served(&backlogged, round, &four).await?));
    }
    empty.end().await;
    let filled = Filled { fill_seconds, memory_bytes, memory_bytes_max, rounds };
    say(&serde_json::to_string(&filled)?);
    loop {
        served(&backlogged, round, &four).await?;
    }
}

/// Seconds until so many are accepted.
async fn accept_all(to: &Served, callers: u32, count: u32, owed: &[DestinationName]) -> Result<f64, Failed> {
    let (queue, owed) = (to.queue.clone(), owed.to_vec());
    // Made one by one: ready-made they would count as the queue's memory.
    let round = in_flight(callers, 0..count, move |_| {
        let (queue, submission) = (queue.clone(), submission(&owed));
        async move { accept(queue, submission?).await }
    });
    Ok(round.await?.seconds)
}

/// Attempts each once, and has it wait for a year.
async fn put_off(queue: &Queue, count: u32, owed: &[DestinationName]) -> Result<(), Failed> {
    let (queue, name) = (queue.clone(), owed.first().ok_or("nobody is owed anything")?.clone());
    let due_ms = Clock::system().unix_ms().saturating_add(365 * 86_400_000);
    let round = in_flight(CALLERS, 0..count, move |_| {
        let (queue, name) = (queue.clone(), name.clone());
        async move {
            let delivery = queue.next(&name).await;
            queue.settle(&delivery, Outcome::Retry { due_ms, spent: true }, Some(attempt()));
            Ok(())
        }
    });
    say_aside(&format!("{:.0} put off a second", f64::from(count) / round.await?.seconds));
    Ok(())
}

/// Bytes, in the middle of what is found again and again while the others are served.
async fn steady_memory(queue: &Served, round: u32, four: &[DestinationName]) -> Result<u64, Failed> {
    let sampling = tokio::spawn(async {
        let mut samples = Vec::new();
        for _ in 0..MEMORY_SAMPLES {
            tokio::time::sleep(BETWEEN_SAMPLES).await;
            samples.push(machine::memory("VmRSS").map_err(|error| error.to_string())?);
        }
        samples.sort_unstable();
        samples.get(samples.len() / 2).copied().ok_or_else(|| "no sample".to_owned())
    });
    while !sampling.is_finished() {
        served(queue, round, four).await?;
    }
    Ok(sampling.await??)
}

/// Conversions a second, accepted and delivered; nothing of them is left in the window.
async fn served(queue: &Served, count: u32, four: &[DestinationName]) -> Result<f64, Failed> {
    let begun = machine::now();
    accept_all(queue, CALLERS, count, four).await?;
    queue.idle(true).await?;
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Opens a folder that was left, and says how long that took.
pub(crate) fn open(folder: &Path) -> Result<(), Failed> {
    let path = folder.join("backlogged");
    let begun = machine::now();
    let queue = Queue::open(destined(&path)?, Clock::system())?;
    let seconds = begun.elapsed().as_secs_f64();
    let memory_bytes = machine::memory("VmRSS")?;
    let depths = queue.depths();
    let dead = depths.destinations.iter().filter(|(name, _)| DEAD.contains(&name.as_str()));
    let (pending, live_bytes) = (dead.map(|(_, depth)| depth.pending).sum(), depths.pending_bytes);
    drop(queue);
    let found_bytes = disk_bytes(&path)?;
    Queue::compact(&destined(&path)?)?;
    let disk_bytes = (found_bytes, disk_bytes(&path)?);
    say(&serde_json::to_string(&Opened { seconds, memory_bytes, pending, live_bytes, disk_bytes })?);
    Ok(())
}

fn destined(path: &Path) -> Result<Settings, Failed> {
    let all = [DEAD.as_slice(), ALIVE.as_slice()].concat();
    Ok(Settings { destinations: names(&all)?, ..settings(path)? })
}

/// To whom a conversion of the backlog is owed.
fn owed(sort: &str) -> &'static [&'static str] {
    let count = if sort == OF_FIVE { DEAD.len() } else { 1 };
    DEAD.get(..count).unwrap_or_default()
}

/// Of store and backlog.
fn disk_bytes(path: &Path) -> Result<u64, Failed> {
    let mut bytes = 0_u64;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("store.") || name == "backlog" {
            bytes = bytes.saturating_add(machine::disk_bytes(&entry.path())?);
        }
    }
    Ok(bytes)
}

/// This program again.
fn child(part: &str, folder: &Path, arguments: &[String]) -> Result<Child, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(part).arg(folder).args(arguments).stdout(Stdio::piped());
    Ok(command.spawn()?)
}

/// The one line that it says.
fn line_of(child: &mut Child) -> Result<String, Failed> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output to read")?).read_line(&mut line)?;
    Ok(line)
}

fn line(size: u32, first_memory: u64, filled: &Filled, opened: &Opened) -> String {
    let ratios = || filled.rounds.iter().map(|(empty, backlogged)| backlogged / empty);
    let queued = f64::from(size);
    let live = precise(opened.live_bytes);
    let (found, compacted) = opened.disk_bytes;
    let (found, compacted) = (precise(found), precise(compacted));
    format!(
        "{size:10} {:8.0} {:10.0} {:12.0}   {:.2} [{:.2} … {:.2}]  {:9.0} {:9.2} {:5.0} {:21.0} {:9.2} {:9.2} {:19.2} {:22.0}",
        queued / filled.fill_seconds,
        median(filled.rounds.iter().map(|(empty, _)| *empty)),
        median(filled.rounds.iter().map(|(_, backlogged)| *backlogged)),
        median(ratios()),
        ratios().fold(f64::INFINITY, f64::min),
        ratios().fold(0.0, f64::max),
        mebibytes(filled.memory_bytes),
        precise(filled.memory_bytes) / precise(first_memory),
        mebibytes(filled.memory_bytes_max),
        found / queued,
        found / live,
        compacted / live,
        opened.seconds,
        mebibytes(opened.memory_bytes),
    )
}

fn mebibytes(bytes: u64) -> f64 {
    precise(bytes) / f64::from(1 << 20)
}

/// Exact up to four tebibytes, in kibibytes.
fn precise(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) * 1024.0
}

/// How a backlog stands: nobody has asked for it …
pub(crate) const FRESH: &str = "fresh";
/// … or each was attempted once.
pub(crate) const WAITING: &str = "attempted once";
/// … or nobody has asked, and each conversion is five deliveries.
pub(crate) const OF_FIVE: &str = "fresh, of five destinations";
/// Nobody asks for their deliveries …
const DEAD: [&str; 5] = ["thrad", "thrad-2", "thrad-3", "thrad-4", "thrad-5"];
/// … and somebody for theirs.
const ALIVE: [&str; 4] = ["impact", "scaleo", "trackdesk", "dsp"];
/// Rounds of each, in turn.
const ROUNDS: u32 = 5;
/// Conversions of a round: more than the window holds.
const ROUND: u32 = 10_000;
/// What is taken for memory varies by half from one second to the next: what is free is not given back at once.
const MEMORY_SAMPLES: usize = 600;
const BETWEEN_SAMPLES: Duration = Duration::from_millis(50);
/// In flight while the others are served.
const CALLERS: u32 = 64;
