//! How a request proves who sends it, as written.

use super::super::Text;

/// How a request proves who sends it; every text is a template.
pub enum AuthSource {
    /// `Authorization: Bearer …`
    Bearer(Text),
    /// `Authorization: Basic …`
    Basic {
        /// Without a colon.
        user: Text,
        /// Any text.
        password: Text,
    },
    /// A header of the destination's own.
    Header {
        /// The header.
        name: Text,
        /// Its whole value.
        value: Text,
    },
    /// A parameter at the end of the query.
    Query {
        /// The parameter.
        name: Text,
        /// Its value.
        value: Text,
    },
    /// A signature over the finished request.
    Hmac(HmacSource),
    /// The headers of Standard Webhooks; this is the key.
    StandardWebhooks(Text),
    /// `Authorization: Bearer …` with an access token that is fetched and kept while it lasts.
    OAuth(OAuthSource),
}

impl AuthSource {
    /// What of it proves who sends a request, as written: no secret, for credentials come from `secrets` by name.
    pub(super) fn credential(&self) -> Box<[Box<str>]> {
        let texts: Vec<&Text> = match self {
            AuthSource::Bearer(token) => vec![token],
            AuthSource::Basic { user, password } => vec![user, password],
            AuthSource::Header { name, value } | AuthSource::Query { name, value } => vec![name, value],
            AuthSource::Hmac(hmac) => vec![&hmac.key],
            AuthSource::StandardWebhooks(key) => vec![key],
            AuthSource::OAuth(OAuthSource { grant, token_url, client_id, client_secret, scope, audience, .. }) => {
                let refresh = if let Grant::RefreshToken(token) = grant { Some(token) } else { None };
                let optional = [client_secret.as_ref(), scope.as_ref(), audience.as_ref(), refresh];
                [token_url, client_id].into_iter().chain(optional.into_iter().flatten()).collect()
            }
        };
        texts.into_iter().map(|text| text.value.as_str().into()).collect()
    }
}

/// An HMAC (RFC 2104) over the finished request.
pub struct HmacSource {
    /// With which hash.
    pub algorithm: HmacAlgorithm,
    /// From the configuration alone.
    pub key: Text,
    /// What the key's text stands for.
    pub key_encoding: KeyEncoding,
    /// Where the signature stands.
    pub place: SignaturePlace,
    /// How it is written.
    pub encoding: SignatureEncoding,
    /// What stands before it.
    pub prefix: Option<Text>,
    /// What is signed: beside what every template may name, `body`, `method`, `url` (absolute), `path` and `query` of the
    /// request as it is sent, without the signature. Default: the body.
    pub sign: Option<Text>,
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// SHA-1, for old contracts.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// What the text of a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEncoding {
    /// Its own UTF-8 bytes.
    Text,
    /// Bytes in hexadecimal.
    Hex,
    /// Bytes in Base64 (RFC 4648, 4), padded or not.
    Base64,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Hexadecimal, small letters.
    Hex,
    /// Base64 (RFC 4648, 4), padded.
    Base64,
}

/// Where a signature stands.
pub enum SignaturePlace {
    /// In this header.
    Header(Text),
    /// In this parameter, the last of the query.
    Query(Text),
}

/// An OAuth 2 grant (RFC 6749): how an access token is come by. Every text is from the configuration alone.
pub struct OAuthSource {
    /// On what grounds.
    pub grant: Grant,
    /// Absolute, over TLS or to this machine.
    pub token_url: Text,
    /// Who we are there.
    pub client_id: Text,
    /// Without it, we are a public client.
    pub client_secret: Option<Text>,
    /// What the token is to be good for.
    pub scope: Option<Text>,
    /// For whom the token is meant.
    pub audience: Option<Text>,
    /// Where client id and secret stand.
    pub client_auth: ClientAuth,
    /// The word before the token in `Authorization`; default: `Bearer`.
    pub header_scheme: Option<Text>,
}

/// On what grounds an access token is given.
pub enum Grant {
    /// RFC 6749, 6: the refresh token that a person's consent brought.
    RefreshToken(Text),
    /// RFC 6749, 4.4.
    ClientCredentials,
}

/// Where client id and secret stand in a token request (RFC 6749, 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// As `client_id` and `client_secret` in the form.
    Body,
    /// In `Authorization: Basic`.
    Basic,
}
