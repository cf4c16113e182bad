//! What a disk may hold after a power cut.
//!
//! Of a file: what it held at its last fsync or fdatasync, and of what was written since any of its blocks, each as it was
//! after any of the writes to it, under any of the lengths that it had. `sync_file_range` promises nothing. What was
//! allocated and not written reads as zeros, and so may what was written there and not synced.
//!
//! Of the names in a folder: those at the folder's last fsync. Of what was created, renamed and removed since,
//!
//! - [`Names::InOrder`]: any beginning, over all folders, and all that came before the last fsync of any folder: a file
//!   system with a journal (ext4, XFS);
//! - [`Names::EachForItself`]: any of it: harsher than a file system that people use, and than what its manual promises.
//!
//! An fsync of a file says nothing about its name.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// A file or a folder, whatever its name is by now.
pub(super) type Inode = usize;

/// Where all names begin.
pub(super) const ROOT: Inode = 0;

/// What one call did.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Write {
        file: Inode,
        at: usize,
        bytes: Vec<u8>,
    },
    Resize {
        file: Inode,
        len: usize,
    },
    /// Not shorter than so much.
    Allocate {
        file: Inode,
        len: usize,
    },
    /// What these names in these folders stand for from now on: all of it, or nothing.
    Name(Vec<(Inode, String, Option<Inode>)>),
    NewFolder {
        parent: Inode,
        name: String,
        inode: Inode,
    },
    Sync(Inode),
}

impl Act {
    pub(super) fn writes_to(&self) -> Option<Inode> {
        match self {
            Act::Write { file, .. } => Some(*file),
            Act::Resize { .. } | Act::Allocate { .. } | Act::Name(_) | Act::NewFolder { .. } | Act::Sync(_) => None,
        }
    }
}

/// A call, by the lines of the trace at which it began and had returned.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) entered: usize,
    pub(super) left: usize,
    pub(super) act: Act,
}

/// A folder with everything in it: a file's content, or nothing for a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Image(pub(super) BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Image {
    pub(super) fn write_to(&self, to: &Path) {
        for (path, content) in &self.0 {
            match content {
                None => std::fs::create_dir(to.join(path)).unwrap(),
                Some(bytes) => std::fs::write(to.join(path), bytes).unwrap(),
            }
        }
    }

    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The names that there are, by folder.
#[derive(Debug, Clone)]
pub(super) struct Tree(pub(super) BTreeMap<Inode, BTreeMap<String, Inode>>);

impl Tree {
    /// What lies at a path below the root, if anything.
    pub(super) fn at(&self, path: &Path) -> Option<Inode> {
        path.iter().try_fold(ROOT, |folder, name| self.0.get(&folder)?.get(name.to_str()?).copied())
    }

    pub(super) fn apply(&mut self, changes: &[(Inode, String, Option<Inode>)]) {
        for (folder, name, inode) in changes {
            let names = self.0.entry(*folder).or_default();
            match inode {
                Some(inode) => drop(names.insert(name.clone(), *inode)),
                None => drop(names.remove(name)),
            }
        }
    }
}

/// A change to a file that is not synced, and when the call had returned.
#[derive(Debug, Clone)]
struct Later {
    left: usize,
    change: Change,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Resize(usize),
    Allocate(usize),
}

#[derive(Debug, Clone, Default)]
struct File {
    synced: Vec<u8>,
    later: Vec<Later>,
}

/// A change of names that no fsync of its folder has covered.
#[derive(Debug, Clone)]
struct Named {
    left: usize,
    changes: Vec<(Inode, String, Option<Inode>)>,
    /// An fsync of some folder came later.
    journalled: bool,
}

/// The disk at some point of a trace.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    tree: Tree,
    named: Vec<Named>,
    files: BTreeMap<Inode, File>,
    inodes: Inode,
}

/// How much of what no sync has covered is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Nothing,
    Everything,
    /// The block written last, alone.
    TheLastBlock,
    AllButOneBlock,
    /// Of each block and name with so many chances in ten.
    Some(u8),
}

/// Which changes of names may be there without others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    InOrder,
    EachForItself,
}

impl Disk {
    /// All of it synced.
    pub(super) fn holding(image: &Image) -> Disk {
        let tree = Tree(BTreeMap::from([(ROOT, BTreeMap::new())]));
        let mut disk = Disk { tree, named: Vec::new(), files: BTreeMap::new(), inodes: image.0.len() };
        for (number, (path, content)) in image.0.iter().enumerate() {
            let inode = number + 1;
            let parent = disk.tree.at(path.parent().unwrap()).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            disk.tree.apply(&[(parent, name, Some(inode))]);
            match content {
                None => drop(disk.tree.0.insert(inode, BTreeMap::new())),
                Some(bytes) => {
                    drop(disk.files.insert(inode, File { synced: bytes.clone(), later: Vec::new() }));
                }
            }
        }
        disk
    }

    /// The names as a process sees them.
    pub(super) fn tree(&self) -> Tree {
        let mut tree = self.tree.clone();
        self.named.iter().for_each(|named| tree.apply(&named.changes));
        tree
    }

    /// The length of each file as a process sees it.
    pub(super) fn lengths(&self) -> BTreeMap<Inode, usize> {
        self.files.iter().map(|(inode, file)| (*inode, *file.lengths().last().unwrap())).collect()
    }

    /// All of it as a process sees it.
    pub(super) fn as_seen(&self) -> Image {
        let contents = self.files.iter().map(|(inode, file)| {
            let len = *file.lengths().last().unwrap();
            (*inode, file.content(len, |_, versions| versions))
        });
        let mut image = Image::default();
        gather(&self.tree(), ROOT, Path::new(""), &contents.collect(), &mut image);
        image
    }

    /// How many there have been: the next ones come behind.
    pub(super) fn inodes(&self) -> Inode {
        self.inodes
    }

    /// The process is killed in these calls, and nothing else happens: what it had written stays as it is, not synced, and
    /// came before whatever comes.
    pub(super) fn kill(&mut self, under_way: &[&Step]) {
        under_way.iter().filter(|step| !matches!(step.act, Act::Sync(_))).for_each(|step| self.apply(step));
        self.named.iter_mut().for_each(|named| named.left = 0);
        self.files.values_mut().flat_map(|file| &mut file.later).for_each(|later| later.left = 0);
    }

    pub(super) fn apply(&mut self, step: &Step) {
        let left = step.left;
        match &step.act {
            Act::Write { file, at, bytes } => {
                self.later(*file, left, Change::Write { at: *at, bytes: bytes.clone() });
            }
            Act::Resize { file, len } => self.later(*file, left, Change::Resize(*len)),
            Act::Allocate { file, len } => self.later(*file, left, Change::Allocate(*len)),
            Act::Name(changes) => self.name(left, changes.clone()),
            Act::NewFolder { parent, name, inode } => {
                self.tree.0.insert(*inode, BTreeMap::new());
                self.name(left, vec![(*parent, name.clone(), Some(*inode))]);
            }
            Act::Sync(inode) if self.tree.0.contains_key(inode) => self.sync_names(*inode, step.entered),
            Act::Sync(inode) => self.files.entry(*inode).or_default().sync(step.entered),
        }
    }

    fn name(&mut self, left: usize, changes: Vec<(Inode, String, Option<Inode>)>) {
        self.inodes = changes.iter().filter_map(|(_, _, inode)| *inode).fold(self.inodes, Inode::max);
        self.named.push(Named { left, changes, journalled: false });
    }

    fn later(&mut self, file: Inode, left: usize, change: Change) {
        self.files.entry(file).or_default().later.push(Later { left, change });
    }

    /// What had been done when the sync began is covered by it.
    fn sync_names(&mut self, folder: Inode, entered: usize) {
        let (covered, mut others): (Vec<Named>, Vec<Named>) = std::mem::take(&mut self.named)
            .into_iter()
            .partition(|named| named.left < entered && named.changes.iter().any(|(within, _, _)| *within == folder));
        for named in &covered {
            self.tree.apply(&named.changes);
        }
        for named in &mut others {
            named.journalled |= named.left < entered;
        }
        self.named = others;
    }

    /// How many blocks a cut at this moment may leave as they were.
    pub(super) fn blocks(&self) -> usize {
        self.files.values().map(|file| file.touched().len()).sum()
    }

    /// What a cut at this moment may leave, with these calls under way.
    pub(super) fn cut(&self, under_way: &[&Step], kept: Kept, names: Names, rng: &mut StdRng) -> Image {
        let mut disk = self.clone();
        for step in under_way.iter().filter(|step| !matches!(step.act, Act::Sync(_))) {
            disk.apply(step);
        }
        let tree = disk.named_after(kept, names, rng);
        let blocks: Vec<(usize, Inode, usize)> =
            disk.files.iter().flat_map(|(inode, file)| file.blocks(*inode)).collect();
        let last = blocks.iter().max().map(|(_, inode, block)| (*inode, *block));
        let one = match blocks.len() {
            0 => None,
            count => blocks.get(rng.random_range(0..count)).map(|(_, inode, block)| (*inode, *block)),
        };
        let mut contents = BTreeMap::new();
        for (inode, file) in &disk.files {
            let len = file.length_after(kept, last.is_some_and(|(of, _)| of == *inode), rng);
            let content = file.content(len, |block, versions| match kept {
                Kept::Nothing => 0,
                Kept::Everything => versions,
                Kept::TheLastBlock => {
                    if last == Some((*inode, block)) {
                        versions
                    } else {
                        0
                    }
                }
                Kept::AllButOneBlock if one == Some((*inode, block)) => rng.random_range(0..versions),
                Kept::AllButOneBlock => versions,
                Kept::Some(tenths) if chance(tenths, rng) => rng.random_range(1..=versions),
                Kept::Some(_) => 0,
            });
            contents.insert(*inode, content);
        }
        let mut image = Image::default();
        gather(&tree, ROOT, Path::new(""), &contents, &mut image);
        image
    }

    /// The names that are there.
    fn named_after(&self, kept: Kept, names: Names, rng: &mut StdRng) -> Tree {
        let must = match names {
            Names::InOrder => self.named.iter().rposition(|named| named.journalled).map_or(0, |last| last + 1),
            Names::EachForItself => 0,
        };
        let (all, chances) = match kept {
            Kept::Nothing => (must, 0),
            Kept::Everything => (self.named.len(), 10),
            Kept::TheLastBlock | Kept::AllButOneBlock if rng.random() => (must, 0),
            Kept::TheLastBlock | Kept::AllButOneBlock => (self.named.len(), 10),
            Kept::Some(tenths) => (rng.random_range(must..=self.named.len()), tenths),
        };
        let mut tree = self.tree.clone();
        for (index, named) in self.named.iter().enumerate() {
            let there = match names {
                Names::InOrder => index < all,
                Names::EachForItself => chance(chances, rng),
            };
            if there {
                tree.apply(&named.changes);
            }
        }
        tree
    }
}

fn chance(tenths: u8, rng: &mut impl Rng) -> bool {
    rng.random_range(0..10_u8) < tenths
}

fn gather(tree: &Tree, folder: Inode, at: &Path, contents: &BTreeMap<Inode, Vec<u8>>, image: &mut Image) {
    for (name, inode) in tree.0.get(&folder).into_iter().flatten() {
        let path = at.join(name);
        if tree.0.contains_key(inode) {
            image.0.insert(path.clone(), None);
            gather(tree, *inode, &path, contents, image);
        } else {
            image.0.insert(path, Some(contents.get(inode).cloned().unwrap_or_default()));
        }
    }
}

impl File {
    /// What had returned when the sync began is covered by it.
    fn sync(&mut self, entered: usize) {
        let (covered, later): (Vec<Later>, Vec<Later>) =
            std::mem::take(&mut self.later).into_iter().partition(|later| later.left < entered);
        for Later { change, .. } in covered {
            match change {
                Change::Write { at, bytes } => {
                    let end = at + bytes.len();
                    self.synced.resize(self.synced.len().max(end), 0);
                    self.synced[at..end].copy_from_slice(&bytes);
                }
                Change::Resize(len) => self.synced.resize(len, 0),
                Change::Allocate(len) => self.synced.resize(self.synced.len().max(len), 0),
            }
        }
        self.later = later;
    }

    /// The lengths that it may have, as they came.
    fn lengths(&self) -> Vec<usize> {
        let mut lengths = vec![self.synced.len()];
        for Later { change, .. } in &self.later {
            let before = lengths[lengths.len() - 1];
            let after = match change {
                Change::Write { at, bytes } => before.max(at + bytes.len()),
                Change::Resize(len) => *len,
                Change::Allocate(len) => before.max(*len),
            };
            if after != before {
                lengths.push(after);
            }
        }
        lengths
    }

    fn length_after(&self, kept: Kept, has_the_last: bool, rng: &mut StdRng) -> usize {
        let lengths = self.lengths();
        let newest = lengths.len() - 1;
        let which = match kept {
            Kept::Nothing => 0,
            Kept::Everything | Kept::AllButOneBlock => newest,
            Kept::TheLastBlock => {
                if has_the_last {
                    newest
                } else {
                    0
                }
            }
            Kept::Some(_) => rng.random_range(0..=newest),
        };
        lengths[which]
    }

    /// The changes to each block that has any, in order.
    fn touched(&self) -> BTreeMap<usize, Vec<&Later>> {
        let mut touched: BTreeMap<usize, Vec<&Later>> = BTreeMap::new();
        let mut end = self.synced.len();
        for later in &self.later {
            let range = match &later.change {
                Change::Write { at, bytes } => *at..at + bytes.len(),
                Change::Resize(len) => *len..end.max(*len),
                Change::Allocate(_) => 0..0,
            };
            end = end.max(range.end);
            for block in range.start / BLOCK..range.end.div_ceil(BLOCK) {
                touched.entry(block).or_default().push(later);
            }
        }
        touched
    }

    /// Each block that was written since the last sync, behind the time of the last write to it.
    fn blocks(&self, inode: Inode) -> BTreeSet<(usize, Inode, usize)> {
        let touched = self.touched().into_iter();
        touched.map(|(block, changes)| (changes[changes.len() - 1].left, inode, block)).collect()
    }

    /// Under that length, each block that was written since the last sync as it was after so many of these writes.
    fn content(&self, len: usize, mut version: impl FnMut(usize, usize) -> usize) -> Vec<u8> {
        let mut content = self.synced.clone();
        content.resize(len, 0);
        for (block, changes) in self.touched() {
            let begin = block * BLOCK;
            let mut bytes = [0; BLOCK];
            let synced = self.synced.get(begin..).unwrap_or_default();
            let synced = &synced[..synced.len().min(BLOCK)];
            bytes[..synced.len()].copy_from_slice(synced);
            for Later { change, .. } in changes.iter().take(version(block, changes.len())) {
                match change {
                    Change::Write { at, bytes: written } => {
                        let (from, to) = (begin.max(*at), (begin + BLOCK).min(at + written.len()));
                        bytes[from - begin..to - begin].copy_from_slice(&written[from - at..to - at]);
                    }
                    Change::Resize(cut) => bytes[cut.saturating_sub(begin)..].fill(0),
                    Change::Allocate(_) => {}
                }
            }
            let end = len.min(begin + BLOCK);
            if begin < end {
                content[begin..end].copy_from_slice(&bytes[..end - begin]);
            }
        }
        content
    }
}

/// What reaches a disk whole, or not.
const BLOCK: usize = 4096;
