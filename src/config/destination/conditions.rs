//! Which conversions an operation is for: `when`, and `only_when` that narrows it.

use super::operation::Written;
use crate::config::keys::listed;
use crate::config::preset::Replaced;
use crate::config::report::Faults;
use crate::mapping::{Applies, Condition, Constants};

/// Both must hold.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) when: Option<Condition>,
    pub(super) only_when: Option<Condition>,
}

/// Takes the conditions of an operation out of what was written of it, and what the map may rely on because of them.
pub(super) fn conditions(
    operation: &str,
    written: &mut Written<'_>,
    replaced: &[Replaced],
    constants: &Constants,
    faults: &mut Faults,
) -> (Conditions, Applies) {
    let (text, only) = (written.when.take(), written.only_when.take());
    let mut compile = |text: Option<&_>| faults.take(text.map(|text| Condition::compile(text, constants)).transpose());
    let (Some(when), Some(only_when)) = (compile(text.as_ref()), compile(only.as_ref())) else {
        return (Conditions::default(), Applies::Unknown);
    };
    let both = match (&when, &only_when) {
        (Some(one), Some(other)) => Some(one.clone().and(other.clone())),
        (one, other) => one.as_ref().or(other.as_ref()).cloned(),
    };
    guards_are_kept(operation, both.as_ref(), replaced, constants, faults);
    let applies = both.map_or(Applies::Always, |both| Applies::When(text, both));
    (Conditions { when, only_when }, applies)
}

/// Warns where a destination's `when` lets pass what its preset holds back: a page view might be paid as a sale.
fn guards_are_kept(
    operation: &str,
    when: Option<&Condition>,
    replaced: &[Replaced],
    constants: &Constants,
    faults: &mut Faults,
) {
    for Replaced { own, by, .. } in replaced.iter().filter(|replaced| replaced.operation == operation) {
        let Ok(own) = Condition::compile(own, constants) else { continue };
        let gone = own.beyond(when);
        if gone.is_empty() {
            continue;
        }
        let message = format!("this takes the place of the preset's `when`, and drops {}", listed(gone.into_iter()));
        faults.warn(by.span.clone(), message, "`only_when = \"…\"` narrows the preset's `when` and keeps all of it");
    }
}
