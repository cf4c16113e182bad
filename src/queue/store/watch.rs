//! Stops sled's opening before it writes over what it could not read.
//!
//! sled passes a segment over whose head it fails to read, and takes one that it fails to read for the end of its log: then it
//! overwrites what lies behind. It tells nobody but its log, and that in time: which segments it has found, and each that it
//! could not read, before it changes anything. So the log is listened to while it opens, and the opening is unwound as soon
//! as it says something else than was read before (`probe`).
//!
//! Nobody else speaks through the crate `log` here. Where another listener was there first nothing is heard, and that is
//! logged. Values that sled keeps in files of their own are told of elsewhere; no value here is as long as that
//! (`PIECE_BYTES`).

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;

use super::super::panics::caught;
use super::probe::Layout;

/// Why an opening was stopped. Unless it is said, nothing has been changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It could not read what was read before; in its own words.
    Unread(String),
    /// It has found other segments.
    Differs,
    /// It panicked, with these words, and may have changed something.
    Panicked(String),
}

/// Runs what opens sled; stops it when sled does not find what was `seen`.
pub(super) fn watched<T>(seen: &Layout, open: impl FnOnce() -> T) -> Result<T, Stopped> {
    listen();
    WATCH.set(Some(Watch { found: format!("{FOUND}{seen:?},"), was_heard: false, stopped: None }));
    let opened = caught(open).map_err(Stopped::Panicked);
    let Some(watch) = WATCH.take() else { return opened };
    if !watch.was_heard && !seen.is_empty() {
        tracing::warn!("sled's log goes elsewhere: a read that fails while it opens is not seen");
    }
    watch.stopped.map_or(opened, Err)
}

/// An opening in this thread.
struct Watch {
    /// How sled says what it should find.
    found: String,
    /// Whether it has said what it found.
    was_heard: bool,
    stopped: Option<Stopped>,
}

impl Watch {
    fn hear(&self, said: &str) -> Option<Stopped> {
        if said.starts_with(FOUND) && !said.starts_with(&self.found) {
            return Some(Stopped::Differs);
        }
        // That of the system, as `{:?}` shows it; what ends a log that is whole is an error of sled's own.
        said.contains("Os { code: ").then(|| Stopped::Unread(said.to_owned()))
    }
}

struct Listener;

impl ::log::Log for Listener {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        metadata.target() == SPEAKER && WATCH.with_borrow(Option::is_some)
    }

    fn log(&self, record: &::log::Record<'_>) {
        if self.enabled(record.metadata()) {
            hear(record.args());
        }
    }

    fn flush(&self) {}
}

fn hear(said: &fmt::Arguments<'_>) {
    let said = said.to_string();
    let is_stopped = WATCH.with_borrow_mut(|watch| {
        let Some(watch) = watch else { return false };
        watch.was_heard |= said.starts_with(FOUND);
        watch.stopped = watch.stopped.take().or_else(|| watch.hear(&said));
        watch.stopped.is_some()
    });
    if is_stopped {
        // Unlike a panic this is nothing to report.
        std::panic::resume_unwind(Box::new("stopped"));
    }
}

/// Once in a process.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if ::log::set_logger(&Listener).is_ok() {
            ::log::set_max_level(::log::LevelFilter::Debug);
        }
    });
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// The part of sled that reads its log at the opening.
const SPEAKER: &str = "sled::pagecache::iterator";
/// What it says before the segments that it has found.
const FOUND: &str = "ordering before clearing tears: ";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::probe;
    use super::*;

    fn hear(said: &str) -> Option<Stopped> {
        let seen = Layout::from([(0, 0), (524_288, 1_048_576)]);
        Watch { found: format!("{FOUND}{seen:?},"), was_heard: false, stopped: None }.hear(said)
    }

    #[test]
    fn an_end_of_the_log_is_no_failed_read() {
        assert_eq!(hear("ordering before clearing tears: {0: 0, 524288: 1048576}, max_header_stable_lsn: 7"), None);
        assert_eq!(hear("ordering before clearing tears: {0: 0}, max_header_stable_lsn: 7"), Some(Stopped::Differs));
        assert_eq!(
            hear("unable to load new segment: Io(Custom { kind: Other, error: \"no segments remaining\" })"),
            None
        );
        let failed =
            "unable to load new segment: Io(Os { code: 5, kind: Uncategorized, message: \"Input/output error\" })";
        assert_eq!(hear(failed), Some(Stopped::Unread(failed.to_owned())));
    }

    #[test]
    fn an_opening_that_misses_a_segment_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let open = || sled::Config::new().path(dir.path()).flush_every_ms(None).open();
        let db = open().unwrap();
        for number in 0..300_u32 {
            db.insert(number.to_be_bytes(), vec![7; 4096]).unwrap();
        }
        db.flush().unwrap();
        drop(db);
        let seen = probe::read(dir.path()).unwrap();
        assert!(seen.len() > 1, "{seen:?}");
        let before = probe::files(dir.path()).unwrap();
        let mut more = seen.clone();
        more.insert(i64::MAX, u64::MAX);
        // sled lets go of its file a moment after it is dropped.
        let tries = (0..100).map(|_| watched(&more, open)).find(|tried| {
            std::thread::sleep(Duration::from_millis(20));
            tried.is_err()
        });
        assert_eq!(tries.unwrap().err(), Some(Stopped::Differs));
        assert_eq!(probe::files(dir.path()).unwrap(), before);
        let let_go = |error: &sled::Error| !error.to_string().contains("could not acquire lock");
        let opened = (0..100).map(|_| watched(&seen, open).unwrap()).find(|opened| {
            std::thread::sleep(Duration::from_millis(20));
            opened.as_ref().err().is_none_or(let_go)
        });
        assert_eq!(opened.unwrap().unwrap().len(), 300);
    }
}
