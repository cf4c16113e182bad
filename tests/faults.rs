//! System calls that fail, one at a time: whatever the queue was doing with its files, what was answered `202` is there at
//! the next start, and the relay says what has happened instead of panicking, hanging or going on as if nothing were.
//!
//! The first run counts the calls of a short life (start on a used folder, conversions, a clean stop); then the nth of each
//! kind fails. Each thread counts for itself. `CAPI_RELAY_TEST_FAULTS=all` takes every n instead of some, and a call's name
//! every n of that call alone; with `CAPI_RELAY_TEST_SEALED` set the folders are encrypted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use capi_relay::cli::Relay;
use capi_relay::queue::Clock;
use capi_relay::sandbox::{Accounts as Credentials, Behaviour, Platform, Sandbox};
use http::{Method, StatusCode};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::support::accounts::{self, Accounts, Watch, depths_if_there};
use crate::support::process::{Ended, Process};
use crate::support::{Http, chain, config, eventually, routes};

/// Every call by which the queue and its store open files, read them where it matters, change them, or make them durable.
const CALLS: [&str; 13] = [
    "pread64",
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "openat",
    "rename",
    "fallocate",
    "ftruncate",
    "unlink",
    "unlinkat",
    "mkdir",
    "sync_file_range",
];
/// A disk that is broken, and one that is full: nobody is told that of a read.
const ERRORS: [&str; 2] = ["EIO", "ENOSPC"];
/// Conversions of a life: before the store has taken over what there is, and behind it.
const POSTED: usize = 12;
/// Relays at a time: about as many as a small machine has cores.
const AT_A_TIME: usize = 2;

/// The parts of a data folder: the files of each, those that will come included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Folder,
    Journal,
    History,
    Store,
    Keys,
}

impl Part {
    const ALL: [Part; 5] = [Part::Folder, Part::Journal, Part::History, Part::Store, Part::Keys];

    fn paths(self, queue: &Path) -> Vec<PathBuf> {
        let paths: Vec<PathBuf> = match self {
            Part::Folder => ["", "state", "state.new", "lock", "ballast"].iter().map(|name| queue.join(name)).collect(),
            Part::Journal => segments(&queue.join("journal")),
            Part::History => segments(&queue.join("history")),
            Part::Store => {
                let generations = (1..4).map(|number| queue.join(format!("store.{number}")));
                generations.flat_map(|dir| ["", "db", "conf", "blobs"].map(|name| dir.join(name))).collect()
            }
            Part::Keys => {
                let names = ["", "new", "index.key", "0000000000000001.key", "0000000000000002.key"];
                names.map(|name| queue.join("keys").join(name)).into()
            }
        };
        // Without the slash that an empty name leaves behind.
        paths.into_iter().map(|path| path.components().collect()).collect()
    }
}

/// A folder of segments.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let named = (1..20).map(|number| format!("{number:016x}.seg"));
    ["", "spare"].map(str::to_owned).into_iter().chain(named).map(|name| dir.join(name)).collect()
}

/// The nth such call of a thread on such a file fails.
#[derive(Debug, Clone)]
struct Fault {
    call: &'static str,
    part: Part,
    error: &'static str,
    nth: usize,
}

impl Fault {
    fn is_sync(&self) -> bool {
        matches!(self.call, "fdatasync" | "fsync")
    }

    /// The ballast is made by what looks each second: a short life ends before.
    fn is_of_the_ballast(&self) -> bool {
        self.call == "fallocate" && self.part == Part::Folder
    }
}

/// A data folder with its routes.
struct Case {
    _folder: tempfile::TempDir,
    routes: String,
    file: PathBuf,
    queue: PathBuf,
}

impl Case {
    /// A copy of `used`, or an empty one.
    fn new(sandbox: &Sandbox, used: Option<&Path>) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let (file, queue) = (path.join("routes.toml"), path.join("queue"));
        if let Some(used) = used {
            // Unlike the library's copy it leaves holes where nothing was written: most of a segment.
            assert!(Command::new("cp").arg("-a").args([used, &queue]).status().unwrap().success());
        }
        let routes = routes(sandbox, &queue, "");
        let sealed = std::env::var_os("CAPI_RELAY_TEST_SEALED").map(|_| "ab".repeat(32));
        let encryption = sealed.map(|key| format!("encryption = {{ key = \"{key}\" }}\n")).unwrap_or_default();
        // Closed connections hold on to 127.0.0.1's ports for a minute, and hundreds of relays leave all of them so.
        let routes = routes.replace("\"127.0.0.1:0\"", "\"127.0.0.2:0\"");
        let routes = routes.replacen("[queue]\n", &format!("[queue]\n{encryption}"), 1);
        fs::write(&file, &routes).unwrap();
        Case { _folder: folder, routes, file, queue }
    }

    fn trace(&self) -> PathBuf {
        self.file.with_extension("trace")
    }

    /// strace as the relay's parent's child: what is waited for and signalled is the relay.
    fn strace(&self, options: &[String]) -> Vec<String> {
        let trace = self.trace().display().to_string();
        let words = ["strace", "-D", "-f", "-qq", "-o", &trace].map(str::to_owned);
        words.into_iter().chain(options.iter().cloned()).collect()
    }

    /// The options that make one fault.
    fn inject(&self, fault: &Fault) -> Vec<String> {
        let Fault { call, part, error, nth } = fault;
        let mut options = vec!["-e".to_owned(), format!("trace={call}")];
        options.extend(["-e".to_owned(), format!("inject={call}:error={error}:when={nth}")]);
        for path in part.paths(&self.queue) {
            options.extend(["-P".to_owned(), path.display().to_string()]);
        }
        self.strace(&options)
    }

    /// How many calls of each kind the thread that made most of them made.
    fn counted(&self) -> BTreeMap<(&'static str, Part), usize> {
        let named: BTreeMap<String, Part> = Part::ALL
            .into_iter()
            .flat_map(|part| part.paths(&self.queue).into_iter().map(move |path| (path.display().to_string(), part)))
            .collect();
        let mut by_thread = BTreeMap::<(&str, Part, String), usize>::new();
        for line in fs::read_to_string(self.trace()).unwrap().lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let Some(name) = CALLS.into_iter().find(|name| call.trim_start().starts_with(&format!("{name}("))) else {
                continue;
            };
            let words = call.split(['<', '>', '"']);
            let parts: BTreeSet<Part> = words.filter_map(|word| named.get(word).copied()).collect();
            for part in parts {
                *by_thread.entry((name, part, thread.to_owned())).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((call, part, _), count) in by_thread {
            let entry = most.entry((call, part)).or_insert(0);
            *entry = count.max(*entry);
        }
        most
    }

    fn was_hit(&self) -> bool {
        fs::read_to_string(self.trace()).unwrap().contains("(INJECTED)")
    }

    /// A life: conversions before and behind the store's first groups, then a clean stop, unless it ends before. What it
    /// answers is in the accounts; what else it may not do is an assertion.
    async fn live(&self, wrapper: &[String], accounts: &mut Accounts, fault: &Fault) {
        let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut relay = match Process::attempt(&words, &self.file, &["--no-goldens"], "info") {
            Ok(relay) => relay,
            Err(Ended { code, log }) => {
                assert_eq!(code, Some(1), "{fault:?}\n{log}");
                assert!(log.contains("cannot open the queue: "), "a refusal says why, {fault:?}:\n{log}");
                return is_worded(fault, &log);
            }
        };
        let http = Http::new();
        let mut watch = Watch::begin(&Mutex::new(accounts.clone()), &relay.admin).await;
        for half in 0..2 {
            for number in 0..POSTED / 2 {
                let order = format!("{}-{half}-{number}", uuid());
                post(&http, &relay.origin, &order, accounts, fault).await;
            }
            // What cannot be read has its own error.
            if let Some(watch) = &mut watch {
                watch.look(&Mutex::new(accounts.clone()), &relay.origin, &relay.admin).await;
            }
            eventually("what is in memory is moved, or the relay ends", async || {
                let metrics = http.attempt(Method::GET, &format!("{}/metrics", relay.admin), &[], "").await;
                let text = metrics.ok().and_then(|answer| Some(answer.body.as_str()?.to_owned())).unwrap_or_default();
                let is_moved = text.contains("capi_relay_window_conversions 0");
                (is_moved || relay.has_ended() || depths_if_there(&http, &relay.admin).await.is_none()).then_some(())
            })
            .await;
        }
        let had_ended = relay.has_ended();
        let Ended { code, log } = tokio::task::spawn_blocking(|| relay.stop()).await.unwrap();
        is_worded(fault, &log);
        let says =
            log.contains("storage failed: nothing more is acknowledged") || log.contains("did not close cleanly");
        match code {
            Some(0) => {
                assert!(!had_ended, "{fault:?}: it ended by itself, and calls that a success:\n{log}");
                // A failed sync is never retried into success.
                assert!(!(fault.is_sync() && self.was_hit()), "{fault:?}: it went on:\n{log}");
            }
            Some(1) => assert!(says, "{fault:?}: it ended, and does not say why:\n{log}"),
            code => panic!("{fault:?}: it ended with {code:?}:\n{log}"),
        }
    }

    /// The next start, with nothing in its way.
    async fn check(&self, fault: &Fault, accounts: &mut Accounts) {
        let started = Relay::start(config(&self.routes), Clock::system()).await;
        let relay = started.unwrap_or_else(|error| panic!("after {fault:?} it does not start: {}", chain(&error)));
        let (origin, admin) = (format!("http://{}", relay.public()), format!("http://{}", relay.admin()));
        accounts.balance(&origin, &admin).await;
        relay.stop().await.unwrap();
    }
}

/// Words for people: nothing of a panic.
#[track_caller]
fn is_worded(fault: &Fault, log: &str) {
    assert!(!log.contains("panicked"), "{fault:?}:\n{log}");
}

/// Either it is taken, or refused as what may be tried again, or the relay is gone.
async fn post(http: &Http, origin: &str, order: &str, accounts: &mut Accounts, fault: &Fault) {
    accounts.post(order);
    match accounts::post(http, origin, order).await {
        Ok(answer) if answer.status == StatusCode::ACCEPTED => accounts.acknowledge(order, &answer.id()),
        Ok(answer) => {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}: {}", answer.body);
            assert!(answer.headers.contains_key("retry-after"), "{fault:?}");
        }
        Err(_) => {}
    }
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// One destination refuses for now and one for good: work waits in the store, and dies.
async fn sandbox() -> Arc<Sandbox> {
    let sandbox = Sandbox::start(Credentials::default(), 0).await.unwrap();
    let answer = |status| Behaviour::Answer { status, headers: Vec::new(), body: String::new(), times: None };
    sandbox.script(Platform::Impact, answer(503));
    sandbox.script(Platform::Dsp, answer(400));
    Arc::new(sandbox)
}

/// One fault for each call that is made, or for those of them that are `chosen` when not all are asked for.
fn faults(counted: &BTreeMap<(&'static str, Part), usize>, chosen: impl Fn(usize) -> BTreeSet<usize>) -> Vec<Fault> {
    let asked = std::env::var("CAPI_RELAY_TEST_FAULTS").ok();
    let all = asked.is_some();
    if let Some(asked) = asked.as_deref() {
        assert!(asked == "all" || CALLS.contains(&asked), "CAPI_RELAY_TEST_FAULTS is `all` or one of {CALLS:?}");
    }
    let mut faults = Vec::new();
    let meant = |call: &str| asked.as_deref().is_none_or(|asked| asked == "all" || asked == call);
    for ((call, part), most) in counted.iter().filter(|((call, _), _)| meant(call)) {
        for nth in if all { (1..=*most).collect() } else { chosen(*most) } {
            let which = faults.len() % ERRORS.len();
            let errors = match *call {
                "pread64" => &ERRORS[..1],
                _ if all => &ERRORS[..],
                _ => &ERRORS[which..=which],
            };
            faults.extend(errors.iter().map(|error| Fault { call, part: *part, error, nth }));
        }
    }
    faults
}

/// Runs them all, some at a time, each on a folder of its own; says which of them were met.
async fn meet(faults: Vec<Fault>, sandbox: &Arc<Sandbox>, used: Option<(PathBuf, Accounts)>) -> String {
    let (left, used) = (Arc::new(Mutex::new(faults)), Arc::new(used));
    let mut workers = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (left, sandbox, used) = (Arc::clone(&left), Arc::clone(sandbox), Arc::clone(&used));
        // A thread of its own: it waits for processes.
        workers.spawn_blocking(move || {
            let mut met = Vec::new();
            loop {
                let Some(fault) = left.lock().unwrap().pop() else { return met };
                let case = Case::new(&sandbox, used.as_ref().as_ref().map(|(path, _)| path.as_path()));
                let mut accounts = used.as_ref().as_ref().map(|(_, accounts)| accounts.clone()).unwrap_or_default();
                Handle::current().block_on(async {
                    case.live(&case.inject(&fault), &mut accounts, &fault).await;
                    case.check(&fault, &mut accounts).await;
                });
                met.push((case.was_hit(), fault));
            }
        });
    }
    let mut counts = BTreeMap::<(&str, Part), (usize, usize)>::new();
    for (hit, fault) in workers.join_all().await.into_iter().flatten() {
        let (runs, hits) = counts.entry((fault.call, fault.part)).or_default();
        *runs += 1;
        *hits += usize::from(hit);
        // How many calls a life makes differs a little; that it makes one does not, but for what is done once a second.
        assert!(hit || fault.nth > 1 || fault.is_of_the_ballast(), "{fault:?} was never met");
    }
    let line = |((call, part), (runs, hits))| format!("{call} on {part:?}: {hits} faults met in {runs} runs\n");
    counts.into_iter().map(line).collect()
}

/// What a life without faults does; `used` is where it is played.
async fn count(case: &Case, accounts: &mut Accounts) -> BTreeMap<(&'static str, Part), usize> {
    let options = ["-y".to_owned(), "-e".to_owned(), format!("trace={}", CALLS.join(","))];
    let none = Fault { call: "none", part: Part::Folder, error: "none", nth: 0 };
    case.live(&case.strace(&options), accounts, &none).await;
    case.counted()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn a_call_that_fails_loses_nothing_that_was_acknowledged_and_is_told() {
    let sandbox = sandbox().await;
    let case = Case::new(&sandbox, None);
    let mut accounts = Accounts::default();
    // Twice: what a second start finds to remove, a first one has left.
    count(&case, &mut accounts).await;
    count(&case, &mut accounts).await;
    let used = case.queue.with_extension("used");
    assert!(Command::new("cp").arg("-a").args([&case.queue, &used]).status().unwrap().success());
    let counted = count(&case, &mut accounts.clone()).await;
    let reads_keys = counted.keys().any(|(_, part)| *part == Part::Keys);
    assert_eq!(reads_keys, std::env::var_os("CAPI_RELAY_TEST_SEALED").is_some(), "whether the folder is encrypted");
    for call in
        ["pread64", "pwrite64", "write", "fdatasync", "fsync", "openat", "rename", "fallocate", "sync_file_range"]
    {
        assert!(counted.keys().any(|(counted, _)| *counted == call), "{call} is not made: the test sees nothing");
    }
    let chosen = |most: usize| BTreeSet::from([1, most.div_ceil(2), most]);
    println!("{}", meet(faults(&counted, chosen), &sandbox, Some((used, accounts))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn a_first_start_in_which_a_call_fails_is_refused_in_words_or_works() {
    let sandbox = sandbox().await;
    let case = Case::new(&sandbox, None);
    let counted = count(&case, &mut Accounts::default()).await;
    // What comes behind the start is the other test's.
    let start: BTreeMap<_, _> = counted.into_iter().map(|(of, most)| (of, most.min(8))).collect();
    let faults = faults(&start, |most| BTreeSet::from([most.div_ceil(2)]));
    println!("{}", meet(faults, &sandbox, None).await);
}
