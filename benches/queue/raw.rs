//! The floor: group commit and nothing else.
//!
//! A thread takes what waits, appends it as one write to a file whose blocks are allocated and have been written before,
//! calls `fdatasync` and wakes everyone. No checksum, no index, no second write, nothing read back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::Failed;

/// The file and its thread.
pub(crate) struct Raw {
    inbox: Arc<Inbox>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    records: Vec<(Arc<[u8]>, oneshot::Sender<()>)>,
    ended: bool,
}

impl Raw {
    pub(crate) fn start(path: &Path) -> io::Result<Raw> {
        let file = File::create(path)?;
        let zeros = vec![0_u8; 1 << 20];
        for at in (0..FILE_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        let inbox = Arc::new(Inbox::default());
        let thread = std::thread::Builder::new().name("raw".to_owned()).spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.commit(&file)
        })?;
        Ok(Raw { inbox, thread })
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    pub(crate) fn end(self) -> Result<(), Failed> {
        self.inbox.lock().ended = true;
        self.inbox.arrived.notify_one();
        self.thread.join().map_err(|_panic| "the raw thread panicked")??;
        Ok(())
    }
}

impl Inbox {
    /// Returns once the record is on stable storage.
    pub(crate) async fn accept(&self, record: Arc<[u8]>) -> Result<(), Failed> {
        let (reply, answer) = oneshot::channel();
        self.lock().records.push((record, reply));
        self.arrived.notify_one();
        Ok(answer.await?)
    }

    fn commit(&self, file: &File) -> io::Result<()> {
        let (mut at, mut buffer) = (0_u64, Vec::new());
        loop {
            let waiting = self.lock();
            let waiting = self.arrived.wait_while(waiting, |waiting| waiting.records.is_empty() && !waiting.ended);
            let taken = std::mem::take(&mut waiting.unwrap_or_else(PoisonError::into_inner).records);
            if taken.is_empty() {
                return Ok(());
            }
            buffer.clear();
            for (record, _) in &taken {
                buffer.extend_from_slice(record);
            }
            let len = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
            if at.saturating_add(len) > FILE_BYTES {
                at = 0;
            }
            file.write_all_at(&buffer, at)?;
            file.sync_data()?;
            at = at.saturating_add(len);
            for (_, reply) in taken {
                reply.send(()).ok();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As large as a segment of the journal.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
