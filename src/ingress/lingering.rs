//! Closing without cutting off the last answer.
//!
//! Whoever closes a TCP connection with unread data in it resets it, and a client that is still sending may lose the answer
//! that told it why. So, when a request was refused before its body was read, or its head before it was whole: first our side is
//! closed, then what still comes is read and thrown away, for a moment and up to a limit. A stream of HTTP/2 that is answered
//! before its body has come is reset behind the answer (RFC 9113 §8.1), which some clients take for the answer (curl before
//! 8.0, as Debian 12 has it): there what comes is thrown away before the answer is given.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep, timeout};

/// A stream that lingers at shutdown if `unread` says so: after the last request something came, or its body was not read.
pub(super) struct Lingering<T> {
    stream: T,
    unread: Arc<AtomicBool>,
    until: Option<Pin<Box<Sleep>>>,
    discarded_bytes: usize,
}

impl<T> Lingering<T> {
    pub(super) fn new(stream: T, unread: Arc<AtomicBool>) -> Lingering<T> {
        Lingering { stream, unread, until: None, discarded_bytes: 0 }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, into));
        if into.filled().len() > before {
            // A head that is never understood is refused where no request of ours is.
            self.unread.store(true, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.until.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let until = this.until.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scratch = [0; 8 * 1024];
        while this.discarded_bytes < DISCARDED_BYTES_MAX && until.as_mut().poll(context).is_pending() {
            let mut into = ReadBuf::new(&mut scratch);
            // Whether the peer closes or breaks off: there is nobody left to wait for.
            let read = ready!(Pin::new(&mut this.stream).poll_read(context, &mut into)).map(|()| into.filled().len());
            match read {
                Ok(0) | Err(_) => break,
                Ok(bytes) => this.discarded_bytes = this.discarded_bytes.saturating_add(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads what still comes of a body, for a moment and up to a limit; of one that goes beyond that, nothing.
pub(super) async fn discard(body: &mut Incoming) {
    if usize::try_from(body.size_hint().lower()).is_ok_and(|bytes| bytes > DISCARDED_BYTES_MAX) {
        return;
    }
    let discarding = async {
        let mut discarded_bytes = 0_usize;
        while discarded_bytes < DISCARDED_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            discarded_bytes = discarded_bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    timeout(LINGER, discarding).await.ok();
}

/// Reads what has come of a body already, and waits for nothing; whether that is all of it. Of an HTTP/1 body of which more is to
/// come, nothing more is read, and its connection cannot go on.
pub(super) async fn is_there(body: &mut Incoming) -> bool {
    for _ in 0..LOOKS {
        if body.is_end_stream() {
            return true;
        }
        match body.frame().now_or_never() {
            Some(Some(Ok(_frame))) => {}
            Some(None) => return true,
            Some(Some(Err(_broken_off))) => return false,
            // The connection hands over what it has when it is polled the next time.
            None => yield_now().await,
        }
    }
    body.is_end_stream()
}

/// One asks for what there is, the next has it; a chunked one has a chunk more, which is empty.
const LOOKS: usize = 4;
/// A client that is told `413` or `401` stops, or has sent what it meant to, well within this.
const LINGER: Duration = Duration::from_secs(2);
/// Twice the largest body that is read by default.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;
