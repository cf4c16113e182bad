//! What is shown of one destination to whoever looks closer: breaker, refused credentials, rates, latencies, errors.

use tokio::time::Instant;

use super::board::{Closeup, RefusedOwn};
use super::credentials::Credentials;
use super::gate::{Cause, GateView};
use super::pool::Pool;
use super::{Latency, PoolState, Rates, Trouble, state};
use crate::config::Rate;
use crate::queue::Depths;

/// A destination from near. Times are Unix milliseconds.
#[derive(Debug, Clone)]
pub struct PoolDetail {
    /// From afar.
    pub state: PoolState,
    /// The most attempts that may ever be in flight.
    pub concurrency_max: usize,
    /// The most requests, if that is limited.
    pub quota: Option<Rate>,
    /// Whether requests are let through.
    pub breaker: Breaker,
    /// Credentials that the platform refuses.
    pub refused: Vec<RefusedCredential>,
    /// Of the last minute.
    pub rates: Rates,
    /// Of the last five minutes; `None`: there was no attempt.
    pub latency: Option<Latency>,
    /// Newest first, at most ten.
    pub errors: Vec<Trouble>,
}

/// Whether requests are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// All, none, or one.
    pub state: BreakerState,
    /// Why not all.
    pub cause: Option<BreakerCause>,
    /// Failures in a row, while all are.
    pub failures: u32,
    /// When one goes to try.
    pub next_probe_ms: Option<u64>,
    /// The platform asked that nothing is sent before.
    pub held_back_until_ms: Option<u64>,
}

/// What is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing before the next probe.
    Open,
    /// A probe is under way.
    HalfOpen,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [BreakerState; 3] = [BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen];

    /// As the admin API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half_open",
        }
    }
}

/// Why the breaker is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerCause {
    /// Too many failures in a row.
    Failures,
    /// The credential was refused.
    Credential,
}

impl BreakerCause {
    /// Every cause.
    pub const ALL: [BreakerCause; 2] = [BreakerCause::Failures, BreakerCause::Credential];

    /// As the admin API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            BreakerCause::Failures => "failures",
            BreakerCause::Credential => "credential",
        }
    }
}

/// A credential that the platform refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCredential {
    /// The operations that use it.
    pub operations: Vec<String>,
    /// What was answered.
    pub reason: String,
    /// When it is tried next; `None`: it is being tried.
    pub next_probe_ms: Option<u64>,
}

impl Pool {
    pub(super) fn detail(&self, depths: &Depths) -> PoolDetail {
        let (now, now_ms) = (Instant::now(), self.clock.unix_ms());
        let at_ms = |at: Instant| {
            let wait = at.saturating_duration_since(now);
            now_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
        };
        let Closeup { breaker, refused, rates, latency, errors } = self.board.closeup(now);
        let own = refused.into_iter().map(|RefusedOwn { operations, reason, probe_at }| RefusedCredential {
            operations: operations.split(", ").map(str::to_owned).collect(),
            reason,
            next_probe_ms: probe_at.map(at_ms),
        });
        let held_back_until_ms = self.wait.until().filter(|until| *until > now).map(at_ms);
        PoolDetail {
            state: state(self, depths),
            concurrency_max: self.destination.limits.concurrency.get(),
            quota: self.destination.limits.rate,
            refused: self.refused_of_all(&breaker, at_ms).into_iter().chain(own).collect(),
            breaker: Breaker { held_back_until_ms, ..Breaker::new(breaker, at_ms) },
            rates,
            latency,
            errors,
        }
    }

    /// The destination's own credential, if it is refused: of every operation that has none of its own.
    fn refused_of_all(&self, breaker: &GateView, at_ms: impl Fn(Instant) -> u64) -> Option<RefusedCredential> {
        let reason = self.board.suspension().filter(|_| breaker.cause == Some(Cause::Suspended))?;
        let (next_probe_ms, operations) = (breaker.probe_at.map(at_ms), &self.destination.operations);
        let operations = Credentials::new(operations).of_the_destination(operations);
        Some(RefusedCredential { operations, reason, next_probe_ms })
    }
}

impl Breaker {
    fn new(view: GateView, at_ms: impl Fn(Instant) -> u64) -> Breaker {
        let GateView { failures, cause, probing, probe_at } = view;
        let state = match (cause, probing) {
            (None, _) => BreakerState::Closed,
            (Some(_), true) => BreakerState::HalfOpen,
            (Some(_), false) => BreakerState::Open,
        };
        let cause = cause.map(|cause| match cause {
            Cause::Open => BreakerCause::Failures,
            Cause::Suspended => BreakerCause::Credential,
        });
        Breaker { state, cause, failures, next_probe_ms: probe_at.map(at_ms), held_back_until_ms: None }
    }
}
