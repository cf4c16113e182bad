//! Deliveries that are promised and not yet pending: those of conversions that are being accepted at this moment. They count
//! for a destination's `max_pending` as those that wait there, so that neither a batch nor requests at the same moment go
//! beyond it.
//!
//! A promise may come to nothing: what is accepted may turn out to be a repeat, which owes nothing. So where the promises
//! alone leave no room nobody is refused; who asks waits for them, which takes as long as a commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::conversion::DestinationName;

/// The promises of one listener. It keeps a count for each destination that was ever promised anything.
#[derive(Default)]
pub(super) struct Promises {
    counts: Mutex<HashMap<DestinationName, Arc<watch::Sender<u64>>>>,
}

/// One delivery more for a destination.
pub(super) enum Asked {
    /// There is room.
    Promised(Promise),
    /// So many wait already.
    Full(u64),
    /// Whether there is room depends on what becomes of the promises that there are.
    Crowded(Crowd),
}

/// Room for one delivery, until it is dropped: when the delivery is pending, or is not to be.
pub(super) struct Promise(Arc<watch::Sender<u64>>);

/// Promises that take all the room there is.
pub(super) struct Crowd(watch::Receiver<u64>);

impl Promises {
    /// `pending` tells how many deliveries wait for the destination, of `max`.
    pub(super) fn ask(&self, destination: &DestinationName, max: u64, pending: impl FnOnce() -> u64) -> Asked {
        let counts = self.of(destination);
        // From here on no end of a promise is missed.
        let ends = counts.subscribe();
        let mut asked = None;
        counts.send_if_modified(|count| {
            // Read while no promise can end: one that does is pending before it does, and is seen here or there.
            let pending = pending();
            let (answer, after) = match max.checked_sub(pending) {
                None | Some(0) => (Some(Full::OfPending(pending)), *count),
                Some(room) if room <= *count => (Some(Full::OfPromises), *count),
                Some(_) => (None, count.saturating_add(1)),
            };
            (asked, *count) = (answer, after);
            // Who waits, waits for the end of one.
            false
        });
        match asked {
            None => Asked::Promised(Promise(counts)),
            Some(Full::OfPending(pending)) => Asked::Full(pending),
            Some(Full::OfPromises) => Asked::Crowded(Crowd(ends)),
        }
    }

    fn of(&self, destination: &DestinationName) -> Arc<watch::Sender<u64>> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counts.entry(destination.clone()).or_default())
    }
}

enum Full {
    OfPending(u64),
    OfPromises,
}

impl Crowd {
    /// Until one of them is kept or comes to nothing, however many newer ones there are: what was pending may have gone.
    pub(super) async fn thins(mut self) {
        // Its sender is kept for as long as the listener is.
        self.0.changed().await.ok();
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_promised_counts_as_what_waits_until_it_is_known() {
        let promises = Promises::default();
        let [one, other] = ["one", "other"].map(|name| DestinationName::parse(name).unwrap());
        let ask = |pending: u64| promises.ask(&one, 3, || pending);
        let Asked::Promised(first) = ask(1) else { panic!("there is room for two") };
        let Asked::Promised(second) = ask(1) else { panic!("there is room for one") };
        assert!(matches!(ask(3), Asked::Full(3)) && matches!(ask(4), Asked::Full(4)));
        assert!(matches!(promises.ask(&other, 1, || 0), Asked::Promised(_)), "each for itself");
        let Asked::Crowded(crowd) = ask(1) else { panic!("there is none beside the promises") };
        let thins = tokio::spawn(crowd.thins());
        tokio::task::yield_now().await;
        assert!(!thins.is_finished());
        // The first is kept, and the second comes to nothing.
        drop(first);
        thins.await.unwrap();
        assert!(matches!(ask(2), Asked::Crowded(_)));
        drop(second);
        assert!(matches!(ask(2), Asked::Promised(_)));
    }

    #[tokio::test]
    async fn who_waits_is_not_left_behind_by_who_comes_later() {
        let promises = Promises::default();
        let name = DestinationName::parse("one").unwrap();
        let Asked::Promised(first) = promises.ask(&name, 1000, || 999) else { panic!("there is room for one") };
        let Asked::Crowded(crowd) = promises.ask(&name, 1000, || 999) else { panic!("there is none beside it") };
        let thins = tokio::spawn(crowd.thins());
        // What was pending is delivered, and there is room for many.
        let newer: Vec<Asked> = (0..10).map(|_| promises.ask(&name, 1000, || 0)).collect();
        tokio::task::yield_now().await;
        assert!(!thins.is_finished());
        drop(first);
        thins.await.unwrap();
        drop(newer);
    }
}
