//! Another store that holds the same: what does not shrink is left behind.
//!
//! Every group is written to both, whole, and between groups what the copy lacks is brought over. One thread does both,
//! so nothing comes in between; and a write says what a key holds, never by how much it changes. Hence, at any time:
//!
//! - the copy holds no key that the store does not hold, and none with another value: it was written to both, or brought
//!   over as it was and written to both since;
//! - of the keys up to where bringing over *the rest* has come it lacks none: each was there, or was brought over, and
//!   one that came later was written to both.
//!
//! At the last key the two are the same, and stay so until one takes the other's place.
//!
//! What its entries of blocks name is shared: the backlog is not copied.
//!
//! The store never depends on its copy: one that cannot be written is given up, and what is given up leaves nothing behind.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::super::folder::{OpenError, make_dir};
use super::{Group, Layout, Store, StoreError, keys, sync_all};

/// A copy on its way.
pub(super) struct Copy {
    store: Box<Store>,
    dir: PathBuf,
    pass: Pass,
    /// The last key looked at.
    after: Option<sled::IVec>,
}

/// Keys in their order fill half of each of sled's nodes and split it; the gaps between them, filled later, make them
/// whole. Measured with entries as they are here, of 16 to 60 MB: a file of 1.7 times what it holds instead of 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    EveryOther,
    TheRest,
}

impl Store {
    /// Begins a copy in that folder; what is left there of an earlier one is removed.
    pub(in super::super) fn begin_copy(&self, dir: &Path) -> Result<(), OpenError> {
        let write = |source| OpenError::write(dir, source);
        if dir.exists() {
            std::fs::remove_dir_all(dir).map_err(write)?;
        }
        make_dir(dir).map_err(write)?;
        let store =
            Box::new(Store::open_sled(dir, Arc::clone(&self.vault), Arc::clone(&self.backlog), &|| Ok(Layout::new()))?);
        let copy = Copy { store, dir: dir.to_owned(), pass: Pass::EveryOther, after: None };
        *self.copy() = Some(copy);
        Ok(())
    }

    /// Brings one group over. Returns whether the copy holds all that the store holds.
    pub(in super::super) fn copy_more(&self) -> Result<bool, StoreError> {
        let mut copy = self.copy();
        let Some(Copy { store, pass, after, .. }) = &mut *copy else {
            return Ok(false);
        };
        let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        let mut entries = self.db.range((from, Bound::Unbounded));
        let mut group = Group::default();
        let mut at_the_end = false;
        for _ in 0..LOOKED_AT_MAX {
            let next = match pass {
                Pass::EveryOther => entries.nth(1),
                Pass::TheRest => entries.next(),
            };
            let Some(entry) = next else {
                at_the_end = true;
                break;
            };
            let (key, value) = entry?;
            if key != keys::LIVE_BYTES && !store.db.contains_key(&key)? {
                group.insert(&key, value.to_vec());
            }
            *after = Some(key);
            if group.bytes() > COPIED_BYTES {
                break;
            }
        }
        if group.bytes() > 0 {
            store.write(group)?;
        }
        let whole = at_the_end && *pass == Pass::TheRest;
        if at_the_end {
            (*pass, *after) = (Pass::TheRest, None);
        }
        Ok(whole)
    }

    /// Whether there is one, whole or not.
    pub(in super::super) fn has_copy(&self) -> bool {
        self.copy().is_some()
    }

    /// Makes the copy durable with its names.
    pub(in super::super) fn sync_copy(&self) -> io::Result<()> {
        self.copy().as_ref().map_or(Ok(()), |copy| sync_all(&copy.dir))
    }

    /// Takes the copy as the store that it is: writes do not reach it any more.
    pub(in super::super) fn take_copy(&self) -> Option<Store> {
        self.copy().take().map(|copy| *copy.store)
    }

    /// Gives the copy up, if there is one.
    pub(in super::super) fn give_up_copy(&self) {
        if let Some(Copy { store, dir, .. }) = self.copy().take() {
            drop(store);
            remove(&dir);
        }
    }

    /// Writes a group to the copy, if there is one.
    pub(super) fn mirror(&self, group: &Group) {
        let written = self.copy().as_ref().map_or(Ok(()), |copy| copy.store.write(group.clone()));
        if let Err(error) = written {
            tracing::warn!(%error, "giving the store's file back is put off: the copy cannot be written");
            self.give_up_copy();
        }
    }

    fn copy(&self) -> MutexGuard<'_, Option<Copy>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a store that is not needed any more. What cannot be removed goes at the next opening.
pub(in super::super) fn remove(dir: &Path) {
    if let Err(error) = std::fs::remove_dir_all(dir) {
        tracing::warn!(store = %dir.display(), %error, "a store that is not needed any more could not be removed");
    }
}

/// Entries looked at for one group: most of them are there already when the gaps are filled.
const LOOKED_AT_MAX: usize = 512;
/// Of one group. A small one lets sled use again what the groups before have left: at four times as much a file of 1.6
/// times what it holds comes to 2.0 times. And the disk is the committer's too.
const COPIED_BYTES: usize = 32 * 1024;
