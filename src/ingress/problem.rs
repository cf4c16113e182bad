//! Refusals as RFC 9457 problems: the one list of their names.
//!
//! A problem's `type` is stable: clients and alerts may match on it. `title` and `status` follow from it; `detail` is for
//! people. No part of a problem repeats a value that the client sent.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::conversion;
use crate::queue::ReadError;

use super::reply::Content;
pub(crate) use super::reply::Reply;

/// What is refused; each has one `type`, one status, one title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The request itself is no good HTTP: its host, its framing.
    BadRequest,
    /// A query parameter that is unknown or wrong.
    InvalidQuery,
    /// The body is no JSON.
    MalformedJson,
    /// The `Idempotency-Key` is no key.
    InvalidIdempotencyKey,
    /// No credentials, or none that are known.
    Unauthorized,
    /// It is not signed as the merchant's requests must be.
    InvalidSignature,
    /// Who sent it is known, or shows a certificate, and may not.
    Forbidden,
    /// Nothing is there, or nothing that this merchant may see.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// Right in itself, and not as things are now.
    Conflict,
    /// The body is longer than `server.body_max`.
    BodyTooLarge,
    /// The request target is longer than any of ours.
    UriTooLong,
    /// The body is of a type or coding that is not read here.
    UnsupportedMediaType,
    /// The body is JSON and no valid conversion.
    InvalidConversion,
    /// The batch holds no conversion, or none that is valid.
    InvalidBatch,
    /// The batch holds more conversions than one may.
    BatchTooLarge,
    /// The same key, another content.
    IdempotencyKeyReused,
    /// The configuration has faults, so the one before stays in force.
    ConfigurationRefused,
    /// One client address has as many requests in hand as it may.
    AddressLimit,
    /// The merchant's rate is used up.
    RateLimited,
    /// A transfer coding other than `chunked`.
    UnsupportedTransferCoding,
    /// The queue holds as much as it may.
    QueueFull,
    /// The disk holds as much as it may.
    DiskFull,
    /// More requests are being worked on than can be.
    Overloaded,
    /// The relay is draining, or storage can promise nothing any more.
    Unavailable,
    /// What is stored cannot be read just now.
    StorageUnreadable,
    /// A fault of ours.
    Internal,
}

impl Kind {
    pub(crate) const ALL: [Kind; 28] = [
        Kind::BadRequest,
        Kind::InvalidQuery,
        Kind::MalformedJson,
        Kind::InvalidIdempotencyKey,
        Kind::Unauthorized,
        Kind::InvalidSignature,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::RequestTimeout,
        Kind::Conflict,
        Kind::BodyTooLarge,
        Kind::UriTooLong,
        Kind::UnsupportedMediaType,
        Kind::InvalidConversion,
        Kind::InvalidBatch,
        Kind::BatchTooLarge,
        Kind::IdempotencyKeyReused,
        Kind::ConfigurationRefused,
        Kind::AddressLimit,
        Kind::RateLimited,
        Kind::UnsupportedTransferCoding,
        Kind::QueueFull,
        Kind::DiskFull,
        Kind::Overloaded,
        Kind::Unavailable,
        Kind::StorageUnreadable,
        Kind::Internal,
    ];

    pub(crate) const fn status(self) -> StatusCode {
        self.row().0
    }

    pub(crate) const fn title(self) -> &'static str {
        self.row().2
    }

    /// The last part of the `type` URI; also the `reason` of `capi_relay_refused_total`.
    pub(crate) const fn name(self) -> &'static str {
        self.row().1
    }

    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Kind::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", "The request is malformed"),
            Kind::InvalidQuery => (StatusCode::BAD_REQUEST, "invalid-query", "A query parameter is wrong"),
            Kind::MalformedJson => (StatusCode::BAD_REQUEST, "malformed-json", "The body is not JSON"),
            Kind::InvalidIdempotencyKey => {
                (StatusCode::BAD_REQUEST, "invalid-idempotency-key", "The Idempotency-Key is not valid")
            }
            Kind::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid bearer token is required"),
            Kind::InvalidSignature => (StatusCode::UNAUTHORIZED, "invalid-signature", "A valid signature is required"),
            Kind::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "These credentials do not open this"),
            Kind::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Kind::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here")
            }
            Kind::RequestTimeout => {
                (StatusCode::REQUEST_TIMEOUT, "request-timeout", "The request did not arrive in time")
            }
            Kind::Conflict => (StatusCode::CONFLICT, "conflict", "That cannot be done as things are now"),
            Kind::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Kind::UriTooLong => (StatusCode::URI_TOO_LONG, "uri-too-long", "The request target is too long"),
            Kind::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body's type is not read here")
            }
            Kind::InvalidConversion => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-conversion", "The body is no valid conversion")
            }
            Kind::InvalidBatch => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid-batch", "Nothing of the batch was accepted")
            }
            Kind::BatchTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "batch-too-large", "The batch holds too many conversions")
            }
            Kind::IdempotencyKeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The key already stands for another conversion",
            ),
            Kind::ConfigurationRefused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "configuration-refused",
                "The configuration is refused, the one before stays in force",
            ),
            Kind::AddressLimit => {
                (StatusCode::TOO_MANY_REQUESTS, "address-limit", "Too many requests at once from one address")
            }
            Kind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "The merchant's rate is used up"),
            Kind::UnsupportedTransferCoding => {
                (StatusCode::NOT_IMPLEMENTED, "unsupported-transfer-coding", "The transfer coding is not implemented")
            }
            Kind::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "queue-full", "The queue is full"),
            Kind::DiskFull => (StatusCode::SERVICE_UNAVAILABLE, "disk-full", "The disk is nearly full"),
            Kind::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many requests at once"),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The relay takes nothing just now"),
            Kind::StorageUnreadable => {
                (StatusCode::SERVICE_UNAVAILABLE, "storage-unreadable", "Storage cannot be read just now")
            }
            Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of the relay"),
        }
    }
}

/// One refusal, on its way to become an answer.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    errors: Vec<conversion::Problem>,
    headers: Vec<(HeaderName, HeaderValue)>,
    wait: Option<Duration>,
    ends_connection: bool,
    is_of_a_broken_off_body: bool,
    is_under_way: bool,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
            wait: None,
            ends_connection: false,
            is_of_a_broken_off_body: false,
            is_under_way: false,
        }
    }

    /// What was asked for is being done, and takes too long to be waited for.
    pub(crate) fn under_way(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { is_under_way: true, ..Problem::new(Kind::Unavailable, detail) }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// The body did not come to its end.
    pub(crate) fn body_broken_off() -> Problem {
        let problem = Problem::new(Kind::BadRequest, "the body broke off");
        Problem { is_of_a_broken_off_body: true, ..problem }
    }

    pub(crate) fn is_of_a_broken_off_body(&self) -> bool {
        self.is_of_a_broken_off_body
    }

    /// Of what was asked for by its name.
    pub(crate) fn not_found() -> Problem {
        Problem::new(Kind::NotFound, "nothing is known under this name or id, or not to these credentials")
    }

    /// What came by this connection cannot be right any more, whatever is asked.
    pub(crate) fn ending_connection(self) -> Problem {
        Problem { ends_connection: true, ..self }
    }

    pub(crate) fn ends_connection(&self) -> bool {
        self.ends_connection
    }

    /// `allow`: the methods that the path has.
    pub(crate) fn method_not_allowed(allow: &'static str) -> Problem {
        Problem::new(Kind::MethodNotAllowed, format!("allowed: {allow}"))
            .with(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// Every problem of the body, each with its JSON Pointer.
    pub(crate) fn listing(mut self, errors: Vec<conversion::Problem>) -> Problem {
        self.errors = errors;
        self
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// `Retry-After` in whole seconds, rounded up, at least one.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Problem {
        self.wait = Some(wait);
        self.with(header::RETRY_AFTER, seconds(wait))
    }

    /// After which time the same may be sent again, if it may.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What is shown of it.
    pub(crate) fn document(&self) -> Document<'_> {
        let (status, name, title) = self.kind.row();
        let errors = self.errors.iter().map(|error| Fault { pointer: &error.pointer, detail: &error.detail });
        Document { kind: Urn(name), title, status: status.as_u16(), detail: &self.detail, errors: errors.collect() }
    }

    pub(crate) fn into_reply(self) -> Reply {
        self.into_reply_with(())
    }

    /// With further members (RFC 9457 §3.2).
    pub(crate) fn into_reply_with(self, extension: impl Serialize) -> Reply {
        let (status, ..) = self.kind.row();
        let document = Extended { document: self.document(), extension };
        let mut reply = body(status, "application/problem+json", serde_json::to_vec(&document).unwrap_or_default());
        for (name, value) in self.headers {
            reply.headers_mut().append(name, value);
        }
        reply
    }
}

/// What the queue cannot tell: a fault of the asker's only where it gave a cursor that no page gave.
pub(crate) fn unreadable(error: &ReadError) -> Problem {
    match error {
        ReadError::Mark => Problem::new(Kind::InvalidQuery, "after: not the `next` of a page"),
        ReadError::Closed(_) => {
            Problem::new(Kind::Unavailable, "the queue is closed").retry_after(UNREADABLE_RETRY_AFTER)
        }
        ReadError::Store(_) => {
            tracing::error!(%error, "the queue cannot be read");
            Problem::new(Kind::StorageUnreadable, "the queue cannot be read").retry_after(UNREADABLE_RETRY_AFTER)
        }
    }
}

/// An answer with a JSON body.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(bytes) => body(status, "application/json", bytes),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            Problem::new(Kind::Internal, "the answer could not be written").into_reply()
        }
    }
}

/// An answer that no cache keeps: every one of ours speaks of a moment, most to one merchant.
pub(crate) fn body(status: StatusCode, content_type: &'static str, bytes: Vec<u8>) -> Reply {
    let mut reply = Response::new(Content::Whole(Bytes::from(bytes)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A platform's words stand in some: no browser is to take them for a page.
    reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// Rounded up: who waits so long has waited long enough.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// As the value of `Retry-After`: rounded up, at least one.
pub(crate) fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(whole_seconds(wait).max(1))
}

#[derive(Serialize)]
struct Extended<'a, E> {
    #[serde(flatten)]
    document: Document<'a>,
    #[serde(flatten)]
    extension: E,
}

/// The members of RFC 9457 §3.1, and `errors`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Document<'a> {
    #[serde(rename = "type")]
    #[schemars(schema_with = "urns")]
    kind: Urn,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct Fault<'a> {
    /// JSON Pointer (RFC 6901) into the conversion.
    pointer: &'a str,
    detail: &'a str,
}

/// The `type` of a problem of that name.
pub(crate) struct Urn(pub(crate) &'static str);

impl fmt::Display for Urn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "urn:capi-relay:problem:{}", self.0)
    }
}

impl Serialize for Urn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn urns(_: &mut SchemaGenerator) -> Schema {
    let urns: Vec<String> = Kind::ALL.into_iter().map(|kind| Urn(kind.name()).to_string()).collect();
    json_schema!({ "type": "string", "enum": urns })
}

/// Whoever asks for a status asks again anyway.
const UNREADABLE_RETRY_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn text(reply: Reply) -> String {
        #[expect(clippy::disallowed_methods, reason = "the body is our own, in memory")]
        let bytes = reply.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_names_its_type_title_status_and_every_fault() {
        let faults = vec![
            conversion::Problem { pointer: "/value".into(), detail: "a decimal number".into() },
            conversion::Problem { pointer: "/items/0/sku".into(), detail: "at most 128 characters".into() },
        ];
        let reply = Problem::new(Kind::InvalidConversion, "2 problems").listing(faults).into_reply();
        assert_eq!(reply.status(), 422);
        assert_eq!(reply.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            text(reply).await,
            r#"{"type":"urn:capi-relay:problem:invalid-conversion","title":"The body is no valid conversion","status":422,"detail":"2 problems","errors":[{"pointer":"/value","detail":"a decimal number"},{"pointer":"/items/0/sku","detail":"at most 128 characters"}]}"#
        );
    }

    #[tokio::test]
    async fn a_problem_without_faults_has_no_errors_member() {
        let reply = Problem::method_not_allowed("GET, HEAD").into_reply();
        assert_eq!(reply.headers()[header::ALLOW], "GET, HEAD");
        assert!(!text(reply).await.contains("errors"));
    }

    #[test]
    fn every_kind_is_listed_with_a_name_of_its_own() {
        let mut names: Vec<_> = Kind::ALL.into_iter().map(Kind::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        #[expect(clippy::as_conversions, reason = "the last one's number says how many there are")]
        let count = Kind::Internal as usize + 1;
        assert_eq!(count, Kind::ALL.len());
    }

    #[test]
    fn waits_are_rounded_up_and_never_zero() {
        #[track_caller]
        fn check(wait: Duration, expected: &str) {
            let reply = Problem::new(Kind::RateLimited, "").retry_after(wait).into_reply();
            assert_eq!(reply.headers()[header::RETRY_AFTER], expected);
        }
        check(Duration::ZERO, "1");
        check(Duration::from_millis(1), "1");
        check(Duration::from_millis(1_001), "2");
        check(Duration::from_secs(30), "30");
    }
}
