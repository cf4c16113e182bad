//! Heads that are none, too large, or say one thing twice; targets that mean another resource to somebody else.

use super::{CLOSE, Case, TOKEN, conversion, good, head, post};

pub(super) fn cases() -> Vec<Case> {
    [sizes(), first_lines(), fields(), targets(), protocols()].into_iter().flatten().collect()
}

/// The same request with another first line.
fn asking(name: &str, line: &str, allowed: &'static [u16]) -> Case {
    let text = String::from_utf8(good(name)).unwrap();
    Case::new(name, text.replacen("POST /v1/conversions HTTP/1.1", line, 1), allowed)
}

/// The same request with further fields.
fn with(name: &str, fields: &str, allowed: &'static [u16]) -> Case {
    Case::new(name, post(&format!("{fields}\r\n"), conversion(name).as_bytes()), allowed)
}

fn sizes() -> Vec<Case> {
    let many = |count: usize| (0..count).map(|number| format!("x-{number}: y\r\n")).collect::<String>();
    let long = |bytes: usize| "y".repeat(bytes);
    let line = |path: &str| format!("POST {path} HTTP/1.1");
    let large: &[u16] = &[431];
    vec![
        with("twice as many fields as may be", &many(128), large),
        with("a hundred thousand fields", &many(100_000), large),
        with("the same field ten thousand times", &"cookie: a=b\r\n".repeat(10_000), large),
        with("a long value", &format!("x: {}", long(17 * 1024)), large),
        with("a value of 4 MiB", &format!("x: {}", long(4 << 20)), large),
        with("a long name", &format!("{}: x", long(17 * 1024)), large),
        with("many fields that are long together", &format!("x: {}\r\n", long(1024)).repeat(20), large),
        with("a long token", &format!("authorization: Bearer {}", long(15 * 1024)), &[400, 401, 431]),
        asking("a long path", &line(&format!("/{}", long(5000))), &[414]),
        asking("a long query", &line(&format!("/v1/conversions?{}", long(5000))), &[414]),
        asking("a path of 60 KiB", &line(&format!("/{}", long(60 * 1024))), &[414, 431]),
        asking("a path of 4 MiB", &line(&format!("/{}", long(4 << 20))), &[414, 431]),
        asking("a long method", &format!("{} /v1/conversions HTTP/1.1", long(20_000)), &[400, 405, 431]),
        Case::new("a line that does not end", long(1 << 20), &[400, 414, 431]),
        Case::new("empty lines before a request", "\r\n".repeat(100).into_bytes(), &[400, CLOSE]),
        Case::new("4 MiB of empty lines", "\r\n".repeat(2 << 20).into_bytes(), &[400, 431, CLOSE]),
        Case::new("4 MiB of spaces", " ".repeat(4 << 20), &[400, 431]),
    ]
}

fn first_lines() -> Vec<Case> {
    let bad: &[u16] = &[400];
    vec![
        asking("an unknown method", "BREW /v1/conversions HTTP/1.1", &[405]),
        asking("a method in small letters", "post /v1/conversions HTTP/1.1", &[405]),
        asking("a method that is no token", "PO@ST /v1/conversions HTTP/1.1", bad),
        asking("a method beyond ASCII", "P\u{d6}ST /v1/conversions HTTP/1.1", bad),
        asking("no method", " /v1/conversions HTTP/1.1", bad),
        asking("TRACE", "TRACE /v1/conversions HTTP/1.1", &[405]),
        asking("CONNECT", "CONNECT relay:443 HTTP/1.1", &[405]),
        asking("OPTIONS of everything", "OPTIONS * HTTP/1.1", &[404, 405]),
        asking("two spaces", "POST  /v1/conversions HTTP/1.1", bad),
        asking("tabs for spaces", "POST\t/v1/conversions\tHTTP/1.1", bad),
        asking("more behind the version", "POST /v1/conversions HTTP/1.1 x", bad),
        asking("HTTP/0.9", "POST /v1/conversions", bad),
        Case::new("HTTP/0.9 alone", "GET /v1/conversions\r\n", bad),
        asking("HTTP/1.2", "POST /v1/conversions HTTP/1.2", &[400, 505]),
        asking("HTTP/3.0", "POST /v1/conversions HTTP/3.0", &[400, 505]),
        asking("HTTP/1.10", "POST /v1/conversions HTTP/1.10", &[400, 505]),
        asking("a version in small letters", "POST /v1/conversions http/1.1", bad),
        asking("no HTTP", "POST /v1/conversions RTSP/1.0", bad),
        Case::new("NUL before a request", [b"\0", good("nul").as_slice()].concat(), bad),
        Case::new("a byte order mark before a request", [b"\xef\xbb\xbf", good("bom").as_slice()].concat(), bad),
        Case::new("NULs", vec![0; 100_000], bad),
        Case::new("0xff", vec![0xff; 100_000], bad),
    ]
}

fn fields() -> Vec<Case> {
    let without_host = |name: &str, hosts: &str| {
        let text = String::from_utf8(good(name)).unwrap();
        Case::new(name, text.replacen("host: a\r\n", hosts, 1), &[400])
    };
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    let twice = |name: &str, fields: &str, allowed| with(name, fields, allowed);
    let credentials = |name: &str, instead: &str| {
        let text = String::from_utf8(good(name)).unwrap();
        Case::new(name, text.replacen(&token, instead, 1), &[400, 401])
    };
    vec![
        without_host("no Host", ""),
        without_host("two Hosts", "host: a\r\nhost: a\r\n"),
        without_host("an empty Host", "host:\r\n"),
        without_host("a list of Hosts", "host: a, b\r\n"),
        without_host("a Host with a user", "host: user@a\r\n"),
        without_host("a Host with a path", "host: a/v1\r\n"),
        without_host("a Host beyond ports", "host: a:70000\r\n"),
        without_host("a Host beyond ASCII", "host: \u{e4}\r\n"),
        twice("two credentials", &format!("{token}x: y"), &[400, 401]),
        twice("two types", "content-type: text/plain", &[415]),
        twice("two keys", "idempotency-key: a\r\nidempotency-key: b", &[400]),
        with("a key with a control character", "idempotency-key: a\tb", &[400]),
        with("a key that is too long", &format!("idempotency-key: {}", "k".repeat(256)), &[400]),
        with("a key whose quotes do not end", "idempotency-key: \"k", &[400]),
        with("a trace that is none", "traceparent: 00-zz-\u{e9}-01", &[202]).accepting(1),
        with("a wait beyond numbers", "prefer: wait=99999999999999999999999", &[202]).accepting(1),
        with("a wait that is none", "prefer: wait=-1, wait=\"", &[202]).accepting(1),
        with("addresses that nobody trusts", "forwarded: for=\"[\r\nx-forwarded-for: ,,,::::,", &[202]).accepting(1),
        with("an unknown expectation", "expect: 200-ok", &[202, 417]).accepting(1),
        with("a range and conditions", "range: bytes=9-1\r\nif-match: \"\r\nif-modified-since: x", &[202]).accepting(1),
        credentials("no credentials", ""),
        credentials("credentials with NUL", "authorization: Bearer test\0token\r\n"),
        credentials("credentials beyond ASCII", "authorization: Bearer test-tok\u{e9}n\r\n"),
        credentials("credentials of another scheme", "authorization: Basic dGVzdA==\r\n"),
        credentials("credentials without a space", "authorization: Bearertest-token\r\n"),
        credentials("credentials with more", "authorization: Bearer test-token, test-token\r\n"),
        Case::new("a head alone, with a length", head("content-length: 10\r\n"), &[400]),
    ]
}

/// What a proxy or a file system would make of a path must not make it another one here.
fn targets() -> Vec<Case> {
    let no_such: &[u16] = &[404];
    let post = |name: &str, target: &str, allowed| asking(name, &format!("POST {target} HTTP/1.1"), allowed);
    let get = |name: &str, target: &str, allowed| asking(name, &format!("GET {target} HTTP/1.1"), allowed);
    vec![
        post("dots", "/v1/../v1/conversions", no_such),
        post("a dot", "/v1/./conversions", no_such),
        post("two slashes", "//v1/conversions", no_such),
        post("a slash at the end", "/v1/conversions/", no_such),
        post("a parameter", "/v1/conversions;x=y", no_such),
        post("an encoded slash", "/v1%2Fconversions", no_such),
        post("an encoded letter", "/v1/conversion%73", no_such),
        post("an encoded NUL", "/v1/conversions%00", no_such),
        post("capitals", "/V1/CONVERSIONS", no_such),
        post("a backslash", "/v1\\conversions", &[400, 404]),
        post("no slash", "v1/conversions", &[400, 404]),
        post("a raw NUL", "/v1/conversions\0", &[400]),
        post("beyond ASCII", "/v1/conversions\u{e9}", &[400, 404]),
        post("the admin listener's", "/admin/dead/replay", no_such),
        get("the metrics", "/metrics", no_such),
        get("the metrics behind dots", "/v1/orders/../../metrics", no_such),
        get("an order of dots", "/v1/orders/..", no_such),
        get("an order of encoded dots", "/v1/orders/%2e%2e%2f%2e%2e%2fetc%2fpasswd", no_such),
        get("an order with NUL", "/v1/orders/%00", no_such),
        get("an order in overlong UTF-8", "/v1/orders/%c0%af", &[400]),
        get("an order of a surrogate", "/v1/orders/%ed%a0%80", &[400]),
        get("an order that is half encoded", "/v1/orders/%", no_such),
        get("an order that is not encoded", "/v1/orders/%zz%1", no_such),
        get("an order encoded twice", "/v1/orders/%252e%252e", no_such),
        get("a long order", &format!("/v1/orders/{}", "%41".repeat(600)), no_such),
        get("an id of dots", "/v1/conversions/..%2f..", no_such),
        get("an id with NUL", "/v1/conversions/%00", no_such),
        get("an id of other letters", "/v1/conversions/019370a0-0000-7000-8000-00000000000g", no_such),
        post("another host's, whole", "http://b/v1/conversions", &[202]).accepting(1),
        post("a whole one with a user", "http://user:word@a/v1/conversions", &[400]),
        post("a whole one without a host", "http:///v1/conversions", &[400]),
        post("a whole one of another scheme", "file:///v1/conversions", &[400, 404]),
        post("a fragment", "/v1/conversions#x", &[202, 400, 404]).accepting(1),
    ]
}

fn protocols() -> Vec<Case> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let h2c = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA";
    let socket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==";
    let frames = [good("before h2c").as_slice(), preface, &good("behind h2c")].concat();
    vec![
        Case::new("the preface of HTTP/2", preface, &[400, 505, CLOSE]),
        Case::new("the preface of HTTP/2 behind a request", frames, &[202]).accepting(1),
        with("an upgrade to h2c", h2c, &[202]).accepting(1),
        with("an upgrade to a socket", socket, &[202]).accepting(1),
        Case::new("TLS", hello, &[400, CLOSE]),
        Case::new("a PROXY header", [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", good("v1").as_slice()].concat(), &[400]),
        Case::new(
            "a PROXY header, version 2",
            [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02", good("v2").as_slice()]
                .concat(),
            &[400],
        ),
        Case::new("an answer", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", &[400]),
        Case::new("nothing", "", &[CLOSE]),
    ]
}
