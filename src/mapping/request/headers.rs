//! Headers and authentication.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};

use super::super::{Constants, Escape, EvalError, Fault, Interpolation, MASK, Scope, Secrets, Text};
use super::oauth::{self, OAuth};
use super::signature::{self, Signature};
use super::webhook::{self, WebhookKey};
use super::{AuthSource, Encoding, Headers, HmacSource, OAuthSource, SignaturePlace, Unmappable};

/// A compiled header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) name: HeaderName,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    /// The same for every conversion.
    Fixed {
        revealed: HeaderValue,
        masked: HeaderValue,
    },
    Computed(Credential),
}

/// What a header's value, or a query's credential, is made of.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    scheme: Scheme,
    value: Interpolation,
    /// Without it there is no request: a header of `auth`, or a part with `!`.
    is_required: bool,
}

#[derive(Debug, Clone)]
enum Scheme {
    /// A header as the configuration writes it.
    Plain,
    /// The value of `auth.header` and `auth.query`, masked whole where it holds no secret by name.
    Opaque,
    Bearer,
    /// The value is the user.
    Basic {
        password: Box<Interpolation>,
    },
}

/// The headers of a template: those that are the same for every conversion ready made, and shared by all its requests.
/// They go first, then the computed ones, each in the order of the file.
#[derive(Debug, Clone)]
pub(super) struct HeaderPlan {
    revealed: Arc<[(HeaderName, HeaderValue)]>,
    masked: Arc<[(HeaderName, HeaderValue)]>,
    computed: Vec<(HeaderName, Credential)>,
}

impl HeaderPlan {
    pub(super) fn of(headers: Vec<Header>) -> HeaderPlan {
        let (mut fixed, mut hidden, mut computed) = (Vec::new(), Vec::new(), Vec::new());
        for Header { name, value } in headers {
            match value {
                Value::Fixed { revealed, masked } => {
                    fixed.push((name.clone(), revealed));
                    hidden.push((name, masked));
                }
                Value::Computed(credential) => computed.push((name, credential)),
            }
        }
        HeaderPlan { revealed: fixed.into(), masked: hidden.into(), computed }
    }

    /// Whether requests have it, where nothing of its value is absent.
    pub(super) fn has(&self, name: &str) -> bool {
        let mut names = self.revealed.iter().map(|(name, _)| name).chain(self.computed.iter().map(|(name, _)| name));
        names.any(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// A header of which a part is absent is left out.
    pub(super) fn render(&self, scope: Scope<'_>, secrets: Secrets) -> Result<Headers, Unmappable> {
        let fixed = match secrets {
            Secrets::Revealed => &self.revealed,
            Secrets::Masked => &self.masked,
        };
        let mut headers = Headers { fixed: Arc::clone(fixed), computed: Vec::new() };
        for (name, credential) in &self.computed {
            let refuse = |reason| Unmappable { field: format!("header.{name}"), reason };
            let Some(text) = credential.render(scope, secrets).map_err(refuse)? else { continue };
            let value = header_value(&text, true);
            let value = value.ok_or_else(|| refuse("a character that cannot stand in a header".to_owned()))?;
            headers.computed.push((name.clone(), value));
        }
        Ok(headers)
    }
}

/// What was compiled, or the unset var or secret without which the request cannot be.
pub(super) struct Compiled {
    pub(super) headers: Vec<Header>,
    pub(super) auth_query: Option<(String, Credential)>,
    pub(super) signature: Option<Signature>,
    pub(super) oauth: Option<Arc<OAuth>>,
    pub(super) webhook: Option<WebhookKey>,
    pub(super) lacks: Option<String>,
}

impl Header {
    /// Whether it is the same for every conversion.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.value, Value::Fixed { .. })
    }

    /// Its value, where that is the same for every conversion and made of a secret.
    pub(super) fn made_of_secret(&self) -> Option<String> {
        match &self.value {
            Value::Fixed { revealed, masked } if revealed != masked => revealed.to_str().ok().map(str::to_owned),
            Value::Fixed { .. } | Value::Computed(_) => None,
        }
    }
}

impl Credential {
    /// The text, or why there is none; `Ok(None)` when it is absent and need not be there.
    pub(super) fn render(&self, scope: Scope<'_>, secrets: Secrets) -> Result<Option<String>, String> {
        self.assemble(secrets, |part| part.eval(scope, secrets))
    }

    /// The text, where it is the same for every conversion and made of a secret.
    pub(super) fn made_of_secret(&self) -> Option<String> {
        let text = |secrets| self.constant(secrets)?.ok().flatten();
        text(Secrets::Revealed).filter(|revealed| text(Secrets::Masked).as_ref() != Some(revealed))
    }

    /// The text when it reads nothing of the conversion.
    fn constant(&self, secrets: Secrets) -> Option<Result<Option<String>, String>> {
        let parts_are_constant = match &self.scheme {
            Scheme::Basic { password } => self.value.is_constant() && password.is_constant(),
            Scheme::Plain | Scheme::Opaque | Scheme::Bearer => self.value.is_constant(),
        };
        parts_are_constant.then(|| self.assemble(secrets, |part| part.constant(secrets).unwrap_or(Ok(None))))
    }

    fn assemble(
        &self,
        secrets: Secrets,
        evaluate: impl Fn(&Interpolation) -> Result<Option<String>, EvalError>,
    ) -> Result<Option<String>, String> {
        let part = |part: &Interpolation| match evaluate(part) {
            Ok(None) if self.is_required => Err("required, and absent".to_owned()),
            Ok(value) => Ok(value),
            Err(error) => Err(error.to_string()),
        };
        let Some(value) = part(&self.value)? else { return Ok(None) };
        match (&self.scheme, secrets) {
            (Scheme::Plain, _) | (Scheme::Opaque, Secrets::Revealed) => Ok(Some(value)),
            (Scheme::Opaque, Secrets::Masked) => Ok(Some(masked(value))),
            (Scheme::Bearer, Secrets::Revealed) => Ok(Some(format!("Bearer {value}"))),
            (Scheme::Bearer, Secrets::Masked) => Ok(Some(format!("Bearer {}", masked(value)))),
            (Scheme::Basic { password }, _) => {
                let Some(password) = part(password)? else { return Ok(None) };
                match secrets {
                    _ if value.contains(':') => Err("a user name with a colon".to_owned()),
                    Secrets::Revealed => Ok(Some(format!("Basic {}", STANDARD.encode(format!("{value}:{password}"))))),
                    Secrets::Masked => Ok(Some(format!("Basic {MASK}"))),
                }
            }
        }
    }

    /// Whether it is a credential by where it stands.
    fn is_secret(&self) -> bool {
        !matches!(self.scheme, Scheme::Plain)
    }

    fn lacks(&self) -> Option<&str> {
        let password = match &self.scheme {
            Scheme::Basic { password } => password.lacks(),
            Scheme::Plain | Scheme::Opaque | Scheme::Bearer => None,
        };
        self.value.lacks().or(password)
    }
}

/// A credential that names no secret is masked whole; one that does keeps what stands around the mask.
fn masked(value: String) -> String {
    if value.contains(MASK) { value } else { MASK.to_owned() }
}

/// Compiles `auth` and headers, in the order of the file, `auth` first; faults are added to `faults`.
pub(super) fn compile(
    lines: &[(Text, Text)],
    auth: Option<&AuthSource>,
    encoding: Encoding,
    constants: &Constants,
    faults: &mut Vec<Fault>,
) -> Compiled {
    let compiled =
        Compiled { headers: Vec::new(), auth_query: None, signature: None, oauth: None, webhook: None, lacks: None };
    let mut compiler = Compiler { constants, faults, compiled, encoding, from_auth: Vec::new() };
    if let Some(auth) = auth {
        compiler.auth(auth);
    }
    let is_typed = lines.iter().any(|(name, _)| name.value.eq_ignore_ascii_case(header::CONTENT_TYPE.as_str()));
    if let Some(value) = encoding.content_type().filter(|_| !is_typed) {
        let value = HeaderValue::from_static(value);
        let value = Value::Fixed { revealed: value.clone(), masked: value };
        compiler.compiled.headers.push(Header { name: header::CONTENT_TYPE, value });
    }
    for (name, value) in lines {
        compiler.line(name, value);
    }
    compiler.compiled
}

struct Compiler<'c> {
    constants: &'c Constants,
    faults: &'c mut Vec<Fault>,
    compiled: Compiled,
    encoding: Encoding,
    /// The headers that `auth` sets.
    from_auth: Vec<HeaderName>,
}

impl Compiler<'_> {
    fn auth(&mut self, auth: &AuthSource) {
        match auth {
            AuthSource::Bearer(token) => {
                let credential = self.credential(token, Escape::HeaderValue, Scheme::Bearer);
                self.auth_header(header::AUTHORIZATION, token, credential);
            }
            AuthSource::Basic { user, password } => {
                let compiled = self.interpolation(password, Escape::None);
                let scheme = compiled.map(|password| Scheme::Basic { password: Box::new(password) });
                let credential = scheme.and_then(|scheme| self.credential(user, Escape::None, scheme));
                self.auth_header(header::AUTHORIZATION, user, credential);
            }
            AuthSource::Header { name, value } => {
                let credential = self.credential(value, Escape::HeaderValue, Scheme::Opaque);
                if let Some(name) = self.name(name) {
                    self.auth_header(name, value, credential);
                }
            }
            AuthSource::Query { name, value } => {
                self.parameter(name);
                let credential = self.credential(value, Escape::None, Scheme::Opaque);
                self.note_lacks(credential.as_ref());
                self.compiled.auth_query = credential.map(|credential| (name.value.clone(), credential));
            }
            AuthSource::Hmac(source) => self.signature(source),
            AuthSource::StandardWebhooks(key) => self.webhook(key),
            AuthSource::OAuth(source) => self.oauth(source),
        }
    }

    fn signature(&mut self, source: &HmacSource) {
        let place = match &source.place {
            SignaturePlace::Header(name) => self.name(name).map(signature::Place::Header),
            SignaturePlace::Query(name) => {
                self.parameter(name);
                Some(signature::Place::Query(name.value.clone()))
            }
        };
        let Some(place) = place else { return };
        if let signature::Place::Header(name) = &place {
            self.from_auth.push(name.clone());
        }
        match Signature::compile(source, place, self.encoding, self.constants) {
            Ok(signature::Compiled::Signature(signature)) => self.compiled.signature = Some(signature),
            Ok(signature::Compiled::Lacks(name)) => self.compiled.lacks = Some(name),
            Err(found) => self.faults.extend(found),
        }
    }

    fn oauth(&mut self, source: &OAuthSource) {
        self.from_auth.push(header::AUTHORIZATION);
        match OAuth::compile(source, self.constants) {
            Ok(oauth::Compiled::OAuth(oauth)) => {
                let placeholders = (oauth.placeholder(Secrets::Revealed), oauth.placeholder(Secrets::Masked));
                if let (Some(revealed), Some(masked)) = placeholders {
                    let value = Value::Fixed { revealed, masked };
                    self.compiled.headers.push(Header { name: header::AUTHORIZATION, value });
                }
                self.compiled.oauth = Some(Arc::new(oauth));
            }
            Ok(oauth::Compiled::Lacks(name)) => self.compiled.lacks = Some(name),
            Err(found) => self.faults.extend(found),
        }
    }

    fn webhook(&mut self, key: &Text) {
        match WebhookKey::compile(key, self.encoding, self.constants) {
            Ok(webhook::Compiled::Key(key)) => self.compiled.webhook = Some(key),
            Ok(webhook::Compiled::Lacks(name)) => self.compiled.lacks = Some(name),
            Err(found) => self.faults.extend(found),
        }
        // The same for every attempt, and another one for each conversion.
        let id = Text { value: "{meta.id}".to_owned(), ..key.clone() };
        let credential = self.credential(&id, Escape::HeaderValue, Scheme::Plain);
        self.auth_header(webhook::ID, key, credential);
        self.from_auth.extend([webhook::TIMESTAMP, webhook::SIGNATURE]);
    }

    fn parameter(&mut self, name: &Text) {
        if name.value.is_empty() {
            self.fault(name, "a parameter without a name", "name the parameter that carries the credential");
        }
    }

    fn auth_header(&mut self, name: HeaderName, text: &Text, credential: Option<Credential>) {
        self.note_lacks(credential.as_ref());
        self.from_auth.push(name.clone());
        if let Some(credential) = credential {
            self.push(name, text, credential);
        }
    }

    fn line(&mut self, name: &Text, value: &Text) {
        let Some(parsed) = self.name(name) else { return };
        if self.from_auth.contains(&parsed) {
            let message = format!("`auth` sets the header `{}` already", name.value);
            return self.fault(name, message, "keep one of the two");
        }
        if self.compiled.headers.iter().any(|header| header.name == parsed) {
            let message = format!("the header `{}` is set twice", name.value);
            return self.fault(name, message, "names of headers are the same in upper and lower case");
        }
        let Some(credential) = self.credential(value, Escape::HeaderValue, Scheme::Plain) else { return };
        if credential.is_required {
            self.note_lacks(Some(&credential));
        }
        self.push(parsed, value, credential);
    }

    fn push(&mut self, name: HeaderName, text: &Text, credential: Credential) {
        if credential.lacks().is_some() {
            return;
        }
        let value = match (credential.constant(Secrets::Revealed), credential.constant(Secrets::Masked)) {
            (Some(Ok(Some(revealed))), Some(Ok(Some(masked)))) if !revealed.is_empty() => {
                let is_secret = credential.is_secret() || revealed != masked;
                match (header_value(&revealed, is_secret), header_value(&masked, is_secret)) {
                    (Some(revealed), Some(masked)) => Value::Fixed { revealed, masked },
                    (None, _) | (_, None) => {
                        let help = "a header holds visible ASCII, spaces and tabs";
                        return self.fault(text, "a character that cannot stand in a header", help);
                    }
                }
            }
            (Some(Err(reason)), _) | (_, Some(Err(reason))) => {
                return self.fault(text, reason, "this value is the same for every conversion");
            }
            (Some(Ok(_)), _) | (_, Some(Ok(_))) => return,
            (None, None) => Value::Computed(credential),
        };
        self.compiled.headers.push(Header { name, value });
    }

    fn name(&mut self, name: &Text) -> Option<HeaderName> {
        let Ok(parsed) = HeaderName::from_bytes(name.value.as_bytes()) else {
            self.fault(name, format!("`{}` is no name of a header", name.value), "letters, digits and `-`");
            return None;
        };
        if OF_THE_CONNECTION.contains(&parsed.as_str()) {
            let help = "it belongs to the connection, which the relay keeps";
            self.fault(name, format!("the header `{}` cannot be set", name.value), help);
            return None;
        }
        Some(parsed)
    }

    fn credential(&mut self, text: &Text, escape: Escape, scheme: Scheme) -> Option<Credential> {
        let value = self.interpolation(text, escape)?;
        let is_required = value.is_required() || !matches!(scheme, Scheme::Plain);
        Some(Credential { scheme, value, is_required })
    }

    fn interpolation(&mut self, text: &Text, escape: Escape) -> Option<Interpolation> {
        Interpolation::compile(text, self.constants, escape).map_err(|found| self.faults.extend(found)).ok()
    }

    fn note_lacks(&mut self, credential: Option<&Credential>) {
        if let Some(name) = credential.and_then(Credential::lacks) {
            self.compiled.lacks.get_or_insert_with(|| name.to_owned());
        }
    }

    fn fault(&mut self, text: &Text, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(text.fault(0..text.value.len(), message).with_help(help));
    }
}

/// Headers that describe the connection or the body's framing.
const OF_THE_CONNECTION: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Encoding {
    /// What a body of this encoding is called.
    fn content_type(self) -> Option<&'static str> {
        match self {
            Encoding::Json => Some("application/json"),
            Encoding::Form => Some("application/x-www-form-urlencoded"),
            Encoding::None => None,
        }
    }
}

/// `None` when a character cannot stand in a header: only visible ASCII, spaces and tabs mean the same to every server.
pub(super) fn header_value(text: &str, is_sensitive: bool) -> Option<HeaderValue> {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t'));
    let mut value = HeaderValue::from_str(text).ok().filter(|_| is_visible)?;
    value.set_sensitive(is_sensitive);
    Some(value)
}
