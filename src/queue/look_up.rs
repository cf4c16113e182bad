//! A conversion looked up: memory first, then the store, then the history, as it goes from the one to the other.

use std::sync::Arc;

use super::codec::Malformed;
use super::record::{Change, Leg};
use super::shared::Shared;
use super::status::Status;
use super::store::{Kept, StoreError};
use super::{OF_ORDER_MAX, ReadError};
use crate::conversion::ConversionId;

impl Shared {
    /// Place in the order of acceptance, and legs, of a conversion of which something is owed or dead, or was just now.
    /// Blocks.
    pub(super) fn standing(&self, id: ConversionId) -> Result<Option<Standing>, StoreError> {
        let in_window = self.window().entry(id);
        if let Some((record, legs)) = in_window {
            return Ok(Some((record.seq, legs)));
        }
        Ok(self.kept_now(id)?.map(|kept| (kept.record.seq, Arc::new(kept.legs))))
    }

    /// What the store keeps of a conversion. Where damage tells nothing of it, it may be one that is settled: the history
    /// knows those. Blocks.
    pub(super) fn kept(&self, id: ConversionId) -> Result<Option<Kept>, StoreError> {
        match self.ask(|store| store.kept(id)) {
            Err(StoreError::Form(_)) if self.history.status(id)?.is_some() => Ok(None),
            kept => kept,
        }
    }

    /// Whether what became of a delivery whose conversion cannot be read is kept nowhere: it may have been settled, and kept before.
    pub(super) fn is_lost(&self, change: &Change) -> Result<bool, StoreError> {
        Ok(self.history.status(change.id)?.is_none())
    }

    /// Once it is given up for good.
    pub(super) fn note_lost_change(&self, change: &Change, damage: &Malformed) {
        self.metrics.lost.inc();
        let (destination, seq) = (&change.destination, change.seq);
        tracing::error!(%destination, seq, %damage, "what became of a delivery is lost, for its conversion cannot be read");
    }

    /// What the store keeps of a conversion, with what is on its way there. Blocks.
    pub(super) fn kept_now(&self, id: ConversionId) -> Result<Option<Kept>, StoreError> {
        let changes = self.window().changes_of(id);
        let Some(mut kept) = self.kept(id)? else {
            return Ok(None);
        };
        for change in &changes {
            let leg = kept.legs.iter_mut().find(|leg| leg.destination == change.destination);
            leg.map(|leg| leg.apply(&change.settlement));
        }
        Ok(Some(kept))
    }

    /// Whether the store or the history has it: its key may be known for longer, for a store can be lost. One that cannot be
    /// read is there: taken for new it would be a second sale. Blocks.
    pub(super) fn is_known(&self, id: ConversionId) -> Result<bool, StoreError> {
        match self.kept(id) {
            Err(StoreError::Form(_)) => Ok(true),
            kept => Ok(kept?.is_some() || self.history.status(id)?.is_some()),
        }
    }

    /// A status as the store has it, with what is on its way there; or the history: what goes there leaves the store
    /// afterwards. Blocks.
    pub(super) fn stored_status(&self, id: ConversionId) -> Result<Option<Status>, ReadError> {
        let Some(kept) = self.kept_now(id)? else { return Ok(self.history.status(id)?) };
        let window = self.window();
        Ok(Some(kept.record.status(&kept.legs, |destination| window.held_because(destination))))
    }

    /// Memory first: what leaves it is in the store before.
    pub(super) fn any_status(&self, id: ConversionId) -> Result<Option<Status>, ReadError> {
        let in_window = self.window().status(id);
        in_window.map_or_else(|| self.stored_status(id), |status| Ok(Some(status)))
    }

    /// Blocks.
    pub(super) fn order(&self, merchant: &str, order_id: &str) -> Result<Vec<Status>, ReadError> {
        let ids = self.ids_of_order(merchant, order_id)?;
        let statuses = ids.into_iter().map(|id| self.any_status(id));
        Ok(statuses.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The newest of a merchant's conversions for an order, oldest first. Blocks.
    pub(super) fn ids_of_order(&self, merchant: &str, order_id: &str) -> Result<Vec<ConversionId>, ReadError> {
        let mut ids = self.window().order(merchant, order_id);
        let order = self.vault.hash(merchant, order_id);
        loop {
            let history_seq = self.history.first_seq();
            ids.extend(self.ask(|store| store.order(&order, history_seq))?);
            ids.extend(self.history.order(&order)?);
            // What was given up meanwhile may be what knew of one.
            if self.history.first_seq() == history_seq {
                break;
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids.split_off(ids.len().saturating_sub(OF_ORDER_MAX)))
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> ReadError {
        ReadError::Store(error.to_string())
    }
}

/// Place in the order of acceptance, and legs.
pub(super) type Standing = (u64, Arc<Vec<Leg>>);
