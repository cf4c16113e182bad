//! The relay's books, kept from outside: every conversion that was posted, every status, and the depths that it reports.
//!
//! For each destination, what was accepted is delivered, duplicate, skipped, withheld, unsupported, discarded, dead or
//! pending: every status is one of these, and those that are dead or pending are as many as the relay says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Answer, Http, PATIENCE_FOR_EACH, conversion, eventually_of};

/// How many deliveries of a destination wait, and how many are dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) pending: u64,
    pub(crate) dead: u64,
}

/// By destination.
pub(crate) type Depths = BTreeMap<String, Owed>;

/// What is known of everything that was posted to one data folder, over all its relays. Orders are named once.
#[derive(Debug, Default, Clone)]
pub(crate) struct Accounts {
    /// Sent and not answered, or refused: may be kept all the same.
    posted: BTreeSet<String>,
    /// Answered `202`, by order: the id.
    acknowledged: BTreeMap<String, String>,
    /// Of these, settled at every destination when last looked at: that is for good.
    settled: BTreeSet<String>,
}

impl Accounts {
    /// Before a conversion is sent.
    pub(crate) fn post(&mut self, order: &str) {
        if !self.acknowledged.contains_key(order) {
            self.posted.insert(order.to_owned());
        }
    }

    /// Once it was answered `202`, or known already.
    pub(crate) fn acknowledge(&mut self, order: &str, id: &str) {
        self.posted.remove(order);
        let before = self.acknowledged.insert(order.to_owned(), id.to_owned());
        assert!(before.is_none_or(|before| before == id), "{order} has two ids");
    }

    /// Orders answered `202`.
    pub(crate) fn acknowledged(&self) -> impl Iterator<Item = &String> {
        self.acknowledged.keys()
    }

    /// The most that may be found.
    pub(crate) fn posted_count(&self) -> u64 {
        u64::try_from(self.posted.len() + self.acknowledged.len()).unwrap()
    }

    /// From here on nothing is taken to be settled: the next balance reads every status again.
    pub(crate) fn forget_settled(&mut self) {
        self.settled.clear();
    }

    /// Sends again what was not acknowledged, as a merchant would: it is known already, or new.
    pub(crate) async fn send_again(&mut self, origin: &str) {
        let http = Http::new();
        for order in self.posted.clone() {
            let answer = post(&http, origin, &order).await.unwrap();
            assert!(answer.status.is_success(), "{order}: {} {}", answer.status, answer.body);
            self.acknowledge(&order, &answer.id());
        }
    }

    /// Reads the status of all that is not known to be settled and holds the depths reported to it; waits for a moment in
    /// which nothing moves. Every conversion acknowledged must be there, and none half. What was not is sent again before.
    /// Returns the depths.
    #[track_caller]
    pub(crate) fn balance<'a>(&'a mut self, origin: &'a str, admin: &'a str) -> impl Future<Output = Depths> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            self.send_again(origin).await;
            let http = Http::new();
            let mut last = String::new();
            let count = self.acknowledged.len();
            let patience = PATIENCE + PATIENCE_FOR_EACH * u32::try_from(count).unwrap();
            let balanced = eventually_of(count, "a balance", async || {
                let before = depths(&http, admin).await;
                let counted = self.count(&http, origin, &before).await.unwrap();
                let after = depths(&http, admin).await;
                let balanced = before == after && before == counted;
                last = format!("reported {before:?} and {after:?}, counted {counted:?}");
                balanced.then_some(counted)
            });
            let balanced = tokio::time::timeout(patience, balanced).await;
            balanced.unwrap_or_else(|_| panic!("no balance, for {caller}: {last}"))
        }
    }

    /// Nothing when the relay is gone or cannot read.
    async fn count(&mut self, http: &Http, origin: &str, reported: &Depths) -> Option<Depths> {
        let unsettled = self.acknowledged.iter().filter(|(order, _)| !self.settled.contains(*order));
        let unsettled: Vec<_> =
            unsettled.map(|(order, id)| (order.clone(), format!("{origin}/v1/conversions/{id}"))).collect();
        let readers = Arc::new(Semaphore::new(READERS));
        let mut reads = tokio::task::JoinSet::new();
        for (order, url) in unsettled {
            let (http, readers) = (http.clone(), Arc::clone(&readers));
            reads.spawn(async move {
                let _turn = readers.acquire().await.unwrap();
                (order, http.attempt(Method::GET, &url, &[], "").await)
            });
        }
        let mut counted: Depths = reported.keys().map(|name| (name.clone(), Owed::default())).collect();
        while let Some(read) = reads.join_next().await {
            let (order, answer) = read.unwrap();
            let answer = answer.ok().filter(|answer| answer.status != StatusCode::SERVICE_UNAVAILABLE)?;
            assert_eq!(answer.status, StatusCode::OK, "{order} was acknowledged and is lost: {}", answer.body);
            if add(&mut counted, &answer.body) {
                self.settled.insert(order);
            }
        }
        Some(counted)
    }
}

/// Looks at one relay while it is under load, again and again.
pub(crate) struct Watch {
    /// What it owed before the load, of each destination, and had been sent by then. Of that nothing more can be owed later.
    owed: BTreeMap<String, u64>,
    sent: u64,
    before: BTreeSet<String>,
    /// Of the load, how many had been settled when last looked. Until the relay is killed that is for good.
    settled: BTreeMap<String, u64>,
    looks: u64,
}

impl Watch {
    /// Before the load. Nothing when the relay is gone or cannot read.
    pub(crate) async fn begin(accounts: &Mutex<Accounts>, admin: &str) -> Option<Watch> {
        let depths = depths_if_there(&Http::new(), admin).await?;
        let owed = depths.into_iter().map(|(name, owed)| (name, owed.pending + owed.dead)).collect();
        let accounts = accounts.lock().unwrap();
        let before = accounts.acknowledged().cloned().collect();
        Some(Watch { owed, sent: accounts.posted_count(), before, settled: BTreeMap::new(), looks: 0 })
    }

    /// For each destination: what was answered before the relay said how much it owes is owed, dead or settled; and these
    /// are no more than was sent by then. The accounts go on meanwhile. False when the relay is gone or cannot read.
    pub(crate) async fn look(&mut self, accounts: &Mutex<Accounts>, origin: &str, admin: &str) -> bool {
        let http = Http::new();
        let mut answered = accounts.lock().unwrap().clone();
        answered.acknowledged.retain(|order, _| !self.before.contains(order));
        let Some(reported) = depths_if_there(&http, admin).await else { return false };
        let sent = accounts.lock().unwrap().posted_count() - self.sent;
        let Some(counted) = answered.count(&http, origin, &reported).await else { return false };
        let number = u64::try_from(answered.acknowledged.len()).unwrap();
        for (name, owed) in &reported {
            let (reported, counted) = (owed.pending + owed.dead, counted[name].pending + counted[name].dead);
            assert!(counted <= reported, "{name}: {counted} of {number} answered are owed, {reported} reported");
            let before = self.settled.insert(name.clone(), number - counted).unwrap_or_default();
            let most = self.owed[name] + sent;
            assert!(before + reported <= most, "{name}: {before} settled, then {reported} owed of {most}");
        }
        self.looks += 1;
        true
    }

    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }
}

/// Sends the conversion of an order.
pub(crate) async fn post(http: &Http, origin: &str, order: &str) -> Result<Answer, String> {
    let (url, body) = (format!("{origin}/v1/conversions"), conversion(order).to_string());
    http.attempt(Method::POST, &url, &[("content-type", "application/json")], &body).await
}

/// Counts one status, which names every destination; whether nothing of it is owed or dead.
fn add(counted: &mut Depths, status: &Value) -> bool {
    let destinations = status["destinations"].as_object().unwrap();
    assert_eq!(destinations.len(), counted.len(), "a part of it is lost: {status}");
    let mut settled = true;
    for (name, delivery) in destinations {
        let owed = counted.get_mut(name).unwrap();
        match delivery["state"].as_str().unwrap() {
            "queued" | "retrying" | "held" | "accepted" => owed.pending += 1,
            "dead" => owed.dead += 1,
            "delivered" | "duplicate" | "skipped" | "withheld" | "unsupported" | "discarded" => continue,
            other => panic!("no state of the accounts: {other}"),
        }
        settled = false;
    }
    settled
}

/// What the relay says of itself.
pub(crate) async fn depths(http: &Http, admin: &str) -> Depths {
    let answer = http.call(Method::GET, &format!("{admin}/admin/destinations"), &[], "").await;
    read_depths(&answer.body)
}

/// The same, from a relay that may be gone.
pub(crate) async fn depths_if_there(http: &Http, admin: &str) -> Option<Depths> {
    let answer = http.attempt(Method::GET, &format!("{admin}/admin/destinations"), &[], "").await.ok()?;
    Some(read_depths(&answer.body))
}

fn read_depths(body: &Value) -> Depths {
    let destinations = body["destinations"].as_array().unwrap().iter();
    let number = |of: &Value, what: &str| of[what].as_u64().unwrap();
    destinations
        .map(|of| {
            let owed = Owed { pending: number(of, "pending"), dead: number(of, "dead") };
            (of["name"].as_str().unwrap().to_owned(), owed)
        })
        .collect()
}

/// Statuses asked for at a time.
const READERS: usize = 32;
/// For one balance: less than what a test waits for anything, so that it is this that says what is wrong.
const PATIENCE: Duration = Duration::from_secs(55);
