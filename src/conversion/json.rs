//! Free JSON: members in order, numbers as their text, duplicate members refused.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess};

use super::problem::{Path, Problems};
use super::read::{Found, Members, Read, Reading, skip_elements};

/// Any JSON value: members in order, numbers as their text (`1.50` stays `1.50`; an exponent gets its sign: `1E5` is `1e+5`).
///
/// Equality is of the text: `1` is not `1.0`, and order counts. For equality of meaning compare [`Json::canonical`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written.
    Number(Box<str>),
    /// Characters, unescaped.
    Text(Box<str>),
    /// Elements in order.
    Array(Vec<Json>),
    /// Members in order, no name twice.
    Object(Vec<(Box<str>, Json)>),
}

/// Why bytes are no JSON that can be taken. Never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct JsonError {
    /// What is wrong.
    pub message: String,
    /// Line, from 1; 0 where no place can be named.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// Containers inside containers: deep enough for any hand-written document, and far from the end of a stack.
pub const DEPTH_MAX: usize = 32;

impl Json {
    /// Any JSON document of somebody who is told what is wrong with it.
    ///
    /// # Errors
    /// When it is no JSON, begins with a byte order mark, nests deeper than [`DEPTH_MAX`], or names a member twice.
    pub fn parse(bytes: &[u8]) -> Result<Json, JsonError> {
        Json::read(bytes, Repeats::Refused)
    }

    /// A JSON document of somebody who cannot be told, as a destination's answer: a byte order mark before it is passed over
    /// (RFC 8259, section 8.1, leaves that to the reader), and of a member that stands more than once the last counts, as with
    /// most readers (section 4).
    ///
    /// # Errors
    /// When it is no JSON, or nests deeper than [`DEPTH_MAX`].
    pub fn parse_answer(bytes: &[u8]) -> Result<Json, JsonError> {
        Json::read(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes), Repeats::LastCounts)
    }

    fn read(bytes: &[u8], repeats: Repeats) -> Result<Json, JsonError> {
        let mut problems = Problems::first_ends();
        let mut bytes_left = usize::MAX;
        let reader = FreeReader { path: &Path::ROOT, problems: &mut problems, bytes_left: &mut bytes_left, repeats };
        document(bytes, reader)
    }

    /// Member by exact name.
    pub fn member(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().find(|(key, _)| &**key == name).map(|(_, value)| value),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Array(_) => None,
        }
    }

    /// Member of a member, by exact names; the empty path is the value itself.
    pub fn at(&self, path: &[String]) -> Option<&Json> {
        path.iter().try_fold(self, |value, name| value.member(name))
    }

    /// Bytes of a scalar's own text.
    fn text_len(&self) -> usize {
        match self {
            Json::Number(text) | Json::Text(text) => text.len(),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => 0,
        }
    }

    /// Appends compact JSON text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(text) => out.extend_from_slice(text.as_bytes()),
            Json::Text(text) => write_text(text, out),
            Json::Array(elements) => {
                out.push(b'[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    element.write(out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_text(name, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.line {
            0 => Ok(()),
            line => write!(f, " at line {line} column {}", self.column),
        }
    }
}

/// Appends a JSON string: quotes, backslashes and control characters escaped, all else as it is.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    if needs_no_escape(text) {
        out.extend_from_slice(rest);
        out.push(b'"');
        return;
    }
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else { break };
        match special {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *special]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Whether a JSON string holds the text as it is. Looks at every byte, eight at a time, as nearly every text needs none.
pub fn needs_no_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().all(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f));
    };
    // The last eight overlap those before them.
    let (words, _) = bytes.as_chunks();
    words.iter().chain([last]).all(|word| eight_need_none(u64::from_ne_bytes(*word)))
}

/// Whether none of eight bytes is a control character, a quote or a backslash.
fn eight_need_none(bytes: u64) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOP_BITS: u64 = 0x8080_8080_8080_8080;
    // The lowest byte that is smaller borrows, and its top bit rises; a byte that has that bit is none.
    let smaller = |bytes: u64, than: u8| bytes.wrapping_sub(EACH.wrapping_mul(u64::from(than))) & !bytes;
    let equal = |byte: u8| smaller(bytes ^ EACH.wrapping_mul(u64::from(byte)), 1);
    (smaller(bytes, b' ') | equal(b'"') | equal(b'\\')) & TOP_BITS == 0
}

/// Reads a whole document, and nothing after it.
pub(super) fn document<'de, R: Read<'de>>(bytes: &'de [u8], reader: R) -> Result<R::Output, JsonError> {
    let text = str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
        return Err(JsonError { message: "nothing there: a JSON value is expected".to_owned(), line: 0, column: 0 });
    }
    if text.starts_with('\u{feff}') {
        return Err(JsonError { message: "begins with a byte order mark".to_owned(), line: 1, column: 1 });
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Reading(reader).deserialize(&mut deserializer).map_err(|error| in_words(&error))?;
    deserializer.end().map_err(|error| in_words(&error))?;
    Ok(value)
}

/// U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What a member means that stands more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// It is a problem.
    Refused,
    /// The last is the one.
    LastCounts,
}

/// Reads free JSON: `custom`, and whole documents.
pub(super) struct FreeReader<'c> {
    pub(super) path: &'c Path<'c>,
    pub(super) problems: &'c mut Problems,
    /// What of the free data's total is left; each value costs its text and [`VALUE_COST`].
    pub(super) bytes_left: &'c mut usize,
    pub(super) repeats: Repeats,
}

impl FreeReader<'_> {
    /// Takes the cost of a value at `path` from what is left; false, and reported once, when it is too much.
    fn charge<E: Error>(&mut self, path: &Path<'_>, text: usize) -> Result<bool, E> {
        if *self.bytes_left == 0 {
            return Ok(false);
        }
        *self.bytes_left = self.bytes_left.saturating_sub(text.saturating_add(VALUE_COST));
        if *self.bytes_left > 0 {
            return Ok(true);
        }
        self.problems.report::<E>(path, "is more than the free data of one conversion may be: 256 KiB in all")?;
        Ok(false)
    }

    fn check_depth<E: Error>(&mut self) -> Result<bool, E> {
        if self.path.depth < DEPTH_MAX {
            return Ok(true);
        }
        self.problems.report::<E>(self.path, &format!("nests deeper than {DEPTH_MAX} levels"))?;
        Ok(false)
    }

    /// One value inside this one, charged with `name` bytes of its name and its own.
    fn inner<E: Error>(
        &mut self,
        path: &Path<'_>,
        name: usize,
        read: impl FnOnce(FreeReader<'_>) -> Result<Option<Json>, E>,
    ) -> Result<Option<Json>, E> {
        let reader = FreeReader { path, problems: self.problems, bytes_left: self.bytes_left, repeats: self.repeats };
        let Some(json) = read(reader)? else { return Ok(None) };
        self.charge::<E>(path, name.saturating_add(json.text_len()))?;
        Ok(Some(json))
    }
}

impl<'de> Read<'de> for FreeReader<'_> {
    type Output = Json;

    fn other(self, found: Found<'de>) -> Json {
        match found {
            Found::Null | Found::Array | Found::Object => Json::Null,
            Found::Bool(value) => Json::Bool(value),
            Found::Number(text) => Json::Number(text.into()),
            Found::Text(text) => Json::Text(text.into()),
        }
    }

    fn array<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        if self.check_depth::<A::Error>()? {
            while *self.bytes_left > 0 {
                let path = self.path.element(list.len());
                let read = |reader: FreeReader<'_>| elements.next_element_seed(Reading(reader));
                match self.inner(&path, 0, read)? {
                    Some(element) => list.push(element),
                    None => return Ok(Json::Array(list)),
                }
            }
        }
        skip_elements(elements)?;
        Ok(Json::Array(list))
    }

    fn object<A: MapAccess<'de>>(mut self, mut members: Members<'de, A>) -> Result<Json, A::Error> {
        let wanted = self.check_depth::<A::Error>()?;
        let mut list: Vec<(Box<str>, Json)> = Vec::new();
        while let Some(name) = members.next_name()? {
            if !wanted || *self.bytes_left == 0 {
                members.skip_value()?;
                continue;
            }
            let path = self.path.member(&name);
            let read = |reader: FreeReader<'_>| members.value(reader).map(Some);
            if let Some(value) = self.inner(&path, name.len(), read)? {
                list.push((name.into(), value));
            }
        }
        match self.repeats {
            Repeats::LastCounts => keep_last(&mut list),
            Repeats::Refused => {
                for name in duplicates(&list) {
                    self.problems.report(&self.path.member(name), DUPLICATE)?;
                }
            }
        }
        Ok(Json::Object(list))
    }
}

/// What is wrong with a member that stands twice.
pub(super) const DUPLICATE: &str = "stands twice: keep one";
/// What a value costs of the free data's total beside its text: its share of memory, roughly.
const VALUE_COST: usize = 8;
/// Members up to which comparing each with each is the fastest way to find duplicates.
const FEW_MEMBERS: usize = 16;

/// Names that stand more than once, each once for every repeat.
fn duplicates(members: &[(Box<str>, Json)]) -> Vec<&str> {
    let names = members.iter().map(|(name, _)| &**name);
    if members.len() <= FEW_MEMBERS {
        let earlier = |at: usize, name: &str| members.iter().take(at).any(|(other, _)| &**other == name);
        return names.enumerate().filter(|(at, name)| earlier(*at, name)).map(|(_, name)| name).collect();
    }
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable();
    sorted.windows(2).filter_map(|pair| matches!(pair, [a, b] if a == b).then(|| pair.first().copied())?).collect()
}

/// Of members of one name the last, the others in their order.
fn keep_last(members: &mut Vec<(Box<str>, Json)>) {
    let mut to_drop: BTreeMap<Box<str>, usize> = BTreeMap::new();
    for name in duplicates(members) {
        let repeats = to_drop.entry(name.into()).or_default();
        *repeats = repeats.saturating_add(1);
    }
    members.retain(|(name, _)| match to_drop.get_mut(name) {
        None | Some(0) => true,
        Some(left) => {
            *left = left.saturating_sub(1);
            false
        }
    });
}

/// serde_json's words without the place, which stands in fields of its own.
fn in_words(error: &serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    JsonError { message: message.to_owned(), line, column }
}

fn not_utf8(bytes: &[u8], valid: usize) -> JsonError {
    let before = bytes.get(..valid).unwrap_or_default();
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
    let column = valid.saturating_sub(line_start).saturating_add(1);
    JsonError { message: "not UTF-8".to_owned(), line, column }
}

#[cfg(test)]
mod tests;
