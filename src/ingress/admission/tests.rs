use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::{Instant, advance};

use super::*;

fn gate(places: u32) -> Arc<Admission> {
    Arc::new(Admission::new(NonZeroU32::new(places), Clock::tokio(0)))
}

async fn refused(gate: &Admission, body_bytes: usize) -> Duration {
    let begun = Instant::now();
    let problem = gate.enter(body_bytes).await.err().expect("no place");
    assert_eq!(problem.kind(), Kind::Overloaded);
    assert_eq!(problem.wait(), Some(RETRY_AFTER));
    begun.elapsed()
}

/// Who came in, in the order in which they did. Each goes again at once.
#[derive(Clone, Default)]
struct Entered(Arc<Mutex<Vec<&'static str>>>);

impl Entered {
    /// One that waits, when this returns.
    async fn waits(&self, gate: &Arc<Admission>, name: &'static str) -> JoinHandle<()> {
        let (gate, entered) = (Arc::clone(gate), self.clone());
        let task = tokio::spawn(async move {
            if gate.enter(0).await.is_ok() {
                entered.0.lock().unwrap().push(name);
            }
        });
        yield_now().await;
        assert!(!task.is_finished(), "{name} waits");
        task
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_served_in_its_order() {
    let (gate, entered) = (gate(1), Entered::default());
    let held = gate.enter(0).await.unwrap();
    let mut tasks = Vec::new();
    for name in ["first", "second", "third"] {
        tasks.push(entered.waits(&gate, name).await);
    }
    advance(GOOD_TIME_MIN).await;
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(entered.names(), ["first", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn where_not_all_can_be_served_in_time_the_newest_are_and_the_others_when_there_is_room() {
    let (gate, entered) = (gate(1), Entered::default());
    let held = gate.enter(0).await.unwrap();
    // Whose turn it is keeps it.
    let mut tasks = vec![entered.waits(&gate, "next").await, entered.waits(&gate, "old").await];
    advance(GOOD_TIME_MIN + Duration::from_millis(1)).await;
    for name in ["new", "newer"] {
        tasks.push(entered.waits(&gate, name).await);
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(entered.names(), ["next", "newer", "new", "old"]);
}

/// Fifteen of sixteen places are held, and of two that waited one was next and one is late; for so long.
async fn with_one_late(entered: &Entered, time: Duration) -> (Arc<Admission>, Vec<Admitted>, JoinHandle<()>) {
    let gate = gate(16);
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(gate.enter(0).await.unwrap());
    }
    let next = entered.waits(&gate, "next").await;
    let late = entered.waits(&gate, "late").await;
    advance(GOOD_TIME_MIN.saturating_add(Duration::from_millis(1))).await;
    // Whose turn it was goes first; from then on somebody is late.
    held.truncate(15);
    next.await.unwrap();
    advance(time).await;
    (gate, held, late)
}

#[tokio::test(start_paused = true)]
async fn who_is_late_is_served_while_half_of_the_places_are_free() {
    let entered = Entered::default();
    let (gate, mut held, late) = with_one_late(&entered, Duration::ZERO).await;
    held.truncate(9);
    assert!(timeout(Duration::ZERO, gate.enter(0)).await.is_ok(), "who comes now has a place that is free");
    assert_eq!(entered.names(), ["next"]);
    held.truncate(8);
    late.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_that_lasts_who_is_late_is_served_while_hardly_a_place_is_taken() {
    let entered = Entered::default();
    let (gate, mut held, late) = with_one_late(&entered, Duration::ZERO).await;
    held.push(gate.enter(0).await.unwrap());
    // One after the other becomes late.
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(entered.waits(&gate, "other").await);
        advance(BURST / 3).await;
    }
    // As if no place were held for long: what a good time is stays what it was.
    held.iter_mut().for_each(|place| place.since_ms = gate.gate.clock.elapsed_ms());
    held.truncate(3);
    yield_now().await;
    assert!(timeout(Duration::ZERO, gate.enter(0)).await.is_ok(), "who comes now has a place that is free");
    assert_eq!(entered.names(), ["next", "other"], "whose turn it was keeps it");
    held.truncate(2);
    late.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    // Nobody is late any more: what comes next is another burst.
    drop(timeout(Duration::ZERO, gate.enter(0)).await);
    assert_eq!(gate.gate.hall().late_since_ms, None);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_burst_is_served_however_long_it_takes() {
    let entered = Entered::default();
    let (gate, mut held, late) = with_one_late(&entered, Duration::ZERO).await;
    // Nobody comes any more.
    advance(BURST.saturating_add(GOOD_TIME_MIN)).await;
    held.truncate(9);
    yield_now().await;
    assert_eq!(entered.names(), ["next"]);
    held.truncate(8);
    late.await.unwrap();
    drop(gate);
}

#[tokio::test(start_paused = true)]
async fn what_a_good_time_is_follows_from_how_long_places_are_held() {
    let gate = gate(1);
    let hold = async |time: Duration| {
        for _ in 0..200 {
            let held = gate.enter(0).await.unwrap();
            advance(time).await;
            drop(held);
        }
        gate.gate.hall().good_time()
    };
    assert_eq!(hold(Duration::from_millis(1)).await, GOOD_TIME_MIN);
    assert_eq!(hold(Duration::from_millis(60)).await, Duration::from_millis(120));
    assert_eq!(hold(Duration::from_secs(1)).await, GOOD_TIME_MAX);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_before_a_client_would_give_up() {
    let gate = gate(2);
    let held = (gate.enter(0).await.unwrap(), gate.enter(0).await.unwrap());
    assert_eq!(refused(&gate, 0).await, PATIENCE);
    assert_eq!(refused(&gate, 0).await, PATIENCE, "and not sooner for having been full for long");
    drop(held);
    assert!(gate.enter(0).await.is_ok());
}

#[test]
fn refusals_are_spread_where_very_many_wait() {
    let check = |waiting: usize, expected: Duration| assert_eq!(patience(waiting), expected, "{waiting}");
    check(0, PATIENCE);
    check(500, PATIENCE);
    check(2000, Duration::from_secs(2));
    check(10_000, PATIENCE_MAX);
    check(usize::MAX, PATIENCE_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_large_body_takes_the_places_that_its_work_is_and_the_largest_a_quarter() {
    let gate = gate(16);
    let three = gate.enter(3 * BYTES_OF_A_PLACE).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(gate.enter(usize::MAX).await.unwrap());
    }
    let one = gate.enter(1).await.unwrap();
    refused(&gate, 1).await;
    drop(one);
    refused(&gate, usize::MAX).await;
    drop(three);
    assert!(gate.enter(usize::MAX).await.is_ok());
}

/// All of eight places are held, and somebody waits for two.
async fn with_a_large_one_waiting(gate: &Arc<Admission>) -> (Vec<Admitted>, JoinHandle<Result<(), Problem>>) {
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(gate.enter(0).await.unwrap());
    }
    let large = tokio::spawn({
        let gate = Arc::clone(gate);
        async move { gate.enter(2 * BYTES_OF_A_PLACE).await.map(drop) }
    });
    yield_now().await;
    (held, large)
}

#[tokio::test(start_paused = true)]
async fn places_are_gathered_for_a_large_body_whose_turn_it_is() {
    let (gate, entered) = (gate(8), Entered::default());
    let (mut held, large) = with_a_large_one_waiting(&gate).await;
    held.pop();
    let small = entered.waits(&gate, "small").await;
    held.pop();
    assert!(large.await.unwrap().is_ok());
    small.await.unwrap();
    assert_eq!(entered.names(), ["small"], "there is room for it beside");
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_keeps_no_place_and_holds_nobody_up() {
    let (gate, entered) = (gate(8), Entered::default());
    let (mut held, large) = with_a_large_one_waiting(&gate).await;
    held.pop();
    let small = entered.waits(&gate, "small").await;
    large.abort();
    assert!(large.await.unwrap_err().is_cancelled());
    small.await.unwrap();
    assert_eq!(entered.names(), ["small"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_as_it_is_called_gives_its_place_back() {
    let gate = gate(1);
    let held = gate.enter(0).await.unwrap();
    let mut waits = Box::pin(gate.enter(0));
    assert!(futures_util::poll!(waits.as_mut()).is_pending());
    drop(held);
    drop(waits);
    assert!(timeout(Duration::ZERO, gate.enter(0)).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_is_ever_lost_or_given_twice() {
    let (gate, inside) = (gate(8), Arc::new(AtomicU32::new(0)));
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        tasks.spawn(come_and_go(Arc::clone(&gate), Arc::clone(&inside), number));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let hall = gate.gate.hall();
    assert_eq!((hall.free, hall.next.is_none(), hall.waiting.len()), (8, true, 0));
}

/// Takes one or two places again and again. Some are gone before it is their turn, some just then.
async fn come_and_go(gate: Arc<Admission>, inside: Arc<AtomicU32>, number: u32) {
    let (weight, body_bytes) = if number.is_multiple_of(2) { (1, 0) } else { (2, BYTES_OF_A_PLACE.saturating_add(1)) };
    for micros in (0..100).map(|turn| u64::from(number).wrapping_mul(7).wrapping_add(turn) % 50) {
        let patience = Duration::from_micros(micros.wrapping_mul(10));
        let Ok(Ok(_admitted)) = timeout(patience, gate.enter(body_bytes)).await else { continue };
        assert!(inside.fetch_add(weight, Ordering::SeqCst).wrapping_add(weight) <= 8);
        yield_now().await;
        inside.fetch_sub(weight, Ordering::SeqCst);
    }
}
