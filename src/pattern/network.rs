//! Addresses and networks of `cidr` (event-patterns.md rule 20).

use crate::model::resources::Dialect;
use std::net::{IpAddr, Ipv6Addr};

/// An address range: one family, the leading bits that must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Range {
    address: IpAddr,
    bits: u8,
    dialect: Dialect,
}

impl Range {
    /// Reads `address/bits` or, in `tidegate`, a bare address.
    pub(super) fn parse(text: &str, dialect: Dialect) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = address_of(address, dialect)?;
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => decimal(bits)?,
            None if dialect == Dialect::Tidegate => most,
            None => return None,
        };
        let allowed = match dialect {
            Dialect::Tidegate => bits <= most,
            Dialect::Aws => bits < most,
        };
        allowed.then_some(Self { address, bits, dialect })
    }

    /// The dialect whose addresses it holds.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Its address with all other bits zero, and its bits.
    pub(super) fn network(&self) -> (IpAddr, u8) {
        (masked(self.address, self.bits), self.bits)
    }

    /// Whether `address`, what a value spells in its dialect, is inside.
    pub(super) fn holds(&self, address: Option<IpAddr>) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), Some(IpAddr::V4(b))) => {
                let differ = a.to_bits() ^ b.to_bits();
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or_default() == 0
            }
            (IpAddr::V6(a), Some(IpAddr::V6(b))) => {
                let differ = a.to_bits() ^ b.to_bits();
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or_default() == 0
            }
            (IpAddr::V4(_), Some(IpAddr::V6(_)) | None) | (IpAddr::V6(_), Some(IpAddr::V4(_)) | None) => false,
        }
    }
}

/// An address with all but its leading bits zero.
pub(super) fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or_default();
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or_default();
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// The address that a text spells. `aws` knows no dotted tail and takes mapped addresses for IPv4.
pub(super) fn address_of(text: &str, dialect: Dialect) -> Option<IpAddr> {
    // Longer than any spelling of an address; most values end here.
    if text.len() > 45 || !text.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':') {
        return None;
    }
    let address: IpAddr = text.parse().ok()?;
    match (dialect, address) {
        (Dialect::Tidegate, _) | (Dialect::Aws, IpAddr::V4(_)) => Some(address),
        (Dialect::Aws, IpAddr::V6(_)) if text.contains('.') => None,
        (Dialect::Aws, IpAddr::V6(v6)) => Some(unmapped(v6)),
    }
}

fn unmapped(address: Ipv6Addr) -> IpAddr {
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}

fn decimal(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cases = [
            ("10.1.0.9/16", "10.1.255.255", true, true),
            ("10.0.0.0/24", "10.0.1.0", false, false),
            ("0.0.0.0/0", "203.0.113.9", true, true),
            ("0.0.0.0/0", "::1", false, false),
            ("10.0.0.4/31", "10.0.0.5", true, true),
            ("2001:db8::/32", "2001:0DB8:0::1", true, true),
            ("::/0", "ffff::1", true, true),
            ("10.0.0.0/8", "::ffff:a00:1", false, true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", false, false),
            ("10.0.0.0/8", "010.0.0.1", false, false),
            ("10.0.0.0/8", "10.0.0.1/8", false, false),
            ("::/0", "[::1]", false, false),
            ("fe80::/10", "fe80::1%eth0", false, false),
        ];
        for (range, value, tidegate, aws) in cases {
            let holds = |dialect| Range::parse(range, dialect).unwrap().holds(address_of(value, dialect));
            assert_eq!(holds(Dialect::Tidegate), tidegate, "{range} {value}");
            assert_eq!(holds(Dialect::Aws), aws, "{range} {value}");
            let (network, bits) = Range::parse(range, Dialect::Tidegate).unwrap().network();
            let same = address_of(value, Dialect::Tidegate).map(|address| masked(address, bits)) == Some(network);
            assert_eq!(same, tidegate, "{range} {value}");
        }
    }

    #[test]
    fn refuses() {
        for bad in [
            "",
            "host/8",
            "10.0.0.0/",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "1.2.3.4/8/8",
        ] {
            assert_eq!(Range::parse(bad, Dialect::Tidegate), None, "{bad}");
        }
        for only_tidegate in ["10.0.0.5", "10.0.0.5/32", "::1/128", "::ffff:0:0/96"] {
            assert!(Range::parse(only_tidegate, Dialect::Tidegate).is_some(), "{only_tidegate}");
            assert_eq!(Range::parse(only_tidegate, Dialect::Aws), None, "{only_tidegate}");
        }
    }
}
