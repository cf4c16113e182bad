//! `GET /admin/dead`: dead letters, filtered and page by page.

use http::StatusCode;
use serde::Serialize;

use super::Admin;
use crate::conversion::{ConversionId, DestinationName};
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::ingress::view::{AttemptView, Shown, instant};
use crate::queue::{DeadFilter, DeadKind, DeadLetter, DeadPage};

impl Admin {
    pub(super) async fn dead_letters(&self, query: &str) -> Result<Reply, Problem> {
        let filter = filter(query)?;
        match &filter.destination {
            Some(name) if !self.queue.depths().destinations.contains_key(name) => {
                Err(Problem::new(Kind::InvalidQuery, "destination: none of this name is configured, or was"))
            }
            Some(_) | None => match self.queue.dead_letters(filter).await {
                Ok(page) => Ok(problem::json(StatusCode::OK, &PageView::new(&page))),
                Err(error) => Err(problem::unreadable(&error)),
            },
        }
    }
}

/// `destination=&kind=&since=&limit=&after=`, each at most once; an empty value is none.
fn filter(query: &str) -> Result<DeadFilter, Problem> {
    let wrong = |message: &'static str| Problem::new(Kind::InvalidQuery, message);
    let mut filter = DeadFilter { limit: PAGE_DEFAULT, ..DeadFilter::default() };
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&name) {
            return Err(wrong("a parameter stands twice"));
        }
        match (&*name, &*value) {
            ("destination" | "kind" | "since" | "limit" | "after", "") => {}
            ("destination", text) => {
                let name =
                    DestinationName::parse(text).ok_or_else(|| wrong("destination: not a destination's name"))?;
                filter.destination = Some(name);
            }
            ("kind", text) => {
                let kind = KINDS.into_iter().find(|kind| kind.as_str() == text);
                let help = "kind: one of rejected, unknown, unmappable, exhausted, expired";
                filter.kind = Some(kind.ok_or_else(|| wrong(help))?);
            }
            ("since", text) => {
                let help = "since: an RFC 3339 time after 1970, as 2026-01-31T12:00:00Z";
                let instant: jiff::Timestamp = text.parse().map_err(|_not_a_time| wrong(help))?;
                let since_ms = u64::try_from(instant.as_millisecond()).map_err(|_before_1970| wrong(help))?;
                filter.since_ms = Some(since_ms);
            }
            ("limit", text) => {
                let limit = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                filter.limit = limit.ok_or_else(|| wrong("limit: a number from 1 to 1000"))?;
            }
            ("after", text) => filter.after = Some(text.to_owned()),
            _ => return Err(wrong("the parameters are destination, kind, since, limit and after")),
        }
        seen.push(name);
    }
    Ok(filter)
}

#[derive(Serialize)]
struct PageView<'a> {
    dead: Vec<DeadLetterView<'a>>,
    next: Option<&'a str>,
}

impl<'a> PageView<'a> {
    fn new(page: &'a DeadPage) -> PageView<'a> {
        PageView { dead: page.dead.iter().map(DeadLetterView::new).collect(), next: page.next.as_deref() }
    }
}

#[derive(Serialize)]
struct DeadLetterView<'a> {
    id: Shown<&'a ConversionId>,
    destination: &'a str,
    kind: &'static str,
    at: Option<Shown<jiff::Timestamp>>,
    attempts: u32,
    reason: &'a str,
    last: Option<AttemptView<'a>>,
}

impl<'a> DeadLetterView<'a> {
    fn new(letter: &'a DeadLetter) -> DeadLetterView<'a> {
        DeadLetterView {
            id: Shown(&letter.id),
            destination: letter.destination.as_str(),
            kind: letter.kind.as_str(),
            at: instant(letter.at_ms),
            attempts: letter.attempts,
            reason: &letter.reason,
            last: letter.last.as_ref().map(AttemptView::new),
        }
    }
}

const KINDS: [DeadKind; 5] =
    [DeadKind::Rejected, DeadKind::Unknown, DeadKind::Unmappable, DeadKind::Exhausted, DeadKind::Expired];
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
            let shown = match filter(query) {
                Ok(DeadFilter { destination, kind, since_ms, limit, after }) => {
                    let destination = destination.as_ref().map(DestinationName::as_str);
                    Ok(format!("{destination:?} {:?} {since_ms:?} {limit} {after:?}", kind.map(DeadKind::as_str)))
                }
                Err(problem) => Err(problem.detail().to_owned()),
            };
            assert_eq!(shown.as_deref(), expected.map_err(str::to_owned).as_deref(), "{query}");
        }
        check("", Ok("None None None 100 None"));
        check("destination=&kind=&since=&limit=&after=", Ok("None None None 100 None"));
        check(
            "destination=thrad&kind=unmappable&since=1970-01-01T01:00:00%2B00:00&limit=7&after=a%20b",
            Ok(r#"Some("thrad") Some("unmappable") Some(3600000) 7 Some("a b")"#),
        );
        check("limit=1000", Ok("None None None 1000 None"));
        check("limit=1001", Err("limit: a number from 1 to 1000"));
        check("limit=0", Err("limit: a number from 1 to 1000"));
        check("limit=-1", Err("limit: a number from 1 to 1000"));
        check("kind=dead", Err("kind: one of rejected, unknown, unmappable, exhausted, expired"));
        check("destination=Thrad!", Err("destination: not a destination's name"));
        check("since=yesterday", Err("since: an RFC 3339 time after 1970, as 2026-01-31T12:00:00Z"));
        check("since=1969-12-31T23:59:59Z", Err("since: an RFC 3339 time after 1970, as 2026-01-31T12:00:00Z"));
        check("kind=unknown&kind=expired", Err("a parameter stands twice"));
        check("merchant=acme", Err("the parameters are destination, kind, since, limit and after"));
    }
}
