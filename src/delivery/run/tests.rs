//! The loop of one destination, a step at a time.

use super::super::tests::platform::{Platform, Reply};
use super::super::tests::{Bench, destination};
use super::*;
use crate::conversion::ConversionId;
use crate::queue::{DeadKind, State};

#[tokio::test]
async fn a_panic_ends_one_delivery_which_returns_to_the_queue() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", "on_ambiguous = 'retry'")]);
    let (pool, id) = panic_while_sending(&bench).await;
    let name = &pool.destination.name;
    let again = bench.queue.next(name).await;
    assert_eq!((again.meta().id, again.attempt()), (id, 2));
    assert_eq!((pool.instruments.panics.get(), pool.instruments.in_flight.get()), (1, 0));
    drop(again);
    bench.stop().await;
}

#[tokio::test]
async fn a_panic_while_sending_is_no_second_sale_where_nothing_deduplicates() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", "on_ambiguous = 'dead_letter'")]);
    let (pool, id) = panic_while_sending(&bench).await;
    let status = bench.queue.status(id).await.unwrap().unwrap();
    let (name, delivery) = status.destinations.first().unwrap();
    assert_eq!((name, delivery.state), (&pool.destination.name, State::Dead(DeadKind::Unknown)));
    bench.stop().await;
}

/// An attempt that panics: there is no such operation.
async fn panic_while_sending(bench: &Bench) -> (Arc<Pool>, ConversionId) {
    let id = bench.accept().await;
    let pool = bench.pools.all().remove(0);
    let mut desk = Desk::new(&pool);
    let delivery = bench.queue.next(&pool.destination.name).await;
    let mut prepared = pool.prepare(&delivery).unwrap();
    prepared.operation = usize::MAX;
    pool.send(&mut desk, Pass::Ordinary, delivery, prepared);
    let ended = desk.attempts.join_next_with_id().await.unwrap();
    assert!(ended.is_err());
    pool.ended(&mut desk, ended);
    (pool, id)
}

#[tokio::test]
async fn one_probe_at_a_time() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", "limits = { concurrency = 4 }")]);
    bench.accept().await;
    let pool = &bench.pools.all()[0];
    let mut desk = Desk::new(pool);
    desk.gate.settle(Pass::Ordinary, Health::Refusing, Instant::now());
    assert!(matches!(desk.step(), Step::NotBefore(_)));
    desk.gate.probe_now(Instant::now());
    let Step::Take(pass) = desk.step() else { panic!("a probe is due") };
    let delivery = bench.queue.next(&pool.destination.name).await;
    pool.begin(&mut desk, pass, delivery);
    assert_eq!(desk.attempts.len(), 1);
    assert!(matches!(desk.step(), Step::Wait), "the probe is under way");
    let ended = desk.attempts.join_next_with_id().await.unwrap();
    pool.ended(&mut desk, ended);
    assert!(matches!(desk.step(), Step::NotBefore(_)), "it failed: not before the next one's time");
    bench.stop().await;
}

#[tokio::test]
async fn a_probe_does_not_wait_for_attempts_that_hang() {
    let platform = Platform::answering([], Reply::Hang).await;
    let bench = Bench::open(&[destination("one", &platform.url(), "limits = { concurrency = 4 }")]);
    bench.accept().await;
    let pool = &bench.pools.all()[0];
    let mut desk = Desk::new(pool);
    let delivery = bench.queue.next(&pool.destination.name).await;
    pool.begin(&mut desk, Pass::Ordinary, delivery);
    assert!(matches!(desk.step(), Step::Wait), "one at the start");
    desk.gate.settle(Pass::Ordinary, Health::Refusing, Instant::now());
    desk.gate.probe_now(Instant::now());
    assert!(matches!(desk.step(), Step::Take(Pass::Probe)));
    desk.attempts.shutdown().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_repeat_is_paid_for_out_of_the_rate_before_anything_else_is_sent() {
    let limits = "limits = { rate = \"1/h\", burst = 2 }";
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", limits)]);
    let pool = &bench.pools.all()[0];
    let mut desk = Desk::new(pool);
    let mut after = |repeated| {
        let report = Report {
            health: Health::Well,
            hold: None,
            begun: Instant::now(),
            error: None,
            repeated,
            lacks_token: false,
        };
        pool.learn(&mut desk, (Pass::Ordinary, None, 0), report, Instant::now());
        desk.step()
    };
    assert!(matches!(after(false), Step::Take(_)), "two are left");
    assert!(matches!(after(true), Step::Take(_)), "one is left");
    assert!(matches!(after(true), Step::Limited(_)));
    bench.stop().await;
}

#[tokio::test]
async fn a_repeat_is_paid_for_out_of_the_rate_of_its_own_operation() {
    let early = "limits = { rate = \"1/h\", burst = 2 }\n[destination.one.operation.early]\nurl = \"http://127.0.0.1:9/\"\n\
                 map.early = \"event_id\"\nkind = \"conversion\"\nlimits = { rate = \"1/h\", burst = 2 }";
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", early)]);
    let pool = &bench.pools.all()[0];
    let early = pool.destination.operations.iter().position(|operation| operation.name == "early").unwrap();
    let mut desk = Desk::new(pool);
    let report = Report {
        health: Health::Well,
        hold: None,
        begun: Instant::now(),
        error: None,
        repeated: true,
        lacks_token: false,
    };
    pool.learn(&mut desk, (Pass::Ordinary, None, early), report, Instant::now());
    let now = Instant::now();
    assert!(desk.take_token(early, now).is_ok() && desk.take_token(early, now).is_err(), "one of two is paid");
    assert!(desk.limiter.take(now).is_ok() && desk.limiter.take(now).is_ok(), "and none of the others");
    bench.stop().await;
}

#[tokio::test]
async fn an_operation_with_a_rate_of_its_own_spends_that_alone_and_goes_in_the_destinations_turn() {
    let early = "limits = { rate = \"1/h\", burst = 1 }\n[destination.one.operation.early]\nurl = \"http://127.0.0.1:9/\"\n\
                 map.early = \"event_id\"\nkind = \"conversion\"\nlimits = { rate = \"1/h\", burst = 2 }";
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", early)]);
    let pool = &bench.pools.all()[0];
    let early = pool.destination.operations.iter().position(|operation| operation.name == "early").unwrap();
    let (desk, now) = (Desk::new(pool), Instant::now());
    assert!(desk.take_token(early, now).is_ok());
    assert!(matches!(desk.step(), Step::Take(_)), "none of the destination's is spent");
    assert!(desk.limiter.take(now).is_ok());
    assert!(matches!(desk.step(), Step::Limited(_)), "whichever operation is next, it has no turn");
    assert!(desk.take_token(early, now).is_ok(), "though one of its own is left");
    bench.stop().await;
}

#[tokio::test]
async fn an_overloaded_destination_gets_fewer_attempts_at_once() {
    let bench = Bench::open(&[destination("one", "http://127.0.0.1:9/", "limits = { concurrency = 4 }")]);
    let pool = &bench.pools.all()[0];
    let mut desk = Desk::new(pool);
    let report =
        |health| Report { health, hold: None, begun: Instant::now(), error: None, repeated: false, lacks_token: false };
    let mut learn = |health| {
        pool.learn(&mut desk, (Pass::Ordinary, None, 0), report(health), Instant::now());
        pool.show_numbers(&desk);
        pool.instruments.concurrency.get()
    };
    assert_eq!([learn(Health::Well), learn(Health::Well), learn(Health::Well)], [2, 3, 4]);
    assert_eq!(learn(Health::Failing { overloaded: false }), 4);
    assert_eq!(learn(Health::Failing { overloaded: true }), 2);
    assert_eq!([learn(Health::Well), learn(Health::Well)], [2, 3]);
    assert_eq!(learn(Health::Answering), 3, "a round of three is not over");
    assert_eq!(learn(Health::Refusing), 1, "after an outage it begins anew");
    assert_eq!(learn(Health::Failing { overloaded: true }), 1);
    assert_eq!([learn(Health::Well), learn(Health::Well), learn(Health::Well)], [2, 2, 3], "doubled to half of four");
    bench.stop().await;
}
