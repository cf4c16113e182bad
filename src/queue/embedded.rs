//! The engine that keeps a folder on the local disk: journal, store, window and the two threads, wired.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::clock::Clock;
use super::committer::{Answer, Committer, Request, Stop};
use super::folder::OpenError;
use super::forget::{Forget, Forgotten};
use super::mover::Level;
use super::record::{self, Change, Event, Leg, Record, Settlement};
use super::shared::{Options, Shared};
use super::window::Step;
use super::{
    AcceptError, Accepted, Attempt, Backlog, Books, BooksOf, DeadFilter, DeadPage, Depths, Disk, Engine, Hold, Lease,
    Outcome, PageRequest, Promise, ReadError, Settings, Status, Stored, Submission, Treated, Treatment, recovery,
};
use crate::conversion::{ConversionId, DestinationName};
use crate::priority;

/// The engine. Dropped without [`Engine::close`] it ends as a crash would: nothing acknowledged is lost.
pub(super) struct Embedded {
    pub(super) shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Of the one who deals with dead letters, and of all that is done for it.
pub(super) type Alone = Arc<OwnedSemaphorePermit>;

impl Embedded {
    pub(super) fn open(settings: &Settings, clock: Clock, options: Options) -> Result<Embedded, OpenError> {
        let opened = recovery::open(settings, clock, options)?;
        let recovery::Opened { shared, journal, mover, last_accepted } = opened;
        let committer = Committer::new(Arc::clone(&shared), journal, last_accepted);
        let embedded = Embedded { shared: Arc::clone(&shared), threads: Arc::new(Mutex::new(Vec::new())) };
        // It belongs to accepting; and what comes while it waits shares a commit.
        embedded.start("queue-committer", move || {
            priority::give_way();
            committer.run();
        })?;
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
        let record = Record::of(&shared.vault, &submission);
        let plan = submission.plan.into_iter();
        let legs: Vec<Leg> = plan.map(|(destination, initial)| Leg::new(destination, initial, now_ms)).collect();
        let permit = shared.room_for(&record).await?;
        // With the present data key: one from before the wait might be gone.
        let encoded = record::encode_accepted(&shared.vault.sealing(), &record, &legs).map_err(|error| {
            shared.fail(&format!("a conversion: {error}"));
            AcceptError::Closed
        })?;
        let status = shared.admitted(&record, &legs)?;
        let (reply, answer) = oneshot::channel();
        let explicit = submission.meta.key_is_explicit();
        let claim = submission.claim;
        let request = Request { record, legs, encoded, explicit, permit, claim, reply };
        shared.inbox.submit(request).map_err(|_request| AcceptError::Closed)?;
        match self.answered(answer).await? {
            Answer::New => Ok(Accepted::New(status)),
            Answer::KeyReused(first) => Ok(Accepted::KeyReused { first }),
            Answer::Duplicate(first) => match self.read(move |shared| shared.any_status(first)).await {
                Ok(Some(first)) => Ok(Accepted::Duplicate(first)),
                Ok(None) => Ok(Accepted::Duplicate(status.of_forgotten(first))),
                Err(error) => {
                    tracing::warn!(%error, "cannot read the status of a duplicate's first");
                    Err(AcceptError::Closed)
                }
            },
        }
    }

    /// What a thread of the queue answers.
    pub(super) async fn answered<T: Send + 'static>(
        &self,
        answer: oneshot::Receiver<Result<T, AcceptError>>,
    ) -> Result<T, AcceptError> {
        let answer = if self.shared.clock.is_tokio() {
            // On paused time a runtime that only waits for another thread would jump to its next timer.
            tokio::task::spawn_blocking(move || answer.blocking_recv()).await.unwrap_or(Ok(Err(AcceptError::Closed)))
        } else {
            answer.await
        };
        answer.unwrap_or(Err(AcceptError::Closed))
    }

    /// Deals with dead letters page by page, each durable before the next is read.
    async fn treat_all(&self, filter: DeadFilter, treatment: Treatment) -> Result<Treated, ReadError> {
        let shared = &self.shared;
        let closed = |error: AcceptError| ReadError::Closed(error.to_string());
        let alone = self.alone().await?;
        // What is replayed and given up again is not of this one; letters that are named are read once.
        let begun_ms = filter.ids.is_none().then(|| shared.clock.unix_ms());
        let mut sum = Treated::default();
        let mut page = PageRequest { limit: shared.treated_at_once(), after: None };
        loop {
            if shared.is_stopped() {
                return Err(closed(AcceptError::Closed));
            }
            let (filter, treatment) = (filter.clone(), treatment.clone());
            let treat = move |shared: &Shared| shared.treat(&filter, &page, &treatment, begun_ms);
            let (treated, next) = self.read_alone(&alone, treat).await?;
            let (barrier, answer) = oneshot::channel();
            shared.inbox.barrier(barrier);
            self.answered(answer).await.map_err(closed)?;
            sum.matched = sum.matched.saturating_add(treated.matched);
            sum.done = sum.done.saturating_add(treated.done);
            if next.is_none() {
                return Ok(sum);
            }
            page = PageRequest { limit: shared.treated_at_once(), after: next };
            self.until_applied().await?;
        }
    }

    /// Waits until the store has what was changed so far.
    async fn until_applied(&self) -> Result<(), ReadError> {
        let made = self.shared.window().changes_made();
        self.shared.signal.raise(Level::Urgent);
        let (mut applied, mut failure) = (self.shared.applied.subscribe(), self.shared.failure.subscribe());
        tokio::select! {
            _ = applied.wait_for(|applied| *applied >= made) => Ok(()),
            _ = failure.wait_for(Option::is_some) => Err(ReadError::Closed(self.shared.failure().unwrap_or_default())),
        }
    }

    /// Runs what reads the store outside of the runtime's threads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || read(&shared)).await;
        read.unwrap_or_else(|error| Err(ReadError::Store(error.to_string())))
    }

    /// Waits until nobody else deals with dead letters.
    pub(super) async fn alone(&self) -> Result<Alone, ReadError> {
        let permit = Arc::clone(&self.shared.treating).acquire_owned().await;
        permit.map(Arc::new).map_err(|_closed| ReadError::Closed(AcceptError::Closed.to_string()))
    }

    /// Likewise what only one may do: until it has come to its end nobody else does, also when whoever asked has gone away.
    pub(super) async fn read_alone<T: Send + 'static>(
        &self,
        alone: &Alone,
        read: impl FnOnce(&Shared) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let alone = Arc::clone(alone);
        self.read(move |shared| {
            let read = read(shared);
            drop(alone);
            read
        })
        .await
    }

    async fn wait_for_next(&self, destination: &DestinationName) -> Lease {
        let shared = &self.shared;
        loop {
            if shared.is_stopped() {
                return std::future::pending().await;
            }
            let now_ms = shared.clock.unix_ms();
            let step = shared.window().step(destination, now_ms);
            let (due_ms, changed) = match step {
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
                Step::Wait(due_ms, changed) => (due_ms, changed),
            };
            match due_ms {
                None => changed.notified().await,
                Some(due_ms) => {
                    tokio::select! {
                        () = changed.notified() => {}
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
            settlement: Settlement::new(revision, at_ms, Event::Settled(outcome), attempt),
        };
        self.shared.change(change);
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

    fn settled(&self, id: ConversionId) -> Promise<'_, Result<Option<Status>, ReadError>> {
        Box::pin(async move {
            let waiter = self.shared.waiters.wait_for(id);
            loop {
                // It hears of what happens from here on.
                let changed = waiter.changed.notified();
                match self.status(id).await? {
                    Some(status) if !status.is_settled() => changed.await,
                    settled => return Ok(settled),
                }
            }
        })
    }

    fn order<'a>(&'a self, merchant: &'a str, order_id: &'a str) -> Promise<'a, Result<Vec<Status>, ReadError>> {
        let (merchant, order_id) = (merchant.to_owned(), order_id.to_owned());
        Box::pin(self.read(move |shared| shared.order(&merchant, &order_id)))
    }

    fn dead_letters(&self, filter: DeadFilter, page: PageRequest) -> Promise<'_, Result<DeadPage, ReadError>> {
        Box::pin(self.read(move |shared| shared.dead_letters(&filter, &page)))
    }

    fn stored(&self, id: ConversionId) -> Promise<'_, Result<Option<Stored>, ReadError>> {
        Box::pin(self.read(move |shared| shared.stored(id)))
    }

    fn books(&self, of: BooksOf) -> Promise<'_, Result<Books, ReadError>> {
        Box::pin(async move {
            // One at a time: each reads everything.
            let turn = Arc::clone(&self.shared.adding_up).acquire_owned().await;
            let turn = turn.map_err(|error| ReadError::Closed(error.to_string()))?;
            self.read(move |shared| {
                let books = shared.books(&of);
                drop(turn);
                books
            })
            .await
        })
    }

    fn compare(&self) -> Promise<'_, Result<(), ReadError>> {
        Box::pin(async {
            let turn = Arc::clone(&self.shared.adding_up).acquire_owned().await;
            let turn = turn.map_err(|error| ReadError::Closed(error.to_string()))?;
            self.read(move |shared| {
                let compared = shared.compare();
                drop(turn);
                compared
            })
            .await
        })
    }

    fn treat(&self, filter: DeadFilter, treatment: Treatment) -> Promise<'_, Result<Treated, ReadError>> {
        Box::pin(self.treat_all(filter, treatment))
    }

    fn forget(&self, what: Forget) -> Promise<'_, Result<Forgotten, ReadError>> {
        Box::pin(self.forget_all(what))
    }

    fn backlog(&self, destination: &DestinationName) -> Backlog {
        self.shared.window().backlog(destination)
    }

    fn depths(&self) -> Depths {
        self.shared.window().depths()
    }

    fn disk(&self) -> Disk {
        self.shared.space.disk()
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
