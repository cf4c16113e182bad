//! System calls that fail while segments are rolled and given up, the store is filled, and its file is given back: a child
//! process with small sizes works on a folder, and the nth call of a kind on a part of the folder fails.
//!
//! What the whole relay makes of such faults is shown by the integration tests; this is about the paths that it takes
//! seldom. `CAPI_RELAY_TEST_FAULTS=all` takes every n instead of some.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::generation::always;
use super::*;

/// Names the folder that the child works on; without it the child's part is not played.
const CHILD: &str = "CAPI_RELAY_TEST_BROKEN_CHILD";
/// Begins the event ids of one child.
const LIFE: &str = "CAPI_RELAY_TEST_BROKEN_LIFE";
/// Conversions of a child's life: some 300 kB, so many of the journal's segments, and with those before one of the store's.
const CONVERSIONS: usize = 40;
/// How the child ends: all done, the queue has failed, opening was refused.
const ENDS: [i32; 3] = [0, 3, 4];
/// Nothing that is right takes longer.
const PATIENCE_MS: u64 = 60_000;

/// One line, written whole.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// Sizes of bodies: one piece, some, and more than go with their conversion's move.
fn padding(number: usize) -> usize {
    [100, 3000, 20_000][number % 3]
}

fn handed_in(life: &str, number: usize) -> Submission {
    submission_of(&format!("{life}-{number}"), padding(number), &["a", "b"])
}

/// The child's part: it says what it tries and what it has been promised, and how it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_whose_calls_fail() {
    let (Some(path), Some(life)) = (std::env::var_os(CHILD), std::env::var_os(LIFE)) else {
        return;
    };
    let opened = Queue::open_with(&settings(Path::new(&path), &["a", "b"]), Clock::system(), always());
    let queue = match opened {
        Ok(queue) => queue,
        Err(error) => {
            say(&format!("refused {error}"));
            std::process::exit(ENDS[2]);
        }
    };
    let failed = tokio::select! {
        reason = queue.failed() => Some(reason),
        () = live(&queue, life.to_str().unwrap()) => None,
    };
    let closed = queue.close().await.map_err(|error| error.to_string()).err();
    if let Some(reason) = failed.or(closed) {
        say(&format!("failed {reason}"));
        std::process::exit(ENDS[1]);
    }
}

async fn live(queue: &Queue, life: &str) {
    let mut dead_ones = Vec::new();
    for number in 0..CONVERSIONS {
        say(&format!("tried {number}"));
        match queue.accept(handed_in(life, number)).await {
            Ok(Accepted::New(status)) => say(&format!("accepted {number} {}", status.id)),
            Ok(other) => panic!("not new: {other:?}"),
            Err(AcceptError::DiskFull(_)) => continue,
            Err(AcceptError::Closed | AcceptError::Full { .. } | AcceptError::Unreadable(_)) => return,
        }
        let delivery = next(queue, "a").await;
        let id = delivery.meta().id;
        let year_ms = Clock::system().unix_ms().saturating_add(365 * 86_400_000);
        let (outcome, verdict) = match number % 5 {
            0 => (dead("no"), Verdict::Rejected),
            1 => (Outcome::Retry { due_ms: year_ms, spent: true }, Verdict::Retry),
            _ => (delivered(), Verdict::Delivered),
        };
        dead_ones.extend((number % 5 == 0).then_some(id));
        say(&format!("settled {id}"));
        queue.settle(&delivery, outcome, Some(attempt(200, verdict)));
        if number % 20 == 19 {
            // The mover has its turn.
            eventually("the store has all", async || gauge(queue, "window_conversions") == 0).await;
        }
    }
    for (id, treatment) in dead_ones.into_iter().take(4).zip([Treatment::Replay, discard()].into_iter().cycle()) {
        let filter = DeadFilter { ids: Some(vec![id]), ..DeadFilter::default() };
        let replay = treatment == Treatment::Replay;
        if queue.treat(filter, treatment).await.is_ok_and(|treated| treated.done == 1) {
            say(&format!("{} {id}", if replay { "replayed" } else { "discarded" }));
        }
    }
}

fn discard() -> Treatment {
    Treatment::Discard { reason: "dealt with".to_owned() }
}

/// The part of a folder on which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Folder,
    Journal,
    History,
    Backlog,
    Store,
}

const PARTS: [Part; 5] = [Part::Folder, Part::Journal, Part::History, Part::Backlog, Part::Store];

/// A folder of segments.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let named = (1..80).map(|number| format!("{number:016x}.seg"));
    ["", "spare"].map(str::to_owned).into_iter().chain(named).map(|name| dir.join(name)).collect()
}

/// The files of a part, those that will come included.
fn files(part: Part, folder: &Path) -> Vec<PathBuf> {
    let files: Vec<PathBuf> = match part {
        Part::Folder => ["", "state", "state.new", "lock"].iter().map(|name| folder.join(name)).collect(),
        Part::Journal => segments(&folder.join("journal")),
        Part::History => segments(&folder.join("history")),
        Part::Backlog => segments(&folder.join("backlog")),
        Part::Store => {
            let generations = (1..60).map(|number| folder.join(format!("store.{number}")));
            generations.flat_map(|dir| ["", "db", "conf", "blobs"].map(|name| dir.join(name))).collect()
        }
    };
    // Without the slash that an empty name leaves behind.
    files.into_iter().map(|path| path.components().collect()).collect()
}

/// Every call by which files are opened, read, changed or made durable.
const CALLS: [&str; 12] = [
    "pread64",
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "openat",
    "rename",
    "fallocate",
    "unlink",
    "unlinkat",
    "mkdir",
    "sync_file_range",
];

/// Of these one each fails when not all are asked for.
const CHOSEN: [&str; 6] = ["pwrite64", "fdatasync", "rename", "fallocate", "unlinkat", "sync_file_range"];

/// The nth such call of a thread on that part fails.
#[derive(Debug, Clone)]
struct Fault {
    call: &'static str,
    part: Part,
    error: &'static str,
    nth: usize,
}

/// What is known of a folder: from its children, by what they said.
#[derive(Debug, Default, Clone)]
struct Promised {
    lives: Vec<String>,
    /// By event id; what was tried and not acknowledged may be there.
    tried: BTreeMap<String, usize>,
    accepted: BTreeMap<ConversionId, String>,
    replayed: BTreeSet<ConversionId>,
    discarded: BTreeSet<ConversionId>,
}

/// How a child ended, and what it has said beside its promises.
struct Ended {
    code: Option<i32>,
    words: String,
}

/// Runs a child under strace with these options.
fn run(folder: &Path, options: &[String], promised: &mut Promised, what: &str) -> Ended {
    let life = format!("life{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let trace = folder.with_extension("trace");
    let mut child = Command::new("strace")
        .args(["-D", "-f", "-qq", "-o"])
        .arg(&trace)
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "queue::tests::broken::the_child_whose_calls_fail"])
        .env(CHILD, folder)
        .env(LIFE, &life)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = Vec::new();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    let code = wait(&mut child, what);
    for line in said.join().unwrap().lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["tried", number] => {
                promised.tried.insert(format!("{life}-{number}"), number.parse().unwrap());
            }
            ["accepted", number, id] => {
                promised.accepted.insert(ConversionId::parse(id).unwrap(), format!("{life}-{number}"));
            }
            ["replayed", id] => drop(promised.replayed.insert(ConversionId::parse(id).unwrap())),
            // What was replayed has been handed out again.
            ["settled", id] => drop(promised.replayed.remove(&ConversionId::parse(id).unwrap())),
            ["discarded", id] => drop(promised.discarded.insert(ConversionId::parse(id).unwrap())),
            ["refused" | "failed", ..] => words.push(line.to_owned()),
            _ => {}
        }
    }
    promised.lives.push(life);
    words.push(errors.join().unwrap());
    Ended { code, words: words.join("\n") }
}

/// Its end, which must come.
fn wait(child: &mut Child, what: &str) -> Option<i32> {
    let clock = Clock::system();
    let began_ms = clock.elapsed_ms();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if clock.elapsed_ms().saturating_sub(began_ms) > PATIENCE_MS {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it hangs: {what}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Holds a folder to what was promised of it, nothing being in the way.
async fn check(folder: &Path, promised: &Promised, what: &str) {
    let opened = Queue::open_with(&settings(folder, &["a", "b"]), Clock::system(), small());
    let queue = opened.unwrap_or_else(|error| panic!("{what}: the folder is refused: {error}"));
    let mut ids = promised.accepted.clone();
    for (event_id, number) in &promised.tried {
        // As a merchant would who got no answer, or another.
        let (life, _) = event_id.rsplit_once('-').unwrap();
        let id = match queue.accept(handed_in(life, *number)).await.unwrap() {
            Accepted::New(status) | Accepted::Duplicate(status) => status.id,
            Accepted::KeyReused { first } => panic!("{what}: {first} has another content"),
        };
        let before = ids.insert(id, event_id.clone());
        assert!(before.is_none_or(|before| before == *event_id), "{what}: {id} is two");
    }
    assert_eq!(ids.len(), promised.tried.len(), "{what}: what was accepted is not known any more");
    let (mut owed, mut dead) = ([0_u64; 2], [0_u64; 2]);
    for id in ids.keys() {
        let status = queue.status(*id).await.unwrap().unwrap_or_else(|| panic!("{what}: {id} is lost"));
        let states: Vec<State> = status.destinations.iter().map(|(_, delivery)| delivery.state).collect();
        for (destination, state) in states.iter().enumerate() {
            owed[destination] += u64::from(matches!(state, State::Queued | State::Retrying));
            dead[destination] += u64::from(matches!(state, State::Dead(_)));
        }
        assert_eq!(states[1], State::Queued, "{what}: {id} was never settled at b");
        assert!(!promised.replayed.contains(id) || states[0] == State::Queued, "{what}: {id} was replayed: {states:?}");
        assert!(
            !promised.discarded.contains(id) || states[0] == State::Discarded,
            "{what}: {id} was discarded: {states:?}"
        );
    }
    let depths = queue.depths();
    let counted =
        ["a", "b"].map(|text| &depths.destinations[&name(text)]).map(|depth| (depth.pending, depth.dead.total()));
    assert_eq!(counted, [(owed[0], dead[0]), (owed[1], dead[1])], "{what}: the depths are not what the statuses say");
    let mut held = Vec::new();
    for _ in 0..owed[1] {
        let delivery = next(&queue, "b").await;
        let event_id = &ids[&delivery.meta().id];
        let (life, number) = event_id.rsplit_once('-').unwrap();
        assert_eq!(delivery.lease.record.body, handed_in(life, number.parse().unwrap()).body, "{what}");
        held.push(delivery);
    }
    assert!(nothing(&queue, "b").await, "{what}: more is handed out than is owed");
    drop(held);
    queue.close().await.unwrap();
}

/// How many calls of each kind the thread that made most of them made.
fn counted(folder: &Path) -> BTreeMap<(&'static str, Part), usize> {
    let named: BTreeMap<String, Part> = PARTS
        .into_iter()
        .flat_map(|part| files(part, folder).into_iter().map(move |path| (path.display().to_string(), part)))
        .collect();
    let mut by_thread = BTreeMap::<(&str, Part, String), usize>::new();
    for line in std::fs::read_to_string(folder.with_extension("trace")).unwrap().lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let is = |name: &&str| call.trim_start().starts_with(&format!("{name}("));
        let Some(made) = CALLS.into_iter().find(is) else { continue };
        let parts: BTreeSet<Part> = call.split(['<', '>', '"']).filter_map(|word| named.get(word).copied()).collect();
        for part in parts {
            *by_thread.entry((made, part, thread.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((call, part, _), count) in by_thread {
        let entry = most.entry((call, part)).or_insert(0);
        *entry = count.max(*entry);
    }
    most
}

/// A folder in use since two lives, and how often a third one calls what.
async fn used(path: &Path) -> (Promised, BTreeMap<(&'static str, Part), usize>) {
    let (folder, copy) = (path.join("used"), path.join("counted"));
    let mut promised = Promised::default();
    let quiet = ["-e".to_owned(), "trace=none".to_owned()];
    for _ in 0..2 {
        let ended = run(&folder, &quiet, &mut promised, "no fault");
        assert_eq!(ended.code, Some(ENDS[0]), "{}", ended.words);
    }
    copy_folder(&folder, &copy);
    let counting = ["-y".to_owned(), "-e".to_owned(), format!("trace={}", CALLS.join(","))];
    let ended = run(&copy, &counting, &mut promised.clone(), "no fault");
    assert_eq!(ended.code, Some(ENDS[0]), "{}", ended.words);
    check(&folder, &promised, "no fault").await;
    (promised, counted(&copy))
}

/// One fault on a folder of its own; whether it was met.
fn meet(fault: &Fault, path: &Path, mut promised: Promised, runtime: &tokio::runtime::Handle) -> bool {
    let Fault { call, part, error, nth } = fault;
    let what = format!("{fault:?}");
    let folder = path.join(format!("{call}-{part:?}-{error}-{nth}"));
    copy_folder(&path.join("used"), &folder);
    let mut options = vec!["-e".to_owned(), format!("trace={call}")];
    options.extend(["-e".to_owned(), format!("inject={call}:error={error}:when={nth}")]);
    options.extend(files(*part, &folder).iter().flat_map(|file| ["-P".to_owned(), file.display().to_string()]));
    let ended = run(&folder, &options, &mut promised, &what);
    assert!(ended.code.is_some_and(|code| ENDS.contains(&code)), "{what}: {:?}\n{}", ended.code, ended.words);
    assert!(!ended.words.contains("thread of the queue panicked"), "{what}:\n{}", ended.words);
    runtime.block_on(check(&folder, &promised, &what));
    let met = std::fs::read_to_string(folder.with_extension("trace")).unwrap().contains("(INJECTED)");
    std::fs::remove_dir_all(&folder).unwrap();
    met
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_that_fails_in_the_midst_of_it_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let (promised, counted) = used(&path).await;
    println!("{counted:?}");
    let all = std::env::var_os("CAPI_RELAY_TEST_FAULTS").is_some_and(|which| which == "all");
    let mut faults = Vec::new();
    for ((call, part), most) in counted {
        // Those that no start makes, or that change what is there; starts are the integration tests'.
        let chosen = CHOSEN.contains(&call).then(|| most.div_ceil(2));
        for nth in if all { (1..=most).collect::<Vec<_>>() } else { chosen.into_iter().collect() } {
            let error = ["EIO", "ENOSPC"][faults.len() % 2];
            faults.push(Fault { call, part, error, nth });
        }
    }
    let runs = faults.len();
    let left = Arc::new(std::sync::Mutex::new(faults));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (left, path, promised) = (Arc::clone(&left), path.clone(), promised.clone());
        let runtime = tokio::runtime::Handle::current();
        workers.spawn_blocking(move || {
            let mut ends = Vec::new();
            let next = || left.lock().unwrap().pop();
            while let Some(fault) = next() {
                // All are tried, and what went wrong has been said.
                let met = || meet(&fault, &path, promised.clone(), &runtime);
                ends.push((std::panic::catch_unwind(std::panic::AssertUnwindSafe(met)).ok(), fault));
            }
            ends
        });
    }
    let ends: Vec<(Option<bool>, Fault)> = workers.join_all().await.into_iter().flatten().collect();
    let wrong: Vec<&Fault> = ends.iter().filter(|(end, _)| end.is_none()).map(|(_, fault)| fault).collect();
    let met = ends.iter().filter(|(end, _)| *end == Some(true)).count();
    println!("{met} faults met in {runs} runs");
    assert!(wrong.is_empty(), "{} of {runs}: {wrong:?}", wrong.len());
    // How many calls are made differs a little from run to run.
    assert!(met * 2 > runs, "{met} faults met in {runs} runs: the test sees little");
}

/// As the metrics tell it.
fn gauge(queue: &Queue, wanted: &str) -> u64 {
    let mut registry = Registry::default();
    queue.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text.lines().find_map(|line| line.strip_prefix(wanted)?.trim().parse().ok()).unwrap()
}
