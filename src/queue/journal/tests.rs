//! What a crash or a fault can do to segments, and what reading them back makes of it.

use std::path::Path;

use super::super::folder::{State, write_state};
use super::*;

/// A record as it is visited.
type Seen = (u64, Kind, Vec<u8>);

fn folder(path: &Path) -> Arc<Folder> {
    let (lock, state) = Folder::claim(path, true).unwrap();
    let first = State::first(7, 1);
    let state = state.unwrap_or(first);
    write_state(path, state).unwrap();
    super::super::folder::make_dir(&path.join("journal")).unwrap();
    Arc::new(Folder::new(path, lock, state, 0))
}

fn read(folder: &Folder) -> Result<(Vec<Seen>, Replayed), OpenError> {
    let state = folder.state();
    let mut seen = Vec::new();
    let expected = state.oldest_segment..=state.newest_segment;
    let replayed = replay(&folder.journal_dir(), &folder.quarantine_dir(), expected, 1, |_, seq, kind, payload| {
        seen.push((seq, kind, payload.to_vec()));
        Ok(())
    })?;
    Ok((seen, replayed))
}

fn begin(folder: &Arc<Folder>, replayed: &Replayed) -> (Journal, Arc<Segments>) {
    let segments = Arc::new(Segments::default());
    for (number, _) in &replayed.segments {
        segments.begin(*number);
    }
    let journal = Journal::begin(Arc::clone(folder), Arc::clone(&segments), replayed, SEGMENT).unwrap();
    (journal, segments)
}

fn append(journal: &mut Journal, records: &[(Kind, Vec<u8>)]) -> Result<(), AppendError> {
    journal.append(records.iter().map(|(kind, payload)| (*kind, payload.as_slice())), Through::default())
}

/// Commits of one to three records with sizes of 0 to some hundred bytes.
fn commits(count: u8) -> Vec<Vec<(Kind, Vec<u8>)>> {
    let record = |commit: u8, index: u8| {
        let kind = if index == 1 { Kind::Settled } else { Kind::Accepted };
        let len = usize::from(commit).wrapping_mul(37).wrapping_rem(300).wrapping_add(usize::from(index));
        (kind, vec![commit; len])
    };
    (0..count).map(|commit| (0..=commit % 3).map(|index| record(commit, index)).collect()).collect()
}

fn written(path: &Path, commits: &[Vec<(Kind, Vec<u8>)>]) -> Vec<Seen> {
    let folder = folder(path);
    let (_, replayed) = read(&folder).unwrap();
    let (mut journal, _) = begin(&folder, &replayed);
    for commit in commits {
        append(&mut journal, commit).unwrap();
        journal.prepare().unwrap();
    }
    (1..).zip(commits.concat()).map(|(seq, (kind, payload))| (seq, kind, payload)).collect()
}

const SEGMENT: u64 = 16 * 1024;

#[test]
fn what_is_appended_is_read_back_across_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let mut expected: Vec<Seen> = Vec::new();
    for round in 0..4 {
        let (seen, replayed) = read(&folder).unwrap();
        assert_eq!(seen, expected, "round {round}");
        let (mut journal, _) = begin(&folder, &replayed);
        for commit in commits(120) {
            for (kind, payload) in &commit {
                let seq = u64::try_from(expected.len()).unwrap() + 1;
                expected.push((seq, *kind, payload.clone()));
            }
            append(&mut journal, &commit).unwrap();
        }
    }
    assert!(folder.state().newest_segment > 4);
}

#[test]
fn cut_at_any_byte_it_keeps_the_whole_commits_before_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let all = commits(12);
    let expected = written(dir.path(), &all);
    let path = segment::path(&dir.path().join("journal"), 1);
    let whole = std::fs::read(&path).unwrap();
    // Where each commit's content ends (padding is no part of what is believed), and how many records there are up to it.
    let mut ends = Vec::new();
    let (mut at, mut records) = (DATA_START, 0);
    for commit in &all {
        let body: u64 = commit.iter().map(|(_, payload)| frame::record_len(payload)).sum();
        records += commit.len();
        ends.push((usize::try_from(at + frame::HEADER_BYTES + body).unwrap(), records));
        at += frame::frame_len(body);
    }
    let folder = folder(dir.path());
    for cut in usize::try_from(DATA_START).unwrap()..=usize::try_from(at).unwrap() {
        // Zeros are what was never written; a pattern is what lay on the disk before.
        for fill in [0_u8, 0xa5] {
            let mut torn = whole.clone();
            torn[cut..].fill(fill);
            std::fs::write(&path, &torn).unwrap();
            let kept = ends.iter().take_while(|(end, _)| torn[..*end] == whole[..*end]).last().map_or(0, |end| end.1);
            let (seen, replayed) = read(&folder).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(seen, expected[..kept], "cut at {cut}");
            assert_eq!(replayed.next_seq, u64::try_from(kept).unwrap() + 1);
        }
    }
}

#[test]
fn any_bit_flipped_before_the_last_commit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let all = commits(8);
    let expected = written(dir.path(), &all);
    let path = segment::path(&dir.path().join("journal"), 1);
    let whole = std::fs::read(&path).unwrap();
    let start = usize::try_from(DATA_START).unwrap();
    let last = all.last().unwrap().iter().map(|(_, payload)| frame::record_len(payload)).sum();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let end = used.next_multiple_of(8) - usize::try_from(frame::frame_len(last)).unwrap();
    let folder = folder(dir.path());
    let mut refused = 0;
    for place in start..end {
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << (place % 8);
        std::fs::write(&path, &damaged).unwrap();
        match read(&folder) {
            Err(OpenError::Damaged { .. }) => refused += 1,
            Err(other) => panic!("byte {place}: {other}"),
            // Only padding may change without being noticed.
            Ok((seen, _)) => assert_eq!((seen.as_slice(), whole[place]), (expected.as_slice(), 0), "byte {place}"),
        }
    }
    assert!(refused > (end - start) * 9 / 10);
}

#[test]
fn a_torn_commit_in_the_last_group_leaves_those_before_and_the_next_start_goes_on_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let expected = written(dir.path(), &commits(6));
    let path = segment::path(&dir.path().join("journal"), 1);
    let mut torn = std::fs::read(&path).unwrap();
    let used = torn.iter().rposition(|byte| *byte != 0).unwrap();
    torn[used] ^= 1;
    std::fs::write(&path, &torn).unwrap();
    let folder = folder(dir.path());
    let (seen, replayed) = read(&folder).unwrap();
    let kept = seen.len();
    assert!(kept < expected.len() && seen[..] == expected[..kept]);
    let (mut journal, _) = begin(&folder, &replayed);
    append(&mut journal, &[(Kind::Accepted, b"after the crash".to_vec())]).unwrap();
    // The torn one is still there and is not taken for damage: what came after begins where it would have been.
    let (seen, _) = read(&folder).unwrap();
    assert_eq!(seen.len(), kept + 1);
    assert_eq!(seen[kept], (u64::try_from(kept).unwrap() + 1, Kind::Accepted, b"after the crash".to_vec()));
}

#[test]
fn starts_that_come_to_nothing_take_up_one_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = written(dir.path(), &commits(6));
    let folder = folder(dir.path());
    let last = segment::path(&folder.journal_dir(), 2);
    for round in 0..4 {
        let (seen, replayed) = read(&folder).unwrap();
        assert_eq!(seen, expected, "round {round}");
        let (journal, segments) = begin(&folder, &replayed);
        assert_eq!((segments.newest(), segments.count(), folder.state().newest_segment), (2, 2, 2), "round {round}");
        assert_eq!(segment::numbers(&folder.journal_dir()).unwrap(), [1, 2]);
        assert_eq!((journal.active.bytes, std::fs::metadata(&last).unwrap().len()), (SEGMENT, SEGMENT));
        match round {
            // Cut short where it takes the place: before it had it, and before that was noted.
            0 => segment::cut_short(&folder.journal_dir(), 2).unwrap(),
            1 => folder.update(|state| state.newest_segment = 1).unwrap(),
            // What a crash tore is no record.
            _ => journal.active.file.write_all_at(&frame::MAGIC, DATA_START).unwrap(),
        }
    }
    let (mut journal, _) = begin(&folder, &read(&folder).unwrap().1);
    append(&mut journal, &[(Kind::Accepted, b"after all".to_vec())]).unwrap();
    expected.push((u64::try_from(expected.len()).unwrap() + 1, Kind::Accepted, b"after all".to_vec()));
    let (seen, replayed) = read(&folder).unwrap();
    assert_eq!(seen, expected);
    let (_, segments) = begin(&folder, &replayed);
    assert_eq!(segments.newest(), 3, "it holds a record");
}

#[test]
fn a_commit_inside_a_body_is_never_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut forged = Vec::new();
    let stamp = Stamp { segment: 1, salt: 0 };
    frame::encode(&mut forged, stamp, 3, [(1, b"forged".as_slice())].into_iter());
    let padded = [vec![0; 3], forged.clone(), forged].concat();
    written(dir.path(), &[vec![(Kind::Accepted, b"first".to_vec())], vec![(Kind::Accepted, padded)]]);
    let path = segment::path(&dir.path().join("journal"), 1);
    let mut torn = std::fs::read(&path).unwrap();
    let second = usize::try_from(DATA_START + frame::frame_len(10)).unwrap();
    torn[second + 8] ^= 1;
    std::fs::write(&path, &torn).unwrap();
    let (seen, _) = read(&folder(dir.path())).unwrap();
    assert_eq!(seen.len(), 1);
}

#[test]
fn recycled_segments_show_nothing_of_their_former_life() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (_, replayed) = read(&folder).unwrap();
    let (mut journal, segments) = begin(&folder, &replayed);
    for round in 0..400_u64 {
        let commit = [(Kind::Accepted, vec![u8::try_from(round % 251).unwrap(); 400])];
        let through = Through { moved_seq: round + 1, changes: 0 };
        journal.append(commit.iter().map(|(kind, payload)| (*kind, payload.as_slice())), through).unwrap();
        journal.prepare().unwrap();
        // Everything but the last three conversions has been moved.
        segments.release(&folder, Through { moved_seq: (round + 1).saturating_sub(3), changes: 0 }, |_| {}).unwrap();
        let (seen, replayed) = read(&folder).unwrap();
        assert_eq!(replayed.next_seq, round + 2, "round {round}");
        assert!(seen.len() <= 80 && seen.last().unwrap().0 == round + 1, "round {round}");
    }
    assert!(segments.count() <= 2);
    let files = std::fs::read_dir(folder.journal_dir()).unwrap().count();
    assert!(files <= 4, "{files} files");
}

#[test]
fn a_segment_waits_for_moves_and_for_changes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let segments = Segments::default();
    let journal_dir = folder.journal_dir();
    for number in 1..=3 {
        Segment::make(&journal_dir, Stamp { segment: number, salt: number }, 1, SEGMENT).unwrap();
        segments.begin(number);
        segments.wrote(number, Through { moved_seq: number * 10, changes: number }, None);
    }
    let check = |moved_seq, changes, left| {
        segments.release(&folder, Through { moved_seq, changes }, |_| {}).unwrap();
        assert_eq!(segments.count(), left, "{moved_seq} moved, {changes} changed");
    };
    check(9, 9, 3);
    check(99, 0, 3);
    check(10, 1, 2);
    check(99, 99, 1);
    assert_eq!(folder.state().oldest_segment, 3);
}

#[test]
fn an_unclean_segment_is_left_once_and_none_before_it_is_known_which() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let (_, replayed) = read(&folder).unwrap();
    let (mut journal, segments) = begin(&folder, &replayed);
    append(&mut journal, &commits(1)[0]).unwrap();
    let first = segments.newest();
    segments.use_none_again();
    for _ in 0..3 {
        journal.leave_old(0).unwrap();
        assert_eq!(segments.newest(), first, "noting which has failed, and each commit would begin another");
    }
    segments.are_unclean_to(first);
    for _ in 0..3 {
        journal.leave_old(0).unwrap();
        assert_eq!(segments.newest(), first + 1);
    }
}
