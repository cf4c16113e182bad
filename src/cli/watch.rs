//! The files that the configuration is made of, watched: by a look at each once a second, which works on every file system
//! and over every way of replacing a file. Reads none of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

/// Files as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Watch(Looks);

/// A look at each of some files, before it was read: a change that comes while it is read is none that was read.
#[derive(Debug, Default)]
pub(super) struct Looked(RefCell<Looks>);

/// `None`: it is not there.
type Looks = BTreeMap<PathBuf, Option<Stamp>>;

/// Time of change, length, device and inode: a mounted ConfigMap changes by another file taking the name.
type Stamp = (i64, i64, u64, u64, u64);

impl Looked {
    /// Looks at a file that is about to be read.
    pub(super) fn at(&self, path: &Path) {
        self.0.borrow_mut().entry(path.to_owned()).or_insert_with(|| stamp(path));
    }

    /// Both; of a file that was looked at twice the first look, before whatever was read of it.
    pub(super) fn and(self, other: Looked) -> Looked {
        let mut looks = other.0.into_inner();
        looks.extend(self.0.into_inner());
        Looked(RefCell::new(looks))
    }
}

impl Watch {
    /// Watches what was looked at, and nothing else.
    pub(super) fn over(looked: Looked) -> Watch {
        Watch(looked.0.into_inner())
    }

    /// Waits until a file is another one than before and has come to rest: who writes it in two steps is not read between
    /// them. One that is shorter than before may be on its way, over a slow line: it rests for longer. A file that is gone is
    /// a change too, once it has stayed away for longer than replacing it takes. Says what happened to which file.
    pub(super) async fn changed(&mut self) -> String {
        loop {
            sleep(LOOK_EVERY).await;
            let now = self.look();
            if now == self.0 {
                continue;
            }
            let may_be_begun = |(path, now): (&PathBuf, &Option<Stamp>)| {
                self.seen(path).is_some_and(|seen| now.is_none_or(|now| length(now) < length(seen)))
            };
            sleep(if now.iter().any(may_be_begun) { ABSENCE } else { REST }).await;
            let rested = self.look();
            if rested != now {
                continue;
            }
            let told = now.iter().find(|(path, stamp)| self.seen(path) != **stamp).map(|(path, stamp)| match stamp {
                Some(_) if is_replaced(path) => format!("{} {REPLACED}", path.display()),
                Some(_) => format!("{} changed", path.display()),
                None => format!("{} is gone", path.display()),
            });
            self.0 = now;
            if let Some(told) = told {
                return told;
            }
        }
    }

    fn look(&self) -> Looks {
        self.0.keys().map(|path| (path.clone(), stamp(path))).collect()
    }

    fn seen(&self, path: &Path) -> Option<Stamp> {
        self.0.get(path).copied().flatten()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.ctime(), data.ctime_nsec(), data.len(), data.dev(), data.ino()))
}

/// Whether the file has no name any more, and is read all the same: it is mounted by itself, and where it is mounted from
/// another has taken its name.
fn is_replaced(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.nlink() == 0)
}

fn length((_, _, length, _, _): Stamp) -> u64 {
    length
}

const REPLACED: &str =
    "was replaced where it is mounted from, and what is read here is still the old one: mount its folder";
/// A look costs one `stat` for each file; a person who saved one waits this long at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longer than an editor takes between truncating and writing.
const REST: Duration = Duration::from_millis(200);
/// Longer than an editor or a deployment takes between moving the old file away and putting the new one in its place, or a
/// copy from another machine between two of its pieces.
const ABSENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    /// A folder with a file, and a watch over it.
    fn watched() -> (tempfile::TempDir, PathBuf, Watch) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("routes.toml");
        std::fs::write(&file, "one").unwrap();
        let looked = Looked::default();
        looked.at(&file);
        (folder, file, Watch::over(looked))
    }

    /// What happened to a file, nothing within an hour, or that it was seen too late.
    async fn next(watch: &mut Watch, file: &Path) -> Option<String> {
        let told = timeout(Duration::from_secs(3600), watch.changed()).await.ok();
        told.map(|told| told.replace(&file.display().to_string(), "FILE"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_once() {
        let (_folder, file, mut watch) = watched();
        assert_eq!(next(&mut watch, &file).await, None);
        std::fs::write(&file, "three").unwrap();
        let began = Instant::now();
        assert_eq!(next(&mut watch, &file).await.as_deref(), Some("FILE changed"));
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(next(&mut watch, &file).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mounted_file_that_was_replaced_is_told_to_be_the_old_one() {
        use std::os::fd::AsRawFd as _;
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("routes.toml");
        std::fs::write(&name, "one").unwrap();
        let held = std::fs::File::open(&name).unwrap();
        // Read by another way than its name, as a mounted file is.
        let file = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        let looked = Looked::default();
        looked.at(&file);
        let mut watch = Watch::over(looked);
        std::fs::remove_file(&name).unwrap();
        let told = next(&mut watch, &file).await.unwrap();
        assert_eq!(told, format!("FILE {REPLACED}"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_mended_while_it_was_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("golden.http");
        std::fs::write(&file, "one").unwrap();
        let (first, second) = (Looked::default(), Looked::default());
        first.at(&file);
        std::fs::write(&file, "three").unwrap();
        second.at(&file);
        let mut watch = Watch::over(first.and(second));
        assert_eq!(next(&mut watch, &file).await.as_deref(), Some("FILE changed"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_gone_is_told_once_and_told_when_it_is_back() {
        let (folder, file, mut watch) = watched();
        let aside = folder.path().join("aside");
        std::fs::rename(&file, &aside).unwrap();
        assert_eq!(next(&mut watch, &file).await.as_deref(), Some("FILE is gone"));
        assert_eq!(next(&mut watch, &file).await, None);
        std::fs::rename(&aside, &file).unwrap();
        assert_eq!(next(&mut watch, &file).await.as_deref(), Some("FILE changed"));
        assert_eq!(next(&mut watch, &file).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_of_absence_is_a_replacement() {
        let (folder, file, mut watch) = watched();
        std::fs::remove_file(&file).unwrap();
        let replace = async {
            // In the middle of the absence: the first look has been, the last has not.
            sleep(LOOK_EVERY + ABSENCE / 2).await;
            let new = folder.path().join("new");
            std::fs::write(&new, "three").unwrap();
            std::fs::rename(&new, &file).unwrap();
        };
        let (told, ()) = tokio::join!(next(&mut watch, &file), replace);
        assert_eq!(told.as_deref(), Some("FILE changed"));
        assert_eq!(next(&mut watch, &file).await, None);
    }

    /// Of a file that is begun with this, and is whole after that pause, a change is told when it is whole.
    async fn is_told_when_whole(begun: &str, pause: Duration) {
        let (_folder, file, mut watch) = watched();
        let write = async {
            std::fs::write(&file, begun).unwrap();
            sleep(LOOK_EVERY.saturating_add(pause)).await;
            std::fs::write(&file, "three").unwrap();
            Instant::now()
        };
        let told = async {
            let told = next(&mut watch, &file).await;
            (told, Instant::now())
        };
        let ((told, at), written) = tokio::join!(told, write);
        assert_eq!(told.as_deref(), Some("FILE changed"));
        assert!(at > written);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_slowly_is_not_read_while_it_is_shorter_than_before() {
        is_told_when_whole("t", REST * 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_in_two_steps_is_not_read_between_them() {
        is_told_when_whole("", REST / 2).await;
    }
}
