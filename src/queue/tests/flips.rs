//! A bit that turns over on the disk, in any file of a closed folder: it is noticed and said, or does no harm. What is
//! handed out is what was accepted, to the byte.
//!
//! `CAPI_RELAY_TEST_FLIPS` sets how many bits are tried, `CAPI_RELAY_TEST_SEED` which.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;

const CONVERSIONS: usize = 240;
const FLIPS: u64 = 160;

/// What was accepted, and what became of it at `a` and `b` over time.
struct Given {
    body: Bytes,
    states: [Vec<State>; 2],
}

type Known = BTreeMap<ConversionId, Given>;

/// Files by name.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A closed folder with something in every state and every place: delivered, retrying, dead, discarded, fresh; in the
/// journal, the store and the history; bodies of one piece and of many.
async fn used(path: &Path) -> Known {
    let mut known = Known::new();
    for half in 0..2 {
        let queue = open(path, &["a", "b"]);
        let year_ms = Clock::system().unix_ms().saturating_add(365 * 86_400_000);
        for number in 0..CONVERSIONS / 2 {
            let owed = if number % 3 == 0 { &["a", "b"][..] } else { &["a"] };
            let handed_in = submission_of(&format!("flip-{half}-{number}"), [200, 900, 9000][number % 3], owed);
            let body = handed_in.body.clone();
            let id = accept(&queue, handed_in).await;
            let delivery = next(&queue, "a").await;
            assert_eq!(delivery.meta().id, id);
            let (outcome, state) = match number % 8 {
                0 => (Outcome::Retry { due_ms: year_ms, spent: true }, State::Retrying),
                1 => (dead("no"), State::Dead(DeadKind::Rejected)),
                2 => {
                    drop(delivery);
                    let held = next(&queue, "a").await;
                    queue.settle(&held, Outcome::Retry { due_ms: 1, spent: true }, Some(attempt(503, Verdict::Retry)));
                    let held = next(&queue, "a").await;
                    queue.settle(&held, delivered(), Some(attempt(200, Verdict::Delivered)));
                    let states = [vec![State::Queued, State::Retrying, State::Delivered], vec![State::Queued]];
                    known.insert(id, Given { body, states });
                    continue;
                }
                _ => (delivered(), State::Delivered),
            };
            queue.settle(&delivery, outcome, Some(attempt(200, Verdict::Delivered)));
            known.insert(id, Given { body, states: [vec![State::Queued, state], vec![State::Queued]] });
        }
        let dead = dead_letters(&queue, DeadFilter::default()).await;
        for letter in dead.iter().step_by(4) {
            let filter = DeadFilter { ids: Some(vec![letter.id]), ..DeadFilter::default() };
            queue.treat(filter, Treatment::Discard { reason: "dealt with".to_owned() }).await.unwrap();
            known.get_mut(&letter.id).unwrap().states[0].push(State::Discarded);
        }
        queue.close().await.unwrap();
    }
    // The last ones are in the journal alone.
    let slow = Options { linger: Duration::from_secs(3600), window_bytes: 1 << 24, ..small() };
    let queue = Queue::open_with(&settings(path, &["a", "b"]), Clock::system(), slow).unwrap();
    for number in 0..20 {
        let handed_in = submission_of(&format!("flip-last-{number}"), 700, &["a", "b"]);
        let body = handed_in.body.clone();
        let states = [vec![State::Queued], vec![State::Queued]];
        known.insert(accept(&queue, handed_in).await, Given { body, states });
    }
    drop(queue);
    known
}

fn read_files(folder: &Path, below: &Path, files: &mut Files) {
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            read_files(folder, &name, files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn write_files(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// What a folder with one bit turned over was good for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Not opened, and it was said why.
    Refused,
    /// Opened; something was not found, and that was said.
    Told,
    /// Something is taken to stand where it stood before: it may be done again.
    Again,
    /// As it was.
    Whole,
}

/// Opens the folder and holds all that it says and hands out to what was accepted.
async fn look(folder: &Path, known: &Known, what: &str) -> End {
    let opened = catch_unwind(|| Queue::open_with(&settings(folder, &["a", "b"]), Clock::system(), small()));
    let queue = match opened.unwrap_or_else(|_| panic!("{what}: opening panicked")) {
        Ok(queue) => queue,
        Err(error) => {
            assert!(error.to_string().len() > 40, "{what}: {error}");
            return End::Refused;
        }
    };
    let (mut told, mut missing, mut again) = (Vec::new(), Vec::new(), false);
    let mut owed = [BTreeSet::new(), BTreeSet::new()];
    let (depths, mut counted) = (queue.depths(), [(0, 0); 2]);
    for (id, accepted) in known {
        let status = match queue.status(*id).await {
            Ok(Some(status)) => status,
            Ok(None) => {
                missing.push(*id);
                continue;
            }
            Err(error) => {
                told.push(error.to_string());
                continue;
            }
        };
        for (destination, delivery) in &status.destinations {
            let index = usize::from(destination.as_str() == "b");
            let states = &accepted.states[index];
            assert!(states.contains(&delivery.state), "{what}: {id} is {:?}, never one of {states:?}", delivery.state);
            again |= states.last() != Some(&delivery.state);
            if matches!(delivery.state, State::Queued) {
                owed[index].insert(*id);
            }
            counted[index].0 += u64::from(matches!(delivery.state, State::Queued | State::Retrying));
            counted[index].1 += u64::from(matches!(delivery.state, State::Dead(_)));
        }
    }
    for (index, text) in ["a", "b"].into_iter().enumerate() {
        // What was said may be what hinders it: then nobody waits for it.
        let patience = if told.is_empty() { PATIENCE } else { Duration::from_secs(2) };
        told.extend(hand_out(&queue, text, &mut owed[index], known, what, patience).await);
    }
    told.extend(tokio::time::timeout(Duration::ZERO, queue.failed()).await.ok());
    // The journal's very last commit, damaged, looks like one that a crash has torn: there is none behind it.
    missing.retain(|id| known.last_key_value().is_none_or(|(last, _)| last != id || !what.contains("journal/")));
    let lost: usize = owed.iter().map(BTreeSet::len).sum();
    assert!(missing.is_empty() || !told.is_empty(), "{what}: {missing:?} are not found, and nothing is said");
    assert!(lost == 0 || !told.is_empty(), "{what}: {lost} are owed and not handed out, and nothing is said");
    // The accounts: what is not settled is pending or dead.
    let reported =
        ["a", "b"].map(|text| depths.destinations.get(&name(text)).map_or((0, 0), |of| (of.pending, of.dead.total())));
    assert!(reported == counted || !told.is_empty(), "{what}: {reported:?} are told, {counted:?} found");
    match (told.is_empty(), again) {
        (false, _) => End::Told,
        (true, true) => End::Again,
        (true, false) => End::Whole,
    }
}

/// Takes all that a destination is owed and compares it; returns why there is no more, if that was said.
async fn hand_out(
    queue: &Queue,
    text: &str,
    owed: &mut BTreeSet<ConversionId>,
    known: &Known,
    what: &str,
    patience: Duration,
) -> Option<String> {
    let (destination, mut held, mut seen) = (name(text), Vec::new(), BTreeSet::new());
    loop {
        let patience = if owed.is_empty() { Duration::from_millis(1) } else { patience };
        let delivery = tokio::select! {
            reason = queue.failed() => return Some(reason),
            delivery = tokio::time::timeout(patience, queue.next(&destination)) => delivery,
        };
        let Ok(delivery) = delivery else { return None };
        let id = delivery.meta().id;
        let accepted = known.get(&id).unwrap_or_else(|| panic!("{what}: {id} was never accepted"));
        assert_eq!(delivery.lease.record.body, accepted.body, "{what}: {id} has another body");
        assert!(seen.insert(id), "{what}: {id} is handed out twice");
        owed.remove(&id);
        held.push(delivery);
    }
}

/// The next of a row of numbers that look random.
fn roll(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var_os(variable).map(|text| text.to_str().unwrap().parse().unwrap())
}

/// One bit: most often in the store or the backlog, and where something is written.
fn choose(files: &Files, seed: &mut u64) -> (PathBuf, usize, u8) {
    let below = |seed: &mut u64, count: usize| usize::try_from(roll(seed)).unwrap() % count;
    let is_stored = |name: &&PathBuf| name.ends_with("db") || name.starts_with("backlog");
    let in_store: Vec<&PathBuf> = files.keys().filter(is_stored).collect();
    let names: Vec<&PathBuf> = files.iter().filter(|(_, bytes)| !bytes.is_empty()).map(|(name, _)| name).collect();
    let name = if roll(seed) % 5 < 2 { in_store[below(seed, in_store.len())] } else { names[below(seed, names.len())] };
    let bytes = &files[name];
    let mut at = below(seed, bytes.len());
    // Unwritten parts now and then.
    for _ in 0..200 {
        if bytes[at] != 0 || roll(seed).is_multiple_of(50) {
            break;
        }
        at = below(seed, bytes.len());
    }
    (name.clone(), at, 1 << (roll(seed) % 8))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bit_that_turns_over_is_noticed_or_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("used");
    let known = Arc::new(used(&folder).await);
    let mut files = Files::new();
    read_files(&folder, Path::new(""), &mut files);
    let untouched = dir.path().join("untouched");
    write_files(&untouched, &files);
    assert_eq!(look(&untouched, &known, "no bit").await, End::Whole);

    let first = number_from("CAPI_RELAY_TEST_SEED").unwrap_or_else(rand::random);
    println!("CAPI_RELAY_TEST_SEED={first}");
    let mut seed = first;
    let flips = number_from("CAPI_RELAY_TEST_FLIPS").unwrap_or(FLIPS);
    let bits: Vec<_> = (0..flips).map(|_| choose(&files, &mut seed)).collect();
    let (left, files) = (Arc::new(Mutex::new(bits)), Arc::new(files));
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..2 {
        let (left, known, files) = (Arc::clone(&left), Arc::clone(&known), Arc::clone(&files));
        let (folder, runtime) = (dir.path().join(format!("worker-{worker}")), tokio::runtime::Handle::current());
        workers.spawn_blocking(move || {
            let mut ends = Vec::new();
            let next = || left.lock().unwrap().pop();
            while let Some((name, at, bit)) = next() {
                let mut turned = Files::clone(&files);
                turned.get_mut(&name).unwrap()[at] ^= bit;
                write_files(&folder, &turned);
                let what = format!("bit {bit:#04x} of byte {at} of {}", name.display());
                let end = catch_unwind(AssertUnwindSafe(|| runtime.block_on(look(&folder, &known, &what)))).ok();
                std::fs::remove_dir_all(&folder).unwrap();
                ends.push((name, what, end));
            }
            ends
        });
    }
    let ends: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    let mut counts = BTreeMap::<(String, Option<&End>), usize>::new();
    for (name, what, end) in &ends {
        let file = name.to_string_lossy().replace(|c: char| c.is_ascii_hexdigit() && c.is_ascii_digit(), "");
        *counts.entry((file, end.as_ref())).or_default() += 1;
        if *end == Some(End::Again) {
            println!("again: {what}");
        }
    }
    println!("{counts:#?}");
    let wrong: Vec<&String> = ends.iter().filter(|(_, _, end)| end.is_none()).map(|(_, what, _)| what).collect();
    assert!(wrong.is_empty(), "{} of {flips} with seed {first}: {wrong:#?}", wrong.len());
    assert!(ends.iter().any(|(_, _, end)| *end != Some(End::Whole)), "no bit was one that matters");
}
