//! Bearer tokens: known by their SHA-256 only, compared in constant time, all of them at every request.

use http::header::{self, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::{Kind, Problem};
use super::strict::{Field, one};

/// SHA-256 digests of the tokens that open a listener, each with the holder it belongs to.
pub(crate) struct Tokens<H> {
    holders: Vec<([u8; 32], H)>,
}

impl<H> Tokens<H> {
    pub(crate) fn new(holders: impl IntoIterator<Item = ([u8; 32], H)>) -> Tokens<H> {
        Tokens { holders: holders.into_iter().collect() }
    }

    /// Whose token the request carries.
    pub(crate) fn holder(&self, headers: &HeaderMap) -> Result<&H, Problem> {
        let token = match credentials(headers) {
            Credentials::None => return Err(challenge(r#"Bearer realm="capi-relay""#, "no bearer token was sent")),
            Credentials::Malformed => return Err(invalid()),
            Credentials::Token(token) => token,
        };
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for (known, holder) in &self.holders {
            // No early end: how long this takes says nothing about which token was near.
            if bool::from(known.ct_eq(&digest)) {
                found = Some(holder);
            }
        }
        found.ok_or_else(invalid)
    }
}

enum Credentials<'a> {
    None,
    Malformed,
    Token(&'a [u8]),
}

/// RFC 6750 §2.1. Another scheme counts as no credentials: its sender knows of no bearer tokens (§3.1).
fn credentials(headers: &HeaderMap) -> Credentials<'_> {
    let value = match one(headers, &header::AUTHORIZATION) {
        Field::Absent => return Credentials::None,
        Field::Several => return Credentials::Malformed,
        Field::One(value) => value.as_bytes(),
    };
    let mut parts = value.splitn(2, |byte| *byte == b' ');
    if !parts.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer")) {
        return Credentials::None;
    }
    let token = parts.next().unwrap_or_default().trim_ascii();
    let token68 = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || !token.iter().all(token68) { Credentials::Malformed } else { Credentials::Token(token) }
}

fn invalid() -> Problem {
    challenge(r#"Bearer realm="capi-relay", error="invalid_token""#, "the bearer token is not valid")
}

fn challenge(challenge: &'static str, detail: &'static str) -> Problem {
    Problem::new(Kind::Unauthorized, detail).with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_and_every_refusal_challenges() {
        let digest = |token: &str| -> [u8; 32] { Sha256::digest(token).into() };
        let tokens = Tokens::new([(digest("old"), "acme"), (digest("new"), "acme"), (digest("b-1._~+/="), "beta")]);
        let check = |values: &[&str], expected: Result<&str, &str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            match (tokens.holder(&headers), expected) {
                (Ok(holder), Ok(name)) => assert_eq!(*holder, name, "{values:?}"),
                (Err(problem), Err(challenge)) => {
                    let reply = problem.into_reply();
                    assert_eq!(reply.status(), 401);
                    assert_eq!(reply.headers()[header::WWW_AUTHENTICATE], challenge, "{values:?}");
                }
                (found, expected) => panic!("{values:?}: {found:?} and not {expected:?}"),
            }
        };
        let bare = r#"Bearer realm="capi-relay""#;
        let invalid = r#"Bearer realm="capi-relay", error="invalid_token""#;
        check(&["Bearer old"], Ok("acme"));
        check(&["bearer new"], Ok("acme"));
        check(&["BEARER  b-1._~+/="], Ok("beta"));
        check(&[], Err(bare));
        check(&["Basic YTpi"], Err(bare));
        check(&["Bearerold"], Err(bare));
        check(&["Bearer"], Err(invalid));
        check(&["Bearer "], Err(invalid));
        check(&["Bearer ol"], Err(invalid));
        check(&["Bearer old new"], Err(invalid));
        check(&["Bearer old", "Bearer old"], Err(invalid));
    }
}
