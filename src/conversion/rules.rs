//! The rules across fields. They speak only when the fields that they rest on were right themselves.

use super::check::is_email;
use super::money::Money;
use super::problem::{Path, Problems};
use super::schema::{Field, ITEM_PREFIX, ROWS_TOP, SCHEMA, place};
use super::values::Values;
use super::{EventKind, Item, Value};

pub(super) const EVENT_ID: usize = place("event_id");
pub(super) const KIND: usize = place("kind");
pub(super) const EVENT_TYPE: usize = place("event_type");
pub(super) const TIME: usize = place("time");
pub(super) const VALUE: usize = place("value");
pub(super) const CURRENCY: usize = place("currency");
pub(super) const TEST: usize = place("test");
pub(super) const ORDER_ID: usize = place("order_id");
pub(super) const CLICK_IDS: usize = place("click_ids.*");
pub(super) const TRACKING: usize = place("consent.tracking");
const SUBTOTAL: usize = place("order.subtotal");
const CUSTOMER_ID: usize = place("customer.id");
const PROFILE_ID: usize = place("customer.profile_id");
pub(super) const CUSTOM: usize = place("custom");
pub(super) const ITEM_CUSTOM: usize = place("items[].custom") - ROWS_TOP;

/// The kind as given, or as it is when none is given; `None` when what was given was refused.
pub(super) fn kind(values: &Values<ROWS_TOP>) -> Option<EventKind> {
    match values.at(KIND) {
        Some(Value::Text(word)) => EventKind::parse(word),
        Some(_) => None,
        None => (!values.named(KIND)).then_some(EventKind::Conversion),
    }
}

/// Every rule across fields.
pub(super) fn check(values: &Values<ROWS_TOP>, items: &[Item], problems: &mut Problems) {
    let kind = kind(values);
    let mut first_amount = None;
    let has_currency = values.named(CURRENCY);
    let matters = |value: &Value| matches!(value, Value::Money(amount) if !has_currency || amount.is_negative());
    // Hardly ever: then nobody need know where an amount stands.
    if values.stored().iter().chain(items.iter().flat_map(|item| item.values.stored())).any(matters) {
        amounts(values, items, |path, field, amount| {
            let negative = amount.is_negative() && !field.may_be_negative();
            if negative && matches!(kind, Some(EventKind::Conversion | EventKind::Adjustment)) {
                problems.push(path, "must not be negative: only a refund may be");
            }
            first_amount.get_or_insert_with(|| path.pointer());
        });
    }
    if let (Some(amount), false) = (first_amount, has_currency) {
        problems.push(&Path::ROOT.member("currency"), format!("is required, because there is an amount at {amount}"));
    }
    let later = matches!(kind, Some(EventKind::Refund | EventKind::Adjustment));
    if later && !values.named(ORDER_ID) && !values.named(EVENT_ID) {
        let detail = "is required in a refund or adjustment, to name the earlier conversion (its event_id will do as well, \
                      if it had no order_id)";
        problems.push(&Path::ROOT.member("order_id"), detail);
    }
    // They go to platforms as they are, and no platform may get an address that way.
    for (place, name) in [(CUSTOMER_ID, "id"), (PROFILE_ID, "profile_id")] {
        if matches!(values.at(place), Some(Value::Text(id)) if is_email(id.trim())) {
            let detail = "must not be an e-mail address: that is `customer.email`, and is hashed where it must be";
            problems.push(&Path::ROOT.member("customer").member(name), detail);
        }
    }
    if let (Some(EventKind::Refund), Some(amount)) = (kind, amount_of_no_part(values, items)) {
        let detail = format!(
            "is required in a refund of a part (or order.subtotal, or items), and there is an amount at {amount}: a refund of \
             the whole order names no amount"
        );
        problems.push(&Path::ROOT.member("value"), detail);
    }
    if kind == Some(EventKind::Adjustment) && !values.named(VALUE) {
        problems.push(&Path::ROOT.member("value"), "is required in an adjustment: the new absolute total");
    }
}

/// The place of an amount where nothing says which part of an order is meant: shipping alone, say, is not the whole.
fn amount_of_no_part(values: &Values<ROWS_TOP>, items: &[Item]) -> Option<String> {
    if values.named(VALUE) || values.named(SUBTOTAL) || !items.is_empty() {
        return None;
    }
    let mut first = None;
    amounts(values, items, |path, _, _| {
        first.get_or_insert_with(|| path.pointer());
    });
    first
}

/// Hands over every amount with its place and its row.
fn amounts(values: &Values<ROWS_TOP>, items: &[Item], mut each: impl FnMut(&Path<'_>, &Field, &Money)) {
    for (place, value) in values.iter() {
        let (Value::Money(amount), Some(field)) = (value, SCHEMA.get(place)) else { continue };
        match field.path.split_once('.') {
            None => each(&Path::ROOT.member(field.path), field, amount),
            Some((group, name)) => each(&Path::ROOT.member(group).member(name), field, amount),
        }
    }
    for (index, item) in items.iter().enumerate() {
        for (place, value) in item.values.iter() {
            let row = place.saturating_add(ROWS_TOP);
            let (Value::Money(amount), Some(field)) = (value, SCHEMA.get(row)) else { continue };
            let name = field.path.strip_prefix(ITEM_PREFIX).unwrap_or(field.path);
            each(&Path::ROOT.member("items").element(index).member(name), field, amount);
        }
    }
}
