//! Requests of a merchant who signs them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::client::{Call, Reply, call};
use super::{Running, conversion};
use crate::mapping::WebhookKey;
use crate::queue::Clock;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A request of the merchant, with this body, signed as if it had another.
async fn send(relay: &Running, call_of: Call<'_>, signed: &str) -> Reply {
    let time = (Clock::system().unix_ms() / 1000).to_string();
    let key = WebhookKey::parse(SECRET).unwrap();
    let digest = key.digest(b"msg_1", time.as_bytes(), signed.as_bytes()).unwrap();
    let signature = format!("v1,{}", BASE64_STANDARD.encode(digest));
    let signed =
        [("webhook-id", "msg_1"), ("webhook-timestamp", time.as_str()), ("webhook-signature", signature.as_str())];
    let headers = [call_of.headers, &signed].concat();
    call(relay.address, Call { headers: &headers, token: Some("signed-token"), ..call_of }).await
}

#[tokio::test]
async fn every_request_of_a_merchant_with_signing_secrets_is_signed() {
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("signed-token"));
    let merchant = format!("[merchant.signed]\ntoken_sha256 = \"{digest}\"\nsigning_secrets = [\"{SECRET}\"]");
    let relay = Running::start("", &merchant).await;
    let body = conversion("e-1", "1");
    let refusal = (401, "urn:capi-relay:problem:invalid-signature");

    let unsigned = call(relay.address, Call { token: Some("signed-token"), body: &body, ..Call::post() }).await;
    assert_eq!(unsigned.refusal(), refusal);
    assert_eq!(unsigned.json["detail"], "webhook-id is missing");
    assert_eq!(send(&relay, Call { body: &body, ..Call::post() }, "{}").await.refusal(), refusal);
    let accepted = send(&relay, Call { body: &body, ..Call::post() }, &body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");

    // Caught and sent again it is a repeat, and nothing that is not signed makes it another.
    let again = send(&relay, Call { body: &body, ..Call::post() }, &body).await;
    assert_eq!((again.status, &again.json["id"]), (200, &accepted.json["id"]));
    for key in ["other", "msg_1"] {
        let keyed = Call { body: &body, headers: &[("idempotency-key", key)], ..Call::post() };
        let refused = send(&relay, keyed, &body).await;
        assert_eq!(refused.refusal(), (400, "urn:capi-relay:problem:invalid-idempotency-key"));
    }
    let path = accepted.headers["location"].to_str().unwrap();
    assert_eq!(send(&relay, Call::get(path), "").await.status, 200);
    let unsigned = call(relay.address, Call { token: Some("signed-token"), ..Call::get(path) }).await;
    assert_eq!(unsigned.refusal(), refusal);
    assert_eq!(send(&relay, Call::get(path), "{}").await.refusal(), refusal);

    // A signature without the token is none of a merchant's, and who has no secrets signs nothing.
    let wrong = call(relay.address, Call { token: Some("wrong"), body: &body, ..Call::post() }).await;
    assert_eq!(wrong.refusal(), (401, "urn:capi-relay:problem:unauthorized"));
    assert_eq!(relay.post(&body).await.status, 202);
    relay.end().await;
}
