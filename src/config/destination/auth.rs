//! `auth = { … }`: how a destination's requests prove who sends them.

use crate::config::keys::{Keys, listed, text};
use crate::config::report::Faults;
use crate::config::tree::{Entry, Value};
use crate::mapping::{
    AuthSource, ClientAuth, Grant, HmacAlgorithm, HmacSource, KeyEncoding, OAuthSource, SignatureEncoding,
    SignaturePlace, Text,
};

/// Reads `auth = { … }`: exactly one scheme, its credential from `secrets`, so that it is masked wherever it shows.
pub(super) fn auth(entry: &Entry, faults: &mut Faults) -> Option<AuthSource> {
    if let Value::Text { text, .. } = &entry.node.value {
        let message = "`auth` must be a table, and this is a string";
        let help = format!("`{{ bearer = \"{}\" }}`", text.value);
        let help =
            if text.value.contains("{secrets.") { help } else { "`{ bearer = \"{secrets.token}\" }`".to_owned() };
        faults.with_help(entry.node.span.clone(), message, help);
        return None;
    }
    let mut keys = Keys::of(entry, faults)?;
    let bearer = keys.entry("bearer").and_then(|entry| text("bearer", &entry.node, faults).cloned());
    let basic = keys.entry("basic").and_then(|entry| two(entry, "user", "password", faults));
    let header = keys.entry("header").and_then(|entry| two(entry, "name", "value", faults));
    let query = keys.entry("query").and_then(|entry| two(entry, "name", "value", faults));
    let hmac = keys.entry("hmac").and_then(|entry| hmac(entry, faults));
    let webhooks = keys.entry("standard_webhooks").and_then(|entry| text("standard_webhooks", &entry.node, faults));
    let webhooks = webhooks.cloned();
    let oauth = keys.entry("oauth").and_then(|entry| oauth(entry, faults));
    let given = SCHEMES.iter().filter(|scheme| keys.entry(scheme).is_some()).count();
    if given != 1 {
        let help = "`{ bearer = \"{secrets.token}\" }`, `{ basic = { user, password } }`, \
                    `{ header = { name, value } }`, `{ query = { name, value } }`, `{ hmac = { … } }`, \
                    `{ standard_webhooks = \"{secrets.signing_key}\" }` or `{ oauth = { … } }`";
        faults.with_help(keys.span().clone(), "`auth` needs exactly one scheme", help);
    }
    keys.finish("`auth`", faults);
    let source = bearer
        .map(AuthSource::Bearer)
        .or(basic.map(|(user, password)| AuthSource::Basic { user, password }))
        .or(header.map(|(name, value)| AuthSource::Header { name, value }))
        .or(query.map(|(name, value)| AuthSource::Query { name, value }))
        .or(hmac.map(AuthSource::Hmac))
        .or(webhooks.map(AuthSource::StandardWebhooks))
        .or(oauth.map(AuthSource::OAuth))?;
    credential_from_secrets(&source, faults);
    Some(source)
}

/// `{ algorithm, key, header | query, … }`.
fn hmac(entry: &Entry, faults: &mut Faults) -> Option<HmacSource> {
    let mut keys = Keys::of(entry, faults)?;
    let algorithm = keys.choice("algorithm", &ALGORITHMS, faults);
    let key = keys.text("key", faults);
    let key_encoding = keys.choice("key_encoding", &KEY_ENCODINGS, faults);
    let (header, query) = (keys.text("header", faults), keys.text("query", faults));
    let encoding = keys.choice("encoding", &SIGNATURE_ENCODINGS, faults);
    let (prefix, sign) = (keys.text("prefix", faults), keys.text("sign", faults));
    needs("hmac", &mut keys, &["algorithm", "key"], HMAC_HELP, faults);
    let places = usize::from(keys.entry("header").is_some()).saturating_add(usize::from(keys.entry("query").is_some()));
    if places != 1 {
        let message = "`hmac` needs exactly one of `header` and `query`: where the signature stands";
        faults.with_help(keys.span().clone(), message, HMAC_HELP);
    }
    keys.finish("`hmac`", faults);
    Some(HmacSource {
        algorithm: algorithm?,
        key: key?,
        key_encoding: key_encoding.unwrap_or(KeyEncoding::Text),
        place: header.map(SignaturePlace::Header).or(query.map(SignaturePlace::Query))?,
        encoding: encoding.unwrap_or(SignatureEncoding::Hex),
        prefix,
        sign,
    })
}

/// `{ grant, token_url, client_id, client_secret, refresh_token, … }`.
fn oauth(entry: &Entry, faults: &mut Faults) -> Option<OAuthSource> {
    let mut keys = Keys::of(entry, faults)?;
    let grant = keys.choice("grant", &GRANTS, faults);
    let token_url = keys.text("token_url", faults);
    let client_id = keys.text("client_id", faults);
    let client_secret = keys.text("client_secret", faults);
    let refresh_token = keys.text("refresh_token", faults);
    let (scope, audience) = (keys.text("scope", faults), keys.text("audience", faults));
    let client_auth = keys.choice("client_auth", &CLIENT_AUTHS, faults).unwrap_or(ClientAuth::Body);
    let header_scheme = keys.text("header_scheme", faults);
    needs("oauth", &mut keys, &["grant", "token_url", "client_id"], OAUTH_HELP, faults);
    let told = |key: &'static str, keys: &mut Keys<'_>| keys.entry(key).is_some();
    match grant {
        Some(GrantType::RefreshToken) if !told("refresh_token", &mut keys) => {
            let message = "`grant = \"refresh_token\"` needs `refresh_token`";
            faults.with_help(keys.span().clone(), message, "`refresh_token = \"{secrets.refresh_token}\"`");
        }
        Some(GrantType::ClientCredentials) => {
            if let Some(token) = &refresh_token {
                let message = "`grant = \"client_credentials\"` takes no `refresh_token`";
                faults.with_help(token.span.clone(), message, "leave it out, or write `grant = \"refresh_token\"`");
            }
        }
        Some(GrantType::RefreshToken) | None => {}
    }
    // Only a public client has none, and that cannot stand on its own credentials.
    let is_public = grant == Some(GrantType::RefreshToken) && client_auth == ClientAuth::Body;
    if grant.is_some() && !is_public && !told("client_secret", &mut keys) {
        let message = "`oauth` needs `client_secret`";
        faults.with_help(keys.span().clone(), message, "`client_secret = \"{secrets.client_secret}\"`");
    }
    keys.finish("`oauth`", faults);
    let grant = match grant? {
        // Without its token it is a fault already, and the rest is still checked.
        GrantType::RefreshToken => refresh_token.map_or(Grant::ClientCredentials, Grant::RefreshToken),
        GrantType::ClientCredentials => Grant::ClientCredentials,
    };
    Some(OAuthSource {
        grant,
        token_url: token_url?,
        client_id: client_id?,
        client_secret,
        scope,
        audience,
        client_auth,
        header_scheme,
    })
}

fn needs(what: &str, keys: &mut Keys<'_>, needed: &[&'static str], help: &str, faults: &mut Faults) {
    let missing: Vec<&str> = needed.iter().copied().filter(|key| keys.entry(key).is_none()).collect();
    if !missing.is_empty() {
        let message = format!("`{what}` needs {}", listed(missing.into_iter()));
        faults.with_help(keys.span().clone(), message, help);
    }
}

fn two(entry: &Entry, first: &'static str, second: &'static str, faults: &mut Faults) -> Option<(Text, Text)> {
    let mut keys = Keys::of(entry, faults)?;
    let (one, two) = (keys.text(first, faults), keys.text(second, faults));
    for key in [first, second] {
        if keys.entry(key).is_none() {
            faults.at(keys.span().clone(), format!("`{}` needs `{first}` and `{second}`", entry.key.value));
        }
    }
    keys.finish(&format!("`{}`", entry.key.value), faults);
    Some((one?, two?))
}

fn credential_from_secrets(source: &AuthSource, faults: &mut Faults) {
    for text in templates(source) {
        braced(text, faults);
    }
    let not_from_secrets: Vec<&Text> = match source {
        AuthSource::Bearer(text) | AuthSource::StandardWebhooks(text) => plain([Some(text)]),
        AuthSource::Basic { user, password } if !names_secret(user) => plain([Some(password)]),
        AuthSource::Basic { .. } => Vec::new(),
        AuthSource::Header { name: _, value } | AuthSource::Query { name: _, value } => plain([Some(value)]),
        AuthSource::Hmac(hmac) => plain([Some(&hmac.key)]),
        AuthSource::OAuth(oauth) => {
            let refresh_token = match &oauth.grant {
                Grant::RefreshToken(token) => Some(token),
                Grant::ClientCredentials => None,
            };
            plain([oauth.client_secret.as_ref(), refresh_token])
        }
    };
    for text in not_from_secrets {
        if faults.are_at(&text.span) {
            continue;
        }
        let message = "the credential in `auth` does not come from `secrets`";
        let help = "give it as `secrets.token = \"${env:TOKEN}\"` and name it here as `{secrets.token}`";
        faults.with_help(text.span.clone(), message, help);
    }
}

/// Those that name no secret.
fn plain<const N: usize>(texts: [Option<&Text>; N]) -> Vec<&Text> {
    texts.into_iter().flatten().filter(|text| !names_secret(text)).collect()
}

/// Whether a secret stands within the braces of a template.
fn names_secret(text: &Text) -> bool {
    text.value.replace("{{", "").split('{').skip(1).any(|part| part.contains("secrets."))
}

/// Every template of a scheme that may hold a credential.
fn templates(source: &AuthSource) -> Vec<&Text> {
    match source {
        AuthSource::Bearer(text) | AuthSource::StandardWebhooks(text) => vec![text],
        AuthSource::Basic { user, password } => vec![user, password],
        AuthSource::Header { name: _, value } | AuthSource::Query { name: _, value } => vec![value],
        AuthSource::Hmac(hmac) => [Some(&hmac.key), hmac.prefix.as_ref()].into_iter().flatten().collect(),
        AuthSource::OAuth(oauth) => {
            let token = if let Grant::RefreshToken(token) = &oauth.grant { Some(token) } else { None };
            [Some(&oauth.client_id), oauth.client_secret.as_ref(), token].into_iter().flatten().collect()
        }
    }
}

/// `secrets.token` without its braces would be sent as it stands.
pub(super) fn braced(text: &Text, faults: &mut Faults) {
    let written = text.value.trim().trim_start_matches("Bearer ").trim_matches(['{', '}']);
    let is_name = written.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    let is_reference = written.starts_with("secrets.") || written.starts_with("vars.");
    let has_braces = text.value.replace("{{", "").contains('{');
    if is_name && is_reference && !has_braces {
        let message = format!("`{written}` would be sent as these very letters");
        faults.with_help(text.span.clone(), message, format!("write `{{{written}}}`"));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GrantType {
    RefreshToken,
    ClientCredentials,
}

const SCHEMES: [&str; 7] = ["bearer", "basic", "header", "query", "hmac", "standard_webhooks", "oauth"];
const ALGORITHMS: [(&str, HmacAlgorithm); 3] =
    [("sha256", HmacAlgorithm::Sha256), ("sha1", HmacAlgorithm::Sha1), ("sha512", HmacAlgorithm::Sha512)];
const KEY_ENCODINGS: [(&str, KeyEncoding); 3] =
    [("text", KeyEncoding::Text), ("hex", KeyEncoding::Hex), ("base64", KeyEncoding::Base64)];
const SIGNATURE_ENCODINGS: [(&str, SignatureEncoding); 2] =
    [("hex", SignatureEncoding::Hex), ("base64", SignatureEncoding::Base64)];
const GRANTS: [(&str, GrantType); 2] =
    [("refresh_token", GrantType::RefreshToken), ("client_credentials", GrantType::ClientCredentials)];
const CLIENT_AUTHS: [(&str, ClientAuth); 2] = [("body", ClientAuth::Body), ("basic", ClientAuth::Basic)];

const HMAC_HELP: &str = "`{ algorithm = \"sha256\", key = \"{secrets.key}\", header = \"X-Signature\" }`";
const OAUTH_HELP: &str = "`{ grant = \"client_credentials\", token_url = \"https://…\", client_id = \"…\", \
                          client_secret = \"{secrets.client_secret}\" }`";
