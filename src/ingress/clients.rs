//! Which merchant a request is from: by its bearer token, by its client certificate, or by both.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{self, HeaderMap};

use super::Client;
use super::bearer::Tokens;
use super::problem::{Kind, Problem};
use crate::config::CertificateName;

/// The merchants as the listener knows them.
pub(super) struct Clients {
    all: Vec<Arc<Client>>,
    tokens: Tokens<Arc<Client>>,
    certificates: BTreeMap<CertificateName, Arc<Client>>,
}

impl Clients {
    pub(super) fn new(all: Vec<Arc<Client>>) -> Clients {
        let tokens = all
            .iter()
            .flat_map(|client| client.merchant.token_sha256.iter().map(move |digest| (*digest, Arc::clone(client))));
        let certificates = all.iter().flat_map(|client| {
            client.merchant.client_certificates.iter().map(move |name| (name.clone(), Arc::clone(client)))
        });
        let (tokens, certificates) = (Tokens::new(tokens), certificates.collect());
        Clients { all, tokens, certificates }
    }

    pub(super) fn all(&self) -> &[Arc<Client>] {
        &self.all
    }

    /// Whose request it is. `shown`: the names of the client certificate, if one was shown. A merchant that has tokens and
    /// certificates needs one of each; one that has no certificates may show any that the CA has signed.
    pub(super) fn sender(
        &self,
        headers: &HeaderMap,
        shown: Option<&[CertificateName]>,
    ) -> Result<&Arc<Client>, Problem> {
        let owner = shown.map_or(Ok(None), |names| self.owner(names))?;
        let has_token = headers.contains_key(header::AUTHORIZATION);
        match owner {
            Some(owner) if owner.merchant.token_sha256.is_empty() && !has_token => return Ok(owner),
            None if shown.is_some() && !has_token => {
                return Err(forbidden("the client certificate belongs to no merchant, and no bearer token was sent"));
            }
            Some(_) | None => {}
        }
        let holder = self.tokens.holder(headers)?;
        match owner {
            Some(owner) if Arc::ptr_eq(owner, holder) => Ok(holder),
            Some(_) => Err(forbidden("the bearer token and the client certificate belong to different merchants")),
            None if holder.merchant.client_certificates.is_empty() => Ok(holder),
            None if shown.is_some() => Err(forbidden("the client certificate is none of this merchant's")),
            None => Err(forbidden("this merchant must show its client certificate, too")),
        }
    }

    fn owner(&self, names: &[CertificateName]) -> Result<Option<&Arc<Client>>, Problem> {
        let mut owners = names.iter().filter_map(|name| self.certificates.get(name));
        let first = owners.next();
        match first {
            Some(first) if owners.any(|other| !Arc::ptr_eq(first, other)) => {
                Err(forbidden("the client certificate bears the names of more than one merchant"))
            }
            Some(_) | None => Ok(first),
        }
    }
}

fn forbidden(detail: &'static str) -> Problem {
    Problem::new(Kind::Forbidden, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Merchant;
    use crate::ingress::answers::Answers;
    use crate::ingress::metrics;
    use crate::ingress::room::Bodies;

    fn client(name: &str, token: Option<&str>, certificates: &[CertificateName]) -> Arc<Client> {
        let digest = |token: &str| <sha2::Sha256 as sha2::Digest>::digest(token).into();
        let merchant = Merchant {
            name: name.into(),
            token_sha256: token.map(digest).into_iter().collect(),
            client_certificates: certificates.to_vec(),
            signing_secrets: Vec::new(),
            rate: None,
            destinations: None,
        };
        Arc::new(Client {
            merchant: Arc::new(merchant),
            bucket: None,
            share: Bodies::new(1, 1).share(),
            unread: Answers::share(),
            counters: metrics::Requests::new().merchant(name),
        })
    }

    #[test]
    fn a_merchant_is_known_by_all_that_it_is_configured_with() {
        let (dns, common, other) =
            (CertificateName::dns("a.internal"), CertificateName::common("b"), CertificateName::common("x"));
        let clients = Clients::new(vec![
            client("certificate", None, std::slice::from_ref(&dns)),
            client("both", Some("both"), std::slice::from_ref(&common)),
            client("token", Some("token"), &[]),
        ]);
        let check = |token: Option<&str>, shown: Option<&[CertificateName]>, expected: Result<&str, u16>| {
            let mut headers = HeaderMap::new();
            headers.extend(token.map(|token| (header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())));
            let found = clients.sender(&headers, shown).map(|client| client.merchant.name.to_string());
            let found = found.map_err(|problem| problem.into_reply().status().as_u16());
            assert_eq!(found, expected.map(str::to_owned), "{token:?} {shown:?}");
        };
        let (dns, common, other) = (&[dns][..], &[common][..], &[other][..]);
        let of_two = [dns, common].concat();
        check(None, None, Err(401));
        check(Some("token"), None, Ok("token"));
        check(Some("wrong"), None, Err(401));
        check(None, Some(dns), Ok("certificate"));
        check(Some("wrong"), Some(dns), Err(401));
        check(Some("token"), Some(dns), Err(403));
        check(None, Some(common), Err(401));
        check(Some("both"), Some(common), Ok("both"));
        check(Some("both"), None, Err(403));
        check(Some("both"), Some(other), Err(403));
        check(Some("token"), Some(common), Err(403));
        check(None, Some(other), Err(403));
        check(None, Some(&[]), Err(403));
        check(Some("token"), Some(other), Ok("token"));
        check(Some("both"), Some(&of_two), Err(403));
        check(None, Some(&of_two), Err(403));
    }
}
