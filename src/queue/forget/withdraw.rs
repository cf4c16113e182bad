//! Withdrawing: nothing more is sent of a conversion, and all of it is settled.

use super::super::ReadError;
use super::super::record::{Change, Event, Leg, Settlement};
use super::super::shared::Shared;
use super::super::store::StoreError;
use super::Forgotten;
use crate::conversion::{ConversionId, DestinationName};

/// What came of one try to withdraw some conversions.
pub(super) struct Round {
    pub(super) done: Vec<ConversionId>,
    /// Something of these is being sent.
    pub(super) busy: Vec<ConversionId>,
    /// These are damaged: nothing can be sent of them, and nobody can tell what is to be withdrawn.
    pub(super) unread: Vec<ConversionId>,
    pub(super) counts: Forgotten,
}

impl Shared {
    /// Blocks.
    pub(super) fn withdraw_all(&self, ids: Vec<ConversionId>) -> Result<Round, ReadError> {
        let (done, busy, unread) = (Vec::new(), Vec::new(), Vec::new());
        let mut round = Round { done, busy, unread, counts: Forgotten::default() };
        for id in ids {
            let ids = match self.withdraw(id, &mut round.counts) {
                // The others are withdrawn all the same.
                Err(StoreError::Form(damage)) => {
                    tracing::error!(%id, %damage, "what is to be forgotten cannot be read, and stays until it is recovered");
                    &mut round.unread
                }
                withdrawn => {
                    if withdrawn? {
                        &mut round.done
                    } else {
                        &mut round.busy
                    }
                }
            };
            ids.push(id);
        }
        Ok(round)
    }

    /// False, and all of it is left as it is, when a delivery of it is being sent now.
    fn withdraw(&self, id: ConversionId, counts: &mut Forgotten) -> Result<bool, StoreError> {
        let Some((seq, legs)) = self.standing(id)? else { return Ok(true) };
        let mut taken = Taken { shared: self, seq, destinations: Vec::new() };
        for leg in legs.iter().filter(|leg| leg.pending()) {
            if !self.window().take(&leg.destination, seq) {
                return Ok(false);
            }
            taken.destinations.push(leg.destination.clone());
        }
        // Until all were taken somebody else may have had one; from here on nobody can.
        let Some((_, legs)) = self.standing(id)? else { return Ok(true) };
        if legs.iter().any(|leg| leg.pending() && !taken.destinations.contains(&leg.destination)) {
            return Ok(false);
        }
        for leg in &*legs {
            if let Some((was, _at_ms)) = leg.dead() {
                self.settle_for_good(seq, id, leg, |reason| Event::Discarded { reason, was });
                counts.dead = counts.dead.saturating_add(1);
            } else if leg.pending() {
                taken.destinations.retain(|destination| *destination != leg.destination);
                self.settle_for_good(seq, id, leg, |reason| Event::Withdrawn { reason });
                counts.withdrawn = counts.withdrawn.saturating_add(1);
            }
        }
        Ok(true)
    }

    fn settle_for_good(&self, seq: u64, id: ConversionId, leg: &Leg, event: impl FnOnce(String) -> Event) {
        let event = event("forgotten on request".to_owned());
        let settlement = Settlement::new(leg.revision.saturating_add(1), self.clock.unix_ms(), event, None);
        self.change(Change { seq, id, destination: leg.destination.clone(), settlement });
    }
}

/// Deliveries that are in nobody else's hands. Those that are not settled go back.
struct Taken<'s> {
    shared: &'s Shared,
    seq: u64,
    destinations: Vec<DestinationName>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for destination in &self.destinations {
            self.shared.window().leave(destination, self.seq);
        }
    }
}
