//! The way to a destination's host: its addresses, or a proxy's tunnel.
//!
//! A name is looked up anew for each connection. What it leads to must be anybody's address, unless the destination may be
//! at a private one: a name that points into this network may be a slip, or someone else's way in. Loopback is reached where
//! it is named as such. Behind a proxy it is the proxy that looks up the name.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Parts;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::{Connection, Proxy, Reach, reach};
use crate::mapping::Secret;

/// Makes TCP connections for one destination, itself or through a proxy.
#[derive(Clone)]
pub(super) struct Route {
    direct: HttpConnector<Guarded>,
    tunnel: Option<Tunnel>,
    allow_private: bool,
}

/// A proxy and how it is connected to.
#[derive(Clone)]
struct Tunnel {
    tcp: HttpConnector,
    proxy: Arc<Proxy>,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub(super) enum RouteError {
    /// A private address that the destination may not be at.
    #[error("{host} is at {address}, a private address: `allow_private = true` allows that")]
    Private {
        /// As the URL names it.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// The proxy opened no tunnel.
    #[error("the proxy answered {0}")]
    Refused(StatusCode),
    /// Nothing came of asking the proxy.
    #[error("no tunnel through the proxy")]
    Tunnel(#[source] Box<dyn Error + Send + Sync>),
}

impl Route {
    pub(super) fn new(connection: &Connection, timeout: Duration) -> Route {
        let allow_private = connection.allow_private;
        let resolver = Guarded { inner: GaiResolver::new(), allow_private };
        Route {
            direct: tcp(HttpConnector::new_with_resolver(resolver), timeout),
            tunnel: connection.proxy.as_ref().map(|proxy| Tunnel::new(proxy, timeout)),
            allow_private,
        }
    }
}

/// The settings of every connection.
fn tcp<R>(mut tcp: HttpConnector<R>, timeout: Duration) -> HttpConnector<R> {
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Shared out among a name's addresses: one that swallows packets must not use up the time of the others.
    tcp.set_connect_timeout(Some(timeout));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp
}

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

impl Service<Uri> for Route {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        // Of names the resolver is asked, here or at the proxy.
        if let Some(address) = literal(&uri).filter(|address| !is_allowed(*address, true, self.allow_private)) {
            let refused = RouteError::Private { host: address.to_string(), address };
            return Box::pin(std::future::ready(Err(refused.into())));
        }
        if let Some(tunnel) = self.tunnel.as_ref().filter(|tunnel| tunnel.proxy.is_between(&uri)) {
            return Box::pin(tunnel.clone().open(uri));
        }
        let connecting = self.direct.call(uri);
        Box::pin(async { connecting.await.map_err(Into::into) })
    }
}

/// The address that a URL names without a name.
fn literal(uri: &Uri) -> Option<IpAddr> {
    uri.host()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_allowed(address: IpAddr, names_loopback: bool, allow_private: bool) -> bool {
    match reach(address) {
        Reach::Public => true,
        Reach::Loopback => names_loopback || allow_private,
        Reach::Private => allow_private,
    }
}

/// The system's resolver, and nothing private of what it says.
#[derive(Clone)]
struct Guarded {
    inner: GaiResolver,
    allow_private: bool,
}

impl Service<Name> for Guarded {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_owned();
        let (looking_up, allow_private) = (self.inner.call(name), self.allow_private);
        Box::pin(async move { Ok(allowed(&host, looking_up.await?, allow_private)?.into_iter()) })
    }
}

/// What a name may lead to; an error where it leads nowhere else.
fn allowed(
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, RouteError> {
    let plain = host.trim_end_matches('.').to_ascii_lowercase();
    // RFC 6761, 6.3.
    let names_loopback = plain == "localhost" || plain.ends_with(".localhost");
    let (allowed, refused): (Vec<_>, Vec<_>) =
        found.partition(|address| is_allowed(address.ip(), names_loopback, allow_private));
    match refused.first() {
        Some(address) if allowed.is_empty() => {
            Err(RouteError::Private { host: host.to_owned(), address: address.ip() })
        }
        Some(_) | None => Ok(allowed),
    }
}

impl Tunnel {
    fn new(proxy: &Proxy, timeout: Duration) -> Tunnel {
        Tunnel { tcp: tcp(HttpConnector::new(), timeout), proxy: Arc::new(proxy.clone()) }
    }

    async fn open(mut self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let unreached = |error: BoxError| RouteError::Tunnel(error);
        std::future::poll_fn(|context| self.tcp.poll_ready(context)).await.map_err(|error| unreached(error.into()))?;
        let tcp = self.tcp.call(self.proxy.uri().clone()).await.map_err(|error| unreached(error.into()))?;
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 });
        connect(tcp, &format!("{host}:{port}"), self.proxy.credentials()).await.map_err(Into::into)
    }
}

/// RFC 9110, 9.3.6: asks for a tunnel.
async fn connect(
    tcp: TokioIo<TcpStream>,
    authority: &str,
    credentials: Option<&Secret>,
) -> Result<TokioIo<TcpStream>, RouteError> {
    let failed = |error: BoxError| RouteError::Tunnel(error);
    let (mut sender, connection) = http1::handshake(tcp).await.map_err(|error| failed(error.into()))?;
    let mut request = Request::builder().method(Method::CONNECT).uri(authority).header(header::HOST, authority);
    if let Some(credentials) = credentials {
        let mut credentials = HeaderValue::from_str(credentials.reveal()).map_err(|error| failed(error.into()))?;
        credentials.set_sensitive(true);
        request = request.header(header::PROXY_AUTHORIZATION, credentials);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(error.into()))?;
    // The sender goes with it, so that the connection of a refusal ends.
    let tunnel = async move {
        let answer = sender.send_request(request).await.map_err(|error| failed(error.into()))?;
        if !answer.status().is_success() {
            return Err(RouteError::Refused(answer.status()));
        }
        hyper::upgrade::on(answer).await.map_err(|error| failed(error.into()))
    };
    // The connection only moves while it is polled, and is over once it is a tunnel.
    let (upgraded, _over) = tokio::join!(tunnel, connection.with_upgrades());
    let Parts { io, read_buf, .. } = upgraded?
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_other| failed(io::Error::other("another connection than was opened").into()))?;
    // In TLS the client speaks first.
    if read_buf.is_empty() { Ok(io) } else { Err(failed(io::Error::other("the proxy spoke into the tunnel").into())) }
}

/// TCP keep-alive: half of a usual NAT's patience.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, found: &[&str], allow_private: bool, expected: Result<&[&str], &str>) {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 443)).collect()
        };
        let got = allowed(host, addresses(found).into_iter(), allow_private).map_err(|error| error.to_string());
        assert_eq!(got, expected.map(addresses).map_err(str::to_owned), "{host} {found:?}");
    }

    #[test]
    fn a_name_leads_to_no_private_address_unless_that_is_allowed() {
        check("px.example", &["1.1.1.1", "2606:4700::1111"], false, Ok(&["1.1.1.1", "2606:4700::1111"]));
        check("px.example", &["10.0.0.5", "1.1.1.1"], false, Ok(&["1.1.1.1"]));
        let refused = |address: &str| {
            format!("px.example is at {address}, a private address: `allow_private = true` allows that")
        };
        for address in ["10.0.0.5", "169.254.169.254", "fe80::1", "127.0.0.1", "::ffff:10.0.0.5"] {
            check("px.example", &[address], false, Err(&refused(address)));
            check("px.example", &[address], true, Ok(&[address]));
        }
        check("localhost", &["127.0.0.1", "::1"], false, Ok(&["127.0.0.1", "::1"]));
        check("relay.LOCALHOST.", &["127.0.0.1"], false, Ok(&["127.0.0.1"]));
        check("px.example", &[], false, Ok(&[]));
    }
}
