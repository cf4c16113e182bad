//! Forgetting: what was received for an order or of a person is erased, and what is owed of it is sent to nobody.
//!
//! | step | a crash before its end leaves |
//! | --- | --- |
//! | what is owed is withdrawn, what is dead discarded: changes, as any settlement, and durable | some of it done |
//! | so all of it is settled, and moves to the history | as above, and a start does the rest |
//! | the history's segments are written anew without it (`history/erase.rs`) | each segment as it was, or anew |
//! | the journal begins a new segment, and gives up those before; their files are removed | what is owed to the journal |
//! | the store's file is left behind by a new generation; the state says that it must be | as above, and it is done then |
//!
//! Doing it again does what is left. Of each conversion there stays a hash of its key, so that a repeat is still known as
//! one and nobody is told of a second sale.

mod person;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use self::person::Person;
use super::AcceptError;
use super::embedded::Embedded;
use super::mover::Level;
use super::record::{Change, Event, Leg, Record, Settlement};
use super::shared::Shared;
use super::store::StoreError;
use super::{ORDER_STATUSES_MAX, ReadError};
use crate::conversion::{ConversionId, DestinationName};

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
    /// What is pending or dead of a person: one of the identifiers in `customer` is this, or the hash of it. What is settled
    /// is kept without them, and found by its order alone.
    Customer(String),
    /// One conversion.
    Conversion(ConversionId),
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
        }
    }
}

impl Embedded {
    /// Forgets what is meant, some conversions at a time.
    pub(super) async fn forget_all(&self, what: Forget) -> Result<Forgotten, ReadError> {
        let shared = &self.shared;
        let closed = |error: AcceptError| ReadError::Closed(error.to_string());
        let _alone = shared.treating.acquire().await.map_err(|_closed| closed(AcceptError::Closed))?;
        let (mut sum, mut done) = (Forgotten::default(), HashSet::new());
        loop {
            let (meant, known) = (what.clone(), done.clone());
            let ids = self.read(move |shared| shared.meant(&meant, &known)).await?;
            if ids.is_empty() {
                break;
            }
            done.extend(&ids);
            let (withdrawn, counts) = self.withdraw(ids).await?;
            sum = sum.and(counts);
            let (barrier, answer) = oneshot::channel();
            shared.inbox.barrier(barrier);
            self.answered(answer).await.map_err(closed)?;
            self.until_settled(&withdrawn).await?;
            self.read(move |shared| shared.erase(&withdrawn)).await?;
        }
        if sum.conversions > 0 {
            let newest = self.read(Shared::leave_behind).await?;
            self.until("the journal has given up what is forgotten", move |shared| shared.has_left(newest)).await?;
        }
        Ok(sum)
    }

    /// Sees to it that nothing more is sent of these. Those of which something is being sent for too long are left out.
    async fn withdraw(&self, ids: Vec<ConversionId>) -> Result<(HashSet<ConversionId>, Forgotten), ReadError> {
        let (mut withdrawn, mut counts, mut left) = (HashSet::new(), Forgotten::default(), ids);
        let until_ms = self.shared.clock.elapsed_ms().saturating_add(millis(SENT_WITHIN));
        loop {
            let Round { done, busy, counts: found } = self.read(move |shared| shared.withdraw_all(left)).await?;
            counts = counts.and(found);
            withdrawn.extend(done);
            if busy.is_empty() || self.shared.clock.elapsed_ms() >= until_ms {
                counts.conversions = u64::try_from(withdrawn.len()).unwrap_or(u64::MAX);
                counts.being_sent = u64::try_from(busy.len()).unwrap_or(u64::MAX);
                return Ok((withdrawn, counts));
            }
            left = busy;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the history has all of these.
    async fn until_settled(&self, ids: &HashSet<ConversionId>) -> Result<(), ReadError> {
        self.until_applied().await?;
        let ids = ids.clone();
        let are_moved = move |shared: &Shared| {
            shared.signal.raise(Level::Work);
            let window = shared.window();
            Ok(!ids.iter().any(|id| window.entry(*id).is_some()))
        };
        self.until("what is forgotten has left the memory", are_moved).await
    }

    /// Waits until it is so; not for ever.
    async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&Shared) -> Result<bool, ReadError> + Send + Sync + Clone + 'static,
    ) -> Result<(), ReadError> {
        let until_ms = self.shared.clock.elapsed_ms().saturating_add(millis(MOVED_WITHIN));
        loop {
            let look = is_so.clone();
            if self.read(move |shared| look(shared)).await? {
                return Ok(());
            }
            if self.shared.is_stopped() || self.shared.clock.elapsed_ms() >= until_ms {
                return Err(ReadError::Closed(format!("it took too long until {what}; ask again")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// What came of one try to withdraw some conversions.
struct Round {
    done: Vec<ConversionId>,
    /// Something of these is being sent.
    busy: Vec<ConversionId>,
    counts: Forgotten,
}

impl Shared {
    /// Some of the conversions that are meant, and not among `done`. Blocks.
    fn meant(&self, what: &Forget, done: &HashSet<ConversionId>) -> Result<Vec<ConversionId>, ReadError> {
        let mut ids = match what {
            Forget::Order { merchant, order_id } => self.ids_of_order(merchant, order_id)?,
            Forget::Customer(identifier) => self.ids_of_customer(&Person::of(identifier), done)?,
            Forget::Conversion(id) => self.any_status(*id)?.map(|_| *id).into_iter().collect(),
        };
        ids.retain(|id| !done.contains(id));
        Ok(ids)
    }

    fn ids_of_customer(&self, person: &Person, done: &HashSet<ConversionId>) -> Result<Vec<ConversionId>, ReadError> {
        let in_window: Vec<Arc<Record>> = self.window().records();
        let is_theirs = |record: &Record| !done.contains(&record.meta.id) && person.is_in(record);
        let mut ids: Vec<_> =
            in_window.iter().filter(|record| is_theirs(record)).map(|record| record.meta.id).collect();
        let mut after = None;
        while ids.len() < MEANT_AT_ONCE
            && let Some((kept, body)) = self.store().kept_after(after)?
        {
            after = Some(kept.record.meta.id);
            let record = kept.record.with_body(body);
            if is_theirs(&record) && !ids.contains(&record.meta.id) {
                ids.push(record.meta.id);
            }
        }
        Ok(ids)
    }

    fn withdraw_all(&self, ids: Vec<ConversionId>) -> Result<Round, ReadError> {
        let mut round = Round { done: Vec::new(), busy: Vec::new(), counts: Forgotten::default() };
        for id in ids {
            let is_done = self.withdraw(id, &mut round.counts)?;
            if is_done { round.done.push(id) } else { round.busy.push(id) }
        }
        Ok(round)
    }

    /// Sees to it that nothing more is sent of a conversion. False when a delivery of it is being sent now. Blocks.
    fn withdraw(&self, id: ConversionId, forgotten: &mut Forgotten) -> Result<bool, ReadError> {
        let mut all = true;
        let Some((seq, legs)) = self.standing(id)? else { return Ok(true) };
        for leg in legs.iter() {
            if leg.dead().is_some() {
                self.settle_for_good(seq, id, leg, |reason| Event::Discarded { reason });
                forgotten.dead = forgotten.dead.saturating_add(1);
            } else if leg.pending() {
                all &= self.withdraw_from(&leg.destination, seq, id, forgotten)?;
            }
        }
        Ok(all)
    }

    fn withdraw_from(
        &self,
        destination: &DestinationName,
        seq: u64,
        id: ConversionId,
        forgotten: &mut Forgotten,
    ) -> Result<bool, ReadError> {
        if !self.window().take(destination, seq) {
            return Ok(false);
        }
        // Until now somebody else may have had it.
        let standing = self.standing(id);
        let leg = standing.as_ref().ok().and_then(|standing| {
            let (_, legs) = standing.as_ref()?;
            legs.iter().find(|leg| leg.destination == *destination && leg.pending())
        });
        match leg {
            Some(leg) => {
                self.settle_for_good(seq, id, leg, |reason| Event::Withdrawn { reason });
                forgotten.withdrawn = forgotten.withdrawn.saturating_add(1);
                Ok(true)
            }
            None => {
                self.window().leave(destination, seq);
                // Given up by who had it: it is a dead letter now.
                standing.map(|standing| standing.is_none_or(|(_, legs)| !legs.iter().any(|leg| leg.dead().is_some())))
            }
        }
    }

    fn settle_for_good(&self, seq: u64, id: ConversionId, leg: &Leg, event: impl FnOnce(String) -> Event) {
        let event = event("forgotten on request".to_owned());
        let settlement = Settlement::new(leg.revision.saturating_add(1), self.clock.unix_ms(), event, None);
        self.change(Change { seq, id, destination: leg.destination.clone(), settlement });
    }

    /// Erases the conversions from the history, if all of them are there. Blocks.
    fn erase(&self, ids: &HashSet<ConversionId>) -> Result<(), ReadError> {
        self.history.erase(ids).map_err(|error| match error {
            StoreError::NoSpace(_) => ReadError::Closed(format!("{error}; ask again when there is")),
            error @ (StoreError::Sled(_) | StoreError::Sync(_) | StoreError::Form(_) | StoreError::History(_)) => {
                ReadError::from(error)
            }
        })
    }

    /// Leaves behind what holds bytes of what was forgotten. Returns the number of the journal's newest segment that does.
    /// Blocks.
    fn leave_behind(&self) -> Result<u64, ReadError> {
        let has_copy = self.store().has_copy();
        let noted = self.folder.update(|state| {
            state.unclean_generation = state.generation.saturating_add(u64::from(has_copy));
        });
        noted.map_err(|error| ReadError::Closed(format!("the state cannot be written: {error}")))?;
        let newest = self.segments.newest();
        self.inbox.leave_segment();
        self.signal.raise(Level::Work);
        Ok(newest)
    }

    /// Whether the journal has given up all segments up to this one, and their bytes. Blocks.
    fn has_left(&self, segment: u64) -> Result<bool, ReadError> {
        self.signal.raise(Level::Work);
        if self.segments.oldest() <= segment {
            return Ok(false);
        }
        let removed = self.segments.remove_spare(&self.folder.journal_dir());
        removed.map_err(|error| ReadError::Store(format!("removing a segment: {error}")))?;
        Ok(true)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Dealt with between two syncs; an order has no more.
const MEANT_AT_ONCE: usize = ORDER_STATUSES_MAX;
/// Longer than an attempt may take.
const SENT_WITHIN: Duration = Duration::from_secs(45);
/// What was settled is moved within a second or so; the disk may be slow.
const MOVED_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
