//! How statuses and attempts are shown: the JSON of the public API and of the admin listener.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::config::UNCONFIRMED;
use crate::conversion::{ConversionId, DestinationName};
use crate::queue::{Asked, Attempt, DeadKind, DeliveryStatus, State, Status, Tls, Verdict};

/// The answer to an accepted conversion or its repetition.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Receipt")]
pub(crate) struct ReceiptView<'a> {
    /// `duplicate`: it was known before.
    #[schemars(schema_with = "receipts")]
    status: &'static str,
    #[schemars(with = "uuid::Uuid")]
    id: Shown<&'a ConversionId>,
    event_id: &'a str,
    #[schemars(with = "ByDestination<'a, StateWord>")]
    destinations: ByDestination<'a, &'static str>,
}

impl<'a> ReceiptView<'a> {
    /// `outcome`: `accepted` or `duplicate`.
    pub(crate) fn new(outcome: &'static str, status: &'a Status) -> ReceiptView<'a> {
        ReceiptView {
            status: outcome,
            id: Shown(&status.id),
            event_id: &status.event_id,
            destinations: by_destination(status, |delivery| delivery.state.as_str()),
        }
    }

    /// Where the conversion's status is.
    pub(crate) fn location(&self) -> String {
        format!("/v1/conversions/{}", self.id.0)
    }
}

/// One conversion and what became of it everywhere.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Status")]
pub(crate) struct StatusView<'a> {
    #[schemars(with = "uuid::Uuid")]
    id: Shown<&'a ConversionId>,
    event_id: &'a str,
    order_id: Option<&'a str>,
    merchant: &'a str,
    #[schemars(with = "jiff::Timestamp")]
    received_at: &'a str,
    destinations: ByDestination<'a, DeliveryView<'a>>,
}

impl<'a> StatusView<'a> {
    pub(crate) fn new(status: &'a Status, now_ms: u64) -> StatusView<'a> {
        StatusView {
            id: Shown(&status.id),
            event_id: &status.event_id,
            order_id: status.order_id.as_deref(),
            merchant: &status.merchant,
            received_at: &status.received_at,
            destinations: by_destination(status, |delivery| DeliveryView::new(delivery, now_ms)),
        }
    }
}

/// A merchant's conversions for one order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Order")]
pub(crate) struct OrderView<'a> {
    order_id: &'a str,
    /// `false`: there are older ones that are not shown; of each merchant the newest 100 are.
    whole: bool,
    /// Oldest first.
    conversions: Vec<StatusView<'a>>,
}

impl<'a> OrderView<'a> {
    pub(crate) fn new(order_id: &'a str, statuses: &'a [Status], whole: bool, now_ms: u64) -> OrderView<'a> {
        let conversions = statuses.iter().map(|status| StatusView::new(status, now_ms)).collect();
        OrderView { order_id, whole, conversions }
    }
}

/// What became of a conversion at one destination.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
struct DeliveryView<'a> {
    #[schemars(with = "StateWord")]
    state: &'static str,
    /// Of a dead letter only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kinds")]
    kind: Option<&'static str>,
    reason: Option<&'a str>,
    attempts: u32,
    /// Nothing while it is held, and once it is due: it goes when its destination takes it.
    #[schemars(with = "Option<jiff::Timestamp>")]
    next_attempt_at: Option<Shown<jiff::Timestamp>>,
    last: Option<AttemptView<'a>>,
    captured: &'a BTreeMap<String, String>,
    /// Of one that is accepted only.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<AskedView>,
    /// Oldest first.
    history: Vec<AttemptView<'a>>,
}

/// What has come of asking about it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Asked")]
struct AskedView {
    #[schemars(with = "Option<jiff::Timestamp>")]
    accepted_at: Option<Shown<jiff::Timestamp>>,
    /// Those that were answered and left it open.
    questions: u32,
}

impl<'a> DeliveryView<'a> {
    fn new(delivery: &'a DeliveryStatus, now_ms: u64) -> DeliveryView<'a> {
        // What is due goes when its destination takes it: nobody knows when.
        let next_ms = delivery.next_attempt_ms.filter(|at_ms| *at_ms > now_ms && !is_held(delivery));
        DeliveryView {
            state: delivery.state.as_str(),
            kind: dead_kind(delivery.state).map(DeadKind::as_str),
            reason: delivery.reason.as_deref().or(unconfirmed(delivery)),
            attempts: delivery.attempts,
            next_attempt_at: next_ms.and_then(instant),
            last: delivery.history.last().map(AttemptView::new),
            captured: &delivery.captured,
            asked: delivery
                .asked
                .map(|Asked { since_ms, questions }| AskedView { accepted_at: instant(since_ms), questions }),
            history: delivery.history.iter().map(AttemptView::new).collect(),
        }
    }
}

/// Why one that the platform accepted is delivered although it never said so.
fn unconfirmed(delivery: &DeliveryStatus) -> Option<&str> {
    let why = delivery.captured.get(UNCONFIRMED).filter(|_| delivery.state == State::Delivered);
    why.map(String::as_str)
}

/// Whether its destination is on hold: nobody knows when it goes on then.
fn is_held(delivery: &DeliveryStatus) -> bool {
    delivery.state == State::Held || (delivery.state == State::Accepted && delivery.reason.is_some())
}

/// One HTTP request that was made for a delivery, and what its answer meant.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Attempt")]
pub(crate) struct AttemptView<'a> {
    #[schemars(with = "Option<jiff::Timestamp>")]
    at: Option<Shown<jiff::Timestamp>>,
    status: Option<u16>,
    #[schemars(schema_with = "verdicts")]
    verdict: &'static str,
    duration_ms: u64,
    /// `HTTP/1.1`, `HTTP/2`; nothing where there was no connection.
    protocol: Option<&'static str>,
    /// `TLS 1.2`, `TLS 1.3`; nothing where it was plain.
    tls: Option<&'static str>,
    excerpt: Option<&'a str>,
}

impl<'a> AttemptView<'a> {
    pub(crate) fn new(attempt: &'a Attempt) -> AttemptView<'a> {
        AttemptView {
            at: instant(attempt.at_ms),
            status: attempt.status,
            verdict: attempt.verdict.as_str(),
            duration_ms: attempt.duration_ms,
            protocol: attempt.negotiated.map(|negotiated| negotiated.protocol.as_str()),
            tls: attempt.negotiated.and_then(|negotiated| negotiated.tls).map(Tls::as_str),
            excerpt: attempt.excerpt.as_deref(),
        }
    }
}

/// Unix milliseconds as RFC 3339; `None` beyond the year 9999.
pub(crate) fn instant(unix_ms: u64) -> Option<Shown<jiff::Timestamp>> {
    jiff::Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok().map(Shown)
}

const fn dead_kind(state: State) -> Option<DeadKind> {
    match state {
        State::Dead(kind) => Some(kind),
        State::Queued
        | State::Retrying
        | State::Held
        | State::Accepted
        | State::Delivered
        | State::Duplicate
        | State::Skipped
        | State::Withheld
        | State::Unsupported
        | State::Discarded => None,
    }
}

/// A value as its `Display` writes it.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The word for a delivery's state.
struct StateWord;

impl JsonSchema for StateWord {
    fn schema_name() -> Cow<'static, str> {
        "State".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        words(State::WORDS.as_slice())
    }
}

fn receipts(_: &mut SchemaGenerator) -> Schema {
    words(&["accepted", "duplicate"])
}

/// Of attempts.
pub(crate) fn verdicts(_: &mut SchemaGenerator) -> Schema {
    words(&Verdict::ALL.map(Verdict::as_str))
}

/// Of dead letters.
pub(crate) fn kinds(_: &mut SchemaGenerator) -> Schema {
    words(&DeadKind::ALL.map(DeadKind::as_str))
}

fn words(words: &[&str]) -> Schema {
    json_schema!({ "type": "string", "enum": words })
}

/// A JSON object in the configuration's order.
struct ByDestination<'a, T>(Vec<(&'a DestinationName, T)>);

fn by_destination<'a, T>(status: &'a Status, view: impl Fn(&'a DeliveryStatus) -> T) -> ByDestination<'a, T> {
    ByDestination(status.destinations.iter().map(|(name, delivery)| (name, view(delivery))).collect())
}

impl<T: JsonSchema> JsonSchema for ByDestination<'_, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}ByDestination", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

impl<T: Serialize> Serialize for ByDestination<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            object.serialize_entry(name.as_str(), value)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(state: State, reason: Option<&str>) -> DeliveryStatus {
        DeliveryStatus {
            state,
            reason: reason.map(str::to_owned),
            attempts: 1,
            next_attempt_ms: Some(1_000),
            history: Vec::new(),
            captured: BTreeMap::new(),
            asked: None,
        }
    }

    fn shown(delivery: &DeliveryStatus) -> serde_json::Value {
        serde_json::to_value(DeliveryView::new(delivery, 999)).unwrap()
    }

    #[test]
    fn nothing_is_said_of_the_next_attempt_while_the_destination_is_on_hold() {
        let next = |state, reason| shown(&delivery(state, reason))["next_attempt_at"].clone();
        for waits in [(State::Retrying, None), (State::Accepted, None)] {
            assert_eq!(next(waits.0, waits.1), "1970-01-01T00:00:01Z");
        }
        for held in [(State::Held, Some("paused")), (State::Accepted, Some("suspended"))] {
            assert_eq!(next(held.0, held.1), serde_json::Value::Null);
        }
    }

    #[test]
    fn no_next_attempt_lies_in_the_past() {
        let due = delivery(State::Retrying, None);
        let shown = |now_ms| serde_json::to_value(DeliveryView::new(&due, now_ms)).unwrap()["next_attempt_at"].clone();
        assert_eq!((shown(999), shown(1_000)), ("1970-01-01T00:00:01Z".into(), serde_json::Value::Null));
    }

    #[test]
    fn what_has_come_of_asking_is_shown_of_what_is_accepted() {
        let mut accepted = delivery(State::Accepted, None);
        assert_eq!(shown(&accepted).get("asked"), None);
        accepted.asked = Some(Asked { since_ms: 2_000, questions: 3 });
        let expected = serde_json::json!({"accepted_at": "1970-01-01T00:00:02Z", "questions": 3});
        assert_eq!(shown(&accepted)["asked"], expected);
    }

    #[test]
    fn what_is_delivered_unconfirmed_says_why_in_its_reason() {
        let mut delivered = delivery(State::Delivered, None);
        assert_eq!(shown(&delivered)["reason"], serde_json::Value::Null);
        delivered.captured.insert(UNCONFIRMED.to_owned(), "taken".to_owned());
        assert_eq!(shown(&delivered)["reason"], "taken");
    }
}
