//! What a refused credential costs the deliveries of a destination.
//!
//! Nobody can tell a credential that is wrong from a single conversion that a platform refuses as if it were. Hence a refusal of
//! what went well before spends an attempt, so that a conversion which alone is refused is given up in its time. What a
//! probe meets spends none: it went to try the credential. Both come again after a backoff, and the one that was refused last
//! lets others be the next probe.
//!
//! Never: gives a delivery up for its time while the credential is refused. What would be is put back, or is the probe.

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{Limit, Prepared, Unsent, later_ms};
use super::backoff::backoff;
use super::credentials::Spread;
use super::gate::{Cause, PROBE_EVERY, Pass};
use super::pool::Pool;
use super::run::Desk;
use crate::conversion::ConversionId;
use crate::queue::{DeadKind, Delivery, Outcome};

/// What a pool's loop remembers of refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Whose request was refused last, until it has let others go before it.
    last: Option<ConversionId>,
    /// When those whose time is over come again.
    overdue: Spread,
}

impl Refusals {
    /// The credential was refused with a request for this conversion.
    pub(super) fn met(&mut self, id: ConversionId) {
        self.last = Some(id);
    }

    /// Whether this one was refused last and has not yet let others go before it.
    fn lets_others(&mut self, id: ConversionId) -> bool {
        self.last.take_if(|last| *last == id).is_some()
    }
}

impl Pool {
    /// A request for it was refused for our credential. The gate holds it back, and lets it go soon after that is right.
    pub(super) fn refused(&self, delivery: &Delivery, pass: Pass) -> Outcome {
        let wait = backoff(&self.destination.retry, delivery.attempt(), &mut rand::rng());
        let (wait, spent) = match pass {
            Pass::Ordinary => (wait, true),
            Pass::Probe => (wait.min(PROBE_EVERY), false),
        };
        Outcome::Retry { due_ms: later_ms(self.clock.unix_ms(), wait), spent }
    }

    /// When a delivery that is to be a probe comes again instead, because it was refused last: a probe is to tell of the
    /// credential, and not of this conversion. Once alone, so that it goes where there is no other.
    pub(super) fn passed_over(
        &self,
        desk: &mut Desk,
        pass: Pass,
        delivery: &Delivery,
        now: Instant,
    ) -> Option<Instant> {
        let is_due_probe = pass == Pass::Probe && desk.wish_until.is_none();
        let is_suspended = desk.gate.barred() == Some(Cause::Suspended);
        let passes = is_due_probe && is_suspended && desk.refusals.lets_others(delivery.meta().id);
        passes.then(|| now.checked_add(OTHERS_WITHIN).unwrap_or(now))
    }

    /// When a delivery comes again that would be given up, because its time or its questions are over, while the credential
    /// that it needs is refused.
    pub(super) fn outlasts(
        &self,
        desk: &mut Desk,
        is_question: bool,
        unsent: &Unsent<'_>,
        now: Instant,
    ) -> Option<Instant> {
        let is_over = matches!(&unsent.outcome, Outcome::Dead { kind: DeadKind::Exhausted | DeadKind::Unknown, .. });
        let is_its = |name: &str| self.destination.operations.iter().position(|operation| operation.name == name);
        let operation = unsent.operation.and_then(is_its);
        let own = operation.and_then(|operation| desk.credentials.of(operation, is_question));
        (is_over && desk.is_refused(own))
            .then(|| desk.refusals.overdue.next(now.checked_add(PROBE_EVERY).unwrap_or(now)))
    }

    /// The request of a conversion whose time is over, to try the credential with: no attempt of it has arrived, so that it is no
    /// second sale. Where nothing else waits nobody would learn that the credential is taken again.
    pub(super) fn overdue_probe(&self, delivery: &Delivery) -> Option<Prepared> {
        let is_sent = delivery.acceptance().is_none() && !delivery.is_in_doubt();
        is_sent.then(|| self.prepare_within(delivery, Limit::None).ok()).flatten()
    }

    /// Puts a delivery back as it was, until then.
    pub(super) fn put_back(&self, delivery: &Delivery, until: Instant, now: Instant) {
        // Rounded up: a moment too early it could not go again.
        let wait_ms = u64::try_from(until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX);
        let due_ms = self.clock.unix_ms().saturating_add(wait_ms).saturating_add(1);
        self.queue.settle(delivery, Outcome::Retry { due_ms, spent: false }, None);
    }
}

/// Deliveries on disk are read back in milliseconds: whatever else is due has been taken by then, on a disk that hesitates too.
pub(super) const OTHERS_WITHIN: Duration = Duration::from_secs(5);
