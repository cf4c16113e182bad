//! Credentials that single operations have of their own, and which of them the platform refuses.
//!
//! The destination's own is that of its first operation for conversions; what refuses that one, the gate bars the whole
//! destination for. One that only other operations use (a refund's own token) stops their work and nobody else's: it goes
//! back to the queue, spends no attempt, and one of it goes as a probe each [`PROBE_EVERY`], until one succeeds. One of those
//! that went back, the scout, comes again every [`SCOUT_EVERY`], so that a person who wants to know now, and a reload, find it.
//!
//! Time is passed in; the pool that owns this tells it of every attempt's end.

use std::time::Duration;

use tokio::time::Instant;

use super::gate::{Health, PROBE_EVERY};
use crate::config::Operation;
use crate::conversion::{ConversionId, EventKind};

/// Which credential an operation has, where it is not the destination's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnCredential(usize);

/// The credentials of a destination's operations.
#[derive(Debug)]
pub(super) struct Credentials {
    by_operation: Vec<Option<OwnCredential>>,
    /// Of each: the operations that use it, and whether it is refused.
    own: Vec<(String, Option<Refused>)>,
}

#[derive(Debug, Clone)]
struct Refused {
    /// What was answered, for a person.
    reason: String,
    probe_at: Instant,
    probing: bool,
    /// When those that went back are due.
    back: Spread,
    scout: Option<Scout>,
    /// Which was the last probe.
    tried: Option<ConversionId>,
}

/// The one that comes again soon.
#[derive(Debug, Clone, Copy)]
struct Scout {
    id: ConversionId,
    due: Instant,
}

/// Keeps those apart that go back together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread(Option<Instant>);

impl Spread {
    /// When the next one comes again: not before this, and [`BACK_EVERY`] behind the one before.
    pub(super) fn next(&mut self, earliest: Instant) -> Instant {
        let due = self.0.map_or(earliest, |last| earliest.max(later(last, BACK_EVERY)));
        self.0 = Some(due);
        due
    }
}

impl Refused {
    fn new(reason: &str, now: Instant) -> Refused {
        let (reason, probe_at) = (reason.to_owned(), later(now, PROBE_EVERY));
        Refused { reason, probe_at, probing: false, back: Spread::default(), scout: None, tried: None }
    }

    /// When this one, which may not go now, comes again. The last probe is the scout only while there is no other: what it
    /// met may have been its own fault.
    fn put_off(&mut self, id: ConversionId, now: Instant) -> Instant {
        let is_vacant = self.scout.is_none_or(|scout| {
            scout.id == id || Some(scout.id) == self.tried || later(scout.due, SCOUT_LOST_AFTER) <= now
        });
        if is_vacant {
            let due = later(now, SCOUT_EVERY);
            self.scout = Some(Scout { id, due });
            return due;
        }
        self.back.next(if self.probing { later(now, PROBE_EVERY) } else { self.probe_at })
    }
}

impl Credentials {
    /// None is refused. Operations that prove by the same words who sends them have one credential.
    pub(super) fn new(operations: &[Operation]) -> Credentials {
        let is_main = |operation: &&Operation| operation.kind.is_none_or(|kind| kind == EventKind::Conversion);
        let main = operations.iter().find(is_main).or(operations.first());
        let mut firsts: Vec<&Operation> = Vec::new();
        let mut own: Vec<(String, Option<Refused>)> = Vec::new();
        let by_operation = operations.iter().map(|operation| {
            let is_same = |other: &&Operation| other.request.credential() == operation.request.credential();
            if main.as_ref().is_some_and(is_same) {
                return None;
            }
            let known = firsts.iter().position(is_same).unwrap_or(firsts.len());
            match own.get_mut(known) {
                Some((names, _)) => {
                    names.push_str(", ");
                    names.push_str(&operation.name);
                }
                None => {
                    firsts.push(operation);
                    own.push((operation.name.clone(), None));
                }
            }
            Some(OwnCredential(known))
        });
        let by_operation = by_operation.collect();
        Credentials { by_operation, own }
    }

    /// Of an operation; `None`: the destination's.
    pub(super) fn of(&self, operation: usize) -> Option<OwnCredential> {
        self.by_operation.get(operation).copied().flatten()
    }

    /// Whether a request with it may go now; otherwise when the delivery may come again. So many as wait do not come all at
    /// once.
    pub(super) fn admit(&mut self, credential: OwnCredential, id: ConversionId, now: Instant) -> Result<(), Instant> {
        let Some(refused) = self.refused(credential).as_mut() else { return Ok(()) };
        if !refused.probing && refused.probe_at <= now {
            return Ok(());
        }
        Err(refused.put_off(id, now))
    }

    /// Whether it is refused, as far as is known.
    pub(super) fn is_refused(&self, credential: OwnCredential) -> bool {
        self.own.get(credential.0).is_some_and(|(_, refused)| refused.is_some())
    }

    /// A request with it goes out for this conversion.
    pub(super) fn begin(&mut self, credential: OwnCredential, id: ConversionId) {
        if let Some(refused) = self.refused(credential) {
            (refused.probing, refused.tried) = (true, Some(id));
            refused.scout.take_if(|scout| scout.id == id);
        }
    }

    /// An attempt with it has ended. Those begun before it was refused count only when they succeed.
    pub(super) fn settle(&mut self, credential: OwnCredential, health: Health, reason: &str, now: Instant) {
        let slot = self.refused(credential);
        match (health, slot.as_mut()) {
            (Health::Well, _) => *slot = None,
            (Health::Refusing, None) => {
                *slot = Some(Refused::new(reason, now));
            }
            (_, Some(refused)) if refused.probing => {
                refused.probing = false;
                refused.probe_at = later(now, PROBE_EVERY);
            }
            (_, _) => {}
        }
    }

    /// An attempt with it ended without a word about it (it panicked).
    pub(super) fn abandon(&mut self, credential: OwnCredential, now: Instant) {
        self.settle(credential, Health::Answering, "", now);
    }

    /// A person wants to know now: the next one goes.
    pub(super) fn probe_now(&mut self, now: Instant) {
        self.own.iter_mut().filter_map(|(_, refused)| refused.as_mut()).for_each(|refused| refused.probe_at = now);
    }

    /// Which of the operations have the destination's.
    pub(super) fn of_the_destination(&self, operations: &[Operation]) -> Vec<String> {
        let theirs = operations.iter().zip(&self.by_operation).filter(|(_, own)| own.is_none());
        theirs.map(|(operation, _)| operation.name.clone()).collect()
    }

    /// Those that are refused: the operations that use it, why, and when it is tried next unless it is being tried.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&str, &str, Option<Instant>)> {
        self.own.iter().filter_map(|(names, refused)| {
            let refused = refused.as_ref()?;
            Some((names.as_str(), refused.reason.as_str(), (!refused.probing).then_some(refused.probe_at)))
        })
    }

    /// Which are refused and why, for a person; `None`: none is.
    pub(super) fn reason(&self) -> Option<String> {
        let words = |(names, refused): &(String, Option<Refused>)| {
            let reason = &refused.as_ref()?.reason;
            Some(format!("{names}: {reason}"))
        };
        let all: Vec<String> = self.own.iter().filter_map(words).collect();
        (!all.is_empty()).then(|| format!("{}; other operations go on", all.join("; ")))
    }

    #[expect(clippy::indexing_slicing, reason = "the index is a position in this very list, which never changes")]
    fn refused(&mut self, credential: OwnCredential) -> &mut Option<Refused> {
        &mut self.own[credential.0].1
    }
}

fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now)
}

/// How far from one another those that go back come again: a hundred a second cost the queue little.
const BACK_EVERY: Duration = Duration::from_millis(10);
/// How soon the scout comes again: a wish looks for a delivery for a second.
const SCOUT_EVERY: Duration = Duration::from_millis(500);
/// A scout that did not come again for so long is gone: forgotten, or given up by a person.
const SCOUT_LOST_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: OwnCredential = OwnCredential(0);

    fn id(number: u8) -> ConversionId {
        ConversionId::new(1, [number; 10])
    }

    fn refused(now: Instant) -> Credentials {
        let own = ["refund, adjustment", "other"].map(|names| (names.to_owned(), None)).to_vec();
        let mut credentials = Credentials { by_operation: vec![None, Some(OWN)], own };
        assert_eq!((credentials.admit(OWN, id(1), now), credentials.reason()), (Ok(()), None));
        credentials.settle(OWN, Health::Refusing, "status 401", now);
        credentials
    }

    #[test]
    fn one_goes_each_minute_until_one_succeeds() {
        let mut now = Instant::now();
        let mut credentials = refused(now);
        assert_eq!(credentials.reason().as_deref(), Some("refund, adjustment: status 401; other operations go on"));
        assert_eq!(credentials.admit(OwnCredential(1), id(1), now), Ok(()), "the other one is good");
        for health in [Health::Refusing, Health::Answering, Health::Failing { overloaded: false }] {
            assert_eq!(credentials.admit(OWN, id(1), now + PROBE_EVERY), Ok(()));
            assert!(credentials.admit(OWN, id(1), now).is_err());
            now += PROBE_EVERY;
            credentials.begin(OWN, id(1));
            assert!(credentials.admit(OWN, id(1), now).is_err(), "one at a time");
            credentials.settle(OWN, health, "status 401", now);
        }
        credentials.settle(OWN, Health::Well, "", now);
        assert_eq!((credentials.admit(OWN, id(1), now), credentials.reason()), (Ok(()), None));
    }

    #[test]
    fn what_goes_back_does_not_come_again_all_at_once_but_for_one_that_is_never_far() {
        let mut now = Instant::now();
        let mut credentials = refused(now);
        let due = move |count: u32| Err(now + PROBE_EVERY + BACK_EVERY * count);
        let scout = |now: Instant| Err(now + SCOUT_EVERY);
        assert_eq!([1, 2, 3].map(|number| credentials.admit(OWN, id(number), now)), [scout(now), due(0), due(1)]);
        now += SCOUT_EVERY;
        assert_eq!([1, 4].map(|number| credentials.admit(OWN, id(number), now)), [scout(now), due(2)]);
        now += SCOUT_EVERY + SCOUT_LOST_AFTER;
        assert_eq!([4, 1].map(|number| credentials.admit(OWN, id(number), now)), [scout(now), due(3)], "it was lost");
        credentials.probe_now(now);
        assert_eq!(credentials.admit(OWN, id(4), now), Ok(()));
        credentials.begin(OWN, id(4));
        credentials.settle(OWN, Health::Refusing, "status 401", now);
        assert_eq!([4, 1].map(|number| credentials.admit(OWN, id(number), now)), [scout(now); 2], "another takes over");
        assert!(credentials.admit(OWN, id(4), now) > scout(now));
    }

    #[test]
    fn attempts_begun_before_do_not_put_off_the_probe() {
        let now = Instant::now();
        let mut credentials = refused(now);
        credentials.settle(OWN, Health::Refusing, "status 403", now + PROBE_EVERY / 2);
        assert_eq!(credentials.admit(OWN, id(1), now + PROBE_EVERY), Ok(()));
    }

    #[test]
    fn a_person_may_probe_at_once_and_a_probe_that_panicked_does_not_block_the_next() {
        let now = Instant::now();
        let mut credentials = refused(now);
        credentials.probe_now(now);
        assert_eq!(credentials.admit(OWN, id(1), now), Ok(()));
        credentials.begin(OWN, id(1));
        credentials.abandon(OWN, now);
        assert!(credentials.admit(OWN, id(1), now).is_err());
        assert_eq!(credentials.admit(OWN, id(1), now + PROBE_EVERY), Ok(()));
    }
}
