//! Connections that wait for their next request, by where they lead.
//!
//! Of HTTP/1.1 the one used last goes first, so that those beyond what is needed grow idle and are closed; HTTP/2 needs one for
//! all. Nobody watches them while they wait: whether one is still open shows when it is taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use futures_util::future::join_all;
use http::Uri;
use http::uri::{Authority, Scheme};
use hyper::rt::Executor;
use tokio::time::{Instant, sleep_until};

use super::Background;
use super::connection::{Connection, Http1, Http2};

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    is_plain: bool,
    authority: Authority,
}

impl Origin {
    /// Of an absolute URL.
    pub(super) fn of(uri: &Uri) -> Option<Origin> {
        Some(Origin { is_plain: uri.scheme() == Some(&Scheme::HTTP), authority: uri.authority()?.clone() })
    }
}

/// The connections of one client.
pub(super) struct Kept {
    shelf: Mutex<Shelf>,
    per_origin_max: usize,
}

#[derive(Default)]
struct Shelf {
    by_origin: HashMap<Origin, Waiting>,
    /// Those that nobody will take.
    to_close: Vec<Http1>,
    /// Somebody sees to it that idle ones are closed.
    is_swept: bool,
}

/// Those of one origin, each with when it was used last.
#[derive(Default)]
struct Waiting {
    /// The one used last at the end.
    http1: Vec<(Http1, Instant)>,
    http2: Option<(Http2, Instant)>,
}

impl Kept {
    pub(super) fn new(per_origin_max: usize) -> Kept {
        Kept { shelf: Mutex::default(), per_origin_max }
    }

    /// One to send a request over, if there is any.
    pub(super) fn take(&self, origin: &Origin, now: Instant) -> Option<Connection> {
        let mut shelf = self.shelf();
        let Shelf { by_origin, to_close, .. } = &mut *shelf;
        let waiting = by_origin.get_mut(origin)?;
        if let Some((http2, used)) = &mut waiting.http2 {
            if http2.is_open() && !is_idle(*used, now) && !is_old(http2.since, now) {
                *used = now;
                return Some(Connection::Http2(http2.clone()));
            }
            waiting.http2 = None;
        }
        while let Some((http1, used)) = waiting.http1.pop() {
            if !is_idle(used, now) && !is_old(http1.since, now) {
                return Some(Connection::Http1(http1));
            }
            to_close.push(http1);
        }
        None
    }

    /// Keeps one for the next request, unless it is old or there are enough.
    pub(super) fn put(self: &Arc<Kept>, origin: &Origin, connection: Connection, background: &Background) {
        let now = Instant::now();
        let mut shelf = self.shelf();
        let Shelf { by_origin, to_close, .. } = &mut *shelf;
        let waiting = by_origin.entry(origin.clone()).or_default();
        match connection {
            Connection::Http1(http1) if is_old(http1.since, now) || waiting.http1.len() >= self.per_origin_max => {
                to_close.push(http1);
            }
            Connection::Http1(http1) => waiting.http1.push((http1, now)),
            Connection::Http2(http2) => waiting.put(http2, now),
        }
        self.sweep_from_now_on(shelf, background);
    }

    /// The connection that all requests to an origin are to go over: this new one, unless another was made meanwhile.
    pub(super) fn share(self: &Arc<Kept>, origin: &Origin, http2: Http2, background: &Background) -> Http2 {
        let mut shelf = self.shelf();
        let waiting = shelf.by_origin.entry(origin.clone()).or_default();
        waiting.put(http2.clone(), Instant::now());
        let shared = waiting.http2.as_ref().map_or(http2, |(shared, _)| shared.clone());
        self.sweep_from_now_on(shelf, background);
        shared
    }

    /// Lets no further request go over it: perhaps nothing comes back over it any more. Those under way are not touched.
    pub(super) fn forget(&self, origin: &Origin, http2: &Http2) {
        if let Some(waiting) = self.shelf().by_origin.get_mut(origin) {
            waiting.http2.take_if(|(kept, _used)| kept.is(http2));
        }
    }

    fn sweep_from_now_on(self: &Arc<Kept>, mut shelf: MutexGuard<'_, Shelf>, background: &Background) {
        if !std::mem::replace(&mut shelf.is_swept, true) {
            background.execute(Arc::clone(self).close_idle());
        }
    }

    /// Closes those that were not used for a while, until there are none.
    async fn close_idle(self: Arc<Kept>) {
        let mut due = Some(Instant::now());
        while let Some(at) = due {
            sleep_until(at).await;
            due = self.sweep(Instant::now());
            self.close_those_to_close().await;
        }
    }

    /// Takes down those that were not used for a while. Returns when the next one will be idle, if there are others.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut shelf = self.shelf();
        let Shelf { by_origin, to_close, is_swept } = &mut *shelf;
        for waiting in by_origin.values_mut() {
            let idle = waiting.http1.extract_if(.., |(_, used)| is_idle(*used, now));
            to_close.extend(idle.map(|(http1, _)| http1));
            waiting.http2.take_if(|(http2, used)| is_idle(*used, now) || !http2.is_open());
        }
        by_origin.retain(|_, waiting| waiting.used().next().is_some());
        *is_swept = !by_origin.is_empty();
        by_origin.values().flat_map(Waiting::used).min()?.checked_add(IDLE_TIMEOUT)
    }

    /// Closes all that no request is under way over.
    pub(super) async fn close(&self) {
        self.take_down();
        self.close_those_to_close().await;
    }

    fn take_down(&self) {
        let mut shelf = self.shelf();
        let Shelf { by_origin, to_close, .. } = &mut *shelf;
        to_close.extend(by_origin.drain().flat_map(|(_, waiting)| waiting.http1).map(|(http1, _)| http1));
    }

    async fn close_those_to_close(&self) {
        let to_close = std::mem::take(&mut self.shelf().to_close);
        join_all(to_close.into_iter().map(Http1::close)).await;
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Of several that were made at the same time the first is kept.
    fn put(&mut self, http2: Http2, now: Instant) {
        let is_wanted = self.http2.as_ref().is_none_or(|(kept, _)| kept.is(&http2) || !kept.is_open());
        if is_wanted && !is_old(http2.since, now) {
            self.http2 = Some((http2, now));
        }
    }

    /// When each was used last.
    fn used(&self) -> impl Iterator<Item = Instant> {
        let http2 = self.http2.iter().map(|(_, used)| *used);
        self.http1.iter().map(|(_, used)| *used).chain(http2)
    }
}

fn is_idle(used: Instant, now: Instant) -> bool {
    now.saturating_duration_since(used) >= IDLE_TIMEOUT
}

fn is_old(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= AGE_MAX
}

/// How long an idle connection is kept: shorter than the five seconds after which common servers (Node, Apache) close theirs,
/// so that the end of one does not cross a request, whose fate nobody would know then.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// How old a connection may become: a busy one is never idle, and a name may lead elsewhere meanwhile.
pub(super) const AGE_MAX: Duration = Duration::from_secs(300);
