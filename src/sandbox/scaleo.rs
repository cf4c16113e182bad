//! Scaleo, *Create conversion by click ID* (`POST /api/v2/network/tracking/conv-click-id`) and *Ultimate postbacks*
//! (`GET /track/conv-change`).

use serde_json::{Value, json};

use super::memory::{CONVERSION, Memory};
use super::request::{Answer, Inspection, Outcome, Request, check_pairs, key, text, value};
use super::rules::{
    Decimals, Extras, Field, Findings, Members, Rule, UNKNOWN, UNLIMITED, check_object, optional, required,
};
use super::{Accounts, Failure};

const CREATE: &str = "/api/v2/network/tracking/conv-click-id";
const CHANGE: &str = "/track/conv-change";

/// *Conventions*: money has up to four decimals.
const MONEY: Rule = Rule::Number(Decimals { whole: 24, fraction: 4, signed: false });
const ANY_TEXT: Rule = Rule::Text(UNLIMITED);

/// *Body* of *Create conversion by click ID*, row by row. Beyond it the API answers 400, "unknown parameter"; and "null
/// clears the field; omit keeps", so a null is never right.
const BODY: &[Field] = &[
    // click_id, string, required: click ID from the clicks table.
    required("click_id", ANY_TEXT),
    // revenue, payout, amount: number.
    optional("revenue", MONEY),
    optional("payout", MONEY),
    optional("amount", MONEY),
    // conv_status, string. Values: pending, approved, rejected, hold.
    optional("conv_status", Rule::OneOf(&["pending", "approved", "rejected", "hold"])),
    // goal_id, integer; goal_alias, string, alternative to goal_id.
    optional("goal_id", Rule::Integer { min: 1, digits: 19 }),
    optional("goal_alias", ANY_TEXT),
    // aff_click_id … promo_code: string.
    optional("aff_click_id", ANY_TEXT),
    optional("adv_order_id", ANY_TEXT),
    optional("adv_user_id", ANY_TEXT),
    optional("adv_track_id", ANY_TEXT),
    optional("track_id", ANY_TEXT),
    optional("idfa", ANY_TEXT),
    optional("gaid", ANY_TEXT),
    optional("promo_code", ANY_TEXT),
    // aff_param1-5, sub_id1-5, adv_param1-5: string.
    optional("aff_param1", ANY_TEXT),
    optional("aff_param2", ANY_TEXT),
    optional("aff_param3", ANY_TEXT),
    optional("aff_param4", ANY_TEXT),
    optional("aff_param5", ANY_TEXT),
    optional("sub_id1", ANY_TEXT),
    optional("sub_id2", ANY_TEXT),
    optional("sub_id3", ANY_TEXT),
    optional("sub_id4", ANY_TEXT),
    optional("sub_id5", ANY_TEXT),
    optional("adv_param1", ANY_TEXT),
    optional("adv_param2", ANY_TEXT),
    optional("adv_param3", ANY_TEXT),
    optional("adv_param4", ANY_TEXT),
    optional("adv_param5", ANY_TEXT),
    // email … vertical: string. Gender is m or f and birthday a date wherever the API says more about them.
    optional("email", ANY_TEXT),
    optional("firstname", ANY_TEXT),
    optional("lastname", ANY_TEXT),
    optional("address", ANY_TEXT),
    optional("city", ANY_TEXT),
    optional("region", ANY_TEXT),
    optional("country", ANY_TEXT),
    optional("postcode", ANY_TEXT),
    optional("phone", ANY_TEXT),
    optional("gender", Rule::OneOf(&["m", "f"])),
    optional("birthday", Rule::Date),
    optional("vertical", ANY_TEXT),
    // ip, string: overrides geo data from the click.
    optional("ip", Rule::Ip),
    // public_notes, private_notes: string.
    optional("public_notes", ANY_TEXT),
    optional("private_notes", ANY_TEXT),
    // click_referer_url, conversion_referer_url: string.
    optional("click_referer_url", Rule::Url),
    optional("conversion_referer_url", Rule::Url),
    // timestamp, click_timestamp: format Y-m-d H:i:s.
    optional("timestamp", Rule::CivilTime),
    optional("click_timestamp", Rule::CivilTime),
    // custom1-10: string.
    optional("custom1", ANY_TEXT),
    optional("custom2", ANY_TEXT),
    optional("custom3", ANY_TEXT),
    optional("custom4", ANY_TEXT),
    optional("custom5", ANY_TEXT),
    optional("custom6", ANY_TEXT),
    optional("custom7", ANY_TEXT),
    optional("custom8", ANY_TEXT),
    optional("custom9", ANY_TEXT),
    optional("custom10", ANY_TEXT),
    // deliver_lead, string. Values: yes, no.
    optional("deliver_lead", Rule::OneOf(&["yes", "no"])),
];

pub(super) fn inspect(request: &Request, accounts: &Accounts) -> Inspection {
    let mut findings = Findings::default();
    match (request.path.as_str(), request.method.as_str()) {
        (CREATE, "POST") => create(request, accounts, findings),
        (CHANGE, "GET") => change(request, accounts, findings),
        (CREATE | CHANGE, _) => {
            findings.add("method", format!("must be POST for {CREATE} and GET for {CHANGE}"));
            Inspection::unknown(findings, error(405, "Method Not Allowed", &json!({})))
        }
        _ => {
            findings.add("path", format!("must be {CREATE} or {CHANGE}"));
            Inspection::unknown(findings, error(404, "Page not found.", &json!({})))
        }
    }
}

fn create(request: &Request, accounts: &Accounts, mut findings: Findings) -> Inspection {
    let query = request.query(&mut findings);
    let stranger = stranger(&query, accounts, &mut findings);
    let members = request.json(&mut findings);
    check_object("", &members, BODY, Extras::Refused, &mut findings);
    let has = |name: &str| members.iter().any(|(member, _)| **member == *name);
    if has("goal_id") && has("goal_alias") {
        findings.add("goal_alias", "is an alternative to goal_id: send one of the two");
    }
    let click_id = text(&members, "click_id").unwrap_or_default();
    let refusal = if let Some(answer) = stranger {
        Some(answer)
    } else if !findings.is_empty() {
        Some(invalid(&findings))
    } else if click_id.starts_with("missing_") {
        Some(error(404, "Click not found", &json!({})))
    } else if click_id.starts_with("trash_") {
        // "Empty or missing required fields will result in conv_status=trash": a success that is none.
        Some(created(0, "trash"))
    } else {
        None
    };
    let goal = goal(&members);
    Inspection {
        operation: CONVERSION,
        handle: text(&members, "adv_order_id").unwrap_or(click_id).to_owned(),
        key: Some(key(["goal", click_id, &goal])),
        marks: Vec::new(),
        subject: None,
        findings,
        refusal,
    }
}

/// *Authorizations*: `api-key` in the query; 401 when it is missing or wrong, 403 when it is of another role.
fn stranger(query: &[(String, String)], accounts: &Accounts, findings: &mut Findings) -> Option<Answer> {
    for (name, _) in query.iter().filter(|(name, _)| name != "api-key") {
        findings.add(format!("query {name}"), UNKNOWN);
    }
    match value(query, "api-key") {
        Some(given) if given == accounts.scaleo_api_key => None,
        Some(given) if given == accounts.scaleo_affiliate_key => {
            findings.add("query api-key", "must be of a manager's role");
            Some(error(403, "You are not allowed to perform this action.", &json!({})))
        }
        _ => {
            findings.add("query api-key", "must be the account's key");
            Some(error(401, "Your request was made with invalid credentials.", &json!({})))
        }
    }
}

/// The goal that a body names; the default goal has no name.
fn goal(members: &Members) -> String {
    members
        .iter()
        .find_map(|(name, value)| match (&**name, value) {
            ("goal_id", crate::conversion::Json::Number(text)) => Some(format!("id {text}")),
            ("goal_alias", crate::conversion::Json::Text(text)) => Some(format!("alias {text}")),
            _ => None,
        })
        .unwrap_or_default()
}

/// *Update a Conversion*: "required field Click ID or Transaction ID", with the advertiser security token on every
/// postback, and "all possible fields" of a conversion beside.
fn change(request: &Request, accounts: &Accounts, mut findings: Findings) -> Inspection {
    request.without_body(&mut findings);
    let query = request.query(&mut findings);
    let rule = |name: &str| match name {
        "token" | "transaction_id" => Some(ANY_TEXT),
        // *Custom statuses*: approved, pending, rejected and trash are supported; *hold* is the API's.
        "conv_status" => Some(Rule::OneOf(&["pending", "approved", "rejected", "hold", "trash"])),
        _ => BODY.iter().find(|field| field.name == name).map(|field| field.rule),
    };
    check_pairs(&query, rule, &mut findings);
    let authorised = value(&query, "token") == Some(accounts.scaleo_security_token.as_str());
    if !authorised {
        findings.add("query token", "must be the advertiser's security token");
    }
    let (click_id, transaction) = (value(&query, "click_id"), value(&query, "transaction_id"));
    let goal = match (value(&query, "goal_id"), value(&query, "goal_alias")) {
        (Some(_), Some(_)) => {
            findings.add("goal_alias", "is an alternative to goal_id: send one of the two");
            String::new()
        }
        (Some(id), None) => format!("id {id}"),
        (None, Some(alias)) => format!("alias {alias}"),
        (None, None) => String::new(),
    };
    let subject = match (transaction, click_id) {
        (Some(transaction), _) => Some(key(["transaction", transaction])),
        (None, Some(click_id)) => Some(key(["goal", click_id, &goal])),
        (None, None) => {
            findings.add("click_id", "is required unless transaction_id is sent");
            None
        }
    };
    let refusal = if !authorised {
        Some(error(401, "Advertiser security token is invalid", &json!({})))
    } else if !findings.is_empty() {
        Some(invalid(&findings))
    } else {
        None
    };
    Inspection {
        operation: "status",
        handle: value(&query, "adv_order_id").or(click_id).or(transaction).unwrap_or_default().to_owned(),
        key: Some(key(["change", &request.query])),
        marks: Vec::new(),
        subject,
        findings,
        refusal,
    }
}

/// A conversion, a repeat where *Multiple Conversions* is No, or a change of the last conversion.
pub(super) fn settle(inspection: &Inspection, memory: &mut Memory, accounts: &Accounts) -> Outcome {
    let key = inspection.key.as_deref().unwrap_or_default();
    if inspection.operation != CONVERSION {
        let known = inspection.subject.as_deref().is_some_and(|subject| memory.knows(subject));
        return match known {
            false => Outcome::idle(error(404, "Conversion not found", &json!({}))),
            true if memory.first(key) => Outcome::effect(success(&json!({"message": "Conversion updated"}))),
            true => Outcome::duplicate(success(&json!({"message": "Conversion updated"}))),
        };
    }
    if !memory.first(key) && !accounts.scaleo_multiple_conversions {
        // *Debugging* gives the text; the status is not documented.
        return Outcome::duplicate(error(422, "Multiple Conversions are not Allowed", &json!({})));
    }
    let number = memory.next();
    memory.first(&super::request::key(["transaction", &transaction(number)]));
    Outcome::effect(created(number, "pending"))
}

/// *Errors*. 429 is not documented.
pub(super) fn fail(failure: Failure) -> Answer {
    match failure {
        Failure::WrongCredential => error(401, "Your request was made with invalid credentials.", &json!({})),
        Failure::ClickNotFound => error(404, "Click not found", &json!({})),
        Failure::Invalid => error(422, "Validation failed", &json!({"errors": {"amount": ["must be a JSON number"]}})),
        Failure::Throttled { seconds } => error(429, "Too Many Requests", &json!({})).with("retry-after", &seconds),
        Failure::Unavailable => error(503, "Service Unavailable", &json!({})),
    }
}

/// 400 for "invalid JSON, unknown parameter, malformed", 422 with `info.errors` for fields.
fn invalid(findings: &Findings) -> Answer {
    let malformed = findings
        .iter()
        .any(|finding| finding.rule == UNKNOWN || matches!(finding.field.as_str(), "body" | "query" | "Content-Type"));
    if malformed {
        return error(400, &findings.sentences().join("; "), &json!({}));
    }
    let mut errors = serde_json::Map::new();
    for finding in findings.iter() {
        let entry = errors.entry(finding.field.clone()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(rules) = entry {
            rules.push(Value::String(finding.rule.clone()));
        }
    }
    error(422, "Validation failed", &json!({ "errors": errors }))
}

/// *Response*, "Conversion created".
fn created(number: u64, conv_status: &str) -> Answer {
    success(&json!({
        "status": "success",
        "message": "Conversion created",
        "lead_id": format!("00000000-0000-4000-8000-{number:012x}"),
        "transaction_id": transaction(number),
        "conv_status": conv_status,
        "affiliate_id": 1,
        "offer_id": 1,
        "goal_id": 1,
        "additional": {},
    }))
}

fn transaction(number: u64) -> String {
    format!("t{number:012x}")
}

fn success(info: &Value) -> Answer {
    Answer::json(200, &json!({"status": "success", "code": 200, "name": "OK", "message": "", "info": info}))
}

/// The envelope of every error: `status` is "error", `code` the HTTP status.
fn error(status: u16, message: &str, info: &Value) -> Answer {
    let name = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
    Answer::json(status, &json!({"status": "error", "code": status, "name": name, "message": message, "info": info}))
}

#[cfg(test)]
mod tests;
