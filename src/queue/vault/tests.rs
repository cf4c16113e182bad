//! What is sealed opens as what it was, with the key that is configured, and as nothing else.

use std::path::Path;

use super::super::folder::{Folder, State, write_state};
use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const KEY_MS: u64 = 86_400_000;
/// Of a key's file.
const RECORD_BYTES: usize = 100;
const SECOND_AT: usize = 4096;

fn with(key: u8, old: &[u8]) -> Encryption {
    let master = |byte: u8| MasterKey::new([byte; 32]);
    Encryption { key: master(key), old_keys: old.iter().copied().map(master).collect() }
}

fn id(number: u8) -> ConversionId {
    ConversionId::new(1_700_000_000_000, [number; 10])
}

fn sealed(sealing: &Sealing, context: Context, text: &str) -> Vec<u8> {
    let mut w = Writer::default();
    sealing.seal(context, &mut w, |w| w.raw(text.as_bytes())).unwrap();
    w.finish()
}

fn opened(vault: &Vault, context: Context, bytes: &[u8]) -> Result<String, Malformed> {
    vault.open_sealed(context, bytes).map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())
}

/// A folder that was made with that key.
fn folder(dir: &Path, encryption: &Encryption, now_ms: u64) -> (Vault, Folder) {
    let mut state = State::first(7, 1);
    let vault = Vault::create(dir, Some(encryption), now_ms, &mut state).unwrap();
    write_state(dir, state).unwrap();
    let (lock, state) = Folder::claim(dir, true).unwrap();
    (vault, Folder::new(dir, lock, state.unwrap(), 0))
}

#[test]
fn what_is_sealed_opens_as_the_same_part_of_the_same_conversion_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, _folder) = folder(dir.path(), &with(1, &[]), 5);
    let context = Context(Part::Accepted, id(1));
    let bytes = sealed(&vault.sealing(), context, "a person's name");
    assert_eq!(bytes.len(), 15 + 1 + 28);
    assert!(!bytes.windows(6).any(|part| part == b"person"), "it can be read");
    assert_eq!(opened(&vault, context, &bytes).as_deref(), Ok("a person's name"));
    assert_eq!(opened(&vault, Context(Part::Status, id(1)), &bytes), Err(NOT_OPENED));
    assert_eq!(opened(&vault, Context(Part::Accepted, id(2)), &bytes), Err(NOT_OPENED));
    assert_eq!(opened(&Vault::plain(), context, &bytes), Err(NO_KEY));
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        assert!(opened(&vault, context, &changed).is_err(), "byte {place} changed, and it opened");
        assert!(opened(&vault, context, &bytes[..place]).is_err(), "cut at {place}, and it opened");
    }
    let again = sealed(&vault.sealing(), context, "a person's name");
    assert_ne!(bytes, again, "the same nonce twice");
}

#[test]
fn without_a_key_it_is_the_same_behind_one_byte() {
    let bytes = sealed(&Sealing::Plain, Context(Part::Status, id(1)), "plain");
    assert_eq!(bytes, b"\0plain");
    assert_eq!(bytes.len(), 5 + 1);
    assert_eq!(opened(&Vault::plain(), Context(Part::Accepted, id(2)), &bytes).as_deref(), Ok("plain"));
}

#[test]
fn a_data_key_serves_for_a_day_and_goes_when_nothing_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, folder) = folder(dir.path(), &with(1, &[]), 0);
    let context = Context(Part::Accepted, id(1));
    let first = sealed(&vault.sealing(), context, "first");
    vault.renew(&folder, KEY_MS - 1, DAY).unwrap();
    assert_eq!(vault.sealing().number(), 1);
    vault.renew(&folder, KEY_MS, DAY).unwrap();
    assert_eq!((vault.sealing().number(), folder.state().newest_key), (2, 2));
    assert_eq!(opened(&vault, context, &first).as_deref(), Ok("first"));
    vault.retire(&folder, 1, KEY_MS * 2, DAY).unwrap();
    assert_eq!(opened(&vault, context, &first).as_deref(), Ok("first"), "it is needed");
    vault.retire(&folder, 2, KEY_MS + 1, DAY).unwrap();
    assert_eq!(opened(&vault, context, &first).as_deref(), Ok("first"), "it may be on its way");
    vault.retire(&folder, u64::MAX, KEY_MS * 2, DAY).unwrap();
    assert_eq!(opened(&vault, context, &first), Err(NO_KEY));
    assert_eq!(vault.sealing().number(), 2, "the present one stays");
    let files = std::fs::read_dir(dir.path().join("keys")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["0000000000000002.key", "index.key"]);
    let second = sealed(&vault.sealing(), context, "second");
    let reopened = Vault::open(dir.path(), Some(&with(1, &[])), folder.state()).unwrap();
    assert_eq!(opened(&reopened, context, &second).as_deref(), Ok("second"));
}

/// Files of keys are named in hex, and are no texts to be sorted.
#[test]
fn of_many_data_keys_the_newest_seals_and_the_oldest_go_first() {
    const NEWEST: u64 = 17;
    let dir = tempfile::tempdir().unwrap();
    let (vault, folder) = folder(dir.path(), &with(1, &[]), 0);
    let context = Context(Part::Accepted, id(1));
    let mut all = vec![sealed(&vault.sealing(), context, "1")];
    for number in 2..=NEWEST {
        vault.renew(&folder, KEY_MS * number, DAY).unwrap();
        all.push(sealed(&vault.sealing(), context, &number.to_string()));
    }
    let numbers: Vec<u64> = all.iter().map(|bytes| key_number(bytes).unwrap()).collect();
    assert_eq!(numbers, (1..=NEWEST).collect::<Vec<_>>());
    let open = || Vault::open(dir.path(), Some(&with(1, &[])), folder.state()).unwrap();
    let reopened = open();
    assert_eq!(reopened.sealing().number(), NEWEST, "what is sealed now");
    reopened.renew(&folder, KEY_MS * NEWEST + 1, DAY).unwrap();
    assert_eq!(folder.state().newest_key, NEWEST, "its day is not over");
    reopened.retire(&folder, 0xb, KEY_MS * (NEWEST + 1), DAY).unwrap();
    for vault in [reopened, open()] {
        for (number, bytes) in (1..=NEWEST).zip(&all) {
            let expected = if number < 0xb { Err(NO_KEY) } else { Ok(number.to_string()) };
            assert_eq!(opened(&vault, context, bytes), expected, "{number}");
        }
    }
}

#[test]
fn after_a_change_of_keys_the_old_one_is_needed_for_one_start() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, folder) = folder(dir.path(), &with(1, &[]), 0);
    vault.renew(&folder, KEY_MS, DAY).unwrap();
    let (state, context) = (folder.state(), Context(Part::Outcome, id(1)));
    let (bytes, hash) = (sealed(&vault.sealing(), context, "kept"), vault.hash("acme", "order"));
    let refused = |encryption: Option<&Encryption>| {
        let error = Vault::open(dir.path(), encryption, state).unwrap_err();
        let OpenError::Sealed { key, .. } = error else { panic!("{error}") };
        key
    };
    assert_eq!(refused(None), MasterKey::new([1; 32]).id());
    assert_eq!(refused(Some(&with(2, &[3]))), MasterKey::new([1; 32]).id());
    for encryption in [with(2, &[3, 1]), with(2, &[])] {
        let vault = Vault::open(dir.path(), Some(&encryption), state).unwrap();
        assert_eq!(opened(&vault, context, &bytes).as_deref(), Ok("kept"));
        assert_eq!(vault.hash("acme", "order"), hash);
        assert_eq!(vault.sealing().number(), 2);
    }
    assert_eq!(refused(Some(&with(1, &[]))), MasterKey::new([2; 32]).id(), "sealed with the new one");
}

#[test]
fn a_key_that_is_missing_or_damaged_is_told_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (_, folder) = folder(dir.path(), &with(1, &[]), 0);
    for name in ["index.key", "0000000000000001.key"] {
        let path = dir.path().join("keys").join(name);
        let whole = std::fs::read(&path).unwrap();
        let refused = || Vault::open(dir.path(), Some(&with(1, &[])), folder.state()).unwrap_err().to_string();
        for place in 0..RECORD_BYTES {
            let mut changed = whole.clone();
            changed[place] ^= 0x10;
            changed[SECOND_AT + place] ^= 0x10;
            std::fs::write(&path, changed).unwrap();
            assert!(refused().contains(name), "byte {place}: {}", refused());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(refused().contains(name) && refused().contains("missing"), "{}", refused());
        std::fs::write(&path, whole).unwrap();
    }
    Vault::open(dir.path(), Some(&with(1, &[])), folder.state()).unwrap();
}

#[test]
fn a_key_of_which_one_copy_is_damaged_opens_and_is_whole_again() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, folder) = folder(dir.path(), &with(1, &[]), 0);
    let (context, hash) = (Context(Part::Accepted, id(1)), vault.hash("acme", "order"));
    let bytes = sealed(&vault.sealing(), context, "kept");
    for name in ["index.key", "0000000000000001.key"] {
        let path = dir.path().join("keys").join(name);
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole[..RECORD_BYTES], whole[SECOND_AT..]);
        assert!(whole[RECORD_BYTES..SECOND_AT].iter().all(|byte| *byte == 0));
        let open_again = |damaged: &[u8], what: &str| {
            std::fs::write(&path, damaged).unwrap();
            let vault = Vault::open(dir.path(), Some(&with(1, &[])), folder.state()).unwrap();
            assert_eq!(opened(&vault, context, &bytes).as_deref(), Ok("kept"), "{name}: {what}");
            assert_eq!(vault.hash("acme", "order"), hash, "{name}: {what}");
            assert!(std::fs::read(&path).unwrap() == whole, "{name}: {what}: it stays damaged");
        };
        for (start, end) in [(0, SECOND_AT), (SECOND_AT, whole.len())] {
            let mut damaged = whole.clone();
            damaged[start..end].fill(0xff);
            open_again(&damaged, "a page of other bytes");
            for place in start..start + RECORD_BYTES {
                let mut damaged = whole.clone();
                damaged[place] ^= 0x10;
                open_again(&damaged, &format!("byte {place}"));
            }
        }
        open_again(&whole[..SECOND_AT], "cut");
        open_again(&whole[..RECORD_BYTES], "the first one alone");
    }
    // Also while the key that seals it changes.
    let path = dir.path().join("keys/index.key");
    let mut damaged = std::fs::read(&path).unwrap();
    damaged[..RECORD_BYTES].fill(0);
    std::fs::write(&path, damaged).unwrap();
    for encryption in [with(2, &[1]), with(2, &[])] {
        let vault = Vault::open(dir.path(), Some(&encryption), folder.state()).unwrap();
        assert_eq!(vault.hash("acme", "order"), hash);
    }
    let file = std::fs::read(&path).unwrap();
    assert_eq!(file[..RECORD_BYTES], file[SECOND_AT..]);
}

#[test]
fn of_a_key_that_is_removed_no_copy_stays_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (vault, folder) = folder(dir.path(), &with(1, &[]), 0);
    vault.renew(&folder, KEY_MS, DAY).unwrap();
    let (file, other_name) = (dir.path().join("keys/0000000000000001.key"), dir.path().join("the same file"));
    std::fs::hard_link(&file, &other_name).unwrap();
    let before = std::fs::read(&other_name).unwrap().len();
    vault.retire(&folder, 2, KEY_MS * 2, DAY).unwrap();
    assert!(!file.exists());
    let left = std::fs::read(&other_name).unwrap();
    assert!(left.len() == before && left.iter().all(|byte| *byte == 0), "{left:?}");
}

#[test]
fn hashes_tell_merchants_and_folders_apart() {
    let vaults = [Vault::plain(), Vault::plain()];
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let keyed = dirs.each_ref().map(|dir| folder(dir.path(), &with(1, &[]), 0).0);
    for vault in vaults.iter().chain(&keyed) {
        assert_ne!(vault.hash("ab", "c"), vault.hash("a", "bc"));
        assert_eq!(vault.hash("ab", "c"), vault.hash("ab", "c"));
    }
    assert_eq!(vaults[0].hash("a", "b"), vaults[1].hash("a", "b"));
    assert_ne!(keyed[0].hash("a", "b"), keyed[1].hash("a", "b"));
    assert_ne!(keyed[0].hash("a", "b"), vaults[0].hash("a", "b"));
    assert_eq!(vaults[0].digest(&[3; 16]), [3; 16]);
    assert_ne!(keyed[0].digest(&[3; 16]), keyed[1].digest(&[3; 16]));
}

#[test]
fn no_key_is_printed() {
    let encryption = with(0xab, &[0xcd]);
    let dir = tempfile::tempdir().unwrap();
    let (vault, _folder) = folder(dir.path(), &encryption, 0);
    for text in [format!("{encryption:?}"), format!("{vault:?}")] {
        assert!(!text.contains("abab") && !text.contains("171"), "{text}");
    }
}
