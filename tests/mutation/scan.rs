//! The pieces of a preset's TOML, each with its bytes and its key: as much of TOML as presets are written in.

use std::ops::Range;

/// A piece that a mutation may change.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) sort: Sort,
    /// Its bytes, without quotes.
    pub(super) at: Range<usize>,
    /// What goes when it is taken away: the line of a key, the section of a header's last part, an entry and its comma; `None`:
    /// the value of a key, which goes with its key.
    pub(super) whole: Option<Range<usize>>,
    /// The keys that lead to it, its own last.
    pub(super) path: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// A key, or a part of a dotted one or of a header.
    Key,
    Text,
    Number,
    Flag,
    /// The line of a header: without it, the lines of its section are those of the one before.
    Header,
    /// A list or a table as an entry of a list.
    Nested,
}

/// Every piece, in the order of the file.
///
/// # Panics
/// At TOML that no preset is written in.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut scanner = Scanner { text, at: 0, pieces: Vec::new() };
    scanner.file();
    scanner.pieces
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    pieces: Vec<Piece>,
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn eat(&mut self, sign: &str) -> bool {
        let there = self.rest().starts_with(sign);
        self.at += if there { sign.len() } else { 0 };
        there
    }

    fn expect(&mut self, sign: &str) {
        let there = self.eat(sign);
        assert!(there, "expected {sign} at {:?}", self.rest().lines().next());
    }

    /// White space, line ends and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn file(&mut self) {
        let mut section = Vec::new();
        loop {
            self.skip();
            if self.rest().is_empty() {
                return;
            }
            if self.rest().starts_with('[') {
                section = self.header();
            } else {
                let first = self.pieces.len();
                let whole = self.entry(&section);
                self.keys_of(first, section.len(), &whole);
            }
        }
    }

    fn header(&mut self) -> Vec<String> {
        let start = self.at;
        self.expect("[");
        let end = self.rest().find("\n[").map_or(self.text.len(), |next| self.at + next);
        let mut path = Vec::new();
        loop {
            self.key(&mut path);
            if !self.eat(".") {
                break;
            }
        }
        self.expect("]");
        let (line, section) = (start..self.at, start..end);
        if let Some(last) = self.pieces.last_mut() {
            last.whole = Some(section);
        }
        self.pieces.push(Piece { sort: Sort::Header, at: line.clone(), whole: Some(line), path: path.clone() });
        path
    }

    /// `key = value`; hands back its bytes.
    fn entry(&mut self, section: &[String]) -> Range<usize> {
        let start = self.at;
        let mut path = section.to_vec();
        loop {
            self.key(&mut path);
            self.skip();
            if !self.eat(".") {
                break;
            }
        }
        self.expect("=");
        self.skip();
        self.value(&path, false);
        start..self.at
    }

    /// The whole line goes with each part of its key.
    fn keys_of(&mut self, first: usize, depth: usize, whole: &Range<usize>) {
        let own = self.pieces[first..].iter_mut().enumerate();
        let of_key = own.take_while(|(part, piece)| piece.sort == Sort::Key && piece.path.len() == depth + part + 1);
        of_key.for_each(|(_, piece)| piece.whole = Some(whole.clone()));
    }

    fn key(&mut self, path: &mut Vec<String>) {
        let quoted = self.eat("\"");
        let ends = |c: char| if quoted { c == '"' } else { !(c.is_ascii_alphanumeric() || c == '_' || c == '-') };
        let at = self.at..self.at + self.rest().find(ends).unwrap_or(self.rest().len());
        self.at = at.end + usize::from(quoted);
        path.push(self.text[at.clone()].to_owned());
        self.pieces.push(Piece { sort: Sort::Key, at, whole: None, path: path.clone() });
    }

    fn value(&mut self, path: &[String], in_list: bool) {
        let start = self.at;
        let sort = match self.rest().as_bytes()[0] {
            b'"' => return self.string(path),
            b'[' | b'{' => {
                let first = self.pieces.len();
                if in_list {
                    self.pieces.push(Piece { sort: Sort::Nested, at: start..start, whole: None, path: path.to_vec() });
                }
                let close = if self.rest().starts_with('[') { "]" } else { "}" };
                self.at += 1;
                self.entries(close, path);
                if in_list {
                    self.pieces[first].at.end = self.at;
                }
                return;
            }
            b't' | b'f' => Sort::Flag,
            _ => Sort::Number,
        };
        let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        self.at += self.rest().find(ends).unwrap_or(self.rest().len());
        self.pieces.push(Piece { sort, at: start..self.at, whole: None, path: path.to_vec() });
    }

    /// What stands in brackets or braces, up to `close`.
    fn entries(&mut self, close: &str, path: &[String]) {
        let mut comma = None;
        loop {
            self.skip();
            if self.eat(close) {
                return;
            }
            let (first, start) = (self.pieces.len(), self.at);
            if close == "]" {
                self.value(path, true);
            } else {
                self.entry(path);
            }
            let end = self.at;
            self.skip();
            let mut whole = comma.unwrap_or(start)..end;
            comma = Some(self.at);
            if self.eat(",") {
                whole = start..self.at;
            }
            if close == "]" {
                self.pieces[first].whole = Some(whole);
            } else {
                self.keys_of(first, path.len(), &whole);
            }
        }
    }

    fn string(&mut self, path: &[String]) {
        let quotes = if self.rest().starts_with("\"\"\"") { "\"\"\"" } else { "\"" };
        self.expect(quotes);
        let start = self.at;
        while !self.rest().starts_with(quotes) {
            self.at += if self.rest().starts_with('\\') { 2 } else { self.rest().chars().next().unwrap().len_utf8() };
        }
        self.pieces.push(Piece { sort: Sort::Text, at: start..self.at, whole: None, path: path.to_vec() });
        self.expect(quotes);
    }
}
