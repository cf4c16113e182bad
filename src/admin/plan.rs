//! What a replay would send: said before anything is sent.
//!
//! A request is a pure function of the stored conversion and the configuration, so what is shown here is what goes out, as
//! long as neither changes. Nothing here changes anything.

mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::task::spawn_blocking;

pub(super) use self::view::{PlanView, PlannedView};
use super::Admin;
use crate::config::{self, Destination, Rendering, older_than};
use crate::conversion::{Conversion, Money};
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::mapping::{Scope, Secrets};
use crate::queue::{DeadFilter, DeadLetter, DeadPage, PageRequest, Stored};

/// What becomes of a dead letter that is replayed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// A request goes out.
    Sent,
    Skipped,
    Withheld,
    Unsupported,
    /// A dead letter again: a field is missing, or a rule is broken.
    Unmappable,
    /// A dead letter again: it is older than `max_age`.
    Expired,
    /// A dead letter again: this version does not accept what an earlier one stored.
    Unreadable,
    /// It waits: the destination is not configured.
    Unconfigured,
    /// It is no dead letter any more.
    Gone,
}

impl Outcome {
    const ALL: [Outcome; 9] = [
        Outcome::Sent,
        Outcome::Skipped,
        Outcome::Withheld,
        Outcome::Unsupported,
        Outcome::Unmappable,
        Outcome::Expired,
        Outcome::Unreadable,
        Outcome::Unconfigured,
        Outcome::Gone,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Sent => "sent",
            Outcome::Skipped => "skipped",
            Outcome::Withheld => "withheld",
            Outcome::Unsupported => "unsupported",
            Outcome::Unmappable => "unmappable",
            Outcome::Expired => "expired",
            Outcome::Unreadable => "unreadable",
            Outcome::Unconfigured => "unconfigured",
            Outcome::Gone => "gone",
        }
    }
}

/// Whether the platform would know a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deduplication {
    /// It deduplicates on nothing.
    None,
    /// Its window is not over.
    Within,
    /// Its window is over.
    Outside,
    /// It deduplicates; for how long is not configured.
    Unknown,
}

impl Deduplication {
    const ALL: [Deduplication; 4] =
        [Deduplication::None, Deduplication::Within, Deduplication::Outside, Deduplication::Unknown];

    const fn as_str(self) -> &'static str {
        match self {
            Deduplication::None => "none",
            Deduplication::Within => "within",
            Deduplication::Outside => "outside",
            Deduplication::Unknown => "unknown",
        }
    }
}

/// A dead letter as a replay would send it.
pub(super) struct Planned {
    outcome: Outcome,
    operation: Option<String>,
    reason: Option<String>,
    /// As JSON, secrets masked.
    request: Option<String>,
    differs: Option<bool>,
    deduplication: Option<Deduplication>,
    dedup_window: Option<Duration>,
    max_age: Option<Duration>,
    second_sale: bool,
    conversion: Option<Arc<Conversion>>,
}

impl Planned {
    /// Of which nothing is sent.
    fn nothing(outcome: Outcome, reason: Option<String>) -> Planned {
        Planned {
            outcome,
            operation: None,
            reason,
            request: None,
            differs: None,
            deduplication: None,
            dedup_window: None,
            max_age: None,
            second_sale: false,
            conversion: None,
        }
    }

    /// At this destination, now.
    fn of(letter: &DeadLetter, stored: &Stored, destination: &Destination, now_ms: u64) -> Planned {
        let conversion = match &stored.conversion {
            Ok(conversion) => Arc::clone(conversion),
            Err(_refusal) => return Planned::nothing(Outcome::Unreadable, Some(UNREADABLE.to_owned())),
        };
        let age = Duration::from_millis(now_ms.saturating_sub(letter.id.unix_ms()));
        let happened_ms = u64::try_from(conversion.time().instant().as_millisecond()).unwrap_or(0);
        let rendering = destination.render(Scope { conversion: &conversion, meta: &stored.meta }, Secrets::Masked);
        let max_age = destination.max_age;
        let too_old = max_age.filter(|max_age| Duration::from_millis(now_ms.saturating_sub(happened_ms)) > *max_age);
        let mut planned = match (too_old, rendering) {
            (Some(max_age), _) => Planned::nothing(Outcome::Expired, Some(older_than(max_age))),
            (None, Rendering::Nothing { outcome, reason }) => Planned::nothing(outcome.into(), Some(reason)),
            (None, Rendering::Sent { operation, request }) => Planned {
                deduplication: Some(deduplication(destination, &operation, age)),
                operation: Some(operation),
                request: Some(request.to_json()),
                ..Planned::nothing(Outcome::Sent, None)
            },
        };
        let trusted = match planned.deduplication {
            Some(Deduplication::Within) => true,
            // As long as the relay itself would have repeated it.
            Some(Deduplication::Unknown) => age <= destination.retry.give_up_after,
            Some(Deduplication::None | Deduplication::Outside) | None => false,
        };
        planned.second_sale = planned.outcome == Outcome::Sent && letter.may_have_arrived && !trusted;
        Planned { max_age, dedup_window: destination.dedup_window, conversion: Some(conversion), ..planned }
    }
}

/// An age from the receipt on: the platform cannot have got it earlier.
fn deduplication(destination: &Destination, operation: &str, age: Duration) -> Deduplication {
    let slot = destination.operations.iter().find(|known| known.name == operation);
    match (slot.and_then(|operation| operation.idempotency.as_ref()), destination.dedup_window) {
        (None, _) => Deduplication::None,
        (Some(_), None) => Deduplication::Unknown,
        (Some(_), Some(window)) if age <= window => Deduplication::Within,
        (Some(_), Some(_)) => Deduplication::Outside,
    }
}

impl From<config::Outcome> for Outcome {
    fn from(outcome: config::Outcome) -> Outcome {
        match outcome {
            config::Outcome::Skipped => Outcome::Skipped,
            config::Outcome::Withheld => Outcome::Withheld,
            config::Outcome::Unsupported => Outcome::Unsupported,
            config::Outcome::Unmappable => Outcome::Unmappable,
        }
    }
}

impl Admin {
    /// What a replay would send of those that are meant, page by page; with the first page the totals of all.
    pub(super) async fn plan(&self, filter: DeadFilter, page: PageRequest) -> Result<Reply, Problem> {
        let _alone = self.plans.lock().await;
        let (begun_ms, given_ms) = (self.now_ms(), filter.until_ms);
        let totals = if page.after.is_none() { Some(self.totals(&filter, begun_ms).await?) } else { None };
        let (DeadPage { dead, next }, newest_ms) = self.page(filter, page, begun_ms).await?;
        let newest_ms = totals.as_ref().map_or(newest_ms, |totals| totals.newest_ms.max(newest_ms));
        let until_ms = given_ms.unwrap_or(newest_ms.max(begun_ms).saturating_add(1));
        let (mut planned, mut left) = (Vec::with_capacity(dead.len()), REQUESTS_BYTES_MAX);
        for letter in &dead {
            let mut one = self.planned(letter).await?;
            left = left.saturating_sub(one.request.as_ref().map_or(0, String::len));
            // Not kept: all of them together may be more than memory.
            one.request = one.request.filter(|_| left > 0);
            planned.push(one);
        }
        let views = dead.iter().zip(&planned).map(|(letter, planned)| PlannedView::new(letter, planned));
        let dead = views.collect();
        Ok(problem::json(StatusCode::OK, &PlanView::new(until_ms, totals.as_ref(), dead, next.as_deref())))
    }

    /// By ids they come all at once: here, too, page by page. With when the newest was given up, of all that were found.
    async fn page(&self, filter: DeadFilter, page: PageRequest, begun_ms: u64) -> Result<(DeadPage, u64), Problem> {
        let by_ids = filter.ids.is_some();
        let (limit, after) = (page.limit, page.after.clone());
        let mut found = self.queue.dead_letters(filter, page).await.map_err(|error| problem::unreadable(&error))?;
        if !by_ids {
            // As a replay has it: what was given up since it began is not meant, and what bears a time to come was given up
            // before, by a clock that was ahead.
            let now_ms = self.now_ms();
            found.dead.retain(|letter| letter.at_ms <= begun_ms || letter.at_ms > now_ms);
        }
        let newest_ms = found.dead.iter().map(|letter| letter.at_ms).max().unwrap_or(0);
        if !by_ids {
            return Ok((found, newest_ms));
        }
        let wrong = || Problem::new(Kind::InvalidQuery, "after: not the `next` of a page");
        let shown = after.map_or(Ok(0), |after| after.parse::<usize>().map_err(|_no_number| wrong()))?;
        let end = shown.saturating_add(limit);
        let next = (found.dead.len() > end).then(|| end.to_string());
        Ok((DeadPage { dead: found.dead.into_iter().skip(shown).take(limit).collect(), next }, newest_ms))
    }

    /// What becomes of this one, were it replayed now.
    pub(super) async fn planned(&self, letter: &DeadLetter) -> Result<Planned, Problem> {
        let stored = self.queue.stored(letter.id).await.map_err(|error| problem::unreadable(&error))?;
        let Some(stored) = stored else { return Ok(Planned::nothing(Outcome::Gone, None)) };
        let config = self.ingress.config();
        let Some(destination) = config.destination(letter.destination.as_str()) else {
            let planned = Planned::nothing(Outcome::Unconfigured, Some(UNCONFIGURED.to_owned()));
            return Ok(Planned { conversion: stored.conversion.ok(), ..planned });
        };
        let (letter, destination, now_ms) = (letter.clone(), Arc::clone(destination), self.now_ms());
        let before = letter.last.as_ref().and_then(|last| self.pools.configured_at(&letter.destination, last.at_ms));
        let rendered = spawn_blocking(move || {
            let planned = Planned::of(&letter, &stored, &destination, now_ms);
            let differs = before.and_then(|before| differs(&before, &stored, &planned));
            Planned { differs, ..planned }
        });
        rendered.await.map_err(|error| {
            tracing::error!(%error, "a plan cannot be made");
            Problem::new(Kind::Internal, "the plan cannot be made: see the relay's log")
        })
    }

    async fn totals(&self, filter: &DeadFilter, begun_ms: u64) -> Result<Totals, Problem> {
        let mut totals = Totals { is_whole: true, ..Totals::default() };
        let mut page = PageRequest { limit: TOTALS_PAGE, after: None };
        loop {
            let (DeadPage { dead, next }, newest_ms) = self.page(filter.clone(), page, begun_ms).await?;
            totals.newest_ms = totals.newest_ms.max(newest_ms);
            for letter in &dead {
                totals.count(letter, &self.planned(letter).await?);
            }
            page = match next {
                None => return Ok(totals),
                Some(_) if totals.matched >= TOTALS_LETTERS_MAX => {
                    totals.is_whole = false;
                    return Ok(totals);
                }
                Some(next) => PageRequest { limit: TOTALS_PAGE, after: Some(next) },
            };
        }
    }
}

/// Whether the request is another one than was sent last, by the configuration of that time; `None`: nobody knows, for none was
/// sent.
fn differs(before: &Destination, stored: &Stored, planned: &Planned) -> Option<bool> {
    let conversion = stored.conversion.as_ref().ok()?;
    match before.render(Scope { conversion, meta: &stored.meta }, Secrets::Masked) {
        Rendering::Sent { request, .. } => Some(planned.request.as_ref() != Some(&request.to_json())),
        Rendering::Nothing { .. } => None,
    }
}

/// By destination, kind of the letter, kind of the conversion, and what becomes of it.
type Group = (String, &'static str, Option<&'static str>, Outcome);

#[derive(Default)]
struct Totals {
    matched: u64,
    is_whole: bool,
    /// When the newest of them was given up.
    newest_ms: u64,
    groups: BTreeMap<Group, Total>,
}

#[derive(Default)]
struct Total {
    count: u64,
    second_sales: u64,
    /// By currency, of refunds without their signs; `None`: it has more than 28 digits.
    amounts: BTreeMap<String, Option<Money>>,
}

impl Totals {
    fn count(&mut self, letter: &DeadLetter, planned: &Planned) {
        self.matched = self.matched.saturating_add(1);
        let kind = planned.conversion.as_ref().map(|conversion| conversion.kind().as_str());
        let group = (letter.destination.as_str().to_owned(), letter.kind.as_str(), kind, planned.outcome);
        let total = self.groups.entry(group).or_default();
        total.count = total.count.saturating_add(1);
        total.second_sales = total.second_sales.saturating_add(u64::from(planned.second_sale));
        let amount = planned.conversion.as_ref().and_then(|conversion| conversion.amount().zip(conversion.currency()));
        if let Some((amount, currency)) = amount.map(|(amount, currency)| (amount.magnitude(), currency)) {
            match total.amounts.get_mut(currency) {
                Some(sum) => *sum = sum.and_then(|sum| sum.plus(amount)),
                None => drop(total.amounts.insert(currency.to_owned(), Some(amount))),
            }
        }
    }
}

const UNREADABLE: &str = "this version does not accept the stored conversion";
const UNCONFIGURED: &str = "the destination is not configured: it would wait until it is";
/// Requests of one page: a screen of long ones.
const REQUESTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Letters read at once for the totals.
const TOTALS_PAGE: usize = 1000;
/// Some seconds of work.
const TOTALS_LETTERS_MAX: u64 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversion::{ConversionId, DestinationName};
    use crate::queue::DeadKind;

    #[test]
    fn refunds_add_up_to_what_they_give_back_however_they_are_written() {
        let mut totals = Totals::default();
        for (number, value) in ["-20.00", "20.00", "-0.50"].into_iter().enumerate() {
            let text = format!(
                r#"{{"kind":"refund","time":"2026-01-01T00:00:00Z","order_id":"o-{number}","value":"{value}","currency":"EUR"}}"#
            );
            let letter = DeadLetter {
                id: ConversionId::new(1, [0; 10]),
                destination: DestinationName::parse("one").unwrap(),
                kind: DeadKind::Rejected,
                at_ms: 1,
                order_id: None,
                merchant: Arc::from("acme"),
                attempts: 1,
                reason: String::new(),
                last: None,
                may_have_arrived: false,
            };
            let conversion = Some(Arc::new(Conversion::parse(text.as_bytes(), "generated").unwrap()));
            totals.count(&letter, &Planned { conversion, ..Planned::nothing(Outcome::Sent, None) });
        }
        let sums: Vec<_> = totals.groups.values().map(|total| total.amounts["EUR"].unwrap().to_string()).collect();
        assert_eq!(sums, ["40.50"]);
    }
}
