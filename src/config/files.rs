//! The texts that a configuration is made of: routes.toml, `--set` flags, presets. Knows which bytes are credentials, so
//! that no excerpt shows them, and what `${…}` stood for, so that no message does.

use std::ops::Range;

use crate::mapping::{FileId, Span, Text};

/// Every text read so far; a [`FileId`] is its index.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: String,
    text: String,
    hidden: Vec<Range<usize>>,
    resolved: Vec<Resolved>,
    once: Vec<Range<usize>>,
}

/// What a `${…}` became, and where the string stands that holds it.
#[derive(Debug)]
struct Resolved {
    string: Range<usize>,
    marker: String,
    value: String,
}

impl Files {
    /// Keeps a text under the name that reports show; the same one again is the same file.
    pub(super) fn add(&mut self, name: String, text: String) -> FileId {
        if let Some(id) = self.files.iter().position(|file| file.name == name && file.text == text) {
            return FileId(u16::try_from(id).unwrap_or(u16::MAX));
        }
        let id = FileId(u16::try_from(self.files.len()).unwrap_or(u16::MAX));
        self.files.push(File { name, text, hidden: Vec::new(), resolved: Vec::new(), once: Vec::new() });
        id
    }

    pub(super) fn name(&self, file: FileId) -> &str {
        self.file(file).map_or("", |file| file.name.as_str())
    }

    pub(super) fn text(&self, file: FileId) -> &str {
        self.file(file).map_or("", |file| file.text.as_str())
    }

    /// The bytes of `span` are a credential: every excerpt shows `*` in their place.
    pub(super) fn hide(&mut self, span: &Span) {
        if let Some(file) = self.file_mut(span.file) {
            file.hidden.push(span.range.clone());
        }
    }

    /// Hides the parameters of a URL whose names speak of credentials.
    pub(super) fn hide_in_url(&mut self, text: &Text) {
        if !text.verbatim || !text.value.contains("://") {
            return;
        }
        let Some((before, query)) = text.value.split_once('?') else { return };
        let mut start = before.len().saturating_add(1);
        for pair in query.split('&') {
            let end = start.saturating_add(pair.len());
            if let Some((name, value)) = pair.split_once('=')
                && (is_credential(name) || name.ends_with("key"))
                && !value.contains('{')
            {
                self.hide(&inner_span(text, &(end.saturating_sub(value.len())..end)));
            }
            start = end.saturating_add(1);
        }
    }

    /// Hides what may be a credential in a text that is no TOML, where nothing tells values from keys for certain: all
    /// that follows `=` on a line that speaks of credentials, also where it follows on a later line, and the lines behind it
    /// until what it opens is closed.
    pub(super) fn hide_by_words(&mut self, file: FileId) {
        let text = self.text(file).to_owned();
        let (mut start, mut header_tells, mut is_awaited, mut open) = (0_usize, false, false, Open::default());
        for line in text.split_inclusive('\n') {
            let range = start..start.saturating_add(line.len());
            start = range.end;
            if open.is_open() {
                open.read(line);
                self.hide(&Span { file, range });
                continue;
            }
            let is_bracket = line.trim_start().starts_with('[');
            if is_bracket {
                // What is awaited may be this list, or a header after all.
                header_tells = (is_awaited && header_tells) || tells_of_credential(line);
            }
            let is_header = is_bracket && !is_awaited;
            if (is_header && !line.contains('=')) || !(header_tells || is_awaited || tells_of_credential(line)) {
                continue;
            }
            // What is no key may be a value that lost its own.
            let value = line.split_once('=').filter(|(key, _)| is_bare_key(key)).map_or(line, |(_, value)| value);
            // A key whose value has not come, or nothing at all.
            is_awaited = match says_nothing(value) {
                true => is_awaited || value.len() < line.len(),
                false => is_bare_key(line),
            };
            open.read(value);
            if !is_reference_alone(value) {
                self.hide(&Span { file, range: range.end.saturating_sub(value.len())..range.end });
            }
        }
    }

    /// `marker` (`${env:TOKEN}`) in the string at `span` stands for `value`, which no message may repeat.
    pub(super) fn resolved(&mut self, span: &Span, marker: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if let Some(file) = self.file_mut(span.file) {
            let (marker, value) = (marker.to_owned(), value.to_owned());
            file.resolved.push(Resolved { string: span.range.clone(), marker, value });
        }
    }

    /// What stands in `span` was read many times over: of the faults at one place in it the first is said.
    pub(super) fn say_once(&mut self, span: &Span) {
        if let Some(file) = self.file_mut(span.file) {
            file.once.push(span.range.clone());
        }
    }

    /// Whether only the first of the faults at `span` is said.
    pub(super) fn is_said_once(&self, span: &Span) -> bool {
        let within = |range: &Range<usize>| range.start <= span.range.start && span.range.end <= range.end;
        self.file(span.file).is_some_and(|file| file.once.iter().any(within))
    }

    /// A message about `span`, with what `${…}` stood for replaced by the `${…}` itself.
    pub(super) fn without_resolved(&self, span: &Span, message: &str) -> String {
        let mut message = message.to_owned();
        for (id, file) in self.files.iter().enumerate() {
            for resolved in &file.resolved {
                let same_string = usize::from(span.file.0) == id && overlaps(&resolved.string, &span.range);
                if same_string || resolved.value.len() >= TELLING_BYTES_MIN {
                    message = message.replace(&resolved.value, &resolved.marker);
                }
            }
        }
        message
    }

    /// The text of a file with every credential replaced by `*`, byte for byte, so that spans still fit.
    pub(super) fn shown(&self, file: FileId) -> String {
        let Some(file) = self.file(file) else { return String::new() };
        let hidden = |at: usize| file.hidden.iter().any(|range| range.contains(&at));
        let mut shown = String::with_capacity(file.text.len());
        for (at, letter) in file.text.char_indices() {
            if letter != '\n' && hidden(at) {
                shown.extend(std::iter::repeat_n('*', letter.len_utf8()));
            } else {
                shown.push(letter);
            }
        }
        shown
    }

    fn file(&self, file: FileId) -> Option<&File> {
        self.files.get(usize::from(file.0))
    }

    fn file_mut(&mut self, file: FileId) -> Option<&mut File> {
        self.files.get_mut(usize::from(file.0))
    }
}

/// A string as it stands in `source` at `range`: where its own bytes are told apart from quotes and escapes, the span is
/// narrowed to them, so that an inner range can be underlined.
pub(super) fn text_at(file: FileId, source: &str, range: &Range<usize>, value: &str) -> Text {
    let written = source.get(range.clone()).unwrap_or_default();
    for quote in ["\"\"\"\n", "'''\n", "\"\"\"", "'''", "\"", "'", ""] {
        let inner = written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote.trim_end()));
        if inner == Some(value) {
            let start = range.start.saturating_add(quote.len());
            let range = start..start.saturating_add(value.len());
            return Text { value: value.to_owned(), span: Span { file, range }, verbatim: true };
        }
    }
    Text { value: value.to_owned(), span: Span { file, range: range.clone() }, verbatim: false }
}

/// The place of an inner range of a text, as near as it can be told.
pub(super) fn inner_span(text: &Text, inner: &Range<usize>) -> Span {
    if !text.verbatim {
        return text.span.clone();
    }
    let start = text.span.range.start;
    Span { file: text.span.file, range: start.saturating_add(inner.start)..start.saturating_add(inner.end) }
}

/// Where a URL, as it is written in a file, has user and password of which the secret part is not all `${…}`.
pub(super) fn plain_credentials(written: &str) -> Option<Range<usize>> {
    before_at(written, written.find("://")?.saturating_add(3), Behind::Path)
}

/// The same of what should be scheme, host and port alone, whatever it looks like: all before its last `@`.
pub(super) fn plain_credentials_of_origin(written: &str) -> Option<Range<usize>> {
    let quotes = QUOTES.into_iter().find(|quotes| written.starts_with(*quotes)).map_or(0, str::len);
    before_at(written, written.find("://").map_or(quotes, |at| at.saturating_add(3)), Behind::Nothing)
}

/// What may stand behind the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Path,
    Nothing,
}

fn before_at(written: &str, start: usize, behind: Behind) -> Option<Range<usize>> {
    let (mut at, mut ends, mut has_letters, mut in_password, mut is_port) = (start, None, false, false, true);
    while let Some(rest) = written.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some(marker) = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')).map(|(inner, _)| inner) {
            // A default stands there in plain sight.
            has_letters |= marker.split_once(":-").is_some_and(|(_, default)| !default.is_empty());
            at = at.saturating_add(marker.len()).saturating_add("${}".len());
            continue;
        }
        let letter = rest.chars().next()?;
        match letter {
            // Behind what is no port they belong to a password that should have them percent-encoded.
            '/' | '?' | '#' if behind == Behind::Path && (is_port || ends.is_some()) => break,
            // What came before is a user's name.
            ':' if !in_password => (in_password, has_letters) = (true, false),
            '@' => ends = Some((at, has_letters)),
            _ => {
                has_letters = true;
                is_port &= !in_password || letter.is_ascii_digit();
            }
        }
        at = at.saturating_add(letter.len_utf8());
    }
    ends.filter(|(_, has_letters)| *has_letters).map(|(end, _)| start..end)
}

/// Whether what stands under this name is a credential, as far as a name can tell.
pub(super) fn is_credential(name: &str) -> bool {
    let name = name.to_lowercase();
    !name.ends_with("sha256") && CREDENTIAL_NAMES.iter().any(|word| name.contains(word))
}

fn tells_of_credential(line: &str) -> bool {
    let line = line.to_lowercase();
    CREDENTIAL_WORDS.iter().any(|word| line.contains(word))
}

fn is_bare_key(text: &str) -> bool {
    text.trim().chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// Whether there is nothing on the line, or a comment alone.
fn says_nothing(value: &str) -> bool {
    let value = value.trim_start();
    value.is_empty() || value.starts_with('#')
}

/// Whether a value, with all that stands on its line, is nothing but `${…}` without defaults.
fn is_reference_alone(value: &str) -> bool {
    let is_bare = |text: &str| text.chars().all(|c| c.is_whitespace() || "\"'[]{},".contains(c));
    let mut parts = value.split("${");
    let is_reference =
        |part: &str| part.split_once('}').is_some_and(|(marker, behind)| !marker.contains(":-") && is_bare(behind));
    parts.next().is_none_or(is_bare) && parts.all(is_reference)
}

/// What of a value is open at the end of a line.
#[derive(Debug, Default)]
struct Open {
    brackets: usize,
    /// The quotes of a string.
    string: Option<&'static str>,
}

impl Open {
    fn is_open(&self) -> bool {
        self.brackets > 0 || self.string.is_some()
    }

    /// Reads on to the end of a line. A string that ends with its line unclosed may be one that goes on behind it, pasted so.
    fn read(&mut self, line: &str) {
        let mut rest = line;
        while let Some(letter) = rest.chars().next() {
            let opens = QUOTES.into_iter().find(|quotes| rest.starts_with(*quotes));
            let bytes = match (self.string, letter) {
                (Some(quotes), _) if rest.starts_with(quotes) => {
                    self.string = None;
                    quotes.len()
                }
                (Some(quotes), '\\') if quotes.starts_with('"') => {
                    rest.chars().take(2).map(char::len_utf8).fold(0, usize::saturating_add)
                }
                (None, '"' | '\'') => {
                    self.string = opens;
                    opens.map_or(1, str::len)
                }
                (None, '#') => break,
                (None, '[' | '{') => {
                    self.brackets = self.brackets.saturating_add(1);
                    1
                }
                (None, ']' | '}') => {
                    self.brackets = self.brackets.saturating_sub(1);
                    1
                }
                (_, letter) => letter.len_utf8(),
            };
            rest = rest.get(bytes..).unwrap_or_default();
        }
    }
}

fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start <= b.end && b.start <= a.end
}

/// A string under a key that holds one of these is not shown.
const CREDENTIAL_NAMES: [&str; 10] =
    ["secret", "token", "password", "bearer", "api_key", "api-key", "apikey", "authorization", "cookie", "credential"];

/// Where one of these stands on a line that cannot be parsed, its value is not shown.
const CREDENTIAL_WORDS: [&str; 8] = ["secret", "token", "password", "bearer", "basic", "auth", "key", "cookie"];

/// What a string begins and ends with; the longer ones come first.
const QUOTES: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];

/// A value this long is replaced wherever it turns up; a shorter one (`1`, `eu`) only in messages about its own string,
/// or it would tear words apart.
const TELLING_BYTES_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_written_down_is_found_whatever_stands_beside_it() {
        let check = |written: &str, expected: Option<&str>| {
            assert_eq!(plain_credentials(written).and_then(|range| written.get(range)), expected, "{written}");
        };
        check("http://user:pass@host", Some("user:pass"));
        check("\"http://user:pass@${env:HOST}/\"", Some("user:pass"));
        check("http://${env:USER}:pass@host", Some("${env:USER}:pass"));
        check("http://${env:USER}:p${env:REST}@host", Some("${env:USER}:p${env:REST}"));
        check("http://u:${env:PASS:-pass}@host", Some("u:${env:PASS:-pass}"));
        check("${env:PROXY:-http://u:pass@host}", Some("u:pass"));
        check("http://u:p@ss@host", Some("u:p@ss"));
        check("http://token@${env:HOST}", Some("token"));
        check("http://user:${env:PASS}@host", None);
        check("http://${env:USER}:${file:/run/p@ss}@host:3128", None);
        check("http://${env:BOTH}@host", None);
        check("http://${env:HOST}:3128/a@b", None);
        check("${env:PROXY}", None);
        check("user:pass@host", None);
        check("http://u:pa/s?s#@host", Some("u:pa/s?s#"));
        check("http://u:pass@host/a@b", Some("u:pass"));
        check("http://host:3128/a@b", None);
    }

    #[test]
    fn of_what_has_no_path_all_before_the_at_is_found() {
        let check = |written: &str, expected: Option<&str>| {
            let found = plain_credentials_of_origin(written).and_then(|range| written.get(range));
            assert_eq!(found, expected, "{written}");
        };
        check("\"http://user:pass@host\"", Some("user:pass"));
        check("\"user:pass@host:3128\"", Some("user:pass"));
        check("'user:pass@host'", Some("user:pass"));
        check("user:pass@", Some("user:pass"));
        check("\"http:/user:pass@host\"", Some("http:/user:pass"));
        check("\"http://to/ken@host\"", Some("to/ken"));
        check("\"http://user:1/2@host/a@b\"", Some("user:1/2@host/a"));
        check("\"user:${env:PASS}@host\"", None);
        check("\"http://${env:USER}:${file:/run/p@ss}@host:3128\"", None);
        check("\"http://host:3128\"", None);
    }
}
