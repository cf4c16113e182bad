//! Requests: from what `routes.toml` says of an operation to the exact bytes that are sent.
//!
//! [`RequestTemplate::compile`] finds every fault of an operation's request (targets that contradict each other, rules
//! over fields that nobody sets, a host that a conversion could choose, a header that cannot be sent) and lays the map
//! out once: a tree for JSON, a list of names and values for form and query. [`RequestTemplate::render`] is a pure
//! function of the conversion: it writes the body straight into its buffer and takes back what turns out empty.
//!
//! Never: `null`, `""` or an empty container for a field without a value, unless its line asks for one (`?? null`); a clock, an attempt number or randomness; a
//! value in an error; a secret in `Debug`.

mod auth;
mod digest;
mod field;
mod flat;
mod headers;
mod json;
mod lines;
mod oauth;
mod omission;
mod outputs;
mod print;
mod proof;
mod reach;
mod rules;
mod sent;
mod signature;
mod slot;
mod target;
#[cfg(test)]
mod tests;
mod url;
mod webhook;

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderValue;

use self::field::{Run, Seen};
use self::flat::{Escaping, Flat, Parameters, Separator};
use self::headers::{Credential, Header, HeaderPlan};
use self::json::Node;
use self::lines::Within;
pub use self::outputs::{OutputKind, OutputSource, Pii};
use self::rules::{Nameable, Rules};
use self::signature::Signature;
use self::url::{Compiled, URL_BYTES_MAX, UrlPlan};
pub use self::webhook::WebhookKey;
use super::{Condition, Constants, Fault, MASK, Scope, Secret, Secrets, Text};
use crate::conversion::EventKind;

pub use self::auth::{
    AuthSource, ClientAuth, Grant, HmacAlgorithm, HmacSource, KeyEncoding, OAuthSource, SignatureEncoding,
    SignaturePlace,
};
pub use self::oauth::OAuth;
pub use self::sent::{Headers, Request};

/// How the map's fields are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A JSON body.
    Json,
    /// An `application/x-www-form-urlencoded` body.
    Form,
    /// No body: the map becomes the query.
    None,
}

/// One `target = source` line of `map` or `query`.
pub struct MapLine {
    /// Where the output stands: `a.b`, `items[].sku`, `ItemSku{i}`, `*`.
    pub target: Text,
    /// What it is made of.
    pub source: MapSource,
}

/// What a line's output is made of.
pub enum MapSource {
    /// One expression.
    Expr(Text),
    /// A list of inline tables, key and expression each: an entry stands only if all its parts are present.
    Entries(Vec<Vec<(Text, Text)>>),
    /// A list of expressions: an array of those that have a value.
    List(Vec<Text>),
}

/// Rules over outputs, by their targets as the map writes them.
#[derive(Default)]
pub struct RulesSource {
    /// Of each group at least one is present.
    pub require_any: Vec<Vec<Text>>,
    /// Of each group exactly one is present.
    pub exactly_one: Vec<Vec<Text>>,
    /// Where the key is present (`items`: where the conversion has items, in each of them), the fields are.
    pub required_with: Vec<(Text, Vec<Text>)>,
    /// The key is left out where one of the fields is present: in the same item, or for a field of the request in any.
    pub omit_with: Vec<(Text, Vec<Text>)>,
    /// The most characters of a field, and what becomes of a longer one.
    pub max_length: Vec<(Text, usize, Over)>,
    /// What the destination's contract says of its fields; empty: nothing is known of it.
    pub outputs: Vec<OutputSource>,
}

/// What is known of the conversions that an operation is for, and of how its map came to be.
#[derive(Default)]
pub struct Given {
    /// The only kind of conversion.
    pub kind: Option<EventKind>,
    /// The condition that holds of all of them.
    pub applies: Applies,
    /// Outputs of the preset that the destination takes away, where it says so.
    pub removed: Vec<Text>,
    /// The output that the platform deduplicates on.
    pub slot: Option<Text>,
}

/// Which conversions an operation is for.
#[derive(Default)]
pub enum Applies {
    /// All of its kind.
    #[default]
    Always,
    /// Those of which this holds; the text is that of `when`, where there is one.
    When(Option<Text>, Condition),
    /// Its condition is at fault, so that nothing can be said of what it lets pass.
    Unknown,
}

/// What becomes of a text that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It is cut.
    Truncate,
    /// It is left out.
    Omit,
    /// The conversion is unmappable.
    Reject,
}

/// Everything that one operation's request is made from, as written.
pub struct RequestSource {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: Text,
    /// Absolute; `{expr}` is interpolated, up to the path from the configuration alone.
    pub url: Text,
    /// `scheme://host[:port]` that replaces the URL's own.
    pub origin: Option<Text>,
    /// Names and templates of values.
    pub headers: Vec<(Text, Text)>,
    /// Further parameters of the URL.
    pub query: Vec<MapLine>,
    /// How `map` is sent.
    pub encoding: Encoding,
    /// The fields.
    pub map: Vec<MapLine>,
    /// Who sends it.
    pub auth: Option<AuthSource>,
    /// What must hold of the fields.
    pub rules: RulesSource,
    /// What the fields may rely on.
    pub given: Given,
}

impl RequestSource {
    /// The line of a target that a slot's place (`map`, `query`) names: without a body the map's lines are the query's.
    fn line_at(&self, place: &str, target: &str) -> Option<&MapLine> {
        let (first, then): (&[MapLine], &[MapLine]) = match (place, self.encoding) {
            ("map", _) => (&self.map, &[]),
            (_, Encoding::None) => (&self.query, &self.map),
            (_, Encoding::Json | Encoding::Form) => (&self.query, &[]),
        };
        first.iter().chain(then).find(|line| line.target.value == target)
    }
}

/// A compiled request.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    method: http::Method,
    /// `None` when `lacks` says why.
    url: Option<UrlPlan>,
    headers: HeaderPlan,
    query: Flat,
    auth_query: Option<(String, Credential)>,
    signature: Option<Signature>,
    oauth: Option<Arc<OAuth>>,
    webhook: Option<WebhookKey>,
    /// What of `auth` proves who sends it, as written.
    credential: Box<[Box<str>]>,
    body: Body,
    rules: Rules,
    /// Targets as written.
    map_outputs: Vec<Box<str>>,
    query_outputs: Vec<Box<str>>,
    /// Slots that are never sent, each with the unset var or secret that it is made of.
    unset_outputs: Vec<(Box<str>, Box<str>)>,
    /// What is made of secrets, the same for every conversion.
    made_of_secrets: Vec<Secret>,
    lacks: Option<String>,
}

#[derive(Debug, Clone)]
enum Body {
    Json(Node),
    Form(Flat),
    Empty,
}

impl RequestTemplate {
    /// Compiles and type-checks.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn compile(source: &RequestSource, constants: &Constants) -> Result<RequestTemplate, Vec<Fault>> {
        let mut faults = Vec::new();
        let method = method(&source.method, source.encoding, &mut faults);
        let (url, url_lacks) = match UrlPlan::compile(&source.url, source.origin.as_ref(), constants) {
            Ok(Compiled::Url(url)) => (Some(url), None),
            Ok(Compiled::Lacks(name)) => (None, Some(name)),
            Err(found) => {
                faults.extend(found);
                (None, None)
            }
        };
        let headers = headers::compile(&source.headers, source.auth.as_ref(), source.encoding, constants, &mut faults);
        let mut elsewhere = url.as_ref().map(|url| url.query_names.clone()).unwrap_or_default();
        elsewhere.extend(headers.auth_query.iter().map(|(name, _)| name.clone()));
        elsewhere.extend(headers.signature.as_ref().and_then(Signature::parameter).map(str::to_owned));
        let fields = Fields::compile(source, constants, &elsewhere, &headers.headers, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let targets =
            |lines: &[MapLine]| lines.iter().map(|line| line.target.value.as_str().into()).collect::<Vec<_>>();
        let map_outputs = targets(&source.map);
        let mut query_outputs = targets(&source.query);
        query_outputs.extend(elsewhere.into_iter().map(String::into_boxed_str));
        if source.encoding == Encoding::None {
            query_outputs.extend(map_outputs.iter().cloned());
        }
        // An access token's place shows none yet.
        let ready = headers.headers.iter().filter(|_| headers.oauth.is_none()).filter_map(Header::made_of_secret);
        let in_query = headers.auth_query.iter().filter_map(|(_, credential)| credential.made_of_secret());
        let made_of_secrets = ready.chain(in_query).chain(fields.made_of_secrets).map(Secret::new).collect();
        Ok(RequestTemplate {
            method,
            url,
            headers: HeaderPlan::of(headers.headers),
            query: fields.query,
            auth_query: headers.auth_query,
            signature: headers.signature,
            oauth: headers.oauth,
            webhook: headers.webhook,
            credential: source.auth.as_ref().map(AuthSource::credential).unwrap_or_default(),
            body: fields.body,
            rules: fields.rules,
            map_outputs,
            query_outputs,
            unset_outputs: fields.unset,
            made_of_secrets,
            lacks: url_lacks.or(headers.lacks).or(fields.lacks),
        })
    }

    /// The request for a conversion. Pure: the same bytes every time.
    ///
    /// # Errors
    /// When a required field is absent, a rule is broken, or a value cannot stand where it should.
    pub fn render(&self, scope: Scope<'_>, secrets: Secrets) -> Result<Request, Unmappable> {
        if secrets == Secrets::Masked {
            // A mask fits where the credential may not: what cannot be sent is not shown as if it were.
            self.render(scope, Secrets::Revealed)?;
        }
        let (Some(url), None) = (&self.url, &self.lacks) else {
            let field = self.lacks.clone().unwrap_or_default();
            return Err(Unmappable { field, reason: "not set in the configuration".to_owned() });
        };
        let items = scope.conversion.items().len();
        let mut run = Run { scope, secrets, seen: Seen::new(self.rules.columns, items), absent: 0 };
        let mut url = Parameters { text: url.render(scope, secrets)?, next: url.next };
        let body = self.body.render(&mut run)?;
        self.query.write(&mut run, &mut url)?;
        self.rules.check(&run.seen, items)?;
        if let Some((name, credential)) = &self.auth_query {
            let refuse = |reason| Unmappable { field: "auth".to_owned(), reason };
            if let Some(value) = credential.render(scope, secrets).map_err(refuse)? {
                url.push(Escaping::Query, name, &value);
            }
        }
        let mut headers = self.headers.render(scope, secrets)?;
        if self.webhook.is_some() {
            [webhook::TIMESTAMP, webhook::SIGNATURE].into_iter().for_each(|name| headers.put(name, MASKED));
        }
        if let Some(signature) = &self.signature {
            headers.computed.extend(signature.sign(&self.method, &mut url, &body, scope, secrets)?);
        }
        if url.text.len() > URL_BYTES_MAX {
            let reason = format!("longer than {URL_BYTES_MAX} bytes");
            return Err(Unmappable { field: "url".to_owned(), reason });
        }
        Ok(Request { method: self.method.clone(), url: url.text, headers, body })
    }

    /// Adds to a rendered request what is of the moment in which it is sent: a webhook's time, and its signature.
    pub fn stamp(&self, request: &mut Request, unix_s: u64) {
        if let Some(webhook) = &self.webhook {
            webhook.stamp(request, unix_s);
        }
    }

    /// Scheme, host and port of its calls; `None` when `lacks` says why there are none.
    pub fn origin(&self) -> Option<&str> {
        self.url.as_ref().map(UrlPlan::origin)
    }

    /// The same request to the platform itself: without an `origin` that points it at a stand-in.
    pub fn unmoved(&self) -> Cow<'_, RequestTemplate> {
        match self.url.as_ref().and_then(UrlPlan::unmoved) {
            None => Cow::Borrowed(self),
            Some(url) => Cow::Owned(RequestTemplate { url: Some(url.clone()), ..self.clone() }),
        }
    }

    /// How the access token that goes with each request is come by; a rendering holds a placeholder for it.
    pub fn oauth(&self) -> Option<&Arc<OAuth>> {
        self.oauth.as_ref()
    }

    /// What proves who sends it, as `auth` is written: requests of which it is the same have one credential. Empty without
    /// `auth`.
    pub fn credential(&self) -> &[Box<str>] {
        &self.credential
    }

    /// What its requests show that is made of secrets and the same for every conversion: a user and a password in Base64, a hash
    /// of a key, a secret between other words.
    pub fn made_of_secrets(&self) -> &[Secret] {
        &self.made_of_secrets
    }

    /// Whether a slot (`header.Idempotency-Key`, `map.externalId`, `query.id`) is an output of this template.
    pub fn has_output(&self, slot: &str) -> bool {
        match slot.split_once('.') {
            Some(("header", name)) => self.headers.has(name),
            Some(("map", target)) => self.map_outputs.iter().any(|output| **output == *target),
            Some(("query", name)) => self.query_outputs.iter().any(|output| **output == *name),
            Some(_) | None => false,
        }
    }

    /// The unset var or secret for want of which an output in the map or the query (`map.externalId`) is never sent.
    pub fn unset_output(&self, slot: &str) -> Option<&str> {
        let unset = self.unset_outputs.iter().find(|(unset, _)| **unset == *slot);
        unset.map(|(_, constant)| &**constant)
    }

    /// The optional var or secret (`vars.action_tracker_id`) that is unset, and without which every conversion would be
    /// unmappable: the operation is not available.
    pub fn lacks(&self) -> Option<&str> {
        self.lacks.as_deref()
    }
}

impl Body {
    fn render<'a>(&'a self, run: &mut Run<'a>) -> Result<Vec<u8>, Unmappable> {
        match self {
            Body::Json(node) => {
                let mut out = Vec::with_capacity(BODY_BYTES_USUAL);
                node.write_body(run, &mut out)?;
                Ok(out)
            }
            Body::Form(flat) => {
                let text = String::with_capacity(BODY_BYTES_USUAL);
                let mut out = Parameters { text, next: Separator::Nothing };
                flat.write(run, &mut out)?;
                Ok(out.text.into_bytes())
            }
            Body::Empty => Ok(Vec::new()),
        }
    }
}

/// What stands for a webhook's time and signature until it is sent.
const MASKED: HeaderValue = HeaderValue::from_static(MASK);
/// Most bodies without items fit, so that the buffer does not grow.
const BODY_BYTES_USUAL: usize = 1024;

/// The plans of the map's and the query's lines.
struct Fields {
    body: Body,
    query: Flat,
    rules: Rules,
    unset: Vec<(Box<str>, Box<str>)>,
    made_of_secrets: Vec<String>,
    lacks: Option<String>,
}

impl Fields {
    fn compile(
        source: &RequestSource,
        constants: &Constants,
        elsewhere: &[String],
        headers: &[Header],
        faults: &mut Vec<Fault>,
    ) -> Fields {
        let (mut json, mut form, mut query) = match source.encoding {
            Encoding::Json => {
                let json = lines::json_lines(&source.map, constants, faults);
                (json, Vec::new(), lines::flat_lines(source.query.iter(), constants, faults))
            }
            Encoding::Form => {
                let form = lines::flat_lines(source.map.iter(), constants, faults);
                (Vec::new(), form, lines::flat_lines(source.query.iter(), constants, faults))
            }
            Encoding::None => {
                let both = source.query.iter().chain(&source.map);
                (Vec::new(), Vec::new(), lines::flat_lines(both, constants, faults))
            }
        };
        for line in query.iter().filter(|line| !line.target.is_spread) {
            if elsewhere.iter().any(|name| line.target.name.can_be(name)) {
                let message = format!("`{}` stands in the URL already", line.text.value);
                let fault = line.text.fault(0..line.text.value.len(), message);
                faults.push(fault.with_help("keep one: here, in `url`, or in `auth`"));
            }
        }
        let written: Vec<&str> =
            source.map.iter().chain(&source.query).map(|line| line.target.value.as_str()).collect();
        let mut outputs: Vec<Nameable<'_>> = json.iter_mut().map(Nameable::of).collect();
        outputs.extend(form.iter_mut().chain(&mut query).map(Nameable::of));
        let rules = Rules::compile(&source.rules, &written, &mut outputs, faults);
        faults.extend(proof::prove(source, &outputs));
        faults.extend(slot::prove(source, constants, &outputs, headers));
        let lacks = outputs.iter().find_map(|output| output.output.lacks()).map(str::to_owned);
        let unset = unset(source, &outputs);
        let made_of_secrets = outputs.iter().filter_map(|output| output.output.made_of_secret()).collect();
        let body = match source.encoding {
            Encoding::Json => Body::Json(lines::json_node(json, Within::Request, faults)),
            Encoding::Form => Body::Form(lines::flat_plan(form, Escaping::Form, &[])),
            Encoding::None => Body::Empty,
        };
        let query = lines::flat_plan(query, Escaping::Query, elsewhere);
        Fields { body, query, rules, unset, made_of_secrets, lacks }
    }
}

/// The slots (`map.id`, `query.id`) that are never sent, and the unset var or secret for want of which.
fn unset(source: &RequestSource, outputs: &[Nameable<'_>]) -> Vec<(Box<str>, Box<str>)> {
    let mut slots = Vec::new();
    for output in outputs {
        let Some(constant) = output.output.unset() else { continue };
        for place in ["map", "query"] {
            if source.line_at(place, output.target).is_some_and(|line| output.is_of(line)) {
                slots.push((format!("{place}.{}", output.target).into(), constant.into()));
            }
        }
    }
    slots
}

fn method(text: &Text, encoding: Encoding, faults: &mut Vec<Fault>) -> http::Method {
    let mut fault = |message: String, help: &str| {
        faults.push(text.fault(0..text.value.len(), message).with_help(help));
    };
    let method = match text.value.as_str() {
        "GET" => http::Method::GET,
        "PUT" => http::Method::PUT,
        "PATCH" => http::Method::PATCH,
        "DELETE" => http::Method::DELETE,
        "POST" => http::Method::POST,
        other => {
            fault(format!("the method `{other}` is not sent"), "one of GET, POST, PUT, PATCH, DELETE");
            http::Method::POST
        }
    };
    if method == http::Method::GET && encoding != Encoding::None {
        fault("a GET carries no body".to_owned(), "write `body = \"none\"`: the map becomes the query");
    }
    method
}

/// An [`Unmappable`] on its way up through the writers: results of a word, for hardly ever is there one.
type Refusal = Box<Unmappable>;

impl From<Refusal> for Unmappable {
    fn from(refusal: Refusal) -> Unmappable {
        *refusal
    }
}

/// Why no request can be made of this conversion: the output field and what it lacks, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Unmappable {
    /// The target as the map writes it (several: of a rule), `url`, `header.…` or `auth`.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}
