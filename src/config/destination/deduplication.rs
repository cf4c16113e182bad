//! What the platform deduplicates on, and for how long: a slot that is not sent would make repeats of sales.

use std::time::Duration;

use crate::config::Operation;
use crate::config::keys::At;
use crate::config::report::Faults;
use crate::mapping::{RequestTemplate, Text};

/// What is said of a slot.
#[derive(Debug, Clone, Default)]
pub(super) enum Slot {
    /// Nothing.
    #[default]
    Unsaid,
    /// That there is none, whatever the destination's is.
    Declined,
    /// Which output it is.
    Is(Text),
}

impl Slot {
    /// `none` is no output.
    pub(super) fn of(written: Option<Text>) -> Slot {
        match written {
            None => Slot::Unsaid,
            Some(text) if text.value == NONE => Slot::Declined,
            Some(text) => Slot::Is(text),
        }
    }

    /// The output, if one is named here.
    pub(super) fn named(&self) -> Option<&Text> {
        match self {
            Slot::Is(text) => Some(text),
            Slot::Unsaid | Slot::Declined => None,
        }
    }

    /// The output, the destination's where nothing is said here.
    pub(super) fn or<'s>(&'s self, shared: Option<&'s Text>) -> Option<&'s Text> {
        match self {
            Slot::Is(text) => Some(text),
            Slot::Unsaid => shared,
            Slot::Declined => None,
        }
    }
}

/// The platform deduplicates on nothing.
const NONE: &str = "none";

/// The slot that the platform deduplicates on must be something that is sent.
pub(super) fn bound(slot: &Text, request: &RequestTemplate, faults: &mut Faults) {
    let help = "name an output, as in `header.Idempotency-Key` or `map.externalId`";
    if let Some(unset) = request.unset_output(&slot.value) {
        let message =
            format!("`{}` is never sent, for `{unset}` is not set: nothing can be deduplicated on it", slot.value);
        faults.with_help(slot.span.clone(), message, format!("set `{unset}`, or {help}"));
    } else if !request.has_output(&slot.value) {
        let message = format!("`{}` is not sent, so nothing can be deduplicated on it", slot.value);
        faults.with_help(slot.span.clone(), message, help);
    }
}

/// What is said of deduplication at the destination's own level, where no operation of that level has said it.
pub(super) fn check(slot: Option<&Text>, window: Option<&At<Duration>>, operations: &[Operation], faults: &mut Faults) {
    let is_slot = |operation: &Operation| operation.idempotency.is_some();
    if operations.iter().any(is_slot) {
        return;
    }
    if let (Some(slot), Some(operation)) = (slot, operations.first()) {
        bound(slot, &operation.request, faults);
    }
    if let Some(window) = window {
        let help = "name the output that it deduplicates on: `idempotency = \"map.externalId\"`";
        faults.with_help(window.span.clone(), "`dedup_window` without `idempotency`", help);
    }
}
