//! A signature: the HMAC (RFC 2104) of a text that is made of the finished request, in a header or as the last parameter
//! of the query. It covers whatever its text names, but itself.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderName, HeaderValue};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::super::{Constants, Escape, Fault, Finished, Interpolation, MASK, Scope, Secrets, Text};
use super::flat::{Escaping, Parameters};
use super::headers::header_value;
use super::{Encoding, HmacAlgorithm, HmacSource, KeyEncoding, SignatureEncoding, Unmappable};

/// A compiled signature.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    place: Place,
    algorithm: HmacAlgorithm,
    key: Key,
    encoding: SignatureEncoding,
    prefix: Option<Interpolation>,
    sign: Interpolation,
}

/// Where it stands.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Header(HeaderName),
    Query(String),
}

/// A signature, or the name of the unset var or secret for want of which there is none.
pub(super) enum Compiled {
    Signature(Signature),
    Lacks(String),
}

impl Signature {
    /// Compiles what is signed and with what.
    ///
    /// # Errors
    /// Every fault at once.
    pub(super) fn compile(
        source: &HmacSource,
        place: Place,
        encoding: Encoding,
        constants: &Constants,
    ) -> Result<Compiled, Vec<Fault>> {
        let mut faults = Vec::new();
        let key = compiled(Interpolation::compile(&source.key, constants, Escape::None), &mut faults);
        let prefix = source
            .prefix
            .as_ref()
            .and_then(|prefix| compiled(Interpolation::compile(prefix, constants, Escape::HeaderValue), &mut faults));
        let sign = match &source.sign {
            Some(sign) => compiled(Interpolation::compile_signed(sign, constants), &mut faults),
            None => {
                Interpolation::compile_signed(&Text { value: BODY.to_owned(), ..source.key.clone() }, constants).ok()
            }
        };
        if encoding == Encoding::None && source.sign.as_ref().is_none_or(|sign| sign.value == BODY) {
            let place = source.sign.as_ref().unwrap_or(&source.key);
            faults.push(whole(place, "there is no body to sign: every request would be signed alike").with_help(
                "name what is signed: `sign = \"{method} {url}\"`; `body = \"none\"` makes the map the query",
            ));
        }
        let parts = [key.as_ref(), prefix.as_ref(), sign.as_ref()];
        let lacks = parts.into_iter().flatten().find_map(Interpolation::lacks).map(str::to_owned);
        let key = key.filter(|_| lacks.is_none()).and_then(|key| {
            Key::of(&key, source.key_encoding)
                .map_err(|(message, help)| {
                    faults.push(whole(&source.key, message).with_help(help));
                })
                .ok()
        });
        match (faults.is_empty(), lacks, key, sign) {
            (true, Some(name), _, _) => Ok(Compiled::Lacks(name)),
            (true, None, Some(key), Some(sign)) => {
                let (algorithm, encoding) = (source.algorithm, source.encoding);
                Ok(Compiled::Signature(Signature { place, algorithm, key, encoding, prefix, sign }))
            }
            (_, _, _, _) => Err(faults),
        }
    }

    /// Signs what is finished: adds the parameter to the URL, or hands back the header.
    pub(super) fn sign(
        &self,
        method: &http::Method,
        url: &mut Parameters,
        body: &[u8],
        scope: Scope<'_>,
        secrets: Secrets,
    ) -> Result<Option<(HeaderName, HeaderValue)>, Unmappable> {
        let refuse = |reason: String| Unmappable { field: "auth".to_owned(), reason };
        let body = String::from_utf8_lossy(body);
        let finished = Finished { method: method.as_str(), url: &url.text, body: &body };
        let signed = self.sign.eval_signed(scope, finished, secrets).map_err(|error| refuse(error.to_string()))?;
        let signed = signed.ok_or_else(|| refuse("a part of what is signed is absent".to_owned()))?;
        let signature = match secrets {
            Secrets::Masked => MASK.to_owned(),
            Secrets::Revealed => self.digest(signed.as_bytes()).ok_or_else(|| refuse("a key of no use".to_owned()))?,
        };
        let prefix = self.prefix.as_ref().map_or(Ok(Some(String::new())), |prefix| prefix.eval(scope, secrets));
        let prefix = prefix.map_err(|error| refuse(error.to_string()))?;
        let prefix = prefix.ok_or_else(|| refuse("a part of the prefix is absent".to_owned()))?;
        let value = prefix + &signature;
        match &self.place {
            Place::Query(name) => {
                url.push(Escaping::Query, name, &value);
                Ok(None)
            }
            Place::Header(name) => {
                let value = header_value(&value, true);
                let value = value.ok_or_else(|| refuse("a character that cannot stand in a header".to_owned()))?;
                Ok(Some((name.clone(), value)))
            }
        }
    }

    /// The parameter of the query that it stands in.
    pub(super) fn parameter(&self) -> Option<&str> {
        match &self.place {
            Place::Query(name) => Some(name),
            Place::Header(_) => None,
        }
    }

    fn digest(&self, text: &[u8]) -> Option<String> {
        let bytes = match self.algorithm {
            HmacAlgorithm::Sha1 => hmac::<Hmac<Sha1>>(&self.key, text),
            HmacAlgorithm::Sha256 => hmac::<Hmac<Sha256>>(&self.key, text),
            HmacAlgorithm::Sha512 => hmac::<Hmac<Sha512>>(&self.key, text),
        };
        let bytes = bytes.ok()?;
        Some(match self.encoding {
            SignatureEncoding::Hex => hex::encode(bytes),
            SignatureEncoding::Base64 => STANDARD.encode(bytes),
        })
    }
}

fn hmac<M: Mac + KeyInit>(key: &Key, text: &[u8]) -> Result<Vec<u8>, InvalidLength> {
    let mut mac = <M as KeyInit>::new_from_slice(&key.0)?;
    mac.update(text);
    Ok(mac.finalize().into_bytes().to_vec())
}

/// The bytes of a key: prints `***`.
#[derive(Clone)]
struct Key(Box<[u8]>);

impl Key {
    /// The key, or what is wrong with it and what would be right.
    fn of(key: &Interpolation, encoding: KeyEncoding) -> Result<Key, (&'static str, &'static str)> {
        let Some(Ok(Some(text))) = key.constant(Secrets::Revealed) else {
            return Err(("a conversion cannot choose the key", "`{secrets.key}`"));
        };
        let bytes = match encoding {
            KeyEncoding::Text => Ok(text.into_bytes()),
            KeyEncoding::Hex => {
                hex::decode(&text).map_err(|_unspecific| ("the key is not hexadecimal", "pairs of 0-9 and a-f"))
            }
            KeyEncoding::Base64 => STANDARD_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_unspecific| {
                ("the key is not Base64", "letters, digits, `+` and `/`; with `-` and `_` it is another alphabet")
            }),
        };
        bytes.map(|bytes| Key(bytes.into()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// What is signed unless it is said.
const BODY: &str = "{body}";

fn compiled(result: Result<Interpolation, Vec<Fault>>, faults: &mut Vec<Fault>) -> Option<Interpolation> {
    result.map_err(|found| faults.extend(found)).ok()
}

fn whole(text: &Text, message: &str) -> Fault {
    text.fault(0..text.value.len(), message)
}
