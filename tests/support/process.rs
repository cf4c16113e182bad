//! The relay as its own process, so that it can be killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use capi_relay::sandbox::{Accounts, Sandbox};
use tempfile::TempDir;

use super::routes;

/// The stand-ins, a folder, and in it the routes that point at them.
pub(crate) async fn started() -> (Sandbox, TempDir, PathBuf) {
    let sandbox = Sandbox::start(Accounts::default(), 0).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.toml");
    std::fs::write(&file, routes(&sandbox, &folder.path().join("queue"), "")).unwrap();
    (sandbox, folder, file)
}

/// Runs a command to its end: its exit code, and what it said and complained of.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_capi-relay")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// A pipe of this name: who opens it waits for the one at its other end.
#[track_caller]
pub(crate) fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A running `capi-relay serve`.
pub(crate) struct Process {
    child: Child,
    /// `http://127.0.0.1:port`
    pub(crate) origin: String,
    pub(crate) admin: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// How a relay ended, by itself or asked to.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None: by a signal.
    pub(crate) code: Option<i32>,
    /// All that it has logged.
    pub(crate) log: String,
}

impl Process {
    /// Starts it and waits until it says that it serves.
    #[track_caller]
    pub(crate) fn serve(routes: &Path) -> Process {
        Process::start(&[], routes, &[], "info")
    }

    /// The same with further arguments.
    #[track_caller]
    pub(crate) fn serve_with(routes: &Path, arguments: &[&str]) -> Process {
        Process::start(&[], routes, arguments, "info")
    }

    /// The same under another program (`strace …`).
    #[track_caller]
    pub(crate) fn wrapped(wrapper: &[&str], routes: &Path) -> Process {
        Process::start(wrapper, routes, &[], "info")
    }

    /// The same, logging all it can.
    #[track_caller]
    pub(crate) fn traced(routes: &Path) -> Process {
        Process::start(&[], routes, &[], "trace")
    }

    #[track_caller]
    fn start(wrapper: &[&str], routes: &Path, arguments: &[&str], level: &str) -> Process {
        Process::attempt(wrapper, routes, arguments, level)
            .unwrap_or_else(|ended| panic!("the relay did not start: {:?}\n{}", ended.code, ended.log))
    }

    /// Starts it; how it ended when it did not come to serve.
    #[track_caller]
    pub(crate) fn attempt(wrapper: &[&str], routes: &Path, arguments: &[&str], level: &str) -> Result<Process, Ended> {
        Opening::begin(wrapper, routes, arguments, level).come()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no drain, no destructor.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal_term();
        self.child.wait().unwrap().code()
    }

    /// SIGTERM, and everything it has logged.
    pub(crate) fn terminate_with_log(self) -> String {
        self.signal_term();
        self.end().log
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGTERM if it still runs, and how it ended.
    pub(crate) fn stop(mut self) -> Ended {
        if !self.has_ended() {
            self.signal_term();
        }
        self.end()
    }

    /// Waits for its end, which must come.
    #[track_caller]
    fn end(mut self) -> Ended {
        let began = Instant::now();
        while !self.has_ended() {
            assert!(began.elapsed() < PATIENCE, "the relay does not end:\n{}", self.log.lock().unwrap());
            std::thread::sleep(Duration::from_millis(2));
        }
        let code = self.child.wait().unwrap().code();
        self.reader.take().map(JoinHandle::join).transpose().unwrap();
        Ended { code, log: std::mem::take(&mut *self.log.lock().unwrap()) }
    }

    /// SIGHUP.
    pub(crate) fn hangup(&self) {
        self.signal("-HUP");
    }

    /// SIGTERM, of which the end is not waited for.
    pub(crate) fn signal_term(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its own end.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// A relay that has been started, and need not serve yet.
pub(crate) struct Opening {
    process: Process,
    /// Where it serves, once it does.
    said: mpsc::Receiver<(String, String)>,
}

impl Opening {
    pub(crate) fn begin(wrapper: &[&str], routes: &Path, arguments: &[&str], level: &str) -> Opening {
        let own = env!("CARGO_BIN_EXE_capi-relay");
        let words: Vec<&str> = wrapper.iter().copied().chain([own]).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(["serve", "-c"])
            .arg(routes)
            .args(arguments)
            .env("RUST_LOG", level)
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (say, said) = mpsc::sync_channel(1);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        // Reads to the end, so that the process never waits for a full pipe.
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let (Some(public), Some(admin)) = (field(&line, "public="), field(&line, "admin=")) {
                    drop(say.try_send((public, admin)));
                }
                kept.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let process = Process { child, origin: String::new(), admin: String::new(), log, reader: Some(reader) };
        Opening { process, said }
    }

    /// Waits until it serves.
    #[track_caller]
    pub(crate) fn come(mut self) -> Result<Process, Ended> {
        match self.said.recv_timeout(PATIENCE) {
            Ok((public, admin)) => {
                self.process.origin = format!("http://{public}");
                self.process.admin = format!("http://{admin}");
                Ok(self.process)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.process.end()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("the relay neither starts nor ends:\n{}", self.process.log.lock().unwrap())
            }
        }
    }

    /// SIGHUP.
    pub(crate) fn hangup(&self) {
        self.process.hangup();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(self) -> Ended {
        self.process.stop()
    }
}

/// A test that fails leaves no relay behind.
impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn field(line: &str, name: &str) -> Option<String> {
    Some(line.split_once(name)?.1.split_whitespace().next()?.to_owned())
}

/// Nothing that is right takes longer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
