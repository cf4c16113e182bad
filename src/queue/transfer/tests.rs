mod settled;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::record::{Names, Position};
use super::super::status::{
    Attempt, DeadFilter, DeadKind, DeadLetter, Depths, Outcome, State, Status, Treatment, Verdict,
};
use super::super::tests::{
    accept, any_negotiated, attempt, dead, dead_letters, delivered, id_at, name, next, open, settings, small, state,
    submission_of,
};
use super::super::vault::Vault;
use super::super::{Accepted, Queue};
use super::*;
use crate::conversion::{Meta, TraceParent};
use settled::with_settled;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn exported(path: &Path, selection: &Selection) -> String {
    let mut out = Vec::new();
    export(&settings(path, &NAMES), Clock::system(), small(), selection, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn imported(path: &Path, text: &str) -> Result<(Imported, Vec<String>), TransferError> {
    let mut refused = Vec::new();
    let mut note = |line: u64, why: &str| refused.push(format!("line {line}: {why}"));
    let done = import(&settings(path, &NAMES), Clock::system(), small(), &mut text.as_bytes(), &mut note)?;
    Ok((done, refused))
}

/// All but the header, which says when.
fn lines(text: &str) -> Vec<&str> {
    text.lines().skip(1).collect()
}

fn new(count: u64) -> Imported {
    Imported { new: count, ..Imported::default() }
}

fn retry(due_ms: u64) -> Outcome {
    Outcome::Retry { due_ms, spent: true }
}

/// Something of everything; the ids of what is owed or dead, and of what is not.
async fn filled(path: &Path) -> (Vec<ConversionId>, ConversionId) {
    let queue = open(path, &NAMES);
    let mut ids = Vec::new();
    let mut one = async |event_id: &str, padding: usize, owed: &[&str]| {
        let id = accept(&queue, submission_of(event_id, padding, owed)).await;
        ids.push(id);
        id
    };
    one("delivered in part", 10, &["a", "b", "c"]).await;
    let settle = async |destination: &str, outcome, status, verdict| {
        let delivery = next(&queue, destination).await;
        queue.settle(&delivery, outcome, Some(attempt(status, verdict)));
    };
    let captured = BTreeMap::from([("ref".to_owned(), "r-1".to_owned())]);
    settle("a", Outcome::Delivered { captured }, 200, Verdict::Delivered).await;
    settle("b", dead("refused: \"no\"\n"), 400, Verdict::Rejected).await;
    settle("c", retry(u64::MAX), 503, Verdict::Retry).await;
    let again = one("replayed", 10, &["b"]).await;
    settle("b", dead("at first"), 400, Verdict::Rejected).await;
    let filter = DeadFilter { ids: Some(vec![again]), ..DeadFilter::default() };
    queue.treat(filter, Treatment::Replay).await.unwrap();
    settle("b", retry(5), 500, Verdict::Retry).await;
    one("due", 50_000, &["a"]).await;
    settle("a", retry(7), 503, Verdict::Retry).await;
    for number in 0..40 {
        one(&format!("fresh {number}"), if number % 10 == 0 { 90_000 } else { 300 }, &["a", "b"]).await;
    }
    let settled = accept(&queue, submission_of("settled", 10, &["c"])).await;
    settle("c", delivered(), 200, Verdict::Delivered).await;
    queue.close().await.unwrap();
    (ids, settled)
}

/// What is handed out to a destination now: of each its id, attempt, time, and the body's length.
async fn handed_out(queue: &Queue, destination: &str, count: usize) -> Vec<(ConversionId, u32, u64, usize)> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(next(queue, destination).await);
    }
    held.iter()
        .map(|delivery| {
            let (id, bytes) = (delivery.meta().id, delivery.lease.record.body.len());
            delivery.conversion().unwrap();
            (id, delivery.attempt(), delivery.owed_since_ms(), bytes)
        })
        .collect()
}

type Seen = (Vec<Option<Status>>, Depths, Vec<DeadLetter>, Vec<(ConversionId, u32, u64, usize)>);

async fn seen(path: &Path, ids: &[ConversionId]) -> Seen {
    let queue = open(path, &NAMES);
    let mut statuses = Vec::new();
    for id in ids {
        statuses.push(queue.status(*id).await.unwrap());
    }
    let letters = dead_letters(&queue, DeadFilter::default()).await;
    let depths = queue.depths();
    let mut handed = handed_out(&queue, "a", 41).await;
    handed.append(&mut handed_out(&queue, "b", 41).await);
    (statuses, depths, letters, handed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_moves_whole_to_another() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ids, settled) = filled(from.path()).await;
    let text = exported(from.path(), &Selection::default());
    let target = to.path().join("made");
    let (done, refused) = imported(&target, &text).unwrap();
    assert_eq!((done, refused), (new(43), Vec::new()));
    assert_eq!(seen(&target, &ids).await, seen(from.path(), &ids).await);
    assert_eq!(lines(&exported(&target, &Selection::default())), lines(&text));
    // Of what nothing is owed of nothing was asked for; and what was moved is known as a repeat.
    let queue = open(&target, &["a", "b"]);
    assert_eq!(queue.status(settled).await.unwrap(), None);
    assert!(matches!(queue.accept(submission_of("fresh 1", 300, &["a", "b"])).await, Ok(Accepted::Duplicate(_))));
    assert_eq!(queue.order("acme", "order-replayed").await.unwrap().len(), 1);
    let status = queue.status(ids[0]).await.unwrap().unwrap();
    let held = &status.destinations[2].1;
    assert_eq!((held.state, held.attempts), (State::Held, 1), "a destination that is not configured here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn importing_twice_imports_once_also_when_it_was_delivered_meanwhile() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let queue = open(from.path(), &NAMES);
    let (one, other) = (
        accept(&queue, submission_of("twice 1", 9, &["a"])).await,
        accept(&queue, submission_of("twice 2", 9, &["b"])).await,
    );
    queue.close().await.unwrap();
    drop(queue);
    let text = exported(from.path(), &Selection::default());
    assert_eq!(imported(to.path(), &text).unwrap().0, new(2));
    let queue = open(to.path(), &NAMES);
    queue.settle(&next(&queue, "a").await, delivered(), None);
    queue.close().await.unwrap();
    drop(queue);
    assert_eq!(imported(to.path(), &text).unwrap().0, Imported { known: 2, ..Imported::default() });
    let queue = open(to.path(), &NAMES);
    assert_eq!(state(&queue, one, "a").await, State::Delivered);
    assert_eq!(state(&queue, other, "b").await, State::Queued);
    let depths = queue.depths().destinations;
    assert_eq!((depths[&name("a")].pending, depths[&name("b")].pending), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_another_uses_is_refused_and_the_others_go_on() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let queue = open(from.path(), &NAMES);
    // The same key hours apart: the window of deduplication is one hour.
    let mut old = submission_of("key", 9, &["a"]);
    let hours_ago = Clock::system().unix_ms() - 3 * 3_600_000;
    old.meta = Meta::new(id_at(hours_ago), Arc::from("acme"), None, &old.conversion);
    let old = accept(&queue, old).await;
    let taken = accept(&queue, submission_of("key", 9, &["a"])).await;
    let free = accept(&queue, submission_of("no key of another", 9, &["a"])).await;
    queue.close().await.unwrap();
    drop(queue);
    let queue = open(to.path(), &NAMES);
    let user = accept(&queue, submission_of("key", 10, &["b"])).await;
    queue.close().await.unwrap();
    drop(queue);
    let text = exported(from.path(), &Selection::default());
    let (done, refused) = imported(to.path(), &text).unwrap();
    assert_eq!(done, Imported { new: 2, refused: 1, ..Imported::default() });
    let said =
        format!("line 3: {taken} is not imported: its key `acme/event/key` is used by {user}, which is kept here");
    assert_eq!(refused, [said]);
    let queue = open(to.path(), &NAMES);
    for (id, found) in [(old, true), (taken, false), (free, true), (user, true)] {
        assert_eq!(queue.status(id).await.unwrap().is_some(), found);
    }
}

#[track_caller]
fn refused_at(path: &Path, text: &str, line: u64, new: u64, word: &str) {
    match imported(path, text) {
        Err(TransferError::Line { line: found, why, imported }) => {
            assert_eq!((found, imported.new), (line, new), "{why}");
            assert!(why.contains(word), "{word:?} is not in {why:?}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_cut_or_changed_is_refused_at_its_line_and_what_came_before_stays() {
    let from = tempfile::tempdir().unwrap();
    let queue = open(from.path(), &NAMES);
    for number in 0..3 {
        accept(&queue, submission_of(&format!("line {number}"), 9, &["a"])).await;
    }
    queue.close().await.unwrap();
    drop(queue);
    let text = exported(from.path(), &Selection::default());
    let whole: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    let without = |gone: usize| -> String {
        whole.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| line.as_str()).collect()
    };
    let check = |text: &str, line: u64, new: u64, word: &str| {
        let to = tempfile::tempdir().unwrap();
        refused_at(to.path(), text, line, new, word);
        // The whole file brings the rest.
        let (done, _) = imported(to.path(), &whole.concat()).unwrap();
        assert_eq!((done.known, done.new), (new, 3 - new));
    };
    check("", 1, 0, "no file of `capi-relay export`");
    check(&without(0), 1, 0, "no file of `capi-relay export`");
    check(&without(1), 2, 0, "one before it was removed");
    check(&without(3), 4, 2, "one before it was removed");
    check(&without(4), 5, 3, "cut short");
    check(&whole[..2].concat(), 3, 1, "cut short");
    check(text.get(..text.len() - 400).unwrap(), 4, 2, "does not end with");
    check(&format!("{text}{}", whole[2]), 6, 3, "after the trailer");
    check(&text.replacen("\"attempts\":0", "\"attempts\":1", 1), 2, 0, "changed");
    for at in (0..whole[2].len() - 1).step_by(7) {
        let mut line = whole[2].clone().into_bytes();
        line[at] ^= 1;
        let changed =
            [whole[0].as_str(), &whole[1], std::str::from_utf8(&line).unwrap(), &whole[3], &whole[4]].concat();
        check(&changed, 3, 1, "changed");
    }
    let missing = tempfile::tempdir().unwrap();
    let path = missing.path().join("not made");
    refused_at(&path, "{}\n", 1, 0, "does not end with");
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_appended_is_taken_up_by_the_next_start_wherever_the_import_ended() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut ids, settled) = filled(from.path()).await;
    let text = exported(from.path(), &with_settled());
    let mut input = text.as_bytes();
    let mut reading = Reading::new(&mut input);
    assert!(reading.header().is_ok());
    let roomy = Options { segment_bytes: 1 << 20, ..small() };
    let mut work = Work::open(&settings(to.path(), &NAMES), Clock::system(), roomy).unwrap();
    while let Ok(Said::Conversion(conversion) | Said::Settled(conversion)) = reading.next(&Vault::plain()) {
        work.take(conversion.0, conversion.1).unwrap();
        work.append().unwrap();
    }
    // As a kill does: nothing of it was moved.
    drop(work);
    ids.push(settled);
    assert_eq!(seen(to.path(), &ids).await, seen(from.path(), &ids).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selection_chooses_by_destination_and_standing() {
    let from = tempfile::tempdir().unwrap();
    drop(filled(from.path()).await);
    let count = |destination: Option<&str>, standing: Option<Standing>| {
        let selection = Selection { destination: destination.map(name), standing, settled_within: None };
        lines(&exported(from.path(), &selection)).len() - 1
    };
    for (destination, standing, expected) in [
        (None, None, 43),
        (None, Some(Standing::Dead), 1),
        (None, Some(Standing::Pending), 43),
        (Some("a"), None, 41),
        (Some("b"), Some(Standing::Dead), 1),
        (Some("b"), Some(Standing::Pending), 41),
        (Some("c"), None, 1),
        (Some("d"), None, 0),
    ] {
        assert_eq!(count(destination, standing), expected, "{destination:?} {standing:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_and_one_that_is_not_there_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let to_export =
        |path: &Path| export(&settings(path, &NAMES), Clock::system(), small(), &Selection::default(), &mut Vec::new());
    assert!(matches!(to_export(&missing), Err(TransferError::Open(OpenError::Read { .. }))));
    assert!(!missing.exists());
    let queue = open(dir.path(), &NAMES);
    assert!(matches!(to_export(dir.path()), Err(TransferError::Open(OpenError::InUse { .. }))));
    drop(queue);
    let text = exported(dir.path(), &Selection::default());
    let _queue = open(dir.path(), &NAMES);
    assert!(matches!(imported(dir.path(), &text), Err(TransferError::Open(OpenError::InUse { .. }))));
}

fn position() -> impl Strategy<Value = Position> {
    let replayed = proptest::option::of(any::<u64>());
    prop_oneof![
        Just(Position::Fresh),
        (any::<u64>(), replayed).prop_map(|(due_ms, replayed_ms)| Position::Waiting { due_ms, replayed_ms }),
        (any::<u64>(), any::<u64>(), any::<u32>()).prop_map(|(due_ms, since_ms, asked)| Position::Accepted {
            due_ms,
            since_ms,
            asked
        }),
        (0..DeadKind::ALL.len(), any::<u64>())
            .prop_map(|(kind, at_ms)| Position::Done { state: State::Dead(DeadKind::ALL[kind]), at_ms }),
    ]
}

fn any_position() -> impl Strategy<Value = Position> {
    let states = [State::Accepted, State::Delivered, State::Duplicate, State::Skipped, State::Withheld];
    let settled =
        (0..states.len(), any::<u64>()).prop_map(move |(state, at_ms)| Position::Done { state: states[state], at_ms });
    prop_oneof![position(), settled]
}

prop_compose! {
    fn an_attempt()(
        at_ms: u64, duration_ms: u64, status: Option<u16>, verdict in 0..Verdict::ALL.len(),
        negotiated in any_negotiated(), excerpt: Option<String>,
    ) -> Attempt {
        Attempt { at_ms, duration_ms, status, verdict: Verdict::ALL[verdict], negotiated, excerpt }
    }
}

fn leg(destination: &'static str, position: impl Strategy<Value = Position>) -> impl Strategy<Value = Leg> {
    let history = proptest::collection::vec(an_attempt(), 0..4);
    let captured = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3);
    (position, any::<Option<String>>(), 0..1000_u32, history, captured).prop_map(
        move |(position, reason, attempts, history, captured)| {
            let destination = name(destination);
            Leg { destination, position, reason, attempts, revision: 0, history, captured }
        },
    )
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let odd = proptest::collection::vec(any::<u8>(), 1..60);
    prop_oneof![any::<String>().prop_map(|text| format!("{{{text}}}").into_bytes()), odd, Just(vec![b'x'; 30_000])]
}

type Parts = (String, String, Option<String>, Option<String>, [u8; 16], Vec<u8>, Leg, Leg);

fn conversions() -> impl Strategy<Value = Vec<Parts>> {
    let text = any::<String>;
    let texts = (text(), text(), any::<Option<String>>(), any::<Option<String>>());
    let one = (texts, any::<[u8; 16]>(), body(), leg("a", position()), leg("d", any_position())).prop_map(
        |((merchant, event_id, order_id, key), digest, body, a, d)| {
            (merchant, event_id, order_id, key, digest, body, a, d)
        },
    );
    proptest::collection::vec(one, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn what_is_imported_and_exported_again_is_the_same_bytes(parts in conversions()) {
        let (mut written, mut trailer) = (Lines::default(), Trailer::default());
        let mut text = written.header("2026-01-01T00:00:00Z").unwrap();
        let now_ms = Clock::system().unix_ms();
        for (number, (merchant, event_id, order_id, idempotency_key, digest, body, a, d)) in (0_u64..).zip(parts) {
            let id = id_at(now_ms.saturating_sub(1000).saturating_add(number));
            let received_at = crate::conversion::Timestamp::from_instant(id.instant());
            let dedup_key = format!("key {number}");
            let trace = TraceParent::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
            let trace = trace.filter(|_| number % 2 == 0);
            let meta = Meta { id, merchant: merchant.into(), idempotency_key, dedup_key, received_at, trace };
            let record = Record::kept(&Vault::plain(), meta, Names { event_id, order_id, digest }, Bytes::from(body));
            let legs = [a, d];
            trailer.count(&legs);
            text.push_str(&written.conversion(&record, &legs).unwrap());
        }
        text.push_str(&written.trailer(&trailer).unwrap());
        let mut before = text;
        for _ in 0..2 {
            let to = tempfile::tempdir().unwrap();
            let (done, _) = imported(to.path(), &before).unwrap();
            prop_assert_eq!(done, new(trailer.conversions));
            let after = exported(to.path(), &Selection::default());
            prop_assert_eq!(lines(&after), lines(&before));
            before = after;
        }
    }
}
