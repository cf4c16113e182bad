//! The address of the client behind a proxy: from the PROXY protocol (HAProxy's, versions 1 and 2), or from `Forwarded` and
//! `X-Forwarded-For`. It counts for the limits of one address and for nothing else, and stands in no log.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::header::{self, HeaderName};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::addresses::one_client;
use crate::config::ForwardedHeader;

/// Whose word for the client's address is taken, and how it is given.
#[derive(Default)]
pub(crate) struct Proxies {
    pub(crate) trusted: Vec<IpNet>,
    /// Whether each connection begins with a PROXY header; else requests may carry `Forwarded` or `X-Forwarded-For`.
    pub(crate) protocol: bool,
    /// Which of the two is read; `None`: either.
    pub(crate) header: Option<ForwardedHeader>,
}

impl Proxies {
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The clients that a trusted proxy's request names: of each header the last address that is no trusted proxy's, since
    /// what stands before that is the client's own word. Where nobody has said which header the proxy writes, both count
    /// that name different clients: the other one may be passed on as it came.
    ///
    /// # Errors
    /// When a quoted string of `Forwarded` does not end on its line: what the proxy wrote behind it cannot be told from what
    /// its client did.
    pub(super) fn forwarded(&self, headers: &HeaderMap) -> Result<Vec<IpAddr>, Malformed> {
        let reads = |header| self.header.is_none_or(|only| only == header);
        let mut clients = Vec::new();
        if reads(ForwardedHeader::Forwarded) {
            let nodes = nodes(headers)?.into_iter();
            clients.extend(self.client(nodes.map(|node| node.and_then(|node| address(&node)))));
        }
        if reads(ForwardedHeader::XForwardedFor) {
            let usual = listed(headers);
            let is_another = |client: &IpAddr| clients.iter().all(|named| one_client(*named) != one_client(*client));
            let second = self.client(usual.iter().map(|element| address(element))).filter(is_another);
            clients.extend(second);
        }
        Ok(clients)
    }

    /// Walks from the nearest hop outwards, and no further than what can be read.
    fn client(&self, hops: impl DoubleEndedIterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        hops.rev().find(|hop| hop.is_none_or(|address| !self.trusts(address))).flatten()
    }
}

/// Reads the header that a connection begins with, and not a byte more; `None`: the proxy speaks for itself.
pub(super) async fn header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, Malformed> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.map_err(broken_off)?;
    if start == V2_SIGNATURE { version_2(stream).await } else { version_1(start.to_vec(), stream).await }
}

/// No PROXY header, or no `Forwarded`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, and the end of the line.
async fn version_1(mut line: Vec<u8>, stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, Malformed> {
    while line.starts_with(b"PROXY ") && !line.ends_with(b"\n") && line.len() < V1_BYTES_MAX {
        line.push(stream.read_u8().await.map_err(broken_off)?);
    }
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok()).ok_or(Malformed)?;
    let fields: Vec<&str> = line.split(' ').collect();
    match fields.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family, source, destination, ports @ ..] => {
            let (source, destination) = match *family {
                "TCP4" => (of::<Ipv4Addr>(source), of::<Ipv4Addr>(destination)),
                "TCP6" => (of::<Ipv6Addr>(source), of::<Ipv6Addr>(destination)),
                _ => return Err(Malformed),
            };
            let are_ports = ports.len() == 2 && ports.iter().all(|port| port.parse::<u16>().is_ok());
            source.filter(|_| are_ports && destination.is_some()).map(Some).ok_or(Malformed)
        }
        _ => Err(Malformed),
    }
}

fn of<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<A>().ok().map(Into::into)
}

/// After the signature: version and command, family and protocol, length, addresses, and further fields that are passed over.
async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, Malformed> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(broken_off)?;
    let [command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_BYTES_MAX {
        return Err(Malformed);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await.map_err(broken_off)?;
    match (command, family) {
        (V2_LOCAL, _) | (V2_PROXY, V2_UNSPECIFIED | V2_UNIX) => Ok(None),
        (V2_PROXY, V2_TCP4) => {
            rest.first_chunk::<12>().ok_or(Malformed).map(|[a, b, c, d, ..]| Some(IpAddr::from([*a, *b, *c, *d])))
        }
        (V2_PROXY, V2_TCP6) => {
            let source = rest.first_chunk::<16>().filter(|_| rest.len() >= V2_TCP6_BYTES).ok_or(Malformed)?;
            Ok(Some(IpAddr::from(*source)))
        }
        _ => Err(Malformed),
    }
}

fn broken_off(_ended: std::io::Error) -> Malformed {
    Malformed
}

/// The elements of `X-Forwarded-For`, over all its lines. It knows no quotes: every comma ends one. What is no text ends in
/// something that is no address.
fn listed(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|element| String::from_utf8_lossy(element).into_owned())
        .collect()
}

/// The node of `for=` in each element of `Forwarded` (RFC 7239 §4), over all its lines, without its quotes and escapes.
fn nodes(headers: &HeaderMap) -> Result<Vec<Option<String>>, Malformed> {
    let mut nodes = Vec::new();
    for line in headers.get_all(header::FORWARDED) {
        let line = String::from_utf8_lossy(line.as_bytes());
        let (mut letters, mut element, mut quoted) = (line.chars(), Element::default(), false);
        while let Some(letter) = letters.next() {
            match letter {
                '"' => quoted = !quoted,
                '\\' if quoted => element.push(letters.next().ok_or(Malformed)?),
                '=' if !quoted && element.value.is_none() => element.value = Some(String::new()),
                ';' if !quoted => element.end_pair(),
                ',' if !quoted => nodes.push(std::mem::take(&mut element).end()),
                letter => element.push(letter),
            }
        }
        if quoted {
            return Err(Malformed);
        }
        nodes.push(element.end());
    }
    Ok(nodes)
}

/// An element of `Forwarded` as far as it is read.
#[derive(Default)]
struct Element {
    name: String,
    value: Option<String>,
    node: Option<String>,
}

impl Element {
    fn push(&mut self, letter: char) {
        self.value.as_mut().unwrap_or(&mut self.name).push(letter);
    }

    fn end_pair(&mut self) {
        let (name, value) = (std::mem::take(&mut self.name), self.value.take());
        if self.node.is_none() && name.trim().eq_ignore_ascii_case("for") {
            self.node = value.map(|value| value.trim().to_owned());
        }
    }

    fn end(mut self) -> Option<String> {
        self.end_pair();
        self.node
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The longest line that version 1 knows, with its end.
const V1_BYTES_MAX: usize = 107;
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses are 36 bytes; load balancers add ids of some hundred, and the certificate of a client whose TLS they end.
const V2_BYTES_MAX: usize = 4096;
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;
const V2_UNSPECIFIED: u8 = 0x00;
const V2_TCP4: u8 = 0x11;
const V2_TCP6: u8 = 0x21;
const V2_TCP6_BYTES: usize = 36;
const V2_UNIX: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_proxy_header_is_read_to_its_end_and_no_further() {
        let check = async |bytes: &[u8], expected: Result<Option<&str>, Malformed>| {
            let bytes = [bytes, b"next"].concat();
            let mut stream = bytes.as_slice();
            let found = header(&mut stream).await;
            let whole = found.is_ok();
            assert_eq!(found, expected.map(|address| address.map(|address| address.parse().unwrap())), "{bytes:?}");
            assert!(!whole || stream == b"next", "{bytes:?}: left {stream:?}");
        };
        let v2 = |command: u8, family: u8, length: u16, rest: &[u8]| {
            [&V2_SIGNATURE[..], &[command, family], &length.to_be_bytes(), rest].concat()
        };
        check(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Ok(Some("192.0.2.1"))).await;
        check(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", Ok(Some("2001:db8::1"))).await;
        check(b"PROXY UNKNOWN\r\n", Ok(None)).await;
        check(b"PROXY UNKNOWN what ever\r\n", Ok(None)).await;
        check(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n", Err(Malformed)).await;
        check(b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", Err(Malformed)).await;
        check(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", Err(Malformed)).await;
        check(b"PROXY UDP4 192.0.2.1 198.51.100.1 56324 443\r\n", Err(Malformed)).await;
        check(&[b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat(), Err(Malformed)).await;
        check(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", Err(Malformed)).await;
        let four = [192, 0, 2, 1, 198, 51, 100, 1, 0, 1, 0, 2];
        let six = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 20]].concat();
        check(&v2(0x21, 0x11, 12, &four), Ok(Some("192.0.2.1"))).await;
        check(&v2(0x21, 0x11, 15, &[&four[..], b"tlv"].concat()), Ok(Some("192.0.2.1"))).await;
        check(&v2(0x21, 0x21, 36, &six), Ok(Some("2001:db8::1"))).await;
        check(&v2(0x20, 0x11, 12, &four), Ok(None)).await;
        check(&v2(0x21, 0x00, 0, &[]), Ok(None)).await;
        check(&v2(0x21, 0x11, 11, &four[..11]), Err(Malformed)).await;
        check(&v2(0x21, 0x21, 35, &six[..35]), Err(Malformed)).await;
        check(&v2(0x11, 0x11, 12, &four), Err(Malformed)).await;
        check(&v2(0x21, 0x12, 12, &four), Err(Malformed)).await;
        check(&v2(0x21, 0x11, 4097, &[0; 4097]), Err(Malformed)).await;
        assert_eq!(header(&mut &b"PROXY TCP4 19"[..]).await, Err(Malformed));
    }

    #[test]
    fn of_forwarded_addresses_the_last_that_is_no_proxys_counts() {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().unwrap()).to_vec();
        let mut proxies = Proxies { trusted, protocol: false, header: None };
        let check_of = |proxies: &Proxies, fields: &[(&'static str, &str)], expected: &[&str]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            let expected: Vec<IpAddr> = expected.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(proxies.forwarded(&headers), Ok(expected), "{fields:?}");
        };
        let check = |fields: &[(&'static str, &str)], expected: &[&str]| check_of(&proxies, fields, expected);
        check(&[], &[]);
        check(&[("x-forwarded-for", "192.0.2.1")], &["192.0.2.1"]);
        check(&[("x-forwarded-for", "192.0.2.9, 192.0.2.1, 10.0.0.7")], &["192.0.2.1"]);
        check(&[("x-forwarded-for", "192.0.2.9"), ("x-forwarded-for", "192.0.2.1:80")], &["192.0.2.1"]);
        check(&[("x-forwarded-for", "::ffff:192.0.2.1")], &["192.0.2.1"]);
        check(&[("x-forwarded-for", "192.0.2.1, unknown")], &[]);
        check(&[("x-forwarded-for", "10.0.0.8, 10.0.0.7")], &[]);
        check(&[("forwarded", "for=192.0.2.9, For=\"[2001:db8::1]:47\";proto=https")], &["2001:db8::1"]);
        check(&[("forwarded", "for=192.0.2.1;by=10.0.0.1, for=\"[2001:db8:1::5]\"")], &["192.0.2.1"]);
        check(&[("forwarded", "for=\"a,b\", for=192.0.2.1, for=_hidden")], &[]);
        check(&[("forwarded", "for=192.0.2.1, proto=https")], &[]);
        // What a client sends before cannot hide what the proxy writes behind it.
        for own in ["\"", "for=\"", "\"a\\\"", "a\\"] {
            check(&[("x-forwarded-for", &format!("{own}, 192.0.2.1"))], &["192.0.2.1"]);
        }
        check(&[("forwarded", r#"for="a\", b\\";by="x;y", for="192.0.2.\1""#)], &["192.0.2.1"]);
        let both = [("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.2")];
        check(&both, &["192.0.2.1", "192.0.2.2"]);
        for (forwarded, usual, once) in [
            ("for=192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("for=\"192.0.2.1:4711\"", "::ffff:192.0.2.1", "192.0.2.1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::ffff:2", "2001:db8::1"),
        ] {
            check(&[("forwarded", forwarded), ("x-forwarded-for", usual)], &[once]);
        }
        for (header, client) in
            [(ForwardedHeader::Forwarded, "192.0.2.1"), (ForwardedHeader::XForwardedFor, "192.0.2.2")]
        {
            proxies.header = Some(header);
            check_of(&proxies, &both, &[client]);
        }
        check_of(&proxies, &both[..1], &[]);
        let open = [("forwarded", "for=\""), ("x-forwarded-for", "192.0.2.2")];
        check_of(&proxies, &open, &["192.0.2.2"]);
        proxies.header = None;
        for line in
            ["for=\", for=192.0.2.1", "for=\"a\\\", for=192.0.2.1", "for=\"a, for=\"[2001:db8::1]\"", "for=\"a\\"]
        {
            let mut headers = HeaderMap::new();
            headers.append(header::FORWARDED, line.parse().unwrap());
            headers.append(header::FORWARDED, "for=192.0.2.1".parse().unwrap());
            assert_eq!(proxies.forwarded(&headers), Err(Malformed), "{line}");
        }
        assert!(proxies.trusts("::ffff:10.1.2.3".parse().unwrap()) && !proxies.trusts("11.0.0.1".parse().unwrap()));
    }
}
