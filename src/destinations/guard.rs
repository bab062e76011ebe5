//! Guard: which addresses may be dialled. It judges the address that is dialled, after name resolution, so that no
//! spelling of a host and no DNS answer leads inside (pure).
//!
//! Without `allow_networks` only public unicast addresses pass. IPv6 addresses that carry an IPv4 address within
//! (mapped, compatible, 6to4, NAT64, Teredo, ISATAP) never pass by themselves, whatever they carry.

use crate::model::resources::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a connection may dial.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Vec<Network>,
}

impl Guard {
    /// Public addresses and these networks.
    #[must_use]
    pub fn new(allow_networks: &[Network]) -> Self {
        Self { allowed: allow_networks.to_vec() }
    }

    /// `Err` says what kind of address it is.
    ///
    /// # Errors
    /// The address is neither public nor in a network that is allowed.
    pub fn check(&self, address: IpAddr) -> Result<(), &'static str> {
        if self.allowed.iter().any(|network| contains(network, address)) {
            return Ok(());
        }
        let kind = match address {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => special_v6(v6),
        };
        kind.map_or(Ok(()), Err)
    }
}

pub(super) fn contains(network: &Network, address: IpAddr) -> bool {
    match (network.address, address) {
        (IpAddr::V4(net), IpAddr::V4(it)) => in_v4(it, net, network.bits),
        (IpAddr::V6(net), IpAddr::V6(it)) => in_v6(it, net, network.bits),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

fn in_v4(it: Ipv4Addr, net: Ipv4Addr, bits: u8) -> bool {
    let shift = 32u32.saturating_sub(u32::from(bits));
    (it.to_bits() ^ net.to_bits()).checked_shr(shift).unwrap_or(0) == 0
}

fn in_v6(it: Ipv6Addr, net: Ipv6Addr, bits: u8) -> bool {
    let shift = 128u32.saturating_sub(u32::from(bits));
    (it.to_bits() ^ net.to_bits()).checked_shr(shift).unwrap_or(0) == 0
}

/// IANA IPv4 Special-Purpose Address Registry, and the addresses clouds answer metadata at.
const SPECIAL_V4: &[([u8; 4], u8, &str)] = &[
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([169, 254, 0, 0], 16, "a link-local or cloud metadata address"),
    ([100, 64, 0, 0], 10, "a carrier-grade NAT address"),
    ([168, 63, 129, 16], 32, "a cloud metadata address"),
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([192, 0, 0, 0], 24, "a reserved address"),
    ([192, 0, 2, 0], 24, "a documentation address"),
    ([198, 51, 100, 0], 24, "a documentation address"),
    ([203, 0, 113, 0], 24, "a documentation address"),
    ([192, 88, 99, 0], 24, "a 6to4 relay address"),
    ([198, 18, 0, 0], 15, "a benchmarking address"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([240, 0, 0, 0], 4, "a reserved or broadcast address"),
];

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4.iter().find(|(net, bits, _)| in_v4(address, Ipv4Addr::from(*net), *bits)).map(|(_, _, kind)| *kind)
}

/// IANA IPv6 Special-Purpose Address Registry; what is not in `2000::/3` is not public anyway.
const SPECIAL_V6: &[([u16; 8], u8, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "a loopback address"),
    ([0; 8], 128, "an unspecified address"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "an IPv4-mapped address"),
    ([0; 8], 96, "an IPv4-compatible address"),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "an IPv4-translated address"),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "a NAT64 address"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "a NAT64 address"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a private address"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "a link-local address"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast address"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "a Teredo address"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "a documentation address"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "a documentation address"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "a reserved address"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "a 6to4 address"),
];

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let known = SPECIAL_V6.iter().find(|(net, bits, _)| in_v6(address, Ipv6Addr::from(*net), *bits));
    if let Some((_, _, kind)) = known {
        return Some(kind);
    }
    // RFC 5214: interface identifier 0:5efe or 200:5efe, then an IPv4 address.
    if matches!(address.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _]) {
        return Some("an ISATAP address");
    }
    (!in_v6(address, Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)).then_some("not a public address")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> bool {
        Guard::default().check(address.parse().unwrap()).is_err()
    }

    #[test]
    fn only_public_addresses_pass() {
        for public in
            ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "2606:4700::1111"]
        {
            assert!(!refused(public), "{public}");
        }
        for special in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "168.63.129.16",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "192.88.99.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "::ffff:0:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::a00:1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2001:10::1",
            "2001:20::1",
            "2002:7f00:1::1",
            "3fff::1",
            "100::1",
            "2606:4700::5efe:a00:1",
            "2606:4700::200:5efe:a00:1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(refused(special), "{special}");
        }
    }

    #[test]
    fn allowed_networks_open_exactly_themselves() {
        let network = |address: &str, bits| Network { address: address.parse().unwrap(), bits };
        let guard = Guard::new(&[network("10.1.2.3", 16), network("::1", 128)]);
        let passes = |address: &str| guard.check(address.parse().unwrap()).is_ok();
        assert!(passes("10.1.0.0") && passes("10.1.255.255") && passes("::1") && passes("9.9.9.9"));
        assert!(!passes("10.2.0.0") && !passes("127.0.0.1") && !passes("::ffff:10.1.0.1"));
        let all = Guard::new(&[network("0.0.0.0", 0)]);
        assert!(all.check("127.0.0.1".parse().unwrap()).is_ok());
        assert!(all.check("::1".parse().unwrap()).is_err());
    }
}
