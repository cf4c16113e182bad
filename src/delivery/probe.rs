//! A probe that a person asked for: one attempt now, whatever breaker, suspension or a requested wait say. Only the rate and a
//! pause stand above it. It is an ordinary attempt for the delivery, counted, judged and recorded as one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::board::Orders;
use super::gate::Pass;
use super::pool::Pool;
use super::run::{Desk, Step};
use super::{PoolDetail, Pools};
use crate::conversion::ConversionId;
use crate::queue::Attempt;

/// A probe and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The conversion that was sent.
    pub id: ConversionId,
    /// How that ended.
    pub attempt: Attempt,
}

/// Why no probe was sent, or nothing is known of its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProbe {
    /// A person stopped the destination.
    #[error("the destination is paused ({0}): resume it first")]
    Paused(String),
    /// It has too many dead letters.
    #[error("{0}")]
    Stopped(String),
    /// One at a time.
    #[error("a probe is under way")]
    UnderWay,
    /// There is no delivery that may be attempted now.
    #[error("there is nothing to probe with: no delivery is due now")]
    NothingDue,
    /// The rate lets none through for now.
    #[error("the rate of the destination lets no request through just now")]
    Limited,
    /// The attempt ended without an answer, or the destination changed meanwhile.
    #[error("the probe ended without an answer: the destination was reloaded, or the relay is stopping")]
    Ended,
    /// It is still under way.
    #[error("the probe is under way, and has not ended within {} s: its end will be among the last errors, or the state changes", .0.as_secs())]
    Late(Duration),
}

impl Pools {
    /// Sends one attempt now. `None`: there is no such destination. Waits for its end, at most [`PROBE_TIMEOUT`]; dropped
    /// before, the attempt goes on.
    pub async fn probe(&self, destination: &str) -> Option<Result<(Probed, PoolDetail), NoProbe>> {
        let pool = self.pool(destination)?;
        let stopped =
            self.0.queue.depths().destinations.get(&pool.destination.name).and_then(|depth| depth.stopped.clone());
        let probed = match stopped {
            // Of a paused one that is said first.
            Some(why) if !pool.board.is_paused() => Err(NoProbe::Stopped(why)),
            Some(_) | None => wished(&pool).await,
        };
        Some(probed.map(|probed| (probed, pool.detail(&self.0.queue.depths()))))
    }
}

async fn wished(pool: &Arc<Pool>) -> Result<Probed, NoProbe> {
    let outcome = pool.board.wish()?;
    // Its loop takes no more orders.
    if pool.retired.is_cancelled() {
        pool.board.refuse_unbegun_wish();
    }
    match tokio::time::timeout(PROBE_TIMEOUT, outcome).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_dropped)) => Err(NoProbe::Ended),
        Err(_elapsed) => Err(NoProbe::Late(PROBE_TIMEOUT)),
    }
}

impl Pool {
    /// Acts on what a person ordered; says what the loop may do next.
    pub(super) fn obey(&self, desk: &mut Desk, orders: Orders) -> Step {
        let now = Instant::now();
        if orders.probe {
            desk.gate.probe_now(now);
            desk.credentials.probe_now(now);
            self.show_numbers(desk);
        }
        if orders.wish {
            desk.credentials.probe_now(now);
            desk.wish_until = now.checked_add(DUE_WITHIN);
        }
        if orders.paused {
            desk.concurrency.begin_anew();
        }
        match desk.wish_until {
            Some(_) if orders.paused => {
                desk.wish_until = None;
                self.board.refuse_wish(NoProbe::Paused("since just now".to_owned()));
                Step::Wait
            }
            Some(until) if until <= now => {
                desk.wish_until = None;
                let limited = desk.limiter.ready(now).is_err();
                self.board.refuse_wish(if limited { NoProbe::Limited } else { NoProbe::NothingDue });
                desk.step()
            }
            Some(until) => desk.wished_step(now, until),
            None if orders.paused => Step::Wait,
            None => desk.step(),
        }
    }
}

impl Desk {
    /// The gate and the attempts in flight have no say.
    fn wished_step(&self, now: Instant, until: Instant) -> Step {
        let pass = if self.gate.barred().is_some() { Pass::Probe } else { Pass::Ordinary };
        match self.limiter.ready(now) {
            Ok(()) => Step::Wished(pass, until),
            Err(at) => Step::Limited(at.min(until)),
        }
    }
}

/// Deliveries on disk are read back in milliseconds; what is not due then is not due.
const DUE_WITHIN: Duration = Duration::from_secs(1);
/// Twice the default timeout of a request.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
