//! Thrad, *Conversion API*: `POST https://events.thrad.ai/api/conversion`.

use serde_json::json;

use super::memory::{CONVERSION, Memory};
use super::request::{Answer, Inspection, Outcome, Request, key, text};
use super::rules::{Decimals, Extras, Field, Findings, Rule, UNLIMITED, check_object, check_text, optional, required};
use super::{Accounts, Failure};

/// *Body*, row by row. "Any additional keys are accepted and stored under params.extra."
const BODY: &[Field] = &[
    // click_id, string, yes: the click ID captured on the original landing URL.
    required("click_id", Rule::Text(UNLIMITED)),
    // conversion_time, ISO-8601 datetime, yes.
    required("conversion_time", Rule::Instant),
    // conversion_value, number, yes. No refund is documented, so a negative value has no meaning here.
    required("conversion_value", Rule::Number(Decimals::ANY)),
    // currency, string (3), yes: 3-letter ISO.
    required("currency", Rule::Currency),
    // event_type, string, no: defaults to "purchase_completed".
    optional("event_type", Rule::Text(UNLIMITED)),
    // order_id, string, recommended: used for deduplication when no Idempotency-Key is sent.
    optional("order_id", Rule::Text(UNLIMITED)),
    // event_id, string, no: explicit dedup key; the header takes precedence.
    optional("event_id", Rule::Text(UNLIMITED)),
    // tag_id, string, no: for several tags under one partner key.
    optional("tag_id", Rule::Text(UNLIMITED)),
    // page_url, referrer, user_agent, string, no: browser context.
    optional("page_url", Rule::Text(UNLIMITED)),
    optional("referrer", Rule::Text(UNLIMITED)),
    optional("user_agent", Rule::Text(UNLIMITED)),
    // session_id, client_id, string, no: stable user identifiers.
    optional("session_id", Rule::Text(UNLIMITED)),
    optional("client_id", Rule::Text(UNLIMITED)),
];

pub(super) fn inspect(request: &Request, accounts: &Accounts) -> Inspection {
    let mut findings = Findings::default();
    if let Some(refusal) = misrouted(request, &mut findings) {
        return Inspection::unknown(findings, refusal);
    }
    let unauthorised = unauthorised(request, accounts, &mut findings);
    request.without_query(&mut findings);
    let members = request.json(&mut findings);
    check_object("", &members, BODY, Extras::Accepted, &mut findings);

    let header = request.header("idempotency-key");
    match header {
        // The document shows the key bare (`order_123`); quotes would become part of it.
        Some(value) if value.contains('"') => findings.add("Idempotency-Key", "must be bare, without quotes"),
        Some(value) => findings.expect("Idempotency-Key", check_text(Rule::Text(UNLIMITED), value)),
        None => {}
    }
    let (event_id, order_id) = (text(&members, "event_id"), text(&members, "order_id"));
    if header.or(event_id).or(order_id).is_none() {
        // "Without either, a retried HTTP request will create a second conversion row."
        findings.add("Idempotency-Key", "always send it or order_id: a retry would create a second conversion");
    }

    let click_id = text(&members, "click_id").unwrap_or_default();
    let event_type = text(&members, "event_type").unwrap_or("purchase_completed");
    let refusal = if let Some(answer) = unauthorised {
        Some(answer)
    } else if !findings.is_empty() {
        Some(unprocessable(&findings))
    } else if click_id.starts_with("missing_") {
        Some(detail(404, "Click not found"))
    } else if click_id.starts_with("nobid_") {
        Some(detail(400, "Click missing bid id"))
    } else {
        None
    };
    Inspection {
        operation: CONVERSION,
        handle: header.or(event_id).or(order_id).unwrap_or_default().to_owned(),
        // *Deduplication*: the header's key counts together with click_id and event_type; order_id is a fallback, and
        // nothing says that it is scoped.
        key: match (header, event_id, order_id) {
            (Some(header), _, _) => Some(key(["header", header, click_id, event_type])),
            (None, Some(event_id), _) => Some(key(["event", event_id])),
            (None, None, order_id) => order_id.map(|order_id| key(["order", order_id])),
        },
        findings,
        refusal,
        marks: Vec::new(),
        subject: None,
    }
}

/// *Response*: `ok`, or `duplicate` when one is detected ("writes nothing").
pub(super) fn settle(inspection: &Inspection, memory: &mut Memory) -> Outcome {
    match &inspection.key {
        Some(key) if !memory.first(key) => Outcome::duplicate(Answer::json(200, &json!({"status": "duplicate"}))),
        _ => Outcome::effect(Answer::json(200, &json!({"status": "ok"}))),
    }
}

/// *Errors*. 429 and 503 are not documented; they come as a gateway would send them.
pub(super) fn fail(failure: Failure) -> Answer {
    match failure {
        Failure::WrongCredential => detail(401, "Invalid API key"),
        Failure::ClickNotFound => detail(404, "Click not found"),
        Failure::Invalid => {
            let mut findings = Findings::default();
            findings.add("conversion_value", "must be a JSON number");
            unprocessable(&findings)
        }
        Failure::Throttled { seconds } => detail(429, "Too many requests").with("retry-after", &seconds),
        Failure::Unavailable => detail(503, "Service unavailable"),
    }
}

fn misrouted(request: &Request, findings: &mut Findings) -> Option<Answer> {
    if request.path != "/api/conversion" {
        findings.add("path", "must be /api/conversion");
        return Some(detail(404, "Not Found"));
    }
    if request.method != "POST" {
        findings.add("method", "must be POST");
        return Some(detail(405, "Method Not Allowed").with("allow", &"POST"));
    }
    None
}

/// 401, "Missing bearer token / Invalid API key".
fn unauthorised(request: &Request, accounts: &Accounts, findings: &mut Findings) -> Option<Answer> {
    let problem = match request.bearer() {
        Some(token) if token == accounts.thrad_api_key => return None,
        Some(_) => "Invalid API key",
        None => "Missing bearer token",
    };
    findings.add("Authorization", problem);
    Some(detail(401, problem))
}

fn detail(status: u16, detail: &str) -> Answer {
    Answer::json(status, &json!({ "detail": detail }))
}

/// 422, "Pydantic validation error", in FastAPI's shape.
fn unprocessable(findings: &Findings) -> Answer {
    let detail: Vec<_> = findings
        .iter()
        .map(|finding| json!({"loc": ["body", finding.field], "msg": finding.rule, "type": "value_error"}))
        .collect();
    Answer::json(422, &json!({ "detail": detail }))
}

#[cfg(test)]
mod tests;
