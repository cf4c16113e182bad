//! Whether the hosts of a destination can be reached: its connections as deliveries would make them, and nothing sent over
//! them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use tokio::time::Instant;

use super::client::Client;
use crate::config::Destination;
use crate::queue::Negotiated;

/// What came of connecting to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Scheme, host and port.
    pub origin: String,
    /// What was agreed on, or why there is no connection.
    pub outcome: Result<Line, String>,
    /// How long it took: looking up the name, connecting, and TLS.
    pub took: Duration,
}

/// A connection that came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The host's, or a proxy's that made a tunnel to it.
    pub peer: SocketAddr,
    /// HTTP and TLS.
    pub negotiated: Negotiated,
    /// When the certificate that was shown ends to be valid (Unix seconds), over TLS.
    pub valid_until: Option<i64>,
}

/// Connects once to each host that the destination's requests go to, within its own connect timeout. No request is sent:
/// whether a credential is right only a delivery tells, and hosts of access tokens and of confirmations are not tried.
pub async fn online(destination: &Destination) -> Vec<Reached> {
    let usable = destination.operations.iter().filter(|operation| operation.request.lacks().is_none());
    let origins: BTreeSet<&str> = usable.filter_map(|operation| operation.request.origin()).collect();
    let client = Client::new(&destination.limits, &destination.connection);
    let mut reached = Vec::new();
    for origin in origins {
        let begun = Instant::now();
        let outcome = match (&client, origin.parse::<Uri>()) {
            (Ok(client), Ok(uri)) => client.reach(uri).await.map_err(|failure| failure.text),
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error.to_string()),
        };
        reached.push(Reached { origin: origin.to_owned(), outcome, took: begun.elapsed() });
    }
    reached
}
