//! The worker pool of one destination: one loop that takes a delivery only when it may be sent at once.
//!
//! A free slot, an open gate and a token come first, the queue last; so a delivery in hand is a delivery on its way,
//! and a destination that hangs, waits or is closed holds none. The loop owns gate, limiter and concurrency; attempts
//! run as tasks beside it and report their end.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Activity;
use super::attempt::{Limit, Prepared, Report};
use super::board::{Mark, RefusedOwn};
use super::concurrency::Concurrency;
use super::credentials::{Credentials, OwnCredential};
use super::gate::{Admission, Cause, Gate, Health, Pass};
use super::limiter::{Limiter, OwnLimiter};
use super::metrics::gauge;
use super::pool::Pool;
use super::refusal::Refusals;
use super::wait::Listener;
use crate::config::OnAmbiguous;
use crate::queue::Delivery;

impl Pool {
    /// Delivers until the shutdown, or until it is retired; then attempts in hand may finish until the end, and what is still
    /// open is cut off.
    pub(super) async fn run(self: Arc<Self>, end: End) {
        let mut desk = Desk::new(&self);
        let mut stopping = pin!(async {
            tokio::select! {
                () = end.shutdown.cancelled() => {}
                () = self.retired.cancelled() => {}
            }
        });
        loop {
            task::consume_budget().await;
            let step = self.obey(&mut desk, self.board.orders());
            let asked = Instant::now();
            tokio::select! {
                biased;
                () = &mut stopping => break,
                Some(ended) = desk.attempts.join_next_with_id() => self.ended(&mut desk, ended),
                () = self.board.changed() => self.show(),
                () = desk.told.changed() => {}
                delivery = self.take(step) => if let Some((pass, delivery)) = delivery {
                    self.begin(&mut desk, pass, delivery);
                },
            }
            if let Step::Limited(_) = step {
                self.instruments.limiter_wait.inc_by(asked.elapsed().as_secs_f64());
            }
        }
        self.drain(desk, &end).await;
    }

    /// Waits as the step says; a delivery when it says so and there is one.
    async fn take(&self, step: Step) -> Option<(Pass, Delivery)> {
        match step {
            Step::Take(pass) => Some((pass, self.queue.next(&self.destination.name).await)),
            Step::Wished(pass, until) => {
                let next = self.queue.next(&self.destination.name);
                timeout_at(until, next).await.ok().map(|delivery| (pass, delivery))
            }
            Step::Limited(at) | Step::NotBefore(at) => {
                sleep_until(at).await;
                None
            }
            Step::Wait => std::future::pending().await,
        }
    }

    /// Sends a delivery on its way, or settles it where there is nothing to send: that costs no token, no slot and no
    /// probe.
    pub(super) fn begin(self: &Arc<Self>, desk: &mut Desk, pass: Pass, delivery: Delivery) {
        let now = Instant::now();
        if let Some(until) = self.passed_over(desk, pass, &delivery, now) {
            return self.put_back(&delivery, until, now);
        }
        let prepared = match catch_unwind(AssertUnwindSafe(|| self.prepare(&delivery))) {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(unsent)) => {
                let Some(until) = self.outlasts(desk, delivery.acceptance().is_some(), &unsent, now) else {
                    return self.settle_unsent(&delivery, unsent);
                };
                match catch_unwind(AssertUnwindSafe(|| self.overdue_probe(&delivery))) {
                    Ok(Some(prepared)) => prepared,
                    Ok(None) | Err(_) => return self.put_back(&delivery, until, now),
                }
            }
            Err(_panic) => return self.settle_panicked(&delivery, OnAmbiguous::Retry),
        };
        if let Err(turn) = desk.may_go(prepared.operation, &delivery, now) {
            return self.put_back(&delivery, turn, now);
        }
        self.send(desk, pass, delivery, prepared);
    }

    fn send(self: &Arc<Self>, desk: &mut Desk, pass: Pass, delivery: Delivery, mut prepared: Prepared) {
        let delivery = Arc::new(delivery);
        let credential = desk.credentials.of(prepared.operation, delivery.acceptance().is_some());
        let Prepared { operation, on_ambiguous, .. } = prepared;
        let in_hand = InHand { pass, credential, operation, delivery: Arc::clone(&delivery), on_ambiguous };
        desk.gate.begin(pass);
        if desk.wish_until.take().is_some() {
            self.board.wish_begun(delivery.meta().id);
        }
        prepared.pass = pass;
        if desk.is_refused(credential) {
            prepared.limit = Limit::None;
        }
        if let Some(own) = credential {
            if desk.credentials.is_refused(own) {
                prepared.pass = Pass::Probe;
            }
            desk.credentials.begin(own, delivery.meta().id);
        }
        let attempt = Arc::clone(self).attempt(delivery, prepared, desk.stop.clone());
        let id = desk.attempts.spawn(attempt).id();
        desk.in_hand.insert(id, in_hand);
        self.show_numbers(desk);
    }

    /// An attempt has ended: what it says about the destination.
    fn ended(&self, desk: &mut Desk, ended: Result<(task::Id, Report), JoinError>) {
        let now = Instant::now();
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let in_hand = desk.in_hand.remove(&id);
        let conversion = in_hand.as_ref().map(|in_hand| in_hand.delivery.meta().id);
        match (ended, in_hand) {
            (Ok((_, report)), in_hand) => {
                if matches!(report.health, Health::Refusing) {
                    conversion.into_iter().for_each(|id| desk.refusals.met(id));
                }
                let by = |in_hand: InHand| (in_hand.pass, in_hand.credential, in_hand.operation);
                self.learn(desk, in_hand.map_or((Pass::Ordinary, None, 0), by), report, now);
            }
            (Err(_panic), Some(InHand { pass, credential, operation: _, delivery, on_ambiguous })) => {
                desk.gate.abandon(pass, now);
                if let Some(own) = credential {
                    desk.credentials.abandon(own, now);
                }
                // It may have been sent.
                self.settle_panicked(&delivery, on_ambiguous);
            }
            (Err(_panic), None) => {}
        }
        self.show_numbers(desk);
        if let Some(id) = conversion {
            self.board.over(id);
        }
    }

    pub(super) fn learn(
        &self,
        desk: &mut Desk,
        (pass, own, operation): (Pass, Option<OwnCredential>, usize),
        report: Report,
        now: Instant,
    ) {
        let Report { health, mut hold, begun, error, repeated, lacks_token } = report;
        if repeated {
            desk.owe(operation);
        }
        let was_passing = desk.gate.barred().is_none();
        let reason = error.as_deref().unwrap_or_default();
        match own {
            None => desk.gate.settle(pass, health, now),
            // Nobody has asked the destination.
            Some(own) if lacks_token => {
                desk.gate.abandon(pass, now);
                desk.credentials.lacks_token(own, hold.take(), reason, now);
            }
            Some(own) => {
                desk.gate.settle_beside(pass, health, now);
                desk.credentials.settle(own, health, reason, now);
            }
        }
        match (was_passing, desk.gate.barred()) {
            (true, Some(_)) => desk.concurrency.begin_anew(),
            // What a probe meets, or one that was on its way, says nothing about how many it would take.
            (false, Some(_)) => {}
            (_, None) => match health {
                Health::Well | Health::Answering => desk.concurrency.raise(),
                Health::Failing { overloaded: true } => desk.concurrency.halve(begun, now),
                Health::Failing { overloaded: false } | Health::Refusing | Health::Barring => {}
            },
        }
        if let Some(until) = hold.and_then(|hold| now.checked_add(hold)) {
            desk.gate.hold(until);
        }
        let of_operations = desk.credentials.reason();
        if self.board.gate(desk.gate.barred(), of_operations.as_deref(), reason, self.clock.unix_ms()) {
            self.show();
            self.log_state();
        }
        if let Some(error) = error {
            self.board.error(error);
        }
    }

    pub(super) fn show_numbers(&self, desk: &Desk) {
        if self.retired.is_cancelled() {
            return;
        }
        self.instruments.in_flight.set(gauge(desk.attempts.len()));
        self.instruments.concurrency.set(gauge(desk.concurrency.limit()));
        self.board.show(desk.gate.view(), desk.refused());
    }

    fn log_state(&self) {
        let destination = &self.destination.name;
        let Mark { activity, reason, is_whole, .. } = self.board.mark();
        match activity {
            Activity::Active => tracing::info!(%destination, "destination works again"),
            Activity::Paused | Activity::Stopped => {}
            Activity::Open => tracing::warn!(%destination, reason, "destination fails, only probes are sent"),
            Activity::Suspended if is_whole => {
                tracing::error!(%destination, reason, "destination refuses our credential, its work waits")
            }
            Activity::Suspended => {
                tracing::error!(%destination, reason, "destination refuses a credential of operations, their work waits")
            }
        }
    }

    async fn drain(&self, mut desk: Desk, end: &End) {
        desk.wish_until = None;
        self.board.refuse_unbegun_wish();
        let finish = async {
            while let Some(ended) = desk.attempts.join_next_with_id().await {
                self.ended(&mut desk, ended);
            }
        };
        let in_time = tokio::select! {
            biased;
            () = finish => true,
            () = end.comes() => false,
        };
        if !in_time {
            let (destination, attempts) = (&self.destination.name, desk.attempts.len());
            tracing::warn!(%destination, attempts, "attempts did not end in time and are cut off");
            desk.stop.cancel();
            while let Some(ended) = desk.attempts.join_next_with_id().await {
                self.ended(&mut desk, ended);
            }
        }
        self.client.close().await;
    }
}

/// When a loop ends, and the attempts that it has in hand then.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// Of the relay.
    pub(super) shutdown: CancellationToken,
    /// Nobody waits any more.
    pub(super) haste: CancellationToken,
    /// For how long after the shutdown attempts in hand are waited for.
    pub(super) drain: Duration,
}

impl End {
    /// The time runs from the shutdown on: a pool that is only retired lets its attempts end in theirs.
    async fn comes(&self) {
        self.shutdown.cancelled().await;
        tokio::select! {
            () = sleep(self.drain) => {}
            () = self.haste.cancelled() => {}
        }
    }
}

/// What one run of the loop owns.
pub(super) struct Desk {
    pub(super) gate: Gate,
    pub(super) credentials: Credentials,
    pub(super) limiter: Limiter,
    /// Of each operation that has a rate of its own, in the order of the operations.
    own_limiters: Vec<Option<OwnLimiter>>,
    /// The pool before this one may be told to wait by an attempt that it still has in hand.
    pub(super) told: Listener,
    pub(super) concurrency: Concurrency,
    pub(super) refusals: Refusals,
    attempts: JoinSet<Report>,
    in_hand: HashMap<task::Id, InHand>,
    /// Until when a delivery is looked for that a person wishes to see sent.
    pub(super) wish_until: Option<Instant>,
    /// Cuts off attempts that outlast the drain.
    stop: CancellationToken,
}

/// A delivery on its way.
struct InHand {
    pass: Pass,
    credential: Option<OwnCredential>,
    /// Which of the destination's operations it is.
    operation: usize,
    delivery: Arc<Delivery>,
    on_ambiguous: OnAmbiguous,
}

/// What the loop may do next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Take a delivery.
    Take(Pass),
    /// Take one that a person wishes to see sent, if there is one by then.
    Wished(Pass, Instant),
    /// Only the rate is in the way.
    Limited(Instant),
    /// The gate opens then.
    NotBefore(Instant),
    /// An attempt must end first, or a person resume.
    Wait,
}

impl Desk {
    pub(super) fn new(pool: &Pool) -> Desk {
        let desk = Desk {
            gate: Gate::new(pool.wait.clone()),
            credentials: Credentials::new(&pool.destination.operations),
            limiter: pool.limiter.clone(),
            own_limiters: pool.own_limiters.clone(),
            told: pool.wait.listen(),
            concurrency: Concurrency::new(pool.destination.limits.concurrency),
            refusals: Refusals::default(),
            attempts: JoinSet::new(),
            in_hand: HashMap::new(),
            wish_until: None,
            stop: CancellationToken::new(),
        };
        pool.show_numbers(&desk);
        // One that a loop before this one had seen: its attempt ended with that.
        pool.board.refuse_seen_wish();
        desk
    }

    /// Leave for a request of this operation: its credential is not refused, or is to be tried again, and it has a token.
    /// Otherwise says when the delivery may come again.
    fn may_go(&mut self, operation: usize, delivery: &Delivery, now: Instant) -> Result<(), Instant> {
        if let Some(own) = self.credentials.of(operation, delivery.acceptance().is_some()) {
            self.credentials.admit(own, delivery.meta().id, now)?;
        }
        self.take_token(operation, now)
    }

    /// Spends a token for a request of this operation, of its own limiter if it has one; otherwise says when its turn is.
    /// The destination's own was ready before the delivery was taken.
    pub(super) fn take_token(&self, operation: usize, now: Instant) -> Result<(), Instant> {
        match self.own_limiters.get(operation) {
            Some(Some(own)) => own.take(now),
            Some(None) | None => self.limiter.take(now),
        }
    }

    /// A request of this operation went out without a token: its limiter is owed one, as it would have been asked for it.
    pub(super) fn owe(&self, operation: usize) {
        match self.own_limiters.get(operation) {
            Some(Some(own)) => own.owe(),
            Some(None) | None => self.limiter.owe(),
        }
    }

    /// Whether the credential is refused that a request needs: the destination's, or this one of its operation.
    pub(super) fn is_refused(&self, own: Option<OwnCredential>) -> bool {
        self.gate.barred() == Some(Cause::Suspended) || own.is_some_and(|own| self.credentials.is_refused(own))
    }

    fn refused(&self) -> Vec<RefusedOwn> {
        let refused = self.credentials.refusals().map(|(operations, reason, probe_at)| RefusedOwn {
            operations: operations.to_owned(),
            reason: reason.to_owned(),
            probe_at,
        });
        refused.collect()
    }

    pub(super) fn step(&self) -> Step {
        let now = Instant::now();
        match self.gate.admit(now) {
            Admission::Probing => Step::Wait,
            Admission::NotBefore(at) => Step::NotBefore(at),
            // A probe goes alone, also beside attempts that hang.
            Admission::Go(Pass::Ordinary) if self.attempts.len() >= self.concurrency.limit() => Step::Wait,
            Admission::Go(pass) => match self.limiter.ready(now) {
                Ok(()) => Step::Take(pass),
                Err(at) => Step::Limited(at),
            },
        }
    }
}

#[cfg(test)]
mod tests;
