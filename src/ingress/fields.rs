//! The header fields that the APIs read of a request: what its body is, its key, how long its sender waits, its trace.
//!
//! Pure functions over a request's head.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::problem::{Kind, Problem};
use super::strict::{Field, one};
use crate::conversion::TraceParent;

/// What a body of the public API is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// One document.
    Json,
    /// A document a line.
    Lines,
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// The type of a body of the public API.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Problem> {
    let media = match one(headers, &header::CONTENT_TYPE) {
        Field::One(value) => value.to_str().ok().and_then(|text| {
            let lines = LINES.iter().any(|essence| is_of_type(text, essence));
            if lines { Some(Media::Lines) } else { is_of_type(text, JSON).then_some(Media::Json) }
        }),
        Field::Absent | Field::Several => None,
    };
    media.ok_or_else(|| {
        let detail = "Content-Type must be application/json, or application/x-ndjson for a conversion a line, in UTF-8";
        let accept = HeaderValue::from_static("application/json, application/x-ndjson");
        Problem::new(Kind::UnsupportedMediaType, detail).with(header::ACCEPT, accept)
    })
}

/// The coding of a body of the public API.
pub(crate) fn coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let coding = match one(headers, &header::CONTENT_ENCODING) {
        Field::Absent => Some(Coding::Identity),
        Field::One(value) => {
            let is = |name: &str| value.as_bytes().eq_ignore_ascii_case(name.as_bytes());
            let known = [
                ("identity", Coding::Identity),
                ("gzip", Coding::Gzip),
                ("x-gzip", Coding::Gzip),
                ("zstd", Coding::Zstd),
            ];
            known.into_iter().find(|(name, _)| is(name)).map(|(_, coding)| coding)
        }
        Field::Several => None,
    };
    coding.ok_or_else(|| {
        let accepted = HeaderValue::from_static("gzip, zstd, identity");
        Problem::new(Kind::UnsupportedMediaType, "a body may be compressed once, with gzip or zstd")
            .with(header::ACCEPT_ENCODING, accepted)
    })
}

/// What a body must be where it is always short: JSON, not compressed.
pub(crate) fn check_plain_json(headers: &HeaderMap) -> Result<(), Problem> {
    let is_json = match one(headers, &header::CONTENT_TYPE) {
        Field::One(value) => value.to_str().is_ok_and(|text| is_of_type(text, JSON)),
        Field::Absent | Field::Several => false,
    };
    if !is_json {
        let problem = Problem::new(Kind::UnsupportedMediaType, "Content-Type must be application/json, in UTF-8");
        return Err(problem.with(header::ACCEPT, HeaderValue::from_static(JSON)));
    }
    if coding(headers)? != Coding::Identity {
        let problem = Problem::new(Kind::UnsupportedMediaType, "the body must not be compressed here");
        return Err(problem.with(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    Ok(())
}

/// Whether a Content-Type is this one, with no charset or the only one that JSON has; other parameters mean nothing to JSON.
fn is_of_type(content_type: &str, wanted: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        Some(_) | None => true,
    };
    essence.eq_ignore_ascii_case(wanted) && parts.all(utf8)
}

/// The key as its content: `"a-1"` (the draft's form) and `a-1` (what clients send) are the same key.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    static NAME: HeaderName = HeaderName::from_static("idempotency-key");
    let refused = || {
        let detail = format!("one key of 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters, bare or quoted");
        Problem::new(Kind::InvalidIdempotencyKey, detail)
    };
    let text = match one(headers, &NAME) {
        Field::Absent => return Ok(None),
        Field::Several => return Err(refused()),
        Field::One(value) => value.to_str().map_err(|_not_ascii| refused())?,
    };
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquote(quoted).ok_or_else(refused)?,
        None => text.to_owned(),
    };
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_CHARS_MAX || !visible {
        return Err(refused());
    }
    Ok(Some(key))
}

/// The content of an RFC 8941 string whose opening quote is gone.
fn unquote(text: &str) -> Option<String> {
    let mut content = String::with_capacity(text.len());
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(content),
            '\\' => content.push(rest.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            other => content.push(other),
        }
    }
}

/// For how long the sender would wait for the outcomes: `Prefer: wait=N` (RFC 7240 §4.3), at most [`WAIT_MAX`]. A preference
/// that cannot be read is none.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = texts.flat_map(|text| text.split(','));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then_some(value.trim().trim_matches('"'))
    });
    let wait = Duration::from_secs(seconds?.parse().ok()?).min(WAIT_MAX);
    (!wait.is_zero()).then_some(wait)
}

/// Says that a preference was honoured, and with which time.
pub(crate) fn preference_applied(wait: Duration) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::try_from(format!("wait={}", wait.as_secs()));
    (PREFERENCE_APPLIED, value.unwrap_or(HeaderValue::from_static("wait")))
}

/// The trace that the request belongs to. What is not valid is none, as W3C Trace Context asks.
pub(crate) fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    match one(headers, &TRACEPARENT) {
        Field::One(value) => TraceParent::parse(value.to_str().ok()?.trim()),
        Field::Absent | Field::Several => None,
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Below the minute after which proxies give a silent answer up.
const WAIT_MAX: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";
/// The name in use, the one without `x-`, and that of JSON Lines.
const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];
/// The longest `Idempotency-Key`, as in other APIs that take one.
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let mut headers = HeaderMap::new();
        fields.iter().map(field).for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn types_of_bodies() {
        #[track_caller]
        fn check(fields: &[(&'static str, &str)], expected: Option<Media>) {
            match (media(&headers(fields)), expected) {
                (Ok(media), Some(expected)) => assert_eq!(media, expected, "{fields:?}"),
                (Err(problem), None) => {
                    let reply = problem.into_reply();
                    assert_eq!(reply.status(), 415);
                    assert_eq!(reply.headers()["accept"], "application/json, application/x-ndjson");
                }
                (media, expected) => panic!("{fields:?}: {media:?} and not {expected:?}"),
            }
        }
        check(&[("content-type", "application/json")], Some(Media::Json));
        check(&[("content-type", "Application/JSON; charset=UTF-8")], Some(Media::Json));
        check(&[("content-type", "application/json;charset=\"utf-8\"")], Some(Media::Json));
        check(&[("content-type", "application/x-ndjson")], Some(Media::Lines));
        check(&[("content-type", "application/ndjson; charset=utf-8")], Some(Media::Lines));
        check(&[("content-type", "application/jsonl")], Some(Media::Lines));
        check(&[("content-type", "application/json; charset=latin1")], None);
        check(&[("content-type", "application/x-ndjson; charset=latin1")], None);
        check(&[("content-type", "application/json, text/plain")], None);
        check(&[("content-type", "application/json"), ("content-type", "application/json")], None);
        check(&[("content-type", "application/jsonp")], None);
        check(&[("content-type", "text/plain")], None);
        check(&[("content-type", "")], None);
        check(&[], None);
    }

    #[test]
    fn codings_of_bodies() {
        #[track_caller]
        fn check(values: &[&str], expected: Option<Coding>) {
            let fields: Vec<_> = values.iter().map(|value| ("content-encoding", *value)).collect();
            match (coding(&headers(&fields)), expected) {
                (Ok(coding), Some(expected)) => assert_eq!(coding, expected, "{values:?}"),
                (Err(problem), None) => {
                    let reply = problem.into_reply();
                    assert_eq!(
                        (reply.status().as_u16(), &reply.headers()["accept-encoding"]),
                        (415, &HeaderValue::from_static("gzip, zstd, identity"))
                    );
                }
                (coding, expected) => panic!("{values:?}: {coding:?} and not {expected:?}"),
            }
        }
        check(&[], Some(Coding::Identity));
        check(&["identity"], Some(Coding::Identity));
        check(&["gzip"], Some(Coding::Gzip));
        check(&["GZIP"], Some(Coding::Gzip));
        check(&["x-gzip"], Some(Coding::Gzip));
        check(&["zstd"], Some(Coding::Zstd));
        check(&["gzip, identity"], None);
        check(&["gzip", "gzip"], None);
        check(&["br"], None);
        check(&["deflate"], None);
        check(&[""], None);
    }

    #[test]
    fn a_short_body_is_plain_json() {
        let json = ("content-type", "application/json");
        assert!(check_plain_json(&headers(&[json])).is_ok());
        assert!(check_plain_json(&headers(&[json, ("content-encoding", "identity")])).is_ok());
        for fields in [&[json, ("content-encoding", "gzip")][..], &[("content-type", "application/x-ndjson")], &[]] {
            let refused = check_plain_json(&headers(fields)).err().unwrap();
            assert_eq!(refused.into_reply().status(), 415, "{fields:?}");
        }
    }

    #[test]
    fn how_long_its_sender_waits() {
        #[track_caller]
        fn check(values: &[&str], expected: Option<u64>) {
            let fields: Vec<_> = values.iter().map(|value| ("prefer", *value)).collect();
            assert_eq!(wait(&headers(&fields)), expected.map(Duration::from_secs), "{values:?}");
        }
        check(&[], None);
        check(&["wait=5"], Some(5));
        check(&["Wait = 5"], Some(5));
        check(&["wait=\"5\""], Some(5));
        check(&["respond-async, wait=10"], Some(10));
        check(&["respond-async", "wait=10"], Some(10));
        check(&["wait=10; x=y, handling=lenient"], Some(10));
        check(&["wait=3600"], Some(30));
        check(&["wait=0"], None);
        check(&["wait"], None);
        check(&["wait=soon"], None);
        check(&["wait=-1"], None);
        check(&["await=5"], None);
    }

    #[test]
    fn a_trace_is_one_valid_field() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("traceparent", *value)).collect();
            trace(&headers(&fields)).map(|trace| trace.to_string())
        };
        assert_eq!(read(&[given]).as_deref(), Some(given));
        assert_eq!((read(&[]), read(&[given, given]), read(&["00-1-2-3"])), (None, None, None));
    }

    #[test]
    fn idempotency_keys() {
        #[track_caller]
        fn check_key(values: &[&str], expected: Result<Option<&str>, ()>) {
            let fields: Vec<_> = values.iter().map(|value| ("idempotency-key", *value)).collect();
            let key = idempotency_key(&headers(&fields));
            assert_eq!(key.map_err(drop), expected.map(|key| key.map(str::to_owned)), "{values:?}");
        }
        check_key(&[], Ok(None));
        check_key(&["order-1"], Ok(Some("order-1")));
        check_key(&["\"order-1\""], Ok(Some("order-1")));
        check_key(&[r#""a\"b\\c""#], Ok(Some(r#"a"b\c"#)));
        check_key(&["\"a\\b\""], Err(()));
        check_key(&["\"open"], Err(()));
        check_key(&["\"a\" b"], Err(()));
        check_key(&["\"a\";p=1"], Err(()));
        check_key(&["a b"], Err(()));
        check_key(&["\"a b\""], Err(()));
        check_key(&[""], Err(()));
        check_key(&["\"\""], Err(()));
        check_key(&["a", "a"], Err(()));
        check_key(&["ключ"], Err(()));
        let longest = "k".repeat(IDEMPOTENCY_KEY_CHARS_MAX);
        check_key(&[&longest], Ok(Some(&longest)));
        check_key(&[&format!("\"{longest}\"")], Ok(Some(&longest)));
        check_key(&[&format!("{longest}k")], Err(()));
    }
}
