//! Settlements applied once and only once, and forms that read back as they were written.

use proptest::prelude::*;

use std::collections::BTreeMap;

use super::super::status::{Attempt, DeadKind, Outcome, State, Verdict};
use super::super::tests::{any_negotiated, attempt};
use super::super::vault::Sealing;
use super::super::{Claim, Initial};
use super::leg::EXCERPT_BYTES_MAX;
use super::stored::LEGS_BYTES_MAX;
use super::*;

fn leg() -> Leg {
    Leg::new(DestinationName::parse("a").unwrap(), Initial::Owed, 5)
}

fn id() -> ConversionId {
    ConversionId::new(1_700_000_000_000, [7; 10])
}

fn read_changed(legs: &[Leg]) -> Vec<Leg> {
    decode_legs(&Vault::plain(), id(), &encode_changed(&Sealing::Plain, id(), legs).unwrap()).unwrap()
}

fn record(body: &str, trace: Option<TraceParent>) -> Record {
    let conversion = Arc::new(Conversion::parse(body.as_bytes(), "generated").unwrap());
    let meta = Meta::new(id(), Arc::from("acme"), Some("k".to_owned()), &conversion);
    let meta = Meta { trace, ..meta };
    let body = Bytes::from(body.to_owned());
    Record::of(&Vault::plain(), &Submission { meta, conversion, body, plan: Vec::new(), claim: Claim::default() })
        .with_seq(42)
}

fn dead_kinds() -> impl Strategy<Value = DeadKind> {
    proptest::sample::select(DeadKind::ALL.to_vec())
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let captured = proptest::collection::btree_map("[a-z]{1,5}", ".{0,20}", 0..3);
    prop_oneof![
        captured.clone().prop_map(|captured| Outcome::Delivered { captured }),
        captured.clone().prop_map(|captured| Outcome::Duplicate { captured }),
        (any::<u64>(), captured).prop_map(|(due_ms, captured)| Outcome::Accepted { due_ms, captured }),
        (any::<u64>(), any::<bool>()).prop_map(|(due_ms, spent)| Outcome::Retry { due_ms, spent }),
        (dead_kinds(), ".{0,40}").prop_map(|(kind, reason)| Outcome::Dead { kind, reason }),
        ".{0,40}".prop_map(|reason| Outcome::Skipped { reason }),
        ".{0,40}".prop_map(|reason| Outcome::Withheld { reason }),
        ".{0,40}".prop_map(|reason| Outcome::Unsupported { reason }),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => outcomes().prop_map(Event::Settled),
        1 => (any::<u64>(), dead_kinds()).prop_map(|(due_ms, was)| Event::Replayed { due_ms, was }),
        1 => (".{0,40}", dead_kinds()).prop_map(|(reason, was)| Event::Discarded { reason, was }),
        1 => ".{0,40}".prop_map(|reason| Event::Withdrawn { reason }),
    ]
}

fn attempts() -> impl Strategy<Value = Attempt> {
    let verdicts = proptest::sample::select(Verdict::ALL.to_vec());
    let (negotiated, excerpt) = (any_negotiated(), proptest::option::of(".{0,50}"));
    (any::<u64>(), any::<u64>(), any::<Option<u16>>(), verdicts, negotiated, excerpt).prop_map(
        |(at_ms, duration_ms, status, verdict, negotiated, excerpt)| Attempt {
            at_ms,
            duration_ms,
            status,
            verdict,
            negotiated,
            excerpt,
        },
    )
}

proptest! {
    #[test]
    fn a_change_reads_back_and_applies_once(
        event in events(), attempt in proptest::option::of(attempts()), revision in 1..9_u32, at_ms: u64, traced: bool,
    ) {
        let settlement = Settlement::new(revision, at_ms, event, attempt);
        let id = ConversionId::new(3, [1; 10]);
        let change = Change { seq: 9, id, destination: leg().destination, settlement };
        prop_assert_eq!(&Change::decode(&Vault::plain(), &change.encode(&Sealing::Plain).unwrap()).unwrap(), &change);
        let mut leg = leg();
        if !leg.takes(&change.settlement) {
            leg.position = Position::Done { state: State::Dead(DeadKind::Rejected), at_ms: 1 };
        }
        prop_assert!(leg.apply(&change.settlement));
        let once = leg.clone();
        prop_assert!(!leg.apply(&change.settlement));
        prop_assert_eq!(&leg, &once);
        let trace = traced.then(|| TraceParent::from_bytes([at_ms.to_le_bytes()[0] | 1; TraceParent::BYTES]));
        let record = record(r#"{"time":"2026-01-01T00:00:00Z","order_id":"o"}"#, trace);
        prop_assert_eq!(read_changed(&[leg.clone()]), vec![leg.clone()]);
        let accepted = encode_accepted(&Sealing::Plain, &record, &[leg.clone()]).unwrap();
        let (read, legs) = decode_accepted(&Vault::plain(), &accepted, 42).unwrap();
        prop_assert_eq!((read.meta, read.body, legs), (record.meta, record.body, vec![leg]));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), form in 0..4_u8) {
        let bytes = [vec![form], bytes].concat();
        drop(Change::decode(&Vault::plain(), &bytes));
        drop(decode_legs(&Vault::plain(), id(), &bytes));
        drop(decode_accepted(&Vault::plain(), &bytes, 1));
    }
}

#[test]
fn an_accepted_conversion_reads_back_whole() {
    let record = record(r#"{"time":"2026-01-01T00:00:00Z","event_id":"e","order_id":"o"}"#, None);
    let legs = vec![leg(), Leg::new(DestinationName::parse("b").unwrap(), Initial::Skipped("why".to_owned()), 3)];
    let encoded = encode_accepted(&Sealing::Plain, &record, &legs).unwrap();
    let (read, read_legs) = decode_accepted(&Vault::plain(), &encoded, 42).unwrap();
    assert_eq!(read_legs, legs);
    assert_eq!((&read.meta, &read.body, read.seq), (&record.meta, &record.body, 42));
    assert_eq!(
        (read.key, read.digest, &read.event_id, &read.order_id),
        (record.key, record.digest, &record.event_id, &record.order_id)
    );
    assert_eq!(read.conversion().unwrap().order_id(), Some("o"));
    for cut in 0..encoded.len() {
        assert!(decode_accepted(&Vault::plain(), &encoded[..cut], 42).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_status_with_very_much_to_say_stays_small_and_keeps_the_states() {
    let legs: Vec<Leg> = (0..64)
        .map(|number| {
            let mut leg = Leg::new(DestinationName::parse(&format!("d{number}")).unwrap(), Initial::Owed, 1);
            for revision in 1..=12 {
                let attempt = Attempt {
                    at_ms: 1,
                    duration_ms: 1,
                    status: Some(500),
                    verdict: Verdict::Retry,
                    negotiated: None,
                    excerpt: Some("é".repeat(3000)),
                };
                let outcome = if revision == 12 {
                    Outcome::Dead { kind: DeadKind::Exhausted, reason: "r".repeat(9000) }
                } else {
                    Outcome::Retry { due_ms: 1, spent: true }
                };
                assert!(leg.apply(&Settlement::new(revision, 1, Event::Settled(outcome), Some(attempt))));
            }
            assert_eq!((leg.history.len(), leg.attempts), (10, 12));
            assert!(leg.history[0].excerpt.as_ref().unwrap().len() <= EXCERPT_BYTES_MAX);
            leg
        })
        .collect();
    let encoded = encode_changed(&Sealing::Plain, id(), &legs).unwrap();
    assert!(encoded.len() <= LEGS_BYTES_MAX + 1024, "{}", encoded.len());
    let kept = decode_legs(&Vault::plain(), id(), &encoded).unwrap();
    assert!(kept.iter().all(|leg| leg.dead() == Some((DeadKind::Exhausted, 1)) && leg.attempts == 12));
    let few = read_changed(&legs[..1]);
    assert!(few[0].history == legs[0].history, "of one destination all excerpts are kept");
}

#[test]
fn a_doubt_outlasts_its_words_however_little_room_there_is() {
    let broke_off = "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
    let legs_to = |count: u32| -> Vec<Leg> {
        let leg_to = |number: u32| {
            let mut leg = Leg::new(DestinationName::parse(&format!("d{number}")).unwrap(), Initial::Owed, 1);
            for revision in 1..=7 {
                let words = if revision == 1 { broke_off.to_owned() } else { "x".repeat(2048) };
                let attempt = Attempt { excerpt: Some(words), ..attempt(503, Verdict::Retry) };
                let again = Event::Settled(Outcome::Retry { due_ms: 1, spent: true });
                assert!(leg.apply(&Settlement::new(revision, 1, again, Some(attempt))));
            }
            Leg { reason: Some("r".repeat(2048)), ..leg }
        };
        (0..count).map(leg_to).collect()
    };
    // Shorter by excerpts, by all of them, by all attempts but one.
    for (count, attempts) in [(1, 7), (2, 7), (8, 7), (64, 1)] {
        let kept = read_changed(&legs_to(count));
        let are_kept = |leg: &Leg| leg.history.len() == attempts && leg.is_in_doubt();
        assert!(kept.iter().all(are_kept), "{count}: {:?}", kept[0].history);
    }
}

#[test]
fn what_is_accepted_keeps_what_was_captured_however_little_room_there_is() {
    let captured: BTreeMap<String, String> = [("uri".to_owned(), "/s/1".to_owned())].into();
    let mut legs: Vec<Leg> = (0..64)
        .map(|number| {
            let name = DestinationName::parse(&format!("d{number}")).unwrap();
            let mut leg = Leg::new(name, Initial::Owed, 1);
            let dead = Outcome::Dead { kind: DeadKind::Rejected, reason: "r".repeat(9000) };
            assert!(leg.apply(&Settlement::new(1, 1, Event::Settled(dead), None)));
            leg
        })
        .collect();
    let mut accepted = Leg::new(DestinationName::parse("accepted").unwrap(), Initial::Owed, 1);
    let outcome = Outcome::Accepted { due_ms: 9, captured: captured.clone() };
    assert!(accepted.apply(&Settlement::new(1, 5, Event::Settled(outcome), None)));
    legs.push(accepted);
    let kept = read_changed(&legs);
    assert!(kept[0].reason.as_ref().unwrap().len() < 2048, "there was little room");
    let acceptance = kept[64].acceptance().unwrap();
    assert_eq!((acceptance.since_ms, acceptance.asked, &acceptance.captured), (5, 0, &captured));
}

#[test]
fn a_question_spends_no_attempt_and_the_first_answer_stays() {
    let mut leg = Leg::new(DestinationName::parse("d").unwrap(), Initial::Owed, 1);
    let attempt =
        |at_ms, verdict| Attempt { at_ms, duration_ms: 1, status: Some(200), verdict, negotiated: None, excerpt: None };
    let outcome = Outcome::Accepted { due_ms: 9, captured: BTreeMap::new() };
    assert!(leg.apply(&Settlement::new(1, 5, Event::Settled(outcome), Some(attempt(1, Verdict::Accepted)))));
    for number in 2..40_u32 {
        let again = Event::Settled(Outcome::Retry { due_ms: 9, spent: true });
        let said = Some(attempt(u64::from(number), Verdict::Unconfirmed));
        assert!(leg.apply(&Settlement::new(number, 6, again, said)));
    }
    let seen: Vec<_> = leg.history.iter().map(|attempt| (attempt.at_ms, attempt.verdict)).collect();
    assert_eq!(seen, [(1, Verdict::Accepted), (39, Verdict::Unconfirmed)]);
    let status = leg.status(None);
    assert_eq!((status.state, status.attempts, status.next_attempt_ms), (State::Accepted, 1, Some(9)));
    assert_eq!(leg.position, Position::Accepted { due_ms: 9, since_ms: 5, asked: 38 });
    assert!(leg.pending() && !leg.owed());
}

#[test]
fn a_doubt_outlasts_any_number_of_attempts_behind_it_and_the_newest_stay() {
    let mut leg = leg();
    let mut push = |revision: u32, verdict| {
        let attempt = Attempt { at_ms: u64::from(revision), ..attempt(500, verdict) };
        let again = Event::Settled(Outcome::Retry { due_ms: 9, spent: true });
        assert!(leg.apply(&Settlement::new(revision, 6, again, Some(attempt))));
        leg.history.iter().map(|attempt| attempt.at_ms).collect::<Vec<_>>()
    };
    push(1, Verdict::Retry);
    push(2, Verdict::Unknown);
    let kept: Vec<Vec<u64>> = (3..41).map(|revision| push(revision, Verdict::Retry)).collect();
    assert_eq!(kept.last(), Some(&vec![2, 32, 33, 34, 35, 36, 37, 38, 39, 40]));
    let kept: Vec<Vec<u64>> = (41..60).map(|revision| push(revision, Verdict::Unknown)).collect();
    assert_eq!(kept.last(), Some(&vec![50, 51, 52, 53, 54, 55, 56, 57, 58, 59]), "one doubt is as good as another");
    let kept: Vec<Vec<u64>> = (60..80).map(|revision| push(revision, Verdict::Retry)).collect();
    assert_eq!(kept.last(), Some(&vec![55, 56, 57, 58, 59, 75, 76, 77, 78, 79]), "doubts and the newest");
    assert!(leg.history.iter().any(Attempt::may_have_arrived));
}
