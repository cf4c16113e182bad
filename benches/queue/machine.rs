//! What the machine says about itself and about this process.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Failed;

/// One line: processors, load, file system.
pub(crate) fn described(folder: &Path) -> Result<String, Failed> {
    let processors = std::thread::available_parallelism()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load: Vec<&str> = load.split(' ').take(3).collect();
    Ok(format!("{processors} processors, load {}, {}", load.join(" "), file_system(folder)?))
}

/// Type and device of the mount that holds the folder.
fn file_system(folder: &Path) -> Result<String, Failed> {
    let folder = folder.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut found = (0, "an unknown file system".to_owned());
    for mount in mounts.lines() {
        let [device, at, kind, ..] = *mount.split(' ').collect::<Vec<_>>() else {
            continue;
        };
        // The deepest one, and the last mounted of several at one place.
        if folder.starts_with(at) && at.len() >= found.0 {
            found = (at.len(), format!("{kind} on {device}"));
        }
    }
    Ok(found.1)
}

#[expect(clippy::disallowed_methods, reason = "what a bench measures is real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// User and system time of this process, in the kernel's hundredths of a second.
pub(crate) fn processor_time() -> Result<Duration, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, in parentheses, may hold spaces; what follows it does not.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks.saturating_mul(10)))
}

/// Bytes of memory in use, now (`VmRSS`) or at most so far (`VmHWM`).
pub(crate) fn memory(which: &str) -> Result<u64, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)).ok_or("no such line in the status")?;
    let kilobytes: u64 = line.trim_start_matches(':').trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes.saturating_mul(1024))
}

/// Bytes that a file, or all files of a folder, take on disk.
pub(crate) fn disk_bytes(path: &Path) -> Result<u64, Failed> {
    use std::os::unix::fs::MetadataExt as _;
    if !path.is_dir() {
        return Ok(path.metadata()?.blocks().saturating_mul(512));
    }
    let mut bytes = 0_u64;
    for entry in std::fs::read_dir(path)? {
        bytes = bytes.saturating_add(disk_bytes(&entry?.path())?);
    }
    Ok(bytes)
}
