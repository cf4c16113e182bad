//! Bits of a folder's backlog that lie the wrong way round.

use std::fs::{File, OpenOptions};

use super::super::super::log::frame::Header;
use super::super::*;

/// Turns a bit over in the conversion that lies at that place of a folder's backlog, wherever it lies.
pub(in crate::queue) fn damage(folder: &Path, place: usize) {
    let all: Vec<(File, Slot)> = lying(folder);
    for (file, slot) in all.iter().filter(|(_, slot)| slot.id == all[place].1.id) {
        turn(file, slot.at + u64::from(slot.len) / 2);
    }
}

/// Turns a bit over in what is said of the conversions of a block, wherever the first conversion lies.
pub(in crate::queue) fn damage_block(folder: &Path) {
    let id = lying(folder)[0].1.id;
    damage_blocks_that(folder, |frame| frame.iter().any(|slot| slot.id == id));
}

/// Likewise in every block: on a busy machine it is not sure what is moved together.
pub(in crate::queue) fn damage_blocks(folder: &Path) {
    damage_blocks_that(folder, |_| true);
}

fn damage_blocks_that(folder: &Path, is_meant: impl Fn(&[Slot]) -> bool) {
    for file in files(folder) {
        for frame in frames(&file).iter().filter(|frame| is_meant(frame)) {
            // In the first sequence number: behind the last order and the checksum.
            turn(&file, frame.last().unwrap().order_at + 8 + 4);
        }
    }
}

fn turn(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// All conversions that lie in a folder's backlog, alive or not.
fn lying(folder: &Path) -> Vec<(File, Slot)> {
    let in_file = |file: File| {
        let slots = frames(&file).into_iter().flatten().collect::<Vec<_>>();
        slots.into_iter().map(move |slot| (file.try_clone().unwrap(), slot))
    };
    files(folder).into_iter().flat_map(in_file).collect()
}

fn files(folder: &Path) -> Vec<File> {
    let dir = folder.join(DIR);
    let numbers = segment::numbers(&dir).unwrap().into_iter();
    numbers.map(|number| OpenOptions::new().read(true).write(true).open(segment::path(&dir, number)).unwrap()).collect()
}

pub(super) fn frames(file: &File) -> Vec<Vec<Slot>> {
    let (mut at, mut frames, mut head) = (DATA_START, Vec::new(), [0; 24]);
    while at < file.metadata().unwrap().len() {
        file.read_exact_at(&mut head, at).unwrap();
        let Some(header) = Header::parse(&head) else { break };
        frames.push(contents::read_frame(file, at, &header).unwrap().unwrap());
        at += header.frame_len();
    }
    frames
}
