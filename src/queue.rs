//! The durable queue: what is accepted is on stable storage before `accept` returns, and stays until it is settled.
//!
//! **Promises.** A conversion for which [`Queue::accept`] returned `New` survives `kill -9` and power loss, with all its
//! deliveries; each is handed out until it is settled (at least once), and a delivery given up is a dead letter that
//! stays. Nothing in memory grows with the backlog. A destination that nobody asks for costs the others nothing but disk.
//!
//! **Never.** No acknowledgement before `fdatasync` has returned. After a failed sync nothing is retried into success:
//! the queue stops acknowledging and [`Queue::failed`] says why. No damaged or emptied folder is served: opening refuses
//! in words. No blocking call runs on a runtime thread.
//!
//! Behind the handle stands one small trait, `Engine`; `embedded` is the engine that keeps a folder on the local disk.
//! `tests/conformance.rs` holds every engine to what is promised here.
//!
//! | file | owns |
//! | --- | --- |
//! | `engine` | what stands behind the handle |
//! | `delivery` | what is handed out |
//! | `status` | outcomes, states, statuses, depths: the vocabulary |
//! | `clock` | time |
//! | `panics` | panics that are expected, in words |
//! | `codec`, `record` | what is stored, as bytes |
//! | `vault` | what is stored, sealed |
//! | `log` | append-only files of commits |
//! | `journal` | what is accepted: append, sync, replay |
//! | `backlog` | what waits, and dead letters: append-only blocks |
//! | `store` | sled: what is alive of it, and how it stands |
//! | `history` | what became of the others, and which keys were used |
//! | `folder` | the data folder: lock, state file, space |
//! | `window` | what is in memory, and who is handed what next |
//! | `committer`, `mover` | the two threads: waiting → journal, memory → store |
//! | `waiters` | who waits until nothing more is owed |
//! | `shared` | what the threads and the callers share |
//! | `look_up` | a conversion, wherever it is |
//! | `books` | what was accepted and what became of it, added up |
//! | `dead` | dead letters: listed, replayed, discarded |
//! | `forget` | what is to be erased, erased |
//! | `generation` | the store's file, given back |
//! | `recovery` | opening a folder, however it was left |
//! | `rescue` | a damaged folder, made whole again from what is left |
//! | `transfer` | pending work and dead letters as a file, out and in |
//! | `embedded` | all of it wired as an engine |
//! | `metrics` | what is measured |

mod backlog;
mod believed;
mod books;
mod clock;
mod codec;
mod committer;
mod dead;
mod delivery;
mod embedded;
mod engine;
mod folder;
mod forget;
mod generation;
mod history;
mod journal;
mod log;
mod look_up;
mod metrics;
mod mover;
mod panics;
mod record;
mod recovery;
mod rescue;
mod shared;
mod status;
mod store;
mod transfer;
mod vault;
mod waiters;
mod window;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::registry::Registry;

use crate::conversion::{Conversion, ConversionId, DestinationName, Meta, Refusal};

pub use self::books::{Account, Books, BooksOf, Difference, Sum, Total};
pub use self::clock::Clock;
pub use self::delivery::Delivery;
pub use self::folder::OpenError;
pub use self::forget::{Forget, Forgotten};
pub use self::panics::is_expected as is_panic_expected;
pub use self::rescue::{Recovered, Survey};
pub use self::status::{
    Acceptance, Asked, Attempt, Backlog, DeadCounts, DeadFilter, DeadKind, DeadLetter, DeadPage, DeliveryStatus, Depth,
    Depths, Disk, Hold, HoldKind, Negotiated, Outcome, PageRequest, Protocol, State, Status, Tls, Treated, Treatment,
    Verdict,
};
pub(crate) use self::status::{broke_off_behind, comes_from_between};
pub use self::transfer::{Exported, Imported, Selection, Standing, TransferError};
pub use self::vault::{Encryption, MasterKey};

use self::engine::{Engine, Lease, Promise};

/// How a queue is opened (filled from the configuration by `cli`).
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder; made when missing.
    pub path: PathBuf,
    /// Whether a file system that forgets (tmpfs, overlay) will do.
    pub allow_volatile: bool,
    /// Beyond so many stored bytes of undelivered conversions nothing more is accepted.
    pub pending_bytes_max: u64,
    /// Below so many free bytes on the file system nothing more is accepted.
    pub free_bytes_min: u64,
    /// With so many dead letters of a destination kept, its other work waits: a set-up that loses everything is stopped
    /// before everything is lost.
    pub dead_letters_max: u64,
    /// For how long a repeat is recognised.
    pub dedup_window: Duration,
    /// For how long a settled conversion's status is kept (at least `dedup_window`; dead letters stay until dealt with).
    pub history_keep: Duration,
    /// Whether what is stored is encrypted, and with what.
    pub encryption: Option<Encryption>,
    /// The configured destinations; others that still have work are shown as held.
    pub destinations: Vec<DestinationName>,
}

/// Handle to the queue; cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<dyn Engine>);

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// Opens or creates the folder and recovers what it holds. Blocks: call it before serving.
    ///
    /// # Errors
    /// In words that say what to do: in use by another process, volatile, damaged, emptied, of a newer format, not writable.
    #[expect(clippy::needless_pass_by_value, reason = "an engine may keep its settings")]
    pub fn open(settings: Settings, clock: Clock) -> Result<Queue, OpenError> {
        Queue::open_with(&settings, clock, shared::Options::default())
    }

    fn open_with(settings: &Settings, clock: Clock, options: shared::Options) -> Result<Queue, OpenError> {
        Ok(Queue(Arc::new(embedded::Embedded::open(settings, clock, options)?)))
    }

    /// Gives back what the store's file holds of what is gone, in a folder that no process serves. Blocks. Returns the
    /// file's bytes before and now.
    ///
    /// # Errors
    /// In words, as [`Queue::open`]; or there is no room for a copy of what is alive. Nothing is lost then.
    pub fn compact(settings: &Settings) -> Result<(u64, u64), OpenError> {
        recovery::compact(settings)
    }

    /// Looks what is damaged in a folder that no process serves, and what could be recovered. Blocks; reads all of it.
    ///
    /// # Errors
    /// In words, as [`Queue::open`], when that is not for [`Queue::recover`] to mend.
    pub fn survey(settings: &Settings) -> Result<Survey, OpenError> {
        rescue::survey(settings)
    }

    /// Makes a damaged folder one that opens: keeps what is whole, moves the rest into `quarantine/`, and rebuilds what the
    /// journal holds. A whole folder stays as it is. Interrupted, it is begun again. Blocks.
    ///
    /// # Errors
    /// In words, as [`Queue::open`]; the folder is then refused as before.
    pub fn recover(settings: &Settings, clock: Clock) -> Result<Recovered, OpenError> {
        rescue::recover(settings, clock, shared::Options::default())
    }

    /// Writes what a folder that no process serves owes, its dead letters and what it knows of settled conversions, one
    /// conversion a line; what is owed comes first, oldest receipt first. A conversion that is meant goes whole, with all its
    /// deliveries. Nothing is taken out of the folder. Blocks.
    ///
    /// # Errors
    /// The folder is refused as by [`Queue::open`], or cannot be read; or `out` cannot be written. What was written is no
    /// whole export then, and says so: its last line is missing.
    pub fn export(
        settings: &Settings,
        clock: Clock,
        selection: &Selection,
        out: &mut dyn Write,
    ) -> Result<Exported, TransferError> {
        transfer::export(settings, clock, shared::Options::default(), selection, out)
    }

    /// Takes in what [`Queue::export`] wrote, into a folder that no process serves; made when missing. Durable when it
    /// returns. What is known by its id is left alone, so doing it twice does it once, as long as the history keeps the
    /// ids; `refused` is told the line of each conversion whose key another one uses, and why. Blocks.
    ///
    /// # Errors
    /// The folder is refused, or is full; or the file is not what was exported. What was taken in before stays.
    pub fn import(
        settings: &Settings,
        clock: Clock,
        input: &mut dyn BufRead,
        refused: &mut dyn FnMut(u64, &str),
    ) -> Result<Imported, TransferError> {
        transfer::import(settings, clock, shared::Options::default(), input, refused)
    }

    /// Returns once the conversion and all its pending deliveries are on stable storage, or nothing of it is kept.
    ///
    /// Waits (in order) while the window in memory is full. Dropped before it returns, the conversion may have been kept.
    ///
    /// # Errors
    /// Nothing is acknowledged, and the merchant may try again. Only when storage fails in that moment
    /// ([`AcceptError::Closed`]) the conversion may be found at the next start; trying again is then a duplicate.
    pub async fn accept(&self, submission: Submission) -> Result<Accepted, AcceptError> {
        self.0.accept(submission).await
    }

    /// Waits for the next delivery of that destination that is due, and hands it out: it is this caller's until it is
    /// settled or dropped. Cancel-safe. Fresh work goes out in order of acceptance; due retries get their share.
    pub async fn next(&self, destination: &DestinationName) -> Delivery {
        let lease = self.0.next(destination).await;
        Delivery { lease, engine: Arc::clone(&self.0), settled: AtomicBool::new(false) }
    }

    /// Records what became of a delivery handed out; the second time for the same delivery is ignored. Lazy: forces no
    /// sync, so a crash may repeat the attempt; it never loses one.
    pub fn settle(&self, delivery: &Delivery, outcome: Outcome, attempt: Option<Attempt>) {
        if !delivery.settled.swap(true, Ordering::AcqRel) {
            self.0.settle(&delivery.lease, outcome, attempt);
        }
    }

    /// Puts a destination on hold or lifts it: shown as `held` with its reason in every status. Does not stop
    /// [`Queue::next`]: that is delivery's.
    pub fn hold(&self, destination: &DestinationName, hold: Option<Hold>) {
        self.0.hold(destination, hold);
    }

    /// What has become of a conversion; `None` when it is unknown or no longer kept.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub async fn status(&self, id: ConversionId) -> Result<Option<Status>, ReadError> {
        self.0.status(id).await
    }

    /// Waits until nothing more is owed of a conversion ([`Status::is_settled`]); `None` when it is unknown or no longer kept.
    /// How long is for the caller to say. Cancel-safe.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub async fn settled(&self, id: ConversionId) -> Result<Option<Status>, ReadError> {
        self.0.settled(id).await
    }

    /// What has become of a merchant's newest conversions for an order, oldest first: at most [`ORDER_STATUSES_MAX`] and one
    /// more, which tells that there are older ones than those. Of settled ones, those count as newer that were settled later.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub async fn order(&self, merchant: &str, order_id: &str) -> Result<Vec<Status>, ReadError> {
        self.0.order(merchant, order_id).await
    }

    /// One page of dead letters, without reading the others. By ids it is one page of all.
    ///
    /// # Errors
    /// When storage cannot be read, or `after` is no page mark.
    pub async fn dead_letters(&self, filter: DeadFilter, page: PageRequest) -> Result<DeadPage, ReadError> {
        self.0.dead_letters(filter, page).await
    }

    /// The conversion itself, while it is owed to someone or a dead letter somewhere; `None` otherwise.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub async fn stored(&self, id: ConversionId) -> Result<Option<Stored>, ReadError> {
        self.0.stored(id).await
    }

    /// Adds up what was accepted and what became of it: reads all that waits, and what was settled of those days.
    ///
    /// # Errors
    /// When storage cannot be read.
    pub async fn books(&self, of: BooksOf) -> Result<Books, ReadError> {
        self.0.books(of).await
    }

    /// Holds what is kept of deliveries that are pending or dead against what is counted, for a metric and the log; again and
    /// again, so often that it costs little. Never returns.
    pub async fn compare(&self) {
        let mut pause = COMPARED_EVERY;
        loop {
            tokio::time::sleep(pause).await;
            let began = tokio::time::Instant::now();
            if let Err(error) = self.0.compare().await {
                tracing::error!(%error, "what is kept cannot be held against what is counted");
            }
            pause = COMPARED_EVERY.max(began.elapsed().saturating_mul(COMPARED_SHARE));
        }
    }

    /// Deals with all dead letters that are meant (unless the filter says until when: those given up by now); durable when
    /// it returns. What is no dead
    /// letter any more is left alone, so doing it twice does it once.
    ///
    /// # Errors
    /// When storage cannot be read or written; some of it may have been done, and doing it again does the rest.
    pub async fn treat(&self, filter: DeadFilter, treatment: Treatment) -> Result<Treated, ReadError> {
        self.0.treat(filter, treatment).await
    }

    /// Erases what was received for an order or of a customer: nothing more of it is sent, and its dead letters, statuses and
    /// bodies are gone. Each one's id and a hash of its key stay for as long as its status would have: a repeat, whatever its
    /// content, is a duplicate. Durable when it returns, and of the folder's files only the store's may still hold bytes of it,
    /// until it is given back, which is begun at once. Cut short, it is finished by the next start or request.
    ///
    /// # Errors
    /// When storage cannot be read or written, or the disk is too full: it is finished then as if cut short.
    pub async fn forget(&self, what: Forget) -> Result<Forgotten, ReadError> {
        self.0.forget(what).await
    }

    /// How much waits for a destination, and whether that is more than is handed out: from memory.
    pub fn backlog(&self, destination: &DestinationName) -> Backlog {
        self.0.backlog(destination)
    }

    /// How much waits: counters kept in memory, never a scan.
    pub fn depths(&self) -> Depths {
        self.0.depths()
    }

    /// What the disk has left, from memory.
    pub fn disk(&self) -> Disk {
        self.0.disk()
    }

    /// Returns, with the reason, once storage cannot promise anything any more (a sync failed): the process must end.
    pub async fn failed(&self) -> String {
        self.0.failed().await
    }

    /// Writes what is lazy, syncs, closes. After it `accept` is refused and `next` waits for ever.
    ///
    /// # Errors
    /// When what was lazy could not be written; what was acknowledged is safe all the same.
    pub async fn close(&self) -> Result<(), ReadError> {
        self.0.close().await
    }

    /// Registers the queue's metrics.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.register_metrics(registry);
    }
}

/// A conversion as it is kept.
#[derive(Debug, Clone)]
pub struct Stored {
    /// What the relay knows beside it.
    pub meta: Meta,
    /// The conversion; or why this version no longer accepts what an earlier one stored.
    pub conversion: Result<Arc<Conversion>, Refusal>,
}

/// What is handed in to be accepted.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What the relay knows beside the conversion.
    pub meta: Meta,
    /// The conversion, parsed from `body`.
    pub conversion: Arc<Conversion>,
    /// The body as received.
    pub body: Bytes,
    /// What each destination is owed.
    pub plan: Vec<(DestinationName, Initial)>,
    /// Given up when the conversion is pending, or when it is certain that it will not be.
    pub claim: Claim,
}

/// A claim that lasts for as long as it is not known what becomes of a [`Submission`], also when nobody waits for the answer
/// any more.
#[derive(Clone, Default)]
pub struct Claim(Option<Arc<dyn Send + Sync>>);

impl Claim {
    /// This, which is dropped then.
    pub fn of(what: impl Send + Sync + 'static) -> Claim {
        Claim(Some(Arc::new(what)))
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a claim" } else { "none" })
    }
}

/// What a destination is owed of a conversion at the time it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial {
    /// A delivery.
    Owed,
    /// Nothing: it does not apply, for this reason.
    Skipped(String),
    /// Nothing: consent is refused.
    Withheld(String),
    /// Nothing: the destination has no call for it.
    Unsupported(String),
    /// A dead letter: too much waits for it already.
    Overflow(String),
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// Kept.
    New(Status),
    /// Known already: the first one's status.
    Duplicate(Status),
    /// Same explicit key (header or event id), other content.
    KeyReused {
        /// Whose key it is.
        first: ConversionId,
    },
}

/// Why a submission was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// `pending_bytes_max` is reached.
    #[error("the queue is full: {pending_bytes} bytes are pending")]
    Full {
        /// Of all that waits.
        pending_bytes: u64,
        /// For what most deliveries wait, and how many do. It may be no destination of who handed this one in.
        most: Option<(DestinationName, u64)>,
    },
    /// `free_bytes_min` is reached, or the disk is full.
    #[error("the disk is nearly full: {0}")]
    DiskFull(String),
    /// It may be a repeat: what is kept of one that used its key is damaged. Others are not concerned.
    #[error("it may be a repeat of one that cannot be read: {0}")]
    Unreadable(String),
    /// The queue was closed, or storage has failed ([`Queue::failed`] says how): nothing is acknowledged any more.
    #[error("the queue is closed")]
    Closed,
}

/// Why something kept could not be read or written back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Storage answered with an error.
    #[error("cannot read the queue's store: {0}")]
    Store(String),
    /// `PageRequest::after` is not what a page gave.
    #[error("`after` is no mark of a page of dead letters")]
    Mark,
    /// The queue has failed or is closed, or cannot write now.
    #[error("the queue is closed: {0}")]
    Closed(String),
}

/// The most conversions of an order that are shown: those and one more are the most statuses that [`Queue::order`] returns.
pub const ORDER_STATUSES_MAX: usize = 100;
/// With the one that tells that there are more.
const OF_ORDER_MAX: usize = ORDER_STATUSES_MAX.saturating_add(1);
/// What is kept is held against what is counted so often at most …
const COMPARED_EVERY: Duration = Duration::from_secs(600);
/// … and takes no more than such a part of the time.
const COMPARED_SHARE: u32 = 200;
