//! Credentials that single operations have of their own, and which of them the platform refuses.
//!
//! The destination's own is that of its first operation for conversions; what refuses that one, the gate bars the whole
//! destination for. One that only other operations use (a refund's own token) stops their work and nobody else's: it goes
//! back to the queue, spends no attempt, and one of it goes as a probe each [`PROBE_EVERY`], until one succeeds. One of those
//! that went back, the scout, comes again every [`SCOUT_EVERY`], so that a person who wants to know now, and a reload, find it.
//!
//! A question about what was accepted has a credential of its own likewise, although it shows the same words: who may send may
//! not always ask, and what cannot be asked stops nothing that can be sent. And so has a token endpoint that does not answer: what
//! needs another grant goes on.
//!
//! Time is passed in; the pool that owns this tells it of every attempt's end.

use std::time::Duration;

use tokio::time::Instant;

use super::gate::{FAILURES_MAX, Health, PROBE_EVERY};
use crate::config::Operation;
use crate::conversion::{ConversionId, EventKind};

/// Which credential an operation has, where it is not the destination's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnCredential(usize);

/// The credentials of a destination's operations.
#[derive(Debug)]
pub(super) struct Credentials {
    by_operation: Vec<Used>,
    own: Vec<Own>,
}

/// What an operation's requests show, where it is not the destination's.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    to_send: Option<OwnCredential>,
    to_ask: Option<OwnCredential>,
}

/// One that is not the destination's.
#[derive(Debug)]
struct Own {
    /// The operations that use it.
    names: String,
    /// Tokens that could not be had for it, in a row.
    lacks: u32,
    refused: Option<Refused>,
}

impl Own {
    fn new(names: String) -> Own {
        Own { names, lacks: 0, refused: None }
    }
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

    /// A probe that was under way has lifted nothing: the next one goes then.
    fn probed(&mut self, next: Instant) {
        if std::mem::take(&mut self.probing) {
            self.probe_at = next;
        }
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
        let mut own: Vec<Own> = Vec::new();
        let to_send: Vec<Option<OwnCredential>> = operations
            .iter()
            .map(|operation| {
                let is_same = |other: &&Operation| other.request.credential() == operation.request.credential();
                if main.as_ref().is_some_and(is_same) {
                    return None;
                }
                let known = firsts.iter().position(is_same).unwrap_or(firsts.len());
                match own.get_mut(known) {
                    Some(own) => {
                        own.names.push_str(", ");
                        own.names.push_str(&operation.name);
                    }
                    None => {
                        firsts.push(operation);
                        own.push(Own::new(operation.name.clone()));
                    }
                }
                Some(OwnCredential(known))
            })
            .collect();
        let by_operation = operations.iter().zip(to_send).map(|(operation, to_send)| {
            let to_ask = operation.confirm.as_ref().map(|_| {
                own.push(Own::new(format!("{} (confirmation)", operation.name)));
                OwnCredential(own.len().saturating_sub(1))
            });
            Used { to_send, to_ask }
        });
        let by_operation = by_operation.collect();
        Credentials { by_operation, own }
    }

    /// Of an operation, for a conversion or for a question about one that it took; `None`: the destination's.
    pub(super) fn of(&self, operation: usize, is_question: bool) -> Option<OwnCredential> {
        let Used { to_send, to_ask } = *self.by_operation.get(operation)?;
        if is_question { to_ask } else { to_send }
    }

    /// Whether a request with it may go now; otherwise when the delivery may come again. So many as wait do not come all at
    /// once.
    pub(super) fn admit(&mut self, credential: OwnCredential, id: ConversionId, now: Instant) -> Result<(), Instant> {
        let Some(refused) = &mut self.own(credential).refused else { return Ok(()) };
        if !refused.probing && refused.probe_at <= now {
            return Ok(());
        }
        Err(refused.put_off(id, now))
    }

    /// Whether it is refused, as far as is known.
    pub(super) fn is_refused(&self, credential: OwnCredential) -> bool {
        self.own.get(credential.0).is_some_and(|own| own.refused.is_some())
    }

    /// A request with it goes out for this conversion.
    pub(super) fn begin(&mut self, credential: OwnCredential, id: ConversionId) {
        if let Some(refused) = &mut self.own(credential).refused {
            (refused.probing, refused.tried) = (true, Some(id));
            refused.scout.take_if(|scout| scout.id == id);
        }
    }

    /// An attempt with it has ended. Those begun before it was refused count only when they succeed.
    pub(super) fn settle(&mut self, credential: OwnCredential, health: Health, reason: &str, now: Instant) {
        let own = self.own(credential);
        own.lacks = 0;
        match (health, own.refused.as_mut()) {
            (Health::Well, _) => own.refused = None,
            (Health::Refusing, None) => own.refused = Some(Refused::new(reason, now)),
            (_, Some(refused)) => refused.probed(later(now, PROBE_EVERY)),
            (_, None) => {}
        }
    }

    /// No access token could be had for it. That happens; when it has happened as often in a row as opens a breaker, or the token
    /// endpoint asked for a wait, it is as if it were refused.
    pub(super) fn lacks_token(
        &mut self,
        credential: OwnCredential,
        hold: Option<Duration>,
        reason: &str,
        now: Instant,
    ) {
        let own = self.own(credential);
        own.lacks = own.lacks.saturating_add(1);
        let next = later(now, hold.unwrap_or_default().max(PROBE_EVERY));
        match own.refused.as_mut() {
            Some(refused) => refused.probed(next),
            None if hold.is_some() || own.lacks >= FAILURES_MAX => {
                own.refused = Some(Refused { probe_at: next, ..Refused::new(reason, now) });
            }
            None => {}
        }
    }

    /// An attempt with it ended without a word about it (it panicked).
    pub(super) fn abandon(&mut self, credential: OwnCredential, now: Instant) {
        self.settle(credential, Health::Answering, "", now);
    }

    /// A person wants to know now: the next one goes.
    pub(super) fn probe_now(&mut self, now: Instant) {
        self.own.iter_mut().filter_map(|own| own.refused.as_mut()).for_each(|refused| refused.probe_at = now);
    }

    /// Which of the operations have the destination's.
    pub(super) fn of_the_destination(&self, operations: &[Operation]) -> Vec<String> {
        let theirs = operations.iter().zip(&self.by_operation).filter(|(_, used)| used.to_send.is_none());
        theirs.map(|(operation, _)| operation.name.clone()).collect()
    }

    /// Those that are refused: the operations that use it, why, and when it is tried next unless it is being tried.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&str, &str, Option<Instant>)> {
        self.own.iter().filter_map(|own| {
            let refused = own.refused.as_ref()?;
            Some((own.names.as_str(), refused.reason.as_str(), (!refused.probing).then_some(refused.probe_at)))
        })
    }

    /// Which are refused and why, for a person; `None`: none is.
    pub(super) fn reason(&self) -> Option<String> {
        let words = |own: &Own| Some(format!("{}: {}", own.names, own.refused.as_ref()?.reason));
        let all: Vec<String> = self.own.iter().filter_map(words).collect();
        (!all.is_empty()).then(|| format!("{}; other operations go on", all.join("; ")))
    }

    #[expect(clippy::indexing_slicing, reason = "the index is a position in this very list, which never changes")]
    fn own(&mut self, credential: OwnCredential) -> &mut Own {
        &mut self.own[credential.0]
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
        let own = ["refund, adjustment", "other"].map(|names| Own::new(names.to_owned()));
        let mut credentials = Credentials { by_operation: Vec::new(), own: own.into() };
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
    fn a_token_that_cannot_be_had_now_and_then_stops_nothing() {
        let now = Instant::now();
        let mut credentials = Credentials { by_operation: Vec::new(), own: vec![Own::new("refund".to_owned())] };
        for health in [Health::Well, Health::Answering] {
            (1..FAILURES_MAX).for_each(|_| credentials.lacks_token(OWN, None, "status 503", now));
            assert_eq!(credentials.admit(OWN, id(1), now), Ok(()));
            credentials.settle(OWN, health, "", now);
        }
        (0..FAILURES_MAX).for_each(|_| credentials.lacks_token(OWN, None, "no access token: status 503", now));
        let words = "refund: no access token: status 503; other operations go on";
        assert_eq!(credentials.reason().as_deref(), Some(words));
        assert!(credentials.admit(OWN, id(1), now).is_err());
        assert_eq!(credentials.admit(OWN, id(1), now + PROBE_EVERY), Ok(()));
    }

    #[test]
    fn a_token_endpoint_that_asks_for_a_wait_gets_it() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let mut credentials = Credentials { by_operation: Vec::new(), own: vec![Own::new("refund".to_owned())] };
        credentials.lacks_token(OWN, Some(hour), "status 503", now);
        assert!(credentials.admit(OWN, id(1), now + hour / 2).is_err());
        assert_eq!(credentials.admit(OWN, id(1), now + hour), Ok(()));
        credentials.begin(OWN, id(1));
        credentials.lacks_token(OWN, Some(hour), "status 503", now + hour);
        assert!(credentials.admit(OWN, id(1), now + hour + hour / 2).is_err(), "and again");
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
