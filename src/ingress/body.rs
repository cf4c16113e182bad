//! A body, received within its limits of bytes and time, and decompressed within the same limit of bytes.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::Ingress;
use super::fields::Coding;
use super::problem::{Kind, Problem};
use super::room::{Room, Share};
use crate::config::Config;

impl Ingress {
    /// The whole body, within its limit of bytes and time, and what it has of the memory for bodies, and of its merchant's
    /// share of that.
    pub(super) async fn read(
        &self,
        config: &Config,
        share: &Share,
        body: &mut Incoming,
    ) -> Result<(Bytes, Room), Problem> {
        match timeout(config.server.request_timeout, self.read_frames(share, body, config.server.body_bytes_max)).await
        {
            Ok(read) => read,
            Err(_elapsed) => Err(Problem::new(Kind::RequestTimeout, "the body did not arrive in time")),
        }
    }

    async fn read_frames(
        &self,
        share: &Share,
        body: &mut Incoming,
        bytes_max: usize,
    ) -> Result<(Bytes, Room), Problem> {
        if usize::try_from(body.size_hint().lower()).is_ok_and(|bytes| bytes > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let Some(first) = piece(body).await? else { return Ok((Bytes::new(), Room::default())) };
        let fits = |bytes: usize| if bytes > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) };
        fits(first.len())?;
        // Nearly all come in one piece, and have nothing to wait for.
        if body.is_end_stream() {
            let mut room = Room::default();
            self.bodies.grow(share, &mut room, first.len())?;
            // Kept as it is, it would keep all that was read with it.
            return Ok((Bytes::copy_from_slice(&first), room));
        }
        let coming = self.bodies.begin(share);
        coming.extend(&first)?;
        loop {
            let next = tokio::select! {
                biased;
                problem = coming.gave_way() => return Err(problem),
                next = piece(body) => next?,
            };
            let Some(next) = next else { return coming.whole() };
            fits(coming.len().saturating_add(next.len()))?;
            coming.extend(&next)?;
        }
    }

    /// What was compressed, as it was before. Outside of the runtime's threads, a few at once.
    pub(super) async fn decompress(
        &self,
        config: &Config,
        share: &Share,
        coding: Coding,
        body: Bytes,
        room: &mut Room,
    ) -> Result<Bytes, Problem> {
        let bytes_max = config.server.body_bytes_max;
        // The semaphore is never closed. The turn ends with the work, which goes on when whoever asked for it is gone.
        let turn = Arc::clone(&self.decompressing).acquire_owned().await.ok();
        let work = move || {
            let _turn = turn;
            decompressed(coding, &body, bytes_max)
        };
        let decompressed = tokio::task::spawn_blocking(work).await;
        let broken = || Problem::new(Kind::BadRequest, "the body is not what its Content-Encoding says, or breaks off");
        let body = match decompressed {
            Ok(Ok(body)) => Bytes::from(body),
            Ok(Err(Undone::TooLong)) => return Err(too_large(bytes_max)),
            Ok(Err(Undone::TooManyMembers)) => {
                let detail =
                    format!("the body consists of more than {MEMBERS_MAX} gzip members: compress it as a whole");
                return Err(Problem::new(Kind::BadRequest, detail));
            }
            Ok(Err(Undone::Broken)) | Err(_) => return Err(broken()),
        };
        // What was compressed is gone by now.
        *room = Room::default();
        self.bodies.grow(share, room, body.len())?;
        Ok(body)
    }
}

/// What comes next of a body; `None` at its end.
async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken_off| Problem::body_broken_off())?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Why a body is not what it was before it was compressed.
#[derive(Debug)]
enum Undone {
    /// It is not what it is said to be, or breaks off.
    Broken,
    /// It is longer than it may be, and was not read any further.
    TooLong,
    /// It consists of more gzip members than it may.
    TooManyMembers,
}

impl From<std::io::Error> for Undone {
    fn from(_error: std::io::Error) -> Undone {
        Undone::Broken
    }
}

fn decompressed(coding: Coding, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undone> {
    let bytes = match coding {
        Coding::Identity => body.to_vec(),
        Coding::Gzip => ungzipped(body, bytes_max)?,
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            let mut bytes = Vec::new();
            read_beyond(decoder, bytes_max, &mut bytes)?;
            bytes
        }
    };
    if bytes.len() > bytes_max { Err(Undone::TooLong) } else { Ok(bytes) }
}

/// Member by member: each begins with a decoder of its own.
fn ungzipped(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undone> {
    let (mut bytes, mut rest) = (Vec::new(), body);
    for _ in 0..MEMBERS_MAX {
        let mut member = flate2::bufread::GzDecoder::new(rest);
        read_beyond(&mut member, bytes_max, &mut bytes)?;
        rest = member.into_inner();
        if rest.is_empty() || bytes.len() > bytes_max {
            return Ok(bytes);
        }
    }
    Err(Undone::TooManyMembers)
}

/// Reads on, up to one byte more than may be.
fn read_beyond(from: impl Read, bytes_max: usize, into: &mut Vec<u8>) -> std::io::Result<usize> {
    let left = bytes_max.saturating_add(1).saturating_sub(into.len());
    from.take(u64::try_from(left).unwrap_or(u64::MAX)).read_to_end(into)
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("at most {bytes_max} bytes, counted before compression"))
}

/// Bodies decompressed at once: each takes a processor while it lasts, and up to a window and a body of memory.
pub(super) const DECOMPRESSED_AT_ONCE: usize = 4;
/// Some tools write a few; of empty ones, a body could hold a hundred thousand, and each costs as much as a small body.
const MEMBERS_MAX: usize = 16;
/// 8 MiB, which RFC 8878 §3.1.1.1.2 recommends everyone to support; what asks for more is no conversion's.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::ingress::tests::client::{gzip, zstd};

    type Compress = fn(&[u8]) -> Vec<u8>;

    const CODINGS: [(Coding, Compress); 2] = [(Coding::Gzip, gzip), (Coding::Zstd, zstd)];

    #[test]
    fn what_was_compressed_is_as_it_was_or_refused_at_any_cut() {
        let body: Vec<u8> = (0..3000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (coding, compress) in CODINGS {
            let sent = compress(&body);
            assert_eq!(decompressed(coding, &sent, body.len()).unwrap(), body, "{coding:?}");
            let twice = [sent.as_slice(), &sent].concat();
            assert_eq!(decompressed(coding, &twice, usize::MAX).unwrap(), body.repeat(2), "{coding:?}: members");
            for end in 1..sent.len() {
                assert!(decompressed(coding, &sent[..end], usize::MAX).is_err(), "{coding:?}: cut at {end}");
            }
            assert!(decompressed(coding, b"{\"time\":\"2026\"}", usize::MAX).is_err(), "{coding:?}: not compressed");
            assert!(
                decompressed(coding, &[sent.as_slice(), b"rest"].concat(), usize::MAX).is_err(),
                "{coding:?}: more"
            );
        }
    }

    #[test]
    fn a_bomb_is_not_read_beyond_the_limit() {
        for (coding, compress) in CODINGS {
            let bomb = compress(&vec![b' '; 64 << 20]);
            assert!(bomb.len() < 100_000, "{coding:?}: {}", bomb.len());
            assert!(matches!(decompressed(coding, &bomb, 1 << 20), Err(Undone::TooLong)), "{coding:?}");
            let fits = compress(&[b' '; 1000]);
            assert!(decompressed(coding, &fits, 1000).is_ok(), "{coding:?}");
            assert!(matches!(decompressed(coding, &fits, 999), Err(Undone::TooLong)), "{coding:?}");
            let twice = fits.repeat(2);
            assert!(matches!(decompressed(coding, &twice, 1999), Err(Undone::TooLong)), "{coding:?}: both together");
        }
    }

    #[test]
    fn a_body_of_many_gzip_members_is_refused_and_not_decompressed() {
        let (empty, last) = (gzip(b""), gzip(b"{}"));
        let of_members = |empty_ones: usize| [empty.repeat(empty_ones), last.clone()].concat();
        assert_eq!(decompressed(Coding::Gzip, &of_members(MEMBERS_MAX - 1), 2).unwrap(), b"{}");
        for count in [MEMBERS_MAX, 100_000] {
            let refused = decompressed(Coding::Gzip, &of_members(count), 2);
            assert!(matches!(refused, Err(Undone::TooManyMembers)), "{count}: {refused:?}");
        }
    }

    #[test]
    fn a_window_beyond_what_everyone_supports_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        encoder.write_all(&vec![7; 20 << 20]).unwrap();
        let sent = encoder.finish().unwrap();
        assert!(decompressed(Coding::Zstd, &sent, 64 << 20).is_err());
    }
}
