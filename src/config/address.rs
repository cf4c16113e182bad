//! Which addresses are anybody's on the Internet, and which are this machine's or its own network's (the special-purpose
//! registries of RFC 6890).
//!
//! A name that leads to a private address may be a slip, or someone else's way into this network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Anybody's: a unicast address of the Internet.
    Public,
    /// This machine's own.
    Loopback,
    /// Everything else: private networks, link-local (a cloud's metadata service among them), multicast, reserved.
    Private,
}

/// Whose an address is. One that holds an IPv4 address (mapped, NAT64, 6to4) is whose that is.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    if address.is_loopback() {
        return Reach::Loopback;
    }
    let is_private = match address.octets() {
        // This network; shared by a provider's customers (RFC 6598); protocol assignments; benchmarks (RFC 2544).
        [0, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18..=19, ..] => true,
        // Withdrawn relays (RFC 7526); a cloud's metadata that is not link-local.
        [192, 88, 99, _] | [168, 63, 129, 16] => true,
        // Multicast and reserved.
        [224..=255, ..] => true,
        [..] => address.is_private() || address.is_link_local() || address.is_documentation(),
    };
    if is_private { Reach::Private } else { Reach::Public }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if address.is_loopback() {
        return Reach::Loopback;
    }
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarks, ORCHID; documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Private,
        [0x2000..=0x3fff, ..] => Reach::Public,
        [..] => Reach::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: Reach, addresses: &str) {
        for address in addresses.split_whitespace() {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn every_special_purpose_block_is_known_to_its_ends() {
        check(
            Reach::Public,
            "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
             169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 \
             192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2606:4700::1111 \
             2001:4860:4860::8888 2a00:1450::1 ::ffff:1.1.1.1 64:ff9b::1.1.1.1 2002:101:101::1",
        );
        check(Reach::Loopback, "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 2002:7f00:1::");
        check(
            Reach::Private,
            "0.0.0.0 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 169.254.0.0 169.254.169.254 168.63.129.16 192.88.99.1 \
             172.16.0.0 172.31.255.255 192.0.0.8 192.0.2.1 192.168.0.0 198.18.0.1 198.51.100.1 \
             203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 :: fc00::1 fdff::1 fe80::1 fec0::1 \
             ff02::1 2001::1 2001:db8::1 64:ff9b:1::1 ::ffff:10.0.0.1 ::10.0.0.1 64:ff9b::10.0.0.1 \
             2002:a00:1::",
        );
    }
}
