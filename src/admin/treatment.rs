//! `POST /admin/dead/replay` and `POST /admin/dead/discard`: dead letters are dealt with.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dead::{kind, name, unix_ms};
use super::{Admin, body};
use crate::conversion::ConversionId;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::queue::{DeadFilter, Treatment};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    Replay,
    Discard,
}

impl Remedy {
    pub(super) const ALL: [(&'static str, Remedy); 2] =
        [("/admin/dead/replay", Remedy::Replay), ("/admin/dead/discard", Remedy::Discard)];

    /// What was done, as the answer names it.
    fn done(self) -> &'static str {
        match self {
            Remedy::Replay => "replayed",
            Remedy::Discard => "discarded",
        }
    }
}

impl Admin {
    pub(super) async fn treat(&self, remedy: Remedy, request: Request<Incoming>) -> Result<Reply, Problem> {
        let (filter, treatment) = meant(remedy, &body::json(request).await?)?;
        if let Some(name) = &filter.destination {
            self.known(name)?;
        }
        match self.queue.treat(filter, treatment).await {
            Ok(treated) => {
                tracing::info!(matched = treated.matched, done = treated.done, "dead letters {}", remedy.done());
                let (matched, done) = (treated.matched, treated.done);
                Ok(match remedy {
                    Remedy::Replay => problem::json(StatusCode::OK, &ReplayedView { matched, replayed: done }),
                    Remedy::Discard => problem::json(StatusCode::OK, &DiscardedView { matched, discarded: done }),
                })
            }
            Err(error) => Err(problem::unreadable(&error)),
        }
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
    reason: Option<String>,
}

fn meant(remedy: Remedy, body: &[u8]) -> Result<(DeadFilter, Treatment), Problem> {
    let wrong = |detail: String| Problem::new(Kind::BadRequest, detail);
    let meant: Meant = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let Meant { destination, ids, kind: of_kind, since, until, order_id, reason } = meant;
    let treatment = match (remedy, reason) {
        (Remedy::Replay, None) => Treatment::Replay,
        (Remedy::Replay, Some(_)) => return Err(wrong("reason: only what is discarded has one".to_owned())),
        (Remedy::Discard, Some(reason)) if !reason.trim().is_empty() => Treatment::Discard { reason },
        (Remedy::Discard, _) => {
            return Err(wrong("reason: say in words why, for whoever asks later what became of it".to_owned()));
        }
    };
    let id = |text: &String| {
        ConversionId::parse(text).ok_or_else(|| wrong("ids: one of them is no conversion's id".to_owned()))
    };
    let ids = ids.map(|ids| ids.iter().map(id).collect::<Result<Vec<ConversionId>, _>>()).transpose()?;
    let filter = DeadFilter {
        destination: destination.as_deref().map(name).transpose()?,
        kind: of_kind.as_deref().map(kind).transpose()?,
        since_ms: since.as_deref().map(|text| unix_ms("since", text)).transpose()?,
        until_ms: until.as_deref().map(|text| unix_ms("until", text)).transpose()?,
        order_id,
        ids,
    };
    if is_all(&filter) {
        let detail = "say which ones: destination, ids, kind, since, until, order_id; all of one destination: its name";
        return Err(wrong(detail.to_owned()));
    }
    Ok((filter, treatment))
}

/// A slip of the pen (`{}`) must not deal with everything.
fn is_all(filter: &DeadFilter) -> bool {
    let DeadFilter { destination, kind, since_ms, until_ms, order_id, ids } = filter;
    destination.is_none()
        && kind.is_none()
        && since_ms.is_none()
        && until_ms.is_none()
        && order_id.is_none()
        && ids.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_says_which_ones_and_a_discard_why() {
        #[track_caller]
        fn check(remedy: Remedy, body: &str, expected: Result<&str, &str>) {
            let shown = match meant(remedy, body.as_bytes()) {
                Ok((filter, treatment)) => {
                    let DeadFilter { destination, kind, since_ms, until_ms, order_id, ids } = filter;
                    let destination = destination.map(|name| name.as_str().to_owned());
                    let (kind, ids) = (kind.map(|kind| kind.as_str()), ids.map(|ids| ids.len()));
                    Ok(format!("{destination:?} {kind:?} {since_ms:?} {until_ms:?} {order_id:?} {ids:?} {treatment:?}"))
                }
                Err(problem) => Err(problem.detail().to_owned()),
            };
            assert_eq!(shown.as_deref(), expected.map_err(str::to_owned).as_deref(), "{body}");
        }
        let all = r#"{"destination":"a","kind":"rejected","since":"1970-01-01T00:00:01Z","until":"1970-01-01T00:00:02Z",
            "order_id":"o","ids":[]}"#;
        check(Remedy::Replay, all, Ok(r#"Some("a") Some("rejected") Some(1000) Some(2000) Some("o") Some(0) Replay"#));
        check(
            Remedy::Discard,
            r#"{"order_id":"o","reason":"paid by hand"}"#,
            Ok(r#"None None None None Some("o") None Discard { reason: "paid by hand" }"#),
        );
        let which = "say which ones: destination, ids, kind, since, until, order_id; all of one destination: its name";
        check(Remedy::Replay, "{}", Err(which));
        let why = "reason: say in words why, for whoever asks later what became of it";
        check(Remedy::Discard, r#"{"order_id":"o"}"#, Err(why));
        check(Remedy::Discard, r#"{"order_id":"o","reason":" "}"#, Err(why));
        check(Remedy::Replay, r#"{"order_id":"o","reason":"x"}"#, Err("reason: only what is discarded has one"));
        check(Remedy::Replay, r#"{"ids":["x"]}"#, Err("ids: one of them is no conversion's id"));
        check(
            Remedy::Replay,
            r#"{"order":"o"}"#,
            Err("unknown field `order`, expected one of `destination`, `ids`, `kind`, `since`, `until`, `order_id`, \
                 `reason` at line 1 column 8"),
        );
    }
}
