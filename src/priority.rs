//! Which threads have the processors first where they are short: those that deliver.
//!
//! Where everybody can have all the processor that he wants, nothing tells them apart. Where not, what is accepted must not
//! outrun what can be delivered: it would pile up on the disk, and each of its deliveries would then cost a read and another
//! write. So the threads that accept (those of the public API, and the one that makes what they take in durable) give way, and
//! whoever hands in waits for its answer. The operating system holds them back behind whatever else runs beside the relay in
//! its group, too: a control group (a container, a service) of its own keeps others out.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::process::{getpid, getpriority_process, setpriority_process};

/// What a thread that accepts does first. Where the system does not let it, one of them says so, and all are alike.
pub(crate) fn give_way() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if let Err(error) = be_nicer()
        && !TOLD.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(%error, "accepting does not give way to delivering");
    }
}

/// On Linux a priority is of a thread alone, and of those that it starts: it counts from the one of the process's first.
/// Elsewhere it would be the whole process's.
fn be_nicer() -> Result<(), Errno> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let usual = getpriority_process(Some(getpid()))?;
    setpriority_process(None, usual.saturating_add(NICER_BY))
}

/// A tenth of what others get of a processor that all want (sched(7)): enough to answer by the thousand.
const NICER_BY: i32 = 10;
