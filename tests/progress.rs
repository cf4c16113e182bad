//! What a command that takes long shows on standard error meanwhile. The one here reads a pipe into which nobody writes yet.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

#[test]
fn on_a_terminal_a_long_command_draws_one_line_anew_and_leaves_none() {
    // `script` gives it a terminal, and passes on what it writes there.
    let command = |own: &str| {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", own, "/dev/null"]);
        command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped());
        command
    };
    let importing = Importing::start(command, |child| child.stdout.take().unwrap());
    let drawn = importing.says(|said| said.matches("\r\u{1b}[2Kimporting: 0.0 MiB, ").count() >= 3);
    assert!(!drawn.contains('\n'), "{drawn:?}");
    let said = importing.ends_with(1);
    let (_, left) = said.rsplit_once("\r\u{1b}[2K").unwrap();
    assert!(left.contains("pipe: ") && !left.contains("importing"), "{said:?}");
}

#[test]
fn elsewhere_a_long_command_writes_plain_lines() {
    let command = |own: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", own]).stdin(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let importing = Importing::start(command, |child| child.stderr.take().unwrap());
    let line = importing.says(|said| said.contains('\n'));
    assert!(line.starts_with("importing: 0.0 MiB, ") && line.ends_with(" s\n"), "{line:?}");
    let said = importing.ends_with(1);
    assert!(!said.contains(['\r', '\u{1b}']), "{said:?}");
}

/// `import` of a pipe.
struct Importing {
    child: Child,
    pipe: File,
    said: Receiver<String>,
    _folder: TempDir,
}

impl Importing {
    fn start<R: Read + Send + 'static>(command: impl Fn(&str) -> Command, output: fn(&mut Child) -> R) -> Importing {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let own = [env!("CARGO_BIN_EXE_capi-relay"), "import", "-c"].map(str::to_owned).to_vec();
        let paths = [routes(folder.path()), pipe.clone()].map(|path| path.display().to_string());
        let mut child = command(&[own, paths.to_vec()].concat().join(" ")).spawn().unwrap();
        let (tell, said) = sync_channel(READS_MAX);
        let mut output = output(&mut child);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal whose last writer is gone cannot be read.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                tell.send(String::from_utf8_lossy(&bytes[..read]).into_owned()).unwrap();
            }
        });
        let pipe = OpenOptions::new().write(true).open(pipe).unwrap();
        Importing { child, pipe, said, _folder: folder }
    }

    /// All that it has said when that is so.
    fn says(&self, is_so: impl Fn(&str) -> bool) -> String {
        let mut all = String::new();
        while !is_so(&all) {
            all.push_str(&self.said.recv_timeout(PATIENCE).unwrap());
        }
        all
    }

    /// Ends what it reads, and with that itself; what it has said since.
    #[track_caller]
    fn ends_with(mut self, code: i32) -> String {
        drop(self.pipe);
        assert_eq!(self.child.wait().unwrap().code(), Some(code));
        self.said.iter().collect()
    }
}

fn routes(folder: &Path) -> PathBuf {
    let path = folder.join("routes.toml");
    let text = concat!(
        "[server]\nlisten = \"127.0.0.1:0\"\nplaintext = true\n[queue]\npath = \"data\"\nallow_volatile = true\n",
        "[merchant.acme]\ntoken_sha256 = \"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4\"\n",
        "[destination.one]\nurl = \"https://one.example/\"\nmap.a = \"event_type\"\n",
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// More reads than any test waits for.
const READS_MAX: usize = 4096;
/// Nothing that is right takes longer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
