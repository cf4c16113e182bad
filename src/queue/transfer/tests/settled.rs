//! What is settled goes along: encrypted or not, whole or damaged, once.

use super::super::super::log::segment;
use super::super::super::tests::{encryption, eventually, metric};
use super::super::super::{Accepted, BooksOf, Claim, Forget, Initial, Queue, Submission};
use super::*;
use crate::conversion::Conversion;

/// With all that was settled within an hour.
pub(super) fn with_settled() -> Selection {
    Selection { settled_within: Some(Duration::from_secs(3600)), ..Selection::default() }
}

/// Of an explicit key: the same with other content is refused.
fn keyed(event_id: &str, what: &str) -> Submission {
    let body = format!(
        r#"{{"time":"2026-01-01T00:00:00Z","event_id":"{event_id}","order_id":"order-{event_id}","value":"{what}","currency":"EUR"}}"#
    );
    let conversion = Arc::new(Conversion::parse(body.as_bytes(), "generated").unwrap());
    let meta = Meta::new(id_at(Clock::system().unix_ms()), Arc::from("acme"), None, &conversion);
    let plan = ["a", "b"].map(|destination| (name(destination), Initial::Owed)).to_vec();
    Submission { meta, conversion, body: Bytes::from(body), plan, claim: Claim::default() }
}

async fn settled_status(queue: &Queue, id: ConversionId) -> Status {
    queue.status(id).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_goes_along_encrypted_or_not_and_its_repeat_is_no_second_sale() {
    let all = BooksOf { from_ms: 0, until_ms: u64::MAX, destination: None, merchant: None };
    let keys = [None, Some(1), Some(2)];
    for (from_key, to_key) in keys.into_iter().flat_map(|from| keys.map(|to| (from, to))) {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder =
            |path: &Path, key: Option<u8>| Settings { encryption: key.map(encryption), ..settings(path, &NAMES) };
        let (from, to) = (folder(from.path(), from_key), folder(to.path(), to_key));
        let queue = Queue::open_with(&from, Clock::system(), small()).unwrap();
        let captured = BTreeMap::from([("ref".to_owned(), "r-1".to_owned())]);
        let one = accept(&queue, keyed("settled", "12.50")).await;
        queue.settle(&next(&queue, "a").await, Outcome::Delivered { captured }, Some(attempt(200, Verdict::Delivered)));
        queue.settle(&next(&queue, "b").await, Outcome::Skipped { reason: "no click".to_owned() }, None);
        let gone = accept(&queue, keyed("forgotten", "1")).await;
        for destination in ["a", "b"] {
            queue.settle(&next(&queue, destination).await, delivered(), None);
        }
        assert_eq!(queue.forget(Forget::Conversion(gone)).await.unwrap().conversions, 1);
        let owed = accept(&queue, keyed("owed", "3")).await;
        let (status, books) = (settled_status(&queue, one).await, queue.books(all.clone()).await.unwrap());
        queue.close().await.unwrap();
        drop(queue);
        let to_text = |settings: &Settings, selection: &Selection| {
            let mut out = Vec::new();
            let done = export(settings, Clock::system(), small(), selection, &mut out).unwrap();
            (String::from_utf8(out).unwrap(), done)
        };
        let (text, done) = to_text(&from, &with_settled());
        assert_eq!((done.conversions, done.settled, done.unread), (1, 1, 0));
        assert_eq!(
            to_text(&from, &Selection { settled_within: Some(Duration::ZERO), ..Selection::default() }).1.settled,
            0
        );
        let take =
            || import(&to, Clock::system(), small(), &mut text.as_bytes(), &mut |_, why| panic!("{why}")).unwrap();
        assert_eq!(take(), Imported { new: 1, settled: 1, ..Imported::default() });
        assert_eq!(take(), Imported { known: 2, ..Imported::default() });
        assert_eq!(lines(&to_text(&to, &with_settled()).0), lines(&text), "{from_key:?} to {to_key:?}");
        let queue = Queue::open_with(&to, Clock::system(), small()).unwrap();
        assert_eq!(settled_status(&queue, one).await, status);
        let Ok(Accepted::Duplicate(first)) = queue.accept(keyed("settled", "12.50")).await else {
            panic!("a second sale")
        };
        assert_eq!(first, status);
        let reused = queue.accept(keyed("settled", "12.51")).await;
        assert!(matches!(reused, Ok(Accepted::KeyReused { first }) if first == one), "{reused:?}");
        let ids = queue.order("acme", "order-settled").await.unwrap().into_iter().map(|status| status.id);
        assert_eq!(ids.collect::<Vec<_>>(), [one]);
        assert_eq!(state(&queue, owed, "a").await, State::Queued);
        assert_eq!(queue.books(all.clone()).await.unwrap().deliveries, books.deliveries);
    }
}

/// A folder with one that is settled, in the history; its id.
async fn with_one_settled(path: &Path) -> ConversionId {
    let queue = open(path, &NAMES);
    let id = accept(&queue, keyed("settled", "12.50")).await;
    for destination in ["a", "b"] {
        queue.settle(&next(&queue, destination).await, delivered(), None);
    }
    queue.close().await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_owed_is_not_taken_without_its_body() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let id = with_one_settled(from.path()).await;
    let work = Work::open(&settings(from.path(), &NAMES), Clock::system(), small()).unwrap();
    let mut found = None;
    let mut visit = |met| {
        if let Met::Settled(settled) = met {
            found = Some(settled);
        }
    };
    work.shared.history.scan(&(0..=u64::MAX), &|| false, &mut visit).unwrap();
    let mut settled = found.unwrap();
    assert_eq!(settled.id, id);
    settled.legs[0].position = Position::Fresh;
    let (mut written, mut trailer) = (Lines::default(), Trailer::default());
    trailer.count_settled();
    let mut text = written.header("2026-01-01T00:00:00Z").unwrap();
    text.push_str(&written.settled(*settled).unwrap());
    text.push_str(&written.trailer(&trailer).unwrap());
    refused_at(to.path(), &text, 2, 0, "`body` is not of the form of an export");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_one_is_taken_though_the_budget_is_spent_or_another_uses_its_key() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settled = with_one_settled(from.path()).await;
    let queue = open(from.path(), &NAMES);
    let owed = accept(&queue, submission_of("owed", 9, &["c"])).await;
    queue.close().await.unwrap();
    drop(queue);
    let text = exported(from.path(), &with_settled());
    // Another has its key, and there is room for one that is owed.
    let queue = open(to.path(), &NAMES);
    let user = accept(&queue, keyed("settled", "12.50")).await;
    for destination in ["a", "b"] {
        queue.settle(&next(&queue, destination).await, delivered(), None);
    }
    queue.close().await.unwrap();
    drop(queue);
    let full = Settings { pending_bytes_max: 1, ..settings(to.path(), &NAMES) };
    let take = || import(&full, Clock::system(), small(), &mut text.as_bytes(), &mut |_, why| panic!("{why}")).unwrap();
    assert_eq!(take(), Imported { new: 1, settled: 1, ..Imported::default() });
    let queue = open(to.path(), &NAMES);
    for id in [settled, owed, user] {
        assert!(queue.status(id).await.unwrap().is_some());
    }
    assert!(matches!(queue.accept(keyed("settled", "12.50")).await, Ok(Accepted::Duplicate(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_history_costs_an_export_what_is_damaged_alone() {
    let from = tempfile::tempdir().unwrap();
    let queue = open(from.path(), &["a"]);
    let mut ids = Vec::new();
    let said = Attempt { excerpt: Some("x".repeat(500)), ..attempt(200, Verdict::Delivered) };
    // So many a commit.
    for batch in 0..6 {
        for number in 0..20 {
            ids.push(accept(&queue, submission_of(&format!("settled {batch} {number}"), 9, &["a"])).await);
            queue.settle(&next(&queue, "a").await, delivered(), Some(said.clone()));
        }
        eventually("it is in the history", async || metric(&queue, "window_conversions") == 0).await;
    }
    let owed = accept(&queue, submission_of("owed", 9, &["b"])).await;
    queue.close().await.unwrap();
    drop(queue);
    let segments = segment::numbers(&from.path().join("history")).unwrap();
    assert!(segments.len() > 1, "one of them is full: {segments:?}");
    let first = segment::path(&from.path().join("history"), segments[0]);
    let mut bytes = std::fs::read(&first).unwrap();
    let (whole, at) = (bytes.clone(), usize::try_from(segment::DATA_START).unwrap() + 500);
    bytes[at] ^= 1;
    std::fs::write(&first, &bytes).unwrap();
    let mut out = Vec::new();
    let mut to_text = || {
        out.clear();
        let settings = settings(from.path(), &NAMES);
        let done = export(&settings, Clock::system(), small(), &with_settled(), &mut out).unwrap();
        (done, String::from_utf8(out.clone()).unwrap())
    };
    let (done, text) = to_text();
    assert_eq!((done.conversions, done.unread), (1, 0));
    assert!(done.unread_history > 0 && (80..120).contains(&done.settled), "{done:?}");
    assert!(text.contains(&owed.to_string()) && text.contains(&ids[119].to_string()));
    std::fs::write(&first, &whole).unwrap();
    let (done, _) = to_text();
    assert_eq!((done.settled, done.unread_history), (120, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_can_be_read_no_more_is_counted_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut mark = Vec::new();
    for batch in 0..4 {
        // Each process begins with what the one before has left, and fills the rest of a segment.
        let queue = open(dir.path(), &["a"]);
        for number in 0..30 {
            let id = accept(&queue, submission_of(&format!("read {batch} {number}"), 9, &["a"])).await;
            let said = Attempt { excerpt: Some("x".repeat(500)), ..attempt(200, Verdict::Delivered) };
            queue.settle(&next(&queue, "a").await, delivered(), Some(said));
            mark.push(id);
        }
        queue.close().await.unwrap();
    }
    let work = Work::open(&settings(dir.path(), &NAMES), Clock::system(), small()).unwrap();
    let history = dir.path().join("history");
    let segments = segment::numbers(&history).unwrap();
    assert!(segments.len() > 1, "{segments:?}");
    let scanned = || {
        let (mut settled, mut unread) = (Vec::new(), 0);
        let mut visit = |met| match met {
            Met::Settled(one) => settled.push(one.id),
            Met::Unread(records) => unread += records,
            Met::Forgotten(id) => panic!("{id} was forgotten"),
        };
        work.shared.history.scan(&(0..=u64::MAX), &|| false, &mut visit).unwrap();
        (settled, unread)
    };
    assert_eq!(scanned(), (mark.clone(), 0));
    let first = segment::path(&history, segments[0]);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[..64].fill(0);
    std::fs::write(&first, &bytes).unwrap();
    let (settled, unread) = scanned();
    assert!(!settled.is_empty() && mark.ends_with(&settled) && settled.len() < mark.len());
    // With each commit comes a record that says how far it goes.
    let lost = u64::try_from(mark.len() - settled.len()).unwrap();
    assert!((lost + 1..lost + 40).contains(&unread), "{lost} are lost, {unread} unread");
}

/// Takes so many bytes.
struct Short(usize);

impl Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_cannot_be_written_says_so_wherever_it_ended() {
    let from = tempfile::tempdir().unwrap();
    with_one_settled(from.path()).await;
    let text = exported(from.path(), &with_settled());
    let to = |bytes| {
        let settings = settings(from.path(), &NAMES);
        export(&settings, Clock::system(), small(), &with_settled(), &mut Short(bytes))
    };
    // The time in the header may be written shorter or longer.
    for bytes in [0, 60, 200, text.len() - 20] {
        assert!(matches!(to(bytes), Err(TransferError::Write(_))), "{bytes}");
    }
    assert_eq!(to(text.len() + 20).unwrap().settled, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_settled_before_the_folder_was_encrypted_goes_along_too() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = |path: &Path, key: Option<u8>| Settings { encryption: key.map(encryption), ..settings(path, &NAMES) };
    let mut ids = Vec::new();
    for (event_id, key) in [("plain", None), ("sealed", Some(1))] {
        let queue = Queue::open_with(&folder(from.path(), key), Clock::system(), small()).unwrap();
        ids.push(accept(&queue, submission_of(event_id, 9, &["a"])).await);
        queue.settle(&next(&queue, "a").await, delivered(), None);
        queue.close().await.unwrap();
    }
    let mut out = Vec::new();
    let done = export(&folder(from.path(), Some(1)), Clock::system(), small(), &with_settled(), &mut out).unwrap();
    assert_eq!((done.settled, done.unread_history), (2, 0));
    let to = folder(to.path(), Some(2));
    let done = import(&to, Clock::system(), small(), &mut out.as_slice(), &mut |_, why| panic!("{why}")).unwrap();
    assert_eq!(done.settled, 2);
    let queue = Queue::open_with(&to, Clock::system(), small()).unwrap();
    for (event_id, id) in ["plain", "sealed"].into_iter().zip(ids) {
        let again = queue.accept(submission_of(event_id, 9, &["a"])).await;
        assert!(matches!(again, Ok(Accepted::Duplicate(first)) if first.id == id));
    }
}

/// As the version before wrote it: without anything that is settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_form_is_read_and_a_later_one_is_refused_in_words() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let queue = open(from.path(), &NAMES);
    let id = accept(&queue, submission_of("first form", 9, &["a"])).await;
    queue.close().await.unwrap();
    drop(queue);
    let text = exported(from.path(), &Selection::default());
    let mut crc = 0;
    let mut of_form = |form: &str| -> String {
        crc = 0;
        let changed = text.lines().enumerate().map(|(number, line)| {
            let (line, _) = line.rsplit_once(",\"crc32c\"").unwrap();
            let line = line.replace("\"capi_relay_export\":2", form).replace(",\"settled\":0", "");
            // The header has a checksum of its own.
            let made = if number == 0 { 0 } else { crc };
            let made = crc32c::crc32c_append(made, format!("{line}}}").as_bytes());
            crc = if number == 0 { 0 } else { made };
            format!("{line},\"crc32c\":\"{made:08x}\"}}\n")
        });
        changed.collect()
    };
    refused_at(to.path(), &of_form("\"capi_relay_export\":3"), 1, 0, "has form 3, and this version reads 1 to 2");
    let first = of_form("\"capi_relay_export\":1");
    assert!(!first.contains("settled"));
    assert_eq!(imported(to.path(), &first).unwrap().0, new(1));
    assert_eq!(state(&open(to.path(), &NAMES), id, "a").await, State::Queued);
}
