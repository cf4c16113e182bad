//! `GET /`: the status page, for whoever is on call at three in the morning.
//!
//! It is compiled in, loads nothing from elsewhere, and holds no data: its script asks this listener for all of it, with the
//! token that a person gives it. The browser is told to run nothing but these very files, and never to take a text for HTML,
//! whatever a conversion or a platform's answer says.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::Admin;
use crate::ingress::problem::{Problem, Reply};
use crate::ingress::reply::Content;
use crate::ingress::strict;

impl Admin {
    /// The answer where the page, or what it listens to, is asked for.
    pub(super) async fn shown(&self, request: &Request<&mut Incoming>) -> Option<Result<Reply, Problem>> {
        let path = request.uri().path();
        let file = at(path);
        if file.is_none() && path != OVERVIEW && path != EVENTS {
            return None;
        }
        if !matches!(request.method(), &Method::GET | &Method::HEAD) {
            return Some(Err(Problem::method_not_allowed("GET, HEAD")));
        }
        let is_open = file.is_some() && self.has_token();
        let holder = match if is_open { Ok(None) } else { self.authorize(request) } {
            Ok(holder) => holder,
            Err(problem) => return Some(Err(problem)),
        };
        Some(match file {
            Some(file) => Ok(file),
            None if path == OVERVIEW => Ok(self.overview().await),
            // Of a page elsewhere that cannot read it, but could take the places of those who can.
            None => strict::check_origin(request).and_then(|()| self.events.join(holder)),
        })
    }

    /// Whether who asks must show a token.
    fn has_token(&self) -> bool {
        !self.ingress.config().server.admin_token_sha256.is_empty()
    }
}

/// The file at this path of the admin listener, if the page has one there.
pub(super) fn at(path: &str) -> Option<Reply> {
    let (_, content_type, text) = FILES.into_iter().find(|(known, ..)| *known == path)?;
    let mut reply = Response::new(Content::Whole(Bytes::from_static(text.as_bytes())));
    *reply.status_mut() = StatusCode::OK;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in GUARDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(reply)
}

/// Paths of the page's files, their types, and what is in them.
pub(super) const FILES: [(&str, &str, &str); 13] = [
    ("/", "text/html; charset=utf-8", include_str!("page/page.html")),
    ("/page/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/page/page.js", SCRIPT, include_str!("page/page.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/words.js", SCRIPT, include_str!("page/words.js")),
    ("/page/relay.js", SCRIPT, include_str!("page/relay.js")),
    ("/page/tiles.js", SCRIPT, include_str!("page/tiles.js")),
    ("/page/sparkline.js", SCRIPT, include_str!("page/sparkline.js")),
    ("/page/dead.js", SCRIPT, include_str!("page/dead.js")),
    ("/page/plan.js", SCRIPT, include_str!("page/plan.js")),
    ("/page/audit.js", SCRIPT, include_str!("page/audit.js")),
    ("/page/lookup.js", SCRIPT, include_str!("page/lookup.js")),
];

const OVERVIEW: &str = "/admin/overview";
const EVENTS: &str = "/admin/events";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// No inline script or style, nothing from or to another origin, in nobody's frame; and with trusted types required and none
/// allowed, an assignment of a text as HTML is an error.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const GUARDS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_carries_the_policy_and_is_what_it_says() {
        for (path, content_type, _) in FILES {
            let reply = at(path).unwrap();
            let header = |name: &str| reply.headers()[name].to_str().unwrap();
            assert_eq!(header("content-type"), content_type, "{path}");
            assert_eq!(header("content-security-policy"), POLICY, "{path}");
            assert_eq!(
                ["x-content-type-options", "referrer-policy", "cache-control"].map(header),
                ["nosniff", "no-referrer", "no-store"],
                "{path}"
            );
        }
        assert!(at("/page/").is_none() && at("/page/page.html").is_none());
        for refused in ["unsafe-inline", "unsafe-eval", "data:", "http", "*"] {
            assert!(!POLICY.contains(refused), "{refused}");
        }
    }

    #[test]
    fn nothing_in_the_page_is_inline_or_from_elsewhere_or_makes_html_of_text() {
        for (path, _, text) in FILES {
            for refused in
                ["javascript:", "https://", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("]
            {
                assert!(!text.contains(refused), "{path}: {refused}");
            }
        }
        let html = FILES[0].2;
        for refused in [" style=", "<style", " onclick", " onload", " onsubmit", " onchange"] {
            assert!(!html.contains(refused), "{refused}");
        }
        for (path, content_type, _) in &FILES[1..4] {
            assert!(html.contains(&format!("\"{path}\"")), "{path} ({content_type}) is not asked for");
        }
        for (path, ..) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT).skip(1) {
            let name = path.strip_prefix("/page/").unwrap();
            let imports = FILES.iter().any(|(_, _, text)| text.contains(&format!("from \"./{name}\"")));
            assert!(imports, "{path} is imported by nobody");
        }
        assert_eq!(html.matches("<script").count(), 1, "one, and it names its file");
    }
}
