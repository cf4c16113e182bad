//! Ends without a close: a child process that is killed, a handle that is dropped, a first start cut short, a history
//! without a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// Everything in a reopened folder that is still owed, by destination; nothing may be handed out twice.
async fn owed(queue: &Queue, destination: &str) -> BTreeSet<ConversionId> {
    let mut found = BTreeSet::new();
    let mut held = Vec::new();
    for _ in 0..pending(queue, destination) {
        let delivery = next(queue, destination).await;
        assert!(found.insert(delivery.meta().id), "handed out twice");
        held.push(delivery);
    }
    assert!(nothing(queue, destination).await, "more is handed out than is counted");
    found
}

/// Names the folder that the child works on; without it the child's part is not played.
const CHILD: &str = "CAPI_RELAY_TEST_KILLED_CHILD";

/// One line, written whole: what was written before a kill is read after it.
fn say(what: &str, id: ConversionId) {
    std::io::stdout().write_all(format!("\n{what} {id}\n").as_bytes()).unwrap();
}

/// The child's part of the test below: accepts and settles until it is killed, and says what it has been promised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_that_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let queue = open(Path::new(&path), &["a", "b"]);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let queue = queue.clone();
        tasks.spawn(async move {
            loop {
                // A key that no earlier child has used.
                let event_id = id_at(Clock::system().unix_ms()).to_string();
                match queue.accept(submission_of(&event_id, 300, &["a", "b"])).await {
                    Ok(Accepted::New(status)) => say("accepted", status.id),
                    other => eprintln!("not accepted: {other:?}"),
                }
            }
        });
    }
    let (mut turn, destination) = (0_u64, name("a"));
    loop {
        let delivery = tokio::select! {
            reason = queue.failed() => panic!("failed: {reason}"),
            delivery = queue.next(&destination) => delivery,
        };
        turn = turn.wrapping_add(1);
        if turn.is_multiple_of(4) {
            let due_ms = Clock::system().unix_ms().saturating_add(20);
            queue.settle(&delivery, Outcome::Retry { due_ms, spent: true }, Some(attempt(503, Verdict::Retry)));
        } else {
            say("settled", delivery.meta().id);
            queue.settle(&delivery, delivered(), Some(attempt(200, Verdict::Delivered)));
        }
    }
}

/// What a child has said when it is killed: at its first word, in the middle of many groups, and after segments were made
/// and given back. Lines and no times, so that a slow machine proves as much.
const LINES_BEFORE_THE_KILL: [usize; 8] = [20, 3, 400, 60, 1000, 150, 37, 600];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_holds_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut accepted, mut settled) = (BTreeSet::new(), BTreeSet::new());
    for (round, before_the_kill) in LINES_BEFORE_THE_KILL.into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "queue::tests::crash::the_child_that_is_killed"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said: Vec<String> = lines.by_ref().take(before_the_kill).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines);
        for line in said {
            match line.split_once(' ') {
                Some(("accepted", id)) => accepted.extend(ConversionId::parse(id)),
                Some(("settled", id)) => settled.extend(ConversionId::parse(id)),
                _ => {}
            }
        }
        let queue = open(dir.path(), &["a", "b"]);
        for id in &accepted {
            let status = queue.status(*id).await.unwrap();
            let status = status.unwrap_or_else(|| panic!("round {round}: {id} is lost"));
            let states: Vec<State> = status.destinations.iter().map(|(_, delivery)| delivery.state).collect();
            assert_eq!(states[1], State::Queued, "round {round}");
            let owed = matches!(states[0], State::Queued | State::Retrying);
            assert!(owed || settled.contains(id), "round {round}: {id} is {states:?} at a");
        }
        let all = pending(&queue, "b");
        assert!(all >= u64::try_from(accepted.len()).unwrap(), "round {round}");
        if round + 1 == LINES_BEFORE_THE_KILL.len() {
            let owed = owed(&queue, "b").await;
            assert!(accepted.is_subset(&owed));
        }
    }
    assert!(accepted.len() > 50 && settled.len() > 20, "{} and {} are too few", accepted.len(), settled.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_like_a_crash_again_and_again_it_keeps_states_and_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: BTreeMap<ConversionId, (State, u32)> = BTreeMap::new();
    for round in 0..12_u64 {
        let queue = open(dir.path(), &["a"]);
        for (id, (known, attempts)) in &expected {
            let status = queue.status(*id).await.unwrap().unwrap();
            let found = &status.destinations[0].1;
            assert_eq!((found.state, found.attempts), (*known, *attempts), "round {round}");
        }
        let waiting = expected.values().filter(|(state, _)| *state == State::Retrying).count();
        assert_eq!(pending(&queue, "a"), u64::try_from(waiting).unwrap());
        for number in 0..20_u64 {
            let id = accept(&queue, submission(&["a"])).await;
            let mut delivery = next(&queue, "a").await;
            assert_eq!(delivery.meta().id, id, "an old one is handed out");
            let due_ms = Clock::system().unix_ms() + 3_600_000;
            match number % 3 {
                0 => {
                    queue.settle(&delivery, delivered(), Some(attempt(200, Verdict::Delivered)));
                    expected.insert(id, (State::Delivered, 1));
                }
                1 => {
                    queue.settle(&delivery, dead("no"), Some(attempt(400, Verdict::Rejected)));
                    expected.insert(id, (State::Dead(DeadKind::Rejected), 1));
                }
                _ => {
                    queue.settle(&delivery, Outcome::Retry { due_ms: 1, spent: true }, None);
                    delivery = next(&queue, "a").await;
                    assert_eq!(delivery.attempt(), 2);
                    queue.settle(&delivery, Outcome::Retry { due_ms, spent: true }, None);
                    expected.insert(id, (State::Retrying, 2));
                }
            }
        }
        // Settlements are lazy: the next commit carries them.
        let last = accept(&queue, submission(&["a"])).await;
        let delivery = next(&queue, "a").await;
        let commits = metric(&queue, "commit_records_count");
        queue.settle(&delivery, delivered(), None);
        expected.insert(last, (State::Delivered, 0));
        if round % 2 == 0 {
            // That of the last finds no company: it is committed by itself in the end.
            eventually("the last one's commit", async || metric(&queue, "commit_records_count") > commits).await;
        } else {
            expected.remove(&last);
            queue.close().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_was_cut_short_is_made_anew() {
    let whole = tempfile::tempdir().unwrap();
    drop(open(whole.path(), &["a"]));
    // Before the state file there is no journal: whatever there is of the store was never used.
    for kept in
        [&["lock"][..], &["lock", "store.1"], &["lock", "store.1", "journal"], &["lock", "store.1", "state", "keys"]]
    {
        let dir = tempfile::tempdir().unwrap();
        for part in kept {
            let (from, to) = (whole.path().join(part), dir.path().join(part));
            if *part == "keys" && !from.exists() {
                continue;
            }
            if from.is_dir() && *part == "journal" {
                std::fs::create_dir(to).unwrap();
            } else if from.is_dir() {
                copy_folder(&from, &to);
            } else {
                std::fs::copy(from, to).unwrap();
            }
        }
        if kept.contains(&"state") {
            let queue = Queue::open_with(&settings(dir.path(), &["a"]), Clock::system(), small());
            assert!(queue.unwrap_err().to_string().contains("journal segment"), "a lost journal is noticed");
            continue;
        }
        let queue = open(dir.path(), &["a"]);
        accept(&queue, submission(&["a"])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_file_of_the_history_left_it_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), &["a", "b"]);
    let clock = Clock::system();
    let queue = Queue::open_with(&settings, clock.clone(), small()).unwrap();
    let settled = accept(&queue, submission(&["a"])).await;
    let owed = accept(&queue, submission(&["b"])).await;
    queue.settle(&next(&queue, "a").await, delivered(), None);
    eventually("it is history", async || metric(&queue, "window_conversions") == 0).await;
    clock.set_forward(2 * settings.history_keep);
    eventually("forgotten", async || queue.status(settled).await.unwrap().is_none()).await;
    let segments = || std::fs::read_dir(dir.path().join("history")).unwrap().count();
    eventually("its file is gone", async || segments() == 0).await;
    let mut third = submission(&[]);
    third.meta.id = id_at(clock.unix_ms());
    let third = accept(&queue, third).await;
    drop(queue);
    let queue = Queue::open_with(&settings, clock, small()).unwrap();
    assert!(queue.status(third).await.unwrap().is_some());
    assert_eq!(state(&queue, owed, "b").await, State::Queued);
}

/// One group had a conversion that waits, for the store, and one that was settled, for the history. The crash came between the
/// two, and before the settlement was in the journal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_history_has_as_settled_is_not_sent_again() {
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let queue = open(before.path(), &["a", "b"]);
    // There is a segment of the history from here on.
    accept(&queue, submission(&["a"])).await;
    queue.settle(&next(&queue, "a").await, delivered(), Some(attempt(200, Verdict::Delivered)));
    eventually("moved", async || metric(&queue, "window_conversions") == 0).await;
    drop(queue);
    let slow = Options { linger: Duration::from_secs(3600), ..small() };
    let queue = Queue::open_with(&settings(before.path(), &["a", "b"]), Clock::system(), slow).unwrap();
    // What came after the one that lingers goes with it, when the queue is closed.
    let waits = accept(&queue, submission(&["b"])).await;
    let settled = accept(&queue, submission(&["a"])).await;
    copy_folder(before.path(), after.path());
    queue.settle(&next(&queue, "a").await, delivered(), Some(attempt(200, Verdict::Delivered)));
    queue.close().await.unwrap();
    drop(queue);
    std::fs::remove_dir_all(after.path().join("history")).unwrap();
    copy_folder(&before.path().join("history"), &after.path().join("history"));
    let queue = open(after.path(), &["a", "b"]);
    assert_eq!(state(&queue, settled, "a").await, State::Delivered);
    assert_eq!(owed(&queue, "a").await, BTreeSet::new());
    assert_eq!(owed(&queue, "b").await, BTreeSet::from([waits]));
}
