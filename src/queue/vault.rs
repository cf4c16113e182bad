//! The vault: what is stored goes through it, and lies sealed on the disk when a key is configured.
//!
//! A data key serves for a day, and lies in `keys/` sealed with the configured key, which is written nowhere. What is stored
//! is sealed with a data key (AES-256-GCM, a random nonce each time) and says with which. When nothing that is needed was
//! sealed with a data key any more, it is removed: what is left of that in recycled segments, in sled's file or in a backup
//! can then be read by nobody.
//!
//! | part | sealed | in the clear |
//! | --- | --- | --- |
//! | journal | conversions, settlements | ids |
//! | backlog | conversions | ids, hashes of orders |
//! | store | changed statuses | ids, destinations, due times, counts |
//! | history | what became of a conversion | ids |
//!
//! Deduplication keys and order ids are in the clear nowhere: their hashes are, keyed with a key of the folder's own if it was
//! made with a key configured.
//!
//! **Promises.** Sealed bytes open only as the part of the conversion that they were sealed as. Without a key configured
//! nothing changes but one byte. A folder that holds sealed bytes is refused without the key.
//!
//! **Never.** A key, or what it opens, is in no error and no log.

mod keys;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use sha2::{Digest as _, Sha256};

use super::codec::{Malformed, Reader, Writer};
use super::folder::{Folder, OpenError, State, is_full, make_dir};
use crate::conversion::ConversionId;

/// A merchant's deduplication key or order, hashed: 128 bits, so that it has a fixed size and gives nothing away.
pub(super) type KeyHash = [u8; 16];

/// How what is stored is encrypted.
#[derive(Debug, Clone)]
pub struct Encryption {
    /// Seals the data keys.
    pub key: MasterKey,
    /// Keys that were in its place before: what they sealed is opened, and sealed with the present one.
    pub old_keys: Vec<MasterKey>,
}

/// A key of 256 bits that seals the data keys. Printed as `***`.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// Of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> MasterKey {
        MasterKey(bytes)
    }

    /// Names the key without giving it away: 16 hex digits of its hash.
    pub fn id(&self) -> String {
        hex::encode(self.id_bytes())
    }

    fn id_bytes(&self) -> [u8; 8] {
        let hash = Sha256::new().chain_update(b"capi-relay key").chain_update(self.0).finalize();
        let mut id = [0; 8];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        id
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which part of which conversion is sealed: what was sealed as another does not open as this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Context(pub(super) Part, pub(super) ConversionId);

/// The parts of a conversion that are sealed. Their numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Accepted,
    Settlement,
    Status,
    Outcome,
}

impl Context {
    fn bytes(self) -> [u8; 17] {
        let number = match self.0 {
            Part::Accepted => 1,
            Part::Settlement => 2,
            Part::Status => 3,
            Part::Outcome => 5,
        };
        let mut bytes = [0; 17];
        bytes.iter_mut().zip(std::iter::once(&number).chain(self.1.as_bytes())).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// The keys of an open folder.
#[derive(Debug)]
pub(super) struct Vault(Option<Ring>);

struct Ring {
    dir: PathBuf,
    master: MasterKey,
    /// Of hashes; none in a folder that was made without a key.
    index: Option<hmac::Key>,
    keys: RwLock<Keys>,
}

#[derive(Default)]
struct Keys {
    current: Option<Arc<DataKey>>,
    all: BTreeMap<u64, Arc<DataKey>>,
}

/// A key that seals what is stored, for a day.
pub(super) struct DataKey {
    number: u64,
    made_ms: u64,
    key: LessSafeKey,
    /// Since the folder was opened.
    uses: AtomicU64,
}

/// What something is sealed with.
#[derive(Clone)]
pub(super) enum Sealing {
    /// Nothing: it stays as it is.
    Plain,
    /// This key.
    With(Arc<DataKey>),
}

impl Vault {
    /// Seals nothing and opens nothing: for what takes bytes as they are.
    pub(super) fn plain() -> Vault {
        Vault(None)
    }

    /// Of a folder in which nothing has been kept yet. Returns what its state has to say of it.
    pub(super) fn create(
        folder: &Path,
        encryption: Option<&Encryption>,
        now_ms: u64,
        state: &mut State,
    ) -> Result<Vault, OpenError> {
        let Some(Encryption { key: master, .. }) = encryption else { return Ok(Vault(None)) };
        let dir = folder.join(DIR);
        let make = || {
            make_dir(&dir)?;
            let index = keys::make(&dir, master, keys::INDEX, now_ms)?;
            let first = DataKey::new(1, now_ms, &keys::make(&dir, master, 1, now_ms)?)?;
            Ok::<_, io::Error>((hmac::Key::new(hmac::HMAC_SHA256, &index), Arc::new(first)))
        };
        let (index, first) = make().map_err(|source| OpenError::write(&dir, source))?;
        (state.is_keyed, state.oldest_key, state.newest_key) = (true, 1, 1);
        let keys = Keys { all: BTreeMap::from([(1, Arc::clone(&first))]), current: Some(first) };
        let (master, keys) = (master.clone(), RwLock::new(keys));
        Ok(Vault(Some(Ring { dir, master, index: Some(index), keys })))
    }

    /// Opens all data keys that the state says must be there. Those that an old key sealed are sealed with the present one.
    pub(super) fn open(folder: &Path, encryption: Option<&Encryption>, state: State) -> Result<Vault, OpenError> {
        let dir = folder.join(DIR);
        let Some(encryption) = encryption else {
            return if state.newest_key == 0 { Ok(Vault(None)) } else { Err(keys::refusal(&dir, state)) };
        };
        let mut opened = Keys::default();
        let mut index = None;
        if state.is_keyed {
            let (bytes, _) = keys::open(&dir, encryption, keys::INDEX)?;
            index = Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        }
        let wrong = |source| OpenError::read(&dir, source);
        for number in state.oldest_key..=state.newest_key {
            let (bytes, made_ms) = keys::open(&dir, encryption, number)?;
            let key = Arc::new(DataKey::new(number, made_ms, &bytes).map_err(wrong)?);
            opened.all.insert(number, Arc::clone(&key));
            opened.current = Some(key);
        }
        keys::remove_before(&dir, state.oldest_key).map_err(|source| OpenError::write(&dir, source))?;
        Ok(Vault(Some(Ring { dir, master: encryption.key.clone(), index, keys: RwLock::new(opened) })))
    }

    /// Makes another data key when it is time. Without room for it the one before goes on.
    pub(super) fn renew(&self, folder: &Folder, now_ms: u64, time: Duration) -> io::Result<()> {
        let Vault(Some(ring)) = self else { return Ok(()) };
        // Made far ahead of now it was by a clock that was wrong.
        let is_due = |key: &Arc<DataKey>| {
            now_ms.abs_diff(key.made_ms) >= millis(time) || key.uses.load(Ordering::Relaxed) >= KEY_USES_MAX
        };
        let current = ring.current();
        if current.as_ref().is_some_and(|key| !is_due(key)) {
            return Ok(());
        }
        match ring.make(folder, now_ms) {
            Err(error) if is_full(&error) && current.is_some() => {
                tracing::warn!(%error, "no space for another data key; the one before goes on");
                Ok(())
            }
            made => made,
        }
    }

    /// Removes the data keys before `needed`; never the present one, and none while that is new: what was sealed with the one
    /// before may be on its way.
    pub(super) fn retire(&self, folder: &Folder, needed: u64, now_ms: u64, time: Duration) -> io::Result<()> {
        let Vault(Some(ring)) = self else { return Ok(()) };
        let settled = |current: Arc<DataKey>| {
            let is_long_there = now_ms.saturating_sub(current.made_ms) >= millis(time) / ON_ITS_WAY;
            is_long_there.then_some(current.number)
        };
        let needed = ring.current().and_then(settled).unwrap_or(0).min(needed);
        if needed <= folder.state().oldest_key {
            return Ok(());
        }
        folder.update(|state| state.oldest_key = needed)?;
        keys::remove_before(&ring.dir, needed)?;
        ring.keys.write().unwrap_or_else(PoisonError::into_inner).all.retain(|number, _| *number >= needed);
        tracing::info!(oldest = needed, "data keys that nothing needs any more were removed");
        Ok(())
    }

    /// With what is sealed now.
    pub(super) fn sealing(&self) -> Sealing {
        let current = self.0.as_ref().and_then(Ring::current);
        current.map_or(Sealing::Plain, Sealing::With)
    }

    /// With what was sealed what has that key's number.
    pub(super) fn sealing_with(&self, number: u64) -> Result<Sealing, Malformed> {
        if number == PLAIN {
            return Ok(Sealing::Plain);
        }
        Ok(Sealing::With(self.0.as_ref().and_then(|ring| ring.key(number)).ok_or(NO_KEY)?))
    }

    /// What [`Sealing::seal`] was given; `bytes` is all that it wrote.
    pub(super) fn open_sealed<'a>(&self, context: Context, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Malformed> {
        let mut r = Reader::new(bytes);
        let number: u64 = r.number()?;
        if number == PLAIN {
            // Where all is sealed nobody slips in what is not.
            return if self.index().is_none() { Ok(Cow::Borrowed(r.rest())) } else { Err(NOT_OPENED) };
        }
        let key = self.0.as_ref().and_then(|ring| ring.key(number)).ok_or(NO_KEY)?;
        let nonce = Nonce::try_assume_unique_for_key(r.raw(NONCE_LEN)?).map_err(|_unspecified| NOT_OPENED)?;
        let mut sealed = r.rest().to_vec();
        let opened = key.key.open_in_place(nonce, Aad::from(context.bytes()), &mut sealed);
        let len = opened.map_err(|_unspecified| NOT_OPENED)?.len();
        sealed.truncate(len);
        Ok(Cow::Owned(sealed))
    }

    /// Of a merchant's key or order. The merchant's length goes in first, so that no two pairs read the same.
    pub(super) fn hash(&self, merchant: &str, key: &str) -> KeyHash {
        let len = u64::try_from(merchant.len()).unwrap_or(u64::MAX).to_le_bytes();
        match self.index() {
            None => first_half(Sha256::new().chain_update(len).chain_update(merchant).chain_update(key).finalize()),
            Some(index) => {
                let mut hash = hmac::Context::with_key(index);
                [b"key".as_slice(), &len, merchant.as_bytes(), key.as_bytes()]
                    .iter()
                    .for_each(|part| hash.update(part));
                first_half(hash.sign().as_ref().iter().copied())
            }
        }
    }

    /// Of a content's digest: what lies in the clear is keyed, too.
    pub(super) fn digest(&self, digest: &KeyHash) -> KeyHash {
        let Some(index) = self.index() else { return *digest };
        let mut hash = hmac::Context::with_key(index);
        [b"digest".as_slice(), digest].iter().for_each(|part| hash.update(part));
        first_half(hash.sign().as_ref().iter().copied())
    }

    fn index(&self) -> Option<&hmac::Key> {
        self.0.as_ref().and_then(|ring| ring.index.as_ref())
    }
}

impl Ring {
    fn current(&self) -> Option<Arc<DataKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    fn key(&self, number: u64) -> Option<Arc<DataKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).all.get(&number).cloned()
    }

    fn make(&self, folder: &Folder, now_ms: u64) -> io::Result<()> {
        let number = folder.state().newest_key.saturating_add(1);
        make_dir(&self.dir)?;
        let key = Arc::new(DataKey::new(number, now_ms, &keys::make(&self.dir, &self.master, number, now_ms)?)?);
        folder.update(|state| state.newest_key = number)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.all.insert(number, Arc::clone(&key));
        keys.current = Some(key);
        Ok(())
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl DataKey {
    fn new(number: u64, made_ms: u64, bytes: &[u8; 32]) -> io::Result<DataKey> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(io::Error::other)?;
        Ok(DataKey { number, made_ms, key: LessSafeKey::new(key), uses: AtomicU64::new(0) })
    }
}

impl Sealing {
    /// The key's number; [`PLAIN`] of none.
    pub(super) fn number(&self) -> u64 {
        match self {
            Sealing::Plain => PLAIN,
            Sealing::With(key) => key.number,
        }
    }

    /// Appends what `write` writes, sealed: the key's number, a nonce, the sealed bytes and their tag.
    pub(super) fn seal(
        &self,
        context: Context,
        w: &mut Writer,
        write: impl FnOnce(&mut Writer),
    ) -> Result<(), Malformed> {
        w.number(self.number());
        let Sealing::With(key) = self else {
            write(w);
            return Ok(());
        };
        key.uses.fetch_add(1, Ordering::Relaxed);
        let nonce: [u8; NONCE_LEN] = rand::random();
        w.raw(&nonce);
        let start = w.len();
        write(w);
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(context.bytes()));
        let tag = key.key.seal_in_place_separate_tag(nonce, aad, w.written_since(start));
        let tag = tag.map_err(|_unspecified| Malformed("it could not be sealed"))?;
        w.raw(tag.as_ref());
        Ok(())
    }
}

/// The number of the key with which `bytes` were sealed; [`PLAIN`] when they were not.
pub(super) fn key_number(bytes: &[u8]) -> Result<u64, Malformed> {
    Reader::new(bytes).number()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn first_half(hash: impl IntoIterator<Item = u8>) -> KeyHash {
    let mut half = KeyHash::default();
    half.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    half
}

/// What is not sealed has this for a key's number.
pub(super) const PLAIN: u64 = 0;
/// In the folder: the keys' files.
pub(super) const DIR: &str = "keys";
const NO_KEY: Malformed = Malformed("the data key that it was sealed with is not there");
const NOT_OPENED: Malformed = Malformed("it was sealed with another key, or is damaged");
/// That part of a data key's time.
const ON_ITS_WAY: u64 = 24;
/// With random nonces a key may seal 2^32 times (NIST SP 800-38D, 8.3); a few restarts a day count anew.
const KEY_USES_MAX: u64 = 1 << 29;

#[cfg(test)]
mod tests;
