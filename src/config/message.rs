//! A request as an HTTP message in a file: read, brought into a form that can be compared, and written so that people can
//! read what changed in review.
//!
//! ```text
//! # lines before the request line are comments
//! POST https://px.example.com/events
//!     ?account=12
//!     &mode=live
//! authorization: Bearer ***
//! content-type: application/json
//!
//! {
//!   "amount": 99.90
//! }
//! ```
//!
//! A line that begins with `### ` behind the request is the heading of another one, and ends it.
//!
//! The query may stand in the request line or on lines of its own; a form likewise, a pair a line; an HTTP version after
//! the URL is passed over. Pure.

use percent_encoding::percent_decode_str;

use crate::conversion::{Json, write_text};
use crate::mapping::Request;

/// A request in parts that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Lines before the request line, as they stand.
    pub(super) comments: Vec<String>,
    pub(super) method: String,
    /// Absolute, without its query.
    pub(super) url: String,
    /// Decoded, in order.
    pub(super) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Empty,
    Json(Json),
    /// Decoded, in order.
    Form(Vec<(String, String)>),
    Text(String),
}

/// Why a text is no HTTP message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct MessageError {
    /// From 1.
    pub line: usize,
    /// What would be right.
    pub reason: String,
}

impl Message {
    /// What a rendered request says.
    pub(super) fn of(request: &Request) -> Message {
        let (url, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let body = match (request.body.is_empty(), content(&headers)) {
            (true, _) => Body::Empty,
            (false, Some(Content::Form)) => Body::Form(pairs(&String::from_utf8_lossy(&request.body))),
            (false, Some(Content::Json | Content::Other) | None) => match Json::parse(&request.body) {
                Ok(json) => Body::Json(json),
                Err(_) => Body::Text(String::from_utf8_lossy(&request.body).into_owned()),
            },
        };
        let method = request.method.to_string();
        Message { comments: Vec::new(), method, url: url.to_owned(), query: pairs(query), headers, body }
    }

    /// Reads a file. A body whose `content-type` the file does not name is read as `like`'s is.
    pub(super) fn parse(text: &str, like: &Body) -> Result<Message, MessageError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let mut lines = first(&text).lines().zip(1_usize..).peekable();
        let mut comments = Vec::new();
        while let Some((line, _)) = lines.next_if(|(line, _)| line.starts_with('#') || line.trim().is_empty()) {
            comments.push(line.to_owned());
        }
        let (line, mut at) = lines.next().ok_or_else(|| wrong(1, REQUEST_LINE))?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(url)) = (words.next(), words.next()) else { return Err(wrong(at, REQUEST_LINE)) };
        let version = words.next().is_none_or(|version| version.starts_with("HTTP/")) && words.next().is_none();
        if !version || !url.contains("://") {
            return Err(wrong(at, REQUEST_LINE));
        }
        let mut target = url.to_owned();
        while let Some((line, number)) = lines.next_if(|(line, _)| continues(line)) {
            target.push_str(line.trim());
            at = number;
        }
        let mut headers = Vec::new();
        for (line, number) in lines.by_ref() {
            at = number;
            if line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| wrong(number, HEADER_LINE))?;
            let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) else {
                return Err(wrong(number, HEADER_LINE));
            };
            headers.push((name.as_str().to_owned(), value.trim().to_owned()));
        }
        let rest: Vec<&str> = lines.map(|(line, _)| line).collect();
        let blank = rest.iter().take_while(|line| line.trim().is_empty()).count();
        let body = body(rest.join("\n").trim(), at.saturating_add(blank), &headers, like)?;
        let (url, query) = target.split_once('?').unwrap_or((&target, ""));
        Ok(Message { comments, method: method.to_owned(), url: url.to_owned(), query: pairs(query), headers, body })
    }
}

/// The text up to the heading of a second request, as `render` prints one.
fn first(text: &str) -> &str {
    let (mut end, mut is_within) = (0_usize, false);
    for line in text.split_inclusive('\n') {
        if is_within && line.starts_with(HEADING) {
            break;
        }
        is_within |= !line.starts_with('#') && !line.trim().is_empty();
        end = end.saturating_add(line.len());
    }
    text.get(..end).unwrap_or(text)
}

/// A request as the file that it agrees with: JSON indented, a pair of a query or a form a line. `headers` are those to
/// write; `None`: all.
pub(super) fn written(request: &Request, comments: &[String], headers: Option<&[&str]>) -> String {
    let message = Message::of(request);
    let mut out = String::new();
    for comment in comments {
        out.push_str(&format!("{comment}\n"));
    }
    let (url, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
    out.push_str(&format!("{} {url}", message.method));
    match query.split('&').count() {
        _ if query.is_empty() => {}
        1 => out.push_str(&format!("?{query}")),
        _ => out.push_str(&format!("\n    ?{}", query.replace('&', "\n    &"))),
    }
    out.push('\n');
    for (name, value) in &message.headers {
        if headers.is_none_or(|named| named.contains(&name.as_str())) {
            out.push_str(&format!("{name}: {value}\n"));
        }
    }
    match &message.body {
        Body::Empty => {}
        Body::Json(json) => {
            let mut bytes = vec![b'\n'];
            indented(json, 0, &mut bytes);
            out.push_str(&String::from_utf8_lossy(&bytes));
            out.push('\n');
        }
        Body::Form(_) => {
            let body = String::from_utf8_lossy(&request.body);
            out.push_str(&format!("\n{}\n", body.replace('&', "\n&")));
        }
        Body::Text(text) => out.push_str(&format!("\n{}\n", text.trim())),
    }
    out
}

/// A line that goes on with the query.
fn continues(line: &str) -> bool {
    line.starts_with([' ', '\t']) && line.trim_start().starts_with(['?', '&'])
}

fn body(text: &str, head_lines: usize, headers: &[(String, String)], like: &Body) -> Result<Body, MessageError> {
    if text.is_empty() {
        return Ok(Body::Empty);
    }
    let content = content(headers).unwrap_or(match like {
        Body::Json(_) => Content::Json,
        Body::Form(_) => Content::Form,
        Body::Empty | Body::Text(_) => Content::Other,
    });
    match content {
        Content::Json => Json::parse(text.as_bytes())
            .map(Body::Json)
            .map_err(|error| wrong(head_lines.saturating_add(error.line), &format!("no JSON: {}", error.message))),
        Content::Form => Ok(Body::Form(pairs(&text.lines().map(str::trim).collect::<String>()))),
        Content::Other => Ok(Body::Text(text.to_owned())),
    }
}

enum Content {
    Json,
    Form,
    Other,
}

/// What the body is, by its header.
fn content(headers: &[(String, String)]) -> Option<Content> {
    let (_, value) = headers.iter().find(|(name, _)| name == "content-type")?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some(match essence.as_str() {
        "application/json" => Content::Json,
        "application/x-www-form-urlencoded" => Content::Form,
        other if other.ends_with("+json") => Content::Json,
        _ => Content::Other,
    })
}

/// `a=b&c=d`, decoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let decoded = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pair =
        |pair: &str| pair.split_once('=').map_or((decoded(pair), String::new()), |(a, b)| (decoded(a), decoded(b)));
    text.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// JSON as people write it: two spaces a level.
fn indented(json: &Json, level: usize, out: &mut Vec<u8>) {
    let (open, close, count) = match json {
        Json::Array(elements) => (b'[', b']', elements.len()),
        Json::Object(members) => (b'{', b'}', members.len()),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => return json.write(out),
    };
    if count == 0 {
        return json.write(out);
    }
    let line = |level: usize, out: &mut Vec<u8>| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', level.saturating_mul(2)));
    };
    let inner = level.saturating_add(1);
    out.push(open);
    let mut between = false;
    let mut next = |out: &mut Vec<u8>| {
        if std::mem::replace(&mut between, true) {
            out.push(b',');
        }
        line(inner, out);
    };
    if let Json::Array(elements) = json {
        for element in elements {
            next(out);
            indented(element, inner, out);
        }
    }
    if let Json::Object(members) = json {
        for (name, value) in members {
            next(out);
            write_text(name, out);
            out.extend_from_slice(b": ");
            indented(value, inner, out);
        }
    }
    line(level, out);
    out.push(close);
}

fn wrong(line: usize, reason: &str) -> MessageError {
    MessageError { line, reason: reason.to_owned() }
}

/// Before each of several requests.
const HEADING: &str = "### ";
const REQUEST_LINE: &str = "a request line is expected: `POST https://px.example.com/events`";
const HEADER_LINE: &str = "a header is expected, `content-type: application/json`; the body comes after an empty line";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIKE_JSON: Body = Body::Json(Json::Null);

    fn request(content_type: &str, body: &str) -> Request {
        Request {
            method: http::Method::POST,
            url: "https://px.example.com/e?a=1&b=x%20y".to_owned(),
            headers: vec![(http::header::CONTENT_TYPE, http::HeaderValue::from_str(content_type).unwrap())].into(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn a_heading_behind_a_request_ends_it() {
        let one = "### a: conversion\nPOST https://px.example.com/e\n\n{\"a\": \"### b\"}\n";
        let two = format!("{one}\n### a: the question\nGET https://px.example.com/q/{{captured.id}}\n");
        let read = |text: &str| Message::parse(text, &LIKE_JSON).unwrap();
        assert_eq!(read(&two), read(one));
        assert_eq!(read(&two.replace('\n', "\r\n")), read(one));
        assert!(Message::parse("### a\n### b\n", &LIKE_JSON).is_err());
    }

    #[test]
    fn what_is_written_of_a_request_is_read_as_that_request() {
        #[track_caller]
        fn check(content_type: &str, body: &str) {
            let request = request(content_type, body);
            let comments = ["# a golden".to_owned(), String::new()];
            let text = written(&request, &comments, None);
            let expected = Message { comments: comments.to_vec(), ..Message::of(&request) };
            assert_eq!(Message::parse(&text, &Body::Empty).unwrap(), expected, "{text}");
            let windows = text.replace('\n', "\r\n");
            assert_eq!(Message::parse(&windows, &Body::Empty).unwrap(), expected, "{windows}");
        }
        check("application/json", r#"{"a":1.50,"b":{"c":[true,"x\ny",{}]},"d":[]}"#);
        check("application/vnd.example+json; charset=utf-8", "[1,2]");
        check("application/json", "");
        check("application/x-www-form-urlencoded", "Amount=99.90&Name=Ada+Lovelace&Empty=&Plus=%2B");
        check("text/plain", "one\ntwo");
    }

    #[test]
    fn a_request_is_written_for_people_to_read() {
        let text = written(&request("application/json", r#"{"a":1.50,"b":{"c":[true,2]}}"#), &[], None);
        insta::assert_snapshot!(text, @r#"
        POST https://px.example.com/e
            ?a=1
            &b=x%20y
        content-type: application/json

        {
          "a": 1.50,
          "b": {
            "c": [
              true,
              2
            ]
          }
        }
        "#);
    }

    #[test]
    fn only_the_named_headers_are_written() {
        let request = request("application/json", "");
        assert!(written(&request, &[], Some(&["content-type"])).contains("content-type"));
        assert!(!written(&request, &[], Some(&["accept"])).contains("content-type"));
    }

    #[test]
    fn one_line_and_several_say_the_same() {
        #[track_caller]
        fn check(text: &str) {
            let message = Message::parse(text, &Body::Form(Vec::new())).unwrap();
            let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
            assert_eq!(message.url, "https://px.example.com/e");
            assert_eq!(message.query, [pair("a", "1"), pair("b", "x y")], "{text}");
            assert_eq!(message.body, Body::Form(vec![pair("c", "2"), pair("d", "")]), "{text}");
        }
        check("POST https://px.example.com/e?a=1&b=x%20y\n\nc=2&d=");
        check("POST https://px.example.com/e?a=1&b=x+y HTTP/1.1\n\nc=2&d\n");
        check("# why\n\nPOST https://px.example.com/e\n  ?a=1\n\t&b=x%20y\n\n\nc=2\n&d=\n\n");
    }

    #[test]
    fn what_is_no_message_is_told_by_line() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = Message::parse(text, &LIKE_JSON).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
        check("", "line 1: a request line");
        check("# only\n# comments\n", "line 1: a request line");
        check("POST\n", "line 1: a request line");
        check("POST /events\n", "line 1: a request line");
        check("# a\nPOST https://x.example one two\n", "line 2: a request line");
        check("POST https://x.example\n{\"a\": 1}\n", "line 2: a header");
        check("POST https://x.example\naccept: a\n\n{\n  \"a\": }\n", "line 5: no JSON: expected value");
        check("POST https://x.example\n\n\n\n{\n  \"a\": }\n", "line 6: no JSON: expected value");
    }

    proptest! {
        #[test]
        fn whatever_is_sent_can_be_written_and_read_back(pairs in prop::collection::vec((".{1,5}", ".{0,9}"), 1..4), text in ".*") {
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let json = serde_json::json!({ "a": [text, { "b": pairs }] }).to_string();
            for (content_type, body) in [("application/x-www-form-urlencoded", &form), ("application/json", &json)] {
                let mut request = request(content_type, body);
                request.url = format!("https://px.example.com/e?{form}");
                let read = Message::parse(&written(&request, &[], None), &Body::Empty).unwrap();
                prop_assert_eq!(&read, &Message::of(&request));
                prop_assert_eq!(&read.query, &pairs);
            }
        }

        #[test]
        fn no_file_is_too_odd_to_be_read_or_refused(text in ".*", lines in prop::collection::vec("[ #&?{}a:/=\t]*", 0..6)) {
            for text in [text, format!("GET https://x.example\n{}", lines.join("\n"))] {
                prop_assert!(Message::parse(&text, &LIKE_JSON).is_ok_and(|message| !message.method.is_empty())
                    || Message::parse(&text, &LIKE_JSON).is_err_and(|error| error.line > 0));
            }
        }
    }
}
