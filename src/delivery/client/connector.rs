//! Connections: DNS, TCP, perhaps a proxy's tunnel, and TLS within the connect timeout.
//!
//! Plain HTTP is refused unless the peer's address is loopback: not by name, but by the address that was connected to.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Scheme;
use http::{StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use tokio::time::timeout;
use tower_service::Service;

use super::super::judge::Failure;
use super::link::Link;
use super::route::{Route, RouteError};
use super::trust::{Refused, refused, tls};
use super::{causes, describe};
use crate::config::{Connection, Limits};

/// Makes connections for one destination.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<Route>,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(limits: &Limits, connection: &Connection) -> Result<Connector, rustls::Error> {
        // Never longer than the whole attempt: running out of time while connecting is then known to be *not sent*.
        let timeout = limits.connect_timeout.min(limits.header_timeout);
        let route = Route::new(connection, timeout);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls(connection)?);
        Ok(Connector { https: builder.https_or_http().enable_all_versions().wrap_connector(route), timeout })
    }
}

/// Why there is no connection. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("plain HTTP is sent to loopback addresses only")]
    PlainHttp,
    #[error("no connection within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("no connection")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

/// A connection's failure as a value. `shown`: whether there is a client certificate.
pub(super) fn failure(error: &(dyn Error + 'static), shown: bool) -> Failure {
    let known = causes(error).find_map(|cause| cause.downcast_ref::<ConnectError>());
    match known {
        Some(error @ ConnectError::TimedOut(_)) => Failure::timed_out(error.to_string()),
        Some(error @ ConnectError::PlainHttp) => Failure::of(error.to_string()),
        Some(ConnectError::Failed(source)) => failed(&**source, shown),
        None => Failure::of(describe("no connection", error.source())),
    }
}

fn failed(source: &(dyn Error + 'static), shown: bool) -> Failure {
    let refused = refused(source, shown);
    let text = describe(refused.map_or("no connection", Refused::words), Some(source));
    let is_late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    if causes(source).any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_late)) {
        return Failure::timed_out(text);
    }
    if refused.is_some_and(Refused::is_certain) {
        return Failure::refused(text);
    }
    let wants_credential = |cause: &(dyn Error + 'static)| {
        let refusal = cause.downcast_ref::<RouteError>();
        matches!(refusal, Some(RouteError::Refused(StatusCode::PROXY_AUTHENTICATION_REQUIRED)))
    };
    if causes(source).any(wants_credential) { Failure::refused(text) } else { Failure::of(text) }
}

impl Service<Uri> for Connector {
    type Response = Link;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Link, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let plain = uri.scheme() != Some(&Scheme::HTTPS);
        let connecting = self.https.call(uri);
        let limit = self.timeout;
        Box::pin(async move {
            let link = match timeout(limit, connecting).await {
                Ok(connected) => Link::new(connected.map_err(ConnectError::Failed)?),
                Err(_elapsed) => return Err(ConnectError::TimedOut(limit).into()),
            };
            if plain && !is_loopback(&link) {
                return Err(ConnectError::PlainHttp.into());
            }
            Ok(link)
        })
    }
}

fn is_loopback(link: &Link) -> bool {
    link.is_plain() && link.tcp().peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}
