//! `forget`: what was received for an order or of a person is erased from a running relay.

use clap::Args;
use serde_json::{Value, json};

use super::{AdminArgs, ConfigurationArgs, NO, client, output};

#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Whose order or customer; needed when more than one merchant is configured
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    merchant: Option<String>,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhatArgs {
    /// All that was received for this order
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// What is pending or dead of a customer: an identifier in `customer`, as it is there or hashed there
    #[arg(long, value_name = "IDENTIFIER")]
    customer: Option<String>,
    /// One conversion
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &ForgetArgs) -> u8 {
    let WhatArgs { order, customer, id } = &args.what;
    let said = [("order_id", order), ("merchant", &args.merchant), ("customer", customer), ("id", id)];
    let body = said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
    let answer = client::bid(configuration, &args.admin, "/admin/forget", Some(&Value::Object(body.collect())));
    let is_left =
        answer.as_ref().ok().and_then(|answer| answer.json().ok()).is_some_and(|told| !left(&told).is_empty());
    let shown = client::show(answer, args.json, |answer| told(answer, customer.is_some()));
    if is_left { NO.max(shown) } else { shown }
}

/// Conversions that are not forgotten yet, in words.
fn left(answer: &Value) -> String {
    let reasons = [
        ("being_sent", "of which something was being sent: ask again"),
        ("unread", "that cannot be read: `capi-relay recover` ends that"),
    ];
    let left = reasons.map(|(name, reason)| match count(answer, name) {
        0 => String::new(),
        left => format!("; {left} left, {reason}"),
    });
    left.concat()
}

fn count(answer: &Value, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn told(answer: &Value, by_customer: bool) -> String {
    let left = left(answer);
    let nouns = [("conversions", "conversion"), ("withdrawn", "delivery"), ("dead", "dead letter")];
    let [conversions, withdrawn, dead] = nouns.map(|(name, noun)| output::counted(count(answer, name), noun));
    match count(answer, "conversions") {
        0 if left.is_empty() && by_customer => NO_CUSTOMER.to_owned(),
        0 if left.is_empty() => "nothing is kept of that".to_owned(),
        _ => format!("{conversions} forgotten: {withdrawn} withdrawn, {dead}{left}"),
    }
}

const NO_CUSTOMER: &str =
    "nothing that is pending or dead names this customer; what is settled is not searched: forget its orders";
