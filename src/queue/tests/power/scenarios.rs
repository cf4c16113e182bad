//! What is recorded: this test binary, playing another part.
//!
//! It says what it is about to ask for and what it was answered, each in one write that the record has between the others.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;

use super::super::generation::{always, folder_state};
use super::super::*;
use super::promises::How;

pub(super) const DESTINATIONS: [&str; 2] = ["a", "b"];

/// Names the folder that the recorded process works in; without it the part is not played.
pub(super) const WORKPLACE: &str = "CAPI_RELAY_TEST_POWER_WORKPLACE";
/// Which scenario it plays.
pub(super) const SCENARIO: &str = "CAPI_RELAY_TEST_POWER_SCENARIO";
/// In the workplace: all that a power cut may touch, …
pub(super) const WORLD: &str = "world";
/// … the data folder in it, …
pub(super) const DATA: &str = "data";
/// … and what the process says.
pub(super) const VOICE: &str = "voice";

/// What is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    FirstStart,
    Steady,
    RetriesAndOverflow,
    DeadLetters,
    History,
    Generations,
    Sealed,
    Forgetting,
    Backlog,
    Recovery,
}

impl Scenario {
    const ALL: [(Scenario, &str); 10] = [
        (Scenario::FirstStart, "first start"),
        (Scenario::Steady, "steady work"),
        (Scenario::RetriesAndOverflow, "retries and overflow"),
        (Scenario::DeadLetters, "dead letters"),
        (Scenario::History, "history"),
        (Scenario::Generations, "generations"),
        (Scenario::Sealed, "data keys"),
        (Scenario::Forgetting, "forgetting"),
        (Scenario::Backlog, "backlog"),
        (Scenario::Recovery, "recovery"),
    ];

    pub(super) fn name(self) -> &'static str {
        Scenario::ALL.iter().find(|(scenario, _)| *scenario == self).unwrap().1
    }

    pub(super) fn settings(self, path: &Path) -> Settings {
        let kept = Duration::from_millis(if self.forgets() { 400 } else { 3_600_000 });
        let settings = Settings { dedup_window: kept, history_keep: kept, ..settings(path, &DESTINATIONS) };
        if self == Scenario::Sealed { Settings { encryption: Some(encryption(1)), ..settings } } else { settings }
    }

    /// Whether what is settled is forgotten before the end.
    pub(super) fn forgets(self) -> bool {
        matches!(self, Scenario::History | Scenario::Sealed)
    }

    pub(super) fn options(self) -> Options {
        // Full after a dozen conversions.
        let small = Options {
            history_bytes: 8 * 1024,
            backlog_bytes: 48 * 1024,
            key_time: Duration::from_millis(700),
            leap_stands: Duration::ZERO,
            ..small()
        };
        if self == Scenario::Generations {
            // Nothing presses: that would put a copy off.
            return Options { window_bytes: 1 << 20, sparse: always().sparse, ..small };
        }
        small
    }
}

/// The recorded process's part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_that_is_recorded() {
    let (Some(workplace), Some(scenario)) = (std::env::var_os(WORKPLACE), std::env::var_os(SCENARIO)) else {
        return;
    };
    let scenario = Scenario::ALL.iter().find(|(_, name)| scenario == *name).unwrap().0;
    let workplace = Path::new(&workplace);
    let voice = OpenOptions::new().append(true).create(true).open(workplace.join(VOICE)).unwrap();
    let path = workplace.join(WORLD).join(DATA);
    let queue = Queue::open_with(&scenario.settings(&path), Clock::system(), scenario.options()).unwrap();
    let child = Arc::new(Child { voice, path, queue });
    match scenario {
        Scenario::FirstStart => child.first_start().await,
        Scenario::Steady => child.steady().await,
        Scenario::RetriesAndOverflow => child.retries_and_overflow().await,
        Scenario::DeadLetters => child.dead_letters().await,
        Scenario::History | Scenario::Sealed => child.history().await,
        Scenario::Generations => child.generations().await,
        Scenario::Forgetting => child.forgetting().await,
        Scenario::Backlog => child.backlog().await,
        Scenario::Recovery => child.recovery().await,
    }
}

struct Child {
    voice: File,
    path: PathBuf,
    queue: Queue,
}

impl Child {
    fn say(&self, line: &str) {
        (&self.voice).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    async fn accept(&self, padding: usize, owed: &[&str]) -> ConversionId {
        let event_id = id_at(Clock::system().unix_ms()).to_string();
        let submission = submission_of(&event_id, padding, owed);
        let id = submission.meta.id;
        self.say(&format!("offers {id} {event_id} {padding} {}", owed.join(",")));
        assert_eq!(accept(&self.queue, submission).await, id);
        self.say(&format!("accepted {id}"));
        id
    }

    fn settle(&self, delivery: &Delivery, how: How) {
        let (id, destination, attempts) = (delivery.meta().id, delivery.destination(), delivery.attempt() - 1);
        self.say(&format!("settles {id} {} {} {attempts}", destination.as_str(), how.word()));
        let year_ms = Clock::system().unix_ms() + 365 * 86_400_000;
        let (outcome, verdict) = match how {
            How::Dead => (dead("no"), Verdict::Rejected),
            How::RetryNow => (Outcome::Retry { due_ms: 1, spent: true }, Verdict::Retry),
            How::RetryInAYear => (Outcome::Retry { due_ms: year_ms, spent: true }, Verdict::Retry),
            How::PutBack => return self.queue.settle(delivery, Outcome::Retry { due_ms: 1, spent: false }, None),
            How::Delivered | How::Replay | How::Discard => (delivered(), Verdict::Delivered),
        };
        self.queue.settle(delivery, outcome, Some(attempt(200, verdict)));
    }

    async fn treat(&self, ids: &[ConversionId], destination: &str, how: How) {
        let listed: Vec<String> = ids.iter().map(ConversionId::to_string).collect();
        let listed = listed.join(",");
        let discard = Treatment::Discard { reason: "dealt with".to_owned() };
        let treatment = if how == How::Replay { Treatment::Replay } else { discard };
        self.say(&format!("treats {} {destination} {listed}", how.word()));
        let (ids, destination_name) = (Some(ids.to_vec()), Some(name(destination)));
        let filter = DeadFilter { ids: ids.clone(), destination: destination_name, ..DeadFilter::default() };
        let treated = self.queue.treat(filter, treatment).await.unwrap();
        assert_eq!(treated.done, u64::try_from(ids.unwrap().len()).unwrap());
        self.say(&format!("treated {destination} {listed}"));
    }

    /// A worker that deals with whatever it is handed.
    async fn work(self: Arc<Self>, destination: &'static str, how: impl Fn(&Delivery) -> How + Send + 'static) {
        loop {
            let delivery = self.queue.next(&name(destination)).await;
            let how = how(&delivery);
            self.settle(&delivery, how);
        }
    }

    /// A moment in which nothing is asked of the queue: what lingers is moved, and the mover finds time.
    async fn idle(&self) {
        tokio::time::sleep(Duration::from_millis(40)).await;
    }

    async fn until_settled(&self, destination: &str) {
        eventually("all is settled", async || pending(&self.queue, destination) == 0).await;
    }

    async fn first_start(&self) {
        for padding in [300, 9000, 300] {
            self.accept(padding, &["a", "b"]).await;
        }
        let delivery = next(&self.queue, "a").await;
        self.settle(&delivery, How::Delivered);
        self.idle().await;
        self.accept(300, &["a"]).await;
    }

    /// Several accept at a time, what is owed to `a` is delivered at once; then an orderly end.
    async fn steady(self: Arc<Self>) {
        let mut workers = tokio::task::JoinSet::new();
        workers.spawn(Arc::clone(&self).work("a", |_| How::Delivered));
        workers.spawn(Arc::clone(&self).work("b", |delivery| match delivery.attempt() {
            1 if numbered(delivery, 5) => How::RetryNow,
            _ => How::Delivered,
        }));
        let mut accepting = tokio::task::JoinSet::new();
        for task in 0..4_usize {
            let child = Arc::clone(&self);
            accepting.spawn(async move { child.accept_some(task).await });
        }
        accepting.join_all().await;
        self.until_settled("a").await;
        self.until_settled("b").await;
        workers.shutdown().await;
        self.queue.close().await.unwrap();
    }

    async fn accept_some(&self, task: usize) {
        for number in 0..35 {
            let owed = if number % 4 == 0 { &["a", "b"][..] } else { &["a"] };
            self.accept([1200, 2500, 300, 9000][(number + task) % 4], owed).await;
        }
    }

    /// `b` asks for nothing, so its work goes to the store; `a` puts much of its own off.
    async fn retries_and_overflow(self: Arc<Self>) {
        let mut workers = tokio::task::JoinSet::new();
        workers.spawn(Arc::clone(&self).work("a", |delivery| match delivery.attempt() {
            1 if numbered(delivery, 3) => How::RetryNow,
            2 => How::RetryInAYear,
            1 if numbered(delivery, 7) => How::RetryInAYear,
            _ => How::Delivered,
        }));
        for number in 0..50 {
            self.accept([300, 1500, 9000, 30_000, 200][number % 5], &["a", "b"]).await;
            if number % 6 == 5 {
                self.idle().await;
            }
        }
        for _ in 0..15 {
            let delivery = next(&self.queue, "b").await;
            self.settle(&delivery, if numbered(&delivery, 2) { How::PutBack } else { How::Delivered });
            self.idle().await;
        }
        workers.shutdown().await;
    }

    /// Given up, replayed in a burst, given up again, discarded.
    async fn dead_letters(&self) {
        let mut ids = Vec::new();
        for number in 0..40 {
            ids.push(self.accept([300, 9000, 1500][number % 3], &["a"]).await);
            let delivery = next(&self.queue, "a").await;
            self.settle(&delivery, How::Dead);
            if number == 25 {
                self.idle().await;
                self.idle().await;
            }
        }
        self.treat(&ids[..30], "a", How::Replay).await;
        let mut replayed: BTreeSet<ConversionId> = ids[..30].iter().copied().collect();
        while replayed.len() > 5 {
            let delivery = next(&self.queue, "a").await;
            replayed.remove(&delivery.meta().id);
            self.settle(&delivery, if numbered(&delivery, 3) { How::Delivered } else { How::Dead });
        }
        self.treat(&ids[30..36], "a", How::Discard).await;
        self.idle().await;
        self.treat(&ids[36..40], "a", How::Replay).await;
        for _ in 0..3 {
            self.accept(300, &["b"]).await;
            self.idle().await;
        }
        self.queue.close().await.unwrap();
    }

    /// What is settled is forgotten soon.
    async fn history(self: Arc<Self>) {
        let mut workers = tokio::task::JoinSet::new();
        workers.spawn(
            Arc::clone(&self).work("a", |delivery| if numbered(delivery, 9) { How::Dead } else { How::Delivered }),
        );
        for number in 0..75 {
            let owed = if number % 8 == 0 { &["a", "b"][..] } else { &["a"] };
            self.accept([300, 1500, 9000][number % 3], owed).await;
            self.idle().await;
        }
        workers.shutdown().await;
    }

    /// The store's file is given back again and again.
    async fn generations(self: Arc<Self>) {
        let mut workers = tokio::task::JoinSet::new();
        workers.spawn(Arc::clone(&self).work("a", |delivery| match delivery.attempt() {
            1 if numbered(delivery, 3) => How::RetryNow,
            _ => How::Delivered,
        }));
        let mut number = 0;
        while folder_state(&self.path).generation < 4 {
            self.accept([300, 9000][number % 2], &["a", "b"]).await;
            number += 1;
            self.idle().await;
        }
        workers.shutdown().await;
    }

    /// Some of what is delivered, put off, given up or untouched is forgotten on request.
    async fn forgetting(self: Arc<Self>) {
        let mut workers = tokio::task::JoinSet::new();
        workers.spawn(Arc::clone(&self).work("a", |delivery| match delivery.attempt() {
            1 if numbered(delivery, 3) => How::RetryInAYear,
            1 if numbered(delivery, 4) => How::Dead,
            _ => How::Delivered,
        }));
        let mut ids = Vec::new();
        for number in 0..24 {
            ids.push(self.accept([300, 9000, 30_000][number % 3], &["a", "b"]).await);
            if number % 4 == 3 {
                let id = ids[number - [0, 3, 2][number / 4 % 3]];
                self.say(&format!("forgets {id}"));
                let forgotten = self.queue.forget(Forget::Conversion(id)).await.unwrap();
                assert_eq!((forgotten.conversions, forgotten.being_sent), (1, 0));
                self.say(&format!("forgotten {id}"));
            }
            self.idle().await;
        }
        workers.shutdown().await;
    }

    /// Much waits, in several segments; most of it is delivered, out of the order in which it came: segments become sparse, are
    /// written anew, and go.
    async fn backlog(&self) {
        let segments = || crate::queue::log::segment::numbers(&self.path.join("backlog")).unwrap_or_default();
        for number in 0..60 {
            self.accept([300, 1500, 9000][number % 3], &["b"]).await;
            if number % 4 == 3 {
                self.idle().await;
            }
        }
        eventually("it fills some segments", async || segments().last() > Some(&2)).await;
        let mut held = Vec::new();
        for number in 0..50_usize {
            let delivery = next(&self.queue, "b").await;
            match number % 5 {
                0 => held.push(delivery),
                1 => self.settle(&delivery, How::RetryInAYear),
                _ => self.settle(&delivery, How::Delivered),
            }
        }
        eventually("sparse segments go", async || segments().first() > Some(&1)).await;
        held.iter().for_each(|delivery| self.settle(delivery, How::Dead));
        eventually("all but the last go", async || segments().len() < 3).await;
        self.accept(9000, &["a", "b"]).await;
        self.idle().await;
    }

    /// A folder as a power cut left it, and some work.
    async fn recovery(&self) {
        for padding in [300, 9000, 300] {
            self.accept(padding, &["a", "b"]).await;
        }
        for how in [How::RetryNow, How::Delivered, How::Dead] {
            let delivery = next(&self.queue, "a").await;
            self.settle(&delivery, how);
            self.idle().await;
        }
        self.accept(1500, &["a"]).await;
        self.queue.close().await.unwrap();
    }
}

/// One in so many.
fn numbered(delivery: &Delivery, of: u8) -> bool {
    delivery.meta().id.as_bytes()[15].is_multiple_of(of)
}
