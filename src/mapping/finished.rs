//! The finished request, as the text that is signed reads it.

use std::fmt;

/// Method, URL and body as they are sent, without the signature.
#[derive(Clone, Copy)]
pub(crate) struct Finished<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) body: &'a str,
}

/// What a text that is signed may name of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Method,
    /// Absolute.
    Url,
    /// Of the URL: from the `/` behind the host to the query.
    Path,
    /// Of the URL: what follows the `?`.
    Query,
    Body,
}

impl Part {
    pub(super) const ALL: [(&'static str, Part); 5] = [
        ("body", Part::Body),
        ("method", Part::Method),
        ("url", Part::Url),
        ("path", Part::Path),
        ("query", Part::Query),
    ];
}

impl<'a> Finished<'a> {
    /// It may be empty.
    pub(super) fn part(self, part: Part) -> &'a str {
        let (before_query, query) = self.url.split_once('?').unwrap_or((self.url, ""));
        match part {
            Part::Method => self.method,
            Part::Url => self.url,
            Part::Path => {
                let rest = before_query.split_once("://").map_or(before_query, |(_, rest)| rest);
                rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
            }
            Part::Query => query,
            Part::Body => self.body,
        }
    }
}

impl fmt::Debug for Finished<'_> {
    /// Nothing of it: credentials and personal data travel in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Finished")
    }
}
