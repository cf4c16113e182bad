//! `status`: what became of a conversion, or of all of an order, asked of the admin listener, or of the public API as a merchant.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::client;
use super::merchant::RelayArgs;
use super::{AdminArgs, ConfigurationArgs, WRONG_USE, output};
use crate::conversion::ConversionId;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The id that the relay answered with
    #[arg(required_unless_present = "order")]
    id: Option<String>,
    /// All conversions of an order instead
    #[arg(long, value_name = "ORDER_ID", conflicts_with = "id")]
    order: Option<String>,
    /// Whose order it is; of a merchant that is configured no more it is found only so
    #[arg(long, value_name = "NAME", requires = "order")]
    merchant: Option<String>,
    #[command(flatten)]
    relay: RelayArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// Prints the relay's JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn command(configuration: &ConfigurationArgs, args: &StatusArgs) -> u8 {
    match resource(args) {
        Ok(resource) => client::show(ask(configuration, args, &resource), args.json, page),
        Err(message) => {
            output::error(&message);
            WRONG_USE
        }
    }
}

/// What is asked for, as both listeners name it; the error says what is wrong with the arguments.
fn resource(args: &StatusArgs) -> Result<String, String> {
    if args.relay.is_of_a_merchant() && args.merchant.is_some() {
        return Err(
            "--merchant: who asks with a merchant's credentials is shown that merchant's orders alone".to_owned()
        );
    }
    match (&args.order, args.id.as_deref().unwrap_or_default()) {
        (Some(order), _) => Ok(format!("orders/{}", utf8_percent_encode(order, NON_ALPHANUMERIC))),
        (None, id) => {
            let id = ConversionId::parse(id)
                .ok_or_else(|| format!("`{id}` is no conversion id; the relay's answer gave it as `id`"))?;
            Ok(format!("conversions/{id}"))
        }
    }
}

/// With any of a merchant's credentials the public API is asked, else the admin listener.
fn ask(configuration: &ConfigurationArgs, args: &StatusArgs, resource: &str) -> Result<client::Answer, String> {
    let of_merchant = args.merchant.as_ref().map(|merchant| utf8_percent_encode(merchant, NON_ALPHANUMERIC));
    if !args.relay.is_of_a_merchant() {
        let query = of_merchant.map_or_else(String::new, |merchant| format!("?merchant={merchant}"));
        return client::admin(configuration, &args.admin, &format!("/admin/{resource}{query}"));
    }
    let url = args.relay.url(configuration, &format!("/v1/{resource}"))?;
    let voice = args.relay.voice(&args.admin.trust, &url)?;
    client::block_on(client::exchange(&url, voice.call()))
}

/// One conversion, or one after the other.
fn page(answer: &Value) -> String {
    match answer.get("conversions").and_then(Value::as_array) {
        Some(conversions) => {
            let is_whole = answer.get("whole").and_then(Value::as_bool).unwrap_or(true);
            let left_out = (!is_whole).then(|| "older conversions of the order are not shown".to_owned());
            let parts: Vec<_> = left_out.into_iter().chain(conversions.iter().map(conversion)).collect();
            parts.join("\n\n")
        }
        None => conversion(answer),
    }
}

fn conversion(status: &Value) -> String {
    let text = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or("-");
    let head = format!(
        "conversion  {}\nevent       {}\norder       {}\nmerchant    {}\nreceived    {}\n",
        text("id"),
        text("event_id"),
        text("order_id"),
        text("merchant"),
        text("received_at"),
    );
    let destinations = status.get("destinations").and_then(Value::as_object);
    let rows: Vec<Vec<String>> =
        destinations.into_iter().flatten().map(|(name, delivery)| row(name, delivery)).collect();
    format!("{head}\n{}", output::table(&["destination", "state", "attempts", "next attempt", "last", "why"], &rows))
}

fn row(name: &str, delivery: &Value) -> Vec<String> {
    let last = delivery.get("last").filter(|last| !last.is_null());
    let answered = last.and_then(|last| last.get("status")).filter(|status| !status.is_null());
    vec![
        name.to_owned(),
        output::cell(delivery.get("state")),
        output::cell(delivery.get("attempts")),
        output::cell(delivery.get("next_attempt_at")),
        output::cell(answered.or_else(|| last.and_then(|last| last.get("verdict")))),
        output::why(delivery.get("reason"), last),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_order_that_is_not_shown_whole_says_so() {
        let shown = |whole: bool| page(&json!({"order_id": "o", "whole": whole, "conversions": [{"id": "i"}]}));
        assert!(shown(true).starts_with("conversion  i\n"));
        assert_eq!(shown(false), format!("older conversions of the order are not shown\n\n{}", shown(true)));
    }
}
