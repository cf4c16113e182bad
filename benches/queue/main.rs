//! What the queue's promise costs, through its public handle, on a real disk.
//!
//! **Accepting**: durable accepts a second with 1, 16, 64 and 256 in flight, five deliveries each: alone, and with all of
//! them handed out and settled meanwhile; against a thread that appends the same bytes, calls `fdatasync` and wakes the same
//! waiters.
//!
//! **Backlog**: with so many conversions waiting for a destination that nobody serves, what the four others get through
//! against an empty queue, what memory and disk it takes, before and after it is compacted, and how long opening takes after a
//! `kill -9` under load. **Waiting**: the same when all of it has been attempted once and waits for its time.
//!
//! **Encryption**: the same accepting, as it is and sealed.
//!
//! Whatever is compared is taken in turn in one process, so that whatever else the machine does falls on both sides alike.
//! Each backlog has a process of its own, so that its memory is its own.
//!
//! `cargo bench --bench queue` takes a quarter of an hour; `-- --quick` under one, and its figures say little; `-- --all` adds
//! a backlog of three million; `-- --accept`, `-- --sealed`, `-- --backlog` and `-- --waiting` do one part.

/// As the relay itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod accept;
mod backlog;
mod load;
mod machine;
mod raw;
mod sealed;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let [part, folder, rest @ ..] = arguments.as_slice() {
        let folder = std::path::Path::new(folder);
        match part.as_str() {
            backlog::FILL => return runtime.block_on(backlog::fill(folder, rest)),
            backlog::OPEN => return backlog::open(folder),
            _ => {}
        }
    }
    let quick = asked("--quick");
    // `cargo test --benches` runs what it builds, and nothing is timed there.
    if !asked("--bench") && !quick {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("queue").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    say(&machine::described(folder.path())?);
    let part = |flag: &str| asked(flag) || !["--accept", "--sealed", "--backlog", "--waiting"].into_iter().any(asked);
    if part("--accept") {
        runtime.block_on(accept::compare(folder.path(), quick))?;
    }
    if part("--sealed") {
        runtime.block_on(sealed::compare(folder.path(), quick))?;
    }
    if part("--backlog") {
        let sizes: &[u32] = if quick {
            &[1_000, 5_000]
        } else if asked("--all") {
            &[1_000, 100_000, 1_000_000, 3_000_000]
        } else {
            &[1_000, 100_000, 1_000_000]
        };
        backlog::compare(folder.path(), sizes, backlog::FRESH, quick)?;
        let sizes = if quick { &[1_000, 5_000] } else { &[1_000, 1_000_000] };
        backlog::compare(folder.path(), sizes, backlog::OF_FIVE, quick)?;
    }
    if part("--waiting") {
        let sizes: &[u32] = if quick { &[5_000] } else { &[100_000, 1_000_000] };
        backlog::compare(folder.path(), sizes, backlog::WAITING, quick)?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "standard output has one line that is read")]
fn say_aside(line: &str) {
    eprintln!("{line}");
}

#[expect(clippy::print_stdout, reason = "the figures are what a bench is for")]
fn say(line: &str) {
    println!("{line}");
}
