//! What is said of a panic: one event of the log, with its place and never with data.
//!
//! The message of a panic may hold what was worked on (an index into a text quotes the text). So only one that stands in the
//! source is told; the place says the rest. What a panic ends, and that it is counted, is for those who catch it.

use std::panic::PanicHookInfo;
use std::thread;

use crate::queue;

/// From now on. A command that keeps no log says it as Rust does, to the one who typed it.
pub(super) fn log() {
    let plain = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if queue::is_panic_expected() {
            return;
        }
        if tracing::dispatcher::has_been_set() {
            event(panic);
        } else {
            plain(panic);
        }
    }));
}

fn event(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let current = thread::current();
    let thread = current.name().unwrap_or_default();
    let reason = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("see the place");
    tracing::error!(place, thread, reason, "panicked: a fault of the relay");
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Says that this is the child; without it the child's part is not played.
    const CHILD: &str = "CAPI_RELAY_TEST_PANICS_CHILD";
    const SECRET: &str = "canary@example.com";

    /// A hook is the whole process's: hence a process of its own.
    #[test]
    fn the_child_that_panics() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        log();
        tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
        let texts: [fn(); 2] = [|| panic!("as it stands"), || panic!("{SECRET:?}")];
        for text in texts {
            assert!(thread::Builder::new().name("worker".to_owned()).spawn(text).unwrap().join().is_err());
        }
    }

    #[test]
    fn a_panic_is_one_event_with_its_place_and_without_data() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "cli::panics::tests::the_child_that_panics"])
            .env(CHILD, "1")
            .env("RUST_BACKTRACE", "1")
            .stdout(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(child.stderr).unwrap();
        assert!(child.status.success() && !said.contains(SECRET), "{said}");
        let events: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let reasons = ["as it stands", "see the place"];
        assert_eq!(events.len(), reasons.len(), "{said}");
        for (event, reason) in events.iter().zip(reasons) {
            assert_eq!((&event["level"], &event["fields"]["thread"]), (&"ERROR".into(), &"worker".into()), "{event}");
            assert_eq!(event["fields"]["reason"], reason);
            assert!(event["fields"]["place"].as_str().unwrap().contains("panics.rs:"), "{event}");
        }
    }
}
