//! Expiry: a segment is given up whole, when all in it was written too long ago.

use std::sync::PoisonError;

use super::super::folder::{Folder, is_full};
use super::super::store::StoreError;
use super::{End, History, remove_expired, seal};

impl History {
    /// Gives up segments that were written before `before_ms`. One that is written for longer than `open_ms` is ended, so
    /// that its time comes too; without room for its index that waits.
    pub(in super::super) fn expire(
        &self,
        folder: &Folder,
        now_ms: u64,
        before_ms: u64,
        open_ms: u64,
    ) -> Result<(), StoreError> {
        let mut held = self.lock_end();
        let end = &mut *held;
        self.remove_written_before(folder, end, now_ms, before_ms)?;
        let since_ms = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            index.written.as_ref().and_then(|written| written.since_ms)
        };
        if since_ms.is_none_or(|since_ms| since_ms.saturating_add(open_ms) >= now_ms) {
            return Ok(());
        }
        match seal(&self.dir, end, &self.index) {
            Ok(()) => self.remove_written_before(folder, end, now_ms, before_ms),
            Err(error) if is_full(&error) => Ok(()),
            Err(error) => Err(StoreError::Sync(error)),
        }
    }

    fn remove_written_before(&self, folder: &Folder, end: &End, now_ms: u64, before_ms: u64) -> Result<(), StoreError> {
        let oldest = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            // What a clock that was ahead has noted was written before the next one was. What one that was behind has noted
            // says nothing of older ones.
            let mut next_ms = u64::MAX;
            let written = index.full.iter().rev().map(|full| {
                let own_ms = full.mark.written_ms;
                next_ms = if own_ms > now_ms { own_ms.min(next_ms) } else { own_ms };
                next_ms
            });
            let written: Vec<u64> = written.collect();
            let count = written.iter().rev().take_while(|written_ms| **written_ms < before_ms).count();
            let next = index.full.get(count).map(|full| full.number);
            let behind_all = end.number.saturating_add(u64::from(end.segment.is_none()));
            (count > 0).then_some((count, next.unwrap_or(behind_all)))
        };
        let Some((count, oldest)) = oldest else { return Ok(()) };
        let updated = folder.update(|state| {
            state.oldest_history = oldest;
            state.history_seq = state.history_seq.max(end.next_seq);
            state.moved_seq = state.moved_seq.max(end.mark.moved_seq);
            state.store_seq = state.store_seq.max(end.mark.store_seq);
        });
        match updated {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Ok(()),
            Err(error) => return Err(StoreError::Sync(error)),
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let given_up: Vec<_> = index.full.drain(..count).collect();
        index.first_seq = given_up.last().map_or(index.first_seq, |last| last.next_seq);
        drop(index);
        remove_expired(&self.dir, oldest).map_err(StoreError::Sync)
    }
}
