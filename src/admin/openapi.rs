//! `GET /openapi.json`: both listeners as an OpenAPI 3.1 document, made from the types that are answered and read, and from
//! the conversion's table of fields.

mod admin;
mod page;
mod public;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::conversion;
use crate::ingress::problem::{Kind, Urn};

/// The document.
pub(crate) fn document() -> Value {
    let mut schemas = Schemas::new();
    let paths: Map<String, Value> =
        [public::paths(&mut schemas).into(), admin::paths(&mut schemas), page::paths(&mut schemas)]
            .concat()
            .into_iter()
            .collect();
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
                "merchant": { "type": "http", "scheme": "bearer", "description": "A merchant's token; with its client certificate, where it has both." },
                "certificate": { "type": "mutualTLS", "description": "The client certificate of a merchant that has no token." },
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

/// One operation of a path.
struct Call<'a> {
    summary: &'a str,
    tag: &'a str,
    /// The schemes of which one is asked for; `None`: none is needed.
    security: &'a [Option<&'a str>],
    parameters: Vec<Value>,
    /// The body's media types.
    body: Option<Value>,
    /// What is answered when all is well, by status.
    good: Vec<(&'a str, Value)>,
    /// Statuses of the refusals that there are.
    refusals: &'a [&'a str],
}

impl Call<'_> {
    fn value(self) -> Value {
        let secured = |scheme: &Option<&str>| scheme.map_or_else(|| json!({}), |scheme| json!({ scheme: [] }));
        let body = self.body.map(|content| json!({ "required": true, "content": content }));
        let parts = [
            ("tags", Some(json!([self.tag]))),
            ("summary", Some(self.summary.into())),
            ("security", Some(self.security.iter().map(secured).collect())),
            ("parameters", (!self.parameters.is_empty()).then_some(self.parameters.into())),
            ("requestBody", body),
            ("responses", Some(responses(self.good, self.refusals))),
        ];
        parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part?))).collect()
    }
}

/// A parameter that must be there.
fn in_path(name: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

fn conversion_id() -> Value {
    in_path("id", &json!({ "type": "string", "format": "uuid" }))
}

fn order_id() -> Value {
    in_path(
        "order_id",
        &json!({ "type": "string", "minLength": 1, "maxLength": 256, "description": "Percent-encoded." }),
    )
}

fn one_type(media: &str, schema: &Value) -> Value {
    json!({ media: { "schema": schema } })
}

fn answer(description: &str, schema: &Value, headers: &[&str]) -> Value {
    answer_of("application/json", description, schema, headers)
}

fn answer_of(media: &str, description: &str, schema: &Value, headers: &[&str]) -> Value {
    let header = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    let headers: Map<String, Value> = headers.iter().map(header).collect();
    json!({ "description": description, "headers": headers, "content": one_type(media, schema) })
}

/// What is answered when all is well, and which refusals there are; any request may also meet one that it is not for.
fn responses(good: Vec<(&str, Value)>, refusals: &[&str]) -> Value {
    let component = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
    let refused = refusals.iter().map(|status| ((*status).to_owned(), component(status)));
    let good = good.into_iter().map(|(status, answer)| (status.to_owned(), answer));
    good.chain(refused).chain([("default".to_owned(), component("problem"))]).collect()
}

/// A response for each status that some problem has, with the problems that it may be.
fn problems() -> Map<String, Value> {
    let problem = json!({ "$ref": format!("#{DEFINITIONS}/Problem") });
    let of =
        |description: &str, headers: &[&str]| answer_of("application/problem+json", description, &problem, headers);
    let by_status = Kind::ALL.into_iter().map(|kind| {
        let same = Kind::ALL.into_iter().filter(|other| other.status() == kind.status());
        let words: Vec<String> = same.map(|kind| format!("`{}`: {}", Urn(kind.name()), kind.title())).collect();
        let headers: &[&str] = match kind.status().as_u16() {
            401 => &["WWW-Authenticate"],
            405 => &["Allow"],
            415 => &["Accept", "Accept-Encoding"],
            429 => &["Retry-After", "RateLimit", "RateLimit-Policy"],
            503 => &["Retry-After"],
            _ => &[],
        };
        (kind.status().as_str().to_owned(), of(&words.join("; "), headers))
    });
    by_status.chain([("problem".to_owned(), of("Another problem", &[]))]).collect()
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
    fn a_merchant_without_a_token_is_asked_for_its_certificate_alone() {
        let document = document();
        for (path, method) in
            [("/v1/conversions", "post"), ("/v1/conversions/{id}", "get"), ("/v1/orders/{order_id}", "get")]
        {
            let security = &document["paths"][path][method]["security"];
            assert_eq!(*security, json!([{ "merchant": [] }, { "certificate": [] }]), "{path}");
        }
        assert_eq!(document["components"]["securitySchemes"]["certificate"]["type"], "mutualTLS");
    }

    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        let committed = include_str!("../../openapi.json");
        let served = format!("{:#}\n", document());
        assert!(committed == served, "run `capi-relay schema --openapi > openapi.json`");
    }
}
