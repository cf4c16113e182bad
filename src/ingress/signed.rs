//! Signed requests, as Standard Webhooks (the specification of that name, version 1.0) has them: an HMAC over an id, a time and
//! the body as it came. Pure; the time is an argument.
//!
//! A refusal says which check failed, and nothing of what would have been right.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use subtle::{Choice, ConstantTimeEq};

use super::problem::{Kind, Problem};
use super::strict::{Field, one};
use crate::mapping::WebhookKey;

/// Whether a request is signed by one of `keys`; without keys it need not be. `raw_body` is what came, before decompression.
pub(super) fn check(
    keys: &[WebhookKey],
    headers: &HeaderMap,
    raw_body: &[u8],
    now_unix_ms: u64,
) -> Result<(), Problem> {
    if keys.is_empty() {
        return Ok(());
    }
    let id = single(headers, &ID, "webhook-id is missing", "webhook-id was sent more than once")?;
    // What is signed is joined by dots: an id that held one could take digits for its own that are the time's.
    if id.is_empty() || id.contains(&b'.') {
        return Err(refused("webhook-id is empty or holds a dot"));
    }
    let timestamp =
        single(headers, &TIMESTAMP, "webhook-timestamp is missing", "webhook-timestamp was sent more than once")?;
    check_time(timestamp, now_unix_ms)?;
    let missing = "webhook-signature is missing";
    let signatures = single(headers, &SIGNATURE, missing, "webhook-signature was sent more than once")?;
    let mut signatures = signatures.split(|byte| *byte == b' ').filter_map(decoded).peekable();
    if signatures.peek().is_none() {
        return Err(refused("webhook-signature holds no `v1,` with 32 bytes in Base64"));
    }
    let expected: Vec<[u8; 32]> = keys.iter().filter_map(|key| key.digest(id, timestamp, raw_body)).collect();
    let mut found = Choice::from(0);
    for signature in signatures.take(SIGNATURES_MAX) {
        for digest in &expected {
            // No early end: how long this takes says nothing of what was near.
            found |= digest.ct_eq(&signature);
        }
    }
    if bool::from(found) {
        return Ok(());
    }
    Err(refused("no v1 signature is that of this id, timestamp and body by a signing secret of this merchant"))
}

/// An `Idempotency-Key` is not signed: with one of its own a request that was caught could be sent again as another.
pub(super) fn check_key(keys: &[WebhookKey], key: Option<&str>) -> Result<(), Problem> {
    if keys.is_empty() || key.is_none() {
        return Ok(());
    }
    let detail = "a signed request has no Idempotency-Key, for that is not signed: give the conversion an `event_id`";
    Err(Problem::new(Kind::InvalidIdempotencyKey, detail))
}

fn check_time(timestamp: &[u8], now_unix_ms: u64) -> Result<(), Problem> {
    let digits = timestamp.iter().all(u8::is_ascii_digit);
    let seconds = std::str::from_utf8(timestamp).ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
    let seconds = seconds.ok_or_else(|| refused("webhook-timestamp is no Unix time in seconds"))?;
    let now = now_unix_ms / 1000;
    if seconds.saturating_add(TOLERANCE_SECONDS) < now {
        return Err(refused("webhook-timestamp is more than five minutes ago by the relay's clock"));
    }
    if seconds > now.saturating_add(TOLERANCE_SECONDS) {
        return Err(refused("webhook-timestamp is more than five minutes ahead of the relay's clock"));
    }
    Ok(())
}

/// `v1,` and a digest; other versions are other people's.
fn decoded(signature: &[u8]) -> Option<[u8; 32]> {
    BASE64_STANDARD.decode(signature.strip_prefix(b"v1,")?).ok()?.try_into().ok()
}

fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    missing: &'static str,
    several: &'static str,
) -> Result<&'h [u8], Problem> {
    match one(headers, name) {
        Field::One(value) => Ok(value.as_bytes()),
        Field::Absent => Err(refused(missing)),
        Field::Several => Err(refused(several)),
    }
}

fn refused(detail: &'static str) -> Problem {
    Problem::new(Kind::InvalidSignature, detail).with(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE))
}

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// A 401 names what would be taken (RFC 9110 §15.5.2); the specification has no name for it.
const CHALLENGE: &str = r#"StandardWebhooks realm="capi-relay""#;
/// What the specification's libraries allow.
const TOLERANCE_SECONDS: u64 = 5 * 60;
/// A sender signs with its old key and its new one.
const SIGNATURES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    const NOW_MS: u64 = 1_614_265_330_999;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    /// Id, time and signature of the example of the specification's reference libraries.
    const RIGHT: [(&str, &str); 3] = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];

    type Fields = Vec<(&'static str, &'static str)>;

    fn keys(texts: &[&str]) -> Vec<WebhookKey> {
        texts.iter().map(|text| WebhookKey::parse(text).unwrap()).collect()
    }

    /// The detail of the refusal, or nothing.
    fn outcome(keys: &[WebhookKey], fields: &[(&str, &str)], body: &[u8], now_ms: u64) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let Err(problem) = check(keys, &headers, body, now_ms) else { return String::new() };
        let detail = problem.detail().to_owned();
        let reply = problem.into_reply();
        assert_eq!(reply.status(), 401);
        assert!(reply.headers().contains_key(header::WWW_AUTHENTICATE));
        detail
    }

    #[test]
    fn each_check_that_fails_is_named() {
        let keys = keys(&[OTHER, KEY]);
        let check = |change: &dyn Fn(&mut Fields), expected: &str| {
            let mut fields = RIGHT.to_vec();
            change(&mut fields);
            assert_eq!(outcome(&keys, &fields, BODY, NOW_MS), expected, "{fields:?}");
        };
        let none = "no v1 signature is that of this id, timestamp and body by a signing secret of this merchant";
        check(&|_| {}, "");
        check(&|fields| fields[2].1 = "v1a,AAAA v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v2,x", "");
        check(&|fields| fields.retain(|field| field.0 != "webhook-id"), "webhook-id is missing");
        check(&|fields| fields.retain(|field| field.0 != "webhook-timestamp"), "webhook-timestamp is missing");
        check(&|fields| fields.retain(|field| field.0 != "webhook-signature"), "webhook-signature is missing");
        check(&|fields| fields.push(RIGHT[0]), "webhook-id was sent more than once");
        check(&|fields| fields.push(RIGHT[1]), "webhook-timestamp was sent more than once");
        check(&|fields| fields.push(RIGHT[2]), "webhook-signature was sent more than once");
        check(&|fields| fields[0].1 = "msg.1614265330", "webhook-id is empty or holds a dot");
        check(&|fields| fields[0].1 = "msg_another", none);
        check(&|fields| fields[1].1 = "1614265331", none);
        check(&|fields| fields[1].1 = "+1614265330", "webhook-timestamp is no Unix time in seconds");
        check(&|fields| fields[1].1 = "99999999999999999999", "webhook-timestamp is no Unix time in seconds");
        check(&|fields| fields[2].1 = "v1,h0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", none);
        let no_v1 = "webhook-signature holds no `v1,` with 32 bytes in Base64";
        check(&|fields| fields[2].1 = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", no_v1);
        check(&|fields| fields[2].1 = "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", no_v1);
        assert_eq!(outcome(&keys, &RIGHT, b"{}", NOW_MS), none);
        assert_eq!(outcome(&keys[..1], &RIGHT, BODY, NOW_MS), none, "by another key");
        assert_eq!(outcome(&[], &[], b"{}", 0), "", "who has no keys signs nothing");
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_either_way() {
        let (keys, minutes) = (keys(&[KEY]), |count: u64| count * 60_000);
        let early = "webhook-timestamp is more than five minutes ahead of the relay's clock";
        let late = "webhook-timestamp is more than five minutes ago by the relay's clock";
        for (now, expected) in [
            (NOW_MS + minutes(5), ""),
            (NOW_MS + minutes(5) + 1, late),
            (NOW_MS - 999 - minutes(5), ""),
            (NOW_MS - 1000 - minutes(5), early),
        ] {
            assert_eq!(outcome(&keys, &RIGHT, BODY, now), expected, "{now}");
        }
    }
}
