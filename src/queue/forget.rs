//! Forgetting: what was received for an order or of a person is erased, and what is owed of it is sent to nobody.
//!
//! | step | file |
//! | --- | --- |
//! | what is meant is found, and its ids are written down: whatever ends this, the next start or request finishes it | `find`, `intent` |
//! | what is owed is withdrawn, what is dead discarded: changes, as any settlement; so all of it moves to the history | `withdraw` |
//! | the state says which of the journal's segments and of the store's generations hold bytes of it | `leftovers` |
//! | in the backlog's segments all that is gone is overwritten | `backlog/erase.rs` |
//! | the history's segments are written anew without it | `history/erase.rs` |
//! | the journal goes on in a new segment; those that hold bytes of it are removed, and not used again | `leftovers` |
//! | the store's file is left behind by a new generation | `generation.rs` |
//!
//! Of each conversion its id and a hash of its key stay, so that a repeat is still known as one and nobody is told of a
//! second sale.

mod find;
mod intent;
mod leftovers;
mod withdraw;

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::oneshot;

use self::find::Found;
use self::withdraw::Round;
use super::embedded::{Alone, Embedded};
use super::folder::is_full;
use super::mover::Level;
use super::shared::Shared;
use super::{AcceptError, OF_ORDER_MAX, ReadError};
use crate::conversion::ConversionId;

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forget {
    /// All that a merchant sent for an order.
    Order {
        /// Whose order it is.
        merchant: String,
        /// Its id.
        order_id: String,
    },
    /// What is pending or dead of a merchant's customer: one of the identifiers in `customer` is this, or the hash of it. What
    /// is settled is kept without them, and found by its order alone.
    Customer {
        /// Whose customer it is.
        merchant: String,
        /// Any of theirs.
        identifier: String,
    },
    /// One conversion.
    Conversion(ConversionId),
}

impl Forget {
    /// Whose order or customer it is.
    pub fn merchant(&self) -> Option<&str> {
        match self {
            Forget::Order { merchant, .. } | Forget::Customer { merchant, .. } => Some(merchant),
            Forget::Conversion(_) => None,
        }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Conversions.
    pub conversions: u64,
    /// Deliveries of them that were owed, and are sent to nobody.
    pub withdrawn: u64,
    /// Dead letters of them.
    pub dead: u64,
    /// Conversions that are left as they are: a delivery of them was being sent all the time.
    pub being_sent: u64,
    /// Conversions that are damaged: nothing of them is sent, and what is left of them is erased once the folder is recovered,
    /// at the next start or request.
    pub unread: u64,
}

impl Forgotten {
    /// With another's counts.
    #[must_use]
    pub fn and(self, other: Forgotten) -> Forgotten {
        Forgotten {
            conversions: self.conversions.saturating_add(other.conversions),
            withdrawn: self.withdrawn.saturating_add(other.withdrawn),
            dead: self.dead.saturating_add(other.dead),
            being_sent: self.being_sent.saturating_add(other.being_sent),
            unread: self.unread.saturating_add(other.unread),
        }
    }
}

impl Embedded {
    /// Forgets what is meant, some conversions at a time, and what an earlier request has left.
    pub(super) async fn forget_all(&self, what: Forget) -> Result<Forgotten, ReadError> {
        let alone = &self.alone().await?;
        let (mut sum, mut damaged) = (Forgotten::default(), Vec::new());
        let mut found = self.read_alone(alone, Shared::left_to_forget).await?;
        loop {
            let meant = what.clone();
            found = self.read_alone(alone, move |shared| shared.find(&meant, found)).await?;
            let ids = found.take();
            if ids.is_empty() {
                break;
            }
            let (written, all) = (ids.clone(), found.all());
            self.read_alone(alone, move |shared| shared.intend(&all)).await?;
            let (withdrawn, unread, counts) = self.withdraw(alone, written).await?;
            sum = sum.and(counts);
            found.leave_out(ids.into_iter().filter(|id| !withdrawn.contains(id) && !unread.contains(id)));
            damaged.extend(unread);
            let left = found.all();
            self.read_alone(alone, move |shared| shared.intend(&left)).await?;
            self.erase(alone, withdrawn).await?;
        }
        if sum.conversions > 0 {
            let left = self.shared.folder.state().unclean_segment;
            let has_left = move |shared: &Shared| shared.has_left(left);
            self.until(alone, "the journal has given up what is forgotten", has_left).await?;
        }
        self.read_alone(alone, move |shared| shared.intend(&damaged)).await?;
        Ok(sum)
    }

    /// Sees to it that nothing more is sent of these: which that is of, and which are damaged. Those of which something is being
    /// sent for too long are left out.
    async fn withdraw(
        &self,
        alone: &Alone,
        ids: Vec<ConversionId>,
    ) -> Result<(HashSet<ConversionId>, HashSet<ConversionId>, Forgotten), ReadError> {
        let (mut withdrawn, mut damaged) = (HashSet::new(), HashSet::new());
        let (mut counts, mut left) = (Forgotten::default(), ids);
        let until_ms = self.shared.clock.elapsed_ms().saturating_add(millis(SENT_WITHIN));
        loop {
            let withdraw = move |shared: &Shared| shared.withdraw_all(left);
            let Round { done, busy, unread, counts: found } = self.read_alone(alone, withdraw).await?;
            counts = counts.and(found);
            withdrawn.extend(done);
            damaged.extend(unread);
            if busy.is_empty() || self.shared.clock.elapsed_ms() >= until_ms {
                counts.conversions = u64::try_from(withdrawn.len()).unwrap_or(u64::MAX);
                counts.being_sent = u64::try_from(busy.len()).unwrap_or(u64::MAX);
                counts.unread = u64::try_from(damaged.len()).unwrap_or(u64::MAX);
                return Ok((withdrawn, damaged, counts));
            }
            left = busy;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Erases what was withdrawn, once the history has all of it.
    async fn erase(&self, alone: &Alone, ids: HashSet<ConversionId>) -> Result<(), ReadError> {
        let shared = &self.shared;
        let (barrier, answer) = oneshot::channel();
        shared.inbox.barrier(barrier);
        self.answered(answer).await.map_err(|error| closed(&error))?;
        let (made, awaited) = (shared.window().changes_made(), ids.clone());
        let are_moved = move |shared: &Shared| {
            shared.signal.raise(Level::Urgent);
            let window = shared.window();
            Ok(window.changes_applied() >= made && !awaited.iter().any(|id| window.entry(*id).is_some()))
        };
        self.until(alone, "what is forgotten has left the memory", are_moved).await?;
        self.read_alone(alone, move |shared| shared.erase(&ids)).await
    }

    /// Waits until it is so; not for ever.
    async fn until(
        &self,
        alone: &Alone,
        what: &str,
        is_so: impl Fn(&Shared) -> Result<bool, ReadError> + Send + Sync + Clone + 'static,
    ) -> Result<(), ReadError> {
        let until_ms = self.shared.clock.elapsed_ms().saturating_add(millis(MOVED_WITHIN));
        loop {
            let look = is_so.clone();
            if self.read_alone(alone, move |shared| look(shared)).await? {
                return Ok(());
            }
            if self.shared.is_stopped() || self.shared.clock.elapsed_ms() >= until_ms {
                let left = "it goes on with the next start, or when you ask again";
                return Err(ReadError::Closed(format!("it took too long until {what}; {left}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Shared {
    /// At a start, before anything is handed out: withdraws what an earlier request has left, if anything. Then all of it is
    /// to be moved, and [finished](Shared::finish_forgetting).
    pub(super) fn begin_to_finish(&self) -> Result<Option<HashSet<ConversionId>>, ReadError> {
        let left = self.left_to_forget()?.take();
        if left.is_empty() {
            return Ok(None);
        }
        tracing::info!(conversions = left.len(), "what was to be forgotten is: it had been cut short");
        Ok(Some(self.withdraw_all(left)?.done.into_iter().collect()))
    }

    pub(super) fn finish_forgetting(&self, ids: &HashSet<ConversionId>) -> Result<(), ReadError> {
        self.erase(ids)?;
        let left = self.still_to_forget()?.into_iter().filter(|id| !ids.contains(id)).collect::<Vec<_>>();
        self.intend(&left)
    }

    /// What an earlier request has left and that could not be erased so far. Blocks.
    pub(super) fn still_to_forget(&self) -> Result<HashSet<ConversionId>, ReadError> {
        Ok(self.left_to_forget()?.take().into_iter().collect())
    }

    /// What an earlier request has left. Blocks.
    fn left_to_forget(&self) -> Result<Found, ReadError> {
        let left = intent::read(self.folder.path());
        left.map(Found::of).map_err(|error| ReadError::Store(format!("reading what is to be forgotten: {error}")))
    }

    /// Writes down what is to be forgotten, durably; or that nothing is. Blocks.
    fn intend(&self, ids: &[ConversionId]) -> Result<(), ReadError> {
        intent::write(self.folder.path(), ids).map_err(|error| self.unwritten(&error))
    }

    /// On a full disk it is tried again. Of anything else nobody knows what is durable: the queue ends.
    fn unwritten(&self, error: &std::io::Error) -> ReadError {
        let said = format!("what is to be forgotten cannot be written down: {error}");
        if !is_full(error) {
            self.fail(&said);
        }
        ReadError::Closed(said)
    }
}

fn closed(error: &AcceptError) -> ReadError {
    ReadError::Closed(error.to_string())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Dealt with between two syncs; of an order so many are found at once.
const MEANT_AT_ONCE: usize = OF_ORDER_MAX;
/// Longer than an attempt may take.
const SENT_WITHIN: Duration = Duration::from_secs(45);
/// What was settled is moved within a second or so; the disk may be slow.
const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
