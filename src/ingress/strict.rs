//! What hyper lets through and we do not: hosts, transfer codings, CONNECT, endless targets.
//!
//! Pure functions over a request's head. Framing itself (lengths, chunks, header syntax) is hyper's: it answers 400 and
//! closes. A request with both `Content-Length` and `Transfer-Encoding` reaches us without the former: hyper reads it by
//! its chunks and closes the connection behind it, as RFC 9112 §6.1 asks, so nothing can be smuggled after it. What is
//! refused here ends an HTTP/1 connection likewise.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Version};

use super::problem::{Kind, Problem};

/// Fetch Metadata: how the page that makes a browser send this stands to us. `none`: no page does.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The longest of our own targets names an order, whose id is 256 characters: percent-encoded, 3,072 bytes of the longest ones.
const TARGET_BYTES_MAX: usize = 4096;

/// Refuses what no resource of ours takes, before anything is looked up.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(Problem::method_not_allowed("GET, HEAD, POST"));
    }
    if request.uri().path_and_query().map_or(0, |target| target.as_str().len()) > TARGET_BYTES_MAX {
        let detail = format!("at most {TARGET_BYTES_MAX} bytes of path and query");
        return Err(Problem::new(Kind::UriTooLong, detail));
    }
    check_transfer_coding(request.headers())?;
    check_host(request)
}

/// Only one coding is implemented, and only alone.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    match one(headers, &header::TRANSFER_ENCODING) {
        Field::Absent => Ok(()),
        Field::One(value) if value.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        Field::One(_) | Field::Several => {
            Err(Problem::new(Kind::UnsupportedTransferCoding, "the only transfer coding is chunked"))
        }
    }
}

/// RFC 9112 §3.2 and RFC 9113 §8.3.1: one host, well formed, the same everywhere it is named; but HTTP/1 has a whole target
/// win over its Host.
fn check_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let target = request.uri().authority();
    let named = match one(request.headers(), &header::HOST) {
        Field::Several => return Err(Problem::new(Kind::BadRequest, "more than one Host")),
        Field::One(value) => Some(host(value).ok_or_else(|| Problem::new(Kind::BadRequest, "the Host is malformed"))?),
        Field::Absent => None,
    };
    match (request.version(), named, target) {
        (Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11, _, Some(authority)) if !well_formed(authority) => {
            Err(Problem::new(Kind::BadRequest, "the target's authority is malformed"))
        }
        // HTTP/1.0 knew no Host: plain health checks still speak it.
        (Version::HTTP_09 | Version::HTTP_10, ..) | (Version::HTTP_11, Some(_), _) => Ok(()),
        (_, Some(host), Some(authority)) if host != *authority => {
            Err(Problem::new(Kind::BadRequest, "Host and :authority differ"))
        }
        (Version::HTTP_11, None, _) | (_, None, None) => Err(Problem::new(Kind::BadRequest, "the Host is missing")),
        (_, _, Some(authority)) if !well_formed(authority) => {
            Err(Problem::new(Kind::BadRequest, "the :authority is malformed"))
        }
        (_, Some(_), _) | (_, _, Some(_)) => Ok(()),
    }
}

/// Whether the request came by the name or an address of this machine.
pub(crate) fn names_loopback<B>(request: &Request<B>) -> bool {
    let by_header = request.headers().get(header::HOST).and_then(host);
    let Some(authority) = by_header.or_else(|| request.uri().authority().cloned()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Refuses what another site's page makes a browser send: it says so itself (`Sec-Fetch-Site`), or names the page's origin,
/// which is not our host. What is no browser says neither.
pub(crate) fn check_origin<B>(request: &Request<B>) -> Result<(), Problem> {
    let refused = || Problem::new(Kind::BadRequest, "the Origin is another site");
    match one(request.headers(), &SEC_FETCH_SITE) {
        Field::Absent => {}
        Field::One(site) if ["same-origin", "none"].iter().any(|ours| site == ours) => {}
        Field::One(_) | Field::Several => return Err(refused()),
    }
    let origin = match one(request.headers(), &header::ORIGIN) {
        Field::Absent => return Ok(()),
        Field::One(value) => value.to_str().ok(),
        Field::Several => None,
    };
    let site = origin.and_then(|origin| origin.split_once("://")).map(|(_scheme, site)| site);
    let ours = request.headers().get(header::HOST).and_then(host);
    match (site, ours) {
        (Some(site), Some(ours)) if site.eq_ignore_ascii_case(ours.as_str()) => Ok(()),
        _ => Err(refused()),
    }
}

fn host(value: &HeaderValue) -> Option<Authority> {
    let authority = Authority::try_from(value.as_bytes()).ok()?;
    well_formed(&authority).then_some(authority)
}

/// A host without user information, and after it nothing or a port.
fn well_formed(authority: &Authority) -> bool {
    let (text, host) = (authority.as_str(), authority.host());
    let rest = text.strip_prefix(host);
    !host.is_empty() && rest.is_some_and(|rest| matches!(rest, "" | ":") || authority.port_u16().is_some())
}

/// How often a field that may stand once stands.
pub(crate) enum Field<'a> {
    Absent,
    One(&'a HeaderValue),
    Several,
}

pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Field<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Field::Absent,
        (Some(value), None) => Field::One(value),
        (Some(_), Some(_)) => Field::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method("POST").version(version).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[track_caller]
    fn refusal(result: Result<(), Problem>) -> Option<(u16, &'static str)> {
        result.err().map(|problem| {
            let name = problem.kind().name();
            (problem.into_reply().status().as_u16(), name)
        })
    }

    #[test]
    fn only_this_machines_names_are_loopback() {
        let loopback = |host: &str| names_loopback(&Request::builder().header("host", host).body(()).unwrap());
        for host in ["localhost", "LocalHost:9090", "127.0.0.1:9090", "127.8.9.1", "[::1]:9090", "[::ffff:127.0.0.1]"] {
            assert!(loopback(host), "{host}");
        }
        for host in
            ["evil.example:9090", "127.0.0.1.evil.example", "10.0.0.1", "[2001:db8::1]", "localhost.evil.example"]
        {
            assert!(!loopback(host), "{host}");
        }
        assert!(!names_loopback(&Request::new(())));
    }

    #[test]
    fn what_another_sites_page_makes_a_browser_send_is_refused() {
        let sent = |fields: &[(&str, &str)]| {
            let fields = [&[("host", "localhost:9090")], fields].concat();
            check_origin(&request(Version::HTTP_11, "/admin/reload", &fields)).is_ok()
        };
        assert!(sent(&[]), "no browser");
        assert!(sent(&[("origin", "http://localhost:9090"), ("sec-fetch-site", "same-origin")]));
        assert!(sent(&[("sec-fetch-site", "none")]), "typed by a person");
        for site in ["cross-site", "same-site", "", "Same-Origin"] {
            assert!(!sent(&[("sec-fetch-site", site)]), "{site}");
            assert!(!sent(&[("origin", "http://localhost:9090"), ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!sent(&[("sec-fetch-site", "none"), ("sec-fetch-site", "none")]));
        for origin in ["http://localhost:3000", "https://evil.example", "null", "http://localhost:9090.evil.example"] {
            assert!(!sent(&[("origin", origin)]), "{origin}");
            assert!(!sent(&[("origin", origin), ("sec-fetch-site", "same-origin")]), "{origin}");
        }
    }

    #[test]
    fn hosts() {
        #[track_caller]
        fn check_host(version: Version, uri: &str, hosts: &[&str], expected: Option<(u16, &'static str)>) {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            assert_eq!(refusal(check(&request(version, uri, &fields))), expected, "{uri} {hosts:?}");
        }
        let bad = Some((400, "bad-request"));
        check_host(Version::HTTP_11, "/", &["relay.example"], None);
        check_host(Version::HTTP_11, "/", &["relay.example:8443"], None);
        check_host(Version::HTTP_11, "/", &["[::1]:8443"], None);
        check_host(Version::HTTP_11, "/", &["127.0.0.1"], None);
        check_host(Version::HTTP_11, "/", &[], bad);
        check_host(Version::HTTP_11, "/", &[""], bad);
        check_host(Version::HTTP_11, "/", &[":443"], bad);
        check_host(Version::HTTP_11, "/", &["a", "a"], bad);
        check_host(Version::HTTP_11, "/", &["a b"], bad);
        check_host(Version::HTTP_11, "/", &["a, b"], bad);
        check_host(Version::HTTP_11, "/", &["a/b"], bad);
        check_host(Version::HTTP_11, "/", &["user@relay.example"], bad);
        check_host(Version::HTTP_11, "/", &["relay.example:99999"], bad);
        check_host(Version::HTTP_11, "/", &["relay.example:x"], bad);
        check_host(Version::HTTP_11, "http://relay.example/", &["relay.example"], None);
        check_host(Version::HTTP_11, "http://other.example/", &["relay.example"], None);
        check_host(Version::HTTP_11, "http://user@relay.example/", &["relay.example"], bad);
        check_host(Version::HTTP_10, "http://user@relay.example/", &[], bad);
        check_host(Version::HTTP_10, "/", &[], None);
        check_host(Version::HTTP_10, "/", &["a b"], bad);
        check_host(Version::HTTP_2, "https://relay.example/", &[], None);
        check_host(Version::HTTP_2, "https://relay.example/", &["relay.example"], None);
        check_host(Version::HTTP_2, "https://relay.example/", &["other.example"], bad);
        check_host(Version::HTTP_2, "https://u@relay.example/", &[], bad);
        check_host(Version::HTTP_2, "/", &["relay.example"], None);
        check_host(Version::HTTP_2, "/", &[], bad);
    }

    #[test]
    fn transfer_codings() {
        #[track_caller]
        fn check_codings(codings: &[&str], expected: Option<(u16, &'static str)>) {
            let mut fields = vec![("host", "a")];
            fields.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            assert_eq!(refusal(check(&request(Version::HTTP_11, "/", &fields))), expected, "{codings:?}");
        }
        let refused = Some((501, "unsupported-transfer-coding"));
        check_codings(&[], None);
        check_codings(&["chunked"], None);
        check_codings(&["Chunked"], None);
        check_codings(&["gzip, chunked"], refused);
        check_codings(&["chunked, chunked"], refused);
        check_codings(&["chunked", "chunked"], refused);
        check_codings(&["identity"], refused);
    }

    #[test]
    fn targets_and_connect() {
        let fields = [("host", "a")];
        let fits = format!("/{}", "a".repeat(TARGET_BYTES_MAX - 1));
        assert_eq!(refusal(check(&request(Version::HTTP_11, &fits, &fields))), None);
        let long = format!("{fits}a");
        assert_eq!(refusal(check(&request(Version::HTTP_11, &long, &fields))), Some((414, "uri-too-long")));
        let query = format!("/?{fits}");
        assert_eq!(refusal(check(&request(Version::HTTP_11, &query, &fields))), Some((414, "uri-too-long")));
        let mut connect = request(Version::HTTP_11, "a:443", &fields);
        *connect.method_mut() = Method::CONNECT;
        assert_eq!(refusal(check(&connect)), Some((405, "method-not-allowed")));
    }
}
