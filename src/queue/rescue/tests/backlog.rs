//! What is damaged of the store and its backlog, and what is had back.

use super::*;
use crate::queue::backlog::tests::{damage, damage_block};
use crate::queue::log::segment;

/// So many that the journal has given up its first segment; one is dead, one waits, some are delivered, one is forgotten.
async fn mostly_moved(path: &Path) -> (Vec<ConversionId>, ConversionId) {
    let queue = opened(path, small()).unwrap();
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(accept(&queue, submission_of(&format!("first {number}"), 200, &["a"])).await);
    }
    eventually("they are moved", async || metric(&queue, "window_conversions") == 0).await;
    let again = Outcome::Retry { due_ms: u64::MAX, spent: true };
    for outcome in [again, dead("refused"), delivered(), delivered()] {
        queue.settle(&next(&queue, "a").await, outcome, Some(attempt(503, Verdict::Retry)));
    }
    let forgotten = ids[4];
    queue.forget(Forget::Conversion(forgotten)).await.unwrap();
    for number in 0..300 {
        ids.push(accept(&queue, submission_of(&format!("more {number}"), 200, &["b"])).await);
    }
    let first = segment::path(&path.join("journal"), 1);
    eventually("the first segment is given up", async || !first.exists()).await;
    queue.close().await.unwrap();
    (ids, forgotten)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_store_lacks_of_a_conversion_that_is_whole_is_made_again() {
    let lacks = [
        ("s", "conversions stand as they were taken over, for what became of them is lost"),
        ("q", "entries by which deliveries are found are lost"),
        ("x", "entries by which deliveries are found are lost"),
    ];
    for (table, words) in lacks {
        let dir = tempfile::tempdir().unwrap();
        let queue = opened(dir.path(), small()).unwrap();
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(accept(&queue, submission_of(&format!("whole {number}"), 200, &["a"])).await);
        }
        eventually("all is moved", async || metric(&queue, "window_conversions") == 0).await;
        let soon = Outcome::Retry { due_ms: 1, spent: true };
        for outcome in [soon, dead("refused")] {
            queue.settle(&next(&queue, "a").await, outcome, Some(attempt(503, Verdict::Retry)));
        }
        queue.close().await.unwrap();
        drop(queue);
        let store = open_sled(&dir.path().join("store.1"));
        let entries: Vec<_> = store.scan_prefix(table).keys().collect::<Result<_, _>>().unwrap();
        entries.iter().for_each(|key| drop(store.remove(key).unwrap()));
        store.flush().unwrap();
        drop(store);
        // It would say again what became of them.
        std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
        let Recovered { survey, aside, .. } = recovered(dir.path());
        assert!(survey.store.unwrap().starts_with(&format!("{} {words}", entries.len())));
        assert!(survey.store_stays && aside.iter().all(|path| !path.join("db").exists()), "{aside:?}");
        let queue = opened(dir.path(), small()).unwrap();
        let is_set_back = table == "s";
        let dead = dead_letters(&queue, DeadFilter::default()).await.len();
        assert_eq!(dead, usize::from(!is_set_back), "{table}");
        let mut sent = Vec::new();
        for _ in dead..3 {
            let delivery = next(&queue, "a").await;
            sent.push(delivery.meta().id);
            queue.settle(&delivery, delivered(), None);
        }
        sent.sort_unstable();
        let wanted: Vec<_> = if is_set_back { ids } else { vec![ids[0], ids[2]] };
        assert_eq!(sent, wanted, "{table}");
        queue.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_in_a_store_that_is_lost_is_taken_up_from_the_backlogs_own_files() {
    let dir = tempfile::tempdir().unwrap();
    let (ids, forgotten) = mostly_moved(dir.path()).await;
    let state = crate::queue::folder::read_state(dir.path()).unwrap().unwrap();
    zero(&store::dir(dir.path(), state.generation).join("db"), 0);
    let held = survey(&settings(dir.path(), &NAMES)).unwrap().conversions;
    assert!(held < 310, "the journal still holds all {held}");
    let Recovered { taken_up, rebuilt, too_old, .. } = recovered(dir.path());
    // But for two that are delivered and one that is forgotten.
    assert_eq!((taken_up + rebuilt, too_old), (307, 0));
    let queue = opened(dir.path(), small()).unwrap();
    let depths = queue.depths();
    // What became of one that waited and of a dead one was the store's alone, unless the journal still has it.
    assert_eq!(depths.destinations[&name("a")].pending + depths.destinations[&name("a")].dead.total(), 7);
    assert_eq!(depths.destinations[&name("b")].pending, 300);
    for id in &ids {
        let state = queue.status(*id).await.unwrap().map(|status| status.destinations[0].1.state);
        let is_done = state == Some(State::Delivered);
        assert_eq!(is_done, ids[2..4].contains(id), "{state:?}");
        assert!(state.is_some() || *id == forgotten);
    }
    for _ in 0..300 {
        queue.settle(&next(&queue, "b").await, delivered(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_of_the_backlog_that_is_lost_costs_what_lay_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { backlog_bytes: 16 * 1024, ..small() };
    let queue = opened(dir.path(), options()).unwrap();
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(accept(&queue, submission_of(&format!("some {number}"), 600, &["b"])).await);
        if number % 20 == 19 {
            eventually("they are moved", async || metric(&queue, "window_conversions") == 0).await;
        }
    }
    queue.close().await.unwrap();
    drop(queue);
    let backlog = dir.path().join("backlog");
    let numbers = segment::numbers(&backlog).unwrap();
    assert!(numbers.len() > 3, "{numbers:?}");
    std::fs::remove_file(segment::path(&backlog, numbers[1])).unwrap();
    // What the journal still has is had back from it.
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let text = opened(dir.path(), options()).expect_err("it was opened").to_string();
    assert!(text.contains(&format!("backlog segment {:016x} is missing", numbers[1])), "{text}");
    let Recovered { survey, taken_up, .. } = recovered(dir.path());
    assert!(survey.store_stays && survey.store.unwrap().ends_with("blocks of the backlog are damaged"));
    assert_eq!(taken_up, 0);
    let queue = opened(dir.path(), options()).unwrap();
    let left = queue.depths().destinations[&name("b")].pending;
    assert!((100..200).contains(&left), "{left} are left");
    for _ in 0..left {
        queue.settle(&next(&queue, "b").await, delivered(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_of_the_backlog_costs_itself_alone_and_nothing_that_the_journal_holds() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 2] = [
        (|dir| damage(dir, 1), "1 conversions of the backlog are damaged"),
        (damage_block, "1 blocks of the backlog are damaged"),
    ];
    for (damage, words) in damages {
        let dir = tempfile::tempdir().unwrap();
        let queue = opened(dir.path(), small()).unwrap();
        let mut ids = Vec::new();
        for number in 0..4 {
            ids.push(accept(&queue, submission_of(&format!("first {number}"), 200, &["a", "b"])).await);
        }
        let again = Outcome::Retry { due_ms: u64::MAX, spent: true };
        for outcome in [again.clone(), again, dead("refused")] {
            queue.settle(&next(&queue, "a").await, outcome, Some(attempt(503, Verdict::Retry)));
        }
        for number in 0..300 {
            ids.push(accept(&queue, submission_of(&format!("more {number}"), 200, &["b"])).await);
        }
        let journal = dir.path().join("journal");
        let released = || !segment::path(&journal, 1).exists();
        eventually("the first segment is given up", async || released()).await;
        queue.close().await.unwrap();
        drop(queue);
        damage(dir.path());
        let segments = contents(&dir.path().join("backlog"));
        let Recovered { survey, aside, taken_up, .. } = recovered(dir.path());
        assert!(survey.store.unwrap().starts_with(words) && survey.store_stays);
        // A copy: whatever is erased of the one in its place.
        assert!(aside.len() == 1 && std::fs::metadata(&aside[0]).unwrap().nlink() == 1, "{aside:?}");
        assert!(segments.values().any(|segment| *segment == std::fs::read(&aside[0]).unwrap()));
        let queue = opened(dir.path(), small()).unwrap();
        let mut lost = 0;
        for id in &ids {
            lost += u64::from(queue.status(*id).await.unwrap().is_none());
        }
        // A block has no more than 128; what lies in an earlier one, too, is had back.
        let is_right = if words.contains("conversions") {
            (lost, taken_up) == (1, 0)
        } else {
            lost <= 128 && lost + taken_up >= 1
        };
        assert!(is_right, "{words}: {lost} are lost, {taken_up} taken up");
        let depths = queue.depths();
        assert_eq!(depths.destinations[&name("b")].pending, 304 - lost);
        let listed = dead_letters(&queue, DeadFilter::default()).await.len();
        assert_eq!(depths.destinations[&name("a")].dead.total(), u64::try_from(listed).unwrap());
        for _ in 0..304 - lost {
            queue.settle(&next(&queue, "b").await, delivered(), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_is_cut_short_is_refused_until_it_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let ids = filled(dir.path(), roomy()).await;
    let before = seen_in_copy(dir.path(), &ids).await;
    let store = open_sled(&dir.path().join("store.1"));
    store.remove(store.scan_prefix("b").next().unwrap().unwrap().0).unwrap();
    store.flush().unwrap();
    drop(store);
    let settings = settings(dir.path(), &NAMES);
    let Parts { store, damage, .. } = look(&settings, &roomy()).unwrap();
    let (quarantine, _) = begin(dir.path()).unwrap();
    // What is damaged is taken out, and nothing is had back yet.
    drop(without(damage, dir.path(), store.unwrap(), &quarantine, &mut Vec::new()).unwrap());
    refused(dir.path(), 204);
    let Recovered { survey, taken_up, .. } = recovered(dir.path());
    assert_eq!(survey.store.as_deref(), Some("the store was being recovered, and that was not ended"));
    assert_eq!(taken_up, 4);
    goes_on(dir.path(), &before, &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_up_anew_has_nothing_of_what_became_of_it_before() {
    let dir = tempfile::tempdir().unwrap();
    let queue = opened(dir.path(), small()).unwrap();
    let id = accept(&queue, submission_of("twice", 200, &["a", "b"])).await;
    eventually("it is moved", async || metric(&queue, "window_conversions") == 0).await;
    queue.settle(&next(&queue, "a").await, delivered(), None);
    queue.close().await.unwrap();
    drop(queue);
    let store = open_sled(&dir.path().join("store.1"));
    store.remove(store.scan_prefix("b").next().unwrap().unwrap().0).unwrap();
    store.flush().unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let Recovered { survey, taken_up, .. } = recovered(dir.path());
    assert!(survey.store.unwrap().contains("1 entries are of conversions that are not there"));
    assert_eq!(taken_up, 1);
    let queue = opened(dir.path(), small()).unwrap();
    for destination in NAMES {
        let delivery = next(&queue, destination).await;
        assert_eq!(delivery.meta().id, id);
        queue.settle(&delivery, delivered(), None);
    }
    queue.close().await.unwrap();
    drop(queue);
    let queue = opened(dir.path(), small()).unwrap();
    assert_eq!(state(&queue, id, "a").await, State::Delivered);
    assert_eq!(queue.depths().destinations[&name("a")].pending, 0);
    assert_eq!(queue.depths().destinations[&name("b")].pending, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_which_the_index_alone_is_damaged_says_what_was_settled() {
    let dir = tempfile::tempdir().unwrap();
    let ids = filled(dir.path(), roomy()).await;
    let before = seen_in_copy(dir.path(), &ids).await;
    let segment = segment::path(&dir.path().join("history"), 1);
    let len = std::fs::metadata(&segment).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(b"damage", len - 92 - 100).unwrap();
    zero(&dir.path().join("store.1/db"), 0);
    let Recovered { survey, taken_up, too_old, .. } = recovered(dir.path());
    assert!(survey.store.is_some() && survey.history.is_some());
    assert_eq!((taken_up, too_old), (4, 0));
    goes_on(dir.path(), &before, &ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_settled_is_not_taken_up_and_the_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), roomy()).await;
    let segments = contents(&dir.path().join("backlog"));
    let history = segment::path(&dir.path().join("history"), 1);
    std::fs::OpenOptions::new().write(true).open(&history).unwrap().write_all_at(b"damage", 4096 + 60).unwrap();
    let store = open_sled(&dir.path().join("store.1"));
    store.remove(store.scan_prefix("b").next().unwrap().unwrap().0).unwrap();
    store.flush().unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let Recovered { taken_up, too_old, aside, .. } = recovered(dir.path());
    assert_eq!((taken_up, too_old), (0, 4));
    opened(dir.path(), roomy()).unwrap().close().await.unwrap();
    let kept = aside.iter().filter(|path| path.to_string_lossy().contains("recovered-backlog"));
    let kept: Vec<Vec<u8>> = kept.map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(kept, segments.into_values().collect::<Vec<_>>());
}
