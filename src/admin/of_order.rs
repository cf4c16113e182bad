//! `GET /admin/orders/{order_id}`: what became of an order's conversions, any merchant's.

use super::Admin;
use crate::ingress::problem::{Kind, Problem, Reply};

impl Admin {
    /// Of the merchants that are configured, or of the one that is named: it may have been taken out since.
    pub(super) async fn order(&self, encoded: &str, query: &str) -> Result<Reply, Problem> {
        let merchant = wanted(query)?;
        let found = self.ingress.orders(encoded, merchant.as_deref()).await;
        let is_unknown = |problem: &Problem| problem.kind() == Kind::NotFound && merchant.is_none();
        found.map_err(|problem| if is_unknown(&problem) { Problem::new(Kind::NotFound, UNKNOWN) } else { problem })
    }
}

/// `merchant=`, at most once; an empty value is none.
fn wanted(query: &str) -> Result<Option<String>, Problem> {
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    match (parameters.next(), parameters.next()) {
        (None, _) => Ok(None),
        (Some((name, merchant)), None) if name == "merchant" => {
            Ok(Some(merchant.into_owned()).filter(|merchant| !merchant.is_empty()))
        }
        (Some(_), _) => Err(Problem::new(Kind::InvalidQuery, "the one parameter is merchant, once")),
    }
}

const UNKNOWN: &str = "no merchant that is configured has an order of this id; of one that is configured no more, name it: \
                       merchant";
