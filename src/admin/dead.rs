//! `GET /admin/dead`: dead letters, filtered and page by page.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::Admin;
use super::plan::PlannedView;
use crate::conversion::{ConversionId, DestinationName};
use crate::ingress::problem::{self, Kind, Problem, Reply};
pub(super) use crate::ingress::view::kinds;
use crate::ingress::view::{AttemptView, Shown, instant};
use crate::queue::{DeadFilter, DeadKind, DeadLetter, DeadPage, PageRequest};

impl Admin {
    pub(super) async fn dead_letters(&self, query: &str) -> Result<Reply, Problem> {
        let (filter, page) = wanted(query)?;
        if let Some(name) = &filter.destination {
            self.known(name)?;
        }
        match self.queue.dead_letters(filter, page).await {
            Ok(page) => Ok(problem::json(StatusCode::OK, &PageView::new(&page))),
            Err(error) => Err(problem::unreadable(&error)),
        }
    }

    /// One of them, with what a replay would send now and all attempts that are kept.
    pub(super) async fn dead_letter(&self, destination: &str, id: &str) -> Result<Reply, Problem> {
        let (Some(destination), Some(id)) = (DestinationName::parse(destination), ConversionId::parse(id)) else {
            return Err(Problem::not_found());
        };
        let unreadable = |error| problem::unreadable(&error);
        let filter =
            DeadFilter { destination: Some(destination.clone()), ids: Some(vec![id]), ..DeadFilter::default() };
        let page = self.queue.dead_letters(filter, PageRequest::default()).await.map_err(unreadable)?;
        let letter = page.dead.first().ok_or_else(Problem::not_found)?;
        let status = self.queue.status(id).await.map_err(unreadable)?;
        let deliveries = status.iter().flat_map(|status| &status.destinations);
        let history = deliveries.filter(|(name, _)| *name == destination).flat_map(|(_, delivery)| &delivery.history);
        let planned = self.planned(letter).await?;
        let view = LetterView {
            planned: PlannedView::new(letter, &planned),
            history: history.map(AttemptView::new).collect(),
        };
        Ok(problem::json(StatusCode::OK, &view))
    }

    /// Whether there is, or was, a destination of this name.
    pub(super) fn known(&self, destination: &DestinationName) -> Result<(), Problem> {
        if self.queue.depths().destinations.contains_key(destination) {
            return Ok(());
        }
        Err(Problem::new(Kind::InvalidQuery, "destination: none of this name is configured, or was"))
    }
}

/// `destination=&kind=&since=&until=&order_id=&merchant=&contains=&limit=&after=`, each at most once; an empty value is none.
fn wanted(query: &str) -> Result<(DeadFilter, PageRequest), Problem> {
    let wrong = |message: &'static str| Problem::new(Kind::InvalidQuery, message);
    let (mut filter, mut page) = (DeadFilter::default(), PageRequest { limit: PAGE_DEFAULT, after: None });
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&name) {
            return Err(wrong("a parameter stands twice"));
        }
        match (&*name, &*value) {
            (
                "destination" | "kind" | "since" | "until" | "order_id" | "merchant" | "contains" | "limit" | "after",
                "",
            ) => {}
            ("destination", text) => filter.destination = Some(self::name(text)?),
            ("kind", text) => filter.kind = Some(kind(text)?),
            ("since", text) => filter.since_ms = Some(unix_ms("since", text)?),
            ("until", text) => filter.until_ms = Some(unix_ms("until", text)?),
            ("order_id", text) => filter.order_id = Some(text.to_owned()),
            ("merchant", text) => filter.merchant = Some(text.to_owned()),
            ("contains", text) => filter.contains = Some(text.to_owned()),
            ("limit", text) => {
                let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                page.limit = limit.ok_or_else(|| wrong("limit: a number from 1 to 1000"))?;
            }
            ("after", text) => page.after = Some(text.to_owned()),
            _ => return Err(wrong(PARAMETERS)),
        }
        seen.push(name);
    }
    Ok((filter, page))
}

pub(super) fn name(text: &str) -> Result<DestinationName, Problem> {
    let wrong = || Problem::new(Kind::InvalidQuery, "destination: not a destination's name");
    DestinationName::parse(text).ok_or_else(wrong)
}

pub(super) fn kind(text: &str) -> Result<DeadKind, Problem> {
    let help = "kind: one of rejected, unknown, unmappable, exhausted, expired";
    let found = DeadKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| Problem::new(Kind::InvalidQuery, help))
}

pub(super) fn unix_ms(parameter: &str, text: &str) -> Result<u64, Problem> {
    let instant = text.parse().ok().map(jiff::Timestamp::as_millisecond);
    let unix_ms = instant.and_then(|instant| u64::try_from(instant).ok());
    let help = || format!("{parameter}: an RFC 3339 time after 1970, as 2026-01-31T12:00:00Z");
    unix_ms.ok_or_else(|| Problem::new(Kind::InvalidQuery, help()))
}

/// Dead letters of one page.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetters")]
pub(super) struct PageView<'a> {
    dead: Vec<DeadLetterView<'a>>,
    next: Option<&'a str>,
}

impl<'a> PageView<'a> {
    fn new(page: &'a DeadPage) -> PageView<'a> {
        PageView { dead: page.dead.iter().map(DeadLetterView::new).collect(), next: page.next.as_deref() }
    }
}

/// A delivery that was given up, from near.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterDetail")]
pub(super) struct LetterView<'a> {
    #[serde(flatten)]
    planned: PlannedView<'a>,
    /// All attempts that are kept, oldest first.
    history: Vec<AttemptView<'a>>,
}

/// A delivery that was given up.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeadLetter")]
pub(super) struct DeadLetterView<'a> {
    #[schemars(with = "uuid::Uuid")]
    id: Shown<&'a ConversionId>,
    destination: &'a str,
    #[schemars(schema_with = "kinds")]
    kind: &'static str,
    #[schemars(with = "Option<jiff::Timestamp>")]
    at: Option<Shown<jiff::Timestamp>>,
    order_id: Option<&'a str>,
    merchant: &'a str,
    attempts: u32,
    reason: &'a str,
    last: Option<AttemptView<'a>>,
}

impl<'a> DeadLetterView<'a> {
    pub(super) fn new(letter: &'a DeadLetter) -> DeadLetterView<'a> {
        DeadLetterView {
            id: Shown(&letter.id),
            destination: letter.destination.as_str(),
            kind: letter.kind.as_str(),
            at: instant(letter.at_ms),
            order_id: letter.order_id.as_deref(),
            merchant: &letter.merchant,
            attempts: letter.attempts,
            reason: &letter.reason,
            last: letter.last.as_ref().map(AttemptView::new),
        }
    }
}

const PARAMETERS: &str =
    "the parameters are destination, kind, since, until, order_id, merchant, contains, limit and after";
/// A screenful or two.
const PAGE_DEFAULT: usize = 100;
/// With excerpts of 2 KiB each, 2 MiB of answer.
const PAGE_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        #[track_caller]
        fn check(query: &str, expected: Result<&str, &str>) {
            let shown = match wanted(query) {
                Ok((
                    DeadFilter { destination, kind, since_ms, until_ms, order_id, merchant, contains, ids: _ },
                    page,
                )) => {
                    let (destination, kind) =
                        (destination.as_ref().map(DestinationName::as_str), kind.map(DeadKind::as_str));
                    let PageRequest { limit, after } = page;
                    Ok(format!(
                        "{destination:?} {kind:?} {since_ms:?} {until_ms:?} {order_id:?} {merchant:?} {contains:?} {limit} {after:?}"
                    ))
                }
                Err(problem) => Err(problem.detail().to_owned()),
            };
            assert_eq!(shown.as_deref(), expected.map_err(str::to_owned).as_deref(), "{query}");
        }
        check("", Ok("None None None None None None None 100 None"));
        check(
            "destination=&kind=&since=&until=&order_id=&merchant=&contains=&limit=&after=",
            Ok("None None None None None None None 100 None"),
        );
        check(
            "destination=thrad&kind=unmappable&since=1970-01-01T01:00:00%2B00:00&until=1970-01-01T02:00:00Z&order_id=o-1&merchant=acme&contains=No+such&limit=7&after=a%20b",
            Ok(
                r#"Some("thrad") Some("unmappable") Some(3600000) Some(7200000) Some("o-1") Some("acme") Some("No such") 7 Some("a b")"#,
            ),
        );
        check("limit=1000", Ok("None None None None None None None 1000 None"));
        check("limit=1001", Err("limit: a number from 1 to 1000"));
        check("limit=0", Err("limit: a number from 1 to 1000"));
        check("limit=-1", Err("limit: a number from 1 to 1000"));
        check("kind=dead", Err("kind: one of rejected, unknown, unmappable, exhausted, expired"));
        check("destination=Thrad!", Err("destination: not a destination's name"));
        check("since=yesterday", Err("since: an RFC 3339 time after 1970, as 2026-01-31T12:00:00Z"));
        check("since=1969-12-31T23:59:59Z", Err("since: an RFC 3339 time after 1970, as 2026-01-31T12:00:00Z"));
        check("until=soon", Err("until: an RFC 3339 time after 1970, as 2026-01-31T12:00:00Z"));
        check("kind=unknown&kind=expired", Err("a parameter stands twice"));
        check("shop=acme", Err(PARAMETERS));
    }
}
