//! A destination's answer, as predicates and captures see it.

use bytes::Bytes;

use crate::conversion::Json;

/// A destination's answer, body read through a limit.
#[derive(Debug, Clone)]
pub struct Answer {
    status: http::StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
    json: Option<Json>,
}

impl Answer {
    /// Parses the body as JSON once, if it is JSON; a body may as well be XML, text or empty. What a platform writes is taken as
    /// it is meant ([`Json::parse_answer`]): whoever misread it would call a sale that was taken rejected.
    pub fn new(status: http::StatusCode, headers: http::HeaderMap, body: Bytes) -> Answer {
        let json = Json::parse_answer(&body).ok();
        Answer { status, headers, body, json }
    }

    /// The status code.
    pub fn status(&self) -> http::StatusCode {
        self.status
    }

    /// The header fields.
    pub fn headers(&self) -> &http::HeaderMap {
        &self.headers
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as JSON, if it is that.
    pub(super) fn json(&self) -> Option<&Json> {
        self.json.as_ref()
    }
}
