//! More than can be done: three times what saturates the relay, sent whatever becomes of it.
//!
//! The relay has one processor and the generator with the sinks the other, so that what is sent in vain costs the relay only
//! what it does itself.

use std::process::Command;
use std::time::Duration;

use super::load::{self, Load, Measured};
use super::process::{Kind, Server, mebibytes};
use super::sinks::Sinks;
use super::{CONNECTIONS, Failed, Plan, at, say};

/// Many more than saturate it: as of a merchant whose back ends all send at once.
const MANY: usize = 512;
const TIMES: f64 = 3.0;

pub(crate) async fn measure(sinks: &Sinks, plan: &Plan) -> Result<(), Failed> {
    let apart = std::thread::available_parallelism()?.get() > 1 && pin(std::process::id(), 1);
    let mut server = Server::start_on(Kind::Relay, sinks, apart.then_some(0)).await?;
    let saturating = Load::Saturation { connections: CONNECTIONS };
    let seconds = |share: u64| Duration::from_secs(plan.overload_seconds.div_ceil(share));
    // What comes first pays for pages, connections and caches.
    let first = run(&server, sinks, saturating, seconds(4)).await?;
    delivered(sinks, &first).await?;
    let saturated = run(&server, sinks, saturating, seconds(2)).await?;
    delivered(sinks, &saturated).await?;
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate of thousands"
    )]
    let rate = (saturated.measured.rate() * TIMES) as u32;
    let overloading = Load::Pace { rate, connections: MANY };
    let overloaded = run(&server, sinks, overloading, seconds(1)).await?;
    server.stop().await?;
    say(&format!(
        "overload: {MANY} connections, {rate} a second for {} s, processors {}\n",
        plan.overload_seconds,
        if apart { "apart" } else { "shared" }
    ));
    report(&saturated, &overloaded);
    Ok(())
}

/// What one load came to.
struct Loaded {
    measured: Measured,
    /// Requests at the sinks a second, while it was sent.
    arrived: f64,
    /// Of the server, a second.
    processor: f64,
    /// At most, in MiB.
    memory: f64,
}

async fn run(server: &Server, sinks: &Sinks, load: Load, time: Duration) -> Result<Loaded, Failed> {
    sinks.forget();
    server.forget_most_memory()?;
    let processor = server.processor_seconds()?;
    let measured = load::run(server, sinks, load, time).await?;
    let arrived = f64::from(sinks.arrived()) / measured.seconds;
    let processor = (server.processor_seconds()? - processor) / measured.seconds;
    let memory = mebibytes(server.memory("VmHWM")?);
    Ok(Loaded { measured, arrived, processor, memory })
}

/// Waits until nothing is left of a load: the next one begins with nothing to do.
async fn delivered(sinks: &Sinks, loaded: &Loaded) -> Result<(), Failed> {
    sinks.wait_for(u32::try_from(loaded.measured.answered.len())?).await
}

fn report(saturated: &Loaded, overloaded: &Loaded) {
    say("| | at saturation | overloaded | ratio |\n| --- | --- | --- | --- |");
    let row = |name: &str, of: &dyn Fn(&Loaded) -> f64, digits: usize| {
        let (before, after) = (of(saturated), of(overloaded));
        say(&format!("| {name} | {before:.digits$} | {after:.digits$} | {:.2} |", after / before));
    };
    row("accepted, a second", &|loaded| loaded.measured.rate(), 0);
    for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
        row(&format!("accepted within, {name}, ms"), &|loaded| at(&loaded.measured.served, percent), 1);
    }
    row("refused, a second", &|loaded| loaded.measured.refusal_rate(), 0);
    for (name, percent) in [("p50", 50.0), ("p99", 99.0)] {
        row(&format!("refused within, {name}, ms"), &|loaded| at(&loaded.measured.refused, percent), 1);
    }
    row("delivered requests, a second", &|loaded| loaded.arrived, 0);
    row("processors in use", &|loaded| loaded.processor, 2);
    row("memory at most, MiB", &|loaded| loaded.memory, 1);
}

/// Keeps a process on one processor; whether that could be done.
fn pin(process: u32, processor: u32) -> bool {
    let pinned = Command::new("taskset").args(["-apc", &processor.to_string(), &process.to_string()]).output();
    pinned.is_ok_and(|output| output.status.success())
}
