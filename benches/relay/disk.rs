//! The disk by itself: what an append and its `fdatasync` take at the same pace, beside the same load on the processors.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Failed;
use super::process::now;

/// One that is being asked; ended by [`Disk::end`].
pub(crate) struct Disk {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Vec<f64>>>,
}

impl Disk {
    /// Appends so many a second to a file whose blocks have been written before, where the relay's data is, too.
    pub(crate) fn ask(rate: u32) -> Result<Disk, Failed> {
        let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR"))?;
        let zeros = vec![0_u8; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let every = Duration::from_secs(1).checked_div(rate).ok_or("no pace")?;
        let thread = std::thread::spawn(move || append(&file, every, &over));
        Ok(Disk { is_over, thread })
    }

    /// Seconds of each, in their order.
    pub(crate) fn end(self) -> Result<Vec<f64>, Failed> {
        self.is_over.store(true, Ordering::Release);
        let mut seconds = self.thread.join().map_err(|_panic| "the disk's thread panicked")??;
        seconds.sort_by(f64::total_cmp);
        Ok(seconds)
    }
}

/// As [`super::load`] keeps its pace, one after the other.
fn append(file: &File, every: Duration, is_over: &AtomicBool) -> std::io::Result<Vec<f64>> {
    let (mut seconds, mut at) = (Vec::new(), 0_u64);
    let mut due = now();
    while !is_over.load(Ordering::Acquire) {
        std::thread::sleep(due.saturating_duration_since(now()));
        due = due.checked_add(every).unwrap_or(due);
        let begun = now();
        file.write_all_at(&RECORD, at)?;
        file.sync_data()?;
        seconds.push(begun.elapsed().as_secs_f64());
        at = at.saturating_add(RECORD.len().try_into().unwrap_or_default());
        if at.saturating_add(RECORD.len().try_into().unwrap_or_default()) > FILE_BYTES {
            at = 0;
        }
    }
    Ok(seconds)
}

/// What the journal writes for one of these conversions.
const RECORD: [u8; 1495] = [b'r'; 1495];
const FILE_BYTES: u64 = 64 * 1024 * 1024;
