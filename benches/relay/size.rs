//! What a relay takes of a machine, for whoever chooses one: disk at rest, for a conversion that is settled and for one that
//! waits for all five destinations, and file descriptors under load. The answers of the sinks and their absence are all that
//! differs.

use std::path::Path;
use std::time::Duration;

use super::load::{self, Load};
use super::process::{Kind, Server, mebibytes};
use super::sinks::Sinks;
use super::{CONNECTIONS, Failed, Plan, say};

pub(crate) async fn measure(sinks: &Sinks, plan: &Plan) -> Result<(), Failed> {
    let time = Duration::from_secs(plan.seconds);
    let of = |sinks| Size { sinks, time };
    let settled = of(sinks).measure(true).await?;
    let waiting = of(&Sinks::absent().await?).measure(false).await?;
    say("| | settled | waiting |\n| --- | --- | --- |");
    let figures: [(&str, Figure); 5] = [
        ("conversions", &|taken| taken.conversions),
        ("disk at rest, MiB", &|taken| mebibytes(taken.rest_bytes)),
        ("disk for one, bytes", &|taken| taken.bytes_each),
        ("of that outside the journal, bytes", &|taken| taken.kept_bytes_each),
        ("file descriptors at most", &|taken| taken.descriptors),
    ];
    for (name, value) in figures {
        say(&format!("| {name} | {:.0} | {:.0} |", value(&settled), value(&waiting)));
    }
    Ok(())
}

/// One figure of what was taken.
type Figure = &'static dyn Fn(&Taken) -> f64;

/// How it is measured.
struct Size<'s> {
    sinks: &'s Sinks,
    time: Duration,
}

/// What came of it.
struct Taken {
    conversions: f64,
    rest_bytes: u64,
    bytes_each: f64,
    kept_bytes_each: f64,
    descriptors: f64,
}

impl Size<'_> {
    async fn measure(&self, are_there: bool) -> Result<Taken, Failed> {
        let mut server = Server::start(Kind::Relay, self.sinks).await?;
        self.sinks.forget();
        let rest_bytes = bytes_in(&server.data(), "")?;
        let kept_before = rest_bytes.saturating_sub(bytes_in(&server.data(), JOURNAL)?);
        let sending = load::run(&server, self.sinks, Load::Saturation { connections: CONNECTIONS }, self.time);
        let (measured, descriptors) = tokio::join!(sending, most_descriptors(&server, self.time));
        let count = u32::try_from(measured?.answered.len())?;
        if are_there {
            self.sinks.wait_for(count).await?;
        }
        // At the end everything is where it stays.
        server.stop().await?;
        let all = bytes_in(&server.data(), "")?;
        let kept = all.saturating_sub(bytes_in(&server.data(), JOURNAL)?);
        let each = |now: u64, before: u64| mebibytes(now.saturating_sub(before)) * 1024.0 * 1024.0 / f64::from(count);
        Ok(Taken {
            conversions: f64::from(count),
            rest_bytes,
            bytes_each: each(all, rest_bytes),
            kept_bytes_each: each(kept, kept_before),
            descriptors: descriptors?,
        })
    }
}

/// The most that were seen open within that time.
async fn most_descriptors(server: &Server, time: Duration) -> Result<f64, Failed> {
    let mut most = 0;
    for _ in 0..LOOKS {
        tokio::time::sleep(time.checked_div(LOOKS).unwrap_or_default()).await;
        most = most.max(server.descriptors()?);
    }
    Ok(f64::from(most))
}

/// Bytes that the files of a folder, or of one below it, take of the disk.
fn bytes_in(folder: &Path, below: &str) -> Result<u64, Failed> {
    let mut bytes = 0_u64;
    let mut folders = vec![folder.join(below)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != BALLAST {
                bytes = bytes.saturating_add(std::os::unix::fs::MetadataExt::blocks(&metadata).saturating_mul(512));
            }
        }
    }
    Ok(bytes)
}

/// Made a while after the start, whatever there is in the folder.
const BALLAST: &str = "ballast";
/// Its segments are of one size, and used again.
const JOURNAL: &str = "journal";
const LOOKS: u32 = 10;
