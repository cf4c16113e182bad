//! A night on call, through the real binary: one partner is down, one refuses the credential, one mapping is wrong. The operator
//! has the page's calls and the command line, goes by what they say, and in the end the books are right to the cent.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use capi_relay::sandbox::{Accounts, Behaviour, Failure, Platform, Received, Sandbox};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{Process, run, started};
use crate::support::{Http, conversion, eventually, handle};

/// More than open a breaker.
const CONVERSIONS: usize = 40;
/// The click that Scaleo does not know.
const STRANGE: usize = 7;

/// The stand-ins, the routes, a relay, and who is on call.
struct Night {
    sandbox: Sandbox,
    folder: TempDir,
    file: PathBuf,
    relay: Process,
    http: Http,
}

impl Night {
    async fn begin() -> Night {
        let (sandbox, folder, file) = started().await;
        fs::write(folder.path().join("dsp-token"), "the-one-of-last-year\n").unwrap();
        fs::write(&file, wrong_mapping(&fs::read_to_string(&file).unwrap())).unwrap();
        let relay = Process::serve(&file);
        Night { sandbox, folder, file, relay, http: Http::new() }
    }

    /// A call of the page.
    async fn get(&self, path: &str) -> Value {
        self.http.call(Method::GET, &format!("{}{path}", self.relay.admin), &[], "").await.body
    }

    /// A command; its exit code, and all that it says.
    fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (code, said, error) = run(&[arguments, &["--admin", &self.relay.admin]].concat());
        (code, said + &error)
    }

    /// The same, which must succeed.
    #[track_caller]
    fn said(&self, arguments: &[&str]) -> String {
        let (code, said) = self.command(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        said
    }

    /// Waits until the page says this of a destination, or of the relay; all that it says of that then.
    async fn concern(&self, destination: Option<&str>, what: &str) -> Value {
        eventually(&format!("{destination:?} {what}"), async || {
            let overview = self.get("/admin/overview").await;
            let concerns = overview["concerns"].as_array()?.iter();
            let mut found = concerns.filter(|concern| concern["destination"].as_str() == destination);
            found.find(|concern| concern["what"] == what).cloned()
        })
        .await
    }

    /// Waits until so many wait, and are dead.
    async fn owed(&self, destination: &str, pending: u64, dead: u64) {
        eventually(&format!("{destination}: {pending} wait, {dead} are dead"), async || {
            let now = self.get(&format!("/admin/destinations/{destination}")).await;
            (now["pending"] == pending && now["dead"] == dead).then_some(())
        })
        .await
    }

    async fn post(&self, number: usize) -> String {
        let url = format!("{}/v1/conversions", self.relay.origin);
        let answer = self.http.post(&url, sale(number).to_string()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        answer.id()
    }
}

/// As the stand-ins' routes, with what went wrong: the token of one lies in a file, and is an old one; another takes its amount
/// from where merchants do not say it; the third is given up after two seconds.
fn wrong_mapping(text: &str) -> String {
    let token = format!("secrets.token = \"{}\"", Accounts::default().dsp_token);
    let changed = text.replace(&token, "secrets.token = \"${file:dsp-token}\"");
    let changed = changed.replace("[destination.trackdesk]\n", &format!("[destination.trackdesk]\n{WRONG}\n"));
    let (before, impact) = changed.split_once("[destination.impact]").unwrap();
    let changed = format!("{before}[destination.impact]{}", impact.replacen("\"1h\" }", "\"2s\" }", 1));
    assert_eq!(changed.matches(WRONG).count() + changed.matches("file:dsp-token").count(), 2);
    changed
}

const WRONG: &str = "map.\"amount.value\" = \"order.subtotal | string !\"";
const RIGHT: &str = "map.\"amount.value\" = \"value | string !\"";

fn order(number: usize) -> String {
    format!("order-{number}")
}

/// Another one for each, with no zero at its end: as text it is the same everywhere.
fn amount(number: usize) -> String {
    format!("{}.{}", 10 + number, 11 + number % 9)
}

fn sale(number: usize) -> Value {
    let mut sale = conversion(&order(number));
    sale["value"] = json!(amount(number));
    if number == STRANGE {
        sale["click_ids"]["scaleo"] = json!("missing_click");
    }
    sale
}

/// In cents.
fn cents(amount: &str) -> u64 {
    let (units, cents) = amount.split_once('.').unwrap();
    assert_eq!(cents.len(), 2, "{amount}");
    units.parse::<u64>().unwrap() * 100 + cents.parse::<u64>().unwrap()
}

/// What stands in a platform's books: each conversion that took effect, with its amount.
fn books(sandbox: &Sandbox, platform: Platform) -> BTreeMap<String, String> {
    let booked: Vec<Received> = sandbox.received(platform).into_iter().filter(|request| request.effect).collect();
    assert!(booked.iter().all(|request| request.violations.is_empty()), "{} holds what is wrong", platform.name());
    let entry = |request: &Received| {
        let text = |pointer: &str| {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            let value = body.pointer(pointer).unwrap();
            value.as_str().map_or_else(|| value.to_string(), str::to_owned)
        };
        let pair = |form: &str, name: &str| {
            let found = form_urlencoded::parse(form.as_bytes()).find(|(known, _)| known == name);
            found.unwrap_or_else(|| panic!("{form}")).1.into_owned()
        };
        let amount = match platform {
            Platform::Thrad => text("/conversion_value"),
            Platform::Impact => pair(&request.body, "OrderSubTotalPostDiscount"),
            Platform::Scaleo => text("/amount"),
            Platform::Trackdesk => text("/amount/value"),
            Platform::Dsp => text("/value"),
        };
        (request.handle.clone(), amount)
    };
    let entries: Vec<(String, String)> = booked.iter().map(entry).collect();
    let count = entries.len();
    let books: BTreeMap<String, String> = entries.into_iter().collect();
    assert_eq!(books.len(), count, "{} has booked one twice", platform.name());
    books
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_mends_and_replays_and_the_books_are_right_to_the_cent() {
    let night = Night::begin().await;
    night.sandbox.script(Platform::Impact, Behaviour::Fail { failure: Failure::Unavailable, times: None });
    let mut ids = Vec::new();
    for number in 0..CONVERSIONS {
        ids.push(night.post(number).await);
    }
    what_the_page_says(&night).await;
    the_credential(&night).await;
    the_mapping(&night).await;
    the_partner_that_was_down(&night).await;
    the_one_that_is_nobodys(&night, &ids[STRANGE]).await;

    let overview = night.get("/admin/overview").await;
    assert_eq!(overview["concerns"], json!([]), "all is well");
    // What failed long ago is no reason for anything now.
    let listed = night.said(&["destinations"]);
    assert!(listed.lines().skip(2).all(|line| line.ends_with(" -")), "{listed}");
    assert!(night.said(&["destinations", "impact"]).contains("503"), "it is shown from near");
    the_books(&night, &ids).await;
    assert_eq!(night.relay.terminate(), Some(0));
    night.sandbox.stop().await;
}

/// Each of the three is named, with what to do; the other two are not.
async fn what_the_page_says(night: &Night) {
    let suspended = night.concern(Some("dsp"), "is suspended").await;
    assert_eq!((&suspended["level"], &suspended["waiting"]), (&json!("stopped"), &json!(CONVERSIONS)));
    assert!(suspended["why"].as_str().unwrap().contains("401"), "{suspended}");
    assert!(suspended["advice"].as_str().unwrap().contains("Put the right credential"), "{suspended}");
    let down = night.concern(Some("impact"), "does not answer as it should").await;
    assert!(down["why"].as_str().unwrap().contains("503"), "{down}");
    night.concern(Some("trackdesk"), "has 40 dead letters").await;
    night.concern(Some("scaleo"), "has 1 dead letter").await;
    night.owed("thrad", 0, 0).await;
    let listed = night.said(&["destinations"]);
    assert!(listed.contains("40 (40 unmappable)") && listed.contains("is suspended: status 401"), "{listed}");
    for (name, state) in [("dsp", "suspended"), ("impact", "open"), ("thrad", "active")] {
        let line = listed.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(state), "{listed}");
    }
}

async fn the_credential(night: &Night) {
    let (code, said) = night.command(&["probe", "dsp"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("suspended, status 401"), "{said}");
    let token = Accounts::default().dsp_token;
    fs::write(night.folder.path().join("dsp-token"), format!("{token}\n")).unwrap();
    let said = night.said(&["reload"]);
    assert!(said.contains(" is in force: ") && !said.contains(&token), "{said}");
    night.owed("dsp", 0, 0).await;
}

async fn the_mapping(night: &Night) {
    let shown = night.said(&["dead", "list", "--destination", "trackdesk", "--kind", "unmappable", "--limit", "1"]);
    assert!(shown.contains("amount.value"), "the field is named: {shown}");
    let text = fs::read_to_string(&night.file).unwrap();
    // In a hurry.
    fs::write(&night.file, text.replace(WRONG, &RIGHT.replace("value | string", "valeu | string"))).unwrap();
    let (code, said) = night.command(&["reload"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("valeu") && said.contains("did you mean `value`"), "{said}");
    night.concern(None, "has refused a changed configuration").await;

    fs::write(&night.file, text.replace(WRONG, RIGHT)).unwrap();
    night.said(&["reload"]);
    let plan = night.said(&["dead", "replay", "--destination", "trackdesk", "--plan"]);
    let worth: u64 = (0..CONVERSIONS).map(|number| cents(&amount(number))).sum();
    let worth = format!("{}.{:02} EUR", worth / 100, worth % 100);
    assert!(plan.starts_with("40 dead letters\n") && plan.contains(&worth), "{worth}: {plan}");
    assert_eq!(night.sandbox.counts(Platform::Trackdesk).requests, 0, "a plan sends nothing");
    assert_eq!(night.said(&["dead", "replay", "--destination", "trackdesk"]), "40 replayed\n");
    night.owed("trackdesk", 0, 0).await;
}

/// It comes back while its work waits; of that only what was tried in vain for too long is a dead letter.
async fn the_partner_that_was_down(night: &Night) {
    eventually("one is given up", async || {
        let now = night.get("/admin/destinations/impact").await;
        (now["dead"].as_u64()? >= 1).then_some(())
    })
    .await;
    night.sandbox.script(Platform::Impact, Behaviour::Document);
    // One that goes by itself may be under way, and fail yet.
    eventually("a probe gets through", async || (night.command(&["probe", "impact"]).0 == Some(0)).then_some(())).await;
    let dead = eventually("the others are delivered", async || {
        let now = night.get("/admin/destinations/impact").await;
        (now["pending"] == 0).then(|| now["dead"].as_u64())?
    })
    .await;
    let of_impact = ["--destination", "impact", "--kind", "exhausted"];
    let plan = night.said(&[&["dead", "replay", "--plan"][..], &of_impact].concat());
    assert!(plan.starts_with(&format!("{dead} dead letter")) && !plan.contains("may be a second sale"), "{plan}");
    let replayed = night.said(&[&["dead", "replay"][..], &of_impact].concat());
    assert_eq!(replayed, format!("{dead} replayed\n"));
    night.owed("impact", 0, 0).await;
}

async fn the_one_that_is_nobodys(night: &Night, id: &str) {
    let shown = night.said(&["dead", "show", "scaleo", id]);
    assert!(shown.contains("rejected") && shown.contains(&amount(STRANGE)), "{shown}");
    let discard = ["dead", "discard", "--id", id, "--reason", "no such click: the merchant is told"];
    assert_eq!(night.said(&discard), "1 discarded\n");
}

/// Everything accepted has ended in a state that is shown, and the platforms hold each conversion once, at its amount.
async fn the_books(night: &Night, ids: &[String]) {
    let mut states: BTreeMap<(String, String), usize> = BTreeMap::new();
    for id in ids {
        let status = night.get(&format!("/admin/conversions/{id}")).await;
        for (destination, delivery) in status["destinations"].as_object().unwrap() {
            let state = delivery["state"].as_str().unwrap().to_owned();
            *states.entry((destination.clone(), state)).or_default() += 1;
        }
    }
    let expected = [("dsp", "delivered", 40), ("impact", "delivered", 40), ("scaleo", "delivered", 39)];
    let expected = expected.into_iter().chain([
        ("scaleo", "discarded", 1),
        ("thrad", "delivered", 40),
        ("trackdesk", "delivered", 40),
    ]);
    let expected = expected.map(|(name, state, count)| ((name.to_owned(), state.to_owned()), count));
    assert_eq!(states, expected.collect());
    for platform in Platform::ALL {
        let wanted = (0..CONVERSIONS).filter(|number| platform != Platform::Scaleo || *number != STRANGE);
        let wanted: BTreeMap<String, String> =
            wanted.map(|number| (handle(platform, &order(number)), amount(number))).collect();
        assert_eq!(books(&night.sandbox, platform), wanted, "{}", platform.name());
    }
    let audit = night.get("/admin/audit").await;
    let done = audit["audit"].as_array().unwrap().iter().filter(|entry| entry["outcome"] == "done");
    let actions: Vec<&str> = done.filter_map(|entry| entry["action"].as_str()).collect();
    let count = |action: &str| actions.iter().filter(|known| **known == action).count();
    assert_eq!((count("replay"), count("discard")), (2, 1), "{audit}");
}
