//! What becomes of a conversion at a destination: which operation sends it, or why none does. Pure: the same conversion gets
//! the same decision until the configuration changes.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Config, Consent, Destination, Merchant, Operation, TestConversions};
use crate::conversion::{Conversion, EventKind};
use crate::mapping::{Condition, Scope};

/// What becomes of a conversion at one destination.
#[derive(Debug)]
pub enum Decision<'a> {
    /// It is sent so.
    Send(&'a Operation),
    /// No operation applies, another currency is expected, a test conversion without a test switch.
    Skipped(String),
    /// Consent is refused.
    Withheld(String),
    /// A refund or adjustment that the destination has no call for.
    Unsupported(String),
}

impl Config {
    /// What each of the merchant's destinations is owed of this conversion, in configuration order.
    pub fn plan<'a>(&'a self, merchant: &Merchant, scope: Scope<'_>) -> Vec<(&'a Destination, Decision<'a>)> {
        let chosen = |destination: &&Arc<Destination>| merchant.sends_to(&destination.name);
        let decided = |destination: &'a Arc<Destination>| (&**destination, destination.decide(scope));
        self.destinations.iter().filter(chosen).map(decided).collect()
    }
}

impl Destination {
    /// Pure: the same conversion gets the same decision until the configuration changes.
    pub fn decide(&self, scope: Scope<'_>) -> Decision<'_> {
        let conversion = scope.conversion;
        let kind = conversion.kind();
        let mut supporting = self.operations.iter().filter(|operation| operation.serves(kind)).peekable();
        if supporting.peek().is_none() {
            return none_applies(kind, format!("no operation for a conversion of kind {}", word(kind)));
        }
        if self.consent == Consent::Require && conversion.tracking_consent() == Some(false) {
            return Decision::Withheld("consent.tracking is false".to_owned());
        }
        if conversion.is_test() && !self.operations.iter().any(Operation::takes_tests) {
            return Decision::Skipped("a test conversion, and this destination has no test switch".to_owned());
        }
        if let (Some(expected), Some(currency)) = (self.expect_currency.as_deref(), conversion.currency())
            && expected != currency
        {
            return none_applies(kind, format!("currency is {currency}, and expect_currency is {expected}"));
        }
        let mut unmet = Vec::new();
        for operation in supporting {
            match operation.unmet(scope) {
                Some(reason) if unmet.contains(&reason) => {}
                Some(reason) => unmet.push(reason),
                None if conversion.is_test() && !operation.takes_tests() => {
                    let name = &operation.name;
                    return Decision::Skipped(format!("a test conversion, and operation {name} has no test switch"));
                }
                None => return operation.chosen(self.currency_unsaid(operation, conversion)),
            }
        }
        none_applies(kind, format!("does not apply: {}", unmet.join("; ")))
    }

    /// Why a refund must not go out: an order in another currency never came here, and by what else finds the sale (a click
    /// leads to several orders) another one would be taken back. Who is told the order finds that one or none. An adjustment
    /// always has an amount, and so a currency.
    fn currency_unsaid(&self, operation: &Operation, conversion: &Conversion) -> Option<String> {
        let expected = self.expect_currency.as_deref().filter(|_| conversion.kind() == EventKind::Refund)?;
        let is_safe = operation.names_order || conversion.currency().is_some();
        (!is_safe).then(|| format!("a refund here must name its currency: expect_currency is {expected}"))
    }
}

impl Operation {
    fn serves(&self, kind: EventKind) -> bool {
        self.kind.is_none_or(|own| own == kind)
    }

    fn takes_tests(&self) -> bool {
        self.test == TestConversions::Carry
    }

    /// Why it does not apply; `None`: it does.
    fn unmet<'a>(&'a self, scope: Scope<'_>) -> Option<Cow<'a, str>> {
        let unmet = |condition: &'a Option<Condition>| condition.as_ref().and_then(|condition| condition.unmet(scope));
        match (unmet(&self.when), &self.otherwise) {
            (Some(reason), None) => Some(Cow::Borrowed(reason)),
            (Some(reason), Some(words)) => Some(Cow::Owned(format!("{words} ({reason})"))),
            (None, _) => unmet(&self.only_when).map(Cow::Borrowed),
        }
    }

    /// It is sent so, unless something is lacking: of the configuration, or what is `unsaid` in the conversion.
    fn chosen(&self, unsaid: Option<String>) -> Decision<'_> {
        match (self.request.lacks(), unsaid) {
            (None, None) => Decision::Send(self),
            (None, Some(reason)) => Decision::Unsupported(reason),
            (Some(lacks), _) => {
                Decision::Unsupported(format!("operation {} needs {lacks}, which is not set", self.name))
            }
        }
    }
}

/// A conversion that is not the destination's is left out; a refund or adjustment that it has no call for must be seen.
fn none_applies(kind: EventKind, reason: String) -> Decision<'static> {
    match kind {
        EventKind::Conversion => Decision::Skipped(reason),
        EventKind::Refund | EventKind::Adjustment => Decision::Unsupported(reason),
    }
}

fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Conversion => "conversion",
        EventKind::Refund => "refund",
        EventKind::Adjustment => "adjustment",
    }
}
