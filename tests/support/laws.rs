//! What holds of any bytes as a conversion. The properties and the fuzz target `conversion` call this one function.

use capi_relay::config::{Config, Decision};
use capi_relay::conversion::{Conversion, ConversionId, Json, Meta, PROBLEMS_MAX, Refusal};
use capi_relay::mapping::{Scope, Secret, Secrets};

/// JSON is the same after it was written, compactly or canonically; a conversion too, and every destination makes the same
/// of both; what is no conversion is refused in words.
pub(crate) fn any_bytes(bytes: &[u8], config: &Config) {
    let json = Json::parse(bytes);
    if let Ok(json) = &json {
        let again = Json::parse(&written(json)).unwrap();
        assert_eq!(again, *json, "written and read");
        let canonical = json.canonical();
        let again = Json::parse(&canonical).unwrap();
        assert_eq!(again.canonical(), canonical, "the canonical form of itself");
    }
    match Conversion::parse(bytes, "generated") {
        Ok(conversion) => {
            let text = written(&json.unwrap());
            let again = Conversion::parse(&text, "generated").unwrap();
            assert!(conversion == again && conversion.content_digest() == again.content_digest());
            sent(&conversion, &again, &String::from_utf8_lossy(&text), config);
        }
        Err(Refusal::Malformed(error)) => {
            assert!(json.is_err(), "JSON, and malformed: {error}");
        }
        Err(Refusal::Invalid(problems)) => {
            assert!((1..=PROBLEMS_MAX + 1).contains(&problems.len()), "{} problems", problems.len());
        }
    }
}

fn written(json: &Json) -> Vec<u8> {
    let mut bytes = Vec::new();
    json.write(&mut bytes);
    bytes
}

fn sent(conversion: &Conversion, again: &Conversion, text: &str, config: &Config) {
    let meta = Meta::new(ConversionId::new(1_780_000_000_000, [7; 10]), "acme".into(), None, conversion);
    for destination in &config.destinations {
        let scope = Scope { conversion, meta: &meta };
        let Decision::Send(operation) = destination.decide(scope) else { continue };
        let request = operation.request.render(scope, Secrets::Revealed);
        let other = operation.request.render(Scope { conversion: again, meta: &meta }, Secrets::Revealed);
        assert!(request == other, "{}: another request for the same conversion", destination.name);
        let Ok(request) = request else { continue };
        assert!(request.url.parse::<http::Uri>().is_ok(), "{}: {}", destination.name, request.url);
        let json = request.body.first() == Some(&b'{');
        assert!(!json || Json::parse(&request.body).is_ok(), "{}: no JSON", destination.name);
        let masked = operation.request.render(scope, Secrets::Masked).unwrap().to_http();
        // A merchant may send what happens to be the credential; it is then no secret of ours.
        let shown = |secret: &&Secret| masked.contains(secret.reveal()) && !text.contains(secret.reveal());
        assert!(destination.secrets.iter().find(shown).is_none(), "{}: a credential is shown", destination.name);
    }
}
