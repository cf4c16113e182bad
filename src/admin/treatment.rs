//! `POST /admin/dead/replay` and `POST /admin/dead/discard`: dead letters are dealt with.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::audit::{Action, Change, MASKED, Which, shown_merchant};
use super::dead::{kind, name, unix_ms};
use super::orders::Made;
use super::{Admin, body};
use crate::conversion::ConversionId;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::ingress::view::instant;
use crate::queue::{DeadFilter, PageRequest, Treatment};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    Replay,
    Discard,
}

/// What was asked for.
#[derive(Debug)]
enum Wanted {
    /// That it is done.
    Deed(Treatment),
    /// That it is said what a replay would send.
    Plan(PageRequest),
}

impl Remedy {
    fn action(self) -> Action {
        match self {
            Remedy::Replay => Action::Replay,
            Remedy::Discard => Action::Discard,
        }
    }

    /// What was done, as the log says it.
    fn done(self) -> &'static str {
        match self {
            Remedy::Replay => "replayed",
            Remedy::Discard => "discarded",
        }
    }
}

impl Admin {
    pub(super) async fn treat(&self, remedy: Remedy, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let by = self.by(&request);
        let (filter, wanted) = meant(remedy, &body::json(request).await?)?;
        if let Some(name) = &filter.destination {
            self.known(name)?;
        }
        let treatment = match wanted {
            Wanted::Deed(treatment) => treatment,
            Wanted::Plan(page) => return self.plan(filter, page).await,
        };
        let reason = match &treatment {
            Treatment::Replay => None,
            Treatment::Discard { reason } => Some(reason.clone()),
        };
        let change = Change { by, action: remedy.action(), which: Some(which(&filter, &self.merchants())), reason };
        self.audited(change, self.treated(remedy, filter, treatment)).await
    }

    async fn treated(&self, remedy: Remedy, filter: DeadFilter, treatment: Treatment) -> Result<Made, Problem> {
        let treated = self.queue.treat(filter, treatment).await.map_err(|error| problem::unreadable(&error))?;
        let (matched, done) = (treated.matched, treated.done);
        tracing::info!(matched, done, "dead letters {}", remedy.done());
        let reply = match remedy {
            Remedy::Replay => problem::json(StatusCode::OK, &ReplayedView { matched, replayed: done }),
            Remedy::Discard => problem::json(StatusCode::OK, &DiscardedView { matched, discarded: done }),
        };
        Ok(Made { reply, counts: Some((matched, done)) })
    }
}

/// As the audit log says it: an order and words that were looked for may be personal.
fn which(filter: &DeadFilter, merchants: &[String]) -> Which {
    let DeadFilter { destination, kind, since_ms, until_ms, order_id, merchant, contains, ids } = filter;
    let time = |unix_ms: &Option<u64>| unix_ms.and_then(instant).map(|shown| shown.0.to_string());
    Which {
        destination: destination.as_ref().map(|name| name.as_str().to_owned()),
        kind: kind.map(|kind| kind.as_str().to_owned()),
        since: time(since_ms),
        until: time(until_ms),
        merchant: merchant.as_ref().map(|merchant| shown_merchant(merchant, merchants)),
        order_id: order_id.as_ref().map(|_| MASKED.to_owned()),
        customer: None,
        contains: contains.as_ref().map(|_| MASKED.to_owned()),
        ids: ids.as_ref().map(Vec::len),
        remove: Vec::new(),
    }
}

/// How many dead letters were meant, and how many of them are owed again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Replayed")]
pub(super) struct ReplayedView {
    matched: u64,
    replayed: u64,
}

/// How many dead letters were meant, and of how many nothing more is sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Discarded")]
pub(super) struct DiscardedView {
    matched: u64,
    discarded: u64,
}

/// Which ones, and why.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "DeadLettersMeant")]
#[serde(deny_unknown_fields)]
pub(super) struct Meant {
    destination: Option<String>,
    ids: Option<Vec<String>>,
    kind: Option<String>,
    since: Option<String>,
    until: Option<String>,
    order_id: Option<String>,
    merchant: Option<String>,
    /// Words of the reason or of the last answer, in either case.
    contains: Option<String>,
    /// Why, in words: of a discard, and needed there.
    reason: Option<String>,
    /// Nothing is done: it is said what a replay would send.
    plan: Option<bool>,
    /// Of a plan: at most so many letters.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<usize>,
    /// Of a plan: `next` of the page before.
    after: Option<String>,
}

fn meant(remedy: Remedy, body: &[u8]) -> Result<(DeadFilter, Wanted), Problem> {
    let meant: Meant = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let Meant { destination, ids, kind: of_kind, since, until, order_id, merchant, contains, .. } = &meant;
    let wanted = wanted(remedy, &meant)?;
    let id = |text: &String| {
        ConversionId::parse(text).ok_or_else(|| wrong("ids: one of them is no conversion's id".to_owned()))
    };
    let ids = ids.as_ref().map(|ids| ids.iter().map(id).collect::<Result<Vec<ConversionId>, _>>()).transpose()?;
    let filter = DeadFilter {
        destination: destination.as_deref().map(name).transpose()?,
        kind: of_kind.as_deref().map(kind).transpose()?,
        since_ms: since.as_deref().map(|text| unix_ms("since", text)).transpose()?,
        until_ms: until.as_deref().map(|text| unix_ms("until", text)).transpose()?,
        order_id: order_id.clone(),
        merchant: merchant.clone(),
        contains: contains.clone().filter(|words| !words.is_empty()),
        ids,
    };
    if is_all(&filter) && matches!(wanted, Wanted::Deed(_)) {
        return Err(wrong(WHICH.to_owned()));
    }
    Ok((filter, wanted))
}

fn wanted(remedy: Remedy, meant: &Meant) -> Result<Wanted, Problem> {
    let Meant { reason, plan, limit, after, .. } = meant;
    if *plan == Some(true) {
        let limit = limit.unwrap_or(PLAN_DEFAULT);
        if !(1..=PLAN_MAX).contains(&limit) {
            return Err(wrong(format!("limit: a number from 1 to {PLAN_MAX}")));
        }
        return Ok(Wanted::Plan(PageRequest { limit, after: after.clone() }));
    }
    if limit.is_some() || after.is_some() {
        return Err(wrong("limit and after: only a plan has pages, what is done is done of all".to_owned()));
    }
    match (remedy, reason) {
        (Remedy::Replay, None) => Ok(Wanted::Deed(Treatment::Replay)),
        (Remedy::Replay, Some(_)) => Err(wrong("reason: only what is discarded has one".to_owned())),
        (Remedy::Discard, Some(reason)) if !reason.trim().is_empty() => {
            Ok(Wanted::Deed(Treatment::Discard { reason: reason.clone() }))
        }
        (Remedy::Discard, _) => {
            Err(wrong("reason: say in words why, for whoever asks later what became of it".to_owned()))
        }
    }
}

fn wrong(detail: String) -> Problem {
    Problem::new(Kind::BadRequest, detail)
}

/// A slip of the pen (`{}`) must not deal with everything.
fn is_all(filter: &DeadFilter) -> bool {
    let DeadFilter { destination, kind, since_ms, until_ms, order_id, merchant, contains, ids } = filter;
    destination.is_none()
        && kind.is_none()
        && since_ms.is_none()
        && until_ms.is_none()
        && order_id.is_none()
        && merchant.is_none()
        && contains.is_none()
        && ids.is_none()
}

const WHICH: &str = "say which ones: destination, ids, kind, since, until, order_id, merchant, contains; all of one \
                     destination: its name";
/// A screenful.
const PLAN_DEFAULT: usize = 50;
/// Each with a request.
const PLAN_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_says_which_ones_and_a_discard_why() {
        #[track_caller]
        fn check(remedy: Remedy, body: &str, expected: Result<&str, &str>) {
            let shown = match meant(remedy, body.as_bytes()) {
                Ok((filter, wanted)) => {
                    let DeadFilter { destination, kind, since_ms, until_ms, order_id, merchant, contains, ids } =
                        filter;
                    let destination = destination.map(|name| name.as_str().to_owned());
                    let (kind, ids) = (kind.map(|kind| kind.as_str()), ids.map(|ids| ids.len()));
                    Ok(format!(
                        "{destination:?} {kind:?} {since_ms:?} {until_ms:?} {order_id:?} {merchant:?} {contains:?} {ids:?} \
                         {wanted:?}"
                    ))
                }
                Err(problem) => Err(problem.detail().to_owned()),
            };
            assert_eq!(shown.as_deref(), expected.map_err(str::to_owned).as_deref(), "{body}");
        }
        let all = r#"{"destination":"a","kind":"rejected","since":"1970-01-01T00:00:01Z","until":"1970-01-01T00:00:02Z",
            "order_id":"o","merchant":"m","contains":"c","ids":[]}"#;
        check(
            Remedy::Replay,
            all,
            Ok(
                r#"Some("a") Some("rejected") Some(1000) Some(2000) Some("o") Some("m") Some("c") Some(0) Deed(Replay)"#,
            ),
        );
        check(
            Remedy::Discard,
            r#"{"order_id":"o","reason":"paid by hand"}"#,
            Ok(r#"None None None None Some("o") None None None Deed(Discard { reason: "paid by hand" })"#),
        );
        for all in ["{}", r#"{"contains":""}"#] {
            check(Remedy::Replay, all, Err(WHICH));
        }
        let all = "None None None None None None None None Plan(PageRequest { limit: 50, after: None })";
        check(Remedy::Replay, r#"{"plan":true}"#, Ok(all));
        let planned =
            r#"None None None None Some("o") None None None Plan(PageRequest { limit: 7, after: Some("x") })"#;
        for remedy in [Remedy::Replay, Remedy::Discard] {
            check(remedy, r#"{"order_id":"o","plan":true,"limit":7,"after":"x"}"#, Ok(planned));
        }
        check(Remedy::Replay, r#"{"order_id":"o","plan":true,"limit":201}"#, Err("limit: a number from 1 to 200"));
        let pages = "limit and after: only a plan has pages, what is done is done of all";
        check(Remedy::Replay, r#"{"order_id":"o","limit":7}"#, Err(pages));
        let why = "reason: say in words why, for whoever asks later what became of it";
        check(Remedy::Discard, r#"{"order_id":"o"}"#, Err(why));
        check(Remedy::Discard, r#"{"order_id":"o","reason":" "}"#, Err(why));
        check(Remedy::Replay, r#"{"order_id":"o","reason":"x"}"#, Err("reason: only what is discarded has one"));
        check(Remedy::Replay, r#"{"ids":["x"]}"#, Err("ids: one of them is no conversion's id"));
        check(
            Remedy::Replay,
            r#"{"order":"o"}"#,
            Err("unknown field `order`, expected one of `destination`, `ids`, `kind`, `since`, `until`, `order_id`, \
                 `merchant`, `contains`, `reason`, `plan`, `limit`, `after` at line 1 column 8"),
        );
    }
}
