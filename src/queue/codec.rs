//! The byte format of everything stored: integers, little-endian or as short as they are, and length-prefixed bytes, read
//! with checks.
//!
//! Integrity is the carrier's business (a checksum in the journal, sled's own in the store). A reader never panics and
//! never allocates more than what is there.

/// Stored bytes that this version cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored bytes are cut short or of an unknown form ({0})")]
pub(super) struct Malformed(pub(super) &'static str);

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Writer {
        Writer(Vec::with_capacity(bytes))
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes back what was written behind `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// What was written behind `len`, to be changed in place.
    pub(super) fn written_since(&mut self, len: usize) -> &mut [u8] {
        self.0.get_mut(len..).unwrap_or_default()
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Seven bits a byte, the lowest first: small numbers are short.
    pub(super) fn number(&mut self, value: impl Into<u64>) {
        let mut left: u64 = value.into();
        while left > 0x7f {
            let [low, ..] = left.to_le_bytes();
            self.u8(low | 0x80);
            left >>= 7;
        }
        let [low, ..] = left.to_le_bytes();
        self.u8(low);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Length and bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.raw(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                write(self, value);
            }
        }
    }

    /// Count and items; `u16::MAX` items are more than any list here can hold.
    pub(super) fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut write: impl FnMut(&mut Writer, T)) {
        let count = u16::try_from(items.len()).unwrap_or(u16::MAX);
        self.number(count);
        for item in items.take(usize::from(count)) {
            write(self, item);
        }
    }
}

/// Takes values from the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn raw(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed("length"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Everything that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("integer"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn id(&mut self) -> Result<[u8; 16], Malformed> {
        self.array::<16>()
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// As [`Writer::number`] wrote it.
    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits.wrapping_shl(shift);
            if bits.leading_zeros() < shift {
                return Err(Malformed("number"));
            }
            if byte & 0x80 == 0 {
                return T::try_from(value).map_or(Err(Malformed("number")), Ok);
            }
        }
        Err(Malformed("number"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.number()?;
        self.raw(len)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_or(Err(Malformed("text")), Ok)
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Malformed("option")),
        }
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count: u16 = self.number()?;
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_must_be() {
        for (value, len) in
            [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (1_780_000_000_000, 6), (u64::MAX, 10)]
        {
            let mut w = Writer::default();
            w.number(value);
            assert_eq!(w.len(), len, "{value}");
            let bytes = w.finish();
            assert_eq!(Reader::new(&bytes).number(), Ok(value));
        }
        assert_eq!(Reader::new(&[0xff; 9]).number::<u64>(), Err(Malformed("integer")), "cut short");
        assert_eq!(Reader::new(&[0xff; 10]).number::<u64>(), Err(Malformed("number")), "more than 64 bits");
        assert_eq!(Reader::new(&[0x80, 0x02]).number::<u8>(), Err(Malformed("number")), "256 is no byte");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u64, text: String, list: Vec<u64>) {
            let mut w = Writer::default();
            w.number(value);
            w.text(&text);
            w.list(list.iter(), |w, value| w.number(*value));
            let bytes = w.finish();
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(r.number(), Ok(value));
            prop_assert_eq!(r.text(), Ok(text.as_str()));
            prop_assert_eq!(r.list(Reader::number), Ok(list));
            prop_assert!(r.is_empty());
        }
    }
}
