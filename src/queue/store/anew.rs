//! Blocks written anew: many that have little in them become one, and their segments can be given up.
//!
//! A group names the new block and none of the old ones any more; all that is said of their conversions stays as it is.

use super::super::folder::Folder;
use super::{Group, Ledger, Store, StoreError, keys};

/// What writing anew came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Anew {
    /// Nothing is worth it.
    Nothing,
    /// Nothing was written, for what was to be is damaged: it is not tried again.
    GivenUp,
    /// The store has come as far as its ledger says.
    Written,
}

impl Store {
    /// Writes some blocks anew, if that is worth it; `all`: however little it gives back.
    pub(in super::super) fn write_blocks_anew(
        &self,
        folder: &Folder,
        ledger: &mut Ledger,
        all: bool,
    ) -> Result<Anew, StoreError> {
        let Some(job) = self.backlog.sparse(all) else { return Ok(Anew::Nothing) };
        let draft = match job.draft() {
            Ok(draft) => draft,
            Err(StoreError::Form(damage)) => {
                tracing::error!(%damage, "a damaged block of the backlog stays where it is");
                self.backlog.give_up(&job);
                return Ok(Anew::GivenUp);
            }
            Err(error) => return Err(error),
        };
        let added = self.backlog.append(folder, &[draft], job.history_seq())?;
        let mut group = Group::default();
        for block in job.blocks() {
            group.remove_sized(&keys::block(block.number), block.entry_bytes());
        }
        added.iter().for_each(|block| group.put_block(block));
        ledger.count_blocks(added.len(), job.keys().len());
        group.insert(keys::LEDGER, ledger.encode());
        self.commit(group)?;
        self.backlog.publish(added, &job.keys());
        self.backlog.remove_unneeded();
        Ok(Anew::Written)
    }

    /// All of it that gives something back.
    pub(in super::super) fn compact_blocks(&self, folder: &Folder, ledger: &mut Ledger) -> Result<(), StoreError> {
        self.backlog.end_segment();
        while self.write_blocks_anew(folder, ledger, true)? != Anew::Nothing {}
        self.backlog.remove_unneeded();
        Ok(())
    }
}
