//! The longest prefix that holds an address decides.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::IpAllowIr;
use crate::refusal::{Reason, Refusal};

/// `::ffff:0:0/96` is where IPv6 sockets show IPv4 peers.
const MAPPED_BITS: u8 = 96;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    Allow,
    Deny,
}

/// Address ranges, ready to be asked.
#[derive(Clone, Debug)]
pub struct AddressRanges {
    v4: PrefixMap<Ipv4Net, Ruling>,
    v6: PrefixMap<Ipv6Net, Ruling>,
    otherwise: Ruling,
}

impl AddressRanges {
    /// Makes the ranges ready.
    #[must_use]
    pub fn new(ir: &IpAllowIr) -> Self {
        let IpAllowIr { allow, deny } = ir;
        let otherwise = if allow.is_empty() { Ruling::Allow } else { Ruling::Deny };
        let mut ranges = Self { v4: PrefixMap::new(), v6: PrefixMap::new(), otherwise };
        allow.iter().for_each(|net| ranges.insert(*net, Ruling::Allow));
        // Last, so that of two equal prefixes the one that denies is kept.
        deny.iter().for_each(|net| ranges.insert(*net, Ruling::Deny));
        ranges
    }

    fn insert(&mut self, net: IpNet, ruling: Ruling) {
        match net {
            IpNet::V4(net) => {
                self.v4.insert(net.trunc(), ruling);
            }
            IpNet::V6(net) => match mapped_range(&net) {
                Some(v4) => {
                    self.v4.insert(v4, ruling);
                }
                None => {
                    self.v6.insert(net.trunc(), ruling);
                }
            },
        }
    }

    /// Whether the address may call. An IPv4 address inside IPv6 counts as the IPv4 address that it is.
    ///
    /// # Errors
    /// [`Reason::AddressDenied`]
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let found = match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).map(|(_, ruling)| *ruling),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).map(|(_, ruling)| *ruling),
        };
        match found.unwrap_or(self.otherwise) {
            Ruling::Allow => Ok(()),
            Ruling::Deny => {
                Err(Refusal::new(Reason::AddressDenied, "requests from this source address are not taken here"))
            }
        }
    }
}

/// The IPv4 range that an IPv6 range of mapped addresses stands for.
fn mapped_range(net: &Ipv6Net) -> Option<Ipv4Net> {
    let bits = net.prefix_len().checked_sub(MAPPED_BITS)?;
    let first: Ipv4Addr = net.trunc().addr().to_ipv4_mapped()?;
    Ipv4Net::new(first, bits).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(allow: &[&str], deny: &[&str]) -> AddressRanges {
        let parse = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect();
        AddressRanges::new(&IpAllowIr { allow: parse(allow), deny: parse(deny) })
    }

    fn allows(ranges: &AddressRanges, address: &str) -> bool {
        ranges.check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn the_longest_prefix_decides_whatever_it_says() {
        let ranges = ranges(&["0.0.0.0/0", "203.0.113.7/32"], &["203.0.113.0/24"]);
        assert!(allows(&ranges, "198.51.100.1"));
        assert!(!allows(&ranges, "203.0.113.6"));
        assert!(allows(&ranges, "203.0.113.7"));
    }

    #[test]
    fn equal_prefixes_deny() {
        assert!(!allows(&ranges(&["192.0.2.0/24"], &["192.0.2.0/24"]), "192.0.2.1"));
        assert!(!allows(&ranges(&["192.0.2.9/24"], &["192.0.2.200/24"]), "192.0.2.1"));
    }

    #[test]
    fn an_address_that_no_range_holds_is_allowed_only_without_an_allow_list() {
        assert!(allows(&ranges(&[], &["192.0.2.0/24"]), "198.51.100.1"));
        assert!(!allows(&ranges(&["192.0.2.0/24"], &[]), "198.51.100.1"));
        assert!(!allows(&ranges(&["0.0.0.0/0"], &[]), "2001:db8::1"));
        assert!(allows(&ranges(&[], &[]), "2001:db8::1"));
    }

    #[test]
    fn a_mapped_address_is_the_address_that_it_maps() {
        assert!(!allows(&ranges(&["0.0.0.0/0"], &["203.0.113.0/24"]), "::ffff:203.0.113.9"));
        assert!(!allows(&ranges(&["0.0.0.0/0"], &["::ffff:203.0.113.0/120"]), "203.0.113.9"));
        assert!(allows(&ranges(&["::ffff:192.0.2.0/120"], &[]), "::ffff:192.0.2.9"));
    }

    proptest! {
        #[test]
        fn the_ruling_is_that_of_the_longest_prefix_among_all(
            allow in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..12),
            deny in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..12),
            address in any::<u32>(),
        ) {
            let net = |(bits, len): &(u32, u8)| Ipv4Net::new(Ipv4Addr::from(*bits), *len).unwrap();
            let address = Ipv4Addr::from(address);
            let longest = |list: &[(u32, u8)]| {
                list.iter().map(net).filter(|net| net.contains(&address)).map(|net| i32::from(net.prefix_len())).max()
            };
            let expected = match (longest(&allow), longest(&deny)) {
                (None, None) => allow.is_empty(),
                (allowed, denied) => allowed.unwrap_or(-1) > denied.unwrap_or(-1),
            };
            let nets = |list: &[(u32, u8)]| list.iter().map(|item| IpNet::V4(net(item))).collect();
            let ranges = AddressRanges::new(&IpAllowIr { allow: nets(&allow), deny: nets(&deny) });
            prop_assert_eq!(ranges.check(IpAddr::V4(address)).is_ok(), expected);
        }
    }
}
