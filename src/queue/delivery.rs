//! A delivery in the hands of whoever asked for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Acceptance;
use super::engine::{Engine, Lease};
use crate::conversion::{Conversion, DestinationName, Meta, Refusal};

/// One conversion owed to one destination, in the hands of whoever asked for it.
///
/// Not `Clone`: it is settled once. Dropped without being settled (a panic, a cancelled task) it goes back to the queue.
pub struct Delivery {
    pub(super) lease: Lease,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) settled: AtomicBool,
}

impl Delivery {
    /// To whom it is owed.
    pub fn destination(&self) -> &DestinationName {
        &self.lease.destination
    }

    /// What the relay knows beside the conversion.
    pub fn meta(&self) -> &Meta {
        &self.lease.record.meta
    }

    /// The conversion, parsed when first asked for.
    ///
    /// # Errors
    /// When this version no longer accepts what an earlier one stored.
    pub fn conversion(&self) -> Result<Arc<Conversion>, Refusal> {
        self.lease.record.conversion()
    }

    /// Since when it is owed (Unix ms): the conversion was received, or as a dead letter replayed.
    pub fn owed_since_ms(&self) -> u64 {
        self.lease.replayed_ms.unwrap_or_else(|| self.lease.record.meta.id.unix_ms())
    }

    /// Of one that the destination has taken: it is to be asked what became of it, and must not be sent.
    pub fn acceptance(&self) -> Option<&Acceptance> {
        self.lease.acceptance.as_deref()
    }

    /// How often its end has been recorded so far, whatever that was: also for attempts that count for nothing, for questions
    /// and for a replay. An import begins anew.
    pub fn settlements(&self) -> u32 {
        self.lease.revision
    }

    /// Whether an attempt may have arrived, before or after a replay: sent again late it may be a second sale.
    pub fn is_in_doubt(&self) -> bool {
        self.lease.is_in_doubt
    }

    /// Number of the attempt that is to be made, from 1; of a replayed dead letter, since then.
    pub fn attempt(&self) -> u32 {
        self.lease.attempts.saturating_add(1)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.lease.record.meta.id)
            .field("destination", &self.lease.destination)
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled.swap(true, Ordering::AcqRel) {
            self.engine.give_back(&self.lease);
        }
    }
}
