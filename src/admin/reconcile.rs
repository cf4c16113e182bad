//! `GET /admin/reconcile`: what was accepted and what became of it, in numbers and exact sums, for finance.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::Admin;
use super::dead::{kinds, name};
use crate::conversion::EventKind;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::ingress::view::{Shown, instant};
use crate::queue::{Account, Books, BooksOf, Difference, State, Sum, Total};

impl Admin {
    pub(super) async fn reconcile(&self, query: &str) -> Result<Reply, Problem> {
        let now_ms = self.ingress.clock().unix_ms();
        let wanted = Wanted::of(query, now_ms)?;
        if let Some(name) = &wanted.of.destination {
            self.known(name)?;
        }
        let books = self.queue.books(wanted.of.clone()).await.map_err(|error| problem::unreadable(&error))?;
        Ok(problem::json(StatusCode::OK, &BooksView::new(&wanted, &books, now_ms)))
    }
}

/// Which days, and whose.
struct Wanted {
    from: jiff::civil::Date,
    to: jiff::civil::Date,
    of: BooksOf,
}

impl Wanted {
    /// `from=&to=&destination=&merchant=`, each at most once; an empty value is none.
    fn of(query: &str, now_ms: u64) -> Result<Wanted, Problem> {
        let wrong = |message: String| Problem::new(Kind::InvalidQuery, message);
        let today = date(now_ms.checked_div(DAY_MS).unwrap_or(0));
        let (mut from, mut to, mut destination, mut merchant) = (None, None, None, None);
        let mut seen = Vec::new();
        for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
            if seen.contains(&parameter) {
                return Err(wrong("a parameter stands twice".to_owned()));
            }
            let day = || {
                let day = Some(&*value).filter(|text| text.len() == 10).and_then(|text| text.parse().ok());
                day.filter(|day| *day >= FIRST_DAY)
                    .ok_or_else(|| wrong(format!("{parameter}: a day, as 2026-01-31 (UTC)")))
            };
            match (&*parameter, &*value) {
                ("from" | "to" | "destination" | "merchant", "") => {}
                ("from", _) => from = Some(day()?),
                ("to", _) => to = Some(day()?),
                ("destination", text) => destination = Some(name(text)?),
                ("merchant", text) => merchant = Some(text.to_owned()),
                _ => return Err(wrong("the parameters are from, to, destination and merchant".to_owned())),
            }
            seen.push(parameter);
        }
        let to = to.unwrap_or(today);
        let from = from.unwrap_or(to);
        let Some(days) = number(to).checked_sub(number(from)) else {
            return Err(wrong(format!("from: {from} is after {to}")));
        };
        if days >= DAYS_MAX {
            return Err(wrong(format!("from: at most {DAYS_MAX} days at once")));
        }
        let until_ms = number(to).saturating_add(1).saturating_mul(DAY_MS);
        let of = BooksOf { from_ms: number(from).saturating_mul(DAY_MS), until_ms, destination, merchant };
        Ok(Wanted { from, to, of })
    }
}

fn date(day: u64) -> jiff::civil::Date {
    let days = i32::try_from(day).ok().and_then(|days| jiff::Span::new().try_days(days).ok());
    days.and_then(|days| FIRST_DAY.checked_add(days).ok()).unwrap_or(FIRST_DAY)
}

fn number(date: jiff::civil::Date) -> u64 {
    let days = FIRST_DAY.until(date).map_or(0, |span| span.get_days());
    u64::try_from(days).unwrap_or(0)
}

/// What was accepted in some days, and what became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Books")]
pub(super) struct BooksView<'a> {
    /// The first day (UTC), by when a conversion was received.
    #[schemars(with = "jiff::civil::Date")]
    from: String,
    /// The last.
    #[schemars(with = "jiff::civil::Date")]
    to: String,
    destination: Option<&'a str>,
    merchant: Option<&'a str>,
    #[schemars(with = "Option<jiff::Timestamp>")]
    as_of: Option<Shown<jiff::Timestamp>>,
    /// What was settled before then may be kept no more (`history.keep`, or damage): of earlier days something may be missing.
    /// `null`: nothing is.
    #[schemars(with = "Option<jiff::Timestamp>")]
    kept_since: Option<Shown<jiff::Timestamp>>,
    /// Each conversion once.
    accepted: Vec<AcceptedView<'a>>,
    /// Each delivery once: of a destination they are as many, and as much, as what was accepted for it.
    deliveries: Vec<DeliveriesView<'a>>,
    /// Conversions of anybody's that were forgotten on request, and are in no sum.
    forgotten: u64,
    /// Conversions, or records of settled ones, that are damaged, anybody's and whenever received; they are in no sum.
    unread: u64,
    /// Where what is kept of pending deliveries and dead letters is not what the relay counts.
    differences: Vec<DifferenceView<'a>>,
}

/// Conversions of a day.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AcceptedSum")]
struct AcceptedView<'a> {
    #[serde(flatten)]
    account: AccountView<'a>,
    #[serde(flatten)]
    sum: SumView,
}

/// Deliveries of them to a destination that stand alike.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeliveredSum")]
struct DeliveriesView<'a> {
    destination: &'a str,
    #[serde(flatten)]
    account: AccountView<'a>,
    #[schemars(schema_with = "states")]
    state: &'static str,
    /// Of dead letters.
    #[schemars(schema_with = "kinds")]
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_kind: Option<&'static str>,
    #[serde(flatten)]
    sum: SumView,
}

#[derive(Serialize, JsonSchema)]
struct AccountView<'a> {
    /// When they were received (UTC).
    #[schemars(with = "jiff::civil::Date")]
    day: String,
    /// `conversion`, `refund` or `adjustment`; of an adjustment the amount is the new total, of a refund what is given back,
    /// without a sign.
    kind: &'static str,
    /// Test conversions.
    test: bool,
    /// Of those with an amount.
    currency: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
struct SumView {
    count: u64,
    /// Exact, of the conversions' `value`. Nothing where there are no amounts, or where the sum has more than 28 digits.
    #[schemars(with = "Option<String>")]
    sum: Option<String>,
}

/// What is kept of a destination, and what is counted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BooksDifference")]
struct DifferenceView<'a> {
    destination: &'a str,
    pending: u64,
    pending_counted: u64,
    dead: u64,
    dead_counted: u64,
}

impl<'a> BooksView<'a> {
    fn new(wanted: &'a Wanted, books: &'a Books, now_ms: u64) -> BooksView<'a> {
        let known_since_ms = books.known_since_ms.min(now_ms);
        let accepted =
            books.accepted.iter().map(|(account, sum)| AcceptedView { account: account.into(), sum: sum.into() });
        let deliveries = books.deliveries.iter().map(|((destination, account, state), sum)| DeliveriesView {
            destination: destination.as_str(),
            account: account.into(),
            state: state.as_str(),
            dead_kind: if let State::Dead(kind) = state { Some(kind.as_str()) } else { None },
            sum: sum.into(),
        });
        BooksView {
            from: wanted.from.to_string(),
            to: wanted.to.to_string(),
            destination: wanted.of.destination.as_ref().map(|name| name.as_str()),
            merchant: wanted.of.merchant.as_deref(),
            as_of: instant(now_ms),
            kept_since: if known_since_ms > 0 { instant(known_since_ms) } else { None },
            accepted: accepted.collect(),
            deliveries: deliveries.collect(),
            forgotten: books.forgotten,
            unread: books.unread,
            differences: books.differences.iter().map(DifferenceView::from).collect(),
        }
    }
}

impl<'a> From<&'a Account> for AccountView<'a> {
    fn from(account: &'a Account) -> AccountView<'a> {
        AccountView {
            day: date(account.day).to_string(),
            kind: match account.kind {
                EventKind::Conversion => "conversion",
                EventKind::Refund => "refund",
                EventKind::Adjustment => "adjustment",
            },
            test: account.is_test,
            currency: account.currency.as_deref(),
        }
    }
}

impl From<&Sum> for SumView {
    fn from(sum: &Sum) -> SumView {
        let text = match sum.sum {
            Total::None => None,
            Total::Exact(sum) => Some(sum.text().as_str().to_owned()),
            Total::TooLong => None,
        };
        SumView { count: sum.count, sum: text }
    }
}

impl<'a> From<&'a Difference> for DifferenceView<'a> {
    fn from(difference: &'a Difference) -> DifferenceView<'a> {
        let ((pending, pending_counted), (dead, dead_counted)) = (difference.pending, difference.dead);
        let destination = difference.destination.as_str();
        DifferenceView { destination, pending, pending_counted, dead, dead_counted }
    }
}

fn states(schemas: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let _ = schemas;
    schemars::json_schema!({ "type": "string", "enum": State::WORDS })
}

const FIRST_DAY: jiff::civil::Date = jiff::civil::date(1970, 1, 1);
const DAY_MS: u64 = 86_400_000;
/// A leap year.
const DAYS_MAX: u64 = 366;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_written_and_what_is_none_is_refused_in_words() {
        let now_ms = 20_000 * DAY_MS + 5;
        let of = |query: &str| Wanted::of(query, now_ms).map(|wanted| (wanted.from.to_string(), wanted.to.to_string()));
        let day = |text: &str| text.to_owned();
        assert_eq!(of("").unwrap(), (day("2024-10-04"), day("2024-10-04")), "today");
        assert_eq!(of("from=2024-10-01").unwrap(), (day("2024-10-01"), day("2024-10-04")));
        assert_eq!(of("to=2024-02-29").unwrap(), (day("2024-02-29"), day("2024-02-29")));
        let wanted = Wanted::of("from=2024-02-28&to=2024-02-29&merchant=acme", now_ms).unwrap();
        assert_eq!(wanted.of.until_ms - wanted.of.from_ms, 2 * DAY_MS);
        assert_eq!((date(number(wanted.from)), wanted.of.merchant.as_deref()), (wanted.from, Some("acme")));
        for wrong in [
            "from=2024-10-05",
            "from=2023-10-01",
            "from=1969-12-31",
            "from=20241001",
            "from=2024-13-01",
            "from=2024-1-1",
            "day=1",
            "to=2024-10-01&to=2024-10-01",
            "destination=A",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
