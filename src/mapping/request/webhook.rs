//! Standard Webhooks (the specification of that name, version 1.0): an id that stays the same over all attempts, the time of
//! the attempt, and an HMAC-SHA256 over both and the body.
//!
//! The time is that of the attempt, because receivers take what is older than a few minutes for a replay; it is therefore
//! no part of the rendering, which is the same every time, but stamped on it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use sha2::Sha256;

use super::super::{Constants, Escape, Fault, Interpolation, MASK, Secrets, Text};
use super::{Encoding, Request};

/// A key of Standard Webhooks; printed as `***`.
#[derive(Clone)]
pub struct WebhookKey(Box<[u8]>);

/// A key, or the name of the unset secret for want of which there is none.
pub(super) enum Compiled {
    Key(WebhookKey),
    Lacks(String),
}

impl WebhookKey {
    /// `whsec_`, which may be left out, and 24 to 64 bytes in Base64.
    ///
    /// # Errors
    /// Which rule it breaks; nothing of the key itself.
    pub fn parse(text: &str) -> Result<WebhookKey, String> {
        let behind = text.strip_prefix(PREFIX);
        let decoded = STANDARD_NO_PAD.decode(behind.unwrap_or(text).trim_end_matches('='));
        match (decoded, behind) {
            (Ok(bytes), _) if (24..=64).contains(&bytes.len()) => Ok(WebhookKey(bytes.into())),
            (Ok(bytes), _) => Err(format!("the key is {} bytes long, and Standard Webhooks has 24 to 64", bytes.len())),
            (Err(_), Some(_)) => Err(format!("what stands behind `{PREFIX}` in the key is no Base64")),
            (Err(_), None) => Err(format!("the key does not begin with `{PREFIX}`, and is no Base64")),
        }
    }

    /// HMAC-SHA256 over id, timestamp and body.
    pub fn digest(&self, id: &[u8], timestamp: &[u8], body: &[u8]) -> Option<[u8; 32]> {
        // A key of any length is one.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in [id, b".", timestamp, b".", body] {
            mac.update(part);
        }
        Some(mac.finalize().into_bytes().into())
    }

    /// Compiles the key: `whsec_` and 24 to 64 bytes in Base64, from the configuration alone.
    ///
    /// # Errors
    /// Every fault at once.
    pub(super) fn compile(key: &Text, encoding: Encoding, constants: &Constants) -> Result<Compiled, Vec<Fault>> {
        let fault = |message: &str, help: &str| vec![key.fault(0..key.value.len(), message).with_help(help)];
        let text = Interpolation::compile(key, constants, Escape::None)?;
        if encoding == Encoding::None {
            return Err(fault("there is no body to sign", "a webhook is a POST with a body: `body = \"json\"`"));
        }
        if let Some(name) = text.lacks() {
            return Ok(Compiled::Lacks(name.to_owned()));
        }
        let Some(Ok(Some(text))) = text.constant(Secrets::Revealed) else {
            return Err(fault("a conversion cannot choose the key", "`{secrets.signing_key}`"));
        };
        WebhookKey::parse(&text).map(Compiled::Key).map_err(|message| fault(&message, KEY_HELP))
    }

    /// The headers of a body that is sent now under this id; `None`: the id cannot be a header, or holds a dot.
    pub fn signed(&self, id: &str, unix_s: u64, body: &[u8]) -> Option<[(HeaderName, HeaderValue); 3]> {
        let id = HeaderValue::from_str(id).ok().filter(|_| !id.contains('.'))?;
        let time = HeaderValue::from(unix_s);
        let signature = self.signature(id.as_bytes(), time.as_bytes(), body)?;
        Some([(ID, id), (TIMESTAMP, time), (SIGNATURE, signature)])
    }

    /// Sets time and signature of a request that is sent now.
    pub(super) fn stamp(&self, request: &mut Request, unix_s: u64) {
        let headers = &mut request.headers;
        let Some(id) = headers.iter().find(|(name, _)| *name == ID).map(|(_, value)| value.clone()) else { return };
        let time = HeaderValue::from(unix_s);
        let Some(signature) = self.signature(id.as_bytes(), time.as_bytes(), &request.body) else { return };
        headers.put(TIMESTAMP, time);
        headers.put(SIGNATURE, signature);
    }

    fn signature(&self, id: &[u8], timestamp: &[u8], body: &[u8]) -> Option<HeaderValue> {
        let digest = self.digest(id, timestamp, body)?;
        let mut value = HeaderValue::from_str(&format!("v1,{}", STANDARD.encode(digest))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

pub(super) const ID: HeaderName = HeaderName::from_static("webhook-id");
pub(super) const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// Before the Base64 of a key.
const PREFIX: &str = "whsec_";
const KEY_HELP: &str = "`whsec_` and 24 to 64 bytes in Base64 (`+` and `/`, not `-` and `_`), as the platform shows it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_none_says_which_rule_it_breaks() {
        let check = |key: &str, expected: Result<usize, &str>| {
            let got = WebhookKey::parse(key).map(|key| key.0.len());
            assert_eq!(got, expected.map_err(str::to_owned), "{key}");
        };
        for key in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            check(key, Ok(24));
        }
        check("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfI=", Ok(26));
        check("whsec_MfKQ", Err("the key is 3 bytes long, and Standard Webhooks has 24 to 64"));
        check(&"MfKQ".repeat(22), Err("the key is 66 bytes long, and Standard Webhooks has 24 to 64"));
        check("whsec_", Err("the key is 0 bytes long, and Standard Webhooks has 24 to 64"));
        check("whsec_MfKQ-r8GKYqrTwjUPD8ILPZIo2LaLaSw", Err("what stands behind `whsec_` in the key is no Base64"));
        check("whsk_MfKQ9r8GKYqrTwjUPD8I", Err("the key does not begin with `whsec_`, and is no Base64"));
    }

    /// The example of the specification's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_specifications_example() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, time, body) = (b"msg_p5jXN8AQM9LWM0D4loKWxJek", b"1614265330", br#"{"test": 2432232314}"#);
        let signature = WebhookKey(key.into()).signature(id, time, body).unwrap();
        assert_eq!(signature.to_str().unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
