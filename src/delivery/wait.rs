//! The wait that a platform asked for (`Retry-After`, `wait_header`): it is of the platform, not of the pool that was told, so
//! it outlives a reload.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

/// Until when nothing may be sent; its clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Wait(Arc<watch::Sender<Option<Instant>>>);

/// Who must know of a wait that another one was told.
pub(super) struct Listener(watch::Receiver<Option<Instant>>);

impl Wait {
    /// Until when, if ever the platform asked.
    pub(super) fn until(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// The platform asks; of several waits the longest counts.
    pub(super) fn ask(&self, until: Instant) {
        self.0.send_if_modified(|held| {
            let longer = *held < Some(until);
            if longer {
                *held = Some(until);
            }
            longer
        });
    }

    /// A person knows better.
    pub(super) fn forget(&self) {
        self.0.send_if_modified(|held| held.take().is_some());
    }

    pub(super) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Listener {
    /// Waits until it is another wait.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could be told.
            std::future::pending::<()>().await;
        }
    }
}
