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
    let time = Duration::from_secs(plan.overload_seconds);
    // What comes first pays for pages, connections and caches.
    run(&server, sinks, saturating, Duration::from_secs(plan.overload_seconds.div_ceil(4))).await?;
    let saturated = run(&server, sinks, saturating, Duration::from_secs(plan.overload_seconds.div_ceil(2))).await?;
    let memory = mebibytes(server.memory("VmRSS")?);
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate of thousands"
    )]
    let rate = (saturated.rate() * TIMES) as u32;
    let overloaded = run(&server, sinks, Load::Pace { rate, connections: MANY }, time).await?;
    let memory_after = mebibytes(server.memory("VmHWM")?);
    let sent = overloaded.rate() + f64::from(overloaded.refused) / overloaded.seconds;
    say(&format!(
        "overload: {} connections, {rate} a second for {} s, processors {}\n",
        MANY,
        plan.overload_seconds,
        if apart { "apart" } else { "shared" }
    ));
    say("| | at saturation | overloaded | ratio |\n| --- | --- | --- | --- |");
    say(&format!(
        "| accepted, a second | {:.0} | {:.0} | {:.2} |",
        saturated.rate(),
        overloaded.rate(),
        overloaded.rate() / saturated.rate()
    ));
    say(&format!("| answered, a second | {:.0} | {sent:.0} | |", saturated.rate()));
    for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
        let of = |measured: &Measured| at(&measured.served, percent);
        say(&format!(
            "| accepted within, {name}, ms | {:.1} | {:.1} | {:.2} |",
            of(&saturated),
            of(&overloaded),
            of(&overloaded) / of(&saturated)
        ));
    }
    say(&format!("| memory, MiB | {memory:.1} | {memory_after:.1} | {:.2} |", memory_after / memory));
    server.stop().await
}

async fn run(server: &Server, sinks: &Sinks, load: Load, time: Duration) -> Result<Measured, Failed> {
    sinks.forget();
    let measured = load::run(server, sinks, load, time).await?;
    sinks.wait_for(u32::try_from(measured.answered.len())?).await?;
    Ok(measured)
}

/// Keeps a process on one processor; whether that could be done.
fn pin(process: u32, processor: u32) -> bool {
    let pinned = Command::new("taskset").args(["-apc", &processor.to_string(), &process.to_string()]).output();
    pinned.is_ok_and(|output| output.status.success())
}
