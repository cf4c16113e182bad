//! `POST /admin/forget`: what was received for an order or of a person is erased.

use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::{Admin, body};
use crate::conversion::ConversionId;
use crate::ingress::problem::{self, Kind, Problem, Reply};
use crate::queue::{Forget, Forgotten};

impl Admin {
    pub(super) async fn forget(&self, request: Request<Incoming>) -> Result<Reply, Problem> {
        let body = body::json(request).await?;
        let merchants = || self.ingress.config().merchants.iter().map(|merchant| merchant.name.to_string()).collect();
        let mut sum = Forgotten::default();
        for what in meant(&body, merchants)? {
            sum = sum.and(self.queue.forget(what).await.map_err(|error| problem::unreadable(&error))?);
        }
        let Forgotten { conversions, withdrawn, dead, being_sent } = sum;
        // Not who: the log is kept longer than they are.
        tracing::info!(conversions, withdrawn, dead, being_sent, "forgotten on request");
        let answer =
            json!({"conversions": conversions, "withdrawn": withdrawn, "dead": dead, "being_sent": being_sent});
        Ok(problem::json(StatusCode::OK, &answer))
    }
}

/// Of what: one of the three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meant {
    order_id: Option<String>,
    merchant: Option<String>,
    customer: Option<String>,
    id: Option<String>,
}

fn meant(body: &[u8], merchants: impl Fn() -> Vec<String>) -> Result<Vec<Forget>, Problem> {
    let wrong = |detail: String| Problem::new(Kind::BadRequest, detail);
    let meant: Meant = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let one_of =
        "say what is to be forgotten: order_id (with merchant, or of all of them), customer or id; one of them";
    match meant {
        Meant { order_id: Some(order_id), merchant, customer: None, id: None } if !order_id.is_empty() => {
            let merchants = merchant.map_or_else(merchants, |merchant| vec![merchant]);
            let of_each = |merchant| Forget::Order { merchant, order_id: order_id.clone() };
            Ok(merchants.into_iter().map(of_each).collect())
        }
        Meant { customer: Some(customer), order_id: None, merchant: None, id: None } if !customer.trim().is_empty() => {
            Ok(vec![Forget::Customer(customer)])
        }
        Meant { id: Some(id), order_id: None, merchant: None, customer: None } => {
            let id = ConversionId::parse(&id).ok_or_else(|| wrong("id: no conversion's id".to_owned()))?;
            Ok(vec![Forget::Conversion(id)])
        }
        Meant { .. } => Err(wrong(one_of.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_thing_is_meant() {
        #[track_caller]
        fn check(body: &str, expected: Result<&str, &str>) {
            let shown = match meant(body.as_bytes(), || vec!["acme".to_owned(), "globex".to_owned()]) {
                Ok(all) => Ok(all.iter().map(|what| format!("{what:?}")).collect::<Vec<_>>().join(", ")),
                Err(problem) => Err(problem.detail().to_owned()),
            };
            assert_eq!(shown.as_deref(), expected.map_err(str::to_owned).as_deref(), "{body}");
        }
        let of = |merchant| format!("Order {{ merchant: {merchant:?}, order_id: \"o\" }}");
        check(r#"{"order_id":"o"}"#, Ok(&format!("{}, {}", of("acme"), of("globex"))));
        check(r#"{"order_id":"o","merchant":"gone"}"#, Ok(&of("gone")));
        check(r#"{"customer":"c"}"#, Ok(r#"Customer("c")"#));
        let one_of =
            "say what is to be forgotten: order_id (with merchant, or of all of them), customer or id; one of them";
        for wrong in [
            "{}",
            r#"{"order_id":""}"#,
            r#"{"customer":" "}"#,
            r#"{"merchant":"acme"}"#,
            r#"{"order_id":"o","customer":"c"}"#,
            r#"{"customer":"c","merchant":"acme"}"#,
        ] {
            check(wrong, Err(one_of));
        }
        check(r#"{"id":"x"}"#, Err("id: no conversion's id"));
    }
}
