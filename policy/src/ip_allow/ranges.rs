//! The longest prefix that holds an address decides.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::{IpAllowIr, ProviderIr};
use crate::refusal::{Extra, Reason, Refusal};

/// `::ffff:0:0/96` is where IPv6 sockets show IPv4 peers.
const MAPPED_BITS: u8 = 96;
/// When a sender should come again that the gateway cannot judge.
const RETRY_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ruling {
    Allow,
    /// Until this time, in seconds since the epoch; then it says nothing more.
    AllowUntil(i64),
    Deny,
}

impl Ruling {
    fn is_old(self, now_secs: i64) -> bool {
        match self {
            Self::AllowUntil(end) => now_secs >= end,
            Self::Allow | Self::Deny => false,
        }
    }
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
        let IpAllowIr { allow, deny, providers, countries: _ } = ir;
        let otherwise = if allow.is_empty() && providers.is_empty() { Ruling::Allow } else { Ruling::Deny };
        let mut ranges = Self { v4: PrefixMap::new(), v6: PrefixMap::new(), otherwise };
        // Of two equal prefixes the last is kept: that of the provider whose list is good for longest, then what
        // the user wrote.
        let mut providers: Vec<&ProviderIr> = providers.iter().collect();
        providers.sort_by_key(|list| list.old_from_secs.unwrap_or(i64::MAX));
        for list in providers {
            let ruling = list.old_from_secs.map_or(Ruling::Allow, Ruling::AllowUntil);
            list.ranges.iter().for_each(|net| ranges.insert(*net, ruling));
        }
        allow.iter().for_each(|net| ranges.insert(*net, Ruling::Allow));
        // Last, so that of two equal prefixes the one that denies is kept.
        deny.iter().for_each(|net| ranges.insert(*net, Ruling::Deny));
        ranges
    }

    fn insert(&mut self, net: IpNet, ruling: Ruling) {
        match plain(net) {
            IpNet::V4(net) => {
                self.v4.insert(net.trunc(), ruling);
            }
            IpNet::V6(net) => {
                self.v6.insert(net.trunc(), ruling);
            }
        }
    }

    /// Whether the address may call. An IPv4 address inside IPv6 counts as the IPv4 address that it is.
    /// `now_secs` is the time since the epoch; it is asked for only where a range of a provider decides.
    ///
    /// # Errors
    /// [`Reason::AddressDenied`]; [`Reason::PolicyBroken`] when only ranges hold the address that are past their
    /// maximum age: that is the gateway's own trouble, so the sender is asked to come again.
    pub fn check(&self, address: IpAddr, now_secs: impl FnOnce() -> i64) -> Result<(), Refusal> {
        let address = address.to_canonical();
        let found = match address {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).map(|(_, ruling)| *ruling),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).map(|(_, ruling)| *ruling),
        };
        match found.unwrap_or(self.otherwise) {
            Ruling::Allow => Ok(()),
            Ruling::Deny => Err(denied()),
            Ruling::AllowUntil(_) => self.check_fresh(address, now_secs()),
        }
    }

    /// The same, passing over what is old.
    fn check_fresh(&self, address: IpAddr, now_secs: i64) -> Result<(), Refusal> {
        let fresh = |ruling: &&Ruling| !ruling.is_old(now_secs);
        let found = match address {
            IpAddr::V4(address) => self.v4.cover(&address.into()).map(|(_, ruling)| ruling).filter(fresh).last(),
            IpAddr::V6(address) => self.v6.cover(&address.into()).map(|(_, ruling)| ruling).filter(fresh).last(),
        };
        match found {
            Some(Ruling::Allow | Ruling::AllowUntil(_)) => Ok(()),
            Some(Ruling::Deny) => Err(denied()),
            None => Err(old()),
        }
    }
}

fn denied() -> Refusal {
    Refusal::new(Reason::AddressDenied, "requests from this source address are not taken here")
}

fn old() -> Refusal {
    let detail =
        "the provider's ranges that hold this address are past their maximum age, and have to be provided anew";
    Refusal::new(Reason::PolicyBroken, detail).with(Extra::RetryAfter(RETRY_AFTER))
}

/// An IPv6 range of mapped addresses is the IPv4 range that they stand for.
#[must_use]
pub fn plain(net: IpNet) -> IpNet {
    match net {
        IpNet::V4(_) => net,
        IpNet::V6(v6) => mapped_range(&v6).map_or(net, IpNet::V4),
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
        AddressRanges::new(&IpAllowIr { allow: parse(allow), deny: parse(deny), ..IpAllowIr::default() })
    }

    fn allows(ranges: &AddressRanges, address: &str) -> bool {
        ranges.check(address.parse().unwrap(), || panic!("nothing here has an age")).is_ok()
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

    fn provider(name: &str, old_from_secs: Option<i64>, ranges: &[&str]) -> ProviderIr {
        let ranges = ranges.iter().map(|net| net.parse().unwrap()).collect();
        ProviderIr { provider: name.into(), date_secs: 0, old_from_secs, ranges }
    }

    #[test]
    fn ranges_of_a_provider_allow_until_they_are_old_and_never_longer() {
        let providers = vec![
            provider("A", Some(100), &["192.0.2.0/24", "203.0.113.0/25", "2001:db8::/32"]),
            provider("B", Some(200), &["203.0.113.0/24"]),
            provider("C", None, &["198.51.100.0/24"]),
        ];
        let deny = vec!["192.0.2.7/32".parse().unwrap()];
        let ranges = AddressRanges::new(&IpAllowIr { providers, deny, ..IpAllowIr::default() });
        let reason = |address: &str, now: i64| ranges.check(address.parse().unwrap(), || now).map_err(|no| no.reason);
        for address in ["192.0.2.1", "2001:db8::1", "203.0.113.1", "198.51.100.1", "::ffff:192.0.2.1"] {
            assert_eq!(reason(address, 99), Ok(()), "{address}");
        }
        assert_eq!(reason("192.0.2.1", 100), Err(Reason::PolicyBroken));
        assert_eq!(reason("2001:db8::1", 100), Err(Reason::PolicyBroken));
        assert_eq!(reason("203.0.113.1", 100), Ok(()), "the wider range of B is still good");
        assert_eq!(reason("203.0.113.1", 200), Err(Reason::PolicyBroken));
        assert_eq!(reason("198.51.100.1", i64::MAX), Ok(()), "C is kept however old it is");
        for now in [0, 300] {
            assert_eq!(reason("192.0.2.7", now), Err(Reason::AddressDenied), "what denies has no age");
            assert_eq!(reason("8.8.8.8", now), Err(Reason::AddressDenied), "nor do others get in with it");
        }
    }

    #[test]
    fn what_the_user_wrote_wins_over_an_equal_range_of_a_provider() {
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
        let providers = vec![provider("A", Some(100), &["192.0.2.0/24", "203.0.113.0/24"])];
        let (allow, deny) = (nets(&["192.0.2.0/24"]), nets(&["203.0.113.0/24"]));
        let ranges = AddressRanges::new(&IpAllowIr { providers, allow, deny, countries: None });
        assert!(allows(&ranges, "192.0.2.1") && !allows(&ranges, "203.0.113.1"));
    }

    #[test]
    fn an_old_range_leaves_the_decision_to_the_wider_one_that_is_left() {
        let nets = |list: &[&str]| list.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
        let providers = vec![provider("A", Some(100), &["192.0.2.0/25", "203.0.113.0/25"])];
        let (allow, deny) = (nets(&["192.0.2.0/24"]), nets(&["203.0.113.0/24"]));
        let ranges = AddressRanges::new(&IpAllowIr { providers, allow, deny, countries: None });
        let reason = |address: &str, now: i64| ranges.check(address.parse().unwrap(), || now).map_err(|no| no.reason);
        assert_eq!((reason("192.0.2.1", 99), reason("192.0.2.1", 100)), (Ok(()), Ok(())));
        assert_eq!((reason("203.0.113.1", 99), reason("203.0.113.1", 100)), (Ok(()), Err(Reason::AddressDenied)));
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
            let ranges = AddressRanges::new(&IpAllowIr { allow: nets(&allow), deny: nets(&deny), ..IpAllowIr::default() });
            prop_assert_eq!(ranges.check(IpAddr::V4(address), || 0).is_ok(), expected);
        }
    }
}
