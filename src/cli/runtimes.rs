//! The threads that serve: those of the front take conversions in and give way to those of the back, which deliver them.
//!
//! Where both can have all the processor that they want, nothing tells them apart. Where they cannot, what is accepted must not
//! outrun what can be delivered: it would pile up on the disk, and each of its deliveries would then cost a read and another
//! write. So the operating system gives the processors to deliveries first, and whoever hands in waits for its answer.

use std::io;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};

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
    /// When the system gives none.
    pub(super) fn start() -> io::Result<Runtimes> {
        let back = Builder::new_multi_thread().enable_all().build()?;
        let priority = getpriority_process(None)?.saturating_add(NICER_BY);
        let front = Builder::new_multi_thread()
            .enable_all()
            .thread_name("front")
            .on_thread_start(move || give_way(priority))
            .build()?;
        Ok(Runtimes { front, back })
    }

    /// For the public API.
    pub(super) fn front(&self) -> Handle {
        self.front.handle().clone()
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

/// What a thread of the front does first. On Linux a priority is of a thread alone, and of those that it starts. Where it
/// cannot be lowered all are alike.
fn give_way(priority: i32) {
    if cfg!(target_os = "linux")
        && let Err(error) = setpriority_process(None, priority)
    {
        tracing::debug!(%error, "taking conversions in does not give way to deliveries");
    }
}

/// A tenth of what others get of a processor that all want (sched(7)): enough to answer by the thousand.
const NICER_BY: i32 = 10;
