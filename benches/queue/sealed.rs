//! What encryption at rest costs: the same work, once as it is and once sealed.

use std::path::Path;
use std::sync::Arc;

use capi_relay::conversion::DestinationName;
use capi_relay::queue::{Clock, Encryption, MasterKey, Queue, Settings};

use super::accept::{Figures, ROUNDS, WARM, queue_round};
use super::load::{FIVE, Served, median, names, settings};
use super::{Failed, say};

/// In flight, and conversions of a round.
const LOADS: [(u32, u32); 4] = [(1, 2_000), (16, 10_000), (64, 20_000), (256, 20_000)];

pub(crate) async fn compare(folder: &Path, quick: bool) -> Result<(), Failed> {
    let destinations: Arc<[DestinationName]> = names(&FIVE)?.into();
    let served =
        |settings: Settings| Ok::<_, Failed>(Served::start(Queue::open(settings, Clock::system())?, &destinations));
    let plain = served(settings(&folder.join("plain"))?)?;
    let encryption = Some(Encryption { key: MasterKey::new(rand::random()), old_keys: Vec::new() });
    let sealed = served(Settings { encryption, ..settings(&folder.join("sealed"))? })?;
    let less = |count: u32| if quick { count.div_ceil(20) } else { count };
    for queue in [&plain, &sealed] {
        queue_round(queue, 256, less(WARM), &destinations).await?;
    }
    say(&format!("\nencrypted, sustained: medians of {ROUNDS} rounds, [worst … best]"));
    say(HEAD);
    for (callers, count) in LOADS {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let open = queue_round(&plain, callers, less(count), &destinations).await?;
            rounds.push((open, queue_round(&sealed, callers, less(count), &destinations).await?));
        }
        say(&format!("{callers:9} {}", line(&rounds)));
    }
    plain.end().await;
    sealed.end().await;
    Ok(())
}

const HEAD: &str =
    "in flight   plain/s  sealed/s   ratio                 p50 ms: plain, sealed   CPU µs: plain, sealed";

fn line(rounds: &[(Figures, Figures)]) -> String {
    let plain = |of: fn(&Figures) -> f64| median(rounds.iter().map(|(plain, _)| of(plain)));
    let sealed = |of: fn(&Figures) -> f64| median(rounds.iter().map(|(_, sealed)| of(sealed)));
    let ratios = || rounds.iter().map(|(plain, sealed)| sealed.per_second / plain.per_second);
    format!(
        "{:9.0} {:9.0}   {:.2} [{:.2} … {:.2}]   {:14.2} {:7.2}   {:14.0} {:7.0}",
        plain(|figures| figures.per_second),
        sealed(|figures| figures.per_second),
        median(ratios()),
        ratios().fold(f64::INFINITY, f64::min),
        ratios().fold(0.0, f64::max),
        plain(|figures| figures.p50_ms),
        sealed(|figures| figures.p50_ms),
        plain(|figures| figures.processor_us),
        sealed(|figures| figures.processor_us),
    )
}
