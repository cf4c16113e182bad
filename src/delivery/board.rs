//! What is shown of a destination, and where a person pauses and resumes it.
//!
//! The pool writes, the admin API reads and gives its two orders; neither waits for the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Activity;
use super::gate::{Cause, GateView};
use super::probe::{NoProbe, Probed};
use super::recent::{Latency, Rates, Recent, Trouble};
use crate::conversion::ConversionId;
use crate::queue::Attempt;

/// What is shown of one destination.
#[derive(Debug)]
pub(super) struct Board {
    shown: Mutex<Shown>,
    changed: Notify,
}

#[derive(Debug)]
struct Shown {
    paused: Option<Mark>,
    gate: Mark,
    last_error: Option<String>,
    probe: bool,
    breaker: GateView,
    refused: Vec<RefusedOwn>,
    recent: Recent,
    wish: Option<Wish>,
}

/// A person waits for what comes of one attempt.
#[derive(Debug)]
struct Wish {
    answer: oneshot::Sender<Result<Probed, NoProbe>>,
    /// The pool has seen it.
    is_seen: bool,
    /// The conversion whose attempt it is, once that is under way.
    of: Option<ConversionId>,
    /// How that ended.
    attempt: Option<Attempt>,
}

/// A credential of single operations that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedOwn {
    /// The operations that use it, as `refund, adjustment`.
    pub(super) operations: String,
    /// What was answered.
    pub(super) reason: String,
    /// When it is tried next; `None`: it is being tried.
    pub(super) probe_at: Option<Instant>,
}

/// What is shown beside the state.
pub(super) struct Closeup {
    pub(super) breaker: GateView,
    pub(super) refused: Vec<RefusedOwn>,
    pub(super) rates: Rates,
    pub(super) latency: Option<Latency>,
    /// Newest first.
    pub(super) errors: Vec<Trouble>,
}

/// A state, since when, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The state.
    pub(super) activity: Activity,
    /// Unix time.
    pub(super) since_ms: u64,
    /// Why; nothing for an active destination.
    pub(super) reason: Option<String>,
    /// It is that of all of the destination's work, not only of some operations'.
    pub(super) is_whole: bool,
}

/// What a person ordered, as far as the pool must act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Orders {
    /// Nothing may be sent.
    pub(super) paused: bool,
    /// A probe is wanted at once.
    pub(super) probe: bool,
    /// One attempt is wanted at once, and waited for.
    pub(super) wish: bool,
}

impl Board {
    /// An active destination.
    pub(super) fn new(now_ms: u64, now: Instant) -> Board {
        let gate = Mark { activity: Activity::Active, since_ms: now_ms, reason: None, is_whole: true };
        let shown = Shown {
            paused: None,
            gate,
            last_error: None,
            probe: false,
            breaker: GateView::default(),
            refused: Vec::new(),
            recent: Recent::new(now),
            wish: None,
        };
        Board { shown: Mutex::new(shown), changed: Notify::new() }
    }

    /// What a person ordered of the one before goes on, and what was counted; what its answers said does not: they were to
    /// another request.
    pub(super) fn succeed(&self, before: &Board) {
        let (before, mut shown) = (before.lock(), self.lock());
        shown.paused.clone_from(&before.paused);
        shown.recent.succeed(&before.recent);
    }

    /// A person pauses it, or did so before, maybe for another reason.
    pub(super) fn pause(&self, reason: String, since_ms: u64) {
        let mut shown = self.lock();
        let paused = Mark { activity: Activity::Paused, since_ms, reason: Some(reason), is_whole: true };
        shown.paused = Some(paused);
        drop(shown);
        self.changed.notify_one();
    }

    /// A person resumes it: a suspended or open one is probed at once.
    pub(super) fn resume(&self) {
        let mut shown = self.lock();
        shown.paused = None;
        shown.probe = true;
        drop(shown);
        self.changed.notify_one();
    }

    /// Waits for an order.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What was ordered; a wanted probe is reported once, and so is a wished attempt.
    pub(super) fn orders(&self) -> Orders {
        let mut shown = self.lock();
        let wish = shown.wish.as_mut().is_some_and(|wish| !std::mem::replace(&mut wish.is_seen, true));
        Orders { paused: shown.paused.is_some(), probe: std::mem::take(&mut shown.probe), wish }
    }

    /// A person wishes one attempt now, and waits for its end.
    pub(super) fn wish(&self) -> Result<oneshot::Receiver<Result<Probed, NoProbe>>, NoProbe> {
        let mut shown = self.lock();
        if let Some(paused) = &shown.paused {
            return Err(NoProbe::Paused(paused.reason.clone().unwrap_or_default()));
        }
        if shown.wish.is_some() || shown.breaker.probing {
            return Err(NoProbe::UnderWay);
        }
        let (answer, outcome) = oneshot::channel();
        shown.wish = Some(Wish { answer, is_seen: false, of: None, attempt: None });
        drop(shown);
        self.changed.notify_one();
        Ok(outcome)
    }

    /// The wished attempt is under way, for this conversion.
    pub(super) fn wish_begun(&self, id: ConversionId) {
        if let Some(wish) = &mut self.lock().wish {
            wish.of = Some(id);
        }
    }

    /// What the platform said of single conversions, which may repeat what a conversion said.
    pub(super) fn forget_errors(&self) {
        self.lock().recent.forget_errors();
    }

    /// There is no wished attempt, for this reason.
    pub(super) fn refuse_wish(&self, why: NoProbe) {
        if let Some(wish) = self.lock().wish.take() {
            // Who asked may have gone away.
            drop(wish.answer.send(Err(why)));
        }
    }

    /// Nobody is left who would see to it.
    pub(super) fn refuse_unbegun_wish(&self) {
        let unbegun = self.lock().wish.take_if(|wish| wish.of.is_none());
        if let Some(wish) = unbegun {
            drop(wish.answer.send(Err(NoProbe::Ended)));
        }
    }

    /// Nobody is left who would see to what was seen.
    pub(super) fn refuse_seen_wish(&self) {
        let seen = self.lock().wish.take_if(|wish| wish.is_seen);
        if let Some(wish) = seen {
            drop(wish.answer.send(Err(NoProbe::Ended)));
        }
    }

    /// Whether a person stopped it.
    pub(super) fn is_paused(&self) -> bool {
        self.lock().paused.is_some()
    }

    /// An attempt for this conversion is over, and all has been learnt from it.
    pub(super) fn over(&self, id: ConversionId) {
        let wish = self.lock().wish.take_if(|wish| wish.of == Some(id));
        if let Some(Wish { answer, attempt, .. }) = wish {
            drop(answer.send(attempt.map(|attempt| Probed { id, attempt }).ok_or(NoProbe::Ended)));
        }
    }

    /// The pool's gate is barred for this cause and reason, or passing; then credentials of single operations may be refused,
    /// for a reason of their own. Returns whether that is new.
    pub(super) fn gate(&self, cause: Option<Cause>, of_operations: Option<&str>, reason: &str, now_ms: u64) -> bool {
        let (activity, reason) = match (cause, of_operations) {
            (Some(Cause::Open), _) => (Activity::Open, Some(reason)),
            (Some(Cause::Suspended), _) => (Activity::Suspended, Some(reason)),
            (None, Some(of_operations)) => (Activity::Suspended, Some(of_operations)),
            (None, None) => (Activity::Active, None),
        };
        let is_whole = cause.is_some() || of_operations.is_none();
        let mut shown = self.lock();
        let is_other = (shown.gate.activity, shown.gate.is_whole) != (activity, is_whole);
        let new = is_other || (!is_whole && shown.gate.reason.as_deref() != reason);
        if new {
            shown.gate = Mark { activity, since_ms: now_ms, reason: reason.map(str::to_owned), is_whole };
        }
        new
    }

    /// What the gate and the credentials of operations say now.
    pub(super) fn show(&self, breaker: GateView, refused: Vec<RefusedOwn>) {
        let mut shown = self.lock();
        (shown.breaker, shown.refused) = (breaker, refused);
    }

    /// An attempt for this conversion has ended.
    pub(super) fn attempted(&self, id: ConversionId, attempt: &Attempt, now: Instant) {
        let mut shown = self.lock();
        shown.recent.attempted(id, attempt, now);
        if let Some(wish) = shown.wish.as_mut().filter(|wish| wish.of == Some(id)) {
            wish.attempt = Some(attempt.clone());
        }
    }

    /// No request could be made for a delivery.
    pub(super) fn failed(&self, trouble: Trouble) {
        self.lock().recent.failed(trouble);
    }

    pub(super) fn closeup(&self, now: Instant) -> Closeup {
        let shown = self.lock();
        Closeup {
            breaker: shown.breaker,
            refused: shown.refused.clone(),
            rates: shown.recent.rates(now),
            latency: shown.recent.latency(now),
            errors: shown.recent.errors(),
        }
    }

    /// The last thing that went wrong.
    pub(super) fn error(&self, error: String) {
        self.lock().last_error = Some(error);
    }

    /// The state to show: a pause covers what the gate says.
    pub(super) fn mark(&self) -> Mark {
        let shown = self.lock();
        shown.paused.as_ref().unwrap_or(&shown.gate).clone()
    }

    /// Why all of the destination's work is suspended, if it is, also under a pause.
    pub(super) fn suspension(&self) -> Option<String> {
        let gate = &self.lock().gate;
        let is_whole = gate.activity == Activity::Suspended && gate.is_whole;
        gate.reason.clone().filter(|_| is_whole)
    }

    /// The last thing that went wrong.
    pub(super) fn last_error(&self) -> Option<String> {
        self.lock().last_error.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_covers_a_suspension_and_a_resume_uncovers_it() {
        let board = Board::new(1, Instant::now());
        assert!(board.gate(Some(Cause::Suspended), None, "status 401", 2));
        assert!(
            !board.gate(Some(Cause::Suspended), Some("refund: status 401"), "status 403", 3),
            "since and reason are those of the beginning"
        );
        board.pause("paused".to_owned(), 4);
        board.pause("for another reason".to_owned(), 4);
        let reason = Some("for another reason".to_owned());
        let paused = Mark { activity: Activity::Paused, since_ms: 4, reason, is_whole: true };
        assert_eq!(board.mark(), paused);
        assert_eq!(board.orders(), Orders { paused: true, probe: false, wish: false });
        board.resume();
        let reason = Some("status 401".to_owned());
        let suspended = Mark { activity: Activity::Suspended, since_ms: 2, reason, is_whole: true };
        assert_eq!(board.mark(), suspended);
        assert_eq!(board.orders(), Orders { paused: false, probe: true, wish: false });
        assert_eq!(board.orders(), Orders { paused: false, probe: false, wish: false }, "one probe");
        assert!(board.gate(None, None, "", 6));
        let active = Mark { activity: Activity::Active, since_ms: 6, reason: None, is_whole: true };
        assert_eq!(board.mark(), active);
    }

    #[test]
    fn a_wish_that_nobody_will_see_to_is_refused_and_one_under_way_is_not() {
        let board = Board::new(1, Instant::now());
        let mut unseen = board.wish().unwrap();
        board.refuse_unbegun_wish();
        assert_eq!(unseen.try_recv().unwrap(), Err(NoProbe::Ended));
        let mut begun = board.wish().unwrap();
        assert!(board.orders().wish);
        board.wish_begun(ConversionId::new(1, [7; 10]));
        board.refuse_unbegun_wish();
        assert!(begun.try_recv().is_err(), "it has not ended");
    }

    #[test]
    fn a_refused_credential_of_operations_is_told_beside_what_goes_on_and_behind_what_stops_all() {
        let board = Board::new(1, Instant::now());
        let refused = |reason: &str, since_ms| Mark {
            activity: Activity::Suspended,
            since_ms,
            reason: Some(reason.to_owned()),
            is_whole: false,
        };
        assert!(board.gate(None, Some("refund: status 401"), "status 401", 2));
        assert!(!board.gate(None, Some("refund: status 401"), "status 500", 3));
        assert_eq!(board.mark(), refused("refund: status 401", 2));
        assert!(board.gate(None, Some("refund: status 401; adjustment: status 403"), "status 403", 4));
        assert!(board.gate(Some(Cause::Suspended), Some("refund: status 401"), "status 401", 5));
        assert!(board.mark().is_whole);
        assert!(board.gate(None, Some("refund: status 401"), "", 6));
        assert_eq!(board.mark(), refused("refund: status 401", 6));
    }
}
