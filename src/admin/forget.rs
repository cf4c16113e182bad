//! `POST /admin/forget`: what was received for an order or of a person is erased.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::audit::{Action, Change, MASKED, Which, shown_merchant};
use super::orders::Made;
use super::{Admin, body};
use crate::conversion::ConversionId;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::queue::{Forget, Forgotten};

impl Admin {
    pub(super) async fn forget(&self, request: Request<&mut Incoming>) -> Result<Reply, Problem> {
        let by = self.by(&request);
        let body = body::json(request).await?;
        let what = meant(&body, || self.merchants())?;
        let change = Change { by, action: Action::Forget, which: Some(which(&what, &self.merchants())), reason: None };
        self.audited(change, self.forgotten(what)).await
    }

    async fn forgotten(&self, what: Forget) -> Result<Made, Problem> {
        let known = self.merchants();
        let stranger = what.merchant().filter(|merchant| !known.iter().any(|known| known == merchant));
        let stranger = stranger.map(str::to_owned);
        let forgotten = self.queue.forget(what).await;
        let forgotten = forgotten.map_err(|error| problem::unreadable(&error))?;
        let Forgotten { conversions, withdrawn, dead, being_sent, unread } = forgotten;
        self.pools.forget_errors();
        // One that is configured no more may still have something here.
        let left = being_sent.saturating_add(unread);
        if let (Some(merchant), 0, 0) = (stranger, conversions, left) {
            let known = known.join(", ");
            let detail = format!(
                "merchant: none of the name {merchant} is configured, and nothing is kept of its; configured are {known}"
            );
            return Err(Problem::new(Kind::BadRequest, detail));
        }
        // Not who: the log is kept longer than they are.
        tracing::info!(conversions, withdrawn, dead, being_sent, unread, "forgotten on request");
        let reply = problem::json(StatusCode::OK, &ForgottenView { conversions, withdrawn, dead, being_sent, unread });
        Ok(Made { reply, counts: Some((conversions.saturating_add(left), conversions)) })
    }

    pub(super) fn merchants(&self) -> Vec<String> {
        self.ingress.config().merchants.iter().map(|merchant| merchant.name.to_string()).collect()
    }
}

/// Not whose: the audit log is kept longer than they are.
fn which(what: &Forget, known: &[String]) -> Which {
    let merchant = what.merchant().map(|merchant| shown_merchant(merchant, known));
    match what {
        Forget::Order { .. } => Which { merchant, order_id: Some(MASKED.to_owned()), ..Which::default() },
        Forget::Customer { .. } => Which { merchant, customer: Some(MASKED.to_owned()), ..Which::default() },
        Forget::Conversion(_) => Which { ids: Some(1), ..Which::default() },
    }
}

/// How much was erased.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Forgotten")]
pub(super) struct ForgottenView {
    conversions: u64,
    /// Deliveries that were owed.
    withdrawn: u64,
    /// Dead letters.
    dead: u64,
    /// Deliveries in flight: ask again.
    being_sent: u64,
    /// Conversions that are damaged: what is left of them is erased once the folder is recovered.
    unread: u64,
}

/// One of the three; of an order or a customer whose it is, unless there is one merchant only.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Forget")]
#[serde(deny_unknown_fields)]
pub(super) struct Meant {
    order_id: Option<String>,
    merchant: Option<String>,
    customer: Option<String>,
    id: Option<String>,
}

fn meant(body: &[u8], merchants: impl Fn() -> Vec<String>) -> Result<Forget, Problem> {
    let wrong = |detail: String| Problem::new(Kind::BadRequest, detail);
    let meant: Meant = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let whose = |merchant: Option<String>| {
        let known = merchants();
        let only = known.first().filter(|_| known.len() == 1).cloned();
        let which = || wrong(format!("merchant: say whose it is; configured are {}", known.join(", ")));
        merchant.or(only).ok_or_else(which)
    };
    match meant {
        Meant { order_id: Some(order_id), merchant, customer: None, id: None } if !order_id.is_empty() => {
            Ok(Forget::Order { merchant: whose(merchant)?, order_id })
        }
        Meant { customer: Some(customer), merchant, order_id: None, id: None } if !customer.trim().is_empty() => {
            Ok(Forget::Customer { merchant: whose(merchant)?, identifier: customer })
        }
        Meant { id: Some(id), order_id: None, merchant: None, customer: None } => {
            let id = ConversionId::parse(&id).ok_or_else(|| wrong("id: no conversion's id".to_owned()))?;
            Ok(Forget::Conversion(id))
        }
        Meant { .. } => Err(wrong(ONE_OF.to_owned())),
    }
}

const ONE_OF: &str = "say what is to be forgotten: order_id or customer, with merchant, or id; one of them";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_thing_is_meant() {
        #[track_caller]
        fn check(merchants: &[&str], body: &str, expected: Result<&str, &str>) {
            let merchants = || merchants.iter().map(|merchant| (*merchant).to_owned()).collect();
            let shown = match meant(body.as_bytes(), merchants) {
                Ok(what) => Ok(format!("{what:?}")),
                Err(problem) => Err(problem.detail().to_owned()),
            };
            assert_eq!(shown.as_deref(), expected.map_err(str::to_owned).as_deref(), "{body}");
        }
        let (one, two) = (&["acme"][..], &["acme", "globex"][..]);
        check(one, r#"{"order_id":"o"}"#, Ok(r#"Order { merchant: "acme", order_id: "o" }"#));
        check(two, r#"{"order_id":"o","merchant":"gone"}"#, Ok(r#"Order { merchant: "gone", order_id: "o" }"#));
        check(one, r#"{"customer":"c"}"#, Ok(r#"Customer { merchant: "acme", identifier: "c" }"#));
        check(two, r#"{"customer":"c","merchant":"a"}"#, Ok(r#"Customer { merchant: "a", identifier: "c" }"#));
        let whose = "merchant: say whose it is; configured are acme, globex";
        for unsaid in [r#"{"order_id":"o"}"#, r#"{"customer":"c"}"#] {
            check(two, unsaid, Err(whose));
        }
        for wrong in [
            "{}",
            r#"{"order_id":""}"#,
            r#"{"customer":" "}"#,
            r#"{"merchant":"acme"}"#,
            r#"{"order_id":"o","customer":"c"}"#,
        ] {
            check(two, wrong, Err(ONE_OF));
        }
        check(two, r#"{"id":"x"}"#, Err("id: no conversion's id"));
    }
}
