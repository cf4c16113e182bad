//! An answer of ours: whole in memory, within the room that there is for such; or told bit by bit, for as long as there is
//! something to tell.

use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::connection::InHand;

/// An answer.
pub(crate) type Reply = Response<Content>;

/// The body of an answer.
pub(crate) enum Content {
    /// What is left of all of it.
    Whole(Bytes),
    /// What comes, until whoever tells it lets go. How much may lie unread is the channel's limit.
    Told {
        /// The parts.
        parts: mpsc::Receiver<Bytes>,
        /// Its request is in hand for as long as somebody tells it, or its connection would be taken for an idle one.
        hold: Arc<Hold>,
    },
}

/// Who tells an answer bit by bit. When it lets go, what was told is still sent; but the request is no longer in hand, so that
/// a client that does not read it does not keep its connection for ever.
pub(crate) struct Telling {
    parts: mpsc::Sender<Bytes>,
    /// The answer's: it goes with that.
    hold: Weak<Hold>,
}

/// The request in hand of an answer that is told.
#[derive(Default)]
pub(crate) struct Hold(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    in_hand: Option<InHand>,
    is_let_go: bool,
}

/// Bytes, and what goes with the last of them.
struct Held<R> {
    bytes: Bytes,
    _room: R,
}

impl<R> AsRef<[u8]> for Held<R> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Telling {
    /// Adds a part; false: so many lie unread, or nobody is there to read it.
    pub(crate) fn tell(&self, part: Bytes) -> bool {
        self.parts.try_send(part).is_ok()
    }

    /// Whether nobody is there to read it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.parts.is_closed()
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.upgrade() {
            hold.change(|held| {
                held.is_let_go = true;
                held.in_hand.take()
            });
        }
    }
}

impl Hold {
    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Content {
    /// An answer that is told bit by bit, of which so many parts may lie unread.
    pub(crate) fn told(unread_max: usize) -> (Telling, Content) {
        let (sender, parts) = mpsc::channel(unread_max);
        let hold = Arc::default();
        (Telling { parts: sender, hold: Arc::downgrade(&hold) }, Content::Told { parts, hold })
    }

    /// Keeps something for as long as the bytes of a whole one are in memory, here or in the buffers of a connection.
    pub(super) fn hold(&mut self, room: impl Send + 'static) {
        if let Content::Whole(bytes) = self {
            *bytes = Bytes::from_owner(Held { bytes: mem::take(bytes), _room: room });
        }
    }

    /// Keeps the request in hand for as long as this is told; of a whole body nothing is waited for.
    pub(super) fn keep(&mut self, request: InHand) {
        match self {
            Content::Whole(_) => drop(request),
            Content::Told { hold, .. } => hold.change(|held| held.in_hand = Some(request).filter(|_| !held.is_let_go)),
        }
    }
}

impl Default for Content {
    fn default() -> Content {
        Content::Whole(Bytes::new())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Content::Told { parts, .. } => parts.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Told { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Content::Told { .. } => SizeHint::default(),
        }
    }
}
