//! As much of an HTTP/1.1 client as a load generator needs, and no more: the processors are for those who are measured.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::Failed;
use super::tls::Trust;

/// A kept connection.
pub(crate) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, trust: Option<&Trust>) -> Result<Connection, Failed> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = match trust {
            Some(trust) => Either::Right(trust.connect(stream).await?),
            None => Either::Left(stream),
        };
        Ok(Connection { stream, read: Vec::with_capacity(4096) })
    }

    /// Sends a whole request and reads the whole answer; returns its status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<u16, Failed> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err("the connection was closed".into());
            }
            let Some(head_bytes) = find(&self.read, b"\r\n\r\n").map(|at| at.saturating_add(4)) else { continue };
            let (head, rest) = self.read.split_at_checked(head_bytes).ok_or("no head")?;
            let head = std::str::from_utf8(head)?;
            let status = head.get(9..12).ok_or("no status")?.parse()?;
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or("no content-length")?;
            if rest.len() >= length.parse()? {
                return Ok(status);
            }
        }
    }
}

pub(crate) fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
