//! Which addresses an URL that a tenant names may lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The address is one that a tenant's URL must not lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not an address that an URL may lead to")]
pub struct AddressForbidden {
    /// Which.
    pub address: IpAddr,
}

/// Refuses what is not on the public internet, unless it is allowed by name. Endpoints of Services are not
/// asked about: the references that lead to them were granted.
#[derive(Clone, Debug, Default)]
pub struct AddressGuard {
    allowed: Vec<IpNet>,
}

impl AddressGuard {
    /// A guard that lets these networks through besides the public internet.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Checks an address that is about to be connected to.
    ///
    /// # Errors
    /// [`AddressForbidden`]
    pub fn check(&self, address: IpAddr) -> Result<(), AddressForbidden> {
        let plain = address.to_canonical();
        if self.allowed.iter().any(|net| net.contains(&plain)) {
            return Ok(());
        }
        let public = match plain {
            IpAddr::V4(v4) => is_public_v4(v4),
            IpAddr::V6(v6) => is_public_v6(v6),
        };
        if public { Ok(()) } else { Err(AddressForbidden { address }) }
    }
}

/// Not in one of the special-purpose registries (RFC 6890). The metadata services of the clouds are
/// link-local (169.254.169.254), shared (100.100.100.200) or unique-local (fd00:ec2::254).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || a == 10
        || a == 127
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 168)
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        || (a == 168 && b == 63 && c == 129)
        || a >= 224)
}

/// Global unicast (2000::/3) only, less what carries an IPv4 address inside: 6to4 is judged by that address,
/// Teredo and documentation are refused, and so is NAT64 (64:ff9b::/96, outside 2000::/3).
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, ..] = address.segments();
    if first == 0x2002 {
        let [a, b] = second.to_be_bytes();
        let [c, d] = third.to_be_bytes();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    let special = first == 0x2001 && (second < 0x0200 || second == 0x0db8);
    (0x2000..0x4000).contains(&first) && !special && !(first == 0x3fff && second < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(guard: &AddressGuard, address: &str) -> bool {
        guard.check(address.parse().unwrap()).is_err()
    }

    #[test]
    fn what_is_not_public_is_refused_in_every_spelling() {
        let guard = AddressGuard::default();
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001::1",
        ] {
            assert!(refused(&guard, address), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(!refused(&guard, address), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_by_name_is_let_through_and_nothing_beside_it() {
        let guard = AddressGuard::new(vec!["10.1.0.0/16".parse().unwrap()]);
        assert!(!refused(&guard, "10.1.2.3"));
        assert!(!refused(&guard, "::ffff:10.1.2.3"));
        assert!(refused(&guard, "10.2.0.1"));
    }
}
