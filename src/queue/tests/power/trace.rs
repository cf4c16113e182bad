//! The record of a run: strace's output, read as what was done to the disk.
//!
//! strace stops a thread where it enters a call and where it leaves it, and writes down the one before it lets the thread
//! go on. So what a thread does because of another's return comes after it in the record. A call that two lines tell of
//! was under way in between.
//!
//! A call that changes files in a way that is not understood here ends the reading in words.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::disk::{Act, Disk, Inode, Step, Tree};

/// What happened, by the lines of the record, from 1.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// In the order in which the calls returned.
    pub(super) steps: Vec<Step>,
    /// What the process said, and when it began to.
    pub(super) said: Vec<(usize, String)>,
}

/// Runs this test binary again, for that one test, under strace. What is written below `world` is recorded, and what is
/// written to the file `voice` is what it says.
pub(super) fn record(test: &str, environment: &[(&str, &Path)], record: &Path) {
    let output = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-y", "-xx", "-qq", "-e", "signal=none", "-s", LONGEST, "-e", CALLS, "-o"])
        .arg(record)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .envs(environment.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("strace cannot be run ({error}): nothing is known of power cuts without it"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the run under strace failed, or cannot be traced here:\n{stderr}\n{stdout}");
}

/// Reads the record of a run that began on this disk.
pub(super) fn read(record: &str, world: &Path, voice: &Path, disk: &Disk) -> Trace {
    let mut reading = Reading {
        world,
        voice,
        tree: disk.tree(),
        lengths: disk.lengths(),
        inodes: disk.inodes(),
        open: HashMap::new(),
        files: Vec::new(),
        trace: Trace::default(),
    };
    let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
    for (number, line) in (1..).zip(record.lines()) {
        let (thread, text) = line.split_once(' ').unwrap_or_default();
        let text = text.trim_start();
        if text.starts_with("+++") || text.starts_with("---") {
            continue;
        }
        if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            reading.enter(number, begun);
            unfinished.insert(thread, (number, begun));
        } else if let Some(resumed) = text.strip_prefix("<... ") {
            let Some((entered, begun)) = unfinished.remove(thread) else {
                panic!("the record is torn: {text:.200}");
            };
            let (_, rest) = resumed.split_once(" resumed>").unwrap_or_default();
            reading.leave(entered, number, &format!("{begun}{rest}"));
        } else {
            reading.enter(number, text);
            reading.leave(number, number, text);
        }
    }
    reading.trace
}

/// An open file: what several descriptors may share.
#[derive(Debug)]
enum Open {
    Voice,
    Disk { inode: Inode, at: usize, appends: bool },
}

/// The process as far as it has been followed.
struct Reading<'a> {
    world: &'a Path,
    voice: &'a Path,
    /// The names as the process sees them.
    tree: Tree,
    lengths: BTreeMap<Inode, usize>,
    /// So many there have been.
    inodes: Inode,
    /// By descriptor, which of the open files.
    open: HashMap<usize, usize>,
    files: Vec<Open>,
    trace: Trace,
}

/// A call as it is written down.
struct Call<'a> {
    name: &'a str,
    args: Vec<&'a str>,
    returned: usize,
    entered: usize,
    left: usize,
    text: &'a str,
}

impl Call<'_> {
    fn not_understood(&self) -> ! {
        panic!("a call that is not understood: {:.300}", self.text)
    }

    fn arg(&self, index: usize) -> &str {
        self.args.get(index).copied().unwrap_or_else(|| self.not_understood())
    }

    /// The path of an argument, or of the descriptor in it.
    fn path(&self, index: usize) -> PathBuf {
        let arg = self.arg(index);
        let quoted = arg.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let within = || arg.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
        let bytes = unhex(quoted.or_else(within).unwrap_or_else(|| self.not_understood()));
        PathBuf::from(String::from_utf8(bytes).unwrap_or_else(|_| self.not_understood()))
    }

    /// The path of an argument, and that of the folder where it begins.
    fn path_in(&self, folder: usize, path: usize) -> PathBuf {
        self.path(folder).join(self.path(path))
    }

    fn number(&self, index: usize) -> usize {
        leading_number(self.arg(index)).unwrap_or_else(|| self.not_understood())
    }

    fn bytes(&self, index: usize) -> Vec<u8> {
        let quoted = self.arg(index).strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let mut bytes = unhex(quoted.unwrap_or_else(|| self.not_understood()));
        // Written in part, the rest was not.
        bytes.truncate(self.returned);
        bytes
    }
}

impl Reading<'_> {
    /// What a call does where it is entered: a descriptor that is being closed may be another's before the call returns.
    fn enter(&mut self, line: usize, text: &str) {
        if let Some(args) = text.strip_prefix("close(")
            && let Some(descriptor) = leading_number(args)
        {
            self.open.remove(&descriptor);
        }
        if let Some(args) = text.strip_prefix("write(")
            && let Some(file) = leading_number(args).and_then(|descriptor| self.open.get(&descriptor))
            && matches!(self.files.get(*file), Some(Open::Voice))
        {
            let quoted = args.split('"').nth(1).unwrap_or_default();
            let said = String::from_utf8(unhex(quoted)).unwrap_or_default();
            self.trace.said.push((line, said.trim_end().to_owned()));
        }
    }

    /// What a call has done when it returns.
    fn leave(&mut self, entered: usize, left: usize, text: &str) {
        let Some((call, returned)) = text.rsplit_once(" = ") else {
            panic!("the record is torn: {text:.200}");
        };
        let Some(returned) = leading_number(returned) else {
            return; // It failed (-1), or the process ended in it (?).
        };
        let Some((name, args)) = call.trim_end().strip_suffix(')').and_then(|call| call.split_once('(')) else {
            panic!("the record is torn: {text:.200}");
        };
        let call = Call { name, args: args.split(", ").map(str::trim_end).collect(), returned, entered, left, text };
        match name {
            "close" => {}
            "openat" => self.opened(&call),
            "dup" | "dup2" | "dup3" => self.doubled(&call),
            "fcntl" if call.arg(1).starts_with("F_DUPFD") => self.doubled(&call),
            "fcntl" => {}
            "mkdir" => self.made_folder(&call, &call.path(0)),
            "mkdirat" => self.made_folder(&call, &call.path_in(0, 1)),
            "unlink" | "rmdir" => self.named(&call, &[(call.path(0), None)]),
            "unlinkat" => self.named(&call, &[(call.path_in(0, 1), None)]),
            "rename" => self.renamed(&call, call.path(0), call.path(1)),
            "renameat" => self.renamed(&call, call.path_in(0, 1), call.path_in(2, 3)),
            "link" | "linkat" | "symlink" | "symlinkat" | "renameat2" | "truncate" | "sync" | "syncfs" | "open"
            | "creat" | "io_uring_setup" => call.not_understood(),
            "mmap" if call.arg(3).contains("MAP_ANONYMOUS") => {}
            _ => self.used(&call),
        }
    }

    fn step(&mut self, call: &Call<'_>, act: Act) {
        self.trace.steps.push(Step { entered: call.entered, left: call.left, act });
    }

    /// A path below the world, as the folder and the name in it; nothing for one elsewhere.
    fn place(&self, path: &Path) -> Option<(Inode, String)> {
        let path = path.strip_prefix(self.world).ok()?;
        let parent = path.parent().and_then(|parent| self.tree.at(parent));
        let parent = parent.unwrap_or_else(|| panic!("{}: the folder was not seen to be made", path.display()));
        Some((parent, path.file_name()?.to_str()?.to_owned()))
    }

    fn fresh_inode(&mut self) -> Inode {
        self.inodes += 1;
        self.inodes
    }

    fn opened(&mut self, call: &Call<'_>) {
        let (path, flags) = (call.path_in(0, 1), call.arg(2));
        self.open.remove(&call.returned);
        let open = if path == self.voice {
            Open::Voice
        } else if let Ok(below) = path.strip_prefix(self.world) {
            let inode = match self.tree.at(below) {
                Some(inode) => inode,
                None if flags.contains("O_CREAT") => {
                    let inode = self.fresh_inode();
                    self.named(call, &[(path, Some(inode))]);
                    inode
                }
                None => call.not_understood(),
            };
            if flags.contains("O_TRUNC") && self.lengths.insert(inode, 0).unwrap_or_default() > 0 {
                self.step(call, Act::Resize { file: inode, len: 0 });
            }
            Open::Disk { inode, at: 0, appends: flags.contains("O_APPEND") }
        } else {
            return;
        };
        self.open.insert(call.returned, self.files.len());
        self.files.push(open);
    }

    fn doubled(&mut self, call: &Call<'_>) {
        match self.open.get(&call.number(0)).copied() {
            Some(file) => drop(self.open.insert(call.returned, file)),
            None => drop(self.open.remove(&call.returned)),
        }
    }

    fn made_folder(&mut self, call: &Call<'_>, path: &Path) {
        if let Some((parent, name)) = self.place(path) {
            let inode = self.fresh_inode();
            self.tree.apply(&[(parent, name.clone(), Some(inode))]);
            self.tree.0.insert(inode, BTreeMap::new());
            self.step(call, Act::NewFolder { parent, name, inode });
        }
    }

    fn named(&mut self, call: &Call<'_>, changes: &[(PathBuf, Option<Inode>)]) {
        let placed = changes.iter().filter_map(|(path, inode)| {
            let (folder, name) = self.place(path)?;
            Some((folder, name, *inode))
        });
        let placed: Vec<(Inode, String, Option<Inode>)> = placed.collect();
        if !placed.is_empty() {
            self.tree.apply(&placed);
            self.step(call, Act::Name(placed));
        }
    }

    fn renamed(&mut self, call: &Call<'_>, from: PathBuf, to: PathBuf) {
        if let Ok(below) = from.strip_prefix(self.world) {
            let inode = self.tree.at(below).unwrap_or_else(|| call.not_understood());
            self.named(call, &[(from, None), (to, Some(inode))]);
        }
    }

    /// A call on a descriptor.
    fn used(&mut self, call: &Call<'_>) {
        let descriptor = if call.name == "mmap" { 4 } else { 0 };
        let Some(file) = self.open.get(&call.number(descriptor)).copied() else {
            // Of a file in this world that it was not seen to open.
            if call.arg(descriptor).contains('<') && call.path(descriptor).starts_with(self.world) {
                call.not_understood();
            }
            return;
        };
        let Open::Disk { inode, at, appends } = &mut self.files[file] else { return };
        let inode = *inode;
        let length = self.lengths.entry(inode).or_default();
        let act = match call.name {
            "read" => {
                *at += call.returned;
                return;
            }
            "lseek" => {
                *at = call.returned;
                return;
            }
            "sync_file_range" => return,
            "mmap" if !call.arg(3).contains("MAP_SHARED") || !call.arg(2).contains("PROT_WRITE") => return,
            "write" | "pwrite64" => {
                let begin = match call.name {
                    "pwrite64" => call.number(3),
                    _ if *appends => *length,
                    _ => *at,
                };
                let bytes = call.bytes(1);
                if call.name == "write" {
                    *at = begin + bytes.len();
                }
                *length = (*length).max(begin + bytes.len());
                Act::Write { file: inode, at: begin, bytes }
            }
            "ftruncate" => {
                *length = call.number(1);
                Act::Resize { file: inode, len: *length }
            }
            "fallocate" if call.arg(1) == "0" => {
                let len = call.number(2) + call.number(3);
                *length = (*length).max(len);
                Act::Allocate { file: inode, len }
            }
            "fsync" | "fdatasync" => Act::Sync(inode),
            _ => call.not_understood(),
        };
        self.step(call, act);
    }
}

/// The number that a text begins with.
fn leading_number(text: &str) -> Option<usize> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// `\x41\x42` as the bytes that it stands for.
fn unhex(text: &str) -> Vec<u8> {
    let (pairs, rest) = text.as_bytes().as_chunks::<4>();
    assert!(rest.is_empty(), "the record is torn: {text:.200}");
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap();
    pairs.iter().map(|[_, _, high, low]| digit(*high) * 16 + digit(*low)).collect()
}

/// Far above what one call writes: a text that is longer is cut, and then the record is refused.
const LONGEST: &str = "67108864";
/// All that changes files or tells which one is meant.
const CALLS: &str = "trace=open,openat,creat,close,dup,dup2,dup3,fcntl,read,readv,lseek,write,writev,pwrite64,pwritev,\
    pwritev2,ftruncate,truncate,fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,\
    mkdirat,rmdir,fsync,fdatasync,sync,syncfs,sync_file_range,msync,mmap,copy_file_range,sendfile,splice,io_uring_setup";
