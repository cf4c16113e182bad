//! A plan as it is shown.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::dead::{DeadLetterView, kinds};
use super::{Deduplication, Group, Outcome, Planned, Total, Totals};
use crate::config::written_duration;
use crate::conversion::{Conversion, EventKind, Money};
use crate::ingress::view::{Shown, instant};
use crate::queue::DeadLetter;

/// What a replay would send. Nothing is changed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Plan")]
pub(in super::super) struct PlanView<'a> {
    /// Dead letters that were given up before are in it: a replay with this `until` is of the same ones. Where a clock was ahead
    /// it lies in the time to come, and what is given up until the replay is of it, too.
    #[schemars(with = "Option<jiff::Timestamp>")]
    until: Option<Shown<jiff::Timestamp>>,
    /// Of all that are meant; on the first page only.
    totals: Option<TotalsView<'a>>,
    dead: Vec<PlannedView<'a>>,
    /// `after` of the next page, if there is one.
    next: Option<&'a str>,
}

/// How many are meant, and what they are worth.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlanTotals")]
struct TotalsView<'a> {
    matched: u64,
    /// Whether all were counted: beyond 20,000 no more are.
    whole: bool,
    groups: Vec<TotalView<'a>>,
}

/// Those of one destination and kind of which the same becomes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlanTotal")]
struct TotalView<'a> {
    destination: &'a str,
    #[schemars(schema_with = "kinds")]
    kind: &'static str,
    /// Nothing where the conversion cannot be read.
    #[schemars(schema_with = "conversion_kinds")]
    conversion_kind: Option<&'static str>,
    #[schemars(schema_with = "outcomes")]
    outcome: &'static str,
    count: u64,
    /// How many of them the destination may have already, and would not know again.
    second_sales: u64,
    /// Exact sums of `value` by currency; nothing where a sum has more than 28 digits.
    #[schemars(with = "BTreeMap<String, Option<String>>")]
    amounts: BTreeMap<&'a str, Option<Shown<Money>>>,
}

/// A dead letter, and what a replay would send of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlannedDeadLetter")]
pub(in super::super) struct PlannedView<'a> {
    #[serde(flatten)]
    letter: DeadLetterView<'a>,
    /// Nothing where it cannot be read.
    conversion: Option<ConversionView<'a>>,
    /// By the mapping in force, secrets masked; nothing where none goes out, or the answer has no room for it.
    #[schemars(schema_with = "request_schema")]
    request: Option<Box<RawValue>>,
    replay: ReplayView<'a>,
}

/// The conversion itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlannedConversion")]
struct ConversionView<'a> {
    kind: &'static str,
    event_type: &'a str,
    #[schemars(with = "jiff::Timestamp")]
    time: &'a str,
    #[schemars(with = "Option<String>")]
    value: Option<Shown<Money>>,
    currency: Option<&'a str>,
}

/// What would become of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PlannedReplay")]
struct ReplayView<'a> {
    /// `sent`: the request goes out; `skipped`, `withheld`, `unsupported`: none does; `unmappable`, `expired`, `unreadable`: it
    /// is a dead letter again; `unconfigured`: it waits; `gone`: it is no dead letter any more.
    #[schemars(schema_with = "outcomes")]
    outcome: &'static str,
    operation: Option<&'a str>,
    /// Why nothing is sent: the field, or the condition.
    reason: Option<&'a str>,
    /// Whether the request is another one than was sent last; nothing where that is not known: none was sent, or that was
    /// before the relay started.
    differs: Option<bool>,
    /// Whether the platform would know a repeat: `none` where it deduplicates on nothing, `unknown` where its window is not
    /// configured.
    #[schemars(schema_with = "deduplications")]
    deduplication: Option<&'static str>,
    dedup_window: Option<String>,
    max_age: Option<String>,
    /// The destination may have it already, and would not know it again.
    second_sale: bool,
}

impl<'a> PlanView<'a> {
    pub(super) fn new(
        until_ms: u64,
        totals: Option<&'a Totals>,
        dead: Vec<PlannedView<'a>>,
        next: Option<&'a str>,
    ) -> PlanView<'a> {
        PlanView { until: instant(until_ms), totals: totals.map(TotalsView::new), dead, next }
    }
}

impl<'a> TotalsView<'a> {
    fn new(totals: &'a Totals) -> TotalsView<'a> {
        let groups = totals.groups.iter().map(|(group, total)| TotalView::new(group, total)).collect();
        TotalsView { matched: totals.matched, whole: totals.is_whole, groups }
    }
}

impl<'a> TotalView<'a> {
    fn new((destination, kind, conversion_kind, outcome): &'a Group, total: &'a Total) -> TotalView<'a> {
        TotalView {
            destination,
            kind,
            conversion_kind: *conversion_kind,
            outcome: outcome.as_str(),
            count: total.count,
            second_sales: total.second_sales,
            amounts: total.amounts.iter().map(|(currency, sum)| (currency.as_str(), sum.map(Shown))).collect(),
        }
    }
}

impl<'a> PlannedView<'a> {
    pub(in super::super) fn new(letter: &'a DeadLetter, planned: &'a Planned) -> PlannedView<'a> {
        let request = planned.request.as_ref();
        PlannedView {
            letter: DeadLetterView::new(letter),
            conversion: planned.conversion.as_deref().map(ConversionView::new),
            request: request.and_then(|request| RawValue::from_string(request.clone()).ok()),
            replay: ReplayView {
                outcome: planned.outcome.as_str(),
                operation: planned.operation.as_deref(),
                reason: planned.reason.as_deref(),
                differs: planned.differs,
                deduplication: planned.deduplication.map(Deduplication::as_str),
                dedup_window: planned.dedup_window.map(written_duration),
                max_age: planned.max_age.map(written_duration),
                second_sale: planned.second_sale,
            },
        }
    }
}

impl<'a> ConversionView<'a> {
    fn new(conversion: &'a Conversion) -> ConversionView<'a> {
        ConversionView {
            kind: conversion.kind().as_str(),
            event_type: conversion.event_type(),
            time: conversion.time().as_str(),
            value: conversion.amount().map(Shown),
            currency: conversion.currency(),
        }
    }
}

fn outcomes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": Outcome::ALL.map(Outcome::as_str) })
}

fn deduplications(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<_> = Deduplication::ALL.map(Deduplication::as_str).map(Some).into_iter().chain([None]).collect();
    json_schema!({ "enum": words })
}

fn conversion_kinds(_: &mut SchemaGenerator) -> Schema {
    let kinds = [EventKind::Conversion, EventKind::Refund, EventKind::Adjustment].map(EventKind::as_str);
    let words: Vec<_> = kinds.map(Some).into_iter().chain([None]).collect();
    json_schema!({ "enum": words })
}

fn request_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["object", "null"],
        "required": ["method", "url", "headers"],
        "properties": {
            "method": { "type": "string" },
            "url": { "type": "string" },
            "headers": { "type": "object", "additionalProperties": { "type": "string" } },
            "body": { "description": "JSON as it is sent; a form as one text; nothing where there is none." },
        },
    })
}
