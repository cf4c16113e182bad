//! A right configuration in a few lines, a destination in one: what `check` prints.

use std::fmt;

use super::destination::connection::proxied;
use super::{ClientAuth, Config, Destination, Identity, Merchant, OnAmbiguous, Operation, Tls, Transport, units};
use crate::conversion::DestinationName;

impl Config {
    /// What `capi-relay check` prints when all is right.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

/// A right configuration in a few lines.
#[derive(Debug)]
pub struct Summary<'a>(&'a Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { server, queue, merchants, destinations, warnings: _ } = self.0;
        let transport = match &server.transport {
            Transport::Plain => "plain HTTP",
            Transport::Tls(Tls { identity: Identity::Files { .. }, clients: None }) => "TLS",
            Transport::Tls(Tls {
                identity: Identity::Files { .. },
                clients: Some(ClientAuth { required: true, .. }),
            }) => "TLS, client certificates required",
            Transport::Tls(Tls { identity: Identity::Files { .. }, clients: Some(_) }) => {
                "TLS, client certificates optional"
            }
            Transport::Tls(Tls { identity: Identity::SelfSigned, .. }) => "TLS, self-signed",
        };
        writeln!(f, "listen      {} ({transport}), admin {}", server.listen, server.admin)?;
        writeln!(f, "queue       {}", queue.path.display())?;
        for merchant in merchants {
            let destinations = match &merchant.destinations {
                None => "all destinations".to_owned(),
                Some(chosen) => chosen.iter().map(DestinationName::as_str).collect::<Vec<_>>().join(", "),
            };
            writeln!(f, "merchant    {}: {}; {destinations}", merchant.name, known_by(merchant))?;
        }
        for destination in destinations {
            writeln!(f, "destination {destination}")?;
        }
        Ok(())
    }
}

/// How a merchant is told from others, and how much it may send.
fn known_by(merchant: &Merchant) -> String {
    let several = |count: usize, one: &str| match count {
        0 => None,
        1 => Some(one.to_owned()),
        count => Some(format!("{count} {one}s")),
    };
    let tokens = several(merchant.token_sha256.len(), "token");
    let certificates = several(merchant.client_certificates.len(), "client certificate");
    let known: Vec<String> = tokens.into_iter().chain(certificates).collect();
    let signed = (!merchant.signing_secrets.is_empty()).then(|| "signed requests".to_owned());
    let rate = merchant.rate.map(|rate| units::written_rate(rate.count, rate.per));
    let parts = std::iter::once(known.join(" or ")).chain(signed).chain(rate);
    parts.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(preset) = self.preset.as_ref().filter(|preset| *preset != self.name.as_str()) {
            write!(f, " (preset {preset})")?;
        }
        let works: Vec<&Operation> =
            self.operations.iter().filter(|operation| operation.request.lacks().is_none()).collect();
        let operations: Vec<&str> = works.iter().map(|operation| operation.name.as_str()).collect();
        write!(f, ": {}", operations.join(", "))?;
        if let Some(rate) = self.limits.rate {
            write!(f, "; {}", units::written_rate(rate.count, rate.per))?;
        }
        write!(f, "; {}", repeats(&works))?;
        // One of the environment stands in no file that a reader would look at.
        if let Some(proxied) = proxied(&self.connection, &works) {
            write!(f, "; proxy {proxied}")?;
        }
        match (works.iter().any(|operation| operation.confirm.is_some()), self.declares_confirm) {
            (true, _) => write!(f, "; asks until it is confirmed"),
            (false, true) => write!(f, "; can ask until it is confirmed (`confirm = true`)"),
            (false, false) => Ok(()),
        }
    }
}

/// What becomes of a repeat: said once where it is the same for every operation, and else of each.
fn repeats(operations: &[&Operation]) -> String {
    let mut groups: Vec<(Option<&str>, OnAmbiguous, Vec<&str>)> = Vec::new();
    for operation in operations {
        let slot = operation.idempotency.as_deref();
        let is_same = |group: &&mut (Option<&str>, OnAmbiguous, Vec<&str>)| {
            group.0 == slot && (slot.is_some() || group.1 == operation.on_ambiguous)
        };
        match groups.iter_mut().find(is_same) {
            Some((_, _, names)) => names.push(&operation.name),
            None => groups.push((slot, operation.on_ambiguous, vec![&operation.name])),
        }
    }
    // "does not" needs a verb before it.
    groups.sort_by_key(|(slot, ..)| slot.is_none());
    match groups.as_slice() {
        [(Some(slot), ..)] => return format!("deduplicates on {slot}"),
        [] | [(None, ..)] => return "does not deduplicate".to_owned(),
        [..] => {}
    }
    let said = groups.iter().map(|(slot, on_ambiguous, names)| {
        let (are_many, names) = (names.len() > 1, names.join(" and "));
        match (slot, are_many) {
            (Some(slot), false) => format!("{names} deduplicates on {slot}"),
            (Some(slot), true) => format!("{names} deduplicate on {slot}"),
            (None, are_many) => {
                let verb = if are_many { "do" } else { "does" };
                format!("{names} {verb} not (an unanswered one is {})", on_ambiguous.fate())
            }
        }
    });
    said.collect::<Vec<_>>().join(", ")
}
