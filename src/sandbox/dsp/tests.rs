use serde_json::{Value, json};

use super::super::Platform;
use super::super::request::Request;
use super::super::tests::{Bench, changed};

const DIGEST: &str = "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514";

/// *CAPI Request Payload Structure*, the document's sample; its HashedEmail is no SHA-256 and stands corrected.
fn example() -> Value {
    json!({
        "advertiser_id": 12,
        "conversion_type": "Page View",
        "data_source_key": "abc123def456",
        "event_id": "db0a5a9e030b93a12a4c4c6668b0d0474e673372beeab20efc00c6425f934069",
        "ids": [
            {"id": "85b04ded-09dd-4015-ad30-581e45452dd9", "name": "Guid"},
            {"id": "user@example.com", "name": "Email"},
            {"id": DIGEST, "name": "HashedEmail"},
        ],
        "order_id": "t1GFlDxuBVNbgMylYUoJ3aaTZ0ymGWZ4W2V1BLNBfJVgV+pf6Er2xjDh+Gvacl8rDcyQaEwiYsO++JC4uEMTZg==",
        "user_agent": {"browser": "Chrome", "operating_system": "Mac OS X"},
        "timestamp": "2026-04-13T14:30:00Z",
        "value": 99.99,
        "currency": "USD",
    })
}

fn post(body: &str) -> Request {
    let headers = [("authorization", "Bearer sandbox-dsp-token"), ("content-type", "application/json")];
    Request::of("POST", "/signal/v1/conversion", &headers, body)
}

#[track_caller]
fn wrong(changes: Value, violation: &str) {
    Bench::new(Platform::Dsp).refuse(&post(&changed(&example(), changes)), 400, &[violation]);
}

#[track_caller]
fn wrong_id(name: &str, id: &str, violation: &str) {
    wrong(json!({"ids": [{"id": id, "name": name}]}), violation);
}

#[test]
fn the_documents_sample_is_right() {
    Bench::new(Platform::Dsp).accept(&post(&example().to_string()), 200, "");
}

#[test]
fn every_identifier_type_is_taken() {
    let ids = json!({"ids": [
        {"id": "14155552671", "name": "Phone"},
        {"id": DIGEST, "name": "HashedPhone"},
        {"id": "customer_12345", "name": "FirstPartyId"},
    ], "value": null, "currency": null, "user_agent": {"browser": "Chrome"}, "conversion_type": "store_visit"});
    Bench::new(Platform::Dsp).accept(&post(&changed(&example(), ids)), 200, "");
}

#[test]
fn one_wrong_thing_is_one_violation() {
    wrong(json!({"advertiser_id": null}), "advertiser_id: is required");
    wrong(json!({"advertiser_id": "12"}), "advertiser_id: must be a JSON integer");
    wrong(json!({"advertiser_id": 12.5}), "advertiser_id: must be a whole number from 1, of at most 19 digits");
    wrong(json!({"advertiser_id": 0}), "advertiser_id: must be a whole number from 1, of at most 19 digits");
    wrong(json!({"data_source_key": null}), "data_source_key: is required");
    wrong(json!({"conversion_type": null}), "conversion_type: is required");
    wrong(json!({"conversion_type": ""}), "conversion_type: is empty: a field without a value is left out");
    wrong(json!({"timestamp": null}), "timestamp: is required");
    wrong(json!({"timestamp": "2026-04-13T16:30:00+02:00"}), "timestamp: must be an ISO 8601 time in UTC, with Z");
    wrong(json!({"value": "99.99"}), "value: must be a JSON number");
    wrong(json!({"value": -5}), "value: must not be negative");
    wrong(json!({"currency": null}), "currency: is required with value: its default is USD");
    wrong(json!({"currency": "US"}), "currency: must be an ISO 4217 code in capitals");
    wrong(json!({"user_agent": "Mozilla/5.0"}), "user_agent: must be a JSON object");
    wrong(json!({"user_agent": {}}), "user_agent: is empty: a field without a value is left out");
    wrong(json!({"user_agent": {"os": "iOS"}}), "user_agent.os: is not a field of the document");
    wrong(json!({"test": true}), "test: is not a field of the document");
    wrong(
        json!({"event_id": null, "order_id": null}),
        "event_id: send it or order_id: the platform deduplicates on them",
    );
}

#[test]
fn identifiers_are_held_to_their_formats() {
    wrong(json!({"ids": null}), "ids: is required");
    wrong(json!({"ids": []}), "ids: must hold at least one identifier");
    wrong(json!({"ids": {"email": "a@b.co"}}), "ids: must be a JSON array");
    wrong(json!({"ids": ["a"]}), "ids[0]: must be an object with id and name");
    wrong(json!({"ids": [{"name": "Guid"}]}), "ids[0].id: is required");
    wrong(json!({"ids": [{"id": "", "name": "Guid"}]}), "ids[0].id: is empty: a field without a value is left out");
    wrong(
        json!({"ids": [{"id": "c", "name": "FirstPartyId", "type": "x"}]}),
        "ids[0].type: is not a field of the document",
    );
    wrong_id("Guid", "85b04ded-09dd-7015-ad30-581e45452dd9", "ids[0].id: must be a UUID of version 4");
    wrong_id("Email", "User@Example.com", "ids[0].id: must be an e-mail address in lower case");
    let digest = "ids[0].id: must be a lower-case hexadecimal digest of 64 characters";
    wrong_id("HashedEmail", "63a710569261a24b3766275b7000ce8d7b32e2f7", digest);
    wrong_id("HashedPhone", "f7g8h9i0j1k2l3m4n5o6p7q8r9s0t1u2", digest);
    wrong_id("Phone", "+14155552671", "ids[0].id: must be digits only");
    wrong_id(
        "CustomerId",
        "1",
        "ids[0].name: must be one of Guid, Email, HashedEmail, Phone, HashedPhone, FirstPartyId",
    );
}

#[test]
fn headers_path_and_method_are_held_to_the_document() {
    let bench = Bench::new(Platform::Dsp);
    let body = example().to_string();
    let token = ("authorization", "Bearer sandbox-dsp-token");
    let json = ("content-type", "application/json; charset=utf-8");
    let path = "/signal/v1/conversion";
    bench.refuse(&Request::of("POST", "/signal", &[token, json], &body), 404, &["path: must be /signal/v1/conversion"]);
    bench.refuse(&Request::of("GET", path, &[token, json], &body), 405, &["method: must be POST"]);
    let bearer = "Authorization: must be Bearer with the account's token";
    bench.refuse(&Request::of("POST", path, &[json], &body), 401, &[bearer]);
    bench.refuse(&Request::of("POST", path, &[("authorization", "Bearer x"), json], &body), 401, &[bearer]);
    bench.refuse(&Request::of("POST", path, &[token], &body), 400, &["Content-Type: must be application/json"]);
}

#[test]
fn a_repeat_is_answered_as_the_first_and_has_no_effect() {
    let bench = Bench::new(Platform::Dsp);
    let send = |changes| {
        let (answer, received) = bench.send(&post(&changed(&example(), changes)));
        (answer.status, received.effect)
    };
    assert_eq!(send(json!({})), (200, true));
    assert_eq!(send(json!({"order_id": "o2"})), (200, false), "event_id is the key");
    assert_eq!(send(json!({"event_id": "e2"})), (200, true));
    assert_eq!(send(json!({"event_id": null, "order_id": "o3"})), (200, true));
    assert_eq!(send(json!({"event_id": null, "order_id": "o3"})), (200, false));
    assert_eq!(bench.counts().duplicates, 2);
}
