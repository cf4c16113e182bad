//! What a command that takes long says of itself meanwhile, on standard error: on a terminal one line that is drawn anew,
//! elsewhere a plain line now and then. A command that answers at once shows nothing, and when it ends the line is gone.

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::output;
use crate::queue::Clock;

/// Nobody wonders before.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
/// Often enough to be seen to move.
const DRAWN_EVERY: Duration = Duration::from_millis(200);
/// A log stays readable, and of most runs there is nothing in it.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Back to the line's beginning, and the line gone.
const ERASED: &str = "\r\x1b[2K";

/// Shown, once it takes long, until it is dropped.
pub(super) struct Progress {
    done: Arc<AtomicU64>,
    face: Face,
    shown: Option<(SyncSender<()>, JoinHandle<()>)>,
}

/// What is counted meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Nothing: it is known only that it goes on.
    Nothing,
    /// Bytes, of so many if that is known.
    Bytes(Option<u64>),
    /// Things of this name, of so many.
    Things(&'static str, u64),
}

/// Where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Face {
    Terminal,
    Lines,
}

impl Progress {
    /// `doing` is what the command does: `importing`.
    pub(super) fn start(doing: &'static str, counted: Counted) -> Progress {
        let done = Arc::new(AtomicU64::new(0));
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let face = if io::stderr().is_terminal() && !is_dumb { Face::Terminal } else { Face::Lines };
        let (end, ended) = sync_channel(0);
        let counter = Arc::clone(&done);
        let draw = move || {
            let clock = Clock::system();
            let line =
                || Line { doing, counted, done: counter.load(Ordering::Relaxed), seconds: clock.elapsed_ms() / 1000 };
            show(face, &ended, &mut io::stderr(), &line);
        };
        // Without a thread for it the command goes on, and shows nothing.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw);
        Progress { done, face, shown: thread.ok().map(|thread| (end, thread)) }
    }

    /// So many more are done.
    pub(super) fn add(&self, more: u64) {
        self.done.fetch_add(more, Ordering::Relaxed);
    }

    /// A report on standard error that stays, in a line of its own.
    pub(super) fn report(&self, text: &str) {
        match self.face {
            Face::Terminal => output::error(&format!("{ERASED}{text}")),
            Face::Lines => output::error(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.shown.take() {
            drop(end);
            // It has nothing to tell but what it showed.
            drop(thread.join());
        }
    }
}

/// Until the other end is dropped. A terminal that went away ends nothing else.
fn show(face: Face, ended: &Receiver<()>, to: &mut impl Write, line: &impl Fn() -> Line) {
    let (mut wait, next) = match face {
        Face::Terminal => (SHOWN_AFTER, DRAWN_EVERY),
        Face::Lines => (LINE_EVERY, LINE_EVERY),
    };
    let mut is_drawn = false;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        let text = match face {
            Face::Terminal => format!("{ERASED}{}", line()),
            Face::Lines => format!("{}\n", line()),
        };
        drop(to.write_all(text.as_bytes()));
        (wait, is_drawn) = (next, face == Face::Terminal);
    }
    if is_drawn {
        drop(to.write_all(ERASED.as_bytes()));
    }
}

/// `importing: 12.5 of 96.0 MiB, 18 s`
struct Line {
    doing: &'static str,
    counted: Counted,
    done: u64,
    seconds: u64,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { doing, counted, done, seconds } = self;
        match counted {
            Counted::Nothing => write!(f, "{doing}: {seconds} s"),
            Counted::Bytes(None) => write!(f, "{doing}: {} MiB, {seconds} s", mebibytes(*done)),
            Counted::Bytes(Some(total)) => {
                write!(f, "{doing}: {} of {} MiB, {seconds} s", mebibytes(*done), mebibytes(*total))
            }
            Counted::Things(name, total) => write!(f, "{doing}: {done} of {total} {name}, {seconds} s"),
        }
    }
}

/// With one decimal.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// What is read or written through it is counted.
pub(super) struct Through<'p, T>(pub(super) T, pub(super) &'p Progress);

impl<T: Read> Read for Through<'_, T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(into)?;
        self.1.add(count(read));
        Ok(read)
    }
}

impl<T: BufRead> BufRead for Through<'_, T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.0.consume(bytes);
        self.1.add(count(bytes));
    }
}

impl<T: Write> Write for Through<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.add(count(written));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(counted: Counted, done: u64, expected: &str) {
        assert_eq!(Line { doing: "importing", counted, done, seconds: 18 }.to_string(), expected);
    }

    #[test]
    fn a_line_says_how_much_is_done_where_that_is_known() {
        check(Counted::Nothing, 7, "importing: 18 s");
        check(Counted::Bytes(None), 13_107_200, "importing: 12.5 MiB, 18 s");
        check(Counted::Bytes(Some(100 << 20)), (100 << 20) - 1, "importing: 99.9 of 100.0 MiB, 18 s");
        check(Counted::Things("goldens", 12), 7, "importing: 7 of 12 goldens, 18 s");
    }

    #[test]
    fn what_ends_at_once_shows_nothing() {
        for face in [Face::Terminal, Face::Lines] {
            let (end, ended) = sync_channel(0);
            drop(end);
            let mut shown = Vec::new();
            show(face, &ended, &mut shown, &|| panic!("nobody asked"));
            assert_eq!(shown, b"");
        }
    }

    #[test]
    fn what_goes_through_is_counted_once() {
        let progress = Progress::start("importing", Counted::Nothing);
        let mut read = String::new();
        let mut through = Through(&b"one\ntwo\n"[..], &progress);
        through.read_line(&mut read).unwrap();
        through.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), progress.done.load(Ordering::Relaxed)), ("one\ntwo\n", 8));
        Through(io::sink(), &progress).write_all(b"three").unwrap();
        assert_eq!(progress.done.load(Ordering::Relaxed), 13);
    }
}
