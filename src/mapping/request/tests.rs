//! Claims about requests: lines of a map and a conversion in, bytes or faults out.

mod auth;
mod body;
mod digests;
mod faults;
mod head;
mod members;
mod omission;
mod proof;
mod properties;
mod reach;
mod rules;
mod slots;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Constants, FileId, Scope, Secret, Secrets, Span, Text, Var, VarType};
use super::*;
use crate::conversion::{Conversion, ConversionId, Meta};

/// A request as written, and the text that its spans point into.
struct Written {
    file: String,
    source: RequestSource,
}

impl Written {
    fn new(encoding: Encoding) -> Written {
        let mut file = String::new();
        let method = if encoding == Encoding::None { "GET" } else { "POST" };
        let source = RequestSource {
            method: text(&mut file, method),
            url: text(&mut file, "https://px.example.com/events"),
            origin: None,
            headers: Vec::new(),
            query: Vec::new(),
            encoding,
            map: Vec::new(),
            auth: None,
            rules: RulesSource::default(),
            given: Given::default(),
        };
        Written { file, source }
    }

    fn method(mut self, method: &str) -> Written {
        self.source.method = text(&mut self.file, method);
        self
    }

    fn url(mut self, url: &str) -> Written {
        self.source.url = text(&mut self.file, url);
        self
    }

    fn origin(mut self, origin: &str) -> Written {
        self.source.origin = Some(text(&mut self.file, origin));
        self
    }

    fn header(mut self, name: &str, value: &str) -> Written {
        self.source.headers.push((text(&mut self.file, name), text(&mut self.file, value)));
        self
    }

    fn map(mut self, lines: &[(&str, &str)]) -> Written {
        self.source.map.extend(lines.iter().map(|(target, source)| line(&mut self.file, target, source)));
        self
    }

    fn query(mut self, lines: &[(&str, &str)]) -> Written {
        self.source.query.extend(lines.iter().map(|(target, source)| line(&mut self.file, target, source)));
        self
    }

    fn bearer(mut self, token: &str) -> Written {
        self.source.auth = Some(AuthSource::Bearer(text(&mut self.file, token)));
        self
    }

    fn basic(mut self, user: &str, password: &str) -> Written {
        let (user, password) = (text(&mut self.file, user), text(&mut self.file, password));
        self.source.auth = Some(AuthSource::Basic { user, password });
        self
    }

    fn auth_header(mut self, name: &str, value: &str) -> Written {
        let (name, value) = (text(&mut self.file, name), text(&mut self.file, value));
        self.source.auth = Some(AuthSource::Header { name, value });
        self
    }

    fn auth_query(mut self, name: &str, value: &str) -> Written {
        let (name, value) = (text(&mut self.file, name), text(&mut self.file, value));
        self.source.auth = Some(AuthSource::Query { name, value });
        self
    }

    fn require_any(mut self, group: &[&str]) -> Written {
        let group = texts(&mut self.file, group);
        self.source.rules.require_any.push(group);
        self
    }

    fn exactly_one(mut self, group: &[&str]) -> Written {
        let group = texts(&mut self.file, group);
        self.source.rules.exactly_one.push(group);
        self
    }

    fn required_with(mut self, key: &str, fields: &[&str]) -> Written {
        let rule = (text(&mut self.file, key), texts(&mut self.file, fields));
        self.source.rules.required_with.push(rule);
        self
    }

    fn omit_with(mut self, key: &str, fields: &[&str]) -> Written {
        let rule = (text(&mut self.file, key), texts(&mut self.file, fields));
        self.source.rules.omit_with.push(rule);
        self
    }

    fn max_length(mut self, field: &str, limit: usize, over: Over) -> Written {
        let field = text(&mut self.file, field);
        self.source.rules.max_length.push((field, limit, over));
        self
    }

    fn compile(&self) -> Result<RequestTemplate, Vec<Fault>> {
        RequestTemplate::compile(&self.source, &constants())
    }

    #[track_caller]
    fn template(&self) -> RequestTemplate {
        self.compile().unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    #[track_caller]
    fn rendered(&self, json: &str, secrets: Secrets) -> Result<Request, Unmappable> {
        let template = self.template();
        with_scope(json, |scope| template.render(scope, secrets))
    }

    #[track_caller]
    fn request(&self, json: &str) -> Request {
        self.rendered(json, Secrets::Revealed).unwrap_or_else(|unmappable| panic!("{unmappable}"))
    }

    #[track_caller]
    fn body(&self, json: &str) -> String {
        String::from_utf8(self.request(json).body.to_vec()).expect("UTF-8")
    }

    /// `field: reason`.
    #[track_caller]
    fn unmappable(&self, json: &str) -> String {
        match self.rendered(json, Secrets::Revealed) {
            Ok(request) => panic!("rendered:\n{}", request.to_http()),
            Err(unmappable) => unmappable.to_string(),
        }
    }

    /// `underlined text: message`, a line for each fault.
    #[track_caller]
    fn faults(&self) -> String {
        let faults = self.compile().expect_err("a fault");
        let shown = faults.iter().map(|fault| {
            format!("{}: {}", self.file.get(fault.span.range.clone()).expect("a range of the file"), fault.message)
        });
        shown.collect::<Vec<_>>().join("\n")
    }
}

fn text(file: &mut String, value: &str) -> Text {
    let start = file.len();
    file.push_str(value);
    let end = file.len();
    file.push('\n');
    Text { value: value.to_owned(), span: Span { file: FileId(0), range: start..end }, verbatim: true }
}

fn texts(file: &mut String, values: &[&str]) -> Vec<Text> {
    values.iter().map(|value| text(file, value)).collect()
}

/// A source that begins with `@` is a list of tables: `@id => customer.guid; name => 'Guid' / id => …`; without arrows it is a
/// list of expressions: `@customer.id / order_id`.
fn line(file: &mut String, target: &str, source: &str) -> MapLine {
    let target = text(file, target);
    let Some(entries) = source.strip_prefix('@') else {
        return MapLine { target, source: MapSource::Expr(text(file, source)) };
    };
    if !entries.is_empty() && !entries.contains(" => ") {
        let parts = entries.split(" / ").map(|part| text(file, part)).collect();
        return MapLine { target, source: MapSource::List(parts) };
    }
    let part = |file: &mut String, part: &str| {
        let (key, source) = part.split_once(" => ").expect("key => expression");
        (text(file, key.trim()), text(file, source.trim()))
    };
    let entries = entries.split(" / ").filter(|entry| !entry.is_empty());
    let entries = entries.map(|entry| entry.split("; ").map(|text| part(file, text)).collect()).collect();
    MapLine { target, source: MapSource::Entries(entries) }
}

fn constants() -> Constants {
    let text = |value: &str| (VarType::Text, Some(Var::Text(value.to_owned())));
    let vars = BTreeMap::from([
        ("tenant".to_owned(), text("acme")),
        ("endpoint".to_owned(), text("https://px.dsp.com/signal/v1?src=a%20b")),
        ("account".to_owned(), text("a/12")),
        ("folder".to_owned(), text("https://h.example/folder/")),
        ("dots".to_owned(), text("..")),
        ("spaced".to_owned(), text("a b")),
        ("evil_host".to_owned(), text("evil.com/x")),
        ("advertiser".to_owned(), (VarType::Int, Some(Var::Int(12)))),
        ("unset".to_owned(), (VarType::Text, None)),
    ]);
    let secrets = BTreeMap::from([
        ("token".to_owned(), Some(Secret::new("s3cret/+ =".to_owned()))),
        ("line".to_owned(), Some(Secret::new("a\nb".to_owned()))),
        ("jefe".to_owned(), Some(Secret::new("Jefe".to_owned()))),
        ("webhook".to_owned(), Some(Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()))),
        ("hex".to_owned(), Some(Secret::new("0b".repeat(20)))),
        ("base64".to_owned(), Some(Secret::new("CwsLCwsLCwsLCwsLCwsLCwsLCws=".to_owned()))),
        ("long".to_owned(), Some(Secret::new("aa".repeat(131)))),
        ("unset".to_owned(), None),
    ]);
    Constants { vars, secrets }
}

fn with_scope<T>(json: &str, run: impl FnOnce(Scope<'_>) -> T) -> T {
    let conversion = conversion(json);
    let id = ConversionId::new(1_780_000_000_000, [7; 10]);
    let meta = Meta::new(id, Arc::from("acme"), None, &conversion);
    run(Scope { conversion: &conversion, meta: &meta })
}

/// `members` of a conversion, with its time added.
#[track_caller]
fn conversion(members: &str) -> Conversion {
    let inner = members.trim().trim_start_matches('{').trim_end_matches('}');
    let comma = if inner.trim().is_empty() { "" } else { "," };
    let json = format!(r#"{{"time":"2026-05-26T12:34:56Z"{comma}{}"#, members.trim().trim_start_matches('{'));
    Conversion::parse(json.as_bytes(), "generated").unwrap_or_else(|refusal| panic!("{refusal:?}\n{json}"))
}
