//! sled's flush, made to end; and its end, kept from taking others with it.
//!
//! A write that fails behind an open batch is noted by sled, but nobody is told: the flush that waits for that write waits
//! for ever, and with it the mover and the close of the queue. Any other flush that comes after the failure finds the note
//! and wakes all who wait. So a flush that takes long is followed by others: each on a thread of its own, for it may have
//! come too early and wait as well; each after twice the time, for a slow disk is no failure.
//!
//! Put away, sled syncs its file and panics when it cannot. By then nothing depends on it: the last handle is dropped here,
//! where that ends nobody else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::super::folder::OpenError;
use super::super::panics::caught;

/// Flushes one database, one flush at a time, and holds its last handle.
pub(super) struct Flusher {
    watched: Arc<Watched>,
    watch: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Watched {
    /// Number of the flush under way; 0: none.
    under_way: AtomicU64,
    begun: AtomicU64,
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Flusher {
    pub(super) fn new(db: &sled::Db, dir: &std::path::Path) -> Result<Flusher, OpenError> {
        let (db, watched) = (db.clone(), Arc::new(Watched::default()));
        let seen = Arc::clone(&watched);
        let watch = move || {
            seen.watch(&db);
            if let Err(said) = caught(move || drop(db)) {
                tracing::warn!(said, "sled could not sync the file of a store that is put away");
            }
        };
        let watch = Builder::new().name("store-watch".to_owned()).spawn(watch);
        let watch = watch.map_err(|source| OpenError::write(dir, source))?;
        Ok(Flusher { watched, watch: Some(watch) })
    }

    pub(super) fn flush(&self, db: &sled::Db) -> sled::Result<()> {
        let number = self.watched.begun.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.watched.under_way.store(number, Ordering::Release);
        let flushed = db.flush();
        self.watched.under_way.store(0, Ordering::Release);
        flushed.map(|_bytes| ())
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        *self.watched.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.watched.changed.notify_one();
        // No flush is under way: what follows one has ended with it.
        drop(self.watch.take().map(JoinHandle::join));
    }
}

impl Watched {
    fn watch(&self, db: &sled::Db) {
        let (mut last, mut looks, mut followers) = (0, 0_u32, Vec::new());
        while !self.has_ended_within(LOOK_EVERY) {
            let now = self.under_way.load(Ordering::Acquire);
            looks = if now != 0 && now == last { looks.saturating_add(1) } else { 0 };
            last = now;
            if looks.is_power_of_two() {
                let db = db.clone();
                let follow = move || match db.flush() {
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "sled has failed, and a flush waited for it"),
                };
                match Builder::new().name("store-flush".to_owned()).spawn(follow) {
                    Ok(follower) => followers.push(follower),
                    Err(error) => tracing::warn!(%error, "a flush of the store takes long, and cannot be followed"),
                }
            }
            followers.retain(|follower| !follower.is_finished());
        }
        for follower in followers {
            // One that panicked has said so.
            drop(follower.join());
        }
    }

    fn has_ended_within(&self, time: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(ended, time, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A flush that is seen twice has taken up to two seconds: a hundred times what it takes when all is well.
const LOOK_EVERY: Duration = Duration::from_secs(1);
