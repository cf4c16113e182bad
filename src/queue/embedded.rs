//! The engine that keeps a folder on the local disk: journal, store, window and the two threads, wired.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::clock::Clock;
use super::committer::{Answer, Committer, Inbox, Request, Stop};
use super::folder::{Folder, OpenError};
use super::journal::Segments;
use super::metrics::Metrics;
use super::mover::{Level, Signal};
use super::record::{self, Change, Leg, Record, Settlement};
use super::store::{DeadEntry, Filters, Ledger, Place, Store, StoreError, bucket, dead_letter};
use super::window::{Refill, Step, Window};
use super::{
    AcceptError, Accepted, Attempt, DeadFilter, DeadPage, Depths, Engine, Hold, Lease, ORDER_STATUSES_MAX, Outcome,
    Promise, ReadError, Settings, Status, Submission, recovery,
};
use crate::conversion::{ConversionId, DestinationName};

/// Sizes that tests make small.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Of a journal segment.
    pub(super) segment_bytes: u64,
    /// Of the window, as charged for conversions that the store does not have yet.
    pub(super) window_bytes: u32,
    /// How long a conversion that is not settled stays in the window.
    pub(super) linger: Duration,
    /// Changes that wait for the store before nothing more is handed out.
    pub(super) changes_max: usize,
    /// Space set aside for opening on a full disk.
    pub(super) ballast_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: SEGMENT_BYTES,
            window_bytes: WINDOW_BYTES,
            linger: LINGER,
            changes_max: CHANGES_MAX,
            ballast_bytes: BALLAST_BYTES,
        }
    }
}

/// What the threads and the callers share.
pub(super) struct Shared {
    pub(super) folder: Arc<Folder>,
    pub(super) store: Store,
    pub(super) segments: Arc<Segments>,
    pub(super) filters: Filters,
    pub(super) inbox: Inbox,
    pub(super) signal: Signal,
    pub(super) space: Space,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) options: Options,
    pub(super) destinations: Vec<DestinationName>,
    pub(super) dedup_window_ms: u64,
    pub(super) history_keep_ms: u64,
    pub(super) bucket_ms: u64,
    pub(super) free_bytes_min: u64,
    pending_bytes_max: u64,
    window: Mutex<Window>,
    room: Arc<Semaphore>,
    failure: watch::Sender<Option<String>>,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        settings: &Settings,
        clock: Clock,
        options: Options,
        folder: Arc<Folder>,
        store: Store,
        ledger: &Ledger,
    ) -> Result<Shared, OpenError> {
        let first_bucket = store
            .first_bucket()
            .map_err(|error| OpenError::Store { path: folder.path().to_owned(), what: error.to_string() })?;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let room = usize::try_from(options.window_bytes.div_ceil(CHARGE_UNIT)).unwrap_or(usize::MAX);
        Ok(Shared {
            window: Mutex::new(Window::new(&settings.destinations, ledger, options.changes_max)),
            segments: Arc::new(Segments::default()),
            filters: Filters::new(first_bucket, bucket(clock.unix_ms(), ledger.bucket_ms)),
            inbox: Inbox::default(),
            signal: Signal::default(),
            space: Space::new(settings.free_bytes_min),
            metrics: Metrics::new(),
            destinations: settings.destinations.clone(),
            dedup_window_ms: millis(settings.dedup_window),
            history_keep_ms: millis(settings.history_keep.max(settings.dedup_window)),
            bucket_ms: ledger.bucket_ms,
            free_bytes_min: settings.free_bytes_min,
            pending_bytes_max: settings.pending_bytes_max,
            room: Arc::new(Semaphore::new(room)),
            failure: watch::Sender::new(None),
            closed: AtomicBool::new(false),
            folder,
            store,
            clock,
            options,
        })
    }

    pub(super) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing can be promised any more, if that is so.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Storage has failed: nothing is acknowledged or handed out any more, and everyone who waits is told.
    pub(super) fn fail(&self, reason: &str) {
        let first = self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(reason.to_owned());
            }
            first
        });
        if first {
            tracing::error!(reason, "the queue's storage has failed; nothing is accepted any more");
        }
        self.room.close();
        self.inbox.stop(Stop::Abandon);
        self.signal.stop(Stop::Abandon);
    }

    /// Whether the window is more than half full: then nothing lingers in it.
    pub(super) fn is_pressed(&self) -> bool {
        let all = usize::try_from(self.options.window_bytes.div_ceil(CHARGE_UNIT)).unwrap_or(usize::MAX);
        self.room.available_permits() < all / 2
    }

    /// Room in the window for a conversion found in the journal, if there is any.
    pub(super) fn try_permit(&self, record: &Record) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_many_owned(self.charge(record)).ok()
    }

    /// Units of the window that a conversion takes: its body, its parsed form and its deliveries, roughly.
    fn charge(&self, record: &Record) -> u32 {
        let bytes = record.body.len().saturating_mul(3).saturating_add(CHARGE_BYTES);
        let units = u32::try_from(bytes).unwrap_or(u32::MAX).div_ceil(CHARGE_UNIT);
        units.clamp(1, self.options.window_bytes.div_ceil(CHARGE_UNIT).max(1))
    }

    fn is_stopped(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.failure().is_some()
    }

    /// Whether there is room on disk for one more.
    fn admit(&self) -> Result<(), AcceptError> {
        if self.is_stopped() {
            return Err(AcceptError::Closed);
        }
        if self.space.is_low() {
            let free = self.space.free_bytes();
            return Err(AcceptError::DiskFull(format!("{free} bytes free, {} are kept", self.free_bytes_min)));
        }
        let window = self.window();
        let pending_bytes = window.pending_bytes();
        if pending_bytes >= self.pending_bytes_max {
            let most = window.longest().map_or_else(String::new, |(name, pending)| {
                format!("; most of it, {pending} deliveries, waits for {name}")
            });
            return Err(AcceptError::Full(format!("{pending_bytes} bytes are pending{most}")));
        }
        Ok(())
    }

    /// Reads ahead for a destination. Blocks.
    fn refill(&self, refill: &Refill) {
        let Refill { destination, now_ms, skip, rooms } = refill;
        let loaded = self.store.load(destination, *now_ms, skip, *rooms);
        let (loaded, error) = match loaded {
            Ok(loaded) => (Some(loaded), None),
            Err(error) => (None, Some(error)),
        };
        let lost = self.window().end_refill(destination, loaded);
        if let Some(error) = error {
            self.fail(&format!("reading the store: {error}"));
        }
        for seq in lost {
            tracing::error!(%destination, seq, "the store names a delivery whose conversion it does not have");
        }
    }

    /// A status as the store has it, with what is on its way there. Blocks.
    fn stored_status(&self, id: ConversionId) -> Result<Option<Status>, ReadError> {
        let changes = self.window().changes_of(id);
        let Some(mut kept) = self.store.kept(id)? else {
            return Ok(None);
        };
        for change in &changes {
            let leg = kept.legs.iter_mut().find(|leg| leg.destination == change.destination);
            leg.map(|leg| leg.apply(&change.settlement));
        }
        let window = self.window();
        Ok(Some(kept.record.status(&kept.legs, |destination| window.hold_of(destination))))
    }

    /// Memory first: what leaves it is in the store before.
    fn any_status(&self, id: ConversionId) -> Result<Option<Status>, ReadError> {
        let in_window = self.window().status(id);
        in_window.map_or_else(|| self.stored_status(id), |status| Ok(Some(status)))
    }

    /// Blocks.
    fn order(&self, merchant: &str, order_id: &str) -> Result<Vec<Status>, ReadError> {
        let mut ids = self.window().order(merchant, order_id);
        ids.extend(self.store.order(&record::key_hash(merchant, order_id))?);
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(ORDER_STATUSES_MAX);
        let statuses = ids.into_iter().map(|id| self.any_status(id));
        Ok(statuses.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Blocks.
    fn dead_letters(&self, filter: &DeadFilter) -> Result<DeadPage, ReadError> {
        let limit = filter.limit.clamp(1, DEAD_PAGE_MAX);
        let first = Place::first(filter.destination.as_ref(), filter.since_ms.unwrap_or(0));
        let from = match &filter.after {
            Some(mark) => Place::parse(mark).ok_or(ReadError::Mark)?.max(first),
            None => first,
        };
        let (in_window, dying) = self.window().dead(filter);
        let (stored, next) = self.store.dead(filter, &from, limit)?;
        let mut found: std::collections::BTreeMap<Place, DeadEntry> = std::collections::BTreeMap::new();
        let dying = dying.iter().map(|change| self.dying(change)).collect::<Result<Vec<_>, _>>()?;
        let dying = dying.into_iter().flatten().filter(|entry| filter.matches(&entry.letter));
        for entry in in_window.into_iter().chain(dying).chain(stored) {
            let in_page = entry.place >= from && next.as_ref().is_none_or(|next| entry.place < *next);
            if in_page {
                found.insert(entry.place.clone(), entry);
            }
        }
        let over = found.keys().nth(limit).cloned();
        let next = over.or(next).map(|place| place.mark());
        Ok(DeadPage { dead: found.into_values().take(limit).map(|entry| entry.letter).collect(), next })
    }

    /// A stored delivery that is being given up, as it will be listed.
    fn dying(&self, change: &Change) -> Result<Option<DeadEntry>, ReadError> {
        let Some(mut kept) = self.store.kept(change.id)? else {
            return Ok(None);
        };
        let changes = self.window().changes_of(change.id);
        let Some(leg) = kept.legs.iter_mut().find(|leg| leg.destination == change.destination) else {
            return Ok(None);
        };
        for change in changes.iter().chain([change]).filter(|other| other.destination == change.destination) {
            leg.apply(&change.settlement);
        }
        Ok(dead_letter(&kept.record, leg).map(|letter| {
            let place = Place::of(&change.destination, letter.at_ms, change.seq);
            DeadEntry { place, letter }
        }))
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> ReadError {
        ReadError::Store(error.to_string())
    }
}

/// How much room the file system has, as last looked at.
pub(super) struct Space {
    free_bytes: AtomicU64,
    free_bytes_min: u64,
}

impl Space {
    fn new(free_bytes_min: u64) -> Space {
        Space { free_bytes: AtomicU64::new(u64::MAX), free_bytes_min }
    }

    pub(super) fn check(&self, folder: &Folder) {
        match folder.free_bytes() {
            Ok(free_bytes) => {
                let before = self.free_bytes.swap(free_bytes, Ordering::AcqRel);
                if free_bytes < self.free_bytes_min && before >= self.free_bytes_min {
                    tracing::error!(free_bytes, "the disk is nearly full: nothing is accepted until there is space");
                }
            }
            Err(error) => tracing::warn!(%error, "cannot tell how much space is free"),
        }
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Acquire)
    }

    fn is_low(&self) -> bool {
        self.free_bytes() < self.free_bytes_min
    }
}

/// The engine. Dropped without [`Engine::close`] it ends as a crash would: nothing acknowledged is lost.
pub(super) struct Embedded {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Embedded {
    pub(super) fn open(settings: &Settings, clock: Clock, options: Options) -> Result<Embedded, OpenError> {
        let opened = recovery::open(settings, clock, options)?;
        let recovery::Opened { shared, journal, mover, last_accepted } = opened;
        let committer = Committer::new(Arc::clone(&shared), journal, last_accepted);
        let embedded = Embedded { shared: Arc::clone(&shared), threads: Arc::new(Mutex::new(Vec::new())) };
        embedded.start("queue-committer", move || committer.run())?;
        embedded.start("queue-mover", move || mover.run())?;
        Ok(embedded)
    }

    /// A thread that panics has failed: the queue says so instead of falling silent.
    fn start(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
        let shared = Arc::clone(&self.shared);
        let guarded = move || {
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            if ran.is_err() {
                shared.fail("a thread of the queue panicked");
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(guarded);
        let thread = thread.map_err(|source| OpenError::write(self.shared.folder.path(), source))?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    async fn submit(&self, submission: Submission) -> Result<Accepted, AcceptError> {
        let shared = &self.shared;
        shared.admit()?;
        let now_ms = shared.clock.unix_ms();
        let record = Record::of(&submission);
        let plan = submission.plan.into_iter();
        let legs: Vec<Leg> = plan.map(|(destination, initial)| Leg::new(destination, initial, now_ms)).collect();
        let encoded = record::encode_accepted(&record, &legs);
        let charge = shared.charge(&record);
        let room = Arc::clone(&shared.room).acquire_many_owned(charge);
        let permit = room.await.map_err(|_closed| AcceptError::Closed)?;
        shared.admit()?;
        let status = record.status(&legs, |destination| shared.window().hold_of(destination));
        let (reply, answer) = oneshot::channel();
        let explicit = submission.meta.key_is_explicit();
        let request = Request { record, legs, encoded, explicit, permit, reply };
        shared.inbox.submit(request).map_err(|_request| AcceptError::Closed)?;
        let answer = if shared.clock.is_tokio() {
            // On paused time a runtime that only waits for another thread would jump to its next timer.
            tokio::task::spawn_blocking(move || answer.blocking_recv()).await.unwrap_or(Ok(Err(AcceptError::Closed)))
        } else {
            answer.await
        };
        match answer.unwrap_or(Err(AcceptError::Closed))? {
            Answer::New => Ok(Accepted::New(status)),
            Answer::KeyReused(first) => Ok(Accepted::KeyReused { first }),
            Answer::Duplicate(first) => match self.read(move |shared| shared.any_status(first)).await {
                Ok(Some(status)) => Ok(Accepted::Duplicate(status)),
                Ok(None) => Err(AcceptError::Closed),
                Err(error) => {
                    tracing::warn!(%error, "cannot read the status of a duplicate's first");
                    Err(AcceptError::Closed)
                }
            },
        }
    }

    /// Runs what reads the store outside of the runtime's threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || read(&shared)).await;
        read.unwrap_or_else(|error| Err(ReadError::Store(error.to_string())))
    }

    async fn wait_for_next(&self, destination: &DestinationName) -> Lease {
        let shared = &self.shared;
        let changed = shared.window().changed(destination);
        loop {
            let notified = changed.notified();
            if shared.is_stopped() {
                return std::future::pending().await;
            }
            let step = shared.window().step(destination, shared.clock.unix_ms());
            let due_ms = match step {
                Step::Lease(lease) => return *lease,
                Step::Refill(refill) => {
                    let shared = Arc::clone(shared);
                    // Runs to its end also when this caller goes away.
                    let refilled = tokio::task::spawn_blocking(move || shared.refill(&refill)).await;
                    if refilled.is_err() {
                        self.shared.fail("reading the store panicked");
                    }
                    continue;
                }
                Step::Wait(due_ms) => due_ms,
            };
            match due_ms {
                None => notified.await,
                Some(due_ms) => {
                    tokio::select! {
                        () = notified => {}
                        () = shared.clock.sleep_until(due_ms) => {}
                    }
                }
            }
        }
    }
}

impl Engine for Embedded {
    fn accept(&self, submission: Submission) -> Promise<'_, Result<Accepted, AcceptError>> {
        Box::pin(self.submit(submission))
    }

    fn next<'a>(&'a self, destination: &'a DestinationName) -> Promise<'a, Lease> {
        Box::pin(self.wait_for_next(destination))
    }

    fn settle(&self, lease: &Lease, outcome: Outcome, attempt: Option<Attempt>) {
        let at_ms = self.shared.clock.unix_ms();
        let revision = lease.revision.saturating_add(1);
        let change = Change {
            seq: lease.record.seq,
            id: lease.record.meta.id,
            destination: lease.destination.clone(),
            settlement: Settlement::new(revision, at_ms, outcome, attempt),
        };
        let encoded = change.encode();
        // The window first: what the committer finds in its inbox has been applied.
        let in_store = self.shared.window().settle(&change);
        self.shared.inbox.settled(encoded);
        if in_store {
            self.shared.signal.raise(Level::Work);
        }
    }

    fn give_back(&self, lease: &Lease) {
        self.shared.metrics.given_back.inc();
        self.shared.window().give_back(lease);
    }

    fn hold(&self, destination: &DestinationName, hold: Option<Hold>) {
        self.shared.window().hold(destination, hold);
    }

    fn status(&self, id: ConversionId) -> Promise<'_, Result<Option<Status>, ReadError>> {
        let in_window = self.shared.window().status(id);
        Box::pin(async move {
            match in_window {
                Some(status) => Ok(Some(status)),
                None => self.read(move |shared| shared.stored_status(id)).await,
            }
        })
    }

    fn order<'a>(&'a self, merchant: &'a str, order_id: &'a str) -> Promise<'a, Result<Vec<Status>, ReadError>> {
        let (merchant, order_id) = (merchant.to_owned(), order_id.to_owned());
        Box::pin(self.read(move |shared| shared.order(&merchant, &order_id)))
    }

    fn dead_letters(&self, filter: DeadFilter) -> Promise<'_, Result<DeadPage, ReadError>> {
        Box::pin(self.read(move |shared| shared.dead_letters(&filter)))
    }

    fn depths(&self) -> Depths {
        self.shared.window().depths()
    }

    fn failed(&self) -> Promise<'_, String> {
        let mut failure = self.shared.failure.subscribe();
        Box::pin(async move {
            loop {
                if let Some(reason) = failure.borrow_and_update().clone() {
                    return reason;
                }
                if failure.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        })
    }

    fn close(&self) -> Promise<'_, Result<(), ReadError>> {
        let shared = Arc::clone(&self.shared);
        let threads = Arc::clone(&self.threads);
        shared.closed.store(true, Ordering::Release);
        shared.room.close();
        Box::pin(async move {
            let ended = tokio::task::spawn_blocking(move || {
                let mut threads = threads.lock().unwrap_or_else(PoisonError::into_inner);
                // The committer first: what it takes in is the mover's to drain.
                shared.inbox.stop(Stop::Drain);
                let mut ended = threads.drain(..);
                let committed = ended.next().map(JoinHandle::join);
                shared.signal.stop(Stop::Drain);
                let moved = ended.next().map(JoinHandle::join);
                if committed.is_some_and(|joined| joined.is_err()) || moved.is_some_and(|joined| joined.is_err()) {
                    shared.fail("a thread of the queue panicked");
                }
                shared.failure().map_or(Ok(()), |reason| Err(ReadError::Closed(reason)))
            });
            ended.await.unwrap_or_else(|error| Err(ReadError::Closed(error.to_string())))
        })
    }

    fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry, Arc::downgrade(&self.shared));
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.inbox.stop(Stop::Abandon);
        self.shared.signal.stop(Stop::Abandon);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

/// A segment is given up as a whole: large enough that this is rare, small enough that a start reads seconds of work.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// About 10,000 conversions of 700 bytes: a third of a second of work at 30,000 a second, and well within the memory budget.
const WINDOW_BYTES: u32 = 32 * 1024 * 1024;
/// Longer than a quick destination takes to answer, so that what it answers at once is never written as waiting.
const LINGER: Duration = Duration::from_millis(250);
/// Of up to a few kilobytes each (an excerpt); they take the mover less than a second.
const CHANGES_MAX: usize = 4096;
const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// The window is shared out in units of this.
const CHARGE_UNIT: u32 = 1024;
/// Charged beside three times the body: deliveries, index entries.
const CHARGE_BYTES: usize = 1024;
/// Dead letters on one page.
const DEAD_PAGE_MAX: usize = 1000;
