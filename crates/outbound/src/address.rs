//! Which addresses are the world, and which are somebody's inside.
//!
//! After the IANA special-purpose registries (RFC 6890 and its updates). For IPv6 only global unicast (2000::/3) can
//! be the world; addresses that carry an IPv4 address inside are judged by that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses that is not the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// What the range is for: `loopback`, `private`, …
    pub kind: &'static str,
    /// The range as a prefix.
    pub prefix: &'static str,
}

const fn range(kind: &'static str, prefix: &'static str) -> Range {
    Range { kind, prefix }
}

/// The range that forbids `address`; `None` for an address of the public Internet.
pub fn forbidden_range(address: IpAddr) -> Option<Range> {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address),
    }
}

/// The address that is reached by connecting to `address`: an IPv4-mapped one is its IPv4 address.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn forbidden_v4(address: Ipv4Addr) -> Option<Range> {
    Some(match address.octets() {
        [0, ..] => range("this network", "0.0.0.0/8"),
        [10, ..] => range("private", "10.0.0.0/8"),
        [100, 64..=127, ..] => range("carrier-grade NAT", "100.64.0.0/10"),
        [127, ..] => range("loopback", "127.0.0.0/8"),
        // A public address by the registry, and the host agent of every Azure machine.
        [168, 63, 129, 16] => range("cloud metadata", "168.63.129.16/32"),
        [169, 254, 169, 254] => range("link-local, cloud metadata", "169.254.0.0/16"),
        [169, 254, ..] => range("link-local", "169.254.0.0/16"),
        [172, 16..=31, ..] => range("private", "172.16.0.0/12"),
        [192, 0, 0, _] => range("protocol assignments", "192.0.0.0/24"),
        [192, 0, 2, _] => range("documentation", "192.0.2.0/24"),
        [192, 88, 99, _] => range("6to4 relay", "192.88.99.0/24"),
        [192, 168, ..] => range("private", "192.168.0.0/16"),
        [198, 18..=19, ..] => range("benchmarking", "198.18.0.0/15"),
        [198, 51, 100, _] => range("documentation", "198.51.100.0/24"),
        [203, 0, 113, _] => range("documentation", "203.0.113.0/24"),
        [224..=239, ..] => range("multicast", "224.0.0.0/4"),
        [255, 255, 255, 255] => range("broadcast", "255.255.255.255/32"),
        [240..=255, ..] => range("reserved", "240.0.0.0/4"),
        _ => return None,
    })
}

fn forbidden_v6(address: Ipv6Addr) -> Option<Range> {
    if address == Ipv6Addr::UNSPECIFIED {
        return Some(range("unspecified", "::/128"));
    }
    if address == Ipv6Addr::LOCALHOST {
        return Some(range("loopback", "::1/128"));
    }
    Some(match address.segments() {
        // The world may be behind these two, at the IPv4 address inside.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            return forbidden_v4(embedded(high, low));
        }
        [0x2002, high, low, ..] => return forbidden_v4(embedded(high, low)),
        [0, 0, 0, 0, 0, 0, _, _] => range("IPv4-compatible", "::/96"),
        [0, 0, 0, 0, 0xffff, 0, _, _] => range("IPv4-translated", "::ffff:0:0:0/96"),
        [0x64, 0xff9b, 1, ..] => range("local NAT64", "64:ff9b:1::/48"),
        [0x2001, 0, ..] => range("Teredo", "2001::/32"),
        [0x2001, 2, 0, ..] => range("benchmarking", "2001:2::/48"),
        [0x2001, 0xdb8, ..] => range("documentation", "2001:db8::/32"),
        [0x2001, 0x0..=0x1ff, ..] => range("protocol assignments", "2001::/23"),
        [0x3fff, 0x0..=0xfff, ..] => range("documentation", "3fff::/20"),
        [0xfc00..=0xfdff, ..] => range("unique local", "fc00::/7"),
        [0xfe80..=0xfebf, ..] => range("link-local", "fe80::/10"),
        [0xfec0..=0xfeff, ..] => range("site-local", "fec0::/10"),
        [0xff00..=0xffff, ..] => range("multicast", "ff00::/8"),
        // ISATAP: the interface identifier names an IPv4 host of the site.
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, high, low] => {
            return forbidden_v4(embedded(high, low));
        }
        [0x2000..=0x3fff, ..] => return None,
        _ => range("reserved", "::/0 outside 2000::/3"),
    })
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str) -> Option<&'static str> {
        forbidden_range(address.parse().unwrap()).map(|range| range.kind)
    }

    #[test]
    fn every_special_range_is_forbidden_at_both_ends() {
        for (addresses, expected) in [
            (["0.0.0.0", "0.255.255.255"], "this network"),
            (["10.0.0.0", "10.255.255.255"], "private"),
            (["100.64.0.0", "100.127.255.255"], "carrier-grade NAT"),
            (["127.0.0.1", "127.255.255.255"], "loopback"),
            (["168.63.129.16", "168.63.129.16"], "cloud metadata"),
            (["169.254.0.0", "169.254.255.255"], "link-local"),
            (["169.254.169.254", "::ffff:169.254.169.254"], "link-local, cloud metadata"),
            (["172.16.0.0", "172.31.255.255"], "private"),
            (["192.0.0.0", "192.0.0.255"], "protocol assignments"),
            (["192.0.2.0", "192.0.2.255"], "documentation"),
            (["192.88.99.0", "192.88.99.255"], "6to4 relay"),
            (["192.168.0.0", "192.168.255.255"], "private"),
            (["198.18.0.0", "198.19.255.255"], "benchmarking"),
            (["198.51.100.0", "198.51.100.255"], "documentation"),
            (["203.0.113.0", "203.0.113.255"], "documentation"),
            (["224.0.0.0", "239.255.255.255"], "multicast"),
            (["240.0.0.0", "255.255.255.254"], "reserved"),
            (["255.255.255.255", "::ffff:255.255.255.255"], "broadcast"),
            (["::", "::"], "unspecified"),
            (["::1", "::1"], "loopback"),
            (["::ffff:127.0.0.1", "::ffff:7f00:1"], "loopback"),
            (["::ffff:10.0.0.1", "64:ff9b::10.0.0.1"], "private"),
            (["64:ff9b::127.0.0.1", "2002:7f00:1::"], "loopback"),
            (["2002:a00:1::1", "2002:c0a8:101::"], "private"),
            (["2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:192.168.0.1"], "private"),
            (["::127.0.0.1", "::8.8.8.8"], "IPv4-compatible"),
            (["::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"], "IPv4-translated"),
            (["64:ff9b:1::", "64:ff9b:1:ffff::"], "local NAT64"),
            (["2001::", "2001:0:ffff::"], "Teredo"),
            (["2001:2::", "2001:2:0:ffff::"], "benchmarking"),
            (["2001:10::", "2001:1ff::"], "protocol assignments"),
            (["2001:db8::", "2001:db8:ffff::"], "documentation"),
            (["3fff::", "3fff:fff::"], "documentation"),
            (["fc00::", "fdff:ffff::"], "unique local"),
            (["fd00:ec2::254", "fd20:ce::254"], "unique local"),
            (["fe80::1", "febf::1"], "link-local"),
            (["fec0::1", "feff::1"], "site-local"),
            (["ff00::", "ff02::1"], "multicast"),
            (["100::", "5f00::"], "reserved"),
            (["4000::", "fbff::"], "reserved"),
        ] {
            for address in addresses {
                assert_eq!(kind(address), Some(expected), "{address}");
            }
        }
    }

    #[test]
    fn public_addresses_are_the_world() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert_eq!(kind(address), None, "{address}");
        }
    }
}
