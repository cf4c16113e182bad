//! What the attempts of one destination share: its client, its masks, its board. Nothing of it is shared with another.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::client::Client;
use super::excerpt::Mask;
use super::limiter::{Limiter, OwnLimiter};
use super::metrics::Instruments;
use super::pulse::Pulse;
use super::token::Tokens;
use super::wait::Wait;
use super::{Activity, Pause};
use crate::config::Destination;
use crate::queue::{Clock, Hold, HoldKind, Queue};
use crate::traces::Traces;

/// Everything of one destination that outlives an attempt.
pub(super) struct Pool {
    pub(super) destination: Arc<Destination>,
    pub(super) client: Client,
    pub(super) tokens: Tokens,
    pub(super) queue: Queue,
    pub(super) clock: Clock,
    pub(super) traces: Traces,
    pub(super) mask: Mask,
    pub(super) instruments: Instruments,
    pub(super) board: Board,
    pub(super) pulse: Arc<Pulse>,
    pub(super) limiter: Limiter,
    /// Of each operation that has a rate of its own, in the order of the operations.
    pub(super) own_limiters: Vec<Option<OwnLimiter>>,
    /// What the platform asked for.
    pub(super) wait: Wait,
    /// Ends the pool: a reload changed its destination or took it away.
    pub(super) retired: CancellationToken,
    /// Held while the queue is told of its state, and while it is retired: what it says last, it says before.
    pub(super) showing: Mutex<()>,
    /// When its configuration came into force (Unix ms).
    pub(super) since_ms: u64,
}

/// What all pools have a share in.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) clock: Clock,
    pub(super) traces: Traces,
}

impl Pool {
    /// Builds the client; connects to nobody. What a person ordered of the pool `before` goes on, and so do its limiters, and
    /// a wait that the same platform asked for.
    pub(super) fn new(
        destination: &Arc<Destination>,
        before: Option<&Pool>,
        Shared { queue, clock, traces }: Shared,
        instruments: Instruments,
    ) -> Result<Pool, rustls::Error> {
        let client = Client::new(&destination.limits, &destination.connection)?;
        let (rate, now) = (destination.limits.rate, Instant::now());
        let since_ms = clock.unix_ms();
        let board = Board::new(since_ms, now);
        let limiter = match before {
            Some(before) => {
                board.succeed(&before.board);
                before.limiter.succeeded_by(rate, now)
            }
            None => Limiter::new(rate, now),
        };
        let own_limiters = destination.operations.iter().map(|operation| {
            let (rate, own) = (operation.rate?, before.and_then(|before| before.own_limiter(&operation.name)));
            Some(own.map_or_else(|| OwnLimiter::new(rate, now), |own| own.succeeded_by(rate, now)))
        });
        let own_limiters = own_limiters.collect();
        let same = before.filter(|before| before.destination.shares_origin_with(destination));
        let wait = same.map(|before| before.wait.clone()).unwrap_or_default();
        let pulse = before.map_or_else(Arc::default, |before| Arc::clone(&before.pulse));
        let made = destination.operations.iter().flat_map(|operation| operation.request.made_of_secrets());
        let mask = Mask::new(&destination.secrets).with_made(made);
        let (tokens, retired) =
            (Tokens::new(&destination.operations, before.map(|before| &before.tokens)), CancellationToken::new());
        Ok(Pool {
            destination: Arc::clone(destination),
            client,
            tokens,
            queue,
            clock,
            traces,
            mask,
            instruments,
            board,
            pulse,
            limiter,
            own_limiters,
            wait,
            retired,
            showing: Mutex::default(),
            since_ms,
        })
    }

    /// The limiter of the operation of that name, if it has a rate of its own.
    fn own_limiter(&self, operation: &str) -> Option<&OwnLimiter> {
        let mut limiters = self.destination.operations.iter().zip(&self.own_limiters);
        limiters.find(|(own, _)| own.name == operation)?.1.as_ref()
    }

    /// A person stops it, or had stopped it.
    pub(super) fn pause(&self, Pause { reason, since_ms }: &Pause) {
        self.board.pause(reason.clone(), *since_ms);
        self.show();
    }

    /// Another takes its place, or none: it has no say any more.
    pub(super) fn retire(&self) {
        let _showing = self.showing.lock().unwrap_or_else(PoisonError::into_inner);
        self.retired.cancel();
    }

    /// Tells the queue what state the destination is in; a retired pool has no say in it any more.
    pub(super) fn show(&self) {
        let _showing = self.showing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.retired.is_cancelled() {
            return;
        }
        let mark = self.board.mark();
        let held = |kind| Some(Hold { kind, reason: mark.reason.clone().unwrap_or_default(), since_ms: mark.since_ms });
        let hold = match mark.activity {
            // The queue itself holds back what is stopped.
            Activity::Active | Activity::Open | Activity::Stopped => None,
            Activity::Paused => held(HoldKind::Paused),
            // What other operations have to do goes on.
            Activity::Suspended if !mark.is_whole => None,
            Activity::Suspended => held(HoldKind::Suspended),
        };
        self.queue.hold(&self.destination.name, hold);
    }
}
