//! What differs between two requests, place by place: JSON by structure with numbers by their text, whatever the order of
//! its members; form and query as ordered pairs, decoded; headers by name. Pure.

use std::collections::HashMap;
use std::fmt;

use super::message::{Body, Message};
use crate::conversion::{Json, write_text};
use crate::mapping::{MASK, Request};

/// One place at which two requests differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where it is.
    pub place: Place,
    /// What should be there; `None`: nothing. JSON text, or the quoted value of a pair or a header.
    pub expected: Option<String>,
    /// What is there; `None`: nothing.
    pub got: Option<String>,
}

/// A place of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The method.
    Method,
    /// The URL but for its query.
    Url,
    /// A parameter of the query.
    Query(String),
    /// A header.
    Header(String),
    /// A place of the body: `data[0].amount` in JSON, a field's name in a form; empty: the whole.
    Body(String),
}

/// Which headers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Headers {
    /// Those that the expected request names.
    Named,
    /// All of both.
    All,
}

/// Every difference, in the order of the message.
pub(super) fn differences(expected: &Message, got: &Message, headers: Headers) -> Vec<Difference> {
    let mut found = Found(Vec::new());
    found.texts(Place::Method, &expected.method, &got.method);
    found.texts(Place::Url, &expected.url, &got.url);
    found.pairs(Place::Query, &expected.query, &got.query);
    let all = (headers == Headers::All).then_some(&got.headers);
    let mut names: Vec<&str> =
        expected.headers.iter().chain(all.into_iter().flatten()).map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of =
            |message: &Message| message.headers.iter().find(|(known, _)| known == name).map(|(_, value)| quoted(value));
        found.note(Place::Header(name.to_owned()), of(expected), of(got));
    }
    found.bodies(&expected.body, &got.body);
    found.0
}

/// What changes from an old request to a new one, values masked: the requests as sent are compared, so that a secret that
/// changed is told and never shown.
pub fn changes(old: &Request, new: &Request, old_masked: &Request, new_masked: &Request) -> Vec<Difference> {
    let found = |old: &Request, new: &Request| differences(&Message::of(old), &Message::of(new), Headers::All);
    let mut shown = found(old_masked, new_masked);
    for Difference { place, .. } in found(old, new) {
        if !shown.iter().any(|difference| difference.place == place) {
            let (expected, got) = (Some(MASK.to_owned()), Some(CHANGED.to_owned()));
            shown.push(Difference { place, expected, got });
        }
    }
    shown
}

struct Found(Vec<Difference>);

impl Found {
    fn note(&mut self, place: Place, expected: Option<String>, got: Option<String>) {
        if expected != got {
            self.0.push(Difference { place, expected, got });
        }
    }

    fn texts(&mut self, place: Place, expected: &str, got: &str) {
        self.note(place, Some(expected.to_owned()), Some(got.to_owned()));
    }

    fn bodies(&mut self, expected: &Body, got: &Body) {
        match (expected, got) {
            (Body::Json(expected), Body::Json(got)) => self.json(&mut String::new(), expected, got),
            (Body::Form(expected), Body::Form(got)) => self.pairs(Place::Body, expected, got),
            (Body::Text(expected), Body::Text(got)) => {
                self.note(Place::Body(String::new()), Some(quoted(expected)), Some(quoted(got)));
            }
            (expected, got) => self.note(Place::Body(String::new()), whole(expected), whole(got)),
        }
    }

    fn json(&mut self, path: &mut String, expected: &Json, got: &Json) {
        let length = path.len();
        match (expected, got) {
            (Json::Object(expected), Json::Object(got)) => {
                let new = got.iter().filter(|(name, _)| !expected.iter().any(|(known, _)| known == name));
                for (name, _) in expected.iter().chain(new) {
                    let of = |members: &'_ [(Box<str>, Json)]| {
                        members.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
                    };
                    push_name(path, name);
                    self.member(path, of(expected).as_ref(), of(got).as_ref());
                    path.truncate(length);
                }
            }
            (Json::Array(expected), Json::Array(got)) => {
                for at in 0..expected.len().max(got.len()) {
                    path.push_str(&format!("[{at}]"));
                    self.member(path, expected.get(at), got.get(at));
                    path.truncate(length);
                }
            }
            (expected, got) => self.note(Place::Body(path.clone()), Some(compact(expected)), Some(compact(got))),
        }
    }

    fn member(&mut self, path: &mut String, expected: Option<&Json>, got: Option<&Json>) {
        match (expected, got) {
            (Some(expected), Some(got)) => self.json(path, expected, got),
            (expected, got) => self.note(Place::Body(path.clone()), expected.map(compact), got.map(compact)),
        }
    }

    /// Values name by name, the first of a name with the first; then the order of the names.
    fn pairs(&mut self, place: fn(String) -> Place, expected: &[(String, String)], got: &[(String, String)]) {
        let before = self.0.len();
        for (name, expected, got) in by_name(expected, got) {
            let several = expected.len().max(got.len()) > 1;
            for at in 0..expected.len().max(got.len()) {
                let path = if several { format!("{name}[{at}]") } else { name.to_owned() };
                let of = |values: &[&str]| values.get(at).map(|value| quoted(value));
                self.note(place(path), of(&expected), of(&got));
            }
        }
        let order = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let (expected, got) = (order(expected), order(got));
        if self.0.len() == before && expected != got {
            self.note(place(ORDER.to_owned()), Some(expected.join(", ")), Some(got.join(", ")));
        }
    }
}

impl Place {
    /// The part of the message: `method`, `url`, `query`, `header`, `body`.
    pub fn part(&self) -> &'static str {
        match self {
            Place::Method => "method",
            Place::Url => "url",
            Place::Query(_) => "query",
            Place::Header(_) => "header",
            Place::Body(_) => "body",
        }
    }

    /// Where in that part; empty: the whole.
    pub fn path(&self) -> &str {
        match self {
            Place::Method | Place::Url => "",
            Place::Query(path) | Place::Header(path) | Place::Body(path) => path,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Method => f.write_str("method"),
            Place::Url => f.write_str("URL"),
            Place::Query(name) => write!(f, "query {name}"),
            Place::Header(name) => write!(f, "header {name}"),
            Place::Body(path) if path.is_empty() => f.write_str("body"),
            Place::Body(path) => f.write_str(path),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_nothing = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: expected {}, got {}", self.place, or_nothing(&self.expected), or_nothing(&self.got))
    }
}

/// A name, and its values in the expected and in the other request.
type Values<'p> = (&'p str, Vec<&'p str>, Vec<&'p str>);

/// The values of both by name, in the order in which the names first stand.
fn by_name<'p>(expected: &'p [(String, String)], got: &'p [(String, String)]) -> Vec<Values<'p>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<Values<'p>> = Vec::new();
    let sides = expected.iter().map(|pair| (pair, true)).chain(got.iter().map(|pair| (pair, false)));
    for ((name, value), is_expected) in sides {
        let at = *places.entry(name).or_insert_with(|| {
            names.push((name, Vec::new(), Vec::new()));
            names.len().saturating_sub(1)
        });
        if let Some((_, expected, got)) = names.get_mut(at) {
            if is_expected { expected.push(value) } else { got.push(value) }
        }
    }
    names
}

/// `a`, `.b` after something, `['c d']` where the name is no word.
fn push_name(path: &mut String, name: &str) {
    let is_word = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | '@'));
    if !is_word {
        path.push_str(&format!("['{}']", name.replace('\'', "''")));
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn whole(body: &Body) -> Option<String> {
    match body {
        Body::Empty => None,
        Body::Json(json) => Some(format!("JSON: {}", compact(json))),
        Body::Form(pairs) => {
            Some(format!("a form: {}", pairs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")))
        }
        Body::Text(text) => Some(format!("text: {}", quoted(text))),
    }
}

fn compact(json: &Json) -> String {
    let mut bytes = Vec::new();
    json.write(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn quoted(text: &str) -> String {
    let mut bytes = Vec::new();
    write_text(text, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The path at which pairs that are the same stand in another order.
const ORDER: &str = "(order)";

/// What a secret became.
const CHANGED: &str = "*** (changed, masked)";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content_type: &str, query: &str, body: &str) -> Message {
        let text = format!("POST https://px.example.com/e?{query}\ncontent-type: {content_type}\n\n{body}");
        Message::parse(&text, &Body::Empty).unwrap()
    }

    #[track_caller]
    fn check(content_type: &str, expected: &str, got: &str, words: &[&str]) {
        let (expected, got) = (message(content_type, "", expected), message(content_type, "", got));
        let found: Vec<String> =
            differences(&expected, &got, Headers::Named).iter().map(Difference::to_string).collect();
        assert_eq!(found, words);
    }

    #[test]
    fn json_is_compared_by_structure_with_numbers_by_their_text() {
        #[track_caller]
        fn json(expected: &str, got: &str, words: &[&str]) {
            check("application/json", expected, got, words);
        }
        json(r#"{"a": 1.50, "b": [1, {"c": "x"}]}"#, r#"{"b":[1,{"c":"x"}],"a":1.50}"#, &[]);
        json(
            r#"{"data": [{"amount": 99.90}]}"#,
            r#"{"data": [{"amount": 99.9}]}"#,
            &["data[0].amount: expected 99.90, got 99.9"],
        );
        json(r#"{"a": 1}"#, r#"{"a": "1"}"#, &[r#"a: expected 1, got "1""#]);
        json(r#"{"a": [1, 2]}"#, r#"{"a": [2, 1]}"#, &["a[0]: expected 1, got 2", "a[1]: expected 2, got 1"]);
        json(r#"{"a": [1]}"#, r#"{"a": [1, {"b": 2}]}"#, &[r#"a[1]: expected nothing, got {"b":2}"#]);
        json(
            r#"{"x.y": {"it's": true}, "b": 1}"#,
            r#"{"x.y": {}, "c": null}"#,
            &[
                "['x.y']['it''s']: expected true, got nothing",
                "b: expected 1, got nothing",
                "c: expected nothing, got null",
            ],
        );
        json("[1]", r#"{"a": 1}"#, &[r#"body: expected [1], got {"a":1}"#]);
        json("", r#"{"a": 1}"#, &[r#"body: expected nothing, got JSON: {"a":1}"#]);
    }

    #[test]
    fn a_form_is_compared_as_ordered_pairs_decoded() {
        #[track_caller]
        fn form(expected: &str, got: &str, words: &[&str]) {
            check("application/x-www-form-urlencoded", expected, got, words);
        }
        form("A=1&B=x+y", "A=1&B=x%20y", &[]);
        form("A=1.50&B=2", "A=1.5&B=2", &[r#"A: expected "1.50", got "1.5""#]);
        form("A=1&B=2", "B=2&A=1", &["(order): expected A, B, got B, A"]);
        form("A=1&A=2", "A=1&A=3&A=4", &[r#"A[1]: expected "2", got "3""#, r#"A[2]: expected nothing, got "4""#]);
        form("A=1&B=", "A=1&C=3", &[r#"B: expected "", got nothing"#, r#"C: expected nothing, got "3""#]);
    }

    #[test]
    fn line_query_and_headers_are_compared_as_far_as_they_are_named() {
        let expected = message("text/plain", "a=1&b=2", "hello");
        let mut got = message("text/html", "a=1&b=3", "Hello");
        got.method = "PUT".to_owned();
        got.url = "https://py.example.com/e".to_owned();
        got.headers.push(("x-new".to_owned(), "1".to_owned()));
        let words = |headers| {
            differences(&expected, &got, headers).iter().map(Difference::to_string).collect::<Vec<_>>().join("\n")
        };
        let named = r#"method: expected POST, got PUT
URL: expected https://px.example.com/e, got https://py.example.com/e
query b: expected "2", got "3"
header content-type: expected "text/plain", got "text/html"
body: expected "hello", got "Hello""#;
        assert_eq!(words(Headers::Named), named);
        assert!(words(Headers::All).contains(r#"header x-new: expected nothing, got "1""#));
    }

    #[test]
    fn another_encoding_is_one_difference() {
        let (form, json) =
            (message("application/x-www-form-urlencoded", "", "a=1&b=2"), message("application/json", "", "[1]"));
        let found = differences(&form, &json, Headers::Named);
        assert_eq!(found[1].to_string(), "body: expected a form: a, b, got JSON: [1]");
    }

    #[test]
    fn a_secret_that_changed_is_told_and_not_shown() {
        let request = |token: &str, amount: &str| Request {
            method: http::Method::POST,
            url: format!("https://px.example.com/e?key={token}"),
            headers: vec![(http::header::AUTHORIZATION, http::HeaderValue::from_str(token).unwrap())].into(),
            body: format!(r#"{{"amount":{amount}}}"#).into(),
        };
        let found = changes(&request("old-1", "1"), &request("new-2", "2"), &request("***", "1"), &request("***", "2"));
        let words: Vec<String> = found.iter().map(Difference::to_string).collect();
        assert_eq!(
            words,
            [
                "amount: expected 1, got 2",
                "query key: expected ***, got *** (changed, masked)",
                "header authorization: expected ***, got *** (changed, masked)",
            ]
        );
    }
}
