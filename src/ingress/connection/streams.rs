//! The tasks of an HTTP/2 connection's streams, which end with it.

use hyper::rt::Executor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Runs the streams of one HTTP/2 connection, and ends with it.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(stream));
    }
}

impl Streams {
    pub(super) fn new() -> Streams {
        Streams { tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Ends them when it is dropped.
    pub(super) fn ends(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }

    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
