//! The queue against a model of it: random work, restarts and crashes as steps. `CAPI_RELAY_TEST_CASES` sets how often.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::generation::{always, folder_state};
use super::*;

const DESTINATIONS: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
enum Act {
    /// Bits: owed to a, owed to b.
    Accept {
        owed: u8,
        padding: usize,
    },
    Again {
        which: usize,
    },
    Settle {
        destination: usize,
        how: u8,
    },
    Treat {
        which: usize,
        replay: bool,
    },
    Forget {
        which: usize,
    },
    LetTime,
    /// Until the store's file has been given back.
    Generation,
    Close,
    Crash,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (0..4_u8, prop_oneof![4 => 0..500_usize, 1 => 30_000..90_000_usize])
            .prop_map(|(owed, padding)| Act::Accept { owed, padding }),
        1 => (0..100_usize).prop_map(|which| Act::Again { which }),
        8 => (0..2_usize, 0..10_u8).prop_map(|(destination, how)| Act::Settle { destination, how }),
        2 => (0..100_usize, any::<bool>()).prop_map(|(which, replay)| Act::Treat { which, replay }),
        1 => (0..100_usize).prop_map(|which| Act::Forget { which }),
        1 => Just(Act::LetTime),
        1 => Just(Act::Generation),
        1 => Just(Act::Close),
        1 => Just(Act::Crash),
    ];
    proptest::collection::vec(act, 1..80)
}

/// Attempts used up, and where the delivery stands; `due` of a pending one tells whether it is handed out now.
#[derive(Debug, Clone, PartialEq)]
struct Leg {
    state: State,
    attempts: u32,
    due: bool,
}

#[derive(Default)]
struct Model {
    /// Per conversion its event id and, per destination owed, what may be found: the last is what was said last; the ones
    /// before may be found after a crash, because settlements are lazy.
    conversions: BTreeMap<ConversionId, (String, usize, Legs)>,
    /// Event id and padding of those that were forgotten on request.
    forgotten: BTreeMap<ConversionId, (String, usize)>,
}

type Legs = BTreeMap<usize, Vec<Leg>>;

impl Model {
    fn due(&self, destination: usize) -> Vec<ConversionId> {
        let due = |legs: &Legs| legs.get(&destination).is_some_and(|legs| legs.last().unwrap().due);
        self.conversions.iter().filter(|(_, (_, _, legs))| due(legs)).map(|(id, _)| *id).collect()
    }

    /// Holds every status and the depths to the model. After a crash the model learns what was kept.
    async fn check(&mut self, queue: &Queue, crashed: bool) {
        let mut dead = 0_usize;
        for (id, (_, _, legs)) in &mut self.conversions {
            let status = queue.status(*id).await.unwrap().unwrap_or_else(|| panic!("{id} is lost"));
            assert_eq!(status.destinations.len(), legs.len());
            for (destination, known) in legs {
                let wanted = name(DESTINATIONS[*destination]);
                let found = &status.destinations.iter().find(|(name, _)| *name == wanted).unwrap().1;
                let is_later = found.next_attempt_ms == Some(u64::MAX);
                let fits = |leg: &&Leg| {
                    let is_pending = matches!(leg.state, State::Queued | State::Retrying | State::Accepted);
                    (leg.state, leg.attempts) == (found.state, found.attempts) && (is_pending && !leg.due) == is_later
                };
                let fit = if crashed { known.iter().rev().find(fits) } else { known.last().filter(fits) };
                let fit = fit.unwrap_or_else(|| panic!("{found:?} is none of {known:?}")).clone();
                dead += usize::from(matches!(fit.state, State::Dead(_)));
                if crashed {
                    *known = vec![fit];
                }
            }
        }
        self.balance(queue);
        assert_eq!(dead_letters(queue, DeadFilter::default()).await.len(), dead);
        for id in self.forgotten.keys() {
            assert_eq!(queue.status(*id).await.unwrap(), None);
        }
    }

    /// The accounts: of each destination, what was accepted and is not settled is dead or pending, and so many are told.
    fn balance(&self, queue: &Queue) {
        let depths = queue.depths();
        for (destination, text) in DESTINATIONS.iter().enumerate() {
            let (mut pending, mut dead) = (0, 0);
            for legs in self.conversions.values().filter_map(|(_, _, legs)| legs.get(&destination)) {
                match legs.last().unwrap().state {
                    State::Queued | State::Retrying | State::Accepted => pending += 1,
                    State::Dead(_) => dead += 1,
                    State::Delivered | State::Discarded => {}
                    other
                    @ (State::Held | State::Duplicate | State::Skipped | State::Withheld | State::Unsupported) => {
                        panic!("{other:?} is nothing that was done")
                    }
                }
            }
            let depth = &depths.destinations[&name(text)];
            assert_eq!((depth.pending, depth.dead.total()), (pending, dead), "{text}");
        }
    }

    async fn act(&mut self, queue: &Queue, act: &Act) {
        match act {
            Act::Accept { owed, padding } => {
                let plan: Vec<usize> = (0..2).filter(|bit| owed & (1 << bit) != 0).collect();
                let texts: Vec<&str> = plan.iter().map(|index| DESTINATIONS[*index]).collect();
                let event_id = format!("m{}", NUMBER.fetch_add(1, Ordering::Relaxed));
                let id = accept(queue, submission_of(&event_id, *padding, &texts)).await;
                let fresh = vec![Leg { state: State::Queued, attempts: 0, due: true }];
                let legs = plan.into_iter().map(|index| (index, fresh.clone())).collect();
                self.conversions.insert(id, (event_id, *padding, legs));
            }
            Act::Again { which } => {
                if let Some((id, (event_id, padding, _))) = self.conversions.iter().cycle().nth(*which) {
                    match queue.accept(submission_of(event_id, *padding, &["a"])).await.unwrap() {
                        Accepted::Duplicate(status) => assert_eq!(status.id, *id),
                        other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
                    }
                }
            }
            Act::Settle { destination, how } => self.settle(queue, *destination, *how).await,
            Act::Forget { which } => self.forget(queue, *which).await,
            Act::Treat { which, replay } => self.treat(queue, *which, *replay).await,
            Act::LetTime => tokio::time::sleep(Duration::from_millis(40)).await,
            Act::Generation | Act::Close | Act::Crash => {}
        }
    }

    /// Forgets one, and asks for it again.
    async fn forget(&mut self, queue: &Queue, which: usize) {
        let Some(id) = self.conversions.keys().cycle().nth(which).copied() else { return };
        let (event_id, padding, legs) = self.conversions.remove(&id).unwrap();
        let count = |is: fn(State) -> bool| {
            u64::try_from(legs.values().filter(|legs| is(legs.last().unwrap().state)).count()).unwrap()
        };
        let withdrawn = count(|state| matches!(state, State::Queued | State::Retrying | State::Accepted));
        let dead = count(|state| matches!(state, State::Dead(_)));
        let done = queue.forget(Forget::Conversion(id)).await.unwrap();
        assert_eq!(done, Forgotten { conversions: 1, withdrawn, dead, being_sent: 0, unread: 0 });
        match queue.accept(submission_of(&event_id, padding, &["a"])).await.unwrap() {
            Accepted::Duplicate(status) => assert_eq!((status.id, status.destinations), (id, Vec::new())),
            other @ (Accepted::New(_) | Accepted::KeyReused { .. }) => panic!("{other:?}"),
        }
        self.forgotten.insert(id, (event_id, padding));
        // All that came before it is durable.
        for legs in self.conversions.values_mut().flat_map(|(_, _, legs)| legs.values_mut()) {
            legs.drain(..legs.len() - 1);
        }
    }

    /// Deals with one delivery, which may be no dead letter: what is done is durable, with all that came before it.
    async fn treat(&mut self, queue: &Queue, which: usize, replay: bool) {
        let deliveries: Vec<(ConversionId, usize)> = self
            .conversions
            .iter()
            .flat_map(|(id, (_, _, legs))| legs.keys().map(|destination| (*id, *destination)))
            .collect();
        let Some((id, destination)) = deliveries.iter().cycle().nth(which).copied() else { return };
        let treatment = if replay { Treatment::Replay } else { Treatment::Discard { reason: "dealt with".to_owned() } };
        let (ids, destination_name) = (Some(vec![id]), Some(name(DESTINATIONS[destination])));
        let filter = DeadFilter { ids, destination: destination_name, ..DeadFilter::default() };
        let treated = queue.treat(filter, treatment).await.unwrap();
        let legs = self.conversions.get_mut(&id).unwrap().2.get_mut(&destination).unwrap();
        let Leg { state, attempts, .. } = *legs.last().unwrap();
        let is_dead = matches!(state, State::Dead(_));
        assert_eq!((treated.matched, treated.done), (u64::from(is_dead), u64::from(is_dead)));
        match (is_dead, replay) {
            (false, _) => {}
            (true, true) => *legs = vec![Leg { state: State::Queued, attempts: 0, due: true }],
            (true, false) => *legs = vec![Leg { state: State::Discarded, attempts, due: false }],
        }
    }

    async fn settle(&mut self, queue: &Queue, destination: usize, how: u8) {
        let due = self.due(destination);
        if due.is_empty() {
            return;
        }
        let delivery = next(queue, DESTINATIONS[destination]).await;
        let id = delivery.meta().id;
        assert!(due.contains(&id), "{id} is not due");
        let legs = self.conversions.get_mut(&id).unwrap().2.get_mut(&destination).unwrap();
        let Leg { attempts, state, .. } = *legs.last().unwrap();
        assert_eq!(delivery.attempt(), attempts.wrapping_add(1));
        // Once accepted it is asked about, and never handed out to be sent again.
        let is_accepted = state == State::Accepted;
        let captured: BTreeMap<String, String> = [("uri".to_owned(), id.to_string())].into();
        assert_eq!(delivery.acceptance().map(|known| &known.captured), is_accepted.then_some(&captured));
        let accepted = |due_ms| Outcome::Accepted { due_ms, captured: captured.clone() };
        let retry = |due_ms, spent| Outcome::Retry { due_ms, spent };
        let (outcome, state, spent, due) = match how {
            0..=2 => (delivered(), State::Delivered, true, false),
            3 => (dead("no"), State::Dead(DeadKind::Rejected), true, false),
            4 => (retry(1, true), State::Retrying, true, true),
            5 => (retry(1, false), if attempts == 0 { State::Queued } else { State::Retrying }, false, true),
            6 => (retry(u64::MAX, true), State::Retrying, true, false),
            7 => (accepted(1), State::Accepted, true, true),
            8 => (accepted(u64::MAX), State::Accepted, true, false),
            _ => return,
        };
        let is_asked_again = is_accepted && matches!(state, State::Queued | State::Retrying);
        let state = if is_asked_again { State::Accepted } else { state };
        queue.settle(&delivery, outcome, spent.then(|| attempt(500, Verdict::Retry)));
        legs.push(Leg { state, attempts: attempts.wrapping_add(u32::from(spent && !is_accepted)), due });
    }
}

/// Steps taken in all cases.
static STEPS: AtomicU64 = AtomicU64::new(0);

fn cases() -> u32 {
    std::env::var_os("CAPI_RELAY_TEST_CASES").map_or(40, |text| text.to_str().unwrap().parse().unwrap())
}

async fn run(acts: Vec<Act>) {
    STEPS.fetch_add(u64::try_from(acts.len()).unwrap(), Ordering::Relaxed);
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), &DESTINATIONS);
    let encryption = acts.len().is_multiple_of(2).then(|| encryption(1)).or(settings.encryption);
    let settings = Settings { encryption, ..settings };
    let open = || Queue::open_with(&settings, Clock::system(), always()).unwrap();
    let mut queue = open();
    let mut model = Model::default();
    for act in acts {
        model.act(&queue, &act).await;
        if matches!(act, Act::Generation) {
            let before = folder_state(dir.path()).generation;
            eventually("given back", async || folder_state(dir.path()).generation > before).await;
        }
        if matches!(act, Act::Close | Act::Crash) {
            let crashed = matches!(act, Act::Crash);
            if !crashed {
                queue.close().await.unwrap();
            }
            drop(queue);
            queue = open();
            model.check(&queue, crashed).await;
        }
        model.balance(&queue);
    }
    model.check(&queue, false).await;
    // Everything that is due is handed out, once.
    for (destination, text) in DESTINATIONS.iter().enumerate() {
        let mut due = model.due(destination);
        let mut held = Vec::new();
        while !due.is_empty() {
            let delivery = next(&queue, text).await;
            let id = delivery.meta().id;
            assert!(due.contains(&id), "{id} is not due, or handed out twice");
            due.retain(|other| *other != id);
            held.push(delivery);
        }
        let nothing = tokio::time::timeout(Duration::from_millis(20), queue.next(&name(text))).await;
        assert!(nothing.is_err(), "more than is due");
    }
}

#[test]
fn it_does_what_the_model_says_across_restarts_and_crashes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig { cases: cases(), source_file: Some(file!()), ..ProptestConfig::default() };
    let ran = proptest::test_runner::TestRunner::new(config).run(&acts(), |acts| {
        runtime.block_on(run(acts));
        Ok(())
    });
    println!("{} steps", STEPS.load(Ordering::Relaxed));
    ran.unwrap_or_else(|failure| panic!("{failure}"));
}
