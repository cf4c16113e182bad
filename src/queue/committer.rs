//! The committer: one thread that makes what is waiting durable, group by group.
//!
//! It takes all submissions that wait, answers the duplicates among them, writes the rest and the settlements that have
//! gathered as one commit, syncs, takes the conversions into the window, and wakes everyone. A group forms while the one
//! before it is being synced, so there is nothing to tune.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::clock::Clock;
use super::history::First;
use super::journal::{AppendError, Journal, Kind, Through};
use super::mover::Level;
use super::record::{self, Leg, Record};
use super::shared::Shared;
use super::store::StoreError;
use super::vault::{KeyHash, PLAIN};
use super::window::Entry;
use super::{AcceptError, Claim};
use crate::conversion::ConversionId;

/// A submission on its way into the journal.
pub(super) struct Request {
    pub(super) record: Record,
    pub(super) legs: Vec<Leg>,
    pub(super) encoded: Vec<u8>,
    /// Whether the merchant named the key.
    pub(super) explicit: bool,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) claim: Claim,
    pub(super) reply: oneshot::Sender<Result<Answer, AcceptError>>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    New,
    Duplicate(ConversionId),
    KeyReused(ConversionId),
}

/// Whether a group was kept.
type Kept = Result<(), AcceptError>;

/// What a group of requests comes to.
struct Sorted {
    new: Vec<Request>,
    /// Answered without being kept.
    answered: Vec<(Request, Answer)>,
    /// New or not, for all that can be read; and why that is not more.
    unreadable: Vec<(Request, String)>,
}

/// What waits for the committer. Submissions are bounded by their permits for the window; settlements by
/// [`LAZY_BYTES_MAX`].
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    settled: VecDeque<Vec<u8>>,
    settled_bytes: usize,
    /// The oldest data key of what was taken last: the journal may not have it yet.
    taken_key: Option<u64>,
    /// Those who wait until all settlements before now are durable.
    barriers: Vec<Barrier>,
    woken: bool,
    stop: Stop,
}

/// Told when what was settled before is durable; dropped when it cannot be made so.
pub(super) type Barrier = oneshot::Sender<Result<(), AcceptError>>;

/// What the committer takes in for one group.
struct Taken {
    requests: Vec<Request>,
    settled: Vec<Vec<u8>>,
    barriers: Vec<Barrier>,
    stop: Stop,
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stop {
    #[default]
    Run,
    /// Write what waits, then end.
    Drain,
    /// End at once, as a crash would.
    Abandon,
}

impl Waiting {
    /// Whether nothing is there that cannot wait for company.
    fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.barriers.is_empty() && !self.woken && self.stop == Stop::Run
    }
}

impl Inbox {
    /// Hands the request back when the committer has been told to stop.
    pub(super) fn submit(&self, request: Request) -> Result<(), Box<Request>> {
        let mut waiting = self.lock();
        if waiting.stop != Stop::Run {
            return Err(Box::new(request));
        }
        waiting.requests.push_back(request);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Leaves a settlement to ride in a later commit. When too many wait (the disk is full) the oldest is forgotten: that
    /// delivery may be repeated after a crash.
    pub(super) fn settled(&self, encoded: Vec<u8>) {
        let mut waiting = self.lock();
        waiting.settled_bytes = waiting.settled_bytes.saturating_add(encoded.len());
        waiting.settled.push_back(encoded);
        while waiting.settled_bytes > LAZY_BYTES_MAX {
            let forgotten = waiting.settled.pop_front().map_or(0, |oldest| oldest.len());
            waiting.settled_bytes = waiting.settled_bytes.saturating_sub(forgotten);
        }
    }

    /// Tells when every settlement left here before is durable.
    pub(super) fn barrier(&self, barrier: Barrier) {
        let mut waiting = self.lock();
        if waiting.stop == Stop::Run {
            waiting.barriers.push(barrier);
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    /// Has the committer look whether there is something else to do.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.arrived.notify_one();
    }

    /// Abandoned, everyone who waits is told so: their requests are dropped.
    pub(super) fn stop(&self, stop: Stop) {
        let mut waiting = self.lock();
        waiting.stop = stop;
        if stop == Stop::Abandon {
            waiting.requests.clear();
            waiting.barriers.clear();
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Waits for submissions, or until settlements have waited for [`LAZY_WAIT`].
    fn take(&self) -> Taken {
        let mut waiting = self.lock();
        if waiting.is_idle() {
            waiting = self
                .arrived
                .wait_timeout_while(waiting, LAZY_WAIT, |waiting| waiting.is_idle())
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let (mut count, mut bytes) = (0_usize, 0_usize);
        for request in &waiting.requests {
            bytes = bytes.saturating_add(request.encoded.len());
            if count > 0 && (count >= GROUP_COUNT_MAX || bytes > GROUP_BYTES_MAX) {
                break;
            }
            count = count.saturating_add(1);
        }
        let requests: Vec<Request> = waiting.requests.drain(..count).collect();
        let (mut settled, mut bytes) = (Vec::new(), 0_usize);
        while bytes < GROUP_BYTES_MAX
            && let Some(encoded) = waiting.settled.pop_front()
        {
            bytes = bytes.saturating_add(encoded.len());
            settled.push(encoded);
        }
        waiting.settled_bytes = waiting.settled_bytes.saturating_sub(bytes);
        let barriers = if waiting.settled.is_empty() { std::mem::take(&mut waiting.barriers) } else { Vec::new() };
        waiting.woken = false;
        waiting.taken_key = oldest_key(requests.iter().map(|request: &Request| &request.encoded).chain(&settled));
        Taken { requests, settled, barriers, stop: waiting.stop }
    }

    /// Takes settlements back for which there was no room, unless the end has come: then they are forgotten.
    fn restore(&self, settled: Vec<Vec<u8>>) {
        let mut waiting = self.lock();
        if waiting.stop != Stop::Run {
            return;
        }
        for encoded in settled.into_iter().rev() {
            let bytes = waiting.settled_bytes.saturating_add(encoded.len());
            if bytes > LAZY_BYTES_MAX {
                return;
            }
            waiting.settled_bytes = bytes;
            waiting.settled.push_front(encoded);
        }
    }

    /// The oldest of the data keys with which something is sealed that waits, or that the committer has in hand.
    pub(super) fn oldest_key(&self) -> Option<u64> {
        let waiting = self.lock();
        let payloads = waiting.requests.iter().map(|request| &request.encoded).chain(&waiting.settled);
        oldest_key(payloads).into_iter().chain(waiting.taken_key).min()
    }

    fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.requests.is_empty() && waiting.settled.is_empty() && waiting.barriers.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own things.
pub(super) struct Committer {
    shared: Arc<Shared>,
    journal: Journal,
    last_accepted: u64,
    pace: Clock,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, journal: Journal, last_accepted: u64) -> Committer {
        Committer { shared, journal, last_accepted, pace: Clock::system() }
    }

    /// Runs until it is told to stop, or storage fails.
    pub(super) fn run(mut self) {
        loop {
            let Taken { requests, settled, barriers, stop } = self.shared.inbox.take();
            if stop == Stop::Abandon || self.shared.has_failed() {
                return refuse(requests, &AcceptError::Closed);
            }
            let is_empty = requests.is_empty() && settled.is_empty();
            match if is_empty { Ok(Ok(())) } else { self.commit(requests, settled) } {
                Ok(kept) => barriers.into_iter().for_each(|barrier| answer_to(barrier, kept.clone())),
                Err(error) => return self.shared.fail(&error.to_string()),
            }
            if let Err(error) = self.journal.leave_old(self.shared.vault.sealing().number()) {
                return self.shared.fail(&error.to_string());
            }
            if stop == Stop::Drain && self.shared.inbox.is_empty() {
                return;
            }
        }
    }

    /// One group. The outer error means that storage has failed; everyone in the group has been told. The inner one: for
    /// this group there was no room, and its settlements wait again.
    fn commit(&mut self, requests: Vec<Request>, settled: Vec<Vec<u8>>) -> Result<Kept, AppendError> {
        let Sorted { new, answered, unreadable } = match self.known(requests) {
            Ok(sorted) => sorted,
            Err(error) => {
                self.shared.fail(&error.to_string());
                return Ok(Err(AcceptError::Closed));
            }
        };
        for (request, damage) in unreadable {
            let id = request.record.meta.id;
            tracing::error!(%id, damage, "refused: it may be a repeat of one whose record cannot be read");
            refuse([request], &AcceptError::Unreadable(damage));
        }
        if let Err(error) = self.append(&new, &settled) {
            refuse(answered.into_iter().map(|(request, _)| request), &AcceptError::Closed);
            let new = new.into_iter();
            return match error {
                AppendError::NoSpace(_) => {
                    let full = AcceptError::DiskFull("the journal cannot grow".to_owned());
                    refuse(new, &full);
                    self.shared.inbox.restore(settled);
                    self.shared.space.check(&self.shared.folder);
                    self.shared.space.journal_was_refused(true);
                    Ok(Err(full))
                }
                AppendError::Failed { .. } => {
                    refuse(new, &AcceptError::Closed);
                    Err(error)
                }
            };
        }
        self.publish(new);
        for (request, answer) in answered {
            self.shared.metrics.duplicates.inc();
            answer_to(request.reply, Ok(answer));
        }
        self.journal.prepare()?;
        Ok(Ok(()))
    }

    fn append(&mut self, new: &[Request], settled: &[Vec<u8>]) -> Result<(), AppendError> {
        if new.is_empty() && settled.is_empty() {
            return Ok(());
        }
        let first_seq = self.journal.next_seq();
        let accepted = new.iter().map(|request| (Kind::Accepted, request.encoded.as_slice()));
        let settled = settled.iter().map(|encoded| (Kind::Settled, encoded.as_slice()));
        let count = u64::try_from(new.len()).unwrap_or(u64::MAX);
        let last_accepted =
            if count == 0 { self.last_accepted } else { first_seq.saturating_add(count).saturating_sub(1) };
        // Every settlement taken was applied to the window before: its change, if it made one, is counted here.
        let through = Through { moved_seq: last_accepted, changes: self.shared.window().changes_made() };
        let began_us = self.pace.elapsed_us();
        self.journal.append(accepted.chain(settled), through)?;
        self.shared.space.journal_was_refused(false);
        self.last_accepted = last_accepted;
        let metrics = &self.shared.metrics;
        metrics.commit_seconds.observe(self.pace.seconds_since(began_us));
        let records = self.journal.next_seq().saturating_sub(first_seq);
        metrics.commit_records.observe(f64::from(u32::try_from(records).unwrap_or(u32::MAX)));
        Ok(())
    }

    /// Takes the conversions of a durable commit into the window and wakes those who wait for them.
    fn publish(&self, new: Vec<Request>) {
        let since_ms = self.shared.clock.elapsed_ms();
        let first_seq = self.last_accepted.saturating_add(1).saturating_sub(u64::try_from(new.len()).unwrap_or(0));
        let mut left = (first_seq..).zip(new).map(|(seq, request)| {
            let record = Arc::new(request.record.with_seq(seq));
            (Entry::new(record, request.legs, since_ms, Some(request.permit)), (request.reply, request.claim))
        });
        loop {
            let (entries, replies): (Vec<Entry>, Vec<_>) = left.by_ref().take(PUBLISHED_AT_ONCE).unzip();
            if entries.is_empty() {
                break;
            }
            let mut window = self.shared.window();
            window.insert_all(entries);
            self.shared.note_budget(&window);
            drop(window);
            for (reply, claim) in replies {
                drop(claim);
                answer_to(reply, Ok(Answer::New));
            }
        }
        if self.shared.is_pressed() {
            self.shared.signal.raise(Level::Urgent);
        }
    }

    /// Parts what is new from what is known already: in memory, in this group, or in the store.
    fn known(&self, requests: Vec<Request>) -> Result<Sorted, StoreError> {
        let mut firsts = HashMap::with_capacity(requests.len());
        let (mut new, mut answered, mut unreadable) = (Vec::with_capacity(requests.len()), Vec::new(), Vec::new());
        let (in_window, dedup_ms) = (self.in_window(&requests), self.shared.dedup_ms());
        for (request, in_window) in requests.into_iter().zip(in_window) {
            let key = request.record.key;
            let first = match firsts.get(&key) {
                Some((first, digest)) => Some((*first, *digest == request.record.digest)),
                None => match self.first_with(&key, &request, in_window, dedup_ms) {
                    // A repeat comes until it is answered: it must not end the process each time.
                    Err(damage @ (StoreError::Form(_) | StoreError::History(_))) => {
                        unreadable.push((request, damage.to_string()));
                        continue;
                    }
                    first => first?,
                },
            };
            match first {
                Some((first, is_same)) if request.explicit && !is_same => {
                    answered.push((request, Answer::KeyReused(first)));
                }
                Some((first, _)) => answered.push((request, Answer::Duplicate(first))),
                None => {
                    firsts.insert(key, (request.record.meta.id, request.record.digest));
                    new.push(request);
                }
            }
        }
        Ok(Sorted { new, answered, unreadable })
    }

    /// Of each, the conversion in memory that used its key, and that one's digest.
    fn in_window(&self, requests: &[Request]) -> Vec<Option<(ConversionId, KeyHash)>> {
        let mut found = Vec::with_capacity(requests.len());
        for part in requests.chunks(LOOKED_UP_AT_ONCE) {
            let window = self.shared.window();
            let first = |request: &Request| window.by_key(&request.record.key);
            found.extend(part.iter().map(|request| first(request).map(|record| (record.meta.id, record.digest))));
        }
        found
    }

    /// The conversion that used this key within the window of deduplication, and whether its content was the same. What
    /// leaves the memory is in the history before.
    fn first_with(
        &self,
        key: &KeyHash,
        request: &Request,
        in_window: Option<(ConversionId, KeyHash)>,
        dedup_ms: u64,
    ) -> Result<Option<(ConversionId, bool)>, StoreError> {
        let shared = &self.shared;
        let now_ms = request.record.meta.id.unix_ms().max(shared.clock.unix_ms());
        // By a clock that has just leapt ahead no repeat is new.
        let from_ms = now_ms.min(dedup_ms).saturating_sub(shared.dedup_window_ms);
        let recent = |(id, _): &(ConversionId, bool)| id.unix_ms() >= from_ms;
        let own = request.record.digest;
        let in_window = in_window.map(|(first, digest)| (first, digest == own));
        if let Some(first) = in_window.filter(recent) {
            return Ok(Some(first));
        }
        let first = shared.history.first_with(key, from_ms, |first| shared.is_known(first))?;
        // Of one that was erased nothing tells whether this is the same.
        let is_same = |first: &First| first.is_erased || first.digest == shared.vault.digest(&own);
        Ok(first.map(|first| (first.id, is_same(&first))))
    }
}

fn oldest_key<'a>(payloads: impl Iterator<Item = &'a Vec<u8>>) -> Option<u64> {
    payloads.filter_map(|payload| record::key_number(payload).ok()).filter(|number| *number != PLAIN).min()
}

fn refuse(requests: impl IntoIterator<Item = Request>, error: &AcceptError) {
    for request in requests {
        answer_to(request.reply, Err(error.clone()));
    }
}

/// Whoever waited may have gone away: the answer is then nobody's, and the conversion is kept all the same.
fn answer_to<T>(reply: oneshot::Sender<T>, answer: T) {
    drop(reply.send(answer));
}

/// Settlements wait at most this long for a commit to ride in.
const LAZY_WAIT: Duration = Duration::from_millis(1000);
/// Settlements waiting beyond this are forgotten, oldest first.
const LAZY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Taken into the window under one lock: everybody else waits for it.
const PUBLISHED_AT_ONCE: usize = 64;
/// The same, of keys looked up in it.
const LOOKED_UP_AT_ONCE: usize = 128;
/// Submissions in one commit: far above what waits on a busy day, so that a commit stays a few megabytes.
const GROUP_COUNT_MAX: usize = 4096;
/// Bytes of one commit, a single larger record aside.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
