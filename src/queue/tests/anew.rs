//! Blocks of the backlog written anew while others read it.

use super::super::folder::{Folder, Lock, State as FolderState};
use super::super::history::{History, Mark};
use super::super::record::{Leg, Record};
use super::super::store::{Anew, Applier, Room, Store};
use super::super::vault::Vault;
use super::*;

#[test]
fn what_is_written_anew_while_it_is_read_ahead_is_read_or_said_to_be_left() {
    let (dir, vault) = (tempfile::tempdir().unwrap(), Arc::new(Vault::plain()));
    let (store, mut ledger) = Store::create(&dir.path().join("store.1"), 1, Arc::clone(&vault), (0, 1 << 16)).unwrap();
    let (lock, state) = (Lock(std::fs::File::open(dir.path()).unwrap()), FolderState::first(1, 1));
    let folder = Folder::new(dir.path(), lock, state, 0);
    let history = History::open(dir.path(), dir.path(), state, 1 << 20, Arc::clone(&vault)).unwrap();
    let (mut seq, mut missed) = (0_u64, 0_usize);
    for _ in 0..12 {
        for _ in 0..40 {
            seq = seq.saturating_add(1);
            let record = Record::of(&vault, &submission_of(&format!("anew-{seq}"), 50, &["a"])).with_seq(seq);
            let mut applier = Applier::new(&store, &ledger);
            applier.move_in(&record, &[Leg::new(name("a"), Initial::Owed, 1)]).unwrap();
            ledger = applier.commit(&history, &folder, Mark::default()).unwrap();
        }
        let room = Room { count: usize::MAX, bytes: usize::MAX };
        let is_done = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while store.write_blocks_anew(&folder, &mut ledger, false).unwrap() != Anew::Nothing {}
                is_done.store(1, Ordering::Release);
            });
            loop {
                let is_last = is_done.load(Ordering::Acquire) == 1;
                let loaded = store.load(&name("a"), 1, &Default::default(), (room, room)).unwrap();
                assert!(loaded.lost.is_empty(), "{:?}", loaded.lost);
                let mut seqs: Vec<u64> = loaded.leases.iter().map(|lease| lease.record.seq).collect();
                seqs.sort_unstable();
                seqs.dedup();
                let is_all = seqs.iter().copied().eq(1..=seq);
                missed = missed.saturating_add(usize::from(!is_all));
                assert!(is_all || loaded.more_fresh, "{} of {seq}, and nothing is said to be left", seqs.len());
                if is_last {
                    assert!(is_all);
                    break;
                }
            }
        });
    }
    println!("missed {missed} times, and said so");
}
