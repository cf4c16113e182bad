//! The Freshpaint partner contract, *Conversions API (CAPI) for Ad Platforms & DSPs*: `POST /signal/v1/conversion`.

use serde_json::json;

use crate::conversion::Json;

use super::memory::{CONVERSION, Memory};
use super::request::{Answer, Inspection, Outcome, Request, key, text};
use super::rules::{
    Decimals, Extras, Field, Findings, Members, Rule, UNLIMITED, check_object, check_text, optional, required,
};
use super::{Accounts, Failure};

/// *Example JSON Body Fields*, row by row. The table marks nothing as required: what identifies the account, the event
/// and the person is, and so is what would otherwise be guessed (a time of "now", a currency of USD).
const BODY: &[Field] = &[
    // advertiser_id, Integer: unique identifier for your ad account.
    required("advertiser_id", Rule::Integer { min: 1, digits: 19 }),
    // data_source_key, String: identifier for this CAPI data source.
    required("data_source_key", Rule::Text(UNLIMITED)),
    // conversion_type, String: "ex, 'Purchase', 'Page View', 'Signup', 'Lead'", so a platform may have others.
    required("conversion_type", Rule::Text(UNLIMITED)),
    // event_id, String: unique identifier for this event.
    optional("event_id", Rule::Text(UNLIMITED)),
    // ids, Array: at least one user is required.
    required("ids", Rule::Own),
    // user_agent, Object: browser and OS information.
    optional("user_agent", Rule::Object(USER_AGENT)),
    // timestamp, ISO 8601: when the conversion occurred (UTC). Default: now, which a later delivery must not lean on.
    required("timestamp", Rule::UtcInstant),
    // value, Float: no refund is documented, so a negative value has no meaning here.
    optional("value", Rule::Number(Decimals::ANY)),
    // currency, String (ISO 4217).
    optional("currency", Rule::Currency),
    // order_id, String: unique order ID for deduplication across retries.
    optional("order_id", Rule::Text(UNLIMITED)),
];

/// *CAPI Request Payload Structure*, user_agent: the parsed pair, not the raw header.
const USER_AGENT: &[Field] =
    &[optional("browser", Rule::Text(UNLIMITED)), optional("operating_system", Rule::Text(UNLIMITED))];

/// *`ids` Array*: objects with `id` and `name`.
const ID: &[Field] = &[required("id", Rule::Text(UNLIMITED)), required("name", Rule::Text(UNLIMITED))];

/// *Identifier Type* and *Format*. The examples of the two hashed types are no SHA-256; the format's words count.
const IDENTIFIERS: &[(&str, Rule)] = &[
    // Guid: UUID v4.
    ("Guid", Rule::UuidV4),
    // Email: plain text, lowercase.
    ("Email", Rule::LowerEmail),
    // HashedEmail: SHA-256 hex.
    ("HashedEmail", Rule::Hex(&[64])),
    // Phone: plain text, no formatting.
    ("Phone", Rule::Digits),
    // HashedPhone: SHA-256 hex.
    ("HashedPhone", Rule::Hex(&[64])),
    // FirstPartyId: string, custom ID.
    ("FirstPartyId", Rule::Text(UNLIMITED)),
];

pub(super) fn inspect(request: &Request, accounts: &Accounts) -> Inspection {
    let mut findings = Findings::default();
    if request.path != "/signal/v1/conversion" {
        findings.add("path", "must be /signal/v1/conversion");
        return Inspection::unknown(findings, error(404, "not found"));
    }
    if request.method != "POST" {
        findings.add("method", "must be POST");
        return Inspection::unknown(findings, error(405, "method not allowed").with("allow", &"POST"));
    }
    // *HTTP Headers*: Authorization, bearer token or API key.
    let authorised = request.bearer() == Some(accounts.dsp_token.as_str());
    if !authorised {
        findings.add("Authorization", "must be Bearer with the account's token");
    }
    request.without_query(&mut findings);
    let members = request.json(&mut findings);
    check_object("", &members, BODY, Extras::Refused, &mut findings);
    check_ids(&members, &mut findings);
    let (event_id, order_id) = (text(&members, "event_id"), text(&members, "order_id"));
    if event_id.or(order_id).is_none() {
        findings.add("event_id", "send it or order_id: the platform deduplicates on them");
    }
    let has = |name: &str| members.iter().any(|(member, _)| **member == *name);
    if has("value") && !has("currency") {
        findings.add("currency", "is required with value: its default is USD");
    }
    let refusal = if !authorised {
        Some(error(401, "invalid token"))
    } else if !findings.is_empty() {
        Some(error(400, &findings.sentences().join("; ")))
    } else {
        None
    };
    Inspection {
        operation: CONVERSION,
        handle: event_id.or(order_id).unwrap_or_default().to_owned(),
        key: match (event_id, order_id) {
            (Some(event_id), _) => Some(key(["event", event_id])),
            (None, order_id) => order_id.map(|order_id| key(["order", order_id])),
        },
        findings,
        refusal,
        marks: Vec::new(),
        subject: None,
    }
}

fn check_ids(members: &Members, findings: &mut Findings) {
    let Some((_, ids)) = members.iter().find(|(name, _)| **name == *"ids") else { return };
    let Json::Array(entries) = ids else {
        findings.add("ids", "must be a JSON array");
        return;
    };
    if entries.is_empty() {
        findings.add("ids", "must hold at least one identifier");
    }
    for (index, entry) in entries.iter().enumerate() {
        let Json::Object(pair) = entry else {
            findings.add(format!("ids[{index}]"), "must be an object with id and name");
            continue;
        };
        check_object(&format!("ids[{index}]."), pair, ID, Extras::Refused, findings);
        let (Some(id), Some(name)) = (text(pair, "id"), text(pair, "name")) else { continue };
        match IDENTIFIERS.iter().find(|(known, _)| *known == name) {
            // An empty id is already reported by the table above.
            Some((_, rule)) if !id.is_empty() => findings.expect(&format!("ids[{index}].id"), check_text(*rule, id)),
            Some(_) => {}
            None => findings.add(
                format!("ids[{index}].name"),
                "must be one of Guid, Email, HashedEmail, Phone, HashedPhone, FirstPartyId",
            ),
        }
    }
}

/// "Ad platform should properly handle deduplication": a repeat is answered as the first was, and changes nothing. The
/// document names the status only, so the answer has no body.
pub(super) fn settle(inspection: &Inspection, memory: &mut Memory) -> Outcome {
    match &inspection.key {
        Some(key) if !memory.first(key) => Outcome::duplicate(Answer::empty(200)),
        _ => Outcome::effect(Answer::empty(200)),
    }
}

/// *Testing*: 200, 201, 400, 401, 429, 5xx. Their bodies are not documented.
pub(super) fn fail(failure: Failure) -> Answer {
    match failure {
        Failure::WrongCredential => error(401, "invalid token"),
        Failure::ClickNotFound => error(400, "no user matches the ids"),
        Failure::Invalid => error(400, "value: must be a JSON number"),
        Failure::Throttled { seconds } => error(429, "too many requests").with("retry-after", &seconds),
        Failure::Unavailable => error(503, "unavailable"),
    }
}

fn error(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "error": message }))
}

#[cfg(test)]
mod tests;
