//! Trackdesk, *Postback*: `POST` or `GET /tracking/conversion/v1`, and the status update by external id that refunds
//! use. The host names the tenant, so it is not checked here.

use serde_json::json;

use super::memory::{CONVERSION, Memory};
use super::request::{Answer, Inspection, Outcome, Request, check_pairs, key, text, value};
use super::rules::{Decimals, Extras, Field, Findings, REQUIRED, Rule, UNLIMITED, check_object, optional, required};
use super::{Accounts, Failure};

const CREATE: &str = "/tracking/conversion/v1";
const UPDATE: &str = "/api/node/conversions/v1/update-status-by-external-id";
const ANY_TEXT: Rule = Rule::Text(UNLIMITED);

/// *Status*: "CONVERSION_STATUS_APPROVED or CONVERSION_STATUS_PENDING" and the others of the API. UNSPECIFIED is the
/// enum's zero and says nothing.
const STATUS: Rule = Rule::OneOf(&[
    "CONVERSION_STATUS_APPROVED",
    "CONVERSION_STATUS_FRAUD",
    "CONVERSION_STATUS_NOT_ALLOWED",
    "CONVERSION_STATUS_ON_HOLD",
    "CONVERSION_STATUS_PENDING",
    "CONVERSION_STATUS_REFUNDED",
    "CONVERSION_STATUS_REJECTED",
    "CONVERSION_STATUS_TEST",
]);

/// The POST's fields; the GET has the same with dots. The currency is "applicable only for revenue share cases" and
/// does no harm elsewhere, so it may stand without an amount.
const BODY: &[Field] = &[
    // conversionTypeCode: the type of conversion you want to record, such as a "sale".
    required("conversionTypeCode", ANY_TEXT),
    // cid: the specific Trackdesk Click ID, a UUID.
    optional("cid", Rule::Uuid),
    // externalCid, couponCodes, revenueOriginId: the other ways to attribute.
    optional("externalCid", ANY_TEXT),
    optional("couponCodes", Rule::Texts),
    optional("revenueOriginId", Rule::Uuid),
    // amount.value: "must be formatted as a string", "100" or "100.50".
    optional("amount", Rule::Object(&[required("value", Rule::DecimalText(Decimals::ANY))])),
    // currency.code: ISO 4217.
    optional("currency", Rule::Object(&[required("code", Rule::Currency)])),
    // externalId: deduplication; "must be completely unique on the platform".
    optional("externalId", ANY_TEXT),
    // customerId: general parameter for any information.
    optional("customerId", ANY_TEXT),
    // customParams.advS1 … advS5: "a total of 5 of these parameters".
    optional(
        "customParams",
        Rule::Object(&[
            optional("advS1", ANY_TEXT),
            optional("advS2", ANY_TEXT),
            optional("advS3", ANY_TEXT),
            optional("advS4", ANY_TEXT),
            optional("advS5", ANY_TEXT),
        ]),
    ),
    // status: the status that the conversion will be created with.
    optional("status", STATUS),
];

/// The update's fields, in snake case as the vendor's own plugin sends them.
const CHANGE: &[Field] = &[
    required("external_id", ANY_TEXT),
    required("conversion_type_code", ANY_TEXT),
    required("status", STATUS),
    optional("revenue_origin_id", Rule::Uuid),
];

pub(super) fn inspect(request: &Request, accounts: &Accounts) -> Inspection {
    let mut findings = Findings::default();
    match (request.path.as_str(), request.method.as_str()) {
        (CREATE, "POST") => {
            request.without_query(&mut findings);
            let members = request.json(&mut findings);
            check_object("", &members, BODY, Extras::Refused, &mut findings);
            let coupons = members.iter().any(|(name, _)| **name == *"couponCodes");
            create(request, accounts, findings, coupons, |name| text(&members, name))
        }
        (CREATE, "GET") => {
            request.without_body(&mut findings);
            let query = request.query(&mut findings);
            check_pairs(&query, flat, &mut findings);
            if value(&query, "conversionTypeCode").is_none() {
                findings.add("conversionTypeCode", REQUIRED);
            }
            create(request, accounts, findings, false, |name| value(&query, name))
        }
        (UPDATE, "POST") => update(request, accounts, findings),
        (CREATE | UPDATE, _) => {
            findings.add("method", "must be POST, or GET for a conversion");
            Inspection::unknown(findings, status(405, 12, "Method Not Allowed"))
        }
        _ => {
            findings.add("path", format!("must be {CREATE} or {UPDATE}"));
            Inspection::unknown(findings, status(404, 5, "Not Found"))
        }
    }
}

/// The rule of a dotted name in the GET's query. Lists have no form there.
fn flat(name: &str) -> Option<Rule> {
    let (head, tail) = name.split_once('.').map_or((name, None), |(head, tail)| (head, Some(tail)));
    let rule = BODY.iter().find(|field| field.name == head)?.rule;
    match (rule, tail) {
        (Rule::Object(inner), Some(tail)) => inner.iter().find(|field| field.name == tail).map(|field| field.rule),
        (Rule::Object(_) | Rule::Texts, None) | (_, Some(_)) => None,
        (rule, None) => Some(rule),
    }
}

fn create<'a>(
    request: &Request,
    accounts: &Accounts,
    mut findings: Findings,
    coupons: bool,
    field: impl Fn(&str) -> Option<&'a str>,
) -> Inspection {
    // x-api-key is optional here; a wrong one is refused.
    let stranger = request.header("x-api-key").is_some_and(|given| given != accounts.trackdesk_api_key);
    if stranger {
        findings.add("x-api-key", "must be the tenant's key");
    }
    let (cid, external_cid, origin) = (field("cid"), field("externalCid"), field("revenueOriginId"));
    if cid.is_none() && external_cid.is_none() && !coupons {
        findings.add("cid", "one of cid, externalCid and couponCodes is required");
    }
    if origin.is_none() && cid.is_none() && (external_cid.is_some() || coupons) {
        findings.add("revenueOriginId", "is required with externalCid and couponCodes");
    }
    let code = field("conversionTypeCode").unwrap_or_default();
    // The texts are those of the tenant's *Conversion Error Log*.
    let refusal = if stranger {
        Some(status(401, 16, "Unauthorized"))
    } else if !findings.is_empty() {
        Some(status(400, 3, &findings.sentences().join("; ")))
    } else if code.starts_with("missing_") {
        Some(status(404, 5, "Conversion type not found"))
    } else if cid.is_some_and(|cid| cid.starts_with("00000000-")) {
        Some(status(404, 5, "Conversion source not found"))
    } else if external_cid.is_some_and(|cid| cid.starts_with("missing_")) {
        Some(status(404, 5, "Conversion source with the external cid not found"))
    } else {
        None
    };
    let external_id = field("externalId");
    Inspection {
        operation: CONVERSION,
        handle: external_id.or(cid).or(external_cid).unwrap_or_default().to_owned(),
        // *Deduplication*: conversion type and External ID, and the revenue origin on network tenants.
        key: external_id.map(|external_id| key([origin.unwrap_or_default(), code, external_id])),
        findings,
        refusal,
        marks: Vec::new(),
        subject: None,
    }
}

fn update(request: &Request, accounts: &Accounts, mut findings: Findings) -> Inspection {
    request.without_query(&mut findings);
    let authorised = request.header("x-api-key") == Some(accounts.trackdesk_api_key.as_str());
    if !authorised {
        findings.add("x-api-key", "must be the tenant's key");
    }
    let members = request.json(&mut findings);
    check_object("", &members, CHANGE, Extras::Refused, &mut findings);
    let refusal = if !authorised {
        Some(status(401, 16, "Unauthorized"))
    } else if !findings.is_empty() {
        Some(status(400, 3, &findings.sentences().join("; ")))
    } else {
        None
    };
    let field = |name: &str| text(&members, name).unwrap_or_default();
    let subject = key([field("revenue_origin_id"), field("conversion_type_code"), field("external_id")]);
    Inspection {
        operation: "status",
        handle: field("external_id").to_owned(),
        key: Some(key(["status", &subject, field("status")])),
        subject: Some(subject),
        findings,
        refusal,
        marks: Vec::new(),
    }
}

/// A repeat "will fail and be recorded in the Conversion error log". The success body is not documented.
pub(super) fn settle(inspection: &Inspection, memory: &mut Memory) -> Outcome {
    let done = || Answer::json(200, &json!({}));
    if let Some(subject) = &inspection.subject {
        let first = inspection.key.as_deref().is_some_and(|key| memory.knows(subject) && memory.first(key));
        return match (memory.knows(subject), first) {
            (false, _) => Outcome::idle(status(404, 5, "Conversion not found")),
            (true, true) => Outcome::effect(done()),
            (true, false) => Outcome::duplicate(done()),
        };
    }
    match &inspection.key {
        Some(key) if !memory.first(key) => Outcome::duplicate(status(409, 6, "Conversion already exists")),
        _ => Outcome::effect(done()),
    }
}

/// The errors of the tenant's log; throttling is not documented.
pub(super) fn fail(failure: Failure) -> Answer {
    match failure {
        Failure::WrongCredential => status(401, 16, "Unauthorized"),
        Failure::ClickNotFound => status(404, 5, "Conversion source not found"),
        Failure::Invalid => status(400, 3, "Missing conversion amount"),
        Failure::Throttled { seconds } => status(429, 8, "Too Many Requests").with("retry-after", &seconds),
        Failure::Unavailable => status(503, 14, "System error"),
    }
}

/// An error in the shape of gRPC over JSON, which the API's naming suggests; the document shows none.
fn status(http: u16, code: u8, message: &str) -> Answer {
    Answer::json(http, &json!({"code": code, "message": message, "details": []}))
}

#[cfg(test)]
mod tests;
