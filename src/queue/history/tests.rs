//! The history alone: what is appended is found, across segments, restarts, crashes and damage.

use std::collections::{BTreeMap, HashSet};

use super::super::folder::Lock;
use super::super::status::State as Standing;
use super::super::tests::room::SmallDisk;
use super::super::tests::{delivered, id_at, name, submission_of};
use super::super::{Initial, Submission};
use super::*;
use crate::conversion::Meta;
use crate::queue::record::{Event, Leg, Record, Settlement};

/// Conversions by sequence number.
type Known = BTreeMap<u64, Arc<Record>>;

/// A folder with nothing but a history, in segments of 16 KiB.
struct Bench {
    dir: tempfile::TempDir,
    folder: Folder,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock(File::open(dir.path()).unwrap());
        Bench { folder: Folder::new(dir.path(), lock, State::first(1, 1), 0), dir }
    }

    fn open(&self) -> Result<History, OpenError> {
        History::open(
            self.dir.path(),
            &self.dir.path().join("quarantine"),
            self.folder.state(),
            16 * 1024,
            Arc::new(Vault::plain()),
        )
    }

    fn segment(&self, number: u64) -> PathBuf {
        segment::path(&self.dir.path().join("history"), number)
    }

    fn numbers(&self) -> Vec<u64> {
        segment::numbers(&self.dir.path().join("history")).unwrap()
    }
}

fn record(seq: u64, at_ms: u64) -> (Record, Vec<Leg>) {
    let handed_in: Submission = submission_of(&format!("history-{seq}"), 10, &["a"]);
    let mut record = Record::of(&Vault::plain(), &handed_in).with_seq(seq);
    record.meta = Meta::new(id_at(at_ms), record.meta.merchant.clone(), None, &handed_in.conversion);
    let mut leg = Leg::new(name("a"), Initial::Owed, at_ms);
    assert!(leg.apply(&Settlement::new(1, at_ms, Event::Settled(delivered()), None)));
    (record, vec![leg])
}

/// Appends so many conversions, three a commit; every fourth is only `used`.
fn fill(bench: &Bench, history: &History, known: &mut Known, count: u64, at_ms: u64) {
    let from = known.last_key_value().map_or(1, |(seq, _)| seq + 1);
    for first in (from..from + count).step_by(3) {
        let mut batch = Batch::new(&Arc::new(Vault::plain()));
        for seq in first..(first + 3).min(from + count) {
            let (record, legs) = record(seq, at_ms + seq);
            if seq % 4 == 0 {
                batch.used(&record)
            } else {
                batch.settled(&record, &legs).unwrap()
            }
            known.insert(seq, Arc::new(record));
        }
        let mark = Mark { moved_seq: first, store_seq: 0, written_ms: at_ms };
        history.append(&bench.folder, &batch, mark).unwrap();
    }
}

#[track_caller]
fn check(history: &History, known: &Known) {
    for (seq, record) in known {
        let first = history.first_with(&record.key, 0, |_| Ok(true)).unwrap();
        let expected = First { id: record.meta.id, digest: record.digest, is_erased: false };
        assert_eq!(first, Some(expected), "the key of {seq}");
        let too_late = record.meta.id.unix_ms() + 1;
        assert_eq!(
            history.first_with(&record.key, too_late, |_| Ok(true)).unwrap(),
            None,
            "the key of {seq}, received before"
        );
        let status = history.status(record.meta.id).unwrap();
        let order = record.order_key.unwrap();
        let of_order = history.order(&order).unwrap();
        if seq % 4 == 0 {
            assert_eq!((status, of_order), (None, vec![record.meta.id]), "{seq} is only used");
        } else {
            let status = status.unwrap_or_else(|| panic!("{seq} is lost"));
            assert_eq!(status, record.status(&record_legs(&status), |_| None));
            assert_eq!(of_order, [record.meta.id]);
        }
    }
    let (stranger, _) = record(u64::MAX, 1);
    assert_eq!(history.first_with(&stranger.key, 0, |_| Ok(true)).unwrap(), None);
    assert_eq!(history.status(stranger.meta.id).unwrap(), None);
}

/// The legs that a status was made of: all are delivered.
fn record_legs(status: &Status) -> Vec<Leg> {
    let (destination, found) = &status.destinations[0];
    assert_eq!(found.state, Standing::Delivered);
    let mut leg = Leg::new(destination.clone(), Initial::Owed, 1);
    leg.apply(&Settlement::new(1, 1, Event::Settled(delivered()), None));
    vec![leg]
}

#[test]
fn what_is_appended_is_found_across_segments_and_restarts() {
    let (bench, mut known) = (Bench::new(), Known::new());
    for round in 0..4 {
        let history = bench.open().unwrap();
        check(&history, &known);
        assert_eq!(history.mark().moved_seq, known.last_key_value().map_or(0, |(seq, _)| (seq - 1) / 3 * 3 + 1));
        fill(&bench, &history, &mut known, 150, 1_000_000 * round);
        check(&history, &known);
    }
    assert!(bench.numbers().len() > 4, "{:?}", bench.numbers());
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_and_never_met_again() {
    let (bench, mut known) = (Bench::new(), Known::new());
    fill(&bench, &bench.open().unwrap(), &mut known, 12, 5);
    let whole = std::fs::read(bench.segment(1)).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let last = known.last_key_value().map(|(seq, _)| *seq).unwrap();
    // The last commit is torn: what was in it is not known.
    known.retain(|seq, _| *seq <= last - 3);
    for torn in (end - 200..=end).step_by(7) {
        let mut bytes = whole.clone();
        bytes[torn..].fill(0);
        std::fs::write(bench.segment(1), &bytes).unwrap();
        let history = bench.open().unwrap();
        check(&history, &known);
        // What is written now is shorter than what was torn, and none of that follows it.
        let mut one_more = known.clone();
        fill(&bench, &history, &mut one_more, 1, 9);
        drop(history);
        check(&bench.open().unwrap(), &one_more);
    }
}

#[test]
fn an_index_cut_short_is_made_anew() {
    let (bench, mut known) = (Bench::new(), Known::new());
    fill(&bench, &bench.open().unwrap(), &mut known, 400, 5);
    assert!(bench.numbers().len() > 2);
    let whole = std::fs::read(bench.segment(1)).unwrap();
    for cut in [1, 40, 92, 5000, 60_000, 70_000] {
        std::fs::write(bench.segment(1), &whole[..whole.len() - cut]).unwrap();
        check(&bench.open().unwrap(), &known);
        assert_eq!(std::fs::read(bench.segment(1)).unwrap(), whole, "{cut} bytes cut off");
    }
}

#[test]
fn damage_is_refused_in_words_or_read_as_an_error() {
    let (bench, mut known) = (Bench::new(), Known::new());
    fill(&bench, &bench.open().unwrap(), &mut known, 400, 5);
    let newest = *bench.numbers().last().unwrap();
    // In the segment that is being written, before its end.
    let whole = std::fs::read(bench.segment(newest)).unwrap();
    let mut bytes = whole.clone();
    bytes[4096 + 40] ^= 4;
    std::fs::write(bench.segment(newest), &bytes).unwrap();
    let refused = bench.open().unwrap_err().to_string();
    assert!(refused.contains("history segment") && refused.contains("a copy is kept"), "{refused}");
    std::fs::write(bench.segment(newest), &whole).unwrap();
    // In a full one: a record says so when it is read.
    let whole = std::fs::read(bench.segment(1)).unwrap();
    let mut bytes = whole.clone();
    bytes[4096 + 24 + 13 + 40] ^= 4;
    std::fs::write(bench.segment(1), &bytes).unwrap();
    assert!(meets_damage(&bench.open().unwrap(), &known));
    // And with it a page of the index, that cannot be made anew then.
    bytes[whole.len() - 92 - 4096 + 5] ^= 4;
    std::fs::write(bench.segment(1), &bytes).unwrap();
    assert!(meets_damage(&bench.open().unwrap(), &known));
    let now = std::fs::read(bench.segment(1)).unwrap();
    assert!(now == bytes, "of damaged commits no index is made");
    // A damaged filter answers "perhaps".
    let mut bytes = whole.clone();
    let filter_at = whole.len() - 92 - 3 * 4096 - 1000;
    bytes[filter_at..filter_at + 500].fill(0);
    std::fs::write(bench.segment(1), &bytes).unwrap();
    check(&bench.open().unwrap(), &known);
    std::fs::remove_file(bench.segment(2)).unwrap();
    assert!(bench.open().unwrap_err().to_string().contains("history segment 0000000000000002 is missing"));
}

fn meets_damage(history: &History, known: &Known) -> bool {
    let fails = |record: &Record| {
        history.first_with(&record.key, 0, |_| Ok(true)).is_err() || history.status(record.meta.id).is_err()
    };
    known.values().any(|record| fails(record))
}

#[test]
fn a_damaged_page_of_an_index_is_made_anew_from_the_commits_when_it_is_met() {
    let (bench, mut known) = (Bench::new(), Known::new());
    fill(&bench, &bench.open().unwrap(), &mut known, 400, 5);
    let whole = std::fs::read(bench.segment(1)).unwrap();
    // One page for each of the three tables.
    let pages_at = whole.len() - 92 - 3 * 4096;
    for damaged in [0..1, 1..2, 2..3, 0..3] {
        let mut bytes = whole.clone();
        for page in damaged {
            bytes[pages_at + page * 4096 + 5] ^= 4;
        }
        std::fs::write(bench.segment(1), &bytes).unwrap();
        let history = bench.open().unwrap();
        assert_eq!(history.with_damaged_tables(), [1]);
        check(&history, &known);
        assert!(history.with_damaged_tables().is_empty());
        assert!(std::fs::read(bench.segment(1)).unwrap() == whole, "it is what it was before");
        check(&bench.open().unwrap(), &known);
    }
}

#[test]
fn many_who_meet_a_damaged_page_at_once_are_all_answered() {
    let (bench, mut known) = (Bench::new(), Known::new());
    fill(&bench, &bench.open().unwrap(), &mut known, 400, 5);
    let mut bytes = std::fs::read(bench.segment(1)).unwrap();
    let pages_at = bytes.len() - 92 - 3 * 4096;
    bytes[pages_at..pages_at + 3 * 4096].fill(0xa5);
    std::fs::write(bench.segment(1), &bytes).unwrap();
    let history = bench.open().unwrap();
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| check(&history, &known)))));
}

#[test]
fn what_is_too_old_is_given_up_segment_by_segment() {
    let (bench, mut known) = (Bench::new(), Known::new());
    let history = bench.open().unwrap();
    fill(&bench, &history, &mut known, 200, 1000);
    fill(&bench, &history, &mut known, 100, 500_000);
    let count = bench.numbers().len();
    history.expire(&bench.folder, 500_000, 400_000, u64::MAX / 2).unwrap();
    let left = bench.numbers();
    assert!(left.len() < count && left.len() > 1, "{left:?} of {count}");
    let recent = known.values().filter(|record| record.meta.id.unix_ms() >= 400_000);
    for record in recent {
        assert!(history.first_with(&record.key, 0, |_| Ok(true)).unwrap().is_some());
    }
    assert_eq!(history.first_with(&known[&1].key, 0, |_| Ok(true)).unwrap(), None);
    // Also the one that is being written, once its time has come; and then it goes on behind it.
    history.expire(&bench.folder, 500_000, 400_000, 1000).unwrap();
    history.expire(&bench.folder, 502_000, 900_000, 1000).unwrap();
    assert!(bench.numbers().is_empty());
    drop(history);
    let history = bench.open().unwrap();
    assert_eq!(history.mark().moved_seq, 300);
    fill(&bench, &history, &mut known, 10, 1_000_000);
    let later = known.split_off(&301);
    check(&history, &later);
    drop(history);
    check(&bench.open().unwrap(), &later);
}

#[test]
fn a_segment_is_as_large_as_there_is_room_and_the_ballast_goes_before_there_is_none() {
    let disk = SmallDisk::mount(96);
    let path = disk.queue();
    std::fs::create_dir_all(&path).unwrap();
    let (lock, ballast_bytes) = (Lock(File::open(&path).unwrap()), 16 << 20);
    let folder = Folder::new(&path, lock, State::first(1, 1), ballast_bytes);
    File::create(path.join("ballast")).unwrap();
    folder.keep_ballast(0).unwrap();
    let bytes = std::fs::metadata(path.join("ballast")).unwrap().len();
    assert_eq!(bytes, ballast_bytes, "what a crash had left of it is made whole");
    let vault = Arc::new(Vault::plain());
    let history = History::open(&path, &path.join("quarantine"), folder.state(), 16 << 20, Arc::clone(&vault)).unwrap();
    let mut seq = 0;
    let mut append = || {
        seq += 1;
        let (record, legs) = record(seq, seq);
        let mut batch = Batch::new(&vault);
        batch.settled(&record, &legs)?;
        history.append(&folder, &batch, Mark { moved_seq: seq, store_seq: 0, written_ms: seq })?;
        assert!(history.first_with(&record.key, 0, |_| Ok(true)).unwrap().is_some());
        let newest = segment::path(&path.join("history"), folder.state().newest_history);
        let bytes = std::fs::metadata(newest).unwrap().len();
        // It is ended: the next one begins another.
        history.expire(&folder, 10_000 + seq, 0, 0).unwrap();
        Ok::<u64, StoreError>(bytes)
    };
    let ballast = path.join("ballast");
    assert_eq!(append().unwrap(), 16 << 20);
    // What is free, and how large the segment is then; that there still is the ballast.
    for (left, expected, has_ballast) in
        [(24 << 20, 7 << 20..=8 << 20, true), (18 << 20, 1 << 20..=2 << 20, true), (9 << 20, 1 << 20..=9 << 20, false)]
    {
        disk.fill(left);
        let bytes = append().unwrap();
        assert!(expected.contains(&bytes) && ballast.exists() == has_ballast, "{left} left: {bytes} bytes");
        disk.free();
    }
    // Nothing more can be given up: what is left is the store's.
    disk.fill(16 << 20);
    assert!(matches!(append(), Err(StoreError::NoSpace(_))));
    assert!(matches!(append(), Err(StoreError::NoSpace(_))));
    disk.free();
    assert_eq!(append().unwrap(), 16 << 20);
}

fn ids_of(known: &Known, seqs: std::ops::Range<u64>) -> HashSet<ConversionId> {
    known.range(seqs).map(|(_, record)| record.meta.id).collect()
}

#[test]
fn what_is_erased_leaves_its_key_and_everything_else_is_found() {
    let bench = Bench::new();
    let history = bench.open().unwrap();
    let mut known = Known::new();
    fill(&bench, &history, &mut known, 400, 1_000);
    let erased = ids_of(&known, 30..60).union(&ids_of(&known, 390..401)).copied().collect();
    history.erase(&erased).unwrap();
    let kept: Known = known.clone().into_iter().filter(|(_, record)| !erased.contains(&record.meta.id)).collect();
    let gone: Known = known.into_iter().filter(|(_, record)| erased.contains(&record.meta.id)).collect();
    let check_both = |history: &History| {
        check(history, &kept);
        for record in gone.values() {
            let first = history.first_with(&record.key, 0, |_| Ok(false)).unwrap().unwrap();
            assert_eq!((first.id, first.is_erased, first.digest), (record.meta.id, true, KeyHash::default()));
            assert_eq!(history.status(record.meta.id).unwrap(), None);
            assert_eq!(history.order(&record.order_key.unwrap()).unwrap(), []);
            assert!(history.users(&record.key).unwrap().iter().all(|user| *user == (record.meta.id, true)));
        }
    };
    check_both(&history);
    let mut later = Known::from_iter(kept.last_key_value().map(|(seq, record)| (seq + 100, Arc::clone(record))));
    fill(&bench, &history, &mut later, 30, 9_000);
    drop(history);
    check_both(&bench.open().unwrap());
}

#[test]
fn of_a_damaged_segment_nothing_is_erased() {
    let bench = Bench::new();
    let history = bench.open().unwrap();
    let mut known = Known::new();
    fill(&bench, &history, &mut known, 400, 1_000);
    let path = bench.segment(1);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"damage", 9_000).unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = history.erase(&ids_of(&known, 1..5)).unwrap_err().to_string();
    assert!(refused.contains("history segment 0000000000000001 is damaged"), "{refused}");
    assert!(std::fs::read(&path).unwrap() == before, "it was changed");
    assert!(!bench.dir.path().join("history/anew").exists());
}

#[test]
fn a_reader_who_meets_a_segment_written_anew_looks_again() {
    let bench = Bench::new();
    let history = bench.open().unwrap();
    let mut known = Known::new();
    fill(&bench, &history, &mut known, 400, 1_000);
    let record = Arc::clone(&known[&9]);
    // As if there were very many others.
    history.index.write().unwrap().full.iter_mut().for_each(|full| Arc::make_mut(full).set_aside());
    let by = By::Key(record.key);
    let places = history.places(by, |_| true);
    history.erase(&ids_of(&known, 5..6)).unwrap();
    let met = places.iter().find_map(|place| place.records(by, |_, _| Ok(Some(()))).err());
    assert!(matches!(met, Some(StoreError::History(error)) if error.kind() == REPLACED), "it was not met");
    assert_eq!(history.first_with(&record.key, 0, |_| Ok(true)).unwrap().map(|first| first.id), Some(record.meta.id));
    assert!(history.status(record.meta.id).unwrap().is_some());
}
