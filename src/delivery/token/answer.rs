//! What a token endpoint's answer means (RFC 6749, 5.1 and 5.2): one pure function.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::NoToken;
use crate::delivery::backoff::asked_wait;
use crate::delivery::judge::{Body, FailureKind, Transmission, asks_for_repeat};
use crate::mapping::{Answer, OAuth, Secret};

/// What was granted.
#[derive(Debug)]
pub(super) struct Granted {
    /// The value of `Authorization` with the access token.
    pub(super) authorization: HeaderValue,
    /// How long it lasts, where that is said.
    pub(super) lasts: Option<Duration>,
    /// The refresh token that replaces the one that was sent.
    pub(super) refresh_token: Option<Secret>,
}

/// What became of a token request.
pub(super) fn read(grant: &OAuth, transmission: &Transmission, unix_ms: u64) -> Result<Granted, NoToken> {
    let unavailable = |hold| NoToken::Unavailable { reason: format!("{FAILED}: {}", transmission.summary()), hold };
    let (answer, body) = match transmission {
        Transmission::Answered { answer, body } => (answer, body),
        Transmission::NotSent(failure) if failure.kind == FailureKind::Refused => {
            return Err(NoToken::Refused { reason: format!("{FAILED}: {}", transmission.summary()) });
        }
        Transmission::NotSent(_) | Transmission::Unanswered(_) => return Err(unavailable(None)),
    };
    match answer.status() {
        status if status.is_success() && *body == Body::Broken => Err(unavailable(None)),
        status if status.is_success() => granted(grant, answer.body()).ok_or_else(|| {
            let reason = format!("{FAILED}: the answer ({}) holds no `access_token` that can be sent", status.as_u16());
            NoToken::Refused { reason }
        }),
        status if asks_for_repeat(status) => Err(unavailable(asked_wait(answer.headers(), None, unix_ms))),
        status => Err(NoToken::Refused { reason: refused(answer, status) }),
    }
}

/// RFC 6749, 5.1.
#[derive(Deserialize)]
struct Success {
    access_token: String,
    expires_in: Option<Value>,
    refresh_token: Option<String>,
}

fn granted(grant: &OAuth, body: &[u8]) -> Option<Granted> {
    let success: Success = serde_json::from_slice(body).ok()?;
    let token = Some(success.access_token).filter(|token| !token.is_empty())?;
    Some(Granted {
        authorization: grant.authorization(&token)?,
        lasts: success.expires_in.as_ref().and_then(seconds),
        refresh_token: success.refresh_token.filter(|token| !token.is_empty()).map(Secret::new),
    })
}

/// A number of seconds; some endpoints write it as a string. What has passed already lasts no time.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let seconds = seconds.filter(|seconds: &f64| seconds.is_finite())?.max(0.0);
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// RFC 6749, 5.2.
#[derive(Deserialize)]
struct Failure {
    error: String,
}

/// Only words of ours: what else the answer holds may be an echo.
fn refused(answer: &Answer, status: StatusCode) -> String {
    let failure = serde_json::from_slice::<Failure>(answer.body()).ok();
    let code = failure.as_ref().map_or("", |failure| failure.error.as_str());
    match ERRORS.iter().find(|(known, _)| *known == code) {
        Some((known, words)) => format!("{FAILED}: {known}: {words}"),
        None => match status.canonical_reason() {
            Some(reason) => format!("{FAILED}: status {} {reason}", status.as_u16()),
            None => format!("{FAILED}: status {}", status.as_u16()),
        },
    }
}

const FAILED: &str = "no access token from the token endpoint";
const ERRORS: [(&str, &str); 6] = [
    ("invalid_grant", "the refresh token is wrong, expired or revoked"),
    ("invalid_client", "the client id or the client secret is wrong"),
    ("unauthorized_client", "this client may not use this grant"),
    ("unsupported_grant_type", "it knows no such grant"),
    ("invalid_scope", "the scope is unknown, or more than was consented to"),
    ("invalid_request", "it misses a parameter, or does not know one"),
];

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::super::tests::grant;
    use super::*;

    fn answered(status: u16, body: &'static str, headers: HeaderMap) -> Transmission {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer::new(status, headers, Bytes::from_static(body.as_bytes()));
        Transmission::Answered { answer, body: Body::Whole }
    }

    #[test]
    fn a_grant_brings_a_token_its_life_and_perhaps_another_refresh_token() {
        #[track_caller]
        fn check(more: &'static str, lasts: Option<Duration>, refresh_token: Option<&str>) {
            let body = format!(r#"{{"access_token":"t0k3n","token_type":"Bearer"{more}}}"#).leak();
            let granted = read(&grant(), &answered(200, body, HeaderMap::new()), 0).unwrap();
            assert_eq!(granted.authorization, "Bearer t0k3n");
            assert_eq!(granted.lasts, lasts, "{more}");
            assert_eq!(granted.refresh_token.as_ref().map(Secret::reveal), refresh_token, "{more}");
            assert!(!format!("{granted:?}").contains("t0k3n"));
        }
        let hour = Some(Duration::from_secs(3600));
        check("", None, None);
        check(r#","expires_in":3600"#, hour, None);
        check(r#","expires_in":"3600","refresh_token":"r0t4ted""#, hour, Some("r0t4ted"));
        check(r#","expires_in":-5,"refresh_token":"""#, Some(Duration::ZERO), None);
        check(r#","expires_in":1e40,"refresh_token":null"#, Some(Duration::MAX), None);
        check(r#","expires_in":null"#, None, None);
    }

    #[test]
    fn a_refusal_is_told_in_words_of_ours() {
        #[track_caller]
        fn check(status: u16, body: &'static str, expected: &str) {
            let refused = read(&grant(), &answered(status, body, HeaderMap::new()), 0).unwrap_err();
            assert_eq!(
                refused,
                NoToken::Refused { reason: format!("no access token from the token endpoint: {expected}") }
            );
        }
        let revoked = "invalid_grant: the refresh token is wrong, expired or revoked";
        check(400, r#"{"error":"invalid_grant","error_description":"t0k3n"}"#, revoked);
        check(401, r#"{"error":"invalid_client"}"#, "invalid_client: the client id or the client secret is wrong");
        check(400, r#"{"error":"t0k3n"}"#, "status 400 Bad Request");
        check(401, "t0k3n", "status 401 Unauthorized");
        check(404, "", "status 404 Not Found");
        check(302, "", "status 302 Found");
        let unfit = "the answer (200) holds no `access_token` that can be sent";
        for body in ["<html>t0k3n</html>", r#"{"access_token":""}"#, r#"{"access_token":"a\r\nb"}"#, "{}"] {
            check(200, body, unfit);
        }
    }

    #[test]
    fn an_endpoint_in_trouble_is_asked_again() {
        for status in [408, 425, 429, 500, 502, 503] {
            let found = read(&grant(), &answered(status, r#"{"error":"invalid_grant"}"#, HeaderMap::new()), 0);
            assert!(matches!(found, Err(NoToken::Unavailable { hold: None, .. })), "{status}");
        }
    }

    #[test]
    fn a_token_endpoint_may_ask_for_a_wait_and_may_break_off() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        let busy = read(&grant(), &answered(429, "", headers), 0).unwrap_err();
        assert!(matches!(busy, NoToken::Unavailable { hold: Some(hold), .. } if hold == Duration::from_secs(7)));
        let whole = answered(200, r#"{"access_token":"t0k3n"}"#, HeaderMap::new());
        let Transmission::Answered { answer, .. } = whole else { panic!("answered") };
        let broken = read(&grant(), &Transmission::Answered { answer, body: Body::Broken }, 0).unwrap_err();
        assert_eq!(broken.reason(), "no access token from the token endpoint: status 200 OK, its body broke off");
    }
}
