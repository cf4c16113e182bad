//! Bloom filters in front of a segment's deduplication keys: a key never seen costs no read.
//!
//! All bits of a key lie in one block of 64 bytes, so that a filter is asked with one access to memory. What was damaged or
//! was not read answers "perhaps", and the segment is asked.

use super::super::vault::KeyHash;

/// The filter of one segment.
#[derive(Debug, Clone)]
pub(super) struct Filter(Vec<[u64; BLOCK_WORDS]>);

impl Filter {
    pub(super) fn new() -> Filter {
        Filter(vec![[0; BLOCK_WORDS]; BLOCKS])
    }

    pub(super) fn insert(&mut self, key: &KeyHash) {
        let (block, bits) = place(key);
        if let Some(block) = self.0.get_mut(block) {
            block.iter_mut().zip(bits).for_each(|(word, bit)| *word |= bit);
        }
    }

    pub(super) fn may_hold(&self, key: &KeyHash) -> bool {
        let (block, bits) = place(key);
        self.0.get(block).is_none_or(|block| block.iter().zip(bits).all(|(word, bit)| word & bit == bit))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.0.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// `None` when it has another size.
    pub(super) fn decode(bytes: &[u8]) -> Option<Filter> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (blocks, []) = words.as_chunks::<BLOCK_WORDS>() else { return None };
        (blocks.len() == BLOCKS).then(|| Filter(blocks.to_vec()))
    }
}

/// The block of a key, and what it sets in each word: the first half of the hash names the block, the other one bit in
/// each of the first [`BITS`] words.
fn place(key: &KeyHash) -> (usize, [u64; BLOCK_WORDS]) {
    let [a, b, c, d, e, f, g, h, bits @ ..] = *key;
    let block = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let block = usize::try_from(block).unwrap_or(0) & BLOCKS.saturating_sub(1);
    let mut set = [0_u64; BLOCK_WORDS];
    set.iter_mut().zip(bits).take(BITS).for_each(|(word, byte)| *word = 1_u64.wrapping_shl(u32::from(byte & 63)));
    (block, set)
}

/// Bytes of a filter.
pub(super) const FILTER_BYTES: usize = BLOCKS * BLOCK_WORDS * 8;
/// 64 KiB: some ten bits for each of the 50,000 conversions that a full segment holds.
const BLOCKS: usize = 1024;
const BLOCK_WORDS: usize = 8;
const BITS: usize = 6;

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn key(number: u32) -> KeyHash {
        let hash = Sha256::digest(number.to_le_bytes());
        std::array::from_fn(|index| hash[index])
    }

    #[test]
    fn what_was_put_in_may_be_there_and_little_else() {
        let mut filter = Filter::new();
        (0..50_000).for_each(|number| filter.insert(&key(number)));
        let read = Filter::decode(&filter.encode()).unwrap();
        assert!((0..50_000).all(|number| read.may_hold(&key(number))));
        let wrong = (50_000..150_000).filter(|number| read.may_hold(&key(*number))).count();
        println!("{wrong} of 100000 are taken for one that was put in");
        assert!(wrong < 3000, "{wrong} of 100000");
        assert!(Filter::decode(&filter.encode()[1..]).is_none());
    }
}
