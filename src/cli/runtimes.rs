//! The threads that serve: those of the front take conversions in and give way to those of the back, which deliver them.
//!
//! Where both can have all the processor that they want, nothing tells them apart. Where they cannot, what is accepted must not
//! outrun what can be delivered: it would pile up on the disk, and each of its deliveries would then cost a read and another
//! write. So the operating system gives the processors to deliveries first, and whoever hands in waits for its answer. It gives
//! them first to whatever else runs beside the relay in its group, too: a control group (a container, a service) of its own
//! keeps others out.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
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
    /// When the system starts none.
    pub(super) fn start() -> io::Result<Runtimes> {
        let back = Builder::new_multi_thread().enable_all().build()?;
        let priority = getpriority_process(None).map(|priority| priority.saturating_add(NICER_BY));
        let told = AtomicBool::new(false);
        let begin = move || {
            if let Err(error) = priority.and_then(give_way)
                && !told.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(%error, "accepting does not give way to delivering");
            }
        };
        let front = Builder::new_multi_thread().enable_all().thread_name("front").on_thread_start(begin).build()?;
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

/// What a thread of the front does first. On Linux a priority is of a thread alone, and of those that it starts; elsewhere it
/// would be the whole process's, and all are alike.
fn give_way(priority: i32) -> Result<(), Errno> {
    if cfg!(target_os = "linux") { setpriority_process(None, priority) } else { Ok(()) }
}

/// A tenth of what others get of a processor that all want (sched(7)): enough to answer by the thousand.
const NICER_BY: i32 = 10;
