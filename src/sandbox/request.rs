//! A request as it was read, the readers of its parts that all documents share, and what a platform makes of it.

use std::fmt::Display;

use base64::Engine as _;
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};

use crate::conversion::Json;

use super::rules::{Findings, Rule, check_text};

/// Most bytes of a request's body; the largest documented request (500 items for Impact) is about 200 KiB.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A request, read to its end.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body passed [`BODY_BYTES_MAX`] and was left unread.
    oversized: bool,
}

/// A request that its client left unfinished: there is nothing to judge.
#[derive(Debug)]
pub(super) struct BrokenOff;

impl Request {
    /// Reads a request through [`BODY_BYTES_MAX`]; a longer body becomes a breach.
    pub(super) async fn read(request: hyper::Request<Incoming>) -> Result<Request, BrokenOff> {
        let (head, body) = request.into_parts();
        #[expect(clippy::disallowed_methods, reason = "the body is wrapped in Limited")]
        let (body, oversized) = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => (body.to_bytes(), false),
            Err(error) if error.is::<LengthLimitError>() => (Bytes::new(), true),
            Err(_broken_off) => return Err(BrokenOff),
        };
        Ok(Request {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body,
            oversized,
        })
    }

    #[cfg(test)]
    pub(super) fn of(method: &str, target: &str, headers: &[(&'static str, &str)], body: &str) -> Request {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Request {
            method: method.into(),
            path: path.into(),
            query: query.into(),
            headers: headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
                .collect(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            oversized: false,
        }
    }

    pub(super) fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// A header's text; `None` when it is absent, repeated or no text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { first.to_str().ok() }
    }

    /// The credential of `Authorization: Bearer …`.
    pub(super) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// User and password of `Authorization: Basic …`.
    pub(super) fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        Some((user.to_owned(), password.to_owned()))
    }

    /// Whether `Content-Type` is this media type, parameters aside.
    pub(super) fn is_of(&self, media_type: &str) -> bool {
        self.header("content-type")
            .and_then(|value| value.split(';').next())
            .is_some_and(|value| value.trim().eq_ignore_ascii_case(media_type))
    }

    /// Members of the JSON object in the body; what is wrong with the body as such becomes findings.
    pub(super) fn json(&self, findings: &mut Findings) -> Vec<(Box<str>, Json)> {
        if !self.is_of("application/json") {
            findings.add("Content-Type", "must be application/json");
        }
        if self.oversized {
            findings.add("body", TOO_LONG);
            return Vec::new();
        }
        match Json::parse(&self.body) {
            Ok(Json::Object(members)) => members,
            Ok(_) => {
                findings.add("body", "must be a JSON object");
                Vec::new()
            }
            Err(error) => {
                findings.add("body", format!("must be JSON: {error}"));
                Vec::new()
            }
        }
    }

    /// Pairs of the form in the body.
    pub(super) fn form(&self, findings: &mut Findings) -> Vec<(String, String)> {
        if !self.is_of("application/x-www-form-urlencoded") {
            findings.add("Content-Type", "must be application/x-www-form-urlencoded");
        }
        if self.oversized {
            findings.add("body", TOO_LONG);
        }
        match std::str::from_utf8(&self.body) {
            Ok(text) => pairs("body", text, findings),
            Err(_not_utf8) => {
                findings.add("body", "must be a form in UTF-8");
                Vec::new()
            }
        }
    }

    /// Pairs of the query.
    pub(super) fn query(&self, findings: &mut Findings) -> Vec<(String, String)> {
        pairs("query", &self.query, findings)
    }

    /// Notes a body where the document has none.
    pub(super) fn without_body(&self, findings: &mut Findings) {
        if !self.body.is_empty() || self.oversized {
            findings.add("body", "must be empty");
        }
    }

    /// Notes a query where the document has none.
    pub(super) fn without_query(&self, findings: &mut Findings) {
        if !self.query.is_empty() {
            findings.add("query", "must be empty");
        }
    }
}

const TOO_LONG: &str = "is longer than any documented request";

/// Decodes `a=b&c=d`, noting broken percent-encoding and repeated keys. Empty values are left to the field's rule.
fn pairs(place: &str, text: &str, findings: &mut Findings) -> Vec<(String, String)> {
    let encoded = text.split('%').skip(1).all(|rest| {
        let mut digits = rest.chars();
        let mut hexadecimal = || digits.next().is_some_and(|digit| digit.is_ascii_hexdigit());
        hexadecimal() && hexadecimal()
    });
    // RFC 3986, *query*: unreserved, percent-encoded, sub-delims, and `:@/?`.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(&byte);
    if !encoded || !text.bytes().all(allowed) {
        findings.add(place, "must be percent-encoded");
    }
    let mut read: Vec<(String, String)> = Vec::new();
    for (key, value) in form_urlencoded::parse(text.as_bytes()) {
        if read.iter().any(|(earlier, _)| *earlier == key) {
            findings.add(key, "is sent more than once");
        } else {
            read.push((key.into_owned(), value.into_owned()));
        }
    }
    read
}

/// The value of a key.
pub(super) fn value<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// Holds pairs to the rule of their key; a key without one is unknown.
pub(super) fn check_pairs(pairs: &[(String, String)], rule: impl Fn(&str) -> Option<Rule>, findings: &mut Findings) {
    for (key, value) in pairs {
        match rule(key) {
            Some(rule) => findings.expect(key, check_text(rule, value)),
            None => findings.add(key, super::rules::UNKNOWN),
        }
    }
}

/// The text of a JSON member.
pub(super) fn text<'a>(members: &'a [(Box<str>, Json)], name: &str) -> Option<&'a str> {
    members.iter().find(|(member, _)| **member == *name).and_then(|(_, value)| match value {
        Json::Text(text) => Some(&**text),
        Json::Number(_) | Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    })
}

/// The answer of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Answer {
    /// A JSON answer.
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Answer {
        Answer { status, headers: vec![("content-type".into(), "application/json".into())], body: body.to_string() }
    }

    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: String::new() }
    }

    pub(super) fn with(mut self, header: &str, value: &dyn Display) -> Answer {
        self.headers.push((header.into(), value.to_string()));
        self
    }
}

/// What a platform sees in a request before it looks into its memory.
#[derive(Debug)]
pub(super) struct Inspection {
    /// Which call it is, as in [`super::Received::operation`].
    pub(super) operation: &'static str,
    pub(super) handle: String,
    pub(super) findings: Findings,
    /// The documented error that the request earns by itself.
    pub(super) refusal: Option<Answer>,
    /// Under which a repeat is recognised; `None` where the platform cannot recognise one.
    pub(super) key: Option<String>,
    /// What the platform remembers of it beside the key, so that later changes find it.
    pub(super) marks: Vec<String>,
    /// What a change refers to: a mark of an earlier conversion.
    pub(super) subject: Option<String>,
}

impl Inspection {
    /// A call that the document does not have.
    pub(super) fn unknown(findings: Findings, refusal: Answer) -> Inspection {
        Inspection {
            operation: "unknown",
            handle: String::new(),
            findings,
            refusal: Some(refusal),
            key: None,
            marks: Vec::new(),
            subject: None,
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) answer: Answer,
    pub(super) effect: bool,
    pub(super) duplicate: bool,
}

impl Outcome {
    /// Answered, and nothing changed.
    pub(super) fn idle(answer: Answer) -> Outcome {
        Outcome { answer, effect: false, duplicate: false }
    }

    /// Something changed.
    pub(super) fn effect(answer: Answer) -> Outcome {
        Outcome { answer, effect: true, duplicate: false }
    }

    /// Recognised as a repeat.
    pub(super) fn duplicate(answer: Answer) -> Outcome {
        Outcome { answer, effect: false, duplicate: true }
    }
}

/// Joins the parts of a dedup key with a character that no part holds.
pub(super) fn key<const N: usize>(parts: [&str; N]) -> String {
    parts.join("\u{1f}")
}
