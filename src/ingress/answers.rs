//! Room in memory for answers: so many bytes, of all that are not read yet.
//!
//! Who asks for much and reads nothing keeps its answers in memory for as long as its connection stands. So an answer takes
//! of the room from when it is written until the last of its bytes has gone, whoever holds it; without room it is not given.
//! Of all of it one merchant has half at most: however little it reads, there is room for the others. The admin listener has
//! a room of its own, and all who ask there one share of it: no merchant keeps an operator from seeing what is the matter.
//!
//! What acknowledges a conversion, or what an operator changed, is never held back, for it is done: it takes what there is,
//! and [`Answers::check`] has a batch refused before anything of it is kept where nothing is left.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem, Reply};

/// The room of one listener.
pub(crate) struct Answers(Arc<Semaphore>);

/// What one merchant may have of it, all its answers together.
#[derive(Clone)]
pub(crate) struct Unread(Arc<Semaphore>);

/// What an answer has of the room and of its merchant's share.
type Taken = [OwnedSemaphorePermit; 2];

impl Answers {
    pub(crate) fn new() -> Answers {
        Answers(Arc::new(Semaphore::new(BYTES_MAX)))
    }

    /// A merchant's share, of which nothing is taken.
    pub(crate) fn share() -> Unread {
        Unread(Arc::new(Semaphore::new(SHARE_BYTES_MAX)))
    }

    /// Whether anything is left for this merchant.
    pub(crate) fn check(&self, unread: &Unread) -> Result<(), Problem> {
        if self.left(unread) > 0 { Ok(()) } else { Err(full()) }
    }

    /// The answer, if there is room for it.
    pub(crate) fn hold(&self, unread: &Unread, reply: Reply) -> Result<Reply, Problem> {
        let Some(bytes) = counted(&reply) else { return Ok(reply) };
        let taken = self.take(unread, bytes).ok_or_else(full)?;
        Ok(holding(reply, taken))
    }

    /// The answer in any case, with what there is of room for it.
    pub(crate) fn hold_what_is_left(&self, unread: &Unread, reply: Reply) -> Reply {
        let left = counted(&reply).map(|bytes| bytes.min(self.left(unread)));
        match left.and_then(|bytes| self.take(unread, bytes)) {
            Some(taken) => holding(reply, taken),
            None => reply,
        }
    }

    fn left(&self, unread: &Unread) -> usize {
        unread.0.available_permits().min(self.0.available_permits())
    }

    fn take(&self, unread: &Unread, bytes: usize) -> Option<Taken> {
        let permits = u32::try_from(bytes).ok()?;
        let of_share = Arc::clone(&unread.0).try_acquire_many_owned(permits).ok()?;
        let of_room = Arc::clone(&self.0).try_acquire_many_owned(permits).ok()?;
        Some([of_share, of_room])
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.0.available_permits()
    }
}

/// What an answer takes; `None`: it is too small to count. One that is longer than a share takes all of it, or it could
/// never be given.
fn counted(reply: &Reply) -> Option<usize> {
    let bytes = usize::try_from(reply.body().size_hint().lower()).unwrap_or(usize::MAX);
    (bytes > SMALL_BYTES_MAX).then(|| bytes.min(SHARE_BYTES_MAX))
}

fn holding(mut reply: Reply, taken: Taken) -> Reply {
    reply.body_mut().hold(taken);
    reply
}

fn full() -> Problem {
    Problem::new(Kind::Unavailable, "too many answers to this client, or to all, are not read yet")
        .retry_after(RETRY_AFTER)
}

/// As much as there is for bodies. The longest answers, a hundred conversions of one order with all their attempts, take some
/// MiB each, and who reads them has done so within a second.
pub(crate) const BYTES_MAX: usize = 32 << 20;
/// Of it, what one merchant may have.
pub(crate) const SHARE_BYTES_MAX: usize = BYTES_MAX / 2;
/// A receipt, or a usual status: as many as one connection has streams come to half a MiB.
const SMALL_BYTES_MAX: usize = 4 * 1024;
/// What is read passes on within moments.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::problem::body;

    fn answer(bytes: usize) -> Reply {
        body(http::StatusCode::OK, "text/plain", vec![b'x'; bytes])
    }

    #[test]
    fn an_acknowledgement_is_given_where_nothing_is_left_and_a_share_is_half() {
        let (answers, greedy, other) = (Answers::new(), Answers::share(), Answers::share());
        let most = answers.hold(&greedy, answer(SHARE_BYTES_MAX - 5000)).unwrap();
        assert!(answers.hold(&greedy, answer(5001)).is_err());
        let kept = answers.hold_what_is_left(&greedy, answer(6000));
        assert_eq!((answers.free(), answers.check(&greedy).is_err()), (BYTES_MAX - SHARE_BYTES_MAX, true));
        let small = answers.hold(&greedy, answer(SMALL_BYTES_MAX)).unwrap();
        let beyond = answers.hold_what_is_left(&greedy, answer(6000));
        let all = answers.hold(&other, answer(SHARE_BYTES_MAX + 1)).unwrap();
        assert_eq!((answers.free(), answers.check(&other).is_err()), (0, true));
        drop((most, kept, small, beyond, all));
        assert_eq!((answers.free(), answers.left(&greedy)), (BYTES_MAX, SHARE_BYTES_MAX));
    }
}
