//! Conversions in, at a pace or as fast as they are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::Failed;
use super::http::{Connection, find};
use super::process::{Server, TOKEN, now};
use super::sinks::{Book, Sinks};

/// How conversions are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Each connection sends the next when the last one is answered.
    Saturation { connections: usize },
    /// So many a second, whatever becomes of them; late ones are sent as soon as a connection is free.
    Pace { rate: u32, connections: usize },
}

impl Load {
    pub(crate) fn name(self) -> String {
        match self {
            Load::Saturation { .. } => "at saturation".to_owned(),
            Load::Pace { rate, .. } => format!("at {rate} a second"),
        }
    }

    fn connections(self) -> usize {
        match self {
            Load::Saturation { connections } | Load::Pace { connections, .. } => connections,
        }
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Measured {
    /// Seconds to each 202, in their order.
    pub(crate) answered: Vec<f64>,
    /// The same from when it was sent in fact: what the server made of it.
    pub(crate) served: Vec<f64>,
    /// Seconds to each 503, likewise.
    pub(crate) refused: Vec<f64>,
    /// Seconds to the fifth arrival, in their order.
    pub(crate) arrived: Vec<f64>,
    pub(crate) seconds: f64,
}

impl Measured {
    /// 202s a second.
    pub(crate) fn rate(&self) -> f64 {
        count(&self.answered) / self.seconds
    }

    /// 503s a second.
    pub(crate) fn refusal_rate(&self) -> f64 {
        count(&self.refused) / self.seconds
    }
}

fn count(all: &[f64]) -> f64 {
    f64::from(u32::try_from(all.len()).unwrap_or(u32::MAX))
}

/// Sends for so long.
pub(crate) async fn run(server: &Server, sinks: &Sinks, load: Load, time: Duration) -> Result<Measured, Failed> {
    let turn = Arc::new(Turn { load, begun: now(), time, next: AtomicU64::new(0) });
    let mut tasks = JoinSet::new();
    for _ in 0..load.connections() {
        let connection = server.connect().await?;
        tasks.spawn(one_connection(connection, Arc::clone(&turn), sinks.book()));
    }
    let mut measured = Measured::default();
    while let Some(ended) = tasks.join_next().await {
        let Measured { answered, served, refused, .. } = ended??;
        measured.answered.extend(answered);
        measured.served.extend(served);
        measured.refused.extend(refused);
    }
    measured.seconds = turn.begun.elapsed().as_secs_f64();
    measured.answered.sort_by(f64::total_cmp);
    measured.served.sort_by(f64::total_cmp);
    measured.refused.sort_by(f64::total_cmp);
    Ok(measured)
}

/// What the connections share.
struct Turn {
    load: Load,
    begun: Instant,
    time: Duration,
    next: AtomicU64,
}

impl Turn {
    /// Waits for its time; when it was to be sent, or nothing more.
    async fn next(&self) -> Option<Instant> {
        match self.load {
            Load::Saturation { .. } => (self.begun.elapsed() < self.time).then(now),
            Load::Pace { rate, .. } => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let nanos = number.saturating_mul(1_000_000_000).checked_div(u64::from(rate))?;
                let at = Duration::from_nanos(nanos);
                if at >= self.time {
                    return None;
                }
                let at = self.begun.checked_add(at)?;
                if at <= now() {
                    return Some(at);
                }
                // A timer's lateness is the generator's own.
                sleep_until(at.into()).await;
                Some(now())
            }
        }
    }
}

async fn one_connection(mut connection: Connection, turn: Arc<Turn>, book: Arc<Book>) -> Result<Measured, Failed> {
    let mut measured = Measured::default();
    while let Some(since) = turn.next().await {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let sent = now();
        book.expect(number, since);
        match connection.exchange(&request(number)).await? {
            202 => {
                measured.answered.push(since.elapsed().as_secs_f64());
                measured.served.push(sent.elapsed().as_secs_f64());
            }
            503 => {
                book.expect_no_more(number);
                measured.refused.push(sent.elapsed().as_secs_f64());
            }
            other => return Err(format!("answered {other}").into()),
        }
    }
    Ok(measured)
}

/// A conversion that no other is like.
fn request(number: u64) -> Vec<u8> {
    let body = ORDER.replace("01JZ8Q4M9T", &format!("{number:010}")).replace("2026-104417", &format!("{number:011}"));
    let length = body.len();
    format!(
        "POST /v1/conversions HTTP/1.1\r\nhost: relay\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Which of them a body is made of.
pub(crate) fn number_in(body: &[u8]) -> Option<u64> {
    let digits_behind = |mark: &[u8], digits: usize| {
        let from = find(body, mark)?.checked_add(mark.len())?;
        std::str::from_utf8(body.get(from..from.checked_add(digits)?)?).ok()?.parse().ok()
    };
    digits_behind(b"ORD-", 11).or_else(|| digits_behind(b"evt_", 10))
}

/// A number of a run, and of no other of today's.
static NUMBER: AtomicU64 = AtomicU64::new(1);
/// An order of three items, with a click id for each platform.
const ORDER: &str = include_str!("../mapping/order.json");
pub(crate) const BODY_BYTES: usize = ORDER.len();
