//! What of a destination's answer is kept and shown: its head, without credentials and without control characters.
//!
//! Platforms echo what they refuse, the credential too. Removed are every secret of the destination in the spellings in
//! which it travels (plain, percent-encoded, escaped as in JSON or HTML), what its requests always show that is made of secrets, the
//! credentials of the `Authorization` header that was sent, each in the same spellings, and whatever looks like a credential
//! by its name. Never longer than [`EXCERPT_BYTES_MAX`].

mod escapes;

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::mapping::Secret;
use escapes::Read;

/// Longest excerpt.
pub(super) const EXCERPT_BYTES_MAX: usize = 2048;
/// What stays in a URL (RFC 3986, 2.3): the spelling of our own queries.
const URL_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');
/// Stands for what was removed.
const MASK: &str = "***";
/// Words before a credential.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
/// A scheme's credential shorter than this is a word ("bearer token"), not a token.
const TOKEN_CHARS_MIN: usize = 8;
/// A secret shorter than this is a piece of every text, and hides nothing: to mask it would only spoil ids that are captured.
const SECRET_CHARS_MIN: usize = 3;
/// How much of a secret at a cut-off end gives it away.
const STUB_CHARS_MIN: usize = 4;

/// Removes one destination's credentials from text.
#[derive(Clone, Default)]
pub(super) struct Mask {
    /// Longest first, so that a secret that contains another goes whole.
    needles: Vec<String>,
}

impl Mask {
    /// A mask of every secret of a destination, but for those of one or two characters.
    pub(super) fn new(secrets: &[Secret]) -> Mask {
        let mut mask = Mask::default();
        let masked = secrets.iter().map(Secret::reveal).filter(|secret| secret.chars().count() >= SECRET_CHARS_MIN);
        masked.for_each(|secret| mask.add(secret));
        mask
    }

    /// Of what is made of them as well, but for a scheme's word before it. What is shorter than a piece that would give a secret
    /// away is a word of every text.
    pub(super) fn with_made<'s>(mut self, made: impl IntoIterator<Item = &'s Secret>) -> Mask {
        for secret in made {
            let whole = secret.reveal();
            let is_scheme = |word: &str| SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(word));
            let behind = whole.split_once(' ').filter(|(word, _)| is_scheme(word)).map_or(whole, |(_, behind)| behind);
            if behind.chars().count() >= STUB_CHARS_MIN {
                self.add(behind);
            }
        }
        self
    }

    fn add(&mut self, secret: &str) {
        for needle in spellings(secret) {
            if !self.needles.contains(&needle) {
                self.needles.push(needle);
            }
        }
        self.needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    }

    /// What is to be removed of the `Authorization` header that was sent, longest first; nothing where that is known.
    fn of_sent(&self, sent: Option<&str>) -> Vec<String> {
        let unknown = credential(sent).filter(|credential| !self.needles.iter().any(|needle| needle == credential));
        let mut needles = unknown.map(spellings).unwrap_or_default();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles
    }

    /// The text without credentials. `sent` is the `Authorization` header of the request (`Basic` hides the secrets in
    /// base64).
    pub(super) fn clean(&self, text: &str, sent: Option<&str>) -> String {
        self.without(text, &self.of_sent(sent))
    }

    /// The text without what is in the mask and these.
    fn without(&self, text: &str, sent: &[String]) -> String {
        // First: what is escaped may have another in its middle.
        let mut clean = without_escaped(text, || sent.iter().chain(&self.needles));
        for needle in sent.iter().chain(&self.needles) {
            if clean.contains(needle.as_str()) {
                clean = Cow::Owned(clean.replace(needle.as_str(), MASK));
            }
        }
        named_values(&scheme_tokens(&clean)).into_owned()
    }

    /// The head of a body as it may be kept.
    pub(super) fn excerpt(&self, body: &[u8], sent: Option<&str>) -> Option<String> {
        let sent = self.of_sent(sent);
        // Masks are shorter than what they stand for, so the cut end may come into view.
        let is_cut = self.head(body, &sent).len() < body.len();
        if is_cut { self.torn(body, &sent) } else { self.shown(&String::from_utf8_lossy(body), &sent) }
    }

    /// As much of a body as may come into an excerpt.
    fn head<'b>(&self, body: &'b [u8], sent: &[String]) -> &'b [u8] {
        // Each longest first.
        let longest = self.needles.first().into_iter().chain(sent.first()).map(String::len).max().unwrap_or_default();
        body.get(..EXCERPT_BYTES_MAX.saturating_add(longest)).unwrap_or(body)
    }

    fn shown(&self, text: &str, sent: &[String]) -> Option<String> {
        let text = printable(&self.without(text, sent));
        let text = cut(&text, EXCERPT_BYTES_MAX);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The same of a body that broke off: it may end within a secret.
    pub(super) fn torn_excerpt(&self, body: &[u8], sent: Option<&str>) -> Option<String> {
        self.torn(body, &self.of_sent(sent))
    }

    fn torn(&self, body: &[u8], sent: &[String]) -> Option<String> {
        let head = self.head(body, sent);
        self.shown(&self.without_stub(&String::from_utf8_lossy(head), sent), sent)
    }

    /// Replaces the beginning of a secret at the end of the text.
    fn without_stub<'a>(&self, text: &'a str, sent: &[String]) -> Cow<'a, str> {
        // A character that was cut through is U+FFFD by now.
        let text = text.trim_end_matches('\u{fffd}');
        let stub = self.needles.iter().chain(sent).filter_map(|needle| {
            let mut ends = needle.char_indices().map(|(at, _)| at).rev().take_while(|at| *at >= STUB_CHARS_MIN);
            let at = ends.find(|at| needle.get(..*at).is_some_and(|stub| text.ends_with(stub)))?;
            Some(text.len().saturating_sub(at))
        });
        match stub.min().and_then(|at| text.get(..at)) {
            Some(head) => Cow::Owned(format!("{head}{MASK}")),
            None => Cow::Borrowed(text),
        }
    }
}

/// The text without what shows of these once its escapes are read. Of those at one place the first goes.
fn without_escaped<'t, 'n, N: Iterator<Item = &'n String>>(text: &'t str, needles: impl Fn() -> N) -> Cow<'t, str> {
    let Some(read) = Read::of(text) else { return Cow::Borrowed(text) };
    let mut out = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some(rest) = read.text.get(from..) {
        let found = needles().filter_map(|needle| Some((rest.find(needle.as_str())?, needle.len())));
        let Some((at, length)) = found.min_by_key(|(at, _)| *at) else { break };
        let begins = from.saturating_add(at);
        from = begins.saturating_add(length);
        let Some(masked) = read.source(begins..from) else { break };
        out.push_str(text.get(copied..masked.start).unwrap_or(""));
        out.push_str(MASK);
        copied = masked.end;
    }
    match copied {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(out + text.get(copied..).unwrap_or("")),
    }
}

/// The spellings in which a secret travels: plain, percent-encoded, JSON-escaped. Other escapes are [read](Read).
fn spellings(secret: &str) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let json = json.trim_start_matches('"').strip_suffix('"').unwrap_or(&json).to_owned();
    let slashed = json.replace('/', "\\/");
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    let url = utf8_percent_encode(secret, URL_ESCAPED).to_string();
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let lower = [&percent, &url, &form].map(|escaped| lower_hex(escaped));
    let all = [secret.to_owned(), json, slashed, percent, url, form].into_iter().chain(lower);
    all.filter(|spelling| !spelling.is_empty()).collect()
}

/// What follows the scheme in an `Authorization` header.
fn credential(sent: Option<&str>) -> Option<&str> {
    sent.map(|header| header.split_once(' ').map_or(header, |(_, credential)| credential))
}

/// The same escapes with `%2f` for `%2F`; the letters between them stay as they are.
fn lower_hex(escaped: &str) -> String {
    let mut digits = 0_u8;
    let lower = |c: char| {
        let digit = digits > 0;
        digits = if c == '%' { 2 } else { digits.saturating_sub(1) };
        if digit { c.to_ascii_lowercase() } else { c }
    };
    escaped.chars().map(lower).collect()
}

/// `Bearer abc…` and `Basic abc…`: the scheme stays, the token goes.
fn scheme_tokens(text: &str) -> Cow<'_, str> {
    replace_after(text, &SCHEMES, |rest| {
        let token = rest.strip_prefix(' ')?;
        let chars = token.chars().take_while(|c| c.is_ascii_alphanumeric() || "-._~+/=".contains(*c)).count();
        (chars >= TOKEN_CHARS_MIN).then_some((1, chars))
    })
}

/// `api_key=abc`, `"token": "abc"`, `Authorization: Basic abc`: the name stays, the value goes.
fn named_values(text: &str) -> Cow<'_, str> {
    const NAMES: [&str; 10] = [
        "authorization",
        "apikey",
        "api-key",
        "api_key",
        "token",
        "secret",
        "password",
        "passwd",
        "signature",
        "credential",
    ];
    replace_after(text, &NAMES, |rest| {
        let assigned = rest.trim_start_matches(['"', '\'', '\\']).trim_start_matches(' ');
        let value = assigned.strip_prefix([':', '='])?;
        let value = value.trim_start_matches(' ').trim_start_matches('\\');
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = quote.and_then(|quote| value.strip_prefix(quote)).unwrap_or(value);
        let ends = |c: char| match quote {
            Some(quote) => c == quote || c == '\\',
            None => matches!(c, '&' | ',' | ';' | '<' | '>' | '}' | ']' | '"' | '\'' | '\n' | '\r'),
        };
        let chars = value.chars().take_while(|c| !ends(*c)).count();
        let structured = quote.is_none() && value.starts_with(['{', '[']);
        let skipped = rest.len().saturating_sub(value.len());
        (chars > 0 && !structured && !value.starts_with(MASK)).then_some((skipped, chars))
    })
}

/// Replaces what follows one of `words` (in any case): `value` tells where in the rest it lies, as bytes to skip and
/// characters to mask.
fn replace_after<'a>(text: &'a str, words: &[&str], value: impl Fn(&str) -> Option<(usize, usize)>) -> Cow<'a, str> {
    let mut out = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some((at, word)) = next_word(text, from, words) {
        from = at.saturating_add(word.len());
        let Some(after) = text.get(from..) else { break };
        let Some((skipped, chars)) = value(after) else { continue };
        let Some((_, masked)) = after.split_at_checked(skipped) else { continue };
        let begins = from.saturating_add(skipped);
        let length = masked.char_indices().nth(chars).map_or(masked.len(), |(end, _)| end);
        out.push_str(text.get(copied..begins).unwrap_or(""));
        out.push_str(MASK);
        copied = begins.saturating_add(length);
        from = copied;
    }
    match copied {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(out + text.get(copied..).unwrap_or("")),
    }
}

/// Where the next of `words` stands. They begin with few letters, so that most bytes are passed by with one comparison.
fn next_word<'w>(text: &str, from: usize, words: &[&'w str]) -> Option<(usize, &'w str)> {
    let bytes = text.as_bytes().iter().enumerate().skip(from);
    let mut starts =
        bytes.filter(|(_, byte)| matches!(byte.to_ascii_lowercase(), b'a' | b'b' | b'c' | b'p' | b's' | b't'));
    starts.find_map(|(at, _)| {
        let rest = text.as_bytes().get(at..)?;
        let word = words
            .iter()
            .find(|word| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes())))?;
        Some((at, *word))
    })
}

/// Control characters, and those that turn the direction of text around, as escapes.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The longest head of at most `bytes_max` bytes that ends between characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = text.floor_char_boundary(bytes_max);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect();
        Mask::new(&secrets)
    }

    #[track_caller]
    fn check(secrets: &[&str], body: &str, expected: &str) {
        assert_eq!(mask(secrets).excerpt(body.as_bytes(), None).as_deref().unwrap_or(""), expected);
    }

    #[test]
    fn secrets_go_in_every_spelling() {
        check(&["k3y/+="], "bad key k3y/+=!", "bad key ***!");
        check(&["k3y/+="], "at /x?a=k3y%2F%2B%3D&b", "at /x?a=***&b");
        check(&["k3y/+="], "at /x?a=k3y%2f%2b%3d&b", "at /x?a=***&b");
        check(&["k3y/+="], r#"{"got":"k3y\/+="}"#, r#"{"got":"***"}"#);
        check(&["a b"], "a+b and a%20b", "*** and ***");
        check(&["q\"uote"], r#"{"got":"q\"uote"}"#, r#"{"got":"***"}"#);
        check(&["abc", "abcdef"], "abcdef abc", "*** ***");
        check(&["k3y/+="], r#"{"got":"k3y/\u002B="}"#, r#"{"got":"***"}"#);
        check(&["k3y/+="], r#"{"got":"k3y\u002f\u002b\u003d", "a":"\u00e9"}"#, r#"{"got":"***", "a":"\u00e9"}"#);
        check(&["k3y&+'"], "<p>k3y&amp;&#43;&#x27; &lt;k3y&amp;+&apos;&gt;", "<p>*** &lt;***&gt;");
        check(&["abc&", "abc&def"], "abc&amp;def abc&amp;", "*** ***");
        check(&[""], "nothing", "nothing");
    }

    #[test]
    fn a_secret_of_two_characters_spoils_no_id() {
        check(&["12"], r#"{"id":"A-51234"}"#, r#"{"id":"A-51234"}"#);
        check(&["1", "123"], r#"{"id":"A-51234"}"#, r#"{"id":"A-5***4"}"#);
    }

    #[test]
    fn the_credential_that_was_sent_goes_too() {
        let clean = mask(&["tok3n"]).clean("we got YWNtZTp0b2szbg== from you", Some("Basic YWNtZTp0b2szbg=="));
        assert_eq!(clean, "we got *** from you");
    }

    #[test]
    fn the_credential_that_was_sent_goes_in_every_spelling() {
        let sent = Some("Bearer t0k/en+of=oauth");
        let clean = mask(&["other"]).clean("at /x?t=t0k%2Fen%2Bof%3Doauth or t0k\\/en+of=oauth", sent);
        assert_eq!(clean, "at /x?t=*** or ***");
    }

    #[test]
    fn what_is_made_of_secrets_goes() {
        let made = ["Basic YWNtZTp0b2szbg==", "key=tok3n;v=1", "a"].map(|made| Secret::new(made.to_owned()));
        let mask = mask(&["tok3n"]).with_made(&made);
        let clean = mask.clean("we got YWNtZTp0b2szbg%3D%3D, key=tok3n;v=1 and a tok3n", None);
        assert_eq!(clean, "we got ***, *** and a ***");
    }

    #[test]
    fn what_looks_like_a_credential_goes() {
        check(&[], "Authorization: Bearer abcdef.ghi-jkl", "Authorization: ***");
        check(&[], "header 'Bearer abcdef.ghi-jkl' refused", "header 'Bearer ***' refused");
        check(&[], "Missing bearer token / Invalid API key", "Missing bearer token / Invalid API key");
        check(&[], "GET /conv?api-key=abc&click_id=1", "GET /conv?api-key=***&click_id=1");
        check(&[], r#"{"auth_token": "abc", "ok": false}"#, r#"{"auth_token": "***", "ok": false}"#);
        check(&[], r#"{"token": {"a": 1}}"#, r#"{"token": {"a": 1}}"#);
        check(&[], r#"{"Status":"QUEUED","QueuedUri":"/x"}"#, r#"{"Status":"QUEUED","QueuedUri":"/x"}"#);
    }

    #[test]
    fn a_secret_that_is_cut_off_goes() {
        let torn = |body: &str| mask(&["s3cr3t-value"]).torn_excerpt(body.as_bytes(), None).unwrap();
        assert_eq!(torn("you sent s3cr3t-va"), "you sent ***");
        assert_eq!(torn("you sent s3c"), "you sent s3c");
        let long = format!("{}{}", "x".repeat(EXCERPT_BYTES_MAX - 5), "s3cr3t-value");
        let excerpt = mask(&["s3cr3t-value"]).excerpt(long.as_bytes(), None).unwrap();
        assert!(excerpt.ends_with("x***"), "{excerpt}");
    }

    #[test]
    fn control_characters_are_escaped_and_broken_utf8_is_replaced() {
        check(&[], "a\r\n\u{1b}[31mb\u{202e}", "a\\r\\n\\u{1b}[31mb\\u{202e}");
        assert_eq!(mask(&[]).excerpt(b"a\xffb", None).unwrap(), "a\u{fffd}b");
        assert_eq!(mask(&[]).excerpt(b"", None), None);
    }

    #[test]
    fn a_secret_echoed_over_and_over_is_masked_to_the_end() {
        let secret = "Abcdefghijklmnopqrstuvwxyz0123456789ABCD";
        let body = format!("{secret}{}", " ".repeat(5)).repeat(100);
        let excerpt = mask(&[secret]).excerpt(body.as_bytes(), None).unwrap();
        assert!(!excerpt.contains("Abcdefghijkl"), "{excerpt}");
    }

    #[test]
    fn an_echo_with_small_hex_digits_is_masked() {
        check(&["K3Y/x="], "at /x?a=K3Y%2fx%3d&b", "at /x?a=***&b");
    }

    #[test]
    fn an_echo_in_the_spelling_of_our_own_query_is_masked() {
        check(&["a~b/cdef"], "at /x?a=a~b%2Fcdef&b", "at /x?a=***&b");
    }

    #[test]
    fn an_authorization_cut_short_is_masked() {
        let e = mask(&["tok3n"]).torn_excerpt(b"you sent YWNtZTp0b2sz", Some("Basic YWNtZTp0b2szbg==")).unwrap();
        assert_eq!(e, "you sent ***");
    }

    proptest! {
        #[test]
        fn an_excerpt_is_short_printable_and_holds_no_secret(
            before in ".{0,200}", secret in "[a-zA-Z0-9/+=_-]{8,40}", after in ".{0,200}", repeats in 1usize..30,
        ) {
            let body = format!("{before}{secret}{after}").repeat(repeats);
            let excerpt = mask(&[&secret]).excerpt(body.as_bytes(), None).unwrap_or_default();
            prop_assert!(excerpt.len() <= EXCERPT_BYTES_MAX);
            prop_assert!(!excerpt.contains(&secret));
            prop_assert!(!excerpt.chars().any(char::is_control));
        }
    }
}
