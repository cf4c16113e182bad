//! An answer of ours: whole in memory, because none is long; or told bit by bit, for as long as there is something to tell.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::connection::InHand;

/// An answer.
pub(crate) type Reply = Response<Content>;

/// The body of an answer.
pub(crate) enum Content {
    /// All of it.
    Whole(Full<Bytes>),
    /// What comes, until whoever tells it lets go. How much may lie unread is the channel's limit.
    Told {
        /// The parts.
        parts: mpsc::Receiver<Bytes>,
        /// Its request is in hand until its end, or its connection would be taken for an idle one.
        in_hand: Option<InHand>,
    },
}

impl Content {
    /// Keeps the request in hand for as long as this is told; of a whole body nothing is waited for.
    pub(super) fn keep(&mut self, request: InHand) {
        match self {
            Content::Whole(_) => drop(request),
            Content::Told { in_hand, .. } => *in_hand = Some(request),
        }
    }
}

impl Default for Content {
    fn default() -> Content {
        Content::Whole(Full::default())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Content::Whole(whole) => Pin::new(whole).poll_frame(context),
            Content::Told { parts, .. } => parts.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Whole(whole) => whole.is_end_stream(),
            Content::Told { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(whole) => whole.size_hint(),
            Content::Told { .. } => SizeHint::default(),
        }
    }
}
