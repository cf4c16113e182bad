//! What a connection is at: whether it has a request in hand, and since when not; and how many its peer has taken back.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ingress::metrics::Ending;

/// Counted by the requests, read by the connection's watch.
pub(super) struct Activity {
    state: Arc<Mutex<Hand>>,
    /// Whether something may have come that is read by nobody: a body that its answer did not wait for, or what is no request.
    pub(super) unread: Arc<AtomicBool>,
}

struct Hand {
    requests: usize,
    /// So many have begun.
    begun: u64,
    /// So many of them ended soon, and without an answer.
    taken_back: u64,
    /// More than a peer may take back.
    too_many: CancellationToken,
    empty_since: Instant,
}

/// How long a connection may still be as it is.
pub(super) enum Rest {
    For(Duration),
    Over(Ending),
}

impl Activity {
    pub(super) fn new() -> Activity {
        let too_many = CancellationToken::new();
        let hand = Hand { requests: 0, begun: 0, taken_back: 0, too_many, empty_since: Instant::now() };
        Activity { state: Arc::new(Mutex::new(hand)), unread: Arc::default() }
    }

    pub(super) fn begin(&self) -> InHand {
        self.change(|hand| {
            hand.requests = hand.requests.saturating_add(1);
            hand.begun = hand.begun.saturating_add(1);
        });
        InHand { hand: Arc::clone(&self.state), begun: Instant::now(), is_answered: false }
    }

    /// What is left of the limit that holds now.
    pub(super) fn rest(&self, first_request_timeout: Duration, idle_timeout: Duration) -> Rest {
        self.change(|hand| {
            let (limit, ending) = match hand.begun > 0 {
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

    /// Resolves when the peer has taken back more requests than it may.
    pub(super) async fn taken_back_too_many(&self) {
        let too_many = self.change(|hand| hand.too_many.clone());
        too_many.cancelled().await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut Hand) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request in hand, until it is answered or its client is gone.
pub(crate) struct InHand {
    hand: Arc<Mutex<Hand>>,
    begun: Instant,
    is_answered: bool,
}

impl InHand {
    /// There is an answer: whether its client still wants it is no matter.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        hand.requests = hand.requests.saturating_sub(1);
        hand.empty_since = Instant::now();
        if !self.is_answered && self.begun.elapsed() < PATIENCE {
            hand.taken_back = hand.taken_back.saturating_add(1);
            if hand.taken_back > TAKEN_BACK_MAX.saturating_add(hand.begun / TAKEN_BACK_ONE_OF) {
                hand.too_many.cancel();
            }
        }
    }
}

/// Who has waited for longer has reason to give up, and so many at once are all that it can give up in that time.
const PATIENCE: Duration = Duration::from_secs(1);
/// A client that gives up waiting takes back what it has in hand: this is that of a connection, and half of it again.
const TAKEN_BACK_MAX: u64 = 200;
/// Beyond that one of so many: who hedges its requests, or has little patience, takes back one now and then.
const TAKEN_BACK_ONE_OF: u64 = 10;

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_may_take_back_some_and_a_tenth_of_what_it_asks() {
        let activity = Activity::new();
        let is_too_many = || activity.change(|hand| hand.too_many.is_cancelled());
        let ask = |is_answered| activity.begin().is_answered = is_answered;
        (0..1000).for_each(|_| ask(true));
        // Of 1,333 requests a tenth is 133.
        (0..333).for_each(|_| ask(false));
        assert!(!is_too_many());
        for _ in 0..1000 {
            let impatient = activity.begin();
            advance(PATIENCE).await;
            drop(impatient);
        }
        assert!(!is_too_many(), "it has waited");
        // That makes two thousand and more that a tenth is taken of.
        (0..100).for_each(|_| ask(false));
        assert!(!is_too_many());
        (0..20).for_each(|_| ask(false));
        assert!(is_too_many());
    }

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
