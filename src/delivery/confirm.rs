//! What was accepted is asked about: one question, and what its answer means.
//!
//! Promises: what is accepted is never sent again from here, whatever a question comes to. A question that is not answered
//! is asked again and spends neither an attempt nor a try; an answer that leaves it open spends a try, and so does one that
//! refuses our credential where that was good before.
//!
//! Never: calls something delivered of which the platform has not said so, while it can be asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{Limit, Prepared, Report, Unsent, dead, later_ms};
use super::client;
use super::exchange::Exchange;
use super::gate::{Health, PROBE_EVERY, Pass};
use super::judge::{Judgement, Transmission, health, judge};
use super::pool::Pool;
use crate::config::{Confirm, Decision, OnAmbiguous, UNCONFIRMED, written_duration};
use crate::mapping::Scope;
use crate::queue::{Acceptance, Attempt, DeadKind, Delivery, Outcome, Verdict};

/// What became of a delivery that was accepted and is rejected: the relay's own words, before the platform's.
pub(super) const THEN_REJECTED: &str = "accepted, then rejected";

/// What the answer to a question means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The platform has recorded it.
    Confirmed,
    /// It had it already.
    Duplicate,
    /// It will not take it.
    Rejected,
    /// It has not decided, or does not say.
    Nothing,
    /// There was no answer, or one that says *not now*.
    NotNow,
    /// Our credential was refused.
    Suspended,
}

impl Pool {
    /// What becomes of a delivery that the platform took: it is asked about, or delivered where it is not.
    pub(super) fn taken(&self, confirm: Option<&Confirm>, captured: BTreeMap<String, String>) -> Outcome {
        match confirm.filter(|confirm| confirm.question.can_be_asked(&captured)) {
            Some(confirm) => Outcome::Accepted { due_ms: later_ms(self.clock.unix_ms(), confirm.after), captured },
            None => Outcome::Delivered { captured },
        }
    }

    /// The question about a delivery that is accepted, or what becomes of it where none can be asked any more: the
    /// configuration may have changed since.
    pub(super) fn prepare_question(
        &self,
        delivery: &Delivery,
        acceptance: &Acceptance,
    ) -> Result<Prepared, Unsent<'_>> {
        let unasked = |why: &str| {
            let mut captured = acceptance.captured.clone();
            let why = format!("taken by the platform, and not confirmed: {why}");
            captured.insert(UNCONFIRMED.to_owned(), why);
            Unsent::from(Outcome::Delivered { captured })
        };
        let conversion = delivery.conversion().map_err(|_refusal| unasked("the stored conversion cannot be read"))?;
        let scope = Scope { conversion: &conversion, meta: delivery.meta() };
        let Decision::Send(operation) = self.destination.decide(scope) else {
            return Err(unasked("no operation of the destination applies any more"));
        };
        let confirm = operation.confirm.as_ref().ok_or_else(|| unasked("`confirm` was turned off"))?;
        if acceptance.asked >= confirm.tries.get() {
            return Err(Unsent { outcome: not_said(acceptance), operation: Some(&operation.name) });
        }
        let request = confirm.question.ask(scope, &acceptance.captured).and_then(client::assemble);
        let request = request.map_err(|unmappable| unasked(&unmappable.to_string()))?;
        // No answer to a question is no doubt: it is asked again.
        let (operation, on_ambiguous) = (self.position_of(operation), OnAmbiguous::Retry);
        Ok(Prepared { request, operation, on_ambiguous, pass: Pass::Ordinary, limit: Limit::GiveUp, context: None })
    }

    /// Asks, and settles what the answer decides.
    pub(super) async fn ask(
        self: Arc<Self>,
        delivery: Arc<Delivery>,
        prepared: Prepared,
        stop: CancellationToken,
    ) -> Report {
        let (begun, at_ms) = (Instant::now(), self.clock.unix_ms());
        let operation = self.operation(prepared.operation);
        let (Some(acceptance), Some(confirm)) = (delivery.acceptance(), &operation.confirm) else {
            return Report::nothing(begun);
        };
        let (method, target) = (prepared.request.method(), prepared.request.uri());
        let span = self.traces.attempt(&delivery, prepared.context, method, target);
        let cache = self.tokens.of(prepared.operation).map(Arc::as_ref);
        let exchange = match self.exchange(&prepared.request, cache, &confirm.judge, &stop).await {
            Ok(exchange) => exchange,
            Err(no_token) => {
                let again = |reason: &str, hold| {
                    self.ask_again(acceptance, confirm, (hold, prepared.limit), Some(reason), &stop)
                };
                return self.without_token(&delivery, &no_token, (begun, at_ms), span, again);
            }
        };
        let Exchange { transmission, authorization, duration, negotiated, repeated } = exchange;
        let sent = authorization.as_ref().and_then(|value| value.to_str().ok());
        let judgement = judge(&confirm.judge, &transmission);
        let said = said(confirm, judgement, &transmission);
        let hold = self.asked_hold(&confirm.judge, judgement, &transmission);
        let is_trouble = matches!(said, Said::NotNow | Said::Suspended);
        let trouble = is_trouble.then(|| self.mask.clean(&transmission.summary(), sent));
        let captured = || acceptance.captured.clone();
        let (outcome, verdict) = match said {
            Said::Confirmed => (Outcome::Delivered { captured: captured() }, Verdict::Delivered),
            Said::Duplicate => (Outcome::Duplicate { captured: captured() }, Verdict::Duplicate),
            Said::Rejected => {
                let reasons = self.captured(&confirm.judge, &transmission, sent);
                let reason = reasons.into_values().next().unwrap_or_else(|| "it does not say why".to_owned());
                (dead(DeadKind::Rejected, format!("{THEN_REJECTED}: {reason}")), Verdict::Rejected)
            }
            Said::Nothing => self.left_open(acceptance, confirm),
            Said::NotNow => {
                let within = (hold, prepared.limit);
                (self.ask_again(acceptance, confirm, within, trouble.as_deref(), &stop), Verdict::Retry)
            }
            Said::Suspended => (self.refused_question(confirm, prepared.pass), Verdict::Suspended),
        };
        let record = Attempt {
            at_ms,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            status: transmission.status().map(|status| status.as_u16()),
            verdict,
            negotiated,
            excerpt: self.excerpt(&transmission, sent),
        };
        self.instruments.attempt.observe(duration.as_secs_f64());
        span.ended(&record, Some(&operation.name), repeated);
        self.conclude(&delivery, outcome, record, Some(&operation.name));
        let is_open = said == Said::Nothing && transmission.status().is_some_and(|status| status.is_success());
        let health = if is_open { Health::Well } else { health(judgement, &transmission) };
        Report { health, hold, begun, error: trouble, repeated, lacks_token: false }
    }

    /// After one more question it is asked again, or nobody has said so often enough.
    fn left_open(&self, acceptance: &Acceptance, confirm: &Confirm) -> (Outcome, Verdict) {
        let asked = acceptance.asked.saturating_add(1);
        if asked >= confirm.tries.get() {
            return (not_said(&Acceptance { asked, ..acceptance.clone() }), Verdict::Unknown);
        }
        let due_ms = later_ms(self.clock.unix_ms(), confirm.every);
        (Outcome::Retry { due_ms, spent: true }, Verdict::Unconfirmed)
    }

    /// One that was refused for our credential comes again when the next question would; one that went to try that, as soon as it
    /// may be tried again.
    fn refused_question(&self, confirm: &Confirm, pass: Pass) -> Outcome {
        let (wait, spent) = match pass {
            Pass::Ordinary => (confirm.every, true),
            Pass::Probe => (confirm.every.min(PROBE_EVERY), false),
        };
        Outcome::Retry { due_ms: later_ms(self.clock.unix_ms(), wait), spent }
    }

    /// A question that came to nothing is asked again, for as long as a delivery would be attempted, and while the credential
    /// is refused.
    fn ask_again(
        &self,
        acceptance: &Acceptance,
        confirm: &Confirm,
        (hold, limit): (Option<Duration>, Limit),
        trouble: Option<&str>,
        stop: &CancellationToken,
    ) -> Outcome {
        let now_ms = self.clock.unix_ms();
        if stop.is_cancelled() {
            return Outcome::Retry { due_ms: now_ms, spent: false };
        }
        let due_ms = later_ms(now_ms, confirm.every.max(hold.unwrap_or_default()));
        let give_up_after = self.destination.retry.give_up_after;
        if limit == Limit::None || due_ms < later_ms(acceptance.since_ms, give_up_after) {
            return Outcome::Retry { due_ms, spent: false };
        }
        let (allowed, trouble) = (written_duration(give_up_after), trouble.unwrap_or_default());
        dead(DeadKind::Unknown, format!("accepted, not confirmed within {allowed}: {trouble}"))
    }
}

fn said(confirm: &Confirm, judgement: Judgement, transmission: &Transmission) -> Said {
    match judgement {
        Judgement::Delivered => Said::Confirmed,
        Judgement::Duplicate => Said::Duplicate,
        Judgement::Retry | Judgement::Throttled | Judgement::Unknown => Said::NotNow,
        Judgement::Suspended => Said::Suspended,
        // Only `rejected_when` rejects: any other answer, a 404 too, says nothing of the conversion.
        Judgement::Rejected => match (&confirm.judge.rejected_when, transmission) {
            (Some(rejected), Transmission::Answered { answer, .. }) if rejected.holds(answer) => Said::Rejected,
            (Some(_) | None, _) => Said::Nothing,
        },
    }
}

/// It is not called delivered, for nobody said so, and is not sent again: a person finds out.
fn not_said(acceptance: &Acceptance) -> Outcome {
    let questions = if acceptance.asked == 1 { "question" } else { "questions" };
    dead(DeadKind::Unknown, format!("accepted, not confirmed within {} {questions}", acceptance.asked))
}
