//! A set of conversions of a block, by their places in it.

use super::super::codec::{Malformed, Reader, Writer};

/// Places of a block, at most [`Bits::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Bits(u128);

impl Bits {
    /// Places that there may be.
    pub(in super::super) const MAX: usize = 128;

    pub(in super::super) fn contains(self, slot: usize) -> bool {
        self.0 & bit(slot) != 0
    }

    pub(in super::super) fn set(&mut self, slot: usize, is_in: bool) {
        if is_in { self.0 |= bit(slot) } else { self.0 &= !bit(slot) }
    }

    pub(in super::super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(in super::super) fn count(self) -> usize {
        usize::try_from(self.0.count_ones()).unwrap_or(Bits::MAX)
    }

    /// Of a block with so many places. `like`: another set, which most are the same as.
    pub(super) fn encode(self, w: &mut Writer, like: Bits, count: usize) {
        match self {
            Bits(0) => w.u8(NONE),
            same if same == like => w.u8(SAME),
            Bits(bits) => {
                w.u8(WRITTEN);
                bits.to_le_bytes().into_iter().take(count.div_ceil(8)).for_each(|byte| w.u8(byte));
            }
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>, like: Bits, count: usize) -> Result<Bits, Malformed> {
        match r.u8()? {
            NONE => Ok(Bits(0)),
            SAME => Ok(like),
            WRITTEN => {
                let written = r.raw(count.div_ceil(8))?;
                let mut bytes = [0; 16];
                bytes.iter_mut().zip(written).for_each(|(to, from)| *to = *from);
                Ok(Bits(u128::from_le_bytes(bytes)))
            }
            _ => Err(Malformed("set of a block")),
        }
    }
}

fn bit(slot: usize) -> u128 {
    u32::try_from(slot).ok().and_then(|slot| 1_u128.checked_shl(slot)).unwrap_or(0)
}

const NONE: u8 = 0;
const SAME: u8 = 1;
const WRITTEN: u8 = 2;
