//! One delivery: from what is stored to a request, and from an answer to what the queue records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::Full;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::{asked_wait, backoff};
use super::client;
use super::confirm::THEN_REJECTED;
use super::exchange::Exchange;
use super::gate::{Health, PROBE_EVERY, Pass};
use super::judge::{Body, Judgement, Transmission, asks_for_repeat, health, judge};
use super::metrics::{DELIVERED_UNCONFIRMED, EXHAUSTED};
use super::pool::Pool;
use super::recent::Trouble;
use crate::config::{Decision, Judge, OnAmbiguous, OnUnmappable, Operation, UNCONFIRMED, older_than, written_duration};
use crate::conversion::{Refusal, TraceParent};
use crate::mapping::{CAPTURE_CHARS_MAX, Scope, Secrets, Unmappable};
use crate::queue::{Attempt, DeadKind, Delivery, Outcome, Verdict};

/// A delivery that is to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) request: http::Request<Full<Bytes>>,
    /// Which of the destination's operations it is.
    pub(super) operation: usize,
    /// What it means when no answer comes.
    pub(super) on_ambiguous: OnAmbiguous,
    /// On which leave it goes.
    pub(super) pass: Pass,
    /// For how long it is tried again.
    pub(super) limit: Limit,
    /// What the attempt is within its conversion's trace, if that belongs to one.
    pub(super) context: Option<TraceParent>,
}

/// What becomes of a delivery for which there is no request.
#[derive(Debug)]
pub(super) struct Unsent<'p> {
    pub(super) outcome: Outcome,
    /// Whose request could not be made, where it came to that.
    pub(super) operation: Option<&'p str>,
}

impl From<Outcome> for Unsent<'_> {
    fn from(outcome: Outcome) -> Self {
        Unsent { outcome, operation: None }
    }
}

/// How an attempt ended, as far as the pool must know.
#[derive(Debug)]
pub(super) struct Report {
    /// What it says about the destination.
    pub(super) health: Health,
    /// How long the destination asked everybody to wait.
    pub(super) hold: Option<Duration>,
    /// When it began.
    pub(super) begun: Instant,
    /// What went wrong, for a person.
    pub(super) error: Option<String>,
    /// It took two requests.
    pub(super) repeated: bool,
    /// None was sent: there was no access token to be had for it.
    pub(super) lacks_token: bool,
}

/// For how long a conversion is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Until `retry.give_up_after`.
    GiveUp,
    /// However long it takes.
    None,
}

impl Report {
    /// Of an attempt that was none.
    pub(super) fn nothing(begun: Instant) -> Report {
        Report { health: Health::Answering, hold: None, begun, error: None, repeated: false, lacks_token: false }
    }
}

impl Pool {
    /// The request of a delivery, or what becomes of it without one. The configuration may have changed since it was
    /// accepted, so everything is decided anew.
    pub(super) fn prepare(&self, delivery: &Delivery) -> Result<Prepared, Unsent<'_>> {
        self.prepare_within(delivery, Limit::GiveUp)
    }

    /// The same within that limit of time.
    pub(super) fn prepare_within(&self, delivery: &Delivery, limit: Limit) -> Result<Prepared, Unsent<'_>> {
        let mut prepared = match delivery.acceptance() {
            Some(acceptance) => self.prepare_question(delivery, acceptance)?,
            None => self.prepare_conversion(delivery, limit)?,
        };
        prepared.context = context(delivery);
        if let Some(context) = prepared.context.filter(|_| self.destination.traceparent) {
            pass_on(context, prepared.request.headers_mut());
        }
        Ok(prepared)
    }

    fn prepare_conversion(&self, delivery: &Delivery, limit: Limit) -> Result<Prepared, Unsent<'_>> {
        let conversion = delivery.conversion().map_err(|refusal| dead(DeadKind::Unmappable, refused(&refusal)))?;
        let now_ms = self.clock.unix_ms();
        if let Some(max_age) = self.destination.max_age {
            let happened_ms = u64::try_from(conversion.time().instant().as_millisecond()).unwrap_or(0);
            if Duration::from_millis(now_ms.saturating_sub(happened_ms)) > max_age {
                return Err(dead(DeadKind::Expired, older_than(max_age)).into());
            }
        }
        let scope = Scope { conversion: &conversion, meta: delivery.meta() };
        let operation = match self.destination.decide(scope) {
            Decision::Send(operation) => operation,
            Decision::Skipped(reason) => return Err(Outcome::Skipped { reason }.into()),
            Decision::Withheld(reason) => return Err(Outcome::Withheld { reason }.into()),
            Decision::Unsupported(reason) => return Err(Outcome::Unsupported { reason }.into()),
        };
        // The first attempt is always made: what waited out a long stop, or was replayed, was never tried.
        let is_limited = limit == Limit::GiveUp && delivery.attempt() > 1;
        if is_limited && now_ms >= self.give_up_at_ms(delivery) {
            let reason = format!("not delivered within {}", written_duration(self.destination.retry.give_up_after));
            let outcome = dead(DeadKind::Exhausted, reason);
            return Err(Unsent { outcome, operation: Some(&operation.name) });
        }
        let unmappable = |unmappable: Unmappable| {
            let outcome = match operation.on_unmappable {
                OnUnmappable::DeadLetter => dead(DeadKind::Unmappable, unmappable.to_string()),
                OnUnmappable::Skip => Outcome::Skipped { reason: format!("unmappable: {unmappable}") },
            };
            Unsent { outcome, operation: Some(&operation.name) }
        };
        let mut request = operation.request.render(scope, Secrets::Revealed).map_err(unmappable)?;
        operation.request.stamp(&mut request, Duration::from_millis(now_ms).as_secs());
        let request = client::assemble(request).map_err(unmappable)?;
        let (operation, on_ambiguous) = (self.position_of(operation), operation.on_ambiguous);
        Ok(Prepared { request, operation, on_ambiguous, pass: Pass::Ordinary, limit, context: None })
    }

    pub(super) fn position_of(&self, operation: &Operation) -> usize {
        let index = self.destination.operations.iter().position(|known| std::ptr::eq(known, operation));
        index.unwrap_or_default()
    }

    /// Records what becomes of a delivery that needs no request.
    pub(super) fn settle_unsent(&self, delivery: &Delivery, Unsent { outcome, operation }: Unsent<'_>) {
        self.instruments.count(unsent_label(&outcome));
        self.tell_unconfirmed(delivery, &outcome);
        self.log_dead(delivery, &outcome, None, operation);
        if let Some((verdict, reason)) = no_request(&outcome) {
            let (at_ms, excerpt) = (self.clock.unix_ms(), Some(reason.to_owned()));
            self.board.failed(Trouble { at_ms, verdict, status: None, excerpt, id: delivery.meta().id });
        }
        self.pulse.feel(self.clock.unix_ms(), &outcome, None, delivery.acceptance().is_some());
        self.queue.settle(delivery, outcome, None);
    }

    /// Sends, judges and settles one delivery.
    pub(super) async fn attempt(
        self: Arc<Self>,
        delivery: Arc<Delivery>,
        prepared: Prepared,
        stop: CancellationToken,
    ) -> Report {
        if delivery.acceptance().is_some() {
            return Box::pin(self.ask(delivery, prepared, stop)).await;
        }
        let Prepared { request, operation, on_ambiguous, pass, limit, context } = prepared;
        let (begun, at_ms) = (Instant::now(), self.clock.unix_ms());
        let span = self.traces.attempt(&delivery, context, request.method(), request.uri());
        let Operation { name, judge: judge_by, confirm, .. } = self.operation(operation);
        let cache = self.tokens.of(operation).map(Arc::as_ref);
        let exchange = match self.exchange(&request, cache, judge_by, &stop).await {
            Ok(exchange) => exchange,
            Err(no_token) => {
                let again = |reason: &str, hold| self.without_attempt(&delivery, reason, (hold, limit), &stop);
                return self.without_token(&delivery, &no_token, (begun, at_ms), span, again);
            }
        };
        let Exchange { transmission, authorization, duration, negotiated, repeated } = exchange;
        let judgement = judge(judge_by, &transmission);
        let sent = authorization.as_ref().and_then(|value| value.to_str().ok());
        let hold = self.asked_hold(judge_by, judgement, &transmission);
        let trouble = (!judgement.is_success()).then(|| self.mask.clean(&transmission.summary(), sent));
        let reason = trouble.as_deref().unwrap_or_default();
        let outcome = match judgement {
            Judgement::Delivered => self.taken(confirm.as_ref(), self.captured(judge_by, &transmission, sent)),
            Judgement::Duplicate => Outcome::Duplicate { captured: self.captured(judge_by, &transmission, sent) },
            Judgement::Retry | Judgement::Throttled => self.again(&delivery, reason, (hold, limit), (false, &stop)),
            Judgement::Unknown => match on_ambiguous {
                OnAmbiguous::Retry => self.again(&delivery, reason, (hold, limit), (true, &stop)),
                OnAmbiguous::DeadLetter => dead(DeadKind::Unknown, reason.to_owned()),
            },
            Judgement::Suspended => self.refused(&delivery, pass),
            Judgement::Rejected => dead(DeadKind::Rejected, reason.to_owned()),
        };
        let record = Attempt {
            at_ms,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            status: transmission.status().map(|status| status.as_u16()),
            verdict: if matches!(outcome, Outcome::Accepted { .. }) { Verdict::Accepted } else { judgement.into() },
            negotiated,
            excerpt: self.excerpt(&transmission, sent),
        };
        self.instruments.attempt.observe(duration.as_secs_f64());
        span.ended(&record, Some(name), repeated);
        self.conclude(&delivery, outcome, record, Some(name));
        Report { health: health(judgement, &transmission), hold, begun, error: trouble, repeated, lacks_token: false }
    }

    /// Counts, logs and records the end of an attempt.
    pub(super) fn conclude(&self, delivery: &Delivery, outcome: Outcome, record: Attempt, operation: Option<&str>) {
        self.instruments.count(record.verdict.as_str());
        match &outcome {
            // What the platform took an hour to confirm reached it before.
            Outcome::Delivered { .. } | Outcome::Duplicate { .. } if delivery.acceptance().is_some() => {}
            Outcome::Delivered { .. } | Outcome::Duplicate { .. } | Outcome::Accepted { .. } => {
                let waited_ms = self.clock.unix_ms().saturating_sub(delivery.meta().id.unix_ms());
                self.instruments.delivery.observe(Duration::from_millis(waited_ms).as_secs_f64());
            }
            Outcome::Dead { kind: DeadKind::Exhausted, .. } => self.instruments.count(EXHAUSTED),
            Outcome::Dead { .. } | Outcome::Retry { .. } => {}
            Outcome::Skipped { .. } | Outcome::Withheld { .. } | Outcome::Unsupported { .. } => {}
        }
        let trace_id = delivery.meta().trace.map(|trace| trace.trace_id());
        tracing::debug!(
            destination = %self.destination.name, id = %delivery.meta().id, trace_id, attempt = delivery.attempt(),
            verdict = record.verdict.as_str(), status = record.status, duration_ms = record.duration_ms, "attempt ended"
        );
        self.log_dead(delivery, &outcome, record.status, operation);
        self.board.attempted(delivery.meta().id, &record, Instant::now());
        self.pulse.feel(self.clock.unix_ms(), &outcome, Some(&record), delivery.acceptance().is_some());
        self.queue.settle(delivery, outcome, Some(record));
    }

    /// Another attempt after the backoff, and not before the destination wants one; a dead letter when that is too
    /// late, but while the credential is refused: then it comes as often as that is tried. A stop of the relay costs the
    /// delivery nothing: it is due at once, and no attempt is spent, unless it may have arrived: that is one that was
    /// made, also when it comes to giving it up.
    fn again(
        &self,
        delivery: &Delivery,
        reason: &str,
        (hold, limit): (Option<Duration>, Limit),
        (may_have_arrived, stop): (bool, &CancellationToken),
    ) -> Outcome {
        let now_ms = self.clock.unix_ms();
        if stop.is_cancelled() {
            return Outcome::Retry { due_ms: now_ms, spent: may_have_arrived };
        }
        let hold = hold.unwrap_or_default();
        let wait = backoff(&self.destination.retry, delivery.attempt(), &mut rand::rng()).max(hold);
        let due_ms = later_ms(now_ms, wait);
        if due_ms < self.give_up_at_ms(delivery) {
            return Outcome::Retry { due_ms, spent: true };
        }
        if limit == Limit::None {
            return Outcome::Retry { due_ms: later_ms(now_ms, PROBE_EVERY.max(hold)), spent: may_have_arrived };
        }
        let allowed = written_duration(self.destination.retry.give_up_after);
        dead(DeadKind::Exhausted, format!("{reason}; given up at attempt {}, after {allowed}", delivery.attempt()))
    }

    /// The same where no attempt was made of it, because there was no access token: it spends none, and is given up in its time.
    fn without_attempt(
        &self,
        delivery: &Delivery,
        reason: &str,
        (hold, limit): (Option<Duration>, Limit),
        stop: &CancellationToken,
    ) -> Outcome {
        let mut outcome = self.again(delivery, reason, (hold, limit), (false, stop));
        if let Outcome::Retry { spent, .. } = &mut outcome {
            *spent = false;
        }
        outcome
    }

    /// A delivery whose code panicked: counted as an attempt, so that it is given up in the end.
    pub(super) fn settle_panicked(&self, delivery: &Delivery, then: OnAmbiguous) {
        self.instruments.panics.inc();
        let (destination, id) = (&self.destination.name, delivery.meta().id);
        tracing::error!(%destination, %id, attempt = delivery.attempt(), "delivery panicked");
        let outcome = match then {
            OnAmbiguous::DeadLetter => {
                dead(DeadKind::Unknown, "a fault of the relay; it may have been sent".to_owned())
            }
            OnAmbiguous::Retry => {
                let wait = backoff(&self.destination.retry, delivery.attempt(), &mut rand::rng());
                Outcome::Retry { due_ms: later_ms(self.clock.unix_ms(), wait), spent: true }
            }
        };
        self.log_dead(delivery, &outcome, None, None);
        self.pulse.feel(self.clock.unix_ms(), &outcome, None, delivery.acceptance().is_some());
        self.queue.settle(delivery, outcome, None);
    }

    /// When a delivery is given up: counted from its receipt, or from when it was replayed.
    fn give_up_at_ms(&self, delivery: &Delivery) -> u64 {
        later_ms(delivery.owed_since_ms(), self.destination.retry.give_up_after)
    }

    /// A wait is believed only of an answer that asks for a repeat, and the configured header only of one that says that we ask
    /// too much: any other may carry it for information.
    pub(super) fn asked_hold(
        &self,
        judge: &Judge,
        judgement: Judgement,
        transmission: &Transmission,
    ) -> Option<Duration> {
        let Transmission::Answered { answer, .. } = transmission else { return None };
        let asks = match judgement {
            Judgement::Retry | Judgement::Throttled => true,
            Judgement::Unknown => asks_for_repeat(answer.status()),
            Judgement::Delivered | Judgement::Duplicate | Judgement::Suspended | Judgement::Rejected => false,
        };
        if !asks {
            return None;
        }
        let is_too_much = health(judgement, transmission) == Health::Failing { overloaded: true };
        let header = judge.wait_header.as_ref().filter(|_| is_too_much);
        asked_wait(answer.headers(), header, self.clock.unix_ms())
    }

    pub(super) fn captured(
        &self,
        judge: &Judge,
        transmission: &Transmission,
        sent: Option<&str>,
    ) -> BTreeMap<String, String> {
        let Transmission::Answered { answer, .. } = transmission else { return BTreeMap::new() };
        let take = |(name, capture): &(String, crate::mapping::Capture)| {
            let value = capture.take(answer)?;
            // What was cut short may end within a secret.
            let cut = value.chars().count() >= CAPTURE_CHARS_MAX;
            let bytes = value.as_bytes();
            let shown = if cut { self.mask.torn_excerpt(bytes, sent) } else { self.mask.excerpt(bytes, sent) };
            Some((name.clone(), shown?))
        };
        judge.capture.iter().filter_map(take).collect()
    }

    /// The head of the answer, or what happened instead of one.
    pub(super) fn excerpt(&self, transmission: &Transmission, sent: Option<&str>) -> Option<String> {
        match transmission {
            Transmission::Answered { answer, body: Body::Broken } => self.mask.torn_excerpt(answer.body(), sent),
            Transmission::Answered { answer, body: Body::Whole | Body::Head } => self.mask.excerpt(answer.body(), sent),
            Transmission::NotSent(_) | Transmission::Unanswered(_) => {
                self.mask.excerpt(transmission.summary().as_bytes(), sent)
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is a position in this very list, which never changes")]
    pub(super) fn operation(&self, operation: usize) -> &Operation {
        &self.destination.operations[operation]
    }

    /// What ends as delivered although the platform never said so may need a person: it is logged, and counted beside.
    fn tell_unconfirmed(&self, delivery: &Delivery, outcome: &Outcome) {
        let Outcome::Delivered { captured } = outcome else { return };
        let Some(reason) = captured.get(UNCONFIRMED).filter(|_| delivery.acceptance().is_some()) else { return };
        self.instruments.count(DELIVERED_UNCONFIRMED);
        let (destination, id) = (&self.destination.name, delivery.meta().id);
        tracing::warn!(%destination, %id, reason, "delivered unconfirmed");
    }

    /// A dead letter may need a person. The platform's own words stand in it and not here: they may repeat an address that it
    /// refuses, and nothing of a person belongs in a log.
    fn log_dead(&self, delivery: &Delivery, outcome: &Outcome, status: Option<u16>, operation: Option<&str>) {
        let Outcome::Dead { kind, reason } = outcome else { return };
        let (destination, id) = (&self.destination.name, delivery.meta().id);
        // Only a question has the platform say why.
        let is_told_why = *kind == DeadKind::Rejected && delivery.acceptance().is_some();
        let reason = if is_told_why { THEN_REJECTED } else { reason.as_str() };
        tracing::warn!(%destination, operation, %id, ?kind, status, reason, "dead letter");
    }
}

/// The context of the attempt that is to be made of a delivery: within the conversion's trace, an id that no other attempt has
/// and that this one has each time, also after a restart. `None`: the conversion belongs to no trace.
pub(super) fn context(delivery: &Delivery) -> Option<TraceParent> {
    let (meta, destination) = (delivery.meta(), delivery.destination().as_str());
    // Its number alone would not do: a question has that of the attempt before it, a replay begins at 1, and what counts for
    // nothing is made again.
    let numbers = [delivery.attempt(), delivery.settlements()].map(u32::to_be_bytes);
    let trace = meta.trace?;
    let hash = Sha256::new().chain_update(meta.id.as_bytes()).chain_update(destination);
    let hash = numbers.iter().fold(hash, Sha256::chain_update).finalize();
    let mut id = [0; 8];
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    Some(trace.with_parent(id))
}

/// The trace goes on with each attempt, under the attempt's own id. What the configuration sends under that name stays.
fn pass_on(context: TraceParent, headers: &mut HeaderMap) {
    // Hexadecimal digits and hyphens: always a valid value.
    if let Ok(value) = HeaderValue::try_from(context.to_string()) {
        headers.entry(TRACEPARENT).or_insert(value);
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How a delivery that needed no request is counted.
fn unsent_label(outcome: &Outcome) -> &'static str {
    let verdict = match outcome {
        Outcome::Delivered { .. } => Verdict::Delivered,
        Outcome::Duplicate { .. } => Verdict::Duplicate,
        Outcome::Accepted { .. } => Verdict::Accepted,
        Outcome::Retry { .. } => Verdict::Retry,
        Outcome::Skipped { .. } => Verdict::Skipped,
        Outcome::Withheld { .. } => Verdict::Withheld,
        Outcome::Unsupported { .. } => Verdict::Unsupported,
        Outcome::Dead { kind, .. } => match kind {
            DeadKind::Rejected => Verdict::Rejected,
            DeadKind::Unknown => Verdict::Unknown,
            DeadKind::Unmappable => Verdict::Unmappable,
            DeadKind::Expired => Verdict::Expired,
            DeadKind::Exhausted => return EXHAUSTED,
        },
    };
    verdict.as_str()
}

/// What is shown of a dead letter that no request could be made of; its reason names fields, never values.
fn no_request(outcome: &Outcome) -> Option<(Verdict, &str)> {
    let Outcome::Dead { kind, reason } = outcome else { return None };
    match kind {
        DeadKind::Unmappable => Some((Verdict::Unmappable, reason)),
        DeadKind::Expired => Some((Verdict::Expired, reason)),
        DeadKind::Rejected | DeadKind::Unknown | DeadKind::Exhausted => None,
    }
}

pub(super) fn dead(kind: DeadKind, reason: String) -> Outcome {
    Outcome::Dead { kind, reason }
}

/// Why a stored conversion is none for this version: places and rules, never values.
fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Malformed(error) => format!("the stored conversion cannot be read: {error}"),
        Refusal::Invalid(problems) => {
            let problems: Vec<String> =
                problems.iter().map(|problem| format!("{} {}", problem.pointer, problem.detail)).collect();
            format!("the stored conversion is no longer valid: {}", problems.join("; "))
        }
    }
}

pub(super) fn later_ms(from_ms: u64, wait: Duration) -> u64 {
    from_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}
