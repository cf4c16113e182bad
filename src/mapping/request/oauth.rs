//! OAuth 2: the request that brings an access token, compiled when the configuration is loaded.
//!
//! Everything in it is from the configuration; only a refresh token that the token endpoint has replaced since comes as an
//! argument. Who sends it, keeps the token and renews it is not known here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};

use super::super::{Constants, Escape, Fault, Interpolation, MASK, Secret, Secrets, Text};
use super::flat::{Escaping, Parameters, Separator};
use super::headers::header_value;
use super::url::{Compiled as CompiledUrl, UrlPlan};
use super::{ClientAuth, Grant, Headers, OAuthSource, Request};

/// How access tokens are come by. Two that are equal ask the same of the same endpoint, and can share a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    token_url: String,
    client_id: String,
    /// The form, but the refresh token.
    fields: Vec<(&'static str, Secret)>,
    refresh_token: Option<Secret>,
    /// `Authorization` of the token request.
    basic: Option<Secret>,
    scheme: String,
}

/// A grant, or the name of the unset var or secret for want of which there is none.
pub(super) enum Compiled {
    OAuth(OAuth),
    Lacks(String),
}

impl OAuth {
    /// Compiles a grant.
    ///
    /// # Errors
    /// Every fault at once.
    pub(super) fn compile(source: &OAuthSource, constants: &Constants) -> Result<Compiled, Vec<Fault>> {
        let mut reader = Reader { constants, faults: Vec::new(), lacks: None };
        let token_url = reader.token_url(&source.token_url);
        let (grant_type, refresh_token) = match &source.grant {
            Grant::RefreshToken(token) => ("refresh_token", reader.text(token)),
            Grant::ClientCredentials => ("client_credentials", None),
        };
        let client_id = reader.text(&source.client_id);
        let client_secret = source.client_secret.as_ref().and_then(|text| reader.text(text));
        let scope = source.scope.as_ref().and_then(|text| reader.text(text));
        let audience = source.audience.as_ref().and_then(|text| reader.text(text));
        let scheme = source.header_scheme.as_ref().map_or(Some(BEARER.to_owned()), |text| reader.scheme(text));
        if !reader.faults.is_empty() {
            return Err(reader.faults);
        }
        let (None, Some(token_url), Some(client_id), Some(scheme)) = (&reader.lacks, token_url, client_id, scheme)
        else {
            return Ok(Compiled::Lacks(reader.lacks.unwrap_or_default()));
        };
        let known_as = client_id.clone();
        let mut fields = vec![("grant_type", grant_type.to_owned())];
        fields.extend(scope.map(|scope| ("scope", scope)));
        fields.extend(audience.map(|audience| ("audience", audience)));
        let basic = match source.client_auth {
            ClientAuth::Body => {
                fields.push(("client_id", client_id));
                fields.extend(client_secret.map(|secret| ("client_secret", secret)));
                None
            }
            ClientAuth::Basic => Some(basic(&client_id, &client_secret.unwrap_or_default())),
        };
        let fields = fields.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        let refresh_token = refresh_token.map(Secret::new);
        Ok(Compiled::OAuth(OAuth { token_url, client_id: known_as, fields, refresh_token, basic, scheme }))
    }

    /// The request that brings a token: with `rotated` in place of the configured refresh token, where the token endpoint
    /// has replaced that.
    pub fn token_request(&self, rotated: Option<&Secret>) -> Request {
        let mut form = Parameters { text: String::new(), next: Separator::Nothing };
        let refresh_token = self.refresh_token.as_ref().map(|configured| rotated.unwrap_or(configured));
        let refresh_token = refresh_token.map(|token| ("refresh_token", token));
        for (name, value) in self.fields.iter().map(|(name, value)| (*name, value)).chain(refresh_token) {
            form.push(Escaping::Form, name, value.reveal());
        }
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ];
        let basic = self.basic.as_ref().and_then(|basic| header_value(basic.reveal(), true));
        headers.extend(basic.map(|basic| (AUTHORIZATION, basic)));
        Request {
            method: Method::POST,
            url: self.token_url.clone(),
            headers: Headers::from(headers),
            body: form.text.into_bytes(),
        }
    }

    /// Whether the grant stands on a refresh token.
    pub fn refreshes(&self) -> bool {
        self.refresh_token.is_some()
    }

    /// Whether both stand on one refresh token: what the token endpoint has given in its place is good for both.
    pub fn refreshes_as(&self, other: &OAuth) -> bool {
        let is_its_own = self.token_url == other.token_url && self.client_id == other.client_id;
        self.refreshes() && is_its_own && self.refresh_token == other.refresh_token
    }

    /// The value of `Authorization` with this token; `None` when a character of it cannot stand in a header.
    pub fn authorization(&self, access_token: &str) -> Option<HeaderValue> {
        header_value(&self.with_scheme(access_token), true)
    }

    /// What stands for the token in a rendering.
    pub(super) fn placeholder(&self, secrets: Secrets) -> Option<HeaderValue> {
        let token = match secrets {
            Secrets::Revealed => PLACEHOLDER,
            Secrets::Masked => MASK,
        };
        header_value(&self.with_scheme(token), false)
    }

    fn with_scheme(&self, token: &str) -> String {
        format!("{} {token}", self.scheme)
    }
}

/// RFC 6749, 2.3.1: each form-encoded, then as user and password.
fn basic(client_id: &str, client_secret: &str) -> Secret {
    let pair = format!("{}:{}", Escaping::Form.of(client_id), Escaping::Form.of(client_secret));
    Secret::new(format!("Basic {}", STANDARD.encode(pair)))
}

/// Reads texts that the configuration alone fixes.
struct Reader<'c> {
    constants: &'c Constants,
    faults: Vec<Fault>,
    lacks: Option<String>,
}

impl Reader<'_> {
    fn text(&mut self, text: &Text) -> Option<String> {
        let compiled = match Interpolation::compile(text, self.constants, Escape::None) {
            Ok(compiled) => compiled,
            Err(found) => {
                self.faults.extend(found);
                return None;
            }
        };
        let Some(value) = compiled.constant(Secrets::Revealed) else {
            self.fault(
                text,
                "a conversion cannot choose how a token is come by",
                "`vars.` and `secrets.` may be named",
            );
            return None;
        };
        match value {
            Ok(Some(value)) if !value.is_empty() => Some(value),
            Ok(_) => {
                match compiled.lacks() {
                    Some(name) => self.lacks = Some(name.to_owned()),
                    None => self.fault(text, "an empty text", "leave the key out, or give it a value"),
                }
                None
            }
            Err(error) => {
                self.fault(text, error.to_string(), "this value is the same for every conversion");
                None
            }
        }
    }

    /// The URL with its host fixed: `origin` does not move it.
    fn token_url(&mut self, text: &Text) -> Option<String> {
        match UrlPlan::compile(text, None, self.constants) {
            Ok(CompiledUrl::Url(url)) => {
                if url.fixed(Secrets::Masked) != url.fixed(Secrets::Revealed) {
                    self.fault(text, "a secret in `token_url`", "credentials of the grant have keys of their own");
                    return None;
                }
                let fixed = url.fixed(Secrets::Revealed);
                if fixed.is_none() {
                    self.fault(text, "a conversion cannot choose where tokens come from", "only `vars.` may be named");
                }
                fixed
            }
            Ok(CompiledUrl::Lacks(name)) => {
                self.lacks = Some(name);
                None
            }
            Err(found) => {
                self.faults.extend(found);
                None
            }
        }
    }

    /// RFC 9110, 11.1: a token.
    fn scheme(&mut self, text: &Text) -> Option<String> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.value.is_empty() || !text.value.bytes().all(is_token) {
            self.fault(text, "no authentication scheme", "one word, as in `Bearer`");
            return None;
        }
        Some(text.value.clone())
    }

    fn fault(&mut self, text: &Text, message: impl Into<String>, help: &str) {
        self.faults.push(text.fault(0..text.value.len(), message).with_help(help));
    }
}

const BEARER: &str = "Bearer";
/// It is known only when a request is sent.
const PLACEHOLDER: &str = "<access token: fetched when it is sent>";
