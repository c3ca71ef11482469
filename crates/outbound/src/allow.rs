//! Exceptions to the address filter, for development: `--allow-net HOST[:PORT]`.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::address::canonical;

/// One destination that workers may reach though its address is private.
///
/// Written as `127.0.0.1:3000`, `127.0.0.1`, `[::1]:3000`, `10.0.0.0/8`, `10.0.0.0/8:5432`, `[fd00::]/8`,
/// `localhost:*`, `db.internal:5432` or `db.internal`. No port, or `*`, is every port. An address or a prefix is
/// compared with the address that is connected to, a name with the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowRule {
    destination: Destination,
    /// `None` is every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Destination {
    Prefix { network: IpAddr, bits: u8 },
    Name(String),
}

/// Why a rule is not one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{rule}` is not HOST[:PORT]: {reason}")]
pub struct AllowRuleError {
    rule: String,
    reason: &'static str,
}

// === impl AllowRule ===

impl AllowRule {
    /// Whether the rule opens a connection to `address` and `port` for a request that asked for `host`.
    pub fn matches(&self, host: &str, address: IpAddr, port: u16) -> bool {
        if self.port.is_some_and(|allowed| allowed != port) {
            return false;
        }
        match &self.destination {
            Destination::Name(name) => name.eq_ignore_ascii_case(host.trim_end_matches('.')),
            Destination::Prefix { network, bits } => contains(*network, *bits, canonical(address)),
        }
    }
}

impl FromStr for AllowRule {
    type Err = AllowRuleError;

    fn from_str(rule: &str) -> Result<Self, Self::Err> {
        parse(rule).map_err(|reason| AllowRuleError { rule: rule.to_owned(), reason })
    }
}

impl fmt::Display for AllowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.destination {
            Destination::Name(name) => write!(f, "{name}")?,
            Destination::Prefix { network, bits } => {
                let whole = width(*network);
                match network {
                    IpAddr::V4(address) => write!(f, "{address}")?,
                    IpAddr::V6(address) => write!(f, "[{address}]")?,
                }
                if *bits != whole {
                    write!(f, "/{bits}")?;
                }
            }
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => write!(f, ":*"),
        }
    }
}

fn parse(rule: &str) -> Result<AllowRule, &'static str> {
    // A bare IPv6 address or prefix has colons of its own.
    if let Some(destination) = parse_address(rule)? {
        return Ok(AllowRule { destination, port: None });
    }
    let (host, port) = match rule.rsplit_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (rule, None),
    };
    let destination = match parse_address(host)? {
        Some(destination) => destination,
        None => Destination::Name(parse_name(host)?),
    };
    Ok(AllowRule { destination, port })
}

/// An address or a prefix, with or without brackets; `None` for what is neither.
fn parse_address(text: &str) -> Result<Option<Destination>, &'static str> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    let Ok(network) = bare.parse::<IpAddr>() else {
        return Ok(None);
    };
    let network = canonical(network);
    let bits = match bits {
        None => width(network),
        // `10.0.0.0/8:5432` has its port still on.
        Some(bits) if bits.contains(':') => return Ok(None),
        Some(bits) => bits.parse().map_err(|_| "the prefix length is not a number")?,
    };
    if bits > width(network) {
        return Err("the prefix is longer than the address");
    }
    Ok(Some(Destination::Prefix { network, bits }))
}

fn parse_port(port: &str) -> Result<Option<u16>, &'static str> {
    match port {
        "*" => Ok(None),
        port => port.parse().ok().filter(|port| *port != 0).map(Some).ok_or("the port is neither 1 to 65535 nor *"),
    }
}

fn parse_name(name: &str) -> Result<String, &'static str> {
    if name.is_empty() {
        return Err("the host is empty");
    }
    match url::Host::parse(name) {
        Ok(url::Host::Domain(name)) => Ok(name.trim_end_matches('.').to_owned()),
        Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => Err("write the address in its usual form"),
        Err(_) => Err("the host is neither a name nor an address"),
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let difference = u32::from(network) ^ u32::from(address);
            difference.checked_shr(32_u32.saturating_sub(bits.into())).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let difference = u128::from(network) ^ u128::from(address);
            difference.checked_shr(128_u32.saturating_sub(bits.into())).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> AllowRule {
        text.parse().unwrap()
    }

    fn allows(text: &str, host: &str, address: &str, port: u16) -> bool {
        rule(text).matches(host, address.parse().unwrap(), port)
    }

    #[test]
    fn address_with_port_opens_that_port_only() {
        assert!(allows("127.0.0.1:3000", "127.0.0.1", "127.0.0.1", 3000));
        assert!(allows("127.0.0.1:3000", "localhost", "127.0.0.1", 3000));
        assert!(allows("127.0.0.1:3000", "x", "::ffff:127.0.0.1", 3000));
        assert!(!allows("127.0.0.1:3000", "127.0.0.1", "127.0.0.1", 3001));
        assert!(!allows("127.0.0.1:3000", "127.0.0.1", "127.0.0.2", 3000));
        assert!(!allows("127.0.0.1:3000", "localhost", "::1", 3000));
    }

    #[test]
    fn prefix_opens_its_addresses() {
        assert!(allows("10.0.0.0/8", "x", "10.255.0.1", 1));
        assert!(!allows("10.0.0.0/8", "x", "11.0.0.1", 1));
        assert!(allows("10.0.0.0/8:5432", "x", "10.1.1.1", 5432));
        assert!(!allows("10.0.0.0/8:5432", "x", "10.1.1.1", 5433));
        assert!(allows("fd00::/8", "x", "fd12::1", 443));
        assert!(allows("[fd00::]/8:443", "x", "fd12::1", 443));
        assert!(!allows("[fd00::]/8:443", "x", "fd12::1", 80));
        assert!(allows("0.0.0.0/0", "x", "192.168.1.1", 1));
        assert!(!allows("0.0.0.0/0", "x", "::1", 1));
        assert!(allows("::/0", "x", "::1", 1));
    }

    #[test]
    fn name_opens_what_it_resolves_to_and_no_other_name() {
        assert!(allows("localhost:*", "localhost", "127.0.0.1", 1));
        assert!(allows("localhost", "LOCALHOST.", "::1", 65535));
        assert!(allows("db.internal:5432", "db.internal", "10.0.0.9", 5432));
        assert!(!allows("db.internal:5432", "evil.example", "10.0.0.9", 5432));
        assert!(!allows("db.internal:5432", "a.db.internal", "10.0.0.9", 5432));
    }

    #[test]
    fn ipv6_needs_no_brackets_without_a_port() {
        assert_eq!(rule("::1"), rule("[::1]"));
        assert!(allows("[::1]:3000", "x", "::1", 3000));
        assert!(!allows("[::1]:3000", "x", "::1", 3001));
    }

    #[test]
    fn rules_display_as_they_are_written() {
        for text in ["127.0.0.1:3000", "[::1]:3000", "10.0.0.0/8:*", "localhost:*"] {
            assert_eq!(rule(text).to_string(), text);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, reason) in [
            ("", "the host is empty"),
            (":80", "the host is empty"),
            ("localhost:http", "the port is neither 1 to 65535 nor *"),
            ("localhost:0", "the port is neither 1 to 65535 nor *"),
            ("10.0.0.0/33", "the prefix is longer than the address"),
            ("10.0.0.0/x", "the prefix length is not a number"),
            ("0x7f.1:80", "write the address in its usual form"),
            ("http://localhost", "the port is neither 1 to 65535 nor *"),
            ("a b", "the host is neither a name nor an address"),
        ] {
            let error = text.parse::<AllowRule>().unwrap_err();
            assert_eq!(error.reason, reason, "{text}");
        }
    }
}
