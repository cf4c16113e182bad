//! The relay as its own process, so that it can be killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A running `capi-relay serve`.
pub(crate) struct Process {
    child: Child,
    /// `http://127.0.0.1:port`
    pub(crate) origin: String,
    pub(crate) admin: String,
}

impl Process {
    /// Starts it and waits until it says that it serves.
    #[track_caller]
    pub(crate) fn serve(routes: &Path) -> Process {
        Process::wrapped(&[], routes)
    }

    /// The same under another program (`strace …`).
    #[track_caller]
    pub(crate) fn wrapped(wrapper: &[&str], routes: &Path) -> Process {
        let own = env!("CARGO_BIN_EXE_capi-relay");
        let words: Vec<&str> = wrapper.iter().copied().chain([own]).collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["serve", "-c"])
            .arg(routes)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, said) = mpsc::sync_channel(1);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Reads to the end, so that the process never waits for a full pipe.
        std::thread::spawn(move || {
            let mut log = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                match (field(&line, "public="), field(&line, "admin=")) {
                    (Some(public), Some(admin)) => drop(say.send(Ok((public, admin)))),
                    _ => log.push_str(&format!("{line}\n")),
                }
            }
            drop(say.try_send(Err(log)));
        });
        match said.recv_timeout(Duration::from_secs(60)) {
            Ok(Ok((public, admin))) => {
                Process { child, origin: format!("http://{public}"), admin: format!("http://{admin}") }
            }
            Ok(Err(log)) => panic!("the relay did not start:\n{log}"),
            Err(error) => panic!("the relay said nothing: {error}"),
        }
    }

    /// SIGKILL: no drain, no destructor.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap().code()
    }

    /// Waits for its own end.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn field(line: &str, name: &str) -> Option<String> {
    Some(line.split_once(name)?.1.split_whitespace().next()?.to_owned())
}
