//! An established connection: what it negotiated, and whether a request that was handed to it was written at all.
//!
//! A kept connection whose peer has hung up meanwhile is met again and again: HTTP/1.1 says nothing before it closes. The
//! kernel knows of it before the runtime does, so it is asked once before each request's first byte. What is refused then
//! was certainly not sent; without the question it would be *unknown*.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
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
    unwritten: Arc<AtomicBool>,
    answered: Arc<AtomicBool>,
}

impl Wire {
    /// Of the connection that hyper chose for a request.
    pub(super) fn of(connected: &Connected) -> Option<Wire> {
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        extras.remove()
    }

    /// A request was answered over it.
    pub(super) fn note_answer(&self) {
        self.answered.store(true, Ordering::Release);
    }

    /// Whether a request was ever answered over it: then it was kept.
    pub(super) fn was_kept(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    /// Whether the peer had hung up before the first byte of the last request. Such a connection takes no other one.
    pub(super) fn was_hung_up(&self) -> bool {
        self.unwritten.load(Ordering::Acquire)
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
        Link { stream, wire: Wire { negotiated, unwritten: Arc::default(), answered: Arc::default() } }
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
    fn check(&self, bytes: &[u8]) -> io::Result<()> {
        let begins = self.wire.negotiated.protocol == Protocol::Http1 && begins_request(bytes);
        if begins && hung_up(self.tcp()) {
            self.wire.unwritten.store(true, Ordering::Release);
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer had closed the connection"));
        }
        Ok(())
    }
}

/// Whether these are the first bytes of a request: hyper writes nothing more of the one before once it has its answer, so
/// that each head begins a write.
fn begins_request(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    line.ends_with(b" HTTP/1.1") && line.first().is_some_and(u8::is_ascii_uppercase)
}

/// Whether the peer has closed its side. An error here is left for the write to meet.
fn hung_up(tcp: &TcpStream) -> bool {
    let mut asked = [PollFd::new(tcp, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.wire.clone())
    }
}

impl Read for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(buf)?;
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
        self.check(bufs.first().map(|buf| &**buf).unwrap_or_default())?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
