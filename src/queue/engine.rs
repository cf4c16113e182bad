//! What stands behind the queue's handle: one small trait, and what it hands out.

use std::pin::Pin;
use std::sync::Arc;

use prometheus_client::registry::Registry;

use super::record::Record;
use super::{
    AcceptError, Acceptance, Accepted, Attempt, Backlog, Books, BooksOf, DeadFilter, DeadPage, Depths, Disk, Forget,
    Forgotten, Hold, Outcome, PageRequest, ReadError, Status, Stored, Submission, Treated, Treatment,
};
use crate::conversion::{ConversionId, DestinationName};

/// What an engine must do to stand behind [`Queue`](super::Queue). Its promises are those of the methods of the same name; nothing here
/// names how or where an engine keeps things.
pub(crate) trait Engine: Send + Sync {
    fn accept(&self, submission: Submission) -> Promise<'_, Result<Accepted, AcceptError>>;
    /// Must be cancel-safe: a lease exists from the moment the promise returns it, not before.
    fn next<'a>(&'a self, destination: &'a DestinationName) -> Promise<'a, Lease>;
    /// Called at most once for a lease, and never after `give_back`.
    fn settle(&self, lease: &Lease, outcome: Outcome, attempt: Option<Attempt>);
    /// Called at most once for a lease, and never after `settle`.
    fn give_back(&self, lease: &Lease);
    fn hold(&self, destination: &DestinationName, hold: Option<Hold>);
    fn status(&self, id: ConversionId) -> Promise<'_, Result<Option<Status>, ReadError>>;
    fn settled(&self, id: ConversionId) -> Promise<'_, Result<Option<Status>, ReadError>>;
    fn order<'a>(&'a self, merchant: &'a str, order_id: &'a str) -> Promise<'a, Result<Vec<Status>, ReadError>>;
    fn dead_letters(&self, filter: DeadFilter, page: PageRequest) -> Promise<'_, Result<DeadPage, ReadError>>;
    fn stored(&self, id: ConversionId) -> Promise<'_, Result<Option<Stored>, ReadError>>;
    fn books(&self, of: BooksOf) -> Promise<'_, Result<Books, ReadError>>;
    fn compare(&self) -> Promise<'_, Result<(), ReadError>>;
    fn treat(&self, filter: DeadFilter, treatment: Treatment) -> Promise<'_, Result<Treated, ReadError>>;
    fn forget(&self, what: Forget) -> Promise<'_, Result<Forgotten, ReadError>>;
    fn backlog(&self, destination: &DestinationName) -> Backlog;
    fn depths(&self) -> Depths;
    fn disk(&self) -> Disk;
    fn failed(&self) -> Promise<'_, String>;
    fn close(&self) -> Promise<'_, Result<(), ReadError>>;
    fn register_metrics(&self, registry: &mut Registry);
}

/// A boxed future: an engine is chosen at run time.
pub(crate) type Promise<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A delivery handed out: what the engine needs to know it again.
pub(crate) struct Lease {
    pub(super) destination: DestinationName,
    pub(super) record: Arc<Record>,
    /// Attempts used up so far.
    pub(super) attempts: u32,
    /// Settlements so far: tells a repeated settlement from a new one.
    pub(super) revision: u32,
    /// Of one that had been put off.
    pub(super) due_ms: Option<u64>,
    /// Of one that was a dead letter.
    pub(super) replayed_ms: Option<u64>,
    /// Of one that is not to be sent but asked about.
    pub(super) acceptance: Option<Arc<Acceptance>>,
    /// Whether an attempt may have arrived, whatever was made of it.
    pub(super) is_in_doubt: bool,
}
