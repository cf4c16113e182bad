//! The backlog alone, and what lies in it.

mod damage;

use std::collections::BTreeMap;
use std::fs::File;

use proptest::prelude::*;

use super::super::codec::Malformed;
use super::super::folder::{Lock, State};
use super::super::tests::{id_at, name};
use super::block::Lane;
use super::*;

use damage::frames;
pub(in super::super) use damage::{damage, damage_block, damage_blocks};

/// A folder with nothing but a backlog, in segments of so many bytes.
struct Bench {
    dir: tempfile::TempDir,
    folder: Folder,
    segment_bytes: u64,
}

/// What the store would say.
type Entries = BTreeMap<Key, Vec<u8>>;

impl Bench {
    fn new(segment_bytes: u64) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock(File::open(dir.path()).unwrap());
        Bench { folder: Folder::new(dir.path(), lock, State::first(1, 1), 0), dir, segment_bytes }
    }

    /// As a relay opens it.
    fn open(&self, entries: &Entries) -> Result<Backlog, String> {
        let (backlog, lacking) = self.open_what_there_is(entries);
        if let Some(lacking) = lacking.first() {
            return Err(lacking.why.clone());
        }
        backlog.remove_unnamed().unwrap();
        Ok(backlog)
    }

    fn open_what_there_is(&self, entries: &Entries) -> (Backlog, Vec<Lacking>) {
        let blocks = entries.iter().map(|((_, number), entry)| Block::decode(*number, entry).unwrap());
        let newest = self.folder.state().newest_backlog;
        Backlog::open(self.dir.path(), newest, blocks.collect(), self.segment_bytes).unwrap()
    }

    fn segments(&self) -> Vec<u64> {
        segment::numbers(&self.dir.path().join(DIR)).unwrap()
    }

    fn put(&self, backlog: &Backlog, entries: &mut Entries, items: Vec<Item>) -> Vec<Block> {
        let blocks = backlog.append(&self.folder, &[Draft::of(items)], 1).unwrap();
        entries.extend(blocks.iter().map(|block| (block.key(), block.encode())));
        backlog.publish(blocks.clone(), &[]);
        blocks
    }
}

const FRESH: Owed = Owed { is_fresh: true, is_owed: true };
const WAITS: Owed = Owed { is_fresh: false, is_owed: true };

fn item(seq: u64, padding: usize) -> Item {
    let accepted = [seq.to_le_bytes().as_slice(), &vec![7; padding]].concat();
    let order = [u8::try_from(seq % 251).unwrap(); 16];
    Item::new((seq, id_at(seq), 0), Some(&order), &accepted, vec![(name("a"), FRESH)])
}

fn seqs(places: &[Place]) -> Vec<u64> {
    places.iter().map(|place| place.contents.seq).collect()
}

fn all(backlog: &Backlog) -> Vec<u64> {
    let (mut found, mut after) = (Vec::new(), 0);
    while let Some(Stretch { found: places, unread, to }) = backlog.next_after(after).unwrap() {
        for place in &places {
            assert_eq!(place.read().unwrap()[..8], place.contents.seq.to_le_bytes());
        }
        assert!(unread == 0 && places.len() <= 2 * Bits::MAX, "{unread} unread, {} at once", places.len());
        found.extend(seqs(&places));
        assert!(to > after);
        after = to;
    }
    found
}

/// Settles one.
fn settle(backlog: &Backlog, entries: &mut Entries, seq: u64) {
    let known = backlog.read();
    let found: Vec<Found> = known.spanning(seq, seq).filter_map(|block| known.found(block)).collect();
    drop(known);
    let place = find(found, |slot| slot.seq == seq).unwrap().unwrap();
    let mut block = Block::clone(&place.found.block);
    block.remove(place.slot, place.contents.bytes());
    entries.remove(&block.key());
    if block.is_alive() {
        entries.insert(block.key(), block.encode());
    }
    backlog.publish([block], &[]);
    backlog.remove_unneeded();
}

/// Writes anew whatever is worth it.
fn tidy(bench: &Bench, backlog: &Backlog, entries: &mut Entries, all: bool) {
    while let Some(job) = backlog.sparse(all) {
        let added = backlog.append(&bench.folder, &[job.draft().unwrap()], job.history_seq()).unwrap();
        for key in job.keys() {
            entries.remove(&key);
        }
        entries.extend(added.iter().map(|block| (block.key(), block.encode())));
        backlog.publish(added, &job.keys());
        backlog.remove_unneeded();
    }
}

#[test]
fn what_is_named_is_found_after_every_restart_and_what_is_not_is_cut_off() {
    let (bench, mut entries) = (Bench::new(8 * 1024), Entries::new());
    let mut known = Vec::new();
    for round in 0..6_u64 {
        let backlog = bench.open(&entries).unwrap();
        assert_eq!(all(&backlog), known, "round {round}");
        for block in 0..4 {
            let from = round * 100 + block * 10 + 1;
            bench.put(&backlog, &mut entries, (from..from + 5).map(|seq| item(seq, 300)).collect());
            known.extend(from..from + 5);
        }
        // A crash before it is named.
        backlog.append(&bench.folder, &[Draft::of(vec![item(round * 100 + 90, 300)])], 1).unwrap();
    }
    let backlog = bench.open(&entries).unwrap();
    assert_eq!(all(&backlog), known);
    let (bytes, _) = backlog.bytes();
    let on_disk = bench
        .segments()
        .into_iter()
        .map(|number| std::fs::metadata(segment::path(&bench.dir.path().join(DIR), number)).unwrap().len());
    assert_eq!(on_disk.sum::<u64>(), bytes, "something lies behind what is named");
    for seq in known {
        let id = backlog.next_after(seq - 1).unwrap().unwrap().found[0].contents.id;
        assert_eq!(backlog.at(seq, id).unwrap().unwrap().contents.id, id);
        assert_eq!(backlog.with_id(id).unwrap().unwrap().contents.seq, seq);
    }
}

#[test]
fn a_segment_that_is_lost_or_cut_short_is_refused_in_words() {
    let (bench, mut entries) = (Bench::new(8 * 1024), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    for seq in 1..60 {
        bench.put(&backlog, &mut entries, vec![item(seq, 500)]);
    }
    drop(backlog);
    let path = segment::path(&bench.dir.path().join(DIR), 2);
    let whole = std::fs::read(&path).unwrap();
    let refused = || bench.open(&entries).err().unwrap_or_default();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(refused().contains("backlog segment 0000000000000002 is cut short"), "{}", refused());
    std::fs::write(&path, [vec![0; 64], whole[64..].to_vec()].concat()).unwrap();
    assert!(refused().contains("backlog segment 0000000000000002 is damaged"), "{}", refused());
    std::fs::remove_file(&path).unwrap();
    assert!(refused().contains("backlog segment 0000000000000002 is missing"), "{}", refused());
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(all(&bench.open(&entries).unwrap()), (1..60).collect::<Vec<_>>());
}

#[test]
fn what_is_gone_is_given_back_and_at_most_half_of_what_is_left_is_waste() {
    let (bench, mut entries) = (Bench::new(32 * 1024), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    for first in (1..2000).step_by(20) {
        bench.put(&backlog, &mut entries, (first..first + 20).map(|seq| item(seq, 400)).collect());
    }
    let left: Vec<u64> = (1..2001).filter(|seq| seq % 7 == 0 || *seq > 1900).collect();
    for seq in (1..2001).filter(|seq| !left.contains(seq)) {
        settle(&backlog, &mut entries, seq);
    }
    backlog.end_segment();
    tidy(&bench, &backlog, &mut entries, true);
    let (bytes, live) = backlog.bytes();
    assert!(bytes <= 2 * live + DATA_START * 20, "{bytes} bytes for {live}");
    assert!(entries.len() < 10, "{} blocks for {}", entries.len(), left.len());
    assert_eq!(all(&backlog), left);
    drop(backlog);
    let backlog = bench.open(&entries).unwrap();
    assert_eq!(all(&backlog), left);
    for seq in left {
        settle(&backlog, &mut entries, seq);
    }
    assert!(entries.is_empty());
    assert_eq!(backlog.bytes(), (0, 0));
    assert!(bench.segments().is_empty(), "{:?}", bench.segments());
}

#[test]
fn only_neighbours_become_one_and_no_block_grows_wide_over_others() {
    let (bench, mut entries) = (Bench::new(64 * 1024), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    // One of each hundred waits on, in every third block; what is written anew comes to lie beside what is new.
    for round in 0..30_u64 {
        for first in (round * 1000 + 1..round * 1000 + 1000).step_by(20) {
            bench.put(&backlog, &mut entries, (first..first + 20).map(|seq| item(seq, 200)).collect());
        }
        let seqs = round * 1000 + 1..round * 1000 + 1001;
        seqs.filter(|seq| seq % 100 != 7).for_each(|seq| settle(&backlog, &mut entries, seq));
        tidy(&bench, &backlog, &mut entries, false);
    }
    let left: Vec<u64> = (1..30_001).filter(|seq| seq % 100 == 7).collect();
    assert_eq!(all(&backlog), left);
    let blocks = backlog.all();
    assert!(blocks.len() < left.len() / 4, "{} blocks for {}", blocks.len(), left.len());
    for pair in blocks.windows(2) {
        let (before, behind) = (&pair[0].block, &pair[1].block);
        assert!(before.last_seq < behind.first_seq, "{before:?} reaches into {behind:?}");
    }
}

#[test]
fn blocks_of_a_sparse_segment_become_one_only_where_no_other_lies_between() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    for first in [1, 11, 1001] {
        bench.put(&backlog, &mut entries, (first..first + 10).map(|seq| item(seq, 100)).collect());
    }
    backlog.end_segment();
    bench.put(&backlog, &mut entries, vec![item(500, 100)]);
    let gone = (1..21).chain(1001..1011).filter(|seq| seq % 10 != 5);
    gone.for_each(|seq| settle(&backlog, &mut entries, seq));
    let merged: Vec<u64> = backlog.sparse(true).unwrap().keys().iter().map(|key| key.0).collect();
    assert_eq!(merged, [1, 11], "not the one behind 500");
}

#[test]
fn a_wide_block_costs_those_in_between_nothing() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    bench.put(&backlog, &mut entries, [1, 30_000].into_iter().map(|seq| item(seq, 10)).collect());
    for first in (2..30_000).step_by(100) {
        bench.put(&backlog, &mut entries, (first..first + 50).map(|seq| item(seq, 10)).collect());
    }
    let known = backlog.read();
    assert_eq!(known.spanning(15_005, 15_005).count(), 2, "the wide one, and the one that holds it");
    assert_eq!(known.with_id(id_at(15_005)).count(), 2, "by when it was received as well");
    drop(known);
    let wanted: Vec<u64> = (2..30_000).step_by(100).flat_map(|first| first..first + 50).collect();
    let wanted: Vec<u64> = [1].into_iter().chain(wanted).chain([30_000]).collect();
    // Says itself how many are read at once.
    assert_eq!(all(&backlog), wanted);
}

#[test]
fn an_entry_for_every_destination_that_there_may_be_leaves_room_in_a_group() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    let names: Vec<_> = (0..60).map(|number| name(&format!("d{number:063}"))).collect();
    for seq in 1..200 {
        let legs = names.iter().map(|name| (name.clone(), FRESH)).collect();
        bench.put(&backlog, &mut entries, vec![Item::new((seq, id_at(seq), 0), None, &[1], legs)]);
    }
    let job = backlog.sparse(false).unwrap();
    let old: usize = job.blocks().map(|block| block.entry_bytes()).sum();
    assert!(job.keys().len() > 1 && 4 * old < 128 * 1024, "{} blocks with {old} bytes", job.keys().len());
}

#[test]
fn what_the_disk_cannot_read_is_damage_and_stops_nothing() {
    // There is nothing at its beginning: the kernel says EIO.
    let memory = File::open("/proc/self/mem").unwrap();
    assert_eq!(memory.read_at(&mut [0; 8], 0).unwrap_err().raw_os_error(), Some(5));
    assert!(contents::read_exact_at(&memory, 0, 8).unwrap().is_err());
    let slot = Slot { seq: 1, id: id_at(1), key: 0, order: 0, order_at: 0, at: 0, len: 8 };
    assert!(slot.read(&memory).unwrap().is_err() && slot.read_raw(&memory).unwrap().is_err());
    let closed = File::options().write(true).open("/dev/null").unwrap();
    assert!(contents::read_exact_at(&closed, 0, 8).is_err(), "any other error is one");
}

#[test]
fn what_is_not_there_of_the_backlog_is_told_block_by_block_and_nothing_is_removed() {
    let (bench, mut entries) = (Bench::new(8 * 1024), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    for seq in 1..60 {
        bench.put(&backlog, &mut entries, vec![item(seq, 500)]);
    }
    let of_second = backlog.all().iter().filter(|found| found.block.segment == 2).count();
    drop(backlog);
    std::fs::remove_file(segment::path(&bench.dir.path().join(DIR), 2)).unwrap();
    let (first, _) = entries.pop_first().unwrap();
    let before = bench.segments();
    let (backlog, lacking) = bench.open_what_there_is(&entries);
    assert!(lacking.len() == of_second && lacking.iter().all(|lacking| lacking.why.ends_with("is missing")));
    assert_eq!(all(&backlog).len(), 58 - of_second);
    assert_eq!(bench.segments(), before);
    let salvaged = salvaged(&bench);
    assert!(salvaged.contains(&first.0), "what nothing names is there");
    assert_eq!(salvaged.len(), 59 - of_second);
}

fn salvaged(bench: &Bench) -> Vec<u64> {
    let mut salvaged = Vec::new();
    let visited = salvage(bench.dir.path(), u64::MAX, |_, block| {
        salvaged.extend(block.iter().map(|(seq, _, _)| *seq));
        Ok::<(), ()>(())
    });
    visited.unwrap().unwrap();
    salvaged
}

#[test]
fn what_is_salvaged_is_all_that_is_whole_before_and_behind_any_damage() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    let blocks: Vec<Block> = (1..41)
        .step_by(10)
        .flat_map(|first| bench.put(&backlog, &mut entries, (first..first + 10).map(|seq| item(seq, 300)).collect()))
        .collect();
    let path = segment::path(&bench.dir.path().join(DIR), 1);
    let whole = std::fs::read(&path).unwrap();
    let at = |block: usize| usize::try_from(blocks[block].at).unwrap();
    let in_block = |block: u64| (block * 10 + 1..block * 10 + 11).collect::<Vec<u64>>();
    let all: Vec<u64> = (1..41).collect();
    let without = |gone: &[u64]| all.iter().copied().filter(|seq| !gone.contains(seq)).collect::<Vec<_>>();
    let check = |damage: &dyn Fn(&mut Vec<u8>), left: Vec<u64>| {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(salvaged(&bench), left);
    };
    check(&|_| {}, all.clone());
    check(&|bytes| bytes[..64].fill(0), all.clone());
    // Its length, which would lead out of the file.
    check(&|bytes| bytes[at(1) + 7] ^= 0x80, all.clone());
    check(&|bytes| bytes[at(1)] ^= 1, without(&in_block(1)));
    check(&|bytes| bytes[at(1) + 8] ^= 1, without(&in_block(1)));
    check(&|bytes| bytes[at(2)..at(2) + 200].fill(0), without(&in_block(2)));
    let cut: Vec<u64> = [30].into_iter().chain(in_block(3)).collect();
    check(&|bytes| bytes.truncate(at(3) - 40), without(&cut));
    std::fs::write(&path, &whole).unwrap();
    (11..16).for_each(|seq| settle(&backlog, &mut entries, seq));
    backlog.erase().unwrap();
    assert_eq!(salvaged(&bench), without(&[11, 12, 13, 14, 15]));
}

#[test]
fn what_was_overwritten_is_not_looked_at_again_until_more_of_it_goes() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    bench.put(&backlog, &mut entries, (1..9).map(|seq| item(seq, 50)).collect());
    settle(&backlog, &mut entries, 1);
    backlog.erase().unwrap();
    let file = File::options().read(true).write(true).open(segment::path(&bench.dir.path().join(DIR), 1)).unwrap();
    let gone = frames(&file)[0][0];
    file.write_all_at(&[7], gone.at).unwrap();
    let byte = || gone.read_raw(&file).unwrap().unwrap()[0];
    backlog.erase().unwrap();
    assert_eq!(byte(), 7, "nothing has gone since");
    settle(&backlog, &mut entries, 2);
    backlog.erase().unwrap();
    assert_eq!(byte(), 0);
}

#[test]
fn blocks_that_overlap_are_found_and_listed_in_the_order_of_acceptance() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    bench.put(&backlog, &mut entries, [1, 40, 90].into_iter().map(|seq| item(seq, 10)).collect());
    bench.put(&backlog, &mut entries, [50, 60].into_iter().map(|seq| item(seq, 10)).collect());
    // As a recovery takes up again what is before.
    bench.put(&backlog, &mut entries, [2, 55, 91].into_iter().map(|seq| item(seq, 10)).collect());
    assert_eq!(all(&backlog), [1, 2, 40, 50, 55, 60, 90, 91]);
    tidy(&bench, &backlog, &mut entries, true);
    assert_eq!(all(&backlog), [1, 2, 40, 50, 55, 60, 90, 91]);
}

#[test]
fn what_is_gone_is_overwritten_and_what_is_alive_stays() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    for first in (1..100).step_by(10) {
        bench.put(&backlog, &mut entries, (first..first + 10).map(|seq| item(seq, 50)).collect());
    }
    (1..101).filter(|seq| seq % 3 == 0 || *seq < 20).for_each(|seq| settle(&backlog, &mut entries, seq));
    let withdrawn = item(200, 50);
    let order = [200; 16];
    // Not named yet: it is left alone.
    let unpublished = backlog.append(&bench.folder, &[Draft::of(vec![withdrawn])], 1).unwrap();
    backlog.erase().unwrap();
    backlog.publish(unpublished, &[]);
    let left: Vec<u64> = (20..101).filter(|seq| seq % 3 != 0).chain([200]).collect();
    assert_eq!(all(&backlog), left);
    let file = File::open(segment::path(&bench.dir.path().join(DIR), 1)).unwrap();
    for slot in frames(&file).into_iter().flatten() {
        let is_gone = slot.read_raw(&file).unwrap().unwrap().iter().all(|byte| *byte == 0);
        assert_eq!((is_gone, slot.order == 0), (!left.contains(&slot.seq), !left.contains(&slot.seq)), "{}", slot.seq);
    }
    let found = backlog.of_order(&order, 2).unwrap();
    assert_eq!(seqs(&found), [200]);
    assert!(backlog.of_order(&order, 1).unwrap().is_empty(), "the history tells of it");
}

#[test]
fn a_damaged_conversion_is_read_as_an_error_and_the_others_are_read() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    let [block] = &bench.put(&backlog, &mut entries, (1..4).map(|seq| item(seq, 40)).collect())[..] else { panic!() };
    let path = segment::path(&bench.dir.path().join(DIR), 1);
    let whole = std::fs::read(&path).unwrap();
    let (from, to) = (usize::try_from(block.at).unwrap() + 29, usize::try_from(block.at + block.frame_bytes).unwrap());
    let (mut harmless, mut noticed) = (0, 0);
    for place in from..to {
        let mut damaged = whole.clone();
        damaged[place] ^= 4;
        std::fs::write(&path, damaged).unwrap();
        let read = backlog.next_after(0).unwrap().map_or(Err(StoreError::Form(Malformed("nothing"))), |stretch| {
            if stretch.unread > 0 {
                assert_eq!((stretch.unread, stretch.found.len(), stretch.to), (3, 0, 3));
                return Err(StoreError::Form(Malformed("what lies there")));
            }
            let read = stretch.found.iter().map(|place| Ok((place.contents.seq, place.read()?)));
            read.collect::<Result<Vec<_>, StoreError>>()
        });
        match read {
            Ok(read) => {
                harmless += 1;
                assert!(read.iter().map(|(seq, _)| *seq).eq(1..4), "{place}");
                let order = [2; 16];
                assert!(seqs(&backlog.of_order(&order, 9).unwrap()).contains(&2), "{place}");
            }
            Err(StoreError::Form(_)) => noticed += 1,
            Err(error) => panic!("{place}: {error}"),
        }
    }
    println!("{harmless} harmless, {noticed} noticed");
    assert!(harmless < 64 && noticed > 200, "{harmless} harmless, {noticed} noticed");
}

fn any_bits() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..Bits::MAX, 0..Bits::MAX)
}

fn bits(slots: &[usize]) -> Bits {
    let mut bits = Bits::default();
    slots.iter().for_each(|slot| bits.set(*slot, true));
    bits
}

proptest! {
    #[test]
    fn an_entry_reads_back_as_it_was_written_and_is_no_longer_than_it_may_be(
        numbers in proptest::array::uniform8(0..u64::MAX / 4), live in any_bits(),
        lanes in proptest::collection::vec((any_bits(), any_bits()), 0..40),
    ) {
        let [number, segment, at, frame_bytes, first_seq, first_ms, history_seq, live_bytes] = numbers;
        let lane = |(number, (fresh, owed)): (usize, &(Vec<usize>, Vec<usize>))| {
            let destination = name(&format!("d{number:063}"));
            Lane { destination, fresh: bits(fresh), owed: bits(owed) }
        };
        let block = Block {
            number, segment, at, frame_bytes, count: Bits::MAX, first_seq, last_seq: first_seq + 9, first_ms,
            last_ms: first_ms + 9, history_seq, live_bytes, live: bits(&live), changed: bits(&live),
            lanes: lanes.iter().enumerate().map(lane).collect(),
        };
        let entry = block.encode();
        prop_assert!(entry.len() + 9 <= block.entry_bytes(), "{} of {}", entry.len(), block.entry_bytes());
        prop_assert_eq!(Block::decode(number, &entry).unwrap(), block);
        for cut in 0..entry.len() {
            prop_assert!(Block::decode(number, &entry[..cut]).is_err());
        }
    }
}

#[test]
fn a_leg_that_comes_to_wait_is_owed_and_not_fresh() {
    let (bench, mut entries) = (Bench::new(1 << 20), Entries::new());
    let backlog = bench.open(&entries).unwrap();
    let [block] = &bench.put(&backlog, &mut entries, (1..4).map(|seq| item(seq, 10)).collect())[..] else { panic!() };
    let fresh = || backlog.fresh(&name("a"), Key::default(), 9).first().map(|found| found.fresh(&name("a")));
    let oldest_ms = || backlog.oldest_ms(&name("a"));
    assert_eq!((fresh(), oldest_ms()), (Some(bits(&[0, 1, 2])), Some(1)));
    let mut block = block.clone();
    block.put_leg(&name("a"), 0, WAITS);
    block.put_changed(0, true);
    backlog.publish([block.clone()], &[]);
    assert_eq!((fresh(), oldest_ms()), (Some(bits(&[1, 2])), Some(1)));
    block.put_leg(&name("a"), 0, Owed { is_fresh: false, is_owed: false });
    backlog.publish([block.clone()], &[]);
    assert_eq!((fresh(), oldest_ms()), (Some(bits(&[1, 2])), Some(2)));
    (1..3).for_each(|slot| block.remove(slot, 1));
    backlog.publish([block], &[]);
    assert_eq!((fresh(), oldest_ms()), (None, None));
}
