//! The lines of a file with their numbers, each of bounded length.

use std::io::{BufRead, Read};

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    Text(&'l [u8]),
    Blank,
    /// Longer than [`LINE_BYTES_MAX`]; passed over.
    Long,
}

/// Reads a file line by line into one buffer.
pub(super) struct Lines<R> {
    file: R,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(file: R) -> Lines<R> {
        Lines { file, buffer: Vec::new(), number: 0 }
    }

    /// The next line and its number, from 1.
    pub(super) fn next(&mut self) -> std::io::Result<Option<(u64, Line<'_>)>> {
        self.buffer.clear();
        let limit = LINE_BYTES_MAX.saturating_add(1);
        if (&mut self.file).take(limit).read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        let is_whole = self.buffer.last() == Some(&b'\n');
        if !is_whole && u64::try_from(self.buffer.len()).is_ok_and(|length| length >= limit) {
            self.pass_over()?;
            return Ok(Some((self.number, Line::Long)));
        }
        let text = self.buffer.trim_ascii();
        Ok(Some((self.number, if text.is_empty() { Line::Blank } else { Line::Text(text) })))
    }

    /// Skips what is left of the line.
    fn pass_over(&mut self) -> std::io::Result<()> {
        loop {
            let chunk = self.file.fill_buf()?;
            let (length, ends) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at.saturating_add(1), true),
                None => (chunk.len(), chunk.is_empty()),
            };
            self.file.consume(length);
            if ends {
                return Ok(());
            }
        }
    }
}

/// What is said of a line that is [`Line::Long`].
pub(super) fn too_long() -> String {
    format!("longer than {LINE_BYTES_MAX} bytes")
}

/// What a relay takes as one body unless it is told otherwise.
const LINE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_one_that_is_too_long_is_passed_over() {
        let long = "x".repeat(usize::try_from(LINE_BYTES_MAX).unwrap() + 1);
        let exact = "y".repeat(usize::try_from(LINE_BYTES_MAX).unwrap());
        let text = format!("a\n\n{long}\r\n b \n{exact}\n{long}");
        let mut lines = Lines::new(std::io::BufReader::with_capacity(7, text.as_bytes()));
        assert_eq!(lines.next().unwrap(), Some((1, Line::Text(b"a"))));
        assert_eq!(lines.next().unwrap(), Some((2, Line::Blank)));
        assert_eq!(lines.next().unwrap(), Some((3, Line::Long)));
        assert_eq!(lines.next().unwrap(), Some((4, Line::Text(b"b"))));
        assert_eq!(lines.next().unwrap(), Some((5, Line::Text(exact.as_bytes()))));
        assert_eq!(lines.next().unwrap(), Some((6, Line::Long)));
        assert_eq!(lines.next().unwrap(), None);
    }
}
