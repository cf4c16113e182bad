//! `check --online`: each destination's hosts, connected to as deliveries would.

use tokio::task::JoinSet;

use super::super::output;
use crate::config::Config;
use crate::delivery::{Line, Reached, online};
use crate::queue::Clock;

/// Connects to all at once, prints what was seen in the configuration's order, and says whether all were reached.
pub(super) fn reach(config: &Config) -> bool {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("cannot start: {error}"));
            return false;
        }
    };
    let mut seen: Vec<(usize, Vec<Reached>)> = runtime.block_on(async {
        let mut destinations: JoinSet<_> = JoinSet::new();
        for (place, destination) in config.destinations.iter().cloned().enumerate() {
            destinations.spawn(async move { (place, online(&destination).await) });
        }
        destinations.join_all().await
    });
    seen.sort_by_key(|(place, _)| *place);
    let now_s = Clock::system().now().as_second();
    let mut are_reached = true;
    for (destination, (_, reached)) in config.destinations.iter().zip(seen) {
        for Reached { origin, outcome, took } in reached {
            are_reached &= outcome.is_ok();
            let said = outcome.map_or_else(|why| why, |line| described(&line, now_s));
            output::line(&format!("online      {}: {origin}: {said} ({} ms)", destination.name, took.as_millis()));
        }
    }
    are_reached
}

fn described(Line { peer, negotiated, valid_until }: &Line, now_s: i64) -> String {
    let tls = negotiated.tls.map_or("no TLS", |tls| tls.as_str());
    let certificate = valid_until.map(|until_s| {
        let days = until_s.saturating_sub(now_s).div_euclid(DAY_SECONDS);
        format!(", its certificate is valid for {days} days more")
    });
    format!("{peer}, {tls}, {}{}", negotiated.protocol.as_str(), certificate.unwrap_or_default())
}

const DAY_SECONDS: i64 = 86_400;
