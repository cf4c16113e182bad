//! `GET /admin/events`: what is shown of the relay, told as it changes (server-sent events).
//!
//! One task looks once a second while somebody listens, however many come, and tells all of them what is new. It never waits
//! for a listener: one that reads too slowly is let go, and gets the whole picture when it comes again; its connection is an
//! idle one from then on, and is closed like one. Nothing is missed by that, because events say how things are, not what
//! happened to them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderName, HeaderValue};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::picture::Picture;
use super::{Admin, Holder};
use crate::ingress::problem::{Kind, Problem, Reply};
use crate::ingress::reply::{Content, Telling};

/// Who listens.
#[derive(Default)]
pub(super) struct Events {
    audience: Mutex<Audience>,
    came: Notify,
}

#[derive(Default)]
struct Audience {
    listeners: Vec<Listener>,
    /// Nobody is told anything any more.
    is_over: bool,
    /// The whole as it was told last, and when: news are of what has changed since.
    latest: Option<(Bytes, Instant)>,
}

struct Listener {
    /// As long as it stands here, its request is in hand.
    telling: Telling,
    /// By which token it came.
    holder: Holder,
    /// It has not been told anything yet.
    is_new: bool,
}

impl Events {
    /// Another listener, if there is room for it. It is told the whole picture: the last one, unless that is old; then the next
    /// look is due.
    pub(super) fn join(&self, holder: Holder) -> Result<Reply, Problem> {
        let (telling, told) = Content::told(UNREAD_MAX);
        let mut audience = self.audience();
        audience.listeners.retain(|listener| !listener.telling.is_over());
        if audience.is_over {
            return Err(Problem::new(Kind::Unavailable, "the relay is ending"));
        }
        if audience.listeners.len() >= LISTENERS_MAX {
            let detail = format!("{LISTENERS_MAX} listen already, and no more may");
            return Err(Problem::new(Kind::Unavailable, detail).retry_after(STILL_HERE_EVERY));
        }
        let fresh = audience.latest.as_ref().filter(|(_whole, told_at)| told_at.elapsed() < LOOK_EVERY);
        let is_new = fresh.is_none_or(|(whole, _told_at)| !telling.tell(whole.clone()));
        audience.listeners.push(Listener { telling, holder, is_new });
        drop(audience);
        self.came.notify_one();
        let mut reply = Response::new(told);
        for (name, value) in HEADERS {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(reply)
    }

    /// Waits until it is time to look again: somebody listens, and the last look is a second ago, whoever comes meanwhile.
    async fn due(&self, looked_at: Option<Instant>) {
        while self.is_empty() {
            self.came.notified().await;
        }
        if let Some(looked_at) = looked_at {
            sleep(LOOK_EVERY.saturating_sub(looked_at.elapsed())).await;
        }
    }

    /// Lets those go who could not come again: their token is taken out, or one is asked for by now.
    fn let_go(&self, may_listen: impl Fn(&Holder) -> bool) {
        self.audience().listeners.retain(|listener| may_listen(&listener.holder));
    }

    /// Who has been told something before is told `news`, the others the `whole`.
    fn tell(&self, whole: &Bytes, news: &Bytes) {
        let mut audience = self.audience();
        audience.latest = Some((whole.clone(), Instant::now()));
        audience.listeners.retain_mut(|listener| {
            let part = if listener.is_new { whole } else { news };
            let is_told = part.is_empty() || listener.telling.tell(part.clone());
            listener.is_new = false;
            is_told
        });
    }

    fn is_empty(&self) -> bool {
        self.audience().listeners.is_empty()
    }

    /// Ends every stream, and takes no other.
    fn end(&self) {
        let mut audience = self.audience();
        audience.is_over = true;
        audience.listeners.clear();
    }

    fn audience(&self) -> MutexGuard<'_, Audience> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admin {
    /// Tells what changes until `shutdown`, and then ends every stream.
    pub(super) async fn tell(&self, shutdown: CancellationToken) {
        let told = shutdown.run_until_cancelled(self.tell_on()).await;
        debug_assert!(told.is_none(), "it goes on for ever");
        self.events.end();
    }

    async fn tell_on(&self) -> ! {
        let mut teller = Teller { number: 0, before: Picture::default(), told_at: Instant::now() };
        let mut looked_at = None;
        loop {
            self.events.due(looked_at).await;
            looked_at = Some(Instant::now());
            let config = self.ingress.config();
            let valid = &config.server.admin_token_sha256;
            self.events.let_go(|holder| match holder {
                Some(digest) => valid.iter().any(|token| token.digest == *digest),
                None => valid.is_empty(),
            });
            let picture = self.picture().await;
            let (whole, news) = teller.next(picture, Instant::now());
            self.events.tell(&whole, &news);
        }
    }
}

/// What was told last.
struct Teller {
    number: u64,
    before: Picture,
    told_at: Instant,
}

impl Teller {
    /// The whole of the picture for who comes anew, and for the others what has changed; or a comment, that the connection is
    /// known to live.
    fn next(&mut self, picture: Picture, now: Instant) -> (Bytes, Bytes) {
        let mut news = String::new();
        for (kind, data) in picture.changes(&self.before) {
            self.number = self.number.saturating_add(1);
            news.push_str(&frame(self.number, kind, &data));
        }
        if news.is_empty() && now.saturating_duration_since(self.told_at) >= STILL_HERE_EVERY {
            news.push_str(STILL_HERE);
        }
        if !news.is_empty() {
            self.told_at = now;
        }
        let whole = format!("{RETRY}{}", frame(self.number, "overview", &picture.whole()));
        self.before = picture;
        (whole.into(), news.into())
    }
}

/// An event as it is sent; JSON has no line breaks of its own.
fn frame(number: u64, kind: &str, data: &str) -> String {
    format!("id: {number}\nevent: {kind}\ndata: {data}\n\n")
}

/// Half of the connections that the admin listener takes.
pub(super) const LISTENERS_MAX: usize = 32;
/// As many seconds behind, and a listener is let go.
const UNREAD_MAX: usize = 16;
/// As often as a person can read.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Proxies give up a silent connection after half a minute or more.
const STILL_HERE_EVERY: Duration = Duration::from_secs(15);
const STILL_HERE: &str = ": still here\n\n";
/// In milliseconds, before a listener comes again.
const RETRY: &str = "retry: 2000\n\n";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/event-stream"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // A proxy of nginx passes on each event at once.
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

#[cfg(test)]
mod tests;
