//! `POST /v1/conversions` and `GET /v1/conversions/{id}`.
//!
//! A conversion is answered 202 only after [`Queue::accept`](crate::queue::Queue::accept) has returned. Nothing that a
//! merchant sent is logged, and no merchant learns whether another's conversion exists.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::problem::{Kind, Problem, Reply, json};
use super::view::{ReceiptView, StatusView};
use super::{Client, Ingress, strict};
use crate::config::{Config, Decision};
use crate::conversion::{Conversion, ConversionId, Meta, Refusal};
use crate::mapping::Scope;
use crate::queue::{AcceptError, Accepted, Initial, Submission};

impl Ingress {
    /// Validates, stores durably, acknowledges.
    pub(super) async fn post(
        &self,
        config: &Config,
        client: &Client,
        request: Request<Incoming>,
    ) -> Result<Reply, Problem> {
        let begun = Instant::now();
        let (head, body) = request.into_parts();
        strict::check_json_body(&head.headers)?;
        let idempotency_key = strict::idempotency_key(&head.headers)?;
        let left = client.bucket.as_ref().map(|bucket| bucket.take()).transpose()?;
        let (body, _room) = self.read(config, body).await?;
        let submission = self.submission(config, client, idempotency_key, body)?;
        // No deadline here: a 503 for what may yet become durable would be a lie.
        let accepted = self.queue.accept(submission).await.map_err(unavailable)?;
        let (status, view) = match &accepted {
            Accepted::New(status) => {
                client.counters.accepted.inc();
                self.requests.acknowledged(begun.elapsed());
                tracing::debug!(id = %status.id, merchant = %status.merchant, "conversion accepted");
                (StatusCode::ACCEPTED, ReceiptView::new("accepted", status))
            }
            Accepted::Duplicate(status) => {
                client.counters.duplicates.inc();
                (StatusCode::OK, ReceiptView::new("duplicate", status))
            }
            Accepted::KeyReused { first } => {
                let detail = format!("the key was used for {first}, whose content differs");
                return Err(Problem::new(Kind::IdempotencyKeyReused, detail));
            }
        };
        let mut reply = json(status, &view);
        if let Ok(location) = HeaderValue::try_from(view.location()) {
            reply.headers_mut().insert(header::LOCATION, location);
        }
        if let Some(left) = left {
            left.write(reply.headers_mut());
        }
        Ok(reply)
    }

    /// The whole body, within its limit of bytes and time, and its share of the memory for bodies.
    async fn read(&self, config: &Config, body: Incoming) -> Result<(Bytes, Room), Problem> {
        match timeout(config.server.request_timeout, self.read_frames(body, config.server.body_bytes_max)).await {
            Ok(read) => read,
            Err(_elapsed) => Err(Problem::new(Kind::RequestTimeout, "the body did not arrive in time")),
        }
    }

    async fn read_frames(&self, mut body: Incoming, bytes_max: usize) -> Result<(Bytes, Room), Problem> {
        let too_large = || Problem::new(Kind::BodyTooLarge, format!("at most {bytes_max} bytes"));
        if usize::try_from(body.size_hint().lower()).is_ok_and(|bytes| bytes > bytes_max) {
            return Err(too_large());
        }
        let (mut bytes, mut room) = (BytesMut::new(), Room::default());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_broken_off| Problem::new(Kind::BadRequest, "the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len().saturating_add(data.len()) > bytes_max {
                return Err(too_large());
            }
            room.grow(&self.bodies, data.len())?;
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), room))
    }

    fn submission(
        &self,
        config: &Config,
        client: &Client,
        key: Option<String>,
        body: Bytes,
    ) -> Result<Submission, Problem> {
        let id = ConversionId::new(self.clock.unix_ms(), rand::random());
        let conversion = Conversion::parse(&body, &id.to_string()).map_err(refused)?;
        let meta = Meta::new(id, Arc::clone(&client.merchant.name), key, &conversion);
        let scope = Scope { conversion: &conversion, meta: &meta };
        let plan = config.plan(&client.merchant, scope).into_iter();
        let plan = plan.map(|(name, decision)| (name, initial(decision))).collect();
        Ok(Submission { meta, conversion: Arc::new(conversion), body, plan })
    }

    /// One of the merchant's own conversions.
    pub(super) async fn get(&self, client: &Client, id: &str) -> Result<Reply, Problem> {
        let status = self.status(id).await?;
        if status.merchant != client.merchant.name {
            return Err(Problem::not_found());
        }
        Ok(json(StatusCode::OK, &StatusView::new(&status)))
    }
}

/// A body's share of the memory for bodies, until it is accepted or refused.
#[derive(Default)]
struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// Never waits: bodies that wait for each other's room would wait for ever.
    fn grow(&mut self, bodies: &Arc<Semaphore>, bytes: usize) -> Result<(), Problem> {
        let full =
            || Problem::new(Kind::Unavailable, "too many bodies are being received").retry_after(BODIES_RETRY_AFTER);
        let bytes = u32::try_from(bytes).ok().ok_or_else(full)?;
        let more = Arc::clone(bodies).try_acquire_many_owned(bytes).map_err(|_no_room| full())?;
        match &mut self.0 {
            Some(held) => held.merge(more),
            None => self.0 = Some(more),
        }
        Ok(())
    }
}

fn initial(decision: Decision<'_>) -> Initial {
    match decision {
        Decision::Send(_) => Initial::Owed,
        Decision::Skipped(reason) => Initial::Skipped(reason),
        Decision::Withheld(reason) => Initial::Withheld(reason),
        Decision::Unsupported(reason) => Initial::Unsupported(reason),
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

fn unavailable(error: AcceptError) -> Problem {
    match error {
        AcceptError::Full(detail) => Problem::new(Kind::QueueFull, detail).retry_after(FULL_RETRY_AFTER),
        AcceptError::DiskFull(detail) => Problem::new(Kind::DiskFull, detail).retry_after(FULL_RETRY_AFTER),
        AcceptError::Closed => {
            let detail = "the relay is shutting down, or its storage has failed";
            Problem::new(Kind::Unavailable, detail).retry_after(CLOSED_RETRY_AFTER)
        }
    }
}

/// What is being received passes on within moments.
const BODIES_RETRY_AFTER: Duration = Duration::from_secs(1);
/// A full queue drains in seconds at the least; merchants that wait this long do not make it worse.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(10);
/// About what a restart takes; another relay behind the load balancer takes it at once.
const CLOSED_RETRY_AFTER: Duration = Duration::from_secs(2);
