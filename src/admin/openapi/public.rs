//! The public listener's calls.

use serde_json::{Value, json};

use super::{Call, DEFINITIONS, Schemas, answer, answer_of, conversion_id, order_id};
use crate::ingress::batch::{BatchView, ITEMS_MAX};
use crate::ingress::view::{OrderView, ReceiptView, StatusView};

pub(super) fn paths(schemas: &mut Schemas) -> [(String, Value); 3] {
    let status = get("What became of a conversion", conversion_id(), &schemas.answered::<StatusView<'_>>());
    let order = get("What became of all conversions of an order", order_id(), &schemas.answered::<OrderView<'_>>());
    [
        ("/v1/conversions".to_owned(), json!({ "post": post(schemas) })),
        (CONVERSION.to_owned(), json!({ "get": status })),
        ("/v1/orders/{order_id}".to_owned(), json!({ "get": order })),
    ]
}

fn post(schemas: &mut Schemas) -> Value {
    let (receipt, batch) = (schemas.answered::<ReceiptView<'_>>(), schemas.answered::<BatchView<'_>>());
    let either = json!({ "oneOf": [receipt, batch] });
    let kept = |description: &str| {
        let operation = format!("#/paths/{}/get", CONVERSION.replace('/', "~1"));
        let link = json!({ "operationRef": operation, "parameters": { "id": "$response.body#/id" } });
        let mut answer = answer(description, &either, &[&["Location"], RATED].concat());
        if let Value::Object(answer) = &mut answer {
            answer.insert("links".to_owned(), json!({ "status": link }));
        }
        answer
    };
    let problem = json!({ "$ref": format!("#{DEFINITIONS}/Problem") });
    let refused = json!({ "anyOf": [problem, { "allOf": [problem, batch] }] });
    let again = [&["Retry-After"], RATED].concat();
    let refused = |description| answer_of("application/problem+json", description, &refused, &again);
    let conversion = json!({ "$ref": format!("#{DEFINITIONS}/Conversion") });
    let many = json!({ "type": "array", "items": conversion, "minItems": 1, "maxItems": ITEMS_MAX });
    let call = Call {
        summary: "Takes one conversion, or a batch; answered once it is on stable storage",
        tag: TAG,
        security: KNOWN,
        parameters: parameters(),
        body: Some(json!({
            "application/json": { "schema": { "oneOf": [conversion, many] } },
            "application/x-ndjson": { "schema": { "type": "string", "description": "A conversion a line." } },
        })),
        good: vec![
            ("200", kept("A repeat, with the first one's id and states; or all has been done that was waited for.")),
            ("202", kept("It is on stable storage.")),
            ("207", answer("A batch of which some were refused.", &batch, &again)),
            ("422", refused("It is not valid; or nothing of a batch is, and `results` say why.")),
            ("503", refused("It may be sent again, as may all of a batch, whose `results` say why.")),
        ],
        refusals: &["400", "401", "403", "408", "413", "415", "429"],
    };
    call.value()
}

fn parameters() -> Vec<Value> {
    let header = |name: &str, description: &str, schema: Value, example: &str| json!({ "name": name, "in": "header", "description": description, "schema": schema, "example": example });
    let text = || json!({ "type": "string" });
    let key = json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$" });
    let repeat = "Under which a repeat is recognised, instead of by `event_id`; not with a batch of several.";
    let wait = "`wait=N`: holds the answer until all destinations have had their say, at most N seconds (30).";
    let trace = "W3C Trace Context: kept, and passed on with every attempt.";
    vec![
        header("Idempotency-Key", repeat, key, "order-1001"),
        header("Prefer", wait, text(), "wait=1"),
        header("traceparent", trace, text(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ]
}

fn get(summary: &str, parameter: Value, schema: &Value) -> Value {
    let call = Call {
        summary,
        tag: TAG,
        security: KNOWN,
        parameters: vec![parameter],
        body: None,
        good: vec![("200", answer("Found.", schema, &[]))],
        refusals: &["400", "401", "403", "404", "429", "503"],
    };
    call.value()
}

const TAG: &str = "conversions";
/// By a token or, where the merchant has none, by a client certificate.
const KNOWN: &[Option<&str>] = &[Some("merchant"), Some("certificate")];
const CONVERSION: &str = "/v1/conversions/{id}";
const RATED: &[&str] = &["RateLimit", "RateLimit-Policy", "Preference-Applied"];
