//! Text whose escapes are read: those of JSON (`\u002b`) and of HTML and XML (`&#43;`, `&#x2B;`, `&amp;`). Which characters an
//! encoder escapes is its own affair, so that nobody can list the spellings of a text; read, they are all the same.

use std::ops::Range;

/// A text as it reads, and where each piece of it stands in the text that it was read from.
pub(super) struct Read {
    pub(super) text: String,
    /// Of each byte of `text`, and of its end: where the character begins that it is of.
    from: Vec<usize>,
}

impl Read {
    /// `None`: there are no escapes in it.
    pub(super) fn of(source: &str) -> Option<Read> {
        let is_escaped = source.contains("\\u") || source.contains('&');
        is_escaped.then(|| {
            let mut read = Read { text: String::with_capacity(source.len()), from: Vec::with_capacity(source.len()) };
            let mut at = 0_usize;
            while let Some(rest) = source.get(at..).filter(|rest| !rest.is_empty()) {
                let plain = || rest.chars().next().map(|c| (c, c.len_utf8()));
                let Some((c, length)) = escape(rest).or_else(plain) else { break };
                read.text.push(c);
                read.from.resize(read.text.len(), at);
                at = at.saturating_add(length);
            }
            read.from.push(source.len());
            read
        })
    }

    /// Where this piece of `text` stands in the source.
    pub(super) fn source(&self, piece: Range<usize>) -> Option<Range<usize>> {
        Some(*self.from.get(piece.start)?..*self.from.get(piece.end)?)
    }
}

/// The character that an escape at the beginning stands for, and how long the escape is.
fn escape(rest: &str) -> Option<(char, usize)> {
    if let Some(hex) = rest.strip_prefix("\\u") {
        let code = u32::from_str_radix(hex.get(..4)?, 16).ok()?;
        return Some((char::from_u32(code)?, 6));
    }
    let (name, _) = rest.strip_prefix('&')?.split_once(';').filter(|(name, _)| name.len() <= NAME_BYTES_MAX)?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((c, name.len().saturating_add(2)))
}

/// `#x10FFFF`
const NAME_BYTES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_and_their_places_known() {
        let source = r"a\u002B&#43;&#x2b;&amp;&nbsp;\u00zz\ud800é& ;";
        let read = Read::of(source).unwrap();
        assert_eq!(read.text, r"a+++&&nbsp;\u00zz\ud800é& ;");
        assert_eq!(read.source(1..2).and_then(|at| source.get(at)), Some(r"\u002B"));
        assert_eq!(read.source(1..5).and_then(|at| source.get(at)), Some(r"\u002B&#43;&#x2b;&amp;"));
        assert_eq!(read.source(0..read.text.len()), Some(0..source.len()));
        assert!(Read::of("k3y/+=").is_none());
        assert_eq!(Read::of("\\u").unwrap().text, "\\u");
        assert_eq!(Read::of("&").unwrap().text, "&");
    }
}
