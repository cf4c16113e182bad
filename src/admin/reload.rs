//! `POST /admin/reload`, and what is shown of reloads.
//!
//! The admin API does not read files: it passes the wish on to who does, and answers with what came of it. Reloads that
//! nobody asked of it stand in the audit log like the others.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::audit::{Action, Audit, By, Change, Ending, Outcome, Which};
use super::orders::Made;
use super::{Admin, body};
use crate::config::Succession;
use crate::conversion::DestinationName;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::queue::Clock;

/// Somebody wishes a reload.
#[derive(Debug)]
pub struct Wish {
    /// Destinations with work that may go all the same: it is held.
    pub remove: Vec<DestinationName>,
    /// Where the answer goes: what came into force, or the report of why nothing did.
    pub answer: oneshot::Sender<Result<Reloaded, String>>,
    end: Arc<OnceLock<End>>,
}

/// How the wait for a reload to begin ended: whoever says it first has said it.
#[derive(Debug)]
enum End {
    /// It is made.
    Begun,
    /// Who wished it was told that nothing is done.
    GivenUp,
}

impl Wish {
    /// To be asked before it is fulfilled; false: nobody waits for it any more, and it must not be.
    pub fn begin(&self) -> bool {
        !self.answer.is_closed() && self.end.set(End::Begun).is_ok()
    }
}

/// A configuration that came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Counted from 1, that of the start.
    pub version: u64,
    /// What it changed.
    pub destinations: Succession,
}

/// Wishes for reloads on their way, and a record of what came of all of them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reloads {
    wishes: mpsc::Sender<Wish>,
    version: Gauge,
    /// 1: what was read last is refused.
    refused: Gauge,
    total: Family<[(&'static str, &'static str); 1], Counter>,
    last: Arc<Mutex<Option<LastReload>>>,
    clock: Clock,
    audit: Audit,
}

/// What came of the last reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastReload {
    /// When it ended (Unix ms).
    pub(super) at_ms: u64,
    /// The report of why it was refused, if it was.
    pub(super) refusal: Option<String>,
}

impl Reloads {
    /// Version 1 is in force; the other end receives what is wished. The audit log lies in the data folder.
    pub fn new(clock: Clock, folder: &Path) -> (Reloads, mpsc::Receiver<Wish>) {
        let (wishes, received) = mpsc::channel(WISHES_MAX);
        let total = Family::<[(&'static str, &'static str); 1], Counter>::default();
        // From zero on: what first appears as one has not grown, for who watches it.
        for result in ["reloaded", "refused"] {
            drop(total.get_or_create(&[("result", result)]));
        }
        let (version, refused) = (Gauge::default(), Gauge::default());
        let reloads =
            Reloads { wishes, version, refused, total, last: Arc::default(), clock, audit: Audit::of(folder) };
        reloads.version.set(1);
        (reloads, received)
    }

    /// Records what came of a reload, whoever wished it.
    pub fn record(&self, outcome: &Result<Reloaded, String>) {
        match outcome {
            Ok(reloaded) => {
                self.version.set(i64::try_from(reloaded.version).unwrap_or(i64::MAX));
                self.count("reloaded");
            }
            Err(_) => self.count("refused"),
        }
        self.refused.set(i64::from(outcome.is_err()));
        let last = LastReload { at_ms: self.clock.unix_ms(), refusal: outcome.as_ref().err().cloned() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// Records one that was refused for what was asked with it: of what the file says nothing is known by that.
    pub fn record_mistaken(&self) {
        self.count("refused");
    }

    fn count(&self, result: &'static str) {
        self.total.get_or_create(&[("result", result)]).inc();
    }

    /// Makes a reload that the admin API was not asked for, and writes it down before: for what cause, in a word (`SIGHUP`,
    /// `file`) and in words. Where that cannot be written, or takes long, it is made all the same: a certificate must not run
    /// out, nor a token that was taken out stay valid, because a disk is full.
    ///
    /// # Errors
    /// The report of why nothing changed.
    pub async fn unasked(
        &self,
        cause: &str,
        words: &str,
        act: impl Future<Output = Result<Reloaded, String>>,
    ) -> Result<Reloaded, String> {
        let by = By { who: cause.to_owned(), peer: None, user: None };
        let reason = (words != cause).then(|| words.to_owned());
        let change = Change { by, action: Action::Reload, which: None, reason };
        let begun = timeout(WRITTEN_WITHIN, self.audit.begin(&change, self.clock.now())).await;
        let made = act.await;
        let outcome = if made.is_ok() { Outcome::Done } else { Outcome::Refused };
        let problem = made.is_err().then(|| Kind::ConfigurationRefused.name().to_owned());
        let ending = Ending { outcome, matched: None, done: None, problem };
        match begun {
            Ok(Ok(id)) => {
                let end = self.audit.end(id, Action::Reload, ending, self.clock.now());
                if let Ok(Err(error)) = timeout(WRITTEN_WITHIN, end).await {
                    tracing::error!(%error, "the audit log cannot be written: a reload stands there as begun");
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "the audit log cannot be written: a reload is missing there"),
            Err(_) => tracing::error!("the audit log is not written in time: a reload is missing there"),
        }
        made
    }

    /// The log that all changes stand in.
    pub(super) fn audit(&self) -> &Audit {
        &self.audit
    }

    /// What came of the last one since the start.
    pub(super) fn last(&self) -> Option<LastReload> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Of the configuration in force.
    pub(super) fn version(&self) -> u64 {
        u64::try_from(self.version.get()).unwrap_or_default()
    }

    /// `capi_relay_config_version`, `capi_relay_config_refused` and `capi_relay_config_reloads_total`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("capi_relay");
        let help = "Counts up with each configuration that came into force";
        registry.register("config_version", help, self.version.clone());
        let help = "1 while the configuration that was read last is refused, and the one before it in force";
        registry.register("config_refused", help, self.refused.clone());
        registry.register("config_reloads", "Reloads by what came of them", self.total.clone());
    }

    /// Wishes for a reload and waits for what comes of it. Where that takes too long, either nothing is done, or it is said that it
    /// is under way.
    async fn wish(&self, remove: Vec<DestinationName>) -> Result<Reply, Problem> {
        let nobody = || Problem::new(Kind::Unavailable, "nobody reloads here just now").retry_after(RETRY_AFTER);
        let (answer, outcome) = oneshot::channel();
        let end = Arc::new(OnceLock::new());
        self.wishes.try_send(Wish { remove, answer, end: Arc::clone(&end) }).map_err(|_full_or_closed| nobody())?;
        match timeout(RELOAD_TIMEOUT, outcome).await {
            Ok(Ok(Ok(reloaded))) => Ok(problem::json(StatusCode::OK, &ReloadedView::new(&reloaded))),
            Ok(Ok(Err(report))) => Err(Problem::new(Kind::ConfigurationRefused, report)),
            Err(_) if end.set(End::GivenUp).is_err() => Err(Problem::under_way(format!(
                "the reload has begun and takes longer than {} s: it goes on, and the log and `last_reload` of the overview say what comes of it",
                RELOAD_TIMEOUT.as_secs()
            ))),
            Ok(Err(_)) | Err(_) => Err(nobody()),
        }
    }
}

impl Admin {
    pub(super) async fn reload(&self, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let by = self.by(&request);
        let remove = removed(&body::json_or_nothing(request).await?)?;
        let names = remove.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
        let which = (!names.is_empty()).then(|| Which { remove: names, ..Which::default() });
        let change = Change { by, action: Action::Reload, which, reason: None };
        self.audited(change, async { self.reloads.wish(remove).await.map(Made::from) }).await
    }
}

/// What there is to say of a reload.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Reload")]
#[serde(deny_unknown_fields)]
pub(super) struct ReloadMeant {
    /// Destinations that the file no longer has and that may go although work waits for them: it is held until they are
    /// configured again.
    #[serde(default)]
    #[schemars(length(max = 64), inner(regex(pattern = "^[a-z][a-z0-9_-]*$"), length(max = 64)))]
    remove: Vec<String>,
}

fn removed(body: &[u8]) -> Result<Vec<DestinationName>, Problem> {
    let wrong = |detail: String| Problem::new(Kind::BadRequest, detail);
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let ReloadMeant { remove } = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    if remove.len() > REMOVED_MAX {
        return Err(wrong(format!("remove: at most {REMOVED_MAX} names")));
    }
    let named = |name: String| DestinationName::parse(&name);
    let names: Option<Vec<DestinationName>> = remove.into_iter().map(named).collect();
    names.ok_or_else(|| wrong("remove: a list of destinations' names".to_owned()))
}

/// A configuration that came into force, and the destinations that it changed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Reloaded")]
pub(super) struct ReloadedView<'a> {
    status: &'static str,
    /// Counted from 1, that of the start.
    version: u64,
    changed: Vec<&'a str>,
    added: Vec<&'a str>,
    removed: Vec<&'a str>,
}

impl<'a> ReloadedView<'a> {
    fn new(reloaded: &'a Reloaded) -> ReloadedView<'a> {
        fn names(names: &[DestinationName]) -> Vec<&str> {
            names.iter().map(DestinationName::as_str).collect()
        }
        let Succession { added, removed, changed, unchanged: _ } = &reloaded.destinations;
        let (changed, added, removed) = (names(changed), names(added), names(removed));
        ReloadedView { status: "reloaded", version: reloaded.version, changed, added, removed }
    }
}

/// More than anybody takes out of a file at once.
const REMOVED_MAX: usize = 64;
/// More at once is a mistake: one reload reads what all of them mean.
const WISHES_MAX: usize = 8;
/// A disk that takes longer is left to itself: signals are waited for as well.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);
/// Reading and checking takes milliseconds; a hundred goldens no second.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::orders::audited;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reload_that_takes_long_is_either_not_made_or_said_to_be_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let (reloads, mut wishes) = Reloads::new(Clock::system(), folder.path());
        // Nobody has begun it in time: then nobody may any more.
        let refused = reloads.wish(Vec::new()).await.err().unwrap();
        assert_eq!((refused.kind(), refused.is_under_way()), (Kind::Unavailable, false));
        assert!(!wishes.recv().await.unwrap().begin());
        // Who asked is gone.
        drop(timeout(Duration::from_secs(1), reloads.wish(Vec::new())).await);
        assert!(!wishes.recv().await.unwrap().begin());
        let (refused, begun) = tokio::join!(reloads.wish(Vec::new()), async {
            let wish = wishes.recv().await.unwrap();
            assert!(wish.begin());
            wish
        });
        let refused = refused.err().unwrap();
        assert_eq!((refused.kind(), refused.is_under_way()), (Kind::Unavailable, true));
        drop(begun);
    }

    #[tokio::test]
    async fn what_is_under_way_stands_in_the_audit_log_as_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (audit, clock) = (Audit::of(folder.path()), Clock::system());
        let by = By { who: "loopback".to_owned(), peer: None, user: None };
        let change = Change { by, action: Action::Reload, which: None, reason: None };
        for problem in [Problem::under_way("it goes on"), Problem::new(Kind::Unavailable, "nobody reloads here")] {
            let made = audited::<Reply>(&audit, &clock, change.clone(), async { Err(problem) }).await;
            assert_eq!(made.err().unwrap().kind(), Kind::Unavailable);
        }
        let page = serde_json::to_value(audit.page(10, None).await.unwrap()).unwrap();
        let outcomes: Vec<_> = page["audit"].as_array().unwrap().iter().map(|entry| &entry["outcome"]).collect();
        assert_eq!(outcomes, ["failed", "begun"], "newest first: {page}");
    }

    #[test]
    fn names_may_be_said_and_nothing_else() {
        #[track_caller]
        fn check(body: &str, expected: Result<&[&str], &str>) {
            let got = removed(body.as_bytes()).map_err(|problem| problem.detail().to_owned());
            let got = got.as_ref().map(|names| names.iter().map(DestinationName::as_str).collect::<Vec<_>>());
            assert_eq!(got.as_deref().map_err(|detail| detail.as_str()), expected, "{body}");
        }
        check("", Ok(&[]));
        check("{}", Ok(&[]));
        check(r#"{"remove":["dsp","own"]}"#, Ok(&["dsp", "own"]));
        check(r#"{"remove":["DSP!"]}"#, Err("remove: a list of destinations' names"));
        check(r#"{"drop":["dsp"]}"#, Err("unknown field `drop`, expected `remove` at line 1 column 7"));
        let many = serde_json::json!({ "remove": vec!["dsp"; REMOVED_MAX + 1] });
        check(&many.to_string(), Err("remove: at most 64 names"));
    }
}
