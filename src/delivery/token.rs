//! Access tokens (OAuth 2) of one destination: fetched when one is first needed, kept while they last, renewed by one
//! attempt for all that wait.
//!
//! Promises: at most one token request at a time for a grant; a token that is about to expire, or was refused, is not
//! handed out again; a refresh token that the token endpoint replaces is used from then on, and lives in memory alone.
//! Never: a token in a log, a reason or `Debug`.

mod answer;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::watch;

use self::answer::Granted;
use super::judge::Transmission;
use crate::config::Operation;
use crate::mapping::{OAuth, Request, Secret};
use crate::queue::Clock;

/// The token caches of a destination: operations with the same grant share one.
pub(super) struct Tokens {
    by_operation: Vec<Option<Arc<TokenCache>>>,
}

/// The access token of one grant.
pub(super) struct TokenCache {
    grant: Arc<OAuth>,
    held: Mutex<Held>,
    rotated: Arc<Rotated>,
}

/// The refresh token that replaced the configured one: that of all grants which stand on it.
type Rotated = Mutex<Option<Secret>>;

/// An access token, as it is sent.
#[derive(Debug)]
pub(super) struct Token {
    /// The value of `Authorization`, marked as sensitive.
    pub(super) authorization: HeaderValue,
    /// By the clock's elapsed time.
    usable_until_ms: u64,
}

/// Why there is no access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoToken {
    /// The token endpoint refused the grant: a person must mend it.
    Refused {
        /// In words.
        reason: String,
    },
    /// The token endpoint did not answer, or asked for a repeat.
    Unavailable {
        /// In words.
        reason: String,
        /// How long it asked us to wait.
        hold: Option<Duration>,
    },
}

#[derive(Default)]
struct Held {
    token: Option<Arc<Token>>,
    /// Where the token request under way will say how it ended.
    flight: Option<Flight>,
}

type Landing = Option<Result<Arc<Token>, NoToken>>;
type Flight = watch::Receiver<Landing>;

/// What one who wants a token does.
enum Seat {
    Has(Arc<Token>),
    Waits(Flight),
    Asks(watch::Sender<Landing>, Box<Request>),
}

impl Tokens {
    /// A cache for each grant: the one of `before` where the grant is the same, or one without a token yet. Where anything but
    /// the refresh token, its endpoint and its client is another, what has replaced that token meanwhile is not lost.
    pub(super) fn new(operations: &[Operation], before: Option<&Tokens>) -> Tokens {
        let kept = before.into_iter().flat_map(|before| before.by_operation.iter().flatten().cloned());
        let mut caches: Vec<Arc<TokenCache>> = kept.collect();
        let by_operation = operations.iter().map(|operation| {
            let grant = operation.request.oauth()?;
            let known = caches.iter().find(|cache| *cache.grant == **grant).cloned();
            Some(known.unwrap_or_else(|| {
                let kin = caches.iter().find(|cache| cache.grant.refreshes_as(grant));
                let rotated = kin.map(|cache| Arc::clone(&cache.rotated)).unwrap_or_default();
                let cache = Arc::new(TokenCache::new(grant, rotated));
                caches.push(Arc::clone(&cache));
                cache
            }))
        });
        Tokens { by_operation: by_operation.collect() }
    }

    /// The cache of an operation, if it authenticates with access tokens.
    pub(super) fn of(&self, operation: usize) -> Option<&Arc<TokenCache>> {
        self.by_operation.get(operation)?.as_ref()
    }
}

impl TokenCache {
    fn new(grant: &Arc<OAuth>, rotated: Arc<Rotated>) -> TokenCache {
        TokenCache { grant: Arc::clone(grant), held: Mutex::default(), rotated }
    }

    /// A token that is good, as far as is known: the one that is kept, or a new one, for which `ask` sends the token
    /// request, unless another is about it already. One that was `refused` is dropped.
    pub(super) async fn token<F: Future<Output = Transmission>>(
        &self,
        clock: &Clock,
        refused: Option<&Arc<Token>>,
        ask: impl FnOnce(Request) -> F,
    ) -> Result<Arc<Token>, NoToken> {
        // Goes round again only when the one that asked was cut off without an answer.
        loop {
            match self.seat(clock, refused) {
                Seat::Has(token) => return Ok(token),
                Seat::Waits(mut flight) => {
                    let landed = flight.wait_for(Option::is_some).await.ok().and_then(|landing| landing.clone());
                    if let Some(result) = landed {
                        return result;
                    }
                }
                Seat::Asks(landing, request) => {
                    let asked_ms = clock.elapsed_ms();
                    let transmission = ask(*request).await;
                    let result = self.land(answer::read(&self.grant, &transmission, clock.unix_ms()), asked_ms);
                    // Those who wait may all have been cut off.
                    landing.send_replace(Some(result.clone()));
                    return result;
                }
            }
        }
    }

    fn seat(&self, clock: &Clock, refused: Option<&Arc<Token>>) -> Seat {
        let mut held = self.lock();
        let is_good = |token: &Arc<Token>| {
            refused.is_none_or(|refused| !Arc::ptr_eq(refused, token)) && clock.elapsed_ms() < token.usable_until_ms
        };
        held.token = held.token.take().filter(is_good);
        if let Some(token) = &held.token {
            return Seat::Has(Arc::clone(token));
        }
        // An error says that the sender is gone: the attempt that asked was cut off.
        if let Some(flight) = held.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Seat::Waits(flight.clone());
        }
        let (landing, flight) = watch::channel(None);
        held.flight = Some(flight);
        Seat::Asks(landing, Box::new(self.grant.token_request(self.rotated().as_ref())))
    }

    /// Keeps what was granted; counted from when it was asked for, as the endpoint may have begun to count then.
    fn land(&self, granted: Result<Granted, NoToken>, asked_ms: u64) -> Result<Arc<Token>, NoToken> {
        let mut held = self.lock();
        held.flight = None;
        let Granted { authorization, lasts, refresh_token } = granted?;
        let usable_ms = u64::try_from(usable(lasts).as_millis()).unwrap_or(u64::MAX);
        let token = Arc::new(Token { authorization, usable_until_ms: asked_ms.saturating_add(usable_ms) });
        held.token = Some(Arc::clone(&token));
        if self.grant.refreshes() && refresh_token.is_some() {
            *self.rotated() = refresh_token;
        }
        Ok(token)
    }

    fn rotated(&self) -> MutexGuard<'_, Option<Secret>> {
        self.rotated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a token is handed out: its life less a margin, so that it does not expire on its way.
fn usable(lasts: Option<Duration>) -> Duration {
    let lasts = lasts.unwrap_or(LIFE_UNTOLD).min(LIFE_MAX);
    let margin = lasts.checked_div(MARGIN_PART).unwrap_or_default().min(MARGIN_MAX);
    lasts.saturating_sub(margin)
}

impl NoToken {
    /// In words, without a token.
    pub(super) fn reason(&self) -> &str {
        match self {
            NoToken::Refused { reason } | NoToken::Unavailable { reason, .. } => reason,
        }
    }
}

/// Where the endpoint does not say how long a token lasts: renewed often enough for most, and a refusal renews it anyway.
const LIFE_UNTOLD: Duration = Duration::from_secs(30 * 60);
/// A token is renewed once a day at least, however long it is said to last: it costs one request.
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The margin is this part of a token's life …
const MARGIN_PART: u32 = 10;
/// … and never more than this: twice the default timeout of a request.
const MARGIN_MAX: Duration = Duration::from_secs(60);
