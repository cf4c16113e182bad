//! One exchange with a destination: the request with its access token, where it takes one, and once again with a new one
//! where that was refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::Report;
use super::client::{self, Sent};
use super::gate::Health;
use super::judge::{Failure, Judgement, Transmission, judge};
use super::pool::Pool;
use super::token::{NoToken, Token, TokenCache};
use crate::config::Judge;
use crate::queue::{Attempt, Delivery, Negotiated, Outcome, Verdict};
use crate::traces::Attempting;

/// What became of a request.
pub(super) struct Exchange {
    pub(super) transmission: Transmission,
    /// The credential that went with it, to be found again in an echo.
    pub(super) authorization: Option<HeaderValue>,
    /// Of the last request alone.
    pub(super) duration: Duration,
    /// Of the last request's connection, once there was one.
    pub(super) negotiated: Option<Negotiated>,
    /// Two requests went out.
    pub(super) repeated: bool,
}

impl Pool {
    /// Sends a request. Whatever says that the credential is wrong costs one new access token and one repeat; a `403` does
    /// not: there the token is right, and may not.
    pub(super) async fn exchange(
        &self,
        request: &http::Request<Full<Bytes>>,
        cache: Option<&TokenCache>,
        judge_by: &Judge,
        stop: &CancellationToken,
    ) -> Result<Exchange, NoToken> {
        match cache {
            None => Ok(self.sent(request, false, stop).await),
            // Apart, for it is large, and most destinations take no token.
            Some(cache) => Box::pin(self.exchange_with_token(request, cache, judge_by, stop)).await,
        }
    }

    async fn exchange_with_token(
        &self,
        request: &http::Request<Full<Bytes>>,
        cache: &TokenCache,
        judge_by: &Judge,
        stop: &CancellationToken,
    ) -> Result<Exchange, NoToken> {
        let token = self.access_token(cache, None, stop).await?;
        let first = self.sent(&authorized(request, &token), false, stop).await;
        if !refuses_token(judge_by, &first.transmission) {
            return Ok(first);
        }
        tracing::debug!(destination = %self.destination.name, "access token refused, a new one is fetched");
        let token = self.access_token(cache, Some(&token), stop).await?;
        Ok(self.sent(&authorized(request, &token), true, stop).await)
    }

    async fn sent(&self, request: &http::Request<Full<Bytes>>, repeated: bool, stop: &CancellationToken) -> Exchange {
        let authorization = request.headers().get(header::AUTHORIZATION).cloned();
        let begun = Instant::now();
        let Sent { transmission, negotiated } = self.client.send(request, stop).await;
        Exchange { transmission, authorization, duration: begun.elapsed(), negotiated, repeated }
    }

    async fn access_token(
        &self,
        cache: &TokenCache,
        refused: Option<&Arc<Token>>,
        stop: &CancellationToken,
    ) -> Result<Arc<Token>, NoToken> {
        let ask = |request| async {
            match client::assemble(request) {
                Ok(request) => self.client.send(&request, stop).await.transmission,
                Err(unmappable) => Transmission::NotSent(Failure::of(unmappable.to_string())),
            }
        };
        cache.token(&self.clock, refused, ask).await
    }

    /// The end of an attempt for which there was no access token: `again` says what becomes of one that the token endpoint had no
    /// answer for. One that was refused spends none, and the gate holds it back.
    pub(super) fn without_token(
        &self,
        delivery: &Delivery,
        no_token: &NoToken,
        (begun, at_ms): (Instant, u64),
        span: Attempting,
        again: impl FnOnce(&str, Option<Duration>) -> Outcome,
    ) -> Report {
        let reason = self.mask.clean(no_token.reason(), None);
        let (verdict, health, hold, outcome) = match no_token {
            NoToken::Refused { .. } => {
                let held_back = Outcome::Retry { due_ms: self.clock.unix_ms(), spent: false };
                (Verdict::Suspended, Health::Refusing, None, held_back)
            }
            NoToken::Unavailable { hold, .. } => {
                (Verdict::Retry, Health::Failing { overloaded: false }, *hold, again(&reason, *hold))
            }
        };
        let lacks_token = matches!(no_token, NoToken::Unavailable { .. });
        let record = Attempt {
            at_ms,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            status: None,
            verdict,
            negotiated: None,
            excerpt: self.mask.excerpt(reason.as_bytes(), None),
        };
        span.ended(&record, None, false);
        self.conclude(delivery, outcome, record, None);
        Report { health, hold, begun, error: Some(reason), repeated: false, lacks_token }
    }
}

/// The same request with this token.
fn authorized(request: &http::Request<Full<Bytes>>, token: &Token) -> http::Request<Full<Bytes>> {
    let mut request = request.clone();
    request.headers_mut().insert(header::AUTHORIZATION, token.authorization.clone());
    request
}

fn refuses_token(judge_by: &Judge, transmission: &Transmission) -> bool {
    let forbidden = [StatusCode::FORBIDDEN, StatusCode::PROXY_AUTHENTICATION_REQUIRED];
    let speaks_of_it = transmission.status().is_some_and(|status| !forbidden.contains(&status));
    speaks_of_it && judge(judge_by, transmission) == Judgement::Suspended
}
