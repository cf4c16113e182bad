//! `POST /admin/destinations/{name}/pause`, `/resume` and `/probe`; and how every change is written down before it is made.

use std::net::IpAddr;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::audit::{Action, Audit, By, Change, Ending, Outcome, Which};
use super::destinations::DestinationView;
use super::{Admin, body};
use crate::config::AdminToken;
use crate::conversion::{ConversionId, DestinationName};
use crate::delivery::NoProbe;
use crate::ingress::bearer::Tokens;
use crate::ingress::connection::Peer;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::ingress::view::{AttemptView, Shown};
use crate::queue::Clock;

/// A change that was made.
pub(super) struct Made {
    pub(super) reply: Reply,
    /// How many were meant, and of how many it was done, where they are counted.
    pub(super) counts: Option<(u64, u64)>,
}

impl From<Reply> for Made {
    fn from(reply: Reply) -> Made {
        Made { reply, counts: None }
    }
}

/// Makes a change once it is written down that it is to be made; then writes down how it ended, with how many were meant and
/// of how many it was done, where they are counted.
pub(super) async fn audited<T>(
    audit: &Audit,
    clock: &Clock,
    change: Change,
    act: impl Future<Output = Result<(T, Option<(u64, u64)>), Problem>>,
) -> Result<T, Problem> {
    let action = change.action;
    let begun = audit.begin(&change, clock.now()).await;
    let id = begun.map_err(|error| {
        tracing::error!(%error, ?action, "the audit log cannot be written: nothing is changed");
        Problem::new(Kind::Unavailable, "the audit log cannot be written, so nothing was changed: see the relay's log")
            .retry_after(AUDIT_RETRY_AFTER)
    })?;
    let made = act.await;
    if made.as_ref().is_err_and(Problem::is_under_way) {
        // Nobody knows yet how it ends: it stands there as begun.
        return made.map(|(made, _)| made);
    }
    let ending = match &made {
        Ok((_, counts)) => {
            let (matched, done) = counts.unzip();
            Ending { outcome: Outcome::Done, matched, done, problem: None }
        }
        Err(problem) => {
            let is_ours = problem.kind().status().is_server_error();
            let outcome = if is_ours { Outcome::Failed } else { Outcome::Refused };
            Ending { outcome, matched: None, done: None, problem: Some(problem.kind().name().to_owned()) }
        }
    };
    // It is done: the missing line shows it as begun.
    if let Err(error) = audit.end(id, action, ending, clock.now()).await {
        tracing::error!(%error, ?action, "the audit log cannot be written: a change stands there as begun");
    }
    made.map(|(made, _)| made)
}

impl Admin {
    /// Makes a change once it is written down that it is to be made; then writes down how it ended.
    pub(super) async fn audited(
        &self,
        change: Change,
        act: impl Future<Output = Result<Made, Problem>>,
    ) -> Result<Reply, Problem> {
        let act = async { act.await.map(|Made { reply, counts }| (reply, counts)) };
        audited(&self.audit, self.ingress.clock(), change, act).await
    }

    /// Who asks.
    pub(super) fn by(&self, request: &Request<&mut Incoming>) -> By {
        let peer = request.extensions().get::<Peer>().map(|Peer(address)| address.to_canonical());
        let digests = &self.ingress.config().server.admin_token_sha256;
        let tokens = Tokens::new(digests.iter().map(|token| (token.digest, token)));
        let token = if digests.is_empty() { None } else { tokens.holder(request.headers()).ok() };
        let user = request.headers().get(USER).and_then(|user| user.to_str().ok()).map(str::trim);
        let user = user.filter(|user| !user.is_empty()).map(|user| user.chars().take(USER_CHARS_MAX).collect());
        let address = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
        match token {
            Some(AdminToken { digest, name }) => {
                let [first, second, third, fourth, ..] = *digest;
                let unnamed = || hex::encode([first, second, third, fourth]);
                let token = name.clone().unwrap_or_else(unnamed);
                By { who: format!("token {token}"), peer: Some(address), user }
            }
            None if peer.is_some_and(|peer: IpAddr| peer.is_loopback()) => {
                By { who: "loopback".to_owned(), peer: None, user }
            }
            None => By { who: address, peer: None, user },
        }
    }

    pub(super) async fn pause(&self, name: &str, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let (by, destination) = (self.by(&request), self.configured(name)?);
        let reason = reason(&body::json_or_nothing(request).await?)?;
        let change = Change { by, action: Action::Pause, which: of(&destination), reason: reason.clone() };
        self.audited(change, async {
            let paused = self.pauses.pause(destination.clone(), reason, self.now_ms()).await;
            self.told(&destination, "destination paused", paused).await
        })
        .await
    }

    pub(super) async fn resume(&self, name: &str, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let (by, destination) = (self.by(&request), self.configured(name)?);
        let change = Change { by, action: Action::Resume, which: of(&destination), reason: None };
        self.audited(change, async {
            let resumed = self.pauses.resume(destination.clone()).await;
            self.told(&destination, "destination resumed", resumed).await
        })
        .await
    }

    pub(super) async fn probe(&self, name: &str, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let (by, destination) = (self.by(&request), self.configured(name)?);
        let change = Change { by, action: Action::Probe, which: of(&destination), reason: None };
        self.audited(change, async {
            let probed = self.pools.probe(destination.as_str()).await.ok_or_else(Problem::not_found)?;
            let (probed, detail) = probed.map_err(|none| unprobed(&none))?;
            let view = ProbedView {
                id: Shown(&probed.id),
                attempt: AttemptView::new(&probed.attempt),
                destination: self.seen(&detail, &self.queue.depths()),
            };
            Ok(Made::from(problem::json(StatusCode::OK, &view)))
        })
        .await
    }

    async fn told(
        &self,
        name: &DestinationName,
        what: &'static str,
        done: std::io::Result<Option<()>>,
    ) -> Result<Made, Problem> {
        match done {
            Ok(Some(())) => {
                tracing::info!(destination = %name, "{what}");
                self.destination(name.as_str()).map(Made::from)
            }
            Ok(None) => Err(Problem::not_found()),
            Err(error) => {
                tracing::error!(%error, destination = %name, "what is paused cannot be written: nothing is changed");
                let detail =
                    "which destinations are paused cannot be written, so nothing was changed: see the relay's log";
                Err(Problem::new(Kind::Unavailable, detail).retry_after(AUDIT_RETRY_AFTER))
            }
        }
    }

    /// A destination that is configured now.
    fn configured(&self, name: &str) -> Result<DestinationName, Problem> {
        let known = self.ingress.config().destination(name).map(|destination| destination.name.clone());
        known.ok_or_else(|| self.no_destination())
    }

    pub(super) fn no_destination(&self) -> Problem {
        let config = self.ingress.config();
        let names: Vec<&str> = config.destinations.iter().map(|destination| destination.name.as_str()).collect();
        let detail = format!("no destination of this name is configured; there are {}", names.join(", "));
        Problem::new(Kind::NotFound, detail)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.ingress.clock().unix_ms()
    }
}

fn of(destination: &DestinationName) -> Option<Which> {
    Some(Which { destination: Some(destination.as_str().to_owned()), ..Which::default() })
}

/// What there is to say of a pause.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Pause")]
#[serde(deny_unknown_fields)]
pub(super) struct PauseMeant {
    /// Why, in words: shown in statuses and on the status page.
    #[schemars(length(max = 500))]
    reason: Option<String>,
}

fn reason(body: &[u8]) -> Result<Option<String>, Problem> {
    let wrong = |detail: String| Problem::new(Kind::BadRequest, detail);
    if body.is_empty() {
        return Ok(None);
    }
    let PauseMeant { reason } = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let reason = reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        return Err(wrong(format!("reason: at most {REASON_CHARS_MAX} characters")));
    }
    Ok(reason)
}

/// A probe, how it ended, and what the destination is like after it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Probed")]
pub(super) struct ProbedView<'a> {
    /// The conversion that was sent.
    #[schemars(with = "uuid::Uuid")]
    id: Shown<&'a ConversionId>,
    attempt: AttemptView<'a>,
    destination: DestinationView<'a>,
}

fn unprobed(none: &NoProbe) -> Problem {
    let kind = match none {
        NoProbe::Paused(_) | NoProbe::Stopped(_) | NoProbe::UnderWay | NoProbe::NothingDue | NoProbe::Limited => {
            Kind::Conflict
        }
        NoProbe::Ended | NoProbe::Late(_) => {
            return Problem::new(Kind::Unavailable, none.to_string()).retry_after(AUDIT_RETRY_AFTER);
        }
    };
    Problem::new(kind, none.to_string())
}

/// What the command line says of who uses it.
pub(crate) const USER: &str = "capi-relay-user";
/// As long as any system's.
const USER_CHARS_MAX: usize = 64;
/// A paragraph.
pub(super) const REASON_CHARS_MAX: usize = 500;
/// A disk that is full is not empty at once.
const AUDIT_RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_may_be_given_and_is_bounded() {
        #[track_caller]
        fn check(body: &str, expected: Result<Option<&str>, &str>) {
            let got = reason(body.as_bytes()).map_err(|problem| problem.detail().to_owned());
            assert_eq!(got.as_ref().map(Option::as_deref).map_err(String::as_str), expected, "{body}");
        }
        check("", Ok(None));
        check("{}", Ok(None));
        check(r#"{"reason":" "}"#, Ok(None));
        check(r#"{"reason":" maintenance "}"#, Ok(Some("maintenance")));
        check(&format!(r#"{{"reason":"{}"}}"#, "x".repeat(501)), Err("reason: at most 500 characters"));
        check(r#"{"why":"x"}"#, Err("unknown field `why`, expected `reason` at line 1 column 6"));
    }
}
