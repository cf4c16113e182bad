//! An established connection: what it negotiated, and whether a request that was handed to it was written at all.
//!
//! A kept connection whose peer has hung up meanwhile is met again and again: HTTP/1.1 says nothing before it closes. The
//! kernel knows of it before the runtime does, so it is asked once before each request's first byte. What is refused then
//! was certainly not sent; without the question it would be *unknown*. Nor may there be anything to read before a request is
//! written: it would pass for the answer. (Of a new TLS session there may be tickets to read; there it is not asked.)

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ProtocolVersion;
use tokio::net::TcpStream;

use crate::queue::{Negotiated, Protocol, Tls};

/// An established connection, as hyper uses it.
pub(in super::super) struct Link {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    wire: Wire,
}

/// What is known of a connection; its clones are of the same one.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    /// What it speaks.
    pub(super) negotiated: Negotiated,
    marks: Arc<Marks>,
}

#[derive(Debug, Default)]
struct Marks {
    /// The next write is the first of a request.
    begins: AtomicBool,
    /// There were requests before it.
    is_kept: AtomicBool,
    unfit: AtomicBool,
}

impl Wire {
    /// A request of HTTP/1.1 is about to be written; the first, or on a kept connection.
    pub(super) fn note_beginning(&self, is_kept: bool) {
        self.marks.is_kept.store(is_kept, Ordering::Relaxed);
        self.marks.begins.store(true, Ordering::Release);
    }

    /// Whether the peer had hung up, or spoken out of turn, before the first byte of the last request. Such a connection takes
    /// no other one.
    pub(super) fn is_unfit(&self) -> bool {
        self.marks.unfit.load(Ordering::Acquire)
    }

    /// Whether both are of the same connection.
    pub(super) fn is(&self, other: &Wire) -> bool {
        Arc::ptr_eq(&self.marks, &other.marks)
    }
}

impl Link {
    pub(super) fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Link {
        let negotiated = match &stream {
            MaybeHttpsStream::Http(_) => Negotiated { protocol: Protocol::Http1, tls: None },
            MaybeHttpsStream::Https(tls) => {
                let (_, session) = tls.inner().get_ref();
                let is_h2 = session.alpn_protocol() == Some(b"h2");
                let protocol = if is_h2 { Protocol::Http2 } else { Protocol::Http1 };
                let is_old = session.protocol_version() == Some(ProtocolVersion::TLSv1_2);
                Negotiated { protocol, tls: Some(if is_old { Tls::V1_2 } else { Tls::V1_3 }) }
            }
        };
        Link { stream, wire: Wire { negotiated, marks: Arc::default() } }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match &self.stream {
            MaybeHttpsStream::Http(tcp) => tcp.inner(),
            MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
        }
    }

    /// What it speaks.
    pub(super) fn negotiated(&self) -> Negotiated {
        self.wire.negotiated
    }

    /// What is known of it when it is in HTTP's hands.
    pub(super) fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// When the peer's certificate ends to be valid (Unix seconds), over TLS.
    pub(super) fn valid_until(&self) -> Option<i64> {
        let MaybeHttpsStream::Https(tls) = &self.stream else { return None };
        let (_, session) = tls.inner().get_ref();
        let (_rest, certificate) = x509_parser::parse_x509_certificate(session.peer_certificates()?.first()?).ok()?;
        Some(certificate.validity().not_after.timestamp())
    }

    pub(super) fn is_plain(&self) -> bool {
        self.wire.negotiated.tls.is_none()
    }

    /// Refuses to begin a request towards a peer that reads nothing any more. HTTP/2 says itself what it did not process.
    fn check(&self) -> io::Result<()> {
        let marks = &self.wire.marks;
        if !marks.begins.load(Ordering::Acquire) {
            return Ok(());
        }
        marks.begins.store(false, Ordering::Release);
        let may_have_spoken = !self.is_plain() && !marks.is_kept.load(Ordering::Relaxed);
        let unfit = if may_have_spoken { PollFlags::RDHUP } else { PollFlags::RDHUP | PollFlags::IN };
        if is_any(self.tcp(), unfit) {
            marks.unfit.store(true, Ordering::Release);
            let words = "the peer had closed the connection, or spoken out of turn";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, words));
        }
        Ok(())
    }
}

/// Whether the kernel knows of any of these, or of an error. Where it cannot be asked, the write will tell.
fn is_any(tcp: &TcpStream, flags: PollFlags) -> bool {
    let mut asked = [PollFd::new(tcp, flags)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

impl Read for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
