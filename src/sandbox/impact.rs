//! Impact: *Create a conversion* (`POST /Advertisers/{AccountSID}/Conversions`), *Reverse an action* and *Update an
//! action* (`DELETE` and `PUT …/Actions`), and *Retrieve an API submission* (`GET …/APISubmissions/{id}`). The
//! conversion's fields stand in [`fields`].

mod fields;

use serde_json::json;

use crate::conversion::Json;

use super::memory::{CONVERSION, Memory, Submission};
use super::request::{Answer, Inspection, Outcome, Request, check_pairs, key, value};
use super::rules::{Decimals, Findings, REQUIRED, Rule};
use super::{Accounts, Failure};

pub(super) fn inspect(request: &Request, accounts: &Accounts) -> Inspection {
    let mut findings = Findings::default();
    let mut path = request.path.splitn(4, '/').skip(1);
    let (root, sid, rest) = (path.next(), path.next().unwrap_or_default(), path.next().unwrap_or_default());
    let call = match (rest.split('/').next().unwrap_or_default(), request.method.as_str()) {
        ("Conversions", "POST") if rest == "Conversions" => convert,
        ("Actions", "DELETE") if rest == "Actions" => reverse,
        ("Actions", "PUT") if rest == "Actions" => modify,
        ("APISubmissions", "GET") => retrieve,
        ("Conversions" | "Actions" | "APISubmissions", _) if root == Some("Advertisers") => {
            findings.add("method", "must be POST for Conversions, PUT or DELETE for Actions");
            return Inspection::unknown(findings, error(405, "Method not allowed"));
        }
        _ => misrouted,
    };
    if root != Some("Advertisers") {
        return misrouted(request, findings, sid);
    }
    // Auth: "-u <AccountSID>:<AuthToken>"; a wrong credential is 401, one without the right (another account) 403.
    let authorised = request.basic() == Some((accounts.impact_account_sid.clone(), accounts.impact_auth_token.clone()));
    let refusal = if !authorised {
        findings.add("Authorization", "must be Basic with the AccountSID and the AuthToken");
        Some(error(401, "Authentication failed"))
    } else if sid != accounts.impact_account_sid {
        findings.add("path", "must hold the AccountSID of the credential");
        Some(error(403, "Access denied"))
    } else {
        None
    };
    // *Example request*: without `Accept: application/json` the answer would be XML.
    if !request.header("accept").is_some_and(|accept| accept.contains("application/json")) {
        findings.add("Accept", "must be application/json: the default answer is XML");
    }
    // *Versioning*: the header names a version by its number.
    if request.header("ir-version").is_some_and(|version| version.parse::<u16>().is_err()) {
        findings.add("IR-Version", "must be a version number");
    }
    request.without_query(&mut findings);
    let mut inspection = call(request, findings, rest);
    let invalid = || (!inspection.findings.is_empty()).then(|| invalid(&inspection.findings));
    inspection.refusal = inspection.refusal.or(refusal).or_else(invalid);
    inspection
}

fn misrouted(_request: &Request, mut findings: Findings, _rest: &str) -> Inspection {
    findings.add("path", "must be /Advertisers/{AccountSID}/Conversions or …/Actions");
    Inspection::unknown(findings, error(404, "The requested resource was not found"))
}

/// *Create a conversion*. The document shows a form; flat JSON with the same keys is taken in practice.
fn convert(request: &Request, mut findings: Findings, _rest: &str) -> Inspection {
    let pairs =
        if request.is_of("application/json") { flat_json(request, &mut findings) } else { request.form(&mut findings) };
    fields::check(&pairs, &mut findings);
    let field = |name: &str| value(&pairs, name).unwrap_or_default();
    let order_id = field("OrderId");
    // EventTypeId and ActionTrackerId are two names of one number.
    let event_type = ["EventTypeId", "ActionTrackerId", "EventTypeCode"]
        .iter()
        .map(|name| field(name))
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    Inspection {
        operation: CONVERSION,
        handle: order_id.to_owned(),
        findings,
        refusal: None,
        // "An OrderId value only needs to be unique to the event type."
        key: Some(key(["conversion", event_type, order_id])),
        // Actions name the event type by its number, conversions perhaps by its code: the order alone links them.
        marks: vec![key(["order", order_id])],
        subject: None,
    }
}

/// The members of a flat JSON object as the form's pairs.
fn flat_json(request: &Request, findings: &mut Findings) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in request.json(findings) {
        match value {
            Json::Text(text) | Json::Number(text) => pairs.push((name.into(), text.into())),
            Json::Bool(holds) => pairs.push((name.into(), holds.to_string())),
            Json::Null => findings.add(name, "is null: a field without a value is left out"),
            Json::Array(_) | Json::Object(_) => findings.add(name, "must be a flat value: items are numbered keys"),
        }
    }
    pairs
}

/// The number of an event type or campaign.
const ID: Rule = Rule::Integer { min: 1, digits: 10 };
/// ActionId, as in `1000.4636.158133`.
const ACTION_ID: Rule = Rule::Text(64);

/// *Reverse an action*, DispositionCode.
const DISPOSITIONS: Rule = Rule::OneOf(&[
    "REJECTED",
    "CONS_INFO_INVALID",
    "CONS_ERROR",
    "CONS_FRAUD",
    "ITEM_RETURNED",
    "ITEM_OUT_OF_STOCK",
    "ORDER_ERROR",
    "PUB_ACT_DISPUTE",
    "NOT_COMPLIANCE_TERMS",
    "MP_RETURNED",
    "OTHER",
    "CREDITED_DIFFERENT_MP",
    "ADV_ACT_DISPUTE",
    "TEST_ACTION",
]);

/// *Update an action*, Reason: the default codes.
const REASONS: Rule = Rule::OneOf(&[
    "ORDER_UPDATE",
    "ITEM_RETURNED",
    "CONS_FRAUD",
    "CONS_ERROR",
    "ORDER_ERROR",
    "PUB_ACT_DISPUTE",
    "ADV_ACT_DISPUTE",
    "NOT_COMPLIANCE_TERMS",
    "ITEM_OUT_OF_STOCK",
    "TEST_ACTION",
    "PARTNER_NOT_ACTIVE",
    "CREDITED_DIFFERENT_MP",
    "OTHER",
]);

/// *Reverse an action*: a form in the body of a DELETE; DispositionCode required.
fn reverse(request: &Request, mut findings: Findings, _rest: &str) -> Inspection {
    let pairs = request.form(&mut findings);
    let rule = |name: &str| match name {
        "ActionId" => Some(ACTION_ID),
        "ActionTrackerId" => Some(ID),
        "OrderId" => Some(Rule::Text(64)),
        "DispositionCode" => Some(DISPOSITIONS),
        _ => None,
    };
    check_pairs(&pairs, rule, &mut findings);
    if value(&pairs, "DispositionCode").is_none() {
        findings.add("DispositionCode", REQUIRED);
    }
    action("reversal", &pairs, findings, "")
}

/// *Update an action*: Reason required; Amount is the new absolute total, item keys are `Sku`, `Sku2`, `Sku3`.
fn modify(request: &Request, mut findings: Findings, _rest: &str) -> Inspection {
    let pairs = request.form(&mut findings);
    let rule = |name: &str| {
        let stem = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let number = name.strip_prefix(stem).unwrap_or_default();
        // The first item has no number; "Sku1" and "Sku02" are no keys.
        let item = number.is_empty() || (!number.starts_with('0') && number != "1");
        match (name, stem) {
            ("ActionId", _) => Some(ACTION_ID),
            ("ActionTrackerId", _) => Some(ID),
            ("OrderId", _) => Some(Rule::Text(64)),
            ("Reason", _) => Some(REASONS),
            ("DispositionCode", _) => Some(Rule::Text(64)),
            ("Amount", _) => Some(Rule::Number(fields::AMOUNT)),
            ("CustomerStatus", _) => Some(fields::CUSTOMER_STATUS),
            (_, "Sku") if item => Some(Rule::Text(255)),
            (_, "Category") if item => Some(Rule::Text(255)),
            (_, "Quantity") if item => Some(Rule::Integer { min: 0, digits: 10 }),
            (_, "ItemSubTotalDelta") if item => Some(Rule::Number(Decimals::SIGNED)),
            _ => None,
        }
    };
    check_pairs(&pairs, rule, &mut findings);
    if value(&pairs, "Reason").is_none() {
        findings.add("Reason", REQUIRED);
    }
    // An equal request again sets the same absolute values: no further change.
    action("modification", &pairs, findings, &String::from_utf8_lossy(&request.body))
}

/// "ActionId, or ActionTrackerId and OrderId together."
fn action(operation: &'static str, pairs: &[(String, String)], mut findings: Findings, content: &str) -> Inspection {
    let (action, tracker, order) = (value(pairs, "ActionId"), value(pairs, "ActionTrackerId"), value(pairs, "OrderId"));
    if action.is_none() && (tracker.is_none() || order.is_none()) {
        findings.add("ActionId", "is required unless ActionTrackerId and OrderId are sent together");
    }
    let handle = order.or(action).unwrap_or_default();
    Inspection {
        operation,
        handle: handle.to_owned(),
        findings,
        refusal: None,
        key: Some(key([operation, tracker.unwrap_or_default(), handle, content])),
        marks: Vec::new(),
        subject: Some(key(["order", handle])),
    }
}

/// *Retrieve an API submission*: what became of a queued request.
fn retrieve(request: &Request, mut findings: Findings, rest: &str) -> Inspection {
    request.without_body(&mut findings);
    Inspection {
        operation: "submission",
        handle: String::new(),
        findings,
        refusal: None,
        key: None,
        marks: Vec::new(),
        subject: rest.strip_prefix("APISubmissions/").map(str::to_owned),
    }
}

/// "A newly-created conversion always starts out as QUEUED": repeats and unknown orders are found out later, and are
/// seen in the submission only.
pub(super) fn settle(inspection: &Inspection, memory: &mut Memory, accounts: &Accounts) -> Outcome {
    let subject = inspection.subject.as_deref().unwrap_or_default();
    let key = inspection.key.as_deref().unwrap_or_default();
    let (kind, error) = match inspection.operation {
        "submission" => return Outcome::idle(submission(memory, subject)),
        CONVERSION if memory.first(key) => ("Conversion", None),
        CONVERSION => ("Conversion", Some(DUPLICATE)),
        operation => {
            let kind = if operation == "reversal" { "Reversal" } else { "Modification" };
            match memory.knows(subject) {
                false => (kind, Some(NOT_FOUND)),
                true if memory.first(key) => (kind, None),
                true => (kind, Some(DUPLICATE)),
            }
        }
    };
    if error.is_none() {
        for mark in &inspection.marks {
            memory.first(mark);
        }
    }
    let number = memory.submit(Submission { kind, order_id: inspection.handle.clone(), error, is_processed: false });
    let uri = format!("/Advertisers/{}/APISubmissions/{SUBMISSION}{number:012x}", accounts.impact_account_sid);
    let answer = Answer::json(200, &json!({"Status": "QUEUED", "QueuedUri": uri}));
    match error {
        None => Outcome::effect(answer),
        Some(DUPLICATE) => Outcome::duplicate(answer),
        Some(_) => Outcome::idle(answer),
    }
}

/// Ids of submissions are `A-` and a UUID; its last part counts.
const SUBMISSION: &str = "A-00000000-0000-4000-8000-";
const DUPLICATE: (&str, &str) = ("DUPLICATE", "CONV_DUPLICATE");
const NOT_FOUND: (&str, &str) = ("NOT_FOUND", "ACTION_REF_NOT_FOUND");

/// "Queued", until it was asked for once: whoever asks must ask again.
fn submission(memory: &mut Memory, id: &str) -> Answer {
    let number = id.strip_prefix(SUBMISSION).and_then(|number| u64::from_str_radix(number, 16).ok());
    match number.and_then(|number| memory.submission(number)) {
        Some(submission @ Submission { is_processed: false, .. }) => {
            submission.is_processed = true;
            let (kind, order_id) = (submission.kind, &submission.order_id);
            Answer::json(200, &json!({"BatchId": id, "Type": kind, "Status": "Queued", "OrderId": order_id}))
        }
        Some(submission) => {
            let (error_type, reason) = submission.error.unwrap_or(("", ""));
            Answer::json(
                200,
                &json!({
                    "BatchId": id,
                    "Type": submission.kind,
                    "Status": "Complete",
                    "ErrorType": error_type,
                    "ErrorReason": reason,
                    "OrderId": submission.order_id,
                }),
            )
        }
        None => error(404, "The requested resource was not found"),
    }
}

/// *Errors* and *Rate limits*: `X-RateLimit-Reset` is in seconds until the reset.
pub(super) fn fail(failure: Failure) -> Answer {
    match failure {
        Failure::WrongCredential => error(401, "Authentication failed"),
        // A click is looked up later; all that is refused at once is the form of the request.
        Failure::ClickNotFound | Failure::Invalid => {
            let mut findings = Findings::default();
            findings.add("Margin", "Invalid numeric format (fifty)");
            invalid(&findings)
        }
        Failure::Throttled { seconds } => error(429, "Rate limit exceeded")
            .with("x-ratelimit-limit", &1000)
            .with("x-ratelimit-remaining", &0)
            .with("x-ratelimit-reset", &seconds),
        Failure::Unavailable => error(503, "Service unavailable"),
    }
}

/// *Example response*: Status ERROR with `errors` of field, level and message.
fn invalid(findings: &Findings) -> Answer {
    let errors: Vec<_> = findings
        .iter()
        .map(|finding| json!({"field": finding.field, "level": "ERROR", "message": finding.rule}))
        .collect();
    Answer::json(400, &json!({"Status": "ERROR", "errors": errors}))
}

/// The general envelope of errors that are about no field.
fn error(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"Status": "ERROR", "Message": message}))
}

#[cfg(test)]
mod tests;
