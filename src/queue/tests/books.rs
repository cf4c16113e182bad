//! The books: each conversion once, wherever it is, with its exact amount.

use std::collections::BTreeMap;

use super::*;
use crate::conversion::EventKind;
use crate::queue::backlog::tests::damage;
use crate::queue::{Account, Books, BooksOf, Forget, Sum, Total};

fn worth(event_id: &str, what: &str, owed: &[&str]) -> Submission {
    let body =
        format!(r#"{{"time":"2026-01-01T00:00:00Z","event_id":"{event_id}","order_id":"order-{event_id}",{what}}}"#);
    let conversion = Arc::new(Conversion::parse(body.as_bytes(), "generated").unwrap());
    let meta = Meta::new(id_at(Clock::system().unix_ms()), Arc::from("acme"), None, &conversion);
    let plan = owed.iter().map(|text| (name(text), Initial::Owed)).collect();
    Submission { meta, conversion, body: Bytes::from(body), plan, claim: Claim::default() }
}

fn all() -> BooksOf {
    BooksOf { from_ms: 0, until_ms: u64::MAX, destination: None, merchant: None }
}

fn sum(books: &Books, destination: &str, state: State, currency: &str) -> (u64, String) {
    let is_meant = |(name, account, found): &(DestinationName, Account, State)| {
        name.as_str() == destination && *found == state && account.currency.as_deref() == Some(currency)
    };
    let mut sums = books.deliveries.iter().filter(|(key, _)| is_meant(key)).map(|(_, sum)| *sum);
    let Some(Sum { count, sum }) = sums.next() else { return (0, String::new()) };
    assert!(sums.next().is_none(), "one day, one kind");
    let Total::Exact(sum) = sum else { panic!("{sum:?}") };
    (count, sum.text().as_str().to_owned())
}

/// For each destination and account: what was accepted for it is what its states come to.
fn check_balance(books: &Books) {
    let mut counts = BTreeMap::new();
    for ((destination, account, _), sum) in &books.deliveries {
        *counts.entry((destination.clone(), account.clone())).or_insert(0) += sum.count;
    }
    for ((destination, account), count) in counts {
        assert!(count <= books.accepted[&account].count, "{destination}: {account:?}");
    }
    assert!(books.differences.is_empty(), "{:?}", books.differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_conversion_is_counted_once_with_its_exact_amount_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a", "b"]);
    for number in 0..10 {
        let what = format!(r#""value":"0.{number}1","currency":"EUR""#);
        accept(&queue, worth(&format!("eur-{number}"), &what, &["a", "b"])).await;
    }
    accept(&queue, worth("usd", r#""value":"12345678901234567890.12","currency":"USD""#, &["a"])).await;
    accept(&queue, worth("none", r#""custom":{}"#, &["a"])).await;
    accept(&queue, worth("back", r#""kind":"refund","value":"0.05","currency":"EUR""#, &["b"])).await;
    accept(&queue, worth("test", r#""test":true,"value":"7","currency":"EUR""#, &["b"])).await;
    // In the window, in the backlog, in the history: the same.
    let look = async |queue: &Queue| queue.books(all()).await.unwrap();
    let in_window = look(&queue).await;
    eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
    assert_eq!(look(&queue).await, in_window);
    check_balance(&in_window);
    let eur = Account {
        day: in_window.accepted.keys().next().unwrap().day,
        kind: EventKind::Conversion,
        is_test: false,
        currency: Some("EUR".into()),
    };
    let Sum { count, sum: Total::Exact(total) } = in_window.accepted[&eur] else { panic!("{in_window:?}") };
    assert_eq!((count, total.text().as_str()), (10, "4.60"));
    assert_eq!(sum(&in_window, "a", State::Queued, "USD"), (1, "12345678901234567890.12".to_owned()));
    let kinds: Vec<_> =
        in_window.accepted.iter().map(|(account, sum)| (account.kind, account.is_test, sum.count)).collect();
    assert_eq!(kinds.len(), 5, "{kinds:?}");
    for number in 0..10 {
        let delivery = next(&queue, "a").await;
        let outcome = match number {
            3 => dead("no"),
            4 => Outcome::Retry { due_ms: u64::MAX, spent: true },
            _ => delivered(),
        };
        queue.settle(&delivery, outcome, None);
        queue.settle(&next(&queue, "b").await, delivered(), None);
    }
    let settled = look(&queue).await;
    check_balance(&settled);
    assert_eq!(settled.accepted, in_window.accepted);
    assert_eq!(sum(&settled, "a", State::Delivered, "EUR"), (8, "3.88".to_owned()));
    assert_eq!(sum(&settled, "a", State::Dead(DeadKind::Rejected), "EUR"), (1, "0.31".to_owned()));
    assert_eq!(sum(&settled, "a", State::Retrying, "EUR"), (1, "0.41".to_owned()));
    let only = BooksOf { destination: Some(name("b")), ..all() };
    let of_b = queue.books(only).await.unwrap();
    assert_eq!(of_b.accepted.values().map(|sum| sum.count).sum::<u64>(), 12);
    assert!(of_b.deliveries.keys().all(|(destination, ..)| destination.as_str() == "b"));
    let others = BooksOf { merchant: Some("other".to_owned()), ..all() };
    assert_eq!(queue.books(others).await.unwrap().accepted.len(), 0);
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(dir.path(), &["a", "b"]);
    assert_eq!(look(&queue).await, settled, "a restart changes nothing");
    queue.forget(Forget::Order { merchant: "acme".to_owned(), order_id: "order-eur-0".to_owned() }).await.unwrap();
    let forgotten = look(&queue).await;
    assert_eq!((forgotten.forgotten, sum(&forgotten, "a", State::Delivered, "EUR")), (1, (7, "3.87".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_add_up_to_what_they_give_back_however_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    for (number, given_back) in ["0.05", "-0.05", "-20.00"].into_iter().enumerate() {
        let what = format!(r#""kind":"refund","value":"{given_back}","currency":"EUR""#);
        accept(&queue, worth(&format!("back-{number}"), &what, &["a"])).await;
    }
    let books = queue.books(all()).await.unwrap();
    assert_eq!(sum(&books, "a", State::Queued, "EUR"), (3, "20.10".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_received_while_the_clock_was_ahead_is_in_the_sums() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    for number in 0..2 {
        let mut ahead = worth(&format!("ahead-{number}"), r#""value":"1","currency":"EUR""#, &["a"]);
        ahead.meta.id = id_at(Clock::system().unix_ms() + 86_400_000);
        accept(&queue, ahead).await;
    }
    let count = async |queue: &Queue| -> u64 {
        let books = queue.books(all()).await.unwrap();
        books.accepted.values().map(|sum| sum.count).sum()
    };
    assert_eq!(count(&queue).await, 2);
    queue.settle(&next(&queue, "a").await, delivered(), None);
    eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
    assert_eq!(count(&queue).await, 2, "in the backlog, and in the history");
    queue.close().await.unwrap();
    drop(queue);
    assert_eq!(count(&open(dir.path(), &["a"])).await, 2, "a restart changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_and_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a"]);
    for number in 0..3 {
        accept(&queue, worth(&format!("gone-{number}"), r#""value":"1","currency":"EUR""#, &["a"])).await;
    }
    eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
    queue.0.compare().await.unwrap();
    assert_eq!(metric(&queue, "unaccounted_deliveries"), 0);
    damage(dir.path(), 1);
    let books = queue.books(all()).await.unwrap();
    assert_eq!((books.unread, books.differences.len()), (1, 1));
    assert_eq!((books.differences[0].pending, books.differences[0].dead), ((2, 3), (0, 0)));
    queue.0.compare().await.unwrap();
    assert_eq!(metric(&queue, "unaccounted_deliveries"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nothing_is_missed_or_counted_twice() {
    let dir = tempfile::tempdir().unwrap();
    let queue = open(dir.path(), &["a", "b"]);
    let feeding = async {
        for number in 0..600 {
            accept(&queue, worth(&format!("load-{number}"), r#""value":"0.01","currency":"EUR""#, &["a", "b"])).await;
        }
    };
    // Each is tried a second time, so that it is changed where it waits before it goes.
    let work = async |destination: &str| {
        let (mut number, mut tried) = (0_usize, std::collections::HashSet::new());
        while number < 600 {
            let delivery = next(&queue, destination).await;
            let is_first = tried.insert(delivery.meta().id);
            number += usize::from(!is_first);
            let outcome = match number % 7 {
                _ if is_first => Outcome::Retry { due_ms: 1, spent: true },
                1 => dead("no"),
                _ => delivered(),
            };
            queue.settle(&delivery, outcome, None);
        }
    };
    let mut last = 0;
    let looking = async {
        while last < 600 {
            let before = queue.depths().destinations[&name("a")].pending;
            let books = queue.books(all()).await.unwrap();
            check_balance(&books);
            let count: u64 = books.accepted.values().map(|sum| sum.count).sum();
            assert!(count >= last && count <= 600, "{count} after {last}, {before}");
            let of_states: u64 = books.deliveries.values().map(|sum| sum.count).sum();
            assert_eq!((2 * count, books.unread), (of_states, 0));
            last = count;
        }
    };
    tokio::join!(feeding, work("a"), work("b"), looking);
    let books = queue.books(all()).await.unwrap();
    assert_eq!(sum(&books, "a", State::Delivered, "EUR"), (514, "5.14".to_owned()));
    assert_eq!(sum(&books, "a", State::Dead(DeadKind::Rejected), "EUR"), (86, "0.86".to_owned()));
}
