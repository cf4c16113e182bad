//! The audit log: every change that was ordered of the admin API, and every reload, one JSON object a line in `audit.ndjson` of the data folder.
//!
//! Promises: the line that a change is begun with is on stable storage before the change is made, and a change whose line
//! cannot be written is not made. How it ended is a second line with the same `id`; where that is missing, the relay ended
//! meanwhile, or who asked went away. A few files of fixed size are kept (`log`).
//!
//! Never: personal data. Of an order, a customer or words that were looked for it says only that one was named.

mod log;

use std::io;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use self::log::Log;
use super::Admin;
use crate::ingress::problem::{self, Kind, Problem, Reply};

/// The log of one data folder; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Audit(Arc<Log>);

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AuditedAction")]
pub(super) enum Action {
    Pause,
    Resume,
    Probe,
    Replay,
    Discard,
    Forget,
    Reload,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AuditedOutcome")]
pub(super) enum Outcome {
    /// Its end is not known: it is under way, or was cut short.
    Begun,
    Done,
    /// It could not be done as things were.
    Refused,
    /// It was not done, or not all of it, for a fault of the relay or its disk.
    Failed,
}

/// Which ones were meant. An order, a customer or words that are looked for may be personal: they stand as `***`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditedFilter")]
pub(super) struct Which {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) destination: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) merchant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) order_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) customer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) contains: Option<String>,
    /// How many ids were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ids: Option<usize>,
    /// Destinations that a reload might remove although work waits for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) remove: Vec<String>,
}

/// Who orders it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct By {
    /// `token ana` (its name, or the beginning of its SHA-256), else `loopback` or the address; of a reload that nobody asked
    /// for, `SIGHUP` or `file`.
    pub(super) who: String,
    /// The address, where there is a token.
    pub(super) peer: Option<String>,
    /// Who the command line says that it is; nobody vouches for that.
    pub(super) user: Option<String>,
}

/// A change that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) by: By,
    pub(super) action: Action,
    pub(super) which: Option<Which>,
    /// In the words of whoever orders it.
    pub(super) reason: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) matched: Option<u64>,
    pub(super) done: Option<u64>,
    /// The last part of the problem's `type`.
    pub(super) problem: Option<String>,
}

/// One line of the file: a beginning or an end.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: u64,
    /// RFC 3339.
    at: String,
    action: Action,
    outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter: Option<Which>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matched: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A change that was ordered, and what came of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditEntry")]
pub(super) struct Entry {
    /// Counts up.
    id: u64,
    #[schemars(with = "jiff::Timestamp")]
    at: String,
    /// When it was over; nothing while that is not known.
    #[schemars(with = "Option<jiff::Timestamp>")]
    ended_at: Option<String>,
    /// `token` and its name, or the first eight digits of its SHA-256, else `loopback` or an address; of a reload that nobody asked for,
    /// `SIGHUP` or `file`.
    who: String,
    /// The address, where there is a token.
    peer: Option<String>,
    /// Who the command line says that it is; nobody vouches for that.
    user: Option<String>,
    action: Action,
    filter: Option<Which>,
    /// In the words of whoever ordered it.
    reason: Option<String>,
    outcome: Outcome,
    matched: Option<u64>,
    done: Option<u64>,
    /// Why it was not done: the last part of the problem's `type`.
    problem: Option<String>,
}

/// Changes, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditPage")]
pub(super) struct Page {
    audit: Vec<Entry>,
    /// `after` of the next page, if there is one.
    next: Option<u64>,
}

impl Admin {
    pub(super) async fn audit_page(&self, query: &str) -> Result<Reply, Problem> {
        let (limit, after) = wanted(query)?;
        let page = self.audit.page(limit, after).await.map_err(|error| {
            tracing::error!(%error, "the audit log cannot be read");
            Problem::new(Kind::StorageUnreadable, "the audit log cannot be read")
        })?;
        Ok(problem::json(StatusCode::OK, &page))
    }
}

/// `limit=&after=`, each at most once.
fn wanted(query: &str) -> Result<(usize, Option<u64>), Problem> {
    let wrong = |message: &'static str| Problem::new(Kind::InvalidQuery, message);
    let (mut limit, mut after, mut seen) = (PAGE_DEFAULT, None, Vec::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.contains(&name) {
            return Err(wrong("a parameter stands twice"));
        }
        match (&*name, &*value) {
            ("limit", text) => {
                let known = text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                limit = known.ok_or_else(|| wrong("limit: a number from 1 to 1000"))?;
            }
            ("after", text) => {
                after = Some(text.parse().map_err(|_no_number| wrong("after: not the `next` of a page"))?);
            }
            _ => return Err(wrong("the parameters are limit and after")),
        }
        seen.push(name);
    }
    Ok((limit, after))
}

impl Audit {
    /// Touches nothing yet.
    pub(super) fn of(folder: &Path) -> Audit {
        Audit(Arc::new(Log::of(folder)))
    }

    /// Returns, with the change's id, once its line is on stable storage.
    pub(super) async fn begin(&self, change: &Change, at: jiff::Timestamp) -> io::Result<u64> {
        let Change { by, action, which, reason } = change.clone();
        let By { who, peer, user } = by;
        let reason = reason.map(|reason| reason.chars().take(REASON_CHARS_MAX).collect());
        let (matched, done, problem) = (None, None, None);
        let (who, filter, outcome) = (Some(who), which, Outcome::Begun);
        let at = at.to_string();
        let line = Line { id: 0, at, action, outcome, who, peer, user, filter, reason, matched, done, problem };
        self.run(move |log| log.append_next(line)).await
    }

    /// How that change ended.
    pub(super) async fn end(&self, id: u64, action: Action, ending: Ending, at: jiff::Timestamp) -> io::Result<()> {
        let Ending { outcome, matched, done, problem } = ending;
        let (who, peer, user, filter, reason) = (None, None, None, None, None);
        let at = at.to_string();
        let line = Line { id, at, action, outcome, who, peer, user, filter, reason, matched, done, problem };
        self.run(move |log| log.append(&line)).await
    }

    /// Newest first, those before the change `after`.
    pub(super) async fn page(&self, limit: usize, after: Option<u64>) -> io::Result<Page> {
        self.run(move |log| log.page(limit, after)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Log) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let log = Arc::clone(&self.0);
        spawn_blocking(move || work(&log)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Entry {
    fn begun(line: Line) -> Entry {
        let Line { id, at, action, outcome, who, peer, user, filter, reason, matched, done, problem } = line;
        let (who, ended_at) = (who.unwrap_or_default(), None);
        Entry { id, at, ended_at, who, peer, user, action, filter, reason, outcome, matched, done, problem }
    }

    fn ended(&mut self, line: Line) {
        self.ended_at = Some(line.at);
        (self.outcome, self.matched, self.done, self.problem) = (line.outcome, line.matched, line.done, line.problem);
    }
}

/// A merchant's name; what is none may be anything.
pub(super) fn shown_merchant(merchant: &str, known: &[String]) -> String {
    if known.iter().any(|known| known == merchant) { merchant.to_owned() } else { MASKED.to_owned() }
}

/// In the place of what may be personal.
pub(super) const MASKED: &str = "***";
/// A screenful or two.
const PAGE_DEFAULT: usize = 100;
/// Half a MiB of answer.
const PAGE_MAX: usize = 1000;
/// Of a reason: a paragraph.
const REASON_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::log::{FILE, FILE_BYTES_MAX, FILES_KEPT};
    use super::*;

    fn change(action: Action, reason: Option<&str>) -> Change {
        let by = By { who: "loopback".to_owned(), peer: None, user: Some("ana".to_owned()) };
        Change { by, action, which: None, reason: reason.map(str::to_owned) }
    }

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    fn done(matched: u64) -> Ending {
        Ending { outcome: Outcome::Done, matched: Some(matched), done: Some(matched), problem: None }
    }

    fn shown(page: &Page) -> Vec<(u64, Outcome, Option<u64>)> {
        page.audit.iter().map(|entry| (entry.id, entry.outcome, entry.done)).collect()
    }

    #[tokio::test]
    async fn a_change_is_a_line_before_it_is_made_and_another_one_after() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::of(folder.path());
        let first = audit.begin(&change(Action::Replay, None), at(1)).await.unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let begun =
            r#"{"id":1,"at":"1970-01-01T00:00:01Z","action":"replay","outcome":"begun","who":"loopback","user":"ana"}"#;
        assert_eq!(text, format!("{begun}\n"));
        let second = audit.begin(&change(Action::Pause, Some("the partner asked")), at(2)).await.unwrap();
        audit.end(first, Action::Replay, done(3), at(3)).await.unwrap();
        let page = audit.page(10, None).await.unwrap();
        assert_eq!(shown(&page), [(second, Outcome::Begun, None), (first, Outcome::Done, Some(3))], "newest first");
        assert_eq!((page.audit[1].ended_at.clone(), page.next), (Some(at(3).to_string()), None));
        assert_eq!(page.audit[0].reason.as_deref(), Some("the partner asked"));
    }

    #[tokio::test]
    async fn it_goes_on_after_a_restart_and_behind_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::of(folder.path());
        assert_eq!(audit.begin(&change(Action::Pause, None), at(1)).await.unwrap(), 1);
        let mut file = OpenOptions::new().append(true).open(folder.path().join(FILE)).unwrap();
        file.write_all(br#"{"id":2,"at":"1970-"#).unwrap();
        let audit = Audit::of(folder.path());
        assert_eq!(audit.begin(&change(Action::Resume, None), at(2)).await.unwrap(), 2);
        assert_eq!(shown(&audit.page(10, None).await.unwrap()).len(), 2);
    }

    #[tokio::test]
    async fn pages_follow_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::of(folder.path());
        for second in 1..=5 {
            audit.begin(&change(Action::Probe, None), at(second)).await.unwrap();
        }
        let (mut after, mut ids) = (None, Vec::new());
        loop {
            let page = audit.page(2, after).await.unwrap();
            ids.extend(page.audit.iter().map(|entry| entry.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids, [5, 4, 3, 2, 1]);
    }

    #[tokio::test]
    async fn it_is_bounded_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::of(folder.path());
        let long = "x".repeat(REASON_CHARS_MAX * 2);
        let size = || -> u64 {
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
        };
        audit.begin(&change(Action::Pause, Some(&long)), at(1)).await.unwrap();
        let lines = u64::from(FILES_KEPT + 1) * FILE_BYTES_MAX / size();
        // As many as fill five files, without a sync each.
        let line = fs::read(folder.path().join(FILE)).unwrap();
        for number in 0..FILES_KEPT {
            let full = line.repeat(usize::try_from(lines / u64::from(FILES_KEPT + 1)).unwrap());
            fs::write(audit.0.file(number), full).unwrap();
        }
        let before = size();
        let id = audit.begin(&change(Action::Pause, Some(&long)), at(2)).await.unwrap();
        assert!(size() <= before, "{} of {before}", size());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), usize::try_from(FILES_KEPT).unwrap());
        assert_eq!(audit.page(1, None).await.unwrap().audit[0].id, id);
        assert_eq!(audit.begin(&change(Action::Pause, None), at(3)).await.unwrap(), id + 1);
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_written_is_an_error_and_no_change_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FILE)).unwrap();
        let audit = Audit::of(folder.path());
        audit.begin(&change(Action::Pause, None), at(1)).await.unwrap_err();
        fs::remove_dir(folder.path().join(FILE)).unwrap();
        assert_eq!(audit.begin(&change(Action::Pause, None), at(1)).await.unwrap(), 1, "mended");
    }
}
