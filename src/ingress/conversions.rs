//! `POST /v1/conversions`, `GET /v1/conversions/{id}` and `GET /v1/orders/{order_id}`.
//!
//! A conversion is answered 202 only after [`Queue::accept`](crate::queue::Queue::accept) has returned. Nothing that a
//! merchant sent is logged but the id of its trace, and no merchant learns whether another's conversion exists.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tokio::task::unconstrained;
use tokio::time::{Instant, timeout};

use super::fields::{self, Coding};
use super::problem::{self, Kind, Problem, Reply, json};
use super::promises::{Asked, Crowd, Promise};
use super::quota::Left;
use super::view::{OrderView, ReceiptView, StatusView};
use super::{Client, Ingress, Phase, batch, signed};
use crate::config::{Budget, Config, Decision, Destination, Merchant, Overflow};
use crate::conversion::{Conversion, ConversionId, DestinationName, Meta, Refusal};
use crate::mapping::Scope;
use crate::queue::{AcceptError, Accepted, Claim, Initial, ORDER_STATUSES_MAX, Status, Submission};
use crate::traces::{Entry, Receipt};

impl Ingress {
    /// Validates, stores durably, acknowledges: one conversion, or each of a batch.
    pub(super) async fn post(
        &self,
        config: &Config,
        client: &Client,
        request: Request<&mut Incoming>,
    ) -> Result<Reply, Problem> {
        let begun = Instant::now();
        let wait = fields::wait(request.headers());
        let receipt = self.traces.receive(&request, self.tls.is_some(), fields::trace(request.headers()));
        let (mut verdicts, left) = self.take_in(config, client, request, &receipt).await?;
        if verdicts.kept().any(|kept| kept.is_new) {
            self.requests.acknowledged(begun.elapsed());
        }
        // Nothing of the body is held any more: who waits costs the others nothing.
        let is_waited_for = self.wait_for(&mut verdicts, wait).await;
        let reply = match &verdicts {
            Verdicts::One(kept) => kept.answer(),
            Verdicts::Batch(verdicts) => batch::answer(verdicts),
        };
        let mut reply = self.answers.hold_what_is_left(&client.unread, reply);
        if let Some(left) = left {
            left.write(reply.headers_mut());
        }
        if let Some(wait) = wait.filter(|_| is_waited_for) {
            let (name, value) = fields::preference_applied(wait);
            reply.headers_mut().insert(name, value);
        }
        receipt.answered(reply.status(), verdicts.kept().map(|kept| &mut kept.entry));
        Ok(reply)
    }

    /// Reads, charges and stores what a request carries.
    async fn take_in(
        &self,
        config: &Config,
        client: &Client,
        request: Request<&mut Incoming>,
        receipt: &Receipt,
    ) -> Result<(Verdicts, Option<Left>), Problem> {
        // First of all: what is read and worked on to be refused has its price, too.
        let left = client.take()?;
        let (head, body) = request.into_parts();
        let (media, coding) = (fields::media(&head.headers)?, fields::coding(&head.headers)?);
        let key = fields::idempotency_key(&head.headers)?;
        let (mut body, mut room) = self.read(config, &client.share, body).await?;
        let keys = &client.merchant.signing_secrets;
        signed::check(keys, &head.headers, &body, self.clock.unix_ms())?;
        signed::check_key(keys, key.as_deref())?;
        if coding != Coding::Identity {
            body = self.decompress(config, &client.share, coding, body, &mut room).await?;
        }
        let _admitted = self.admission.enter(body.len()).await?;
        // While the body came a destination may have been taken out, for nothing waited for it.
        let config = &*self.config();
        let Some(items) = batch::items(media, &body)? else {
            let named = Named { key, receipt, entry: Receipt::whole };
            let planned = self.planned(config, client, &named, &body).await?;
            return Ok((Verdicts::One(self.accept(client, planned).await?), left));
        };
        if items.is_empty() {
            self.requests.refused(Kind::InvalidBatch);
        }
        if items.len() > 1 && key.is_some() {
            let detail = "a key stands for one conversion: give each of a batch an `event_id` instead";
            return Err(Problem::new(Kind::InvalidIdempotencyKey, detail));
        }
        self.answers.check(&client.unread)?;
        let left = client.take_rest(items.len(), left)?;
        let named = Named { key, receipt, entry: Receipt::part };
        Ok((Verdicts::Batch(self.take_in_all(config, client, &named, items).await), left))
    }

    /// Each in its place. They are planned together and share a group commit, but where the room at a destination depends on
    /// what becomes of those before.
    async fn take_in_all(
        &self,
        config: &Config,
        client: &Client,
        named: &Named<'_>,
        items: Vec<&[u8]>,
    ) -> Vec<Result<Kept, Problem>> {
        let (mut verdicts, mut waiting) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for item in items {
            // Each conversion is kept for itself, and must not keep all the others in memory with it.
            let item = Bytes::copy_from_slice(item);
            let planned = match self.submission(config, client, named, &item) {
                Ok(planned) => Ok(planned),
                Err(Unplanned::Refused(problem)) => Err(problem),
                Err(Unplanned::Crowded(_)) => {
                    verdicts.extend(self.accept_all(client, std::mem::take(&mut waiting)).await);
                    self.planned(config, client, named, &item).await
                }
            };
            waiting.push(planned);
        }
        verdicts.extend(self.accept_all(client, waiting).await);
        let refused = verdicts.iter().filter_map(|verdict| verdict.as_ref().err());
        refused.for_each(|problem| self.requests.refused(problem.kind()));
        verdicts
    }

    /// The valid ones share a group commit; those that cannot be kept are refused in their places.
    async fn accept_all(
        &self,
        client: &Client,
        submissions: Vec<Result<Planned, Problem>>,
    ) -> Vec<Result<Kept, Problem>> {
        let accepting = submissions.into_iter().map(|submission| async { self.accept(client, submission?).await });
        // Within the runtime's budget those beyond it would be polled again in another order than theirs.
        unconstrained(join_all(accepting)).await
    }

    async fn accept(&self, client: &Client, planned: Planned) -> Result<Kept, Problem> {
        let Planned { submission, overflowed, entry } = planned;
        let trace_id = submission.meta.trace.map(|trace| trace.trace_id());
        // No deadline here: a 503 for what may yet become durable would be a lie.
        match self.queue.accept(submission).await.map_err(|error| unavailable(error, &client.merchant))? {
            Accepted::New(status) => {
                client.counters.accepted.inc();
                overflowed.iter().for_each(|(destination, overflow)| self.requests.overflowed(destination, *overflow));
                tracing::debug!(id = %status.id, trace_id, merchant = %status.merchant, "conversion accepted");
                Ok(Kept::new(status, true, entry))
            }
            Accepted::Duplicate(status) => {
                client.counters.duplicates.inc();
                Ok(Kept::new(status, false, entry))
            }
            Accepted::KeyReused { first } => {
                let detail = format!("the key was used for {first}, whose content differs");
                Err(Problem::new(Kind::IdempotencyKeyReused, detail))
            }
        }
    }

    /// Waits until nothing more is owed of any of them, as long as the sender would and the relay does not drain. False: it
    /// does not wait, for nobody asks for it, or too many are waited for already.
    async fn wait_for(&self, verdicts: &mut Verdicts, wait: Option<Duration>) -> bool {
        let Some(wait) = wait else { return false };
        let count = u32::try_from(verdicts.kept().count()).unwrap_or(u32::MAX);
        let Ok(_places) = self.waited_for.try_acquire_many(count) else { return false };
        let settled = join_all(verdicts.kept().map(|kept| async {
            // What cannot be read now can be asked for later.
            if let Ok(Some(status)) = self.queue.settled(kept.status.id).await {
                (kept.status, kept.was_waited_for) = (status, true);
            }
        }));
        let mut phase = self.phase.subscribe();
        tokio::select! {
            _ = timeout(wait, settled) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Draining) => {}
        }
        true
    }

    /// What is to be handed to the queue, once it is known whether there is room where it is owed. The caller holds no
    /// promise meanwhile.
    async fn planned(
        &self,
        config: &Config,
        client: &Client,
        named: &Named<'_>,
        body: &Bytes,
    ) -> Result<Planned, Problem> {
        loop {
            match self.submission(config, client, named, body) {
                Ok(planned) => return Ok(planned),
                Err(Unplanned::Refused(problem)) => return Err(problem),
                Err(Unplanned::Crowded(crowd)) => crowd.thins().await,
            }
        }
    }

    fn submission(
        &self,
        config: &Config,
        client: &Client,
        named: &Named<'_>,
        body: &Bytes,
    ) -> Result<Planned, Unplanned> {
        let id = ConversionId::new(self.clock.unix_ms(), rand::random());
        let conversion = Conversion::parse(body, &id.to_string()).map_err(refused)?;
        let (key, entry) = (named.key.clone(), (named.entry)(named.receipt).of(&conversion));
        let meta = Meta { trace: entry.trace(), ..Meta::new(id, Arc::clone(&client.merchant.name), key, &conversion) };
        let scope = Scope { conversion: &conversion, meta: &meta };
        let (mut plan, mut overflowed, mut promises) = (Vec::new(), Vec::new(), Vec::new());
        for (destination, decision) in config.plan(&client.merchant, scope) {
            let initial = match decision {
                Decision::Send(_) => self.owed(destination, &mut overflowed, &mut promises)?,
                Decision::Skipped(reason) => Initial::Skipped(reason),
                Decision::Withheld(reason) => Initial::Withheld(reason),
                Decision::Unsupported(reason) => Initial::Unsupported(reason),
            };
            plan.push((destination.name.clone(), initial));
        }
        let claim = if promises.is_empty() { Claim::default() } else { Claim::of(promises) };
        let submission = Submission { meta, conversion: Arc::new(conversion), body: body.clone(), plan, claim };
        Ok(Planned { submission, overflowed, entry })
    }

    /// A delivery, unless too much waits for the destination already: then it is noted there what becomes of it.
    fn owed(
        &self,
        destination: &Destination,
        overflowed: &mut Vec<(DestinationName, Overflow)>,
        promises: &mut Vec<Promise>,
    ) -> Result<Initial, Unplanned> {
        let Some(Budget { pending_max, overflow }) = destination.budget else { return Ok(Initial::Owed) };
        let name = &destination.name;
        let pending = match self.promises.ask(name, pending_max.get().into(), || self.queue.backlog(name).pending) {
            Asked::Promised(promise) => {
                promises.push(promise);
                return Ok(Initial::Owed);
            }
            Asked::Crowded(crowd) => return Err(Unplanned::Crowded(crowd)),
            Asked::Full(pending) => pending,
        };
        // Dead letters have a bound of their own.
        let is_refused = overflow == Overflow::DeadLetter && self.queue.backlog(name).is_stopped;
        let overflow = if is_refused { Overflow::Refuse } else { overflow };
        let reason = format!("{pending} deliveries wait for {name}, and its `max_pending` is {pending_max}");
        let initial = match overflow {
            Overflow::Refuse => {
                self.requests.overflowed(name, overflow);
                return Err(Problem::new(Kind::QueueFull, reason).retry_after(FULL_RETRY_AFTER).into());
            }
            Overflow::DeadLetter => Initial::Overflow(format!("never attempted: {reason}")),
            Overflow::Skip => Initial::Skipped(reason),
        };
        overflowed.push((name.clone(), overflow));
        Ok(initial)
    }

    /// One of the merchant's own conversions.
    pub(super) async fn get(&self, client: &Client, id: &str) -> Result<Reply, Problem> {
        let _admitted = self.admission.enter(0).await?;
        let status = self.status(id).await?;
        if status.merchant != client.merchant.name {
            return Err(Problem::not_found());
        }
        self.answers.hold(&client.unread, json(StatusCode::OK, &StatusView::new(&status, self.clock().unix_ms())))
    }

    /// The merchant's conversions for an order: `encoded` is its id as it stands in the path.
    pub(super) async fn order(&self, client: &Client, encoded: &str) -> Result<Reply, Problem> {
        let _admitted = self.admission.enter(0).await?;
        let reply = self.order_of(&[&client.merchant.name], encoded).await?;
        self.answers.hold(&client.unread, reply)
    }

    /// The conversions for an order of that id of this merchant, configured or not; or of every one that is.
    pub(crate) async fn orders(&self, encoded: &str, merchant: Option<&str>) -> Result<Reply, Problem> {
        let config = self.config();
        let configured = || config.merchants.iter().map(|merchant| &*merchant.name).collect();
        let merchants: Vec<&str> = merchant.map_or_else(configured, |merchant| vec![merchant]);
        self.order_of(&merchants, encoded).await
    }

    async fn order_of(&self, merchants: &[&str], encoded: &str) -> Result<Reply, Problem> {
        let no_text = |_| Problem::new(Kind::BadRequest, "an order's id stands in the path as percent-encoded UTF-8");
        let order_id = percent_decode_str(encoded).decode_utf8().map_err(no_text)?;
        let (mut statuses, mut is_whole) = (Vec::new(), true);
        for merchant in merchants {
            let found = self.queue.order(merchant, &order_id).await;
            let found = found.map_err(|error| problem::unreadable(&error))?;
            let older = found.len().saturating_sub(ORDER_STATUSES_MAX);
            is_whole &= older == 0;
            statuses.extend(found.into_iter().skip(older));
        }
        if statuses.is_empty() {
            return Err(Problem::not_found());
        }
        statuses.sort_by_key(|status| status.id);
        Ok(json(StatusCode::OK, &OrderView::new(&order_id, &statuses, is_whole, self.clock().unix_ms())))
    }
}

/// What a request's head says of its conversions.
struct Named<'r> {
    key: Option<String>,
    receipt: &'r Receipt,
    /// What is traced of one of them.
    entry: fn(&Receipt) -> Entry,
}

/// What is to be handed to the queue.
struct Planned {
    submission: Submission,
    /// Where too much waits already, and what becomes of it there; counted once it is accepted.
    overflowed: Vec<(DestinationName, Overflow)>,
    entry: Entry,
}

/// Why there is nothing to hand to the queue.
enum Unplanned {
    Refused(Problem),
    /// It is not known yet whether there is room for it.
    Crowded(Crowd),
}

impl From<Problem> for Unplanned {
    fn from(problem: Problem) -> Unplanned {
        Unplanned::Refused(problem)
    }
}

/// A conversion that is on disk.
pub(super) struct Kept {
    pub(super) status: Status,
    /// Not known before.
    pub(super) is_new: bool,
    /// Its status is that of after all was settled.
    pub(super) was_waited_for: bool,
    /// What is traced of it.
    entry: Entry,
}

/// What became of what a request carried.
enum Verdicts {
    One(Kept),
    Batch(Vec<Result<Kept, Problem>>),
}

impl Verdicts {
    fn kept(&mut self) -> impl Iterator<Item = &mut Kept> {
        let (one, batch) = match self {
            Verdicts::One(kept) => (Some(kept), None),
            Verdicts::Batch(verdicts) => (None, Some(verdicts.iter_mut().flatten())),
        };
        one.into_iter().chain(batch.into_iter().flatten())
    }
}

impl Kept {
    fn new(status: Status, is_new: bool, entry: Entry) -> Kept {
        let entry = entry.kept(&status, is_new);
        Kept { status, is_new, was_waited_for: false, entry }
    }

    fn answer(&self) -> Reply {
        let is_settled = self.was_waited_for && self.status.is_settled();
        let status = if self.is_new && !is_settled { StatusCode::ACCEPTED } else { StatusCode::OK };
        let receipt = self.receipt();
        let mut reply = json(status, &receipt);
        if let Ok(location) = HeaderValue::try_from(receipt.location()) {
            reply.headers_mut().insert(header::LOCATION, location);
        }
        reply
    }

    pub(super) fn receipt(&self) -> ReceiptView<'_> {
        ReceiptView::new(if self.is_new { "accepted" } else { "duplicate" }, &self.status)
    }
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Malformed(error) => Problem::new(Kind::MalformedJson, error.to_string()),
        Refusal::Invalid(faults) => {
            let detail = match faults.len() {
                1 => "1 problem".to_owned(),
                count => format!("{count} problems"),
            };
            Problem::new(Kind::InvalidConversion, detail).listing(faults)
        }
    }
}

/// Of destinations, only the merchant's own are named.
fn unavailable(error: AcceptError, merchant: &Merchant) -> Problem {
    match error {
        AcceptError::Full { pending_bytes, most } => {
            let most = most.filter(|(destination, _)| merchant.sends_to(destination));
            let most = most.map_or_else(String::new, |(destination, pending)| {
                format!("; most of it, {pending} deliveries, waits for {destination}")
            });
            let detail = format!("{pending_bytes} bytes are pending{most}");
            Problem::new(Kind::QueueFull, detail).retry_after(FULL_RETRY_AFTER)
        }
        AcceptError::DiskFull(detail) => Problem::new(Kind::DiskFull, detail).retry_after(FULL_RETRY_AFTER),
        AcceptError::Unreadable(_) => {
            let detail = "it may be a repeat, and what is kept of the first one cannot be read: see the relay's log";
            Problem::new(Kind::StorageUnreadable, detail).retry_after(FULL_RETRY_AFTER)
        }
        AcceptError::Closed => {
            let detail = "the relay is shutting down, or its storage has failed";
            Problem::new(Kind::Unavailable, detail).retry_after(CLOSED_RETRY_AFTER)
        }
    }
}

/// Conversions that are waited for at once, those of all requests together: each takes a few kilobytes meanwhile. As many as
/// four full batches, or what a hundred a second come to in the longest wait.
pub(super) const WAITED_FOR_MAX: usize = 4096;
/// A full queue drains in seconds at the least; merchants that wait this long do not make it worse.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(10);
/// About what a restart takes; another relay behind the load balancer takes it at once.
const CLOSED_RETRY_AFTER: Duration = Duration::from_secs(2);
