//! `GET /openapi.json`: both listeners as an OpenAPI 3.1 document, made from the types that are answered and read, and from
//! the conversion's table of fields.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::dead::{PageView, kinds};
use super::reload::ReloadedView;
use super::treatment::{DiscardedView, ReplayedView};
use super::{DestinationsView, Report, forget, treatment};
use crate::conversion;
use crate::ingress::batch::{BatchView, ITEMS_MAX};
use crate::ingress::problem::{Kind, Urn};
use crate::ingress::view::{OrderView, ReceiptView, StatusView};

/// The document.
pub(crate) fn document() -> Value {
    let mut schemas = Schemas::new();
    let (public, admin) = (public(&mut schemas), admin(&mut schemas));
    let paths: Map<String, Value> = public.into_iter().chain(admin).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "capi-relay",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": env!("CARGO_PKG_DESCRIPTION"),
            "description": "The public listener takes conversions; paths with servers of their own are the admin listener's.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "https://127.0.0.1:8443", "description": "`server.listen`" }],
        "tags": [
            { "name": "conversions", "description": "For merchants: conversions in, their states out." },
            { "name": "admin", "description": "For operators: `server.admin`, on loopback unless it is configured otherwise." },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "responses": problems(),
            "headers": headers(),
            "securitySchemes": {
                "merchant": { "type": "http", "scheme": "bearer", "description": "A merchant's token." },
                "admin": {
                    "type": "http", "scheme": "bearer",
                    "description": "The admin token, where `server.admin_token_sha256` asks for one.",
                },
            },
        },
    })
}

/// Where schemas are gathered: what is answered, what is read, and the conversion.
struct Schemas {
    answered: SchemaGenerator,
    read: SchemaGenerator,
}

impl Schemas {
    fn new() -> Schemas {
        let settings =
            || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = DEFINITIONS.into());
        Schemas {
            answered: settings().for_serialize().into_generator(),
            read: settings().for_deserialize().into_generator(),
        }
    }

    fn answered<T: JsonSchema>(&mut self) -> Value {
        self.answered.subschema_for::<T>().to_value()
    }

    fn read<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    fn finish(mut self) -> Map<String, Value> {
        let mut schemas = self.answered.take_definitions(true);
        schemas.append(&mut self.read.take_definitions(true));
        let mut conversion = conversion::json_schema();
        let parts = conversion.as_object_mut().and_then(|schema| {
            ["$schema", "$id"].into_iter().for_each(|name| drop(schema.remove(name)));
            schema.remove("$defs")
        });
        let parts = parts.and_then(|parts| parts.as_object().cloned()).unwrap_or_default();
        let parts = parts.into_iter().map(|(name, part)| (format!("{PART}{name}"), part));
        let of_conversion = parts.chain([("Conversion".to_owned(), conversion)]).map(|(name, mut schema)| {
            point_to_components(&mut schema);
            (name, schema)
        });
        schemas.extend(of_conversion);
        schemas
    }
}

/// `#/$defs/text` becomes a component of the document.
fn point_to_components(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value.as_str().and_then(|text| text.strip_prefix("#/$defs/"))) {
                    ("$ref", Some(part)) => *value = format!("#{DEFINITIONS}/{PART}{part}").into(),
                    _ => point_to_components(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(point_to_components),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn public(schemas: &mut Schemas) -> [(String, Value); 3] {
    let receipt = schemas.answered::<ReceiptView<'_>>();
    let batch = schemas.answered::<BatchView<'_>>();
    let conversion = json!({ "$ref": format!("#{DEFINITIONS}/Conversion") });
    let many = json!({ "type": "array", "items": conversion, "minItems": 1, "maxItems": ITEMS_MAX });
    let one_or_many = |description: &str| {
        let links = json!({ "status": { "operationId": "conversion", "parameters": { "id": "$response.body#/id" } } });
        let mut answer = answer(
            description,
            &json!({ "oneOf": [receipt, batch] }),
            &["Location", "RateLimit", "RateLimit-Policy", "Preference-Applied"],
        );
        answer["links"] = links;
        answer
    };
    let post = json!({
        "operationId": "accept",
        "tags": ["conversions"],
        "summary": "Takes one conversion, or a batch",
        "description": "Answered once it is on stable storage. A repeat is known by the Idempotency-Key, else by `event_id`, else by `order_id` with `event_type` and `kind`.",
        "security": [{ "merchant": [] }],
        "parameters": [
            {
                "name": "Idempotency-Key", "in": "header", "description": "Under which a repeat is recognised; not with a batch of several.",
                "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$" },
            },
            {
                "name": "Prefer", "in": "header", "description": "`wait=N`: holds the answer until all destinations have had their say, at most N seconds (30).",
                "schema": { "type": "string" }, "example": "wait=1",
            },
            {
                "name": "traceparent", "in": "header", "description": "W3C Trace Context: kept, and passed on with every attempt.",
                "schema": { "type": "string" }, "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            },
        ],
        "requestBody": {
            "required": true,
            "description": "May be compressed with gzip or zstd.",
            "content": {
                "application/json": { "schema": { "oneOf": [conversion, many] } },
                "application/x-ndjson": { "schema": { "type": "string", "description": "A conversion a line." } },
            },
        },
        "responses": responses(&[
            ("200", one_or_many("A repeat, with the first one's id and states; or, after `Prefer: wait`, all that was to be done is done.")),
            ("202", one_or_many("It is on stable storage.")),
            ("207", answer("A batch of which some were refused.", &batch, &["Retry-After", "RateLimit", "RateLimit-Policy", "Preference-Applied"])),
        ], &["400", "401", "403", "408", "413", "415", "422", "429", "503"]),
    });
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } });
    let order = json!({
        "name": "order_id", "in": "path", "required": true, "description": "Percent-encoded.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 256 },
    });
    let status =
        get("conversion", "conversions", "What became of a conversion", &[id], schemas.answered::<StatusView<'_>>());
    let orders = get(
        "order",
        "conversions",
        "What became of all conversions of an order",
        &[order],
        schemas.answered::<OrderView<'_>>(),
    );
    [
        ("/v1/conversions".to_owned(), json!({ "post": post })),
        ("/v1/conversions/{id}".to_owned(), json!({ "get": status })),
        ("/v1/orders/{order_id}".to_owned(), json!({ "get": orders })),
    ]
}

/// A reading call of merchants.
fn get(operation: &str, tag: &str, summary: &str, parameters: &[Value], schema: Value) -> Value {
    json!({
        "operationId": operation,
        "tags": [tag],
        "summary": summary,
        "security": [{ "merchant": [] }],
        "parameters": parameters,
        "responses": responses(&[("200", answer("Found.", &schema, &[]))], &["401", "403", "404", "429", "503"]),
    })
}

fn admin(schemas: &mut Schemas) -> Vec<(String, Value)> {
    let text = |name: &str, description: &str| json!({ "name": name, "in": "query", "description": description, "schema": { "type": "string" } });
    let instant = |name: &str, description: &str| {
        // RFC 3339; an empty value is none.
        let schema = json!({ "type": "string", "pattern": "^$|^[0-9]{4}-[0-9]{2}-[0-9]{2}T" });
        json!({ "name": name, "in": "query", "description": description, "schema": schema })
    };
    let kind = json!({ "anyOf": [kinds(&mut schemas.answered), { "type": "string", "maxLength": 0 }] });
    let kind = json!({ "name": "kind", "in": "query", "schema": kind });
    let limit = json!({ "name": "limit", "in": "query", "schema": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 } });
    let filter = [
        text("destination", "Of this one."),
        kind,
        instant("since", "Given up at this time or later."),
        instant("until", "Given up before."),
        text("order_id", "Of this order."),
        limit,
        text("after", "`next` of the page before."),
    ];
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } });
    let order = json!({ "name": "order_id", "in": "path", "required": true, "schema": { "type": "string", "minLength": 1, "maxLength": 256 } });
    let report = schemas.answered::<Report>();
    let openmetrics =
        json!({ "description": "OpenMetrics.", "content": { super::OPENMETRICS: { "schema": { "type": "string" } } } });
    let of_json = |schema: &Value| answer("Done.", schema, &[]);
    let read = |summary: &str, parameters: &[Value], found: Value, refusals: &[&str]| {
        json!({ "tags": ["admin"], "summary": summary, "security": GUARDED.map(secured), "parameters": parameters,
            "responses": responses(&[("200", found)], refusals) })
    };
    let bid = |summary: &str, body: Option<Value>, done: Value, refusals: &[&str]| {
        let mut call = json!({ "tags": ["admin"], "summary": summary, "security": GUARDED.map(secured),
            "responses": responses(&[("200", done)], refusals) });
        if let Some(schema) = body {
            call["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        }
        json!({ "post": call })
    };
    let probe = |summary: &str, refusals: &[&str]| json!({ "get": { "tags": ["admin"], "summary": summary, "security": [], "responses": responses(&[("200", answer("Yes.", &report, &[]))], refusals) } });
    let destinations = schemas.answered::<DestinationsView<'_>>();
    let (status, orders, page) =
        (schemas.answered::<StatusView<'_>>(), schemas.answered::<OrderView<'_>>(), schemas.answered::<PageView<'_>>());
    let (replayed, discarded) = (schemas.answered::<ReplayedView>(), schemas.answered::<DiscardedView>());
    let (forgotten, reloaded) = (schemas.answered::<forget::ForgottenView>(), schemas.answered::<ReloadedView<'_>>());
    let (letters, to_forget) = (schemas.read::<treatment::Meant>(), schemas.read::<forget::Meant>());
    let calls = [
        ("/healthz", probe("Whether the process is alive", &[])),
        ("/readyz", probe("Whether conversions are taken", &["503"])),
        ("/metrics", json!({ "get": read("Metrics", &[], openmetrics, &["400", "401"]) })),
        (
            "/openapi.json",
            json!({ "get": read("This document", &[], answer("OpenAPI 3.1.", &json!({ "type": "object" }), &[]), &["400", "401"]) }),
        ),
        (
            "/admin/destinations",
            json!({ "get": read("State, backlog and last error of each destination", &[], of_json(&destinations), &["400", "401"]) }),
        ),
        (
            "/admin/conversions/{id}",
            json!({ "get": read("What became of any merchant's conversion", &[id], of_json(&status), &["400", "401", "404", "503"]) }),
        ),
        (
            "/admin/orders/{order_id}",
            json!({ "get": read("What became of every merchant's conversions of an order", &[order], of_json(&orders), &["400", "401", "404", "503"]) }),
        ),
        (
            "/admin/dead",
            json!({ "get": read("Dead letters, page by page", &filter, of_json(&page), &["400", "401", "503"]) }),
        ),
        (
            "/admin/dead/replay",
            bid(
                "Dead letters are owed again",
                Some(letters.clone()),
                of_json(&replayed),
                &["400", "401", "415", "503"],
            ),
        ),
        (
            "/admin/dead/discard",
            bid(
                "Nothing more is sent of dead letters",
                Some(letters),
                of_json(&discarded),
                &["400", "401", "415", "503"],
            ),
        ),
        (
            "/admin/forget",
            bid(
                "Erases what was received for an order, of a customer, or one conversion",
                Some(to_forget),
                of_json(&forgotten),
                &["400", "401", "415", "503"],
            ),
        ),
        ("/admin/reload", bid("Reads the configuration anew", None, of_json(&reloaded), &["400", "401", "422", "503"])),
    ];
    let server = json!([{ "url": "http://127.0.0.1:9090", "description": "`server.admin`" }]);
    let served = calls.into_iter().map(|(path, mut call)| {
        call["servers"] = server.clone();
        (path.to_owned(), call)
    });
    served.collect()
}

/// With the admin token, or without where none is configured.
const GUARDED: [Option<&str>; 2] = [None, Some("admin")];

fn secured(scheme: Option<&str>) -> Value {
    scheme.map_or_else(|| json!({}), |scheme| json!({ scheme: [] }))
}

fn answer(description: &str, schema: &Value, headers: &[&str]) -> Value {
    let headers: Map<String, Value> = headers
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect();
    json!({ "description": description, "headers": headers, "content": { "application/json": { "schema": schema } } })
}

/// What is answered when all is well, and which refusals there are; any request may also meet one that it is not for.
fn responses(good: &[(&str, Value)], refusals: &[&str]) -> Value {
    let refused = refusals
        .iter()
        .map(|status| ((*status).to_owned(), json!({ "$ref": format!("#/components/responses/{status}") })));
    let good = good.iter().map(|(status, answer)| ((*status).to_owned(), answer.clone()));
    let other = ("default".to_owned(), json!({ "$ref": "#/components/responses/problem" }));
    Value::Object(good.chain(refused).chain([other]).collect())
}

/// A response for each status that some problem has, with the problems that it may be.
fn problems() -> Map<String, Value> {
    let mut responses = Map::new();
    let of = |description: String, headers: &[&str]| {
        let mut answer = answer(&description, &Value::Null, headers);
        answer["content"] =
            json!({ "application/problem+json": { "schema": { "$ref": format!("#{DEFINITIONS}/Problem") } } });
        answer
    };
    for kind in Kind::ALL {
        let status = kind.status().as_str().to_owned();
        let same = Kind::ALL.into_iter().filter(|other| other.status() == kind.status());
        let words: Vec<String> = same.map(|kind| format!("`{}`: {}", Urn(kind.name()), kind.title())).collect();
        let headers: &[&str] = match status.as_str() {
            "401" => &["WWW-Authenticate"],
            "405" => &["Allow"],
            "415" => &["Accept", "Accept-Encoding"],
            "429" => &["Retry-After", "RateLimit", "RateLimit-Policy"],
            "503" => &["Retry-After"],
            _ => &[],
        };
        responses.insert(status, of(words.join("; "), headers));
    }
    responses.insert("problem".to_owned(), of("Another problem".to_owned(), &[]));
    responses
}

fn headers() -> Value {
    let text = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "Location": text("Where the status of what was accepted is."),
        "Retry-After": { "description": "Seconds after which the same may be sent again.", "schema": { "type": "integer", "minimum": 1 } },
        "RateLimit": text("What is left of the merchant's rate: `r` conversions, `t` seconds until it is whole again."),
        "RateLimit-Policy": text("The merchant's rate: `q` conversions in `w` seconds."),
        "Preference-Applied": text("Which preference was honoured."),
        "WWW-Authenticate": text("RFC 6750."),
        "Allow": text("The methods that there are."),
        "Accept": text("The types that are read."),
        "Accept-Encoding": text("The codings that are read."),
    })
}

const DEFINITIONS: &str = "/components/schemas";
/// Before the names of the conversion's own definitions.
const PART: &str = "Conversion.";

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` of the document.
    fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| match (name.as_str(), value) {
                ("$ref", Value::String(target)) => found.push(target),
                _ => references(value, found),
            }),
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for target in &found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            let target = format!("#{DEFINITIONS}/{name}");
            assert!(found.contains(&target.as_str()), "{name} is used nowhere");
        }
    }

    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        let committed = include_str!("../../openapi.json");
        let served = format!("{:#}\n", document());
        assert!(committed == served, "run `capi-relay schema --openapi > openapi.json`");
    }
}
