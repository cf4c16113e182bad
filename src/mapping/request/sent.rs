//! The request as it is sent.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

/// The exact request.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The method.
    pub method: http::Method,
    /// Absolute, percent-encoded.
    pub url: String,
    /// Those of the operation's own.
    pub headers: Headers,
    /// Empty when there is none.
    pub body: Vec<u8>,
}

/// The headers of a request: constant ones go first, then computed ones, each in the order of the file, that
/// of `auth` before them; a signature stands last.
#[derive(Debug, Clone, PartialEq)]
pub struct Headers {
    /// The same for every conversion.
    pub(super) fixed: Arc<[(HeaderName, HeaderValue)]>,
    /// Of this conversion's values, or signed.
    pub(super) computed: Vec<(HeaderName, HeaderValue)>,
}

impl From<Vec<(HeaderName, HeaderValue)>> for Headers {
    fn from(computed: Vec<(HeaderName, HeaderValue)>) -> Headers {
        Headers { fixed: Arc::new([]), computed }
    }
}

impl Headers {
    /// In the order in which they are sent.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.fixed.iter().chain(&self.computed)
    }

    /// Sets a computed header, in the place of the one of that name.
    pub(super) fn put(&mut self, name: HeaderName, value: HeaderValue) {
        self.computed.retain(|(own, _)| *own != name);
        self.computed.push((name, value));
    }
}

impl fmt::Debug for Request {
    /// Method, origin and sizes: credentials and personal data travel in all the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("origin", &origin)
            .field("headers", &self.headers.iter().count())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}
