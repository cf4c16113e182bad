//! Bytes of what was forgotten: in the backlog, in the history, in the journal's segments, in the store's file.

use std::collections::HashSet;

use super::super::ReadError;
use super::super::mover::Level;
use super::super::shared::Shared;
use super::super::store::StoreError;
use crate::conversion::ConversionId;

impl Shared {
    /// Erases conversions of which the history has all. Before that it is noted what else holds bytes of them. Blocks.
    pub(super) fn erase(&self, ids: &HashSet<ConversionId>) -> Result<(), ReadError> {
        self.leave_behind()?;
        let erased = self.store().backlog().erase().and_then(|()| self.history.erase(ids));
        if let Err(error @ StoreError::Sync(_)) = &erased {
            // What else was written to the file and not synced is lost, too.
            self.fail(&format!("erasing: {error}"));
        }
        erased.map_err(|error| match error {
            StoreError::NoSpace(_) => {
                ReadError::Closed(format!("{error}; it goes on with the next start, or when you ask again"))
            }
            error @ (StoreError::Sled(_)
            | StoreError::Sync(_)
            | StoreError::Form(_)
            | StoreError::History(_)
            | StoreError::Backlog(_)) => ReadError::from(error),
        })
    }

    /// Has the journal go on in a new segment and the store in a new generation, sooner or later.
    fn leave_behind(&self) -> Result<(), ReadError> {
        // From here on nothing that is given up is used again: the newest segment may be made of nothing older.
        self.segments.use_none_again();
        let removed = self.segments.remove_spare(&self.folder.journal_dir());
        removed.map_err(|error| self.unwritten(&error))?;
        // One that is made just now is noted, and not begun.
        let newest = self.segments.newest().max(self.folder.state().newest_segment);
        let has_copy = self.store().has_copy();
        let noted = self.folder.update(|state| {
            state.unclean_segment = newest;
            state.unclean_generation = state.generation.saturating_add(u64::from(has_copy));
        });
        noted.map_err(|error| self.unwritten(&error))?;
        self.segments.are_unclean_to(newest);
        self.inbox.wake();
        self.signal.raise(Level::Work);
        Ok(())
    }

    /// Whether the journal has given up all segments up to this one. Blocks.
    pub(super) fn has_left(&self, segment: u64) -> Result<bool, ReadError> {
        self.signal.raise(Level::Work);
        Ok(self.segments.oldest() > segment)
    }
}
