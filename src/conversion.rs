//! The canonical conversion: its schema, and the way from bytes to a checked value.
//!
//! [`SCHEMA`] is the one table of fields; everything that speaks of fields is made from it. [`Conversion::parse`] is the
//! only way to a [`Conversion`], so whoever holds one holds a valid one.
//!
//! Promises: every problem of a document is reported at once, by place and never by value; numbers are kept as they were
//! written and never pass through a binary float; nothing is mended, so what is accepted is what was sent; no input, however
//! deep, long or torn, panics or recurses without bound.
//!
//! Never: IO, a clock, randomness, a log. Ids and times come from the caller.

mod canonical;
mod check;
mod country;
mod identity;
mod json;
mod money;
mod nearest;
mod parse;
mod paths;
mod problem;
mod publish;
mod read;
mod rules;
mod schema;
#[cfg(test)]
mod tests;
mod time;
mod trace;
mod values;

pub(crate) use check::is_currency;
pub use identity::{ConversionId, DestinationName, Meta};
pub use json::{DEPTH_MAX, Json, JsonError, needs_no_escape, write_text};
pub use money::{Money, MoneyError, MoneyText};
pub(crate) use nearest::nearest;
pub use paths::{Resolved, resolve};
pub use problem::{PROBLEMS_MAX, Problem};
pub use publish::{json_schema, markdown_table};
pub use schema::{Field, ITEMS_MAX, Kind, Privacy, Rows, SCHEMA, Slot, Type};
pub use time::{Date, TimeError, Timestamp};
pub use trace::TraceParent;

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use schema::{ROWS_ITEM, ROWS_TOP};
use values::Values;

/// One value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Characters, as sent.
    Text(CompactString),
    /// Exact decimal.
    Money(Money),
    /// Whole number.
    Int(i64),
    /// Truth value.
    Bool(bool),
    /// Instant with offset.
    Timestamp(Arc<Timestamp>),
    /// Day of the calendar.
    Date(Box<Date>),
    /// Free JSON.
    Json(Box<Json>),
}

/// A conversion holds some thirty, and thousands of conversions wait in memory.
const _: () = assert!(size_of::<Value>() == 24, "what a short text takes");

/// What a conversion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// Something happened.
    Conversion,
    /// An earlier conversion is taken back, wholly or in part.
    Refund,
    /// An earlier conversion has a new total.
    Adjustment,
}

/// A validated conversion. `Debug` names its fields, and no value but the event id: conversions hold personal data.
#[derive(Clone, PartialEq)]
pub struct Conversion {
    values: Values<ROWS_TOP>,
    click_ids: Vec<(CompactString, CompactString)>,
    items: Vec<Item>,
    kind: EventKind,
    time: Arc<Timestamp>,
    event_id_given: bool,
}

/// One line of an order. `Debug` names its fields, and no value.
#[derive(Clone, PartialEq)]
pub struct Item {
    values: Values<ROWS_ITEM>,
}

/// Why a body is no conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not JSON at all: 400.
    Malformed(JsonError),
    /// Every problem at once: 422.
    Invalid(Vec<Problem>),
}

impl Value {
    /// Its type; that of its field's [`Kind::ty`].
    pub const fn ty(&self) -> Type {
        match self {
            Value::Text(_) => Type::Text,
            Value::Money(_) => Type::Money,
            Value::Int(_) => Type::Int,
            Value::Bool(_) => Type::Bool,
            Value::Timestamp(_) => Type::Timestamp,
            Value::Date(_) => Type::Date,
            Value::Json(_) => Type::Json,
        }
    }
}

impl Conversion {
    /// Parses and validates one conversion. `default_event_id` stands where the merchant gave none.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when it is no JSON, else every problem of it.
    pub fn parse(body: &[u8], default_event_id: &str) -> Result<Conversion, Refusal> {
        let parse::Draft { mut values, rest } = parse::read(body).map_err(Refusal::Malformed)?;
        let kind = rules::kind(&values);
        let time = match values.at(rules::TIME) {
            Some(Value::Timestamp(time)) => Some(Arc::clone(time)),
            _ => None,
        };
        let problems = rest.problems.finish();
        let (Some(kind), Some(time), true) = (kind, time, problems.is_empty()) else {
            return Err(Refusal::Invalid(problems));
        };
        let event_id_given = values.named(rules::EVENT_ID);
        values.put_absent(rules::EVENT_ID, || Value::Text(default_event_id.into()));
        values.put_absent(rules::KIND, || Value::Text(kind.as_str().into()));
        values.put_absent(rules::EVENT_TYPE, || Value::Text(EVENT_TYPE_DEFAULT.into()));
        values.put_absent(rules::TEST, || Value::Bool(false));
        if !rest.click_ids.is_empty() {
            values.fill(rules::CLICK_IDS);
        }
        Ok(Conversion { values, click_ids: rest.click_ids, items: rest.items, kind, time, event_id_given })
    }

    /// Field at the top level or in a group; `None` when absent, and for a slot of an item or an open map. The defaults
    /// (`kind`, `event_type`, `test`, `event_id`) are always present.
    pub fn value(&self, slot: Slot) -> Option<&Value> {
        self.values.at(usize::from(slot.0))
    }

    /// Rows at the top level and in groups that have a value; that of the click ids when there is any.
    pub fn rows(&self) -> Rows {
        self.values.filled()
    }

    /// The click id of one network.
    pub fn click_id(&self, network: &str) -> Option<&str> {
        self.click_ids.iter().find(|(known, _)| **known == *network).map(|(_, id)| &**id)
    }

    /// Every click id by network, as sent.
    pub fn click_ids(&self) -> impl Iterator<Item = (&str, &str)> {
        self.click_ids.iter().map(|(network, id)| (&**network, &**id))
    }

    /// The free data.
    pub fn custom(&self) -> Option<&Json> {
        json(self.values.at(rules::CUSTOM))
    }

    /// The lines of the order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The merchant's id, or the generated one.
    pub fn event_id(&self) -> &str {
        text(self.values.at(rules::EVENT_ID)).unwrap_or_default()
    }

    /// Whether the merchant gave the event id (a generated one is no deduplication key).
    pub fn event_id_given(&self) -> bool {
        self.event_id_given
    }

    /// The merchant's order number.
    pub fn order_id(&self) -> Option<&str> {
        text(self.values.at(rules::ORDER_ID))
    }

    /// What it is.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// What happened.
    pub fn event_type(&self) -> &str {
        text(self.values.at(rules::EVENT_TYPE)).unwrap_or(EVENT_TYPE_DEFAULT)
    }

    /// When it happened.
    pub fn time(&self) -> &Timestamp {
        &self.time
    }

    /// Currency of every amount.
    pub fn currency(&self) -> Option<&str> {
        text(self.values.at(rules::CURRENCY))
    }

    /// What it is worth, in its currency.
    pub fn amount(&self) -> Option<Money> {
        match self.values.at(rules::VALUE) {
            Some(Value::Money(amount)) => Some(*amount),
            _ => None,
        }
    }

    /// A test conversion.
    pub fn is_test(&self) -> bool {
        self.values.at(rules::TEST) == Some(&Value::Bool(true))
    }

    /// `consent.tracking`.
    pub fn tracking_consent(&self) -> Option<bool> {
        match self.values.at(rules::TRACKING) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }
}

impl Slot {
    /// Whether every conversion has a value there: what the schema requires, and the defaults.
    pub fn is_always_present(self) -> bool {
        self.field().required || DEFAULTED.contains(&usize::from(self.0))
    }
}

impl Item {
    /// Field of the item; `None` when absent, and for a slot of the conversion.
    pub fn value(&self, slot: Slot) -> Option<&Value> {
        self.values.at(usize::from(slot.0).checked_sub(ROWS_TOP)?)
    }

    /// Rows of the item that have a value.
    pub fn rows(&self) -> Rows {
        self.values.filled().after(ROWS_TOP)
    }

    /// The free data of the line.
    pub fn custom(&self) -> Option<&Json> {
        json(self.values.at(rules::ITEM_CUSTOM))
    }
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversion")
            .field("event_id", &self.event_id())
            .field("fields", &names(&self.values, 0))
            .field("items", &self.items)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names(&self.values, ROWS_TOP).fmt(f)
    }
}

impl EventKind {
    /// As it is written in a conversion.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Conversion => "conversion",
            EventKind::Refund => "refund",
            EventKind::Adjustment => "adjustment",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<EventKind> {
        [EventKind::Conversion, EventKind::Refund, EventKind::Adjustment].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Rows that are filled in where the merchant gives nothing.
const DEFAULTED: [usize; 4] = [rules::EVENT_ID, rules::KIND, rules::EVENT_TYPE, rules::TEST];

/// What happened when nothing else is said.
const EVENT_TYPE_DEFAULT: &str = "purchase_completed";

/// The paths of what is there.
fn names<const ROWS: usize>(values: &Values<ROWS>, first_row: usize) -> Vec<&'static str> {
    let path = |place: usize| SCHEMA.get(place.saturating_add(first_row)).map(|field| field.path);
    values.iter().filter_map(|(place, _)| path(place)).collect()
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

fn json(value: Option<&Value>) -> Option<&Json> {
    match value {
        Some(Value::Json(json)) => Some(json),
        _ => None,
    }
}
