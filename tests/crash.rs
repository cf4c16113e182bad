//! `kill -9` under a merchant's load: what was answered `202` is there, is owed what it was owed, and arrives.
//!
//! Some of the load is repeated; one destination refuses for a while, one rejects what it
//! gets, until its dead letters are replayed. `CAPI_RELAY_TEST_ROUNDS` sets how many relays are killed, `CAPI_RELAY_TEST_SEED`
//! when, and under how many connections.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capi_relay::sandbox::{Behaviour, Platform, Sandbox};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::accounts::{Accounts, Depths, Watch, depths_if_there, post};
use crate::support::process::{Process, started};
use crate::support::{Http, eventually, eventually_of, handle};

/// Rounds of start, load, SIGKILL.
const ROUNDS: u64 = 20;
/// Connections of the load, at most.
const CONNECTIONS: u64 = 256;
/// Orders acknowledged in a round before the kill, at most.
const ACKNOWLEDGED: u64 = 250;

type Shared = Arc<Mutex<Accounts>>;

/// The next of a row of numbers that look random, below a limit.
fn roll(seed: &mut u64, limit: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % limit
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_conversion_answered_202_is_there_and_arrives_after_sigkill() {
    let rounds = number_from("CAPI_RELAY_TEST_ROUNDS").unwrap_or(ROUNDS);
    let first = number_from("CAPI_RELAY_TEST_SEED").unwrap_or_else(rand::random);
    println!("CAPI_RELAY_TEST_SEED={first}");
    let mut seed = first;
    let (sandbox, _folder, file) = started().await;
    let accounts = Shared::default();
    let mut looks = 0;
    let answer = |status| Behaviour::Answer { status, headers: Vec::new(), body: String::new(), times: None };
    for round in 0..rounds {
        let rejects = round % 5 < 2;
        sandbox.script(Platform::Scaleo, if rejects { answer(400) } else { Behaviour::Document });
        let down = round % 4 < 2;
        sandbox.script(Platform::Impact, if down { answer(503) } else { Behaviour::Document });
        let relay = Process::serve_with(&file, &["--no-goldens"]);
        if round > 0 {
            let depths = balanced(&accounts, &relay).await;
            println!("round {round}: {depths:?}");
        }
        if round % 5 == 4 {
            let limit = roll(&mut seed, 2 * ACKNOWLEDGED);
            replay(&relay, limit).await;
        }
        // Few, some and many.
        let most = [4, 32, CONNECTIONS][usize::try_from(round % 3).unwrap()];
        let connections = 1 + roll(&mut seed, most);
        let enough = 1 + roll(&mut seed, ACKNOWLEDGED);
        looks += play(relay, round, connections, enough, &accounts, &sandbox, &mut seed).await;
    }
    println!("{looks} looks at the accounts under load");
    assert!(looks > 0);
    println!("{}", finish(&accounts, &sandbox, &file, rounds).await);
    sandbox.stop().await;
}

/// Load until so much is acknowledged, then SIGKILL. Looks at the accounts every second; returns how often.
async fn play(
    relay: Process,
    round: u64,
    connections: u64,
    enough: u64,
    accounts: &Shared,
    sandbox: &Sandbox,
    seed: &mut u64,
) -> u64 {
    let mut watch = Watch::begin(accounts, &relay.admin).await.unwrap();
    let (gone, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = tokio::task::JoinSet::new();
    for number in 0..connections {
        let client = Client {
            name: format!("r{round}c{number}"),
            origin: relay.origin.clone(),
            seed: roll(seed, u64::MAX),
            gone: Arc::clone(&gone),
            acknowledged: Arc::clone(&acknowledged),
            accounts: Arc::clone(accounts),
        };
        load.spawn(client.run());
    }
    let http = Http::new();
    let enough = usize::try_from(enough).unwrap();
    let wanted = eventually("the load", async || (acknowledged.load(Ordering::Relaxed) >= enough).then_some(()));
    let watching = async {
        loop {
            plausible(&http, &relay.admin, accounts, sandbox).await;
            assert!(watch.look(accounts, &relay.origin, &relay.admin).await, "it answers until it is killed");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = wanted => {}
        () = watching => {}
    }
    relay.kill();
    gone.store(true, Ordering::Relaxed);
    load.join_all().await;
    watch.looks()
}

/// While the load runs: no more is owed than was posted, and no less than was acknowledged and has arrived nowhere.
async fn plausible(http: &Http, admin: &str, accounts: &Shared, sandbox: &Sandbox) {
    let acknowledged: Vec<String> = accounts.lock().unwrap().acknowledged().cloned().collect();
    let Some(depths) = depths_if_there(http, admin).await else { return };
    let posted = accounts.lock().unwrap().posted_count();
    for platform in Platform::ALL {
        let arrived = sandbox.arrivals(platform);
        let owed = depths[platform.name()];
        let owed = owed.pending + owed.dead;
        let missing = acknowledged.iter().filter(|order| !arrived.contains_key(&handle(platform, order))).count();
        let missing = u64::try_from(missing).unwrap();
        assert!((missing..=posted).contains(&owed), "{}: {owed}, not {missing} to {posted}", platform.name());
    }
}

/// A merchant's process.
struct Client {
    name: String,
    origin: String,
    seed: u64,
    gone: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    accounts: Shared,
}

impl Client {
    async fn run(mut self) {
        let http = Http::new();
        let mut orders = Vec::<String>::new();
        while !self.gone.load(Ordering::Relaxed) {
            // Not sure whether it went through, the merchant sends one again.
            let again = roll(&mut self.seed, 6) == 0 && !orders.is_empty();
            let order = if again {
                orders[usize::try_from(roll(&mut self.seed, u64::try_from(orders.len()).unwrap())).unwrap()].clone()
            } else {
                format!("{}n{}", self.name, orders.len())
            };
            self.accounts.lock().unwrap().post(&order);
            let Ok(answer) = post(&http, &self.origin, &order).await else { return };
            let status = answer.body["status"].as_str().unwrap_or_default();
            let fits = if again { "duplicate" } else { "accepted" };
            assert_eq!(status, fits, "{} {}", answer.status, answer.body);
            self.accounts.lock().unwrap().acknowledge(&order, &answer.id());
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            orders.extend((!again).then_some(order));
        }
    }
}

/// Every status is read, and the depths are those.
async fn balanced(accounts: &Shared, relay: &Process) -> Depths {
    let mut known = accounts.lock().unwrap().clone();
    let depths = known.balance(&relay.origin, &relay.admin).await;
    *accounts.lock().unwrap() = known;
    depths
}

/// Replays so many dead letters, if there are.
async fn replay(relay: &Process, limit: u64) {
    let http = Http::new();
    let listed = http.call(Method::GET, &format!("{}/admin/dead?limit={}", relay.admin, limit.max(1)), &[], "").await;
    let ids: Vec<&Value> = listed.body["dead"].as_array().unwrap().iter().map(|letter| &letter["id"]).collect();
    let body = json!({ "destination": "scaleo", "ids": ids }).to_string();
    let url = format!("{}/admin/dead/replay", relay.admin);
    let answer = http.call(Method::POST, &url, &[("content-type", "application/json")], &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["replayed"].as_u64(), u64::try_from(ids.len()).ok(), "{}", answer.body);
}

/// All destinations take what they get, all that is dead is replayed: then everything has arrived, and nothing is owed.
async fn finish(accounts: &Shared, sandbox: &Sandbox, file: &std::path::Path, rounds: u64) -> String {
    let mut summary = String::new();
    for platform in Platform::ALL {
        sandbox.script(platform, Behaviour::Document);
    }
    let relay = Process::serve_with(file, &["--no-goldens"]);
    balanced(accounts, &relay).await;
    let http = Http::new();
    let url = format!("{}/admin/dead/replay", relay.admin);
    let headers = [("content-type", "application/json")];
    let answer = http.call(Method::POST, &url, &headers, &json!({ "destination": "scaleo" }).to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let acknowledged: HashSet<String> = accounts.lock().unwrap().acknowledged().cloned().collect();
    for platform in Platform::ALL {
        eventually_of(
            acknowledged.len(),
            &format!("{} conversions at {}", acknowledged.len(), platform.name()),
            async || {
                let arrived = sandbox.effects(platform);
                acknowledged.iter().all(|order| arrived.contains_key(&handle(platform, order))).then_some(())
            },
        )
        .await;
        let arrived = sandbox.arrivals(platform);
        let repeats: u32 = arrived.values().map(|count| count.saturating_sub(1)).sum();
        summary += &format!(
            "{}: {} acknowledged, {} arrived, {repeats} sent more than once, {} violations\n",
            platform.name(),
            acknowledged.len(),
            arrived.len(),
            sandbox.counts(platform).violations,
        );
        assert_eq!(sandbox.counts(platform).violations, 0);
    }
    assert!(acknowledged.len() > usize::try_from(rounds * 10).unwrap(), "too little load: {}", acknowledged.len());
    eventually("nothing owed", async || {
        let depths = depths_if_there(&http, &relay.admin).await.unwrap();
        depths.values().all(|owed| owed.pending == 0 && owed.dead == 0).then_some(())
    })
    .await;
    accounts.lock().unwrap().forget_settled();
    balanced(accounts, &relay).await;
    reconciled(&http, &relay, acknowledged.len()).await;
    assert_eq!(relay.terminate(), Some(0));
    summary
}

/// The books say of every destination what its stand-in has: as many, and as much to the cent.
async fn reconciled(http: &Http, relay: &Process, count: usize) {
    let url = format!("{}/admin/reconcile?from=2026-01-01", relay.admin);
    let answer = http.call(Method::GET, &url, &[], "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let books = &answer.body;
    assert_eq!((&books["differences"], &books["unread"]), (&json!([]), &json!(0)), "{books}");
    let cents = |row: &Value| -> u64 { row["sum"].as_str().unwrap().replace('.', "").parse().unwrap() };
    let rows = |name: &str| books[name].as_array().unwrap().clone();
    let total = |rows: &[Value]| {
        let counts: u64 = rows.iter().map(|row| row["count"].as_u64().unwrap()).sum();
        (counts, rows.iter().map(cents).sum::<u64>())
    };
    let expected = (u64::try_from(count).unwrap(), u64::try_from(count).unwrap() * 9990);
    assert_eq!(total(&rows("accepted")), expected, "{books}");
    for platform in Platform::ALL {
        let theirs: Vec<Value> =
            rows("deliveries").into_iter().filter(|row| row["destination"] == platform.name()).collect();
        assert!(
            theirs.iter().all(|row| ["delivered", "duplicate"].contains(&row["state"].as_str().unwrap())),
            "{books}"
        );
        assert_eq!(total(&theirs), expected, "{}: {books}", platform.name());
    }
}
