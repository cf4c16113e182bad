//! The proxy of a destination, and who is reached past it. The one place that decides it: `check` shows what delivery does.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::uri::Scheme;
use percent_encoding::percent_decode_str;

use crate::config::address::{Reach, reach};
use crate::mapping::Secret;

/// An HTTP proxy that is asked for a tunnel to the destination (RFC 9110, 9.3.6).
#[derive(Debug, Clone, Hash)]
pub struct Proxy {
    /// `http://host:port/`.
    uri: Uri,
    /// The value of `Proxy-Authorization`.
    credentials: Option<Secret>,
    /// The variable of the environment that names it; `None`: the destination does.
    variable: Option<&'static str>,
    except: Vec<Exception>,
}

/// Who is reached past a proxy: an entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Exception {
    Everybody,
    /// And all names below it; lower case.
    Name(String),
    /// So many bits of the address are the same.
    Network(IpAddr, u32),
}

impl Proxy {
    /// The proxy that a URL names, or what is wrong with it.
    pub(in crate::config) fn new(text: &str) -> Result<Proxy, &'static str> {
        let url = url::Url::parse(text).map_err(|_unspecific| "is no URL")?;
        if url.scheme() != "http" {
            return Err("must be an `http://` URL: it is asked for a tunnel (CONNECT), and TLS goes through that");
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("names no host")?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("names more than a host and a port");
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let uri = format!("http://{host}:{port}/").parse().map_err(|_unspecific| "is no URL")?;
        let (user, password) = (url.username(), url.password());
        let is_named = !user.is_empty() || password.is_some();
        let credentials = is_named.then(|| basic(user, password.unwrap_or_default()));
        Ok(Proxy { uri, credentials, variable: None, except: Vec::new() })
    }

    /// The same, as the environment has it: named by `variable`, and not for those of `NO_PROXY`.
    pub(in crate::config) fn inherited(self, variable: &'static str, no_proxy: &str) -> Proxy {
        let entries = no_proxy.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        Proxy { variable: Some(variable), except: entries.map(Exception::of).collect(), ..self }
    }

    /// Host and port.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// What it is shown of us: the value of `Proxy-Authorization`.
    pub fn credentials(&self) -> Option<&Secret> {
        self.credentials.as_ref()
    }

    /// Whether it is between us and this URL: TLS to another machine that is no exception.
    pub fn is_between(&self, uri: &Uri) -> bool {
        let Some(host) = uri.host().filter(|_| uri.scheme() == Some(&Scheme::HTTPS)) else { return false };
        // `localhost.` is `localhost`, and exceptions are written without the dot.
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let is_loopback = match address {
            Some(address) => reach(address) == Reach::Loopback,
            None => is_below(&host, "localhost"),
        };
        !is_loopback && !self.except.iter().any(|exception| exception.covers(&host, address))
    }

    /// `proxy.example.com:3128 (HTTPS_PROXY)`.
    pub(in crate::config) fn shown(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        match self.variable {
            Some(variable) => format!("{authority} ({variable})"),
            None => authority.to_owned(),
        }
    }
}

impl Exception {
    fn of(entry: &str) -> Exception {
        let bare = entry.trim_start_matches('[').trim_end_matches(']');
        let (address, bits) = bare.split_once('/').map_or((bare, None), |(address, bits)| (address, Some(bits)));
        if let Ok(address) = address.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most));
            if let Some(bits) = bits {
                return Exception::Network(address, bits);
            }
        }
        match entry.trim_start_matches("*.").trim_matches('.') {
            "*" => Exception::Everybody,
            name => Exception::Name(name.to_ascii_lowercase()),
        }
    }

    fn covers(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Exception::Everybody, _) => true,
            (Exception::Name(name), None) => is_below(host, name),
            (Exception::Network(network, bits), Some(address)) => is_within(address, *network, *bits),
            (Exception::Name(_), Some(_)) | (Exception::Network(..), None) => false,
        }
    }
}

/// Whether a host is called `name`, or something below it.
fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.')) && !name.is_empty()
}

/// Whether the first `bits` of both are the same.
fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differs = address.to_bits() ^ network.to_bits();
            differs.checked_shr(u32::BITS.saturating_sub(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differs = address.to_bits() ^ network.to_bits();
            differs.checked_shr(u128::BITS.saturating_sub(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// RFC 7617; in a URL both are percent-encoded.
fn basic(user: &str, password: &str) -> Secret {
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    Secret::new(format!("Basic {}", STANDARD.encode(pair)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(no_proxy: &str, past: &str, through: &str) {
        let proxy = Proxy::new("http://proxy:3128").unwrap().inherited("HTTPS_PROXY", no_proxy);
        let is_between = |host: &str| proxy.is_between(&format!("https://{host}/path").parse().unwrap());
        for host in past.split_whitespace() {
            assert!(!is_between(host), "{host} is reached past it: {no_proxy}");
        }
        for host in through.split_whitespace() {
            assert!(is_between(host), "{host} is reached through it: {no_proxy}");
        }
    }

    #[test]
    fn each_form_of_no_proxy_covers_what_it_says() {
        check("", "", "px.example 1.1.1.1 [2606:4700::1]");
        for everybody in ["*", "x, *", "* x"] {
            check(everybody, "px.example 1.1.1.1 [2606:4700::1]:8443", "");
        }
        for name in ["px.example", ".px.example", "*.px.example", "PX.example.", "y,  px.example"] {
            check(name, "px.example PX.EXAMPLE. a.b.px.example:8443", "apx.example example 1.1.1.1");
        }
        check("1.1.1.1", "1.1.1.1 [::ffff:1.1.1.1]", "1.1.1.2 px.example");
        check("10.0.0.0/8,1.1.0.0/16", "10.255.0.1 1.1.255.255", "11.0.0.1 1.2.0.0");
        check("0.0.0.0/0", "1.1.1.1 255.0.0.1", "[2606:4700::1] px.example");
        check("2606:4700::/32 [2001:4860::1]", "[2606:4700:ff::1] [2001:4860::1]", "[2606:4701::1] [2001:4860::2]");
        check("::/0", "[2606:4700::1]", "1.1.1.1");
        // Neither is a network, and no host is called so.
        check("1.1.1.1/33, 1.1.1.1/x, ., ,", "", "1.1.1.1 px.example");
    }

    #[test]
    fn loopback_and_plain_http_are_reached_past_any_proxy() {
        check("", "localhost localhost. a.localhost 127.0.0.1 127.255.0.1:9 [::1] [::ffff:127.0.0.1]", "notlocalhost");
        let proxy = Proxy::new("http://proxy").unwrap();
        assert!(!proxy.is_between(&"http://px.example/".parse().unwrap()), "that is refused anyway");
        assert!(!proxy.is_between(&"/path".parse().unwrap()));
    }

    #[test]
    fn what_a_proxy_is_shown_of_us_is_decoded_and_never_printed() {
        let credentials = |url: &str| {
            let proxy = Proxy::new(url).unwrap();
            assert!(!format!("{proxy:?} {}", proxy.shown()).contains("pass"), "{proxy:?}");
            proxy.credentials().map(|secret| secret.reveal().to_owned())
        };
        assert_eq!(credentials("http://own"), None);
        assert_eq!(credentials("http://user:pass@own").as_deref(), Some("Basic dXNlcjpwYXNz"));
        assert_eq!(credentials("http://us%40er:pa%3Ass@own").as_deref(), Some("Basic dXNAZXI6cGE6c3M="));
        assert_eq!(credentials("http://user@own").as_deref(), Some("Basic dXNlcjo="));
    }
}
