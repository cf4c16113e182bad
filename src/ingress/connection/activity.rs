//! What a connection is at: whether it has a request in hand, and since when not.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ingress::metrics::Ending;

/// Counted by the requests, read by the connection's watch.
pub(super) struct Activity {
    state: Arc<Mutex<Hand>>,
    /// Whether the last answer was given before the request's body was read.
    pub(super) unread: Arc<AtomicBool>,
}

struct Hand {
    requests: usize,
    any_yet: bool,
    empty_since: Instant,
}

/// How long a connection may still be as it is.
pub(super) enum Rest {
    For(Duration),
    Over(Ending),
}

impl Activity {
    pub(super) fn new() -> Activity {
        let hand = Hand { requests: 0, any_yet: false, empty_since: Instant::now() };
        Activity { state: Arc::new(Mutex::new(hand)), unread: Arc::default() }
    }

    pub(super) fn begin(&self) -> InHand {
        self.change(|hand| {
            hand.requests = hand.requests.saturating_add(1);
            hand.any_yet = true;
        });
        InHand(Arc::clone(&self.state))
    }

    /// What is left of the limit that holds now.
    pub(super) fn rest(&self, first_request_timeout: Duration, idle_timeout: Duration) -> Rest {
        self.change(|hand| {
            let (limit, ending) = match hand.any_yet {
                true => (idle_timeout, Ending::Idle),
                false => (first_request_timeout, Ending::FirstRequestTimeout),
            };
            // A request in hand has its own deadlines; the connection is looked at again later.
            let quiet = if hand.requests > 0 { Duration::ZERO } else { hand.empty_since.elapsed() };
            match limit.saturating_sub(quiet) {
                Duration::ZERO => Rest::Over(ending),
                time => Rest::For(time),
            }
        })
    }

    /// Whether a request is being answered.
    pub(super) fn in_hand(&self) -> bool {
        self.change(|hand| hand.requests > 0)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Hand) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request in hand, until it is answered or its client is gone.
pub(crate) struct InHand(Arc<Mutex<Hand>>);

impl Drop for InHand {
    fn drop(&mut self) {
        let mut hand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hand.requests = hand.requests.saturating_sub(1);
        hand.empty_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_only_without_a_request_in_hand() {
        let activity = Activity::new();
        let rest = |activity: &Activity| match activity.rest(Duration::from_secs(30), Duration::from_secs(75)) {
            Rest::For(time) => Ok(time.as_secs()),
            Rest::Over(ending) => Err(ending),
        };
        assert_eq!(rest(&activity), Ok(30));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(rest(&activity), Err(Ending::FirstRequestTimeout));
        let (first, second) = (activity.begin(), activity.begin());
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!(rest(&activity), Ok(75));
        drop(first);
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!(rest(&activity), Ok(75));
        drop(second);
        tokio::time::advance(Duration::from_secs(70)).await;
        assert_eq!(rest(&activity), Ok(5));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(rest(&activity), Err(Ending::Idle));
    }
}
