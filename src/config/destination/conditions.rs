//! Which conversions an operation is for: `when`, and `only_when` that narrows it.

use super::operation::Written;
use super::{KINDS, Named};
use crate::config::keys::listed;
use crate::config::preset::Replaced;
use crate::config::report::Faults;
use crate::conversion::EventKind;
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

/// Warns of an operation that is never used, because those before it take all that it could be for.
pub(super) fn reach_all(conversion: Option<&Written<'_>>, named: &[Named<'_>], faults: &mut Faults) {
    let mut before: Vec<(&str, Option<EventKind>)> = Vec::new();
    if conversion.is_some_and(Written::takes_all) {
        before.push(("conversion", Some(EventKind::Conversion)));
    }
    for Named { key, kind, written, .. } in named.iter().filter(|named| !named.is_misspelt) {
        let takes = |wanted: EventKind| {
            let taker = before.iter().find(|(_, taken)| taken.is_none_or(|taken| taken == wanted));
            taker.map(|(name, _)| *name)
        };
        let wanted = KINDS.iter().map(|(_, wanted)| *wanted).filter(|wanted| kind.is_none_or(|kind| kind == *wanted));
        if let Some(mut takers) = wanted.map(takes).collect::<Option<Vec<&str>>>() {
            takers.dedup();
            let takers = listed(takers.into_iter());
            let message = format!("operation `{}` is never used: all is taken before it by {takers}", key.value);
            let help = "the first operation whose condition holds is used, the destination's own level before all others: \
                        give that one a `when` or an `only_when`";
            faults.warn(key.span.clone(), message, help);
        }
        if written.takes_all() {
            before.push((key.value.as_str(), *kind));
        }
    }
}
