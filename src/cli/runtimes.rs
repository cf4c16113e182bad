//! The threads that serve: those of the front take conversions in and give way to those of the back, which deliver them.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::priority;

/// Both, each with as many threads as there are processors.
pub(super) struct Runtimes {
    front: Runtime,
    back: Runtime,
}

impl Runtimes {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// When the system starts none.
    pub(super) fn start() -> io::Result<Runtimes> {
        let back = Builder::new_multi_thread().enable_all().build()?;
        let mut front = Builder::new_multi_thread();
        front.enable_all().thread_name("front").on_thread_start(priority::give_way);
        Ok(Runtimes { front: front.build()?, back })
    }

    /// For the public API.
    pub(super) fn front(&self) -> Handle {
        self.front.handle().clone()
    }

    /// Makes what needs the back's threads for its work.
    pub(super) fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        let _entered = self.back.enter();
        make()
    }

    /// Runs this at the back, and ends with it.
    pub(super) fn block_on<T>(self, work: impl Future<Output = T>) -> T {
        let done = self.back.block_on(work);
        // A look-up of a name cannot be called off; nothing waits for it any more.
        self.front.shutdown_background();
        self.back.shutdown_background();
        done
    }
}
