//! Who waits until nothing more is owed of a conversion.
//!
//! A settlement tells those who wait for its conversion, and costs nothing while nobody waits. Whoever waits looks at the
//! status after it was put down here: a settlement is either in that status, or tells.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use tokio::sync::Notify;

use crate::conversion::ConversionId;

/// Those who wait, by what they wait for.
#[derive(Default)]
pub(super) struct Waiters {
    /// Of conversions that are waited for: looked at without the lock.
    count: AtomicUsize,
    by_id: Mutex<HashMap<ConversionId, Waited>>,
}

struct Waited {
    by: usize,
    changed: Arc<Notify>,
}

/// One who waits, until it is dropped.
pub(super) struct Waiter<'a> {
    waiters: &'a Waiters,
    id: ConversionId,
    pub(super) changed: Arc<Notify>,
}

impl Waiters {
    pub(super) fn wait_for(&self, id: ConversionId) -> Waiter<'_> {
        let mut by_id = self.lock();
        let waited = by_id.entry(id).or_insert_with(|| Waited { by: 0, changed: Arc::default() });
        waited.by = waited.by.saturating_add(1);
        let changed = Arc::clone(&waited.changed);
        self.count.store(by_id.len(), Ordering::SeqCst);
        Waiter { waiters: self, id, changed }
    }

    /// Something was settled of it, and can be seen.
    pub(super) fn tell(&self, id: ConversionId) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(waited) = self.lock().get(&id) {
            waited.changed.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConversionId, Waited>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut by_id = self.waiters.lock();
        if let Some(waited) = by_id.get_mut(&self.id) {
            waited.by = waited.by.saturating_sub(1);
            if waited.by == 0 {
                by_id.remove(&self.id);
            }
        }
        self.waiters.count.store(by_id.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_those_who_went_away() {
        let waiters = Waiters::default();
        let id = ConversionId::new(1, [1; 10]);
        let (first, second) = (waiters.wait_for(id), waiters.wait_for(id));
        assert_eq!(waiters.count.load(Ordering::SeqCst), 1, "one conversion");
        drop(first);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 1, "one still waits");
        drop(second);
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
        assert!(waiters.lock().is_empty());
    }
}
